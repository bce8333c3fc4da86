/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * What chooses a new flow's backend beside the hash of its 5-tuple: the hash of its source, the next
 * turn, the fewest flows. Called for a flow's first packet alone; the engines read their tables and
 * counts, here is what is made of them.
 */
#pragma once

#include <sluice/base.h>
#include <sluice/packet/flow.h>

enum {
	SL_SCHEDULE_CANDIDATES = 16, /* backends that are compared for one flow, at most */
};

/** The hash of all that a client sends to one service: sl_flow_hash() with source port 0. */
SL_INLINE uint64_t sl_source_hash(const struct sl_hash_key *key, const struct sl_tuple *tuple)
{
	struct sl_tuple client = *tuple;

	client.source_port = 0;
	return sl_flow_hash(key, &client);
}

/**
 * The slot whose turn it is, and the next one is next. @turn: the service's, of whichever thread is
 * asked: two that ask at once may get the same slot.
 */
SL_INLINE uint32_t sl_schedule_turn(uint32_t *turn, uint32_t n_slots)
{
	uint32_t slot = *(volatile uint32_t *)turn;

	if (slot >= n_slots)
		slot = 0;
	*(volatile uint32_t *)turn = slot + 1;
	return slot;
}

/** The best of the backends that were offered; zero: none was, or none could take the flow. */
struct sl_least {
	uint32_t weight; /* 0: none */
	uint32_t flows;  /* live ones, and the new one */
	uint32_t backend;
};

/**
 * Offers @backend, which has @flows of at most @max_flows (0: no limit). Fewest flows for its weight
 * wins, the first one among equals. Without a branch: see sl_less(). @weight: 0..65535, 0: it takes no
 * new flows. @flows and @max_flows: below 2^31.
 */
SL_INLINE void sl_least_offer(struct sl_least *least, uint32_t backend, uint32_t weight,
			      uint32_t flows, uint32_t max_flows)
{
	uint64_t ours = (uint64_t)(flows + 1) * least->weight;
	uint64_t theirs = (uint64_t)least->flows * weight;
	uint32_t is_full = sl_less(0, max_flows) & (1 - sl_less(flows, max_flows));
	uint32_t is_first = 1 - sl_less(0, least->weight);
	uint32_t is_less = (uint32_t)((ours - theirs) >> 63);
	uint32_t if_better = 0 - (sl_less(0, weight) & (1 - is_full) & (is_first | is_less));

	least->backend ^= (least->backend ^ backend) & if_better;
	least->weight ^= (least->weight ^ weight) & if_better;
	least->flows ^= (least->flows ^ (flows + 1)) & if_better;
}
