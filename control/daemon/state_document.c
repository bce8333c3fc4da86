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
#include "control/json_writer.h"

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

/* The services a line each. */
char *state_document_write(const struct state *state)
{
	const struct desired *desired = state->desired;
	struct json_writer out = {0};
	json_t *head = encode_head(state), *value;
	const char *name;

	out.is_broken = !head;
	json_writer_open(&out, NULL, '{');
	json_object_foreach(head, name, value)
	{
		json_writer_value(&out, name, value);
	}
	json_decref(head);
	json_writer_open(&out, "services", '[');
	for (size_t i = 0; i < desired->n_services; i++) {
		json_writer_raw(&out, i ? ",\n" : "\n", i ? 2 : 1);
		service_write_whole(&out, desired->service[i]);
	}
	json_writer_raw(&out, "]}", sizeof("]}"));
	if (!out.is_broken)
		return out.bytes;
	json_writer_fini(&out);
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
