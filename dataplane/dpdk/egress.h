/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* The decision for a packet of mode snat: out of a private network, into it, or back into it. */
#pragma once

#include "dataplane/dpdk/worker.h"

/**
 * Decides @packet, of which @outcome says which way it goes, as balance_packet() does others. @hash: of
 * sl_egress_key() of its tuple. The worker's thread.
 */
void egress_packet(struct worker *worker, struct snapshot *snapshot, struct rte_mbuf *frame,
		   struct sl_packet *packet, uint64_t hash, struct outcome *outcome);
