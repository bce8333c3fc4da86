/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
#include <criterion/criterion.h>

#include "config/health_check.h"
#include "control/daemon/health_state.h"

static const uint64_t ms = 1000000;

static struct health_check check_of(uint32_t rise, uint32_t fall)
{
	struct health_check check;

	health_check_init(&check);
	check.type = HEALTH_CHECK_TCP;
	check.rise = rise;
	check.fall = fall;
	check.hold_down_ms = 0;
	return check;
}

Test(health_state, nobody_knows_until_the_first_result)
{
	struct health_check check = check_of(2, 3);
	struct health_state state;

	health_state_init(&state);
	cr_expect(state.is_up && !state.is_proven);
	cr_expect_eq(health_state_take(&state, &check, false, 1), HEALTH_WENT_DOWN,
		     "a backend that never answered is down at once");
	health_state_init(&state);
	cr_expect_eq(health_state_take(&state, &check, true, 1), HEALTH_STAYED);
	cr_expect_eq(health_state_take(&state, &check, false, 2), HEALTH_STAYED);
	cr_expect(state.is_up && state.is_proven);
}

Test(health_state, fall_and_rise_count_results_in_a_row)
{
	struct health_check check = check_of(2, 3);
	/* +: good, -: bad; what the backend is after each. */
	static const char results[] = "+--+---++-++--+---";
	static const char states[] = "uuuuuudduuuuuuuuud";
	struct health_state state;

	health_state_init(&state);
	for (size_t i = 0; results[i]; i++) {
		(void)health_state_take(&state, &check, results[i] == '+', (i + 1) * ms);
		cr_expect_eq(state.is_up, states[i] == 'u', "after result %zu of %s", i, results);
	}
}

Test(health_state, what_is_recalled_needs_as_many_results_as_any)
{
	struct health_check check = check_of(2, 2);
	struct health_state state;

	health_state_recall(&state, true, 5);
	cr_expect_eq(health_state_take(&state, &check, false, 6), HEALTH_STAYED);
	cr_expect_eq(health_state_take(&state, &check, false, 7), HEALTH_WENT_DOWN);
	health_state_recall(&state, false, 8);
	cr_expect_eq(health_state_take(&state, &check, true, 9), HEALTH_STAYED);
	cr_expect_eq(health_state_take(&state, &check, true, 10), HEALTH_CAME_UP);
}

/* How often a backend that is good and bad in turns changes within @n results, @step apart. */
static unsigned count_changes(struct health_check *check, unsigned n, uint64_t step_ns)
{
	struct health_state state;
	unsigned changes = 0;

	health_state_init(&state);
	for (unsigned i = 0; i < n; i++)
		changes += health_state_take(&state, check, i % 2 == 0, (i + 1) * step_ns) !=
			   HEALTH_STAYED;
	return changes;
}

Test(health_state, who_flaps_is_held_down_for_longer_and_longer)
{
	struct health_check check = check_of(1, 1);

	/* Ten minutes of a backend that flaps at 0.5 to 20 Hz. */
	cr_expect_eq(count_changes(&check, 12000, 50 * ms), 11999, "it flaps");
	check.hold_down_ms = 1000;
	cr_expect_leq(count_changes(&check, 12000, 50 * ms), 2 * (7 + 600 / 64));
	cr_expect_leq(count_changes(&check, 600, 1000 * ms), 2 * (7 + 600 / 64));
}

Test(health_state, who_was_steady_is_held_down_briefly_again)
{
	struct health_check check = check_of(1, 1);
	struct health_state state;
	uint64_t now = 1000 * ms;

	check.hold_down_ms = 1000;
	health_state_init(&state);
	for (unsigned i = 0; i < 3; i++) {
		cr_expect_eq(health_state_take(&state, &check, false, now), HEALTH_WENT_DOWN);
		cr_expect_eq(state.held_until_ns, now + (1000 * ms << i));
		now = state.held_until_ns;
		cr_expect_eq(health_state_take(&state, &check, true, now - 1), HEALTH_STAYED);
		cr_expect_eq(health_state_take(&state, &check, true, now), HEALTH_CAME_UP);
	}
	now += 10 * 4000 * ms;
	cr_expect_eq(health_state_take(&state, &check, false, now), HEALTH_WENT_DOWN);
	cr_expect_eq(state.held_until_ns, now + 1000 * ms);
}

