// SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0
/* Copyright (c) 2026 The Sluice authors */
/*
 * The program for mode snat, as dataplane/dpdk/egress.c does it: all that is no service's comes here, if
 * there is such a service. Functions one after the other, so that each has the stack to itself; what they
 * tell each other stands in the CPU's record.
 */
#pragma once

#include <sluice/packet/egress.h>
#include <sluice/packet/icmp.h>

#include "icmp.h"
#include "record.h"

enum {
	EGRESS_LOOKS = 3,
	/* What egress_classify() says. */
	EGRESS_NONE = 0,
	EGRESS_OUT,
	EGRESS_IN,
};

/* Reads a packet into the record; errors and fragments stand there already. */
__noinline int egress_read(struct xdp_md *ctx)
{
	const struct sl_xdp_port *from = port_of(ctx->ingress_ifindex);
	enum sl_verdict verdict;
	struct sl_packet packet;
	const void *data_end;
	struct story story;
	void *data;

	if (from == NULL || !story_begin(ctx, &story))
		return XDP_PASS;
	verdict = parse_ip(&story, from, &packet, &data, &data_end);
	if (verdict == SL_VERDICT_NONE)
		verdict = story.cpu->passage == SL_XDP_PASSAGE_ECHO
				  ? sl_icmp_parse_echo(data, data_end, &packet)
				  : sl_parse_l4(data, data_end, &packet);
	if (verdict != SL_VERDICT_NONE)
		return conclude(&story, verdict, from);
	record_fill(&story, &packet);
	story.cpu->has_ttl = sl_nat_has_ttl(&packet);
	return GO_ON;
}

/* Index of the service of mode snat whose client has this address, or SL_NO_INDEX. */
static __always_inline uint32_t inside_find(const union sl_addr *addr, uint8_t family)
{
	struct sl_xdp_prefix key = {
		.length = SL_XDP_PREFIX_BITS + (family == SL_FAMILY_IPV4 ? 32 : 128),
		.family = family,
		.addr = *addr,
	};
	const uint32_t *index = bpf_map_lookup_elem(&inside, &key);

	return index != NULL ? *index : SL_NO_INDEX;
}

static __always_inline bool has_endpoint(void *map, const union sl_addr *addr, be16_t port,
					 uint8_t family, uint8_t protocol)
{
	struct sl_xdp_endpoint key = {
		.addr = *addr, .port = port, .protocol = protocol, .family = family};

	return bpf_map_lookup_elem(map, &key) != NULL;
}

/* Whether the packet comes from what is a backend of some service. */
static __always_inline bool is_from_backend(const struct sl_tuple *tuple)
{
	return may_be(control.backend_filter, &tuple->source, tuple->family) &&
	       (has_endpoint(&backend_of, &tuple->source, tuple->source_port, tuple->family,
			     tuple->protocol) ||
		(control.has_wildcard &&
		 has_endpoint(&backend_of, &tuple->source, 0, tuple->family, tuple->protocol)));
}

/* As lookup_egress() of dataplane/lookup.h. In the record: the service of the client that sends. */
__noinline int egress_classify(void)
{
	struct sl_xdp_cpu *cpu = this_cpu();
	const struct sl_tuple *tuple;

	if (cpu == NULL)
		return EGRESS_NONE;
	tuple = &cpu->tuple;
	cpu->has_header = 0;
	cpu->egress_service = inside_find(&tuple->source, tuple->family);
	if (may_be(control.source_filter, &tuple->destination, tuple->family) &&
	    has_endpoint(&service_of, &tuple->destination, 0, tuple->family, SL_XDP_EGRESS_SOURCE))
		return EGRESS_IN;
	if (cpu->egress_service == SL_NO_INDEX ||
	    has_endpoint(&service_of, &tuple->destination, 0, tuple->family, 0) ||
	    inside_find(&tuple->destination, tuple->family) != SL_NO_INDEX ||
	    is_from_backend(tuple))
		return EGRESS_NONE;
	return EGRESS_OUT;
}

/* What is the kernel's after all, as if there were no such service. */
static __always_inline int egress_leave(struct story *story, const struct sl_xdp_port *from)
{
	uint32_t passage = story->cpu->passage;

	if (passage == SL_XDP_PASSAGE_FRAGMENT)
		return conclude(story, SL_VERDICT_PUNT_FRAGMENT, from);
	if (passage == SL_XDP_PASSAGE_PACKET)
		return conclude(story, SL_VERDICT_PUNT_NOT_SERVICE, from);
	return conclude(story, SL_VERDICT_PUNT_ICMP, from);
}

