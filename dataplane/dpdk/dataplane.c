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
#include <sys/random.h>

#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_launch.h>
#include <rte_malloc.h>

#include "dataplane/dpdk/engine.h"
#include "dataplane/dpdk/sweep.h"
#include "log/log.h"

enum {
	N_BUFFERS = 16384 - 1,
	BUFFER_CACHE = 256,
	RETRIES_PER_SEC = 2000,
	MAINTENANCE_MS = 2, /* how long a worker's question about a neighbour may wait */
};

const char *dataplane_engine(void)
{
	return "dpdk";
}

static void on_maintenance(evutil_socket_t fd SL_UNUSED, short what SL_UNUSED, void *data)
{
	routes_serve_requests(data);
	rss_supervise(data);
}

static int maintenance_start(struct dataplane *dataplane)
{
	const struct timeval interval = {.tv_usec = MAINTENANCE_MS * 1000};

	dataplane->maintenance =
		event_new(dataplane->base, -1, EV_PERSIST, on_maintenance, dataplane);
	if (dataplane->maintenance == NULL || event_add(dataplane->maintenance, &interval) != 0)
		return -ENOMEM;
	return 0;
}

/* Before EAL: only what needs no DPDK memory. */
static int workers_new(struct dataplane *dataplane)
{
	for (uint32_t i = 0; i < dataplane->n_workers; i++) {
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

static int worker_open(struct dataplane *dataplane, struct worker *worker,
		       const struct sl_hash_key *key)
{
	uint32_t n_flows = dataplane->options.n_flows;
	char name[RTE_RING_NAMESIZE];
	int status;

	status = flow_table_init(&worker->flows4, SL_FAMILY_IPV4, n_flows, key,
				 dataplane->has_hugepages);
	if (status == 0)
		status = flow_table_init(&worker->flows6, SL_FAMILY_IPV6, n_flows, key,
					 dataplane->has_hugepages);
	if (status != 0)
		return status;
	worker->service_counters = calloc(SL_MAX_SERVICES, sizeof(*worker->service_counters));
	worker->backend_counters = calloc(SL_MAX_BACKENDS, sizeof(*worker->backend_counters));
	worker->source_flows = calloc(SL_MAX_BACKENDS, sizeof(*worker->source_flows));
	snprintf(name, sizeof(name), "handoff%u", worker->id);
	worker->handoff = rte_ring_create(name, RING_SIZE, SOCKET_ID_ANY, RING_F_SC_DEQ);
	snprintf(name, sizeof(name), "resolve%u", worker->id);
	worker->resolve =
		rte_ring_create_elem(name, sizeof(struct resolve_request), RESOLVE_RING_SIZE,
				     SOCKET_ID_ANY, RING_F_SP_ENQ | RING_F_SC_DEQ);
	if (worker->service_counters == NULL || worker->backend_counters == NULL ||
	    worker->source_flows == NULL || worker->handoff == NULL || worker->resolve == NULL)
		return -ENOMEM;
	worker->sweep_tsc = rte_rdtsc();
	worker->sweep_tsc_per_entry = rte_get_tsc_hz() * SWEEP_SECONDS / n_flows + 1;
	return 0;
}

static int workers_open(struct dataplane *dataplane, char *error)
{
	struct sl_hash_key key;
	int status = 0;

	if (getrandom(&key, sizeof(key), 0) != sizeof(key))
		return -errno;
	for (uint32_t i = 0; i < dataplane->n_workers && status == 0; i++)
		status = worker_open(dataplane, dataplane->worker[i], &key);
	if (status != 0)
		snprintf(error, SL_MAX_ERROR,
			 "workers: out of memory for %u flow tables of %u flows",
			 dataplane->n_workers, dataplane->options.n_flows);
	return status;
}

static int memory_open(struct dataplane *dataplane, char *error)
{
	size_t bytes = rte_rcu_qsbr_get_memsize(dataplane->n_workers);

	dataplane->pool = rte_pktmbuf_pool_create("packets", N_BUFFERS, BUFFER_CACHE, 0,
						  RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	dataplane->qsbr = rte_zmalloc("qsbr", bytes, SL_CACHE_LINE);
	if (dataplane->pool == NULL || dataplane->qsbr == NULL ||
	    rte_rcu_qsbr_init(dataplane->qsbr, dataplane->n_workers) != 0) {
		snprintf(error, SL_MAX_ERROR,
			 "packet buffers: %s; give DPDK more memory with dataplane.memory_mb",
			 rte_strerror(rte_errno));
		return -ENOMEM;
	}
	return 0;
}

static int workers_launch(struct dataplane *dataplane, char *error)
{
	for (uint32_t i = 0; i < dataplane->n_workers; i++) {
		struct worker *worker = dataplane->worker[i];
		int status = rte_eal_remote_launch(worker_main, worker, worker->lcore);

		if (status != 0) {
			snprintf(error, SL_MAX_ERROR, "worker %u on core %d: %s", i, worker->core,
				 strerror(-status));
			return status;
		}
		log_info("worker %u: core %d", i, worker->core);
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
		dataplane->tsc_per_retry = rte_get_tsc_hz() / RETRIES_PER_SEC;
		status = workers_open(dataplane, error);
	}
	if (status == 0)
		status = steer_open(dataplane, error);
	for (uint32_t i = 0; i < dataplane->n_ports && status == 0; i++)
		status = port_open(dataplane, i, error);
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
	return status;
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

static void worker_free(struct worker *worker)
{
	if (worker == NULL)
		return;
	for (uint16_t i = 0; i < worker->hold.n; i++)
		rte_pktmbuf_free(worker->hold.packet[i]);
	flow_table_fini(&worker->flows4);
	flow_table_fini(&worker->flows6);
	free(worker->service_counters);
	free(worker->backend_counters);
	free(worker->source_flows);
	rte_ring_free(worker->handoff);
	rte_ring_free(worker->resolve);
	free(worker);
}

void dataplane_close(struct dataplane *dataplane)
{
	__atomic_store_n(&dataplane->is_stopping, true, __ATOMIC_RELAXED);
	rte_eal_mp_wait_lcore();
	if (dataplane->maintenance != NULL)
		event_free(dataplane->maintenance);
	punt_stop(dataplane);
	for (uint32_t i = 0; i < dataplane->n_ports; i++)
		port_close(&dataplane->port[i]);
	routes_close(dataplane);
	for (uint32_t i = 0; i < dataplane->n_workers; i++)
		worker_free(dataplane->worker[i]);
	snapshot_free(dataplane->snapshot);
	free(dataplane->steering);
	rte_free(dataplane->qsbr);
	rte_mempool_free(dataplane->pool);
	rte_eal_cleanup();
	free(dataplane);
}

int dataplane_commit(struct dataplane *dataplane, struct snapshot *snapshot,
		     struct snapshot **former, char *error SL_UNUSED)
{
	*former = dataplane->snapshot;
	routes_resolve_backends(dataplane, snapshot);
	/* Release: the whole snapshot is written before a worker can find it. */
	__atomic_store_n(&dataplane->snapshot, snapshot, __ATOMIC_RELEASE);
	rte_rcu_qsbr_synchronize(dataplane->qsbr, RTE_QSBR_THRID_INVALID);
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
	reply->n_ports = dataplane->n_ports;
	reply->flows_capacity = (uint64_t)dataplane->n_workers * dataplane->options.n_flows;
	for (uint32_t i = 0; i < dataplane->n_workers; i++) {
		const struct worker *worker = dataplane->worker[i];

		reply->flows += worker->flows4.n_used + worker->flows6.n_used;
		reply->flows_embryonic += worker->flows4.n_embryonic + worker->flows6.n_embryonic;
		reply->memory_bytes += worker->flows4.entries_bytes + worker->flows4.bucket_bytes +
				       worker->flows6.entries_bytes + worker->flows6.bucket_bytes;
	}
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
		if (worker >= dataplane->n_workers)
			return -ENOENT;
		add_counters(dataplane->worker[worker], reply);
		return 0;
	}
	for (uint32_t i = 0; i < dataplane->n_workers; i++)
		add_counters(dataplane->worker[i], reply);
	return 0;
}

void dataplane_service_counters(struct dataplane *dataplane, uint32_t service,
				struct wire_service_counters_reply *reply)
{
	for (uint32_t i = 0; i < dataplane->n_workers; i++) {
		const struct sl_service_counters *counters =
			&dataplane->worker[i]->service_counters[service];

#define X(name, unit, help) reply->name += __atomic_load_n(&counters->name, __ATOMIC_RELAXED);
		SL_SERVICE_COUNTER_LIST(X)
#undef X
	}
}

void dataplane_backend_counters(struct dataplane *dataplane, uint32_t backend,
				struct wire_backend_counters_record *record)
{
	for (uint32_t i = 0; i < dataplane->n_workers; i++) {
		const struct sl_backend_counters *counters =
			&dataplane->worker[i]->backend_counters[backend];

#define X(name, unit, help) record->name += __atomic_load_n(&counters->name, __ATOMIC_RELAXED);
		SL_BACKEND_COUNTER_LIST(X)
#undef X
		for (uint32_t j = 0; j < SL_MAX_SOURCES_PER_SERVICE; j++)
			record->source_flows[j] += __atomic_load_n(
				&dataplane->worker[i]->source_flows[backend][j], __ATOMIC_RELAXED);
	}
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

uint32_t dataplane_workers(struct dataplane *dataplane, struct wire_worker_record *record)
{
	uint64_t hz = rte_get_tsc_hz();

	for (uint32_t i = 0; i < dataplane->n_workers; i++) {
		const struct worker *worker = dataplane->worker[i];
		uint64_t heartbeat = __atomic_load_n(&worker->heartbeat_tsc, __ATOMIC_RELAXED);
		uint64_t now = rte_rdtsc();

		record[i].core = (uint32_t)worker->core;
		record[i].loops = worker->counters.event[SL_EVENT_LOOPS];
		record[i].busy_loops = worker->counters.event[SL_EVENT_BUSY_LOOPS];
		record[i].flows = worker->flows4.n_used + worker->flows6.n_used;
		record[i].heartbeat_age_ns =
			now > heartbeat ? (uint64_t)((double)(now - heartbeat) * 1e9 / (double)hz)
					: 0;
	}
	return dataplane->n_workers;
}
