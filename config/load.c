/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * From YAML to struct config: document.c hands over the document, the tables below say which keys
 * there are and how each is read. Nodes keep their positions, so every refusal has one.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <yaml.h>

#include "config/config.h"
#include "config/document.h"
#include "config/problem.h"
#include "wire/wire_abi.h"

enum {
	MAX_PATH_TEXT = 192,
};

struct loader {
	const char *name;
	yaml_document_t document;
	struct config *config;
	struct config_problems *problems;
	uint32_t n_visited; /* nodes; aliases can make a small file large */
	bool is_out_of_memory;
};

struct key;
typedef void read_fn(struct loader *loader, const yaml_node_t *node, const char *path,
		     const struct key *key, void *target);

/** One key of a mapping: how it is read, into what, and between which limits. */
struct key {
	const char *name;
	read_fn *read;
	size_t offset; /* of the member of the mapping's target */
	long min;
	long max; /* of a text: bytes with the zero */
	const char *const *words;
};

static struct config_mark mark_of(const yaml_node_t *node)
{
	return (struct config_mark){.line = (uint32_t)node->start_mark.line + 1,
				    .column = (uint32_t)node->start_mark.column + 1};
}

#define FAIL(loader, node, path, ...)                                                              \
	problem_error((loader)->problems, (loader)->name, mark_of(node), path, __VA_ARGS__)

static const char *kind_of(const yaml_node_t *node)
{
	switch (node->type) {
	case YAML_SCALAR_NODE:
		return document_is_null(node) ? "empty" : "a scalar";
	case YAML_SEQUENCE_NODE:
		return "a list";
	case YAML_MAPPING_NODE:
		return "a mapping";
	case YAML_NO_NODE:
		break;
	}
	return "nothing";
}

/* The text of a scalar, or NULL with the problem told. */
static const char *scalar(struct loader *loader, const yaml_node_t *node, const char *path)
{
	const char *text;

	if (node->type != YAML_SCALAR_NODE) {
		FAIL(loader, node, path, "is %s, expected a scalar", kind_of(node));
		return NULL;
	}
	if (document_is_null(node)) {
		FAIL(loader, node, path, "has no value");
		return NULL;
	}
	text = (const char *)node->data.scalar.value;
	if (strlen(text) != node->data.scalar.length) {
		FAIL(loader, node, path, "contains a zero byte");
		return NULL;
	}
	return text;
}

static const struct key *find_key(const struct key *keys, const char *name)
{
	for (; keys->name != NULL; keys++)
		if (strcmp(keys->name, name) == 0)
			return keys;
	return NULL;
}

static void list_keys(const struct key *keys, char *text, size_t size)
{
	size_t used = 0;

	text[0] = '\0';
	for (; keys->name != NULL && used + 1 < size; keys++)
		used += (size_t)snprintf(text + used, size - used, "%s%s", used > 0 ? ", " : "",
					 keys->name);
}

static bool visit(struct loader *loader, const yaml_node_t *node, const char *path)
{
	if (++loader->n_visited <= CONFIG_MAX_NODES)
		return true;
	if (loader->n_visited == CONFIG_MAX_NODES + 1)
		FAIL(loader, node, path, "the file has too many nodes (limit %d)",
		     CONFIG_MAX_NODES);
	return false;
}

/* Whether key number @at of @mapping stands there earlier as well. */
static bool is_repeated(struct loader *loader, const yaml_node_t *mapping, ptrdiff_t at)
{
	const yaml_node_pair_t *pair = mapping->data.mapping.pairs.start;
	const yaml_node_t *key = yaml_document_get_node(&loader->document, pair[at].key);

	for (ptrdiff_t i = 0; i < at; i++) {
		const yaml_node_t *other = yaml_document_get_node(&loader->document, pair[i].key);

		if (other->type == YAML_SCALAR_NODE &&
		    strcmp((const char *)other->data.scalar.value,
			   (const char *)key->data.scalar.value) == 0)
			return true;
	}
	return false;
}

