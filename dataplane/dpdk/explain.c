/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* The answers of this engine to dataplane/explain.c. Control thread. */
#include "dataplane/explain.h"

#include <string.h>

#include "dataplane/dpdk/engine.h"
#include "dataplane/dpdk/schedule.h"

const struct snapshot *engine_snapshot(const struct dataplane *dataplane)
{
	return dataplane->snapshot;
}

uint32_t engine_flows_of(const struct dataplane *dataplane, uint32_t backend)
{
	return schedule_flows_of(dataplane, backend);
}

const char *engine_port_name(const struct dataplane *dataplane, uint32_t port)
{
	return dataplane->port[port].options.name;
}

bool engine_find_flow(struct dataplane *dataplane, const struct sl_tuple *tuple,
		      struct sl_flow_ipv6 *copy, enum sl_direction *direction)
{
	for (uint32_t i = 0; i < dataplane->n_opened; i++) {
		const struct worker *worker = dataplane->worker[i];
		const struct flow_table *table =
			tuple->family == SL_FAMILY_IPV4 ? &worker->flows4 : &worker->flows6;
		uint64_t hash = sl_flow_hash(&table->key, tuple);
		struct sl_flow *flow = flow_table_find(table, hash, tuple, direction);

		if (flow != NULL && flow_table_read(table, flow_table_index(table, flow), copy) &&
		    sl_flow_matches(&copy->flow, tuple, *direction))
			return true;
	}
	return false;
}

uint64_t engine_find_affinity(struct dataplane *dataplane, uint32_t service,
			      const struct sl_tuple *tuple, uint32_t *left)
{
	uint32_t now = affinity_now(dataplane);
	uint64_t word =
		affinity_find(&dataplane->affinities, dataplane->snapshot, service, tuple, now);

	*left = sl_affinity_left(word, now);
	return word;
}

struct explain_hop engine_next_hop(struct dataplane *dataplane, const union sl_addr *addr,
				   uint8_t family, uint32_t backend)
{
	uint16_t index = backend != SL_NO_INDEX ? dataplane->snapshot->backend[backend].adjacency
						: route_lookup(dataplane, addr, family);
	const struct sl_adjacency *adjacency = &dataplane->adjacency[index];
	struct explain_hop hop = {.kind = EXPLAIN_HOP_READY, .port = adjacency->port};

	if (!adjacency->is_valid) {
		if (index >= SL_ADJACENCY_GLEAN)
			hop.kind = EXPLAIN_HOP_UNRESOLVED;
		else if (index == SL_ADJACENCY_LOCAL)
			hop.kind = EXPLAIN_HOP_LOCAL;
		else
			hop.kind = EXPLAIN_HOP_NONE;
	}
	memcpy(hop.mac, adjacency->destination_mac, sizeof(hop.mac));
	return hop;
}
