/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * Mode worker: nanoseconds a packet of the worker's own loop, and in turn of a loop that only
 * exchanges both ends, with the same port in the same process. worker_main() runs once, from the
 * first packet to the last; whenever the synthetic port has no more to receive, it asks here what
 * comes next, so rounds change without a change to the loop. First every flow is made by its client's
 * packet and answered by its backend's, each judged byte for byte; then come the rounds. Cases of two
 * workers are bench_pair.c's.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_cycles.h>

#include "dataplane/dpdk/worker.h"
#include "tests/bench/bench.h"
#include "tests/bench/bench_engine.h"
#include "tests/bench/bench_events.h"
#include "tests/bench/bench_pair.h"
#include "tests/bench/bench_report.h"
#include "tests/bench/bench_sequence.h"
#include "tests/bench/bench_swap.h"

enum {
	TABLE_1M = 1 << 20, /* the default */
	TABLE_8M = 1 << 23,
	TABLE_10M = 10 << 20,
	QUICK_TABLE = 1 << 16,
	QUICK_FLOWS = 4096,
	QUICK_SERVICES = 500,
	CHUNK = 256, /* flows that are made before the first of them is answered */
	WATCH_ALL = 1,
	WATCH_SOME = 4099,      /* one packet in so many is judged in a round; a prime */
	N_PACKETS = 1 << 19,    /* of a round */
	N_LEAD = N_PACKETS / 8, /* that come before it, and are not counted */
	MAX_ROOMLESS = 1000,    /* one flow in so many */
	QUICK_DIVISOR = 32,
	MIN_SEQUENCE = 4096,
	MAX_SEQUENCE = 1 << 24,
	SEQUENCE_PER_FLOW = 4,
};

enum kind {
	KIND_LIVE = 0, /* packets of flows that are there */
	KIND_NEW,      /* each packet makes a flow, and as many end */
	KIND_FLOOD,    /* SYNs, of which nothing can be remembered */
};

struct worker_case {
	const char *name;
	uint8_t family;
	uint8_t kind;
	bool is_fullnat;
	uint8_t mix;
	uint8_t order;
	uint32_t n_flows; /* that are made and answered first */
	uint32_t table;   /* flows that the worker has room for */
	uint32_t n_services;
	uint32_t n_backends; /* of each */
	uint32_t n_slots;    /* of each */
	uint32_t haste;      /* see struct engine_options */
	uint8_t affinity;    /* likewise: affinity_prefix */
};

#define IPV4      .family = SL_FAMILY_IPV4, .table = TABLE_1M
#define IPV6      .family = SL_FAMILY_IPV6, .table = TABLE_1M
#define FORWARD   .mix = SEQUENCE_FORWARD
#define REPLY     .mix = SEQUENCE_REPLY
#define MIXED     .mix = SEQUENCE_MIXED
#define ONE       .n_services = 1, .n_backends = 100, .n_slots = SL_DEFAULT_SLOTS
#define MANY(n)   .n_services = (n), .n_backends = 10, .n_slots = 1009
#define FULLNAT   .is_fullnat = true
#define NEW_FLOWS .kind = KIND_NEW, .order = SEQUENCE_ONCE, .haste = 12

/*
 * New flows: at 3 M/s and a timeout of a second, the shortest there is, three million would be there
 * at a time; but nobody answers them, so they may fill an eighth of the table. With time going faster
 * there are some 500,000, too many for the caches, and the sweep ends as many as are made.
 */
