/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* See xdp_bench_sides.h. */
#include "xdp_bench_sides.h"

#include <sched.h>
#include <time.h>

#include "xdp_bench_tool.h"

static double wall_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static void *run_side(void *argument)
{
	struct side *side = argument;
	struct xdp_bench_cursor *cursor = program_cursor(side->program, side->cpu);
	uint64_t clock;

	pthread_barrier_wait(side->barrier);
	if (side->n_warm != 0)
		program_run(side->program, PROGRAM_BALANCE, side->frame, side->n_warm);
	pthread_barrier_wait(side->barrier);
	clock = cursor->clock;
	side->empty_ns = program_run(side->program, PROGRAM_EMPTY, side->frame, side->n);
	cursor->clock = clock;
	cursor->next = 0;
	pthread_barrier_wait(side->barrier);
	side->begin_ns = wall_ns();
	side->ours_ns = program_run(side->program, PROGRAM_BALANCE, side->frame, side->n);
	side->end_ns = wall_ns();
	return NULL;
}

static void start_side(struct side *side)
{
	pthread_attr_t attributes;
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET((size_t)side->cpu, &cpus);
	pthread_attr_init(&attributes);
	check(-pthread_attr_setaffinity_np(&attributes, sizeof(cpus), &cpus), "affinity");
	check(-pthread_create(&side->thread, &attributes, run_side, side), "thread");
	pthread_attr_destroy(&attributes);
}

static struct sample conclude(const struct side *side, int n_sides)
{
	double least = side[0].ours_ns;
	double begin = side[0].begin_ns;
	double end = side[0].end_ns;
	struct sample sample = {0};

	for (int i = 0; i < n_sides; i++) {
		sample.empty_ns += side[i].empty_ns / n_sides;
		sample.ours_ns += side[i].ours_ns / n_sides;
		least = side[i].ours_ns < least ? side[i].ours_ns : least;
		begin = side[i].begin_ns < begin ? side[i].begin_ns : begin;
		end = side[i].end_ns > end ? side[i].end_ns : end;
	}
	sample.at_once = least * side[0].n / (end - begin);
	return sample;
}

struct sample sides_run(struct side *side, int n_sides)
{
	pthread_barrier_t barrier;

	pthread_barrier_init(&barrier, NULL, (unsigned int)n_sides);
	for (int i = 0; i < n_sides; i++) {
		side[i].barrier = &barrier;
		start_side(&side[i]);
	}
	for (int i = 0; i < n_sides; i++)
		pthread_join(side[i].thread, NULL);
	pthread_barrier_destroy(&barrier);
	return conclude(side, n_sides);
}
