/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * Mode table: what the flow table's own operations cost, beside rte_hash with the same keys. A flow
 * has two keys, its client's tuple and its backend's; a lookup is of one of them, in batches of 32 as
 * the worker's bursts; all other figures are of a whole flow, and so of both keys. Populations are the
 * same on both sides, rounds alternate, and every answer is compared with what it has to be.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <rte_hash.h>
#include <rte_hash_crc.h>
#include <rte_malloc.h>

#include "dataplane/dpdk/sweep.h"
#include "tests/bench/bench.h"
#include "tests/bench/bench_engine.h"
#include "tests/bench/bench_events.h"
#include "tests/bench/bench_report.h"

enum {
	BATCH = 32,
	N_HOT = 512,
	N_1M = 1000000,
	N_10M = 10000000,
	TABLE_1M = 1 << 20,
	TABLE_10M = 10 << 20,
	QUICK_FLOWS = 16384,
	QUICK_TABLE = 1 << 15,
	N_LOOKUPS = 1 << 20, /* of a round */
	CHANGED = 16,        /* one flow in so many is inserted, deleted, expired in a round */
	N_BACKENDS = 100,
	N_SLOTS = 10007,
	HASH_BYTES_PER_KEY = 80, /* more than rte_hash takes, for DPDK's memory */
	EAL_MB = 192,
	NOW = 1 << 20, /* ticks */
	MIN_FLOWS_OF_WORKER = 64,
};

/** The 5-tuple as rte_hash has it. */
struct key {
	be32_t source;
	be32_t destination;
	be16_t source_port;
	be16_t destination_port;
	uint32_t protocol;
};

enum operation {
	OPERATION_LOOKUP = 0,
	OPERATION_INSERT,
	OPERATION_DELETE,
	OPERATION_SWEEP,  /* a pass over all flows, of which none is over: of each flow */
	OPERATION_EXPIRE, /* a pass that ends some: of each that ends */
};

struct table_case {
	const char *name;
	enum operation operation;
	uint32_t n_flows;
	uint32_t table;
};

static const struct table_case cases[] = {
	{"lookup-hot", OPERATION_LOOKUP, N_HOT, TABLE_1M},
	{"lookup-1M", OPERATION_LOOKUP, N_1M, TABLE_1M},
	{"lookup-10M", OPERATION_LOOKUP, N_10M, TABLE_10M},
	{"insert-1M", OPERATION_INSERT, N_1M, TABLE_1M},
	{"delete-1M", OPERATION_DELETE, N_1M, TABLE_1M},
	{"sweep-1M", OPERATION_SWEEP, N_1M, TABLE_1M},
	{"expire-1M", OPERATION_EXPIRE, N_1M, TABLE_1M},
};

static const struct bench_column columns[] = {
	{"sluice_ns", "sluice, ns", 1, true},
	{"rte_hash_ns", "rte_hash, ns", 1, true},
	{"sluice_bytes", "sluice, bytes a flow", 0, false},
	{"rte_hash_bytes", "rte_hash and an entry, bytes a flow", 0, false},
	{NULL, NULL, 0, false},
};

/** A case under way. */
struct run {
	const struct bench_options *options;
	struct table_case wanted;
	struct engine engine;
	struct traffic traffic;
	struct flow_table *table;
	struct rte_hash *hash;
	size_t hash_bytes;
	struct key *lookup;  /* N_LOOKUPS */
	uint64_t sluice_sum; /* of what these find */
	uint64_t rte_hash_sum;
	uint32_t n_changed;     /* of a round */
	uint32_t *flow;         /* n_flows that are there, then n_changed that are not */
	struct sl_flow **entry; /* by flow; NULL: it is not there, or found no room */
	uint32_t n_roomless;    /* flows that should be there and found no room */
	uint32_t *last_seen;    /* by flow, beside rte_hash */
	uint32_t *scratch;      /* room for as many flows */
	uint64_t random;
	double *sluice_ns;
	double *rte_hash_ns;
	int status;
};

