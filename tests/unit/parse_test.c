/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* The parser: every malformed form has its verdict, and nothing is read beyond the frame's end. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/frames.h"
#include "tests/unit/random.h"

static const uint8_t families[] = {SL_FAMILY_IPV4, SL_FAMILY_IPV6};
static const uint8_t protocols[] = {SL_PROTOCOL_TCP, SL_PROTOCOL_UDP};

Test(parse, good_frames_are_read_whole)
{
	for (int f = 0; f < 2; f++) {
		for (int p = 0; p < 2; p++) {
			struct frame frame = frame_make(families[f], protocols[p], 10);
			struct sl_packet packet;

			cr_assert_eq(frame_parse(&frame, &packet), SL_VERDICT_NONE);
			cr_assert_eq(packet.tuple.family, families[f]);
			cr_assert_eq(packet.tuple.protocol, protocols[p]);
			cr_assert_eq(packet.tuple.source_port, SL_BE16(40000));
			cr_assert_eq(packet.tuple.destination_port, SL_BE16(80));
			cr_assert_eq(packet.l4_length, frame.length - frame.l4);
			cr_assert_eq((void *)packet.ethernet, (void *)frame.bytes);
			cr_assert_eq(packet.tuple.protocol, protocols[p]);
			cr_assert_eq((uint8_t *)packet.l4_checksum - (uint8_t *)packet.ports,
				     protocols[p] == SL_PROTOCOL_TCP ? 16 : 6);
		}
	}
}

/* T-01: in a block of exactly that size, so that a read beyond the cut is seen by ASan. */
Test(parse, frame_cut_at_every_byte_is_dropped)
{
	for (int f = 0; f < 2; f++) {
		for (int p = 0; p < 2; p++) {
			struct frame frame = frame_make(families[f], protocols[p], 10);

			for (size_t n = 0; n < frame.length; n++) {
				uint8_t *cut = malloc(n != 0 ? n : 1);
				struct sl_packet packet;
				enum sl_verdict verdict;

				memcpy(cut, frame.bytes, n);
				verdict = sl_parse(cut, cut + n, &packet);
				cr_expect(verdict == SL_VERDICT_DROP_TRUNCATED ||
						  verdict == SL_VERDICT_DROP_IP_TOTAL_LENGTH,
					  "family %d protocol %d cut at %zu: verdict %d",
					  families[f], protocols[p], n, verdict);
				free(cut);
			}
		}
	}
}

/* One byte of a good frame changed: what it is then. */
struct row {
	const char *name;
	uint8_t family;
	uint8_t protocol;
	int at; /* from the IP header; below -100: from layer 4, plus 1000 */
	uint8_t value;
	bool keep_checksum; /* the header checksum is not made good again */
	enum sl_verdict verdict;
};

#define L4(offset) ((offset)-1000)

