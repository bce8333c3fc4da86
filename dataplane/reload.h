/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* What of its configuration file a dataplane takes: all at the start, the number of workers later. */
#pragma once

#include "config/config.h"

struct dataplane;

/**
 * Reads @part of the file, or all of it if that is good; what is wrong goes to the log. Heap, the
 * caller's; NULL: refused.
 */
struct config *reload_read(const char *path, enum config_part part);

/**
 * Gives @dataplane the workers of @wanted, and keeps in @running what it took. All else of section
 * dataplane that has changed is named in the log.
 */
void reload_take(struct config *running, const struct config *wanted, struct dataplane *dataplane);
