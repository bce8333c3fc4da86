/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* The rules of transactions, and what a large state costs. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "dataplane/session_internal.h"
#include "dataplane/snapshot.h"
#include "tests/protocol/peer.h"

static struct peer *greeted(struct world *world, int pid)
{
	struct peer *peer = peer_new(world, pid);

	cr_assert_eq(peer_hello(peer), 0);
	return peer;
}

/* Generation 1: services 0 to 2, with backends 0 to 1 each. */
static void fill(struct peer *peer)
{
	cr_assert_eq(peer_begin(peer, 1, 0), 0);
	for (uint32_t i = 0; i < 3; i++) {
		const struct wire_service service = service_record(i);
		const struct wire_backend backends[] = {backend_record(&service, i * 2),
							backend_record(&service, i * 2 + 1)};

		cr_assert_eq(peer_services(peer, &service, 1), 0);
		cr_assert_eq(peer_backends(peer, backends, 2), 0);
	}
	cr_assert_eq(peer_commit(peer, false), 0, "%s", peer_error(peer));
}

Test(transaction, a_good_session_tells_what_it_did)
{
	const struct wire_service service = service_record(1);
	struct wire_backend backend = backend_record(&service, 2);
	const struct wire_commit_reply *commit;
	const struct wire_hello_reply *hello;
	const struct wire_service_delete_reply *deleted;
	struct wire_commit_reply dry;
	struct world world;
	struct peer *peer;

	world_open(&world);
	peer = greeted(&world, 1);
	hello = peer_body(peer);
	cr_expect_eq(hello->generation, 0);
	cr_expect_eq(hello->digest, 0);
	cr_expect_str_eq(hello->engine, "memory");
	fill(peer);
	commit = peer_body(peer);
	cr_expect_eq(commit->generation, 1);
	cr_expect_eq(commit->n_tables_built, 3);
	cr_expect_eq(commit->digest, peer_state(peer).digest);
	cr_expect_eq(peer_state(peer).n_services, 3);
	cr_expect_eq(peer_state(peer).n_backends, 6);

	backend.weight = 5;
	cr_assert_eq(peer_begin(peer, 5, 1), 0);
	cr_assert_eq(peer_backends(peer, &backend, 1), 0);
	cr_assert_eq(peer_commit(peer, true), 0);
	memcpy(&dry, peer_body(peer), sizeof(dry));
	cr_expect_eq(dry.n_tables_built, 1);
	cr_expect_eq(peer_state(peer).generation, 1, "a dry run published");
	cr_expect_eq(peer_commit(peer, false), -EPROTO, "a dry run left the transaction open");
	cr_assert_eq(peer_begin(peer, 5, 1), 0);
	cr_assert_eq(peer_backends(peer, &backend, 1), 0);
	cr_assert_eq(peer_commit(peer, false), 0);
	cr_expect_eq(peer_state(peer).generation, 5);
	cr_expect_eq(peer_state(peer).digest, dry.digest, "a dry run foretold another digest");

	cr_assert_eq(peer_begin(peer, 6, 5), 0);
	cr_assert_eq(peer_service_delete(peer, &service.address), 0);
	deleted = peer_body(peer);
	cr_expect_eq(deleted->n_backends, 2);
	cr_assert_eq(peer_commit(peer, false), 0);
	cr_expect_eq(peer_state(peer).n_services, 2);
	cr_expect_eq(peer_state(peer).n_backends, 4);
	peer_free(peer);
	world_close(&world);
}

Test(transaction, there_is_one_at_a_time_and_the_holder_is_named)
{
	struct world world;
	struct peer *first;
	struct peer *second;

	world_open(&world);
	first = greeted(&world, 41);
	second = greeted(&world, 42);
	cr_assert_eq(peer_begin(first, 1, 0), 0);
	cr_expect_eq(peer_begin(second, 1, 0), -EBUSY);
	cr_expect_not_null(strstr(peer_error(second), "pid 41"), "%s", peer_error(second));
	cr_expect_eq(peer_begin(first, 1, 0), -EBUSY, "twice on one connection");
	cr_expect_eq(peer_commit(second, false), -EPROTO);
	cr_expect_eq(peer_abort(second), -EPROTO);
	cr_expect_eq(peer_commit(first, false), 0, "the refused BEGIN ended the transaction");
	cr_expect_eq(peer_begin(second, 2, 1), 0);
	peer_free(second); /* killed in the middle */
	cr_expect_eq(peer_begin(first, 2, 1), 0, "%s", peer_error(first));
	cr_expect_eq(peer_abort(first), 0);
	cr_expect_eq(peer_abort(first), -EPROTO);
	peer_free(first);
	world_close(&world);
}

