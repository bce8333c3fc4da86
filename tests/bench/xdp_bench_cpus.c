/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * See xdp_bench_cpus.h. All tables are there and full at the same time, and the arrangements are
 * measured in turn, so that a ratio is one of neighbouring runs.
 */
#include "xdp_bench_cpus.h"

#include <stdio.h>
#include <unistd.h>

#include "xdp_bench_sides.h"
#include "xdp_bench_tool.h"
#include "xdp_bench_traffic.h"

enum {
	BUSY = 16,  /* flows not made: their bucket was locked by a CPU that others had taken */
	TRIES = 10, /* of a run, until */
	AT_ONCE_PERCENT = 90,
	IPV6_FLOWS = 16,       /* that the tables are made for; there are none */
	FIRST_SEQUENCE = 3000, /* later than those that the flows were opened with */
	CLOCK_STEPS = 8192,    /* at most, while as many packets are sent as there are flows */
};

/** Whose tables, and which flows a CPU has to do with. */
enum arrangement {
	ALONE = 0, /* one CPU, all flows */
	SHARED_OWN, /* one table; a flow's packets come to one CPU: RSS the same for both directions */
	SHARED_ALL, /* one table; a flow's packets come to any CPU, its directions to different ones */
	SEPARATE, /* a program and tables for each CPU; a flow's packets come to the one that has it */
	N_ARRANGEMENTS,
};

static const char *const arrangement_name[N_ARRANGEMENTS] = {
	[ALONE] = "alone",
	[SHARED_OWN] = "shared, own flows",
	[SHARED_ALL] = "shared, all flows",
	[SEPARATE] = "separate",
};

static const char *const arrangement_key[N_ARRANGEMENTS] = {
	[ALONE] = "alone",
	[SHARED_OWN] = "shared_own",
	[SHARED_ALL] = "shared_all",
	[SEPARATE] = "separate",
};

struct samples {
	double empty[N_ARRANGEMENTS][MAX_RUNS];
	double ours[N_ARRANGEMENTS][MAX_RUNS];
	double cost[N_ARRANGEMENTS][MAX_RUNS];
	double at_once[N_ARRANGEMENTS][MAX_RUNS];
};

struct bench_cpus {
	const struct tool *tool;
	struct program shared;
	struct program separate[XDP_BENCH_CPUS];
	int first_cpu;
	int n_rows;
};

/** Flows of each CPU where it has its own, of @n_flows. */
static uint32_t share_of(const struct bench_cpus *cpus, uint32_t n_flows)
{
	uint32_t n_cpus = (uint32_t)cpus->tool->n_cpus;

	return n_flows / XDP_BENCH_SERVICES / n_cpus * XDP_BENCH_SERVICES;
}

static const struct program *program_of(const struct bench_cpus *cpus, enum arrangement arrangement,
					int i)
{
	return arrangement == SEPARATE ? &cpus->separate[i] : &cpus->shared;
}

static int n_programs(const struct bench_cpus *cpus, enum arrangement arrangement)
{
	return arrangement == SEPARATE ? cpus->tool->n_cpus : 1;
}

/* Which flows CPU @i is to draw from, of @n_flows in all, and of which direction. */
static void aim_side(const struct bench_cpus *cpus, const struct traffic *traffic,
		     enum arrangement arrangement, int i, uint32_t n_flows)
{
	bool is_own = arrangement == SHARED_OWN || arrangement == SEPARATE;
	struct xdp_bench_cursor *cursor =
		program_cursor(program_of(cpus, arrangement, i), cpus->first_cpu + i);

	cursor->next = 0;
	cursor->n_flows = is_own ? share_of(cpus, n_flows) : n_flows;
	cursor->first = is_own ? (uint32_t)i : 0;
	cursor->stride = is_own ? (uint32_t)cpus->tool->n_cpus : 1;
	/* So each CPU is the only one that writes its side's sequence number (if there are two). */
	if (arrangement == SHARED_ALL && traffic->is_both) {
		cursor->is_reply = i & 1;
		cursor->is_turning = 0;
	}
}

static void set_clocks(const struct program *program, uint64_t clock)
{
	for (int i = 0; i < XDP_BENCH_CPUS; i++)
		program_cursor(program, i)->clock = clock;
}

