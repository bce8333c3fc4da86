/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* See health_state.h. */
#include "control/daemon/health_state.h"

#include "config/health_check.h"

enum {
	STEADY_HOLDS = 10, /* up for so many hold-downs: what was before is forgotten */
};

static const uint64_t ms = 1000000;

void health_state_init(struct health_state *state)
{
	*state = (struct health_state){.is_up = true};
}

void health_state_recall(struct health_state *state, bool is_up, uint64_t now_ns)
{
	*state = (struct health_state){.is_up = is_up, .is_proven = true};
	if (!is_up)
		state->changed_ns = now_ns;
}

static uint64_t hold_ns(const struct health_state *state, const struct health_check *check)
{
	return (check->hold_down_ms * ms) << state->n_doublings;
}

static void go_down(struct health_state *state, const struct health_check *check, uint64_t now_ns)
{
	bool is_flapping = state->held_until_ns != 0 && state->changed_ns != 0 &&
			   now_ns - state->changed_ns < STEADY_HOLDS * hold_ns(state, check);

	if (!is_flapping)
		state->n_doublings = 0;
	else if (state->n_doublings < HEALTH_CHECK_MAX_HOLD_SHIFT)
		state->n_doublings++;
	state->is_up = false;
	state->streak = 0;
	state->changed_ns = now_ns;
	state->held_until_ns = now_ns + hold_ns(state, check);
}

static void go_up(struct health_state *state, uint64_t now_ns)
{
	state->is_up = true;
	state->streak = 0;
	state->changed_ns = now_ns;
}

enum health_change health_state_take(struct health_state *state, const struct health_check *check,
				     bool is_good, uint64_t now_ns)
{
	uint32_t needed = state->is_up ? check->fall : check->rise;
	bool was_proven = state->is_proven;

	state->is_proven = true;
	if (is_good == state->is_up) {
		state->streak = 0;
		return HEALTH_STAYED;
	}
	if (state->streak < needed)
		state->streak++;
	if (state->is_up && (state->streak >= needed || !was_proven)) {
		go_down(state, check, now_ns);
		return HEALTH_WENT_DOWN;
	}
	if (state->is_up || state->streak < needed || now_ns < state->held_until_ns)
		return HEALTH_STAYED;
	go_up(state, now_ns);
	return HEALTH_CAME_UP;
}

enum health_change health_state_try(struct health_state *state, const struct health_check *check,
				    uint64_t now_ns)
{
	if (state->is_up || now_ns < state->held_until_ns)
		return HEALTH_STAYED;
	go_up(state, now_ns);
	state->streak = (uint8_t)(check->fall - 1);
	return HEALTH_CAME_UP;
}

uint64_t health_state_interval_ns(const struct health_state *state,
				  const struct health_check *check, uint32_t random)
{
	uint32_t interval = state->streak > 0 || state->is_suspected
				    ? health_check_fast_interval_ms(check)
				    : check->interval_ms;
	uint64_t spread = interval * ms * check->jitter_percent / 100;

	return interval * ms - (spread * random >> 32);
}

uint32_t health_state_share(const struct health_state *state, const struct health_check *check,
			    uint64_t now_ns)
{
	uint64_t whole = check->slow_start_ms * ms;
	uint64_t passed = now_ns - state->changed_ns;

	if (whole == 0 || !state->is_up || state->changed_ns == 0 || passed >= whole)
		return 100;
	return passed * 100 < whole ? 1 : (uint32_t)(passed * 100 / whole);
}
