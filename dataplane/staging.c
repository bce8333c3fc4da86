/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * The state that a transaction works on: judges each record whole and files it. Pure.
 * Called by session.c with records as they came off the wire: nothing in them is trusted.
 */
#include "dataplane/staging.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sluice/packet/parse.h>

#include "dataplane/maglev_fill.h"
#include "wire/wire_abi.h"

enum {
	BY_ADDRESS_BUCKETS = 32768, /* twice SL_MAX_SERVICES: runs stay short */
	LATE_REUSE = 1024,          /* freed indices that wait before one is given out again */
};

_Static_assert(BY_ADDRESS_BUCKETS >= 2 * SL_MAX_SERVICES, "half empty at the limit");

int staging_refuse(char *error, int status, const char *format, ...)
{
	va_list values;

	va_start(values, format);
	vsnprintf(error, SL_MAX_ERROR, format, values);
	va_end(values);
	return status;
}

bool staging_is_zero(const void *bytes, size_t size)
{
	const uint8_t *at = bytes;

	for (size_t i = 0; i < size; i++)
		if (at[i] != 0)
			return false;
	return true;
}

static uint32_t address_hash(const struct wire_address *address)
{
	return snapshot_index_hash(&address->addr, address->port, address->family,
				   address->protocol);
}

static bool same_address(const struct wire_address *a, const struct wire_address *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

static uint32_t find_service(const struct staging *staging, const struct wire_address *address)
{
	uint32_t at = address_hash(address);

	for (;; at++) {
		uint32_t found = staging->by_address[at & staging->by_address_mask];

		if (found == SL_NO_INDEX)
			return SL_NO_INDEX;
		if (same_address(&staging->service[found].wire.address, address))
			return found;
	}
}

/* As find_service(), but what was cleared is not found. */
uint32_t staging_find_service(const struct staging *staging, const struct wire_address *address)
{
	uint32_t found = find_service(staging, address);

	return found != SL_NO_INDEX && staging->service[found].is_cleared ? SL_NO_INDEX : found;
}

static void index_service(struct staging *staging, uint32_t index)
{
	uint32_t at = address_hash(&staging->service[index].wire.address);

	while (staging->by_address[at & staging->by_address_mask] != SL_NO_INDEX)
		at++;
	staging->by_address[at & staging->by_address_mask] = index;
}

/* Removal leaves no hole: what follows in the run is filed again. */
static void unindex_service(struct staging *staging, uint32_t index)
{
	uint32_t mask = staging->by_address_mask;
	uint32_t at = address_hash(&staging->service[index].wire.address);

	while (staging->by_address[at & mask] != index)
		at++;
	staging->by_address[at & mask] = SL_NO_INDEX;
	for (at++; staging->by_address[at & mask] != SL_NO_INDEX; at++) {
		uint32_t moved = staging->by_address[at & mask];

		staging->by_address[at & mask] = SL_NO_INDEX;
		index_service(staging, moved);
	}
}

struct staging *staging_new(void)
{
	struct staging *staging = calloc(1, sizeof(*staging));

	if (staging == NULL)
		return NULL;
	staging->by_address = malloc(BY_ADDRESS_BUCKETS * sizeof(*staging->by_address));
	if (staging->by_address == NULL) {
		free(staging);
		return NULL;
	}
	memset(staging->by_address, 0xff, BY_ADDRESS_BUCKETS * sizeof(*staging->by_address));
	staging->by_address_mask = BY_ADDRESS_BUCKETS - 1;
	staging->is_all_changed = true;
	return staging;
}

void staging_free(struct staging *staging)
{
	if (staging == NULL)
		return;
	for (uint32_t i = 0; i < staging->n_services; i++) {
		free(staging->service[i].backend);
		free(staging->service[i].listed);
	}
	free(staging->service);
	free(staging->backend);
	free(staging->by_address);
	free(staging);
}

static void *copy_of(const void *bytes, size_t size)
{
	void *copy = malloc(size != 0 ? size : 1);

	if (copy != NULL && size != 0)
		memcpy(copy, bytes, size);
	return copy;
}

struct staging *staging_clone(const struct staging *staging)
{
	struct staging *clone = malloc(sizeof(*clone));
	bool is_whole;

	if (clone == NULL)
		return NULL;
	*clone = *staging;
	clone->service = copy_of(staging->service, staging->n_services * sizeof(*clone->service));
	clone->backend = copy_of(staging->backend, staging->n_backends * sizeof(*clone->backend));
	clone->by_address =
		copy_of(staging->by_address, BY_ADDRESS_BUCKETS * sizeof(*clone->by_address));
	clone->service_capacity = staging->n_services;
	clone->backend_capacity = staging->n_backends;
	is_whole = clone->service != NULL && clone->backend != NULL && clone->by_address != NULL;
	for (uint32_t i = 0; clone->service != NULL && i < clone->n_services; i++) {
		struct staged_service *service = &clone->service[i];

		service->capacity = service->n_backends;
		service->backend = copy_of(staging->service[i].backend,
					   service->n_backends * sizeof(*service->backend));
		service->listed_capacity = service->n_listed;
		service->listed = copy_of(staging->service[i].listed,
					  service->n_listed * sizeof(*service->listed));
		is_whole &= service->backend != NULL && service->listed != NULL;
	}
	if (!is_whole) {
		if (clone->service == NULL)
			clone->n_services = 0;
		staging_free(clone);
		return NULL;
	}
	return clone;
}

uint32_t staging_weight(const struct wire_backend *backend, enum sl_audience audience)
{
	if (backend->state != WIRE_STATE_READY || backend->health != WIRE_HEALTH_UP)
		return 0;
	return audience == SL_AUDIENCE_CANARY ? backend->canary_weight : backend->weight;
}

bool staging_is_gone(const struct wire_backend *backend)
{
	return backend->state == WIRE_STATE_MAINT || backend->health == WIRE_HEALTH_DOWN;
}

int staging_compare_backends(const struct wire_backend *a, const struct wire_backend *b)
{
	int order = memcmp(&a->addr, &b->addr, sizeof(a->addr));

	if (order != 0)
		return order;
	return (sl_from_be16(a->port) > sl_from_be16(b->port)) -
	       (sl_from_be16(a->port) < sl_from_be16(b->port));
}

/* Addresses that can be neither a service's nor a backend's. */
static bool is_martian(const union sl_addr *addr, uint8_t family)
{
	if (family == SL_FAMILY_IPV4)
		return sl_ipv4_is_bad_source(addr->ipv4);
	return sl_ipv6_is_reserved(addr->word) || sl_ipv6_is_group(addr->word) ||
	       (addr->byte[0] == 0xfe && (addr->byte[1] & 0xc0) == 0x80);
}

static int judge_prefix(const struct wire_address *prefix, const char *text, char *error)
{
	uint32_t length = wire_prefix_length(prefix);
	bool is_ipv4 = prefix->family == SL_FAMILY_IPV4;
	uint32_t n_bits = is_ipv4 ? 32 : 128;
	uint32_t least = is_ipv4 ? SL_MIN_PREFIX_IPV4 : SL_MIN_PREFIX_IPV6;

	if (length < least || length > n_bits)
		return staging_refuse(error, -EINVAL,
				      "service %s: a prefix of %u bits (limit %u..%u)", text,
				      length, least, n_bits);
	if (wire_has_bits_beyond(&prefix->addr, length, prefix->family))
		return staging_refuse(error, -EINVAL,
				      "service %s: the address has bits beyond the prefix", text);
	return 0;
}

int staging_judge_address(const struct wire_address *address, char *error)
{
	char text[WIRE_ADDRESS_TEXT];

	if (address->family != SL_FAMILY_IPV4 && address->family != SL_FAMILY_IPV6)
		return staging_refuse(error, -EINVAL, "service: family %u (allowed: 4, 6)",
				      address->family);
	wire_format_address(address, text);
	if (wire_is_prefix(address)) {
		if (judge_prefix(address, text, error) != 0)
			return -EINVAL;
	} else if (address->protocol != SL_PROTOCOL_TCP && address->protocol != SL_PROTOCOL_UDP) {
		return staging_refuse(error, -EINVAL, "service %s: protocol %u (allowed: tcp, udp)",
				      text, address->protocol);
	}
	if (address->family == SL_FAMILY_IPV4 && !staging_is_zero(&address->addr.word[1], 12))
		return staging_refuse(error, -EINVAL,
				      "service %s: bytes beyond the IPv4 address are not zero",
				      text);
	if (is_martian(&address->addr, address->family))
		return staging_refuse(error, -EINVAL,
				      "service %s: the address cannot be a service's", text);
	return 0;
}

static bool is_name(const char *name)
{
	size_t length = strnlen(name, SL_MAX_NAME);

	if (length == 0 || length == SL_MAX_NAME ||
	    !staging_is_zero(name + length, SL_MAX_NAME - length))
		return false;
	for (size_t i = 0; i < length; i++)
		if (name[i] < '!' || name[i] > '~')
			return false;
	return true;
}

static int judge_timeout(const char *service, const char *which, uint32_t seconds, char *error)
{
	if (seconds > SL_MAX_TIMEOUT_SEC)
		return staging_refuse(error, -EINVAL, "service %s: %s timeout %u s (limit %d s)",
				      service, which, seconds, SL_MAX_TIMEOUT_SEC);
	return 0;
}

static bool is_repeated_source(const struct wire_service *record, uint32_t at)
{
	for (uint32_t i = 0; i < at; i++)
		if (sl_addr_equal(&record->source[i], &record->source[at]))
			return true;
	return false;
}

static int judge_source(const struct wire_service *record, uint32_t at, const char *service,
			char *error)
{
	const union sl_addr *source = &record->source[at];
	uint8_t family = record->address.family;
	char text[WIRE_ADDRESS_TEXT];

	wire_format_addr(source, family, text);
	if (family == SL_FAMILY_IPV4 && !staging_is_zero(&source->word[1], 12))
		return staging_refuse(
			error, -EINVAL,
			"service %s: source %s: bytes beyond the IPv4 address are not zero",
			service, text);
	if (is_martian(source, family))
		return staging_refuse(
			error, -EINVAL,
			"service %s: source %s: the address cannot be a source address", service,
			text);
	if (!wire_is_prefix(&record->address) && sl_addr_equal(source, &record->address.addr))
		return staging_refuse(error, -EINVAL,
				      "service %s: source %s: the address is the service's own",
				      service, text);
	if (is_repeated_source(record, at))
		return staging_refuse(error, -EINVAL, "service %s: source %s stands there twice",
				      service, text);
	return 0;
}

/* The source pool: fullnat and snat have one, nat has none. */
static int judge_sources(const struct wire_service *record, const char *service, char *error)
{
	uint32_t n = record->n_sources;
	int status = 0;

	if (record->mode == WIRE_MODE_NAT) {
		if (n != 0 || record->source_port_first != 0 || record->source_port_last != 0 ||
		    !staging_is_zero(record->source, sizeof(record->source)))
			return staging_refuse(
				error, -EINVAL,
				"service %s: %u source addresses, source ports %u-%u: they "
				"go with modes fullnat and snat, the mode is nat",
				service, n, record->source_port_first, record->source_port_last);
		return 0;
	}
	if (n == 0 || n > SL_MAX_SOURCES_PER_SERVICE)
		return staging_refuse(
			error, -EINVAL, "service %s: %u source addresses (limit 1..%d in mode %s)",
			service, n, SL_MAX_SOURCES_PER_SERVICE, wire_mode_name(record->mode));
	if (record->source_port_first == 0 || record->source_port_first > record->source_port_last)
		return staging_refuse(
			error, -EINVAL,
			"service %s: source ports %u-%u (limit 1..65535, the first not above "
			"the last)",
			service, record->source_port_first, record->source_port_last);
	if (!staging_is_zero(&record->source[n],
			     (SL_MAX_SOURCES_PER_SERVICE - n) * sizeof(record->source[0])))
		return staging_refuse(
			error, -EINVAL,
			"service %s: bytes beyond its %u source addresses are not zero", service,
			n);
	for (uint32_t i = 0; i < n && status == 0; i++)
		status = judge_source(record, i, service, error);
	return status;
}

/* How long a client keeps its backend, and by how much of its address. */
static int judge_affinity(const struct wire_service *record, const char *service, char *error)
{
	uint32_t longest = record->address.family == SL_FAMILY_IPV4 ? 32 : 128;

	if (record->affinity_timeout_sec > SL_MAX_TIMEOUT_SEC)
		return staging_refuse(
			error, -EINVAL,
			"service %s: affinity timeout %u s is out of range (limit %d)", service,
			record->affinity_timeout_sec, SL_MAX_TIMEOUT_SEC);
	if ((record->affinity_timeout_sec != 0) != (record->affinity_prefix != 0) ||
	    record->affinity_prefix > longest)
		return staging_refuse(
			error, -EINVAL,
			"service %s: affinity prefix of %u bits (limit 1..%u, 0 without a timeout)",
			service, record->affinity_prefix, longest);
	if (record->affinity_timeout_sec != 0 && record->mode == WIRE_MODE_SNAT)
		return staging_refuse(error, -EINVAL, "service %s: affinity in mode snat", service);
	return 0;
}

static int judge_service(const struct wire_service *record, char *error)
{
	char text[WIRE_ADDRESS_TEXT];
	int status = staging_judge_address(&record->address, error);

	if (status != 0)
		return status;
	wire_format_address(&record->address, text);
	if (!is_name(record->name))
		return staging_refuse(
			error, -EINVAL,
			"service %s: the name is not 1 to %d printable characters and zeros", text,
			SL_MAX_NAME - 1);
	if (record->mode < WIRE_MODE_NAT || record->mode > WIRE_MODE_SNAT)
		return staging_refuse(error, -EINVAL,
				      "service %s: mode %u (allowed: nat, fullnat, snat)", text,
				      record->mode);
	if ((record->mode == WIRE_MODE_SNAT) != wire_is_prefix(&record->address))
		return staging_refuse(
			error, -EINVAL,
			"service %s: mode %s (a prefix goes with snat, and with no other)", text,
			wire_mode_name(record->mode));
	if (record->mode == WIRE_MODE_SNAT && record->proxy_protocol != WIRE_PROXY_NONE)
		return staging_refuse(error, -EINVAL, "service %s: proxy_protocol %u in mode snat",
				      text, record->proxy_protocol);
	if (record->proxy_protocol != WIRE_PROXY_NONE && record->proxy_protocol != WIRE_PROXY_V2)
		return staging_refuse(error, -EINVAL,
				      "service %s: proxy_protocol %u (allowed: 0, 2)", text,
				      record->proxy_protocol);
	if (record->flow_log > 1)
		return staging_refuse(error, -EINVAL, "service %s: flow_log %u (allowed: 0, 1)",
				      text, record->flow_log);
	if (!staging_is_zero(record->reserved, sizeof(record->reserved)))
		return staging_refuse(error, -EINVAL, "service %s: reserved bytes are not zero",
				      text);
	if (record->stateless_replies > 1)
		return staging_refuse(error, -EINVAL,
				      "service %s: stateless_replies %u (allowed: 0, 1)", text,
				      record->stateless_replies);
	if (record->scheduler < WIRE_SCHEDULER_MAGLEV || record->scheduler >= WIRE_N_SCHEDULERS)
		return staging_refuse(
			error, -EINVAL, "service %s: scheduler %u is out of range (limit %d..%d)",
			text, record->scheduler, WIRE_SCHEDULER_MAGLEV, WIRE_N_SCHEDULERS - 1);
	if (record->mode == WIRE_MODE_SNAT && record->scheduler != WIRE_SCHEDULER_MAGLEV)
		return staging_refuse(error, -EINVAL, "service %s: scheduler %s in mode snat", text,
				      wire_scheduler_name(record->scheduler));
	if (record->n_slots < SL_MIN_SLOTS || record->n_slots > SL_MAX_SLOTS ||
	    !maglev_is_prime(record->n_slots))
		return staging_refuse(error, -EINVAL,
				      "service %s: %u slots (a prime, limit %d..%d)", text,
				      record->n_slots, SL_MIN_SLOTS, SL_MAX_SLOTS);
	status = judge_sources(record, text, error);
	if (status == 0)
		status = judge_affinity(record, text, error);
	if (status == 0)
		status = judge_timeout(text, "established", record->timeout_established_sec, error);
	if (status == 0)
		status = judge_timeout(text, "transitory", record->timeout_transitory_sec, error);
	if (status == 0)
		status = judge_timeout(text, "embryonic", record->timeout_embryonic_sec, error);
	if (status == 0)
		status = judge_timeout(text, "udp", record->timeout_udp_sec, error);
	return status;
}

/* The backends of service @index are not what they were. */
static void note_change(struct staging *staging, uint32_t index)
{
	for (uint32_t i = 0; i < staging->n_changed; i++)
		if (staging->changed[i] == index)
			return;
	if (staging->n_changed == STAGING_MAX_CHANGED)
		staging->is_all_changed = true;
	else
		staging->changed[staging->n_changed++] = index;
}

void staging_set_built(struct staging *staging, uint64_t id)
{
	staging->built_id = id;
	staging->is_all_changed = false;
	staging->n_changed = 0;
}

/* An index for a new object: one that waited long enough, else a fresh one. */
static uint32_t take_free(struct free_list *list, uint32_t next_free)
{
	uint32_t index = list->first;

	list->first = next_free;
	list->n--;
	return index;
}

bool staging_grow(void **array, uint32_t *capacity, uint32_t n, size_t size)
{
	uint32_t wanted;
	void *grown;

	if (n < *capacity)
		return true;
	wanted = *capacity < 16 ? 16 : *capacity * 2;
	grown = realloc(*array, wanted * size);
	if (grown == NULL)
		return false;
	*array = grown;
	*capacity = wanted;
	return true;
}

/* The backend that stands for the outside is nobody's record, and not part of the state. */
static uint64_t backend_digest(const struct wire_backend *wire)
{
	return wire_is_prefix(&wire->service) ? 0 : wire_digest(wire, sizeof(*wire));
}

static void free_backend(struct staging *staging, uint32_t index)
{
	struct staged_backend *backend = &staging->backend[index];
	struct free_list *list = &staging->free_backends;

	if (!backend->is_cleared) {
		staging->digest -= backend_digest(&backend->wire);
		staging->n_live_backends--;
	}
	backend->is_live = false;
	backend->is_cleared = false;
	if (list->n == 0)
		list->first = index;
	else
		staging->backend[list->last].next_free = index;
	list->last = index;
	list->n++;
}

static void remove_backend(struct staging *staging, struct staged_service *service,
			   uint32_t position)
{
	service->n_cleared -= staging->backend[service->backend[position]].is_cleared;
	free_backend(staging, service->backend[position]);
	service->n_backends--;
	memmove(service->backend + position, service->backend + position + 1,
		(service->n_backends - position) * sizeof(*service->backend));
}

static void free_service(struct staging *staging, uint32_t index)
{
	struct staged_service *service = &staging->service[index];
	struct free_list *list = &staging->free_services;

	staging->is_all_changed = true;
	for (uint32_t i = 0; i < service->n_backends; i++)
		free_backend(staging, service->backend[i]);
	service->n_backends = 0;
	service->n_cleared = 0;
	staging_drop_listed(staging, service);
	if (!service->is_cleared) {
		staging->digest -= wire_digest(&service->wire, sizeof(service->wire));
		staging->n_live_services--;
	}
	unindex_service(staging, index);
	service->is_live = false;
	service->is_cleared = false;
	if (list->n == 0)
		list->first = index;
	else
		staging->service[list->last].next_free = index;
	list->last = index;
	list->n++;
}

/* When every index is taken: gives up one that was cleared. */
static void drop_cleared_service(struct staging *staging)
{
	for (; staging->services_settled < staging->n_services; staging->services_settled++) {
		if (staging->service[staging->services_settled].is_cleared) {
			free_service(staging, staging->services_settled);
			return;
		}
	}
}

static void drop_cleared_backend(struct staging *staging)
{
	for (; staging->backends_settled < staging->n_backends; staging->backends_settled++) {
		uint32_t index = staging->backends_settled;
		struct staged_service *service;
		uint32_t position = 0;

		if (!staging->backend[index].is_cleared)
			continue;
		service = &staging->service[staging->backend[index].service];
		while (service->backend[position] != index)
			position++;
		remove_backend(staging, service, position);
		return;
	}
}

static uint32_t new_service(struct staging *staging)
{
	uint32_t index;

	if (staging->n_services == SL_MAX_SERVICES && staging->free_services.n == 0)
		drop_cleared_service(staging);
	if (staging->free_services.n > LATE_REUSE ||
	    (staging->n_services == SL_MAX_SERVICES && staging->free_services.n > 0)) {
		index = staging->free_services.first;
		return take_free(&staging->free_services, staging->service[index].next_free);
	}
	if (staging->n_services == SL_MAX_SERVICES ||
	    !staging_grow((void **)&staging->service, &staging->service_capacity,
			  staging->n_services, sizeof(*staging->service)))
		return SL_NO_INDEX;
	index = staging->n_services++;
	memset(&staging->service[index], 0, sizeof(staging->service[index]));
	return index;
}

static uint32_t new_backend(struct staging *staging)
{
	uint32_t index;

	if (staging->n_backends == SL_MAX_BACKENDS && staging->free_backends.n == 0)
		drop_cleared_backend(staging);
	if (staging->free_backends.n > LATE_REUSE ||
	    (staging->n_backends == SL_MAX_BACKENDS && staging->free_backends.n > 0)) {
		index = staging->free_backends.first;
		return take_free(&staging->free_backends, staging->backend[index].next_free);
	}
	if (staging->n_backends == SL_MAX_BACKENDS ||
	    !staging_grow((void **)&staging->backend, &staging->backend_capacity,
			  staging->n_backends, sizeof(*staging->backend)))
		return SL_NO_INDEX;
	index = staging->n_backends++;
	memset(&staging->backend[index], 0, sizeof(staging->backend[index]));
	return index;
}

static int put_service(struct staging *staging, const struct wire_service *record, char *error)
{
	int status = judge_service(record, error);
	struct staged_service *service;
	uint32_t index;

	if (status != 0)
		return status;
	staging->is_all_changed = true;
	index = find_service(staging, &record->address);
	if (index == SL_NO_INDEX) {
		if (staging->n_live_services == SL_MAX_SERVICES)
			return staging_refuse(error, -ENOSPC,
					      "service %s: service table full (limit %d)",
					      record->name, SL_MAX_SERVICES);
		index = new_service(staging);
		if (index == SL_NO_INDEX)
			return staging_refuse(error, -ENOMEM, "service %s: out of memory",
					      record->name);
		service = &staging->service[index];
		service->is_live = true;
		service->epoch++;
		service->wire = *record;
		staging->n_live_services++;
		index_service(staging, index);
	} else {
		service = &staging->service[index];
		staging_drop_listed(staging, service);
		if (service->is_cleared)
			staging->n_live_services++;
		else
			staging->digest -= wire_digest(&service->wire, sizeof(service->wire));
		service->is_cleared = false;
		service->wire = *record;
	}
	staging->digest += wire_digest(record, sizeof(*record));
	return 0;
}

void staging_clear(struct staging *staging)
{
	staging->is_all_changed = true;
	for (uint32_t i = 0; i < staging->n_services; i++) {
		struct staged_service *service = &staging->service[i];

		service->is_cleared = service->is_live;
		service->n_cleared = service->n_backends;
		staging_drop_listed(staging, service);
	}
	for (uint32_t i = 0; i < staging->n_backends; i++)
		staging->backend[i].is_cleared = staging->backend[i].is_live;
	staging->n_live_services = 0;
	staging->n_live_backends = 0;
	staging->services_settled = 0;
	staging->backends_settled = 0;
	staging->digest = 0;
}

/* Frees the service's cleared backends; the others keep their order. */
static void settle_backends(struct staging *staging, struct staged_service *service)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < service->n_backends; i++) {
		uint32_t index = service->backend[i];

		if (staging->backend[index].is_cleared)
			free_backend(staging, index);
		else
			service->backend[n++] = index;
	}
	service->n_backends = n;
	service->n_cleared = 0;
}

