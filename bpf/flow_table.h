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

#include <sluice/packet/source_port.h>

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

/**
 * Room for one more event, or NULL. Either is counted. It is tested for NULL once only: in Linux 6.1
 * the verifier forgets that memory of a ring buffer was found not to be NULL, and misses its release.
 */
static __always_inline struct sl_flow_event *event_new(void)
{
	struct sl_flow_event *event;
	struct sl_xdp_cpu *cpu;
	uint32_t zero = 0;

	cpu = bpf_map_lookup_elem(&cpus, &zero);
	if (cpu == NULL)
		return NULL;
	cpu->counters.event[SL_EVENT_FLOW_LOG_RECORDS]++;
	event = bpf_ringbuf_reserve(&flow_events, sizeof(*event), 0);
	if (event == NULL) {
		cpu->counters.event[SL_EVENT_FLOW_LOG_LOST]++;
		return NULL;
	}
	event->stamp = bpf_ktime_get_ns();
	return event;
}

/* The flow log is told that flow @index ends. */
static __always_inline uint32_t log_end(uint32_t index, uint8_t family)
{
	const struct sl_flow *flow = flow_at(index, family);
	struct sl_flow_event *event;

	if (flow == NULL)
		return 0;
	event = event_new();
	if (event == NULL)
		return 0;
	sl_flow_event_fill(event, flow, family, SL_FLOW_ENDS);
	bpf_ringbuf_submit(event, 0);
	return 0;
}

__noinline uint32_t log_end4(uint32_t index)
{
	return log_end(index, SL_FAMILY_IPV4);
}

__noinline uint32_t log_end6(uint32_t index)
{
	return log_end(index, SL_FAMILY_IPV6);
}

/** Flows of @backend that are not closed, @n more than before. */
static __always_inline void load_add(uint32_t backend, int32_t n)
{
	struct sl_load *load = bpf_map_lookup_elem(&loads, &backend);

	if (load != NULL)
		__sync_fetch_and_add(&load->flows, n);
}

/** Counts a flow that ends in the totals and for its backend. */
static __always_inline void count_ended(const struct sl_flow *flow, uint8_t family)
{
	struct sl_backend_openings *openings;
	struct sl_backend_counters *backend;
	struct sl_load *load;
	struct sl_xdp_cpu *cpu;
	uint32_t index = 0; /* one for all: the callers' stack is full */

	cpu = bpf_map_lookup_elem(&cpus, &index);
	if (cpu != NULL)
		cpu->counters.event[SL_EVENT_FLOW_ENDED]++;
	index = flow->backend;
	usage_add(&usage.flows[usage_of(family)], -1);
	load = bpf_map_lookup_elem(&loads, &index);
	if (load != NULL && flow->state != SL_FLOW_CLOSED)
		__sync_fetch_and_add(&load->flows, -1);
	if (flow->state == SL_FLOW_EMBRYONIC)
		usage_add(&usage.embryonic[usage_of(family)], -1);
	backend = bpf_map_lookup_elem(&backend_counters, &index);
	if (backend != NULL)
		backend->flows_ended++;
	openings = bpf_map_lookup_elem(&backend_openings, &index);
	if (openings != NULL && sl_flow_is_awaited(flow))
		__sync_fetch_and_add(&openings->unanswered, 1);
}

/** This CPU's room for a key of replies. @room: SL_XDP_PACKETS or _SWEEPS. */
static __always_inline union sl_xdp_reply *reply_room(uint32_t room)
{
	return bpf_map_lookup_elem(&reply_rooms, &room);
}

static __always_inline void reply_fill(union sl_xdp_reply *key, const struct sl_tuple *reply,
				       uint8_t family)
{
	if (family == SL_FAMILY_IPV4) {
		key->ipv4 = (struct sl_xdp_reply4){.backend = reply->source.ipv4,
						   .source = reply->destination.ipv4,
						   .backend_port = reply->source_port,
						   .source_port = reply->destination_port,
						   .protocol = reply->protocol};
		return;
	}
	key->ipv6.backend = reply->source;
	key->ipv6.source = reply->destination;
	key->ipv6.backend_port = reply->source_port;
	key->ipv6.source_port = reply->destination_port;
	key->ipv6.protocol = reply->protocol;
}

/** Index of the flow of mode fullnat whose reply has this tuple, or SL_NO_INDEX. For packets. */
static __always_inline uint32_t reply_find(const struct sl_tuple *reply, uint8_t family)
{
	union sl_xdp_reply *key = reply_room(SL_XDP_PACKETS);
	const uint32_t *index;

	if (key == NULL)
		return SL_NO_INDEX;
	reply_fill(key, reply, family);
	if (family == SL_FAMILY_IPV4)
		index = bpf_map_lookup_elem(&replies4, &key->ipv4);
	else
		index = bpf_map_lookup_elem(&replies6, &key->ipv6);
	return index != NULL ? *index : SL_NO_INDEX;
}