Test(transaction, an_abandoned_one_leaves_nothing_behind)
{
	const struct wire_service service = service_record(7);
	struct peer_state before;
	struct peer_state after;
	struct world world;
	struct peer *watcher;
	struct peer *peer;

	world_open(&world);
	watcher = greeted(&world, 1);
	fill(watcher);
	before = peer_state(watcher);
	for (int i = 0; i < 3; i++) {
		peer = greeted(&world, 2);
		cr_assert_eq(peer_begin(peer, 9, i == 2 ? 0 : 1), 0);
		cr_assert_eq(peer_services(peer, &service, 1), 0);
		if (i == 1)
			cr_assert_eq(peer_abort(peer), 0);
		peer_free(peer);
	}
	after = peer_state(watcher);
	cr_expect_eq(memcmp(&before, &after, sizeof(before)), 0);
	peer_free(watcher);
	world_close(&world);
}

Test(transaction, a_stale_base_is_refused_with_both_numbers)
{
	struct world world;
	struct peer *peer;

	world_open(&world);
	peer = greeted(&world, 1);
	cr_expect_eq(peer_begin(peer, 2, 1), -ESTALE);
	cr_expect_not_null(strstr(peer_error(peer), "generation 1, current is 0"));
	fill(peer);
	cr_assert_eq(peer_begin(peer, 9, 1), 0);
	cr_assert_eq(peer_commit(peer, false), 0);
	cr_expect_eq(peer_begin(peer, 10, 1), -ESTALE);
	cr_expect_not_null(strstr(peer_error(peer), "generation 1, current is 9"));
	peer_free(peer);
	world_close(&world);
}

Test(transaction, a_full_state_may_carry_any_number)
{
	struct world world;
	struct peer *peer;

	world_open(&world);
	peer = greeted(&world, 1);
	cr_assert_eq(peer_begin(peer, 100, 0), 0);
	cr_assert_eq(peer_commit(peer, false), 0);
	cr_assert_eq(peer_begin(peer, 3, 0), 0, "%s", peer_error(peer));
	cr_assert_eq(peer_commit(peer, false), 0);
	cr_expect_eq(peer_state(peer).generation, 3);
	peer_free(peer);
	world_close(&world);
}

Test(transaction, one_refused_record_refuses_the_whole)
{
	struct wire_service services[] = {service_record(11), service_record(12),
					  service_record(13)};
	struct peer_state before;
	struct world world;
	struct peer *peer;

	world_open(&world);
	peer = greeted(&world, 1);
	fill(peer);
	before = peer_state(peer);
	services[2].n_slots = 252;
	cr_assert_eq(peer_begin(peer, 2, 1), 0);
	cr_expect_eq(peer_services(peer, services, 3), -EINVAL);
	cr_expect_eq(peer_commit(peer, false), -EPROTO, "its first records could be committed");
	cr_expect_eq(peer_state(peer).digest, before.digest);
	/* What does not belong to the transaction does not end it. */
	cr_assert_eq(peer_begin(peer, 2, 1), 0);
	cr_expect_eq(peer_call(peer, 99, NULL, 0), -EOPNOTSUPP);
	cr_expect_eq(peer_call(peer, WIRE_STATUS, NULL, 0), -EINVAL);
	cr_expect_eq(peer_services(peer, services, 2), 0);
	cr_expect_eq(peer_commit(peer, false), 0);
	cr_expect_eq(peer_state(peer).n_services, 5);
	peer_free(peer);
	world_close(&world);
}

Test(transaction, one_that_is_refused_at_commit_can_be_repeated)
{
	const struct wire_service service = service_record(0);
	struct wire_backend backend = backend_record(&service, 0);
	struct world world;
	struct peer *peer;

	world_open(&world);
	peer = greeted(&world, 1);
	fill(peer);
	backend.addr = service.address.addr;
	cr_assert_eq(peer_begin(peer, 2, 1), 0);
	cr_assert_eq(peer_backends(peer, &backend, 1), 0);
	cr_expect_eq(peer_commit(peer, false), -EINVAL);
	backend = backend_record(&service, 50);
	cr_assert_eq(peer_begin(peer, 2, 1), 0);
	cr_assert_eq(peer_backend_delete(peer, &backend), -ENOENT);
	cr_assert_eq(peer_begin(peer, 2, 1), 0);
	backend = backend_record(&service, 0);
	cr_assert_eq(peer_backend_delete(peer, &backend), 0);
	cr_assert_eq(peer_commit(peer, false), 0);
	cr_expect_eq(peer_state(peer).n_backends, 5);
	peer_free(peer);
	world_close(&world);
}

