/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* The daemon and its dataplane as JSON: what runs, and whether it is in step. */
#pragma once

#include <jansson.h>

struct daemon;

/**
 * {generation, digest, version, ..., health{}, connected, in_step, engine, ..., ports[], workers[]}: the answer of
 * the method "status". NULL: out of memory.
 */
json_t *status_to_json(const struct daemon *daemon);
