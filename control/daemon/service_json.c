/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
#include "control/daemon/service_json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/daemon/lists_json.h"
#include "control/daemon/health_check_json.h"
#include "control/daemon/text.h"
#include "wire/wire_abi.h"

json_t *sources_to_json(const struct wire_service *service)
{
	json_t *list = json_array();
	char text[WIRE_ADDRESS_TEXT];

	for (uint32_t i = 0; i < service->n_sources; i++) {
		text_addr(&service->source[i], service->address.family, text);
		json_array_append_new(list, json_string(text));
	}
	return list;
}

static json_t *canary_to_json(const struct desired_service *service)
{
	const struct share_canary *canary = &service->canary;

	if (!canary->group[0])
		return NULL;
	return json_pack("{s:s, s:o, s:o*}", "group", canary->group, "share_percent",
			 canary->share % SHARE_PERCENT == 0
				 ? json_integer(canary->share / SHARE_PERCENT)
				 : json_real((double)canary->share / SHARE_PERCENT),
			 "sources",
			 list_count(service, WIRE_CANARY_SOURCE) != 0
				 ? list_to_json(service, WIRE_CANARY_SOURCE)
				 : NULL);
}

static json_t *affinity_to_json(const struct wire_service *wire)
{
	if (wire->affinity_timeout_sec == 0)
		return NULL;
	return json_pack("{s:I, s:I}", "timeout", (json_int_t)wire->affinity_timeout_sec, "prefix",
			 (json_int_t)wire->affinity_prefix);
}

json_t *service_to_json(const struct desired_service *service)
{
	const struct wire_service *wire = &service->wire;
	char text[WIRE_ADDRESS_TEXT], ports[WIRE_ADDRESS_TEXT];

	(void)wire_format_address(&wire->address, text);
	text_source_ports(wire, ports);
	return json_pack(
		"{s:o*, s:o*, s:o*, s:s, s:s, s:s, s:s, s:o, s:s?, s:o, s:o, s:b, s:s, s:b, s:I, "
		"s:s, "
		"s:{s:I, "
		"s:I, "
		"s:I, s:I}}",
		"check", health_check_to_json(&service->check), "canary", canary_to_json(service),
		"affinity", affinity_to_json(wire), "name", wire->name, "address", text, "mode",
		wire_mode_name(wire->mode), "scheduler", wire_scheduler_name(wire->scheduler),
		"source", sources_to_json(wire), "source_ports", ports[0] ? ports : NULL,
		"deny_source", list_to_json(service, WIRE_DENY_SOURCE), "deny_destination",
		list_to_json(service, WIRE_DENY_DESTINATION), "stateless_replies",
		(int)wire->stateless_replies, "proxy_protocol",
		wire_proxy_protocol_name(wire->proxy_protocol), "flow_log", (int)wire->flow_log,
		"slots", (json_int_t)wire->n_slots, "owner", desired_owner_name(service->owner),
		"timeouts", "established", (json_int_t)wire->timeout_established_sec, "transitory",
		(json_int_t)wire->timeout_transitory_sec, "embryonic",
		(json_int_t)wire->timeout_embryonic_sec, "udp", (json_int_t)wire->timeout_udp_sec);
}

void backend_write_members(struct json_writer *out, const struct desired_backend *backend)
{
	char text[WIRE_ADDRESS_TEXT];

	text_backend_address(&backend->wire, text);
	json_writer_string(out, "address", text);
	json_writer_integer(out, "weight", backend->wire.weight);
	if (backend->wire.max_flows != 0)
		json_writer_integer(out, "max_flows", backend->wire.max_flows);
	json_writer_string(out, "state", wire_state_name(backend->wire.state));
	if (backend->part.group[0])
		json_writer_string(out, "group", backend->part.group);
}

static void write_backend(struct json_writer *out, const struct desired_backend *backend)
{
	json_writer_open(out, NULL, '{');
	backend_write_members(out, backend);
	if (backend->part.role != SHARE_ACTIVE)
		json_writer_string(out, "role", share_role_name(backend->part.role));
	json_writer_close(out, '}');
}

json_t *backend_to_json(const struct desired_backend *backend)
{
	struct json_writer out = {0};

	write_backend(&out, backend);
	return json_writer_load(&out);
}

