/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* Services of mode snat in dataplane/staging.c, snapshot.c and lookup.h. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/lookup.h"
#include "dataplane/staging_dump.h"
#include "wire/wire_abi.h"

static const struct sl_hash_key key = {{1, 2}};
static char error[SL_MAX_ERROR];

enum {
	OFFICE = 0x0a000000, /* 10.0.0.0/16 */
	LAB = 0x0a000700,    /* 10.0.7.0/24, in it */
	POOL = 0xcb0071c8,   /* 203.0.113.200 */
	SERVICE = 0xcb007101,
	OUTSIDE = 0xc6336407,
};

static struct wire_service prefix_at(const char *name, uint32_t addr, uint16_t length,
				     uint32_t source)
{
	struct wire_service service = {
		.address = {.port = sl_to_be16(length), .family = SL_FAMILY_IPV4},
		.mode = WIRE_MODE_SNAT,
		.scheduler = WIRE_SCHEDULER_MAGLEV,
		.stateless_replies = 1,
		.n_slots = 1009,
		.source_port_first = 1024,
		.source_port_last = 65535,
		.n_sources = 1,
	};

	service.address.addr.ipv4 = sl_to_be32(addr);
	service.source[0].ipv4 = sl_to_be32(source);
	snprintf(service.name, sizeof(service.name), "%s", name);
	return service;
}

static struct wire_service nat_at(uint32_t addr)
{
	struct wire_service service = prefix_at("web", addr, 80, 0);

	service.mode = WIRE_MODE_NAT;
	service.address.protocol = SL_PROTOCOL_TCP;
	service.n_sources = 0;
	service.source_port_first = 0;
	service.source_port_last = 0;
	return service;
}

static struct staging *staging_of(const struct wire_service *service, size_t n)
{
	struct staging *staging = staging_new();

	cr_assert_not_null(staging);
	for (size_t i = 0; i < n; i++)
		cr_assert_eq(staging_put_service(staging, &service[i], error), 0, "%s", error);
	return staging;
}

static struct snapshot *build(struct staging *staging)
{
	struct snapshot *snapshot = NULL;

	cr_assert_eq(snapshot_build(staging, 1, &key, NULL, &snapshot, error), 0, "%s", error);
	return snapshot;
}

static uint32_t inside(const struct snapshot *snapshot, uint32_t addr)
{
	const union sl_addr at = {.word = {sl_to_be32(addr)}};

	return prefix_table_find(&snapshot->inside, &at, SL_FAMILY_IPV4);
}

static struct sl_tuple tuple_of(uint32_t source, uint32_t destination)
{
	return (struct sl_tuple){.source = {.word = {sl_to_be32(source)}},
				 .destination = {.word = {sl_to_be32(destination)}},
				 .source_port = SL_BE16(8080),
				 .destination_port = SL_BE16(443),
				 .protocol = SL_PROTOCOL_TCP,
				 .family = SL_FAMILY_IPV4};
}

static enum lookup_egress way_of(const struct snapshot *snapshot, uint32_t source,
				 uint32_t destination)
{
	const struct sl_tuple tuple = tuple_of(source, destination);
	uint32_t service;

	return lookup_egress(snapshot, &tuple, &service);
}

Test(snat, the_outside_is_a_backend_that_nobody_counts)
{
	const struct wire_service service = prefix_at("office", OFFICE, 16, POOL);
	struct staging *staging = staging_of(&service, 1);
	struct snapshot *snapshot = build(staging);
	uint32_t backend = snapshot->member[snapshot->service[0].first_member];

	cr_expect_eq(snapshot->n_live_backends - snapshot->n_outsides, 0);
	cr_assert_eq(snapshot->service[0].n_members, 1);
	cr_expect_eq(snapshot->backend[backend].is_outside, 1);
	cr_expect_eq(snapshot->digest,
		     wire_digest(&service, sizeof(service)) + wire_digest(&key, sizeof(key)));
	cr_expect_eq(snapshot->service[0].timeout_ticks[SL_TIMEOUT_EMBRYONIC],
		     SL_TIMEOUT_TCP_TRANSITORY_SEC * SL_TICKS_PER_SEC);
	snapshot_free(snapshot);
	staging_free(staging);
}

Test(snat, the_longest_prefix_decides)
{
	const struct wire_service service[] = {prefix_at("office", OFFICE, 16, POOL),
					       prefix_at("lab", LAB, 24, POOL + 1)};
	struct staging *staging = staging_of(service, 2);
	struct snapshot *snapshot = build(staging);

	cr_expect_eq(inside(snapshot, OFFICE + 1), 0);
	cr_expect_eq(inside(snapshot, LAB + 1), 1);
	cr_expect_eq(inside(snapshot, LAB + 256), 0);
	cr_expect_eq(inside(snapshot, OFFICE + 65536), SL_NO_INDEX);
	snapshot_free(snapshot);
	staging_free(staging);
}

