/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* The socket of the private protocol: who may connect, and packets in and out. One thread. */
#pragma once

#include <sys/types.h>

#include <sluice/base.h>

struct dataplane;
struct event_base;
struct server;

struct server_options {
	const char *path; /* of the socket */
	uid_t uid;        /* may connect beside root and this process's user; (uid_t)-1: nobody */
	gid_t gid;        /* owns the socket and may connect; (gid_t)-1: nobody */
};

/** Removes the socket that a dead process left at @path. -EADDRINUSE: a dataplane answers there. */
int server_clear_path(const char *path, char *error) SL_MUST_USE;

/**
 * Listens at the path; a socket that a dead process left there is replaced, a live one refused.
 * @dataplane, @base: borrowed. 0, -EADDRINUSE, ... with @error (SL_MAX_ERROR bytes).
 */
int server_open(const struct server_options *options, struct dataplane *dataplane,
		struct event_base *base, struct server **out, char *error) SL_MUST_USE;

/** Closes connections and removes the socket. NULL is allowed. */
void server_close(struct server *server);
