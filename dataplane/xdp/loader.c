/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * The program and its maps: made, or taken over from a former process by their pins; attached to
 * the ports by links that are pinned too, so that the program of the next process takes the place of
 * this one's between two packets.
 */
#include <dirent.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/if_link.h>
#include <linux/magic.h>
#include <linux/membarrier.h>

#include "dataplane/staging_dump.h"
#include "dataplane/xdp/engine.h"
#include "log/log.h"
#include "dataplane/xdp/skeleton.h"
#include "wire/wire_abi.h"

enum {
	ENTRIES_PER_2_FLOWS = 3, /* of a flow table: a full one is two thirds full */
	STATE_BLOCK = 4096,
};

#define PROGRAMS_PIN "programs_"

/* What belongs to one process alone, or is written by the loader itself. */
static const char *const unpinned[] = {
	"creations",      "scratch_adjacency", "resolve",      "no_slots", "port_devices",
	"reject_buckets", "programs",          "reply_rooms",  "captures", "copies",
	"no_copies",      "capture_lost",      ".data.capture"};

static bool is_pinned(const char *name)
{
	for (size_t i = 0; i < SL_ARRAY_LEN(unpinned); i++)
		if (strcmp(name, unpinned[i]) == 0)
			return false;
	return strstr(name, ".rodata") == NULL && strstr(name, ".bss") == NULL;
}

/* The number that tells layouts of maps apart: sizes, capacities and the names of counters. */
static uint64_t layout_hash(void)
{
	const uint32_t sizes[] = {
		SL_XDP_LAYOUT_REVISION,
		SL_XDP_WAYS,
		SL_XDP_CHOICES,
		SL_XDP_CHUNK_SLOTS,
		SL_XDP_CHUNK_MEMBERS,
		SL_TICKS_PER_SEC,
		SL_N_VERDICTS,
		SL_N_EVENTS,
		SL_N_TIMEOUTS,
		SL_N_FLOW_STATES,
		SL_ADJACENCY_FIRST,
		sizeof(struct sl_flow_ipv4),
		sizeof(struct sl_flow_ipv6),
		offsetof(struct sl_flow, sequence),
		offsetof(struct sl_flow, last_seen),
		offsetof(struct sl_flow, client_adjacency),
		sizeof(struct sl_service),
		offsetof(struct sl_service, timeout_ticks),
		sizeof(struct sl_backend),
		offsetof(struct sl_backend, port),
		sizeof(struct sl_adjacency),
		sizeof(struct sl_xdp_cpu),
		sizeof(struct sl_xdp_control),
		sizeof(struct sl_xdp_usage),
		sizeof(union sl_xdp_chunk),
		sizeof(struct sl_service_counters),
		sizeof(struct sl_backend_counters),
		sizeof(struct sl_backend_openings),
		sizeof(struct sl_xdp_reply4),
		sizeof(struct sl_xdp_reply6),
	};

	return wire_digest(sizes, sizeof(sizes)) + wire_abi_hash();
}

