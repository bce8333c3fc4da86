/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* ICMP errors: RFC 792, RFC 4443, RFC 5508 REQ-3 to REQ-6, faults T-12. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include <sluice/packet/icmp.h>

#include "tests/unit/frames.h"
#include "tests/unit/random.h"

enum {
	LINK = 14,
};

static const uint8_t families[] = {SL_FAMILY_IPV4, SL_FAMILY_IPV6};
static const uint8_t protocols[] = {SL_PROTOCOL_TCP, SL_PROTOCOL_UDP};

/* An error in a frame: that quotes @n_quoted bytes of a good packet, from its IP header on. */
struct error {
	uint8_t bytes[512];
	size_t length;
	size_t icmp;
	struct frame quoted;
};

static size_t ip_length(uint8_t family)
{
	return family == SL_FAMILY_IPV4 ? 20 : 40;
}

/* In full. 0xffff for a good message. */
static uint16_t icmp_sum(const struct error *error, uint8_t family)
{
	const uint8_t *ip = error->bytes + LINK;
	size_t length = error->length - error->icmp;
	uint32_t sum = frame_sum(error->bytes + error->icmp, length);

	if (family == SL_FAMILY_IPV6)
		sum += frame_sum(ip + 8, 32) + SL_PROTOCOL_ICMPV6 + (uint32_t)length;
	return frame_fold(sum);
}

static void finish(struct error *error, uint8_t family)
{
	uint8_t *ip = error->bytes + LINK;
	uint8_t *icmp = error->bytes + error->icmp;
	uint16_t sum;

	if (family == SL_FAMILY_IPV4) {
		memset(ip + 10, 0, 2);
		sum = (uint16_t)~frame_fold(frame_sum(ip, 20));
		ip[10] = (uint8_t)(sum >> 8);
		ip[11] = (uint8_t)sum;
	}
	memset(icmp + 2, 0, 2);
	sum = (uint16_t)~icmp_sum(error, family);
	icmp[2] = (uint8_t)(sum >> 8);
	icmp[3] = (uint8_t)sum;
}

static struct error error_make(uint8_t family, uint8_t protocol, size_t n_quoted)
{
	struct error error = {.quoted = frame_make(family, protocol, 60)};
	struct frame outer = frame_make(family, SL_PROTOCOL_UDP, 0);
	uint8_t *ip = error.bytes + LINK;
	size_t length = 8 + n_quoted;

	memcpy(error.bytes, outer.bytes, LINK + ip_length(family));
	error.icmp = LINK + ip_length(family);
	error.length = error.icmp + length;
	if (family == SL_FAMILY_IPV4) {
		ip[2] = (uint8_t)((20 + length) >> 8);
		ip[3] = (uint8_t)(20 + length);
		ip[9] = SL_PROTOCOL_ICMP;
	} else {
		ip[4] = (uint8_t)(length >> 8);
		ip[5] = (uint8_t)length;
		ip[6] = SL_PROTOCOL_ICMPV6;
	}
	error.bytes[error.icmp] = family == SL_FAMILY_IPV4 ? 3 : 1;
	memcpy(error.bytes + error.icmp + 8, error.quoted.bytes + LINK, n_quoted);
	finish(&error, family);
	return error;
}

static enum sl_verdict parse(uint8_t *frame, size_t length, struct sl_packet *packet)
{
	enum sl_verdict verdict = sl_parse(frame, frame + length, packet);

	return verdict == SL_VERDICT_PUNT_ICMP ? sl_icmp_parse(frame, frame + length, packet)
					       : verdict;
}

Test(icmp, the_tuple_is_the_quoted_one_turned_round)
{
	for (int i = 0; i < 4; i++) {
		uint8_t family = families[i / 2];
		struct error error = error_make(family, protocols[i % 2], ip_length(family) + 8);
		struct sl_packet quoted;
		struct sl_packet packet;

		cr_assert_eq(frame_parse(&error.quoted, &quoted), SL_VERDICT_NONE);
		cr_assert_eq(parse(error.bytes, error.length, &packet), SL_VERDICT_NONE);
		cr_assert(sl_packet_is_icmp_error(&packet));
		cr_assert(!sl_packet_is_icmp_error(&quoted));
		cr_assert(sl_addr_equal(&packet.tuple.source, &quoted.tuple.destination));
		cr_assert(sl_addr_equal(&packet.tuple.destination, &quoted.tuple.source));
		cr_assert_eq(packet.tuple.source_port, quoted.tuple.destination_port);
		cr_assert_eq(packet.tuple.destination_port, quoted.tuple.source_port);
		cr_assert_eq(packet.tuple.protocol, protocols[i % 2]);
		cr_assert_eq(packet.tcp_flags, 0);
	}
}

