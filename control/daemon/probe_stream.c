/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * tcp: a connection is enough; with `expect`, `send` is sent on it and the answer is read until it has what is
 * expected. A connection that nothing was said on is ended by a reset, which leaves nothing behind.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "control/daemon/probe_internal.h"

static void on_readable(evutil_socket_t fd, short events, void *context)
{
	struct probe *probe = context;
	ssize_t n = recv(fd, probe->answer + probe->n_received,
			 PROBE_MAX_ANSWER - probe->n_received, 0);

	(void)events;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0) {
		(void)probe_end(probe, false, "connection: %s", strerror(errno));
		return;
	}
	probe->n_received += (size_t)n;
	if (probe_has_expected(probe))
		(void)probe_end(probe, true, "%s", "");
	else if (n == 0 || probe->n_received == PROBE_MAX_ANSWER)
		(void)probe_end(probe, false, "%zu bytes of answer without what is expected",
				probe->n_received);
}

static void on_sendable(evutil_socket_t fd, short events, void *context)
{
	struct probe *probe = context;
	size_t left = strlen(probe->check.send) - probe->n_sent;
	ssize_t n = left ? send(fd, probe->check.send + probe->n_sent, left, MSG_NOSIGNAL) : 0;

	(void)events;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0) {
		(void)probe_end(probe, false, "connection: %s", strerror(errno));
		return;
	}
	probe->n_sent += (size_t)n;
	if ((size_t)n == left && !probe_watch(probe, EV_READ, on_readable))
		(void)probe_end(probe, false, "out of memory");
}

static void on_connected(evutil_socket_t fd, short events, void *context)
{
	static const struct linger by_reset = {.l_onoff = 1, .l_linger = 0};
	struct probe *probe = context;
	int error = 0;
	socklen_t length = sizeof(error);

	(void)getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length);
	if (error) {
		(void)probe_end(probe, false, "connect: %s", strerror(error));
	} else if (probe->check.expect[0] == '\0') {
		(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &by_reset, sizeof(by_reset));
		(void)probe_end(probe, true, "%s", "");
	} else if (probe_watch(probe, EV_WRITE, on_sendable)) {
		on_sendable(fd, events, probe);
	} else {
		(void)probe_end(probe, false, "out of memory");
	}
}

static bool start(struct probe *probe)
{
	int error = probe_connect(probe, SOCK_STREAM, 0);

	if (error == EMFILE || error == ENFILE || error == ENOBUFS)
		return false;
	if (error && error != EINPROGRESS)
		return probe_end(probe, false, "connect: %s", strerror(error));
	return probe_watch(probe, EV_WRITE, on_connected);
}

const struct probe_kind probe_stream = {.start = start};
