/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* Frames for tests of the packet core, with checksums computed in full. */
#pragma once

#include <string.h>

#include <sluice/packet/headers.h>
#include <sluice/packet/parse.h>

struct frame {
	uint8_t bytes[256];
	size_t length;
	size_t l3;
	size_t l4;
};

static inline uint32_t frame_sum(const uint8_t *bytes, size_t size)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < size; i++)
		sum += i % 2 ? bytes[i] : (uint32_t)bytes[i] << 8;
	return sum;
}

static inline uint16_t frame_fold(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

/* The layer-4 checksum over the pseudo header, in full; 0xffff for a good segment. */
static inline uint16_t frame_l4_sum(const struct frame *frame)
{
	const uint8_t *ip = frame->bytes + frame->l3;
	bool is_ipv4 = ip[0] >> 4 == 4;
	size_t length = is_ipv4 ? (size_t)(ip[2] << 8 | ip[3]) - (frame->l4 - frame->l3)
				: (size_t)(ip[4] << 8 | ip[5]) + 40 - (frame->l4 - frame->l3);
	uint32_t sum = (uint32_t)length + (is_ipv4 ? ip[9] : ip[6]);

	sum += is_ipv4 ? frame_sum(ip + 12, 8) : frame_sum(ip + 8, 32);
	return frame_fold(sum + frame_sum(frame->bytes + frame->l4, length));
}

static inline void frame_finish(struct frame *frame)
{
	uint8_t *ip = frame->bytes + frame->l3;
	bool is_tcp = (ip[0] >> 4 == 4 ? ip[9] : ip[6]) == SL_PROTOCOL_TCP;
	uint8_t *at = frame->bytes + frame->l4 + (is_tcp ? 16 : 6);
	uint16_t sum;

	if (ip[0] >> 4 == 4) {
		memset(ip + 10, 0, 2);
		sum = (uint16_t)~frame_fold(frame_sum(ip, (size_t)(ip[0] & 15) * 4));
		ip[10] = (uint8_t)(sum >> 8);
		ip[11] = (uint8_t)sum;
	}
	memset(at, 0, 2);
	sum = (uint16_t)~frame_l4_sum(frame);
	if (sum == 0 && !is_tcp)
		sum = 0xffff;
	at[0] = (uint8_t)(sum >> 8);
	at[1] = (uint8_t)sum;
}

/* A good frame: 198.51.100.7:40000 -> 203.0.113.10:80 or the like in IPv6, with @payload bytes. */
static inline struct frame frame_make(uint8_t family, uint8_t protocol, size_t payload)
{
	static const uint8_t ethernet[12] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2};
	size_t header = protocol == SL_PROTOCOL_TCP ? 20 : 8;
	struct frame frame = {.l3 = 14};
	uint8_t *ip = frame.bytes + 14;
	uint8_t *l4;

	memcpy(frame.bytes, ethernet, sizeof(ethernet));
	if (family == SL_FAMILY_IPV4) {
		static const uint8_t addresses[8] = {198, 51, 100, 7, 203, 0, 113, 10};

		frame.bytes[12] = 0x08;
		frame.l4 = 34;
		ip[0] = 0x45;
		ip[1] = 0x2b;
		ip[3] = (uint8_t)(20 + header + payload);
		ip[5] = 0x77;
		ip[8] = 64;
		ip[9] = protocol;
		memcpy(ip + 12, addresses, 8);
	} else {
		frame.bytes[12] = 0x86;
		frame.bytes[13] = 0xdd;
		frame.l4 = 54;
		ip[0] = 0x62;
		ip[1] = 0xb0;
		ip[5] = (uint8_t)(header + payload);
		ip[6] = protocol;
		ip[7] = 64;
		memcpy(ip + 8, (const uint8_t[]){0x20, 1, 0xd, 0xb8, 0, 1}, 6);
		ip[23] = 7;
		memcpy(ip + 24, (const uint8_t[]){0x20, 1, 0xd, 0xb8, 1, 0}, 6);
		ip[39] = 0x10;
	}
	l4 = frame.bytes + frame.l4;
	memcpy(l4, (const uint8_t[]){0x9c, 0x40, 0, 80}, 4);
	if (protocol == SL_PROTOCOL_TCP) {
		l4[12] = 5 << 4;
		l4[13] = SL_TCP_ACK;
	} else {
		l4[5] = (uint8_t)(8 + payload);
	}
	for (size_t i = 0; i < payload; i++)
		l4[header + i] = (uint8_t)(i * 7 + 1);
	frame.length = frame.l4 + header + payload;
	frame_finish(&frame);
	return frame;
}

static inline enum sl_verdict frame_parse(struct frame *frame, struct sl_packet *packet)
{
	return sl_parse(frame->bytes, frame->bytes + frame->length, packet);
}
