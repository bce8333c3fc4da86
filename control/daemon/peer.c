/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * Groups come from SO_PEERGROUPS, which is what the peer had when it connected; looking into
 * /proc/PID would be about whoever has that PID by now.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* struct ucred */
#endif
#include "control/daemon/peer.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "control/daemon/api.h"

#ifndef SO_PEERGROUPS
#define SO_PEERGROUPS 59
#endif

struct groups {
	gid_t *gid;
	size_t n;
};

static int get_groups(int fd, struct groups *groups)
{
	socklen_t length = 0;

	groups->gid = NULL;
	groups->n = 0;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, NULL, &length) == 0)
		return 0; /* none */
	if (errno != ERANGE)
		return -errno;
	groups->gid = malloc(length);
	if (!groups->gid)
		return -ENOMEM;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups->gid, &length)) {
		int status = -errno;

		free(groups->gid);
		groups->gid = NULL;
		return status;
	}
	groups->n = length / sizeof(gid_t);
	return 0;
}

static bool is_member(const struct peer *peer, const struct groups *groups, gid_t group)
{
	if (peer->gid == group)
		return true;
	for (size_t i = 0; i < groups->n; i++)
		if (groups->gid[i] == group)
			return true;
	return false;
}

int peer_get(int fd, const struct api_options *options, struct peer *peer)
{
	struct ucred credentials;
	socklen_t length = sizeof(credentials);
	struct groups groups;
	int status;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &length))
		return -errno;
	peer->pid = credentials.pid;
	peer->uid = credentials.uid;
	peer->gid = credentials.gid;
	status = get_groups(fd, &groups);
	if (status)
		return status;
	if (peer->uid == 0 || peer->uid == geteuid() || is_member(peer, &groups, options->group))
		peer->access = ACCESS_WRITE;
	else if (options->has_read_group && is_member(peer, &groups, options->read_group))
		peer->access = ACCESS_READ;
	else
		peer->access = ACCESS_NONE;
	free(groups.gid);
	return 0;
}
