/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* dataplane/plan.c: what becomes of a flow if one snapshot takes another's place. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sluice/packet/flow.h>

#include "dataplane/lookup.h"
#include "dataplane/plan.h"
#include "dataplane/snapshot.h"

enum {
	NOW = 1000000, /* ticks */
	CLIENT = 0xc6336407,
	SOURCE = 0xc6120001, /* and the next */
	OTHER_SOURCE = 0xc6120009,
	OFFICE = 0x0a090000,
};

static const struct sl_hash_key key = {{3, 4}};
static char error[SL_MAX_ERROR];

/* A service of each kind, each with backends 10.N.0.2 and 10.N.0.3. */
enum kind { TCP, UDP, FULLNAT, SNAT, N_KINDS };

static struct wire_service service_of(enum kind kind)
{
	struct wire_service service = {
		.address = {.addr.word = {sl_to_be32(0xcb007100 + kind)},
			    .port = SL_BE16(80),
			    .protocol = kind == UDP ? SL_PROTOCOL_UDP : SL_PROTOCOL_TCP,
			    .family = SL_FAMILY_IPV4},
		.mode = kind == FULLNAT ? WIRE_MODE_FULLNAT
			: kind == SNAT  ? WIRE_MODE_SNAT
					: WIRE_MODE_NAT,
		.scheduler = WIRE_SCHEDULER_MAGLEV,
		.stateless_replies = 1,
		.n_slots = SL_MIN_SLOTS,
	};

	(void)snprintf(service.name, sizeof(service.name), "kind%d", kind);
	if (kind == SNAT) {
		service.address = (struct wire_address){.addr.word = {sl_to_be32(OFFICE)},
							.port = SL_BE16(16),
							.family = SL_FAMILY_IPV4};
	}
	if (kind == FULLNAT || kind == SNAT) {
		service.n_sources = 2;
		service.source[0].ipv4 = sl_to_be32(SOURCE + 16u * kind);
		service.source[1].ipv4 = sl_to_be32(SOURCE + 16u * kind + 1);
		service.source_port_first = 1024;
		service.source_port_last = 65535;
	}
	return service;
}

static struct wire_backend backend_of(enum kind kind, unsigned number)
{
	return (struct wire_backend){
		.service = service_of(kind).address,
		.addr.word = {sl_to_be32(0x0a000002 + number + ((unsigned)kind << 16))},
		.port = SL_BE16(8080),
		.state = WIRE_STATE_READY,
		.weight = 1,
	};
}

static struct staging *make_staging(void)
{
	struct staging *staging = staging_new();

	for (enum kind kind = 0; kind < N_KINDS; kind++) {
		const struct wire_service service = service_of(kind);

		cr_assert_eq(staging_put_service(staging, &service, error), 0, "%s", error);
		for (unsigned i = 0; i < 2 && kind != SNAT; i++) {
			const struct wire_backend backend = backend_of(kind, i);

			cr_assert_eq(staging_put_backend(staging, &backend, error), 0, "%s", error);
		}
	}
	return staging;
}

static struct snapshot *build(struct staging *staging, const struct snapshot *previous)
{
	struct snapshot *snapshot = NULL;

	cr_assert_eq(snapshot_build(staging, 1, &key, previous, &snapshot, error), 0, "%s", error);
	return snapshot;
}

/* What is done to the backends with number 0, or to all. */
enum change {
	NOTHING,
	DELETE,
	DELETE_ALL,
	DELETE_SERVICE,
	MAINT,
	DRAIN,
	WEIGHT_0,
	DOWN,
	DOWN_KEEP,
	OTHER_POOL,
	HIGH_PORTS,
	TO_NAT,
	DENY_CLIENT,
	DENY_OTHER,
	REPLACE, /* deleted, and another object at its address */
};