/* Reads a mapping by its table of keys. Returns false if it is none. */
static bool read_mapping(struct loader *loader, const yaml_node_t *node, const char *path,
			 const struct key *keys, void *target)
{
	ptrdiff_t n;

	if (!visit(loader, node, path))
		return false;
	if (node->type != YAML_MAPPING_NODE) {
		FAIL(loader, node, path, "is %s, expected a mapping", kind_of(node));
		return false;
	}
	n = node->data.mapping.pairs.top - node->data.mapping.pairs.start;
	for (ptrdiff_t i = 0; i < n && i < 64; i++) {
		const yaml_node_pair_t *pair = &node->data.mapping.pairs.start[i];
		const yaml_node_t *name_node = yaml_document_get_node(&loader->document, pair->key);
		const yaml_node_t *value = yaml_document_get_node(&loader->document, pair->value);
		const char *name = scalar(loader, name_node, path);
		const struct key *key;
		char inner[MAX_PATH_TEXT];

		if (name == NULL || !visit(loader, value, path))
			continue;
		key = find_key(keys, name);
		if (key == NULL) {
			char known[256];

			list_keys(keys, known, sizeof(known));
			FAIL(loader, name_node, path, "unknown key \"%.40s\" (known: %s)", name,
			     known);
			continue;
		}
		if (is_repeated(loader, node, i)) {
			FAIL(loader, name_node, path, "key \"%s\" stands there twice", name);
			continue;
		}
		snprintf(inner, sizeof(inner), "%s%s%s", path, path[0] != '\0' ? "." : "", name);
		key->read(loader, value, inner, key, (uint8_t *)target + key->offset);
	}
	if (n > 64)
		FAIL(loader, node, path, "%td keys (limit 64)", n);
	return true;
}

static void read_text(struct loader *loader, const yaml_node_t *node, const char *path,
		      const struct key *key, void *target)
{
	const char *text = scalar(loader, node, path);

	if (text == NULL)
		return;
	if (text[0] == '\0' || strlen(text) >= (size_t)key->max)
		FAIL(loader, node, path, "\"%.40s\" has %zu bytes (limit 1..%ld)", text,
		     strlen(text), key->max - 1);
	else
		memcpy(target, text, strlen(text) + 1);
}

static void read_path(struct loader *loader, const yaml_node_t *node, const char *path,
		      const struct key *key, void *target)
{
	const char *text = scalar(loader, node, path);

	if (text != NULL && text[0] != '/')
		FAIL(loader, node, path, "\"%.40s\" is not an absolute path", text);
	else if (text != NULL)
		read_text(loader, node, path, key, target);
}

/* Decimal; 010 is refused, which YAML 1.1 takes for eight and people for ten. */
static bool parse_integer(const char *text, long *value)
{
	const char *digits = text + (text[0] == '-');
	char *end;

	if (digits[0] < '0' || digits[0] > '9' || (digits[0] == '0' && digits[1] != '\0'))
		return false;
	errno = 0;
	*value = strtol(text, &end, 10);
	return *end == '\0' && errno == 0;
}

static bool read_number(struct loader *loader, const yaml_node_t *node, const char *path,
			const struct key *key, long *value)
{
	const char *text = scalar(loader, node, path);

	if (text == NULL)
		return false;
	if (node->data.scalar.style != YAML_PLAIN_SCALAR_STYLE) {
		FAIL(loader, node, path, "\"%.40s\" is quoted, expected an integer", text);
		return false;
	}
	if (!parse_integer(text, value)) {
		FAIL(loader, node, path, "\"%.40s\" is not an integer (limit %ld..%ld)", text,
		     key->min, key->max);
		return false;
	}
	if (*value < key->min || *value > key->max) {
		FAIL(loader, node, path, "value %ld is out of range (limit %ld..%ld)", *value,
		     key->min, key->max);
		return false;
	}
	return true;
}

static void read_integer(struct loader *loader, const yaml_node_t *node, const char *path,
			 const struct key *key, void *target)
{
	long value;

	if (read_number(loader, node, path, key, &value))
		*(uint32_t *)target = (uint32_t)value;
}

/* One of a list of words; the target gets key->min plus its place. */
static void read_word(struct loader *loader, const yaml_node_t *node, const char *path,
		      const struct key *key, void *target)
{
	const char *text = scalar(loader, node, path);
	char known[128] = "";
	size_t used = 0;

	if (text == NULL)
		return;
	for (size_t i = 0; key->words[i] != NULL; i++) {
		if (strcmp(key->words[i], text) == 0) {
			*(uint8_t *)target = (uint8_t)((size_t)key->min + i);
			return;
		}
		used += (size_t)snprintf(known + used, sizeof(known) - used, "%s%s",
					 i > 0 ? ", " : "", key->words[i]);
	}
	FAIL(loader, node, path, "\"%.40s\" is not one of: %s", text, known);
}

