/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* service.add, set, delete, show, list. */
#include "control/daemon/handlers.h"

#include <stdio.h>
#include <string.h>

#include "control/client.h"
#include "control/daemon/counters_json.h"
#include "control/daemon/daemon.h"
#include "control/daemon/lists_json.h"
#include "control/daemon/desired.h"
#include "control/daemon/health.h"
#include "control/daemon/health_check_json.h"
#include "control/daemon/reconcile.h"
#include "control/daemon/service_json.h"
#include "control/daemon/text.h"
#include "wire/wire_abi.h"

static void take_seconds(const json_t *timeouts, const char *name, uint32_t *seconds)
{
	const json_t *value = json_object_get(timeouts, name);

	if (value)
		*seconds = (uint32_t)json_integer_value(value);
}

static int refuse_source(const struct call *call, const char *value, const char *limit,
			 const char *reason)
{
	rpc_error_set(call->error, RPC_PARAMS, "source", "service %s: source %s: %s",
		      call_string(call, "name"), value, reason);
	rpc_error_data(call->error, value, limit);
	return RPC_PARAMS;
}

static int take_source(const struct call *call, struct wire_service *wire, const char *text)
{
	union sl_addr addr;
	uint8_t family;
	int code = text_parse_addr(call_string(call, "name"), "source", text, &addr, &family,
				   call->error);

	if (code)
		return code;
	if (family != wire->address.family)
		return refuse_source(call, text,
				     wire->address.family == SL_FAMILY_IPV4 ? "IPv4" : "IPv6",
				     "is of another address family than the service");
	for (uint32_t i = 0; i < wire->n_sources; i++)
		if (sl_addr_equal(&wire->source[i], &addr))
			return refuse_source(call, text, NULL, "stands there twice");
	wire->source[wire->n_sources++] = addr;
	return RPC_OK;
}

/* The list that is given replaces the one there was; the method table limits its length. */
static int take_source_list(const struct call *call, struct wire_service *wire)
{
	const json_t *list = json_object_get(call->params, "source"), *item;
	size_t i;

	if (!list)
		return RPC_OK;
	wire->n_sources = 0;
	memset(wire->source, 0, sizeof(wire->source));
	json_array_foreach(list, i, item)
	{
		int code = take_source(call, wire, json_string_value(item));

		if (code)
			return code;
	}
	return RPC_OK;
}

static int refuse_without_pool(const struct call *call, const char *field, const char *value)
{
	rpc_error_set(call->error, RPC_PARAMS, field,
		      "service %s: %s %s: goes with modes fullnat and snat alone, the mode is nat",
		      call_string(call, "name"), field, value);
	rpc_error_data(call->error, value, "mode fullnat, snat");
	return RPC_PARAMS;
}

/* fullnat and snat need a source pool; nat has none and drops the one there was. */
static int take_pool(const struct call *call, struct wire_service *wire)
{
	const char *name = call_string(call, "name");
	const char *ports = call_string(call, "source_ports");
	const json_t *list = json_object_get(call->params, "source");
	char limit[16];
	int code;

	if (!wire_mode_has_sources(wire->mode)) {
		if (json_array_size(list) > 0)
			return refuse_without_pool(call, "source",
						   json_string_value(json_array_get(list, 0)));
		if (ports)
			return refuse_without_pool(call, "source_ports", ports);
		wire->n_sources = 0;
		memset(wire->source, 0, sizeof(wire->source));
		wire->source_port_first = wire->source_port_last = 0;
		return RPC_OK;
	}
	code = take_source_list(call, wire);
	if (!code && ports)
		code = text_parse_ports(name, "source_ports", ports, &wire->source_port_first,
					&wire->source_port_last, call->error);
	if (code)
		return code;
	if (wire->source_port_first == 0) {
		wire->source_port_first = SL_DEFAULT_SOURCE_PORT_FIRST;
		wire->source_port_last = SL_DEFAULT_SOURCE_PORT_LAST;
	}
	if (wire->n_sources > 0)
		return RPC_OK;
	(void)snprintf(limit, sizeof(limit), "1..%d", SL_MAX_SOURCES_PER_SERVICE);
	rpc_error_set(call->error, RPC_PARAMS, "source",
		      "service %s: source: mode %s needs %s source addresses, there are 0", name,
		      wire_mode_name(wire->mode), limit);
	rpc_error_data(call->error, "0", limit);
	return RPC_PARAMS;
}

