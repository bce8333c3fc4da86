/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
#include "tests/conformance/tables.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sluice/tables.h>
#include <sluice/wire.h>

#include "dataplane/snapshot.h"

const uint8_t tables_own_mac[6] = {2, 0, 0, 0, 0, 1};

enum {
	N_SLOTS = 401,
	TABLES_SOURCE_PORT = 4000,
	MAX_BACKENDS = 4,
};

/* As in make_stories.py. */
static const struct sl_hash_key hash_key = {{0x0123456789abcdefull, 0xfedcba9876543210ull}};

/* A service is there for TCP and UDP, with the same backends. */
static const struct service_row {
	const char *name;
	const char *addr;
	uint16_t port;
	const char *backend[MAX_BACKENDS];
	uint16_t backend_port;
	uint32_t weight[MAX_BACKENDS];
	const char *source;      /* mode fullnat, with one source port */
	bool is_direct;          /* no stateless replies */
	bool has_header;         /* backends are told of clients by PROXY v2 */
	uint8_t scheduler;       /* 0: maglev */
	uint32_t max_flows;      /* of each backend; 0: no limit */
	uint8_t affinity_prefix; /* 0: clients do not keep their backend */
	uint32_t canary_weight[MAX_BACKENDS];
	const char *canary_source; /* a prefix of clients */
	uint8_t canary_length;
} services[] = {
	{.name = "main4",
	 .addr = "203.0.113.10",
	 .port = 80,
	 .backend = {"10.0.0.2"},
	 .backend_port = 8080,
	 .weight = {1}},
	{.name = "main6",
	 .addr = "2001:db8:100::10",
	 .port = 80,
	 .backend = {"2001:db8:2::2"},
	 .backend_port = 8080,
	 .weight = {1}},
	{.name = "spread4",
	 .addr = "203.0.113.20",
	 .port = 80,
	 .backend = {"10.0.0.11", "10.0.0.12", "10.0.0.13", "10.0.0.14"},
	 .backend_port = 8080,
	 .weight = {1, 1, 2, 1}},
	{.name = "spread6",
	 .addr = "2001:db8:100::20",
	 .port = 80,
	 .backend = {"2001:db8:2::11", "2001:db8:2::12", "2001:db8:2::13", "2001:db8:2::14"},
	 .backend_port = 8080,
	 .weight = {1, 1, 2, 1}},
	{.name = "empty4", .addr = "203.0.113.30", .port = 80},
	{.name = "empty6", .addr = "2001:db8:100::30", .port = 80},
	{.name = "unrouted4",
	 .addr = "203.0.113.40",
	 .port = 80,
	 .backend = {"192.0.2.200"},
	 .backend_port = 8080,
	 .weight = {1}},
	{.name = "unrouted6",
	 .addr = "2001:db8:100::40",
	 .port = 80,
	 .backend = {"2001:db8:dead::9"},
	 .backend_port = 8080,
	 .weight = {1}},
	{.name = "every4",
	 .addr = "203.0.113.60",
	 .port = 0,
	 .backend = {"10.0.0.60"},
	 .backend_port = 0,
	 .weight = {1}},
	{.name = "every6",
	 .addr = "2001:db8:100::60",
	 .port = 0,
	 .backend = {"2001:db8:2::60"},
	 .backend_port = 0,
	 .weight = {1}},
	{.name = "full4",
	 .addr = "203.0.113.70",
	 .port = 80,
	 .backend = {"10.0.0.70"},
	 .backend_port = 8080,
	 .weight = {1},
	 .source = "10.0.0.9"},
	{.name = "full6",
	 .addr = "2001:db8:100::70",
	 .port = 80,
	 .backend = {"2001:db8:2::70"},
	 .backend_port = 8080,
	 .weight = {1},
	 .source = "2001:db8:2::9"},
	{.name = "pair4",
	 .addr = "203.0.113.80",
	 .port = 80,
	 .backend = {"10.0.0.11", "10.0.0.12"},
	 .backend_port = 8080,
	 .weight = {1, 1},
	 .source = "10.0.0.9"},
	{.name = "pair6",
	 .addr = "2001:db8:100::80",
	 .port = 80,
	 .backend = {"2001:db8:2::11", "2001:db8:2::12"},
	 .backend_port = 8080,
	 .weight = {1, 1},
	 .source = "2001:db8:2::9"},
	{.name = "direct4",
	 .addr = "203.0.113.90",
	 .port = 80,
	 .backend = {"10.0.0.90"},
	 .backend_port = 8080,
	 .weight = {1},
	 .is_direct = true},
	{.name = "direct6",
	 .addr = "2001:db8:100::90",
	 .port = 80,
	 .backend = {"2001:db8:2::90"},
	 .backend_port = 8080,
	 .weight = {1},
	 .is_direct = true},
	{.name = "told4",
	 .addr = "203.0.113.100",
	 .port = 80,
	 .backend = {"10.0.0.100"},
	 .backend_port = 8080,
	 .weight = {1},
	 .has_header = true},
	{.name = "told6",
	 .addr = "2001:db8:100::100",
	 .port = 80,
	 .backend = {"2001:db8:2::100"},
	 .backend_port = 8080,
	 .weight = {1},
	 .has_header = true},
	{.name = "fulltold4",
	 .addr = "203.0.113.110",
	 .port = 80,
	 .backend = {"10.0.0.110"},
	 .backend_port = 8080,
	 .weight = {1},
	 .source = "10.0.0.9",
	 .has_header = true},
	{.name = "fulltold6",
	 .addr = "2001:db8:100::110",
	 .port = 80,
	 .backend = {"2001:db8:2::110"},
	 .backend_port = 8080,
	 .weight = {1},
	 .source = "2001:db8:2::9",
	 .has_header = true},
	{.name = "turn4",
	 .addr = "203.0.113.120",
	 .port = 80,
	 .backend = {"10.0.0.21", "10.0.0.22", "10.0.0.23"},
	 .backend_port = 8080,
	 .weight = {1, 3, 1},
	 .scheduler = WIRE_SCHEDULER_ROUND_ROBIN},
	{.name = "turn6",
	 .addr = "2001:db8:100::120",
	 .port = 80,
	 .backend = {"2001:db8:2::21", "2001:db8:2::22", "2001:db8:2::23"},
	 .backend_port = 8080,
	 .weight = {1, 3, 1},
	 .scheduler = WIRE_SCHEDULER_ROUND_ROBIN},
	{.name = "least4",
	 .addr = "203.0.113.130",
	 .port = 80,
	 .backend = {"10.0.0.31", "10.0.0.32", "10.0.0.33", "10.0.0.34"},
	 .backend_port = 8080,
	 .weight = {1, 2, 1, 0},
	 .scheduler = WIRE_SCHEDULER_LEAST_CONNECTIONS},
	{.name = "least6",
	 .addr = "2001:db8:100::130",
	 .port = 80,
	 .backend = {"2001:db8:2::31", "2001:db8:2::32", "2001:db8:2::33", "2001:db8:2::34"},
	 .backend_port = 8080,
	 .weight = {1, 2, 1, 0},
	 .scheduler = WIRE_SCHEDULER_LEAST_CONNECTIONS},
	{.name = "origin4",
	 .addr = "203.0.113.140",
	 .port = 80,
	 .backend = {"10.0.0.41", "10.0.0.42", "10.0.0.43"},
	 .backend_port = 8080,
	 .weight = {1, 1, 1},
	 .scheduler = WIRE_SCHEDULER_SOURCE_HASH},
	{.name = "origin6",
	 .addr = "2001:db8:100::140",
	 .port = 80,
	 .backend = {"2001:db8:2::41", "2001:db8:2::42", "2001:db8:2::43"},
	 .backend_port = 8080,
	 .weight = {1, 1, 1},
	 .scheduler = WIRE_SCHEDULER_SOURCE_HASH},
	{.name = "limit4",
	 .addr = "203.0.113.150",
	 .port = 80,
	 .backend = {"10.0.0.51", "10.0.0.52"},
	 .backend_port = 8080,
	 .weight = {1, 1},
	 .max_flows = 2},
	{.name = "stick4",
	 .addr = "203.0.113.160",
	 .port = 80,
	 .backend = {"10.0.0.81", "10.0.0.82", "10.0.0.83"},
	 .backend_port = 8080,
	 .weight = {1, 1, 1},
	 .scheduler = WIRE_SCHEDULER_ROUND_ROBIN,
	 .affinity_prefix = 24},
	{.name = "stick6",
	 .addr = "2001:db8:100::160",
	 .port = 80,
	 .backend = {"2001:db8:2::81", "2001:db8:2::82", "2001:db8:2::83"},
	 .backend_port = 8080,
	 .weight = {1, 1, 1},
	 .scheduler = WIRE_SCHEDULER_ROUND_ROBIN,
	 .affinity_prefix = 56},
	{.name = "limit6",
	 .addr = "2001:db8:100::150",
	 .port = 80,
	 .backend = {"2001:db8:2::51", "2001:db8:2::52"},
	 .backend_port = 8080,
	 .weight = {1, 1},
	 .max_flows = 2},
	{.name = "canary4",
	 .addr = "203.0.113.170",
	 .port = 80,
	 .backend = {"10.0.0.91", "10.0.0.92"},
	 .backend_port = 8080,
	 .weight = {1, 0},
	 .canary_weight = {0, 1},
	 .canary_source = "192.0.2.16",
	 .canary_length = 28},
	{.name = "canary6",
	 .addr = "2001:db8:100::170",
	 .port = 80,
	 .backend = {"2001:db8:2::91", "2001:db8:2::92"},
	 .backend_port = 8080,
	 .weight = {1, 0},
	 .canary_weight = {0, 1},
	 .canary_source = "2001:db8:3::c:0",
	 .canary_length = 112},
};

