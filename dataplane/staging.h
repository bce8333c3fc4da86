/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * The inside of struct staging, for staging.c, which changes it, and snapshot.c, which reads it.
 */
#pragma once

#include "dataplane/snapshot.h"

struct staged_service {
	struct wire_service wire;
	bool is_live;    /* the index is taken */
	bool is_cleared; /* removed by staging_clear(), but the same object again if it is put */
	uint16_t epoch;
	uint32_t next_free;
	uint32_t n_backends;
	uint32_t n_cleared; /* of n_backends */
	uint32_t capacity;
	uint32_t *backend; /* indices, sorted by address and port */
	uint32_t n_listed;
	uint32_t listed_capacity;
	struct wire_listed *listed; /* in the order of wire_compare_listed() */
	uint64_t listed_digest;     /* of all of them, a part of the staging's */
};

struct staged_backend {
	struct wire_backend wire;
	bool is_live;
	bool is_cleared;
	uint16_t epoch;
	uint32_t service;
	uint32_t next_free;
};

/** Indices that were freed, first in, first out: an index is given out again as late as can be. */
struct free_list {
	uint32_t first;
	uint32_t last;
	uint32_t n;
};

enum {
	STAGING_MAX_CHANGED = 64,
};

struct staging {
	struct staged_service *service;
	struct staged_backend *backend;
	uint32_t n_services; /* indices ever used */
	uint32_t n_backends;
	uint32_t service_capacity;
	uint32_t backend_capacity;
	uint32_t n_live_services; /* without cleared ones */
	uint32_t n_live_backends;
	uint32_t n_denied;         /* prefixes in lists of all services */
	uint32_t n_canary_sources; /* likewise */
	uint32_t services_settled; /* indices below hold no cleared service */
	uint32_t backends_settled;
	struct free_list free_services;
	struct free_list free_backends;
	uint32_t *by_address; /* open-addressed: service index, SL_NO_INDEX: empty */
	uint32_t by_address_mask;
	uint64_t digest; /* of all live records */
	/*
	 * What has changed since snapshot_build() made snapshot number built_id of it: the backends of
	 * these services, each once, or anything.
	 */
	uint64_t built_id; /* 0: none yet */
	bool is_all_changed;
	uint32_t n_changed;
	uint32_t changed[STAGING_MAX_CHANGED];
};

/** Writes why a record is refused into @error, SL_MAX_ERROR bytes. Returns @status. */
int staging_refuse(char *error, int status, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/** Judges a service's address, as a record names it. 0 or -EINVAL. */
int staging_judge_address(const struct wire_address *address, char *error) SL_MUST_USE;

/** Likewise a record by itself. @service: how errors call the backend's service. 0 or -EINVAL. */
int staging_judge_service(const struct wire_service *record, char *error) SL_MUST_USE;
int staging_judge_backend(const struct wire_backend *record, const char *service,
			  char *error) SL_MUST_USE;

/** The service that is there by this address, or SL_NO_INDEX. */
uint32_t staging_find_service(const struct staging *staging, const struct wire_address *address);

/** Whether all of @bytes are 0. */
bool staging_is_zero(const void *bytes, size_t size);

/** Room for one more element in *@array, whose @n elements fill @capacity. */
bool staging_grow(void **array, uint32_t *capacity, uint32_t n, size_t size) SL_MUST_USE;

/** staging_listed.c: the service's lists are empty, and not in the digest any more. */
void staging_drop_listed(struct staging *staging, struct staged_service *service);

/** Orders backends of a service; the order of members and so of positions. */
int staging_compare_backends(const struct wire_backend *a, const struct wire_backend *b);

/** Frees what was cleared and not put again. */
void staging_settle(struct staging *staging);

/** Snapshot number @id says all that the staging does. */
void staging_set_built(struct staging *staging, uint64_t id);

/** Effective weight of a backend for new flows of @audience: 0 unless it is ready and up. */
uint32_t staging_weight(const struct wire_backend *backend, enum sl_audience audience);

/** Whether a backend's flows end: it is in maintenance, or down. */
bool staging_is_gone(const struct wire_backend *backend);

/**
 * Restoring, for staging_dump.c: each takes the next index, with its epoch, for @record or, if that
 * is NULL, for nobody. All services come first, then all backends, then staging_restore_end(), from
 * which on indices of nobody may be given out. As staging_put_service().
 */
int staging_restore_service(struct staging *staging, uint16_t epoch,
			    const struct wire_service *record, char *error) SL_MUST_USE;
int staging_restore_backend(struct staging *staging, uint16_t epoch,
			    const struct wire_backend *record, char *error) SL_MUST_USE;
void staging_restore_end(struct staging *staging);
