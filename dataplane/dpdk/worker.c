/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * One packet's story, a burst at a time: receive, parse, find the flow, else the service and choose
 * a backend, rewrite, send or punt or drop. Each step runs over the whole burst, so that the memory
 * that the next step needs is on its way meanwhile.
 *
 * Never here: allocation, lock, log, division, nor a system call of ours but those of bell.h and rest.h.
 */
#include "dataplane/dpdk/worker.h"

#include <string.h>

#include <rte_cycles.h>
#include <rte_prefetch.h>

#include <sluice/packet/common.h>
#include <sluice/packet/egress.h>
#include <sluice/packet/flow.h>
#include <sluice/packet/icmp.h>
#include <sluice/packet/maglev.h>
#include <sluice/packet/nat.h>
#include <sluice/packet/parse.h>

#include "dataplane/dpdk/balance.h"
#include "dataplane/dpdk/burst.h"
#include "dataplane/dpdk/capture.h"
#include "dataplane/dpdk/fragment.h"
#include "dataplane/dpdk/hand_over.h"
#include "dataplane/dpdk/refuse.h"
#include "dataplane/dpdk/rest.h"
#include "dataplane/dpdk/rss.h"
#include "dataplane/dpdk/sweep.h"
#include "dataplane/lookup.h"

enum {
	MANY_NEW = 4, /* packets of a burst that are left by the lane */
	SMALL_BURST = 32,
	MANY_LEFT = 8, /* of so many packets one was left by the lane: bursts are small */
	TX_TRIES = 4,  /* a full queue is given this many chances to drain */
};

/* Nearly all are of two kinds, which are counted side by side and not one after the other. */
static void count_verdicts(struct worker *worker, const uint8_t *verdict, uint16_t n)
{
	uint16_t n_forward = 0;
	uint16_t n_reply = 0;

	for (uint16_t i = 0; i < n; i++) {
		n_forward = (uint16_t)(n_forward + (verdict[i] == SL_VERDICT_FORWARD));
		n_reply = (uint16_t)(n_reply + (verdict[i] == SL_VERDICT_REPLY));
	}
	worker->counters.verdict[SL_VERDICT_FORWARD] += n_forward;
	worker->counters.verdict[SL_VERDICT_REPLY] += n_reply;
	if (SL_LIKELY(n_forward + n_reply == n))
		return;
	for (uint16_t i = 0; i < n; i++)
		if (verdict[i] > SL_VERDICT_REPLY)
			worker->counters.verdict[verdict[i]]++;
}

static void worker_flush(struct worker *worker, uint32_t index)
{
	struct tx_buffer *buffer = &worker->tx[index];
	struct port *port = &worker->dataplane->port[index];
	uint16_t queue = (uint16_t)(worker->id % port->n_queues);
	uint64_t bytes = buffer->bytes;
	uint16_t sent = 0;

	for (int tries = 0; tries < TX_TRIES && sent < buffer->n; tries++)
		sent = (uint16_t)(sent + rte_eth_tx_burst(port->id, queue, buffer->packet + sent,
							  (uint16_t)(buffer->n - sent)));
	count_verdicts(worker, buffer->verdict, sent);
	for (uint16_t i = sent; i < buffer->n; i++) {
		enum sl_verdict verdict = buffer->verdict[i];

		bytes -= buffer->packet[i]->pkt_len;
		/* The packet that an answer was made of has been dropped whatever becomes of it. */
		if (sl_verdict_is_drop(verdict))
			worker->counters.verdict[verdict]++;
		else if (verdict != SL_VERDICT_NONE)
			worker->counters.verdict[SL_VERDICT_DROP_TX_FULL]++;
		rte_pktmbuf_free(buffer->packet[i]);
	}
	worker->counters.event[SL_EVENT_TX] += sent;
	worker->counters.event[SL_EVENT_TX_BYTES] += bytes;
	buffer->n = 0;
	buffer->bytes = 0;
}

/*
 * @verdict: counted when the frame is out. SL_VERDICT_NONE for a frame of the kernel, which was not
 * received and is not judged; a dropped packet's for the answer that was made of it.
 */
static void worker_send(struct worker *worker, uint32_t port, struct rte_mbuf *packet,
			enum sl_verdict verdict)
{
	struct tx_buffer *buffer = &worker->tx[port];

