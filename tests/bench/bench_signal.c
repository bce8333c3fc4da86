/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* Signals that are asked for: see bench_signal.h. */
#include "tests/bench/bench_signal.h"

#include <time.h>

static sigset_t former_mask;
static bool is_held;
static bool has_come;

static sigset_t both(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	return set;
}

void signal_hold(void)
{
	sigset_t set = both();

	if (!is_held)
		sigprocmask(SIG_BLOCK, &set, &former_mask);
	is_held = true;
}

const sigset_t *signal_former_mask(void)
{
	if (!is_held)
		sigprocmask(SIG_BLOCK, NULL, &former_mask);
	return &former_mask;
}

bool signal_has_come(void)
{
	const struct timespec at_once = {0};
	sigset_t set = both();

	if (!has_come && is_held)
		has_come = sigtimedwait(&set, NULL, &at_once) > 0;
	return has_come;
}
