/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * Everything that is counted, as Prometheus reads it (text format 0.0.4). Names, units and help of counters
 * are those of counters.h. Labels are bounded: services, verdicts, ports and workers have limits of their
 * own, and beyond METRICS_MAX_BACKENDS backends none of them has samples of its own.
 */
#pragma once

struct daemon;
struct evbuffer;

enum {
	METRICS_MAX_BACKENDS = 10000,
};

/** Appends all of it to @out. What only a dataplane knows is left out while none is connected. */
void metrics_print(const struct daemon *daemon, struct evbuffer *out);