	buffer->verdict[buffer->n] = (uint8_t)verdict;
	buffer->bytes += packet->pkt_len;
	buffer->packet[buffer->n++] = packet;
	if (buffer->n == TX_BUFFER_SIZE)
		worker_flush(worker, port);
}

/* All @n packets of a burst, which the lane has rewritten, leave by @port. */
static void worker_send_all(struct worker *worker, uint32_t port, const struct lane *lane,
			    struct rte_mbuf *const *packet, uint16_t n)
{
	struct tx_buffer *buffer = &worker->tx[port];

	if (buffer->n + n > TX_BUFFER_SIZE)
		worker_flush(worker, port);
	memcpy(buffer->packet + buffer->n, packet, n * sizeof(packet[0]));
	memcpy(buffer->verdict + buffer->n, lane->verdict, n);
	buffer->bytes += lane->bytes;
	buffer->n = (uint16_t)(buffer->n + n);
	if (buffer->n == TX_BUFFER_SIZE)
		worker_flush(worker, port);
}

static void worker_drop(struct worker *worker, struct rte_mbuf *packet, enum sl_verdict verdict)
{
	worker->counters.verdict[verdict]++;
	rte_pktmbuf_free(packet);
}

static void worker_punt(struct worker *worker, struct rte_mbuf *packet, enum sl_verdict verdict)
{
	struct dataplane *dataplane = worker->dataplane;
	struct port *port = &dataplane->port[dataplane->port_of_id[packet->port]];

	if (rte_ring_enqueue(port->to_kernel, packet) != 0) {
		worker_drop(worker, packet, SL_VERDICT_DROP_PUNT_FULL);
		return;
	}
	worker->counters.verdict[verdict]++;
	bell_ring(&dataplane->punted);
}

/* The packet ends here, and its sender is told, if that may be. */
static void worker_refuse(struct worker *worker, struct rte_mbuf *packet, struct sl_packet *parsed,
			  const struct outcome *outcome)
{
	if (!refuse_packet(worker, packet, parsed, &outcome->refusal)) {
		worker_drop(worker, packet, outcome->verdict);
		return;
	}
	if (SL_UNLIKELY(worker->capture != NULL))
		capture_answer(worker, packet);
	worker_send(worker, worker->dataplane->port_of_id[packet->port], packet, outcome->verdict);
}

static bool worker_has_egress(const struct worker *worker)
{
	const struct snapshot *snapshot = worker->snapshot;

	return snapshot != NULL && (lookup_has_egress(snapshot, SL_FAMILY_IPV4) ||
				    lookup_has_egress(snapshot, SL_FAMILY_IPV6));
}

/* A client that talks to itself by its source has one address at both ends until the next rewrite. */
static enum sl_verdict parse_back(const struct worker *worker, struct rte_mbuf *packet,
				  struct sl_packet *parsed)
{
	uint8_t *data = rte_pktmbuf_mtod(packet, uint8_t *);
	bool is_fragment = parsed->ipv4 != NULL && (parsed->ipv4->fragment & SL_BE16(0x3fff)) != 0;

	if (is_fragment || !worker_mark(worker->dataplane, packet)->is_back)
		return SL_VERDICT_DROP_LAND;
	return sl_parse_l4(data, data + rte_pktmbuf_data_len(packet), parsed);
}

/* Whether packet @i is one of mode snat, and of which tuple its flow then is. */
static bool burst_classify(struct worker *worker, struct burst *burst, uint16_t i, bool is_handed,
			   struct sl_tuple *key)
{
	const struct snapshot *snapshot = worker->snapshot;
	const struct sl_packet *parsed = &burst->parsed[i];
	const struct sl_tuple *tuple = &parsed->tuple;
	struct outcome *outcome = &burst->outcome[i];

	outcome->egress = (uint8_t)lookup_egress(snapshot, tuple, &outcome->service);
	/* Between two clients, and only one end is still to be translated. */
	if (is_handed && worker_mark(worker->dataplane, burst->packet[i])->is_back) {
		outcome->egress = LOOKUP_EGRESS_OUT;
		outcome->is_back = true;
		outcome->service =
			prefix_table_find(&snapshot->inside, &tuple->source, tuple->family);
	}
	if (outcome->egress == LOOKUP_NO_EGRESS || outcome->service == SL_NO_INDEX) {
		outcome->egress = LOOKUP_NO_EGRESS;
		if (parsed->echo != SL_PACKET_NO_ECHO)
			outcome->verdict = SL_VERDICT_PUNT_ICMP;
		return false;
	}
	*key = sl_egress_key(tuple, outcome->egress == LOOKUP_EGRESS_OUT ? SL_DIRECTION_FORWARD
									 : SL_DIRECTION_REPLY);
	return true;
}

