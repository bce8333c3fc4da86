/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * Commands below /sluice on the telemetry socket of DPDK: what the dataplane's seam answers, for tools
 * that read that socket already. DPDK serves each client in a thread of its own; that thread waits for
 * the control thread, which alone calls the seam. Once in a process. All three: control thread.
 */
#pragma once

#include <sched.h>

#include <sluice/base.h>

struct dataplane;

/**
 * Registers the commands and answers them from the event loop of @dataplane, borrowed until
 * telemetry_stop(). EAL has opened the socket. 0 or negative errno with @error (SL_MAX_ERROR bytes).
 */
int telemetry_start(struct dataplane *dataplane, char *error) SL_MUST_USE;

/** DPDK's threads for the socket and its clients are to run on @cores alone. */
void telemetry_move(const cpu_set_t *cores);

/** From now on every command is refused. Allowed where nothing was started. */
void telemetry_stop(void);
