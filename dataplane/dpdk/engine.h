/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * What the files of the DPDK engine share: ports, workers and the engine itself. Who writes what:
 * a worker writes its own struct worker; the control thread everything else, published members
 * (snapshot, adjacencies, route_generation) with the stores named beside them.
 */
#pragma once

#include <sched.h>

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
#include "dataplane/dpdk/bell.h"
#include "dataplane/dpdk/affinity.h"
#include "dataplane/dpdk/flow_table.h"
#include "dataplane/snapshot.h"
#include "dataplane/steering.h"

enum {
	BURST_SIZE = 64, /* at most; see burst_size() */
	TX_BUFFER_SIZE = 64,
	N_DESCRIPTORS = 1024,          /* of a queue */
	RING_SIZE = 2048,              /* packets to the kernel, from the kernel, between workers */
	RESOLVE_RING_SIZE = 256,       /* questions about link addresses under way */
	STEERING_KEY_BYTES = 52,       /* the longest that a card of those we know takes */
	HOLD_SIZE = 128,               /* packets that wait for a link address, of one worker */
	HOLD_TICKS = SL_TICKS_PER_SEC, /* and no longer than this */
};

struct capture;
struct classifier;
struct fragments;
struct handed;
struct routes;
struct punt;

enum rss_state {
	RSS_NONE = 0, /* one queue, no RSS, or none that agrees with the workers' ownership */
	RSS_TRUSTED,
	RSS_REFUTING, /* a worker writes what it saw */
	RSS_REFUTED,
};

/** A packet that the card should have given another hash, or to another worker. */
struct rss_witness {
	struct sl_tuple tuple;
	uint32_t hash; /* the card's, if it has_hash */
	uint32_t our_hash;
	uint32_t worker;
	uint32_t our_worker;
	bool has_hash;
};

/** How the card spreads frames over a port's queues; the table is dataplane->steering's. */
struct rss {
	uint8_t state; /* enum rss_state; workers change it by rss_refute() alone */
	bool is_configured;
	bool is_said;    /* the log has that it was verified */
	bool is_settled; /* there is no more to be said */
	uint8_t key_bytes;
	uint8_t key[64];     /* as read from the card */
	uint64_t n_to_check; /* packets, by each worker; read by workers as it is changed */
	bool is_checking_all;
	uint64_t paused_to_check; /* what n_to_check is to be again */
	uint64_t resume_tsc;      /* when; 0: it is not paused */
	struct rss_witness witness;
};

/** One network device as the dataplane sees it. */
struct port {
	struct dataplane_port_options options;
	uint16_t id;       /* ethdev's */
	uint16_t n_queues; /* receive and transmit queues */
	uint16_t mtu;      /* of IP packets, bytes */
	uint8_t mac[6];
	bool is_classified; /* a kernel interface: only frames of ours arrive */
	bool is_started;
	unsigned int ifindex; /* of the kernel interface whose routes are this port's */
	int tap;              /* descriptor of the TAP to the kernel */
	char driver[32];
	struct rte_ring *to_kernel;    /* workers -> punt thread */
	struct rte_ring *from_kernel;  /* punt thread -> the worker that serves queue 0 */
	struct classifier *classifier; /* NULL unless is_classified */
	struct rss rss;
};

