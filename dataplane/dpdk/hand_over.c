/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * See hand_over.h. What a ring costs is the cache line of its head, which cores fight for: frames for a worker
 * are enqueued together.
 */
#include "dataplane/dpdk/hand_over.h"

#include "dataplane/dpdk/handoff.h"

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

/* The owners of those that the lane has looked at. The bits of those that are not this worker's. */
static uint64_t find_owners(const struct worker *worker, const struct snapshot *snapshot,
			    const struct burst *burst, uint8_t *owner)
{
	const struct steering *steering = worker->steering;
	uint64_t foreign = 0;

	for (uint64_t left = burst->known; left != 0; left &= left - 1) {
		int i = __builtin_ctzll(left);
		struct sl_tuple tuple = tuple_of(&burst->lane, burst->column[i]);

		owner[i] = steering->reta[0][steer_index(steering, &worker->flows4.key, snapshot,
							 &tuple)];
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

void hand_over(struct worker *worker, const struct snapshot *snapshot, struct burst *burst)
{
	uint8_t owner[BURST_SIZE];
	uint64_t foreign = find_owners(worker, snapshot, burst, owner);
	uint64_t known = 0;
	uint16_t kept = 0;

	for (uint64_t left = foreign; left != 0;)
		left = hand_to_one(worker, burst, owner, left);
	for (uint16_t i = 0; i < burst->n; i++) {
		if ((foreign >> i & 1) != 0)
			continue;
		burst->packet[kept] = burst->packet[i];
		burst->hash[kept] = burst->hash[i];
		known |= (burst->known >> i & 1) << kept++;
	}
	burst->n = kept;
	burst->known = known;
}
