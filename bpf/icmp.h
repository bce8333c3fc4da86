// SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0
/* Copyright (c) 2026 The Sluice authors */
/*
 * The program that translates ICMP errors about packets of flows, as balance_error() of
 * dataplane/dpdk/balance.c does. Three functions, one after the other, so that each has the stack to
 * itself; what they tell each other stands in the CPU's record.
 */
#pragma once

#include <sluice/packet/icmp.h>

#include "capture.h"

/*
 * Whether the checksum of the ICMP message is right, whose place and length are in the record, and
 * the sum of its pseudo-header in scratch. A function, for there are as many ways through it as a
 * message may have words, and the verifier is to forget which was taken.
 */
__noinline int icmp_has_checksum(struct xdp_md *ctx)
{
	const uint8_t *data = (const uint8_t *)(long)ctx->data;
	const void *data_end = (const void *)(long)ctx->data_end;
	uint32_t zero = 0;
	const struct sl_xdp_cpu *cpu = bpf_map_lookup_elem(&cpus, &zero);
	uint32_t l4_offset;
	uint64_t sum;

	if (cpu == NULL)
		return 0;
	l4_offset = sl_hide(cpu->l4_offset);
	sum = cpu->scratch;
	if (l4_offset >= SL_MAX_L4_OFFSET ||
	    !sl_icmp_sum(data + l4_offset, cpu->l4_length, data_end, &sum))
		return 0;
	return sl_checksum_fold(sum) == 0xffff;
}

/* Reads the error. Its tuple, which is the quoted one turned round, is left in the record. */
__noinline int icmp_read(struct xdp_md *ctx)
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
		verdict = sl_icmp_parse_type(data, data_end, &packet);
	if (verdict == SL_VERDICT_PUNT_ICMP && control.has_egress) {
		story.cpu->passage = SL_XDP_PASSAGE_ECHO;
		return EGRESS;
	}
	if (verdict != SL_VERDICT_NONE)
		return conclude(&story, verdict, from);
	story.cpu->l4_offset = packet.l4_offset;
	story.cpu->l4_length = packet.l4_length;
	story.cpu->scratch = sl_icmp_pseudo(&packet);
	verdict = icmp_has_checksum(ctx) ? sl_icmp_parse_quoted(data, data_end, &packet)
					 : SL_VERDICT_DROP_ICMP_MALFORMED;
	if (verdict != SL_VERDICT_NONE)
		return conclude(&story, verdict, from);
	story.cpu->tuple = packet.tuple;
	story.cpu->has_vlan = packet.has_vlan;
	story.cpu->quoted_offset = packet.quoted_offset;
	story.cpu->quoted_l4_offset = packet.quoted_l4_offset;
	story.cpu->has_small_mtu = packet.has_small_mtu;
	return GO_ON;
}

/* The flow that the error is about, or SL_NO_INDEX, and in which direction the error goes. */
static __always_inline uint32_t icmp_find_flow(struct sl_xdp_cpu *cpu, uint8_t family,
					       enum sl_direction *direction)
{
	const struct sl_tuple *tuple = &cpu->tuple;
	uint32_t index = SL_NO_INDEX;

	*direction = SL_DIRECTION_FORWARD;
	if (may_be(control.service_filter, &tuple->destination, family))
		index = flow_find(cpu, tuple, SL_DIRECTION_FORWARD, family);
	if (index != SL_NO_INDEX || !may_be(control.backend_filter, &tuple->source, family))
		return index;
	*direction = SL_DIRECTION_REPLY;
	if (may_be(control.source_filter, &tuple->destination, family))
		index = reply_find(tuple, family);
	return index != SL_NO_INDEX ? index : flow_find(cpu, tuple, SL_DIRECTION_REPLY, family);
}

/*
 * The way of an error about a packet of flow @index. SL_VERDICT_NONE: the flow is another by now.
 * Else SL_VERDICT_FORWARD, _REPLY, or why it ends here.
 */
static __always_inline enum sl_verdict icmp_flow_way(struct story *story, uint32_t index,
						     enum sl_direction direction, uint8_t family,
						     struct way *way)
{
	struct sl_flow *flow = flow_at(index, family);
	struct sl_tuple tuple = story->cpu->tuple;
	uint32_t sequence;
	uint16_t epoch;
	bool is_of_error;

