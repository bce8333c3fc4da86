/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * Whether what became of clients' SYNs is reason to check a backend at once. Pure: the counters and the clock
 * are arguments. A hint is no verdict: whoever can send packets can make some (docs/decisions/0028, 0036).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <sluice/wire.h>

struct health_check;

/** What was counted of a backend's openings by a moment. All 0: nobody has looked yet. */
struct hint_look {
	uint64_t at_ns; /* CLOCK_MONOTONIC */
	uint64_t syns, syn_acks, refused, unanswered, resets;
	uint64_t n_begun,
		n_answered; /* SYNs, and answers of both kinds, of the window that ends here */
	uint64_t n_silent;  /* that were taken for failed and have not ended yet, at most */
};

/** What became of a backend's openings from one look to the next. */
struct hint_window {
	uint64_t length_ns;
	uint64_t n_openings; /* that were decided, or have waited for a window */
	uint64_t n_failed;   /* of these */
	uint64_t n_silent;   /* of the failed, those without any answer */
};

/**
 * Takes in what is counted at @now_ns, and makes of @look, the look before, this one. Where there was none, or
 * counters began anew, the window is empty. @passive: enum health_check_passive, what is a failure.
 */
struct hint_window hint_take(struct hint_look *look,
			     const struct wire_backend_openings_record *counted, uint8_t passive,
			     uint64_t now_ns);

/** Whether @window has openings enough to say anything. */
bool hint_is_judged(const struct hint_window *window, const struct health_check *check);

/** Whether too large a share of @window failed: a hint, if the others' are better. */
bool hint_is_bad(const struct hint_window *window, const struct health_check *check);

/**
 * Takes silence out of the windows against which it does not count: of those of whose service's other backends that
 * have openings enough fewer than passive_quorum_percent are well, or none is. For where nobody but clients is asked.
 */
void hint_discount(struct hint_window *window, uint32_t n, const struct health_check *check);

/**
 * Of @n windows of a service's backends at one time: @is_hint[i], whether backend i's is a hint. It has openings
 * enough and too large a share of them failed; and if others have openings enough, twice the share of the best
 * of them, for what ails all alike is a client's, or no backend's alone.
 */
void hint_judge(const struct hint_window *window, uint32_t n, const struct health_check *check,
		bool *is_hint);
