/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * dataplane/staging.c and snapshot.c: lookups against a naive twin, sharing of slot tables, indices
 * and epochs, what states and weights become.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/lookup.h"
#include "dataplane/maglev_fill.h"
#include "dataplane/snapshot.h"
#include "dataplane/staging_dump.h"
#include "wire/wire_abi.h"

static const struct sl_hash_key key = {{1, 2}};
static char error[SL_MAX_ERROR];

static struct wire_service service_at(const char *name, uint32_t addr, uint16_t port,
				      uint8_t protocol)
{
	struct wire_service service = {
		.address = {.port = sl_to_be16(port),
			    .protocol = protocol,
			    .family = SL_FAMILY_IPV4},
		.mode = WIRE_MODE_NAT,
		.scheduler = WIRE_SCHEDULER_MAGLEV,
		.stateless_replies = 1,
		.n_slots = 1009,
	};

	service.address.addr.ipv4 = sl_to_be32(addr);
	snprintf(service.name, sizeof(service.name), "%s", name);
	return service;
}

static struct wire_backend backend_at(const struct wire_service *service, uint32_t addr,
				      uint16_t port)
{
	struct wire_backend backend = {.service = service->address,
				       .port = sl_to_be16(port),
				       .state = WIRE_STATE_READY,
				       .weight = 1};

	backend.addr.ipv4 = sl_to_be32(addr);
	return backend;
}

static void put_service(struct staging *staging, const struct wire_service *service)
{
	cr_assert_eq(staging_put_service(staging, service, error), 0, "%s", error);
}

static void put_backend(struct staging *staging, const struct wire_backend *backend)
{
	cr_assert_eq(staging_put_backend(staging, backend, error), 0, "%s", error);
}

static struct snapshot *build(struct staging *staging, const struct snapshot *previous)
{
	struct snapshot *snapshot = NULL;

	cr_assert_eq(snapshot_build(staging, previous != NULL ? previous->generation + 1 : 1, &key,
				    previous, &snapshot, error),
		     0, "%s", error);
	return snapshot;
}

static uint32_t find(const struct snapshot *snapshot, const struct wire_address *address)
{
	return snapshot_find_service(snapshot, &address->addr, address->port, address->family,
				     address->protocol);
}

static uint32_t find_backend(const struct snapshot *snapshot, const struct wire_backend *backend)
{
	return snapshot_find_backend(snapshot, &backend->addr, backend->port,
				     backend->service.family, backend->service.protocol);
}

/* Services a, b, c at 203.0.113.1..3:80/tcp with backends 10.0.N.0..n-1:8080. */
static struct staging *three_services(struct wire_service service[3], uint32_t n_backends)
{
	struct staging *staging = staging_new();

	cr_assert_not_null(staging);
	for (uint32_t i = 0; i < 3; i++) {
		const char name[2] = {(char)('a' + (int)i), 0};

		service[i] = service_at(name, 0xcb007101u + i, 80, SL_PROTOCOL_TCP);
		put_service(staging, &service[i]);
		for (uint32_t k = 0; k < n_backends; k++) {
			const struct wire_backend backend =
				backend_at(&service[i], 0x0a000000u | i << 8 | k, 8080);

			put_backend(staging, &backend);
		}
	}
	return staging;
}

Test(snapshot, an_empty_state_finds_nothing)
{
	struct staging *staging = staging_new();
	struct snapshot *snapshot = build(staging, NULL);
	const struct wire_service service = service_at("a", 0xcb007101u, 80, SL_PROTOCOL_TCP);

	cr_expect_eq(find(snapshot, &service.address), SL_NO_INDEX);
	cr_expect_not(snapshot_is_service_address(snapshot, &service.address.addr, SL_FAMILY_IPV4));
	cr_expect_eq(snapshot->n_live_services, 0);
	cr_expect_eq(snapshot->digest, wire_digest(&key, sizeof(key)));
	cr_expect_eq(snapshot_table_bytes(snapshot), 0);
	snapshot_free(snapshot);
	snapshot_free(NULL);
	staging_free(staging);
	staging_free(NULL);
}

