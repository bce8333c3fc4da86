/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * The flow table of one worker and one family. Both directions of a flow are one entry; the index
 * holds two references to it, one under the hash of each direction's tuple, put and taken together.
 *
 * Shape: entries are an array (64 B IPv4, 128 B IPv6), free ones chained through themselves. The
 * index is buckets of one cache line: ten 16-bit signatures and ten 32-bit references. A key has
 * two buckets; the second is used only when the first is crowded. No pointer stands in either, so the
 * table can lie in shared memory. At 0.8 of the index's places it costs 80 B a flow for IPv4.
 *
 * Every function is the owning worker's alone, except flow_table_read() and flow_table_init/fini.
 */
#pragma once

#include <errno.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include <sluice/base.h>
#include <sluice/packet/flow.h>

enum {
	FLOW_BUCKET_SIZE = 10,
};

struct flow_bucket {
	uint16_t signature[FLOW_BUCKET_SIZE];
	uint32_t reference[FLOW_BUCKET_SIZE]; /* (index + 1) << 1 | direction; 0: empty */
	uint32_t n_spilled; /* keys whose first bucket this is, and that stand in their second */
};

_Static_assert(sizeof(struct flow_bucket) == SL_CACHE_LINE, "a bucket is one cache line");

struct flow_table {
	uint8_t *entries;
	struct flow_bucket *bucket;
	uint32_t bucket_mask;
	uint32_t stride; /* bytes an entry */
	uint32_t capacity;
	uint32_t first_free; /* chained through sl_flow.link; SL_NO_INDEX: none */
	uint32_t n_touched;  /* entries that were ever used: the rest of the array is still zero */
	uint32_t n_used;
	uint32_t n_embryonic;
	uint32_t max_embryonic;
	uint32_t sweep_at;
	struct sl_hash_key key; /* random, of this start of the dataplane */
	size_t entries_bytes;
	size_t bucket_bytes;
};

/**
 * @n_flows: capacity. @family decides the entry's size. @use_hugepages: try MAP_HUGETLB first.
 * 0 or -ENOMEM. Control thread, before the worker starts.
 */
int flow_table_init(struct flow_table *table, uint8_t family, uint32_t n_flows,
		    const struct sl_hash_key *key, bool use_hugepages) SL_MUST_USE;
void flow_table_fini(struct flow_table *table);

SL_INLINE struct sl_flow *flow_table_at(const struct flow_table *table, uint32_t index)
{
	return (struct sl_flow *)(table->entries + (size_t)index * table->stride);
}

SL_INLINE uint32_t flow_table_index(const struct flow_table *table, const struct sl_flow *flow)
{
	return (uint32_t)((size_t)((const uint8_t *)flow - table->entries) / table->stride);
}

SL_INLINE struct flow_bucket *flow_table_first(const struct flow_table *table, uint64_t hash)
{
	return &table->bucket[hash & table->bucket_mask];
}

SL_INLINE uint16_t flow_table_signature(uint64_t hash)
{
	return (uint16_t)(hash >> 48);
}

/** The other bucket of a key; an involution, so it is found from either. */
SL_INLINE struct flow_bucket *flow_table_second(const struct flow_table *table, uint64_t hash)
{
	uint32_t spread = ((uint32_t)flow_table_signature(hash) + 1) * 0x9e3779b1u;

	return &table->bucket[((uint32_t)hash ^ (spread >> 7)) & table->bucket_mask];
}

/** Step one of a lookup: asks for the key's first bucket. */
SL_INLINE void flow_table_prefetch(const struct flow_table *table, uint64_t hash)
{
	__builtin_prefetch(flow_table_first(table, hash));
}

/** Places of a bucket, two bits each: what one comparison of all signatures gives. */
enum {
	FLOW_PLACE_BITS = 2,
};

