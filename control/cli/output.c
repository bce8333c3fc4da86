/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* See output.h. */
#include "control/cli/output.h"

#include <inttypes.h>
#include <string.h>

#include <sluice/counters.h>

#include "control/cli/table.h"
#include "control/rpc.h"

enum {
	LABEL_WIDTH = 14,
	WORDS_SIZE = 512,
	MAX_PREFIXES = 8, /* that are shown of a list */
};

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

/* Pieces */

static const json_t *get(const json_t *object, const char *name)
{
	return json_object_get(object, name);
}

static const char *string_of(const json_t *object, const char *name)
{
	const char *text = json_string_value(get(object, name));

	return text ? text : "-";
}

static json_int_t integer_of(const json_t *object, const char *name)
{
	return json_integer_value(get(object, name));
}

/* "label         text", with what came from elsewhere escaped. */
static void line(FILE *out, const char *label, const char *text)
{
	(void)fprintf(out, "%-*s", LABEL_WIDTH, label);
	(void)text_print(out, text);
	(void)fputc('\n', out);
}

static void line_integer(FILE *out, const char *label, const json_t *object, const char *name)
{
	char text[32];

	(void)snprintf(text, sizeof(text), "%" JSON_INTEGER_FORMAT, integer_of(object, name));
	line(out, label, get(object, name) ? text : "-");
}

static void cells(struct table *table, const json_t *object, const char *const *names)
{
	for (; *names; names++)
		table_cell_json(table, get(object, *names));
}