Test(snat, what_is_led_out_and_what_is_not)
{
	const struct wire_service service[] = {prefix_at("office", OFFICE, 16, POOL),
					       nat_at(SERVICE)};
	struct wire_backend backend = {.service = service[1].address,
				       .addr = {.word = {sl_to_be32(OFFICE + 2)}},
				       .port = SL_BE16(8080),
				       .state = WIRE_STATE_READY,
				       .weight = 1};
	struct staging *staging = staging_of(service, 2);
	struct snapshot *snapshot;

	cr_assert_eq(staging_put_backend(staging, &backend, error), 0, "%s", error);
	snapshot = build(staging);
	cr_expect_eq(way_of(snapshot, OFFICE + 1, OUTSIDE), LOOKUP_EGRESS_OUT);
	cr_expect_eq(way_of(snapshot, OUTSIDE, POOL), LOOKUP_EGRESS_IN);
	cr_expect_eq(way_of(snapshot, OFFICE + 1, POOL), LOOKUP_EGRESS_IN, "from client to client");
	cr_expect_eq(way_of(snapshot, OFFICE + 1, SERVICE), LOOKUP_NO_EGRESS);
	cr_expect_eq(way_of(snapshot, OFFICE + 1, OFFICE + 3), LOOKUP_NO_EGRESS);
	cr_expect_eq(way_of(snapshot, OFFICE + 2, OUTSIDE), LOOKUP_NO_EGRESS, "a backend's port");
	cr_expect_eq(way_of(snapshot, OUTSIDE, OUTSIDE + 1), LOOKUP_NO_EGRESS);
	/* The prefix's own address is no service's. */
	cr_expect(!snapshot_is_service_address(snapshot, &service[0].address.addr, SL_FAMILY_IPV4));
	snapshot_free(snapshot);
	staging_free(staging);
}

Test(snat, malformed_services_are_refused)
{
	static const struct {
		uint32_t addr;
		uint16_t length;
		const char *reason;
	} rows[] = {
		{OFFICE, 7, "a prefix of 7 bits (limit 8..32)"},
		{OFFICE, 33, "a prefix of 33 bits (limit 8..32)"},
		{OFFICE + 1, 16, "bits beyond the prefix"},
		{0x7f000000, 8, "the address cannot be a service's"},
	};

	for (size_t i = 0; i < SL_ARRAY_LEN(rows); i++) {
		struct wire_service service =
			prefix_at("office", rows[i].addr, rows[i].length, POOL);
		struct staging *staging = staging_new();

		cr_expect_eq(staging_put_service(staging, &service, error), -EINVAL);
		cr_expect_not_null(strstr(error, rows[i].reason), "%s", error);
		staging_free(staging);
	}
}

Test(snat, a_backend_is_refused)
{
	const struct wire_service service = prefix_at("office", OFFICE, 16, POOL);
	const struct wire_backend backend = {.service = service.address,
					     .addr = {.word = {sl_to_be32(OUTSIDE)}},
					     .state = WIRE_STATE_READY};
	struct staging *staging = staging_of(&service, 1);

	cr_expect_eq(staging_put_backend(staging, &backend, error), -EINVAL);
	cr_expect_not_null(strstr(error, "mode snat has no backends"), "%s", error);
	staging_free(staging);
}

Test(snat, sources_that_would_leave_doubt_are_refused)
{
	struct wire_service full = nat_at(SERVICE);
	const struct wire_service inside_it[] = {prefix_at("office", OFFICE, 16, LAB + 1)};
	struct wire_service both[2] = {prefix_at("office", OFFICE, 16, POOL), full};
	struct snapshot *snapshot = NULL;
	struct staging *staging = staging_of(inside_it, 1);

	cr_expect_eq(snapshot_build(staging, 1, &key, NULL, &snapshot, error), -EINVAL);
	cr_expect_not_null(strstr(error, "one of service office's clients"), "%s", error);
	staging_free(staging);
	both[1].mode = WIRE_MODE_FULLNAT;
	both[1].n_sources = 1;
	both[1].source[0].ipv4 = sl_to_be32(POOL);
	both[1].source_port_first = 1024;
	both[1].source_port_last = 65535;
	staging = staging_of(both, 2);
	cr_expect_eq(snapshot_build(staging, 1, &key, NULL, &snapshot, error), -EINVAL);
	cr_expect_not_null(strstr(error, "modes fullnat and snat cannot have one address"), "%s",
			   error);
	staging_free(staging);
}

