/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* Captures over the private protocol: one at a time, read to its end, gone with its connection. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "tests/protocol/peer.h"

enum {
	SECTION = 0x0a0d0d0a,
	INTERFACE = 1,
	STATISTICS = 5,
	PACKET = 6,
	MAX_BLOCKS = 4096,
};

static struct world world;
static struct peer *peer;

static void open_world(void)
{
	world_open(&world);
	peer = peer_new(&world, 1);
	cr_assert_eq(peer_hello(peer), 0);
}

static void close_world(void)
{
	peer_free(peer);
	world_close(&world);
}

TestSuite(capture, .init = open_world, .fini = close_world);

static int begin(struct peer *by, uint64_t count, uint64_t *id)
{
	const struct wire_capture_begin_request request = {.count = count,
							   .snaplen = 256,
							   .verdict = WIRE_CAPTURE_EVERY,
							   .port = WIRE_CAPTURE_EVERY,
							   .direction = WIRE_CAPTURE_BOTH};
	int status = peer_call(by, WIRE_CAPTURE_BEGIN, &request, sizeof(request));

	if (status == 0)
		*id = ((const struct wire_capture_begin_reply *)peer_body(by))->id;
	return status;
}

static int read_some(struct peer *by, uint64_t id)
{
	const struct wire_capture_read_request request = {.id = id};

	return peer_call(by, WIRE_CAPTURE_READ, &request, sizeof(request));
}

static int stop(struct peer *by, uint64_t id)
{
	const struct wire_capture_stop_request request = {.id = id};

	return peer_call(by, WIRE_CAPTURE_STOP, &request, sizeof(request));
}

/* The types of the blocks of the last answer, appended to @types. */
static uint32_t take_blocks(uint32_t *types, uint32_t n)
{
	const struct wire_capture_read_reply *reply = peer_body(peer);
	uint32_t at = 0;

	while (at < reply->n_bytes) {
		uint32_t head[2], last;

		memcpy(head, reply->byte + at, sizeof(head));
		cr_assert(head[1] % 4 == 0 && head[1] >= 12 && head[1] <= reply->n_bytes - at);
		memcpy(&last, reply->byte + at + head[1] - 4, sizeof(last));
		cr_assert_eq(last, head[1]);
		cr_assert_lt(n, MAX_BLOCKS);
		types[n++] = head[0];
		at += head[1];
	}
	return n;
}

/* Reads until it is over. Returns the blocks. */
static uint32_t read_all(uint64_t id, uint32_t *types, uint32_t n)
{
	const struct wire_capture_read_reply *reply = peer_body(peer);

	do {
		cr_assert_eq(read_some(peer, id), 0, "%s", peer_error(peer));
		n = take_blocks(types, n);
	} while (!reply->is_over);
	return n;
}

static void expect_file(const uint32_t *types, uint32_t n, uint32_t n_packets)
{
	cr_assert_eq(n, 1 + 2 + n_packets + 2);
	for (uint32_t i = 0; i < n; i++)
		cr_expect_eq(types[i],
			     i == 0       ? SECTION
			     : i < 3      ? INTERFACE
			     : i >= n - 2 ? STATISTICS
					  : PACKET,
			     "block %u: %u", i, types[i]);
}

Test(capture, is_over_after_so_many_packets)
{
	static uint32_t types[MAX_BLOCKS];
	uint64_t id = 0;

	cr_assert_eq(begin(peer, 5, &id), 0);
	expect_file(types, read_all(id, types, 0), 5);
	cr_expect_eq(((const struct wire_capture_read_reply *)peer_body(peer))->n_packets, 5);
	cr_expect_eq(read_some(peer, id), -ENOENT);
	cr_expect_eq(begin(peer, 0, &id), 0);
}

Test(capture, that_was_stopped_is_read_to_its_end)
{
	static uint32_t types[MAX_BLOCKS];
	uint64_t id = 0;
	uint32_t n;

	cr_assert_eq(begin(peer, 0, &id), 0);
	cr_assert_eq(read_some(peer, id), 0);
	n = take_blocks(types, 0);
	cr_assert_eq(stop(peer, id), 0);
	cr_assert_eq(stop(peer, id), 0);
	n = read_all(id, types, n);
	expect_file(types, n, n - 5);
	cr_expect_eq(stop(peer, id), -ENOENT);
}

Test(capture, is_one_at_a_time_and_its_connections_own)
{
	struct peer *other = peer_new(&world, 2);
	uint64_t id = 0, next = 0;

	cr_assert_eq(peer_hello(other), 0);
	cr_assert_eq(begin(other, 0, &id), 0);
	cr_expect_eq(begin(peer, 0, &next), -EBUSY);
	cr_expect_not_null(strstr(peer_error(peer), "another one is under way (limit 1)"));
	cr_expect_eq(read_some(peer, id), -ENOENT);
	cr_expect_eq(stop(peer, id), -ENOENT);
	cr_expect_eq(read_some(other, id + 1), -ENOENT);
	peer_free(other);
	cr_expect_eq(begin(peer, 0, &next), 0);
	cr_expect_neq(next, id);
}
