/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* Reads a configuration file as one text, so that it is judged and remembered by the same bytes. */
#pragma once

#include <stddef.h>

#include <sluice/base.h>

/** Reads a whole file, SL_MAX_CONFIG_BYTES at most. @text: heap, the caller's. 0 or -EINVAL. */
int config_text_read(const char *path, char **text, size_t *length, char *error,
		     size_t error_size) SL_MUST_USE;
