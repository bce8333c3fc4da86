/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * The generator: this process as a DPDK program with one core and one virtio-user port, which sends a
 * stream to a vhost-user socket and judges what comes back. Its one core is the main lcore, so nothing
 * of it runs elsewhere. One a process; ports come and go.
 */
#pragma once

#include "tests/bench/bench_histogram.h"
#include "tests/bench/bench_stream.h"

struct rte_mempool;

/** What one trial is to be. */
struct trial {
	double pps;                /* to be offered; 0: as many as the link takes */
	double seconds;            /* without what it waits for the last frames */
	struct histogram *latency; /* in TSC cycles, added to; NULL: not wanted */
};

/** What it was. */
struct trial_result {
	double seconds; /* in which frames were sent */
	uint64_t n_offered;
	uint64_t
		n_refused; /* of these, by a full ring: lost; if all are sent: turns that met one */
	uint64_t n_received;   /* in all */
	uint64_t n_in_time;    /* before the time was over */
	uint64_t n_wrong;      /* another backend, or anything else that should not be */
	uint64_t n_overtaken;  /* frames that came after one that was sent later */
	uint64_t n_judged;     /* byte for byte */
	uint64_t n_late;       /* that were not offered, for this process did not run */
	uint64_t n_turns;      /* of the loop */
	double largest_gap_us; /* between two turns of the loop */
	double cpu_seconds;    /* that this process had */
};

struct generator {
	uint16_t port;
	bool has_port;
	struct rte_mempool *pool;
	struct stream *stream; /* borrowed */
	uint32_t next;         /* tag of the next frame */
	uint32_t sequence;
	uint32_t last; /* sequence number that came last */
	uint64_t tsc_hz;
	const char *wrong; /* the first thing that was; NULL: nothing */
};

/** Starts DPDK on core @cpu, with its files in @folder. 0 or negative errno, printed. */
int generator_open(struct generator *generator, int cpu, const char *folder) SL_MUST_USE;
void generator_close(struct generator *generator);

/** Makes the port, connected to the socket at @path. 0 or negative errno, printed. */
int generator_connect(struct generator *generator, const char *path) SL_MUST_USE;
void generator_disconnect(struct generator *generator);

/**
 * Sends each frame of @stream, which is judged as it comes back, until all did. @has_answers: they are
 * the backends'. 0, -EINTR, or -ETIMEDOUT and -EPROTO, printed.
 */
int generator_learn(struct generator *generator, struct stream *stream,
		    bool has_answers) SL_MUST_USE;

/** From now on trials send @stream: borrowed. */
void generator_set_stream(struct generator *generator, struct stream *stream);

/** One trial. 0, or -EINTR: a signal has come. */
int generator_try(struct generator *generator, const struct trial *trial,
		  struct trial_result *result) SL_MUST_USE;
