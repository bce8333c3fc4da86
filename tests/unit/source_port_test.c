/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* The walk over a range of source ports: in it, distinct, from everywhere. */
#include <criterion/criterion.h>
#include <string.h>

#include <sluice/packet/source_port.h>

#include "tests/unit/random.h"

static uint8_t is_seen[65536];

static void assert_walk(uint16_t first, uint16_t last, uint32_t random)
{
	uint32_t n = (uint32_t)(last - first) + 1;
	uint16_t given[SL_SOURCE_PORT_TRIES];
	struct sl_port_walk walk;

	if (n > SL_SOURCE_PORT_TRIES)
		n = SL_SOURCE_PORT_TRIES;
	sl_port_walk_begin(&walk, first, last, random);
	for (uint32_t i = 0; i < n; i++) {
		given[i] = sl_from_be16(sl_port_walk_next(&walk));
		cr_assert(given[i] >= first && given[i] <= last, "%u..%u, random 0x%08x: %u", first,
			  last, random, given[i]);
		cr_assert(!is_seen[given[i]], "%u..%u, random 0x%08x: %u again", first, last,
			  random, given[i]);
		is_seen[given[i]] = 1;
	}
	for (uint32_t i = 0; i < n; i++)
		is_seen[given[i]] = 0;
}

Test(source_port, walk_gives_distinct_ports_of_the_range)
{
	static const uint16_t edge[] = {0, 1, 1024, 32768, 65535};
	static const uint32_t random_edge[] = {0, 1, 0xffff, 0x10000, 0x7fffffff, 0xffffffff};
	struct random random = random_seeded();

	for (size_t i = 0; i < SL_ARRAY_LEN(edge); i++)
		for (size_t k = i; k < SL_ARRAY_LEN(edge); k++)
			for (size_t r = 0; r < SL_ARRAY_LEN(random_edge); r++)
				assert_walk(edge[i], edge[k], random_edge[r]);
	for (int i = 0; i < 200000; i++) {
		uint16_t first = (uint16_t)random_next(&random);
		uint16_t last = (uint16_t)(first + random_next(&random) % (i & 1 ? 40 : 65536));

		if (last >= first)
			assert_walk(first, last, (uint32_t)(random_next(&random) >> 32));
	}
}

Test(source_port, ranges_of_up_to_sixteen_ports_are_seen_whole)
{
	struct random random = random_seeded();

	for (uint16_t n = 1; n <= SL_SOURCE_PORT_TRIES; n++) {
		for (int i = 0; i < 100; i++) {
			struct sl_port_walk walk;
			uint32_t seen = 0;

			sl_port_walk_begin(&walk, 5000, (uint16_t)(5000 + n - 1),
					   (uint32_t)(random_next(&random) >> 32));
			for (uint16_t k = 0; k < n; k++)
				seen |= 1u << (sl_from_be16(sl_port_walk_next(&walk)) - 5000);
			cr_assert_eq(seen, (1u << n) - 1, "%u ports", n);
		}
	}
}

Test(source_port, every_port_is_first_equally_often)
{
	static uint32_t count[1000];
	struct random random = random_seeded();

	for (int i = 0; i < 1000000; i++) {
		struct sl_port_walk walk;

		sl_port_walk_begin(&walk, 20000, 20999, (uint32_t)(random_next(&random) >> 32));
		count[sl_from_be16(sl_port_walk_next(&walk)) - 20000]++;
	}
	/* Six standard deviations of a binomial of mean 1,000. */
	for (int i = 0; i < 1000; i++)
		cr_assert(count[i] > 810 && count[i] < 1190, "port %d: %u", i, count[i]);
}
