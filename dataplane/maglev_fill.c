/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * Each backend walks its own permutation of the slots, (offset + i * skip) mod n_slots, and takes
 * the first free one whenever it has a turn. Turns come in rounds, in the order of the backends'
 * hashes; in a round the heaviest backend has one turn and the others by the share of their weight,
 * carried over from round to round, so that every share is exact to one slot. Half of all tries of many
 * backends would be for the last sqrt(n_slots) slots: of those, each picks the first of its permutation.
 */
#include "dataplane/maglev_fill.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <sluice/limits.h>
#include <sluice/packet/siphash.h>
#include <sluice/tables.h>

enum {
	MAX_LAST_SLOTS = 1024,
	MIN_WALKERS = 32, /* fewer are seldom in each other's way, and so try few slots */
	SLOT_BITS = 20,
};

_Static_assert(SL_MAX_SLOTS < 1 << SLOT_BITS && SL_MAX_SLOTS < MAX_LAST_SLOTS * MAX_LAST_SLOTS,
	       "slots as distance() and last_slots have them");

struct walker {
	uint64_t rank; /* order of turns; from the identity, so not of the caller's making */
	uint32_t next; /* slot to try */
	uint32_t skip;
	uint32_t weight;
	uint32_t credit; /* of a turn, in units of the heaviest weight */
	uint16_t position;
	uint64_t stride; /* 1 / skip as distance() has it, or 0: not known yet */
};

/* What is left to fill, and how many have had their turn in this round. */
struct filling {
	uint16_t *slot;
	uint32_t n_slots;
	uint32_t n_free;
	uint32_t max_weight;
	size_t turn;
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
	walker->stride = 0;
	walker->position = (uint16_t)position;
}

/* The slot behind @at in the walker's permutation. */
static uint32_t next_slot(const struct walker *walker, uint32_t at, uint32_t n_slots)
{
	at += walker->skip;
	return at >= n_slots ? at - n_slots : at;
}

static void take_slot(struct walker *walker, uint16_t *slot, uint32_t n_slots)
{
	uint32_t at = walker->next;

	while (slot[at] != SL_NO_BACKEND_SLOT)
		at = next_slot(walker, at, n_slots);
	slot[at] = walker->position;
	walker->next = next_slot(walker, at, n_slots);
}

/* Whether the walker has a turn now. */
static bool has_turn(struct walker *walker, uint32_t max_weight)
{
	walker->credit += walker->weight;
	if (walker->credit < max_weight)
		return false;
	walker->credit -= max_weight;
	return true;
}

/* Until @n_last slots are free. */
static void take_turns(struct walker *walker, size_t n, struct filling *filling, uint32_t n_last)
{
	const uint32_t n_slots = filling->n_slots, max_weight = filling->max_weight;
	uint32_t n_free = n_slots;
	uint16_t *slot = filling->slot;
	size_t i = 0;

	while (n_free > n_last) {
		for (i = 0; i < n && n_free > n_last; i++) {
			if (!has_turn(&walker[i], max_weight))
				continue;
			take_slot(&walker[i], slot, n_slots);
			n_free--;
		}
	}
	filling->n_free = n_free;
	filling->turn = i;
}

/* x with @a * x mod @n = 1; @n is prime, 0 < @a < @n. Euclid's, extended. */
static uint32_t inverse(uint32_t a, uint32_t n)
{
	int64_t x = 0, next_x = 1, rest = n, next_rest = a;

	while (next_rest != 0) {
		int64_t times = rest / next_rest, former = next_x;

		next_x = x - times * next_x;
		x = former;
		former = next_rest;
		next_rest = rest - times * next_rest;
		rest = former;
	}
	return (uint32_t)(x < 0 ? x + n : x);
}

/*
 * How far slot @at is along the walker's permutation, as a share of it in units of 2^-64: the steps are
 * (at - next) / skip mod n_slots, and of a share what is whole overflows. The stride is 2^-44 too small at
 * most, and at - next below 2^20: the error is less than a sixteenth of a step.
 */
static uint64_t distance(const struct walker *walker, uint32_t at)
{
	return ((uint64_t)at - walker->next) * walker->stride;
}

/* Takes the walker's first slot of the @n_free ones at @free_slot; the last fills the gap. */
static void take_last(struct walker *walker, uint32_t *free_slot, struct filling *filling)
{
	uint64_t nearest = UINT64_MAX;
	uint32_t at, found = 0;

	if (walker->stride == 0)
		walker->stride =
			((uint64_t)inverse(walker->skip, filling->n_slots) << (64 - SLOT_BITS)) /
				filling->n_slots
			<< SLOT_BITS;
	for (uint32_t i = 0; i < filling->n_free; i++) {
		uint64_t steps = distance(walker, free_slot[i]);

		found = steps < nearest ? i : found;
		nearest = steps < nearest ? steps : nearest;
	}
	at = free_slot[found];
	filling->slot[at] = walker->position;
	walker->next = next_slot(walker, at, filling->n_slots);
	free_slot[found] = free_slot[--filling->n_free];
}

static void take_last_turns(struct walker *walker, size_t n, struct filling *filling)
{
	uint32_t free_slot[MAX_LAST_SLOTS], n_free = 0;

	for (uint32_t i = 0; i < filling->n_slots && n_free < filling->n_free; i++)
		if (filling->slot[i] == SL_NO_BACKEND_SLOT)
			free_slot[n_free++] = i;
	for (size_t i = filling->turn; filling->n_free > 0; i++) {
		if (i >= n)
			i = 0;
		if (has_turn(&walker[i], filling->max_weight))
			take_last(&walker[i], free_slot, filling);
	}
}

/* The most slots whose search costs less than the tries of @n walkers for them would. */
static uint32_t count_last(size_t n, uint32_t n_slots)
{
	uint32_t n_last = 0;

	while (n >= MIN_WALKERS && n_last * n_last < n_slots)
		n_last++;
	return n_last;
}

int maglev_fill(const struct sl_hash_key *key, const struct maglev_backend *backend,
		size_t n_backends, uint16_t *slot, uint32_t n_slots)
{
	struct filling filling = {.slot = slot, .n_slots = n_slots};
	struct walker *walker;
	size_t n = 0;

	if (n_slots > SL_MAX_SLOTS || !maglev_is_prime(n_slots) || n_backends >= SL_NO_BACKEND_SLOT)
		return -EINVAL;
	memset(slot, 0xff, n_slots * sizeof(*slot));
	walker = calloc(n_backends + 1, sizeof(*walker));
	if (walker == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < n_backends; i++) {
		if (backend[i].weight == 0)
			continue;
		walker_init(&walker[n++], key, &backend[i], i, n_slots);
		if (backend[i].weight > filling.max_weight)
			filling.max_weight = backend[i].weight;
	}
	if (n > 0) {
		qsort(walker, n, sizeof(*walker), compare_rank);
		take_turns(walker, n, &filling, count_last(n, n_slots));
		take_last_turns(walker, n, &filling);
	}
	free(walker);
	return n > 0 ? 0 : -ENOENT;
}
