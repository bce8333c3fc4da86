/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * The lane that nearly all packets take: common frames (sl_parse_is_common4(), _6()) of flows in this
 * worker's own table, with nothing about them to be decided. They pass through short loops, each
 * of which waits for the memory that the one before has asked for; what the lane does not take is left
 * in the burst and goes the long way of worker.c, which judges it from the start. What a packet means
 * is said by the packet core here as there.
 *
 * A flow that is in this worker's table is this worker's, whatever the steering says by now: so nobody
 * is asked for the owner of these frames. Packets that are left are sent after those that are not, and
 * within a flow that mixes the two in one burst they are overtaken.
 */
#pragma once

#include <sluice/packet/common.h>

#include "dataplane/dpdk/balance.h"
#include "dataplane/dpdk/hash_burst.h"

enum {
	LANE_LEFT = 0, /* of lane.family: the packet is none for the lane */
	LANE_MANY_BACKENDS = 1024,
};

_Static_assert((int)BURST_SIZE == (int)HASH_BURST, "a column for each packet");

struct lane {
	_Alignas(64) uint64_t hash[BURST_SIZE];
	struct hash_words words;
	uint32_t reference[BURST_SIZE];
	struct sl_flow *flow[BURST_SIZE];
	uint16_t adjacency[BURST_SIZE];
	uint8_t family[BURST_SIZE];  /* enum sl_family of the common ones */
	uint8_t port[BURST_SIZE];    /* of those that are rewritten: where they leave, */
	uint8_t verdict[BURST_SIZE]; /* and as what */
	uint32_t families;           /* bits 1 << family */
};

/* Which frames are common, and the words of their tuples. */
static inline void lane_look(const struct dataplane *dataplane, struct lane *lane,
			     struct rte_mbuf *const *packet, uint16_t n)
{
	uint16_t port = RTE_MAX_ETHPORTS;
	uint64_t mac = 0;

	lane->families = 0;
	for (uint16_t i = 0; i < n; i++) {
		const uint8_t *data = rte_pktmbuf_mtod(packet[i], const uint8_t *);
		uint32_t length = packet[i]->data_len;
		uint8_t family = LANE_LEFT;

		/* Most bursts are of one port. */
		if (SL_UNLIKELY(packet[i]->port != port)) {
			port = packet[i]->port;
			mac = sl_mac_word(dataplane->port[dataplane->port_of_id[port]].mac);
		}
		if (SL_LIKELY(packet[i]->nb_segs == 1)) {
			if (SL_LIKELY(sl_parse_is_common4(data, length, mac)))
				family = SL_FAMILY_IPV4;
			else if (sl_parse_is_common6(data, length, mac))
				family = SL_FAMILY_IPV6;
		}
		if (SL_LIKELY(family == SL_FAMILY_IPV4)) {
			/* As sl_flow_hash() takes them: destination above source, ports likewise. */
			lane->words.row[0][i] = sl_load64(data + SL_COMMON4_ADDRESSES);
			lane->words.row[1][i] = (uint64_t)data[SL_COMMON4_PROTOCOL] << 32 |
						sl_load32(data + SL_COMMON4_L4);
		} else if (family == SL_FAMILY_IPV6) {
			for (int word = 0; word < 4; word++)
				lane->words.row[word][i] =
					sl_load64(data + SL_COMMON6_ADDRESSES + 8 * word);
			lane->words.row[4][i] = (uint64_t)data[SL_COMMON6_PROTOCOL] << 32 |
						sl_load32(data + SL_COMMON6_L4);
		}
		lane->family[i] = family;
		lane->families |= 1u << family;
	}
}

/* The hashes, and ask for the buckets. */
static inline void lane_hash(struct worker *worker, struct lane *lane, uint16_t n)
{
	const struct sl_hash_key *key = &worker->flows4.key;
	uint64_t hash6[BURST_SIZE];

	if (SL_LIKELY(lane->families & 1u << SL_FAMILY_IPV4))
		hash_burst(key, &lane->words, n, SL_FAMILY_IPV4, lane->hash);
	if (SL_UNLIKELY(lane->families & 1u << SL_FAMILY_IPV6)) {
		hash_burst(key, &lane->words, n, SL_FAMILY_IPV6, hash6);
		for (uint16_t i = 0; i < n; i++)
			if (lane->family[i] == SL_FAMILY_IPV6)
				lane->hash[i] = hash6[i];
	}
	for (uint16_t i = 0; i < n; i++) {
		if (SL_LIKELY(lane->family[i] == SL_FAMILY_IPV4))
			flow_table_prefetch(&worker->flows4, lane->hash[i]);
		else if (lane->family[i] == SL_FAMILY_IPV6)
			flow_table_prefetch(&worker->flows6, lane->hash[i]);
	}
}

