/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * dataplane/snapshot_patch.c and stages.c: a snapshot made of the one before says what one made of
 * everything says, after thousands of random changes; and the twin of the staging is its like.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/snapshot.h"
#include "dataplane/stages.h"
#include "dataplane/snapshot_internal.h"
#include "tests/unit/random.h"

enum {
	N_SERVICES = 12,
	N_HOSTS = 40, /* few, so that services share backends */
	N_ROUNDS = 3000,
	MAX_CHANGES = 8, /* of a round */
	N_SLOTS = 4099,
};

static const struct sl_hash_key key = {{1, 2}};
static char error[SL_MAX_ERROR];

static struct wire_service service_of(uint32_t number)
{
	struct wire_service service = {
		.address = {.port = SL_BE16(80),
			    .protocol = number & 1 ? SL_PROTOCOL_UDP : SL_PROTOCOL_TCP,
			    .family = SL_FAMILY_IPV4},
		.mode = WIRE_MODE_NAT,
		.scheduler = WIRE_SCHEDULER_MAGLEV,
		.stateless_replies = 1,
		.n_slots = N_SLOTS,
	};

	service.address.addr.ipv4 = sl_to_be32(0xcb007100u + number);
	snprintf(service.name, sizeof(service.name), "service%u", number);
	return service;
}

static struct wire_backend backend_of(uint32_t number, uint32_t host)
{
	struct wire_backend backend = {.service = service_of(number).address,
				       .port = SL_BE16(8080),
				       .state = WIRE_STATE_READY,
				       .weight = 1};

	backend.addr.ipv4 = sl_to_be32(0x0a000001u + host);
	return backend;
}

/* As a message, so that the transcript has it. */
static int put_backend(struct stages *stages, const struct wire_backend *backend)
{
	uint64_t room[32] = {0};
	struct wire_backends_request *request = (void *)room;
	size_t size = sizeof(*request) + sizeof(*backend);
	uint32_t n;

	_Static_assert(sizeof(*request) + sizeof(*backend) <= sizeof(room), "room");
	request->n_records = 1;
	memcpy(request->record, backend, sizeof(*backend));
	return stages_change(stages, WIRE_BACKENDS, request, size, &n, error);
}

static int put_service(struct stages *stages, const struct wire_service *service)
{
	uint64_t room[128] = {0};
	struct wire_services_request *request = (void *)room;
	size_t size = sizeof(*request) + sizeof(*service);
	uint32_t n;

	_Static_assert(sizeof(*request) + sizeof(*service) <= sizeof(room), "room");
	request->n_records = 1;
	memcpy(request->record, service, sizeof(*service));
	return stages_change(stages, WIRE_SERVICES, request, size, &n, error);
}

static int delete_backend(struct stages *stages, const struct wire_backend *backend)
{
	struct wire_backend_delete_request request = {
		.service = backend->service, .addr = backend->addr, .port = backend->port};
	uint32_t n;

	return stages_change(stages, WIRE_BACKEND_DELETE, &request, sizeof(request), &n, error);
}

static int delete_service(struct stages *stages, uint32_t number)
{
	struct wire_service_delete_request request = {.service = service_of(number).address};
	uint32_t n;

	return stages_change(stages, WIRE_SERVICE_DELETE, &request, sizeof(request), &n, error);
}

static int put_canary_source(struct stages *stages, const struct wire_service *service,
			     uint8_t length)
{
	uint64_t room[32] = {0};
	struct wire_listed_request *request = (void *)room;
	size_t size = sizeof(*request) + sizeof(request->record[0]);
	uint32_t n;

	_Static_assert(sizeof(*request) + sizeof(request->record[0]) <= sizeof(room), "room");
	request->n_records = 1;
	request->record[0] = (struct wire_listed){.service = service->address,
						  .list = WIRE_CANARY_SOURCE,
						  .family = SL_FAMILY_IPV4,
						  .length = length};
	return stages_change(stages, WIRE_LISTED, request, size, &n, error);
}

