/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* Mode fullnat: the source address and port that a new flow's packets carry to the backend. */
#pragma once

#include "dataplane/dpdk/worker.h"

/**
 * Gives @flow, filled but for its source, a source whose replies come to this worker and that no
 * flow towards the same backend has, and puts it into @table. @hash: of its client-side tuple.
 * @sequence: of the client's SYN, host order. The worker's thread.
 * 0, -EADDRNOTAVAIL (none of the ports tried was free), -ENOSPC (as flow_table_insert()); on an
 * error the entry is still the caller's.
 */
int source_insert(struct worker *worker, const struct snapshot *snapshot, struct flow_table *table,
		  struct sl_flow *flow, uint64_t hash, uint32_t sequence) SL_MUST_USE;
