/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * Builds the immutable snapshot from the staged state. Slot tables that did not change are shared
 * with the previous snapshot, so a change costs its own tables and a copy of plain arrays. Pure.
 */
#include "dataplane/snapshot.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/snapshot_internal.h"
#include "wire/wire_abi.h"

static int index_init(struct snapshot_index *index, uint32_t n_keys)
{
	uint32_t n = 16;

	while (n < n_keys * 2)
		n *= 2;
	index->mask = n - 1;
	index->max_probes = 0;
	index->bucket = malloc(n * sizeof(*index->bucket));
	if (index->bucket == NULL)
		return -ENOMEM;
	memset(index->bucket, 0xff, n * sizeof(*index->bucket));
	return 0;
}

void snapshot_index_put(struct snapshot_index *index, uint32_t hash, uint32_t value)
{
	uint32_t i = 0;

	while (index->bucket[(hash + i) & index->mask] != SL_NO_INDEX)
		i++;
	index->bucket[(hash + i) & index->mask] = value;
	if (i > index->max_probes)
		index->max_probes = i;
}

static void fill_service(struct snapshot *snapshot, const struct staging *staging, uint32_t i)
{
	static const uint32_t fallback[SL_N_TIMEOUTS] = {
		[SL_TIMEOUT_EMBRYONIC] = SL_TIMEOUT_EMBRYONIC_SEC,
		[SL_TIMEOUT_ESTABLISHED] = SL_TIMEOUT_TCP_ESTABLISHED_SEC,
		[SL_TIMEOUT_TRANSITORY] = SL_TIMEOUT_TCP_TRANSITORY_SEC,
		[SL_TIMEOUT_UDP] = SL_TIMEOUT_UDP_SEC,
	};
	const struct wire_service *wire = &staging->service[i].wire;
	struct sl_service *service = &snapshot->service[i];
	const uint32_t seconds[SL_N_TIMEOUTS] = {
		[SL_TIMEOUT_EMBRYONIC] = wire->timeout_embryonic_sec,
		[SL_TIMEOUT_ESTABLISHED] = wire->timeout_established_sec,
		[SL_TIMEOUT_TRANSITORY] = wire->timeout_transitory_sec,
		[SL_TIMEOUT_UDP] = wire->timeout_udp_sec,
	};

	service->addr = wire->address.addr;
	service->port = wire->address.port;
	service->protocol = wire->address.protocol;
	service->family = wire->address.family;
	service->n_slots = wire->mode == WIRE_MODE_SNAT ? SL_MIN_SLOTS : wire->n_slots;
	service->mode = wire->mode;
	service->proxy_protocol = wire->proxy_protocol;
	service->scheduler = wire->scheduler;
	service->flags = (wire->stateless_replies ? SL_SERVICE_STATELESS_REPLIES : 0) |
			 (wire->flow_log ? SL_SERVICE_FLOW_LOG : 0) |
			 (wire->affinity_timeout_sec != 0 ? SL_SERVICE_AFFINITY : 0);
	snapshot->affinity[i] =
		(struct sl_affinity){.timeout_ticks = wire->affinity_timeout_sec * SL_TICKS_PER_SEC,
				     .prefix_length = wire->affinity_prefix};
	snapshot->has_affinity |= wire->affinity_timeout_sec != 0;
	service->n_sources = (uint8_t)wire->n_sources;
	service->source_port_first = wire->source_port_first;
	service->source_port_last = wire->source_port_last;
	service->epoch = staging->service[i].epoch;
	for (int t = 0; t < SL_N_TIMEOUTS; t++)
		service->timeout_ticks[t] =
			(seconds[t] != 0 ? seconds[t] : fallback[t]) * SL_TICKS_PER_SEC;
	/* RFC 5382 REQ-5: what is half open waits as long as what is closing. */
	if (wire->mode == WIRE_MODE_SNAT && wire->timeout_embryonic_sec == 0)
		service->timeout_ticks[SL_TIMEOUT_EMBRYONIC] =
			SL_TIMEOUT_TCP_TRANSITORY_SEC * SL_TICKS_PER_SEC;
	memcpy(snapshot->service_name[i], wire->name, SL_MAX_NAME);
	if (service->port == 0)
		snapshot->has_wildcard = true;
	snapshot_index_put(&snapshot->by_service,
			   snapshot_index_hash(&service->addr, service->port, service->family,
					       service->protocol),
			   i);
	/* The address of a prefix is not the service's; no packet has its protocol. */
	if (service->mode != WIRE_MODE_SNAT &&
	    !snapshot_is_service_address(snapshot, &service->addr, service->family))
		snapshot_index_put(&snapshot->by_address,
				   snapshot_index_hash(&service->addr, 0, service->family, 0), i);
}

