// SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0
/* Copyright (c) 2026 The Sluice authors */
/*
 * The program for packets of flows whose backend is told of the client: what
 * include/sluice/packet/proxy.h decides, as dataplane/dpdk/proxy.c does it, then the rewrite. Functions
 * one after the other, so that each has the stack to itself; what they tell each other stands in
 * the CPU's record.
 */
#pragma once

#include <sluice/packet/proxy.h>

#include "capture.h"

/* What is to be done to the stream: enum sl_proxy_action for a client's packet, or this. */
enum {
	PROXY_REPLY = SL_N_PROXY_ACTIONS,
};

/* Reads the packet into the record. */
__noinline int proxy_read(struct xdp_md *ctx)
{
	const struct sl_xdp_port *from = port_of(ctx->ingress_ifindex);
	const struct sl_tcp *tcp;
	enum sl_verdict verdict;
	struct sl_packet packet;
	struct story story;
	struct sl_xdp_cpu *cpu;

	if (from == NULL || !story_begin(ctx, &story))
		return XDP_PASS;
	verdict = parse(&story, from, &packet);
	if (verdict != SL_VERDICT_NONE)
		return conclude(&story, verdict, from);
	cpu = story.cpu;
	tcp = (const struct sl_tcp *)packet.ports;
	cpu->headers = packet.l4_offset + sizeof(struct sl_udp);
	if (packet.tuple.protocol == SL_PROTOCOL_TCP)
		cpu->headers = packet.l4_offset + (uint16_t)(tcp->offset >> 4) * 4;
	cpu->tuple = packet.tuple;
	cpu->length = story.length;
	cpu->l4_offset = packet.l4_offset;
	cpu->l4_length = packet.l4_length;
	cpu->has_vlan = packet.has_vlan;
	cpu->has_ttl = sl_nat_has_ttl(&packet);
	cpu->tcp_flags = packet.tcp_flags;
	cpu->tcp_payload = packet.tcp_payload;
	cpu->tcp_sequence = packet.tcp_sequence;
	cpu->tcp_acknowledgement = packet.tcp_acknowledgement;
	return GO_ON;
}

/* The packet as proxy_read() left it in the record, without its pointers. */
static __always_inline struct sl_packet proxy_packet(const struct sl_xdp_cpu *cpu, uint8_t family)
{
	struct sl_packet packet = {.tuple = cpu->tuple,
				   .l4_offset = cpu->l4_offset,
				   .l4_length = cpu->l4_length,
				   .has_vlan = cpu->has_vlan,
				   .tcp_flags = cpu->tcp_flags,
				   .tcp_payload = cpu->tcp_payload,
				   .tcp_sequence = cpu->tcp_sequence,
				   .tcp_acknowledgement = cpu->tcp_acknowledgement};

	packet.tuple.family = family;
	return packet;
}

/* What is to be done to a client's packet, kept in the record; or why it is dropped. */
static __always_inline enum sl_verdict proxy_judge(struct sl_xdp_cpu *cpu,
						   const struct sl_packet *packet,
						   struct sl_proxy *proxy, uint32_t mtu)
{
	enum sl_proxy_action action = SL_PROXY_INSERT;
	uint32_t sequence = 0;

	if (packet->tuple.protocol == SL_PROTOCOL_TCP)
		action = sl_proxy_forward(proxy, packet, &sequence);
	cpu->proxy_step = action;
	cpu->new_sequence = sequence;
	if (action == SL_PROXY_REFUSE)
		return SL_VERDICT_DROP_BEFORE_HEADER;
	if (action != SL_PROXY_INSERT)
		return SL_VERDICT_NONE;
	if (cpu->headers > SL_PROXY_MAX_HEADERS || sl_proxy_grown(packet) > mtu) {
		cpu->refused_reason = sl_proxy_room(mtu, packet->tuple.family);
		return SL_VERDICT_DROP_TOO_BIG;
	}
	/* That it leaves is as good as sure. */
	sl_proxy_sent(proxy);
	return SL_VERDICT_NONE;
}

