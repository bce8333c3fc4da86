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

/** Counts a packet of @length bytes that is sent, for its backend, by index: so for its service, too. */
SL_INLINE void dispatch_count(struct worker *worker, enum sl_verdict verdict, uint32_t index,
			      uint32_t length)
{
	struct backend_line *backend = &worker->backend_counters[index];

	if (verdict == SL_VERDICT_FORWARD) {
		backend->packets_in++;
		backend->bytes_in += length;
	} else {
		backend->packets_out++;
		backend->bytes_out += length;
	}
}

/** Whether @packet is whole, and no ICMP. */
SL_INLINE bool dispatch_is_plain(const struct sl_packet *packet)
{
	return (packet->quoted_offset | packet->fragment | packet->echo) == 0;
}

/** dispatch_client_adjacency() for a flow whose next hop is not known, or not any more. */
uint16_t dispatch_ask_adjacency(struct worker *worker, struct sl_flow *flow);

/** The next hop to the client of @flow, asked again only after the routes changed. */
SL_INLINE uint16_t dispatch_client_adjacency(struct worker *worker, struct sl_flow *flow)
{
	uint16_t generation =
		__atomic_load_n(&worker->dataplane->route_generation, __ATOMIC_ACQUIRE);

	if (SL_LIKELY(flow->route_generation == generation &&
		      flow->client_adjacency >= SL_ADJACENCY_FIRST))
		return flow->client_adjacency;
	return dispatch_ask_adjacency(worker, flow);
}