/* Private networks that are led out, one on each side. */
static const struct egress_row {
	const char *name;
	const char *prefix;
	uint16_t length;
	const char *source; /* with one source port */
	const char *client; /* one that "strict" denies */
} networks[] = {
	{"office4", "10.0.0.192", 26, "198.51.100.9", "10.0.0.200"},
	{"office6", "2001:db8:2::c:0", 112, "2001:db8:1::9", "2001:db8:2::c:8"},
	{"annex4", "192.0.2.96", 28, "198.51.100.10", NULL},
	{"annex6", "2001:db8:3::a:0", 112, "2001:db8:1::a", NULL},
};

/* What the offices deny in every variant, and who is in none. */
static const struct deny_row {
	const char *network;
	uint8_t list;
	const char *prefix;
	uint8_t length;
} denies[] = {
	{"office4", WIRE_DENY_SOURCE, "10.0.0.208", 29},
	{"office4", WIRE_DENY_DESTINATION, "192.0.2.80", 29},
	{"office4", WIRE_DENY_DESTINATION, "192.0.2.83", 32},
	{"office6", WIRE_DENY_SOURCE, "2001:db8:2::c:10", 124},
	{"office6", WIRE_DENY_DESTINATION, "2001:db8:3::80", 124},
	{"office6", WIRE_DENY_DESTINATION, "2001:db8:3::83", 128},
};