__noinline int egress_ignore(struct xdp_md *ctx)
{
	const struct sl_xdp_port *from = port_of(ctx->ingress_ifindex);
	struct story story;

	if (from == NULL || !story_begin(ctx, &story))
		return XDP_PASS;
	return egress_leave(&story, from);
}

/* A client's packet ends here. */
static __always_inline int egress_refuse(struct story *story, enum sl_verdict verdict,
					 const struct sl_xdp_port *from)
{
	struct sl_xdp_cpu *cpu = story->cpu;

	count_service_drop(cpu->egress_service);
	(void)conclude(story, verdict, from);
	/* RFC 5508 REQ-8: what has no port is prohibited. */
	if (cpu->passage == SL_XDP_PASSAGE_ECHO ||
	    (verdict == SL_VERDICT_DROP_DENIED && cpu->tuple.protocol != SL_PROTOCOL_TCP))
		cpu->refused_reason = SL_REFUSED_PROHIBITED;
	return REFUSE;
}

/* To a client that is on its way nowhere, or from whom nobody is to be led to. */
static __always_inline int egress_deny_in(struct story *story, const struct sl_xdp_port *from)
{
	if (story->cpu->egress_service != SL_NO_INDEX) {
		/* Between two clients: the one that sends is told. */
		story->cpu->egress_service = story->cpu->service;
		return egress_refuse(story, SL_VERDICT_DROP_DENIED, from);
	}
	count_service_drop(story->cpu->service);
	return conclude(story, SL_VERDICT_DROP_DENIED, from);
}

/* Whether service @index denies @addr by @which. */
static __always_inline bool deny_has(uint32_t index, enum wire_list which,
				     const union sl_addr *addr, uint8_t family)
{
	const struct sl_service *service = bpf_map_lookup_elem(&services, &index);
	struct sl_xdp_listed key = {
		.length = SL_XDP_LISTED_BITS + (family == SL_FAMILY_IPV4 ? 32 : 128),
		.service = index,
		.list = which,
		.family = family,
		.addr = *addr,
	};

	return service != NULL && (service->denies >> which & 1) != 0 &&
	       bpf_map_lookup_elem(&listed, &key) != NULL;
}

/* Whether the client's packet ends here, which is on its way to where it says. */
__noinline int egress_is_denied_out(void)
{
	const struct sl_xdp_cpu *cpu = this_cpu();

	return cpu != NULL && (deny_has(cpu->egress_service, WIRE_DENY_SOURCE, &cpu->tuple.source,
					cpu->tuple.family) ||
			       deny_has(cpu->egress_service, WIRE_DENY_DESTINATION,
					&cpu->tuple.destination, cpu->tuple.family));
}

/* Whether a packet to the client that it is to be rewritten to ends here. */
__noinline int egress_is_denied_in(void)
{
	const struct sl_xdp_cpu *cpu = this_cpu();

	return cpu != NULL && (deny_has(cpu->service, WIRE_DENY_SOURCE, &cpu->rewrite.destination,
					cpu->tuple.family) ||
			       deny_has(cpu->service, WIRE_DENY_DESTINATION, &cpu->tuple.source,
					cpu->tuple.family));
}

/* What the packet of the record, from or to @peer, does to the state of flow @index. */
static __always_inline void egress_track(struct sl_xdp_cpu *cpu, uint32_t index, uint32_t sequence,
					 enum sl_direction direction, uint32_t peer, uint8_t family)
{
	struct sl_packet packet = record_packet(cpu, family);
	struct sl_flow *flow = flow_at(index, family);
	struct sl_flow *after = &cpu->flow;
	uint32_t was;

	if (flow == NULL || cpu->passage == SL_XDP_PASSAGE_ERROR)
		return;
	*after = *flow;
	was = after->state;
	sl_egress_track(after, direction, &packet, peer, cpu->now);
	if (after->state != was) {
		if (!flow_turn(index, sequence, was, after->state, family))
			return;
		if (was == SL_FLOW_EMBRYONIC)
			cpu->counters.event[SL_EVENT_FLOW_PROMOTED]++;
	}
	flow->flags = after->flags;
	flow->client_next = after->client_next;
	flow->backend_next = after->backend_next;
	flow->proxy_first = after->proxy_first;
	if (flow->last_seen != after->last_seen)
		flow->last_seen = after->last_seen;
}

