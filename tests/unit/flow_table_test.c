/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* The flow table against a naive list: both directions together, full, drained, refilled. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "dataplane/dpdk/flow_table.h"
#include "tests/unit/random.h"

static const struct sl_hash_key key = {{1, 2}};

static struct sl_tuple client_tuple(uint32_t n, uint8_t family)
{
	struct sl_tuple tuple = {.family = family, .protocol = SL_PROTOCOL_TCP};

	tuple.source.word[0] = sl_to_be32(0x0b000000u + (n >> 4));
	tuple.destination.word[0] = SL_BE32(0xcb00710a);
	if (family == SL_FAMILY_IPV6) {
		tuple.source.word[3] = tuple.source.word[0];
		tuple.source.word[0] = SL_BE32(0x20010db8);
		tuple.destination.word[3] = 5;
	}
	tuple.source_port = sl_to_be16((uint16_t)(1024 + (n & 15)));
	tuple.destination_port = SL_BE16(80);
	return tuple;
}

static struct sl_flow *put(struct flow_table *table, uint32_t n, uint8_t family, int *status)
{
	struct sl_tuple tuple = client_tuple(n, family);
	const union sl_addr backend = {.byte = {10, 0, 0, (uint8_t)(n % 7 + 1)}};
	bool is_embryonic_full;
	struct sl_flow *flow = flow_table_take(table, &is_embryonic_full);
	struct sl_flow *other;

	*status = -ENOMEM;
	if (flow == NULL)
		return NULL;
	sl_flow_open(flow, &tuple, &backend, SL_BE16(8080));
	flow->backend = n & (SL_MAX_BACKENDS - 1);
	*status = flow_table_insert(table, flow, sl_flow_hash(&key, &tuple), &other);
	if (*status != 0) {
		flow_table_cancel(table, flow);
		return NULL;
	}
	flow->state = SL_FLOW_ESTABLISHED;
	flow_table_promoted(table);
	return flow;
}

static struct sl_flow *find(struct flow_table *table, const struct sl_tuple *tuple,
			    enum sl_direction *direction)
{
	return flow_table_find(table, sl_flow_hash(&key, tuple), tuple, direction);
}

static void assert_found(struct flow_table *table, uint32_t n, uint8_t family, bool is_there)
{
	struct sl_tuple tuple = client_tuple(n, family);
	enum sl_direction direction;
	struct sl_flow *flow = find(table, &tuple, &direction);

	cr_assert_eq(flow != NULL, is_there, "flow %u", n);
	if (flow == NULL)
		return;
	cr_assert_eq(flow->backend, n);
	cr_assert_eq(direction, SL_DIRECTION_FORWARD);
	tuple = sl_flow_tuple(flow, SL_DIRECTION_REPLY);
	cr_assert_eq(find(table, &tuple, &direction), flow, "reply of flow %u", n);
	cr_assert_eq(direction, SL_DIRECTION_REPLY);
}

Test(flow_table, entries_and_buckets_are_cache_lines)
{
	struct flow_table table;

	cr_assert_eq(flow_table_init(&table, SL_FAMILY_IPV4, 1048576, &key, false), 0);
	cr_assert_eq(table.stride, 64);
	cr_assert_leq((double)(table.entries_bytes + table.bucket_bytes) / 1048576, 80.0);
	flow_table_fini(&table);
	cr_assert_eq(flow_table_init(&table, SL_FAMILY_IPV6, 1048576, &key, false), 0);
	cr_assert_leq((double)(table.entries_bytes + table.bucket_bytes) / 1048576, 144.0);
	flow_table_fini(&table);
}

Test(flow_table, random_operations_equal_a_naive_list)
{
	enum { N = 4096 };
	static bool is_there[2 * N];
	struct random random = random_seeded();

	for (int f = 0; f < 2; f++) {
		uint8_t family = f ? SL_FAMILY_IPV6 : SL_FAMILY_IPV4;
		struct flow_table table;
		uint32_t n_there = 0;

		memset(is_there, 0, sizeof(is_there));
		cr_assert_eq(flow_table_init(&table, family, N, &key, false), 0);
		for (int i = 0; i < 300000; i++) {
			uint32_t n = (uint32_t)(random_next(&random) % (2 * N));
			struct sl_tuple tuple = client_tuple(n, family);
			enum sl_direction direction;
			struct sl_flow *flow = find(&table, &tuple, &direction);
			int status;

			cr_assert_eq(flow != NULL, is_there[n], "row %d flow %u", i, n);
			if (flow != NULL && random_next(&random) % 2) {
				flow_table_remove(&table, flow);
				is_there[n] = false;
				n_there--;
			} else if (flow == NULL && put(&table, n, family, &status) != NULL) {
				is_there[n] = true;
				n_there++;
			}
			cr_assert_eq(table.n_used, n_there);
		}
		for (uint32_t n = 0; n < 2 * N; n++)
			assert_found(&table, n, family, is_there[n]);
		flow_table_fini(&table);
	}
}

