/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * JSON as text, written value by value and compact, without a tree of it: for answers of a hundred thousand
 * records, of which jansson's tree would take ten times the memory, and most of the time. One thread.
 */
#pragma once

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include <sluice/base.h>

/** What was written so far. All 0: nothing. */
struct json_writer {
	char *bytes; /* not ended by a NUL */
	size_t length;
	size_t capacity;
	bool is_broken; /* out of memory, or a value that is no JSON: what is there is not whole */
};

void json_writer_fini(struct json_writer *writer);

/** What was written, as jansson has it, and ends @writer; NULL: it is broken, or no JSON. */
json_t *json_writer_load(struct json_writer *writer);

/** Text as it is: what JSON has no word for, or what was written elsewhere. */
void json_writer_raw(struct json_writer *writer, const char *bytes, size_t n);

/*
 * A value. @key: its name, a word without what needs escapes, in an object; NULL in an array, or at the top.
 * Commas are put where they belong, but for behind a line's end, which is written raw with what is before it.
 */
void json_writer_open(struct json_writer *writer, const char *key, char bracket);
void json_writer_close(struct json_writer *writer, char bracket);
/** @text: what is no UTF-8 in it becomes question marks, for backends may say anything; NULL: null. */
void json_writer_string(struct json_writer *writer, const char *key, const char *text);
void json_writer_integer(struct json_writer *writer, const char *key, int64_t value);
/** As jansson has it: with a point or an exponent, and all digits that count. Not finite: null. */
void json_writer_real(struct json_writer *writer, const char *key, double value);
void json_writer_boolean(struct json_writer *writer, const char *key, bool value);
/** @value: NULL breaks the text. */
void json_writer_value(struct json_writer *writer, const char *key, const json_t *value);
