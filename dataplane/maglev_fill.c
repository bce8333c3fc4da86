/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * Each backend walks its own permutation of the slots, (offset + i * skip) mod n_slots, and takes
 * the first free one whenever it has a turn. Turns come in rounds, in the order of the backends'
 * hashes; in a round the heaviest backend has one turn and the others by the share of their weight,
 * carried over from round to round, so that every share is exact to one slot.
 */
#include "dataplane/maglev_fill.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <sluice/packet/siphash.h>
#include <sluice/tables.h>

struct walker {
	uint64_t rank; /* order of turns; from the identity, so not of the caller's making */
	uint32_t next; /* slot to try */
	uint32_t skip;
	uint32_t weight;
	uint32_t credit; /* of a turn, in units of the heaviest weight */
	uint16_t position;
};

bool maglev_is_prime(uint32_t n)
{
	if (n < 4)
		return n >= 2;
	if (n % 2 == 0)
		return false;
	for (uint32_t d = 3; (uint64_t)d * d <= n; d += 2)
		if (n % d == 0)
			return false;
	return true;
}

static int compare_rank(const void *left, const void *right)
{
	const struct walker *a = left;
	const struct walker *b = right;

	return (a->rank > b->rank) - (a->rank < b->rank);
}

static void walker_init(struct walker *walker, const struct sl_hash_key *key,
			const struct maglev_backend *backend, size_t position, uint32_t n_slots)
{
	uint64_t word[4] = {
		(uint64_t)backend->addr.word[1] << 32 | backend->addr.word[0],
		(uint64_t)backend->addr.word[3] << 32 | backend->addr.word[2],
		(uint64_t)backend->protocol << 32 | (uint64_t)backend->family << 16 | backend->port,
		0,
	};
	uint64_t hash = sl_siphash13_words(key, word, SL_ARRAY_LEN(word));

	walker->next = (uint32_t)(hash % n_slots);
	word[3] = 1;
	hash = sl_siphash13_words(key, word, SL_ARRAY_LEN(word));
	walker->skip = (uint32_t)(hash % (n_slots - 1)) + 1;
	word[3] = 2;
	walker->rank = sl_siphash13_words(key, word, SL_ARRAY_LEN(word));
	walker->weight = backend->weight;
	walker->credit = 0;
	walker->position = (uint16_t)position;
}

static void take_slot(struct walker *walker, uint16_t *slot, uint32_t n_slots)
{
	uint32_t at = walker->next;

	while (slot[at] != SL_NO_BACKEND_SLOT) {
		at += walker->skip;
		if (at >= n_slots)
			at -= n_slots;
	}
	slot[at] = walker->position;
	at += walker->skip;
	walker->next = at >= n_slots ? at - n_slots : at;
}

static void take_turns(struct walker *walker, size_t n, uint32_t max_weight, uint16_t *slot,
		       uint32_t n_slots)
{
	uint32_t n_filled = 0;

	while (n_filled < n_slots) {
		for (size_t i = 0; i < n && n_filled < n_slots; i++) {
			walker[i].credit += walker[i].weight;
			if (walker[i].credit < max_weight)
				continue;
			walker[i].credit -= max_weight;
			take_slot(&walker[i], slot, n_slots);
			n_filled++;
		}
	}
}

int maglev_fill(const struct sl_hash_key *key, const struct maglev_backend *backend,
		size_t n_backends, uint16_t *slot, uint32_t n_slots)
{
	struct walker *walker;
	uint32_t max_weight = 0;
	size_t n = 0;

	if (!maglev_is_prime(n_slots) || n_backends >= SL_NO_BACKEND_SLOT)
		return -EINVAL;
	memset(slot, 0xff, n_slots * sizeof(*slot));
	walker = calloc(n_backends + 1, sizeof(*walker));
	if (walker == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < n_backends; i++) {
		if (backend[i].weight == 0)
			continue;
		walker_init(&walker[n++], key, &backend[i], i, n_slots);
		if (backend[i].weight > max_weight)
			max_weight = backend[i].weight;
	}
	if (n > 0) {
		qsort(walker, n, sizeof(*walker), compare_rank);
		take_turns(walker, n, max_weight, slot, n_slots);
	}
	free(walker);
	return n > 0 ? 0 : -ENOENT;
}
