/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * The state that a transaction works on: each record is judged whole (staging_judge.c) and filed. Pure.
 * Called by session.c with records as they came off the wire.
 */
#include "dataplane/staging.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "wire/wire_abi.h"

enum {
	BY_ADDRESS_BUCKETS = 32768, /* twice SL_MAX_SERVICES: runs stay short */
	LATE_REUSE = 1024,          /* freed indices that wait before one is given out again */
};

_Static_assert(BY_ADDRESS_BUCKETS >= 2 * SL_MAX_SERVICES, "half empty at the limit");

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
	int status = staging_judge_service(record, error);
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
	status = staging_judge_backend(record, text, error);
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
