/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * See hand_over.h. What a ring costs is the cache line of its head, which cores fight for: frames for a worker
 * are enqueued together.
 */
#include "dataplane/dpdk/hand_over.h"

#include "dataplane/dpdk/handoff.h"

enum {
	MANY_FOREIGN =
		8, /* of so many frames one is another worker's: the next burst is asked about first */
};

void worker_hand_off(struct worker *worker, struct rte_mbuf *packet, uint32_t to)
{
	struct dataplane *dataplane = worker->dataplane;
	struct steering_mark *mark = worker_mark(dataplane, packet);

	/* The bound is never met, unless workers disagree for longer than a change takes. */
	if (SL_UNLIKELY(mark->n_hops++ >= STEERING_MAX_HOPS) ||
	    rte_ring_enqueue(dataplane->worker[to]->handoff, packet) != 0) {
		worker->counters.verdict[SL_VERDICT_DROP_HANDOFF_FULL]++;
		rte_pktmbuf_free(packet);
		return;
	}
	worker->counters.event[SL_EVENT_HANDOFF]++;
}

/* @n frames, of which nobody was asked for the flow. */
static void hand_all(struct worker *worker, struct rte_mbuf **packet, uint16_t n, uint32_t to)
{
	struct dataplane *dataplane = worker->dataplane;
	unsigned int taken;

	for (uint16_t i = 0; i < n; i++)
		*worker_mark(dataplane, packet[i]) = (struct steering_mark){.n_hops = 1};
	taken = rte_ring_enqueue_burst(dataplane->worker[to]->handoff, (void **)packet, n, NULL);
	worker->counters.event[SL_EVENT_HANDOFF] += taken;
	worker->counters.verdict[SL_VERDICT_DROP_HANDOFF_FULL] += n - taken;
	if (SL_UNLIKELY(taken < n))
		rte_pktmbuf_free_bulk(packet + taken, n - taken);
}

/* The tuple whose words stand in @column. */
static struct sl_tuple tuple_of(const struct lane *lane, uint8_t column)
{
	bool is_ipv4 = lane->family[column] == SL_FAMILY_IPV4;
	uint64_t last = lane->words.row[is_ipv4 ? 1 : 4][column];
	struct sl_tuple tuple = {.family = lane->family[column],
				 .protocol = (uint8_t)(last >> 32),
				 .source_port = (be16_t)last,
				 .destination_port = (be16_t)(last >> 16)};

	if (SL_LIKELY(is_ipv4)) {
		tuple.source.ipv4 = (be32_t)lane->words.row[0][column];
		tuple.destination.ipv4 = (be32_t)(lane->words.row[0][column] >> 32);
		return tuple;
	}
	for (int i = 0; i < 4; i++) {
		uint64_t word = lane->words.row[i][column];
		union sl_addr *addr = i < 2 ? &tuple.source : &tuple.destination;

		addr->word[2 * (i & 1)] = (uint32_t)word;
		addr->word[2 * (i & 1) + 1] = (uint32_t)(word >> 32);
	}
	return tuple;
}

/* Ends of flows, all of one family, whose keyed hashes say who owns their packets. */
struct ends {
	struct hash_words words;
	uint8_t packet[BURST_SIZE];
	uint32_t n;
};

/* The address of a frame's destination, whose words stand in @column. */
static inline union sl_addr destination_of(const struct lane *lane, uint8_t column, uint8_t family)
{
	const uint64_t(*row)[HASH_BURST] = lane->words.row;

	if (SL_LIKELY(family == SL_FAMILY_IPV4))
		return (union sl_addr){.word = {(uint32_t)(row[0][column] >> 32)}};
	return (union sl_addr){.word = {(uint32_t)row[2][column], (uint32_t)(row[2][column] >> 32),
					(uint32_t)row[3][column],
					(uint32_t)(row[3][column] >> 32)}};
}

/* The words of the source's end of what stands in @column, or of the destination's, as steer_endpoint() hashes them. */
static inline void put_end(struct ends *ends, const struct lane *lane, uint8_t column,
			   uint8_t family, bool is_source)
{
	const uint64_t(*row)[HASH_BURST] = lane->words.row;
	uint32_t at = ends->n++;
	uint64_t last = row[family == SL_FAMILY_IPV4 ? 1 : 4][column];
	uint64_t port = is_source ? last & 0xffff : last >> 16 & 0xffff;

	last = (last & ~UINT64_C(0xffffffff)) | port;
	if (SL_LIKELY(family == SL_FAMILY_IPV4)) {
		ends->words.row[0][at] =
			is_source ? row[0][column] & 0xffffffff : row[0][column] >> 32;
		ends->words.row[1][at] = last;
		return;
	}
	for (int i = 0; i < 2; i++) {
		ends->words.row[i][at] = row[is_source ? i : 2 + i][column];
		ends->words.row[2 + i][at] = 0;
	}
	ends->words.row[4][at] = last;
}

/*
 * As steer_index() has it for most frames, but for the hash: those of mode nat, where no service is of mode snat.
 * False: ask it.
 */