static void delete_backend(struct staging *staging, enum kind kind, unsigned number)
{
	const struct wire_backend backend = backend_of(kind, number);
	const struct wire_backend_delete_request request = {
		.service = backend.service, .addr = backend.addr, .port = backend.port};

	cr_assert_eq(staging_delete_backend(staging, &request, error), 0, "%s", error);
}

static void deny(struct staging *staging, uint32_t client)
{
	const struct wire_listed record = {.service = service_of(SNAT).address,
					   .addr.word = {sl_to_be32(client)},
					   .length = 32,
					   .list = WIRE_DENY_SOURCE,
					   .family = SL_FAMILY_IPV4};

	cr_assert_eq(staging_put_listed(staging, &record, error), 0, "%s", error);
}

static void set_service(struct staging *staging, enum kind kind, enum change change)
{
	struct wire_service service = service_of(kind);

	if (change == OTHER_POOL)
		service.source[0].ipv4 = sl_to_be32(OTHER_SOURCE);
	if (change == HIGH_PORTS)
		service.source_port_first = 60000;
	if (change == TO_NAT) {
		service.mode = WIRE_MODE_NAT;
		service.n_sources = 0;
		memset(service.source, 0, sizeof(service.source));
		service.source_port_first = service.source_port_last = 0;
	}
	cr_assert_eq(staging_put_service(staging, &service, error), 0, "%s", error);
}

static void make_change(struct staging *staging, enum kind kind, enum change change)
{
	struct wire_backend backend = backend_of(kind, 0);
	const struct wire_service service = service_of(kind);
	uint32_t n;

	switch (change) {
	case NOTHING:
		return;
	case DELETE_ALL:
		delete_backend(staging, kind, 1);
		delete_backend(staging, kind, 0);
		return;
	case DELETE:
	case REPLACE:
		delete_backend(staging, kind, 0);
		if (change == REPLACE)
			break;
		return;
	case DELETE_SERVICE:
		cr_assert_eq(staging_delete_service(staging, &service.address, &n, error), 0, "%s",
			     error);
		return;
	case MAINT:
		backend.state = WIRE_STATE_MAINT;
		break;
	case DRAIN:
		backend.state = WIRE_STATE_DRAIN;
		break;
	case WEIGHT_0:
		backend.weight = 0;
		break;
	case DOWN:
		backend.health = WIRE_HEALTH_DOWN;
		break;
	case DOWN_KEEP:
		backend.health = WIRE_HEALTH_DOWN_KEEP;
		break;
	case OTHER_POOL:
	case HIGH_PORTS:
	case TO_NAT:
		set_service(staging, kind, change);
		return;
	case DENY_CLIENT:
		deny(staging, OFFICE + 7);
		return;
	case DENY_OTHER:
		deny(staging, OFFICE + 8);
		return;
	}
	cr_assert_eq(staging_put_backend(staging, &backend, error), 0, "%s", error);
}

/* A flow of the service of @kind at its backend 0, as the packet path makes it. */
static struct sl_flow_ipv4 make_flow(const struct snapshot *snapshot, enum kind kind,
				     enum sl_flow_state state, uint8_t flags)
{
	const struct wire_service wire = service_of(kind);
	const struct wire_backend to = backend_of(kind, 0);
	struct sl_tuple client = {.source.ipv4 = sl_to_be32(kind == SNAT ? OFFICE + 7 : CLIENT),
				  .destination = wire.address.addr,
				  .source_port = SL_BE16(40000),
				  .destination_port = SL_BE16(80),
				  .protocol = kind == UDP ? SL_PROTOCOL_UDP : SL_PROTOCOL_TCP,
				  .family = SL_FAMILY_IPV4};
	uint32_t service = snapshot_find_service(snapshot, &wire.address.addr, wire.address.port,
						 wire.address.family, wire.address.protocol);
	const struct sl_service *record = &snapshot->service[service];
	uint32_t backend = snapshot->member[record->first_member];
	struct sl_flow_ipv4 flow = {.flow = {.sequence = 0}};

