/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * The balancer's program, loaded with maps of its own and told of services enough to balance:
 * SERVICES of each family and protocol, each with one backend beyond the port @ifindex. It may be
 * loaded several times; no two share anything.
 */
#pragma once

#include <sluice/counters.h>
#include <sluice/packet/flow.h>

#include "xdp_bench.h"

struct xdp_bench_bpf;

struct program {
	struct xdp_bench_bpf *skeleton;
	struct xdp_bench *bench; /* the program's, mapped */
	uint32_t ifindex;
	uint32_t n_buckets[2]; /* of the tables for IPv4 and IPv6 */
};

/** A frame to run a program on; the program writes the flow's addresses into it. */
struct frame {
	uint8_t bytes[80];
	uint32_t length;
};

enum program_kind {
	PROGRAM_EMPTY = 0, /* writes the frame and does no more */
	PROGRAM_BALANCE,
};

/**
 * Loads @program and fills its maps. @n_flows4, @n_flows6: that its tables are made for.
 * program_free() releases it.
 */
void program_load(struct program *program, uint32_t ifindex, uint32_t n_flows4, uint32_t n_flows6);
void program_free(struct program *program);

/**
 * Attaches both programs to devices that no packet comes to, named after @number. Else the kernel
 * patches its dispatcher of XDP programs at the begin and the end of each run and waits for all CPUs,
 * milliseconds in which who runs another program already runs alone.
 */
void program_attach(const struct program *program, int number);

/** Instructions that the verifier looked at before it let the balancer in. */
uint32_t program_n_verified(const struct program *program);

/** The addresses of packets to services, or those of nobody's. */
void program_set_strangers(const struct program *program, bool are_strangers);

/**
 * What every CPU's cursor draws from: group @first of every @stride; @n_flows flows in all. The
 * next one is the first.
 */
void program_aim(const struct program *program, uint32_t n_flows, uint32_t first, uint32_t stride);
struct xdp_bench_cursor *program_cursor(const struct program *program, int cpu);

/**
 * Runs it @n times on @frame. CPU time a run, nanoseconds. Several threads may do this at once, on a
 * CPU of its own each.
 */
double program_run(const struct program *program, enum program_kind kind, const struct frame *frame,
		   uint32_t n);

/** Forgets all flows of @family. */
void program_empty_table(const struct program *program, uint8_t family);
uint64_t program_n_flows(const struct program *program, uint8_t family);
uint64_t program_n_embryonic(const struct program *program, uint8_t family);

/**
 * How far the flow of IPv4 that is furthest behind has either of its sequence numbers behind @now.
 * For tables where all flows are TCP's.
 */
uint32_t program_greatest_lag(const struct program *program, uint32_t now);

/** Packets with that verdict so far, of all CPUs. */
uint64_t program_n_verdicts(const struct program *program, enum sl_verdict verdict);