void staging_settle(struct staging *staging)
{
	for (uint32_t i = 0; i < staging->n_services; i++) {
		if (staging->service[i].is_cleared)
			free_service(staging, i);
		else if (staging->service[i].n_cleared != 0)
			settle_backends(staging, &staging->service[i]);
	}
}

int staging_delete_service(struct staging *staging, const struct wire_address *service,
			   uint32_t *n_backends, char *error)
{
	int status = staging_judge_address(service, error);
	char text[WIRE_ADDRESS_TEXT];
	uint32_t index;

	if (status != 0)
		return status;
	index = staging_find_service(staging, service);
	if (index == SL_NO_INDEX)
		return staging_refuse(error, -ENOENT, "service %s: not found",
				      wire_format_address(service, text));
	*n_backends = wire_is_prefix(service) ? 0
					      : staging->service[index].n_backends -
							staging->service[index].n_cleared;
	free_service(staging, index);
	return 0;
}

/* Where @record stands, or would, among the service's backends. */
static uint32_t find_position(const struct staging *staging, const struct staged_service *service,
			      const struct wire_backend *record, bool *is_there)
{
	uint32_t low = 0;
	uint32_t high = service->n_backends;

	*is_there = false;
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		int order = staging_compare_backends(
			&staging->backend[service->backend[middle]].wire, record);

		if (order == 0) {
			*is_there = true;
			return middle;
		}
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static int judge_backend(const struct wire_backend *record, const char *service, char *error)
{
	uint8_t family = record->service.family;
	char text[WIRE_ADDRESS_TEXT];

	wire_format_endpoint(&record->addr, record->port, family, text);
	if (record->health >= WIRE_N_HEALTHS)
		return staging_refuse(error, -EINVAL,
				      "backend %s of service %s: health %u is out of range "
				      "(limit %d)",
				      text, service, record->health, WIRE_N_HEALTHS - 1);
	if (family == SL_FAMILY_IPV4 && !staging_is_zero(&record->addr.word[1], 12))
		return staging_refuse(
			error, -EINVAL,
			"backend %s of service %s: bytes beyond the IPv4 address are not zero",
			text, service);
	if (is_martian(&record->addr, family))
		return staging_refuse(error, -EINVAL,
				      "backend %s of service %s: the address cannot be a backend's",
				      text, service);
	if (record->weight > SL_MAX_WEIGHT)
		return staging_refuse(
			error, -EINVAL,
			"backend %s of service %s: weight %u is out of range (limit %d)", text,
			service, record->weight, SL_MAX_WEIGHT);
	if (record->canary_weight > SL_MAX_WEIGHT)
		return staging_refuse(
			error, -EINVAL,
			"backend %s of service %s: canary_weight %u is out of range (limit %d)",
			text, service, record->canary_weight, SL_MAX_WEIGHT);
	if (record->max_flows > SL_MAX_FLOWS)
		return staging_refuse(
			error, -EINVAL,
			"backend %s of service %s: max_flows %u is out of range (limit %d)", text,
			service, record->max_flows, SL_MAX_FLOWS);
	if (record->state < WIRE_STATE_READY || record->state > WIRE_STATE_MAINT)
		return staging_refuse(
			error, -EINVAL,
			"backend %s of service %s: state %u (allowed: ready, drain, maint)", text,
			service, record->state);
	if ((record->port == 0) != (record->service.port == 0))
		return staging_refuse(
			error, -EINVAL,
			"backend %s of service %s: port 0 goes with a service of port 0, and "
			"with no other",
			text, service);
	return 0;
}

static int judge_room(const struct staging *staging, const struct staged_service *service,
		      const char *text, char *error)
{
	if (service->n_backends - service->n_cleared == SL_MAX_BACKENDS_PER_SERVICE)
		return staging_refuse(error, -ENOSPC, "service %s: backend table full (limit %d)",
				      text, SL_MAX_BACKENDS_PER_SERVICE);
	if (staging->n_live_backends == SL_MAX_BACKENDS)
		return staging_refuse(error, -ENOSPC,
				      "service %s: backends of all services (limit %d)", text,
				      SL_MAX_BACKENDS);
	return 0;
}

static int add_backend(struct staging *staging, uint32_t service_index,
		       const struct wire_backend *record, const char *text, char *error)
{
	struct staged_service *service = &staging->service[service_index];
	uint32_t position;
	uint32_t index;
	bool is_there;

	if (!staging_grow((void **)&service->backend, &service->capacity, service->n_backends,
			  sizeof(*service->backend)))
		return staging_refuse(error, -ENOMEM, "service %s: out of memory", text);
	index = new_backend(staging);
	if (index == SL_NO_INDEX)
		return staging_refuse(error, -ENOMEM, "service %s: out of memory", text);
	position =
		find_position(staging, service, record, &is_there); /* new_backend() may drop one */
	memmove(service->backend + position + 1, service->backend + position,
		(service->n_backends - position) * sizeof(*service->backend));
	service->backend[position] = index;
	service->n_backends++;
	staging->backend[index].is_live = true;
	staging->backend[index].epoch++;
	staging->backend[index].service = service_index;
	staging->backend[index].wire = *record;
	staging->n_live_backends++;
	return 0;
}

/* The backend at @position is put again, changed or not; its index and epoch stay. */
static void replace_backend(struct staging *staging, struct staged_service *service,
			    uint32_t position, const struct wire_backend *record)
{
	struct staged_backend *backend = &staging->backend[service->backend[position]];

	if (backend->is_cleared) {
		service->n_cleared--;
		staging->n_live_backends++;
	} else {
		staging->digest -= backend_digest(&backend->wire);
	}
	backend->is_cleared = false;
	backend->wire = *record;
}

/* @record was judged. */
static int put_backend(struct staging *staging, const struct wire_backend *record, char *error)
{
	char text[WIRE_ADDRESS_TEXT];
	struct staged_service *service;
	uint32_t service_index;
	uint32_t position;
	bool is_there;
	int status = 0;

	wire_format_address(&record->service, text);
	service_index = staging_find_service(staging, &record->service);
	if (service_index == SL_NO_INDEX)
		return staging_refuse(error, -ENOENT, "service %s: not found", text);
	service = &staging->service[service_index];
	position = find_position(staging, service, record, &is_there);
	if (!is_there || staging->backend[service->backend[position]].is_cleared)
		status = judge_room(staging, service, text, error);
	if (status == 0 && !is_there)
		status = add_backend(staging, service_index, record, text, error);
	else if (status == 0)
		replace_backend(staging, service, position, record);
	if (status != 0)
		return status;
	note_change(staging, service_index);
	staging->digest += backend_digest(record);
	return 0;
}

int staging_put_backend(struct staging *staging, const struct wire_backend *record, char *error)
{
	int status = staging_judge_address(&record->service, error);
	char text[WIRE_ADDRESS_TEXT];

	if (status != 0)
		return status;
	wire_format_address(&record->service, text);
	if (wire_is_prefix(&record->service))
		return staging_refuse(error, -EINVAL,
				      "service %s: a service of mode snat has no backends", text);
	status = judge_backend(record, text, error);
	return status != 0 ? status : put_backend(staging, record, error);
}

/* All that a service of mode snat leads to, as one backend: what counts its flows. */
static int put_outside(struct staging *staging, const struct wire_address *service, char *error)
{
	const struct wire_backend outside = {
		.service = *service, .state = WIRE_STATE_READY, .weight = 1};

	return put_backend(staging, &outside, error);
}

int staging_put_service(struct staging *staging, const struct wire_service *record, char *error)
{
	int status = put_service(staging, record, error);

	if (status == 0 && record->mode == WIRE_MODE_SNAT)
		status = put_outside(staging, &record->address, error);
	return status;
}

int staging_delete_backend(struct staging *staging,
			   const struct wire_backend_delete_request *request, char *error)
{
	struct wire_backend wanted = {.service = request->service, .port = request->port};
	int status = staging_judge_address(&request->service, error);
	char service_text[WIRE_ADDRESS_TEXT];
	char text[WIRE_ADDRESS_TEXT];
	struct staged_service *service;
	uint32_t service_index;
	uint32_t position;
	bool is_there;

	if (status != 0)
		return status;
	wanted.addr = request->addr;
	wire_format_address(&request->service, service_text);
	wire_format_endpoint(&request->addr, request->port, request->service.family, text);
	if (!staging_is_zero(request->reserved, sizeof(request->reserved)))
		return staging_refuse(error, -EINVAL,
				      "backend %s of service %s: reserved bytes are not zero", text,
				      service_text);
	service_index = staging_find_service(staging, &request->service);
	if (service_index == SL_NO_INDEX)
		return staging_refuse(error, -ENOENT, "service %s: not found", service_text);
	service = &staging->service[service_index];
	position = find_position(staging, service, &wanted, &is_there);
	if (!is_there || staging->backend[service->backend[position]].is_cleared)
		return staging_refuse(error, -ENOENT, "backend %s of service %s: not found", text,
				      service_text);
	note_change(staging, service_index);
	remove_backend(staging, service, position);
	return 0;
}

static void list_append(struct free_list *list, uint32_t index, uint32_t *next_of_last)
{
	if (list->n == 0)
		list->first = index;
	else
		*next_of_last = index;
	list->last = index;
	list->n++;
}

int staging_restore_service(struct staging *staging, uint16_t epoch,
			    const struct wire_service *record, char *error)
{
	uint32_t index = staging->n_services;

	if (record != NULL) {
		int status = put_service(staging, record, error);

		if (status != 0)
			return status;
		if (staging->n_services != index + 1)
			return staging_refuse(error, -EINVAL, "service %s: saved twice",
					      record->name);
	} else {
		if (index == SL_MAX_SERVICES ||
		    !staging_grow((void **)&staging->service, &staging->service_capacity, index,
				  sizeof(*staging->service)))
			return staging_refuse(error, -ENOMEM, "saved services: out of memory");
		memset(&staging->service[index], 0, sizeof(staging->service[index]));
		staging->n_services++;
	}
	staging->service[index].epoch = epoch;
	return 0;
}

int staging_restore_backend(struct staging *staging, uint16_t epoch,
			    const struct wire_backend *record, char *error)
{
	uint32_t index = staging->n_backends;

	if (record != NULL) {
		int status = wire_is_prefix(&record->service)
				     ? put_outside(staging, &record->service, error)
				     : staging_put_backend(staging, record, error);

		if (status != 0)
			return status;
		if (staging->n_backends != index + 1)
			return staging_refuse(error, -EINVAL, "a backend is saved twice");
	} else {
		if (index == SL_MAX_BACKENDS ||
		    !staging_grow((void **)&staging->backend, &staging->backend_capacity, index,
				  sizeof(*staging->backend)))
			return staging_refuse(error, -ENOMEM, "saved backends: out of memory");
		memset(&staging->backend[index], 0, sizeof(staging->backend[index]));
		staging->n_backends++;
	}
	staging->backend[index].epoch = epoch;
	return 0;
}

void staging_restore_end(struct staging *staging)
{
	for (uint32_t i = 0; i < staging->n_services; i++)
		if (!staging->service[i].is_live)
			list_append(&staging->free_services, i,
				    &staging->service[staging->free_services.last].next_free);
	for (uint32_t i = 0; i < staging->n_backends; i++)
		if (!staging->backend[i].is_live)
			list_append(&staging->free_backends, i,
				    &staging->backend[staging->free_backends.last].next_free);
}
