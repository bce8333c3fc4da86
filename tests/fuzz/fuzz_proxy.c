/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * Fuzz target: what the PROXY protocol does to one frame. The first 8 bytes are the flow's state
 * and the direction, the rest is the frame, in a block of exactly its size. Invariants: nothing
 * outside the TCP header is written but by an insertion, which adds the header and nothing else;
 * the list of options keeps its shape; the error of a wrong checksum is kept.
 */
#include <stdlib.h>
#include <string.h>

#include <sluice/packet/proxy.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(condition)                                                                         \
	do {                                                                                       \
		if (!(condition))                                                                  \
			abort();                                                                   \
	} while (0)

enum {
	CONTROL_BYTES = 8,
};

/* The layer-4 sum with its pseudo header, modulo 0xffff. */
static uint32_t l4_error(const struct sl_packet *packet, uint32_t length)
{
	const uint8_t *l4 = (const uint8_t *)packet->ports;
	uint64_t sum = length + packet->tuple.protocol;

	for (uint32_t i = 0; i < length; i++)
		sum += i % 2 ? l4[i] : (uint32_t)l4[i] << 8;
	/* The addresses are not changed here: they only shift the error. */
	return (uint32_t)(sum % 0xffff);
}

static void insert(const uint8_t *frame, size_t length, struct sl_packet *packet, uint32_t sequence)
{
	struct sl_tuple client = packet->tuple;
	uint32_t n = sl_proxy_length(client.family);
	uint32_t headers = sl_proxy_headers(packet);
	uint32_t is_udp = client.protocol == SL_PROTOCOL_UDP;
	uint32_t l4_length =
		is_udp ? sl_from_be16(((struct sl_udp *)packet->ports)->length) : packet->l4_length;
	bool is_zero = is_udp && *packet->l4_checksum == 0;
	uint32_t before = l4_error(packet, l4_length);
	uint8_t header[SL_PROXY_MAX_LENGTH];
	uint8_t *grown;

	if (length + n > 65535)
		return;
	grown = malloc(length + n);
	REQUIRE(grown != NULL);
	memcpy(grown + n, frame, length);
	if (sl_proxy_make_room(grown, grown + length + n, packet, headers)) {
		REQUIRE(sl_proxy_insert(packet, grown + length + n, &client, sequence));
		sl_proxy_v2_header(header, &client);
		REQUIRE(memcmp(grown + headers, header, n) == 0);
		REQUIRE(memcmp(grown + headers + n, frame + headers, length - headers) == 0);
		REQUIRE(memcmp(grown, frame, sizeof(struct sl_ethernet)) == 0);
		if (is_zero)
			REQUIRE(*packet->l4_checksum == 0);
		else /* UDP's length stands twice under its checksum, and l4_error() knows both. */
			REQUIRE(l4_error(packet, l4_length + n) == before);
	} else {
		REQUIRE(headers > SL_PROXY_MAX_HEADERS);
	}
	free(grown);
}

static void translate(uint8_t *frame, size_t length, struct sl_packet *packet,
		      struct sl_proxy *proxy, const uint8_t *original)
{
	struct sl_tcp *tcp = (struct sl_tcp *)packet->ports;
	uint32_t headers = sl_proxy_headers(packet);
	uint32_t before = l4_error(packet, packet->l4_length);

	sl_proxy_reply(proxy, packet, sl_proxy_options(packet));
	REQUIRE(proxy->phase < SL_N_PROXY_PHASES);
	REQUIRE(l4_error(packet, packet->l4_length) == before);
	REQUIRE(memcmp(frame, original,
		       packet->l4_offset + offsetof(struct sl_tcp, acknowledgement)) == 0);
	REQUIRE(memcmp(frame + headers, original + headers, length - headers) == 0);
	REQUIRE(tcp->offset >> 4 == original[packet->l4_offset + 12] >> 4);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sl_proxy proxy;
	struct sl_packet packet;
	uint8_t *frame;
	size_t length;
	uint32_t sequence = 0;

	if (size < CONTROL_BYTES)
		return 0;
	memcpy(&proxy.first, data, sizeof(proxy.first));
	proxy.phase = data[4] % SL_N_PROXY_PHASES;
	length = size - CONTROL_BYTES;
	frame = malloc(length != 0 ? length : 1);
	REQUIRE(frame != NULL);
	memcpy(frame, data + CONTROL_BYTES, length);
	if (sl_parse(frame, frame + length, &packet) == SL_VERDICT_NONE) {
		if (packet.tuple.protocol == SL_PROTOCOL_UDP) {
			insert(frame, length, &packet, 0);
		} else if (data[5] & 1) {
			translate(frame, length, &packet, &proxy, data + CONTROL_BYTES);
		} else {
			enum sl_proxy_action action = sl_proxy_forward(&proxy, &packet, &sequence);

			REQUIRE(action < SL_N_PROXY_ACTIONS);
			if (action == SL_PROXY_SYN)
				sl_proxy_syn(&packet, sl_proxy_options(&packet), 0);
			else if (action == SL_PROXY_SHIFT)
				sl_proxy_shift(&packet, sequence);
			else if (action == SL_PROXY_INSERT)
				insert(frame, length, &packet, sequence);
		}
	}
	free(frame);
	return 0;
}
