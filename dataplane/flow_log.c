/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
#include "dataplane/flow_log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <jansson.h>

#include "dataplane/snapshot.h"
#include "log/log.h"
#include "wire/wire_abi.h"

enum {
	BUFFER_BYTES = 65536,
	MAX_LINE = 1024, /* bytes; the longest there is has some 450 */
};

#define SECOND_NS 1000000000ull

/** What a service is called that has, or had, an index. */
struct known_service {
	uint16_t epoch;
	uint8_t mode; /* 0: nobody had the index yet */
	char name[SL_MAX_NAME];
};

struct flow_log {
	char *path;
	int file; /* -1: it could not be opened again */
	bool has_failed;
	bool is_started;
	bool is_stopping;  /* atomic, and so the next */
	bool is_reopening; /* the control thread wants it */
	uint64_t n_lost;   /* atomic */
	pthread_t thread;
	struct flow_log_source source;
	pthread_mutex_t lock; /* of service[] */
	struct known_service *service;
	uint32_t n_lines; /* in the buffer */
	size_t n_bytes;
	char buffer[BUFFER_BYTES];
};

static int open_file(const char *path)
{
	return open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0640);
}

int flow_log_open(const char *path, struct flow_log **out, char *error)
{
	struct flow_log *log = calloc(1, sizeof(*log));
	int status = -ENOMEM;

	if (log != NULL) {
		log->file = -1;
		pthread_mutex_init(&log->lock, NULL);
		log->path = strdup(path);
		log->service = calloc(SL_MAX_SERVICES, sizeof(*log->service));
	}
	if (log != NULL && log->path != NULL && log->service != NULL) {
		log->file = open_file(path);
		status = log->file >= 0 ? 0 : -errno;
	}
	if (status != 0) {
		snprintf(error, SL_MAX_ERROR, "dataplane.flow_log %s: %s%s", path,
			 strerror(-status),
			 status == -ENOENT ? " (its folder is yours to make)" : "");
		flow_log_close(log);
		return status;
	}
	*out = log;
	return 0;
}

void flow_log_close(struct flow_log *log)
{
	if (log == NULL)
		return;
	if (log->file >= 0)
		close(log->file);
	pthread_mutex_destroy(&log->lock);
	free(log->path);
	free(log->service);
	free(log);
}

/* Nobody would take the events. */
static void log_nothing(struct snapshot *snapshot)
{
	static bool is_said;
	const char *name = NULL;

	for (uint32_t i = 0; i < snapshot->n_services; i++) {
		if (!(snapshot->service[i].flags & SL_SERVICE_FLOW_LOG))
			continue;
		snapshot->service[i].flags &= (uint8_t)~SL_SERVICE_FLOW_LOG;
		name = snapshot->service_name[i];
	}
	if (name != NULL && !is_said)
		log_warn("service %s: flow_log, but dataplane.flow_log names no file: nothing is "
			 "logged",
			 name);
	is_said = name != NULL;
}

void flow_log_learn(struct flow_log *log, struct snapshot *snapshot)
{
	if (log == NULL) {
		log_nothing(snapshot);
		return;
	}
	pthread_mutex_lock(&log->lock);
	for (uint32_t i = 0; i < snapshot->n_services; i++) {
		struct known_service *known = &log->service[i];

		if (snapshot->service[i].family == SL_FAMILY_NONE)
			continue; /* flows of its last owner end after it */
		known->epoch = snapshot->service[i].epoch;
		known->mode = snapshot->service[i].mode;
		memcpy(known->name, snapshot->service_name[i], SL_MAX_NAME);
	}
	pthread_mutex_unlock(&log->lock);
}

void flow_log_reopen(struct flow_log *log)
{
	if (log != NULL)
		__atomic_store_n(&log->is_reopening, true, __ATOMIC_RELAXED);
}

uint64_t flow_log_lost(const struct flow_log *log)
{
	return log != NULL ? __atomic_load_n(&log->n_lost, __ATOMIC_RELAXED) : 0;
}

static void lose(struct flow_log *log, uint32_t n)
{
	__atomic_fetch_add(&log->n_lost, n, __ATOMIC_RELAXED);
}

/* Says once that the log cannot be written, and once that it can be again. */
static void say(struct flow_log *log, int status)
{
	if (status != 0 && !log->has_failed)
		log_err("flow log %s: %s; flows go on, their records are lost", log->path,
			strerror(-status));
	else if (status == 0 && log->has_failed)
		log_info("flow log %s: is written again", log->path);
	log->has_failed = status != 0;
}

/* Complete lines that are in the file; the rest of one that is not is made one that ends. */
static int write_buffer(struct flow_log *log, size_t *n_written)
{
	while (*n_written < log->n_bytes) {
		ssize_t n = write(log->file, log->buffer + *n_written, log->n_bytes - *n_written);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		*n_written += (size_t)n;
	}
	return 0;
}

static uint32_t count_lines(const char *text, size_t length)
{
	uint32_t n = 0;

	for (size_t i = 0; i < length; i++)
		n += text[i] == '\n';
	return n;
}

static void flush(struct flow_log *log)
{
	size_t n_written = 0;
	int status;

	if (log->n_bytes == 0)
		return;
	if (log->file < 0)
		log->file = open_file(log->path);
	status = log->file >= 0 ? write_buffer(log, &n_written) : -errno;
	if (status != 0) {
		lose(log, log->n_lines - count_lines(log->buffer, n_written));
		/* What was cut off is to spoil no line that follows. */
		if (n_written > 0 && log->buffer[n_written - 1] != '\n' &&
		    write(log->file, "\n", 1) != 1)
			log->file = (close(log->file), -1);
	}
	say(log, status);
	log->n_bytes = 0;
	log->n_lines = 0;
}

