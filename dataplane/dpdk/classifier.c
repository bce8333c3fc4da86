/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * The XDP classifier of a kernel interface. net_af_xdp loads and attaches the program that we name;
 * this file gives it the object, finds the map of the attached program by id, and keeps the map
 * equal to the addresses of the snapshot. A classifier that a dead dataplane left behind is
 * replaced, its addresses carried over; a program of somebody else is refused.
 *
 * The only file of the engine that speaks to libbpf.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/if_link.h>
#include <sys/mman.h>

#include <sluice/steer.h>

#include "classify.bpf.h"
#include "dataplane/dpdk/engine.h"
#include "log/log.h"

struct steered {
	struct sl_steer_key key;
	uint32_t roles;
};

struct steered_list {
	struct steered *steered;
	size_t n;
	size_t capacity;
};

struct prefix_list {
	struct sl_steer_prefix *prefix;
	size_t n;
};

struct classifier {
	int object; /* memory file with the program, named by path */
	char path[32];
	int map;                       /* the attached program's, -1 before it is */
	struct steered_list installed; /* sorted, what the map holds */
	int inside;                    /* likewise the map of prefixes */
	struct prefix_list prefixes;   /* what it holds */
};

static int compare_steered(const void *left, const void *right)
{
	const struct steered *a = left;
	const struct steered *b = right;

	return memcmp(&a->key, &b->key, sizeof(a->key));
}

static void list_add(struct steered_list *list, const union sl_addr *addr, uint32_t family,
		     uint32_t roles)
{
	if (list->n == list->capacity) {
		size_t capacity = list->capacity != 0 ? list->capacity * 2 : 64;
		struct steered *grown = realloc(list->steered, capacity * sizeof(*grown));

		if (grown == NULL) {
			log_err("classifier: out of memory for %zu addresses", capacity);
			return;
		}
		list->steered = grown;
		list->capacity = capacity;
	}
	list->steered[list->n] = (struct steered){.roles = roles};
	list->steered[list->n].key.addr = *addr;
	list->steered[list->n++].key.family = family;
}

/* Sorts, and joins the roles of one address. */
static void list_settle(struct steered_list *list)
{
	size_t kept = 0;

	if (list->n == 0)
		return;
	qsort(list->steered, list->n, sizeof(*list->steered), compare_steered);
	for (size_t i = 1; i < list->n; i++) {
		if (compare_steered(&list->steered[kept], &list->steered[i]) == 0)
			list->steered[kept].roles |= list->steered[i].roles;
		else
			list->steered[++kept] = list->steered[i];
	}
	list->n = kept + 1;
}

/* The map @wanted of program @program_id, whose @name is found, too; or a negative errno. */
static int map_of_program(uint32_t program_id, const char *wanted, char name[BPF_OBJ_NAME_LEN])
{
	uint32_t map_id[16] = {0};
	struct bpf_prog_info info = {.nr_map_ids = SL_ARRAY_LEN(map_id)};
	uint32_t length = sizeof(info);
	int program = bpf_prog_get_fd_by_id(program_id);
	int found = -ENOENT;

	if (program < 0)
		return -errno;
	info.map_ids = (uint64_t)(uintptr_t)map_id;
	if (bpf_obj_get_info_by_fd(program, &info, &length) != 0) {
		close(program);
		return -errno;
	}
	memcpy(name, info.name, BPF_OBJ_NAME_LEN);
	for (uint32_t i = 0; i < info.nr_map_ids && found < 0; i++) {
		struct bpf_map_info map_info = {0};
		uint32_t map_length = sizeof(map_info);
		int map = bpf_map_get_fd_by_id(map_id[i]);

		if (map < 0)
			continue;
		if (bpf_obj_get_info_by_fd(map, &map_info, &map_length) == 0 &&
		    strcmp(map_info.name, wanted) == 0)
			found = map;
		else
			close(map);
	}
	close(program);
	return found;
}

static void list_read(struct steered_list *list, int map)
{
	struct sl_steer_key key;
	struct sl_steer_key *previous = NULL;

	while (bpf_map_get_next_key(map, previous, &key) == 0 && list->n < SL_MAX_STEERED) {
		uint32_t roles;

		if (bpf_map_lookup_elem(map, &key, &roles) == 0)
			list_add(list, &key.addr, key.family, roles);
		previous = &key;
	}
	list_settle(list);
}