	if (flow == NULL)
		return SL_VERDICT_NONE;
	tuple.family = family; /* a constant, where what lies in memory may be anything */
	sequence = read_once(&flow->sequence);
	barrier();
	is_of_error = (sequence & 1) == 0 && sl_flow_matches(flow, &tuple, direction);
	way->service = flow->service;
	way->backend = flow->backend;
	epoch = flow->backend_epoch;
	story->cpu->keeps_source =
		direction == SL_DIRECTION_FORWARD && !sl_flow_has_source_as(flow, family);
	if (direction == SL_DIRECTION_REPLY && tuple.protocol == SL_PROTOCOL_TCP)
		story->cpu->proxy = sl_flow_proxy(flow);
	sl_flow_rewrite_as(flow, family, direction, way->to);
	if (is_of_error && !has_backend(flow))
		return SL_VERDICT_DROP_BACKEND_GONE;
	barrier();
	if (!is_of_error || read_once(&flow->sequence) != sequence)
		return SL_VERDICT_NONE;
	if (direction == SL_DIRECTION_FORWARD) {
		way->adjacency = backend_adjacency(story, way->backend, epoch,
						   &way->to->destination, family);
		return SL_VERDICT_FORWARD;
	}
	way->adjacency = route_kept(story->ctx, (uint32_t *)&flow->client_adjacency,
				    story->generation, &way->to->destination, family);
	return SL_VERDICT_REPLY;
}

/* The way of an error to a client's service that no flow knows, as a client's packet would go. */
static __always_inline enum sl_verdict icmp_client_way(struct story *story,
						       struct creation *creation, uint32_t service,
						       uint8_t family, struct way *way)
{
	const struct sl_service *record = bpf_map_lookup_elem(&services, &service);
	const struct sl_backend *backend = NULL;
	uint32_t index = SL_NO_INDEX;

	if (record != NULL && !service_needs_flow(record))
		index = backend_choose(creation, service);
	if (index != SL_NO_INDEX)
		backend = bpf_map_lookup_elem(&backends, &index);
	if (backend == NULL || backend_state(backend).family != family) {
		count_service_drop(service);
		return SL_VERDICT_DROP_ICMP_NO_FLOW;
	}
	story->cpu->counters.event[SL_EVENT_STATELESS_FORWARD]++;
	story->cpu->keeps_source = 1;
	creation->backend_addr = backend->addr;
	way->service = service;
	way->backend = index;
	way->to->source = creation->client.source;
	way->to->source_port = creation->client.source_port;
	way->to->destination = backend->addr;
	way->to->destination_port =
		backend->port != 0 ? backend->port : creation->client.destination_port;
	way->adjacency =
		backend_adjacency(story, index, backend->epoch, &creation->backend_addr, family);
	return SL_VERDICT_FORWARD;
}

/* Likewise of one about a packet that did not reach a backend. */
static __always_inline enum sl_verdict icmp_backend_way(struct story *story,
							const struct creation *creation,
							uint32_t index, uint8_t family,
							struct way *way)
{
	const struct sl_backend *backend = bpf_map_lookup_elem(&backends, &index);
	const struct sl_service *service;

	if (backend == NULL)
		return SL_VERDICT_PUNT_ICMP;
	way->backend = index;
	way->service = backend->service;
	service = bpf_map_lookup_elem(&services, &way->service);
	if (service == NULL || !service_replies_stateless(service, creation->client.protocol))
		return SL_VERDICT_PUNT_ICMP;
	way->adjacency = route_find(story->ctx, &creation->client.destination, family);
	/* The host's own packet it was, a health check's say. */
	if (way->adjacency == SL_ADJACENCY_NONE)
		return SL_VERDICT_PUNT_ICMP;
	way->to->source = service->addr;
	way->to->source_port = service->port != 0 ? service->port : creation->client.source_port;
	way->to->destination = creation->client.destination;
	way->to->destination_port = creation->client.destination_port;
	story->cpu->counters.event[SL_EVENT_STATELESS_REPLY]++;
	return SL_VERDICT_REPLY;
}

