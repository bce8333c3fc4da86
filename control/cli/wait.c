/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * See wait.h. A backend is drained when it takes no new flows and none of its flows is open any more: those
 * that both ends have closed stay in the table for a while, and need no backend. The count of open ones is the
 * dataplane's own, which max_flows is held against and `sluice backend list` shows.
 */
#include "control/cli/wait.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "control/cli/call.h"
#include "control/cli/commands.h"
#include "control/cli/parse.h"
#include "control/cli/table.h"
#include "control/rpc.h"

enum {
	DEFAULT_TIMEOUT_SEC = 60,
	FIRST_PAUSE_MS = 50, /* doubled from question to question */
	LAST_PAUSE_MS = 1000,
	TELL_TERMINAL_MS = 1000, /* between two lines of progress */
	TELL_OTHERS_MS = 10000,
};

struct wait {
	const char *path;
	int call_timeout_sec;
	const char *service, *address, *state;
	int64_t timeout_ms, started_ms, told_ms;
	json_int_t n_open; /* flows, as last counted */
	struct rpc_error *error;
};

static int64_t now_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static const char *string_of(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text ? text : "";
}

static int refuse(const struct wait *wait, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static int refuse(const struct wait *wait, const char *format, ...)
{
	char text[256];
	va_list arguments;

	va_start(arguments, format);
	(void)vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	rpc_error_set(wait->error, RPC_REFUSED, "state", "service %s: backend %s: %s",
		      wait->service, wait->address, text);
	rpc_error_data(wait->error, wait->state, NULL);
	return CLI_REFUSED;
}

/* The backend as sluiced lists it. @backend: the caller's reference. */
static int look(const struct wait *wait, json_t **backend)
{
	json_t *params = json_pack("{s:s}", "service", wait->service), *result = NULL, *list;
	const json_t *one;
	size_t i;
	int code = call(wait->path, wait->call_timeout_sec, "backend.list", params, &result,
			wait->error);

	json_decref(params);
	if (code)
		return code;
	*backend = NULL;
	list = json_object_get(result, "backends");
	json_array_foreach(list, i, one)
	{
		if (strcmp(string_of(one, "address"), wait->address) == 0)
			*backend = json_incref((json_t *)(uintptr_t)one);
	}
	json_decref(result);
	return *backend ? CLI_DONE : refuse(wait, "%s", "there is no such backend");
}

static bool takes_flows(const json_t *backend)
{
	return json_is_true(json_object_get(backend, "in_use"));
}

static int judge_drained(struct wait *wait, const json_t *backend, bool *is_so)
{
	const json_t *counters = json_object_get(backend, "counters");

	if (takes_flows(backend))
		return refuse(wait, "state %s: it takes new flows, and is never drained so",
			      string_of(backend, "state"));
	if (!counters)
		return refuse(wait, "%s", "the dataplane is not connected: nobody knows its flows");
	wait->n_open = json_integer_value(json_object_get(counters, "flows_open"));
	*is_so = wait->n_open == 0;
	return CLI_DONE;
}

static int judge(struct wait *wait, const json_t *backend, bool *is_so)
{
	const char *health = string_of(backend, "health");

	if (strcmp(wait->state, "drained") == 0)
		return judge_drained(wait, backend, is_so);
	if (strcmp(health, "unchecked") == 0)
		return refuse(wait, "nobody checks it, so it is never known to be %s", wait->state);
	*is_so = strcmp(health, wait->state) == 0;
	return CLI_DONE;
}

/* "10.0.0.2:8080: health down" or "...: 12 flows open". */
static void describe(const struct wait *wait, const json_t *backend, char *text, size_t size)
{
	if (strcmp(wait->state, "drained") == 0)
		(void)snprintf(text, size, "%" JSON_INTEGER_FORMAT " flow%s open", wait->n_open,
			       wait->n_open == 1 ? "" : "s");
	else
		(void)snprintf(text, size, "health %.16s", string_of(backend, "health"));
}

static void tell(struct wait *wait, const json_t *backend)
{
	int64_t now = now_ms();
	char text[64];

	if (now - wait->told_ms < (isatty(STDERR_FILENO) ? TELL_TERMINAL_MS : TELL_OTHERS_MS))
		return;
	wait->told_ms = now;
	describe(wait, backend, text, sizeof(text));
	(void)fputs("sluice: waiting: ", stderr);
	(void)text_print(stderr, wait->address);
	(void)fprintf(stderr, ": %s, %" PRId64 " s of %" PRId64 "\n", text,
		      (now - wait->started_ms) / 1000, wait->timeout_ms / 1000);
}

/* Until the next question; false: the time is over. */
static bool pause_before(const struct wait *wait, int64_t *pause_ms)
{
	int64_t left_ms = wait->started_ms + wait->timeout_ms - now_ms();
	int64_t ms = *pause_ms < left_ms ? *pause_ms : left_ms;
	const struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

	if (left_ms <= 0)
		return false;
	(void)nanosleep(&pause, NULL);
	*pause_ms = 2 * *pause_ms < LAST_PAUSE_MS ? 2 * *pause_ms : LAST_PAUSE_MS;
	return true;
}

static int refuse_late(const struct wait *wait, const json_t *backend)
{
	char text[64];

	describe(wait, backend, text, sizeof(text));
	return refuse(wait, "is not %s after %" PRId64 " s: %s", wait->state,
		      wait->timeout_ms / 1000, text);
}

int wait_backend(const char *path, int call_timeout_sec, const struct request *request,
		 json_t **result, struct rpc_error *error)
{
	const json_t *seconds = json_object_get(request->own, "timeout");
	struct wait wait = {
		.path = path,
		.call_timeout_sec = call_timeout_sec,
		.service = string_of(request->own, "service"),
		.address = string_of(request->own, "address"),
		.state = string_of(request->own, "state"),
		.timeout_ms = 1000 * (seconds ? json_integer_value(seconds) : DEFAULT_TIMEOUT_SEC),
		.started_ms = now_ms(),
		.error = error,
	};
	int64_t pause_ms = FIRST_PAUSE_MS;

	wait.told_ms = wait.started_ms;
	if (!wait.state[0])
		wait.state = "drained";
	for (;;) {
		bool is_so = false;
		int code = look(&wait, result);

		if (!code)
			code = judge(&wait, *result, &is_so);
		if (!code && is_so)
			return CLI_DONE;
		if (!code) {
			tell(&wait, *result);
			if (!pause_before(&wait, &pause_ms))
				code = refuse_late(&wait, *result);
		}
		json_decref(*result);
		*result = NULL;
		if (code)
			return code;
	}
}
