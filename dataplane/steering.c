/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * The walks are double hashing: a random start and a random odd step in a power of two, so that
 * every place is seen once and two walks that meet part again. Over classes, each step goes to the
 * next RETA entry of the column, too: what comes out is spread over its entries, and a class that
 * has no port in the range costs one step of a round.
 */
#include "dataplane/steering.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <sluice/limits.h>

/* Vectors over GF(2) with the ports that make them: what is left of elimination. */
struct basis {
	uint32_t value[16]; /* by its highest bit; 0: none */
	uint16_t port[16];
};

/* Takes from *@value what the basis can make, and from @port how. Returns the port. */
static uint16_t reduce(const struct basis *basis, uint32_t *value, uint16_t port)
{
	for (int bit = 15; bit >= 0; bit--) {
		if ((*value >> bit & 1) == 0 || basis->value[bit] == 0)
			continue;
		*value ^= basis->value[bit];
		port ^= basis->port[bit];
	}
	return port;
}

/*
 * @vector: a basis, those of low ports first. They are taken from the end, so that the low bits of k
 * are the high bits of the port: where k steps by an odd number, the ports go evenly over all parts
 * of 1..65535, and a range of any width is met as often as is its due.
 */
static void fill_kernel(struct steering_ports *ports, const uint16_t *vector, uint32_t n_vectors)
{
	for (uint32_t k = 0; k < 256; k++) {
		ports->kernel_low[k] = 0;
		ports->kernel_high[k] = 0;
		for (uint32_t bit = 0; bit < n_vectors; bit++) {
			uint16_t *half = bit < 8 ? ports->kernel_low : ports->kernel_high;

			if (k >> (bit & 7) & 1)
				half[k] ^= vector[n_vectors - 1 - bit];
		}
	}
	ports->kernel_size = 1u << n_vectors;
}

static void fill_ports(struct steering_ports *ports, const struct sl_toeplitz *toeplitz,
		       uint8_t family, uint32_t mask)
{
	struct basis basis = {.value = {0}};
	uint16_t kernel[16];
	uint32_t n_kernel = 0;

	for (uint32_t bit = 0; bit < 16; bit++) {
		uint16_t port = (uint16_t)(1u << bit);
		uint32_t value = sl_toeplitz_port(toeplitz, family, sl_to_be16(port)) & mask;

		port = reduce(&basis, &value, port);
		if (value == 0) {
			kernel[n_kernel++] = port;
			continue;
		}
		basis.value[31 - __builtin_clz(value)] = value;
		basis.port[31 - __builtin_clz(value)] = port;
	}
	ports->rank = 16 - n_kernel;
	fill_kernel(ports, kernel, n_kernel);
	memset(ports->solution, 0, sizeof(ports->solution));
	memset(ports->is_class, 0, sizeof(ports->is_class));
	for (uint32_t low = 0; low <= mask; low++) {
		uint32_t rest = low;

		ports->solution[low] = reduce(&basis, &rest, 0);
		ports->is_class[low] = rest == 0;
	}
}

static bool is_same_column(const struct steering *steering, uint32_t i, uint32_t j)
{
	for (uint32_t k = 0; k <= steering->n_former; k++)
		if (steering->reta[k][i] != steering->reta[k][j])
			return false;
	return true;
}

static void number_columns(struct steering *steering)
{
	uint16_t first[STEERING_MAX_RETA]; /* column -> the entry that it was met at */
	uint16_t n = 0;

	for (uint32_t i = 0; i <= steering->reta_mask; i++) {
		uint16_t column = 0;

		while (column < n && !is_same_column(steering, first[column], i))
			column++;
		if (column == n)
			first[n++] = (uint16_t)i;
		steering->column[i] = column;
	}
	steering->n_columns = n;
}

static void sort_indices(struct steering *steering)
{
	uint16_t n = 0;

	if (steering->n_former == 0) {
		for (uint32_t i = 0; i <= steering->reta_mask; i++)
			steering->column[i] = steering->reta[0][i];
		steering->n_columns = (uint16_t)steering->n_workers;
	} else {
		number_columns(steering);
	}
	memset(steering->first_index, 0, sizeof(steering->first_index));
	for (uint32_t column = 0; column < steering->n_columns; column++) {
		steering->first_index[column] = n;
		for (uint32_t i = 0; i <= steering->reta_mask; i++)
			if (steering->column[i] == column)
				steering->index[n++] = (uint16_t)i;
		steering->first_index[column + 1] = n;
	}
}