/* 93784 -> "1d 02:03:04". */
static void uptime_text(json_int_t seconds, char *text, size_t size)
{
	(void)snprintf(text, size, "%" PRId64 "d %02d:%02d:%02d", (int64_t)(seconds / 86400),
		       (int)(seconds / 3600 % 24), (int)(seconds / 60 % 60), (int)(seconds % 60));
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

/* Services and backends */

void output_services(FILE *out, const json_t *result, const json_t *own)
{
	static const char *const names[] = {"name",      "address",  "mode",
					    "scheduler", "backends", NULL};
	static const char *const counters[] = {"flows", "packets_in", "bytes_in", NULL};
	const json_t *services = get(result, "services");
	struct table *table = table_new("NAME|ADDRESS|MODE|SCHEDULER|>BACKENDS|>FLOWS|>PACKETS-IN|"
					">BYTES-IN|OWNER");

	(void)own;
	for (size_t i = 0; i < json_array_size(services); i++) {
		const json_t *service = json_array_get(services, i);

		table_row(table);
		cells(table, service, names);
		cells(table, get(service, "counters"), counters);
		table_cell_json(table, get(service, "owner"));
	}
	table_end(table, out);
}

static void share_text(const json_t *backend, char *text, size_t size)
{
	const json_t *share = get(backend, "share");

	text[0] = '\0';
	if (json_is_number(share))
		(void)snprintf(text, size, "%.2f%%", json_number_value(share) * 100);
}

/* "17/129024": source ports in use of how many, over all source addresses that @of has. */
static void ports_text(const json_t *of, char *text, size_t size)
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
	ports_text(backend, text, sizeof(text));
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

static void print_backends(FILE *out, const json_t *list)
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
	print_backends(out, get(result, "backends"));
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

static void print_sources(FILE *out, const json_t *service)
{
	const json_t *sources = get(service, "source");
	size_t n = json_array_size(sources);
	char text[64];

	if (n == 0)
		return;
	(void)fprintf(out, "%-*s", LABEL_WIDTH, "source");
	for (size_t i = 0; i < n; i++) {
		const char *source = json_string_value(json_array_get(sources, i));

		(void)fputs(i ? ", " : "", out);
		(void)text_print(out, source ? source : "-");
	}
	(void)fputc('\n', out);
	line(out, "source ports", string_of(service, "source_ports"));
	ports_text(service, text, sizeof(text));
	if (text[0])
		line(out, "in use", text);
}

/* A list of prefixes on one line, which may have thousands. */
static void print_prefixes(FILE *out, const char *label, const json_t *prefixes)
{
	size_t n = json_array_size(prefixes);

	if (n == 0)
		return;
	(void)fprintf(out, "%-*s", LABEL_WIDTH, label);
	for (size_t i = 0; i < n && i < MAX_PREFIXES; i++) {
		const char *prefix = json_string_value(json_array_get(prefixes, i));

		(void)fputs(i ? ", " : "", out);
		(void)text_print(out, prefix ? prefix : "-");
	}
	if (n > MAX_PREFIXES)
		(void)fprintf(out, " and %zu more", n - MAX_PREFIXES);
	(void)fputc('\n', out);
}

static void print_timeouts(FILE *out, const json_t *service)
{
	const json_t *timeouts = get(service, "timeouts");
	char text[128];

	(void)snprintf(text, sizeof(text),
		       "established %" JSON_INTEGER_FORMAT " s, transitory %" JSON_INTEGER_FORMAT
		       " s, embryonic %" JSON_INTEGER_FORMAT " s, udp %" JSON_INTEGER_FORMAT " s",
		       integer_of(timeouts, "established"), integer_of(timeouts, "transitory"),
		       integer_of(timeouts, "embryonic"), integer_of(timeouts, "udp"));
	line(out, "timeouts", text);
}

/* "http, interval_ms 2000, path /": each member that says something. */
static void print_check(FILE *out, const json_t *check)
{
	const char *name;
	const json_t *value;

	if (!check)
		return;
	(void)fprintf(out, "%-*s%s", LABEL_WIDTH, "check", string_of(check, "type"));
	json_object_foreach((json_t *)(uintptr_t)check, name, value)
	{
		bool is_empty = json_is_string(value) && json_string_length(value) == 0;

		if (is_empty || strcmp(name, "type") == 0)
			continue;
		if (json_is_string(value))
			(void)fprintf(out, ", %s %s", name, json_string_value(value));
		else if (json_is_integer(value))
			(void)fprintf(out, ", %s %" JSON_INTEGER_FORMAT, name,
				      json_integer_value(value));
		else
			(void)fprintf(out, ", %s %s", name, json_is_true(value) ? "yes" : "no");
	}
	(void)fputc('\n', out);
}

static void print_canary(FILE *out, const json_t *canary)
{
	char text[160];

	if (!canary)
		return;
	(void)snprintf(text, sizeof(text), "group %.64s has %g %% of new flows%s",
		       string_of(canary, "group"), json_number_value(get(canary, "share_percent")),
		       get(canary, "sources") ? ", and those of its sources" : "");
	line(out, "canary", text);
	print_prefixes(out, "sources", get(canary, "sources"));
}

static void print_affinity(FILE *out, const json_t *affinity)
{
	char text[128];

	if (!affinity)
		return;
	(void)snprintf(text, sizeof(text),
		       "%" JSON_INTEGER_FORMAT
		       " s after a client's last new flow, by %" JSON_INTEGER_FORMAT
		       " bits of its address",
		       integer_of(affinity, "timeout"), integer_of(affinity, "prefix"));
	line(out, "affinity", text);
}

void output_service(FILE *out, const json_t *result, const json_t *own)
{
	const json_t *service = get(result, "service");
	const json_t *counters = get(service, "counters");

	(void)own;
	line(out, "name", string_of(service, "name"));
	line(out, "address", string_of(service, "address"));
	line(out, "mode", string_of(service, "mode"));
	line(out, "scheduler", string_of(service, "scheduler"));
	line_integer(out, "slots", service, "slots");
	line(out, "owner", string_of(service, "owner"));
	print_sources(out, service);
	print_prefixes(out, "deny source", get(service, "deny_source"));
	print_prefixes(out, "deny dest.", get(service, "deny_destination"));
	if (get(service, "stateless_replies"))
		line(out, "stateless",
		     json_is_true(get(service, "stateless_replies")) ? "yes" : "no");
	if (get(service, "proxy_protocol"))
		line(out, "proxy", string_of(service, "proxy_protocol"));
	if (get(service, "flow_log"))
		line(out, "flow log", json_is_true(get(service, "flow_log")) ? "yes" : "no");
	print_timeouts(out, service);
	print_check(out, get(service, "check"));
	print_affinity(out, get(service, "affinity"));
	print_canary(out, get(service, "canary"));
#define X(name, unit, help) line_integer(out, #name, counters, #name);
	if (counters) {
		SL_SERVICE_COUNTER_LIST(X)
	}
#undef X
	if (json_array_size(get(result, "backends")) == 0)
		return;
	(void)fputc('\n', out);
	print_backends(out, get(result, "backends"));
}

/* Flows */

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

/* Affinities */

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

/* Counters */

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
		print_backends(out, get(result, "backends"));
	}
}