static void run_fail(struct run *run, const char *what)
{
	if (run->status == 0)
		report_error("%s", what);
	run->status = -EPROTO;
}

/* xorshift64*, Vigna 2016. */
static uint32_t random_below(struct run *run, uint32_t n)
{
	run->random ^= run->random >> 12;
	run->random ^= run->random << 25;
	run->random ^= run->random >> 27;
	return (uint32_t)((run->random * 2685821657736338717ull >> 32) * n >> 32);
}

/* ---- keys ---- */

static struct sl_tuple tuple_of_key(const struct key *key)
{
	return (struct sl_tuple){.source.ipv4 = key->source,
				 .destination.ipv4 = key->destination,
				 .source_port = key->source_port,
				 .destination_port = key->destination_port,
				 .protocol = (uint8_t)key->protocol,
				 .family = SL_FAMILY_IPV4};
}

static struct key key_of(uint32_t flow, enum sl_direction direction)
{
	be32_t client = traffic_addr(SL_FAMILY_IPV4, TRAFFIC_CLIENTS, flow >> 4).ipv4;
	be16_t port = sl_to_be16((uint16_t)(32768 + (flow & 15)));

	if (direction == SL_DIRECTION_FORWARD)
		return (struct key){client, traffic_addr(SL_FAMILY_IPV4, TRAFFIC_SERVICES, 0).ipv4,
				    port, SL_BE16(TRAFFIC_SERVICE_PORT), SL_PROTOCOL_UDP};
	return (struct key){traffic_addr(SL_FAMILY_IPV4, TRAFFIC_BACKENDS, flow % N_BACKENDS).ipv4,
			    client, SL_BE16(TRAFFIC_BACKEND_PORT), port, SL_PROTOCOL_UDP};
}

/* ---- the flow table ---- */

/* As balance.c makes a flow, which then is answered. */
static void sluice_insert_one(struct run *run, uint32_t flow, const struct sl_tuple *tuple,
			      uint64_t hash)
{
	const struct snapshot *snapshot = run->engine.dataplane.snapshot;
	uint32_t number = flow % N_BACKENDS;
	union sl_addr backend = traffic_addr(SL_FAMILY_IPV4, TRAFFIC_BACKENDS, number);
	bool is_embryonic_full;
	struct sl_flow *entry = flow_table_take(run->table, &is_embryonic_full);
	struct sl_flow *other;

	if (entry == NULL) {
		run_fail(run, "the flow table is full");
		return;
	}
	sl_flow_open(entry, tuple, &backend, SL_BE16(TRAFFIC_BACKEND_PORT));
	entry->service = 0;
	entry->service_epoch = snapshot->service[0].epoch;
	entry->backend = number & (SL_MAX_BACKENDS - 1);
	entry->backend_epoch = snapshot->backend[number].epoch;
	entry->client_adjacency = SL_ADJACENCY_NONE;
	entry->last_seen = NOW;
	/* In a table that is nearly full both buckets of a key may be; such flows are left out. */
	if (flow_table_insert(run->table, entry, hash, &other) != 0) {
		flow_table_cancel(run->table, entry);
		run->entry[flow] = NULL;
		run->n_roomless++;
		return;
	}
	entry->state = SL_FLOW_ESTABLISHED;
	flow_table_promoted(run->table);
	run->entry[flow] = entry;
}

static void sluice_insert(struct run *run, const uint32_t *flow, uint32_t n)
{
	for (uint32_t at = 0; at < n; at += BATCH) {
		uint32_t n_batch = n - at < BATCH ? n - at : BATCH;
		struct sl_tuple tuple[BATCH];
		uint64_t hash[BATCH];

		for (uint32_t i = 0; i < n_batch; i++) {
			struct key key = key_of(flow[at + i], SL_DIRECTION_FORWARD);

			tuple[i] = tuple_of_key(&key);
			hash[i] = sl_flow_hash(&run->table->key, &tuple[i]);
			flow_table_prefetch(run->table, hash[i]);
		}
		for (uint32_t i = 0; i < n_batch; i++)
			sluice_insert_one(run, flow[at + i], &tuple[i], hash[i]);
	}
}

