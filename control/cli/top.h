/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * `sluice top`: services, or the backends of one, with what they do a second, asked of sluiced again and again.
 * On a terminal a screen that takes keys (top_screen.c), else snapshots, plain or as lines of JSON.
 */
#pragma once

#include <sluice/base.h>

struct cli_options;
struct request;
struct rpc_error;

/** Runs until it is told to end. @path: the socket. CLI_DONE, or what the first call failed with, in @error. */
int top_run(const struct cli_options *options, const struct request *request, const char *path,
	    struct rpc_error *error) SL_MUST_USE;
