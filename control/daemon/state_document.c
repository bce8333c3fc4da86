/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* See state_document.h. */
#include "control/daemon/state_document.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "control/daemon/desired.h"
#include "control/daemon/service_json.h"
#include "control/daemon/state.h"
#include "control/daemon/state_file.h"

enum {
	FIRST_CAPACITY = 4096,
};

/* A text that grows. */
struct text {
	char *bytes;
	size_t length;
	size_t capacity;
};

/* Makes room for @n more bytes, and the NUL. 0 or -1, as jansson has it. */
static int reserve(struct text *text, size_t n)
{
	size_t capacity = text->capacity ? text->capacity : FIRST_CAPACITY;
	char *grown;

	while (capacity - text->length <= n)
		capacity *= 2;
	if (capacity == text->capacity)
		return 0;
	grown = realloc(text->bytes, capacity);
	if (!grown)
		return -1;
	text->bytes = grown;
	text->capacity = capacity;
	return 0;
}

static int append(const char *bytes, size_t n, void *data)
{
	struct text *text = data;

	if (reserve(text, n))
		return -1;
	memcpy(text->bytes + text->length, bytes, n);
	text->length += n;
	text->bytes[text->length] = '\0';
	return 0;
}

/* Takes over @json, which may be NULL. */
static int append_json(struct text *text, json_t *json)
{
	int status =
		json ? json_dump_callback(json, append, text, JSON_COMPACT | JSON_PRESERVE_ORDER)
		     : -1;

	json_decref(json);
	return status;
}

/* All but the services. */
static json_t *encode_head(const struct state *state)
{
	const struct desired *desired = state->desired;

	return json_pack("{s:i, s:I, s:o, s:o, s:o, s:o}", "version", STATE_VERSION, "generation",
			 (json_int_t)state->generation, "hash_key",
			 state_file_key(&state->hash_key), "file",
			 desired->file ? json_string(desired->file) : json_null(), "file_digest",
			 state_file_hex(state->file_digest), "digest",
			 state_file_hex(desired_digest(desired, &state->hash_key)));
}

/* One at a time, a line each: the memory of one is that of the next. */
static int append_services(struct text *text, const struct desired *desired)
{
	int status = append(",\"services\":[", strlen(",\"services\":["), text);

	for (size_t i = 0; !status && i < desired->n_services; i++) {
		status = append(i ? ",\n" : "\n", i ? 2 : 1, text);
		if (!status)
			status = append_json(text, service_to_json_whole(desired->service[i]));
	}
	return status ? status : append("]}", 2, text);
}

char *state_document_write(const struct state *state)
{
	struct text text = {0};
	int status = append_json(&text, encode_head(state));

	if (!status) {
		text.length--; /* the head goes on */
		status = append_services(&text, state->desired);
	}
	if (!status)
		return text.bytes;
	free(text.bytes);
	return NULL;
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

int state_document_read(const char *text, struct state *state, uint64_t *digest, char *error)
{
	json_error_t reason;
	json_t *document = json_loads(text, JSON_REJECT_DUPLICATES, &reason);
	int status = -EBADMSG;

	memset(state, 0, sizeof(*state));
	error[0] = '\0';
	if (!document)
		(void)snprintf(error, STATE_MAX_ERROR, "line %d: %s", reason.line, reason.text);
	else
		status = decode(document, state, digest, error);
	state_file_make_printable(error);
	json_decref(document);
	return status;
}
