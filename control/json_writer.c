/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* See json_writer.h. */
#include "control/json_writer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/utf8.h"

enum {
	MIN_BYTES = 256,
	NUMBER_BYTES = 32,
};

/* Room for @n more bytes, where they go; NULL: there is none. */
static char *reserve(struct json_writer *writer, size_t n)
{
	if (writer->is_broken)
		return NULL;
	if (writer->capacity - writer->length < n) {
		size_t capacity = writer->capacity * 2 + n + MIN_BYTES;
		char *grown = realloc(writer->bytes, capacity);

		if (!grown) {
			writer->is_broken = true;
			return NULL;
		}
		writer->bytes = grown;
		writer->capacity = capacity;
	}
	return writer->bytes + writer->length;
}

void json_writer_fini(struct json_writer *writer)
{
	free(writer->bytes);
	memset(writer, 0, sizeof(*writer));
}

json_t *json_writer_load(struct json_writer *writer)
{
	json_t *value = writer->is_broken
				? NULL
				: json_loadb(writer->bytes, writer->length, JSON_DECODE_ANY, NULL);

	json_writer_fini(writer);
	return value;
}

void json_writer_raw(struct json_writer *writer, const char *bytes, size_t n)
{
	char *to = reserve(writer, n);

	if (!to || n == 0)
		return;
	memcpy(to, bytes, n);
	writer->length += n;
}

/* What stands before a value. */
static void begin(struct json_writer *writer, const char *key)
{
	char last = writer->length ? writer->bytes[writer->length - 1] : '[';
	size_t n = key ? strlen(key) : 0;
	char *to = reserve(writer, n + sizeof(",\"\":"));

	if (!to)
		return;
	if (last != '[' && last != '{' && last != '\n')
		*to++ = ',';
	if (key) {
		*to++ = '"';
		memcpy(to, key, n);
		to += n;
		*to++ = '"';
		*to++ = ':';
	}
	writer->length = (size_t)(to - writer->bytes);
}

void json_writer_open(struct json_writer *writer, const char *key, char bracket)
{
	begin(writer, key);
	json_writer_raw(writer, &bracket, 1);
}

void json_writer_close(struct json_writer *writer, char bracket)
{
	json_writer_raw(writer, &bracket, 1);
}

static int take(const char *bytes, size_t n, void *context)
{
	struct json_writer *writer = context;

	json_writer_raw(writer, bytes, n);
	return writer->is_broken ? -1 : 0;
}

void json_writer_value(struct json_writer *writer, const char *key, const json_t *value)
{
	begin(writer, key);
	if (!value || json_dump_callback(value, take, writer,
					 JSON_COMPACT | JSON_PRESERVE_ORDER | JSON_ENCODE_ANY) != 0)
		writer->is_broken = true;
}

/* How many of its first bytes stand for themselves in a string. */
static size_t plain_length(const char *text)
{
	size_t n = 0;

	while (text[n] >= 0x20 && text[n] < 0x7f && text[n] != '"' && text[n] != '\\')
		n++;
	return n;
}

/* What jansson makes of @text, whatever it is; NULL: out of memory. */
static json_t *string_of(const char *text)
{
	json_t *value = json_string(text);
	char *scrubbed;

	if (value)
		return value;
	scrubbed = strdup(text);
	if (!scrubbed)
		return NULL;
	utf8_scrub(scrubbed);
	value = json_string(scrubbed);
	free(scrubbed);
	return value;
}

void json_writer_string(struct json_writer *writer, const char *key, const char *text)
{
	size_t n = text ? plain_length(text) : 0;
	json_t *value;
	char *to;

	if (text && !text[n]) {
		begin(writer, key);
		to = reserve(writer, n + 2);
		if (!to)
			return;
		to[0] = '"';
		memcpy(to + 1, text, n);
		to[n + 1] = '"';
		writer->length += n + 2;
		return;
	}
	value = text ? string_of(text) : json_null();
	json_writer_value(writer, key, value);
	json_decref(value);
}

void json_writer_integer(struct json_writer *writer, const char *key, int64_t value)
{
	uint64_t left = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
	char text[NUMBER_BYTES];
	size_t at = sizeof(text);

	do {
		text[--at] = (char)('0' + left % 10);
		left /= 10;
	} while (left != 0);
	if (value < 0)
		text[--at] = '-';
	begin(writer, key);
	json_writer_raw(writer, text + at, sizeof(text) - at);
}

void json_writer_real(struct json_writer *writer, const char *key, double value)
{
	char text[NUMBER_BYTES] = "null";

	if (isfinite(value)) {
		(void)snprintf(text, sizeof(text) - 2, "%.17g", value);
		if (!strpbrk(text, ".e"))
			strcat(text, ".0");
	}
	begin(writer, key);
	json_writer_raw(writer, text, strlen(text));
}

void json_writer_boolean(struct json_writer *writer, const char *key, bool value)
{
	begin(writer, key);
	json_writer_raw(writer, value ? "true" : "false", value ? 4 : 5);
}
