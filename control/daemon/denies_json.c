/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* See denies_json.h. */
#include "control/daemon/denies_json.h"

#include <stdio.h>
#include <stdlib.h>

#include "config/config.h"
#include "control/daemon/desired.h"
#include "control/rpc.h"
#include "wire/wire_abi.h"

static json_t *deny_to_json(const struct wire_deny *deny)
{
	char text[WIRE_ADDRESS_TEXT];

	return json_string(
		wire_format_prefix(&deny->addr, deny->length, deny->service.family, text));
}

/* The part of the list that is of one end: from @first, of the result's length. */
static uint32_t part_of(const struct desired_service *service, uint8_t end, uint32_t *first)
{
	uint32_t low = 0, high = service->n_denies;

	while (low < high && service->deny[low].end != end)
		low++;
	while (high > low && service->deny[high - 1].end != end)
		high--;
	*first = low;
	return high - low;
}

uint32_t denies_count(const struct desired_service *service, uint8_t end)
{
	uint32_t first;

	return part_of(service, end, &first);
}

json_t *denies_to_json(const struct desired_service *service, uint8_t end)
{
	uint32_t first, n = part_of(service, end, &first);
	json_t *list = json_array();

	for (uint32_t i = 0; i < n; i++)
		json_array_append_new(list, deny_to_json(&service->deny[first + i]));
	return list;
}

/* @limit: NULL, or what the value must fit. */
static int refuse(const struct desired_service *service, uint8_t end, const char *value,
		  const char *limit, const char *reason, struct rpc_error *error)
{
	const char *field = wire_deny_end_name(end);

	rpc_error_set(error, RPC_PARAMS, field, "service %s: %s %s: %s%s%s", service->wire.name,
		      field, value, reason, limit ? ", " : "", limit ? limit : "");
	rpc_error_data(error, value, limit);
	return RPC_PARAMS;
}

static int refuse_mode(const struct desired_service *service, uint8_t end, const char *value,
		       struct rpc_error *error)
{
	const char *field = wire_deny_end_name(end);

	rpc_error_set(error, RPC_PARAMS, field,
		      "service %s: %s %s: goes with mode snat alone, the mode is %s",
		      service->wire.name, field, value, wire_mode_name(service->wire.mode));
	rpc_error_data(error, value, "mode snat");
	return RPC_PARAMS;
}

static int take_prefix(const struct desired_service *service, const json_t *item,
		       struct wire_deny *deny, struct rpc_error *error)
{
	const char *text = json_string_value(item), *reason = NULL;
	char address[WIRE_ADDRESS_TEXT];

	if (!text)
		return refuse(service, deny->end, "(no text)", NULL, "is no string", error);
	if (service->wire.mode != WIRE_MODE_SNAT)
		return refuse_mode(service, deny->end, text, error);
	if (!config_parse_prefix(text, &deny->addr, &deny->length, &deny->service.family, &reason))
		return refuse(service, deny->end, text, NULL, reason, error);
	reason = config_judge_deny(&service->wire.address, deny);
	if (reason)
		return refuse(service, deny->end, text,
			      wire_format_address(&service->wire.address, address), reason, error);
	return RPC_OK;
}

/* Appends the list at @end: the one given, or the one there is. */
static int take_list(const struct desired_service *service, uint8_t end, const json_t *list,
		     struct wire_deny *deny, uint32_t *n, struct rpc_error *error)
{
	uint32_t first, n_old = list ? 0 : part_of(service, end, &first);
	const json_t *item;
	size_t i;

	for (uint32_t k = 0; k < n_old; k++)
		deny[(*n)++] = service->deny[first + k];
	json_array_foreach(list, i, item)
	{
		int code;

		deny[*n].end = end;
		code = take_prefix(service, item, &deny[*n], error);
		if (code)
			return code;
		++*n;
	}
	return RPC_OK;
}

static int check_number(const struct desired_service *service, size_t n, struct rpc_error *error)
{
	char value[32], limit[32];

	if (n <= SL_MAX_DENIES_PER_SERVICE)
		return RPC_OK;
	(void)snprintf(value, sizeof(value), "%zu", n);
	(void)snprintf(limit, sizeof(limit), "%d", SL_MAX_DENIES_PER_SERVICE);
	rpc_error_set(
		error, RPC_LIMIT, "deny_destination",
		"service %s: %s prefixes in deny_source and deny_destination, the limit is %s",
		service->wire.name, value, limit);
	rpc_error_data(error, value, limit);
	return RPC_LIMIT;
}

static int check_duplicates(const struct desired_service *service, struct rpc_error *error)
{
	for (uint32_t i = 1; i < service->n_denies; i++) {
		const struct wire_deny *deny = &service->deny[i];
		char text[WIRE_ADDRESS_TEXT];

		if (wire_compare_denies(deny, deny - 1) == 0)
			return refuse(service, deny->end,
				      wire_format_prefix(&deny->addr, deny->length,
							 deny->service.family, text),
				      NULL, "stands there twice", error);
	}
	return RPC_OK;
}

int denies_from_json(struct desired_service *service, const json_t *source,
		     const json_t *destination, struct rpc_error *error)
{
	size_t room = service->n_denies + json_array_size(source) + json_array_size(destination);
	struct wire_deny *deny;
	uint32_t n = 0;
	int code;

	if (!source && !destination)
		return RPC_OK;
	deny = calloc(room + 1, sizeof(*deny));
	if (!deny)
		return rpc_error_set(error, RPC_INTERNAL, NULL, "out of memory");
	code = take_list(service, WIRE_DENY_SOURCE, source, deny, &n, error);
	if (!code)
		code = take_list(service, WIRE_DENY_DESTINATION, destination, deny, &n, error);
	if (!code)
		code = check_number(service, n, error);
	if (code) {
		free(deny);
		return code;
	}
	desired_service_deny(service, deny, n);
	return check_duplicates(service, error);
}

void denies_compare(const struct desired_service *old, const struct desired_service *new,
		    uint8_t end, json_t *added, json_t *removed)
{
	uint32_t i = 0, k = 0, n_old = old ? part_of(old, end, &i) : 0;
	uint32_t n_new = part_of(new, end, &k);

	n_old += i;
	n_new += k;
	while (i < n_old || k < n_new) {
		int order = k == n_new   ? -1
			    : i == n_old ? 1
					 : wire_compare_denies(&old->deny[i], &new->deny[k]);

		if (order < 0)
			json_array_append_new(removed, deny_to_json(&old->deny[i]));
		if (order > 0)
			json_array_append_new(added, deny_to_json(&new->deny[k]));
		i += order <= 0;
		k += order >= 0;
	}
}