/* What the buckets name, and ask for it. Few keys are in their second bucket. */
static inline void lane_peek(struct worker *worker, struct lane *lane, uint16_t n)
{
	uint64_t missed = 0;

	for (uint16_t i = 0; i < n; i++) {
		uint32_t reference = 0;
		bool may_be_second = false;

		if (SL_LIKELY(lane->family[i] == SL_FAMILY_IPV4))
			reference = flow_table_peek_first(&worker->flows4, lane->hash[i],
							  &may_be_second);
		else if (lane->family[i] == SL_FAMILY_IPV6)
			reference = flow_table_peek_first(&worker->flows6, lane->hash[i],
							  &may_be_second);
		lane->reference[i] = reference;
		missed |= (uint64_t)may_be_second << i;
	}
	for (; missed != 0; missed &= missed - 1) {
		int i = __builtin_ctzll(missed);

		lane->reference[i] = flow_table_peek_second(worker_table(worker, lane->family[i]),
							    lane->hash[i]);
	}
}

/* Whether the common frame at @data, of @family, is one of the flow that its reference names. */
static inline bool lane_matches(const struct sl_flow *flow, const uint8_t *data, uint8_t family,
				uint32_t direction)
{
	/* Both lie in a flow as they lie in its packets: client's and service's, backend's and source's. */
	const be16_t *ports = &flow->client_port + 2 * direction;

	if (family == SL_FAMILY_IPV4) {
		const struct sl_flow_ipv4 *flow4 = (const struct sl_flow_ipv4 *)flow;

		return sl_load64(&flow4->addr[2 * direction]) ==
			       sl_load64(data + SL_COMMON4_ADDRESSES) &&
		       sl_load32(ports) == sl_load32(data + SL_COMMON4_L4) &&
		       flow->protocol == data[SL_COMMON4_PROTOCOL] && flow->state != SL_FLOW_FREE;
	} else {
		const uint8_t *addr = ((const struct sl_flow_ipv6 *)flow)->addr[2 * direction].byte;
		uint64_t differ = 0;

		for (int i = 0; i < 32; i += 8)
			differ |= sl_load64(addr + i) ^ sl_load64(data + SL_COMMON6_ADDRESSES + i);
		return differ == 0 && sl_load32(ports) == sl_load32(data + SL_COMMON6_L4) &&
		       flow->protocol == data[SL_COMMON6_PROTOCOL] && flow->state != SL_FLOW_FREE;
	}
}

/* The flow of packet @i, of @family, a constant; or NULL. */
static inline struct sl_flow *lane_match(struct worker *worker, const struct lane *lane, uint16_t i,
					 const struct rte_mbuf *frame, uint8_t family)
{
	uint32_t reference = lane->reference[i];
	const uint8_t *data = rte_pktmbuf_mtod(frame, const uint8_t *);
	struct sl_flow *flow;

	if (SL_UNLIKELY(reference == 0))
		return NULL;
	flow = flow_table_of(family == SL_FAMILY_IPV4 ? &worker->flows4 : &worker->flows6,
			     reference);
	return SL_LIKELY(lane_matches(flow, data, family, reference & 1)) ? flow : NULL;
}

/* Finds the packets' flows. */
static inline void lane_find(struct worker *worker, const struct snapshot *snapshot,
			     struct lane *lane, struct rte_mbuf *const *packet, uint16_t n)
{
	/* So many that their records and counters do not stay in the CPU's caches. */
	bool has_many = snapshot->n_backends > LANE_MANY_BACKENDS;

	for (uint16_t i = 0; i < n; i++) {
		struct sl_flow *flow = NULL;

		if (SL_LIKELY(lane->family[i] == SL_FAMILY_IPV4))
			flow = lane_match(worker, lane, i, packet[i], SL_FAMILY_IPV4);
		else if (lane->family[i] == SL_FAMILY_IPV6)
			flow = lane_match(worker, lane, i, packet[i], SL_FAMILY_IPV6);
		lane->flow[i] = flow;
		if (SL_UNLIKELY(has_many) && flow != NULL) {
			__builtin_prefetch(&snapshot->backend[flow->backend]);
			__builtin_prefetch(&worker->backend_counters[flow->backend], 1);
			__builtin_prefetch(&worker->service_counters[flow->service], 1);
		}
	}
}

/* Where the packets go; those of whom more is to be decided have no flow from here on. */
static inline void lane_route(struct worker *worker, const struct snapshot *snapshot,
			      struct lane *lane, uint16_t n)
{
	for (uint16_t i = 0; i < n; i++) {
		struct sl_flow *flow = lane->flow[i];
		const struct sl_backend *backend;

		if (SL_UNLIKELY(flow == NULL))
			continue;
		backend = lookup_flow_backend(snapshot, flow);
		if (SL_UNLIKELY(backend == NULL || sl_flow_has_header(flow)))
			lane->flow[i] = NULL;
		else if ((lane->reference[i] & 1) == SL_DIRECTION_FORWARD)
			lane->adjacency[i] = backend->adjacency;
		else
			lane->adjacency[i] = dispatch_client_adjacency(worker, flow);
	}
}