/* The tuple by which packet @i finds its flow. @key: room for it. */
static const struct sl_tuple *burst_key(struct worker *worker, struct burst *burst, uint16_t i,
					bool is_handed, struct sl_tuple *key)
{
	const struct snapshot *snapshot = worker->snapshot;
	const struct sl_tuple *tuple = &burst->parsed[i].tuple;

	if (SL_UNLIKELY(snapshot != NULL && lookup_has_egress(snapshot, tuple->family)) &&
	    burst_classify(worker, burst, i, is_handed, key))
		return key;
	return tuple;
}

/* Its hash, and ask for its place in the index. */
static void burst_hash(struct worker *worker, struct burst *burst, uint16_t i, bool is_handed)
{
	struct sl_tuple room;
	const struct sl_tuple *key = burst_key(worker, burst, i, is_handed, &room);

	burst->hash[i] = sl_flow_hash(&worker->flows4.key, key);
	flow_table_prefetch(worker_table(worker, key->family), burst->hash[i]);
}

/* Any frame, from its first byte on. */
static enum sl_verdict parse_frame(const struct worker *worker, struct rte_mbuf *packet,
				   bool is_handed, struct sl_packet *parsed)
{
	const struct dataplane *dataplane = worker->dataplane;
	const struct port *port = &dataplane->port[dataplane->port_of_id[packet->port]];
	enum sl_verdict verdict = SL_VERDICT_NONE;
	const uint8_t *end;
	uint8_t *data;

	/* A chain becomes one segment, in the room of the first; a buffer holds any MTU of ours. */
	if (SL_UNLIKELY(packet->nb_segs > 1) && rte_pktmbuf_linearize(packet) != 0)
		verdict = SL_VERDICT_DROP_TRUNCATED;
	data = rte_pktmbuf_mtod(packet, uint8_t *);
	end = data + rte_pktmbuf_data_len(packet);
	if (verdict == SL_VERDICT_NONE)
		verdict = sl_parse_link(data, end, port->mac);
	if (verdict == SL_VERDICT_NONE)
		verdict = sl_parse(data, end, parsed);
	if (SL_UNLIKELY(verdict == SL_VERDICT_DROP_LAND) && is_handed)
		verdict = parse_back(worker, packet, parsed);
	if (SL_UNLIKELY(verdict == SL_VERDICT_PUNT_ICMP))
		verdict = sl_icmp_parse(data, end, parsed);
	if (SL_UNLIKELY(verdict == SL_VERDICT_PUNT_ICMP) && worker_has_egress(worker))
		verdict = sl_icmp_parse_echo(data, end, parsed);
	return verdict;
}

/* Steps 2 and the first half of 4: parse, hash, and ask for the index. */
static void burst_parse(struct worker *worker, struct burst *burst, bool is_handed)
{
	burst->n_fragments = 0;
	for (uint16_t i = 0; i < burst->n; i++) {
		enum sl_verdict verdict;

		/* The lane has asked for all that there is to ask. */
		if (SL_LIKELY(burst->known >> i & 1)) {
			sl_parse_common(rte_pktmbuf_mtod(burst->packet[i], uint8_t *),
					burst->lane.family[burst->column[i]], &burst->parsed[i]);
			burst->outcome[i] = (struct outcome){.verdict = SL_VERDICT_NONE};
			continue;
		}
		verdict = parse_frame(worker, burst->packet[i], is_handed, &burst->parsed[i]);
		burst->outcome[i] = (struct outcome){.verdict = verdict};
		if (SL_LIKELY(verdict == SL_VERDICT_NONE))
			burst_hash(worker, burst, i, is_handed);
		burst->n_fragments =
			(uint16_t)(burst->n_fragments + (verdict == SL_VERDICT_PUNT_FRAGMENT));
	}
}

