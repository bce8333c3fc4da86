/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* A flow's translation and its states (RFC 5382, RFC 4787, RFC 5961). */
#include <criterion/criterion.h>
#include <string.h>

#include <sluice/packet/flow.h>
#include <sluice/wire.h>

#include "tests/unit/frames.h"
#include "tests/unit/random.h"

union any_flow {
	struct sl_flow flow;
	struct sl_flow_ipv4 ipv4;
	struct sl_flow_ipv6 ipv6;
};

static void open_flow(union any_flow *any, uint8_t family, uint8_t protocol)
{
	struct frame frame = frame_make(family, protocol, 0);
	struct sl_packet packet;
	union sl_addr backend = {.byte = {10, 0, 0, 2}};

	memset(any, 0, sizeof(*any));
	cr_assert_eq(frame_parse(&frame, &packet), SL_VERDICT_NONE);
	sl_flow_open(&any->flow, &packet.tuple, &backend, SL_BE16(8080));
}

/* What the last segment() said of the backend. */
static struct sl_flow_news last_news;

/* A segment of the flow: what the state machine looks at. */
static void segment(struct sl_flow *flow, enum sl_direction direction, uint8_t flags,
		    uint32_t sequence, uint32_t acknowledgement, uint16_t payload)
{
	struct frame frame = frame_make(SL_FAMILY_IPV4, SL_PROTOCOL_TCP, payload);
	struct sl_packet packet;
	struct sl_tcp *tcp = (struct sl_tcp *)(frame.bytes + frame.l4);

	tcp->flags = flags;
	tcp->sequence = sl_to_be32(sequence);
	tcp->acknowledgement = sl_to_be32(acknowledgement);
	cr_assert_eq(frame_parse(&frame, &packet), SL_VERDICT_NONE);
	last_news = sl_flow_track(flow, direction, &packet, 1);
}

#define F SL_DIRECTION_FORWARD
#define R SL_DIRECTION_REPLY

/* SYN 1000, SYN-ACK 5000, ACK: established. */
static void handshake(union any_flow *any)
{
	open_flow(any, SL_FAMILY_IPV4, SL_PROTOCOL_TCP);
	any->flow.flags |= SL_FLOW_SYN;
	segment(&any->flow, F, SL_TCP_SYN, 1000, 0, 0);
	segment(&any->flow, R, SL_TCP_SYN | SL_TCP_ACK, 5000, 1001, 0);
	cr_assert_eq(any->flow.state, SL_FLOW_EMBRYONIC);
	segment(&any->flow, F, SL_TCP_ACK, 1001, 5001, 0);
	cr_assert_eq(any->flow.state, SL_FLOW_ESTABLISHED);
}

Test(flow, state_names_are_in_the_order_of_the_states)
{
	static const char *const name[] = {
#define X(upper, lower) [SL_FLOW_##upper] = #lower,
		SL_FLOW_STATE_LIST(X)
#undef X
	};
	int n = 0;

#define X(upper, lower) cr_assert_eq((int)SL_FLOW_##upper, n++);
	SL_FLOW_STATE_LIST(X)
#undef X
	cr_assert_eq(n, (int)SL_N_FLOW_STATES);
	cr_assert_str_eq(name[SL_FLOW_EMBRYONIC], "embryonic");
}

Test(flow, forward_then_reply_gives_the_original_tuple)
{
	for (int f = 0; f < 2; f++) {
		union any_flow any;
		struct sl_rewrite forward;
		struct sl_rewrite reply;
		struct sl_tuple client;
		struct sl_tuple backend;

		open_flow(&any, f ? SL_FAMILY_IPV6 : SL_FAMILY_IPV4, SL_PROTOCOL_TCP);
		client = sl_flow_tuple(&any.flow, F);
		backend = sl_flow_tuple(&any.flow, R);
		sl_flow_rewrite(&any.flow, F, &forward);
		sl_flow_rewrite(&any.flow, R, &reply);
		/* What we send to the backend comes back mirrored as what we expect of it. */
		cr_assert(sl_addr_equal(&forward.destination, &backend.source));
		cr_assert(sl_addr_equal(&forward.source, &backend.destination));
		cr_assert_eq(forward.destination_port, backend.source_port);
		cr_assert_eq(forward.source_port, backend.destination_port);
		cr_assert(sl_addr_equal(&reply.destination, &client.source));
		cr_assert(sl_addr_equal(&reply.source, &client.destination));
		cr_assert_eq(reply.destination_port, client.source_port);
		cr_assert_eq(reply.source_port, client.destination_port);
		cr_assert(sl_flow_matches(&any.flow, &client, F));
		cr_assert(sl_flow_matches(&any.flow, &backend, R));
		cr_assert(!sl_flow_matches(&any.flow, &client, R));
		client.source.byte[f ? 15 : 3] ^= 1;
		cr_assert(!sl_flow_matches(&any.flow, &client, F));
	}
}

