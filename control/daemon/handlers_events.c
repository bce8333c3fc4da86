/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* events.subscribe: judges what is wanted; api.c sends it. */
#include "control/daemon/handlers.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "control/daemon/daemon.h"
#include "control/daemon/events.h"

/* The names that are wanted; all of them if none is named. A new reference. */
static int take_types(const struct call *call, json_t **types)
{
	const json_t *given = json_object_get(call->params, "types");
	const json_t *name;
	enum event_type type;
	size_t i;

	*types = json_array();
	for (i = 0; !given && i < N_EVENT_TYPES; i++)
		json_array_append_new(*types, json_string(event_type_name((enum event_type)i)));
	json_array_foreach(given, i, name)
	{
		const char *text = json_string_value(name);

		if (!event_type_find(text, &type)) {
			json_decref(*types);
			rpc_error_set(call->error, RPC_PARAMS, "types",
				      "%s: types: \"%.64s\": there are no such events",
				      call->method->name, text);
			rpc_error_data(call->error, text, NULL);
			return RPC_PARAMS;
		}
		json_array_append_new(*types, json_string(text));
	}
	return RPC_OK;
}

/* After which event: none given, after the last one; of another sluiced, from the first that is kept. */
static int take_since(const struct call *call, const char *instance, int64_t *since)
{
	int64_t last = (int64_t)events_last(call->daemon->events);
	const char *of = call_string(call, "instance");
	char value[32], limit[32];

	*since = call_integer(call, "since", last);
	if (of && strcmp(of, instance) != 0)
		*since = 0;
	if (*since <= last)
		return RPC_OK;
	(void)snprintf(value, sizeof(value), "%" PRId64, *since);
	(void)snprintf(limit, sizeof(limit), "%" PRId64, last);
	rpc_error_set(call->error, RPC_PARAMS, "since",
		      "%s: since is %s, the last event is %s: sluiced has begun anew?",
		      call->method->name, value, limit);
	rpc_error_data(call->error, value, limit);
	return RPC_PARAMS;
}

int handle_events_subscribe(struct call *call)
{
	char instance[17];
	json_t *types;
	int64_t since;
	int code;

	(void)snprintf(instance, sizeof(instance), "%016" PRIx64, call->daemon->started_ns);
	code = take_since(call, instance, &since);
	if (!code)
		code = take_types(call, &types);
	if (code)
		return code;
	call->result = json_pack("{s:s, s:I, s:I, s:I, s:o}", "instance", instance, "since",
				 (json_int_t)since, "first",
				 (json_int_t)events_first(call->daemon->events), "last",
				 (json_int_t)events_last(call->daemon->events), "types", types);
	return RPC_OK;
}
