// SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0
/* Copyright (c) 2026 The Sluice authors */
/*
 * One packet's story on the XDP engine, with the verbs of dataplane/dpdk/worker.c: parse, find the
 * flow, else the service and choose a backend, rewrite, send or pass to the kernel or drop.
 */
#include "balance.h"
#include "capture.h"
#include "egress.h"
#include "fragment.h"
#include "helpers.h"
#include "icmp.h"
#include "proxy.h"
#include "refuse.h"

enum {
	LOOKS = 3,
};

/* Step 6. */
static __always_inline int finish(struct story *story, enum sl_verdict verdict,
				  const struct sl_xdp_port *from)
{
	if (verdict == REWRITE_LATER)
		return SEND6;
	if (verdict == CREATE_LATER)
		return CREATE;
	if (SL_UNLIKELY(verdict == SL_VERDICT_PUNT_ICMP))
		return ICMP;
	if (SL_UNLIKELY(verdict == SL_VERDICT_PUNT_FRAGMENT))
		return FRAGMENT;
	if (verdict == SL_VERDICT_PUNT_NOT_SERVICE && SL_UNLIKELY(control.has_egress)) {
		story->cpu->passage = SL_XDP_PASSAGE_PACKET;
		return EGRESS;
	}
	if (SL_UNLIKELY(verdict == SL_VERDICT_DROP_TTL)) {
		story->cpu->refused_reason = SL_REFUSED_EXPIRED;
		(void)conclude(story, verdict, from);
		return REFUSE;
	}
	return conclude(story, verdict, from);
}

/* Step 1. */
static __always_inline void receive(struct story *story)
{
	story->cpu->counters.event[SL_EVENT_RX]++;
	story->cpu->counters.event[SL_EVENT_RX_BYTES] += story->length;
}

/* Whether the client is told that its packet is dropped. */
static __always_inline bool is_told(enum sl_verdict verdict)
{
	return verdict == SL_VERDICT_DROP_NO_FLOW || verdict == SL_VERDICT_DROP_NO_SOURCE_PORT ||
	       verdict == SL_VERDICT_DROP_FLOWS_FULL || verdict == SL_VERDICT_DROP_BACKENDS_FULL;
}

/* For packets without a flow. The frame is parsed again, so that those with one pay nothing. */
static __always_inline int balance_afresh(struct xdp_md *ctx, uint8_t family, uint32_t created)
{
	const struct sl_xdp_port *from = port_of(ctx->ingress_ifindex);
	struct sl_packet packet;
	enum sl_verdict verdict;
	struct story story;
	struct way way;
	int action;

	if (from == NULL || !story_begin(ctx, &story))
		return XDP_PASS;
	clock_read(&story);
	way = (struct way){.to = &story.cpu->rewrite};
	verdict = parse(&story, from, &packet);
	if (verdict == SL_VERDICT_NONE && packet.tuple.family == family) {
		story.cpu->has_ttl = sl_nat_has_ttl(&packet);
		verdict = balance_unknown(&story, &packet, family, created, &way);
		if (verdict == SL_VERDICT_FORWARD || verdict == SL_VERDICT_REPLY)
			verdict = dispatch(&story, &packet, &way, family);
	}
	if (verdict == SL_VERDICT_NONE)
		return LOOK_AGAIN;
	action = finish(&story, verdict, from);
	return is_told(verdict) ? REFUSE : action;
}

__noinline int balance_afresh4(struct xdp_md *ctx, uint32_t created)
{
	return balance_afresh(ctx, SL_FAMILY_IPV4, created);
}

__noinline int balance_afresh6(struct xdp_md *ctx, uint32_t created)
{
	return balance_afresh(ctx, SL_FAMILY_IPV6, created);
}

/* Steps 4 to 6 for a packet that flow @index is to be that of; LOOK_AGAIN: it is not any more. */
static __always_inline int balance_found(struct story *story, struct sl_packet *packet,
					 uint8_t family, uint32_t index,
					 enum sl_direction direction,
					 const struct sl_xdp_port *from)
{
	struct found found = {.index = index, .flow = flow_at(index, family)};
	enum sl_verdict verdict;

	if (found.flow == NULL)
		return LOOK_AGAIN;
	found.sequence = read_once(&found.flow->sequence);
	barrier();
	if (SL_UNLIKELY(found.sequence & 1))
		return LOOK_AGAIN;
	clock_read(story);
	if (SL_UNLIKELY(!has_backend(found.flow) ||
			(sl_flow_is_over(found.flow) && sl_flow_is_opening(packet) &&
			 direction == SL_DIRECTION_FORWARD))) {
		if (!begins_anew(packet, direction)) {
			finish(story, SL_VERDICT_DROP_BACKEND_GONE, from);
			return direction == SL_DIRECTION_FORWARD ? REFUSE : XDP_DROP;
		}
		flow_end(found.index, found.sequence, family, SL_XDP_PACKETS);
		return LOOK_AGAIN;
	}
	if (SL_UNLIKELY(sl_flow_has_header(found.flow))) {
		story->cpu->found = index;
		story->cpu->direction = direction;
		return PROXY;
	}
	verdict = balance_flow(story, &found, family, direction, packet);
	return verdict == SL_VERDICT_NONE ? LOOK_AGAIN : finish(story, verdict, from);
}

