/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * What events.subscribe tells of, once, as a list: names, docs/api.md and the CLI are made from it. To add one:
 * a row, and events_add() where it happens.
 */
#pragma once

#include <stdbool.h>

/* clang-format off */
/* upper, name, what it says, its members */
#define EVENT_TYPE_LIST(X) \
	X(CONFIGURATION,         "configuration",         "a change was taken, over the API or from the file", "generation, n_changes, applied") \
	X(BACKEND_STATE,         "backend.state",         "a backend's state was changed by hand or by the file", "service, backend, was, is") \
	X(BACKEND_HEALTH,        "backend.health",        "its checks found a backend up or down", "service, backend, is, reason") \
	X(BACKEND_HINT,          "backend.hint",          "openings of a backend failed; of hints in a row the first", "service, backend, failed, openings, seconds") \
	X(SERVICE_PANIC,         "service.panic",         "too few of a service's backends are up and all are used, or no more so", "service, is") \
	X(SERVICE_ROLE,          "service.role",          "new flows go to a service's backends of another role", "service, is") \
	X(DATAPLANE_CONNECTED,   "dataplane.connected",   "a dataplane answered", "engine, version, pid, generation") \
	X(DATAPLANE_IN_STEP,     "dataplane.in_step",     "the dataplane holds the desired state", "generation") \
	X(DATAPLANE_OUT_OF_STEP, "dataplane.out_of_step", "the dataplane refuses the desired state, or may hold another", "reason") \
	X(DATAPLANE_LOST,        "dataplane.lost",        "the connection to the dataplane ended", "reason") \
	X(OVERRUN,               "overrun",               "events were not read in time, or are too old, and are lost", "lost")
/* clang-format on */

enum event_type {
#define X(upper, name, help, members) EVENT_##upper,
	EVENT_TYPE_LIST(X)
#undef X
		N_EVENT_TYPES,
};

/** "backend.health". */
const char *event_type_name(enum event_type type);

/** The type called @name; false: there is none. */
bool event_type_find(const char *name, enum event_type *type);
