/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * Expiry of flows by a sweep (RFC 5382 REQ-5, RFC 4787 REQ-5). No timer wheel: the entries lie in
 * an array, and to read them in order costs less than to keep a list of them in order.
 */
#include "dataplane/dpdk/sweep.h"

#include "dataplane/dpdk/hash_burst.h"

enum {
	HASHED_AT_ONCE = 16, /* flows, with a column for each direction */
};

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

/* The hashes of the @n flows of @table, whose buckets are asked for. */
static void hash_flows(const struct flow_table *table, struct sl_flow *const *flow, uint32_t n,
		       struct flow_hashes *hashes)
{
	struct hash_words words;

	for (uint32_t first = 0; first < n; first += HASHED_AT_ONCE) {
		_Alignas(64) uint64_t hash[HASH_BURST];
		uint32_t n_columns = 0;

		for (uint32_t i = first; i < n && n_columns < 2 * HASHED_AT_ONCE; i++) {
			for (int direction = 0; direction < 2; direction++) {
				struct sl_tuple tuple =
					sl_flow_tuple(flow[i], (enum sl_direction)direction);

				hash_put(&words, n_columns++, &tuple);
			}
		}
		hash_burst(&table->key, &words, n_columns, flow[first]->family, hash);
		for (uint32_t column = 0; column < n_columns; column++) {
			hashes[first + column / 2].of[column % 2] = hash[column];
			flow_table_prefetch(table, hash[column]);
		}
	}
}

/* Looks at @n entries. What is over ends after all were looked at: its buckets are on their way. */
static void sweep_table(struct worker *worker, const struct snapshot *snapshot,
			struct flow_table *table, uint32_t n)
{
	struct flow_hashes hashes[SWEEP_MAX];
	struct sl_flow *over[SWEEP_MAX];
	uint32_t n_over = 0;

	if (n > table->n_touched)
		n = table->n_touched;
	for (uint32_t i = 0; i < n; i++) {
		struct sl_flow *flow;

		if (table->sweep_at >= table->n_touched)
			table->sweep_at = 0;
		flow = flow_table_at(table, table->sweep_at++);
		if (flow->state == SL_FLOW_FREE || !flow_is_over(worker, snapshot, flow))
			continue;
		over[n_over++] = flow;
	}
	hash_flows(table, over, n_over, hashes);
	for (uint32_t i = 0; i < n_over; i++)
		worker_end_flow_of(worker, table, over[i], &hashes[i]);
}

void sweep_flows(struct worker *worker)
{
	const struct snapshot *snapshot;
	uint64_t allowed = worker->sweep_tsc_per_entry * SWEEP_MAX_BEHIND;
	uint32_t n = 0;

	snapshot = __atomic_load_n(&worker->dataplane->snapshot, __ATOMIC_ACQUIRE);
	if (snapshot == NULL) {
		worker->sweep_tsc = worker->now_tsc;
		return;
	}
	for (; n < SWEEP_MAX && worker->now_tsc - worker->sweep_tsc >= worker->sweep_tsc_per_entry;
	     n++)
		worker->sweep_tsc += worker->sweep_tsc_per_entry;
	/* Further behind than some turns work off: the rest is forgiven. */
	if (SL_UNLIKELY(worker->now_tsc - worker->sweep_tsc > allowed))
		worker->sweep_tsc = worker->now_tsc - allowed;
	if (n == 0)
		return;
	sweep_table(worker, snapshot, &worker->flows4, n);
	sweep_table(worker, snapshot, &worker->flows6, n);
}
