/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * dataplane/dpdk/hand_over.h against steer_index(), one packet after the other: random bursts of both
 * families, of which the lane has looked at some, on up to eight workers.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/dpdk/hand_over.h"
#include "tests/unit/address.h"
#include "tests/unit/random.h"

enum {
	N_WORKERS = 8,
	N_ROUNDS = 20000,
	RING_FRAMES = 64,
	N_KINDS = 2,
	PORT = 80,
};

struct bursts {
	struct random random;
	struct dataplane dataplane;
	struct snapshot *snapshot;
	struct burst burst;
	struct sl_tuple tuple[BURST_SIZE];
	struct rte_mbuf frame[BURST_SIZE];
	uint64_t n_handed;
};

/* Of mode nat on one port, fullnat on the next. */
static void put_services(struct staging *staging, uint8_t family)
{
	char error[SL_MAX_ERROR];

	for (uint16_t kind = 0; kind < N_KINDS; kind++) {
		struct wire_service service = {.mode = kind == 0 ? WIRE_MODE_NAT
								 : WIRE_MODE_FULLNAT,
					       .scheduler = WIRE_SCHEDULER_MAGLEV,
					       .n_slots = 1009};

		service.address.addr = address(family, 1, 1);
		service.address.port = sl_to_be16((uint16_t)(PORT + kind));
		service.address.protocol = SL_PROTOCOL_UDP;
		service.address.family = family;
		snprintf(service.name, sizeof(service.name), "s%u-%u", family, kind);
		if (kind != 0) {
			service.n_sources = 1;
			service.source[0] = address(family, 2, 1);
			service.source_port_first = 1024;
			service.source_port_last = 65535;
		}
		cr_assert_eq(staging_put_service(staging, &service, error), 0, "%s", error);
	}
}

static struct worker *worker_new(struct bursts *bursts, uint32_t id)
{
	struct worker *worker = aligned_alloc(SL_CACHE_LINE, sizeof(*worker));
	size_t bytes = (size_t)rte_ring_get_memsize(RING_FRAMES);

	memset(worker, 0, sizeof(*worker));
	worker->dataplane = &bursts->dataplane;
	worker->id = id;
	worker->handoff = aligned_alloc(SL_CACHE_LINE, (bytes + SL_CACHE_LINE - 1) / SL_CACHE_LINE *
							       SL_CACHE_LINE);
	cr_assert_eq(rte_ring_init(worker->handoff, "handoff", RING_FRAMES, RING_F_SC_DEQ), 0);
	return worker;
}

static void set_up(struct bursts *bursts)
{
	struct staging *staging = staging_new();
	struct sl_hash_key key;
	char error[SL_MAX_ERROR] = "";

	bursts->random = random_seeded();
	random_fill(&bursts->random, &key, sizeof(key));
	put_services(staging, SL_FAMILY_IPV4);
	put_services(staging, SL_FAMILY_IPV6);
	cr_assert_eq(snapshot_build(staging, 1, &key, NULL, &bursts->snapshot, error), 0, "%s",
		     error);
	staging_free(staging);
	random_fill(&bursts->random, &key, sizeof(key));
	bursts->dataplane.n_workers = N_WORKERS;
	bursts->dataplane.mark_offset = offsetof(struct rte_mbuf, dynfield1);
	cr_assert_eq(steer_open(&bursts->dataplane, error), 0, "%s", error);
	for (uint32_t i = 0; i < N_WORKERS; i++) {
		bursts->dataplane.worker[i] = worker_new(bursts, i);
		bursts->dataplane.worker[i]->steering = bursts->dataplane.steering;
		bursts->dataplane.worker[i]->flows4.key = key;
	}
}

static void tear_down(struct bursts *bursts)
{
	for (uint32_t i = 0; i < N_WORKERS; i++) {
		free(bursts->dataplane.worker[i]->handoff);
		free(bursts->dataplane.worker[i]);
	}
	free(bursts->dataplane.steering);
	snapshot_free(bursts->snapshot);
}

/* To a service, to a source of one, or to somebody else. */
static void draw_tuple(struct bursts *bursts, uint16_t i)
{
	uint64_t draw = random_next(&bursts->random);
	uint8_t family = draw >> 10 & 1 ? SL_FAMILY_IPV4 : SL_FAMILY_IPV6;

	memset(&bursts->tuple[i], 0, sizeof(bursts->tuple[i]));
	bursts->tuple[i] = (struct sl_tuple){
		.source = address(family, 9, (uint32_t)(draw >> 40)),
		.destination = address(family, (uint8_t)(1 + draw % 3), 1),
		.source_port = (be16_t)(draw >> 24),
		.destination_port = sl_to_be16((uint16_t)(PORT + (draw >> 12) % (N_KINDS + 1))),
		.protocol = SL_PROTOCOL_UDP,
		.family = family};
}

