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
#include "dataplane/dpdk/look_burst.h"
#include "dataplane/dpdk/rewrite_burst.h"

enum {
	LANE_LEFT = 0, /* of lane.family: the packet is none for the lane */
	LANE_MANY_BACKENDS = 1024,
	LANE_MAC_BYTES = 12, /* destination and source */
	LANE_PACKETS_IN = offsetof(struct backend_line, packets_in) / sizeof(uint64_t),
};

_Static_assert(SL_MAX_PORTS <= 32, "lane.ports has room");
_Static_assert(offsetof(struct sl_adjacency, destination_mac) == 0 &&
		       offsetof(struct sl_adjacency, source_mac) ==
			       offsetof(struct sl_adjacency, destination_mac) + 6 &&
		       offsetof(struct sl_ethernet, source) ==
			       offsetof(struct sl_ethernet, destination) + 6,
	       "lane_rewrite() copies both at once");
_Static_assert(offsetof(struct rte_mbuf, nb_segs) == offsetof(struct rte_mbuf, rearm_data) + 4 &&
		       offsetof(struct rte_mbuf, port) ==
			       offsetof(struct rte_mbuf, nb_segs) + sizeof(uint16_t) &&
		       offsetof(struct rte_mbuf, data_len) ==
			       offsetof(struct rte_mbuf, rx_descriptor_fields1) + 8,
	       "lane_look_at_heads() reads them where they lie");

_Static_assert((int)BURST_SIZE == (int)HASH_BURST, "a column for each packet");
_Static_assert(offsetof(struct backend_line, bytes_in) ==
			       offsetof(struct backend_line, packets_in) + sizeof(uint64_t) &&
		       offsetof(struct backend_line, packets_out) ==
			       offsetof(struct backend_line, packets_in) + 2 * sizeof(uint64_t) &&
		       offsetof(struct backend_line, bytes_out) ==
			       offsetof(struct backend_line, packets_in) + 3 * sizeof(uint64_t),
	       "lane_count() finds them by direction");

struct lane {
	_Alignas(64) uint64_t hash[BURST_SIZE];
	struct hash_words words;
	struct rewrite_columns columns; /* of a burst of IPv4 alone */
	uint32_t reference[BURST_SIZE];
	struct sl_flow *flow[BURST_SIZE];
	uint16_t adjacency[BURST_SIZE];
	uint8_t family[BURST_SIZE];  /* enum sl_family of the common ones */
	uint8_t port[BURST_SIZE];    /* of those that are rewritten: where they leave, */
	uint8_t verdict[BURST_SIZE]; /* and as what */
	uint32_t families;           /* bits 1 << family */
	uint32_t ports;              /* bits 1 << port, of those that are rewritten, */
	uint32_t bytes;              /* and how much they are */
};

/* Which family @frame is common of, asked by itself, if it is of one segment; @mac: its port's. */
static inline uint8_t lane_family(const struct rte_mbuf *frame, uint64_t mac)
{
	const uint8_t *data = rte_pktmbuf_mtod(frame, const uint8_t *);

	if (frame->nb_segs != 1)
		return LANE_LEFT;
	if (sl_parse_is_common4(data, frame->data_len, mac))
		return SL_FAMILY_IPV4;
	return sl_parse_is_common6(data, frame->data_len, mac) ? SL_FAMILY_IPV6 : LANE_LEFT;
}

/* What most packets of a burst are, the first one is. */
static inline bool lane_is_ipv4(const struct rte_mbuf *frame)
{
	return sl_load16(rte_pktmbuf_mtod(frame, const uint8_t *) +
			 offsetof(struct sl_ethernet, type)) == SL_BE16(SL_ETHERTYPE_IPV4);
}

/* The words of the tuple of packet @i, which is common of @family, as sl_flow_hash() takes them. */
static inline void lane_put_words(struct lane *lane, uint16_t i, const uint8_t *data,
				  uint8_t family)
{
	if (SL_LIKELY(family == SL_FAMILY_IPV4)) {
		lane->words.row[0][i] = sl_load64(data + SL_COMMON4_ADDRESSES);
		lane->words.row[1][i] =
			(uint64_t)data[SL_COMMON4_PROTOCOL] << 32 | sl_load32(data + SL_COMMON4_L4);
	} else if (family == SL_FAMILY_IPV6) {
		for (int word = 0; word < 4; word++)
			lane->words.row[word][i] =
				sl_load64(data + SL_COMMON6_ADDRESSES + 8 * word);
		lane->words.row[4][i] =
			(uint64_t)data[SL_COMMON6_PROTOCOL] << 32 | sl_load32(data + SL_COMMON6_L4);
	}
}

