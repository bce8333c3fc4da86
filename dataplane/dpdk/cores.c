/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
#include "dataplane/dpdk/cores.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "dataplane/dpdk/engine.h"
#include "dataplane/dpdk/telemetry.h"
#include "dataplane/flow_log.h"
#include "dataplane/snapshot.h"
#include "log/log.h"

uint32_t cores_count(void)
{
	cpu_set_t allowed;

	return sched_getaffinity(0, sizeof(allowed), &allowed) == 0 ? (uint32_t)CPU_COUNT(&allowed)
								    : 1;
}

/* The one before @core that we may use, around all there are. */
static int core_before(const struct dataplane *dataplane, int core)
{
	for (int tried = 0; tried <= CPU_SETSIZE; tried++) {
		core = core > 0 ? core - 1 : CPU_SETSIZE - 1;
		if (CPU_ISSET((size_t)core, &dataplane->cores))
			break;
	}
	return core;
}

int cores_choose(struct dataplane *dataplane, char *error)
{
	int core = CPU_SETSIZE;

	if (sched_getaffinity(0, sizeof(dataplane->cores), &dataplane->cores) != 0)
		return -errno;
	for (uint32_t i = 0; i < dataplane->max_workers; i++) {
		int wanted = dataplane->options.core[i];

		if (wanted >= 0 &&
		    (wanted >= CPU_SETSIZE || !CPU_ISSET((size_t)wanted, &dataplane->cores))) {
			snprintf(error, SL_MAX_ERROR,
				 "workers: core %d is not one that this process may use", wanted);
			return -EINVAL;
		}
		if (wanted < 0)
			wanted = core = core_before(dataplane, core);
		dataplane->worker[i]->core = wanted;
	}
	return 0;
}

void cores_leave(struct dataplane *dataplane)
{
	cpu_set_t rest = dataplane->cores;
	int status;

	for (uint32_t i = 0; i < dataplane->n_workers; i++)
		CPU_CLR((size_t)dataplane->worker[i]->core, &rest);
	snapshot_limit_threads(CPU_COUNT(&rest) == 0 ? 1 : (uint32_t)CPU_COUNT(&rest));
	if (CPU_COUNT(&rest) == 0)
		rest = dataplane->cores;
	status = pthread_setaffinity_np(pthread_self(), sizeof(rest), &rest);
	if (status != 0)
		log_warn("cores: the control thread may hold up workers: %s", strerror(status));
	punt_move(dataplane, &rest);
	flow_log_move(dataplane->options.flow_log, &rest);
	if (dataplane->options.has_telemetry)
		telemetry_move(&rest);
}
