/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* See generation.h. */
#include "control/daemon/generation.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <jansson.h>

#include "control/daemon/desired.h"
#include "control/daemon/state.h"
#include "control/daemon/state_document.h"
#include "control/daemon/state_file.h"

enum {
	MAX_NAME = 24,
	MAX_HEAD = 1024, /* bytes of the first line, its newline included */
};

static const char folder_name[] = "generations";
static const char new_name[] = "new";

/* Whether @name is one that we write, and then its number. */
static bool parse_name(const char *name, uint64_t *number)
{
	char again[MAX_NAME];

	if (name[0] < '0' || name[0] > '9' || strlen(name) >= sizeof(again))
		return false;
	*number = strtoull(name, NULL, 10);
	(void)snprintf(again, sizeof(again), "%" PRIu64, *number);
	return strcmp(name, again) == 0;
}

/* The folder's descriptor, or negative errno. @is_made: it is made if it is not there. */
static int open_folder(const char *dir, bool is_made)
{
	int dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int fd, status = 0;

	if (dir_fd < 0)
		return -errno;
	if (is_made && mkdirat(dir_fd, folder_name, 0700) == 0)
		status = fsync(dir_fd) ? -errno : 0;
	else if (is_made && errno != EEXIST)
		status = -errno;
	fd = status ? status
		    : openat(dir_fd, folder_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (!status && fd < 0)
		fd = -errno;
	(void)close(dir_fd);
	return fd;
}

/* ---- the first line ---- */

static char *encode_head(const struct state *state, const char *origin, const char *text)
{
	const struct desired *desired = state->desired;
	size_t length = strlen(text);
	json_t *head = json_pack("{s:I, s:I, s:s, s:I, s:I, s:o, s:I, s:o}", "generation",
				 (json_int_t)state->generation, "made", (json_int_t)time(NULL),
				 "origin", origin, "services", (json_int_t)desired->n_services,
				 "backends", (json_int_t)desired->n_backends, "digest",
				 state_file_hex(desired_digest(desired, &state->hash_key)), "bytes",
				 (json_int_t)length, "text",
				 state_file_hex(state_text_digest(text, length)));
	char *line = head ? json_dumps(head, JSON_COMPACT | JSON_PRESERVE_ORDER) : NULL;

	json_decref(head);
	return line;
}

/* What @line, without its newline, says. False: it is none of ours. */
static bool decode_head(const char *line, size_t length, struct generation *kept)
{
	json_int_t number, made, n_services, n_backends, n_bytes;
	const char *origin, *digest, *text_digest;
	json_t *head = json_loadb(line, length, JSON_REJECT_DUPLICATES, NULL);
	bool is_ours =
		json_unpack_ex(head, NULL, JSON_STRICT, "{s:I, s:I, s:s, s:I, s:I, s:s, s:I, s:s}",
			       "generation", &number, "made", &made, "origin", &origin, "services",
			       &n_services, "backends", &n_backends, "digest", &digest, "bytes",
			       &n_bytes, "text", &text_digest) == 0 &&
		(uint64_t)number == kept->number && n_services >= 0 && n_backends >= 0 &&
		n_bytes >= 0 && state_file_parse_number(digest, &kept->digest) &&
		state_file_parse_number(text_digest, &kept->text_digest);

	if (is_ours) {
		kept->made_sec = made;
		kept->n_services = (uint64_t)n_services;
		kept->n_backends = (uint64_t)n_backends;
		kept->n_bytes = (uint64_t)n_bytes;
		(void)snprintf(kept->origin, sizeof(kept->origin), "%s", origin);
		state_file_make_printable(kept->origin);
	}
	json_decref(head);
	return is_ours;
}

static void note_damage(struct generation *kept, const char *damage)
{
	(void)snprintf(kept->damage, sizeof(kept->damage), "%s", damage);
}

/* Fills @kept, whose number is filled, by the first line and the length of its file. */
static void read_head(int folder, struct generation *kept)
{
	char name[MAX_NAME], head[MAX_HEAD];
	struct stat file;
	const char *end;
	ssize_t n = -1;
	int fd;

	(void)snprintf(name, sizeof(name), "%" PRIu64, kept->number);
	fd = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd >= 0 && fstat(fd, &file) == 0)
		n = read(fd, head, sizeof(head));
	if (n < 0)
		note_damage(kept, strerror(errno));
	if (fd >= 0)
		(void)close(fd);
	if (n < 0)
		return;
	end = memchr(head, '\n', (size_t)n);
	if (!end || !decode_head(head, (size_t)(end - head), kept))
		note_damage(kept, "its first line is not that of a kept generation");
	else if ((uint64_t)file.st_size != (uint64_t)(end - head) + 1 + kept->n_bytes)
		note_damage(kept, "it is not as long as its first line says");
}

/* ---- the list ---- */

static int compare_newest_first(const void *a, const void *b)
{
	const struct generation *left = a, *right = b;

	return (left->number < right->number) - (left->number > right->number);
}

/* The numbers alone. @folder: taken over. */
static int list_numbers(int folder, struct generation **list, size_t *n)
{
	DIR *dir = fdopendir(folder);
	size_t capacity = 0;
	struct dirent *entry;

	*list = NULL;
	*n = 0;
	if (!dir) {
		(void)close(folder);
		return -ENOMEM;
	}
	while ((entry = readdir(dir))) {
		struct generation kept = {0};

		if (!parse_name(entry->d_name, &kept.number))
			continue;
		if (*n == capacity) {
			struct generation *grown;

			capacity = capacity ? capacity * 2 : GENERATION_MAX_KEPT * 2;
			grown = realloc(*list, capacity * sizeof(**list));
			if (!grown) {
				free(*list);
				(void)closedir(dir);
				return -ENOMEM;
			}
			*list = grown;
		}
		(*list)[(*n)++] = kept;
	}
	(void)closedir(dir);
	if (*n)
		qsort(*list, *n, sizeof(**list), compare_newest_first);
	return 0;
}

