// SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0
/* Copyright (c) 2026 The Sluice authors */
/*
 * What becomes of one parsed packet, as dataplane/dpdk/balance.c decides it: a known flow decides
 * alone; else a client's packet is given a backend by its hash, and a backend's packet is
 * translated back where the configuration leaves no doubt whose it is. The verdict is known before
 * the first byte is written.
 */
#pragma once

#include <sluice/packet/maglev.h>
#include <sluice/packet/nat.h>
#include <sluice/packet/parse.h>
#include <sluice/wire.h>

#include "affinity.h"
#include "route.h"
#include "schedule.h"

/** What the steps of one packet's story know of it. */
struct story {
	struct xdp_md *ctx;
	struct sl_xdp_cpu *cpu; /* this one's */
	uint32_t now;           /* ticks */
	uint32_t length;        /* of the frame, bytes */
	uint32_t port;          /* the one to send from; SL_VERDICT_FORWARD and _REPLY only */
	uint16_t generation;    /* of the kernel's routes */
};

/** Where a rewritten packet goes. */
struct way {
	struct sl_rewrite *to;
	uint32_t adjacency;
	enum sl_verdict verdict; /* if nothing stands in the way */
	uint32_t service;
	uint32_t backend;
};

static __always_inline bool may_be(const uint64_t *filter, const union sl_addr *addr,
				   uint8_t family)
{
	uint32_t bit = sl_xdp_filter_bit(addr, family);

	return (filter[bit >> 6 & (SL_XDP_FILTER_WORDS - 1)] >> (bit & 63)) & 1;
}

/** Whether the flow's backend is there and takes the packets of its flows. */
static __always_inline bool has_backend(const struct sl_flow *flow)
{
	uint32_t index = flow->backend;
	const struct sl_backend *backend = bpf_map_lookup_elem(&backends, &index);
	union backend_word state;

	if (backend == NULL)
		return false;
	state = backend_state(backend);
	return state.epoch == flow->backend_epoch && !state.is_gone &&
	       state.family != SL_FAMILY_NONE;
}

static __always_inline void count_service_drop(uint32_t service)
{
	struct sl_service_counters *counters_of = bpf_map_lookup_elem(&service_counters, &service);

	if (counters_of != NULL)
		counters_of->drops++;
}

static __always_inline void count_sent(const struct way *way, uint32_t length)
{
	struct sl_service_counters *service = bpf_map_lookup_elem(&service_counters, &way->service);
	struct sl_backend_counters *backend = bpf_map_lookup_elem(&backend_counters, &way->backend);

	if (service == NULL || backend == NULL)
		return;
	if (way->verdict == SL_VERDICT_FORWARD) {
		service->packets_in++;
		service->bytes_in += length;
		backend->packets_in++;
		backend->bytes_in += length;
	} else {
		service->packets_out++;
		service->bytes_out += length;
		backend->packets_out++;
		backend->bytes_out += length;
	}
}

/** Whether @packet may go *@way, to @adjacency. SL_VERDICT_NONE: it may. */
static __always_inline enum sl_verdict way_judge(const struct sl_packet *packet,
						 const struct way *way,
						 const struct sl_adjacency *adjacency)
{
	if (SL_UNLIKELY(adjacency == NULL || way->adjacency < SL_ADJACENCY_FIRST)) {
		count_service_drop(way->service);
		return SL_VERDICT_DROP_NO_ROUTE;
	}
	if (SL_UNLIKELY(!sl_nat_has_ttl(packet))) {
		count_service_drop(way->service);
		return SL_VERDICT_DROP_TTL;
	}
	return SL_VERDICT_NONE;
}

/** The last step: next hop, TTL, and only then the first write. *@port: to send from. */
static __always_inline enum sl_verdict rewrite(struct sl_packet *packet, const struct way *way,
					       uint32_t length, uint32_t *port)
{
	const struct sl_adjacency *adjacency = adjacency_at(way->adjacency);
	enum sl_verdict verdict = way_judge(packet, way, adjacency);

	if (SL_UNLIKELY(adjacency == NULL || verdict != SL_VERDICT_NONE))
		return verdict;
	sl_nat_rewrite(packet, way->to);
	sl_nat_ethernet(packet->ethernet, adjacency->destination_mac, adjacency->source_mac);
	*port = adjacency->port;
	count_sent(way, length);
	return way->verdict;
}

