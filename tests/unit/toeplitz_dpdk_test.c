/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* The Toeplitz hash against DPDK's rte_softrss(), which its drivers and their users compute. */
#include <criterion/criterion.h>
#include <string.h>

#include <rte_thash.h>

#include <sluice/packet/toeplitz.h>

#include "tests/unit/random.h"

static struct sl_toeplitz toeplitz;

static uint32_t softrss(const struct sl_tuple *tuple, const uint8_t *key)
{
	union rte_thash_tuple input;

	if (tuple->family == SL_FAMILY_IPV4) {
		input.v4.src_addr = sl_from_be32(tuple->source.ipv4);
		input.v4.dst_addr = sl_from_be32(tuple->destination.ipv4);
		input.v4.sport = sl_from_be16(tuple->source_port);
		input.v4.dport = sl_from_be16(tuple->destination_port);
		return rte_softrss((uint32_t *)&input, RTE_THASH_V4_L4_LEN, key);
	}
	for (int i = 0; i < 4; i++) {
		uint32_t word = sl_from_be32(tuple->source.word[i]);

		memcpy(input.v6.src_addr + 4 * i, &word, 4);
		word = sl_from_be32(tuple->destination.word[i]);
		memcpy(input.v6.dst_addr + 4 * i, &word, 4);
	}
	input.v6.sport = sl_from_be16(tuple->source_port);
	input.v6.dport = sl_from_be16(tuple->destination_port);
	return rte_softrss((uint32_t *)&input, RTE_THASH_V6_L4_LEN, key);
}

Test(toeplitz_dpdk, hash_equals_rte_softrss)
{
	struct random random = random_seeded();

	for (int i = 0; i < 10000; i++) {
		uint32_t key[13];
		struct sl_tuple tuple;

		random_fill(&random, key, sizeof(key));
		random_fill(&random, &tuple, sizeof(tuple));
		tuple.family = i & 1 ? SL_FAMILY_IPV6 : SL_FAMILY_IPV4;
		cr_assert(sl_toeplitz_init(&toeplitz, (const uint8_t *)key, sizeof(key)));
		cr_assert_eq(sl_toeplitz_hash(&toeplitz, &tuple),
			     softrss(&tuple, (const uint8_t *)key), "row %d", i);
	}
}
