/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* See journal.h. The folder is opened anew for each change: it may be another one by now. */
#include "control/daemon/journal.h"

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
#include "control/daemon/service_json.h"
#include "control/daemon/state.h"
#include "control/daemon/state_file.h"
#include "control/daemon/text.h"

enum {
	MIN_BUDGET = 4 << 20,
	BUDGET_STATES = 2, /* as many times the bytes of state.json */
	SUM_DIGITS = 16,
	SERVICE_BYTES = 600, /* of a record, about, and so the next */
	BACKEND_BYTES = 80,
};

const char journal_name[] = "state.journal";
const char journal_last_good_name[] = "state.journal.last-good";

void journal_begin(struct journal *journal, const struct state *state, uint64_t digest,
		   int64_t bytes)
{
	*journal = (struct journal){
		.is_open = true,
		.version = STATE_VERSION,
		.generation = state->generation,
		.digest = digest,
		.budget = bytes * BUDGET_STATES > MIN_BUDGET ? bytes * BUDGET_STATES : MIN_BUDGET,
	};
}

/* ---- records ---- */

static bool is_same(const struct desired_backend *a, const struct desired_backend *b)
{
	return memcmp(&a->wire, &b->wire, sizeof(a->wire)) == 0 &&
	       memcmp(&a->part, &b->part, sizeof(a->part)) == 0;
}

/* {service, put: [backends], delete: [addresses]}: what makes the one's backends the other's. */
static json_t *encode_backends(const struct desired_service *old, const struct desired_service *new)
{
	json_t *put = json_array(), *deleted = json_array();
	const struct desired_backend *was, *is;
	char address[WIRE_ADDRESS_TEXT];
	uint32_t i = 0, k = 0;

	while (desired_next_backends(old, new, &i, &k, &was, &is)) {
		if (!is) {
			text_backend_address(&was->wire, address);
			json_array_append_new(deleted, json_string(address));
		} else if (!was || !is_same(was, is)) {
			json_array_append_new(put, backend_to_json(is));
		}
	}
	return json_pack("{s:s, s:o, s:o}", "service", new->wire.name, "put", put, "delete",
			 deleted);
}

/* What differs. */
static void encode_services(const struct desired *old, const struct desired *new, json_t *services,
			    json_t *backends, json_t *deleted)
{
	const struct desired_service *was, *is;
	size_t i = 0, k = 0;

	while (desired_next_services(old, new, &i, &k, &was, &is)) {
		if (was == is)
			continue;
		if (!is)
			json_array_append_new(deleted, json_string(was->wire.name));
		else if (!was || was->owner != is->owner || !desired_has_same_record(was, is) ||
			 memcmp(&was->check, &is->check, sizeof(is->check)) != 0 ||
			 memcmp(&was->canary, &is->canary, sizeof(is->canary)) != 0)
			json_array_append_new(services, service_to_json_whole(is));
		else
			json_array_append_new(backends, encode_backends(was, is));
	}
}

/* Bytes of the record, about. */
static int64_t estimate(const struct desired *old, const struct desired *new)
{
	const struct desired_service *was, *is;
	int64_t bytes = 0;
	size_t i = 0, k = 0;

	while (desired_next_services(old, new, &i, &k, &was, &is))
		if (is && was != is)
			bytes += SERVICE_BYTES + (int64_t)is->n_backends * BACKEND_BYTES;
	return bytes;
}

static json_t *encode_change(const struct desired *old, const struct state *state)
{
	const struct desired *new = state->desired;
	json_t *services = json_array(), *backends = json_array(), *deleted = json_array();

	encode_services(old, new, services, backends, deleted);
	return json_pack("{s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "generation",
			 (json_int_t)state->generation, "hash_key",
			 state_file_key(&state->hash_key), "file",
			 new->file ? json_string(new->file) : json_null(), "file_digest",
			 state_file_hex(state->file_digest), "digest",
			 state_file_hex(desired_digest(new, &state->hash_key)), "delete", deleted,
			 "services", services, "backends", backends);
}

