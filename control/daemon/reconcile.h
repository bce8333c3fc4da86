/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * The connection to the dataplane and the duty to make it hold the desired state: connects for ever
 * (50 ms to 1 s between attempts), compares generation and digest, pushes everything where they
 * differ, and sends differences afterwards. A dataplane that restarts is seen by its socket's end.
 */
#pragma once

#include <stdint.h>

#include <sluice/base.h>

#include "control/rpc.h"

struct client;
struct daemon;
struct desired;
struct plan;
struct reconcile;

/** What the dataplane shall change to. */
struct reconcile_change {
	const struct desired *desired;
	struct sl_hash_key hash_key;
	uint64_t generation;
	bool is_dry_run;
	struct plan *plan; /* filled instead of a commit; of a dry run alone. NULL: none */
};

/** @daemon: outlives it. Nothing happens before reconcile_start. NULL: out of memory. */
struct reconcile *reconcile_new(struct daemon *daemon, const char *socket_path);
void reconcile_start(struct reconcile *reconcile);
void reconcile_free(struct reconcile *reconcile);

/** The connection for reading calls, or NULL while there is none. Borrowed until the loop turns. */
struct client *reconcile_client(const struct reconcile *reconcile);

/** Since when the dataplane is not connected, CLOCK_MONOTONIC; 0: it is. */
uint64_t reconcile_away_ns(const struct reconcile *reconcile);

/** True while the dataplane is connected and holds the daemon's state. */
bool reconcile_is_synced(const struct reconcile *reconcile);

/** The dataplane may hold another state than the daemon: everything will be pushed again. */
void reconcile_mark_stale(struct reconcile *reconcile);

/** The generation that the dataplane holds; 0 while it is not connected. */
uint64_t reconcile_generation(const struct reconcile *reconcile);

/** The least number that a next generation may have: above the daemon's and the dataplane's. */
uint64_t reconcile_next_generation(const struct reconcile *reconcile);

/** Why the dataplane is not connected or not in step; "" while all is well. Borrowed. */
const char *reconcile_reason(const struct reconcile *reconcile);

/**
 * Makes the dataplane change from the daemon's state to @change. 0 with @is_applied true: it has,
 * after the grace period. 0 with false: it is not connected, or the connection was lost on the way;
 * it will be brought into step later. RPC_REFUSED: it has refused and holds what it held.
 */
int reconcile_commit(struct reconcile *reconcile, const struct reconcile_change *change,
		     bool *is_applied, struct rpc_error *error) SL_MUST_USE;
