/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * Which worker the network card gives a frame to, and which source ports bring a flow's replies to a
 * given worker. Pure: the caller has read key and redirection table (RETA) from the card.
 *
 * The RETA entry of a reply is the low bits of hash(reply with port 0) ^ T[port], T being linear, so
 * the ports fall into classes by the low bits of T. A class is one particular port XOR the kernel of
 * T: two small tables for all addresses and backends, and no list of free ports.
 *
 * When the number of workers changes, another table takes the place of the present one, which stays as
 * a former one as long as flows live where it had them: docs/decisions/0015. The entry of a frame is
 * the same in all of them, so the column of an entry, its worker in each table, says all there is to
 * say of who may know the frame's flow.
 */
#pragma once

#include <sluice/base.h>
#include <sluice/packet/source_port.h>
#include <sluice/packet/toeplitz.h>

enum {
	STEERING_MAX_RETA = 2048,
	STEERING_MAX_WORKERS = 256, /* what an entry of the RETA can name */
	STEERING_MAX_STEPS = 4096,  /* places that one walk looks at, whatever it finds */
	STEERING_MAX_FORMER = 3,    /* tables beside the present one */
	STEERING_MAX_OFFERED = 7,   /* source ports that go with a frame */
	STEERING_MAX_HOPS = 16,     /* from worker to worker; two a table are what it takes */
	STEERING_ASKED_ALL = 255,
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
	uint32_t n_named; /* workers below this are named by one of the tables */
	uint32_t n_former;
	uint16_t number; /* of the present table: one more with each change */
	uint16_t n_columns;
	/* [0] is the present one, then the former ones, the latest first. */
	uint8_t reta[1 + STEERING_MAX_FORMER][STEERING_MAX_RETA];
	/* Entries with the same column have one; without former tables that is the worker's number. */
	uint16_t column[STEERING_MAX_RETA];
	uint16_t index[STEERING_MAX_RETA];           /* of RETA entries, sorted by column */
	uint16_t first_index[STEERING_MAX_RETA + 1]; /* column -> its first place in index */
};

/**
 * What goes with a frame from worker to worker: who has been asked for its flow, and what a new flow
 * would take that nobody has who was asked. It holds for one table and one snapshot.
 */
struct steering_mark {
	uint32_t snapshot; /* low bits of its generation */
	uint32_t backend;  /* that a new flow is given; SL_NO_INDEX: each has as many as it may */
	uint16_t number;   /* of the table */
	uint8_t step;      /* the last former table whose worker was asked, or STEERING_ASKED_ALL */
	uint8_t n_hops;
	uint8_t is_vetted; /* a new flow was looked into: what follows is meant */
	uint8_t is_taken;  /* another flow has its way back */
	uint8_t is_back;  /* from one client of mode snat to another, whose address it has by now */
	uint8_t position; /* of the source address */
	uint8_t n_ports;
	uint8_t has_backend;               /* what backend says is meant */
	be16_t port[STEERING_MAX_OFFERED]; /* source ports that nobody has who was asked */
};

_Static_assert(sizeof(struct steering_mark) == 32, "room in a packet buffer");

/**
 * Fills @steering. @key: of @key_bytes, at least SL_TOEPLITZ_MIN_KEY_BYTES. @reta: @reta_size
 * entries, each a worker below @n_workers; the size is a power of two up to STEERING_MAX_RETA.
 * A worker may be without entries. 0, or -EINVAL with the reason in @error (SL_MAX_ERROR bytes).
 */
int steering_init(struct steering *steering, const uint8_t *key, uint32_t key_bytes,
		  const uint8_t *reta, uint32_t reta_size, uint32_t n_workers,
		  char *error) SL_MUST_USE;

/**
 * Fills @next with @present's key, a new table striped over @n_workers, and @present's tables as former
 * ones. -ENOSPC: these are STEERING_MAX_FORMER already.
 */
