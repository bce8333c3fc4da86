// SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0
/* Copyright (c) 2026 The Sluice authors */
/*
 * Next hops. The kernel is asked by bpf_fib_lookup(), which costs more than all the rest of a hot
 * packet, and the answer is kept as an index of adjacencies[] with the flow or the backend, under
 * a generation that the agent raises when routes or neighbours changed. While no agent is alive,
 * every second is another generation.
 */
#pragma once

#include "flow_table.h"

#ifndef AF_INET
#define AF_INET 2
#endif
#ifndef AF_INET6
#define AF_INET6 10
#endif

static __always_inline uint16_t route_generation(uint32_t now)
{
	uint32_t generation = *(volatile uint32_t *)&control.route_generation;
	uint32_t alive_until = *(volatile uint32_t *)&control.alive_until;

	if (SL_UNLIKELY((int32_t)(now - alive_until) > 0))
		generation += (now - alive_until) / SL_TICKS_PER_SEC + 1;
	return (uint16_t)generation;
}

static __always_inline const struct sl_xdp_port *port_of(uint32_t ifindex)
{
	uint32_t place = (uint32_t)(ifindex * control.port_factor) >> 24;
	const struct sl_xdp_port *port = bpf_map_lookup_elem(&ports, &place);

	return port != NULL && port->ifindex == ifindex ? port : NULL;
}

/** Asks the kernel. *@lookup tells next hop and device. As bpf_fib_lookup(). */
static __always_inline long route_ask(struct xdp_md *ctx, const union sl_addr *addr, uint8_t family,
				      struct bpf_fib_lookup *lookup)
{
	__builtin_memset(lookup, 0, sizeof(*lookup));
	/* As if the host sent it: whether ports forward for others is no question of ours. */
	lookup->ifindex = loopback_ifindex;
	if (family == SL_FAMILY_IPV4) {
		lookup->family = AF_INET;
		lookup->ipv4_dst = addr->ipv4;
	} else {
		lookup->family = AF_INET6;
		__builtin_memcpy(lookup->ipv6_dst, addr->word, 16);
	}
	return bpf_fib_lookup(ctx, lookup, sizeof(*lookup), 0);
}

static __always_inline bool same_adjacency(const struct sl_adjacency *a,
					   const struct sl_adjacency *b)
{
	const uint32_t *left = (const uint32_t *)a;
	const uint32_t *right = (const uint32_t *)b;

	return left[0] == right[0] && left[1] == right[1] && left[2] == right[2] &&
	       left[3] == right[3];
}

/** The index of an entry equal to @wanted, made if there is room; SL_XDP_SCRATCH_ADJACENCY. */
static __always_inline uint32_t adjacency_intern(const struct sl_adjacency *wanted)
{
	const uint32_t *word = (const uint32_t *)wanted;
	uint32_t hash = (word[0] ^ word[1] * 0x85ebca6bu ^ word[3]) * 0x9e3779b1u >> 17;
	struct sl_adjacency *scratch;
	uint32_t zero = 0;

	for (uint32_t i = 0; i < SL_XDP_ADJACENCY_TRIES; i++) {
		uint32_t index = (hash + i) & (SL_MAX_ADJACENCIES - 1);
		struct sl_adjacency *entry;
		uint32_t *last;

		if (index < SL_ADJACENCY_FIRST)
			continue;
		entry = bpf_map_lookup_elem(&adjacencies, &index);
		if (entry == NULL)
			continue;
		if (same_adjacency(entry, wanted))
			return index;
		/* Free: port, is_valid and reserved are all zero. Whoever claims it fills it. */
		last = (uint32_t *)entry + 3;
		if (read_once(last) == 0 && __sync_val_compare_and_swap(last, 0, 1u << 31) == 0) {
			((uint32_t *)entry)[0] = word[0];
			((uint32_t *)entry)[1] = word[1];
			((uint32_t *)entry)[2] = word[2];
			barrier();
			*(volatile uint32_t *)last = word[3];
			return index;
		}
	}
	scratch = bpf_map_lookup_elem(&scratch_adjacency, &zero);
	if (scratch != NULL)
		*scratch = *wanted;
	return SL_XDP_SCRATCH_ADJACENCY;
}

/** Has the agent ask the kernel for a link address. A full ring means that it was asked just now. */
static __always_inline void route_resolve(const struct bpf_fib_lookup *lookup, uint8_t family)
{
	struct sl_xdp_resolve request = {.ifindex = lookup->ifindex, .family = family};

	if (family == SL_FAMILY_IPV4)
		request.addr.ipv4 = lookup->ipv4_dst;
	else
		__builtin_memcpy(request.addr.word, lookup->ipv6_dst, 16);
	bpf_ringbuf_output(&resolve, &request, sizeof(request), 0);
}

/**
 * Where packets to @addr go, by the kernel: an index of adjacencies[], SL_ADJACENCY_NONE, _LOCAL, or
 * SL_ADJACENCY_GLEAN if the link address is not known yet, which the agent is told. The kernel does
 * not tell a local address from one without a route: both are SL_ADJACENCY_NONE.
 */
__noinline uint32_t route_find(struct xdp_md *ctx, const union sl_addr *addr, uint32_t family)
{
	struct sl_adjacency wanted = {.is_valid = 1};
	struct bpf_fib_lookup lookup;
	const struct sl_xdp_port *port;
	long status;

	if (addr == NULL)
		return SL_ADJACENCY_NONE;
	status = route_ask(ctx, addr, (uint8_t)family, &lookup);
	if (status != BPF_FIB_LKUP_RET_SUCCESS && status != BPF_FIB_LKUP_RET_NO_NEIGH)
		return SL_ADJACENCY_NONE;
	port = port_of(lookup.ifindex);
	if (port == NULL)
		return SL_ADJACENCY_NONE;
	if (status == BPF_FIB_LKUP_RET_NO_NEIGH) {
		route_resolve(&lookup, (uint8_t)family);
		return SL_ADJACENCY_GLEAN;
	}
	__builtin_memcpy(wanted.destination_mac, lookup.dmac, 6);
	__builtin_memcpy(wanted.source_mac, lookup.smac, 6);
	wanted.port = port->index;
	return adjacency_intern(&wanted);
}

/** route_find() with its answer kept at @kept, under @generation. */
static __always_inline uint32_t route_kept(struct xdp_md *ctx, uint32_t *kept, uint16_t generation,
					   const union sl_addr *addr, uint8_t family)
{
	uint32_t word = read_once(kept);
	union sl_addr copy;
	uint32_t index;

	if (SL_LIKELY(word >> 16 == generation && (word & 0xffff) >= SL_ADJACENCY_FIRST))
		return word & 0xffff;
	copy = *addr;
	index = route_find(ctx, &copy, family);
	if (index >= SL_ADJACENCY_FIRST && index != SL_XDP_SCRATCH_ADJACENCY)
		*(volatile uint32_t *)kept = (uint32_t)generation << 16 | index;
	return index;
}

static __always_inline const struct sl_adjacency *adjacency_at(uint32_t index)
{
	uint32_t zero = 0;

	if (SL_UNLIKELY(index == SL_XDP_SCRATCH_ADJACENCY))
		return bpf_map_lookup_elem(&scratch_adjacency, &zero);
	return bpf_map_lookup_elem(&adjacencies, &index);
}