/* What is left of packet @i, which may be none for many at once: asked by itself. */
static inline void lane_look_alone(const struct dataplane *dataplane, struct lane *lane,
				   const struct rte_mbuf *frame, uint16_t i)
{
	uint8_t family = lane_family(
		frame, sl_mac_word(dataplane->port[dataplane->port_of_id[frame->port]].mac));

	lane_put_words(lane, i, rte_pktmbuf_mtod(frame, const uint8_t *), family);
	lane->family[i] = family;
	lane->families |= 1u << family;
}

/*
 * What nb_segs and port are to be, as they lie in a buffer's head, and how long frames are. Both lie at the
 * same place of each, and are turned as the frames' words are.
 */
static inline void lane_look_at_heads(struct rte_mbuf *const *packet, uint32_t segment,
				      struct look *look)
{
	const uint8_t *const *head = (const uint8_t *const *)(const void *)packet;
	look_vector word[4];

	look_turn(head, offsetof(struct rte_mbuf, rearm_data), word);
	look->is_bad = word[1] ^ segment;
	look_turn(head, offsetof(struct rte_mbuf, rx_descriptor_fields1), word);
	look->length = word[2] & 0xffff;
#pragma GCC unroll 8
	for (int i = 0; i < LOOK_LANES; i++)
		look->data[i] = SL_LIKELY(packet[i]->data_len >= LOOK_MIN_BYTES)
					? rte_pktmbuf_mtod(packet[i], const uint8_t *)
					: look_nothing;
}

/* Packets @first to @first + LOOK_LANES at once; @mac and @segment: of most of them. */
static inline void lane_look_at(const struct dataplane *dataplane, struct lane *lane,
				struct rte_mbuf *const *packet, uint16_t first, uint64_t mac,
				uint32_t segment)
{
	struct look look = {.addresses = &lane->words.row[0][first],
			    .ports = &lane->words.row[1][first]};

	lane_look_at_heads(packet + first, segment, &look);
	memset(lane->family + first, SL_FAMILY_IPV4, LOOK_LANES);
	lane->families |= 1u << SL_FAMILY_IPV4;
	if (SL_LIKELY(look_burst(&look, mac)))
		return;
	for (uint16_t i = 0; i < LOOK_LANES; i++)
		if (look.is_bad[i] != 0)
			lane_look_alone(dataplane, lane, packet[first + i], (uint16_t)(first + i));
}

/* Which frames are common, and the words of their tuples. */
static inline void lane_look(const struct dataplane *dataplane, struct lane *lane,
			     struct rte_mbuf *const *packet, uint16_t n)
{
	uint16_t port = packet[0]->port;
	uint64_t mac = sl_mac_word(dataplane->port[dataplane->port_of_id[port]].mac);
	uint16_t i = 0;

	lane->families = 0;
	if (SL_LIKELY(lane_is_ipv4(packet[0])))
		for (; i + LOOK_LANES <= n; i = (uint16_t)(i + LOOK_LANES))
			lane_look_at(dataplane, lane, packet, i, mac, (uint32_t)port << 16 | 1);
	for (; i < n; i++)
		lane_look_alone(dataplane, lane, packet[i], i);
}

/* The family of packet @i. @only: all packets' family, a constant; LANE_LEFT: they differ. */
SL_INLINE uint8_t lane_family_of(const struct lane *lane, uint16_t i, uint8_t only)
{
	return only != LANE_LEFT ? only : lane->family[i];
}

/* The hashes. */
static inline void lane_hash(struct worker *worker, struct lane *lane, uint16_t n)
{
	const struct sl_hash_key *key = &worker->flows4.key;
	uint64_t hash6[BURST_SIZE];

	if (lane->families == 1u << SL_FAMILY_IPV6) {
		hash_burst(key, &lane->words, n, SL_FAMILY_IPV6, lane->hash);
		return;
	}
	if (SL_LIKELY(lane->families & 1u << SL_FAMILY_IPV4))
		hash_burst(key, &lane->words, n, SL_FAMILY_IPV4, lane->hash);
	if (SL_UNLIKELY(lane->families & 1u << SL_FAMILY_IPV6)) {
		hash_burst(key, &lane->words, n, SL_FAMILY_IPV6, hash6);
		for (uint16_t i = 0; i < n; i++)
			if (lane->family[i] == SL_FAMILY_IPV6)
				lane->hash[i] = hash6[i];
	}
}

SL_INLINE void lane_prefetch(struct worker *worker, const struct lane *lane, uint16_t n,
			     uint8_t only)
{
	for (uint16_t i = 0; i < n; i++) {
		uint8_t family = lane_family_of(lane, i, only);

		if (SL_LIKELY(family == SL_FAMILY_IPV4))
			flow_table_prefetch(&worker->flows4, lane->hash[i]);
		else if (family == SL_FAMILY_IPV6)
			flow_table_prefetch(&worker->flows6, lane->hash[i]);
	}
}

