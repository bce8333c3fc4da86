// SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0
/* Copyright (c) 2026 The Sluice authors */
/*
 * A packet in the CPU's record: left there by the function that read it for those that come after it, each
 * of which has the stack to itself, and sent from there.
 */
#pragma once

#include <sluice/packet/icmp.h>

#include "story.h"

/** Leaves @packet in the record. */
static __always_inline void record_fill(const struct story *story, const struct sl_packet *packet)
{
	struct sl_xdp_cpu *cpu = story->cpu;

	cpu->tuple = packet->tuple;
	cpu->length = story->length;
	cpu->l4_offset = packet->l4_offset;
	cpu->l4_length = packet->l4_length;
	cpu->has_vlan = packet->has_vlan;
	cpu->fragment = packet->fragment;
	cpu->echo = packet->echo;
	cpu->tcp_flags = packet->tcp_flags;
	cpu->tcp_payload = packet->tcp_payload;
	cpu->tcp_sequence = packet->tcp_sequence;
	cpu->tcp_acknowledgement = packet->tcp_acknowledgement;
}

/** The packet as record_fill() left it, without its pointers. */
static __always_inline struct sl_packet record_packet(const struct sl_xdp_cpu *cpu, uint8_t family)
{
	struct sl_packet packet = {.tuple = cpu->tuple,
				   .l4_offset = cpu->l4_offset,
				   .l4_length = cpu->l4_length,
				   .has_vlan = cpu->has_vlan,
				   .fragment = cpu->fragment,
				   .echo = cpu->echo,
				   .tcp_flags = cpu->tcp_flags,
				   .tcp_payload = cpu->tcp_payload,
				   .tcp_sequence = cpu->tcp_sequence,
				   .tcp_acknowledgement = cpu->tcp_acknowledgement};

	packet.tuple.family = family;
	return packet;
}

/* Points @packet's headers into the frame. False: never. */
static __always_inline bool record_point(struct xdp_md *ctx, const struct sl_xdp_cpu *cpu,
					 struct sl_packet *packet)
{
	void *data = (void *)(long)ctx->data;
	const void *data_end = (const void *)(long)ctx->data_end;
	void *l3 = data + sizeof(struct sl_ethernet) + (cpu->has_vlan ? sizeof(struct sl_vlan) : 0);
	uint8_t *l4 = data + (cpu->l4_offset & (SL_MAX_L4_OFFSET - 1));

	packet->ethernet = data;
	if (packet->tuple.family == SL_FAMILY_IPV4)
		packet->ipv4 = l3;
	else
		packet->ipv6 = l3;
	packet->ports = (struct sl_l4_ports *)l4;
	packet->l4_checksum = (be16_t *)(packet->tuple.protocol == SL_PROTOCOL_TCP
						 ? l4 + offsetof(struct sl_tcp, checksum)
					 : packet->tuple.protocol == SL_PROTOCOL_UDP
						 ? l4 + offsetof(struct sl_udp, checksum)
						 : l4 + offsetof(struct sl_icmp, checksum));
	return l3 + (packet->tuple.family == SL_FAMILY_IPV4 ? sizeof(struct sl_ipv4)
							    : sizeof(struct sl_ipv6)) <=
	       data_end;
}

/* Next hop, TTL, headers, and only then the first write. */
static __always_inline enum sl_verdict record_rewrite(struct story *story, uint8_t family)
{
	const void *data_end = (const void *)(long)story->ctx->data_end;
	struct sl_xdp_cpu *cpu = story->cpu;
	struct way way = {.to = &cpu->rewrite,
			  .adjacency = cpu->adjacency,
			  .verdict = cpu->verdict,
			  .service = cpu->service,
			  .backend = cpu->backend};
	const struct sl_adjacency *adjacency = adjacency_at(way.adjacency);
	struct sl_packet packet = {.fragment = cpu->fragment};
	enum sl_verdict verdict;

	packet.tuple.family = family;
	packet.tuple.protocol = cpu->tuple.protocol;
	if (!record_point(story->ctx, cpu, &packet))
		return SL_VERDICT_DROP_TRUNCATED;
	verdict = way_judge(&packet, &way, adjacency);
	if (adjacency == NULL || verdict != SL_VERDICT_NONE)
		return verdict;
	/* Headers and other numbers are for whole packets: UDP's replies alone have neither. */
	if (cpu->has_header &&
	    !(way.verdict == SL_VERDICT_REPLY && packet.tuple.protocol == SL_PROTOCOL_UDP)) {
		count_service_drop(way.service);
		return SL_VERDICT_DROP_FRAGMENT_HEADER;
	}
	if (sl_packet_is_later(&packet)) {
		(void)sl_nat_l3(&packet, way.to);
	} else {
		if ((const void *)(packet.ports + 1) > data_end ||
		    (const void *)(packet.l4_checksum + 1) > data_end)
			return SL_VERDICT_DROP_TRUNCATED;
		if (!cpu->echo)
			sl_nat_rewrite(&packet, way.to);
		else if ((const void *)(packet.l4_checksum + 2) <= data_end)
			sl_icmp_rewrite_echo(&packet, way.to);
	}
	sl_nat_ethernet(packet.ethernet, adjacency->destination_mac, adjacency->source_mac);
	story->port = adjacency->port;
	count_sent(&way, story->length);
	return way.verdict;
}

static __always_inline int record_send(struct xdp_md *ctx, uint8_t family)
{
	const struct sl_xdp_port *from = port_of(ctx->ingress_ifindex);
	struct story story;

	if (from == NULL || !story_begin(ctx, &story))
		return XDP_PASS;
	return conclude(&story, record_rewrite(&story, family), from);
}

__noinline int record_send4(struct xdp_md *ctx)
{
	return record_send(ctx, SL_FAMILY_IPV4);
}

__noinline int record_send6(struct xdp_md *ctx)
{
	return record_send(ctx, SL_FAMILY_IPV6);
}