/* What lane.h does, against what all others do. */
Test(flow, a_rewrite_without_a_branch_is_the_same)
{
	struct random random = random_seeded();

	for (int round = 0; round < 10000; round++) {
		uint8_t family = round & 1 ? SL_FAMILY_IPV6 : SL_FAMILY_IPV4;
		enum sl_direction direction = round & 2 ? R : F;
		union any_flow any;
		struct sl_rewrite expected;
		struct sl_rewrite found;

		memset(&expected, 0, sizeof(expected));
		memset(&found, 0, sizeof(found));
		random_fill(&random, &any, sizeof(any));
		sl_flow_rewrite_as(&any.flow, family, direction, &expected);
		sl_flow_rewrite_either(&any.flow, family, direction, &found);
		cr_assert_eq(found.source_port, expected.source_port, "round %d", round);
		cr_assert_eq(found.destination_port, expected.destination_port, "round %d", round);
		cr_assert_eq(memcmp(&found, &expected, sizeof(found)), 0, "round %d", round);
	}
}

Test(flow, hash_is_that_of_the_tuples_words)
{
	const struct sl_hash_key key = {{0x0706050403020100ull, 0x0f0e0d0c0b0a0908ull}};
	struct frame frame = frame_make(SL_FAMILY_IPV4, SL_PROTOCOL_TCP, 0);
	struct sl_packet packet;
	uint64_t first;

	cr_assert_eq(frame_parse(&frame, &packet), SL_VERDICT_NONE);
	first = sl_flow_hash(&key, &packet.tuple);
	packet.tuple.protocol = SL_PROTOCOL_UDP;
	cr_assert_neq(sl_flow_hash(&key, &packet.tuple), first);
	packet.tuple.protocol = SL_PROTOCOL_TCP;
	cr_assert_eq(sl_flow_hash(&key, &packet.tuple), first);
	packet.tuple.source_port ^= 1;
	cr_assert_neq(sl_flow_hash(&key, &packet.tuple), first);
}

Test(flow, handshake_establishes)
{
	union any_flow any;

	handshake(&any);
	cr_assert_eq(sl_flow_timeout(&any.flow), SL_TIMEOUT_ESTABLISHED);
}

Test(flow, wrong_acknowledgement_does_not_establish)
{
	union any_flow any;

	open_flow(&any, SL_FAMILY_IPV4, SL_PROTOCOL_TCP);
	any.flow.flags |= SL_FLOW_SYN;
	segment(&any.flow, F, SL_TCP_SYN, 1000, 0, 0);
	segment(&any.flow, F, SL_TCP_ACK, 1001, 77, 0);
	cr_assert_eq(any.flow.state, SL_FLOW_EMBRYONIC);
	segment(&any.flow, R, SL_TCP_SYN | SL_TCP_ACK, 5000, 1001, 0);
	segment(&any.flow, F, SL_TCP_ACK, 1001, 5002, 0);
	cr_assert_eq(any.flow.state, SL_FLOW_EMBRYONIC);
	cr_assert_eq(sl_flow_timeout(&any.flow), SL_TIMEOUT_EMBRYONIC);
	segment(&any.flow, R, SL_TCP_SYN | SL_TCP_ACK, 5000, 1001, 0);
	segment(&any.flow, F, SL_TCP_ACK | SL_TCP_PSH, 1001, 5001, 30);
	cr_assert_eq(any.flow.state, SL_FLOW_ESTABLISHED, "data on the third segment");
}