static void sluice_delete(struct run *run, const uint32_t *flow, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		if (SL_LIKELY(run->entry[flow[i]] != NULL))
			flow_table_remove(run->table, run->entry[flow[i]]);
		else
			run->n_roomless--;
	}
}

/* The flow's place in the table stands for it. */
static uint64_t sluice_lookup(const struct run *run)
{
	uint64_t sum = 0;

	for (uint32_t at = 0; at < N_LOOKUPS; at += BATCH) {
		struct sl_tuple tuple[BATCH];
		bool may_be_second;
		uint64_t hash[BATCH];

		for (uint32_t i = 0; i < BATCH; i++) {
			tuple[i] = tuple_of_key(&run->lookup[at + i]);
			hash[i] = sl_flow_hash(&run->table->key, &tuple[i]);
			flow_table_prefetch(run->table, hash[i]);
		}
		for (uint32_t i = 0; i < BATCH; i++)
			(void)flow_table_peek_first(run->table, hash[i], &may_be_second);
		for (uint32_t i = 0; i < BATCH; i++) {
			enum sl_direction direction;
			const struct sl_flow *found =
				flow_table_find(run->table, hash[i], &tuple[i], &direction);

			if (found != NULL)
				sum += (uint64_t)flow_table_index(run->table, found) * 2 +
				       direction;
		}
	}
	return sum;
}

/* Once round, by the worker's own sweep, whose clock is moved on by hand. */
static void sluice_sweep(struct run *run)
{
	struct worker *worker = run->engine.worker;

	worker->now = NOW;
	worker->sweep_tsc_per_entry = 1;
	worker->sweep_tsc = worker->now_tsc;
	run->table->sweep_at = 0;
	for (uint32_t n = 0; n < run->table->n_touched; n += SWEEP_MAX) {
		worker->now_tsc += SWEEP_MAX;
		sweep_flows(worker);
	}
}

/* ---- rte_hash ---- */

static void hash_insert(struct run *run, const uint32_t *flow, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		for (int direction = 0; direction < 2; direction++) {
			struct key key = key_of(flow[i], (enum sl_direction)direction);
			void *data = (void *)((uintptr_t)flow[i] * 2 + (uintptr_t)direction);

			if (rte_hash_add_key_data(run->hash, &key, data) != 0)
				run_fail(run, "a key found no room in rte_hash");
		}
		run->last_seen[flow[i]] = NOW;
	}
}

static void hash_delete(struct run *run, const uint32_t *flow, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		for (int direction = 0; direction < 2; direction++) {
			struct key key = key_of(flow[i], (enum sl_direction)direction);

			if (rte_hash_del_key(run->hash, &key) < 0)
				run_fail(run, "a key is not in rte_hash");
		}
	}
}

static uint64_t hash_lookup(const struct run *run)
{
	uint64_t sum = 0;

	for (uint32_t at = 0; at < N_LOOKUPS; at += BATCH) {
		const void *key[BATCH];
		void *data[BATCH];
		uint64_t found = 0;

		for (uint32_t i = 0; i < BATCH; i++)
			key[i] = &run->lookup[at + i];
		rte_hash_lookup_bulk_data(run->hash, key, BATCH, &found, data);
		for (uint32_t i = 0; i < BATCH; i++)
			if (found >> i & 1)
				sum += (uintptr_t)data[i];
	}
	return sum;
}

/* Flows that are over are noted, and deleted after the pass, which may not see a change. */
static void hash_sweep(struct run *run)
{
	uint32_t *over = run->scratch;
	uint32_t n_over = 0;
	uint32_t next = 0;
	const void *key;
	void *data;

	while (rte_hash_iterate(run->hash, &key, &data, &next) >= 0) {
		uint32_t flow = (uint32_t)((uintptr_t)data / 2);

		if (((uintptr_t)data & 1) == 0 && NOW - run->last_seen[flow] > ENGINE_UDP_TICKS)
			over[n_over++] = flow;
	}
	hash_delete(run, over, n_over);
}

