/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * Figures and how they are shown: medians, the table in Markdown, the JSON document, and lines about
 * what takes long. Everything about progress goes to standard error.
 */
#pragma once

#include "tests/bench/bench.h"

/** Sorts @value and returns the median of its @n > 0 elements. */
double report_median(double *value, uint32_t n);

/** What all lines are about from now on; borrowed. */
void report_about(const char *what);

/** Prints a line to standard error; at most one every two seconds, none in the first two. */
void report_progress(const char *format, ...) __attribute__((format(printf, 1, 2)));

/** Prints a line to standard error, the program's name before it. */
void report_error(const char *format, ...) __attribute__((format(printf, 1, 2)));

/**
 * The result of a case from those of its starts (an array of objects, borrowed): name, starts, and of
 * each number median, min, max. NULL: out of memory.
 */
json_t *report_merge(const char *name, json_t *starts);

/** Prints @cases, an array of merged results, as a table. */
void report_table(const struct bench_mode *mode, const json_t *cases);

/** Writes the document to options->json. 0 or negative errno, and the reason was printed. */
int report_json(const struct bench_mode *mode, const struct bench_options *options,
		json_t *cases) SL_MUST_USE;
