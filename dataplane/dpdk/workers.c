/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * How many workers run. Cores and queues are set up once, for as many as may come; the tables of a
 * worker are made when it runs first. A change gives new flows to the new number by a new steering, and
 * keeps the former one for the flows that live: see handoff.c and docs/decisions/0015. The control
 * thread looks through the tables for such flows, forgets a former steering when no flow needs it, and
 * parks workers that no steering names any more.
 *
 * Control thread alone.
 */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include <rte_cycles.h>
#include <rte_launch.h>

#include "dataplane/dpdk/cores.h"
#include "dataplane/dpdk/engine.h"
#include "dataplane/dpdk/flow_events.h"
#include "dataplane/dpdk/fragment.h"
#include "dataplane/dpdk/pages.h"
#include "dataplane/dpdk/sweep.h"
#include "log/log.h"

enum {
	MAX_LOOKED_AT = 2048, /* flows at a time, so that the control thread stays live */
};

/** A pass over all tables: how many flows need which former steering. */
struct handed {
	uint32_t worker; /* where it is */
	uint32_t index;
	bool is_ipv6;
	bool is_whole;                       /* last[] is of a whole pass since the last change */
	uint64_t n[1 + STEERING_MAX_FORMER]; /* by the depth of steering_depth() */
	uint64_t last[1 + STEERING_MAX_FORMER];
};

int workers_new(struct dataplane *dataplane)
{
	dataplane->handed = calloc(1, sizeof(*dataplane->handed));
	if (dataplane->handed == NULL)
		return -ENOMEM;
	if (getrandom(&dataplane->flow_key, sizeof(dataplane->flow_key), 0) !=
	    sizeof(dataplane->flow_key))
		return -errno;
	if (affinity_table_init(&dataplane->affinities, dataplane->options.n_affinities,
				&dataplane->flow_key) != 0)
		return -ENOMEM;
	for (uint32_t i = 0; i < dataplane->max_workers; i++) {
		struct worker *worker = aligned_alloc(SL_CACHE_LINE, sizeof(*worker));

		if (worker == NULL)
			return -ENOMEM;
		memset(worker, 0, sizeof(*worker));
		worker->dataplane = dataplane;
		worker->id = i;
		dataplane->worker[i] = worker;
	}
	return 0;
}

enum {
	SERVICE_LINES_BYTES = SL_MAX_SERVICES * SL_CACHE_LINE,
	BACKEND_LINES_BYTES = SL_MAX_BACKENDS * SL_CACHE_LINE,
};

_Static_assert(sizeof(struct service_line) == SL_CACHE_LINE &&
		       sizeof(struct backend_line) == SL_CACHE_LINE,
	       "a line each");

static int worker_open(struct dataplane *dataplane, struct worker *worker)
{
	uint32_t n_flows = dataplane->options.n_flows;
	char name[RTE_RING_NAMESIZE];
	int status;

	status = flow_table_init(&worker->flows4, SL_FAMILY_IPV4, n_flows, &dataplane->flow_key,
				 dataplane->has_hugepages);
	if (status == 0)
		status = flow_table_init(&worker->flows6, SL_FAMILY_IPV6, n_flows,
					 &dataplane->flow_key, dataplane->has_hugepages);
	if (status != 0)
		return status;
	worker->service_counters = pages_new(SERVICE_LINES_BYTES, dataplane->has_hugepages);
	worker->backend_counters = pages_new(BACKEND_LINES_BYTES, dataplane->has_hugepages);
	worker->backend_openings = calloc(SL_MAX_BACKENDS, sizeof(*worker->backend_openings));
	worker->source_flows = calloc(SL_MAX_BACKENDS, sizeof(*worker->source_flows));
	worker->fragments = fragments_new();
	snprintf(name, sizeof(name), "handoff%u", worker->id);
	worker->handoff = rte_ring_create(name, RING_SIZE, SOCKET_ID_ANY, RING_F_SC_DEQ);
	snprintf(name, sizeof(name), "resolve%u", worker->id);
	worker->resolve =
		rte_ring_create_elem(name, sizeof(struct resolve_request), RESOLVE_RING_SIZE,
				     SOCKET_ID_ANY, RING_F_SP_ENQ | RING_F_SC_DEQ);
	if (dataplane->options.flow_log != NULL) {
		snprintf(name, sizeof(name), "events%u", worker->id);
		worker->patience = FLOW_EVENTS_PATIENCE;
		worker->flow_events =
			rte_ring_create_elem(name, sizeof(struct sl_flow_event), FLOW_EVENTS_SIZE,
					     SOCKET_ID_ANY, RING_F_SP_ENQ | RING_F_SC_DEQ);
		if (worker->flow_events == NULL)
			return -ENOMEM;
	}
	if (worker->service_counters == NULL || worker->backend_counters == NULL ||
	    worker->backend_openings == NULL || worker->source_flows == NULL ||
	    worker->fragments == NULL || worker->handoff == NULL || worker->resolve == NULL)
		return -ENOMEM;
	worker->sweep_tsc_per_entry = rte_get_tsc_hz() * SWEEP_SECONDS / n_flows + 1;
	return 0;
}