/* Not verdicts: what is to be done before it is known. By functions that have the stack to themselves. */
enum {
	REWRITE_LATER = SL_N_VERDICTS, /* by rewrite6() */
	CREATE_LATER,                  /* create4() or create6() */
};

/*
 * An IPv6 packet leaves what rewrite6() needs in the CPU's record: its addresses leave no room on
 * the stack for the frame of another function, which runs when the caller's is gone.
 */
static __always_inline enum sl_verdict
rewrite_later(struct story *story, const struct sl_packet *packet, const struct way *way)
{
	struct sl_xdp_cpu *cpu = story->cpu;

	cpu->l4_offset = packet->l4_offset;
	cpu->has_vlan = packet->has_vlan;
	cpu->protocol = packet->tuple.protocol;
	cpu->length = story->length;
	cpu->adjacency = way->adjacency;
	cpu->service = way->service;
	cpu->backend = way->backend;
	cpu->verdict = way->verdict;
	return REWRITE_LATER;
}

static __always_inline enum sl_verdict rewrite6(struct xdp_md *ctx, struct sl_xdp_cpu *cpu,
						uint32_t *port)
{
	void *data = (void *)(long)ctx->data;
	const void *data_end = (void *)(long)ctx->data_end;
	struct sl_packet packet = {.ethernet = data};
	struct way way = {.to = &cpu->rewrite,
			  .adjacency = cpu->adjacency,
			  .verdict = cpu->verdict,
			  .service = cpu->service,
			  .backend = cpu->backend};
	uint8_t *l4;

	packet.ipv6 =
		data + sizeof(struct sl_ethernet) + (cpu->has_vlan ? sizeof(struct sl_vlan) : 0);
	l4 = data + (cpu->l4_offset & (SL_MAX_L4_OFFSET - 1));
	packet.ports = (struct sl_l4_ports *)l4;
	packet.l4_checksum = (be16_t *)(cpu->protocol == SL_PROTOCOL_TCP
						? l4 + offsetof(struct sl_tcp, checksum)
						: l4 + offsetof(struct sl_udp, checksum));
	if ((const void *)(packet.ipv6 + 1) > data_end ||
	    (const void *)(packet.ports + 1) > data_end ||
	    (const void *)(packet.l4_checksum + 1) > data_end)
		return SL_VERDICT_DROP_TRUNCATED;
	packet.tuple.family = SL_FAMILY_IPV6;
	packet.tuple.protocol = cpu->protocol;
	return rewrite(&packet, &way, cpu->length, port);
}

static __always_inline enum sl_verdict dispatch(struct story *story, struct sl_packet *packet,
						const struct way *way, uint8_t family)
{
	if (SL_UNLIKELY(way->adjacency == SL_ADJACENCY_GLEAN)) {
		story->cpu->counters.event[SL_EVENT_RESOLVE]++;
		return SL_VERDICT_DROP_NO_NEIGHBOUR;
	}
	if (family == SL_FAMILY_IPV6)
		return rewrite_later(story, packet, way);
	story->cpu->service = way->service;
	story->cpu->verdict = way->verdict;
	return rewrite(packet, way, story->length, &story->port);
}

/*
 * Next hop of backend @index, which has @epoch. Both grow, generation and epoch, and so their sum: what
 * was kept for a former owner of the index is not taken for this one's.
 */
static __always_inline uint32_t backend_adjacency(const struct story *story, uint32_t index,
						  uint16_t epoch, const union sl_addr *addr,
						  uint8_t family)
{
	uint32_t *kept = bpf_map_lookup_elem(&backend_hops, &index);

	if (kept == NULL)
		return SL_ADJACENCY_NONE;
	return route_kept(story->ctx, kept, (uint16_t)(story->generation + epoch), addr, family);
}

/** A flow as found. */
struct found {
	uint32_t index; /* in its family's table; SL_NO_INDEX: none */
	uint32_t sequence;
	struct sl_flow *flow;
};

/* Counts what a packet said of @backend: sl_flow_news. */
__noinline uint32_t count_news(uint32_t backend, uint32_t word, uint32_t since_us)
{
	struct sl_backend_openings *openings = bpf_map_lookup_elem(&backend_openings, &backend);

	if (openings == NULL)
		return 0;
	if (word == SL_FLOW_ANSWERED) {
		__sync_fetch_and_add(&openings->syn_acks, 1);
		__sync_fetch_and_add(&openings->syn_ack_us,
				     sl_xdp_us(bpf_ktime_get_ns()) - since_us);
	} else if (word == SL_FLOW_REFUSED) {
		__sync_fetch_and_add(&openings->refused, 1);
	} else {
		__sync_fetch_and_add(&openings->resets, 1);
	}
	return 0;
}

