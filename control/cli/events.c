/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* See events.h. */
#include "control/cli/events.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "control/cli/call.h"
#include "control/cli/commands.h"
#include "control/cli/output.h"
#include "control/cli/parse.h"
#include "control/cli/table.h"
#include "control/rpc.h"

enum {
	RETRY_MS = 250,
};

struct follower {
	const char *path;
	int timeout_sec;
	bool is_json;
	json_t *params;  /* of the next subscription; ours */
	json_int_t left; /* events to come; negative: for ever */
	struct rpc_error *error;
};

static void print_value(const json_t *value)
{
	char *text = json_dumps(value, JSON_ENCODE_ANY);

	if (json_is_string(value))
		(void)text_print(stdout, json_string_value(value));
	else if (text)
		(void)text_print(stdout, text);
	free(text);
}

/* "TIME backend.health service web, backend 10.0.0.2:8080, is down, reason connect: ..." */
static void print_event(const json_t *event)
{
	const char *separator = " ", *name;
	json_t *value;

	print_value(json_object_get(event, "time"));
	(void)fputc(' ', stdout);
	print_value(json_object_get(event, "type"));
	json_object_foreach((json_t *)(uintptr_t)event, name, value)
	{
		if (strcmp(name, "time") == 0 || strcmp(name, "type") == 0 ||
		    strcmp(name, "sequence") == 0 ||
		    (json_is_string(value) && !json_string_value(value)[0]))
			continue;
		(void)fputs(separator, stdout);
		(void)text_print(stdout, name);
		(void)fputc(' ', stdout);
		print_value(value);
		separator = ", ";
	}
	(void)fputc('\n', stdout);
}

static int take_line(struct follower *follower, const char *line, size_t length)
{
	struct rpc_request event;
	const json_t *sequence;

	if (rpc_decode_notification(line, length, &event, follower->error))
		return CLI_NOT_CONNECTED;
	if (follower->is_json)
		output_json(stdout, event.params, false);
	else
		print_event(event.params);
	sequence = json_object_get(event.params, "sequence");
	if (json_is_integer(sequence))
		json_object_set_new(follower->params, "since",
				    json_integer(json_integer_value(sequence)));
	rpc_request_fini(&event);
	if (follower->left > 0)
		follower->left--;
	return CLI_DONE;
}

/* Events of one connection, until it ends, no more are wanted, or nobody reads them. */
static int follow_one(struct follower *follower, bool *is_open)
{
	struct call_stream *stream;
	json_t *result;
	const char *line;
	size_t length;
	int code = call_open(follower->path, follower->timeout_sec, "events.subscribe",
			     follower->params, &result, &stream, follower->error);

	if (code)
		return code;
	*is_open = true;
	/* The next subscription begins where this one ends. */
	json_object_set(follower->params, "since", json_object_get(result, "since"));
	json_object_set(follower->params, "instance", json_object_get(result, "instance"));
	json_decref(result);
	while (!code && follower->left && !fflush(stdout)) {
		code = call_next(stream, &line, &length, follower->error);
		if (!code)
			code = take_line(follower, line, length);
	}
	call_close(stream);
	return code;
}

static void pause_before_retry(void)
{
	const struct timespec pause = {.tv_nsec = RETRY_MS * 1000000L};

	(void)nanosleep(&pause, NULL);
}

int events_follow(const struct cli_options *options, const struct request *request,
		  const char *path, struct rpc_error *error)
{
	const json_t *count = json_object_get(request->own, "count");
	struct follower follower = {
		.path = path,
		.timeout_sec = options->timeout_sec,
		.is_json = options->is_json,
		.params = json_deep_copy(request->params),
		.left = count ? json_integer_value(count) : -1,
		.error = error,
	};
	bool is_told = false, was_open = false;
	int code;

	for (;;) {
		bool is_open = false;

		code = follow_one(&follower, &is_open);
		was_open |= is_open;
		if (code != CLI_NOT_CONNECTED || !was_open)
			break;
		if (is_open || !is_told) {
			(void)fputs("sluice: ", stderr);
			(void)text_print(stderr, error->message);
			(void)fputs("; waiting for it\n", stderr);
		}
		is_told = true;
		pause_before_retry();
	}
	json_decref(follower.params);
	return code;
}
