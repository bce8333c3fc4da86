/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * Who owns a flow while the number of workers changes, against a model that knows all flows. Workers
 * have tables and rings of their own, see a new steering each at its own time, and are given packets in
 * any order: every packet finds its flow wherever that lives, and no two live flows have one tuple.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "dataplane/dpdk/handoff.h"
#include "dataplane/dpdk/schedule.h"
#include "dataplane/dpdk/source.h"
#include "dataplane/lookup.h"
#include "tests/unit/random.h"

#ifdef __SANITIZE_ADDRESS__
#define SLOWNESS 20
#else
#define SLOWNESS 1
#endif

enum {
	MAX_WORKERS = 8,
	N_STEPS = 3000000 / SLOWNESS,
	N_BACKENDS = 4,
	N_CLIENTS = 300, /* so few that two services often meet the same one */
	MAX_LIVE = 400,
	RING = 4096,
	TABLE_FLOWS = 1 << 14,
};

struct test_packet {
	struct sl_packet parsed;
	struct steering_mark mark;
	uint32_t serial; /* of the flow that it belongs to; 0: a client's first */
};

struct ring {
	struct test_packet packet[RING];
	uint32_t head;
	uint32_t tail;
};

/** One flow as the model knows it. */
struct live {
	uint32_t serial;
	struct worker *worker;
	struct sl_flow *flow;
	struct sl_tuple tuple[2]; /* by direction */
};

static struct dataplane dataplane;
static struct snapshot *snapshot[2]; /* alike, but for the generation */
static uint32_t published;           /* of these */
static uint32_t view_of[MAX_WORKERS];
static struct ring ring[MAX_WORKERS];
static struct live live[MAX_LIVE];
static uint32_t n_live;
static uint32_t last_serial;
static struct steering *former; /* replaced, and read by some worker still */
static struct random chance;

static struct {
	uint64_t n_created;
	uint64_t n_created_after_asking;
	uint64_t n_served_by_former;
	uint64_t n_taken;
	uint64_t n_no_port;
	uint64_t n_yielded;
	uint64_t n_sent;
	uint64_t n_dropped;
	uint32_t n_changes;
	uint32_t n_forgotten;
	uint32_t most_former;
	uint32_t most_hops;
} seen;

static uint32_t below(uint32_t n)
{
	return (uint32_t)((random_next(&chance) >> 32) * n >> 32);
}

static union sl_addr address(uint8_t net, uint32_t host)
{
	union sl_addr addr = {.word = {0}};

	addr.ipv4 = sl_to_be32(0x0a000000u | (uint32_t)net << 16 | host);
	return addr;
}

/* Services 1 and 2 are of mode nat, 3 and 4 of mode fullnat, with the same backends; each has a scheduler. */
static struct wire_service service_record(uint32_t number)
{
	static const uint8_t scheduler_of[] = {0, WIRE_SCHEDULER_MAGLEV, WIRE_SCHEDULER_ROUND_ROBIN,
					       WIRE_SCHEDULER_LEAST_CONNECTIONS,
					       WIRE_SCHEDULER_SOURCE_HASH};
	struct wire_service service = {.mode = number < 3 ? WIRE_MODE_NAT : WIRE_MODE_FULLNAT,
				       .scheduler = scheduler_of[number],
				       .stateless_replies = number == 1,
				       .n_slots = 401,
				       .timeout_established_sec = 60,
				       .timeout_transitory_sec = 60,
				       .timeout_embryonic_sec = 60,
				       .timeout_udp_sec = 60};

	service.address.addr = address(1, number);
	service.address.port = SL_BE16(80);
	service.address.protocol = number == 4 ? SL_PROTOCOL_UDP : SL_PROTOCOL_TCP;
	service.address.family = SL_FAMILY_IPV4;
	snprintf(service.name, sizeof(service.name), "s%u", number);
	if (number < 3)
		return service;
	service.n_sources = 2;
	service.source[0] = address(2, 2 * number);
	service.source[1] = address(2, 2 * number + 1);
	/* Few source ports for the one, so that they are often taken. */
	service.source_port_first = number == 3 ? 1024 : 2048;
	service.source_port_last = number == 3 ? 65535 : 2303;
	return service;
}

