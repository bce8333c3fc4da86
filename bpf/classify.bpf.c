// SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0
/* Copyright (c) 2026 The Sluice authors */
/*
 * The classifier of a kernel interface that the DPDK engine drives through AF_XDP: TCP and UDP to
 * a service's address, and from a backend's, go to the socket, and so do ICMP errors that quote
 * what we sent for these; everything else stays with the kernel. It decides by address alone and
 * judges no packet: that is the worker's affair.
 *
 * While no socket is bound (the dataplane is being restarted) steered frames are dropped, not
 * passed: the kernel, which owns the service's address, would reset every connection.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include <sluice/limits.h>
#include <sluice/base.h>
#include <sluice/packet/headers.h>
#include <sluice/packet/icmp.h>
#include <sluice/steer.h>

struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, 64); /* receive queues */
	__type(key, __u32);
	__type(value, __u32);
} xsks_map SEC(".maps");

/* Addresses whose frames the dataplane handles; written by classifier.c. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, SL_MAX_STEERED);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct sl_steer_key);
	__type(value, __u32); /* SL_STEER_DESTINATION, SL_STEER_SOURCE */
} steered SEC(".maps");

/* Prefixes of mode snat; likewise. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, SL_MAX_SERVICES);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct sl_steer_prefix);
	__type(value, __u32);
} inside SEC(".maps");

static __always_inline bool is_inside(const struct sl_steer_key *key)
{
	struct sl_steer_prefix prefix = {
		.length = SL_STEER_PREFIX_BITS + (key->family == SL_FAMILY_IPV4 ? 32 : 128),
		.family = key->family,
		.addr = key->addr,
	};

	return bpf_map_lookup_elem(&inside, &prefix) != NULL;
}

static __always_inline bool is_steered(const struct sl_steer_key *key, __u32 as)
{
	const __u32 *roles = bpf_map_lookup_elem(&steered, key);

	return roles != NULL && (*roles & as) != 0;
}

/* An ICMP error at @icmp: what it quotes went from a service's address, or to a backend's. */
static __always_inline bool icmp_is_steered(const struct sl_ipv4 *ipv4, const void *data_end)
{
	const struct sl_icmp *icmp = (const void *)ipv4 + (uint32_t)(ipv4->version_ihl & 15) * 4;
	const struct sl_ipv4 *quoted = (const struct sl_ipv4 *)(icmp + 1);
	struct sl_steer_key key = {.family = SL_FAMILY_IPV4};

	if ((const void *)(icmp + 1) > data_end)
		return false;
	if (sl_icmp_echo(icmp->type, SL_PROTOCOL_ICMP) != SL_PACKET_NO_ECHO) {
		key.addr.ipv4 = ipv4->destination;
		if (is_steered(&key, SL_STEER_ECHO))
			return true;
		key.addr.ipv4 = ipv4->source;
		return is_inside(&key);
	}
	if ((const void *)(quoted + 1) > data_end ||
	    !sl_icmp_is_error(icmp->type, SL_PROTOCOL_ICMP))
		return false;
	key.addr.ipv4 = quoted->source;
	if (is_steered(&key, SL_STEER_DESTINATION))
		return true;
	key.addr.ipv4 = quoted->destination;
	return is_steered(&key, SL_STEER_SOURCE) || is_inside(&key);
}

static __always_inline bool icmpv6_is_steered(const struct sl_ipv6 *ipv6, const void *data_end)
{
	const struct sl_icmp *icmp = (const struct sl_icmp *)(ipv6 + 1);
	const struct sl_ipv6 *quoted = (const struct sl_ipv6 *)(icmp + 1);
	struct sl_steer_key key = {.family = SL_FAMILY_IPV6};

	if ((const void *)(icmp + 1) > data_end)
		return false;
	if (sl_icmp_echo(icmp->type, SL_PROTOCOL_ICMPV6) != SL_PACKET_NO_ECHO) {
		__builtin_memcpy(&key.addr, ipv6->destination, 16);
		if (is_steered(&key, SL_STEER_ECHO))
			return true;
		__builtin_memcpy(&key.addr, ipv6->source, 16);
		return is_inside(&key);
	}
	if ((const void *)(quoted + 1) > data_end ||
	    !sl_icmp_is_error(icmp->type, SL_PROTOCOL_ICMPV6))
		return false;
	__builtin_memcpy(&key.addr, quoted->source, 16);
	if (is_steered(&key, SL_STEER_DESTINATION))
		return true;
	__builtin_memcpy(&key.addr, quoted->destination, 16);
	return is_steered(&key, SL_STEER_SOURCE) || is_inside(&key);
}

static __always_inline bool ipv4_is_steered(const struct sl_ipv4 *ipv4, const void *data_end)
{
	struct sl_steer_key key = {.family = SL_FAMILY_IPV4};

	if ((const void *)(ipv4 + 1) > data_end)
		return false;
	if (ipv4->protocol == SL_PROTOCOL_ICMP)
		return icmp_is_steered(ipv4, data_end);
	if (ipv4->protocol != SL_PROTOCOL_TCP && ipv4->protocol != SL_PROTOCOL_UDP)
		return false;
	key.addr.ipv4 = ipv4->destination;
	if (is_steered(&key, SL_STEER_DESTINATION))
		return true;
	key.addr.ipv4 = ipv4->source;
	return is_steered(&key, SL_STEER_SOURCE) || is_inside(&key);
}

static __always_inline bool ipv6_is_steered(const struct sl_ipv6 *ipv6, const void *data_end)
{
	struct sl_steer_key key = {.family = SL_FAMILY_IPV6};

	if ((const void *)(ipv6 + 1) > data_end)
		return false;
	/* With extension headers the worker looks further; ND and echo come without. */
	if (ipv6->next_header == SL_PROTOCOL_ICMPV6)
		return icmpv6_is_steered(ipv6, data_end);
	__builtin_memcpy(&key.addr, ipv6->destination, 16);
	if (is_steered(&key, SL_STEER_DESTINATION))
		return true;
	__builtin_memcpy(&key.addr, ipv6->source, 16);
	return is_steered(&key, SL_STEER_SOURCE) || is_inside(&key);
}

SEC("xdp")
int sl_classify(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	const void *data_end = (const void *)(long)ctx->data_end;
	const struct sl_ethernet *ethernet = data;
	const void *l3 = ethernet + 1;
	bool is_ours = false;
	be16_t type;

	if ((const void *)(ethernet + 1) > data_end || (ethernet->destination[0] & 1))
		return XDP_PASS;
	type = ethernet->type;
	if (type == SL_BE16(SL_ETHERTYPE_VLAN)) {
		const struct sl_vlan *vlan = l3;

		if ((const void *)(vlan + 1) > data_end)
			return XDP_PASS;
		type = vlan->type;
		l3 = vlan + 1;
	}
	if (type == SL_BE16(SL_ETHERTYPE_IPV4))
		is_ours = ipv4_is_steered(l3, data_end);
	else if (type == SL_BE16(SL_ETHERTYPE_IPV6))
		is_ours = ipv6_is_steered(l3, data_end);
	if (!is_ours)
		return XDP_PASS;
	return (int)bpf_redirect_map(&xsks_map, ctx->rx_queue_index, XDP_DROP);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
