/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * The seam of dataplane.h, for XDP. The packets are the kernel's affair: this process writes maps,
 * reads counters, and may die at any moment.
 */
#include "dataplane/dataplane.h"

#include <errno.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "dataplane/explain.h"
#include "dataplane/flow_log.h"
#include "dataplane/staging_dump.h"
#include "dataplane/xdp/engine.h"
#include "log/log.h"
#include "dataplane/xdp/skeleton.h"

const char *dataplane_engine(void)
{
	return "xdp";
}

static int start(struct dataplane *dataplane, char *error)
{
	int n_cpus = libbpf_num_possible_cpus();
	int status;

	if (n_cpus <= 0 || n_cpus > SL_XDP_MAX_CPUS) {
		snprintf(error, SL_MAX_ERROR, "%d CPUs (limit %d)", n_cpus, SL_XDP_MAX_CPUS);
		return -ENOSPC;
	}
	dataplane->n_cpus = (uint32_t)n_cpus;
	status = ports_open(dataplane, error);
	return status != 0 ? status : loader_open(dataplane, error);
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
	if (options->has_telemetry)
		log_info("dataplane.telemetry: there is none: this engine runs without DPDK");
	if (options->idle_sleep_us != 0)
		log_info("dataplane.idle_sleep_us: this engine is woken by packets, and never "
			 "polls");
	programs_init(&dataplane->programs);
	dataplane->n_ports = options->n_ports;
	for (uint32_t i = 0; i < SL_MAX_PORTS; i++)
		dataplane->port[i].link = -1;
	status = start(dataplane, error);
	if (status != 0) {
		if (error[0] == '\0')
			snprintf(error, SL_MAX_ERROR, "xdp: %s", strerror(-status));
		dataplane_close(dataplane);
		return status;
	}
	*out = dataplane;
	return 0;
}

void dataplane_close(struct dataplane *dataplane)
{
	/* Program, tables and links stay: they are pinned. */
	dataplane_capture_end(dataplane);
	flow_events_close(dataplane);
	routes_close(dataplane);
	if (dataplane->bpf != NULL)
		loader_close(dataplane);
	snapshot_free(dataplane->snapshot);
	free(dataplane);
}

/* Only now: tables of a former process are whole by now, and its program goes on until here. */
static int attach_all(struct dataplane *dataplane, char *error)
{
	bool has_generic = false;
	int status = 0;

	for (uint32_t i = 0; i < dataplane->n_ports && status == 0; i++) {
		status = loader_attach(dataplane, &dataplane->port[i], error);
		has_generic |= dataplane->port[i].is_generic;
	}
	/* A device without native XDP takes no frames from a program in native mode. */
	dataplane->is_all_generic = has_generic;
	for (uint32_t i = 0; i < dataplane->n_ports && status == 0; i++)
		if (has_generic && !dataplane->port[i].is_generic)
			status = loader_attach(dataplane, &dataplane->port[i], error);
	if (status == 0)
		loader_release_others(dataplane);
	for (uint32_t i = 0; i < dataplane->n_ports && status == 0; i++) {
		const struct port *port = &dataplane->port[i];

		log_info("port %s: %s XDP%s", port->options.name,
			 port->is_generic ? "generic" : "native",
			 dataplane->is_adopted ? ", tables of a former process" : "");
	}
	return status;
}

/* What a former process has saved, if anything. */
static int read_state(struct dataplane *dataplane, struct staging *staging,
		      struct snapshot **snapshot, char *error)
{
	size_t size = 0;
	void *state = loader_read_state(dataplane, &size);
	char reason[SL_MAX_ERROR] = "";
	struct sl_hash_key key;
	uint64_t generation;
	int status;

	if (state == NULL)
		return 0;
	status = staging_load(staging, state, size, &generation, &key, reason);
	free(state);
	if (status == 0)
		status = snapshot_build(staging, generation, &key, NULL, snapshot, reason);
	if (status != 0)
		snprintf(error, SL_MAX_ERROR,
			 "%.180s; --fresh begins without saved state and flows", reason);
	return status;
}

/* The programs, and what looks after their tables from now on. */
static int start_programs(struct dataplane *dataplane, char *error)
{
	int status = loader_load(dataplane, error);

	if (status == 0)
		status = loader_write_ports(dataplane);
	if (status == 0)
		status = routes_open(dataplane, error);
	if (status == 0)
		status = flow_events_open(dataplane, error);
	return status;
}

/* The former process may have died between two writes: everything is written again. */
static int restore_tables(struct dataplane *dataplane, struct snapshot *snapshot, char *error)
{
	int status;

	flow_log_learn(dataplane->options.flow_log, snapshot);
	status = tables_commit(dataplane, snapshot, NULL, error);
	if (status != 0)
		return status;
	dataplane->snapshot = snapshot;
	routes_new_backends(dataplane);
	return 0;
}

