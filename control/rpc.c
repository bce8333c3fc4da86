/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * JSON-RPC 2.0 lines: strict decoding and encoding with jansson. jansson's own nesting limit is
 * fixed at its build, so the depth is counted before it sees the text.
 */
#include "control/rpc.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/utf8.h"

enum {
	MIN_LINE_BYTES = 256,
};

const char *rpc_code_text(int code)
{
	switch (code) {
#define X(upper, number, sense)                                                                    \
	case number:                                                                               \
		return sense;
		RPC_ERROR_LIST(X)
#undef X
	}
	return "error";
}

static void copy_text(char *to, size_t size, const char *from)
{
	size_t length = strlen(from);

	if (length < size) {
		memcpy(to, from, length + 1);
	} else {
		memcpy(to, from, size - 4);
		memcpy(to + size - 4, "...", 4);
	}
	utf8_scrub(to);
}

int rpc_error_set(struct rpc_error *error, enum rpc_code code, const char *field,
		  const char *format, ...)
{
	va_list arguments;

	memset(error, 0, sizeof(*error));
	error->code = code;
	va_start(arguments, format);
	(void)vsnprintf(error->message, sizeof(error->message), format, arguments);
	va_end(arguments);
	utf8_scrub(error->message);
	if (field)
		copy_text(error->field, sizeof(error->field), field);
	return code;
}

void rpc_error_data(struct rpc_error *error, const char *value, const char *limit)
{
	if (value)
		copy_text(error->value, sizeof(error->value), value);
	if (limit)
		copy_text(error->limit, sizeof(error->limit), limit);
}

/* The deepest nesting of arrays and objects; brackets inside strings do not count. */
static unsigned depth_of(const char *text, size_t length)
{
	unsigned depth = 0, deepest = 0;
	bool is_string = false;

	for (size_t i = 0; i < length; i++) {
		char c = text[i];

		if (is_string) {
			if (c == '\\')
				i++;
			else if (c == '"')
				is_string = false;
		} else if (c == '"') {
			is_string = true;
		} else if (c == '{' || c == '[') {
			if (++depth > deepest)
				deepest = depth;
		} else if ((c == '}' || c == ']') && depth > 0) {
			depth--;
		}
	}
	return deepest;
}

static int refuse_size(struct rpc_error *error, const char *what, size_t value, unsigned limit,
		       const char *unit)
{
	char value_text[32], limit_text[32];

	(void)snprintf(value_text, sizeof(value_text), "%zu", value);
	(void)snprintf(limit_text, sizeof(limit_text), "%u", limit);
	rpc_error_set(error, RPC_LIMIT, what, "document: %s is %s %s, the limit is %s", what,
		      value_text, unit, limit_text);
	rpc_error_data(error, value_text, limit_text);
	return RPC_LIMIT;
}

/* @flags: of jansson, beside what each document has. */
static int parse_document(const char *line, size_t length, size_t flags, json_t **document,
			  struct rpc_error *error)
{
	unsigned depth = depth_of(line, length);
	json_error_t parse;

	if (depth > SL_MAX_RPC_DEPTH)
		return refuse_size(error, "depth", depth, SL_MAX_RPC_DEPTH, "levels");
	*document = json_loadb(line, length, flags | JSON_DECODE_ANY, &parse);
	if (*document)
		return RPC_OK;
	return rpc_error_set(error, RPC_PARSE, NULL, "document: column %d: %s", parse.column,
			     parse.text);
}

static const char *type_name(const json_t *value)
{
	switch (json_typeof(value)) {
	case JSON_OBJECT:
		return "an object";
	case JSON_ARRAY:
		return "an array";
	case JSON_STRING:
		return "a string";
	case JSON_INTEGER:
	case JSON_REAL:
		return "a number";
	case JSON_TRUE:
	case JSON_FALSE:
		return "a boolean";
	case JSON_NULL:
		return "null";
	}
	return "nothing";
}