static int refuse_source(const struct staging *staging, const struct wire_service *wire,
			 const union sl_addr *source, char *error)
{
	const char *owner = "?";
	char text[WIRE_ADDRESS_TEXT];

	for (uint32_t i = 0; i < staging->n_services; i++) {
		const struct wire_address *address = &staging->service[i].wire.address;

		if (staging->service[i].is_live && address->family == wire->address.family &&
		    !wire_is_prefix(address) && sl_addr_equal(&address->addr, source))
			owner = staging->service[i].wire.name;
	}
	snprintf(error, SL_MAX_ERROR, "service %.63s: source %s: the address is service %.63s's",
		 wire->name, wire_format_addr(source, wire->address.family, text), owner);
	return -EINVAL;
}

/* An address of a pool of mode snat is none of its clients', and not fullnat's, too. */
static int judge_snat_source(const struct snapshot *snapshot, const struct staging *staging,
			     const struct sl_service *service, const union sl_addr *source,
			     char *error)
{
	const char *name = snapshot->service_name[service - snapshot->service];
	uint8_t other = snapshot_source_mode(snapshot, source, service->family);
	uint32_t inside = prefix_table_find(&snapshot->inside, source, service->family);
	char text[WIRE_ADDRESS_TEXT];

	wire_format_addr(source, service->family, text);
	if (other != 0 && other != service->mode) {
		snprintf(error, SL_MAX_ERROR,
			 "service %.63s: source %s: modes %s and %s cannot have one address", name,
			 text, wire_mode_name(service->mode), wire_mode_name(other));
		return -EINVAL;
	}
	if (service->mode == WIRE_MODE_SNAT && inside != SL_NO_INDEX) {
		snprintf(error, SL_MAX_ERROR,
			 "service %.63s: source %s: the address is one of service %.63s's clients",
			 name, text, staging->service[inside].wire.name);
		return -EINVAL;
	}
	return 0;
}

/* The service's source pool; one address may stand in several. After all services are filed. */
static int fill_sources(struct snapshot *snapshot, const struct staging *staging, uint32_t i,
			char *error)
{
	const struct wire_service *wire = &staging->service[i].wire;
	struct sl_service *service = &snapshot->service[i];

	if (wire->n_sources != 0)
		service->first_source = snapshot->n_sources;
	for (uint32_t k = 0; k < wire->n_sources; k++) {
		const union sl_addr *source = &wire->source[k];
		uint8_t family = service->family;
		bool is_new = !snapshot_is_source_address(snapshot, source, family);
		uint32_t index = snapshot->n_sources;

		if (snapshot_is_service_address(snapshot, source, family))
			return refuse_source(staging, wire, source, error);
		snapshot->source[index] = *source;
		snapshot->source_family[index] = family;
		snapshot->source_mode[index] = service->mode;
		snapshot->n_sources++;
		if (judge_snat_source(snapshot, staging, service, source, error) != 0)
			return -EINVAL;
		if (!is_new)
			continue;
		snapshot_index_put(&snapshot->by_source, snapshot_index_hash(source, 0, family, 0),
				   index);
		if (++snapshot->n_distinct_sources > SL_MAX_SOURCES) {
			snprintf(error, SL_MAX_ERROR,
				 "service %.63s: source addresses of all services (limit %d)",
				 wire->name, SL_MAX_SOURCES);
			return -ENOSPC;
		}
	}
	return 0;
}

