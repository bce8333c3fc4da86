/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * Words of a command line -> a request, by the table of commands. Pure but for getopt's own state:
 * reads no file, asks no daemon. Every refusal names the word that is wrong.
 */
#pragma once

#include <jansson.h>
#include <stdint.h>

#include <sluice/base.h>

#include "control/cli/commands.h"
#include "control/rpc.h"

enum {
	CLI_DEFAULT_TIMEOUT_SEC = 90, /* above the daemon's own for a commit */
	CLI_MAX_TIMEOUT_SEC = 86400,
};

/** What the options say; strings are borrowed from argv. */
struct cli_options {
	const char *socket; /* NULL: not given */
	const char *config;
	int timeout_sec;
	bool is_json;
	bool is_help;
	bool is_version;
	bool is_dry_run;
	bool has_if_generation;
	int64_t if_generation;
};

/** A command line understood. After an error: as far as it was, for the usage line. */
struct request {
	const char *noun;              /* NULL: none was recognised */
	const struct command *command; /* NULL: help for @noun, or for everything */
	bool is_help;
	json_t *params; /* the method's; a file's text is still missing */
	json_t *own;    /* the CLI's: "file", "shell" and flags */
};

/**
 * Takes the options out of @argv; @argv is reordered so that the words begin at *@first. CLI_DONE or
 * CLI_USAGE with @error.
 */
int parse_options(int argc, char **argv, struct cli_options *options, int *first,
		  struct rpc_error *error) SL_MUST_USE;

/** @n words of a command. CLI_DONE or CLI_USAGE with @error; request_fini() after both. */
int parse_request(const struct cli_options *options, int n, char *const *words,
		  struct request *request, struct rpc_error *error) SL_MUST_USE;
void request_fini(struct request *request);
