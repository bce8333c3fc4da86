/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* Medians, the table, the JSON document and lines of progress: see bench_report.h. */
#include "tests/bench/bench_report.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
	PROGRESS_SEC = 2,
};

static int compare_double(const void *left, const void *right)
{
	double a = *(const double *)left;
	double b = *(const double *)right;

	return (a > b) - (a < b);
}

double report_median(double *value, uint32_t n)
{
	qsort(value, n, sizeof(*value), compare_double);
	return n % 2 != 0 ? value[n / 2] : (value[n / 2 - 1] + value[n / 2]) / 2;
}

static const char *about; /* what lines begin with; NULL: nothing in particular */

static void __attribute__((format(printf, 1, 0))) print_line(const char *format, va_list arguments)
{
	fprintf(stderr, "sluice-bench: ");
	if (about != NULL)
		fprintf(stderr, "%s: ", about);
	vfprintf(stderr, format, arguments);
	fprintf(stderr, "\n");
}

void report_about(const char *what)
{
	about = what;
}

void report_progress(const char *format, ...)
{
	static time_t last_sec;
	struct timespec now;
	va_list arguments;

	clock_gettime(CLOCK_MONOTONIC, &now);
	if (last_sec == 0)
		last_sec = now.tv_sec;
	if (now.tv_sec - last_sec < PROGRESS_SEC)
		return;
	last_sec = now.tv_sec;
	va_start(arguments, format);
	print_line(format, arguments);
	va_end(arguments);
}

void report_error(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	print_line(format, arguments);
	va_end(arguments);
}

static void merge_key(json_t *merged, const char *key, const json_t *starts)
{
	size_t n_starts = json_array_size(starts);
	double *value = calloc(n_starts, sizeof(*value));
	uint32_t n = 0;
	double median;

	for (size_t i = 0; value != NULL && i < n_starts; i++) {
		const json_t *one = json_object_get(json_array_get(starts, i), key);

		if (json_is_number(one))
			value[n++] = json_number_value(one);
	}
	if (n != 0) {
		median = report_median(value, n);
		json_object_set_new(merged, key,
				    json_pack("{s:f, s:f, s:f}", "median", median, "min", value[0],
					      "max", value[n - 1]));
	}
	free(value);
}

json_t *report_merge(const char *name, json_t *starts)
{
	json_t *merged = json_pack("{s:s, s:O}", "name", name, "starts", starts);
	const char *key;
	json_t *value;

	json_object_foreach(json_array_get(starts, 0), key, value)
	{
		if (json_is_number(value))
			merge_key(merged, key, starts);
	}
	return merged;
}

static void print_cell(const struct bench_column *column, const json_t *result)
{
	const json_t *figure = json_object_get(result, column->key);

	if (figure == NULL) {
		printf(" - |");
		return;
	}
	printf(" %.*f", column->decimals, json_number_value(json_object_get(figure, "median")));
	if (column->has_range)
		printf(" (%.*f to %.*f)", column->decimals,
		       json_number_value(json_object_get(figure, "min")), column->decimals,
		       json_number_value(json_object_get(figure, "max")));
	printf(" |");
}

static bool has_column(const struct bench_mode *mode, const char *key)
{
	for (const struct bench_column *column = mode->column; column->key != NULL; column++)
		if (strcmp(column->key, key) == 0)
			return true;
	return false;
}

static void print_notes(const struct bench_mode *mode, const json_t *cases)
{
	const char *memory = NULL;
	bool has_events = false;
	size_t i;
	json_t *result;

	json_array_foreach(cases, i, result)
	{
		const json_t *start = json_array_get(json_object_get(result, "starts"), 0);
		const char *now = json_string_value(json_object_get(start, "memory"));

		has_events |= json_object_get(start, "instructions") != NULL;
		if (now != NULL && (memory == NULL || strcmp(now, memory) != 0))
			printf("%s%s: %s", memory == NULL ? "\n" : "; from ",
			       memory == NULL ? "Memory"
					      : json_string_value(json_object_get(result, "name")),
			       now);
		if (now != NULL)
			memory = now;
	}
	if (memory != NULL)
		printf(".\n");
	if (!has_events && has_column(mode, "instructions"))
		printf("Instructions and cache misses: this machine counts none (-).\n");
}

void report_table(const struct bench_mode *mode, const json_t *cases)
{
	size_t i;
	json_t *result;

	printf("| %s |", mode->name);
	for (const struct bench_column *column = mode->column; column->key != NULL; column++)
		printf(" %s |", column->title);
	printf("\n|---|");
	for (const struct bench_column *column = mode->column; column->key != NULL; column++)
		printf("---|");
	printf("\n");
	json_array_foreach(cases, i, result)
	{
		printf("| %s |", json_string_value(json_object_get(result, "name")));
		for (const struct bench_column *column = mode->column; column->key != NULL;
		     column++)
			print_cell(column, result);
		printf("\n");
	}
	print_notes(mode, cases);
}

int report_json(const struct bench_mode *mode, const struct bench_options *options, json_t *cases)
{
	json_t *document = json_pack("{s:s, s:s, s:i, s:i, s:i, s:b, s:O}", "mode", mode->name,
				     "version", SLUICE_VERSION, "cpu", options->cpu, "rounds",
				     (int)options->n_rounds, "starts", (int)options->n_starts,
				     "quick", options->is_quick, "cases", cases);
	bool is_stdout = strcmp(options->json, "-") == 0;
	FILE *file = is_stdout ? stdout : fopen(options->json, "we");
	int status = 0;

	if (document == NULL || file == NULL ||
	    json_dumpf(document, file, JSON_INDENT(1) | JSON_REAL_PRECISION(6)) != 0 ||
	    fputc('\n', file) == EOF || fflush(file) != 0) {
		report_error("%s: %s", is_stdout ? "standard output" : options->json,
			     strerror(errno));
		status = -EIO;
	}
	if (file != NULL && !is_stdout)
		fclose(file);
	json_decref(document);
	return status;
}