/* Second half of 4: ask for the entries that the index names. */
static void burst_peek(struct worker *worker, const struct burst *burst)
{
	bool may_be_second;

	for (uint16_t i = 0; i < burst->n; i++)
		if (burst->outcome[i].verdict == SL_VERDICT_NONE && (burst->known >> i & 1) == 0)
			(void)flow_table_peek_first(
				worker_table(worker, burst->parsed[i].tuple.family), burst->hash[i],
				&may_be_second);
}

static bool has_to_check(const struct worker *worker, const struct port *port)
{
	return worker->n_checked[port - worker->dataplane->port] <
	       __atomic_load_n(&port->rss.n_to_check, __ATOMIC_RELAXED);
}

/* Whether the card steers as it says: the first packets of each port are asked, or all. */
static void burst_check_steering(struct worker *worker, struct port *port, uint16_t queue,
				 const struct burst *burst)
{
	struct dataplane *dataplane = worker->dataplane;
	uint32_t index = (uint32_t)(port - dataplane->port);

	for (uint16_t i = 0; i < burst->n; i++) {
		const struct rte_mbuf *packet = burst->packet[i];
		struct rss_witness witness = {
			.hash = packet->hash.rss,
			.worker = queue,
			.has_hash = (packet->ol_flags & RTE_MBUF_F_RX_RSS_HASH) != 0,
		};
		enum rss_judgement judgement;

		if (burst->outcome[i].verdict != SL_VERDICT_NONE ||
		    sl_packet_is_icmp_error(&burst->parsed[i]))
			continue;
		judgement = rss_judge(worker->steering, &burst->parsed[i], queue, witness.has_hash,
				      witness.hash, &witness.our_hash);
		if (judgement == RSS_NOT_JUDGED)
			continue;
		worker->n_checked[index]++;
		worker->hashes_seen[index] |= 1ull << (witness.our_hash >> 26);
		worker->counters.event[SL_EVENT_AFFINITY_CHECKED]++;
		if (SL_LIKELY(judgement == RSS_RIGHT))
			continue;
		witness.tuple = burst->parsed[i].tuple;
		witness.our_worker = steering_worker(worker->steering, witness.our_hash);
		worker->counters.event[SL_EVENT_AFFINITY_MISS] += witness.our_worker != queue;
		rss_refute(port, &witness);
	}
}

/* Moves packet @i of the burst to the end of those that stay, of which there are @kept. */
static void burst_keep(struct burst *burst, uint16_t i, uint16_t kept)
{
	burst->packet[kept] = burst->packet[i];
	burst->parsed[kept] = burst->parsed[i];
	burst->hash[kept] = burst->hash[i];
	burst->outcome[kept] = burst->outcome[i];
}

/* Fragments become packets with the ports of their datagrams, or leave the burst here. */
static void burst_fragments(struct worker *worker, const struct snapshot *snapshot,
			    struct burst *burst, bool is_received)
{
	uint16_t kept = 0;

	for (uint16_t i = 0; i < burst->n; i++) {
		struct outcome *outcome = &burst->outcome[i];

		if (outcome->verdict == SL_VERDICT_PUNT_FRAGMENT) {
			if (!fragment_judge(worker, snapshot, burst->packet[i], &burst->parsed[i],
					    is_received, outcome))
				continue;
			if (outcome->verdict == SL_VERDICT_NONE)
				burst_hash(worker, burst, i, !is_received && !worker->is_retrying);
		}
		if (worker->is_retrying)
			burst->since[kept] = burst->since[i];
		burst_keep(burst, i, kept++);
	}
	burst->n = kept;
}

/* Frames that are another worker's leave the burst here. */
static void burst_steer(struct worker *worker, const struct snapshot *snapshot, struct burst *burst)
{
	const struct steering *steering = worker->steering;
	uint16_t kept = 0;

	for (uint16_t i = 0; i < burst->n; i++) {
		struct rte_mbuf *packet = burst->packet[i];
		uint32_t owner = worker->id;

		if (burst->outcome[i].verdict == SL_VERDICT_NONE)
			owner = steering->reta[0][steer_index(steering, &worker->flows4.key,
							      snapshot, &burst->parsed[i].tuple)];
		if (owner != worker->id) {
			*worker_mark(worker->dataplane, packet) = (struct steering_mark){0};
			worker_hand_off(worker, packet, owner);
			continue;
		}
		burst_keep(burst, i, kept++);
	}
	burst->n = kept;
}

