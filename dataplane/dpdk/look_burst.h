/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * sl_parse_is_common4() of several frames at once: the same questions, each of them asked of all frames
 * in one vector operation. So that word n of all frames lies in one vector, the heads of the frames are
 * turned like a matrix, from where they lie: what is put somewhere in pieces and fetched as a whole has
 * to wait until it is there. The compiler makes of the vectors what the CPU has. Words are as they lie
 * in memory: the low half of one is what comes first in the frame.
 */
#pragma once

#include <sluice/packet/common.h>

enum {
#ifdef __AVX2__
	LOOK_LANES = 8, /* words of a vector register */
#else
	LOOK_LANES = 4,
#endif
	LOOK_BLOCK_BYTES = 16,
	LOOK_BLOCKS = 3, /* of each frame: the Ethernet header, to the TCP flags */
	LOOK_MIN_BYTES =
		54, /* a shorter frame is not for this: its TCP header would not be whole */
};

typedef uint32_t look_vector __attribute__((vector_size(LOOK_LANES * sizeof(uint32_t))));
typedef int32_t look_mask __attribute__((vector_size(LOOK_LANES * sizeof(uint32_t))));
typedef uint32_t look_half __attribute__((vector_size(LOOK_BLOCK_BYTES)));

/** What a lane looks at that has no frame to be looked at. Of no address is it a common one. */
static const uint8_t look_nothing[LOOK_MIN_BYTES];

/* Macros, as no vector is an argument, or a result: pairs of words, of double words. */
#ifdef __AVX2__
#define LOOK_PAIR_LOW(a, b)   __builtin_shufflevector(a, b, 0, 8, 1, 9, 4, 12, 5, 13)
#define LOOK_PAIR_HIGH(a, b)  __builtin_shufflevector(a, b, 2, 10, 3, 11, 6, 14, 7, 15)
#define LOOK_FOUR_LOW(a, b)   __builtin_shufflevector(a, b, 0, 1, 8, 9, 4, 5, 12, 13)
#define LOOK_FOUR_HIGH(a, b)  __builtin_shufflevector(a, b, 2, 3, 10, 11, 6, 7, 14, 15)
#define LOOK_MERGE_LOW(a, b)  __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11)
#define LOOK_MERGE_HIGH(a, b) __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15)
#else
#define LOOK_PAIR_LOW(a, b)  __builtin_shufflevector(a, b, 0, 4, 1, 5)
#define LOOK_PAIR_HIGH(a, b) __builtin_shufflevector(a, b, 2, 6, 3, 7)
#define LOOK_FOUR_LOW(a, b)  __builtin_shufflevector(a, b, 0, 1, 4, 5)
#define LOOK_FOUR_HIGH(a, b) __builtin_shufflevector(a, b, 2, 3, 6, 7)
#define LOOK_MERGE_LOW       LOOK_PAIR_LOW
#define LOOK_MERGE_HIGH      LOOK_PAIR_HIGH
#endif

/* The four words that lie @offset bytes from each of @at, LOOK_LANES of them. */
SL_INLINE void look_turn(const uint8_t *const *at, size_t offset, look_vector *word)
{
	look_vector row[4];
	look_vector pair[4];

#pragma GCC unroll 4
	for (int i = 0; i < 4; i++) {
		look_half half;

		__builtin_memcpy(&half, at[i] + offset, sizeof(half));
#ifdef __AVX2__
		look_half other;

		__builtin_memcpy(&other, at[i + 4] + offset, sizeof(other));
		row[i] = __builtin_shufflevector(half, other, 0, 1, 2, 3, 4, 5, 6, 7);
#else
		row[i] = half;
#endif
	}
	pair[0] = LOOK_PAIR_LOW(row[0], row[1]);
	pair[1] = LOOK_PAIR_HIGH(row[0], row[1]);
	pair[2] = LOOK_PAIR_LOW(row[2], row[3]);
	pair[3] = LOOK_PAIR_HIGH(row[2], row[3]);
	word[0] = LOOK_FOUR_LOW(pair[0], pair[2]);
	word[1] = LOOK_FOUR_HIGH(pair[0], pair[2]);
	word[2] = LOOK_FOUR_LOW(pair[1], pair[3]);
	word[3] = LOOK_FOUR_HIGH(pair[1], pair[3]);
}

/* The words of @low and @high, lane by lane side by side, to @to. In one piece, if they are fetched so. */
SL_INLINE void look_store(uint64_t *to, const look_vector *low, const look_vector *high)
{
#ifdef __AVX512F__
	typedef uint32_t look_double __attribute__((vector_size(2 * sizeof(look_vector))));
	look_double merged = __builtin_shufflevector(*low, *high, 0, 8, 1, 9, 2, 10, 3, 11, 4, 12,
						     5, 13, 6, 14, 7, 15);
#else
	look_vector merged[2] = {LOOK_MERGE_LOW(*low, *high), LOOK_MERGE_HIGH(*low, *high)};
#endif

	__builtin_memcpy(to, &merged, sizeof(merged));
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

/** Frames to be looked at, a lane for each, and what is found. */
struct look {
	const uint8_t *data[LOOK_LANES]; /* at least LOOK_MIN_BYTES, or look_nothing */
	look_vector length;              /* bytes */
	look_vector
		is_bad; /* not 0: it is no common frame of IPv4, whatever is in it; or so it was found */
	uint64_t *
		addresses; /* to be filled, LOOK_LANES of them: source, then destination, as they lie */
	uint64_t *ports; /* likewise; and the protocol above them */
};

/* What sl_flow_hash() takes of common frames. */
SL_INLINE void look_words(const look_vector *word, struct look *look)
{
	look_vector source = word[6] >> 16 | word[7] << 16;
	look_vector destination = word[7] >> 16 | word[8] << 16;
	look_vector ports = word[8] >> 16 | word[9] << 16;
	look_vector protocol = word[5] >> 24;

	look_store(look->addresses, &source, &destination);
	look_store(look->ports, &ports, &protocol);
}

/* Whether nothing of @is_bad is other than 0. */
SL_INLINE bool look_is_good(const look_vector *is_bad)
{
	uint64_t half[LOOK_LANES / 2];
	uint64_t any = 0;

	__builtin_memcpy(half, is_bad, sizeof(half));
	for (int i = 0; i < LOOK_LANES / 2; i++)
		any |= half[i];
	return any == 0;
}

/** Looks at the frames. @mac: where they are to go, sl_mac_word()'s. Whether all are common ones of IPv4. */
SL_INLINE bool look_burst(struct look *look, uint64_t mac)
{
	look_vector word[4 * LOOK_BLOCKS];
	look_vector total;

	for (uint32_t i = 0; i < LOOK_BLOCKS; i++)
		look_turn(look->data, LOOK_BLOCK_BYTES * i, word + 4 * i);
	total = LOOK_FROM_BE16(word[4]);
	look->is_bad |= (word[0] ^ (uint32_t)mac) | ((word[1] ^ (uint32_t)(mac >> 32)) & 0xffff);
	look->is_bad |=
		LOOK_LESS(total, LOOK_SPLAT(sizeof(struct sl_ipv4) + sizeof(struct sl_udp)));
	look->is_bad |= LOOK_LESS(look->length, total + SL_COMMON_IP);
	look_ipv4(word, &look->is_bad);
	look_hosts(word, &look->is_bad);
	total -= (uint32_t)sizeof(struct sl_ipv4);
	look_l4(word, &total, &look->is_bad);
	look_words(word, look);
	return look_is_good(&look->is_bad);
}
