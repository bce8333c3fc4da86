/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* See change.h. */
#include "control/daemon/change.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "control/daemon/daemon.h"
#include "control/daemon/desired.h"
#include "control/daemon/diff.h"
#include "control/daemon/events.h"
#include "control/daemon/generation.h"
#include "control/daemon/health.h"
#include "control/daemon/reconcile.h"
#include "control/daemon/state.h"
#include "control/daemon/state_document.h"
#include "log/log.h"

/* A change on its way: what it is, and what it was measured to be. */
struct step {
	struct daemon *daemon;
	const struct change *change;
	struct sl_hash_key hash_key;
	uint64_t generation;
	struct desired *live; /* what the dataplane shall hold */
	bool is_applied;
	bool is_change; /* of anything that the disk or the dataplane holds */
	bool is_kept;   /* can be gone back to */
};

/* Whole, where it is not done by a record in the journal. */
static int write_change(struct daemon *daemon, const struct state *state, bool *is_new, char *error)
{
	struct journal *journal = &daemon->journal;
	int status =
		journal_append(daemon->state_dir, journal, daemon->desired, state, is_new, error);

	if (status == -E2BIG || status == -ESTALE)
		return state_save(daemon->state_dir, state, journal, is_new, error);
	if (!status && journal->length > journal->budget) {
		struct journal before = *journal;
		bool ignored;

		/* The change is on disk already: the journal may as well go on. */
		if (state_save(daemon->state_dir, state, journal, &ignored, error)) {
			log_err("%s", error);
			*journal = before;
		}
	}
	return status;
}

static int save(struct daemon *daemon, const struct state *state, struct rpc_error *error)
{
	char text[STATE_MAX_ERROR];
	bool is_new;

	if (!daemon->state_dir || write_change(daemon, state, &is_new, text) == 0)
		return RPC_OK;
	log_err("%s", text);
	rpc_error_set(error, RPC_STORAGE, NULL, "%s", text);
	if (is_new && state->desired != daemon->desired) {
		struct state old = {
			.generation = daemon->generation,
			.hash_key = daemon->hash_key,
			.file_digest = daemon->file_digest,
			.desired = daemon->desired,
		};

		if (state_save(daemon->state_dir, &old, &daemon->journal, &is_new, text))
			log_err("%s: putting the old state back: %s", daemon->state_dir, text);
	}
	return RPC_STORAGE;
}

/* The dataplane committed what the disk refused: it goes back to the old state, as a new number. */
static void put_back(struct step *step)
{
	struct daemon *daemon = step->daemon;
	struct desired *live = daemon->live;
	struct reconcile_change change = {
		.desired = daemon_live(daemon),
		.hash_key = daemon->hash_key,
		.generation = step->generation + 1,
	};
	struct sl_hash_key old_key = daemon->hash_key;
	struct rpc_error error;
	bool is_applied;

	/* reconcile_commit computes the difference from what the daemon says it holds. */
	daemon->live = step->live;
	daemon->hash_key = step->hash_key;
	if (reconcile_commit(daemon->reconcile, &change, &is_applied, &error)) {
		log_err("putting the old state back: %s", error.message);
		reconcile_mark_stale(daemon->reconcile);
	}
	daemon->live = live;
	daemon->hash_key = old_key;
	daemon->generation = change.generation;
}

/* Keeps what a whole configuration is about to replace, unless that was one and is kept already. */
static void keep_former(const struct step *step)
{
	const struct daemon *daemon = step->daemon;
	const struct state state = {
		.generation = daemon->generation,
		.hash_key = daemon->hash_key,
		.file_digest = daemon->file_digest,
		.desired = daemon->desired,
	};
	char text[STATE_MAX_ERROR];

	if (!step->change->origin || !daemon->state_dir || daemon->generation == 0 ||
	    generation_is_kept(daemon->state_dir, &state))
		return;
	if (generation_keep(daemon->state_dir, &state, "changes", text))
		log_err("%s: generation %" PRIu64 " cannot be gone back to", text,
			daemon->generation);
}

/* What was acknowledged stays so, whether it can be kept or not. */
static void keep(struct step *step, const struct state *state)
{
	struct daemon *daemon = step->daemon;
	char text[STATE_MAX_ERROR];

	if (!step->change->origin || !daemon->state_dir)
		return;
	step->is_kept = generation_keep(daemon->state_dir, state, step->change->origin, text) == 0;
	if (step->is_kept)
		former_remember(&daemon->former, state->generation, state->desired);
	else
		log_err("%s: generation %" PRIu64 " cannot be gone back to", text,
			state->generation);
}

