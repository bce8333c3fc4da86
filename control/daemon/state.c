/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* See state.h. The file carries the digest of what it holds, so that damage inside is seen too. */
#include "control/daemon/state.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jansson.h>

#include "control/daemon/desired.h"
#include "control/daemon/journal.h"
#include "control/daemon/service_json.h"
#include "control/daemon/state_file.h"

static const char damaged_name[] = "state.json.damaged";
static const char damaged_journal_name[] = "state.journal.damaged";
static const char new_name[] = "state.json.new";
static const char link_name[] = "state.json.last-good.new";

static json_t *encode_services(const struct desired *desired)
{
	json_t *list = json_array();

	for (size_t i = 0; i < desired->n_services; i++) {
		if (json_array_append_new(list, service_to_json_whole(desired->service[i]))) {
			json_decref(list);
			return NULL;
		}
	}
	return list;
}

static json_t *encode(const struct state *state)
{
	const struct desired *desired = state->desired;

	return json_pack("{s:i, s:I, s:o, s:o, s:o, s:o, s:o}", "version", STATE_VERSION,
			 "generation", (json_int_t)state->generation, "hash_key",
			 state_file_key(&state->hash_key), "file",
			 desired->file ? json_string(desired->file) : json_null(), "file_digest",
			 state_file_hex(state->file_digest), "digest",
			 state_file_hex(desired_digest(desired, &state->hash_key)), "services",
			 encode_services(desired));
}

static int write_new(int dir_fd, const char *text, size_t length, const char **step)
{
	int fd = openat(dir_fd, new_name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW,
			0600);
	int status;

	*step = "open";
	if (fd < 0)
		return -errno;
	*step = "write";
	status = state_file_write(fd, text, length);
	if (!status) {
		*step = "fsync";
		status = fsync(fd) ? -errno : 0;
	}
	if (close(fd) && !status) {
		*step = "close";
		status = -errno;
	}
	return status;
}

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
	int status = write_new(dir_fd, text, length, &step);

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
	json_t *document = encode(state);
	char *text = document ? json_dumps(document, JSON_INDENT(1) | JSON_PRESERVE_ORDER) : NULL;
	int dir_fd, status;

	*is_new = false;
	journal->is_open = false;
	json_decref(document);
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
	free(text);
	return status;
}

static int decode_services(const json_t *list, struct desired *desired, char *error)
{
	struct rpc_error reason;
	const json_t *item;
	size_t i;

	json_array_foreach(list, i, item)
	{
		if (service_from_json(item, desired, &reason)) {
			(void)snprintf(error, STATE_MAX_ERROR, "services[%zu]: %.400s", i,
				       reason.message);
			return -EBADMSG;
		}
	}
	return 0;
}

/* The head of the document into @state; -EBADMSG with @error. */
static int decode_head(json_t *document, struct state *state, int *version, uint64_t *digest,
		       const json_t **services, const char **file, char *error)
{
	const char *key, *file_digest, *digest_text;
	json_int_t generation;
	json_t *list, *name;
	json_error_t reason;

	if (json_unpack_ex(document, &reason, JSON_STRICT, "{s:i, s:I, s:s, s:o, s:s, s:s, s:o}",
			   "version", version, "generation", &generation, "hash_key", &key, "file",
			   &name, "file_digest", &file_digest, "digest", &digest_text, "services",
			   &list)) {
		(void)snprintf(error, STATE_MAX_ERROR, "%s", reason.text);
		return -EBADMSG;
	}
	if (*version < STATE_VERSION_OLDEST || *version > STATE_VERSION) {
		(void)snprintf(error, STATE_MAX_ERROR, "version is %d, must be %d..%d", *version,
			       STATE_VERSION_OLDEST, STATE_VERSION);
		return -EBADMSG;
	}
	if (generation < 0 || !json_is_array(list) ||
	    !state_file_parse_key(key, &state->hash_key) ||
	    !state_file_parse_number(file_digest, &state->file_digest) ||
	    !state_file_parse_number(digest_text, digest)) {
		(void)snprintf(error, STATE_MAX_ERROR, "a number of its head is wrong");
		return -EBADMSG;
	}
	state->generation = (uint64_t)generation;
	*services = list;
	*file = json_string_value(name);
	return 0;
}

static int decode(json_t *document, struct state *state, uint64_t *digest, char *error)
{
	const json_t *services;
	const char *file;
	uint64_t found = 0;
	int version;
	int status = decode_head(document, state, &version, digest, &services, &file, error);

	if (status)
		return status;
	state->desired = desired_new();
	if (!state->desired || (file && desired_set_file(state->desired, file)))
		status = -ENOMEM;
	if (!status)
		status = decode_services(services, state->desired, error);
	if (!status)
		found = state_file_digest(version, state->desired, &state->hash_key);
	if (!status && found != *digest) {
		(void)snprintf(error, STATE_MAX_ERROR, "its digest is not that of its services");
		status = -EBADMSG;
	}
	if (status) {
		desired_free(state->desired);
		state->desired = NULL;
	}
	return status;
}

/* @journal: begins with what the file says. */
static int load_file(const char *dir, const char *name, struct state *state,
		     struct journal *journal, char *error)
{
	char path[STATE_MAX_PATH];
	json_error_t reason;
	json_t *document;
	uint64_t digest = 0;
	char *text;
	int status;

	memset(state, 0, sizeof(*state));
	error[0] = '\0';
	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	status = state_file_read(path, &text);
	if (status)
		return status;
	document = json_loads(text, JSON_REJECT_DUPLICATES, &reason);
	if (!document) {
		(void)snprintf(error, STATE_MAX_ERROR, "line %d: %s", reason.line, reason.text);
		status = -EBADMSG;
	} else {
		status = decode(document, state, &digest, error);
	}
	if (!status)
		journal_begin(journal, state, digest, (int64_t)strlen(text));
	state_file_make_printable(error);
	json_decref(document);
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
