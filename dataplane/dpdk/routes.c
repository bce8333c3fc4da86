/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * The FIBs and the adjacency array. What is wanted (the kernel's routes, a host route for every
 * known neighbour) is a sorted list; a change makes a new list, and the difference to the installed
 * one goes into the FIBs while workers read them. Next hop 0 means "no route" everywhere, and that
 * is also what a reader can see in a second-level table that is being taken back.
 */
#include "dataplane/dpdk/routes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <rte_malloc.h>

#include "log/log.h"

enum {
	FIB_MAX_ROUTES = 1 << 16,
	FIB_SECOND_LEVEL = 8192, /* 256-entry tables for prefixes longer than 24 bits */
};

void route_list_add(struct route_list *list, const struct route *route)
{
	if (list->n == list->capacity) {
		size_t capacity = list->capacity != 0 ? list->capacity * 2 : 256;
		struct route *grown = realloc(list->route, capacity * sizeof(*grown));

		if (grown == NULL) {
			log_err("routes: out of memory for %zu prefixes", capacity);
			return;
		}
		list->route = grown;
		list->capacity = capacity;
	}
	list->route[list->n++] = *route;
}

static int compare_prefix(const struct route *a, const struct route *b)
{
	int order = memcmp(&a->addr, &b->addr, sizeof(a->addr));

	if (a->family != b->family)
		return a->family < b->family ? -1 : 1;
	if (order != 0)
		return order;
	return (a->depth > b->depth) - (a->depth < b->depth);
}

static int compare_route(const void *left, const void *right)
{
	const struct route *a = left;
	const struct route *b = right;
	int order = compare_prefix(a, b);

	if (order != 0)
		return order;
	return (a->priority > b->priority) - (a->priority < b->priority);
}

/* Sorts, and keeps of each prefix the route of the lowest metric. */
static void route_list_settle(struct route_list *list)
{
	size_t kept = 0;

	if (list->n == 0)
		return;
	qsort(list->route, list->n, sizeof(*list->route), compare_route);
	for (size_t i = 1; i < list->n; i++)
		if (compare_prefix(&list->route[kept], &list->route[i]) != 0)
			list->route[++kept] = list->route[i];
	list->n = kept + 1;
}

static void fib_set(struct routes *routes, const struct route *route)
{
	struct dataplane *dataplane = routes->dataplane;
	uint8_t bytes[RTE_FIB6_IPV6_ADDR_SIZE];
	int error;

	if (route->family == SL_FAMILY_IPV4) {
		error = rte_fib_add(dataplane->fib4, sl_from_be32(route->addr.ipv4), route->depth,
				    route->next_hop);
	} else {
		memcpy(bytes, route->addr.byte, sizeof(bytes));
		error = rte_fib6_add(dataplane->fib6, bytes, route->depth, route->next_hop);
	}
	if (error != 0)
		log_err("routes: a prefix of %u bits was not installed: %s", route->depth,
			strerror(-error));
}

static void fib_unset(struct routes *routes, const struct route *route)
{
	struct dataplane *dataplane = routes->dataplane;
	uint8_t bytes[RTE_FIB6_IPV6_ADDR_SIZE];

	if (route->family == SL_FAMILY_IPV4) {
		rte_fib_delete(dataplane->fib4, sl_from_be32(route->addr.ipv4), route->depth);
	} else {
		memcpy(bytes, route->addr.byte, sizeof(bytes));
		rte_fib6_delete(dataplane->fib6, bytes, route->depth);
	}
}

