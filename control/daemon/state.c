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
#include "control/daemon/service_json.h"
#include "wire/wire_abi.h"

enum {
	STATE_VERSION = 3,
	STATE_VERSION_OLDEST = 1, /* see digest_of_version() */
	MAX_PATH = 4096,
};

static const char state_name[] = "state.json";
static const char last_good_name[] = "state.json.last-good";
static const char damaged_name[] = "state.json.damaged";
static const char new_name[] = "state.json.new";
static const char link_name[] = "state.json.last-good.new";

uint64_t state_text_digest(const char *text, size_t length)
{
	uint64_t digest = wire_digest(text, length);

	return digest ? digest : 1;
}

static int refuse(char *error, const char *dir, const char *name, const char *step, int status)
{
	(void)snprintf(error, STATE_MAX_ERROR, "%.300s/%s: %s: %s", dir, name, step,
		       strerror(-status));
	return status;
}

static json_t *encode_services(const struct desired *desired)
{
	json_t *list = json_array();

	for (size_t i = 0; i < desired->n_services; i++) {
		const struct desired_service *service = desired->service[i];
		json_t *object = service_to_json(service);
		json_t *backends = json_array();

		for (uint32_t k = 0; k < service->n_backends; k++)
			json_array_append_new(backends, backend_to_json(&service->backend[k]));
		json_object_set_new(object, "backends", backends);
		if (json_array_append_new(list, object)) {
			json_decref(list);
			return NULL;
		}
	}
	return list;
}

static json_t *encode_hex(uint64_t value)
{
	char text[17];

	(void)snprintf(text, sizeof(text), "%016" PRIx64, value);
	return json_string(text);
}

static json_t *encode(const struct state *state)
{
	const struct desired *desired = state->desired;
	char key[33];

	(void)snprintf(key, sizeof(key), "%016" PRIx64 "%016" PRIx64, state->hash_key.word[0],
		       state->hash_key.word[1]);
	return json_pack("{s:i, s:I, s:s, s:o, s:o, s:o, s:o}", "version", STATE_VERSION,
			 "generation", (json_int_t)state->generation, "hash_key", key, "file",
			 desired->file ? json_string(desired->file) : json_null(), "file_digest",
			 encode_hex(state->file_digest), "digest",
			 encode_hex(desired_digest(desired, &state->hash_key)), "services",
			 encode_services(desired));
}

static int write_all(int fd, const char *text, size_t length)
{
	while (length > 0) {
		ssize_t written = write(fd, text, length);

		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0)
			return -errno;
		text += written;
		length -= (size_t)written;
	}
	return 0;
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
	status = write_all(fd, text, length);
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

/* Gives the state that is about to be replaced its second name. */
static int keep_last_good(int dir_fd)
{
	(void)unlinkat(dir_fd, link_name, 0);
	if (linkat(dir_fd, state_name, dir_fd, link_name, 0))
		return errno == ENOENT ? 0 : -errno;
	return renameat(dir_fd, link_name, dir_fd, last_good_name) ? -errno : 0;
}

static int replace(const char *dir, int dir_fd, const char *text, size_t length, bool *is_new,
		   char *error)
{
	const char *step;
	int status = write_new(dir_fd, text, length, &step);

	if (status) {
		(void)unlinkat(dir_fd, new_name, 0);
		return refuse(error, dir, new_name, step, status);
	}
	status = keep_last_good(dir_fd);
	if (status)
		return refuse(error, dir, last_good_name, "link", status);
	if (renameat(dir_fd, new_name, dir_fd, state_name))
		return refuse(error, dir, state_name, "rename", -errno);
	*is_new = true;
	if (fsync(dir_fd))
		return refuse(error, dir, "", "fsync", -errno);
	return 0;
}

int state_save(const char *dir, const struct state *state, bool *is_new, char *error)
{
	json_t *document = encode(state);
	char *text = document ? json_dumps(document, JSON_INDENT(1) | JSON_PRESERVE_ORDER) : NULL;
	int dir_fd, status;

	*is_new = false;
	json_decref(document);
	if (!text)
		return refuse(error, dir, state_name, "encode", -ENOMEM);
	dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir_fd < 0) {
		status = refuse(error, dir, "", "open", -errno);
		goto out;
	}
	status = replace(dir, dir_fd, text, strlen(text), is_new, error);
	(void)close(dir_fd);
out:
	free(text);
	return status;
}

static bool decode_hex(const char *text, size_t n_digits, uint64_t *value)
{
	*value = 0;
	for (size_t i = 0; i < n_digits; i++) {
		char c = text[i];
		int digit = c >= '0' && c <= '9'   ? c - '0'
			    : c >= 'a' && c <= 'f' ? c - 'a' + 10
						   : -1;

		if (digit < 0)
			return false;
		*value = *value << 4 | (uint64_t)digit;
	}
	return true;
}

