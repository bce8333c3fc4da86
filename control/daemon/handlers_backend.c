/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* backend.add, set, delete, list. */
#include "control/daemon/handlers.h"

#include <string.h>

#include "control/daemon/counters_json.h"
#include "control/daemon/daemon.h"
#include "control/daemon/desired.h"
#include "control/daemon/text.h"
#include "wire/wire_abi.h"

/* The service and the backend that the parameters name; the backend need not exist. */
static int take_address(const struct call *call, const struct desired_service **service,
			struct wire_backend *backend)
{
	uint8_t family;
	const char *address = call_string(call, "address");
	int code = call_service(call, "service", service);

	if (code)
		return code;
	code = text_parse_addr_port((*service)->wire.name, "address", address, &backend->addr,
				    &backend->port, &family, call->error);
	if (code)
		return code;
	backend->service = (*service)->wire.address;
	if (family == backend->service.family)
		return RPC_OK;
	rpc_error_set(call->error, RPC_PARAMS, "address",
		      "service %s: backend %s: is of another address family than the service",
		      (*service)->wire.name, address);
	rpc_error_data(call->error, address, NULL);
	return RPC_PARAMS;
}

static int take_values(const struct call *call, struct desired_backend *backend)
{
	const char *state = call_string(call, "state");
	const char *role = call_string(call, "role");
	const char *group = call_string(call, "group");

	backend->wire.weight = (uint32_t)call_integer(call, "weight", backend->wire.weight);
	backend->wire.max_flows =
		(uint32_t)call_integer(call, "max_flows", backend->wire.max_flows);
	if (state)
		backend->wire.state = wire_state_from_name(state);
	if (role)
		(void)share_role_from_name(role, &backend->part.role);
	if (!group || share_parse_group(group, backend->part.group))
		return RPC_OK;
	rpc_error_set(call->error, RPC_PARAMS, "group",
		      "service %s: backend %s: group \"%.63s\" is neither none nor made of A-Z a-z "
		      "0-9 . _ -, the first a letter or digit",
		      call_string(call, "service"), call_string(call, "address"), group);
	rpc_error_data(call->error, group, NULL);
	return RPC_PARAMS;
}

/* Refuses to take @backend, of @service, out of the canary's group if that has no other. */
static int keep_canary(const struct call *call, const struct desired_service *service,
		       const struct desired_backend *backend)
{
	const char *group = service->canary.group;
	size_t n = 0;

	if (!backend || !group[0] || strcmp(backend->part.group, group) != 0)
		return RPC_OK;
	for (uint32_t i = 0; i < service->n_backends; i++)
		n += strcmp(service->backend[i].part.group, group) == 0;
	if (n > 1)
		return RPC_OK;
	return rpc_error_set(
		call->error, RPC_PARAMS, "address",
		"service %s: backend %s: is the last one of group %s, which the canary of "
		"the service uses: end that first, \"sluice service set %s canary group "
		"none\"",
		service->wire.name, call_string(call, "address"), group, service->wire.name);
}

int handle_backend_add(struct call *call)
{
	struct desired_backend backend = {.wire = {.weight = 1, .state = WIRE_STATE_READY}};
	const struct desired_service *service;
	struct desired *next;
	int code = take_address(call, &service, &backend.wire);

	if (!code)
		code = take_values(call, &backend);
	if (!code)
		code = call_clone(call, &next);
	if (code)
		return code;
	code = desired_add_backend(next, service->wire.name, &backend, call->error);
	if (code) {
		desired_free(next);
		return code;
	}
	return call_commit(call, next);
}

int handle_backend_set(struct call *call)
{
	struct desired_backend backend = {0};
	const struct desired_service *service;
	const struct desired_backend *old;
	struct desired *next;
	int code = take_address(call, &service, &backend.wire);

	if (code)
		return code;
	old = desired_find_backend(service, &backend.wire.addr, backend.wire.port);
	if (old)
		backend = *old;
	code = take_values(call, &backend);
	if (!code && old && strcmp(old->part.group, backend.part.group) != 0)
		code = keep_canary(call, service, old);
	if (!code)
		code = call_clone(call, &next);
	if (code)
		return code;
	code = desired_set_backend(next, service->wire.name, &backend, call->error);
	if (code) {
		desired_free(next);
		return code;
	}
	return call_commit(call, next);
}

int handle_backend_delete(struct call *call)
{
	struct wire_backend backend = {0};
	const struct desired_service *service;
	struct desired *next;
	int code = take_address(call, &service, &backend);

	if (!code)
		code = keep_canary(call, service,
				   desired_find_backend(service, &backend.addr, backend.port));
	if (!code)
		code = call_clone(call, &next);
	if (code)
		return code;
	code = desired_delete_backend(next, service->wire.name, &backend.addr, backend.port,
				      call->error);
	if (code) {
		desired_free(next);
		return code;
	}
	return call_commit(call, next);
}

int handle_backend_list(struct call *call)
{
	const struct desired *desired = call->daemon->desired;
	const struct desired_service *service;

	call->list.name = "backends";
	if (call_string(call, "service")) {
		int code = call_service(call, "service", &service);

		if (code)
			return code;
		counters_write_backends(call->daemon, service, &call->list.text);
	} else {
		for (size_t i = 0; i < desired->n_services; i++)
			counters_write_backends(call->daemon, desired->service[i],
						&call->list.text);
	}
	call->result = json_pack("{s:n}", call->list.name);
	return RPC_OK;
}
