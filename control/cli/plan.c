/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * A plan for people: the sum of it first, then each service that changes with its backends, then what
 * deserves a warning. Backends that only give or take slots are shown up to a few; -j has all.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "control/cli/output.h"
#include "control/cli/table.h"

enum {
	MAX_UNCHANGED = 8, /* backends of a service that are shown though nobody changes them */
	MAX_FIELDS = 256,
};

static json_int_t number(const json_t *object, const char *group, const char *name)
{
	const json_t *inner = group ? json_object_get(object, group) : object;

	return json_integer_value(json_object_get(inner, name));
}

static const char *word_of(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text ? text : "-";
}

/* ---- the sum ---- */

/* 1234567 -> "1.2 MiB". */
static const char *bytes_text(json_int_t bytes, char text[static 32])
{
	static const char *const unit[] = {"B", "KiB", "MiB", "GiB", "TiB"};
	double value = (double)bytes;
	size_t i = 0;

	for (; value >= 1024 && i + 1 < SL_ARRAY_LEN(unit); i++)
		value /= 1024;
	(void)snprintf(text, 32, i ? "%.1f %s" : "%.0f %s", value, unit[i]);
	return text;
}

static void print_sum(FILE *out, const json_t *result)
{
	size_t n_services = json_array_size(json_object_get(result, "services"));
	char now[32], after[32];
	json_int_t n_built = number(result, NULL, "tables_built");

	(void)fprintf(out,
		      "generation %" JSON_INTEGER_FORMAT ": %" JSON_INTEGER_FORMAT
		      " change%s, %zu service%s; nothing was changed\n",
		      number(result, NULL, "generation"), number(result, NULL, "n_changes"),
		      number(result, NULL, "n_changes") == 1 ? "" : "s", n_services,
		      n_services == 1 ? "" : "s");
	(void)fprintf(out,
		      "flows         %" JSON_INTEGER_FORMAT " stay, %" JSON_INTEGER_FORMAT
		      " reset, %" JSON_INTEGER_FORMAT " move%s\n",
		      number(result, "flows", "stay"), number(result, "flows", "reset"),
		      number(result, "flows", "move"),
		      json_is_false(json_object_get(result, "counted")) ? ", counted in part" : "");
	(void)fprintf(out,
		      "slots         %" JSON_INTEGER_FORMAT " of %" JSON_INTEGER_FORMAT " move\n",
		      number(result, "slots", "moved"), number(result, "slots", "after"));
	(void)fprintf(out,
		      "memory        %s now, %s after; %" JSON_INTEGER_FORMAT " table%s built\n",
		      bytes_text(number(result, "memory", "now"), now),
		      bytes_text(number(result, "memory", "after"), after), n_built,
		      n_built == 1 ? "" : "s");
}

/* ---- changes of backends, by service and address ---- */

/* "weight 1 -> 2 state ready -> drain" of a change; "" without fields. */
static void fields_text(const json_t *change, char *text, size_t size)
{
	const char *key;
	const json_t *value;
	size_t used = 0;

	text[0] = '\0';
	json_object_foreach(json_object_get(change, "fields"), key, value)
	{
		char piece[2][32];
		int length;

		for (int i = 0; i < 2; i++) {
			const json_t *side = json_object_get(value, i ? "new" : "old");

			if (json_is_integer(side))
				(void)snprintf(piece[i], sizeof(piece[i]), "%" JSON_INTEGER_FORMAT,
					       json_integer_value(side));
			else
				(void)snprintf(piece[i], sizeof(piece[i]), "%s",
					       json_is_string(side) ? json_string_value(side) : "");
		}
		length = snprintf(text + used, size - used, "%s%s %s -> %s", used ? ", " : "", key,
				  piece[0], piece[1]);
		used += length > 0 && (size_t)length < size - used ? (size_t)length : 0;
	}
}

/*
 * {"SERVICE ADDRESS": "weight 1 -> 2", "SERVICE": "slots 251 -> 1009"}: what is asked for of backends and
 * services that stay.
 */
static json_t *index_changes(const json_t *changes)
{
	json_t *index = json_object();

	for (size_t i = 0; i < json_array_size(changes); i++) {
		const json_t *change = json_array_get(changes, i);
		const char *service = word_of(change, "service"), *text = word_of(change, "text");
		char key[MAX_FIELDS], fields[MAX_FIELDS];
		size_t head = strlen("~ service ") + strlen(service) + 1;

		if (strcmp(word_of(change, "action"), "set") != 0)
			continue;
		if (strcmp(word_of(change, "object"), "service") == 0) {
			json_object_set_new(index, service,
					    json_string(strlen(text) > head ? text + head : ""));
			continue;
		}
		(void)snprintf(key, sizeof(key), "%s %s", service, word_of(change, "backend"));
		fields_text(change, fields, sizeof(fields));
		json_object_set_new(index, key, json_string(fields));
	}
	return index;
}