/* A service's record as version 1 had it: it ended behind the name, before there were source pools. */
static uint64_t digest_of_version_1(struct wire_service wire)
{
	wire.proxy_protocol = 0;
	wire.stateless_replies = 0;
	return wire_digest(&wire, offsetof(struct wire_service, source_port_first));
}

/* As version 2 had it: it ended behind the source pool. */
static uint64_t digest_of_version_2(struct wire_service wire)
{
	return wire_digest(&wire, offsetof(struct wire_service, flow_log));
}

/* The digest as @version computed it. */
static uint64_t digest_of_version(int version, const struct desired *desired,
				  const struct sl_hash_key *key)
{
	uint64_t digest = desired_digest(desired, key);

	for (size_t i = 0; version < STATE_VERSION && i < desired->n_services; i++) {
		const struct wire_service *wire = &desired->service[i]->wire;

		digest -= wire_digest(wire, sizeof(*wire));
		digest += version == 1 ? digest_of_version_1(*wire) : digest_of_version_2(*wire);
	}
	return digest;
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
	if (generation < 0 || strlen(key) != 32 || strlen(file_digest) != 16 ||
	    strlen(digest_text) != 16 || !json_is_array(list) ||
	    !decode_hex(key, 16, &state->hash_key.word[0]) ||
	    !decode_hex(key + 16, 16, &state->hash_key.word[1]) ||
	    !decode_hex(file_digest, 16, &state->file_digest) ||
	    !decode_hex(digest_text, 16, digest)) {
		(void)snprintf(error, STATE_MAX_ERROR, "a number of its head is wrong");
		return -EBADMSG;
	}
	state->generation = (uint64_t)generation;
	*services = list;
	*file = json_string_value(name);
	return 0;
}

static int decode(json_t *document, struct state *state, char *error)
{
	const json_t *services;
	const char *file;
	uint64_t digest, found = 0;
	int version;
	int status = decode_head(document, state, &version, &digest, &services, &file, error);

	if (status)
		return status;
	state->desired = desired_new();
	if (!state->desired || (file && desired_set_file(state->desired, file)))
		status = -ENOMEM;
	if (!status)
		status = decode_services(services, state->desired, error);
	if (!status)
		found = digest_of_version(version, state->desired, &state->hash_key);
	if (!status && found != digest) {
		(void)snprintf(error, STATE_MAX_ERROR, "its digest is not that of its services");
		status = -EBADMSG;
	}
	if (status) {
		desired_free(state->desired);
		state->desired = NULL;
	}
	return status;
}

static int load_file(const char *dir, const char *name, struct state *state, char *error)
{
	char path[MAX_PATH];
	json_error_t reason;
	json_t *document;
	FILE *file;
	int status;

	memset(state, 0, sizeof(*state));
	error[0] = '\0';
	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	file = fopen(path, "re");
	if (!file)
		return -errno;
	document = json_loadf(file, JSON_REJECT_DUPLICATES, &reason);
	(void)fclose(file);
	if (!document) {
		(void)snprintf(error, STATE_MAX_ERROR, "line %d: %s", reason.line, reason.text);
		return -EBADMSG;
	}
	status = decode(document, state, error);
	json_decref(document);
	return status;
}

/* The damaged file is kept aside for people to look at. */
static void set_aside(const char *dir)
{
	char from[MAX_PATH], to[MAX_PATH];

	(void)snprintf(from, sizeof(from), "%s/%s", dir, state_name);
	(void)snprintf(to, sizeof(to), "%s/%s", dir, damaged_name);
	(void)rename(from, to);
}

int state_load(const char *dir, struct state *state, char *note)
{
	char first[STATE_MAX_ERROR], second[STATE_MAX_ERROR];
	int status = load_file(dir, state_name, state, first);
	int fallback;

	note[0] = '\0';
	if (status == 0)
		return 0;
	if (status != -EBADMSG && status != -ENOENT)
		return refuse(note, dir, state_name, "read", status);
	fallback = load_file(dir, last_good_name, state, second);
	if (status == -ENOENT && fallback == -ENOENT)
		return -ENOENT;
	(void)snprintf(note, STATE_MAX_ERROR, "%.200s/%s: damaged: %.120s; %s %s", dir, state_name,
		       status == -ENOENT ? "it is missing" : first,
		       fallback ? "there is no good" : "taken instead: generation before, in",
		       last_good_name);
	if (fallback)
		return -EBADMSG;
	if (status == -EBADMSG)
		set_aside(dir);
	return 0;
}
