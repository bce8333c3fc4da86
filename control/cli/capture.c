/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * See capture.h. The dataplane keeps little: this program fetches as fast as it can write. Whatever ends
 * it, the capture ends as well: it is stopped and read to its end, or not read any more.
 */
#include "control/cli/capture.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <sluice/wire.h>

#include "control/base64.h"
#include "control/cli/call.h"
#include "control/cli/commands.h"
#include "control/cli/parse.h"
#include "control/cli/table.h"
#include "control/rpc.h"

enum {
	PAUSE_MS = 20,           /* when there was nothing to fetch */
	TELL_TERMINAL_MS = 2000, /* between two lines of progress */
	TELL_OTHERS_MS = 10000,
};

struct capture {
	const char *path;
	int timeout_sec;
	const char *name; /* of the file; NULL: standard output */
	int file;
	json_int_t id;
	json_int_t n_packets, n_lost;
	int64_t begin_ms, told_ms;
	int64_t end_ms; /* INT64_MAX: none */
	bool is_stopped;
	int failure; /* errno of the file; nothing more is written */
	struct rpc_error *error;
};

static volatile sig_atomic_t is_interrupted;

static void on_signal(int number)
{
	(void)number;
	is_interrupted = 1;
}

/* The first one ends the capture, the second one this program. */
static void catch_signals(void)
{
	const struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};
	const struct sigaction ignore = {.sa_handler = SIG_IGN};

	is_interrupted = 0;
	(void)sigaction(SIGINT, &action, NULL);
	(void)sigaction(SIGTERM, &action, NULL);
	(void)sigaction(SIGPIPE, &ignore, NULL);
}

static int64_t now_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int refuse_file(const struct capture *capture, int number)
{
	const char *name = capture->name ? capture->name : "standard output";

	rpc_error_set(capture->error, RPC_REFUSED, "to", "%.200s: %s", name, strerror(number));
	rpc_error_data(capture->error, name, NULL);
	return CLI_REFUSED;
}

static int judge_file(const struct capture *capture)
{
	if (capture->name || !isatty(STDOUT_FILENO))
		return CLI_DONE;
	rpc_error_set(
		capture->error, RPC_PARAMS, "to",
		"capture: standard output is a terminal: name a file (to FILE), or lead it into "
		"a program");
	return CLI_USAGE;
}

/* What is in packets is for nobody else: a file that was there before is made so as well. */
static void open_file(struct capture *capture)
{
	struct stat status;

	capture->file = STDOUT_FILENO;
	if (!capture->name)
		return;
	capture->file =
		open(capture->name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY, 0600);
	if (capture->file < 0 || (fstat(capture->file, &status) == 0 && S_ISREG(status.st_mode) &&
				  (status.st_mode & 077) != 0 && fchmod(capture->file, 0600) != 0))
		capture->failure = errno;
}

static void write_all(struct capture *capture, const uint8_t *bytes, size_t n)
{
	while (n > 0 && !capture->failure) {
		ssize_t written = write(capture->file, bytes, n);

		if (written > 0) {
			bytes += written;
			n -= (size_t)written;
		} else if (written < 0 && errno != EINTR) {
			capture->failure = errno;
		}
	}
}

static int stop(struct capture *capture)
{
	json_t *params = json_pack("{s:I}", "capture", capture->id), *result = NULL;
	int code = call_silently(capture->path, capture->timeout_sec, "capture.stop", params,
				 &result, capture->error);

	json_decref(params);
	json_decref(result);
	capture->is_stopped = true;
	return code;
}

static int take_bytes(struct capture *capture, const json_t *result, size_t *n)
{
	static uint8_t bytes[WIRE_MAX_MESSAGE];
	const json_t *data = json_object_get(result, "data");

	capture->n_packets = json_integer_value(json_object_get(result, "packets"));
	capture->n_lost = json_integer_value(json_object_get(result, "lost"));
	if (!json_is_string(data) ||
	    !base64_decode(json_string_value(data), json_string_length(data), bytes, sizeof(bytes),
			   n)) {
		rpc_error_set(capture->error, RPC_INTERNAL, NULL,
			      "capture: an answer that is no base64");
		return CLI_REFUSED;
	}
	write_all(capture, bytes, *n);
	return CLI_DONE;
}

