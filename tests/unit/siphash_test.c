/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * SipHash-1-3 against a byte-wise twin whose rounds are parameters, so that the twin itself is held
 * against the published SipHash-2-4 vectors (Aumasson and Bernstein, reference code vectors.h).
 */
#include <criterion/criterion.h>
#include <string.h>

#include <sluice/packet/siphash.h>

#include "tests/unit/random.h"
#include "wire/wire_abi.h"

static uint64_t rotate(uint64_t x, int b)
{
	return x << b | x >> (64 - b);
}

static void rounds(uint64_t v[4], int n)
{
	while (n-- > 0) {
		v[0] += v[1];
		v[2] += v[3];
		v[1] = rotate(v[1], 13) ^ v[0];
		v[3] = rotate(v[3], 16) ^ v[2];
		v[0] = rotate(v[0], 32);
		v[2] += v[1];
		v[0] += v[3];
		v[1] = rotate(v[1], 17) ^ v[2];
		v[3] = rotate(v[3], 21) ^ v[0];
		v[2] = rotate(v[2], 32);
	}
}

static uint64_t twin(const uint64_t key[2], const uint8_t *bytes, size_t size, int c, int d)
{
	uint64_t v[4] = {key[0] ^ 0x736f6d6570736575ull, key[1] ^ 0x646f72616e646f6dull,
			 key[0] ^ 0x6c7967656e657261ull, key[1] ^ 0x7465646279746573ull};
	size_t n_words = size / 8 + 1;

	for (size_t w = 0; w < n_words; w++) {
		uint64_t word = w == n_words - 1 ? (uint64_t)size << 56 : 0;

		for (size_t b = 0; b < 8 && w * 8 + b < size; b++)
			word |= (uint64_t)bytes[w * 8 + b] << (8 * b);
		v[3] ^= word;
		rounds(v, c);
		v[0] ^= word;
	}
	v[2] ^= 0xff;
	rounds(v, d);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

static const uint64_t counting_key[2] = {0x0706050403020100ull, 0x0f0e0d0c0b0a0908ull};

Test(siphash, twin_gives_the_published_2_4_vectors)
{
	static const uint64_t expected[] = {0x726fdb47dd0e0e31ull, 0x74f839c593dc67fdull,
					    0x0d6c8009d9a94f5aull, 0x85676696d7fb7e2dull};
	uint8_t bytes[64];

	for (uint8_t i = 0; i < 64; i++)
		bytes[i] = i;
	for (size_t i = 0; i < SL_ARRAY_LEN(expected); i++)
		cr_assert_eq(twin(counting_key, bytes, i, 2, 4), expected[i], "length %zu", i);
	cr_assert_eq(twin(counting_key, bytes, 15, 2, 4), 0xa129ca6149be45e5ull);
}

Test(siphash, words_equal_the_twin)
{
	struct random random = random_seeded();

	for (int i = 0; i < 200000; i++) {
		struct sl_hash_key key;
		uint64_t words[5];

		random_fill(&random, &key, sizeof(key));
		random_fill(&random, words, sizeof(words));
		for (unsigned int n = 0; n <= 5; n++)
			cr_assert_eq(sl_siphash13_words(&key, words, n),
				     twin(key.word, (const uint8_t *)words, n * 8, 1, 3));
	}
}

Test(siphash, digest_of_any_length_equals_the_twin_under_a_zero_key)
{
	static const uint64_t zero[2];
	struct random random = random_seeded();
	uint8_t bytes[200];

	random_fill(&random, bytes, sizeof(bytes));
	for (size_t n = 0; n <= sizeof(bytes); n++)
		cr_assert_eq(wire_digest(bytes, n), twin(zero, bytes, n, 1, 3), "length %zu", n);
}
