/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* What may stand at the end of a command line, by the table of commands: completion within `sluice shell`. */
#pragma once

#include <jansson.h>

#include "control/cli/commands.h"

/**
 * What there is of @kind, as texts in an array, a new reference: names of services, addresses of the backends of
 * @service, numbers of generations. @service is NULL for the others.
 */
typedef json_t *candidates_ask(void *context, enum value_kind kind, const char *service);

/**
 * Words that the last of @n @words, which is begun and may be empty, can become; without "sluice", and with
 * options anywhere. An array of strings in the table's order, a new reference. Files are not among them.
 */
json_t *candidates(int n, char *const *words, candidates_ask *ask, void *context);
