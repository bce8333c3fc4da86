/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * The longest prefix that an address has. The prefixes are laid out as ranges beside each other, each
 * with the value of the longest one that covers it, so that a look-up is one binary search, whatever
 * their lengths. Built once, then read by any thread.
 */
#pragma once

#include <sluice/base.h>
#include <sluice/tables.h>

struct prefix {
	union sl_addr addr; /* bits beyond length are 0 */
	uint8_t family;
	uint8_t length;
	uint32_t value; /* not SL_NO_INDEX */
};

/** An address of either family as a number, host order. */
struct prefix_number {
	uint64_t high; /* 0 for IPv4 */
	uint64_t low;
};

/** Where a range begins that ends where the next one does, or at the last address. */
struct prefix_range {
	struct prefix_number first;
	uint32_t value; /* SL_NO_INDEX: no prefix covers it */
	uint32_t reserved;
};

struct prefix_table {
	uint32_t n_ranges[2]; /* of IPv4, of IPv6 */
	struct prefix_range *range[2];
};

/**
 * Fills @table. @prefix: @n of them, in any order, which the call leaves sorted; of two that are the same
 * the later decides. 0 or -ENOMEM. The caller ends it with prefix_table_fini().
 */
int prefix_table_init(struct prefix_table *table, struct prefix *prefix, uint32_t n) SL_MUST_USE;
void prefix_table_fini(struct prefix_table *table);

SL_INLINE struct prefix_number prefix_number(const union sl_addr *addr, uint8_t family)
{
	struct prefix_number number = {.low = sl_from_be32(addr->word[0])};

	if (family == SL_FAMILY_IPV4)
		return number;
	number.high = number.low << 32 | sl_from_be32(addr->word[1]);
	number.low = (uint64_t)sl_from_be32(addr->word[2]) << 32 | sl_from_be32(addr->word[3]);
	return number;
}

SL_INLINE bool prefix_number_is_below(struct prefix_number a, struct prefix_number b)
{
	return a.high < b.high || (a.high == b.high && a.low < b.low);
}

/** The value of the longest prefix that @addr has, or SL_NO_INDEX. */
SL_INLINE uint32_t prefix_table_find(const struct prefix_table *table, const union sl_addr *addr,
				     uint8_t family)
{
	const struct prefix_range *range = table->range[family != SL_FAMILY_IPV4];
	uint32_t n = table->n_ranges[family != SL_FAMILY_IPV4];
	struct prefix_number wanted = prefix_number(addr, family);
	uint32_t low = 0;

	/* The last range that does not begin beyond the address. */
	while (n > 0) {
		uint32_t half = n / 2;
		uint32_t middle = low + half;

		if (prefix_number_is_below(wanted, range[middle].first)) {
			n = half;
		} else {
			low = middle + 1;
			n -= half + 1;
		}
	}
	return low == 0 ? SL_NO_INDEX : range[low - 1].value;
}