/* clang-format off */
static const struct worker_case cases[] = {
	{"nat-forward-512", IPV4, ONE, FORWARD, .n_flows = 512},
	{"nat-forward-65536", IPV4, ONE, FORWARD, .n_flows = 65536},
	{"nat-forward-1M", IPV4, ONE, FORWARD, .n_flows = 1000000},
	{"nat-reply-65536", IPV4, ONE, REPLY, .n_flows = 65536},
	{"nat-reply-1M", IPV4, ONE, REPLY, .n_flows = 1000000},
	{"nat-mixed-1M", IPV4, ONE, MIXED, .n_flows = 1000000},
	{"nat-mixed-1M-zipf", IPV4, ONE, MIXED, .n_flows = 1000000, .order = SEQUENCE_ZIPF},
	{"nat-mixed-10M", .family = SL_FAMILY_IPV4, .table = TABLE_10M, ONE, MIXED, .n_flows = 10000000},
	{"ipv6-mixed-1M", IPV6, ONE, MIXED, .n_flows = 1000000},
	{"fullnat-forward-65536", IPV4, ONE, FULLNAT, FORWARD, .n_flows = 65536},
	{"fullnat-forward-1M", IPV4, ONE, FULLNAT, FORWARD, .n_flows = 1000000},
	{"fullnat-mixed-65536", IPV4, ONE, FULLNAT, MIXED, .n_flows = 65536},
	{"fullnat-mixed-1M", IPV4, ONE, FULLNAT, MIXED, .n_flows = 1000000},
	{"new-flows", .family = SL_FAMILY_IPV4, .table = TABLE_8M, ONE, FORWARD, NEW_FLOWS},
	{"new-flows-kept", .family = SL_FAMILY_IPV4, .table = TABLE_8M, ONE, FORWARD, NEW_FLOWS, .affinity = 24},
	{"new-flows-spread", .family = SL_FAMILY_IPV4, .table = TABLE_8M, ONE, FORWARD, NEW_FLOWS, .affinity = 32},
	{"syn-flood", IPV4, ONE, FORWARD, .kind = KIND_FLOOD, .n_flows = TABLE_1M / 8 * 7},
	{"services-1", IPV4, MANY(1), FORWARD, .n_flows = 65536},
	{"services-100", IPV4, MANY(100), FORWARD, .n_flows = 65536},
	{"services-10000", IPV4, MANY(10000), FORWARD, .n_flows = 65536},
};
/* clang-format on */

static const struct bench_column columns[] = {
	{"balancer_ns", "balancer, ns", 1, true},
	{"swap_ns", "swap, ns", 1, true},
	{"ratio", "of swap", 2, true},
	{"speedup", "of one worker", 2, true},
	{"swap_speedup", "swaps, of one", 2, true},
	{"cycles", "cycles", 0, false},
	{"mpps", "M/s", 1, false},
	{"instructions", "instr.", 0, false},
	{"cache_misses", "misses", 2, false},
	{"disturbed_percent", "disturbed, %", 1, false},
	{NULL, NULL, 0, false},
};

/** A case under way. */
struct run {
	const struct bench_options *options;
	struct worker_case wanted; /* as it is run */
	struct engine engine;
	struct traffic traffic; /* of the flows that are made first */
	struct traffic flood;   /* of SYNs */
	struct traffic *measured;
	struct sequence sequence;
	void (*step)(struct run *run); /* what to do when nothing is left to receive */
	uint8_t chunk[CHUNK * PORT_RECORD6_BYTES];
	uint32_t first;      /* flow of the chunk */
	uint32_t n_wrong;    /* frames of the chunk that were not forwarded */
	uint32_t n_roomless; /* flows that found no room in the table, and are left out */
	uint32_t n_packets;
	uint32_t n_lead;
	uint32_t watch_step;
	uint32_t round;
	struct events before;
	struct sl_counters counters; /* as they were */
	double *balancer_ns;         /* of each round, and so the others */
	double *swap_ns;
	double *ratio;
	double *disturbed;
	double *instructions;
	double *cache_misses;
	bool has_events;
	uint64_t n_created; /* of all rounds */
	uint64_t n_ended;
	uint64_t n_judged;
	int status;
};

static void run_fail(struct run *run, const char *what)
{
	if (run->status == 0)
		report_error("%s", what);
	run->status = -EPROTO;
	run->n_judged = 0;
}

static void step_reply(struct run *run);

static void on_empty(void *context)
{
	struct run *run = context;

	if (run->status == 0)
		run->step(run);
	if (run->status != 0)
		engine_stop(&run->engine);
}

