/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * The desired state: all services and backends, and who owns each service. Pure: no I/O, no clock,
 * no dataplane. A state is changed by cloning it, changing the clone, judging the clone whole
 * (desired_check) and taking it over or throwing it away; services are shared between clones by
 * reference and copied when written, so that a change costs what it changes.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <sluice/base.h>
#include <sluice/wire.h>

#include "config/health_check.h"
#include "config/share.h"
#include "control/rpc.h"

struct config;

enum desired_owner {
	DESIRED_OWNER_FILE = 1, /* named by the configuration file */
	DESIRED_OWNER_API = 2,  /* added over the API */
};

/** A backend: its record, and what no dataplane knows of. */
struct desired_backend {
	struct wire_backend wire;
	struct share_part part;
};

/** One service with its backends, sorted by address and port. Immutable once shared. */
struct desired_service {
	uint32_t n_references;
	uint8_t owner;   /* enum desired_owner */
	bool has_digest; /* once desired_digest() was asked */
	uint64_t digest; /* of its records */
	/* What share_overlay() made of it; NULL: nobody asked; itself, not counted: no different. */
	struct desired_service *overlaid;
	struct wire_service wire;
	struct health_check check; /* what no dataplane knows of, and so the next */
	struct share_canary canary;
	uint32_t n_backends;
	uint32_t capacity;
	struct desired_backend *backend;
	uint32_t n_listed;
	struct wire_listed *listed; /* in the order of wire_compare_listed() */
};

struct desired {
	char *file; /* name of the file whose services are here; NULL: none yet */
	size_t n_services;
	size_t n_backends;
	size_t capacity;
	struct desired_service **service; /* sorted by name */
};

/** "file" or "api". */
const char *desired_owner_name(uint8_t owner);

/** An empty state, or NULL. */
struct desired *desired_new(void);
struct desired *desired_clone(const struct desired *desired);
void desired_free(struct desired *desired);

/** Remembers where the file-owned services come from. 0 or -ENOMEM. */
int desired_set_file(struct desired *desired, const char *file) SL_MUST_USE;

/** The service called @name, or NULL; borrowed, never to be written. */
const struct desired_service *desired_find(const struct desired *desired, const char *name);

/** The service at exactly this address, or NULL. */
const struct desired_service *desired_find_address(const struct desired *desired,
						   const struct wire_address *address);

/** The backend of @service at @addr and @port, or NULL. */
const struct desired_backend *desired_find_backend(const struct desired_service *service,
						   const union sl_addr *addr, be16_t port);

/**
 * Whether the two differ in their backends, their owner, their check and their canary's share at most: record
 * and lists are the same.
 */
bool desired_has_same_record(const struct desired_service *a, const struct desired_service *b);

/**
 * The next pair of two lists that are sorted alike: equal names, or addresses and ports, together, others
 * alone, with NULL beside them. @i, @k: 0 at first. False: both lists are at their end. Of the services,
 * NULL stands for one without backends.
 */
bool desired_next_services(const struct desired *old, const struct desired *new, size_t *i,
			   size_t *k, const struct desired_service **was,
			   const struct desired_service **is);
bool desired_next_backends(const struct desired_service *old, const struct desired_service *new,
			   uint32_t *i, uint32_t *k, const struct desired_backend **was,
			   const struct desired_backend **is);

/** A service with default values and no backends; n_references 1. NULL: out of memory. */
struct desired_service *desired_service_new(const char *name, const struct wire_address *address,
					    enum desired_owner owner);
void desired_service_put(struct desired_service *service);

/** A copy that may be written, in no state; n_references 1. NULL: out of memory. */
struct desired_service *desired_service_copy(const struct desired_service *service);

/** Gives a service without backends those of the array, in any order, taken over. */
void desired_service_fill(struct desired_service *service, struct desired_backend *backend,
			  uint32_t n_backends);

/** Gives a service other lists, in one array in any order, taken over; whose they are is filled in. */
void desired_service_list(struct desired_service *service, struct wire_listed *listed,
			  uint32_t n_listed);

/** Whether @service has a prefix in list @which, enum wire_list. */
bool desired_has_listed(const struct desired_service *service, uint8_t which);

/* Each of the following returns 0 or the error's code with @error filled; then @desired may be
 * changed in part and is only good for desired_free(). */

/** Takes @service over, always (on an error it is released). EXISTS: the name is taken. */
int desired_add(struct desired *desired, struct desired_service *service,
		struct rpc_error *error) SL_MUST_USE;

/** A copy of the service called @name that may be written; it stands in @desired. NOT_FOUND. */
int desired_edit(struct desired *desired, const char *name, struct desired_service **service,
		 struct rpc_error *error) SL_MUST_USE;

/** Refuses unless the service exists and is the API's. */
int desired_check_owner(const struct desired *desired, const char *name,
			struct rpc_error *error) SL_MUST_USE;

int desired_delete(struct desired *desired, const char *name, struct rpc_error *error) SL_MUST_USE;

/** @backend: addr, port, state, weight, part; its service is filled in. EXISTS, LIMIT. */
int desired_add_backend(struct desired *desired, const char *service,
			const struct desired_backend *backend, struct rpc_error *error) SL_MUST_USE;

/** Replaces weight, state and part of the backend with @backend's address. NOT_FOUND. */
int desired_set_backend(struct desired *desired, const char *service,
			const struct desired_backend *backend, struct rpc_error *error) SL_MUST_USE;
int desired_delete_backend(struct desired *desired, const char *service, const union sl_addr *addr,
			   be16_t port, struct rpc_error *error) SL_MUST_USE;

/** Replaces all file-owned services by those of @config. OWNED: a name or address is the API's. */
int desired_apply_file(struct desired *desired, const struct config *config, const char *file,
		       struct rpc_error *error) SL_MUST_USE;

/**
 * Judges the whole state with the rules of a configuration file. @judged: NULL, or the state that it
 * came from, which was judged before: what they share is not judged again, if it cannot matter.
 */
int desired_check(const struct desired *desired, const struct desired *judged,
		  struct rpc_error *error) SL_MUST_USE;

/** The state as configuration text, which loads back to the same. Heap; NULL: out of memory. */
char *desired_export(const struct desired *desired);

/**
 * The digest that a dataplane with this state and key reports. Each service remembers its part, until
 * desired_edit() gives it to be written.
 */
uint64_t desired_digest(const struct desired *desired, const struct sl_hash_key *key);
