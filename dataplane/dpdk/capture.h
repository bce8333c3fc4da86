/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * Copies of packets for a capture. While one is on, a worker sets aside each packet of a burst as it
 * came, and once its verdict is known puts what the filter takes into a ring of its own, which was made
 * when the capture began. Called by workers only while worker->capture says so.
 */
#pragma once

#include "dataplane/dpdk/worker.h"

/** Sets aside the @n packets of a burst as they came. The worker's thread. */
void capture_stage(struct worker *worker, struct rte_mbuf *const *packet, uint16_t n);

/**
 * Copies @packet, which was set aside and has its verdict, as it came, and if it is to be sent, as it
 * goes. Before it is sent. The worker's thread.
 */
void capture_finish(struct worker *worker, const struct rte_mbuf *packet,
		    const struct outcome *outcome);

/** Copies what @packet, which capture_finish() had seen, has become: the answer to its sender. */
void capture_answer(struct worker *worker, const struct rte_mbuf *packet);

/** Frees @capture, which no worker reads any more. NULL is allowed. Control thread. */
void capture_free(struct capture *capture);