static json_t *encode_head(const struct journal *journal)
{
	return json_pack("{s:i, s:I, s:o}", "version", journal->version, "generation",
			 (json_int_t)journal->generation, "digest",
			 state_file_hex(journal->digest));
}

/* @document, taken over, as a line behind what *@text holds; false: out of memory. */
static bool add_line(char **text, json_t *document)
{
	char *body = document ? json_dumps(document, JSON_COMPACT | JSON_PRESERVE_ORDER) : NULL;
	size_t used = *text ? strlen(*text) : 0;
	size_t room = used + (body ? strlen(body) : 0) + SUM_DIGITS + 3;
	char *grown = body ? realloc(*text, room) : NULL;

	json_decref(document);
	if (grown) {
		(void)snprintf(grown + used, room - used, "%016" PRIx64 " %s\n",
			       state_text_digest(body, strlen(body)), body);
		*text = grown;
	}
	free(body);
	return grown != NULL;
}

/* ---- writing ---- */

/* One good copy of state.json more, before what it alone would hold is built upon. */
static int keep_copy(const char *dir, int dir_fd, char *error)
{
	int status;

	if (faccessat(dir_fd, state_last_good_name, F_OK, 0) == 0)
		return 0;
	status = state_file_copy(dir_fd, state_name, state_last_good_name);
	return status ? state_file_refuse(error, dir, state_last_good_name, "copy", status) : 0;
}

static int write_line(const char *dir, int dir_fd, int fd, const char *text, bool is_first,
		      char *error)
{
	int status = state_file_write(fd, text, strlen(text));

	if (status)
		return state_file_refuse(error, dir, journal_name, "write", status);
	if (fdatasync(fd))
		return state_file_refuse(error, dir, journal_name, "fdatasync", -errno);
	if (is_first && fsync(dir_fd))
		return state_file_refuse(error, dir, "", "fsync", -errno);
	return 0;
}

static int append_text(const char *dir, int dir_fd, struct journal *journal, const char *text,
		       bool *is_new, char *error)
{
	bool is_first = journal->length == 0;
	int fd = openat(dir_fd, journal_name,
			O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW |
				(is_first ? O_CREAT | O_TRUNC : 0),
			0600);
	struct stat file;
	int status;

	if (fd < 0 && errno == ENOENT)
		return -ESTALE;
	if (fd < 0)
		return state_file_refuse(error, dir, journal_name, "open", -errno);
	if (fstat(fd, &file) || file.st_size != journal->length) {
		(void)close(fd);
		return -ESTALE;
	}
	status = write_line(dir, dir_fd, fd, text, is_first, error);
	if (!status) {
		journal->length += (int64_t)strlen(text);
	} else if (ftruncate(fd, journal->length) || fsync(fd)) {
		/* What is there now nobody knows. */
		*is_new = true;
		journal->is_open = false;
	}
	(void)close(fd);
	return status;
}

int journal_append(const char *dir, struct journal *journal, const struct desired *old,
		   const struct state *state, bool *is_new, char *error)
{
	char *text = NULL;
	int dir_fd, status = 0;

	*is_new = false;
	if (!journal->is_open)
		return -ESTALE;
	if (estimate(old, state->desired) > journal->budget / 2)
		return -E2BIG;
	if ((journal->length == 0 && !add_line(&text, encode_head(journal))) ||
	    !add_line(&text, encode_change(old, state))) {
		free(text);
		return state_file_refuse(error, dir, journal_name, "encode", -ENOMEM);
	}
	dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir_fd < 0)
		status = state_file_refuse(error, dir, "", "open", -errno);
	if (!status && journal->length == 0)
		status = keep_copy(dir, dir_fd, error);
	if (!status)
		status = append_text(dir, dir_fd, journal, text, is_new, error);
	if (dir_fd >= 0)
		(void)close(dir_fd);
	free(text);
	return status;
}

/* ---- reading ---- */

/* A file being replayed. */
struct replay {
	struct state *state;
	const char *line; /* the one at hand */
	size_t length;    /* of it, without the newline */
	int version;
	char reason[STATE_MAX_ERROR];
};