	cr_assert_neq(service, SL_NO_INDEX);
	for (uint32_t i = 0; kind != SNAT && i < record->n_members; i++)
		if (sl_addr_equal(
			    &snapshot->backend[snapshot->member[record->first_member + i]].addr,
			    &to.addr))
			backend = snapshot->member[record->first_member + i];
	sl_flow_open(&flow.flow, &client, &snapshot->backend[backend].addr, SL_BE16(8080));
	if (record->n_sources != 0)
		sl_flow_set_source(&flow.flow, &snapshot->source[record->first_source],
				   SL_BE16(30000), 0, SL_FAMILY_IPV4);
	flow.flow.service = service & (SL_MAX_SERVICES - 1);
	flow.flow.service_epoch = record->epoch;
	flow.flow.backend = backend & (SL_MAX_BACKENDS - 1);
	flow.flow.backend_epoch = snapshot->backend[backend].epoch;
	flow.flow.state = state & 15u;
	flow.flow.flags = flags;
	flow.flow.last_seen = NOW - 16;
	return flow;
}

static const struct row {
	const char *name;
	enum kind kind;
	enum change change;
	enum sl_flow_state state;
	uint8_t flags;
	const char *fate; /* stay, off (stays, out of the pool), reset, move, none */
} rows[] = {
	{"nothing changes", TCP, NOTHING, SL_FLOW_ESTABLISHED, SL_FLOW_SYN, "stay"},
	{"a deleted backend's connection", TCP, DELETE, SL_FLOW_ESTABLISHED, SL_FLOW_SYN, "reset"},
	{"half closed, it still carries data", TCP, DELETE, SL_FLOW_CLOSING, SL_FLOW_SYN, "reset"},
	{"closed, it has nothing to lose", TCP, DELETE, SL_FLOW_CLOSED, SL_FLOW_SYN, "none"},
	{"closed and nothing changes", TCP, NOTHING, SL_FLOW_CLOSED, SL_FLOW_SYN, "none"},
	{"the SYN is sent again", TCP, DELETE, SL_FLOW_EMBRYONIC, SL_FLOW_SYN, "move"},
	{"the SYN was answered", TCP, DELETE, SL_FLOW_EMBRYONIC, SL_FLOW_SYN | SL_FLOW_SYN_ACK,
	 "reset"},
	{"taken up in mid-stream", TCP, DELETE, SL_FLOW_EMBRYONIC, 0, "reset"},
	{"a SYN without any backend", TCP, DELETE_ALL, SL_FLOW_EMBRYONIC, SL_FLOW_SYN, "reset"},
	{"in maintenance", TCP, MAINT, SL_FLOW_ESTABLISHED, SL_FLOW_SYN, "reset"},
	{"draining", TCP, DRAIN, SL_FLOW_ESTABLISHED, SL_FLOW_SYN, "stay"},
	{"draining, a SYN sent again", TCP, DRAIN, SL_FLOW_EMBRYONIC, SL_FLOW_SYN, "stay"},
	{"without a weight", TCP, WEIGHT_0, SL_FLOW_ESTABLISHED, SL_FLOW_SYN, "stay"},
	{"down", TCP, DOWN, SL_FLOW_ESTABLISHED, SL_FLOW_SYN, "reset"},
	{"down, and its flows are kept", TCP, DOWN_KEEP, SL_FLOW_ESTABLISHED, SL_FLOW_SYN, "stay"},
	{"the service is deleted", TCP, DELETE_SERVICE, SL_FLOW_ESTABLISHED, SL_FLOW_SYN, "reset"},
	{"another object at the address", TCP, REPLACE, SL_FLOW_ESTABLISHED, SL_FLOW_SYN, "reset"},
	{"datagrams", UDP, NOTHING, SL_FLOW_ESTABLISHED, 0, "stay"},
	{"datagrams of a deleted backend", UDP, DELETE, SL_FLOW_ESTABLISHED, 0, "move"},
	{"datagrams in maintenance", UDP, MAINT, SL_FLOW_EMBRYONIC, 0, "move"},
	{"datagrams without any backend", UDP, DELETE_ALL, SL_FLOW_ESTABLISHED, 0, "reset"},
	{"datagrams of a deleted service", UDP, DELETE_SERVICE, SL_FLOW_ESTABLISHED, 0, "reset"},
	{"fullnat", FULLNAT, NOTHING, SL_FLOW_ESTABLISHED, SL_FLOW_SYN, "stay"},
	{"the source leaves the pool", FULLNAT, OTHER_POOL, SL_FLOW_ESTABLISHED, SL_FLOW_SYN,
	 "off"},
	{"the port leaves the pool", FULLNAT, HIGH_PORTS, SL_FLOW_ESTABLISHED, SL_FLOW_SYN, "off"},
	{"there is no pool any more", FULLNAT, TO_NAT, SL_FLOW_ESTABLISHED, SL_FLOW_SYN, "off"},
	{"fullnat, deleted", FULLNAT, DELETE, SL_FLOW_ESTABLISHED, SL_FLOW_SYN, "reset"},
	{"led out", SNAT, NOTHING, SL_FLOW_ESTABLISHED, SL_FLOW_SYN, "stay"},
	{"led out by an address that leaves", SNAT, OTHER_POOL, SL_FLOW_ESTABLISHED, SL_FLOW_SYN,
	 "reset"},
	{"led out by a port that leaves", SNAT, HIGH_PORTS, SL_FLOW_ESTABLISHED, SL_FLOW_SYN,
	 "off"},
	{"led out, and denied", SNAT, DENY_CLIENT, SL_FLOW_ESTABLISHED, SL_FLOW_SYN, "reset"},
	{"led out, and another is denied", SNAT, DENY_OTHER, SL_FLOW_ESTABLISHED, SL_FLOW_SYN,
	 "stay"},
	{"led out no more", SNAT, DELETE_SERVICE, SL_FLOW_ESTABLISHED, SL_FLOW_SYN, "reset"},
};