Test(parse, malformed_header_gets_its_own_verdict)
{
	static const struct row row[] = {
		{"version 5", 4, 6, 0, 0x55, false, SL_VERDICT_DROP_IP_VERSION},
		{"version 6 in an IPv4 frame", 4, 6, 0, 0x65, false, SL_VERDICT_DROP_IP_VERSION},
		{"header length 4", 4, 6, 0, 0x44, true, SL_VERDICT_DROP_IP_HEADER_LENGTH},
		{"header length beyond total", 4, 17, 0, 0x4f, true,
		 SL_VERDICT_DROP_IP_HEADER_LENGTH},
		{"total length below header", 4, 6, 3, 19, true, SL_VERDICT_DROP_IP_HEADER_LENGTH},
		{"total length beyond frame", 4, 6, 3, 200, true, SL_VERDICT_DROP_IP_TOTAL_LENGTH},
		{"header checksum", 4, 6, 10, 0x01, true, SL_VERDICT_DROP_IP_CHECKSUM},
		{"source 127", 4, 6, 12, 127, false, SL_VERDICT_DROP_MARTIAN},
		{"source in 0/8", 4, 6, 12, 0, false, SL_VERDICT_DROP_MARTIAN},
		{"source multicast", 4, 6, 12, 224, false, SL_VERDICT_DROP_MARTIAN},
		{"source class E", 4, 6, 12, 240, false, SL_VERDICT_DROP_MARTIAN},
		{"destination 127", 4, 6, 16, 127, false, SL_VERDICT_DROP_MARTIAN},
		{"destination 0", 4, 6, 16, 0, false, SL_VERDICT_DROP_MARTIAN},
		{"destination class E", 4, 6, 16, 245, false, SL_VERDICT_DROP_MARTIAN},
		{"destination multicast", 4, 17, 16, 239, false, SL_VERDICT_PUNT_MULTICAST},
		{"more fragments", 4, 17, 6, 0x20, false, SL_VERDICT_PUNT_FRAGMENT},
		{"fragment offset", 4, 17, 7, 1, false, SL_VERDICT_PUNT_FRAGMENT},
		{"dont fragment", 4, 6, 6, 0x40, false, SL_VERDICT_NONE},
		{"ICMP", 4, 17, 9, 1, true, SL_VERDICT_DROP_IP_CHECKSUM},
		{"data offset 4", 4, 6, L4(12), 4 << 4, false, SL_VERDICT_DROP_TCP_HEADER},
		{"data offset beyond", 4, 6, L4(12), 15 << 4, false, SL_VERDICT_DROP_TCP_HEADER},
		{"no flags", 4, 6, L4(13), 0, false, SL_VERDICT_DROP_TCP_FLAGS},
		{"urgent alone", 4, 6, L4(13), 0x20, false, SL_VERDICT_DROP_TCP_FLAGS},
		{"SYN FIN", 4, 6, L4(13), 0x03, false, SL_VERDICT_DROP_TCP_FLAGS},
		{"SYN RST", 4, 6, L4(13), 0x06, false, SL_VERDICT_DROP_TCP_FLAGS},
		{"SYN RST ACK", 4, 6, L4(13), 0x16, false, SL_VERDICT_DROP_TCP_FLAGS},
		{"FIN alone", 4, 6, L4(13), 0x01, false, SL_VERDICT_DROP_TCP_FLAGS},
		{"xmas", 4, 6, L4(13), 0x29, false, SL_VERDICT_DROP_TCP_FLAGS},
		{"all flags", 4, 6, L4(13), 0x3f, false, SL_VERDICT_DROP_TCP_FLAGS},
		{"SYN", 4, 6, L4(13), 0x02, false, SL_VERDICT_NONE},
		{"SYN with ECN flags", 4, 6, L4(13), 0xc2, false, SL_VERDICT_NONE},
		{"RST", 4, 6, L4(13), 0x04, false, SL_VERDICT_NONE},
		{"FIN ACK", 4, 6, L4(13), 0x11, false, SL_VERDICT_NONE},
		{"destination port high byte 1", 4, 6, L4(2), 1, false, SL_VERDICT_NONE},
		{"UDP length 7", 4, 17, L4(5), 7, false, SL_VERDICT_DROP_UDP_HEADER},
		{"UDP length beyond", 4, 17, L4(5), 100, false, SL_VERDICT_DROP_UDP_HEADER},
		{"UDP length shorter", 4, 17, L4(5), 9, false, SL_VERDICT_NONE},
		{"IPv6 version 4", 6, 6, 0, 0x42, false, SL_VERDICT_DROP_IP_VERSION},
		{"IPv6 payload beyond", 6, 6, 5, 200, true, SL_VERDICT_DROP_IP_TOTAL_LENGTH},
		{"IPv6 payload 0", 6, 6, 5, 0, true, SL_VERDICT_DROP_TCP_HEADER},
		{"IPv6 source multicast", 6, 6, 8, 0xff, false, SL_VERDICT_DROP_MARTIAN},
		{"IPv6 destination multicast", 6, 6, 24, 0xff, false, SL_VERDICT_PUNT_MULTICAST},
		{"IPv6 no next header", 6, 6, 6, 59, true, SL_VERDICT_PUNT_PROTOCOL},
		{"IPv6 ESP", 6, 6, 6, 50, true, SL_VERDICT_PUNT_PROTOCOL},
		{"IPv6 AH", 6, 6, 6, 51, true, SL_VERDICT_PUNT_PROTOCOL},
		{"ICMPv6", 6, 6, 6, 58, true, SL_VERDICT_PUNT_ICMP},
	};

	for (size_t i = 0; i < SL_ARRAY_LEN(row); i++) {
		struct frame frame = frame_make(row[i].family, row[i].protocol, 10);
		size_t at = row[i].at < -100 ? frame.l4 + (size_t)(row[i].at + 1000)
					     : frame.l3 + (size_t)row[i].at;
		struct sl_packet packet;

		frame.bytes[at] = row[i].value;
		if (!row[i].keep_checksum && row[i].family == 4) {
			uint8_t *ip = frame.bytes + frame.l3;
			uint16_t sum;

			memset(ip + 10, 0, 2);
			sum = (uint16_t)~frame_fold(frame_sum(ip, 20));
			ip[10] = (uint8_t)(sum >> 8);
			ip[11] = (uint8_t)sum;
		}
		cr_expect_eq(frame_parse(&frame, &packet), row[i].verdict,
			     "%s: verdict %d, expected %d", row[i].name,
			     frame_parse(&frame, &packet), row[i].verdict);
	}
}