/* These packets may have to go to another worker. @is_new: nobody was asked for them. */
static void burst_mark(struct worker *worker, struct burst *burst, bool is_new)
{
	for (uint16_t i = 0; i < burst->n; i++) {
		struct steering_mark *mark = worker_mark(worker->dataplane, burst->packet[i]);

		if (is_new)
			*mark = (struct steering_mark){0};
		burst->outcome[i].mark = mark;
	}
}

/* Of packets that begin flows, if there are several: each waits for its memory while others do. */
static void burst_foresee(struct worker *worker, const struct snapshot *snapshot,
			  struct burst *burst)
{
	if (burst->n >= MANY_NEW)
		foresee(worker, snapshot, burst->parsed, burst->outcome, burst->foreseen, burst->n);
}

/* Steps 3, 4 and 5: the flow, else a new one, and the rewrite. */
static void burst_balance(struct worker *worker, struct snapshot *snapshot, struct burst *burst)
{
	for (uint16_t i = 0; i < burst->n; i++) {
		struct outcome *outcome = &burst->outcome[i];

		if (outcome->verdict == SL_VERDICT_NONE)
			balance_packet(worker, snapshot, burst->packet[i], &burst->parsed[i],
				       burst->hash[i], outcome);
	}
}

/* Keeps a packet until its next hop is resolved. False: no room, or it has waited long enough. */
static bool worker_hold(struct worker *worker, struct rte_mbuf *packet, uint32_t since)
{
	struct hold *hold = &worker->hold;

	if (hold->n == HOLD_SIZE || worker->now - since >= HOLD_TICKS)
		return false;
	if (hold->n == 0)
		hold->retry_tsc = worker->now_tsc + worker->dataplane->tsc_per_retry;
	hold->packet[hold->n] = packet;
	hold->since[hold->n++] = since;
	return true;
}

/* Whether packet @i has no verdict yet, and is now where it waits for one. */
static bool burst_postpone(struct worker *worker, const struct burst *burst, uint16_t i)
{
	const struct outcome *outcome = &burst->outcome[i];

	if (SL_UNLIKELY(outcome->is_handed)) {
		worker_hand_off(worker, burst->packet[i], outcome->port);
		return true;
	}
	return SL_UNLIKELY(outcome->verdict == SL_VERDICT_DROP_NO_NEIGHBOUR) &&
	       !outcome->is_refused && !outcome->is_back &&
	       worker_hold(worker, burst->packet[i],
			   worker->is_retrying ? burst->since[i] : worker->now);
}

/* Step 6. */
static void burst_finish(struct worker *worker, struct burst *burst)
{
	for (uint16_t i = 0; i < burst->n; i++) {
		const struct outcome *outcome = &burst->outcome[i];

		if (burst_postpone(worker, burst, i))
			continue;
		if (SL_UNLIKELY(worker->capture != NULL))
			capture_finish(worker, burst->packet[i], outcome);
		if (outcome->verdict <= SL_VERDICT_REPLY)
			worker_send(worker, outcome->port, burst->packet[i], outcome->verdict);
		else if (sl_verdict_is_punt(outcome->verdict))
			worker_punt(worker, burst->packet[i], outcome->verdict);
		else if (outcome->is_refused)
			worker_refuse(worker, burst->packet[i], &burst->parsed[i], outcome);
		else
			worker_drop(worker, burst->packet[i], outcome->verdict);
	}
}

/* Packet @i is none for the lane: it stays, as number @left. */
static void burst_leave(struct burst *burst, uint16_t i, uint16_t left)
{
	burst->packet[left] = burst->packet[i];
	burst->hash[left] = burst->lane.hash[i];
	burst->known |= (uint64_t)(burst->lane.family[i] != LANE_LEFT) << left;
	burst->column[left] = (uint8_t)i;
}

/*
 * How many packets the next burst may have. The lane waits for the memory of all of them at once, so that a
 * packet waits the less the more there are; but what the long way knows of so many, or what belongs to so many
 * of IPv6, the CPU's first cache does not hold.
 */
static uint16_t burst_size(const struct burst *burst, uint16_t n_left)
{
	return burst->lane.families == 1u << SL_FAMILY_IPV4 && n_left * MANY_LEFT <= burst->n
		       ? BURST_SIZE
		       : SMALL_BURST;
}

