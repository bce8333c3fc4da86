/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* Memory of a worker that packets reach at random: in pages so large that the CPU knows them all. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum {
	PAGES_BYTES = 2 << 20,
};

/** What @bytes take, which come in whole hugepages. */
static inline size_t pages_round(size_t bytes)
{
	return (bytes + PAGES_BYTES - 1) & ~((size_t)PAGES_BYTES - 1);
}

/**
 * Zeros, at the start of a page: of hugepages if @use_hugepages and there are some left, else of transparent
 * ones as far as the kernel has them. NULL: ENOMEM. The caller's to pages_free(). Control thread.
 */
void *pages_new(size_t bytes, bool use_hugepages);

/** Gives back what pages_new() gave for as many @bytes; NULL is allowed. */
void pages_free(void *memory, size_t bytes);
