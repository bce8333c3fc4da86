/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * sluice-bench: what Sluice costs, by one command. This file has the command line and the table of
 * modes; a mode is one file, bench_MODE.c. Exit status: 0 all cases ran and every packet had the right
 * verdict, 1 not so, 2 wrong usage.
 */
#include <errno.h>
#include <getopt.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/bench/bench_report.h"
#include "tests/bench/bench_starts.h"

enum {
	DEFAULT_ROUNDS = 15,
	DEFAULT_STARTS = 3,
	QUICK_ROUNDS = 3,
	MAX_ROUNDS = 1000,
	MAX_STARTS = 100,
	MAX_FLOWS = 100000,
	MAX_BACKENDS = 500,
	MAX_LOSS_PPM = 100000,
	EXIT_USAGE = 2,
};

static const double MIN_TRIAL_SEC = 0.01;
static const double MAX_TRIAL_SEC = 3600;

static const struct bench_mode *const modes[] = {&bench_worker, &bench_table, &bench_wire,
						 &bench_commit};

static const struct option long_options[] = {
	{"backends", required_argument, NULL, 'b'},
	{"cpu", required_argument, NULL, 'c'},
	{"flows", required_argument, NULL, 'f'},
	{"help", no_argument, NULL, 'h'},
	{"json", optional_argument, NULL, 'j'},
	{"list", no_argument, NULL, 'l'},
	{"one", required_argument, NULL, '1'},
	{"loss", required_argument, NULL, 'p'},
	{"only", required_argument, NULL, 'o'},
	{"quick", no_argument, NULL, 'q'},
	{"realtime", no_argument, NULL, 'R'},
	{"rounds", required_argument, NULL, 'r'},
	{"starts", required_argument, NULL, 's'},
	{"trial", required_argument, NULL, 't'},
	{NULL, 0, NULL, 0},
};

static void print_help(void)
{
	printf("usage: sluice-bench MODE [options]\n\nmodes:\n");
	for (size_t i = 0; i < SL_ARRAY_LEN(modes); i++)
		printf("  %-8s %s\n", modes[i]->name, modes[i]->help);
	printf("\noptions:\n"
	       "  --only TEXT     the case of this name, or those with TEXT in their names\n"
	       "  --rounds N      rounds in a process, of which the median is taken (%d; wire: 3)\n"
	       "  --starts N      processes a case, of whose medians the median is taken (%d)\n"
	       "  --cpu N         the core to run on (the last one)\n"
	       "  --json [FILE]   a JSON document, to FILE too, or to standard output alone\n"
	       "  --flows N       mode wire: flows (4096)\n"
	       "  --backends N    mode wire: backends of the service (100)\n"
	       "  --trial SEC     mode wire: seconds of a trial (1)\n"
	       "  --loss PPM      mode wire: frames of a million that may be lost (none)\n"
	       "  --realtime      mode wire, two workers: others wait while it measures\n"
	       "  --quick         tiny cases: shows that all works, not how fast\n"
	       "  --one CASE      measure one case in this very process\n"
	       "  --list          print the names of the cases\n"
	       "  --help          this\n",
	       DEFAULT_ROUNDS, DEFAULT_STARTS);
}

static const struct bench_mode *find_mode(const char *name)
{
	for (size_t i = 0; i < SL_ARRAY_LEN(modes); i++)
		if (strcmp(modes[i]->name, name) == 0)
			return modes[i];
	return NULL;
}

/* The last core that we may use: the first is the one that interrupts like. */
static int last_cpu(void)
{
	cpu_set_t allowed;

	if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0)
		return 0;
	for (int cpu = CPU_SETSIZE - 1; cpu > 0; cpu--)
		if (CPU_ISSET((size_t)cpu, &allowed))
			return cpu;
	return 0;
}

static bool read_number(const char *name, const char *text, long lowest, long highest, long *value)
{
	char *end;

	errno = 0;
	*value = strtol(text, &end, 10);
	if (errno == 0 && end != text && *end == '\0' && *value >= lowest && *value <= highest)
		return true;
	report_error("--%s: %s is no number from %ld to %ld", name, text, lowest, highest);
	return false;
}

static bool read_count(const char *name, uint32_t highest, uint32_t *count)
{
	long value;

	if (!read_number(name, optarg, 1, (long)highest, &value))
		return false;
	*count = (uint32_t)value;
	return true;
}

