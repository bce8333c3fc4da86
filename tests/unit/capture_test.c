/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* Which packets a capture takes, against a slow reading of the same words; and the workers' ring. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <string.h>

#include <sluice/packet/capture.h>

#include "dataplane/dpdk/capture_ring.h"
#include "tests/unit/random.h"

enum {
	N_ROUNDS = 200000,
	FRAME_BYTES = 128,
};

/* ---- what is read of a frame ---- */

static size_t ipv4_frame(uint8_t *frame, bool has_vlan, uint8_t ihl, uint16_t fragment)
{
	size_t at = 12;

	memset(frame, 0, FRAME_BYTES);
	if (has_vlan) {
		frame[at] = 0x81;
		at += 4;
	}
	frame[at] = 0x08;
	at += 2;
	frame[at] = (uint8_t)(0x40 | ihl);
	frame[at + 6] = (uint8_t)(fragment >> 8);
	frame[at + 7] = (uint8_t)fragment;
	frame[at + 9] = SL_PROTOCOL_TCP;
	memcpy(frame + at + 12, "\x0a\x00\x00\x01\xcb\x00\x71\x0a", 8);
	memcpy(frame + at + ihl * 4, "\x9c\x40\x00\x50", 4);
	return at + (size_t)ihl * 4 + 4;
}

Test(capture, addresses_and_ports_are_read_behind_tags_and_options)
{
	for (int has_vlan = 0; has_vlan < 2; has_vlan++)
		for (uint8_t ihl = 5; ihl <= 15; ihl++) {
			uint8_t frame[FRAME_BYTES];
			size_t length = ipv4_frame(frame, has_vlan != 0, ihl, 0x4000);
			struct sl_tuple tuple;

			sl_capture_read(frame, frame + length, &tuple);
			cr_assert_eq(tuple.family, SL_FAMILY_IPV4);
			cr_assert_eq(tuple.source.ipv4, SL_BE32(0x0a000001));
			cr_assert_eq(tuple.destination.ipv4, SL_BE32(0xcb00710a));
			cr_assert_eq(tuple.source_port, SL_BE16(40000));
			cr_assert_eq(tuple.destination_port, SL_BE16(80));
			/* Cut before the ports end, it has none. */
			sl_capture_read(frame, frame + length - 1, &tuple);
			cr_assert(tuple.family == SL_FAMILY_IPV4 && tuple.source_port == 0);
			length = ipv4_frame(frame, has_vlan != 0, ihl, 0x0001);
			sl_capture_read(frame, frame + length, &tuple);
			cr_assert(tuple.family == SL_FAMILY_IPV4 && tuple.source_port == 0);
		}
}

Test(capture, whatever_is_cut_is_read_within_its_bounds)
{
	struct random random = random_seeded();

	for (int round = 0; round < N_ROUNDS; round++) {
		uint8_t whole[FRAME_BYTES];
		size_t length = random_next(&random) % FRAME_BYTES;
		uint8_t *frame = malloc(length + 1); /* so that a sanitizer sees what is beyond */
		struct sl_tuple tuple;

		(void)ipv4_frame(whole, (round & 1) != 0, 5, 0);
		if ((round & 2) != 0)
			memcpy(whole + ((round & 1) != 0 ? 16 : 12), "\x86\xdd\x60", 3);
		whole[random_next(&random) % 64] ^= (uint8_t)random_next(&random);
		memcpy(frame, whole, length);
		sl_capture_read(frame, frame + length, &tuple);
		cr_assert(tuple.family == SL_FAMILY_NONE || length >= 34);
		free(frame);
	}
}

/* ---- what is taken ---- */

static struct sl_tuple random_tuple(struct random *random)
{
	static const uint8_t protocols[] = {SL_PROTOCOL_TCP, SL_PROTOCOL_UDP, SL_PROTOCOL_ICMP};
	static const uint8_t families[] = {SL_FAMILY_NONE, SL_FAMILY_IPV4, SL_FAMILY_IPV6};
	struct sl_tuple tuple = {.family = families[random_next(random) % 3]};

	if (tuple.family == SL_FAMILY_NONE)
		return tuple;
	tuple.source.byte[0] = (uint8_t)(random_next(random) % 3);
	tuple.destination.byte[0] = (uint8_t)(random_next(random) % 3);
	tuple.destination.byte[3] = (uint8_t)(random_next(random) % 2);
	tuple.protocol = protocols[random_next(random) % 3];
	if (tuple.protocol == SL_PROTOCOL_ICMP || random_next(random) % 4 == 0)
		return tuple;
	tuple.source_port = (be16_t)(1 + random_next(random) % 3);
	tuple.destination_port = (be16_t)(1 + random_next(random) % 3);
	return tuple;
}

static struct sl_capture_end random_end(struct random *random, uint32_t *n_bits)
{
	static const uint8_t families[] = {SL_FAMILY_NONE, SL_FAMILY_IPV4, SL_FAMILY_IPV6};
	static const uint8_t protocols[] = {0, SL_PROTOCOL_TCP, SL_PROTOCOL_UDP};
	struct sl_capture_end end = {.family = families[random_next(random) % 3]};

	*n_bits = 0;
	if (end.family == SL_FAMILY_NONE)
		return end;
	*n_bits = random_next(random) % 2 ? 8 : 32;
	memset(end.mask.byte, 0xff, *n_bits / 8);
	end.addr.byte[0] = (uint8_t)(random_next(random) % 3);
	end.port = (be16_t)(random_next(random) % 4);
	end.protocol = protocols[random_next(random) % 3];
	return end;
}

