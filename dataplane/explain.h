/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * What explain.c, which tells the decision for one packet, asks of the engine that it is linked
 * with. All calls come from the control thread and change nothing.
 */
#pragma once

#include <sluice/packet/flow.h>

struct dataplane;
struct snapshot;

enum explain_hop_kind {
	EXPLAIN_HOP_NONE = 0,   /* no route through a port of ours */
	EXPLAIN_HOP_LOCAL,      /* the host itself */
	EXPLAIN_HOP_UNRESOLVED, /* the link address is not known yet */
	EXPLAIN_HOP_READY,
};

struct explain_hop {
	enum explain_hop_kind kind;
	uint32_t port; /* READY: index; name by engine_port_name() */
	uint8_t mac[6];
};

/** The published snapshot, or NULL. */
const struct snapshot *engine_snapshot(const struct dataplane *dataplane);

/** How many flows of @backend count for its limit now: those that are not closed. */
uint32_t engine_flows_of(const struct dataplane *dataplane, uint32_t backend);

const char *engine_port_name(const struct dataplane *dataplane, uint32_t port);

/** A copy of the flow that packets with @tuple belong to, and which way they go; false: none. */
bool engine_find_flow(struct dataplane *dataplane, const struct sl_tuple *tuple,
		      struct sl_flow_ipv6 *copy, enum sl_direction *direction);

/**
 * sl_affinity_word() of the live entry of the client of @service, by its stable index, that sends @tuple;
 * 0: none. *@left: ticks until it expires.
 */
uint64_t engine_find_affinity(struct dataplane *dataplane, uint32_t service,
			      const struct sl_tuple *tuple, uint32_t *left);

/**
 * Where a packet to @addr would go now. @backend: its index if the address is a backend's, else
 * SL_NO_INDEX.
 */
struct explain_hop engine_next_hop(struct dataplane *dataplane, const union sl_addr *addr,
				   uint8_t family, uint32_t backend);
