// SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0
/* Copyright (c) 2026 The Sluice authors */
/*
 * The flow table of the XDP engine, shared by all CPUs. A flow is one object, found at one place
 * from either direction: the place is the hash of the client's end, which stands in the packets of
 * both. A bucket has four ways of a cache line each (two for IPv6), and a flow that finds its home
 * bucket full stands in one of three others.
 *
 * Readers take no lock: they read an entry between two looks at its sequence number, which is odd
 * while the entry is written. Who creates, promotes or ends a flow holds the bucket's lock, tries
 * for it a bounded number of times, and does without if it cannot have it.
 *
 * Entries lie inline, not behind an index as in the DPDK engine: a program can prefetch nothing, so
 * each dependent miss costs in full.
 *
 * Functions that are not static are verified once, whatever their callers know; what they return is
 * an unknown number to the verifier, and so the callers are verified once for all ways of a bucket.
 * The family is a constant wherever it is an argument: what lies in memory may be anything to the
 * verifier, and it must know which table is meant.
 */
#pragma once

#include "maps.h"

enum {
	LOCK_TRIES = 16,
};

static __always_inline uint32_t read_once(const uint32_t *at)
{
	return *(const volatile uint32_t *)at;
}

static __always_inline struct sl_flow *flow_at(uint32_t index, uint8_t family)
{
	if (family == SL_FAMILY_IPV4)
		return bpf_map_lookup_elem(&flows4, &index);
	return bpf_map_lookup_elem(&flows6, &index);
}

static __always_inline uint32_t n_buckets(uint8_t family)
{
	return family == SL_FAMILY_IPV4 ? n_buckets4 : n_buckets6;
}

/** Index of the first entry of choice @i, which is a bucket, of a flow with @hash. */
static __always_inline uint32_t bucket_of(uint64_t hash, uint32_t i, uint8_t family)
{
	return sl_xdp_bucket(hash, i, n_buckets(family)) * SL_XDP_WAYS;
}

/** @first: index of the bucket's first entry. */
static __always_inline bool bucket_lock(uint32_t first, uint8_t family)
{
	struct sl_flow *flow = flow_at(first, family);

	if (flow == NULL)
		return false;
	for (int i = 0; i < LOCK_TRIES; i++) {
		uint32_t link = read_once(&flow->link);

		if ((link & SL_XDP_BUCKET_LOCKED) == 0 &&
		    __sync_val_compare_and_swap(&flow->link, link, link | SL_XDP_BUCKET_LOCKED) ==
			    link)
			return true;
	}
	return false;
}

static __always_inline void bucket_unlock(uint32_t first, uint8_t family)
{
	struct sl_flow *flow = flow_at(first, family);

	if (flow != NULL)
		__sync_fetch_and_add(&flow->link, SL_XDP_BUCKET_LOCKED);
}

/** Changes the number of flows that left the home bucket @first. */
static __always_inline void bucket_spill(uint32_t first, uint8_t family, int change)
{
	struct sl_flow *flow = flow_at(first, family);

	if (flow != NULL)
		__sync_fetch_and_add(&flow->link, change);
}

/** Whether flows whose home is the bucket @first stand elsewhere. */
static __always_inline bool bucket_has_spilled(uint32_t first, uint8_t family)
{
	const struct sl_flow *flow = flow_at(first, family);

	return flow != NULL && (read_once(&flow->link) & ~SL_XDP_BUCKET_LOCKED) != 0;
}

/**
 * Index of way @i, in the order in which a flow with @hash looks at the ways of the bucket @first:
 * it stands in the first one of them that was free, most often in the one that it looks at first.
 */
static __always_inline uint32_t way_of(uint32_t first, uint64_t hash, uint32_t i)
{
	return first + (((uint32_t)(hash >> 1) + i) & (SL_XDP_WAYS - 1));
}

