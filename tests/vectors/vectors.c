/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* A vector a line: name, direction, verdict, frame in, frame out; or a step of a story that is no frame. */
#include "tests/vectors/vectors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sluice/counters.h>

static int verdict_of(const char *name)
{
	static const char *const names[] = {
#define X(upper, lower, help) #lower,
		SL_VERDICT_LIST(X)
#undef X
	};

	for (int i = 0; i < SL_N_VERDICTS; i++)
		if (strcmp(names[i], name) == 0)
			return i;
	return -1;
}

static bool read_hex(const char *text, uint8_t *bytes, size_t *length)
{
	*length = 0;
	if (strcmp(text, "-") == 0)
		return true;
	for (; text[0] != '\0'; text += 2) {
		unsigned int byte;

		if (*length == VECTOR_MAX_FRAME || sscanf(text, "%2x", &byte) != 1)
			return false;
		bytes[(*length)++] = (uint8_t)byte;
	}
	return true;
}

static enum vector_kind kind_of(const char *word)
{
	if (strcmp(word, "tables") == 0)
		return VECTOR_TABLES;
	if (strcmp(word, "events") == 0)
		return VECTOR_EVENTS;
	return strcmp(word, "openings") == 0 ? VECTOR_OPENINGS : VECTOR_FRAME;
}

static bool read_line(char *line, struct vector *vector)
{
	/* Words end at single spaces; the frame in may be empty (a frame cut to nothing). */
	char *word[5];

	line[strcspn(line, "\n")] = '\0';
	for (int i = 0; i < 5; i++)
		word[i] = strsep(&line, " ");
	if (word[4] == NULL || strlen(word[0]) >= sizeof(vector->name))
		return false;
	memset(vector, 0, sizeof(*vector));
	strcpy(vector->name, word[0]);
	vector->kind = kind_of(word[1]);
	if (vector->kind != VECTOR_FRAME)
		return snprintf(vector->text, sizeof(vector->text), "%s", word[2]) <
		       VECTOR_MAX_TEXT;
	vector->is_reply = strcmp(word[1], "reply") == 0 || strcmp(word[1], "backend") == 0;
	vector->verdict = verdict_of(word[2]);
	return vector->verdict >= 0 && read_hex(word[3], vector->in, &vector->in_length) &&
	       read_hex(word[4], vector->out, &vector->out_length);
}

struct vector *vectors_read(const char *path, size_t *n)
{
	static char line[4 * VECTOR_MAX_FRAME + 256];
	FILE *file = fopen(path, "re");
	struct vector *vectors = NULL;
	size_t capacity = 0;

	*n = 0;
	while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
		if (*n == capacity) {
			capacity = capacity * 2 + 64;
			vectors = realloc(vectors, capacity * sizeof(*vectors));
		}
		if (vectors == NULL || !read_line(line, &vectors[*n])) {
			free(vectors);
			vectors = NULL;
			break;
		}
		(*n)++;
	}
	if (file != NULL)
		fclose(file);
	return vectors;
}