Test(parse, special_addresses_are_dropped)
{
	struct sl_packet packet;
	struct frame frame = frame_make(SL_FAMILY_IPV4, SL_PROTOCOL_TCP, 0);

	memcpy(frame.bytes + 26, frame.bytes + 30, 4);
	frame_finish(&frame);
	cr_expect_eq(frame_parse(&frame, &packet), SL_VERDICT_DROP_LAND);
	memset(frame.bytes + 26, 0, 4);
	frame_finish(&frame);
	cr_expect_eq(frame_parse(&frame, &packet), SL_VERDICT_DROP_MARTIAN);
	frame = frame_make(SL_FAMILY_IPV4, SL_PROTOCOL_UDP, 0);
	memset(frame.bytes + 30, 0xff, 4);
	frame_finish(&frame);
	cr_expect_eq(frame_parse(&frame, &packet), SL_VERDICT_PUNT_MULTICAST);
	/* DHCP: from 0.0.0.0 to broadcast is the kernel's. */
	memset(frame.bytes + 26, 0, 4);
	frame_finish(&frame);
	cr_expect_eq(frame_parse(&frame, &packet), SL_VERDICT_PUNT_MULTICAST);
	frame = frame_make(SL_FAMILY_IPV6, SL_PROTOCOL_TCP, 0);
	memcpy(frame.bytes + 22, frame.bytes + 38, 16);
	cr_expect_eq(frame_parse(&frame, &packet), SL_VERDICT_DROP_LAND);
	memset(frame.bytes + 22, 0, 16);
	cr_expect_eq(frame_parse(&frame, &packet), SL_VERDICT_DROP_MARTIAN);
	frame.bytes[37] = 1;
	cr_expect_eq(frame_parse(&frame, &packet), SL_VERDICT_DROP_MARTIAN);
	memset(frame.bytes + 32, 0xff, 2);
	cr_expect_eq(frame_parse(&frame, &packet), SL_VERDICT_DROP_MARTIAN);
}

/* Puts @size bytes of options (a multiple of 4) behind the IPv4 header. */
static struct frame with_options(const uint8_t *options, size_t size)
{
	struct frame frame = frame_make(SL_FAMILY_IPV4, SL_PROTOCOL_UDP, 4);

	memmove(frame.bytes + frame.l4 + size, frame.bytes + frame.l4, frame.length - frame.l4);
	memcpy(frame.bytes + frame.l4, options, size);
	frame.bytes[14] = (uint8_t)(0x45 + size / 4);
	frame.bytes[17] = (uint8_t)(frame.bytes[17] + size);
	frame.l4 += size;
	frame.length += size;
	frame_finish(&frame);
	return frame;
}

