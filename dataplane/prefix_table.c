/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * Lays prefixes out as ranges: in the order of their first addresses, shorter ones first, each begins a
 * range, and where it ends the one that it lies in goes on.
 */
#include "dataplane/prefix_table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
	MAX_DEPTH = 129, /* prefixes that lie in each other: one of each length */
};

/* A prefix under way: the ranges that follow are its own until @last. */
struct open_prefix {
	struct prefix_number last;
	uint32_t value;
};

struct layout {
	struct prefix_range *range;
	uint32_t n;
	struct open_prefix open[MAX_DEPTH];
	uint32_t n_open;
};

static int compare(const void *left, const void *right)
{
	const struct prefix *a = left;
	const struct prefix *b = right;
	int order = a->family - b->family;

	if (order == 0)
		order = memcmp(&a->addr, &b->addr, sizeof(a->addr));
	return order != 0 ? order : a->length - b->length;
}

static struct prefix_number last_of(const struct prefix *prefix)
{
	struct prefix_number last = prefix_number(&prefix->addr, prefix->family);
	uint32_t n_bits = prefix->family == SL_FAMILY_IPV4 ? 32 : 128;
	uint32_t n_host = n_bits - prefix->length;

	if (n_host >= 128)
		return (struct prefix_number){.high = ~0ull, .low = ~0ull};
	if (n_host > 64)
		last.high |= (1ull << (n_host - 64)) - 1;
	last.low |= n_host >= 64 ? ~0ull : (1ull << n_host) - 1;
	return last;
}

static void begin_range(struct layout *layout, struct prefix_number first, uint32_t value)
{
	struct prefix_range *before = layout->n > 0 ? &layout->range[layout->n - 1] : NULL;

	/* A prefix that begins where another does, or just where one ended. */
	if (before != NULL && before->first.high == first.high && before->first.low == first.low) {
		before->value = value;
		return;
	}
	layout->range[layout->n++] = (struct prefix_range){.first = first, .value = value};
}

/* The innermost prefix ends; @n_bits: of an address. */
static void end_prefix(struct layout *layout, uint32_t n_bits)
{
	struct prefix_number next = layout->open[--layout->n_open].last;
	bool is_very_last =
		n_bits == 32 ? next.low == 0xffffffff : next.high == ~0ull && next.low == ~0ull;

	if (is_very_last)
		return;
	next.low++;
	next.high += next.low == 0;
	begin_range(layout, next,
		    layout->n_open > 0 ? layout->open[layout->n_open - 1].value : SL_NO_INDEX);
}

static void lay_out(struct layout *layout, const struct prefix *prefix, uint32_t n, uint32_t n_bits)
{
	for (uint32_t i = 0; i < n; i++) {
		struct prefix_number first = prefix_number(&prefix[i].addr, prefix[i].family);

		while (layout->n_open > 0 &&
		       prefix_number_is_below(layout->open[layout->n_open - 1].last, first))
			end_prefix(layout, n_bits);
		begin_range(layout, first, prefix[i].value);
		/* The same prefix once more takes the place of the one before. */
		if (i > 0 && compare(&prefix[i - 1], &prefix[i]) == 0)
			layout->n_open--;
		layout->open[layout->n_open++] =
			(struct open_prefix){.last = last_of(&prefix[i]), .value = prefix[i].value};
	}
	while (layout->n_open > 0)
		end_prefix(layout, n_bits);
}

int prefix_table_init(struct prefix_table *table, struct prefix *prefix, uint32_t n)
{
	uint32_t n_ipv4 = 0;

	memset(table, 0, sizeof(*table));
	if (n > 1)
		qsort(prefix, n, sizeof(*prefix), compare);
	while (n_ipv4 < n && prefix[n_ipv4].family == SL_FAMILY_IPV4)
		n_ipv4++;
	for (int i = 0; i < 2; i++) {
		const struct prefix *first = i == 0 ? prefix : prefix + n_ipv4;
		uint32_t n_of = i == 0 ? n_ipv4 : n - n_ipv4;
		struct layout layout = {.n = 0};

		if (n_of == 0)
			continue;
		layout.range = calloc(2 * (size_t)n_of, sizeof(*layout.range));
		if (layout.range == NULL) {
			prefix_table_fini(table);
			return -ENOMEM;
		}
		lay_out(&layout, first, n_of, i == 0 ? 32 : 128);
		table->range[i] = layout.range;
		table->n_ranges[i] = layout.n;
	}
	return 0;
}

void prefix_table_fini(struct prefix_table *table)
{
	free(table->range[0]);
	free(table->range[1]);
	memset(table, 0, sizeof(*table));
}
