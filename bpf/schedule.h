// SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0
/* Copyright (c) 2026 The Sluice authors */
/*
 * Which backend a new flow is given, where its hash alone does not say: dataplane/dpdk/schedule.c, on
 * the tables of one service. For a flow's first packet alone.
 */
#pragma once

#include <sluice/packet/schedule.h>
#include <sluice/wire.h>

#include "maps.h"

/** One backend's state: the word that the agent writes at once. */
union backend_word {
	uint64_t word;
	struct {
		be16_t port;
		uint8_t family;
		uint8_t is_gone;
		uint16_t epoch;
		uint16_t adjacency;
	};
};

static __always_inline union backend_word backend_state(const struct sl_backend *backend)
{
	return (union backend_word){.word = *(const volatile uint64_t *)&backend->port};
}

static __always_inline const union sl_xdp_chunk *chunk_at(void *inner, uint32_t index)
{
	return bpf_map_lookup_elem(inner, &index);
}

/*
 * @audience: enum sl_audience. What differs by it lies side by side, so that it is an index and never a
 * branch: the verifier would walk all that follows twice.
 */

/** The backend at @position of the members that stand from chunk @first on, or SL_NO_INDEX. */
static __always_inline uint32_t member_at(void *inner, uint32_t first, uint32_t position)
{
	const union sl_xdp_chunk *chunk = chunk_at(inner, first + position / SL_XDP_CHUNK_MEMBERS);

	return chunk != NULL ? chunk->member[position % SL_XDP_CHUNK_MEMBERS] : SL_NO_INDEX;
}

/** The backend that @slot of @audience leads to, or SL_NO_INDEX. */
static __always_inline uint32_t slot_at(void *inner, const union sl_xdp_chunk *head,
					uint32_t audience, uint32_t slot)
{
	uint32_t first = head->head.first_slot_chunk[audience & (SL_N_AUDIENCES - 1)];
	const union sl_xdp_chunk *chunk = chunk_at(inner, first + slot / SL_XDP_CHUNK_SLOTS);
	uint32_t position;

	if (chunk == NULL)
		return SL_NO_INDEX;
	position = chunk->slot[slot % SL_XDP_CHUNK_SLOTS];
	return position != SL_NO_BACKEND_SLOT
		       ? member_at(inner, head->head.first_member_chunk, position)
		       : SL_NO_INDEX;
}

static __always_inline bool has_no_room(uint32_t backend)
{
	const struct sl_load *load = bpf_map_lookup_elem(&loads, &backend);

	return load != NULL && load->max_flows != 0 && load->flows >= load->max_flows;
}

/** Of a few of those with a weight, from where @hash says on: fewest flows for it. */
static __always_inline uint32_t least_of(void *inner, const union sl_xdp_chunk *head,
					 uint32_t audience, uint64_t hash)
{
	uint32_t first = head->head.first_candidate_chunk[audience & (SL_N_AUDIENCES - 1)];
	uint32_t n = head->head.n_candidates[audience & (SL_N_AUDIENCES - 1)];
	uint32_t position = sl_maglev_slot(hash, n);
	struct sl_least least = {0};

	for (uint32_t i = 0; i < SL_SCHEDULE_CANDIDATES && i < n; i++) {
		uint32_t backend = member_at(inner, first, position);
		const struct sl_backend *record = bpf_map_lookup_elem(&backends, &backend);
		const struct sl_load *load = bpf_map_lookup_elem(&loads, &backend);

		if (record != NULL && load != NULL)
			sl_least_offer(&least, backend,
				       record->weight[audience & (SL_N_AUDIENCES - 1)], load->flows,
				       load->max_flows);
		position = position + 1 < n ? position + 1 : 0;
	}
	return least.weight != 0 ? least.backend : SL_NO_INDEX;
}

/** The slot that is next of @n_slots in @service. */
static __always_inline uint32_t turn_take(uint32_t service, uint32_t audience, uint32_t n_slots)
{
	uint32_t index = service * SL_N_AUDIENCES + (audience & (SL_N_AUDIENCES - 1));
	uint32_t *turn = bpf_map_lookup_elem(&turns, &index);

	return turn != NULL ? sl_schedule_turn(turn, n_slots) : 0;
}

/**
 * The backend of a new flow of @service, whose hash is @hash and leads to @backend: backend_for()
 * of the DPDK engine.
 */
static __always_inline uint32_t schedule_backend(const struct sl_service *record, uint32_t service,
						 void *inner, const union sl_xdp_chunk *head,
						 uint32_t audience, uint64_t hash, uint32_t backend)
{
	uint32_t zero = 0;
	struct sl_xdp_cpu *cpu;

	if (record->scheduler == WIRE_SCHEDULER_ROUND_ROBIN)
		backend = slot_at(inner, head, audience,
				  turn_take(service, audience, head->head.n_slots));
	if ((record->flags & SL_SERVICE_COMPARES) == 0 || backend == SL_NO_INDEX)
		return backend;
	if (has_no_room(backend)) {
		cpu = bpf_map_lookup_elem(&cpus, &zero);
		if (cpu != NULL)
			cpu->counters.event[SL_EVENT_BACKEND_FULL]++;
	} else if (record->scheduler != WIRE_SCHEDULER_LEAST_CONNECTIONS) {
		return backend;
	}
	return least_of(inner, head, audience, hash);
}
