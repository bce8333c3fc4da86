/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* See table.h. Cells stand one behind the other in one piece of memory, for there may be a million. */
#include "control/cli/table.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct table {
	size_t n_columns;
	bool is_right[TABLE_MAX_COLUMNS];
	bool is_hidden[TABLE_MAX_COLUMNS];
	size_t width[TABLE_MAX_COLUMNS];
	char *cells; /* row after row, the headings first; each ends with a NUL */
	size_t n_cells;
	size_t length;
	size_t capacity;
	bool is_broken; /* out of memory: cells are missing */
};

/* The character at @text and its bytes. What is no UTF-8 is a character of its own, escaped. */
static uint32_t next_character(const unsigned char *text, size_t *length)
{
	size_t n = text[0] < 0xc2   ? 1
		   : text[0] < 0xe0 ? 2
		   : text[0] < 0xf0 ? 3
		   : text[0] < 0xf5 ? 4
				    : 1;
	uint32_t character = n == 1 ? text[0] : text[0] & (0xffu >> (n + 1));

	*length = 1;
	if (n == 1)
		return text[0] < 0x80 ? text[0] : 0x80;
	for (size_t i = 1; i < n; i++) {
		if ((text[i] & 0xc0) != 0x80)
			return 0x80;
		character = character << 6 | (text[i] & 0x3f);
	}
	*length = n;
	return character;
}

/* C0, DEL, C1, and what turns or breaks lines: line separators and direction marks. */
static bool is_control(uint32_t c)
{
	return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x061c || (c >= 0x200b && c <= 0x200f) ||
	       (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f) || c == 0xfeff;
}

/* How many of the next bytes are characters of ASCII that stand for themselves. */
static size_t plain_length(const char *text)
{
	size_t n = 0;

	while (text[n] >= 0x20 && text[n] < 0x7f)
		n++;
	return n;
}

size_t text_print(FILE *out, const char *text)
{
	size_t width = 0, length;

	for (; *text; text += length) {
		uint32_t c;
		char escape[16];

		length = plain_length(text);
		if (length) {
			if (out)
				(void)fwrite(text, 1, length, out);
			width += length;
			continue;
		}
		c = next_character((const unsigned char *)text, &length);

		if (!is_control(c)) {
			if (out)
				(void)fwrite(text, 1, length, out);
			width++;
			continue;
		}
		if (length == 1) /* also a byte that is no UTF-8 */
			(void)snprintf(escape, sizeof(escape), "\\x%02x", (unsigned char)*text);
		else
			(void)snprintf(escape, sizeof(escape), "\\u{%04x}", c);
		if (out)
			(void)fputs(escape, out);
		width += strlen(escape);
	}
	return width;
}

size_t text_width(const char *text)
{
	return text_print(NULL, text);
}

static bool reserve(struct table *table, size_t n)
{
	size_t capacity = table->capacity * 2 + n;
	char *grown;

	if (table->capacity - table->length >= n)
		return true;
	grown = realloc(table->cells, capacity);
	if (!grown)
		return false;
	table->cells = grown;
	table->capacity = capacity;
	return true;
}

static void add_cell(struct table *table, const char *text, size_t length)
{
	table->is_broken = table->is_broken || !reserve(table, length + 1);
	if (table->is_broken)
		return;
	memcpy(table->cells + table->length, text, length);
	table->cells[table->length + length] = '\0';
	table->length += length + 1;
	table->n_cells++;
}

struct table *table_new(const char *headings)
{
	struct table *table = calloc(1, sizeof(*table));

	if (!table)
		return NULL;
	for (const char *heading = headings; table->n_columns < TABLE_MAX_COLUMNS;) {
		size_t column = table->n_columns++;
		size_t length;

		table->is_right[column] = heading[0] == '>';
		heading += table->is_right[column];
		length = strcspn(heading, "|");
		table->width[column] = length;
		add_cell(table, heading, length);
		if (!heading[length])
			break;
		heading += length + 1;
	}
	return table;
}

void table_row(struct table *table)
{
	while (table && !table->is_broken && table->n_cells % table->n_columns)
		table_cell(table, "");
}

void table_cell(struct table *table, const char *text)
{
	size_t column, width;

	if (!table)
		return;
	if (!text || !text[0])
		text = "-";
	column = table->n_cells % table->n_columns;
	width = text_width(text);
	if (width > table->width[column])
		table->width[column] = width;
	add_cell(table, text, strlen(text));
}

void table_cell_json(struct table *table, const json_t *value)
{
	char number[32];

	if (json_is_string(value)) {
		table_cell(table, json_string_value(value));
		return;
	}
	number[0] = '\0';
	if (json_is_integer(value))
		(void)snprintf(number, sizeof(number), "%" JSON_INTEGER_FORMAT,
			       json_integer_value(value));
	else if (json_is_real(value))
		(void)snprintf(number, sizeof(number), "%.3f", json_real_value(value));
	else if (json_is_boolean(value))
		(void)snprintf(number, sizeof(number), "%s", json_is_true(value) ? "yes" : "no");
	table_cell(table, number);
}

static void pad(FILE *out, size_t n)
{
	while (n--)
		(void)fputc(' ', out);
}

static void print_cell(const struct table *table, FILE *out, size_t column, const char *text,
		       bool is_last)
{
	size_t rest = table->width[column] - text_width(text);

	if (table->is_right[column])
		pad(out, rest);
	(void)text_print(out, text);
	if (!table->is_right[column] && !is_last)
		pad(out, rest);
	(void)fputs(is_last ? "\n" : "  ", out);
}

void table_hide(struct table *table, const char *heading)
{
	const char *cell = table && !table->is_broken ? table->cells : NULL;

	for (size_t i = 0; cell && i < table->n_columns; i++) {
		table->is_hidden[i] |= strcmp(cell, heading) == 0;
		cell += strlen(cell) + 1;
	}
}

void table_end(struct table *table, FILE *out)
{
	const char *cell;
	size_t last = 0;

	if (!table)
		return;
	table_row(table);
	for (size_t i = 0; i < table->n_columns; i++)
		last = table->is_hidden[i] ? last : i;
	cell = table->cells;
	for (size_t i = 0; i < table->n_cells; i++) {
		size_t column = i % table->n_columns;

		if (!table->is_hidden[column])
			print_cell(table, out, column, cell, column == last);
		cell += strlen(cell) + 1;
	}
	if (table->is_broken)
		(void)fputs("\n(out of memory: the rest is missing)\n", out);
	table_free(table);
}

void table_free(struct table *table)
{
	if (!table)
		return;
	free(table->cells);
	free(table);
}
