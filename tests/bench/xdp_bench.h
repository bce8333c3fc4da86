/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * What xdp_bench.c tells xdp_bench.bpf.c: which flow's packet each run is to find in its frame.
 * Flow i's addresses and ports follow from i by arithmetic, so that writing them misses no cache, and
 * each CPU has a cursor of its own, so that the wrapper writes no line that CPUs share.
 */
#pragma once

#include <sluice/base.h>

enum {
	XDP_BENCH_SERVICES = 16, /* flow i belongs to service i mod this; each has one backend */
	XDP_BENCH_FIRST_PORT = 1024,
	XDP_BENCH_PORTS = 32768, /* of clients */
	XDP_BENCH_CPUS = 64,     /* neighbouring ones that run at once; a power of two */
	XDP_BENCH_CURSOR = 2 * SL_CACHE_LINE, /* bytes: some processors fetch lines in pairs */
};

/**
 * Where a CPU stands in its flows, and which they are: of every @stride groups, of a flow of each
 * service, the one at @first. So whoever draws from a part of the flows has to do with all services.
 */
struct xdp_bench_cursor {
	uint64_t random;
	uint64_t clock;   /* packets, if is_advancing */
	uint32_t n_flows; /* the CPU's own, drawn from [0, n_flows) */
	uint32_t next;    /* of the flow to come, if is_sequential */
	uint32_t first;
	uint32_t stride;
	uint8_t is_reply;
	uint8_t is_turning; /* 1: every other packet is a reply */
} __attribute__((aligned(XDP_BENCH_CURSOR)));

struct xdp_bench {
	struct xdp_bench_cursor cursor[XDP_BENCH_CPUS]; /* by the CPU's number, modulo this many */
	uint8_t is_sequential;
	uint8_t is_advancing; /* TCP's sequence numbers go on, and so the flow is written */
	uint8_t clock_shift;  /* they go on by one every 2^this packets */
	uint8_t is_ipv6;
	uint8_t is_udp;
	uint16_t checksum_base; /* IPv4: sum of the header without addresses and checksum */
	be16_t service_port;
	be16_t backend_port;
	be16_t l4_checksum;
	uint32_t client;  /* IPv4, host order; flow i's client has this plus i */
	uint32_t service; /* IPv4, host order; service s has this plus s */
	uint32_t backend;
	be32_t client6; /* IPv6: the first word; the last one is i or s */
	be32_t service6;
	be32_t backend6;
	uint32_t mac[3]; /* both of the frame's */
};