Test(flow, picked_up_midstream_it_needs_the_backends_word)
{
	union any_flow any;

	open_flow(&any, SL_FAMILY_IPV4, SL_PROTOCOL_TCP);
	segment(&any.flow, F, SL_TCP_ACK, 1, 1, 0);
	segment(&any.flow, F, SL_TCP_ACK, 1, 1, 0);
	cr_assert_eq(any.flow.state, SL_FLOW_EMBRYONIC);
	segment(&any.flow, R, SL_TCP_RST, 1, 1, 0);
	cr_assert_eq(any.flow.state, SL_FLOW_EMBRYONIC, "a reset is no answer");
	segment(&any.flow, R, SL_TCP_ACK, 1, 1, 0);
	cr_assert_eq(any.flow.state, SL_FLOW_ESTABLISHED);
}

Test(flow, learned_from_a_reply_it_needs_the_clients_word)
{
	union any_flow any;

	open_flow(&any, SL_FAMILY_IPV4, SL_PROTOCOL_TCP);
	any.flow.flags |= SL_FLOW_FROM_REPLY;
	segment(&any.flow, R, SL_TCP_ACK, 1, 1, 100);
	cr_assert_eq(any.flow.state, SL_FLOW_EMBRYONIC);
	segment(&any.flow, F, SL_TCP_ACK, 1, 101, 0);
	cr_assert_eq(any.flow.state, SL_FLOW_ESTABLISHED);
}

Test(flow, fin_of_both_sides_closes)
{
	union any_flow any;

	handshake(&any);
	segment(&any.flow, F, SL_TCP_FIN | SL_TCP_ACK, 1001, 5001, 0);
	cr_assert_eq(any.flow.state, SL_FLOW_CLOSING);
	cr_assert(sl_flow_is_over(&any.flow));
	segment(&any.flow, R, SL_TCP_ACK, 5001, 1002, 0);
	cr_assert_eq(any.flow.state, SL_FLOW_CLOSING);
	segment(&any.flow, R, SL_TCP_FIN | SL_TCP_ACK, 5001, 1002, 0);
	cr_assert_eq(any.flow.state, SL_FLOW_CLOSED);
	cr_assert_eq(sl_flow_timeout(&any.flow), SL_TIMEOUT_TRANSITORY);
	segment(&any.flow, F, SL_TCP_ACK, 1002, 5002, 0);
	cr_assert_eq(any.flow.state, SL_FLOW_CLOSED);
}

Test(flow, syn_on_an_established_flow_changes_nothing)
{
	union any_flow any;

	handshake(&any);
	segment(&any.flow, F, SL_TCP_SYN, 9999, 0, 0);
	cr_assert_eq(any.flow.state, SL_FLOW_ESTABLISHED);
	cr_assert(!sl_flow_is_over(&any.flow));
}

Test(flow, blind_reset_does_not_close)
{
	struct random random = random_seeded();
	union any_flow any;

	handshake(&any);
	for (int i = 0; i < 1000000; i++) {
		uint32_t sequence = (uint32_t)random_next(&random);

		if (sequence == 1001 || sequence == 5001)
			continue;
		segment(&any.flow, i & 1 ? F : R, SL_TCP_RST, sequence, 0, 0);
		cr_assert_eq(any.flow.state, SL_FLOW_ESTABLISHED, "sequence %u", sequence);
	}
}

Test(flow, exact_reset_closes_and_the_backends_challenge_reopens)
{
	union any_flow any;

	handshake(&any);
	segment(&any.flow, F, SL_TCP_ACK, 1001, 5001, 100);
	segment(&any.flow, F, SL_TCP_RST | SL_TCP_ACK, 1101, 5001, 0);
	cr_assert_eq(any.flow.state, SL_FLOW_CLOSED);
	segment(&any.flow, R, SL_TCP_ACK, 5001, 1101, 10);
	cr_assert_eq(any.flow.state, SL_FLOW_CLOSED, "data in flight reopens nothing");
	segment(&any.flow, R, SL_TCP_ACK, 5011, 1101, 0);
	cr_assert_eq(any.flow.state, SL_FLOW_ESTABLISHED);
}

