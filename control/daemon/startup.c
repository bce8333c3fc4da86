/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
#include "control/daemon/startup.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "config/config.h"
#include "control/daemon/change.h"
#include "control/daemon/config_text.h"
#include "control/daemon/daemon.h"
#include "control/daemon/desired.h"
#include "control/daemon/generation.h"
#include "control/daemon/state.h"
#include "log/log.h"

int startup_read_file(const char *path, struct config **config, uint64_t *digest, char *error)
{
	struct config_problems problems = {0};
	size_t length;
	char *text;
	int status = config_text_read(path, &text, &length, error, STARTUP_MAX_ERROR);

	if (status)
		return status;
	*digest = state_text_digest(text, length);
	status = config_load_text(path, text, length, config, &problems);
	free(text);
	if (status) {
		config_problems_text(&problems, error, STARTUP_MAX_ERROR);
		return status;
	}
	for (size_t i = 0; i < problems.n; i++)
		log_warn("%s", problems.problem[i].text);
	return 0;
}

void startup_log_error(const char *error)
{
	do {
		size_t length = strcspn(error, "\n");

		log_err("%.*s", (int)length, error);
		error += length + (error[length] == '\n');
	} while (*error);
}

/* The services of the file in place of those the state has of it. 0 or the error's code. */
static int take_file(struct daemon *daemon, const struct config *config, uint64_t digest,
		     struct rpc_error *error)
{
	struct change change = {
		.next = desired_clone(daemon->desired),
		.file_digest = digest,
		.origin = "file",
	};
	int code;

	if (!change.next)
		return rpc_error_set(error, RPC_INTERNAL, NULL, "out of memory");
	change.has_hash_key = config->has_hash_key;
	change.hash_key = config->hash_key;
	code = desired_apply_file(change.next, config, daemon->config_file, error);
	if (code) {
		desired_free(change.next);
		return code;
	}
	return change_commit(daemon, &change, NULL, error);
}

static int make_key(const struct config *config, struct sl_hash_key *key, char *error)
{
	*key = config->hash_key;
	if (config->has_hash_key)
		return 0;
	if (getrandom(key, sizeof(*key), 0) == (ssize_t)sizeof(*key))
		return 0;
	(void)snprintf(error, STARTUP_MAX_ERROR, "getrandom: %s", strerror(errno));
	return -errno;
}

/* There is no state on disk: the file alone says what shall be. */
static int first_state(struct daemon *daemon, const struct config *config, uint64_t digest,
		       char *error)
{
	struct rpc_error reason;
	int status = make_key(config, &daemon->hash_key, error);

	if (status)
		return status;
	daemon->desired = desired_new();
	if (!daemon->desired || take_file(daemon, config, digest, &reason)) {
		(void)snprintf(error, STARTUP_MAX_ERROR, "%s: %s", daemon->config_file,
			       daemon->desired ? reason.message : "out of memory");
		return -EINVAL;
	}
	log_info("%s: no state yet: %zu services taken from %s", daemon->state_dir,
		 daemon->desired->n_services, daemon->config_file);
	return 0;
}

int startup_state(struct daemon *daemon, const struct config *config, uint64_t digest, char *error)
{
	struct rpc_error reason;
	struct state state;
	char note[STATE_MAX_ERROR];
	int status = state_load(daemon->state_dir, &state, &daemon->journal, note);

	if (status == -ENOENT)
		return first_state(daemon, config, digest, error);
	if (status) {
		(void)snprintf(error, STARTUP_MAX_ERROR, "%s; move it away to start from %s alone",
			       note, daemon->config_file);
		return status;
	}
	daemon->desired = state.desired;
	daemon->generation = state.generation;
	daemon->hash_key = state.hash_key;
	daemon->file_digest = state.file_digest;
	if (generation_is_kept(daemon->state_dir, &state))
		former_remember(&daemon->former, state.generation, state.desired);
	if (note[0])
		log_err("%s", note);
	log_info("%s: generation %" PRIu64 ", %zu services, %zu backends", daemon->state_dir,
		 daemon->generation, daemon->desired->n_services, daemon->desired->n_backends);
	if (note[0] && change_save(daemon, &reason)) {
		(void)snprintf(error, STARTUP_MAX_ERROR, "%s", reason.message);
		return -EIO;
	}
	if (digest == daemon->file_digest)
		return 0;
	log_info("%s: changed since it was last read, its services are taken anew",
		 daemon->config_file);
	if (take_file(daemon, config, digest, &reason))
		log_err("%s: not taken, the state stays: %s", daemon->config_file, reason.message);
	return 0;
}

void startup_reload(struct daemon *daemon)
{
	struct config *config;
	struct rpc_error reason;
	char error[STARTUP_MAX_ERROR];
	uint64_t digest;

	if (startup_read_file(daemon->config_file, &config, &digest, error)) {
		log_err("%s: not reloaded, nothing has changed:", daemon->config_file);
		startup_log_error(error);
		return;
	}
	if (take_file(daemon, config, digest, &reason))
		log_err("%s: not reloaded, nothing has changed: %s", daemon->config_file,
			reason.message);
	else
		log_info("%s: reloaded, generation %" PRIu64, daemon->config_file,
			 daemon->generation);
	config_free(config);
}
