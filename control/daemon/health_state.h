/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * What a backend is taken for, from one result of a check to the next. Pure: the clock is an argument.
 * The counting of rise and fall is that of HAProxy; the hold-down that doubles while a backend flaps is
 * route flap damping (RFC 2439) without its fractions.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct health_check;

struct health_state {
	bool is_up;
	bool is_proven;    /* a check, or the dataplane, said so; else one bad result is enough */
	bool is_suspected; /* hints speak against it: no more than a reason to look more often */
	uint8_t streak; /* results in a row that speak against is_up, at most rise or fall of them */
	uint8_t n_doublings;    /* of the hold-down */
	uint64_t changed_ns;    /* when is_up last changed; 0: never */
	uint64_t held_until_ns; /* not up before */
};

enum health_change {
	HEALTH_STAYED = 0,
	HEALTH_CAME_UP,
	HEALTH_WENT_DOWN,
};

/** Up, and nobody knows: what a backend begins as. */
void health_state_init(struct health_state *state);

/** What somebody else knew: it needs as many results against it as any other. */
void health_state_recall(struct health_state *state, bool is_up, uint64_t now_ns);

/** Takes one result in. */
enum health_change health_state_take(struct health_state *state, const struct health_check *check,
				     bool is_good, uint64_t now_ns);

/**
 * Lets one that is down back on trial, for nobody asks whether it is well, unless it is held down: one bad result is
 * enough against it until a good one.
 */
enum health_change health_state_try(struct health_state *state, const struct health_check *check,
				    uint64_t now_ns);

/**
 * From the start of a check to that of the next, nanoseconds. @random: 32 bits of it, for the jitter, which
 * only shortens.
 */
uint64_t health_state_interval_ns(const struct health_state *state,
				  const struct health_check *check, uint32_t random);

/** How much of its weight the backend has already, 1..100 percent: it may have come up a moment ago. */
uint32_t health_state_share(const struct health_state *state, const struct health_check *check,
			    uint64_t now_ns);
