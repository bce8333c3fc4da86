/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
#include "control/daemon/hint.h"

#include <criterion/criterion.h>

#include "config/health_check.h"
#include "control/daemon/daemon.h"

uint64_t daemon_now_ns(void)
{
	return 0;
}

enum {
	N_BACKENDS = 4,
	REFUSED = HEALTH_CHECK_PASSIVE_REFUSED,
	OPENINGS = HEALTH_CHECK_PASSIVE_OPENINGS,
	RESETS = HEALTH_CHECK_PASSIVE_RESETS,
};

static const uint64_t second = 1000000000;

/* What a backend has done by the seconds of a test: SYNs, and what came of them. */
struct counted {
	uint64_t syns, syn_acks, refused, unanswered, resets;
};

static struct hint_window take(struct hint_look *look, struct counted counted, uint8_t passive,
			       uint64_t at)
{
	const struct wire_backend_openings_record record = {.syns = counted.syns,
							    .syn_acks = counted.syn_acks,
							    .refused = counted.refused,
							    .unanswered = counted.unanswered,
							    .resets = counted.resets};

	return hint_take(look, &record, passive, at * second);
}

static void expect_window(struct hint_window window, uint64_t n_failed, uint64_t n_openings)
{
	cr_expect(window.n_failed == n_failed && window.n_openings == n_openings,
		  "%lu of %lu failed, not %lu of %lu", window.n_failed, window.n_openings, n_failed,
		  n_openings);
}

Test(hint, the_first_look_says_nothing)
{
	struct hint_look look = {0};

	expect_window(take(&look, (struct counted){900, 100, 700, 100, 9}, RESETS, 1), 0, 0);
	expect_window(take(&look, (struct counted){920, 114, 706, 100, 9}, OPENINGS, 2), 6, 20);
}

/* As of a backend that was ill, was taken in again by hand, and is well. */
Test(hint, what_waited_at_the_first_look_ends_without_a_word)
{
	struct hint_look look = {0};

	(void)take(&look, (struct counted){140, 100, 0, 10, 0}, OPENINGS, 1);
	expect_window(take(&look, (struct counted){140, 100, 0, 30, 0}, OPENINGS, 2), 0, 0);
	expect_window(take(&look, (struct counted){152, 110, 2, 40, 0}, OPENINGS, 3), 2, 12);
	expect_window(take(&look, (struct counted){160, 110, 2, 48, 0}, OPENINGS, 4), 8, 8);
}

Test(hint, answers_and_refusals_of_the_window_count)
{
	struct hint_look look = {0};
	struct hint_window window;

	(void)take(&look, (struct counted){10, 10, 0, 0, 0}, OPENINGS, 1);
	window = take(&look, (struct counted){30, 16, 14, 0, 0}, OPENINGS, 3);
	expect_window(window, 14, 20);
	cr_expect_eq(window.length_ns, 2 * second);
}

/* What has waited for a window is silent long before its flow ends, and counts once. */
Test(hint, those_that_wait_for_a_window_are_silent_once)
{
	struct hint_look look = {0};

	(void)take(&look, (struct counted){100, 100, 0, 0, 0}, OPENINGS, 1);
	expect_window(take(&look, (struct counted){120, 100, 0, 0, 0}, OPENINGS, 2), 0, 0);
	expect_window(take(&look, (struct counted){140, 100, 0, 0, 0}, OPENINGS, 3), 20, 20);
	expect_window(take(&look, (struct counted){140, 100, 0, 0, 0}, OPENINGS, 4), 20, 20);
	expect_window(take(&look, (struct counted){140, 100, 0, 20, 0}, OPENINGS, 5), 0, 0);
	expect_window(take(&look, (struct counted){150, 110, 0, 40, 0}, OPENINGS, 6), 0, 10);
	expect_window(take(&look, (struct counted){150, 110, 0, 40, 0}, OPENINGS, 7), 0, 0);
}

