/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * Reads packets.txt (see make_vectors.py) and stories.txt (see make_stories.py); shared by every
 * executor of the vectors.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	VECTOR_MAX_FRAME = 2048,
	VECTOR_MAX_TEXT = 128,
};

enum vector_kind {
	VECTOR_FRAME = 0,
	VECTOR_TABLES,   /* the tables become the variant that text names; stories.txt only */
	VECTOR_EVENTS,   /* the events of the story so far, in text; stories.txt only */
	VECTOR_OPENINGS, /* likewise what all backends together did with flows that SYNs began */
};

struct vector {
	char name[64]; /* in stories.txt: of the story */
	enum vector_kind kind;
	char text[VECTOR_MAX_TEXT];
	bool is_reply; /* comes in where the backends are */
	int verdict;   /* enum sl_verdict */
	size_t in_length;
	size_t out_length; /* 0: nothing is sent */
	uint8_t in[VECTOR_MAX_FRAME];
	uint8_t out[VECTOR_MAX_FRAME];
};

/** The lines of file @path; heap, the caller's. NULL: unreadable, or a line that is no vector. */
struct vector *vectors_read(const char *path, size_t *n);
