/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* The prefixes that services of mode snat deny: judged and filed as staging.c does the rest. Pure. */
#include <errno.h>
#include <string.h>

#include "dataplane/staging.h"
#include "wire/wire_abi.h"

void staging_drop_denies(struct staging *staging, struct staged_service *service)
{
	if (!service->is_cleared)
		staging->digest -= service->deny_digest;
	staging->n_denies -= service->n_denies;
	service->n_denies = 0;
	service->deny_digest = 0;
}

static int judge_deny(const struct wire_deny *record, const char *service, char *error)
{
	uint8_t family = record->service.family;
	uint32_t n_bits = family == SL_FAMILY_IPV4 ? 32 : 128;
	const char *end = wire_deny_end_name(record->end);
	struct wire_address prefix = record->service;
	char text[WIRE_ADDRESS_TEXT];

	wire_format_prefix(&record->addr, record->length, family, text);
	if (!wire_is_prefix(&record->service))
		return staging_refuse(error, -EINVAL,
				      "service %s: %s %s: goes with mode snat alone", service, end,
				      text);
	if (record->end < WIRE_DENY_SOURCE || record->end > WIRE_N_DENY_ENDS)
		return staging_refuse(error, -EINVAL,
				      "service %s: %s is denied at end %u (limit 1..%d)", service,
				      text, record->end, WIRE_N_DENY_ENDS);
	if (!staging_is_zero(record->reserved, sizeof(record->reserved)))
		return staging_refuse(error, -EINVAL,
				      "service %s: %s %s: reserved bytes are not zero", service,
				      end, text);
	if (record->length > n_bits)
		return staging_refuse(error, -EINVAL,
				      "service %s: %s %s: a prefix of %u bits (limit 0..%u)",
				      service, end, text, record->length, n_bits);
	if (wire_has_bits_beyond(&record->addr, record->length, family) ||
	    (family == SL_FAMILY_IPV4 && !staging_is_zero(&record->addr.word[1], 12)))
		return staging_refuse(error, -EINVAL,
				      "service %s: %s %s: the address has bits beyond the prefix",
				      service, end, text);
	if (record->end == WIRE_DENY_SOURCE && (record->length < wire_prefix_length(&prefix) ||
						!wire_prefix_has(&prefix, &record->addr)))
		return staging_refuse(error, -EINVAL,
				      "service %s: %s %s: is no part of the service's prefix",
				      service, end, text);
	return 0;
}

static int judge_room(const struct staging *staging, const struct staged_service *service,
		      const char *text, char *error)
{
	if (service->n_denies == SL_MAX_DENIES_PER_SERVICE)
		return staging_refuse(error, -ENOSPC, "service %s: deny list full (limit %d)", text,
				      SL_MAX_DENIES_PER_SERVICE);
	if (staging->n_denies == SL_MAX_DENIES)
		return staging_refuse(error, -ENOSPC,
				      "service %s: denies of all services (limit %d)", text,
				      SL_MAX_DENIES);
	return 0;
}

/* Where @record is to stand. False: it stands there. */
static bool find_place(const struct staged_service *service, const struct wire_deny *record,
		       uint32_t *at)
{
	uint32_t low = 0;
	uint32_t high = service->n_denies;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		int order = wire_compare_denies(&service->deny[middle], record);

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
		   const struct wire_deny *record)
{
	uint64_t digest = wire_digest(record, sizeof(*record));

	memmove(&service->deny[at + 1], &service->deny[at],
		(service->n_denies - at) * sizeof(*service->deny));
	service->deny[at] = *record;
	service->n_denies++;
	service->deny_digest += digest;
	staging->n_denies++;
	staging->digest += digest;
}

int staging_put_deny(struct staging *staging, const struct wire_deny *record, char *error)
{
	int status = staging_judge_address(&record->service, error);
	char text[WIRE_ADDRESS_TEXT], prefix[WIRE_ADDRESS_TEXT];
	struct staged_service *service;
	uint32_t index;
	uint32_t at;

	if (status != 0)
		return status;
	wire_format_address(&record->service, text);
	status = judge_deny(record, text, error);
	if (status != 0)
		return status;
	index = staging_find_service(staging, &record->service);
	if (index == SL_NO_INDEX)
		return staging_refuse(error, -ENOENT, "service %s: not found", text);
	service = &staging->service[index];
	status = judge_room(staging, service, text, error);
	if (status != 0)
		return status;
	if (!find_place(service, record, &at))
		return staging_refuse(error, -EEXIST, "service %s: %s %s stands there twice", text,
				      wire_deny_end_name(record->end),
				      wire_format_prefix(&record->addr, record->length,
							 record->service.family, prefix));
	if (!staging_grow((void **)&service->deny, &service->deny_capacity, service->n_denies,
			  sizeof(*service->deny)))
		return staging_refuse(error, -ENOMEM, "service %s: out of memory", text);
	staging->is_all_changed = true;
	insert(staging, service, at, record);
	return 0;
}
