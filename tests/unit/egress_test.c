/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* packet/egress.h: what packets do to a flow that leads a client to anywhere; echo in packet/icmp.h. */
#include <criterion/criterion.h>
#include <string.h>

#include <sluice/packet/egress.h>
#include <sluice/packet/icmp.h>

#include "tests/unit/frames.h"

enum {
	ONE = 1, /* two ends that the client talks to */
	OTHER = 2,
};

static struct sl_flow_ipv6 room;

static struct sl_flow *open_flow(uint8_t protocol, uint32_t peer)
{
	const struct sl_tuple key = {.source = {.word = {SL_BE32(0x0a000001)}},
				     .source_port = SL_BE16(40000),
				     .protocol = protocol,
				     .family = SL_FAMILY_IPV4};

	memset(&room, 0, sizeof(room));
	sl_egress_open(&room.flow, &key, peer);
	if (protocol == SL_PROTOCOL_TCP)
		room.flow.flags = SL_FLOW_SYN;
	else
		room.flow.state = SL_FLOW_ESTABLISHED;
	return &room.flow;
}

static void pass(struct sl_flow *flow, enum sl_direction direction, uint32_t peer, uint8_t flags,
		 uint32_t sequence, uint32_t acknowledgement, uint32_t now)
{
	const struct sl_packet packet = {
		.tuple = {.protocol = flow->protocol, .family = SL_FAMILY_IPV4},
		.tcp_flags = flags,
		.tcp_sequence = sequence,
		.tcp_acknowledgement = acknowledgement};

	sl_egress_track(flow, direction, &packet, peer, now);
}

static void handshake(struct sl_flow *flow, uint32_t peer)
{
	pass(flow, SL_DIRECTION_FORWARD, peer, SL_TCP_SYN, 100, 0, 1);
	pass(flow, SL_DIRECTION_REPLY, peer, SL_TCP_SYN | SL_TCP_ACK, 500, 101, 1);
	pass(flow, SL_DIRECTION_FORWARD, peer, SL_TCP_ACK, 101, 501, 1);
}

static void finish(struct sl_flow *flow, uint32_t peer)
{
	pass(flow, SL_DIRECTION_FORWARD, peer, SL_TCP_FIN | SL_TCP_ACK, 101, 501, 2);
	pass(flow, SL_DIRECTION_REPLY, peer, SL_TCP_FIN | SL_TCP_ACK, 501, 102, 2);
}

Test(egress, a_tcp_connection_opens_and_ends)
{
	struct sl_flow *flow = open_flow(SL_PROTOCOL_TCP, ONE);

	handshake(flow, ONE);
	cr_expect_eq(flow->state, SL_FLOW_ESTABLISHED);
	finish(flow, ONE);
	cr_expect_eq(flow->state, SL_FLOW_CLOSED);
}

Test(egress, the_next_connection_of_a_flow_that_is_over_is_followed)
{
	struct sl_flow *flow = open_flow(SL_PROTOCOL_TCP, ONE);

	handshake(flow, ONE);
	finish(flow, ONE);
	pass(flow, SL_DIRECTION_FORWARD, OTHER, SL_TCP_SYN, 7, 0, 3);
	cr_expect_eq(flow->state, SL_FLOW_EMBRYONIC);
	/* What is late of the one before says nothing of it. */
	pass(flow, SL_DIRECTION_FORWARD, ONE, SL_TCP_ACK, 102, 502, 3);
	cr_expect_eq(flow->state, SL_FLOW_EMBRYONIC);
	handshake(flow, OTHER);
	cr_expect_eq(flow->state, SL_FLOW_ESTABLISHED);
	cr_expect_eq(flow->flags & SL_FLOW_MANY, 0);
}

