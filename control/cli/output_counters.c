/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* See output.h. Counters, with what they mean. */
#include "control/cli/output.h"

#include <string.h>

#include <sluice/counters.h>

#include "control/cli/output_internal.h"

struct counter_row {
	const char *name, *unit, *help;
};

static const struct counter_row verdict_rows[] = {
#define X(upper, lower, help) {#lower, "packets", help},
	SL_VERDICT_LIST(X)
#undef X
};
static const struct counter_row event_rows[] = {
#define X(upper, lower, unit, help) {#lower, #unit, help},
	SL_EVENT_LIST(X)
#undef X
};
static const struct counter_row service_rows[] = {
#define X(name, unit, help) {#name, #unit, help},
	SL_SERVICE_COUNTER_LIST(X)
#undef X
};

static void add_counters(struct table *table, const json_t *values, const struct counter_row *rows,
			 size_t n_rows, bool is_all, size_t *n_shown)
{
	const char *name;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)values, name, value)
	{
		const struct counter_row *row = NULL;

		if (!is_all && json_integer_value(value) == 0)
			continue;
		for (size_t i = 0; i < n_rows; i++)
			if (strcmp(rows[i].name, name) == 0)
				row = &rows[i];
		table_row(table);
		table_cell(table, name);
		table_cell_json(table, value);
		table_cell(table, row ? row->unit : "");
		table_cell(table, row ? row->help : "");
		++*n_shown;
	}
}

void output_counters(FILE *out, const json_t *result, const json_t *own)
{
	struct table *table = table_new("COUNTER|>VALUE|UNIT|MEANING");
	bool is_all = json_is_true(get(own, "all"));
	size_t n_shown = 0;

	add_counters(table, get(result, "verdicts"), verdict_rows, SL_ARRAY_LEN(verdict_rows),
		     is_all, &n_shown);
	add_counters(table, get(result, "events"), event_rows, SL_ARRAY_LEN(event_rows), is_all,
		     &n_shown);
	add_counters(table, get(result, "counters"), service_rows, SL_ARRAY_LEN(service_rows),
		     is_all, &n_shown);
	if (n_shown > 0) {
		table_end(table, out);
	} else {
		table_free(table);
		(void)fputs("all counters are zero; \"all\" shows them\n", out);
	}
	if (get(result, "backends")) {
		(void)fputc('\n', out);
		output_print_backends(out, get(result, "backends"));
	}
}
