/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* Words that were mistyped. Pure; any thread. */
#pragma once

#include <stddef.h>

enum {
	SIMILAR_MAX_DISTANCE = 2, /* beyond it words have nothing to do with each other */
};

/**
 * How many letters must be put in, taken out or changed to make @a of @b (Levenshtein); more than
 * SIMILAR_MAX_DISTANCE for words of more than 31 bytes.
 */
size_t similar_distance(const char *a, const char *b);
