/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * Programs that run on several CPUs at the same time, a thread each, and for how long they truly did.
 */
#pragma once

#include <pthread.h>

#include "xdp_bench_program.h"

/** What one CPU is to do, and what came of it. The caller sets all up to @n. */
struct side {
	const struct program *program;
	const struct frame *frame;
	int cpu;
	uint32_t n_warm; /* runs of the balancer that nobody measures */
	uint32_t n;      /* runs of the empty program, then of the balancer */
	double empty_ns; /* a run, CPU time */
	double ours_ns;
	double begin_ns; /* of ours, by the clock on the wall */
	double end_ns;
	pthread_t thread;
	pthread_barrier_t *barrier; /* of all sides */
};

/** Means of the CPUs. */
struct sample {
	double empty_ns;
	double ours_ns;
	double at_once; /* 0 to 1: the least share of the time of ours that a CPU was at it */
};

/** Runs all of @side; each step begins when all are there. */
struct sample sides_run(struct side *side, int n_sides);