/** Makes replies with this tuple find flow @index, unless they find another. For packets. */
static __always_inline bool reply_put(const struct sl_tuple *reply, uint32_t index, uint8_t family)
{
	union sl_xdp_reply *key = reply_room(SL_XDP_PACKETS);

	if (key == NULL)
		return false;
	reply_fill(key, reply, family);
	if (family == SL_FAMILY_IPV4)
		return bpf_map_update_elem(&replies4, &key->ipv4, &index, BPF_NOEXIST) == 0;
	return bpf_map_update_elem(&replies6, &key->ipv6, &index, BPF_NOEXIST) == 0;
}

/** Gives back the source of a flow of mode fullnat, which ends. @room: whose room is used. */
static __always_inline void source_free(const struct sl_flow *flow, uint8_t family, uint32_t room)
{
	uint32_t backend = flow->backend;
	union sl_xdp_reply *key = reply_room(room);
	struct sl_xdp_source_flows *flows = bpf_map_lookup_elem(&source_flows, &backend);

	if (key == NULL)
		return;
	if (family == SL_FAMILY_IPV4) {
		const struct sl_flow_ipv4 *flow4 = (const struct sl_flow_ipv4 *)flow;

		key->ipv4 = (struct sl_xdp_reply4){.backend = flow4->addr[SL_FLOW_BACKEND],
						   .source = flow4->addr[SL_FLOW_SOURCE],
						   .backend_port = flow->backend_port,
						   .source_port = flow->source_port,
						   .protocol = flow->protocol};
		bpf_map_delete_elem(&replies4, &key->ipv4);
	} else {
		const struct sl_flow_ipv6 *flow6 = (const struct sl_flow_ipv6 *)flow;

		key->ipv6.backend = flow6->addr[SL_FLOW_BACKEND];
		key->ipv6.source = flow6->addr[SL_FLOW_SOURCE];
		key->ipv6.backend_port = flow->backend_port;
		key->ipv6.source_port = flow->source_port;
		key->ipv6.protocol = flow->protocol;
		bpf_map_delete_elem(&replies6, &key->ipv6);
	}
	if (flows != NULL)
		__sync_fetch_and_add(&flows->n[flow->position], -1);
}

/** Ends flow @index, which stands in the bucket @first, whose lock is held. @room: the caller's. */
static __always_inline void flow_end_locked(uint32_t first, uint32_t index, uint8_t family,
					    uint32_t room)
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
	if (SL_UNLIKELY(flow->is_logged)) {
		if (family == SL_FAMILY_IPV4)
			log_end4(index);
		else
			log_end6(index);
	}
	if (sl_flow_has_source_as(flow, family))
		source_free(flow, family, room);
	flow_write_begin(flow);
	flow->state = SL_FLOW_FREE;
	flow_write_end(flow);
	if (home != first)
		bucket_spill(home, family, -1);
}

static __always_inline bool end_in(uint32_t index, uint32_t sequence, uint8_t family, uint32_t room)
{
	uint32_t first = index & ~(uint32_t)(SL_XDP_WAYS - 1);
	const struct sl_flow *flow = flow_at(index, family);
	bool is_ended;

	if (flow == NULL || !bucket_lock(first, family))
		return false;
	is_ended = flow->state != SL_FLOW_FREE && read_once(&flow->sequence) == sequence;
	if (is_ended)
		flow_end_locked(first, index, family, room);
	bucket_unlock(first, family);
	return is_ended;
}

/* Ends flow @index if its sequence number still is @sequence. Whether it did. */

__noinline uint32_t flow_end4(uint32_t index, uint32_t sequence, uint32_t room)
{
	return end_in(index, sequence, SL_FAMILY_IPV4, room);
}

__noinline uint32_t flow_end6(uint32_t index, uint32_t sequence, uint32_t room)
{
	return end_in(index, sequence, SL_FAMILY_IPV6, room);
}

