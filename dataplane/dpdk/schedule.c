/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* See schedule.h. */
#include "dataplane/dpdk/schedule.h"

#include <sluice/packet/schedule.h>

/* Live flows of @backend, of all workers: of others as they stood a moment ago. */
static uint32_t flows_of(const struct worker *worker, uint32_t backend)
{
	const struct dataplane *dataplane = worker->dataplane;
	uint32_t n = __atomic_load_n(&dataplane->n_opened, __ATOMIC_ACQUIRE);
	uint64_t flows = 0;

	for (uint32_t i = 0; i < n; i++) {
		const struct backend_line *line = &dataplane->worker[i]->backend_counters[backend];

		flows += __atomic_load_n(&line->flows, __ATOMIC_RELAXED) -
			 __atomic_load_n(&line->flows_ended, __ATOMIC_RELAXED);
	}
	return (uint32_t)flows;
}

static bool has_no_room(const struct worker *worker, const struct snapshot *snapshot,
			uint32_t backend)
{
	uint32_t max_flows = snapshot->max_flows[backend];

	return max_flows != 0 && flows_of(worker, backend) >= max_flows;
}

/* Of a few members, from where the hash says on: fewest flows for its weight. */
static uint32_t least_of(const struct worker *worker, const struct snapshot *snapshot,
			 const struct sl_service *service, uint64_t hash)
{
	uint32_t position = sl_maglev_slot(hash, service->n_members);
	uint32_t n = RTE_MIN(service->n_members, (uint32_t)SL_SCHEDULE_CANDIDATES);
	struct sl_least least = {0};

	for (uint32_t i = 0; i < n; i++) {
		uint32_t backend = snapshot->member[service->first_member + position];

		sl_least_offer(&least, backend, snapshot->backend[backend].weight,
			       flows_of(worker, backend), snapshot->max_flows[backend]);
		position = position + 1 < service->n_members ? position + 1 : 0;
	}
	return least.weight != 0 ? least.backend : SL_NO_INDEX;
}

/* The one that the client keeps, if it may take the flow. */
static uint32_t kept_backend(const struct worker *worker, const struct snapshot *snapshot,
			     uint32_t service, const struct sl_tuple *tuple)
{
	uint64_t word = affinity_find(&worker->dataplane->affinities, snapshot, service, tuple,
				      worker->now);
	uint32_t backend = lookup_affinity(snapshot, service, word);

	return backend != SL_NO_INDEX && !has_no_room(worker, snapshot, backend) ? backend
										 : SL_NO_INDEX;
}

uint32_t schedule_backend(struct worker *worker, const struct snapshot *snapshot, uint32_t service,
			  const struct sl_tuple *tuple, const struct choice *choice)
{
	const struct sl_service *record = &snapshot->service[service];
	uint32_t backend = choice->backend;

	if (SL_UNLIKELY(record->flags & SL_SERVICE_AFFINITY) && backend != SL_NO_INDEX) {
		uint32_t kept = kept_backend(worker, snapshot, service, tuple);

		if (kept != SL_NO_INDEX)
			return kept;
	}
	if (record->scheduler == WIRE_SCHEDULER_ROUND_ROBIN)
		backend = lookup_slot(
			snapshot, service,
			sl_schedule_turn(&worker->service_counters[service].turn, record->n_slots));
	if (SL_LIKELY((record->flags & SL_SERVICE_COMPARES) == 0) || backend == SL_NO_INDEX)
		return backend;
	if (has_no_room(worker, snapshot, backend))
		worker->counters.event[SL_EVENT_BACKEND_FULL]++;
	else if (record->scheduler != WIRE_SCHEDULER_LEAST_CONNECTIONS)
		return backend;
	return least_of(worker, snapshot, record, choice->hash);
}
