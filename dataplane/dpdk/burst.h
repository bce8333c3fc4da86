/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* The packets that a worker has in hand at once, and what it knows of them by now. */
#pragma once

#include "dataplane/dpdk/foresee.h"
#include "dataplane/dpdk/lane.h"

struct burst {
	struct lane lane;
	uint16_t n;
	uint16_t n_fragments; /* of these */
	struct rte_mbuf *packet[BURST_SIZE];
	struct sl_packet parsed[BURST_SIZE];
	uint64_t hash[BURST_SIZE];
	uint64_t known; /* bits of those whose hash the lane has found, and asked for its places */
	uint8_t column[BURST_SIZE]; /* of these: where they stand in the lane */
	struct outcome outcome[BURST_SIZE];
	struct foreseen foreseen[BURST_SIZE];
	uint32_t since[BURST_SIZE]; /* ticks; of packets that come from the hold */
};
