/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * What a mode with several processes takes of the host and gives back: a network namespace of its
 * own, a folder, and hugepages. Needs root. One a process.
 */
#pragma once

#include <sluice/base.h>

struct host {
	char folder[64];    /* empty: none */
	long n_pages_added; /* to vm.nr_hugepages */
};

/**
 * Moves this process into a network namespace of its own, makes the folder, and sees to it that
 * @memory_mb of hugepages are free. 0 or negative errno, and the reason was printed; host_close() in
 * either case.
 */
int host_open(struct host *host, uint32_t memory_mb) SL_MUST_USE;
void host_close(struct host *host);

/** Two cores that this process may use: @wanted, and the first other one. 0 or -EINVAL, printed. */
int host_choose_cores(int wanted, int *other) SL_MUST_USE;
