/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * dataplane/dpdk/traffic.h: what services and backends have counted is theirs, whatever backends come and go,
 * and to whomever their indices are given next.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/dpdk/traffic.h"
#include "tests/unit/address.h"
#include "tests/unit/random.h"

enum {
	N_WORKERS = 3,
	N_SERVICES = 12,
	N_HOSTS = 24,
	N_ROUNDS = 4000,
	MAX_CHANGES = 6, /* of a round */
	N_COUNTED = 40,  /* packets of a round */
	N_FORMER_SERVICES = 4096,
	PORT = 80,
};

/* What is to be seen. Of those that are not there nothing is asked. */
struct expected {
	bool is_there;
	struct sl_service_counters counters;
	struct {
		bool is_there;
		uint32_t index;
		struct sl_backend_counters counters;
	} backend[N_HOSTS];
};

struct world {
	struct random random;
	struct dataplane dataplane;
	struct staging *staging;
	struct expected service[N_SERVICES];
	uint32_t n_patched;
	uint32_t n_reused; /* backends whose index was another's before */
	bool was_used[SL_MAX_BACKENDS];
};

static const struct sl_hash_key key = {{1, 2}};
static char error[SL_MAX_ERROR];

static uint32_t draw(struct world *world, uint32_t n)
{
	return (uint32_t)((random_next(&world->random) >> 16) % n);
}

static struct wire_address address_of(uint32_t service)
{
	return (struct wire_address){.addr = address(SL_FAMILY_IPV4, 1, service),
				     .port = SL_BE16(PORT),
				     .protocol = SL_PROTOCOL_TCP,
				     .family = SL_FAMILY_IPV4};
}

/* Of one service alone, or else a snapshot is not made of the one before when it leaves. */
static union sl_addr host_of(uint32_t service, uint32_t host)
{
	return address(SL_FAMILY_IPV4, 2, service * N_HOSTS + host);
}

static void put_service(struct world *world, uint32_t number)
{
	struct wire_service service = {.address = address_of(number),
				       .mode = WIRE_MODE_NAT,
				       .scheduler = WIRE_SCHEDULER_MAGLEV,
				       .n_slots = 4099};
	struct expected *expected = &world->service[number];

	snprintf(service.name, sizeof(service.name), "s%u", number);
	cr_assert_eq(staging_put_service(world->staging, &service, error), 0, "%s", error);
	if (!expected->is_there)
		*expected = (struct expected){.is_there = true};
}

static void delete_service(struct world *world, uint32_t number)
{
	const struct wire_address service = address_of(number);
	uint32_t n_backends;

	cr_assert_eq(staging_delete_service(world->staging, &service, &n_backends, error), 0, "%s",
		     error);
	world->service[number].is_there = false;
}

static void put_backend(struct world *world, uint32_t number, uint32_t host)
{
	const struct wire_backend backend = {.service = address_of(number),
					     .addr = host_of(number, host),
					     .port = SL_BE16(PORT),
					     .state = WIRE_STATE_READY,
					     .health = WIRE_HEALTH_UP,
					     .weight = 1 + draw(world, 3)};
	struct expected *expected = &world->service[number];

	cr_assert_eq(staging_put_backend(world->staging, &backend, error), 0, "%s", error);
	if (expected->backend[host].is_there)
		return;
	memset(&expected->backend[host], 0, sizeof(expected->backend[host]));
	expected->backend[host].is_there = true;
	expected->backend[host].index = SL_NO_INDEX;
}

static void delete_backend(struct world *world, uint32_t number, uint32_t host)
{
	const struct wire_backend_delete_request request = {.service = address_of(number),
							    .addr = host_of(number, host),
							    .port = SL_BE16(PORT)};

	cr_assert_eq(staging_delete_backend(world->staging, &request, error), 0, "%s", error);
	world->service[number].backend[host].is_there = false;
}

/* Mostly of backends, so that most snapshots are made of the ones before. */
static void change_something(struct world *world, bool is_any)
{
	uint32_t number = draw(world, N_SERVICES);
	uint32_t host = draw(world, N_HOSTS);
	const struct expected *expected = &world->service[number];

	if (!expected->is_there) {
		if (is_any)
			put_service(world, number);
	} else if (is_any && draw(world, 16) == 0) {
		delete_service(world, number);
	} else if (expected->backend[host].is_there) {
		delete_backend(world, number, host);
	} else {
		put_backend(world, number, host);
	}
}