struct tables {
	struct staging *staging;
	uint64_t generation;
};

struct tables *tables_new(void)
{
	struct tables *tables = calloc(1, sizeof(*tables));

	if (tables != NULL)
		tables->staging = staging_new();
	if (tables == NULL || tables->staging == NULL) {
		free(tables);
		return NULL;
	}
	return tables;
}

void tables_free(struct tables *tables)
{
	if (tables == NULL)
		return;
	staging_free(tables->staging);
	free(tables);
}

static uint8_t read_address(const char *text, union sl_addr *addr)
{
	bool is_ipv6 = strchr(text, ':') != NULL;

	memset(addr, 0, sizeof(*addr));
	inet_pton(is_ipv6 ? AF_INET6 : AF_INET, text, addr);
	return is_ipv6 ? SL_FAMILY_IPV6 : SL_FAMILY_IPV4;
}

/* Backend @i of a service whose clients keep theirs. */
static void vary_kept(struct wire_backend *backend, int i, const char *variant)
{
	if (i == 0 && strcmp(variant, "stick-full") == 0)
		backend->max_flows = 1;
	if (i != 0 && strcmp(variant, "stick-light") == 0)
		backend->weight = 9;
	if (i == 2 && strcmp(variant, "stick-drain") == 0)
		backend->state = WIRE_STATE_DRAIN;
}

/* Backend @i of a service whose canary has sources: the second alone is for these. */
static void vary_canary(struct wire_backend *backend, int i, const char *variant)
{
	if (i == 1 && strcmp(variant, "canary-down") == 0)
		backend->health = WIRE_HEALTH_DOWN_KEEP;
	if (i == 1 && strcmp(variant, "canary-full") == 0)
		backend->max_flows = 1;
}

static int put_canary_source(struct staging *staging, const struct service_row *row,
			     const struct wire_address *service, const char *variant, char *error)
{
	struct wire_listed listed = {
		.service = *service, .list = WIRE_CANARY_SOURCE, .length = row->canary_length};

	if (row->canary_source == NULL || strcmp(variant, "canary-none") == 0)
		return 0;
	listed.family = read_address(row->canary_source, &listed.addr);
	return staging_put_listed(staging, &listed, error);
}