/* What the buckets name, and ask for it. Few keys are in their second bucket. */
SL_INLINE void lane_peek(struct worker *worker, struct lane *lane, uint16_t n, uint8_t only)
{
	uint64_t missed = 0;

	for (uint16_t i = 0; i < n; i++) {
		uint8_t family = lane_family_of(lane, i, only);
		uint32_t reference = 0;
		bool may_be_second = false;

		if (SL_LIKELY(family == SL_FAMILY_IPV4))
			reference = flow_table_peek_first(&worker->flows4, lane->hash[i],
							  &may_be_second);
		else if (family == SL_FAMILY_IPV6)
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
SL_INLINE void lane_find(struct worker *worker, const struct snapshot *snapshot, struct lane *lane,
			 struct rte_mbuf *const *packet, uint16_t n, uint8_t only)
{
	/* So many that their records and counters do not stay in the CPU's caches. */
	bool has_many = snapshot->n_backends > LANE_MANY_BACKENDS;

	for (uint16_t i = 0; i < n; i++) {
		uint8_t family = lane_family_of(lane, i, only);
		struct sl_flow *flow = NULL;

		if (SL_LIKELY(family == SL_FAMILY_IPV4))
			flow = lane_match(worker, lane, i, packet[i], SL_FAMILY_IPV4);
		else if (family == SL_FAMILY_IPV6)
			flow = lane_match(worker, lane, i, packet[i], SL_FAMILY_IPV6);
		lane->flow[i] = flow;
		if (SL_UNLIKELY(has_many) && flow != NULL) {
			__builtin_prefetch(&worker->backend_counters[flow->backend], 1);
			if (SL_UNLIKELY(worker->is_refreshing))
				__builtin_prefetch(&snapshot->backend[flow->backend]);
		}
	}
}

/*
 * Copies what the lane needs of the flow's backend into the line where it counts, which most packets touch
 * in place of the snapshot's record. False: the flow has no backend that takes its packets.
 */
static inline bool lane_refresh(struct worker *worker, const struct snapshot *snapshot,
				const struct sl_flow *flow, uint64_t stamp)
{
	struct backend_line *line = &worker->backend_counters[flow->backend];
	const struct sl_backend *backend = lookup_flow_backend(snapshot, flow);

	worker->is_refreshing = true;
	if (backend == NULL)
		return false;
	line->epoch = backend->epoch;
	line->adjacency = __atomic_load_n(&backend->adjacency, __ATOMIC_RELAXED);
	line->next_hop_stamp = stamp;
	return true;
}

/* Whether the flow's backend takes its packets; its line then says where they go. */
static inline bool lane_has_backend(struct worker *worker, const struct snapshot *snapshot,
				    const struct sl_flow *flow, uint64_t stamp)
{
	const struct backend_line *line = &worker->backend_counters[flow->backend];

	return SL_LIKELY(line->next_hop_stamp == stamp && line->epoch == flow->backend_epoch) ||
	       lane_refresh(worker, snapshot, flow, stamp);
}

/* The next hop of a packet of @flow in @direction, without a branch on that. */
static inline uint16_t lane_adjacency(struct worker *worker, struct sl_flow *flow,
				      uint16_t generation, uint32_t direction)
{
	uint32_t is_stale = (flow->route_generation != generation) |
			    (flow->client_adjacency < SL_ADJACENCY_FIRST);
	uint16_t to_backend = worker->backend_counters[flow->backend].adjacency;
	uint16_t to_client = flow->client_adjacency;

	if (SL_UNLIKELY((is_stale & direction) != 0))
		return dispatch_ask_adjacency(worker, flow);
	return direction == SL_DIRECTION_FORWARD ? to_backend : to_client;
}

/* What packet @i, of IPv4, of @flow is rewritten to. */
static inline void lane_put_column(struct lane *lane, uint16_t i, const struct sl_flow *flow)
{
	struct sl_rewrite to;

	sl_flow_rewrite_either(flow, SL_FAMILY_IPV4, (enum sl_direction)(lane->reference[i] & 1),
			       &to);
	rewrite_put(&lane->columns, i, &to);
}

/* Where the packets go; those of whom more is to be decided have no flow from here on. */
SL_INLINE void lane_route(struct worker *worker, const struct snapshot *snapshot, struct lane *lane,
			  uint16_t n, uint8_t only)
{
	uint16_t generation =
		__atomic_load_n(&worker->dataplane->route_generation, __ATOMIC_ACQUIRE);
	uint64_t stamp = __atomic_load_n(&snapshot->next_hop_stamp, __ATOMIC_ACQUIRE);

	worker->is_refreshing = false;
	for (uint16_t i = 0; i < n; i++) {
		struct sl_flow *flow = lane->flow[i];

		if (SL_UNLIKELY(flow == NULL))
			continue;
		if (only == SL_FAMILY_IPV4)
			lane_put_column(lane, i, flow);
		if (SL_UNLIKELY(!lane_has_backend(worker, snapshot, flow, stamp) ||
				sl_flow_has_header(flow)))
			lane->flow[i] = NULL;
		else
			lane->adjacency[i] =
				lane_adjacency(worker, flow, generation, lane->reference[i] & 1);
	}
}

/* What the packets that are rewritten add up to. */
struct lane_sum {
	uint32_t ports; /* where they leave, bits 1 << port */
	uint32_t bytes;
};

static inline void lane_count(struct worker *worker, const struct sl_flow *flow,
			      enum sl_direction direction, uint32_t length)
{
	/* Packets and bytes of a direction. Without a branch: directions come as they please. */
	uint64_t *backend = (uint64_t *)(void *)&worker->backend_counters[flow->backend] +
			    LANE_PACKETS_IN + 2 * direction;

	backend[0]++;
	backend[1] += length;
}

/*
 * Rewrites packet @i, of @family, a constant, unless it may not go its way. @has_column: what it is
 * rewritten to is in lane.columns; a constant.
 */
SL_INLINE bool lane_rewrite(struct worker *worker, struct lane *lane, struct lane_sum *sum,
			    uint16_t i, struct rte_mbuf *frame, uint8_t family, bool has_column)
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
	if (has_column) {
		rewrite_packet(&lane->columns, i, &packet);
	} else {
		sl_flow_rewrite_either(flow, family, direction, &to);
		sl_nat_rewrite(&packet, &to);
	}
	/* Both addresses lie there as they do in a frame. */
	memcpy(packet.ethernet, adjacency, LANE_MAC_BYTES);
	lane->port[i] = (uint8_t)adjacency->port;
	sum->ports |= 1u << adjacency->port;
	sum->bytes += frame->pkt_len;
	lane->verdict[i] =
		direction == SL_DIRECTION_FORWARD ? SL_VERDICT_FORWARD : SL_VERDICT_REPLY;
	lane_count(worker, flow, direction, frame->pkt_len);
	return true;
}

/* The last loop. */
SL_INLINE uint64_t lane_send(struct worker *worker, struct lane *lane,
			     struct rte_mbuf *const *packet, uint16_t n, uint8_t only)
{
	struct lane_sum sum = {.ports = 0};
	uint64_t passed = 0;

	for (uint16_t i = 0; i < n; i++) {
		bool has_passed = false;

		if (SL_UNLIKELY(lane->flow[i] == NULL))
			continue;
		if (SL_LIKELY(lane_family_of(lane, i, only) == SL_FAMILY_IPV4))
			has_passed = lane_rewrite(worker, lane, &sum, i, packet[i], SL_FAMILY_IPV4,
						  only == SL_FAMILY_IPV4);
		else
			has_passed = lane_rewrite(worker, lane, &sum, i, packet[i], SL_FAMILY_IPV6,
						  false);
		passed |= (uint64_t)has_passed << i;
	}
	lane->ports = sum.ports;
	lane->bytes = sum.bytes;
	return passed;
}

/* What follows once the packets were looked at. */
SL_INLINE uint64_t lane_run(struct worker *worker, const struct snapshot *snapshot,
			    struct lane *lane, struct rte_mbuf *const *packet, uint16_t n,
			    uint8_t only)
{
	lane_prefetch(worker, lane, n, only);
	lane_peek(worker, lane, n, only);
	lane_find(worker, snapshot, lane, packet, n, only);
	lane_route(worker, snapshot, lane, n, only);
	if (only == SL_FAMILY_IPV4)
		rewrite_burst(&lane->words, &lane->columns, n);
	return lane_send(worker, lane, packet, n, only);
}

/* Column @from becomes column @to. */
static inline void lane_move(struct lane *lane, uint16_t from, uint16_t to)
{
	lane->family[to] = lane->family[from];
	for (int row = 0; row < HASH_WORDS_IPV6; row++)
		lane->words.row[row][to] = lane->words.row[row][from];
}

/**
 * Rewrites those of the @n packets, which lane_look() has looked at, that are for the lane. Returns their bits.
 * @snapshot: the one of the burst; not NULL. The worker's thread.
 */
static inline uint64_t lane_pass(struct worker *worker, const struct snapshot *snapshot,
				 struct lane *lane, struct rte_mbuf *const *packet, uint16_t n)
{
	lane_hash(worker, lane, n);
	if (SL_LIKELY(lane->families == 1u << SL_FAMILY_IPV4))
		return lane_run(worker, snapshot, lane, packet, n, SL_FAMILY_IPV4);
	return lane_run(worker, snapshot, lane, packet, n, LANE_LEFT);
}