static int open_folder(struct dataplane *dataplane, char *error)
{
	struct statfs status;
	int length = snprintf(dataplane->folder, sizeof(dataplane->folder), "%s/bpf",
			      dataplane->options.run_dir);

	if (length < 0 || (size_t)length >= sizeof(dataplane->folder)) {
		snprintf(error, SL_MAX_ERROR, "run_dir: longer than %zu bytes",
			 sizeof(dataplane->folder) - 5);
		return -ENAMETOOLONG;
	}
	if (mkdir(dataplane->folder, 0700) != 0 && errno != EEXIST) {
		snprintf(error, SL_MAX_ERROR, "%.100s: %s", dataplane->folder, strerror(errno));
		return -errno;
	}
	if (statfs(dataplane->folder, &status) == 0 && status.f_type == BPF_FS_MAGIC)
		return 0;
	if (mount("bpf", dataplane->folder, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700") !=
	    0) {
		snprintf(error, SL_MAX_ERROR, "%.100s: mount of a bpffs: %s", dataplane->folder,
			 strerror(errno));
		return -errno;
	}
	log_info("mounted a bpffs at %s", dataplane->folder);
	return 0;
}

struct path {
	char text[800];
};

static struct path pin_path(const struct dataplane *dataplane, const char *prefix, const char *name)
{
	struct path path;

	snprintf(path.text, sizeof(path.text), "%s/%s%s", dataplane->folder, prefix, name);
	for (char *c = path.text + strlen(dataplane->folder) + 1; *c != '\0'; c++)
		if (*c == '.' || *c == '/') /* a bpffs refuses names with a dot */
			*c = '_';
	return path;
}

/* Removes all pins but those of links: what they hold goes when the next program takes over. */
static void remove_tables(const struct dataplane *dataplane)
{
	struct bpf_map *map;

	for (map = bpf_object__next_map(dataplane->bpf->obj, NULL); map != NULL;
	     map = bpf_object__next_map(dataplane->bpf->obj, map))
		unlink(pin_path(dataplane, "", bpf_map__name(map)).text);
	unlink(pin_path(dataplane, "", "layout").text);
	unlink(pin_path(dataplane, "", "state").text);
	unlink(pin_path(dataplane, "", "state_new").text);
}

/* Compares the layout of pinned tables with ours; makes the pin if there is none. */
static int judge_layout(struct dataplane *dataplane, char *error)
{
	struct path path = pin_path(dataplane, "", "layout");
	int map = bpf_obj_get(path.text);
	uint64_t wanted = layout_hash();
	uint64_t found = 0;
	uint32_t zero = 0;
	int status = 0;

	dataplane->is_adopted = map >= 0;
	if (map < 0) {
		map = bpf_map_create(BPF_MAP_TYPE_ARRAY, "layout", 4, 8, 1, NULL);
		if (map < 0 || bpf_map_update_elem(map, &zero, &wanted, 0) != 0 ||
		    bpf_obj_pin(map, path.text) != 0) {
			snprintf(error, SL_MAX_ERROR, "layout of the tables: %s", strerror(errno));
			status = -errno;
		}
	} else if (bpf_map_lookup_elem(map, &zero, &found) != 0 || found != wanted) {
		snprintf(error, SL_MAX_ERROR,
			 "tables in %.80s have layout %016llx (this program: %016llx): run the "
			 "version "
			 "that made them, or give up their flows with --fresh",
			 dataplane->folder, (unsigned long long)found, (unsigned long long)wanted);
		status = -ESTALE;
	}
	if (map >= 0)
		close(map);
	return status;
}

static uint32_t n_entries_for(uint32_t n_flows)
{
	uint32_t n_buckets =
		(n_flows / 2 * ENTRIES_PER_2_FLOWS + ENTRIES_PER_2_FLOWS + SL_XDP_WAYS - 1) /
		SL_XDP_WAYS;

	return n_buckets * SL_XDP_WAYS;
}

static int set_sizes(struct dataplane *dataplane, char *error)
{
	struct sluice_bpf *bpf = dataplane->bpf;
	uint64_t n_flows = (uint64_t)dataplane->options.n_flows * dataplane->options.n_workers;

	if (n_flows > SL_MAX_FLOWS) {
		snprintf(error, SL_MAX_ERROR, "flows: %llu for all workers (limit %d)",
			 (unsigned long long)n_flows, SL_MAX_FLOWS);
		return -ENOSPC;
	}
	dataplane->max_flows = (uint32_t)n_flows;
	dataplane->n_entries = n_entries_for(dataplane->max_flows);
	bpf->rodata->n_buckets4 = dataplane->n_entries / SL_XDP_WAYS;
	bpf->rodata->n_buckets6 = dataplane->n_entries / SL_XDP_WAYS;
	bpf->rodata->max_flows = dataplane->max_flows;
	bpf->rodata->max_embryonic = dataplane->max_flows / 8 > 0 ? dataplane->max_flows / 8 : 1;
	bpf->rodata->loopback_ifindex = if_nametoindex("lo");
	if (bpf_map__set_max_entries(bpf->maps.flows4, dataplane->n_entries) != 0 ||
	    bpf_map__set_max_entries(bpf->maps.flows6, dataplane->n_entries) != 0 ||
	    bpf_map__set_max_entries(bpf->maps.affinities, dataplane->options.n_affinities) != 0 ||
	    bpf_map__set_max_entries(bpf->maps.replies4, dataplane->max_flows) != 0 ||
	    bpf_map__set_max_entries(bpf->maps.replies6, dataplane->max_flows) != 0)
		return -EINVAL;
	return 0;
}

/* Affinity entries of a table of another size are given up, and nothing else: flows are dearer. */
static void judge_affinities(const struct dataplane *dataplane)
{
	struct path path = pin_path(dataplane, "", bpf_map__name(dataplane->bpf->maps.affinities));
	struct bpf_map_info info = {0};
	uint32_t length = sizeof(info);
	int map = bpf_obj_get(path.text);

	if (map < 0)
		return;
	if (bpf_obj_get_info_by_fd(map, &info, &length) == 0 &&
	    info.max_entries != dataplane->options.n_affinities) {
		log_warn("affinities: %u, and were %u: the table begins empty",
			 dataplane->options.n_affinities, info.max_entries);
		unlink(path.text);
	}
	close(map);
}

static int set_pins(struct dataplane *dataplane)
{
	struct bpf_map *map;

	for (map = bpf_object__next_map(dataplane->bpf->obj, NULL); map != NULL;
	     map = bpf_object__next_map(dataplane->bpf->obj, map)) {
		const char *name = bpf_map__name(map);

		if (is_pinned(name) &&
		    bpf_map__set_pin_path(map, pin_path(dataplane, "", name).text) != 0)
			return -errno;
	}
	return 0;
}

static int map_one(struct mapped *mapped, const struct bpf_map *map, int protection)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	mapped->size = (size_t)bpf_map__max_entries(map) * bpf_map__value_size(map);
	mapped->size = (mapped->size + page - 1) / page * page;
	mapped->at = mmap(NULL, mapped->size, protection, MAP_SHARED, bpf_map__fd(map), 0);
	if (mapped->at == MAP_FAILED) {
		mapped->at = NULL;
		return -errno;
	}
	return 0;
}

