/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * A free source is found by asking the flow table: no list of free ports, no lock, no memory for an
 * address. The whole range of ports is there for each pair of source address and backend, and the
 * ports tried are those whose replies the network card, or steer.c, gives to this worker.
 */
#include "dataplane/dpdk/source.h"

#include "dataplane/lookup.h"

/* The source address with the fewest flows to this backend; @random decides between equals. */
static uint32_t least_used(const struct worker *worker, const struct sl_service *service,
			   uint32_t backend, uint32_t random)
{
	const uint32_t *n_flows = worker->source_flows[backend];
	uint32_t best = (uint32_t)(((uint64_t)random * service->n_sources) >> 32);

	for (uint32_t i = 0; i < service->n_sources; i++)
		if (n_flows[i] < n_flows[best])
			best = i;
	return best;
}

/* Whether the port of @other may be given away: it is over in a way that the backend knows of. */
static bool yields(const struct snapshot *snapshot, const struct sl_flow *other, uint32_t sequence)
{
	return sl_flow_yields_port(other, sequence) || lookup_flow_backend(snapshot, other) == NULL;
}

/* Takes the source of @other, which ends. */
static int take_over(struct worker *worker, struct flow_table *table, struct sl_flow *flow,
		     uint64_t hash, struct sl_flow *other)
{
	struct sl_flow *again;

	flow->source_port = other->source_port;
	worker_end_flow(worker, table, other);
	worker->counters.event[SL_EVENT_SOURCE_PORT_REUSED]++;
	return flow_table_insert(table, flow, hash, &again);
}

int source_insert(struct worker *worker, const struct snapshot *snapshot, struct flow_table *table,
		  struct sl_flow *flow, uint64_t hash, uint32_t sequence)
{
	const struct sl_service *service = &snapshot->service[flow->service];
	const uint64_t words[2] = {hash, worker->now_tsc};
	uint64_t random = sl_siphash13_words(&table->key, words, 2);
	uint32_t position = least_used(worker, service, flow->backend, (uint32_t)(random >> 32));
	const union sl_addr *addr = &snapshot->source[service->first_source + position];
	struct sl_flow *yielding = NULL;
	struct steering_walk walk;
	struct sl_tuple reply;
	int status = -EEXIST;
	be16_t port;

	sl_flow_set_source(flow, addr, 0, position, flow->family);
	reply = sl_flow_tuple(flow, SL_DIRECTION_REPLY);
	steering_walk_begin(&walk, worker->dataplane->steering, &reply, worker->id,
			    service->source_port_first, service->source_port_last,
			    (uint32_t)random);
	while (status == -EEXIST && steering_walk_next(&walk, &port)) {
		struct sl_flow *other;

		worker->counters.event[SL_EVENT_SOURCE_PORT_TRIES]++;
		flow->source_port = port;
		status = flow_table_insert(table, flow, hash, &other);
		if (status == -EEXIST && yielding == NULL && yields(snapshot, other, sequence))
			yielding = other;
	}
	if (status == -EEXIST && yielding != NULL)
		status = take_over(worker, table, flow, hash, yielding);
	if (status == 0)
		worker->source_flows[flow->backend][position]++;
	return status == -EEXIST ? -EADDRNOTAVAIL : status;
}
