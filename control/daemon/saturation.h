/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * How close the dataplane is to its limits: for each thing that can run out the part of it that is in use, 0 to
 * 1. What is a rate is reckoned between two looks, at least a second apart. The event loop's thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include <sluice/wire.h>

struct client;

/* clang-format off */
/* upper, name, what it is part of. Of backends: told by who lists these, see metrics.c. */
#define SATURATION_LIST(X) \
	X(WORKER_TIME,     worker_time,     "the busiest worker's time in turns that found packets") \
	X(WORKER_BACKLOG,  worker_backlog,  "of these turns, those in which more packets waited than one receive takes") \
	X(RECEIVE,         receive,         "packets that came to a port and found no room or buffer") \
	X(TRANSMIT,        transmit,        "packets that were to be sent and found the transmit queue full") \
	X(FLOWS,           flows,           "the flow table of the address family that has more flows") \
	X(FLOWS_EMBRYONIC, flows_embryonic, "what the flow table holds of flows that nobody has answered") \
	X(AFFINITIES,      affinities,      "the table of clients that keep their backend") \
	X(SOURCE_PORTS,    source_ports,    "source ports of the source address and backend that have most in use") \
	X(MAX_FLOWS,       max_flows,       "max_flows of the backend that is closest to it")
/* clang-format on */

enum saturation_resource {
#define X(upper, name, help) SATURATION_##upper,
	SATURATION_LIST(X)
#undef X
		SATURATION_N,
};

/** By resource; NAN: not known. */
struct saturation_ratios {
	double of[SATURATION_N];
};

/** What was counted by a moment. Of the workers, and of the packets of all. */
struct saturation_look {
	uint64_t at_ns; /* 0: none yet */
	uint32_t n_workers;
	struct {
		uint64_t busy_ns, busy_loops, full_loops;
	} worker[SL_MAX_WORKERS];
	uint64_t received, missed, sent, unsent;
	struct wire_flow_count_reply flows;
	uint64_t affinities, affinities_capacity;
};

/** The last look, and what came of it and the one before. Zero to begin with. */
struct saturation {
	struct saturation_look look;
	struct saturation_ratios ratios;
	uint64_t boot_id; /* whose look it is */
};

/** What is to be said of the time from @before to @now. What has no time, or was less then, is not known. */
struct saturation_ratios saturation_reckon(const struct saturation_look *before,
					   const struct saturation_look *now);

/**
 * Looks, unless the last look is less than a second old, and returns what is known. @client: NULL, or connected.
 */
const struct saturation_ratios *saturation_look(struct saturation *saturation,
						struct client *client);

/** Takes a backend of @service into account, as the dataplane counts it. */
void saturation_add_backend(struct saturation_ratios *ratios, const struct wire_service *service,
			    const struct wire_backend *backend,
			    const struct wire_backend_counters_record *counted);

/** "worker_time". */
const char *saturation_name(enum saturation_resource resource);

/** {worker_time: 0.31, ...}, without what is not known. */
json_t *saturation_to_json(const struct saturation_ratios *ratios);