/** Index of the flow of @tuple, with @hash, in the bucket @first, or SL_NO_INDEX. */
static __always_inline uint32_t bucket_find(uint32_t first, uint64_t hash,
					    const struct sl_tuple *tuple,
					    enum sl_direction direction, uint8_t family)
{
#pragma unroll
	for (uint32_t i = 0; i < SL_XDP_WAYS; i++) {
		uint32_t index = way_of(first, hash, i);
		const struct sl_flow *flow = flow_at(index, family);

		if (flow != NULL && flow->state != SL_FLOW_FREE &&
		    sl_flow_matches(flow, tuple, direction))
			return index;
	}
	return SL_NO_INDEX;
}

/** Looks for a flow that left its home. */
static __always_inline uint32_t spilled_find(uint64_t hash, const struct sl_tuple *tuple,
					     enum sl_direction direction, uint8_t family)
{
	for (uint32_t i = 1; i < SL_XDP_CHOICES; i++) {
		uint32_t found =
			bucket_find(bucket_of(hash, i, family), hash, tuple, direction, family);

		if (found != SL_NO_INDEX)
			return found;
	}
	return SL_NO_INDEX;
}

static __always_inline uint32_t find_in(const struct sl_tuple *tuple, enum sl_direction direction,
					uint8_t family)
{
	struct sl_tuple wanted = *tuple;
	bool is_forward = direction == SL_DIRECTION_FORWARD;
	uint32_t found;
	uint64_t hash;
	uint32_t home;

	wanted.family = family;
	hash = sl_flow_client_hash(
		&control.flow_key, is_forward ? &wanted.source : &wanted.destination,
		is_forward ? wanted.source_port : wanted.destination_port, family, wanted.protocol);
	home = bucket_of(hash, 0, family);
	found = bucket_find(home, hash, &wanted, direction, family);
	if (SL_UNLIKELY(found == SL_NO_INDEX && bucket_has_spilled(home, family)))
		found = spilled_find(hash, &wanted, direction, family);
	return found;
}

/**
 * The index of the flow that a packet belongs to, or SL_NO_INDEX. @cpu: this one's. In line, for a
 * call costs a guarded return; the verifier is to forget by which way the flow was found, as it
 * would where a function returns.
 */
static __always_inline uint32_t flow_find(struct sl_xdp_cpu *cpu, const struct sl_tuple *tuple,
					  enum sl_direction direction, uint8_t family)
{
	volatile uint64_t *scratch = (volatile uint64_t *)&cpu->scratch;

	/* IPv6's has no room on the stack. */
	if (family != SL_FAMILY_IPV4) {
		cpu->tuple = *tuple;
		tuple = &cpu->tuple;
	}
	*scratch = find_in(tuple, direction, family);
	return (uint32_t)*scratch;
}

static __always_inline void flow_write_begin(struct sl_flow *flow)
{
	*(volatile uint32_t *)&flow->sequence = flow->sequence + 1;
	barrier();
}

static __always_inline void flow_write_end(struct sl_flow *flow)
{
	barrier();
	*(volatile uint32_t *)&flow->sequence = flow->sequence + 1;
}

/** Index of a family's figures in usage. */
static __always_inline uint32_t usage_of(uint8_t family)
{
	return family != SL_FAMILY_IPV4;
}

static __always_inline void usage_add(uint64_t *at, int64_t n)
{
	__sync_fetch_and_add(at, n);
}

/** Counts a flow that ends in the totals and for its backend. */
static __always_inline void count_ended(const struct sl_flow *flow, uint8_t family)
{
	struct sl_backend_counters *backend;
	struct sl_xdp_cpu *cpu;
	uint32_t zero = 0;
	uint32_t index = flow->backend;

	usage_add(&usage.flows[usage_of(family)], -1);
	if (flow->state == SL_FLOW_EMBRYONIC)
		usage_add(&usage.embryonic[usage_of(family)], -1);
	cpu = bpf_map_lookup_elem(&cpus, &zero);
	if (cpu != NULL)
		cpu->counters.event[SL_EVENT_FLOW_ENDED]++;
	backend = bpf_map_lookup_elem(&backend_counters, &index);
	if (backend != NULL)
		backend->flows_ended++;
}