/* The way of an error that no flow knows. */
static __always_inline enum sl_verdict icmp_stateless_way(struct story *story, uint8_t family,
							  struct way *way)
{
	struct creation *creation = creation_new(story);
	uint32_t index = SL_NO_INDEX;

	if (creation == NULL)
		return SL_VERDICT_PUNT_ICMP;
	creation->client = story->cpu->tuple;
	if (may_be(control.service_filter, &creation->client.destination, family))
		index = service_find(creation);
	if (index != SL_NO_INDEX)
		return icmp_client_way(story, creation, index, family, way);
	index = replier_find(creation);
	if (index == SL_NO_INDEX)
		return SL_VERDICT_PUNT_ICMP;
	return icmp_backend_way(story, creation, index, family, way);
}

/* Decides where the error goes; its frame is not touched. */
static __always_inline int icmp_decide(struct xdp_md *ctx, uint8_t family)
{
	const struct sl_xdp_port *from = port_of(ctx->ingress_ifindex);
	enum sl_verdict verdict = SL_VERDICT_NONE;
	enum sl_direction direction;
	struct story story;
	struct way way = {.service = 0};
	uint32_t index;

	if (from == NULL || !story_begin(ctx, &story))
		return XDP_PASS;
	clock_read(&story);
	way.to = &story.cpu->rewrite;
	story.cpu->tuple.family = family;
	story.cpu->keeps_source = 0;
	story.cpu->proxy.phase = SL_PROXY_OFF;
	index = icmp_find_flow(story.cpu, family, &direction);
	if (index != SL_NO_INDEX)
		verdict = direction == SL_DIRECTION_FORWARD
				  ? icmp_flow_way(&story, index, SL_DIRECTION_FORWARD, family, &way)
				  : icmp_flow_way(&story, index, SL_DIRECTION_REPLY, family, &way);
	if (verdict == SL_VERDICT_NONE)
		verdict = icmp_stateless_way(&story, family, &way);
	if (verdict == SL_VERDICT_PUNT_ICMP && control.has_egress) {
		story.cpu->passage = SL_XDP_PASSAGE_ERROR;
		story.cpu->fragment = SL_PACKET_WHOLE;
		story.cpu->echo = SL_PACKET_NO_ECHO;
		return EGRESS;
	}
	if (verdict != SL_VERDICT_FORWARD && verdict != SL_VERDICT_REPLY)
		return conclude(&story, verdict, from);
	if (way.adjacency == SL_ADJACENCY_GLEAN) {
		story.cpu->counters.event[SL_EVENT_RESOLVE]++;
		return conclude(&story, SL_VERDICT_DROP_NO_NEIGHBOUR, from);
	}
	story.cpu->adjacency = way.adjacency;
	story.cpu->service = way.service;
	story.cpu->backend = way.backend;
	story.cpu->verdict = verdict;
	return GO_ON;
}

__noinline int icmp_decide4(struct xdp_md *ctx)
{
	return icmp_decide(ctx, SL_FAMILY_IPV4);
}

__noinline int icmp_decide6(struct xdp_md *ctx)
{
	return icmp_decide(ctx, SL_FAMILY_IPV6);
}

/* The error as icmp_read() left it in the record, without its pointers. */
static __always_inline struct sl_packet icmp_packet(const struct sl_xdp_cpu *cpu, uint8_t family)
{
	return (struct sl_packet){.l4_offset = cpu->l4_offset,
				  .l4_length = cpu->l4_length,
				  .quoted_offset = cpu->quoted_offset,
				  .quoted_l4_offset = cpu->quoted_l4_offset,
				  .tuple.protocol = cpu->tuple.protocol,
				  .tuple.family = family};
}

/* What differs for the client of a flow with headers. Whether it was done; a function of its own, as
 * verifiers before Linux 6.2 lose bounds on the way. */
