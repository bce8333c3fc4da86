/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* control/cli/top_rows.h: rates from two answers, order, filter, and numbers that fit their column. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <sluice/base.h>

#include "control/cli/commands.h"
#include "control/cli/top_rows.h"

static json_t *service(const char *name, json_int_t flows, json_int_t packets, json_int_t bytes)
{
	return json_pack("{s:s, s:s, s:s, s:i, s:{s:I, s:I, s:I, s:I, s:I, s:I}}", "name", name,
			 "address", "203.0.113.10:80/tcp", "mode", "nat", "backends", 2, "counters",
			 "flows", flows, "packets_in", packets, "bytes_in", bytes, "packets_out",
			 packets, "bytes_out", bytes, "drops", (json_int_t)0);
}

static json_t *backend(const char *address, json_int_t flows, json_int_t ended, json_int_t packets)
{
	return json_pack("{s:s, s:s, s:s, s:s, s:i, s:{s:I, s:I, s:I}}", "service", "web",
			 "address", address, "state", "ready", "health", "up", "weight", 1,
			 "counters", "flows", flows, "flows_ended", ended, "packets_in", packets);
}

/* An answer with up to three of them; references are taken. */
static json_t *answer(const char *list, json_t *a, json_t *b, json_t *c)
{
	json_t *array = json_array();

	json_array_append_new(array, a);
	if (b)
		json_array_append_new(array, b);
	if (c)
		json_array_append_new(array, c);
	return json_pack("{s:o}", list, array);
}

Test(top, rates_are_differences_by_the_seconds_between)
{
	json_t *before = answer("services", service("web", 10, 1000, 50000), NULL, NULL);
	json_t *after = answer("services", service("web", 30, 3000, 250000), NULL, NULL);
	struct top_rows *rows = top_rows_new(TOP_SERVICES, after, before, 2);

	cr_assert_eq(rows->n, 1);
	cr_expect_str_eq(rows->row[0].name, "web");
	cr_expect_eq(rows->row[0].value[TOP_NEW_FLOWS], 10);
	cr_expect_eq(rows->row[0].value[TOP_PACKETS_IN], 1000);
	cr_expect_eq(rows->row[0].value[TOP_BITS_IN], 800000);
	cr_expect_eq(rows->row[0].value[TOP_DROPS], 0);
	cr_expect(isnan(rows->row[0].value[TOP_FLOWS]), "no service says how many live");
	top_rows_free(rows);
	json_decref(before);
}

Test(top, what_nobody_saw_before_or_began_anew_has_no_rate)
{
	json_t *before = answer("services", service("web", 10, 1000, 50000), NULL, NULL);
	json_t *after = answer("services", service("web", 1, 10, 500), service("new", 1, 1, 1),
			       json_pack("{s:s}", "name", "bare"));
	struct top_rows *rows = top_rows_new(TOP_SERVICES, after, before, 1);

	cr_assert_eq(rows->n, 3);
	for (size_t i = 0; i < rows->n; i++)
		cr_expect(isnan(rows->row[i].value[TOP_PACKETS_IN]), "%s", rows->row[i].name);
	top_rows_free(rows);
	rows = top_rows_new(TOP_SERVICES, json_object(), NULL, 0);
	cr_expect_eq(rows->n, 0);
	top_rows_free(rows);
	json_decref(before);
}

Test(top, live_flows_of_a_backend_are_those_that_did_not_end)
{
	json_t *before = answer("backends", backend("10.0.0.2:80", 5, 1, 0), NULL, NULL);
	json_t *after = answer("backends", backend("10.0.0.2:80", 9, 2, 0), NULL, NULL);
	struct top_rows *rows = top_rows_new(TOP_BACKENDS, after, before, 1);

	cr_expect_eq(rows->row[0].value[TOP_FLOWS], 7);
	cr_expect_eq(rows->row[0].value[TOP_NEW_FLOWS], 4);
	cr_expect_str_eq(rows->row[0].health, "up");
	top_rows_free(rows);
	json_decref(before);
}

static void expect_order(const struct top_rows *rows, const char *wanted)
{
	char found[128] = "";

	for (size_t i = 0; i < rows->n; i++)
		(void)snprintf(found + strlen(found), sizeof(found) - strlen(found), "%s ",
			       rows->row[i].name);
	cr_expect_str_eq(found, wanted);
}

