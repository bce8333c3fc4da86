/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* See listed.h. Duplicates are found by sorting: a list may have thousands of prefixes. */
#include "config/listed.h"

#include <stdio.h>
#include <stdlib.h>

#include "config/problem.h"
#include "wire/wire_abi.h"

const char *config_judge_listed(const struct wire_address *service,
				const struct wire_listed *listed)
{
	if (!wire_list_is_denying(listed->list))
		return NULL;
	if (listed->family != service->family)
		return "is of another address family than the service";
	if (listed->list == WIRE_DENY_SOURCE && (listed->length < wire_prefix_length(service) ||
						 !wire_prefix_has(service, &listed->addr)))
		return "is no part of the service's prefix";
	return NULL;
}

const char *config_list_modes(uint8_t list)
{
	return wire_list_is_denying(list) ? "mode snat" : "modes nat and fullnat";
}

static int compare(const void *left, const void *right)
{
	const struct config_listed *const *a = left;
	const struct config_listed *const *b = right;
	int order = wire_compare_listed(&(*a)->wire, &(*b)->wire);

	return order != 0 ? order : (*a > *b) - (*a < *b);
}

/* "services[0] (office): deny_source 10.0.0.0/24" */
static const char *listed_path(const char *parent, const struct wire_listed *listed,
			       char path[static 256])
{
	char text[WIRE_ADDRESS_TEXT];

	snprintf(path, 256, "%s: %s %s", parent, wire_list_name(listed->list),
		 wire_format_prefix(&listed->addr, listed->length, listed->family, text));
	return path;
}

static void check_duplicates(const struct config_service *service, const char *parent,
			     const char *name, struct config_problems *problems)
{
	const struct config_listed **sorted = calloc(service->n_listed, sizeof(*sorted));
	char path[256];

	if (sorted == NULL) {
		problem_error(problems, name, service->mark, parent, "out of memory");
		return;
	}
	for (size_t i = 0; i < service->n_listed; i++)
		sorted[i] = &service->listed[i];
	qsort(sorted, service->n_listed, sizeof(*sorted), compare);
	for (size_t i = 1; i < service->n_listed; i++)
		if (wire_compare_listed(&sorted[i]->wire, &sorted[i - 1]->wire) == 0)
			problem_error(problems, name, sorted[i]->mark,
				      listed_path(parent, &sorted[i]->wire, path),
				      "stands there twice");
	free(sorted);
}

/* What the limit counts together. */
static const char *kind_of(uint8_t list)
{
	return wire_list_is_denying(list) ? "deny_source and deny_destination" : "canary.sources";
}

/* Whether the prefix, by its list, can be the service's at all. */
static bool check_listed(const struct config_service *service, const struct config_listed *listed,
			 const char *parent, const char *name, struct config_problems *problems)
{
	const struct wire_address *address = &service->wire.address;
	const char *reason = config_judge_listed(address, &listed->wire);
	char text[WIRE_ADDRESS_TEXT], path[256];

	listed_path(parent, &listed->wire, path);
	if (wire_is_prefix(address) != wire_list_is_denying(listed->wire.list)) {
		problem_error(
			problems, name, listed->mark, path, "goes with %s alone (the mode is %s)",
			config_list_modes(listed->wire.list), wire_mode_name(service->wire.mode));
		return false;
	}
	if (listed->wire.list == WIRE_CANARY_SOURCE && service->canary.group[0] == '\0') {
		problem_error(problems, name, listed->mark, path, "goes with a canary's group");
		return false;
	}
	if (reason != NULL)
		problem_error(problems, name, listed->mark, path, "%s, %s", reason,
			      wire_format_address(address, text));
	return true;
}

void listed_check(const struct config_service *service, const char *path, const char *name,
		  struct config_problems *problems)
{
	uint8_t list = service->n_listed != 0 ? service->listed[0].wire.list : 0;

	if (service->n_listed == 0)
		return;
	if (service->n_listed > wire_list_limit(list)) {
		problem_error(problems, name, service->listed[wire_list_limit(list)].mark, path,
			      "%zu prefixes in %s (limit %u)", service->n_listed, kind_of(list),
			      wire_list_limit(list));
		return;
	}
	for (size_t i = 0; i < service->n_listed; i++)
		if (!check_listed(service, &service->listed[i], path, name, problems))
			return;
	check_duplicates(service, path, name, problems);
}

/* Those of one kind; services of mode snat have the one, all others the other. */
static void check_sum(const struct config_service *service, size_t n, uint8_t list,
		      const char *name, struct config_problems *problems)
{
	const size_t limit = wire_list_limit_of_all(list);
	struct config_mark first = {1, 1}; /* that is too many */
	size_t sum = 0;

	for (size_t i = 0; i < n; i++) {
		if (wire_is_prefix(&service[i].wire.address) != wire_list_is_denying(list))
			continue;
		if (sum <= limit && sum + service[i].n_listed > limit && !service[i].is_judged)
			first = service[i].listed[limit - sum].mark;
		sum += service[i].n_listed;
	}
	if (sum > limit)
		problem_error(problems, name, first, "services",
			      "%zu prefixes in %s of all services (limit %zu)", sum, kind_of(list),
			      limit);
}

void listed_check_all(const struct config_service *service, size_t n, const char *name,
		      struct config_problems *problems)
{
	check_sum(service, n, WIRE_DENY_SOURCE, name, problems);
	check_sum(service, n, WIRE_CANARY_SOURCE, name, problems);
}