/* Status */

static void print_ports(FILE *out, const json_t *ports)
{
	static const char *const names[] = {
		"name",     "driver",    "kernel_interface", "mac",      "up",        "rx_packets",
		"rx_bytes", "rx_missed", "tx_packets",       "tx_bytes", "tx_errors", NULL};
	struct table *table =
		table_new("PORT|DRIVER|INTERFACE|MAC|UP|>RX-PACKETS|>RX-BYTES|>RX-MISSED|"
			  ">TX-PACKETS|>TX-BYTES|>TX-ERRORS");

	for (size_t i = 0; i < json_array_size(ports); i++) {
		table_row(table);
		cells(table, json_array_get(ports, i), names);
	}
	(void)fputc('\n', out);
	table_end(table, out);
}

static void print_workers(FILE *out, const json_t *workers)
{
	static const char *const names[] = {"core",
					    "state",
					    "loops",
					    "busy_loops",
					    "flows",
					    "heartbeat_age_ms",
					    "longest_loop_us",
					    NULL};
	struct table *table = table_new(">CORE|STATE|>LOOPS|>BUSY-LOOPS|>FLOWS|>HEARTBEAT-AGE-MS|"
					">LONGEST-LOOP-US");

	for (size_t i = 0; i < json_array_size(workers); i++) {
		table_row(table);
		cells(table, json_array_get(workers, i), names);
	}
	(void)fputc('\n', out);
	table_end(table, out);
}

/* The name of the largest of @ratios, if it is half a percent at least. */
static const char *closest(json_t *ratios)
{
	const char *name, *found = NULL;
	double most = 0.005;
	json_t *ratio;

	json_object_foreach(ratios, name, ratio)
	{
		if (json_real_value(ratio) < most)
			continue;
		most = json_real_value(ratio);
		found = name;
	}
	return found;
}

/* How close to which limit, the closest first. */
static void print_saturation(FILE *out, const json_t *ratios)
{
	json_t *left = json_copy((json_t *)(uintptr_t)ratios);
	char text[WORDS_SIZE] = "";
	const char *name;
	size_t used = 0;

	while ((name = closest(left)) != NULL && used < sizeof(text) - 64) {
		used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%.40s %.0f %%",
					 used ? ", " : "", name,
					 100 * json_real_value(json_object_get(left, name)));
		(void)json_object_del(left, name);
	}
	json_decref(left);
	if (ratios)
		line(out, "saturation", used ? text : "far from every limit");
}

/* "12 s", "7 min", "30 h": one number is enough for how long somebody is away. */
static void away_text(double seconds, char *text, size_t size)
{
	if (seconds < 120)
		(void)snprintf(text, size, "%.0f s", seconds);
	else if (seconds < 120 * 60)
		(void)snprintf(text, size, "%.0f min", seconds / 60);
	else
		(void)snprintf(text, size, "%.0f h", seconds / 3600);
}

/* Who is away, for how long, and what nobody knows because of it. */
static void print_away(FILE *out, const json_t *status)
{
	json_int_t n_blind = integer_of(get(status, "health"), "blind");
	const char *reason = string_of(status, "reason");
	char text[WORDS_SIZE], away[32] = "", blind[64] = "";

	if (get(status, "away_seconds"))
		away_text(json_number_value(get(status, "away_seconds")), away, sizeof(away));
	if (n_blind)
		(void)snprintf(blind, sizeof(blind),
			       "; health of %" JSON_INTEGER_FORMAT " backend%s unknown", n_blind,
			       n_blind == 1 ? "" : "s");
	(void)snprintf(text, sizeof(text), "not answering%s%s%s%s%.300s", away[0] ? " for " : "",
		       away, blind, reason[0] ? ": " : "", reason);
	line(out, "dataplane", text);
}

