/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * The generator and a peer on one wire: started, connected, every flow made and answered once and each
 * of these frames judged. Then trials, whose frames are all accounted for.
 */
#pragma once

#include "tests/bench/bench_generator.h"
#include "tests/bench/bench_peer.h"

struct link_options {
	struct peer_options peer;
	bool is_mixed;
	bool is_realtime; /* the threads that poll, in trials */
};

struct link {
	struct generator *generator; /* borrowed */
	struct peer peer;
	struct stream stream;
	bool is_realtime;
	uint64_t n_received; /* in all trials, and so the others */
	uint64_t n_wrong;
	uint64_t n_judged;
	uint64_t n_overtaken;
	double seconds;
	double cpu_seconds;      /* of these, that the generator had */
	double peer_seconds;     /* likewise, with what comes before and after the frames */
	double peer_cpu_seconds; /* of these, that the busiest thread of the peer had */
	double largest_gap_us;
};

/** 0, or negative errno, and the reason was printed; link_close() in either case. */
int link_open(struct link *link, struct generator *generator, enum peer_kind kind,
	      const struct link_options *options) SL_MUST_USE;
void link_close(struct link *link);

/**
 * One trial. 0, or negative errno, and the reason was printed: a signal has come, the peer has ended,
 * or a frame came back that is wrong.
 */
int link_try(struct link *link, const struct trial *trial, struct trial_result *result) SL_MUST_USE;

/** Offered frames that did not come back, and how many they are of a hundred. */
uint64_t link_n_lost(const struct trial_result *result);
double link_loss_percent(const struct trial_result *result);

/** What a search is to find, and what it found. */
struct search {
	double highest; /* pps, with which it begins */
	double seconds; /* of a trial */
	uint32_t loss_ppm;
	uint32_t n_tries; /* of what loses more */
	double pps;       /* 0: loses too many at any rate */
	uint32_t n_repeated;
};

/**
 * The highest rate at which a trial loses no frame, or no more than search->loss_ppm of a million:
 * RFC 2544, section 26.1, by halves, to 1 % of search->highest. What loses more is tried up to
 * search->n_tries times, for on a machine that others use, too, a pause of either process and not the
 * load is mostly why; search->n_repeated counts that. 0, or as link_try().
 */
int link_search(struct link *link, struct search *search) SL_MUST_USE;
