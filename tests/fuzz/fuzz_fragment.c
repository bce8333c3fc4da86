/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * Fuzz target: fragments of one datagram, one after the other, as faults F2 asks. Each is 5 bytes, the
 * word of offset and flags, the payload's length and two bytes of its layer-4 header, in a frame of
 * IPv4 or IPv6 by the input's first byte; the second one says where the frame is cut. Invariants: no
 * byte of the datagram passes twice, none beyond its end, and nothing after it was refused; what is
 * whole has passed from the first byte to the last; parsing stays within the frame.
 */
#include <stdlib.h>
#include <string.h>

#include <sluice/packet/fragment.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(condition)                                                                         \
	do {                                                                                       \
		if (!(condition))                                                                  \
			abort();                                                                   \
	} while (0)

enum {
	BYTES_EACH = 5,
	LINK = 14,
};

/** What has passed of the datagram, byte by byte. */
static uint8_t passed[1 << 16];

static void put16(uint8_t *at, uint32_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static void finish_ipv4(uint8_t *ip)
{
	uint32_t sum = 0;

	for (int i = 0; i < 20; i += 2)
		sum += (uint32_t)ip[i] << 8 | ip[i + 1];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	put16(ip + 10, ~sum);
}

/* The frame of one fragment; its length. */
static size_t build(uint8_t *frame, bool is_ipv4, const uint8_t *given)
{
	uint32_t word = (uint32_t)given[0] << 8 | given[1];
	uint32_t length = given[2];
	uint8_t *ip = frame + LINK;
	uint8_t *l4 = ip + (is_ipv4 ? 20 : 48);

	memset(frame, 0, LINK + 48 + 256);
	memset(frame, 2, 12);
	put16(frame + 12, is_ipv4 ? SL_ETHERTYPE_IPV4 : SL_ETHERTYPE_IPV6);
	if (is_ipv4) {
		ip[0] = 0x45;
		put16(ip + 2, 20 + length);
		put16(ip + 6, word & 0x3fff);
		ip[8] = 64;
		ip[9] = given[3] & 1 ? SL_PROTOCOL_TCP : SL_PROTOCOL_UDP;
		memcpy(ip + 12, "\xc6\x33\x64\x07\xcb\x00\x71\x0a", 8);
		finish_ipv4(ip);
	} else {
		ip[0] = 0x60;
		put16(ip + 4, 8 + length);
		ip[6] = SL_EXTENSION_FRAGMENT;
		ip[7] = 64;
		ip[8] = 0x20;
		ip[24] = 0x20;
		ip[39] = 1;
		ip[40] = given[3];
		put16(ip + 42, word);
	}
	memset(l4, given[4], length);
	return (size_t)(l4 + length - frame);
}

static void pass(struct sl_datagram *datagram, const struct sl_fragment *fragment, bool *is_refused)
{
	uint32_t end = (uint32_t)fragment->offset + fragment->length;
	enum sl_fragment_fate fate = sl_datagram_add(datagram, fragment);

	REQUIRE(end <= SL_FRAGMENT_MAX_END);
	REQUIRE(!*is_refused || fate != SL_FRAGMENT_TAKEN);
	*is_refused |= fate == SL_FRAGMENT_REFUSED;
	for (uint32_t i = fragment->offset; i < end; i++) {
		REQUIRE(fate != SL_FRAGMENT_TAKEN || !passed[i]);
		REQUIRE(fate != SL_FRAGMENT_DUPLICATE || passed[i]);
		passed[i] |= fate == SL_FRAGMENT_TAKEN;
	}
	if (sl_datagram_is_whole(datagram))
		for (uint32_t i = 0; i < sizeof(passed); i++)
			REQUIRE(passed[i] == (i < datagram->total));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sl_datagram datagram = {.family = 0};
	bool is_refused = false;

	if (size < 2)
		return 0;
	memset(passed, 0, sizeof(passed));
	for (size_t at = 2; at + BYTES_EACH <= size && at < 400; at += BYTES_EACH) {
		uint8_t room[512];
		size_t length = build(room, data[0] & 1, data + at);
		size_t cut = data[1] < length ? length - data[1] : 0;
		uint8_t *frame = malloc(cut != 0 ? cut : 1);
		struct sl_fragment fragment;
		struct sl_packet packet;
		enum sl_fragment_kind kind = SL_FRAGMENT_MALFORMED;

		memcpy(frame, room, cut);
		if (sl_parse_l3(frame, frame + cut, &packet) == SL_VERDICT_PUNT_FRAGMENT)
			kind = sl_fragment_parse(frame, frame + cut, &packet, &fragment);
		if (kind == SL_FRAGMENT_FIRST || kind == SL_FRAGMENT_LATER) {
			REQUIRE(packet.l4_offset + (size_t)fragment.length <= cut);
			REQUIRE((kind == SL_FRAGMENT_FIRST) == (packet.ports != NULL));
			REQUIRE((kind == SL_FRAGMENT_FIRST) == (fragment.offset == 0));
			if (datagram.family == 0)
				sl_datagram_begin(&datagram, &packet.tuple, &fragment, 0);
			if (sl_datagram_has(&datagram, &packet.tuple, &fragment))
				pass(&datagram, &fragment, &is_refused);
		}
		free(frame);
	}
	return 0;
}
