/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * The seam of dataplane.h, for DPDK: opens the engine, publishes snapshots with QSBR while packets
 * flow, and reads what workers count. Control thread alone.
 */
#include "dataplane/dataplane.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_launch.h>
#include <rte_malloc.h>
#include <rte_mbuf_dyn.h>

#include "dataplane/dpdk/capture.h"
#include "dataplane/dpdk/cores.h"
#include "dataplane/dpdk/engine.h"
#include "dataplane/dpdk/flow_events.h"
#include "dataplane/dpdk/pool.h"
#include "dataplane/dpdk/schedule.h"
#include "dataplane/dpdk/telemetry.h"
#include "dataplane/dpdk/traffic.h"
#include "log/log.h"

enum {
	N_BUFFERS = 16384 - 1, /* at the least */
	RETRIES_PER_SEC = 2000,
	LIVELY_MS =
		2, /* how long a worker's question about a neighbour may wait if there were others just now */
	LIVELY_TURNS = 50,
	CALM_MS = 100, /* between looks at NICs and workers else; a question is rung for */
};

const char *dataplane_engine(void)
{
	return "dpdk";
}

static int maintenance_wait(struct dataplane *dataplane)
{
	bool is_lively = dataplane->n_lively != 0;
	const struct timeval interval = {.tv_usec = (is_lively ? LIVELY_MS : CALM_MS) * 1000};

	return event_add(dataplane->maintenance, &interval) == 0 ? 0 : -ENOMEM;
}

static void on_maintenance(evutil_socket_t fd SL_UNUSED, short what SL_UNUSED, void *data)
{
	struct dataplane *dataplane = data;
	bool is_rung = bell_answer(&dataplane->asked);

	if (routes_serve_requests(dataplane) || is_rung)
		dataplane->n_lively = LIVELY_TURNS;
	else if (dataplane->n_lively != 0)
		dataplane->n_lively--;
	rss_supervise(dataplane);
	workers_supervise(dataplane);
	if (dataplane->n_lively == 0) {
		bell_await(&dataplane->asked);
		if (routes_serve_requests(dataplane))
			dataplane->n_lively = LIVELY_TURNS;
	}
	(void)maintenance_wait(dataplane); /* it was added before, so it can be */
}

static int maintenance_start(struct dataplane *dataplane)
{
	int status = bell_open(&dataplane->asked);

	if (status != 0)
		return status;
	dataplane->n_lively = LIVELY_TURNS;
	dataplane->maintenance =
		event_new(dataplane->base, dataplane->asked.fd, EV_READ, on_maintenance, dataplane);
	return dataplane->maintenance != NULL ? maintenance_wait(dataplane) : -ENOMEM;
}

static int memory_open(struct dataplane *dataplane, char *error)
{
	const struct rte_mbuf_dynfield mark = {.name = "sluice_mark",
					       .size = sizeof(struct steering_mark),
					       .align = __alignof__(struct steering_mark)};
	size_t bytes = rte_rcu_qsbr_get_memsize(dataplane->max_workers);
	/* Receive queues are full of buffers: half of them are left for what moves. */
	uint32_t n_queued = dataplane->n_ports * dataplane->max_workers * N_DESCRIPTORS;
	uint32_t n_buffers = 2 * n_queued > N_BUFFERS + 1 ? 2 * n_queued - 1 : N_BUFFERS;

	dataplane->mark_offset = rte_mbuf_dynfield_register(&mark);
	dataplane->pool = pool_new(n_buffers);
	dataplane->qsbr = rte_zmalloc("qsbr", bytes, SL_CACHE_LINE);
	if (dataplane->pool == NULL || dataplane->qsbr == NULL || dataplane->mark_offset < 0 ||
	    rte_rcu_qsbr_init(dataplane->qsbr, dataplane->max_workers) != 0) {
		snprintf(error, SL_MAX_ERROR,
			 "packet buffers: %s; give DPDK more memory with dataplane.memory_mb",
			 rte_strerror(rte_errno));
		return -ENOMEM;
	}
	return 0;
}