/* Functions of their own, for there are many ways through them. */

__noinline int egress_track_out4(uint32_t index, uint32_t sequence, uint32_t peer)
{
	struct sl_xdp_cpu *cpu = this_cpu();

	if (cpu != NULL)
		egress_track(cpu, index, sequence, SL_DIRECTION_FORWARD, peer, SL_FAMILY_IPV4);
	return 0;
}

__noinline int egress_track_out6(uint32_t index, uint32_t sequence, uint32_t peer)
{
	struct sl_xdp_cpu *cpu = this_cpu();

	if (cpu != NULL)
		egress_track(cpu, index, sequence, SL_DIRECTION_FORWARD, peer, SL_FAMILY_IPV6);
	return 0;
}

__noinline int egress_track_in4(uint32_t index, uint32_t sequence, uint32_t peer)
{
	struct sl_xdp_cpu *cpu = this_cpu();

	if (cpu != NULL)
		egress_track(cpu, index, sequence, SL_DIRECTION_REPLY, peer, SL_FAMILY_IPV4);
	return 0;
}

__noinline int egress_track_in6(uint32_t index, uint32_t sequence, uint32_t peer)
{
	struct sl_xdp_cpu *cpu = this_cpu();

	if (cpu != NULL)
		egress_track(cpu, index, sequence, SL_DIRECTION_REPLY, peer, SL_FAMILY_IPV6);
	return 0;
}

/* Begins the rewrite of the record's packet: it keeps its ends. */
static __always_inline void egress_keep_ends(struct sl_xdp_cpu *cpu)
{
	cpu->rewrite.source = cpu->tuple.source;
	cpu->rewrite.destination = cpu->tuple.destination;
	cpu->rewrite.source_port = cpu->tuple.source_port;
	cpu->rewrite.destination_port = cpu->tuple.destination_port;
}

static __always_inline int egress_no_neighbour(struct story *story, const struct sl_xdp_port *from)
{
	story->cpu->counters.event[SL_EVENT_RESOLVE]++;
	return conclude(story, SL_VERDICT_DROP_NO_NEIGHBOUR, from);
}

/* A client's packet, or one towards it: where it goes, before its flow is known. LOOK_AGAIN: look for it. */
static __always_inline int egress_route(struct xdp_md *ctx, uint8_t family)
{
	const struct sl_xdp_port *from = port_of(ctx->ingress_ifindex);
	struct story story;

	if (from == NULL || !story_begin(ctx, &story))
		return XDP_PASS;
	clock_read(&story);
	egress_keep_ends(story.cpu);
	story.cpu->keeps_source = 0;
	story.cpu->verdict = SL_VERDICT_FORWARD;
	story.cpu->adjacency = route_find(ctx, &story.cpu->tuple.destination, family);
	/* To the host itself; or where no port of ours leads, as the kernel may. */
	if (story.cpu->adjacency == SL_ADJACENCY_NONE || story.cpu->echo == SL_PACKET_ECHO_REPLY)
		return egress_leave(&story, from);
	if (egress_is_denied_out())
		return egress_refuse(&story, SL_VERDICT_DROP_DENIED, from);
	return LOOK_AGAIN;
}

__noinline int egress_route4(struct xdp_md *ctx)
{
	return egress_route(ctx, SL_FAMILY_IPV4);
}

__noinline int egress_route6(struct xdp_md *ctx)
{
	return egress_route(ctx, SL_FAMILY_IPV6);
}

/* Whether flow @index is there for packets: *@sequence is its stamp then. One that is not any more ends. */
static __always_inline bool egress_is_there(uint32_t index, uint32_t *sequence, uint8_t family)
{
	const struct sl_flow *flow = flow_at(index, family);

	if (flow == NULL)
		return false;
	*sequence = read_once(&flow->sequence);
	barrier();
	if (*sequence & 1)
		return false;
	if (has_backend(flow))
		return true;
	flow_end(index, *sequence, family, SL_XDP_PACKETS);
	return false;
}