/* The sorted difference: removals first, so that their second-level tables can be used again. */
static bool install_difference(struct routes *routes, const struct route_list *wanted)
{
	const struct route_list *installed = &routes->installed;
	bool is_changed = false;

	for (int pass = 0; pass < 2; pass++) {
		size_t i = 0;
		size_t j = 0;

		while (i < installed->n || j < wanted->n) {
			int order = i >= installed->n ? 1
				    : j >= wanted->n  ? -1
						      : compare_prefix(&installed->route[i],
								       &wanted->route[j]);

			if (order < 0) {
				if (pass == 0)
					fib_unset(routes, &installed->route[i]);
				is_changed = true;
				i++;
				continue;
			}
			if (pass == 1 && (order > 0 || installed->route[i].next_hop !=
							       wanted->route[j].next_hop)) {
				fib_set(routes, &wanted->route[j]);
				is_changed = true;
			}
			i += order == 0;
			j++;
		}
		/* No worker may still hold a second-level table that the next pass fills anew. */
		if (pass == 0 && is_changed)
			rte_rcu_qsbr_synchronize(routes->dataplane->qsbr, RTE_QSBR_THRID_INVALID);
	}
	return is_changed;
}

static void add_neighbours(struct routes *routes, struct route_list *list)
{
	for (uint32_t i = SL_ADJACENCY_FIRST; i < routes->n_used; i++) {
		const struct next_hop *next_hop = &routes->next_hop[i];
		struct route route = {.family = next_hop->family,
				      .depth = next_hop->family == SL_FAMILY_IPV4 ? 32 : 128,
				      .next_hop = (uint16_t)i,
				      .priority = UINT32_MAX};

		if (next_hop->family == SL_FAMILY_NONE)
			continue;
		route.addr = next_hop->addr;
		route_list_add(list, &route);
	}
}

void routes_install(struct routes *routes)
{
	struct dataplane *dataplane = routes->dataplane;
	struct route_list wanted = {0};

	for (size_t i = 0; i < routes->kernel.n; i++)
		route_list_add(&wanted, &routes->kernel.route[i]);
	add_neighbours(routes, &wanted);
	route_list_settle(&wanted);
	if (!install_difference(routes, &wanted)) {
		free(wanted.route);
		return;
	}
	free(routes->installed.route);
	routes->installed = wanted;
	/* Release: who sees the new number finds the new routes. */
	__atomic_store_n(&dataplane->route_generation, (uint16_t)(dataplane->route_generation + 1),
			 __ATOMIC_RELEASE);
	if (dataplane->snapshot != NULL)
		routes_resolve_backends(dataplane, dataplane->snapshot);
}

static uint16_t find_adjacency(const struct routes *routes, uint8_t port, uint8_t family,
			       const union sl_addr *addr)
{
	for (uint32_t i = SL_ADJACENCY_FIRST; i < routes->n_used; i++) {
		const struct next_hop *next_hop = &routes->next_hop[i];

		if (next_hop->family == family && next_hop->port == port &&
		    sl_addr_equal(&next_hop->addr, addr))
			return (uint16_t)i;
	}
	return SL_ADJACENCY_NONE;
}

/* A free index, as long unused as can be: a worker may still hold the former one for a burst. */
static uint16_t free_adjacency(struct routes *routes)
{
	const uint32_t n = SL_MAX_ADJACENCIES - SL_ADJACENCY_FIRST;

	for (uint32_t tried = 0; tried < n; tried++) {
		uint32_t i = SL_ADJACENCY_FIRST + (routes->next_free + tried) % n;

		if (routes->next_hop[i].family == SL_FAMILY_NONE) {
			routes->next_free = (routes->next_free + tried + 1) % n;
			if (i >= routes->n_used)
				routes->n_used = i + 1;
			return (uint16_t)i;
		}
	}
	if (!routes->is_full_logged)
		log_err("neighbours: table full (%d)", SL_MAX_ADJACENCIES);
	routes->is_full_logged = true;
	return SL_ADJACENCY_NONE;
}

