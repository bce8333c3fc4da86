/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* The benchmarks' histogram beside all its values, sorted. */
#include <stdlib.h>

#include <criterion/criterion.h>

#include "tests/bench/bench_histogram.h"

enum {
	N_VALUES = 20000,
};

static struct histogram histogram;

static uint64_t random_state = 0x9e3779b97f4a7c15ull;

/* xorshift64*, Vigna 2016; of any size. */
static uint64_t random_value(void)
{
	random_state ^= random_state >> 12;
	random_state ^= random_state << 25;
	random_state ^= random_state >> 27;
	return (random_state * 2685821657736338717ull) >> (25 + random_state % 39);
}

static int compare(const void *left, const void *right)
{
	uint64_t a = *(const uint64_t *)left;
	uint64_t b = *(const uint64_t *)right;

	return (a > b) - (a < b);
}

static uint64_t distance(uint64_t a, uint64_t b)
{
	return a > b ? a - b : b - a;
}

Test(histogram, quantiles_are_those_of_the_sorted_values_to_half_a_percent)
{
	static const double fractions[] = {0.0001, 0.01, 0.5, 0.9, 0.99, 0.999, 0.9999, 1};
	static uint64_t value[N_VALUES];

	histogram_reset(&histogram);
	for (int i = 0; i < N_VALUES; i++) {
		value[i] = random_value();
		histogram_add(&histogram, value[i]);
	}
	qsort(value, N_VALUES, sizeof(value[0]), compare);
	for (size_t i = 0; i < SL_ARRAY_LEN(fractions); i++) {
		int rank = (int)(fractions[i] * N_VALUES + 0.5);
		uint64_t right = value[rank - 1];
		uint64_t read = histogram_value_at(&histogram, fractions[i]);

		cr_assert(distance(read, right) * 200 <= right, "%g: %llu for %llu", fractions[i],
			  (unsigned long long)read, (unsigned long long)right);
	}
	cr_assert_eq(histogram.max, value[N_VALUES - 1]);
	cr_assert_eq(histogram.n, N_VALUES);
}

Test(histogram, small_values_are_exact)
{
	for (uint64_t value = 0; value < 256; value++) {
		histogram_reset(&histogram);
		histogram_add(&histogram, value);
		/* The largest, so that nothing bounds what is read but the bucket. */
		histogram_add(&histogram, 1000);
		cr_assert_eq(histogram_value_at(&histogram, 0.5), value, "%llu",
			     (unsigned long long)value);
	}
}

Test(histogram, buckets_go_up_one_by_one)
{
	uint32_t last = 0;

	for (uint64_t value = 1; value < 1 << 20; value++) {
		uint32_t bucket = histogram_bucket(value);

		cr_assert(bucket == last || bucket == last + 1, "%llu", (unsigned long long)value);
		last = bucket;
	}
}

Test(histogram, the_largest_values_fall_into_the_last_bucket)
{
	cr_assert_eq(histogram_bucket(UINT64_MAX), HISTOGRAM_BUCKETS - 1);
	cr_assert_eq(histogram_bucket((1ull << HISTOGRAM_VALUE_BITS) - 1), HISTOGRAM_BUCKETS - 1);
}

Test(histogram, an_empty_one_says_zero)
{
	histogram_reset(&histogram);
	cr_assert_eq(histogram_value_at(&histogram, 0.99), 0);
}
