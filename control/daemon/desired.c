/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* Services sorted by name, backends sorted by address; copy on write. See desired.h. */
#include "control/daemon/desired.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/daemon/text.h"
#include "wire/wire_abi.h"

static int out_of_memory(struct rpc_error *error)
{
	return rpc_error_set(error, RPC_INTERNAL, NULL, "out of memory");
}

const char *desired_owner_name(uint8_t owner)
{
	return owner == DESIRED_OWNER_FILE ? "file" : "api";
}

struct desired *desired_new(void)
{
	return calloc(1, sizeof(struct desired));
}

struct desired *desired_clone(const struct desired *desired)
{
	struct desired *clone = calloc(1, sizeof(*clone));

	if (!clone)
		return NULL;
	if (desired->file && desired_set_file(clone, desired->file))
		goto fail;
	if (desired->n_services) {
		clone->service = malloc(desired->n_services * sizeof(*clone->service));
		if (!clone->service)
			goto fail;
	}
	for (size_t i = 0; i < desired->n_services; i++) {
		clone->service[i] = desired->service[i];
		clone->service[i]->n_references++;
	}
	clone->n_services = clone->capacity = desired->n_services;
	clone->n_backends = desired->n_backends;
	return clone;
fail:
	desired_free(clone);
	return NULL;
}

void desired_free(struct desired *desired)
{
	if (!desired)
		return;
	for (size_t i = 0; i < desired->n_services; i++)
		desired_service_put(desired->service[i]);
	free(desired->service);
	free(desired->file);
	free(desired);
}

int desired_set_file(struct desired *desired, const char *file)
{
	char *copy = strdup(file);

	if (!copy)
		return -ENOMEM;
	free(desired->file);
	desired->file = copy;
	return 0;
}

