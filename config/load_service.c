/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* The list of services: the tables below say which keys there are and how each is read. */
#include "config/load_service.h"

#include <stdlib.h>
#include <string.h>

#include "config/config.h"
#include "config/load_health_check.h"
#include "config/read.h"
#include "config/share.h"
#include "wire/wire_abi.h"

static void read_state(struct reader *reader, const yaml_node_t *node, const char *path,
		       const struct read_key *key, void *target)
{
	read_word(reader, node, path, key, target);
}

static void read_backend_address(struct reader *reader, const yaml_node_t *node, const char *path,
				 const struct read_key *key SL_UNUSED, void *target)
{
	struct wire_backend *wire = &((struct config_backend *)target)->wire;
	const char *text = read_scalar(reader, node, path);
	const char *reason = NULL;

	if (text != NULL &&
	    !config_parse_endpoint(text, &wire->addr, &wire->port, &wire->service.family, &reason))
		READ_FAIL(reader, node, path, "\"%.50s\": %s", text, reason);
}

static void read_group(struct reader *reader, const yaml_node_t *node, const char *path,
		       const struct read_key *key SL_UNUSED, void *target)
{
	const char *text = read_scalar(reader, node, path);

	if (text != NULL && !share_parse_group(text, target))
		READ_FAIL(reader, node, path,
			  "\"%.70s\" (none, or 1 to %d of A-Z a-z 0-9 . _ -, the first a letter or "
			  "digit)",
			  text, SL_MAX_NAME - 1);
}

static const char *const state_words[] = {"ready", "drain", "maint", NULL};
static const char *const role_words[] = {"active", "backup", "sorry", NULL};
static const char *const mode_words[] = {"nat", "fullnat", "snat", NULL};
static const char *const scheduler_words[] = {"maglev", "source_hash", "round_robin",
					      "least_connections", NULL};
static const char *const boolean_words[] = {"false", "true", NULL};

#define BACKEND(member) offsetof(struct config_backend, member)

static const struct read_key backend_keys[] = {
	{"address", read_backend_address, 0, 0, 0, NULL},
	{"weight", read_integer, BACKEND(wire.weight), 0, SL_MAX_WEIGHT, NULL},
	{"max_flows", read_integer, BACKEND(wire.max_flows), 0, SL_MAX_FLOWS, NULL},
	{"state", read_state, BACKEND(wire.state), WIRE_STATE_READY, 0, state_words},
	{"role", read_word, BACKEND(part.role), SHARE_ACTIVE, 0, role_words},
	{"group", read_group, BACKEND(part.group), 0, 0, NULL},
	{0},
};

static void read_backend(struct reader *reader, const yaml_node_t *node, const char *path,
			 size_t index, void *target)
{
	struct config_backend *backend = &((struct config_service *)target)->backend[index];
	size_t errors_before = reader->problems->n_errors;

	backend->mark = read_mark(node);
	backend->wire.weight = 1;
	backend->wire.state = WIRE_STATE_READY;
	if (read_mapping(reader, node, path, backend_keys, backend) &&
	    backend->wire.service.family == 0 && reader->problems->n_errors == errors_before)
		READ_FAIL(reader, node, path, "has no address");
}

static void read_backends(struct reader *reader, const yaml_node_t *node, const char *path,
			  const struct read_key *key SL_UNUSED, void *target)
{
	struct config_service *service = target;
	size_t n = 0;

	if (node->type == YAML_SEQUENCE_NODE)
		n = (size_t)(node->data.sequence.items.top - node->data.sequence.items.start);
	if (n > SL_MAX_BACKENDS_PER_SERVICE) {
		READ_FAIL(reader, node, path, "%zu backends (limit %d)", n,
			  SL_MAX_BACKENDS_PER_SERVICE);
		return;
	}
	service->backend = calloc(n + 1, sizeof(*service->backend));
	if (service->backend == NULL) {
		reader->is_out_of_memory = true;
		return;
	}
	service->n_backends = n;
	read_list(reader, node, path, SL_MAX_BACKENDS_PER_SERVICE, read_backend, service);
}

static void read_service_address(struct reader *reader, const yaml_node_t *node, const char *path,
				 const struct read_key *key SL_UNUSED, void *target)
{
	const char *text = read_scalar(reader, node, path);
	const char *reason = NULL;

	if (text != NULL && !config_parse_service_address(text, target, &reason))
		READ_FAIL(reader, node, path, "\"%.50s\": %s", text, reason);
}

