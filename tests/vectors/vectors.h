/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* Reads packets.txt (see make_vectors.py); shared by every executor of the vectors. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	VECTOR_MAX_FRAME = 2048,
};

struct vector {
	char name[64];
	bool is_reply;
	int verdict; /* enum sl_verdict */
	size_t in_length;
	size_t out_length; /* 0: nothing is sent */
	uint8_t in[VECTOR_MAX_FRAME];
	uint8_t out[VECTOR_MAX_FRAME];
};

/** The vectors of file @path; heap, the caller's. NULL: unreadable, or a line that is no vector. */
struct vector *vectors_read(const char *path, size_t *n);