/* The document of the line at hand; NULL: it is damaged. */
static json_t *decode_line(struct replay *replay)
{
	const char *body = replay->line + SUM_DIGITS + 1;
	json_error_t reason;
	json_t *document;
	uint64_t sum;

	if (replay->length <= SUM_DIGITS || replay->line[SUM_DIGITS] != ' ' ||
	    !state_file_parse_hex(replay->line, SUM_DIGITS, &sum) ||
	    sum != state_text_digest(body, replay->length - SUM_DIGITS - 1)) {
		(void)snprintf(replay->reason, sizeof(replay->reason),
			       "its digest is not that of its text");
		return NULL;
	}
	document =
		json_loadb(body, replay->length - SUM_DIGITS - 1, JSON_REJECT_DUPLICATES, &reason);
	if (!document)
		(void)snprintf(replay->reason, sizeof(replay->reason), "%s", reason.text);
	return document;
}

static int refuse_line(struct replay *replay, const char *reason)
{
	(void)snprintf(replay->reason, sizeof(replay->reason), "%.400s", reason);
	return -EBADMSG;
}

static int delete_services(struct desired *desired, const json_t *names, struct replay *replay)
{
	struct rpc_error error;
	const json_t *name;
	size_t i;

	json_array_foreach(names, i, name)
	{
		if (!json_is_string(name) ||
		    desired_delete(desired, json_string_value(name), &error))
			return refuse_line(replay, "a service to delete is not there");
	}
	return 0;
}

static int put_services(struct desired *desired, const json_t *list, struct replay *replay)
{
	struct rpc_error error;
	const json_t *item;
	size_t i;

	json_array_foreach(list, i, item)
	{
		const char *name = json_string_value(json_object_get(item, "name"));

		if (name && desired_find(desired, name) && desired_delete(desired, name, &error))
			return refuse_line(replay, error.message);
		if (service_from_json(item, desired, &error))
			return refuse_line(replay, error.message);
	}
	return 0;
}

static int delete_backend(struct desired *desired, const char *service, const char *address,
			  struct rpc_error *error)
{
	union sl_addr addr;
	be16_t port;
	uint8_t family;
	int code = text_parse_addr_port(service, "delete", address, &addr, &port, &family, error);

	return code ? code : desired_delete_backend(desired, service, &addr, port, error);
}

static int change_backends(struct desired *desired, const json_t *change, struct replay *replay)
{
	const char *service;
	json_t *put, *deleted;
	const json_t *item;
	struct rpc_error error = {0};
	size_t i;

	if (json_unpack((json_t *)(uintptr_t)change, "{s:s, s:o, s:o !}", "service", &service,
			"put", &put, "delete", &deleted) ||
	    !desired_find(desired, service))
		return refuse_line(replay, "backends of no service");
	json_array_foreach(deleted, i, item)
	{
		if (!json_is_string(item) ||
		    delete_backend(desired, service, json_string_value(item), &error))
			return refuse_line(replay, "a backend to delete is not there");
	}
	json_array_foreach(put, i, item)
	{
		if (backend_from_json(item, service, desired, &error))
			return refuse_line(replay, error.message);
	}
	return 0;
}

/* Makes the change of @document to @next, whose desired is this function's to write. */
static int make_change(const json_t *document, struct state *next, struct replay *replay)
{
	const char *key, *file_digest, *digest_text;
	json_t *file, *deleted, *services, *backends;
	const json_t *item;
	json_int_t generation;
	uint64_t digest;
	int status;
	size_t i;

	if (json_unpack((json_t *)(uintptr_t)document, "{s:I, s:s, s:o, s:s, s:s, s:o, s:o, s:o !}",
			"generation", &generation, "hash_key", &key, "file", &file, "file_digest",
			&file_digest, "digest", &digest_text, "delete", &deleted, "services",
			&services, "backends", &backends) ||
	    generation < 0 || !state_file_parse_key(key, &next->hash_key) ||
	    !state_file_parse_number(file_digest, &next->file_digest) ||
	    !state_file_parse_number(digest_text, &digest))
		return refuse_line(replay, "a member is missing or wrong");
	next->generation = (uint64_t)generation;
	if (json_is_string(file) && desired_set_file(next->desired, json_string_value(file)))
		return refuse_line(replay, "out of memory");
	status = delete_services(next->desired, deleted, replay);
	if (!status)
		status = put_services(next->desired, services, replay);
	if (status)
		return status;
	json_array_foreach(backends, i, item)
	{
		status = change_backends(next->desired, item, replay);
		if (status)
			return status;
	}
	if (state_file_digest(replay->version, next->desired, &next->hash_key) != digest)
		return refuse_line(replay, "it leads to another state than it says");
	return 0;
}

