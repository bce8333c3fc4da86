/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* The decision for one parsed packet: its flow, else its service and a backend, and the rewrite. */
#pragma once

#include <sluice/packet/flow.h>
#include <sluice/packet/nat.h>

#include "dataplane/dpdk/dispatch.h"
#include "dataplane/dpdk/worker.h"
#include "dataplane/lookup.h"

/**
 * Decides @packet, whose frame is @frame, and rewrites it if it is to be sent; the frame may grow at
 * its head then. @hash: sl_flow_hash() of its tuple under the flow tables' key. The worker's thread.
 */
void balance_packet(struct worker *worker, struct snapshot *snapshot, struct rte_mbuf *frame,
		    struct sl_packet *packet, uint64_t hash, struct outcome *outcome);

/** Counts what a packet said of @backend, by index. */
void balance_count_news(struct worker *worker, uint32_t backend, const struct sl_flow_news *news);

/** What @packet, of @flow in @direction, does to its state, and to what is counted by it. */
SL_INLINE void balance_track(struct worker *worker, struct sl_flow *flow,
			     enum sl_direction direction, const struct sl_packet *packet)
{
	enum sl_flow_state was = (enum sl_flow_state)flow->state;
	struct sl_flow_news news = sl_flow_track(flow, direction, packet, worker->now);

	if (SL_UNLIKELY(news.word != SL_FLOW_NO_NEWS))
		balance_count_news(worker, flow->backend, &news);
	if (SL_UNLIKELY(flow->state != was))
		worker_count_turn(worker, flow, was);
}