static int engine_start(struct dataplane *dataplane, char *error)
{
	int status = eal_start(dataplane, error);

	if (status == 0)
		status = memory_open(dataplane, error);
	if (status == 0) {
		dataplane->start_tsc = rte_rdtsc();
		dataplane->tsc_per_tick = rte_get_tsc_hz() / SL_TICKS_PER_SEC;
		dataplane->us_per_tsc =
			(uint64_t)(((unsigned __int128)1000000 << 64) / rte_get_tsc_hz());
		dataplane->idle_sleep_tsc =
			rte_get_tsc_hz() / 1000000 * dataplane->options.idle_sleep_us;
		dataplane->tsc_per_retry = rte_get_tsc_hz() / RETRIES_PER_SEC;
		status = workers_open(dataplane, error);
	}
	if (status == 0 && (status = traffic_open(dataplane)) != 0)
		snprintf(error, SL_MAX_ERROR, "counters: %s", strerror(-status));
	if (status == 0)
		cores_leave(dataplane);
	if (status == 0 && dataplane->options.flow_log != NULL)
		status = flow_log_start(
			dataplane->options.flow_log,
			&(struct flow_log_source){.context = dataplane, .take = flow_events_take});
	if (status == 0)
		status = steer_open(dataplane, error);
	for (uint32_t i = 0; i < dataplane->n_ports && status == 0; i++)
		status = port_open(dataplane, i, error);
	for (uint32_t i = 0; i < dataplane->n_ports && status == 0; i++)
		if (dataplane->max_workers > dataplane->port[i].n_queues)
			dataplane->max_workers = dataplane->port[i].n_queues;
	if (status == 0)
		status = routes_open(dataplane, error);
	for (uint32_t i = 0; i < dataplane->n_ports && status == 0; i++)
		status = port_start(dataplane, &dataplane->port[i], error);
	if (status == 0)
		status = punt_start(dataplane, error);
	if (status == 0)
		status = workers_launch(dataplane, error);
	if (status == 0)
		status = maintenance_start(dataplane);
	if (status == 0 && dataplane->options.has_telemetry)
		status = telemetry_start(dataplane, error);
	return status;
}

/*
 * For how many workers cores and queues are set up, as far as the devices have them. If the operator
 * does not say, as many as there are cores, and so few that their receive queues take no more than half
 * of the buffers.
 */
static uint32_t max_workers(const struct dataplane_options *options)
{
	uint32_t n_queues = (N_BUFFERS + 1) / 2 / N_DESCRIPTORS /
			    (options->n_ports != 0 ? options->n_ports : 1);
	uint32_t n = cores_count();

	if (options->max_workers != 0)
		return options->max_workers;
	if (n > n_queues)
		n = n_queues;
	return n > options->n_workers ? n : options->n_workers;
}

int dataplane_open(const struct dataplane_options *options, struct event_base *base,
		   struct dataplane **out, char *error)
{
	struct dataplane *dataplane = calloc(1, sizeof(*dataplane));
	int status;

	if (dataplane == NULL)
		return -ENOMEM;
	dataplane->options = *options;
	dataplane->base = base;
	dataplane->n_ports = options->n_ports;
	dataplane->n_workers = options->n_workers;
	for (uint32_t i = 0; i < SL_MAX_PORTS; i++) {
		dataplane->port[i].id = RTE_MAX_ETHPORTS;
		dataplane->port[i].tap = -1;
		if (i < options->n_ports)
			dataplane->port[i].options = options->port[i];
	}
	snprintf(dataplane->reason, sizeof(dataplane->reason), "%s",
		 options->reason[0] != '\0' ? options->reason : "this program is the dpdk engine");
	dataplane->max_workers = max_workers(options);
	status = workers_new(dataplane);
	if (status == 0)
		status = engine_start(dataplane, error);
	if (status != 0) {
		if (error[0] == '\0')
			snprintf(error, SL_MAX_ERROR, "dpdk: %s", strerror(-status));
		dataplane_close(dataplane);
		return status;
	}
	*out = dataplane;
	return 0;
}

void dataplane_close(struct dataplane *dataplane)
{
	telemetry_stop();
	__atomic_store_n(&dataplane->is_stopping, true, __ATOMIC_RELAXED);
	rte_eal_mp_wait_lcore();
	if (dataplane->maintenance != NULL)
		event_free(dataplane->maintenance);
	bell_close(&dataplane->asked);
	punt_stop(dataplane);
	for (uint32_t i = 0; i < dataplane->n_ports; i++)
		port_close(&dataplane->port[i]);
	routes_close(dataplane);
	flow_log_stop(dataplane->options.flow_log);
	capture_free(dataplane->capture);
	workers_free(dataplane);
	snapshot_free(dataplane->snapshot);
	traffic_close(dataplane);
	free(dataplane->steering);
	rte_free(dataplane->qsbr);
	rte_mempool_free(dataplane->pool);
	eal_stop(dataplane);
	free(dataplane);
}

