/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * Which cores are whose: a worker has one, and all else of the process, which mostly waits, keeps off the
 * workers' as long as another one is left. Control thread.
 */
#pragma once

#include <sluice/base.h>

struct dataplane;

/** Cores that this process may use; at least 1. */
uint32_t cores_count(void);

/**
 * Gives each worker that there may be its core: the one that the options name, or the last ones that we
 * may use. 0 or negative errno with @error.
 */
int cores_choose(struct dataplane *dataplane, char *error) SL_MUST_USE;

/**
 * This thread, those that it starts from here on, and those of punt.c, the flow log and the telemetry
 * socket leave the cores of the workers that run. To be called again when these are others.
 */
void cores_leave(struct dataplane *dataplane);