/** The places in @bucket whose signature is @signature; some may be empty. */
SL_INLINE uint32_t flow_bucket_match(const struct flow_bucket *bucket, uint16_t signature)
{
#ifdef __SSE2__
	const __m128i wanted = _mm_set1_epi16((short)signature);
	const uint16_t *at = bucket->signature;
	__m128i low = _mm_load_si128((const __m128i *)(const void *)at);
	__m128i high = _mm_loadu_si128((const __m128i *)(const void *)(at + 2));

	/* The second look is at places 2 to 9, of which the last two are new. */
	return (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi16(low, wanted)) |
	       ((uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi16(high, wanted)) & 0xf000) << 4;
#else
	uint32_t found = 0;

	for (int i = 0; i < FLOW_BUCKET_SIZE; i++)
		if (bucket->signature[i] == signature)
			found |= 3u << FLOW_PLACE_BITS * i;
	return found;
#endif
}

/** Takes the first place out of *@found, which has one. */
SL_INLINE uint32_t flow_bucket_next(uint32_t *found)
{
	uint32_t place = (uint32_t)__builtin_ctz(*found) / FLOW_PLACE_BITS;

	*found &= ~(3u << FLOW_PLACE_BITS * place);
	return place;
}

/** The flow that @reference names, which is none of an empty place. */
SL_INLINE struct sl_flow *flow_table_of(const struct flow_table *table, uint32_t reference)
{
	return flow_table_at(table, (reference >> 1) - 1);
}

/** The first reference in @bucket with the signature of @hash; 0: there is none. */
SL_INLINE uint32_t flow_bucket_peek(const struct flow_bucket *bucket, uint64_t hash)
{
	uint32_t found = flow_bucket_match(bucket, flow_table_signature(hash));

	while (found != 0) {
		uint32_t reference = bucket->reference[flow_bucket_next(&found)];

		if (SL_LIKELY(reference != 0))
			return reference;
	}
	return 0;
}

SL_INLINE void flow_table_prefetch_flow(const struct flow_table *table, uint32_t reference)
{
	const struct sl_flow *flow = flow_table_of(table, reference);

	__builtin_prefetch(flow);
	if (table->stride > SL_CACHE_LINE)
		__builtin_prefetch((const uint8_t *)flow + SL_CACHE_LINE);
}

/**
 * Step two: the reference that is most likely the key's, whose entry is asked for. 0: not in the key's
 * first bucket; if it may be in the second one (*@may_be_second), that is asked for.
 */
SL_INLINE uint32_t flow_table_peek_first(const struct flow_table *table, uint64_t hash,
					 bool *may_be_second)
{
	const struct flow_bucket *first = flow_table_first(table, hash);
	uint32_t reference = flow_bucket_peek(first, hash);

	*may_be_second = false;
	if (SL_LIKELY(reference != 0)) {
		flow_table_prefetch_flow(table, reference);
	} else if (first->n_spilled != 0) {
		*may_be_second = true;
		__builtin_prefetch(flow_table_second(table, hash));
	}
	return reference;
}

/** The same in the second bucket, for keys that are not in the first. */
SL_INLINE uint32_t flow_table_peek_second(const struct flow_table *table, uint64_t hash)
{
	uint32_t reference = flow_bucket_peek(flow_table_second(table, hash), hash);

	if (reference != 0)
		flow_table_prefetch_flow(table, reference);
	return reference;
}

SL_INLINE struct sl_flow *flow_bucket_find(const struct flow_table *table,
					   const struct flow_bucket *bucket, uint64_t hash,
					   const struct sl_tuple *tuple,
					   enum sl_direction *direction)
{
	uint32_t found = flow_bucket_match(bucket, flow_table_signature(hash));

	while (found != 0) {
		uint32_t reference = bucket->reference[flow_bucket_next(&found)];

		if (reference != 0) {
			struct sl_flow *flow = flow_table_of(table, reference);

			if (SL_LIKELY(sl_flow_matches(flow, tuple, reference & 1))) {
				*direction = reference & 1;
				return flow;
			}
		}
	}
	return NULL;
}

