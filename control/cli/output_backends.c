/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* See output.h. Backends: a table, which may have a hundred thousand rows. */
#include "control/cli/output.h"

#include <string.h>

#include "control/cli/output_internal.h"
#include "control/rpc.h"

static void share_text(const json_t *backend, char *text, size_t size)
{
	const json_t *share = get(backend, "share");

	text[0] = '\0';
	if (json_is_number(share))
		(void)snprintf(text, size, "%.2f%%", json_number_value(share) * 100);
}

void output_ports_text(const json_t *of, char *text, size_t size)
{
	const json_t *sources = get(of, "sources");
	json_int_t used = 0, all = 0;

	for (size_t i = 0; i < json_array_size(sources); i++) {
		used += integer_of(json_array_get(sources, i), "flows");
		all += integer_of(json_array_get(sources, i), "ports");
	}
	text[0] = '\0';
	if (all)
		(void)snprintf(text, size, "%" JSON_INTEGER_FORMAT "/%" JSON_INTEGER_FORMAT, used,
			       all);
}

/* "; hint: 14 of 20 openings failed in 1.0 s, probed 12 ms later" of one that came within the last minute. */
static void add_hint(const json_t *hint, char *text, size_t size)
{
	size_t used = strlen(text);

	if (!hint || json_number_value(get(hint, "ago_seconds")) > 60)
		return;
	(void)snprintf(text + used, size - used,
		       "%shint: %" JSON_INTEGER_FORMAT " of %" JSON_INTEGER_FORMAT
		       " openings failed in %.1f s",
		       used > 0 ? "; " : "", integer_of(hint, "failed"),
		       integer_of(hint, "openings"), json_number_value(get(hint, "seconds")));
	used = strlen(text);
	if (get(hint, "probed_seconds"))
		(void)snprintf(text + used, size - used, ", probed %.0f ms later",
			       json_number_value(get(hint, "probed_seconds")) * 1000);
}

/* How the last check ended; where only clients are asked, why it is down. */
static void result_text(const json_t *check, char *text, size_t size)
{
	const char *reason = string_of(check, "reason");
	json_int_t n_checks = integer_of(check, "checks");

	text[0] = '\0';
	if (reason[0] == '\0' && n_checks > 0)
		(void)snprintf(text, size, "ok in %.1f ms",
			       1000 * json_number_value(get(check, "took_seconds")));
	else if (reason[0] != '\0')
		(void)snprintf(text, size, "%.128s%s", reason,
			       json_is_true(get(check, "panic")) ? "; used all the same" : "");
	if (get(check, "held_seconds") && (reason[0] == '\0' || n_checks == 0))
		(void)snprintf(text + strlen(text), size - strlen(text),
			       "; held down for %.0f s more",
			       json_number_value(get(check, "held_seconds")));
}

/* "ok in 1.2 ms", or why not; and the last hint. NULL: there is nothing to say. */
static const char *check_text(const json_t *check, char *text, size_t size)
{
	if (!check)
		return NULL;
	result_text(check, text, size);
	add_hint(get(check, "hint"), text, size);
	return text[0] != '\0' ? text : NULL;
}

/* "3", or "3/100" of a backend with a limit. */
static const char *open_text(const json_t *backend, json_int_t n, char *text, size_t size)
{
	json_int_t limit = integer_of(backend, "max_flows");

	if (limit > 0)
		(void)snprintf(text, size, "%" JSON_INTEGER_FORMAT "/%" JSON_INTEGER_FORMAT, n,
			       limit);
	else
		(void)snprintf(text, size, "%" JSON_INTEGER_FORMAT, n);
	return text;
}

/* How long the backend takes to answer a SYN, on average, and how many it did not; since it is counted. */
static void print_openings(struct table *table, const json_t *counted)
{
	json_int_t n_answered = integer_of(counted, "syn_acks");
	json_int_t n_failed = integer_of(counted, "refused") + integer_of(counted, "unanswered");
	char text[32] = "";

	if (n_answered > 0)
		(void)snprintf(text, sizeof(text), "%.3f ms",
			       (double)integer_of(counted, "syn_ack_us") / 1e3 /
				       (double)n_answered);
	table_cell(table, text);
	text[0] = '\0';
	if (n_answered + n_failed > 0)
		(void)snprintf(text, sizeof(text), "%.2f%%",
			       (double)n_failed * 100 / (double)(n_answered + n_failed));
	table_cell(table, text);
}

