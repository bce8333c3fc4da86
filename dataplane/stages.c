/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
#include "dataplane/stages.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/staging.h"

/** In front of each body of the transcript. */
struct entry {
	uint16_t type;
	uint16_t reserved;
	uint32_t size;
};

int stages_init(struct stages *stages)
{
	*stages = (struct stages){
		.committed = staging_new(),
		.transcript = malloc(STAGES_MAX_TRANSCRIPT),
	};
	if (stages->committed != NULL && stages->transcript != NULL)
		return 0;
	stages_fini(stages);
	return -ENOMEM;
}

void stages_fini(struct stages *stages)
{
	staging_free(stages->committed);
	staging_free(stages->draft);
	staging_free(stages->twin);
	free(stages->transcript);
	memset(stages, 0, sizeof(*stages));
}

int stages_begin(struct stages *stages, bool is_full)
{
	stages->draft = stages->twin != NULL ? stages->twin : staging_clone(stages->committed);
	stages->twin = NULL;
	if (stages->draft == NULL)
		return -ENOMEM;
	if (is_full)
		staging_clear(stages->draft);
	stages->is_transcript_whole = !is_full;
	stages->n_transcript = 0;
	return 0;
}

static int put_services(struct staging *staging, const struct wire_services_request *request,
			char *error)
{
	int status = 0;

	for (uint32_t i = 0; i < request->n_records && status == 0; i++)
		status = staging_put_service(staging, &request->record[i], error);
	return status;
}

static int put_backends(struct staging *staging, const struct wire_backends_request *request,
			char *error)
{
	int status = 0;

	for (uint32_t i = 0; i < request->n_records && status == 0; i++)
		status = staging_put_backend(staging, &request->record[i], error);
	return status;
}

static int put_lists(struct staging *staging, const struct wire_listed_request *request,
		     char *error)
{
	int status = 0;

	for (uint32_t i = 0; i < request->n_records && status == 0; i++)
		status = staging_put_listed(staging, &request->record[i], error);
	return status;
}

/* One message on one staging. */
static int make(struct staging *staging, uint16_t type, const void *body, uint32_t *n, char *error)
{
	const struct wire_service_delete_request *service = body;

	/* All array types begin with n_records. */
	memcpy(n, body, sizeof(*n));
	switch (type) {
	case WIRE_SERVICES:
		return put_services(staging, body, error);
	case WIRE_BACKENDS:
		return put_backends(staging, body, error);
	case WIRE_LISTED:
		return put_lists(staging, body, error);
	case WIRE_SERVICE_DELETE:
		return staging_delete_service(staging, &service->service, n, error);
	case WIRE_BACKEND_DELETE:
		return staging_delete_backend(staging, body, error);
	default:
		return -EOPNOTSUPP;
	}
}

static void note(struct stages *stages, uint16_t type, const void *body, size_t size)
{
	const struct entry entry = {.type = type, .size = (uint32_t)size};
	/* So that each body is aligned as the messages are. */
	size_t room = (sizeof(entry) + size + 7) & ~(size_t)7;

	if (!stages->is_transcript_whole)
		return;
	if (room > STAGES_MAX_TRANSCRIPT - stages->n_transcript) {
		stages->is_transcript_whole = false;
		return;
	}
	memcpy(stages->transcript + stages->n_transcript, &entry, sizeof(entry));
	memcpy(stages->transcript + stages->n_transcript + sizeof(entry), body, size);
	stages->n_transcript += room;
}

int stages_change(struct stages *stages, uint16_t type, const void *body, size_t size, uint32_t *n,
		  char *error)
{
	int status = make(stages->draft, type, body, n, error);

	if (status == 0)
		note(stages, type, body, size);
	return status;
}

/* The same messages on the same state lead to the same state, indices and epochs included. */
static bool replay(struct stages *stages, struct staging *staging)
{
	char error[SL_MAX_ERROR];

	if (!stages->is_transcript_whole)
		return false;
	for (size_t at = 0; at < stages->n_transcript;) {
		struct entry entry;
		uint32_t n;

		memcpy(&entry, stages->transcript + at, sizeof(entry));
		if (make(staging, entry.type, stages->transcript + at + sizeof(entry), &n, error) !=
		    0)
			return false;
		at += (sizeof(entry) + entry.size + 7) & ~(size_t)7;
	}
	staging_settle(staging);
	return staging->digest == stages->committed->digest;
}

void stages_accept(struct stages *stages)
{
	struct staging *former = stages->committed;

	stages->committed = stages->draft;
	stages->draft = NULL;
	if (replay(stages, former)) {
		staging_set_built(former, stages->committed->built_id);
		stages->twin = former;
	} else {
		staging_free(former);
	}
}

void stages_abandon(struct stages *stages)
{
	staging_free(stages->draft);
	stages->draft = NULL;
}
