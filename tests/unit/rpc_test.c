/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* control/rpc.c and control/methods.c: strict decoding, encoding, validation of parameters. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/methods.h"
#include "control/rpc.h"

static int decode(const char *line, struct rpc_error *error)
{
	struct rpc_request request;
	int code;

	memset(error, 0, sizeof(*error));
	code = rpc_decode_request(line, strlen(line), SL_MAX_RPC_BYTES, &request, error);
	rpc_request_fini(&request);
	return code;
}

Test(rpc, a_good_request_is_decoded)
{
	const char line[] =
		"{\"jsonrpc\":\"2.0\",\"id\":\"a\",\"method\":\"status\",\"params\":{\"x\":1}}";
	struct rpc_request request;
	struct rpc_error error;

	cr_assert_eq(rpc_decode_request(line, strlen(line), SL_MAX_RPC_BYTES, &request, &error),
		     RPC_OK);
	cr_assert_str_eq(request.method, "status");
	cr_assert_str_eq(json_string_value(request.id), "a");
	cr_assert_eq(json_object_size(request.params), 1);
	rpc_request_fini(&request);
}

Test(rpc, params_may_be_absent_and_id_may_be_null)
{
	struct rpc_error error;

	cr_assert_eq(decode("{\"jsonrpc\":\"2.0\",\"id\":null,\"method\":\"status\"}", &error),
		     RPC_OK);
}

Test(rpc, broken_documents_are_refused_with_their_reason)
{
	static const struct {
		const char *line;
		int code;
		const char *part;
	} rows[] = {
		{"", RPC_PARSE, "document"},
		{"{", RPC_PARSE, "document"},
		{"nonsense", RPC_PARSE, "document"},
		{"{} {}", RPC_PARSE, "end of file"},
		{"{\"a\":1,\"a\":2}", RPC_PARSE, "duplicate"},
		{"{\"a\":\"\xff\"}", RPC_PARSE, "document"},
		{"{\"a\":\"\\ud800\"}", RPC_PARSE, "document"},
		{"{\"a\":01}", RPC_PARSE, "document"},
		{"[]", RPC_REQUEST, "batches"},
		{"[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"status\"}]", RPC_REQUEST, "batches"},
		{"{}", RPC_REQUEST, "id is missing"},
		{"{\"jsonrpc\":\"2.0\",\"method\":\"status\"}", RPC_REQUEST, "notifications"},
		{"{\"id\":1}", RPC_REQUEST, "jsonrpc is missing"},
		{"{\"id\":1,\"jsonrpc\":2.0}", RPC_REQUEST, "a number"},
		{"{\"id\":1,\"jsonrpc\":\"1.0\"}", RPC_REQUEST, "\"1.0\""},
		{"{\"id\":true,\"jsonrpc\":\"2.0\"}", RPC_REQUEST, "a boolean"},
		{"{\"id\":[1],\"jsonrpc\":\"2.0\"}", RPC_REQUEST, "an array"},
		{"{\"id\":1,\"jsonrpc\":\"2.0\"}", RPC_REQUEST, "method is missing"},
		{"{\"id\":1,\"jsonrpc\":\"2.0\",\"method\":1}", RPC_REQUEST, "method is a number"},
		{"{\"id\":1,\"jsonrpc\":\"2.0\",\"method\":\"x\",\"extra\":1}", RPC_REQUEST,
		 "unknown member \"extra\""},
		{"{\"id\":1,\"jsonrpc\":\"2.0\",\"method\":\"x\",\"params\":[1]}", RPC_PARAMS,
		 "params is an array"},
	};

	for (size_t i = 0; i < SL_ARRAY_LEN(rows); i++) {
		struct rpc_error error;

		cr_expect_eq(decode(rows[i].line, &error), rows[i].code, "%s: code %d",
			     rows[i].line, error.code);
		cr_expect(strstr(error.message, rows[i].part), "%s: message %s", rows[i].line,
			  error.message);
	}
}

