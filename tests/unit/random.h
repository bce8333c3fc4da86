/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* Random input of the twin tests: the seed is printed, and SLUICE_SEED repeats a run. */
#pragma once

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

struct random {
	uint64_t state;
};

/* xorshift64*, Vigna 2016. */
static inline uint64_t random_next(struct random *random)
{
	random->state ^= random->state >> 12;
	random->state ^= random->state << 25;
	random->state ^= random->state >> 27;
	return random->state * 2685821657736338717ull;
}

static inline struct random random_seeded(void)
{
	const char *given = getenv("SLUICE_SEED");
	struct random random = {given != NULL ? strtoull(given, NULL, 0)
					      : (uint64_t)time(NULL) * 2654435761u + 1};

	fprintf(stderr, "# seed %llu (SLUICE_SEED)\n", (unsigned long long)random.state);
	return random;
}

static inline void random_fill(struct random *random, void *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++)
		((uint8_t *)bytes)[i] = (uint8_t)(random_next(random) >> 32);
}
