/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* Mode fullnat: the source address and port that a new flow's packets carry to the backend. */
#pragma once

#include "dataplane/dpdk/worker.h"

/**
 * Gives @flow, filled but for its source, a source whose replies come to this worker and that no
 * flow towards the same backend has, and puts it into @table. @hash: of its client-side tuple.
 * @sequence: of the client's SYN, host order. @mark: the packet's, with the source ports that are free
 * at the workers of former steerings, if these were asked; or NULL. The worker's thread.
 * 0, -EADDRNOTAVAIL (none of the ports tried was free), -ENOSPC (as flow_table_insert()); on an
 * error the entry is still the caller's.
 */
int source_insert(struct worker *worker, const struct snapshot *snapshot, struct flow_table *table,
		  struct sl_flow *flow, uint64_t hash, uint32_t sequence,
		  const struct steering_mark *mark) SL_MUST_USE;

/**
 * The same for a flow that is another worker's to make: leaves in @mark the source ports that no flow
 * of @table has. The first worker asked finds some; those after it take from them. A flow that is over
 * ends, if a port is wanted of it.
 */
void source_offer(struct worker *worker, const struct snapshot *snapshot, struct flow_table *table,
		  struct sl_flow *flow, uint64_t hash, uint32_t sequence,
		  struct steering_mark *mark);