/* @n: bytes that came. */
static int fetch(struct capture *capture, size_t *n, bool *is_over)
{
	json_t *params = json_pack("{s:I}", "capture", capture->id), *result = NULL;
	int code = call_silently(capture->path, capture->timeout_sec, "capture.read", params,
				 &result, capture->error);

	json_decref(params);
	if (!code)
		code = take_bytes(capture, result, n);
	*is_over = json_is_true(json_object_get(result, "over"));
	json_decref(result);
	return code;
}

static void tell(struct capture *capture)
{
	int64_t now = now_ms();

	if (now - capture->told_ms < (isatty(STDERR_FILENO) ? TELL_TERMINAL_MS : TELL_OTHERS_MS))
		return;
	capture->told_ms = now;
	(void)fprintf(stderr,
		      "sluice: capturing: %" JSON_INTEGER_FORMAT " packets, %" JSON_INTEGER_FORMAT
		      " lost, %" PRId64 " s; ^C ends it\n",
		      capture->n_packets, capture->n_lost, (now - capture->begin_ms) / 1000);
}

static void pause_briefly(void)
{
	const struct timespec pause = {.tv_nsec = PAUSE_MS * 1000000L};

	(void)nanosleep(&pause, NULL);
}

static int fetch_all(struct capture *capture)
{
	bool is_over = false;
	int code = CLI_DONE;

	while (!code && !is_over) {
		size_t n = 0;

		if (!capture->is_stopped &&
		    (is_interrupted || capture->failure || now_ms() >= capture->end_ms))
			code = stop(capture);
		if (!code)
			code = fetch(capture, &n, &is_over);
		tell(capture);
		if (!code && !is_over && n == 0)
			pause_briefly();
	}
	return code;
}

/* After it the file is whole, or it is said why not. A reader that has enough is no failure. */
static int close_file(struct capture *capture, int code)
{
	if (capture->name && capture->file >= 0 && close(capture->file) != 0 && !capture->failure)
		capture->failure = errno;
	if (!code && capture->failure && (capture->name || capture->failure != EPIPE))
		code = refuse_file(capture, capture->failure);
	return code;
}

static void conclude(const struct capture *capture)
{
	(void)fprintf(stderr, "sluice: %" JSON_INTEGER_FORMAT " packets captured",
		      capture->n_packets);
	if (capture->n_lost)
		(void)fprintf(stderr,
			      ", %" JSON_INTEGER_FORMAT
			      " lost: they came faster than they could be fetched",
			      capture->n_lost);
	(void)fputc('\n', stderr);
}

static int begin(struct capture *capture, json_t *params)
{
	json_t *result = NULL;
	int code = call(capture->path, capture->timeout_sec, "capture.begin", params, &result,
			capture->error);

	capture->id = json_integer_value(json_object_get(result, "capture"));
	json_decref(result);
	return code;
}

int capture_run(const struct cli_options *options, const struct request *request, const char *path,
		json_t **result, struct rpc_error *error)
{
	const char *name = json_string_value(json_object_get(request->own, "to"));
	const json_t *seconds = json_object_get(request->own, "seconds");
	struct capture capture = {
		.path = path,
		.timeout_sec = options->timeout_sec,
		.name = name && strcmp(name, "-") != 0 ? name : NULL,
		.file = -1,
		.begin_ms = now_ms(),
		.told_ms = now_ms(),
		.error = error,
	};
	int code = judge_file(&capture);

	capture.end_ms =
		seconds ? capture.begin_ms + json_integer_value(seconds) * 1000 : INT64_MAX;
	*result = NULL;
	if (!code) {
		catch_signals();
		code = begin(&capture, request->params);
	}
	if (code)
		return code;
	/* Only now: a capture that is refused empties no file. */
	open_file(&capture);
	code = fetch_all(&capture);
	if (!capture.failure)
		conclude(&capture);
	code = close_file(&capture, code);
	if (!code && capture.name)
		*result = json_pack("{s:I, s:I, s:s}", "packets", capture.n_packets, "lost",
				    capture.n_lost, "file", capture.name);
	return code;
}
