/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* The DPDK engine without a kernel beside it: see bench_engine.h. */
#include "tests/bench/bench_engine.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_malloc.h>
#include <rte_mbuf_dyn.h>

#include "dataplane/dpdk/sweep.h"
#include "tests/bench/bench_report.h"

enum {
	N_BUFFERS = 16384 - 1,
	BUFFER_CACHE = 256,
	MEMORY_MB = 192, /* of DPDK: buffers and forwarding tables */
	MAX_ARGUMENTS = 16,
	HUGEPAGE_BYTES = 2 << 20,
};

static const struct sl_hash_key slot_key = {{0x0123456789abcdefull, 0xfedcba9876543210ull}};

/* Bytes in hugepages that nobody has or has asked for. */
static size_t free_hugepages(void)
{
	FILE *file = fopen("/proc/meminfo", "re");
	char line[128];
	unsigned long n_free = 0;
	unsigned long n_reserved = 0;
	unsigned long kib = 0;

	if (file == NULL)
		return 0;
	while (fgets(line, sizeof(line), file) != NULL) {
		sscanf(line, "HugePages_Free: %lu", &n_free);
		sscanf(line, "HugePages_Rsvd: %lu", &n_reserved);
		sscanf(line, "Hugepagesize: %lu", &kib);
	}
	fclose(file);
	return kib * 1024 == HUGEPAGE_BYTES && n_free > n_reserved
		       ? (n_free - n_reserved) * HUGEPAGE_BYTES
		       : 0;
}

static int eal_open(struct engine *engine, const struct engine_options *options)
{
	uint32_t memory_mb = options->memory_mb != 0 ? options->memory_mb : MEMORY_MB;
	bool has_hugepages = free_hugepages() >= (size_t)memory_mb << 20;
	char lcores[64], prefix[48], megabytes[16];
	int status;
	char *argument[MAX_ARGUMENTS] = {"sluice-bench",
					 "--no-pci",
					 "--no-telemetry",
					 "--log-level=lib.*:error",
					 "--log-level=pmd.*:error",
					 "--lcores",
					 lcores,
					 "--file-prefix",
					 prefix,
					 "-m",
					 megabytes,
					 "--vdev",
					 "net_null0",
					 has_hugepages ? "--in-memory" : "--no-huge",
					 has_hugepages ? NULL : "--no-shconf"};

	/* The main lcore only waits then, on whichever core has time for it. */
	if (engine->dataplane.n_workers == 1)
		snprintf(lcores, sizeof(lcores), "0@%d", options->cpu);
	else
		snprintf(lcores, sizeof(lcores), "0@(%d,%d),1@%d,2@%d", options->cpu,
			 options->second_cpu, options->cpu, options->second_cpu);
	snprintf(prefix, sizeof(prefix), "sluice-bench-%d", (int)getpid());
	snprintf(megabytes, sizeof(megabytes), "%u", memory_mb);
	engine->dataplane.has_hugepages = has_hugepages;
	status = rte_eal_init(has_hugepages ? 14 : 15, argument);
	/* It is made, and stays empty. */
	rmdir(rte_eal_get_runtime_dir());
	if (status >= 0)
		return 0;
	report_error("DPDK: %s (core %d, %u MB of %s memory)", rte_strerror(rte_errno),
		     options->cpu, memory_mb, has_hugepages ? "hugepage" : "ordinary");
	return -EIO;
}

