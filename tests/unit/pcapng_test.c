/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* dataplane/pcapng.h byte for byte; the bytes are those of the draft (draft-ietf-opsawg-pcapng). */
#include <criterion/criterion.h>
#include <string.h>

#include "dataplane/pcapng.h"
#include "tests/unit/random.h"

enum {
	ROOM = 1024,
};

static void expect_block(const uint8_t *block, size_t length, const uint8_t *wanted, size_t n)
{
	cr_assert_eq(length, n, "%zu bytes, not %zu", length, n);
	for (size_t i = 0; i < n; i++)
		cr_assert_eq(block[i], wanted[i], "byte %zu: %02x, not %02x", i, block[i],
			     wanted[i]);
}

Test(pcapng, a_section_says_its_byte_order_and_who_wrote_it)
{
	static const uint8_t wanted[] = {
		0x0a, 0x0d, 0x0d, 0x0a, 44,   0,    0,    0,    /* type, length */
		0x4d, 0x3c, 0x2b, 0x1a, 1,    0,    0,    0,    /* byte order, version */
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, /* length of the section: unknown */
		4,    0,    6,    0,    's',  'l',  'u',  'i',  'c', 'e', 0, 0, /* shb_userappl */
		0,    0,    0,    0,    44,   0,    0,    0, /* end of options, length */
	};
	uint8_t block[ROOM];

	expect_block(block, pcapng_section(block, ROOM, "sluice"), wanted, sizeof(wanted));
}

Test(pcapng, an_interface_counts_in_nanoseconds)
{
	static const uint8_t wanted[] = {
		1, 0, 0, 0, 40,  0,   0,   0,   /* type, length */
		1, 0, 0, 0, 0,   1,   0,   0,   /* Ethernet, reserved; snaplen */
		2, 0, 4, 0, 'e', 't', 'h', '1', /* if_name */
		9, 0, 1, 0, 9,   0,   0,   0,   /* if_tsresol */
		0, 0, 0, 0, 40,  0,   0,   0,
	};
	uint8_t block[ROOM];

	expect_block(block, pcapng_interface(block, ROOM, "eth1", 256), wanted, sizeof(wanted));
}

Test(pcapng, a_packet_has_its_comment_and_direction)
{
	static const uint8_t bytes[] = {0xa1, 0xa2, 0xa3, 0xa4, 0xa5};
	static const uint8_t wanted[] = {
		6,    0,    0,    0,    60,   0,    0,    0,    /* type, length */
		3,    0,    0,    0,    0x67, 0x45, 0x23, 0x01, /* interface, time: high */
		0xef, 0xcd, 0xab, 0x89, 5,    0,    0,    0,    /* low, bytes kept */
		99,   0,    0,    0,    0xa1, 0xa2, 0xa3, 0xa4,
		0xa5, 0,    0,    0,                         /* bytes there were */
		1,    0,    2,    0,    'o',  'k',  0,    0, /* opt_comment */
		2,    0,    4,    0,    2,    0,    0,    0, /* epb_flags: outbound */
		0,    0,    0,    0,    60,   0,    0,    0,
	};
	const struct pcapng_packet packet = {
		.interface = 3,
		.time_ns = 0x0123456789abcdef,
		.length = 99,
		.n_bytes = sizeof(bytes),
		.bytes = bytes,
		.direction = PCAPNG_OUTBOUND,
		.comment = "ok",
	};
	uint8_t block[ROOM];

	expect_block(block, pcapng_packet(block, ROOM, &packet), wanted, sizeof(wanted));
}

Test(pcapng, statistics_tell_what_was_lost)
{
	static const uint8_t wanted[] = {
		5, 0, 0, 0, 76, 0, 0, 0,             /* type, length */
		1, 0, 0, 0, 0,  0, 0, 0, 9, 0, 0, 0, /* interface, time */
		2, 0, 8, 0, 0,  0, 0, 0, 7, 0, 0, 0, /* isb_starttime: high half first */
		3, 0, 8, 0, 0,  0, 0, 0, 9, 0, 0, 0, /* isb_endtime */
		4, 0, 8, 0, 5,  0, 0, 0, 0, 0, 0, 0, /* isb_ifrecv: a number */
		5, 0, 8, 0, 2,  0, 0, 0, 0, 0, 0, 0, /* isb_ifdrop */
		0, 0, 0, 0, 76, 0, 0, 0,
	};
	const struct pcapng_statistics statistics = {
		.interface = 1, .begin_ns = 7, .end_ns = 9, .n_received = 5, .n_dropped = 2};
	uint8_t block[ROOM];

	expect_block(block, pcapng_statistics(block, ROOM, &statistics), wanted, sizeof(wanted));
}

/* A block is whole or not there, whatever it holds, and its length stands at both ends. */
Test(pcapng, a_block_without_room_is_none)
{
	struct random random = random_seeded();

	for (int round = 0; round < 20000; round++) {
		uint8_t bytes[256], block[ROOM];
		char comment[2 * PCAPNG_MAX_TEXT];
		size_t n_text = random_next(&random) % sizeof(comment);
		const struct pcapng_packet packet = {
			.n_bytes = (uint32_t)(random_next(&random) % sizeof(bytes)),
			.bytes = bytes,
			.direction = PCAPNG_INBOUND,
			.comment = comment,
		};
		size_t n_comment = n_text < PCAPNG_MAX_TEXT ? n_text : PCAPNG_MAX_TEXT;
		size_t whole =
			32 + (packet.n_bytes + 3) / 4 * 4 + 4 + (n_comment + 3) / 4 * 4 + 8 + 4;
		size_t room = random_next(&random) % (whole + 40);
		uint32_t first = 0, last = 0;
		size_t length;

		random_fill(&random, bytes, sizeof(bytes));
		memset(comment, 'c', sizeof(comment));
		comment[n_text] = '\0';
		memset(block, 0x5a, sizeof(block));
		length = pcapng_packet(block, room, &packet);
		cr_assert_eq(length, room < whole ? 0 : whole);
		cr_assert_leq(whole, PCAPNG_PACKET_BYTES + packet.n_bytes + 3);
		for (size_t i = room; i < ROOM; i++)
			cr_assert_eq(block[i], 0x5a, "byte %zu of %zu", i, room);
		if (length == 0)
			continue;
		memcpy(&first, block + 4, sizeof(first));
		memcpy(&last, block + length - 4, sizeof(last));
		cr_assert(first == length && last == length);
		cr_assert_eq(memcmp(block + 28, bytes, packet.n_bytes), 0);
	}
}
