/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* dataplane/prefix_table.h against a look at every prefix. */
#include <criterion/criterion.h>
#include <string.h>

#include "dataplane/prefix_table.h"
#include "tests/unit/random.h"

enum {
	N_PREFIXES = 60,
	N_ROUNDS = 2000,
	N_LOOKS = 200,
};

static bool has_prefix(const struct prefix *prefix, const union sl_addr *addr)
{
	for (uint32_t bit = 0; bit < prefix->length; bit++)
		if (((prefix->addr.byte[bit / 8] ^ addr->byte[bit / 8]) >> (7 - bit % 8) & 1) != 0)
			return false;
	return true;
}

/* Of two that are the same, either. */
static bool is_longest(const struct prefix *prefix, uint32_t n, const union sl_addr *addr,
		       uint8_t family, uint32_t value)
{
	int longest = -1;
	int found = -1;

	for (uint32_t i = 0; i < n; i++) {
		if (prefix[i].family != family || !has_prefix(&prefix[i], addr))
			continue;
		if (prefix[i].length > longest)
			longest = prefix[i].length;
		if (prefix[i].value == value)
			found = prefix[i].length;
	}
	return value == SL_NO_INDEX ? longest == -1 : found == longest;
}

/* Few different bytes, so that prefixes lie in each other, and touch. */
static union sl_addr random_addr(struct random *random, uint8_t family)
{
	static const uint8_t bytes[] = {0, 1, 127, 128, 254, 255};
	union sl_addr addr = {.word = {0}};

	for (int i = 0; i < (family == SL_FAMILY_IPV4 ? 4 : 16); i++)
		addr.byte[i] = bytes[random_next(random) % sizeof(bytes)];
	return addr;
}

static struct prefix random_prefix(struct random *random, uint32_t value)
{
	uint8_t family = random_next(random) & 1 ? SL_FAMILY_IPV4 : SL_FAMILY_IPV6;
	uint32_t n_bits = family == SL_FAMILY_IPV4 ? 32 : 128;
	struct prefix prefix = {.addr = random_addr(random, family),
				.family = family,
				.length = (uint8_t)(random_next(random) % (n_bits + 1)),
				.value = value};

	for (uint32_t bit = prefix.length; bit < n_bits; bit++)
		prefix.addr.byte[bit / 8] &= (uint8_t) ~(0x80u >> bit % 8);
	return prefix;
}

Test(prefix_table, the_longest_prefix_is_found)
{
	struct random random = random_seeded();

	for (int round = 0; round < N_ROUNDS; round++) {
		struct prefix prefix[N_PREFIXES];
		struct prefix_table table;
		uint32_t n = (uint32_t)(random_next(&random) % N_PREFIXES);

		for (uint32_t i = 0; i < n; i++)
			prefix[i] = random_prefix(&random, i);
		cr_assert_eq(prefix_table_init(&table, prefix, n), 0);
		for (int look = 0; look < N_LOOKS; look++) {
			uint8_t family = look & 1 ? SL_FAMILY_IPV4 : SL_FAMILY_IPV6;
			union sl_addr addr = random_addr(&random, family);
			uint32_t value = prefix_table_find(&table, &addr, family);

			cr_assert(is_longest(prefix, n, &addr, family, value),
				  "round %d, look %d: %u", round, look, value);
		}
		prefix_table_fini(&table);
	}
}

Test(prefix_table, an_empty_one_has_nothing)
{
	struct prefix_table table;
	union sl_addr addr = {.word = {0}};

	cr_assert_eq(prefix_table_init(&table, NULL, 0), 0);
	cr_expect_eq(prefix_table_find(&table, &addr, SL_FAMILY_IPV4), SL_NO_INDEX);
	cr_expect_eq(prefix_table_find(&table, &addr, SL_FAMILY_IPV6), SL_NO_INDEX);
	prefix_table_fini(&table);
}

Test(prefix_table, ends_of_the_address_space_are_covered)
{
	struct prefix prefix[] = {
		{.family = SL_FAMILY_IPV4, .length = 1, .value = 1},
		{.addr.byte = {255, 255, 255, 255},
		 .family = SL_FAMILY_IPV4,
		 .length = 32,
		 .value = 2},
		{.family = SL_FAMILY_IPV6, .length = 0, .value = 3},
	};
	union sl_addr last = {.word = {~0u, ~0u, ~0u, ~0u}};
	union sl_addr middle = {.byte = {128}};
	union sl_addr first = {.word = {0}};
	struct prefix_table table;

	cr_assert_eq(prefix_table_init(&table, prefix, 3), 0);
	cr_expect_eq(prefix_table_find(&table, &first, SL_FAMILY_IPV4), 1);
	cr_expect_eq(prefix_table_find(&table, &middle, SL_FAMILY_IPV4), SL_NO_INDEX);
	cr_expect_eq(prefix_table_find(&table, &last, SL_FAMILY_IPV4), 2);
	cr_expect_eq(prefix_table_find(&table, &first, SL_FAMILY_IPV6), 3);
	cr_expect_eq(prefix_table_find(&table, &last, SL_FAMILY_IPV6), 3);
	prefix_table_fini(&table);
}
