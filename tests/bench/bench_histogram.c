/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* The log-linear histogram: see bench_histogram.h. */
#include "tests/bench/bench_histogram.h"

#include <string.h>

void histogram_reset(struct histogram *histogram)
{
	memset(histogram, 0, sizeof(*histogram));
}

/* The middle of what a bucket counts. */
static uint64_t bucket_value(uint32_t bucket)
{
	uint32_t shift;
	uint64_t lowest;

	if (bucket < 2 * HISTOGRAM_PARTS)
		return bucket;
	shift = (bucket >> HISTOGRAM_PART_BITS) - 1;
	lowest = (uint64_t)(bucket % HISTOGRAM_PARTS + HISTOGRAM_PARTS) << shift;
	return lowest + (1ull << shift) / 2;
}

uint64_t histogram_value_at(const struct histogram *histogram, double fraction)
{
	double wanted = fraction * (double)histogram->n;
	uint64_t seen = 0;

	for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
		seen += histogram->count[i];
		if (seen != 0 && (double)seen >= wanted)
			return bucket_value(i) < histogram->max ? bucket_value(i) : histogram->max;
	}
	return histogram->max;
}