static void read_hash_key(struct loader *loader, const yaml_node_t *node, const char *path,
			  const struct key *key SL_UNUSED, void *target SL_UNUSED)
{
	const char *text = scalar(loader, node, path);
	uint8_t byte[16];

	if (text == NULL)
		return;
	if (strlen(text) != 32 || strspn(text, "0123456789abcdefABCDEF") != 32) {
		FAIL(loader, node, path, "is not 32 hexadecimal digits");
		return;
	}
	for (int i = 0; i < 16; i++) {
		const char digits[3] = {text[2 * i], text[2 * i + 1], '\0'};

		byte[i] = (uint8_t)strtoul(digits, NULL, 16);
	}
	memcpy(&loader->config->hash_key, byte, sizeof(byte));
	loader->config->has_hash_key = true;
}

/* Calls @read for each element of a list. Returns how many there were. */
typedef void element_fn(struct loader *loader, const yaml_node_t *node, const char *path,
			size_t index, void *target);

static size_t read_list(struct loader *loader, const yaml_node_t *node, const char *path,
			size_t limit, element_fn *read, void *target)
{
	size_t n;

	if (node->type != YAML_SEQUENCE_NODE) {
		FAIL(loader, node, path, "is %s, expected a list", kind_of(node));
		return 0;
	}
	n = (size_t)(node->data.sequence.items.top - node->data.sequence.items.start);
	if (n > limit) {
		FAIL(loader, node, path, "%zu elements (limit %zu)", n, limit);
		return 0;
	}
	for (size_t i = 0; i < n; i++) {
		const yaml_node_t *element = yaml_document_get_node(
			&loader->document, node->data.sequence.items.start[i]);
		char inner[MAX_PATH_TEXT];

		snprintf(inner, sizeof(inner), "%.140s[%zu]", path, i);
		if (!visit(loader, element, inner))
			break;
		read(loader, element, inner, i, target);
	}
	return n;
}

static void read_core(struct loader *loader, const yaml_node_t *node, const char *path,
		      size_t index, void *target)
{
	const struct key limits = {.min = 0, .max = 1023};
	int *core = target;
	long value;

	if (!read_number(loader, node, path, &limits, &value))
		return;
	for (size_t i = 0; i < index; i++)
		if (core[i] == value)
			FAIL(loader, node, path, "core %ld stands there twice", value);
	core[index] = (int)value;
}

/* A number of workers, or the list of their cores. */
static void read_workers(struct loader *loader, const yaml_node_t *node, const char *path,
			 const struct key *key, void *target SL_UNUSED)
{
	struct config *config = loader->config;
	long value;

	if (node->type == YAML_SEQUENCE_NODE) {
		size_t errors_before = loader->problems->n_errors;
		size_t n = read_list(loader, node, path, SL_MAX_WORKERS, read_core, config->core);

		if (n == 0 && loader->problems->n_errors == errors_before)
			FAIL(loader, node, path, "the list is empty (limit 1..%d)", SL_MAX_WORKERS);
		config->n_workers = (uint32_t)n;
	} else if (read_number(loader, node, path, key, &value)) {
		config->n_workers = (uint32_t)value;
	}
}

/* ---- ports ---- */

struct raw_port {
	char interface[CONFIG_MAX_VDEV];
	char pci[CONFIG_MAX_VDEV];
	char vdev[CONFIG_MAX_VDEV];
	char kernel_interface[16];
};

static bool is_interface_name(const char *name)
{
	size_t n = strlen(name);

	return n > 0 && n < 16 && strcmp(name, ".") != 0 && strcmp(name, "..") != 0 &&
	       strcspn(name, "/: \t\n\r\f\v") == n;
}

/* "0000:03:00.0" */
static bool is_pci_address(const char *text)
{
	static const char pattern[] = "xxxx:xx:xx.x";
	static const char hex[] = "0123456789abcdefABCDEF";

	if (strlen(text) != sizeof(pattern) - 1)
		return false;
	for (size_t i = 0; pattern[i] != '\0'; i++)
		if (pattern[i] == 'x' ? strchr(hex, text[i]) == NULL : text[i] != pattern[i])
			return false;
	return strtoul(text + 8, NULL, 16) < 32 && text[11] >= '0' && text[11] <= '7';
}

