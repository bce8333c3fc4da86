/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * Fuzz target: parse and rewrite one frame. The first 36 bytes choose the rewrite, the rest is the
 * frame, in a block of exactly its size so that the sanitizer sees a read beyond its end.
 * Invariants: a packet let through has its headers inside; there and back restores every byte but
 * the TTL and what follows from it; the error of a wrong layer-4 checksum is kept.
 */
#include <stdlib.h>
#include <string.h>

#include <sluice/packet/common.h>
#include <sluice/packet/flow.h>
#include <sluice/packet/icmp.h>
#include <sluice/packet/nat.h>
#include <sluice/packet/parse.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(condition)                                                                         \
	do {                                                                                       \
		if (!(condition))                                                                  \
			abort();                                                                   \
	} while (0)

enum {
	CONTROL_BYTES = 36,
};

static void require_inside(const void *header, size_t size, const uint8_t *frame,
			   const uint8_t *end)
{
	if (header != NULL)
		REQUIRE((const uint8_t *)header >= frame && (const uint8_t *)header + size <= end);
}

static struct sl_rewrite read_rewrite(const uint8_t *data, uint8_t family)
{
	struct sl_rewrite to = {0};
	size_t n = family == SL_FAMILY_IPV4 ? 4 : 16;

	memcpy(&to.source, data, n);
	memcpy(&to.destination, data + 16, n);
	memcpy(&to.source_port, data + 32, 2);
	memcpy(&to.destination_port, data + 34, 2);
	return to;
}

static void rewrite_and_back(uint8_t *frame, size_t length, struct sl_packet *packet,
			     const struct sl_rewrite *to)
{
	uint8_t *original = malloc(length);
	struct sl_rewrite back = {.source = packet->tuple.source,
				  .destination = packet->tuple.destination,
				  .source_port = packet->tuple.source_port,
				  .destination_port = packet->tuple.destination_port};
	size_t checksum_at = (size_t)((uint8_t *)packet->l4_checksum - frame);
	uint16_t before;
	uint16_t after;

	memcpy(original, frame, length);
	sl_nat_rewrite(packet, to);
	packet->tuple.source = to->source;
	packet->tuple.destination = to->destination;
	packet->tuple.source_port = to->source_port;
	packet->tuple.destination_port = to->destination_port;
	sl_nat_rewrite(packet, &back);
	memcpy(&before, original + checksum_at, 2);
	memcpy(&after, frame + checksum_at, 2);
	/* 0x0000 and 0xffff are the same number in ones' complement. */
	REQUIRE(before % 0xffff == after % 0xffff);
	REQUIRE(packet->tuple.protocol == SL_PROTOCOL_TCP || (before == 0) == (after == 0));
	memcpy(frame + checksum_at, &before, 2);
	if (packet->ipv4 != NULL) {
		uint8_t *ip = (uint8_t *)packet->ipv4;

		REQUIRE((uint8_t)(ip[8] + 2) == original[ip - frame + 8]);
		memcpy(ip + 8, original + (ip - frame) + 8, 4);
	} else {
		uint8_t *ip = (uint8_t *)packet->ipv6;

		REQUIRE((uint8_t)(ip[7] + 2) == original[ip - frame + 7]);
		ip[7] = original[ip - frame + 7];
	}
	REQUIRE(memcmp(original, frame, length) == 0);
	free(original);
}

/* What was right stays right; there and back the quotation is as it was. */
static void rewrite_error(uint8_t *frame, size_t length, struct sl_packet *packet,
			  const struct sl_rewrite *to)
{
	struct sl_rewrite back = {.source = packet->tuple.source,
				  .destination = packet->tuple.destination,
				  .source_port = packet->tuple.source_port,
				  .destination_port = packet->tuple.destination_port};
	/* Up to UDP's checksum: that may come back as the other zero, and so may the quoted IPv4's. */
	uint32_t n = packet->quoted_l4_offset + 6u - packet->quoted_offset;
	uint8_t *original = malloc(length);
	uint8_t *quoted = frame + packet->quoted_offset;
	bool is_echo = packet->tuple.protocol != SL_PROTOCOL_TCP &&
		       packet->tuple.protocol != SL_PROTOCOL_UDP;

	/* An echo's checksum stands before its identifier. */
	if (is_echo)
		n -= 4;

	REQUIRE(packet->quoted_l4_offset + (size_t)SL_ICMP_MIN_QUOTED <= length);
	memcpy(original, frame, length);
	REQUIRE(sl_icmp_rewrite(frame, frame + length, packet, to, false));
	REQUIRE(sl_icmp_rewrite(frame, frame + length, packet, &back, false));
	if (packet->ipv4 != NULL)
		memcpy(quoted + 10, original + (quoted - frame) + 10, 2);
	REQUIRE(memcmp(quoted, original + (quoted - frame), n) == 0);
	free(original);
}

