/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* See hint.h. */
#include "control/daemon/hint.h"

#include "config/health_check.h"

static uint64_t larger(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t excess(uint64_t value, uint64_t over)
{
	return value > over ? value - over : 0;
}

static bool began_anew(const struct hint_look *look,
		       const struct wire_backend_openings_record *counted)
{
	return counted->syns < look->syns || counted->syn_acks < look->syn_acks ||
	       counted->refused < look->refused || counted->unanswered < look->unanswered ||
	       counted->resets < look->resets;
}

/*
 * How many SYNs of the window before are without an answer, at least: as if whatever was answered in both windows
 * were theirs. So what waits is counted once, and what is answered at once hides no more than its own number.
 */
static uint64_t overdue(const struct hint_look *before, const struct hint_look *now)
{
	return excess(before->n_begun, before->n_answered + now->n_answered);
}

static uint64_t waiting(const struct hint_look *look)
{
	return excess(look->syns, look->syn_acks + look->refused + look->unanswered);
}

/* Failed are those that are overdue, and those that ended without having been. */
static uint64_t take_silent(const struct hint_look *before, struct hint_look *now)
{
	uint64_t n_overdue = overdue(before, now);
	uint64_t n_known = before->n_silent + n_overdue;
	uint64_t n_ended = now->unanswered - before->unanswered;

	/* Some of them may have got an answer after all. */
	now->n_silent = smaller(excess(n_known, n_ended), waiting(now));
	return n_overdue + excess(n_ended, n_known);
}

struct hint_window hint_take(struct hint_look *look,
			     const struct wire_backend_openings_record *counted, uint8_t passive,
			     uint64_t now_ns)
{
	const struct hint_look before = *look;
	struct hint_window window = {0};

	*look = (struct hint_look){.at_ns = now_ns};
#define X(name, unit, help) look->name = counted->name;
	SL_BACKEND_OPENING_LIST(X)
#undef X
	if (before.at_ns == 0 || now_ns <= before.at_ns || began_anew(&before, counted)) {
		/* What waits already is a former time's: its end is to say nothing of this one. */
		look->n_silent = waiting(look);
		return window;
	}
	look->n_begun = look->syns - before.syns;
	look->n_answered = look->syn_acks - before.syn_acks + look->refused - before.refused;
	window.length_ns = now_ns - before.at_ns;
	window.n_silent = take_silent(&before, look);
	if (passive < HEALTH_CHECK_PASSIVE_OPENINGS)
		window.n_silent = 0;
	window.n_failed = look->refused - before.refused + window.n_silent;
	window.n_openings = window.n_failed + look->syn_acks - before.syn_acks;
	if (passive == HEALTH_CHECK_PASSIVE_RESETS) {
		/* Of flows of this window or of older ones: never more than all. */
		window.n_failed += look->resets - before.resets;
		window.n_openings = larger(window.n_openings, window.n_failed);
	}
	return window;
}

bool hint_is_judged(const struct hint_window *window, const struct health_check *check)
{
	return window->n_openings > 0 && window->n_openings >= check->passive_openings;
}

static double share_of(const struct hint_window *window)
{
	return (double)window->n_failed / (double)window->n_openings;
}

bool hint_is_bad(const struct hint_window *window, const struct health_check *check)
{
	return hint_is_judged(window, check) && share_of(window) * 100 >= check->passive_percent;
}

void hint_discount(struct hint_window *window, uint32_t n, const struct health_check *check)
{
	uint32_t n_judged = 0, n_well = 0;

	for (uint32_t i = 0; i < n; i++) {
		n_judged += hint_is_judged(&window[i], check);
		n_well += hint_is_judged(&window[i], check) && !hint_is_bad(&window[i], check);
	}
	for (uint32_t i = 0; i < n; i++) {
		uint32_t others = n_judged - hint_is_judged(&window[i], check);

		/* Of one that is well itself silence is no matter. */
		if (!hint_is_bad(&window[i], check) ||
		    (n_well > 0 &&
		     (uint64_t)n_well * 100 >= (uint64_t)others * check->passive_quorum_percent))
			continue;
		window[i].n_failed -= window[i].n_silent;
		window[i].n_openings -= window[i].n_silent;
		window[i].n_silent = 0;
	}
}

/* The window with the least share of failures but for @other; @n: there is none. */
static uint32_t find_best(const struct hint_window *window, uint32_t n,
			  const struct health_check *check, uint32_t other)
{
	uint32_t best = n;

	for (uint32_t i = 0; i < n; i++)
		if (i != other && hint_is_judged(&window[i], check) &&
		    (best == n || share_of(&window[i]) < share_of(&window[best])))
			best = i;
	return best;
}

void hint_judge(const struct hint_window *window, uint32_t n, const struct health_check *check,
		bool *is_hint)
{
	uint32_t best = find_best(window, n, check, n), second = find_best(window, n, check, best);

	for (uint32_t i = 0; i < n; i++) {
		uint32_t rival = i == best ? second : best;

		is_hint[i] = hint_is_bad(&window[i], check) &&
			     (rival == n || share_of(&window[i]) >= 2 * share_of(&window[rival]));
	}
}