/** Whether @packet may take @flow to another state. */
static __always_inline bool may_turn(const struct sl_flow *flow, const struct sl_packet *packet)
{
	return flow->state == SL_FLOW_EMBRYONIC || (flow->flags & SL_FLOW_RESET) != 0 ||
	       (packet->tcp_flags & (SL_TCP_FIN | SL_TCP_RST)) != 0;
}

/*
 * What the packet does to the flow's state. Two CPUs may do this at once, one a direction; what
 * they can spoil for each other is when the flow ends, not where its packets go.
 */
static __always_inline void track(struct story *story, const struct found *found, uint8_t family,
				  enum sl_direction direction, const struct sl_packet *packet)
{
	struct sl_flow *flow = found->flow;
	struct sl_flow *after = &story->cpu->flow;
	struct sl_flow_news news;
	uint32_t was;

	if (SL_LIKELY(!may_turn(flow, packet))) {
		sl_flow_track(flow, direction, packet, story->now);
		return;
	}
	*after = *flow;
	was = after->state;
	news = sl_flow_track(after, direction, packet, story->now);
	flow->flags = after->flags;
	flow->client_next = after->client_next;
	flow->backend_next = after->backend_next;
	flow->last_seen = after->last_seen;
	if (news.word != SL_FLOW_NO_NEWS)
		count_news(flow->backend, news.word, news.since_us);
	/* Where another CPU was faster, the state that it has seen stays. */
	if (after->state != was &&
	    flow_turn(found->index, found->sequence, was, after->state, family) &&
	    was == SL_FLOW_EMBRYONIC)
		story->cpu->counters.event[SL_EVENT_FLOW_PROMOTED]++;
}

/**
 * Follows a packet of a flow that is in the table, and says where it goes: *@way, whose `to` the
 * caller has set. False: the flow was replaced meanwhile.
 */
static __always_inline bool follow(struct story *story, const struct found *found, uint8_t family,
				   enum sl_direction direction, const struct sl_packet *packet,
				   struct way *way)
{
	struct sl_flow *flow = found->flow;
	uint16_t epoch = flow->backend_epoch;
	bool is_of_packet = sl_flow_matches(flow, &packet->tuple, direction);

	way->service = flow->service;
	way->backend = flow->backend;
	sl_flow_rewrite_as(flow, family, direction, way->to);
	barrier();
	if (SL_UNLIKELY(!is_of_packet || read_once(&flow->sequence) != found->sequence))
		return false;
	track(story, found, family, direction, packet);
	if (direction == SL_DIRECTION_FORWARD) {
		way->verdict = SL_VERDICT_FORWARD;
		way->adjacency = backend_adjacency(story, way->backend, epoch,
						   &way->to->destination, family);
	} else {
		way->verdict = SL_VERDICT_REPLY;
		way->adjacency = route_kept(story->ctx, (uint32_t *)&flow->client_adjacency,
					    story->generation, &way->to->destination, family);
	}
	return true;
}

/** A packet of a flow that is in the table. SL_VERDICT_NONE: the flow was replaced meanwhile. */
static __always_inline enum sl_verdict balance_flow(struct story *story, const struct found *found,
						    uint8_t family, enum sl_direction direction,
						    struct sl_packet *packet)
{
	struct sl_rewrite to;
	/* IPv6's is too large for the stack. */
	struct way way = {.to = family == SL_FAMILY_IPV4 ? &to : &story->cpu->rewrite};

	if (!follow(story, found, family, direction, packet, &way))
		return SL_VERDICT_NONE;
	return dispatch(story, packet, &way, family);
}

/** This CPU's creation, empty. */
static __always_inline struct creation *creation_new(const struct story *story)
{
	uint32_t zero = 0;
	struct creation *creation = bpf_map_lookup_elem(&creations, &zero);

	if (creation != NULL)
		*creation = (struct creation){.now = story->now};
	return creation;
}

