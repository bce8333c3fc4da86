/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* Which user the daemon becomes, the folders it needs as that user, and becoming it for good. */
#pragma once

#include <sys/types.h>

#include <sluice/base.h>

struct privileges {
	uid_t uid;
	gid_t gid;
	gid_t api_gid;  /* whose members may use the API */
	gid_t read_gid; /* whose members may only read */
	bool has_read_group;
	bool is_drop; /* started as root, to become someone else */
};

/** Names as options or the configuration give them; NULL: not given. */
struct privileges_names {
	const char *user;            /* default sluice; not looked at unless started as root */
	const char *group;           /* default the user's own */
	const char *api_group;       /* default the group */
	const char *read_only_group; /* default none */
};

enum {
	PRIVILEGES_MAX_ERROR = 512,
};

/** Looks the names up. @error: PRIVILEGES_MAX_ERROR bytes, and what to do about it. */
int privileges_find(const struct privileges_names *names, struct privileges *privileges,
		    char *error) SL_MUST_USE;

/**
 * Makes sure that @path is a folder (its parent must exist) with owner, group and mode as given
 * where the daemon is root. Refuses one that everybody may write to.
 */
int privileges_folder(const char *path, uid_t uid, gid_t gid, mode_t mode, char *error) SL_MUST_USE;

/** Becomes the user for good, and proves it. */
int privileges_drop(const struct privileges *privileges, char *error) SL_MUST_USE;
