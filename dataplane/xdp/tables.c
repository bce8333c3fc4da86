/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * From one snapshot to the next while packets flow. A map changes entry by entry, so the order makes
 * what a packet meets whole: what is new is written before anything leads to it, what is old stays
 * until nothing does and a grace period is over. A service's slots and members are one inner map,
 * made whole and put in place by one update.
 */
#include <errno.h>
#include <linux/membarrier.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "dataplane/xdp/engine.h"
#include "log/log.h"
#include "dataplane/xdp/skeleton.h"

enum {
	INNER_MAPS_AT_ONCE = 256, /* each holds a descriptor until it is in place */
	SWEEP_AT_ONCE = 8192,     /* entries; packets of this CPU wait meanwhile */
};

/* Returns when no program runs that began before (membarrier(2)). */
static void wait_grace_period(void)
{
	if (syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) != 0)
		log_warn("membarrier: %s", strerror(errno));
}

static struct sl_xdp_endpoint endpoint_of(const union sl_addr *addr, be16_t port, uint8_t protocol,
					  uint8_t family)
{
	return (struct sl_xdp_endpoint){
		.addr = *addr, .port = port, .protocol = protocol, .family = family};
}

static int put(const struct bpf_map *map, const struct sl_xdp_endpoint *key, uint32_t index)
{
	return bpf_map_update_elem(bpf_map__fd(map), key, &index, 0) == 0 ? 0 : -errno;
}

/* Makes the map say of @key what @index says: SL_NO_INDEX: nothing. */
static int delete_key(const struct bpf_map *map, const void *key)
{
	return bpf_map_delete_elem(bpf_map__fd(map), key) == 0 || errno == ENOENT ? 0 : -errno;
}

static const struct sl_service *service_at(const struct snapshot *snapshot, uint32_t index)
{
	if (snapshot == NULL || index >= snapshot->n_services ||
	    snapshot->service[index].family == SL_FAMILY_NONE)
		return NULL;
	return &snapshot->service[index];
}

static const struct sl_backend *backend_at(const struct snapshot *snapshot, uint32_t index)
{
	if (snapshot == NULL || index >= snapshot->n_backends ||
	    snapshot->backend[index].family == SL_FAMILY_NONE)
		return NULL;
	return &snapshot->backend[index];
}

/* -- backends */

/*
 * The word of port, family, is_gone and epoch, which the program reads at once. NULL: nobody's. Next
 * hops the program keeps in a table of its own.
 */
static void write_word(struct sl_backend *to, const struct sl_backend *from)
{
	uint64_t word = 0;

	if (from != NULL)
		word = (uint64_t)from->epoch << 32 | (uint64_t)from->is_gone << 24 |
		       (uint64_t)from->family << 16 | from->port;
	__atomic_store_n((uint64_t *)(void *)&to->port, word, __ATOMIC_RELEASE);
}

_Static_assert(offsetof(struct sl_backend, port) == 16 &&
		       offsetof(struct sl_backend, family) == 18 &&
		       offsetof(struct sl_backend, is_gone) == 19 &&
		       offsetof(struct sl_backend, epoch) == 20,
	       "one word");

static void write_backend(struct sl_backend *to, const struct sl_backend *from)
{
	to->addr = from->addr;
	to->service = from->service;
	to->is_shared = from->is_shared;
	to->is_outside = from->is_outside;
	memcpy(to->weight, from->weight, sizeof(to->weight));
	write_word(to, from);
}

static bool is_same_backend(const struct sl_backend *a, const struct sl_backend *b)
{
	return a != NULL && b != NULL && a->epoch == b->epoch && a->service == b->service;
}

/* Backends whose index had another owner: nothing may lead there while it changes hands. */
static void retire_backends(struct dataplane *dataplane, const struct snapshot *snapshot)
{
	struct sl_backend *table = dataplane->backends.at;
	bool has_retired = false;

	for (uint32_t i = 0; i < snapshot->n_backends; i++) {
		const struct sl_backend *now = backend_at(snapshot, i);

		if (now == NULL || table[i].family == SL_FAMILY_NONE ||
		    (table[i].epoch == now->epoch && table[i].service == now->service &&
		     sl_addr_equal(&table[i].addr, &now->addr)))
			continue;
		write_word(&table[i], NULL);
		has_retired = true;
	}
	if (has_retired)
		wait_grace_period();
}

