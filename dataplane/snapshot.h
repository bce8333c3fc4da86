/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * One immutable generation of all services, backends and slot tables, and the staging state it is
 * built from. Pure: no engine, no I/O, no clock. The server stages messages, builds a snapshot and
 * gives it to the engine, which publishes it and gives back the one it replaced.
 *
 * Indices are stable: a service or backend keeps its index from snapshot to snapshot, and an index
 * that became free is handed out again only with another epoch, so that a flow that still names the
 * former owner is recognised.
 */
#pragma once

#include <sluice/base.h>
#include <sluice/tables.h>
#include <sluice/wire.h>

#include "dataplane/lists.h"
#include "dataplane/prefix_table.h"

enum {
	SNAPSHOT_FILTER_WORDS = 1024, /* of 64 bits: a power of two */
};

struct staging; /* the desired state, mutable; private to snapshot.c */

/** The slots of one service, shared between snapshots as long as they do not change. */
struct slot_table {
	uint32_t n_references; /* counted by the control thread alone */
	uint32_t n_slots;
	uint32_t n_candidates; /* members with a weight, whose positions stand behind the slots */
	uint16_t slot[];       /* position among the service's members; SL_NO_BACKEND_SLOT: none */
};

/** An open-addressed index, of the four below; a bucket holds an index of its kind or SL_NO_INDEX. */
struct snapshot_index {
	uint32_t mask;       /* number of buckets - 1 */
	uint32_t max_probes; /* longest run of any key; a lookup never goes further */
	uint32_t *bucket;
};

struct snapshot {
	uint64_t id; /* no other snapshot of the process has it */
	/* The engine's: another one after each change of a next hop; no other snapshot has it. */
	uint64_t next_hop_stamp;
	uint64_t generation;
	uint64_t digest;
	struct sl_hash_key hash_key;
	uint32_t n_services; /* length of service[] and slots[], free indices included */
	uint32_t n_backends; /* length of backend[], free indices included */
	uint32_t n_members;  /* length of member[] */
	uint32_t n_sources;  /* length of source[] */
	uint32_t n_live_services;
	uint32_t n_live_backends;
	uint32_t n_outsides; /* of these: backends that stand for the outside */
	uint32_t n_tables_built;
	struct sl_service *service;
	struct sl_backend *backend;   /* adjacency is the engine's to fill before it publishes */
	uint32_t *max_flows;          /* by backend index; 0: no limit */
	struct sl_affinity *affinity; /* by service index */
	struct slot_table **slots;    /* by service index; NULL: no service */
	/* Of clients of the canary's sources; by service index; see SL_SERVICE_CANARY. */
	struct slot_table **canary_slots;
	uint32_t *member;      /* backend indices; see sl_service.first_member; sorted by address */
	uint8_t *member_state; /* enum wire_state, beside member[] */
	uint8_t *member_health; /* enum wire_health, beside member[] */
	char (*service_name)[SL_MAX_NAME];
	union sl_addr *source;      /* of all services; see sl_service.first_source */
	uint8_t *source_family;     /* beside source[] */
	uint8_t *source_mode;       /* beside source[]: of the services that have it */
	struct prefix_table inside; /* client of mode snat -> service index */
	struct lists **lists; /* by service index; NULL: all are empty; see sl_service.denies */
	struct snapshot_index by_service; /* address, port, protocol -> service index */
	struct snapshot_index by_backend; /* backend address, port, protocol -> backend index; only
					     where one service alone has that backend */
	struct snapshot_index by_address; /* service address alone -> a service index that has it */
	uint32_t n_distinct_sources;
	struct snapshot_index
		by_source; /* source address alone -> an index of source[] that has it */
	bool has_wildcard; /* some service has port 0 */
	bool has_affinity; /* some service's clients keep their backend */
	bool is_all_fresh; /* no backend is known to have its next hop */
	uint32_t n_fresh;  /* else: those that have none yet */
	uint32_t *fresh;   /* their indices */
	uint32_t
		n_left; /* unless is_all_fresh: backends of the one before that are none of this one, */
	uint32_t *left;     /* and their indices */
	uint32_t n_removed; /* backends that have left their bits in the filter */
	uint64_t backend_filter[SNAPSHOT_FILTER_WORDS]; /* by snapshot_filter_bit() */
};