Test(snapshot, records_become_what_the_packet_path_reads)
{
	struct staging *staging = staging_new();
	struct wire_service service = service_at("web", 0xcb007101u, 80, SL_PROTOCOL_TCP);
	const struct wire_backend backend = backend_at(&service, 0x0a000001u, 8080);
	const struct sl_service *record;
	struct snapshot *snapshot;

	service.timeout_udp_sec = 7;
	put_service(staging, &service);
	put_backend(staging, &backend);
	snapshot = build(staging, NULL);
	record = &snapshot->service[find(snapshot, &service.address)];
	cr_expect_eq(record->n_slots, 1009);
	cr_expect_eq(record->mode, WIRE_MODE_NAT);
	cr_expect_eq(record->n_members, 1);
	cr_expect_eq(record->timeout_ticks[SL_TIMEOUT_UDP], 7 * 16);
	cr_expect_eq(record->timeout_ticks[SL_TIMEOUT_ESTABLISHED], 7440 * 16);
	cr_expect_eq(record->timeout_ticks[SL_TIMEOUT_TRANSITORY], 240 * 16);
	cr_expect_eq(record->timeout_ticks[SL_TIMEOUT_EMBRYONIC], 10 * 16);
	cr_expect_not(snapshot->has_wildcard);
	cr_expect_str_eq(snapshot->service_name[find(snapshot, &service.address)], "web");
	cr_expect_eq(snapshot->backend[find_backend(snapshot, &backend)].service,
		     find(snapshot, &service.address));
	cr_expect_eq((uintptr_t)snapshot->service % 64, 0);
	cr_expect_eq((uintptr_t)snapshot->backend % 64, 0);
	snapshot_free(snapshot);
	staging_free(staging);
}

static void put_canary_source(struct staging *staging, const struct wire_service *service,
			      uint32_t addr, uint8_t length)
{
	const struct wire_listed listed = {.service = service->address,
					   .list = WIRE_CANARY_SOURCE,
					   .family = SL_FAMILY_IPV4,
					   .addr.word = {sl_to_be32(addr)},
					   .length = length};

	cr_assert_eq(staging_put_listed(staging, &listed, error), 0, "%s", error);
}

/* A service of the name @name, whose member @i has the i-th of these weights. */
static void put_weighted(struct staging *staging, const struct wire_service *service,
			 const uint32_t *weight, const uint32_t *canary_weight)
{
	put_service(staging, service);
	for (uint32_t i = 0; i < 3; i++) {
		struct wire_backend backend = backend_at(service, 0x0a000001u + i, 8080);

		backend.weight = weight[i];
		backend.canary_weight = canary_weight[i];
		put_backend(staging, &backend);
	}
}

Test(snapshot, clients_of_canary_sources_have_slots_of_their_own)
{
	static const uint32_t rest[3] = {5, 1, 0}, group[3] = {0, 2, 3}, none[3] = {0, 0, 0};
	const struct wire_service service = service_at("web", 0xcb007101u, 80, SL_PROTOCOL_TCP);
	struct staging *staging = staging_new(), *other = staging_new();
	struct snapshot *plain, *canary, *alone, *ended;
	const struct sl_tuple inside = {.source.word = {SL_BE32(0x0a0100ffu)},
					.family = SL_FAMILY_IPV4,
					.protocol = SL_PROTOCOL_TCP};
	struct sl_tuple outside = inside;
	struct choice choice;

	outside.source.word[0] = SL_BE32(0x0a010100u);
	put_weighted(staging, &service, rest, group);
	plain = build(staging, NULL);
	cr_expect_null(plain->canary_slots[0], "nobody is to have them");
	cr_expect_eq(plain->service[0].flags & SL_SERVICE_CANARY, 0);
	cr_expect_eq(lookup_choose(plain, 0, &inside).audience, SL_AUDIENCE_ALL);
	put_canary_source(staging, &service, 0x0a010000u, 24);
	canary = build(staging, plain);
	cr_expect_eq(canary->slots[0], plain->slots[0], "all others' are as they were");
	cr_expect_eq(canary->n_tables_built, 1);
	cr_expect_gt(snapshot_table_bytes(canary), snapshot_table_bytes(plain));
	/* As if the service had no other clients. */
	put_weighted(other, &service, group, none);
	alone = build(other, NULL);
	cr_assert_not_null(canary->canary_slots[0]);
	cr_expect_arr_eq(canary->canary_slots[0]->slot, alone->slots[0]->slot,
			 alone->slots[0]->n_slots * sizeof(alone->slots[0]->slot[0]));
	choice = lookup_choose(canary, 0, &inside);
	cr_expect_eq(choice.audience, SL_AUDIENCE_CANARY);
	cr_expect_eq(choice.backend, lookup_slot(alone, 0, SL_AUDIENCE_ALL, choice.slot));
	choice = lookup_choose(canary, 0, &outside);
	cr_expect_eq(choice.audience, SL_AUDIENCE_ALL);
	cr_expect_eq(choice.backend, lookup_slot(plain, 0, SL_AUDIENCE_ALL, choice.slot));
	/* Nobody is there for them: they are as all others. */
	put_weighted(staging, &service, rest, none);
	put_canary_source(staging, &service, 0x0a010000u, 24);
	ended = build(staging, canary);
	cr_expect_null(ended->canary_slots[0]);
	cr_expect_eq(lookup_choose(ended, 0, &inside).audience, SL_AUDIENCE_ALL);
	snapshot_free(plain);
	snapshot_free(ended);
	snapshot_free(canary);
	snapshot_free(alone);
	staging_free(staging);
	staging_free(other);
}

static uint32_t no_flows(const struct dataplane *dataplane, uint32_t backend)
{
	(void)dataplane;
	(void)backend;
	return 0;
}