static __always_inline bool flow_end(uint32_t index, uint32_t sequence, uint8_t family,
				     uint32_t room)
{
	return family == SL_FAMILY_IPV4 ? flow_end4(index, sequence, room)
					: flow_end6(index, sequence, room);
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
			flow_end_locked(first, first + i, family, SL_XDP_PACKETS);
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
	uint16_t flags; /* SL_FLOW_SYN, _AWAITED, _FROM_REPLY */
	uint32_t service;
	uint32_t backend;
	uint32_t now;
	uint32_t sequence; /* of the client's TCP packet, host order */
	uint32_t since_us; /* when it came, if it is awaited */
	/* Mode fullnat. */
	uint32_t n_sources; /* 0: mode nat */
	uint32_t position;  /* of the source address */
	union sl_addr source;
	be16_t source_port; /* filled when it is found */
	uint16_t source_port_first;
	uint16_t source_port_last;
	uint8_t has_header; /* 1: the backend is told of the client */
	uint8_t has_begun;  /* 1: it waits for no answer: mode snat, but TCP */
	uint8_t is_logged;
	uint8_t has_affinity; /* 1: the client's next flows are to have its backend, too */
	uint32_t audience;    /* enum sl_audience: whose slot */
	uint64_t hash;        /* that chooses the slot */
	uint32_t peer;        /* mode snat: sl_egress_peer() */
	uint32_t home;        /* first entry of the flow's home bucket */
	struct sl_tuple reply;
};

/* One a CPU: too large for the stack beside all the rest. */
PERCPU_ARRAY(creations, 1, struct creation);

/** What came of it. */
enum created {
	CREATED = 0,
	CREATED_ALREADY, /* another CPU was faster */
	CREATED_TAKEN,   /* another live flow of the client has the same way back */
	CREATED_FULL,
	CREATED_EMBRYONIC_FULL,
	CREATED_BUSY, /* the bucket's lock was not to be had */
	CREATED_NO_SOURCE,
	CREATION_WANTED, /* not tried yet */
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
	if (creation->n_sources != 0)
		sl_flow_set_source(flow, &creation->source, creation->source_port,
				   creation->position, family);
	if (creation->has_header)
		sl_flow_set_header(flow);
	if (creation->has_begun)
		flow->state = SL_FLOW_ESTABLISHED;
	flow->proxy_first = creation->peer;
	flow->flags = (uint8_t)creation->flags;
	flow->is_logged = creation->is_logged & 1u;
	flow->service = creation->service;
	flow->service_epoch = creation->service_epoch;
	flow->backend = creation->backend;
	flow->backend_epoch = creation->backend_epoch;
	flow->client_adjacency = SL_ADJACENCY_NONE;
	flow->route_generation = 0;
	flow->last_seen = creation->now;
	flow->client_next = 0;
	flow->backend_next = creation->since_us;
	flow_write_end(flow);
}

static __always_inline bool has_lost_backend(const struct sl_flow *flow)
{
	uint32_t index = flow->backend;
	const struct sl_backend *backend = bpf_map_lookup_elem(&backends, &index);

	return backend == NULL || backend->epoch != flow->backend_epoch || backend->is_gone ||
	       backend->family == SL_FAMILY_NONE;
}