int steering_follow(struct steering *next, const struct steering *present,
		    uint32_t n_workers) SL_MUST_USE;

/** Fills @next with @present, but for all former tables beyond the latest @n_former. */
void steering_forget(struct steering *next, const struct steering *present, uint32_t n_former);

/** The entry of the RETA that a frame of this hash has. */
SL_INLINE uint32_t steering_index(const struct steering *steering, uint32_t hash)
{
	return hash & steering->reta_mask;
}

/** The worker that the card gives a frame of this hash to. */
SL_INLINE uint32_t steering_worker(const struct steering *steering, uint32_t hash)
{
	return steering->reta[0][steering_index(steering, hash)];
}

/** The latest table that gives entry @index to @worker: 0 the present one; 1 + n_former: none. */
SL_INLINE uint32_t steering_depth(const struct steering *steering, uint32_t index, uint32_t worker)
{
	uint32_t depth = 0;

	while (depth <= steering->n_former && steering->reta[depth][index] != worker)
		depth++;
	return depth;
}

/** The mark of a frame that nobody was asked for; hops stay counted. */
void steering_mark_renew(struct steering_mark *mark, uint16_t number, uint32_t snapshot);

/**
 * @worker does not know the flow of a frame of entry @index: who is to have it next. @mark, which is
 * of this table, is kept. If it is @worker itself, no other worker has the flow, nor ever makes it
 * under this table, and @worker may.
 *
 * Why: only the entry's present worker makes flows, and it does so only after all the workers of
 * former tables have said under the present one that they have none. Under it they make none.
 */
uint32_t steering_next(const struct steering *steering, uint32_t index, uint32_t worker,
		       struct steering_mark *mark) SL_MUST_USE;

enum steering_walk_kind {
	STEERING_WALK_ALL = 0, /* one column: every port of the range is right */
	STEERING_WALK_RANGE,   /* a narrow range: its ports, those of other columns left out */
	STEERING_WALK_CLASSES, /* the column's classes: ports outside the range left out */
};

/** A walk over the source ports for one flow; the caller's storage, no resources. */
struct steering_walk {
	const struct steering *steering; /* borrowed for as long as the walk is used */
	const struct steering_ports *ports;
	struct sl_port_walk all;
	uint32_t constant; /* hash of the reply with destination port 0 */
	uint32_t column;
	uint32_t n_left; /* places still to look at */
	uint32_t n_tries_left;
	uint32_t n_ports; /* of the range */
	uint32_t at;      /* of the range, or of the kernel */
	uint32_t step;    /* odd */
	uint32_t mask;    /* of at: a power of two, less 1 */
	uint32_t row;     /* at, where the present round over the indices began */
	uint32_t i;       /* index that comes next, from n_indices down to 1 */
	uint32_t n_indices;
	uint32_t index; /* the column's present RETA index, as a place in steering->index */
	uint16_t first;
	uint8_t family;
	uint8_t kind;
};

/**
 * Begins a walk over source ports in @first..@last (host order, both included, 1 <= @first <=
 * @last) for a flow whose client's packets are of @column; without former tables, a worker's number.
 * @reply: the backend's packet, source = the backend's address and port, destination = the pool
 * address; destination_port is ignored. @random: all 32 bits unpredictable to others.
 */
void steering_walk_begin(struct steering_walk *walk, const struct steering *steering,
			 const struct sl_tuple *reply, uint32_t column, uint16_t first,
			 uint16_t last, uint32_t random);

/**
 * The next port to try, in network order: in the range, given once, and its reply is of the column,
 * so that whoever is asked for the one packet is asked for the other. False: SL_SOURCE_PORT_TRIES
 * were given, or the walk has seen all, or STEERING_MAX_STEPS places. All ports that are right are
 * seen if the range has at most STEERING_MAX_STEPS ports, or the column has at most that many in all.
 */
bool steering_walk_next(struct steering_walk *walk, be16_t *port) SL_MUST_USE;