/* Two of very many have a weight for @audience: whatever the hash, these are compared. */
static void find_few_among_many(enum sl_audience audience)
{
	struct wire_service service = service_at("web", 0xcb007101u, 80, SL_PROTOCOL_TCP);
	struct staging *staging = staging_new();
	struct choice choice = {.audience = audience};
	uint32_t n_found[2] = {0, 0};
	struct snapshot *snapshot;

	service.n_slots = 4099;
	put_service(staging, &service);
	put_canary_source(staging, &service, 0, 0);
	for (uint32_t i = 0; i < 40; i++) {
		struct wire_backend backend = backend_at(&service, 0x0a000001u + i, 8080);
		uint16_t few = i == 3 || i == 37;

		backend.weight = audience == SL_AUDIENCE_ALL ? few : 1;
		backend.canary_weight = audience == SL_AUDIENCE_ALL ? 1 : few;
		put_backend(staging, &backend);
	}
	snapshot = build(staging, NULL);
	for (uint32_t i = 0; i < 1000; i++) {
		uint32_t found;

		choice.hash = (uint64_t)i * 0x9e3779b97f4a7c15ull;
		found = lookup_least(snapshot, &snapshot->service[0], &choice, NULL, no_flows);
		cr_assert(found == snapshot->member[3] || found == snapshot->member[37]);
		n_found[found == snapshot->member[37]]++;
	}
	cr_expect(n_found[0] > 400 && n_found[1] > 400, "%u, %u", n_found[0], n_found[1]);
	snapshot_free(snapshot);
	staging_free(staging);
}

Test(snapshot, the_canarys_few_are_found_among_many)
{
	find_few_among_many(SL_AUDIENCE_CANARY);
}

/* Backups that are idle, backends that are drained: they are no candidates. */
Test(snapshot, the_few_with_a_weight_are_found_among_many)
{
	find_few_among_many(SL_AUDIENCE_ALL);
}

Test(snapshot, as_many_canary_sources_as_may_be_and_no_more)
{
	struct staging *staging = staging_new();
	struct wire_listed listed = {
		.list = WIRE_CANARY_SOURCE, .family = SL_FAMILY_IPV4, .length = 32};
	struct wire_service service;
	const uint32_t n_services = SL_MAX_CANARY_SOURCES / SL_MAX_CANARY_SOURCES_PER_SERVICE;

	for (uint32_t i = 0; i <= n_services; i++) {
		service = service_at("web", 0xcb007101u + i, 80, SL_PROTOCOL_TCP);
		put_service(staging, &service);
		for (uint32_t k = 0; i < n_services && k < SL_MAX_CANARY_SOURCES_PER_SERVICE; k++)
			put_canary_source(staging, &service, 0x0a000000u + k, 32);
	}
	listed.service = service.address;
	cr_expect_eq(staging_put_listed(staging, &listed, error), -ENOSPC);
	cr_expect(strstr(error, "canary sources of all services (limit 16384)"), "%s", error);
	/* What is put has none, and leaves its place to others. */
	service = service_at("web", 0xcb007101u, 80, SL_PROTOCOL_TCP);
	put_service(staging, &service);
	listed.service = service.address;
	cr_expect_eq(staging_put_listed(staging, &listed, error), 0, "%s", error);
	cr_expect_eq(staging_put_listed(staging, &listed, error), -EEXIST);
	cr_expect(strstr(error, "canary.sources 0.0.0.0/32 stands there twice"), "%s", error);
	for (uint32_t k = 1; k < SL_MAX_CANARY_SOURCES_PER_SERVICE; k++)
		put_canary_source(staging, &service, 0x0a000000u + k, 32);
	listed.length = 0;
	cr_expect_eq(staging_put_listed(staging, &listed, error), -ENOSPC);
	cr_expect(strstr(error, "1025 canary sources (limit 1024)"), "%s", error);
	staging_free(staging);
}

Test(snapshot, unchanged_services_share_their_tables)
{
	struct wire_service service[3];
	struct staging *staging = three_services(service, 4);
	struct snapshot *first = build(staging, NULL);
	struct wire_backend backend = backend_at(&service[1], 0x0a000100u, 8080);
	uint32_t index[3];
	struct snapshot *second;
	struct snapshot *third;

	cr_expect_eq(first->n_tables_built, 3);
	for (int i = 0; i < 3; i++)
		index[i] = find(first, &service[i].address);
	backend.weight = 9;
	put_backend(staging, &backend);
	second = build(staging, first);
	cr_expect_eq(second->n_tables_built, 1);
	cr_expect_eq(second->slots[index[0]], first->slots[index[0]]);
	cr_expect_neq(second->slots[index[1]], first->slots[index[1]]);
	cr_expect_eq(second->slots[index[2]], first->slots[index[2]]);
	snapshot_free(first); /* what is shared lives on */
	cr_expect_gt(snapshot_n_slots_of(second, index[0], 0), 200);

	/* A name or a timeout is no reason to build; another key or size is. */
	snprintf(service[0].name, sizeof(service[0].name), "renamed");
	service[0].timeout_udp_sec = 1;
	service[2].n_slots = 1013;
	put_service(staging, &service[0]);
	put_service(staging, &service[2]);
	third = build(staging, second);
	cr_expect_eq(third->n_tables_built, 1);
	cr_expect_str_eq(third->service_name[index[0]], "renamed");
	cr_expect_eq(third->slots[index[2]]->n_slots, 1013);
	cr_expect_eq(snapshot_table_bytes(third),
		     3 * sizeof(struct slot_table) + 2 * (1009 + 1009 + 1013 + 3 * 4));
	snapshot_free(second);
	snapshot_free(third);
	staging_free(staging);
}

