/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * SipHash-1-3 of a whole number of 64-bit words (Aumasson and Bernstein, "SipHash: a fast
 * short-input PRF", 2012; one compression and three finalisation rounds). Keyed, so that nobody who
 * does not know the key can choose colliding tuples. Pure inline: with a constant number of words
 * it is straight-line code.
 */
#pragma once

#include <sluice/base.h>

struct sl_siphash {
	uint64_t v0;
	uint64_t v1;
	uint64_t v2;
	uint64_t v3;
};

SL_INLINE uint64_t sl_rotate_left(uint64_t word, unsigned int bits)
{
	return word << bits | word >> (64 - bits);
}

SL_INLINE void sl_siphash_round(struct sl_siphash *s)
{
	s->v0 += s->v1;
	s->v1 = sl_rotate_left(s->v1, 13) ^ s->v0;
	s->v0 = sl_rotate_left(s->v0, 32);
	s->v2 += s->v3;
	s->v3 = sl_rotate_left(s->v3, 16) ^ s->v2;
	s->v0 += s->v3;
	s->v3 = sl_rotate_left(s->v3, 21) ^ s->v0;
	s->v2 += s->v1;
	s->v1 = sl_rotate_left(s->v1, 17) ^ s->v2;
	s->v2 = sl_rotate_left(s->v2, 32);
}

SL_INLINE void sl_siphash13_init(struct sl_siphash *s, const struct sl_hash_key *key)
{
	s->v0 = key->word[0] ^ 0x736f6d6570736575ull;
	s->v1 = key->word[1] ^ 0x646f72616e646f6dull;
	s->v2 = key->word[0] ^ 0x6c7967656e657261ull;
	s->v3 = key->word[1] ^ 0x7465646279746573ull;
}

SL_INLINE void sl_siphash13_word(struct sl_siphash *s, uint64_t word)
{
	s->v3 ^= word;
	sl_siphash_round(s);
	s->v0 ^= word;
}

/** @tail: the last @n_bytes % 8 bytes, little-endian; @n_bytes: of the whole input. */
SL_INLINE uint64_t sl_siphash13_fini_tail(struct sl_siphash *s, uint64_t tail, uint64_t n_bytes)
{
	sl_siphash13_word(s, n_bytes << 56 | tail);
	s->v2 ^= 0xff;
	sl_siphash_round(s);
	sl_siphash_round(s);
	sl_siphash_round(s);
	return s->v0 ^ s->v1 ^ s->v2 ^ s->v3;
}

SL_INLINE uint64_t sl_siphash13_fini(struct sl_siphash *s, uint64_t n_bytes)
{
	return sl_siphash13_fini_tail(s, 0, n_bytes);
}

/**
 * SipHash-1-3 of the @n_words little-endian words at @words, that is of 8 x @n_words bytes.
 * @key: the secret. @n_words: best a constant.
 */
SL_INLINE uint64_t sl_siphash13_words(const struct sl_hash_key *key, const uint64_t *words,
				      unsigned int n_words)
{
	struct sl_siphash s;

	sl_siphash13_init(&s, key);
	for (unsigned int i = 0; i < n_words; i++)
		sl_siphash13_word(&s, words[i]);
	return sl_siphash13_fini(&s, (uint64_t)n_words * 8);
}