/* One that goes is not gone yet: slots lead there still, see end_backends(). */
static void write_backends(struct dataplane *dataplane, const struct snapshot *snapshot)
{
	struct sl_backend *table = dataplane->backends.at;
	struct sl_load *load = dataplane->loads.at;

	for (uint32_t i = 0; i < snapshot->n_backends; i++) {
		const struct sl_backend *now = backend_at(snapshot, i);
		struct sl_backend record;

		if (now == NULL)
			continue;
		record = *now;
		record.is_gone &= table[i].is_gone;
		write_backend(&table[i], &record);
		load[i].max_flows = snapshot->max_flows[i];
	}
}

/* Ends those that go, when no slot leads there any more: what begins anew is not given them again. */
static void end_backends(struct dataplane *dataplane, const struct snapshot *snapshot)
{
	struct sl_backend *table = dataplane->backends.at;

	for (uint32_t i = 0; i < snapshot->n_backends; i++) {
		const struct sl_backend *now = backend_at(snapshot, i);

		if (now != NULL && now->is_gone)
			write_word(&table[i], now);
	}
}

static void remove_backends(struct dataplane *dataplane, const struct snapshot *snapshot)
{
	struct sl_backend *table = dataplane->backends.at;

	for (uint32_t i = 0; i < SL_MAX_BACKENDS; i++)
		if (table[i].family != SL_FAMILY_NONE && backend_at(snapshot, i) == NULL)
			write_word(&table[i], NULL);
}

static bool knows_replier(const struct snapshot *snapshot, const struct sl_xdp_endpoint *key)
{
	return snapshot_find_endpoint(snapshot, &key->addr, key->port, key->family,
				      key->protocol) != SL_NO_INDEX;
}

/* What the map of repliers says of the key of @backend, if it may have changed. */
static int update_replier(struct dataplane *dataplane, const struct snapshot *snapshot,
			  const struct sl_backend *backend, uint8_t protocol)
{
	struct sl_xdp_endpoint key =
		endpoint_of(&backend->addr, backend->port, protocol, backend->family);

	if (backend->is_outside)
		return 0;
	if (!knows_replier(snapshot, &key))
		return delete_key(dataplane->bpf->maps.backend_of, &key);
	/* SL_NO_INDEX, where it is several backends'. */
	return put(dataplane->bpf->maps.backend_of, &key,
		   snapshot_find_backend(snapshot, &backend->addr, backend->port, backend->family,
					 protocol));
}

static int update_repliers(struct dataplane *dataplane, const struct snapshot *snapshot,
			   const struct snapshot *former)
{
	uint32_t n = snapshot->n_backends;
	int status = 0;

	if (former != NULL && former->n_backends > n)
		n = former->n_backends;
	for (uint32_t i = 0; i < n && status == 0; i++) {
		const struct sl_backend *now = backend_at(snapshot, i);
		const struct sl_backend *then = backend_at(former, i);

		if (is_same_backend(now, then) && now->is_shared == then->is_shared)
			continue;
		if (then != NULL)
			status = update_replier(dataplane, snapshot, then,
						former->service[then->service].protocol);
		if (now != NULL && status == 0)
			status = update_replier(dataplane, snapshot, now,
						snapshot->service[now->service].protocol);
	}
	return status;
}

/* -- services */

static void write_services(struct dataplane *dataplane, const struct snapshot *snapshot)
{
	struct sl_service *table = dataplane->services.at;
	struct sl_affinity *rule = dataplane->affinity_rules.at;

	for (uint32_t i = 0; i < snapshot->n_services; i++) {
		const struct sl_service *now = service_at(snapshot, i);

		if (now == NULL)
			continue;
		rule[i] = snapshot->affinity[i];
		if (memcmp(&table[i], now, sizeof(*now)) != 0)
			table[i] = *now;
	}
}

/*
 * Puts one map without anything in place of those at @index, of @n services that are gone. An array of maps
 * deletes one element at a time, and waits for a grace period each time; what is put is put at once.
 */
