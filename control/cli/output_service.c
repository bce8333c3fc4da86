/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* See output.h. Services. */
#include "control/cli/output.h"

#include <string.h>

#include <sluice/counters.h>

#include "control/cli/output_internal.h"

enum {
	MAX_PREFIXES = 8, /* that are shown of a list */
};

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
	output_ports_text(service, text, sizeof(text));
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
	output_print_backends(out, get(result, "backends"));
}
