/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * sl_flow_hash() of many tuples at once: SipHash is a chain of dependent operations, so several chains
 * go side by side in vector registers. The compiler makes of the vectors what the CPU has.
 */
#pragma once

#include <sluice/packet/flow.h>

enum {
#if defined __AVX512F__
	HASH_WIDTH = 8, /* words of a vector register */
#elif defined __AVX2__
	HASH_WIDTH = 4,
#else
	HASH_WIDTH = 2,
#endif
	HASH_CHAINS = 2, /* registers of which none waits for another */
	HASH_LANES = HASH_CHAINS * HASH_WIDTH,
	HASH_WORDS_IPV4 = 2, /* of a tuple, as sl_flow_hash() takes them */
	HASH_WORDS_IPV6 = 5,
	HASH_BURST = 64,
};

/** The words of tuples, each tuple's in a column. */
struct hash_words {
	_Alignas(64) uint64_t row[HASH_WORDS_IPV6][HASH_BURST];
};

typedef uint64_t hash_vector __attribute__((vector_size(HASH_WIDTH * sizeof(uint64_t))));
typedef uint32_t hash_halves __attribute__((vector_size(HASH_WIDTH * sizeof(uint64_t))));
typedef uint16_t hash_quarters __attribute__((vector_size(HASH_WIDTH * sizeof(uint64_t))));

struct hash_state {
	hash_vector v0, v1, v2, v3;
};

/*
 * Macros: a rotation is by a constant; and no vector is an argument, or a result. Where parts of a
 * word only change places, one instruction does it, which the compiler does not see in shifts; with
 * AVX-512 one instruction rotates.
 */
#define HASH_SPLAT(word)     ((hash_vector){0} + (uint64_t)(word))
#define HASH_ROTATE(v, bits) ((v) << (bits) | (v) >> (64 - (bits)))
#if defined __AVX512F__
#define HASH_SWAP_HALVES(v)    HASH_ROTATE(v, 32)
#define HASH_ROTATE_QUARTER(v) HASH_ROTATE(v, 16)
#elif defined __AVX2__
#define HASH_SWAP_HALVES(v)                                                                        \
	((hash_vector)__builtin_shufflevector((hash_halves)(v), (hash_halves)(v), 1, 0, 3, 2, 5,   \
					      4, 7, 6))
#define HASH_ROTATE_QUARTER(v)                                                                     \
	((hash_vector)__builtin_shufflevector((hash_quarters)(v), (hash_quarters)(v), 3, 0, 1, 2,  \
					      7, 4, 5, 6, 11, 8, 9, 10, 15, 12, 13, 14))
#else
#define HASH_SWAP_HALVES(v)                                                                        \
	((hash_vector)__builtin_shufflevector((hash_halves)(v), (hash_halves)(v), 1, 0, 3, 2))
#define HASH_ROTATE_QUARTER(v)                                                                     \
	((hash_vector)__builtin_shufflevector((hash_quarters)(v), (hash_quarters)(v), 3, 0, 1, 2,  \
					      7, 4, 5, 6))
#endif

static inline __attribute__((always_inline)) void hash_round(struct hash_state *s)
{
	s->v0 += s->v1;
	s->v1 = HASH_ROTATE(s->v1, 13) ^ s->v0;
	s->v0 = HASH_SWAP_HALVES(s->v0);
	s->v2 += s->v3;
	s->v3 = HASH_ROTATE_QUARTER(s->v3) ^ s->v2;
	s->v0 += s->v3;
	s->v3 = HASH_ROTATE(s->v3, 21) ^ s->v0;
	s->v2 += s->v1;
	s->v1 = HASH_ROTATE(s->v1, 17) ^ s->v2;
	s->v2 = HASH_SWAP_HALVES(s->v2);
}

/* One word into each of the chains. */
static inline __attribute__((always_inline)) void hash_word(struct hash_state *s,
							    const hash_vector *word)
{
	for (uint32_t i = 0; i < HASH_CHAINS; i++) {
		s[i].v3 ^= word[i];
		hash_round(&s[i]);
		s[i].v0 ^= word[i];
	}
}

/** SipHash-1-3 of the @n_words words in columns @at to @at + HASH_LANES. @n_words: a constant. */
static inline __attribute__((always_inline)) void hash_lanes(const struct sl_hash_key *key,
							     const struct hash_words *words,
							     uint32_t at, uint32_t n_words,
							     uint64_t *hash)
{
	struct hash_state s[HASH_CHAINS] = {0};
	hash_vector word[HASH_CHAINS];

	for (uint32_t i = 0; i < HASH_CHAINS; i++) {
		s[i].v0 = HASH_SPLAT(key->word[0] ^ 0x736f6d6570736575ull);
		s[i].v1 = HASH_SPLAT(key->word[1] ^ 0x646f72616e646f6dull);
		s[i].v2 = HASH_SPLAT(key->word[0] ^ 0x6c7967656e657261ull);
		s[i].v3 = HASH_SPLAT(key->word[1] ^ 0x7465646279746573ull);
	}
	for (uint32_t i = 0; i < n_words; i++) {
		__builtin_memcpy(word, &words->row[i][at], sizeof(word));
		hash_word(s, word);
	}
	for (uint32_t i = 0; i < HASH_CHAINS; i++)
		word[i] = HASH_SPLAT((uint64_t)n_words * 8 << 56);
	hash_word(s, word);
	for (uint32_t i = 0; i < HASH_CHAINS; i++) {
		s[i].v2 ^= 0xff;
		hash_round(&s[i]);
		hash_round(&s[i]);
		hash_round(&s[i]);
		word[i] = s[i].v0 ^ s[i].v1 ^ s[i].v2 ^ s[i].v3;
	}
	__builtin_memcpy(hash + at, word, sizeof(word));
}

/** Puts the words of @tuple into column @at, below HASH_BURST. */
SL_INLINE void hash_put(struct hash_words *words, uint32_t at, const struct sl_tuple *tuple)
{
	uint64_t ports = (uint64_t)tuple->protocol << 32 | (uint64_t)tuple->destination_port << 16 |
			 tuple->source_port;

	if (SL_LIKELY(tuple->family == SL_FAMILY_IPV4)) {
		words->row[0][at] = (uint64_t)tuple->destination.ipv4 << 32 | tuple->source.ipv4;
		words->row[1][at] = ports;
		return;
	}
	for (int i = 0; i < 2; i++) {
		words->row[i][at] =
			(uint64_t)tuple->source.word[2 * i + 1] << 32 | tuple->source.word[2 * i];
		words->row[2 + i][at] = (uint64_t)tuple->destination.word[2 * i + 1] << 32 |
					tuple->destination.word[2 * i];
	}
	words->row[4][at] = ports;
}

/**
 * The hashes of columns 0 to @n, all of tuples of one family, into @hash, which has room for HASH_BURST.
 */
SL_INLINE void hash_burst(const struct sl_hash_key *key, const struct hash_words *words, uint32_t n,
			  uint8_t family, uint64_t *hash)
{
	for (uint32_t at = 0; at < n; at += HASH_LANES) {
		if (SL_LIKELY(family == SL_FAMILY_IPV4))
			hash_lanes(key, words, at, HASH_WORDS_IPV4, hash);
		else
			hash_lanes(key, words, at, HASH_WORDS_IPV6, hash);
	}
}
