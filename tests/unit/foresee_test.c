/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * dataplane/dpdk/foresee.h against what each packet's own turn finds out: random bursts of both families, of
 * services of several kinds and of none.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/dpdk/foresee.h"
#include "dataplane/lookup.h"
#include "tests/unit/address.h"
#include "tests/unit/random.h"

enum {
	N_KINDS = 4, /* of services, for each family and protocol */
	N_BACKENDS = 5,
	N_ROUNDS = 20000,
	TABLE_FLOWS = 64,
	PORT = 80,
	NOBODYS_PORT = PORT + N_KINDS,
};

struct bursts {
	struct random random;
	struct snapshot *snapshot;
	struct worker *worker;
	struct sl_packet packet[BURST_SIZE];
	struct outcome outcome[BURST_SIZE];
	struct foreseen foreseen[BURST_SIZE];
	uint16_t n;
	uint32_t n_replies; /* that were foreseen */
};

/* By hash; by the client's address; in mode fullnat; and without a backend. */
static void put_service(struct staging *staging, uint8_t family, uint8_t protocol, uint16_t kind)
{
	struct wire_service service = {.mode = kind == 2 ? WIRE_MODE_FULLNAT : WIRE_MODE_NAT,
				       .scheduler = kind == 1 ? WIRE_SCHEDULER_SOURCE_HASH
							      : WIRE_SCHEDULER_MAGLEV,
				       .n_slots = 1009};
	char error[SL_MAX_ERROR];

	service.address.addr = address(family, 1, 1);
	service.address.port = sl_to_be16((uint16_t)(PORT + kind));
	service.address.protocol = protocol;
	service.address.family = family;
	snprintf(service.name, sizeof(service.name), "s%u-%u-%u", family, protocol, kind);
	if (kind == 2) {
		service.n_sources = 1;
		service.source[0] = address(family, 2, 1);
		service.source_port_first = 1024;
		service.source_port_last = 65535;
	}
	cr_assert_eq(staging_put_service(staging, &service, error), 0, "%s", error);
	for (uint32_t i = 0; i < N_BACKENDS && kind != 3; i++) {
		struct wire_backend backend = {.service = service.address,
					       .addr = address(family, 3, 8 * kind + i),
					       .port = SL_BE16(8080),
					       .state = WIRE_STATE_READY,
					       .weight = 1};

		cr_assert_eq(staging_put_backend(staging, &backend, error), 0, "%s", error);
	}
}

static void set_up(struct bursts *bursts)
{
	struct staging *staging = staging_new();
	struct sl_hash_key key;
	char error[SL_MAX_ERROR] = "";

	bursts->random = random_seeded();
	for (uint16_t kind = 0; kind < N_KINDS; kind++) {
		put_service(staging, SL_FAMILY_IPV4, SL_PROTOCOL_TCP, kind);
		put_service(staging, SL_FAMILY_IPV6, SL_PROTOCOL_TCP, kind);
		put_service(staging, SL_FAMILY_IPV4, SL_PROTOCOL_UDP, kind);
		put_service(staging, SL_FAMILY_IPV6, SL_PROTOCOL_UDP, kind);
	}
	random_fill(&bursts->random, &key, sizeof(key));
	cr_assert_eq(snapshot_build(staging, 1, &key, NULL, &bursts->snapshot, error), 0, "%s",
		     error);
	staging_free(staging);
	random_fill(&bursts->random, &key, sizeof(key));
	bursts->worker = aligned_alloc(SL_CACHE_LINE, sizeof(*bursts->worker));
	memset(bursts->worker, 0, sizeof(*bursts->worker));
	cr_assert_eq(
		flow_table_init(&bursts->worker->flows4, SL_FAMILY_IPV4, TABLE_FLOWS, &key, false),
		0);
	cr_assert_eq(
		flow_table_init(&bursts->worker->flows6, SL_FAMILY_IPV6, TABLE_FLOWS, &key, false),
		0);
}

static void tear_down(struct bursts *bursts)
{
	flow_table_fini(&bursts->worker->flows4);
	flow_table_fini(&bursts->worker->flows6);
	free(bursts->worker);
	snapshot_free(bursts->snapshot);
}

