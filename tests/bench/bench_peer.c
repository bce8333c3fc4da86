/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* Sluice and testpmd at the other end of a vhost-user socket: see bench_peer.h. */
#include "tests/bench/bench_peer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <sys/stat.h>

#include "tests/bench/bench_report.h"
#include "tests/bench/bench_signal.h"
#include "tests/bench/bench_traffic.h"

enum {
	START_MS = 30000,
	COUNT_MS = 2000,
	STEP_MS = 20,
	DEFAULT_FLOWS = 1 << 20,
	TESTPMD_MEMORY_MB = 192,
	MAX_END = INET6_ADDRSTRLEN + 10,
};

#define TAP     "wire0"
#define TESTPMD "dpdk-testpmd"

/** The kernel behind the TAP, in one family. */
struct kernel_side {
	uint8_t bits;        /* of an address */
	const char *address; /* and what goes with it */
	const char *clients;
	const char *client_router;
};

static const struct kernel_side ipv4_side = {32, "10.0.255.254/16", "20.0.0.0/8", "10.0.255.253"};
static const struct kernel_side ipv6_side = {128, "2001:db8:0:2::ffff:fe/64 nodad", "2001:db8::/64",
					     "2001:db8:0:2::ffff:fd"};

unsigned int if_nametoindex(const char *name);

const char *peer_name(enum peer_kind kind)
{
	return kind == PEER_SLUICE ? "sluice" : "testpmd";
}

bool peer_is_there(enum peer_kind kind)
{
	static const char *const ours[] = {"sluice-dpdk", "sluiced", "sluice"};
	char path[PROCESS_MAX_PATH];

	if (kind == PEER_TESTPMD) {
		if (!process_is_there(TESTPMD))
			report_error(TESTPMD
				     " is not there (Debian: dpdk-dev): its figures are left out");
		return process_is_there(TESTPMD);
	}
	for (size_t i = 0; i < SL_ARRAY_LEN(ours); i++) {
		process_find(ours[i], path);
		if (process_is_there(path))
			continue;
		report_error("%s is neither beside this program nor in PATH", ours[i]);
		return false;
	}
	return true;
}

bool peer_is_alive(struct peer *peer)
{
	return process_is_alive(&peer->dataplane) &&
	       (peer->kind != PEER_SLUICE || process_is_alive(&peer->daemon));
}

/* ---- waiting ---- */

/* Until @is_done, or something ends it. */
static int wait_for(struct peer *peer, const char *what, bool (*is_done)(struct peer *))
{
	const struct timespec step = {.tv_nsec = STEP_MS * 1000000};

	for (int waited = 0; waited < START_MS; waited += STEP_MS) {
		if (is_done(peer))
			return 0;
		if (signal_has_come())
			return -EINTR;
		if (!process_is_alive(&peer->dataplane))
			return -ECHILD;
		if (peer->daemon.pid != 0 && !process_is_alive(&peer->daemon))
			return -ECHILD;
		report_progress("%s: waiting for %s", peer_name(peer->kind), what);
		nanosleep(&step, NULL);
	}
	report_error("%s: waited %d s for %s", peer_name(peer->kind), START_MS / 1000, what);
	process_print_log(&peer->dataplane);
	return -ETIMEDOUT;
}

static bool has_socket(struct peer *peer)
{
	return access(peer->socket, F_OK) == 0;
}

static bool has_tap(struct peer *peer SL_UNUSED)
{
	return if_nametoindex(TAP) != 0;
}

/* ---- Sluice ---- */

static const char *addr_text(uint8_t family, enum traffic_net net, uint32_t host,
			     char text[static INET6_ADDRSTRLEN])
{
	union sl_addr addr = traffic_addr(family, net, host);

	return inet_ntop(family == SL_FAMILY_IPV4 ? AF_INET : AF_INET6, addr.word, text,
			 INET6_ADDRSTRLEN);
}

