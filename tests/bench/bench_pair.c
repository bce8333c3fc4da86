/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * Two workers: see bench_pair.h. A side is a worker with its core and its queue. First each makes its
 * flows, which are those that the product's steering gives it; then, in each round, four phases: one of
 * the workers alone, both, one swap loop alone, both. In a phase the loops are launched, warm up until
 * all sides are warm, take their time for so many frames, and go on until all sides have theirs, so that
 * none ever has the machine for itself while it is timed. Who takes no part sleeps, the main lcore, too.
 *
 * A worker's rate is frames by the time of its core, so what other processes took is left out; but for
 * the hand-off, where a worker waits while the other one's core is taken. A quiet machine or real-time
 * threads show what that is without.
 */
#include "tests/bench/bench_pair.h"

#include <errno.h>
#include <math.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_cycles.h>
#include <rte_launch.h>

#include "tests/bench/bench_engine.h"
#include "tests/bench/bench_events.h"
#include "tests/bench/bench_host.h"
#include "tests/bench/bench_process.h"
#include "tests/bench/bench_report.h"
#include "tests/bench/bench_sequence.h"
#include "tests/bench/bench_swap.h"

enum {
	N_SIDES = 2,
	N_FLOWS = 1 << 17, /* of both */
	QUICK_FLOWS = 4096,
	TABLE = 1 << 20, /* the default */
	QUICK_TABLE = 1 << 16,
	N_BACKENDS = 100,
	N_RECORDS = 1 << 18,
	N_PACKETS = 1 << 19,    /* of a side in a phase */
	N_LEAD = N_PACKETS / 8, /* that come before these, and are not timed */
	QUICK_DIVISOR = 32,
	CHUNK = 1024, /* that come while a side waits for the other */
	WATCH_ALL = 1,
	WATCH_SOME = 4099,           /* one packet in so many is judged; a prime */
	MAX_WAITING = RING_SIZE / 2, /* for a worker, handed to it */
	DRAIN_SEC = 2,
	LEAST_HANDED_PERCENT = 45,
	MOST_HANDED_PERCENT = 55,
	LINE_PAIR = 128, /* CPUs fetch a line's neighbour with it */
};

struct pair_case {
	const char *name;
	bool is_handoff; /* frames arrive at either queue, whoever owns them */
};

static const struct pair_case cases[] = {
	{"workers-2-steered", false},
	{"workers-2-handoff", true},
};

enum loop {
	LOOP_WORKER = 0,
	LOOP_SWAP,
};

/** How far a side is in a phase. */
enum stage {
	STAGE_LEAD = 0,
	STAGE_WARM, /* waits for the others to be so */
	STAGE_TIMED,
	STAGE_DONE, /* likewise */
	STAGE_OVER, /* no frame comes any more */
};

struct pair;

struct side {
	struct pair *pair;
	uint16_t number; /* of its worker and of its queue */
	struct worker *worker;
	struct traffic traffic;    /* flows of the other one are left out */
	uint32_t n_flows;          /* its own */
	struct sequence making;    /* a packet of each of its flows */
	struct sequence sequence;  /* packets of its flows */
	struct sequence scattered; /* hand-off: of any flow */
	enum stage stage;
	struct events before;
	struct events each;
	uint64_t over_tsc;
	uint64_t n_judged;
	const char *wrong; /* the first thing that was; NULL: nothing */
} __attribute__((aligned(LINE_PAIR)));

/** A phase: who takes part, and how many have come to a stage. */
struct phase {
	enum loop loop;
	bool is_in[N_SIDES];
	uint32_t n_sides;
	uint32_t n_lead;
	uint32_t n_packets;
	uint32_t watch_step;
	_Alignas(LINE_PAIR) uint32_t n_warm;
	uint32_t n_done;
	uint32_t n_over;
};

/** What a round gave, by the figures' names. */
struct figures {
	double *mpps;
	double *one_mpps;
	double *speedup;
	double *swap_mpps;
	double *swap_one_mpps;
	double *swap_speedup;
	double *handed;
	double *disturbed;
	double *all; /* owns them */
};

