/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* See xdp_bench_traffic.h. */
#include "xdp_bench_traffic.h"

#include <string.h>

#include <sluice/packet/headers.h>

#include "xdp_bench_tool.h"

enum {
	IPV4_FRAME = 64,
	IPV6_FRAME = 74, /* Ethernet, IPv6, TCP */
};

_Static_assert(sizeof(((struct frame *)NULL)->bytes) >= IPV6_FRAME, "holds the longest frame");

/* Of either family; returns where the next header begins. */
static void *make_ip(const struct traffic *traffic, struct sl_ethernet *ethernet,
		     struct xdp_bench *bench)
{
	uint16_t l4_length = traffic->protocol == SL_PROTOCOL_TCP ? sizeof(struct sl_tcp)
								  : sizeof(struct sl_udp);
	struct sl_ipv4 *ipv4 = (struct sl_ipv4 *)(ethernet + 1);
	struct sl_ipv6 *ipv6 = (struct sl_ipv6 *)(ethernet + 1);

	if (traffic->family == SL_FAMILY_IPV4) {
		ethernet->type = SL_BE16(SL_ETHERTYPE_IPV4);
		*ipv4 = (struct sl_ipv4){.version_ihl = 0x45,
					 .total_length =
						 sl_to_be16((uint16_t)(sizeof(*ipv4) + l4_length)),
					 .ttl = 64,
					 .protocol = traffic->protocol};
		bench->checksum_base = sl_checksum_ipv4_base(ipv4);
		return ipv4 + 1;
	}
	ethernet->type = SL_BE16(SL_ETHERTYPE_IPV6);
	*ipv6 = (struct sl_ipv6){.version_class_flow = SL_BE32(0x60000000),
				 .payload_length = sl_to_be16(l4_length),
				 .next_header = traffic->protocol};
	return ipv6 + 1;
}

static void make_frame(const struct traffic *traffic, struct frame *frame, struct xdp_bench *bench)
{
	void *l4;

	*frame = (struct frame){.length = traffic->family == SL_FAMILY_IPV4 ? IPV4_FRAME
									    : IPV6_FRAME};
	l4 = make_ip(traffic, (struct sl_ethernet *)frame->bytes, bench);
	if (traffic->protocol == SL_PROTOCOL_TCP)
		*(struct sl_tcp *)l4 =
			(struct sl_tcp){.sequence = sl_to_be32(traffic->sequence),
					.acknowledgement = sl_to_be32(traffic->acknowledgement),
					.offset = 0x50,
					.flags = traffic->tcp_flags};
	else
		*(struct sl_udp *)l4 = (struct sl_udp){.length = SL_BE16(sizeof(struct sl_udp))};
}

void traffic_begin(const struct traffic *traffic, const struct program *program,
		   struct frame *frame)
{
	struct xdp_bench *bench = program->bench;

	make_frame(traffic, frame, bench);
	bench->is_ipv6 = traffic->family == SL_FAMILY_IPV6;
	bench->is_udp = traffic->protocol == SL_PROTOCOL_UDP;
	bench->is_sequential = traffic->is_sequential;
	bench->is_advancing = traffic->is_advancing;
	bench->clock_shift = traffic->clock_shift;
	program_set_strangers(program, traffic->is_stranger);
	for (int i = 0; i < XDP_BENCH_CPUS; i++) {
		struct xdp_bench_cursor *cursor = program_cursor(program, i);

		cursor->is_reply = traffic->is_reply;
		cursor->is_turning = traffic->is_both;
	}
}

uint64_t traffic_n_right(const struct traffic *traffic, const struct program *program)
{
	if (traffic->is_stranger)
		return program_n_verdicts(program, SL_VERDICT_PUNT_NOT_SERVICE);
	if (traffic->is_both)
		return program_n_verdicts(program, SL_VERDICT_FORWARD) +
		       program_n_verdicts(program, SL_VERDICT_REPLY);
	return program_n_verdicts(program,
				  traffic->is_reply ? SL_VERDICT_REPLY : SL_VERDICT_FORWARD);
}

double traffic_run(const struct traffic *traffic, const struct program *program, uint32_t n)
{
	uint64_t before = traffic_n_right(traffic, program);
	struct frame frame;
	uint64_t n_right;
	double ns;

	traffic_begin(traffic, program, &frame);
	ns = program_run(program, PROGRAM_BALANCE, &frame, n);
	n_right = traffic_n_right(traffic, program) - before;
	if (n_right != n)
		fail("%s: %lu of %u packets ended as they should", traffic->name, n_right, n);
	return ns;
}

double traffic_run_empty(const struct traffic *traffic, const struct program *program, uint32_t n)
{
	struct frame frame;

	traffic_begin(traffic, program, &frame);
	return program_run(program, PROGRAM_EMPTY, &frame, n);
}

static void run_each(const struct traffic *packet, const struct program *program, uint32_t n_flows)
{
	for (int i = 0; i < XDP_BENCH_CPUS; i++)
		program_cursor(program, i)->next = 0;
	traffic_run(packet, program, n_flows);
}

void traffic_open_flows(const struct traffic *traffic, const struct program *program,
			uint32_t n_flows)
{
	struct traffic packet = *traffic;
	uint64_t n_embryonic;
	uint64_t n_open;

	progress("opening", n_flows);
	program_empty_table(program, traffic->family);
	packet.is_sequential = 1;
	packet.tcp_flags = SL_TCP_SYN;
	packet.sequence = 1000;
	run_each(&packet, program, n_flows);
	packet.is_reply = 1;
	packet.tcp_flags = SL_TCP_SYN | SL_TCP_ACK;
	packet.sequence = 2000;
	packet.acknowledgement = 1001;
	run_each(&packet, program, n_flows);
	if (traffic->protocol == SL_PROTOCOL_TCP) {
		packet.is_reply = 0;
		packet.tcp_flags = SL_TCP_ACK;
		packet.sequence = 1001;
		packet.acknowledgement = 2001;
		run_each(&packet, program, n_flows);
	}
	n_open = program_n_flows(program, traffic->family);
	n_embryonic = program_n_embryonic(program, traffic->family);
	if (n_open < n_flows - n_flows / FEW || n_embryonic != 0)
		fail("%lu flows, %lu of them embryonic, not %u", n_open, n_embryonic, n_flows);
}