/** A table of backends, and which of its columns say something of any. */
struct backend_table {
	struct table *table;
	bool is_fullnat;
	bool is_checked;
	bool is_special; /* has roles or groups */
	bool is_opened;  /* SYNs of clients were seen on their way */
};

static void begin_backends(struct backend_table *backends)
{
	memset(backends, 0, sizeof(*backends));
	backends->table = table_new(
		"SERVICE|ADDRESS|STATE|HEALTH|>WEIGHT|ROLE|GROUP|IN-USE|>SHARE|NEIGHBOUR|>FLOWS|"
		">OPEN|>SOURCE-PORTS|>SYN-ACK|>FAILED|>PACKETS-IN|>BYTES-IN|>PACKETS-OUT|"
		">BYTES-OUT|LAST-CHECK");
}

static void add_backend(struct backend_table *backends, const json_t *backend)
{
	static const char *const names[] = {"service", "address", "state",  "health", "weight",
					    "role",    "group",   "in_use", NULL};
	static const char *const counters[] = {"packets_in", "bytes_in", "packets_out", "bytes_out",
					       NULL};
	const json_t *counted = get(backend, "counters");
	struct table *table = backends->table;
	char text[256];

	backends->is_fullnat |= json_array_size(get(backend, "sources")) != 0;
	backends->is_checked |= get(backend, "check") != NULL;
	backends->is_special |=
		get(backend, "group") ||
		(get(backend, "role") && strcmp(string_of(backend, "role"), "active") != 0);
	backends->is_opened |= integer_of(counted, "syns") > 0;
	table_row(table);
	cells(table, backend, names);
	share_text(backend, text, sizeof(text));
	table_cell(table, text);
	table_cell_json(table, get(backend, "neighbour"));
	table_cell_json(table, get(counted, "flows"));
	table_cell(table, counted ? open_text(backend, integer_of(counted, "flows_open"), text,
					      sizeof(text))
				  : "");
	output_ports_text(backend, text, sizeof(text));
	table_cell(table, text);
	print_openings(table, counted);
	cells(table, counted, counters);
	table_cell(table, check_text(get(backend, "check"), text, sizeof(text)));
}

static void end_backends(struct backend_table *backends, FILE *out)
{
	static const char *const roles[] = {"ROLE", "GROUP", "IN-USE"};

	for (size_t i = 0; !backends->is_special && i < SL_ARRAY_LEN(roles); i++)
		table_hide(backends->table, roles[i]);
	if (!backends->is_fullnat)
		table_hide(backends->table, "SOURCE-PORTS");
	if (!backends->is_opened) {
		table_hide(backends->table, "SYN-ACK");
		table_hide(backends->table, "FAILED");
	}
	if (!backends->is_checked)
		table_hide(backends->table, "LAST-CHECK");
	table_end(backends->table, out);
}

void output_print_backends(FILE *out, const json_t *list)
{
	struct backend_table backends;

	begin_backends(&backends);
	for (size_t i = 0; i < json_array_size(list); i++)
		add_backend(&backends, json_array_get(list, i));
	end_backends(&backends, out);
}

void output_backends(FILE *out, const json_t *result, const json_t *own)
{
	(void)own;
	output_print_backends(out, get(result, "backends"));
}

bool output_backends_text(FILE *out, const char *result, size_t length)
{
	struct backend_table backends;
	struct rpc_records records;
	json_t *backend;

	if (!rpc_records_begin(&records, result, length, "backends"))
		return false;
	begin_backends(&backends);
	while ((backend = rpc_records_next(&records))) {
		add_backend(&backends, backend);
		json_decref(backend);
	}
	if (!records.is_whole) {
		table_free(backends.table);
		return false;
	}
	end_backends(&backends, out);
	return true;
}

void output_waited(FILE *out, const json_t *result, const json_t *own)
{
	const char *state = string_of(own, "state");

	(void)text_print(out, string_of(result, "service"));
	(void)fputs(": ", out);
	(void)text_print(out, string_of(result, "address"));
	(void)fprintf(out, ": %s\n", strcmp(state, "-") == 0 ? "drained" : state);
}
