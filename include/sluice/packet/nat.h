/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * The rewrite of one packet: addresses, ports, TTL, checksums, Ethernet. The verdict is known
 * before the first byte is written, and nothing here can fail.
 *
 * Checksums are updated by the difference (RFC 1624), so a packet that arrived corrupt leaves
 * corrupt. A UDP checksum of zero over IPv4 stays zero, and a result of zero is sent as 0xffff
 * (RFC 768). DSCP and ECN are untouched.
 */
#pragma once

#include <sluice/base.h>
#include <sluice/packet/checksum.h>
#include <sluice/packet/headers.h>
#include <sluice/packet/parse.h>

/** What a rewritten packet carries; all in network order. */
struct sl_rewrite {
	union sl_addr source;
	union sl_addr destination;
	be16_t source_port;
	be16_t destination_port;
};

/** Whether the packet may be forwarded: TTL or hop limit at least 2. */
SL_INLINE bool sl_nat_has_ttl(const struct sl_packet *packet)
{
	if (packet->tuple.family == SL_FAMILY_IPV4)
		return packet->ipv4->ttl > 1;
	return packet->ipv6->hop_limit > 1;
}

/** Writes ports, which are as they lie, and @checksum, which has become of @before. */
SL_INLINE void sl_nat_l4_write(struct sl_packet *packet, uint32_t ports, be16_t before,
			       be16_t checksum)
{
	sl_store32(packet->ports, ports);
	if (packet->tuple.protocol == SL_PROTOCOL_UDP) {
		if (before == 0)
			return;
		if (checksum == 0)
			checksum = 0xffff;
	}
	*packet->l4_checksum = checksum;
}

/** Writes ports and checksum; @diff: the sum of the changed addresses. */
SL_INLINE void sl_nat_l4(struct sl_packet *packet, const struct sl_rewrite *to, uint64_t diff)
{
	uint32_t ports = (uint32_t)to->destination_port << 16 | to->source_port;
	be16_t before = *packet->l4_checksum;

	diff += sl_checksum_diff32(sl_load32(packet->ports), ports);
	sl_nat_l4_write(packet, ports, before, sl_checksum_update(before, diff));
}

/**
 * Writes @to over the address at @at, which need not be aligned; the sum to add. A word at a time: it
 * needs few registers.
 */
SL_INLINE uint64_t sl_nat_ipv6_address(void *at, const union sl_addr *to)
{
	uint8_t *word = at;
	uint64_t diff = 0;

#pragma GCC unroll 4
	for (int i = 0; i < 4; i++) {
		diff += sl_checksum_diff32(sl_load32(word + 4 * i), to->word[i]);
		sl_store32(word + 4 * i, to->word[i]);
	}
	return diff;
}

/**
 * Rewrites the addresses of @packet to @to and takes one hop off: all that there is to do to a fragment
 * after the first, which has no ports and whose bytes the first one's checksum covers. The sum to add to
 * the layer-4 checksum, wherever it is.
 */
SL_INLINE uint64_t sl_nat_l3(struct sl_packet *packet, const struct sl_rewrite *to)
{
	uint64_t diff = 0;

	if (packet->tuple.family == SL_FAMILY_IPV4) {
		struct sl_ipv4 *ipv4 = packet->ipv4;

		diff = sl_checksum_diff32(ipv4->source, to->source.ipv4) +
		       sl_checksum_diff32(ipv4->destination, to->destination.ipv4);
		ipv4->source = to->source.ipv4;
		ipv4->destination = to->destination.ipv4;
		ipv4->checksum = sl_checksum_update(ipv4->checksum, diff + SL_CHECKSUM_DIFF_TTL);
		ipv4->ttl--;
	} else {
		struct sl_ipv6 *ipv6 = packet->ipv6;

		diff = sl_nat_ipv6_address(ipv6->source, &to->source) +
		       sl_nat_ipv6_address(ipv6->destination, &to->destination);
		ipv6->hop_limit--;
	}
	return diff;
}

/**
 * Rewrites @packet to @to and takes one hop off. sl_nat_has_ttl() must have been true.
 * @packet: as sl_parse() filled it; its tuple stays the packet's before the rewrite. Of the tuple
 * only family and protocol are read.
 */
SL_INLINE void sl_nat_rewrite(struct sl_packet *packet, const struct sl_rewrite *to)
{
	sl_nat_l4(packet, to, sl_nat_l3(packet, to));
}

/** Writes the Ethernet addresses of the next hop. @destination, @source: 6 bytes each. */
SL_INLINE void sl_nat_ethernet(struct sl_ethernet *ethernet, const uint8_t *destination,
			       const uint8_t *source)
{
	sl_copy_mac(ethernet->destination, destination);
	sl_copy_mac(ethernet->source, source);
}