struct pair {
	const struct bench_options *options;
	const struct pair_case *wanted;
	struct engine engine;
	struct traffic traffic; /* of all flows */
	uint32_t n_all_flows;
	uint32_t watch_step;
	uint32_t divisor;
	struct side side[N_SIDES];
	struct phase phase;
	sem_t ended; /* once by each side of a phase */
	struct sl_counters before[N_SIDES];
	uint64_t n_received;
	struct figures figures;
};

/* ---- a side in a phase; its own thread ---- */

static void come(uint32_t *counter)
{
	__atomic_fetch_add(counter, 1, __ATOMIC_ACQ_REL);
}

static bool have_all_come(const struct phase *phase, const uint32_t *counter)
{
	return __atomic_load_n(counter, __ATOMIC_ACQUIRE) == phase->n_sides;
}

/* Nothing is left at the queue: what comes next. False: no more does. */
static bool side_next(struct side *side)
{
	struct phase *phase = &side->pair->phase;
	struct events after;

	if (side->stage == STAGE_LEAD) {
		side->stage = STAGE_WARM;
		come(&phase->n_warm);
	}
	if (side->stage == STAGE_WARM && have_all_come(phase, &phase->n_warm)) {
		side->stage = STAGE_TIMED;
		port_begin(side->number, phase->n_packets, phase->watch_step);
		events_read(&side->before);
		return true;
	}
	if (side->stage == STAGE_TIMED) {
		events_read(&after);
		side->each = events_each(&side->before, &after, phase->n_packets);
		side->stage = STAGE_DONE;
		come(&phase->n_done);
	}
	if (side->stage == STAGE_DONE && have_all_come(phase, &phase->n_done)) {
		side->stage = STAGE_OVER;
		side->over_tsc = rte_rdtsc();
		come(&phase->n_over);
	}
	if (side->stage == STAGE_OVER)
		return false;
	port_begin(side->number, CHUNK, phase->watch_step);
	return true;
}

/* Frames that are between the queues: in a worker, or in a ring between workers. */
static uint64_t n_under_way(void)
{
	uint64_t n = 0;

	for (uint16_t i = 0; i < N_SIDES; i++)
		n += port_n_received(i) - port_n_sent(i);
	return n;
}

static void on_empty(void *context)
{
	struct side *side = context;
	struct pair *pair = side->pair;

	if (side_next(side) || !have_all_come(&pair->phase, &pair->phase.n_over))
		return;
	/* What is lost never comes; that it was, the counters say. */
	if (n_under_way() == 0 || rte_rdtsc() - side->over_tsc > DRAIN_SEC * rte_get_tsc_hz())
		engine_stop(&pair->engine);
}

/* Judged by the flows of the one who sends: they must be its own. */
static void on_sent(void *context, const uint8_t *record, const uint8_t *frame)
{
	struct side *side = context;
	const char *wrong = traffic_judge(&side->traffic, record, frame);

	side->n_judged++;
	if (wrong != NULL && side->wrong == NULL)
		side->wrong = wrong;
}

/*
 * A sender that waits where a real one would lose: what one worker can hand over in the time that the
 * other one's core is taken away says nothing of either.
 */
static bool is_held_up(void *context)
{
	const struct side *side = context;
	const struct side *other = &side->pair->side[1 - side->number];

	return rte_ring_count(other->worker->handoff) > MAX_WAITING;
}

static int side_run(void *argument)
{
	struct side *side = argument;
	struct pair *pair = side->pair;

	side->stage = STAGE_LEAD;
	port_begin(side->number, pair->phase.n_lead, pair->phase.watch_step);
	if (pair->options->is_realtime)
		process_raise_thread(true);
	if (pair->phase.loop == LOOP_WORKER) {
		engine_run(side->worker);
	} else {
		do
			swap_run(pair->engine.dataplane.port[0].id, side->number);
		while (side_next(side));
	}
	if (pair->options->is_realtime)
		process_raise_thread(false);
	sem_post(&pair->ended);
	return 0;
}

/* ---- a phase; the main lcore ---- */

static void receive(const struct side *side, const struct sequence *sequence)
{
	const struct port_frames frames = {.kind = PORT_UDP4,
					   .template = side->traffic.template,
					   .record = sequence->record,
					   .n = sequence->n};

	port_set_frames(side->number, &frames);
}

