/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* The parameters of each method and the validation that walks them. Data first, one walker after. */
#include "control/methods.h"

#include <stdio.h>
#include <string.h>

#include <sluice/limits.h>
#include <sluice/wire.h>

#include "config/health_check.h"
#include "config/share.h"
#include "control/event_types.h"
#include "control/rpc.h"

enum {
	MAX_ADDRESS = 64, /* bytes: "[addr]:port/proto" of the longest IPv6 address and to spare */
	MAX_FILE_NAME = 4096,
	MAX_FLOW_LIMIT = 10000,
};

/* clang-format off */
#define STRING(n, req, lo, hi, text)   {.name = n, .type = METHOD_STRING, .is_required = req, .min = lo, .max = hi, .help = text}
#define CHOICE(n, req, list, text)     {.name = n, .type = METHOD_STRING, .is_required = req, .min = 1, .max = 64, .choices = list, .help = text}
#define INTEGER(n, req, lo, hi, text)  {.name = n, .type = METHOD_INTEGER, .is_required = req, .min = lo, .max = hi, .help = text}
#define PERCENT(n, text)               {.name = n, .type = METHOD_PERCENT, .min = 0, .max = 100, .help = text}
#define BOOLEAN(n, text)               {.name = n, .type = METHOD_BOOLEAN, .help = text}
#define STRINGS(n, lo, hi, text)       {.name = n, .type = METHOD_STRINGS, .min = lo, .max = hi, .help = text}
#define OBJECT(n, list, text)          {.name = n, .type = METHOD_OBJECT, .members = list, .n_members = SL_ARRAY_LEN(list), .help = text}

#define NAME(n, req)      STRING(n, req, 1, SL_MAX_NAME - 1, "the service's name")
#define FRONTEND          STRING("address", true, 1, MAX_ADDRESS, "ADDR:PORT/tcp or ADDR:PORT/udp; port 0: every port. PREFIX/LENGTH for mode snat")
#define BACKEND           STRING("address", true, 1, MAX_ADDRESS, "ADDR:PORT of the backend")
#define MODE              CHOICE("mode", false, "nat|fullnat|snat", "nat keeps the client's address, fullnat does not, snat leads out; default nat, or snat")
#define SCHEDULER         CHOICE("scheduler", false, "maglev|source_hash|round_robin|least_connections", "how new flows are spread; default maglev")
#define FLOW_LOG          BOOLEAN("flow_log", "write the begin and end of its flows to the dataplane's flow log; off by default")
#define SLOTS             INTEGER("slots", false, SL_MIN_SLOTS, SL_MAX_SLOTS, "size of the slot table, a prime; default 65537")
#define SOURCE_PORTS      STRING("source_ports", false, 1, 11, "LOW-HIGH or one port: source ports that fullnat and snat use; default 1024-65535")
#define DENY_SOURCE(text)      STRINGS("deny_source", 0, SL_MAX_DENIES_PER_SERVICE, "prefixes of clients that mode snat does not lead out; " text)
#define DENY_DESTINATION(text) STRINGS("deny_destination", 0, SL_MAX_DENIES_PER_SERVICE, "prefixes that clients of mode snat may not talk to; " text)
#define STATELESS         BOOLEAN("stateless_replies", "translate a backend's packet without a flow back where it is clear whose it is; on by default")
#define PROXY             CHOICE("proxy_protocol", false, "none|v2", "what the backend is told about the client; default none")
#define TIMEOUTS          OBJECT("timeouts", timeout_members, "idle seconds by state; members not given keep their default or value")
#define CHECK             OBJECT("check", health_check_params, "how backends are checked; members not given keep their default or value")
#define CANARY            OBJECT("canary", canary_members, "a group's share of new flows, whatever it weighs, and clients of its own; members not given stay")
#define AFFINITY          OBJECT("affinity", affinity_members, "that a client's new flows get the backend of its last one; members not given stay")
#define ROLE              CHOICE("role", false, SHARE_ROLES, "active serves, backup while no active one can, sorry while no other can; default active")
#define GROUP             STRING("group", false, 1, SL_MAX_NAME - 1, "a name that a canary can have a share by; none: none, the default")
#define WEIGHT            INTEGER("weight", false, 0, SL_MAX_WEIGHT, "share of new flows; 0 takes none; default 1")
#define MAX_FLOWS         INTEGER("max_flows", false, 0, SL_MAX_FLOWS, "limit of open flows: a full backend gets no new ones; 0: none, the default")
#define STATE             CHOICE("state", false, "ready|drain|maint", "ready takes new flows, drain keeps its flows, maint ends them; default ready")
#define TEXT              STRING("text", true, 0, SL_MAX_CONFIG_BYTES, "the configuration, YAML")
#define FILE_NAME         STRING("file", false, 1, MAX_FILE_NAME, "the file's name, for error texts and as owner")
#define MUTATION          INTEGER("if_generation", false, 0, INT64_MAX, "refuse unless this is the generation"), \
                          BOOLEAN("dry_run", "judge and answer as if done; change nothing")