int generation_list(const char *dir, struct generation **list, size_t *n)
{
	int folder = open_folder(dir, false);
	int again, status;

	*list = NULL;
	*n = 0;
	if (folder < 0)
		return folder == -ENOENT ? 0 : folder;
	again = fcntl(folder, F_DUPFD_CLOEXEC, 0);
	status = again < 0 ? -errno : list_numbers(again, list, n);
	for (size_t i = 0; !status && i < *n; i++)
		read_head(folder, &(*list)[i]);
	(void)close(folder);
	return status;
}

/* ---- keeping ---- */

/* Forgets the oldest that are too many; what cannot be forgotten now will be with the next. */
static void prune(int folder)
{
	struct generation *list;
	int64_t n_bytes = 0;
	size_t n;
	int again = fcntl(folder, F_DUPFD_CLOEXEC, 0);

	if (again < 0 || list_numbers(again, &list, &n))
		return;
	for (size_t i = 0; i < n; i++) {
		char name[MAX_NAME];
		struct stat file;

		(void)snprintf(name, sizeof(name), "%" PRIu64, list[i].number);
		if (fstatat(folder, name, &file, AT_SYMLINK_NOFOLLOW) == 0)
			n_bytes += file.st_size;
		if (i >= GENERATION_MAX_KEPT || (i >= 2 && n_bytes > GENERATION_MAX_BYTES))
			(void)unlinkat(folder, name, 0);
	}
	free(list);
}

static int write_file(const char *dir, int folder, uint64_t number, const char *text, size_t length,
		      char *error)
{
	char name[MAX_NAME];
	const char *step;
	int status = state_file_write_new(folder, new_name, text, length, &step);

	(void)snprintf(name, sizeof(name), "%" PRIu64, number);
	if (!status) {
		step = "rename";
		status = renameat(folder, new_name, folder, name) ? -errno : 0;
	}
	if (!status) {
		step = "fsync";
		status = fsync(folder) ? -errno : 0;
	}
	if (!status)
		return 0;
	(void)unlinkat(folder, new_name, 0);
	return state_file_refuse(error, dir, folder_name, step, status);
}

int generation_keep(const char *dir, const struct state *state, const char *origin, char *error)
{
	char *made = state->text ? NULL : state_document_write(state);
	const char *text = state->text ? state->text : made;
	char *head = text ? encode_head(state, origin, text) : NULL;
	size_t size = head ? strlen(head) + strlen(text) + 2 : 0;
	char *whole = head ? malloc(size) : NULL;
	int status = -ENOMEM, folder;

	if (!whole) {
		state_file_refuse(error, dir, folder_name, "encode", status);
		goto out;
	}
	folder = status = open_folder(dir, true);
	if (folder < 0) {
		state_file_refuse(error, dir, folder_name, "open", status);
		goto out;
	}
	(void)snprintf(whole, size, "%s\n%s", head, text);
	status = write_file(dir, folder, state->generation, whole, size - 1, error);
	if (!status)
		prune(folder);
	(void)close(folder);
out:
	free(whole);
	free(head);
	free(made);
	return status;
}

bool generation_is_kept(const char *dir, const struct state *state)
{
	struct generation kept = {.number = state->generation};
	int folder = open_folder(dir, false);

	if (folder < 0)
		return false;
	read_head(folder, &kept);
	(void)close(folder);
	return !kept.damage[0] && kept.digest == desired_digest(state->desired, &state->hash_key);
}

/* ---- going back ---- */

static int refuse_damaged(char *error, uint64_t number, const char *damage)
{
	(void)snprintf(error, STATE_MAX_ERROR, "generation %" PRIu64 ": damaged: %.400s", number,
		       damage);
	return -EBADMSG;
}

/* What follows the first line of @text, or NULL: it is not what was written. */
static const char *judge_text(const char *text, struct generation *kept)
{
	const char *end = strchr(text, '\n');
	size_t length = end ? strlen(end + 1) : 0;

	if (!end || !decode_head(text, (size_t)(end - text), kept) || length != kept->n_bytes ||
	    state_text_digest(end + 1, length) != kept->text_digest)
		return NULL;
	return end + 1;
}

int generation_load(const char *dir, uint64_t number, struct state *state, char *error)
{
	struct generation kept = {.number = number};
	char path[STATE_MAX_PATH], reason[STATE_MAX_ERROR];
	const char *document;
	uint64_t digest;
	char *text;
	int status;

	(void)snprintf(path, sizeof(path), "%s/%s/%" PRIu64, dir, folder_name, number);
	status = state_file_read(path, &text);
	if (status) {
		(void)snprintf(error, STATE_MAX_ERROR, "generation %" PRIu64 ": %s", number,
			       status == -ENOENT ? "is not kept" : strerror(-status));
		return status;
	}
	document = judge_text(text, &kept);
	if (!document)
		status = refuse_damaged(error, number, "it is not the text that was written");
	else if ((status = state_document_read(document, state, &digest, reason)) != 0)
		status = refuse_damaged(error, number, reason);
	else if (state->generation != number) {
		desired_free(state->desired);
		status = refuse_damaged(error, number, "it holds another generation");
	}
	free(text);
	return status;
}
