/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* The binding of methods to handlers, and what handlers share. */
#include "control/daemon/handlers.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "control/client.h"
#include "control/daemon/daemon.h"
#include "control/daemon/desired.h"
#include "control/daemon/reconcile.h"
#include "control/daemon/text.h"

typedef int handler(struct call *call);

static handler *const handlers[N_METHODS] = {
#define X(upper, lower, name, is_mutation, summary) [METHOD_##upper] = handle_##lower,
	METHOD_LIST(X)
#undef X
};

/* A writer whose knowledge is old is told so before anything else of its call is judged. */
static int check_generation(const struct call *call)
{
	const json_t *wanted = json_object_get(call->params, "if_generation");
	char value[32], limit[32];

	if (!wanted || (uint64_t)json_integer_value(wanted) == call->daemon->generation)
		return RPC_OK;
	(void)snprintf(value, sizeof(value), "%" PRIu64, (uint64_t)json_integer_value(wanted));
	(void)snprintf(limit, sizeof(limit), "%" PRIu64, call->daemon->generation);
	rpc_error_set(call->error, RPC_CONFLICT, "if_generation",
		      "%s: if_generation is %s, the generation is %s: read again and retry",
		      call->method->name, value, limit);
	rpc_error_data(call->error, value, limit);
	return RPC_CONFLICT;
}

int handlers_run(struct daemon *daemon, enum access access, const struct rpc_request *request,
		 json_t **result, struct rpc_list *list, struct rpc_error *error)
{
	struct call call = {
		.daemon = daemon,
		.access = access,
		.method = method_find(request->method),
		.params = request->params,
		.error = error,
	};
	int code;

	*result = NULL;
	memset(list, 0, sizeof(*list));
	if (!call.method) {
		rpc_error_set(error, RPC_METHOD, "method",
			      "method \"%.64s\": there is no such method; \"methods\" lists them",
			      request->method);
		rpc_error_data(error, request->method, NULL);
		return RPC_METHOD;
	}
	code = call_check_access(&call, call.method->is_mutation ? ACCESS_WRITE : ACCESS_READ);
	if (!code)
		code = method_check(call.method, call.params, error);
	if (!code)
		code = check_generation(&call);
	if (code)
		return code;
	code = handlers[call.method->id](&call);
	if (!code && !call.result)
		code = rpc_error_set(error, RPC_INTERNAL, NULL, "out of memory");
	if (code) {
		json_decref(call.result);
		rpc_list_fini(&call.list);
	} else {
		*result = call.result;
		*list = call.list;
	}
	return code;
}

int call_check_access(const struct call *call, enum access needed)
{
	if (call->access >= needed)
		return RPC_OK;
	return rpc_error_set(call->error, RPC_NOT_PERMITTED, "method", "%s: the caller may %s",
			     call->method->name,
			     call->access == ACCESS_READ ? "only read" : "not use this socket");
}

const char *call_string(const struct call *call, const char *name)
{
	return json_string_value(json_object_get(call->params, name));
}

int64_t call_integer(const struct call *call, const char *name, int64_t otherwise)
{
	const json_t *value = json_object_get(call->params, name);

	return value ? json_integer_value(value) : otherwise;
}

int call_addr(const struct call *call, const char *name, union sl_addr *addr, be16_t *port,
	      uint8_t *family)
{
	const char *text = call_string(call, name);
	bool has_port;

	if (!text)
		return RPC_OK;
	/* "[v6]:port" and "v4:port" have a port; a bare IPv6 address has several colons. */
	has_port = text[0] == '[' ? strstr(text, "]:") != NULL
				  : strchr(text, ':') && strchr(text, ':') == strrchr(text, ':');
	if (has_port)
		return text_parse_addr_port(call->method->name, name, text, addr, port, family,
					    call->error);
	return text_parse_addr(call->method->name, name, text, addr, family, call->error);
}

int call_service(const struct call *call, const char *name, const struct desired_service **service)
{
	const char *wanted = call_string(call, name);

	*service = desired_find(call->daemon->desired, wanted);
	if (*service)
		return RPC_OK;
	rpc_error_set(call->error, RPC_NOT_FOUND, name, "service %s: there is no such service",
		      wanted);
	rpc_error_data(call->error, wanted, NULL);
	return RPC_NOT_FOUND;
}

int call_client(const struct call *call, struct client **client)
{
	const char *reason = reconcile_reason(call->daemon->reconcile);

	*client = reconcile_client(call->daemon->reconcile);
	if (*client)
		return RPC_OK;
	return rpc_error_set(call->error, RPC_NOT_CONNECTED, NULL,
			     "%s: the dataplane is not connected: %s", call->method->name, reason);
}

int call_client_failed(const struct call *call, const struct client *client, int status)
{
	return rpc_error_set(call->error, status == -ENOTCONN ? RPC_NOT_CONNECTED : RPC_REFUSED,
			     NULL, "%s: %s", call->method->name, client_error(client));
}

int call_clone(const struct call *call, struct desired **next)
{
	*next = desired_clone(call->daemon->desired);
	if (*next)
		return RPC_OK;
	return rpc_error_set(call->error, RPC_INTERNAL, NULL, "out of memory");
}

int call_commit_change(struct call *call, struct change *change)
{
	change->is_dry_run = json_is_true(json_object_get(call->params, "dry_run"));
	return change_commit(call->daemon, change, &call->result, call->error);
}

int call_commit(struct call *call, struct desired *next)
{
	struct change change = {.next = next};

	return call_commit_change(call, &change);
}