Test(parse, ipv4_options_are_walked)
{
	static const struct {
		const char *name;
		uint8_t options[40];
		size_t size;
		enum sl_verdict verdict;
	} row[] = {
		{"router alert", {0x94, 4, 0, 0}, 4, SL_VERDICT_NONE},
		{"no operations", {1, 1, 1, 1}, 4, SL_VERDICT_NONE},
		{"end of list, junk after it", {0, 0x83, 0xff, 0xff}, 4, SL_VERDICT_NONE},
		{"record route", {7, 7, 4, 0, 0, 0, 0, 0}, 8, SL_VERDICT_NONE},
		{"40 bytes", {7, 39, 4}, 40, SL_VERDICT_NONE},
		{"loose source route",
		 {0x83, 7, 4, 1, 2, 3, 4, 0},
		 8,
		 SL_VERDICT_DROP_SOURCE_ROUTE},
		{"strict source route",
		 {0x89, 7, 4, 1, 2, 3, 4, 0},
		 8,
		 SL_VERDICT_DROP_SOURCE_ROUTE},
		{"source route behind a no operation",
		 {1, 0x83, 3, 4},
		 4,
		 SL_VERDICT_DROP_SOURCE_ROUTE},
		{"length 0", {7, 0, 0, 0}, 4, SL_VERDICT_DROP_IP_OPTIONS},
		{"length 1", {7, 1, 0, 0}, 4, SL_VERDICT_DROP_IP_OPTIONS},
		{"beyond the header", {7, 5, 0, 0}, 4, SL_VERDICT_DROP_IP_OPTIONS},
		{"no room for its length", {1, 1, 1, 7}, 4, SL_VERDICT_DROP_IP_OPTIONS},
	};

	for (size_t i = 0; i < SL_ARRAY_LEN(row); i++) {
		struct frame frame = with_options(row[i].options, row[i].size);
		struct sl_packet packet;

		cr_expect_eq(frame_parse(&frame, &packet), row[i].verdict, "%s: %d", row[i].name,
			     frame_parse(&frame, &packet));
		for (size_t n = 14; n < frame.l4 && row[i].verdict == SL_VERDICT_NONE; n++) {
			uint8_t *cut = malloc(n);

			memcpy(cut, frame.bytes, n);
			cr_expect(sl_verdict_is_drop(sl_parse(cut, cut + n, &packet)));
			free(cut);
		}
	}
}

/* Puts a chain of extension headers of 8 x @units bytes each between IPv6 and UDP. */
static struct frame with_chain(const uint8_t *kinds, size_t n, size_t units)
{
	struct frame frame = frame_make(SL_FAMILY_IPV6, SL_PROTOCOL_UDP, 4);
	size_t size = n * units * 8;
	uint8_t next = SL_PROTOCOL_UDP;

	memmove(frame.bytes + frame.l4 + size, frame.bytes + frame.l4, frame.length - frame.l4);
	memset(frame.bytes + frame.l4, 0, size);
	for (size_t i = n; i-- > 0;) {
		uint8_t *at = frame.bytes + frame.l4 + i * units * 8;

		at[0] = next;
		at[1] = kinds[i] == 44 ? 0 : (uint8_t)(units - 1);
		at[2] = kinds[i] == 43 ? 4 : 0;
		next = kinds[i];
	}
	frame.bytes[20] = next;
	frame.bytes[19] = (uint8_t)(frame.bytes[19] + size);
	frame.l4 += size;
	frame.length += size;
	return frame;
}

Test(parse, extension_headers_are_walked_up_to_the_limit)
{
	static const struct {
		const char *name;
		uint8_t kinds[10];
		size_t n;
		size_t units;
		enum sl_verdict verdict;
	} row[] = {
		{"hop by hop", {0}, 1, 1, SL_VERDICT_NONE},
		{"destination options", {60}, 1, 2, SL_VERDICT_NONE},
		{"segment routing", {43}, 1, 3, SL_VERDICT_NONE},
		{"atomic fragment", {44}, 1, 1, SL_VERDICT_NONE},
		{"hop by hop, destination, routing, fragment",
		 {0, 60, 43, 44},
		 4,
		 1,
		 SL_VERDICT_NONE},
		{"8 headers", {60, 60, 60, 60, 60, 60, 60, 60}, 8, 1, SL_VERDICT_NONE},
		{"9 headers",
		 {60, 60, 60, 60, 60, 60, 60, 60, 60},
		 9,
		 1,
		 SL_VERDICT_DROP_EXTENSION_CHAIN},
		{"hop by hop not first", {60, 0}, 2, 1, SL_VERDICT_DROP_EXTENSION_CHAIN},
	};

	for (size_t i = 0; i < SL_ARRAY_LEN(row); i++) {
		struct frame frame = with_chain(row[i].kinds, row[i].n, row[i].units);
		struct sl_packet packet;
		enum sl_verdict verdict = frame_parse(&frame, &packet);

		cr_expect_eq(verdict, row[i].verdict, "%s: %d", row[i].name, verdict);
		if (verdict == SL_VERDICT_NONE)
			cr_expect_eq((uint8_t *)packet.ports, frame.bytes + frame.l4, "%s",
				     row[i].name);
	}
}

