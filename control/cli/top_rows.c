/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* See top_rows.h. */
#include "control/cli/top_rows.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sluice/base.h>

static const struct column {
	const char *word, *heading, *counter;
	int factor;
	bool is_of[2]; /* by enum top_view */
} columns[TOP_N_COLUMNS] = {
#define X(upper, lower, heading, counter, factor, services, backends)                              \
	[TOP_##upper] = {#lower, heading, counter, factor, {services, backends}},
	TOP_COLUMN_LIST(X)
#undef X
};

bool top_column_is_of(enum top_column column, enum top_view view)
{
	return column == TOP_NAME || columns[column].is_of[view];
}

const char *top_column_word(enum top_column column)
{
	return column == TOP_NAME ? "name" : columns[column].word;
}

const char *top_column_heading(enum top_column column)
{
	return column == TOP_NAME ? "NAME" : columns[column].heading;
}

bool top_column_find(const char *word, enum top_column *column)
{
	*column = TOP_NAME;
	if (strcmp(word, "name") == 0)
		return true;
	for (int i = 0; i < TOP_N_COLUMNS; i++) {
		if (strcmp(word, columns[i].word) != 0)
			continue;
		*column = (enum top_column)i;
		return true;
	}
	return false;
}

static const char *text_of(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text ? text : "";
}

static const char *key_of(enum top_view view, const json_t *object)
{
	return text_of(object, view == TOP_SERVICES ? "name" : "address");
}

static const json_t *list_of(enum top_view view, const json_t *answer)
{
	return json_object_get(answer, view == TOP_SERVICES ? "services" : "backends");
}

/* The counters of @answer by name: {"web": {...}}. A new reference. */
static json_t *by_name(enum top_view view, const json_t *answer)
{
	json_t *index = json_object();
	const json_t *object;
	size_t i;

	json_array_foreach(list_of(view, answer), i, object)
	{
		json_t *counters = json_object_get(object, "counters");

		if (counters)
			json_object_set(index, key_of(view, object), counters);
	}
	return index;
}

static double rate(const json_t *now, const json_t *before, const struct column *column,
		   double seconds)
{
	const json_t *counted = json_object_get(now, column->counter);
	const json_t *former = json_object_get(before, column->counter);
	json_int_t grown = json_integer_value(counted) - json_integer_value(former);

	/* Less than before: the dataplane began anew, and nobody knows what it had counted. */
	if (!counted || !former || grown < 0 || seconds <= 0)
		return NAN;
	return (double)grown * column->factor / seconds;
}

static double live(const json_t *counters)
{
	const json_t *flows = json_object_get(counters, "flows");
	const json_t *ended = json_object_get(counters, "flows_ended");

	return flows && ended ? (double)(json_integer_value(flows) - json_integer_value(ended))
			      : NAN;
}

static void health_text(enum top_view view, const json_t *object, char *text, size_t size)
{
	const json_t *health = json_object_get(object, "health");
	json_int_t up = json_integer_value(json_object_get(health, "up"));

	if (view == TOP_BACKENDS)
		(void)snprintf(text, size, "%.16s",
			       json_string_value(health) ? json_string_value(health) : "-");
	else if (!health)
		(void)snprintf(text, size, "-");
	else
		(void)snprintf(text, size, "%" JSON_INTEGER_FORMAT "/%" JSON_INTEGER_FORMAT "%s",
			       up,
			       up + json_integer_value(json_object_get(health, "down")) +
				       json_integer_value(json_object_get(health, "unknown")),
			       json_is_true(json_object_get(health, "panic")) ? " panic" : " up");
}

static void fill_row(struct top_row *row, const struct top_rows *rows, const json_t *object,
		     const json_t *before)
{
	const json_t *counters = json_object_get(object, "counters");

	row->object = object;
	row->name = key_of(rows->view, object);
	health_text(rows->view, object, row->health, sizeof(row->health));
	for (int i = 0; i < TOP_N_COLUMNS; i++)
		row->value[i] = i == TOP_FLOWS ? live(counters)
					       : rate(counters, json_object_get(before, row->name),
						      &columns[i], rows->seconds);
}

struct top_rows *top_rows_new(enum top_view view, json_t *answer, const json_t *before,
			      double seconds)
{
	struct top_rows *rows = calloc(1, sizeof(*rows));
	const json_t *list = list_of(view, answer);
	const json_t *object;
	json_t *index;
	size_t i;

	if (rows)
		rows->row = calloc(json_array_size(list) + 1, sizeof(*rows->row));
	if (!rows || !rows->row) {
		json_decref(answer);
		free(rows);
		return NULL;
	}
	index = by_name(view, before);
	rows->view = view;
	rows->answer = answer;
	rows->seconds = seconds;
	json_array_foreach(list, i, object)
	{
		fill_row(&rows->row[rows->n_all++], rows, object, index);
	}
	json_decref(index);
	rows->n = rows->n_all;
	return rows;
}

void top_rows_free(struct top_rows *rows)
{
	if (!rows)
		return;
	json_decref(rows->answer);
	free(rows->row);
	free(rows);
}

struct order {
	enum top_column column;
	bool is_reverse;
};

static int compare(const void *a, const void *b, void *context)
{
	const struct top_row *one = a, *other = b;
	const struct order *order = context;
	int by_text = strcmp(one->name, other->name);
	double x, y;

	if (order->column == TOP_NAME)
		return order->is_reverse ? -by_text : by_text;
	x = one->value[order->column];
	y = other->value[order->column];
	if (isnan(x) || isnan(y))
		return isnan(x) && isnan(y) ? by_text : isnan(x) ? 1 : -1;
	if (x < y)
		return order->is_reverse ? -1 : 1;
	if (x > y)
		return order->is_reverse ? 1 : -1;
	return by_text;
}

void top_rows_sort(struct top_rows *rows, enum top_column column, bool is_reverse)
{
	struct order order = {.column = column, .is_reverse = is_reverse};

	qsort_r(rows->row, rows->n, sizeof(rows->row[0]), compare, &order);
}

static bool has_text(const struct top_row *row, const char *text)
{
	return strcasestr(row->name, text) || strcasestr(row->health, text) ||
	       strcasestr(text_of(row->object, "address"), text) ||
	       strcasestr(text_of(row->object, "mode"), text) ||
	       strcasestr(text_of(row->object, "state"), text);
}

void top_rows_filter(struct top_rows *rows, const char *text)
{
	rows->n = 0;
	for (size_t i = 0; i < rows->n_all; i++) {
		struct top_row row = rows->row[i];

		if (!has_text(&row, text))
			continue;
		rows->row[i] = rows->row[rows->n];
		rows->row[rows->n++] = row;
	}
}

const char *top_number(double value, char *text, size_t size)
{
	static const char units[] = "kMGTPE";
	int unit = -1;

	if (isnan(value)) {
		(void)snprintf(text, size, "-");
		return text;
	}
	if (value < 9999.5) {
		(void)snprintf(text, size, "%.0f", value);
		return text;
	}
	for (; value >= 999.5 && units[unit + 1]; unit++)
		value /= 1000;
	(void)snprintf(text, size, "%.*f%c",
		       value < 9.995   ? 2
		       : value < 99.95 ? 1
				       : 0,
		       value, units[unit]);
	return text;
}

static void copy(json_t *to, const json_t *from, const char *name)
{
	json_t *value = json_object_get(from, name);

	if (value)
		json_object_set(to, name, value);
}

json_t *top_row_to_json(const struct top_rows *rows, const struct top_row *row)
{
	static const char *const of_services[] = {"name", "address", "mode", "backends", "health"};
	static const char *const of_backends[] = {"service", "address", "state", "health",
						  "weight"};
	bool is_services = rows->view == TOP_SERVICES;
	json_t *object = json_object(), *rates = json_object();

	for (size_t i = 0; i < SL_ARRAY_LEN(of_services); i++)
		copy(object, row->object, is_services ? of_services[i] : of_backends[i]);
	if (!isnan(row->value[TOP_FLOWS]))
		json_object_set_new(object, "flows",
				    json_integer((json_int_t)row->value[TOP_FLOWS]));
	for (int i = TOP_FLOWS + 1; i < TOP_N_COLUMNS; i++)
		if (columns[i].is_of[rows->view])
			json_object_set_new(rates, columns[i].word,
					    isnan(row->value[i]) ? json_null()
								 : json_real(row->value[i]));
	json_object_set_new(object, "rates", rates);
	return object;
}