/* Mostly of backends; what does not exist cannot go, and the draft is the same then. */
static int change_something(struct stages *stages, struct random *random)
{
	uint64_t draw = random_next(random) >> 20;
	uint32_t number = (uint32_t)draw % N_SERVICES;
	struct wire_service service = service_of(number);
	struct wire_backend backend = backend_of(number, (uint32_t)(draw >> 8) % N_HOSTS);
	int status;

	backend.weight = (uint32_t)(draw >> 16) % 3;
	backend.canary_weight = (uint32_t)(draw >> 28) % 3;
	backend.state = (uint8_t)(WIRE_STATE_READY + (draw >> 20) % 3);
	backend.health = (uint8_t)((draw >> 23) % WIRE_N_HEALTHS);
	switch (draw >> 24 & 15) {
	case 0:
		return delete_service(stages, number);
	case 1:
		service.timeout_udp_sec = (uint32_t)(draw >> 30) % 100;
		status = put_service(stages, &service);
		if (status != 0 || (draw >> 40 & 1) != 0)
			return status;
		return put_canary_source(stages, &service, (uint8_t)(draw >> 41) & 31);
	case 2 ... 6:
		return delete_backend(stages, &backend);
	default:
		return put_backend(stages, &backend);
	}
}

static void compare_tables(const struct slot_table *a, const struct slot_table *b, uint32_t service)
{
	cr_assert_eq(a->n_slots, b->n_slots);
	cr_assert_arr_eq(a->slot, b->slot, a->n_slots * sizeof(a->slot[0]), "slots of %u", service);
}

static void compare_members(const struct snapshot *a, const struct snapshot *b, uint32_t service)
{
	const struct sl_service *one = &a->service[service];
	const struct sl_service *other = &b->service[service];

	cr_assert_arr_eq(one, other, sizeof(*one), "service %u", service);
	for (uint32_t i = 0; i < one->n_members; i++) {
		uint32_t at = one->first_member + i;
		struct sl_backend x = a->backend[a->member[at]];
		struct sl_backend y = b->backend[b->member[at]];

		cr_assert_eq(a->member[at], b->member[at]);
		cr_assert_eq(a->max_flows[a->member[at]], b->max_flows[b->member[at]]);
		cr_assert_eq(a->member_state[at], b->member_state[at]);
		cr_assert_eq(a->member_health[at], b->member_health[at]);
		x.adjacency = y.adjacency = 0;
		cr_assert_arr_eq(&x, &y, sizeof(x), "backend %u", a->member[at]);
	}
	if (one->family == SL_FAMILY_NONE)
		return;
	compare_tables(a->slots[service], b->slots[service], service);
	cr_assert_eq(a->canary_slots[service] != NULL, (one->flags & SL_SERVICE_CANARY) != 0);
	cr_assert_eq(b->canary_slots[service] != NULL, (other->flags & SL_SERVICE_CANARY) != 0);
	if (a->canary_slots[service] != NULL)
		compare_tables(a->canary_slots[service], b->canary_slots[service], service);
}

/* Every endpoint that could be asked for, whether it is there or not. */
static void compare_lookups(const struct snapshot *a, const struct snapshot *b)
{
	for (uint32_t host = 0; host < N_HOSTS; host++)
		for (uint32_t protocol = 0; protocol < 2; protocol++) {
			struct wire_backend backend = backend_of(protocol, host);
			uint8_t name = backend.service.protocol;

			cr_assert_eq(snapshot_find_backend(a, &backend.addr, backend.port,
							   SL_FAMILY_IPV4, name),
				     snapshot_find_backend(b, &backend.addr, backend.port,
							   SL_FAMILY_IPV4, name));
			cr_assert_eq(snapshot_find_endpoint(a, &backend.addr, backend.port,
							    SL_FAMILY_IPV4, name) == SL_NO_INDEX,
				     snapshot_find_endpoint(b, &backend.addr, backend.port,
							    SL_FAMILY_IPV4, name) == SL_NO_INDEX);
			/* What is gone may stay in the filter. */
			cr_assert(snapshot_may_be_backend(a, &backend.addr, SL_FAMILY_IPV4) ||
				  !snapshot_may_be_backend(b, &backend.addr, SL_FAMILY_IPV4));
		}
	for (uint32_t i = 0; i < N_SERVICES; i++) {
		struct wire_address address = service_of(i).address;

		cr_assert_eq(snapshot_find_service(a, &address.addr, address.port, address.family,
						   address.protocol),
			     snapshot_find_service(b, &address.addr, address.port, address.family,
						   address.protocol));
	}
}

