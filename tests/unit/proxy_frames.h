/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* TCP frames of any kind, and the PROXY protocol's header in them: as an engine inserts it, and as a server reads it. */
#pragma once

#include <criterion/criterion.h>
#include <string.h>

#include <sluice/packet/proxy.h>

#include "tests/unit/frames.h"

static const uint8_t families[] = {SL_FAMILY_IPV4, SL_FAMILY_IPV6};

static inline void put32(uint8_t *at, uint32_t value)
{
	for (int i = 0; i < 4; i++)
		at[i] = (uint8_t)(value >> (24 - 8 * i));
}

static inline uint32_t get32(const uint8_t *at)
{
	return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

/* A TCP frame with what is said; @options of @n_options bytes, a multiple of four. */
static inline struct frame tcp_frame(uint8_t family, uint8_t flags, uint32_t sequence,
				     uint32_t acknowledgement, const uint8_t *options,
				     size_t n_options, const uint8_t *payload, size_t n_payload)
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
static inline bool insert(struct frame *frame, struct sl_packet *packet, uint32_t sequence)
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

/*
 * A strict reader of the header, from proxy-protocol.txt 2.2: its length, or 0 if it is not one that
 * a proxy may send for this connection.
 */
static inline size_t read_header(const uint8_t *bytes, size_t size, uint8_t family,
				 uint8_t protocol, const uint8_t *addresses, uint16_t source_port,
				 uint16_t destination_port)
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
