/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* The rewrite: checksums against full recomputation, there and back, and what it leaves alone. */
#include <criterion/criterion.h>
#include <string.h>

#include <sluice/packet/nat.h>

#include "tests/unit/frames.h"
#include "tests/unit/random.h"

static const uint8_t families[] = {SL_FAMILY_IPV4, SL_FAMILY_IPV6};
static const uint8_t protocols[] = {SL_PROTOCOL_TCP, SL_PROTOCOL_UDP};

static struct sl_rewrite random_rewrite(struct random *random, uint8_t family)
{
	struct sl_rewrite to = {0};

	random_fill(random, &to.source, family == SL_FAMILY_IPV4 ? 4 : 16);
	random_fill(random, &to.destination, family == SL_FAMILY_IPV4 ? 4 : 16);
	to.source_port = (be16_t)random_next(random);
	to.destination_port = (be16_t)random_next(random);
	return to;
}

static uint16_t l4_checksum(const struct frame *frame, uint8_t protocol)
{
	const uint8_t *at = frame->bytes + frame->l4 + (protocol == SL_PROTOCOL_TCP ? 16 : 6);

	return (uint16_t)(at[0] << 8 | at[1]);
}

Test(nat, rewritten_packets_equal_packets_made_anew)
{
	struct random random = random_seeded();

	for (int i = 0; i < 400000; i++) {
		uint8_t family = families[i & 1];
		uint8_t protocol = protocols[(i >> 1) & 1];
		struct frame frame = frame_make(family, protocol, random_next(&random) % 30);
		struct frame expected = frame;
		struct sl_rewrite to = random_rewrite(&random, family);
		struct sl_packet packet;

		cr_assert_eq(frame_parse(&frame, &packet), SL_VERDICT_NONE);
		sl_nat_rewrite(&packet, &to);
		memcpy(expected.bytes + (family == 4 ? 26 : 22), &to.source, family == 4 ? 4 : 16);
		memcpy(expected.bytes + (family == 4 ? 30 : 38), &to.destination,
		       family == 4 ? 4 : 16);
		memcpy(expected.bytes + expected.l4, &to.source_port, 2);
		memcpy(expected.bytes + expected.l4 + 2, &to.destination_port, 2);
		expected.bytes[family == 4 ? 22 : 21]--;
		frame_finish(&expected);
		cr_assert_arr_eq(frame.bytes, expected.bytes, frame.length,
				 "row %d: family %u protocol %u", i, family, protocol);
	}
}

Test(nat, there_and_back_restores_all_but_the_ttl)
{
	struct random random = random_seeded();

	for (int i = 0; i < 100000; i++) {
		uint8_t family = families[i & 1];
		struct frame frame = frame_make(family, protocols[(i >> 1) & 1], 12);
		struct frame original = frame;
		struct sl_rewrite to = random_rewrite(&random, family);
		struct sl_rewrite back;
		struct sl_packet packet;

		cr_assert_eq(frame_parse(&frame, &packet), SL_VERDICT_NONE);
		back = (struct sl_rewrite){.source = packet.tuple.source,
					   .destination = packet.tuple.destination,
					   .source_port = packet.tuple.source_port,
					   .destination_port = packet.tuple.destination_port};
		sl_nat_rewrite(&packet, &to);
		packet.tuple.source = to.source;
		packet.tuple.destination = to.destination;
		packet.tuple.source_port = to.source_port;
		packet.tuple.destination_port = to.destination_port;
		sl_nat_rewrite(&packet, &back);
		original.bytes[family == 4 ? 22 : 21] -= 2;
		frame_finish(&original);
		cr_assert_arr_eq(frame.bytes, original.bytes, frame.length, "row %d", i);
	}
}