/** The clock of the CPU that is furthest. */
static uint64_t clock_of(const struct program *program)
{
	uint64_t latest = 0;

	for (int i = 0; i < XDP_BENCH_CPUS; i++)
		if (program_cursor(program, i)->clock > latest)
			latest = program_cursor(program, i)->clock;
	return latest;
}

static uint64_t n_right(const struct bench_cpus *cpus, const struct traffic *traffic,
			enum arrangement arrangement)
{
	uint64_t sum = 0;

	for (int i = 0; i < n_programs(cpus, arrangement); i++)
		sum += traffic_n_right(traffic, program_of(cpus, arrangement, i));
	return sum;
}

static void empty_tables(const struct bench_cpus *cpus, enum arrangement arrangement)
{
	for (int i = 0; i < n_programs(cpus, arrangement); i++)
		program_empty_table(program_of(cpus, arrangement, i), SL_FAMILY_IPV4);
}

static uint64_t n_flows_in(const struct bench_cpus *cpus, enum arrangement arrangement)
{
	uint64_t sum = 0;

	for (int i = 0; i < n_programs(cpus, arrangement); i++)
		sum += program_n_flows(program_of(cpus, arrangement, i), SL_FAMILY_IPV4);
	return sum;
}

/* Sets what the sides have in common. The number of packets that all of them will send. */
static uint64_t prepare(const struct bench_cpus *cpus, const struct traffic *traffic,
			enum arrangement arrangement, uint32_t n_flows, struct side *side,
			int n_sides)
{
	uint32_t n_repeats = (uint32_t)cpus->tool->n_repeats;
	uint32_t n = traffic->is_sequential ? n_flows / (uint32_t)n_sides : n_repeats;
	uint32_t n_warm = n_flows < n_repeats ? n_flows : n_repeats;
	/* The last CPU is alone: the first one has most of the interrupts. */
	int first = cpus->tool->n_cpus - n_sides;

	if (traffic->is_sequential)
		n_warm = 0;
	for (int i = 0; i < n_sides; i++) {
		side[i].program = program_of(cpus, arrangement, first + i);
		side[i].cpu = cpus->first_cpu + first + i;
		side[i].n = n;
		side[i].n_warm = n_warm;
		aim_side(cpus, traffic, arrangement, first + i, n_flows);
	}
	return (uint64_t)n_sides * (n + n_warm);
}

/** One run. @n_flows: in all; of new ones a multiple of share_of(). */
static struct sample measure_once(const struct bench_cpus *cpus, const struct traffic *traffic,
				  enum arrangement arrangement, uint32_t n_flows)
{
	int n_sides = arrangement == ALONE ? 1 : cpus->tool->n_cpus;
	struct side side[XDP_BENCH_CPUS] = {0};
	struct sample sample;
	struct frame frame;
	uint64_t n_sent;
	uint64_t before;
	uint64_t right;

	if (traffic->is_sequential)
		empty_tables(cpus, arrangement);
	for (int i = 0; i < n_programs(cpus, arrangement); i++) {
		const struct program *program = program_of(cpus, arrangement, i);

		traffic_begin(traffic, program, &frame);
		set_clocks(program, clock_of(program));
	}
	for (int i = 0; i < n_sides; i++)
		side[i].frame = &frame;
	n_sent = prepare(cpus, traffic, arrangement, n_flows, side, n_sides);
	before = n_right(cpus, traffic, arrangement);
	sample = sides_run(side, n_sides);
	right = n_right(cpus, traffic, arrangement) - before;
	if (right != n_sent)
		fail("%s, %s: %lu of %lu packets ended as they should", traffic->name,
		     arrangement_name[arrangement], right, n_sent);
	if (n_flows_in(cpus, arrangement) + BUSY + n_flows / FEW < n_flows)
		fail("%s, %s: %lu flows, not %u", traffic->name, arrangement_name[arrangement],
		     n_flows_in(cpus, arrangement), n_flows);
	return sample;
}

/* Where others take a CPU from us, the other CPU runs alone meanwhile: such a run is done again. */
static struct sample measure_undisturbed(const struct bench_cpus *cpus,
					 const struct traffic *traffic,
					 enum arrangement arrangement, uint32_t n_flows)
{
	struct sample best = {0};