/* Nearly all packets go by the lane, and leave the burst here. */
static void burst_pass(struct worker *worker, const struct snapshot *snapshot, struct burst *burst,
		       bool is_asked_about)
{
	const struct lane *lane = &burst->lane;
	uint64_t passed;
	uint16_t left = 0;

	lane_look(worker->dataplane, &burst->lane, burst->packet, burst->n);
	if (SL_UNLIKELY(is_asked_about)) {
		hand_over_first(worker, snapshot, burst);
		if (burst->n == 0)
			return;
	}
	passed = lane_pass(worker, snapshot, &burst->lane, burst->packet, burst->n);
	worker->burst_size = burst_size(burst, (uint16_t)(burst->n - __builtin_popcountll(passed)));
	if (SL_LIKELY(passed == UINT64_MAX >> (BURST_SIZE - burst->n) &&
		      (lane->ports & (lane->ports - 1)) == 0)) {
		worker_send_all(worker, lane->port[0], lane, burst->packet, burst->n);
		burst->n = 0;
		return;
	}
	for (uint16_t i = 0; i < burst->n; i++) {
		if (SL_LIKELY(passed >> i & 1))
			worker_send(worker, lane->port[i], burst->packet[i],
				    (enum sl_verdict)lane->verdict[i]);
		else
			burst_leave(burst, i, left++);
	}
	burst->n = left;
	/* By another tuple some may find their flows. */
	if (SL_UNLIKELY(worker_has_egress(worker)))
		burst->known = 0;
}

/* Before the first snapshot nobody knows what is a service's: see docs/decisions/0006. */
static void burst_without_snapshot(struct worker *worker, struct burst *burst)
{
	struct dataplane *dataplane = worker->dataplane;

	for (uint16_t i = 0; i < burst->n; i++) {
		struct outcome *outcome = &burst->outcome[i];
		uint16_t port = dataplane->port_of_id[burst->packet[i]->port];

		if (outcome->verdict == SL_VERDICT_NONE)
			outcome->verdict = dataplane->port[port].is_classified
						   ? SL_VERDICT_DROP_NO_CONFIG
						   : SL_VERDICT_PUNT_NOT_SERVICE;
	}
}

/* Steps 3 to 5 for those packets that are this worker's. */
static void burst_decide(struct worker *worker, struct snapshot *snapshot, struct burst *burst,
			 bool is_received)
{
	const struct steering *steering = worker->steering;

	if (SL_UNLIKELY(burst->n_fragments != 0))
		burst_fragments(worker, snapshot, burst, is_received);
	if (is_received && (steering->n_workers > 1 || worker->id != 0))
		burst_steer(worker, snapshot, burst);
	if (!is_received || SL_UNLIKELY(steering->n_former != 0))
		burst_mark(worker, burst, is_received || worker->is_retrying);
	burst_peek(worker, burst);
	burst_foresee(worker, snapshot, burst);
	burst_balance(worker, snapshot, burst);
}

/* Whether frames may be another worker's, which is who the steering says. */
static bool is_shared(const struct worker *worker)
{
	const struct steering *steering = worker->steering;

	return (steering->n_workers > 1 || worker->id != 0) && steering->n_former == 0;
}

/* @from: the port whose @queue the burst came from; NULL: this worker's own ring or hold. */
static void worker_burst(struct worker *worker, struct burst *burst, struct port *from,
			 uint16_t queue)
{
	struct dataplane *dataplane = worker->dataplane;
	struct snapshot *snapshot;

	/* Acquire: what these point to was written before they were published. */
	worker->steering = __atomic_load_n(&dataplane->steering, __ATOMIC_ACQUIRE);
	snapshot = __atomic_load_n(&dataplane->snapshot, __ATOMIC_ACQUIRE);
	worker->snapshot = snapshot;
	worker->capture = __atomic_load_n(&dataplane->capturing, __ATOMIC_ACQUIRE);
	burst->known = 0;
	/* The lane keeps nothing of a packet as it came. */
	if (SL_UNLIKELY(worker->capture != NULL))
		capture_stage(worker, burst->packet, burst->n);
	else if (SL_LIKELY(snapshot != NULL) && !worker->is_retrying &&
		 !(from != NULL && SL_UNLIKELY(has_to_check(worker, from))))
		burst_pass(worker, snapshot, burst,
			   from != NULL && worker->hands_over_first && is_shared(worker) &&
				   !worker_has_egress(worker));
	if (SL_UNLIKELY(burst->known != 0 && from != NULL && is_shared(worker)))
		hand_over(worker, snapshot, burst);
	if (SL_LIKELY(burst->n == 0))
		return;
	burst_parse(worker, burst, from == NULL && !worker->is_retrying);
	if (from != NULL && SL_UNLIKELY(has_to_check(worker, from)))
		burst_check_steering(worker, from, queue, burst);
	if (SL_UNLIKELY(snapshot == NULL))
		burst_without_snapshot(worker, burst);
	else
		burst_decide(worker, snapshot, burst, from != NULL);
	burst_finish(worker, burst);
}

