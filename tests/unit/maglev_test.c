/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* The slot table: golden digests, a naive twin, balance, disruption, and what is refused. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include <sluice/limits.h>
#include <sluice/packet/siphash.h>
#include <sluice/tables.h>

#include "dataplane/maglev_fill.h"
#include "tests/unit/random.h"
#include "wire/wire_abi.h"

static const struct sl_hash_key fixed_key = {{0x0123456789abcdefull, 0xfedcba9876543210ull}};

static void make(struct maglev_backend *backend, size_t n, uint32_t (*weight)(size_t))
{
	memset(backend, 0, n * sizeof(*backend));
	for (size_t i = 0; i < n; i++) {
		backend[i].family = SL_FAMILY_IPV4;
		backend[i].protocol = SL_PROTOCOL_TCP;
		backend[i].addr.ipv4 = sl_to_be32(0x0a000002u + (uint32_t)i);
		backend[i].port = SL_BE16(8080);
		backend[i].weight = weight(i);
	}
}

static uint32_t one(size_t i)
{
	(void)i;
	return 1;
}

static uint32_t rising(size_t i)
{
	return (uint32_t)(i % 10) + 1;
}

/* Made once by this code, compared ever since: a table that changes moves live connections. */
Test(maglev, tables_are_golden)
{
	static const struct {
		size_t n;
		uint32_t (*weight)(size_t);
		uint32_t n_slots;
		uint64_t digest;
	} row[] = {
		{1, one, 251, 0x72460c746bc21dba},      {3, one, 251, 0x0d535f93215441b8},
		{3, rising, 65537, 0x85f541cd6b7bf724}, {10, one, 65537, 0xfa52f56de64d403b},
		{100, one, 65537, 0x7d227ad89f4bc708},  {100, rising, 65537, 0x865c1f636c872585},
		{655, one, 65537, 0x9c6f8d8487857d92},
	};
	struct maglev_backend backend[655];
	static uint16_t slot[65537];

	for (size_t i = 0; i < SL_ARRAY_LEN(row); i++) {
		make(backend, row[i].n, row[i].weight);
		cr_assert_eq(maglev_fill(&fixed_key, backend, row[i].n, slot, row[i].n_slots), 0);
		cr_expect_eq(wire_digest(slot, row[i].n_slots * sizeof(slot[0])), row[i].digest,
			     "row %zu: %zu backends, %u slots: 0x%016llx", i, row[i].n,
			     row[i].n_slots,
			     (unsigned long long)wire_digest(slot, row[i].n_slots * 2));
	}
}

/* The paper's pseudo code with tables of permutations, turns in the same order and shares. */
static void twin(const struct maglev_backend *backend, size_t n, uint16_t *slot, uint32_t n_slots)
{
	uint64_t rank[64];
	uint32_t offset[64];
	uint32_t skip[64];
	uint32_t tried[64] = {0};
	uint32_t credit[64] = {0};
	size_t order[64];
	uint32_t heaviest = 0;
	uint32_t filled = 0;

	for (size_t i = 0; i < n; i++) {
		uint64_t word[4] = {
			(uint64_t)backend[i].addr.word[1] << 32 | backend[i].addr.word[0],
			(uint64_t)backend[i].addr.word[3] << 32 | backend[i].addr.word[2],
			(uint64_t)backend[i].protocol << 32 | (uint64_t)backend[i].family << 16 |
				backend[i].port,
			0};

		offset[i] = (uint32_t)(sl_siphash13_words(&fixed_key, word, 4) % n_slots);
		word[3] = 1;
		skip[i] = (uint32_t)(sl_siphash13_words(&fixed_key, word, 4) % (n_slots - 1)) + 1;
		word[3] = 2;
		rank[i] = sl_siphash13_words(&fixed_key, word, 4);
		order[i] = i;
		heaviest = backend[i].weight > heaviest ? backend[i].weight : heaviest;
	}
	for (size_t i = 0; i < n; i++)
		for (size_t j = i + 1; j < n; j++)
			if (rank[order[j]] < rank[order[i]]) {
				size_t swap = order[i];

				order[i] = order[j];
				order[j] = swap;
			}
	memset(slot, 0xff, n_slots * sizeof(*slot));
	while (filled < n_slots) {
		for (size_t k = 0; k < n && filled < n_slots; k++) {
			size_t i = order[k];

			credit[i] += backend[i].weight;
			if (credit[i] < heaviest || backend[i].weight == 0)
				continue;
			credit[i] -= heaviest;
			for (;; tried[i]++) {
				uint32_t at =
					(uint32_t)((offset[i] + (uint64_t)tried[i] * skip[i]) %
						   n_slots);

				if (slot[at] == 0xffff) {
					slot[at] = (uint16_t)i;
					break;
				}
			}
			filled++;
		}
	}
}