static void on_sent(void *context, const uint8_t *record, const uint8_t *frame)
{
	struct run *run = context;
	const char *wrong = traffic_judge(run->measured, record, frame);

	run->n_judged++;
	if (wrong == NULL)
		return;
	/* Flows under way: one that found no room may have been refused. */
	if (run->step == step_reply)
		run->n_wrong++;
	else
		run_fail(run, wrong);
}

static void receive(const struct traffic *traffic, const uint8_t *record, uint32_t n)
{
	const struct port_frames frames = {
		.kind = traffic->family == SL_FAMILY_IPV6      ? PORT_UDP6
			: traffic->protocol == SL_PROTOCOL_TCP ? PORT_TCP4
							       : PORT_UDP4,
		.template = traffic->template,
		.record = record,
		.n = n,
	};

	port_set_frames(0, &frames);
}

/* Whether the packets since @run->counters all were forwarded or replied. */
static bool is_right(struct run *run, uint64_t n)
{
	const struct sl_counters *now = &run->engine.worker->counters;
	char text[128];
	uint64_t n_right = 0;

	for (int i = 0; i < SL_N_VERDICTS; i++) {
		uint64_t n_new = now->verdict[i] - run->counters.verdict[i];

		if (i == SL_VERDICT_FORWARD || i == SL_VERDICT_REPLY) {
			n_right += n_new;
		} else if (n_new != 0) {
			snprintf(text, sizeof(text), "%llu packets have verdict number %d",
				 (unsigned long long)n_new, i);
			run_fail(run, text);
		}
	}
	if (n_right != n)
		run_fail(run, "not every packet has a verdict");
	return run->status == 0;
}

static uint64_t n_events(const struct run *run, enum sl_event event)
{
	return run->engine.worker->counters.event[event] - run->counters.event[event];
}

/* ---- the flows ---- */

static void step_forward(struct run *run);
static void step_lead(struct run *run);

static uint32_t chunk_size(const struct run *run)
{
	uint32_t n_left = run->wanted.n_flows - run->first;

	return n_left < CHUNK ? n_left : CHUNK;
}

/* Writes a packet of each flow of the chunk that is not left out. */
static void receive_chunk(struct run *run,
			  void (*write)(const struct traffic *, uint32_t, uint8_t *))
{
	size_t bytes = traffic_record_bytes(&run->traffic);
	uint32_t size = chunk_size(run);
	uint32_t n = 0;

	for (uint32_t i = 0; i < size; i++)
		if (!run->traffic.way[run->first + i].is_left_out)
			write(&run->traffic, run->first + i, run->chunk + n++ * bytes);
	receive(&run->traffic, run->chunk, n);
	port_begin(0, n, WATCH_ALL);
}

static uint32_t n_flows_used(const struct run *run)
{
	const struct worker *worker = run->engine.worker;

	return worker->flows4.n_used + worker->flows6.n_used;
}

/* Of a table that is nearly full both buckets of a key may be; such flows are left out. */
static void leave_out_roomless(struct run *run)
{
	struct worker *worker = run->engine.worker;
	uint32_t size = chunk_size(run);

	for (uint32_t i = 0; i < size; i++) {
		struct sl_tuple tuple = traffic_tuple(&run->traffic, run->first + i);
		uint64_t hash = sl_flow_hash(&worker->flows4.key, &tuple);
		enum sl_direction direction;

		if (flow_table_find(worker_table(worker, tuple.family), hash, &tuple, &direction) !=
		    NULL)
			continue;
		run->traffic.way[run->first + i].is_left_out = 1;
		run->n_roomless++;
	}
}

/* The clients' packets are through: the backends answer the flows of the chunk. */
static void step_reply(struct run *run)
{
	uint32_t n_before = run->n_roomless;

	if (n_flows_used(run) + run->n_roomless != run->first + chunk_size(run))
		leave_out_roomless(run);
	if (run->n_wrong > run->n_roomless - n_before) {
		run_fail(run, "a packet of a new flow was not forwarded");
		return;
	}
	receive_chunk(run, traffic_reply);
	run->first += chunk_size(run);
	run->step = step_forward;
}