static void build_snapshots(const struct sl_hash_key *key)
{
	struct staging *staging = staging_new();
	char error[SL_MAX_ERROR] = "";

	for (uint32_t number = 1; number <= 4; number++) {
		struct wire_service service = service_record(number);

		cr_assert_eq(staging_put_service(staging, &service, error), 0, "%s", error);
		for (uint32_t i = 0; i < N_BACKENDS; i++) {
			struct wire_backend backend = {.service = service.address,
						       .addr = address(3, i),
						       .port = SL_BE16(8080),
						       .state = WIRE_STATE_READY,
						       .weight = 1};

			cr_assert_eq(staging_put_backend(staging, &backend, error), 0, "%s", error);
		}
	}
	for (uint64_t i = 0; i < 2; i++)
		cr_assert_eq(snapshot_build(staging, i + 1, key, NULL, &snapshot[i], error), 0,
			     "%s", error);
	staging_free(staging);
}

static struct worker *worker_new(uint32_t id, const struct sl_hash_key *key)
{
	struct worker *worker = aligned_alloc(SL_CACHE_LINE, sizeof(*worker));

	memset(worker, 0, sizeof(*worker));
	worker->dataplane = &dataplane;
	worker->id = id;
	worker->steering = dataplane.steering;
	worker->service_counters =
		aligned_alloc(SL_CACHE_LINE, SL_MAX_SERVICES * sizeof(*worker->service_counters));
	memset(worker->service_counters, 0, SL_MAX_SERVICES * sizeof(*worker->service_counters));
	worker->backend_counters =
		aligned_alloc(SL_CACHE_LINE, SL_MAX_BACKENDS * sizeof(*worker->backend_counters));
	memset(worker->backend_counters, 0, SL_MAX_BACKENDS * sizeof(*worker->backend_counters));
	worker->backend_openings = calloc(SL_MAX_BACKENDS, sizeof(*worker->backend_openings));
	worker->source_flows = calloc(SL_MAX_BACKENDS, sizeof(*worker->source_flows));
	cr_assert_eq(flow_table_init(&worker->flows4, SL_FAMILY_IPV4, TABLE_FLOWS, key, false), 0);
	return worker;
}

static void set_up(uint32_t n_workers)
{
	const struct sl_hash_key key = {{random_next(&chance), random_next(&chance)}};
	char error[SL_MAX_ERROR] = "";

	memset(&dataplane, 0, sizeof(dataplane));
	dataplane.n_workers = n_workers;
	dataplane.n_opened = MAX_WORKERS;
	cr_assert_eq(steer_open(&dataplane, error), 0, "%s", error);
	for (uint32_t i = 0; i < MAX_WORKERS; i++)
		dataplane.worker[i] = worker_new(i, &key);
	build_snapshots(&key);
}

static void tear_down(void)
{
	for (uint32_t i = 0; i < MAX_WORKERS; i++) {
		struct worker *worker = dataplane.worker[i];

		flow_table_fini(&worker->flows4);
		free(worker->service_counters);
		free(worker->backend_counters);
		free(worker->backend_openings);
		free(worker->source_flows);
		free(worker);
	}
	free(dataplane.steering);
	snapshot_free(snapshot[0]);
	snapshot_free(snapshot[1]);
}

/* ---- the model ---- */

static bool is_same_tuple(const struct sl_tuple *a, const struct sl_tuple *b)
{
	return a->protocol == b->protocol && a->source_port == b->source_port &&
	       a->destination_port == b->destination_port && a->source.ipv4 == b->source.ipv4 &&
	       a->destination.ipv4 == b->destination.ipv4;
}

static struct live *live_of_serial(uint32_t serial)
{
	for (uint32_t i = 0; i < n_live && serial != 0; i++)
		if (live[i].serial == serial)
			return &live[i];
	return NULL;
}

static struct live *live_of_tuple(const struct sl_tuple *tuple)
{
	for (uint32_t i = 0; i < n_live; i++)
		for (int direction = 0; direction < 2; direction++)
			if (is_same_tuple(&live[i].tuple[direction], tuple))
				return &live[i];
	return NULL;
}

static void forget_flow(struct live *one)
{
	*one = live[--n_live];
}