/** Whether a new flow may take the way back of @flow: it is over, unanswered, or its backend gone. */
static __always_inline bool may_succeed(const struct sl_flow *flow)
{
	return sl_flow_is_over(flow) || flow->state == SL_FLOW_EMBRYONIC || has_lost_backend(flow);
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
	/* In mode fullnat the source port tells flows apart. */
	if (creation->n_sources != 0 || !has_same_reply(flow, creation, family))
		return CREATED;
	if (!may_succeed(flow))
		return CREATED_TAKEN;
	flow_end_locked(first, index, family, SL_XDP_PACKETS);
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

/** Whether @flow gives its source port to the flow that is to be made. */
static __always_inline bool source_yields(const struct sl_flow *flow,
					  const struct creation *creation)
{
	return sl_flow_yields_port(flow, creation->sequence) || has_lost_backend(flow);
}

/*
 * Ends flow @index, whose port is to go to the flow that is to stand at @wanted: in a bucket whose
 * lock is held, or in another.
 */
static __always_inline bool source_end(uint32_t index, uint32_t wanted,
				       const struct creation *creation, uint8_t family)
{
	const struct sl_flow *other = flow_at(index, family);
	uint32_t first = index & ~(uint32_t)(SL_XDP_WAYS - 1);
	uint32_t stamp;

	if (other == NULL)
		return false;
	stamp = read_once(&other->sequence);
	barrier();
	if ((stamp & 1) != 0 || !source_yields(other, creation))
		return false;
	if (first == creation->home || first == (wanted & ~(uint32_t)(SL_XDP_WAYS - 1))) {
		flow_end_locked(first, index, family, SL_XDP_PACKETS);
		return true;
	}
	return flow_end(index, stamp, family, SL_XDP_PACKETS);
}

/* The source port in creation->source_port, from the flow that has it and yields it. */
static __always_inline bool source_reclaim_in(struct creation *creation, uint32_t index,
					      uint8_t family)
{
	uint32_t zero = 0;
	struct sl_xdp_cpu *cpu = bpf_map_lookup_elem(&cpus, &zero);

	if (cpu == NULL)
		return false;
	creation->reply.destination_port = creation->source_port;
	if (!source_end(reply_find(&creation->reply, family), index, creation, family))
		return false;
	cpu->counters.event[SL_EVENT_SOURCE_PORT_REUSED]++;
	return reply_put(&creation->reply, index, family);
}

__noinline uint32_t source_reclaim4(struct creation *creation, uint32_t index)
{
	return creation != NULL && source_reclaim_in(creation, index, SL_FAMILY_IPV4);
}

__noinline uint32_t source_reclaim6(struct creation *creation, uint32_t index)
{
	return creation != NULL && source_reclaim_in(creation, index, SL_FAMILY_IPV6);
}

/** What came of the search for a source port; creation->source_port is the one. */
enum source {
	SOURCE_NONE = 0,
	SOURCE_TAKEN,
	SOURCE_YIELDING, /* a flow has it that gives it away */
};

/*
 * Finds a source port that no flow towards the same backend has, at most SL_SOURCE_PORT_TRIES of
 * them, and takes it for the flow that is to stand at @index.
 */
static __always_inline enum source source_find_in(struct creation *creation, uint32_t index,
						  uint8_t family)
{
	const uint64_t words[2] = {(uint64_t)bpf_get_prandom_u32() << 32 | creation->now,
				   (uint64_t)creation->client.source.word[0] << 32 |
					   creation->client.source_port};
	be16_t yielding = 0;
	struct sl_port_walk walk;
	struct sl_xdp_cpu *cpu;
	uint32_t zero = 0;

	cpu = bpf_map_lookup_elem(&cpus, &zero);
	if (cpu == NULL)
		return SOURCE_NONE;
	creation->reply = (struct sl_tuple){.source = creation->backend_addr,
					    .source_port = creation->backend_port,
					    .destination = creation->source,
					    .protocol = creation->client.protocol,
					    .family = family};
	sl_port_walk_begin(&walk, creation->source_port_first, creation->source_port_last,
			   (uint32_t)(sl_siphash13_words(&control.flow_key, words, 2) >> 32));
	for (uint32_t i = 0; i < SL_SOURCE_PORT_TRIES && i < walk.n_ports; i++) {
		const struct sl_flow *other;

		creation->source_port = sl_port_walk_next(&walk);
		creation->reply.destination_port = creation->source_port;
		cpu->counters.event[SL_EVENT_SOURCE_PORT_TRIES]++;
		if (reply_put(&creation->reply, index, family))
			return SOURCE_TAKEN;
		other = flow_at(reply_find(&creation->reply, family), family);
		if (yielding == 0 && other != NULL && source_yields(other, creation))
			yielding = creation->source_port;
	}
	creation->source_port = yielding;
	return yielding != 0 ? SOURCE_YIELDING : SOURCE_NONE;
}

__noinline uint32_t source_find4(struct creation *creation, uint32_t index)
{
	return creation != NULL ? source_find_in(creation, index, SL_FAMILY_IPV4) : SOURCE_NONE;
}

__noinline uint32_t source_find6(struct creation *creation, uint32_t index)
{
	return creation != NULL ? source_find_in(creation, index, SL_FAMILY_IPV6) : SOURCE_NONE;
}

static __always_inline bool source_take(struct creation *creation, uint32_t index, uint8_t family)
{
	struct sl_xdp_source_flows *flows;
	uint32_t backend = creation->backend;
	uint32_t found = family == SL_FAMILY_IPV4 ? source_find4(creation, index)
						  : source_find6(creation, index);

	if (found == SOURCE_YIELDING)
		found = family == SL_FAMILY_IPV4 ? source_reclaim4(creation, index)
						 : source_reclaim6(creation, index);
	if (found == SOURCE_NONE)
		return false;
	flows = bpf_map_lookup_elem(&source_flows, &backend);
	if (flows != NULL)
		__sync_fetch_and_add(
			&flows->n[creation->position & (SL_MAX_SOURCES_PER_SERVICE - 1)], 1);
	return true;
}

/* Puts the new flow into the bucket @first, whose lock is held, if there is room. */
static __always_inline enum created bucket_put(uint32_t first, uint64_t hash,
					       struct creation *creation, uint8_t family)
{
	uint32_t index = bucket_take(first, hash, family, creation->now);

	if (index == SL_NO_INDEX)
		return CREATED_FULL;
	if (creation->n_sources != 0 && !source_take(creation, index, family))
		return CREATED_NO_SOURCE;
	flow_fill(index, creation, family);
	return CREATED;
}

/* Where the home bucket is full: one of the others. Two choices may be one bucket. */
static __always_inline enum created spilled_put(uint64_t hash, struct creation *creation,
						uint8_t family)
{
	for (uint32_t i = 1; i < SL_XDP_CHOICES; i++) {
		uint32_t first = bucket_of(hash, i, family);
		enum created created;

		if (first == bucket_of(hash, 0, family) || !bucket_lock(first, family))
			continue;
		created = bucket_put(first, hash, creation, family);
		bucket_unlock(first, family);
		if (created != CREATED_FULL)
			return created;
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
						  struct creation *creation, uint8_t family)
{
	enum created created = bucket_judge(home, creation, family);

	if (created == CREATED && bucket_has_spilled(home, family))
		created = spilled_judge(hash, creation, family);
	if (created == CREATED)
		created = bucket_put(home, hash, creation, family);
	if (created != CREATED_FULL)
		return created;
	created = spilled_put(hash, creation, family);
	if (created == CREATED)
		bucket_spill(home, family, 1);
	return created;
}

/** Whether there is room for one more flow. CREATED: there is. */
static __always_inline enum created room_judge(uint8_t family)
{
	uint32_t figures = usage_of(family);

	if (*(volatile uint64_t *)&usage.embryonic[figures] >= max_embryonic)
		return CREATED_EMBRYONIC_FULL;
	if (*(volatile uint64_t *)&usage.flows[figures] >= max_flows)
		return CREATED_FULL;
	return CREATED;
}

static __always_inline enum created create_in(struct creation *creation, uint8_t family)
{
	uint32_t figures = usage_of(family);
	uint64_t hash = sl_flow_client_hash(&control.flow_key, &creation->client.source,
					    creation->client.source_port, family,
					    creation->client.protocol);
	uint32_t home = bucket_of(hash, 0, family);
	enum created created;

	if (!bucket_lock(home, family))
		return CREATED_BUSY;
	creation->home = home;
	created = create_locked(home, hash, creation, family);
	bucket_unlock(home, family);
	if (created == CREATED) {
		usage_add(&usage.flows[figures], 1);
		load_add(creation->backend, 1);
		if (!creation->has_begun)
			usage_add(&usage.embryonic[figures], 1);
	}
	return created;
}

/* What a change of state means for what is counted. The bucket's lock is held. */
static __always_inline void count_turn(const struct sl_flow *flow, uint32_t was, uint32_t is,
				       uint8_t family)
{
	bool is_embryonic = is == SL_FLOW_EMBRYONIC;
	bool is_closed = is == SL_FLOW_CLOSED;

	if (is_embryonic != (was == SL_FLOW_EMBRYONIC))
		usage_add(&usage.embryonic[usage_of(family)], is_embryonic ? 1 : -1);
	if (is_closed != (was == SL_FLOW_CLOSED))
		load_add(flow->backend, is_closed ? -1 : 1);
}

static __always_inline bool turn_in(uint32_t index, uint32_t sequence, uint32_t was, uint32_t is,
				    uint8_t family)
{
	uint32_t first = index & ~(uint32_t)(SL_XDP_WAYS - 1);
	struct sl_flow *flow = flow_at(index, family);
	bool is_turned;

	if (flow == NULL || !bucket_lock(first, family))
		return false;
	is_turned = flow->state == was && read_once(&flow->sequence) == sequence;
	if (is_turned) {
		flow->state = is & 15u;
		count_turn(flow, was, is, family);
	}
	bucket_unlock(first, family);
	return is_turned;
}

/* Takes flow @index from state @was to state @is, by one CPU alone. Whether it did. */

__noinline uint32_t flow_turn4(uint32_t index, uint32_t sequence, uint32_t was, uint32_t is)
{
	return turn_in(index, sequence, was, is, SL_FAMILY_IPV4);
}

__noinline uint32_t flow_turn6(uint32_t index, uint32_t sequence, uint32_t was, uint32_t is)
{
	return turn_in(index, sequence, was, is, SL_FAMILY_IPV6);
}

static __always_inline bool flow_turn(uint32_t index, uint32_t sequence, uint32_t was, uint32_t is,
				      uint8_t family)
{
	return family == SL_FAMILY_IPV4 ? flow_turn4(index, sequence, was, is)
					: flow_turn6(index, sequence, was, is);
}
