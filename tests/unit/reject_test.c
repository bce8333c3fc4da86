/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* Answers to refused packets: what they say, their checksums by full recomputation, their limits. */
#include <criterion/criterion.h>
#include <string.h>

#include <sluice/packet/reject.h>

#include "tests/unit/frames.h"

static const uint8_t families[] = {SL_FAMILY_IPV4, SL_FAMILY_IPV6};

static void set32(uint8_t *at, uint32_t value)
{
	for (int i = 0; i < 4; i++)
		at[i] = (uint8_t)(value >> (24 - 8 * i));
}

static uint32_t get32(const uint8_t *at)
{
	return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static struct frame tcp_frame(uint8_t family, uint8_t flags, size_t payload)
{
	struct frame frame = frame_make(family, SL_PROTOCOL_TCP, payload);
	uint8_t *tcp = frame.bytes + frame.l4;

	set32(tcp + 4, 0xfffffff0);
	set32(tcp + 8, 0x01020304);
	tcp[13] = flags;
	frame_finish(&frame);
	return frame;
}

/* Inserts an 802.1Q tag. */
static void tag(struct frame *frame)
{
	memmove(frame->bytes + 16, frame->bytes + 12, frame->length - 12);
	memcpy(frame->bytes + 12, (const uint8_t[]){0x81, 0, 0x20, 0x64}, 4);
	frame->length += 4;
	frame->l3 += 4;
	frame->l4 += 4;
}

static void check_turned(const struct frame *frame, const struct frame *before)
{
	size_t size = before->bytes[before->l3] >> 4 == 4 ? 4 : 16;
	size_t at = size == 4 ? 12 : 8;

	cr_expect_arr_eq(frame->bytes, before->bytes + 6, 6);
	cr_expect_arr_eq(frame->bytes + 6, before->bytes, 6);
	cr_expect_arr_eq(frame->bytes + 12, before->bytes + 12, before->l3 - 12);
	cr_expect_arr_eq(frame->bytes + frame->l3 + at, before->bytes + before->l3 + at + size,
			 size);
	cr_expect_arr_eq(frame->bytes + frame->l3 + at + size, before->bytes + before->l3 + at,
			 size);
}

static void check_ip(const struct frame *frame, size_t length)
{
	const uint8_t *ip = frame->bytes + frame->l3;

	if (ip[0] >> 4 == 4) {
		cr_expect_eq(frame_fold(frame_sum(ip, 20)), 0xffff);
		cr_expect_eq((size_t)(ip[2] << 8 | ip[3]), 20 + length);
	} else {
		cr_expect_eq((size_t)(ip[4] << 8 | ip[5]), length);
	}
	cr_expect_eq(frame_l4_sum(frame), 0xffff);
}

Test(reject, a_reset_answers_as_rfc_9293_says)
{
	static const struct {
		uint8_t flags;
		size_t payload;
		uint32_t sequence;
		uint32_t acknowledgement;
		uint8_t answer;
	} row[] = {
		{SL_TCP_SYN, 0, 0, 0xfffffff1, SL_TCP_RST | SL_TCP_ACK},
		{SL_TCP_SYN, 20, 0, 5, SL_TCP_RST | SL_TCP_ACK},
		{SL_TCP_ACK, 0, 0x01020304, 0, SL_TCP_RST},
		{SL_TCP_ACK | SL_TCP_FIN, 33, 0x01020304, 0, SL_TCP_RST},
	};

	for (size_t i = 0; i < SL_ARRAY_LEN(row) * 4; i++) {
		const uint8_t flags = row[i / 4].flags;
		struct frame frame = tcp_frame(families[i & 1], flags, row[i / 4].payload);
		struct frame before;
		struct sl_packet packet;
		const uint8_t *tcp;

		if (i & 2)
			tag(&frame);
		before = frame;
		cr_assert_eq(frame_parse(&frame, &packet), SL_VERDICT_NONE);
		cr_assert_eq(sl_reject_kind(&packet, 0), SL_REJECT_RESET);
		cr_assert(sl_reject_reset(&packet, frame.bytes + frame.length));
		frame.length = sl_reject_reset_length(&packet);
		cr_assert_eq(frame.length, frame.l4 + 20);
		tcp = frame.bytes + frame.l4;
		check_turned(&frame, &before);
		check_ip(&frame, 20);
		cr_expect_arr_eq(tcp, before.bytes + before.l4 + 2, 2);
		cr_expect_arr_eq(tcp + 2, before.bytes + before.l4, 2);
		cr_expect_eq(get32(tcp + 4), row[i / 4].sequence, "row %zu", i);
		cr_expect_eq(get32(tcp + 8), row[i / 4].acknowledgement, "row %zu", i);
		cr_expect_eq(tcp[13], row[i / 4].answer);
	}
}

Test(reject, nothing_answers_a_reset)
{
	struct frame frame = tcp_frame(SL_FAMILY_IPV4, SL_TCP_RST, 0);
	struct sl_packet packet;

	cr_assert_eq(frame_parse(&frame, &packet), SL_VERDICT_NONE);
	cr_expect_eq(sl_reject_kind(&packet, 0), SL_REJECT_NONE);
}

Test(reject, an_unreachable_quotes_the_header_and_eight_bytes)
{
	for (size_t i = 0; i < 8; i++) {
		uint8_t family = families[i & 1];
		struct frame frame = frame_make(family, SL_PROTOCOL_UDP, i & 4 ? 100 : 0);
		uint32_t room = sl_reject_room(family);
		struct frame before;
		struct sl_packet packet;
		const uint8_t *icmp;
		size_t quoted = (family == SL_FAMILY_IPV4 ? 20 : 40) + SL_REJECT_QUOTED;

		if (i & 2)
			tag(&frame);
		before = frame;
		cr_assert_eq(frame_parse(&frame, &packet), SL_VERDICT_NONE);
		cr_assert_eq(sl_reject_kind(&packet, 0), SL_REJECT_UNREACHABLE);
		memmove(frame.bytes + room, frame.bytes, frame.length);
		frame.length += room;
		cr_assert(sl_reject_unreachable(frame.bytes, frame.bytes + frame.length,
						(i & 2) != 0, family, &packet.tuple.destination,
						SL_REFUSED));
		frame.length = sl_reject_unreachable_length((uint32_t)frame.l3, family);
		cr_assert_eq(frame.length, frame.l4 + 8 + quoted);
		check_turned(&frame, &before);
		icmp = frame.bytes + frame.l4;
		cr_expect_arr_eq(icmp + 8, before.bytes + before.l3, quoted);
		if (family == SL_FAMILY_IPV4) {
			cr_expect_eq(frame_fold(frame_sum(frame.bytes + frame.l3, 20)), 0xffff);
			cr_expect_eq(frame_fold(frame_sum(icmp, 8 + quoted)), 0xffff);
			cr_expect_eq(icmp[0] << 8 | icmp[1], 3 << 8 | 3);
		} else {
			check_ip(&frame, 8 + quoted);
			cr_expect_eq(icmp[0] << 8 | icmp[1], 1 << 8 | 4);
		}
	}
}

/* RFC 1191, RFC 8201: of TCP and UDP alike, but not of what may be fragmented on its way. */
Test(reject, a_packet_too_big_is_answered_by_the_size_that_fits)
{
	for (size_t i = 0; i < 4; i++) {
		uint8_t family = families[i & 1];
		struct frame frame =
			frame_make(family, i & 2 ? SL_PROTOCOL_TCP : SL_PROTOCOL_UDP, 100);
		uint32_t room = sl_reject_room(family);
		struct frame before;
		struct sl_packet packet;
		const uint8_t *icmp;
		size_t quoted = (family == SL_FAMILY_IPV4 ? 20 : 40) + SL_REJECT_QUOTED;

		if (family == SL_FAMILY_IPV4) {
			frame.bytes[frame.l3 + 6] = 0;
			frame_finish(&frame);
			cr_assert_eq(frame_parse(&frame, &packet), SL_VERDICT_NONE);
			cr_assert_eq(sl_reject_kind(&packet, 1400), SL_REJECT_NONE);
			frame.bytes[frame.l3 + 6] = 0x40;
			frame_finish(&frame);
		}
		before = frame;
		cr_assert_eq(frame_parse(&frame, &packet), SL_VERDICT_NONE);
		cr_assert_eq(sl_reject_kind(&packet, 1400), SL_REJECT_UNREACHABLE);
		memmove(frame.bytes + room, frame.bytes, frame.length);
		frame.length += room;
		cr_assert(sl_reject_unreachable(frame.bytes, frame.bytes + frame.length, false,
						family, &packet.tuple.destination, 1400));
		frame.length = sl_reject_unreachable_length((uint32_t)frame.l3, family);
		check_turned(&frame, &before);
		icmp = frame.bytes + (family == SL_FAMILY_IPV4 ? 34 : 54);
		cr_expect_arr_eq(icmp + 8, before.bytes + before.l3, quoted);
		cr_expect_eq(icmp[0] << 8 | icmp[1],
			     family == SL_FAMILY_IPV4 ? 3 << 8 | 4 : 2 << 8);
		cr_expect_eq(sl_from_be32(sl_load32(icmp + 4)), 1400);
		if (family == SL_FAMILY_IPV4)
			cr_expect_eq(frame_fold(frame_sum(icmp, 8 + quoted)), 0xffff);
	}
}

/* RFC 1812 5.3.1, RFC 4443 3.3: whatever the protocol; from another address than it went to. */
Test(reject, a_packet_whose_time_is_over_is_answered_in_anothers_name)
{
	static const union sl_addr from = {.word = {0x01020304, 5, 6, 7}};

	for (size_t i = 0; i < 4; i++) {
		uint8_t family = families[i & 1];
		struct frame frame =
			frame_make(family, i & 2 ? SL_PROTOCOL_TCP : SL_PROTOCOL_UDP, 100);
		uint32_t room = sl_reject_room(family);
		size_t address = family == SL_FAMILY_IPV4 ? 4 : 16;
		size_t at = family == SL_FAMILY_IPV4 ? 12 : 8;
		struct frame before = frame;
		struct sl_packet packet;
		const uint8_t *icmp;

		cr_assert_eq(frame_parse(&frame, &packet), SL_VERDICT_NONE);
		cr_assert_eq(sl_reject_kind(&packet, SL_REFUSED_EXPIRED), SL_REJECT_UNREACHABLE);
		memmove(frame.bytes + room, frame.bytes, frame.length);
		frame.length += room;
		cr_assert(sl_reject_unreachable(frame.bytes, frame.bytes + frame.length, false,
						family, &from, SL_REFUSED_EXPIRED));
		icmp = frame.bytes + (family == SL_FAMILY_IPV4 ? 34 : 54);
		cr_expect_arr_eq(frame.bytes + frame.l3 + at, &from, address);
		cr_expect_arr_eq(frame.bytes + frame.l3 + at + address,
				 before.bytes + before.l3 + at, address);
		cr_expect_eq(icmp[0] << 8 | icmp[1], family == SL_FAMILY_IPV4 ? 11 << 8 : 3 << 8);
		cr_expect_eq(sl_load32(icmp + 4), 0);
	}
}

/* RFC 1122 3.2.2 */
Test(reject, nothing_is_told_of_fragments_and_errors)
{
	struct frame frame = frame_make(SL_FAMILY_IPV4, SL_PROTOCOL_UDP, 100);
	struct sl_packet packet;

	cr_assert_eq(frame_parse(&frame, &packet), SL_VERDICT_NONE);
	packet.fragment = SL_PACKET_FIRST;
	cr_expect_eq(sl_reject_kind(&packet, SL_REFUSED_EXPIRED), SL_REJECT_NONE);
	packet.fragment = SL_PACKET_WHOLE;
	packet.quoted_offset = 42;
	cr_expect_eq(sl_reject_kind(&packet, SL_REFUSED_EXPIRED), SL_REJECT_NONE);
}

Test(reject, packets_with_options_are_refused_in_silence)
{
	struct frame frame = frame_make(SL_FAMILY_IPV4, SL_PROTOCOL_UDP, 4);
	struct sl_packet packet;

	memmove(frame.bytes + 38, frame.bytes + 34, frame.length - 34);
	memset(frame.bytes + 34, 1, 4);
	frame.bytes[14] = 0x46;
	frame.bytes[17] = (uint8_t)(frame.bytes[17] + 4);
	memset(frame.bytes + 24, 0, 2);
	uint16_t sum = (uint16_t)~frame_fold(frame_sum(frame.bytes + 14, 24));
	frame.bytes[24] = (uint8_t)(sum >> 8);
	frame.bytes[25] = (uint8_t)sum;
	frame.length += 4;
	cr_assert_eq(frame_parse(&frame, &packet), SL_VERDICT_NONE);
	cr_expect_eq(sl_reject_kind(&packet, 0), SL_REJECT_NONE);
}

Test(reject, a_network_gets_a_burst_and_then_its_rate)
{
	struct sl_reject_bucket bucket = {0};
	uint32_t n = 0;

	for (int i = 0; i < 1000; i++)
		n += sl_reject_allow(&bucket, 7);
	cr_expect_eq(n, SL_REJECT_BURST);
	n = 0;
	for (uint32_t tick = 8; tick < 108; tick++)
		for (int i = 0; i < 50; i++)
			n += sl_reject_allow(&bucket, tick);
	cr_expect_eq(n, 100 * SL_REJECT_PER_TICK);
	n = 0;
	for (int i = 0; i < 1000; i++)
		n += sl_reject_allow(&bucket, 1000000);
	cr_expect_eq(n, SL_REJECT_BURST);
}

Test(reject, one_network_has_one_bucket)
{
	union sl_addr a = {.word = {SL_BE32(0xc6336407)}};
	union sl_addr b = {.word = {SL_BE32(0xc63364fe)}};
	union sl_addr six = {.word = {SL_BE32(0x20010db8), SL_BE32(0x00010000), 0, SL_BE32(7)}};
	union sl_addr near = six;

	near.word[1] |= SL_BE32(0xff);
	near.word[2] = 77;
	cr_expect_eq(sl_reject_bucket_of(&a, 4), sl_reject_bucket_of(&b, 4));
	cr_expect_eq(sl_reject_bucket_of(&six, 6), sl_reject_bucket_of(&near, 6));
	cr_expect_lt(sl_reject_bucket_of(&six, 6), SL_REJECT_BUCKETS);
}
