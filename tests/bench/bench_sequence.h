/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * Which flow's packet comes next: a long list of records, drawn once, so that nothing is drawn while
 * time is taken.
 */
#pragma once

#include "tests/bench/bench_traffic.h"

enum sequence_mix {
	SEQUENCE_FORWARD = 0,
	SEQUENCE_REPLY,
	SEQUENCE_MIXED, /* each packet of either direction, by chance */
};

enum sequence_order {
	SEQUENCE_UNIFORM = 0, /* each packet of any flow, by chance */
	SEQUENCE_ZIPF,        /* likewise, flow k of a random order with weight k^-1.1 */
	SEQUENCE_ONCE,        /* one packet of each flow, in their order */
};

struct sequence_options {
	enum sequence_mix mix;
	enum sequence_order order;
	uint32_t seed;  /* another one, another sequence */
	uint32_t first; /* flow */
	uint32_t n_flows;
	uint32_t n; /* records */
};

struct sequence {
	uint8_t *record;
	uint32_t n;
	size_t n_bytes;
};

/**
 * Records of flows of @traffic that are not left out. 0 or -ENOMEM. Owned by the caller.
 */
int sequence_new(struct sequence *sequence, const struct traffic *traffic,
		 const struct sequence_options *options) SL_MUST_USE;
void sequence_free(struct sequence *sequence);
