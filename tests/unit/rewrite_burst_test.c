/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* dataplane/dpdk/rewrite_burst.h against sl_nat_rewrite(), one packet after the other. */
#include <criterion/criterion.h>
#include <string.h>

#include "dataplane/dpdk/rewrite_burst.h"
#include "tests/unit/frames.h"
#include "tests/unit/random.h"

enum {
	N_ROUNDS = 20000,
};

/* All bits of few words: sums that carry, or come to nothing, are then not rare. */
static uint32_t random_word(struct random *random)
{
	static const uint32_t often[] = {0, 0xffffffff, 0xffff, 0xffff0000, 1, 0x01000000};
	uint64_t number = random_next(random);

	return number & 1 ? often[(number >> 8) % 6] : (uint32_t)(number >> 32);
}

static void random_frame(struct random *random, struct frame *to)
{
	bool is_tcp = random_next(random) & 1;
	struct frame frame =
		frame_make(SL_FAMILY_IPV4, is_tcp ? SL_PROTOCOL_TCP : SL_PROTOCOL_UDP, 4);
	uint8_t *ip = frame.bytes + SL_COMMON_IP;
	uint32_t word[] = {random_word(random), random_word(random), random_word(random),
			   random_word(random)};

	memcpy(ip + offsetof(struct sl_ipv4, source), word, 8);
	memcpy(frame.bytes + frame.l4, &word[2], 4);
	memcpy(ip + offsetof(struct sl_ipv4, checksum), &word[3], 2);
	if (random_next(random) & 1)
		memcpy(frame.bytes + frame.l4 +
			       (is_tcp ? offsetof(struct sl_tcp, checksum)
				       : offsetof(struct sl_udp, checksum)),
		       (uint8_t *)&word[3] + 2, 2);
	memcpy(to, &frame, sizeof(frame));
}

/* The words of the tuple of @frame, as look_burst() gives them. */
static void put_words(struct hash_words *words, uint32_t at, const struct frame *frame)
{
	words->row[0][at] = sl_load64(frame->bytes + SL_COMMON4_ADDRESSES);
	words->row[1][at] = (uint64_t)frame->bytes[SL_COMMON4_PROTOCOL] << 32 |
			    sl_load32(frame->bytes + SL_COMMON4_L4);
}

Test(rewrite_burst, many_at_once_become_what_each_becomes_alone)
{
	struct random random = random_seeded();

	for (int round = 0; round < N_ROUNDS; round++) {
		uint32_t n = (uint32_t)(random_next(&random) % (HASH_BURST + 1));
		struct frame frame[HASH_BURST];
		struct frame expected[HASH_BURST];
		struct rewrite_columns columns;
		struct hash_words words;

		for (uint32_t i = 0; i < n; i++) {
			struct sl_rewrite to = {.source.ipv4 = random_word(&random),
						.destination.ipv4 = random_word(&random),
						.source_port = (be16_t)random_word(&random),
						.destination_port = (be16_t)random_word(&random)};
			struct sl_packet packet;

			random_frame(&random, &frame[i]);
			memcpy(&expected[i], &frame[i], sizeof(frame[i]));
			sl_parse_common(expected[i].bytes, SL_FAMILY_IPV4, &packet);
			sl_nat_rewrite(&packet, &to);
			put_words(&words, i, &frame[i]);
			rewrite_put(&columns, i, &to);
		}
		rewrite_burst(&words, &columns, n);
		for (uint32_t i = 0; i < n; i++) {
			struct sl_packet packet;

			sl_parse_common(frame[i].bytes, SL_FAMILY_IPV4, &packet);
			rewrite_packet(&columns, i, &packet);
			cr_assert_arr_eq(frame[i].bytes, expected[i].bytes, frame[i].length,
					 "round %d, packet %u of %u", round, i, n);
		}
	}
}