static void read_interface(struct loader *loader, const yaml_node_t *node, const char *path,
			   const struct key *key, void *target)
{
	const char *text = scalar(loader, node, path);

	if (text != NULL && !is_interface_name(text))
		FAIL(loader, node, path,
		     "\"%.40s\" is not an interface name (1 to 15 bytes, no space, no slash, no "
		     "colon)",
		     text);
	else if (text != NULL)
		read_text(loader, node, path, key, target);
}

static void read_pci(struct loader *loader, const yaml_node_t *node, const char *path,
		     const struct key *key, void *target)
{
	const char *text = scalar(loader, node, path);

	if (text != NULL && !is_pci_address(text))
		FAIL(loader, node, path, "\"%.40s\" is not a PCI address (0000:03:00.0)", text);
	else if (text != NULL)
		read_text(loader, node, path, key, target);
}

static void read_vdev(struct loader *loader, const yaml_node_t *node, const char *path,
		      const struct key *key, void *target)
{
	const char *text = scalar(loader, node, path);

	if (text != NULL && strncmp(text, "net_", 4) != 0)
		FAIL(loader, node, path, "\"%.40s\" is not a DPDK network vdev (net_...)", text);
	else if (text != NULL)
		read_text(loader, node, path, key, target);
}

static const struct key port_keys[] = {
	{"interface", read_interface, offsetof(struct raw_port, interface), 0, CONFIG_MAX_VDEV,
	 NULL},
	{"pci", read_pci, offsetof(struct raw_port, pci), 0, CONFIG_MAX_VDEV, NULL},
	{"vdev", read_vdev, offsetof(struct raw_port, vdev), 0, CONFIG_MAX_VDEV, NULL},
	{"kernel_interface", read_interface, offsetof(struct raw_port, kernel_interface), 0, 16,
	 NULL},
	{0},
};

static void read_port(struct loader *loader, const yaml_node_t *node, const char *path,
		      size_t index, void *target)
{
	struct config_port *port = (struct config_port *)target + index;
	size_t errors_before = loader->problems->n_errors;
	struct raw_port raw = {0};
	int n_named;

	port->mark = mark_of(node);
	if (!read_mapping(loader, node, path, port_keys, &raw) ||
	    loader->problems->n_errors != errors_before)
		return;
	n_named = (raw.interface[0] != 0) + (raw.pci[0] != 0) + (raw.vdev[0] != 0);
	if (n_named != 1) {
		FAIL(loader, node, path, "names %d devices (exactly one of interface, pci, vdev)",
		     n_named);
		return;
	}
	port->kind = raw.interface[0] != 0 ? CONFIG_PORT_INTERFACE
		     : raw.pci[0] != 0     ? CONFIG_PORT_PCI
					   : CONFIG_PORT_VDEV;
	memcpy(port->device,
	       raw.interface[0] != 0 ? raw.interface
	       : raw.pci[0] != 0     ? raw.pci
				     : raw.vdev,
	       CONFIG_MAX_VDEV);
	memcpy(port->kernel_interface, raw.kernel_interface, sizeof(port->kernel_interface));
	if (port->kernel_interface[0] == '\0')
		snprintf(port->kernel_interface, sizeof(port->kernel_interface), "sluice%zu",
			 index % 100);
	for (size_t i = 0; i < index; i++) {
		const struct config_port *other = (struct config_port *)target + i;

		if (strcmp(other->device, port->device) == 0)
			FAIL(loader, node, path, "device \"%.40s\" is port %zu's already",
			     port->device, i);
		if (strcmp(other->kernel_interface, port->kernel_interface) == 0)
			FAIL(loader, node, path, "kernel_interface \"%s\" is port %zu's already",
			     port->kernel_interface, i);
	}
}

static void read_ports(struct loader *loader, const yaml_node_t *node, const char *path,
		       const struct key *key SL_UNUSED, void *target SL_UNUSED)
{
	size_t errors_before = loader->problems->n_errors;
	size_t n = read_list(loader, node, path, SL_MAX_PORTS, read_port, loader->config->port);

	if (n == 0 && loader->problems->n_errors == errors_before)
		FAIL(loader, node, path, "the list is empty (limit 1..%d)", SL_MAX_PORTS);
	loader->config->n_ports = n;
}

/* ---- services ---- */

static void read_state(struct loader *loader, const yaml_node_t *node, const char *path,
		       const struct key *key, void *target)
{
	read_word(loader, node, path, key, target);
}