static __always_inline uint32_t find_endpoint(void *map, const union sl_addr *addr, be16_t port,
					      uint8_t family, uint8_t protocol)
{
	struct sl_xdp_endpoint key = {
		.addr = *addr, .port = port, .protocol = protocol, .family = family};
	const uint32_t *index = bpf_map_lookup_elem(map, &key);

	if ((index == NULL || *index == SL_NO_INDEX) && port != 0 && control.has_wildcard) {
		key.port = 0;
		index = bpf_map_lookup_elem(map, &key);
	}
	return index != NULL ? *index : SL_NO_INDEX;
}

/* The next three read the packet's tuple from @creation: their frames are not their caller's. */

/** Index of the service that the packet is for, or SL_NO_INDEX. */
__noinline uint32_t service_find(const struct creation *creation)
{
	if (creation == NULL)
		return SL_NO_INDEX;
	return find_endpoint(&service_of, &creation->client.destination,
			     creation->client.destination_port, creation->client.family,
			     creation->client.protocol);
}

/** Index of the backend, and by it the service, whose reply this is, where that is certain. */
__noinline uint32_t replier_find(const struct creation *creation)
{
	struct sl_xdp_endpoint key = {.protocol = SL_XDP_SOURCE};

	if (creation == NULL)
		return SL_NO_INDEX;
	key.addr = creation->client.destination;
	key.family = creation->client.family;
	/* To an address that stands in for clients: a reply to that address, or nobody's. */
	if (may_be(control.source_filter, &key.addr, key.family) &&
	    bpf_map_lookup_elem(&service_of, &key) != NULL)
		return SL_NO_INDEX;
	return find_endpoint(&backend_of, &creation->client.source, creation->client.source_port,
			     creation->client.family, creation->client.protocol);
}

/** Whether the packet comes from an address that is a service's, or stands in for clients. */
__noinline uint32_t source_is_ours(const struct creation *creation)
{
	struct sl_xdp_endpoint key = {.family = 0};

	if (creation == NULL)
		return 0;
	key.addr = creation->client.source;
	key.family = creation->client.family;
	return (may_be(control.service_filter, &key.addr, key.family) ||
		may_be(control.source_filter, &key.addr, key.family)) &&
	       bpf_map_lookup_elem(&service_of, &key) != NULL;
}

/* Mode fullnat: the source address with the fewest flows to this backend. */
static __always_inline void choose_source(struct creation *creation, void *inner,
					  const union sl_xdp_chunk *head, uint32_t backend)
{
	struct sl_xdp_source_flows *flows = bpf_map_lookup_elem(&source_flows, &backend);
	uint32_t n_sources = head->head.n_sources;
	uint32_t best = (uint32_t)(((uint64_t)bpf_get_prandom_u32() * n_sources) >> 32);
	const union sl_xdp_chunk *chunk;
	uint32_t least;

	if (flows == NULL)
		return;
	least = flows->n[best & (SL_MAX_SOURCES_PER_SERVICE - 1)];
	/* One way through: see sl_less(). */
	for (uint32_t i = 0; i < SL_MAX_SOURCES_PER_SERVICE; i++) {
		uint32_t n = flows->n[i];
		uint32_t if_less = 0 - (sl_less(i, n_sources) & sl_less(n, least));

		best ^= (best ^ i) & if_less;
		least ^= (least ^ n) & if_less;
	}
	best &= SL_MAX_SOURCES_PER_SERVICE - 1;
	chunk = chunk_at(inner, head->head.first_source_chunk + best / SL_XDP_CHUNK_SOURCES);
	if (chunk == NULL)
		return;
	creation->source = chunk->source[best % SL_XDP_CHUNK_SOURCES];
	creation->position = best;
	creation->source_port_first = head->head.source_port_first;
	creation->source_port_last = head->head.source_port_last;
	creation->n_sources = n_sources;
}

/** Whether the packet's client is in a list of sources of the canary of @service: what its flows go by. */
__noinline uint32_t audience_find(const struct creation *creation, uint32_t service)
{
	struct sl_xdp_listed key = {.service = service, .list = WIRE_CANARY_SOURCE};

	if (creation == NULL)
		return SL_AUDIENCE_ALL;
	key.family = creation->client.family;
	key.length = SL_XDP_LISTED_BITS + (key.family == SL_FAMILY_IPV4 ? 32 : 128);
	key.addr = creation->client.source;
	return bpf_map_lookup_elem(&listed, &key) != NULL ? SL_AUDIENCE_CANARY : SL_AUDIENCE_ALL;
}