Test(hint, an_answer_beside_those_that_wait_is_no_failure)
{
	struct hint_look look = {0};

	(void)take(&look, (struct counted){100, 100, 0, 0, 0}, OPENINGS, 1);
	(void)take(&look, (struct counted){140, 100, 0, 0, 0}, OPENINGS, 2);
	expect_window(take(&look, (struct counted){140, 100, 0, 0, 0}, OPENINGS, 3), 40, 40);
	expect_window(take(&look, (struct counted){147, 107, 0, 0, 0}, OPENINGS, 4), 0, 7);
	expect_window(take(&look, (struct counted){147, 107, 0, 0, 0}, OPENINGS, 5), 0, 0);
}

/* Taken for failed, answered after all; those that end later without an answer are others. */
Test(hint, a_late_answer_leaves_no_credit)
{
	struct hint_look look = {0};

	(void)take(&look, (struct counted){0}, OPENINGS, 1);
	(void)take(&look, (struct counted){40, 0, 0, 0, 0}, OPENINGS, 2);
	expect_window(take(&look, (struct counted){40, 0, 0, 0, 0}, OPENINGS, 3), 40, 40);
	expect_window(take(&look, (struct counted){40, 40, 0, 0, 0}, OPENINGS, 4), 0, 40);
	expect_window(take(&look, (struct counted){60, 40, 0, 20, 0}, OPENINGS, 5), 20, 20);
}

Test(hint, flows_that_end_sooner_than_a_window_are_silent)
{
	struct hint_look look = {0};

	(void)take(&look, (struct counted){100, 100, 0, 0, 0}, OPENINGS, 1);
	expect_window(take(&look, (struct counted){120, 105, 0, 15, 0}, OPENINGS, 2), 15, 20);
}

/* A backend whose answers all come 3 s late: as many come as go. */
Test(hint, a_slow_backend_fails_no_openings_once_its_answers_come)
{
	struct hint_look look = {0};
	uint64_t n_failed = 0;

	for (uint64_t at = 1; at < 20; at++) {
		struct hint_window window =
			take(&look, (struct counted){at * 50, at > 3 ? (at - 3) * 50 : 0, 0, 0, 0},
			     OPENINGS, at);

		n_failed += at > 4 ? window.n_failed : 0;
	}
	cr_expect_eq(n_failed, 0);
}

/* A part of the SYNs vanishes; flows end after 5 s. Then as many have failed as vanish, each once. */
Test(hint, silence_among_answers_is_seen_when_flows_end_at_the_latest)
{
	for (uint64_t lost = 10; lost <= 100; lost += 10) {
		struct hint_look look = {0};
		uint64_t sum = 0;

		for (uint64_t at = 1; at <= 50; at++) {
			struct counted counted = {at * 100, at * (100 - lost), 0,
						  at > 5 ? (at - 5) * lost : 0, 0};
			struct hint_window window = take(&look, counted, OPENINGS, at);

			sum += window.n_failed;
			if (at > 40)
				cr_expect_eq(window.n_failed, lost, "%lu of 100 at %lu: %lu", lost,
					     at, window.n_failed);
		}
		cr_expect(sum <= 50 * lost && sum >= 42 * lost, "%lu of 100: %lu", lost, sum);
	}
}

Test(hint, resets_count_where_they_shall_and_never_beyond_all)
{
	struct hint_look look = {0}, other = {0};
	const struct counted before = {0}, after = {20, 20, 0, 0, 700};

	(void)take(&look, before, RESETS, 1);
	expect_window(take(&look, after, RESETS, 2), 700, 700);
	(void)take(&other, before, OPENINGS, 1);
	expect_window(take(&other, after, OPENINGS, 2), 0, 20);
}