/* There and back all but the checksum and the time is as it was. */
static void rewrite_echo(uint8_t *frame, size_t length, struct sl_packet *packet,
			 const struct sl_rewrite *to)
{
	struct sl_rewrite back = {.source = packet->tuple.source,
				  .destination = packet->tuple.destination,
				  .source_port = packet->tuple.source_port,
				  .destination_port = packet->tuple.destination_port};
	uint8_t *l4 = (uint8_t *)packet->l4_checksum - 2;
	uint8_t *original = malloc(length);

	require_inside(l4, sizeof(struct sl_icmp), frame, frame + length);
	memcpy(original, frame, length);
	sl_icmp_rewrite_echo(packet, to);
	sl_icmp_rewrite_echo(packet, &back);
	REQUIRE(memcmp(l4 + 4, original + (l4 + 4 - frame), length - (size_t)(l4 + 4 - frame)) ==
		0);
	free(original);
}

/* What is common, to whom it goes, the parser has let through, and found the same in it. */
static void require_common(uint8_t *frame, size_t length, enum sl_verdict verdict,
			   const struct sl_packet *packet)
{
	uint64_t mac = length >= 6 ? sl_mac_word(frame) : 0;
	bool is_ipv4 = sl_parse_is_common4(frame, (uint32_t)length, mac);
	struct sl_packet common;

	if (!is_ipv4 && !sl_parse_is_common6(frame, (uint32_t)length, mac))
		return;
	REQUIRE(verdict == SL_VERDICT_NONE);
	sl_parse_common(frame, is_ipv4 ? SL_FAMILY_IPV4 : SL_FAMILY_IPV6, &common);
	REQUIRE(memcmp(&common.tuple, &packet->tuple, sizeof(common.tuple)) == 0 &&
		common.ports == packet->ports && common.l4_checksum == packet->l4_checksum &&
		common.ipv4 == packet->ipv4 && common.ipv6 == packet->ipv6 &&
		common.tcp_sequence == packet->tcp_sequence &&
		common.tcp_acknowledgement == packet->tcp_acknowledgement &&
		common.tcp_payload == packet->tcp_payload &&
		common.tcp_flags == packet->tcp_flags && common.l4_offset == packet->l4_offset &&
		common.l4_length == packet->l4_length && packet->fragment == SL_PACKET_WHOLE &&
		packet->has_vlan == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sl_packet packet;
	struct sl_rewrite to;
	uint8_t *frame;
	size_t length;
	enum sl_verdict verdict;

	if (size < CONTROL_BYTES)
		return 0;
	length = size - CONTROL_BYTES;
	frame = malloc(length != 0 ? length : 1);
	REQUIRE(frame != NULL);
	memcpy(frame, data + CONTROL_BYTES, length);
	verdict = sl_parse(frame, frame + length, &packet);
	REQUIRE(verdict < SL_N_VERDICTS && verdict != SL_VERDICT_FORWARD &&
		verdict != SL_VERDICT_REPLY);
	REQUIRE(memcmp(frame, data + CONTROL_BYTES, length) == 0);
	require_common(frame, length, verdict, &packet);
	if (verdict == SL_VERDICT_NONE) {
		require_inside(packet.ethernet, sizeof(*packet.ethernet), frame, frame + length);
		require_inside(packet.ipv4, sizeof(*packet.ipv4), frame, frame + length);
		require_inside(packet.ipv6, sizeof(*packet.ipv6), frame, frame + length);
		require_inside(packet.ports, sizeof(*packet.ports), frame, frame + length);
		require_inside(packet.l4_checksum, sizeof(*packet.l4_checksum), frame,
			       frame + length);
		REQUIRE((packet.ipv4 != NULL) != (packet.ipv6 != NULL));
		to = read_rewrite(data, packet.tuple.family);
		rewrite_and_back(frame, length, &packet, &to);
	} else if (verdict == SL_VERDICT_PUNT_ICMP &&
		   sl_icmp_parse(frame, frame + length, &packet) == SL_VERDICT_NONE) {
		to = read_rewrite(data, packet.tuple.family);
		rewrite_error(frame, length, &packet, &to);
	} else if (verdict == SL_VERDICT_PUNT_ICMP &&
		   sl_icmp_parse_echo(frame, frame + length, &packet) == SL_VERDICT_NONE) {
		to = read_rewrite(data, packet.tuple.family);
		rewrite_echo(frame, length, &packet, &to);
	}
	free(frame);
	return 0;
}
