/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* Fragments: RFC 791, 1858, 3128, 5722, 6946, 7112, 8200; faults T-07. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include <sluice/packet/fragment.h>

#include "tests/unit/frames.h"
#include "tests/unit/random.h"

enum {
	LINK = 14,
	UNITS = 64, /* of eight bytes, of the twin's datagrams */
	ID = 0x1234,
};

/* A fragment's frame: of a packet of frame_make(), whose layer-4 bytes are cut at @offset. */
static struct frame fragment_make(uint8_t family, uint8_t protocol, uint16_t offset,
				  uint16_t length, bool is_last)
{
	struct frame whole = frame_make(family, protocol, 150);
	struct frame frame = whole;
	uint8_t *ip = frame.bytes + LINK;
	uint16_t word = (uint16_t)(is_last ? 0 : 1);

	if (family == SL_FAMILY_IPV4) {
		memmove(frame.bytes + LINK + 20, whole.bytes + whole.l4 + offset % 64, length);
		ip[2] = (uint8_t)((20 + length) >> 8);
		ip[3] = (uint8_t)(20 + length);
		ip[4] = ID >> 8;
		ip[5] = ID & 0xff;
		ip[6] = (uint8_t)(word << 5 | offset / 8 >> 8);
		ip[7] = (uint8_t)(offset / 8);
		frame.l4 = LINK + 20;
		memset(ip + 10, 0, 2);
		word = (uint16_t)~frame_fold(frame_sum(ip, 20));
		ip[10] = (uint8_t)(word >> 8);
		ip[11] = (uint8_t)word;
	} else {
		uint8_t header[8] = {
			protocol, 0,        (uint8_t)(offset >> 8), (uint8_t)(offset | word), 0, 0,
			ID >> 8,  ID & 0xff};

		memcpy(frame.bytes + LINK + 40, header, 8);
		memmove(frame.bytes + LINK + 48, whole.bytes + whole.l4 + offset % 64, length);
		ip[4] = (uint8_t)((8 + length) >> 8);
		ip[5] = (uint8_t)(8 + length);
		ip[6] = SL_EXTENSION_FRAGMENT;
		frame.l4 = LINK + 48;
	}
	frame.length = frame.l4 + length;
	return frame;
}

/* In a block of its own, so that ASan sees a read beyond. */
static enum sl_fragment_kind parse(const struct frame *frame, struct sl_packet *packet,
				   struct sl_fragment *fragment)
{
	uint8_t *bytes = malloc(frame->length);
	enum sl_fragment_kind kind;

	memcpy(bytes, frame->bytes, frame->length);
	cr_assert_eq(sl_parse_l3(bytes, bytes + frame->length, packet), SL_VERDICT_PUNT_FRAGMENT);
	kind = sl_fragment_parse(bytes, bytes + frame->length, packet, fragment);
	free(bytes);
	return kind;
}

static const uint8_t families[] = {SL_FAMILY_IPV4, SL_FAMILY_IPV6};
static const uint8_t protocols[] = {SL_PROTOCOL_TCP, SL_PROTOCOL_UDP};

Test(fragment, the_first_shows_the_ports_and_later_ones_borrow_them)
{
	for (int i = 0; i < 4; i++) {
		uint8_t family = families[i / 2];
		uint8_t protocol = protocols[i % 2];
		struct frame whole = frame_make(family, protocol, 150);
		struct frame first = fragment_make(family, protocol, 0, 64, false);
		struct frame later = fragment_make(family, protocol, 64, 100, true);
		struct sl_datagram datagram;
		struct sl_fragment fragment;
		struct sl_packet expected;
		struct sl_packet packet;

		cr_assert_eq(frame_parse(&whole, &expected), SL_VERDICT_NONE);
		cr_assert_eq(parse(&first, &packet, &fragment), SL_FRAGMENT_FIRST);
		cr_assert_eq(fragment.offset, 0);
		cr_assert_eq(fragment.length, 64);
		cr_assert(!fragment.is_last);
		cr_assert_eq(packet.l4_offset, first.l4);
		cr_assert_eq(memcmp(&packet.tuple, &expected.tuple, sizeof(packet.tuple)), 0);
		sl_datagram_begin(&datagram, &packet.tuple, &fragment, 0);
		sl_datagram_show(&datagram, &packet.tuple);
		cr_assert_eq(sl_datagram_add(&datagram, &fragment), SL_FRAGMENT_TAKEN);

		cr_assert_eq(parse(&later, &packet, &fragment), SL_FRAGMENT_LATER);
		cr_assert_eq(fragment.offset, 64);
		cr_assert(fragment.is_last);
		cr_assert_null(packet.ports);
		cr_assert(sl_datagram_has(&datagram, &packet.tuple, &fragment));
		sl_datagram_lend(&datagram, &packet.tuple);
		cr_assert_eq(memcmp(&packet.tuple, &expected.tuple, sizeof(packet.tuple)), 0);
		cr_assert(!sl_datagram_is_whole(&datagram));
		cr_assert_eq(sl_datagram_add(&datagram, &fragment), SL_FRAGMENT_TAKEN);
		cr_assert(sl_datagram_is_whole(&datagram));
		fragment.id ^= 1;
		cr_assert(!sl_datagram_has(&datagram, &packet.tuple, &fragment));
	}
}