Test(snapshot, another_key_builds_every_table)
{
	const struct sl_hash_key other = {{1, 3}};
	struct wire_service service[3];
	struct staging *staging = three_services(service, 4);
	struct snapshot *first = build(staging, NULL);
	struct snapshot *second;

	cr_assert_eq(snapshot_build(staging, 2, &other, first, &second, error), 0);
	cr_expect_eq(second->n_tables_built, 3);
	cr_expect_neq(second->digest, first->digest);
	snapshot_free(first);
	snapshot_free(second);
	staging_free(staging);
}

Test(snapshot, drain_maint_down_and_weight_zero_take_no_slots)
{
	struct wire_service service = service_at("a", 0xcb007101u, 80, SL_PROTOCOL_TCP);
	struct staging *staging = staging_new();
	struct wire_backend backend[6];
	struct snapshot *snapshot;
	uint32_t index;

	put_service(staging, &service);
	for (uint32_t i = 0; i < 6; i++)
		backend[i] = backend_at(&service, 0x0a000001u + i, 8080);
	backend[1].state = WIRE_STATE_DRAIN;
	backend[2].state = WIRE_STATE_MAINT;
	backend[3].weight = 0;
	backend[4].health = WIRE_HEALTH_DOWN;
	backend[5].health = WIRE_HEALTH_DOWN_KEEP;
	for (int i = 5; i >= 0; i--)
		put_backend(staging, &backend[i]);
	snapshot = build(staging, NULL);
	index = find(snapshot, &service.address);
	for (uint32_t i = 0; i < 6; i++) {
		uint32_t member = snapshot->member[snapshot->service[index].first_member + i];

		cr_expect(sl_addr_equal(&snapshot->backend[member].addr, &backend[i].addr),
			  "member %u is not in the order of addresses", i);
		cr_expect_eq(snapshot->backend[member].is_gone, i == 2 || i == 4);
		cr_expect_eq(snapshot->backend[snapshot->member[i]].weight[SL_AUDIENCE_ALL],
			     i == 0);
		cr_expect_eq(snapshot->member_state[i], backend[i].state);
		cr_expect_eq(snapshot->member_health[i], backend[i].health);
		cr_expect_eq(snapshot_n_slots_of(snapshot, index, i), i == 0 ? 1009 : 0);
	}
	snapshot_free(snapshot);
	backend[0].weight = 0;
	put_backend(staging, &backend[0]);
	snapshot = build(staging, NULL);
	for (uint32_t i = 0; i < 1009; i++)
		cr_assert_eq(snapshot->slots[index]->slot[i], SL_NO_BACKEND_SLOT);
	snapshot_free(snapshot);
	staging_free(staging);
}

Test(snapshot, a_state_change_keeps_the_index_and_the_epoch)
{
	struct wire_service service[3];
	struct staging *staging = three_services(service, 4);
	struct snapshot *first = build(staging, NULL);
	struct wire_backend backend = backend_at(&service[1], 0x0a000101u, 8080);
	uint32_t index = find_backend(first, &backend);
	struct snapshot *second;

	backend.state = WIRE_STATE_MAINT;
	put_backend(staging, &backend);
	second = build(staging, first);
	cr_expect_eq(find_backend(second, &backend), index);
	cr_expect_eq(second->backend[index].epoch, first->backend[index].epoch);
	cr_expect_eq(second->backend[index].is_gone, 1);
	snapshot_free(first);
	snapshot_free(second);
	staging_free(staging);
}