/* T-01, T-12: the frame cut, and the quotation short, at every byte; ASan sees a read beyond. */
Test(icmp, cut_at_every_byte)
{
	for (int i = 0; i < 4; i++) {
		uint8_t family = families[i / 2];
		size_t most = ip_length(family) + 40;

		for (size_t n_quoted = 0; n_quoted <= most; n_quoted++) {
			struct error error = error_make(family, protocols[i % 2], n_quoted);

			for (size_t n = 0; n <= error.length; n++) {
				uint8_t *cut = malloc(n != 0 ? n : 1);
				struct sl_packet packet;
				enum sl_verdict verdict;
				enum sl_verdict wanted = n_quoted < ip_length(family) + 8
								 ? SL_VERDICT_DROP_ICMP_MALFORMED
								 : SL_VERDICT_NONE;

				memcpy(cut, error.bytes, n);
				verdict = parse(cut, n, &packet);
				if (n == error.length)
					cr_assert_eq(verdict, wanted, "%zu quoted: verdict %d",
						     n_quoted, verdict);
				else
					cr_assert(sl_verdict_is_drop(verdict));
				free(cut);
			}
		}
	}
}

static struct sl_rewrite random_rewrite(struct random *random, uint8_t family)
{
	struct sl_rewrite to = {.source_port = (be16_t)random_next(random),
				.destination_port = (be16_t)random_next(random)};

	for (int w = 0; w < (family == SL_FAMILY_IPV4 ? 1 : 4); w++) {
		to.source.word[w] = (be32_t)random_next(random);
		to.destination.word[w] = (be32_t)random_next(random);
	}
	return to;
}

/*
 * Against a twin that makes the quoted packet anew, with checksums in full: outer addresses, quoted
 * addresses and ports, and every checksum that is there.
 */
Test(icmp, rewritten_as_if_made_anew)
{
	struct random random = random_seeded();

	for (int i = 0; i < 40000; i++) {
		uint8_t family = families[i & 1];
		uint8_t protocol = protocols[i >> 1 & 1];
		size_t header = ip_length(family);
		size_t least = protocol == SL_PROTOCOL_TCP ? 18 : 8;
		size_t n_quoted = header + least + random_next(&random) % (60 - least);
		struct error error = error_make(family, protocol, n_quoted);
		struct sl_rewrite to = random_rewrite(&random, family);
		bool keeps_source = i >> 2 & 1;
		size_t at = family == SL_FAMILY_IPV4 ? 12 : 8;
		size_t size = family == SL_FAMILY_IPV4 ? 4 : 16;
		struct error twin = error;
		struct sl_packet packet;
		uint8_t *ip = twin.quoted.bytes + LINK;

		cr_assert_eq(parse(error.bytes, error.length, &packet), SL_VERDICT_NONE);
		cr_assert(sl_icmp_rewrite(error.bytes, error.bytes + error.length, &packet, &to,
					  keeps_source));
		memcpy(ip + at, &to.destination, size);
		memcpy(ip + at + size, &to.source, size);
		memcpy(twin.quoted.bytes + twin.quoted.l4, &to.destination_port, 2);
		memcpy(twin.quoted.bytes + twin.quoted.l4 + 2, &to.source_port, 2);
		frame_finish(&twin.quoted);
		memcpy(twin.bytes + twin.icmp + 8, ip, n_quoted);
		if (!keeps_source)
			memcpy(twin.bytes + LINK + at, &to.source, size);
		memcpy(twin.bytes + LINK + at + size, &to.destination, size);
		twin.bytes[LINK + (family == SL_FAMILY_IPV4 ? 8 : 7)]--;
		finish(&twin, family);
		cr_assert_eq(memcmp(error.bytes, twin.bytes, error.length), 0, "turn %d", i);
	}
}

/* Bytes of the frame, most significant first. */
static uint32_t read32(const uint8_t *at)
{
	return sl_from_be32(sl_load32(at));
}

/*
 * Of a flow with PROXY headers: the client's own number is quoted, and while a header is still to come
 * the MTU leaves room for it. Against a twin with checksums in full.
 */