static int map_all(struct dataplane *dataplane)
{
	const struct sluice_bpf *bpf = dataplane->bpf;
	int status = map_one(&dataplane->ports, bpf->maps.ports, PROT_READ | PROT_WRITE);

	if (status == 0)
		status = map_one(&dataplane->services, bpf->maps.services, PROT_READ | PROT_WRITE);
	if (status == 0)
		status = map_one(&dataplane->backends, bpf->maps.backends, PROT_READ | PROT_WRITE);
	if (status == 0)
		status = map_one(&dataplane->source_flows, bpf->maps.source_flows, PROT_READ);
	if (status == 0)
		status = map_one(&dataplane->openings, bpf->maps.backend_openings, PROT_READ);
	if (status == 0)
		status = map_one(&dataplane->loads, bpf->maps.loads, PROT_READ | PROT_WRITE);
	if (status == 0)
		status = map_one(&dataplane->affinity_rules, bpf->maps.affinity_rules,
				 PROT_READ | PROT_WRITE);
	if (status == 0)
		status = map_one(&dataplane->flows4, bpf->maps.flows4, PROT_READ);
	if (status == 0)
		status = map_one(&dataplane->flows6, bpf->maps.flows6, PROT_READ);
	return status;
}

/* libbpf's own words, kept for the debug level; its errors come back as numbers that we explain. */
static int on_libbpf(enum libbpf_print_level level, const char *format, va_list values)
{
	char text[512];

	if (level == LIBBPF_DEBUG)
		return 0;
	vsnprintf(text, sizeof(text), format, values);
	text[strcspn(text, "\n")] = '\0';
	log_debug("%s", text);
	return 0;
}

/* Makes the tables, or takes those that are pinned. */
static int make_tables(struct dataplane *dataplane, char *error)
{
	struct bpf_object *object = dataplane->bpf->obj;
	struct bpf_program *program;
	int status = 0;

	for (program = bpf_object__next_program(object, NULL); program != NULL && status == 0;
	     program = bpf_object__next_program(object, program))
		status = bpf_program__set_autoload(program, false);
	if (status == 0)
		status = sluice_bpf__load(dataplane->bpf);
	if (status == 0)
		return 0;
	if (dataplane->is_adopted && status == -EINVAL)
		snprintf(
			error, SL_MAX_ERROR,
			"tables in %.80s have other sizes than dataplane.flows %u asks for: set it "
			"back, or give up their flows with --fresh",
			dataplane->folder, dataplane->options.n_flows);
	else
		snprintf(error, SL_MAX_ERROR,
			 "the kernel refuses the tables: %s (Linux 5.18 or later with BPF is "
			 "needed; --log-level debug says more)",
			 strerror(-status));
	return status;
}