/* What the map of prefixes of a former dataplane holds. */
static void prefixes_read(struct prefix_list *list, int map)
{
	struct sl_steer_prefix key;
	struct sl_steer_prefix *previous = NULL;

	list->prefix = calloc(SL_MAX_SERVICES, sizeof(*list->prefix));
	while (list->prefix != NULL && list->n < SL_MAX_SERVICES &&
	       bpf_map_get_next_key(map, previous, &key) == 0) {
		list->prefix[list->n] = key;
		previous = &list->prefix[list->n++];
	}
}

static void prefixes_install(int map, const struct prefix_list *list)
{
	const uint32_t value = 1;

	for (size_t i = 0; i < list->n; i++)
		if (bpf_map_update_elem(map, &list->prefix[i], &value, BPF_ANY) != 0)
			log_err("classifier: a prefix was not installed: %s", strerror(errno));
}

static bool prefixes_have(const struct prefix_list *list, const struct sl_steer_prefix *prefix)
{
	for (size_t i = 0; i < list->n; i++)
		if (memcmp(&list->prefix[i], prefix, sizeof(*prefix)) == 0)
			return true;
	return false;
}

static int write_object(struct classifier *classifier)
{
	const uint8_t *at = classify_bpf_object;
	size_t left = classify_bpf_object_size;

	classifier->object = memfd_create("sluice-classifier", MFD_CLOEXEC);
	if (classifier->object < 0)
		return -errno;
	while (left > 0) {
		ssize_t n = write(classifier->object, at, left);

		if (n <= 0)
			return -EIO;
		at += n;
		left -= (size_t)n;
	}
	snprintf(classifier->path, sizeof(classifier->path), "/proc/self/fd/%d",
		 classifier->object);
	return 0;
}

/* Refuses the program @name on the port; the way out of the other engine's is not ip's. */
static int refuse_program(const struct port *port, uint32_t id, const char *name, char *error)
{
	const char *device = port->options.name;

	if (strcmp(name, SL_BALANCER_PROGRAM) == 0)
		snprintf(error, SL_MAX_ERROR,
			 "port %s: the XDP engine's program is attached: %s, id %u (take it off "
			 "with: "
			 "sluice-xdp --unload)",
			 device, name, id);
	else
		snprintf(error, SL_MAX_ERROR,
			 "port %s: another XDP program is attached: %s, id %u (remove it with: ip "
			 "link "
			 "set dev %s xdp off)",
			 device, name, id, device);
	return -EBUSY;
}

/* Detaches what a former dataplane left, and keeps its addresses. */
static int take_over(struct port *port, char *error)
{
	struct classifier *classifier = port->classifier;
	char name[BPF_OBJ_NAME_LEN] = "";
	uint32_t program_id = 0;
	int map;

	if (bpf_xdp_query_id((int)port->ifindex, 0, &program_id) != 0 || program_id == 0)
		return 0;
	map = map_of_program(program_id, SL_CLASSIFIER_MAP, name);
	if (map < 0 || strcmp(name, SL_CLASSIFIER_PROGRAM) != 0) {
		if (map >= 0)
			close(map);
		return refuse_program(port, program_id, name, error);
	}
	list_read(&classifier->installed, map);
	close(map);
	map = map_of_program(program_id, SL_CLASSIFIER_INSIDE, name);
	if (map >= 0) {
		prefixes_read(&classifier->prefixes, map);
		close(map);
	}
	log_info("port %s: replacing the classifier of a former dataplane, %zu addresses kept",
		 port->options.name, classifier->installed.n);
	if (bpf_xdp_detach((int)port->ifindex, 0, NULL) != 0) {
		snprintf(error, SL_MAX_ERROR, "port %s: detaching XDP program %u: %s",
			 port->options.name, program_id, strerror(errno));
		return -errno;
	}
	return 0;
}

int classifier_prepare(struct port *port, char *error)
{
	int status;

	port->classifier = calloc(1, sizeof(*port->classifier));
	if (port->classifier == NULL)
		return -ENOMEM;
	port->classifier->map = -1;
	port->classifier->inside = -1;
	port->classifier->object = -1;
	status = write_object(port->classifier);
	if (status != 0) {
		snprintf(error, SL_MAX_ERROR, "port %s: classifier: %s", port->options.name,
			 strerror(-status));
		return status;
	}
	return take_over(port, error);
}

const char *classifier_path(const struct port *port)
{
	return port->classifier->path;
}

