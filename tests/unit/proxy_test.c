/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * The PROXY protocol without buffering: every rewrite against a packet made anew, and each case that
 * the head of proxy.h names. Whole connections are in proxy_stream_test.c.
 */
#include <criterion/criterion.h>
#include <string.h>

#include <sluice/packet/nat.h>
#include <sluice/packet/proxy.h>

#include "tests/unit/proxy_frames.h"
#include "tests/unit/random.h"

/* Makes all checksums anew in a copy. */
static struct frame finished(const struct frame *frame)
{
	struct frame copy = *frame;

	frame_finish(&copy);
	return copy;
}

#define assert_same(frame, expected, ...)                                                          \
	do {                                                                                       \
		cr_assert_eq((frame)->length, (expected)->length, __VA_ARGS__);                    \
		cr_assert_arr_eq((frame)->bytes, (expected)->bytes, (frame)->length, __VA_ARGS__); \
	} while (0)

Test(proxy, strict_reader_accepts_the_header)
{
	static const uint8_t protocols[] = {SL_PROTOCOL_TCP, SL_PROTOCOL_UDP};

	for (int i = 0; i < 4; i++) {
		uint8_t family = families[i & 1];
		uint8_t protocol = protocols[i >> 1];
		struct frame frame = frame_make(family, protocol, 4);
		uint8_t out[SL_PROXY_MAX_LENGTH + 1];
		struct sl_packet packet;
		uint32_t length;
		uint64_t sum = 0;

		cr_assert_eq(frame_parse(&frame, &packet), SL_VERDICT_NONE);
		memset(out, 0xee, sizeof(out));
		length = sl_proxy_v2_header(out, &packet.tuple);
		cr_assert_eq(length, sl_proxy_length(family));
		cr_assert_eq(out[length], 0xee);
		cr_assert_eq(read_header(out, length, family, protocol,
					 frame.bytes + 14 + (family == 4 ? 12 : 8), 40000, 80),
			     length, "family %u protocol %u", family, protocol);
		for (uint32_t at = 0; at < length; at += 4)
			sum += sl_load32(out + at);
		cr_assert_eq(sl_checksum_fold(sum),
			     sl_checksum_fold(sl_proxy_v2_sum(&packet.tuple)));
	}
}

Test(proxy, inserted_packets_equal_packets_made_anew)
{
	struct random random = random_seeded();

	for (int i = 0; i < 200000; i++) {
		uint8_t family = families[i & 1];
		size_t n_options = (size_t)(random_next(&random) % 11) * 4;
		size_t n_payload = (size_t)(random_next(&random) % 60);
		uint8_t flags = (uint8_t)(SL_TCP_ACK | (random_next(&random) &
							(SL_TCP_URG | SL_TCP_PSH | SL_TCP_FIN)));
		uint32_t sequence = (uint32_t)random_next(&random);
		uint32_t first = random_next(&random) % 3 ? sequence : sequence + 1;
		uint8_t options[40];
		uint8_t payload[60];
		uint8_t expected_payload[60 + SL_PROXY_MAX_LENGTH];
		struct frame frame;
		struct frame expected;
		struct sl_packet packet;
		uint8_t *tcp;
		uint32_t urgent =
			(uint32_t)(random_next(&random) % 4 ? random_next(&random) % 100 : 0xffe0);
		uint32_t n;

		random_fill(&random, options, sizeof(options));
		random_fill(&random, payload, sizeof(payload));
		frame = tcp_frame(family, flags, sequence, 77, options, n_options, payload,
				  n_payload);
		tcp = frame.bytes + frame.l4;
		tcp[18] = (uint8_t)(urgent >> 8);
		tcp[19] = (uint8_t)urgent;
		frame_finish(&frame);
		cr_assert_eq(frame_parse(&frame, &packet), SL_VERDICT_NONE);
		n = sl_proxy_v2_header(expected_payload, &packet.tuple);
		memcpy(expected_payload + n, payload, n_payload);
		expected = tcp_frame(family, n_payload == 0 ? flags | SL_TCP_PSH : flags, first, 77,
				     options, n_options, expected_payload, n + n_payload);
		urgent = !(flags & SL_TCP_URG) ? urgent : urgent + n > 0xffff ? 0xffff : urgent + n;
		expected.bytes[expected.l4 + 18] = (uint8_t)(urgent >> 8);
		expected.bytes[expected.l4 + 19] = (uint8_t)urgent;
		frame_finish(&expected);
		cr_assert(insert(&frame, &packet, first));
		assert_same(&frame, &expected, "row %d", i);
	}
}