/* Puts one backend as the variant wants it. */
static int put_backend(struct staging *staging, const struct service_row *row,
		       const struct wire_address *service, int i, const char *variant, char *error)
{
	struct wire_backend backend = {.service = *service,
				       .port = sl_to_be16(row->backend_port),
				       .state = WIRE_STATE_READY,
				       .weight = row->weight[i],
				       .max_flows = row->max_flows,
				       .canary_weight = row->canary_weight[i]};

	read_address(row->backend[i], &backend.addr);
	if (strncmp(row->name, "main", 4) == 0) {
		if (strcmp(variant, "deleted") == 0)
			return 0;
		if (strcmp(variant, "drain") == 0)
			backend.state = WIRE_STATE_DRAIN;
		else if (strcmp(variant, "maint") == 0)
			backend.state = WIRE_STATE_MAINT;
		else if (strcmp(variant, "down") == 0)
			backend.health = WIRE_HEALTH_DOWN;
		else if (strcmp(variant, "down-keep") == 0)
			backend.health = WIRE_HEALTH_DOWN_KEEP;
		else if (strcmp(variant, "replaced") == 0)
			backend.addr.byte[service->family == SL_FAMILY_IPV4 ? 3 : 15] = 3;
		else if (strcmp(variant, "base") != 0 && strcmp(variant, "closed") != 0 &&
			 strcmp(variant, "strict") != 0 && strncmp(variant, "stick-", 6) != 0 &&
			 strncmp(variant, "canary-", 7) != 0)
			return -EINVAL;
	}
	if (row->affinity_prefix != 0)
		vary_kept(&backend, i, variant);
	if (row->canary_source != NULL)
		vary_canary(&backend, i, variant);
	return staging_put_backend(staging, &backend, error);
}

static int put_service(struct staging *staging, const struct service_row *row, uint8_t protocol,
		       const char *variant, char *error)
{
	struct wire_service service = {.mode = WIRE_MODE_NAT,
				       .stateless_replies = 1,
				       .scheduler = WIRE_SCHEDULER_MAGLEV,
				       .n_slots = N_SLOTS};
	int status;

	if (row->scheduler != 0)
		service.scheduler = row->scheduler;
	service.stateless_replies = !row->is_direct;
	service.affinity_prefix = row->affinity_prefix;
	service.affinity_timeout_sec = row->affinity_prefix != 0 ? 300 : 0;
	service.proxy_protocol = row->has_header ? WIRE_PROXY_V2 : WIRE_PROXY_NONE;
	if (row->source != NULL) {
		service.mode = WIRE_MODE_FULLNAT;
		service.n_sources = 1;
		read_address(row->source, &service.source[0]);
		service.source_port_first = TABLES_SOURCE_PORT;
		service.source_port_last = TABLES_SOURCE_PORT;
	}
	service.address.family = read_address(row->addr, &service.address.addr);
	service.address.port = sl_to_be16(row->port);
	service.address.protocol = protocol;
	snprintf(service.name, sizeof(service.name), "%s-%s", row->name,
		 protocol == SL_PROTOCOL_TCP ? "tcp" : "udp");
	status = staging_put_service(staging, &service, error);
	if (status == 0)
		status = put_canary_source(staging, row, &service.address, variant, error);
	for (int i = 0; i < MAX_BACKENDS && row->backend[i] != NULL && status == 0; i++)
		status = put_backend(staging, row, &service.address, i, variant, error);
	return status;
}

static int put_deny(struct staging *staging, const struct wire_address *service,
		    const struct deny_row *row, char *error)
{
	struct wire_listed deny = {.service = *service,
				   .list = row->list,
				   .length = row->length,
				   .family = service->family};

	read_address(row->prefix, &deny.addr);
	return staging_put_listed(staging, &deny, error);
}

static int put_denies(struct staging *staging, const struct egress_row *row,
		      const struct wire_address *service, const char *variant, char *error)
{
	const struct deny_row strict = {row->name, WIRE_DENY_SOURCE, row->client,
					service->family == SL_FAMILY_IPV4 ? 32 : 128};
	int status = 0;

	for (size_t i = 0; i < SL_ARRAY_LEN(denies) && status == 0; i++)
		if (strcmp(denies[i].network, row->name) == 0)
			status = put_deny(staging, service, &denies[i], error);
	if (status == 0 && row->client != NULL && strcmp(variant, "strict") == 0)
		status = put_deny(staging, service, &strict, error);
	return status;
}

static int put_network(struct staging *staging, const struct egress_row *row, const char *variant,
		       char *error)
{
	struct wire_service service = {.mode = WIRE_MODE_SNAT,
				       .stateless_replies = 1,
				       .scheduler = WIRE_SCHEDULER_MAGLEV,
				       .n_slots = N_SLOTS,
				       .n_sources = 1,
				       .source_port_first = TABLES_SOURCE_PORT,
				       .source_port_last = TABLES_SOURCE_PORT};

	service.address.family = read_address(row->prefix, &service.address.addr);
	service.address.port = sl_to_be16(row->length);
	read_address(row->source, &service.source[0]);
	snprintf(service.name, sizeof(service.name), "%s", row->name);
	if (staging_put_service(staging, &service, error) != 0)
		return -EINVAL;
	return put_denies(staging, row, &service.address, variant, error);
}