/** Ends flow @index, which stands in the bucket @first, whose lock is held. */
static __always_inline void flow_end_locked(uint32_t first, uint32_t index, uint8_t family)
{
	struct sl_flow *flow = flow_at(index, family);
	union sl_addr client;
	uint32_t home;

	if (flow == NULL)
		return;
	client = sl_flow_addr_as(flow, SL_FLOW_CLIENT, family);
	home = bucket_of(sl_flow_client_hash(&control.flow_key, &client, flow->client_port, family,
					     flow->protocol),
			 0, family);
	count_ended(flow, family);
	flow_write_begin(flow);
	flow->state = SL_FLOW_FREE;
	flow_write_end(flow);
	if (home != first)
		bucket_spill(home, family, -1);
}

/** The service's timeout for @flow has passed, or its service or backend is not there any more. */
static __always_inline bool flow_has_expired(const struct sl_flow *flow, uint32_t now)
{
	uint32_t index = flow->service;
	const struct sl_service *service = bpf_map_lookup_elem(&services, &index);
	const struct sl_backend *backend;
	uint32_t timeout;

	index = flow->backend;
	backend = bpf_map_lookup_elem(&backends, &index);
	if (service == NULL || service->family == SL_FAMILY_NONE ||
	    service->epoch != flow->service_epoch || backend == NULL ||
	    backend->family == SL_FAMILY_NONE || backend->epoch != flow->backend_epoch)
		return true;
	timeout = service->timeout_ticks[sl_flow_timeout(flow) & (SL_N_TIMEOUTS - 1)];
	return (int32_t)(now - flow->last_seen) > (int32_t)timeout;
}

/**
 * Index of a free entry of the bucket @first, whose lock is held, for a flow with @hash; a flow that
 * is over makes room.
 * SL_NO_INDEX: full.
 */
static __always_inline uint32_t bucket_take(uint32_t first, uint64_t hash, uint8_t family,
					    uint32_t now)
{
	for (uint32_t i = 0; i < SL_XDP_WAYS; i++) {
		uint32_t index = way_of(first, hash, i);
		const struct sl_flow *flow = flow_at(index, family);

		if (flow != NULL && flow->state == SL_FLOW_FREE)
			return index;
	}
	for (uint32_t i = 0; i < SL_XDP_WAYS; i++) {
		const struct sl_flow *flow = flow_at(first + i, family);

		if (flow != NULL && flow_has_expired(flow, now)) {
			flow_end_locked(first, first + i, family);
			return first + i;
		}
	}
	return SL_NO_INDEX;
}

/** What flow_create() is to make. */
struct creation {
	struct sl_tuple client; /* as a client's packet carries it */
	union sl_addr backend_addr;
	be16_t backend_port;
	uint16_t service_epoch;
	uint16_t backend_epoch;
	uint16_t flags; /* SL_FLOW_SYN, SL_FLOW_FROM_REPLY */
	uint32_t service;
	uint32_t backend;
	uint32_t now;
};

/* One a CPU: too large for the stack beside all the rest. */
PERCPU_ARRAY(creations, 1, struct creation);

/** What came of it. */
enum created {
	CREATED,
	CREATED_ALREADY, /* another CPU was faster */
	CREATED_TAKEN,   /* another live flow of the client has the same way back */
	CREATED_FULL,
	CREATED_EMBRYONIC_FULL,
	CREATED_BUSY, /* the bucket's lock was not to be had */
};

/** Whether @flow is a live one with the way back of the flow to be made. */
static __always_inline bool has_same_reply(const struct sl_flow *flow,
					   const struct creation *creation, uint8_t family)
{
	struct sl_tuple reply = {.protocol = creation->client.protocol,
				 .family = family,
				 .source = creation->backend_addr,
				 .source_port = creation->backend_port,
				 .destination = creation->client.source,
				 .destination_port = creation->client.source_port};

	return sl_flow_matches(flow, &reply, SL_DIRECTION_REPLY);
}

static __always_inline void flow_fill(uint32_t index, const struct creation *creation,
				      uint8_t family)
{
	struct sl_flow *flow = flow_at(index, family);
	struct sl_tuple client = creation->client;

	if (flow == NULL)
		return;
	client.family = family;
	flow_write_begin(flow);
	sl_flow_open(flow, &client, &creation->backend_addr, creation->backend_port);
	flow->flags = (uint8_t)creation->flags;
	flow->service = creation->service;
	flow->service_epoch = creation->service_epoch;
	flow->backend = creation->backend;
	flow->backend_epoch = creation->backend_epoch;
	flow->client_adjacency = SL_ADJACENCY_NONE;
	flow->route_generation = 0;
	flow->last_seen = creation->now;
	flow->client_next = 0;
	flow->backend_next = 0;
	flow_write_end(flow);
}