/* What the packets of one service add up to, until one of another comes. */
struct lane_sum {
	uint32_t service;
	uint32_t packets[2]; /* by direction, and so the next */
	uint32_t bytes[2];
};

static inline void lane_add_up(struct worker *worker, struct lane_sum *sum)
{
	struct service_line *counters = &worker->service_counters[sum->service];

	counters->packets_in += sum->packets[SL_DIRECTION_FORWARD];
	counters->bytes_in += sum->bytes[SL_DIRECTION_FORWARD];
	counters->packets_out += sum->packets[SL_DIRECTION_REPLY];
	counters->bytes_out += sum->bytes[SL_DIRECTION_REPLY];
	*sum = (struct lane_sum){.service = sum->service};
}

static inline void lane_count(struct worker *worker, struct lane_sum *sum,
			      const struct sl_flow *flow, enum sl_direction direction,
			      uint32_t length)
{
	struct backend_line *backend = &worker->backend_counters[flow->backend];

	if (SL_UNLIKELY(flow->service != sum->service)) {
		lane_add_up(worker, sum);
		sum->service = flow->service;
	}
	sum->packets[direction]++;
	sum->bytes[direction] += length;
	if (direction == SL_DIRECTION_FORWARD) {
		backend->packets_in++;
		backend->bytes_in += length;
	} else {
		backend->packets_out++;
		backend->bytes_out += length;
	}
}

/* Rewrites packet @i, of @family, a constant, unless it may not go its way. */
static inline bool lane_rewrite(struct worker *worker, struct lane *lane, struct lane_sum *sum,
				uint16_t i, struct rte_mbuf *frame, uint8_t family)
{
	struct sl_flow *flow = lane->flow[i];
	enum sl_direction direction = (enum sl_direction)(lane->reference[i] & 1);
	const struct sl_adjacency *adjacency = &worker->dataplane->adjacency[lane->adjacency[i]];
	struct sl_packet packet;
	struct sl_rewrite to;

	sl_parse_common(rte_pktmbuf_mtod(frame, uint8_t *), family, &packet);
	if (SL_UNLIKELY(!__atomic_load_n(&adjacency->is_valid, __ATOMIC_ACQUIRE) ||
			!sl_nat_has_ttl(&packet) ||
			(sl_flow_is_over(flow) && sl_flow_is_opening(&packet))))
		return false;
	balance_track(worker, flow, direction, &packet);
	sl_flow_rewrite_as(flow, family, direction, &to);
	sl_nat_rewrite(&packet, &to);
	sl_nat_ethernet(packet.ethernet, adjacency->destination_mac, adjacency->source_mac);
	lane->port[i] = (uint8_t)adjacency->port;
	lane->verdict[i] =
		direction == SL_DIRECTION_FORWARD ? SL_VERDICT_FORWARD : SL_VERDICT_REPLY;
	lane_count(worker, sum, flow, direction, frame->pkt_len);
	return true;
}

/* The last loop. */
static inline uint64_t lane_send(struct worker *worker, struct lane *lane,
				 struct rte_mbuf *const *packet, uint16_t n)
{
	struct lane_sum sum = {.service = 0};
	uint64_t passed = 0;

	for (uint16_t i = 0; i < n; i++) {
		bool has_passed = false;

		if (SL_UNLIKELY(lane->flow[i] == NULL))
			continue;
		if (SL_LIKELY(lane->family[i] == SL_FAMILY_IPV4))
			has_passed = lane_rewrite(worker, lane, &sum, i, packet[i], SL_FAMILY_IPV4);
		else
			has_passed = lane_rewrite(worker, lane, &sum, i, packet[i], SL_FAMILY_IPV6);
		passed |= (uint64_t)has_passed << i;
	}
	lane_add_up(worker, &sum);
	return passed;
}

/**
 * Rewrites those of the @n packets that are for the lane. Returns their bits.
 * @snapshot: the one of the burst; not NULL. The worker's thread.
 */
static inline uint64_t lane_pass(struct worker *worker, const struct snapshot *snapshot,
				 struct lane *lane, struct rte_mbuf *const *packet, uint16_t n)
{
	lane_look(worker->dataplane, lane, packet, n);
	lane_hash(worker, lane, n);
	lane_peek(worker, lane, n);
	lane_find(worker, snapshot, lane, packet, n);
	lane_route(worker, snapshot, lane, n);
	return lane_send(worker, lane, packet, n);
}