/*
 * The main program ends in others by way of this map, which must be pinned for as long as a port has
 * that program. Each process has its own, for its own programs: the pin's name is the map's number.
 */
static struct path programs_path(const struct dataplane *dataplane)
{
	struct bpf_map_info info = {0};
	uint32_t length = sizeof(info);
	char number[16];

	if (bpf_obj_get_info_by_fd(bpf_map__fd(dataplane->bpf->maps.programs), &info, &length) != 0)
		info.id = 0;
	snprintf(number, sizeof(number), "%u", info.id);
	return pin_path(dataplane, PROGRAMS_PIN, number);
}

static int pin_programs(struct dataplane *dataplane, char *error)
{
	struct path path = programs_path(dataplane);

	/* Numbers come again after long: then the pin is nobody's. */
	unlink(path.text);
	if (bpf_obj_pin(bpf_map__fd(dataplane->bpf->maps.programs), path.text) == 0)
		return 0;
	snprintf(error, SL_MAX_ERROR, "%.200s: %s", path.text, strerror(errno));
	return -errno;
}

/* As a number of its own for every start of the tables, like the DPDK engine's. */
static int init_tables(struct dataplane *dataplane)
{
	struct sl_hash_key key;

	/* A former process may have died while a capture was on. */
	dataplane->control->is_capturing = 0;
	if (dataplane->is_adopted &&
	    (dataplane->control->flow_key.word[0] | dataplane->control->flow_key.word[1]) != 0)
		return 0;
	if (getrandom(&key, sizeof(key), 0) != sizeof(key))
		return -errno;
	dataplane->control->flow_key = key;
	return 0;
}

int loader_open(struct dataplane *dataplane, char *error)
{
	int status = open_folder(dataplane, error);

	if (status != 0)
		return status;
	libbpf_set_print(on_libbpf);
	dataplane->bpf = programs_open();
	if (dataplane->bpf == NULL) {
		snprintf(error, SL_MAX_ERROR, "program: %s", strerror(errno));
		return -errno;
	}
	if (dataplane->options.is_fresh)
		remove_tables(dataplane);
	status = judge_layout(dataplane, error);
	if (status == 0)
		status = set_sizes(dataplane, error);
	if (status == 0) {
		judge_affinities(dataplane);
		status = set_pins(dataplane);
	}
	if (status == 0)
		status = make_tables(dataplane, error);
	if (status != 0)
		return status;
	dataplane->control = &dataplane->bpf->data_control->control;
	dataplane->usage = &dataplane->bpf->data_usage->usage;
	status = map_all(dataplane);
	return status != 0 ? status : init_tables(dataplane);
}

int loader_load(struct dataplane *dataplane, char *error)
{
	int status = programs_load(&dataplane->programs, dataplane->bpf, error);

	if (status == 0)
		status = pin_programs(dataplane, error);
	if (status != 0 && !dataplane->is_adopted)
		remove_tables(dataplane);
	return status;
}

static void unmap(struct mapped *mapped)
{
	if (mapped->at != NULL)
		munmap(mapped->at, mapped->size);
	mapped->at = NULL;
}

void loader_close(struct dataplane *dataplane)
{
	unmap(&dataplane->ports);
	unmap(&dataplane->services);
	unmap(&dataplane->backends);
	unmap(&dataplane->source_flows);
	unmap(&dataplane->openings);
	unmap(&dataplane->loads);
	unmap(&dataplane->affinity_rules);
	unmap(&dataplane->flows4);
	unmap(&dataplane->flows6);
	for (uint32_t i = 0; i < dataplane->n_ports; i++)
		if (dataplane->port[i].link >= 0)
			close(dataplane->port[i].link);
	programs_close(&dataplane->programs);
	sluice_bpf__destroy(dataplane->bpf);
}

int loader_ask(int program, void *question, uint32_t size)
{
	LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = question, .data_size_in = size,
		    .data_out = question, .data_size_out = size, .repeat = 1);
	int status = bpf_prog_test_run_opts(program, &options);

	if (status != 0)
		return -errno;
	return options.retval == XDP_PASS ? 0 : -EIO;
}

/* -- ports */

