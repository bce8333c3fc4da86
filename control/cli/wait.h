/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* `backend wait`: asks sluiced again and again until a backend is what it is waited for. */
#pragma once

#include <jansson.h>

#include <sluice/base.h>

struct request;
struct rpc_error;

/**
 * Waits for what @request says, on the socket at @path. How it goes is told on stderr: each second on a
 * terminal, else each ten. @call_timeout_sec: of one question. @result: the backend as it is then, the caller's
 * reference. CLI_DONE; CLI_REFUSED: it can't become so, there is no such backend, or the time is over;
 * CLI_NOT_CONNECTED.
 */
int wait_backend(const char *path, int call_timeout_sec, const struct request *request,
		 json_t **result, struct rpc_error *error) SL_MUST_USE;
