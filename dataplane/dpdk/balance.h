/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* The decision for one parsed packet: its flow, else its service and a backend, and the rewrite. */
#pragma once

#include "dataplane/dpdk/worker.h"

/**
 * Decides @packet, whose frame is @frame, and rewrites it if it is to be sent; the frame may grow at
 * its head then. @hash: sl_flow_hash() of its tuple under the flow tables' key. The worker's thread.
 */
void balance_packet(struct worker *worker, struct snapshot *snapshot, struct rte_mbuf *frame,
		    struct sl_packet *packet, uint64_t hash, struct outcome *outcome);
