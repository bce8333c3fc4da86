/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * JSON-RPC 2.0, one document per line, as the daemon and the CLI speak it: framing, strict
 * decoding, encoding, and the one list of error codes. No socket, no method knowledge, no state.
 */
#pragma once

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include <sluice/base.h>
#include <sluice/limits.h>

#include "control/json_writer.h"

/* clang-format off */
/* upper, code, what it says */
#define RPC_ERROR_LIST(X) \
	X(PARSE,         -32700, "the document is not JSON") \
	X(REQUEST,       -32600, "the document is no JSON-RPC 2.0 request") \
	X(METHOD,        -32601, "there is no such method") \
	X(PARAMS,        -32602, "a parameter is missing, unknown, of the wrong type or out of range") \
	X(INTERNAL,      -32603, "the daemon is out of memory, or has a bug") \
	X(NOT_PERMITTED, -32001, "the caller may not do this") \
	X(CONFLICT,      -32002, "the generation is not the one given as if_generation") \
	X(EXISTS,        -32003, "an object of that name or address exists") \
	X(NOT_FOUND,     -32004, "there is no such object") \
	X(OWNED,         -32005, "the object is owned by another: the configuration file or the API") \
	X(REFUSED,       -32006, "the dataplane refused the change") \
	X(NOT_CONNECTED, -32007, "the dataplane is not connected") \
	X(LIMIT,         -32008, "a limit would be exceeded") \
	X(STORAGE,       -32009, "the change could not be written to disk")
/* clang-format on */

enum rpc_code {
	RPC_OK = 0,
#define X(upper, code, sense) RPC_##upper = (code),
	RPC_ERROR_LIST(X)
#undef X
};

/** What an error object carries; empty strings are left out of its data. */
struct rpc_error {
	int code; /* enum rpc_code, or what the other end sent */
	char message[4096];
	char field[96];
	char value[160];
	char limit[512];
};

/** A decoded request. The document owns all that the members point to. */
struct rpc_request {
	json_t *document;
	const json_t *id;
	const char *method;
	json_t *params; /* an object, possibly empty; never NULL */
};

/** A decoded response: exactly one of result and an error with code != 0. */
struct rpc_response {
	json_t *document;
	const json_t *id;
	json_t *result;
	struct rpc_error error;
};

/** The sense of @code in words, or "error". */
const char *rpc_code_text(int code);

/** Fills @error and returns @code. @field may be NULL. Values and limits are set by rpc_error_data. */
int rpc_error_set(struct rpc_error *error, enum rpc_code code, const char *field,
		  const char *format, ...) __attribute__((format(printf, 4, 5)));

/** Adds value and limit to @error; each may be NULL. Long values are cut with "...". */
void rpc_error_data(struct rpc_error *error, const char *value, const char *limit);

/**
 * Decodes one line (without its newline) strictly: size (@limit, bytes), depth, UTF-8, duplicate keys, trailing
 * data, "jsonrpc", id, unknown members. 0 and @request to be released with rpc_request_fini; else
 * the error's code, with @error filled and @request holding at most the id to answer with (still
 * to be released).
 */
int rpc_decode_request(const char *line, size_t length, size_t limit, struct rpc_request *request,
		       struct rpc_error *error) SL_MUST_USE;
void rpc_request_fini(struct rpc_request *request);

/**
 * Decodes a response line, as strictly but for its size. 0, or -EBADMSG with @error filled: then it
 * was no response at all. A response that carries an error returns 0 with response->error.code != 0.
 */
int rpc_decode_response(const char *line, size_t length, struct rpc_response *response,
			struct rpc_error *error) SL_MUST_USE;
void rpc_response_fini(struct rpc_response *response);

/**
 * The result of a response line as rpc_encode_result() wrote it for @id, without looking into it: for who hands
 * it on. NULL: the line has another form, or an error; rpc_decode_response() tells.
 */
const char *rpc_result_text(const char *line, size_t length, int64_t id, size_t *result_length);

/** The records of a result's text that is a list alone, as an rpc_list has them, one after the other. */
struct rpc_records {
	const char *at;
	size_t left;
	bool is_whole; /* the last one was taken, and behind it is what has to be */
};

/** False: @result is not {"@name":[...]}. */
bool rpc_records_begin(struct rpc_records *records, const char *result, size_t length,
		       const char *name) SL_MUST_USE;

/** The next record, the caller's reference; NULL: there is none, or, not is_whole, none can be read. */
json_t *rpc_records_next(struct rpc_records *records);

/**
 * Decodes a notification line, of a daemon that tells what nobody asked: method and params, no id. 0 and
 * @request to be released with rpc_request_fini; -EBADMSG with @error filled: it is none.
 */
int rpc_decode_notification(const char *line, size_t length, struct rpc_request *request,
			    struct rpc_error *error) SL_MUST_USE;

/**
 * The long list of a result, as text. What has a hundred thousand records is written record by record, for a
 * tree of them all would take ten times the memory, and most of the time. All 0: the result has none.
 */
struct rpc_list {
	const char *name;        /* the result's member that it is, in whose place null stands */
	struct json_writer text; /* the records, between commas */
};

void rpc_list_fini(struct rpc_list *list);

/**
 * Each returns one line with its newline, heap, owned by the caller, and its length in @length; NULL
 * when out of memory. @id NULL stands for null. @result, @list and @params are borrowed.
 */
char *rpc_encode_request(int64_t id, const char *method, json_t *params, size_t *length);
char *rpc_encode_result(const json_t *id, json_t *result, const struct rpc_list *list,
			size_t *length);
char *rpc_encode_notification(const char *method, json_t *params, size_t *length);
char *rpc_encode_error(const json_t *id, const struct rpc_error *error, size_t *length);