Test(flow_table, full_drained_and_refilled_10000_times_leaks_nothing)
{
	struct flow_table table;

	cr_assert_eq(flow_table_init(&table, SL_FAMILY_IPV4, 64, &key, false), 0);
	for (uint32_t round = 0; round < 10000; round++) {
		struct sl_flow *flow[64];
		bool is_embryonic_full;
		int status;

		for (uint32_t i = 0; i < 64; i++) {
			flow[i] = put(&table, round * 64 + i, SL_FAMILY_IPV4, &status);
			cr_assert_neq(flow[i], NULL, "round %u flow %u: %d", round, i, status);
		}
		cr_assert_eq(flow_table_take(&table, &is_embryonic_full), NULL);
		cr_assert(!is_embryonic_full);
		for (uint32_t i = 0; i < 64; i++)
			flow_table_remove(&table, flow[(i * 37) % 64]);
		cr_assert_eq(table.n_used, 0);
		cr_assert_eq(table.n_embryonic, 0);
	}
	for (uint32_t i = 0; i <= table.bucket_mask; i++)
		for (int k = 0; k < FLOW_BUCKET_SIZE; k++)
			cr_assert_eq(table.bucket[i].reference[k], 0);
	flow_table_fini(&table);
}

Test(flow_table, large_table_takes_every_flow_it_has_room_for)
{
	enum { N = 131072 };
	struct flow_table table;
	uint32_t n_refused = 0;
	int status;

	cr_assert_eq(flow_table_init(&table, SL_FAMILY_IPV4, N, &key, false), 0);
	for (uint32_t n = 0; n < N; n++)
		n_refused += put(&table, n, SL_FAMILY_IPV4, &status) == NULL;
	cr_assert_leq(n_refused, N / 1000, "%u of %d", n_refused, N);
	flow_table_fini(&table);
}

Test(flow_table, embryonic_pool_is_an_eighth)
{
	struct flow_table table;
	struct sl_flow *flow;
	bool is_embryonic_full;

	cr_assert_eq(flow_table_init(&table, SL_FAMILY_IPV4, 64, &key, false), 0);
	for (int i = 0; i < 8; i++)
		cr_assert_neq(flow_table_take(&table, &is_embryonic_full), NULL);
	cr_assert_eq(flow_table_take(&table, &is_embryonic_full), NULL);
	cr_assert(is_embryonic_full);
	flow_table_promoted(&table);
	flow = flow_table_take(&table, &is_embryonic_full);
	cr_assert_neq(flow, NULL);
	flow_table_cancel(&table, flow);
	cr_assert_eq(table.n_embryonic, 7);
	flow_table_fini(&table);
}

Test(flow_table, second_flow_with_the_same_reply_is_refused)
{
	struct flow_table table;
	struct sl_tuple tuple = client_tuple(1, SL_FAMILY_IPV4);
	const union sl_addr backend = {.byte = {10, 0, 0, 2}};
	struct sl_flow *first;
	struct sl_flow *flow;
	struct sl_flow *other;
	bool is_embryonic_full;
	int status;

	cr_assert_eq(flow_table_init(&table, SL_FAMILY_IPV4, 64, &key, false), 0);
	first = put(&table, 1, SL_FAMILY_IPV4, &status);
	flow = flow_table_take(&table, &is_embryonic_full);
	tuple.destination_port = SL_BE16(81);
	sl_flow_open(flow, &tuple, &backend, SL_BE16(8080));
	cr_assert_eq(flow_table_insert(&table, flow, sl_flow_hash(&key, &tuple), &other), -EEXIST);
	cr_assert_eq(other, first);
	flow_table_cancel(&table, flow);
	flow_table_fini(&table);
}

Test(flow_table, reader_sees_whole_entries_only)
{
	struct flow_table table;
	struct sl_flow_ipv6 copy;
	struct sl_flow *flow;
	bool is_embryonic_full;
	int status;

	cr_assert_eq(flow_table_init(&table, SL_FAMILY_IPV6, 64, &key, false), 0);
	cr_assert(!flow_table_read(&table, 0, &copy));
	flow = flow_table_take(&table, &is_embryonic_full);
	cr_assert(!flow_table_read(&table, 0, &copy), "taken, not filled");
	flow_table_cancel(&table, flow);
	cr_assert(!flow_table_read(&table, 0, &copy), "free");
	flow = put(&table, 3, SL_FAMILY_IPV6, &status);
	cr_assert(flow_table_read(&table, flow_table_index(&table, flow), &copy));
	cr_assert_eq(copy.flow.backend, 3);
	cr_assert(!flow_table_read(&table, 64, &copy));
	flow_table_fini(&table);
}
