/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * One end of the private protocol for tests: a session without its socket, on the memory engine,
 * and the records that tests put in messages.
 */
#pragma once

#include <sluice/base.h>
#include <sluice/wire.h>

#include "dataplane/dataplane.h"
#include "dataplane/session.h"

struct world {
	struct dataplane *dataplane;
	struct sessions *sessions;
};

struct peer {
	struct world *world;
	struct session *session;
	uint32_t id;
	_Alignas(8) uint8_t request[WIRE_MAX_MESSAGE + 64];
	_Alignas(8) uint8_t reply[WIRE_MAX_MESSAGE];
};

void world_open(struct world *world);
void world_close(struct world *world);

/** A connection that has not greeted. Heap; peer_free() ends it. */
struct peer *peer_new(struct world *world, int pid);
void peer_free(struct peer *peer);

/** Sends a well-framed message; the status of the answer, whose frame is asserted. */
int peer_call(struct peer *peer, uint16_t type, const void *body, size_t size);

/** Sends @length bytes as they are. The status, or 1: the packet was no message. */
int peer_send_raw(struct peer *peer, const void *bytes, size_t length);

/** Of the last answer. */
const void *peer_body(const struct peer *peer);
const char *peer_error(const struct peer *peer);

int peer_hello(struct peer *peer);
int peer_begin(struct peer *peer, uint64_t generation, uint64_t base);
int peer_services(struct peer *peer, const struct wire_service *record, uint32_t n);
int peer_backends(struct peer *peer, const struct wire_backend *record, uint32_t n);
int peer_service_delete(struct peer *peer, const struct wire_address *service);
int peer_backend_delete(struct peer *peer, const struct wire_backend *backend);
int peer_commit(struct peer *peer, bool is_dry_run);
int peer_abort(struct peer *peer);

struct peer_state {
	uint64_t generation;
	uint64_t digest;
	uint32_t n_services;
	uint32_t n_backends;
};
struct peer_state peer_state(struct peer *peer);

/** Service 203.0.@number.10:80/tcp with 251 slots; @number is 16 bits wide. */
struct wire_service service_record(uint32_t number);

/** The same in fullnat, with sources 198.18.@number / 256.@number % 256 and 198.19. likewise, ports 1024-65535. */
struct wire_service fullnat_record(uint32_t number);

/** Backend 10.@number:8080 of @service, ready, weight 1. */
struct wire_backend backend_record(const struct wire_service *service, uint32_t number);

/** The key that peer_begin() sends. */
extern const struct sl_hash_key peer_key;
