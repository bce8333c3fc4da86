/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * Two workers on two cores, beside one of them alone and the loop that only exchanges ends on the same
 * cores: cases of mode worker.
 */
#pragma once

#include "tests/bench/bench.h"

/** The name of case @index; NULL: there is none. */
const char *pair_case_name(uint32_t index);
bool pair_has_case(const char *name);

/** As measure() of struct bench_mode. */
int pair_measure(const struct bench_options *options, const char *name, json_t *result);