int dataplane_restore(struct dataplane *dataplane, struct staging *staging,
		      struct snapshot **snapshot, char *error)
{
	int status = 0;

	*snapshot = NULL;
	/* What can be refused is refused first: the verifier takes its time. */
	if (dataplane->is_adopted)
		status = read_state(dataplane, staging, snapshot, error);
	if (status == 0)
		status = loader_judge_ports(dataplane, error);
	if (status == 0)
		status = start_programs(dataplane, error);
	if (status == 0 && *snapshot != NULL)
		status = restore_tables(dataplane, *snapshot, error);
	if (status != 0 && dataplane->snapshot == NULL) {
		snapshot_free(*snapshot);
		*snapshot = NULL;
	}
	return status != 0 ? status : attach_all(dataplane, error);
}

void dataplane_save(struct dataplane *dataplane, const struct staging *staging,
		    const struct snapshot *snapshot)
{
	int status = loader_write_state(dataplane, staging, snapshot);

	if (status != 0)
		log_warn("state: not saved: %s; the next process begins without flows",
			 strerror(-status));
}

int dataplane_commit(struct dataplane *dataplane, struct snapshot *snapshot,
		     struct snapshot **former, char *error)
{
	int status;

	flow_log_learn(dataplane->options.flow_log, snapshot);
	status = tables_commit(dataplane, snapshot, dataplane->snapshot, error);
	if (status != 0) {
		char ignored[SL_MAX_ERROR];

		/* Back to what was: what was written of the new one is written over. */
		if (dataplane->snapshot != NULL &&
		    tables_commit(dataplane, dataplane->snapshot, NULL, ignored) != 0)
			log_err("maps: neither the new generation nor the former is whole");
		return status;
	}
	*former = dataplane->snapshot;
	dataplane->snapshot = snapshot;
	routes_new_backends(dataplane);
	return 0;
}

/* CPUs, as far as a message has room for them. */
static uint32_t n_workers(const struct dataplane *dataplane)
{
	return dataplane->n_cpus < SL_MAX_WORKERS ? dataplane->n_cpus : SL_MAX_WORKERS;
}

int dataplane_set_workers(struct dataplane *dataplane, uint32_t n, const int *core SL_UNUSED,
			  char *error)
{
	if (n == dataplane->options.n_workers)
		return 0;
	snprintf(error, SL_MAX_ERROR,
		 "dataplane.workers: %u, and was %u: sluice-xdp has no workers, the number sizes "
		 "its "
		 "tables; needs a restart with --fresh",
		 n, dataplane->options.n_workers);
	return -EOPNOTSUPP;
}

void dataplane_status(struct dataplane *dataplane, struct wire_status_reply *reply)
{
	const struct sl_xdp_usage *usage = dataplane->usage;

	reply->n_workers = n_workers(dataplane);
	reply->max_workers = reply->n_workers;
	reply->n_ports = dataplane->n_ports;
	reply->flows_capacity = dataplane->max_flows;
	for (int i = 0; i < 2; i++) {
		reply->flows += __atomic_load_n(&usage->flows[i], __ATOMIC_RELAXED);
		reply->flows_embryonic += __atomic_load_n(&usage->embryonic[i], __ATOMIC_RELAXED);
	}
	reply->memory_bytes = dataplane->flows4.size + dataplane->flows6.size;
	reply->affinities_capacity = dataplane->options.n_affinities;
	reply->memory_bytes += (uint64_t)dataplane->options.n_affinities *
			       (sizeof(struct sl_xdp_affinity) + sizeof(uint64_t));
	if (dataplane->snapshot != NULL)
		reply->memory_bytes += snapshot_table_bytes(dataplane->snapshot);
	if (dataplane->snapshot != NULL && dataplane->snapshot->has_affinity)
		reply->affinities = dataplane_count_affinities(dataplane, NULL);
	snprintf(reply->engine_reason, sizeof(reply->engine_reason), "%s",
		 dataplane->options.reason[0] != '\0' ? dataplane->options.reason
						      : "this program is the xdp engine");
}

/* Of all CPUs, one after the other. NULL: the map could not be read. Heap. */
static void *read_percpu(const struct dataplane *dataplane, const struct bpf_map *map,
			 uint32_t index, size_t *stride)
{
	void *values;

	*stride = (bpf_map__value_size(map) + 7u) / 8 * 8;
	values = calloc(dataplane->n_cpus, *stride);
	if (values != NULL && bpf_map_lookup_elem(bpf_map__fd(map), &index, values) != 0) {
		free(values);
		return NULL;
	}
	return values;
}