/* Which index each backend has now. */
static void learn_indices(struct world *world)
{
	const struct snapshot *snapshot = world->dataplane.snapshot;

	for (uint32_t i = 0; i < N_SERVICES * N_HOSTS; i++) {
		struct expected *expected = &world->service[i / N_HOSTS];
		const struct wire_address service = address_of(i / N_HOSTS);
		const union sl_addr addr = host_of(i / N_HOSTS, i % N_HOSTS);
		uint32_t index;

		if (!expected->is_there || !expected->backend[i % N_HOSTS].is_there)
			continue;
		index = snapshot_find_service(snapshot, &service.addr, service.port, service.family,
					      service.protocol);
		for (uint32_t k = 0; k < snapshot->service[index].n_members; k++) {
			uint32_t member =
				snapshot->member[snapshot->service[index].first_member + k];
			bool is_new = expected->backend[i % N_HOSTS].index != member;

			if (!sl_addr_equal(&snapshot->backend[member].addr, &addr))
				continue;
			world->n_reused += is_new && world->was_used[member];
			world->was_used[member] = true;
			expected->backend[i % N_HOSTS].index = member;
		}
		cr_assert_neq(expected->backend[i % N_HOSTS].index, SL_NO_INDEX);
	}
}

static void commit(struct world *world, uint64_t generation)
{
	struct snapshot *former = world->dataplane.snapshot;

	cr_assert_eq(snapshot_build(world->staging, generation, &key, former,
				    &world->dataplane.snapshot, error),
		     0, "%s", error);
	world->n_patched += !world->dataplane.snapshot->is_all_fresh;
	traffic_settle(&world->dataplane, former, world->dataplane.snapshot);
	snapshot_free(former);
	learn_indices(world);
}

/* A packet of a flow, as workers count: the flow is new and ends at once, or is known. */
static void count_something(struct world *world)
{
	uint32_t number = draw(world, N_SERVICES), host = draw(world, N_HOSTS);
	uint32_t length = 64 + draw(world, 1000);
	struct expected *expected = &world->service[number];
	struct worker *worker = world->dataplane.worker[draw(world, N_WORKERS)];
	struct backend_line *line;
	uint32_t service;

	if (!expected->is_there || !expected->backend[host].is_there)
		return;
	line = &worker->backend_counters[expected->backend[host].index];
	service = world->dataplane.snapshot->backend[expected->backend[host].index].service;
	if (draw(world, 2) == 0) {
		line->packets_in++;
		line->bytes_in += length;
		expected->counters.packets_in++;
		expected->counters.bytes_in += length;
		expected->backend[host].counters.packets_in++;
		expected->backend[host].counters.bytes_in += length;
	} else {
		line->packets_out++;
		line->bytes_out += length;
		expected->counters.packets_out++;
		expected->counters.bytes_out += length;
		expected->backend[host].counters.packets_out++;
		expected->backend[host].counters.bytes_out += length;
	}
	if (draw(world, 4) == 0) {
		worker->service_counters[service].flows++;
		line->flows++;
		line->flows_ended++;
		expected->counters.flows++;
		expected->backend[host].counters.flows++;
		expected->backend[host].counters.flows_ended++;
	}
	if (draw(world, 4) == 0) {
		worker->service_counters[service].drops++;
		expected->counters.drops++;
	}
}

static void compare(const struct world *world, uint32_t number)
{
	const struct expected *expected = &world->service[number];
	const struct snapshot *snapshot = world->dataplane.snapshot;
	const struct wire_address service = address_of(number);
	struct sl_service_counters counters;
	struct sl_backend_counters of_backend;

	if (!expected->is_there)
		return;
	traffic_of_service(&world->dataplane,
			   snapshot_find_service(snapshot, &service.addr, service.port,
						 service.family, service.protocol),
			   &counters);
	cr_assert_arr_eq(&counters, &expected->counters, sizeof(counters), "service %u", number);
	for (uint32_t host = 0; host < N_HOSTS; host++) {
		if (!expected->backend[host].is_there)
			continue;
		traffic_of_backend(&world->dataplane, expected->backend[host].index, &of_backend);
		cr_assert_arr_eq(&of_backend, &expected->backend[host].counters, sizeof(of_backend),
				 "backend %u of service %u", host, number);
	}
}