/* Few backends and many, whose last slots are picked otherwise; sizes to both ends. */
Test(maglev, table_equals_the_naive_twins)
{
	static const struct {
		uint32_t n_slots;
		int n_rows;
	} size[] = {{2, 20},    {3, 20},     {5, 20},     {17, 20},
		    {251, 100}, {4999, 100}, {65537, 20}, {SL_MAX_SLOTS, 2}};
	struct random random = random_seeded();
	struct maglev_backend backend[64];
	static uint16_t slot[SL_MAX_SLOTS];
	static uint16_t expected[SL_MAX_SLOTS];

	for (size_t s = 0; s < SL_ARRAY_LEN(size); s++) {
		uint32_t n_slots = size[s].n_slots;

		for (int i = 0; i < size[s].n_rows; i++) {
			size_t n = random_next(&random) % 49 + 1;

			make(backend, n, rising);
			for (size_t k = 0; k < n; k++) {
				backend[k].weight = (uint32_t)(random_next(&random) % 20);
				backend[k].port = (be16_t)random_next(&random);
			}
			backend[0].weight = 7;
			cr_assert_eq(maglev_fill(&fixed_key, backend, n, slot, n_slots), 0);
			twin(backend, n, expected, n_slots);
			cr_assert_arr_eq(slot, expected, n_slots * sizeof(slot[0]),
					 "row %d: %zu backends, %u slots", i, n, n_slots);
		}
	}
}

Test(maglev, order_of_backends_does_not_matter)
{
	struct maglev_backend backend[50];
	struct maglev_backend turned[50];
	static uint16_t slot[65537];
	static uint16_t other[65537];

	make(backend, 50, rising);
	for (size_t i = 0; i < 50; i++)
		turned[49 - i] = backend[i];
	cr_assert_eq(maglev_fill(&fixed_key, backend, 50, slot, 65537), 0);
	cr_assert_eq(maglev_fill(&fixed_key, turned, 50, other, 65537), 0);
	for (uint32_t i = 0; i < 65537; i++)
		cr_assert_eq(slot[i], 49 - other[i]);
}

static void assert_balance(size_t n, uint32_t (*weight)(size_t))
{
	struct maglev_backend backend[500];
	static uint16_t slot[65537];
	uint32_t count[500] = {0};
	double total = 0;

	make(backend, n, weight);
	for (size_t i = 0; i < n; i++)
		total += weight(i);
	cr_assert_eq(maglev_fill(&fixed_key, backend, n, slot, 65537), 0);
	for (uint32_t i = 0; i < 65537; i++)
		count[slot[i]]++;
	for (size_t i = 0; i < n; i++) {
		double fair = 65537 * weight(i) / total;
		double slack = fair * 0.01 > 1 ? fair * 0.01 : 1;

		cr_assert(count[i] <= fair + slack && count[i] >= fair - slack,
			  "backend %zu of %zu has %u slots, fair %.1f", i, n, count[i], fair);
	}
}

Test(maglev, shares_follow_weights_within_one_percent)
{
	assert_balance(3, one);
	assert_balance(10, one);
	assert_balance(100, one);
	assert_balance(500, one);
	assert_balance(10, rising);
	assert_balance(100, rising);
}

static double disruption(size_t n)
{
	struct maglev_backend backend[500];
	static uint16_t before[65537];
	static uint16_t after[65537];
	uint64_t moved = 0;

	make(backend, n, one);
	cr_assert_eq(maglev_fill(&fixed_key, backend, n, before, 65537), 0);
	for (size_t r = 0; r < 30; r++) {
		size_t gone = r * n / 30;

		backend[gone].weight = 0;
		cr_assert_eq(maglev_fill(&fixed_key, backend, n, after, 65537), 0);
		backend[gone].weight = 1;
		for (uint32_t i = 0; i < 65537; i++)
			moved += before[i] != gone && before[i] != after[i];
	}
	return (double)moved / 30 / 65537;
}

Test(maglev, few_slots_move_when_a_backend_leaves)
{
	cr_assert_leq(disruption(10), 0.0030);
	cr_assert_leq(disruption(100), 0.0063);
	cr_assert_leq(disruption(500), 0.0105);
}

Test(maglev, weight_zero_gets_no_slot)
{
	struct maglev_backend backend[3];
	uint16_t slot[251];

	make(backend, 3, one);
	backend[1].weight = 0;
	cr_assert_eq(maglev_fill(&fixed_key, backend, 3, slot, 251), 0);
	for (int i = 0; i < 251; i++)
		cr_assert_neq(slot[i], 1);
	backend[0].weight = 0;
	backend[2].weight = 0;
	cr_assert_eq(maglev_fill(&fixed_key, backend, 3, slot, 251), -ENOENT);
	for (int i = 0; i < 251; i++)
		cr_assert_eq(slot[i], SL_NO_BACKEND_SLOT);
}

Test(maglev, sizes_that_are_not_prime_are_refused)
{
	struct maglev_backend backend[1];
	uint16_t slot[1024];

	make(backend, 1, one);
	cr_assert_eq(maglev_fill(&fixed_key, backend, 1, slot, 1000), -EINVAL);
	cr_assert_eq(maglev_fill(&fixed_key, backend, 65535, slot, 251), -EINVAL);
	/* The next prime above the limit. */
	cr_assert_eq(maglev_fill(&fixed_key, backend, 1, slot, 1048583), -EINVAL);
	cr_assert(maglev_is_prime(2) && maglev_is_prime(3) && maglev_is_prime(251) &&
		  maglev_is_prime(65537) && maglev_is_prime(SL_MAX_SLOTS));
	cr_assert(!maglev_is_prime(0) && !maglev_is_prime(1) && !maglev_is_prime(9) &&
		  !maglev_is_prime(65535));
}