/** Step three, the whole of it: the flow that a packet with @tuple belongs to, and in which direction; or NULL. */
SL_INLINE struct sl_flow *flow_table_find(const struct flow_table *table, uint64_t hash,
					  const struct sl_tuple *tuple,
					  enum sl_direction *direction)
{
	const struct flow_bucket *first = flow_table_first(table, hash);
	struct sl_flow *flow;

	flow = flow_bucket_find(table, first, hash, tuple, direction);
	if (SL_LIKELY(flow != NULL) || first->n_spilled == 0)
		return flow;
	return flow_bucket_find(table, flow_table_second(table, hash), hash, tuple, direction);
}

/** Whether there is room for one more flow. */
SL_INLINE bool flow_table_has_room(const struct flow_table *table)
{
	return table->n_embryonic < table->max_embryonic && table->n_used < table->capacity;
}

/**
 * Takes a free entry for the caller to fill; flow_table_insert() or flow_table_cancel() must follow.
 * NULL: the table is full, or its embryonic pool is (*@is_embryonic_full tells).
 */
struct sl_flow *flow_table_take(struct flow_table *table, bool *is_embryonic_full);
void flow_table_cancel(struct flow_table *table, struct sl_flow *flow);

/** The hashes of a flow's tuples, by direction. */
struct flow_hashes {
	uint64_t of[2];
};

/**
 * Makes a filled entry findable in both directions. @hashes: of its tuples.
 * 0, -EEXIST (@other has the reply tuple), -ENOSPC (both buckets of one of the keys are full);
 * on an error the entry is still the caller's.
 */
int flow_table_insert_of(struct flow_table *table, struct sl_flow *flow,
			 const struct flow_hashes *hashes, struct sl_flow **other) SL_MUST_USE;

/** The hash of what the backend of @flow, which is filled, sends. */
SL_INLINE uint64_t flow_table_reply_hash(const struct flow_table *table, const struct sl_flow *flow)
{
	struct sl_tuple reply = sl_flow_tuple(flow, SL_DIRECTION_REPLY);

	return sl_flow_hash(&table->key, &reply);
}

/** flow_table_insert_of() for whoever has but the @hash of the client-side tuple. */
SL_INLINE SL_MUST_USE int flow_table_insert(struct flow_table *table, struct sl_flow *flow,
					    uint64_t hash, struct sl_flow **other)
{
	struct flow_hashes hashes = {.of = {hash, flow_table_reply_hash(table, flow)}};

	return flow_table_insert_of(table, flow, &hashes, other);
}

/** Those of @flow; and asks for the buckets, which flow_table_remove_of() will need. */
SL_INLINE struct flow_hashes flow_table_hashes(const struct flow_table *table,
					       const struct sl_flow *flow)
{
	struct flow_hashes hashes;

	for (int direction = 0; direction < 2; direction++) {
		struct sl_tuple tuple = sl_flow_tuple(flow, (enum sl_direction)direction);

		hashes.of[direction] = sl_flow_hash(&table->key, &tuple);
		flow_table_prefetch(table, hashes.of[direction]);
	}
	return hashes;
}

/** Frees a flow: both references and the entry. @hashes: flow_table_hashes() of it. */
void flow_table_remove_of(struct flow_table *table, struct sl_flow *flow,
			  const struct flow_hashes *hashes);

/** The same for whoever has them not yet. */
SL_INLINE void flow_table_remove(struct flow_table *table, struct sl_flow *flow)
{
	struct flow_hashes hashes = flow_table_hashes(table, flow);

	flow_table_remove_of(table, flow, &hashes);
}

/** To be called when the state of @flow left SL_FLOW_EMBRYONIC. */
SL_INLINE void flow_table_promoted(struct flow_table *table)
{
	table->n_embryonic--;
}

/** To be called when the state of @flow became SL_FLOW_EMBRYONIC again. */
SL_INLINE void flow_table_demoted(struct flow_table *table)
{
	table->n_embryonic++;
}

/**
 * A consistent copy of the entry at @index into @copy (128 bytes), from any thread.
 * false: free, being changed, or beyond the end.
 */
bool flow_table_read(const struct flow_table *table, uint32_t index, struct sl_flow_ipv6 *copy);