Test(proxy, inserted_datagrams_equal_datagrams_made_anew)
{
	struct random random = random_seeded();

	for (int i = 0; i < 100000; i++) {
		uint8_t family = families[i & 1];
		size_t n_payload = (size_t)(random_next(&random) % 60);
		struct frame frame = frame_make(family, SL_PROTOCOL_UDP, n_payload);
		struct frame expected;
		struct sl_packet packet;
		bool is_zero = family == SL_FAMILY_IPV4 && random_next(&random) % 4 == 0;
		uint32_t n;

		random_fill(&random, frame.bytes + frame.l4 + 8, n_payload);
		frame_finish(&frame);
		if (is_zero)
			memset(frame.bytes + frame.l4 + 6, 0, 2);
		cr_assert_eq(frame_parse(&frame, &packet), SL_VERDICT_NONE);
		expected = frame_make(family, SL_PROTOCOL_UDP, n_payload + sl_proxy_length(family));
		n = sl_proxy_v2_header(expected.bytes + expected.l4 + 8, &packet.tuple);
		memcpy(expected.bytes + expected.l4 + 8 + n, frame.bytes + frame.l4 + 8, n_payload);
		frame_finish(&expected);
		if (is_zero)
			memset(expected.bytes + expected.l4 + 6, 0, 2);
		cr_assert(insert(&frame, &packet, 0));
		assert_same(&frame, &expected, "row %d", i);
	}
}

Test(proxy, corrupt_packets_stay_corrupt_by_the_same_amount)
{
	static const uint8_t options[20] = {1, 5, 18, 0, 0, 3, 0xe9, 0, 0,  4,
					    0, 0, 0,  4, 9, 0, 0,    4, 99, 1};
	struct random random = random_seeded();

	for (int i = 0; i < 100000; i++) {
		uint8_t family = families[i & 1];
		uint8_t flags = i % 8 >= 6 ? SL_TCP_SYN | SL_TCP_ACK : SL_TCP_ACK;
		struct frame frame =
			tcp_frame(family, flags, 1001, 5000, options, sizeof(options), NULL, 12);
		struct sl_proxy proxy = {.first = 900, .phase = SL_PROXY_SENT};
		struct sl_packet packet;
		uint32_t error_before;

		frame.bytes[frame.l4 + 16] = (uint8_t)random_next(&random);
		frame.bytes[frame.l4 + 17] = (uint8_t)random_next(&random);
		error_before = frame_l4_sum(&frame) % 0xffff;
		cr_assert_eq(frame_parse(&frame, &packet), SL_VERDICT_NONE);
		if (i % 8 < 2)
			cr_assert(insert(&frame, &packet, 1001));
		else if (i % 8 < 4)
			sl_proxy_shift(&packet, 1029);
		else
			sl_proxy_reply(&proxy, &packet, sl_proxy_options(&packet));
		cr_assert_eq(frame_l4_sum(&frame) % 0xffff, error_before, "row %d", i);
	}
}

/* Options: naive twins over an array, each option found by its own rules. */

static uint32_t naive_to_client(uint32_t first, bool is_acked, uint32_t h, uint32_t sequence)
{
	if (is_acked)
		return sequence - h;
	for (uint32_t i = 1; i < h; i++)
		if (sequence == first + i)
			return first;
	return (int32_t)(sequence - first) <= 0 ? sequence : sequence - h;
}