/* The next ones have the stack to themselves, one after the other: in Linux 6.1 there is too little for two. */

/** Index of the backend that a packet's hash leads to, or SL_NO_INDEX. Hash and audience stay in @creation. */
__noinline uint32_t backend_choose(struct creation *creation, uint32_t service)
{
	const struct sl_service *record = bpf_map_lookup_elem(&services, &service);
	void *inner = bpf_map_lookup_elem(&slots, &service);
	const union sl_xdp_chunk *head;
	struct sl_tuple tuple;

	if (creation == NULL || inner == NULL || record == NULL)
		return SL_NO_INDEX;
	head = chunk_at(inner, 0);
	if (head == NULL)
		return SL_NO_INDEX;
	creation->audience = SL_AUDIENCE_ALL;
	if (SL_UNLIKELY(record->flags & SL_SERVICE_CANARY))
		creation->audience = audience_find(creation, service);
	tuple = creation->client;
	if (record->scheduler == WIRE_SCHEDULER_SOURCE_HASH)
		tuple.source_port = 0;
	creation->hash = sl_flow_hash(&head->head.hash_key, &tuple);
	return slot_at(inner, head, creation->audience,
		       sl_maglev_slot(creation->hash, head->head.n_slots));
}

/** Of the one that the scheduler gives a new flow, where the hash leads to @hashed. SL_NO_INDEX: all are full. */
__noinline uint32_t backend_schedule(const struct creation *creation, uint32_t service,
				     uint32_t hashed)
{
	const struct sl_service *record = bpf_map_lookup_elem(&services, &service);
	void *inner = bpf_map_lookup_elem(&slots, &service);
	const union sl_xdp_chunk *head;

	if (creation == NULL || inner == NULL || record == NULL)
		return SL_NO_INDEX;
	head = chunk_at(inner, 0);
	if (head == NULL)
		return SL_NO_INDEX;
	return schedule_backend(record, service, inner, head, creation->audience, creation->hash,
				hashed);
}

/* A client of the canary's is as everybody now: the backend that its hash leads to. */
__noinline uint32_t backend_choose_anew(struct creation *creation, uint32_t service)
{
	void *inner = bpf_map_lookup_elem(&slots, &service);
	const union sl_xdp_chunk *head;

	if (creation == NULL || inner == NULL)
		return SL_NO_INDEX;
	head = chunk_at(inner, 0);
	if (head == NULL)
		return SL_NO_INDEX;
	creation->audience = SL_AUDIENCE_ALL;
	return slot_at(inner, head, SL_AUDIENCE_ALL,
		       sl_maglev_slot(creation->hash, head->head.n_slots));
}

/** Of the one that a new flow is given, where the hash leads to @hashed. SL_NO_INDEX: all are full. */
__noinline uint32_t backend_give(struct creation *creation, uint32_t service, uint32_t hashed)
{
	const struct sl_service *record = bpf_map_lookup_elem(&services, &service);
	uint32_t index = SL_NO_INDEX;

	if (creation == NULL || record == NULL)
		return SL_NO_INDEX;
	for (uint32_t i = 0; i < SL_N_AUDIENCES && index == SL_NO_INDEX; i++) {
		if (i > 0) {
			if (creation->audience == SL_AUDIENCE_ALL)
				break;
			hashed = backend_choose_anew(creation, service);
		}
		if (record->flags & SL_SERVICE_AFFINITY) {
			creation->has_affinity = 1;
			index = affinity_choose(creation, service);
		}
		if (index == SL_NO_INDEX)
			index = backend_schedule(creation, service, hashed);
	}
	return index;
}

/** Gives the new flow to @backend a source, in mode fullnat. */
__noinline uint32_t source_choose(struct creation *creation, uint32_t service, uint32_t backend)
{
	void *inner = bpf_map_lookup_elem(&slots, &service);
	const union sl_xdp_chunk *head;

	if (creation == NULL || inner == NULL)
		return 0;
	head = chunk_at(inner, 0);
	if (head != NULL && head->head.n_sources != 0)
		choose_source(creation, inner, head, backend);
	return 0;
}

