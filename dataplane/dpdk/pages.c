/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* See pages.h. */
#include "dataplane/dpdk/pages.h"

#include <sys/mman.h>

void *pages_new(size_t bytes, bool use_hugepages)
{
	void *memory = MAP_FAILED;

	bytes = pages_round(bytes);
	if (use_hugepages)
		memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	if (memory == MAP_FAILED)
		memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (memory == MAP_FAILED)
		return NULL;
	madvise(memory, bytes, MADV_HUGEPAGE); /* advice: it works without */
	return memory;
}

void pages_free(void *memory, size_t bytes)
{
	if (memory != NULL)
		munmap(memory, pages_round(bytes));
}