static void naive_options(uint8_t *options, size_t n, bool is_syn, uint32_t lower, uint32_t first,
			  bool is_acked, uint32_t h)
{
	size_t at = 0;

	while (at < n && options[at] != 0) {
		size_t size;

		if (options[at] == 1) {
			at++;
			continue;
		}
		if (at + 1 >= n || options[at + 1] < 2 || at + options[at + 1] > n)
			return;
		size = options[at + 1];
		if (is_syn) {
			uint8_t kind = options[at];
			bool is_experiment = (kind == 253 || kind == 254) && size >= 4 &&
					     options[at + 2] == 0xf9 && options[at + 3] == 0x89;

			if (kind == 2 && size == 4 && lower != 0) {
				uint32_t mss = (uint32_t)(options[at + 2] << 8 | options[at + 3]);

				if (mss > 536)
					mss = mss - lower > 536 && mss > lower ? mss - lower : 536;
				options[at + 2] = (uint8_t)(mss >> 8);
				options[at + 3] = (uint8_t)mss;
			}
			if (kind == 30 || kind == 34 || is_experiment)
				memset(options + at, 1, size);
		} else if (options[at] == 5 &&
			   (size == 10 || size == 18 || size == 26 || size == 34)) {
			for (size_t i = at + 2; i < at + size; i += 4)
				put32(options + i,
				      naive_to_client(first, is_acked, h, get32(options + i)));
		}
		at += size;
	}
}

/* Options as stacks send them, at any offset, and now and then a lie or rubbish. */
static size_t random_options(struct random *random, uint8_t *options, uint32_t first)
{
	size_t limit = (size_t)(random_next(random) % 11) * 4;
	size_t n = 0;

	memset(options, 0, 40);
	while (n < limit) {
		static const uint8_t kinds[] = {2, 3, 4, 5, 5, 5, 8, 30, 34, 253, 254, 19};
		uint64_t draw = random_next(random);
		uint8_t kind = kinds[(draw >> 8) % sizeof(kinds)];
		size_t size = kind == 2   ? 4
			      : kind == 3 ? 3
			      : kind == 4 ? 2
			      : kind == 5 ? 2 + 8 * ((draw >> 20) % 4 + 1)
			      : kind == 8 ? 10
					  : 2 + (draw >> 20) % 9;

		if (draw % 3 == 0 || size > limit - n) {
			options[n++] = (draw >> 40) % 40 == 0 ? 0 : 1;
			continue;
		}
		random_fill(random, options + n, size);
		options[n] = kind;
		options[n + 1] = (uint8_t)((draw >> 40) % 20 == 0 ? draw >> 50 : size);
		if (kind >= 253 && size >= 4 && (draw >> 48) % 2)
			memcpy(options + n + 2, (const uint8_t[]){0xf9, 0x89}, 2);
		if (kind == 5)
			for (size_t i = 2; i < size; i += 4)
				if (random_next(random) % 4)
					put32(options + n + i,
					      first - 60 + (uint32_t)(random_next(random) % 200));
		if (kind == 2 && (draw >> 48) % 4 != 0)
			options[n + 2] &= 7;
		n += size;
	}
	return limit;
}

Test(proxy, option_rewrites_equal_a_naive_twin)
{
	struct random random = random_seeded();

	for (int i = 0; i < 400000; i++) {
		uint8_t family = families[i & 1];
		uint32_t h = sl_proxy_length(family);
		uint32_t first = random_next(&random) % 2
					 ? (uint32_t)random_next(&random)
					 : (uint32_t)(random_next(&random) % 80) - 40;
		uint32_t acknowledgement = first - 60 + (uint32_t)(random_next(&random) % 200);
		bool is_syn = random_next(&random) % 3 == 0;
		bool is_forward = is_syn && random_next(&random) % 2;
		bool is_acked = random_next(&random) % 2;
		struct sl_proxy proxy = {.first = first,
					 .phase = is_acked ? SL_PROXY_ACKED : SL_PROXY_SENT};
		uint8_t options[40];
		size_t n = random_options(&random, options, first);
		uint8_t flags =
			(uint8_t)((is_syn ? SL_TCP_SYN : 0) | (is_forward ? 0 : SL_TCP_ACK));
		struct frame frame =
			tcp_frame(family, flags, 9, acknowledgement, options, n, NULL, 0);
		struct frame before = frame;
		struct sl_packet packet;

		cr_assert_eq(frame_parse(&frame, &packet), SL_VERDICT_NONE);
		naive_options(options, n, is_syn, is_forward ? 0 : h, first, is_acked, h);
		if (is_forward)
			sl_proxy_syn(&packet, sl_proxy_options(&packet), 0);
		else
			sl_proxy_reply(&proxy, &packet, sl_proxy_options(&packet));
		before = tcp_frame(family, flags, 9,
				   is_syn ? acknowledgement
					  : naive_to_client(first, is_acked, h, acknowledgement),
				   options, n, NULL, 0);
		assert_same(&frame, &before, "row %d", i);
	}
}