static const struct method_param timeout_members[] = {
	INTEGER("established", false, 1, SL_MAX_TIMEOUT_SEC, "established TCP, default 7440"),
	INTEGER("transitory", false, 1, SL_MAX_TIMEOUT_SEC, "closing TCP, default 240"),
	INTEGER("embryonic", false, 1, SL_MAX_TIMEOUT_SEC, "before the handshake is done, default 10, in mode snat 240"),
	INTEGER("udp", false, 1, SL_MAX_TIMEOUT_SEC, "UDP, default 300"),
};
static const struct method_param health_check_params[] = {
#define X(name, types, words, help)               CHOICE(#name, false, words, help),
	HEALTH_CHECK_WORD_LIST(X)
#undef X
#define X(name, types, help)                      BOOLEAN(#name, HEALTH_CHECK_FOR_##types ": " help),
	HEALTH_CHECK_BOOLEAN_LIST(X)
#undef X
#define X(name, types, least, most, normal, help) INTEGER(#name, false, least, most, help),
	HEALTH_CHECK_NUMBER_LIST(X)
#undef X
#define X(name, types, size, help)                STRING(#name, false, 0, size - 1, HEALTH_CHECK_FOR_##types ": " help),
	HEALTH_CHECK_TEXT_LIST(X)
#undef X
};
static const struct method_param canary_members[] = {
	STRING("group", false, 1, SL_MAX_NAME - 1, "the group, which a backend must have; none: there is no canary, weights say all"),
	PERCENT("share_percent", "of new flows that the group has together; two decimals at most"),
	STRINGS("sources", 0, SL_MAX_CANARY_SOURCES_PER_SERVICE, "prefixes of clients whose new flows all go to the group, whatever its share; replaces all"),
};
static const struct method_param affinity_members[] = {
	INTEGER("timeout", false, 0, SL_MAX_TIMEOUT_SEC, "seconds after a client's last new flow that its backend is kept for; 0: not at all, the default"),
	INTEGER("prefix", false, 1, 128, "bits of the address: clients with one prefix keep one backend; default all, 32 or 128"),
};
static const struct method_param params_service_add[] = {
	NAME("name", true), FRONTEND, MODE, SCHEDULER,
	STRINGS("source", 0, SL_MAX_SOURCES_PER_SERVICE, "source addresses that fullnat and snat use"),
	SOURCE_PORTS, DENY_SOURCE("in the service's prefix"), DENY_DESTINATION("in either direction"),
	STATELESS, PROXY, FLOW_LOG, SLOTS, TIMEOUTS, CHECK, AFFINITY, MUTATION,
};
static const struct method_param params_service_set[] = {
	NAME("name", true), MODE, SCHEDULER,
	STRINGS("source", 0, SL_MAX_SOURCES_PER_SERVICE, "source addresses that fullnat and snat use; replaces all; mode nat drops them"),
	SOURCE_PORTS, DENY_SOURCE("replaces all"), DENY_DESTINATION("replaces all"),
	STATELESS, PROXY, FLOW_LOG, SLOTS, TIMEOUTS, CHECK, AFFINITY, CANARY, MUTATION,
};
static const struct method_param params_service_delete[] = {NAME("name", true), MUTATION};
static const struct method_param params_service_show[] = {NAME("name", true)};
static const struct method_param params_backend_add[] = {NAME("service", true), BACKEND, WEIGHT, MAX_FLOWS, STATE, ROLE, GROUP, MUTATION};
static const struct method_param params_backend_set[] = {NAME("service", true), BACKEND, WEIGHT, MAX_FLOWS, STATE, ROLE, GROUP, MUTATION};
static const struct method_param params_backend_delete[] = {NAME("service", true), BACKEND, MUTATION};
static const struct method_param params_backend_list[] = {NAME("service", false)};
static const struct method_param params_flow_list[] = {
	NAME("service", false),
	STRING("client", false, 1, MAX_ADDRESS, "ADDR or ADDR:PORT of the client"),
	INTEGER("limit", false, 1, MAX_FLOW_LIMIT, "flows at most, default 100"),
};
static const struct method_param params_flow_count[] = {NAME("service", false)};
static const struct method_param params_affinity_list[] = {NAME("service", false)};
static const struct method_param params_affinity_clear[] = {NAME("service", true), MUTATION};
static const struct method_param params_explain[] = {
	CHOICE("protocol", true, "tcp|udp", "the packet's protocol"),
	STRING("source", true, 1, MAX_ADDRESS, "ADDR:PORT that the packet comes from"),
	STRING("destination", true, 1, MAX_ADDRESS, "ADDR:PORT that the packet goes to"),
};
static const struct method_param params_events_subscribe[] = {
	INTEGER("since", false, 0, INT64_MAX, "first those after this number that are kept (4,096 are); default: the last"),
	STRING("instance", false, 1, 16, "the sluiced that since is of; is it another one now, all that are kept come"),
	STRINGS("types", 1, N_EVENT_TYPES, "which events, by their types; default all"),
};
static const struct method_param params_counters[] = {NAME("service", false)};
static const struct method_param params_capture_begin[] = {
	STRING("service", false, 1, SL_MAX_NAME - 1, "packets of this service alone"),
	STRING("client", false, 1, MAX_ADDRESS, "packets that ADDR or ADDR:PORT sends, or is sent, as they come or as they go"),
	STRING("backend", false, 1, MAX_ADDRESS, "likewise of a backend, ADDR or ADDR:PORT"),
	STRING("verdict", false, 1, 64, "packets of which this has become, as counters names it"),
	CHOICE("direction", false, "in|out|both", "packets as they reach Sluice, as they leave it, or both; default both"),
	STRING("port", false, 1, SL_MAX_PORT_NAME - 1, "packets that come or go by this port, as status names it"),
	INTEGER("snaplen", false, WIRE_CAPTURE_MIN_SNAPLEN, WIRE_CAPTURE_MAX_SNAPLEN, "bytes of a packet that are kept, default 256"),
	INTEGER("count", false, 1, INT64_MAX, "over after so many packets; default: when it is stopped"),
};
static const struct method_param params_capture_read[] = {INTEGER("capture", true, 1, INT64_MAX, "the number that capture.begin gave it")};
static const struct method_param params_capture_stop[] = {INTEGER("capture", true, 1, INT64_MAX, "the number that capture.begin gave it")};
static const struct method_param params_config_check[] = {TEXT, FILE_NAME};
static const struct method_param params_config_diff[] = {TEXT, FILE_NAME};
static const struct method_param params_config_plan[] = {TEXT, FILE_NAME};
static const struct method_param params_config_apply[] = {TEXT, FILE_NAME, MUTATION};
static const struct method_param params_config_rollback[] = {
	INTEGER("generation", true, 1, INT64_MAX, "one of those that generation.list names"), MUTATION,
};
static const struct method_param params_generation_diff[] = {
	INTEGER("generation", true, 1, INT64_MAX, "one of those that generation.list names"),
};