/* ---- rounds ---- */

/* Which flows change in this round: by chance, and then they stand first. */
static void choose_changed(struct run *run)
{
	uint32_t n_flows = run->wanted.n_flows;

	for (uint32_t i = 0; i < run->n_changed; i++) {
		uint32_t j = i + random_below(run, n_flows - i);
		uint32_t flow = run->flow[i];

		run->flow[i] = run->flow[j];
		run->flow[j] = flow;
	}
}

/* Those that left and those that came in their place. */
static void exchange_changed(struct run *run)
{
	for (uint32_t i = 0; i < run->n_changed; i++) {
		uint32_t flow = run->flow[i];

		run->flow[i] = run->flow[run->wanted.n_flows + i];
		run->flow[run->wanted.n_flows + i] = flow;
	}
}

static void age_changed(struct run *run)
{
	if (run->wanted.operation != OPERATION_EXPIRE)
		return;
	for (uint32_t i = 0; i < run->n_changed; i++) {
		uint32_t flow = run->flow[i];

		run->last_seen[flow] = NOW - ENGINE_UDP_TICKS - 1;
		if (SL_LIKELY(run->entry[flow] != NULL))
			run->entry[flow]->last_seen = NOW - ENGINE_UDP_TICKS - 1;
		else
			run->n_roomless--;
	}
}

static double since(const struct events *before, uint32_t n)
{
	struct events after;

	events_read(&after);
	return events_each(before, &after, n).cpu_ns;
}

static void round_lookup(struct run *run, uint32_t round)
{
	struct events before;

	events_read(&before);
	if (sluice_lookup(run) != run->sluice_sum)
		run_fail(run, "the flow table found other flows than there are");
	run->sluice_ns[round] = since(&before, N_LOOKUPS);
	events_read(&before);
	if (hash_lookup(run) != run->rte_hash_sum)
		run_fail(run, "rte_hash found other keys than there are");
	run->rte_hash_ns[round] = since(&before, N_LOOKUPS);
}

static void round_change(struct run *run, uint32_t round)
{
	bool is_insert = run->wanted.operation == OPERATION_INSERT;
	const uint32_t *leaving = run->flow;
	const uint32_t *coming = run->flow + run->wanted.n_flows;
	uint32_t n = run->n_changed;
	struct events before;

	events_read(&before);
	sluice_delete(run, leaving, n);
	if (is_insert)
		events_read(&before);
	else
		run->sluice_ns[round] = since(&before, n);
	sluice_insert(run, coming, n);
	if (is_insert)
		run->sluice_ns[round] = since(&before, n);
	events_read(&before);
	hash_delete(run, leaving, n);
	if (is_insert)
		events_read(&before);
	else
		run->rte_hash_ns[round] = since(&before, n);
	hash_insert(run, coming, n);
	if (is_insert)
		run->rte_hash_ns[round] = since(&before, n);
	exchange_changed(run);
}

static void round_sweep(struct run *run, uint32_t round)
{
	bool is_expire = run->wanted.operation == OPERATION_EXPIRE;
	const uint32_t *coming = run->flow + run->wanted.n_flows;
	uint32_t n_left = run->wanted.n_flows - (is_expire ? run->n_changed : 0);
	uint32_t n = is_expire ? run->n_changed : run->wanted.n_flows;
	struct events before;

	age_changed(run);
	events_read(&before);
	sluice_sweep(run);
	run->sluice_ns[round] = since(&before, n);
	events_read(&before);
	hash_sweep(run);
	run->rte_hash_ns[round] = since(&before, n);
	if (run->table->n_used != n_left - run->n_roomless ||
	    rte_hash_count(run->hash) != (int32_t)(2 * n_left))
		run_fail(run, "the sweep ended other flows than were over");
	if (!is_expire)
		return;
	sluice_insert(run, coming, run->n_changed);
	hash_insert(run, coming, run->n_changed);
	exchange_changed(run);
}