void service_write_whole(struct json_writer *out, const struct desired_service *service)
{
	json_t *object = service_to_json(service), *value;
	const char *name;

	out->is_broken |= !object;
	json_writer_open(out, NULL, '{');
	json_object_foreach(object, name, value)
	{
		json_writer_value(out, name, value);
	}
	json_decref(object);
	json_writer_open(out, "backends", '[');
	for (uint32_t i = 0; i < service->n_backends; i++)
		write_backend(out, &service->backend[i]);
	json_writer_raw(out, "]}", 2);
}

json_t *service_to_json_whole(const struct desired_service *service)
{
	struct json_writer out = {0};

	service_write_whole(&out, service);
	return json_writer_load(&out);
}

static int refuse_json(const char *what, const json_error_t *reason, struct rpc_error *error)
{
	return rpc_error_set(error, RPC_PARAMS, what, "%s: %s", what, reason->text);
}

static bool is_in(json_int_t value, json_int_t min, json_int_t max)
{
	return value >= min && value <= max;
}

static int refuse_canary(const char *service, const char *member, const char *reason,
			 struct rpc_error *error)
{
	char field[32];

	(void)snprintf(field, sizeof(field), "canary.%s", member);
	return rpc_error_set(error, RPC_PARAMS, field, "service %.64s: %s: %s", service, field,
			     reason);
}

/* Hundredths of a percent; a number that is between two of them is refused. */
static bool take_percent(const json_t *json, uint32_t *share)
{
	double hundredths = json_number_value(json) * SHARE_PERCENT;
	uint32_t nearest;

	if (!json_is_number(json) || !(hundredths >= 0 && hundredths <= SHARE_WHOLE))
		return false;
	nearest = (uint32_t)(hundredths + 0.5);
	if (hundredths - nearest > 1e-6 || nearest - hundredths > 1e-6)
		return false;
	*share = nearest;
	return true;
}

static int refuse_affinity(const struct wire_service *wire, const char *member, const char *reason,
			   struct rpc_error *error)
{
	char field[32];

	(void)snprintf(field, sizeof(field), "affinity.%s", member);
	return rpc_error_set(error, RPC_PARAMS, field, "service %.64s: %s %s", wire->name, field,
			     reason);
}

int affinity_from_json(const json_t *json, struct wire_service *wire, struct rpc_error *error)
{
	const json_t *timeout = json_object_get(json, "timeout");
	const json_t *prefix = json_object_get(json, "prefix");
	json_int_t longest = wire->address.family == SL_FAMILY_IPV4 ? 32 : 128;

	if (timeout && (!json_is_integer(timeout) ||
			!is_in(json_integer_value(timeout), 0, SL_MAX_TIMEOUT_SEC)))
		return refuse_affinity(wire, "timeout", "is out of range", error);
	if (prefix && (!json_is_integer(prefix) || !is_in(json_integer_value(prefix), 1, longest)))
		return refuse_affinity(wire, "prefix",
				       longest == 32 ? "is out of range (limit 1..32)"
						     : "is out of range (limit 1..128)",
				       error);
	if (timeout)
		wire->affinity_timeout_sec = (uint32_t)json_integer_value(timeout);
	if (wire->affinity_timeout_sec == 0 && prefix)
		return refuse_affinity(wire, "timeout", "is missing, or 0: no backend is kept",
				       error);
	if (prefix)
		wire->affinity_prefix = (uint8_t)json_integer_value(prefix);
	wire->affinity_prefix = wire_affinity_prefix(wire);
	return RPC_OK;
}

int canary_from_json(const json_t *json, const char *service, struct share_canary *canary,
		     struct rpc_error *error)
{
	const json_t *group = json_object_get(json, "group");
	const json_t *percent = json_object_get(json, "share_percent");
	bool has_sources = json_array_size(json_object_get(json, "sources")) != 0;
	bool was_there = canary->group[0] != '\0';

	if (group &&
	    (!json_is_string(group) || !share_parse_group(json_string_value(group), canary->group)))
		return refuse_canary(service, "group",
				     "is neither none nor made of A-Z a-z 0-9 . _ -, the first a "
				     "letter or digit",
				     error);
	if (percent && !take_percent(percent, &canary->share))
		return refuse_canary(service, "share_percent",
				     "is no number of 0..100 with two decimals at most", error);
	if (!canary->group[0] && (percent || has_sources || !group))
		return refuse_canary(service, "group",
				     has_sources ? "is missing: who is to have the sources?"
						 : "is missing: whose share is it?",
				     error);
	if (canary->group[0] && !was_there && !percent && !has_sources)
		return refuse_canary(service, "share_percent", "is missing, and so are sources",
				     error);
	if (!canary->group[0])
		canary->share = 0;
	return RPC_OK;
}