/* Sums up what is new since pair->before; *@n_other: packets that were not forwarded. */
static uint64_t n_forwarded(const struct pair *pair, uint64_t *n_other)
{
	uint64_t n = 0;

	*n_other = 0;
	for (int i = 0; i < N_SIDES; i++)
		for (int verdict = 0; verdict < SL_N_VERDICTS; verdict++) {
			uint64_t n_new = pair->side[i].worker->counters.verdict[verdict] -
					 pair->before[i].verdict[verdict];

			if (verdict == SL_VERDICT_FORWARD || verdict == SL_VERDICT_REPLY)
				n += n_new;
			else
				*n_other += n_new;
		}
	return n;
}

static uint64_t n_events(const struct pair *pair, enum sl_event event)
{
	uint64_t n = 0;

	for (int i = 0; i < N_SIDES; i++)
		n += pair->side[i].worker->counters.event[event] - pair->before[i].event[event];
	return n;
}

/* Whether all that came in was forwarded, once, and as it should be. */
static int judge_phase(struct pair *pair)
{
	uint64_t n_received = port_n_received(0) + port_n_received(1) - pair->n_received;
	uint64_t n_other;
	uint64_t n = n_forwarded(pair, &n_other);

	for (int i = 0; i < N_SIDES; i++) {
		if (pair->side[i].wrong == NULL)
			continue;
		report_error("worker %d sent a wrong frame: %s", i, pair->side[i].wrong);
		return -EPROTO;
	}
	if (n_under_way() == 0 &&
	    (pair->phase.loop == LOOP_SWAP || (n == n_received && n_other == 0)))
		return 0;
	report_error(
		"of %llu packets %llu were forwarded, %llu dropped or punted; %lld did not leave",
		(unsigned long long)n_received, (unsigned long long)n, (unsigned long long)n_other,
		(long long)n_under_way());
	return -EPROTO;
}

/* Runs pair->phase to its end, asleep. */
static int run_phase(struct pair *pair)
{
	struct phase *phase = &pair->phase;

	phase->n_sides = (uint32_t)(phase->is_in[0] + phase->is_in[1]);
	phase->n_warm = 0;
	phase->n_done = 0;
	phase->n_over = 0;
	pair->n_received = port_n_received(0) + port_n_received(1);
	engine_resume(&pair->engine);
	for (int i = 0; i < N_SIDES; i++) {
		pair->before[i] = pair->side[i].worker->counters;
		if (phase->is_in[i] && rte_eal_remote_launch(side_run, &pair->side[i],
							     pair->side[i].worker->lcore) != 0) {
			report_error("worker %d cannot be launched", i);
			return -EBUSY;
		}
	}
	for (uint32_t i = 0; i < phase->n_sides; i++)
		while (sem_wait(&pair->ended) != 0)
			;
	/* These have ended, or are about to: this spins, and may not do so before. */
	for (int i = 0; i < N_SIDES; i++)
		rte_eal_wait_lcore(pair->side[i].worker->lcore);
	return judge_phase(pair);
}

/* ---- the flows ---- */

static uint32_t owner_of(const struct pair *pair, uint32_t flow)
{
	const struct dataplane *dataplane = &pair->engine.dataplane;
	const struct steering *steering = dataplane->steering;
	struct sl_tuple tuple = traffic_tuple(&pair->traffic, flow);

	return steering
		->reta[0][steer_index(steering, &dataplane->flow_key, dataplane->snapshot, &tuple)];
}

static int side_open(struct pair *pair, struct side *side)
{
	size_t record_bytes = traffic_record_bytes(&pair->traffic);

	side->worker = pair->engine.dataplane.worker[side->number];
	side->traffic = pair->traffic;
	side->traffic.way = calloc(pair->n_all_flows, sizeof(*side->traffic.way));
	side->making.record = calloc(pair->n_all_flows, record_bytes);
	if (side->traffic.way == NULL || side->making.record == NULL)
		return -ENOMEM;
	for (uint32_t flow = 0; flow < pair->n_all_flows; flow++) {
		bool is_own = owner_of(pair, flow) == side->number;

		side->traffic.way[flow].is_left_out = !is_own;
		side->n_flows += is_own;
	}
	side->making.n = side->n_flows;
	return 0;
}

