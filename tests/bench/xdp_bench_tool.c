/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* See xdp_bench_tool.h. */
#include "xdp_bench_tool.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

void fail(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	fprintf(stderr, "xdp-bench: ");
	vfprintf(stderr, format, arguments);
	fprintf(stderr, "\n");
	va_end(arguments);
	exit(1);
}

void check(int error, const char *what)
{
	if (error != 0)
		fail("%s: %s", what, strerror(error < 0 ? -error : errno));
}

bool is_wanted(const struct tool *tool, const char *kind)
{
	return tool->only == NULL || strcmp(tool->only, kind) == 0;
}

void progress(const char *name, uint32_t n_flows)
{
	if (isatty(STDERR_FILENO))
		fprintf(stderr, "\r%-40s %8u flows ", name, n_flows);
}

void progress_end(void)
{
	if (isatty(STDERR_FILENO))
		fprintf(stderr, "\r%60s\r", "");
}

double cpu_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static int compare_double(const void *left, const void *right)
{
	double a = *(const double *)left;
	double b = *(const double *)right;

	return (a > b) - (a < b);
}

double median(double *value, int n)
{
	qsort(value, (size_t)n, sizeof(*value), compare_double);
	return n % 2 != 0 ? value[n / 2] : (value[n / 2 - 1] + value[n / 2]) / 2;
}
