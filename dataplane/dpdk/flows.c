/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * Visits of live flows, read from the control thread while workers change them: each entry is
 * copied under its sequence number, and one that changes meanwhile is passed over.
 */
#include <errno.h>

#include "dataplane/dpdk/engine.h"

enum {
	MAX_LOOKED_AT = 1 << 18, /* entries in one call, so that the control thread stays live */
};

/* A cursor counts entries of worker 0's IPv4 table, its IPv6 table, worker 1's, ... plus one. */
struct place {
	uint32_t worker;
	bool is_ipv6;
	uint32_t index;
};

static bool place_of(const struct dataplane *dataplane, uint64_t cursor, struct place *place)
{
	uint64_t n_flows = dataplane->options.n_flows;
	uint64_t table = cursor / n_flows;

	place->worker = (uint32_t)(table / 2);
	place->is_ipv6 = table % 2 != 0;
	place->index = (uint32_t)(cursor % n_flows);
	return table / 2 < dataplane->n_opened;
}

int dataplane_visit_flows(struct dataplane *dataplane, uint64_t cursor, dataplane_visitor *visit,
			  void *context, uint64_t *next)
{
	struct place place;
	bool is_enough = false;

	*next = 0;
	if (!place_of(dataplane, cursor, &place))
		return -EINVAL;
	for (int looked_at = 0; place_of(dataplane, cursor, &place); looked_at++) {
		const struct worker *worker = dataplane->worker[place.worker];
		const struct flow_table *table = place.is_ipv6 ? &worker->flows6 : &worker->flows4;
		struct sl_flow_ipv6 copy;

		if (is_enough || looked_at == MAX_LOOKED_AT) {
			*next = cursor;
			return 0;
		}
		/* What was never used is empty to the end of the table. */
		if (place.index >= __atomic_load_n(&table->n_touched, __ATOMIC_RELAXED)) {
			cursor += dataplane->options.n_flows - place.index;
			continue;
		}
		if (flow_table_read(table, place.index, &copy))
			is_enough = !visit(context, &(struct dataplane_flow){
							    .flow = &copy.flow,
							    .worker = worker->id,
							    .now = __atomic_load_n(
								    &worker->now, __ATOMIC_RELAXED),
						    });
		cursor++;
	}
	return 0;
}

void dataplane_flow_count(struct dataplane *dataplane, struct wire_flow_count_reply *reply)
{
	for (uint32_t i = 0; i < dataplane->n_opened; i++) {
		const struct worker *worker = dataplane->worker[i];

		reply->ipv4 += worker->flows4.n_used;
		reply->ipv6 += worker->flows6.n_used;
		reply->embryonic += worker->flows4.n_embryonic + worker->flows6.n_embryonic;
		reply->capacity += dataplane->options.n_flows;
	}
}
