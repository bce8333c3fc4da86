/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
#include <criterion/criterion.h>
#include <string.h>

#include <sluice/limits.h>

#include "dataplane/dpdk/rss.h"

enum {
	N_WORKERS = 4,
	RETA_SIZE = 128,
};

static struct steering steering;
static struct sl_ipv4 ipv4;
static struct sl_ipv6 ipv6;

static void fill(struct steering *out, const uint8_t *key, uint32_t reta_size, uint32_t shift)
{
	uint8_t reta[STEERING_MAX_RETA];
	char error[SL_MAX_ERROR];

	for (uint32_t i = 0; i < reta_size; i++)
		reta[i] = (uint8_t)((i >> shift) % N_WORKERS);
	cr_assert_eq(steering_init(out, key, SL_TOEPLITZ_MIN_KEY_BYTES, reta, reta_size, N_WORKERS,
				   error),
		     0);
}

static struct sl_packet packet4(void)
{
	struct sl_packet packet = {.ipv4 = &ipv4};

	ipv4.version_ihl = 0x45;
	packet.tuple.family = SL_FAMILY_IPV4;
	packet.tuple.protocol = SL_PROTOCOL_TCP;
	/* The first row of Microsoft's verification suite: 66.9.149.187:2794 to 161.142.100.80:1766. */
	memcpy(packet.tuple.source.byte, "\x42\x09\x95\xbb", 4);
	memcpy(packet.tuple.destination.byte, "\xa1\x8e\x64\x50", 4);
	packet.tuple.source_port = sl_to_be16(2794);
	packet.tuple.destination_port = sl_to_be16(1766);
	return packet;
}

static const uint32_t HASH4 = 0x51ccc178;

static void prepare(void)
{
	fill(&steering, sl_toeplitz_key_microsoft, RETA_SIZE, 0);
}

Test(rss, packet_is_right_where_its_hash_says, .init = prepare)
{
	struct sl_packet packet = packet4();

	for (uint32_t worker = 0; worker < N_WORKERS; worker++) {
		uint32_t ours = 0;
		enum rss_judgement expected =
			worker == HASH4 % N_WORKERS ? RSS_RIGHT : RSS_WRONG_WORKER;

		cr_assert_eq(rss_judge(&steering, &packet, worker, false, 0, &ours), expected,
			     "worker %u", worker);
		cr_assert_eq(ours, HASH4);
		cr_assert_eq(rss_judge(&steering, &packet, worker, true, HASH4, &ours), expected,
			     "worker %u, hash reported", worker);
	}
}

Test(rss, reported_hash_that_is_not_ours_is_wrong_even_at_the_right_worker, .init = prepare)
{
	struct sl_packet packet = packet4();
	uint32_t ours;

	cr_assert_eq(
		rss_judge(&steering, &packet, HASH4 % N_WORKERS, true, HASH4 ^ 0x80000000, &ours),
		RSS_WRONG_HASH);
	cr_assert_eq(ours, HASH4);
}

Test(rss, udp_is_judged_by_its_ports_too, .init = prepare)
{
	struct sl_packet packet = packet4();
	uint32_t ours;

	packet.tuple.protocol = SL_PROTOCOL_UDP;
	cr_assert_eq(rss_judge(&steering, &packet, HASH4 % N_WORKERS, true, HASH4, &ours),
		     RSS_RIGHT);
}

Test(rss, packets_that_cards_hash_differently_are_not_judged, .init = prepare)
{
	struct sl_packet packet = packet4();
	uint32_t ours;

	ipv4.version_ihl = 0x46;
	cr_assert_eq(rss_judge(&steering, &packet, 0, true, 0, &ours), RSS_NOT_JUDGED, "options");
	ipv4.version_ihl = 0x45;
	packet.has_vlan = 1;
	cr_assert_eq(rss_judge(&steering, &packet, 0, true, 0, &ours), RSS_NOT_JUDGED, "VLAN");
	packet = (struct sl_packet){.ipv6 = &ipv6};
	packet.tuple.family = SL_FAMILY_IPV6;
	packet.tuple.protocol = SL_PROTOCOL_TCP;
	ipv6.next_header = SL_PROTOCOL_TCP;
	cr_assert_neq(rss_judge(&steering, &packet, 0, true, 0, &ours), RSS_NOT_JUDGED, "plain");
	ipv6.next_header = 60;
	cr_assert_eq(rss_judge(&steering, &packet, 0, true, 0, &ours), RSS_NOT_JUDGED,
		     "extension header");
}

Test(rss, tables_of_other_sizes_are_alike_if_they_say_the_same, .init = prepare)
{
	static struct steering other;

	fill(&other, sl_toeplitz_key_microsoft, 512, 0);
	cr_assert(rss_is_alike(&steering, &other) && rss_is_alike(&other, &steering));
	fill(&other, sl_toeplitz_key_microsoft, RETA_SIZE, 1);
	cr_assert_not(rss_is_alike(&steering, &other));
	fill(&other, sl_toeplitz_key_symmetric, RETA_SIZE, 0);
	cr_assert_not(rss_is_alike(&steering, &other));
}