Test(snapshot, a_freed_index_is_reused_late_and_with_another_epoch)
{
	struct wire_service service = service_at("a", 0xcb007101u, 80, SL_PROTOCOL_TCP);
	struct staging *staging = staging_new();
	struct wire_backend backend;
	struct snapshot *snapshot;
	uint32_t first_index;
	uint16_t first_epoch;

	put_service(staging, &service);
	backend = backend_at(&service, 0x0a000001u, 8080);
	put_backend(staging, &backend);
	snapshot = build(staging, NULL);
	first_index = find_backend(snapshot, &backend);
	first_epoch = snapshot->backend[first_index].epoch;
	for (uint32_t i = 2; i < 3000; i++) {
		const struct wire_backend_delete_request request = {
			.service = service.address, .addr = backend.addr, .port = backend.port};
		struct snapshot *next;
		uint32_t index;

		cr_assert_eq(staging_delete_backend(staging, &request, error), 0);
		backend = backend_at(&service, 0x0a000000u + i, 8080);
		put_backend(staging, &backend);
		next = build(staging, snapshot);
		index = find_backend(next, &backend);
		cr_assert_neq(index, SL_NO_INDEX);
		if (index == first_index) {
			cr_expect_gt(i, 1000, "reused after %u others", i);
			cr_expect_neq(next->backend[index].epoch, first_epoch);
			snapshot_free(snapshot);
			snapshot = next;
			first_index = SL_NO_INDEX;
			break;
		}
		cr_assert_eq(next->backend[first_index].family, SL_FAMILY_NONE);
		snapshot_free(snapshot);
		snapshot = next;
	}
	cr_expect_eq(first_index, SL_NO_INDEX, "never reused: the arrays grow for ever");
	snapshot_free(snapshot);
	staging_free(staging);
}

Test(snapshot, a_deleted_and_remade_object_is_another_one)
{
	struct wire_service service[3];
	struct staging *staging = three_services(service, 1);
	struct snapshot *first = build(staging, NULL);
	struct wire_backend backend = backend_at(&service[0], 0x0a000000u, 8080);
	uint32_t index = find(first, &service[0].address);
	struct snapshot *second;
	uint32_t n_backends;

	cr_assert_eq(staging_delete_service(staging, &service[0].address, &n_backends, error), 0);
	cr_expect_eq(n_backends, 1);
	put_service(staging, &service[0]);
	put_backend(staging, &backend);
	second = build(staging, first);
	cr_expect(find(second, &service[0].address) != index ||
		  second->service[index].epoch != first->service[index].epoch);
	cr_expect_eq(second->digest, first->digest);
	snapshot_free(first);
	snapshot_free(second);
	staging_free(staging);
}

Test(snapshot, a_backend_of_two_services_belongs_to_none_alone)
{
	struct wire_service service[3];
	struct staging *staging = three_services(service, 1);
	struct wire_backend shared = backend_at(&service[1], 0x0a000000u, 8080);
	struct wire_backend single = backend_at(&service[2], 0x0a000000u, 8081);
	struct snapshot *snapshot;

	put_backend(staging, &shared);
	put_backend(staging, &single);
	snapshot = build(staging, NULL);
	cr_expect_eq(find_backend(snapshot, &shared), SL_NO_INDEX);
	cr_expect_neq(find_backend(snapshot, &single), SL_NO_INDEX);
	for (uint32_t i = 0, n = 0; i < snapshot->n_backends; i++) {
		n += snapshot->backend[i].is_shared;
		if (i == snapshot->n_backends - 1)
			cr_expect_eq(n, 2);
	}
	snapshot_free(snapshot);
	staging_free(staging);
}

Test(snapshot, port_zero_is_every_port)
{
	struct staging *staging = staging_new();
	struct wire_service service = service_at("any", 0xcb007101u, 0, SL_PROTOCOL_UDP);
	struct wire_backend backend = backend_at(&service, 0x0a000001u, 53);
	struct snapshot *snapshot;

	put_service(staging, &service);
	cr_expect_eq(staging_put_backend(staging, &backend, error), -EINVAL);
	backend.port = 0;
	put_backend(staging, &backend);
	snapshot = build(staging, NULL);
	cr_expect(snapshot->has_wildcard);
	cr_expect_neq(find(snapshot, &service.address), SL_NO_INDEX);
	snapshot_free(snapshot);
	staging_free(staging);
}

Test(snapshot, a_clone_lives_apart)
{
	struct wire_service service[3];
	struct staging *staging = three_services(service, 4);
	struct staging *clone = staging_clone(staging);
	struct snapshot *before = build(staging, NULL);
	struct snapshot *after;
	uint32_t n;

	cr_assert_eq(staging_delete_service(clone, &service[2].address, &n, error), 0);
	staging_clear(clone);
	put_service(clone, &service[1]);
	staging_free(clone);
	after = build(staging, before);
	cr_expect_eq(after->digest, before->digest);
	cr_expect_eq(after->n_tables_built, 0);
	snapshot_free(before);
	snapshot_free(after);
	staging_free(staging);
}

/* The digest as wire.h words it, computed anew. */
Test(snapshot, the_digest_is_the_sum_of_the_records_digests)
{
	struct wire_service service[3];
	struct staging *staging = three_services(service, 2);
	struct snapshot *snapshot;
	uint64_t sum = wire_digest(&key, sizeof(key));
	uint32_t n;

	cr_assert_eq(staging_delete_service(staging, &service[1].address, &n, error), 0);
	snapshot = build(staging, NULL);
	for (uint32_t i = 0; i < 3; i += 2) {
		sum += wire_digest(&service[i], sizeof(service[i]));
		for (uint32_t k = 0; k < 2; k++) {
			const struct wire_backend backend =
				backend_at(&service[i], 0x0a000000u | i << 8 | k, 8080);

			sum += wire_digest(&backend, sizeof(backend));
		}
	}
	cr_expect_eq(snapshot->digest, sum);
	snapshot_free(snapshot);
	staging_free(staging);
}

