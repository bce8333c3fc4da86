/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* See heap.h. glibc gives the heap huge pages only to who sets GLIBC_TUNABLES before the program starts. */
#include "heap/heap.h"

#include <malloc.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
	RESERVED_BYTES = 384 << 20, /* of addresses: two snapshots of a thousand slot tables */
	KEPT_BYTES = 512 << 20, /* at most, of free memory; more than reserved, or that goes back */
	KEPT_BLOCK_BYTES = 32 << 20, /* larger ones are mapped by themselves; glibc takes no more */
	GROWTH_BYTES = 4 << 20,      /* beyond what is reserved, at a time */
	HUGE_PAGE_BYTES = 2 << 20,
};

/* Address space of RESERVED_BYTES for the heap, which takes none of the host's memory. */
static void reserve(void)
{
	char *block;

	(void)mallopt(M_TOP_PAD, RESERVED_BYTES);
	block = malloc(HUGE_PAGE_BYTES);
	if (block != NULL)
		*(volatile char *)block = 0; /* else the compiler sees that nobody needs it */
	free(block);
	(void)mallopt(M_TOP_PAD, GROWTH_BYTES);
}

void heap_keep(void)
{
	char *start = sbrk(0), *end;
	size_t gap = (size_t) - (uintptr_t)start % HUGE_PAGE_BYTES;

	(void)mallopt(M_MMAP_THRESHOLD, KEPT_BLOCK_BYTES);
	(void)mallopt(M_TRIM_THRESHOLD, KEPT_BYTES);
	reserve();
	end = sbrk(0);
	if ((size_t)(end - start) > gap)
		(void)madvise(start + gap, (size_t)(end - start) - gap, MADV_HUGEPAGE);
}