Test(proxy, nothing_is_read_or_written_beyond_the_options)
{
	struct random random = random_seeded();

	/* A block of exactly the frame's size: the sanitizer sees one byte too far. */
	for (int i = 0; i < 100000; i++) {
		uint8_t options[40];
		size_t n = random_options(&random, options, 1000);
		struct frame frame =
			tcp_frame(SL_FAMILY_IPV4, i & 1 ? SL_TCP_ACK : SL_TCP_SYN | SL_TCP_ACK, 9,
				  1100, options, n, NULL, 0);
		struct sl_proxy proxy = {.first = 1000, .phase = SL_PROXY_SENT};
		uint8_t *block = malloc(frame.length);
		struct sl_packet packet;

		cr_assert_not_null(block);
		memcpy(block, frame.bytes, frame.length);
		cr_assert_eq(sl_parse(block, block + frame.length, &packet), SL_VERDICT_NONE);
		sl_proxy_reply(&proxy, &packet, sl_proxy_options(&packet));
		free(block);
	}
}

Test(proxy, mss_is_lowered_but_never_below_the_least)
{
	static const uint16_t rows[][2] = {{1460, 1432}, {1400, 1372},  {565, 537}, {564, 536},
					   {563, 536},   {537, 536},    {536, 536}, {100, 100},
					   {0, 0},       {65535, 65507}};

	for (size_t i = 0; i < SL_ARRAY_LEN(rows); i++) {
		uint8_t options[4] = {2, 4, (uint8_t)(rows[i][0] >> 8), (uint8_t)rows[i][0]};
		struct frame frame = tcp_frame(SL_FAMILY_IPV4, SL_TCP_SYN | SL_TCP_ACK, 9, 1001,
					       options, 4, NULL, 0);
		struct sl_proxy proxy = {.phase = SL_PROXY_OPENING};
		struct frame expected;
		struct sl_packet packet;

		cr_assert_eq(frame_parse(&frame, &packet), SL_VERDICT_NONE);
		sl_proxy_reply(&proxy, &packet, sl_proxy_options(&packet));
		cr_assert_eq(frame.bytes[frame.l4 + 22] << 8 | frame.bytes[frame.l4 + 23],
			     rows[i][1], "row %zu", i);
		expected = finished(&frame);
		assert_same(&frame, &expected, "row %zu", i);
		cr_assert_eq(proxy.first, 1001);
		cr_assert_eq(proxy.phase, SL_PROXY_UNSENT);
	}
}

/* The decision: each case of the head of proxy.h, `first` being 1001. */
struct decision {
	const char *name;
	uint8_t phase;
	uint8_t flags;
	uint32_t sequence;
	uint16_t payload;
	uint8_t action;
	uint32_t to; /* 0: of no matter */
};