Test(nat, corrupt_checksum_stays_corrupt_by_the_same_amount)
{
	struct random random = random_seeded();

	for (int i = 0; i < 200000; i++) {
		uint8_t family = families[i & 1];
		uint8_t protocol = protocols[(i >> 1) & 1];
		struct frame frame = frame_make(family, protocol, 12);
		struct sl_rewrite to = random_rewrite(&random, family);
		size_t at = frame.l4 + (protocol == SL_PROTOCOL_TCP ? 16 : 6);
		uint32_t error_before;
		uint32_t error_after;
		struct sl_packet packet;

		frame.bytes[at] = (uint8_t)random_next(&random);
		frame.bytes[at + 1] = (uint8_t)(random_next(&random) | 1);
		error_before = frame_l4_sum(&frame) % 0xffff;
		cr_assert_eq(frame_parse(&frame, &packet), SL_VERDICT_NONE);
		sl_nat_rewrite(&packet, &to);
		error_after = frame_l4_sum(&frame) % 0xffff;
		cr_assert_eq(error_before, error_after, "row %d: %04x", i,
			     l4_checksum(&frame, protocol));
	}
}

Test(nat, udp_zero_checksum_stays_zero)
{
	struct frame frame = frame_make(SL_FAMILY_IPV4, SL_PROTOCOL_UDP, 5);
	struct random random = random_seeded();
	struct sl_rewrite to = random_rewrite(&random, SL_FAMILY_IPV4);
	struct sl_packet packet;

	memset(frame.bytes + frame.l4 + 6, 0, 2);
	cr_assert_eq(frame_parse(&frame, &packet), SL_VERDICT_NONE);
	sl_nat_rewrite(&packet, &to);
	cr_assert_eq(l4_checksum(&frame, SL_PROTOCOL_UDP), 0);
}

Test(nat, udp_result_of_zero_is_sent_as_all_ones)
{
	for (int f = 0; f < 2; f++) {
		uint32_t n_ones = 0;

		for (uint32_t port = 0; port < 65536; port++) {
			struct frame frame = frame_make(families[f], SL_PROTOCOL_UDP, 5);
			struct sl_packet packet;
			struct sl_rewrite to;

			cr_assert_eq(frame_parse(&frame, &packet), SL_VERDICT_NONE);
			to = (struct sl_rewrite){.source = packet.tuple.source,
						 .destination = packet.tuple.destination,
						 .source_port = (be16_t)port,
						 .destination_port = packet.tuple.destination_port};
			sl_nat_rewrite(&packet, &to);
			cr_assert_neq(l4_checksum(&frame, SL_PROTOCOL_UDP), 0, "port %u", port);
			cr_assert_eq(frame_l4_sum(&frame), 0xffff, "port %u", port);
			n_ones += l4_checksum(&frame, SL_PROTOCOL_UDP) == 0xffff;
		}
		cr_assert_geq(n_ones, 1);
	}
}

Test(nat, ttl_below_two_may_not_be_forwarded)
{
	for (int f = 0; f < 2; f++) {
		for (uint8_t ttl = 0; ttl < 4; ttl++) {
			struct frame frame = frame_make(families[f], SL_PROTOCOL_TCP, 0);
			struct sl_packet packet;

			frame.bytes[families[f] == 4 ? 22 : 21] = ttl;
			frame_finish(&frame);
			cr_assert_eq(frame_parse(&frame, &packet), SL_VERDICT_NONE);
			cr_assert_eq(sl_nat_has_ttl(&packet), ttl >= 2);
		}
	}
}

Test(nat, ethernet_addresses_are_written_and_nothing_else)
{
	struct frame frame = frame_make(SL_FAMILY_IPV4, SL_PROTOCOL_TCP, 3);
	struct frame before = frame;
	const uint8_t destination[6] = {1, 2, 3, 4, 5, 6};
	const uint8_t source[6] = {7, 8, 9, 10, 11, 12};

	sl_nat_ethernet((struct sl_ethernet *)frame.bytes, destination, source);
	cr_assert_arr_eq(frame.bytes, destination, 6);
	cr_assert_arr_eq(frame.bytes + 6, source, 6);
	cr_assert_arr_eq(frame.bytes + 12, before.bytes + 12, frame.length - 12);
}
