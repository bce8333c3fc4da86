/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* From the workers' queues to the flow log: called by the log's thread alone. */
#include "dataplane/dpdk/flow_events.h"

#include <time.h>

#include <rte_cycles.h>
#include <rte_pause.h>

enum {
	TAKE_AT_ONCE = 4096, /* of one worker, so that the file is flushed now and then */
	IDLE_NS = 10000000,
};

/* CLOCK_MONOTONIC of a stamp, which is a TSC. */
struct clock_pair {
	uint64_t tsc;
	uint64_t ns;
	double ns_per_cycle;
};

static struct clock_pair read_clocks(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (struct clock_pair){.tsc = rte_rdtsc(),
				   .ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec,
				   .ns_per_cycle = 1e9 / (double)rte_get_tsc_hz()};
}

static uint64_t time_of(const struct clock_pair *clocks, uint64_t stamp)
{
	uint64_t age = clocks->tsc > stamp ? clocks->tsc - stamp : 0;

	return clocks->ns - (uint64_t)((double)age * clocks->ns_per_cycle);
}

static uint32_t take_from(const struct worker *worker, struct flow_log *log)
{
	struct clock_pair clocks = read_clocks();
	struct sl_flow_event event;
	uint32_t n = 0;

	while (n < TAKE_AT_ONCE &&
	       rte_ring_sc_dequeue_elem(worker->flow_events, &event, sizeof(event)) == 0) {
		flow_log_write(log, &event, time_of(&clocks, event.stamp));
		n++;
	}
	return n;
}

uint32_t flow_events_take(void *context, struct flow_log *log)
{
	const struct timespec idle = {.tv_nsec = IDLE_NS};
	const struct dataplane *dataplane = context;
	/* Acquire: a worker that is counted has its queue. */
	uint32_t n_workers = __atomic_load_n(&dataplane->n_opened, __ATOMIC_ACQUIRE);
	uint32_t n = 0;

	for (uint32_t i = 0; i < n_workers; i++)
		n += take_from(dataplane->worker[i], log);
	if (n == 0)
		nanosleep(&idle, NULL);
	return n;
}