/* A factor under which no two ports have one place. */
static bool find_factor(const struct dataplane *dataplane, uint32_t *factor)
{
	for (uint32_t try = 0; try < 100000; try++) {
		uint64_t taken[SL_XDP_PORT_PLACES / 64] = {0};
		uint32_t candidate = 0x9e3779b1u + 2 * try;
		bool is_good = true;

		for (uint32_t i = 0; i < dataplane->n_ports && is_good; i++) {
			uint32_t place = dataplane->port[i].ifindex * candidate >> 24;

			is_good = dataplane->port[i].ifindex == 0 ||
				  (taken[place / 64] >> (place % 64) & 1) == 0;
			taken[place / 64] |= 1ull << (place % 64);
		}
		if (is_good) {
			*factor = candidate;
			return true;
		}
	}
	return false;
}

int loader_write_ports(struct dataplane *dataplane)
{
	struct sl_xdp_port *table = dataplane->ports.at;
	struct sl_xdp_port wanted[SL_XDP_PORT_PLACES] = {{0}};
	uint32_t factor;

	if (!find_factor(dataplane, &factor))
		return -ENOSPC;
	for (uint32_t i = 0; i < dataplane->n_ports; i++) {
		const struct port *port = &dataplane->port[i];
		uint32_t device = port->ifindex;
		struct sl_xdp_port *place = &wanted[device * factor >> 24];

		if (device == 0)
			continue;
		*place = (struct sl_xdp_port){
			.ifindex = device, .index = (uint16_t)i, .is_veth = port->is_veth};
		memcpy(place->mac, port->mac, 6);
		__atomic_store_n(&dataplane->control->port_mtu[i], port->mtu, __ATOMIC_RELAXED);
		if (bpf_map_update_elem(bpf_map__fd(dataplane->bpf->maps.port_devices), &i, &device,
					0) != 0)
			return -errno;
	}
	/* The same factor as long as the ports are the same: then nothing changes under the program. */
	if (memcmp(table, wanted, sizeof(wanted)) != 0)
		memcpy(table, wanted, sizeof(wanted));
	__atomic_store_n(&dataplane->control->port_factor, factor, __ATOMIC_RELEASE);
	return 0;
}

/* The pinned attachment of @port if it still is that of its interface; -1: it is not. */
static int open_link(const struct port *port, const char *path)
{
	struct bpf_link_info info = {0};
	uint32_t length = sizeof(info);
	int link = bpf_obj_get(path);

	if (link < 0 || (bpf_obj_get_info_by_fd(link, &info, &length) == 0 &&
			 info.type == BPF_LINK_TYPE_XDP && info.xdp.ifindex == port->ifindex))
		return link;
	close(link);
	return -1;
}

/* Puts our program into the pinned attachment of @port. */
static int take_over_link(const struct dataplane *dataplane, struct port *port, const char *path)
{
	int link = open_link(port, path);

	if (link >= 0 &&
	    bpf_link_update(link, dataplane->programs.fd[PROGRAM_BALANCE], NULL) == 0) {
		port->link = link;
		return 0;
	}
	/* Of an interface that is gone: another may have its name. */
	if (link >= 0)
		close(link);
	unlink(path);
	return -ENOENT;
}

/* The program that is on the port, by its id and name; refused unless it may be taken off. */
static int find_other(const struct dataplane *dataplane, const struct port *port,
		      struct bpf_prog_info *other, char *error)
{
	LIBBPF_OPTS(bpf_xdp_query_opts, query);
	uint32_t length = sizeof(*other);
	int program;

	*other = (struct bpf_prog_info){0};
	if (bpf_xdp_query((int)port->ifindex, 0, &query) != 0 || query.prog_id == 0)
		return 0;
	program = bpf_prog_get_fd_by_id(query.prog_id);
	if (program >= 0) {
		bpf_obj_get_info_by_fd(program, other, &length);
		close(program);
	}
	other->id = query.prog_id;
	if (dataplane->options.is_replacing)
		return 0;
	snprintf(error, SL_MAX_ERROR,
		 "port %s: XDP program %u (\"%s\") is attached; --replace takes it off",
		 port->options.name, other->id, other->name);
	return -EBUSY;
}

int loader_judge_ports(const struct dataplane *dataplane, char *error)
{
	int status = 0;

	for (uint32_t i = 0; i < dataplane->n_ports && status == 0; i++) {
		const struct port *port = &dataplane->port[i];
		struct bpf_prog_info other;
		int link = open_link(port, pin_path(dataplane, "link_", port->options.device).text);

		if (link >= 0)
			close(link);
		else
			status = find_other(dataplane, port, &other, error);
	}
	return status;
}

