/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * `sluice doctor`: is this host made for what the configuration wants of it? Reads the configuration, /proc,
 * /sys, ethtool and netlink, and what sluiced says if it answers; changes nothing.
 */
#pragma once

#include <jansson.h>
#include <stdio.h>

#include <sluice/base.h>

struct cli_options;
struct doctor;
struct request;

/**
 * Examines the host. @result: {"engine", "engine_reason", "config", "counts", "findings": [{"check", "object",
 * "verdict", "found", "wanted", "why", "command"}]}, the caller's. CLI_DONE; CLI_REFUSED: a warning or a fault.
 */
int doctor_run(const struct cli_options *options, const struct request *request,
	       json_t **result) SL_MUST_USE;

/** All checks, into doctor->findings. For doctor_run() and tests. */
void doctor_examine(struct doctor *doctor);

/** Shows a result of doctor_run(): the own parameter "all": what is good, too. */
void output_doctor(FILE *out, const json_t *result, const json_t *own);