/* Of @patched: a next hop is there from before, or the backend is fresh. */
static void check_fresh(const struct snapshot *patched)
{
	for (uint32_t i = 0; i < patched->n_backends && !patched->is_all_fresh; i++) {
		bool is_fresh = false;

		if (patched->backend[i].family == SL_FAMILY_NONE)
			continue;
		for (uint32_t k = 0; k < patched->n_fresh; k++)
			is_fresh |= patched->fresh[k] == i;
		cr_assert_eq(patched->backend[i].adjacency == SL_ADJACENCY_NONE, is_fresh,
			     "backend %u", i);
	}
}

/* Of @patched: those of @former that have left are named, each once. */
static void check_left(const struct snapshot *patched, const struct snapshot *former)
{
	for (uint32_t i = 0; former != NULL && i < former->n_backends && !patched->is_all_fresh;
	     i++) {
		bool has_left = former->backend[i].family != SL_FAMILY_NONE &&
				(patched->backend[i].family == SL_FAMILY_NONE ||
				 patched->backend[i].epoch != former->backend[i].epoch);
		uint32_t n_named = 0;

		for (uint32_t k = 0; k < patched->n_left; k++)
			n_named += patched->left[k] == i;
		cr_assert_eq(n_named, has_left, "backend %u", i);
	}
}

static void compare(const struct snapshot *patched, const struct snapshot *whole)
{
	cr_assert_eq(patched->n_services, whole->n_services);
	cr_assert_eq(patched->n_backends, whole->n_backends);
	cr_assert_eq(patched->n_members, whole->n_members);
	cr_assert_eq(patched->n_live_services, whole->n_live_services);
	cr_assert_eq(patched->n_live_backends, whole->n_live_backends);
	cr_assert_eq(patched->digest, whole->digest);
	cr_assert_eq(patched->has_wildcard, whole->has_wildcard);
	for (uint32_t i = 0; i < whole->n_services; i++)
		compare_members(patched, whole, i);
	for (uint32_t i = 0; i < whole->n_backends; i++)
		cr_assert_eq(patched->backend[i].family, whole->backend[i].family, "backend %u", i);
	compare_lookups(patched, whole);
	check_fresh(patched);
}

/* What the engine does with those that it has not seen. */
static void resolve(struct snapshot *snapshot)
{
	for (uint32_t i = 0; i < snapshot->n_backends; i++)
		if (snapshot->backend[i].family != SL_FAMILY_NONE)
			snapshot->backend[i].adjacency = SL_ADJACENCY_FIRST;
}

static struct snapshot *build_whole(const struct staging *staging, const struct snapshot *previous)
{
	struct staging *clone = staging_clone(staging);
	struct snapshot *whole;

	clone->built_id = 0;
	cr_assert_eq(snapshot_build(clone, 1, &key, previous, &whole, error), 0, "%s", error);
	cr_assert(whole->is_all_fresh);
	staging_free(clone);
	return whole;
}

Test(snapshot_patch, is_what_the_whole_would_be, .timeout = 120)
{
	struct random random = random_seeded();
	struct snapshot *live = NULL;
	uint32_t n_patched = 0, n_twins = 0;
	struct stages stages;

	cr_assert_eq(stages_init(&stages), 0);
	for (uint32_t round = 0; round < N_ROUNDS; round++) {
		struct snapshot *next, *whole;
		uint32_t n = 1 + (uint32_t)(random_next(&random) >> 32) % MAX_CHANGES;

		cr_assert_eq(stages_begin(&stages, false), 0);
		for (uint32_t i = 0; i < n; i++)
			(void)!change_something(&stages, &random);
		whole = build_whole(stages.draft, live);
		cr_assert_eq(snapshot_build(stages.draft, round + 1, &key, live, &next, error), 0,
			     "%s", error);
		compare(next, whole);
		check_left(next, live);
		snapshot_free(whole);
		n_patched += !next->is_all_fresh;
		resolve(next);
		snapshot_free(live);
		live = next;
		stages_accept(&stages);
		n_twins += stages.twin != NULL;
	}
	cr_expect_gt(n_patched, N_ROUNDS / 10);
	cr_expect_eq(n_twins, N_ROUNDS);
	snapshot_free(live);
	stages_fini(&stages);
}

