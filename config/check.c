/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * Rules across services and backends, the same for the file and for the API. Duplicates are found
 * by sorting, so that 100,000 backends are judged in a moment.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/config.h"
#include "config/listed.h"
#include "config/problem.h"
#include "wire/wire_abi.h"

/* A source address and whose it is. */
struct source_entry {
	union sl_addr addr;
	uint8_t family;
	uint8_t mode; /* the service's */
	const struct config_service *service;
};

struct check {
	const char *name;
	const struct config_service *service;
	size_t n;
	struct config_problems *problems;
	const struct config_service **by_address; /* sorted */
	struct source_entry *source;              /* sorted */
	size_t n_sources;
	const struct config_service **by_prefix; /* those of mode snat */
	size_t n_prefixes;
};

static const char *service_path(const struct check *check, const struct config_service *service,
				char path[static 128])
{
	size_t index = (size_t)(service - check->service);

	if (check->name != NULL)
		snprintf(path, 128, "services[%zu] (%.63s)", index, service->wire.name);
	else
		snprintf(path, 128, "service %.63s", service->wire.name);
	return path;
}

static bool is_prime(uint32_t n)
{
	if (n < 4)
		return n >= 2;
	if (n % 2 == 0)
		return false;
	for (uint32_t d = 3; (uint64_t)d * d <= n; d += 2)
		if (n % d == 0)
			return false;
	return true;
}

static uint32_t next_prime(uint64_t n)
{
	uint32_t prime = (uint32_t)n;

	while (!is_prime(prime))
		prime++;
	return prime;
}

/* What an address is that can be neither a service's nor a backend's; NULL: it can. */
static const char *unusable(const union sl_addr *addr, uint8_t family)
{
	const uint8_t *byte = addr->byte;
	static const uint8_t zero[16];

	if (family == SL_FAMILY_IPV4) {
		if (byte[0] == 0)
			return "unspecified (0.0.0.0/8)";
		if (byte[0] == 127)
			return "loopback";
		if (byte[0] >= 224)
			return byte[0] < 240 ? "multicast" : "reserved or broadcast";
		return NULL;
	}
	if (memcmp(byte, zero, 15) == 0)
		return byte[15] == 0 ? "unspecified" : byte[15] == 1 ? "loopback" : "reserved";
	if (byte[0] == 0xff)
		return "multicast";
	if (byte[0] == 0xfe && (byte[1] & 0xc0) == 0x80)
		return "link-local";
	if (memcmp(byte, zero, 10) == 0 && byte[10] == 0xff && byte[11] == 0xff)
		return "IPv4-mapped";
	return NULL;
}

static int compare_name(const void *left, const void *right)
{
	const struct config_service *const *a = left;
	const struct config_service *const *b = right;
	int order = strcmp((*a)->wire.name, (*b)->wire.name);

	return order != 0 ? order : (*a > *b) - (*a < *b);
}

static int compare_address(const void *left, const void *right)
{
	const struct config_service *const *a = left;
	const struct config_service *const *b = right;
	int order = (*a)->wire.address.family - (*b)->wire.address.family;

	if (order == 0)
		order = memcmp(&(*a)->wire.address.addr, &(*b)->wire.address.addr,
			       sizeof((*a)->wire.address.addr));
	if (order == 0)
		order = wire_is_prefix(&(*b)->wire.address) - wire_is_prefix(&(*a)->wire.address);
	if (order == 0)
		order = memcmp(&(*a)->wire.address, &(*b)->wire.address,
			       sizeof((*a)->wire.address));
	return order != 0 ? order : (*a > *b) - (*a < *b);
}

static int compare_backend(const void *left, const void *right)
{
	const struct config_backend *const *a = left;
	const struct config_backend *const *b = right;
	int order = memcmp(&(*a)->wire.addr, &(*b)->wire.addr, sizeof((*a)->wire.addr));

	if (order == 0)
		order = memcmp(&(*a)->wire.port, &(*b)->wire.port, sizeof((*a)->wire.port));
	return order != 0 ? order : (*a > *b) - (*a < *b);
}

static int compare_source(const void *left, const void *right)
{
	const struct source_entry *a = left;
	const struct source_entry *b = right;
	int order = a->family - b->family;

	if (order == 0)
		order = memcmp(&a->addr, &b->addr, sizeof(a->addr));
	return order != 0 ? order : a->mode - b->mode;
}

