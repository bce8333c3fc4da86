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

/** The service that a packet to this address, port and protocol is for, or SL_NO_INDEX. */
uint32_t balance_find_service(const struct snapshot *snapshot, const struct sl_tuple *tuple);

/** A new flow's choice. */
struct choice {
	uint64_t hash; /* under the snapshot's key: the same on every host that has it */
	uint32_t slot;
	uint32_t backend; /* SL_NO_INDEX: none takes new flows */
};

struct choice balance_choose(const struct snapshot *snapshot, uint32_t service,
			     const struct sl_tuple *tuple);

/** The backend, and by it the service, whose reply this is, where that is certain; or SL_NO_INDEX. */
uint32_t balance_find_replier(const struct snapshot *snapshot, const struct sl_tuple *tuple);