static void read_backend_address(struct loader *loader, const yaml_node_t *node, const char *path,
				 const struct key *key SL_UNUSED, void *target)
{
	struct wire_backend *wire = target;
	const char *text = scalar(loader, node, path);
	const char *reason = NULL;

	if (text != NULL &&
	    !config_parse_endpoint(text, &wire->addr, &wire->port, &wire->service.family, &reason))
		FAIL(loader, node, path, "\"%.50s\": %s", text, reason);
}

static const char *const state_words[] = {"ready", "drain", "maint", NULL};
static const char *const mode_words[] = {"nat", "fullnat", "snat", NULL};
static const char *const scheduler_words[] = {"maglev", NULL};
static const char *const boolean_words[] = {"false", "true", NULL};
static const char *const engine_words[] = {"auto", "dpdk", "xdp", NULL};
static const char *const hugepages_words[] = {"auto", "on", "off", NULL};

static const struct key backend_keys[] = {
	{"address", read_backend_address, 0, 0, 0, NULL},
	{"weight", read_integer, offsetof(struct wire_backend, weight), 0, SL_MAX_WEIGHT, NULL},
	{"state", read_state, offsetof(struct wire_backend, state), WIRE_STATE_READY, 0,
	 state_words},
	{0},
};

static void read_backend(struct loader *loader, const yaml_node_t *node, const char *path,
			 size_t index, void *target)
{
	struct config_backend *backend = &((struct config_service *)target)->backend[index];
	size_t errors_before = loader->problems->n_errors;

	backend->mark = mark_of(node);
	backend->wire.weight = 1;
	backend->wire.state = WIRE_STATE_READY;
	if (read_mapping(loader, node, path, backend_keys, &backend->wire) &&
	    backend->wire.service.family == 0 && loader->problems->n_errors == errors_before)
		FAIL(loader, node, path, "has no address");
}

static void read_backends(struct loader *loader, const yaml_node_t *node, const char *path,
			  const struct key *key SL_UNUSED, void *target)
{
	struct config_service *service = target;
	size_t n = 0;

	if (node->type == YAML_SEQUENCE_NODE)
		n = (size_t)(node->data.sequence.items.top - node->data.sequence.items.start);
	if (n > SL_MAX_BACKENDS_PER_SERVICE) {
		FAIL(loader, node, path, "%zu backends (limit %d)", n, SL_MAX_BACKENDS_PER_SERVICE);
		return;
	}
	service->backend = calloc(n + 1, sizeof(*service->backend));
	if (service->backend == NULL) {
		loader->is_out_of_memory = true;
		return;
	}
	service->n_backends = n;
	read_list(loader, node, path, SL_MAX_BACKENDS_PER_SERVICE, read_backend, service);
}

static void read_service_address(struct loader *loader, const yaml_node_t *node, const char *path,
				 const struct key *key SL_UNUSED, void *target)
{
	const char *text = scalar(loader, node, path);
	const char *reason = NULL;

	if (text != NULL && !config_parse_service_address(text, target, &reason))
		FAIL(loader, node, path, "\"%.50s\": %s", text, reason);
}

static void read_name(struct loader *loader, const yaml_node_t *node, const char *path,
		      const struct key *key SL_UNUSED, void *target)
{
	const char *text = scalar(loader, node, path);

	if (text != NULL && !config_is_name(text))
		FAIL(loader, node, path,
		     "name \"%.70s\" (1 to %d of A-Z a-z 0-9 . _ -, the first a letter or digit)",
		     text, SL_MAX_NAME - 1);
	else if (text != NULL)
		memcpy(target, text, strlen(text) + 1);
}

static void read_source_address(struct loader *loader, const yaml_node_t *node, const char *path,
				size_t index, void *target)
{
	struct config_service *service = target;
	struct config_source *source = &service->source[index];
	const char *text = scalar(loader, node, path);
	const char *reason = NULL;

	source->mark = mark_of(node);
	if (text != NULL &&
	    !config_parse_addr(text, &service->wire.source[index], &source->family, &reason))
		FAIL(loader, node, path, "\"%.50s\": %s", text, reason);
}

static void read_source(struct loader *loader, const yaml_node_t *node, const char *path,
			const struct key *key SL_UNUSED, void *target)
{
	struct config_service *service = target;

	service->wire.n_sources = (uint32_t)read_list(
		loader, node, path, SL_MAX_SOURCES_PER_SERVICE, read_source_address, service);
}

