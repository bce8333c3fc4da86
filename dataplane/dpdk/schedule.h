/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* Which backend a new flow is given, where its hash alone does not say. Called by its worker. */
#pragma once

#include "dataplane/dpdk/engine.h"
#include "dataplane/lookup.h"

/** Flows of @backend that are not closed, of all workers: of others as they stood a moment ago. Any thread. */
uint32_t schedule_flows_of(const struct dataplane *dataplane, uint32_t backend);

/**
 * The backend of a new flow of @service, begun by @tuple: the one that its client keeps, else @choice's,
 * by the hash, unless the scheduler or a backend's limit says another. Not for packets that make no flow: these go by the hash, so that all of a
 * connection go the same way. SL_NO_INDEX, though @choice has a backend: each has as many flows as it
 * may.
 */
uint32_t schedule_backend(struct worker *worker, const struct snapshot *snapshot, uint32_t service,
			  const struct sl_tuple *tuple, const struct choice *choice);