static bool read_seconds(const char *name, double highest, double *seconds)
{
	char *end;

	errno = 0;
	*seconds = strtod(optarg, &end);
	if (errno == 0 && end != optarg && *end == '\0' && *seconds >= MIN_TRIAL_SEC &&
	    *seconds <= highest)
		return true;
	report_error("--%s: %s is no number from %g to %g", name, optarg, MIN_TRIAL_SEC, highest);
	return false;
}

static bool read_option(int option, struct bench_options *options)
{
	long value = 0;

	switch (option) {
	case '1':
		options->one = optarg;
		return true;
	case 'o':
		options->only = optarg;
		return true;
	case 'j':
		options->json = optarg != NULL ? optarg : "-";
		return true;
	case 'q':
		options->is_quick = true;
		return true;
	case 'R':
		options->is_realtime = true;
		return true;
	case 'c':
		if (!read_number("cpu", optarg, 0, CPU_SETSIZE - 1, &value))
			return false;
		options->cpu = (int)value;
		return true;
	case 'r':
		return read_count("rounds", MAX_ROUNDS, &options->n_rounds);
	case 's':
		return read_count("starts", MAX_STARTS, &options->n_starts);
	case 'b':
		return read_count("backends", MAX_BACKENDS, &options->n_backends);
	case 'f':
		return read_count("flows", MAX_FLOWS, &options->n_flows);
	case 'p':
		return read_count("loss", MAX_LOSS_PPM, &options->loss_ppm);
	case 't':
		return read_seconds("trial", MAX_TRIAL_SEC, &options->trial_sec);
	default:
		return false;
	}
}

/* Whether to go on; else *@status is the program's. */
static bool read_command(int argc, char **argv, const struct bench_mode **mode,
			 struct bench_options *options, int *status)
{
	const char *name;
	int option;

	*status = EXIT_USAGE;
	if (argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
		print_help();
		*status = EXIT_SUCCESS;
		return false;
	}
	*mode = argc > 1 ? find_mode(argv[1]) : NULL;
	if (*mode == NULL) {
		report_error("%s: no such mode; --help tells", argc > 1 ? argv[1] : "needs a mode");
		return false;
	}
	optind = 2;
	while ((option = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
		if (option == 'h' || option == 'l') {
			for (uint32_t i = 0; option == 'l' && (name = (*mode)->case_name(i)); i++)
				printf("%s\n", name);
			if (option == 'h')
				print_help();
			*status = EXIT_SUCCESS;
			return false;
		}
		if (!read_option(option, options))
			return false;
		/* The file may be the next argument. */
		if (option == 'j' && optarg == NULL && optind < argc && argv[optind][0] != '-')
			options->json = argv[optind++];
	}
	if (optind == argc)
		return true;
	report_error("%s: no such option; --help tells", argv[optind]);
	return false;
}

/* One case, in this process, for starts_run() or for a profiler. */
static int run_one(const struct bench_mode *mode, const struct bench_options *options)
{
	json_t *result = json_object();
	int status;

	report_about(options->one);
	status = mode->measure(options, options->one, result);

	if (status == 0 &&
	    (json_dumpf(result, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(6)) != 0 ||
	     fputc('\n', stdout) == EOF || fflush(stdout) != 0))
		status = -EIO;
	json_decref(result);
	return status;
}

static int run_all(const struct bench_mode *mode, const struct bench_options *options)
{
	json_t *cases = json_array();
	int status = starts_run(mode, options, cases);
	bool is_table = options->json == NULL || strcmp(options->json, "-") != 0;

	if (json_array_size(cases) != 0 && is_table) {
		report_table(mode, cases);
		if (mode->print_details != NULL)
			mode->print_details(cases);
	}
	if (options->json != NULL && report_json(mode, options, cases) != 0)
		status = -EIO;
	json_decref(cases);
	return status;
}

int main(int argc, char **argv)
{
	struct bench_options options = {.cpu = -1};
	const struct bench_mode *mode;
	int status;

	if (!read_command(argc, argv, &mode, &options, &status))
		return status;
	if (options.cpu < 0)
		options.cpu = last_cpu();
	if (options.n_rounds == 0)
		options.n_rounds = options.is_quick      ? QUICK_ROUNDS
				   : mode->n_rounds != 0 ? mode->n_rounds
							 : DEFAULT_ROUNDS;
	if (options.n_starts == 0)
		options.n_starts = options.is_quick ? 1 : DEFAULT_STARTS;
	status = options.one != NULL ? run_one(mode, &options) : run_all(mode, &options);
	return status == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