Test(flow, reset_after_both_ends_changes_nothing)
{
	union any_flow any;

	handshake(&any);
	segment(&any.flow, F, SL_TCP_FIN | SL_TCP_ACK, 1001, 5001, 0);
	segment(&any.flow, R, SL_TCP_FIN | SL_TCP_ACK, 5001, 1002, 0);
	segment(&any.flow, F, SL_TCP_ACK, 1002, 5002, 0);
	segment(&any.flow, R, SL_TCP_RST, 5002, 0, 0);
	cr_assert_eq(any.flow.state, SL_FLOW_CLOSED);
	cr_expect(sl_flow_yields_port(&any.flow, 7), "the backend has forgotten it");
	segment(&any.flow, R, SL_TCP_ACK, 5002, 1002, 0);
	cr_assert_eq(any.flow.state, SL_FLOW_CLOSED,
		     "an acknowledgement in flight reopens nothing");
}

Test(flow, sequence_far_ahead_is_not_believed)
{
	union any_flow any;

	handshake(&any);
	segment(&any.flow, F, SL_TCP_ACK, 1001 + (1 << 24), 5001, 10);
	segment(&any.flow, F, SL_TCP_RST, 1011 + (1 << 24), 0, 0);
	cr_assert_eq(any.flow.state, SL_FLOW_ESTABLISHED);
	segment(&any.flow, F, SL_TCP_RST, 1001, 0, 0);
	cr_assert_eq(any.flow.state, SL_FLOW_CLOSED);
}

/* SYN 1000 of a client, which came at 4,294,967,290 us. */
static void await(union any_flow *any)
{
	open_flow(any, SL_FAMILY_IPV4, SL_PROTOCOL_TCP);
	any->flow.flags = SL_FLOW_SYN | SL_FLOW_AWAITED;
	any->flow.backend_next = 4294967290u;
	segment(&any->flow, F, SL_TCP_SYN, 1000, 0, 0);
	cr_assert(sl_flow_is_awaited(&any->flow));
}

Test(flow, first_syn_ack_says_when_the_syn_came)
{
	union any_flow any;

	await(&any);
	segment(&any.flow, F, SL_TCP_SYN, 1000, 0, 0);
	cr_assert_eq(last_news.word, SL_FLOW_NO_NEWS, "the SYN again");
	segment(&any.flow, R, SL_TCP_ACK, 70, 80, 0);
	cr_assert_eq(last_news.word, SL_FLOW_NO_NEWS, "of a connection before");
	cr_assert_eq(any.flow.backend_next, 4294967290u);
	segment(&any.flow, R, SL_TCP_SYN | SL_TCP_ACK, 5000, 1001, 0);
	cr_assert_eq(last_news.word, SL_FLOW_ANSWERED);
	cr_assert_eq(10u - last_news.since_us, 16u, "the clock has wrapped");
	cr_assert(!sl_flow_is_awaited(&any.flow));
	segment(&any.flow, R, SL_TCP_SYN | SL_TCP_ACK, 6000, 1001, 0);
	cr_assert_eq(last_news.word, SL_FLOW_NO_NEWS, "the SYN-ACK again");
	segment(&any.flow, F, SL_TCP_ACK, 1001, 6001, 0);
	cr_assert_eq(any.flow.state, SL_FLOW_ESTABLISHED);
	cr_assert_eq(any.flow.flags & SL_FLOW_BACKEND_FIN, 0);
}

Test(flow, reset_that_acknowledges_the_syn_refuses_it)
{
	union any_flow any;

	await(&any);
	segment(&any.flow, R, SL_TCP_RST, 0, 1001, 0);
	segment(&any.flow, R, SL_TCP_RST | SL_TCP_ACK, 0, 1002, 0);
	segment(&any.flow, F, SL_TCP_RST | SL_TCP_ACK, 1001, 1001, 0);
	cr_assert_eq(last_news.word, SL_FLOW_NO_NEWS);
	cr_assert(sl_flow_is_awaited(&any.flow));
	segment(&any.flow, R, SL_TCP_RST | SL_TCP_ACK, 0, 1001, 0);
	cr_assert_eq(last_news.word, SL_FLOW_REFUSED);
	cr_assert_eq(any.flow.state, SL_FLOW_EMBRYONIC);
	segment(&any.flow, R, SL_TCP_RST | SL_TCP_ACK, 0, 1001, 0);
	cr_assert_eq(last_news.word, SL_FLOW_NO_NEWS, "once");
	segment(&any.flow, R, SL_TCP_SYN | SL_TCP_ACK, 5000, 1001, 0);
	cr_assert_eq(last_news.word, SL_FLOW_NO_NEWS, "each flow is decided once");
}