Test(rpc, depth_and_size_are_limited)
{
	char *line = malloc(SL_MAX_RPC_BYTES + 2);
	struct rpc_error error;

	cr_assert(line);
	memset(line, '[', SL_MAX_RPC_DEPTH + 1);
	line[SL_MAX_RPC_DEPTH + 1] = '\0';
	cr_expect_eq(decode(line, &error), RPC_LIMIT);
	cr_expect(strstr(error.message, "33 levels, the limit is 32"), "%s", error.message);
	cr_expect_str_eq(error.limit, "32");
	memset(line, ' ', SL_MAX_RPC_BYTES + 1);
	line[SL_MAX_RPC_BYTES + 1] = '\0';
	cr_expect_eq(decode(line, &error), RPC_LIMIT);
	cr_expect(strstr(error.message, "1048577 bytes, the limit is 1048576"), "%s",
		  error.message);
	free(line);
}

Test(rpc, brackets_in_strings_are_not_depth)
{
	char line[512] = "{\"jsonrpc\":\"2.0\",\"method\":\"x\",\"id\":\"\\\"";
	struct rpc_error error;

	memset(line + strlen(line), '[', 100);
	strcat(line, "\"}");
	cr_assert_eq(decode(line, &error), RPC_OK, "%s", error.message);
}

Test(rpc, texts_cut_inside_a_character_stay_utf8)
{
	struct rpc_error error;
	size_t length;
	char *line;
	char text[2000];

	for (size_t shift = 0; shift < 4; shift++) {
		memset(text, 'a', shift);
		for (size_t i = shift; i + 4 < sizeof(text); i += 3)
			memcpy(text + i, "\xe2\x82\xac", 4);
		rpc_error_set(&error, RPC_PARAMS, text, "%s", text);
		rpc_error_data(&error, text, text);
		line = rpc_encode_error(NULL, &error, &length);
		cr_assert(line, "shift %zu", shift);
		free(line);
	}
}

Test(rpc, responses_come_back_as_they_were_sent)
{
	struct rpc_response response;
	struct rpc_error error, sent;
	size_t length;
	json_t *id = json_integer(7), *result = json_pack("{s:i}", "n", 3);
	char *line = rpc_encode_result(id, result, NULL, &length);

	cr_assert_eq(line[length - 1], '\n');
	cr_assert_eq(rpc_decode_response(line, length, &response, &error), 0);
	cr_assert_eq(json_integer_value(json_object_get(response.result, "n")), 3);
	cr_assert_eq(response.error.code, 0);
	rpc_response_fini(&response);
	free(line);
	rpc_error_set(&sent, RPC_CONFLICT, "if_generation", "if_generation is 1");
	rpc_error_data(&sent, "1", "2");
	line = rpc_encode_error(id, &sent, &length);
	cr_assert_eq(rpc_decode_response(line, length, &response, &error), 0);
	cr_assert_eq(response.error.code, RPC_CONFLICT);
	cr_assert_str_eq(response.error.field, "if_generation");
	cr_assert_str_eq(response.error.value, "1");
	cr_assert_str_eq(response.error.limit, "2");
	rpc_response_fini(&response);
	free(line);
	json_decref(id);
	json_decref(result);
}

/* A result of @n records, its list as text or not. */
static char *encode_records(int n, bool is_text, size_t *length)
{
	struct rpc_list list = {.name = is_text ? "records" : NULL};
	json_t *id = json_string("a\"b"), *records = json_array();
	json_t *result = json_pack("{s:f, s:O, s:[]}", "before", 0.1, "records",
				   is_text ? json_null() : records, "after");
	char *line;

	for (int i = 0; i < n; i++) {
		json_t *record = json_pack("{s:i, s:s, s:f}", "n", i, "text", "\"\\\n\xc3\xa4",
					   "real", 1.0 / (i + 3));

		json_writer_value(&list.text, NULL, record);
		json_array_append_new(records, record);
	}
	line = rpc_encode_result(id, result, &list, length);
	json_decref(id);
	json_decref(result);
	json_decref(records);
	rpc_list_fini(&list);
	return line;
}

Test(rpc, a_list_as_text_is_the_list_byte_for_byte)
{
	static const int row[] = {0, 1, 2, 1000};

	for (size_t i = 0; i < SL_ARRAY_LEN(row); i++) {
		size_t length, text_length;
		char *line = encode_records(row[i], false, &length);
		char *text = encode_records(row[i], true, &text_length);

		cr_assert(line && text);
		cr_expect_eq(length, text_length, "%d records", row[i]);
		cr_expect_str_eq(line, text, "%d records", row[i]);
		free(line);
		free(text);
	}
}