/* What worker_open() made; the worker's number stays. */
static void worker_close(struct worker *worker)
{
	for (uint16_t i = 0; i < worker->hold.n; i++)
		rte_pktmbuf_free(worker->hold.packet[i]);
	worker->hold.n = 0;
	flow_table_fini(&worker->flows4);
	flow_table_fini(&worker->flows6);
	pages_free(worker->service_counters, SERVICE_LINES_BYTES);
	pages_free(worker->backend_counters, BACKEND_LINES_BYTES);
	free(worker->backend_openings);
	free(worker->source_flows);
	fragments_free(worker->fragments);
	rte_ring_free(worker->handoff);
	rte_ring_free(worker->resolve);
	rte_ring_free(worker->flow_events);
	worker->service_counters = NULL;
	worker->backend_counters = NULL;
	worker->backend_openings = NULL;
	worker->source_flows = NULL;
	worker->fragments = NULL;
	worker->handoff = NULL;
	worker->resolve = NULL;
	worker->flow_events = NULL;
}

/* Makes the tables of all workers below @n that have none. */
static int open_up_to(struct dataplane *dataplane, uint32_t n, char *error)
{
	while (dataplane->n_opened < n) {
		struct worker *worker = dataplane->worker[dataplane->n_opened];
		int status = worker_open(dataplane, worker);

		if (status != 0) {
			worker_close(worker);
			snprintf(error, SL_MAX_ERROR,
				 "workers: out of memory for %u flow tables of %u flows", n,
				 dataplane->options.n_flows);
			return status;
		}
		/* Release: the log's thread finds the queue of a worker that is counted. */
		__atomic_store_n(&dataplane->n_opened, dataplane->n_opened + 1, __ATOMIC_RELEASE);
	}
	return 0;
}

int workers_open(struct dataplane *dataplane, char *error)
{
	return open_up_to(dataplane, dataplane->n_workers, error);
}

/* A worker that has just left has at most some turns to make. */
static void worker_park(struct worker *worker)
{
	rte_eal_wait_lcore(worker->lcore);
	worker->state = WORKER_PARKED;
	log_info("worker %u: parked, core %d is free", worker->id, worker->core);
}

static int worker_launch(struct worker *worker, char *error)
{
	int status;

	if (worker->state == WORKER_RUNNING && !worker->is_leaving)
		return 0;
	if (worker->state == WORKER_RUNNING)
		worker_park(worker);
	worker->is_leaving = false;
	worker->sweep_tsc = rte_rdtsc();
	status = rte_eal_remote_launch(worker_main, worker, worker->lcore);
	if (status != 0) {
		snprintf(error, SL_MAX_ERROR, "worker %u on core %d: %s", worker->id, worker->core,
			 strerror(-status));
		return status;
	}
	worker->state = WORKER_RUNNING;
	log_info("worker %u: core %d", worker->id, worker->core);
	return 0;
}

static int launch_up_to(struct dataplane *dataplane, uint32_t n, char *error)
{
	int status = 0;

	for (uint32_t i = 0; i < n && status == 0; i++)
		status = worker_launch(dataplane->worker[i], error);
	return status;
}

static void poll_as(struct dataplane *dataplane, uint16_t n, uint16_t step)
{
	struct polling polling = {.n = n, .step = step};

	__atomic_store(&dataplane->polling, &polling, __ATOMIC_RELEASE);
}