/* RFC 1858 and 3128: the ports and the flags stand in the first fragment or nowhere. */
Test(fragment, one_that_ends_within_its_header_is_tiny)
{
	for (int i = 0; i < 4; i++) {
		uint16_t least = protocols[i % 2] == SL_PROTOCOL_TCP ? 24 : 8;

		for (uint16_t length = 8; length <= 32; length += 8) {
			struct frame frame =
				fragment_make(families[i / 2], protocols[i % 2], 0, length, false);
			struct sl_fragment fragment;
			struct sl_packet packet;

			cr_assert_eq(parse(&frame, &packet, &fragment),
				     length < least ? SL_FRAGMENT_TINY : SL_FRAGMENT_FIRST,
				     "%u bytes", length);
		}
	}
}

Test(fragment, lengths_that_lie_are_malformed)
{
	static const struct {
		uint16_t offset;
		uint16_t length;
		bool is_last;
		enum sl_fragment_kind kind;
	} rows[] = {
		{64, 0, false, SL_FRAGMENT_MALFORMED},     {64, 9, false, SL_FRAGMENT_MALFORMED},
		{64, 9, true, SL_FRAGMENT_LATER},          {0, 65, false, SL_FRAGMENT_MALFORMED},
		{65528, 8, true, SL_FRAGMENT_MALFORMED}, /* the ping of death */
		{65528, 100, true, SL_FRAGMENT_MALFORMED}, {65400, 96, false, SL_FRAGMENT_LATER},
	};

	for (size_t i = 0; i < 2 * SL_ARRAY_LEN(rows); i++) {
		struct frame frame =
			fragment_make(families[i % 2], SL_PROTOCOL_UDP, rows[i / 2].offset,
				      rows[i / 2].length, rows[i / 2].is_last);
		struct sl_fragment fragment;
		struct sl_packet packet;

		cr_assert_eq(parse(&frame, &packet, &fragment), rows[i / 2].kind, "row %zu", i);
	}
}

Test(fragment, other_protocols_are_others)
{
	struct frame frame = fragment_make(SL_FAMILY_IPV4, SL_PROTOCOL_UDP, 64, 64, true);
	uint8_t *ip = frame.bytes + LINK;
	struct sl_fragment fragment;
	struct sl_packet packet;
	uint16_t sum;

	ip[9] = SL_PROTOCOL_ICMP;
	memset(ip + 10, 0, 2);
	sum = (uint16_t)~frame_fold(frame_sum(ip, 20));
	ip[10] = (uint8_t)(sum >> 8);
	ip[11] = (uint8_t)sum;
	cr_assert_eq(parse(&frame, &packet, &fragment), SL_FRAGMENT_OTHER);
	/* IPv6: a fragment of a fragment, and a chain that the first one does not have whole. */
	frame = fragment_make(SL_FAMILY_IPV6, SL_EXTENSION_FRAGMENT, 0, 64, false);
	frame.bytes[LINK + 48 + 3] = 1;
	cr_assert_eq(parse(&frame, &packet, &fragment), SL_FRAGMENT_MALFORMED);
	frame = fragment_make(SL_FAMILY_IPV6, SL_EXTENSION_DESTINATION, 0, 8, false);
	frame.bytes[LINK + 48] = SL_PROTOCOL_UDP;
	frame.bytes[LINK + 49] = 0;
	cr_assert_eq(parse(&frame, &packet, &fragment), SL_FRAGMENT_TINY);
	frame.bytes[LINK + 49] = 1;
	cr_assert_eq(parse(&frame, &packet, &fragment), SL_FRAGMENT_MALFORMED);
}

