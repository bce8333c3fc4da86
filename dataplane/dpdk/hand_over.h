/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* Frames that go to other workers' rings. */
#pragma once

#include "dataplane/dpdk/burst.h"

/*
 * The lane needs nobody's word for a flow that it finds, so where cards steer right its frames are asked about
 * only when it has found none. Where many frames are others' that is a look in vain for each, into memory that the
 * next one needs: there all are asked about before it.
 */

/**
 * Frames of the @burst that are other workers', as far as the lane has looked at them, leave it for those workers'
 * rings, unparsed. Only where nobody but its present owner may have a flow. The worker's thread.
 */
void hand_over(struct worker *worker, const struct snapshot *snapshot, struct burst *burst);

/** The same as soon as lane_look() has looked at the burst: they leave the lane, too. */
void hand_over_first(struct worker *worker, const struct snapshot *snapshot, struct burst *burst);