/* Address and port, as the configuration has them. */
static const char *end_text(uint8_t family, enum traffic_net net, uint32_t host, uint16_t port,
			    char text[static MAX_END])
{
	char addr[INET6_ADDRSTRLEN];

	snprintf(text, MAX_END, family == SL_FAMILY_IPV4 ? "%s:%u" : "[%s]:%u",
		 addr_text(family, net, host, addr), port);
	return text;
}

static const char *mac_text(uint32_t neighbour, char text[static 18])
{
	uint8_t mac[6];

	traffic_mac(neighbour, mac);
	snprintf(text, 18, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4],
		 mac[5]);
	return text;
}

static FILE *create(const char *folder, const char *name, char path[static PROCESS_MAX_PATH])
{
	FILE *file;

	snprintf(path, PROCESS_MAX_PATH, "%s/%s", folder, name);
	file = fopen(path, "we");
	if (file == NULL)
		report_error("%s: %s", path, strerror(errno));
	return file;
}

static int finish(FILE *file)
{
	bool is_good = ferror(file) == 0;

	return fclose(file) == 0 && is_good ? 0 : -EIO;
}

static void write_service(FILE *file, const struct peer_options *options)
{
	char text[MAX_END];

	fprintf(file, "services:\n  - name: wire\n    address: \"%s/udp\"\n",
		end_text(options->family, TRAFFIC_SERVICES, 0, TRAFFIC_SERVICE_PORT, text));
	if (options->is_fullnat)
		fprintf(file, "    mode: fullnat\n    source:\n");
	for (uint32_t i = 0; options->is_fullnat && i < TRAFFIC_N_SOURCES; i++)
		fprintf(file, "      - \"%s\"\n",
			addr_text(options->family, TRAFFIC_SOURCES, i, text));
	fprintf(file, "    backends:\n");
	for (uint32_t i = 0; i < options->n_backends; i++)
		fprintf(file, "      - {address: \"%s\", weight: 1}\n",
			end_text(options->family, TRAFFIC_BACKENDS, i, TRAFFIC_BACKEND_PORT, text));
}

/* All as a user has it by default, but for what names this link. */
static int write_config(const struct peer *peer, const struct peer_options *options,
			char path[static PROCESS_MAX_PATH])
{
	FILE *file = create(options->folder, "sluice.yaml", path);

	if (file == NULL)
		return -EIO;
	fprintf(file,
		"run_dir: %s\nstate_dir: %s/state\nuser: nobody\ngroup: nogroup\n"
		"dataplane:\n  engine: dpdk\n  hugepages: \"on\"\n  workers: [%d]\n  max_workers: "
		"1\n",
		peer->run_dir, peer->run_dir, options->cpu);
	if (options->n_flows > DEFAULT_FLOWS / 2)
		fprintf(file, "  flows: %u\n", 2 * options->n_flows);
	fprintf(file,
		"  ports:\n    - vdev: \"net_vhost0,iface=%s,queues=1\"\n"
		"      kernel_interface: " TAP "\n",
		peer->socket);
	write_service(file, options);
	return finish(file);
}

/* The kernel behind the TAP: its addresses, and neighbours that nobody has to ask for. */
static int configure_kernel(const struct peer_options *options)
{
	char path[PROCESS_MAX_PATH], addr[INET6_ADDRSTRLEN], mac[18];
	const char *command[] = {"ip", "-batch", path, NULL};
	uint8_t family = options->family;
	const struct kernel_side *side = family == SL_FAMILY_IPV4 ? &ipv4_side : &ipv6_side;
	FILE *file = create(options->folder, "ip.batch", path);

	if (file == NULL)
		return -EIO;
	fprintf(file, "link set lo up\naddr add %s/%u dev lo\naddr add %s dev " TAP "\n",
		addr_text(family, TRAFFIC_SERVICES, 0, addr), side->bits, side->address);
	for (uint32_t i = 0; options->is_fullnat && i < TRAFFIC_N_SOURCES; i++)
		fprintf(file, "addr add %s/%u dev lo\n",
			addr_text(family, TRAFFIC_SOURCES, i, addr), side->bits);
	for (uint32_t i = 0; i < options->n_backends; i++)
		fprintf(file, "neigh add %s lladdr %s dev " TAP " nud permanent\n",
			addr_text(family, TRAFFIC_BACKENDS, i, addr),
			mac_text(traffic_neighbour(i), mac));
	fprintf(file,
		"neigh add %s lladdr %s dev " TAP " nud permanent\n"
		"route add %s via %s dev " TAP "\n",
		side->client_router, mac_text(0, mac), side->clients, side->client_router);
	if (finish(file) != 0 || process_run(command, NULL) != 0) {
		report_error("sluice: its kernel interface cannot be configured");
		return -EIO;
	}
	return 0;
}

