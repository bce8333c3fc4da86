/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * Mode wire: Sluice as it is installed, on one core, and a generator on another, with vhost-user and
 * virtio-user between them: throughput, the rate without loss, latency at parts of it, and whether
 * every frame went where its flow belongs. Beside it, in each start, testpmd on the same link. A start
 * sets all up in a network namespace of its own, and takes it down.
 */
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sys/prctl.h>

#include "tests/bench/bench.h"
#include "tests/bench/bench_host.h"
#include "tests/bench/bench_link.h"
#include "tests/bench/bench_report.h"
#include "tests/bench/bench_signal.h"

enum {
	MEMORY_MB = 640, /* hugepages of a peer and the generator */
	DEFAULT_FLOWS = 4096,
	QUICK_FLOWS = 1024,
	DEFAULT_BACKENDS = 100,
	MAX_ROUNDS = 1000,
	SEARCH_TRIES = 3,
	N_LOADS = 2,
	N_QUANTILES = 5, /* the last is the largest value */
};

static const double LEAD_SEC = 0.05;
static const double DEFAULT_TRIAL_SEC = 1;
static const double QUICK_TRIAL_SEC = 0.05;

struct wire_case {
	const char *name;
	uint8_t family;
	bool is_fullnat;
	bool is_mixed;
	bool is_left_out; /* with --quick: the others have all that it has */
};

static const struct wire_case cases[] = {
	{"nat-forward", .family = SL_FAMILY_IPV4},
	{"nat-mixed", .family = SL_FAMILY_IPV4, .is_mixed = true},
	{"fullnat-forward", .family = SL_FAMILY_IPV4, .is_fullnat = true, .is_left_out = true},
	{"fullnat-mixed", .family = SL_FAMILY_IPV4, .is_fullnat = true, .is_mixed = true,
	 .is_left_out = true},
	{"ipv6-mixed", .family = SL_FAMILY_IPV6, .is_mixed = true, .is_left_out = true},
	{"ipv6-fullnat-mixed", .family = SL_FAMILY_IPV6, .is_fullnat = true, .is_mixed = true},
};

static const uint8_t load_percent[N_LOADS] = {50, 90};

static const struct quantile {
	const char *key;
	const char *title;
	double fraction;
} quantiles[N_QUANTILES] = {
	{"p50", "50 %", 0.5},       {"p90", "90 %", 0.9}, {"p99", "99 %", 0.99},
	{"p99_9", "99.9 %", 0.999}, {"max", "most", 1},
};

static const struct bench_column columns[] = {
	{"sluice_mpps", "Sluice, M/s", 2, true},
	{"testpmd_mpps", "testpmd, M/s", 2, true},
	{"throughput_ratio", "of testpmd", 2, true},
	{"sluice_zero_loss_mpps", "without loss", 2, true},
	{"testpmd_zero_loss_mpps", "testpmd's", 2, true},
	{"p99_ratio_50", "p99 at 50 %, of testpmd's", 2, true},
	{"p99_ratio_same_50", "at the same rate", 2, true},
	{"wrong", "wrong", 0, false},
	{"disturbed_percent", "disturbed, %", 1, false},
	{NULL, NULL, 0, false},
};

/** A start under way. */
struct run {
	const struct bench_options *options;
	const struct wire_case *wanted;
	struct link_options link;
	double trial_sec;
	int generator_cpu;
	struct host host;
	struct generator generator;
	struct histogram latency;
	double sluice_pps[N_LOADS]; /* at which its latency was measured */
	uint64_t n_wrong;
	json_t *result;
};

__attribute__((format(printf, 3, 4))) static void set(struct run *run, double value,
						      const char *format, ...)
{
	char key[64];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(key, sizeof(key), format, arguments);
	va_end(arguments);
	json_object_set_new(run->result, key, json_real(value));
}

static double get(const struct run *run, const char *key)
{
	return json_number_value(json_object_get(run->result, key));
}

/* ---- one peer's figures ---- */

