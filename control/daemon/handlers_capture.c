/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * capture.begin, capture.read, capture.stop. The dataplane has the capture and its limits; here names
 * become numbers. What is in packets is for those alone who may change things.
 */
#include "control/daemon/handlers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/base64.h"
#include "control/client.h"
#include "control/daemon/daemon.h"
#include "control/daemon/desired.h"
#include "wire/wire_abi.h"

enum {
	DEFAULT_SNAPLEN = 256,
};

static int take_service(const struct call *call, struct wire_capture_end *end)
{
	const struct desired_service *service;
	int code;

	if (!call_string(call, "service"))
		return RPC_OK;
	code = call_service(call, "service", &service);
	if (code)
		return code;
	end->addr = service->wire.address.addr;
	end->family = service->wire.address.family;
	if (wire_is_prefix(&service->wire.address)) {
		end->length = (uint8_t)wire_prefix_length(&service->wire.address);
		return RPC_OK;
	}
	end->length = end->family == SL_FAMILY_IPV4 ? 32 : 128;
	end->port = service->wire.address.port;
	end->protocol = service->wire.address.protocol;
	return RPC_OK;
}

static int take_end(const struct call *call, const char *name, struct wire_capture_end *end)
{
	int code = call_addr(call, name, &end->addr, &end->port, &end->family);

	if (!code && end->family)
		end->length = end->family == SL_FAMILY_IPV4 ? 32 : 128;
	return code;
}

static int refuse(const struct call *call, const char *field, const char *value, const char *hint)
{
	rpc_error_set(call->error, RPC_NOT_FOUND, field, "%s: there is no %s \"%s\"; %s",
		      call->method->name, field, value, hint);
	rpc_error_data(call->error, value, NULL);
	return RPC_NOT_FOUND;
}

static int take_port(const struct call *call, struct client *client, uint8_t *port)
{
	const char *name = call_string(call, "port");
	struct wire_port_record record[SL_MAX_PORTS];
	uint32_t n;
	int status;

	if (!name)
		return RPC_OK;
	status = client_ports(client, record, &n);
	if (status)
		return call_client_failed(call, client, status);
	for (uint32_t i = 0; i < n; i++) {
		if (strcmp(record[i].name, name) != 0)
			continue;
		*port = (uint8_t)i;
		return RPC_OK;
	}
	return refuse(call, "port", name, "status lists them");
}

static int take_words(const struct call *call, struct wire_capture_begin_request *request)
{
	const char *direction = call_string(call, "direction");
	const char *verdict = call_string(call, "verdict");

	if (direction && strcmp(direction, "both") != 0)
		request->direction =
			strcmp(direction, "in") == 0 ? WIRE_CAPTURE_IN : WIRE_CAPTURE_OUT;
	if (verdict && !wire_verdict_from_name(verdict, &request->verdict))
		return refuse(call, "verdict", verdict, "counters lists them");
	return RPC_OK;
}

int handle_capture_begin(struct call *call)
{
	struct wire_capture_begin_request request = {
		.count = (uint64_t)call_integer(call, "count", 0),
		.snaplen = (uint32_t)call_integer(call, "snaplen", DEFAULT_SNAPLEN),
		.verdict = WIRE_CAPTURE_EVERY,
		.port = WIRE_CAPTURE_EVERY,
		.direction = WIRE_CAPTURE_BOTH,
	};
	struct client *client;
	uint64_t id;
	int status, code = call_check_access(call, ACCESS_WRITE);

	if (!code)
		code = call_client(call, &client);
	if (!code)
		code = take_service(call, &request.service);
	if (!code)
		code = take_end(call, "client", &request.client);
	if (!code)
		code = take_end(call, "backend", &request.backend);
	if (!code)
		code = take_words(call, &request);
	if (!code)
		code = take_port(call, client, &request.port);
	if (code)
		return code;
	status = client_capture_begin(client, &request, &id);
	if (status)
		return call_client_failed(call, client, status);
	call->result = json_pack("{s:I}", "capture", (json_int_t)id);
	return RPC_OK;
}

int handle_capture_read(struct call *call)
{
	struct wire_capture_read_reply reply;
	struct client *client;
	const uint8_t *bytes;
	char *text;
	int status, code = call_check_access(call, ACCESS_WRITE);

	if (!code)
		code = call_client(call, &client);
	if (code)
		return code;
	status = client_capture_read(client, (uint64_t)call_integer(call, "capture", 0), &reply,
				     &bytes);
	if (status)
		return call_client_failed(call, client, status);
	text = malloc(BASE64_TEXT_BYTES(reply.n_bytes));
	if (text) {
		base64_encode(bytes, reply.n_bytes, text);
		call->result = json_pack("{s:s, s:I, s:I, s:b}", "data", text, "packets",
					 (json_int_t)reply.n_packets, "lost",
					 (json_int_t)reply.n_lost, "over", reply.is_over != 0);
	}
	free(text);
	return RPC_OK;
}

int handle_capture_stop(struct call *call)
{
	struct client *client;
	int status, code = call_check_access(call, ACCESS_WRITE);

	if (!code)
		code = call_client(call, &client);
	if (code)
		return code;
	status = client_capture_stop(client, (uint64_t)call_integer(call, "capture", 0));
	if (status)
		return call_client_failed(call, client, status);
	call->result = json_object();
	return RPC_OK;
}