static int make_change(struct step *step, struct rpc_error *error)
{
	struct daemon *daemon = step->daemon;
	const struct change *change = step->change;
	struct reconcile_change wanted = {
		.desired = step->live,
		.hash_key = step->hash_key,
		.generation = step->generation,
		.is_dry_run = change->is_dry_run,
	};
	struct state state = {
		.generation = step->generation,
		.hash_key = step->hash_key,
		.file_digest = change->file_digest ? change->file_digest : daemon->file_digest,
		.desired = change->next,
	};
	char *text = NULL;
	int code = RPC_OK;

	if (!step->live)
		return rpc_error_set(error, RPC_INTERNAL, NULL, "out of memory");
	if (!change->is_dry_run)
		keep_former(step);
	if (daemon->reconcile)
		code = reconcile_commit(daemon->reconcile, &wanted, &step->is_applied, error);
	if (code || change->is_dry_run)
		return code;
	/* If it is to be kept, once for the state and what is kept of it. */
	if (change->origin && daemon->state_dir)
		state.text = text = state_document_write(&state);
	code = save(daemon, &state, error);
	if (!code)
		keep(step, &state);
	free(text);
	if (code) {
		if (step->is_applied)
			put_back(step);
		return code;
	}
	daemon->generation = state.generation;
	daemon->hash_key = state.hash_key;
	daemon->file_digest = state.file_digest;
	desired_free(daemon->live);
	daemon->live = step->live;
	step->live = NULL;
	return RPC_OK;
}

static json_t *answer(const struct step *step, json_t *changes, size_t n_changes)
{
	const struct daemon *daemon = step->daemon;
	bool is_applied = step->change->is_dry_run ? false
			  : step->is_change        ? step->is_applied
						   : reconcile_is_synced(daemon->reconcile);

	json_t *result =
		json_pack("{s:I, s:b, s:b, s:O, s:I}", "generation", (json_int_t)daemon->generation,
			  "applied", is_applied, "dry_run", step->change->is_dry_run, "changes",
			  changes, "n_changes", (json_int_t)n_changes);

	if (step->change->origin && step->is_change && !step->change->is_dry_run)
		json_object_set_new(result, "kept", json_boolean(step->is_kept));
	return result;
}

static bool is_same_file(const struct daemon *daemon, const struct change *change)
{
	return change->file_digest == 0 || change->file_digest == daemon->file_digest;
}

static void measure(struct step *step, size_t n_changes)
{
	const struct daemon *daemon = step->daemon;
	const struct change *change = step->change;

	step->hash_key = change->has_hash_key ? change->hash_key : daemon->hash_key;
	step->is_change = n_changes > 0 || step->hash_key.word[0] != daemon->hash_key.word[0] ||
			  step->hash_key.word[1] != daemon->hash_key.word[1] ||
			  !is_same_file(daemon, change);
	step->generation = daemon->reconcile ? reconcile_next_generation(daemon->reconcile)
					     : daemon->generation + 1;
}

/* Programs are run with the daemon's rights, so whoever may use the API must not choose them. */
static int refuse_programs(const struct daemon *daemon, const struct desired *next,
			   struct rpc_error *error)
{
	for (size_t i = 0; !daemon->may_exec && i < next->n_services; i++) {
		const struct desired_service *service = next->service[i];

		if (service->check.type != HEALTH_CHECK_EXEC ||
		    service == desired_find(daemon->desired, service->wire.name))
			continue;
		rpc_error_set(error, RPC_PARAMS, "check.type",
			      "service %s: check.type exec: sluiced runs no programs, for it was "
			      "not started with health.exec true in %s",
			      service->wire.name, daemon->config_file);
		return RPC_PARAMS;
	}
	return RPC_OK;
}

/* What was done: the change as one, and each backend whose state is another now. */
static void tell(const struct step *step, const json_t *changes, size_t n_changes)
{
	struct events *events = step->daemon->events;
	const json_t *change;
	size_t i;

	events_add(events, EVENT_CONFIGURATION,
		   json_pack("{s:I, s:I, s:b}", "generation", (json_int_t)step->daemon->generation,
			     "n_changes", (json_int_t)n_changes, "applied", step->is_applied));
	json_array_foreach(changes, i, change)
	{
		json_t *state = json_object_get(json_object_get(change, "fields"), "state");
		json_t *was = json_object_get(state, "old");

		if (was)
			events_add(events, EVENT_BACKEND_STATE,
				   json_pack("{s:O, s:O, s:O, s:O}", "service",
					     json_object_get(change, "service"), "backend",
					     json_object_get(change, "backend"), "was", was, "is",
					     json_object_get(state, "new")));
	}
}

