/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * What would become of slots, flows, source ports and memory if one snapshot took the place of another.
 * Pure: both are read, none is changed, and flows are shown to it by whoever has them. Control thread.
 */
#pragma once

#include <sluice/base.h>
#include <sluice/wire.h>

struct plan;
struct sl_flow;
struct snapshot;

/**
 * Compares @now, which is published (NULL: nothing is), with @after. Both must outlive the plan. No flow
 * is counted yet. 0 or -ENOMEM.
 */
int plan_new(const struct snapshot *now, const struct snapshot *after,
	     struct plan **out) SL_MUST_USE;
/** NULL is allowed. */
void plan_free(struct plan *plan);

/** Forgets what was counted. */
void plan_begin_flows(struct plan *plan);

/** Counts @flow, a copy that nobody changes. @ticks: the clock of its worker. */
void plan_count_flow(struct plan *plan, const struct sl_flow *flow, uint32_t ticks);

/** Of all flows that were counted. */
const struct wire_plan_fates *plan_fates(const struct plan *plan);

/** Fills what the plan knows: memory_now, memory_after, n_services, n_backends, is_new_key. */
void plan_describe(const struct plan *plan, struct wire_plan_reply *reply);

/** How many records there are. */
uint32_t plan_n_services(const struct plan *plan);
uint32_t plan_n_backends(const struct plan *plan);

/** At most @n records from position @first on. Returns how many. */
uint32_t plan_services(const struct plan *plan, uint32_t first, uint32_t n,
		       struct wire_plan_service *record);
uint32_t plan_backends(const struct plan *plan, uint32_t first, uint32_t n,
		       struct wire_plan_backend *record);