/** Whether a new flow may take the way back of @flow: it is over, unanswered, or its backend gone. */
static __always_inline bool may_succeed(const struct sl_flow *flow)
{
	uint32_t index = flow->backend;
	const struct sl_backend *backend = bpf_map_lookup_elem(&backends, &index);

	return sl_flow_is_over(flow) || flow->state == SL_FLOW_EMBRYONIC || backend == NULL ||
	       backend->epoch != flow->backend_epoch || backend->is_gone ||
	       backend->family == SL_FAMILY_NONE;
}

/* Judges one entry of the bucket @first, whose lock is held. */
static __always_inline enum created entry_judge(uint32_t first, uint32_t index,
						const struct creation *creation, uint8_t family)
{
	const struct sl_flow *flow = flow_at(index, family);
	struct sl_tuple client = creation->client;

	client.family = family;
	if (flow == NULL || flow->state == SL_FLOW_FREE)
		return CREATED;
	if (sl_flow_matches(flow, &client, SL_DIRECTION_FORWARD))
		return CREATED_ALREADY;
	if (!has_same_reply(flow, creation, family))
		return CREATED;
	if (!may_succeed(flow))
		return CREATED_TAKEN;
	flow_end_locked(first, index, family);
	return CREATED;
}

/* Judges the bucket @first, whose lock is held. */
static __always_inline enum created bucket_judge(uint32_t first, const struct creation *creation,
						 uint8_t family)
{
	for (uint32_t i = 0; i < SL_XDP_WAYS; i++) {
		enum created judged = entry_judge(first, first + i, creation, family);

		if (judged != CREATED)
			return judged;
	}
	return CREATED;
}

/* Puts the new flow into the bucket @first, whose lock is held, if there is room. */
static __always_inline bool bucket_put(uint32_t first, uint64_t hash,
				       const struct creation *creation, uint8_t family)
{
	uint32_t index = bucket_take(first, hash, family, creation->now);

	if (index == SL_NO_INDEX)
		return false;
	flow_fill(index, creation, family);
	return true;
}

/* Where the home bucket is full: one of the others. Two choices may be one bucket. */
static __always_inline enum created spilled_put(uint64_t hash, const struct creation *creation,
						uint8_t family)
{
	for (uint32_t i = 1; i < SL_XDP_CHOICES; i++) {
		uint32_t first = bucket_of(hash, i, family);
		bool is_put;

		if (first == bucket_of(hash, 0, family) || !bucket_lock(first, family))
			continue;
		is_put = bucket_put(first, hash, creation, family);
		bucket_unlock(first, family);
		if (is_put)
			return CREATED;
	}
	return CREATED_FULL;
}

/* Judges the buckets where flows of this home stand that found it full. */
static __always_inline enum created spilled_judge(uint64_t hash, const struct creation *creation,
						  uint8_t family)
{
	for (uint32_t i = 1; i < SL_XDP_CHOICES; i++) {
		uint32_t first = bucket_of(hash, i, family);
		enum created judged;

		if (first == bucket_of(hash, 0, family))
			continue;
		if (!bucket_lock(first, family))
			return CREATED_BUSY;
		judged = bucket_judge(first, creation, family);
		bucket_unlock(first, family);
		if (judged != CREATED)
			return judged;
	}
	return CREATED;
}

/* The lock of the home bucket is held. */
static __always_inline enum created create_locked(uint32_t home, uint64_t hash,
						  const struct creation *creation, uint8_t family)
{
	enum created created = bucket_judge(home, creation, family);

	if (created == CREATED && bucket_has_spilled(home, family))
		created = spilled_judge(hash, creation, family);
	if (created != CREATED || bucket_put(home, hash, creation, family))
		return created;
	created = spilled_put(hash, creation, family);
	if (created == CREATED)
		bucket_spill(home, family, 1);
	return created;
}