/* As many frames as the link takes: the median of the rounds. */
static int measure_throughput(struct run *run, struct link *link, double *pps)
{
	const char *name = peer_name((enum peer_kind)link->peer.kind);
	struct trial trial = {.seconds = LEAD_SEC};
	struct trial_result result;
	double rate[MAX_ROUNDS], loss[MAX_ROUNDS], full[MAX_ROUNDS];
	uint32_t n = run->options->n_rounds;
	int status = link_try(link, &trial, &result);

	trial.seconds = run->trial_sec;
	for (uint32_t i = 0; i < n && status == 0; i++) {
		report_progress("%s: throughput, round %u of %u", name, i + 1, n);
		status = link_try(link, &trial, &result);
		rate[i] = (double)result.n_in_time / result.seconds;
		loss[i] = link_loss_percent(&result);
		full[i] = 100.0 * (double)result.n_refused / (double)result.n_turns;
	}
	if (status != 0)
		return status;
	*pps = report_median(rate, n);
	set(run, *pps / 1e6, "%s_mpps", name);
	set(run, report_median(loss, n), "%s_flood_loss_percent", name);
	/* Near 0: the generator could not do more, and the peer might have. */
	set(run, report_median(full, n), "%s_ring_full_percent", name);
	return 0;
}

/* At @pps: of each quantile the median of the rounds. @name: what the figures are called. */
static int measure_latency(struct run *run, struct link *link, const char *name, uint8_t percent,
			   double pps)
{
	const struct trial trial = {
		.pps = pps, .seconds = run->trial_sec, .latency = &run->latency};
	double value[N_QUANTILES][MAX_ROUNDS], loss[MAX_ROUNDS];
	double us = (double)run->generator.tsc_hz / 1e6;
	uint32_t n = run->options->n_rounds;

	for (uint32_t i = 0; i < n; i++) {
		struct trial_result result;
		int status;

		report_progress("%s: latency at %u %%, %.2f M/s, round %u of %u", name, percent,
				pps / 1e6, i + 1, n);
		histogram_reset(&run->latency);
		status = link_try(link, &trial, &result);
		if (status != 0)
			return status;
		for (int j = 0; j < N_QUANTILES - 1; j++)
			value[j][i] =
				(double)histogram_value_at(&run->latency, quantiles[j].fraction) /
				us;
		value[N_QUANTILES - 1][i] = (double)run->latency.max / us;
		loss[i] = link_loss_percent(&result);
	}
	for (int j = 0; j < N_QUANTILES; j++)
		set(run, report_median(value[j], n), "%s_%s_us_%u", name, quantiles[j].key,
		    percent);
	set(run, pps / 1e6, "%s_latency_mpps_%u", name, percent);
	set(run, report_median(loss, n), "%s_latency_loss_percent_%u", name, percent);
	return 0;
}

/* At parts of its own rate without loss, and testpmd at those of Sluice, too. */
static int measure_latencies(struct run *run, struct link *link, double whole_pps)
{
	bool is_sluice = link->peer.kind == PEER_SLUICE;
	const char *name = peer_name((enum peer_kind)link->peer.kind);

	for (int i = 0; i < N_LOADS; i++) {
		double pps = whole_pps * load_percent[i] / 100;
		int status = 0;

		if (pps > 0)
			status = measure_latency(run, link, name, load_percent[i], pps);
		if (is_sluice)
			run->sluice_pps[i] = pps;
		else if (status == 0 && run->sluice_pps[i] > 0)
			status = measure_latency(run, link, "testpmd_same", load_percent[i],
						 run->sluice_pps[i]);
		if (status != 0)
			return status;
	}
	return 0;
}

/* What others had of a core. */
static double disturbed_percent(double seconds, double cpu_seconds)
{
	return seconds > 0 ? fmax(0, 100 * (1 - cpu_seconds / seconds)) : 0;
}