/* Takes the program that is on the port off it, or says whose it is. */
static int make_room(const struct dataplane *dataplane, const struct port *port, char *error)
{
	struct bpf_prog_info other;
	int status = find_other(dataplane, port, &other, error);

	if (status != 0 || other.id == 0)
		return status;
	log_warn("port %s: XDP program %u (\"%s\") is taken off", port->options.name, other.id,
		 other.name);
	if (bpf_xdp_detach((int)port->ifindex, 0, NULL) == 0)
		return 0;
	/*
	 * Attached by a link: only that can let go. Interfaces of other namespaces have the same numbers,
	 * and the kernel does not say whose a link is: only a link of the very program is this one.
	 */
	for (uint32_t id = 0; bpf_link_get_next_id(id, &id) == 0;) {
		struct bpf_link_info found = {0};
		uint32_t size = sizeof(found);
		int link = bpf_link_get_fd_by_id(id);

		if (link < 0)
			continue;
		if (bpf_obj_get_info_by_fd(link, &found, &size) == 0 &&
		    found.type == BPF_LINK_TYPE_XDP && found.xdp.ifindex == port->ifindex &&
		    found.prog_id == other.id)
			bpf_link_detach(link);
		close(link);
	}
	return 0;
}

static bool is_generic(const struct port *port)
{
	LIBBPF_OPTS(bpf_xdp_query_opts, query);

	return bpf_xdp_query((int)port->ifindex, 0, &query) == 0 &&
	       query.attach_mode == XDP_ATTACHED_SKB;
}

int loader_attach(struct dataplane *dataplane, struct port *port, char *error)
{
	struct path path = pin_path(dataplane, "link_", port->options.device);
	int program = dataplane->programs.fd[PROGRAM_BALANCE];
	LIBBPF_OPTS(bpf_link_create_opts, options, .flags = XDP_FLAGS_DRV_MODE);
	int status;

	if (port->link >= 0)
		close(port->link);
	port->link = -1;
	if (take_over_link(dataplane, port, path.text) == 0) {
		port->is_generic = is_generic(port);
		if (port->is_generic || !dataplane->is_all_generic)
			return 0;
		bpf_link_detach(port->link);
		close(port->link);
		unlink(path.text);
	}
	status = make_room(dataplane, port, error);
	if (status != 0)
		return status;
	if (dataplane->is_all_generic)
		options.flags = XDP_FLAGS_SKB_MODE;
	port->link = bpf_link_create(program, (int)port->ifindex, BPF_XDP, &options);
	port->is_generic = dataplane->is_all_generic;
	if (port->link < 0 && !port->is_generic &&
	    (errno == EOPNOTSUPP || errno == ENOTSUP || errno == EINVAL)) {
		log_warn("port %s: its driver has no native XDP, generic mode is slower",
			 port->options.name);
		options.flags = XDP_FLAGS_SKB_MODE;
		port->link = bpf_link_create(program, (int)port->ifindex, BPF_XDP, &options);
		port->is_generic = true;
	}
	if (port->link < 0 || bpf_obj_pin(port->link, path.text) != 0) {
		status = -errno;
		snprintf(error, SL_MAX_ERROR, "port %s: attachment: %s", port->options.name,
			 strerror(errno));
		return status;
	}
	return 0;
}

/* Lets go of all ports but the first @n_kept of the configuration. How many those were. */
static uint32_t release_ports(const struct dataplane *dataplane, uint32_t n_kept)
{
	DIR *folder = opendir(dataplane->folder);
	const struct dirent *entry;
	uint32_t n = 0;

	while (folder != NULL && (entry = readdir(folder)) != NULL) {
		struct path path;
		bool is_kept = strncmp(entry->d_name, "link_", 5) != 0;

		for (uint32_t i = 0; i < n_kept && !is_kept; i++) {
			path = pin_path(dataplane, "link_", dataplane->options.port[i].device);
			is_kept = strcmp(strrchr(path.text, '/') + 1, entry->d_name) == 0;
		}
		path = pin_path(dataplane, "", entry->d_name);
		if (is_kept || unlink(path.text) != 0)
			continue;
		log_info("port %s: its attachment is removed", entry->d_name + 5);
		n++;
	}
	if (folder != NULL)
		closedir(folder);
	return n;
}

