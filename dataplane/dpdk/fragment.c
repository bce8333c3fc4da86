/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
#include "dataplane/dpdk/fragment.h"

#include <stdlib.h>
#include <string.h>

#include <sluice/packet/flow.h>
#include <sluice/packet/fragment.h>

#include "dataplane/lookup.h"

enum {
	N_BUCKETS = 1024,   /* a power of two: 4,096 datagrams under way */
	MAX_HELD = 256,     /* fragments */
	MAX_HELD_EACH = 16, /* of one datagram */
	NONE_HELD = 0xffff,
};

/** A fragment that waits. */
struct held {
	struct rte_mbuf *packet;
	uint16_t next; /* the one that came before it; NONE_HELD: none */
};

struct fragments {
	uint32_t n_held;
	uint16_t free;  /* first of a list of held[] without a packet */
	uint32_t swept; /* ticks */
	struct held held[MAX_HELD];
	struct sl_datagram datagram[N_BUCKETS * SL_DATAGRAM_WAYS];
	uint16_t first_held[N_BUCKETS * SL_DATAGRAM_WAYS];
};

/**
 * What goes with a fragment from the worker that judged it to the one that has its flow. It stands where
 * the card's hash stood, which nobody asks for any more.
 */
union fragment_note {
	uint64_t word;
	struct {
		be16_t source_port;
		be16_t destination_port;
		uint8_t protocol;
		uint8_t is_judged;
	};
};

struct fragments *fragments_new(void)
{
	struct fragments *fragments = calloc(1, sizeof(*fragments));

	if (fragments == NULL)
		return NULL;
	memset(fragments->first_held, 0xff, sizeof(fragments->first_held));
	for (uint16_t i = 0; i < MAX_HELD; i++)
		fragments->held[i].next = i + 1 < MAX_HELD ? (uint16_t)(i + 1) : NONE_HELD;
	return fragments;
}

void fragments_free(struct fragments *fragments)
{
	if (fragments == NULL)
		return;
	for (uint32_t i = 0; i < MAX_HELD; i++)
		rte_pktmbuf_free(fragments->held[i].packet);
	free(fragments);
}

uint32_t fragments_n_held(const struct fragments *fragments)
{
	return fragments->n_held;
}

static void note_write(struct rte_mbuf *packet, union fragment_note note)
{
	packet->hash.fdir.lo = (uint32_t)note.word;
	packet->hash.fdir.hi = (uint32_t)(note.word >> 32);
}

static union fragment_note note_read(const struct rte_mbuf *packet)
{
	return (union fragment_note){.word = (uint64_t)packet->hash.fdir.hi << 32 |
					     packet->hash.fdir.lo};
}

void fragment_set_ports(struct rte_mbuf *packet, be16_t source_port, be16_t destination_port,
			uint8_t protocol)
{
	note_write(packet, (union fragment_note){.source_port = source_port,
						 .destination_port = destination_port,
						 .protocol = protocol,
						 .is_judged = 1});
}

/* Takes one that waits out of @datagram's list; NULL: there is none. */
static struct rte_mbuf *take_held(struct fragments *fragments, uint32_t datagram)
{
	uint16_t at = fragments->first_held[datagram];
	struct held *held = &fragments->held[at & (MAX_HELD - 1)];
	struct rte_mbuf *packet;

	if (at == NONE_HELD)
		return NULL;
	packet = held->packet;
	fragments->first_held[datagram] = held->next;
	held->packet = NULL;
	held->next = fragments->free;
	fragments->free = at;
	fragments->n_held--;
	return packet;
}

/* Those that waited for a first fragment which did not come, or not as it should have. */
static void drop_held(struct worker *worker, uint32_t datagram, enum sl_verdict verdict)
{
	struct rte_mbuf *packet;

	while ((packet = take_held(worker->fragments, datagram)) != NULL) {
		worker->counters.verdict[verdict]++;
		rte_pktmbuf_free(packet);
	}
}

/* Keeps @packet until the first fragment comes. False: there is no room. */
static bool hold(struct fragments *fragments, uint32_t datagram, struct rte_mbuf *packet)
{
	uint16_t at = fragments->free;
	uint32_t n = 0;

	for (uint16_t i = fragments->first_held[datagram]; i != NONE_HELD;
	     i = fragments->held[i & (MAX_HELD - 1)].next)
		n++;
	if (at == NONE_HELD || n == MAX_HELD_EACH)
		return false;
	fragments->free = fragments->held[at].next;
	fragments->held[at] =
		(struct held){.packet = packet, .next = fragments->first_held[datagram]};
	fragments->first_held[datagram] = at;
	fragments->n_held++;
	return true;
}