static void keep_totals(struct run *run, const struct link *link, const char *name)
{
	set(run, (double)link->n_received, "%s_received", name);
	set(run, (double)link->n_judged, "%s_judged", name);
	set(run, (double)link->n_overtaken, "%s_overtaken", name);
	set(run, link->largest_gap_us, "%s_largest_gap_us", name);
	set(run, disturbed_percent(link->seconds, link->cpu_seconds),
	    "%s_generator_disturbed_percent", name);
	set(run, disturbed_percent(link->peer_seconds, link->peer_cpu_seconds),
	    "%s_disturbed_percent", name);
	run->n_wrong += link->n_wrong;
}

static int keep_counters(struct run *run, struct link *link)
{
	json_t *counters = NULL;
	int status = peer_count(&link->peer, &counters);

	if (counters != NULL)
		json_object_set_new(run->result, "sluice_counters", counters);
	return status;
}

static int measure_link(struct run *run, struct link *link)
{
	const char *name = peer_name((enum peer_kind)link->peer.kind);
	struct search search = {.seconds = run->trial_sec,
				.loss_ppm = run->options->loss_ppm,
				.n_tries = run->options->is_quick ? 1 : SEARCH_TRIES};
	int status = measure_throughput(run, link, &search.highest);

	if (status == 0)
		status = link_search(link, &search);
	if (status != 0)
		return status;
	set(run, search.pps / 1e6, "%s_zero_loss_mpps", name);
	set(run, search.n_repeated, "%s_trials_repeated", name);
	if (search.pps == 0)
		report_error("%s: loses frames at any rate; latency is taken at parts of its "
			     "throughput",
			     name);
	status = measure_latencies(run, link, search.pps != 0 ? search.pps : search.highest);
	keep_totals(run, link, name);
	if (status == 0)
		status = keep_counters(run, link);
	if (status != 0 || link->n_received != 0)
		return status;
	report_error("%s: no frame came back", name);
	return -EIO;
}

static int measure_peer(struct run *run, enum peer_kind kind)
{
	struct link link;
	int status = link_open(&link, &run->generator, kind, &run->link);

	if (status == 0)
		status = measure_link(run, &link);
	link_close(&link);
	return status;
}

/* ---- a start ---- */

static void compare(struct run *run)
{
	set(run, get(run, "sluice_mpps") / get(run, "testpmd_mpps"), "throughput_ratio");
	set(run, get(run, "sluice_p99_us_50") / get(run, "testpmd_p99_us_50"), "p99_ratio_50");
	set(run, get(run, "sluice_p99_us_50") / get(run, "testpmd_same_p99_us_50"),
	    "p99_ratio_same_50");
}

/* Either core, beside either peer. */
static double most_disturbed(const struct run *run)
{
	return fmax(fmax(get(run, "sluice_disturbed_percent"),
			 get(run, "sluice_generator_disturbed_percent")),
		    fmax(get(run, "testpmd_disturbed_percent"),
			 get(run, "testpmd_generator_disturbed_percent")));
}

static int run_start(struct run *run)
{
	bool has_testpmd = peer_is_there(PEER_TESTPMD);
	int status = peer_is_there(PEER_SLUICE) ? 0 : -ENOENT;

	if (status == 0)
		status = host_open(&run->host, MEMORY_MB);
	run->link.peer.folder = run->host.folder;
	if (status == 0)
		status = generator_open(&run->generator, run->generator_cpu, run->host.folder);
	if (status == 0) {
		status = measure_peer(run, PEER_SLUICE);
		if (status == 0 && has_testpmd)
			status = measure_peer(run, PEER_TESTPMD);
		generator_close(&run->generator);
	}
	if (status == 0 && has_testpmd)
		compare(run);
	set(run, (double)run->n_wrong, "wrong");
	set(run, most_disturbed(run), "disturbed_percent");
	host_close(&run->host);
	return status;
}

static const char *case_name(uint32_t index)
{
	return index < SL_ARRAY_LEN(cases) ? cases[index].name : NULL;
}

static bool is_left_out(uint32_t index)
{
	return cases[index].is_left_out;
}