enum {
	N_TWIN_SERVICES = 300,
};

static uint64_t random_state = 1;

static uint32_t random_below(uint32_t n)
{
	random_state = random_state * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)((random_state >> 33) % n);
}

static struct wire_service twin_service(void)
{
	struct wire_service service =
		service_at("twin", 0xcb007100u + random_below(200), (uint16_t)random_below(4),
			   random_below(2) != 0 ? SL_PROTOCOL_TCP : SL_PROTOCOL_UDP);

	if (random_below(3) == 0) {
		service.address.family = SL_FAMILY_IPV6;
		service.address.addr.word[3] = service.address.addr.word[0];
		service.address.addr.word[0] = SL_BE32(0x20010db8u);
	}
	return service;
}

/* Every key of a small space is asked of the snapshot and of a plain list. */
Test(snapshot, lookups_agree_with_a_naive_twin, .timeout = 60)
{
	struct staging *staging = staging_new();
	struct wire_service twin[N_TWIN_SERVICES];
	struct snapshot *snapshot;
	uint32_t n = 0;

	for (uint32_t i = 0; i < N_TWIN_SERVICES; i++) {
		bool is_there = false;

		twin[n] = twin_service();
		for (uint32_t k = 0; k < n; k++)
			is_there |= memcmp(&twin[k].address, &twin[n].address,
					   sizeof(twin[n].address)) == 0;
		put_service(staging, &twin[n]);
		n += !is_there;
	}
	snapshot = build(staging, NULL);
	cr_assert_eq(snapshot->n_live_services, n);
	for (uint32_t i = 0; i < 100000; i++) {
		const struct wire_service asked = twin_service();
		uint32_t found = find(snapshot, &asked.address);
		bool is_expected = false;
		bool is_address = false;

		for (uint32_t k = 0; k < n; k++) {
			is_expected |= memcmp(&twin[k].address, &asked.address,
					      sizeof(asked.address)) == 0;
			is_address |= twin[k].address.family == asked.address.family &&
				      sl_addr_equal(&twin[k].address.addr, &asked.address.addr);
		}
		cr_assert_eq(found != SL_NO_INDEX, is_expected, "question %u", i);
		cr_assert_eq(snapshot_is_service_address(snapshot, &asked.address.addr,
							 asked.address.family),
			     is_address, "question %u", i);
		if (is_expected)
			cr_assert(sl_addr_equal(&snapshot->service[found].addr,
						&asked.address.addr) &&
				  snapshot->service[found].port == asked.address.port);
	}
	snapshot_free(snapshot);
	staging_free(staging);
}

Test(snapshot, slots_are_what_maglev_fill_says)
{
	struct wire_service service[3];
	struct staging *staging = three_services(service, 10);
	struct snapshot *snapshot = build(staging, NULL);
	struct maglev_backend backend[10] = {0};
	uint32_t index = find(snapshot, &service[2].address);
	uint16_t slot[1009];

	for (uint32_t k = 0; k < 10; k++) {
		backend[k].addr.ipv4 = sl_to_be32(0x0a000200u | k);
		backend[k].port = SL_BE16(8080);
		backend[k].family = SL_FAMILY_IPV4;
		backend[k].protocol = SL_PROTOCOL_TCP;
		backend[k].weight = 1;
	}
	cr_assert_eq(maglev_fill(&key, backend, 10, slot, 1009), 0);
	cr_expect_eq(memcmp(slot, snapshot->slots[index]->slot, sizeof(slot)), 0);
	snapshot_free(snapshot);
	staging_free(staging);
}

/* Both schedulers' tables, as many as several threads are made for. */
static struct staging *many_services(uint32_t n)
{
	struct staging *staging = staging_new();

	for (uint32_t i = 0; i < n; i++) {
		char name[16];
		struct wire_service service;

		snprintf(name, sizeof(name), "s%u", i);
		service = service_at(name, 0xcb007100u + i, 80, SL_PROTOCOL_TCP);
		service.n_slots = SL_DEFAULT_SLOTS;
		if (i % 4 == 0)
			service.scheduler = WIRE_SCHEDULER_ROUND_ROBIN;
		put_service(staging, &service);
		for (uint32_t k = 0; k < i % 5 * 10; k++) {
			struct wire_backend backend =
				backend_at(&service, 0x0a000000u | i << 8 | (k + 1), 8080);

			backend.weight = k % 7;
			put_backend(staging, &backend);
		}
	}
	return staging;
}

