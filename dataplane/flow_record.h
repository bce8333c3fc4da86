/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* A flow as it is listed on the wire, and whether a filter asks for it. Pure; control thread. */
#pragma once

#include <sluice/packet/flow.h>
#include <sluice/wire.h>

struct snapshot;

/**
 * Whether @flow, a copy that nobody changes, is one that @filter asks for. @snapshot: knows the prefixes
 * of mode snat; may be NULL.
 */
bool flow_record_matches(const struct snapshot *snapshot, const struct wire_flow_filter *filter,
			 const struct sl_flow *flow);

/**
 * Fills @record with @flow, a copy that nobody changes. @snapshot: for the timeout; may be NULL.
 * @now: the worker's clock, ticks.
 */
void flow_record_fill(const struct snapshot *snapshot, const struct sl_flow *flow, uint32_t worker,
		      uint32_t now, struct wire_flow_record *record);