static void read_source_ports(struct loader *loader, const yaml_node_t *node, const char *path,
			      const struct key *key SL_UNUSED, void *target)
{
	struct wire_service *wire = &((struct config_service *)target)->wire;
	const char *text = scalar(loader, node, path);
	const char *reason = NULL;

	if (text != NULL &&
	    !config_parse_ports(text, &wire->source_port_first, &wire->source_port_last, &reason))
		FAIL(loader, node, path, "\"%.40s\": %s", text, reason);
}

static void read_proxy_protocol(struct loader *loader, const yaml_node_t *node, const char *path,
				const struct key *key SL_UNUSED, void *target)
{
	const char *text = scalar(loader, node, path);

	if (text != NULL && !wire_proxy_protocol_from_name(text, target))
		FAIL(loader, node, path, "\"%.40s\" is not one of: none, v2", text);
}

#define SERVICE(member) offsetof(struct config_service, wire.member)

static const struct key timeout_keys[] = {
	{"established", read_integer, SERVICE(timeout_established_sec), 1, SL_MAX_TIMEOUT_SEC,
	 NULL},
	{"transitory", read_integer, SERVICE(timeout_transitory_sec), 1, SL_MAX_TIMEOUT_SEC, NULL},
	{"embryonic", read_integer, SERVICE(timeout_embryonic_sec), 1, SL_MAX_TIMEOUT_SEC, NULL},
	{"udp", read_integer, SERVICE(timeout_udp_sec), 1, SL_MAX_TIMEOUT_SEC, NULL},
	{0},
};

static void read_timeouts(struct loader *loader, const yaml_node_t *node, const char *path,
			  const struct key *key SL_UNUSED, void *target)
{
	read_mapping(loader, node, path, timeout_keys, target);
}

static const struct key service_keys[] = {
	{"name", read_name, SERVICE(name), 0, 0, NULL},
	{"address", read_service_address, SERVICE(address), 0, 0, NULL},
	{"mode", read_word, SERVICE(mode), WIRE_MODE_NAT, 0, mode_words},
	{"scheduler", read_word, SERVICE(scheduler), WIRE_SCHEDULER_MAGLEV, 0, scheduler_words},
	{"slots", read_integer, SERVICE(n_slots), SL_MIN_SLOTS, SL_MAX_SLOTS, NULL},
	{"source", read_source, 0, 0, 0, NULL},
	{"source_ports", read_source_ports, 0, 0, 0, NULL},
	{"stateless_replies", read_word, SERVICE(stateless_replies), 0, 0, boolean_words},
	{"proxy_protocol", read_proxy_protocol, SERVICE(proxy_protocol), 0, 0, NULL},
	{"timeouts", read_timeouts, 0, 0, 0, NULL},
	{"backends", read_backends, 0, 0, 0, NULL},
	{0},
};

/* The node of a key of @mapping; NULL: it is not there. */
static const yaml_node_t *find_node(struct loader *loader, const yaml_node_t *mapping,
				    const char *name)
{
	const yaml_node_pair_t *pair = mapping->data.mapping.pairs.start;

	for (; pair < mapping->data.mapping.pairs.top; pair++) {
		const yaml_node_t *key = yaml_document_get_node(&loader->document, pair->key);

		if (strcmp((const char *)key->data.scalar.value, name) == 0)
			return key;
	}
	return NULL;
}

/* What goes with a source pool alone, and what it has if nothing is said. */
static void finish_sources(struct loader *loader, const yaml_node_t *node, const char *path,
			   struct wire_service *wire)
{
	static const char *const names[] = {"source", "source_ports"};