static int check_version(const json_t *document, struct rpc_error *error)
{
	const json_t *version = json_object_get(document, "jsonrpc");

	if (!version)
		return rpc_error_set(error, RPC_REQUEST, "jsonrpc",
				     "request: jsonrpc is missing, must be \"2.0\"");
	if (json_is_string(version) && strcmp(json_string_value(version), "2.0") == 0)
		return RPC_OK;
	rpc_error_set(error, RPC_REQUEST, "jsonrpc", "request: jsonrpc is %s%s%s, must be \"2.0\"",
		      json_is_string(version) ? "\"" : "",
		      json_is_string(version) ? json_string_value(version) : type_name(version),
		      json_is_string(version) ? "\"" : "");
	rpc_error_data(error, json_is_string(version) ? json_string_value(version) : NULL, "2.0");
	return RPC_REQUEST;
}

static bool is_id(const json_t *id)
{
	return json_is_string(id) || json_is_number(id) || json_is_null(id);
}

static int check_members(const json_t *document, struct rpc_error *error)
{
	static const char *const known[] = {"jsonrpc", "id", "method", "params"};
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)document, key, value)
	{
		bool is_known = false;

		for (size_t i = 0; i < SL_ARRAY_LEN(known); i++)
			is_known |= strcmp(key, known[i]) == 0;
		if (is_known)
			continue;
		rpc_error_set(error, RPC_REQUEST, key,
			      "request: unknown member \"%.64s\", known are jsonrpc, id, method, "
			      "params",
			      key);
		rpc_error_data(error, NULL, "jsonrpc, id, method, params");
		return RPC_REQUEST;
	}
	return RPC_OK;
}

static int check_envelope(struct rpc_request *request, struct rpc_error *error)
{
	const json_t *method = json_object_get(request->document, "method");
	json_t *params = json_object_get(request->document, "params");
	int code = check_version(request->document, error);

	if (code)
		return code;
	code = check_members(request->document, error);
	if (code)
		return code;
	if (!method)
		return rpc_error_set(error, RPC_REQUEST, "method", "request: method is missing");
	if (!json_is_string(method))
		return rpc_error_set(error, RPC_REQUEST, "method",
				     "request: method is %s, must be a string", type_name(method));
	if (params && !json_is_object(params))
		return rpc_error_set(error, RPC_PARAMS, "params",
				     "request: params is %s, must be an object", type_name(params));
	if (!params) {
		params = json_object();
		if (!params || json_object_set_new(request->document, "params", params))
			return rpc_error_set(error, RPC_INTERNAL, NULL, "out of memory");
	}
	request->method = json_string_value(method);
	request->params = params;
	return RPC_OK;
}

int rpc_decode_request(const char *line, size_t length, size_t limit, struct rpc_request *request,
		       struct rpc_error *error)
{
	const json_t *id;
	int code;

	memset(request, 0, sizeof(*request));
	if (length > limit)
		return refuse_size(error, "size", length, (unsigned int)limit, "bytes");
	code = parse_document(line, length, JSON_REJECT_DUPLICATES, &request->document, error);
	if (code)
		return code;
	if (json_is_array(request->document))
		return rpc_error_set(error, RPC_REQUEST, NULL,
				     "request: batches (arrays) are not served, send one object "
				     "per line");
	if (!json_is_object(request->document))
		return rpc_error_set(error, RPC_REQUEST, NULL,
				     "request: the document is %s, must be an object",
				     type_name(request->document));
	id = json_object_get(request->document, "id");
	if (!id)
		return rpc_error_set(error, RPC_REQUEST, "id",
				     "request: id is missing: notifications are not served");
	if (!is_id(id))
		return rpc_error_set(error, RPC_REQUEST, "id",
				     "request: id is %s, must be a string, a number or null",
				     type_name(id));
	request->id = id;
	return check_envelope(request, error);
}

void rpc_request_fini(struct rpc_request *request)
{
	json_decref(request->document);
	memset(request, 0, sizeof(*request));
}