#define ACK SL_TCP_ACK
static const struct decision decisions[] = {
	{"no header", SL_PROXY_OFF, ACK, 1001, 9, SL_PROXY_PASS, 0},
	{"SYN", SL_PROXY_OPENING, SL_TCP_SYN, 1000, 0, SL_PROXY_SYN, 0},
	{"SYN again", SL_PROXY_SENT, SL_TCP_SYN, 1000, 0, SL_PROXY_SYN, 0},
	{"SYN with data", SL_PROXY_OPENING, SL_TCP_SYN, 1000, 1, SL_PROXY_REFUSE, 0},
	{"SYN with data later", SL_PROXY_ACKED, SL_TCP_SYN, 1000, 1, SL_PROXY_REFUSE, 0},
	{"ACK before SYN-ACK", SL_PROXY_OPENING, ACK, 1001, 0, SL_PROXY_REFUSE, 0},
	{"RST before SYN-ACK", SL_PROXY_OPENING, SL_TCP_RST, 1001, 0, SL_PROXY_PASS, 0},
	{"third ACK", SL_PROXY_UNSENT, ACK, 1001, 0, SL_PROXY_INSERT, 1001},
	{"third ACK again", SL_PROXY_SENT, ACK, 1001, 0, SL_PROXY_INSERT, 1001},
	{"third ACK, late", SL_PROXY_ACKED, ACK, 1001, 0, SL_PROXY_SHIFT, 1029},
	{"first data", SL_PROXY_SENT, ACK, 1001, 90, SL_PROXY_INSERT, 1001},
	{"first data, header there", SL_PROXY_ACKED, ACK, 1001, 90, SL_PROXY_SHIFT, 1029},
	{"second data", SL_PROXY_SENT, ACK, 1091, 90, SL_PROXY_SHIFT, 1119},
	{"second data overtakes", SL_PROXY_UNSENT, ACK, 1002, 1, SL_PROXY_SHIFT, 1030},
	{"FIN first", SL_PROXY_UNSENT, ACK | SL_TCP_FIN, 1001, 0, SL_PROXY_INSERT, 1001},
	{"keepalive", SL_PROXY_SENT, ACK, 1000, 0, SL_PROXY_INSERT, 1001},
	{"keepalive with rubbish", SL_PROXY_SENT, ACK, 1000, 1, SL_PROXY_PASS, 0},
	{"keepalive later", SL_PROXY_ACKED, ACK, 1000, 0, SL_PROXY_SHIFT, 1028},
	{"forged header", SL_PROXY_UNSENT, ACK, 1000, 2, SL_PROXY_REFUSE, 0},
	{"forged header from afar", SL_PROXY_SENT, ACK, 941, 61, SL_PROXY_REFUSE, 0},
	{"old data up to first", SL_PROXY_SENT, ACK, 941, 60, SL_PROXY_PASS, 0},
	{"forged end", SL_PROXY_UNSENT, ACK | SL_TCP_FIN, 1000, 1, SL_PROXY_REFUSE, 0},
	{"end at the SYN", SL_PROXY_UNSENT, ACK | SL_TCP_FIN, 1000, 0, SL_PROXY_PASS, 0},
	{"RST, header not sent", SL_PROXY_UNSENT, SL_TCP_RST, 1001, 0, SL_PROXY_PASS, 0},
	{"RST, header sent", SL_PROXY_SENT, SL_TCP_RST, 1001, 0, SL_PROXY_SHIFT, 1029},
	{"RST, header there", SL_PROXY_ACKED, SL_TCP_RST, 1001, 0, SL_PROXY_SHIFT, 1029},
	{"RST ahead", SL_PROXY_UNSENT, SL_TCP_RST, 1050, 0, SL_PROXY_SHIFT, 1078},
	{"RST before", SL_PROXY_SENT, SL_TCP_RST, 1000, 0, SL_PROXY_PASS, 0},
	{"3 GiB later", SL_PROXY_ACKED, ACK, 0xc0000000u, 9, SL_PROXY_SHIFT, 0xc000001cu},
	{"the numbers wrap", SL_PROXY_ACKED, ACK, 0xfffffff0u, 9, SL_PROXY_SHIFT, 12},
};

Test(proxy, decisions)
{
	for (size_t i = 0; i < SL_ARRAY_LEN(decisions); i++) {
		const struct decision *row = &decisions[i];
		struct frame frame = tcp_frame(SL_FAMILY_IPV4, row->flags, row->sequence, 5, NULL,
					       0, NULL, row->payload);
		struct sl_proxy proxy = {.first = 1001, .phase = row->phase};
		struct sl_packet packet;
		uint32_t sequence;

		cr_assert_eq(frame_parse(&frame, &packet), SL_VERDICT_NONE, "%s", row->name);
		cr_assert_eq(sl_proxy_forward(&proxy, &packet, &sequence), row->action, "%s",
			     row->name);
		if (row->to != 0)
			cr_assert_eq(sequence, row->to, "%s: %u", row->name, sequence);
		cr_assert_eq(proxy.first, 1001, "%s", row->name);
		cr_assert_eq(proxy.phase, row->phase, "%s", row->name);
	}
}