/* Removes the pins of programs in which no port's main program ends any more: all but @kept. */
static void release_programs(const struct dataplane *dataplane, const char *kept)
{
	DIR *folder = opendir(dataplane->folder);
	const struct dirent *entry;

	/* Main programs that were replaced a moment ago run to their ends first, for an RCU period. */
	(void)syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0);
	while (folder != NULL && (entry = readdir(folder)) != NULL) {
		struct path path = pin_path(dataplane, "", entry->d_name);

		if (strncmp(entry->d_name, PROGRAMS_PIN, strlen(PROGRAMS_PIN)) == 0 &&
		    strcmp(path.text, kept) != 0)
			unlink(path.text);
	}
	if (folder != NULL)
		closedir(folder);
}

void loader_release_others(const struct dataplane *dataplane)
{
	release_ports(dataplane, dataplane->n_ports);
	release_programs(dataplane, programs_path(dataplane).text);
}

/* -- saved state: a blob in an array of blocks, replaced whole by a rename */

static int pin_state(const struct dataplane *dataplane, int map)
{
	struct path fresh = pin_path(dataplane, "", "state_new");
	struct path path = pin_path(dataplane, "", "state");

	unlink(fresh.text);
	if (bpf_obj_pin(map, fresh.text) != 0 || rename(fresh.text, path.text) != 0)
		return -errno;
	return 0;
}

int loader_write_state(struct dataplane *dataplane, const struct staging *staging,
		       const struct snapshot *snapshot)
{
	LIBBPF_OPTS(bpf_map_create_opts, options, .map_flags = BPF_F_MMAPABLE);
	size_t size = staging_dump_size(staging);
	uint32_t n_blocks = (uint32_t)((size + STATE_BLOCK - 1) / STATE_BLOCK);
	int map = bpf_map_create(BPF_MAP_TYPE_ARRAY, "sluice_state", 4, STATE_BLOCK, n_blocks,
				 &options);
	void *at;
	int status;

	if (map < 0)
		return -errno;
	at = mmap(NULL, (size_t)n_blocks * STATE_BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED, map, 0);
	if (at == MAP_FAILED) {
		status = -errno;
	} else {
		staging_dump(staging, snapshot->generation, &snapshot->hash_key, at);
		munmap(at, (size_t)n_blocks * STATE_BLOCK);
		status = pin_state(dataplane, map);
	}
	close(map);
	return status;
}

void *loader_read_state(const struct dataplane *dataplane, size_t *size)
{
	int map = bpf_obj_get(pin_path(dataplane, "", "state").text);
	struct bpf_map_info info = {0};
	uint32_t length = sizeof(info);
	void *state = NULL;
	void *at;

	if (map < 0)
		return NULL;
	if (bpf_obj_get_info_by_fd(map, &info, &length) == 0 && info.value_size == STATE_BLOCK) {
		*size = (size_t)info.max_entries * STATE_BLOCK;
		at = mmap(NULL, *size, PROT_READ, MAP_SHARED, map, 0);
		state = at != MAP_FAILED ? malloc(*size) : NULL;
		if (state != NULL)
			memcpy(state, at, *size);
		if (at != MAP_FAILED)
			munmap(at, *size);
	}
	close(map);
	return state;
}

/* Removes every pin of ours; the ports are free when the links are gone. */
int dataplane_unload(const struct dataplane_options *options, char *error)
{
	struct dataplane dataplane = {.options = *options};
	struct statfs status;
	uint32_t n;

	snprintf(dataplane.folder, sizeof(dataplane.folder), "%s/bpf", options->run_dir);
	if (statfs(dataplane.folder, &status) != 0 || status.f_type != BPF_FS_MAGIC) {
		snprintf(error, SL_MAX_ERROR, "unload: nothing is pinned in %.100s",
			 dataplane.folder);
		return -ENOENT;
	}
	dataplane.bpf = programs_open();
	if (dataplane.bpf == NULL)
		return -ENOMEM;
	n = release_ports(&dataplane, 0);
	release_programs(&dataplane, "");
	remove_tables(&dataplane);
	sluice_bpf__destroy(dataplane.bpf);
	log_info("unload: %u ports are free, the tables are gone", n);
	if (umount(dataplane.folder) == 0)
		rmdir(dataplane.folder);
	return 0;
}
