/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * Kinds of packets, and the flows that they belong to: what a program is told of them, which frame
 * it runs on, how a packet has to end.
 */
#pragma once

#include "xdp_bench_program.h"

/** One kind of packet. */
struct traffic {
	const char *name;
	uint8_t family;
	uint8_t protocol;
	uint8_t is_reply;
	uint8_t is_both;      /* every other packet is a reply */
	uint8_t is_stranger;  /* no service's */
	uint8_t is_advancing; /* by one every 2^clock_shift packets, from the CPU's clock */
	uint8_t clock_shift;
	uint8_t is_sequential; /* each flow once, instead of one drawn at random */
	uint8_t tcp_flags;
	uint32_t sequence;
	uint32_t acknowledgement;
};

/** Tells @program of @traffic, on all CPUs, and writes what the frames of all flows share. */
void traffic_begin(const struct traffic *traffic, const struct program *program,
		   struct frame *frame);

/** Packets of @program that ended as those of @traffic should, so far. */
uint64_t traffic_n_right(const struct traffic *traffic, const struct program *program);

/**
 * Runs the balancer on @n packets, of the flows that it aims at; fails if one of them did not end
 * as it should. CPU time a packet, nanoseconds.
 */
double traffic_run(const struct traffic *traffic, const struct program *program, uint32_t n);

/** Likewise of the empty program, where nothing can fail. */
double traffic_run_empty(const struct traffic *traffic, const struct program *program, uint32_t n);

/**
 * Empties @program's table and makes the @n_flows flows that it aims at as their packets would: from
 * SYN to ACK. @traffic: one packet of the kind in question.
 */
void traffic_open_flows(const struct traffic *traffic, const struct program *program,
			uint32_t n_flows);
