/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* See call.h. The socket never blocks; poll waits, by the second, and tells who sits before it. */
#include "control/cli/call.h"

#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <sluice/limits.h>

#include "control/cli/commands.h"
#include "control/rpc.h"

enum {
	REQUEST_ID = 1, /* there is one request on a connection */
};

struct connection {
	const char *path;
	int fd;
	int64_t begin_ms;
	int64_t end_ms;
	bool is_silent; /* nobody is told that we wait */
	bool is_shown;
	struct rpc_error *error;
};

static int64_t now_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int refuse(const struct connection *connection, const char *what, int number,
		  const char *hint)
{
	rpc_error_set(connection->error, RPC_NOT_CONNECTED, "socket", "%.200s: %s%s%s%s",
		      connection->path, what, number ? ": " : "", number ? strerror(number) : "",
		      hint);
	rpc_error_data(connection->error, connection->path, NULL);
	return CLI_NOT_CONNECTED;
}

static const char *hint_of(int number)
{
	if (number == EACCES || number == EPERM)
		return " (are you root, or in the group of sluiced?)";
	if (number == EAGAIN)
		return " (sluiced is busy; try again)";
	return " (is sluiced running? does -s or -c name its socket?)";
}

static int connect_to(struct connection *connection)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	size_t length = strlen(connection->path);

	if (length == 0 || length >= sizeof(address.sun_path))
		return refuse(connection, "connect", length ? ENAMETOOLONG : ENOENT,
			      length ? " (a socket's path has 107 bytes at most)" : "");
	memcpy(address.sun_path, connection->path, length);
	connection->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (connection->fd < 0)
		return refuse(connection, "socket", errno, "");
	if (connect(connection->fd, (const struct sockaddr *)&address, sizeof(address)) == 0)
		return CLI_DONE;
	return refuse(connection, "connect", errno, hint_of(errno));
}

static void show_wait(struct connection *connection, int64_t now)
{
	int64_t seconds = (now - connection->begin_ms) / 1000;

	if (connection->is_silent || seconds < CALL_QUIET_SEC || !isatty(STDERR_FILENO))
		return;
	(void)fprintf(stderr, "\rwaiting for sluiced ... %llds", (long long)seconds);
	(void)fflush(stderr);
	connection->is_shown = true;
}

static void hide_wait(const struct connection *connection)
{
	if (connection->is_shown)
		(void)fprintf(stderr, "\r%*s\r", 40, "");
}

/* CLI_DONE when the socket is ready for @events. */
static int await(struct connection *connection, short events)
{
	struct pollfd poll_fd = {.fd = connection->fd, .events = events};

	for (;;) {
		int64_t now = now_ms(), left = connection->end_ms - now;
		int n;

		show_wait(connection, now);
		if (left <= 0)
			return refuse(connection, "no answer in time", 0,
				      " (--timeout; a change may have been made, or may yet be)");
		n = poll(&poll_fd, 1, left < 1000 ? (int)left : 1000);
		if (n > 0)
			return CLI_DONE;
		if (n < 0 && errno != EINTR)
			return refuse(connection, "poll", errno, "");
	}
}

/* A daemon that turns us away answers at once and closes: then its answer is still to be read. */
static int send_line(struct connection *connection, const char *line, size_t length)
{
	while (length > 0) {
		ssize_t n = send(connection->fd, line, length, MSG_NOSIGNAL);
		int code;

		if (n > 0) {
			line += n;
			length -= (size_t)n;
			continue;
		}
		if (n < 0 && (errno == EPIPE || errno == ECONNRESET))
			return CLI_DONE;
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return refuse(connection, "send", errno, "");
		code = await(connection, POLLOUT);
		if (code)
			return code;
	}
	return CLI_DONE;
}

/* What has come; it grows. */
struct answer {
	char *bytes;
	size_t length;
	size_t capacity;
	size_t line; /* bytes of the line at the beginning, with its newline; 0: it is not whole */
};