/* A packet of each flow of both, forwarded by its owner, all judged. */
static int make(struct pair *pair, void (*write)(const struct traffic *, uint32_t, uint8_t *))
{
	size_t record_bytes = traffic_record_bytes(&pair->traffic);

	for (int i = 0; i < N_SIDES; i++) {
		struct side *side = &pair->side[i];
		uint8_t *record = side->making.record;

		for (uint32_t flow = 0; flow < pair->n_all_flows; flow++) {
			if (side->traffic.way[flow].is_left_out)
				continue;
			write(&side->traffic, flow, record);
			record += record_bytes;
		}
		receive(side, &side->making);
	}
	for (int i = 0; i < N_SIDES; i++) {
		int status;

		pair->phase = (struct phase){.loop = LOOP_WORKER,
					     .is_in = {i == 0, i == 1},
					     .n_packets = pair->side[i].n_flows,
					     .watch_step = WATCH_ALL};
		status = run_phase(pair);
		if (status != 0)
			return status;
	}
	return 0;
}

static int make_flows(struct pair *pair)
{
	int status = make(pair, traffic_forward);

	if (status == 0)
		status = make(pair, traffic_reply);
	for (int i = 0; i < N_SIDES && status == 0; i++) {
		const struct flow_table *table = &pair->side[i].worker->flows4;

		if (table->n_used == pair->side[i].n_flows && table->n_embryonic == 0)
			continue;
		report_error("worker %d has %u flows of %u, %u of them not answered", i,
			     table->n_used, pair->side[i].n_flows, table->n_embryonic);
		status = -EPROTO;
	}
	return status;
}

/* Every packet of either direction and of any flow, of those that are meant, by chance. */
static int draw(struct pair *pair, struct side *side)
{
	struct sequence_options options = {.mix = SEQUENCE_MIXED,
					   .order = SEQUENCE_UNIFORM,
					   .seed = side->number,
					   .n_flows = pair->n_all_flows,
					   .n = N_RECORDS / pair->divisor};
	int status = sequence_new(&side->sequence, &side->traffic, &options);

	if (status != 0 || !pair->wanted->is_handoff)
		return status;
	return sequence_new(&side->scattered, &pair->traffic, &options);
}

static int draw_all(struct pair *pair)
{
	int status = 0;

	/* Who owns a flow knows its way. */
	for (int i = 0; i < N_SIDES; i++)
		for (uint32_t flow = 0; flow < pair->n_all_flows; flow++)
			if (!pair->side[i].traffic.way[flow].is_left_out)
				pair->traffic.way[flow] = pair->side[i].traffic.way[flow];
	for (int i = 0; i < N_SIDES && status == 0; i++)
		status = draw(pair, &pair->side[i]);
	return status;
}

/* ---- the rounds ---- */

/* Millions of frames a second, of all sides. */
static double mpps_of(const struct pair *pair)
{
	double mpps = 0;

	for (int i = 0; i < N_SIDES; i++)
		if (pair->phase.is_in[i])
			mpps += 1e3 / pair->side[i].each.cpu_ns;
	return mpps;
}

static double disturbed_percent(const struct pair *pair)
{
	double most = 0;

	for (int i = 0; i < N_SIDES; i++) {
		const struct events *each = &pair->side[i].each;

		if (pair->phase.is_in[i])
			most = fmax(most, 100 * (1 - each->cpu_ns / each->wall_ns));
	}
	return most;
}

/* Whether frames went from worker to worker where they had to, and only there. */
static int judge_handed(struct pair *pair, bool is_scattered, double *percent)
{
	uint64_t n_received = port_n_received(0) + port_n_received(1) - pair->n_received;
	uint64_t n_handed = n_events(pair, SL_EVENT_HANDOFF);

	*percent = 100.0 * (double)n_handed / (double)n_received;
	if (n_events(pair, SL_EVENT_FLOW_CREATED) != 0) {
		report_error("a packet made a flow that should have been there");
		return -EPROTO;
	}
	if (is_scattered ? *percent > LEAST_HANDED_PERCENT && *percent < MOST_HANDED_PERCENT
			 : n_handed == 0)
		return 0;
	report_error("%llu of %llu packets were handed to the other worker",
		     (unsigned long long)n_handed, (unsigned long long)n_received);
	return -EPROTO;
}

