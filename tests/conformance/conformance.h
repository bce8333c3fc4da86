/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * Conformance: every engine runs the same frames on the same tables and must agree byte for byte,
 * verdict for verdict and counter for counter. conformance.c is the runner and has main(); an
 * executable links it, tables.c, tests/vectors/vectors.c and exactly one executor: a file that
 * brings one engine up and defines the functions below. All calls come from one thread.
 *
 * The runner calls executor_open(), executor_commit() with the tables, then for each row of
 * packets.txt and each story of stories.txt executor_reset_flows() and executor_send() a frame at
 * a time, executor_counters() at the end, and executor_close().
 */
#pragma once

#include <sluice/base.h>
#include <sluice/counters.h>
#include <sluice/wire.h>

#include "tests/vectors/vectors.h"

struct dataplane;
struct snapshot;

/** The two devices: clients are behind one, backends behind the other. */
enum conformance_port {
	CONFORMANCE_PORT_CLIENT = 0,
	CONFORMANCE_PORT_BACKEND,
	CONFORMANCE_N_PORTS,
	CONFORMANCE_PORT_UNKNOWN, /* in a result: the executor cannot see where the frame left */
};

/** What became of one frame. */
struct executor_result {
	enum sl_verdict verdict;
	enum conformance_port port; /* forward, reply: sent from; punt: whose kernel side got it */
	size_t out_length;          /* 0: nothing left the engine */
	uint8_t out[VECTOR_MAX_FRAME]; /* the frame as sent, or as the kernel received it */
};

/** "dpdk" or "xdp". */
const char *executor_name(void);

/**
 * Brings the engine up in a network namespace of its own: two devices, tables_set_up_kernel() on
 * the kernel side of them. Both ports have the link address TABLES_OWN_MAC.
 * 0 or negative errno with @error (SL_MAX_ERROR bytes).
 */
int executor_open(char *error) SL_MUST_USE;

/**
 * Publishes @snapshot, which is the executor's from now on, and frees the former one. Returns when
 * every backend that the kernel has a route to can be reached. 0 or negative errno.
 */
int executor_commit(struct snapshot *snapshot) SL_MUST_USE;

/** Forgets all flows, and counts nothing for it. 0 or negative errno. */
int executor_reset_flows(void) SL_MUST_USE;

/**
 * Has the engine receive one frame of @length bytes (may be 0) on @port, and waits for its end.
 * 0; -ENOTSUP: this engine cannot be given a frame so short (the runner accepts that below 14
 * bytes); other negative errno: the frame was lost or the engine died.
 */
int executor_send(enum conformance_port port, const uint8_t *frame, size_t length,
		  struct executor_result *result) SL_MUST_USE;

/** The engine's counters, summed over its workers. 0 or negative errno. */
int executor_counters(struct wire_counters_reply *reply) SL_MUST_USE;

/** Adds what the engine counted of each backend, its place in a snapshot apart, to @sum. */
void executor_openings(struct sl_backend_openings *sum);

/** executor_openings() of @dataplane with @snapshot, for whoever has both. */
void conformance_add_openings(struct dataplane *dataplane, const struct snapshot *snapshot,
			      struct sl_backend_openings *sum);

/**
 * The executor's own last checks (leaked buffers, say), told by conformance_failed(), and the end of
 * the engine. What it sends itself is in no expectation: the counters have been compared by now.
 */
void executor_close(void);

/** Prints a failure of @name, counts it. For the runner and for executor_close() alike. */
__attribute__((format(printf, 2, 3))) void conformance_failed(const char *name, const char *format,
							      ...);