/* A worker may have ended flows that yield to new ones. */
static void forget_yielded(const struct worker *worker)
{
	for (uint32_t i = n_live; i-- > 0;)
		if (live[i].worker == worker && live[i].flow->state == SL_FLOW_FREE) {
			seen.n_yielded++;
			forget_flow(&live[i]);
		}
}

static void remember_flow(struct worker *worker, struct sl_flow *flow)
{
	struct live *one = &live[n_live];

	one->tuple[0] = sl_flow_tuple(flow, SL_DIRECTION_FORWARD);
	one->tuple[1] = sl_flow_tuple(flow, SL_DIRECTION_REPLY);
	for (int direction = 0; direction < 2; direction++)
		cr_assert_null(live_of_tuple(&one->tuple[direction]),
			       "two live flows have one tuple (direction %d, worker %u)", direction,
			       worker->id);
	one->serial = ++last_serial;
	one->worker = worker;
	one->flow = flow;
	n_live++;
}

/* ---- what workers see ---- */

static void publish(struct steering *next)
{
	cr_assert_null(former);
	former = dataplane.steering;
	dataplane.steering = next;
}

static void refresh(struct worker *worker)
{
	worker->steering = dataplane.steering;
	view_of[worker->id] = published;
	for (uint32_t i = 0; i < MAX_WORKERS; i++)
		if (dataplane.worker[i]->steering != dataplane.steering)
			return;
	free(former);
	former = NULL;
}

/* A burst begins, or goes on with what it has seen. @is_busy: with something in its ring. */
static struct worker *some_worker(bool is_busy)
{
	uint32_t first = below(MAX_WORKERS);
	uint32_t i = first;

	while (is_busy && ring[i].head == ring[i].tail && (i + 1) % MAX_WORKERS != first)
		i = (i + 1) % MAX_WORKERS;
	if (below(4) != 0)
		refresh(dataplane.worker[i]);
	return dataplane.worker[i];
}

/* ---- packets ---- */

static void ring_put(uint32_t worker, const struct test_packet *packet)
{
	cr_assert_lt(ring[worker].tail - ring[worker].head, RING);
	ring[worker].packet[ring[worker].tail++ % RING] = *packet;
}

static void hand_off(uint32_t to, struct test_packet *packet)
{
	/* Workers lag behind here as they never do: what they see is of their last burst at most. */
	if (packet->mark.n_hops++ == STEERING_MAX_HOPS) {
		seen.n_dropped++;
		return;
	}
	if (packet->mark.n_hops > seen.most_hops)
		seen.most_hops = packet->mark.n_hops;
	ring_put(to, packet);
}

/* As balance.c chooses. */
static uint32_t choose(struct worker *worker, const struct snapshot *view, uint32_t service,
		       const struct test_packet *packet)
{
	struct choice choice = lookup_choose(view, service, &packet->parsed.tuple);

	if (!lookup_is_first(&packet->parsed))
		return choice.backend;
	if (packet->mark.has_backend)
		return packet->mark.backend;
	return schedule_backend(worker, view, service, &packet->parsed.tuple, &choice);
}

/* As balance.c creates a flow. */
static void create(struct worker *worker, const struct snapshot *view, struct test_packet *packet,
		   uint64_t hash)
{
	struct flow_table *table = &worker->flows4;
	uint32_t service = lookup_service(view, &packet->parsed.tuple);
	uint32_t backend = choose(worker, view, service, packet);
	bool is_fullnat = view->service[service].mode == WIRE_MODE_FULLNAT;
	struct sl_flow *other;
	struct sl_flow *flow;
	bool is_full;
	int error;

	worker->now_tsc++;
	flow = flow_table_take(table, &is_full);
	if (flow == NULL)
		return;
	sl_flow_open(flow, &packet->parsed.tuple, &view->backend[backend].addr,
		     view->backend[backend].port);
	flow->service = service & (SL_MAX_SERVICES - 1);
	flow->backend = backend & (SL_MAX_BACKENDS - 1);
	flow->backend_epoch = view->backend[backend].epoch;
	if (is_fullnat)
		error = source_insert(worker, view, table, flow, hash, packet->parsed.tcp_sequence,
				      &packet->mark);
	else
		error = packet->mark.is_taken ? -EEXIST
					      : flow_table_insert(table, flow, hash, &other);
	forget_yielded(worker);
	if (error != 0) {
		struct sl_tuple reply = sl_flow_tuple(flow, SL_DIRECTION_REPLY);

		if (error == -EEXIST)
			seen.n_taken += live_of_tuple(&reply) != NULL;
		seen.n_no_port += error == -EADDRNOTAVAIL;
		flow_table_cancel(table, flow);
		return;
	}
	flow->state = SL_FLOW_ESTABLISHED;
	flow_table_promoted(table);
	remember_flow(worker, flow);
	seen.n_created++;
	seen.n_created_after_asking += packet->mark.n_hops > 1;
}

