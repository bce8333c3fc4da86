/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* What the files of the state have in common: names, numbers in their text, digests, reads and writes. */
#pragma once

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include <sluice/base.h>

struct desired;

enum {
	STATE_VERSION = 6,
	STATE_VERSION_OLDEST = 1, /* see state_file_digest() */
	STATE_MAX_PATH = 4096,
};

extern const char state_name[];
extern const char state_last_good_name[];

/** Fills @error, STATE_MAX_ERROR bytes: "DIR/NAME: STEP: what @status, a negative errno, means". */
int state_file_refuse(char *error, const char *dir, const char *name, const char *step, int status);

/** What a file says in a text about it: anything but printable ASCII becomes '?'. */
void state_file_make_printable(char *text);

/** 16 digits; NULL: out of memory. */
json_t *state_file_hex(uint64_t value);
/** 32 digits; NULL: out of memory. */
json_t *state_file_key(const struct sl_hash_key *key);

/** @n_digits lower-case digits, of which @text has at least as many. */
bool state_file_parse_hex(const char *text, size_t n_digits, uint64_t *value);
/** Exactly what state_file_hex() wrote, and state_file_key(). */
bool state_file_parse_number(const char *text, uint64_t *value);
bool state_file_parse_key(const char *text, struct sl_hash_key *key);

/** desired_digest() as @version of the files computed it. */
uint64_t state_file_digest(int version, const struct desired *desired,
			   const struct sl_hash_key *key);

/* Each returns 0 or negative errno. */

int state_file_write(int fd, const char *text, size_t length) SL_MUST_USE;
/** File @name of the folder is @text, on disk when this returns. @step: what failed, in a word. */
int state_file_write_new(int dir_fd, const char *name, const char *text, size_t length,
			 const char **step) SL_MUST_USE;
/** A copy of file @from of the folder, on disk under the name @to when this returns. */
int state_file_copy(int dir_fd, const char *from, const char *to) SL_MUST_USE;
/** @text: heap, ends in NUL. */
int state_file_read(const char *path, char **text) SL_MUST_USE;