static void run_rounds(struct run *run)
{
	/* The first one is not counted. */
	for (uint32_t i = 0; i <= run->options->n_rounds && run->status == 0; i++) {
		uint32_t round = i == 0 ? 0 : i - 1;

		report_progress("round %u of %u", round + 1, run->options->n_rounds);
		choose_changed(run);
		switch (run->wanted.operation) {
		case OPERATION_LOOKUP:
			round_lookup(run, round);
			break;
		case OPERATION_INSERT:
		case OPERATION_DELETE:
			round_change(run, round);
			break;
		case OPERATION_SWEEP:
		case OPERATION_EXPIRE:
			round_sweep(run, round);
			break;
		}
	}
}

/* ---- a case ---- */

static int hash_open(struct run *run)
{
	const struct rte_hash_parameters parameters = {
		.name = "keys",
		.entries = 2 * run->wanted.table,
		.key_len = sizeof(struct key),
		.hash_func = rte_hash_crc,
		.socket_id = 0,
		/* Else a key may find no room before the table is full. */
		.extra_flag = RTE_HASH_EXTRA_FLAGS_EXT_TABLE,
	};
	struct rte_malloc_socket_stats before;
	struct rte_malloc_socket_stats after;

	rte_malloc_get_socket_stats(0, &before);
	run->hash = rte_hash_create(&parameters);
	rte_malloc_get_socket_stats(0, &after);
	run->hash_bytes = after.heap_allocsz_bytes - before.heap_allocsz_bytes;
	return run->hash == NULL ? -ENOMEM : 0;
}

static int open_engine(struct run *run)
{
	uint64_t hash_mb = 2ull * run->wanted.table * HASH_BYTES_PER_KEY >> 20;
	const struct engine_options options = {
		.cpu = run->options->cpu,
		.n_flows = MIN_FLOWS_OF_WORKER,
		.n_slots = N_SLOTS,
		.memory_mb = EAL_MB + (uint32_t)hash_mb,
	};
	int status = engine_open(&run->engine, &options);

	if (status != 0)
		return status;
	run->traffic = (struct traffic){.family = SL_FAMILY_IPV4,
					.protocol = SL_PROTOCOL_UDP,
					.n_services = 1,
					.n_backends = N_BACKENDS};
	status = engine_commit(&run->engine, &options, &run->traffic, false);
	if (status == 0)
		status = engine_set_table(&run->engine, run->wanted.table);
	run->table = &run->engine.worker->flows4;
	return status == 0 ? hash_open(run) : status;
}

static int allocate(struct run *run)
{
	size_t n_flows = run->wanted.n_flows + run->n_changed;
	uint32_t n_rounds = run->options->n_rounds;

	run->lookup = malloc(N_LOOKUPS * sizeof(*run->lookup));
	run->flow = malloc(n_flows * sizeof(*run->flow));
	run->scratch = malloc(n_flows * sizeof(*run->scratch));
	run->entry = malloc(n_flows * sizeof(*run->entry));
	run->last_seen = malloc(n_flows * sizeof(*run->last_seen));
	run->sluice_ns = calloc(n_rounds, sizeof(*run->sluice_ns));
	run->rte_hash_ns = calloc(n_rounds, sizeof(*run->rte_hash_ns));
	if (run->lookup == NULL || run->flow == NULL || run->scratch == NULL ||
	    run->entry == NULL || run->last_seen == NULL || run->sluice_ns == NULL ||
	    run->rte_hash_ns == NULL)
		return -ENOMEM;
	return 0;
}