Test(parse, extension_headers_that_lie_are_dropped)
{
	struct frame frame = with_chain((const uint8_t[]){60}, 1, 1);
	struct sl_packet packet;

	frame.bytes[55] = 200;
	cr_expect_eq(frame_parse(&frame, &packet), SL_VERDICT_DROP_EXTENSION_CHAIN);
	frame = with_chain((const uint8_t[]){43}, 1, 1);
	frame.bytes[56] = 0;
	cr_expect_eq(frame_parse(&frame, &packet), SL_VERDICT_DROP_SOURCE_ROUTE);
	frame = with_chain((const uint8_t[]){44}, 1, 1);
	frame.bytes[57] = 1;
	cr_expect_eq(frame_parse(&frame, &packet), SL_VERDICT_PUNT_FRAGMENT);
	frame = frame_make(SL_FAMILY_IPV6, SL_PROTOCOL_UDP, 4);
	memset(frame.bytes + frame.l4 + 6, 0, 2);
	cr_expect_eq(frame_parse(&frame, &packet), SL_VERDICT_DROP_UDP6_CHECKSUM);
}

Test(parse, one_vlan_tag_is_passed_over_and_two_are_the_kernels)
{
	struct frame frame = frame_make(SL_FAMILY_IPV4, SL_PROTOCOL_TCP, 4);
	struct sl_packet packet;

	memmove(frame.bytes + 16, frame.bytes + 12, frame.length - 12);
	memcpy(frame.bytes + 12, (const uint8_t[]){0x81, 0, 0, 5}, 4);
	frame.length += 4;
	cr_expect_eq(frame_parse(&frame, &packet), SL_VERDICT_NONE);
	cr_expect_eq(packet.has_vlan, 1);
	cr_expect_eq((uint8_t *)packet.ports, frame.bytes + 38);
	memmove(frame.bytes + 16, frame.bytes + 12, frame.length - 12);
	frame.length += 4;
	cr_expect_eq(frame_parse(&frame, &packet), SL_VERDICT_PUNT_VLAN);
	frame.bytes[12] = 0x88;
	frame.bytes[13] = 0xa8;
	cr_expect_eq(frame_parse(&frame, &packet), SL_VERDICT_PUNT_VLAN);
}

Test(parse, trailer_behind_the_ip_packet_is_not_payload)
{
	struct frame frame = frame_make(SL_FAMILY_IPV4, SL_PROTOCOL_UDP, 1);
	struct sl_packet packet;

	frame.length = 60;
	cr_expect_eq(frame_parse(&frame, &packet), SL_VERDICT_NONE);
	cr_expect_eq(packet.l4_length, 9);
}

Test(parse, link_address_decides_first)
{
	struct frame frame = frame_make(SL_FAMILY_IPV4, SL_PROTOCOL_UDP, 1);
	const uint8_t *end = frame.bytes + frame.length;
	const uint8_t mac[6] = {2, 0, 0, 0, 0, 1};

	cr_expect_eq(sl_parse_link(frame.bytes, end, mac), SL_VERDICT_NONE);
	frame.bytes[5] = 9;
	cr_expect_eq(sl_parse_link(frame.bytes, end, mac), SL_VERDICT_DROP_OTHER_HOST);
	frame.bytes[0] = 0xff;
	cr_expect_eq(sl_parse_link(frame.bytes, end, mac), SL_VERDICT_PUNT_MULTICAST);
	cr_expect_eq(sl_parse_link(frame.bytes, frame.bytes + 13, mac), SL_VERDICT_DROP_TRUNCATED);
}

/* Whatever the bytes, a packet that is let through has all its headers inside the frame. */
Test(parse, random_changes_never_lead_outside)
{
	struct random random = random_seeded();

	for (int i = 0; i < 1000000; i++) {
		struct frame frame = frame_make(families[i & 1], protocols[(i >> 1) & 1],
						random_next(&random) % 20);
		struct sl_packet packet;
		uint8_t *end;

		for (uint64_t n = random_next(&random) % 4; n > 0; n--)
			frame.bytes[random_next(&random) % frame.length] =
				(uint8_t)random_next(&random);
		if (i % 3 == 0)
			frame.length = random_next(&random) % (frame.length + 1);
		end = frame.bytes + frame.length;
		if (frame_parse(&frame, &packet) != SL_VERDICT_NONE)
			continue;
		cr_assert(packet.ipv4 == NULL || (uint8_t *)(packet.ipv4 + 1) <= end);
		cr_assert(packet.ipv6 == NULL || (uint8_t *)(packet.ipv6 + 1) <= end);
		cr_assert((uint8_t *)(packet.ports + 1) <= end);
		cr_assert((uint8_t *)(packet.l4_checksum + 1) <= end);
	}
}