static const struct wire_case *find_case(const char *name)
{
	for (size_t i = 0; i < SL_ARRAY_LEN(cases); i++)
		if (strcmp(cases[i].name, name) == 0)
			return &cases[i];
	return NULL;
}

static int measure(const struct bench_options *options, const char *name, json_t *result)
{
	struct run *run = calloc(1, sizeof(*run));
	int status = run == NULL ? -ENOMEM : host_choose_cores(options->cpu, &run->generator_cpu);

	if (status != 0)
		goto out;
	/* Whoever started this one may be killed: then, too, all is to be taken down. */
	signal_hold();
	/* DPDK writes to the peer's socket, and the peer may be dead. */
	signal(SIGPIPE, SIG_IGN);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	process_remember_cores();
	run->options = options;
	run->result = result;
	run->wanted = find_case(name);
	run->trial_sec = options->trial_sec != 0 ? options->trial_sec
			 : options->is_quick     ? QUICK_TRIAL_SEC
						 : DEFAULT_TRIAL_SEC;
	run->link.peer.cpu = options->cpu;
	run->link.peer.other_cpu = run->generator_cpu;
	run->link.peer.n_flows = options->n_flows != 0 ? options->n_flows
				 : options->is_quick   ? QUICK_FLOWS
						       : DEFAULT_FLOWS;
	run->link.peer.n_backends =
		options->n_backends != 0 ? options->n_backends : DEFAULT_BACKENDS;
	if (run->wanted == NULL) {
		report_error("no such case of mode wire; --list tells");
		status = -ENOENT;
		goto out;
	}
	run->link.peer.family = run->wanted->family;
	run->link.peer.is_fullnat = run->wanted->is_fullnat;
	run->link.is_mixed = run->wanted->is_mixed;
	run->link.is_realtime = options->is_realtime;
	status = run_start(run);
	if (status == -EINTR)
		report_error("interrupted");
out:
	free(run);
	return status;
}

/* ---- latencies, as a table of their own ---- */

static const struct {
	const char *key;
	const char *title;
} rows[] = {
	{"sluice", "Sluice"},
	{"testpmd_same", "testpmd, same rate"},
	{"testpmd", "testpmd"},
};

static double median_of(const json_t *result, const char *name, const char *key, uint8_t percent)
{
	char text[64];

	snprintf(text, sizeof(text), "%s_%s_%u", name, key, percent);
	return json_number_value(json_object_get(json_object_get(result, text), "median"));
}

static void print_latency(const json_t *result, size_t row, uint8_t percent)
{
	const char *name = rows[row].key;
	char key[32];

	if (median_of(result, name, "latency_mpps", percent) == 0)
		return;
	printf("| %s, %s, %u %% | %.2f |", json_string_value(json_object_get(result, "name")),
	       rows[row].title, percent, median_of(result, name, "latency_mpps", percent));
	for (int i = 0; i < N_QUANTILES; i++) {
		snprintf(key, sizeof(key), "%s_us", quantiles[i].key);
		printf(" %.1f |", median_of(result, name, key, percent));
	}
	printf(" %.4f |\n", median_of(result, name, "latency_loss_percent", percent));
}

static void print_details(const json_t *all)
{
	size_t i;
	json_t *result;

	printf("\n| latency, us, at a part of the rate without loss | M/s |");
	for (int j = 0; j < N_QUANTILES; j++)
		printf(" %s |", quantiles[j].title);
	printf(" lost, %% |\n|---|---|---|---|---|---|---|---|\n");
	json_array_foreach(all, i, result)
	{
		for (int j = 0; j < N_LOADS; j++)
			for (size_t row = 0; row < SL_ARRAY_LEN(rows); row++)
				print_latency(result, row, load_percent[j]);
	}
}

const struct bench_mode bench_wire = {
	.name = "wire",
	.help = "Sluice and testpmd over vhost-user: throughput, rate without loss, latency",
	.n_rounds = 3,
	.column = columns,
	.case_name = case_name,
	.is_left_out = is_left_out,
	.measure = measure,
	.print_details = print_details,
};