/* Towards a client: GO_ON, or LOOK_AGAIN if it comes from one, or the end. */
static __always_inline int egress_in(struct xdp_md *ctx, uint8_t family)
{
	const struct sl_xdp_port *from = port_of(ctx->ingress_ifindex);
	struct sl_xdp_cpu *cpu;
	struct sl_flow *flow;
	struct story story;
	uint32_t sequence;
	uint32_t index = SL_NO_INDEX;
	uint32_t peer;

	if (from == NULL || !story_begin(ctx, &story))
		return XDP_PASS;
	clock_read(&story);
	cpu = story.cpu;
	if (has_endpoint(&service_of, &cpu->tuple.source, 0, family, 0))
		return conclude(&story, SL_VERDICT_DROP_SOURCE_IS_SERVICE, from);
	egress_keep_ends(cpu);
	/* The host answers for itself. */
	if (cpu->echo != SL_PACKET_ECHO_REQUEST) {
		cpu->tuple.source = (union sl_addr){.word = {0}};
		cpu->tuple.source_port = 0;
		index = reply_find(&cpu->tuple, family);
		cpu->tuple.source = cpu->rewrite.source;
		cpu->tuple.source_port = cpu->rewrite.source_port;
	}
	flow = flow_at(index, family);
	if (flow == NULL || !egress_is_there(index, &sequence, family)) {
		if (route_find(ctx, &cpu->tuple.destination, family) == SL_ADJACENCY_NONE)
			return egress_leave(&story, from);
		return conclude(&story, SL_VERDICT_DROP_NO_MAPPING, from);
	}
	cpu->refused_from = cpu->tuple.destination;
	cpu->rewrite.destination = sl_flow_addr_as(flow, SL_FLOW_CLIENT, family);
	cpu->rewrite.destination_port = flow->client_port;
	cpu->service = flow->service;
	cpu->backend = flow->backend;
	cpu->keeps_source = 1;
	cpu->verdict = SL_VERDICT_REPLY;
	cpu->adjacency = route_kept(ctx, (uint32_t *)&flow->client_adjacency, story.generation,
				    &cpu->rewrite.destination, family);
	/* It may have become another since it was found: then the next packet finds that one. */
	barrier();
	if (read_once(&flow->sequence) != sequence)
		return conclude(&story, SL_VERDICT_DROP_NO_MAPPING, from);
	if (egress_is_denied_in())
		return egress_deny_in(&story, from);
	if (cpu->egress_service != SL_NO_INDEX && egress_is_denied_out())
		return egress_refuse(&story, SL_VERDICT_DROP_DENIED, from);
	peer = sl_egress_peer(&cpu->tuple.source, cpu->tuple.source_port, family);
	if (family == SL_FAMILY_IPV4)
		egress_track_in4(index, sequence, peer);
	else
		egress_track_in6(index, sequence, peer);
	if (cpu->egress_service != SL_NO_INDEX) {
		cpu->keeps_source = 0;
		return LOOK_AGAIN;
	}
	return cpu->adjacency == SL_ADJACENCY_GLEAN ? egress_no_neighbour(&story, from) : GO_ON;
}

__noinline int egress_in4(struct xdp_md *ctx)
{
	return egress_in(ctx, SL_FAMILY_IPV4);
}

__noinline int egress_in6(struct xdp_md *ctx)
{
	return egress_in(ctx, SL_FAMILY_IPV6);
}

/* From a client whose flow is in the table: GO_ON, or LOOK_AGAIN if it is not, or the end. */
static __always_inline int egress_out(struct xdp_md *ctx, uint8_t family)
{
	const struct sl_xdp_port *from = port_of(ctx->ingress_ifindex);
	struct sl_xdp_cpu *cpu;
	struct sl_flow *flow;
	struct story story;
	uint32_t sequence;
	uint32_t index;
	uint32_t peer;

	if (from == NULL || !story_begin(ctx, &story))
		return XDP_PASS;
	cpu = story.cpu;
	{
		struct sl_tuple key = sl_egress_key(&cpu->tuple, SL_DIRECTION_FORWARD);

		key.family = family;
		index = find_in(&key, SL_DIRECTION_FORWARD, family);
	}
	flow = flow_at(index, family);
	if (flow == NULL || !egress_is_there(index, &sequence, family))
		return LOOK_AGAIN;
	cpu->rewrite.source = sl_flow_addr_as(flow, SL_FLOW_SOURCE, family);
	cpu->rewrite.source_port = flow->source_port;
	cpu->service = flow->service;
	cpu->backend = flow->backend;
	barrier();
	if (read_once(&flow->sequence) != sequence)
		return LOOK_AGAIN;
	cpu->refused_from = cpu->rewrite.source;
	cpu->verdict = SL_VERDICT_FORWARD;
	peer = sl_egress_peer(&cpu->rewrite.destination, cpu->rewrite.destination_port, family);
	if (family == SL_FAMILY_IPV4)
		egress_track_out4(index, sequence, peer);
	else
		egress_track_out6(index, sequence, peer);
	return cpu->adjacency == SL_ADJACENCY_GLEAN ? egress_no_neighbour(&story, from) : GO_ON;
}