uint16_t routes_adjacency(struct routes *routes, uint8_t port, uint8_t family,
			  const union sl_addr *addr, bool is_wanted)
{
	uint16_t index = find_adjacency(routes, port, family, addr);
	struct sl_adjacency *adjacency;

	if (index == SL_ADJACENCY_NONE) {
		index = free_adjacency(routes);
		if (index == SL_ADJACENCY_NONE)
			return index;
		adjacency = &routes->dataplane->adjacency[index];
		adjacency->port = port;
		adjacency->is_valid = 0;
		memcpy(adjacency->source_mac, routes->dataplane->port[port].mac, 6);
		routes->next_hop[index] = (struct next_hop){.family = family, .port = port};
		routes->next_hop[index].addr = *addr;
	}
	if (is_wanted && !routes->next_hop[index].is_wanted) {
		routes->next_hop[index].is_wanted = true;
		netlink_resolve(routes, port, family, addr, true);
	}
	return index;
}

void routes_neighbour(struct routes *routes, uint8_t port, uint8_t family,
		      const union sl_addr *addr, const uint8_t *mac)
{
	uint16_t index = find_adjacency(routes, port, family, addr);
	struct sl_adjacency *adjacency;

	if (mac == NULL) {
		if (index == SL_ADJACENCY_NONE)
			return;
		adjacency = &routes->dataplane->adjacency[index];
		__atomic_store_n(&adjacency->is_valid, 0, __ATOMIC_RELEASE);
		if (routes->next_hop[index].is_wanted)
			netlink_resolve(routes, port, family, addr, true);
		else
			routes->next_hop[index].family = SL_FAMILY_NONE;
		return;
	}
	if (index == SL_ADJACENCY_NONE)
		index = routes_adjacency(routes, port, family, addr, false);
	if (index == SL_ADJACENCY_NONE)
		return;
	adjacency = &routes->dataplane->adjacency[index];
	if (adjacency->is_valid && memcmp(adjacency->destination_mac, mac, 6) == 0)
		return;
	__atomic_store_n(&adjacency->is_valid, 0, __ATOMIC_RELEASE);
	memcpy(adjacency->destination_mac, mac, 6);
	/* Release: the address is whole before a worker may use it. */
	__atomic_store_n(&adjacency->is_valid, 1, __ATOMIC_RELEASE);
}

/* The backend's next hop, which from here on is kept. True: a neighbour was met for the first time. */
static bool resolve_backend(struct dataplane *dataplane, struct sl_backend *backend)
{
	struct routes *routes = dataplane->routes;
	uint16_t adjacency = route_lookup(dataplane, &backend->addr, backend->family);
	bool is_new = adjacency >= SL_ADJACENCY_GLEAN && adjacency < SL_ADJACENCY_FIRST;

	if (is_new) {
		adjacency = routes_adjacency(routes, (uint8_t)(adjacency - SL_ADJACENCY_GLEAN),
					     backend->family, &backend->addr, true);
	} else if (adjacency >= SL_ADJACENCY_FIRST && !routes->next_hop[adjacency].is_wanted) {
		const struct next_hop *next_hop = &routes->next_hop[adjacency];

		routes_adjacency(routes, next_hop->port, next_hop->family, &next_hop->addr, true);
	}
	__atomic_store_n(&backend->adjacency, adjacency, __ATOMIC_RELEASE);
	return is_new;
}

/* Release: who sees the new stamp finds the next hops that it is of. */
static void renew_stamp(struct dataplane *dataplane, struct snapshot *snapshot)
{
	__atomic_store_n(&snapshot->next_hop_stamp, ++dataplane->next_hop_stamp, __ATOMIC_RELEASE);
}

void routes_resolve_backends(struct dataplane *dataplane, struct snapshot *snapshot)
{
	bool is_changed = false;

	for (uint32_t i = 0; i < snapshot->n_backends; i++) {
		struct sl_backend *backend = &snapshot->backend[i];

		if (backend->family != SL_FAMILY_NONE && !backend->is_outside)
			is_changed |= resolve_backend(dataplane, backend);
	}
	renew_stamp(dataplane, snapshot);
	if (is_changed)
		routes_install(dataplane->routes);
}