static int empty_inner(struct dataplane *dataplane, const uint32_t *index, uint32_t n)
{
	LIBBPF_OPTS(bpf_map_create_opts, options, .map_flags = BPF_F_INNER_MAP | BPF_F_MMAPABLE);
	int inner[INNER_MAPS_AT_ONCE];
	int map = bpf_map_create(BPF_MAP_TYPE_ARRAY, "sluice_no_slots", 4,
				 sizeof(union sl_xdp_chunk), 1, &options);
	int status;

	if (map < 0)
		return -errno;
	for (uint32_t i = 0; i < n; i++)
		inner[i] = map;
	status = bpf_map_update_batch(bpf_map__fd(dataplane->bpf->maps.slots), index, inner, &n,
				      NULL);
	close(map);
	return status;
}

static void remove_services(struct dataplane *dataplane, const struct snapshot *snapshot)
{
	struct sl_service *table = dataplane->services.at;
	uint32_t index[INNER_MAPS_AT_ONCE];
	uint32_t n = 0;

	for (uint32_t i = 0; i <= SL_MAX_SERVICES; i++) {
		if (i < SL_MAX_SERVICES && table[i].family != SL_FAMILY_NONE &&
		    service_at(snapshot, i) == NULL) {
			table[i].family = SL_FAMILY_NONE;
			index[n++] = i;
		}
		if (n < INNER_MAPS_AT_ONCE && i < SL_MAX_SERVICES)
			continue;
		if (n > 1 && empty_inner(dataplane, index, n) == 0)
			n = 0;
		while (n > 0)
			bpf_map_delete_elem(bpf_map__fd(dataplane->bpf->maps.slots), &index[--n]);
	}
}

static bool has_same_sources(const struct snapshot *snapshot, const struct snapshot *former,
			     uint32_t index)
{
	const struct sl_service *now = &snapshot->service[index];
	const struct sl_service *then = &former->service[index];

	return now->n_sources == then->n_sources &&
	       now->source_port_first == then->source_port_first &&
	       now->source_port_last == then->source_port_last &&
	       (now->n_sources == 0 ||
		memcmp(&snapshot->source[now->first_source], &former->source[then->first_source],
		       now->n_sources * sizeof(snapshot->source[0])) == 0);
}

static struct sl_xdp_prefix prefix_of(const struct sl_service *service)
{
	return (struct sl_xdp_prefix){.length = SL_XDP_PREFIX_BITS + sl_from_be16(service->port),
				      .family = service->family,
				      .addr = service->addr};
}

static int put_prefix(struct dataplane *dataplane, const struct sl_service *service, uint32_t index)
{
	struct sl_xdp_prefix key = prefix_of(service);

	return bpf_map_update_elem(bpf_map__fd(dataplane->bpf->maps.inside), &key, &index,
				   BPF_ANY) == 0
		       ? 0
		       : -errno;
}

/* Prefixes of services that are gone. */
static void remove_prefixes(struct dataplane *dataplane, const struct snapshot *snapshot)
{
	int fd = bpf_map__fd(dataplane->bpf->maps.inside);
	struct sl_xdp_prefix next;
	bool has_next = bpf_map_get_next_key(fd, NULL, &next) == 0;

	for (uint32_t i = 0; has_next && i < 2 * SL_MAX_SERVICES; i++) {
		struct sl_xdp_prefix key = next;
		be16_t length = sl_to_be16((uint16_t)(key.length - SL_XDP_PREFIX_BITS));

		has_next = bpf_map_get_next_key(fd, &key, &next) == 0;
		if (snapshot_find_service(snapshot, &key.addr, length, (uint8_t)key.family, 0) ==
		    SL_NO_INDEX)
			bpf_map_delete_elem(fd, &key);
	}
}

static struct lists *lists_at(const struct snapshot *snapshot, uint32_t index)
{
	return service_at(snapshot, index) != NULL ? snapshot->lists[index] : NULL;
}

static int put_lists(struct dataplane *dataplane, const struct lists *lists, uint32_t index)
{
	int fd = bpf_map__fd(dataplane->bpf->maps.listed);

	for (uint32_t i = 0; i < lists->n; i++) {
		const struct wire_listed *record = &lists->record[i];
		struct sl_xdp_listed key = {.length = SL_XDP_LISTED_BITS + record->length,
					    .service = index,
					    .list = record->list,
					    .family = record->family,
					    .addr = record->addr};

		if (bpf_map_update_elem(fd, &key, &index, BPF_ANY) != 0)
			return -errno;
	}
	return 0;
}

