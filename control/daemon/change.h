/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * How a change becomes the state, the only way there is: judged, committed by the dataplane (if it
 * is connected), written to disk, taken over, acknowledged. All or nothing.
 */
#pragma once

#include <jansson.h>
#include <stdint.h>

#include <sluice/base.h>

#include "control/rpc.h"

struct daemon;
struct desired;
struct plan;

struct change {
	struct desired *next; /* taken over by change_commit, always */
	bool is_judged;       /* next was, whole, by desired_check() */
	bool is_dry_run;
	bool has_hash_key;
	struct sl_hash_key hash_key;
	uint64_t file_digest; /* 0: stays */
	const char
		*origin; /* of a whole configuration, which is kept: see generation.h; else NULL */
};

/**
 * Judges and makes the change. @result: NULL, or the answer {generation, applied, dry_run, changes,
 * n_changes, kept?}. 0 or the error's code with @error filled; then nothing has changed.
 */
int change_commit(struct daemon *daemon, struct change *change, json_t **result,
		  struct rpc_error *error) SL_MUST_USE;

/**
 * What the change would do to what the dataplane, which must be connected, has; nothing is changed. @plan:
 * all 0; the caller's to plan_fini(), whatever comes. 0 or the error's code with @error filled.
 */
int change_plan(struct daemon *daemon, struct change *change, struct plan *plan, json_t **changes,
		size_t *n_changes, struct rpc_error *error) SL_MUST_USE;

/** The dataplane holds our state under a higher number: takes that number over. */
void change_adopt_generation(struct daemon *daemon, uint64_t generation);

/**
 * Makes the dataplane hold what the checks of backends have found by now. Nothing is written to disk, and the
 * state's generation stays; what the dataplane cannot be told now it is told when it is in step again. False:
 * out of memory.
 */
bool change_follow_health(struct daemon *daemon) SL_MUST_USE;

/**
 * Makes what the dataplane shall hold anew from the state and what is known of the backends' health, and tells
 * nobody. False: out of memory; then it stays.
 */
bool change_make_live(struct daemon *daemon) SL_MUST_USE;

/** Takes over what the dataplane, which is connected, holds of the health of backends not checked yet. */
void change_recall_health(struct daemon *daemon);

/** Writes the daemon's state as it is. 0 or RPC_STORAGE. */
int change_save(struct daemon *daemon, struct rpc_error *error) SL_MUST_USE;
