/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* The last step of a packet that is to be sent: next hop, TTL, and only then the first write. */
#pragma once

#include <sluice/packet/nat.h>

#include "dataplane/dpdk/worker.h"

/** Where a rewritten packet goes. */
struct way {
	struct sl_rewrite to;
	uint16_t adjacency;
	enum sl_verdict verdict; /* if nothing stands in the way */
	uint32_t service;
	uint32_t backend;
	uint8_t family;
	bool keeps_source;           /* of an ICMP error: see sl_icmp_rewrite() */
	struct sl_flow *with_header; /* the packet's flow, if it has PROXY headers */
	const union sl_addr
		*speaker; /* who tells a sender that its packet ended here; NULL: as usual */
};

/**
 * Rewrites @packet, whose frame is @frame, and says in @outcome by which port it leaves; or why it does
 * not, and then nothing was written. The worker's thread.
 */
void dispatch(struct worker *worker, struct sl_packet *packet, const struct way *way,
	      struct rte_mbuf *frame, struct outcome *outcome);

/** The next hop to the client of @flow, asked again only after the routes changed. */
uint16_t dispatch_client_adjacency(struct worker *worker, struct sl_flow *flow);
