/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * Workers that sleep (dataplane.idle_sleep_us), for hosts whose cores have something else to do, or power to
 * save. One that has found nothing for as long as a sleep is sleeps as long at a time, until something comes:
 * who comes first waits at most that long, and who comes then is polled for.
 */
#pragma once

#include "dataplane/dpdk/engine.h"

/** The calling thread is a worker's: its sleeps take as long as they are to, not 50 us more. */
void rest_begin(const struct worker *worker);

/** Sleeps once, if it is time. After each turn, where workers sleep at all. */
void rest_if_idle(struct worker *worker);