/* What is listed anew, before the services say that there is something. */
static int update_lists(struct dataplane *dataplane, const struct snapshot *snapshot,
			const struct snapshot *former)
{
	int status = 0;

	for (uint32_t i = 0; i < snapshot->n_services && status == 0; i++) {
		const struct lists *now = lists_at(snapshot, i);

		if (now != NULL && now != lists_at(former, i))
			status = put_lists(dataplane, now, i);
	}
	return status;
}

/* What is not listed any more. */
static void remove_listed(struct dataplane *dataplane, const struct snapshot *snapshot)
{
	int fd = bpf_map__fd(dataplane->bpf->maps.listed);
	struct sl_xdp_listed next;
	bool has_next = bpf_map_get_next_key(fd, NULL, &next) == 0;

	for (uint32_t i = 0; has_next && i < 2 * (SL_MAX_DENIES + SL_MAX_CANARY_SOURCES); i++) {
		struct sl_xdp_listed key = next;
		const struct sl_service *service = service_at(snapshot, key.service);
		struct wire_listed record = {.addr = key.addr,
					     .length = (uint8_t)(key.length - SL_XDP_LISTED_BITS),
					     .list = (uint8_t)key.list,
					     .family = (uint8_t)key.family};

		has_next = bpf_map_get_next_key(fd, &key, &next) == 0;
		if (service == NULL || !lists_has_record(snapshot->lists[key.service], &record))
			bpf_map_delete_elem(fd, &key);
	}
}

/* Whether a list of @former is not that of @snapshot. */
static bool has_fewer_listed(const struct snapshot *snapshot, const struct snapshot *former)
{
	for (uint32_t i = 0; i < former->n_services; i++)
		if (lists_at(former, i) != NULL && lists_at(former, i) != lists_at(snapshot, i))
			return true;
	return false;
}

static bool has_egress(const struct snapshot *snapshot)
{
	return snapshot->inside.n_ranges[0] != 0 || snapshot->inside.n_ranges[1] != 0;
}

/* The endpoint of service @index, and its address and those of its sources alone. */
static int put_endpoints(struct dataplane *dataplane, const struct snapshot *snapshot,
			 uint32_t index)
{
	const struct sl_service *service = &snapshot->service[index];
	bool is_prefix = service->mode == WIRE_MODE_SNAT;
	struct sl_xdp_endpoint key =
		endpoint_of(&service->addr, service->port, service->protocol, service->family);
	int status = is_prefix ? put_prefix(dataplane, service, index)
			       : put(dataplane->bpf->maps.service_of, &key, index);

	key = endpoint_of(&service->addr, 0, 0, service->family);
	if (status == 0 && !is_prefix)
		status = put(dataplane->bpf->maps.service_of, &key, index);
	for (uint32_t i = 0; i < service->n_sources && status == 0; i++) {
		key = endpoint_of(&snapshot->source[service->first_source + i], 0, 0,
				  service->family);
		status = put(dataplane->bpf->maps.service_of, &key, index);
		key.protocol = SL_XDP_SOURCE;
		if (status == 0)
			status = put(dataplane->bpf->maps.service_of, &key, index);
		key.protocol = SL_XDP_EGRESS_SOURCE;
		if (status == 0 && is_prefix)
			status = put(dataplane->bpf->maps.service_of, &key, index);
	}
	return status;
}

static int update_endpoints(struct dataplane *dataplane, const struct snapshot *snapshot,
			    const struct snapshot *former)
{
	int status = 0;

	for (uint32_t i = 0; i < snapshot->n_services && status == 0; i++) {
		const struct sl_service *now = service_at(snapshot, i);
		const struct sl_service *then = service_at(former, i);

		if (now != NULL && (then == NULL || then->epoch != now->epoch ||
				    !has_same_sources(snapshot, former, i)))
			status = put_endpoints(dataplane, snapshot, i);
	}
	return status;
}