int rpc_decode_notification(const char *line, size_t length, struct rpc_request *request,
			    struct rpc_error *error)
{
	memset(request, 0, sizeof(*request));
	if (parse_document(line, length, JSON_REJECT_DUPLICATES, &request->document, error) ==
		    RPC_OK &&
	    json_is_object(request->document) && !json_object_get(request->document, "id") &&
	    check_envelope(request, error) == RPC_OK)
		return 0;
	rpc_error_set(error, RPC_REQUEST, NULL, "the line is no JSON-RPC 2.0 notification");
	rpc_request_fini(request);
	return -EBADMSG;
}

static void take_text(char *to, size_t size, const json_t *from)
{
	if (json_is_string(from))
		copy_text(to, size, json_string_value(from));
}

static int take_error(const json_t *from, struct rpc_error *error)
{
	const json_t *code = json_object_get(from, "code");
	const json_t *message = json_object_get(from, "message");
	const json_t *data = json_object_get(from, "data");

	if (!json_is_integer(code) || !json_is_string(message) || json_integer_value(code) == 0)
		return -EBADMSG;
	error->code = (int)json_integer_value(code);
	take_text(error->message, sizeof(error->message), message);
	take_text(error->field, sizeof(error->field), json_object_get(data, "field"));
	take_text(error->value, sizeof(error->value), json_object_get(data, "value"));
	take_text(error->limit, sizeof(error->limit), json_object_get(data, "limit"));
	return 0;
}

int rpc_decode_response(const char *line, size_t length, struct rpc_response *response,
			struct rpc_error *error)
{
	const json_t *failure;

	memset(response, 0, sizeof(*response));
	/* To look each key up before it is added costs a tenth; who answers adds none twice. */
	if (parse_document(line, length, 0, &response->document, error))
		return -EBADMSG;
	if (!json_is_object(response->document) || check_version(response->document, error))
		goto bad;
	response->id = json_object_get(response->document, "id");
	response->result = json_object_get(response->document, "result");
	failure = json_object_get(response->document, "error");
	if (!response->id || (response->result != NULL) == (failure != NULL))
		goto bad;
	if (failure && take_error(failure, &response->error))
		goto bad;
	return 0;
bad:
	rpc_error_set(error, RPC_REQUEST, NULL, "the answer is no JSON-RPC 2.0 response");
	rpc_response_fini(response);
	return -EBADMSG;
}

void rpc_response_fini(struct rpc_response *response)
{
	json_decref(response->document);
	memset(response, 0, sizeof(*response));
}

/* What encode_line() puts before the id of a result, and behind it. */
static const char result_head[] = "{\"jsonrpc\":\"2.0\",\"id\":";
static const char result_middle[] = ",\"result\":";

void rpc_list_fini(struct rpc_list *list)
{
	json_writer_fini(&list->text);
	memset(list, 0, sizeof(*list));
}

/* The line that was written, with its newline and a NUL, which @length leaves out; NULL: it is not whole. */
static char *end_line(struct json_writer *line, size_t *length)
{
	json_writer_raw(line, "\n", sizeof("\n"));
	if (line->is_broken) {
		json_writer_fini(line);
		return NULL;
	}
	*length = line->length - 1;
	return line->bytes;
}

/* Takes the document over; one line with its newline. */
static char *encode_line(json_t *document, size_t *length)
{
	struct json_writer line = {0};

	json_writer_value(&line, NULL, document);
	json_decref(document);
	return end_line(&line, length);
}

/* json_pack("O") takes a reference; the caller's constness is about the value, not the count. */
static json_t *share(const json_t *value)
{
	return value ? json_incref((json_t *)(uintptr_t)value) : json_null();
}

char *rpc_encode_request(int64_t id, const char *method, json_t *params, size_t *length)
{
	return encode_line(json_pack("{s:s, s:I, s:s, s:o}", "jsonrpc", "2.0", "id", (json_int_t)id,
				     "method", method, "params",
				     params ? share(params) : json_object()),
			   length);
}