__noinline int egress_out4(struct xdp_md *ctx)
{
	return egress_out(ctx, SL_FAMILY_IPV4);
}

__noinline int egress_out6(struct xdp_md *ctx)
{
	return egress_out(ctx, SL_FAMILY_IPV6);
}

/* The source address of all flows of the client's address, and its ports. */
static __always_inline bool egress_choose_source(struct creation *creation, uint32_t service,
						 uint8_t family)
{
	void *inner = bpf_map_lookup_elem(&slots, &service);
	const union sl_xdp_chunk *head;
	const union sl_xdp_chunk *chunk;
	uint32_t position;
	uint32_t at;

	if (inner == NULL)
		return false;
	head = chunk_at(inner, 0);
	if (head == NULL)
		return false;
	creation->source_port_first = head->head.source_port_first;
	creation->source_port_last = head->head.source_port_last;
	creation->n_sources = head->head.n_sources;
	at = head->head.first_source_chunk;
	chunk = chunk_at(inner, head->head.first_member_chunk);
	if (chunk == NULL)
		return false;
	creation->backend = chunk->member[0];
	position = sl_egress_source(&head->head.hash_key, creation->n_sources,
				    &creation->client.source, family) &
		   (SL_MAX_SOURCES_PER_SERVICE - 1);
	chunk = chunk_at(inner, at + position / SL_XDP_CHUNK_SOURCES);
	if (chunk == NULL)
		return false;
	creation->source = chunk->source[position % SL_XDP_CHUNK_SOURCES];
	creation->position = position;
	return true;
}

/* Describes the flow that the client's packet is to have. CREATED: it may be made. */
static __always_inline enum created egress_prepare(struct story *story, struct creation *creation,
						   uint8_t family)
{
	struct sl_xdp_cpu *cpu = story->cpu;
	const struct sl_service *service;
	const struct sl_backend *backend;
	bool is_tcp = cpu->tuple.protocol == SL_PROTOCOL_TCP;
	uint32_t index;

	creation->client = sl_egress_key(&cpu->tuple, SL_DIRECTION_FORWARD);
	creation->client.family = family;
	creation->service = cpu->egress_service;
	creation->sequence = cpu->tcp_sequence;
	creation->flags = is_tcp ? SL_FLOW_SYN : 0;
	creation->has_begun = !is_tcp;
	creation->peer =
		sl_egress_peer(&cpu->rewrite.destination, cpu->rewrite.destination_port, family);
	service = bpf_map_lookup_elem(&services, &creation->service);
	if (service == NULL || !egress_choose_source(creation, creation->service, family))
		return CREATED_FULL;
	index = creation->backend;
	backend = bpf_map_lookup_elem(&backends, &index);
	if (backend == NULL)
		return CREATED_FULL;
	prepare(creation, backend, service);
	return find_room(story, family);
}

/* A client's packet without a flow. CREATE: one is to be made. @created: what came of it. */
static __always_inline int egress_begin(struct xdp_md *ctx, uint8_t family, uint32_t created)
{
	const struct sl_xdp_port *from = port_of(ctx->ingress_ifindex);
	struct creation *creation;
	struct sl_packet packet;
	struct story story;

	if (from == NULL || !story_begin(ctx, &story))
		return XDP_PASS;
	clock_read(&story);
	if (story.cpu->passage == SL_XDP_PASSAGE_ERROR) {
		if (story.cpu->verdict != SL_VERDICT_REPLY)
			return egress_leave(&story, from);
		/* To another client, so it is no business of the host's. */
		count_service_drop(story.cpu->egress_service);
		return conclude(&story, SL_VERDICT_DROP_ICMP_NO_FLOW, from);
	}
	packet = record_packet(story.cpu, family);
	if (!sl_egress_may_begin(&packet))
		return egress_refuse(&story, SL_VERDICT_DROP_NO_FLOW, from);
	creation = creation_new(&story);
	if (creation == NULL)
		return egress_leave(&story, from);
	if (created == CREATION_WANTED) {
		created = egress_prepare(&story, creation, family);
		if (created == CREATED)
			return CREATE;
	}
	if (created == CREATED_BUSY)
		return LOOK_AGAIN;
	return egress_refuse(&story,
			     created == CREATED_NO_SOURCE ? SL_VERDICT_DROP_NO_SOURCE_PORT
							  : SL_VERDICT_DROP_FLOWS_FULL,
			     from);
}