static __always_inline enum created create_in(const struct creation *creation, uint8_t family)
{
	uint32_t figures = usage_of(family);
	uint64_t hash = sl_flow_client_hash(&control.flow_key, &creation->client.source,
					    creation->client.source_port, family,
					    creation->client.protocol);
	uint32_t home = bucket_of(hash, 0, family);
	enum created created;

	if (*(volatile uint64_t *)&usage.embryonic[figures] >= max_embryonic)
		return CREATED_EMBRYONIC_FULL;
	if (*(volatile uint64_t *)&usage.flows[figures] >= max_flows)
		return CREATED_FULL;
	if (!bucket_lock(home, family))
		return CREATED_BUSY;
	created = create_locked(home, hash, creation, family);
	bucket_unlock(home, family);
	if (created == CREATED) {
		usage_add(&usage.flows[figures], 1);
		usage_add(&usage.embryonic[figures], 1);
	}
	return created;
}

/* Puts a new flow into the table. enum created. */

__noinline uint32_t flow_create4(const struct creation *creation)
{
	return creation != NULL ? create_in(creation, SL_FAMILY_IPV4) : CREATED_FULL;
}

__noinline uint32_t flow_create6(const struct creation *creation)
{
	return creation != NULL ? create_in(creation, SL_FAMILY_IPV6) : CREATED_FULL;
}

static __always_inline enum created flow_create(const struct creation *creation, uint8_t family)
{
	return family == SL_FAMILY_IPV4 ? flow_create4(creation) : flow_create6(creation);
}

static __always_inline bool end_in(uint32_t index, uint32_t sequence, uint8_t family)
{
	uint32_t first = index & ~(uint32_t)(SL_XDP_WAYS - 1);
	const struct sl_flow *flow = flow_at(index, family);
	bool is_ended;

	if (flow == NULL || !bucket_lock(first, family))
		return false;
	is_ended = flow->state != SL_FLOW_FREE && read_once(&flow->sequence) == sequence;
	if (is_ended)
		flow_end_locked(first, index, family);
	bucket_unlock(first, family);
	return is_ended;
}

/* Ends flow @index if its sequence number still is @sequence. Whether it did. */

__noinline uint32_t flow_end4(uint32_t index, uint32_t sequence)
{
	return end_in(index, sequence, SL_FAMILY_IPV4);
}

__noinline uint32_t flow_end6(uint32_t index, uint32_t sequence)
{
	return end_in(index, sequence, SL_FAMILY_IPV6);
}

static __always_inline bool flow_end(uint32_t index, uint32_t sequence, uint8_t family)
{
	return family == SL_FAMILY_IPV4 ? flow_end4(index, sequence) : flow_end6(index, sequence);
}

static __always_inline bool promote_in(uint32_t index, uint32_t sequence, uint8_t family)
{
	uint32_t first = index & ~(uint32_t)(SL_XDP_WAYS - 1);
	struct sl_flow *flow = flow_at(index, family);
	bool is_promoted;

	if (flow == NULL || !bucket_lock(first, family))
		return false;
	is_promoted = flow->state == SL_FLOW_EMBRYONIC && read_once(&flow->sequence) == sequence;
	if (is_promoted) {
		flow->state = SL_FLOW_ESTABLISHED;
		usage_add(&usage.embryonic[usage_of(family)], -1);
	}
	bucket_unlock(first, family);
	return is_promoted;
}

/* Takes flow @index out of the embryonic ones, by one CPU alone. Whether it did. */

__noinline uint32_t flow_promote4(uint32_t index, uint32_t sequence)
{
	return promote_in(index, sequence, SL_FAMILY_IPV4);
}

__noinline uint32_t flow_promote6(uint32_t index, uint32_t sequence)
{
	return promote_in(index, sequence, SL_FAMILY_IPV6);
}

static __always_inline bool flow_promote(uint32_t index, uint32_t sequence, uint8_t family)
{
	return family == SL_FAMILY_IPV4 ? flow_promote4(index, sequence)
					: flow_promote6(index, sequence);
}
