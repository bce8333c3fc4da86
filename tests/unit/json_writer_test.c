/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* control/json_writer.c: what it writes is what jansson writes of the same values. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "control/json_writer.h"

/* Whether @writer, which is ended, holds @expected. */
static void expect_text(struct json_writer *writer, const char *expected)
{
	cr_expect(!writer->is_broken);
	cr_expect_eq(writer->length, strlen(expected));
	cr_expect_arr_eq(writer->bytes, expected, strlen(expected), "%.*s", (int)writer->length,
			 writer->bytes);
	json_writer_fini(writer);
}

/* The same of a value that jansson writes; @expected is taken over. */
static void expect_value(struct json_writer *writer, json_t *expected)
{
	char *text = json_dumps(expected, JSON_ENCODE_ANY | JSON_COMPACT);

	expect_text(writer, text);
	free(text);
	json_decref(expected);
}

Test(json_writer, integers)
{
	static const int64_t row[] = {0,         1,        -1, 9, 10, -10, 1234567890123456789,
				      INT64_MAX, INT64_MIN};

	for (size_t i = 0; i < SL_ARRAY_LEN(row); i++) {
		struct json_writer writer = {0};

		json_writer_integer(&writer, NULL, row[i]);
		expect_value(&writer, json_integer(row[i]));
	}
}

Test(json_writer, reals)
{
	static const double row[] = {0,     -0.0,     1,         0.1,  1.0 / 3,
				     1e300, 4.9e-324, 123456789, -2.5, 1e17};

	for (size_t i = 0; i < SL_ARRAY_LEN(row); i++) {
		struct json_writer writer = {0};
		json_t *value;

		json_writer_real(&writer, NULL, row[i]);
		value = json_writer_load(&writer);
		cr_expect(json_is_real(value), "%g", row[i]);
		cr_expect_eq(json_real_value(value), row[i], "%g", row[i]);
		json_decref(value);
	}
}

Test(json_writer, what_is_no_number_is_null)
{
	struct json_writer writer = {0};

	json_writer_open(&writer, NULL, '[');
	json_writer_real(&writer, NULL, INFINITY);
	json_writer_real(&writer, NULL, NAN);
	json_writer_close(&writer, ']');
	expect_text(&writer, "[null,null]");
}

Test(json_writer, strings)
{
	static const char *const row[] = {
		"",         "a",    "10.0.0.1:80",      "\"", "a\\b",    "a\nb", "\x7f",
		"\xc3\xa4", "[{,:", "\xf0\x9f\x98\x80", "/",  "\x01 end"};

	for (size_t i = 0; i < SL_ARRAY_LEN(row); i++) {
		struct json_writer writer = {0};

		json_writer_string(&writer, NULL, row[i]);
		expect_value(&writer, json_string(row[i]));
	}
}

Test(json_writer, objects_and_arrays_have_their_commas)
{
	struct json_writer writer = {0};
	json_t *value = json_pack("{s:i, s:[i, i]}", "x", 1, "y", 2, 3);

	json_writer_open(&writer, NULL, '{');
	json_writer_string(&writer, "a", "[{");
	json_writer_open(&writer, "empty", '[');
	json_writer_close(&writer, ']');
	json_writer_open(&writer, "list", '[');
	json_writer_integer(&writer, NULL, 1);
	json_writer_open(&writer, NULL, '{');
	json_writer_boolean(&writer, "yes", true);
	json_writer_boolean(&writer, "no", false);
	json_writer_close(&writer, '}');
	json_writer_string(&writer, NULL, NULL);
	json_writer_close(&writer, ']');
	json_writer_value(&writer, "value", value);
	json_writer_close(&writer, '}');
	json_decref(value);
	expect_text(&writer,
		    "{\"a\":\"[{\",\"empty\":[],\"list\":[1,{\"yes\":true,\"no\":false},null],"
		    "\"value\":{\"x\":1,\"y\":[2,3]}}");
}

/* What a backend's certificate says, or half a character that is left of a longer text. */
Test(json_writer, what_is_no_text_is_shown_as_far_as_it_is)
{
	struct json_writer writer = {0};

	json_writer_open(&writer, NULL, '[');
	json_writer_string(&writer, NULL, "\xff");
	json_writer_string(&writer, NULL, "half \xc3");
	json_writer_string(&writer, NULL, "\xc3\xa4 \xed\xa0\x80 \" \xf5");
	json_writer_close(&writer, ']');
	expect_text(&writer, "[\"?\",\"half ?\",\"\xc3\xa4 ??? \\\" ?\"]");
}

Test(json_writer, what_is_no_json_breaks_it_for_good)
{
	struct json_writer writer = {0};

	json_writer_open(&writer, NULL, '[');
	json_writer_value(&writer, NULL, NULL);
	json_writer_integer(&writer, NULL, 1);
	json_writer_close(&writer, ']');
	cr_expect(writer.is_broken);
	cr_expect_null(json_writer_load(&writer));
	cr_expect_eq(writer.length, 0);
}