int dataplane_commit(struct dataplane *dataplane, struct snapshot *snapshot,
		     struct snapshot **former, char *error SL_UNUSED)
{
	*former = dataplane->snapshot;
	flow_log_learn(dataplane->options.flow_log, snapshot);
	routes_resolve_fresh(dataplane, snapshot);
	/* Release: the whole snapshot is written before a worker can find it. */
	__atomic_store_n(&dataplane->snapshot, snapshot, __ATOMIC_RELEASE);
	rte_rcu_qsbr_synchronize(dataplane->qsbr, RTE_QSBR_THRID_INVALID);
	traffic_settle(dataplane, *former, snapshot);
	/* Only now: no frame of a new service is to meet a worker that does not know it. */
	for (uint32_t i = 0; i < dataplane->n_ports; i++)
		if (dataplane->port[i].is_classified)
			classifier_update(&dataplane->port[i], snapshot);
	return 0;
}

void dataplane_save(struct dataplane *dataplane SL_UNUSED, const struct staging *staging SL_UNUSED,
		    const struct snapshot *snapshot SL_UNUSED)
{
	/* Nothing of this engine outlives the process. */
}

int dataplane_restore(struct dataplane *dataplane SL_UNUSED, struct staging *staging SL_UNUSED,
		      struct snapshot **snapshot, char *error SL_UNUSED)
{
	*snapshot = NULL;
	return 0;
}

int dataplane_unload(const struct dataplane_options *options SL_UNUSED, char *error)
{
	snprintf(error, SL_MAX_ERROR, "unload: nothing of this engine outlives its process");
	return -ENOENT;
}

void dataplane_status(struct dataplane *dataplane, struct wire_status_reply *reply)
{
	reply->n_workers = dataplane->n_workers;
	reply->max_workers = dataplane->max_workers;
	reply->n_former = dataplane->steering->n_former;
	reply->flows_handed = workers_handed(dataplane);
	reply->n_ports = dataplane->n_ports;
	reply->flows_capacity = (uint64_t)dataplane->n_workers * dataplane->options.n_flows;
	for (uint32_t i = 0; i < dataplane->n_opened; i++) {
		const struct worker *worker = dataplane->worker[i];

		reply->flows += worker->flows4.n_used + worker->flows6.n_used;
		reply->flows_embryonic += worker->flows4.n_embryonic + worker->flows6.n_embryonic;
		reply->memory_bytes += worker->flows4.entries_bytes + worker->flows4.bucket_bytes +
				       worker->flows6.entries_bytes + worker->flows6.bucket_bytes;
	}
	reply->affinities = dataplane_count_affinities(dataplane, NULL);
	reply->affinities_capacity = dataplane->affinities.n_buckets * SL_AFFINITY_WAYS;
	reply->memory_bytes +=
		dataplane->affinities.n_buckets * sizeof(*dataplane->affinities.bucket);
	if (dataplane->snapshot != NULL)
		reply->memory_bytes += snapshot_table_bytes(dataplane->snapshot);
	snprintf(reply->engine_reason, sizeof(reply->engine_reason), "%s", dataplane->reason);
}

static void add_counters(const struct worker *worker, struct wire_counters_reply *reply)
{
	for (int i = 0; i < SL_N_VERDICTS; i++)
		reply->verdict[i] +=
			__atomic_load_n(&worker->counters.verdict[i], __ATOMIC_RELAXED);
	for (int i = 0; i < SL_N_EVENTS; i++)
		reply->event[i] += __atomic_load_n(&worker->counters.event[i], __ATOMIC_RELAXED);
}

int dataplane_counters(struct dataplane *dataplane, uint32_t worker,
		       struct wire_counters_reply *reply)
{
	reply->n_verdicts = SL_N_VERDICTS;
	reply->n_events = SL_N_EVENTS;
	if (worker != WIRE_ALL_WORKERS) {
		if (worker >= dataplane->n_opened)
			return -ENOENT;
		add_counters(dataplane->worker[worker], reply);
		return 0;
	}
	for (uint32_t i = 0; i < dataplane->n_opened; i++)
		add_counters(dataplane->worker[i], reply);
	reply->event[SL_EVENT_FLOW_LOG_LOST] += flow_log_lost(dataplane->options.flow_log);
	return 0;
}