/* Each counter alone says that another program counts, or that the place was another backend's. */
Test(hint, counters_that_began_anew_say_nothing)
{
	const struct counted before = {100, 60, 20, 20, 10};
	const struct counted anew[] = {{0, 0, 0, 0, 0},       {99, 60, 20, 20, 10},
				       {500, 59, 20, 20, 10}, {500, 60, 19, 20, 10},
				       {500, 60, 20, 19, 10}, {500, 60, 20, 20, 9}};

	struct hint_look look = {0};

	for (size_t i = 0; i < SL_ARRAY_LEN(anew); i++) {
		look = (struct hint_look){0};
		(void)take(&look, before, RESETS, 1);
		expect_window(take(&look, anew[i], RESETS, 2), 0, 0);
	}
	(void)take(&look, before, RESETS, 1);
	(void)take(&look, anew[0], RESETS, 2);
	expect_window(take(&look, (struct counted){20, 6, 14, 0, 0}, RESETS, 3), 14, 20);
}

Test(hint, a_clock_that_stands_makes_no_window)
{
	struct hint_look look = {0};

	(void)take(&look, (struct counted){0}, OPENINGS, 5);
	expect_window(take(&look, (struct counted){20, 0, 20, 0, 0}, OPENINGS, 5), 0, 0);
}

/* ---- judging ---- */

static const struct row {
	const char *name;
	uint32_t percent, openings;
	struct {
		uint64_t n_failed, n;
	} window[N_BACKENDS];
	const char *hints; /* a + for each that is one */
} rows[] = {
	/* clang-format off */
	{"one of four", 50, 10, {{14, 20}, {0, 20}, {1, 20}, {0, 20}}, "+---"},
	{"at the threshold", 50, 10, {{0, 20}, {10, 20}, {0, 20}, {0, 20}}, "-+--"},
	{"below the threshold", 50, 10, {{9, 20}, {0, 20}, {0, 20}, {0, 20}}, "----"},
	{"at the least number", 50, 10, {{10, 10}, {0, 20}, {0, 20}, {0, 20}}, "+---"},
	{"too few", 50, 10, {{9, 9}, {0, 20}, {0, 20}, {0, 20}}, "----"},
	{"one alone has openings", 50, 10, {{20, 20}, {0, 0}, {0, 0}, {0, 0}}, "+---"},
	{"the others have too few to compare", 50, 10, {{20, 20}, {9, 9}, {5, 5}, {0, 0}}, "+---"},
	{"all alike", 50, 10, {{20, 20}, {20, 20}, {20, 20}, {20, 20}}, "----"},
	{"all that have any", 50, 10, {{20, 20}, {30, 30}, {0, 0}, {0, 0}}, "----"},
	{"all nearly alike", 50, 10, {{18, 20}, {11, 20}, {15, 20}, {12, 20}}, "----"},
	{"twice the best", 50, 10, {{20, 20}, {10, 20}, {20, 20}, {20, 20}}, "+-++"},
	{"three of four", 50, 10, {{20, 20}, {20, 20}, {20, 20}, {0, 20}}, "+++-"},
	{"percent 1", 1, 1, {{1, 100}, {0, 100}, {0, 100}, {0, 100}}, "+---"},
	{"percent 100", 100, 1, {{99, 100}, {0, 1}, {1, 1}, {0, 0}}, "--+-"},
	{"a least number of 1", 100, 1, {{1, 1}, {0, 0}, {0, 0}, {0, 0}}, "+---"},
	{"nothing at all", 1, 1, {{0, 0}, {0, 0}, {0, 0}, {0, 0}}, "----"},
	{"very many", 50, 1000000, {{1ull << 62, 1ull << 62}, {0, 1ull << 62}, {0, 0}, {0, 0}}, "+---"},
	/* clang-format on */
};

Test(hint, who_fails_often_and_more_often_than_the_best_has_a_hint)
{
	for (size_t i = 0; i < SL_ARRAY_LEN(rows); i++) {
		const struct row *row = &rows[i];
		const struct health_check check = {.passive_percent = row->percent,
						   .passive_openings = row->openings};
		struct hint_window window[N_BACKENDS] = {0};
		bool is_hint[N_BACKENDS];

		for (uint32_t k = 0; k < N_BACKENDS; k++) {
			window[k].n_failed = row->window[k].n_failed;
			window[k].n_openings = row->window[k].n;
		}
		hint_judge(window, N_BACKENDS, &check, is_hint);
		for (uint32_t k = 0; k < N_BACKENDS; k++)
			cr_expect_eq(is_hint[k], row->hints[k] == '+', "%s: backend %u", row->name,
				     k);
	}
}