static int draw(struct run *run)
{
	const struct worker_case *wanted = &run->wanted;
	uint64_t n = (uint64_t)wanted->n_flows * SEQUENCE_PER_FLOW;
	struct sequence_options options = {.mix = (enum sequence_mix)wanted->mix,
					   .order = (enum sequence_order)wanted->order,
					   .n_flows = wanted->n_flows};

	if (n < MIN_SEQUENCE)
		n = MIN_SEQUENCE;
	if (n > MAX_SEQUENCE || wanted->kind != KIND_LIVE)
		n = MAX_SEQUENCE / (run->options->is_quick ? QUICK_DIVISOR : 1u);
	options.n = (uint32_t)n;
	if (wanted->kind == KIND_NEW) {
		options.n_flows = options.n;
	} else if (wanted->kind == KIND_FLOOD) {
		/* Its clients are none that have flows. */
		options.first = TRAFFIC_MAX_FLOWS / 2;
		options.n_flows = TRAFFIC_MAX_FLOWS / 2;
	}
	return sequence_new(&run->sequence, run->measured, &options);
}

/* All flows are there: now the rounds. */
static void step_prepare(struct run *run)
{
	const struct worker *worker = run->engine.worker;

	if (n_flows_used(run) + run->n_roomless != run->wanted.n_flows ||
	    worker->flows4.n_embryonic + worker->flows6.n_embryonic != 0 ||
	    run->n_roomless > run->wanted.n_flows / MAX_ROOMLESS) {
		run_fail(run, "not all flows were made and answered");
		return;
	}
	if (run->wanted.kind == KIND_FLOOD)
		run->measured = &run->flood;
	if (draw(run) != 0) {
		run_fail(run, "out of memory for the packets");
		return;
	}
	receive(run->measured, run->sequence.record, run->sequence.n);
	step_lead(run);
}

static void step_forward(struct run *run)
{
	if (run->first == run->wanted.n_flows) {
		step_prepare(run);
		return;
	}
	report_progress("making flows, %u of %u", run->first, run->wanted.n_flows);
	run->n_wrong = 0;
	receive_chunk(run, traffic_forward);
	run->step = step_reply;
}

/* ---- the rounds ---- */

static void step_stop(struct run *run);

/* Time is taken from here on. */
static void step_start(struct run *run)
{
	run->counters = run->engine.worker->counters;
	port_begin(0, run->n_packets, run->watch_step);
	run->step = step_stop;
	events_read(&run->before);
}

/* What comes before a round warms it up; before the first one, it fills the table. */
static void step_lead(struct run *run)
{
	uint32_t n = run->n_lead;

	if (run->round == 0 && run->wanted.kind != KIND_LIVE)
		n += run->wanted.table / 2;
	report_progress("round %u of %u", run->round + 1, run->options->n_rounds);
	port_begin(0, n, run->watch_step);
	run->step = step_start;
}

static void swap_round(struct run *run)
{
	struct events before;
	struct events after;
	uint16_t id = run->engine.dataplane.port[0].id;
	uint64_t n_sent;

	port_begin(0, run->n_lead, 0);
	swap_run(id, 0);
	port_begin(0, run->n_packets, 0);
	n_sent = port_n_sent(0);
	events_read(&before);
	swap_run(id, 0);
	events_read(&after);
	if (port_n_sent(0) - n_sent != run->n_packets)
		run_fail(run, "the swap loop lost packets");
	run->swap_ns[run->round] = events_each(&before, &after, run->n_packets).cpu_ns;
}