/* Step 1, of one queue. Returns whether there was anything. */
static bool worker_receive_queue(struct worker *worker, struct port *port, uint16_t queue,
				 struct burst *burst)
{
	uint16_t most = worker->burst_size;
	uint64_t bytes = 0;

	burst->n = rte_eth_rx_burst(port->id, queue, burst->packet, most);
	if (burst->n == 0)
		return false;
	for (uint16_t i = 0; i < burst->n; i++) {
		rte_prefetch0(rte_pktmbuf_mtod(burst->packet[i], void *));
		bytes += burst->packet[i]->pkt_len;
	}
	worker->is_full |= burst->n == most;
	worker->counters.event[SL_EVENT_RX] += burst->n;
	worker->counters.event[SL_EVENT_RX_BYTES] += bytes;
	worker_burst(worker, burst, port, queue);
	return true;
}

/* There may be more queues than workers: cards that spread as they please fill them all. */
static bool worker_receive(struct worker *worker, struct port *port, struct polling polling,
			   struct burst *burst)
{
	bool is_busy = false;

	if (worker->id >= polling.n)
		return false;
	for (uint32_t queue = worker->id; queue < port->n_queues; queue += polling.step)
		is_busy |= worker_receive_queue(worker, port, (uint16_t)queue, burst);
	return is_busy;
}

static bool worker_receive_handoff(struct worker *worker, struct burst *burst)
{
	burst->n = (uint16_t)rte_ring_dequeue_burst(worker->handoff, (void **)burst->packet,
						    worker->burst_size, NULL);
	if (burst->n == 0)
		return false;
	/* Header and frame were last written by another core. */
	for (uint16_t i = 0; i < burst->n; i++)
		rte_prefetch0(burst->packet[i]);
	for (uint16_t i = 0; i < burst->n; i++)
		rte_prefetch0(rte_pktmbuf_mtod(burst->packet[i], void *));
	worker_burst(worker, burst, NULL, 0);
	return true;
}

/* Held packets, once more. */
static void worker_retry(struct worker *worker, struct burst *burst)
{
	struct hold *hold = &worker->hold;
	struct hold waiting;

	if (SL_LIKELY(hold->n == 0) || worker->now_tsc < hold->retry_tsc)
		return;
	waiting = *hold;
	hold->n = 0;
	worker->is_retrying = true;
	for (uint16_t i = 0; i < waiting.n; i += burst->n) {
		burst->n = waiting.n - i < BURST_SIZE ? (uint16_t)(waiting.n - i) : BURST_SIZE;
		for (uint16_t j = 0; j < burst->n; j++) {
			burst->packet[j] = waiting.packet[i + j];
			burst->since[j] = waiting.since[i + j];
		}
		worker_burst(worker, burst, NULL, 0);
	}
	worker->is_retrying = false;
}

/* The kernel's own frames: answers to what was punted, ARP, ND, BGP. */
static bool worker_receive_kernel(struct worker *worker, uint32_t index)
{
	struct port *port = &worker->dataplane->port[index];
	struct rte_mbuf *packet[BURST_SIZE];
	unsigned int n;

	if (worker->id != 0)
		return false;
	n = rte_ring_dequeue_burst(port->from_kernel, (void **)packet, BURST_SIZE, NULL);
	for (unsigned int i = 0; i < n; i++)
		worker_send(worker, index, packet[i], SL_VERDICT_NONE);
	worker->counters.event[SL_EVENT_KERNEL_TX] += n;
	return n != 0;
}

