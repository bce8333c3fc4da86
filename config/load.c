/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* From YAML to struct config: the tables below say which keys there are and how each is read. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/config.h"
#include "config/document.h"
#include "config/load_service.h"
#include "config/problem.h"
#include "config/read.h"

static void read_hash_key(struct reader *reader, const yaml_node_t *node, const char *path,
			  const struct read_key *key SL_UNUSED, void *target SL_UNUSED)
{
	const char *text = read_scalar(reader, node, path);
	uint8_t byte[16];

	if (text == NULL)
		return;
	if (strlen(text) != 32 || strspn(text, "0123456789abcdefABCDEF") != 32) {
		READ_FAIL(reader, node, path, "is not 32 hexadecimal digits");
		return;
	}
	for (int i = 0; i < 16; i++) {
		const char digits[3] = {text[2 * i], text[2 * i + 1], '\0'};

		byte[i] = (uint8_t)strtoul(digits, NULL, 16);
	}
	memcpy(&reader->config->hash_key, byte, sizeof(byte));
	reader->config->has_hash_key = true;
}

static void read_core(struct reader *reader, const yaml_node_t *node, const char *path,
		      size_t index, void *target)
{
	const struct read_key limits = {.min = 0, .max = 1023};
	int *core = target;
	long value;

	if (!read_number(reader, node, path, &limits, &value))
		return;
	for (size_t i = 0; i < index; i++)
		if (core[i] == value)
			READ_FAIL(reader, node, path, "core %ld stands there twice", value);
	core[index] = (int)value;
}

/* A number of workers, or the list of their cores. */
static void read_workers(struct reader *reader, const yaml_node_t *node, const char *path,
			 const struct read_key *key, void *target SL_UNUSED)
{
	struct config *config = reader->config;
	long value;

	if (node->type == YAML_SEQUENCE_NODE) {
		size_t errors_before = reader->problems->n_errors;
		size_t n = read_list(reader, node, path, SL_MAX_WORKERS, read_core, config->core);

		if (n == 0 && reader->problems->n_errors == errors_before)
			READ_FAIL(reader, node, path, "the list is empty (limit 1..%d)",
				  SL_MAX_WORKERS);
		config->n_workers = (uint32_t)n;
	} else if (read_number(reader, node, path, key, &value)) {
		config->n_workers = (uint32_t)value;
	}
}

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

static void read_interface(struct reader *reader, const yaml_node_t *node, const char *path,
			   const struct read_key *key, void *target)
{
	const char *text = read_scalar(reader, node, path);

	if (text != NULL && !is_interface_name(text))
		READ_FAIL(
			reader, node, path,
			"\"%.40s\" is not an interface name (1 to 15 bytes, no space, no slash, no "
			"colon)",
			text);
	else if (text != NULL)
		read_text(reader, node, path, key, target);
}

static void read_pci(struct reader *reader, const yaml_node_t *node, const char *path,
		     const struct read_key *key, void *target)
{
	const char *text = read_scalar(reader, node, path);

	if (text != NULL && !is_pci_address(text))
		READ_FAIL(reader, node, path, "\"%.40s\" is not a PCI address (0000:03:00.0)",
			  text);
	else if (text != NULL)
		read_text(reader, node, path, key, target);
}

static void read_vdev(struct reader *reader, const yaml_node_t *node, const char *path,
		      const struct read_key *key, void *target)
{
	const char *text = read_scalar(reader, node, path);

	if (text != NULL && strncmp(text, "net_", 4) != 0)
		READ_FAIL(reader, node, path, "\"%.40s\" is not a DPDK network vdev (net_...)",
			  text);
	else if (text != NULL)
		read_text(reader, node, path, key, target);
}

static const struct read_key port_keys[] = {
	{"interface", read_interface, offsetof(struct raw_port, interface), 0, CONFIG_MAX_VDEV,
	 NULL},
	{"pci", read_pci, offsetof(struct raw_port, pci), 0, CONFIG_MAX_VDEV, NULL},
	{"vdev", read_vdev, offsetof(struct raw_port, vdev), 0, CONFIG_MAX_VDEV, NULL},
	{"kernel_interface", read_interface, offsetof(struct raw_port, kernel_interface), 0, 16,
	 NULL},
	{0},
};

