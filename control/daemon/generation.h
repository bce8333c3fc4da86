/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * Whole configurations that were the state, each as it was at its generation, so that the state can go
 * back to one: STATE_DIR/generations/NUMBER. A file's first line says what it holds and how long it is;
 * the state follows as state_document.h writes it. The oldest go when there are too many.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <sluice/base.h>

struct state;

enum {
	GENERATION_MAX_KEPT = 32,
	GENERATION_MAX_BYTES = 268435456, /* of all; the newest two are kept whatever they take */
	GENERATION_MAX_ORIGIN = 16,
	GENERATION_MAX_DAMAGE = 160,
};

/** One that is kept, by its first line. */
struct generation {
	uint64_t number;
	int64_t made_sec;                   /* CLOCK_REALTIME, when it was kept */
	char origin[GENERATION_MAX_ORIGIN]; /* "apply", "rollback", "file", "changes" */
	uint64_t n_services;
	uint64_t n_backends;
	uint64_t digest;                    /* desired_digest() */
	uint64_t text_digest;               /* of what follows the first line */
	uint64_t n_bytes;                   /* likewise */
	char damage[GENERATION_MAX_DAMAGE]; /* why it cannot be gone back to; "": it looks whole */
};

/**
 * Keeps @state in @dir as its generation; returns when it is on disk. @origin: what made it. @error:
 * STATE_MAX_ERROR bytes. 0 or the errno of what went wrong; then those that were kept still are.
 */
int generation_keep(const char *dir, const struct state *state, const char *origin,
		    char *error) SL_MUST_USE;

/** Whether @state is kept in @dir, as far as the first line of its generation's file tells. */
bool generation_is_kept(const char *dir, const struct state *state);

/**
 * All that are kept in @dir, damaged ones too, the newest first. @list: heap. 0, also without any, or
 * negative errno.
 */
int generation_list(const char *dir, struct generation **list, size_t *n) SL_MUST_USE;

/**
 * The state that is kept as @number. @state: filled on success; its desired is the caller's to free.
 * @error: STATE_MAX_ERROR bytes. 0; -ENOENT: it is not kept; -EBADMSG: it is damaged; or the errno of a
 * read.
 */
int generation_load(const char *dir, uint64_t number, struct state *state, char *error) SL_MUST_USE;
