/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * The DPDK engine with one port and one worker, or a few, put together by its own functions but for
 * what needs the kernel: no TAP, no netlink, no root. The port is a net_null whose functions
 * bench_port.c has replaced; next hops are what traffic.h says. Nothing of the worker is changed. One an
 * EAL, and so one a process.
 */
#pragma once

#include "dataplane/dpdk/engine.h"
#include "tests/bench/bench_port.h"
#include "tests/bench/bench_traffic.h"

enum {
	ENGINE_TIMEOUT_SEC = 3600, /* of flows: longer than any run */
	ENGINE_UDP_TICKS = ENGINE_TIMEOUT_SEC * SL_TICKS_PER_SEC,
};

struct engine_options {
	/* One worker runs on the thread that opened the engine; of several, each on an lcore of its own. */
	uint32_t n_workers; /* 0: one */
	int cpu;
	int second_cpu;          /* of the second worker */
	uint32_t n_flows;        /* room in the table of each */
	uint32_t n_slots;        /* of a service */
	uint8_t affinity_prefix; /* by which clients keep their backend; 0: they do not */
	uint32_t haste; /* the worker's clock and its sweep go this many times as fast; 0: once */
	uint32_t memory_mb; /* of DPDK; 0: what the worker needs */
	struct port_watch watch[PORT_MAX_QUEUES];
};

struct engine {
	struct dataplane dataplane;
	struct worker *worker; /* the first one */
	char memory[96];       /* what the tables lie in, in words */
};

/** Opens all, up to the worker's launch. 0 or negative errno, and the reason was printed. */
int engine_open(struct engine *engine, const struct engine_options *options) SL_MUST_USE;

/**
 * Publishes a snapshot with the services of @traffic and, where @with_syn, those of TCP at the same
 * addresses. 0 or negative errno, and the reason was printed.
 */
int engine_commit(struct engine *engine, const struct engine_options *options,
		  const struct traffic *traffic, bool with_syn) SL_MUST_USE;

/** The IPv4 table of the worker, which does not run, becomes one of @n_flows. 0 or -ENOMEM. */
int engine_set_table(struct engine *engine, uint32_t n_flows) SL_MUST_USE;

/**
 * The loop of @worker, on this thread, until engine_stop() is called; the caller has undone that of
 * before by engine_resume().
 */
void engine_run(struct worker *worker);

/** Ends the loops of all workers after this turn; flows stay. Any thread. */
void engine_stop(struct engine *engine);

/** Loops may run again: none does yet. */
void engine_resume(struct engine *engine);