/* Whether @snapshot knows the key of a map of endpoints, as a service's. */
static bool knows_endpoint(const struct snapshot *snapshot, const struct sl_xdp_endpoint *key)
{
	if (key->protocol == SL_XDP_EGRESS_SOURCE)
		return snapshot_source_mode(snapshot, &key->addr, key->family) == WIRE_MODE_SNAT;
	if (key->protocol == SL_XDP_SOURCE)
		return snapshot_is_source_address(snapshot, &key->addr, key->family);
	if (key->protocol == 0)
		return snapshot_is_service_address(snapshot, &key->addr, key->family) ||
		       snapshot_is_source_address(snapshot, &key->addr, key->family);
	return snapshot_find_service(snapshot, &key->addr, key->port, key->family, key->protocol) !=
	       SL_NO_INDEX;
}

/* The key is nobody's any more. */
static void forget_endpoint(struct dataplane *dataplane, const struct snapshot *snapshot,
			    const union sl_addr *addr, be16_t port, uint8_t protocol,
			    uint8_t family)
{
	const struct sl_xdp_endpoint key = endpoint_of(addr, port, protocol, family);

	if (!knows_endpoint(snapshot, &key))
		(void)delete_key(dataplane->bpf->maps.service_of, &key);
}

/* The keys that put_endpoints() made for services of @former, as far as @snapshot has them not. */
static void forget_endpoints(struct dataplane *dataplane, const struct snapshot *snapshot,
			     const struct snapshot *former)
{
	for (uint32_t i = 0; i < former->n_services; i++) {
		const struct sl_service *then = service_at(former, i);
		const struct sl_service *now = service_at(snapshot, i);

		if (then == NULL || (now != NULL && now->epoch == then->epoch &&
				     has_same_sources(snapshot, former, i)))
			continue;
		if (then->mode != WIRE_MODE_SNAT) {
			forget_endpoint(dataplane, snapshot, &then->addr, then->port,
					then->protocol, then->family);
			forget_endpoint(dataplane, snapshot, &then->addr, 0, 0, then->family);
		}
		for (uint32_t k = 0; k < then->n_sources; k++) {
			const union sl_addr *source = &former->source[then->first_source + k];

			forget_endpoint(dataplane, snapshot, source, 0, 0, then->family);
			forget_endpoint(dataplane, snapshot, source, 0, SL_XDP_SOURCE,
					then->family);
			forget_endpoint(dataplane, snapshot, source, 0, SL_XDP_EGRESS_SOURCE,
					then->family);
		}
	}
}

/* Removes what a map says beyond the snapshot, whoever put it there. */
static void remove_endpoints(const struct bpf_map *map, const struct snapshot *snapshot,
			     bool (*knows)(const struct snapshot *, const struct sl_xdp_endpoint *))
{
	int fd = bpf_map__fd(map);
	struct sl_xdp_endpoint key;
	struct sl_xdp_endpoint next;
	bool has_next = bpf_map_get_next_key(fd, NULL, &next) == 0;

	for (uint32_t i = 0; has_next && i < 2 * SL_MAX_BACKENDS; i++) {
		key = next;
		has_next = bpf_map_get_next_key(fd, &key, &next) == 0;
		if (!knows(snapshot, &key))
			bpf_map_delete_elem(fd, &key);
	}
}

/* -- slots */

static uint32_t n_member_chunks(uint32_t n_members)
{
	return (n_members + SL_XDP_CHUNK_MEMBERS - 1) / SL_XDP_CHUNK_MEMBERS;
}

static uint32_t n_slot_chunks(uint32_t n_slots)
{
	return (n_slots + SL_XDP_CHUNK_SLOTS - 1) / SL_XDP_CHUNK_SLOTS;
}

/* Those of @audience, from chunk @at on. Returns where they end. */
static uint32_t fill_candidates(union sl_xdp_chunk *chunk, const struct snapshot *snapshot,
				uint32_t index, enum sl_audience audience, uint32_t at)
{
	const struct sl_service *service = &snapshot->service[index];
	const struct slot_table *slots = audience == SL_AUDIENCE_CANARY
						 ? snapshot->canary_slots[index]
						 : snapshot->slots[index];

	chunk[0].head.n_candidates[audience] = slots->n_candidates;
	chunk[0].head.first_candidate_chunk[audience] = at;
	for (uint32_t i = 0; i < slots->n_candidates; i++)
		chunk[at + i / SL_XDP_CHUNK_MEMBERS].member[i % SL_XDP_CHUNK_MEMBERS] =
			snapshot->member[service->first_member + slots->slot[slots->n_slots + i]];
	return at + n_member_chunks(slots->n_candidates);
}

