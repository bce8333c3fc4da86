/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * What stands at the other end of the wire, a program on a core of its own that takes frames from a
 * vhost-user socket and sends them back: Sluice, as it is installed, or testpmd, which only swaps.
 */
#pragma once

#include "tests/bench/bench_process.h"

enum peer_kind {
	PEER_SLUICE = 0,
	PEER_TESTPMD,
	N_PEERS,
};

struct peer_options {
	const char *folder;
	int cpu;       /* of what forwards */
	int other_cpu; /* where whatever only waits may be, too */
	uint8_t family;
	bool is_fullnat;
	uint32_t n_backends;
	uint32_t n_flows; /* that it will have */
};

struct peer {
	uint8_t kind; /* enum peer_kind */
	struct process dataplane;
	struct process daemon; /* of Sluice */
	char run_dir[PROCESS_MAX_PATH];
	char socket[PROCESS_MAX_PATH]; /* of vhost-user */
	uint8_t mac[6];                /* of its port */
};

/** Its name in results. */
const char *peer_name(enum peer_kind kind);

/** Whether its programs are there; if not, what is missing was printed. */
bool peer_is_there(enum peer_kind kind);

/**
 * Starts it and waits until it forwards. 0, or negative errno, and the reason was printed;
 * peer_stop() in either case.
 */
int peer_start(struct peer *peer, enum peer_kind kind,
	       const struct peer_options *options) SL_MUST_USE;
void peer_stop(struct peer *peer);

/** Whether it still runs; if not, why was printed. */
bool peer_is_alive(struct peer *peer);

/**
 * Sluice's counters as `sluice counters` prints them, into *@counters, which the caller releases; NULL:
 * it has none. 0, or -EPROTO and printed: some packet that it received has no verdict, or two.
 */
int peer_count(struct peer *peer, json_t **counters) SL_MUST_USE;
