// SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0
/* Copyright (c) 2026 The Sluice authors */
/*
 * One packet's story on the XDP engine, with the verbs of dataplane/dpdk/worker.c: parse, find the
 * flow, else the service and choose a backend, rewrite, send or pass to the kernel or drop.
 */
#include "balance.h"
#include "helpers.h"

enum {
	COUNTED_VERDICTS = 64,
	LOOKS = 3,
	/* Not actions: */
	LOOK_AGAIN = -1, /* the packet's flow is to be looked for, again */
	SEND6 = -2,      /* send6() is to end the story */
	REFUSE = -3,     /* counted as dropped; sl_refuse() is to tell the sender */
	CREATE = -4,     /* create4() or create6() is to put a flow into the table */
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

/* Step 6: counts the verdict once, and says what the kernel is to do with the frame. */
static __always_inline int finish(struct story *story, enum sl_verdict verdict,
				  const struct sl_xdp_port *from)
{
	if (verdict == REWRITE_LATER)
		return SEND6;
	if (verdict == CREATE_LATER)
		return CREATE;
	/* A mask, not a comparison, which verifiers before Linux 6.2 lose on the way. */
	story->cpu->counters.verdict[verdict & (COUNTED_VERDICTS - 1)]++;
	if (SL_LIKELY(verdict == SL_VERDICT_FORWARD || verdict == SL_VERDICT_REPLY)) {
		story->cpu->counters.event[SL_EVENT_TX]++;
		story->cpu->counters.event[SL_EVENT_TX_BYTES] += story->length;
		return send_by(story->port, from);
	}
	return sl_verdict_is_drop(verdict) ? XDP_DROP : XDP_PASS;
}

static __always_inline bool story_begin(struct xdp_md *ctx, struct story *story)
{
	long length = (long)ctx->data_end - (long)ctx->data;
	uint32_t zero = 0;

	/* The difference is to be taken at full width: half a pointer is nothing to the verifier. */
	barrier_var(length);
	*story = (struct story){.ctx = ctx, .length = (uint32_t)length};
	story->cpu = bpf_map_lookup_elem(&cpus, &zero);
	return story->cpu != NULL;
}

/* Step 1. */
static __always_inline void receive(struct story *story)
{
	story->cpu->counters.event[SL_EVENT_RX]++;
	story->cpu->counters.event[SL_EVENT_RX_BYTES] += story->length;
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

/* Step 2. */
static __always_inline enum sl_verdict
parse(const struct story *story, const struct sl_xdp_port *from, struct sl_packet *packet)
{
	void *data = (void *)(long)story->ctx->data;
	const void *data_end = (void *)(long)story->ctx->data_end;
	enum sl_verdict verdict = sl_parse_link(data, data_end, from->mac);

	if (verdict == SL_VERDICT_NONE)
		verdict = sl_parse_l3(data, data_end, packet);
	if (verdict != SL_VERDICT_NONE)
		return verdict;
	if (!forget_way(story, packet, &data, &data_end))
		return SL_VERDICT_DROP_TRUNCATED;
	return sl_parse_l4(data, data_end, packet);
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

/* Whether the client is told that its packet is dropped. */
static __always_inline bool is_told(enum sl_verdict verdict)
{
	return verdict == SL_VERDICT_DROP_NO_FLOW || verdict == SL_VERDICT_DROP_NO_SOURCE_PORT ||
	       verdict == SL_VERDICT_DROP_FLOWS_FULL;
}

/* For packets without a flow. The frame is parsed again, so that those with one pay nothing. */
static __always_inline int balance_afresh(struct xdp_md *ctx, uint8_t family, uint32_t created)
{
	const struct sl_xdp_port *from = port_of(ctx->ingress_ifindex);
	struct sl_packet packet;
	enum sl_verdict verdict;
	struct story story;
	int action;

	if (from == NULL || !story_begin(ctx, &story))
		return XDP_PASS;
	clock_read(&story);
	verdict = parse(&story, from, &packet);
	if (verdict == SL_VERDICT_NONE && packet.tuple.family == family)
		verdict = balance_unknown(&story, &packet, family, created);
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

/* Whether a packet of a flow that is over, or whose backend is gone, begins a new one. */
static __always_inline bool begins_anew(const struct sl_packet *packet, enum sl_direction direction)
{
	return direction == SL_DIRECTION_FORWARD &&
	       (sl_flow_is_opening(packet) || packet->tuple.protocol == SL_PROTOCOL_UDP);
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
	uint8_t family;

	if (from == NULL || !story_begin(ctx, &story))
		return XDP_DROP;
	clock_read(&story);
	if (parse(&story, from, &packet) != SL_VERDICT_NONE)
		return XDP_DROP;
	family = packet.tuple.family;
	kind = sl_reject_kind(&packet);
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
					   (const void *)(long)ctx->data_end, has_vlan, family))
			return XDP_DROP;
		story.cpu->counters.event[SL_EVENT_UNREACHABLE_SENT]++;
	}
	if (story.length > length && bpf_xdp_adjust_tail(ctx, (int)length - (int)story.length) != 0)
		return XDP_DROP;
	story.cpu->counters.event[SL_EVENT_TX]++;
	story.cpu->counters.event[SL_EVENT_TX_BYTES] += length;
	return send_by(from->index, from);
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

static __always_inline int balance_frame(struct xdp_md *ctx)
{
	bool is_six = is_ipv6(ctx);
	int action = is_six ? balance_packet6(ctx, 1) : balance_packet4(ctx, 1);

	for (uint32_t i = 0; SL_UNLIKELY(action == LOOK_AGAIN) && i < LOOKS; i++) {
		action = begin(ctx, is_six, i < LOOKS - 1 ? CREATION_WANTED : CREATED_FULL);
		if (action == LOOK_AGAIN)
			action = is_six ? balance_packet6(ctx, 0) : balance_packet4(ctx, 0);
	}
	return action;
}

SEC("xdp")
int sl_balance(struct xdp_md *ctx)
{
	int action = balance_frame(ctx);

	if (action == SEND6)
		action = send6(ctx);
	else if (SL_UNLIKELY(action == REFUSE))
		bpf_tail_call(ctx, &programs, SL_XDP_PROGRAM_REFUSE);
	/* Here a tail call comes that leads nowhere, which it never does: see maps.h. */
	return action < 0 ? XDP_DROP : action;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