/* Whether the backend's key is filed already: then nobody can tell whose reply a packet is. */
static bool mark_shared(struct snapshot *snapshot, struct sl_backend *backend, uint32_t hash)
{
	const struct snapshot_index *index = &snapshot->by_backend;
	uint8_t protocol = snapshot->service[backend->service].protocol;

	for (uint32_t i = 0; i <= index->max_probes; i++) {
		uint32_t found = index->bucket[(hash + i) & index->mask];
		struct sl_backend *other;

		if (found == SL_NO_INDEX)
			return false;
		other = &snapshot->backend[found];
		if (other->port == backend->port && other->family == backend->family &&
		    snapshot->service[other->service].protocol == protocol &&
		    sl_addr_equal(&other->addr, &backend->addr)) {
			other->is_shared = 1;
			backend->is_shared = 1;
			return true;
		}
	}
	return false;
}

void snapshot_fill_backend(struct snapshot *snapshot, const struct staged_backend *staged,
			   uint32_t i)
{
	struct sl_backend *backend = &snapshot->backend[i];
	uint8_t family = staged->wire.service.family;
	uint32_t hash = snapshot_index_hash(&staged->wire.addr, staged->wire.port, family,
					    staged->wire.service.protocol);
	bool is_outside = wire_is_prefix(&staged->wire.service);
	uint32_t bit;

	backend->is_outside = is_outside;
	backend->addr = staged->wire.addr;
	backend->port = staged->wire.port;
	backend->family = family;
	backend->is_gone = staging_is_gone(&staged->wire);
	backend->epoch = staged->epoch;
	backend->adjacency = SL_ADJACENCY_NONE;
	backend->service = (uint16_t)staged->service;
	snapshot->n_outsides += is_outside;
	if (is_outside)
		return;
	bit = snapshot_filter_bit(&backend->addr, family);
	snapshot->backend_filter[bit / 64] |= 1ull << (bit % 64);
	if (!mark_shared(snapshot, backend, hash))
		snapshot_index_put(&snapshot->by_backend, hash, i);
}

/* The name of a live service that has @addr in its source pool; there is one. */
static const char *source_owner(const struct staging *staging, const union sl_addr *addr,
				uint8_t family)
{
	for (uint32_t i = 0; i < staging->n_services; i++) {
		const struct wire_service *wire = &staging->service[i].wire;

		if (!staging->service[i].is_live || wire->address.family != family)
			continue;
		for (uint32_t k = 0; k < wire->n_sources; k++)
			if (sl_addr_equal(&wire->source[k], addr))
				return wire->name;
	}
	return "?";
}

int snapshot_judge_loop(const struct snapshot *snapshot, const struct staging *staging,
			const struct wire_backend *wire, const char *service, char *error)
{
	uint8_t family = wire->service.family;
	char text[WIRE_ADDRESS_TEXT];

	wire_format_endpoint(&wire->addr, wire->port, family, text);
	if (snapshot_is_service_address(snapshot, &wire->addr, family)) {
		snprintf(error, SL_MAX_ERROR,
			 "backend %s of service %s: its address is a service's, packets would "
			 "come back",
			 text, service);
		return -EINVAL;
	}
	if (snapshot_is_source_address(snapshot, &wire->addr, family)) {
		snprintf(error, SL_MAX_ERROR,
			 "backend %s of service %.63s: its address is a source of service %.63s",
			 text, service, source_owner(staging, &wire->addr, family));
		return -EINVAL;
	}
	return 0;
}

int snapshot_judge_slots(const struct staged_service *staged, char *error)
{
	if ((uint64_t)staged->n_backends * SL_SLOTS_PER_BACKEND <= staged->wire.n_slots ||
	    staged->n_backends == 0)
		return 0;
	snprintf(
		error, SL_MAX_ERROR,
		"service %s: %u slots are too few for %u backends (limit: a prime of at least %d x "
		"backends)",
		staged->wire.name, staged->wire.n_slots, staged->n_backends, SL_SLOTS_PER_BACKEND);
	return -EINVAL;
}