int steering_init(struct steering *steering, const uint8_t *key, uint32_t key_bytes,
		  const uint8_t *reta, uint32_t reta_size, uint32_t n_workers, char *error)
{
	if (reta_size == 0 || reta_size > STEERING_MAX_RETA || (reta_size & (reta_size - 1)) != 0) {
		snprintf(error, SL_MAX_ERROR,
			 "redirection table of %u entries: not a power of two up to %d", reta_size,
			 STEERING_MAX_RETA);
		return -EINVAL;
	}
	if (n_workers == 0 || n_workers > STEERING_MAX_WORKERS) {
		snprintf(error, SL_MAX_ERROR, "%u workers: not between 1 and %d", n_workers,
			 STEERING_MAX_WORKERS);
		return -EINVAL;
	}
	for (uint32_t i = 0; i < reta_size; i++) {
		if (reta[i] < n_workers)
			continue;
		snprintf(error, SL_MAX_ERROR, "redirection table entry %u: no worker %u of %u", i,
			 reta[i], n_workers);
		return -EINVAL;
	}
	memset(steering, 0, sizeof(*steering));
	if (!sl_toeplitz_init(&steering->toeplitz, key, key_bytes)) {
		snprintf(error, SL_MAX_ERROR, "RSS key of %u bytes: shorter than %d", key_bytes,
			 SL_TOEPLITZ_MIN_KEY_BYTES);
		return -EINVAL;
	}
	steering->n_workers = n_workers;
	steering->n_named = n_workers;
	steering->reta_mask = reta_size - 1;
	memcpy(steering->reta[0], reta, reta_size);
	sort_indices(steering);
	fill_ports(&steering->ports4, &steering->toeplitz, SL_FAMILY_IPV4, steering->reta_mask);
	fill_ports(&steering->ports6, &steering->toeplitz, SL_FAMILY_IPV6, steering->reta_mask);
	return 0;
}

int steering_follow(struct steering *next, const struct steering *present, uint32_t n_workers)
{
	if (present->n_former == STEERING_MAX_FORMER)
		return -ENOSPC;
	*next = *present;
	memcpy(next->reta[1], present->reta[0], (present->n_former + 1) * sizeof(present->reta[0]));
	next->n_former++;
	next->number++;
	next->n_workers = n_workers;
	if (next->n_named < n_workers)
		next->n_named = n_workers;
	for (uint32_t i = 0; i <= next->reta_mask; i++)
		next->reta[0][i] = (uint8_t)(i % n_workers);
	sort_indices(next);
	return 0;
}

void steering_forget(struct steering *next, const struct steering *present, uint32_t n_former)
{
	*next = *present;
	next->n_former = n_former;
	next->n_named = next->n_workers;
	for (uint32_t k = 1; k <= n_former; k++)
		for (uint32_t i = 0; i <= next->reta_mask; i++)
			if (next->reta[k][i] >= next->n_named)
				next->n_named = next->reta[k][i] + 1u;
	sort_indices(next);
}

void steering_mark_renew(struct steering_mark *mark, uint16_t number, uint32_t snapshot)
{
	*mark = (struct steering_mark){.number = number,
				       .snapshot = snapshot,
				       .n_hops = mark->n_hops,
				       .is_back = mark->is_back};
}

/* Whether one of the former tables before @k has @worker at @index, too. */
static bool was_asked(const struct steering *steering, uint32_t index, uint32_t k, uint32_t worker)
{
	for (uint32_t before = 1; before < k; before++)
		if (steering->reta[before][index] == worker)
			return true;
	return false;
}

uint32_t steering_next(const struct steering *steering, uint32_t index, uint32_t worker,
		       struct steering_mark *mark)
{
	uint32_t present = steering->reta[0][index];

	/* Where all were asked, or more tables were than there are now, no turn is made. */
	for (uint32_t k = mark->step + 1u; k <= steering->n_former; k++) {
		uint32_t other = steering->reta[k][index];

		/* @worker has just looked, and the present one will. */
		if (other == present || other == worker || was_asked(steering, index, k, other))
			continue;
		mark->step = (uint8_t)k;
		return other;
	}
	mark->step = STEERING_ASKED_ALL;
	return present;
}

static uint32_t high_half(uint32_t random, uint32_t n)
{
	return (uint32_t)(((uint64_t)random * n) >> 32);
}

