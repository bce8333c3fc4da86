/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* A plan says what a commit of the same would do, and does nothing. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/session_internal.h"
#include "dataplane/snapshot.h"
#include "tests/protocol/peer.h"
#include "tests/unit/random.h"

enum {
	MAX_SERVICES = 16,
	MAX_BACKENDS = 1024,
	N_ROUNDS = 60,
};

/* All pages of a plan. */
struct plan_copy {
	struct wire_plan_reply totals;
	uint32_t n_services;
	uint32_t n_backends;
	struct wire_plan_service service[MAX_SERVICES];
	struct wire_plan_backend backend[MAX_BACKENDS];
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

static int call_plan(void)
{
	const struct wire_plan_request request = {0};

	return peer_call(peer, WIRE_PLAN, &request, sizeof(request));
}

static void read_services(struct plan_copy *plan)
{
	struct wire_plan_services_request request = {0};
	const struct wire_plan_services_reply *reply;

	do {
		cr_assert_eq(peer_call(peer, WIRE_PLAN_SERVICES, &request, sizeof(request)), 0);
		reply = peer_body(peer);
		cr_assert_leq(plan->n_services + reply->n_records, MAX_SERVICES);
		memcpy(&plan->service[plan->n_services], reply->record,
		       reply->n_records * sizeof(reply->record[0]));
		plan->n_services += reply->n_records;
		request.first = reply->next;
	} while (request.first != 0);
	cr_assert_eq(plan->n_services, plan->totals.n_services);
}

static void read_backends(struct plan_copy *plan)
{
	struct wire_plan_backends_request request = {0};
	const struct wire_plan_backends_reply *reply;

	do {
		cr_assert_eq(peer_call(peer, WIRE_PLAN_BACKENDS, &request, sizeof(request)), 0);
		reply = peer_body(peer);
		cr_assert_leq(plan->n_backends + reply->n_records, MAX_BACKENDS);
		memcpy(&plan->backend[plan->n_backends], reply->record,
		       reply->n_records * sizeof(reply->record[0]));
		plan->n_backends += reply->n_records;
		request.first = reply->next;
	} while (request.first != 0);
	cr_assert_eq(plan->n_backends, plan->totals.n_backends);
}

/* Plans the transaction that is open. */
static void make_plan(struct plan_copy *plan)
{
	memset(plan, 0, sizeof(*plan));
	cr_assert_eq(call_plan(), 0, "%s", peer_error(peer));
	memcpy(&plan->totals, peer_body(peer), sizeof(plan->totals));
	read_services(plan);
	read_backends(plan);
}

/* Generation 1: services 0 to 2 with @n backends each. */
static void fill(uint32_t n)
{
	cr_assert_eq(peer_begin(peer, 1, 0), 0);
	for (uint32_t i = 0; i < 3; i++) {
		struct wire_service service = service_record(i);

		service.n_slots = 4099;
		cr_assert_eq(peer_services(peer, &service, 1), 0);
		for (uint32_t k = 0; k < n; k++) {
			const struct wire_backend backend = backend_record(&service, i * 100 + k);

			cr_assert_eq(peer_backends(peer, &backend, 1), 0);
		}
	}
	cr_assert_eq(peer_commit(peer, false), 0, "%s", peer_error(peer));
}

/* ---- the same, found by looking at both snapshots ---- */

/* The address of who has the slot, with the port; 0: nobody. */
static uint64_t slot_holder(const struct snapshot *snapshot, uint32_t service, uint32_t slot)
{
	uint16_t position = snapshot->slots[service]->slot[slot];
	const struct sl_backend *backend;

	if (position == SL_NO_BACKEND_SLOT)
		return 0;
	backend = &snapshot->backend[snapshot->member[snapshot->service[service].first_member +
						      position]];
	return (uint64_t)backend->addr.word[0] << 16 | backend->port;
}

static uint32_t find(const struct snapshot *snapshot, const struct wire_address *address)
{
	return snapshot_find_service(snapshot, &address->addr, address->port, address->family,
				     address->protocol);
}

/* Who had each slot of each service before the commit. */
static uint64_t former[MAX_SERVICES][4099];

static void note_holders(void)
{
	const struct snapshot *snapshot = world.sessions->snapshot;

	memset(former, 0, sizeof(former));
	for (uint32_t i = 0; i < 3; i++) {
		const struct wire_service service = service_record(i);
		uint32_t index = find(snapshot, &service.address);

		for (uint32_t k = 0; index != SL_NO_INDEX && k < 4099; k++)
			former[i][k] = slot_holder(snapshot, index, k);
	}
}

/* Whether one that was deleted was put again at once: two objects, which an address does not tell apart. */
static bool is_twice(const struct wire_plan_backend *first, uint32_t n,
		     const struct wire_plan_backend *backend)
{
	for (uint32_t i = 0; i < n; i++)
		if (&first[i] != backend && first[i].port == backend->port &&
		    sl_addr_equal(&first[i].addr, &backend->addr))
			return true;
	return false;
}

/* After the commit of what was planned: each number of the plan, counted again. */
static void compare_with_commit(const struct plan_copy *plan, const char *what)
{
	const struct snapshot *snapshot = world.sessions->snapshot;
	const struct wire_plan_backend *backend = plan->backend;
	bool is_planned[3] = {false};

	for (uint32_t i = 0; i < plan->n_services; i++) {
		const struct wire_plan_service *service = &plan->service[i];
		uint32_t number = service->address.addr.byte[2];
		uint32_t index = find(snapshot, &service->address);
		const struct wire_plan_backend *first = backend;
		bool has_twice = false;
		uint32_t n_moved = 0;

		cr_assert_lt(number, 3);
		for (uint32_t b = 0; b < service->n_records; b++)
			has_twice |= is_twice(first, service->n_records, &first[b]);
		is_planned[number] = true;
		cr_expect_eq(index == SL_NO_INDEX, service->change == WIRE_PLAN_DELETE, "%s", what);
		for (uint32_t k = 0; index != SL_NO_INDEX && k < 4099; k++)
			n_moved += slot_holder(snapshot, index, k) != former[number][k];
		cr_expect(has_twice || service->slots_moved ==
					       (service->change == WIRE_PLAN_SET ? n_moved : 0),
			  "%s: service %u: %u slots moved, not %u", what, number, n_moved,
			  service->slots_moved);
		for (uint32_t b = 0; b < service->n_records; b++, backend++) {
			uint64_t key = (uint64_t)backend->addr.word[0] << 16 | backend->port;
			uint32_t now = 0, after = 0, left = 0, came = 0;

			for (uint32_t k = 0; k < 4099; k++) {
				bool had = former[number][k] == key;
				bool has = index != SL_NO_INDEX &&
					   slot_holder(snapshot, index, k) == key;

				now += had;
				after += has;
				left += had && !has;
				came += has && !had;
			}
			cr_expect(is_twice(first, service->n_records, backend) ||
					  (backend->slots_now == now &&
					   backend->slots_after == after &&
					   backend->slots_left == left &&
					   backend->slots_came == came),
				  "%s: service %u backend %u, change %u: %u %u %u %u, not %u %u %u "
				  "%u",
				  what, number, b, backend->change, now, after, left, came,
				  backend->slots_now, backend->slots_after, backend->slots_left,
				  backend->slots_came);
		}
	}
	/* What the plan does not speak of is as it was. */
	for (uint32_t i = 0; i < 3; i++) {
		const struct wire_service service = service_record(i);
		uint32_t index = find(snapshot, &service.address);

		for (uint32_t k = 0; !is_planned[i] && index != SL_NO_INDEX && k < 4099; k++)
			cr_assert_eq(slot_holder(snapshot, index, k), former[i][k], "%s", what);
	}
}

/* One change at random, or two. False: there was nothing to change so. */
static bool change_something(struct random *random)
{
	const struct wire_service service = service_record((uint32_t)(random_next(random) % 3));
	struct wire_backend backend =
		backend_record(&service, service.address.addr.byte[2] * 100u +
						 (uint32_t)(random_next(random) % 9));

	switch (random_next(random) % 8) {
	case 0:
		return peer_backend_delete(peer, &backend) == 0;
	case 1:
		backend.state = WIRE_STATE_MAINT;
		break;
	case 2:
		backend.state = WIRE_STATE_DRAIN;
		break;
	case 3:
		backend.health = WIRE_HEALTH_DOWN;
		break;
	default:
		backend.weight = (uint32_t)(random_next(random) % 4);
		break;
	}
	return peer_backends(peer, &backend, 1) == 0;
}

Test(plan, it_says_what_the_commit_then_does, .init = open_world, .fini = close_world)
{
	struct plan_copy *plan = calloc(1, sizeof(*plan));
	struct random random = random_seeded();
	uint64_t generation = 1;
	uint32_t n_planned = 0;

	fill(5);
	for (int round = 0; round < N_ROUNDS; round++) {
		struct wire_commit_reply commit;
		char what[64];

		snprintf(what, sizeof(what), "round %d", round);
		note_holders();
		cr_assert_eq(peer_begin(peer, generation + 1, generation), 0);
		if (!change_something(&random) || (round % 3 == 0 && !change_something(&random)))
			continue; /* the refusal has ended it */
		make_plan(plan);
		cr_assert_eq(peer_commit(peer, false), 0, "%s: %s", what, peer_error(peer));
		memcpy(&commit, peer_body(peer), sizeof(commit));
		cr_expect_eq(commit.digest, plan->totals.digest, "%s", what);
		compare_with_commit(plan, what);
		generation++;
		n_planned++;
	}
	cr_expect_gt(n_planned, N_ROUNDS / 4);
	free(plan);
}

Test(plan, nothing_that_is_live_changes, .init = open_world, .fini = close_world)
{
	const struct wire_service service = service_record(1);
	const struct wire_backend backend = backend_record(&service, 100);
	struct plan_copy *plan = calloc(1, sizeof(*plan));
	const struct snapshot *live;
	struct peer_state before, after;

	fill(3);
	before = peer_state(peer);
	live = world.sessions->snapshot;
	for (int i = 0; i < 3; i++) {
		cr_assert_eq(peer_begin(peer, 2, 1), 0);
		cr_assert_eq(peer_backend_delete(peer, &backend), 0);
		make_plan(plan);
		cr_expect_neq(plan->totals.digest, before.digest);
		if (i != 2)
			cr_assert_eq(peer_abort(peer), 0);
	}
	/* The last ends with its connection. */
	peer_free(peer);
	peer = peer_new(&world, 1);
	cr_assert_eq(peer_hello(peer), 0);
	after = peer_state(peer);
	cr_expect_eq(memcmp(&before, &after, sizeof(before)), 0);
	cr_expect_eq(world.sessions->snapshot, live);
	cr_expect_null(world.sessions->plan);
	cr_expect_null(world.sessions->planned);
	free(plan);
}

Test(plan, a_full_state_that_repeats_everything_changes_nothing, .init = open_world,
     .fini = close_world)
{
	struct plan_copy *plan = calloc(1, sizeof(*plan));

	fill(3);
	cr_assert_eq(peer_begin(peer, 2, 0), 0);
	for (uint32_t i = 0; i < 3; i++) {
		struct wire_service service = service_record(i);

		service.n_slots = 4099;
		cr_assert_eq(peer_services(peer, &service, 1), 0);
		for (uint32_t k = 0; k < 3; k++) {
			const struct wire_backend backend = backend_record(&service, i * 100 + k);

			cr_assert_eq(peer_backends(peer, &backend, 1), 0);
		}
	}
	make_plan(plan);
	cr_expect_eq(plan->n_services, 0);
	cr_expect_eq(plan->n_backends, 0);
	cr_expect_eq(plan->totals.n_tables_built, 0);
	cr_expect_eq(plan->totals.memory_now, plan->totals.memory_after);
	cr_expect_gt(plan->totals.memory_now, 3u * 4099 * 2);
	free(plan);
}

Test(plan, services_come_and_go, .init = open_world, .fini = close_world)
{
	const struct wire_service old = service_record(1), new = service_record(7);
	const struct wire_backend backend = backend_record(&new, 700);
	struct plan_copy *plan = calloc(1, sizeof(*plan));

	fill(2);
	cr_assert_eq(peer_begin(peer, 2, 1), 0);
	cr_assert_eq(peer_service_delete(peer, &old.address), 0);
	cr_assert_eq(peer_services(peer, &new, 1), 0);
	cr_assert_eq(peer_backends(peer, &backend, 1), 0);
	make_plan(plan);
	cr_assert_eq(plan->n_services, 2);
	cr_assert_eq(plan->n_backends, 3);
	for (uint32_t i = 0; i < 2; i++) {
		const struct wire_plan_service *service = &plan->service[i];
		bool is_new = service->change == WIRE_PLAN_ADD;

		cr_expect(is_new || service->change == WIRE_PLAN_DELETE);
		cr_expect_str_eq(service->name, is_new ? new.name : old.name);
		cr_expect_eq(service->slots_now, is_new ? 0 : 4099);
		cr_expect_eq(service->slots_after, is_new ? 251 : 0);
		cr_expect_eq(service->slots_moved, 0);
		cr_expect_eq(service->usable_now, is_new ? 0 : 2);
		cr_expect_eq(service->usable_after, is_new ? 1 : 0);
		cr_expect_eq(service->n_records, is_new ? 1 : 2);
	}
	for (uint32_t i = 0; i < 3; i++)
		cr_expect_eq(plan->backend[i].slots_left, plan->backend[i].slots_now);
	free(plan);
}

Test(plan, another_number_of_slots_and_another_key, .init = open_world, .fini = close_world)
{
	struct wire_service service = service_record(1);
	const struct wire_begin_request other = {
		.generation = 2, .base_generation = 1, .hash_key = {{1, 2}}};
	struct plan_copy *plan = calloc(1, sizeof(*plan));

	fill(4);
	cr_assert_eq(peer_begin(peer, 2, 1), 0);
	service.n_slots = 8209;
	cr_assert_eq(peer_services(peer, &service, 1), 0);
	make_plan(plan);
	cr_assert_eq(plan->n_services, 1);
	cr_expect_eq(plan->service[0].slots_now, 4099);
	cr_expect_eq(plan->service[0].slots_after, 8209);
	/* Each of four has a quarter of either table, anywhere: three of four slots are another's. */
	cr_expect(plan->service[0].slots_moved > 8209 / 2 && plan->service[0].slots_moved < 8209,
		  "%u moved", plan->service[0].slots_moved);
	cr_expect_eq(plan->totals.is_new_key, 0);
	cr_assert_eq(peer_abort(peer), 0);

	cr_assert_eq(peer_call(peer, WIRE_BEGIN, &other, sizeof(other)), 0);
	make_plan(plan);
	cr_expect_eq(plan->totals.is_new_key, 1);
	cr_assert_eq(plan->n_services, 3);
	for (uint32_t i = 0; i < 3; i++)
		cr_expect_eq(plan->service[i].slots_moved, 4099);
	free(plan);
}

Test(plan, the_source_pool_of_fullnat, .init = open_world, .fini = close_world)
{
	struct wire_service service = fullnat_record(1);
	struct plan_copy *plan = calloc(1, sizeof(*plan));

	cr_assert_eq(peer_begin(peer, 1, 0), 0);
	cr_assert_eq(peer_services(peer, &service, 1), 0);
	cr_assert_eq(peer_commit(peer, false), 0);
	cr_assert_eq(peer_begin(peer, 2, 1), 0);
	service.source_port_first = 60000;
	cr_assert_eq(peer_services(peer, &service, 1), 0);
	make_plan(plan);
	cr_assert_eq(plan->n_services, 1);
	cr_expect_eq(plan->service[0].change, WIRE_PLAN_SET);
	cr_expect_eq(plan->service[0].mode, WIRE_MODE_FULLNAT);
	cr_expect_eq(plan->service[0].ports_now, (uint64_t)service.n_sources * 64512);
	cr_expect_eq(plan->service[0].ports_after, (uint64_t)service.n_sources * 5536);
	free(plan);
}

Test(plan, pages_hold_256_and_lead_on, .init = open_world, .fini = close_world)
{
	struct wire_service service = service_record(1);
	struct plan_copy *plan = calloc(1, sizeof(*plan));

	cr_assert_eq(peer_begin(peer, 1, 0), 0);
	service.n_slots = 65537;
	cr_assert_eq(peer_services(peer, &service, 1), 0);
	for (uint32_t i = 0; i < 600; i++) {
		const struct wire_backend backend = backend_record(&service, i);

		cr_assert_eq(peer_backends(peer, &backend, 1), 0);
	}
	make_plan(plan);
	cr_expect_eq(plan->n_backends, 600);
	cr_expect_eq(plan->totals.memory_now, 0);
	for (uint32_t i = 0; i < 600; i++) {
		cr_expect_eq(plan->backend[i].change, WIRE_PLAN_ADD);
		cr_expect(plan->backend[i].slots_after > 100);
	}
	free(plan);
}

Test(plan, its_messages_come_in_order, .init = open_world, .fini = close_world)
{
	const struct wire_plan_flows_request flows = {0};
	const struct wire_service service = service_record(1);
	const struct wire_backend backend = backend_record(&service, 100);
	uint64_t digest;

	fill(2);
	cr_expect_eq(call_plan(), -EPROTO, "without a transaction");
	cr_assert_eq(peer_begin(peer, 2, 1), 0);
	cr_expect_eq(peer_call(peer, WIRE_PLAN_FLOWS, &flows, sizeof(flows)), -EPROTO);
	cr_expect_not_null(strstr(peer_error(peer), "was not planned"));
	cr_expect_eq(peer_commit(peer, false), -EPROTO, "the refusal left it open");

	cr_assert_eq(peer_begin(peer, 2, 1), 0);
	cr_assert_eq(call_plan(), 0);
	cr_expect_eq(peer_backend_delete(peer, &backend), -EPROTO);
	cr_expect_not_null(strstr(peer_error(peer), "takes no changes"));

	cr_assert_eq(peer_begin(peer, 2, 1), 0);
	cr_assert_eq(peer_backend_delete(peer, &backend), 0);
	cr_assert_eq(call_plan(), 0);
	cr_assert_eq(call_plan(), 0, "again");
	digest = ((const struct wire_plan_reply *)peer_body(peer))->digest;
	cr_assert_eq(peer_call(peer, WIRE_PLAN_FLOWS, &flows, sizeof(flows)), 0);
	cr_expect_eq(((const struct wire_plan_flows_reply *)peer_body(peer))->next, 0);
	cr_assert_eq(peer_commit(peer, false), 0);
	cr_expect_eq(peer_state(peer).digest, digest);
	cr_expect_eq(peer_state(peer).generation, 2);
	/* The twin of what was committed is as good as it is without a plan. */
	cr_assert_eq(peer_begin(peer, 3, 2), 0);
	cr_assert_eq(peer_backends(peer, &backend, 1), 0);
	cr_assert_eq(peer_commit(peer, false), 0);
	cr_expect_eq(peer_state(peer).n_backends, 6);
}

Test(plan, what_a_commit_would_refuse_is_refused, .init = open_world, .fini = close_world)
{
	const struct wire_service service = service_record(1), other = service_record(2);
	struct wire_backend backend = backend_record(&service, 1);

	fill(2);
	backend.addr = other.address.addr;
	cr_assert_eq(peer_begin(peer, 2, 1), 0);
	cr_assert_eq(peer_backends(peer, &backend, 1), 0);
	cr_expect_eq(call_plan(), -EINVAL);
	cr_expect_not_null(strstr(peer_error(peer), "its address is a service's"));
	cr_expect_eq(peer_commit(peer, false), -EPROTO);
	cr_expect_eq(peer_state(peer).generation, 1);
}
