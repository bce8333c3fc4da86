/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * What the worker's own files share: the outcome of one packet, and small reads of its tables.
 * Nothing here may be called from another thread than the worker's.
 */
#pragma once

#include <rte_mbuf_dyn.h>

#include "dataplane/dpdk/engine.h"
#include "dataplane/dpdk/flow_events.h"

/** What the sender of a refused packet is told. */
struct refusal {
	uint32_t reason;           /* as for sl_reject_kind() */
	const union sl_addr *from; /* of the snapshot; NULL: from where the packet went */
};

struct foreseen;

/** What was decided for one packet of a burst. */
struct outcome {
	enum sl_verdict verdict;
	uint32_t port;   /* index of the port to send it from; SL_VERDICT_FORWARD and _REPLY only */
	bool is_refused; /* the sender is to be told */
	struct refusal refusal; /* likewise why, and by whom */
	bool is_handed;         /* no verdict: another worker is to go on, its number is port */
	uint8_t egress;         /* enum lookup_egress */
	bool is_back;           /* LOOKUP_EGRESS_OUT: to another client */
	uint32_t service;       /* LOOKUP_EGRESS_OUT: the client's */
	/* The packet's; NULL: it is this worker's alone, as far as there is a choice. */
	struct steering_mark *mark;
	const struct foreseen *foreseen; /* NULL: nothing was foreseen of it; see foresee.h */
};

/** The room for a mark in @packet; what stands there may be of the buffer's former use. */
SL_INLINE struct steering_mark *worker_mark(const struct dataplane *dataplane,
					    struct rte_mbuf *packet)
{
	return RTE_MBUF_DYNFIELD(packet, (size_t)dataplane->mark_offset, struct steering_mark *);
}

/**
 * Worker @to goes on with @packet, whose mark says how far it has come; or it is dropped, for that
 * worker's ring is full.
 */
void worker_hand_off(struct worker *worker, struct rte_mbuf *packet, uint32_t to);

SL_INLINE struct flow_table *worker_table(struct worker *worker, uint8_t family)
{
	return family == SL_FAMILY_IPV4 ? &worker->flows4 : &worker->flows6;
}

/** Microseconds at the worker's clock, which it reads once a turn; they wrap. */
SL_INLINE uint32_t worker_now_us(const struct worker *worker)
{
	return (uint32_t)(((unsigned __int128)worker->now_tsc * worker->dataplane->us_per_tsc) >>
			  64);
}

/** Counts that @flow is no longer in state @was, which is another than it is in. */
SL_INLINE void worker_count_turn(struct worker *worker, const struct sl_flow *flow,
				 enum sl_flow_state was)
{
	struct backend_line *backend = &worker->backend_counters[flow->backend];

	if (was == SL_FLOW_EMBRYONIC) {
		flow_table_promoted(worker_table(worker, flow->family));
		worker->counters.event[SL_EVENT_FLOW_PROMOTED]++;
	} else if (flow->state == SL_FLOW_EMBRYONIC) {
		flow_table_demoted(worker_table(worker, flow->family));
	}
	if (flow->state == SL_FLOW_CLOSED)
		backend->closed++;
	else if (was == SL_FLOW_CLOSED)
		backend->closed--;
}

/** Frees @flow and counts it. @hashes: flow_table_hashes() of it. */
SL_INLINE void worker_end_flow_of(struct worker *worker, struct flow_table *table,
				  struct sl_flow *flow, const struct flow_hashes *hashes)
{
	worker->counters.event[SL_EVENT_FLOW_ENDED]++;
	worker->backend_counters[flow->backend].flows_ended++;
	if (SL_UNLIKELY(sl_flow_is_awaited(flow)))
		worker->backend_openings[flow->backend].unanswered++;
	worker->backend_counters[flow->backend].closed -= flow->state == SL_FLOW_CLOSED;
	if (SL_UNLIKELY(flow->is_logged))
		flow_events_put(worker, flow, SL_FLOW_ENDS, NULL);
	if (SL_UNLIKELY(sl_flow_has_source(flow)))
		worker->source_flows[flow->backend][flow->position]--;
	flow_table_remove_of(table, flow, hashes);
}

/** The same for whoever has them not yet. */
SL_INLINE void worker_end_flow(struct worker *worker, struct flow_table *table,
			       struct sl_flow *flow)
{
	struct flow_hashes hashes = flow_table_hashes(table, flow);

	worker_end_flow_of(worker, table, flow, &hashes);
}
