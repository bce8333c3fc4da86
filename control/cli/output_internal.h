/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* What the printers of output.h share. */
#pragma once

#include <jansson.h>
#include <stdio.h>

#include <sluice/base.h>

#include "control/cli/table.h"

enum {
	LABEL_WIDTH = 14,
	WORDS_SIZE = 512, /* of a line of words */
};

SL_INLINE const json_t *get(const json_t *object, const char *name)
{
	return json_object_get(object, name);
}

SL_INLINE const char *string_of(const json_t *object, const char *name)
{
	const char *text = json_string_value(get(object, name));

	return text ? text : "-";
}

SL_INLINE json_int_t integer_of(const json_t *object, const char *name)
{
	return json_integer_value(get(object, name));
}

/* "label         text", with what came from elsewhere escaped. */
SL_INLINE void line(FILE *out, const char *label, const char *text)
{
	(void)fprintf(out, "%-*s", LABEL_WIDTH, label);
	(void)text_print(out, text);
	(void)fputc('\n', out);
}

SL_INLINE void line_integer(FILE *out, const char *label, const json_t *object, const char *name)
{
	char text[32];

	(void)snprintf(text, sizeof(text), "%" JSON_INTEGER_FORMAT, integer_of(object, name));
	line(out, label, get(object, name) ? text : "-");
}

SL_INLINE void cells(struct table *table, const json_t *object, const char *const *names)
{
	for (; *names; names++)
		table_cell_json(table, get(object, *names));
}

/** A table of @list, as output_backends() has it. */
void output_print_backends(FILE *out, const json_t *list);

/** "17/129024": source ports in use of how many, over all source addresses that @of has; "" without any. */
void output_ports_text(const json_t *of, char *text, size_t size);