static int memory_open(struct dataplane *dataplane)
{
	const struct rte_mbuf_dynfield mark = {.name = "sluice_mark",
					       .size = sizeof(struct steering_mark),
					       .align = __alignof__(struct steering_mark)};

	dataplane->mark_offset = rte_mbuf_dynfield_register(&mark);
	dataplane->pool = rte_pktmbuf_pool_create("packets", N_BUFFERS, BUFFER_CACHE, 0,
						  RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	dataplane->qsbr =
		rte_zmalloc("qsbr", rte_rcu_qsbr_get_memsize(dataplane->n_workers), SL_CACHE_LINE);
	dataplane->adjacency = rte_zmalloc(
		"adjacency", SL_MAX_ADJACENCIES * sizeof(*dataplane->adjacency), SL_CACHE_LINE);
	if (dataplane->mark_offset < 0 || dataplane->pool == NULL || dataplane->qsbr == NULL ||
	    dataplane->adjacency == NULL ||
	    rte_rcu_qsbr_init(dataplane->qsbr, dataplane->n_workers) != 0)
		return -ENOMEM;
	return 0;
}

/* All that has no neighbour of its own, the clients, is behind neighbour 0. */
static int routes_fill(struct dataplane *dataplane)
{
	struct rte_fib_conf conf4 = {.type = RTE_FIB_DIR24_8,
				     .default_nh = SL_ADJACENCY_FIRST,
				     .max_routes = 1,
				     .dir24_8 = {.nh_sz = RTE_FIB_DIR24_8_2B, .num_tbl8 = 1}};
	struct rte_fib6_conf conf6 = {.type = RTE_FIB6_TRIE,
				      .default_nh = SL_ADJACENCY_FIRST,
				      .max_routes = 1,
				      .trie = {.nh_sz = RTE_FIB6_TRIE_2B, .num_tbl8 = 1}};

	dataplane->fib4 = rte_fib_create("bench4", SOCKET_ID_ANY, &conf4);
	dataplane->fib6 = rte_fib6_create("bench6", SOCKET_ID_ANY, &conf6);
	if (dataplane->fib4 == NULL || dataplane->fib6 == NULL)
		return -ENOMEM;
	for (uint32_t i = 0; i < TRAFFIC_NEIGHBOURS; i++) {
		struct sl_adjacency *adjacency = &dataplane->adjacency[SL_ADJACENCY_FIRST + i];

		traffic_mac(i, adjacency->destination_mac);
		memcpy(adjacency->source_mac, dataplane->port[0].mac, 6);
		adjacency->is_valid = 1;
	}
	return 0;
}

static int port_make(struct dataplane *dataplane, const struct port_watch *watch)
{
	struct rte_eth_conf config = {0};
	struct port *port = &dataplane->port[0];
	uint16_t n_queues = (uint16_t)dataplane->n_workers;
	struct rte_ether_addr mac;
	int status = rte_eth_dev_get_port_by_name("net_null0", &port->id);

	if (status == 0)
		status = rte_eth_dev_configure(port->id, n_queues, n_queues, &config);
	for (uint16_t i = 0; i < n_queues && status == 0; i++) {
		status = rte_eth_rx_queue_setup(port->id, i, N_DESCRIPTORS, 0, NULL,
						dataplane->pool);
		if (status == 0)
			status = rte_eth_tx_queue_setup(port->id, i, N_DESCRIPTORS, 0, NULL);
	}
	if (status == 0)
		status = rte_eth_dev_start(port->id);
	if (status == 0)
		status = rte_eth_macaddr_get(port->id, &mac);
	if (status != 0)
		return status;
	memcpy(port->mac, mac.addr_bytes, sizeof(port->mac));
	port->n_queues = n_queues;
	port->mtu = RTE_ETHER_MTU;
	port->tap = -1;
	port->to_kernel = rte_ring_create("to_kernel", RING_SIZE, SOCKET_ID_ANY, RING_F_SC_DEQ);
	port->from_kernel = rte_ring_create("from_kernel", RING_SIZE, SOCKET_ID_ANY,
					    RING_F_SP_ENQ | RING_F_SC_DEQ);
	if (port->to_kernel == NULL || port->from_kernel == NULL)
		return -ENOMEM;
	return port_adopt(port->id, n_queues, dataplane->pool, watch);
}

static void describe_memory(struct engine *engine, size_t free_before)
{
	const struct flow_table *flows4 = &engine->worker->flows4;
	const struct flow_table *flows6 = &engine->worker->flows6;
	size_t needed = (flows4->entries_bytes + flows4->bucket_bytes + flows6->entries_bytes +
			 flows6->bucket_bytes) *
			engine->dataplane.n_workers;

	snprintf(engine->memory, sizeof(engine->memory), "%s",
		 !engine->dataplane.has_hugepages
			 ? "packets in small pages, tables in transparent hugepages"
		 : free_before >= needed ? "hugepages"
					 : "packets in hugepages, tables in transparent ones");
}

static int tables_open(struct engine *engine, const struct engine_options *options)
{
	struct dataplane *dataplane = &engine->dataplane;
	uint32_t haste = options->haste != 0 ? options->haste : 1;
	size_t free_before = free_hugepages();
	char error[SL_MAX_ERROR] = "";
	int status = workers_new(dataplane);

	dataplane->start_tsc = rte_rdtsc();
	dataplane->tsc_per_tick = rte_get_tsc_hz() / SL_TICKS_PER_SEC / haste;
	dataplane->tsc_per_retry = rte_get_tsc_hz();
	if (status == 0)
		status = workers_open(dataplane, error);
	if (status == 0)
		status = steer_open(dataplane, error);
	if (status != 0) {
		report_error("tables of %u flows: %s", options->n_flows,
			     error[0] != '\0' ? error : strerror(-status));
		return status;
	}
	engine->worker = dataplane->worker[0];
	for (uint32_t i = 0; i < dataplane->n_workers; i++) {
		dataplane->worker[i]->core = i == 0 ? options->cpu : options->second_cpu;
		dataplane->worker[i]->lcore = dataplane->n_workers == 1 ? 0 : i + 1;
		dataplane->worker[i]->sweep_tsc_per_entry /= haste;
	}
	describe_memory(engine, free_before);
	return 0;
}

int engine_open(struct engine *engine, const struct engine_options *options)
{
	struct dataplane *dataplane = &engine->dataplane;
	uint16_t n_workers = options->n_workers != 0 ? (uint16_t)options->n_workers : 1;
	int status;

	memset(engine, 0, sizeof(*engine));
	dataplane->options.n_flows = options->n_flows;
	dataplane->options.n_affinities = SL_DEFAULT_AFFINITIES;
	dataplane->n_ports = 1;
	dataplane->n_workers = n_workers;
	dataplane->max_workers = n_workers;
	dataplane->polling = (struct polling){.n = n_workers, .step = n_workers};
	status = eal_open(engine, options);
	if (status != 0)
		return status;
	status = tables_open(engine, options);
	if (status != 0)
		return status;
	status = memory_open(dataplane);
	if (status == 0)
		status = port_make(dataplane, options->watch);
	if (status == 0)
		status = routes_fill(dataplane);
	if (status != 0)
		report_error("port and buffers: %s (%s)", strerror(-status),
			     rte_strerror(rte_errno));
	return status;
}

/* ---- services ---- */

static int put_service(struct staging *staging, const struct engine_options *options,
		       const struct traffic *traffic, uint32_t number, uint8_t protocol,
		       char *error)
{
	struct wire_service service = {
		.address = {.addr = traffic_addr(traffic->family, TRAFFIC_SERVICES, number),
			    .port = SL_BE16(TRAFFIC_SERVICE_PORT),
			    .protocol = protocol,
			    .family = traffic->family},
		.mode = traffic->is_fullnat ? WIRE_MODE_FULLNAT : WIRE_MODE_NAT,
		.scheduler = WIRE_SCHEDULER_MAGLEV,
		.stateless_replies = 1,
		.n_slots = options->n_slots,
		.affinity_prefix = options->affinity_prefix,
		.affinity_timeout_sec = options->affinity_prefix != 0 ? ENGINE_TIMEOUT_SEC : 0,
		.timeout_established_sec = ENGINE_TIMEOUT_SEC,
		.timeout_transitory_sec = ENGINE_TIMEOUT_SEC,
		/* In haste, the flows end that nobody answers; else they have the usual time. */
		.timeout_embryonic_sec = options->haste > 1 ? 1 : SL_TIMEOUT_EMBRYONIC_SEC,
		.timeout_udp_sec = ENGINE_TIMEOUT_SEC,
	};

	snprintf(service.name, sizeof(service.name), "%s%u",
		 protocol == SL_PROTOCOL_TCP ? "tcp" : "udp", number);
	if (traffic->is_fullnat) {
		service.n_sources = TRAFFIC_N_SOURCES;
		service.source_port_first = SL_DEFAULT_SOURCE_PORT_FIRST;
		service.source_port_last = SL_DEFAULT_SOURCE_PORT_LAST;
		for (uint32_t i = 0; i < TRAFFIC_N_SOURCES; i++)
			service.source[i] = traffic_addr(traffic->family, TRAFFIC_SOURCES, i);
	}
	return staging_put_service(staging, &service, error);
}

static int put_backends(struct staging *staging, const struct traffic *traffic, uint32_t number,
			uint8_t protocol, char *error)
{
	int status = 0;

	for (uint32_t i = 0; i < traffic->n_backends && status == 0; i++) {
		struct wire_backend backend = {
			.service = {.addr = traffic_addr(traffic->family, TRAFFIC_SERVICES, number),
				    .port = SL_BE16(TRAFFIC_SERVICE_PORT),
				    .protocol = protocol,
				    .family = traffic->family},
			.addr = traffic_addr(traffic->family, TRAFFIC_BACKENDS,
					     number * traffic->n_backends + i),
			.port = SL_BE16(TRAFFIC_BACKEND_PORT),
			.state = WIRE_STATE_READY,
			.weight = 1,
		};

		status = staging_put_backend(staging, &backend, error);
	}
	return status;
}

static int put_all(struct staging *staging, const struct engine_options *options,
		   const struct traffic *traffic, uint8_t protocol, char *error)
{
	int status = 0;

	for (uint32_t i = 0; i < traffic->n_services && status == 0; i++) {
		status = put_service(staging, options, traffic, i, protocol, error);
		if (status == 0)
			status = put_backends(staging, traffic, i, protocol, error);
		report_progress("making services, %u of %u", i, traffic->n_services);
	}
	return status;
}

static void set_next_hops(struct snapshot *snapshot)
{
	for (uint32_t i = 0; i < snapshot->n_backends; i++) {
		struct sl_backend *backend = &snapshot->backend[i];
		uint32_t number;

		if (!traffic_host(backend->family, TRAFFIC_BACKENDS, &backend->addr, &number))
			continue;
		backend->adjacency = (uint16_t)(SL_ADJACENCY_FIRST + traffic_neighbour(number));
	}
}

int engine_commit(struct engine *engine, const struct engine_options *options,
		  const struct traffic *traffic, bool with_syn)
{
	struct staging *staging = staging_new();
	struct snapshot *snapshot = NULL;
	char error[SL_MAX_ERROR] = "";
	int status = staging == NULL ? -ENOMEM : 0;

	if (status == 0)
		status = put_all(staging, options, traffic, SL_PROTOCOL_UDP, error);
	if (status == 0 && with_syn)
		status = put_all(staging, options, traffic, SL_PROTOCOL_TCP, error);
	report_progress("building the snapshot");
	if (status == 0)
		status = snapshot_build(staging, 1, &slot_key, NULL, &snapshot, error);
	staging_free(staging);
	if (status != 0) {
		report_error("services: %s", error[0] != '\0' ? error : strerror(-status));
		return status;
	}
	set_next_hops(snapshot);
	snapshot->next_hop_stamp = 1;
	/* Release, as the engine does it. */
	__atomic_store_n(&engine->dataplane.snapshot, snapshot, __ATOMIC_RELEASE);
	return 0;
}

int engine_set_table(struct engine *engine, uint32_t n_flows)
{
	struct flow_table *table = &engine->worker->flows4;
	size_t free_before = free_hugepages();
	int status;

	flow_table_fini(table);
	status = flow_table_init(table, SL_FAMILY_IPV4, n_flows, &engine->dataplane.flow_key,
				 engine->dataplane.has_hugepages);
	describe_memory(engine, free_before);
	return status;
}

void engine_run(struct worker *worker)
{
	worker->sweep_tsc = rte_rdtsc();
	(void)worker_main(worker);
}

void engine_stop(struct engine *engine)
{
	__atomic_store_n(&engine->dataplane.is_stopping, true, __ATOMIC_RELAXED);
}

void engine_resume(struct engine *engine)
{
	__atomic_store_n(&engine->dataplane.is_stopping, false, __ATOMIC_RELAXED);
}