/* Counts why there is no flow; what is a verdict is counted as such. */
static __always_inline void count_refused(struct sl_xdp_cpu *cpu, enum created created)
{
	if (created == CREATED_FULL)
		cpu->counters.event[SL_EVENT_FLOW_TABLE_FULL]++;
	else if (created == CREATED_EMBRYONIC_FULL)
		cpu->counters.event[SL_EVENT_EMBRYONIC_FULL]++;
}

static __always_inline void count_created(struct sl_xdp_cpu *cpu, const struct creation *creation)
{
	struct sl_service_counters *service =
		bpf_map_lookup_elem(&service_counters, &creation->service);
	struct sl_backend_counters *backend =
		bpf_map_lookup_elem(&backend_counters, &creation->backend);
	struct sl_backend_openings *openings =
		bpf_map_lookup_elem(&backend_openings, &creation->backend);

	cpu->counters.event[SL_EVENT_FLOW_CREATED]++;
	if (creation->flags & SL_FLOW_FROM_REPLY)
		cpu->counters.event[SL_EVENT_FLOW_FROM_REPLY]++;
	if (service != NULL)
		service->flows++;
	if (backend != NULL)
		backend->flows++;
	if (openings != NULL && (creation->flags & SL_FLOW_AWAITED))
		__sync_fetch_and_add(&openings->syns, 1);
}

/* The flow log is told that the flow of this CPU's creation began. */
__noinline uint32_t log_begin(void)
{
	uint32_t zero = 0;
	const struct creation *creation = bpf_map_lookup_elem(&creations, &zero);
	const struct sl_xdp_cpu *cpu = bpf_map_lookup_elem(&cpus, &zero);
	struct sl_flow_event *event;
	bool is_snat;

	if (creation == NULL || cpu == NULL)
		return 0;
	event = event_new();
	if (event == NULL)
		return 0;
	is_snat = creation->n_sources != 0 && creation->backend_port == 0;
	event->kind = SL_FLOW_BEGINS;
	event->family = creation->client.family;
	event->protocol = creation->client.protocol;
	event->reserved = 0;
	event->service = (uint16_t)creation->service;
	event->service_epoch = creation->service_epoch;
	event->client_port = creation->client.source_port;
	event->address_port = creation->client.destination_port;
	event->source_port =
		creation->n_sources != 0 ? creation->source_port : creation->client.source_port;
	event->backend_port = is_snat ? cpu->tuple.destination_port : creation->backend_port;
	event->client = creation->client.source;
	event->address = creation->client.destination;
	event->source = creation->n_sources != 0 ? creation->source : creation->client.source;
	event->backend = is_snat ? cpu->tuple.destination : creation->backend_addr;
	bpf_ringbuf_submit(event, 0);
	return 0;
}

/*
 * Puts the flow that this CPU's creation describes into the table. CREATED: it is there, from now on
 * or since another CPU was faster.
 */
static __always_inline enum created create(uint8_t family)
{
	uint32_t zero = 0;
	struct creation *creation = bpf_map_lookup_elem(&creations, &zero);
	struct sl_xdp_cpu *cpu = bpf_map_lookup_elem(&cpus, &zero);
	enum created created;

	if (creation == NULL || cpu == NULL)
		return CREATED_FULL;
	created = create_in(creation, family);
	if (created == CREATED) {
		count_created(cpu, creation);
		if (SL_UNLIKELY(creation->is_logged))
			log_begin();
		if (SL_UNLIKELY(creation->has_affinity))
			affinity_keep();
	} else
		count_refused(cpu, created);
	/* Where the backend's packet asks, the client's flow may have another backend. */
	if (created == CREATED_ALREADY && (creation->flags & SL_FLOW_FROM_REPLY) == 0)
		return CREATED;
	return created;
}

__noinline uint32_t create4(void)
{
	return create(SL_FAMILY_IPV4);
}

__noinline uint32_t create6(void)
{
	return create(SL_FAMILY_IPV6);
}

/** Whether there is room for a new flow. CREATED: there is. */
static __always_inline enum created find_room(struct story *story, uint8_t family)
{
	enum created created = room_judge(family);

	count_refused(story->cpu, created);
	return created;
}

/** Completes @creation, which names client, service, backend and flags. */
static __always_inline void prepare(struct creation *creation, const struct sl_backend *backend,
				    const struct sl_service *service)
{
	creation->backend_addr = backend->addr;
	creation->backend_port =
		backend->port != 0 ? backend->port : creation->client.destination_port;
	creation->backend_epoch = backend->epoch;
	creation->service_epoch = service->epoch;
	creation->is_logged = (service->flags & SL_SERVICE_FLOW_LOG) != 0;
}