/* A service of @mode that has this address in its source pool; NULL: none. 0: any mode. */
static const struct config_service *
source_owner(const struct check *check, const union sl_addr *addr, uint8_t family, uint8_t mode)
{
	const struct source_entry wanted = {.addr = *addr, .family = family, .mode = mode};
	size_t low = 0;
	size_t high = check->n_sources;

	/* The first that is not before it. */
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (compare_source(&check->source[middle], &wanted) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == check->n_sources || check->source[low].family != family ||
	    !sl_addr_equal(&check->source[low].addr, addr) ||
	    (mode != 0 && check->source[low].mode != mode))
		return NULL;
	return check->source[low].service;
}

/* Whether any service has this address, by IP address alone. */
static bool is_service_address(const struct check *check, const union sl_addr *addr, uint8_t family)
{
	size_t low = 0;
	size_t high = check->n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct wire_address *at = &check->by_address[middle]->wire.address;
		int order = at->family - family;

		if (order == 0)
			order = memcmp(&at->addr, addr, sizeof(*addr));
		/* A prefix stands before what begins with it: of its own address that says nothing. */
		if (order == 0 && !wire_is_prefix(at))
			return true;
		if (order < 0 || (order == 0 && wire_is_prefix(at)))
			low = middle + 1;
		else
			high = middle;
	}
	return false;
}

static void check_backend(const struct check *check, const struct config_service *service,
			  const struct config_backend *backend)
{
	const struct wire_backend *wire = &backend->wire;
	uint8_t family = service->wire.address.family;
	const char *reason = unusable(&wire->addr, wire->service.family);
	const struct config_service *owner;
	char path[256];
	char parent[128];
	char text[WIRE_ADDRESS_TEXT];

	wire_format_endpoint(&wire->addr, wire->port, wire->service.family, text);
	snprintf(path, sizeof(path), "%s: backend %s", service_path(check, service, parent), text);
	if (wire->service.family != family) {
		problem_error(check->problems, check->name, backend->mark, path,
			      "is IPv%u, the service is IPv%u", wire->service.family, family);
		return;
	}
	if (reason != NULL)
		problem_error(check->problems, check->name, backend->mark, path,
			      "the address is %s and cannot be a backend's", reason);
	if (wire->port == 0 && service->wire.address.port != 0)
		problem_error(check->problems, check->name, backend->mark, path,
			      "port 0 (limit 1..65535; 0 only for a service of port 0)");
	if (wire->port != 0 && service->wire.address.port == 0)
		problem_error(check->problems, check->name, backend->mark, path,
			      "port %u: a service of port 0 keeps the port, its backends have 0",
			      sl_from_be16(wire->port));
	if (wire->weight > SL_MAX_WEIGHT)
		problem_error(check->problems, check->name, backend->mark, path,
			      "weight %u is out of range (limit 0..%d)", wire->weight,
			      SL_MAX_WEIGHT);
	if (wire->max_flows > SL_MAX_FLOWS)
		problem_error(check->problems, check->name, backend->mark, path,
			      "max_flows %u is out of range (limit 0..%d)", wire->max_flows,
			      SL_MAX_FLOWS);
	if (is_service_address(check, &wire->addr, family))
		problem_error(check->problems, check->name, backend->mark, path,
			      "the address is a service's: packets would come back");
	owner = source_owner(check, &wire->addr, family, 0);
	if (owner != NULL)
		problem_error(check->problems, check->name, backend->mark, path,
			      "the address is a source of service %.63s: packets would come back",
			      owner->wire.name);
}

static void check_backends(const struct check *check, const struct config_service *service)
{
	const struct config_backend **sorted;
	char path[128];

	service_path(check, service, path);
	if (service->n_backends > SL_MAX_BACKENDS_PER_SERVICE) {
		problem_error(check->problems, check->name, service->mark, path,
			      "%zu backends (limit %d)", service->n_backends,
			      SL_MAX_BACKENDS_PER_SERVICE);
		return;
	}
	sorted = calloc(service->n_backends + 1, sizeof(*sorted));
	if (sorted == NULL) {
		problem_error(check->problems, check->name, service->mark, path, "out of memory");
		return;
	}
	for (size_t i = 0; i < service->n_backends; i++) {
		check_backend(check, service, &service->backend[i]);
		sorted[i] = &service->backend[i];
	}
	qsort(sorted, service->n_backends, sizeof(*sorted), compare_backend);
	for (size_t i = 1; i < service->n_backends; i++) {
		const struct wire_backend *wire = &sorted[i]->wire;
		char text[WIRE_ADDRESS_TEXT];

		if (memcmp(&wire->addr, &sorted[i - 1]->wire.addr, sizeof(wire->addr)) == 0 &&
		    wire->port == sorted[i - 1]->wire.port)
			problem_error(check->problems, check->name, sorted[i]->mark, path,
				      "backend %s stands there twice (first in line %u)",
				      wire_format_endpoint(&wire->addr, wire->port,
							   wire->service.family, text),
				      sorted[i - 1]->mark.line);
	}
	free(sorted);
}

