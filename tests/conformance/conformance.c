/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * The runner of conformance.h. Every row of packets.txt starts without flows; a reply's flow is
 * opened first by a client's packet of the same family and protocol, itself a row. Every story of
 * stories.txt starts without flows and with the tables "base".
 */
#include "tests/conformance/conformance.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sluice/packet/parse.h>

#include "dataplane/dataplane.h"
#include "dataplane/snapshot.h"
#include "tests/conformance/tables.h"

enum {
	EXIT_SKIPPED = 77,
	MIN_FRAME = 14, /* shorter ones cannot be given to every engine */
	MAX_SHOWN = 40, /* failures that are printed */
};

static const char *const verdict_names[] = {
#define X(upper, lower, help) #lower,
	SL_VERDICT_LIST(X)
#undef X
};

/* Those that say what a flow table did; what else is counted is the engine's own affair. */
static const struct {
	const char *name;
	enum sl_event event;
} flow_events[] = {
	{"flow_created", SL_EVENT_FLOW_CREATED},
	{"flow_ended", SL_EVENT_FLOW_ENDED},
	{"flow_promoted", SL_EVENT_FLOW_PROMOTED},
	{"flow_from_reply", SL_EVENT_FLOW_FROM_REPLY},
	{"stateless_forward", SL_EVENT_STATELESS_FORWARD},
	{"stateless_reply", SL_EVENT_STATELESS_REPLY},
	{"source_port_tries", SL_EVENT_SOURCE_PORT_TRIES},
	{"source_port_reused", SL_EVENT_SOURCE_PORT_REUSED},
	{"reset_sent", SL_EVENT_RESET_SENT},
	{"unreachable_sent", SL_EVENT_UNREACHABLE_SENT},
	{"too_big_sent", SL_EVENT_TOO_BIG_SENT},
	{"time_exceeded_sent", SL_EVENT_TIME_EXCEEDED_SENT},
	{"icmp_error", SL_EVENT_ICMP_ERROR},
	{"fragment", SL_EVENT_FRAGMENT},
	{"backend_full", SL_EVENT_BACKEND_FULL},
	{"affinity_kept", SL_EVENT_AFFINITY_KEPT},
	{"affinity_made", SL_EVENT_AFFINITY_MADE},
};

/* What the counters must be. */
struct expectation {
	uint64_t verdict[SL_N_VERDICTS];
	uint64_t n;
	uint64_t bytes;
	uint64_t n_answers; /* to refused packets */
};

struct runner {
	struct tables *tables;
	const char *variant; /* of the tables that are published */
	const struct snapshot *snapshot;
	struct expectation expected;
	struct wire_counters_reply story_start;
	struct sl_backend_openings story_openings;
	unsigned int n_rows;
	unsigned int n_stories;
	unsigned int n_unsendable;
};

static unsigned int n_failed;

void conformance_failed(const char *name, const char *format, ...)
{
	va_list values;

	if (n_failed++ >= MAX_SHOWN)
		return;
	printf("FAILED %s: ", name);
	va_start(values, format);
	vprintf(format, values);
	va_end(values);
	printf("\n");
}

static void print_difference(const uint8_t *got, size_t got_length, const uint8_t *wanted,
			     size_t length)
{
	size_t at = 0;

	if (n_failed > MAX_SHOWN)
		return;
	while (at < got_length && at < length && got[at] == wanted[at])
		at++;
	printf("  from byte %zu, got:", at);
	for (size_t i = at; i < got_length && i < at + 24; i++)
		printf(" %02x", got[i]);
	printf("\n  from byte %zu, expected:", at);
	for (size_t i = at; i < length && i < at + 24; i++)
		printf(" %02x", wanted[i]);
	printf("\n");
}

/* The bytes and the port of what left the engine. */
static void compare_frame(const struct vector *vector, const struct executor_result *result)
{
	bool is_punt = sl_verdict_is_punt(result->verdict);
	const uint8_t *wanted = is_punt ? vector->in : vector->out;
	size_t length = is_punt ? vector->in_length : vector->out_length;
	bool is_back =
		is_punt || sl_verdict_is_drop(result->verdict); /* by the port it came from */
	enum conformance_port port =
		vector->is_reply == is_back ? CONFORMANCE_PORT_BACKEND : CONFORMANCE_PORT_CLIENT;

	if (result->out_length != length || memcmp(result->out, wanted, length) != 0) {
		conformance_failed(vector->name, "%zu bytes %s, expected %zu, or they differ",
				   result->out_length, is_punt ? "to the kernel" : "sent", length);
		print_difference(result->out, result->out_length, wanted, length);
	}
	if (length != 0 && result->port != CONFORMANCE_PORT_UNKNOWN && result->port != port)
		conformance_failed(vector->name, "left by port %d, expected %d", (int)result->port,
				   (int)port);
}

