/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* What the kinds of probes share. For probe*.c alone. */
#pragma once

#include <netinet/in.h>
#include <stddef.h>
#include <sys/types.h>

#include <event2/event.h>

#include "config/health_check.h"
#include "control/daemon/probe.h"

enum {
	PROBE_MAX_ANSWER = 4096, /* bytes that `expect` is looked for in */
};

struct probe_http; /* of libcurl's: probe_http.c */

struct prober {
	struct event_base *base;
	bool may_exec;
	uint32_t n_running, max_running;
	uint32_t n_programs, n_dying;
	pid_t dying[PROBE_MAX_PROGRAMS]; /* programs that were killed */
	struct probe_http *http;
};

/** A kind of probe. */
struct probe_kind {
	/** False: the probe has ended already, with its result on the way. */
	bool (*start)(struct probe *probe);
	/** Nobody answered in time. NULL: that is bad. */
	void (*time_out)(struct probe *probe);
	/** Lets go of what the kind holds. */
	void (*stop)(struct probe *probe);
};

struct probe {
	struct prober *prober;
	const struct probe_kind *kind;
	struct health_check check;
	struct probe_target target; /* port: the one to check */
	probe_done *done;
	void *context;
	struct event *timer; /* the timeout; or, once there is a result, its delivery */
	bool is_good, has_result;
	char reason[PROBE_MAX_REASON];

	int fd;              /* -1: none */
	struct event *event; /* of fd */
	size_t n_sent, n_received;
	char answer[PROBE_MAX_ANSWER];
	uint64_t nonce; /* of an echo request */

	struct http_request *request; /* probe_http.c */
	pid_t pid;                    /* of a program; 0: none */
};

extern const struct probe_kind probe_stream, probe_datagram, probe_echo, probe_request,
	probe_program;

/** The result is known; it is delivered when the loop turns. Always false, for start() to return. */
bool probe_end(struct probe *probe, bool is_good, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/** The target as a socket address. */
socklen_t probe_address(const struct probe_target *target, struct sockaddr_storage *address);

/** Makes probe->fd and connects it: 0, -EINPROGRESS, or an errno. */
int probe_connect(struct probe *probe, int type, int protocol);

/** Calls @callback with the probe when probe->fd is ready for @events, again and again. */
bool probe_watch(struct probe *probe, short events, event_callback_fn callback);

/** Lets go of the descriptor and its event. */
void probe_close(struct probe *probe);

/** Looks for `expect` in what was received so far. */
bool probe_has_expected(const struct probe *probe);

/** What libcurl needs beside the probes. NULL: out of memory. */
struct probe_http *probe_http_new(struct prober *prober);
void probe_http_free(struct probe_http *http);
