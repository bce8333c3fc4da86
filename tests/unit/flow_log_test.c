/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* dataplane/flow_log.c: its lines, what it loses, and files that are moved away. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <jansson.h>

#include "dataplane/flow_log.h"
#include "dataplane/snapshot.h"

static char error[SL_MAX_ERROR];
static char folder[] = "/tmp/flow-log-XXXXXX";
static char path[64];

/** Events that wait, and are taken at once. */
struct queue {
	struct sl_flow_event event[64];
	uint32_t n; /* atomic: set when they are there, 0 when they were taken */
	uint64_t time_ns;
};

static uint32_t take(void *context, struct flow_log *log)
{
	const struct timespec idle = {.tv_nsec = 1000000};
	struct queue *queue = context;
	uint32_t n = __atomic_load_n(&queue->n, __ATOMIC_ACQUIRE);

	for (uint32_t i = 0; i < n; i++)
		flow_log_write(log, &queue->event[i], queue->time_ns);
	if (n == 0)
		nanosleep(&idle, NULL);
	else
		__atomic_store_n(&queue->n, 0, __ATOMIC_RELEASE);
	return n;
}

static void begin(void)
{
	strcpy(folder, "/tmp/flow-log-XXXXXX");
	cr_assert_not_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/flows.jsonl", folder);
}

static void end(void)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -r %s", folder);
	cr_assert_eq(system(command), 0);
}

TestSuite(flow_log, .init = begin, .fini = end);

static struct wire_service service_of(const char *name, uint8_t mode, uint32_t addr, uint16_t port)
{
	struct wire_service service = {
		.address = {.port = sl_to_be16(port), .family = SL_FAMILY_IPV4},
		.mode = mode,
		.scheduler = WIRE_SCHEDULER_MAGLEV,
		.n_slots = 251,
		.flow_log = 1,
	};

	service.address.addr.ipv4 = sl_to_be32(addr);
	service.address.protocol = mode == WIRE_MODE_SNAT ? 0 : SL_PROTOCOL_TCP;
	if (mode != WIRE_MODE_NAT) {
		service.n_sources = 1;
		service.source[0].ipv4 = sl_to_be32(0xcb0071c8);
		service.source_port_first = 1024;
		service.source_port_last = 65535;
	}
	snprintf(service.name, sizeof(service.name), "%s", name);
	return service;
}

/* Of one service, whose index is 0. */
static struct snapshot *snapshot_of(const struct wire_service *service)
{
	const struct sl_hash_key key = {{1, 2}};
	struct staging *staging = staging_new();
	struct snapshot *snapshot = NULL;

	cr_assert_eq(staging_put_service(staging, service, error), 0, "%s", error);
	cr_assert_eq(snapshot_build(staging, 1, &key, NULL, &snapshot, error), 0, "%s", error);
	staging_free(staging);
	return snapshot;
}

static struct sl_flow_event event_of(const struct snapshot *snapshot, enum sl_flow_event_kind kind)
{
	return (struct sl_flow_event){
		.kind = (uint8_t)kind,
		.family = SL_FAMILY_IPV4,
		.protocol = SL_PROTOCOL_TCP,
		.service_epoch = snapshot->service[0].epoch,
		.client_port = SL_BE16(40000),
		.address_port = SL_BE16(80),
		.source_port = SL_BE16(2000),
		.backend_port = SL_BE16(8080),
		.client = {.word = {SL_BE32(0xc6336407)}},
		.address = {.word = {SL_BE32(0xcb00710a)}},
		.source = {.word = {SL_BE32(0xcb0071c8)}},
		.backend = {.word = {SL_BE32(0x0a000002)}},
	};
}

static void put(struct queue *queue, uint32_t n)
{
	__atomic_store_n(&queue->n, n, __ATOMIC_RELEASE);
	while (__atomic_load_n(&queue->n, __ATOMIC_ACQUIRE) != 0)
		usleep(1000);
}

/* The file's lines as JSON; the caller's. */
static json_t *read_lines(const char *from)
{
	json_t *list = json_array();
	char line[2048];
	FILE *file = fopen(from, "re");

	cr_assert_not_null(file, "%s", from);
	while (fgets(line, sizeof(line), file) != NULL) {
		json_t *object = json_loads(line, JSON_REJECT_DUPLICATES, NULL);

		cr_expect_not_null(object, "no JSON: %s", line);
		json_array_append_new(list, object);
	}
	fclose(file);
	return list;
}

