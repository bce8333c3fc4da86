/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * What the files of the DPDK engine share: ports, workers and the engine itself. Who writes what:
 * a worker writes its own struct worker; the control thread everything else, published members
 * (snapshot, adjacencies, route_generation) with the stores named beside them.
 */
#pragma once

#include <event2/event.h>
#include <rte_ethdev.h>
#include <rte_fib.h>
#include <rte_fib6.h>
#include <rte_mbuf.h>
#include <rte_rcu_qsbr.h>
#include <rte_ring.h>

#include <sluice/counters.h>
#include <sluice/packet/reject.h>
#include <sluice/tables.h>

#include "dataplane/dataplane.h"
#include "dataplane/dpdk/flow_table.h"
#include "dataplane/snapshot.h"
#include "dataplane/steering.h"

enum {
	BURST_SIZE = 32,
	TX_BUFFER_SIZE = 64,
	RING_SIZE = 2048,              /* packets to the kernel, from the kernel, between workers */
	RESOLVE_RING_SIZE = 256,       /* questions about link addresses under way */
	HOLD_SIZE = 128,               /* packets that wait for a link address, of one worker */
	HOLD_TICKS = SL_TICKS_PER_SEC, /* and no longer than this */
};

struct classifier;
struct routes;
struct punt;

/** One network device as the dataplane sees it. */
struct port {
	struct dataplane_port_options options;
	uint16_t id;       /* ethdev's */
	uint16_t n_queues; /* receive and transmit queues */
	uint8_t mac[6];
	bool is_classified; /* a kernel interface: only frames of ours arrive */
	bool is_started;
	unsigned int ifindex; /* of the kernel interface whose routes are this port's */
	int tap;              /* descriptor of the TAP to the kernel */
	char driver[32];
	struct rte_ring *to_kernel;    /* workers -> punt thread */
	struct rte_ring *from_kernel;  /* punt thread -> the worker that serves queue 0 */
	struct classifier *classifier; /* NULL unless is_classified */
};

/** Frames on their way out of one port, with the verdict that each will have had once it is out. */
struct tx_buffer {
	uint16_t n;
	uint8_t verdict[TX_BUFFER_SIZE];
	struct rte_mbuf *packet[TX_BUFFER_SIZE];
};

/**
 * Packets whose next hop has no link address yet. They are as they came, and go through the whole
 * story again until the kernel has resolved it or their time is over.
 */
struct hold {
	uint16_t n;
	uint64_t retry_tsc; /* when to try again */
	struct rte_mbuf *packet[HOLD_SIZE];
	uint32_t since[HOLD_SIZE]; /* ticks */
};

/** A question to the control thread: resolve this address on that port's link. */
struct resolve_request {
	union sl_addr addr;
	uint16_t adjacency; /* SL_ADJACENCY_GLEAN + port: addr is meant; else that next hop */
	uint8_t family;
	uint8_t reserved;
};

_Static_assert(sizeof(struct resolve_request) % 4 == 0, "an element of an rte_ring");

/** One poll-mode core. Written by its own thread alone; counters are read by others. */
struct worker {
	struct dataplane *dataplane;
	uint32_t id;
	unsigned int lcore;
	int core;
	struct flow_table flows4;
	struct flow_table flows6;
	struct sl_counters counters;
	struct sl_service_counters *service_counters; /* by stable index */
	struct sl_backend_counters *backend_counters; /* by stable index */
	/* Live flows of mode fullnat by stable index of the backend and position of the source. */
	uint32_t (*source_flows)[SL_MAX_SOURCES_PER_SERVICE];
	struct sl_reject_bucket reject_bucket[SL_REJECT_BUCKETS];
	struct tx_buffer tx[SL_MAX_PORTS];
	struct hold hold;
	bool is_retrying;         /* the burst under way comes from the hold */
	struct rte_ring *handoff; /* frames whose flows are this worker's, from other workers */
	struct rte_ring *resolve; /* struct resolve_request, to the control thread */
	uint64_t now_tsc;
	uint32_t now; /* ticks */
	uint64_t sweep_tsc;
	uint64_t sweep_tsc_per_entry;
	uint64_t heartbeat_tsc;
} __rte_cache_aligned;

