/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* See files.h. */
#include "control/cli/files.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sluice/limits.h>

#include "config/config.h"
#include "control/cli/commands.h"
#include "control/rpc.h"

enum {
	FIRST_BYTES = 65536,
};

static void refuse(const char *path, int number, struct rpc_error *error)
{
	char limit[32];

	(void)snprintf(limit, sizeof(limit), "%d", SL_MAX_CONFIG_BYTES);
	if (number == EFBIG)
		rpc_error_set(error, RPC_LIMIT, "file", "%.300s: has more than %s bytes", path,
			      limit);
	else if (number == EILSEQ)
		rpc_error_set(error, RPC_PARAMS, "file", "%.300s: is not UTF-8 text", path);
	else
		rpc_error_set(error, RPC_PARAMS, "file", "%.300s: %s", path, strerror(number));
	rpc_error_data(error, path, number == EFBIG ? limit : NULL);
}

/* All that @file holds; NULL with errno. */
static char *read_all(FILE *file, size_t *length)
{
	size_t capacity = FIRST_BYTES;
	char *text = malloc(capacity);

	*length = 0;
	while (text) {
		char *grown;

		*length += fread(text + *length, 1, capacity - *length, file);
		if (*length < capacity || *length > SL_MAX_CONFIG_BYTES)
			break;
		capacity *= 2;
		grown = realloc(text, capacity);
		if (!grown)
			free(text);
		text = grown;
	}
	if (!text) {
		errno = ENOMEM;
		return NULL;
	}
	if (!ferror(file) && *length <= SL_MAX_CONFIG_BYTES)
		return text;
	if (!ferror(file))
		errno = EFBIG;
	else if (!errno)
		errno = EIO;
	free(text);
	return NULL;
}

char *files_read(const char *path, size_t *length, struct rpc_error *error)
{
	bool is_stdin = strcmp(path, "-") == 0;
	FILE *file = is_stdin ? stdin : fopen(path, "re");
	char *text;

	if (!file) {
		refuse(path, errno, error);
		return NULL;
	}
	errno = 0;
	text = read_all(file, length);
	if (!text)
		refuse(path, errno, error);
	if (!is_stdin)
		(void)fclose(file);
	return text;
}

json_t *files_text(const char *name, const char *text, size_t length, struct rpc_error *error)
{
	json_t *value = json_stringn(text, length);

	if (!value)
		refuse(name, EILSEQ, error);
	return value;
}

/* The problems, each a line of its own. */
static char *problems_text(const struct config_problems *problems)
{
	size_t size = (problems->n + 1) * (CONFIG_MAX_TEXT + 16);
	char *text = problems->n ? malloc(size) : NULL;

	if (text)
		config_problems_text(problems, text, size);
	return text;
}

/* The error is the first of them; what -j shows and what the exit stands for. */
static void take_problem(const char *name, const struct config_problems *problems,
			 struct rpc_error *error)
{
	for (size_t i = 0; i < problems->n; i++) {
		if (problems->problem[i].is_warning)
			continue;
		rpc_error_set(error, RPC_PARAMS, "file", "%s", problems->problem[i].text);
		rpc_error_data(error, name, NULL);
		return;
	}
	rpc_error_set(error, RPC_PARAMS, "file", "%.300s: is no configuration", name);
}

static json_t *describe(const char *name, const struct config *config,
			const struct config_problems *problems)
{
	json_t *warnings = json_array();
	size_t n_backends = 0;

	for (size_t i = 0; i < config->n_services; i++)
		n_backends += config->service[i].n_backends;
	for (size_t i = 0; i < problems->n; i++)
		json_array_append_new(warnings, json_string(problems->problem[i].text));
	return json_pack("{s:b, s:s, s:I, s:I, s:o}", "ok", 1, "file", name, "services",
			 (json_int_t)config->n_services, "backends", (json_int_t)n_backends,
			 "warnings", warnings);
}

json_t *files_check(const char *name, const char *text, size_t length, char **problems,
		    struct rpc_error *error)
{
	struct config_problems found = {0};
	struct config *config = NULL;
	json_t *result = NULL;
	int status = config_load_text(name, text, length, &config, &found);

	if (status == -ENOMEM)
		refuse(name, ENOMEM, error);
	else if (status)
		take_problem(name, &found, error);
	else
		result = describe(name, config, &found);
	*problems = problems_text(&found);
	config_free(config);
	return result;
}

int files_run_dir(const char *path, char *run_dir, size_t size, struct rpc_error *error)
{
	struct config_problems found = {0};
	struct config *config = NULL;
	int status = config_load_file(path, &config, &found);

	if (status == -ENOMEM)
		refuse(path, ENOMEM, error);
	else if (status)
		take_problem(path, &found, error);
	else
		(void)snprintf(run_dir, size, "%s", config->run_dir);
	config_free(config);
	return status ? CLI_REFUSED : CLI_DONE;
}