/* Methods without parameters share one empty list. */
#define NO_PARAMS NULL, 0
#define PARAMS(lower) params_##lower, SL_ARRAY_LEN(params_##lower)

#define PARAMS_service_add    PARAMS(service_add)
#define PARAMS_service_set    PARAMS(service_set)
#define PARAMS_service_delete PARAMS(service_delete)
#define PARAMS_service_show   PARAMS(service_show)
#define PARAMS_service_list   NO_PARAMS
#define PARAMS_backend_add    PARAMS(backend_add)
#define PARAMS_backend_set    PARAMS(backend_set)
#define PARAMS_backend_delete PARAMS(backend_delete)
#define PARAMS_backend_list   PARAMS(backend_list)
#define PARAMS_flow_list      PARAMS(flow_list)
#define PARAMS_flow_count     PARAMS(flow_count)
#define PARAMS_affinity_list  PARAMS(affinity_list)
#define PARAMS_affinity_clear PARAMS(affinity_clear)
#define PARAMS_explain        PARAMS(explain)
#define PARAMS_counters       PARAMS(counters)
#define PARAMS_status         NO_PARAMS
#define PARAMS_capture_begin  PARAMS(capture_begin)
#define PARAMS_capture_read   PARAMS(capture_read)
#define PARAMS_capture_stop   PARAMS(capture_stop)
#define PARAMS_config_check   PARAMS(config_check)
#define PARAMS_config_diff    PARAMS(config_diff)
#define PARAMS_config_plan    PARAMS(config_plan)
#define PARAMS_config_apply   PARAMS(config_apply)
#define PARAMS_config_rollback PARAMS(config_rollback)
#define PARAMS_generation_list NO_PARAMS
#define PARAMS_generation_diff PARAMS(generation_diff)
#define PARAMS_config_export  NO_PARAMS
#define PARAMS_events_subscribe PARAMS(events_subscribe)
#define PARAMS_methods        NO_PARAMS