/* What `sluice -j WORDS` prints; NULL: it failed. */
static json_t *ask(const struct peer *peer, const char *noun, const char *verb)
{
	char program[PROCESS_MAX_PATH], socket[PROCESS_MAX_PATH + 16];
	const char *command[] = {program, "-s", socket, "-j", noun, verb, NULL};

	process_find("sluice", program);
	snprintf(socket, sizeof(socket), "%s/control.sock", peer->run_dir);
	return process_run_json(command);
}

/* Received packets less those with a verdict: none, once the last ones were counted. */
static json_int_t n_without_verdict(const json_t *counters)
{
	const json_t *events = json_object_get(counters, "events");
	json_int_t n = json_integer_value(json_object_get(events, "rx"));
	const char *name;
	json_t *value;

	json_object_foreach(json_object_get(counters, "verdicts"), name, value)
	{
		n -= json_integer_value(value);
	}
	return n;
}

int peer_count(struct peer *peer, json_t **counters)
{
	const struct timespec step = {.tv_nsec = STEP_MS * 1000000};
	json_int_t n = 1;

	*counters = NULL;
	if (peer->kind != PEER_SLUICE)
		return 0;
	for (int waited = 0; waited < COUNT_MS && n != 0; waited += STEP_MS) {
		nanosleep(&step, NULL);
		json_decref(*counters);
		*counters = ask(peer, "counters", NULL);
		n = *counters != NULL ? n_without_verdict(*counters) : 1;
	}
	if (n == 0)
		return 0;
	report_error("sluice: %lld received packets more than there are verdicts", (long long)n);
	return -EPROTO;
}

/* In step, and every backend's link address is known. */
static bool is_in_step(struct peer *peer)
{
	json_t *status = ask(peer, "status", NULL);
	bool is_done = json_is_true(json_object_get(status, "in_step"));
	json_t *list = is_done ? ask(peer, "backend", "list") : NULL;
	const json_t *backends = json_object_get(list, "backends");
	const json_t *port = json_array_get(json_object_get(status, "ports"), 0);
	const char *mac = json_string_value(json_object_get(port, "mac"));
	size_t i;
	json_t *backend;

	is_done = json_array_size(backends) != 0 && mac != NULL &&
		  sscanf(mac, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", &peer->mac[0], &peer->mac[1],
			 &peer->mac[2], &peer->mac[3], &peer->mac[4], &peer->mac[5]) == 6;
	json_array_foreach(backends, i, backend)
	{
		is_done &= json_is_true(json_object_get(backend, "neighbour"));
	}
	json_decref(list);
	json_decref(status);
	return is_done;
}

static int make_folders(const struct peer *peer)
{
	char path[PROCESS_MAX_PATH + 16];

	/* sluiced, which is nobody by then, owns what it keeps. */
	snprintf(path, sizeof(path), "%s/state", peer->run_dir);
	if (mkdir(peer->run_dir, 0755) == 0 && mkdir(path, 0700) == 0 &&
	    chown(path, 65534, 65534) == 0)
		return 0;
	report_error("%s: %s", path, strerror(errno));
	return -errno;
}

