/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* What packets that may begin flows will need, found out for all of a burst before the first has its turn. */
#pragma once

#include "dataplane/dpdk/worker.h"

/** Of one packet, for the snapshot of its burst. */
struct foreseen {
	uint32_t service;    /* the packet's; SL_NO_INDEX: none, and nothing more is known */
	uint32_t backend;    /* by the hash; SL_NO_INDEX: reply_hash is not known */
	uint64_t hash;       /* lookup_hash() of its tuple */
	uint64_t reply_hash; /* under the flow tables' key, of what this backend answers */
};

/**
 * Hashes those of the @n packets without a verdict that may begin flows, and asks for their slots and, where
 * there is room for flows, for the index's places of the replies. Their outcomes then point into @foreseen,
 * which has room for @n <= BURST_SIZE. The worker's thread.
 */
void foresee(struct worker *worker, const struct snapshot *snapshot, const struct sl_packet *packet,
	     struct outcome *outcome, struct foreseen *foreseen, uint16_t n);