static void judge_round(struct run *run)
{
	uint64_t n_created = n_events(run, SL_EVENT_FLOW_CREATED);

	if (!is_right(run, run->n_packets))
		return;
	run->n_created += n_created;
	run->n_ended += n_events(run, SL_EVENT_FLOW_ENDED);
	if (run->wanted.kind == KIND_NEW && n_created != run->n_packets)
		run_fail(run, "not every packet made a flow");
	if (run->wanted.kind == KIND_LIVE && n_created != 0)
		run_fail(run, "a packet made a flow that should have been there");
	if (run->wanted.kind == KIND_FLOOD &&
	    n_events(run, SL_EVENT_EMBRYONIC_FULL) + n_created < run->n_packets / 10 * 9)
		run_fail(run, "the table was not full");
}

static void step_stop(struct run *run)
{
	struct events after;
	struct events each;

	events_read(&after);
	each = events_each(&run->before, &after, run->n_packets);
	judge_round(run);
	swap_round(run);
	if (run->status != 0)
		return;
	run->balancer_ns[run->round] = each.cpu_ns;
	run->ratio[run->round] = run->swap_ns[run->round] / each.cpu_ns;
	/* The two clocks differ by a little. */
	run->disturbed[run->round] = fmax(0, 100 * (1 - each.cpu_ns / each.wall_ns));
	run->instructions[run->round] = each.instructions;
	run->cache_misses[run->round] = each.cache_misses;
	if (++run->round == run->options->n_rounds)
		engine_stop(&run->engine);
	else
		step_lead(run);
}

/* ---- a case ---- */

static const char *case_name(uint32_t index)
{
	return index < SL_ARRAY_LEN(cases) ? cases[index].name
					   : pair_case_name(index - (uint32_t)SL_ARRAY_LEN(cases));
}

static bool find_case(const char *name, struct worker_case *wanted)
{
	for (size_t i = 0; i < SL_ARRAY_LEN(cases); i++)
		if (strcmp(cases[i].name, name) == 0) {
			*wanted = cases[i];
			return true;
		}
	return false;
}

static void make_quick(struct worker_case *wanted)
{
	wanted->haste = wanted->haste * (wanted->table / QUICK_TABLE);
	wanted->table = QUICK_TABLE;
	if (wanted->kind == KIND_FLOOD)
		wanted->n_flows = QUICK_TABLE / 8 * 7;
	else if (wanted->n_flows > QUICK_FLOWS)
		wanted->n_flows = QUICK_FLOWS;
	if (wanted->n_services > QUICK_SERVICES)
		wanted->n_services = QUICK_SERVICES;
}

static int open_run(struct run *run)
{
	struct worker_case *wanted = &run->wanted;
	const struct engine_options options = {
		.cpu = run->options->cpu,
		.n_flows = wanted->table,
		.n_slots = wanted->n_slots,
		.affinity_prefix = wanted->affinity,
		.haste = wanted->haste,
		.watch = {{.context = run, .on_empty = on_empty, .on_sent = on_sent}},
	};
	int status = engine_open(&run->engine, &options);

	if (status != 0)
		return status;
	run->traffic = (struct traffic){.family = wanted->family,
					.protocol = SL_PROTOCOL_UDP,
					.is_fullnat = wanted->is_fullnat,
					.n_services = wanted->n_services,
					.n_backends = wanted->n_backends,
					.n_ways = wanted->n_flows};
	traffic_init(&run->traffic, run->engine.dataplane.port[0].mac);
	run->flood = run->traffic;
	run->flood.protocol = SL_PROTOCOL_TCP;
	traffic_init(&run->flood, run->engine.dataplane.port[0].mac);
	if (wanted->n_flows != 0) {
		run->traffic.way = calloc(wanted->n_flows, sizeof(*run->traffic.way));
		if (run->traffic.way == NULL)
			return -ENOMEM;
	}
	return engine_commit(&run->engine, &options, &run->traffic, wanted->kind == KIND_FLOOD);
}

/* Of the table, all told, when it is full. */
static double bytes_per_flow(const struct run *run)
{
	const struct flow_table *table = worker_table(run->engine.worker, run->wanted.family);

	return (double)(table->entries_bytes + table->bucket_bytes) / (double)table->capacity;
}