static void worker_clock(struct worker *worker)
{
	struct dataplane *dataplane = worker->dataplane;
	uint64_t now = rte_rdtsc();
	uint64_t turn = now - worker->now_tsc;

	worker->now_tsc = now;
	worker->busy_tsc += worker->is_busy ? turn : 0;
	if (SL_UNLIKELY(turn > worker->longest_turn_tsc))
		__atomic_store_n(&worker->longest_turn_tsc, turn, __ATOMIC_RELAXED);
	if (worker->now_tsc - worker->heartbeat_tsc < dataplane->tsc_per_tick)
		return;
	/* Once a tick, so the division costs nothing. */
	worker->heartbeat_tsc = worker->now_tsc;
	worker->now =
		(uint32_t)((worker->now_tsc - dataplane->start_tsc) / dataplane->tsc_per_tick);
}

/* Whether nothing is left of a worker that no other one gives anything to any more. */
static bool worker_has_left(const struct worker *worker)
{
	return __atomic_load_n(&worker->is_leaving, __ATOMIC_ACQUIRE) && worker->hold.n == 0 &&
	       fragments_n_held(worker->fragments) == 0 && rte_ring_empty(worker->handoff);
}

/* Sent buffers and those of this core's cache go back to the pool: others may need them. */
static void worker_give_back(struct worker *worker)
{
	struct dataplane *dataplane = worker->dataplane;

	for (uint32_t i = 0; i < dataplane->n_ports; i++)
		(void)rte_eth_tx_done_cleanup(dataplane->port[i].id,
					      (uint16_t)(worker->id % dataplane->port[i].n_queues),
					      0);
	rte_mempool_cache_flush(NULL, dataplane->pool);
}

/* What is in the tables of a worker that leaves, no steering finds; there should be nothing. */
static void worker_end_flows(struct worker *worker, struct flow_table *table)
{
	for (uint32_t i = 0; i < table->n_touched; i++)
		if (flow_table_at(table, i)->state != SL_FLOW_FREE)
			worker_end_flow(worker, table, flow_table_at(table, i));
}

static void worker_turn(struct worker *worker, struct burst *burst)
{
	struct dataplane *dataplane = worker->dataplane;
	struct polling polling;
	bool is_busy = false;

	/* Acquire: who received from a queue before has left it as it is to be found. */
	__atomic_load(&dataplane->polling, &polling, __ATOMIC_ACQUIRE);
	worker_clock(worker);
	worker->is_full = false;
	for (uint32_t i = 0; i < dataplane->n_ports; i++) {
		is_busy |= worker_receive(worker, &dataplane->port[i], polling, burst);
		is_busy |= worker_receive_kernel(worker, i);
	}
	is_busy |= worker_receive_handoff(worker, burst);
	worker_retry(worker, burst);
	for (uint32_t i = 0; i < dataplane->n_ports; i++)
		if (worker->tx[i].n != 0)
			worker_flush(worker, i);
	sweep_flows(worker);
	fragments_sweep(worker);
	worker->counters.event[SL_EVENT_LOOPS]++;
	worker->counters.event[SL_EVENT_BUSY_LOOPS] += is_busy;
	worker->counters.event[SL_EVENT_FULL_LOOPS] += worker->is_full;
	worker->is_busy = is_busy;
}

int worker_main(void *argument)
{
	struct worker *worker = argument;
	struct dataplane *dataplane = worker->dataplane;
	struct burst burst;

	rte_rcu_qsbr_thread_register(dataplane->qsbr, worker->id);
	rte_rcu_qsbr_thread_online(dataplane->qsbr, worker->id);
	worker->now_tsc = rte_rdtsc();
	worker->burst_size = SMALL_BURST;
	rest_begin(worker);
	while (!__atomic_load_n(&dataplane->is_stopping, __ATOMIC_RELAXED) &&
	       !worker_has_left(worker)) {
		worker_turn(worker, &burst);
		rte_rcu_qsbr_quiescent(dataplane->qsbr, worker->id);
		if (SL_UNLIKELY(dataplane->idle_sleep_tsc != 0))
			rest_if_idle(worker);
	}
	/* Where all ends, the tables do as well; the log alone is to hear of each flow. */
	if (worker->flow_events != NULL ||
	    !__atomic_load_n(&dataplane->is_stopping, __ATOMIC_RELAXED)) {
		worker_end_flows(worker, &worker->flows4);
		worker_end_flows(worker, &worker->flows6);
	}
	worker_give_back(worker);
	rte_rcu_qsbr_thread_offline(dataplane->qsbr, worker->id);
	rte_rcu_qsbr_thread_unregister(dataplane->qsbr, worker->id);
	return 0;
}
