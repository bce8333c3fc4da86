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

Test(look_burst, many_at_once_are_judged_as_each_is_alone)
{
	struct random random = random_seeded();
	uint64_t mac = sl_mac_word(own);
	uint32_t n_common = 0;

	for (int round = 0; round < N_ROUNDS; round++) {
		uint32_t n = (uint32_t)(random_next(&random) % (LOOK_LANES + 1));
		struct frame frame[LOOK_LANES];
		struct look_heads heads;
		uint32_t bad[LOOK_LANES];

		memset(&heads, 0, sizeof(heads));
		for (uint32_t i = 0; i < n; i++) {
			frame[i] = random_frame(&random);
			look_put(&heads, i, frame[i].bytes, (uint32_t)frame[i].length);
		}
		look_burst(&heads, mac, bad);
		for (uint32_t i = 0; i < n; i++) {
			bool is_common =
				sl_parse_is_common4(frame[i].bytes, (uint32_t)frame[i].length, mac);

			cr_assert_eq(bad[i] == 0, is_common, "round %d, frame %u of %u", round, i,
				     n);
			n_common += is_common;
		}
		for (uint32_t i = n; i < LOOK_LANES; i++)
			cr_assert_neq(bad[i], 0, "round %d, frame %u of %u", round, i, n);
	}
	cr_expect(n_common > N_ROUNDS / 2 && n_common < 3 * N_ROUNDS, "%u", n_common);
}

/* What a lane held before does not come back. */
Test(look_burst, a_lane_without_a_frame_is_none)
{
	struct frame frame = frame_make(SL_FAMILY_IPV4, SL_PROTOCOL_UDP, 30);
	struct look_heads heads = {0};
	uint32_t bad[LOOK_LANES];

	look_put(&heads, LOOK_LANES - 1, frame.bytes, (uint32_t)frame.length);
	look_burst(&heads, sl_mac_word(own), bad);
	cr_assert_eq(bad[LOOK_LANES - 1], 0);
	heads.length[LOOK_LANES - 1] = 0;
	look_burst(&heads, sl_mac_word(own), bad);
	cr_assert_neq(bad[LOOK_LANES - 1], 0);
}
