/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* How backends are checked, as JSON: what the API takes and tells, and what stands on disk. */
#pragma once

#include <jansson.h>

#include <sluice/base.h>

struct health_check;
struct rpc_error;

/** What goes with the check's type, each member with its value; NULL for type none. */
json_t *health_check_to_json(const struct health_check *check);

/** One member's value; NULL: it does not go with the check's type. */
json_t *health_check_member_to_json(const struct health_check *check, const char *name);

/**
 * Changes what @json, an object whose types and ranges need not have been judged, says; the rest stays, or
 * gets its default if the type is another. @service: for errors. RPC_PARAMS.
 */
int health_check_from_json(const json_t *json, const char *service, struct health_check *check,
			   struct rpc_error *error) SL_MUST_USE;