/* What no packet of the client may do: put a byte of its own where the header stands. */
Test(proxy, no_client_byte_lands_in_the_header)
{
	struct random random = random_seeded();

	for (int i = 0; i < 1000000; i++) {
		uint8_t family = families[i & 1];
		uint32_t h = sl_proxy_length(family);
		struct sl_proxy proxy = {
			.first = (uint32_t)random_next(&random),
			.phase = (uint8_t)(SL_PROXY_UNSENT + random_next(&random) % 2)};
		uint32_t near = (uint32_t)(random_next(&random) % 400) - 200;
		struct sl_packet packet = {
			.tuple.family = family,
			.tcp_flags = (uint8_t)(SL_TCP_ACK | (random_next(&random) & SL_TCP_FIN)),
			.tcp_sequence = random_next(&random) % 8
						? proxy.first + near
						: proxy.first + (uint32_t)random_next(&random),
			.tcp_payload = (uint16_t)(random_next(&random) %
						  (random_next(&random) % 2 ? 300 : 65536)),
		};
		uint32_t n = (uint32_t)packet.tcp_payload + (packet.tcp_flags & SL_TCP_FIN);
		uint32_t sequence;
		uint32_t at;

		switch (sl_proxy_forward(&proxy, &packet, &sequence)) {
		case SL_PROXY_PASS:
			at = packet.tcp_sequence;
			break;
		case SL_PROXY_SHIFT:
			at = sequence;
			break;
		case SL_PROXY_INSERT:
			at = sequence + h;
			break;
		case SL_PROXY_SYN:
		case SL_PROXY_REFUSE:
		case SL_N_PROXY_ACTIONS:
			continue;
		}
		for (uint32_t k = 0; k < h && n != 0; k++)
			cr_assert_geq(proxy.first + k - at, n, "row %d", i);
	}
}

struct phase_row {
	const char *name;
	uint8_t phase;
	uint8_t flags;
	uint32_t acknowledgement;
	uint8_t phase_after;
	uint32_t to;
};

static const struct phase_row phase_rows[] = {
	{"within the SYN", SL_PROXY_UNSENT, ACK, 1000, SL_PROXY_UNSENT, 1000},
	{"none of the header", SL_PROXY_SENT, ACK, 1001, SL_PROXY_UNSENT, 1001},
	{"part of it", SL_PROXY_SENT, ACK, 1028, SL_PROXY_UNSENT, 1001},
	{"all of it", SL_PROXY_SENT, ACK, 1029, SL_PROXY_ACKED, 1001},
	{"and data", SL_PROXY_SENT, ACK, 1129, SL_PROXY_ACKED, 1101},
	{"data alone", SL_PROXY_UNSENT, ACK, 1129, SL_PROXY_ACKED, 1101},
	{"later", SL_PROXY_ACKED, ACK, 5, SL_PROXY_ACKED, 0xffffffe9u},
	{"RST says nothing of it", SL_PROXY_SENT, ACK | SL_TCP_RST, 1029, SL_PROXY_SENT, 1001},
	{"RST without ACK", SL_PROXY_ACKED, SL_TCP_RST, 0, SL_PROXY_ACKED, 0},
	{"RST to a SYN", SL_PROXY_OPENING, ACK | SL_TCP_RST, 1001, SL_PROXY_OPENING, 1001},
	{"SYN-ACK", SL_PROXY_OPENING, ACK | SL_TCP_SYN, 1001, SL_PROXY_UNSENT, 1001},
	{"SYN-ACK again", SL_PROXY_SENT, ACK | SL_TCP_SYN, 1001, SL_PROXY_SENT, 1001},
	{"SYN-ACK again, late", SL_PROXY_ACKED, ACK | SL_TCP_SYN, 1001, SL_PROXY_SENT, 1001},
	{"SYN-ACK to another SYN", SL_PROXY_SENT, ACK | SL_TCP_SYN, 8, SL_PROXY_UNSENT, 8},
	{"SYN-ACK out of nowhere", SL_PROXY_ACKED, ACK | SL_TCP_SYN, 8, SL_PROXY_ACKED, 8},
	{"beyond belief", SL_PROXY_SENT, ACK, 0x60000000, SL_PROXY_SENT, 0x5fffffe4},
};