static void write_result(struct run *run, json_t *result)
{
	uint32_t n = run->options->n_rounds;
	double balancer_ns = report_median(run->balancer_ns, n);
	double swap_ns = report_median(run->swap_ns, n);
	double ghz = (double)rte_get_tsc_hz() / 1e9;

	json_object_set_new(result, "balancer_ns", json_real(balancer_ns));
	json_object_set_new(result, "balancer_best_ns", json_real(run->balancer_ns[0]));
	json_object_set_new(result, "swap_ns", json_real(swap_ns));
	json_object_set_new(result, "swap_best_ns", json_real(run->swap_ns[0]));
	json_object_set_new(result, "ratio", json_real(report_median(run->ratio, n)));
	json_object_set_new(result, "cycles", json_real(balancer_ns * ghz));
	json_object_set_new(result, "mpps", json_real(1e3 / balancer_ns));
	json_object_set_new(result, "disturbed_percent",
			    json_real(report_median(run->disturbed, n)));
	if (run->has_events) {
		json_object_set_new(result, "instructions",
				    json_real(report_median(run->instructions, n)));
		json_object_set_new(result, "cache_misses",
				    json_real(report_median(run->cache_misses, n)));
	}
	if (run->wanted.kind == KIND_NEW)
		json_object_set_new(result, "ended_per_created",
				    json_real((double)run->n_ended / (double)run->n_created));
	json_object_set_new(result, "flows", json_integer(run->wanted.n_flows));
	json_object_set_new(result, "flows_without_room", json_integer(run->n_roomless));
	json_object_set_new(result, "table_flows", json_integer(run->wanted.table));
	json_object_set_new(result, "bytes_per_flow", json_real(bytes_per_flow(run)));
	json_object_set_new(result, "packets_judged", json_integer((json_int_t)run->n_judged));
	json_object_set_new(result, "memory", json_string(run->engine.memory));
}

static int run_case(struct run *run, json_t *result)
{
	uint32_t n = run->options->n_rounds;
	double *figures = calloc(n, 6 * sizeof(*figures));
	int status = figures == NULL ? -ENOMEM : open_run(run);

	if (status == 0) {
		run->balancer_ns = figures;
		run->swap_ns = figures + n;
		run->ratio = figures + 2 * (size_t)n;
		run->disturbed = figures + 3 * (size_t)n;
		run->instructions = figures + 4 * (size_t)n;
		run->cache_misses = figures + 5 * (size_t)n;
		run->has_events = events_open();
		run->measured = &run->traffic;
		run->step = step_forward;
		engine_run(run->engine.worker);
		status = run->status;
	}
	if (status == 0 && run->wanted.kind == KIND_NEW && !run->options->is_quick &&
	    run->n_ended < run->n_created / 2) {
		report_error("fewer flows ended than were made");
		status = -EPROTO;
	}
	if (status == 0)
		write_result(run, result);
	sequence_free(&run->sequence);
	free(run->traffic.way);
	free(figures);
	return status;
}

static int measure(const struct bench_options *options, const char *name, json_t *result)
{
	struct run *run;
	uint32_t divisor = options->is_quick ? QUICK_DIVISOR : 1;
	int status;

	if (pair_has_case(name))
		return pair_measure(options, name, result);
	run = calloc(1, sizeof(*run));
	if (run == NULL)
		return -ENOMEM;
	run->options = options;
	run->n_packets = N_PACKETS / divisor;
	run->n_lead = N_LEAD / divisor;
	run->watch_step = options->is_quick ? WATCH_ALL : WATCH_SOME;
	if (find_case(name, &run->wanted)) {
		if (options->is_quick)
			make_quick(&run->wanted);
		status = run_case(run, result);
	} else {
		report_error("no such case of mode worker; --list tells");
		status = -ENOENT;
	}
	free(run);
	return status;
}

const struct bench_mode bench_worker = {
	.name = "worker",
	.help = "the worker's loop, beside one that only swaps addresses and ports",
	.column = columns,
	.case_name = case_name,
	.measure = measure,
};