Test(snat, put_again_it_is_the_same_and_remade_another)
{
	const struct wire_service service = prefix_at("office", OFFICE, 16, POOL);
	struct staging *staging = staging_of(&service, 1);
	struct snapshot *first = build(staging);
	struct snapshot *second;
	struct snapshot *third;
	uint32_t n;

	staging_clear(staging);
	cr_assert_eq(staging_put_service(staging, &service, error), 0, "%s", error);
	second = build(staging);
	cr_expect_eq(second->service[0].epoch, first->service[0].epoch);
	cr_expect_eq(second->backend[0].epoch, first->backend[0].epoch);
	cr_expect_eq(second->digest, first->digest);
	cr_assert_eq(staging_delete_service(staging, &service.address, &n, error), 0, "%s", error);
	cr_expect_eq(n, 0, "no backends are said to be removed: %u", n);
	cr_assert_eq(staging_put_service(staging, &service, error), 0, "%s", error);
	third = build(staging);
	cr_expect_eq(inside(third, OFFICE + 1), 1, "another index");
	cr_expect_eq(third->digest, first->digest);
	snapshot_free(first);
	snapshot_free(second);
	snapshot_free(third);
	staging_free(staging);
}

static struct wire_listed deny_of(const struct wire_service *service, uint8_t end, uint32_t addr,
				  uint8_t length)
{
	return (struct wire_listed){.service = service->address,
				    .addr.word = {sl_to_be32(addr)},
				    .length = length,
				    .list = end,
				    .family = SL_FAMILY_IPV4};
}

static bool is_denied(const struct snapshot *snapshot, uint32_t service, uint8_t end, uint32_t addr)
{
	const union sl_addr at = {.word = {sl_to_be32(addr)}};

	return lookup_is_denied(snapshot, service, end, &at, SL_FAMILY_IPV4);
}

Test(snat, each_service_denies_by_its_own_list)
{
	const struct wire_service service[] = {prefix_at("office", OFFICE, 16, POOL),
					       prefix_at("lab", LAB, 24, POOL + 1)};
	const struct wire_listed denies[] = {
		deny_of(&service[0], WIRE_DENY_SOURCE, OFFICE + 0x100, 24),
		deny_of(&service[0], WIRE_DENY_DESTINATION, OUTSIDE & ~0xffu, 24),
		deny_of(&service[1], WIRE_DENY_DESTINATION, OUTSIDE, 32),
	};
	struct staging *staging = staging_of(service, 2);
	struct snapshot *snapshot;

	for (size_t i = 0; i < SL_ARRAY_LEN(denies); i++)
		cr_assert_eq(staging_put_listed(staging, &denies[i], error), 0, "%s", error);
	snapshot = build(staging);
	cr_expect(is_denied(snapshot, 0, WIRE_DENY_SOURCE, OFFICE + 0x1ff));
	cr_expect(!is_denied(snapshot, 0, WIRE_DENY_SOURCE, OFFICE + 0x200));
	cr_expect(!is_denied(snapshot, 0, WIRE_DENY_SOURCE, OUTSIDE), "another end");
	cr_expect(is_denied(snapshot, 0, WIRE_DENY_DESTINATION, OUTSIDE + 1));
	cr_expect(!is_denied(snapshot, 0, WIRE_DENY_DESTINATION, OUTSIDE + 256));
	cr_expect(is_denied(snapshot, 1, WIRE_DENY_DESTINATION, OUTSIDE));
	cr_expect(!is_denied(snapshot, 1, WIRE_DENY_DESTINATION, OUTSIDE + 1), "another service");
	cr_expect_eq(snapshot->service[1].denies, 1u << WIRE_DENY_DESTINATION);
	snapshot_free(snapshot);
	staging_free(staging);
}

Test(snat, a_service_that_is_put_denies_nothing)
{
	const struct wire_service service = prefix_at("office", OFFICE, 16, POOL);
	const struct wire_listed deny = deny_of(&service, WIRE_DENY_DESTINATION, OUTSIDE, 32);
	struct staging *staging = staging_of(&service, 1);
	struct snapshot *first = build(staging);
	struct snapshot *second;
	struct snapshot *third;
	struct staging *clone;

	cr_assert_eq(staging_put_listed(staging, &deny, error), 0, "%s", error);
	cr_expect_eq(staging_put_listed(staging, &deny, error), -EEXIST);
	cr_expect_not_null(strstr(error, "198.51.100.7/32 stands there twice"), "%s", error);
	second = build(staging);
	cr_expect_eq(second->digest - first->digest, wire_digest(&deny, sizeof(deny)));
	clone = staging_clone(staging);
	cr_assert_eq(staging_put_service(staging, &service, error), 0, "%s", error);
	third = build(staging);
	cr_expect_eq(third->digest, first->digest);
	cr_expect_eq(third->service[0].denies, 0);
	cr_expect(!is_denied(third, 0, WIRE_DENY_DESTINATION, OUTSIDE));
	snapshot_free(third);
	third = build(clone);
	cr_expect_eq(third->digest, second->digest, "a clone has the list still");
	snapshot_free(third);
	staging_clear(clone);
	cr_assert_eq(staging_put_service(clone, &service, error), 0, "%s", error);
	third = build(clone);
	cr_expect_eq(third->digest, first->digest, "nor does one that was cleared");
	snapshot_free(first);
	snapshot_free(second);
	snapshot_free(third);
	staging_free(staging);
	staging_free(clone);
}