/* As balance.c goes about a packet. */
static void process(struct worker *worker, struct test_packet *packet)
{
	const struct snapshot *view = snapshot[view_of[worker->id]];
	const struct sl_tuple *tuple = &packet->parsed.tuple;
	uint64_t hash = sl_flow_hash(&worker->flows4.key, tuple);
	struct outcome outcome = {.mark = &packet->mark};
	struct live *expected = live_of_serial(packet->serial);
	enum sl_direction direction;
	struct sl_flow *flow = flow_table_find(&worker->flows4, hash, tuple, &direction);

	if (flow != NULL) {
		if (expected != NULL) {
			cr_assert_eq(expected->flow, flow, "a packet found another flow");
			seen.n_served_by_former += worker->id >= dataplane.n_workers;
		}
		return;
	}
	if (handoff_ask(worker, view, &packet->parsed, hash, &outcome)) {
		forget_yielded(worker);
		hand_off(outcome.port, packet);
		return;
	}
	forget_yielded(worker);
	cr_assert_null(live_of_serial(packet->serial), "a packet did not find its flow");
	if (packet->serial == 0 && n_live < MAX_LIVE)
		create(worker, view, packet, hash);
}

/* From a card that gives a frame to any worker: to the owner, as worker.c does it. */
static void receive(struct worker *worker, struct test_packet *packet)
{
	const struct steering *steering = worker->steering;
	uint32_t owner = steering->reta[0][steer_index(steering, &worker->flows4.key, snapshot[0],
						       &packet->parsed.tuple)];

	if (owner != worker->id)
		hand_off(owner, packet);
	else
		process(worker, packet);
}

static struct sl_tuple random_client(void)
{
	uint32_t number = 1 + below(4);

	return (struct sl_tuple){.source = address(9, below(N_CLIENTS)),
				 .destination = address(1, number),
				 .source_port = SL_BE16(1234),
				 .destination_port = SL_BE16(80),
				 .protocol = number == 4 ? SL_PROTOCOL_UDP : SL_PROTOCOL_TCP,
				 .family = SL_FAMILY_IPV4};
}

static void send_one(void)
{
	struct test_packet packet;

	memset(&packet, 0, sizeof(packet));
	if (n_live == 0 || below(3) == 0) {
		packet.parsed.tuple = random_client();
	} else {
		const struct live *one = &live[below(n_live)];

		packet.parsed.tuple = one->tuple[below(2)];
		packet.serial = one->serial;
	}
	if (packet.parsed.tuple.protocol == SL_PROTOCOL_TCP) {
		packet.parsed.tcp_flags = packet.serial == 0 ? SL_TCP_SYN : SL_TCP_ACK;
		packet.parsed.tcp_sequence = (uint32_t)random_next(&chance);
	}
	seen.n_sent++;
	receive(some_worker(false), &packet);
}

static void take_one(struct worker *worker)
{
	struct ring *from = &ring[worker->id];

	if (from->head != from->tail) {
		struct test_packet packet = from->packet[from->head++ % RING];

		process(worker, &packet);
	}
}

/* ---- control ---- */

static void change(void)
{
	struct steering *next = calloc(1, sizeof(*next));
	uint32_t n = 1 + below(MAX_WORKERS);

	if (n == dataplane.n_workers || steering_follow(next, dataplane.steering, n) != 0) {
		free(next);
		return;
	}
	dataplane.n_workers = n;
	publish(next);
	seen.n_changes++;
	if (next->n_former > seen.most_former)
		seen.most_former = next->n_former;
}