static const char *member(const json_t *list, size_t at, const char *key)
{
	const char *text = json_string_value(json_object_get(json_array_get(list, at), key));

	return text != NULL ? text : "(nothing)";
}

static struct flow_log *open_log(struct queue *queue, struct snapshot *snapshot, const char *at)
{
	struct flow_log *log = NULL;

	cr_assert_eq(flow_log_open(at, &log, error), 0, "%s", error);
	flow_log_learn(log, snapshot);
	cr_assert_eq(flow_log_start(log, &(struct flow_log_source){.context = queue, .take = take}),
		     0);
	return log;
}

static void close_log(struct flow_log *log)
{
	flow_log_stop(log);
	flow_log_close(log);
}

static const struct row {
	uint8_t mode;
	const char *address, *source, *backend, *destination; /* of a flow that begins */
} rows[] = {
	{WIRE_MODE_NAT, "203.0.113.10:80", "(nothing)", "10.0.0.2:8080", "(nothing)"},
	{WIRE_MODE_FULLNAT, "203.0.113.10:80", "203.0.113.200:2000", "10.0.0.2:8080", "(nothing)"},
	{WIRE_MODE_SNAT, "(nothing)", "203.0.113.200:2000", "(nothing)", "10.0.0.2:8080"},
};

Test(flow_log, each_mode_says_what_it_has)
{
	for (size_t i = 0; i < SL_ARRAY_LEN(rows); i++) {
		const struct row *row = &rows[i];
		const struct wire_service service =
			row->mode == WIRE_MODE_SNAT ? service_of("web", row->mode, 0x0a000000, 16)
						    : service_of("web", row->mode, 0xcb00710a, 80);
		struct snapshot *snapshot = snapshot_of(&service);
		struct queue queue = {.event = {event_of(snapshot, SL_FLOW_BEGINS),
						event_of(snapshot, SL_FLOW_ENDS)}};
		struct flow_log *log = open_log(&queue, snapshot, path);
		json_t *lines;

		put(&queue, 2);
		close_log(log);
		lines = read_lines(path);
		cr_assert_eq(json_array_size(lines), 2);
		cr_expect_str_eq(member(lines, 0, "event"), "begin");
		cr_expect_str_eq(member(lines, 1, "event"), "end");
		cr_expect_str_eq(member(lines, 0, "service"), "web");
		cr_expect_str_eq(member(lines, 0, "protocol"), "tcp");
		cr_expect_str_eq(member(lines, 0, "client"), "198.51.100.7:40000");
		cr_expect_str_eq(member(lines, 0, "address"), row->address, "row %zu", i);
		cr_expect_str_eq(member(lines, 0, "source"), row->source, "row %zu", i);
		cr_expect_str_eq(member(lines, 0, "backend"), row->backend, "row %zu", i);
		cr_expect_str_eq(member(lines, 0, "destination"), row->destination, "row %zu", i);
		cr_expect_str_eq(member(lines, 1, "destination"), "(nothing)", "row %zu", i);
		json_decref(lines);
		snapshot_free(snapshot);
		cr_assert_eq(unlink(path), 0);
	}
}

Test(flow_log, the_time_is_when_it_was)
{
	const struct wire_service service = service_of("web", WIRE_MODE_NAT, 0xcb00710a, 80);
	struct snapshot *snapshot = snapshot_of(&service);
	struct queue queue = {.event = {event_of(snapshot, SL_FLOW_BEGINS)}};
	struct flow_log *log = open_log(&queue, snapshot, path);
	struct timespec now;
	struct tm utc = {0};
	json_t *lines;
	time_t then;

	clock_gettime(CLOCK_MONOTONIC, &now);
	queue.time_ns = ((uint64_t)now.tv_sec - 100) * 1000000000 + (uint64_t)now.tv_nsec;
	put(&queue, 1);
	close_log(log);
	lines = read_lines(path);
	cr_assert_not_null(strptime(member(lines, 0, "time"), "%Y-%m-%dT%H:%M:%S", &utc));
	then = timegm(&utc);
	cr_expect_leq(labs((long)(time(NULL) - 100 - then)), 2, "%s", member(lines, 0, "time"));
	cr_expect_eq(strlen(member(lines, 0, "time")), strlen("2026-11-29T07:00:00.123456Z"));
	json_decref(lines);
	snapshot_free(snapshot);
}

