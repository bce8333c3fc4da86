/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * What the differential targets draw from: few addresses and ports, so that flows meet; random
 * services and backends on them; frames of conversations that open, close and open again, whole or
 * with something wrong.
 *
 *   port 0   198.51.100.0/24   2001:db8:1::/64   clients; own address .1 and ::1
 *   port 1   10.0.0.0/24       2001:db8:2::/64   backends; own address .1 and ::1
 *   far      192.0.2.0/25      2001:db8:3::/64   by the gateway 198.51.100.7, 2001:db8:1::7
 *
 * Neighbours 2 to 12 of both links are known, each by another link address; the rest are not.
 */
#pragma once

#include <sluice/packet/flow.h>

#include "dataplane/snapshot.h"
#include "tests/unit/random.h"

enum {
	WORLD_N_PORTS = 2,
	WORLD_FIRST_NEIGHBOUR = 2,
	WORLD_LAST_NEIGHBOUR = 12,
	WORLD_MAX_FRAME = 3456, /* what BPF_PROG_TEST_RUN takes */
	WORLD_N_SERVICES = 48,
	WORLD_N_TARGETS = 24, /* backends of a service that may be */
	WORLD_N_TALKS = 64,
	WORLD_N_CANARY_SOURCES = 3, /* of a service at most */
};

struct world_service {
	struct wire_service wire;
	bool is_there;
	uint8_t state[WORLD_N_TARGETS]; /* enum wire_state; 0: not a backend now */
	uint32_t weight[WORLD_N_TARGETS];
	uint32_t max_flows[WORLD_N_TARGETS];
	uint32_t canary_weight[WORLD_N_TARGETS];
	uint32_t n_canary_sources;
	struct wire_listed canary_source[WORLD_N_CANARY_SOURCES];
};

/** A connection as both its ends see it. */
struct talk {
	struct sl_tuple client; /* as its packets leave the client */
	union sl_addr backend;  /* as last heard of */
	be16_t backend_port;    /* 0: not heard of */
	union sl_addr source;   /* what the backend takes for the client's */
	be16_t source_port;
	uint32_t next[2];            /* sequence numbers, of client and backend */
	uint32_t heard;              /* the next that the backend expects; 0: nothing heard yet */
	unsigned int step;           /* of an orderly connection */
	enum sl_direction direction; /* of the last packet */
	uint32_t length;             /* of it, in sequence numbers */
	uint32_t piece_id;           /* of the datagram that is sent in fragments */
	uint32_t piece_at;           /* where its next one begins, bytes; 0: none is under way */
	enum sl_direction piece_direction;
};

struct world {
	struct random random;
	struct staging *staging;
	struct sl_hash_key hash_key;
	uint64_t generation;
	struct world_service service[WORLD_N_SERVICES];
	struct talk talk[WORLD_N_TALKS];
	struct talk *last; /* whose packet was made last */
	uint32_t piece_id; /* the last that a datagram was given */
};

struct frame {
	uint32_t port;
	uint32_t length;
	uint8_t bytes[WORLD_MAX_FRAME];
};

/** The link address of a port of ours; of neighbour @host on that port's link. 6 bytes each. */
void world_own_mac(uint32_t port, uint8_t *mac);
void world_neighbour_mac(uint32_t port, uint32_t host, uint8_t *mac);

/** 0 or negative errno. */
int world_init(struct world *world, uint64_t seed) SL_MUST_USE;
void world_fini(struct world *world);

/** The next snapshot, with some services or backends changed. 0 or negative errno with @error. */
int world_change(struct world *world, const struct snapshot *previous, struct snapshot **out,
		 char *error) SL_MUST_USE;

void world_frame(struct world *world, struct frame *frame);

/** Tells the world that its last frame was sent on as @bytes, by which it knows the backend. */
void world_heard(struct world *world, const uint8_t *bytes, uint32_t length,
		 enum sl_verdict verdict);