/* Steps 3 to 6 for a packet of @family. Its addresses tell which of its ends is the client. */
static __always_inline int balance(struct story *story, struct sl_packet *packet, uint8_t family,
				   const struct sl_xdp_port *from)
{
	const struct sl_tuple *tuple = &packet->tuple;
	bool to_service = may_be(control.service_filter, &tuple->destination, family);
	bool from_backend = may_be(control.backend_filter, &tuple->source, family);
	enum sl_direction direction = SL_DIRECTION_FORWARD;
	uint32_t index = SL_NO_INDEX;

	if (!to_service && !from_backend)
		return finish(story, SL_VERDICT_PUNT_NOT_SERVICE, from);
	packet->tuple.family = family;
	if (to_service)
		index = flow_find(story->cpu, tuple, SL_DIRECTION_FORWARD, family);
	if (index == SL_NO_INDEX && from_backend) {
		if (SL_UNLIKELY(may_be(control.source_filter, &tuple->destination, family)))
			index = reply_find(tuple, family);
		if (SL_LIKELY(index == SL_NO_INDEX))
			index = flow_find(story->cpu, tuple, SL_DIRECTION_REPLY, family);
		direction = SL_DIRECTION_REPLY;
	}
	if (SL_UNLIKELY(index == SL_NO_INDEX))
		return LOOK_AGAIN;
	if (direction == SL_DIRECTION_FORWARD)
		return balance_found(story, packet, family, index, SL_DIRECTION_FORWARD, from);
	return balance_found(story, packet, family, index, SL_DIRECTION_REPLY, from);
}

/* One look at a packet. LOOK_AGAIN: it has no flow, or had one that is over. */
static __always_inline int balance_packet(struct xdp_md *ctx, uint8_t family, bool is_first_look)
{
	const struct sl_xdp_port *from = port_of(ctx->ingress_ifindex);
	struct sl_packet packet;
	enum sl_verdict verdict;
	struct story story;

	if (from == NULL || !story_begin(ctx, &story))
		return XDP_PASS;
	if (is_first_look)
		receive(&story);
	verdict = parse(&story, from, &packet);
	if (verdict != SL_VERDICT_NONE || packet.tuple.family != family)
		return finish(&story, verdict, from);
	return balance(&story, &packet, family, from);
}

/* What is neither IPv4 nor IPv6 ends in the parser of either. */
__noinline int balance_packet4(struct xdp_md *ctx, uint32_t is_first_look)
{
	return balance_packet(ctx, SL_FAMILY_IPV4, is_first_look != 0);
}

__noinline int balance_packet6(struct xdp_md *ctx, uint32_t is_first_look)
{
	return balance_packet(ctx, SL_FAMILY_IPV6, is_first_look != 0);
}

/* Steps 5 and 6 of an IPv6 packet. */
__noinline int send6(struct xdp_md *ctx)
{
	const struct sl_xdp_port *from = port_of(ctx->ingress_ifindex);
	enum sl_verdict verdict;
	struct story story;

	if (from == NULL || !story_begin(ctx, &story))
		return XDP_PASS;
	verdict = rewrite6(ctx, story.cpu, &story.port);
	return finish(&story, verdict, from);
}

/* A packet without a flow. LOOK_AGAIN: it has one now. */
static __always_inline int begin(struct xdp_md *ctx, bool is_six, uint32_t created)
{
	int action = is_six ? balance_afresh6(ctx, created) : balance_afresh4(ctx, created);

	if (action != CREATE)
		return action;
	created = is_six ? create6() : create4();
	if (created == CREATED)
		return LOOK_AGAIN;
	return is_six ? balance_afresh6(ctx, created) : balance_afresh4(ctx, created);
}

/* All of it but the programs that sl_balance() ends in; the benchmark measures this. */
static __always_inline int balance_frame(struct xdp_md *ctx)
{
	bool is_six = is_ipv6(ctx);
	int action = is_six ? balance_packet6(ctx, 1) : balance_packet4(ctx, 1);

	for (uint32_t i = 0; SL_UNLIKELY(action == LOOK_AGAIN) && i < LOOKS; i++) {
		action = begin(ctx, is_six, i < LOOKS - 1 ? CREATION_WANTED : CREATED_FULL);
		if (action == LOOK_AGAIN)
			action = is_six ? balance_packet6(ctx, 0) : balance_packet4(ctx, 0);
	}
	return action == SEND6 ? send6(ctx) : action;
}

SEC("xdp")
int sl_balance(struct xdp_md *ctx)
{
	int action;

	if (SL_UNLIKELY(control.is_capturing))
		(void)!capture_stage(ctx);
	action = balance_frame(ctx);
	if (SL_UNLIKELY(action == REFUSE))
		bpf_tail_call(ctx, &programs, SL_XDP_PROGRAM_REFUSE);
	else if (SL_UNLIKELY(action == ICMP))
		bpf_tail_call(ctx, &programs, SL_XDP_PROGRAM_ICMP);
	else if (SL_UNLIKELY(action == PROXY))
		bpf_tail_call(ctx, &programs, SL_XDP_PROGRAM_PROXY);
	else if (SL_UNLIKELY(action == FRAGMENT))
		bpf_tail_call(ctx, &programs, SL_XDP_PROGRAM_FRAGMENT);
	else if (SL_UNLIKELY(action == EGRESS))
		bpf_tail_call(ctx, &programs, SL_XDP_PROGRAM_EGRESS);
	/* Here a tail call comes that leads nowhere, which it never does: see maps.h. */
	return tell(ctx, action < 0 ? XDP_DROP : action);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
