/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * One handler for each method of methods.h, bound by name: a method without a handler does not
 * link. handlers.c holds what they share; handlers_NOUN.c holds them.
 */
#pragma once

#include <jansson.h>

#include <sluice/base.h>
#include <sluice/wire.h>

#include "control/daemon/change.h"
#include "control/methods.h"
#include "control/rpc.h"

struct client;
struct config;
struct daemon;
struct desired_service;

/** What a caller may do. */
enum access {
	ACCESS_NONE = 0,
	ACCESS_READ,
	ACCESS_WRITE,
};

/** One call under way. @params are judged already. */
struct call {
	struct daemon *daemon;
	enum access access;
	const struct method *method;
	const json_t *params;
	json_t *result;       /* made by the handler */
	struct rpc_list list; /* of it, where it is long */
	struct rpc_error *error;
};

/** Each returns 0 with call->result made, or the error's code with call->error filled. */
#define X(upper, lower, name, is_mutation, summary) int handle_##lower(struct call *call);
METHOD_LIST(X)
#undef X

/**
 * Judges and runs one decoded request. 0, a new reference in @result and its list, if it has one, in @list, for
 * rpc_list_fini(); or the error's code with @error filled.
 */
int handlers_run(struct daemon *daemon, enum access access, const struct rpc_request *request,
		 json_t **result, struct rpc_list *list, struct rpc_error *error) SL_MUST_USE;

/* What handlers share. */

/**
 * The state as it would be with the services of the parameter text, and that text's configuration, both the
 * caller's to free. @warnings: NULL, or a new array of what is allowed but odd.
 */
int call_load_text(const struct call *call, struct config **config, struct desired **next,
		   json_t **warnings) SL_MUST_USE;

/** Refuses unless the caller may do so much. NOT_PERMITTED. */
int call_check_access(const struct call *call, enum access needed) SL_MUST_USE;

/** The string parameter @name, or NULL. */
const char *call_string(const struct call *call, const char *name);

/** The integer parameter @name, or @otherwise. */
int64_t call_integer(const struct call *call, const char *name, int64_t otherwise);

/** ADDR or ADDR:PORT of parameter @name; nothing is written if it was not given. */
int call_addr(const struct call *call, const char *name, union sl_addr *addr, be16_t *port,
	      uint8_t *family) SL_MUST_USE;

/** The service that parameter @name names; NOT_FOUND. */
int call_service(const struct call *call, const char *name,
		 const struct desired_service **service) SL_MUST_USE;

/** The connected dataplane; NOT_CONNECTED. */
int call_client(const struct call *call, struct client **client) SL_MUST_USE;

/** The error of a failed call to the dataplane: @status as client.h returns it. */
int call_client_failed(const struct call *call, const struct client *client, int status);

/** A clone of the state to change; INTERNAL when out of memory. */
int call_clone(const struct call *call, struct desired **next) SL_MUST_USE;

/** Commits @next (taken over), or only judges it for dry_run, and makes the result. */
int call_commit(struct call *call, struct desired *next) SL_MUST_USE;

/** The same with the change's other members filled by the caller; fills is_dry_run. */
int call_commit_change(struct call *call, struct change *change) SL_MUST_USE;