static int replay_change(struct replay *replay)
{
	json_t *document = decode_line(replay);
	struct state next = *replay->state;
	int status = document ? 0 : -EBADMSG;

	if (!status) {
		next.desired = desired_clone(replay->state->desired);
		if (!next.desired)
			status = -ENOMEM;
		else
			status = make_change(document, &next, replay);
		if (status) {
			desired_free(next.desired);
		} else {
			desired_free(replay->state->desired);
			*replay->state = next;
		}
	}
	json_decref(document);
	return status;
}

/* Whether the file builds on the state there is. */
static int replay_head(struct replay *replay, const struct journal *journal, bool *is_ours)
{
	json_t *document = decode_line(replay);
	const char *digest_text;
	json_int_t generation;
	uint64_t digest;
	int status = -EBADMSG;

	if (document &&
	    !json_unpack(document, "{s:i, s:I, s:s !}", "version", &replay->version, "generation",
			 &generation, "digest", &digest_text) &&
	    state_file_parse_number(digest_text, &digest))
		status = 0;
	else if (document)
		(void)refuse_line(replay, "a member is missing or wrong");
	*is_ours = !status && (uint64_t)generation == replay->state->generation &&
		   (digest == journal->digest ||
		    digest == state_file_digest(replay->version, replay->state->desired,
						&replay->state->hash_key));
	json_decref(document);
	return status;
}

/* Line after line; @text is writable and ends in NUL. Returns the bytes up to where all was good. */
static int64_t replay_text(struct replay *replay, const struct journal *journal, const char *text,
			   bool *is_ours, unsigned *n_lines)
{
	const char *at = text;

	*is_ours = false;
	for (*n_lines = 0;; ++*n_lines) {
		const char *end = strchr(at, '\n');
		int status;

		if (!end)
			return at - text; /* what is cut off was never acknowledged */
		replay->line = at;
		replay->length = (size_t)(end - at);
		status = *n_lines == 0 ? replay_head(replay, journal, is_ours)
				       : replay_change(replay);
		if (status || !*is_ours)
			return at - text;
		at = end + 1;
	}
}

bool journal_replay_text(const char *path, const char *text, struct state *state,
			 struct journal *journal, char *note)
{
	struct replay replay = {.state = state};
	unsigned n_lines;
	bool is_ours;
	int64_t good = replay_text(&replay, journal, text, &is_ours, &n_lines);

	state_file_make_printable(replay.reason);
	if (replay.reason[0])
		(void)snprintf(note, STATE_MAX_ERROR,
			       "%.200s: damaged: line %u: %.120s; changes from there on are lost",
			       path, n_lines + 1, replay.reason);
	else if (is_ours)
		journal->length = good;
	return is_ours;
}

int journal_replay(const char *dir, const char *name, struct state *state, struct journal *journal,
		   char *note)
{
	struct journal at = *journal;
	char path[STATE_MAX_PATH];
	bool is_ours;
	char *text;
	int status;

	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	status = state_file_read(path, &text);
	if (status)
		return status == -ENOENT ? 0 : status;
	is_ours = journal_replay_text(path, text, state, &at, note);
	free(text);
	if (strcmp(name, journal_name) == 0) {
		*journal = at;
		return 0;
	}
	/* Whose the other one is that is damaged from its head on nobody knows. To ours no more is added. */
	if (!is_ours)
		note[0] = '\0';
	else
		*journal = (struct journal){
			.digest = desired_digest(state->desired, &state->hash_key)};
	return 0;
}