	if (wire_mode_has_sources(wire->mode) && wire->source_port_first == 0) {
		wire->source_port_first = SL_DEFAULT_SOURCE_PORT_FIRST;
		wire->source_port_last = SL_DEFAULT_SOURCE_PORT_LAST;
	}
	for (size_t i = 0; !wire_mode_has_sources(wire->mode) && i < SL_ARRAY_LEN(names); i++) {
		const yaml_node_t *key = find_node(loader, node, names[i]);

		if (key != NULL)
			FAIL(loader, key, path,
			     "%s goes with modes fullnat and snat alone (the mode is %s)", names[i],
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
}

static void read_service(struct loader *loader, const yaml_node_t *node, const char *path,
			 size_t index, void *target)
{
	struct config_service *service = (struct config_service *)target + index;
	size_t errors_before = loader->problems->n_errors;

	service->mark = mark_of(node);
	service->wire.scheduler = WIRE_SCHEDULER_MAGLEV;
	service->wire.stateless_replies = 1;
	service->wire.n_slots = SL_DEFAULT_SLOTS;
	service->wire.timeout_established_sec = SL_TIMEOUT_TCP_ESTABLISHED_SEC;
	service->wire.timeout_transitory_sec = SL_TIMEOUT_TCP_TRANSITORY_SEC;
	service->wire.timeout_udp_sec = SL_TIMEOUT_UDP_SEC;
	if (!read_mapping(loader, node, path, service_keys, service) ||
	    loader->problems->n_errors != errors_before)
		return;
	if (service->wire.name[0] == '\0')
		FAIL(loader, node, path, "has no name");
	if (service->wire.address.family == 0) {
		FAIL(loader, node, path, "has no address");
		return;
	}
	finish_service(&service->wire);
	finish_sources(loader, node, path, &service->wire);
}

static void read_services(struct loader *loader, const yaml_node_t *node, const char *path,
			  const struct key *key SL_UNUSED, void *target SL_UNUSED)
{
	struct config *config = loader->config;
	size_t n = 0;

	if (node->type == YAML_SEQUENCE_NODE)
		n = (size_t)(node->data.sequence.items.top - node->data.sequence.items.start);
	if (n > SL_MAX_SERVICES) {
		FAIL(loader, node, path, "%zu services (limit %d)", n, SL_MAX_SERVICES);
		return;
	}
	config->service = calloc(n + 1, sizeof(*config->service));
	if (config->service == NULL) {
		loader->is_out_of_memory = true;
		return;
	}
	config->n_services = n;
	read_list(loader, node, path, SL_MAX_SERVICES, read_service, config->service);
}

/* ---- the whole ---- */

static void read_listen(struct loader *loader, const yaml_node_t *node, const char *path,
			const struct key *key, void *target)
{
	const char *text = scalar(loader, node, path);
	const char *reason = NULL;
	union sl_addr addr;
	uint8_t family;
	be16_t port;

	if (text == NULL)
		return;
	if (!config_parse_endpoint(text, &addr, &port, &family, &reason))
		FAIL(loader, node, path, "\"%.50s\": %s", text, reason);
	else if (port == 0)
		FAIL(loader, node, path, "\"%.50s\": port 0 (limit 1..65535)", text);
	else
		read_text(loader, node, path, key, target);
}

static const struct key dataplane_keys[] = {
	{"engine", read_word, offsetof(struct config, engine), CONFIG_ENGINE_AUTO, 0, engine_words},
	{"ports", read_ports, 0, 0, 0, NULL},
	{"workers", read_workers, 0, 1, SL_MAX_WORKERS, NULL},
	{"max_workers", read_integer, offsetof(struct config, max_workers), 1, SL_MAX_WORKERS,
	 NULL},
	{"flows", read_integer, offsetof(struct config, n_flows), SL_MIN_FLOWS, SL_MAX_FLOWS, NULL},
	{"hugepages", read_word, offsetof(struct config, hugepages), CONFIG_HUGEPAGES_AUTO, 0,
	 hugepages_words},
	{"memory_mb", read_integer, offsetof(struct config, memory_mb), 64, 1048576, NULL},
	{"hash_key", read_hash_key, 0, 0, 0, NULL},
	{0},
};

static const struct key metrics_keys[] = {
	{"listen", read_listen, offsetof(struct config, metrics_listen), 0, 64, NULL},
	{0},
};

static const struct key api_keys[] = {
	{"group", read_text, offsetof(struct config, api_group), 0, 64, NULL},
	{"read_only_group", read_text, offsetof(struct config, api_read_only_group), 0, 64, NULL},
	{0},
};

static void read_dataplane(struct loader *loader, const yaml_node_t *node, const char *path,
			   const struct key *key SL_UNUSED, void *target SL_UNUSED)
{
	const struct config *config = loader->config;

	read_mapping(loader, node, path, dataplane_keys, loader->config);
	if (config->max_workers != 0 && config->max_workers < config->n_workers)
		FAIL(loader, node, "dataplane.max_workers",
		     "value %u is below dataplane.workers, %u", config->max_workers,
		     config->n_workers);
}

static void read_metrics(struct loader *loader, const yaml_node_t *node, const char *path,
			 const struct key *key SL_UNUSED, void *target SL_UNUSED)
{
	read_mapping(loader, node, path, metrics_keys, loader->config);
}

static void read_api(struct loader *loader, const yaml_node_t *node, const char *path,
		     const struct key *key SL_UNUSED, void *target SL_UNUSED)
{
	read_mapping(loader, node, path, api_keys, loader->config);
}

static const struct key root_keys[] = {
	{"run_dir", read_path, offsetof(struct config, run_dir), 0, CONFIG_MAX_PATH, NULL},
	{"state_dir", read_path, offsetof(struct config, state_dir), 0, CONFIG_MAX_PATH, NULL},
	{"user", read_text, offsetof(struct config, user), 0, 64, NULL},
	{"group", read_text, offsetof(struct config, group), 0, 64, NULL},
	{"api", read_api, 0, 0, 0, NULL},
	{"dataplane", read_dataplane, 0, 0, 0, NULL},
	{"metrics", read_metrics, 0, 0, 0, NULL},
	{"services", read_services, 0, 0, 0, NULL},
	{0},
};

static struct config *config_new(void)
{
	struct config *config = calloc(1, sizeof(*config));

	if (config == NULL)
		return NULL;
	strcpy(config->run_dir, "/run/sluice");
	strcpy(config->state_dir, "/var/lib/sluice");
	strcpy(config->user, "sluice");
	strcpy(config->group, "sluice");
	strcpy(config->metrics_listen, "127.0.0.1:9109");
	config->n_workers = 1;
	config->n_flows = SL_DEFAULT_FLOWS;
	for (int i = 0; i < SL_MAX_WORKERS; i++)
		config->core[i] = -1;
	return config;
}

void config_free(struct config *config)
{
	if (config == NULL)
		return;
	for (size_t i = 0; i < config->n_services; i++)
		free(config->service[i].backend);
	free(config->service);
	free(config);
}

/* A backend's record names its service; known only when the whole service was read. */
static void link_backends(struct config *config)
{
	for (size_t i = 0; i < config->n_services; i++) {
		struct config_service *service = &config->service[i];

		for (size_t j = 0; j < service->n_backends; j++)
			service->backend[j].wire.service = service->wire.address;
	}
}

static int load(struct loader *loader, const char *text, size_t length)
{
	struct config *config = loader->config;
	int status = document_read(loader->name, text, length, &loader->document, loader->problems);

	if (status != 0)
		return status;
	read_mapping(loader, yaml_document_get_root_node(&loader->document), "", root_keys, config);
	yaml_document_delete(&loader->document);
	if (loader->is_out_of_memory)
		return -ENOMEM;
	if (loader->problems->n_errors != 0)
		return -EINVAL;
	/* Families are compared before the service's address replaces what the text said. */
	status = config_check_services(loader->name, config->service, config->n_services,
				       loader->problems);
	if (status == 0)
		link_backends(config);
	return status;
}

int config_load_text(const char *name, const char *text, size_t length, struct config **out,
		     struct config_problems *problems)
{
	struct loader loader = {.name = name, .problems = problems};
	const struct config_mark start = {1, 1};
	int status;

	*out = NULL;
	if (length > SL_MAX_CONFIG_BYTES) {
		problem_error(problems, name, start, "",
			      "more bytes than a configuration may have (limit %d)",
			      SL_MAX_CONFIG_BYTES);
		return -EINVAL;
	}
	loader.config = config_new();
	if (loader.config == NULL)
		return -ENOMEM;
	status = load(&loader, text, length);
	if (status != 0) {
		config_free(loader.config);
		return status;
	}
	*out = loader.config;
	return 0;
}

int config_load_file(const char *path, struct config **out, struct config_problems *problems)
{
	const struct config_mark start = {1, 1};
	FILE *file = fopen(path, "re");
	char *text;
	size_t length;
	int status;

	*out = NULL;
	if (file == NULL) {
		problem_error(problems, path, start, "", "%s", strerror(errno));
		return -EINVAL;
	}
	text = malloc(SL_MAX_CONFIG_BYTES + 1);
	if (text == NULL) {
		fclose(file);
		return -ENOMEM;
	}
	errno = 0;
	length = fread(text, 1, SL_MAX_CONFIG_BYTES + 1, file);
	if (ferror(file)) {
		problem_error(problems, path, start, "", "cannot be read: %s", strerror(errno));
		status = -EINVAL;
	} else {
		status = config_load_text(path, text, length, out, problems);
	}
	fclose(file);
	free(text);
	return status;
}
