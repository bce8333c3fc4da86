/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* See output.h. Changes and configurations; the other printers are in output_*.c. */
#include "control/cli/output.h"

#include <inttypes.h>
#include <string.h>

#include "control/cli/output_internal.h"
#include "control/rpc.h"

void output_json(FILE *out, const json_t *document, bool is_indented)
{
	(void)json_dumpf(document, out,
			 JSON_PRESERVE_ORDER | JSON_ENCODE_ANY |
				 (is_indented ? JSON_INDENT(2) : JSON_COMPACT));
	(void)fputc('\n', out);
}

json_t *output_error_json(const struct rpc_error *error)
{
	json_t *data = json_object();

	if (error->field[0])
		json_object_set_new(data, "field", json_string(error->field));
	if (error->value[0])
		json_object_set_new(data, "value", json_string(error->value));
	if (error->limit[0])
		json_object_set_new(data, "limit", json_string(error->limit));
	return json_pack("{s:{s:i, s:s, s:o}}", "error", "code", error->code, "message",
			 error->message, "data", data);
}

/* Changes */

static size_t print_changes(FILE *out, const json_t *result)
{
	const json_t *changes = get(result, "changes");
	const json_t *n = get(result, "n_changes");
	size_t listed = json_array_size(changes);
	size_t all = json_is_integer(n) ? (size_t)json_integer_value(n) : listed;

	for (size_t i = 0; i < listed; i++) {
		(void)text_print(out, string_of(json_array_get(changes, i), "text"));
		(void)fputc('\n', out);
	}
	if (all > listed)
		(void)fprintf(out, "... and %zu more\n", all - listed);
	return all;
}

void output_changes(FILE *out, const json_t *result, const json_t *own)
{
	json_int_t generation = integer_of(result, "generation");

	(void)own;
	if (print_changes(out, result) == 0)
		(void)fprintf(out, "no change, ");
	else if (json_is_true(get(result, "dry_run")))
		(void)fprintf(out, "dry run, nothing was changed, ");
	(void)fprintf(out, "generation %" JSON_INTEGER_FORMAT, generation);
	if (!json_is_true(get(result, "dry_run")))
		(void)fputs(json_is_true(get(result, "applied"))
				    ? ", applied"
				    : ", saved; the dataplane does not have it yet",
			    out);
	if (json_is_false(get(result, "kept")))
		(void)fputs("; cannot be gone back to, sluiced's log says why", out);
	(void)fputc('\n', out);
}

/* The state where it is none that is kept: how much leads to it from the newest. */
static void add_current(struct table *table, const json_t *result, const json_t *current)
{
	json_int_t n_changes = integer_of(current, "n_changes");
	json_int_t since = integer_of(current, "since");
	char text[128] = "current";

	if (since && n_changes)
		(void)snprintf(text, sizeof(text),
			       "current: %" JSON_INTEGER_FORMAT
			       " change%s since %" JSON_INTEGER_FORMAT
			       ", see \"generation diff %" JSON_INTEGER_FORMAT "\"",
			       n_changes, n_changes == 1 ? "" : "s", since, since);
	else if (since)
		(void)snprintf(text, sizeof(text), "current: no change since %" JSON_INTEGER_FORMAT,
			       since);
	table_row(table);
	table_cell_json(table, get(result, "generation"));
	table_cell_json(table, get(current, "made"));
	table_cell(table, n_changes ? "changes" : "");
	table_cell_json(table, get(current, "services"));
	table_cell_json(table, get(current, "backends"));
	table_cell(table, text);
}

void output_generations(FILE *out, const json_t *result, const json_t *own)
{
	static const char *const names[] = {"made", "origin", "services", "backends", NULL};
	const json_t *current = get(result, "current");
	const json_t *generations = get(result, "generations");
	size_t n = json_array_size(generations);
	struct table *table =
		n || current ? table_new(">GENERATION|MADE|BY|>SERVICES|>BACKENDS|STATE") : NULL;

	(void)own;
	if (current)
		add_current(table, result, current);
	for (size_t i = 0; i < n; i++) {
		const json_t *generation = json_array_get(generations, i);
		const char *damage = json_string_value(get(generation, "damage"));
		char text[256];

		(void)snprintf(text, sizeof(text), "%s%s", damage ? "damaged: " : "",
			       damage                                     ? damage
			       : json_is_true(get(generation, "current")) ? "current"
									  : "kept");
		table_row(table);
		table_cell_json(table, get(generation, "number"));
		cells(table, generation, names);
		table_cell(table, text);
	}
	table_end(table, out);
	if (n == 0)
		(void)fputs("none is kept: there was no apply, rollback or reload yet\n", out);
}

void output_diff(FILE *out, const json_t *result, const json_t *own)
{
	(void)own;
	if (print_changes(out, result) == 0)
		(void)fputs("no difference\n", out);
}

/* Configuration */

void output_check(FILE *out, const json_t *result, const json_t *own)
{
	(void)text_print(out, string_of(get(result, "file") ? result : own, "file"));
	(void)fprintf(out,
		      ": ok (services: %" JSON_INTEGER_FORMAT ", backends: %" JSON_INTEGER_FORMAT
		      ")\n",
		      integer_of(result, "services"), integer_of(result, "backends"));
}

/* Lines stay lines; any other control character is escaped, as everywhere. */
void output_export(FILE *out, const json_t *result, const json_t *own)
{
	const char *rest = string_of(result, "text");

	(void)own;
	while (*rest) {
		size_t length = strcspn(rest, "\n");
		json_t *one = json_stringn_nocheck(rest, length);

		(void)text_print(out, json_string_value(one));
		(void)fputc('\n', out);
		json_decref(one);
		rest += length + (rest[length] == '\n');
	}
}

static void names_of(const json_t *params, char *text, size_t size)
{
	text[0] = '\0';
	for (size_t i = 0; i < json_array_size(params); i++) {
		const json_t *param = json_array_get(params, i);
		size_t used = strlen(text);
		bool is_required = json_is_true(get(param, "required"));

		(void)snprintf(text + used, size - used, "%s%s%s%s", used ? " " : "",
			       is_required ? "" : "[", string_of(param, "name"),
			       is_required ? "" : "]");
	}
}

void output_methods(FILE *out, const json_t *result, const json_t *own)
{
	const json_t *methods = get(result, "methods");
	struct table *table = table_new("METHOD|CHANGES|PARAMETERS|SUMMARY");
	char text[WORDS_SIZE];

	(void)own;
	for (size_t i = 0; i < json_array_size(methods); i++) {
		const json_t *method = json_array_get(methods, i);

		table_row(table);
		table_cell_json(table, get(method, "name"));
		table_cell_json(table, get(method, "mutation"));
		names_of(get(method, "params"), text, sizeof(text));
		table_cell(table, text);
		table_cell_json(table, get(method, "summary"));
	}
	table_end(table, out);
}
