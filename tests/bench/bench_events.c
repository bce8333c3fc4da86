/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* The clocks of a round: see bench_events.h. */
#include "tests/bench/bench_events.h"

#include <string.h>
#include <time.h>
#include <unistd.h>

#include <linux/perf_event.h>
#include <rte_cycles.h>
#include <sys/syscall.h>

static int group = -1; /* descriptor of the first counter, which has the second one with it */

static int counter_open(uint64_t config, int leader)
{
	struct perf_event_attr attribute = {
		.type = PERF_TYPE_HARDWARE,
		.size = sizeof(attribute),
		.config = config,
		.read_format = PERF_FORMAT_GROUP,
		.exclude_kernel = 1,
		.exclude_hv = 1,
	};

	return (int)syscall(SYS_perf_event_open, &attribute, 0, -1, leader, PERF_FLAG_FD_CLOEXEC);
}

bool events_open(void)
{
	int second;

	group = counter_open(PERF_COUNT_HW_INSTRUCTIONS, -1);
	if (group < 0)
		return false;
	second = counter_open(PERF_COUNT_HW_CACHE_MISSES, group);
	if (second >= 0)
		return true;
	close(group);
	group = -1;
	return false;
}

void events_read(struct events *now)
{
	uint64_t value[3]; /* how many, and each */
	struct timespec cpu;

	memset(now, 0, sizeof(*now));
	if (group >= 0 && read(group, value, sizeof(value)) == sizeof(value)) {
		now->instructions = (double)value[1];
		now->cache_misses = (double)value[2];
	}
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &cpu);
	now->cpu_ns = (double)cpu.tv_sec * 1e9 + (double)cpu.tv_nsec;
	now->wall_ns = (double)rte_rdtsc() * 1e9 / (double)rte_get_tsc_hz();
}

struct events events_each(const struct events *before, const struct events *after, uint64_t n)
{
	double each = 1 / (double)n;

	return (struct events){
		.cpu_ns = (after->cpu_ns - before->cpu_ns) * each,
		.wall_ns = (after->wall_ns - before->wall_ns) * each,
		.instructions = (after->instructions - before->instructions) * each,
		.cache_misses = (after->cache_misses - before->cache_misses) * each,
	};
}
