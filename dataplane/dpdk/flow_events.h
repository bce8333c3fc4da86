/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* What the flow log is told by workers: they put, the log's thread takes. */
#pragma once

#include <rte_pause.h>

#include "dataplane/dpdk/engine.h"
#include "dataplane/flow_log.h"

enum {
	FLOW_EVENTS_SIZE = 16384,       /* of one worker, that wait to be written */
	FLOW_EVENTS_PATIENCE = 1 << 24, /* pauses of one worker that stops and ends all its flows */
};

/** Of struct flow_log_source. @context: the struct dataplane. */
uint32_t flow_events_take(void *context, struct flow_log *log);

/* Only a worker that stops, and serves no packet any more, waits for room. */
SL_INLINE bool flow_events_may_wait(struct worker *worker)
{
	if (!__atomic_load_n(&worker->dataplane->is_stopping, __ATOMIC_RELAXED) ||
	    worker->patience == 0)
		return false;
	worker->patience--;
	rte_pause();
	return true;
}

/**
 * Tells the log of @flow, whose service is logged. @other: whom its first packet went to, in mode snat;
 * NULL: as the flow has it. The worker's thread.
 */
static __rte_noinline SL_UNUSED void flow_events_put(struct worker *worker,
						     const struct sl_flow *flow,
						     enum sl_flow_event_kind kind,
						     const struct sl_tuple *other)
{
	struct sl_flow_event event = {.stamp = worker->now_tsc};
	bool is_put = false;

	sl_flow_event_fill(&event, flow, flow->family, kind);
	if (other != NULL) {
		event.backend = other->destination;
		event.backend_port = other->destination_port;
	}
	worker->counters.event[SL_EVENT_FLOW_LOG_RECORDS]++;
	do
		is_put = worker->flow_events != NULL &&
			 rte_ring_sp_enqueue_elem(worker->flow_events, &event, sizeof(event)) == 0;
	while (!is_put && flow_events_may_wait(worker));
	if (!is_put)
		worker->counters.event[SL_EVENT_FLOW_LOG_LOST]++;
}