/* The slots and candidates that the canary's clients have, from chunk @at on. Returns where they end. */
static uint32_t fill_canary(union sl_xdp_chunk *chunk, const struct snapshot *snapshot,
			    uint32_t index, uint32_t at)
{
	const struct slot_table *slots = snapshot->canary_slots[index];

	chunk[0].head.first_slot_chunk[SL_AUDIENCE_CANARY] = at;
	memcpy(&chunk[at], slots->slot, slots->n_slots * sizeof(slots->slot[0]));
	at += n_slot_chunks(slots->n_slots);
	return fill_candidates(chunk, snapshot, index, SL_AUDIENCE_CANARY, at);
}

static void fill_sources(union sl_xdp_chunk *chunk, const struct snapshot *snapshot, uint32_t index,
			 uint32_t at)
{
	const struct sl_service *service = &snapshot->service[index];

	chunk[0].head.first_source_chunk = at;
	chunk[0].head.n_sources = service->n_sources;
	chunk[0].head.source_port_first = service->source_port_first;
	chunk[0].head.source_port_last = service->source_port_last;
	memcpy(&chunk[at], &snapshot->source[service->first_source],
	       service->n_sources * sizeof(snapshot->source[0]));
}

static void fill_chunks(union sl_xdp_chunk *chunk, const struct snapshot *snapshot, uint32_t index)
{
	const struct sl_service *service = &snapshot->service[index];
	const struct slot_table *slots = snapshot->slots[index];
	uint32_t at = 1 + n_slot_chunks(slots->n_slots);

	chunk[0].head.hash_key = snapshot->hash_key;
	chunk[0].head.n_slots = slots->n_slots;
	chunk[0].head.first_member_chunk = at;
	memcpy(&chunk[1], slots->slot, slots->n_slots * sizeof(slots->slot[0]));
	memcpy(&chunk[at], &snapshot->member[service->first_member],
	       service->n_members * sizeof(snapshot->member[0]));
	at += n_member_chunks(service->n_members);
	at = fill_candidates(chunk, snapshot, index, SL_AUDIENCE_ALL, at);
	for (int i = 0; i < SL_N_AUDIENCES; i++) {
		chunk[0].head.first_slot_chunk[i] = 1;
		chunk[0].head.n_candidates[i] = slots->n_candidates;
		chunk[0].head.first_candidate_chunk[i] =
			chunk[0].head.first_candidate_chunk[SL_AUDIENCE_ALL];
	}
	if (snapshot->canary_slots[index] != NULL)
		at = fill_canary(chunk, snapshot, index, at);
	if (service->n_sources != 0)
		fill_sources(chunk, snapshot, index, at);
}

/* Elements of the inner map of a service. */
static uint32_t count_chunks(const struct snapshot *snapshot, uint32_t index)
{
	const struct sl_service *service = &snapshot->service[index];
	const struct slot_table *canary = snapshot->canary_slots[index];
	uint32_t n =
		1 + n_slot_chunks(service->n_slots) + n_member_chunks(service->n_members) +
		n_member_chunks(snapshot->slots[index]->n_candidates) +
		((uint32_t)service->n_sources + SL_XDP_CHUNK_SOURCES - 1) / SL_XDP_CHUNK_SOURCES;

	return canary != NULL
		       ? n + n_slot_chunks(canary->n_slots) + n_member_chunks(canary->n_candidates)
		       : n;
}

/* The inner map of a service; a descriptor, or negative errno. */
static int make_inner(const struct snapshot *snapshot, uint32_t index)
{
	LIBBPF_OPTS(bpf_map_create_opts, options, .map_flags = BPF_F_INNER_MAP | BPF_F_MMAPABLE);
	uint32_t n_chunks = count_chunks(snapshot, index);
	size_t size = (size_t)n_chunks * sizeof(union sl_xdp_chunk);
	int map = bpf_map_create(BPF_MAP_TYPE_ARRAY, "sluice_slots", 4, sizeof(union sl_xdp_chunk),
				 n_chunks, &options);
	void *at;

	if (map < 0)
		return -errno;
	at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, map, 0);
	if (at == MAP_FAILED) {
		int status = -errno;

		close(map);
		return status;
	}
	fill_chunks(at, snapshot, index);
	munmap(at, size);
	return map;
}