static inline bool find_end(const struct snapshot *snapshot, const struct lane *lane,
			    uint8_t column, uint8_t family, struct ends *ends)
{
	uint64_t last = lane->words.row[family == SL_FAMILY_IPV4 ? 1 : 4][column];
	struct sl_tuple to = {.destination = destination_of(lane, column, family),
			      .destination_port = (be16_t)(last >> 16),
			      .protocol = (uint8_t)(last >> 32),
			      .family = family};
	uint32_t service = lookup_service(snapshot, &to);
	bool is_forward = service != SL_NO_INDEX;

	if (is_forward ? snapshot->service[service].mode == WIRE_MODE_FULLNAT
		       : snapshot_is_source_address(snapshot, &to.destination, family))
		return false;
	put_end(ends, lane, column, family, is_forward);
	return true;
}

static void take_owners(const struct worker *worker, const struct ends *ends, uint8_t family,
			uint8_t *owner)
{
	const struct steering *steering = worker->steering;
	_Alignas(64) uint64_t hash[HASH_BURST];

	hash_burst(&worker->flows4.key, &ends->words, ends->n, family, hash);
	for (uint32_t i = 0; i < ends->n; i++)
		owner[ends->packet[i]] =
			steering->reta[0][steering_index(steering, (uint32_t)(hash[i] >> 32))];
}

/* The owners of those that the lane has looked at. The bits of those that are not this worker's. */
static uint64_t find_owners(const struct worker *worker, const struct snapshot *snapshot,
			    const struct burst *burst, uint8_t *owner)
{
	const struct steering *steering = worker->steering;
	struct ends ends4, ends6;
	uint64_t foreign = 0;

	ends4.n = 0;
	ends6.n = 0;
	for (uint64_t left = burst->known; left != 0; left &= left - 1) {
		int i = __builtin_ctzll(left);
		uint8_t column = burst->column[i], family = burst->lane.family[column];
		struct ends *ends = family == SL_FAMILY_IPV4 ? &ends4 : &ends6;
		struct sl_tuple tuple;

		ends->packet[ends->n] = (uint8_t)i;
		if (SL_LIKELY(!lookup_has_egress(snapshot, family) &&
			      (family == SL_FAMILY_IPV4 ? find_end(snapshot, &burst->lane, column,
								   SL_FAMILY_IPV4, &ends4)
							: find_end(snapshot, &burst->lane, column,
								   SL_FAMILY_IPV6, &ends6))))
			continue;
		tuple = tuple_of(&burst->lane, column);
		owner[i] = steering->reta[0][steer_index(steering, &worker->flows4.key, snapshot,
							 &tuple)];
	}
	take_owners(worker, &ends4, SL_FAMILY_IPV4, owner);
	take_owners(worker, &ends6, SL_FAMILY_IPV6, owner);
	for (uint64_t left = burst->known; left != 0; left &= left - 1) {
		int i = __builtin_ctzll(left);

		foreign |= (uint64_t)(owner[i] != worker->id) << i;
	}
	return foreign;
}

/* Of the packets @left those that have the first one's owner. Returns the bits of the others. */
static uint64_t hand_to_one(struct worker *worker, const struct burst *burst, const uint8_t *owner,
			    uint64_t left)
{
	uint8_t to = owner[__builtin_ctzll(left)];
	struct rte_mbuf *packet[BURST_SIZE];
	uint64_t others = 0;
	uint16_t n = 0;

	for (; left != 0; left &= left - 1) {
		int i = __builtin_ctzll(left);

		if (owner[i] == to)
			packet[n++] = burst->packet[i];
		else
			others |= 1ull << i;
	}
	hand_all(worker, packet, n, to);
	return others;
}

/* Those of @foreign, by their owners. */
static void hand_foreign(struct worker *worker, const struct burst *burst, const uint8_t *owner,
			 uint64_t foreign)
{
	for (uint64_t left = foreign; left != 0;)
		left = hand_to_one(worker, burst, owner, left);
	worker->hands_over_first = __builtin_popcountll(foreign) * MANY_FOREIGN >= (int)burst->n;
}

void hand_over(struct worker *worker, const struct snapshot *snapshot, struct burst *burst)
{
	uint8_t owner[BURST_SIZE];
	uint64_t foreign = find_owners(worker, snapshot, burst, owner);
	uint64_t known = 0;
	uint16_t kept = 0;

	hand_foreign(worker, burst, owner, foreign);
	for (uint16_t i = 0; i < burst->n; i++) {
		if ((foreign >> i & 1) != 0)
			continue;
		burst->packet[kept] = burst->packet[i];
		burst->hash[kept] = burst->hash[i];
		burst->column[kept] = burst->column[i];
		known |= (burst->known >> i & 1) << kept++;
	}
	burst->n = kept;
	burst->known = known;
}

void hand_over_first(struct worker *worker, const struct snapshot *snapshot, struct burst *burst)
{
	uint8_t owner[BURST_SIZE];
	uint64_t foreign;
	uint16_t kept = 0;

	burst->known = 0;
	for (uint16_t i = 0; i < burst->n; i++) {
		burst->column[i] = (uint8_t)i;
		burst->known |= (uint64_t)(burst->lane.family[i] != LANE_LEFT) << i;
	}
	foreign = find_owners(worker, snapshot, burst, owner);
	burst->known = 0;
	hand_foreign(worker, burst, owner, foreign);
	for (uint16_t i = 0; i < burst->n; i++) {
		if ((foreign >> i & 1) != 0)
			continue;
		burst->packet[kept] = burst->packet[i];
		lane_move(&burst->lane, i, kept++);
	}
	burst->n = kept;
}
