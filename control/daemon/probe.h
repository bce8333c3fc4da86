/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * One check of one backend: begins, and says good or bad within its timeout. How, by the type of the check:
 * probe_stream.c (tcp), probe_http.c (http, https), probe_datagram.c (udp, icmp), probe_exec.c. All of them
 * in the thread of the event loop; nothing of them blocks.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <sluice/base.h>

struct event_base;
struct health_check;
struct probe;
struct prober;

enum {
	PROBE_MAX_REASON = 128,
	PROBE_MAX_RUNNING = 4096, /* fewer where there are not twice as many file descriptors */
	PROBE_MAX_PROGRAMS = 32,
};

/** Whom to check. */
struct probe_target {
	union sl_addr addr;
	be16_t port; /* the backend's; the check may name another */
	uint8_t family;
};

/** The result, at most once, never from within probe_start(). @reason: "" if @is_good; borrowed. */
typedef void probe_done(void *context, bool is_good, const char *reason);

/** @may_exec: whether checks of type exec are made at all. NULL: out of memory. */
struct prober *prober_new(struct event_base *base, bool may_exec);

/** All probes must have ended. */
void prober_free(struct prober *prober);

/** How many run. */
uint32_t prober_n_running(const struct prober *prober);

/**
 * Begins a check. @check: copied. NULL: as many run as may, or out of memory: to be begun later. What can be
 * said at once, of a network that cannot be reached for example, is a result.
 */
struct probe *probe_start(struct prober *prober, const struct health_check *check,
			  const struct probe_target *target, probe_done *done, void *context);

/** Ends it without a result. */
void probe_cancel(struct probe *probe);
