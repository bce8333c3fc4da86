/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* Expiry: a bounded look at a few entries in every turn of the worker's loop. */
#pragma once

#include "dataplane/dpdk/worker.h"

enum {
	SWEEP_SECONDS = 4,
	SWEEP_MAX = 64,                    /* entries in one turn */
	SWEEP_MAX_BEHIND = 64 * SWEEP_MAX, /* that later turns make up for */
};

/**
 * Looks at as many entries as time has passed for, and frees those that are over. Once round the
 * table takes SWEEP_SECONDS, which is how late an expiry may be.
 */
void sweep_flows(struct worker *worker);

/** Whether the next turn has as much to look at as one may. */
SL_INLINE bool sweep_is_behind(const struct worker *worker)
{
	return worker->now_tsc - worker->sweep_tsc >= worker->sweep_tsc_per_entry * SWEEP_MAX;
}
