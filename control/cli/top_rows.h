/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* What `sluice top` shows: rows of services or backends, with rates from two answers of sluiced. Pure. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* clang-format off */
/* upper, word of -j and `sort`, heading, counter, what one of it counts for, is of services, of backends */
#define TOP_COLUMN_LIST(X) \
	X(FLOWS,       flows,       "FLOWS",   "",            1, false, true) \
	X(NEW_FLOWS,   new_flows,   "NEW/S",   "flows",       1, true,  true) \
	X(PACKETS_IN,  packets_in,  "PPS-IN",  "packets_in",  1, true,  true) \
	X(BITS_IN,     bits_in,     "BPS-IN",  "bytes_in",    8, true,  true) \
	X(PACKETS_OUT, packets_out, "PPS-OUT", "packets_out", 1, true,  true) \
	X(BITS_OUT,    bits_out,    "BPS-OUT", "bytes_out",   8, true,  true) \
	X(DROPS,       drops,       "DROPS/S", "drops",       1, true,  false)
/* clang-format on */

/* The words of the list, as a command's choices. */
#define TOP_SORT_CHOICES "name|flows|new_flows|packets_in|bits_in|packets_out|bits_out|drops"

enum top_view {
	TOP_SERVICES = 0,
	TOP_BACKENDS, /* of one service */
};

enum top_column {
	TOP_NAME = -1,
#define X(upper, lower, heading, counter, factor, services, backends) TOP_##upper,
	TOP_COLUMN_LIST(X)
#undef X
		TOP_N_COLUMNS,
};

/** One service or backend. */
struct top_row {
	const json_t *object;        /* as sluiced listed it; borrowed of the rows' answer */
	const char *name;            /* of the service, or the backend's address */
	char health[32];             /* "3/4 up", "down", "-" */
	double value[TOP_N_COLUMNS]; /* a second, but flows; NaN: not known */
};

struct top_rows {
	enum top_view view;
	json_t *answer;
	struct top_row *row;
	size_t n; /* that the filter lets through; the others follow */
	size_t n_all;
	double seconds; /* that the rates are over */
};

/**
 * Rows of @answer, whose reference is taken. @before: the answer @seconds earlier; NULL: there is none, and
 * no rate is known. NULL: out of memory.
 */
struct top_rows *top_rows_new(enum top_view view, json_t *answer, const json_t *before,
			      double seconds);
void top_rows_free(struct top_rows *rows);

/** By @column, the largest first (a name: from A); @is_reverse: the other way. What is not known comes last. */
void top_rows_sort(struct top_rows *rows, enum top_column column, bool is_reverse);

/** Lets through the rows that have @text in their name, address, mode, state or health, whatever the case. */
void top_rows_filter(struct top_rows *rows, const char *text);

bool top_column_is_of(enum top_column column, enum top_view view);
const char *top_column_word(enum top_column column);
const char *top_column_heading(enum top_column column);

/** The column called @word; TOP_NAME for "name"; false: there is none. */
bool top_column_find(const char *word, enum top_column *column);

/** Six characters at most: "9999", "12.3k", "1.23M". Returns @text. */
const char *top_number(double value, char *text, size_t size);

/** {"name", "address", ..., "rates": {...}} of a row; a new reference. */
json_t *top_row_to_json(const struct top_rows *rows, const struct top_row *row);
