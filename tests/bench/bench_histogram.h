/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * Latencies, so many that only their number by size is kept: a log-linear histogram, as that of
 * HdrHistogram (http://hdrhistogram.org), whose C library Debian 12 does not have. Each power of two
 * is cut into 128 parts, so what is read back differs from what was added by less than 0.4 %. Fixed
 * memory, no division and no allocation to add a value. One thread.
 */
#pragma once

#include <sluice/base.h>

enum {
	HISTOGRAM_PART_BITS = 7,
	HISTOGRAM_VALUE_BITS = 40, /* larger values count as the largest */
	HISTOGRAM_PARTS = 1 << HISTOGRAM_PART_BITS,
	HISTOGRAM_BUCKETS = (HISTOGRAM_VALUE_BITS - HISTOGRAM_PART_BITS + 1) * HISTOGRAM_PARTS,
};

struct histogram {
	uint64_t n;
	uint64_t max;
	uint64_t count[HISTOGRAM_BUCKETS];
};

/** Which bucket counts @value. Below 256 each value has its own. */
SL_INLINE uint32_t histogram_bucket(uint64_t value)
{
	const uint64_t largest = (1ull << HISTOGRAM_VALUE_BITS) - 1;
	uint32_t shift;

	if (SL_UNLIKELY(value > largest))
		value = largest;
	shift = 63u - HISTOGRAM_PART_BITS - (uint32_t)__builtin_clzll(value | HISTOGRAM_PARTS);
	return (shift << HISTOGRAM_PART_BITS) + (uint32_t)(value >> shift);
}

SL_INLINE void histogram_add(struct histogram *histogram, uint64_t value)
{
	histogram->n++;
	histogram->count[histogram_bucket(value)]++;
	if (value > histogram->max)
		histogram->max = value;
}

/** Forgets all values. */
void histogram_reset(struct histogram *histogram);

/**
 * The least value that at least @fraction of all are no larger than, 0 < @fraction <= 1, to within
 * half a bucket; 0: there are none.
 */
uint64_t histogram_value_at(const struct histogram *histogram, double fraction);