/* One service with two backends, committed, and its snapshot. */
static struct snapshot *begin(struct stages *stages)
{
	const struct wire_service service = service_of(0);
	const struct wire_backend one = backend_of(0, 1), two = backend_of(0, 2);
	struct snapshot *snapshot;

	cr_assert_eq(stages_init(stages), 0);
	cr_assert_eq(stages_begin(stages, true), 0);
	cr_assert_eq(put_service(stages, &service), 0);
	cr_assert_eq(put_backend(stages, &one), 0);
	cr_assert_eq(put_backend(stages, &two), 0);
	cr_assert_eq(snapshot_build(stages->draft, 1, &key, NULL, &snapshot, error), 0);
	stages_accept(stages);
	cr_assert_null(stages->twin, "a full state is long");
	return snapshot;
}

Test(snapshot_patch, refusals_are_those_of_the_whole)
{
	struct wire_backend looping = backend_of(0, 3);
	struct snapshot *live, *next;
	struct stages stages;

	live = begin(&stages);
	looping.addr = service_of(0).address.addr;
	cr_assert_eq(stages_begin(&stages, false), 0);
	cr_assert_eq(put_backend(&stages, &looping), 0);
	cr_expect_eq(snapshot_build(stages.draft, 2, &key, live, &next, error), -EINVAL);
	cr_expect(strstr(error, "packets would come back"), "%s", error);
	stages_abandon(&stages);
	cr_assert_eq(stages_begin(&stages, false), 0);
	for (uint32_t i = 0; i < N_SLOTS / SL_SLOTS_PER_BACKEND; i++) {
		const struct wire_backend backend = backend_of(0, 100 + i);

		cr_assert_eq(put_backend(&stages, &backend), 0);
	}
	cr_expect_eq(snapshot_build(stages.draft, 2, &key, live, &next, error), -EINVAL);
	cr_expect(strstr(error, "slots are too few"), "%s", error);
	stages_abandon(&stages);
	snapshot_free(live);
	stages_fini(&stages);
}

Test(snapshot_patch, another_key_or_another_snapshot_is_none_to_copy)
{
	const struct sl_hash_key other = {{3, 4}};
	const struct wire_backend backend = backend_of(0, 7);
	struct snapshot *live, *next;
	struct stages stages;

	live = begin(&stages);
	cr_assert_eq(stages_begin(&stages, false), 0);
	cr_assert_eq(put_backend(&stages, &backend), 0);
	cr_expect(snapshot_can_patch(stages.draft, live, &key));
	cr_expect_not(snapshot_can_patch(stages.draft, live, &other));
	cr_expect_not(snapshot_can_patch(stages.draft, NULL, &key));
	next = build_whole(stages.draft, live);
	cr_expect_not(snapshot_can_patch(stages.draft, next, &key));
	snapshot_free(next);
	snapshot_free(live);
	stages_fini(&stages);
}

Test(stages, a_long_transaction_leaves_no_twin_and_the_next_is_right)
{
	struct snapshot *live, *next;
	struct stages stages;
	uint32_t n = 0;

	live = begin(&stages);
	cr_assert_eq(stages_begin(&stages, false), 0);
	while (stages.is_transcript_whole) {
		struct wire_backend backend = backend_of(0, 1);

		backend.weight = n++ % 50;
		cr_assert_eq(put_backend(&stages, &backend), 0);
	}
	cr_assert_eq(snapshot_build(stages.draft, 2, &key, live, &next, error), 0, "%s", error);
	stages_accept(&stages);
	cr_expect_null(stages.twin);
	cr_assert_eq(stages_begin(&stages, false), 0);
	cr_expect_eq(stages.draft->digest, stages.committed->digest);
	snapshot_free(live);
	snapshot_free(next);
	stages_fini(&stages);
}
