/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* The answer to a client whose packet is refused. */
#pragma once

#include "dataplane/dpdk/worker.h"

/**
 * Makes @packet, which was parsed into @parsed and not written since, the answer to its sender, to
 * go out by the port that it came from, and counts it. False: nothing is to be answered, or too much
 * was; the packet is to be dropped. The worker's thread.
 */
bool refuse_packet(struct worker *worker, struct rte_mbuf *packet, struct sl_packet *parsed,
		   const struct refusal *refusal) SL_MUST_USE;