/* ---- one service ---- */

static void add_row(struct table *table, const json_t *service, const json_t *backend,
		    const json_t *index)
{
	static const char *const slots[] = {"now", "after", "left", "came", NULL};
	static const char *const flows[] = {"stay", "reset", "move", NULL};
	const char *change = word_of(backend, "change");
	char key[MAX_FIELDS];
	const char *asked;

	(void)snprintf(key, sizeof(key), "%s %s", word_of(service, "name"),
		       word_of(backend, "address"));
	asked = json_string_value(json_object_get(index, key));
	table_row(table);
	table_cell(table, word_of(backend, "address"));
	table_cell(table, strcmp(change, "same") == 0 ? "" : asked ? asked : change);
	for (size_t i = 0; slots[i]; i++)
		table_cell_json(table,
				json_object_get(json_object_get(backend, "slots"), slots[i]));
	for (size_t i = 0; flows[i]; i++)
		table_cell_json(table,
				json_object_get(json_object_get(backend, "flows"), flows[i]));
}

static void print_backends(FILE *out, const json_t *service, const json_t *index)
{
	const json_t *list = json_object_get(service, "backend");
	size_t n = json_array_size(list), n_same = 0;
	struct table *table =
		n ? table_new("BACKEND|CHANGE|>SLOTS|>AFTER|>LEAVE|>COME|>STAY|>RESET|>MOVE")
		  : NULL;

	for (size_t i = 0; i < n; i++) {
		const json_t *backend = json_array_get(list, i);

		if (strcmp(word_of(backend, "change"), "same") == 0 && ++n_same > MAX_UNCHANGED)
			continue;
		add_row(table, service, backend, index);
	}
	table_end(table, out);
	if (n_same > MAX_UNCHANGED)
		(void)fprintf(out, "... and %zu more that are the same but for their slots\n",
			      n_same - MAX_UNCHANGED);
}

static void print_service(FILE *out, const json_t *service, const json_t *index)
{
	const char *change = word_of(service, "change");
	json_int_t n_slots = number(service, "slots", "after");
	json_int_t n_moved = number(service, "slots", "moved");
	const json_t *ports = json_object_get(service, "source_ports");
	const char *asked = json_string_value(json_object_get(index, word_of(service, "name")));

	(void)fprintf(out, "\n%c service ",
		      strcmp(change, "add") == 0      ? '+'
		      : strcmp(change, "delete") == 0 ? '-'
						      : '~');
	(void)text_print(out, word_of(service, "name"));
	(void)fputc(' ', out);
	(void)text_print(out, word_of(service, "address"));
	if (n_moved && n_slots)
		(void)fprintf(out, ", %.1f %% of the slots move",
			      100.0 * (double)n_moved / (double)n_slots);
	if (ports)
		(void)fprintf(out,
			      ", %" JSON_INTEGER_FORMAT " -> %" JSON_INTEGER_FORMAT " source ports",
			      number(service, "source_ports", "now"),
			      number(service, "source_ports", "after"));
	(void)fprintf(out,
		      ", flows: %" JSON_INTEGER_FORMAT " stay, %" JSON_INTEGER_FORMAT
		      " reset, %" JSON_INTEGER_FORMAT " move\n",
		      number(service, "flows", "stay"), number(service, "flows", "reset"),
		      number(service, "flows", "move"));
	if (asked) {
		(void)text_print(out, asked);
		(void)fputc('\n', out);
	}
	print_backends(out, service, index);
}

void output_plan(FILE *out, const json_t *result, const json_t *own)
{
	const json_t *services = json_object_get(result, "services");
	const json_t *warnings = json_object_get(result, "warnings");
	json_t *index = index_changes(json_object_get(result, "changes"));

	(void)own;
	if (number(result, NULL, "n_changes") == 0 && json_array_size(services) == 0)
		(void)fprintf(out, "generation %" JSON_INTEGER_FORMAT ": no difference\n",
			      number(result, NULL, "generation"));
	else
		print_sum(out, result);
	for (size_t i = 0; i < json_array_size(services); i++)
		print_service(out, json_array_get(services, i), index);
	for (size_t i = 0; i < json_array_size(warnings); i++) {
		(void)fputs(i ? "warning: " : "\nwarning: ", out);
		(void)text_print(out, word_of(json_array_get(warnings, i), "text"));
		(void)fputc('\n', out);
	}
	json_decref(index);
}