/* What those that come after @datagram's first fragment are to be told. */
static union fragment_note note_of(const struct sl_datagram *datagram)
{
	return (union fragment_note){.source_port = datagram->source_port,
				     .destination_port = datagram->destination_port,
				     .protocol = datagram->protocol,
				     .is_judged = 1};
}

/* Those that waited follow the first one. */
static void release_held(struct worker *worker, uint32_t datagram, uint32_t owner)
{
	union fragment_note note = note_of(&worker->fragments->datagram[datagram]);
	struct rte_ring *ring = worker->dataplane->worker[owner]->handoff;
	struct rte_mbuf *packet;

	while ((packet = take_held(worker->fragments, datagram)) != NULL) {
		worker->counters.event[SL_EVENT_FRAGMENT]++;
		note_write(packet, note);
		if (rte_ring_enqueue(ring, packet) != 0) {
			worker->counters.verdict[SL_VERDICT_DROP_HANDOFF_FULL]++;
			rte_pktmbuf_free(packet);
		} else if (owner != worker->id) {
			worker->counters.event[SL_EVENT_HANDOFF]++;
		}
	}
}

/* The table's entry of the fragment's datagram, begun if it is new; or SL_NO_INDEX: no room. */
static uint32_t find(struct worker *worker, uint64_t hash, const struct sl_packet *parsed,
		     const struct sl_fragment *fragment)
{
	struct fragments *fragments = worker->fragments;
	uint32_t first = ((uint32_t)hash & (N_BUCKETS - 1)) * SL_DATAGRAM_WAYS;
	bool is_known;
	uint32_t way = sl_datagram_find(&fragments->datagram[first], &parsed->tuple, fragment,
					worker->now, &is_known);

	if (way == SL_DATAGRAM_WAYS)
		return SL_NO_INDEX;
	if (!is_known) {
		drop_held(worker, first + way, SL_VERDICT_DROP_FRAGMENT_NO_FIRST);
		sl_datagram_begin(&fragments->datagram[first + way], &parsed->tuple, fragment,
				  worker->now);
	}
	return first + way;
}

static bool drop(struct outcome *outcome, enum sl_verdict verdict)
{
	outcome->verdict = verdict;
	return true;
}

/* A fragment that may pass goes to the worker that owns the flow. False: which is another one. */
static bool pass(struct worker *worker, const struct snapshot *snapshot, uint32_t datagram,
		 struct rte_mbuf *packet, const struct sl_packet *parsed, struct outcome *outcome)
{
	const struct steering *steering = worker->steering;
	uint32_t owner = steering->reta[0][steer_index(steering, &worker->flows4.key, snapshot,
						       &parsed->tuple)];

	worker->counters.event[SL_EVENT_FRAGMENT]++;
	outcome->verdict = SL_VERDICT_NONE;
	note_write(packet, note_of(&worker->fragments->datagram[datagram]));
	if (owner != worker->id)
		worker_hand_off(worker, packet, owner);
	/* After it, whether that is in a ring or in this burst. */
	release_held(worker, datagram, owner);
	return owner == worker->id;
}

/* This worker judges the datagram's fragments. */
static bool add(struct worker *worker, const struct snapshot *snapshot, uint64_t hash,
		struct rte_mbuf *packet, struct sl_packet *parsed,
		const struct sl_fragment *fragment, struct outcome *outcome)
{
	uint32_t index = find(worker, hash, parsed, fragment);
	struct sl_datagram *datagram;

	if (index == SL_NO_INDEX)
		return drop(outcome, SL_VERDICT_DROP_FRAGMENT_FULL);
	datagram = &worker->fragments->datagram[index];
	switch (sl_datagram_add(datagram, fragment)) {
	case SL_FRAGMENT_TAKEN:
		break;
	case SL_FRAGMENT_REFUSED:
		drop_held(worker, index, SL_VERDICT_DROP_FRAGMENT_OVERLAP);
		return drop(outcome, SL_VERDICT_DROP_FRAGMENT_OVERLAP);
	case SL_FRAGMENT_DUPLICATE:
		return drop(outcome, SL_VERDICT_DROP_FRAGMENT_OVERLAP);
	}
	if (!sl_packet_is_later(parsed)) {
		sl_datagram_show(datagram, &parsed->tuple);
	} else if (datagram->has_first) {
		sl_datagram_lend(datagram, &parsed->tuple);
	} else if (hold(worker->fragments, index, packet)) {
		worker->counters.event[SL_EVENT_FRAGMENT_HELD]++;
		return false;
	} else {
		/* Its bytes stand for passed, so the datagram will not be whole. */
		datagram->is_refused = 1;
		drop_held(worker, index, SL_VERDICT_DROP_FRAGMENT_FULL);
		return drop(outcome, SL_VERDICT_DROP_FRAGMENT_FULL);
	}
	return pass(worker, snapshot, index, packet, parsed, outcome);
}

