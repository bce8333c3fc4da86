/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* A packet whose flow this worker does not know, while another one may. */
#pragma once

#include "dataplane/dpdk/worker.h"

/**
 * @packet has a mark, and no flow here: whether another worker is to have it next, which @outcome
 * then says. If not, this worker may make a flow. A worker that may not says in the mark what stands
 * in the way of one. @hash: of the packet's tuple. The worker's thread.
 */
bool handoff_ask(struct worker *worker, const struct snapshot *snapshot,
		 const struct sl_packet *packet, uint64_t hash,
		 struct outcome *outcome) SL_MUST_USE;
