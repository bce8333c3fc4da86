/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* See state.h. */
#include "control/daemon/state.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control/daemon/desired.h"
#include "control/daemon/journal.h"
#include "control/daemon/state_document.h"
#include "control/daemon/state_file.h"

static const char damaged_name[] = "state.json.damaged";
static const char damaged_journal_name[] = "state.journal.damaged";
static const char new_name[] = "state.json.new";
static const char link_name[] = "state.json.last-good.new";

/*
 * Gives the state that is about to be replaced its second name, and then the journal that leads from it
 * to the new one: a reader tries both journals with either state.
 */
static int keep_last_good(int dir_fd)
{
	(void)unlinkat(dir_fd, link_name, 0);
	if (linkat(dir_fd, state_name, dir_fd, link_name, 0))
		return errno == ENOENT ? 0 : -errno;
	if (renameat(dir_fd, link_name, dir_fd, state_last_good_name))
		return -errno;
	if (renameat(dir_fd, journal_name, dir_fd, journal_last_good_name) && errno != ENOENT)
		return -errno;
	return 0;
}

/* Where there was no state.json, what else there is does not lead to the new one. */
static void forget_former(int dir_fd)
{
	(void)unlinkat(dir_fd, state_last_good_name, 0);
	(void)unlinkat(dir_fd, journal_last_good_name, 0);
	(void)unlinkat(dir_fd, journal_name, 0);
}

static int replace(const char *dir, int dir_fd, const char *text, size_t length, bool *is_new,
		   char *error)
{
	bool is_first = faccessat(dir_fd, state_name, F_OK, 0) != 0;
	const char *step;
	int status = state_file_write_new(dir_fd, new_name, text, length, &step);

	if (status) {
		(void)unlinkat(dir_fd, new_name, 0);
		return state_file_refuse(error, dir, new_name, step, status);
	}
	status = keep_last_good(dir_fd);
	if (status)
		return state_file_refuse(error, dir, state_last_good_name, "link", status);
	if (renameat(dir_fd, new_name, dir_fd, state_name))
		return state_file_refuse(error, dir, state_name, "rename", -errno);
	*is_new = true;
	if (fsync(dir_fd))
		return state_file_refuse(error, dir, "", "fsync", -errno);
	if (is_first)
		forget_former(dir_fd);
	return 0;
}

int state_save(const char *dir, const struct state *state, struct journal *journal, bool *is_new,
	       char *error)
{
	char *made = state->text ? NULL : state_document_write(state);
	const char *text = state->text ? state->text : made;
	int dir_fd, status;

	*is_new = false;
	journal->is_open = false;
	if (!text)
		return state_file_refuse(error, dir, state_name, "encode", -ENOMEM);
	dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir_fd < 0) {
		status = state_file_refuse(error, dir, "", "open", -errno);
		goto out;
	}
	status = replace(dir, dir_fd, text, strlen(text), is_new, error);
	(void)close(dir_fd);
	if (!status)
		journal_begin(journal, state, desired_digest(state->desired, &state->hash_key),
			      (int64_t)strlen(text));
out:
	free(made);
	return status;
}

int64_t state_written_sec(const char *dir)
{
	const char *const names[] = {state_name, journal_name};
	int64_t last = 0;

	for (size_t i = 0; i < SL_ARRAY_LEN(names); i++) {
		char path[STATE_MAX_PATH];
		struct stat file;

		(void)snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		if (stat(path, &file) == 0 && file.st_mtime > last)
			last = file.st_mtime;
	}
	return last;
}

/* @journal: begins with what the file says. */
static int load_file(const char *dir, const char *name, struct state *state,
		     struct journal *journal, char *error)
{
	char path[STATE_MAX_PATH];
	uint64_t digest = 0;
	char *text;
	int status;

	memset(state, 0, sizeof(*state));
	error[0] = '\0';
	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	status = state_file_read(path, &text);
	if (status)
		return status;
	status = state_document_read(text, state, &digest, error);
	if (!status)
		journal_begin(journal, state, digest, (int64_t)strlen(text));
	free(text);
	return status;
}

/* The damaged file is kept aside for people to look at. */
static void set_aside(const char *dir, const char *name, const char *aside)
{
	char from[STATE_MAX_PATH], to[STATE_MAX_PATH];

	(void)snprintf(from, sizeof(from), "%s/%s", dir, name);
	(void)snprintf(to, sizeof(to), "%s/%s", dir, aside);
	(void)rename(from, to);
}

/* What happened since the file was written that @state comes from. */
static int replay(const char *dir, struct state *state, struct journal *journal, char *note)
{
	char damage[STATE_MAX_ERROR] = "";
	const char *name = journal_last_good_name;
	size_t used = strlen(note);
	int status = journal_replay(dir, name, state, journal, damage);

	if (!status && !damage[0]) {
		name = journal_name;
		status = journal_replay(dir, name, state, journal, damage);
	}
	if (status) {
		desired_free(state->desired);
		state->desired = NULL;
		return state_file_refuse(note, dir, name, "read", status);
	}
	if (!damage[0])
		return 0;
	set_aside(dir, name, damaged_journal_name);
	(void)snprintf(note + used, STATE_MAX_ERROR - used, "%s%s", used ? "; " : "", damage);
	return 0;
}

int state_load(const char *dir, struct state *state, struct journal *journal, char *note)
{
	char first[STATE_MAX_ERROR], second[STATE_MAX_ERROR];
	int status = load_file(dir, state_name, state, journal, first);
	int fallback;

	note[0] = '\0';
	if (status == 0) {
		status = replay(dir, state, journal, note);
		journal->is_open = journal->is_open && !note[0];
		return status;
	}
	if (status != -EBADMSG && status != -ENOENT)
		return state_file_refuse(note, dir, state_name, "read", status);
	fallback = load_file(dir, state_last_good_name, state, journal, second);
	if (status == -ENOENT && fallback == -ENOENT)
		return -ENOENT;
	(void)snprintf(note, STATE_MAX_ERROR, "%.200s/%s: damaged: %.120s; %s %s", dir, state_name,
		       status == -ENOENT ? "it is missing" : first,
		       fallback ? "there is no good" : "taken instead, with the changes since:",
		       state_last_good_name);
	if (fallback)
		return -EBADMSG;
	fallback = replay(dir, state, journal, note);
	journal->is_open = false;
	if (!fallback && status == -EBADMSG)
		set_aside(dir, state_name, damaged_name);
	return fallback;
}
