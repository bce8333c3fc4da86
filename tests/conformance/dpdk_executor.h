/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* What the executor of the DPDK engine gives to its own last checks (dpdk_checks.c). */
#pragma once

#include "dataplane/dpdk/engine.h"
#include "tests/conformance/conformance.h"

enum {
	DEVICE_RING_SIZE = 1024, /* of which one place is never used */
};

/* The wire's ends of one port. */
struct device {
	const char *ring_name; /* DPDK calls the device net_ring_ and this */
	const char *kernel_interface;
	struct rte_ring *rx;
	struct rte_ring *tx;
	int packet_socket; /* at the TAP */
};

extern struct device devices[CONFORMANCE_N_PORTS];
extern struct dataplane *dataplane;

/** Whether more has passed since @start_tsc than anything of ours may take. */
bool is_over(uint64_t start_tsc);

/** Empties a transmit ring; returns @wanted if it was there, for the caller to free. */
struct rte_mbuf *device_drain(struct device *device, const struct rte_mbuf *wanted);

/** A chain of @n_segments: @first bytes, then a few in each, then the rest. NULL: out of buffers. */
struct rte_mbuf *make_chain(const uint8_t *frame, size_t length, unsigned int n_segments,
			    size_t first);

/** As executor_send(). @packet: consumed. */
int send_packet(enum conformance_port port, struct rte_mbuf *packet,
		struct executor_result *result);

/** What vectors cannot say: chains, a port that takes no more, a storm; and that all buffers are back. */
void dpdk_check_last(void);