/* Puts @n inner maps in place and gives up their descriptors. */
static int place_inner(struct dataplane *dataplane, const uint32_t *index, const int *inner,
		       uint32_t n)
{
	int outer = bpf_map__fd(dataplane->bpf->maps.slots);
	uint32_t count = n;
	int status = 0;

	/* One grace period for all, where the kernel can; else one each. */
	if (n > 1 && bpf_map_update_batch(outer, index, inner, &count, NULL) == 0)
		n = 0;
	for (uint32_t i = 0; i < n && status == 0; i++)
		if (bpf_map_update_elem(outer, &index[i], &inner[i], 0) != 0)
			status = -errno;
	return status;
}

static bool needs_slots(const struct snapshot *snapshot, const struct snapshot *former,
			uint32_t index)
{
	const struct sl_service *now = service_at(snapshot, index);
	const struct sl_service *then = service_at(former, index);

	return now != NULL && (then == NULL || then->epoch != now->epoch ||
			       snapshot->slots[index] != former->slots[index] ||
			       snapshot->canary_slots[index] != former->canary_slots[index] ||
			       !has_same_sources(snapshot, former, index));
}

static int update_slots(struct dataplane *dataplane, const struct snapshot *snapshot,
			const struct snapshot *former)
{
	uint32_t index[INNER_MAPS_AT_ONCE];
	int inner[INNER_MAPS_AT_ONCE];
	uint32_t n = 0;
	int status = 0;

	for (uint32_t i = 0; i <= snapshot->n_services && status == 0; i++) {
		if (i < snapshot->n_services && needs_slots(snapshot, former, i)) {
			inner[n] = make_inner(snapshot, i);
			if (inner[n] < 0)
				status = inner[n];
			else
				index[n++] = i;
		}
		if (n == INNER_MAPS_AT_ONCE || (i == snapshot->n_services && n > 0)) {
			if (status == 0)
				status = place_inner(dataplane, index, inner, n);
			while (n > 0)
				close(inner[--n]);
		}
	}
	while (n > 0)
		close(inner[--n]);
	return status;
}

/* -- filters */

static void set_bit(uint64_t *filter, const union sl_addr *addr, uint8_t family)
{
	uint32_t bit = sl_xdp_filter_bit(addr, family);

	filter[bit / 64] |= 1ull << (bit % 64);
}

/* What is added counts at once; what is not there any more only when @is_exact. */
static void write_filters(struct dataplane *dataplane, const struct snapshot *snapshot,
			  bool is_exact)
{
	static uint64_t service[SL_XDP_FILTER_WORDS];
	static uint64_t backend[SL_XDP_FILTER_WORDS];
	static uint64_t source[SL_XDP_FILTER_WORDS];
	struct sl_xdp_control *control = dataplane->control;

	memset(service, 0, sizeof(service));
	memset(backend, 0, sizeof(backend));
	memset(source, 0, sizeof(source));
	for (uint32_t i = 0; i < snapshot->n_services; i++)
		if (service_at(snapshot, i) != NULL && snapshot->service[i].mode != WIRE_MODE_SNAT)
			set_bit(service, &snapshot->service[i].addr, snapshot->service[i].family);
	for (uint32_t i = 0; i < snapshot->n_services; i++)
		for (uint32_t j = 0; j < snapshot->service[i].n_sources; j++)
			set_bit(source, &snapshot->source[snapshot->service[i].first_source + j],
				snapshot->service[i].family);
	for (uint32_t i = 0; i < snapshot->n_backends; i++)
		if (backend_at(snapshot, i) != NULL && !snapshot->backend[i].is_outside)
			set_bit(backend, &snapshot->backend[i].addr, snapshot->backend[i].family);
	for (uint32_t i = 0; i < SL_XDP_FILTER_WORDS; i++) {
		uint64_t keep = is_exact ? 0 : ~0ull;

		__atomic_store_n(&control->service_filter[i],
				 service[i] | (control->service_filter[i] & keep),
				 __ATOMIC_RELAXED);
		__atomic_store_n(&control->backend_filter[i],
				 backend[i] | (control->backend_filter[i] & keep),
				 __ATOMIC_RELAXED);
		__atomic_store_n(&control->source_filter[i],
				 source[i] | (control->source_filter[i] & keep), __ATOMIC_RELAXED);
	}
}

/* -- commit */