/* T-01: the frame cut at every byte. */
Test(fragment, cut_at_every_byte)
{
	for (int i = 0; i < 8; i++) {
		struct frame frame = fragment_make(families[i / 4], protocols[i / 2 % 2],
						   i % 2 ? 64 : 0, 64, false);

		for (size_t n = 0; n < frame.length; n++) {
			uint8_t *cut = malloc(n != 0 ? n : 1);
			struct sl_packet packet;

			memcpy(cut, frame.bytes, n);
			cr_assert(sl_verdict_is_drop(sl_parse_l3(cut, cut + n, &packet)) ||
				  n <= LINK);
			free(cut);
		}
	}
}

/** What passed, unit by unit: the naive twin of a datagram. */
struct twin {
	bool has[UNITS];
	uint32_t most;
	uint32_t total;
	bool is_refused;
};

static uint32_t count_runs(const struct twin *twin)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < UNITS; i++)
		n += twin->has[i] && (i == 0 || !twin->has[i - 1]);
	return n;
}

static enum sl_fragment_fate twin_add(struct twin *twin, uint32_t begin, uint32_t end, bool is_last)
{
	struct twin after = *twin;
	uint32_t n_known = 0;

	if (twin->is_refused)
		return SL_FRAGMENT_REFUSED;
	for (uint32_t i = begin; i < end; i++) {
		n_known += twin->has[i];
		after.has[i] = true;
	}
	if (twin->total != 0 ? end > twin->total || (end == twin->total && !is_last) ||
				       (is_last && end != twin->total)
			     : is_last && twin->most > end) {
		twin->is_refused = true;
		return SL_FRAGMENT_REFUSED;
	}
	if (n_known == end - begin)
		return SL_FRAGMENT_DUPLICATE;
	if (n_known != 0 || count_runs(&after) > SL_FRAGMENT_MAX_RANGES) {
		twin->is_refused = true;
		return SL_FRAGMENT_REFUSED;
	}
	*twin = after;
	if (end > twin->most)
		twin->most = end;
	if (is_last)
		twin->total = end;
	return SL_FRAGMENT_TAKEN;
}

/* No byte passes twice, whatever comes; and what a fair network delivers, in whichever order, passes. */
Test(fragment, as_a_map_of_all_bytes_says)
{
	struct random random = random_seeded();
	uint32_t n_fates[3] = {0};

	for (int turn = 0; turn < 200000; turn++) {
		struct sl_datagram datagram = {.family = SL_FAMILY_IPV4};
		struct twin twin = {.most = 0};

		for (int i = 0; i < 20; i++) {
			uint32_t begin = (uint32_t)(random_next(&random) % (UNITS - 1));
			uint32_t most = turn % 3 == 0 ? UNITS - begin : 3;
			uint32_t end = begin + 1 + (uint32_t)(random_next(&random) % most);
			bool is_last = random_next(&random) % 16 == 0;
			struct sl_fragment fragment;
			enum sl_fragment_fate fate;

			if (end > UNITS)
				end = UNITS;
			fragment = (struct sl_fragment){.offset = (uint16_t)(begin * 8),
							.length = (uint16_t)((end - begin) * 8),
							.is_last = is_last};
			fate = sl_datagram_add(&datagram, &fragment);
			cr_assert_eq(fate, twin_add(&twin, begin, end, is_last), "turn %d", turn);
			n_fates[fate]++;
		}
		cr_assert(twin.is_refused || datagram.n_ranges == count_runs(&twin));
	}
	cr_assert(n_fates[0] > 100000 && n_fates[1] > 10000 && n_fates[2] > 10000);
}

Test(fragment, sixteen_in_any_order_are_whole)
{
	struct random random = random_seeded();

	for (int turn = 0; turn < 20000; turn++) {
		struct sl_datagram datagram = {.family = SL_FAMILY_IPV6};
		uint8_t order[16];

		for (uint8_t i = 0; i < 16; i++)
			order[i] = i;
		for (uint8_t i = 15; i > 0; i--) {
			uint8_t j = (uint8_t)(random_next(&random) % (i + 1u));
			uint8_t kept = order[i];

			order[i] = order[j];
			order[j] = kept;
		}
		for (int i = 0; i < 16; i++) {
			struct sl_fragment fragment = {.offset = (uint16_t)(order[i] * 64),
						       .length = order[i] == 15 ? 13 : 64,
						       .is_last = order[i] == 15};

			cr_assert(!sl_datagram_is_whole(&datagram));
			cr_assert_eq(sl_datagram_add(&datagram, &fragment), SL_FRAGMENT_TAKEN);
		}
		cr_assert(sl_datagram_is_whole(&datagram));
	}
}