/** Frames on their way out of one port, with the verdict that each will have had once it is out. */
struct tx_buffer {
	uint16_t n;
	uint32_t bytes; /* of all of them */
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

enum worker_state {
	WORKER_NONE = 0, /* has no tables yet */
	WORKER_RUNNING,
	WORKER_PARKED, /* ran once; its core is free */
};

/*
 * The counters of one service, and of one backend, in a cache line each. A packet that is sent is counted for its
 * backend alone: see traffic.h.
 */
struct service_line {
	uint64_t flows;
	uint64_t drops;
	uint32_t turn[SL_N_AUDIENCES]; /* slot that comes next: scheduler round_robin */
} __attribute__((aligned(SL_CACHE_LINE)));

struct backend_line {
#define X(name, unit, help) uint64_t name;
	SL_BACKEND_TRAFFIC_LIST(X)
#undef X
	uint32_t closed; /* of its flows, those in the state of that name */
	/* What the lane needs of the backend, as the snapshot of that stamp has it; see lane_refresh(). */
	uint16_t epoch;
	uint16_t adjacency;
	uint64_t next_hop_stamp;
} __attribute__((aligned(SL_CACHE_LINE)));

/** One poll-mode core. Written by its own thread alone; counters are read by others. */
struct worker {
	struct dataplane *dataplane;
	const struct steering *steering; /* of the burst under way, and so the next */
	const struct snapshot *snapshot;
	struct capture *capture; /* likewise; NULL: none is on */
	uint32_t id;
	uint8_t state;   /* enum worker_state; the control thread's */
	bool is_leaving; /* no steering names it: to end when it holds nothing more */
	unsigned int lcore;
	int core;
	struct flow_table flows4;
	struct flow_table flows6;
	struct sl_counters counters;
	struct service_line *service_counters;        /* by stable index */
	struct backend_line *backend_counters;        /* by stable index */
	struct sl_backend_openings *backend_openings; /* by stable index */
	/* Live flows of mode fullnat by stable index of the backend and position of the source. */
	uint32_t (*source_flows)[SL_MAX_SOURCES_PER_SERVICE];
	struct sl_reject_bucket reject_bucket[SL_REJECT_BUCKETS];
	struct tx_buffer tx[SL_MAX_PORTS];
	struct hold hold;
	struct fragments *fragments;  /* of services' datagrams under way */
	bool is_retrying;             /* the burst under way comes from the hold */
	struct rte_ring *handoff;     /* frames whose flows are this worker's, from other workers */
	struct rte_ring *resolve;     /* struct resolve_request, to the control thread */
	struct rte_ring *flow_events; /* struct sl_flow_event, to the log's thread; NULL: no log */
	uint32_t patience;            /* turns that it may wait for room there, once it stops */
	uint64_t n_checked[SL_MAX_PORTS];   /* packets compared with what the port's RSS says */
	uint64_t hashes_seen[SL_MAX_PORTS]; /* of these: a bit for the highest six of each hash */
	uint64_t now_tsc;
	uint64_t longest_turn_tsc; /* of the loop; whoever reads it may set it to 0 */
	uint64_t busy_tsc;         /* of turns that found packets */
	bool is_busy;              /* the turn before this one did */
	uint64_t rest_tsc;         /* when it may sleep, if nothing comes before */
	bool is_full;              /* some receive of this turn took all that one may */
	uint16_t burst_size;       /* packets that it takes at once */
	bool hands_over_first;     /* many frames were other workers', see hand_over.h */
	bool is_refreshing;        /* the lane met lines of a former stamp in the last burst */
	uint32_t now;              /* ticks */
	uint64_t sweep_tsc;
	uint64_t sweep_tsc_per_entry;
	uint64_t heartbeat_tsc;
} __rte_cache_aligned;

/**
 * Workers below @n receive, each from the queue of its number and from every @step-th after it. Read
 * and written at once.
 */
struct polling {
	_Alignas(4) uint16_t n;
	uint16_t step;
};

struct dataplane {
	struct dataplane_options options;
	struct event_base *base;
	struct port port[SL_MAX_PORTS];
	uint16_t port_of_id[RTE_MAX_ETHPORTS]; /* ethdev's id -> index of port[] */
	uint32_t n_ports;
	struct worker *worker[SL_MAX_WORKERS];
	uint32_t n_workers;               /* that new flows are given to */
	uint32_t n_opened;                /* that have tables: they run, or did once */
	uint32_t max_workers;             /* that cores and queues were set up for */
	struct sl_hash_key flow_key;      /* of all flow tables */
	struct affinity_table affinities; /* written by workers */
	struct polling polling;           /* stored with release, loaded with acquire once a turn */
	struct handed *handed;            /* counts the flows that former steerings serve */
	int mark_offset;                  /* of struct steering_mark in a buffer */
	struct rte_mempool *pool;
	struct rte_rcu_qsbr *qsbr;
	struct snapshot *snapshot; /* stored with release, loaded with acquire once a burst */
	struct traffic *traffic;   /* what its services and backends did not count themselves */
	struct sl_adjacency *adjacency; /* SL_MAX_ADJACENCIES */
	struct steering *steering;      /* likewise: which worker owns a frame */
	struct capture *capturing;      /* likewise: what takes copies now; NULL: nothing */
	struct capture *capture; /* the control thread's, which takes no more once it was stopped */
	uint8_t steering_key[STEERING_KEY_BYTES];
	bool is_steering_cards; /* steering is what a card says that it does */
	struct rte_fib *fib4;
	struct rte_fib6 *fib6;
	uint16_t route_generation; /* raised after a change of fib4 or fib6 */
	uint64_t next_hop_stamp;   /* the last that was given; the control thread's */
	struct routes *routes;
	struct punt *punt;
	uint64_t start_tsc;
	uint64_t tsc_per_tick;
	uint64_t idle_sleep_tsc; /* options.idle_sleep_us; 0: workers never sleep */
	uint64_t us_per_tsc;     /* microseconds, times 2^64 */
	uint64_t tsc_per_retry;  /* between two tries of a held packet */
	cpu_set_t cores;         /* that this process may use */
	bool is_stopping;
	bool has_hugepages;
	struct event *maintenance; /* of the control thread: its bell, and a timer */
	uint32_t n_lively;         /* turns of it that come soon, for there was something to do */
	struct bell asked;  /* for the control thread: something is in a worker's ring resolve */
	struct bell punted; /* for the punt thread: something is in a port's ring to_kernel */
	char reason[128];
};

/* eal.c: one EAL for the process, from the options. 0 or negative errno with @error. */
int eal_start(struct dataplane *dataplane, char *error) SL_MUST_USE;
/** Ends it, or what eal_start() came to, and takes away what it left in the run directory. */
void eal_stop(const struct dataplane *dataplane);

/* port.c */
int port_open(struct dataplane *dataplane, uint32_t index, char *error) SL_MUST_USE;
int port_start(struct dataplane *dataplane, struct port *port, char *error) SL_MUST_USE;
void port_close(struct port *port);
void port_describe(struct dataplane *dataplane, struct port *port, struct wire_port_record *record);

/* rss.c: which queue a card gives a frame to. */
void rss_configure(const struct dataplane *dataplane, struct port *port,
		   const struct rte_eth_dev_info *info, struct rte_eth_conf *config);
/** Of a started port, before the workers run: asks the card what it does. */
void rss_open(struct dataplane *dataplane, struct port *port);
/** Before the table changes: no packet is judged until rss_follow() was a while ago. */
void rss_pause(struct dataplane *dataplane);
/** Gives the table to the cards. */
void rss_follow(struct dataplane *dataplane);
/** Says once what packets have shown. Now and then. */
void rss_supervise(struct dataplane *dataplane);
/** A worker saw it: from now on the port is steered in software. */
void rss_refute(struct port *port, const struct rss_witness *witness);

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
/** The thread, if it runs, is to run on @cores alone. */
void punt_move(struct dataplane *dataplane, const cpu_set_t *cores);

/* neighbour.c, routes.c: next hops mirrored from the kernel. Control thread. */
int routes_open(struct dataplane *dataplane, char *error) SL_MUST_USE;
void routes_close(struct dataplane *dataplane);
/** Fills the adjacency of every backend of @snapshot and has the kernel resolve them. */
void routes_resolve_backends(struct dataplane *dataplane, struct snapshot *snapshot);
/** The same for those that the snapshot before did not have, of which the others come. */
void routes_resolve_fresh(struct dataplane *dataplane, struct snapshot *snapshot);
/** Serves the workers' questions. */
bool routes_serve_requests(struct dataplane *dataplane);

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

/* steer.c: which worker owns a frame. */
int steer_open(struct dataplane *dataplane, char *error) SL_MUST_USE;
/** The entry of @steering that the frame's owners stand in. @key: of the flow tables. */
uint32_t steer_index(const struct steering *steering, const struct sl_hash_key *key,
		     const struct snapshot *snapshot, const struct sl_tuple *tuple);
/** The same of all frames of one endpoint, a client's or the source of mode snat that stands for it. */
uint32_t steer_endpoint(const struct steering *steering, const struct sl_hash_key *key,
			const union sl_addr *addr, be16_t port, uint8_t family, uint8_t protocol);

/* workers.c: how many workers run, and the flows of those that are to run no more. */
/** What needs no DPDK memory: as many workers as there may be. */
int workers_new(struct dataplane *dataplane) SL_MUST_USE;
/** The tables of those that run at first. */
int workers_open(struct dataplane *dataplane, char *error) SL_MUST_USE;
int workers_launch(struct dataplane *dataplane, char *error) SL_MUST_USE;
/** Forgets former steerings that no flow needs, and parks workers that none names. Now and then. */
void workers_supervise(struct dataplane *dataplane);
/** Flows that live where a former steering had them, as far as they were counted. */
uint64_t workers_handed(const struct dataplane *dataplane);
void workers_free(struct dataplane *dataplane);
