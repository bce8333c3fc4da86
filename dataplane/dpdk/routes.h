/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * The mirror of the kernel's routes and neighbours: prefixes in rte_fib, next hops in the adjacency
 * array. routes.c keeps the tables, netlink.c hears the kernel and asks it. Control thread alone.
 */
#pragma once

#include "dataplane/dpdk/engine.h"

struct mnl_socket;
struct neighbours;
struct nlmsghdr;

/** One prefix and its next hop, as wanted in the FIB. */
struct route {
	union sl_addr addr;
	uint8_t family;
	uint8_t depth;     /* bits */
	uint16_t next_hop; /* index of adjacency[], or SL_ADJACENCY_NONE, _LOCAL, _GLEAN + port */
	uint32_t priority; /* the kernel's metric; lower wins. Neighbours come last */
};

struct route_list {
	struct route *route;
	size_t n;
	size_t capacity;
};

/** What an adjacency is about; beside adjacency[], which holds what the packet path needs. */
struct next_hop {
	union sl_addr addr;
	uint8_t family; /* 0: free */
	uint8_t port;
	bool is_wanted; /* a gateway or a backend: kept, and the kernel keeps it resolved */
};

struct routes {
	struct dataplane *dataplane;
	struct mnl_socket *events;   /* notifications */
	struct mnl_socket *queries;  /* dumps */
	struct neighbours *requests; /* about one neighbour; a dump may be under way meanwhile */
	struct event *readable;
	uint32_t sequence;
	struct route_list kernel;    /* from the last dump, sorted, one a prefix */
	struct route_list installed; /* what the FIBs hold, sorted */
	struct next_hop *next_hop;   /* SL_MAX_ADJACENCIES */
	uint32_t next_free;          /* where to look for a free one */
	uint32_t n_used;             /* highest index in use + 1 */
	bool is_full_logged;
};

/** The adjacency of @addr on the link of @port, made if there is none; SL_ADJACENCY_NONE: full. */
uint16_t routes_adjacency(struct routes *routes, uint8_t port, uint8_t family,
			  const union sl_addr *addr, bool is_wanted);

/** A neighbour's link address became known (@mac, 6 bytes) or was lost (NULL). */
void routes_neighbour(struct routes *routes, uint8_t port, uint8_t family,
		      const union sl_addr *addr, const uint8_t *mac);

/** Makes the FIBs equal to kernel routes and neighbours. */
void routes_install(struct routes *routes);

void route_list_add(struct route_list *list, const struct route *route);

/* netlink.c */
int netlink_open(struct routes *routes, char *error) SL_MUST_USE;
void netlink_close(struct routes *routes);
/** Reads the kernel's routes anew into routes->kernel. */
int netlink_dump_routes(struct routes *routes) SL_MUST_USE;
int netlink_dump_neighbours(struct routes *routes) SL_MUST_USE;
/** Has the kernel resolve @addr on the port's link; @keep: and keep it so (NTF_EXT_MANAGED). */
void netlink_resolve(struct routes *routes, uint8_t port, uint8_t family, const union sl_addr *addr,
		     bool keep);
