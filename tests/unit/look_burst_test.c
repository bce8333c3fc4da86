/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* dataplane/dpdk/look_burst.h against sl_parse_is_common4(), one frame after the other. */
#include <criterion/criterion.h>
#include <string.h>

#include "dataplane/dpdk/look_burst.h"
#include "tests/unit/frames.h"
#include "tests/unit/random.h"

enum {
	N_ROUNDS = 400000,
};

static const uint8_t own[6] = {2, 0, 0, 0, 0, 1};

/* Bytes that are much asked about come up more often than by chance. */
static uint8_t random_byte(struct random *random)
{
	static const uint8_t often[] = {0,    0x01, 0x02, 0x04, 0x05, 0x06, 0x08, 0x11, 0x14, 0x1c,
					0x40, 0x45, 0x46, 0x50, 0x60, 0x7f, 0x80, 0xdf, 0xe0, 0xff};
	uint64_t number = random_next(random);

	return number & 1 ? often[(number >> 8) % sizeof(often)] : (uint8_t)(number >> 32);
}

static struct frame random_frame(struct random *random)
{
	uint64_t how = random_next(random);
	struct frame frame = frame_make(how & 32 ? SL_FAMILY_IPV4 : SL_FAMILY_IPV6,
					how & 64 ? SL_PROTOCOL_TCP : SL_PROTOCOL_UDP,
					12 + random_next(random) % 20);
	uint8_t *ip = frame.bytes + SL_COMMON_IP;

	if (how & 128)
		frame = frame_make(SL_FAMILY_IPV4, SL_PROTOCOL_TCP, random_next(random) % 4);
	for (uint64_t n = how % 4; n > 0; n--)
		frame.bytes[random_next(random) % LOOK_MIN_BYTES] = random_byte(random);
	/* Else the checksum alone would judge nearly all. */
	if (how & 16) {
		uint16_t sum;

		memset(ip + 10, 0, 2);
		sum = (uint16_t)~frame_fold(frame_sum(ip, 20));
		ip[10] = (uint8_t)(sum >> 8);
		ip[11] = (uint8_t)sum;
	}
	return frame;
}

/* Lanes of which none has a frame, and room for what is found. */
struct lanes {
	struct look look;
	uint64_t addresses[LOOK_LANES];
	uint64_t ports[LOOK_LANES];
};

static void lanes_init(struct lanes *lanes)
{
	memset(lanes, 0, sizeof(*lanes));
	for (int i = 0; i < LOOK_LANES; i++)
		lanes->look.data[i] = look_nothing;
	lanes->look.addresses = lanes->addresses;
	lanes->look.ports = lanes->ports;
}

static void lanes_put(struct lanes *lanes, uint32_t at, const struct frame *frame)
{
	if (frame->length < LOOK_MIN_BYTES)
		return;
	lanes->look.data[at] = frame->bytes;
	lanes->look.length[at] = (uint32_t)frame->length;
}

/* What is hashed of a common frame is what sl_flow_hash() makes of its tuple. */
static void expect_words(const struct lanes *lanes, uint32_t at, const struct frame *frame)
{
	const uint8_t *bytes = frame->bytes;

	cr_assert_eq(lanes->addresses[at], sl_load64(bytes + SL_COMMON4_ADDRESSES));
	cr_assert_eq(lanes->ports[at],
		     (uint64_t)bytes[SL_COMMON4_PROTOCOL] << 32 | sl_load32(bytes + SL_COMMON4_L4));
}

Test(look_burst, many_at_once_are_judged_as_each_is_alone)
{
	struct random random = random_seeded();
	uint64_t mac = sl_mac_word(own);
	uint32_t n_common = 0;

	for (int round = 0; round < N_ROUNDS; round++) {
		uint32_t n = (uint32_t)(random_next(&random) % (LOOK_LANES + 1));
		struct frame frame[LOOK_LANES];
		struct lanes lanes;
		bool are_all = n == LOOK_LANES;
		bool found;

		lanes_init(&lanes);
		for (uint32_t i = 0; i < n; i++) {
			frame[i] = random_frame(&random);
			lanes_put(&lanes, i, &frame[i]);
		}
		found = look_burst(&lanes.look, mac);
		for (uint32_t i = 0; i < n; i++) {
			uint32_t length = (uint32_t)frame[i].length;
			bool is_common = length >= LOOK_MIN_BYTES &&
					 sl_parse_is_common4(frame[i].bytes, length, mac);

			cr_assert_eq(lanes.look.is_bad[i] == 0, is_common,
				     "round %d, frame %u of %u", round, i, n);
			if (is_common)
				expect_words(&lanes, i, &frame[i]);
			n_common += is_common;
			are_all = are_all && is_common;
		}
		for (uint32_t i = n; i < LOOK_LANES; i++)
			cr_assert_neq(lanes.look.is_bad[i], 0, "round %d, frame %u of %u", round, i,
				      n);
		cr_assert_eq(found, are_all, "round %d", round);
	}
	cr_expect(n_common > N_ROUNDS / 2 && n_common < 3 * N_ROUNDS, "%u", n_common);
}

/* A lane without a frame is none, and one that is bad before stays so. */
Test(look_burst, what_is_bad_before_stays_bad)
{
	struct frame frame = frame_make(SL_FAMILY_IPV4, SL_PROTOCOL_UDP, 30);
	struct lanes lanes;

	lanes_init(&lanes);
	lanes_put(&lanes, LOOK_LANES - 1, &frame);
	look_burst(&lanes.look, sl_mac_word(own));
	cr_assert_eq(lanes.look.is_bad[LOOK_LANES - 1], 0);
	cr_assert_neq(lanes.look.is_bad[0], 0);
	lanes.look.is_bad[LOOK_LANES - 1] = 1;
	look_burst(&lanes.look, sl_mac_word(own));
	cr_assert_neq(lanes.look.is_bad[LOOK_LANES - 1], 0);
}
