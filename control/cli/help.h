/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* Help at every level, printed from the table of commands. */
#pragma once

#include <stdio.h>

struct command;

/** Everything: commands, options, exit codes. */
void help_all(FILE *out);

/** The commands of one noun. */
void help_noun(FILE *out, const char *noun);

/** One command: usage, what it does, its parameters, examples. */
void help_command(FILE *out, const struct command *command);

/** The usage lines for what was recognised of a wrong command line; both may be NULL. */
void help_usage(FILE *out, const char *noun, const struct command *command);
