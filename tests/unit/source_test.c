/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * Sources of mode fullnat on several workers, each with tables of its own, against a model that
 * knows all of them: a reply's owner is its flow's, and no two live flows have the same way back.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "dataplane/dpdk/source.h"
#include "dataplane/lookup.h"
#include "tests/unit/random.h"

#ifdef __SANITIZE_ADDRESS__
#define SLOWNESS 20
#else
#define SLOWNESS 1
#endif

enum {
	N_BACKENDS = 32,
	N_SOURCES = 4,
	N_PORTS = 65536,
	N_WAYS_BACK = 2 * N_BACKENDS * N_SOURCES * N_PORTS,
	N_FLOWS = 2500000 / SLOWNESS, /* created on each number of workers: 10 million in all */
	MAX_LIVE = 400000 / SLOWNESS,
	TABLE_FLOWS = 1 << 19,
	NOBODY = 0,
};

/** One flow as the model knows it. */
struct live {
	struct worker *worker;
	struct sl_flow *flow;
	uint32_t way_back;
};

static struct dataplane dataplane;
static struct snapshot *snapshot;
static struct live live[MAX_LIVE + 1];
static uint32_t n_live;
static uint32_t *owner_of; /* way back -> place in live[] + 1, or NOBODY */
static struct random chance;

static union sl_addr address(uint8_t family, uint8_t net, uint32_t host)
{
	union sl_addr addr = {.word = {0}};

	if (family == SL_FAMILY_IPV4) {
		addr.ipv4 = sl_to_be32(0x0a000000u | (uint32_t)net << 16 | host);
		return addr;
	}
	addr.word[0] = SL_BE32(0x20010db8);
	addr.word[1] = sl_to_be32(net);
	addr.word[3] = sl_to_be32(host);
	return addr;
}

static uint32_t host_of(const union sl_addr *addr, uint8_t family)
{
	return sl_from_be32(family == SL_FAMILY_IPV4 ? addr->ipv4 : addr->word[3]) & 0xff;
}

static void put_service(struct staging *staging, uint8_t family)
{
	struct wire_service service = {.mode = WIRE_MODE_FULLNAT,
				       .scheduler = WIRE_SCHEDULER_MAGLEV,
				       .stateless_replies = 1,
				       .n_slots = 4001,
				       .n_sources = N_SOURCES,
				       .source_port_first = 1024,
				       .source_port_last = 65535};
	char error[SL_MAX_ERROR];

	service.address.addr = address(family, 1, 1);
	service.address.port = SL_BE16(80);
	service.address.protocol = SL_PROTOCOL_TCP;
	service.address.family = family;
	snprintf(service.name, sizeof(service.name), "ipv%u", family);
	for (uint32_t i = 0; i < N_SOURCES; i++)
		service.source[i] = address(family, 2, i);
	cr_assert_eq(staging_put_service(staging, &service, error), 0, "%s", error);
	for (uint32_t i = 0; i < N_BACKENDS; i++) {
		struct wire_backend backend = {.service = service.address,
					       .addr = address(family, 3, i),
					       .port = SL_BE16(8080),
					       .state = WIRE_STATE_READY,
					       .weight = 1};

		cr_assert_eq(staging_put_backend(staging, &backend, error), 0, "%s", error);
	}
}

static struct worker *worker_new(uint32_t id, const struct sl_hash_key *key)
{
	struct worker *worker = aligned_alloc(SL_CACHE_LINE, sizeof(*worker));

	memset(worker, 0, sizeof(*worker));
	worker->dataplane = &dataplane;
	worker->id = id;
	worker->service_counters =
		aligned_alloc(SL_CACHE_LINE, SL_MAX_SERVICES * sizeof(*worker->service_counters));
	memset(worker->service_counters, 0, SL_MAX_SERVICES * sizeof(*worker->service_counters));
	worker->backend_counters =
		aligned_alloc(SL_CACHE_LINE, SL_MAX_BACKENDS * sizeof(*worker->backend_counters));
	memset(worker->backend_counters, 0, SL_MAX_BACKENDS * sizeof(*worker->backend_counters));
	worker->backend_openings = calloc(SL_MAX_BACKENDS, sizeof(*worker->backend_openings));
	worker->source_flows = calloc(SL_MAX_BACKENDS, sizeof(*worker->source_flows));
	cr_assert_eq(flow_table_init(&worker->flows4, SL_FAMILY_IPV4, TABLE_FLOWS, key, false), 0);
	cr_assert_eq(flow_table_init(&worker->flows6, SL_FAMILY_IPV6, TABLE_FLOWS, key, false), 0);
	return worker;
}

