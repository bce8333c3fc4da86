/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* The prefixes that services list: judged and filed as staging.c does the rest. Pure. */
#include <errno.h>
#include <string.h>

#include "dataplane/staging.h"
#include "wire/wire_abi.h"

/* How many prefixes of @list there are in all services. */
static uint32_t *number_of(struct staging *staging, uint8_t list)
{
	return wire_list_is_denying(list) ? &staging->n_denied : &staging->n_canary_sources;
}

void staging_drop_listed(struct staging *staging, struct staged_service *service)
{
	if (!service->is_cleared)
		staging->digest -= service->listed_digest;
	/* The mode has the one kind or the other. */
	if (service->n_listed != 0)
		*number_of(staging, service->listed[0].list) -= service->n_listed;
	service->n_listed = 0;
	service->listed_digest = 0;
}

/* Whether the list goes with the service, and the family with both. */
static int judge_list(const struct wire_listed *record, const char *service, const char *prefix,
		      char *error)
{
	const char *name = wire_list_name(record->list);

	if (record->list < WIRE_DENY_SOURCE || record->list > WIRE_N_LISTS)
		return staging_refuse(error, -EINVAL, "service %s: %s is in list %u (limit 1..%d)",
				      service, prefix, record->list, WIRE_N_LISTS);
	if (wire_is_prefix(&record->service) != wire_list_is_denying(record->list))
		return staging_refuse(
			error, -EINVAL, "service %s: %s %s: goes with mode%s alone", service, name,
			prefix, wire_list_is_denying(record->list) ? " snat" : "s nat and fullnat");
	if (wire_list_is_denying(record->list) && record->family != record->service.family)
		return staging_refuse(
			error, -EINVAL,
			"service %s: %s %s: is of another address family than the service", service,
			name, prefix);
	return 0;
}

static int judge_listed(const struct wire_listed *record, const char *service, char *error)
{
	uint32_t n_bits = record->family == SL_FAMILY_IPV4 ? 32 : 128;
	const char *name = wire_list_name(record->list);
	char text[WIRE_ADDRESS_TEXT];

	if (record->family != SL_FAMILY_IPV4 && record->family != SL_FAMILY_IPV6)
		return staging_refuse(error, -EINVAL,
				      "service %s: %s: a prefix of family %u (allowed: 4, 6)",
				      service, name, record->family);
	wire_format_prefix(&record->addr, record->length, record->family, text);
	if (judge_list(record, service, text, error) != 0)
		return -EINVAL;
	if (record->reserved != 0)
		return staging_refuse(error, -EINVAL,
				      "service %s: %s %s: reserved bytes are not zero", service,
				      name, text);
	if (record->length > n_bits)
		return staging_refuse(error, -EINVAL,
				      "service %s: %s %s: a prefix of %u bits (limit 0..%u)",
				      service, name, text, record->length, n_bits);
	if (wire_has_bits_beyond(&record->addr, record->length, record->family) ||
	    (record->family == SL_FAMILY_IPV4 && !staging_is_zero(&record->addr.word[1], 12)))
		return staging_refuse(error, -EINVAL,
				      "service %s: %s %s: the address has bits beyond the prefix",
				      service, name, text);
	if (record->list == WIRE_DENY_SOURCE &&
	    (record->length < wire_prefix_length(&record->service) ||
	     !wire_prefix_has(&record->service, &record->addr)))
		return staging_refuse(error, -EINVAL,
				      "service %s: %s %s: is no part of the service's prefix",
				      service, name, text);
	return 0;
}

static int judge_room(struct staging *staging, const struct staged_service *service, uint8_t list,
		      const char *text, char *error)
{
	const char *what = wire_list_is_denying(list) ? "denied prefixes" : "canary sources";

	if (service->n_listed == wire_list_limit(list))
		return staging_refuse(error, -ENOSPC, "service %s: %u %s (limit %u)", text,
				      service->n_listed + 1, what, wire_list_limit(list));
	if (*number_of(staging, list) == wire_list_limit_of_all(list))
		return staging_refuse(error, -ENOSPC, "service %s: %s of all services (limit %u)",
				      text, what, wire_list_limit_of_all(list));
	return 0;
}

/* Where @record is to stand. False: it stands there. */
static bool find_place(const struct staged_service *service, const struct wire_listed *record,
		       uint32_t *at)
{
	uint32_t low = 0;
	uint32_t high = service->n_listed;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		int order = wire_compare_listed(&service->listed[middle], record);

		if (order == 0)
			return false;
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	*at = low;
	return true;
}

static void insert(struct staging *staging, struct staged_service *service, uint32_t at,
		   const struct wire_listed *record)
{
	uint64_t digest = wire_digest(record, sizeof(*record));

	memmove(&service->listed[at + 1], &service->listed[at],
		(service->n_listed - at) * sizeof(*service->listed));
	service->listed[at] = *record;
	service->n_listed++;
	service->listed_digest += digest;
	++*number_of(staging, record->list);
	staging->digest += digest;
}

int staging_put_listed(struct staging *staging, const struct wire_listed *record, char *error)
{
	int status = staging_judge_address(&record->service, error);
	char text[WIRE_ADDRESS_TEXT], prefix[WIRE_ADDRESS_TEXT];
	struct staged_service *service;
	uint32_t index;
	uint32_t at;

	if (status != 0)
		return status;
	wire_format_address(&record->service, text);
	status = judge_listed(record, text, error);
	if (status != 0)
		return status;
	index = staging_find_service(staging, &record->service);
	if (index == SL_NO_INDEX)
		return staging_refuse(error, -ENOENT, "service %s: not found", text);
	service = &staging->service[index];
	status = judge_room(staging, service, record->list, text, error);
	if (status != 0)
		return status;
	if (!find_place(service, record, &at))
		return staging_refuse(
			error, -EEXIST, "service %s: %s %s stands there twice", text,
			wire_list_name(record->list),
			wire_format_prefix(&record->addr, record->length, record->family, prefix));
	if (!staging_grow((void **)&service->listed, &service->listed_capacity, service->n_listed,
			  sizeof(*service->listed)))
		return staging_refuse(error, -ENOMEM, "service %s: out of memory", text);
	staging->is_all_changed = true;
	insert(staging, service, at, record);
	return 0;
}
