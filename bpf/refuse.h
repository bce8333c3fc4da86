// SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0
/* Copyright (c) 2026 The Sluice authors */
/* The program that tells the sender of a refused packet. */
#pragma once

#include "story.h"

/*
 * Makes the frame of a refused packet the answer to its sender, and counts it. The verdict has been
 * counted.
 */
SEC("xdp")
int sl_refuse(struct xdp_md *ctx)
{
	const struct sl_xdp_port *from = port_of(ctx->ingress_ifindex);
	struct sl_reject_bucket *bucket;
	struct sl_packet packet;
	struct story story;
	enum sl_reject kind;
	uint32_t length;
	uint32_t index;
	uint32_t mtu;
	uint8_t family;

	if (from == NULL || !story_begin(ctx, &story))
		return XDP_DROP;
	clock_read(&story);
	mtu = story.cpu->refused_mtu;
	story.cpu->refused_mtu = 0;
	if (parse(&story, from, &packet) != SL_VERDICT_NONE)
		return XDP_DROP;
	family = packet.tuple.family;
	kind = sl_reject_kind(&packet, mtu);
	if (kind == SL_REJECT_NONE)
		return XDP_DROP;
	index = sl_reject_bucket_of(&packet.tuple.source, family);
	bucket = bpf_map_lookup_elem(&reject_buckets, &index);
	if (bucket == NULL || !sl_reject_allow(bucket, story.now)) {
		story.cpu->counters.event[SL_EVENT_REFUSAL_LIMITED]++;
		return XDP_DROP;
	}
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
					   mtu))
			return XDP_DROP;
		story.cpu->counters
			.event[mtu != 0 ? SL_EVENT_TOO_BIG_SENT : SL_EVENT_UNREACHABLE_SENT]++;
	}
	if (story.length > length && bpf_xdp_adjust_tail(ctx, (int)length - (int)story.length) != 0)
		return XDP_DROP;
	story.cpu->counters.event[SL_EVENT_TX]++;
	story.cpu->counters.event[SL_EVENT_TX_BYTES] += length;
	return send_by(from->index, from);
}