/**
 * A key of by_service and by_backend.
 * @addr, @port: network order; @family, @protocol as in struct wire_address.
 */
SL_INLINE uint32_t snapshot_index_hash(const union sl_addr *addr, be16_t port, uint8_t family,
				       uint8_t protocol)
{
	uint64_t low = (uint64_t)addr->word[1] << 32 | addr->word[0];
	uint64_t high = (uint64_t)addr->word[3] << 32 | addr->word[2];
	uint64_t h =
		(low ^ (uint64_t)port << 48 ^ (uint64_t)protocol << 40) * 0x9e3779b97f4a7c15ull;

	/* A product's low bits do not see its factor's high ones, where an address differs most. */
	h ^= h >> 32;
	high ^= high >> 32;
	h = (h + high + family) * 0xff51afd7ed558ccdull;
	return (uint32_t)(h >> 32);
}

/** The service at exactly this address, port (0 = the wildcard entry) and protocol, or SL_NO_INDEX. */
SL_INLINE uint32_t snapshot_find_service(const struct snapshot *snapshot, const union sl_addr *addr,
					 be16_t port, uint8_t family, uint8_t protocol)
{
	const struct snapshot_index *index = &snapshot->by_service;
	uint32_t at = snapshot_index_hash(addr, port, family, protocol);

	for (uint32_t i = 0; i <= index->max_probes; i++) {
		uint32_t found = index->bucket[(at + i) & index->mask];
		const struct sl_service *service;

		if (found == SL_NO_INDEX)
			break;
		service = &snapshot->service[found];
		if (service->port == port && service->protocol == protocol &&
		    service->family == family && sl_addr_equal(&service->addr, addr))
			return found;
	}
	return SL_NO_INDEX;
}

/** A backend that has this address, port and protocol, alone or with others, or SL_NO_INDEX. */
SL_INLINE uint32_t snapshot_find_endpoint(const struct snapshot *snapshot,
					  const union sl_addr *addr, be16_t port, uint8_t family,
					  uint8_t protocol)
{
	const struct snapshot_index *index = &snapshot->by_backend;
	uint32_t at = snapshot_index_hash(addr, port, family, protocol);

	for (uint32_t i = 0; i <= index->max_probes; i++) {
		uint32_t found = index->bucket[(at + i) & index->mask];
		const struct sl_backend *backend;

		if (found == SL_NO_INDEX)
			break;
		backend = &snapshot->backend[found];
		if (backend->port == port && backend->family == family &&
		    snapshot->service[backend->service].protocol == protocol &&
		    sl_addr_equal(&backend->addr, addr))
			return found;
	}
	return SL_NO_INDEX;
}

/** The backend that alone has this address, port and protocol, or SL_NO_INDEX. */
SL_INLINE uint32_t snapshot_find_backend(const struct snapshot *snapshot, const union sl_addr *addr,
					 be16_t port, uint8_t family, uint8_t protocol)
{
	uint32_t found = snapshot_find_endpoint(snapshot, addr, port, family, protocol);

	return found != SL_NO_INDEX && snapshot->backend[found].is_shared ? SL_NO_INDEX : found;
}

/** Whether @addr is the address of any service, whatever its port and protocol. */
SL_INLINE bool snapshot_is_service_address(const struct snapshot *snapshot,
					   const union sl_addr *addr, uint8_t family)
{
	const struct snapshot_index *index = &snapshot->by_address;
	uint32_t at = snapshot_index_hash(addr, 0, family, 0);

	for (uint32_t i = 0; i <= index->max_probes; i++) {
		uint32_t found = index->bucket[(at + i) & index->mask];

		if (found == SL_NO_INDEX)
			break;
		if (snapshot->service[found].family == family &&
		    sl_addr_equal(&snapshot->service[found].addr, addr))
			return true;
	}
	return false;
}

/**
 * Mode of the services, enum wire_mode, that have @addr in their source pool, or 0. Without any pool one
 * comparison.
 */
