/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * A kept generation in memory, the newest as a rule, so that counting what was changed since does not read megabytes
 * of text at each question. It shares the services that have not changed with the state.
 */
#pragma once

#include <stdint.h>

#include <sluice/base.h>

struct desired;

/** All zero: none. */
struct former {
	uint64_t number;
	struct desired *desired; /* NULL: none */
};

/** Remembers @desired, of which nothing is taken over, as generation @number. Out of memory nothing is remembered. */
void former_remember(struct former *former, uint64_t number, const struct desired *desired);

/** Generation @number of @dir, remembered or read by now; borrowed. NULL: it cannot be read. */
const struct desired *former_look(struct former *former, const char *dir, uint64_t number);

void former_fini(struct former *former);