static bool slow_has(const struct sl_capture_end *end, uint32_t n_bits, const union sl_addr *addr,
		     be16_t port)
{
	for (uint32_t i = 0; i < n_bits / 8; i++)
		if (end->addr.byte[i] != addr->byte[i])
			return false;
	if (end->port != 0 && port != 0)
		return end->port == port;
	return true;
}

static bool slow_is_of(const struct sl_capture_end *end, uint32_t n_bits,
		       const struct sl_tuple *tuple)
{
	bool has_ports = tuple->protocol != SL_PROTOCOL_ICMP;

	if (tuple->family == SL_FAMILY_NONE || tuple->family != end->family)
		return false;
	if (has_ports && end->protocol != 0 && end->protocol != tuple->protocol)
		return false;
	return slow_has(end, n_bits, &tuple->source, tuple->source_port) ||
	       slow_has(end, n_bits, &tuple->destination, tuple->destination_port);
}

static bool slow_wants(const struct sl_capture_end *end, uint32_t n_bits,
		       const struct sl_capture_record *record)
{
	return end->family == SL_FAMILY_NONE || slow_is_of(end, n_bits, &record->in) ||
	       slow_is_of(end, n_bits, &record->out);
}

Test(capture, a_filter_takes_what_its_words_say)
{
	struct random random = random_seeded();
	uint32_t n_taken = 0;

	for (int round = 0; round < N_ROUNDS; round++) {
		uint32_t n_bits[3];
		const struct sl_capture_filter filter = {
			.service = random_end(&random, &n_bits[0]),
			.client = random_end(&random, &n_bits[1]),
			.backend = random_end(&random, &n_bits[2]),
			.verdict = random_next(&random) % 2 ? SL_CAPTURE_EVERY : 1,
			.port = random_next(&random) % 2 ? SL_CAPTURE_EVERY : 1,
			.direction = (uint8_t)(1 + random_next(&random) % 3),
		};
		const struct sl_capture_record record = {
			.verdict = (uint8_t)(random_next(&random) % 3),
			.direction = random_next(&random) % 2 ? SL_CAPTURE_IN : SL_CAPTURE_OUT,
			.port = (uint8_t)(random_next(&random) % 3),
			.in = random_tuple(&random),
			.out = random_tuple(&random),
		};
		bool is_taken =
			slow_wants(&filter.service, n_bits[0], &record) &&
			slow_wants(&filter.client, n_bits[1], &record) &&
			slow_wants(&filter.backend, n_bits[2], &record) &&
			(filter.verdict == SL_CAPTURE_EVERY || filter.verdict == record.verdict);
		bool is_seen = (filter.port == SL_CAPTURE_EVERY || filter.port == record.port) &&
			       (filter.direction == 3 || filter.direction == record.direction);

		cr_assert_eq(sl_capture_matches(&filter, &record), is_taken, "round %d", round);
		cr_assert_eq(sl_capture_is_seen(&filter, &record), is_seen, "round %d", round);
		n_taken += is_taken;
	}
	cr_expect(n_taken > N_ROUNDS / 100 && n_taken < N_ROUNDS / 2, "%u", n_taken);
}

/* ---- the ring ---- */

static uint8_t slots[8][16];
static struct capture_ring ring = {.n_slots = 8, .slot_bytes = 16, .slot = slots[0]};

Test(capture, a_full_ring_has_no_room_and_an_empty_one_nothing)
{
	for (uint64_t round = 0; round < 100; round++) {
		uint64_t n = 1 + round % 8;

		cr_assert_null(capture_ring_oldest(&ring));
		for (uint64_t i = 0; i < n; i++) {
			uint64_t *room = capture_ring_room(&ring);

			cr_assert_not_null(room);
			*room = i;
			capture_ring_show(&ring);
		}
		cr_assert_eq(capture_ring_room(&ring) == NULL, n == 8);
		for (uint64_t i = 0; i < n; i++) {
			cr_assert_eq(*(const uint64_t *)capture_ring_oldest(&ring), i);
			capture_ring_take(&ring);
		}
	}
}

enum {
	N_COPIES = 1000000,
};

static void *write_all(void *lost)
{
	for (uint64_t i = 0; i < N_COPIES; i++) {
		uint64_t *room = capture_ring_room(&ring);

		if (room == NULL) {
			++*(uint64_t *)lost;
			continue;
		}
		room[0] = i;
		room[1] = ~i;
		capture_ring_show(&ring);
	}
	/* The last one is not lost, so that the reader sees the end. */
	for (;;) {
		uint64_t *room = capture_ring_room(&ring);

		if (room == NULL)
			continue;
		room[0] = N_COPIES;
		room[1] = ~(uint64_t)N_COPIES;
		capture_ring_show(&ring);
		return NULL;
	}
}

Test(capture, two_threads_lose_what_has_no_room_and_nothing_else)
{
	uint64_t n_lost = 0, n_read = 0, next = 0;
	pthread_t writer;

	cr_assert_eq(pthread_create(&writer, NULL, write_all, &n_lost), 0);
	while (next <= N_COPIES) {
		const uint64_t *copy = capture_ring_oldest(&ring);

		if (copy == NULL)
			continue;
		cr_assert(copy[0] >= next && copy[1] == ~copy[0], "copy %llu",
			  (unsigned long long)copy[0]);
		next = copy[0] + 1;
		n_read++;
		capture_ring_take(&ring);
	}
	pthread_join(writer, NULL);
	cr_expect_eq(n_read + n_lost, N_COPIES + 1);
}