static bool has_removals(const struct snapshot *snapshot, const struct snapshot *former)
{
	if (former == NULL)
		return true;
	for (uint32_t i = 0; i < former->n_services; i++)
		if (service_at(former, i) != NULL &&
		    (service_at(snapshot, i) == NULL ||
		     service_at(snapshot, i)->epoch != former->service[i].epoch ||
		     !has_same_sources(snapshot, former, i)))
			return true;
	for (uint32_t i = 0; i < former->n_backends; i++)
		if (backend_at(former, i) != NULL &&
		    !is_same_backend(backend_at(snapshot, i), backend_at(former, i)))
			return true;
	return false;
}

/* What leads nowhere now goes. @former: NULL: what there was nobody knows. */
static void remove_former(struct dataplane *dataplane, const struct snapshot *snapshot,
			  const struct snapshot *former)
{
	if (former != NULL) {
		/* Repliers have gone in update_repliers(). */
		forget_endpoints(dataplane, snapshot, former);
	} else {
		remove_endpoints(dataplane->bpf->maps.service_of, snapshot, knows_endpoint);
		remove_endpoints(dataplane->bpf->maps.backend_of, snapshot, knows_replier);
	}
	remove_prefixes(dataplane, snapshot);
	wait_grace_period();
	remove_services(dataplane, snapshot);
	remove_backends(dataplane, snapshot);
	/* Flows of what was removed end in the next pass; until then their packets are ours. */
	dataplane->sweeps_to_filter = 2;
}

int tables_commit(struct dataplane *dataplane, const struct snapshot *snapshot,
		  const struct snapshot *former, char *error)
{
	int status;

	retire_backends(dataplane, snapshot);
	write_backends(dataplane, snapshot);
	status = update_lists(dataplane, snapshot, former);
	write_services(dataplane, snapshot);
	dataplane->control->has_wildcard |= snapshot->has_wildcard;
	dataplane->control->has_egress |= has_egress(snapshot);
	if (status == 0)
		status = update_slots(dataplane, snapshot, former);
	if (status == 0) {
		end_backends(dataplane, snapshot);
		status = update_endpoints(dataplane, snapshot, former);
	}
	if (status == 0)
		status = update_repliers(dataplane, snapshot, former);
	if (status != 0) {
		snprintf(error, SL_MAX_ERROR, "maps: %s", strerror(-status));
		return status;
	}
	write_filters(dataplane, snapshot, false);
	if (former == NULL || has_fewer_listed(snapshot, former))
		remove_listed(dataplane, snapshot);
	if (has_removals(snapshot, former))
		remove_former(dataplane, snapshot, former);
	dataplane->control->has_wildcard = snapshot->has_wildcard;
	dataplane->control->has_egress = has_egress(snapshot);
	return 0;
}

/* -- sweep */

static void sweep_some(struct dataplane *dataplane, uint8_t family, uint32_t *at, uint32_t n)
{
	int program = dataplane->programs.fd[PROGRAM_SWEEP];

	while (n > 0) {
		struct sl_xdp_sweep question = {.first = *at, .family = family};

		question.n = dataplane->n_entries - *at;
		if (question.n > SWEEP_AT_ONCE)
			question.n = SWEEP_AT_ONCE;
		if (question.n > n)
			question.n = n;
		n -= question.n;
		*at += question.n;
		if (*at == dataplane->n_entries)
			*at = 0;
		if (loader_ask(program, &question, sizeof(question)) != 0)
			return;
	}
}

void tables_sweep(struct dataplane *dataplane)
{
	uint32_t n = dataplane->n_entries / (SWEEP_SECONDS * TURNS_PER_SEC) + 1;
	uint32_t was4 = dataplane->sweep4;

	if (dataplane->n_entries <= SWEEP_AT_ONCE)
		n = dataplane->n_entries;
	sweep_some(dataplane, SL_FAMILY_IPV4, &dataplane->sweep4, n);
	sweep_some(dataplane, SL_FAMILY_IPV6, &dataplane->sweep6, n);
	/* Both tables are of one size and go round together. */
	if (dataplane->sweep4 > was4 || dataplane->sweeps_to_filter == 0)
		return;
	if (--dataplane->sweeps_to_filter == 0 && dataplane->snapshot != NULL)
		write_filters(dataplane, dataplane->snapshot, true);
}
