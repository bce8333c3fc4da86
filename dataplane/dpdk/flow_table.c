/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * Insertion, removal and memory of the flow table; lookup stands in the header. Nothing here is
 * allocated after flow_table_init().
 */
#include "dataplane/dpdk/flow_table.h"

#include <string.h>

#include "dataplane/dpdk/pages.h"

enum {
	SMALL_TABLE = 8192,
	CROWDED = 6, /* a first bucket with more references than this yields to an emptier second */
};

/*
 * Two references a flow; at most 0.8 of the places of a large table, 0.4 of a small one, where
 * chance is less even. A power of two.
 */
static uint32_t bucket_count(uint32_t n_flows)
{
	uint32_t per_bucket = n_flows < SMALL_TABLE ? 4 : 8;
	uint64_t wanted = ((uint64_t)n_flows * 2 + per_bucket - 1) / per_bucket;
	uint32_t n = 8;

	while (n < wanted)
		n *= 2;
	return n;
}

int flow_table_init(struct flow_table *table, uint8_t family, uint32_t n_flows,
		    const struct sl_hash_key *key, bool use_hugepages)
{
	uint32_t n_buckets = bucket_count(n_flows);

	memset(table, 0, sizeof(*table));
	table->stride = family == SL_FAMILY_IPV4 ? sizeof(struct sl_flow_ipv4)
						 : sizeof(struct sl_flow_ipv6);
	table->capacity = n_flows;
	table->max_embryonic = n_flows / 8 > 0 ? n_flows / 8 : 1;
	table->first_free = SL_NO_INDEX;
	table->bucket_mask = n_buckets - 1;
	table->key = *key;
	table->entries_bytes = pages_round((size_t)n_flows * table->stride);
	table->bucket_bytes = pages_round((size_t)n_buckets * sizeof(struct flow_bucket));
	table->entries = pages_new(table->entries_bytes, use_hugepages);
	table->bucket = pages_new(table->bucket_bytes, use_hugepages);
	if (table->entries == NULL || table->bucket == NULL) {
		flow_table_fini(table);
		return -ENOMEM;
	}
	return 0;
}

void flow_table_fini(struct flow_table *table)
{
	pages_free(table->entries, table->entries_bytes);
	pages_free(table->bucket, table->bucket_bytes);
	memset(table, 0, sizeof(*table));
}

/* Readers in other threads see an odd sequence from here to change_end(). */
static void change_begin(struct sl_flow *flow)
{
	__atomic_store_n(&flow->sequence, flow->sequence + 1, __ATOMIC_RELAXED);
	/* The odd sequence must be seen before any of the changes that follow. */
	__atomic_thread_fence(__ATOMIC_RELEASE);
}

static void change_end(struct sl_flow *flow)
{
	/* Release: the changes must be seen before the even sequence. */
	__atomic_store_n(&flow->sequence, flow->sequence + 1, __ATOMIC_RELEASE);
}

struct sl_flow *flow_table_take(struct flow_table *table, bool *is_embryonic_full)
{
	struct sl_flow *flow;

	*is_embryonic_full = table->n_embryonic >= table->max_embryonic;
	if (*is_embryonic_full)
		return NULL;
	if (table->first_free != SL_NO_INDEX) {
		flow = flow_table_at(table, table->first_free);
		table->first_free = flow->link;
		/* Whoever comes next finds it there. */
		if (table->first_free != SL_NO_INDEX)
			__builtin_prefetch(flow_table_at(table, table->first_free), 1);
	} else if (table->n_touched < table->capacity) {
		flow = flow_table_at(table, table->n_touched++);
	} else {
		return NULL;
	}
	table->n_used++;
	table->n_embryonic++;
	change_begin(flow);
	return flow;
}

static void give_back(struct flow_table *table, struct sl_flow *flow)
{
	flow->state = SL_FLOW_FREE;
	flow->link = table->first_free;
	table->first_free = flow_table_index(table, flow);
	table->n_used--;
}

void flow_table_cancel(struct flow_table *table, struct sl_flow *flow)
{
	table->n_embryonic--;
	give_back(table, flow);
	change_end(flow);
}