Test(flow, blind_reset_refuses_nothing)
{
	struct random random = random_seeded();
	union any_flow any;

	await(&any);
	for (int i = 0; i < 1000000; i++) {
		uint32_t acknowledgement = (uint32_t)random_next(&random);

		if (acknowledgement == 1001)
			continue;
		segment(&any.flow, R, SL_TCP_RST | SL_TCP_ACK, 0, acknowledgement, 0);
		cr_assert(sl_flow_is_awaited(&any.flow), "acknowledgement %u", acknowledgement);
	}
}

Test(flow, reset_of_an_established_flow_is_told_of_the_backend_alone)
{
	union any_flow any;

	handshake(&any);
	segment(&any.flow, R, SL_TCP_RST, 77, 0, 0);
	cr_assert_eq(last_news.word, SL_FLOW_NO_NEWS, "not where the backend stands");
	segment(&any.flow, R, SL_TCP_RST, 5001, 0, 0);
	cr_assert_eq(last_news.word, SL_FLOW_WAS_RESET);
	segment(&any.flow, R, SL_TCP_RST, 5001, 0, 0);
	cr_assert_eq(last_news.word, SL_FLOW_NO_NEWS);
	handshake(&any);
	segment(&any.flow, F, SL_TCP_RST, 1001, 0, 0);
	cr_assert_eq(last_news.word, SL_FLOW_NO_NEWS, "the client's");
	handshake(&any);
	segment(&any.flow, F, SL_TCP_FIN | SL_TCP_ACK, 1001, 5001, 0);
	segment(&any.flow, R, SL_TCP_RST, 5001, 0, 0);
	cr_assert_eq(last_news.word, SL_FLOW_NO_NEWS, "the client has ended already");
}

Test(flow, syn_is_awaited_only_if_it_gets_to_the_backend)
{
	struct frame frame = frame_make(SL_FAMILY_IPV4, SL_PROTOCOL_TCP, 0);
	struct sl_packet packet;

	cr_assert_eq(frame_parse(&frame, &packet), SL_VERDICT_NONE);
	packet.tcp_flags = SL_TCP_SYN;
	cr_assert_eq(sl_flow_opening_flags(&packet, true), SL_FLOW_SYN | SL_FLOW_AWAITED);
	cr_assert_eq(sl_flow_opening_flags(&packet, false), SL_FLOW_SYN);
	packet.fragment = SL_PACKET_FIRST;
	cr_assert_eq(sl_flow_opening_flags(&packet, true), SL_FLOW_SYN);
	packet.fragment = SL_PACKET_WHOLE;
	packet.tcp_flags = SL_TCP_SYN | SL_TCP_ACK;
	cr_assert_eq(sl_flow_opening_flags(&packet, true), 0);
}

Test(flow, udp_is_established_by_the_other_side)
{
	struct frame frame = frame_make(SL_FAMILY_IPV4, SL_PROTOCOL_UDP, 4);
	struct sl_packet packet;
	union any_flow any;

	open_flow(&any, SL_FAMILY_IPV4, SL_PROTOCOL_UDP);
	cr_assert_eq(frame_parse(&frame, &packet), SL_VERDICT_NONE);
	sl_flow_track(&any.flow, F, &packet, 3);
	sl_flow_track(&any.flow, F, &packet, 4);
	cr_assert_eq(any.flow.state, SL_FLOW_EMBRYONIC);
	sl_flow_track(&any.flow, R, &packet, 5);
	cr_assert_eq(any.flow.state, SL_FLOW_ESTABLISHED);
	cr_assert_eq(sl_flow_timeout(&any.flow), SL_TIMEOUT_UDP);
	cr_assert_eq(any.flow.last_seen, 5);
}
