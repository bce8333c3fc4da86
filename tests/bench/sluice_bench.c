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
	EXIT_USAGE = 2,
};

static const struct bench_mode *const modes[] = {&bench_worker, &bench_table};

static const struct option long_options[] = {
	{"cpu", required_argument, NULL, 'c'},    {"help", no_argument, NULL, 'h'},
	{"json", optional_argument, NULL, 'j'},   {"list", no_argument, NULL, 'l'},
	{"one", required_argument, NULL, '1'},    {"only", required_argument, NULL, 'o'},
	{"quick", no_argument, NULL, 'q'},        {"rounds", required_argument, NULL, 'r'},
	{"starts", required_argument, NULL, 's'}, {NULL, 0, NULL, 0},
};

static void print_help(void)
{
	printf("usage: sluice-bench MODE [options]\n\nmodes:\n");
	for (size_t i = 0; i < SL_ARRAY_LEN(modes); i++)
		printf("  %-8s %s\n", modes[i]->name, modes[i]->help);
	printf("\noptions:\n"
	       "  --only TEXT     the case of this name, or those with TEXT in their names\n"
	       "  --rounds N      rounds in a process, of which the median is taken (%d)\n"
	       "  --starts N      processes a case, of whose medians the median is taken (%d)\n"
	       "  --cpu N         the core to run on (the last one)\n"
	       "  --json [FILE]   a JSON document, to FILE too, or to standard output alone\n"
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
	case 'c':
		if (!read_number("cpu", optarg, 0, CPU_SETSIZE - 1, &value))
			return false;
		options->cpu = (int)value;
		return true;
	case 'r':
		if (!read_number("rounds", optarg, 1, MAX_ROUNDS, &value))
			return false;
		options->n_rounds = (uint32_t)value;
		return true;
	case 's':
		if (!read_number("starts", optarg, 1, MAX_STARTS, &value))
			return false;
		options->n_starts = (uint32_t)value;
		return true;
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

	if (json_array_size(cases) != 0 && is_table)
		report_table(mode, cases);
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
		options.n_rounds = options.is_quick ? QUICK_ROUNDS : DEFAULT_ROUNDS;
	if (options.n_starts == 0)
		options.n_starts = options.is_quick ? 1 : DEFAULT_STARTS;
	status = options.one != NULL ? run_one(mode, &options) : run_all(mode, &options);
	return status == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
