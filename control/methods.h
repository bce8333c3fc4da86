/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * The methods of the public API, once, as data: the daemon validates requests and binds handlers
 * with it, the CLI takes help and completion from it, docs/api.md is printed from it. It knows
 * jansson and rpc.h and nothing of the daemon. To add a method: a row here, its parameters in
 * methods.c, its handler in daemon/handlers*.c (the build fails without one).
 */
#pragma once

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include <sluice/base.h>

struct rpc_error;

/* clang-format off */
/* upper, lower, name, is_mutation, summary */
#define METHOD_LIST(X) \
	X(SERVICE_ADD,    service_add,    "service.add",    true,  "add a service, owned by the API") \
	X(SERVICE_SET,    service_set,    "service.set",    true,  "change a service of the API, or the canary alone of any; members not given stay") \
	X(SERVICE_DELETE, service_delete, "service.delete", true,  "delete a service of the API and its backends") \
	X(SERVICE_SHOW,   service_show,   "service.show",   false, "one service with its counters and backends") \
	X(SERVICE_LIST,   service_list,   "service.list",   false, "all services with their counters") \
	X(BACKEND_ADD,    backend_add,    "backend.add",    true,  "add a backend to a service") \
	X(BACKEND_SET,    backend_set,    "backend.set",    true,  "change a backend's weight, state, role or group") \
	X(BACKEND_DELETE, backend_delete, "backend.delete", true,  "delete a backend; its flows end") \
	X(BACKEND_LIST,   backend_list,   "backend.list",   false, "backends of one service, or of all, with their counters") \
	X(FLOW_LIST,      flow_list,      "flow.list",      false, "live flows") \
	X(FLOW_COUNT,     flow_count,     "flow.count",     false, "how many flows live") \
	X(AFFINITY_LIST,  affinity_list,  "affinity.list",  false, "services whose clients keep their backend, and how many entries each has") \
	X(AFFINITY_CLEAR, affinity_clear, "affinity.clear", true,  "end a service's affinity entries: its clients are scheduled anew") \
	X(EXPLAIN,        explain,        "explain",        false, "the decision for one packet, step by step, on the live tables") \
	X(COUNTERS,       counters,       "counters",       false, "verdicts and events, of all and of each worker; or a service's counters") \
	X(STATUS,         status,         "status",         false, "the daemon, the dataplane, its ports and workers") \
	X(CAPTURE_BEGIN,  capture_begin,  "capture.begin",  false, "begin to copy packets that a filter takes; by who may change things, one at a time") \
	X(CAPTURE_READ,   capture_read,   "capture.read",   false, "data: a pcapng file's next bytes, base64; packets, lost: so far; over: these are the last") \
	X(CAPTURE_STOP,   capture_stop,   "capture.stop",   false, "copy no more; what was copied may be read until it is over") \
	X(CONFIG_CHECK,   config_check,   "config.check",   false, "judge a configuration text; change nothing") \
	X(CONFIG_DIFF,    config_diff,    "config.diff",    false, "what config.apply of a text would change") \
	X(CONFIG_PLAN,    config_plan,    "config.plan",    false, "what config.apply of a text would do to slots and live flows; change nothing") \
	X(CONFIG_APPLY,   config_apply,   "config.apply",   true,  "replace all services owned by the file with those of a text") \
	X(CONFIG_ROLLBACK, config_rollback, "config.rollback", true, "make the state what it was at a kept generation, as a new generation") \
	X(GENERATION_LIST, generation_list, "generation.list", false, "the generations that config.rollback can go back to, and how many changes followed") \
	X(GENERATION_DIFF, generation_diff, "generation.diff", false, "what has been changed since a kept generation; config.rollback to it undoes that") \
	X(CONFIG_EXPORT,  config_export,  "config.export",  false, "the running state as a configuration text") \
	X(EVENTS_SUBSCRIBE, events_subscribe, "events.subscribe", false, "have events sent on this connection from now on, each as a notification") \
	X(METHODS,        methods,        "methods",        false, "this table")
/* clang-format on */

enum method_id {
#define X(upper, lower, name, is_mutation, summary) METHOD_##upper,
	METHOD_LIST(X)
#undef X
		N_METHODS
};

enum method_type {
	METHOD_STRING = 1,
	METHOD_INTEGER,
	METHOD_BOOLEAN,
	METHOD_PERCENT, /* a number with two decimals at most */
	METHOD_STRINGS, /* array of strings */
	METHOD_OBJECT,  /* with members */
};

/** One parameter, or one member of an object parameter. */
struct method_param {
	const char *name;
	enum method_type type;
	bool is_required;
	int64_t min, max;    /* integer: value; string: bytes; strings: how many */
	const char *choices; /* string: "a|b|c", or NULL */
	const char *help;
	const struct method_param *members; /* METHOD_OBJECT */
	size_t n_members;
};

struct method {
	enum method_id id;
	const char *name;
	const char *summary;
	bool is_mutation;
	const struct method_param *params;
	size_t n_params;
};

/** All methods, indexed by enum method_id; N_METHODS of them. */
const struct method *method_table(void);

/** The method called @name, or NULL. */
const struct method *method_find(const char *name);

/** "string", "integer", ... as the API page and `methods` spell it. */
const char *method_type_name(enum method_type type);

/**
 * Judges @params (an object) against the method's parameters: unknown, missing, type, range,
 * choice. 0 or the error's code with @error filled.
 */
int method_check(const struct method *method, const json_t *params,
		 struct rpc_error *error) SL_MUST_USE;

/** The table as JSON: {"methods": [...], "errors": [...]}. NULL: out of memory. */
json_t *method_describe(void);
