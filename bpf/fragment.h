// SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0
/* Copyright (c) 2026 The Sluice authors */
/*
 * The program for fragments: what include/sluice/packet/fragment.h lets pass goes as a packet with the
 * ports of its datagram's first fragment, as in dataplane/dpdk/fragment.c; but what comes before the
 * first one is dropped, for a program can keep nothing. Functions one after the other, so that each has
 * the stack to itself; what they tell each other stands in the CPU's record.
 */
#pragma once

#include <sluice/packet/fragment.h>

#include "icmp.h"
#include "record.h"

enum {
	FRAGMENT_LOOKS = 3,
};

/* Parses what follows the IP header. SL_VERDICT_NONE: the packet may be a service's. */
static __always_inline enum sl_verdict
fragment_parse(struct story *story, void *data, const void *data_end, struct sl_packet *packet)
{
	const struct sl_tuple *tuple = &packet->tuple;
	uint8_t family = tuple->family;

	if (!control.has_egress && !may_be(control.service_filter, &tuple->destination, family) &&
	    !may_be(control.source_filter, &tuple->destination, family) &&
	    !may_be(control.backend_filter, &tuple->source, family))
		return SL_VERDICT_PUNT_FRAGMENT;
	switch (sl_fragment_parse(data, data_end, packet, &story->cpu->piece)) {
	case SL_FRAGMENT_FIRST:
	case SL_FRAGMENT_LATER:
		return SL_VERDICT_NONE;
	case SL_FRAGMENT_OTHER:
		return SL_VERDICT_PUNT_FRAGMENT;
	case SL_FRAGMENT_TINY:
		return SL_VERDICT_DROP_FRAGMENT_TINY;
	case SL_FRAGMENT_MALFORMED:
		break;
	}
	return SL_VERDICT_DROP_FRAGMENT_MALFORMED;
}

/* Reads the fragment into the record. */
__noinline int fragment_read(struct xdp_md *ctx)
{
	const struct sl_xdp_port *from = port_of(ctx->ingress_ifindex);
	enum sl_verdict verdict;
	struct sl_packet packet;
	const void *data_end;
	struct sl_xdp_cpu *cpu;
	struct story story;
	void *data;

	if (from == NULL || !story_begin(ctx, &story))
		return XDP_PASS;
	cpu = story.cpu;
	verdict = parse_ip(&story, from, &packet, &data, &data_end);
	if (verdict == SL_VERDICT_PUNT_FRAGMENT && forget_way(&story, &packet, &data, &data_end)) {
		cpu->has_ttl = sl_nat_has_ttl(&packet);
		verdict = fragment_parse(&story, data, data_end, &packet);
	}
	if (verdict != SL_VERDICT_NONE)
		return conclude(&story, verdict, from);
	record_fill(&story, &packet);
	return GO_ON;
}

/* The bucket that the record names. */
static __always_inline struct sl_xdp_datagrams *datagrams_of(const struct sl_xdp_cpu *cpu)
{
	uint32_t index = cpu->found;

	return bpf_map_lookup_elem(&datagrams, &index);
}

/*
 * The next three are functions, for there are many ways through each of them, and the verifier is to
 * forget which was taken.
 */

__noinline int datagrams_lock(void)
{
	const struct sl_xdp_cpu *cpu = this_cpu();
	struct sl_xdp_datagrams *bucket = cpu != NULL ? datagrams_of(cpu) : NULL;

	if (bucket == NULL)
		return 0;
	for (int i = 0; i < LOCK_TRIES; i++)
		if (__sync_val_compare_and_swap(&bucket->is_locked, 0, 1) == 0)
			return 1;
	return 0;
}

/* The way of the datagram in its bucket, which is locked, begun if it is new; or why there is none. */
__noinline int datagram_find(void)
{
	const struct sl_xdp_cpu *cpu = this_cpu();
	struct sl_xdp_datagrams *bucket = cpu != NULL ? datagrams_of(cpu) : NULL;
	bool is_known;
	uint32_t way;

	if (bucket == NULL)
		return -SL_VERDICT_DROP_FRAGMENT_FULL;
	way = sl_datagram_find(bucket->way, &cpu->tuple, &cpu->piece, cpu->now, &is_known);
	if (!is_known && cpu->fragment == SL_PACKET_LATER)
		return -SL_VERDICT_DROP_FRAGMENT_NO_FIRST;
	if (way >= SL_DATAGRAM_WAYS)
		return -SL_VERDICT_DROP_FRAGMENT_FULL;
	if (!is_known)
		sl_datagram_begin(&bucket->way[way], &cpu->tuple, &cpu->piece, cpu->now);
	return (int)way;
}

