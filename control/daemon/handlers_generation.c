/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* generation.list, generation.diff, config.rollback. */
#include "control/daemon/handlers.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "control/daemon/daemon.h"
#include "control/daemon/desired.h"
#include "control/daemon/diff.h"
#include "control/daemon/generation.h"
#include "control/daemon/state.h"

/* The kept generations; without a folder to keep them in there are none. */
static int list_kept(const struct call *call, struct generation **list, size_t *n)
{
	const char *dir = call->daemon->state_dir;
	int status;

	*list = NULL;
	*n = 0;
	status = dir ? generation_list(dir, list, n) : 0;
	if (status)
		return rpc_error_set(call->error, RPC_STORAGE, NULL, "%s/generations: %s", dir,
				     strerror(-status));
	return RPC_OK;
}

static json_t *time_to_json(int64_t since_epoch_sec)
{
	char text[32] = "";
	time_t seconds = (time_t)since_epoch_sec;
	struct tm parts;

	if (gmtime_r(&seconds, &parts))
		(void)strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &parts);
	return json_string(text);
}

static json_t *describe(const struct generation *kept, uint64_t current)
{
	if (kept->damage[0])
		return json_pack("{s:I, s:s}", "number", (json_int_t)kept->number, "damage",
				 kept->damage);
	return json_pack("{s:I, s:b, s:o, s:s, s:I, s:I, s:I}", "number", (json_int_t)kept->number,
			 "current", kept->number == current, "made", time_to_json(kept->made_sec),
			 "origin", kept->origin, "services", (json_int_t)kept->n_services,
			 "backends", (json_int_t)kept->n_backends, "bytes",
			 (json_int_t)kept->n_bytes);
}

/* The newest of @list that can be gone back to, by its number, and how many changes were made since. */
static void add_since(const struct call *call, const struct generation *list, size_t n,
		      json_t *current)
{
	struct daemon *daemon = call->daemon;
	const struct desired *was = NULL;
	size_t n_changes, i;

	for (i = 0; i < n; i++) {
		if (!list[i].damage[0])
			was = former_look(&daemon->former, daemon->state_dir, list[i].number);
		if (was)
			break;
	}
	if (!was)
		return;
	json_decref(diff_changes(was, daemon->desired, &n_changes));
	json_object_set_new(current, "since", json_integer((json_int_t)list[i].number));
	json_object_set_new(current, "n_changes", json_integer((json_int_t)n_changes));
}

/* The state where it is none of @list; it has no member "number", for nobody can go back to it. */
static json_t *describe_current(const struct call *call, const struct generation *list, size_t n)
{
	const struct daemon *daemon = call->daemon;
	json_t *current;

	if (n > 0 && !list[0].damage[0] && list[0].number == daemon->generation)
		return NULL;
	current = json_pack("{s:I, s:I}", "services", (json_int_t)daemon->desired->n_services,
			    "backends", (json_int_t)daemon->desired->n_backends);
	if (daemon->state_dir)
		json_object_set_new(current, "made",
				    time_to_json(state_written_sec(daemon->state_dir)));
	add_since(call, list, n, current);
	return current;
}

int handle_generation_list(struct call *call)
{
	uint64_t current = call->daemon->generation;
	struct generation *list;
	json_t *kept;
	size_t n;
	int code = list_kept(call, &list, &n);

	if (code)
		return code;
	kept = json_array();
	for (size_t i = 0; i < n; i++)
		json_array_append_new(kept, describe(&list[i], current));
	call->result = json_pack("{s:I, s:o*, s:o, s:i}", "generation", (json_int_t)current,
				 "current", describe_current(call, list, n), "generations", kept,
				 "limit", GENERATION_MAX_KEPT);
	free(list);
	return RPC_OK;
}

/* "3, 5, 9": those that can be gone back to. */
static void numbers_text(const struct generation *list, size_t n, char *text, size_t size)
{
	size_t used = (size_t)snprintf(text, size, "none");
	bool is_first = true;

	for (size_t i = n; i-- > 0 && used < size;) {
		if (list[i].damage[0])
			continue;
		used = (is_first ? 0 : used) +
		       (size_t)snprintf(text + (is_first ? 0 : used), size - (is_first ? 0 : used),
					"%s%" PRIu64, is_first ? "" : ", ", list[i].number);
		is_first = false;
	}
}

/* Why the state cannot go back to @number, and where it can. */
static int refuse(const struct call *call, uint64_t number, int status, const char *reason)
{
	struct generation *list;
	char kept[512], value[32];
	size_t n;
	int code = list_kept(call, &list, &n);

	if (code)
		return code;
	numbers_text(list, n, kept, sizeof(kept));
	free(list);
	code = status == -ENOENT ? RPC_NOT_FOUND : RPC_STORAGE;
	(void)snprintf(value, sizeof(value), "%" PRIu64, number);
	rpc_error_set(call->error, code, "generation", "%s; kept are: %s", reason, kept);
	rpc_error_data(call->error, value, kept);
	return code;
}

/* The generation that the call names; its desired is the caller's to free. */
static int load_named(const struct call *call, struct state *state)
{
	uint64_t number = (uint64_t)call_integer(call, "generation", 0);
	const char *dir = call->daemon->state_dir;
	char reason[STATE_MAX_ERROR] = "no generation is kept: there is no state_dir";
	int status = dir ? generation_load(dir, number, state, reason) : -ENOENT;

	return status ? refuse(call, number, status, reason) : RPC_OK;
}

int handle_generation_diff(struct call *call)
{
	struct state state;
	json_t *changes;
	size_t n_changes;
	int code = load_named(call, &state);

	if (code)
		return code;
	changes = diff_changes(state.desired, call->daemon->desired, &n_changes);
	call->result = json_pack("{s:I, s:I, s:o, s:I}", "generation",
				 (json_int_t)call->daemon->generation, "since",
				 (json_int_t)state.generation, "changes", changes, "n_changes",
				 (json_int_t)n_changes);
	desired_free(state.desired);
	return RPC_OK;
}

int handle_config_rollback(struct call *call)
{
	struct change change = {.origin = "rollback", .has_hash_key = true};
	struct state state;
	int code = load_named(call, &state);

	if (code)
		return code;
	change.next = state.desired;
	change.hash_key = state.hash_key;
	return call_commit_change(call, &change);
}
