// SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0
/* Copyright (c) 2026 The Sluice authors */
/*
 * Clients that keep their backend: dataplane/dpdk/affinity.c, in a map of the kernel's that evicts who was
 * asked for longest ago. For a flow's first packet alone; each has the stack to itself.
 */
#pragma once

#include <sluice/packet/affinity.h>

#include "flow_table.h"
#include "schedule.h"

/**
 * What the entry of @creation's client says, NULL: it has none, or @service is unknown. A client whose entry
 * is evicted meanwhile may read another's, and write it: a backend of another service is nobody's then, and
 * one of this service serves that client as well.
 */
static __always_inline uint64_t *affinity_find(const struct creation *creation, uint32_t service,
					       struct sl_xdp_affinity *key)
{
	const struct sl_service *record = bpf_map_lookup_elem(&services, &service);
	const struct sl_affinity *rule = bpf_map_lookup_elem(&affinity_rules, &service);

	if (record == NULL || rule == NULL)
		return NULL;
	key->service = (uint16_t)service;
	key->epoch = record->epoch;
	key->prefix = sl_affinity_prefix(&creation->client.source, rule->prefix_length);
	return bpf_map_lookup_elem(&affinities, key);
}

/** Index of the backend that the client of the new flow keeps and may have as its audience does, or SL_NO_INDEX. */
__noinline uint32_t affinity_choose(const struct creation *creation, uint32_t service)
{
	struct sl_xdp_affinity key = {.service = 0};
	const struct sl_backend *backend;
	union backend_word state;
	const uint64_t *entry;
	uint64_t word;
	uint32_t index;

	if (creation == NULL)
		return SL_NO_INDEX;
	entry = affinity_find(creation, service, &key);
	if (entry == NULL)
		return SL_NO_INDEX;
	word = *(const volatile uint64_t *)entry;
	if (sl_affinity_left(word, creation->now) == 0)
		return SL_NO_INDEX;
	index = sl_affinity_backend(word);
	backend = bpf_map_lookup_elem(&backends, &index);
	if (backend == NULL)
		return SL_NO_INDEX;
	state = backend_state(backend);
	if (state.family == SL_FAMILY_NONE || state.epoch != sl_affinity_epoch(word) ||
	    backend->service != service ||
	    backend->weight[creation->audience & (SL_N_AUDIENCES - 1)] == 0 || has_no_room(index))
		return SL_NO_INDEX;
	return index;
}

/** The flow of this CPU's creation was made: its client's next ones are to have its backend. */
__noinline uint32_t affinity_keep(void)
{
	struct sl_xdp_affinity key = {.service = 0};
	uint32_t zero = 0;
	const struct creation *creation = bpf_map_lookup_elem(&creations, &zero);
	struct sl_xdp_cpu *cpu = bpf_map_lookup_elem(&cpus, &zero);
	const struct sl_affinity *rule;
	uint64_t *entry;
	uint64_t word;
	uint32_t service;

	if (creation == NULL || cpu == NULL)
		return 0;
	service = creation->service;
	rule = bpf_map_lookup_elem(&affinity_rules, &service);
	entry = affinity_find(creation, service, &key);
	if (rule == NULL)
		return 0;
	word = sl_affinity_word(creation->backend, creation->backend_epoch,
				creation->now + rule->timeout_ticks);
	if (entry != NULL && sl_affinity_is_kept(*(volatile uint64_t *)entry, word, creation->now))
		cpu->counters.event[SL_EVENT_AFFINITY_KEPT]++;
	else
		cpu->counters.event[SL_EVENT_AFFINITY_MADE]++;
	if (entry != NULL)
		*(volatile uint64_t *)entry = word;
	else
		bpf_map_update_elem(&affinities, &key, &word, BPF_ANY);
	return 0;
}
