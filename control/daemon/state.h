/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * The state on disk: STATE_DIR/state.json, written whole to a temporary file, fsynced, renamed, the
 * folder fsynced; so a reader, at any kill, finds the old state or the new one. The one before is
 * kept as state.json.last-good, and taken if state.json is damaged. What changes from then on stands in
 * a journal beside it: journal.h.
 */
#pragma once

#include <stdint.h>

#include <sluice/base.h>

struct desired;
struct journal;

enum {
	STATE_MAX_ERROR = 512,
};

struct state {
	uint64_t generation;
	struct sl_hash_key hash_key;
	uint64_t file_digest; /* of the -c file as last read; 0: never read */
	struct desired *desired;
	const char *
		text; /* borrowed: what state_document_write() made of it; NULL: nobody has it yet */
};

/**
 * Reads the state of @dir. @state: filled on success; its desired is the caller's to free.
 * @journal: where changes are to be appended.
 * @note: STATE_MAX_ERROR bytes; on success empty, or what was damaged and what was taken instead: then
 * the caller shall save the state whole.
 * 0; -ENOENT: there is none; -EBADMSG: damaged, and no good one is there; or the errno of a read.
 */
int state_load(const char *dir, struct state *state, struct journal *journal,
	       char *note) SL_MUST_USE;

/**
 * Writes @state to @dir, whole, and begins @journal anew. On an error @error (STATE_MAX_ERROR bytes) names the path and the errno,
 * and what a reader finds is the old state; or, where only the folder's fsync failed, the new one:
 * then @is_new is true and the caller shall save the old one again.
 */
int state_save(const char *dir, const struct state *state, struct journal *journal, bool *is_new,
	       char *error) SL_MUST_USE;

/** When the state of @dir was last written, seconds of CLOCK_REALTIME; 0: there is none. */
int64_t state_written_sec(const char *dir);

/** The digest of a file's text, for file_digest; never 0. */
uint64_t state_text_digest(const char *text, size_t length);