Test(hint, one_backend_and_none)
{
	const struct health_check check = {.passive_percent = 50, .passive_openings = 10};
	const struct hint_window window = {.n_failed = 20, .n_openings = 20};
	bool is_hint = false;

	hint_judge(&window, 1, &check, &is_hint);
	cr_expect(is_hint, "there is nobody to compare with: the check decides");
	is_hint = false;
	hint_judge(&window, 0, &check, &is_hint);
	cr_expect_not(is_hint);
}

/* ---- silence ---- */

Test(hint, silence_counts_where_it_shall)
{
	struct hint_look look = {0}, other = {0};
	const struct counted before = {0}, after = {40, 6, 14, 20, 9};
	struct hint_window window;

	(void)take(&look, before, REFUSED, 1);
	expect_window(take(&look, after, REFUSED, 2), 14, 20);
	(void)take(&other, before, OPENINGS, 1);
	window = take(&other, after, OPENINGS, 2);
	expect_window(window, 34, 40);
	cr_expect_eq(window.n_silent, 20);
}

static const struct quorum_row {
	const char *name;
	uint32_t quorum;
	struct {
		uint64_t n_silent, n_failed, n;
	} window[N_BACKENDS];
	const char *counts; /* a + for each whose silence stays */
} quorum_rows[] = {
	/* clang-format off */
	{"all others answer", 100, {{20, 20, 20}, {0, 0, 20}, {0, 0, 20}, {0, 0, 20}}, "+..."},
	{"half of two others", 50, {{20, 20, 20}, {0, 0, 20}, {20, 20, 20}, {0, 0, 0}}, "+.+."},
	{"a third of them", 50, {{20, 20, 20}, {0, 0, 20}, {20, 20, 20}, {20, 20, 20}}, "-.--"},
	{"a third is enough", 33, {{20, 20, 20}, {0, 0, 20}, {20, 20, 20}, {20, 20, 20}}, "+.++"},
	{"nobody else has openings", 1, {{20, 20, 20}, {0, 0, 0}, {0, 0, 9}, {0, 0, 0}}, "-..."},
	{"nobody answers", 1, {{20, 20, 20}, {20, 20, 20}, {20, 20, 20}, {20, 20, 20}}, "----"},
	/* clang-format on */
};

Test(hint, silence_needs_others_that_answer)
{
	for (size_t i = 0; i < SL_ARRAY_LEN(quorum_rows); i++) {
		const struct quorum_row *row = &quorum_rows[i];
		const struct health_check check = {.passive_percent = 50,
						   .passive_openings = 10,
						   .passive_quorum_percent = row->quorum};
		struct hint_window window[N_BACKENDS] = {0};

		for (uint32_t k = 0; k < N_BACKENDS; k++)
			window[k] = (struct hint_window){.n_silent = row->window[k].n_silent,
							 .n_failed = row->window[k].n_failed,
							 .n_openings = row->window[k].n};
		hint_discount(window, N_BACKENDS, &check);
		for (uint32_t k = 0; k < N_BACKENDS; k++)
			cr_expect_eq(window[k].n_silent,
				     row->counts[k] == '+' ? row->window[k].n_silent : 0,
				     "%s: backend %u", row->name, k);
	}
}

/* A refusal is the backend's own word and stays. */
Test(hint, refusals_stay_where_silence_does_not_count)
{
	const struct health_check check = {
		.passive_percent = 50, .passive_openings = 10, .passive_quorum_percent = 50};
	struct hint_window window = {.n_silent = 20, .n_failed = 32, .n_openings = 35};

	hint_discount(&window, 1, &check);
	expect_window(window, 12, 15);
}