	for (int i = 0; i < TRIES && best.at_once < AT_ONCE_PERCENT / 100.0; i++) {
		struct sample sample = measure_once(cpus, traffic, arrangement, n_flows);

		if (sample.at_once > best.at_once)
			best = sample;
	}
	return best;
}

static void keep(struct samples *samples, enum arrangement arrangement, int i,
		 const struct sample *sample)
{
	samples->empty[arrangement][i] = sample->empty_ns;
	samples->ours[arrangement][i] = sample->ours_ns;
	samples->cost[arrangement][i] = sample->ours_ns - sample->empty_ns;
	samples->at_once[arrangement][i] = sample->at_once;
}

/** The median of what @over costs, each time divided by what @under did. */
static double ratio(const struct samples *samples, enum arrangement over, enum arrangement under,
		    int n_runs)
{
	double value[MAX_RUNS];

	for (int i = 0; i < n_runs; i++)
		value[i] = samples->cost[over][i] / samples->cost[under][i];
	return median(value, n_runs);
}

static void print_row(struct bench_cpus *cpus, const char *name, uint32_t n_flows,
		      struct samples *samples, enum arrangement arrangement, const double *to)
{
	int n = cpus->tool->n_runs;
	double cost = median(samples->cost[arrangement], n);
	double at_once = 100 * median(samples->at_once[arrangement], n);
	double least;

	median(samples->empty[arrangement], n);
	median(samples->ours[arrangement], n);
	least = samples->ours[arrangement][0] - samples->empty[arrangement][0];
	progress_end();
	if (cpus->tool->is_json)
		printf("%s{\"packet\":\"%s\",\"flows\":%u,\"tables\":\"%s\",\"cost_ns\":%.1f,"
		       "\"cost_min_ns\":%.1f,\"to_alone\":%.3f,\"to_shared\":%.3f,"
		       "\"at_once_percent\":%.0f}",
		       cpus->n_rows > 0 ? ",\n" : "", name, n_flows, arrangement_key[arrangement],
		       cost, least, to[ALONE], to[SHARED_OWN], at_once);
	else
		printf("| %s | %u | %s | **%.1f** | %.1f | %.2f | %.2f | %.0f %% |\n", name,
		       n_flows, arrangement_name[arrangement], cost, least, to[ALONE],
		       to[SHARED_OWN], at_once);
	fflush(stdout);
	cpus->n_rows++;
}

/* @has_all: SHARED_ALL was measured. */
static void print_rows(struct bench_cpus *cpus, const char *name, uint32_t n_flows,
		       struct samples *samples, bool has_all)
{
	double to[N_ARRANGEMENTS][N_ARRANGEMENTS];

	for (int a = 0; a < N_ARRANGEMENTS; a++) {
		to[a][ALONE] = ratio(samples, a, ALONE, cpus->tool->n_runs);
		to[a][SHARED_OWN] = ratio(samples, a, SHARED_OWN, cpus->tool->n_runs);
	}
	for (int a = 0; a < N_ARRANGEMENTS; a++)
		if (a != SHARED_ALL || has_all)
			print_row(cpus, name, n_flows, samples, a, to[a]);
}

/** @traffic: packets of flows that are there, or each one a new flow's. @n_flows: in all. */
static void measure(struct bench_cpus *cpus, const struct traffic *traffic, uint32_t n_flows)
{
	struct samples samples = {0};

	progress(traffic->name, n_flows);
	for (int i = 0; i < cpus->tool->n_runs; i++)
		for (int a = 0; a < N_ARRANGEMENTS; a++) {
			struct sample sample;

			if (a == SHARED_ALL && traffic->is_sequential)
				continue;
			sample = measure_undisturbed(cpus, traffic, a, n_flows);
			keep(&samples, a, i, &sample);
		}
	print_rows(cpus, traffic->name, n_flows, &samples, !traffic->is_sequential);
}

static void check_written(const struct program *program, const struct traffic *traffic)
{
	uint32_t now = (uint32_t)(clock_of(program) >> traffic->clock_shift);

	if (program_greatest_lag(program, now) >= SL_FLOW_SEQUENCE_WINDOW)
		fail("%s: there is a flow that is written no more", traffic->name);
}

/**
 * As a connection with data in both directions: each packet has a later sequence number than the one
 * before, and the flow is written. The number goes on slowly enough that no flow, however seldom it
 * is drawn, leaves the window, and fast enough that hardly one is drawn twice with the same.
 */