static int receive_some(struct connection *connection, struct answer *answer)
{
	ssize_t n;
	int code;

	if (answer->length == answer->capacity) {
		size_t capacity = answer->capacity * 2 + 65536;
		char *grown =
			capacity > CALL_MAX_ANSWER_BYTES ? NULL : realloc(answer->bytes, capacity);

		if (!grown)
			return refuse(connection, "the answer is too large", EMSGSIZE, "");
		answer->bytes = grown;
		answer->capacity = capacity;
	}
	code = await(connection, POLLIN);
	if (code)
		return code;
	n = recv(connection->fd, answer->bytes + answer->length, answer->capacity - answer->length,
		 0);
	if (n > 0)
		answer->length += (size_t)n;
	else if (n == 0 || errno == ECONNRESET) /* it closed before it read all of the question */
		return refuse(connection, "closed without an answer", 0,
			      " (sluiced ended, or you may not use this socket)");
	else if (errno != EAGAIN && errno != EINTR)
		return refuse(connection, "receive", errno, "");
	return CLI_DONE;
}

/* The next line, after the one that was taken before. */
static int receive_line(struct connection *connection, struct answer *answer)
{
	size_t seen = 0;

	if (answer->line)
		memmove(answer->bytes, answer->bytes + answer->line, answer->length - answer->line);
	answer->length -= answer->line;
	answer->line = 0;
	for (;;) {
		const char *end = answer->length > seen ? memchr(answer->bytes + seen, '\n',
								 answer->length - seen)
							: NULL;
		int code;

		if (end) {
			answer->line = (size_t)(end - answer->bytes) + 1;
			return CLI_DONE;
		}
		seen = answer->length;
		code = receive_some(connection, answer);
		if (code)
			return code;
	}
}

static int take_answer(struct connection *connection, const struct answer *answer, json_t **result)
{
	struct rpc_response response;
	struct rpc_error error;
	int code = CLI_DONE;

	if (rpc_decode_response(answer->bytes, answer->line - 1, &response, &error))
		return refuse(connection, error.message, 0, " (is this sluiced's socket?)");
	if (response.error.code) {
		*connection->error = response.error;
		code = CLI_REFUSED;
	} else {
		*result = json_incref(response.result);
	}
	rpc_response_fini(&response);
	return code;
}

static int exchange(struct connection *connection, const char *line, size_t length,
		    struct answer *answer)
{
	int code = connect_to(connection);

	if (!code)
		code = send_line(connection, line, length);
	if (!code)
		code = receive_line(connection, answer);
	hide_wait(connection);
	return code;
}

static void finish(struct connection *connection, struct answer *answer)
{
	free(answer->bytes);
	if (connection->fd >= 0)
		(void)close(connection->fd);
}

/* Asks; connection and answer are to be finished, whatever came of it. */
static int ask_for_line(struct connection *connection, int timeout_sec, const char *method,
			json_t *params, struct answer *answer)
{
	struct rpc_error *error = connection->error;
	char value[32], limit[32];
	size_t length = 0;
	char *line = rpc_encode_request(REQUEST_ID, method, params, &length);
	int code;

	connection->end_ms = connection->begin_ms + (int64_t)timeout_sec * 1000;
	if (!line) {
		rpc_error_set(error, RPC_INTERNAL, NULL, "%s: out of memory", method);
		return CLI_REFUSED;
	}
	if (length > SL_MAX_RPC_WRITER_BYTES) {
		(void)snprintf(value, sizeof(value), "%zu", length);
		(void)snprintf(limit, sizeof(limit), "%d", SL_MAX_RPC_WRITER_BYTES);
		rpc_error_set(error, RPC_LIMIT, "size",
			      "%s: the request has %s bytes, the limit is %s", method, value,
			      limit);
		rpc_error_data(error, value, limit);
		code = CLI_REFUSED;
	} else {
		code = exchange(connection, line, length, answer);
	}
	free(line);
	return code;
}