/* A control daemon that restarts pushes everything; flows must not notice (T-25). */
Test(transaction, a_full_state_keeps_the_indices_and_epochs_of_what_it_repeats)
{
	struct wire_service services[3] = {service_record(2), service_record(0), service_record(8)};
	const struct snapshot *snapshot;
	struct sl_service service_before;
	struct sl_backend backend_before;
	struct world world;
	struct peer *peer;
	struct wire_backend backend = backend_record(&services[0], 5);
	const struct wire_backend fresh = backend_record(&services[2], 5);
	uint32_t service;
	uint32_t index;

	world_open(&world);
	peer = greeted(&world, 1);
	fill(peer);
	snapshot = world.sessions->snapshot;
	service = snapshot_find_service(snapshot, &services[0].address.addr, SL_BE16(80),
					SL_FAMILY_IPV4, SL_PROTOCOL_TCP);
	index = snapshot_find_backend(snapshot, &backend.addr, backend.port, SL_FAMILY_IPV4,
				      SL_PROTOCOL_TCP);
	cr_assert(service != SL_NO_INDEX && index != SL_NO_INDEX);
	service_before = snapshot->service[service];
	backend_before = snapshot->backend[index];

	backend.weight = 3;
	cr_assert_eq(peer_begin(peer, 2, 0), 0);
	cr_assert_eq(peer_backends(peer, &backend, 1), -ENOENT, "a cleared service was found");
	cr_assert_eq(peer_begin(peer, 2, 0), 0);
	cr_assert_eq(peer_service_delete(peer, &services[0].address), -ENOENT);
	cr_assert_eq(peer_begin(peer, 2, 0), 0);
	cr_assert_eq(peer_services(peer, services, 3), 0);
	cr_assert_eq(peer_backends(peer, &fresh, 1), 0);
	cr_assert_eq(peer_backends(peer, &backend, 1), 0);
	cr_assert_eq(peer_commit(peer, false), 0, "%s", peer_error(peer));
	cr_expect_eq(peer_state(peer).n_services, 3);
	cr_expect_eq(peer_state(peer).n_backends, 2);

	snapshot = world.sessions->snapshot;
	cr_expect_eq(snapshot->service[service].family, SL_FAMILY_IPV4);
	cr_expect_eq(snapshot->service[service].epoch, service_before.epoch);
	cr_expect(sl_addr_equal(&snapshot->service[service].addr, &service_before.addr));
	cr_expect_eq(snapshot->service[service].n_members, 1);
	cr_expect_eq(snapshot->backend[index].epoch, backend_before.epoch);
	cr_expect_eq(snapshot->backend[index].service, service);
	cr_expect(sl_addr_equal(&snapshot->backend[index].addr, &backend_before.addr));
	peer_free(peer);
	world_close(&world);
}

Test(transaction, a_full_state_that_says_the_same_builds_no_table)
{
	const struct wire_commit_reply *reply;
	uint64_t digest;
	struct world world;
	struct peer *peer;

	world_open(&world);
	peer = greeted(&world, 1);
	fill(peer);
	digest = peer_state(peer).digest;
	fill(peer);
	reply = peer_body(peer);
	cr_expect_eq(reply->n_tables_built, 0);
	cr_expect_eq(reply->digest, digest);
	peer_free(peer);
	world_close(&world);
}

static double now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static void put_many(struct peer *peer, uint32_t n_services, uint32_t n_backends)
{
	struct wire_backend *backends = calloc(n_backends, sizeof(*backends));

	for (uint32_t i = 0; i < n_services; i++) {
		struct wire_service service = service_record(i);

		service.n_slots = n_backends == 100 ? SL_DEFAULT_SLOTS : SL_MIN_SLOTS;
		cr_assert_eq(peer_services(peer, &service, 1), 0, "%s", peer_error(peer));
		for (uint32_t k = 0; k < n_backends; k++)
			backends[k] = backend_record(&service, i * n_backends + k);
		cr_assert_eq(peer_backends(peer, backends, n_backends), 0, "%s", peer_error(peer));
	}
	free(backends);
}

static void change_one(struct peer *peer, uint64_t base, uint32_t service_number,
		       uint32_t backend_number, const char *what)
{
	const struct wire_service service = service_record(service_number);
	struct wire_backend backend = backend_record(&service, backend_number);
	const struct wire_commit_reply *reply = peer_body(peer);
	double start = now_ms();
	double begun;

	backend.weight = (uint32_t)(2 + base % 1000);
	cr_assert_eq(peer_begin(peer, base + 1, base), 0);
	begun = now_ms();
	cr_assert_eq(peer_backends(peer, &backend, 1), 0);
	cr_assert_eq(peer_commit(peer, false), 0, "%s", peer_error(peer));
	cr_expect_eq(reply->n_tables_built, 1);
	(void)fprintf(stderr, "# %s: begin %.2f ms, change and commit %.2f ms\n", what,
		      begun - start, now_ms() - begun);
}

