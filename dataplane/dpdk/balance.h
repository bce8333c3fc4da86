/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* The decision for one parsed packet: its flow, else its service and a backend, and the rewrite. */
#pragma once

#include "dataplane/dpdk/worker.h"

/**
 * Decides @packet and, if it is to be sent, rewrites it. @hash: sl_flow_hash() of its tuple under
 * the flow tables' key. @length: of the frame, bytes. The worker's thread.
 */
void balance_packet(struct worker *worker, struct snapshot *snapshot, struct sl_packet *packet,
		    uint64_t hash, uint32_t length, struct outcome *outcome);