static void read_name(struct reader *reader, const yaml_node_t *node, const char *path,
		      const struct read_key *key SL_UNUSED, void *target)
{
	const char *text = read_scalar(reader, node, path);

	if (text != NULL && !config_is_name(text))
		READ_FAIL(reader, node, path,
			  "name \"%.70s\" (1 to %d of A-Z a-z 0-9 . _ -, the first a letter or "
			  "digit)",
			  text, SL_MAX_NAME - 1);
	else if (text != NULL)
		memcpy(target, text, strlen(text) + 1);
}

static void read_source_address(struct reader *reader, const yaml_node_t *node, const char *path,
				size_t index, void *target)
{
	struct config_service *service = target;
	struct config_source *source = &service->source[index];
	const char *text = read_scalar(reader, node, path);
	const char *reason = NULL;

	source->mark = read_mark(node);
	if (text != NULL &&
	    !config_parse_addr(text, &service->wire.source[index], &source->family, &reason))
		READ_FAIL(reader, node, path, "\"%.50s\": %s", text, reason);
}

static void read_source(struct reader *reader, const yaml_node_t *node, const char *path,
			const struct read_key *key SL_UNUSED, void *target)
{
	struct config_service *service = target;

	service->wire.n_sources = (uint32_t)read_list(
		reader, node, path, SL_MAX_SOURCES_PER_SERVICE, read_source_address, service);
}

static void read_source_ports(struct reader *reader, const yaml_node_t *node, const char *path,
			      const struct read_key *key SL_UNUSED, void *target)
{
	struct wire_service *wire = &((struct config_service *)target)->wire;
	const char *text = read_scalar(reader, node, path);
	const char *reason = NULL;

	if (text != NULL &&
	    !config_parse_ports(text, &wire->source_port_first, &wire->source_port_last, &reason))
		READ_FAIL(reader, node, path, "\"%.40s\": %s", text, reason);
}

/* The list of a service that prefixes are added to. */
struct list {
	struct config_service *service;
	uint8_t which; /* enum wire_list */
};

static void read_listed(struct reader *reader, const yaml_node_t *node, const char *path,
			size_t index SL_UNUSED, void *target)
{
	const struct list *list = target;
	struct config_service *service = list->service;
	struct config_listed listed = {.mark = read_mark(node), .wire.list = list->which};
	size_t n = service->n_listed;
	const char *text = read_scalar(reader, node, path);
	const char *reason = NULL;

	if (text == NULL)
		return;
	if (!config_parse_prefix(text, &listed.wire.addr, &listed.wire.length, &listed.wire.family,
				 &reason)) {
		READ_FAIL(reader, node, path, "\"%.50s\": %s", text, reason);
		return;
	}
	if ((n & (n - 1)) == 0) { /* room for a power of two of them */
		void *grown = realloc(service->listed, (n != 0 ? 2 * n : 1) * sizeof(listed));

		if (grown == NULL) {
			reader->is_out_of_memory = true;
			return;
		}
		service->listed = grown;
	}
	service->listed[service->n_listed++] = listed;
}

static void read_prefixes(struct reader *reader, const yaml_node_t *node, const char *path,
			  const struct read_key *key, void *target)
{
	struct list list = {.service = target, .which = (uint8_t)key->min};

	read_list(reader, node, path, wire_list_limit(list.which), read_listed, &list);
}

static void read_proxy_protocol(struct reader *reader, const yaml_node_t *node, const char *path,
				const struct read_key *key SL_UNUSED, void *target)
{
	const char *text = read_scalar(reader, node, path);

	if (text != NULL && !wire_proxy_protocol_from_name(text, target))
		READ_FAIL(reader, node, path, "\"%.40s\" is not one of: none, v2", text);
}

static void read_percent(struct reader *reader, const yaml_node_t *node, const char *path,
			 const struct read_key *key SL_UNUSED, void *target)
{
	const char *text = read_scalar(reader, node, path);

	if (text != NULL && (node->data.scalar.style != YAML_PLAIN_SCALAR_STYLE ||
			     !share_parse_percent(text, target)))
		READ_FAIL(reader, node, path,
			  "\"%.40s\" is not a percentage (limit 0..100, two decimals)", text);
}

#define CANARY(member) offsetof(struct config_service, canary.member)

static const struct read_key canary_keys[] = {
	{"group", read_group, CANARY(group), 0, 0, NULL},
	{"share_percent", read_percent, CANARY(share), 0, 0, NULL},
	{"sources", read_prefixes, 0, WIRE_CANARY_SOURCE, 0, NULL},
	{0},
};