Test(snat, an_unchanged_list_is_shared_and_a_full_one_refuses)
{
	const struct wire_service service = prefix_at("office", OFFICE, 16, POOL);
	struct staging *staging = staging_of(&service, 1);
	struct snapshot *first;
	struct snapshot *second = NULL;
	struct wire_listed deny;

	for (uint32_t i = 0; i < SL_MAX_DENIES_PER_SERVICE; i++) {
		deny = deny_of(&service, WIRE_DENY_DESTINATION, OUTSIDE + i, 32);
		cr_assert_eq(staging_put_listed(staging, &deny, error), 0, "%s", error);
	}
	deny = deny_of(&service, WIRE_DENY_SOURCE, OFFICE, 32);
	cr_expect_eq(staging_put_listed(staging, &deny, error), -ENOSPC);
	cr_expect_not_null(strstr(error, "4097 denied prefixes (limit 4096)"), "%s", error);
	first = build(staging);
	cr_assert_eq(snapshot_build(staging, 2, &key, first, &second, error), 0, "%s", error);
	cr_expect_eq(second->lists[0], first->lists[0]);
	snapshot_free(first);
	cr_expect(is_denied(second, 0, WIRE_DENY_DESTINATION, OUTSIDE + 4095));
	snapshot_free(second);
	staging_free(staging);
}

Test(snat, a_dump_keeps_denies)
{
	const struct wire_service service = prefix_at("office", OFFICE, 16, POOL);
	const struct wire_listed deny = deny_of(&service, WIRE_DENY_SOURCE, OFFICE + 9, 32);
	struct staging *staging = staging_of(&service, 1);
	struct staging *loaded = staging_new();
	struct sl_hash_key loaded_key;
	struct snapshot *before;
	struct snapshot *after;
	uint64_t generation;
	size_t size;
	void *dump;

	cr_assert_eq(staging_put_listed(staging, &deny, error), 0, "%s", error);
	before = build(staging);
	size = staging_dump_size(staging);
	dump = malloc(size);
	staging_dump(staging, 7, &key, dump);
	cr_expect_eq(staging_load(loaded, dump, size - 1, &generation, &loaded_key, error),
		     -EINVAL);
	cr_assert_eq(staging_load(loaded, dump, size, &generation, &loaded_key, error), 0, "%s",
		     error);
	after = build(loaded);
	cr_expect_eq(after->digest, before->digest);
	cr_expect(is_denied(after, 0, WIRE_DENY_SOURCE, OFFICE + 9));
	snapshot_free(before);
	snapshot_free(after);
	staging_free(staging);
	staging_free(loaded);
	free(dump);
}

Test(snat, a_dump_keeps_indices_and_epochs)
{
	const struct wire_service service[] = {nat_at(SERVICE),
					       prefix_at("office", OFFICE, 16, POOL)};
	const struct wire_backend backend = {.service = service[0].address,
					     .addr = {.word = {sl_to_be32(OFFICE + 2)}},
					     .port = SL_BE16(8080),
					     .state = WIRE_STATE_READY,
					     .weight = 1};
	struct staging *staging = staging_of(service, 2);
	struct staging *loaded = staging_new();
	struct sl_hash_key loaded_key;
	struct snapshot *before;
	struct snapshot *after;
	uint64_t generation;
	size_t size;
	void *dump;

	/* The outside comes before it. */
	cr_assert_eq(staging_put_backend(staging, &backend, error), 0, "%s", error);
	before = build(staging);
	size = staging_dump_size(staging);
	dump = malloc(size);
	staging_dump(staging, 7, &key, dump);
	cr_assert_eq(staging_load(loaded, dump, size, &generation, &loaded_key, error), 0, "%s",
		     error);
	after = build(loaded);
	cr_assert_eq(after->n_backends, before->n_backends);
	for (uint32_t i = 0; i < after->n_backends; i++) {
		cr_expect_eq(after->backend[i].epoch, before->backend[i].epoch);
		cr_expect_eq(after->backend[i].service, before->backend[i].service);
		cr_expect_eq(after->backend[i].is_outside, before->backend[i].is_outside);
	}
	cr_expect_eq(after->digest, before->digest);
	snapshot_free(before);
	snapshot_free(after);
	staging_free(staging);
	staging_free(loaded);
	free(dump);
}
