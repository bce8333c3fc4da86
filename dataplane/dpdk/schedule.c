/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* See schedule.h. */
#include "dataplane/dpdk/schedule.h"

uint32_t schedule_flows_of(const struct dataplane *dataplane, uint32_t backend)
{
	uint32_t n = __atomic_load_n(&dataplane->n_opened, __ATOMIC_ACQUIRE);
	uint64_t flows = 0;

	for (uint32_t i = 0; i < n; i++) {
		const struct backend_line *line = &dataplane->worker[i]->backend_counters[backend];

		flows += __atomic_load_n(&line->flows, __ATOMIC_RELAXED) -
			 __atomic_load_n(&line->flows_ended, __ATOMIC_RELAXED) -
			 __atomic_load_n(&line->closed, __ATOMIC_RELAXED);
	}
	/* Between two counts of another worker it may be one too few. */
	return (int64_t)flows > 0 ? (uint32_t)flows : 0;
}

/* The one that the client keeps, if it may take the flow as @audience's. */
static uint32_t kept_backend(const struct worker *worker, const struct snapshot *snapshot,
			     uint32_t service, const struct sl_tuple *tuple,
			     enum sl_audience audience)
{
	uint64_t word = affinity_find(&worker->dataplane->affinities, snapshot, service, tuple,
				      worker->now);
	uint32_t backend = lookup_affinity(snapshot, service, audience, word);

	return backend != SL_NO_INDEX && !lookup_is_full(snapshot, backend, worker->dataplane,
							 schedule_flows_of)
		       ? backend
		       : SL_NO_INDEX;
}

/* schedule_backend(), of those alone that the choice's audience has. */
static uint32_t backend_for(struct worker *worker, const struct snapshot *snapshot,
			    uint32_t service, const struct sl_tuple *tuple,
			    const struct choice *choice)
{
	const struct sl_service *record = &snapshot->service[service];
	uint32_t backend = choice->backend;

	if (SL_UNLIKELY(record->flags & SL_SERVICE_AFFINITY) && backend != SL_NO_INDEX) {
		uint32_t kept = kept_backend(worker, snapshot, service, tuple, choice->audience);

		if (kept != SL_NO_INDEX)
			return kept;
	}
	if (record->scheduler == WIRE_SCHEDULER_ROUND_ROBIN)
		backend = lookup_slot(
			snapshot, service, choice->audience,
			sl_schedule_turn(&worker->service_counters[service].turn[choice->audience],
					 record->n_slots));
	if (SL_LIKELY((record->flags & SL_SERVICE_COMPARES) == 0) || backend == SL_NO_INDEX)
		return backend;
	if (lookup_is_full(snapshot, backend, worker->dataplane, schedule_flows_of))
		worker->counters.event[SL_EVENT_BACKEND_FULL]++;
	else if (record->scheduler != WIRE_SCHEDULER_LEAST_CONNECTIONS)
		return backend;
	return lookup_least(snapshot, record, choice, worker->dataplane, schedule_flows_of);
}

uint32_t schedule_backend(struct worker *worker, const struct snapshot *snapshot, uint32_t service,
			  const struct sl_tuple *tuple, const struct choice *choice)
{
	uint32_t backend = backend_for(worker, snapshot, service, tuple, choice);
	struct choice of_all;

	if (SL_LIKELY(backend != SL_NO_INDEX || choice->audience == SL_AUDIENCE_ALL))
		return backend;
	of_all = lookup_choose_of_all(snapshot, service, choice);
	return backend_for(worker, snapshot, service, tuple, &of_all);
}
