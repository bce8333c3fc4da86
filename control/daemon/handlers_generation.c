/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* generation.list, config.rollback. */
#include "control/daemon/handlers.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "control/daemon/daemon.h"
#include "control/daemon/desired.h"
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

static json_t *describe(const struct generation *kept, uint64_t current)
{
	char made[32] = "";
	time_t seconds = (time_t)kept->made_sec;
	struct tm parts;

	if (kept->damage[0])
		return json_pack("{s:I, s:s}", "number", (json_int_t)kept->number, "damage",
				 kept->damage);
	if (gmtime_r(&seconds, &parts))
		(void)strftime(made, sizeof(made), "%Y-%m-%dT%H:%M:%SZ", &parts);
	return json_pack("{s:I, s:b, s:s, s:s, s:I, s:I, s:I}", "number", (json_int_t)kept->number,
			 "current", kept->number == current, "made", made, "origin", kept->origin,
			 "services", (json_int_t)kept->n_services, "backends",
			 (json_int_t)kept->n_backends, "bytes", (json_int_t)kept->n_bytes);
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
	free(list);
	call->result = json_pack("{s:I, s:o, s:i}", "generation", (json_int_t)current,
				 "generations", kept, "limit", GENERATION_MAX_KEPT);
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

int handle_config_rollback(struct call *call)
{
	uint64_t number = (uint64_t)call_integer(call, "generation", 0);
	const char *dir = call->daemon->state_dir;
	struct change change = {.origin = "rollback", .has_hash_key = true};
	char reason[STATE_MAX_ERROR] = "no generation is kept: there is no state_dir";
	struct state state;
	int status = dir ? generation_load(dir, number, &state, reason) : -ENOENT;

	if (status)
		return refuse(call, number, status, reason);
	change.next = state.desired;
	change.hash_key = state.hash_key;
	return call_commit_change(call, &change);
}