static __always_inline int icmp_rewrite_stream(struct xdp_md *ctx, uint8_t family)
{
	struct sl_xdp_cpu *cpu = this_cpu();
	struct sl_packet packet;

	if (cpu == NULL)
		return 0;
	packet = icmp_packet(cpu, family);
	packet.tuple.protocol = SL_PROTOCOL_TCP; /* as it is */
	return sl_icmp_rewrite_stream((void *)(long)ctx->data, (const void *)(long)ctx->data_end,
				      &packet, &cpu->proxy);
}

__noinline int icmp_rewrite_stream4(struct xdp_md *ctx)
{
	return icmp_rewrite_stream(ctx, SL_FAMILY_IPV4);
}

__noinline int icmp_rewrite_stream6(struct xdp_md *ctx)
{
	return icmp_rewrite_stream(ctx, SL_FAMILY_IPV6);
}

/* Next hop, TTL, and only then the first write. */
static __always_inline enum sl_verdict icmp_rewrite(struct story *story, uint8_t family)
{
	void *data = (void *)(long)story->ctx->data;
	const void *data_end = (void *)(long)story->ctx->data_end;
	struct sl_xdp_cpu *cpu = story->cpu;
	struct way way = {.to = &cpu->rewrite,
			  .adjacency = cpu->adjacency,
			  .verdict = cpu->verdict,
			  .service = cpu->service,
			  .backend = cpu->backend};
	struct sl_packet packet = icmp_packet(cpu, family);
	void *l3 = data + sizeof(struct sl_ethernet) + (cpu->has_vlan ? sizeof(struct sl_vlan) : 0);
	const struct sl_adjacency *adjacency = adjacency_at(way.adjacency);
	enum sl_verdict verdict;

	packet.ethernet = data;
	if (family == SL_FAMILY_IPV4)
		packet.ipv4 = l3;
	else
		packet.ipv6 = l3;
	if (l3 + (family == SL_FAMILY_IPV4 ? sizeof(struct sl_ipv4) : sizeof(struct sl_ipv6)) >
	    data_end)
		return SL_VERDICT_DROP_TRUNCATED;
	verdict = way_judge(&packet, &way, adjacency);
	if (adjacency == NULL || verdict != SL_VERDICT_NONE)
		return verdict;
	if (!sl_icmp_rewrite(data, data_end, &packet, way.to, cpu->keeps_source))
		return SL_VERDICT_DROP_ICMP_MALFORMED;
	sl_nat_ethernet(packet.ethernet, adjacency->destination_mac, adjacency->source_mac);
	story->port = adjacency->port;
	cpu->counters.event[SL_EVENT_ICMP_ERROR]++;
	cpu->counters.event[SL_EVENT_ICMP_SMALL_MTU] += cpu->has_small_mtu;
	count_sent(&way, story->length);
	return way.verdict;
}

static __always_inline int icmp_send(struct xdp_md *ctx, uint8_t family)
{
	const struct sl_xdp_port *from = port_of(ctx->ingress_ifindex);
	struct story story;

	if (from == NULL || !story_begin(ctx, &story))
		return XDP_PASS;
	return conclude(&story, icmp_rewrite(&story, family), from);
}

__noinline int icmp_send4(struct xdp_md *ctx)
{
	return icmp_send(ctx, SL_FAMILY_IPV4);
}

__noinline int icmp_send6(struct xdp_md *ctx)
{
	return icmp_send(ctx, SL_FAMILY_IPV6);
}

SEC("xdp")
int sl_icmp(struct xdp_md *ctx)
{
	const struct sl_xdp_cpu *cpu = this_cpu();
	bool is_six = is_ipv6(ctx);
	int action = icmp_read(ctx);

	if (action == GO_ON)
		action = is_six ? icmp_decide6(ctx) : icmp_decide4(ctx);
	if (action == GO_ON && cpu != NULL && cpu->proxy.phase != SL_PROXY_OFF)
		(void)!(is_six ? icmp_rewrite_stream6(ctx) : icmp_rewrite_stream4(ctx));
	if (action == GO_ON)
		action = is_six ? icmp_send6(ctx) : icmp_send4(ctx);
	if (action == EGRESS)
		bpf_tail_call(ctx, &programs, SL_XDP_PROGRAM_EGRESS);
	return tell(ctx, action < 0 ? XDP_DROP : action);
}