/* One frame; what comes of it is compared if @is_judged, and expected in the counters anyway. */
static void run_frame(struct runner *runner, const struct vector *vector, bool is_judged)
{
	static struct executor_result result;
	enum conformance_port port =
		vector->is_reply ? CONFORMANCE_PORT_BACKEND : CONFORMANCE_PORT_CLIENT;
	int status;

	result.verdict = SL_VERDICT_NONE;
	result.port = CONFORMANCE_PORT_UNKNOWN;
	result.out_length = 0;
	status = executor_send(port, vector->in, vector->in_length, &result);
	if (status == -ENOTSUP && vector->in_length < MIN_FRAME) {
		runner->n_unsendable++;
		return;
	}
	if (status != 0) {
		conformance_failed(vector->name, "the frame got no verdict: %s", strerror(-status));
		return;
	}
	runner->expected.verdict[vector->verdict]++;
	runner->expected.n++;
	runner->expected.bytes += vector->in_length;
	runner->expected.n_answers +=
		sl_verdict_is_drop((enum sl_verdict)vector->verdict) && vector->out_length != 0;
	if (!is_judged)
		return;
	if ((int)result.verdict != vector->verdict)
		conformance_failed(vector->name, "%s, expected %s", verdict_names[result.verdict],
				   verdict_names[vector->verdict]);
	else
		compare_frame(vector, &result);
}

static void publish(struct runner *runner, const char *variant)
{
	char error[SL_MAX_ERROR] = "";
	struct snapshot *snapshot = NULL;
	int status = tables_build(runner->tables, variant, runner->snapshot, &snapshot, error);

	if (status == 0)
		status = executor_commit(snapshot);
	if (status != 0) {
		conformance_failed(variant, "tables: %s: %s", strerror(-status), error);
		return;
	}
	runner->snapshot = snapshot;
	runner->variant = variant;
}

static void forget_flows(const char *name)
{
	int status = executor_reset_flows();

	if (status != 0)
		conformance_failed(name, "flows cannot be forgotten: %s", strerror(-status));
}

/* The row that opens the flow of the reply @vector; NULL: none is needed or known. */
static const struct vector *opener_of(const struct vector *vectors, size_t n,
				      const struct vector *vector)
{
	static uint8_t frame[VECTOR_MAX_FRAME];
	struct sl_packet packet;
	char name[sizeof(vector->name)];

	memcpy(frame, vector->in, vector->in_length);
	if (!vector->is_reply ||
	    sl_parse(frame, frame + vector->in_length, &packet) != SL_VERDICT_NONE)
		return NULL;
	snprintf(name, sizeof(name), "v%d-%s-forward-0",
		 packet.tuple.family == SL_FAMILY_IPV4 ? 4 : 6,
		 packet.tuple.protocol == SL_PROTOCOL_TCP ? "tcp" : "udp");
	for (size_t i = 0; i < n; i++)
		if (strcmp(vectors[i].name, name) == 0)
			return &vectors[i];
	conformance_failed(vector->name, "there is no row %s to open its flow", name);
	return NULL;
}

static void run_packets(struct runner *runner, const struct vector *vectors, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct vector *opener = opener_of(vectors, n, &vectors[i]);

		forget_flows(vectors[i].name);
		if (opener != NULL)
			run_frame(runner, opener, false);
		run_frame(runner, &vectors[i], true);
		runner->n_rows++;
	}
}

/* How often @name stands in "a=1,b=2"; 0 where it does not. */
static uint64_t number_of(const char *text, const char *name)
{
	size_t length = strlen(name);

	while (text != NULL) {
		if (strncmp(text, name, length) == 0 && text[length] == '=')
			return strtoull(text + length + 1, NULL, 10);
		text = strchr(text, ',');
		text = text != NULL ? text + 1 : NULL;
	}
	return 0;
}

static void read_counters(const char *name, struct wire_counters_reply *counters)
{
	int status;

	memset(counters, 0, sizeof(*counters));
	status = executor_counters(counters);
	if (status != 0)
		conformance_failed(name, "counters: %s", strerror(-status));
}

static void compare_events(const struct runner *runner, const struct vector *step)
{
	struct wire_counters_reply counters;

	read_counters(step->name, &counters);
	for (size_t i = 0; i < SL_ARRAY_LEN(flow_events); i++) {
		enum sl_event event = flow_events[i].event;
		uint64_t got = counters.event[event] - runner->story_start.event[event];
		uint64_t wanted = number_of(step->text, flow_events[i].name);

		if (got != wanted)
			conformance_failed(step->name, "%s is %llu, expected %llu",
					   flow_events[i].name, (unsigned long long)got,
					   (unsigned long long)wanted);
	}
}

