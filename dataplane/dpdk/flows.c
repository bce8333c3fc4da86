/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * Listing of live flows, read from the control thread while workers change them: each entry is
 * copied under its sequence number, and one that changes meanwhile is passed over.
 */
#include <errno.h>
#include <string.h>

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
	return table / 2 < dataplane->n_workers;
}

static bool matches(const struct wire_flow_filter *filter, const struct sl_flow *flow)
{
	if (filter->service.family != 0) {
		union sl_addr addr = sl_flow_addr(flow, SL_FLOW_SERVICE);

		if (flow->family != filter->service.family ||
		    flow->protocol != filter->service.protocol ||
		    (filter->service.port != 0 && flow->service_port != filter->service.port) ||
		    !sl_addr_equal(&addr, &filter->service.addr))
			return false;
	}
	if (filter->client_family != 0) {
		union sl_addr addr = sl_flow_addr(flow, SL_FLOW_CLIENT);

		if (flow->family != filter->client_family || !sl_addr_equal(&addr, &filter->client))
			return false;
	}
	return filter->client_port == 0 || flow->client_port == filter->client_port;
}

static uint32_t ticks_to_ms(uint32_t ticks)
{
	return (uint32_t)((uint64_t)ticks * 1000 / SL_TICKS_PER_SEC);
}

static void describe(const struct dataplane *dataplane, const struct worker *worker,
		     const struct sl_flow *flow, struct wire_flow_record *record)
{
	const struct snapshot *snapshot = dataplane->snapshot;
	uint32_t now = __atomic_load_n(&worker->now, __ATOMIC_RELAXED);
	uint32_t idle = now > flow->last_seen ? now - flow->last_seen : 0;

	memset(record, 0, sizeof(*record));
	record->client = sl_flow_addr(flow, SL_FLOW_CLIENT);
	record->service = sl_flow_addr(flow, SL_FLOW_SERVICE);
	record->source = sl_flow_addr(flow, SL_FLOW_SOURCE);
	record->backend = sl_flow_addr(flow, SL_FLOW_BACKEND);
	record->client_port = flow->client_port;
	record->service_port = flow->service_port;
	record->source_port = flow->source_port;
	record->backend_port = flow->backend_port;
	record->family = flow->family;
	record->protocol = flow->protocol;
	record->state = flow->state;
	record->worker = (uint8_t)worker->id;
	record->idle_ms = ticks_to_ms(idle);
	if (snapshot != NULL && flow->service < snapshot->n_services)
		record->timeout_ms = ticks_to_ms(
			snapshot->service[flow->service].timeout_ticks[sl_flow_timeout(flow)]);
}

int dataplane_flows(struct dataplane *dataplane, const struct wire_flow_filter *filter,
		    uint64_t cursor, uint32_t limit, struct wire_flow_record *record,
		    uint32_t *n_records, uint64_t *next)
{
	struct place place;

	*n_records = 0;
	*next = 0;
	if (!place_of(dataplane, cursor, &place))
		return -EINVAL;
	for (int looked_at = 0; place_of(dataplane, cursor, &place); looked_at++) {
		const struct worker *worker = dataplane->worker[place.worker];
		const struct flow_table *table = place.is_ipv6 ? &worker->flows6 : &worker->flows4;
		struct sl_flow_ipv6 copy;

		if (*n_records == limit || looked_at == MAX_LOOKED_AT) {
			*next = cursor;
			return 0;
		}
		/* What was never used is empty to the end of the table. */
		if (place.index >= __atomic_load_n(&table->n_touched, __ATOMIC_RELAXED)) {
			cursor += dataplane->options.n_flows - place.index;
			continue;
		}
		if (flow_table_read(table, place.index, &copy) && matches(filter, &copy.flow))
			describe(dataplane, worker, &copy.flow, &record[(*n_records)++]);
		cursor++;
	}
	return 0;
}

void dataplane_flow_count(struct dataplane *dataplane, struct wire_flow_count_reply *reply)
{
	for (uint32_t i = 0; i < dataplane->n_workers; i++) {
		const struct worker *worker = dataplane->worker[i];

		reply->ipv4 += worker->flows4.n_used;
		reply->ipv6 += worker->flows6.n_used;
		reply->embryonic += worker->flows4.n_embryonic + worker->flows6.n_embryonic;
		reply->capacity += dataplane->options.n_flows;
	}
}