/* @alone: the only side; N_SIDES: both take part. */
static int measure_phase(struct pair *pair, enum loop loop, uint32_t alone, double *mpps)
{
	int status;

	pair->phase = (struct phase){.loop = loop,
				     .is_in = {alone != 1, alone != 0},
				     .n_lead = N_LEAD / pair->divisor,
				     .n_packets = N_PACKETS / pair->divisor,
				     .watch_step = loop == LOOP_WORKER ? pair->watch_step : 0};
	for (int i = 0; i < N_SIDES; i++)
		receive(&pair->side[i], pair->wanted->is_handoff && alone == N_SIDES
						? &pair->side[i].scattered
						: &pair->side[i].sequence);
	status = run_phase(pair);
	*mpps = mpps_of(pair);
	return status;
}

static int run_round(struct pair *pair, uint32_t round)
{
	struct figures *figures = &pair->figures;
	uint32_t alone = round % N_SIDES;
	double none;
	int status = measure_phase(pair, LOOP_WORKER, alone, &figures->one_mpps[round]);

	report_progress("round %u of %u", round + 1, pair->options->n_rounds);
	if (status == 0)
		status = judge_handed(pair, false, &none);
	if (status == 0)
		status = measure_phase(pair, LOOP_WORKER, N_SIDES, &figures->mpps[round]);
	if (status == 0)
		status = judge_handed(pair, pair->wanted->is_handoff, &figures->handed[round]);
	figures->disturbed[round] = disturbed_percent(pair);
	if (status == 0)
		status = measure_phase(pair, LOOP_SWAP, alone, &figures->swap_one_mpps[round]);
	if (status == 0)
		status = measure_phase(pair, LOOP_SWAP, N_SIDES, &figures->swap_mpps[round]);
	figures->speedup[round] = figures->mpps[round] / figures->one_mpps[round];
	figures->swap_speedup[round] = figures->swap_mpps[round] / figures->swap_one_mpps[round];
	return status;
}

/* ---- a case ---- */

const char *pair_case_name(uint32_t index)
{
	return index < SL_ARRAY_LEN(cases) ? cases[index].name : NULL;
}

static const struct pair_case *find_case(const char *name)
{
	for (size_t i = 0; i < SL_ARRAY_LEN(cases); i++)
		if (strcmp(cases[i].name, name) == 0)
			return &cases[i];
	return NULL;
}

bool pair_has_case(const char *name)
{
	return find_case(name) != NULL;
}

static int open_figures(struct figures *figures, size_t n)
{
	double **const each[] = {&figures->mpps,          &figures->one_mpps,
				 &figures->speedup,       &figures->swap_mpps,
				 &figures->swap_one_mpps, &figures->swap_speedup,
				 &figures->handed,        &figures->disturbed};

	figures->all = calloc(SL_ARRAY_LEN(each) * n, sizeof(*figures->all));
	if (figures->all == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < SL_ARRAY_LEN(each); i++)
		*each[i] = figures->all + i * n;
	return 0;
}

static int open_engine(struct pair *pair, int second_cpu)
{
	struct engine_options options = {.n_workers = N_SIDES,
					 .cpu = pair->options->cpu,
					 .second_cpu = second_cpu,
					 .n_flows = pair->options->is_quick ? QUICK_TABLE : TABLE,
					 .n_slots = SL_DEFAULT_SLOTS};
	int status;

	for (int i = 0; i < N_SIDES; i++)
		options.watch[i] = (struct port_watch){
			.context = &pair->side[i],
			.on_empty = on_empty,
			.on_sent = on_sent,
			.is_held_up = pair->wanted->is_handoff ? is_held_up : NULL};
	status = engine_open(&pair->engine, &options);
	if (status != 0)
		return status;
	pair->traffic = (struct traffic){.family = SL_FAMILY_IPV4,
					 .protocol = SL_PROTOCOL_UDP,
					 .n_services = 1,
					 .n_backends = N_BACKENDS,
					 .n_ways = pair->n_all_flows};
	pair->traffic.way = calloc(pair->n_all_flows, sizeof(*pair->traffic.way));
	if (pair->traffic.way == NULL)
		return -ENOMEM;
	traffic_init(&pair->traffic, pair->engine.dataplane.port[0].mac);
	return engine_commit(&pair->engine, &options, &pair->traffic, false);
}