/* The parameters that service.add and service.set share; those not given leave the value. */
static int take_values(const struct call *call, struct desired_service *service)
{
	const json_t *timeouts = json_object_get(call->params, "timeouts");
	const char *mode = call_string(call, "mode");
	const char *scheduler = call_string(call, "scheduler");
	const char *proxy_protocol = call_string(call, "proxy_protocol");
	const json_t *stateless_replies = json_object_get(call->params, "stateless_replies");
	const json_t *flow_log = json_object_get(call->params, "flow_log");
	const json_t *check = json_object_get(call->params, "check");
	const json_t *canary = json_object_get(call->params, "canary");
	const json_t *affinity = json_object_get(call->params, "affinity");
	int code;

	if (mode)
		service->wire.mode = wire_mode_from_name(mode);
	if (scheduler)
		service->wire.scheduler = wire_scheduler_from_name(scheduler);
	service->wire.n_slots = (uint32_t)call_integer(call, "slots", service->wire.n_slots);
	take_seconds(timeouts, "established", &service->wire.timeout_established_sec);
	take_seconds(timeouts, "transitory", &service->wire.timeout_transitory_sec);
	take_seconds(timeouts, "embryonic", &service->wire.timeout_embryonic_sec);
	take_seconds(timeouts, "udp", &service->wire.timeout_udp_sec);
	if (stateless_replies)
		service->wire.stateless_replies = json_is_true(stateless_replies);
	if (proxy_protocol)
		(void)wire_proxy_protocol_from_name(proxy_protocol, &service->wire.proxy_protocol);
	if (flow_log)
		service->wire.flow_log = json_is_true(flow_log);
	code = take_pool(call, &service->wire);
	if (!code && check)
		code = health_check_from_json(check, service->wire.name, &service->check,
					      call->error);
	if (!code && canary)
		code = canary_from_json(canary, service->wire.name, &service->canary, call->error);
	if (!code && affinity)
		code = affinity_from_json(affinity, &service->wire, call->error);
	if (code)
		return code;
	return lists_from_json(
		service,
		&(struct lists_given){{
			[WIRE_DENY_SOURCE] = json_object_get(call->params, "deny_source"),
			[WIRE_DENY_DESTINATION] = json_object_get(call->params, "deny_destination"),
			[WIRE_CANARY_SOURCE] = json_object_get(canary, "sources"),
		}},
		call->error);
}

static int check_address(const struct call *call, const struct wire_address *address)
{
	const struct desired_service *other = desired_find_address(call->daemon->desired, address);
	const char *name = call_string(call, "name");
	char text[WIRE_ADDRESS_TEXT];

	if (!other || strcmp(other->wire.name, name) == 0)
		return RPC_OK; /* the same name is refused as such */
	(void)wire_format_address(address, text);
	rpc_error_set(call->error, RPC_EXISTS, "address", "service %s: %s: is service %s's address",
		      name, text, other->wire.name);
	rpc_error_data(call->error, text, NULL);
	return RPC_EXISTS;
}

int handle_service_add(struct call *call)
{
	const char *name = call_string(call, "name");
	struct desired_service *service;
	struct wire_address address;
	struct desired *next;
	int code = text_parse_service_address(name, "address", call_string(call, "address"),
					      &address, call->error);

	if (!code)
		code = check_address(call, &address);
	if (code)
		return code;
	service = desired_service_new(name, &address, DESIRED_OWNER_API);
	if (!service)
		return rpc_error_set(call->error, RPC_INTERNAL, NULL, "out of memory");
	code = take_values(call, service);
	if (!code)
		code = call_clone(call, &next);
	if (code) {
		desired_service_put(service);
		return code;
	}
	code = desired_add(next, service, call->error);
	if (code) {
		desired_free(next);
		return code;
	}
	return call_commit(call, next);
}