int dataplane_counters(struct dataplane *dataplane, uint32_t worker,
		       struct wire_counters_reply *reply)
{
	size_t stride;
	uint8_t *values;

	reply->n_verdicts = SL_N_VERDICTS;
	reply->n_events = SL_N_EVENTS;
	if (worker != WIRE_ALL_WORKERS && worker >= dataplane->n_cpus)
		return -ENOENT;
	values = read_percpu(dataplane, dataplane->bpf->maps.cpus, 0, &stride);
	if (values == NULL)
		return -EIO;
	for (uint32_t cpu = 0; cpu < dataplane->n_cpus; cpu++) {
		const struct sl_xdp_cpu *from = (const void *)(values + cpu * stride);

		if (worker != WIRE_ALL_WORKERS && worker != cpu)
			continue;
		for (int i = 0; i < SL_N_VERDICTS; i++)
			reply->verdict[i] += from->counters.verdict[i];
		for (int i = 0; i < SL_N_EVENTS; i++)
			reply->event[i] += from->counters.event[i];
	}
	free(values);
	if (worker == WIRE_ALL_WORKERS)
		reply->event[SL_EVENT_FLOW_LOG_LOST] += flow_log_lost(dataplane->options.flow_log);
	return 0;
}

void dataplane_service_counters(struct dataplane *dataplane, uint32_t service,
				struct wire_service_counters_reply *reply)
{
	size_t stride;
	uint8_t *values =
		read_percpu(dataplane, dataplane->bpf->maps.service_counters, service, &stride);

	for (uint32_t cpu = 0; values != NULL && cpu < dataplane->n_cpus; cpu++) {
		const struct sl_service_counters *from = (const void *)(values + cpu * stride);

#define X(name, unit, help) reply->name += from->name;
		SL_SERVICE_COUNTER_LIST(X)
#undef X
	}
	free(values);
}

void dataplane_backend_openings(struct dataplane *dataplane, uint32_t backend,
				struct sl_backend_openings *openings)
{
	const struct sl_backend_openings *counted =
		(const struct sl_backend_openings *)dataplane->openings.at + backend;

#define X(name, unit, help) openings->name = __atomic_load_n(&counted->name, __ATOMIC_RELAXED);
	SL_BACKEND_OPENING_LIST(X)
	SL_BACKEND_TIME_LIST(X)
#undef X
}

void dataplane_backend_counters(struct dataplane *dataplane, uint32_t backend,
				struct wire_backend_counters_record *record)
{
	struct sl_backend_openings openings;
	size_t stride;
	uint8_t *values =
		read_percpu(dataplane, dataplane->bpf->maps.backend_counters, backend, &stride);

	for (uint32_t cpu = 0; values != NULL && cpu < dataplane->n_cpus; cpu++) {
		const struct sl_backend_counters *from = (const void *)(values + cpu * stride);

#define X(name, unit, help) record->name += from->name;
		SL_BACKEND_TRAFFIC_LIST(X)
#undef X
	}
	free(values);
	dataplane_backend_openings(dataplane, backend, &openings);
#define X(name, unit, help) record->name = openings.name;
	SL_BACKEND_OPENING_LIST(X)
	SL_BACKEND_TIME_LIST(X)
#undef X
	record->flows_open = engine_flows_of(dataplane, backend);
	for (uint32_t i = 0; i < SL_MAX_SOURCES_PER_SERVICE; i++) {
		const struct sl_xdp_source_flows *flows = dataplane->source_flows.at;

		record->source_flows[i] = __atomic_load_n(&flows[backend].n[i], __ATOMIC_RELAXED);
	}
	if (dataplane->snapshot != NULL && backend < dataplane->snapshot->n_backends) {
		const struct sl_backend *of = &dataplane->snapshot->backend[backend];
		struct sl_xdp_route route;

		record->has_neighbour =
			of->is_outside ||
			(of->family != SL_FAMILY_NONE &&
			 routes_ask(dataplane, &of->addr, of->family, &route) == 0 &&
			 route.has_port && route.status == BPF_FIB_LKUP_RET_SUCCESS);
	}
}

uint32_t dataplane_ports(struct dataplane *dataplane, struct wire_port_record *record)
{
	for (uint32_t i = 0; i < dataplane->n_ports; i++)
		port_describe(&dataplane->port[i], &record[i]);
	return dataplane->n_ports;
}

uint32_t dataplane_workers(struct dataplane *dataplane, bool begins_anew SL_UNUSED,
			   struct wire_worker_record *record)
{
	uint32_t n = n_workers(dataplane);

	/* No loop of ours turns: a CPU runs the program when a packet comes. Flows are shared. */
	for (uint32_t i = 0; i < n; i++)
		record[i] = (struct wire_worker_record){.core = i, .state = WIRE_WORKER_RUNNING};
	return n;
}
