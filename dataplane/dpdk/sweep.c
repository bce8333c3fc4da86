/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * Expiry of flows by a sweep (RFC 5382 REQ-5, RFC 4787 REQ-5). No timer wheel: the entries lie in
 * an array, and to read them in order costs less than to keep a list of them in order.
 */
#include "dataplane/dpdk/sweep.h"

static bool flow_is_over(const struct worker *worker, const struct snapshot *snapshot,
			 const struct sl_flow *flow)
{
	const struct sl_service *service;
	const struct sl_backend *backend;

	if (flow->service >= snapshot->n_services || flow->backend >= snapshot->n_backends)
		return true;
	service = &snapshot->service[flow->service];
	backend = &snapshot->backend[flow->backend];
	if (service->family == SL_FAMILY_NONE || service->epoch != flow->service_epoch ||
	    backend->family == SL_FAMILY_NONE || backend->epoch != flow->backend_epoch)
		return true;
	return worker->now - flow->last_seen > service->timeout_ticks[sl_flow_timeout(flow)];
}

static void sweep_entry(struct worker *worker, const struct snapshot *snapshot,
			struct flow_table *table)
{
	struct sl_flow *flow;

	if (table->n_touched == 0)
		return;
	if (table->sweep_at >= table->n_touched)
		table->sweep_at = 0;
	flow = flow_table_at(table, table->sweep_at++);
	if (flow->state != SL_FLOW_FREE && flow_is_over(worker, snapshot, flow))
		worker_end_flow(worker, table, flow);
}

void sweep_flows(struct worker *worker)
{
	const struct snapshot *snapshot;

	snapshot = __atomic_load_n(&worker->dataplane->snapshot, __ATOMIC_ACQUIRE);
	if (snapshot == NULL)
		return;
	for (int i = 0; i < SWEEP_MAX; i++) {
		if (worker->now_tsc - worker->sweep_tsc < worker->sweep_tsc_per_entry)
			return;
		worker->sweep_tsc += worker->sweep_tsc_per_entry;
		sweep_entry(worker, snapshot, &worker->flows4);
		sweep_entry(worker, snapshot, &worker->flows6);
	}
	/* Further behind than one turn may work off: the rest is forgiven. */
	worker->sweep_tsc = worker->now_tsc;
}