/* Puts the fragment into its datagram, and makes its tuple that of the first one. */
__noinline int datagram_add(uint32_t way)
{
	struct sl_xdp_cpu *cpu = this_cpu();
	struct sl_xdp_datagrams *bucket = cpu != NULL ? datagrams_of(cpu) : NULL;
	struct sl_datagram *datagram;

	if (bucket == NULL)
		return SL_VERDICT_DROP_FRAGMENT_FULL;
	datagram = &bucket->way[way & (SL_DATAGRAM_WAYS - 1)];
	if (sl_datagram_add(datagram, &cpu->piece) != SL_FRAGMENT_TAKEN)
		return SL_VERDICT_DROP_FRAGMENT_OVERLAP;
	if (cpu->fragment == SL_PACKET_LATER)
		sl_datagram_lend(datagram, &cpu->tuple);
	else
		sl_datagram_show(datagram, &cpu->tuple);
	return SL_VERDICT_NONE;
}

/* Whether the fragment in the record may pass. */
static __always_inline enum sl_verdict datagram_judge(const struct sl_xdp_cpu *cpu)
{
	struct sl_xdp_datagrams *bucket;
	enum sl_verdict verdict;
	int way;

	if (!datagrams_lock())
		return SL_VERDICT_DROP_FRAGMENT_FULL;
	way = datagram_find();
	verdict = way < 0 ? (enum sl_verdict) - way : (enum sl_verdict)datagram_add((uint32_t)way);
	bucket = datagrams_of(cpu);
	if (bucket != NULL)
		__sync_fetch_and_add(&bucket->is_locked, -1);
	return verdict;
}

/* Ends the story of a fragment that may not pass; the tuple of one that may is that of the first one. */
__noinline int fragment_judge(struct xdp_md *ctx)
{
	const struct sl_xdp_port *from = port_of(ctx->ingress_ifindex);
	enum sl_verdict verdict;
	struct sl_tuple tuple;
	struct story story;

	if (from == NULL || !story_begin(ctx, &story))
		return XDP_PASS;
	clock_read(&story);
	tuple = sl_datagram_tuple(&story.cpu->tuple, &story.cpu->piece);
	story.cpu->found =
		(uint32_t)sl_flow_hash(&control.flow_key, &tuple) & (SL_XDP_DATAGRAM_BUCKETS - 1);
	verdict = datagram_judge(story.cpu);
	if (verdict != SL_VERDICT_NONE)
		return conclude(&story, verdict, from);
	story.cpu->counters.event[SL_EVENT_FRAGMENT]++;
	return GO_ON;
}

/* Ends the story, or leaves in the record where the fragment is to go. */
static __always_inline int fragment_dispatch(struct story *story, const struct way *way,
					     enum sl_verdict verdict,
					     const struct sl_xdp_port *from)
{
	struct sl_xdp_cpu *cpu = story->cpu;

	if (verdict == SL_VERDICT_PUNT_NOT_SERVICE && control.has_egress) {
		cpu->passage = SL_XDP_PASSAGE_FRAGMENT;
		return EGRESS;
	}
	if (verdict == SL_VERDICT_PUNT_NOT_SERVICE)
		verdict = SL_VERDICT_PUNT_FRAGMENT;
	if (verdict != SL_VERDICT_FORWARD && verdict != SL_VERDICT_REPLY)
		return conclude(story, verdict, from);
	if (way->adjacency == SL_ADJACENCY_GLEAN) {
		cpu->counters.event[SL_EVENT_RESOLVE]++;
		return conclude(story, SL_VERDICT_DROP_NO_NEIGHBOUR, from);
	}
	cpu->adjacency = way->adjacency;
	cpu->service = way->service;
	cpu->backend = way->backend;
	cpu->verdict = verdict;
	return GO_ON;
}

/* Steps 4 and 5 for a fragment of flow @index. LOOK_AGAIN: it has another, or none. */
static __always_inline int fragment_follow(struct story *story, const struct sl_packet *packet,
					   uint32_t index, enum sl_direction direction,
					   uint8_t family, const struct sl_xdp_port *from)
{
	struct found found = {.index = index, .flow = flow_at(index, family)};
	struct way way = {.to = &story->cpu->rewrite};

	if (found.flow == NULL)
		return LOOK_AGAIN;
	found.sequence = read_once(&found.flow->sequence);
	barrier();
	if (found.sequence & 1)
		return LOOK_AGAIN;
	if (!has_backend(found.flow) ||
	    (sl_flow_is_over(found.flow) && sl_flow_is_opening(packet) &&
	     direction == SL_DIRECTION_FORWARD)) {
		if (!begins_anew(packet, direction))
			return conclude(story, SL_VERDICT_DROP_BACKEND_GONE, from);
		flow_end(found.index, found.sequence, family, SL_XDP_PACKETS);
		return LOOK_AGAIN;
	}
	story->cpu->has_header = sl_flow_has_header(found.flow);
	if (!follow(story, &found, family, direction, packet, &way))
		return LOOK_AGAIN;
	return fragment_dispatch(story, &way, way.verdict, from);
}