static void read_canary(struct reader *reader, const yaml_node_t *node, const char *path,
			const struct read_key *key SL_UNUSED, void *target)
{
	struct config_service *service = target;
	size_t errors_before = reader->problems->n_errors;

	service->canary_mark = read_mark(node);
	if (!read_mapping(reader, node, path, canary_keys, service) ||
	    reader->problems->n_errors != errors_before)
		return;
	if (read_find(reader, node, "group") == NULL)
		READ_FAIL(reader, node, path, "has no group");
	if (read_find(reader, node, "share_percent") == NULL &&
	    read_find(reader, node, "sources") == NULL)
		READ_FAIL(reader, node, path, "has neither share_percent nor sources");
	if (service->canary.group[0] == '\0')
		service->canary.share = 0;
}

/* What is written of affinity. */
struct affinity_words {
	uint32_t timeout_sec;
	uint32_t prefix;
};

#define SERVICE(member) offsetof(struct config_service, wire.member)

static const struct read_key timeout_keys[] = {
	{"established", read_integer, SERVICE(timeout_established_sec), 1, SL_MAX_TIMEOUT_SEC,
	 NULL},
	{"transitory", read_integer, SERVICE(timeout_transitory_sec), 1, SL_MAX_TIMEOUT_SEC, NULL},
	{"embryonic", read_integer, SERVICE(timeout_embryonic_sec), 1, SL_MAX_TIMEOUT_SEC, NULL},
	{"udp", read_integer, SERVICE(timeout_udp_sec), 1, SL_MAX_TIMEOUT_SEC, NULL},
	{0},
};

static void read_timeouts(struct reader *reader, const yaml_node_t *node, const char *path,
			  const struct read_key *key SL_UNUSED, void *target)
{
	read_mapping(reader, node, path, timeout_keys, target);
}

static const struct read_key affinity_keys[] = {
	{"timeout", read_integer, offsetof(struct affinity_words, timeout_sec), 0,
	 SL_MAX_TIMEOUT_SEC, NULL},
	{"prefix", read_integer, offsetof(struct affinity_words, prefix), 1, 128, NULL},
	{0},
};

static void read_affinity(struct reader *reader, const yaml_node_t *node, const char *path,
			  const struct read_key *key SL_UNUSED, void *target)
{
	struct wire_service *wire = &((struct config_service *)target)->wire;
	struct affinity_words words = {0};

	if (!read_mapping(reader, node, path, affinity_keys, &words))
		return;
	if (read_find(reader, node, "timeout") == NULL)
		READ_FAIL(reader, node, path, "has no timeout");
	wire->affinity_timeout_sec = words.timeout_sec;
	wire->affinity_prefix = (uint8_t)words.prefix;
}

static const struct read_key service_keys[] = {
	{"name", read_name, SERVICE(name), 0, 0, NULL},
	{"address", read_service_address, SERVICE(address), 0, 0, NULL},
	{"mode", read_word, SERVICE(mode), WIRE_MODE_NAT, 0, mode_words},
	{"scheduler", read_word, SERVICE(scheduler), WIRE_SCHEDULER_MAGLEV, 0, scheduler_words},
	{"slots", read_integer, SERVICE(n_slots), SL_MIN_SLOTS, SL_MAX_SLOTS, NULL},
	{"source", read_source, 0, 0, 0, NULL},
	{"source_ports", read_source_ports, 0, 0, 0, NULL},
	{"deny_source", read_prefixes, 0, WIRE_DENY_SOURCE, 0, NULL},
	{"deny_destination", read_prefixes, 0, WIRE_DENY_DESTINATION, 0, NULL},
	{"stateless_replies", read_word, SERVICE(stateless_replies), 0, 0, boolean_words},
	{"proxy_protocol", read_proxy_protocol, SERVICE(proxy_protocol), 0, 0, NULL},
	{"flow_log", read_word, SERVICE(flow_log), 0, 0, boolean_words},
	{"timeouts", read_timeouts, 0, 0, 0, NULL},
	{"affinity", read_affinity, 0, 0, 0, NULL},
	{"check", read_health_check, offsetof(struct config_service, check), 0, 0, NULL},
	{"canary", read_canary, 0, 0, 0, NULL},
	{"backends", read_backends, 0, 0, 0, NULL},
	{0},
};

/* What goes with a source pool alone, and what it has if nothing is said. */
static void finish_sources(struct reader *reader, const yaml_node_t *node, const char *path,
			   struct wire_service *wire)
{
	static const char *const names[] = {"source", "source_ports"};