/*
 * A packet that no flow knows becomes a flow, and its story begins again; or, if it makes none, the
 * next two say what becomes of it. @created: what came of it, or CREATION_WANTED. CREATE_LATER: the
 * flow is to be created. SL_VERDICT_FORWARD, _REPLY: the packet is to go *@way.
 */

/** Whether packets of @service without a flow cannot be forwarded. */
static __always_inline bool service_needs_flow(const struct sl_service *service)
{
	return service->mode == WIRE_MODE_FULLNAT || service->proxy_protocol != WIRE_PROXY_NONE;
}

/** Whether a packet of @protocol that came from a backend may go to the client without a flow. */
static __always_inline bool service_replies_stateless(const struct sl_service *service,
						      uint8_t protocol)
{
	/* How a connection's numbers are shifted, its flow alone knows. */
	return service->mode == WIRE_MODE_NAT && (service->flags & SL_SERVICE_STATELESS_REPLIES) &&
	       (service->proxy_protocol == WIRE_PROXY_NONE || protocol != SL_PROTOCOL_TCP);
}

/** Whether @packet is the first of a connection, or of what may be one: its flow is scheduled. */
static __always_inline bool is_first(const struct sl_packet *packet)
{
	return sl_flow_is_opening(packet) ||
	       (packet->tuple.protocol == SL_PROTOCOL_UDP && !sl_packet_is_later(packet));
}

/* A client's packet: choose a backend, remember it if there is room. */
static __always_inline enum sl_verdict balance_new(struct story *story, struct creation *creation,
						   uint32_t service, const struct sl_packet *packet,
						   enum created created, struct way *way)
{
	const struct sl_service *record = bpf_map_lookup_elem(&services, &service);
	bool needs_flow = record != NULL && service_needs_flow(record);
	/* A reset begins nothing, nor does what follows a first fragment. */
	bool begins = created == CREATION_WANTED && (packet->tcp_flags & SL_TCP_RST) == 0 &&
		      !sl_packet_is_later(packet);
	const struct sl_backend *backend;
	uint32_t index;

	/* Where a flow is needed, a connection's first packet alone begins one. */
	if (needs_flow && !is_first(packet)) {
		count_service_drop(service);
		return SL_VERDICT_DROP_NO_FLOW;
	}
	index = backend_choose(creation, service);
	if (begins && is_first(packet) && index != SL_NO_INDEX) {
		index = backend_give(creation, service, index);
		if (index == SL_NO_INDEX) {
			count_service_drop(service);
			return SL_VERDICT_DROP_BACKENDS_FULL;
		}
	}
	backend = bpf_map_lookup_elem(&backends, &index);
	if (backend == NULL || record == NULL ||
	    backend_state(backend).family != packet->tuple.family) {
		count_service_drop(service);
		return SL_VERDICT_DROP_NO_BACKEND;
	}
	if (begins)
		created = find_room(story, packet->tuple.family);
	if (created == CREATED) {
		creation->sequence = packet->tcp_sequence;
		creation->service = service;
		creation->backend = index;
		creation->has_header = record->proxy_protocol != WIRE_PROXY_NONE;
		creation->flags = sl_flow_opening_flags(packet, story->cpu->has_ttl);
		if (creation->flags & SL_FLOW_AWAITED)
			creation->since_us = sl_xdp_us(bpf_ktime_get_ns());
		prepare(creation, backend, record);
		source_choose(creation, service, index);
		return CREATE_LATER;
	}
	if (created == CREATED_TAKEN) {
		count_service_drop(service);
		return SL_VERDICT_DROP_TUPLE_TAKEN;
	}
	if (needs_flow && created == CREATED_BUSY)
		return SL_VERDICT_NONE;
	if (needs_flow) {
		count_service_drop(service);
		return created == CREATED_NO_SOURCE ? SL_VERDICT_DROP_NO_SOURCE_PORT
						    : SL_VERDICT_DROP_FLOWS_FULL;
	}
	/* What comes after it has no flow either: by the hash, which is the same for all of them. */
	if (begins) {
		index = backend_choose(creation, service);
		backend = bpf_map_lookup_elem(&backends, &index);
		if (backend == NULL) {
			count_service_drop(service);
			return SL_VERDICT_DROP_NO_BACKEND;
		}
	}
	story->cpu->counters.event[SL_EVENT_STATELESS_FORWARD]++;
	creation->backend_addr = backend->addr;
	way->service = service;
	way->backend = index;
	way->to->source = packet->tuple.source;
	way->to->source_port = packet->tuple.source_port;
	way->to->destination = backend->addr;
	way->to->destination_port =
		backend->port != 0 ? backend->port : packet->tuple.destination_port;
	way->adjacency = backend_adjacency(story, index, backend->epoch, &creation->backend_addr,
					   packet->tuple.family);
	return SL_VERDICT_FORWARD;
}