static void print_dataplane(FILE *out, const json_t *status)
{
	const char *reason = string_of(status, "engine_reason");
	bool has_reason = reason[0] && strcmp(reason, "-") != 0;
	char text[WORDS_SIZE];

	if (!json_is_true(get(status, "connected"))) {
		print_away(out, status);
		return;
	}
	(void)snprintf(text, sizeof(text), "%.64s%s%.400s%s", string_of(status, "engine"),
		       has_reason ? " (" : "", has_reason ? reason : "", has_reason ? ")" : "");
	line(out, "dataplane", text);
	line(out, "in step", json_is_true(get(status, "in_step")) ? "yes" : "no");
	(void)snprintf(text, sizeof(text), "%" JSON_INTEGER_FORMAT " of %" JSON_INTEGER_FORMAT,
		       integer_of(status, "flows"), integer_of(status, "flows_capacity"));
	line(out, "flows", text);
	if (integer_of(status, "affinities") != 0) {
		(void)snprintf(text, sizeof(text),
			       "%" JSON_INTEGER_FORMAT " of %" JSON_INTEGER_FORMAT,
			       integer_of(status, "affinities"),
			       integer_of(status, "affinities_capacity"));
		line(out, "affinities", text);
	}
	print_saturation(out, get(status, "saturation"));
	if (integer_of(status, "former_workers") == 0)
		return;
	(void)snprintf(text, sizeof(text),
		       "%" JSON_INTEGER_FORMAT " flows served as %" JSON_INTEGER_FORMAT
		       " former numbers of workers had them",
		       integer_of(status, "flows_handed"), integer_of(status, "former_workers"));
	line(out, "handed over", text);
}

static void print_health(FILE *out, const json_t *health)
{
	char text[WORDS_SIZE];
	size_t used;

	if (integer_of(health, "backends") == 0)
		return;
	(void)snprintf(text, sizeof(text),
		       "%" JSON_INTEGER_FORMAT " up, %" JSON_INTEGER_FORMAT
		       " down, %" JSON_INTEGER_FORMAT " unknown, of %" JSON_INTEGER_FORMAT
		       " that are checked",
		       integer_of(health, "up"), integer_of(health, "down"),
		       integer_of(health, "unknown"), integer_of(health, "backends"));
	used = strlen(text);
	if (integer_of(health, "panics"))
		(void)snprintf(text + used, sizeof(text) - used,
			       "; %" JSON_INTEGER_FORMAT " services use what is down",
			       integer_of(health, "panics"));
	line(out, "health", text);
}

void output_status(FILE *out, const json_t *result, const json_t *own)
{
	char text[WORDS_SIZE], uptime[64];

	(void)own;
	uptime_text(integer_of(result, "uptime_seconds"), uptime, sizeof(uptime));
	(void)snprintf(text, sizeof(text), "%.64s, up %s", string_of(result, "version"), uptime);
	line(out, "sluiced", text);
	(void)snprintf(text, sizeof(text),
		       "%" JSON_INTEGER_FORMAT ", in the dataplane %" JSON_INTEGER_FORMAT,
		       integer_of(result, "generation"),
		       integer_of(result, "dataplane_generation"));
	line(out, "generation", text);
	line(out, "digest", string_of(result, "digest"));
	line_integer(out, "services", result, "services");
	line_integer(out, "backends", result, "backends");
	if (get(result, "config_file"))
		line(out, "configuration", string_of(result, "config_file"));
	print_health(out, get(result, "health"));
	if (json_is_string(get(result, "metrics")))
		line(out, "metrics", string_of(result, "metrics"));
	print_dataplane(out, result);
	if (json_array_size(get(result, "ports")))
		print_ports(out, get(result, "ports"));
	if (json_array_size(get(result, "workers")))
		print_workers(out, get(result, "workers"));
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
