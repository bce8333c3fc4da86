/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * The agent of the XDP program: what its files share. The program and its tables outlive it, pinned
 * in the bpffs below the run directory, so everything here can be taken up by the next process. One
 * thread, the server's.
 */
#pragma once

#include <event2/event.h>

#include <sluice/packet/affinity.h>
#include <sluice/xdp.h>

#include "dataplane/dataplane.h"
#include "dataplane/snapshot.h"
#include "dataplane/xdp/programs.h"

struct sluice_bpf;
struct capture;
struct mnl_socket;
struct neighbours;
struct ring_buffer;

struct port {
	struct dataplane_port_options options;
	uint32_t ifindex; /* 0: the interface is not there now */
	uint8_t mac[6];
	uint32_t mtu; /* of IP packets, bytes */
	bool is_generic;
	bool is_veth;
	int link; /* the attachment; -1: none */
};

/** A map of the program as the agent sees it. */
struct mapped {
	void *at; /* NULL: not mapped */
	size_t size;
};

struct dataplane {
	struct dataplane_options options;
	struct event_base *base;
	struct sluice_bpf *bpf; /* the tables; it has loaded no program */
	struct programs programs;
	struct snapshot *snapshot;
	struct sl_xdp_control *control;
	const struct sl_xdp_usage *usage;
	struct mapped ports;
	struct mapped services;
	struct mapped backends;
	struct mapped source_flows;
	struct mapped openings;
	struct mapped loads;
	struct mapped affinity_rules;
	struct mapped flows4;
	struct mapped flows6;
	uint32_t n_entries; /* of each flow table */
	uint32_t max_flows;
	uint32_t n_cpus;
	uint32_t n_ports;
	struct port port[SL_MAX_PORTS];
	char folder[512];    /* of the pins */
	bool is_adopted;     /* tables of a former process are in use */
	bool is_all_generic; /* a port has no native XDP, and so none may use it */

	/* routes.c */
	struct mnl_socket *events;
	struct neighbours *neighbours;
	struct ring_buffer *resolve;
	struct event *events_readable;
	struct event *resolve_readable;
	struct event *turn;        /* of all that goes by the clock */
	bool has_route_change;     /* since the generation was raised */
	uint32_t next_backend;     /* whose next hop is looked after next */
	uint32_t n_backends_asked; /* below it all were, since the last change */
	uint16_t *asked;           /* by backend: epoch of the one whose next hop was asked for */

	struct ring_buffer *flow_events; /* flow_events.c */
	struct capture *capture;         /* capture.c; NULL: none is on */

	/* tables.c */
	uint32_t sweep4; /* where the sweep goes on */
	uint32_t sweep6;
	uint32_t sweeps_to_filter; /* passes until no flow names what was removed */
};

/* port.c */
int ports_open(struct dataplane *dataplane, char *error) SL_MUST_USE;
/** Reads the link address anew. */
int port_read(struct port *port) SL_MUST_USE;
void port_describe(const struct port *port, struct wire_port_record *record);

/* loader.c */
/** The tables. Other sizes and another layout than those of pinned ones are refused. */
int loader_open(struct dataplane *dataplane, char *error) SL_MUST_USE;
/** Refuses ports that loader_attach() would. */
int loader_judge_ports(const struct dataplane *dataplane, char *error) SL_MUST_USE;
/** Loads the programs, which takes a second or more. Removes tables again that were made for them. */
int loader_load(struct dataplane *dataplane, char *error) SL_MUST_USE;
void loader_close(struct dataplane *dataplane);
int loader_attach(struct dataplane *dataplane, struct port *port, char *error) SL_MUST_USE;
/** Lets go of ports that a former process had, and that are not in the configuration any more. */
void loader_release_others(const struct dataplane *dataplane);
/** Writes the table from ifindex to port, and the redirect map. */
int loader_write_ports(struct dataplane *dataplane) SL_MUST_USE;
/** Runs a helper program on @question, which becomes the answer. 0 or negative errno. */
int loader_ask(int program, void *question, uint32_t size) SL_MUST_USE;
/** The pinned blob of saved state; heap, the caller's. NULL: there is none. */
void *loader_read_state(const struct dataplane *dataplane, size_t *size);
int loader_write_state(struct dataplane *dataplane, const struct staging *staging,
		       const struct snapshot *snapshot) SL_MUST_USE;

/* tables.c */
/** Makes the maps say what @snapshot says. @former: what they say now; NULL: nobody knows. */
int tables_commit(struct dataplane *dataplane, const struct snapshot *snapshot,
		  const struct snapshot *former, char *error) SL_MUST_USE;
/** A part of the flow tables: ends what is over. Called TURNS_PER_SEC times a second. */
void tables_sweep(struct dataplane *dataplane);

/* flow_events.c */
/** Begins to write the flow log, if there is to be one. */
int flow_events_open(struct dataplane *dataplane, char *error) SL_MUST_USE;
void flow_events_close(struct dataplane *dataplane);

/* routes.c */
int routes_open(struct dataplane *dataplane, char *error) SL_MUST_USE;
void routes_close(struct dataplane *dataplane);
/** Where the program would send a packet to @addr. */
int routes_ask(struct dataplane *dataplane, const union sl_addr *addr, uint8_t family,
	       struct sl_xdp_route *answer) SL_MUST_USE;
/** A snapshot was published: its backends' next hops are to be resolved. */
void routes_new_backends(struct dataplane *dataplane);

enum {
	TURNS_PER_SEC = 10,
	SWEEP_SECONDS = 4, /* one pass over the tables */
};

uint32_t engine_now(void);