static void expect_same_slots(const struct snapshot *a, const struct snapshot *b)
{
	cr_assert_eq(a->n_services, b->n_services);
	for (uint32_t i = 0; i < a->n_services; i++) {
		const struct slot_table *one = a->slots[i], *other = b->slots[i];

		cr_assert_eq(one->n_references, 1);
		cr_assert_eq(one->n_slots, other->n_slots);
		cr_expect_eq(memcmp(one->slot, other->slot, one->n_slots * sizeof(one->slot[0])), 0,
			     "service %u", i);
	}
}

Test(snapshot, several_threads_fill_what_one_fills)
{
	const uint32_t n = 40, n_threads[] = {2, 3, UINT32_MAX};
	struct staging *staging = many_services(n);
	struct snapshot *alone, *together;

	snapshot_limit_threads(1);
	alone = build(staging, NULL);
	cr_expect_eq(alone->n_tables_built, n);
	for (size_t i = 0; i < SL_ARRAY_LEN(n_threads); i++) {
		snapshot_limit_threads(n_threads[i]);
		together = build(staging, NULL);
		cr_expect_eq(together->n_tables_built, n);
		expect_same_slots(alone, together);
		snapshot_free(together);
	}
	snapshot_free(alone);
	staging_free(staging);
}

/* Backends as people number them: in sequence, in any one byte of the address or in the port. */
Test(snapshot, runs_in_the_indices_stay_short, .timeout = 60)
{
	for (uint32_t byte = 0; byte < 18; byte++) {
		const uint32_t n = byte < 16 ? 250 : 10000;
		struct staging *staging = staging_new();
		struct wire_service service = service_at("a", 0xcb007101u, 80, SL_PROTOCOL_TCP);
		struct snapshot *snapshot;

		service.n_slots = SL_MAX_SLOTS;
		service.address.family = SL_FAMILY_IPV6;
		service.address.addr.word[0] = SL_BE32(0x20010db8u);
		service.address.addr.word[3] = SL_BE32(0xffu);
		put_service(staging, &service);
		for (uint32_t i = 1; i <= n; i++) {
			struct wire_backend backend = backend_at(&service, 0x20010db8u, 8080);

			backend.addr.word[3] = SL_BE32(1);
			if (byte < 4)
				backend.addr.byte[byte] = (uint8_t)(0x20 + i % 8);
			if (byte < 4)
				backend.addr.byte[15] = (uint8_t)(i / 8 + 1);
			else if (byte < 16)
				backend.addr.byte[byte] = (uint8_t)i;
			else if (byte == 16)
				backend.port = sl_to_be16((uint16_t)i);
			else
				backend.addr.word[3] = sl_to_be32(i << 8);
			put_backend(staging, &backend);
		}
		snapshot = build(staging, NULL);
		cr_expect_eq(snapshot->n_live_backends, n, "byte %u: %u backends", byte,
			     snapshot->n_live_backends);
		cr_expect_leq(snapshot->by_backend.max_probes, 32, "byte %u: a run of %u", byte,
			      snapshot->by_backend.max_probes);
		snapshot_free(snapshot);
		staging_free(staging);
	}
}

static struct wire_service fullnat_at(const char *name, uint32_t addr, uint32_t source, uint32_t n)
{
	struct wire_service service = service_at(name, addr, 80, SL_PROTOCOL_TCP);

	service.mode = WIRE_MODE_FULLNAT;
	service.source_port_first = 2000;
	service.source_port_last = 2999;
	service.n_sources = n;
	for (uint32_t i = 0; i < n; i++)
		service.source[i].ipv4 = sl_to_be32(source + i);
	return service;
}