int backend_from_json(const json_t *json, const char *service, struct desired *desired,
		      struct rpc_error *error)
{
	struct desired_backend backend = {0};
	const char *address, *state, *role = "active", *group = "none";
	json_error_t reason;
	json_int_t weight, max_flows = 0;
	uint8_t family;
	int code;

	if (json_unpack_ex((json_t *)(uintptr_t)json, &reason, JSON_STRICT,
			   "{s:s, s:I, s?I, s:s, s?s, s?s}", "address", &address, "weight", &weight,
			   "max_flows", &max_flows, "state", &state, "role", &role, "group",
			   &group))
		return refuse_json("backend", &reason, error);
	code = text_parse_addr_port(service, "address", address, &backend.wire.addr,
				    &backend.wire.port, &family, error);
	if (code)
		return code;
	backend.wire.state = wire_state_from_name(state);
	if (!backend.wire.state || !is_in(weight, 0, SL_MAX_WEIGHT) ||
	    !is_in(max_flows, 0, SL_MAX_FLOWS) || !share_role_from_name(role, &backend.part.role) ||
	    !share_parse_group(group, backend.part.group) ||
	    family != desired_find(desired, service)->wire.address.family)
		return rpc_error_set(
			error, RPC_PARAMS, "backend",
			"service %s: backend %s: state, weight, max_flows, role, group or family "
			"is wrong",
			service, address);
	backend.wire.weight = (uint32_t)weight;
	backend.wire.max_flows = (uint32_t)max_flows;
	if (desired_find_backend(desired_find(desired, service), &backend.wire.addr,
				 backend.wire.port))
		return desired_set_backend(desired, service, &backend, error);
	return desired_add_backend(desired, service, &backend, error);
}

/* Members of a service that files of older versions do not have. */
struct newer {
	json_t *source;
	json_t *source_ports;
	json_t *deny_source;
	json_t *deny_destination;
	json_t *check;
	json_t *canary;
	json_t *affinity;
	const char *proxy_protocol;
	int stateless_replies;
	int flow_log;
};

/* desired_check() judges the result as a whole. */
static int newer_from_json(const struct newer *newer, struct wire_service *wire,
			   struct rpc_error *error)
{
	const json_t *item;
	uint8_t family;
	size_t i;
	int code;

	wire->stateless_replies = newer->stateless_replies != 0;
	wire->flow_log = newer->flow_log != 0;
	if (newer->proxy_protocol &&
	    !wire_proxy_protocol_from_name(newer->proxy_protocol, &wire->proxy_protocol))
		return rpc_error_set(error, RPC_PARAMS, "proxy_protocol",
				     "service %s: proxy_protocol %.64s is no word", wire->name,
				     newer->proxy_protocol);
	json_array_foreach(newer->source, i, item)
	{
		if (!json_is_string(item) || i == SL_MAX_SOURCES_PER_SERVICE)
			return rpc_error_set(error, RPC_PARAMS, "source",
					     "service %s: source[%zu]: not a string, or beyond the "
					     "limit of %d",
					     wire->name, i, SL_MAX_SOURCES_PER_SERVICE);
		code = text_parse_addr(wire->name, "source", json_string_value(item),
				       &wire->source[i], &family, error);
		if (code)
			return code;
		if (family != wire->address.family)
			return rpc_error_set(error, RPC_PARAMS, "source",
					     "service %s: source %s: family is wrong", wire->name,
					     json_string_value(item));
		wire->n_sources++;
	}
	if (!json_is_string(newer->source_ports))
		return RPC_OK;
	return text_parse_ports(wire->name, "source_ports", json_string_value(newer->source_ports),
				&wire->source_port_first, &wire->source_port_last, error);
}

/* Everything of a service but its backends. */
static int head_from_json(const json_t *json, struct desired_service **out, const json_t **backends,
			  struct rpc_error *error)
{
	const char *name, *address, *mode, *scheduler, *owner;
	json_int_t slots, established, transitory, embryonic, udp;
	json_t *list;
	json_error_t reason;
	struct newer newer = {.stateless_replies = 1};
	struct wire_address wire;
	struct desired_service *service;
	int code;