Test(health_state, checks_are_fast_while_the_last_result_is_not_what_it_is_taken_for)
{
	struct health_check check = check_of(2, 3);
	struct health_state state;

	health_state_init(&state);
	check.jitter_percent = 0;
	cr_expect_eq(health_state_interval_ns(&state, &check, 0), 2000 * ms);
	(void)health_state_take(&state, &check, true, 1);
	cr_expect_eq(health_state_interval_ns(&state, &check, ~0u), 2000 * ms);
	(void)health_state_take(&state, &check, false, 2);
	cr_expect_eq(health_state_interval_ns(&state, &check, 0), 1000 * ms, "half, by default");
	check.fast_interval_ms = 100;
	cr_expect_eq(health_state_interval_ns(&state, &check, 0), 100 * ms);
	check.jitter_percent = 50;
	cr_expect_eq(health_state_interval_ns(&state, &check, 0), 100 * ms);
	cr_expect_eq(health_state_interval_ns(&state, &check, 1u << 31), 75 * ms);
	cr_expect_gt(health_state_interval_ns(&state, &check, ~0u), 50 * ms);
}

Test(health_state, the_weight_rises_after_coming_up)
{
	struct health_check check = check_of(1, 1);
	struct health_state state;

	health_state_init(&state);
	check.slow_start_ms = 10000;
	cr_expect_eq(health_state_share(&state, &check, 1000 * ms), 100, "it never was down");
	(void)health_state_take(&state, &check, false, 1000 * ms);
	(void)health_state_take(&state, &check, true, 2000 * ms);
	cr_expect_eq(health_state_share(&state, &check, 2000 * ms), 1);
	cr_expect_eq(health_state_share(&state, &check, 7000 * ms), 50);
	cr_expect_eq(health_state_share(&state, &check, 12000 * ms), 100);
	check.slow_start_ms = 0;
	cr_expect_eq(health_state_share(&state, &check, 2000 * ms), 100);
}

Test(health_state, who_is_tried_is_held_down_first_and_one_bad_result_is_enough)
{
	struct health_check check = check_of(2, 3);
	struct health_state state;
	uint64_t now = 1000 * ms;

	check.hold_down_ms = 100;
	health_state_recall(&state, true, now);
	cr_expect_eq(health_state_try(&state, &check, now), HEALTH_STAYED, "it is up");
	for (int i = 0; i < 3; i++)
		(void)health_state_take(&state, &check, false, now);
	cr_assert_not(state.is_up);
	cr_expect_eq(health_state_try(&state, &check, now + 99 * ms), HEALTH_STAYED);
	now += 100 * ms;
	cr_expect_eq(health_state_try(&state, &check, now), HEALTH_CAME_UP);
	cr_expect_eq(health_state_take(&state, &check, false, now + ms), HEALTH_WENT_DOWN);
	cr_expect_eq(state.held_until_ns, now + ms + 200 * ms, "twice as long");
	now += 201 * ms;
	cr_expect_eq(health_state_try(&state, &check, now), HEALTH_CAME_UP);
	cr_expect_eq(health_state_take(&state, &check, true, now), HEALTH_STAYED);
	cr_expect_eq(health_state_take(&state, &check, false, now), HEALTH_STAYED);
	cr_expect_eq(health_state_take(&state, &check, false, now), HEALTH_STAYED);
	cr_expect_eq(health_state_take(&state, &check, false, now), HEALTH_WENT_DOWN,
		     "a good result ends the trial");
}

/* Whatever comes, who is down is tried again: in a day of bad results more than a thousand times. */
Test(health_state, nobody_stays_out_for_ever)
{
	struct health_check check = check_of(1, 3);
	struct health_state state;
	unsigned n_tried = 0;

	check.hold_down_ms = 1000;
	health_state_recall(&state, true, 0);
	for (uint64_t at = 1; at <= 86400; at++)
		if (state.is_up)
			(void)health_state_take(&state, &check, false, at * 1000 * ms);
		else
			n_tried +=
				health_state_try(&state, &check, at * 1000 * ms) == HEALTH_CAME_UP;
	cr_expect_gt(n_tried, 1000);
}
