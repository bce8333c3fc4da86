/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * The clocks of a round: time on the core without what others took, and, where the machine counts
 * them, instructions and cache misses of this thread (perf_event_open). Virtual machines often count
 * neither.
 */
#pragma once

#include <sluice/base.h>

struct events {
	double cpu_ns;  /* of this thread: what other threads took in between is not counted */
	double wall_ns; /* by the TSC */
	double instructions;
	double cache_misses;
};

/** Whether instructions and cache misses are counted. */
bool events_open(void);

/** Reads the clocks. */
void events_read(struct events *now);

/** What was counted from @before to @after, for each of @n packets. */
struct events events_each(const struct events *before, const struct events *after, uint64_t n);
