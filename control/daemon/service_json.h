/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* A service and its backends as JSON, in the API's answers and in the state file. Pure. */
#pragma once

#include <jansson.h>

#include <sluice/base.h>

#include "control/daemon/desired.h"
#include "control/json_writer.h"

/**
 * {check{}, canary{group, share_percent, sources[] where there are any}, affinity{} (each where there is one),
 * name, address, mode, scheduler, source[], source_ports (null in nat), deny_source[], deny_destination[],
 * stateless_replies, proxy_protocol, flow_log, slots, owner, timeouts{}}; NULL: out of memory.
 */
json_t *service_to_json(const struct desired_service *service);

/** The same with a member "backends", of what backend_to_json() makes. */
void service_write_whole(struct json_writer *out, const struct desired_service *service);
json_t *service_to_json_whole(const struct desired_service *service);

/** ["10.0.0.1", ...], the service's source addresses in their order. */
json_t *sources_to_json(const struct wire_service *service);

/** {address, weight, state}, with max_flows, role and group where they say something. */
json_t *backend_to_json(const struct desired_backend *backend);

/** All of that but the role, into an object that is open. */
void backend_write_members(struct json_writer *out, const struct desired_backend *backend);

/**
 * Changes @wire's affinity by the members of @json that are given: timeout, prefix. 0 or an error's code
 * with @error filled.
 */
int affinity_from_json(const json_t *json, struct wire_service *wire,
		       struct rpc_error *error) SL_MUST_USE;

/**
 * Changes @canary by the members of @json that are given: group, share_percent. Its sources lists_from_json()
 * takes. 0 or an error's code with @error filled.
 */
int canary_from_json(const json_t *json, const char *service, struct share_canary *canary,
		     struct rpc_error *error) SL_MUST_USE;

/**
 * Reads what backend_to_json() wrote into the service called @service of @desired, which is there: a new
 * backend, or another weight, state, role and group. 0 or an error's code with @error filled.
 */
int backend_from_json(const json_t *json, const char *service, struct desired *desired,
		      struct rpc_error *error) SL_MUST_USE;

/**
 * Reads what service_to_json_whole() wrote, now or in an older version that knew less, and adds it to
 * @desired. 0 or an error's code with @error filled.
 */
int service_from_json(const json_t *json, struct desired *desired,
		      struct rpc_error *error) SL_MUST_USE;