static void read_port(struct reader *reader, const yaml_node_t *node, const char *path,
		      size_t index, void *target)
{
	struct config_port *port = (struct config_port *)target + index;
	size_t errors_before = reader->problems->n_errors;
	struct raw_port raw = {0};
	int n_named;

	port->mark = read_mark(node);
	if (!read_mapping(reader, node, path, port_keys, &raw) ||
	    reader->problems->n_errors != errors_before)
		return;
	n_named = (raw.interface[0] != 0) + (raw.pci[0] != 0) + (raw.vdev[0] != 0);
	if (n_named != 1) {
		READ_FAIL(reader, node, path,
			  "names %d devices (exactly one of interface, pci, vdev)", n_named);
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
			READ_FAIL(reader, node, path, "device \"%.40s\" is port %zu's already",
				  port->device, i);
		if (strcmp(other->kernel_interface, port->kernel_interface) == 0)
			READ_FAIL(reader, node, path,
				  "kernel_interface \"%s\" is port %zu's already",
				  port->kernel_interface, i);
	}
}

static void read_ports(struct reader *reader, const yaml_node_t *node, const char *path,
		       const struct read_key *key SL_UNUSED, void *target SL_UNUSED)
{
	size_t errors_before = reader->problems->n_errors;
	size_t n = read_list(reader, node, path, SL_MAX_PORTS, read_port, reader->config->port);

	if (n == 0 && reader->problems->n_errors == errors_before)
		READ_FAIL(reader, node, path, "the list is empty (limit 1..%d)", SL_MAX_PORTS);
	reader->config->n_ports = n;
}

static void read_listen(struct reader *reader, const yaml_node_t *node, const char *path,
			const struct read_key *key, void *target)
{
	const char *text = read_scalar(reader, node, path);
	const char *reason = NULL;
	union sl_addr addr;
	uint8_t family;
	be16_t port;

	if (text == NULL)
		return;
	if (!config_parse_endpoint(text, &addr, &port, &family, &reason))
		READ_FAIL(reader, node, path, "\"%.50s\": %s", text, reason);
	else if (port == 0)
		READ_FAIL(reader, node, path, "\"%.50s\": port 0 (limit 1..65535)", text);
	else
		read_text(reader, node, path, key, target);
}

static const char *const engine_words[] = {"auto", "dpdk", "xdp", NULL};
static const char *const hugepages_words[] = {"auto", "on", "off", NULL};
static const char *const boolean_words[] = {"false", "true", NULL};

static const struct read_key dataplane_keys[] = {
	{"engine", read_word, offsetof(struct config, engine), CONFIG_ENGINE_AUTO, 0, engine_words},
	{"ports", read_ports, 0, 0, 0, NULL},
	{"workers", read_workers, 0, 1, SL_MAX_WORKERS, NULL},
	{"max_workers", read_integer, offsetof(struct config, max_workers), 1, SL_MAX_WORKERS,
	 NULL},
	{"flows", read_integer, offsetof(struct config, n_flows), SL_MIN_FLOWS, SL_MAX_FLOWS, NULL},
	{"affinities", read_integer, offsetof(struct config, n_affinities), SL_MIN_AFFINITIES,
	 SL_MAX_AFFINITIES, NULL},
	{"hugepages", read_word, offsetof(struct config, hugepages), CONFIG_HUGEPAGES_AUTO, 0,
	 hugepages_words},
	{"memory_mb", read_integer, offsetof(struct config, memory_mb), 64, 1048576, NULL},
	{"idle_sleep_us", read_integer, offsetof(struct config, idle_sleep_us), 0, 1000, NULL},
	{"hash_key", read_hash_key, 0, 0, 0, NULL},
	{"flow_log", read_path, offsetof(struct config, flow_log), 0, CONFIG_MAX_PATH, NULL},
	{"telemetry", read_word, offsetof(struct config, telemetry), 0, 0, boolean_words},
	{0},
};

static const struct read_key metrics_keys[] = {
	{"listen", read_listen, offsetof(struct config, metrics_listen), 0, 64, NULL},
	{0},
};