/* Whether no backend takes new flows by its weight. */
static bool has_no_weight(const struct config_service *service)
{
	for (size_t i = 0; i < service->n_backends; i++)
		if (service->backend[i].wire.weight != 0)
			return false;
	return service->n_backends > 0;
}

static void check_source(const struct check *check, const struct config_service *service,
			 const char *parent, uint32_t i)
{
	const struct config_source *source = &service->source[i];
	const union sl_addr *addr = &service->wire.source[i];
	uint8_t family = service->wire.address.family;
	const char *reason = unusable(addr, source->family);
	char text[WIRE_ADDRESS_TEXT];
	char path[256];

	snprintf(path, sizeof(path), "%s: source %s", parent,
		 wire_format_addr(addr, source->family, text));
	if (source->family != family) {
		problem_error(check->problems, check->name, source->mark, path,
			      "is IPv%u, the service is IPv%u", source->family, family);
		return;
	}
	if (reason != NULL)
		problem_error(check->problems, check->name, source->mark, path,
			      "the address is %s and cannot be a source", reason);
	if (is_service_address(check, addr, family))
		problem_error(check->problems, check->name, source->mark, path,
			      "the address is a service's");
	for (uint32_t k = 0; k < i; k++)
		if (sl_addr_equal(addr, &service->wire.source[k]))
			problem_error(check->problems, check->name, source->mark, path,
				      "stands there twice");
}

/* The prefix of mode snat that @addr has; NULL: none. Of all such services, which are few. */
static const struct config_service *prefix_owner(const struct check *check,
						 const union sl_addr *addr, uint8_t family)
{
	for (size_t i = 0; i < check->n_prefixes; i++) {
		const struct wire_address *prefix = &check->by_prefix[i]->wire.address;

		if (prefix->family == family && wire_prefix_has(prefix, addr))
			return check->by_prefix[i];
	}
	return NULL;
}

/* What goes out of a private network has addresses that are none of its own, nor fullnat's. */
static void check_snat_source(const struct check *check, const struct config_service *service,
			      const char *parent, uint32_t i)
{
	const struct config_source *source = &service->source[i];
	const union sl_addr *addr = &service->wire.source[i];
	const struct config_service *owner = prefix_owner(check, addr, source->family);
	char text[WIRE_ADDRESS_TEXT];
	char path[256];

	snprintf(path, sizeof(path), "%s: source %s", parent,
		 wire_format_addr(addr, source->family, text));
	if (owner != NULL)
		problem_error(check->problems, check->name, source->mark, path,
			      "the address is one of service %.63s's clients", owner->wire.name);
	owner = source_owner(check, addr, source->family, WIRE_MODE_FULLNAT);
	if (owner != NULL)
		problem_error(check->problems, check->name, source->mark, path,
			      "the address is a source of service %.63s, whose mode is fullnat: "
			      "what comes to it could be either's",
			      owner->wire.name);
}

/* What mode snat has, and others have not; and the other way round. */
static void check_snat(const struct check *check, const struct config_service *service,
		       const char *path)
{
	const struct wire_service *wire = &service->wire;

	if (wire_is_prefix(&wire->address) != (wire->mode == WIRE_MODE_SNAT)) {
		problem_error(
			check->problems, check->name, service->mark, path,
			"the address is %s, the mode is %s: a prefix goes with mode snat, and "
			"with no other",
			wire_is_prefix(&wire->address) ? "a prefix" : "ADDR:PORT",
			wire_mode_name(wire->mode));
		return;
	}
	if (wire->mode != WIRE_MODE_SNAT)
		return;
	if (service->n_backends != 0)
		problem_error(check->problems, check->name, service->mark, path,
			      "%zu backends: a service of mode snat has none", service->n_backends);
	if (wire->proxy_protocol != WIRE_PROXY_NONE)
		problem_error(check->problems, check->name, service->mark, path,
			      "proxy_protocol %s does not go with mode snat",
			      wire_proxy_protocol_name(wire->proxy_protocol));
	if (wire->scheduler != WIRE_SCHEDULER_MAGLEV)
		problem_error(check->problems, check->name, service->mark, path,
			      "scheduler %s does not go with mode snat, which has no backends",
			      wire_scheduler_name(wire->scheduler));
	for (uint32_t i = 0; i < wire->n_sources; i++)
		check_snat_source(check, service, path, i);
}