static int run_pair(struct pair *pair)
{
	int second_cpu;
	int status = host_choose_cores(pair->options->cpu, &second_cpu);

	if (status == 0)
		status = open_figures(&pair->figures, pair->options->n_rounds);
	if (status == 0)
		status = open_engine(pair, second_cpu);
	for (int i = 0; i < N_SIDES && status == 0; i++)
		status = side_open(pair, &pair->side[i]);
	if (status == 0)
		status = make_flows(pair);
	if (status == 0)
		status = draw_all(pair);
	for (uint32_t round = 0; round < pair->options->n_rounds && status == 0; round++)
		status = run_round(pair, round);
	return status;
}

static void set(json_t *result, const char *key, double value)
{
	json_object_set_new(result, key, json_real(value));
}

static void write_result(struct pair *pair, json_t *result)
{
	struct figures *figures = &pair->figures;
	uint32_t n = pair->options->n_rounds;
	double mpps = report_median(figures->mpps, n);
	double swap_mpps = report_median(figures->swap_mpps, n);
	double balancer_ns = N_SIDES * 1e3 / mpps;

	set(result, "balancer_ns", balancer_ns);
	set(result, "balancer_best_ns", N_SIDES * 1e3 / figures->mpps[n - 1]);
	set(result, "swap_ns", N_SIDES * 1e3 / swap_mpps);
	set(result, "ratio", mpps / swap_mpps);
	set(result, "cycles", balancer_ns * (double)rte_get_tsc_hz() / 1e9);
	set(result, "mpps", mpps);
	set(result, "one_mpps", report_median(figures->one_mpps, n));
	set(result, "speedup", report_median(figures->speedup, n));
	set(result, "swap_mpps", swap_mpps);
	set(result, "swap_one_mpps", report_median(figures->swap_one_mpps, n));
	set(result, "swap_speedup", report_median(figures->swap_speedup, n));
	set(result, "handed_percent", report_median(figures->handed, n));
	set(result, "disturbed_percent", report_median(figures->disturbed, n));
	json_object_set_new(result, "flows", json_integer(pair->n_all_flows));
	json_object_set_new(
		result, "packets_judged",
		json_integer((json_int_t)(pair->side[0].n_judged + pair->side[1].n_judged)));
	json_object_set_new(result, "memory", json_string(pair->engine.memory));
}

static void close_pair(struct pair *pair)
{
	for (int i = 0; i < N_SIDES; i++) {
		sequence_free(&pair->side[i].sequence);
		sequence_free(&pair->side[i].scattered);
		free(pair->side[i].making.record);
		free(pair->side[i].traffic.way);
	}
	free(pair->traffic.way);
	free(pair->figures.all);
}

int pair_measure(const struct bench_options *options, const char *name, json_t *result)
{
	struct pair *pair = aligned_alloc(LINE_PAIR, sizeof(*pair));
	int status;

	if (pair == NULL)
		return -ENOMEM;
	memset(pair, 0, sizeof(*pair));
	pair->options = options;
	pair->wanted = find_case(name);
	pair->divisor = options->is_quick ? QUICK_DIVISOR : 1;
	pair->watch_step = options->is_quick ? WATCH_ALL : WATCH_SOME;
	pair->n_all_flows = options->is_quick ? QUICK_FLOWS : N_FLOWS;
	for (uint16_t i = 0; i < N_SIDES; i++)
		pair->side[i] = (struct side){.pair = pair, .number = i};
	sem_init(&pair->ended, 0, 0);
	status = run_pair(pair);
	if (status == 0)
		write_result(pair, result);
	close_pair(pair);
	sem_destroy(&pair->ended);
	free(pair);
	return status;
}
