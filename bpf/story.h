// SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0
/* Copyright (c) 2026 The Sluice authors */
/*
 * How every program that judges a packet begins its story and ends it: the frame parsed, the clock
 * read, the verdict counted.
 */
#pragma once

#include "balance.h"

enum {
	COUNTED_VERDICTS = 64,
	/* Not actions: */
	LOOK_AGAIN = -1, /* the packet's flow is to be looked for, again */
	SEND6 = -2,      /* send6() is to end the story */
	REFUSE = -3,     /* counted as dropped; sl_refuse() is to tell the sender */
	CREATE = -4,     /* create4() or create6() is to put a flow into the table */
	ICMP = -5,       /* not counted; sl_icmp() is to judge it */
	PROXY = -6,      /* not counted; sl_proxy() is to judge it */
	FRAGMENT = -7,   /* not counted; sl_fragment() is to judge it */
	GO_ON = -8,      /* the story's next function is to go on */
	EGRESS = -9,     /* not counted; sl_egress() is to judge it */
};

_Static_assert(SL_N_VERDICTS <= COUNTED_VERDICTS &&
		       sizeof(struct sl_xdp_cpu) >= COUNTED_VERDICTS * sizeof(uint64_t),
	       "whatever is masked lies within the record");

static __always_inline int send_by(uint32_t port, const struct sl_xdp_port *from)
{
	if (port == from->index && !from->is_veth)
		return XDP_TX;
	return (int)bpf_redirect_map(&port_devices, port, XDP_DROP);
}

/** Counts the verdict once, and says what the kernel is to do with the frame. */
static __always_inline int conclude(struct story *story, enum sl_verdict verdict,
				    const struct sl_xdp_port *from)
{
	/* A mask, not a comparison, which verifiers before Linux 6.2 lose on the way. */
	story->cpu->counters.verdict[verdict & (COUNTED_VERDICTS - 1)]++;
	story->cpu->concluded = story->port << SL_XDP_CONCLUDED_PORT | (uint32_t)verdict;
	if (SL_LIKELY(verdict == SL_VERDICT_FORWARD || verdict == SL_VERDICT_REPLY)) {
		story->cpu->counters.event[SL_EVENT_TX]++;
		story->cpu->counters.event[SL_EVENT_TX_BYTES] += story->length;
		return send_by(story->port, from);
	}
	return sl_verdict_is_drop(verdict) ? XDP_DROP : XDP_PASS;
}

static __always_inline struct sl_xdp_cpu *this_cpu(void)
{
	uint32_t zero = 0;

	return bpf_map_lookup_elem(&cpus, &zero);
}

static __always_inline bool story_begin(struct xdp_md *ctx, struct story *story)
{
	long length = (long)ctx->data_end - (long)ctx->data;

	/* The difference is to be taken at full width: half a pointer is nothing to the verifier. */
	barrier_var(length);
	*story = (struct story){.ctx = ctx, .length = (uint32_t)length};
	story->cpu = this_cpu();
	return story->cpu != NULL;
}

/* Whether the parser will find IPv6. Judges nothing. */
static __always_inline bool is_ipv6(const struct xdp_md *ctx)
{
	const struct sl_ethernet *ethernet = (void *)(long)ctx->data;
	const struct sl_vlan *vlan = (const struct sl_vlan *)(ethernet + 1);
	const void *data_end = (void *)(long)ctx->data_end;

	if ((const void *)(vlan + 1) > data_end)
		return false;
	return ethernet->type == SL_BE16(SL_ETHERTYPE_IPV6) ||
	       (ethernet->type == SL_BE16(SL_ETHERTYPE_VLAN) &&
		vlan->type == SL_BE16(SL_ETHERTYPE_IPV6));
}

/*
 * There are many ways to a layer-4 header, and the verifier would follow the rest of the story once
 * for each. What it reads from a map is any number to it, and what it reads from the context is a
 * frame of which nothing is known: so it forgets which way was taken. False: never.
 */
static __always_inline bool forget_way(const struct story *story, struct sl_packet *packet,
				       void **data, const void **data_end)
{
	volatile uint64_t *scratch = (volatile uint64_t *)&story->cpu->scratch;
	const volatile struct xdp_md *ctx = story->ctx;
	uint64_t word;
	void *l3;

	*scratch = (uint64_t)packet->l4_length << 32 | (uint64_t)packet->tuple.protocol << 16 |
		   packet->l4_offset;
	word = *scratch;
	packet->l4_offset = (uint16_t)word & (SL_MAX_L4_OFFSET - 1);
	packet->tuple.protocol = (uint8_t)(word >> 16);
	packet->l4_length = (uint16_t)(word >> 32);
	*data = (void *)(long)ctx->data;
	*data_end = (void *)(long)ctx->data_end;
	packet->ethernet = *data;
	l3 = *data + sizeof(struct sl_ethernet) + (packet->has_vlan ? sizeof(struct sl_vlan) : 0);
	if (packet->tuple.family == SL_FAMILY_IPV4) {
		packet->ipv4 = l3;
		return (const void *)(packet->ipv4 + 1) <= *data_end;
	}
	packet->ipv6 = l3;
	return (const void *)(packet->ipv6 + 1) <= *data_end;
}

/** Link and IP header. SL_VERDICT_NONE: what follows them is at l4_offset of [*@data, *@data_end). */
static __always_inline enum sl_verdict parse_ip(const struct story *story,
						const struct sl_xdp_port *from,
						struct sl_packet *packet, void **data,
						const void **data_end)
{
	enum sl_verdict verdict;

	*data = (void *)(long)story->ctx->data;
	*data_end = (void *)(long)story->ctx->data_end;
	verdict = sl_parse_link(*data, *data_end, from->mac);
	if (verdict == SL_VERDICT_NONE)
		verdict = sl_parse_l3(*data, *data_end, packet);
	if (verdict != SL_VERDICT_NONE)
		return verdict;
	return forget_way(story, packet, data, data_end) ? SL_VERDICT_NONE
							 : SL_VERDICT_DROP_TRUNCATED;
}

/** From a frame to validated header pointers, or a verdict. */
static __always_inline enum sl_verdict
parse(const struct story *story, const struct sl_xdp_port *from, struct sl_packet *packet)
{
	const void *data_end;
	void *data;
	enum sl_verdict verdict = parse_ip(story, from, packet, &data, &data_end);

	return verdict != SL_VERDICT_NONE ? verdict : sl_parse_l4(data, data_end, packet);
}

/*
 * The coarse clock goes on with jiffies, which the kernel's compiler reads in line: so the clock is
 * asked when they changed. What is kept is at most one of them late.
 */
static __always_inline void clock_read(struct story *story)
{
	uint64_t jiffies = bpf_jiffies64();

	if (SL_UNLIKELY(story->cpu->jiffies != jiffies)) {
		story->cpu->now = sl_xdp_ticks(bpf_ktime_get_coarse_ns());
		story->cpu->jiffies = jiffies;
	}
	story->now = story->cpu->now;
	story->generation = route_generation(story->now);
}

/** Whether a packet of a flow that is over, or whose backend is gone, begins a new one. */
static __always_inline bool begins_anew(const struct sl_packet *packet, enum sl_direction direction)
{
	return direction == SL_DIRECTION_FORWARD && !sl_packet_is_later(packet) &&
	       (sl_flow_is_opening(packet) || packet->tuple.protocol == SL_PROTOCOL_UDP);
}
