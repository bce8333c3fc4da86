/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * Each case in several processes, one after another: where the kernel puts a process' pages shifts
 * figures by a third and more, so one process shows little.
 */
#pragma once

#include "tests/bench/bench.h"

/**
 * Runs the cases of @mode that @options want, in options->n_starts processes each, into @cases: an
 * array of merged results. 0 or negative errno: some case failed, and which was printed.
 */
int starts_run(const struct bench_mode *mode, const struct bench_options *options,
	       json_t *cases) SL_MUST_USE;