	if (wire_mode_has_sources(wire->mode) && wire->source_port_first == 0) {
		wire->source_port_first = SL_DEFAULT_SOURCE_PORT_FIRST;
		wire->source_port_last = SL_DEFAULT_SOURCE_PORT_LAST;
	}
	for (size_t i = 0; !wire_mode_has_sources(wire->mode) && i < SL_ARRAY_LEN(names); i++) {
		const yaml_node_t *key = read_find(reader, node, names[i]);

		if (key != NULL)
			READ_FAIL(reader, key, path,
				  "%s goes with modes fullnat and snat alone (the mode is %s)",
				  names[i], wire_mode_name(wire->mode));
	}
}

static void refuse_denies(struct reader *reader, const yaml_node_t *node, const char *path,
			  const struct wire_service *wire)
{
	static const uint8_t denying[] = {WIRE_DENY_SOURCE, WIRE_DENY_DESTINATION};

	for (size_t i = 0; wire->mode != WIRE_MODE_SNAT && i < SL_ARRAY_LEN(denying); i++) {
		const char *name = wire_list_name(denying[i]);
		const yaml_node_t *key = read_find(reader, node, name);

		if (key != NULL)
			READ_FAIL(reader, key, path,
				  "%s goes with mode snat alone (the mode is %s)", name,
				  wire_mode_name(wire->mode));
	}
}

/* What nothing was said of, and depends on the address. */
static void finish_service(struct wire_service *wire)
{
	bool is_prefix = wire_is_prefix(&wire->address);

	if (wire->mode == 0)
		wire->mode = is_prefix ? WIRE_MODE_SNAT : WIRE_MODE_NAT;
	/* RFC 5382 REQ-5: what is half open waits as long as what is closing. */
	if (wire->timeout_embryonic_sec == 0)
		wire->timeout_embryonic_sec =
			is_prefix ? SL_TIMEOUT_TCP_TRANSITORY_SEC : SL_TIMEOUT_EMBRYONIC_SEC;
	wire->affinity_prefix = wire_affinity_prefix(wire);
}

static void read_service(struct reader *reader, const yaml_node_t *node, const char *path,
			 size_t index, void *target)
{
	struct config_service *service = (struct config_service *)target + index;
	size_t errors_before = reader->problems->n_errors;

	service->mark = read_mark(node);
	service->wire.scheduler = WIRE_SCHEDULER_MAGLEV;
	service->wire.stateless_replies = 1;
	service->wire.n_slots = SL_DEFAULT_SLOTS;
	service->wire.timeout_established_sec = SL_TIMEOUT_TCP_ESTABLISHED_SEC;
	service->wire.timeout_transitory_sec = SL_TIMEOUT_TCP_TRANSITORY_SEC;
	service->wire.timeout_udp_sec = SL_TIMEOUT_UDP_SEC;
	if (!read_mapping(reader, node, path, service_keys, service) ||
	    reader->problems->n_errors != errors_before)
		return;
	if (service->wire.name[0] == '\0')
		READ_FAIL(reader, node, path, "has no name");
	if (service->wire.address.family == 0) {
		READ_FAIL(reader, node, path, "has no address");
		return;
	}
	finish_service(&service->wire);
	finish_sources(reader, node, path, &service->wire);
	refuse_denies(reader, node, path, &service->wire);
}

void load_services(struct reader *reader, const yaml_node_t *node, const char *path,
		   const struct read_key *key SL_UNUSED, void *target SL_UNUSED)
{
	struct config *config = reader->config;
	size_t n = 0;

	if (node->type == YAML_SEQUENCE_NODE)
		n = (size_t)(node->data.sequence.items.top - node->data.sequence.items.start);
	if (n > SL_MAX_SERVICES) {
		READ_FAIL(reader, node, path, "%zu services (limit %d)", n, SL_MAX_SERVICES);
		return;
	}
	config->service = calloc(n + 1, sizeof(*config->service));
	if (config->service == NULL) {
		reader->is_out_of_memory = true;
		return;
	}
	config->n_services = n;
	read_list(reader, node, path, SL_MAX_SERVICES, read_service, config->service);
}

static int compare_listed(const void *left, const void *right)
{
	const struct config_listed *a = left;
	const struct config_listed *b = right;

	return wire_compare_listed(&a->wire, &b->wire);
}

void load_link_services(struct config *config)
{
	for (size_t i = 0; i < config->n_services; i++) {
		struct config_service *service = &config->service[i];

		for (size_t j = 0; j < service->n_backends; j++)
			service->backend[j].wire.service = service->wire.address;
		for (size_t j = 0; j < service->n_listed; j++)
			service->listed[j].wire.service = service->wire.address;
		if (service->n_listed > 1)
			qsort(service->listed, service->n_listed, sizeof(*service->listed),
			      compare_listed);
	}
}