static const char *fate_name(const struct wire_plan_fates *fates)
{
	uint64_t n = fates->stay + fates->reset + fates->move;

	cr_expect_leq(n, 1);
	return n == 0            ? "none"
	       : fates->reset    ? "reset"
	       : fates->move     ? "move"
	       : fates->off_pool ? "off"
				 : "stay";
}

Test(plan, each_flow_fares_as_the_packet_path_will_do)
{
	for (size_t i = 0; i < SL_ARRAY_LEN(rows); i++) {
		const struct row *row = &rows[i];
		struct staging *staging = make_staging();
		struct snapshot *now = build(staging, NULL), *after;
		struct sl_flow_ipv4 flow = make_flow(now, row->kind, row->state, row->flags);
		struct plan *plan;

		make_change(staging, row->kind, row->change);
		after = build(staging, now);
		cr_assert_eq(plan_new(now, after, &plan), 0);
		plan_count_flow(plan, &flow.flow, NOW);
		cr_expect_str_eq(fate_name(plan_fates(plan)), row->fate, "%s: %s, not %s",
				 row->name, fate_name(plan_fates(plan)), row->fate);
		/* The same judgement as the packet path's own. */
		if (strcmp(row->fate, "stay") == 0 || strcmp(row->fate, "off") == 0)
			cr_expect_not_null(lookup_flow_backend(after, &flow.flow), "%s", row->name);
		else if (strcmp(row->fate, "move") == 0)
			cr_expect_null(lookup_flow_backend(after, &flow.flow), "%s", row->name);
		plan_begin_flows(plan);
		cr_expect_str_eq(fate_name(plan_fates(plan)), "none");
		plan_free(plan);
		snapshot_free(after);
		snapshot_free(now);
		staging_free(staging);
	}
}