Test(transaction, a_thousand_services_of_a_hundred_backends, .timeout = 120)
{
	struct world world;
	struct peer *peer;
	double start = now_ms();
	double staged;

	world_open(&world);
	peer = greeted(&world, 1);
	cr_assert_eq(peer_begin(peer, 1, 0), 0);
	put_many(peer, 1000, 100);
	staged = now_ms();
	cr_assert_eq(peer_commit(peer, false), 0, "%s", peer_error(peer));
	(void)fprintf(stderr, "# 1,000 x 100, 65,537 slots: staged in %.1f ms, built in %.1f ms\n",
		      staged - start, now_ms() - staged);
	for (uint32_t i = 0; i < 5; i++)
		change_one(peer, 1 + i, 500, 50000 + i, "one backend of 1,000 x 100");
	start = now_ms();
	cr_assert_eq(peer_begin(peer, 7, 0), 0);
	put_many(peer, 1000, 100);
	cr_assert_eq(peer_commit(peer, false), 0, "%s", peer_error(peer));
	cr_expect_eq(((const struct wire_commit_reply *)peer_body(peer))->n_tables_built, 1);
	(void)fprintf(stderr, "# full state again: %.1f ms\n", now_ms() - start);
	peer_free(peer);
	world_close(&world);
}

Test(transaction, ten_thousand_services, .timeout = 120)
{
	struct world world;
	struct peer *peer;
	double start = now_ms();

	world_open(&world);
	peer = greeted(&world, 1);
	cr_assert_eq(peer_begin(peer, 1, 0), 0);
	put_many(peer, 10000, 2);
	cr_assert_eq(peer_commit(peer, false), 0, "%s", peer_error(peer));
	(void)fprintf(stderr, "# 10,000 x 2, 251 slots: %.1f ms\n", now_ms() - start);
	change_one(peer, 1, 5000, 10000, "one backend of 10,000 x 2");
	peer_free(peer);
	world_close(&world);
}

Test(transaction, limits_are_named_and_a_full_table_can_be_replaced, .timeout = 120)
{
	struct world world;
	struct peer *peer;
	struct wire_service service;

	world_open(&world);
	peer = greeted(&world, 1);
	for (uint32_t round = 0; round < 2; round++) {
		/* The second full state repeats half of the first one's services, after new ones. */
		cr_assert_eq(peer_begin(peer, round + 1, 0), 0);
		for (uint32_t i = 0; i < SL_MAX_SERVICES; i++) {
			service = service_record(
				round == 0 ? i : SL_MAX_SERVICES / 2 + SL_MAX_SERVICES - 1 - i);
			cr_assert_eq(peer_services(peer, &service, 1), 0, "%s", peer_error(peer));
		}
		if (round == 0) {
			cr_assert_eq(peer_commit(peer, false), 0, "%s", peer_error(peer));
			cr_assert_eq(peer_begin(peer, 5, 1), 0);
		}
		service = service_record(60000);
		cr_expect_eq(peer_services(peer, &service, 1), -ENOSPC);
		cr_expect_not_null(strstr(peer_error(peer), "service table full (limit 16384)"),
				   "%s", peer_error(peer));
	}
	peer_free(peer);
	world_close(&world);
}

Test(transaction, a_service_has_its_limit_of_backends, .timeout = 120)
{
	struct wire_service service = service_record(1);
	struct wire_backend backends[200];
	struct world world;
	struct peer *peer;

	world_open(&world);
	peer = greeted(&world, 1);
	service.n_slots = SL_MAX_SLOTS;
	/* Twice the limit, in two full states, with none in common. */
	for (uint32_t round = 0; round < 2; round++) {
		cr_assert_eq(peer_begin(peer, round + 1, 0), 0);
		cr_assert_eq(peer_services(peer, &service, 1), 0);
		for (uint32_t i = 0; i < SL_MAX_BACKENDS_PER_SERVICE; i += 200) {
			for (uint32_t k = 0; k < 200; k++)
				backends[k] = backend_record(&service, round << 20 | (i + k));
			cr_assert_eq(peer_backends(peer, backends, 200), 0, "%s", peer_error(peer));
		}
		cr_assert_eq(peer_commit(peer, false), 0, "%s", peer_error(peer));
		cr_expect_eq(peer_state(peer).n_backends, SL_MAX_BACKENDS_PER_SERVICE);
	}
	cr_assert_eq(peer_begin(peer, 3, 2), 0);
	backends[0] = backend_record(&service, 7u << 20);
	cr_expect_eq(peer_backends(peer, backends, 1), -ENOSPC);
	cr_expect_not_null(strstr(peer_error(peer), "backend table full (limit 10000)"), "%s",
			   peer_error(peer));
	peer_free(peer);
	world_close(&world);
}
