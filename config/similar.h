/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* Words that were mistyped. Pure; any thread. */
#pragma once

#include <stddef.h>

enum {
	SIMILAR_MAX_DISTANCE = 2, /* beyond it words have nothing to do with each other */
};

/** The word that another was probably meant to be. {.given = the mistyped one} to begin with. */
struct similar {
	const char *given;
	const char *found; /* NULL: none is near */
	size_t distance;   /* of it */
};

/**
 * Takes @word if it is nearer than what was found before: by letters to be put in, taken out or changed
 * (Levenshtein), SIMILAR_MAX_DISTANCE at most. Words of more than 31 bytes are near to none. @word stays the caller's.
 */
void similar_offer(struct similar *similar, const char *word);
