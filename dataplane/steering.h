/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * Which worker the network card gives a frame to, and which source ports bring a flow's replies to a
 * given worker. Pure: the caller has read key and redirection table (RETA) from the card.
 *
 * The RETA entry of a reply is the low bits of hash(reply with port 0) ^ T[port], T being linear, so
 * the ports fall into classes by the low bits of T. A class is one particular port XOR the kernel of
 * T: two small tables for all addresses and backends, and no list of free ports.
 */
#pragma once

#include <sluice/base.h>
#include <sluice/packet/source_port.h>
#include <sluice/packet/toeplitz.h>

enum {
	STEERING_MAX_RETA = 2048,
	STEERING_MAX_WORKERS = 256, /* what an entry of the RETA can name */
	STEERING_MAX_STEPS = 4096,  /* places that one walk looks at, whatever it finds */
};

/** The ports of one family, by what they contribute to the low bits of the hash. */
struct steering_ports {
	uint16_t solution[STEERING_MAX_RETA]; /* class -> one port of it, host order */
	uint8_t is_class[STEERING_MAX_RETA];  /* 0: no port is of this class */
	uint16_t kernel_low[256];             /* k -> kernel_low[k & 255] ^ kernel_high[k >> 8] */
	uint16_t kernel_high[256];
	uint32_t kernel_size; /* ports in every class: a power of two, 65536 >> rank */
	uint32_t rank;
};

struct steering {
	struct sl_toeplitz toeplitz;
	struct steering_ports ports4;
	struct steering_ports ports6;
	uint32_t reta_mask; /* entries of the RETA, less 1 */
	uint32_t n_workers;
	uint8_t reta[STEERING_MAX_RETA];
	uint16_t index[STEERING_MAX_RETA];              /* of RETA entries, sorted by worker */
	uint16_t first_index[STEERING_MAX_WORKERS + 1]; /* worker -> its first place in index */
};

/**
 * Fills @steering. @key: of @key_bytes, at least SL_TOEPLITZ_MIN_KEY_BYTES. @reta: @reta_size
 * entries, each a worker below @n_workers; the size is a power of two up to STEERING_MAX_RETA.
 * A worker may be without entries. 0, or -EINVAL with the reason in @error (SL_MAX_ERROR bytes).
 */
int steering_init(struct steering *steering, const uint8_t *key, uint32_t key_bytes,
		  const uint8_t *reta, uint32_t reta_size, uint32_t n_workers,
		  char *error) SL_MUST_USE;

/** The worker that the card gives a frame of this hash to. */
SL_INLINE uint32_t steering_worker(const struct steering *steering, uint32_t hash)
{
	return steering->reta[hash & steering->reta_mask];
}

enum steering_walk_kind {
	STEERING_WALK_ALL = 0, /* one worker: every port of the range is right */
	STEERING_WALK_RANGE,   /* a narrow range: its ports, those of other workers left out */
	STEERING_WALK_CLASSES, /* the worker's classes: ports outside the range left out */
};

/** A walk over the source ports for one flow; the caller's storage, no resources. */
struct steering_walk {
	const struct steering *steering; /* borrowed for as long as the walk is used */
	const struct steering_ports *ports;
	struct sl_port_walk all;
	uint32_t constant; /* hash of the reply with destination port 0 */
	uint32_t worker;
	uint32_t n_left; /* places still to look at */
	uint32_t n_tries_left;
	uint32_t n_ports; /* of the range */
	uint32_t at;      /* of the range, or of the kernel */
	uint32_t step;    /* odd */
	uint32_t mask;    /* of at: a power of two, less 1 */
	uint32_t row;     /* at, where the present round over the indices began */
	uint32_t i;       /* index that comes next, from n_indices down to 1 */
	uint32_t n_indices;
	uint32_t index; /* the worker's present RETA index, as a place in steering->index */
	uint16_t first;
	uint8_t family;
	uint8_t kind;
};

/**
 * Begins a walk over source ports in @first..@last (host order, both included, 1 <= @first <=
 * @last) for a flow of @worker, which is below n_workers. @reply: the backend's packet, source = the
 * backend's address and port, destination = the pool address; destination_port is ignored.
 * @random: all 32 bits unpredictable to others.
 */
void steering_walk_begin(struct steering_walk *walk, const struct steering *steering,
			 const struct sl_tuple *reply, uint32_t worker, uint16_t first,
			 uint16_t last, uint32_t random);

/**
 * The next port to try, in network order: in the range, given once, and its reply comes to the
 * worker. False: SL_SOURCE_PORT_TRIES were given, or the walk has seen all, or STEERING_MAX_STEPS
 * places. All ports that are right are seen if the range has at most STEERING_MAX_STEPS ports, or
 * the worker has at most that many in all.
 */
bool steering_walk_next(struct steering_walk *walk, be16_t *port) SL_MUST_USE;