Test(plan, flows_that_are_over_are_not_counted)
{
	struct staging *staging = make_staging();
	struct snapshot *now = build(staging, NULL);
	const struct sl_flow_ipv4 good = make_flow(now, TCP, SL_FLOW_ESTABLISHED, SL_FLOW_SYN);
	struct sl_flow_ipv4 flow = good;
	struct plan *plan;

	cr_assert_eq(plan_new(now, now, &plan), 0);
	flow.flow.last_seen = NOW - SL_TIMEOUT_TCP_ESTABLISHED_SEC * SL_TICKS_PER_SEC - 1;
	plan_count_flow(plan, &flow.flow, NOW);
	flow = good;
	flow.flow.backend_epoch++;
	plan_count_flow(plan, &flow.flow, NOW);
	flow = good;
	flow.flow.backend = SL_MAX_BACKENDS - 1;
	plan_count_flow(plan, &flow.flow, NOW);
	flow = good;
	flow.flow.state = SL_FLOW_FREE;
	plan_count_flow(plan, &flow.flow, NOW);
	cr_expect_eq(plan_fates(plan)->stay + plan_fates(plan)->reset + plan_fates(plan)->move, 0);
	/* A packet that came since the clock was read is no reason to think so. */
	flow = good;
	flow.flow.last_seen = NOW + 3;
	plan_count_flow(plan, &flow.flow, NOW);
	flow.flow.last_seen = NOW - SL_TIMEOUT_TCP_ESTABLISHED_SEC * SL_TICKS_PER_SEC;
	plan_count_flow(plan, &flow.flow, NOW);
	cr_expect_eq(plan_fates(plan)->stay, 2);
	plan_free(plan);
	snapshot_free(now);
	staging_free(staging);
}

Test(plan, flows_stand_with_their_backend_and_their_service)
{
	struct staging *staging = make_staging();
	struct snapshot *now = build(staging, NULL), *after;
	const struct sl_flow_ipv4 flow = make_flow(now, TCP, SL_FLOW_ESTABLISHED, SL_FLOW_SYN);
	const struct sl_flow_ipv4 other = make_flow(now, UDP, SL_FLOW_ESTABLISHED, 0);
	const struct wire_backend gone = backend_of(TCP, 0);
	struct wire_plan_service service;
	struct wire_plan_backend backend[4];
	struct plan *plan;

	make_change(staging, TCP, DELETE);
	after = build(staging, now);
	cr_assert_eq(plan_new(now, after, &plan), 0);
	for (int i = 0; i < 5; i++)
		plan_count_flow(plan, &flow.flow, NOW);
	plan_count_flow(plan, &other.flow, NOW);
	cr_assert_eq(plan_n_services(plan), 1);
	cr_assert_eq(plan_n_backends(plan), 2);
	cr_assert_eq(plan_services(plan, 0, 9, &service), 1);
	cr_assert_eq(plan_backends(plan, 0, 4, backend), 2);
	cr_expect_eq(plan_backends(plan, 1, 4, &backend[2]), 1);
	cr_expect_eq(plan_backends(plan, 2, 4, &backend[2]), 0);
	cr_expect_eq(service.flows.reset, 5);
	cr_expect_eq(service.flows.stay, 0);
	cr_expect_eq(plan_fates(plan)->stay, 1, "the other service's");
	for (int i = 0; i < 2; i++) {
		bool is_gone = sl_addr_equal(&backend[i].addr, &gone.addr);

		cr_expect_eq(backend[i].flows.reset, is_gone ? 5 : 0);
		cr_expect_eq(backend[i].change, is_gone ? WIRE_PLAN_DELETE : WIRE_PLAN_SAME);
		cr_expect_eq(backend[i].slots_after, is_gone ? 0 : SL_MIN_SLOTS);
	}
	plan_free(plan);
	snapshot_free(after);
	snapshot_free(now);
	staging_free(staging);
}
