/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* The PROXY header of flows whose backend is told of the client. */
#pragma once

#include "dataplane/dpdk/worker.h"

/**
 * Makes @packet, one of @flow in @direction that nothing else keeps from being sent, what the other
 * side is to see: with the header, or with other numbers. @frame: of the packet; it may grow at its
 * head. @port: that it is to be sent from.
 * SL_VERDICT_NONE: done. Else why it is dropped; then nothing was written. The worker's thread.
 */
enum sl_verdict proxy_packet(struct rte_mbuf *frame, struct sl_packet *packet, struct sl_flow *flow,
			     enum sl_direction direction, const struct port *port) SL_MUST_USE;
