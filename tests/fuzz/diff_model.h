/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * The reference of the differential targets: what becomes of a frame, from the packet core and a
 * snapshot alone, by the rules of dataplane/dpdk/balance.c. Flows are a plain list. Slow and simple
 * on purpose: no table, no filter, no cache of next hops.
 *
 * One rule differs from the DPDK engine's where a tuple could be one flow's way there and another's
 * way back: a packet's flow is looked for in the direction of the client first, and only ways back
 * are held against each other. Where addresses change their role while flows live, the DPDK engine
 * takes whichever its index meets first.
 */
#pragma once

#include <sluice/packet/flow.h>
#include <sluice/packet/fragment.h>

#include "dataplane/snapshot.h"

enum {
	MODEL_MAX_FLOWS = 8192,       /* both families together */
	MODEL_MAX_DATAGRAMS = 8192,   /* whose fragments are under way: the latest */
	MODEL_MAX_AFFINITIES = 16384, /* the latest */
	MODEL_MAX_PORTS = 2,
	MODEL_MTU = 1500,
};

/** Next hop of @addr: an index of model.adjacency, or SL_ADJACENCY_NONE, _LOCAL, _GLEAN. */
typedef uint32_t (*model_route)(const union sl_addr *addr, uint8_t family);

/** Whether a fragment with these addresses may be a service's: an engine may take some for it wrongly. */
typedef bool (*model_may_be_ours)(const struct sl_tuple *tuple);

struct model_leave {
	bool has_room;   /* its table had a place for a new flow */
	bool may_answer; /* the sender's network had not been answered too often */
	bool has_room_for_datagram;
	uint32_t now; /* ticks; for datagrams alone */
};

/** Who keeps which backend; time stands still. */
struct model_affinity {
	union sl_addr prefix;
	uint32_t service;
	uint32_t backend;
	uint16_t service_epoch;
	uint16_t backend_epoch;
	bool is_used;
};

struct model {
	const struct snapshot *snapshot;
	model_route route;
	model_may_be_ours may_be_ours;
	const struct sl_adjacency *adjacency;
	uint8_t mac[MODEL_MAX_PORTS][6];
	uint32_t max_flows; /* of each family */
	uint32_t max_embryonic;
	uint32_t n_flows[2]; /* IPv4, IPv6 */
	uint32_t n_embryonic[2];
	uint32_t n; /* length of flow[] */
	struct sl_flow_ipv6 flow[MODEL_MAX_FLOWS];
	struct sl_datagram datagram[MODEL_MAX_DATAGRAMS];
	uint32_t next_datagram;
	uint32_t turn[SL_MAX_SERVICES][SL_N_AUDIENCES]; /* slot that comes next */
	struct model_affinity affinity[MODEL_MAX_AFFINITIES];
	uint32_t next_affinity;
	struct sl_counters counters;
	struct sl_service_counters service[SL_MAX_SERVICES];
	struct sl_backend_counters backend[SL_MAX_BACKENDS];
	struct sl_backend_openings openings[SL_MAX_BACKENDS];
};

/**
 * Judges @frame, which came in at @port, and rewrites it if it is to be sent: from *@out_port.
 * Or makes it the answer to its sender, if it is refused: *@length, for which there are
 * SL_REJECT_ROOM_IPV6 bytes of room, is then another, and *@is_answered true.
 * @leave: what is the engine's affair, and to be taken from it.
 */
enum sl_verdict model_packet(struct model *model, uint32_t port, uint8_t *frame, uint32_t *length,
			     const struct model_leave *leave, uint32_t *out_port,
			     bool *is_answered);

/**
 * Ends the flows whose service or backend is not there any more, but those that @is_kept says are to
 * stay; NULL: none.
 */
void model_sweep(struct model *model, bool (*is_kept)(const struct sl_flow *flow));

/** How many flows of @backend are not closed. */
uint64_t model_open_flows(const struct model *model, uint32_t backend);