static const struct method table[N_METHODS] = {
#define X(upper, lower, name, is_mutation, summary) \
	[METHOD_##upper] = {METHOD_##upper, name, summary, is_mutation, PARAMS_##lower},
	METHOD_LIST(X)
#undef X
};
/* clang-format on */

const struct method *method_table(void)
{
	return table;
}

const struct method *method_find(const char *name)
{
	for (size_t i = 0; i < N_METHODS; i++)
		if (strcmp(table[i].name, name) == 0)
			return &table[i];
	return NULL;
}

const char *method_type_name(enum method_type type)
{
	switch (type) {
	case METHOD_STRING:
		return "string";
	case METHOD_INTEGER:
		return "integer";
	case METHOD_PERCENT:
		return "number";
	case METHOD_BOOLEAN:
		return "boolean";
	case METHOD_STRINGS:
		return "array of strings";
	case METHOD_OBJECT:
		return "object";
	}
	return "unknown";
}

static const char *json_type_name(const json_t *value)
{
	switch (json_typeof(value)) {
	case JSON_OBJECT:
		return "object";
	case JSON_ARRAY:
		return "array";
	case JSON_STRING:
		return "string";
	case JSON_INTEGER:
		return "integer";
	case JSON_REAL:
		return "real number";
	case JSON_TRUE:
	case JSON_FALSE:
		return "boolean";
	case JSON_NULL:
		return "null";
	}
	return "nothing";
}

/* Where the judged value stands: "service.add", "timeouts.udp". */
struct place {
	const char *method;
	char field[96];
};

static int refuse_range(const struct place *place, const char *what, int64_t value, int64_t min,
			int64_t max, struct rpc_error *error)
{
	char value_text[32], limit_text[64];

	(void)snprintf(value_text, sizeof(value_text), "%lld", (long long)value);
	(void)snprintf(limit_text, sizeof(limit_text), "%lld..%lld", (long long)min,
		       (long long)max);
	rpc_error_set(error, RPC_PARAMS, place->field, "%s: %s%s is %s, must be %s", place->method,
		      place->field, what, value_text, limit_text);
	rpc_error_data(error, value_text, limit_text);
	return RPC_PARAMS;
}

static int refuse_type(const struct place *place, const json_t *value, const char *wanted,
		       struct rpc_error *error)
{
	rpc_error_set(error, RPC_PARAMS, place->field, "%s: %s is of type %s, must be %s",
		      place->method, place->field, json_type_name(value), wanted);
	rpc_error_data(error, json_type_name(value), wanted);
	return RPC_PARAMS;
}

static bool is_choice(const char *choices, const char *value)
{
	size_t length = strlen(value);

	while (*choices) {
		size_t n = strcspn(choices, "|");

		if (n == length && memcmp(choices, value, n) == 0)
			return true;
		choices += n + (choices[n] == '|');
	}
	return false;
}

static int check_string(const struct place *place, const struct method_param *param,
			const json_t *value, struct rpc_error *error)
{
	size_t length;

	if (!json_is_string(value))
		return refuse_type(place, value, "string", error);
	length = json_string_length(value);
	if (param->choices) {
		if (is_choice(param->choices, json_string_value(value)))
			return RPC_OK;
		rpc_error_set(error, RPC_PARAMS, place->field, "%s: %s is \"%.64s\", must be %s",
			      place->method, place->field, json_string_value(value),
			      param->choices);
		rpc_error_data(error, json_string_value(value), param->choices);
		return RPC_PARAMS;
	}
	if ((int64_t)length < param->min || (int64_t)length > param->max)
		return refuse_range(place, "'s length in bytes", (int64_t)length, param->min,
				    param->max, error);
	return RPC_OK;
}

static int check_strings(const struct place *place, const struct method_param *param,
			 const json_t *value, struct rpc_error *error)
{
	size_t n, i;
	json_t *item;

	if (!json_is_array(value))
		return refuse_type(place, value, "array of strings", error);
	n = json_array_size(value);
	if ((int64_t)n < param->min || (int64_t)n > param->max)
		return refuse_range(place, "'s number of items", (int64_t)n, param->min, param->max,
				    error);
	json_array_foreach(value, i, item)
	{
		struct place inner = {.method = place->method};

		(void)snprintf(inner.field, sizeof(inner.field), "%.60s[%zu]", place->field, i);
		if (!json_is_string(item))
			return refuse_type(&inner, item, "string", error);
		if (json_string_length(item) < 1 || json_string_length(item) > MAX_ADDRESS)
			return refuse_range(&inner, "'s length in bytes",
					    (int64_t)json_string_length(item), 1, MAX_ADDRESS,
					    error);
	}
	return RPC_OK;
}

static int check_percent(const struct place *place, const struct method_param *param,
			 const json_t *value, struct rpc_error *error)
{
	char value_text[32], limit_text[64];

	if (!json_is_number(value))
		return refuse_type(place, value, "number", error);
	if (json_number_value(value) >= (double)param->min &&
	    json_number_value(value) <= (double)param->max)
		return RPC_OK;
	(void)snprintf(value_text, sizeof(value_text), "%g", json_number_value(value));
	(void)snprintf(limit_text, sizeof(limit_text), "%lld..%lld", (long long)param->min,
		       (long long)param->max);
	rpc_error_set(error, RPC_PARAMS, place->field, "%s: %s is %s, must be %s", place->method,
		      place->field, value_text, limit_text);
	rpc_error_data(error, value_text, limit_text);
	return RPC_PARAMS;
}

static int check_members(const struct place *place, const struct method_param *params, size_t n,
			 const json_t *object, struct rpc_error *error);

static int check_value(const struct place *place, const struct method_param *param,
		       const json_t *value, struct rpc_error *error)
{
	switch (param->type) {
	case METHOD_STRING:
		return check_string(place, param, value, error);
	case METHOD_STRINGS:
		return check_strings(place, param, value, error);
	case METHOD_BOOLEAN:
		return json_is_boolean(value) ? RPC_OK
					      : refuse_type(place, value, "boolean", error);
	case METHOD_INTEGER:
		if (!json_is_integer(value))
			return refuse_type(place, value, "integer", error);
		if (json_integer_value(value) < param->min ||
		    json_integer_value(value) > param->max)
			return refuse_range(place, "", json_integer_value(value), param->min,
					    param->max, error);
		return RPC_OK;
	case METHOD_PERCENT:
		return check_percent(place, param, value, error);
	case METHOD_OBJECT:
		if (!json_is_object(value))
			return refuse_type(place, value, "object", error);
		return check_members(place, param->members, param->n_members, value, error);
	}
	return RPC_OK;
}

static const struct method_param *find_param(const struct method_param *params, size_t n,
					     const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(params[i].name, name) == 0)
			return &params[i];
	return NULL;
}

