/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* What the CLI reads from disk: a configuration's text, its judgement by config/, its run_dir. */
#pragma once

#include <stddef.h>

#include <jansson.h>

#include <sluice/base.h>

struct rpc_error;

/**
 * Reads @path, "-" for standard input: SL_MAX_CONFIG_BYTES at most. Heap, the caller's; NULL with
 * @error.
 */
char *files_read(const char *path, size_t *length, struct rpc_error *error);

/** @text as a JSON string, the caller's reference; NULL with @error: it is not UTF-8. */
json_t *files_text(const char *name, const char *text, size_t length, struct rpc_error *error);

/**
 * Judges @text as config/ does; @name stands for the file in errors. {"ok", "file", "services",
 * "backends", "warnings"}, the caller's reference; NULL with @error. @problems: errors and warnings,
 * one a line, heap, the caller's; NULL: none.
 */
json_t *files_check(const char *name, const char *text, size_t length, char **problems,
		    struct rpc_error *error);

/** run_dir of the configuration @path into @run_dir. CLI_DONE or CLI_REFUSED. */
int files_run_dir(const char *path, char *run_dir, size_t size,
		  struct rpc_error *error) SL_MUST_USE;
