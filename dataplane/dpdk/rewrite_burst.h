/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * sl_nat_rewrite() of many common frames of IPv4: what changes the checksums is added up for several
 * packets in one vector operation, and what is left to do for each is to write it. The vectors are those of
 * hash_burst.h, and so are the words that packets carry before.
 */
#pragma once

#include <sluice/packet/common.h>
#include <sluice/packet/nat.h>

#include "dataplane/dpdk/hash_burst.h"

/** What packets are rewritten to, a column each. Source, then destination, as they lie in a packet. */
struct rewrite_columns {
	_Alignas(64) uint64_t addresses[HASH_BURST];
	_Alignas(64) uint64_t ports[HASH_BURST]; /* nothing above them */
	_Alignas(64) uint64_t diff3[HASH_BURST]; /* filled: what to add to the header's checksum, */
	_Alignas(64) uint64_t diff4[HASH_BURST]; /* and to layer 4's; 18 bits */
};

SL_INLINE void rewrite_put(struct rewrite_columns *columns, uint32_t at,
			   const struct sl_rewrite *to)
{
	columns->addresses[at] = (uint64_t)to->destination.ipv4 << 32 | to->source.ipv4;
	columns->ports[at] = (uint64_t)to->destination_port << 16 | to->source_port;
}

/* Sums of up to 48 bits, each as one of 18 that folds to the same. */
#define REWRITE_FOLD(sum) (((sum)&0xffff) + ((sum) >> 16 & 0xffff) + ((sum) >> 32))

/** Adds up what changes in columns 0 to @n. @before: the words of the packets as they are. */
SL_INLINE void rewrite_burst(const struct hash_words *before, struct rewrite_columns *columns,
			     uint32_t n)
{
	for (uint32_t at = 0; at < n; at += HASH_WIDTH) {
		hash_vector addresses_before;
		hash_vector ports_before;
		hash_vector addresses;
		hash_vector ports;
		hash_vector diff;

		__builtin_memcpy(&addresses_before, &before->row[0][at], sizeof(addresses_before));
		__builtin_memcpy(&ports_before, &before->row[1][at], sizeof(ports_before));
		__builtin_memcpy(&addresses, &columns->addresses[at], sizeof(addresses));
		__builtin_memcpy(&ports, &columns->ports[at], sizeof(ports));
		addresses_before = ~addresses_before;
		ports_before = ~ports_before & 0xffffffff;
		diff = (addresses_before & 0xffffffff) + (addresses_before >> 32) +
		       (addresses & 0xffffffff) + (addresses >> 32);
		ports = REWRITE_FOLD(diff + ports_before + ports);
		diff = REWRITE_FOLD(diff);
		__builtin_memcpy(&columns->diff3[at], &diff, sizeof(diff));
		__builtin_memcpy(&columns->diff4[at], &ports, sizeof(ports));
	}
}

/** Writes column @at into @packet, as sl_nat_rewrite() would. */
SL_INLINE void rewrite_packet(const struct rewrite_columns *columns, uint32_t at,
			      struct sl_packet *packet)
{
	uint32_t diff3 = (uint32_t)columns->diff3[at] + SL_CHECKSUM_DIFF_TTL;
	be16_t before = *packet->l4_checksum;

	packet->ipv4->checksum = sl_checksum_update_small(packet->ipv4->checksum, diff3);
	packet->ipv4->ttl--;
	sl_store64(&packet->ipv4->source, columns->addresses[at]);
	sl_nat_l4_write(packet, (uint32_t)columns->ports[at], before,
			sl_checksum_update_small(before, (uint32_t)columns->diff4[at]));
}
