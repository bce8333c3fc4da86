/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * The walks are double hashing: a random start and a random odd step in a power of two, so that
 * every place is seen once and two walks that meet part again. Over classes, each step goes to the
 * next RETA entry of the worker, too: what comes out is spread over its entries, and a class that
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

static void sort_indices(struct steering *steering, uint32_t reta_size)
{
	uint32_t n = 0;

	for (uint32_t worker = 0; worker <= STEERING_MAX_WORKERS; worker++) {
		steering->first_index[worker] = (uint16_t)n;
		for (uint32_t i = 0; i < reta_size && worker < STEERING_MAX_WORKERS; i++)
			if (steering->reta[i] == worker)
				steering->index[n++] = (uint16_t)i;
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
	steering->reta_mask = reta_size - 1;
	memcpy(steering->reta, reta, reta_size);
	sort_indices(steering, reta_size);
	fill_ports(&steering->ports4, &steering->toeplitz, SL_FAMILY_IPV4, steering->reta_mask);
	fill_ports(&steering->ports6, &steering->toeplitz, SL_FAMILY_IPV6, steering->reta_mask);
	return 0;
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
	uint32_t first = steering->first_index[walk->worker];
	uint32_t n_places;

	walk->kind = STEERING_WALK_CLASSES;
	walk->n_indices = steering->first_index[walk->worker + 1] - first;
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
			 const struct sl_tuple *reply, uint32_t worker, uint16_t first,
			 uint16_t last, uint32_t random)
{
	struct sl_tuple without_port = *reply;

	*walk = (struct steering_walk){
		.steering = steering,
		.worker = worker,
		.first = first,
		.family = reply->family,
		.n_ports = (uint32_t)(last - first) + 1,
		.n_tries_left = SL_SOURCE_PORT_TRIES,
	};
	if (steering->n_workers == 1) {
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

/* One place of the range; false: it is not in the range, or another worker's. */
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
	return steering_worker(steering, hash) == walk->worker;
}

/* One port of one class of the worker; false: there is none, or it is not in the range. */
static bool look_in_classes(struct steering_walk *walk, uint16_t *port)
{
	const struct steering *steering = walk->steering;
	const struct steering_ports *ports = walk->ports;
	uint32_t low = (steering->index[walk->index] ^ walk->constant) & steering->reta_mask;
	uint32_t k = walk->at;

	walk->at = (walk->at + walk->step) & walk->mask;
	walk->index++;
	if (walk->index == steering->first_index[walk->worker + 1])
		walk->index = steering->first_index[walk->worker];
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
