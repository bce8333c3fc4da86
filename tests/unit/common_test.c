/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* include/sluice/packet/common.h against sl_parse(): what is called common is what it lets through. */
#include <criterion/criterion.h>
#include <stddef.h>
#include <string.h>

#include <sluice/packet/common.h>

#include "tests/unit/frames.h"
#include "tests/unit/random.h"

static const uint8_t own[6] = {2, 0, 0, 0, 0, 1};

enum {
	N_ROUNDS = 2000000,
	CONTENTS = offsetof(struct sl_packet, echo) + 1, /* what follows is padding */
};

static const struct kind {
	uint8_t family;
	uint8_t protocol;
} kinds[] = {
	{SL_FAMILY_IPV4, SL_PROTOCOL_TCP},
	{SL_FAMILY_IPV4, SL_PROTOCOL_UDP},
	{SL_FAMILY_IPV6, SL_PROTOCOL_TCP},
	{SL_FAMILY_IPV6, SL_PROTOCOL_UDP},
};

/* SL_FAMILY_NONE: not common. */
static uint8_t common_family(const struct frame *frame)
{
	uint64_t mac = sl_mac_word(own);
	bool is_ipv4 = sl_parse_is_common4(frame->bytes, (uint32_t)frame->length, mac);
	bool is_ipv6 = sl_parse_is_common6(frame->bytes, (uint32_t)frame->length, mac);

	cr_assert(!(is_ipv4 && is_ipv6));
	return is_ipv4 ? SL_FAMILY_IPV4 : is_ipv6 ? SL_FAMILY_IPV6 : SL_FAMILY_NONE;
}

/* Of a frame that is common: the parser finds the same. */
static void expect_the_same(struct frame *frame, uint8_t family, const char *what)
{
	const void *end = frame->bytes + frame->length;
	struct sl_packet expected;
	struct sl_packet found;

	cr_assert_eq(sl_parse_link(frame->bytes, end, own), SL_VERDICT_NONE, "%s", what);
	memset(&expected, 0, sizeof(expected));
	cr_assert_eq(sl_parse(frame->bytes, end, &expected), SL_VERDICT_NONE, "%s", what);
	memset(&found, 0, sizeof(found));
	sl_parse_common(frame->bytes, family, &found);
	cr_assert_eq(memcmp(&found, &expected, CONTENTS), 0, "%s", what);
}

Test(common, good_frames_of_each_kind_are_common)
{
	for (size_t i = 0; i < SL_ARRAY_LEN(kinds); i++)
		for (size_t payload = 0; payload < 100; payload++) {
			struct frame frame =
				frame_make(kinds[i].family, kinds[i].protocol, payload);
			char what[64];

			snprintf(what, sizeof(what), "kind %zu, %zu bytes", i, payload);
			cr_assert_eq(common_family(&frame), kinds[i].family, "%s", what);
			expect_the_same(&frame, kinds[i].family, what);
		}
}

Test(common, a_frame_cut_anywhere_is_common_only_if_it_is_whole)
{
	for (size_t i = 0; i < SL_ARRAY_LEN(kinds); i++) {
		struct frame frame = frame_make(kinds[i].family, kinds[i].protocol, 30);

		for (size_t length = frame.length; length-- > 0;) {
			frame.length = length;
			cr_expect_eq(common_family(&frame), SL_FAMILY_NONE, "kind %zu, %zu bytes",
				     i, length);
		}
	}
}

/* Bytes that are much asked about come up more often than by chance. */
static uint8_t random_byte(struct random *random)
{
	static const uint8_t often[] = {0,    0x01, 0x02, 0x04, 0x05, 0x06, 0x08, 0x11, 0x28, 0x40,
					0x45, 0x50, 0x60, 0x7f, 0x80, 0x81, 0x86, 0xdd, 0xe0, 0xff};
	uint64_t number = random_next(random);

	return number & 1 ? often[(number >> 8) % sizeof(often)] : (uint8_t)(number >> 32);
}

Test(common, frames_with_random_bytes_are_common_only_if_the_parser_lets_them_through)
{
	struct random random = random_seeded();
	uint32_t n_common = 0;

	for (int round = 0; round < N_ROUNDS; round++) {
		const struct kind *kind = &kinds[random_next(&random) % SL_ARRAY_LEN(kinds)];
		struct frame frame =
			frame_make(kind->family, kind->protocol, random_next(&random) % 20);
		uint64_t how = random_next(&random);
		uint8_t family;
		char what[64];

		for (uint64_t n = how % 4; n > 0; n--)
			frame.bytes[random_next(&random) % 70] = random_byte(&random);
		if (how & 8)
			frame.length -= random_next(&random) % 8;
		/* Else the IPv4 checksum alone would judge nearly all. */
		if (how & 16) {
			uint8_t *ip = frame.bytes + 14;
			uint16_t sum;

			memset(ip + 10, 0, 2);
			sum = (uint16_t)~frame_fold(frame_sum(ip, 20));
			ip[10] = (uint8_t)(sum >> 8);
			ip[11] = (uint8_t)sum;
		}
		family = common_family(&frame);
		snprintf(what, sizeof(what), "round %d", round);
		if (family != SL_FAMILY_NONE)
			expect_the_same(&frame, family, what);
		n_common += family != SL_FAMILY_NONE;
	}
	cr_expect(n_common > N_ROUNDS / 10 && n_common < N_ROUNDS - N_ROUNDS / 10, "%u", n_common);
}
