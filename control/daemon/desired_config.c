/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* The desired state and the configuration library: taking a file's services over, judging, exporting. */
#include "control/daemon/desired.h"

#include <stdlib.h>
#include <string.h>

#include "config/config.h"

/* All services, backends and denies of a state as the configuration library wants them. */
struct listing {
	struct config_service *service;
	struct config_backend *backend;
	struct config_listed *listed;
};

static void listing_fini(struct listing *listing)
{
	free(listing->service);
	free(listing->backend);
	free(listing->listed);
}

/* Whether service @i was judged already, as a part of @judged, which may be NULL. */
static bool is_judged(const struct desired *judged, const struct desired *desired, size_t i)
{
	return judged && judged->service[i] == desired->service[i];
}

/* @judged: a state that was judged and has the same services in the same places, or NULL. */
static bool listing_init(struct listing *listing, const struct desired *desired,
			 const struct desired *judged)
{
	struct config_backend *backend;
	struct config_listed *listed;
	size_t n_backends = 0, n_listed = 0;

	for (size_t i = 0; i < desired->n_services; i++) {
		if (is_judged(judged, desired, i))
			continue;
		n_backends += desired->service[i]->n_backends;
		n_listed += desired->service[i]->n_listed;
	}
	listing->service = calloc(desired->n_services + 1, sizeof(*listing->service));
	listing->backend = calloc(n_backends + 1, sizeof(*listing->backend));
	listing->listed = calloc(n_listed + 1, sizeof(*listing->listed));
	if (!listing->service || !listing->backend || !listing->listed) {
		listing_fini(listing);
		return false;
	}
	backend = listing->backend;
	listed = listing->listed;
	for (size_t i = 0; i < desired->n_services; i++) {
		const struct desired_service *from = desired->service[i];

		/* They count, whether they are read or not. */
		listing->service[i].n_backends = from->n_backends;
		listing->service[i].n_listed = from->n_listed;
		listing->service[i].wire = from->wire;
		listing->service[i].is_judged = is_judged(judged, desired, i);
		for (uint32_t k = 0; k < from->wire.n_sources; k++)
			listing->service[i].source[k].family = from->wire.address.family;
		if (listing->service[i].is_judged)
			continue;
		listing->service[i].backend = backend;
		listing->service[i].listed = listed;
		listing->service[i].check = from->check;
		listing->service[i].canary = from->canary;
		for (uint32_t k = 0; k < from->n_backends; k++)
			*backend++ = (struct config_backend){.wire = from->backend[k].wire,
							     .part = from->backend[k].part};
		for (uint32_t k = 0; k < from->n_listed; k++)
			listed++->wire = from->listed[k];
	}
	return true;
}

/* The first error; warnings alone refuse nothing. */
static const char *first_error(const struct config_problems *problems)
{
	for (size_t i = 0; i < problems->n; i++)
		if (!problems->problem[i].is_warning)
			return problems->problem[i].text;
	return "refused";
}

/* Whether both states have the same services by name, at the same addresses, with the same sources. */
static bool has_same_addresses(const struct desired *a, const struct desired *b)
{
	if (a->n_services != b->n_services)
		return false;
	for (size_t i = 0; i < a->n_services; i++) {
		const struct wire_service *one = &a->service[i]->wire;
		const struct wire_service *other = &b->service[i]->wire;

		if (one != other &&
		    (strcmp(one->name, other->name) != 0 || one->mode != other->mode ||
		     memcmp(&one->address, &other->address, sizeof(one->address)) != 0 ||
		     one->n_sources != other->n_sources ||
		     memcmp(one->source, other->source, sizeof(one->source)) != 0))
			return false;
	}
	return true;
}

int desired_check(const struct desired *desired, const struct desired *judged,
		  struct rpc_error *error)
{
	struct config_problems problems = {0};
	struct listing listing;
	int status;

	if (judged && !has_same_addresses(judged, desired))
		judged = NULL;
	if (!listing_init(&listing, desired, judged))
		return rpc_error_set(error, RPC_INTERNAL, NULL, "out of memory");
	status = config_check_services(NULL, listing.service, desired->n_services, &problems);
	listing_fini(&listing);
	if (!status)
		return RPC_OK;
	return rpc_error_set(error, RPC_PARAMS, NULL, "%s", first_error(&problems));
}

char *desired_export(const struct desired *desired)
{
	struct listing listing;
	char *text;

	if (!listing_init(&listing, desired, NULL))
		return NULL;
	text = config_export(listing.service, desired->n_services);
	listing_fini(&listing);
	return text;
}

static void drop_file_services(struct desired *desired)
{
	size_t n = 0;

	desired->n_backends = 0;
	for (size_t i = 0; i < desired->n_services; i++) {
		struct desired_service *service = desired->service[i];

		if (service->owner == DESIRED_OWNER_FILE) {
			desired_service_put(service);
			continue;
		}
		desired->service[n++] = service;
		desired->n_backends += service->n_backends;
	}
	desired->n_services = n;
}

static struct desired_service *make_service(const struct config_service *from)
{
	struct desired_service *service =
		desired_service_new(from->wire.name, &from->wire.address, DESIRED_OWNER_FILE);
	struct desired_backend *backend = calloc(from->n_backends + 1, sizeof(*backend));
	struct wire_listed *listed = calloc(from->n_listed + 1, sizeof(*listed));

	if (!service || !backend || !listed) {
		desired_service_put(service);
		free(backend);
		free(listed);
		return NULL;
	}
	service->wire = from->wire;
	service->check = from->check;
	service->canary = from->canary;
	for (size_t i = 0; i < from->n_backends; i++) {
		backend[i].wire = from->backend[i].wire;
		backend[i].wire.service = from->wire.address;
		backend[i].part = from->backend[i].part;
	}
	desired_service_fill(service, backend, (uint32_t)from->n_backends);
	for (size_t i = 0; i < from->n_listed; i++)
		listed[i] = from->listed[i].wire;
	desired_service_list(service, listed, (uint32_t)from->n_listed);
	return service;
}

static int take_service(struct desired *desired, const struct config_service *from,
			struct rpc_error *error)
{
	struct desired_service *service;

	if (desired_find(desired, from->wire.name)) {
		rpc_error_set(error, RPC_OWNED, "name",
			      "service %s: owned by the API, delete it there or rename it in %s",
			      from->wire.name, desired->file);
		rpc_error_data(error, from->wire.name, "owner file");
		return RPC_OWNED;
	}
	service = make_service(from);
	if (!service)
		return rpc_error_set(error, RPC_INTERNAL, NULL, "out of memory");
	return desired_add(desired, service, error);
}

int desired_apply_file(struct desired *desired, const struct config *config, const char *file,
		       struct rpc_error *error)
{
	int code = RPC_OK;

	if (desired_set_file(desired, file))
		return rpc_error_set(error, RPC_INTERNAL, NULL, "out of memory");
	drop_file_services(desired);
	for (size_t i = 0; !code && i < config->n_services; i++)
		code = take_service(desired, &config->service[i], error);
	return code;
}