Test(egress, of_two_connections_at_once_the_end_of_one_is_not_the_flows)
{
	struct sl_flow *flow = open_flow(SL_PROTOCOL_TCP, ONE);

	handshake(flow, ONE);
	handshake(flow, OTHER);
	finish(flow, ONE);
	cr_expect_eq(flow->state, SL_FLOW_ESTABLISHED);
	finish(flow, OTHER);
	cr_expect_eq(flow->state, SL_FLOW_ESTABLISHED);
	cr_expect_eq(sl_flow_timeout(flow), SL_TIMEOUT_ESTABLISHED);
	cr_expect(!sl_flow_yields_port(flow, 1u << 30));
	pass(flow, SL_DIRECTION_FORWARD, OTHER, SL_TCP_ACK, 102, 502, 99);
	cr_expect_eq(flow->last_seen, 99);
}

Test(egress, a_connection_that_comes_from_outside_keeps_the_flow)
{
	struct sl_flow *flow = open_flow(SL_PROTOCOL_TCP, ONE);

	pass(flow, SL_DIRECTION_FORWARD, ONE, SL_TCP_SYN, 100, 0, 1);
	pass(flow, SL_DIRECTION_REPLY, OTHER, SL_TCP_SYN, 900, 0, 2);
	cr_expect_eq(flow->state, SL_FLOW_EMBRYONIC);
	cr_expect_eq(flow->last_seen, 1);
	pass(flow, SL_DIRECTION_FORWARD, OTHER, SL_TCP_SYN | SL_TCP_ACK, 100, 901, 3);
	cr_expect_eq(flow->state, SL_FLOW_ESTABLISHED);
	finish(flow, ONE);
	cr_expect_eq(flow->state, SL_FLOW_ESTABLISHED);
}

/* RFC 5382 REQ-2, simultaneous open. */
Test(egress, both_ends_may_open_at_once)
{
	struct sl_flow *flow = open_flow(SL_PROTOCOL_TCP, ONE);

	pass(flow, SL_DIRECTION_FORWARD, ONE, SL_TCP_SYN, 100, 0, 1);
	pass(flow, SL_DIRECTION_REPLY, ONE, SL_TCP_SYN, 500, 0, 1);
	pass(flow, SL_DIRECTION_FORWARD, ONE, SL_TCP_SYN | SL_TCP_ACK, 100, 501, 1);
	cr_expect_eq(flow->state, SL_FLOW_ESTABLISHED);
}

/* RFC 5382: nobody outside ends a connection that he is not part of. */
Test(egress, a_strangers_reset_ends_nothing)
{
	struct sl_flow *flow = open_flow(SL_PROTOCOL_TCP, ONE);

	handshake(flow, ONE);
	pass(flow, SL_DIRECTION_REPLY, OTHER, SL_TCP_RST, 501, 0, 5);
	cr_expect_eq(flow->state, SL_FLOW_ESTABLISHED);
	cr_expect_eq(flow->last_seen, 1);
}

/* RFC 4787 REQ-6. */
Test(egress, a_stranger_keeps_no_mapping_alive)
{
	struct sl_flow *flow = open_flow(SL_PROTOCOL_UDP, ONE);

	pass(flow, SL_DIRECTION_FORWARD, ONE, 0, 0, 0, 1);
	pass(flow, SL_DIRECTION_REPLY, OTHER, 0, 0, 0, 50);
	cr_expect_eq(flow->last_seen, 1);
	pass(flow, SL_DIRECTION_REPLY, ONE, 0, 0, 0, 60);
	cr_expect_eq(flow->last_seen, 60);
	pass(flow, SL_DIRECTION_FORWARD, OTHER, 0, 0, 0, 70);
	pass(flow, SL_DIRECTION_REPLY, OTHER, 0, 0, 0, 80);
	cr_expect_eq(flow->last_seen, 80);
}

/* RFC 4787 REQ-2. */
Test(egress, a_client_has_one_source_address_and_clients_are_spread)
{
	const struct sl_hash_key key = {{3, 4}};
	uint32_t n[4] = {0};

	for (uint32_t i = 0; i < 4000; i++) {
		union sl_addr client = {.word = {sl_to_be32(0x0a000000 + i)}};
		uint32_t position = sl_egress_source(&key, 4, &client, SL_FAMILY_IPV4);

		cr_assert_lt(position, 4);
		cr_assert_eq(position, sl_egress_source(&key, 4, &client, SL_FAMILY_IPV4));
		n[position]++;
	}
	for (int i = 0; i < 4; i++)
		cr_expect(n[i] > 850 && n[i] < 1150, "position %d: %u", i, n[i]);
}