static void fill(struct run *run)
{
	const uint32_t n_flows = run->wanted.n_flows;
	const uint32_t n_step = 1 << 16;

	for (uint32_t i = 0; i < n_flows + run->n_changed; i++)
		run->flow[i] = i;
	for (uint32_t i = 0; i < n_flows && run->status == 0; i += n_step) {
		uint32_t n = n_flows - i < n_step ? n_flows - i : n_step;

		report_progress("making flows, %u of %u", i, n_flows);
		sluice_insert(run, run->flow + i, n);
		hash_insert(run, run->flow + i, n);
	}
	for (uint32_t i = 0; i < N_LOOKUPS; i++) {
		uint32_t flow = random_below(run, n_flows);
		uint32_t direction = random_below(run, 2);

		while (run->entry[flow] == NULL)
			flow = random_below(run, n_flows);

		run->lookup[i] = key_of(flow, (enum sl_direction)direction);
		run->sluice_sum +=
			(uint64_t)flow_table_index(run->table, run->entry[flow]) * 2 + direction;
		run->rte_hash_sum += (uint64_t)flow * 2 + direction;
	}
}

static void write_result(struct run *run, json_t *result)
{
	uint32_t n = run->options->n_rounds;
	double capacity = run->wanted.table;
	double sluice_bytes =
		(double)(run->table->entries_bytes + run->table->bucket_bytes) / capacity;
	double rte_hash_bytes =
		(double)run->hash_bytes / capacity + (double)sizeof(struct sl_flow_ipv4);

	json_object_set_new(result, "sluice_ns", json_real(report_median(run->sluice_ns, n)));
	json_object_set_new(result, "rte_hash_ns", json_real(report_median(run->rte_hash_ns, n)));
	json_object_set_new(result, "sluice_bytes", json_real(sluice_bytes));
	json_object_set_new(result, "rte_hash_bytes", json_real(rte_hash_bytes));
	json_object_set_new(result, "flows", json_integer(run->wanted.n_flows));
	json_object_set_new(result, "flows_without_room", json_integer(run->n_roomless));
	json_object_set_new(result, "table_flows", json_integer(run->wanted.table));
	json_object_set_new(result, "memory", json_string(run->engine.memory));
}

static const char *case_name(uint32_t index)
{
	return index < SL_ARRAY_LEN(cases) ? cases[index].name : NULL;
}

static bool find_case(const char *name, struct table_case *wanted)
{
	for (size_t i = 0; i < SL_ARRAY_LEN(cases); i++)
		if (strcmp(cases[i].name, name) == 0) {
			*wanted = cases[i];
			return true;
		}
	return false;
}

static void run_free(struct run *run)
{
	rte_hash_free(run->hash);
	free(run->lookup);
	free(run->flow);
	free(run->scratch);
	free(run->entry);
	free(run->last_seen);
	free(run->sluice_ns);
	free(run->rte_hash_ns);
	free(run);
}

static int measure(const struct bench_options *options, const char *name, json_t *result)
{
	struct run *run = calloc(1, sizeof(*run));
	int status;

	if (run == NULL)
		return -ENOMEM;
	run->options = options;
	run->random = 0x9e3779b97f4a7c15ull;
	if (!find_case(name, &run->wanted)) {
		report_error("no such case of mode table; --list tells");
		free(run);
		return -ENOENT;
	}
	if (options->is_quick) {
		run->wanted.table = QUICK_TABLE;
		if (run->wanted.n_flows > QUICK_FLOWS)
			run->wanted.n_flows = QUICK_FLOWS;
	}
	run->n_changed = run->wanted.n_flows / CHANGED;
	status = allocate(run);
	if (status == 0)
		status = open_engine(run);
	if (status == 0) {
		fill(run);
		if (run->n_roomless > run->wanted.n_flows / 100)
			run_fail(run, "one flow in a hundred found no room");
		run_rounds(run);
		status = run->status;
	}
	if (status == 0)
		write_result(run, result);
	run_free(run);
	return status;
}

const struct bench_mode bench_table = {
	.name = "table",
	.help = "the flow table's operations, beside rte_hash with the same keys",
	.column = columns,
	.case_name = case_name,
	.measure = measure,
};
