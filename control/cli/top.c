/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* See top.h. Asking, and snapshots for programs and pipes. */
#include "control/cli/top.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "control/cli/call.h"
#include "control/cli/commands.h"
#include "control/cli/output.h"
#include "control/cli/parse.h"
#include "control/cli/table.h"
#include "control/cli/top_internal.h"

int64_t top_now_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void top_forget(struct top *top)
{
	json_decref(top->before);
	top->before = NULL;
}

int top_sample(struct top *top, struct top_rows **rows)
{
	bool is_services = top->view == TOP_SERVICES;
	json_t *params = is_services ? NULL : json_pack("{s:s}", "service", top->service);
	json_t *answer = NULL;
	int64_t now_ms;
	int code = call_silently(top->path, top->timeout_sec,
				 is_services ? "service.list" : "backend.list", params, &answer,
				 top->error);

	json_decref(params);
	*rows = NULL;
	if (code)
		return code;
	now_ms = top_now_ms();
	*rows = top_rows_new(top->view, json_incref(answer), top->before,
			     (double)(now_ms - top->before_ms) / 1000);
	top_forget(top);
	top->before = answer;
	top->before_ms = now_ms;
	if (!*rows) {
		rpc_error_set(top->error, RPC_INTERNAL, NULL, "top: out of memory");
		return CLI_REFUSED;
	}
	top_rows_filter(*rows, top->filter);
	top_rows_sort(*rows, top->sort, top->is_reverse);
	return CLI_DONE;
}

/* Snapshots */

static json_t *time_now(void)
{
	struct timespec now;
	struct tm parts;
	char text[40];
	size_t n;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	(void)gmtime_r(&now.tv_sec, &parts);
	n = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &parts);
	(void)snprintf(text + n, sizeof(text) - n, ".%03ldZ", now.tv_nsec / 1000000);
	return json_string(text);
}

static void print_json(const struct top_rows *rows)
{
	json_t *list = json_array();
	json_t *line = json_pack(
		"{s:o, s:f, s:s, s:o}", "time", time_now(), "seconds", rows->seconds, "view",
		rows->view == TOP_SERVICES ? "services" : "backends", "rows", list);

	for (size_t i = 0; i < rows->n; i++)
		json_array_append_new(list, top_row_to_json(rows, &rows->row[i]));
	output_json(stdout, line, false);
	json_decref(line);
}

static void print_plain(const struct top_rows *rows)
{
	bool is_services = rows->view == TOP_SERVICES;
	char text[512];
	struct table *table;

	(void)snprintf(text, sizeof(text),
		       is_services ? "NAME|ADDRESS|>BACKENDS|HEALTH"
				   : "ADDRESS|STATE|>WEIGHT|HEALTH");
	for (int i = 0; i < TOP_N_COLUMNS; i++)
		if (top_column_is_of((enum top_column)i, rows->view))
			(void)snprintf(text + strlen(text), sizeof(text) - strlen(text), "|>%s",
				       top_column_heading((enum top_column)i));
	table = table_new(text);
	for (size_t k = 0; k < rows->n; k++) {
		const struct top_row *row = &rows->row[k];

		table_row(table);
		table_cell(table, row->name);
		table_cell_json(table,
				json_object_get(row->object, is_services ? "address" : "state"));
		table_cell_json(table,
				json_object_get(row->object, is_services ? "backends" : "weight"));
		table_cell(table, row->health);
		for (int i = 0; i < TOP_N_COLUMNS; i++)
			if (top_column_is_of((enum top_column)i, rows->view))
				table_cell(table, top_number(row->value[i], text, sizeof(text)));
	}
	table_end(table, stdout);
	(void)fputc('\n', stdout);
}

/* An error on the way is told once; sluiced may come back. */
static void tell(const struct top *top, bool *is_told)
{
	json_t *document;

	if (*is_told)
		return;
	*is_told = true;
	(void)fputs("sluice: ", stderr);
	(void)text_print(stderr, top->error->message);
	(void)fputs("; waiting for it\n", stderr);
	if (!top->is_json)
		return;
	document = output_error_json(top->error);
	output_json(stdout, document, false);
	json_decref(document);
}

static void sleep_until(int64_t when_ms)
{
	int64_t left_ms = when_ms - top_now_ms();
	const struct timespec pause = {.tv_sec = left_ms / 1000,
				       .tv_nsec = left_ms % 1000 * 1000000};

	if (left_ms > 0)
		(void)nanosleep(&pause, NULL);
}

static int run_snapshots(struct top *top)
{
	int64_t due_ms = top_now_ms(), n = 0;
	struct top_rows *rows;
	bool is_told = false;
	int code = top_sample(top, &rows);

	top_rows_free(rows);
	while (!code && (top->n_snapshots == 0 || n < top->n_snapshots)) {
		due_ms += top->interval_ms;
		sleep_until(due_ms);
		if (top_sample(top, &rows)) {
			tell(top, &is_told);
		} else {
			is_told = false;
			(top->is_json ? print_json : print_plain)(rows);
			n++;
		}
		top_rows_free(rows);
		if (fflush(stdout))
			break; /* nobody reads any more; main() says so */
	}
	return code;
}

static int64_t number_of(const struct request *request, const char *name, int64_t otherwise)
{
	const json_t *value = json_object_get(request->own, name);

	return value ? json_integer_value(value) : otherwise;
}

static const char *word_of(const struct request *request, const char *name, const char *otherwise)
{
	const char *text = json_string_value(json_object_get(request->own, name));

	return text ? text : otherwise;
}

int top_run(const struct cli_options *options, const struct request *request, const char *path,
	    struct rpc_error *error)
{
	const char *service = word_of(request, "service", "");
	const json_t *interval = json_object_get(request->own, "interval");
	struct top top = {
		.path = path,
		.timeout_sec =
			options->timeout_sec < TOP_CALL_SEC ? options->timeout_sec : TOP_CALL_SEC,
		.interval_ms = interval ? (int64_t)(1000 * json_number_value(interval)) : 1000,
		.n_snapshots = number_of(request, "count", 0),
		.is_json = options->is_json,
		.view = service[0] ? TOP_BACKENDS : TOP_SERVICES,
		.is_reverse = json_object_get(request->own, "reverse") != NULL,
		.error = error,
	};
	bool is_screen =
		!top.is_json && !top.n_snapshots && isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
	int code;

	(void)snprintf(top.service, sizeof(top.service), "%s", service);
	(void)snprintf(top.filter, sizeof(top.filter), "%s", word_of(request, "filter", ""));
	(void)top_column_find(word_of(request, "sort", "packets_in"), &top.sort);
	if (!top_column_is_of(top.sort, top.view))
		top.sort = TOP_PACKETS_IN;
	code = is_screen ? top_screen(&top) : run_snapshots(&top);
	top_forget(&top);
	return code;
}