int classifier_adopt(struct port *port, char *error)
{
	struct classifier *classifier = port->classifier;
	char name[BPF_OBJ_NAME_LEN] = "";
	uint32_t program_id = 0;

	if (bpf_xdp_query_id((int)port->ifindex, 0, &program_id) == 0 && program_id != 0)
		classifier->map = map_of_program(program_id, SL_CLASSIFIER_MAP, name);
	if (classifier->map >= 0)
		classifier->inside = map_of_program(program_id, SL_CLASSIFIER_INSIDE, name);
	if (classifier->map < 0 || classifier->inside < 0) {
		snprintf(error, SL_MAX_ERROR, "port %s: the classifier was not attached",
			 port->options.name);
		return -ENOENT;
	}
	for (size_t i = 0; i < classifier->installed.n; i++)
		bpf_map_update_elem(classifier->map, &classifier->installed.steered[i].key,
				    &classifier->installed.steered[i].roles, BPF_ANY);
	prefixes_install(classifier->inside, &classifier->prefixes);
	return 0;
}

/* Writes the difference of two sorted lists into the map. */
static void install(struct classifier *classifier, const struct steered_list *wanted)
{
	const struct steered_list *installed = &classifier->installed;
	size_t i = 0;
	size_t j = 0;

	while (i < installed->n || j < wanted->n) {
		int order = i >= installed->n ? 1
			    : j >= wanted->n
				    ? -1
				    : compare_steered(&installed->steered[i], &wanted->steered[j]);

		if (order < 0) {
			bpf_map_delete_elem(classifier->map, &installed->steered[i++].key);
			continue;
		}
		if ((order > 0 || installed->steered[i].roles != wanted->steered[j].roles) &&
		    bpf_map_update_elem(classifier->map, &wanted->steered[j].key,
					&wanted->steered[j].roles, BPF_ANY) != 0)
			log_err("classifier: an address was not installed: %s", strerror(errno));
		i += order == 0;
		j++;
	}
}

/* The clients of mode snat. New ones count before former ones go. */
static void update_prefixes(struct classifier *classifier, const struct snapshot *snapshot)
{
	struct prefix_list wanted = {
		.prefix = calloc(snapshot->n_services + 1, sizeof(*wanted.prefix))};

	for (uint32_t i = 0; wanted.prefix != NULL && i < snapshot->n_services; i++) {
		const struct sl_service *service = &snapshot->service[i];

		if (service->mode == WIRE_MODE_SNAT)
			wanted.prefix[wanted.n++] = (struct sl_steer_prefix){
				.length = SL_STEER_PREFIX_BITS + sl_from_be16(service->port),
				.family = service->family,
				.addr = service->addr};
	}
	prefixes_install(classifier->inside, &wanted);
	for (size_t i = 0; i < classifier->prefixes.n; i++)
		if (!prefixes_have(&wanted, &classifier->prefixes.prefix[i]))
			bpf_map_delete_elem(classifier->inside, &classifier->prefixes.prefix[i]);
	free(classifier->prefixes.prefix);
	classifier->prefixes = wanted;
}

void classifier_update(struct port *port, const struct snapshot *snapshot)
{
	struct classifier *classifier = port->classifier;
	struct steered_list wanted = {0};

	for (uint32_t i = 0; i < snapshot->n_services; i++)
		if (snapshot->service[i].family != SL_FAMILY_NONE &&
		    snapshot->service[i].mode != WIRE_MODE_SNAT)
			list_add(&wanted, &snapshot->service[i].addr, snapshot->service[i].family,
				 SL_STEER_DESTINATION);
	for (uint32_t i = 0; i < snapshot->n_backends; i++)
		if (snapshot->backend[i].family != SL_FAMILY_NONE &&
		    !snapshot->backend[i].is_outside)
			list_add(&wanted, &snapshot->backend[i].addr, snapshot->backend[i].family,
				 SL_STEER_SOURCE);
	for (uint32_t i = 0; i < snapshot->n_services; i++) {
		const struct sl_service *service = &snapshot->service[i];

		for (uint32_t j = 0; j < service->n_sources; j++)
			list_add(&wanted, &snapshot->source[service->first_source + j],
				 service->family,
				 service->mode == WIRE_MODE_SNAT
					 ? SL_STEER_DESTINATION | SL_STEER_ECHO
					 : SL_STEER_DESTINATION);
	}
	list_settle(&wanted);
	install(classifier, &wanted);
	free(classifier->installed.steered);
	classifier->installed = wanted;
	update_prefixes(classifier, snapshot);
}

void classifier_close(struct port *port)
{
	struct classifier *classifier = port->classifier;

	if (classifier == NULL)
		return;
	if (classifier->map >= 0)
		close(classifier->map);
	if (classifier->inside >= 0)
		close(classifier->inside);
	if (classifier->object >= 0)
		close(classifier->object);
	free(classifier->installed.steered);
	free(classifier->prefixes.prefix);
	free(classifier);
	port->classifier = NULL;
}
