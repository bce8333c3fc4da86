/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* flow.list, flow.count, explain. */
#include "control/daemon/handlers.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "control/client.h"
#include "control/daemon/daemon.h"
#include "control/daemon/desired.h"
#include "control/daemon/text.h"
#include "wire/wire_abi.h"

enum {
	DEFAULT_FLOW_LIMIT = 100,
	MAX_STEPS = 64,
	MAX_EMPTY_PAGES = 4096, /* a page may be empty and not the last; this bounds one call */
};

static int take_filter(const struct call *call, struct wire_flow_filter *filter)
{
	const struct desired_service *service;

	memset(filter, 0, sizeof(*filter));
	if (call_string(call, "service")) {
		int code = call_service(call, "service", &service);

		if (code)
			return code;
		filter->service = service->wire.address;
	}
	return call_addr(call, "client", &filter->client, &filter->client_port,
			 &filter->client_family);
}

static json_t *flow_to_json(const struct wire_flow_record *flow)
{
	char client[WIRE_ADDRESS_TEXT], service[WIRE_ADDRESS_TEXT], source[WIRE_ADDRESS_TEXT],
		backend[WIRE_ADDRESS_TEXT];

	(void)wire_format_endpoint(&flow->client, flow->client_port, flow->family, client);
	(void)wire_format_endpoint(&flow->service, flow->service_port, flow->family, service);
	(void)wire_format_endpoint(&flow->source, flow->source_port, flow->family, source);
	(void)wire_format_endpoint(&flow->backend, flow->backend_port, flow->family, backend);
	/* Mode snat: from a prefix to anywhere. */
	if (flow->backend_port == 0) {
		const struct wire_address prefix = {
			.addr = flow->service, .port = flow->service_port, .family = flow->family};

		(void)wire_format_address(&prefix, service);
		(void)snprintf(backend, sizeof(backend), "*");
	}
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:f, s:f}", "protocol",
			 text_protocol(flow->protocol), "client", client, "service", service,
			 "source", source, "backend", backend, "state",
			 wire_flow_state_name(flow->state), "worker", (int)flow->worker,
			 "idle_seconds", flow->idle_ms / 1000.0, "timeout_seconds",
			 flow->timeout_ms / 1000.0);
}

int handle_flow_list(struct call *call)
{
	struct wire_flow_record record[WIRE_MAX_RECORDS];
	struct wire_flow_filter filter;
	struct client *client;
	uint64_t cursor = 0;
	int64_t left = call_integer(call, "limit", DEFAULT_FLOW_LIMIT);
	json_t *list;
	int code = take_filter(call, &filter);

	if (!code)
		code = call_client(call, &client);
	if (code)
		return code;
	list = json_array();
	for (unsigned page = 0; left > 0 && page < MAX_EMPTY_PAGES; page++) {
		uint32_t limit = left < WIRE_MAX_RECORDS ? (uint32_t)left : WIRE_MAX_RECORDS;
		uint32_t n;
		int status = client_flows(client, &filter, limit, cursor, record, &n, &cursor);

		if (status) {
			json_decref(list);
			return call_client_failed(call, client, status);
		}
		for (uint32_t i = 0; i < n; i++)
			json_array_append_new(list, flow_to_json(&record[i]));
		left -= n;
		if (cursor == 0)
			break;
	}
	call->result = json_pack("{s:o, s:b}", "flows", list, "truncated", cursor != 0);
	return RPC_OK;
}

int handle_flow_count(struct call *call)
{
	struct wire_flow_count_reply reply;
	struct wire_flow_filter filter;
	struct client *client;
	int status, code = take_filter(call, &filter);

	if (!code)
		code = call_client(call, &client);
	if (code)
		return code;
	status = client_flow_count(client, &filter, &reply);
	if (status)
		return call_client_failed(call, client, status);
	call->result = json_pack(
		"{s:I, s:I, s:I, s:I, s:I}", "flows", (json_int_t)(reply.ipv4 + reply.ipv6), "ipv4",
		(json_int_t)reply.ipv4, "ipv6", (json_int_t)reply.ipv6, "embryonic",
		(json_int_t)reply.embryonic, "capacity", (json_int_t)reply.capacity);
	return RPC_OK;
}

static int take_packet(const struct call *call, struct wire_explain_request *request)
{
	uint8_t family;
	int code = text_parse_addr_port("explain", "source", call_string(call, "source"),
					&request->source, &request->source_port, &request->family,
					call->error);

	if (!code)
		code = text_parse_addr_port("explain", "destination",
					    call_string(call, "destination"), &request->destination,
					    &request->destination_port, &family, call->error);
	if (code)
		return code;
	request->protocol = strcmp(call_string(call, "protocol"), "tcp") == 0 ? SL_PROTOCOL_TCP
									      : SL_PROTOCOL_UDP;
	if (family == request->family)
		return RPC_OK;
	rpc_error_set(call->error, RPC_PARAMS, "destination",
		      "explain: destination %s is of another address family than the source",
		      call_string(call, "destination"));
	rpc_error_data(call->error, call_string(call, "destination"), NULL);
	return RPC_PARAMS;
}

/* The service that the packet is for: exact, else the one with every port. */
static json_t *service_of(const struct daemon *daemon, const struct wire_explain_request *request)
{
	struct wire_address address = {
		.addr = request->destination,
		.port = request->destination_port,
		.protocol = request->protocol,
		.family = request->family,
	};
	const struct desired_service *service = desired_find_address(daemon->desired, &address);

	if (!service) {
		address.port = 0;
		service = desired_find_address(daemon->desired, &address);
	}
	return service ? json_string(service->wire.name) : json_null();
}

static json_t *explanation(const struct daemon *daemon, const struct wire_explain_request *request,
			   const struct wire_explain_reply *reply,
			   const struct wire_explain_step *steps, uint32_t n_steps)
{
	json_t *list = json_array();
	json_t *backend = json_null();
	char hash[20], text[WIRE_ADDRESS_TEXT];

	for (uint32_t i = 0; i < n_steps; i++)
		json_array_append_new(list, json_pack("{s:s, s:s}", "step", steps[i].step, "text",
						      steps[i].text));
	if (reply->family) {
		(void)wire_format_endpoint(&reply->backend, reply->backend_port, reply->family,
					   text);
		backend = json_string(text);
	}
	(void)snprintf(hash, sizeof(hash), "%016" PRIx64, reply->hash);
	return json_pack("{s:s, s:o, s:o, s:o, s:s, s:b, s:o}", "verdict",
			 wire_verdict_name(reply->verdict), "service", service_of(daemon, request),
			 "backend", backend, "slot",
			 reply->slot == UINT32_MAX ? json_null() : json_integer(reply->slot),
			 "hash", hash, "existing_flow", (int)(reply->has_flow != 0), "steps", list);
}

int handle_explain(struct call *call)
{
	struct wire_explain_request request = {0};
	struct wire_explain_step steps[MAX_STEPS];
	struct wire_explain_reply reply;
	struct client *client;
	uint32_t n_steps;
	int status, code = take_packet(call, &request);

	if (!code)
		code = call_client(call, &client);
	if (code)
		return code;
	status = client_explain(client, &request, &reply, steps, MAX_STEPS, &n_steps);
	if (status)
		return call_client_failed(call, client, status);
	call->result = explanation(call->daemon, &request, &reply, steps, n_steps);
	return RPC_OK;
}