int tables_build(struct tables *tables, const char *variant, const struct snapshot *previous,
		 struct snapshot **out, char *error)
{
	int status = 0;

	staging_clear(tables->staging);
	for (size_t i = 0; i < SL_ARRAY_LEN(services) && status == 0; i++) {
		status =
			put_service(tables->staging, &services[i], SL_PROTOCOL_TCP, variant, error);
		if (status == 0)
			status = put_service(tables->staging, &services[i], SL_PROTOCOL_UDP,
					     variant, error);
	}
	/* "closed": nobody is led out any more. */
	for (size_t i = 0; i < SL_ARRAY_LEN(networks) && status == 0; i++)
		if (strcmp(variant, "closed") != 0)
			status = put_network(tables->staging, &networks[i], variant, error);
	if (status == 0)
		status = snapshot_build(tables->staging, ++tables->generation, &hash_key, previous,
					out, error);
	return status;
}

__attribute__((format(printf, 2, 3))) static void run_ip(int *status, const char *format, ...)
{
	char command[256] = "ip ";
	va_list values;
	int result;

	if (*status != 0)
		return;
	va_start(values, format);
	vsnprintf(command + 3, sizeof(command) - 3, format, values);
	va_end(values);
	result = system(command);
	if (result != 0) {
		fprintf(stderr, "tables: failed: %s\n", command);
		*status = -EIO;
	}
}

/* A setting that this kernel may lack is no failure: the rows will tell. */
static void set(const char *path, const char *value)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	if (write(fd, value, strlen(value)) < 0)
		fprintf(stderr, "tables: %s cannot be set to %s\n", path, value);
	close(fd);
}

/* Silent: no addresses of its own making, no router solicitations. */
static void set_up_device(int *status, const char *device)
{
	char path[128];

	snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/%s/addr_gen_mode", device);
	set(path, "1");
	snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/%s/accept_ra", device);
	set(path, "0");
	snprintf(path, sizeof(path), "/proc/sys/net/ipv4/conf/%s/rp_filter", device);
	set(path, "0");
	run_ip(status, "link set dev %s address %s", device, TABLES_OWN_MAC);
	run_ip(status, "link set dev %s up", device);
}

static void set_up_address(int *status, const char *device, const char *address)
{
	run_ip(status, "address add %s dev %s%s", address, device,
	       strchr(address, ':') != NULL ? " nodad" : "");
}

static void set_up_neighbour(int *status, const char *device, const char *address)
{
	run_ip(status, "neigh replace %s lladdr %s nud permanent dev %s", address,
	       TABLES_NEXT_HOP_MAC, device);
}

int tables_set_up_kernel(const char *client_device, const char *backend_device)
{
	int status = 0;

	set("/proc/sys/net/ipv4/ip_forward", "0");
	set("/proc/sys/net/ipv6/conf/all/forwarding", "0");
	set("/proc/sys/net/ipv4/conf/all/rp_filter", "0");
	run_ip(&status, "link set dev lo up");
	set_up_device(&status, client_device);
	set_up_device(&status, backend_device);
	set_up_address(&status, client_device, "198.51.100.1/24");
	set_up_address(&status, client_device, "2001:db8:1::1/64");
	set_up_address(&status, backend_device, "10.0.0.1/24");
	set_up_address(&status, backend_device, "2001:db8:2::1/64");
	set_up_neighbour(&status, client_device, "198.51.100.7");
	set_up_neighbour(&status, client_device, "2001:db8:1::7");
	for (size_t i = 0; i < SL_ARRAY_LEN(services); i++)
		for (int j = 0; j < MAX_BACKENDS && services[i].backend[j] != NULL; j++)
			if (strncmp(services[i].name, "unrouted", 8) != 0)
				set_up_neighbour(&status, backend_device, services[i].backend[j]);
	set_up_neighbour(&status, backend_device, "10.0.0.200");
	set_up_neighbour(&status, backend_device, "2001:db8:2::c:8");
	set_up_neighbour(&status, backend_device, "10.0.0.3");
	set_up_neighbour(&status, backend_device, "2001:db8:2::3");
	run_ip(&status, "route add 192.0.2.0/25 via 198.51.100.7 dev %s", client_device);
	run_ip(&status, "route add 2001:db8:3::/64 via 2001:db8:1::7 dev %s", client_device);
	return status;
}