void routes_resolve_fresh(struct dataplane *dataplane, struct snapshot *snapshot)
{
	bool is_changed = false;

	if (snapshot->is_all_fresh) {
		routes_resolve_backends(dataplane, snapshot);
		return;
	}
	for (uint32_t i = 0; i < snapshot->n_fresh; i++)
		is_changed |= resolve_backend(dataplane, &snapshot->backend[snapshot->fresh[i]]);
	renew_stamp(dataplane, snapshot);
	if (is_changed)
		routes_install(dataplane->routes);
}

bool routes_serve_requests(struct dataplane *dataplane)
{
	bool is_any = false;

	for (uint32_t w = 0; w < dataplane->n_opened; w++) {
		struct resolve_request request;

		for (int i = 0; i < RESOLVE_RING_SIZE; i++) {
			if (rte_ring_dequeue_elem(dataplane->worker[w]->resolve, &request,
						  sizeof(request)) != 0)
				break;
			is_any = true;
			if (request.adjacency < SL_ADJACENCY_FIRST) {
				netlink_resolve(dataplane->routes,
						(uint8_t)(request.adjacency - SL_ADJACENCY_GLEAN),
						request.family, &request.addr, false);
			} else {
				const struct next_hop *next_hop =
					&dataplane->routes->next_hop[request.adjacency];

				if (next_hop->family != SL_FAMILY_NONE)
					netlink_resolve(dataplane->routes, next_hop->port,
							next_hop->family, &next_hop->addr, false);
			}
		}
	}
	return is_any;
}

static int fib_open(struct dataplane *dataplane, char *error)
{
	struct rte_fib_conf conf4 = {
		.type = RTE_FIB_DIR24_8,
		.default_nh = SL_ADJACENCY_NONE,
		.max_routes = FIB_MAX_ROUTES,
		.dir24_8 = {.nh_sz = RTE_FIB_DIR24_8_2B, .num_tbl8 = FIB_SECOND_LEVEL},
	};
	struct rte_fib6_conf conf6 = {
		.type = RTE_FIB6_TRIE,
		.default_nh = SL_ADJACENCY_NONE,
		.max_routes = FIB_MAX_ROUTES,
		.trie = {.nh_sz = RTE_FIB6_TRIE_2B, .num_tbl8 = FIB_SECOND_LEVEL},
	};

	dataplane->fib4 = rte_fib_create("sluice4", SOCKET_ID_ANY, &conf4);
	dataplane->fib6 = rte_fib6_create("sluice6", SOCKET_ID_ANY, &conf6);
	if (dataplane->fib4 == NULL || dataplane->fib6 == NULL) {
		snprintf(error, SL_MAX_ERROR, "routes: forwarding tables: %s",
			 rte_strerror(rte_errno));
		return -ENOMEM;
	}
	return 0;
}

int routes_open(struct dataplane *dataplane, char *error)
{
	struct routes *routes = calloc(1, sizeof(*routes));
	int status;

	if (routes == NULL)
		return -ENOMEM;
	dataplane->routes = routes;
	routes->dataplane = dataplane;
	routes->n_used = SL_ADJACENCY_FIRST;
	routes->next_hop = calloc(SL_MAX_ADJACENCIES, sizeof(*routes->next_hop));
	dataplane->adjacency = rte_zmalloc(
		"adjacency", SL_MAX_ADJACENCIES * sizeof(*dataplane->adjacency), SL_CACHE_LINE);
	if (routes->next_hop == NULL || dataplane->adjacency == NULL) {
		snprintf(error, SL_MAX_ERROR, "routes: out of memory");
		return -ENOMEM;
	}
	status = fib_open(dataplane, error);
	if (status == 0)
		status = netlink_open(routes, error);
	return status;
}

void routes_close(struct dataplane *dataplane)
{
	struct routes *routes = dataplane->routes;

	if (routes == NULL)
		return;
	netlink_close(routes);
	rte_fib_free(dataplane->fib4);
	rte_fib6_free(dataplane->fib6);
	rte_free(dataplane->adjacency);
	free(routes->next_hop);
	free(routes->kernel.route);
	free(routes->installed.route);
	free(routes);
	dataplane->routes = NULL;
}