	if (json_unpack_ex((json_t *)(uintptr_t)json, &reason, JSON_STRICT,
			   "{s?o, s?o, s?o, s:s, s:s, s:s, s:s, s?o, s?o, s?o, s?o, s?b, s?s, s?b, "
			   "s:I, s:s, "
			   "s:{s:I, s:I, s:I, s:I}, s:o}",
			   "check", &newer.check, "canary", &newer.canary, "affinity",
			   &newer.affinity, "name", &name, "address", &address, "mode", &mode,
			   "scheduler", &scheduler, "source", &newer.source, "source_ports",
			   &newer.source_ports, "deny_source", &newer.deny_source,
			   "deny_destination", &newer.deny_destination, "stateless_replies",
			   &newer.stateless_replies, "proxy_protocol", &newer.proxy_protocol,
			   "flow_log", &newer.flow_log, "slots", &slots, "owner", &owner,
			   "timeouts", "established", &established, "transitory", &transitory,
			   "embryonic", &embryonic, "udp", &udp, "backends", &list))
		return refuse_json("service", &reason, error);
	code = text_parse_service_address(name, "address", address, &wire, error);
	if (code)
		return code;
	if (strlen(name) >= SL_MAX_NAME || !is_in(slots, 1, SL_MAX_SLOTS) ||
	    !is_in(established, 1, SL_MAX_TIMEOUT_SEC) ||
	    !is_in(transitory, 1, SL_MAX_TIMEOUT_SEC) || !is_in(embryonic, 1, SL_MAX_TIMEOUT_SEC) ||
	    !is_in(udp, 1, SL_MAX_TIMEOUT_SEC) || !wire_scheduler_from_name(scheduler) ||
	    !wire_mode_from_name(mode) || (strcmp(owner, "file") && strcmp(owner, "api")))
		return rpc_error_set(error, RPC_PARAMS, "service",
				     "service %.64s: a value is out of range", name);
	service = desired_service_new(
		name, &wire, strcmp(owner, "file") ? DESIRED_OWNER_API : DESIRED_OWNER_FILE);
	if (!service)
		return rpc_error_set(error, RPC_INTERNAL, NULL, "out of memory");
	service->wire.mode = wire_mode_from_name(mode);
	service->wire.scheduler = wire_scheduler_from_name(scheduler);
	service->wire.n_slots = (uint32_t)slots;
	service->wire.timeout_established_sec = (uint32_t)established;
	service->wire.timeout_transitory_sec = (uint32_t)transitory;
	service->wire.timeout_embryonic_sec = (uint32_t)embryonic;
	service->wire.timeout_udp_sec = (uint32_t)udp;
	code = newer_from_json(&newer, &service->wire, error);
	if (!code && newer.check)
		code = health_check_from_json(newer.check, service->wire.name, &service->check,
					      error);
	if (!code && newer.canary)
		code = canary_from_json(newer.canary, service->wire.name, &service->canary, error);
	if (!code && newer.affinity)
		code = affinity_from_json(newer.affinity, &service->wire, error);
	if (!code)
		code = lists_from_json(
			service,
			&(struct lists_given){{
				[WIRE_DENY_SOURCE] = newer.deny_source,
				[WIRE_DENY_DESTINATION] = newer.deny_destination,
				[WIRE_CANARY_SOURCE] = json_object_get(newer.canary, "sources"),
			}},
			error);
	if (code) {
		desired_service_put(service);
		return code;
	}
	*out = service;
	*backends = list;
	return RPC_OK;
}

int service_from_json(const json_t *json, struct desired *desired, struct rpc_error *error)
{
	struct desired_service *service = NULL;
	const json_t *backends = NULL, *item;
	char name[SL_MAX_NAME];
	size_t i;
	int code = head_from_json(json, &service, &backends, error);

	if (code)
		return code;
	memcpy(name, service->wire.name, sizeof(name));
	code = desired_add(desired, service, error);
	if (code)
		return code;
	json_array_foreach(backends, i, item)
	{
		code = backend_from_json(item, name, desired, error);
		if (code)
			return code;
	}
	return RPC_OK;
}
