/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* Frames that go to other workers' rings. */
#pragma once

#include "dataplane/dpdk/burst.h"

/**
 * Frames of the @burst that are other workers', as far as the lane has looked at them, leave it for those workers'
 * rings, unparsed. Only where nobody but its present owner may have a flow. The worker's thread.
 */
void hand_over(struct worker *worker, const struct snapshot *snapshot, struct burst *burst);
