/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * `sluice shell`: one command line after the other, with completion and history on a terminal (libedit), or
 * from a file or a pipe until one fails. Each is run by a process of its own, as if it had been typed alone.
 */
#pragma once

#include <sluice/base.h>

struct cli_options;

/** Runs one command line and returns its exit status. */
typedef int shell_run_fn(int argc, char **argv);

/** @path: the socket, to ask for names. Returns the exit status of the last line. */
int shell_run(const struct cli_options *options, const char *path, shell_run_fn *run) SL_MUST_USE;
