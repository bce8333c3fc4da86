/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* See lists_json.h. */
#include "control/daemon/lists_json.h"

#include <stdio.h>
#include <stdlib.h>

#include "config/config.h"
#include "control/daemon/desired.h"
#include "control/rpc.h"
#include "wire/wire_abi.h"

static json_t *listed_to_json(const struct wire_listed *listed)
{
	char text[WIRE_ADDRESS_TEXT];

	return json_string(wire_format_prefix(&listed->addr, listed->length, listed->family, text));
}

/* The part of what is listed that is of one list: from @first, of the result's length. */
static uint32_t part_of(const struct desired_service *service, uint8_t which, uint32_t *first)
{
	uint32_t low = 0, high = service->n_listed;

	while (low < high && service->listed[low].list != which)
		low++;
	while (high > low && service->listed[high - 1].list != which)
		high--;
	*first = low;
	return high - low;
}

uint32_t list_count(const struct desired_service *service, uint8_t which)
{
	uint32_t first;

	return part_of(service, which, &first);
}

json_t *list_to_json(const struct desired_service *service, uint8_t which)
{
	uint32_t first, n = part_of(service, which, &first);
	json_t *list = json_array();

	for (uint32_t i = 0; i < n; i++)
		json_array_append_new(list, listed_to_json(&service->listed[first + i]));
	return list;
}

/* @limit: NULL, or what the value must fit. */
static int refuse(const struct desired_service *service, uint8_t which, const char *value,
		  const char *limit, const char *reason, struct rpc_error *error)
{
	const char *field = wire_list_name(which);

	rpc_error_set(error, RPC_PARAMS, field, "service %s: %s %s: %s%s%s", service->wire.name,
		      field, value, reason, limit ? ", " : "", limit ? limit : "");
	rpc_error_data(error, value, limit);
	return RPC_PARAMS;
}

static int refuse_mode(const struct desired_service *service, uint8_t which, const char *value,
		       struct rpc_error *error)
{
	const char *field = wire_list_name(which), *modes = config_list_modes(which);

	rpc_error_set(error, RPC_PARAMS, field,
		      "service %s: %s %s: goes with %s alone, the mode is %s", service->wire.name,
		      field, value, modes, wire_mode_name(service->wire.mode));
	rpc_error_data(error, value, modes);
	return RPC_PARAMS;
}

static int take_prefix(const struct desired_service *service, const json_t *item,
		       struct wire_listed *listed, struct rpc_error *error)
{
	const char *text = json_string_value(item), *reason = NULL;
	char address[WIRE_ADDRESS_TEXT];

	if (!text)
		return refuse(service, listed->list, "(no text)", NULL, "is no string", error);
	if ((service->wire.mode == WIRE_MODE_SNAT) != wire_list_is_denying(listed->list))
		return refuse_mode(service, listed->list, text, error);
	if (!config_parse_prefix(text, &listed->addr, &listed->length, &listed->family, &reason))
		return refuse(service, listed->list, text, NULL, reason, error);
	reason = config_judge_listed(&service->wire.address, listed);
	if (reason)
		return refuse(service, listed->list, text,
			      wire_format_address(&service->wire.address, address), reason, error);
	return RPC_OK;
}

/* Whether @which stays as it is, unless it is given: a canary's sources end with the canary. */
static bool is_kept(const struct desired_service *service, uint8_t which)
{
	return which != WIRE_CANARY_SOURCE || service->canary.group[0];
}

/* Appends list @which: the one given, or the one there is. */
static int take_list(const struct desired_service *service, uint8_t which, const json_t *list,
		     struct wire_listed *listed, uint32_t *n, struct rpc_error *error)
{
	uint32_t first, n_old = part_of(service, which, &first);
	const json_t *item;
	size_t i;

	for (uint32_t k = 0; !list && is_kept(service, which) && k < n_old; k++)
		listed[(*n)++] = service->listed[first + k];
	json_array_foreach(list, i, item)
	{
		int code;

		listed[*n].list = which;
		code = take_prefix(service, item, &listed[*n], error);
		if (code)
			return code;
		++*n;
	}
	return RPC_OK;
}

static int check_number(const struct desired_service *service, size_t n, struct rpc_error *error)
{
	bool is_denying = service->wire.mode == WIRE_MODE_SNAT;
	uint8_t which = is_denying ? WIRE_DENY_DESTINATION : WIRE_CANARY_SOURCE;
	char value[32], limit[32];

	if (n <= wire_list_limit(which))
		return RPC_OK;
	(void)snprintf(value, sizeof(value), "%zu", n);
	(void)snprintf(limit, sizeof(limit), "%u", wire_list_limit(which));
	rpc_error_set(error, RPC_LIMIT, wire_list_name(which),
		      "service %s: %s prefixes in %s, the limit is %s", service->wire.name, value,
		      is_denying ? "deny_source and deny_destination" : wire_list_name(which),
		      limit);
	rpc_error_data(error, value, limit);
	return RPC_LIMIT;
}

static int check_duplicates(const struct desired_service *service, struct rpc_error *error)
{
	for (uint32_t i = 1; i < service->n_listed; i++) {
		const struct wire_listed *listed = &service->listed[i];
		char text[WIRE_ADDRESS_TEXT];

		if (wire_compare_listed(listed, listed - 1) == 0)
			return refuse(service, listed->list,
				      wire_format_prefix(&listed->addr, listed->length,
							 listed->family, text),
				      NULL, "stands there twice", error);
	}
	return RPC_OK;
}

int lists_from_json(struct desired_service *service, const struct lists_given *given,
		    struct rpc_error *error)
{
	size_t room = service->n_listed;
	struct wire_listed *listed;
	bool is_any = false;
	uint32_t n = 0;
	int code = RPC_OK;

	for (uint8_t which = 1; which <= WIRE_N_LISTS; which++) {
		room += json_array_size(given->list[which]);
		is_any |= given->list[which] || !is_kept(service, which);
	}
	if (!is_any)
		return RPC_OK;
	listed = calloc(room + 1, sizeof(*listed));
	if (!listed)
		return rpc_error_set(error, RPC_INTERNAL, NULL, "out of memory");
	for (uint8_t which = 1; !code && which <= WIRE_N_LISTS; which++)
		code = take_list(service, which, given->list[which], listed, &n, error);
	if (!code)
		code = check_number(service, n, error);
	if (code) {
		free(listed);
		return code;
	}
	desired_service_list(service, listed, n);
	return check_duplicates(service, error);
}

void list_compare(const struct desired_service *old, const struct desired_service *new,
		  uint8_t which, json_t *added, json_t *removed)
{
	uint32_t i = 0, k = 0, n_old = old ? part_of(old, which, &i) : 0;
	uint32_t n_new = part_of(new, which, &k);

	n_old += i;
	n_new += k;
	while (i < n_old || k < n_new) {
		int order = k == n_new   ? -1
			    : i == n_old ? 1
					 : wire_compare_listed(&old->listed[i], &new->listed[k]);

		if (order < 0)
			json_array_append_new(removed, listed_to_json(&old->listed[i]));
		if (order > 0)
			json_array_append_new(added, listed_to_json(&new->listed[k]));
		i += order <= 0;
		k += order >= 0;
	}
}