static void set_ipv6(const char *name, int value)
{
	char path[PROCESS_MAX_PATH];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/default/%s", name);
	file = fopen(path, "we");
	if (file == NULL)
		return;
	fprintf(file, "%d\n", value);
	fclose(file);
}

/* The TAP speaks for itself otherwise: IPv6 solicits routers. */
static void silence_kernel(const struct peer_options *options)
{
	set_ipv6("disable_ipv6", options->family == SL_FAMILY_IPV4);
	set_ipv6("accept_ra", 0);
	set_ipv6("addr_gen_mode", 1); /* no link-local address */
}

static int start_sluice(struct peer *peer, const struct peer_options *options)
{
	char config[PROCESS_MAX_PATH], dataplane[PROCESS_MAX_PATH], daemon[PROCESS_MAX_PATH];
	const char *dataplane_command[] = {dataplane, "-c", config, NULL};
	const char *daemon_command[] = {daemon, "-c", config, NULL};
	int status = make_folders(peer);

	process_find("sluice-dpdk", dataplane);
	process_find("sluiced", daemon);
	silence_kernel(options);
	if (status == 0)
		status = write_config(peer, options, config);
	if (status == 0)
		status = process_start(&peer->dataplane, "sluice-dpdk", options->folder,
				       dataplane_command);
	if (status == 0)
		status = wait_for(peer, "its kernel interface", has_tap);
	if (status == 0)
		status = configure_kernel(options);
	if (status == 0)
		status = process_start(&peer->daemon, "sluiced", options->folder, daemon_command);
	if (status == 0)
		status = wait_for(peer, "sluiced and the dataplane to be in step", is_in_step);
	if (status == 0)
		status = wait_for(peer, "its vhost-user socket", has_socket);
	return status;
}

/* ---- testpmd ---- */

static int start_testpmd(struct peer *peer, const struct peer_options *options)
{
	char device[PROCESS_MAX_PATH + 64], lcores[32], memory[16];
	/* As in sluice-dpdk: what only waits is bound to no core. */
	const char *command[] = {TESTPMD,
				 "--no-pci",
				 "--no-telemetry",
				 "--in-memory",
				 "--file-prefix",
				 "testpmd",
				 "--lcores",
				 lcores,
				 "--main-lcore",
				 "0",
				 "-m",
				 memory,
				 "--vdev",
				 device,
				 "--",
				 "--forward-mode=5tswap",
				 "--auto-start",
				 "--nb-cores=1",
				 "--rxd=1024",
				 "--txd=1024",
				 "--burst=32",
				 "--total-num-mbufs=16384",
				 NULL};

	snprintf(device, sizeof(device), "net_vhost0,iface=%s,queues=1", peer->socket);
	snprintf(lcores, sizeof(lcores), "0@(%d,%d),1@%d", options->other_cpu, options->cpu,
		 options->cpu);
	snprintf(memory, sizeof(memory), "%d", TESTPMD_MEMORY_MB);
	memcpy(peer->mac, (const uint8_t[]){2, 0, 0, 0, 0, 1}, sizeof(peer->mac));
	setenv("RUNTIME_DIRECTORY", options->folder, 1);
	if (process_start(&peer->dataplane, "testpmd", options->folder, command) != 0)
		return -EAGAIN;
	return wait_for(peer, "its vhost-user socket", has_socket);
}

int peer_start(struct peer *peer, enum peer_kind kind, const struct peer_options *options)
{
	*peer = (struct peer){.kind = (uint8_t)kind};
	snprintf(peer->run_dir, sizeof(peer->run_dir), "%s/run", options->folder);
	snprintf(peer->socket, sizeof(peer->socket), "%s/%s.vhost", options->folder,
		 peer_name(kind));
	return kind == PEER_SLUICE ? start_sluice(peer, options) : start_testpmd(peer, options);
}

void peer_stop(struct peer *peer)
{
	process_stop(&peer->daemon);
	process_stop(&peer->dataplane);
}