static void set_up(uint32_t n_workers)
{
	const struct sl_hash_key key = {{random_next(&chance), random_next(&chance)}};
	struct staging *staging = staging_new();
	char error[SL_MAX_ERROR] = "";

	memset(&dataplane, 0, sizeof(dataplane));
	dataplane.n_workers = n_workers;
	for (uint32_t i = 0; i < n_workers; i++)
		dataplane.worker[i] = worker_new(i, &key);
	cr_assert_eq(steer_open(&dataplane, error), 0, "%s", error);
	for (uint32_t i = 0; i < n_workers; i++)
		dataplane.worker[i]->steering = dataplane.steering;
	put_service(staging, SL_FAMILY_IPV4);
	put_service(staging, SL_FAMILY_IPV6);
	cr_assert_eq(snapshot_build(staging, 1, &key, NULL, &snapshot, error), 0, "%s", error);
	staging_free(staging);
	owner_of = calloc(N_WAYS_BACK, sizeof(*owner_of));
	n_live = 0;
}

static void tear_down(void)
{
	for (uint32_t i = 0; i < dataplane.n_workers; i++) {
		struct worker *worker = dataplane.worker[i];

		flow_table_fini(&worker->flows4);
		flow_table_fini(&worker->flows6);
		free(worker->service_counters);
		free(worker->backend_counters);
		free(worker->backend_openings);
		free(worker->source_flows);
		free(worker);
	}
	free(dataplane.steering);
	snapshot_free(snapshot);
	free(owner_of);
}

static uint32_t way_back_of(const struct sl_flow *flow)
{
	union sl_addr backend = sl_flow_addr(flow, SL_FLOW_BACKEND);
	union sl_addr source = sl_flow_addr(flow, SL_FLOW_SOURCE);
	uint32_t family = flow->family == SL_FAMILY_IPV6;

	return ((family * N_BACKENDS + host_of(&backend, flow->family)) * N_SOURCES +
		host_of(&source, flow->family)) *
		       N_PORTS +
	       sl_from_be16(flow->source_port);
}

static void forget(uint32_t place)
{
	owner_of[live[place].way_back] = NOBODY;
	live[place] = live[--n_live];
	if (place < n_live)
		owner_of[live[place].way_back] = place + 1;
}

static void end_one(uint32_t place)
{
	struct worker *worker = live[place].worker;
	struct sl_flow *flow = live[place].flow;

	worker_end_flow(worker, worker_table(worker, flow->family), flow);
	forget(place);
}

static struct sl_tuple random_client(void)
{
	uint8_t family = random_next(&chance) >> 63 ? SL_FAMILY_IPV6 : SL_FAMILY_IPV4;

	return (struct sl_tuple){.source =
					 address(family, 9, (uint32_t)(random_next(&chance) >> 48)),
				 .destination = address(family, 1, 1),
				 .source_port = (be16_t)(random_next(&chance) >> 48),
				 .destination_port = SL_BE16(80),
				 .protocol = SL_PROTOCOL_TCP,
				 .family = family};
}

static struct worker *owner_of_frame(const struct sl_tuple *tuple)
{
	const struct steering *steering = dataplane.steering;
	const struct sl_hash_key *key = &dataplane.worker[0]->flows4.key;

	return dataplane.worker[steering->reta[0][steer_index(steering, key, snapshot, tuple)]];
}