static const struct read_key api_keys[] = {
	{"group", read_text, offsetof(struct config, api_group), 0, 64, NULL},
	{"read_only_group", read_text, offsetof(struct config, api_read_only_group), 0, 64, NULL},
	{0},
};

static void read_dataplane(struct reader *reader, const yaml_node_t *node, const char *path,
			   const struct read_key *key SL_UNUSED, void *target SL_UNUSED)
{
	const struct config *config = reader->config;

	read_mapping(reader, node, path, dataplane_keys, reader->config);
	if (config->max_workers != 0 && config->max_workers < config->n_workers)
		READ_FAIL(reader, node, "dataplane.max_workers",
			  "value %u is below dataplane.workers, %u", config->max_workers,
			  config->n_workers);
	if (config->engine != CONFIG_ENGINE_XDP)
		return;
	if (config->telemetry)
		problem_warning(reader->problems, reader->name, read_mark(node),
				"dataplane.telemetry",
				"there is none: the xdp engine runs without DPDK");
	if (config->idle_sleep_us)
		problem_warning(reader->problems, reader->name, read_mark(node),
				"dataplane.idle_sleep_us",
				"there is nobody to sleep: the xdp engine is woken by packets");
}

static const struct read_key health_keys[] = {
	{"exec", read_word, offsetof(struct config, health_exec), 0, 0, boolean_words},
	{0},
};

static void read_health(struct reader *reader, const yaml_node_t *node, const char *path,
			const struct read_key *key SL_UNUSED, void *target SL_UNUSED)
{
	read_mapping(reader, node, path, health_keys, reader->config);
}

static void read_metrics(struct reader *reader, const yaml_node_t *node, const char *path,
			 const struct read_key *key SL_UNUSED, void *target SL_UNUSED)
{
	read_mapping(reader, node, path, metrics_keys, reader->config);
}

static void read_api(struct reader *reader, const yaml_node_t *node, const char *path,
		     const struct read_key *key SL_UNUSED, void *target SL_UNUSED)
{
	read_mapping(reader, node, path, api_keys, reader->config);
}

static const struct read_key root_keys[] = {
	{"run_dir", read_path, offsetof(struct config, run_dir), 0, CONFIG_MAX_PATH, NULL},
	{"state_dir", read_path, offsetof(struct config, state_dir), 0, CONFIG_MAX_PATH, NULL},
	{"user", read_text, offsetof(struct config, user), 0, 64, NULL},
	{"group", read_text, offsetof(struct config, group), 0, 64, NULL},
	{"api", read_api, 0, 0, 0, NULL},
	{"dataplane", read_dataplane, 0, 0, 0, NULL},
	{"metrics", read_metrics, 0, 0, 0, NULL},
	{"health", read_health, 0, 0, 0, NULL},
	{"services", load_services, 0, 0, 0, NULL},
	{0},
};

struct config *config_default(void)
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
	config->n_affinities = SL_DEFAULT_AFFINITIES;
	for (int i = 0; i < SL_MAX_WORKERS; i++)
		config->core[i] = -1;
	return config;
}

void config_free(struct config *config)
{
	if (config == NULL)
		return;
	for (size_t i = 0; i < config->n_services; i++) {
		free(config->service[i].backend);
		free(config->service[i].listed);
	}
	free(config->service);
	free(config);
}

/* No error: a dataplane may read another file. */
static void warn_of_no_log(const struct reader *reader)
{
	const struct config *config = reader->config;

	for (size_t i = 0; config->flow_log[0] == '\0' && i < config->n_services; i++) {
		const struct config_service *service = &config->service[i];
		char path[128];

		snprintf(path, sizeof(path), "services[%zu] (%.63s)", i, service->wire.name);
		if (service->wire.flow_log)
			problem_warning(reader->problems, reader->name, service->mark, path,
					"flow_log: nothing is logged: dataplane.flow_log names no "
					"file");
	}
}

/* No error, for what is exported has services alone: sluiced refuses it. */
static void warn_of_no_programs(const struct reader *reader)
{
	const struct config *config = reader->config;

	for (size_t i = 0; !config->health_exec && i < config->n_services; i++) {
		const struct config_service *service = &config->service[i];
		char path[128];

		snprintf(path, sizeof(path), "services[%zu] (%.63s)", i, service->wire.name);
		if (service->check.type == HEALTH_CHECK_EXEC)
			problem_warning(reader->problems, reader->name, service->mark, path,
					"check.type exec: sluiced runs no programs: health.exec is "
					"not true");
	}
}

