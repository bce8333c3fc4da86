/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * SIGINT and SIGTERM of those who leave nothing behind: held back, and asked for where the work can
 * end. No handler does anything. One thread; threads that are made later hold them back as well.
 */
#pragma once

#include <signal.h>

#include <sluice/base.h>

/** Holds both back from now on. */
void signal_hold(void);

/** The mask from before signal_hold(), for what this process starts. */
const sigset_t *signal_former_mask(void);

/** Whether one of them has come. */
bool signal_has_come(void);
