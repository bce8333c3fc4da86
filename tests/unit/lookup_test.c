/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* dataplane/lookup.h: which service, backend or replier a snapshot gives to a packet. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "dataplane/lookup.h"

static const struct sl_hash_key key = {{1, 2}};
static char error[SL_MAX_ERROR];

enum {
	CLIENT = 0xc6336407,       /* 198.51.100.7 */
	EXACT = 0xcb007101,        /* 203.0.113.1 */
	WILDCARD = 0xcb007102,     /* 203.0.113.2 */
	BACKEND = 0x0a000001,      /* 10.0.0.1, and the next ones */
	WILD_BACKEND = 0x0a000101, /* 10.0.1.1 */
	N_SLOTS = 1009,
};

static struct sl_tuple tuple_of(uint32_t source, uint16_t source_port, uint32_t destination,
				uint16_t destination_port)
{
	return (struct sl_tuple){
		.source = {.word = {sl_to_be32(source)}},
		.destination = {.word = {sl_to_be32(destination)}},
		.source_port = sl_to_be16(source_port),
		.destination_port = sl_to_be16(destination_port),
		.protocol = SL_PROTOCOL_TCP,
		.family = SL_FAMILY_IPV4,
	};
}

static struct wire_address put_service(struct staging *staging, const char *name, uint32_t addr,
				       uint16_t port)
{
	struct wire_service service = {
		.address = {.port = sl_to_be16(port),
			    .protocol = SL_PROTOCOL_TCP,
			    .family = SL_FAMILY_IPV4},
		.mode = WIRE_MODE_NAT,
		.stateless_replies = 1,
		.scheduler = WIRE_SCHEDULER_MAGLEV,
		.n_slots = N_SLOTS,
	};

	service.address.addr.ipv4 = sl_to_be32(addr);
	snprintf(service.name, sizeof(service.name), "%s", name);
	cr_assert_eq(staging_put_service(staging, &service, error), 0, "%s", error);
	return service.address;
}

static void put_backend(struct staging *staging, const struct wire_address *service, uint32_t addr,
			uint16_t port, uint8_t state)
{
	struct wire_backend backend = {
		.service = *service, .port = sl_to_be16(port), .state = state, .weight = 1};

	backend.addr.ipv4 = sl_to_be32(addr);
	cr_assert_eq(staging_put_backend(staging, &backend, error), 0, "%s", error);
}

/* The snapshot of @staging, which is freed. */
static struct snapshot *build(struct staging *staging)
{
	struct snapshot *snapshot = NULL;

	cr_assert_eq(snapshot_build(staging, 1, &key, NULL, &snapshot, error), 0, "%s", error);
	staging_free(staging);
	return snapshot;
}

/* EXACT:80 with three backends at port 8080, and, if asked for, WILDCARD with one. */
static struct snapshot *some_services(bool has_wildcard)
{
	struct staging *staging = staging_new();
	struct wire_address service = put_service(staging, "exact", EXACT, 80);

	for (uint32_t i = 0; i < 3; i++)
		put_backend(staging, &service, BACKEND + i, 8080, WIRE_STATE_READY);
	if (has_wildcard) {
		service = put_service(staging, "wildcard", WILDCARD, 0);
		put_backend(staging, &service, WILD_BACKEND, 0, WIRE_STATE_READY);
	}
	return build(staging);
}

Test(lookup, a_service_is_found_by_its_port_or_as_the_wildcard)
{
	struct snapshot *snapshot = some_services(true);
	const struct sl_tuple exact = tuple_of(CLIENT, 40000, EXACT, 80);
	const struct sl_tuple other_port = tuple_of(CLIENT, 40000, EXACT, 81);
	const struct sl_tuple wildcard = tuple_of(CLIENT, 40000, WILDCARD, 12345);
	struct sl_tuple udp = exact;
	uint32_t found;

	found = lookup_service(snapshot, &exact);
	cr_assert_neq(found, SL_NO_INDEX);
	cr_expect_str_eq(snapshot->service_name[found], "exact");
	cr_expect_eq(lookup_service(snapshot, &other_port), SL_NO_INDEX);
	udp.protocol = SL_PROTOCOL_UDP;
	cr_expect_eq(lookup_service(snapshot, &udp), SL_NO_INDEX);
	found = lookup_service(snapshot, &wildcard);
	cr_assert_neq(found, SL_NO_INDEX);
	cr_expect_str_eq(snapshot->service_name[found], "wildcard");
	snapshot_free(snapshot);
}

