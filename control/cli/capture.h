/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* `sluice capture`: fetches what the dataplane copies and writes it as a pcapng file. */
#pragma once

#include <jansson.h>

#include <sluice/base.h>

struct cli_options;
struct request;
struct rpc_error;

/**
 * Captures until the dataplane says that it is over, the time is, or a signal comes (SIGINT, SIGTERM).
 * @result: {"packets", "lost", "file"}, the caller's reference; NULL: the file is standard output. Returns
 * enum cli_exit with @error unless CLI_DONE.
 */
int capture_run(const struct cli_options *options, const struct request *request, const char *path,
		json_t **result, struct rpc_error *error) SL_MUST_USE;