Test(top, rows_are_in_the_order_that_was_asked_for)
{
	json_t *before = answer("backends", backend("b", 0, 0, 0), backend("a", 0, 0, 0), NULL);
	json_t *after = answer("backends", backend("b", 1, 0, 50), backend("a", 1, 0, 9),
			       backend("c", 1, 0, 70));
	struct top_rows *rows = top_rows_new(TOP_BACKENDS, after, before, 1);

	top_rows_sort(rows, TOP_PACKETS_IN, false);
	expect_order(rows, "b a c "); /* of c nothing is known */
	top_rows_sort(rows, TOP_PACKETS_IN, true);
	expect_order(rows, "a b c ");
	top_rows_sort(rows, TOP_NAME, false);
	expect_order(rows, "a b c ");
	top_rows_sort(rows, TOP_NAME, true);
	expect_order(rows, "c b a ");
	top_rows_sort(rows, TOP_FLOWS, false); /* all alike: by name */
	expect_order(rows, "a b c ");
	top_rows_free(rows);
	json_decref(before);
}

Test(top, filter_may_be_changed_and_taken_back)
{
	json_t *after =
		answer("backends", backend("10.0.0.2:80", 1, 0, 1),
		       backend("10.0.0.30:80", 1, 0, 1), backend("[2001:db8::A]:80", 1, 0, 1));
	struct top_rows *rows = top_rows_new(TOP_BACKENDS, after, NULL, 0);

	top_rows_filter(rows, "10.0.0.3");
	expect_order(rows, "10.0.0.30:80 ");
	top_rows_filter(rows, "DB8::a");
	expect_order(rows, "[2001:db8::A]:80 ");
	top_rows_filter(rows, "nothing");
	expect_order(rows, "");
	top_rows_filter(rows, "ready");
	cr_expect_eq(rows->n, 3);
	top_rows_filter(rows, "");
	top_rows_sort(rows, TOP_NAME, false);
	expect_order(rows, "10.0.0.2:80 10.0.0.30:80 [2001:db8::A]:80 ");
	top_rows_free(rows);
}

Test(top, health_of_a_service_is_how_many_are_up)
{
	json_t *one = service("web", 0, 0, 0);
	struct top_rows *rows;

	json_object_set_new(
		one, "health",
		json_pack("{s:i, s:i, s:i, s:b}", "up", 3, "down", 1, "unknown", 1, "panic", 0));
	rows = top_rows_new(TOP_SERVICES, answer("services", one, NULL, NULL), NULL, 0);
	cr_expect_str_eq(rows->row[0].health, "3/5 up");
	top_rows_free(rows);
}

Test(top, numbers_fit_their_column)
{
	static const struct {
		double value;
		const char *text;
	} rows[] = {
		{0, "0"},          {0.4, "0"},         {9999, "9999"},     {9999.4, "9999"},
		{10000, "10.0k"},  {99940, "99.9k"},   {99960, "100k"},    {999949, "1.00M"},
		{1e6, "1.00M"},    {1234567, "1.23M"}, {9.999e6, "10.0M"}, {12.34e9, "12.3G"},
		{1.8e19, "18.0E"}, {1e22, "10000E"},   {NAN, "-"},
	};
	char text[32];

	for (size_t i = 0; i < SL_ARRAY_LEN(rows); i++)
		cr_expect_str_eq(top_number(rows[i].value, text, sizeof(text)), rows[i].text,
				 "%f: %s, not %s", rows[i].value, text, rows[i].text);
}

Test(top, every_column_can_be_sorted_by)
{
	char choices[256] = "name";
	enum top_column column;

	for (int i = 0; i < TOP_N_COLUMNS; i++) {
		const char *word = top_column_word((enum top_column)i);

		(void)snprintf(choices + strlen(choices), sizeof(choices) - strlen(choices), "|%s",
			       word);
		cr_expect(top_column_find(word, &column) && (int)column == i, "%s", word);
	}
	cr_expect_str_eq(choices, TOP_SORT_CHOICES);
	cr_expect(top_column_find("name", &column) && column == TOP_NAME);
	cr_expect_not(top_column_find("speed", &column));
}
