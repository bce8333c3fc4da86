/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* See output.h. Flows, affinities, and where a packet would go. */
#include "control/cli/output.h"

#include "control/cli/output_internal.h"

void output_flows(FILE *out, const json_t *result, const json_t *own)
{
	static const char *const names[] = {"protocol",        "client", "service", "source",
					    "backend",         "state",  "worker",  "idle_seconds",
					    "timeout_seconds", NULL};
	const json_t *flows = get(result, "flows");
	struct table *table = table_new("PROTOCOL|CLIENT|SERVICE|SOURCE|BACKEND|STATE|>WORKER|"
					">IDLE-SECONDS|>TIMEOUT-SECONDS");

	(void)own;
	for (size_t i = 0; i < json_array_size(flows); i++) {
		table_row(table);
		cells(table, json_array_get(flows, i), names);
	}
	table_end(table, out);
	if (json_is_true(get(result, "truncated")))
		(void)fprintf(out, "%zu flows are shown, there are more: \"limit N\" shows them\n",
			      json_array_size(flows));
}

void output_flow_count(FILE *out, const json_t *result, const json_t *own)
{
	static const char *const names[] = {"ipv4", "ipv6", "embryonic", "capacity"};

	(void)own;
	for (size_t i = 0; i < SL_ARRAY_LEN(names); i++)
		line_integer(out, names[i], result, names[i]);
}

void output_affinities(FILE *out, const json_t *result, const json_t *own)
{
	static const char *const names[] = {"service", "timeout", "prefix", "entries", NULL};
	const json_t *affinities = get(result, "affinities");
	struct table *table = table_new("SERVICE|>TIMEOUT-SECONDS|>PREFIX|>ENTRIES");
	char text[WORDS_SIZE];

	(void)own;
	for (size_t i = 0; i < json_array_size(affinities); i++)
		cells(table, json_array_get(affinities, i), names);
	table_end(table, out);
	(void)snprintf(text, sizeof(text), "%" JSON_INTEGER_FORMAT " of %" JSON_INTEGER_FORMAT,
		       integer_of(result, "entries"), integer_of(result, "capacity"));
	(void)fputc('\n', out);
	line(out, "entries", text);
}

void output_affinity_clear(FILE *out, const json_t *result, const json_t *own)
{
	(void)own;
	line_integer(out, json_is_true(get(result, "dry_run")) ? "would end" : "ended", result,
		     "entries");
}

void output_explanation(FILE *out, const json_t *result, const json_t *own)
{
	const json_t *steps = get(result, "steps");
	struct table *table = table_new(">STEP|NAME|WHAT");
	char number[32];

	(void)own;
	for (size_t i = 0; i < json_array_size(steps); i++) {
		const json_t *step = json_array_get(steps, i);

		table_row(table);
		(void)snprintf(number, sizeof(number), "%zu", i + 1);
		table_cell(table, number);
		table_cell_json(table, get(step, "step"));
		table_cell_json(table, get(step, "text"));
	}
	table_end(table, out);
	(void)fputc('\n', out);
	line(out, "verdict", string_of(result, "verdict"));
	line(out, "service", string_of(result, "service"));
	line(out, "backend", string_of(result, "backend"));
	line_integer(out, "slot", result, json_is_integer(get(result, "slot")) ? "slot" : "");
	line(out, "hash", string_of(result, "hash"));
	line(out, "existing flow", json_is_true(get(result, "existing_flow")) ? "yes" : "no");
}
