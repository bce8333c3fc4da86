/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * What the parts of the control daemon share: the accepted state and the handles of its parts. One
 * thread, the event loop's, owns all of it.
 */
#pragma once

#include <stdint.h>

#include <sluice/base.h>

#include "control/daemon/former.h"
#include "control/daemon/journal.h"

struct api;
struct desired;
struct event_base;
struct events;
struct health;
struct metrics_server;
struct reconcile;
struct saturation;

struct daemon {
	struct event_base *base; /* NULL where no event loop runs (tests, fuzzing) */
	const char *run_dir;
	const char *state_dir; /* NULL: changes are kept in memory alone */
	struct journal journal;
	const char *config_file;
	const char *version;
	uint64_t started_ns;
	uint64_t generation;
	uint64_t file_digest; /* of config_file as last read; 0: never */
	struct sl_hash_key hash_key;
	struct desired *desired; /* never NULL; replaced whole */
	struct desired
		*live; /* the same with health, roles and canaries laid over; NULL: no different */
	struct former former;        /* what changes by hand are counted from */
	struct health *health;       /* NULL: nobody checks */
	bool may_exec;               /* whether checks may be programs */
	struct events *events;       /* NULL: nobody wants to know */
	struct reconcile *reconcile; /* NULL: there is no dataplane to talk to */
	struct api *api;
	struct metrics_server *metrics; /* NULL: none */
	struct saturation *saturation;  /* NULL: nobody looks */
};

/** What the dataplane shall hold. */
SL_INLINE const struct desired *daemon_live(const struct daemon *daemon)
{
	return daemon->live ? daemon->live : daemon->desired;
}

/** CLOCK_MONOTONIC. */
uint64_t daemon_now_ns(void);
