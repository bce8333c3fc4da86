/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* One call of sluiced: connect, one line out, one line back. Framing is control/rpc.h's. */
#pragma once

#include <jansson.h>

#include <sluice/base.h>

struct rpc_error;

enum {
	CALL_MAX_ANSWER_BYTES = 268435456, /* above every answer there is: all backends, listed */
	CALL_QUIET_SEC = 2,                /* before it is said that we wait */
};

/**
 * Calls @method with @params on the socket at @path. @result: the caller's reference. CLI_DONE;
 * CLI_REFUSED: sluiced said no; CLI_NOT_CONNECTED: there is none, or it did not answer in
 * @timeout_sec. While waiting, a terminal on stderr is told so.
 */
int call(const char *path, int timeout_sec, const char *method, json_t *params, json_t **result,
	 struct rpc_error *error) SL_MUST_USE;

/** The same, and nobody is told that we wait: for who draws on the terminal. */
int call_silently(const char *path, int timeout_sec, const char *method, json_t *params,
		  json_t **result, struct rpc_error *error) SL_MUST_USE;

/** A result as sluiced wrote it; call_text_fini() frees it. */
struct call_text {
	char *buffer;
	const char *result;
	size_t length;
};

/** As call(), for who hands the result on as it is: of a long list a tree would take seconds. */
int call_text(const char *path, int timeout_sec, const char *method, json_t *params,
	      struct call_text *text, struct rpc_error *error) SL_MUST_USE;
void call_text_fini(struct call_text *text);

struct call_stream;

/**
 * Calls, and the connection stays: for a method after which sluiced goes on telling. @stream: the caller's;
 * NULL on failure.
 */
int call_open(const char *path, int timeout_sec, const char *method, json_t *params,
	      json_t **result, struct call_stream **stream, struct rpc_error *error) SL_MUST_USE;

/** Waits for the next line, however long; @line is borrowed until the next call. CLI_NOT_CONNECTED: it ended. */
int call_next(struct call_stream *stream, const char **line, size_t *length,
	      struct rpc_error *error) SL_MUST_USE;

void call_close(struct call_stream *stream);