/* One look at the fragment's flow. LOOK_AGAIN: it has none, or had one that is over. */
static __always_inline int fragment_balance(struct xdp_md *ctx, uint8_t family)
{
	const struct sl_xdp_port *from = port_of(ctx->ingress_ifindex);
	enum sl_direction direction;
	struct sl_packet packet;
	struct story story;
	uint32_t index;

	if (from == NULL || !story_begin(ctx, &story))
		return XDP_PASS;
	clock_read(&story);
	packet = record_packet(story.cpu, family);
	story.cpu->tuple.family = family;
	index = icmp_find_flow(story.cpu, family, &direction);
	if (index == SL_NO_INDEX)
		return LOOK_AGAIN;
	if (direction == SL_DIRECTION_FORWARD)
		return fragment_follow(&story, &packet, index, SL_DIRECTION_FORWARD, family, from);
	return fragment_follow(&story, &packet, index, SL_DIRECTION_REPLY, family, from);
}

__noinline int fragment_balance4(struct xdp_md *ctx)
{
	return fragment_balance(ctx, SL_FAMILY_IPV4);
}

__noinline int fragment_balance6(struct xdp_md *ctx)
{
	return fragment_balance(ctx, SL_FAMILY_IPV6);
}

/* For fragments without a flow. */
static __always_inline int fragment_afresh(struct xdp_md *ctx, uint8_t family, uint32_t created)
{
	const struct sl_xdp_port *from = port_of(ctx->ingress_ifindex);
	enum sl_verdict verdict;
	struct sl_packet packet;
	struct story story;
	struct way way;

	if (from == NULL || !story_begin(ctx, &story))
		return XDP_PASS;
	clock_read(&story);
	way = (struct way){.to = &story.cpu->rewrite};
	packet = record_packet(story.cpu, family);
	story.cpu->has_header = 0;
	verdict = balance_unknown(&story, &packet, family, created, &way);
	if (verdict == SL_VERDICT_NONE)
		return LOOK_AGAIN;
	if (verdict == CREATE_LATER)
		return CREATE;
	return fragment_dispatch(&story, &way, verdict, from);
}

__noinline int fragment_afresh4(struct xdp_md *ctx, uint32_t created)
{
	return fragment_afresh(ctx, SL_FAMILY_IPV4, created);
}

__noinline int fragment_afresh6(struct xdp_md *ctx, uint32_t created)
{
	return fragment_afresh(ctx, SL_FAMILY_IPV6, created);
}

/* A fragment without a flow. LOOK_AGAIN: it has one now. */
static __always_inline int fragment_begin(struct xdp_md *ctx, bool is_six, uint32_t created)
{
	int action = is_six ? fragment_afresh6(ctx, created) : fragment_afresh4(ctx, created);

	if (action != CREATE)
		return action;
	created = is_six ? create6() : create4();
	if (created == CREATED)
		return LOOK_AGAIN;
	return is_six ? fragment_afresh6(ctx, created) : fragment_afresh4(ctx, created);
}

SEC("xdp")
int sl_fragment(struct xdp_md *ctx)
{
	bool is_six = is_ipv6(ctx);
	int action = fragment_read(ctx);

	if (action == GO_ON)
		action = fragment_judge(ctx);
	if (action == GO_ON)
		action = is_six ? fragment_balance6(ctx) : fragment_balance4(ctx);
	for (uint32_t i = 0; action == LOOK_AGAIN && i < FRAGMENT_LOOKS; i++) {
		action = fragment_begin(ctx, is_six,
					i < FRAGMENT_LOOKS - 1 ? CREATION_WANTED : CREATED_FULL);
		if (action == LOOK_AGAIN)
			action = is_six ? fragment_balance6(ctx) : fragment_balance4(ctx);
	}
	if (action == GO_ON)
		action = is_six ? record_send6(ctx) : record_send4(ctx);
	if (action == EGRESS)
		bpf_tail_call(ctx, &programs, SL_XDP_PROGRAM_EGRESS);
	return tell(ctx, action < 0 ? XDP_DROP : action);
}