/* Where the service called @name stands, or would stand. */
static size_t find_place(const struct desired *desired, const char *name, bool *is_there)
{
	size_t low = 0, high = desired->n_services;

	*is_there = false;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = strcmp(name, desired->service[middle]->wire.name);

		if (order == 0) {
			*is_there = true;
			return middle;
		}
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

const struct desired_service *desired_find(const struct desired *desired, const char *name)
{
	bool is_there;
	size_t at = find_place(desired, name, &is_there);

	return is_there ? desired->service[at] : NULL;
}

const struct desired_service *desired_find_address(const struct desired *desired,
						   const struct wire_address *address)
{
	for (size_t i = 0; i < desired->n_services; i++)
		if (memcmp(&desired->service[i]->wire.address, address, sizeof(*address)) == 0)
			return desired->service[i];
	return NULL;
}

static int compare_backend(const struct wire_backend *backend, const union sl_addr *addr,
			   be16_t port)
{
	int order = memcmp(&backend->addr, addr, sizeof(*addr));

	if (order)
		return order;
	return (int)sl_from_be16(backend->port) - (int)sl_from_be16(port);
}

static uint32_t find_backend_place(const struct desired_service *service, const union sl_addr *addr,
				   be16_t port, bool *is_there)
{
	uint32_t low = 0, high = service->n_backends;

	*is_there = false;
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		int order = compare_backend(&service->backend[middle].wire, addr, port);

		if (order == 0) {
			*is_there = true;
			return middle;
		}
		if (order > 0)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

const struct desired_backend *desired_find_backend(const struct desired_service *service,
						   const union sl_addr *addr, be16_t port)
{
	bool is_there;
	uint32_t at = find_backend_place(service, addr, port, &is_there);

	return is_there ? &service->backend[at] : NULL;
}

bool desired_has_same_record(const struct desired_service *a, const struct desired_service *b)
{
	return memcmp(&a->wire, &b->wire, sizeof(a->wire)) == 0 && a->n_listed == b->n_listed &&
	       (a->n_listed == 0 ||
		memcmp(a->listed, b->listed, a->n_listed * sizeof(*a->listed)) == 0);
}

bool desired_next_services(const struct desired *old, const struct desired *new, size_t *i,
			   size_t *k, const struct desired_service **was,
			   const struct desired_service **is)
{
	int order;

	*was = *i < old->n_services ? old->service[*i] : NULL;
	*is = *k < new->n_services ? new->service[*k] : NULL;
	if (!*was && !*is)
		return false;
	order = !*was         ? 1
		: !*is        ? -1
		: *was == *is ? 0 /* most are shared, and their names need no reading */
			      : strcmp((*was)->wire.name, (*is)->wire.name);
	if (order < 0)
		*is = NULL;
	if (order > 0)
		*was = NULL;
	*i += *was != NULL;
	*k += *is != NULL;
	return true;
}

bool desired_next_backends(const struct desired_service *old, const struct desired_service *new,
			   uint32_t *i, uint32_t *k, const struct desired_backend **was,
			   const struct desired_backend **is)
{
	uint32_t n_old = old ? old->n_backends : 0, n_new = new ? new->n_backends : 0;
	int order;

	*was = *i < n_old ? &old->backend[*i] : NULL;
	*is = *k < n_new ? &new->backend[*k] : NULL;
	if (!*was && !*is)
		return false;
	order = !*was  ? 1
		: !*is ? -1
		       : compare_backend(&(*was)->wire, &(*is)->wire.addr, (*is)->wire.port);
	if (order < 0)
		*is = NULL;
	if (order > 0)
		*was = NULL;
	*i += *was != NULL;
	*k += *is != NULL;
	return true;
}

struct desired_service *desired_service_new(const char *name, const struct wire_address *address,
					    enum desired_owner owner)
{
	struct desired_service *service = calloc(1, sizeof(*service));

	if (!service)
		return NULL;
	service->n_references = 1;
	service->owner = (uint8_t)owner;
	service->wire.address = *address;
	service->wire.mode = wire_is_prefix(address) ? WIRE_MODE_SNAT : WIRE_MODE_NAT;
	service->wire.scheduler = WIRE_SCHEDULER_MAGLEV;
	service->wire.stateless_replies = 1;
	service->wire.n_slots = SL_DEFAULT_SLOTS;
	service->wire.timeout_established_sec = SL_TIMEOUT_TCP_ESTABLISHED_SEC;
	service->wire.timeout_transitory_sec = SL_TIMEOUT_TCP_TRANSITORY_SEC;
	service->wire.timeout_embryonic_sec =
		wire_is_prefix(address) ? SL_TIMEOUT_TCP_TRANSITORY_SEC : SL_TIMEOUT_EMBRYONIC_SEC;
	service->wire.timeout_udp_sec = SL_TIMEOUT_UDP_SEC;
	(void)snprintf(service->wire.name, sizeof(service->wire.name), "%s", name);
	return service;
}

static void forget_overlaid(struct desired_service *service)
{
	if (service->overlaid != service)
		desired_service_put(service->overlaid);
	service->overlaid = NULL;
}

void desired_service_put(struct desired_service *service)
{
	if (!service || --service->n_references > 0)
		return;
	forget_overlaid(service);
	free(service->backend);
	free(service->listed);
	free(service);
}

static int compare_backends(const void *a, const void *b)
{
	const struct desired_backend *left = a, *right = b;

	return compare_backend(&left->wire, &right->wire.addr, right->wire.port);
}

void desired_service_fill(struct desired_service *service, struct desired_backend *backend,
			  uint32_t n_backends)
{
	if (n_backends)
		qsort(backend, n_backends, sizeof(*backend), compare_backends);
	service->backend = backend;
	service->n_backends = service->capacity = n_backends;
}

static int compare_listed(const void *a, const void *b)
{
	return wire_compare_listed(a, b);
}

void desired_service_list(struct desired_service *service, struct wire_listed *listed,
			  uint32_t n_listed)
{
	for (uint32_t i = 0; i < n_listed; i++)
		listed[i].service = service->wire.address;
	if (n_listed)
		qsort(listed, n_listed, sizeof(*listed), compare_listed);
	free(service->listed);
	service->listed = listed;
	service->n_listed = n_listed;
}

bool desired_has_listed(const struct desired_service *service, uint8_t which)
{
	for (uint32_t i = 0; i < service->n_listed; i++)
		if (service->listed[i].list == which)
			return true;
	return false;
}

static int refuse_not_found(const char *name, struct rpc_error *error)
{
	rpc_error_set(error, RPC_NOT_FOUND, "name", "service %s: there is no such service", name);
	rpc_error_data(error, name, NULL);
	return RPC_NOT_FOUND;
}

static int refuse_limit(const char *object, const char *field, const char *what, size_t value,
			size_t limit, struct rpc_error *error)
{
	char value_text[32], limit_text[32];

	(void)snprintf(value_text, sizeof(value_text), "%zu", value);
	(void)snprintf(limit_text, sizeof(limit_text), "%zu", limit);
	rpc_error_set(error, RPC_LIMIT, field, "service %s: %s %s, the limit is %s", object,
		      value_text, what, limit_text);
	rpc_error_data(error, value_text, limit_text);
	return RPC_LIMIT;
}

static int insert_service(struct desired *desired, size_t at, struct desired_service *service)
{
	if (desired->n_services == desired->capacity) {
		size_t capacity = desired->capacity + desired->capacity / 2 + 8;
		struct desired_service **grown =
			realloc(desired->service, capacity * sizeof(*desired->service));

		if (!grown)
			return -ENOMEM;
		desired->service = grown;
		desired->capacity = capacity;
	}
	memmove(&desired->service[at + 1], &desired->service[at],
		(desired->n_services - at) * sizeof(*desired->service));
	desired->service[at] = service;
	desired->n_services++;
	desired->n_backends += service->n_backends;
	return 0;
}

int desired_add(struct desired *desired, struct desired_service *service, struct rpc_error *error)
{
	bool is_there;
	size_t at = find_place(desired, service->wire.name, &is_there);
	int code = RPC_OK;

	if (is_there) {
		const struct desired_service *old = desired->service[at];
		char address[WIRE_ADDRESS_TEXT];

		(void)wire_format_address(&old->wire.address, address);
		code = rpc_error_set(error, RPC_EXISTS, "name",
				     "service %s: exists already, at %s, owned by the %s",
				     old->wire.name, address, desired_owner_name(old->owner));
		rpc_error_data(error, old->wire.name, NULL);
	} else if (desired->n_services >= SL_MAX_SERVICES) {
		code = refuse_limit(service->wire.name, "name", "services", desired->n_services + 1,
				    SL_MAX_SERVICES, error);
	} else if (insert_service(desired, at, service)) {
		code = out_of_memory(error);
	}
	if (code)
		desired_service_put(service);
	return code;
}

/* With room for one backend more. */
struct desired_service *desired_service_copy(const struct desired_service *old)
{
	struct desired_service *copy = malloc(sizeof(*copy));

	if (!copy)
		return NULL;
	*copy = *old;
	copy->n_references = 1;
	copy->has_digest = false;
	copy->overlaid = NULL;
	copy->capacity = old->n_backends + 1;
	copy->backend = malloc(copy->capacity * sizeof(*copy->backend));
	copy->listed = malloc((old->n_listed + 1) * sizeof(*copy->listed));
	if (!copy->backend || !copy->listed) {
		desired_service_put(copy);
		return NULL;
	}
	if (old->n_backends)
		memcpy(copy->backend, old->backend, old->n_backends * sizeof(*copy->backend));
	if (old->n_listed)
		memcpy(copy->listed, old->listed, old->n_listed * sizeof(*copy->listed));
	return copy;
}

int desired_edit(struct desired *desired, const char *name, struct desired_service **service,
		 struct rpc_error *error)
{
	bool is_there;
	size_t at = find_place(desired, name, &is_there);

	if (!is_there)
		return refuse_not_found(name, error);
	if (desired->service[at]->n_references > 1) {
		struct desired_service *copy = desired_service_copy(desired->service[at]);

		if (!copy)
			return out_of_memory(error);
		desired_service_put(desired->service[at]);
		desired->service[at] = copy;
	}
	desired->service[at]->has_digest = false;
	forget_overlaid(desired->service[at]);
	*service = desired->service[at];
	return RPC_OK;
}

int desired_check_owner(const struct desired *desired, const char *name, struct rpc_error *error)
{
	const struct desired_service *service = desired_find(desired, name);

	if (!service)
		return refuse_not_found(name, error);
	if (service->owner == DESIRED_OWNER_API)
		return RPC_OK;
	rpc_error_set(error, RPC_OWNED, "name",
		      "service %s: owned by the file %s, change it there and apply the file", name,
		      desired->file ? desired->file : "(unknown)");
	rpc_error_data(error, name, "owner api");
	return RPC_OWNED;
}

int desired_delete(struct desired *desired, const char *name, struct rpc_error *error)
{
	bool is_there;
	size_t at = find_place(desired, name, &is_there);

	if (!is_there)
		return refuse_not_found(name, error);
	desired->n_backends -= desired->service[at]->n_backends;
	desired_service_put(desired->service[at]);
	desired->n_services--;
	memmove(&desired->service[at], &desired->service[at + 1],
		(desired->n_services - at) * sizeof(*desired->service));
	return RPC_OK;
}

static int reserve_backend(struct desired_service *service)
{
	uint32_t capacity = service->capacity + service->capacity / 2 + 4;
	struct desired_backend *grown;

	if (service->n_backends < service->capacity)
		return 0;
	grown = realloc(service->backend, capacity * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	service->backend = grown;
	service->capacity = capacity;
	return 0;
}

static int check_backend_limits(const struct desired *desired,
				const struct desired_service *service, struct rpc_error *error)
{
	if (service->n_backends >= SL_MAX_BACKENDS_PER_SERVICE)
		return refuse_limit(service->wire.name, "address", "backends",
				    (size_t)service->n_backends + 1, SL_MAX_BACKENDS_PER_SERVICE,
				    error);
	if (desired->n_backends >= SL_MAX_BACKENDS)
		return refuse_limit(service->wire.name, "address", "backends of all services",
				    desired->n_backends + 1, SL_MAX_BACKENDS, error);
	return RPC_OK;
}

int desired_add_backend(struct desired *desired, const char *name,
			const struct desired_backend *backend, struct rpc_error *error)
{
	struct desired_service *service;
	bool is_there;
	uint32_t at;
	int code = desired_edit(desired, name, &service, error);

	if (code)
		return code;
	at = find_backend_place(service, &backend->wire.addr, backend->wire.port, &is_there);
	if (is_there) {
		char address[WIRE_ADDRESS_TEXT];

		text_backend_address(&service->backend[at].wire, address);
		rpc_error_set(error, RPC_EXISTS, "address",
			      "service %s: backend %s: exists already", name, address);
		rpc_error_data(error, address, NULL);
		return RPC_EXISTS;
	}
	code = check_backend_limits(desired, service, error);
	if (code)
		return code;
	if (reserve_backend(service))
		return out_of_memory(error);
	memmove(&service->backend[at + 1], &service->backend[at],
		(service->n_backends - at) * sizeof(*service->backend));
	service->backend[at] = *backend;
	service->backend[at].wire.service = service->wire.address;
	service->n_backends++;
	desired->n_backends++;
	return RPC_OK;
}

/* The service as a private copy, and the place of its backend. */
static int edit_backend(struct desired *desired, const char *name, const union sl_addr *addr,
			be16_t port, struct desired_service **service, uint32_t *at,
			struct rpc_error *error)
{
	const struct desired_service *found = desired_find(desired, name);
	bool is_there;

	if (!found)
		return refuse_not_found(name, error);
	*at = find_backend_place(found, addr, port, &is_there);
	if (!is_there) {
		struct wire_backend wanted = {
			.service = found->wire.address,
			.addr = *addr,
			.port = port,
		};
		char address[WIRE_ADDRESS_TEXT];

		text_backend_address(&wanted, address);
		rpc_error_set(error, RPC_NOT_FOUND, "address",
			      "service %s: backend %s: there is no such backend", name, address);
		rpc_error_data(error, address, NULL);
		return RPC_NOT_FOUND;
	}
	return desired_edit(desired, name, service, error);
}

int desired_set_backend(struct desired *desired, const char *name,
			const struct desired_backend *backend, struct rpc_error *error)
{
	struct desired_service *service;
	uint32_t at;
	int code = edit_backend(desired, name, &backend->wire.addr, backend->wire.port, &service,
				&at, error);

	if (code)
		return code;
	service->backend[at].wire.weight = backend->wire.weight;
	service->backend[at].wire.max_flows = backend->wire.max_flows;
	service->backend[at].wire.state = backend->wire.state;
	service->backend[at].part = backend->part;
	return RPC_OK;
}

int desired_delete_backend(struct desired *desired, const char *name, const union sl_addr *addr,
			   be16_t port, struct rpc_error *error)
{
	struct desired_service *service;
	uint32_t at;
	int code = edit_backend(desired, name, addr, port, &service, &at, error);

	if (code)
		return code;
	service->n_backends--;
	desired->n_backends--;
	memmove(&service->backend[at], &service->backend[at + 1],
		(service->n_backends - at) * sizeof(*service->backend));
	return RPC_OK;
}

static uint64_t service_digest(const struct desired_service *service)
{
	uint64_t digest = wire_digest(&service->wire, sizeof(service->wire));

	for (uint32_t k = 0; k < service->n_backends; k++)
		digest += wire_digest(&service->backend[k].wire, sizeof(service->backend[k].wire));
	for (uint32_t k = 0; k < service->n_listed; k++)
		digest += wire_digest(&service->listed[k], sizeof(service->listed[k]));
	return digest;
}

uint64_t desired_digest(const struct desired *desired, const struct sl_hash_key *key)
{
	uint64_t digest = wire_digest(key, sizeof(*key));

	for (size_t i = 0; i < desired->n_services; i++) {
		struct desired_service *service = desired->service[i];

		if (!service->has_digest) {
			service->digest = service_digest(service);
			service->has_digest = true;
		}
		digest += service->digest;
	}
	return digest;
}
