/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* affinity.list, affinity.clear. */
#include "control/daemon/handlers.h"

#include "control/client.h"
#include "control/daemon/daemon.h"
#include "control/daemon/desired.h"

static json_t *affinity_to_json(const struct desired_service *service,
				const struct wire_affinity_record *record)
{
	return json_pack("{s:s, s:I, s:I, s:I}", "service", service->wire.name, "timeout",
			 (json_int_t)service->wire.affinity_timeout_sec, "prefix",
			 (json_int_t)service->wire.affinity_prefix, "entries",
			 (json_int_t)record->n_entries);
}

/*
 * Appends to @list what the dataplane has, of @only or of all services. Of one that is not desired any more
 * nothing is said.
 */
static int list_entries(const struct call *call, struct client *client,
			const struct desired_service *only, json_t *list)
{
	struct wire_affinity_record record[WIRE_MAX_RECORDS];
	uint32_t n, next = 0;

	do {
		int status = client_affinities(client, next, record, &n, &next);

		if (status)
			return call_client_failed(call, client, status);
		for (uint32_t i = 0; i < n; i++) {
			const struct desired_service *service =
				desired_find_address(call->daemon->desired, &record[i].service);

			if (service && (!only || service == only))
				json_array_append_new(list, affinity_to_json(service, &record[i]));
		}
	} while (next != 0);
	return RPC_OK;
}

int handle_affinity_list(struct call *call)
{
	const struct desired_service *only = NULL;
	struct wire_status_reply status;
	struct client *client;
	json_t *list;
	int code = call_string(call, "service") ? call_service(call, "service", &only) : RPC_OK;

	if (!code)
		code = call_client(call, &client);
	if (code)
		return code;
	code = client_status(client, &status);
	if (code)
		return call_client_failed(call, client, code);
	list = json_array();
	code = list_entries(call, client, only, list);
	if (code) {
		json_decref(list);
		return code;
	}
	call->result = json_pack("{s:o, s:I, s:I}", "affinities", list, "entries",
				 (json_int_t)status.affinities, "capacity",
				 (json_int_t)status.affinities_capacity);
	return RPC_OK;
}

/* How many entries would end. */
static int count_entries(const struct call *call, struct client *client,
			 const struct desired_service *service, json_int_t *n_entries)
{
	json_t *list = json_array();
	int code = list_entries(call, client, service, list);

	*n_entries = json_integer_value(json_object_get(json_array_get(list, 0), "entries"));
	json_decref(list);
	return code;
}

int handle_affinity_clear(struct call *call)
{
	bool is_dry_run = json_is_true(json_object_get(call->params, "dry_run"));
	const struct desired_service *service;
	struct client *client;
	json_int_t n_entries = 0;
	uint32_t n = 0;
	int status, code = call_service(call, "service", &service);

	if (!code)
		code = call_client(call, &client);
	if (!code && is_dry_run)
		code = count_entries(call, client, service, &n_entries);
	if (code)
		return code;
	if (!is_dry_run) {
		status = client_affinity_clear(client, &service->wire.address, &n);
		if (status)
			return call_client_failed(call, client, status);
		n_entries = n;
	}
	call->result = json_pack("{s:I, s:b, s:b, s:I}", "generation",
				 (json_int_t)call->daemon->generation, "applied", !is_dry_run,
				 "dry_run", is_dry_run, "entries", n_entries);
	return RPC_OK;
}
