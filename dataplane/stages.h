/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * The staged state in its two or three places: what is committed, what a transaction makes of it, and a
 * twin of what is committed, so that the next transaction needs no copy of everything. The twin is the
 * state before, brought up by the last transaction's own messages; a transaction that was long or
 * abandoned costs a copy. Control thread.
 */
#pragma once

#include <stddef.h>

#include <sluice/base.h>
#include <sluice/wire.h>

struct staging;

enum {
	STAGES_MAX_TRANSCRIPT = 1 << 16, /* bytes of messages that are made again */
};

struct stages {
	struct staging *committed; /* never NULL */
	struct staging *draft;     /* NULL: no transaction is under way */
	struct staging *twin;      /* NULL: there is none */
	bool is_transcript_whole;
	size_t n_transcript; /* bytes: of each message its type and size, and the body */
	uint8_t *transcript;
};

/** 0 or -ENOMEM. */
int stages_init(struct stages *stages) SL_MUST_USE;
void stages_fini(struct stages *stages);

/** Begins a transaction; @is_full: from nothing, not from what is committed. 0 or -ENOMEM. */
int stages_begin(struct stages *stages, bool is_full) SL_MUST_USE;

/**
 * Makes the change of a message (WIRE_SERVICES, WIRE_SERVICE_DELETE, WIRE_BACKENDS, WIRE_BACKEND_DELETE,
 * WIRE_LISTED) to the draft. @body: of @size bytes, judged in shape. @n: records put, or backends that
 * went with a service. 0, or what the staging said with @error.
 */
int stages_change(struct stages *stages, uint16_t type, const void *body, size_t size, uint32_t *n,
		  char *error) SL_MUST_USE;

/** The draft, of which a snapshot was built, is committed from now on. */
void stages_accept(struct stages *stages);

/** The draft is thrown away. */
void stages_abandon(struct stages *stages);
