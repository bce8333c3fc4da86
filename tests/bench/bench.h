/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * What the modes of sluice-bench share: the options, and what a mode is. A mode is a list of cases,
 * each of which measures one thing in a process of its own; sluice_bench.c has the table of modes.
 */
#pragma once

#include <jansson.h>

#include <sluice/base.h>

struct bench_options {
	const char *only; /* NULL: all cases; else the one of this name, or those that contain it */
	const char *one;  /* not NULL: measure this case here, and print what it gave */
	const char *json; /* NULL: none; the file; "-": standard output, in place of the table */
	int cpu;
	uint32_t n_rounds; /* of one process */
	uint32_t n_starts; /* processes a case */
	uint32_t n_flows;  /* of mode wire, and so the others; 0: its default */
	uint32_t n_backends;
	double trial_sec;
	uint32_t loss_ppm; /* that a trial may have and still count as one without loss */
	bool is_realtime;  /* wire, two workers: nobody takes a core from those that poll */
	bool is_quick;     /* everything tiny: shows that it works, not how fast */
};

/** A figure of every case: a key of its result. */
struct bench_column {
	const char *key; /* NULL: the end of the list */
	const char *title;
	uint8_t decimals;
	bool has_range; /* the least and the most of all starts are shown, too */
};

struct bench_mode {
	const char *name;
	const char *help;
	uint32_t n_rounds; /* by default; 0: as other modes */
	const struct bench_column *column;
	/** The name of case @index; NULL: there is none. */
	const char *(*case_name)(uint32_t index);
	/** Whether --quick leaves it out, unless it is asked for; NULL: none is. */
	bool (*is_left_out)(uint32_t index);
	/**
	 * Measures the case @name in this process into @result: numbers by the keys of the columns,
	 * and whatever else is worth keeping. 0 or negative errno, and what was wrong was printed.
	 */
	int (*measure)(const struct bench_options *options, const char *name, json_t *result);
	/** Prints what the table of @cases, merged results, has no room for; NULL: nothing. */
	void (*print_details)(const json_t *cases);
};

extern const struct bench_mode bench_worker;
extern const struct bench_mode bench_table;
extern const struct bench_mode bench_wire;
extern const struct bench_mode bench_commit;