void snapshot_fill_member(struct snapshot *snapshot, const struct staging *staging, uint32_t member,
			  uint32_t index)
{
	const struct wire_backend *wire = &staging->backend[index].wire;

	snapshot->member[member] = index;
	snapshot->backend[index].weight[SL_AUDIENCE_ALL] =
		(uint16_t)staging_weight(wire, SL_AUDIENCE_ALL);
	snapshot->backend[index].weight[SL_AUDIENCE_CANARY] =
		(uint16_t)staging_weight(wire, SL_AUDIENCE_CANARY);
	snapshot->max_flows[index] = wire->max_flows;
	snapshot->member_state[member] = wire->state;
	snapshot->member_health[member] = wire->health;
}

void snapshot_fill_compares(struct snapshot *snapshot, uint32_t service)
{
	struct sl_service *record = &snapshot->service[service];
	bool is_any = record->scheduler == WIRE_SCHEDULER_LEAST_CONNECTIONS;

	for (uint32_t i = 0; !is_any && i < record->n_members; i++)
		is_any = snapshot->max_flows[snapshot->member[record->first_member + i]] != 0;
	record->flags &= (uint8_t)~SL_SERVICE_COMPARES;
	record->flags |= is_any ? SL_SERVICE_COMPARES : 0;
}

/* The members of a service, in the order of their addresses. A loop through us is refused here. */
static int fill_members(struct snapshot *snapshot, const struct staging *staging, uint32_t service,
			char *error)
{
	const struct staged_service *staged = &staging->service[service];

	snapshot->service[service].first_member = snapshot->n_members;
	snapshot->service[service].n_members = staged->n_backends;
	for (uint32_t i = 0; i < staged->n_backends; i++) {
		uint32_t index = staged->backend[i];

		if (snapshot_judge_loop(snapshot, staging, &staging->backend[index].wire,
					staged->wire.name, error) != 0)
			return -EINVAL;
		snapshot_fill_backend(snapshot, &staging->backend[index], index);
		snapshot_fill_member(snapshot, staging, snapshot->n_members++, index);
	}
	snapshot_fill_compares(snapshot, service);
	return snapshot_judge_slots(staged, error);
}

static void *zeroed(size_t n, size_t size)
{
	return calloc(n != 0 ? n : 1, size);
}

static uint32_t count_sources(const struct staging *staging)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < staging->n_services; i++)
		if (staging->service[i].is_live)
			n += staging->service[i].wire.n_sources;
	return n;
}

static struct snapshot *snapshot_new(const struct staging *staging)
{
	struct snapshot *snapshot = calloc(1, sizeof(*snapshot));
	uint32_t n_sources = count_sources(staging);

	if (snapshot == NULL)
		return NULL;
	snapshot->n_services = staging->n_services;
	snapshot->n_backends = staging->n_backends;
	snapshot->n_live_services = staging->n_live_services;
	snapshot->n_live_backends = staging->n_live_backends;
	snapshot->service = aligned_alloc(SL_CACHE_LINE,
					  (staging->n_services + 1) * sizeof(*snapshot->service));
	snapshot->backend = aligned_alloc(SL_CACHE_LINE, (staging->n_backends + 2) / 2 * 2 *
								 sizeof(*snapshot->backend));
	snapshot->slots = zeroed(staging->n_services, sizeof(*snapshot->slots));
	snapshot->canary_slots = zeroed(staging->n_services, sizeof(*snapshot->canary_slots));
	snapshot->lists = zeroed(staging->n_services, sizeof(*snapshot->lists));
	snapshot->affinity = zeroed(staging->n_services, sizeof(*snapshot->affinity));
	snapshot->service_name = zeroed(staging->n_services, SL_MAX_NAME);
	snapshot->member = zeroed(staging->n_live_backends, sizeof(*snapshot->member));
	snapshot->max_flows = zeroed(staging->n_backends, sizeof(*snapshot->max_flows));
	snapshot->member_state = zeroed(staging->n_live_backends, 1);
	snapshot->member_health = zeroed(staging->n_live_backends, 1);
	snapshot->source = zeroed(n_sources, sizeof(*snapshot->source));
	snapshot->source_family = zeroed(n_sources, 1);
	snapshot->source_mode = zeroed(n_sources, 1);
	if (snapshot->service == NULL || snapshot->backend == NULL || snapshot->slots == NULL ||
	    snapshot->canary_slots == NULL || snapshot->lists == NULL ||
	    snapshot->affinity == NULL || snapshot->service_name == NULL ||
	    snapshot->member == NULL || snapshot->max_flows == NULL ||
	    snapshot->member_state == NULL || snapshot->member_health == NULL ||
	    snapshot->source == NULL || snapshot->source_family == NULL ||
	    snapshot->source_mode == NULL ||
	    index_init(&snapshot->by_service, staging->n_live_services) != 0 ||
	    index_init(&snapshot->by_address, staging->n_live_services) != 0 ||
	    index_init(&snapshot->by_backend, staging->n_live_backends) != 0 ||
	    index_init(&snapshot->by_source, n_sources) != 0) {
		snapshot_free(snapshot);
		return NULL;
	}
	memset(snapshot->service, 0, (staging->n_services + 1) * sizeof(*snapshot->service));
	memset(snapshot->backend, 0,
	       (staging->n_backends + 2) / 2 * 2 * sizeof(*snapshot->backend));
	return snapshot;
}