int workers_launch(struct dataplane *dataplane, char *error)
{
	uint16_t n = (uint16_t)dataplane->n_workers;

	poll_as(dataplane, n, n);
	return launch_up_to(dataplane, n, error);
}

void workers_free(struct dataplane *dataplane)
{
	for (uint32_t i = 0; i < SL_MAX_WORKERS && dataplane->worker[i] != NULL; i++) {
		worker_close(dataplane->worker[i]);
		free(dataplane->worker[i]);
	}
	affinity_table_fini(&dataplane->affinities);
	free(dataplane->handed);
}

/* Takes the steering; returns when no worker has the former one any more. */
static void publish(struct dataplane *dataplane, struct steering *steering)
{
	struct steering *former = dataplane->steering;

	/* Release: the whole of it is written before a worker can find it. */
	__atomic_store_n(&dataplane->steering, steering, __ATOMIC_RELEASE);
	rte_rcu_qsbr_synchronize(dataplane->qsbr, RTE_QSBR_THRID_INVALID);
	free(former);
	/* Only now: until then flows were made as the former one said. */
	memset(dataplane->handed, 0, sizeof(*dataplane->handed));
}

uint64_t workers_handed(const struct dataplane *dataplane)
{
	const struct handed *handed = dataplane->handed;
	const uint64_t *n = handed->is_whole ? handed->last : handed->n;
	uint64_t sum = 0;

	for (uint32_t depth = 1; depth <= STEERING_MAX_FORMER; depth++)
		sum += n[depth];
	return sum;
}

/* ---- a change ---- */

static int judge_cores(const struct dataplane *dataplane, uint32_t n, const int *core, char *error)
{
	cpu_set_t allowed;

	if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0)
		return -errno;
	for (uint32_t i = 0; i < n; i++) {
		const struct worker *worker = dataplane->worker[i];

		if (core[i] < 0 || core[i] == worker->core)
			continue;
		if (worker->state == WORKER_RUNNING) {
			snprintf(error, SL_MAX_ERROR,
				 "dataplane.workers: worker %u runs on core %d, not %d: needs a "
				 "restart",
				 i, worker->core, core[i]);
			return -EBUSY;
		}
		if (core[i] >= CPU_SETSIZE || !CPU_ISSET((size_t)core[i], &allowed)) {
			snprintf(error, SL_MAX_ERROR,
				 "dataplane.workers: core %d is not one that this process may use",
				 core[i]);
			return -EINVAL;
		}
	}
	return 0;
}

static int judge(const struct dataplane *dataplane, uint32_t n, const int *core, char *error)
{
	if (n == 0 || n > dataplane->max_workers) {
		snprintf(error, SL_MAX_ERROR,
			 "dataplane.workers: %u (limit %u: the cores and queues set up at the "
			 "start, see dataplane.max_workers)",
			 n, dataplane->max_workers);
		return -EINVAL;
	}
	if (dataplane->steering->n_former == STEERING_MAX_FORMER) {
		snprintf(error, SL_MAX_ERROR,
			 "dataplane.workers: %u: %llu flows are still served as %d former numbers "
			 "of workers had them (limit %d)",
			 n, (unsigned long long)workers_handed(dataplane), STEERING_MAX_FORMER,
			 STEERING_MAX_FORMER);
		return -EBUSY;
	}
	return judge_cores(dataplane, n, core, error);
}

/* Queues change hands when nobody receives from them. */
static void change_polling(struct dataplane *dataplane, uint32_t n)
{
	uint16_t fewer = (uint16_t)(n < dataplane->polling.n ? n : dataplane->polling.n);

	poll_as(dataplane, fewer, UINT16_MAX);
	rte_rcu_qsbr_synchronize(dataplane->qsbr, RTE_QSBR_THRID_INVALID);
	poll_as(dataplane, (uint16_t)n, (uint16_t)n);
}

