/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * What all parts of xdp-bench need: what the user asked for, how it gives up, and its arithmetic.
 * Whatever fails ends the program: a benchmark has nobody to return to.
 */
#pragma once

#include <sluice/base.h>

enum {
	MAX_RUNS = 101,
	FEW = 500, /* one flow in so many may find no place in its buckets */
};

/** What the user asked for; the same for all that is measured. */
struct tool {
	uint64_t n_repeats;
	const char *only; /* kind of packet; NULL: all */
	uint32_t ifindex;
	uint32_t table_flows; /* that the tables are made for */
	uint32_t max_flows;   /* that are measured */
	int n_runs;
	int n_cpus; /* at once; 0: one alone, and the program's own cost */
	bool is_json;
};

/** Says why on stderr and exits with 1. */
void __attribute__((noreturn, format(printf, 1, 2))) fail(const char *format, ...);

/** Fails if @error is not 0; @what failed. @error: negative errno, or what errno says. */
void check(int error, const char *what);

bool is_wanted(const struct tool *tool, const char *kind);

/** Shows on a terminal what is measured now. */
void progress(const char *name, uint32_t n_flows);
void progress_end(void);

/** Nanoseconds of the calling thread on its CPU: what others took in between is not counted. */
double cpu_ns(void);

/** The median of @value, which it leaves sorted. */
double median(double *value, int n);