struct dataplane {
	struct dataplane_options options;
	struct event_base *base;
	struct port port[SL_MAX_PORTS];
	uint16_t port_of_id[RTE_MAX_ETHPORTS]; /* ethdev's id -> index of port[] */
	uint32_t n_ports;
	struct worker *worker[SL_MAX_WORKERS];
	uint32_t n_workers;
	struct rte_mempool *pool;
	struct rte_rcu_qsbr *qsbr;
	struct snapshot *snapshot;      /* stored with release, loaded with acquire once a burst */
	struct sl_adjacency *adjacency; /* SL_MAX_ADJACENCIES */
	struct steering *steering;      /* which worker owns a frame by its Toeplitz hash */
	struct rte_fib *fib4;
	struct rte_fib6 *fib6;
	uint16_t route_generation; /* raised after a change of fib4 or fib6 */
	struct routes *routes;
	struct punt *punt;
	uint64_t start_tsc;
	uint64_t tsc_per_tick;
	uint64_t tsc_per_retry; /* between two tries of a held packet */
	bool is_stopping;
	bool has_hugepages;
	struct event *maintenance; /* timer of the control thread */
	char reason[128];
};

/* eal.c: one EAL for the process, from the options. 0 or negative errno with @error. */
int eal_start(struct dataplane *dataplane, char *error) SL_MUST_USE;

/* port.c */
int port_open(struct dataplane *dataplane, uint32_t index, char *error) SL_MUST_USE;
int port_start(struct dataplane *dataplane, struct port *port, char *error) SL_MUST_USE;
void port_close(struct port *port);
void port_describe(struct dataplane *dataplane, struct port *port, struct wire_port_record *record);

/* tap.c: the kernel's end of a port. Sets port->tap, and port->ifindex unless it is classified. */
int tap_open(struct port *port, char *error) SL_MUST_USE;
void tap_close(struct port *port);

/* classifier.c: the XDP program of a kernel interface. */
int classifier_prepare(struct port *port, char *error) SL_MUST_USE;
int classifier_adopt(struct port *port, char *error) SL_MUST_USE;
const char *classifier_path(const struct port *port);
void classifier_update(struct port *port, const struct snapshot *snapshot);
void classifier_close(struct port *port);

/* punt.c: the thread between ports and their TAPs. */
int punt_start(struct dataplane *dataplane, char *error) SL_MUST_USE;
void punt_stop(struct dataplane *dataplane);

/* neighbour.c, routes.c: next hops mirrored from the kernel. Control thread. */
int routes_open(struct dataplane *dataplane, char *error) SL_MUST_USE;
void routes_close(struct dataplane *dataplane);
/** Fills the adjacency of every backend of @snapshot and has the kernel resolve them. */
void routes_resolve_backends(struct dataplane *dataplane, struct snapshot *snapshot);
/** Serves the workers' questions. */
void routes_serve_requests(struct dataplane *dataplane);

/** The next hop to @addr: an index of adjacency[]. Any thread. */
SL_INLINE uint16_t route_lookup(const struct dataplane *dataplane, const union sl_addr *addr,
				uint8_t family)
{
	uint64_t next_hop = SL_ADJACENCY_NONE;

	if (family == SL_FAMILY_IPV4) {
		uint32_t host = sl_from_be32(addr->ipv4);

		rte_fib_lookup_bulk(dataplane->fib4, &host, &next_hop, 1);
	} else {
		uint8_t bytes[RTE_FIB6_IPV6_ADDR_SIZE];

		__builtin_memcpy(bytes, addr->byte, sizeof(bytes));
		rte_fib6_lookup_bulk(dataplane->fib6, &bytes, &next_hop, 1);
	}
	return (uint16_t)next_hop;
}

/* worker.c: the loop; EAL launches it with a struct worker. */
int worker_main(void *argument);

/* steer.c: which worker owns a frame, when there are several. */
int steer_open(struct dataplane *dataplane, char *error) SL_MUST_USE;
struct worker *steer_owner(struct worker *worker, const struct snapshot *snapshot,
			   const struct sl_tuple *tuple);