void conformance_add_openings(struct dataplane *dataplane, const struct snapshot *snapshot,
			      struct sl_backend_openings *sum)
{
	for (uint32_t i = 0; i < snapshot->n_backends; i++) {
		struct wire_backend_counters_record record = {0};

		dataplane_backend_counters(dataplane, i, &record);
#define X(name, unit, help) sum->name += record.name;
		SL_BACKEND_OPENING_LIST(X)
#undef X
	}
}

static void compare_opening(const struct vector *step, const char *member, uint64_t got)
{
	uint64_t wanted = number_of(step->text, member);

	if (got != wanted)
		conformance_failed(step->name, "%s is %llu, expected %llu", member,
				   (unsigned long long)got, (unsigned long long)wanted);
}

static void compare_openings(const struct runner *runner, const struct vector *step)
{
	struct sl_backend_openings sum = {0};

	executor_openings(&sum);
#define X(member, unit, help)                                                                      \
	compare_opening(step, #member, sum.member - runner->story_openings.member);
	SL_BACKEND_OPENING_LIST(X)
#undef X
}

static void start_story(struct runner *runner, const char *name)
{
	if (strcmp(runner->variant, "base") != 0)
		publish(runner, "base");
	forget_flows(name);
	read_counters(name, &runner->story_start);
	memset(&runner->story_openings, 0, sizeof(runner->story_openings));
	executor_openings(&runner->story_openings);
	runner->n_stories++;
}

static void run_stories(struct runner *runner, struct vector *steps, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct vector *step = &steps[i];

		if (i == 0 || strcmp(step->name, steps[i - 1].name) != 0)
			start_story(runner, step->name);
		switch (step->kind) {
		case VECTOR_FRAME:
			run_frame(runner, step, true);
			break;
		case VECTOR_TABLES:
			publish(runner, step->text);
			break;
		case VECTOR_EVENTS:
			compare_events(runner, step);
			break;
		case VECTOR_OPENINGS:
			compare_openings(runner, step);
			break;
		}
	}
}

static void compare_number(const char *name, uint64_t got, uint64_t wanted)
{
	if (got != wanted)
		conformance_failed("counters", "%s is %llu, expected %llu", name,
				   (unsigned long long)got, (unsigned long long)wanted);
}

/* Received = the sum of verdicts, and each of them is what was sent for it. */
static void compare_counters(const struct expectation *expected)
{
	struct wire_counters_reply counters;
	uint64_t n = 0;

	read_counters("counters", &counters);
	for (int i = 0; i < SL_N_VERDICTS; i++) {
		compare_number(verdict_names[i], counters.verdict[i], expected->verdict[i]);
		n += counters.verdict[i];
	}
	compare_number("the sum of verdicts", n, counters.event[SL_EVENT_RX]);
	compare_number("rx", counters.event[SL_EVENT_RX], expected->n);
	compare_number("rx_bytes", counters.event[SL_EVENT_RX_BYTES], expected->bytes);
	compare_number("tx without the kernel's",
		       counters.event[SL_EVENT_TX] - counters.event[SL_EVENT_KERNEL_TX],
		       expected->verdict[SL_VERDICT_FORWARD] + expected->verdict[SL_VERDICT_REPLY] +
			       expected->n_answers);
}

static struct vector *read_file(const char *file, size_t *n)
{
	struct vector *vectors = vectors_read(file, n);

	if (vectors == NULL)
		conformance_failed(file, "cannot be read, or a line is no vector");
	return vectors;
}

int main(void)
{
	struct runner runner = {.variant = ""};
	char error[SL_MAX_ERROR] = "";
	struct vector *packets;
	struct vector *steps;
	size_t n_packets;
	size_t n_steps;
	int status;

	if (geteuid() != 0) {
		fprintf(stderr, "SKIPPED: conformance of the engine %s needs root\n",
			executor_name());
		return EXIT_SKIPPED;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	packets = read_file(SLUICE_SOURCE_DIR "/tests/vectors/packets.txt", &n_packets);
	steps = read_file(SLUICE_SOURCE_DIR "/tests/vectors/stories.txt", &n_steps);
	runner.tables = tables_new();
	if (packets == NULL || steps == NULL || runner.tables == NULL)
		return EXIT_FAILURE;
	status = executor_open(error);
	if (status != 0) {
		fprintf(stderr, "the engine %s does not start: %s: %s\n", executor_name(),
			strerror(-status), error);
		return EXIT_FAILURE;
	}
	publish(&runner, "base");
	if (runner.snapshot != NULL) {
		run_packets(&runner, packets, n_packets);
		run_stories(&runner, steps, n_steps);
		compare_counters(&runner.expected);
	}
	executor_close();
	printf("%s: %u rows, %u stories, %llu frames, %u that cannot be sent; %u failed\n",
	       executor_name(), runner.n_rows, runner.n_stories,
	       (unsigned long long)runner.expected.n, runner.n_unsendable, n_failed);
	tables_free(runner.tables);
	free(packets);
	free(steps);
	return n_failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
