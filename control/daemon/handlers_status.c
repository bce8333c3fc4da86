/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* status, counters, methods. */
#include "control/daemon/handlers.h"

#include "control/client.h"
#include "control/daemon/counters_json.h"
#include "control/daemon/desired.h"
#include "control/daemon/status_json.h"

int handle_methods(struct call *call)
{
	call->result = method_describe();
	return RPC_OK;
}

static int service_counters(struct call *call, struct client *client)
{
	struct wire_service_counters_reply reply;
	const struct desired_service *service;
	int status, code = call_service(call, "service", &service);

	if (code)
		return code;
	status = client_service_counters(client, &service->wire.address, &reply);
	if (status)
		return call_client_failed(call, client, status);
	call->result = json_pack("{s:s, s:o, s:o}", "service", service->wire.name, "counters",
				 counters_of_service(&reply), "backends",
				 counters_of_backends(call->daemon, service));
	return RPC_OK;
}

/* Appends each worker's counters to @list. 0 or the status of the call that failed. */
static int worker_counters(struct client *client, json_t *list)
{
	struct wire_worker_record record[SL_MAX_WORKERS];
	uint32_t n;
	int status = client_workers(client, false, record, &n);

	for (uint32_t i = 0; !status && i < n; i++) {
		struct wire_counters_reply reply;
		json_t *entry;

		status = client_counters(client, i, &reply);
		if (status)
			break;
		entry = counters_of_worker(&reply);
		json_object_set_new(entry, "worker", json_integer(i));
		json_object_set_new(entry, "core", json_integer(record[i].core));
		json_array_append_new(list, entry);
	}
	return status;
}

int handle_counters(struct call *call)
{
	struct wire_counters_reply reply;
	struct client *client;
	json_t *workers;
	int status, code = call_client(call, &client);

	if (code)
		return code;
	if (call_string(call, "service"))
		return service_counters(call, client);
	status = client_counters(client, WIRE_ALL_WORKERS, &reply);
	if (status)
		return call_client_failed(call, client, status);
	workers = json_array();
	status = worker_counters(client, workers);
	if (status) {
		json_decref(workers);
		return call_client_failed(call, client, status);
	}
	call->result = counters_of_worker(&reply);
	json_object_set_new(call->result, "workers", workers);
	return RPC_OK;
}

int handle_status(struct call *call)
{
	call->result = status_to_json(call->daemon);
	return RPC_OK;
}