/* How many records of @text are read, and whether that is all of them. */
static int count_records(const char *text, bool *is_whole)
{
	struct rpc_records records;
	json_t *record;
	int n = 0;

	*is_whole = false;
	if (!rpc_records_begin(&records, text, strlen(text), "records"))
		return -1;
	for (; (record = rpc_records_next(&records)); n++)
		json_decref(record);
	*is_whole = records.is_whole;
	return n;
}

Test(rpc, records_are_read_one_by_one)
{
	static const struct {
		const char *text;
		int n;
		bool is_whole;
	} row[] = {
		{"{\"records\":[]}", 0, true},
		{"{\"records\":[{\"a\":[1,2]},{\"a\":\"]}\"},{}]}", 3, true},
		{"{\"records\":[{}", 1, false},
		{"{\"records\":[{},", 1, false},
		{"{\"records\":[{}]", 1, false},
		{"{\"records\":[{}]},", 1, false},
		{"{\"records\":[{}],\"more\":1}", 1, false},
		{"{\"records\":[{},{\"a\":}]}", 1, false},
		{"{\"records\":[", 0, false},
		{"{\"records\":{}}", -1, false},
		{"{\"others\":[]}", -1, false},
		{"", -1, false},
	};

	for (size_t i = 0; i < SL_ARRAY_LEN(row); i++) {
		bool is_whole;

		cr_expect_eq(count_records(row[i].text, &is_whole), row[i].n, "%s", row[i].text);
		cr_expect_eq(is_whole, row[i].is_whole, "%s", row[i].text);
	}
}

Test(rpc, the_text_of_a_result_is_what_was_encoded)
{
	static const char *const other[] = {
		"",
		"{",
		"{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":",
		"{\"jsonrpc\":\"2.0\",\"id\":8,\"result\":{}}",
		"{\"jsonrpc\":\"2.0\",\"id\":7, \"result\":{}}",
		"{\"jsonrpc\":\"2.0\",\"id\":7,\"error\":{\"code\":-1,\"message\":\"no\"}}",
		"{\"id\":7,\"jsonrpc\":\"2.0\",\"result\":{}}",
	};
	size_t length, n;
	json_t *id = json_integer(7), *result = json_pack("{s:i}", "n", 3);
	char *line = rpc_encode_result(id, result, NULL, &length);
	const char *text = rpc_result_text(line, length - 1, 7, &n);

	cr_assert(text);
	cr_expect_eq(n, strlen("{\"n\":3}"));
	cr_expect_eq(strncmp(text, "{\"n\":3}", n), 0);
	for (size_t i = 0; i < SL_ARRAY_LEN(other); i++)
		cr_expect_null(rpc_result_text(other[i], strlen(other[i]), 7, &n), "%s", other[i]);
	free(line);
	json_decref(id);
	json_decref(result);
}

Test(rpc, a_list_that_lacks_a_record_is_no_answer)
{
	struct rpc_list list = {.name = "records"};
	json_t *result = json_pack("{s:n}", "records");
	size_t length;

	json_writer_integer(&list.text, NULL, 1);
	json_writer_value(&list.text, NULL, NULL);
	json_writer_integer(&list.text, NULL, 3);
	cr_assert_null(rpc_encode_result(NULL, result, &list, &length));
	rpc_list_fini(&list);
	json_decref(result);
}

static int check(const char *method, const char *params, struct rpc_error *error)
{
	json_t *json = json_loads(params, 0, NULL);
	int code;

	cr_assert(json, "%s", params);
	memset(error, 0, sizeof(*error));
	code = method_check(method_find(method), json, error);
	json_decref(json);
	return code;
}

Test(methods, names_are_unique_and_every_row_has_a_summary)
{
	const struct method *table = method_table();

	for (size_t i = 0; i < N_METHODS; i++) {
		cr_expect_eq(method_find(table[i].name), &table[i]);
		cr_expect_eq(table[i].id, i);
		cr_expect(table[i].summary[0] != '\0');
	}
	cr_expect_null(method_find("service"));
}

Test(methods, every_mutation_takes_if_generation_and_dry_run)
{
	const struct method *table = method_table();

	for (size_t i = 0; i < N_METHODS; i++) {
		unsigned n = 0;

		for (size_t k = 0; k < table[i].n_params; k++)
			n += strcmp(table[i].params[k].name, "if_generation") == 0 ||
			     strcmp(table[i].params[k].name, "dry_run") == 0;
		cr_expect_eq(n, table[i].is_mutation ? 2 : 0, "%s", table[i].name);
	}
}

