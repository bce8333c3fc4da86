/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* See turns_fill.h. Weights become turns by credit, as Maglev's do in maglev_fill.c. */
#include "dataplane/turns_fill.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <sluice/tables.h>

/* Each begins with another part of a turn, so that light ones do not all have theirs in one round. */
static void spread_credits(uint32_t *credit, size_t n, uint32_t max_weight)
{
	for (size_t i = 0; i < n; i++)
		credit[i] = (uint32_t)((uint64_t)max_weight * i / n);
}

static void take_turns(const struct maglev_backend *backend, uint32_t *credit, size_t n,
		       uint32_t max_weight, uint16_t *slot, uint32_t n_slots)
{
	uint32_t n_filled = 0;

	while (n_filled < n_slots) {
		for (size_t i = 0; i < n && n_filled < n_slots; i++) {
			credit[i] += backend[i].weight;
			if (credit[i] < max_weight || backend[i].weight == 0)
				continue;
			credit[i] -= max_weight;
			slot[n_filled++] = (uint16_t)i;
		}
	}
}

int turns_fill(const struct maglev_backend *backend, size_t n_backends, uint16_t *slot,
	       uint32_t n_slots)
{
	uint32_t max_weight = 0;
	uint32_t *credit;

	if (n_backends >= SL_NO_BACKEND_SLOT)
		return -EINVAL;
	memset(slot, 0xff, n_slots * sizeof(*slot));
	for (size_t i = 0; i < n_backends; i++)
		if (backend[i].weight > max_weight)
			max_weight = backend[i].weight;
	if (max_weight == 0)
		return -ENOENT;
	credit = calloc(n_backends, sizeof(*credit));
	if (credit == NULL)
		return -ENOMEM;
	spread_credits(credit, n_backends, max_weight);
	take_turns(backend, credit, n_backends, max_weight, slot, n_slots);
	free(credit);
	return 0;
}
