/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * The public socket RUN_DIR/control.sock: who may connect, what a client may cost, lines in, lines
 * out. No client blocks another: one request is run at a time and each waits its turn.
 */
#pragma once

#include <sys/types.h>

#include <sluice/base.h>

struct api;
struct daemon;

struct api_options {
	const char *path;
	uid_t owner;      /* of the socket; who runs the daemon, so that it can unlink it */
	gid_t group;      /* its members may read and write */
	gid_t read_group; /* its members may only read */
	bool has_read_group;
};

enum {
	API_MAX_ERROR = 512,
};

/**
 * Makes the socket, with the rights its options say; the caller may still be root. A socket that
 * nobody serves is replaced. -EADDRINUSE: a daemon serves it. @error: API_MAX_ERROR bytes.
 */
int api_bind(const struct api_options *options, int *fd, char *error) SL_MUST_USE;

/** Serves the socket of api_bind, taken over. NULL: out of memory. */
struct api *api_new(struct daemon *daemon, const struct api_options *options, int fd);

/** Closes all clients and unlinks the socket. */
void api_free(struct api *api);