/* The lists of service @i, the previous snapshot's where they are the same. */
static int fill_lists(struct snapshot *snapshot, const struct staging *staging,
		      const struct snapshot *previous, uint32_t i)
{
	const struct staged_service *staged = &staging->service[i];
	struct lists *former =
		previous != NULL && i < previous->n_services ? previous->lists[i] : NULL;

	if (staged->n_listed == 0)
		return 0;
	if (former != NULL && former->digest == staged->listed_digest &&
	    former->n == staged->n_listed && previous->service[i].epoch == staged->epoch) {
		former->n_references++;
		snapshot->lists[i] = former;
	} else {
		snapshot->lists[i] =
			lists_new(staged->listed, staged->n_listed, staged->listed_digest);
		if (snapshot->lists[i] == NULL)
			return -ENOMEM;
	}
	for (uint8_t list = 1; list <= WIRE_N_LISTS; list++)
		if (wire_list_is_denying(list) && lists_has_any(snapshot->lists[i], list))
			snapshot->service[i].denies |= (uint8_t)(1u << list);
	return 0;
}

int snapshot_fill_inside(struct snapshot *snapshot, char *error)
{
	struct prefix *prefix = zeroed(snapshot->n_live_services, sizeof(*prefix));
	uint32_t n = 0;
	int status;

	for (uint32_t i = 0; prefix != NULL && i < snapshot->n_services; i++) {
		const struct sl_service *service = &snapshot->service[i];

		if (service->mode == WIRE_MODE_SNAT)
			prefix[n++] = (struct prefix){
				.addr = service->addr,
				.family = service->family,
				.length = (uint8_t)sl_from_be16(service->port),
				.value = i,
			};
	}
	status = prefix != NULL ? prefix_table_init(&snapshot->inside, prefix, n) : -ENOMEM;
	free(prefix);
	if (status != 0)
		snprintf(error, SL_MAX_ERROR, "snapshot: out of memory");
	return status;
}

static int fill_all_slots(struct snapshot *snapshot, const struct staging *staging,
			  const struct snapshot *previous)
{
	uint32_t *live = zeroed(staging->n_live_services, sizeof(*live));
	uint32_t n = 0;
	int status = -ENOMEM;

	for (uint32_t i = 0; live != NULL && i < staging->n_services; i++)
		if (staging->service[i].is_live)
			live[n++] = i;
	if (live != NULL)
		status = snapshot_fill_slots(snapshot, previous, live, n);
	free(live);
	return status;
}