/* As balance.c creates a flow, by the worker that owns the client's packet. False: it has one. */
static bool create_one(void)
{
	struct sl_tuple client = random_client();
	struct worker *worker = owner_of_frame(&client);
	struct flow_table *table = worker_table(worker, client.family);
	uint64_t hash = sl_flow_hash(&table->key, &client);
	uint32_t service = lookup_service(snapshot, &client);
	uint32_t backend = lookup_choose(snapshot, service, &client).backend;
	uint64_t n_reused = worker->counters.event[SL_EVENT_SOURCE_PORT_REUSED];
	enum sl_direction direction;
	struct sl_tuple reply;
	struct sl_flow *flow;
	uint32_t way_back;
	bool is_full;

	if (flow_table_find(table, hash, &client, &direction) != NULL)
		return false;
	worker->now_tsc++;
	flow = flow_table_take(table, &is_full);
	cr_assert_not_null(flow);
	sl_flow_open(flow, &client, &snapshot->backend[backend].addr,
		     snapshot->backend[backend].port);
	flow->service = service & (SL_MAX_SERVICES - 1);
	flow->backend = backend & (SL_MAX_BACKENDS - 1);
	flow->backend_epoch = snapshot->backend[backend].epoch;
	cr_assert_eq(source_insert(worker, snapshot, table, flow, hash,
				   (uint32_t)random_next(&chance), NULL),
		     0);
	flow->state = SL_FLOW_ESTABLISHED;
	flow_table_promoted(table);
	reply = sl_flow_tuple(flow, SL_DIRECTION_REPLY);
	cr_assert_eq(owner_of_frame(&reply), worker, "a reply has another owner");
	way_back = way_back_of(flow);
	if (owner_of[way_back] != NOBODY) {
		uint32_t former = owner_of[way_back] - 1;

		/* The table took it from a flow that had ended. */
		cr_assert_eq(worker->counters.event[SL_EVENT_SOURCE_PORT_REUSED], n_reused + 1,
			     "two live flows have one way back");
		forget(former);
	}
	live[n_live] = (struct live){.worker = worker, .flow = flow, .way_back = way_back};
	owner_of[way_back] = ++n_live;
	return true;
}

/* Both sides have ended; the port is still the flow's. */
static void close_one(struct sl_flow *flow)
{
	flow->state = SL_FLOW_CLOSED;
	flow->flags |= SL_FLOW_CLIENT_FIN | SL_FLOW_BACKEND_FIN;
}

static uint64_t sum_of_sources(const struct worker *worker)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < snapshot->n_backends; i++)
		for (uint32_t j = 0; j < SL_MAX_SOURCES_PER_SERVICE; j++)
			n += worker->source_flows[i][j];
	return n;
}

static void run(uint32_t n_workers)
{
	uint32_t n_created = 0;
	uint64_t n_counted = 0;

	chance = random_seeded();
	set_up(n_workers);
	while (n_created < N_FLOWS) {
		n_created += create_one();
		if (n_created % 16 == 0)
			close_one(live[random_next(&chance) % n_live].flow);
		if (n_live == MAX_LIVE || random_next(&chance) % 8 == 0)
			end_one((uint32_t)(random_next(&chance) % n_live));
	}
	for (uint32_t i = 0; i < n_workers; i++)
		n_counted += sum_of_sources(dataplane.worker[i]);
	cr_expect_eq(n_counted, n_live);
	while (n_live > 0)
		end_one(n_live - 1);
	for (uint32_t i = 0; i < n_workers; i++) {
		const struct worker *worker = dataplane.worker[i];

		cr_expect_eq(sum_of_sources(worker), 0);
		cr_expect_eq(worker->flows4.n_used + worker->flows6.n_used, 0);
		cr_expect_gt(worker->counters.event[SL_EVENT_SOURCE_PORT_TRIES],
			     N_FLOWS / n_workers / 2, "worker %u had no share", i);
	}
	tear_down();
}

Test(source, no_two_live_flows_share_a_way_back_on_1_worker)
{
	run(1);
}

Test(source, no_two_live_flows_share_a_way_back_on_2_workers)
{
	run(2);
}

Test(source, no_two_live_flows_share_a_way_back_on_4_workers)
{
	run(4);
}

Test(source, no_two_live_flows_share_a_way_back_on_8_workers)
{
	run(8);
}
