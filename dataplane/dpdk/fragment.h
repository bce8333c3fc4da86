/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * Fragments of services' datagrams, of one worker: what include/sluice/packet/fragment.h asks to be
 * remembered, and the fragments that came before their first one. All fragments of a datagram are
 * judged by one worker, which its addresses and identification name; what it lets pass then goes to the
 * worker that the datagram's ports name. The worker's thread.
 */
#pragma once

#include "dataplane/dpdk/worker.h"

struct fragments;

/** NULL: out of memory. Control thread. */
struct fragments *fragments_new(void);
/** Frees what is held, too. NULL is allowed. Control thread, when the worker does not run. */
void fragments_free(struct fragments *fragments);

/** Fragments that wait for their datagram's first one. */
uint32_t fragments_n_held(const struct fragments *fragments);

/**
 * Judges @packet, of which sl_parse() said SL_VERDICT_PUNT_FRAGMENT into @parsed. True: outcome->verdict
 * is its verdict, or SL_VERDICT_NONE, and it is to be balanced as a packet with the first one's ports.
 * False: it is not the caller's any more, but held, or another worker's. @is_received: it comes from a
 * port, not from another worker or the hold. Fragments that waited go to their worker's ring.
 */
bool fragment_judge(struct worker *worker, const struct snapshot *snapshot, struct rte_mbuf *packet,
		    struct sl_packet *parsed, bool is_received,
		    struct outcome *outcome) SL_MUST_USE;

/** The fragment @packet, which was judged, goes to another worker as one of a datagram with these ports. */
void fragment_set_ports(struct rte_mbuf *packet, be16_t source_port, be16_t destination_port,
			uint8_t protocol);

/** Drops what has waited for too long. Once a tick. */
void fragments_sweep(struct worker *worker);