static void list_names(const struct method_param *params, size_t n, char *text, size_t size)
{
	size_t used = 0;

	(void)snprintf(text, size, "none");
	for (size_t i = 0; i < n && used < size; i++) {
		int length =
			snprintf(text + used, size - used, "%s%s", i ? ", " : "", params[i].name);

		used += length > 0 ? (size_t)length : 0;
	}
}

static void enter(struct place *inner, const struct place *place, const char *name)
{
	inner->method = place->method;
	(void)snprintf(inner->field, sizeof(inner->field), "%.30s%s%.60s", place->field,
		       place->field[0] ? "." : "", name);
}

static int check_members(const struct place *place, const struct method_param *params, size_t n,
			 const json_t *object, struct rpc_error *error)
{
	struct place inner;
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)object, key, value)
	{
		const struct method_param *param = find_param(params, n, key);
		int code;

		enter(&inner, place, key);
		if (!param) {
			char known[sizeof(error->limit)];

			list_names(params, n, known, sizeof(known));
			rpc_error_set(error, RPC_PARAMS, inner.field,
				      "%s: unknown parameter \"%s\", known are: %s", place->method,
				      inner.field, known);
			rpc_error_data(error, key, known);
			return RPC_PARAMS;
		}
		code = check_value(&inner, param, value, error);
		if (code)
			return code;
	}
	for (size_t i = 0; i < n; i++) {
		if (!params[i].is_required || json_object_get(object, params[i].name))
			continue;
		enter(&inner, place, params[i].name);
		return rpc_error_set(error, RPC_PARAMS, inner.field, "%s: parameter %s is missing",
				     place->method, inner.field);
	}
	return RPC_OK;
}

