/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* See output.h. The status. */
#include "control/cli/output.h"

#include <inttypes.h>
#include <string.h>

#include "control/cli/output_internal.h"

/* 93784 -> "1d 02:03:04". */
static void uptime_text(json_int_t seconds, char *text, size_t size)
{
	(void)snprintf(text, size, "%" PRId64 "d %02d:%02d:%02d", (int64_t)(seconds / 86400),
		       (int)(seconds / 3600 % 24), (int)(seconds / 60 % 60), (int)(seconds % 60));
}

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