/* Over the range, in the next power of two: at most STEERING_MAX_STEPS places, for that is one. */
static void begin_range(struct steering_walk *walk, uint32_t random)
{
	walk->kind = STEERING_WALK_RANGE;
	walk->mask = 0;
	while (walk->mask + 1 < walk->n_ports)
		walk->mask = walk->mask << 1 | 1;
	walk->at = high_half(random, walk->n_ports);
	walk->step = (random & walk->mask) | 1;
	walk->n_left = walk->mask + 1;
}

static void begin_classes(struct steering_walk *walk, uint32_t random)
{
	const struct steering *steering = walk->steering;
	uint32_t first = steering->first_index[walk->column];
	uint32_t n_places;

	walk->kind = STEERING_WALK_CLASSES;
	walk->n_indices = steering->first_index[walk->column + 1] - first;
	walk->mask = walk->ports->kernel_size - 1;
	walk->index = first + high_half(random, walk->n_indices);
	/* The bits that the choice of the index left over. */
	walk->at = high_half(random * walk->n_indices, walk->ports->kernel_size);
	walk->step = (random & walk->mask) | 1;
	walk->row = walk->at;
	walk->i = walk->n_indices;
	n_places = walk->n_indices * walk->ports->kernel_size;
	walk->n_left = n_places < STEERING_MAX_STEPS ? n_places : STEERING_MAX_STEPS;
}

void steering_walk_begin(struct steering_walk *walk, const struct steering *steering,
			 const struct sl_tuple *reply, uint32_t column, uint16_t first,
			 uint16_t last, uint32_t random)
{
	struct sl_tuple without_port = *reply;

	*walk = (struct steering_walk){
		.steering = steering,
		.column = column,
		.first = first,
		.family = reply->family,
		.n_ports = (uint32_t)(last - first) + 1,
		.n_tries_left = SL_SOURCE_PORT_TRIES,
	};
	if (steering->n_columns == 1) {
		walk->kind = STEERING_WALK_ALL;
		sl_port_walk_begin(&walk->all, first, last, random);
		walk->n_left = walk->n_ports;
		return;
	}
	without_port.destination_port = 0;
	walk->constant = sl_toeplitz_hash(&steering->toeplitz, &without_port);
	walk->ports = reply->family == SL_FAMILY_IPV4 ? &steering->ports4 : &steering->ports6;
	if (walk->n_ports <= STEERING_MAX_STEPS)
		begin_range(walk, random);
	else
		begin_classes(walk, random);
}

/* One place of the range; false: it is not in the range, or of another column. */
static bool look_in_range(struct steering_walk *walk, uint16_t *port)
{
	const struct steering *steering = walk->steering;
	uint32_t at = walk->at;
	uint32_t hash;

	walk->at = (walk->at + walk->step) & walk->mask;
	if (at >= walk->n_ports)
		return false;
	*port = (uint16_t)(walk->first + at);
	hash = walk->constant ^
	       sl_toeplitz_port(&steering->toeplitz, walk->family, sl_to_be16(*port));
	return steering->column[steering_index(steering, hash)] == walk->column;
}

/* One port of one class of the column; false: there is none, or it is not in the range. */
static bool look_in_classes(struct steering_walk *walk, uint16_t *port)
{
	const struct steering *steering = walk->steering;
	const struct steering_ports *ports = walk->ports;
	uint32_t low = (steering->index[walk->index] ^ walk->constant) & steering->reta_mask;
	uint32_t k = walk->at;

	walk->at = (walk->at + walk->step) & walk->mask;
	walk->index++;
	if (walk->index == steering->first_index[walk->column + 1])
		walk->index = steering->first_index[walk->column];
	/* A round over: the next begins one step after this one began, and meets other places. */
	if (--walk->i == 0) {
		walk->i = walk->n_indices;
		walk->row = (walk->row + walk->step) & walk->mask;
		walk->at = walk->row;
	}
	if (!ports->is_class[low])
		return false;
	*port = ports->solution[low] ^ ports->kernel_low[k & 255] ^ ports->kernel_high[k >> 8];
	return (uint16_t)(*port - walk->first) < walk->n_ports;
}

bool steering_walk_next(struct steering_walk *walk, be16_t *port)
{
	uint16_t found;

	if (walk->n_tries_left == 0)
		return false;
	for (; walk->n_left > 0; walk->n_left--) {
		if (walk->kind == STEERING_WALK_ALL)
			found = sl_from_be16(sl_port_walk_next(&walk->all));
		else if (!(walk->kind == STEERING_WALK_RANGE ? look_in_range(walk, &found)
							     : look_in_classes(walk, &found)))
			continue;
		walk->n_left--;
		walk->n_tries_left--;
		*port = sl_to_be16(found);
		return true;
	}
	return false;
}
