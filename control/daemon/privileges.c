/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* setresuid, setgroups */
#endif
#include "control/daemon/privileges.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

static const char default_name[] = "sluice"; /* of the user and of its group */

static int refuse(char *error, const char *object, const char *what, int status)
{
	(void)snprintf(
		error, PRIVILEGES_MAX_ERROR, "%.300s: %s: %s%s", object, what, strerror(-status),
		status == -EACCES && geteuid() != 0
			? " (sluiced must be started as root, and becomes its user by itself)"
			: "");
	return status;
}

static int find_user(const char *user, struct privileges *privileges, char *error)
{
	const struct passwd *entry = getpwnam(user ? user : default_name);

	if (entry) {
		privileges->uid = entry->pw_uid;
		privileges->gid = entry->pw_gid;
		return 0;
	}
	(void)snprintf(error, PRIVILEGES_MAX_ERROR,
		       "user %.64s: there is no such user: create it with \"useradd --system "
		       "--user-group --home-dir /nonexistent --shell /usr/sbin/nologin %.64s\", or "
		       "name another with --user",
		       user ? user : default_name, user ? user : default_name);
	return -ENOENT;
}

static int find_group(const char *group, gid_t *gid, char *error)
{
	const struct group *entry = getgrnam(group);

	if (!entry) {
		(void)snprintf(error, PRIVILEGES_MAX_ERROR,
			       "group %.64s: there is no such group: create it with \"groupadd "
			       "--system %.64s\"",
			       group, group);
		return -ENOENT;
	}
	*gid = entry->gr_gid;
	return 0;
}

/* The configuration's default group says nothing about another user: that one has its own. */
static bool is_group_wanted(const struct privileges_names *names)
{
	bool is_default_user = !names->user || strcmp(names->user, default_name) == 0;

	if (!names->group)
		return false;
	return is_default_user || strcmp(names->group, default_name) != 0 ||
	       getgrnam(default_name) != NULL;
}

int privileges_find(const struct privileges_names *names, struct privileges *privileges,
		    char *error)
{
	int status = 0;

	memset(privileges, 0, sizeof(*privileges));
	privileges->uid = geteuid();
	privileges->gid = getegid();
	if (geteuid() == 0) {
		status = find_user(names->user, privileges, error);
		privileges->is_drop = privileges->uid != 0;
		if (!status && is_group_wanted(names))
			status = find_group(names->group, &privileges->gid, error);
	}
	privileges->api_gid = privileges->gid;
	if (!status && names->api_group)
		status = find_group(names->api_group, &privileges->api_gid, error);
	privileges->has_read_group = names->read_only_group != NULL;
	if (!status && names->read_only_group)
		status = find_group(names->read_only_group, &privileges->read_gid, error);
	return status;
}

/* "/run" and its like are everybody's; ours has a name of its own below one of them. */
static bool is_top_level(const char *path)
{
	size_t n = 0;

	for (const char *c = path; *c; c++)
		n += *c != '/' && (c == path || c[-1] == '/');
	return path[0] == '/' && n < 2;
}

int privileges_folder(const char *path, uid_t uid, gid_t gid, mode_t mode, char *error)
{
	struct stat now;

	if (is_top_level(path)) {
		(void)snprintf(error, PRIVILEGES_MAX_ERROR,
			       "%.300s: a folder of its own is needed, below this one", path);
		return -EINVAL;
	}
	if (mkdir(path, mode & 0777) && errno != EEXIST)
		return refuse(error, path, "mkdir", -errno);
	if (stat(path, &now))
		return refuse(error, path, "stat", -errno);
	if (!S_ISDIR(now.st_mode))
		return refuse(error, path, "folder", -ENOTDIR);
	if (now.st_mode & S_IWOTH) {
		(void)snprintf(error, PRIVILEGES_MAX_ERROR,
			       "%.300s: everybody may write to it (mode %04o): remove that right",
			       path, (unsigned)now.st_mode & 07777u);
		return -EPERM;
	}
	if (geteuid() != 0)
		return 0;
	if ((now.st_uid != uid || now.st_gid != gid) && chown(path, uid, gid))
		return refuse(error, path, "chown", -errno);
	if ((now.st_mode & 07777) != mode && chmod(path, mode))
		return refuse(error, path, "chmod", -errno);
	return 0;
}

int privileges_drop(const struct privileges *privileges, char *error)
{
	uid_t real, effective, saved;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return refuse(error, "PR_SET_NO_NEW_PRIVS", "prctl", -errno);
	if (!privileges->is_drop)
		return 0;
	if (setgroups(1, &privileges->gid))
		return refuse(error, "setgroups", "drop", -errno);
	if (setresgid(privileges->gid, privileges->gid, privileges->gid))
		return refuse(error, "setresgid", "drop", -errno);
	if (setresuid(privileges->uid, privileges->uid, privileges->uid))
		return refuse(error, "setresuid", "drop", -errno);
	if (getresuid(&real, &effective, &saved) || real != privileges->uid ||
	    effective != privileges->uid || saved != privileges->uid || setuid(0) == 0 ||
	    seteuid(0) == 0 || setgid(0) == 0)
		return refuse(error, "root", "it could be regained", -EPERM);
	return 0;
}