/* The former steering that one flow needs. */
static uint32_t depth_of(const struct live *one)
{
	const struct steering *steering = dataplane.steering;
	uint32_t most = 0;

	for (int direction = 0; direction < 2; direction++) {
		uint32_t index = steer_index(steering, &one->worker->flows4.key, snapshot[0],
					     &one->tuple[direction]);
		uint32_t depth = steering_depth(steering, index, one->worker->id);

		cr_assert_leq(depth, steering->n_former, "no steering finds a live flow");
		if (depth > most)
			most = depth;
	}
	return most;
}

static void forget(void)
{
	struct steering *next;
	uint32_t needed = 0;

	for (uint32_t i = 0; i < n_live; i++)
		if (depth_of(&live[i]) > needed)
			needed = depth_of(&live[i]);
	if (needed == dataplane.steering->n_former)
		return;
	next = calloc(1, sizeof(*next));
	steering_forget(next, dataplane.steering, needed);
	for (uint32_t i = 0; i < n_live; i++)
		cr_assert_lt(live[i].worker->id, next->n_named);
	publish(next);
	seen.n_forgotten++;
}

static void end_one(struct live *one)
{
	worker_end_flow(one->worker, &one->worker->flows4, one->flow);
	forget_flow(one);
}

static struct live *oldest_of_four(void)
{
	struct live *oldest = &live[below(n_live)];

	for (int i = 0; i < 3; i++) {
		struct live *other = &live[below(n_live)];

		if (other->serial < oldest->serial)
			oldest = other;
	}
	return oldest;
}

/* Both sides have ended: it yields to a new one. */
static void close_one(struct sl_flow *flow)
{
	flow->state = SL_FLOW_CLOSED;
	flow->flags |= SL_FLOW_CLIENT_FIN | SL_FLOW_BACKEND_FIN;
}

static void step(void)
{
	uint32_t kind = below(1000);

	if (kind < 150)
		send_one();
	else if (kind < 960)
		take_one(some_worker(true));
	else if (kind < 970 && n_live > 0)
		close_one(live[below(n_live)].flow);
	else if (kind < 995 && n_live > 0)
		end_one(oldest_of_four());
	else if (kind < 997)
		published = below(2);
	else if (former == NULL && below(40) == 0)
		change();
	else if (former == NULL)
		forget();
}

/* Until all former workers are empty. */
static void settle(void)
{
	for (uint32_t i = 0; i < MAX_WORKERS; i++) {
		refresh(dataplane.worker[i]);
		while (ring[i].head != ring[i].tail)
			take_one(dataplane.worker[i]);
	}
}

Test(handoff, every_packet_finds_its_flow_while_the_number_of_workers_changes)
{
	uint64_t n_left = 0;

	chance = random_seeded();
	set_up(1 + below(MAX_WORKERS));
	for (uint32_t i = 0; i < N_STEPS; i++)
		step();
	for (uint32_t i = 0; i < STEERING_MAX_HOPS; i++)
		settle();
	while (n_live > 0)
		end_one(&live[0]);
	for (uint32_t i = 0; i < MAX_WORKERS; i++)
		n_left += dataplane.worker[i]->flows4.n_used;
	cr_expect_eq(n_left, 0);
	forget();
	settle();
	cr_expect_eq(dataplane.steering->n_former, 0);
	fprintf(stderr,
		"# sent %lu, dropped %lu; created %lu, %lu of them after asking; served by workers "
		"that leave %lu; taken %lu, no port %lu, yielded %lu; changes %u, forgotten %u, "
		"former "
		"at most %u, hops at most %u\n",
		seen.n_sent, seen.n_dropped, seen.n_created, seen.n_created_after_asking,
		seen.n_served_by_former, seen.n_taken, seen.n_no_port, seen.n_yielded,
		seen.n_changes, seen.n_forgotten, seen.most_former, seen.most_hops);
	cr_expect_gt(seen.n_created, N_STEPS / 100);
	cr_expect_gt(seen.n_created_after_asking, N_STEPS / 10000);
	cr_expect_gt(seen.n_served_by_former, N_STEPS / 10000);
	cr_expect_lt(seen.n_dropped, seen.n_sent / 1000);
	cr_expect_gt(seen.n_taken, 0);
	cr_expect_gt(seen.n_yielded, 0);
	cr_expect_gt(seen.n_changes, 20);
	cr_expect_gt(seen.n_forgotten, 20);
	cr_expect_eq(seen.most_former, STEERING_MAX_FORMER);
	tear_down();
}
