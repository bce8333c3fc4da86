/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* A plan as the API tells it, and what in it deserves a warning. Pure. */
#pragma once

#include <jansson.h>

#include <sluice/base.h>

struct plan;
struct json_writer;

enum {
	PLAN_CHURN_PERCENT = 50, /* of a service's slots that move: more is warned of */
	PLAN_POOL_PERCENT = 80,  /* of the source ports to a backend that are in use: likewise */
};

/** {flows, slots, memory, ...}: of all services that change. NULL: out of memory. */
json_t *plan_totals_json(const struct plan *plan);

/** {name, address, change, slots, backends, flows, ports?, backend: [...]} of each service, into an open array. */
void plan_write_services(const struct plan *plan, struct json_writer *out);

/** [{kind, service?, backend?, text}]. @is_in_step: the dataplane holds the state. NULL likewise. */
json_t *plan_warnings_json(const struct plan *plan, bool is_in_step);