static int ask(struct connection *connection, int timeout_sec, const char *method, json_t *params,
	       struct answer *answer, json_t **result)
{
	int code = ask_for_line(connection, timeout_sec, method, params, answer);

	*result = NULL;
	return code ? code : take_answer(connection, answer, result);
}

int call(const char *path, int timeout_sec, const char *method, json_t *params, json_t **result,
	 struct rpc_error *error)
{
	struct connection connection = {
		.path = path, .fd = -1, .begin_ms = now_ms(), .error = error};
	struct answer answer = {0};
	int code = ask(&connection, timeout_sec, method, params, &answer, result);

	finish(&connection, &answer);
	return code;
}

/* Of an answer in a form that is not sluiced's, or of an error. */
static int take_decoded(struct connection *connection, const struct answer *answer,
			struct call_text *text)
{
	json_t *result = NULL;
	int code = take_answer(connection, answer, &result);

	if (code)
		return code;
	text->buffer = json_dumps(result, JSON_COMPACT | JSON_PRESERVE_ORDER | JSON_ENCODE_ANY);
	json_decref(result);
	if (!text->buffer)
		return refuse(connection, "out of memory", 0, "");
	text->result = text->buffer;
	text->length = strlen(text->buffer);
	return CLI_DONE;
}

int call_text(const char *path, int timeout_sec, const char *method, json_t *params,
	      struct call_text *text, struct rpc_error *error)
{
	struct connection connection = {
		.path = path, .fd = -1, .begin_ms = now_ms(), .error = error};
	struct answer answer = {0};
	int code = ask_for_line(&connection, timeout_sec, method, params, &answer);

	memset(text, 0, sizeof(*text));
	if (!code)
		text->result =
			rpc_result_text(answer.bytes, answer.line - 1, REQUEST_ID, &text->length);
	if (text->result) {
		text->buffer = answer.bytes;
		answer.bytes = NULL;
	} else if (!code) {
		code = take_decoded(&connection, &answer, text);
	}
	finish(&connection, &answer);
	return code;
}

void call_text_fini(struct call_text *text)
{
	free(text->buffer);
	memset(text, 0, sizeof(*text));
}

int call_silently(const char *path, int timeout_sec, const char *method, json_t *params,
		  json_t **result, struct rpc_error *error)
{
	struct connection connection = {
		.path = path, .fd = -1, .begin_ms = now_ms(), .is_silent = true, .error = error};
	struct answer answer = {0};
	int code = ask(&connection, timeout_sec, method, params, &answer, result);

	finish(&connection, &answer);
	return code;
}

struct call_stream {
	struct connection connection;
	struct answer answer;
};

int call_open(const char *path, int timeout_sec, const char *method, json_t *params,
	      json_t **result, struct call_stream **stream, struct rpc_error *error)
{
	int code;

	*result = NULL;
	*stream = calloc(1, sizeof(**stream));
	if (!*stream) {
		rpc_error_set(error, RPC_INTERNAL, NULL, "%s: out of memory", method);
		return CLI_REFUSED;
	}
	(*stream)->connection =
		(struct connection){.path = path, .fd = -1, .begin_ms = now_ms(), .error = error};
	code = ask(&(*stream)->connection, timeout_sec, method, params, &(*stream)->answer, result);
	if (code) {
		call_close(*stream);
		*stream = NULL;
	}
	return code;
}

int call_next(struct call_stream *stream, const char **line, size_t *length,
	      struct rpc_error *error)
{
	int code;

	stream->connection.is_silent = true;
	stream->connection.end_ms = INT64_MAX;
	stream->connection.error = error;
	code = receive_line(&stream->connection, &stream->answer);
	*line = stream->answer.bytes;
	*length = code ? 0 : stream->answer.line - 1;
	return code;
}

void call_close(struct call_stream *stream)
{
	if (stream)
		finish(&stream->connection, &stream->answer);
	free(stream);
}
