// SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0
/* Copyright (c) 2026 The Sluice authors */
/* The program that tells the sender of a refused packet. */
#pragma once

#include <sluice/packet/icmp.h>

#include "capture.h"

/* In mode nat a backend's packet goes to the client, for whom its service speaks. */
static __always_inline void speak_for_client(const struct sl_xdp_cpu *cpu, union sl_addr *told_by)
{
	uint32_t index = cpu->service;
	const struct sl_service *service = bpf_map_lookup_elem(&services, &index);

	if (service != NULL && cpu->verdict == SL_VERDICT_REPLY &&
	    service->mode != WIRE_MODE_FULLNAT)
		*told_by = service->addr;
}

static __always_inline int refuse_frame(struct xdp_md *ctx)
{
	const struct sl_xdp_port *from = port_of(ctx->ingress_ifindex);
	struct sl_reject_bucket *bucket;
	struct sl_packet packet;
	struct story story;
	enum sl_reject kind;
	uint32_t length;
	uint32_t index;
	uint32_t reason;
	uint8_t family;
	union sl_addr told_by;
	enum sl_verdict verdict;
	bool has_speaker;

	if (from == NULL || !story_begin(ctx, &story))
		return XDP_DROP;
	clock_read(&story);
	reason = story.cpu->refused_reason;
	story.cpu->refused_reason = SL_REFUSED;
	has_speaker = story.cpu->has_refused_from != 0;
	story.cpu->has_refused_from = 0;
	verdict = parse(&story, from, &packet);
	if (verdict == SL_VERDICT_PUNT_ICMP)
		verdict = sl_icmp_parse_echo((void *)(long)ctx->data,
					     (const void *)(long)ctx->data_end, &packet);
	if (verdict != SL_VERDICT_NONE)
		return XDP_DROP;
	family = packet.tuple.family;
	kind = sl_reject_kind(&packet, reason);
	if (kind == SL_REJECT_NONE)
		return XDP_DROP;
	index = sl_reject_bucket_of(&packet.tuple.source, family);
	bucket = bpf_map_lookup_elem(&reject_buckets, &index);
	if (bucket == NULL || !sl_reject_allow(bucket, story.now)) {
		story.cpu->counters.event[SL_EVENT_REFUSAL_LIMITED]++;
		return XDP_DROP;
	}
	told_by = packet.tuple.destination;
	if (has_speaker)
		told_by = story.cpu->refused_from;
	else if (reason == SL_REFUSED_EXPIRED)
		speak_for_client(story.cpu, &told_by);
	if (kind == SL_REJECT_RESET) {
		length = sl_reject_reset_length(&packet);
		if (!sl_reject_reset(&packet, (const void *)(long)ctx->data_end))
			return XDP_DROP;
		story.cpu->counters.event[SL_EVENT_RESET_SENT]++;
	} else {
		bool has_vlan = packet.has_vlan != 0;

		length = sl_reject_unreachable_length(sl_reject_link_length(&packet), family);
		if (bpf_xdp_adjust_head(ctx, -(int)sl_reject_room(family)) != 0)
			return XDP_DROP;
		story.length += sl_reject_room(family);
		if (!sl_reject_unreachable((uint8_t *)(long)ctx->data,
					   (const void *)(long)ctx->data_end, has_vlan, family,
					   &told_by, reason))
			return XDP_DROP;
		story.cpu->counters.event[sl_reject_event(reason)]++;
	}
	if (story.length > length && bpf_xdp_adjust_tail(ctx, (int)length - (int)story.length) != 0)
		return XDP_DROP;
	story.cpu->counters.event[SL_EVENT_TX]++;
	story.cpu->counters.event[SL_EVENT_TX_BYTES] += length;
	return send_by(from->index, from);
}

/*
 * Makes the frame of a refused packet the answer to its sender, and counts it. The verdict has been
 * counted.
 */
SEC("xdp")
int sl_refuse(struct xdp_md *ctx)
{
	return tell(ctx, refuse_frame(ctx));
}
