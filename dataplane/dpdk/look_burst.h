/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * sl_parse_is_common4() of several frames at once: the same questions, each of them asked of all frames
 * in one vector operation. So that word n of all frames lies in one vector, the heads of the frames,
 * which are put side by side, are turned like a matrix. The compiler makes of the vectors what the CPU
 * has. Words are as they lie in memory: the low half of one is what comes first in the frame.
 */
#pragma once

#include <sluice/packet/common.h>

enum {
#ifdef __AVX2__
	LOOK_LANES = 8, /* words of a vector register */
#else
	LOOK_LANES = 4,
#endif
	LOOK_BLOCKS = 3, /* of 16 bytes, of each frame: the Ethernet header, to the TCP flags */
	LOOK_MIN_BYTES =
		54, /* a shorter frame is not for this: its TCP header would not be whole */
};

typedef uint32_t look_vector __attribute__((vector_size(LOOK_LANES * sizeof(uint32_t))));
typedef int32_t look_mask __attribute__((vector_size(LOOK_LANES * sizeof(uint32_t))));

/** The heads of frames. Those of frames i and i + 4 lie side by side, as halves of a register do. */
struct look_heads {
	_Alignas(32) uint8_t block[LOOK_BLOCKS][4][LOOK_LANES / 4][16];
	_Alignas(32) uint32_t length[LOOK_LANES]; /* bytes; 0: there is no frame */
};

/** Puts the frame of @length bytes at @data, at least LOOK_MIN_BYTES, into lane @lane. */
SL_INLINE void look_put(struct look_heads *heads, uint32_t lane, const uint8_t *data,
			uint32_t length)
{
	for (uint32_t i = 0; i < LOOK_BLOCKS; i++)
		__builtin_memcpy(heads->block[i][lane & 3][lane >> 2], data + 16 * i, 16);
	heads->length[lane] = length;
}

/* Macros, as no vector is an argument, or a result: pairs of words, of double words. */
#ifdef __AVX2__
#define LOOK_PAIR_LOW(a, b)  __builtin_shufflevector(a, b, 0, 8, 1, 9, 4, 12, 5, 13)
#define LOOK_PAIR_HIGH(a, b) __builtin_shufflevector(a, b, 2, 10, 3, 11, 6, 14, 7, 15)
#define LOOK_FOUR_LOW(a, b)  __builtin_shufflevector(a, b, 0, 1, 8, 9, 4, 5, 12, 13)
#define LOOK_FOUR_HIGH(a, b) __builtin_shufflevector(a, b, 2, 3, 10, 11, 6, 7, 14, 15)
#else
#define LOOK_PAIR_LOW(a, b)  __builtin_shufflevector(a, b, 0, 4, 1, 5)
#define LOOK_PAIR_HIGH(a, b) __builtin_shufflevector(a, b, 2, 6, 3, 7)
#define LOOK_FOUR_LOW(a, b)  __builtin_shufflevector(a, b, 0, 1, 4, 5)
#define LOOK_FOUR_HIGH(a, b) __builtin_shufflevector(a, b, 2, 3, 6, 7)
#endif

/* The four words of block @block of all frames. */
SL_INLINE void look_turn(const struct look_heads *heads, uint32_t block, look_vector *word)
{
	look_vector row[4];
	look_vector pair[4];

	__builtin_memcpy(row, heads->block[block], sizeof(row));
	pair[0] = LOOK_PAIR_LOW(row[0], row[1]);
	pair[1] = LOOK_PAIR_HIGH(row[0], row[1]);
	pair[2] = LOOK_PAIR_LOW(row[2], row[3]);
	pair[3] = LOOK_PAIR_HIGH(row[2], row[3]);
	word[0] = LOOK_FOUR_LOW(pair[0], pair[2]);
	word[1] = LOOK_FOUR_HIGH(pair[0], pair[2]);
	word[2] = LOOK_FOUR_LOW(pair[1], pair[3]);
	word[3] = LOOK_FOUR_HIGH(pair[1], pair[3]);
}

/* A number of 16 bits in network order, which is the half of a word that @half gives. */
#define LOOK_FROM_BE16(half) (((half)&0xff) << 8 | ((half) >> 8 & 0xff))
/* Whether @a is less than @b, all bits or none. Both below 2^31. */
#define LOOK_LESS(a, b)  ((look_vector)((look_mask)(a) < (look_mask)(b)))
#define LOOK_SAME(a, b)  ((look_vector)((a) == (b)))
#define LOOK_SPLAT(word) ((look_vector){0} + (word))

