/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* See rest.h. The kernel wakes nobody for a packet: a clock does. */
#include "dataplane/dpdk/rest.h"

#include <sys/prctl.h>
#include <time.h>

#include <rte_cycles.h>

#include "dataplane/dpdk/sweep.h"

void rest_begin(const struct worker *worker)
{
	if (worker->dataplane->idle_sleep_tsc != 0)
		(void)prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
}

/* Whether this turn had something to do, or the next one has. */
static bool is_at_work(const struct worker *worker)
{
	return worker->is_busy || worker->hold.n != 0 || sweep_is_behind(worker);
}

void rest_if_idle(struct worker *worker)
{
	const struct dataplane *dataplane = worker->dataplane;
	const struct timespec duration = {
		.tv_nsec = (long)dataplane->options.idle_sleep_us * 1000,
	};

	if (is_at_work(worker)) {
		worker->rest_tsc = worker->now_tsc + dataplane->idle_sleep_tsc;
		return;
	}
	if (worker->now_tsc < worker->rest_tsc)
		return;
	(void)nanosleep(&duration, NULL);
	worker->counters.event[SL_EVENT_SLEEPS]++;
	/* A sleep is no turn. */
	worker->now_tsc = rte_rdtsc();
}