static bool bucket_put(struct flow_bucket *bucket, uint16_t signature, uint32_t reference)
{
	for (int i = 0; i < FLOW_BUCKET_SIZE; i++) {
		if (bucket->reference[i] == 0) {
			bucket->signature[i] = signature;
			bucket->reference[i] = reference;
			return true;
		}
	}
	return false;
}

static int bucket_used(const struct flow_bucket *bucket)
{
	int n = 0;

	for (int i = 0; i < FLOW_BUCKET_SIZE; i++)
		n += bucket->reference[i] != 0;
	return n;
}

/* The first bucket, which a lookup reads anyway, unless it is crowded and the second is not. */
static bool reference_put(struct flow_table *table, uint64_t hash, uint32_t reference)
{
	uint16_t signature = flow_table_signature(hash);
	struct flow_bucket *first = flow_table_first(table, hash);
	struct flow_bucket *second = flow_table_second(table, hash);
	int n = bucket_used(first);

	if (n <= CROWDED || bucket_used(second) >= n)
		return bucket_put(first, signature, reference);
	if (!bucket_put(second, signature, reference))
		return false;
	first->n_spilled++;
	return true;
}

static bool bucket_take(struct flow_bucket *bucket, uint32_t reference)
{
	for (int i = 0; i < FLOW_BUCKET_SIZE; i++) {
		if (bucket->reference[i] == reference) {
			bucket->reference[i] = 0;
			return true;
		}
	}
	return false;
}

static void reference_take(struct flow_table *table, uint64_t hash, uint32_t reference)
{
	struct flow_bucket *first = flow_table_first(table, hash);

	if (!bucket_take(first, reference) &&
	    bucket_take(flow_table_second(table, hash), reference))
		first->n_spilled--;
}

int flow_table_insert_of(struct flow_table *table, struct sl_flow *flow,
			 const struct flow_hashes *hashes, struct sl_flow **other)
{
	uint32_t reference = (flow_table_index(table, flow) + 1) << 1;
	struct sl_tuple reply = sl_flow_tuple(flow, SL_DIRECTION_REPLY);
	uint64_t hash = hashes->of[SL_DIRECTION_FORWARD];
	uint64_t reply_hash = hashes->of[SL_DIRECTION_REPLY];
	enum sl_direction direction;

	*other = flow_table_find(table, reply_hash, &reply, &direction);
	if (*other != NULL)
		return -EEXIST;
	if (!reference_put(table, hash, reference | SL_DIRECTION_FORWARD))
		return -ENOSPC;
	if (!reference_put(table, reply_hash, reference | SL_DIRECTION_REPLY)) {
		reference_take(table, hash, reference | SL_DIRECTION_FORWARD);
		return -ENOSPC;
	}
	change_end(flow);
	return 0;
}

void flow_table_remove_of(struct flow_table *table, struct sl_flow *flow,
			  const struct flow_hashes *hashes)
{
	uint32_t reference = (flow_table_index(table, flow) + 1) << 1;

	for (uint32_t direction = 0; direction < 2; direction++)
		reference_take(table, hashes->of[direction], reference | direction);
	if (flow->state == SL_FLOW_EMBRYONIC)
		table->n_embryonic--;
	change_begin(flow);
	give_back(table, flow);
	change_end(flow);
}

bool flow_table_read(const struct flow_table *table, uint32_t index, struct sl_flow_ipv6 *copy)
{
	const struct sl_flow *flow;
	uint32_t before;

	if (index >= __atomic_load_n(&table->n_touched, __ATOMIC_RELAXED))
		return false;
	flow = flow_table_at(table, index);
	/* Acquire: the copy is not read before the sequence. */
	before = __atomic_load_n(&flow->sequence, __ATOMIC_ACQUIRE);
	if ((before & 1) || flow->state == SL_FLOW_FREE)
		return false;
	memcpy(copy, flow, table->stride);
	/* The copy is complete before the sequence is read again. */
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	return __atomic_load_n(&flow->sequence, __ATOMIC_RELAXED) == before;
}