/* Next hop, TTL, and what is to become of the stream. */
static __always_inline enum sl_verdict proxy_prepare(struct story *story, struct sl_flow *flow,
						     const struct sl_packet *packet,
						     const struct way *way)
{
	const struct sl_adjacency *adjacency = adjacency_at(way->adjacency);
	const struct sl_proxy was = sl_flow_proxy(flow);
	struct sl_proxy is = was;
	enum sl_verdict verdict;

	if (adjacency == NULL || way->adjacency < SL_ADJACENCY_FIRST)
		return SL_VERDICT_DROP_NO_ROUTE;
	if (!story->cpu->has_ttl)
		return SL_VERDICT_DROP_TTL;
	story->cpu->proxy_step = packet->tuple.protocol == SL_PROTOCOL_TCP ? (uint8_t)PROXY_REPLY
									   : (uint8_t)SL_PROXY_PASS;
	if (way->verdict == SL_VERDICT_REPLY)
		return SL_VERDICT_NONE;
	verdict = proxy_judge(story->cpu, packet, &is,
			      control.port_mtu[adjacency->port & (SL_MAX_PORTS - 1)]);
	sl_flow_set_proxy(flow, &was, &is);
	return verdict;
}

/* Decides what becomes of the packet of flow cpu->found; its frame is not touched. */
static __always_inline int proxy_decide(struct xdp_md *ctx, uint8_t family)
{
	const struct sl_xdp_port *from = port_of(ctx->ingress_ifindex);
	struct found found = {.index = 0};
	enum sl_verdict verdict;
	struct sl_packet packet;
	struct story story;
	struct way way = {.service = 0};
	bool is_followed;

	if (from == NULL || !story_begin(ctx, &story))
		return XDP_PASS;
	clock_read(&story);
	packet = proxy_packet(story.cpu, family);
	way.to = &story.cpu->rewrite;
	found.index = story.cpu->found;
	found.flow = flow_at(found.index, family);
	/* Between two programs the flow has become another's: the packet comes again. */
	if (found.flow == NULL)
		return conclude(&story, SL_VERDICT_DROP_NO_FLOW, from);
	found.sequence = read_once(&found.flow->sequence);
	barrier();
	is_followed = story.cpu->direction == SL_DIRECTION_FORWARD
			      ? follow(&story, &found, family, SL_DIRECTION_FORWARD, &packet, &way)
			      : follow(&story, &found, family, SL_DIRECTION_REPLY, &packet, &way);
	if (!is_followed)
		return conclude(&story, SL_VERDICT_DROP_NO_FLOW, from);
	if (way.adjacency == SL_ADJACENCY_GLEAN) {
		story.cpu->counters.event[SL_EVENT_RESOLVE]++;
		return conclude(&story, SL_VERDICT_DROP_NO_NEIGHBOUR, from);
	}
	verdict = proxy_prepare(&story, found.flow, &packet, &way);
	if (verdict != SL_VERDICT_NONE) {
		count_service_drop(way.service);
		(void)conclude(&story, verdict, from);
		story.cpu->service = way.service;
		story.cpu->verdict = way.verdict;
		if (verdict == SL_VERDICT_DROP_TTL)
			story.cpu->refused_reason = SL_REFUSED_EXPIRED;
		return story.cpu->refused_reason != SL_REFUSED ? REFUSE : XDP_DROP;
	}
	story.cpu->adjacency = way.adjacency;
	story.cpu->service = way.service;
	story.cpu->backend = way.backend;
	story.cpu->verdict = way.verdict;
	return GO_ON;
}

__noinline int proxy_decide4(struct xdp_md *ctx)
{
	return proxy_decide(ctx, SL_FAMILY_IPV4);
}

__noinline int proxy_decide6(struct xdp_md *ctx)
{
	return proxy_decide(ctx, SL_FAMILY_IPV6);
}

/* Copies the packet's options into the record; their number, or a negative one. */
static __always_inline long options_take(struct xdp_md *ctx, struct sl_xdp_cpu *cpu)
{
	uint32_t at = cpu->l4_offset + (uint32_t)sizeof(struct sl_tcp);
	/* Never 0, and verifiers before Linux 6.2 see it: none are 64, which is too many. */
	uint32_t n = ((cpu->headers - at - 1) & 63) + 1;

	if (n > SL_TCP_MAX_OPTIONS)
		return 0;
	return bpf_xdp_load_bytes(ctx, at, cpu->options, n) == 0 ? (long)n : -1;
}

/* Puts the options back into the packet. */
static __always_inline bool options_put(struct xdp_md *ctx, struct sl_xdp_cpu *cpu)
{
	uint32_t at = cpu->l4_offset + (uint32_t)sizeof(struct sl_tcp);
	/* Never 0, and verifiers before Linux 6.2 see it: none are 64, which is too many. */
	uint32_t n = ((cpu->headers - at - 1) & 63) + 1;

	if (n > SL_TCP_MAX_OPTIONS)
		return true;
	return bpf_xdp_store_bytes(ctx, at, cpu->options, n) == 0;
}

