/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * Text for people's terminals: what came from elsewhere is shown, never obeyed (control characters
 * are escaped), and columns are aligned by characters, not bytes. Nothing is cut.
 */
#pragma once

#include <jansson.h>
#include <stdio.h>

#include <sluice/base.h>

enum {
	TABLE_MAX_COLUMNS = 20,
};

struct table;

/** Writes @text with control characters as \xNN or \u{NNNN}; returns how many columns it takes. */
size_t text_print(FILE *out, const char *text);

/** Columns that text_print would take. */
size_t text_width(const char *text);

/**
 * A table with @headings, split at '|'; one that begins with '>' is aligned to the right. NULL: out of
 * memory.
 */
struct table *table_new(const char *headings);

/** The next cell, from the left, of the row begun by table_row. @text is copied. NULL: "-". */
void table_row(struct table *table);
void table_cell(struct table *table, const char *text);
void table_cell_json(struct table *table, const json_t *value);

/** The column of @heading is not printed: for who knows at the end alone whether it says something. */
void table_hide(struct table *table, const char *heading);

/** Prints, headings first, and frees. NULL is allowed. */
void table_end(struct table *table, FILE *out);
void table_free(struct table *table);