/* An echo message instead of a UDP header: the same 8 bytes. */
static struct frame make_echo(uint8_t family, uint8_t type)
{
	struct frame frame = frame_make(family, SL_PROTOCOL_UDP, 8);
	uint8_t *l4 = frame.bytes + frame.l4;

	frame.bytes[family == SL_FAMILY_IPV4 ? 23 : 20] =
		family == SL_FAMILY_IPV4 ? SL_PROTOCOL_ICMP : SL_PROTOCOL_ICMPV6;
	memcpy(l4, (const uint8_t[]){type, 0, 0x12, 0x34, 0, 77, 0, 5}, 8);
	frame_finish(&frame); /* where UDP's checksum is, the sequence number stands */
	return frame;
}

static enum sl_verdict parse_echo(struct frame *frame, struct sl_packet *packet)
{
	const uint8_t *data_end = frame->bytes + frame->length;

	enum sl_verdict verdict = sl_parse(frame->bytes, data_end, packet);

	cr_assert_eq(verdict, SL_VERDICT_PUNT_ICMP, "verdict %d, type %u", (int)verdict,
		     frame->bytes[frame->l4]);
	cr_assert_eq(sl_icmp_parse(frame->bytes, data_end, packet), SL_VERDICT_PUNT_ICMP);
	return sl_icmp_parse_echo(frame->bytes, data_end, packet);
}

Test(egress, echo_is_known_by_its_identifier)
{
	static const struct {
		uint8_t family;
		uint8_t type;
		enum sl_packet_echo echo;
	} rows[] = {
		{SL_FAMILY_IPV4, 8, SL_PACKET_ECHO_REQUEST},
		{SL_FAMILY_IPV4, 0, SL_PACKET_ECHO_REPLY},
		{SL_FAMILY_IPV4, 13, SL_PACKET_NO_ECHO},
		{SL_FAMILY_IPV4, 128, SL_PACKET_NO_ECHO},
		{SL_FAMILY_IPV6, 128, SL_PACKET_ECHO_REQUEST},
		{SL_FAMILY_IPV6, 129, SL_PACKET_ECHO_REPLY},
		{SL_FAMILY_IPV6, 135, SL_PACKET_NO_ECHO},
		{SL_FAMILY_IPV6, 8, SL_PACKET_NO_ECHO},
	};

	for (size_t i = 0; i < SL_ARRAY_LEN(rows); i++) {
		struct frame frame = make_echo(rows[i].family, rows[i].type);
		struct sl_packet packet;
		enum sl_verdict verdict = parse_echo(&frame, &packet);

		cr_expect_eq(packet.echo, rows[i].echo, "row %zu", i);
		cr_expect_eq(verdict, rows[i].echo == SL_PACKET_NO_ECHO ? SL_VERDICT_PUNT_ICMP
									: SL_VERDICT_NONE);
		if (verdict != SL_VERDICT_NONE)
			continue;
		cr_expect_eq(packet.tuple.source_port, SL_BE16(77));
		cr_expect_eq(packet.tuple.destination_port, SL_BE16(77));
	}
}

Test(egress, echo_cut_short_is_none)
{
	struct frame whole = make_echo(SL_FAMILY_IPV4, 8);

	/* The length that IP names, too, or the frame would be refused before. */
	for (uint8_t n = 0; n < 8; n++) {
		struct frame frame = whole;
		struct sl_packet packet;

		frame.bytes[frame.l3 + 3] = (uint8_t)(20 + n);
		frame_finish(&frame);
		frame.length = frame.l4 + n;
		cr_expect_eq(parse_echo(&frame, &packet), SL_VERDICT_PUNT_ICMP, "%u bytes", n);
	}
}