int dataplane_set_workers(struct dataplane *dataplane, uint32_t n, const int *core, char *error)
{
	uint32_t before = dataplane->n_workers;
	struct steering *steering;
	int status = judge(dataplane, n, core, error);

	if (status != 0 || n == before)
		return status;
	steering = calloc(1, sizeof(*steering));
	if (steering == NULL)
		return -ENOMEM;
	for (uint32_t i = 0; i < n; i++)
		if (core[i] >= 0)
			dataplane->worker[i]->core = core[i];
	status = open_up_to(dataplane, n, error);
	if (status == 0)
		status = launch_up_to(dataplane, n, error);
	if (status == 0)
		status = steering_follow(steering, dataplane->steering, n);
	if (status != 0) {
		free(steering);
		return status;
	}
	rss_pause(dataplane);
	dataplane->n_workers = n;
	publish(dataplane, steering);
	rss_follow(dataplane);
	change_polling(dataplane, n);
	cores_leave(dataplane);
	log_info("workers: %u, and were %u; flows stay where they are", n, before);
	return 0;
}

/* ---- what is left of former ones ---- */

/* The steering that is needed to find both ends of @flow, which lives at @worker. */
static uint32_t depth_of(const struct dataplane *dataplane, const struct sl_flow *flow,
			 uint32_t worker)
{
	const struct steering *steering = dataplane->steering;
	uint32_t most = 0;

	for (int direction = 0; direction < 2; direction++) {
		struct sl_tuple tuple = sl_flow_tuple(flow, (enum sl_direction)direction);
		uint32_t index =
			steer_index(steering, &dataplane->flow_key, dataplane->snapshot, &tuple);
		uint32_t depth = steering_depth(steering, index, worker);

		if (depth > most)
			most = depth;
	}
	return most;
}

/* Goes on in the pass. Whether it is over. */
static bool count_some(struct dataplane *dataplane)
{
	struct handed *handed = dataplane->handed;

	for (int looked_at = 0; looked_at < MAX_LOOKED_AT; looked_at++) {
		const struct worker *worker = dataplane->worker[handed->worker];
		const struct flow_table *table =
			handed->is_ipv6 ? &worker->flows6 : &worker->flows4;
		struct sl_flow_ipv6 copy;
		uint32_t depth;

		if (handed->index >= __atomic_load_n(&table->n_touched, __ATOMIC_RELAXED)) {
			handed->index = 0;
			handed->worker += handed->is_ipv6;
			handed->is_ipv6 = !handed->is_ipv6;
			if (handed->worker == dataplane->n_opened)
				return true;
			continue;
		}
		/* One that changes just now is being made, and not a former one's, or is ending. */
		if (!flow_table_read(table, handed->index++, &copy))
			continue;
		depth = depth_of(dataplane, &copy.flow, worker->id);
		/* If none finds it, its service has changed its mode, and it will time out. */
		if (depth <= dataplane->steering->n_former)
			handed->n[depth]++;
	}
	return false;
}

static void pass_begin(struct handed *handed)
{
	memcpy(handed->last, handed->n, sizeof(handed->last));
	memset(handed->n, 0, sizeof(handed->n));
	handed->is_whole = true;
	handed->worker = 0;
}

/* Forgets the former steerings beyond @n. */
static void forget(struct dataplane *dataplane, uint32_t n)
{
	struct steering *steering = calloc(1, sizeof(*steering));

	if (steering == NULL)
		return;
	steering_forget(steering, dataplane->steering, n);
	publish(dataplane, steering);
	if (n == 0)
		log_info("workers: all flows are where %u workers have them", dataplane->n_workers);
	/* Nobody who reads the new steering gives anything to these. */
	for (uint32_t i = steering->n_named; i < dataplane->n_opened; i++)
		__atomic_store_n(&dataplane->worker[i]->is_leaving, true, __ATOMIC_RELEASE);
}

static void look_for_former(struct dataplane *dataplane)
{
	struct handed *handed = dataplane->handed;
	uint32_t needed = dataplane->steering->n_former;

	if (needed == 0)
		return;
	if (dataplane->snapshot != NULL && !count_some(dataplane))
		return;
	pass_begin(handed);
	while (needed > 0 && handed->last[needed] == 0)
		needed--;
	if (needed < dataplane->steering->n_former)
		forget(dataplane, needed);
}

void workers_supervise(struct dataplane *dataplane)
{
	look_for_former(dataplane);
	for (uint32_t i = 0; i < dataplane->n_opened; i++) {
		struct worker *worker = dataplane->worker[i];

		if (worker->state == WORKER_RUNNING && worker->is_leaving &&
		    rte_eal_get_lcore_state(worker->lcore) == WAIT)
			worker_park(worker);
	}
}