static void *lines(size_t n, size_t size)
{
	void *memory = aligned_alloc(SL_CACHE_LINE, n * size);

	memset(memory, 0, n * size);
	return memory;
}

static struct world *set_up(void)
{
	struct world *world =
		lines(1, (sizeof(*world) + SL_CACHE_LINE - 1) / SL_CACHE_LINE * SL_CACHE_LINE);

	world->random = random_seeded();
	world->staging = staging_new();
	world->dataplane.n_opened = N_WORKERS;
	cr_assert_eq(traffic_open(&world->dataplane), 0);
	for (uint32_t i = 0; i < N_WORKERS; i++) {
		struct worker *worker = lines(1, sizeof(*worker));

		worker->service_counters = lines(SL_MAX_SERVICES, sizeof(struct service_line));
		worker->backend_counters = lines(SL_MAX_BACKENDS, sizeof(struct backend_line));
		world->dataplane.worker[i] = worker;
	}
	return world;
}

static void tear_down(struct world *world)
{
	for (uint32_t i = 0; i < N_WORKERS; i++) {
		free(world->dataplane.worker[i]->service_counters);
		free(world->dataplane.worker[i]->backend_counters);
		free(world->dataplane.worker[i]);
	}
	snapshot_free(world->dataplane.snapshot);
	traffic_close(&world->dataplane);
	staging_free(world->staging);
	free(world);
}

Test(traffic, whoever_counted_has_it, .timeout = 120)
{
	struct world *world = set_up();

	for (uint32_t round = 0; round < N_ROUNDS; round++) {
		uint32_t n = 1 + draw(world, MAX_CHANGES);
		bool is_any = draw(world, 8) == 0 || round == 0;

		for (uint32_t i = 0; i < n; i++)
			change_something(world, is_any);
		commit(world, round + 1);
		for (uint32_t i = 0; i < N_COUNTED; i++)
			count_something(world);
		for (uint32_t i = 0; i < N_SERVICES; i++)
			compare(world, i);
	}
	cr_expect_gt(world->n_patched, N_ROUNDS / 2);
	cr_expect_gt(world->n_reused, N_ROUNDS);
	tear_down(world);
}

/* Until services have indices that were others'. */
Test(traffic, whoever_comes_next_begins_at_zero)
{
	struct world *world = set_up();
	uint64_t n_commits = 0;

	for (uint32_t round = 0; round < N_FORMER_SERVICES / N_SERVICES; round++) {
		for (uint32_t i = 0; i < N_SERVICES; i++) {
			put_service(world, i);
			put_backend(world, i, draw(world, N_HOSTS));
		}
		commit(world, ++n_commits);
		for (uint32_t i = 0; i < N_COUNTED * N_HOSTS; i++)
			count_something(world);
		for (uint32_t i = 0; i < N_SERVICES; i++) {
			compare(world, i);
			delete_service(world, i);
		}
		commit(world, ++n_commits);
	}
	cr_expect_lt(world->dataplane.snapshot->n_services, N_FORMER_SERVICES / 2);
	tear_down(world);
}

/* Flows of a backend that has left end later: as many are open as there are, whoever has the index. */
Test(traffic, flows_that_outlive_their_backend_are_no_ones_loss)
{
	struct world *world = set_up();
	struct sl_backend_counters counters;
	struct backend_line *line;
	uint32_t index;

	put_service(world, 0);
	put_backend(world, 0, 0);
	commit(world, 1);
	index = world->service[0].backend[0].index;
	line = &world->dataplane.worker[0]->backend_counters[index];
	line->flows = 10;
	line->flows_ended = 7;
	delete_backend(world, 0, 0);
	commit(world, 2);
	traffic_of_backend(&world->dataplane, index, &counters);
	cr_expect_eq(counters.flows, 3);
	cr_expect_eq(counters.flows_ended, 0);
	line->flows_ended = 10;
	traffic_of_backend(&world->dataplane, index, &counters);
	cr_expect_eq(counters.flows - counters.flows_ended, 0);
	tear_down(world);
}
