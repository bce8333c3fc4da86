/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* See similar.h. */
#include "config/similar.h"

#include <string.h>

enum {
	MAX_WORD = 31,
};

static size_t least(size_t a, size_t b, size_t c)
{
	size_t ab = a < b ? a : b;

	return ab < c ? ab : c;
}

static size_t distance_of(const char *a, const char *b)
{
	size_t n_a = strlen(a), n_b = strlen(b);
	size_t row[MAX_WORD + 1]; /* distances of what of @a was seen to the beginnings of @b */

	if (n_a > MAX_WORD || n_b > MAX_WORD)
		return MAX_WORD;
	for (size_t j = 0; j <= n_b; j++)
		row[j] = j;
	for (size_t i = 1; i <= n_a; i++) {
		size_t diagonal = row[0];

		row[0] = i;
		for (size_t j = 1; j <= n_b; j++) {
			size_t above = row[j];

			row[j] =
				least(above + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1]));
			diagonal = above;
		}
	}
	return row[n_b];
}

void similar_offer(struct similar *similar, const char *word)
{
	size_t distance = distance_of(similar->given, word);

	/* Of a short word little would be left. */
	if (distance > SIMILAR_MAX_DISTANCE || distance * 2 >= strlen(word) ||
	    (similar->found != NULL && distance >= similar->distance))
		return;
	similar->distance = distance;
	similar->found = word;
}