Test(methods, parameters_are_judged)
{
	static const struct {
		const char *method, *params;
		int code;
		const char *part;
	} rows[] = {
		{"status", "{}", RPC_OK, ""},
		{"status", "{\"x\":1}", RPC_PARAMS, "unknown parameter \"x\", known are: none"},
		{"service.add", "{}", RPC_PARAMS, "name is missing"},
		{"service.add", "{\"name\":1}", RPC_PARAMS, "name is of type integer"},
		{"service.add", "{\"name\":\"\"}", RPC_PARAMS, "1..63"},
		{"service.add", "{\"name\":\"w\",\"address\":\"a\",\"mode\":\"dr\"}", RPC_PARAMS,
		 "mode is \"dr\", must be nat|fullnat"},
		{"service.add", "{\"name\":\"w\",\"address\":\"a\",\"mode\":\"nat|fullnat\"}",
		 RPC_PARAMS, "must be nat|fullnat"},
		{"service.add", "{\"name\":\"w\",\"address\":\"a\",\"slots\":1.5}", RPC_PARAMS,
		 "real number"},
		{"service.add", "{\"name\":\"w\",\"address\":\"a\",\"slots\":250}", RPC_PARAMS,
		 "slots is 250, must be 251..1048573"},
		{"service.add", "{\"name\":\"w\",\"address\":\"a\",\"timeouts\":{\"udp\":0}}",
		 RPC_PARAMS, "timeouts.udp is 0, must be 1..604800"},
		{"service.add", "{\"name\":\"w\",\"address\":\"a\",\"timeouts\":{\"tcp\":5}}",
		 RPC_PARAMS, "unknown parameter \"timeouts.tcp\""},
		{"service.add", "{\"name\":\"w\",\"address\":\"a\",\"timeouts\":[]}", RPC_PARAMS,
		 "timeouts is of type array"},
		{"service.add", "{\"name\":\"w\",\"address\":\"a\",\"source\":\"b\"}", RPC_PARAMS,
		 "array of strings"},
		{"service.add", "{\"name\":\"w\",\"address\":\"a\",\"source\":[\"b\",2]}",
		 RPC_PARAMS, "source[1] is of type integer"},
		{"service.add", "{\"name\":\"w\",\"address\":\"a\",\"source_ports\":1024}",
		 RPC_PARAMS, "source_ports is of type integer, must be string"},
		{"service.add", "{\"name\":\"w\",\"address\":\"a\",\"source_ports\":\"\"}",
		 RPC_PARAMS, "source_ports's length in bytes is 0, must be 1..11"},
		{"service.set", "{\"name\":\"w\",\"stateless_replies\":\"no\"}", RPC_PARAMS,
		 "stateless_replies is of type string, must be boolean"},
		{"service.set", "{\"name\":\"w\",\"proxy_protocol\":\"v1\"}", RPC_PARAMS,
		 "proxy_protocol is \"v1\", must be none|v2"},
		{"service.set",
		 "{\"name\":\"w\",\"mode\":\"fullnat\",\"source\":[\"10.0.0.1\"],\"source_ports\":"
		 "\"1-2\",\"stateless_replies\":false,\"proxy_protocol\":\"v2\"}",
		 RPC_OK, ""},
		{"service.add", "{\"name\":\"w\",\"address\":\"a\",\"dry_run\":1}", RPC_PARAMS,
		 "dry_run is of type integer, must be boolean"},
		{"service.add",
		 "{\"name\":\"w\",\"address\":\"a\",\"timeouts\":{\"udp\":9},\"if_generation\":3}",
		 RPC_OK, ""},
		{"flow.list", "{\"limit\":10001}", RPC_PARAMS, "10001, must be 1..10000"},
	};

	for (size_t i = 0; i < SL_ARRAY_LEN(rows); i++) {
		struct rpc_error error;

		cr_expect_eq(check(rows[i].method, rows[i].params, &error), rows[i].code,
			     "%s %s: %s", rows[i].method, rows[i].params, error.message);
		cr_expect(strstr(error.message, rows[i].part), "%s %s: %s", rows[i].method,
			  rows[i].params, error.message);
	}
}

Test(methods, the_table_describes_itself)
{
	json_t *description = method_describe();

	cr_assert_eq(json_array_size(json_object_get(description, "methods")), N_METHODS);
	json_decref(description);
}