/* Of ten packets six may begin a flow; one has a verdict already, one is an error, and so on. */
static void draw_packet(struct bursts *bursts, uint16_t i)
{
	uint64_t draw = random_next(&bursts->random);
	struct sl_packet *packet = &bursts->packet[i];
	uint8_t family = draw >> 10 & 1 ? SL_FAMILY_IPV4 : SL_FAMILY_IPV6;
	bool is_tcp = draw >> 11 & 1;

	memset(packet, 0, sizeof(*packet));
	bursts->outcome[i] = (struct outcome){.verdict = SL_VERDICT_NONE};
	packet->tuple = (struct sl_tuple){
		.source = address(family, 9, (uint32_t)(draw >> 40)),
		.destination = address(family, 1, 1),
		.source_port = (be16_t)(draw >> 24),
		.destination_port =
			sl_to_be16((uint16_t)(PORT + (draw >> 12) % (NOBODYS_PORT - PORT + 1))),
		.protocol = is_tcp ? SL_PROTOCOL_TCP : SL_PROTOCOL_UDP,
		.family = family};
	packet->tcp_flags = is_tcp ? SL_TCP_SYN : 0;
	switch (draw % 10) {
	case 0:
		bursts->outcome[i].verdict = SL_VERDICT_DROP_LAND;
		break;
	case 1:
		packet->quoted_offset = 28;
		break;
	case 2:
		bursts->outcome[i].egress = LOOKUP_EGRESS_OUT;
		break;
	case 3:
		packet->tcp_flags = is_tcp ? SL_TCP_ACK : 0;
		break;
	default:
		break;
	}
}

static bool may_begin(const struct sl_packet *packet, const struct outcome *outcome)
{
	return outcome->verdict == SL_VERDICT_NONE && outcome->egress == LOOKUP_NO_EGRESS &&
	       packet->quoted_offset == 0 &&
	       (packet->tuple.protocol == SL_PROTOCOL_UDP || packet->tcp_flags == SL_TCP_SYN);
}

/* What the turn of packet @i finds out. */
static void judge(struct bursts *bursts, uint16_t i, bool has_room)
{
	const struct snapshot *snapshot = bursts->snapshot;
	const struct sl_tuple *tuple = &bursts->packet[i].tuple;
	const struct foreseen *foreseen = bursts->outcome[i].foreseen;
	uint32_t service = lookup_service(snapshot, tuple);
	struct sl_flow_ipv6 flow = {.flow = {0}};
	const struct sl_backend *backend;
	struct choice choice;

	if (!may_begin(&bursts->packet[i], &bursts->outcome[i])) {
		cr_assert_null(foreseen, "packet %u", i);
		return;
	}
	cr_assert_eq(foreseen, &bursts->foreseen[i]);
	cr_assert_eq(foreseen->service, service);
	if (service == SL_NO_INDEX)
		return;
	choice = lookup_choose(snapshot, service, tuple);
	cr_assert_eq(foreseen->hash, choice.hash);
	if (!has_room || snapshot->service[service].mode != WIRE_MODE_NAT ||
	    choice.backend == SL_NO_INDEX) {
		cr_assert_eq(foreseen->backend, SL_NO_INDEX);
		return;
	}
	cr_assert_eq(foreseen->backend, choice.backend);
	backend = &snapshot->backend[choice.backend];
	sl_flow_open(&flow.flow, tuple, &backend->addr,
		     backend->port != 0 ? backend->port : tuple->destination_port);
	cr_assert_eq(
		foreseen->reply_hash,
		flow_table_reply_hash(worker_table(bursts->worker, tuple->family), &flow.flow));
	bursts->n_replies++;
}

static void run_burst(struct bursts *bursts, bool has_room)
{
	bursts->n = (uint16_t)(random_next(&bursts->random) % (BURST_SIZE + 1));
	for (uint16_t i = 0; i < bursts->n; i++)
		draw_packet(bursts, i);
	random_fill(&bursts->random, bursts->foreseen, sizeof(bursts->foreseen));
	foresee(bursts->worker, bursts->snapshot, bursts->packet, bursts->outcome, bursts->foreseen,
		bursts->n);
	for (uint16_t i = 0; i < bursts->n; i++)
		judge(bursts, i, has_room);
}

Test(foresee, what_is_foreseen_is_what_each_packets_turn_finds_out)
{
	static struct bursts bursts;

	set_up(&bursts);
	for (int round = 0; round < N_ROUNDS; round++)
		run_burst(&bursts, true);
	cr_expect_gt(bursts.n_replies, N_ROUNDS);
	tear_down(&bursts);
}

Test(foresee, without_room_for_flows_no_replies_are_foreseen)
{
	static struct bursts bursts;

	set_up(&bursts);
	bursts.worker->flows4.n_used = bursts.worker->flows4.capacity;
	bursts.worker->flows6.n_embryonic = bursts.worker->flows6.max_embryonic;
	for (int round = 0; round < N_ROUNDS / 10; round++)
		run_burst(&bursts, false);
	tear_down(&bursts);
}
