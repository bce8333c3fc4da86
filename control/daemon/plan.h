/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* A plan as the dataplane computed it, all of its pages. */
#pragma once

#include <sluice/base.h>
#include <sluice/wire.h>

struct client;

enum {
	/* Pages of flow tables that are counted, each of at most 2^18 entries: who asks waits meanwhile. */
	PLAN_MAX_FLOW_PAGES = 64,
};

struct plan {
	struct wire_plan_reply totals;
	struct wire_plan_fates flows; /* of all services */
	bool is_counted;              /* all flows, not only those of PLAN_MAX_FLOW_PAGES */
	uint32_t n_services;
	struct wire_plan_service *service;
	uint32_t n_backends;
	struct wire_plan_backend *backend; /* of one service after the other */
};

/**
 * Plans the transaction that @client has open and filled, reads all of the plan, and ends the
 * transaction. @plan: all 0. As the calls of client.h; what was read before an error is plan_fini()'s.
 */
int plan_read(struct client *client, struct plan *plan) SL_MUST_USE;
void plan_fini(struct plan *plan);
