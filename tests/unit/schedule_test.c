/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* include/sluice/packet/schedule.h and dataplane/turns_fill.c. */
#include <errno.h>
#include <string.h>

#include <criterion/criterion.h>

#include <sluice/packet/schedule.h>
#include <sluice/tables.h>

#include "dataplane/turns_fill.h"
#include "tests/unit/random.h"

enum {
	N_SLOTS = 1009,
	N_BACKENDS = 8,
};

Test(schedule, turns_go_round_and_a_smaller_table_begins_anew)
{
	uint32_t turn = 0;

	for (uint32_t i = 0; i < 7; i++)
		cr_expect_eq(sl_schedule_turn(&turn, 3), i % 3);
	turn = 1008;
	cr_expect_eq(sl_schedule_turn(&turn, 251), 0);
	cr_expect_eq(sl_schedule_turn(&turn, 251), 1);
}

Test(schedule, the_source_hash_knows_nothing_of_the_source_port)
{
	const struct sl_hash_key key = {{1, 2}};
	struct sl_tuple tuple = {.family = SL_FAMILY_IPV4,
				 .protocol = SL_PROTOCOL_TCP,
				 .source.ipv4 = 0x0a000001,
				 .source_port = 7,
				 .destination.ipv4 = 0x0a000002,
				 .destination_port = 80};
	uint64_t hash = sl_source_hash(&key, &tuple);

	tuple.source_port = 8;
	cr_expect_eq(sl_source_hash(&key, &tuple), hash);
	cr_expect_eq(tuple.source_port, 8, "as it was");
	tuple.source.ipv4++;
	cr_expect_neq(sl_source_hash(&key, &tuple), hash);
	tuple.source.ipv4--;
	tuple.destination_port++;
	cr_expect_neq(sl_source_hash(&key, &tuple), hash);
}

/* The best by division and branches. */
static uint32_t naive_least(const uint32_t *weight, const uint32_t *flows, const uint32_t *max)
{
	uint32_t best = SL_NO_INDEX;

	for (uint32_t i = 0; i < N_BACKENDS; i++) {
		if (weight[i] == 0 || (max[i] != 0 && flows[i] >= max[i]))
			continue;
		if (best == SL_NO_INDEX || (long double)(flows[i] + 1ull) * weight[best] <
						   (long double)(flows[best] + 1ull) * weight[i])
			best = i;
	}
	return best;
}

Test(schedule, the_least_is_what_a_naive_search_finds)
{
	struct random random = random_seeded();

	for (uint32_t run = 0; run < 200000; run++) {
		uint32_t weight[N_BACKENDS], flows[N_BACKENDS], max[N_BACKENDS];
		uint32_t limit = run % 2 != 0 ? 6 : 0x7ffffffe;
		struct sl_least least = {0};

		for (uint32_t i = 0; i < N_BACKENDS; i++) {
			weight[i] = (uint32_t)(random_next(&random) % (run % 3 != 0 ? 4 : 65536));
			flows[i] = (uint32_t)(random_next(&random) % limit);
			max[i] = random_next(&random) % 2 != 0
					 ? (uint32_t)(random_next(&random) % limit)
					 : 0;
			sl_least_offer(&least, i, weight[i], flows[i], max[i]);
		}
		cr_assert_eq(least.weight != 0 ? least.backend : SL_NO_INDEX,
			     naive_least(weight, flows, max), "run %u", run);
	}
}

Test(schedule, nobody_is_the_least_of_nobody)
{
	struct sl_least least = {0};

	cr_expect_eq(least.weight, 0);
	sl_least_offer(&least, 1, 0, 0, 0);
	cr_expect_eq(least.weight, 0, "of weight 0");
	sl_least_offer(&least, 2, 1, 5, 5);
	cr_expect_eq(least.weight, 0, "full");
	sl_least_offer(&least, 3, 1, 4, 5);
	cr_expect_eq(least.backend, 3);
}

static void count_slots(const uint32_t *weight, size_t n, uint32_t *count, uint16_t *slot)
{
	struct maglev_backend backend[N_BACKENDS] = {0};

	for (size_t i = 0; i < n; i++)
		backend[i].weight = weight[i];
	cr_assert_eq(turns_fill(backend, n, slot, N_SLOTS), 0);
	memset(count, 0, N_BACKENDS * sizeof(*count));
	for (uint32_t i = 0; i < N_SLOTS; i++) {
		cr_assert(slot[i] < n);
		count[slot[i]]++;
	}
}

Test(schedule, equal_weights_alternate)
{
	const uint32_t weight[] = {5, 5, 5};
	uint32_t count[N_BACKENDS];
	uint16_t slot[N_SLOTS];

	count_slots(weight, 3, count, slot);
	for (uint32_t i = 0; i < N_SLOTS; i++)
		cr_assert_eq(slot[i], i % 3);
}

Test(schedule, shares_are_the_weights_to_one_slot)
{
	struct random random = random_seeded();

	for (uint32_t run = 0; run < 300; run++) {
		uint32_t weight[N_BACKENDS], count[N_BACKENDS], sum = 0;
		uint16_t slot[N_SLOTS];

		for (uint32_t i = 0; i < N_BACKENDS; i++) {
			weight[i] = (uint32_t)(random_next(&random) % (run % 2 != 0 ? 4 : 65536));
			sum += weight[i];
		}
		if (sum == 0)
			continue;
		count_slots(weight, N_BACKENDS, count, slot);
		for (uint32_t i = 0; i < N_BACKENDS; i++) {
			double share = (double)weight[i] * N_SLOTS / sum;

			cr_assert(weight[i] != 0 || count[i] == 0);
			cr_assert(count[i] + 2 > share && count[i] < share + 2,
				  "run %u, backend %u: %u slots, its share is %f", run, i, count[i],
				  share);
		}
	}
}

Test(schedule, light_ones_have_their_turns_apart)
{
	const uint32_t weight[] = {3, 1, 1, 1};
	uint32_t count[N_BACKENDS];
	uint16_t slot[N_SLOTS];

	count_slots(weight, 4, count, slot);
	for (uint32_t i = 0; i + 1 < N_SLOTS; i++)
		cr_assert(slot[i] == 0 || slot[i + 1] == 0, "slots %u and %u", i, i + 1);
}

Test(schedule, without_weight_nobody_has_a_turn)
{
	const struct maglev_backend backend[2] = {{.weight = 0}};
	uint16_t slot[N_SLOTS];

	cr_expect_eq(turns_fill(backend, 2, slot, N_SLOTS), -ENOENT);
	cr_expect_eq(slot[0], SL_NO_BACKEND_SLOT);
	cr_expect_eq(turns_fill(backend, 0, slot, N_SLOTS), -ENOENT);
	cr_expect_eq(turns_fill(backend, SL_NO_BACKEND_SLOT, slot, N_SLOTS), -EINVAL);
}