Test(icmp, the_stream_is_the_clients)
{
	struct random random = random_seeded();

	for (int i = 0; i < 40000; i++) {
		uint8_t family = families[i & 1];
		uint32_t header = family == SL_FAMILY_IPV4 ? 28 : 52;
		size_t n_quoted = ip_length(family) + 18 + random_next(&random) % 40;
		struct error error = error_make(family, SL_PROTOCOL_TCP, n_quoted);
		uint8_t *rest = error.bytes + error.icmp + 4;
		uint8_t *sequence = error.quoted.bytes + error.quoted.l4 + 4;
		uint32_t first = read32(sequence) - (uint32_t)(random_next(&random) % 100);
		uint32_t ahead = read32(sequence) - first;
		bool is_acked = i >> 1 & 1;
		struct sl_proxy proxy = {.first = first,
					 .phase = is_acked ? SL_PROXY_ACKED : SL_PROXY_SENT};
		struct sl_packet packet;
		struct error twin;

		error.bytes[error.icmp] = family == SL_FAMILY_IPV4 ? 3 : 2;
		error.bytes[error.icmp + 1] = family == SL_FAMILY_IPV4 ? 4 : 0;
		sl_store32(rest, SL_BE32(1400));
		finish(&error, family);
		twin = error;
		cr_assert_eq(parse(error.bytes, error.length, &packet), SL_VERDICT_NONE);
		cr_assert(sl_icmp_rewrite_stream(error.bytes, error.bytes + error.length, &packet,
						 &proxy));
		sl_store32(
			twin.quoted.bytes + twin.quoted.l4 + 4,
			sl_to_be32(is_acked || ahead >= header ? first + ahead - header : first));
		frame_finish(&twin.quoted);
		memcpy(twin.bytes + twin.icmp + 8, twin.quoted.bytes + LINK, n_quoted);
		if (!is_acked)
			sl_store32(twin.bytes + twin.icmp + 4, sl_to_be32(1400 - header));
		finish(&twin, family);
		cr_assert_eq(memcmp(error.bytes, twin.bytes, error.length), 0, "turn %d", i);
	}
}

/* The quoted layer-4 checksum stays as wrong as it was (RFC 5508 REQ-3c); UDP's zero stays zero. */
Test(icmp, a_wrong_quoted_checksum_stays_wrong)
{
	struct random random = random_seeded();

	for (int i = 0; i < 4; i++) {
		uint8_t family = families[i / 2];
		bool is_udp = protocols[i % 2] == SL_PROTOCOL_UDP;
		size_t at = ip_length(family) + (is_udp ? 6 : 16);
		struct error error = error_make(family, protocols[i % 2], ip_length(family) + 20);
		uint8_t *checksum = error.bytes + error.icmp + 8 + at;
		struct sl_rewrite to = random_rewrite(&random, family);
		struct sl_packet packet;

		memset(checksum, is_udp ? 0 : 0x5a, 2);
		finish(&error, family);
		cr_assert_eq(parse(error.bytes, error.length, &packet), SL_VERDICT_NONE);
		cr_assert(sl_icmp_rewrite(error.bytes, error.bytes + error.length, &packet, &to,
					  false));
		cr_assert_eq(icmp_sum(&error, family), 0xffff);
		if (is_udp)
			cr_assert_eq(checksum[0] | checksum[1], 0);
	}
}

Test(icmp, every_wrong_bit_is_found)
{
	for (int i = 0; i < 4; i++) {
		uint8_t family = families[i / 2];
		struct error good = error_make(family, protocols[i % 2], ip_length(family) + 9);

		for (size_t bit = 8 * (good.icmp + 2); bit < 8 * good.length; bit++) {
			struct error error = good;
			struct sl_packet packet;

			error.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
			cr_assert_eq(parse(error.bytes, error.length, &packet),
				     SL_VERDICT_DROP_ICMP_MALFORMED, "bit %zu", bit);
		}
	}
}

Test(icmp, small_mtus_are_named)
{
	static const struct {
		uint8_t family;
		uint8_t type;
		uint8_t code;
		uint32_t mtu;
		bool is_small;
	} rows[] = {
		{SL_FAMILY_IPV4, 3, 4, 67, true},   {SL_FAMILY_IPV4, 3, 4, 68, false},
		{SL_FAMILY_IPV4, 3, 4, 0, true},    {SL_FAMILY_IPV4, 3, 1, 0, false},
		{SL_FAMILY_IPV6, 2, 0, 1279, true}, {SL_FAMILY_IPV6, 2, 0, 1280, false},
		{SL_FAMILY_IPV6, 1, 0, 0, false},
	};

	for (size_t i = 0; i < SL_ARRAY_LEN(rows); i++) {
		struct error error =
			error_make(rows[i].family, SL_PROTOCOL_TCP, ip_length(rows[i].family) + 8);
		uint8_t *icmp = error.bytes + error.icmp;
		be32_t rest = sl_to_be32(rows[i].mtu);
		struct sl_packet packet;

		icmp[0] = rows[i].type;
		icmp[1] = rows[i].code;
		memcpy(icmp + 4, &rest, 4);
		finish(&error, rows[i].family);
		cr_assert_eq(parse(error.bytes, error.length, &packet), SL_VERDICT_NONE);
		cr_expect_eq(packet.has_small_mtu, rows[i].is_small, "row %zu", i);
	}
}