/* fullnat and snat have a source pool, nat has none. */
static void check_sources(const struct check *check, const struct config_service *service,
			  const char *path)
{
	const struct wire_service *wire = &service->wire;

	if (!wire_mode_has_sources(wire->mode)) {
		if (wire->n_sources != 0 || wire->source_port_first != 0 ||
		    wire->source_port_last != 0)
			problem_error(check->problems, check->name, service->mark, path,
				      "source and source_ports go with modes fullnat and snat "
				      "alone (the mode is %s)",
				      wire_mode_name(wire->mode));
		return;
	}
	if (wire->n_sources == 0 || wire->n_sources > SL_MAX_SOURCES_PER_SERVICE) {
		problem_error(check->problems, check->name, service->mark, path,
			      "mode %s with %u addresses as source (limit 1..%d)",
			      wire_mode_name(wire->mode), wire->n_sources,
			      SL_MAX_SOURCES_PER_SERVICE);
		return;
	}
	if (wire->source_port_first == 0 || wire->source_port_first > wire->source_port_last)
		problem_error(check->problems, check->name, service->mark, path,
			      "source_ports %u-%u (limit 1..65535, the first not above the last)",
			      wire->source_port_first, wire->source_port_last);
	for (uint32_t i = 0; i < wire->n_sources; i++)
		check_source(check, service, path, i);
}

/* How its backends are checked. */
static void check_health_check(const struct check *check, const struct config_service *service,
			       const char *path)
{
	const char *member;
	const char *reason =
		health_check_judge(&service->check, service->wire.address.port != 0, &member);

	if (service->check.type != HEALTH_CHECK_NONE && service->wire.mode == WIRE_MODE_SNAT)
		problem_error(check->problems, check->name, service->mark, path,
			      "check.type %s does not go with mode snat, which has no backends",
			      health_check_type_name(service->check.type));
	else if (reason != NULL)
		problem_error(check->problems, check->name, service->mark, path, "check.%s %s",
			      member, reason);
	else if (service->check.passive != HEALTH_CHECK_PASSIVE_OFF &&
		 service->wire.address.protocol != SL_PROTOCOL_TCP)
		problem_error(
			check->problems, check->name, service->mark, path,
			"check.passive is for TCP alone: of others the dataplane does not see "
			"whether a backend answers");
}

/* What clients keep their backend by. */
static void check_affinity(const struct check *check, const struct config_service *service,
			   const char *path)
{
	const struct wire_service *wire = &service->wire;
	int longest = wire->address.family == SL_FAMILY_IPV4 ? 32 : 128;

	if (wire->affinity_timeout_sec == 0)
		return;
	if (wire->mode == WIRE_MODE_SNAT)
		problem_error(check->problems, check->name, service->mark, path,
			      "affinity does not go with mode snat, which has no backends");
	else if (wire->affinity_prefix > longest)
		problem_error(check->problems, check->name, service->mark, path,
			      "affinity.prefix %u is out of range (limit 1..%d)",
			      wire->affinity_prefix, longest);
}

/* A share of new flows for nobody. */
static void check_canary(const struct check *check, const struct config_service *service,
			 const char *path)
{
	const char *group = service->canary.group;

	if (group[0] == '\0')
		return;
	for (size_t i = 0; i < service->n_backends; i++)
		if (strcmp(service->backend[i].part.group, group) == 0)
			return;
	problem_error(check->problems, check->name, service->canary_mark, path,
		      "canary.group %.63s: no backend has this group", group);
}

static void check_service(const struct check *check, const struct config_service *service)
{
	const struct wire_service *wire = &service->wire;
	const char *reason = unusable(&wire->address.addr, wire->address.family);
	char path[128];

	service_path(check, service, path);
	if (!config_is_name(wire->name))
		problem_error(check->problems, check->name, service->mark, path,
			      "name \"%.63s\" (1 to %d of A-Z a-z 0-9 . _ -, the first a letter or "
			      "digit)",
			      wire->name, SL_MAX_NAME - 1);
	if (reason != NULL)
		problem_error(check->problems, check->name, service->mark, path,
			      "the address is %s and cannot be a service's", reason);
	if (wire->n_slots < SL_MIN_SLOTS || wire->n_slots > SL_MAX_SLOTS ||
	    !is_prime(wire->n_slots))
		problem_error(check->problems, check->name, service->mark, path,
			      "slots %u (a prime, limit %d..%d)", wire->n_slots, SL_MIN_SLOTS,
			      SL_MAX_SLOTS);
	else if ((uint64_t)service->n_backends * SL_SLOTS_PER_BACKEND > wire->n_slots)
		problem_error(
			check->problems, check->name, service->mark, path,
			"slots %u are too few for %zu backends (limit: a prime of at least %d "
			"x backends, %u say)",
			wire->n_slots, service->n_backends, SL_SLOTS_PER_BACKEND,
			next_prime((uint64_t)service->n_backends * SL_SLOTS_PER_BACKEND));
	check_sources(check, service, path);
	check_snat(check, service, path);
	listed_check(service, path, check->name, check->problems);
	check_backends(check, service);
	check_health_check(check, service, path);
	check_canary(check, service, path);
	check_affinity(check, service, path);
	if (service->n_backends == 0 && wire->mode != WIRE_MODE_SNAT)
		problem_warning(check->problems, check->name, service->mark, path,
				"has no backend: its packets are dropped");
	if (has_no_weight(service))
		problem_warning(check->problems, check->name, service->mark, path,
				"all weights are 0: no backend takes new flows");
}

