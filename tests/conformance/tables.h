/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * The tables that packets.txt and stories.txt assume: services and backends as a snapshot, and
 * addresses, routes and neighbours in the kernel. make_stories.py has the same in words.
 *
 *   clients   198.51.100.0/24   2001:db8:1::/64   device 1, own address .1 and ::1
 *   backends  10.0.0.0/24       2001:db8:2::/64   device 2, own address .1 and ::1
 *   far       192.0.2.0/25      2001:db8:3::/64   clients by the gateway 198.51.100.7, 2001:db8:1::7
 *
 * Everybody's link address is TABLES_NEXT_HOP_MAC. There is no default route.
 */
#pragma once

#include <sluice/base.h>

struct snapshot;
struct tables;

#define TABLES_OWN_MAC      "02:00:00:00:00:01"
#define TABLES_NEXT_HOP_MAC "02:00:00:00:00:aa"

/** The bytes of TABLES_OWN_MAC. */
extern const uint8_t tables_own_mac[6];

/** The state behind successive snapshots. NULL: ENOMEM. */
struct tables *tables_new(void);
void tables_free(struct tables *tables);

/**
 * Builds the next snapshot.
 * @variant: what is different about the backend of the main services (10.0.0.2:8080 and
 * [2001:db8:2::2]:8080): "base" (nothing), "drain", "maint", "down" and "down-keep" (its health), "deleted", "replaced" (by
 * 10.0.0.3:8080 and [2001:db8:2::3]:8080); "closed" (no services of mode snat);
 * or about backends of services whose clients keep theirs: "stick-light" (the first has a ninth of the others'
 * weight), "stick-full" (it may have one flow), "stick-drain" (the last one leaves); or about services whose canary
 * has sources: "canary-none" (it has not), "canary-down" (its one backend is), "canary-full" (that may have one flow).
 * @previous: the one that is published, or NULL.
 * 0 or negative errno with @error (SL_MAX_ERROR bytes). @out: the caller's.
 */
int tables_build(struct tables *tables, const char *variant, const struct snapshot *previous,
		 struct snapshot **out, char *error) SL_MUST_USE;

/** How many of a snapshot's backends no route leads to: two families, two protocols. */
enum {
	TABLES_N_UNROUTED = 4,
};

/**
 * Sets both devices up in the current network namespace (which should hold nothing else): link
 * address, addresses, routes, neighbours; forwarding by the kernel off. Runs ip(8).
 * 0 or negative errno; what ip says goes to stderr.
 */
int tables_set_up_kernel(const char *client_device, const char *backend_device) SL_MUST_USE;