/* The lane has looked at packet @left as its @column-th, or has not. */
static void draw_packet(struct bursts *bursts, uint16_t left, uint8_t column)
{
	struct burst *burst = &bursts->burst;
	struct hash_words words = {0};

	draw_tuple(bursts, left);
	burst->packet[left] = &bursts->frame[left];
	burst->hash[left] = left;
	burst->column[left] = column;
	burst->lane.family[column] = bursts->tuple[left].family;
	hash_put(&words, column, &bursts->tuple[left]);
	for (int row = 0; row < HASH_WORDS_IPV6; row++)
		burst->lane.words.row[row][column] = words.row[row][column];
	if (random_next(&bursts->random) % 8 != 0)
		burst->known |= 1ull << left;
}

static uint32_t owner_of(const struct bursts *bursts, uint16_t i)
{
	const struct worker *worker = bursts->dataplane.worker[0];

	return worker->steering->reta[0][steer_index(worker->steering, &worker->flows4.key,
						     bursts->snapshot, &bursts->tuple[i])];
}

/* The next frame in the ring of @worker is @frame, with an empty mark. */
static void expect_in_ring(const struct bursts *bursts, uint32_t worker,
			   const struct rte_mbuf *frame)
{
	struct steering_mark *mark;
	void *found = NULL;

	cr_assert_eq(rte_ring_dequeue(bursts->dataplane.worker[worker]->handoff, &found), 0);
	cr_assert_eq(found, frame);
	mark = worker_mark(&bursts->dataplane, found);
	cr_assert_eq(mark->n_hops, 1);
	cr_assert_eq(mark->step | mark->is_vetted | mark->has_backend | mark->n_ports, 0);
}

/* What the lane knows of packet @i, which has its column, after it was moved to @to. */
static void expect_column(const struct bursts *bursts, const struct lane *was, uint16_t i,
			  uint16_t to)
{
	const struct lane *lane = &bursts->burst.lane;

	cr_assert_eq(lane->family[to], was->family[i]);
	for (int row = 0; row < HASH_WORDS_IPV6; row++)
		cr_assert_eq(lane->words.row[row][to], was->words.row[row][i]);
}

/* @is_first: before the lane has looked for flows, so that each packet has the column of its number. */
static void run_burst(struct bursts *bursts, bool is_first)
{
	struct burst *burst = &bursts->burst;
	struct lane was;
	uint32_t id = (uint32_t)(random_next(&bursts->random) % N_WORKERS);
	uint16_t n = (uint16_t)(1 + random_next(&bursts->random) % BURST_SIZE);
	uint64_t was_known;
	uint16_t kept = 0;

	random_fill(&bursts->random, bursts->frame, sizeof(bursts->frame));
	burst->n = n;
	burst->known = 0;
	for (uint16_t i = 0; i < n; i++)
		draw_packet(bursts, i, (uint8_t)(is_first ? i : BURST_SIZE - n + i));
	was_known = burst->known;
	for (uint16_t i = 0; is_first && i < n; i++)
		if ((was_known >> i & 1) == 0)
			burst->lane.family[i] = LANE_LEFT;
	was = burst->lane;
	(is_first ? hand_over_first : hand_over)(bursts->dataplane.worker[id], bursts->snapshot,
						 burst);
	for (uint16_t i = 0; i < n; i++) {
		uint32_t owner = owner_of(bursts, i);
		bool is_known = was_known >> i & 1;

		if (is_known && owner != id) {
			expect_in_ring(bursts, owner, &bursts->frame[i]);
			bursts->n_handed++;
			continue;
		}
		cr_assert_eq(burst->packet[kept], &bursts->frame[i]);
		if (is_first) {
			expect_column(bursts, &was, i, kept++);
			continue;
		}
		cr_assert_eq(burst->hash[kept], i);
		cr_assert_eq(burst->known >> kept++ & 1, is_known);
	}
	cr_assert_eq(burst->n, kept);
	cr_assert(!is_first || burst->known == 0);
	for (uint32_t i = 0; i < N_WORKERS; i++)
		cr_assert(rte_ring_empty(bursts->dataplane.worker[i]->handoff));
}

Test(hand_over, what_the_lane_has_looked_at_goes_to_its_owner_in_order_early_or_late)
{
	static struct bursts bursts;
	uint64_t counted = 0;

	set_up(&bursts);
	for (int round = 0; round < N_ROUNDS; round++)
		run_burst(&bursts, round % 2 != 0);
	for (uint32_t i = 0; i < N_WORKERS; i++)
		counted += bursts.dataplane.worker[i]->counters.event[SL_EVENT_HANDOFF];
	cr_expect_gt(bursts.n_handed, N_ROUNDS);
	cr_expect_eq(counted, bursts.n_handed);
	tear_down(&bursts);
}