Test(lookup, the_choice_is_the_one_of_the_slot_of_the_hash)
{
	struct snapshot *snapshot = some_services(false);
	uint32_t seen[3] = {0, 0, 0};

	for (uint16_t port = 1024; port < 1324; port++) {
		const struct sl_tuple tuple = tuple_of(CLIENT, port, EXACT, 80);
		uint32_t service = lookup_service(snapshot, &tuple);
		struct choice choice = lookup_choose(snapshot, service, &tuple);
		uint32_t position;

		cr_expect_eq(choice.hash, sl_flow_hash(&key, &tuple));
		cr_expect_eq(choice.slot, sl_maglev_slot(choice.hash, N_SLOTS));
		cr_assert_lt(choice.backend, snapshot->n_backends);
		position = sl_from_be32(snapshot->backend[choice.backend].addr.ipv4) - BACKEND;
		cr_assert_lt(position, 3);
		seen[position]++;
	}
	for (int i = 0; i < 3; i++)
		cr_expect_gt(seen[i], 0, "backend %d was never chosen", i);
	snapshot_free(snapshot);
}

Test(lookup, a_service_whose_backends_take_no_new_flows_gives_none)
{
	struct staging *staging = staging_new();
	const struct wire_address service = put_service(staging, "a", EXACT, 80);
	const struct sl_tuple tuple = tuple_of(CLIENT, 40000, EXACT, 80);
	struct snapshot *snapshot;

	put_backend(staging, &service, BACKEND, 8080, WIRE_STATE_DRAIN);
	snapshot = build(staging);
	cr_expect_eq(lookup_choose(snapshot, lookup_service(snapshot, &tuple), &tuple).backend,
		     SL_NO_INDEX);
	snapshot_free(snapshot);
}

Test(lookup, a_reply_is_known_by_its_source)
{
	struct snapshot *snapshot = some_services(true);
	const struct sl_tuple reply = tuple_of(BACKEND + 1, 8080, CLIENT, 40000);
	const struct sl_tuple other_port = tuple_of(BACKEND + 1, 22, CLIENT, 40000);
	const struct sl_tuple wildcard = tuple_of(WILD_BACKEND, 12345, CLIENT, 40000);
	uint32_t found;

	found = lookup_replier(snapshot, &reply);
	cr_assert_neq(found, SL_NO_INDEX);
	cr_expect_eq(snapshot->backend[found].addr.ipv4, sl_to_be32(BACKEND + 1));
	cr_expect_eq(lookup_replier(snapshot, &other_port), SL_NO_INDEX);
	found = lookup_replier(snapshot, &wildcard);
	cr_assert_neq(found, SL_NO_INDEX);
	cr_expect_eq(snapshot->backend[found].addr.ipv4, sl_to_be32(WILD_BACKEND));
	snapshot_free(snapshot);
}

Test(lookup, a_backend_of_two_services_leaves_its_reply_in_doubt)
{
	struct staging *staging = staging_new();
	const struct wire_address a = put_service(staging, "a", EXACT, 80);
	const struct wire_address b = put_service(staging, "b", EXACT, 81);
	const struct sl_tuple reply = tuple_of(BACKEND, 8080, CLIENT, 40000);
	struct snapshot *snapshot;

	put_backend(staging, &a, BACKEND, 8080, WIRE_STATE_READY);
	put_backend(staging, &b, BACKEND, 8080, WIRE_STATE_READY);
	snapshot = build(staging);
	cr_expect_eq(lookup_replier(snapshot, &reply), SL_NO_INDEX);
	snapshot_free(snapshot);
}
