/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* `sluice events`: what sluiced tells of, as it happens, a line each. */
#pragma once

#include <sluice/base.h>

struct cli_options;
struct request;
struct rpc_error;

/**
 * Prints events until as many came as were asked for. @path: the socket. A sluiced that ends is waited for, and
 * asked for what happened meanwhile. CLI_DONE, or what the first call failed with, in @error.
 */
int events_follow(const struct cli_options *options, const struct request *request,
		  const char *path, struct rpc_error *error) SL_MUST_USE;