static void measure_written(struct bench_cpus *cpus, const struct traffic *forward,
			    uint32_t n_flows)
{
	struct traffic traffic = *forward;

	traffic.name = "IPv4 TCP, both ways, written";
	traffic.is_both = 1;
	traffic.is_advancing = 1;
	while (n_flows >> traffic.clock_shift > CLOCK_STEPS)
		traffic.clock_shift++;
	for (int a = SHARED_OWN; a < N_ARRANGEMENTS; a++)
		for (int i = 0; i < n_programs(cpus, a); i++)
			set_clocks(program_of(cpus, a, i),
				   (uint64_t)FIRST_SEQUENCE << traffic.clock_shift);
	measure(cpus, &traffic, n_flows);
	for (int a = SHARED_OWN; a < N_ARRANGEMENTS; a++)
		for (int i = 0; i < n_programs(cpus, a); i++)
			check_written(program_of(cpus, a, i), &traffic);
}

static void measure_established(struct bench_cpus *cpus, uint32_t n_flows)
{
	struct traffic traffic = {
		.name = "IPv4 TCP, forward", .family = SL_FAMILY_IPV4, .protocol = SL_PROTOCOL_TCP};
	uint32_t share = share_of(cpus, n_flows);
	uint32_t n_cpus = (uint32_t)cpus->tool->n_cpus;

	program_aim(&cpus->shared, n_flows, 0, 1);
	traffic_open_flows(&traffic, &cpus->shared, n_flows);
	for (uint32_t i = 0; i < n_cpus; i++) {
		program_aim(&cpus->separate[i], share, i, n_cpus);
		traffic_open_flows(&traffic, &cpus->separate[i], share);
	}
	traffic.tcp_flags = SL_TCP_ACK;
	traffic.sequence = 1001;
	traffic.acknowledgement = 2001;
	measure(cpus, &traffic, n_flows);
	measure_written(cpus, &traffic, n_flows);
}

static void measure_new(struct bench_cpus *cpus, uint8_t protocol, const char *name,
			uint32_t n_flows)
{
	const struct traffic traffic = {.name = name,
					.family = SL_FAMILY_IPV4,
					.protocol = protocol,
					.is_sequential = 1,
					.tcp_flags = SL_TCP_SYN};

	measure(cpus, &traffic, share_of(cpus, n_flows) * (uint32_t)cpus->tool->n_cpus);
}

static void load_all(struct bench_cpus *cpus)
{
	const struct tool *tool = cpus->tool;
	int n_cpus = tool->n_cpus;

	program_load(&cpus->shared, tool->ifindex, tool->table_flows, IPV6_FLOWS);
	program_attach(&cpus->shared, n_cpus);
	for (int i = 0; i < n_cpus; i++) {
		program_load(&cpus->separate[i], tool->ifindex,
			     tool->table_flows / (uint32_t)n_cpus, IPV6_FLOWS);
		program_attach(&cpus->separate[i], i);
	}
}

void cpus_measure_all(const struct tool *tool)
{
	static const uint32_t sizes[] = {1024, 65536, 1000000};
	static struct bench_cpus cpus;
	uint32_t n_new =
		tool->n_repeats < tool->max_flows ? (uint32_t)tool->n_repeats : tool->max_flows;

	cpus = (struct bench_cpus){
		.tool = tool,
		.first_cpu = (int)sysconf(_SC_NPROCESSORS_ONLN) - tool->n_cpus,
	};
	load_all(&cpus);
	for (size_t i = 0; i < SL_ARRAY_LEN(sizes) && sizes[i] <= tool->max_flows; i++)
		if (is_wanted(tool, "IPv4 TCP"))
			measure_established(&cpus, sizes[i]);
	if (is_wanted(tool, "IPv4 TCP"))
		measure_new(&cpus, SL_PROTOCOL_TCP, "IPv4 TCP, new flow", n_new);
	if (is_wanted(tool, "IPv4 UDP"))
		measure_new(&cpus, SL_PROTOCOL_UDP, "IPv4 UDP, new flow", n_new);
	program_free(&cpus.shared);
	for (int i = 0; i < tool->n_cpus; i++)
		program_free(&cpus.separate[i]);
}