static void reopen_if_asked(struct flow_log *log)
{
	if (!__atomic_exchange_n(&log->is_reopening, false, __ATOMIC_RELAXED))
		return;
	flush(log);
	if (log->file >= 0)
		close(log->file);
	log->file = open_file(log->path);
	if (log->file < 0)
		say(log, -errno);
	else
		log_info("flow log %s: opened again", log->path);
}

static const char *protocol_name(uint8_t protocol)
{
	switch (protocol) {
	case SL_PROTOCOL_TCP:
		return "tcp";
	case SL_PROTOCOL_UDP:
		return "udp";
	case SL_PROTOCOL_ICMP:
		return "icmp";
	case SL_PROTOCOL_ICMPV6:
		return "icmpv6";
	default:
		return "unknown";
	}
}

/* "2026-11-29T07:00:00.123456Z". @text: 40 bytes. */
static void format_time(uint64_t time_ns, char *text)
{
	struct timespec real, monotonic;
	time_t seconds;
	uint64_t at;
	struct tm utc;

	clock_gettime(CLOCK_REALTIME, &real);
	clock_gettime(CLOCK_MONOTONIC, &monotonic);
	at = (uint64_t)real.tv_sec * SECOND_NS + (uint64_t)real.tv_nsec + time_ns -
	     ((uint64_t)monotonic.tv_sec * SECOND_NS + (uint64_t)monotonic.tv_nsec);
	seconds = (time_t)(at / SECOND_NS);
	gmtime_r(&seconds, &utc);
	snprintf(text + strftime(text, 32, "%Y-%m-%dT%H:%M:%S", &utc), 9, ".%06uZ",
		 (unsigned int)(at % SECOND_NS / 1000));
}

static void put_endpoint(json_t *object, const char *key, const union sl_addr *addr, be16_t port,
			 uint8_t family)
{
	char text[WIRE_ADDRESS_TEXT];

	json_object_set_new(object, key,
			    json_string(wire_format_endpoint(addr, port, family, text)));
}

/* The line's object; NULL: out of memory. */
static json_t *describe(struct flow_log *log, const struct sl_flow_event *event, uint64_t time_ns)
{
	struct known_service known = {.mode = 0};
	bool begins = event->kind == SL_FLOW_BEGINS;
	char time_text[40];
	json_t *object;

	pthread_mutex_lock(&log->lock);
	if (event->service < SL_MAX_SERVICES &&
	    log->service[event->service].epoch == event->service_epoch)
		known = log->service[event->service];
	pthread_mutex_unlock(&log->lock);
	format_time(time_ns, time_text);
	object = json_pack("{s:s, s:s, s:s?, s:s}", "time", time_text, "event",
			   begins ? "begin" : "end", "service", known.mode != 0 ? known.name : NULL,
			   "protocol", protocol_name(event->protocol));
	if (object == NULL)
		return NULL;
	put_endpoint(object, "client", &event->client, event->client_port, event->family);
	if (known.mode != WIRE_MODE_SNAT)
		put_endpoint(object, "address", &event->address, event->address_port,
			     event->family);
	if (known.mode != WIRE_MODE_NAT)
		put_endpoint(object, "source", &event->source, event->source_port, event->family);
	if (known.mode != WIRE_MODE_SNAT)
		put_endpoint(object, "backend", &event->backend, event->backend_port,
			     event->family);
	else if (begins)
		put_endpoint(object, "destination", &event->backend, event->backend_port,
			     event->family);
	return object;
}

void flow_log_write(struct flow_log *log, const struct sl_flow_event *event, uint64_t time_ns)
{
	json_t *object = describe(log, event, time_ns);
	size_t n = 0;

	if (BUFFER_BYTES - log->n_bytes < MAX_LINE)
		flush(log);
	if (object != NULL)
		n = json_dumpb(object, log->buffer + log->n_bytes, MAX_LINE - 1,
			       JSON_COMPACT | JSON_PRESERVE_ORDER);
	json_decref(object);
	if (n == 0 || n > MAX_LINE - 1) {
		lose(log, 1);
		return;
	}
	log->n_bytes += n;
	log->buffer[log->n_bytes++] = '\n';
	log->n_lines++;
}

static void *flow_log_main(void *argument)
{
	struct flow_log *log = argument;
	bool is_stopping;
	uint32_t n;

	do {
		is_stopping = __atomic_load_n(&log->is_stopping, __ATOMIC_ACQUIRE);
		n = log->source.take(log->source.context, log);
		/* What came at once goes out at once, and what trickles does not wait. */
		flush(log);
		reopen_if_asked(log);
	} while (n > 0 || !is_stopping);
	return NULL;
}

int flow_log_start(struct flow_log *log, const struct flow_log_source *source)
{
	int status;

	log->source = *source;
	status = pthread_create(&log->thread, NULL, flow_log_main, log);
	log->is_started = status == 0;
	return -status;
}

void flow_log_move(struct flow_log *log, const cpu_set_t *cores)
{
	if (log != NULL && log->is_started)
		(void)pthread_setaffinity_np(log->thread, sizeof(*cores), cores);
}

void flow_log_stop(struct flow_log *log)
{
	if (log == NULL || !log->is_started)
		return;
	/* Release: whoever puts events into the queues has put the last one. */
	__atomic_store_n(&log->is_stopping, true, __ATOMIC_RELEASE);
	pthread_join(log->thread, NULL);
	log->is_started = false;
}