__noinline int egress_begin4(struct xdp_md *ctx, uint32_t created)
{
	return egress_begin(ctx, SL_FAMILY_IPV4, created);
}

__noinline int egress_begin6(struct xdp_md *ctx, uint32_t created)
{
	return egress_begin(ctx, SL_FAMILY_IPV6, created);
}

/* LOOK_AGAIN: the client's packet has a flow now. */
static __always_inline int egress_create(struct xdp_md *ctx, bool is_six, uint32_t created)
{
	int action = is_six ? egress_begin6(ctx, created) : egress_begin4(ctx, created);

	if (action != CREATE)
		return action;
	created = is_six ? create6() : create4();
	if (created == CREATED)
		return LOOK_AGAIN;
	return is_six ? egress_begin6(ctx, created) : egress_begin4(ctx, created);
}

/* The packet's time is over: its sender is told by the source that the client has. */
__noinline int egress_expire(struct xdp_md *ctx)
{
	const struct sl_xdp_port *from = port_of(ctx->ingress_ifindex);
	struct story story;

	if (from == NULL || !story_begin(ctx, &story))
		return XDP_PASS;
	count_service_drop(story.cpu->service);
	(void)conclude(&story, SL_VERDICT_DROP_TTL, from);
	story.cpu->refused_reason = SL_REFUSED_EXPIRED;
	story.cpu->has_refused_from = 1;
	return REFUSE;
}

/* Rewritten and sent, as what it is. */
static __always_inline int egress_send(struct xdp_md *ctx, const struct sl_xdp_cpu *cpu,
				       bool is_six)
{
	if (cpu->passage == SL_XDP_PASSAGE_ERROR)
		return is_six ? icmp_send6(ctx) : icmp_send4(ctx);
	if (cpu->passage != SL_XDP_PASSAGE_FRAGMENT && !cpu->has_ttl)
		return egress_expire(ctx);
	return is_six ? record_send6(ctx) : record_send4(ctx);
}

static __always_inline int egress_frame(struct xdp_md *ctx)
{
	const struct sl_xdp_cpu *cpu = this_cpu();
	bool is_six = is_ipv6(ctx);
	int action = GO_ON;
	int class;

	if (cpu == NULL)
		return XDP_PASS;
	if (cpu->passage == SL_XDP_PASSAGE_PACKET || cpu->passage == SL_XDP_PASSAGE_ECHO)
		action = egress_read(ctx);
	if (action != GO_ON)
		return action < 0 ? XDP_DROP : action;
	class = egress_classify();
	if (class == EGRESS_IN)
		action = is_six ? egress_in6(ctx) : egress_in4(ctx);
	else if (class == EGRESS_OUT)
		action = is_six ? egress_route6(ctx) : egress_route4(ctx);
	else
		action = egress_ignore(ctx);
	if (action == LOOK_AGAIN)
		action = is_six ? egress_out6(ctx) : egress_out4(ctx);
	for (uint32_t i = 0; action == LOOK_AGAIN && i < EGRESS_LOOKS; i++) {
		action = egress_create(ctx, is_six,
				       i < EGRESS_LOOKS - 1 ? CREATION_WANTED : CREATED_FULL);
		if (action == LOOK_AGAIN)
			action = is_six ? egress_out6(ctx) : egress_out4(ctx);
	}
	if (action == GO_ON)
		action = egress_send(ctx, cpu, is_six);
	if (action == REFUSE)
		bpf_tail_call(ctx, &programs, SL_XDP_PROGRAM_REFUSE);
	return action < 0 ? XDP_DROP : action;
}

SEC("xdp")
int sl_egress(struct xdp_md *ctx)
{
	return tell(ctx, egress_frame(ctx));
}