Test(proxy, phases)
{
	for (size_t i = 0; i < SL_ARRAY_LEN(phase_rows); i++) {
		const struct phase_row *row = &phase_rows[i];
		struct frame frame = tcp_frame(SL_FAMILY_IPV4, row->flags, 7, row->acknowledgement,
					       NULL, 0, NULL, 0);
		struct sl_proxy proxy = {.first = 1001, .phase = row->phase};
		struct frame expected;
		struct sl_packet packet;

		cr_assert_eq(frame_parse(&frame, &packet), SL_VERDICT_NONE, "%s", row->name);
		sl_proxy_reply(&proxy, &packet, sl_proxy_options(&packet));
		cr_assert_eq(proxy.phase, row->phase_after, "%s: %u", row->name, proxy.phase);
		cr_assert_eq(get32(frame.bytes + frame.l4 + 8), row->to, "%s", row->name);
		expected = finished(&frame);
		assert_same(&frame, &expected, "%s", row->name);
	}
}

Test(proxy, living_flow_begins_anew_when_the_backend_takes_the_new_syn)
{
	struct frame syn = tcp_frame(SL_FAMILY_IPV4, SL_TCP_SYN, 70000, 0, NULL, 0, NULL, 0);
	struct frame syn_ack =
		tcp_frame(SL_FAMILY_IPV4, SL_TCP_SYN | ACK, 5, 70001, NULL, 0, NULL, 0);
	struct sl_proxy proxy = {.first = 1001, .phase = SL_PROXY_ACKED};
	struct sl_packet packet;
	uint32_t sequence;

	cr_assert_eq(frame_parse(&syn_ack, &packet), SL_VERDICT_NONE);
	sl_proxy_reply(&proxy, &packet, sl_proxy_options(&packet));
	cr_assert_eq(proxy.phase, SL_PROXY_ACKED, "a SYN-ACK alone");
	cr_assert_eq(frame_parse(&syn, &packet), SL_VERDICT_NONE);
	cr_assert_eq(sl_proxy_forward(&proxy, &packet, &sequence), SL_PROXY_SYN);
	cr_assert_eq(proxy.phase, SL_PROXY_ACKED, "a SYN alone");
	cr_assert_eq(frame_parse(&syn_ack, &packet), SL_VERDICT_NONE);
	sl_proxy_reply(&proxy, &packet, sl_proxy_options(&packet));
	cr_assert_eq(proxy.phase, SL_PROXY_SENT);
	cr_assert_eq(proxy.first, 70001);
}

Test(proxy, insertion_and_rewrite_go_together)
{
	struct random random = random_seeded();

	for (int i = 0; i < 20000; i++) {
		uint8_t family = families[i & 1];
		struct frame frame = tcp_frame(family, ACK, 1001, 5, NULL, 0, NULL, 30);
		struct sl_rewrite to = {.source_port = (be16_t)random_next(&random),
					.destination_port = (be16_t)random_next(&random)};
		uint8_t addresses[32];
		struct frame expected;
		struct sl_packet packet;

		memcpy(addresses, frame.bytes + 14 + (family == 4 ? 12 : 8), family == 4 ? 8 : 32);
		random_fill(&random, &to.source, family == SL_FAMILY_IPV4 ? 4 : 16);
		random_fill(&random, &to.destination, family == SL_FAMILY_IPV4 ? 4 : 16);
		cr_assert_eq(frame_parse(&frame, &packet), SL_VERDICT_NONE);
		cr_assert(insert(&frame, &packet, 1001));
		sl_nat_rewrite(&packet, &to);
		expected = finished(&frame);
		assert_same(&frame, &expected, "row %d", i);
		cr_assert_neq(read_header(frame.bytes + frame.l4 + 20, 82, family, SL_PROTOCOL_TCP,
					  addresses, 40000, 80),
			      0);
	}
}

Test(proxy, frames_without_room_are_refused)
{
	struct frame frame = tcp_frame(SL_FAMILY_IPV4, ACK, 1001, 5, NULL, 0, NULL, 0);
	struct sl_packet packet;
	uint32_t headers;

	cr_assert_eq(frame_parse(&frame, &packet), SL_VERDICT_NONE);
	headers = sl_proxy_headers(&packet);
	cr_assert_eq(headers, 54);
	cr_assert(!sl_proxy_insert(&packet, frame.bytes + frame.length, &packet.tuple, 1001));
	cr_assert(!sl_proxy_make_room(frame.bytes, frame.bytes + frame.length, &packet, headers));
	cr_assert(!sl_proxy_make_room(frame.bytes, frame.bytes + sizeof(frame.bytes), &packet,
				      SL_PROXY_MAX_HEADERS + 2));
}
