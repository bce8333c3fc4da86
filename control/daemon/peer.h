/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* Who is at the other end of a Unix socket, as the kernel says, and what that one may do. */
#pragma once

#include <sys/types.h>

#include "control/daemon/handlers.h"

struct api_options;

struct peer {
	pid_t pid;
	uid_t uid;
	gid_t gid;
	enum access access;
};

/** Asks the kernel for the peer of @fd (SO_PEERCRED, SO_PEERGROUPS). 0 or negative errno. */
int peer_get(int fd, const struct api_options *options, struct peer *peer) SL_MUST_USE;
