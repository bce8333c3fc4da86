/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * The PROXY protocol without buffering: every rewrite against a packet made anew, each case that
 * the head of proxy.h names, and two TCP endpoints on a network that loses, repeats and reorders,
 * with a balancer of the real functions between them.
 */
#include <criterion/criterion.h>
#include <string.h>

#include <sluice/packet/nat.h>
#include <sluice/packet/proxy.h>

#include "tests/unit/frames.h"
#include "tests/unit/random.h"

static const uint8_t families[] = {SL_FAMILY_IPV4, SL_FAMILY_IPV6};

static void put32(uint8_t *at, uint32_t value)
{
	for (int i = 0; i < 4; i++)
		at[i] = (uint8_t)(value >> (24 - 8 * i));
}

static uint32_t get32(const uint8_t *at)
{
	return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

/* A TCP frame with what is said; @options of @n_options bytes, a multiple of four. */
static struct frame tcp_frame(uint8_t family, uint8_t flags, uint32_t sequence,
			      uint32_t acknowledgement, const uint8_t *options, size_t n_options,
			      const uint8_t *payload, size_t n_payload)
{
	struct frame frame = frame_make(family, SL_PROTOCOL_TCP, n_options + n_payload);
	uint8_t *tcp = frame.bytes + frame.l4;

	put32(tcp + 4, sequence);
	put32(tcp + 8, acknowledgement);
	tcp[12] = (uint8_t)((20 + n_options) / 4 << 4);
	tcp[13] = flags;
	tcp[14] = 0x20;
	if (n_options != 0)
		memcpy(tcp + 20, options, n_options);
	if (n_payload != 0 && payload != NULL)
		memcpy(tcp + 20 + n_options, payload, n_payload);
	frame_finish(&frame);
	return frame;
}

/* What an engine does with the bytes: room in front, headers moved down, the header written. */
static bool insert(struct frame *frame, struct sl_packet *packet, uint32_t sequence)
{
	uint32_t length = sl_proxy_length(packet->tuple.family);
	uint32_t headers = sl_proxy_headers(packet);
	struct sl_tuple client = packet->tuple;

	memmove(frame->bytes + length, frame->bytes, frame->length);
	memset(frame->bytes, 0xee, length);
	frame->length += length;
	cr_assert_leq(frame->length, sizeof(frame->bytes));
	if (!sl_proxy_make_room(frame->bytes, frame->bytes + frame->length, packet, headers))
		return false;
	return sl_proxy_insert(packet, frame->bytes + frame->length, &client, sequence);
}

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

/*
 * A strict reader of the header, from proxy-protocol.txt 2.2: its length, or 0 if it is not one that
 * a proxy may send for this connection.
 */
static size_t read_header(const uint8_t *bytes, size_t size, uint8_t family, uint8_t protocol,
			  const uint8_t *addresses, uint16_t source_port, uint16_t destination_port)
{
	static const uint8_t signature[12] = {0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d,
					      0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a};
	size_t n = family == SL_FAMILY_IPV4 ? 8 : 32;
	size_t length;

	if (size < 16 || memcmp(bytes, signature, 12) != 0)
		return 0;
	if (bytes[12] >> 4 != 2 || (bytes[12] & 15) != 1) /* version, PROXY */
		return 0;
	if (bytes[13] >> 4 != (family == SL_FAMILY_IPV4 ? 1 : 2) ||
	    (bytes[13] & 15) != (protocol == SL_PROTOCOL_TCP ? 1 : 2))
		return 0;
	length = (size_t)(bytes[14] << 8 | bytes[15]);
	if (length != n + 4 || 16 + length > size)
		return 0;
	if (memcmp(bytes + 16, addresses, n) != 0)
		return 0;
	if ((bytes[16 + n] << 8 | bytes[17 + n]) != source_port ||
	    (bytes[18 + n] << 8 | bytes[19 + n]) != destination_port)
		return 0;
	return 16 + length;
}

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

/*
 * The simulation. Two TCPs, simple but whole: handshake, retransmission, reassembly, SACK, keepalive
 * and zero-window probes, FIN; between them the balancer, and on both of its sides a network that
 * loses, repeats and reorders. All packets are frames with true checksums, verified at each end.
 * The senders never repeat what was SACKed, so a block translated wrongly leaves a hole for ever.
 */
enum {
	SIM_MSS = 48,
	SIM_BYTES = 700,
	SIM_FLIGHT = 256,
	SIM_TIMEOUT = 40,
	SIM_TICKS = 60000,
};

enum sim_state { SIM_CLOSED, SIM_LISTEN, SIM_SYN_SENT, SIM_SYN_RECEIVED, SIM_OPEN, SIM_RESET };

struct sim_end {
	const char *name;
	enum sim_state state;
	uint32_t tx_first; /* number of the first byte sent */
	uint32_t rx_first;
	uint32_t una;     /* bytes acknowledged, FIN included */
	uint32_t next;    /* bytes sent at least once, FIN included */
	uint32_t n_tx;    /* bytes to send; then FIN */
	uint32_t n_ready; /* of which the application gave so many so far */
	uint32_t n_rx;    /* bytes received in order */
	uint32_t window;  /* that the peer gave */
	uint32_t buffer;  /* that we give */
	uint32_t timer;
	uint32_t idle;
	uint8_t tx[SIM_BYTES];
	uint8_t rx[SIM_BYTES + 128];
	bool has[SIM_BYTES + 128];
	bool sacked[SIM_BYTES];
	bool is_finished; /* FIN may be sent */
	bool fin_known;
	uint32_t fin_at;
	bool has_fin;
	bool must_ack;
	bool probes_with_rubbish;
	bool never_probes;
	bool has_timestamps;
	uint32_t dsack_from;
	uint32_t dsack_to;
};

struct sim_frame {
	struct frame frame;
	uint32_t due;
	bool is_used;
	bool to_backend;
	bool is_past_balancer;
};

struct sim {
	struct random random;
	struct sim_end client;
	struct sim_end backend;
	struct sim_frame flight[SIM_FLIGHT];
	uint32_t n_flight; /* slots that were ever in use: the first ones */
	struct sl_proxy proxy;
	uint8_t family;
	uint32_t h;
	uint32_t now;
	uint32_t loss; /* of 256 */
	uint32_t repeat;
	uint32_t jitter;
	uint32_t run;
	uint32_t n_inserted;
	uint32_t due_last[4];
	bool is_in_order;
	bool loses_headers;
};

static uint32_t sim_draw(struct sim *sim, uint32_t n)
{
	return (uint32_t)(random_next(&sim->random) >> 16) % n;
}

static void sim_launch(struct sim *sim, const struct frame *frame, bool to_backend, bool is_past)
{
	uint32_t n = 1;

	if (sim_draw(sim, 256) < sim->loss)
		return;
	if (sim_draw(sim, 256) < sim->repeat)
		n = 2;
	for (uint32_t k = 0; k < SIM_FLIGHT && n > 0; k++) {
		struct sim_frame *slot = &sim->flight[k];
		uint32_t *last = &sim->due_last[to_backend * 2 + is_past];

		if (slot->is_used)
			continue;
		slot->frame = *frame;
		slot->due = sim->now + 1 + sim_draw(sim, sim->jitter);
		if (sim->is_in_order) {
			slot->due = slot->due > *last ? slot->due : *last + 1;
			*last = slot->due;
		}
		slot->is_used = true;
		sim->n_flight = k < sim->n_flight ? sim->n_flight : k + 1;
		slot->to_backend = to_backend;
		slot->is_past_balancer = is_past;
		n--;
	}
}

/* Writes a SACK option of @limit edges at most, a repetition first; the bytes it has. */
static size_t sim_sack(struct sim_end *end, uint8_t *option, size_t limit)
{
	uint32_t edges[8];
	size_t n = 0;

	if (end->dsack_from != end->dsack_to) {
		edges[n++] = end->rx_first + end->dsack_from;
		edges[n++] = end->rx_first + end->dsack_to;
		end->dsack_from = end->dsack_to = 0;
	}
	for (uint32_t k = end->n_rx; k < sizeof(end->has) && n < limit; k++) {
		uint32_t from = k;

		if (!end->has[k])
			continue;
		while (k < sizeof(end->has) && end->has[k])
			k++;
		edges[n++] = end->rx_first + from;
		edges[n++] = end->rx_first + k;
	}
	if (n == 0)
		return 0;
	option[0] = 5;
	option[1] = (uint8_t)(2 + 4 * n);
	for (size_t k = 0; k < n; k++)
		put32(option + 2 + 4 * k, edges[k]);
	return 2 + 4 * n;
}

static size_t sim_options(struct sim *sim, struct sim_end *end, bool is_syn, uint8_t *options)
{
	size_t n = 0;

	memset(options, 1, 40);
	if (is_syn) {
		memcpy(options, (const uint8_t[]){2, 4, 5, 0xb4, 34, 2, 30, 4, 0, 1}, 10);
		return 12;
	}
	if (end->has_timestamps) {
		memcpy(options, (const uint8_t[]){1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8}, 12);
		n = 12;
	}
	n += sim_draw(sim, 2); /* at an even or an odd place */
	n += sim_sack(end, options + n, end->has_timestamps ? 4 : 6);
	return (n + 3) / 4 * 4;
}

static void sim_send(struct sim *sim, struct sim_end *end, uint8_t flags, uint32_t sequence,
		     const uint8_t *payload, uint32_t n_payload)
{
	uint8_t options[40];
	size_t n_options = sim_options(sim, end, flags & SL_TCP_SYN, options);
	uint32_t acknowledgement = end->rx_first + end->n_rx + end->has_fin;
	struct frame frame;

	if (flags & SL_TCP_RST)
		n_options = 0;
	frame = tcp_frame(sim->family, flags, sequence, flags & SL_TCP_ACK ? acknowledgement : 0,
			  options, n_options, payload, n_payload);
	frame.bytes[frame.l4 + 14] = (uint8_t)(end->buffer >> 8);
	frame.bytes[frame.l4 + 15] = (uint8_t)end->buffer;
	if (end == &sim->backend) {
		uint8_t ports[4];

		memcpy(ports, frame.bytes + frame.l4, 4);
		memcpy(frame.bytes + frame.l4, ports + 2, 2);
		memcpy(frame.bytes + frame.l4 + 2, ports, 2);
	}
	frame_finish(&frame);
	end->must_ack = false;
	sim_launch(sim, &frame, end == &sim->client, false);
}

/* Sends the segment that begins with byte @at, or FIN. */
static void sim_send_data(struct sim *sim, struct sim_end *end, uint32_t at, uint32_t limit)
{
	uint32_t n = 0;
	uint8_t flags = SL_TCP_ACK;

	while (at + n < end->n_ready && n < SIM_MSS && n < limit && !end->sacked[at + n])
		n++;
	if (at + n == end->n_tx && end->is_finished && n < limit)
		flags |= SL_TCP_FIN;
	sim_send(sim, end, flags, end->tx_first + at, end->tx + at, n);
	if (at + n + !!(flags & SL_TCP_FIN) > end->next)
		end->next = at + n + !!(flags & SL_TCP_FIN);
}

static void sim_tick(struct sim *sim, struct sim_end *end)
{
	uint32_t all = end->n_ready + (end->is_finished && end->n_ready == end->n_tx);

	end->timer++;
	end->idle++;
	if (end->state == SIM_SYN_SENT || end->state == SIM_SYN_RECEIVED) {
		if (end->timer >= SIM_TIMEOUT) {
			end->timer = 0;
			sim_send(sim, end,
				 end->state == SIM_SYN_SENT ? SL_TCP_SYN : SL_TCP_SYN | SL_TCP_ACK,
				 end->tx_first - 1, NULL, 0);
		}
		return;
	}
	if (end->state != SIM_OPEN)
		return;
	if (end->una < end->next && end->timer >= SIM_TIMEOUT) {
		uint32_t at = end->una;

		/* Everything the peer does not have; the window may have shrunk to a probe. */
		end->timer = 0;
		for (int n = 0; n < 4 && at < end->next; n++) {
			while (at < end->n_tx && end->sacked[at])
				at++;
			if (at >= end->next)
				break;
			sim_send_data(sim, end, at, end->window != 0 ? SIM_MSS : 1);
			at += SIM_MSS;
		}
		return;
	}
	if (end->next < all && sim_draw(sim, 3) == 0) {
		uint32_t in_flight = end->next - end->una;

		if (in_flight < end->window) {
			if (end->una == end->next)
				end->timer = 0;
			sim_send_data(sim, end, end->next, end->window - in_flight);
			return;
		}
	}
	if (!end->never_probes && end->idle > 3 * SIM_TIMEOUT && end->una == end->next) {
		bool has_rubbish = end->probes_with_rubbish && sim_draw(sim, 2);

		/* Keepalive, or a probe of the window. */
		end->idle = 0;
		sim_send(sim, end, SL_TCP_ACK, end->tx_first + end->una - 1, (const uint8_t *)"?",
			 has_rubbish);
		return;
	}
	if (end->must_ack && sim_draw(sim, 2))
		sim_send(sim, end, SL_TCP_ACK, end->tx_first + end->next, NULL, 0);
}

static void sim_take_options(struct sim *sim, struct sim_end *end, const uint8_t *tcp)
{
	size_t n = (size_t)(tcp[12] >> 4) * 4;
	bool is_syn = tcp[13] & SL_TCP_SYN;

	for (size_t at = 20; at < n && tcp[at] != 0;) {
		if (tcp[at] == 1) {
			at++;
			continue;
		}
		cr_assert(tcp[at] != 34 && tcp[at] != 30, "run %u: unwanted option", sim->run);
		if (tcp[at] == 2 && end == &sim->client)
			cr_assert_eq(tcp[at + 2] << 8 | tcp[at + 3], 1460 - (int)sim->h);
		for (size_t k = at + 2; !is_syn && tcp[at] == 5 && k < at + tcp[at + 1]; k += 8) {
			uint32_t from = get32(tcp + k) - end->tx_first;
			uint32_t to = get32(tcp + k + 4) - end->tx_first;

			/* Blocks below what is acknowledged, or empty, tell a sender nothing. */
			if ((int32_t)from < (int32_t)end->una || (int32_t)to <= (int32_t)from)
				continue;
			cr_assert_leq(to, end->next, "run %u: SACK of what was not sent", sim->run);
			for (uint32_t byte = from; byte < to && byte < end->n_tx; byte++)
				end->sacked[byte] = true;
		}
		at += tcp[at + 1];
	}
}

static void sim_take_bytes(struct sim *sim, struct sim_end *end, const uint8_t *tcp,
			   uint32_t n_payload)
{
	const uint8_t *payload = tcp + (size_t)(tcp[12] >> 4) * 4;
	int32_t from = (int32_t)(get32(tcp + 4) - end->rx_first);
	uint32_t limit = end->n_rx + end->buffer;

	if (from < (int32_t)end->n_rx && n_payload != 0 && from >= 0) {
		end->dsack_from = (uint32_t)from;
		end->dsack_to = (uint32_t)from + n_payload < end->n_rx ? (uint32_t)from + n_payload
								       : end->n_rx;
	}
	for (uint32_t k = 0; k < n_payload; k++) {
		int32_t at = from + (int32_t)k;

		/* Behind FIN stands nothing but a keepalive's rubbish. */
		if (end->has_fin || at < (int32_t)end->n_rx || (uint32_t)at >= limit ||
		    (uint32_t)at >= sizeof(end->rx))
			continue;
		if (end->has[at])
			cr_assert_eq(end->rx[at], payload[k], "run %u: %s has two bytes %d",
				     sim->run, end->name, at);
		end->rx[at] = payload[k];
		end->has[at] = true;
	}
	if (tcp[13] & SL_TCP_FIN) {
		int32_t at = from + (int32_t)n_payload;

		if (end->fin_known)
			cr_assert_eq((uint32_t)at, end->fin_at, "run %u: %s, FIN at %d", sim->run,
				     end->name, at);
		end->fin_known = true;
		end->fin_at = (uint32_t)at;
	}
	while (end->n_rx < sizeof(end->has) && end->has[end->n_rx])
		end->n_rx++;
	if (end->fin_known && end->n_rx == end->fin_at)
		end->has_fin = true;
	if (n_payload != 0 || (tcp[13] & SL_TCP_FIN) || from < (int32_t)end->n_rx)
		end->must_ack = true;
}

static void sim_take_reset(struct sim *sim, struct sim_end *end, uint32_t sequence)
{
	uint32_t ahead = sequence - (end->rx_first + end->n_rx + end->has_fin);

	if (ahead == 0)
		end->state = SIM_RESET;
	else if (ahead < 0xffff) /* RFC 5961 3.2 */
		sim_send(sim, end, SL_TCP_ACK, end->tx_first + end->next, NULL, 0);
}

static void sim_take(struct sim *sim, struct sim_end *end, const struct frame *frame)
{
	const uint8_t *tcp = frame->bytes + frame->l4;
	uint8_t flags = tcp[13];
	uint32_t sequence = get32(tcp + 4);
	uint32_t acknowledgement = get32(tcp + 8);
	size_t n_ip = frame->length - frame->l4 - (size_t)(tcp[12] >> 4) * 4;

	cr_assert_eq(frame_l4_sum(frame), 0xffff, "run %u: checksum", sim->run);
	if (end->state == SIM_LISTEN && flags == SL_TCP_SYN) {
		end->state = SIM_SYN_RECEIVED;
		end->rx_first = sequence + 1;
		end->timer = SIM_TIMEOUT;
		sim_take_options(sim, end, tcp);
		return;
	}
	if (end->state == SIM_CLOSED && !(flags & SL_TCP_RST) && (flags & SL_TCP_ACK)) {
		sim_send(sim, end, SL_TCP_RST, acknowledgement, NULL, 0);
		return;
	}
	if (end->state == SIM_SYN_SENT && (flags & SL_TCP_SYN) && (flags & SL_TCP_ACK) &&
	    acknowledgement == end->tx_first) {
		end->state = SIM_OPEN;
		end->rx_first = sequence + 1;
		end->window = (uint32_t)(tcp[14] << 8 | tcp[15]);
		sim_take_options(sim, end, tcp);
		sim_send(sim, end, SL_TCP_ACK, end->tx_first, NULL, 0);
		return;
	}
	if (end->state != SIM_OPEN && end->state != SIM_SYN_RECEIVED)
		return;
	if (flags & SL_TCP_SYN) {
		end->must_ack = true;
		return;
	}
	if (flags & SL_TCP_RST) {
		sim_take_reset(sim, end, sequence);
		return;
	}
	if (!(flags & SL_TCP_ACK))
		return;
	if (end->state == SIM_SYN_RECEIVED) {
		if ((int32_t)(sequence - end->rx_first) < 0)
			return;
		end->state = SIM_OPEN;
	}
	if ((int32_t)(acknowledgement - end->tx_first - end->next) > 0)
		cr_assert_fail("run %u: %s: acknowledged what was not sent", sim->run, end->name);
	if ((int32_t)(acknowledgement - end->tx_first - end->una) > 0) {
		end->una = acknowledgement - end->tx_first;
		end->timer = 0;
	}
	if ((int32_t)(acknowledgement - end->tx_first - end->una) >= 0)
		end->window = (uint32_t)(tcp[14] << 8 | tcp[15]);
	end->idle = 0;
	sim_take_options(sim, end, tcp);
	sim_take_bytes(sim, end, tcp, (uint32_t)n_ip);
}

static void sim_balance(struct sim *sim, struct sim_frame *slot)
{
	struct frame frame = slot->frame;
	struct sl_packet packet;
	uint32_t sequence;

	cr_assert_eq(frame_parse(&frame, &packet), SL_VERDICT_NONE);
	if (!slot->to_backend) {
		sl_proxy_reply(&sim->proxy, &packet, sl_proxy_options(&packet));
		sim_launch(sim, &frame, false, true);
		return;
	}
	switch (sl_proxy_forward(&sim->proxy, &packet, &sequence)) {
	case SL_PROXY_PASS:
		break;
	case SL_PROXY_SYN:
		sl_proxy_syn(&packet, sl_proxy_options(&packet), 0);
		break;
	case SL_PROXY_SHIFT:
		sl_proxy_shift(&packet, sequence);
		break;
	case SL_PROXY_INSERT:
		cr_assert(insert(&frame, &packet, sequence));
		sl_proxy_sent(&sim->proxy);
		sim->n_inserted++;
		if (sim->loses_headers && sim_draw(sim, 2))
			return;
		break;
	case SL_PROXY_REFUSE:
	case SL_N_PROXY_ACTIONS:
		cr_assert_fail("run %u: refused", sim->run);
	}
	sim_launch(sim, &frame, true, true);
}

static void sim_deliver(struct sim *sim)
{
	for (uint32_t k = 0; k < sim->n_flight; k++) {
		struct sim_frame slot;

		if (!sim->flight[k].is_used || sim->flight[k].due > sim->now)
			continue;
		slot = sim->flight[k];
		sim->flight[k].is_used = false;
		if (!slot.is_past_balancer)
			sim_balance(sim, &slot);
		else
			sim_take(sim, slot.to_backend ? &sim->backend : &sim->client, &slot.frame);
	}
}

static void sim_start(struct sim *sim, uint32_t run, uint64_t seed)
{
	memset(sim, 0, sizeof(*sim));
	sim->run = run;
	sim->random.state = seed * 2654435761u + (uint64_t)run * 0x9e3779b97f4a7c15u + 1;
	sim->family = families[run & 1];
	sim->h = sl_proxy_length(sim->family);
	sim->proxy.phase = SL_PROXY_OPENING;
	sim->client.name = "client";
	sim->backend.name = "backend";
	sim->client.state = SIM_SYN_SENT;
	sim->client.timer = SIM_TIMEOUT;
	sim->backend.state = SIM_LISTEN;
	/* Now and then numbers wrap within the header or the stream. */
	sim->client.tx_first = sim_draw(sim, 2) ? (uint32_t)random_next(&sim->random)
						: (uint32_t)sim_draw(sim, 200) - 100;
	sim->backend.tx_first = (uint32_t)random_next(&sim->random);
	sim->client.buffer = sim->backend.buffer = 1000;
	sim->jitter = 1 + sim_draw(sim, 30);
	random_fill(&sim->random, sim->client.tx, SIM_BYTES);
	random_fill(&sim->random, sim->backend.tx, SIM_BYTES);
	sim->client.has_timestamps = sim_draw(sim, 2);
	sim->backend.has_timestamps = sim_draw(sim, 2);
	sim->client.probes_with_rubbish = sim_draw(sim, 2);
	sim->backend.never_probes = sim_draw(sim, 2);
}

/* What the applications do: who speaks first, when, and small or shut windows for a while. */
static void sim_applications(struct sim *sim, uint32_t kind, uint32_t shut_until)
{
	bool has_header = sim->backend.n_rx >= sim->h;
	bool has_greeting = sim->client.n_rx != 0 || sim->client.has_fin;

	sim->backend.buffer = sim->now < shut_until ? (kind & 4 ? 0 : 20) : 1000;
	/* A backend of this protocol waits for the header before it says a word. */
	if (has_header) {
		sim->backend.n_ready = sim->backend.n_tx;
		sim->backend.is_finished = true;
	}
	if (!(kind & 1) || has_greeting) {
		sim->client.n_ready = sim->client.n_tx;
		sim->client.is_finished = true;
	}
}

static bool sim_is_done(const struct sim *sim)
{
	return sim->client.una == sim->client.n_tx + 1 &&
	       sim->backend.una == sim->backend.n_tx + 1 && sim->client.has_fin &&
	       sim->backend.has_fin;
}

Test(proxy, streams_arrive_whole_through_loss_repetition_and_reordering)
{
	static struct sim sim;
	uint64_t n_inserted = 0;
	uint32_t longest = 0;

	for (uint32_t run = 0; run < 10000; run++) {
		uint32_t kind;
		uint32_t shut_until;
		uint8_t addresses[32];
		struct frame any;

		sim_start(&sim, run, 11);
		kind = sim_draw(&sim, 8);
		sim.loss = sim_draw(&sim, 4) ? sim_draw(&sim, 100) : 0;
		sim.repeat = sim_draw(&sim, 60);
		sim.client.n_tx = sim_draw(&sim, 4) ? sim_draw(&sim, SIM_BYTES) : 0;
		sim.backend.n_tx = sim_draw(&sim, 4) ? sim_draw(&sim, SIM_BYTES) : 0;
		shut_until = kind & 2 ? sim_draw(&sim, 600) : 0;
		sim_applications(&sim, kind, shut_until);
		for (; sim.now < SIM_TICKS && !sim_is_done(&sim); sim.now++) {
			sim_applications(&sim, kind, shut_until);
			sim_deliver(&sim);
			sim_tick(&sim, &sim.client);
			sim_tick(&sim, &sim.backend);
		}
		cr_assert(sim_is_done(&sim),
			  "run %u kind %u: client %u/%u rx %u, backend %u/%u rx %u, phase %u", run,
			  kind, sim.client.una, sim.client.n_tx, sim.client.n_rx, sim.backend.una,
			  sim.backend.n_tx, sim.backend.n_rx, sim.proxy.phase);
		any = frame_make(sim.family, SL_PROTOCOL_TCP, 0);
		memcpy(addresses, any.bytes + 14 + (sim.family == 4 ? 12 : 8),
		       sim.family == 4 ? 8 : 32);
		cr_assert_eq(read_header(sim.backend.rx, sim.backend.n_rx, sim.family,
					 SL_PROTOCOL_TCP, addresses, 40000, 80),
			     sim.h, "run %u", run);
		cr_assert_eq(sim.backend.n_rx, sim.h + sim.client.n_tx, "run %u", run);
		cr_assert_arr_eq(sim.backend.rx + sim.h, sim.client.tx, sim.client.n_tx, "run %u",
				 run);
		cr_assert_eq(sim.client.n_rx, sim.backend.n_tx, "run %u", run);
		cr_assert_arr_eq(sim.client.rx, sim.backend.tx, sim.backend.n_tx, "run %u", run);
		n_inserted += sim.n_inserted;
		longest = sim.now > longest ? sim.now : longest;
	}
	fprintf(stderr, "# %llu headers in 10000 connections, the longest of %u ticks\n",
		(unsigned long long)n_inserted, longest);
}

/* A client that gives up right after the handshake, or a little later: the backend must hear it. */
Test(proxy, resets_end_the_connection_at_the_backend)
{
	static struct sim sim;

	for (uint32_t run = 0; run < 4000; run++) {
		uint32_t left;

		sim_start(&sim, run, 12);
		sim.is_in_order = true;
		sim.loses_headers = run % 4 == 0;
		sim.backend.never_probes = true;
		sim.client.n_tx = sim_draw(&sim, 2) ? 0 : sim_draw(&sim, 200);
		sim.client.n_ready = sim.client.n_tx;
		left = sim_draw(&sim, 60);
		for (; sim.now < SIM_TICKS && sim.backend.state != SIM_RESET; sim.now++) {
			sim_deliver(&sim);
			if (sim.client.state == SIM_OPEN && left-- == 0) {
				sim.client.state = SIM_CLOSED;
				sim_send(&sim, &sim.client, SL_TCP_RST,
					 sim.client.tx_first + sim.client.next, NULL, 0);
			}
			sim_tick(&sim, &sim.client);
			sim_tick(&sim, &sim.backend);
		}
		cr_assert_eq(sim.backend.state, SIM_RESET, "run %u: state %d, phase %u", run,
			     (int)sim.backend.state, sim.proxy.phase);
	}
}