static int load(struct reader *reader, const char *text, size_t length)
{
	struct config *config = reader->config;
	const char *skipped = reader->is_without_services ? "services" : NULL;
	int status = document_read(reader->name, text, length, skipped, &reader->document,
				   reader->problems);

	if (status != 0)
		return status;
	read_mapping(reader, yaml_document_get_root_node(&reader->document), "", root_keys, config);
	yaml_document_delete(&reader->document);
	if (reader->is_out_of_memory)
		return -ENOMEM;
	if (reader->problems->n_errors != 0)
		return -EINVAL;
	/* Families are compared before the service's address replaces what the text said. */
	status = config_check_services(reader->name, config->service, config->n_services,
				       reader->problems);
	if (status != 0)
		return status;
	load_link_services(config);
	warn_of_no_log(reader);
	warn_of_no_programs(reader);
	return 0;
}

/* @part: of which program the text is read; @only: see struct reader. */
static int load_text(const char *name, const char *text, size_t length, enum config_part part,
		     const char *const *only, struct config **out, struct config_problems *problems)
{
	struct reader reader = {.name = name,
				.problems = problems,
				.only = only,
				.is_without_services = part != CONFIG_PART_ALL};
	const struct config_mark start = {1, 1};
	int status;

	*out = NULL;
	if (length > SL_MAX_CONFIG_BYTES) {
		problem_error(problems, name, start, "",
			      "more bytes than a configuration may have (limit %d)",
			      SL_MAX_CONFIG_BYTES);
		return -EINVAL;
	}
	reader.config = config_default();
	if (reader.config == NULL)
		return -ENOMEM;
	status = load(&reader, text, length);
	if (status != 0) {
		config_free(reader.config);
		return status;
	}
	*out = reader.config;
	return 0;
}

int config_load_text(const char *name, const char *text, size_t length, struct config **out,
		     struct config_problems *problems)
{
	return load_text(name, text, length, CONFIG_PART_ALL, NULL, out, problems);
}

/* All of the file, or a byte more than it may have. 0; -EINVAL: see @problems; -ENOMEM. */
static int read_file(const char *path, char **text, size_t *length,
		     struct config_problems *problems)
{
	const struct config_mark start = {1, 1};
	FILE *file = fopen(path, "re");
	int status = 0;

	if (file == NULL) {
		problem_error(problems, path, start, "", "%s", strerror(errno));
		return -EINVAL;
	}
	*text = malloc(SL_MAX_CONFIG_BYTES + 1);
	if (*text == NULL) {
		fclose(file);
		return -ENOMEM;
	}
	errno = 0;
	*length = fread(*text, 1, SL_MAX_CONFIG_BYTES + 1, file);
	if (ferror(file)) {
		problem_error(problems, path, start, "", "cannot be read: %s", strerror(errno));
		free(*text);
		status = -EINVAL;
	}
	fclose(file);
	return status;
}

/* The part alone, if it is good. */
static int take_part(const char *path, const char *text, size_t length, enum config_part part,
		     struct config **out)
{
	static const char *const dataplane[] = {"run_dir", "user", "group", "dataplane", NULL};
	static const char *const run_dir[] = {"run_dir", NULL};
	const char *const *only = part == CONFIG_PART_RUN_DIR ? run_dir : dataplane;
	struct config_problems of_part = {0};

	return load_text(path, text, length, part, only, out, &of_part);
}

int config_load_part(const char *path, enum config_part part, struct config **out,
		     struct config_problems *problems)
{
	size_t length = 0;
	char *text;
	int status;

	*out = NULL;
	status = read_file(path, &text, &length, problems);
	if (status != 0)
		return status;
	status = load_text(path, text, length, part, NULL, out, problems);
	if (status == -EINVAL && part != CONFIG_PART_ALL)
		status = take_part(path, text, length, part, out);
	free(text);
	return status;
}

int config_load_file(const char *path, struct config **out, struct config_problems *problems)
{
	return config_load_part(path, CONFIG_PART_ALL, out, problems);
}