void dataplane_service_counters(struct dataplane *dataplane, uint32_t service,
				struct wire_service_counters_reply *reply)
{
	struct sl_service_counters counters;

	traffic_of_service(dataplane, service, &counters);
#define X(name, unit, help) reply->name = counters.name;
	SL_SERVICE_COUNTER_LIST(X)
#undef X
}

void dataplane_backend_openings(struct dataplane *dataplane, uint32_t backend,
				struct sl_backend_openings *openings)
{
	memset(openings, 0, sizeof(*openings));
	for (uint32_t i = 0; i < dataplane->n_opened; i++) {
		const struct sl_backend_openings *counted =
			&dataplane->worker[i]->backend_openings[backend];

#define X(name, unit, help) openings->name += __atomic_load_n(&counted->name, __ATOMIC_RELAXED);
		SL_BACKEND_OPENING_LIST(X)
		SL_BACKEND_TIME_LIST(X)
#undef X
	}
}

void dataplane_backend_counters(struct dataplane *dataplane, uint32_t backend,
				struct wire_backend_counters_record *record)
{
	struct sl_backend_openings openings;
	struct sl_backend_counters counters;

	dataplane_backend_openings(dataplane, backend, &openings);
#define X(name, unit, help) record->name = openings.name;
	SL_BACKEND_OPENING_LIST(X)
	SL_BACKEND_TIME_LIST(X)
#undef X
	traffic_of_backend(dataplane, backend, &counters);
#define X(name, unit, help) record->name = counters.name;
	SL_BACKEND_TRAFFIC_LIST(X)
#undef X
	for (uint32_t i = 0; i < dataplane->n_opened; i++)
		for (uint32_t j = 0; j < SL_MAX_SOURCES_PER_SERVICE; j++)
			record->source_flows[j] += __atomic_load_n(
				&dataplane->worker[i]->source_flows[backend][j], __ATOMIC_RELAXED);
	record->flows_open = schedule_flows_of(dataplane, backend);
	if (dataplane->snapshot != NULL && backend < dataplane->snapshot->n_backends) {
		uint16_t adjacency = dataplane->snapshot->backend[backend].adjacency;

		record->has_neighbour = dataplane->adjacency[adjacency].is_valid;
	}
}

uint32_t dataplane_ports(struct dataplane *dataplane, struct wire_port_record *record)
{
	for (uint32_t i = 0; i < dataplane->n_ports; i++)
		port_describe(dataplane, &dataplane->port[i], &record[i]);
	return dataplane->n_ports;
}

static uint64_t tsc_to_ns(uint64_t tsc)
{
	return (uint64_t)((double)tsc * 1e9 / (double)rte_get_tsc_hz());
}

uint32_t dataplane_workers(struct dataplane *dataplane, bool begins_anew,
			   struct wire_worker_record *record)
{
	for (uint32_t i = 0; i < dataplane->n_opened; i++) {
		struct worker *worker = dataplane->worker[i];
		uint64_t heartbeat = __atomic_load_n(&worker->heartbeat_tsc, __ATOMIC_RELAXED);
		uint64_t now = rte_rdtsc();

		record[i].core = (uint32_t)worker->core;
		record[i].state = worker->state == WORKER_PARKED       ? WIRE_WORKER_PARKED
				  : worker->id >= dataplane->n_workers ? WIRE_WORKER_LEAVING
								       : WIRE_WORKER_RUNNING;
		record[i].loops = worker->counters.event[SL_EVENT_LOOPS];
		record[i].busy_loops = worker->counters.event[SL_EVENT_BUSY_LOOPS];
		record[i].full_loops = worker->counters.event[SL_EVENT_FULL_LOOPS];
		record[i].busy_ns = tsc_to_ns(__atomic_load_n(&worker->busy_tsc, __ATOMIC_RELAXED));
		record[i].flows = worker->flows4.n_used + worker->flows6.n_used;
		record[i].heartbeat_age_ns = now > heartbeat ? tsc_to_ns(now - heartbeat) : 0;
		record[i].longest_loop_ns =
			tsc_to_ns(__atomic_load_n(&worker->longest_turn_tsc, __ATOMIC_RELAXED));
		/* A turn that ends right now may be told twice or not at all. */
		if (begins_anew)
			__atomic_store_n(&worker->longest_turn_tsc, 0, __ATOMIC_RELAXED);
	}
	return dataplane->n_opened;
}