/* Everything from the staged state. */
static int build_whole(const struct staging *staging, const struct sl_hash_key *hash_key,
		       const struct snapshot *previous, struct snapshot **out, char *error)
{
	struct snapshot *snapshot = snapshot_new(staging);
	int status;

	if (snapshot == NULL)
		return -ENOMEM;
	snapshot->hash_key = *hash_key;
	snapshot->is_all_fresh = true;
	for (uint32_t i = 0; i < staging->n_services; i++)
		if (staging->service[i].is_live)
			fill_service(snapshot, staging, i);
	status = snapshot_fill_inside(snapshot, error);
	for (uint32_t i = 0; i < staging->n_services && status == 0; i++)
		if (staging->service[i].is_live)
			status = fill_sources(snapshot, staging, i, error);
	for (uint32_t i = 0; i < staging->n_services && status == 0; i++)
		if (staging->service[i].is_live)
			status = fill_members(snapshot, staging, i, error);
	for (uint32_t i = 0; i < staging->n_services && status == 0; i++)
		if (staging->service[i].is_live)
			status = fill_lists(snapshot, staging, previous, i);
	if (status == 0)
		status = fill_all_slots(snapshot, staging, previous);
	if (status != 0) {
		snapshot_free(snapshot);
		return status;
	}
	*out = snapshot;
	return 0;
}

int snapshot_build(struct staging *staging, uint64_t generation, const struct sl_hash_key *hash_key,
		   const struct snapshot *previous, struct snapshot **out, char *error)
{
	static uint64_t last_id;
	int status = -EAGAIN;

	error[0] = '\0';
	staging_settle(staging);
	if (snapshot_can_patch(staging, previous, hash_key))
		status = snapshot_patch(staging, previous, out, error);
	if (status == -EAGAIN)
		status = build_whole(staging, hash_key, previous, out, error);
	if (status != 0) {
		if (error[0] == '\0')
			snprintf(error, SL_MAX_ERROR, "snapshot: %s", strerror(-status));
		return status;
	}
	(*out)->id = ++last_id;
	(*out)->generation = generation;
	(*out)->digest = staging->digest + wire_digest(hash_key, sizeof(*hash_key));
	staging_set_built(staging, last_id);
	return 0;
}

void snapshot_put_table(struct slot_table *table)
{
	if (table != NULL && --table->n_references == 0)
		free(table);
}

void snapshot_free(struct snapshot *snapshot)
{
	if (snapshot == NULL)
		return;
	for (uint32_t i = 0; snapshot->slots != NULL && i < snapshot->n_services; i++)
		snapshot_put_table(snapshot->slots[i]);
	for (uint32_t i = 0; snapshot->canary_slots != NULL && i < snapshot->n_services; i++)
		snapshot_put_table(snapshot->canary_slots[i]);
	for (uint32_t i = 0; snapshot->lists != NULL && i < snapshot->n_services; i++)
		lists_put(snapshot->lists[i]);
	free(snapshot->lists);
	free(snapshot->fresh);
	free(snapshot->left);
	free(snapshot->service);
	free(snapshot->backend);
	free(snapshot->slots);
	free(snapshot->canary_slots);
	free(snapshot->service_name);
	free(snapshot->member);
	free(snapshot->max_flows);
	free(snapshot->affinity);
	free(snapshot->member_state);
	free(snapshot->member_health);
	free(snapshot->source);
	free(snapshot->source_family);
	free(snapshot->source_mode);
	prefix_table_fini(&snapshot->inside);
	free(snapshot->by_service.bucket);
	free(snapshot->by_address.bucket);
	free(snapshot->by_backend.bucket);
	free(snapshot->by_source.bucket);
	free(snapshot);
}

static uint64_t table_bytes(const struct slot_table *table)
{
	return table != NULL ? sizeof(*table) + (table->n_slots + table->n_candidates) *
							sizeof(table->slot[0])
			     : 0;
}

uint64_t snapshot_table_bytes(const struct snapshot *snapshot)
{
	uint64_t bytes = 0;

	for (uint32_t i = 0; i < snapshot->n_services; i++)
		bytes += table_bytes(snapshot->slots[i]) + table_bytes(snapshot->canary_slots[i]);
	return bytes;
}

uint32_t snapshot_n_slots_of(const struct snapshot *snapshot, uint32_t service, uint32_t position)
{
	const struct slot_table *table = snapshot->slots[service];
	uint32_t n = 0;

	for (uint32_t i = 0; i < table->n_slots; i++)
		n += table->slot[i] == position;
	return n;
}