Test(flow_log, a_service_that_is_gone_keeps_its_name_and_another_has_none)
{
	const struct wire_service service = service_of("web", WIRE_MODE_NAT, 0xcb00710a, 80);
	struct snapshot *snapshot = snapshot_of(&service);
	struct queue queue = {
		.event = {event_of(snapshot, SL_FLOW_ENDS), event_of(snapshot, SL_FLOW_ENDS)}};
	struct flow_log *log = open_log(&queue, snapshot, path);
	json_t *lines;

	queue.event[1].service_epoch++;
	snapshot->service[0].family = SL_FAMILY_NONE;
	flow_log_learn(log, snapshot);
	put(&queue, 2);
	close_log(log);
	lines = read_lines(path);
	cr_expect_str_eq(member(lines, 0, "service"), "web");
	cr_expect(json_is_null(json_object_get(json_array_get(lines, 1), "service")));
	json_decref(lines);
	snapshot_free(snapshot);
}

Test(flow_log, a_file_that_was_moved_away_is_made_again)
{
	const struct wire_service service = service_of("web", WIRE_MODE_NAT, 0xcb00710a, 80);
	struct snapshot *snapshot = snapshot_of(&service);
	struct queue queue = {
		.event = {event_of(snapshot, SL_FLOW_BEGINS), event_of(snapshot, SL_FLOW_ENDS)}};
	struct flow_log *log = open_log(&queue, snapshot, path);
	struct stat status;
	char moved[72];
	json_t *lines;

	snprintf(moved, sizeof(moved), "%s.1", path);
	put(&queue, 1);
	cr_assert_eq(rename(path, moved), 0);
	put(&queue, 1);
	flow_log_reopen(log);
	while (stat(path, &status) != 0)
		usleep(1000);
	cr_expect_eq(status.st_mode & 0777, 0640 & ~umask(0));
	put(&queue, 2);
	close_log(log);
	lines = read_lines(moved);
	cr_expect_eq(json_array_size(lines), 2);
	json_decref(lines);
	lines = read_lines(path);
	cr_expect_eq(json_array_size(lines), 2);
	json_decref(lines);
	snapshot_free(snapshot);
}

Test(flow_log, what_a_full_disk_does_not_take_is_counted)
{
	const struct wire_service service = service_of("web", WIRE_MODE_NAT, 0xcb00710a, 80);
	struct snapshot *snapshot = snapshot_of(&service);
	struct queue queue = {
		.event = {event_of(snapshot, SL_FLOW_BEGINS), event_of(snapshot, SL_FLOW_ENDS)}};
	struct flow_log *log = open_log(&queue, snapshot, "/dev/full");

	put(&queue, 2);
	put(&queue, 1);
	flow_log_stop(log);
	cr_expect_eq(flow_log_lost(log), 3);
	flow_log_close(log);
	snapshot_free(snapshot);
}

Test(flow_log, a_file_that_cannot_be_opened_is_refused)
{
	struct flow_log *log = NULL;

	cr_expect_eq(flow_log_open("/nowhere/flows", &log, error), -ENOENT);
	cr_expect_str_eq(error, "dataplane.flow_log /nowhere/flows: No such file or directory "
				"(its folder is yours to make)");
}

Test(flow_log, without_a_log_nothing_is_logged)
{
	const struct wire_service service = service_of("web", WIRE_MODE_NAT, 0xcb00710a, 80);
	struct snapshot *snapshot = snapshot_of(&service);

	cr_assert(snapshot->service[0].flags & SL_SERVICE_FLOW_LOG);
	flow_log_learn(NULL, snapshot);
	cr_expect_not(snapshot->service[0].flags & SL_SERVICE_FLOW_LOG);
	cr_expect_eq(flow_log_lost(NULL), 0);
	snapshot_free(snapshot);
}