/* Not 0 where the header of IPv4, words 3 on of @word, has options, a fragment or a wrong sum. */
SL_INLINE void look_ipv4(const look_vector *word, look_vector *bad)
{
	look_vector sum = (word[3] >> 16) + (word[4] & 0xffff) + (word[4] >> 16) +
			  (word[5] & 0xffff) + (word[5] >> 16) + (word[6] & 0xffff) +
			  (word[6] >> 16) + (word[7] & 0xffff) + (word[7] >> 16) +
			  (word[8] & 0xffff);

	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	*bad |= (sum ^ 0xffff) | (word[5] & SL_BE16(0x3fff)) |
		((word[3] ^ (SL_BE16(SL_ETHERTYPE_IPV4) | 0x45u << 16)) & 0x00ffffff);
}

/* Not 0 where an address is none of a host's, sl_common_host4(), or both are the same. */
SL_INLINE void look_hosts(const look_vector *word, look_vector *bad)
{
	look_vector source = word[6] >> 16 & 0xff;
	look_vector destination = word[7] >> 16 & 0xff;

	*bad |= LOOK_SAME(source, 0) | LOOK_SAME(source, 127) | LOOK_LESS(LOOK_SPLAT(223), source);
	*bad |= LOOK_SAME(destination, 0) | LOOK_SAME(destination, 127) |
		LOOK_LESS(LOOK_SPLAT(223), destination);
	*bad |= LOOK_SAME(word[6] >> 16 | word[7] << 16, word[7] >> 16 | word[8] << 16);
}

/* Not 0 where the layer-4 header is none that sl_common_l4() lets pass. @length: its, and its payload's. */
SL_INLINE void look_l4(const look_vector *word, const look_vector *length, look_vector *bad)
{
	look_vector protocol = word[5] >> 24;
	look_vector said = LOOK_FROM_BE16(word[9] >> 16);
	look_vector offset = word[11] >> 18 & 0x3c;
	look_vector flags = word[11] >> 24;
	look_vector has_syn = ~LOOK_SAME(flags & SL_TCP_SYN, 0);
	look_vector bad_udp =
		LOOK_LESS(said, LOOK_SPLAT(sizeof(struct sl_udp))) | LOOK_LESS(*length, said);
	look_vector bad_tcp =
		LOOK_LESS(offset, LOOK_SPLAT(sizeof(struct sl_tcp))) | LOOK_LESS(*length, offset);

	/* sl_tcp_flags_are_sane() */
	bad_tcp |= has_syn & ~LOOK_SAME(flags & (SL_TCP_FIN | SL_TCP_RST), 0);
	bad_tcp |= ~has_syn & LOOK_SAME(flags & (SL_TCP_RST | SL_TCP_ACK), 0);
	*bad |= LOOK_SAME(word[8] >> 16, 0) | LOOK_SAME(word[9] & 0xffff, 0);
	*bad |= (bad_udp | ~LOOK_SAME(protocol, SL_PROTOCOL_UDP)) &
		(bad_tcp | ~LOOK_SAME(protocol, SL_PROTOCOL_TCP));
}

/**
 * Fills @bad, LOOK_LANES of them, with 0 for each frame that is a common one of IPv4 to @mac,
 * sl_mac_word()'s; for lanes without a frame it is not 0. Whether all are 0.
 */
SL_INLINE bool look_burst(const struct look_heads *heads, uint64_t mac, uint32_t *bad)
{
	look_vector word[4 * LOOK_BLOCKS];
	look_vector length;
	look_vector total;
	look_vector is_bad;
	uint64_t any;

	for (uint32_t i = 0; i < LOOK_BLOCKS; i++)
		look_turn(heads, i, word + 4 * i);
	__builtin_memcpy(&length, heads->length, sizeof(length));
	total = LOOK_FROM_BE16(word[4]);
	is_bad = (word[0] ^ (uint32_t)mac) | ((word[1] ^ (uint32_t)(mac >> 32)) & 0xffff);
	is_bad |= LOOK_LESS(total, LOOK_SPLAT(sizeof(struct sl_ipv4) + sizeof(struct sl_udp)));
	is_bad |= LOOK_LESS(length, total + SL_COMMON_IP);
	look_ipv4(word, &is_bad);
	look_hosts(word, &is_bad);
	total -= (uint32_t)sizeof(struct sl_ipv4);
	look_l4(word, &total, &is_bad);
	__builtin_memcpy(bad, &is_bad, sizeof(is_bad));
	any = sl_load64(bad) | sl_load64(bad + 2);
	if (LOOK_LANES > 4)
		any |= sl_load64(bad + LOOK_LANES - 4) | sl_load64(bad + LOOK_LANES - 2);
	return any == 0;
}