SL_INLINE uint8_t snapshot_source_mode(const struct snapshot *snapshot, const union sl_addr *addr,
				       uint8_t family)
{
	const struct snapshot_index *index = &snapshot->by_source;
	uint32_t at;

	if (snapshot->n_sources == 0)
		return 0;
	at = snapshot_index_hash(addr, 0, family, 0);
	for (uint32_t i = 0; i <= index->max_probes; i++) {
		uint32_t found = index->bucket[(at + i) & index->mask];

		if (found == SL_NO_INDEX)
			break;
		if (snapshot->source_family[found] == family &&
		    sl_addr_equal(&snapshot->source[found], addr))
			return snapshot->source_mode[found];
	}
	return 0;
}

/** Whether @addr is in any service's source pool. */
SL_INLINE bool snapshot_is_source_address(const struct snapshot *snapshot,
					  const union sl_addr *addr, uint8_t family)
{
	return snapshot_source_mode(snapshot, addr, family) != 0;
}

/** The place of @addr's bit in backend_filter. */
SL_INLINE uint32_t snapshot_filter_bit(const union sl_addr *addr, uint8_t family)
{
	return snapshot_index_hash(addr, 0, family, 0) & (SNAPSHOT_FILTER_WORDS * 64 - 1);
}

/** False: no backend has the address @addr, whatever its port and protocol. */
SL_INLINE bool snapshot_may_be_backend(const struct snapshot *snapshot, const union sl_addr *addr,
				       uint8_t family)
{
	uint32_t bit = snapshot_filter_bit(addr, family);

	return (snapshot->backend_filter[bit / 64] >> (bit % 64) & 1) != 0;
}

/** A new empty state, generation 0. NULL: ENOMEM. Owned by the caller; control thread. */
struct staging *staging_new(void);
void staging_free(struct staging *staging);

/** A copy to work on while the original stands for what is committed. NULL: ENOMEM. */
struct staging *staging_clone(const struct staging *staging);

/**
 * Removes all services and backends. One that is put again before snapshot_build() is the same
 * object still, with its index and epoch: a full state that repeats it ends none of its flows.
 */
void staging_clear(struct staging *staging);

/**
 * Each takes one record as it came off the wire, judges it whole and writes the reason into
 * @error (SL_MAX_ERROR bytes, object, value and limit named) if it refuses.
 * 0, -EINVAL (malformed), -ENOENT (no such object), -ENOSPC (a limit of limits.h), -EEXIST, -ENOMEM.
 */
int staging_put_service(struct staging *staging, const struct wire_service *record,
			char *error) SL_MUST_USE;
int staging_delete_service(struct staging *staging, const struct wire_address *service,
			   uint32_t *n_backends, char *error) SL_MUST_USE;
int staging_put_backend(struct staging *staging, const struct wire_backend *record,
			char *error) SL_MUST_USE;
/** The service was put before: putting it empties its lists. */
int staging_put_listed(struct staging *staging, const struct wire_listed *record,
		       char *error) SL_MUST_USE;
int staging_delete_backend(struct staging *staging,
			   const struct wire_backend_delete_request *request,
			   char *error) SL_MUST_USE;

/**
 * How many threads fill slot tables at most, of those for which the control thread has cores; one: it does so
 * alone. For an engine whose workers poll all the cores that there are. Control thread.
 */
void snapshot_limit_threads(uint32_t n);

/**
 * Builds the snapshot of @staging. Slot tables of services whose members, weights, key, scheduler and
 * n_slots are those of @previous are shared with it; where a few services alone have other backends than in
 * @previous, which the same staging was built into, the rest is copied. Also assigns the indices of new objects in @staging.
 * @previous: may be NULL. Result owned by the caller.
 * 0, -EINVAL or -ENOSPC with @error, -ENOMEM.
 */
int snapshot_build(struct staging *staging, uint64_t generation, const struct sl_hash_key *hash_key,
		   const struct snapshot *previous, struct snapshot **out, char *error) SL_MUST_USE;

/** Frees a snapshot that no worker reads any more. NULL is allowed. Control thread. */
void snapshot_free(struct snapshot *snapshot);

/** Bytes of the snapshot's slot tables, shared ones counted in full. */
uint64_t snapshot_table_bytes(const struct snapshot *snapshot);

/** Slots that the member at @position of service @service holds, of those that are for all clients. */
uint32_t snapshot_n_slots_of(const struct snapshot *snapshot, uint32_t service, uint32_t position);