static int judge(const struct daemon *daemon, const struct change *change, struct rpc_error *error)
{
	int code = change->is_judged ? RPC_OK : desired_check(change->next, daemon->desired, error);

	return code ? code : refuse_programs(daemon, change->next, error);
}

int change_commit(struct daemon *daemon, struct change *change, json_t **result,
		  struct rpc_error *error)
{
	struct step step = {.daemon = daemon, .change = change};
	json_t *changes = NULL;
	size_t n_changes = 0;
	int code = judge(daemon, change, error);

	if (code)
		goto out;
	changes = diff_changes(daemon->desired, change->next, &n_changes);
	measure(&step, n_changes);
	if (step.is_change) {
		step.live = health_apply(daemon->health, change->next);
		code = make_change(&step, error);
		desired_free(step.live);
	}
	if (code)
		goto out;
	if (!change->is_dry_run) {
		struct desired *old = daemon->desired;

		daemon->desired = change->next;
		change->next = old;
		health_follow(daemon->health, daemon->desired);
		if (step.is_change)
			tell(&step, changes, n_changes);
	}
	if (result)
		*result = answer(&step, changes, n_changes);
out:
	desired_free(change->next);
	change->next = NULL;
	json_decref(changes);
	return code;
}

int change_plan(struct daemon *daemon, struct change *change, struct plan *plan, json_t **changes,
		size_t *n_changes, struct rpc_error *error)
{
	struct step step = {.daemon = daemon, .change = change};
	int code = judge(daemon, change, error);

	if (code)
		return code;
	*changes = diff_changes(daemon->desired, change->next, n_changes);
	measure(&step, *n_changes);
	step.live = health_apply(daemon->health, change->next);
	if (!step.live)
		code = rpc_error_set(error, RPC_INTERNAL, NULL, "out of memory");
	if (!code && daemon->reconcile) {
		const struct reconcile_change wanted = {
			.desired = step.live,
			.hash_key = step.hash_key,
			.generation = step.generation,
			.is_dry_run = true,
			.plan = plan,
		};

		code = reconcile_commit(daemon->reconcile, &wanted, &step.is_applied, error);
	}
	if (!code && !step.is_applied)
		code = rpc_error_set(error, RPC_NOT_CONNECTED, NULL,
				     "the dataplane is not connected: %s",
				     reconcile_reason(daemon->reconcile));
	desired_free(step.live);
	return code;
}

int change_save(struct daemon *daemon, struct rpc_error *error)
{
	struct state state = {
		.generation = daemon->generation,
		.hash_key = daemon->hash_key,
		.file_digest = daemon->file_digest,
		.desired = daemon->desired,
	};

	return save(daemon, &state, error);
}

void change_adopt_generation(struct daemon *daemon, uint64_t generation)
{
	struct rpc_error error;

	if (generation <= daemon->generation)
		return;
	daemon->generation = generation;
	(void)!change_save(daemon, &error); /* logged; the next change writes it again */
}

bool change_follow_health(struct daemon *daemon)
{
	struct desired *live = health_apply(daemon->health, daemon->desired);
	struct reconcile_change change = {
		.desired = live,
		.hash_key = daemon->hash_key,
	};
	struct rpc_error error;
	bool is_applied;

	if (!live) {
		log_err("health: out of memory");
		return false;
	}
	if (daemon->reconcile)
		change.generation = reconcile_next_generation(daemon->reconcile);
	if (daemon->reconcile &&
	    desired_digest(live, &daemon->hash_key) !=
		    desired_digest(daemon_live(daemon), &daemon->hash_key) &&
	    reconcile_commit(daemon->reconcile, &change, &is_applied, &error)) {
		log_err("health: %s", error.message);
		reconcile_mark_stale(daemon->reconcile);
	}
	desired_free(daemon->live);
	daemon->live = live;
	return true;
}

bool change_make_live(struct daemon *daemon)
{
	struct desired *live = health_apply(daemon->health, daemon->desired);

	if (!live)
		return false;
	desired_free(daemon->live);
	daemon->live = live;
	return true;
}

void change_recall_health(struct daemon *daemon)
{
	health_recall(daemon->health, reconcile_client(daemon->reconcile));
	(void)!change_make_live(daemon);
}
