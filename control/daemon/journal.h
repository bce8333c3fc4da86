/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * What has changed since state.json was written whole: STATE_DIR/state.journal, a line a change, so
 * that a change costs what it changes and not what there is. The first line says on which state the
 * file builds; each line carries the digest of its text, each change that of the state it leads to. A
 * last line that is cut off was never acknowledged and does not count.
 */
#pragma once

#include <stdint.h>

#include <sluice/base.h>

struct desired;
struct state;

/** Where the journal stands; all 0: there is no state yet that a change could follow. */
struct journal {
	bool is_open;
	int version;         /* of the digest */
	uint64_t generation; /* of the state that it builds on */
	uint64_t digest;     /* of the same, as its file says it */
	int64_t length;      /* bytes; 0: there is no file yet */
	int64_t budget;      /* bytes; when it is longer, the state had better be written whole */
};

/** The names of files in the state's folder. */
extern const char journal_name[];
extern const char journal_last_good_name[]; /* what led from state.json.last-good to state.json */

/** The state in state.json, @bytes long, is the one to build on. */
void journal_begin(struct journal *journal, const struct state *state, uint64_t digest,
		   int64_t bytes);

/**
 * Appends the change from @old to @state, and returns when it is on disk. @error: STATE_MAX_ERROR bytes.
 * -E2BIG: not written, for it is so large that the state had better be written whole; -ESTALE: not
 * written, for what is on disk is not what the journal says: likewise. Else the errno of what went
 * wrong; then a reader finds @old, or, where @is_new is true, possibly @state.
 */
int journal_append(const char *dir, struct journal *journal, const struct desired *old,
		   const struct state *state, bool *is_new, char *error) SL_MUST_USE;

/**
 * Makes the changes of file @name of @dir to @state, if it builds on it. @journal: in: where @state
 * stands; out: behind the changes. @note: STATE_MAX_ERROR bytes, filled where the file is damaged: the
 * changes before the damage are made. 0, also without a file; or the errno of a read.
 */
int journal_replay(const char *dir, const char *name, struct state *state, struct journal *journal,
		   char *note) SL_MUST_USE;

/** The same for a journal's text; @path is what notes call it. Whether it builds on the state. */
bool journal_replay_text(const char *path, const char *text, struct state *state,
			 struct journal *journal, char *note);