int method_check(const struct method *method, const json_t *params, struct rpc_error *error)
{
	struct place place = {.method = method->name};

	return check_members(&place, method->params, method->n_params, params, error);
}

static json_t *describe_choices(const char *choices)
{
	json_t *list = json_array();

	while (*choices) {
		size_t n = strcspn(choices, "|");

		json_array_append_new(list, json_stringn(choices, n));
		choices += n + (choices[n] == '|');
	}
	return list;
}

static json_t *describe_params(const struct method_param *params, size_t n)
{
	json_t *list = json_array();

	for (size_t i = 0; i < n; i++) {
		const struct method_param *param = &params[i];
		json_t *object = json_pack("{s:s, s:s, s:b, s:s}", "name", param->name, "type",
					   method_type_name(param->type), "required",
					   param->is_required, "help", param->help);

		if (param->choices) {
			json_object_set_new(object, "choices", describe_choices(param->choices));
		} else if (param->type == METHOD_OBJECT) {
			json_object_set_new(object, "members",
					    describe_params(param->members, param->n_members));
		} else if (param->type != METHOD_BOOLEAN) {
			json_object_set_new(object, "min", json_integer(param->min));
			json_object_set_new(object, "max", json_integer(param->max));
		}
		json_array_append_new(list, object);
	}
	return list;
}

json_t *method_describe(void)
{
	json_t *methods = json_array();
	json_t *errors = json_array();

	for (size_t i = 0; i < N_METHODS; i++)
		json_array_append_new(
			methods,
			json_pack("{s:s, s:s, s:b, s:o}", "name", table[i].name, "summary",
				  table[i].summary, "mutation", table[i].is_mutation, "params",
				  describe_params(table[i].params, table[i].n_params)));
#define X(upper, number, sense)                                                                    \
	json_array_append_new(errors, json_pack("{s:i, s:s}", "code", number, "meaning", sense));
	RPC_ERROR_LIST(X)
#undef X
	return json_pack("{s:o, s:o}", "methods", methods, "errors", errors);
}