/* Like a backend's weight, a canary may be moved by hand whoever owns the service. */
static bool is_canary_alone(const struct call *call)
{
	static const char *const others[] = {"name", "if_generation", "dry_run"};
	size_t n = json_object_size(call->params);

	for (size_t i = 0; i < SL_ARRAY_LEN(others); i++)
		n -= json_object_get(call->params, others[i]) != NULL;
	return n == 1 && json_object_get(call->params, "canary");
}

int handle_service_set(struct call *call)
{
	const char *name = call_string(call, "name");
	const struct desired_service *found;
	struct desired_service *service;
	struct desired *next;
	int code = is_canary_alone(call)
			   ? call_service(call, "name", &found)
			   : desired_check_owner(call->daemon->desired, name, call->error);

	if (!code)
		code = call_clone(call, &next);
	if (code)
		return code;
	code = desired_edit(next, name, &service, call->error);
	if (!code)
		code = take_values(call, service);
	if (code) {
		desired_free(next);
		return code;
	}
	return call_commit(call, next);
}

int handle_service_delete(struct call *call)
{
	const char *name = call_string(call, "name");
	struct desired *next;
	int code = desired_check_owner(call->daemon->desired, name, call->error);

	if (!code)
		code = call_clone(call, &next);
	if (code)
		return code;
	code = desired_delete(next, name, call->error);
	if (code) {
		desired_free(next);
		return code;
	}
	return call_commit(call, next);
}

/* What its backends are taken for; nothing where nobody checks. */
static void add_health(const struct call *call, json_t *entry, const char *name)
{
	struct health_totals totals;

	health_count_service(call->daemon->health, name, &totals);
	if (totals.n_backends)
		json_object_set_new(entry, "health",
				    json_pack("{s:I, s:I, s:I, s:b}", "up", (json_int_t)totals.n_up,
					      "down", (json_int_t)totals.n_down, "unknown",
					      (json_int_t)totals.n_unknown, "panic",
					      totals.n_panics > 0));
}

/* A service as it is listed. Without a dataplane it has no counters. */
static json_t *list_entry(const struct call *call, const struct desired_service *service)
{
	struct client *client = reconcile_client(call->daemon->reconcile);
	struct wire_service_counters_reply counters;
	json_t *entry = service_to_json(service);

	json_object_set_new(entry, "backends", json_integer(service->n_backends));
	add_health(call, entry, service->wire.name);
	if (client && client_service_counters(client, &service->wire.address, &counters) == 0)
		json_object_set_new(entry, "counters", counters_of_service(&counters));
	if (service->wire.mode == WIRE_MODE_SNAT) {
		json_t *sources = counters_of_sources(call->daemon, service);

		if (sources)
			json_object_set_new(entry, "sources", sources);
	}
	return entry;
}

int handle_service_show(struct call *call)
{
	const struct desired_service *service;
	int code = call_service(call, "name", &service);

	if (code)
		return code;
	call->result = json_pack("{s:o, s:o}", "service", list_entry(call, service), "backends",
				 counters_of_backends(call->daemon, service));
	return RPC_OK;
}

int handle_service_list(struct call *call)
{
	const struct desired *desired = call->daemon->desired;
	json_t *list = json_array();

	for (size_t i = 0; i < desired->n_services; i++) {
		json_t *entry = list_entry(call, desired->service[i]);

		/* Thousands of prefixes: service.show has them. */
		json_object_del(entry, "deny_source");
		json_object_del(entry, "deny_destination");
		json_object_del(json_object_get(entry, "canary"), "sources");
		json_object_set_new(
			entry, "denies",
			json_integer(list_count(desired->service[i], WIRE_DENY_SOURCE) +
				     list_count(desired->service[i], WIRE_DENY_DESTINATION)));
		json_object_set_new(
			entry, "canary_sources",
			json_integer(list_count(desired->service[i], WIRE_CANARY_SOURCE)));
		json_array_append_new(list, entry);
	}
	call->result = json_pack("{s:o}", "services", list);
	return RPC_OK;
}