Test(snapshot, source_pools_lie_one_behind_the_other)
{
	struct wire_service service[3] = {
		fullnat_at("a", 0xcb007101u, 0xc6120001u, 3),
		service_at("b", 0xcb007102u, 80, SL_PROTOCOL_TCP),
		/* Shares 198.18.0.3 with the first. */
		fullnat_at("c", 0xcb007103u, 0xc6120003u, SL_MAX_SOURCES_PER_SERVICE),
	};
	struct staging *staging = staging_new();
	union sl_addr addr = {.word = {SL_BE32(0xc6120002u)}};
	uint32_t n_deleted;
	struct snapshot *snapshot, *next;

	for (int i = 0; i < 3; i++)
		put_service(staging, &service[i]);
	snapshot = build(staging, NULL);
	cr_assert_eq(snapshot->n_sources, 3 + SL_MAX_SOURCES_PER_SERVICE);
	for (uint32_t i = 0; i < 3; i++) {
		uint32_t index =
			snapshot_find_service(snapshot, &service[i].address.addr, SL_BE16(80),
					      SL_FAMILY_IPV4, SL_PROTOCOL_TCP);
		const struct sl_service *record = &snapshot->service[index];

		cr_expect_eq(record->mode, service[i].mode);
		cr_expect_eq(record->n_sources, service[i].n_sources);
		cr_expect_eq(record->source_port_first, service[i].source_port_first);
		cr_expect_eq(record->source_port_last, service[i].source_port_last);
		cr_expect(record->flags & SL_SERVICE_STATELESS_REPLIES);
		for (uint32_t k = 0; k < service[i].n_sources; k++) {
			const union sl_addr *source = &snapshot->source[record->first_source + k];

			cr_expect(sl_addr_equal(source, &service[i].source[k]));
			cr_expect(snapshot_is_source_address(snapshot, source, SL_FAMILY_IPV4));
			cr_expect_not(snapshot_is_source_address(snapshot, source, SL_FAMILY_IPV6));
		}
	}
	cr_expect_not(
		snapshot_is_source_address(snapshot, &service[0].address.addr, SL_FAMILY_IPV4));
	/* Back to nat: the pool is gone, the index, the epoch and the slots stay. */
	service[0] = service_at("a", 0xcb007101u, 80, SL_PROTOCOL_TCP);
	put_service(staging, &service[0]);
	cr_assert_eq(staging_delete_service(staging, &service[1].address, &n_deleted, error), 0);
	next = build(staging, snapshot);
	cr_expect_eq(next->n_sources, SL_MAX_SOURCES_PER_SERVICE);
	cr_expect_eq(next->n_tables_built, 0);
	cr_expect_eq(next->service[0].epoch, snapshot->service[0].epoch);
	cr_expect_eq(next->service[0].mode, WIRE_MODE_NAT);
	cr_expect_not(snapshot_is_source_address(next, &addr, SL_FAMILY_IPV4));
	addr.ipv4 = SL_BE32(0xc6120003u);
	cr_expect(snapshot_is_source_address(next, &addr, SL_FAMILY_IPV4));
	snapshot_free(snapshot);
	snapshot_free(next);
	staging_free(staging);
}

Test(snapshot, all_source_pools_that_there_may_be, .timeout = 60)
{
	struct staging *staging = staging_new();
	struct wire_service one_more;
	struct snapshot *snapshot;

	for (uint32_t i = 0; i < SL_MAX_SERVICES; i++) {
		char name[16];
		struct wire_service service;

		snprintf(name, sizeof(name), "s%u", i);
		/* Each source address is shared by 16 services. */
		service = fullnat_at(
			name, 0xcb000000u + i,
			0x0a000000u + SL_MAX_SOURCES_PER_SERVICE *
					      (i % (SL_MAX_SOURCES / SL_MAX_SOURCES_PER_SERVICE)),
			SL_MAX_SOURCES_PER_SERVICE);
		service.n_slots = SL_MIN_SLOTS;
		put_service(staging, &service);
	}
	snapshot = build(staging, NULL);
	cr_assert_eq(snapshot->n_sources, SL_MAX_SERVICES * SL_MAX_SOURCES_PER_SERVICE);
	cr_expect_leq(snapshot->by_source.max_probes, 64, "a run of %u",
		      snapshot->by_source.max_probes);
	for (uint32_t i = 0; i < SL_MAX_SOURCES + 1000; i++) {
		const union sl_addr addr = {.word = {sl_to_be32(0x0a000000u + i)}};

		cr_assert_eq(snapshot_is_source_address(snapshot, &addr, SL_FAMILY_IPV4),
			     i < SL_MAX_SOURCES, "%u", i);
	}
	snapshot_free(snapshot);
	/* One more address is refused. */
	one_more = fullnat_at("s0", 0xcb000000u, 0x0b000000u, 1);
	one_more.n_slots = SL_MIN_SLOTS;
	put_service(staging, &one_more);
	cr_expect_eq(snapshot_build(staging, 2, &key, NULL, &snapshot, error), -ENOSPC);
	cr_expect_not_null(strstr(error, "source addresses of all services (limit 16384)"), "%s",
			   error);
	staging_free(staging);
}

Test(snapshot, a_dump_carries_the_source_pools)
{
	const struct wire_service service = fullnat_at("a", 0xcb007101u, 0xc6120001u, 3);
	struct staging *staging = staging_new();
	struct staging *loaded = staging_new();
	struct sl_hash_key loaded_key;
	struct snapshot *snapshot;
	uint64_t generation;
	size_t size;
	void *dump;

	put_service(staging, &service);
	size = staging_dump_size(staging);
	dump = malloc(size);
	staging_dump(staging, 7, &key, dump);
	cr_assert_eq(staging_load(loaded, dump, size, &generation, &loaded_key, error), 0, "%s",
		     error);
	snapshot = build(loaded, NULL);
	cr_assert_eq(snapshot->n_sources, 3);
	cr_expect_eq(snapshot->service[0].n_sources, 3);
	cr_expect_eq(snapshot->service[0].source_port_last, 2999);
	for (uint32_t i = 0; i < 3; i++)
		cr_expect(sl_addr_equal(&snapshot->source[i], &service.source[i]));
	snapshot_free(snapshot);
	staging_free(staging);
	staging_free(loaded);
	free(dump);
}