char *rpc_encode_notification(const char *method, json_t *params, size_t *length)
{
	return encode_line(json_pack("{s:s, s:s, s:o}", "jsonrpc", "2.0", "method", method,
				     "params", share(params)),
			   length);
}

const char *rpc_result_text(const char *line, size_t length, int64_t id, size_t *result_length)
{
	char head[64];
	size_t n = (size_t)snprintf(head, sizeof(head), "%s%" PRId64 "%s", result_head, id,
				    result_middle);

	if (length <= n || memcmp(line, head, n) != 0 || line[length - 1] != '}')
		return NULL;
	*result_length = length - n - 1;
	return line + n;
}

bool rpc_records_begin(struct rpc_records *records, const char *result, size_t length,
		       const char *name)
{
	char head[64];
	size_t n = (size_t)snprintf(head, sizeof(head), "{\"%s\":[", name);

	if (length < n || memcmp(result, head, n) != 0)
		return false;
	*records = (struct rpc_records){.at = result + n, .left = length - n};
	return true;
}

json_t *rpc_records_next(struct rpc_records *records)
{
	json_error_t position;
	json_t *record;

	if (records->left > 0 && records->at[0] == ',') {
		records->at++;
		records->left--;
	}
	if (records->left > 0 && records->at[0] == ']') {
		records->is_whole = records->left == 2 && records->at[1] == '}';
		return NULL;
	}
	record = json_loadb(records->at, records->left, JSON_DISABLE_EOF_CHECK, &position);
	if (!record)
		return NULL;
	records->at += position.position;
	records->left -= (size_t)position.position;
	return record;
}

/* As encode_line() has it, but for the list. */
static void append_result(struct json_writer *line, const json_t *id, json_t *result,
			  const struct rpc_list *list)
{
	const char *name;
	json_t *value;

	json_writer_open(line, NULL, '{');
	json_writer_string(line, "jsonrpc", "2.0");
	json_writer_value(line, "id", id);
	json_writer_open(line, "result", '{');
	json_object_foreach(result, name, value)
	{
		if (strcmp(name, list->name) != 0) {
			json_writer_value(line, name, value);
			continue;
		}
		json_writer_open(line, name, '[');
		json_writer_raw(line, list->text.bytes, list->text.length);
		json_writer_close(line, ']');
	}
	json_writer_raw(line, "}}", 2);
}

/* @list is in place of the member of @result that has its name. */
static char *encode_list(const json_t *id, json_t *result, const struct rpc_list *list,
			 size_t *length)
{
	struct json_writer line = {.bytes = malloc(list->text.length + MIN_LINE_BYTES),
				   .capacity = list->text.length + MIN_LINE_BYTES};
	json_t *own_id = share(id);

	line.is_broken = !line.bytes || list->text.is_broken;
	append_result(&line, own_id, result, list);
	json_decref(own_id);
	return end_line(&line, length);
}

char *rpc_encode_result(const json_t *id, json_t *result, const struct rpc_list *list,
			size_t *length)
{
	if (list && list->name)
		return encode_list(id, result, list, length);
	return encode_line(json_pack("{s:s, s:o, s:o}", "jsonrpc", "2.0", "id", share(id), "result",
				     share(result)),
			   length);
}

char *rpc_encode_error(const json_t *id, const struct rpc_error *error, size_t *length)
{
	json_t *data = json_object();
	json_t *document;

	if (!data)
		return NULL;
	if (error->field[0])
		json_object_set_new(data, "field", json_string(error->field));
	if (error->value[0])
		json_object_set_new(data, "value", json_string(error->value));
	if (error->limit[0])
		json_object_set_new(data, "limit", json_string(error->limit));
	document = json_pack("{s:s, s:o, s:{s:i, s:s, s:o}}", "jsonrpc", "2.0", "id", share(id),
			     "error", "code", error->code, "message", error->message, "data", data);
	return encode_line(document, length);
}