/* A client's SYN, or a segment with another number. Whether it was done. */
static __always_inline int proxy_renumber(struct xdp_md *ctx, uint8_t family)
{
	struct sl_xdp_cpu *cpu = this_cpu();
	struct sl_packet packet;

	if (cpu == NULL)
		return 0;
	if (cpu->proxy_step == SL_PROXY_SYN && options_take(ctx, cpu) < 0)
		return 0;
	packet = proxy_packet(cpu, family);
	packet.tuple.protocol = SL_PROTOCOL_TCP; /* as it is */
	if (!sl_proxy_point((void *)(long)ctx->data, (const void *)(long)ctx->data_end, &packet))
		return 0;
	if (cpu->proxy_step == SL_PROXY_SHIFT) {
		sl_proxy_shift(&packet, cpu->new_sequence);
		return 1;
	}
	sl_proxy_syn(&packet, cpu->options, 0);
	return options_put(ctx, cpu);
}

__noinline int proxy_renumber4(struct xdp_md *ctx)
{
	return proxy_renumber(ctx, SL_FAMILY_IPV4);
}

__noinline int proxy_renumber6(struct xdp_md *ctx)
{
	return proxy_renumber(ctx, SL_FAMILY_IPV6);
}

/*
 * Puts the header into a client's packet. Whether it was done. @protocol: a constant, for what lies in
 * memory may be another each time it is read.
 */
static __always_inline int proxy_insert(struct xdp_md *ctx, uint8_t family, uint8_t protocol)
{
	struct sl_xdp_cpu *cpu = this_cpu();
	struct sl_packet packet;
	const void *data_end;
	void *data;

	if (cpu == NULL || bpf_xdp_adjust_head(ctx, -(int)sl_proxy_length(family)) != 0)
		return 0;
	data = (void *)(long)ctx->data;
	data_end = (const void *)(long)ctx->data_end;
	packet = proxy_packet(cpu, family);
	packet.tuple.protocol = protocol;
	if (!sl_proxy_make_room(data, data_end, &packet, cpu->headers))
		return 0;
	return sl_proxy_insert(&packet, data_end, &packet.tuple, cpu->new_sequence);
}

__noinline int proxy_insert_tcp4(struct xdp_md *ctx)
{
	return proxy_insert(ctx, SL_FAMILY_IPV4, SL_PROTOCOL_TCP);
}

__noinline int proxy_insert_tcp6(struct xdp_md *ctx)
{
	return proxy_insert(ctx, SL_FAMILY_IPV6, SL_PROTOCOL_TCP);
}

__noinline int proxy_insert_udp4(struct xdp_md *ctx)
{
	return proxy_insert(ctx, SL_FAMILY_IPV4, SL_PROTOCOL_UDP);
}

__noinline int proxy_insert_udp6(struct xdp_md *ctx)
{
	return proxy_insert(ctx, SL_FAMILY_IPV6, SL_PROTOCOL_UDP);
}

/* A backend's segment: acknowledgement, options, and what it says of the header. Whether it was done. */
static __always_inline int proxy_answer(struct xdp_md *ctx, uint8_t family)
{
	struct sl_xdp_cpu *cpu = this_cpu();
	struct sl_packet packet;
	struct sl_flow *flow;
	struct sl_proxy was;
	struct sl_proxy is;

	if (cpu == NULL || options_take(ctx, cpu) < 0)
		return 0;
	flow = flow_at(cpu->found, family);
	packet = proxy_packet(cpu, family);
	packet.tuple.protocol = SL_PROTOCOL_TCP; /* as it is */
	if (flow == NULL ||
	    !sl_proxy_point((void *)(long)ctx->data, (const void *)(long)ctx->data_end, &packet))
		return 0;
	was = sl_flow_proxy(flow);
	is = was;
	sl_proxy_reply(&is, &packet, cpu->options);
	sl_flow_set_proxy(flow, &was, &is);
	return options_put(ctx, cpu);
}

__noinline int proxy_answer4(struct xdp_md *ctx)
{
	return proxy_answer(ctx, SL_FAMILY_IPV4);
}

__noinline int proxy_answer6(struct xdp_md *ctx)
{
	return proxy_answer(ctx, SL_FAMILY_IPV6);
}

