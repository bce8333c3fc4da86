/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* config.check, diff, apply, export. */
#include "control/daemon/handlers.h"

#include <stdlib.h>
#include <string.h>

#include "config/config.h"
#include "control/daemon/config_text.h"
#include "control/daemon/daemon.h"
#include "control/daemon/desired.h"
#include "control/daemon/diff.h"
#include "control/daemon/state.h"

enum {
	MAX_CONFIG_ERROR = 480,
};

static const char *file_of(const struct call *call)
{
	const char *file = call_string(call, "file");

	return file ? file : "(text)";
}

/* Judges the text; @warnings: NULL, or a new array of what is allowed but odd. */
static int load(const struct call *call, struct config **config, json_t **warnings)
{
	const json_t *text = json_object_get(call->params, "text");
	struct config_problems problems = {0};
	char errors[sizeof(call->error->message)];

	if (config_load_text(file_of(call), json_string_value(text), json_string_length(text),
			     config, &problems)) {
		config_problems_text(&problems, errors, sizeof(errors));
		return rpc_error_set(call->error, RPC_PARAMS, "text", "%s",
				     errors[0] ? errors : "out of memory");
	}
	if (!warnings)
		return RPC_OK;
	*warnings = json_array();
	for (size_t i = 0; i < problems.n; i++)
		json_array_append_new(*warnings, json_string(problems.problem[i].text));
	return RPC_OK;
}

int call_load_text(const struct call *call, struct config **config, struct desired **next,
		   json_t **warnings)
{
	int code = load(call, config, warnings);

	if (code)
		return code;
	code = call_clone(call, next);
	if (!code) {
		code = desired_apply_file(*next, *config, file_of(call), call->error);
		if (!code)
			code = desired_check(*next, NULL, call->error);
		if (code)
			desired_free(*next);
	}
	if (code) {
		config_free(*config);
		if (warnings)
			json_decref(*warnings);
	}
	return code;
}

int handle_config_check(struct call *call)
{
	struct config *config;
	struct desired *next;
	json_t *warnings;
	int code = call_load_text(call, &config, &next, &warnings);

	if (code)
		return code;
	call->result =
		json_pack("{s:b, s:I, s:I, s:o}", "ok", 1, "services", (json_int_t)next->n_services,
			  "backends", (json_int_t)next->n_backends, "warnings", warnings);
	desired_free(next);
	config_free(config);
	return RPC_OK;
}

int handle_config_diff(struct call *call)
{
	struct config *config;
	struct desired *next;
	size_t n_changes;
	json_t *changes;
	int code = call_load_text(call, &config, &next, NULL);

	if (code)
		return code;
	changes = diff_changes(call->daemon->desired, next, &n_changes);
	call->result =
		json_pack("{s:I, s:o, s:I}", "generation", (json_int_t)call->daemon->generation,
			  "changes", changes, "n_changes", (json_int_t)n_changes);
	desired_free(next);
	config_free(config);
	return RPC_OK;
}

/*
 * The digest to remember: the text's, if it is what the -c file says by now; else the old one.
 * @is_other: out, the file was read and says something else.
 */
static uint64_t digest_of_file(const struct call *call, bool *is_other)
{
	const json_t *applied = json_object_get(call->params, "text");
	size_t applied_length = json_string_length(applied), length;
	uint64_t digest = 0;
	char error[MAX_CONFIG_ERROR];
	char *text;

	if (!call->daemon->config_file ||
	    config_text_read(call->daemon->config_file, &text, &length, error, sizeof(error)))
		return 0;
	*is_other =
		length != applied_length || memcmp(text, json_string_value(applied), length) != 0;
	if (!*is_other)
		digest = state_text_digest(text, length);
	free(text);
	return digest;
}

/* Who applied another file than the daemon's hears how long that holds. */
static void note_other_file(struct call *call)
{
	json_object_set_new(
		call->result, "note",
		json_sprintf(
			"%s, which sluiced reads when it is told to reload, or starts and the file "
			"has changed, says something else: its services come back then; make this "
			"configuration that file to keep it",
			call->daemon->config_file));
}

int handle_config_apply(struct call *call)
{
	struct change change = {.origin = "apply", .is_judged = true};
	struct config *config;
	bool is_other = false;
	int code = call_load_text(call, &config, &change.next, NULL);

	if (code)
		return code;
	change.has_hash_key = config->has_hash_key;
	change.hash_key = config->hash_key;
	change.file_digest = digest_of_file(call, &is_other);
	config_free(config);
	code = call_commit_change(call, &change);
	if (!code && is_other && !change.is_dry_run)
		note_other_file(call);
	return code;
}

int handle_config_export(struct call *call)
{
	char *text = desired_export(call->daemon->desired);

	if (!text)
		return rpc_error_set(call->error, RPC_INTERNAL, NULL, "out of memory");
	call->result = json_pack("{s:s}", "text", text);
	free(text);
	return RPC_OK;
}