/* Whether a backend's packet is worth a flow: it names the true backend itself. */
static __always_inline bool teaches_flow(const struct sl_packet *packet)
{
	return packet->tuple.protocol == SL_PROTOCOL_TCP && !sl_packet_is_later(packet) &&
	       (packet->tcp_flags & (SL_TCP_SYN | SL_TCP_RST)) == 0;
}

/* A backend's packet: after a restart, or on another host than the client's. */
static __always_inline enum sl_verdict balance_orphan(struct story *story,
						      struct creation *creation, uint32_t index,
						      const struct sl_packet *packet,
						      enum created created, struct way *way)
{
	const struct sl_backend *backend = bpf_map_lookup_elem(&backends, &index);
	const struct sl_service *service;

	if (backend == NULL)
		return SL_VERDICT_PUNT_NOT_SERVICE;
	way->backend = index;
	way->service = backend->service;
	service = bpf_map_lookup_elem(&services, &way->service);
	if (service == NULL || !service_replies_stateless(service, packet->tuple.protocol))
		return SL_VERDICT_PUNT_NOT_SERVICE;
	way->to->source = service->addr;
	way->to->source_port = service->port != 0 ? service->port : packet->tuple.source_port;
	way->to->destination = packet->tuple.destination;
	way->to->destination_port = packet->tuple.destination_port;
	way->adjacency =
		route_find(story->ctx, &creation->client.destination, packet->tuple.family);
	/* To the host itself, a health check's answer say; or where no port of ours leads. */
	if (way->adjacency == SL_ADJACENCY_NONE)
		return SL_VERDICT_PUNT_LOCAL;
	/* In maintenance: its flows have ended, and its packets begin none. */
	if (SL_UNLIKELY(backend_state(backend).is_gone)) {
		count_service_drop(way->service);
		return SL_VERDICT_DROP_BACKEND_GONE;
	}
	if (created == CREATION_WANTED && teaches_flow(packet) &&
	    find_room(story, packet->tuple.family) == CREATED) {
		creation->client.source = way->to->destination;
		creation->client.source_port = way->to->destination_port;
		creation->client.destination = way->to->source;
		creation->client.destination_port = way->to->source_port;
		creation->service = way->service;
		creation->backend = index;
		creation->flags = SL_FLOW_FROM_REPLY;
		prepare(creation, backend, service);
		return CREATE_LATER;
	}
	story->cpu->counters.event[SL_EVENT_STATELESS_REPLY]++;
	return SL_VERDICT_REPLY;
}

/** No flow knows the packet. @family: a constant. @way: its `to` is set. */
static __always_inline enum sl_verdict balance_unknown(struct story *story,
						       const struct sl_packet *packet,
						       uint8_t family, enum created created,
						       struct way *way)
{
	struct creation *creation = creation_new(story);
	uint32_t index = SL_NO_INDEX;
	enum sl_verdict verdict;

	if (creation == NULL)
		return SL_VERDICT_PUNT_NOT_SERVICE;
	creation->client = packet->tuple;
	creation->client.family = family;
	story->cpu->tuple = creation->client;
	if (may_be(control.service_filter, &packet->tuple.destination, family))
		index = service_find(creation);
	if (index != SL_NO_INDEX) {
		if (source_is_ours(creation)) {
			count_service_drop(index);
			return SL_VERDICT_DROP_SOURCE_IS_SERVICE;
		}
		verdict = balance_new(story, creation, index, packet, created, way);
	} else {
		index = replier_find(creation);
		if (index == SL_NO_INDEX)
			return SL_VERDICT_PUNT_NOT_SERVICE;
		verdict = balance_orphan(story, creation, index, packet, created, way);
	}
	way->verdict = verdict;
	return verdict;
}