/* The rewrite, and the end of the story. */
static __always_inline int proxy_send(struct xdp_md *ctx, uint8_t family, uint8_t protocol)
{
	const struct sl_xdp_port *from = port_of(ctx->ingress_ifindex);
	const struct sl_adjacency *adjacency;
	struct sl_packet packet;
	struct sl_xdp_cpu *cpu;
	struct story story;
	struct way way;

	if (from == NULL || !story_begin(ctx, &story))
		return XDP_PASS;
	cpu = story.cpu;
	way = (struct way){.to = &cpu->rewrite,
			   .verdict = cpu->verdict,
			   .service = cpu->service,
			   .backend = cpu->backend};
	adjacency = adjacency_at(cpu->adjacency);
	packet = proxy_packet(cpu, family);
	packet.tuple.protocol = protocol;
	if (adjacency == NULL ||
	    !sl_proxy_point((void *)(long)ctx->data, (const void *)(long)ctx->data_end, &packet))
		return conclude(&story, SL_VERDICT_DROP_TRUNCATED, from);
	sl_nat_rewrite(&packet, way.to);
	sl_nat_ethernet(packet.ethernet, adjacency->destination_mac, adjacency->source_mac);
	story.port = adjacency->port;
	count_sent(&way, cpu->length);
	return conclude(&story, way.verdict, from);
}

__noinline int proxy_send_tcp4(struct xdp_md *ctx)
{
	return proxy_send(ctx, SL_FAMILY_IPV4, SL_PROTOCOL_TCP);
}

__noinline int proxy_send_tcp6(struct xdp_md *ctx)
{
	return proxy_send(ctx, SL_FAMILY_IPV6, SL_PROTOCOL_TCP);
}

__noinline int proxy_send_udp4(struct xdp_md *ctx)
{
	return proxy_send(ctx, SL_FAMILY_IPV4, SL_PROTOCOL_UDP);
}

__noinline int proxy_send_udp6(struct xdp_md *ctx)
{
	return proxy_send(ctx, SL_FAMILY_IPV6, SL_PROTOCOL_UDP);
}

/* What proxy_decide() said is to be done to the stream. Whether it was done. */
static __always_inline int proxy_apply(struct xdp_md *ctx, uint8_t step, bool is_six, bool is_tcp)
{
	if (step == SL_PROXY_SYN || step == SL_PROXY_SHIFT)
		return is_six ? proxy_renumber6(ctx) : proxy_renumber4(ctx);
	if (step == PROXY_REPLY)
		return is_six ? proxy_answer6(ctx) : proxy_answer4(ctx);
	if (step != SL_PROXY_INSERT)
		return 1;
	if (is_tcp)
		return is_six ? proxy_insert_tcp6(ctx) : proxy_insert_tcp4(ctx);
	return is_six ? proxy_insert_udp6(ctx) : proxy_insert_udp4(ctx);
}

/* Ends the story of a packet that could not be changed as was decided: its headers were judged before,
 * so only a driver that leaves no room before the frame gets here. */
__noinline int proxy_give_up(struct xdp_md *ctx)
{
	const struct sl_xdp_port *from = port_of(ctx->ingress_ifindex);
	struct story story;

	if (from == NULL || !story_begin(ctx, &story))
		return XDP_PASS;
	count_service_drop(story.cpu->service);
	return conclude(&story, SL_VERDICT_DROP_TOO_BIG, from);
}

static __always_inline int proxy_frame(struct xdp_md *ctx)
{
	const struct sl_xdp_cpu *cpu = this_cpu();
	bool is_six = is_ipv6(ctx);
	int action = proxy_read(ctx);
	bool is_tcp;

	if (action == GO_ON)
		action = is_six ? proxy_decide6(ctx) : proxy_decide4(ctx);
	if (action == REFUSE)
		bpf_tail_call(ctx, &programs, SL_XDP_PROGRAM_REFUSE);
	if (action != GO_ON || cpu == NULL)
		return action < 0 ? XDP_DROP : action;
	is_tcp = cpu->tuple.protocol == SL_PROTOCOL_TCP;
	if (!proxy_apply(ctx, cpu->proxy_step, is_six, is_tcp))
		return proxy_give_up(ctx);
	if (is_tcp)
		return is_six ? proxy_send_tcp6(ctx) : proxy_send_tcp4(ctx);
	return is_six ? proxy_send_udp6(ctx) : proxy_send_udp4(ctx);
}

SEC("xdp")
int sl_proxy(struct xdp_md *ctx)
{
	return tell(ctx, proxy_frame(ctx));
}
