/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * The BPF programs. The kernel's verifier takes most of a start's time, and walks as many of them at
 * once as there are processors: each is loaded in an object of its own, on tables that are there.
 */
#pragma once

#include <sluice/base.h>
#include <sluice/xdp.h>

struct sluice_bpf;

enum program {
	/* The first are those that the main one ends in, by their places: enum sl_xdp_program. */
	PROGRAM_BALANCE = SL_XDP_N_PROGRAMS,
	PROGRAM_SWEEP,
	PROGRAM_ROUTE,
	N_PROGRAMS
};

struct programs {
	int fd[N_PROGRAMS]; /* -1: not loaded */
};

/** What the build has embedded, opened and not loaded; sluice_bpf__destroy(). NULL with errno set. */
struct sluice_bpf *programs_open(void);
void programs_init(struct programs *programs);
/**
 * Loads all programs on the maps of @tables, which is loaded without programs, and writes into its
 * map "programs" those that the main one ends in. 0; negative errno, @error (SL_MAX_ERROR bytes) then
 * names the program. Takes as many threads as the process may use processors.
 */
int programs_load(struct programs *programs, const struct sluice_bpf *tables,
		  char *error) SL_MUST_USE;
void programs_close(struct programs *programs);