/* Two services of one name, or of one address, port and protocol. */
static void check_duplicates(const struct check *check, const struct config_service **by_name)
{
	char path[128];

	for (size_t i = 1; i < check->n; i++) {
		if (strcmp(by_name[i]->wire.name, by_name[i - 1]->wire.name) == 0)
			problem_error(check->problems, check->name, by_name[i]->mark,
				      service_path(check, by_name[i], path),
				      "the name stands there twice (first in line %u)",
				      by_name[i - 1]->mark.line);
		if (memcmp(&check->by_address[i]->wire.address,
			   &check->by_address[i - 1]->wire.address,
			   sizeof(struct wire_address)) == 0) {
			char text[WIRE_ADDRESS_TEXT];

			problem_error(
				check->problems, check->name, check->by_address[i]->mark,
				service_path(check, check->by_address[i], path),
				"address %s is service %.63s's already",
				wire_format_address(&check->by_address[i]->wire.address, text),
				check->by_address[i - 1]->wire.name);
		}
	}
}

/* Lists the source addresses of all services; false: out of memory. */
static bool list_sources(struct check *check)
{
	size_t n = 0;

	for (size_t i = 0; i < check->n; i++)
		n += check->service[i].wire.n_sources;
	check->source = calloc(n + 1, sizeof(*check->source));
	if (check->source == NULL)
		return false;
	for (size_t i = 0; i < check->n; i++) {
		const struct config_service *service = &check->service[i];

		for (uint32_t k = 0; k < service->wire.n_sources; k++)
			check->source[check->n_sources++] = (struct source_entry){
				.addr = service->wire.source[k],
				.family = service->source[k].family,
				.mode = service->wire.mode,
				.service = service,
			};
	}
	qsort(check->source, check->n_sources, sizeof(*check->source), compare_source);
	return true;
}

int config_check_services(const char *name, const struct config_service *service, size_t n,
			  struct config_problems *problems)
{
	struct check check = {.name = name, .service = service, .n = n, .problems = problems};
	const struct config_mark nowhere = {1, 1};
	const struct config_service **by_name = calloc(n + 1, sizeof(*by_name));
	size_t n_backends = 0;

	check.by_address = calloc(n + 1, sizeof(*check.by_address));
	check.by_prefix = calloc(n + 1, sizeof(*check.by_prefix));
	if (n > SL_MAX_SERVICES) {
		problem_error(problems, name, nowhere, "services", "%zu services (limit %d)", n,
			      SL_MAX_SERVICES);
	} else if (by_name == NULL || check.by_address == NULL || check.by_prefix == NULL ||
		   !list_sources(&check)) {
		problem_error(problems, name, nowhere, "services", "out of memory");
	} else {
		for (size_t i = 0; i < n; i++) {
			by_name[i] = &service[i];
			check.by_address[i] = &service[i];
			if (service[i].wire.mode == WIRE_MODE_SNAT)
				check.by_prefix[check.n_prefixes++] = &service[i];
			n_backends += service[i].n_backends;
		}
		qsort(by_name, n, sizeof(*by_name), compare_name);
		qsort(check.by_address, n, sizeof(*check.by_address), compare_address);
		check_duplicates(&check, by_name);
		for (size_t i = 0; i < n; i++)
			if (!service[i].is_judged)
				check_service(&check, &service[i]);
		if (n_backends > SL_MAX_BACKENDS)
			problem_error(problems, name, nowhere, "services",
				      "%zu backends in all (limit %d)", n_backends,
				      SL_MAX_BACKENDS);
		listed_check_all(service, n, name, problems);
	}
	free(by_name);
	free(check.by_address);
	free(check.by_prefix);
	free(check.source);
	return problems->n_errors > 0 ? -EINVAL : 0;
}
