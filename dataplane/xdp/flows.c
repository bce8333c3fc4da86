/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * Reading of live flows out of the tables that programs change meanwhile: each entry is copied
 * between two looks at its sequence number, and one that changes is passed over.
 */
#include <errno.h>
#include <string.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "dataplane/explain.h"
#include "dataplane/xdp/engine.h"
#include "dataplane/xdp/skeleton.h"

enum {
	MAX_LOOKED_AT = 1 << 18, /* entries in one call, so that the server stays live */
};

/* Entry @index of a table. False: free, or being written. */
static bool read_entry(const struct dataplane *dataplane, bool is_ipv6, uint32_t index,
		       struct sl_flow_ipv6 *copy)
{
	size_t stride = is_ipv6 ? sizeof(struct sl_flow_ipv6) : sizeof(struct sl_flow_ipv4);
	const uint8_t *table = is_ipv6 ? dataplane->flows6.at : dataplane->flows4.at;
	const struct sl_flow *flow = (const void *)(table + index * stride);
	uint32_t sequence = __atomic_load_n(&flow->sequence, __ATOMIC_ACQUIRE);

	if (flow->state == SL_FLOW_FREE || (sequence & 1) != 0)
		return false;
	memcpy(copy, flow, stride);
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	return __atomic_load_n(&flow->sequence, __ATOMIC_RELAXED) == sequence;
}

/* A cursor counts entries of the IPv4 table, then of the IPv6 table. */
int dataplane_visit_flows(struct dataplane *dataplane, uint64_t cursor, dataplane_visitor *visit,
			  void *context, uint64_t *next)
{
	uint64_t n = 2ull * dataplane->n_entries;
	struct sl_flow_ipv6 copy;
	const struct dataplane_flow shown = {.flow = &copy.flow, .now = engine_now()};
	bool is_enough = false;

	*next = 0;
	if (cursor >= n)
		return -EINVAL;
	for (uint32_t looked_at = 0; cursor < n; looked_at++, cursor++) {
		bool is_ipv6 = cursor >= dataplane->n_entries;

		if (is_enough || looked_at == MAX_LOOKED_AT) {
			*next = cursor;
			return 0;
		}
		if (read_entry(dataplane, is_ipv6, (uint32_t)(cursor % dataplane->n_entries),
			       &copy))
			is_enough = !visit(context, &shown);
	}
	return 0;
}

void dataplane_flow_count(struct dataplane *dataplane, struct wire_flow_count_reply *reply)
{
	const struct sl_xdp_usage *usage = dataplane->usage;

	reply->ipv4 = __atomic_load_n(&usage->flows[0], __ATOMIC_RELAXED);
	reply->ipv6 = __atomic_load_n(&usage->flows[1], __ATOMIC_RELAXED);
	reply->embryonic = __atomic_load_n(&usage->embryonic[0], __ATOMIC_RELAXED) +
			   __atomic_load_n(&usage->embryonic[1], __ATOMIC_RELAXED);
	reply->capacity = dataplane->max_flows;
}

/* The flow of @tuple in @direction, as the program looks for it. */
static bool find(const struct dataplane *dataplane, const struct sl_tuple *tuple,
		 enum sl_direction direction, struct sl_flow_ipv6 *copy)
{
	bool is_forward = direction == SL_DIRECTION_FORWARD;
	bool is_ipv6 = tuple->family == SL_FAMILY_IPV6;
	uint64_t hash = sl_flow_client_hash(
		&dataplane->control->flow_key, is_forward ? &tuple->source : &tuple->destination,
		is_forward ? tuple->source_port : tuple->destination_port, tuple->family,
		tuple->protocol);

	for (uint32_t i = 0; i < SL_XDP_CHOICES; i++) {
		uint32_t first =
			sl_xdp_bucket(hash, i, dataplane->n_entries / SL_XDP_WAYS) * SL_XDP_WAYS;

		for (uint32_t way = 0; way < SL_XDP_WAYS; way++)
			if (read_entry(dataplane, is_ipv6, first + way, copy) &&
			    sl_flow_matches(&copy->flow, tuple, direction))
				return true;
	}
	return false;
}

/* The flow of mode fullnat whose reply has this tuple. */
static bool find_by_reply(const struct dataplane *dataplane, const struct sl_tuple *tuple,
			  struct sl_flow_ipv6 *copy)
{
	bool is_ipv6 = tuple->family == SL_FAMILY_IPV6;
	const struct bpf_map *map =
		is_ipv6 ? dataplane->bpf->maps.replies6 : dataplane->bpf->maps.replies4;
	const struct sl_xdp_reply4 key4 = {.backend = tuple->source.ipv4,
					   .source = tuple->destination.ipv4,
					   .backend_port = tuple->source_port,
					   .source_port = tuple->destination_port,
					   .protocol = tuple->protocol};
	const struct sl_xdp_reply6 key6 = {.backend = tuple->source,
					   .source = tuple->destination,
					   .backend_port = tuple->source_port,
					   .source_port = tuple->destination_port,
					   .protocol = tuple->protocol};
	uint32_t index;

	return bpf_map_lookup_elem(bpf_map__fd(map),
				   is_ipv6 ? (const void *)&key6 : (const void *)&key4,
				   &index) == 0 &&
	       index < dataplane->n_entries && read_entry(dataplane, is_ipv6, index, copy) &&
	       sl_flow_matches(&copy->flow, tuple, SL_DIRECTION_REPLY);
}

const struct snapshot *engine_snapshot(const struct dataplane *dataplane)
{
	return dataplane->snapshot;
}

uint32_t engine_flows_of(const struct dataplane *dataplane, uint32_t backend)
{
	const struct sl_load *load = dataplane->loads.at;

	return __atomic_load_n(&load[backend].flows, __ATOMIC_RELAXED);
}

const char *engine_port_name(const struct dataplane *dataplane, uint32_t port)
{
	return port < dataplane->n_ports ? dataplane->port[port].options.name : "?";
}

bool engine_find_flow(struct dataplane *dataplane, const struct sl_tuple *tuple,
		      struct sl_flow_ipv6 *copy, enum sl_direction *direction)
{
	*direction = SL_DIRECTION_FORWARD;
	if (find(dataplane, tuple, SL_DIRECTION_FORWARD, copy))
		return true;
	*direction = SL_DIRECTION_REPLY;
	return find_by_reply(dataplane, tuple, copy) ||
	       find(dataplane, tuple, SL_DIRECTION_REPLY, copy);
}

struct explain_hop engine_next_hop(struct dataplane *dataplane, const union sl_addr *addr,
				   uint8_t family, uint32_t backend SL_UNUSED)
{
	struct explain_hop hop = {.kind = EXPLAIN_HOP_NONE};
	struct sl_xdp_route route;

	if (routes_ask(dataplane, addr, family, &route) != 0 || !route.has_port)
		return hop;
	if (route.status == BPF_FIB_LKUP_RET_NO_NEIGH)
		hop.kind = EXPLAIN_HOP_UNRESOLVED;
	if (route.status != BPF_FIB_LKUP_RET_SUCCESS)
		return hop;
	hop.kind = EXPLAIN_HOP_READY;
	hop.port = route.port;
	memcpy(hop.mac, route.destination_mac, sizeof(hop.mac));
	return hop;
}
