/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* dataplane/dpdk/hash_burst.h against sl_flow_hash(), one tuple after the other. */
#include <criterion/criterion.h>
#include <string.h>

#include "dataplane/dpdk/hash_burst.h"
#include "tests/unit/random.h"

static void hash_both(struct random *random, uint8_t family)
{
	struct sl_tuple tuple[HASH_BURST];
	uint64_t hash[HASH_BURST];
	struct hash_words words;
	struct sl_hash_key key;
	uint32_t n = (uint32_t)(random_next(random) % (HASH_BURST + 1));

	random_fill(random, &key, sizeof(key));
	for (uint32_t i = 0; i < n; i++) {
		random_fill(random, &tuple[i], sizeof(tuple[i]));
		tuple[i].family = family;
		hash_put(&words, i, &tuple[i]);
	}
	hash_burst(&key, &words, n, family, hash);
	for (uint32_t i = 0; i < n; i++)
		cr_assert_eq(hash[i], sl_flow_hash(&key, &tuple[i]), "family %u, %u of %u", family,
			     i, n);
}

Test(hash_burst, many_at_once_have_the_hashes_that_each_has_alone)
{
	struct random random = random_seeded();

	for (int round = 0; round < 20000; round++) {
		hash_both(&random, SL_FAMILY_IPV4);
		hash_both(&random, SL_FAMILY_IPV6);
	}
}