/* Whether a service's datagram may have this fragment: by its addresses, which all of them have. */
static bool may_be_ours(const struct snapshot *snapshot, const struct sl_tuple *tuple)
{
	return lookup_is_own_address(snapshot, &tuple->destination, tuple->family) ||
	       snapshot_may_be_backend(snapshot, &tuple->source, tuple->family) ||
	       prefix_table_find(&snapshot->inside, &tuple->source, tuple->family) != SL_NO_INDEX;
}

/* Makes @parsed what sl_parse() makes of a whole packet, but for the ports. SL_VERDICT_NONE: it is. */
static enum sl_verdict parse(const struct rte_mbuf *packet, struct sl_packet *parsed,
			     struct sl_fragment *fragment)
{
	uint8_t *data = rte_pktmbuf_mtod(packet, uint8_t *);

	switch (sl_fragment_parse(data, data + rte_pktmbuf_data_len(packet), parsed, fragment)) {
	case SL_FRAGMENT_FIRST:
	case SL_FRAGMENT_LATER:
		return SL_VERDICT_NONE;
	case SL_FRAGMENT_OTHER:
		return SL_VERDICT_PUNT_FRAGMENT;
	case SL_FRAGMENT_TINY:
		return SL_VERDICT_DROP_FRAGMENT_TINY;
	case SL_FRAGMENT_MALFORMED:
		break;
	}
	return SL_VERDICT_DROP_FRAGMENT_MALFORMED;
}

bool fragment_judge(struct worker *worker, const struct snapshot *snapshot, struct rte_mbuf *packet,
		    struct sl_packet *parsed, bool is_received, struct outcome *outcome)
{
	union fragment_note note = note_read(packet);
	struct sl_fragment fragment;
	struct sl_tuple tuple;
	uint32_t judge;
	uint64_t hash;

	if (is_received) {
		note.word = 0;
		*worker_mark(worker->dataplane, packet) = (struct steering_mark){0};
		if (!may_be_ours(snapshot, &parsed->tuple))
			return true;
	}
	outcome->verdict = parse(packet, parsed, &fragment);
	if (outcome->verdict != SL_VERDICT_NONE)
		return true;
	if (note.is_judged) {
		parsed->tuple.source_port = note.source_port;
		parsed->tuple.destination_port = note.destination_port;
		parsed->tuple.protocol = note.protocol;
		return true;
	}
	tuple = sl_datagram_tuple(&parsed->tuple, &fragment);
	hash = sl_flow_hash(&worker->flows4.key, &tuple);
	judge = worker->steering->reta[0][steering_index(worker->steering, (uint32_t)(hash >> 32))];
	if (judge == worker->id)
		return add(worker, snapshot, hash, packet, parsed, &fragment, outcome);
	note_write(packet, note);
	worker_hand_off(worker, packet, judge);
	return false;
}

void fragments_sweep(struct worker *worker)
{
	struct fragments *fragments = worker->fragments;

	if (fragments->n_held == 0 || fragments->swept == worker->now)
		return;
	fragments->swept = worker->now;
	for (uint32_t i = 0; i < N_BUCKETS * SL_DATAGRAM_WAYS; i++)
		if (fragments->first_held[i] != NONE_HELD &&
		    worker->now - fragments->datagram[i].began > SL_FRAGMENT_TICKS)
			drop_held(worker, i, SL_VERDICT_DROP_FRAGMENT_NO_FIRST);
}
