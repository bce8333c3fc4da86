/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * Checks the backends of all services that say how, and makes of the desired state what the dataplane shall
 * hold: the same, with the health of each backend that is down and the weight of each that came up a moment
 * ago. It follows the desired state and never changes it. In the thread of the event loop.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <sluice/base.h>

#include "control/daemon/hint.h"

struct client;
struct daemon;
struct desired;
struct desired_backend;
struct desired_service;
struct health;

enum health_word {
	HEALTH_UNCHECKED = 0, /* nobody checks it */
	HEALTH_UNKNOWN, /* it will be, or its checks fail without a dataplane; until then it is used */
	HEALTH_UP,
	HEALTH_DOWN,
};

/** The last hint that a backend had, of hints in a row the first, and when the check began that it brought about; CLOCK_MONOTONIC, 0: never. */
struct health_hint {
	struct hint_window window;
	uint64_t at_ns, probed_ns;
};

/** What is known of a backend. */
struct health_view {
	enum health_word word;
	bool is_panic;     /* it is used though it is down: too few of the service's are up */
	uint32_t share;    /* of its weight that it has, percent */
	uint64_t since_ns; /* CLOCK_MONOTONIC when it became so; 0: it always was */
	uint64_t
		held_until_ns; /* likewise: down until then, whatever its checks say; 0: not held */
	uint64_t took_ns;      /* the last check, from start to result */
	uint64_t n_checks, n_failed;
	const char *
		reason; /* why the last check was bad; "": it was good. Borrowed until the loop turns. */
	struct health_hint hint;
	uint64_t n_hints;
};

struct health_totals {
	uint32_t n_backends, n_up, n_down, n_unknown; /* of those that are checked */
	uint32_t n_blind; /* of n_unknown, those whose checks fail without a dataplane */
	uint32_t n_running;
	uint32_t n_panics; /* services */
	uint64_t n_checks, n_failed;
	uint64_t n_delayed; /* checks begun later than they should have been: there are too many */
	uint64_t
		n_hints; /* what clients' flows said: windows of a backend in which too many openings failed */
};

/** @may_exec: whether checks of type exec run programs. NULL: out of memory. */
struct health *health_new(struct daemon *daemon, bool may_exec);
void health_free(struct health *health);

/**
 * That a dataplane is there from now on, or none, as at the beginning. While there is none checks may not get through
 * to the backends, and nobody would be told: one that was begun then and fails says nothing.
 */
void health_hear_dataplane(struct health *health, bool is_there);

/** From now on the backends of @desired are checked. What is known of those that stay is kept. */
void health_follow(struct health *health, const struct desired *desired);

/**
 * What the dataplane shall hold for @desired, which need not be what is followed yet: with the backends' health,
 * and with weights by role and canary. @health: NULL for nobody's health. The caller's; NULL: out of memory.
 */
struct desired *health_apply(struct health *health, const struct desired *desired) SL_MUST_USE;

/** Asks the dataplane, which outlived the one that knew, what it holds backends for that nobody has checked. */
void health_recall(struct health *health, struct client *client);

/** @backend: one of @service. */
void health_look(const struct health *health, const struct desired_service *service,
		 const struct desired_backend *backend, struct health_view *view);

void health_count(const struct health *health, struct health_totals *totals);

/** The same of one service's backends; what is not counted by service is 0. */
void health_count_service(const struct health *health, const char *name,
			  struct health_totals *totals);

/** "unchecked", "unknown", "up", "down". */
const char *health_word_name(enum health_word word);
