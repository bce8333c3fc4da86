/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* See denies.h. Duplicates are found by sorting: a list may have thousands of prefixes. */
#include "config/denies.h"

#include <stdio.h>
#include <stdlib.h>

#include "config/problem.h"
#include "wire/wire_abi.h"

const char *config_judge_deny(const struct wire_address *service, const struct wire_deny *deny)
{
	if (deny->service.family != service->family)
		return "is of another address family than the service";
	if (deny->end == WIRE_DENY_SOURCE &&
	    (deny->length < wire_prefix_length(service) || !wire_prefix_has(service, &deny->addr)))
		return "is no part of the service's prefix";
	return NULL;
}

static int compare(const void *left, const void *right)
{
	const struct config_deny *const *a = left;
	const struct config_deny *const *b = right;
	int order = (*a)->wire.service.family - (*b)->wire.service.family;

	if (order == 0)
		order = wire_compare_denies(&(*a)->wire, &(*b)->wire);
	return order != 0 ? order : (*a > *b) - (*a < *b);
}

static bool is_same(const struct wire_deny *a, const struct wire_deny *b)
{
	return a->service.family == b->service.family && wire_compare_denies(a, b) == 0;
}

/* "services[0] (office): deny_source 10.0.0.0/24" */
static const char *deny_path(const char *parent, const struct wire_deny *deny,
			     char path[static 256])
{
	char text[WIRE_ADDRESS_TEXT];

	snprintf(path, 256, "%s: %s %s", parent, wire_deny_end_name(deny->end),
		 wire_format_prefix(&deny->addr, deny->length, deny->service.family, text));
	return path;
}

static void check_duplicates(const struct config_service *service, const char *parent,
			     const char *name, struct config_problems *problems)
{
	const struct config_deny **sorted = calloc(service->n_denies, sizeof(*sorted));
	char path[256];

	if (sorted == NULL) {
		problem_error(problems, name, service->mark, parent, "out of memory");
		return;
	}
	for (size_t i = 0; i < service->n_denies; i++)
		sorted[i] = &service->deny[i];
	qsort(sorted, service->n_denies, sizeof(*sorted), compare);
	for (size_t i = 1; i < service->n_denies; i++)
		if (is_same(&sorted[i]->wire, &sorted[i - 1]->wire))
			problem_error(problems, name, sorted[i]->mark,
				      deny_path(parent, &sorted[i]->wire, path),
				      "stands there twice");
	free(sorted);
}

void denies_check(const struct config_service *service, const char *path, const char *name,
		  struct config_problems *problems)
{
	const struct wire_address *address = &service->wire.address;
	char text[WIRE_ADDRESS_TEXT], inner[256];

	if (service->n_denies == 0)
		return;
	if (!wire_is_prefix(address)) {
		problem_error(problems, name, service->deny[0].mark,
			      deny_path(path, &service->deny[0].wire, inner),
			      "goes with mode snat alone (the mode is %s)",
			      wire_mode_name(service->wire.mode));
		return;
	}
	if (service->n_denies > SL_MAX_DENIES_PER_SERVICE) {
		problem_error(problems, name, service->deny[SL_MAX_DENIES_PER_SERVICE].mark, path,
			      "%zu prefixes in deny_source and deny_destination (limit %d)",
			      service->n_denies, SL_MAX_DENIES_PER_SERVICE);
		return;
	}
	for (size_t i = 0; i < service->n_denies; i++) {
		const struct config_deny *deny = &service->deny[i];
		const char *reason = config_judge_deny(address, &deny->wire);

		if (reason != NULL)
			problem_error(problems, name, deny->mark,
				      deny_path(path, &deny->wire, inner), "%s, %s", reason,
				      wire_format_address(address, text));
	}
	check_duplicates(service, path, name, problems);
}

void denies_check_all(const struct config_service *service, size_t n, const char *name,
		      struct config_problems *problems)
{
	struct config_mark first = {1, 1}; /* that is too many */
	size_t n_denies = 0;

	for (size_t i = 0; i < n; i++) {
		if (n_denies <= SL_MAX_DENIES && n_denies + service[i].n_denies > SL_MAX_DENIES &&
		    !service[i].is_judged)
			first = service[i].deny[SL_MAX_DENIES - n_denies].mark;
		n_denies += service[i].n_denies;
	}
	if (n_denies > SL_MAX_DENIES)
		problem_error(problems, name, first, "services",
			      "%zu prefixes in deny_source and deny_destination of all services "
			      "(limit %d)",
			      n_denies, SL_MAX_DENIES);
}
