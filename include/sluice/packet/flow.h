/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * A flow: one connection with its translation, both directions in one object, and what its packets
 * do to its state. Where flows are kept is the engine's affair; this file knows no table, no clock
 * and no allocation.
 *
 * TCP states follow RFC 5382 and 5961 in purpose: a flow is embryonic until the handshake was seen
 * to complete, a reset counts only at the very sequence number that its sender has reached, and
 * nothing a packet says frees a flow: it only shortens its time.
 */
#pragma once

#include <sluice/base.h>
#include <sluice/counters.h>
#include <sluice/packet/nat.h>
#include <sluice/packet/parse.h>
#include <sluice/packet/proxy.h>
#include <sluice/packet/siphash.h>
#include <sluice/tables.h>

/* The order is that of SL_FLOW_STATE_LIST in wire.h, which names them; a test compares. */
enum sl_flow_state {
	SL_FLOW_FREE = 0,
	SL_FLOW_EMBRYONIC,   /* one side alone was heard */
	SL_FLOW_ESTABLISHED, /* both were, and the handshake is over */
	SL_FLOW_CLOSING,     /* one side sent FIN */
	SL_FLOW_CLOSED,      /* both did, or a reset was accepted */
	SL_N_FLOW_STATES
};

enum sl_direction {
	SL_DIRECTION_FORWARD = 0, /* client to backend */
	SL_DIRECTION_REPLY = 1,   /* backend to client */
};

/* Bits of sl_flow.flags. */
enum {
	SL_FLOW_HAS_CLIENT_SEQUENCE = 0x01,
	SL_FLOW_HAS_BACKEND_SEQUENCE = 0x02,
	SL_FLOW_CLIENT_FIN = 0x04,
	SL_FLOW_BACKEND_FIN = 0x08,
	SL_FLOW_AWAITED = 0x08,       /* embryonic: its SYN was counted, what came of it was not */
	SL_FLOW_SYN = 0x10,           /* began with the client's SYN */
	SL_FLOW_SYN_ACK = 0x20,       /* embryonic: and the backend answered it */
	SL_FLOW_BACKEND_FIRST = 0x20, /* closing and closed: the backend ended first */
	SL_FLOW_RESET = 0x40,         /* closed by an accepted reset */
	SL_FLOW_FROM_REPLY = 0x80,    /* learned from the backend's packet */
};

/** A sender may run ahead of what we saw of it by this much; what is further off is not believed. */
enum {
	SL_FLOW_SEQUENCE_WINDOW = 1 << 20,
};

/**
 * The part of a flow that both families share; the addresses follow it: client, service, backend,
 * source, each one 4 (IPv4) or 16 (IPv6) bytes. In all 64 bytes for IPv4, one cache line.
 */
struct sl_flow {
	be16_t client_port;
	be16_t service_port;
	be16_t backend_port;
	be16_t source_port; /* what the backend sees; client_port in nat */
	uint8_t protocol;
	uint8_t family : 4;
	uint8_t proxy_phase : 4; /* enum sl_proxy_phase; with UDP it only says that there is a header */
	uint8_t state : 4;       /* enum sl_flow_state */
	uint8_t position : 4; /* fullnat: of the source among the service's source addresses */
	uint8_t flags;
	uint32_t service : 14; /* stable index */
	uint32_t backend : 17; /* stable index */
	uint32_t is_logged : 1;
	uint32_t proxy_first; /* struct sl_proxy's first */
	uint16_t service_epoch;
	uint16_t backend_epoch;
	uint16_t client_adjacency; /* next hop of replies */
	uint16_t route_generation; /* of which client_adjacency is the answer */
	uint32_t last_seen;        /* ticks */
	uint32_t sequence;    /* odd while being filled or freed: for readers in other threads */
	uint32_t client_next; /* next sequence number of the client, host order */
	/* Next sequence number of the backend, host order; of an awaited flow: when its SYN came, us. */
	uint32_t backend_next;
	uint32_t link; /* the table's own */
};

enum { SL_FLOW_CLIENT = 0, SL_FLOW_SERVICE, SL_FLOW_BACKEND, SL_FLOW_SOURCE, SL_N_FLOW_ADDRESSES };

struct sl_flow_ipv4 {
	struct sl_flow flow;
	be32_t addr[SL_N_FLOW_ADDRESSES];
};

struct sl_flow_ipv6 {
	struct sl_flow flow;
	union sl_addr addr[SL_N_FLOW_ADDRESSES];
	uint8_t reserved[16];
};

_Static_assert(sizeof(struct sl_flow) == 48, "common part");
_Static_assert(SL_MAX_SOURCES_PER_SERVICE == 16, "sl_flow.position has room");
_Static_assert(SL_MAX_SERVICES == 1 << 14 && SL_MAX_BACKENDS == 1 << 17, "sl_flow has room");
_Static_assert(SL_N_PROXY_PHASES <= 16, "sl_flow.proxy_phase has room");
_Static_assert(sizeof(struct sl_flow_ipv4) == SL_CACHE_LINE, "one cache line");
_Static_assert(sizeof(struct sl_flow_ipv6) == 2 * SL_CACHE_LINE, "two cache lines");

/**
 * The keyed hash of a tuple as it stands in the packet: chooses the slot (high half) and the place
 * in the flow table (low half). The same on every engine and host with the same key.
 */
SL_INLINE uint64_t sl_flow_hash(const struct sl_hash_key *key, const struct sl_tuple *tuple)
{
	uint64_t ports = (uint64_t)tuple->protocol << 32 | (uint64_t)tuple->destination_port << 16 |
			 tuple->source_port;

	if (tuple->family == SL_FAMILY_IPV4) {
		const uint64_t word[2] = {
			(uint64_t)tuple->destination.ipv4 << 32 | tuple->source.ipv4,
			ports,
		};

		return sl_siphash13_words(key, word, 2);
	} else {
		const uint64_t word[5] = {
			(uint64_t)tuple->source.word[1] << 32 | tuple->source.word[0],
			(uint64_t)tuple->source.word[3] << 32 | tuple->source.word[2],
			(uint64_t)tuple->destination.word[1] << 32 | tuple->destination.word[0],
			(uint64_t)tuple->destination.word[3] << 32 | tuple->destination.word[2],
			ports,
		};

		return sl_siphash13_words(key, word, 5);
	}
}

/**
 * The keyed hash of the client's end alone, which in mode nat stands in the packets of both
 * directions: a table that goes by it finds a flow at one place whichever way its packet goes.
 * @port: network order.
 */
SL_INLINE uint64_t sl_flow_client_hash(const struct sl_hash_key *key, const union sl_addr *client,
				       be16_t port, uint8_t family, uint8_t protocol)
{
	uint64_t rest = (uint64_t)protocol << 16 | port;
	struct sl_siphash s;

	/* Seven bytes, or 19: what is left of the last word is room for their number. */
	sl_siphash13_init(&s, key);
	if (family == SL_FAMILY_IPV4)
		return sl_siphash13_fini_tail(&s, rest << 32 | client->word[0], 7);
	sl_siphash13_word(&s, (uint64_t)client->word[1] << 32 | client->word[0]);
	sl_siphash13_word(&s, (uint64_t)client->word[3] << 32 | client->word[2]);
	return sl_siphash13_fini_tail(&s, rest, 19);
}

/**
 * Address @which (SL_FLOW_CLIENT, ...) of @flow, whose family is known to be @family. The functions
 * that end in _as are for callers whose table holds one family, so that nothing depends on what an
 * entry says of itself.
 */
SL_INLINE union sl_addr sl_flow_addr_as(const struct sl_flow *flow, unsigned int which,
					uint8_t family)
{
	if (family == SL_FAMILY_IPV4) {
		const struct sl_flow_ipv4 *flow4 = (const struct sl_flow_ipv4 *)flow;

		return (union sl_addr){.word = {flow4->addr[which]}};
	}
	return ((const struct sl_flow_ipv6 *)flow)->addr[which];
}

/** Address @which (SL_FLOW_CLIENT, ...) of @flow. */
SL_INLINE union sl_addr sl_flow_addr(const struct sl_flow *flow, unsigned int which)
{
	return sl_flow_addr_as(flow, which, flow->family);
}

/** Sets address @which of @flow, which has room for @family's. */
SL_INLINE void sl_flow_set_addr(struct sl_flow *flow, unsigned int which, const union sl_addr *addr,
				uint8_t family)
{
	if (family == SL_FAMILY_IPV4)
		((struct sl_flow_ipv4 *)flow)->addr[which] = addr->ipv4;
	else
		((struct sl_flow_ipv6 *)flow)->addr[which] = *addr;
}

/** The tuple that packets of @direction carry when they reach us. */
SL_INLINE struct sl_tuple sl_flow_tuple(const struct sl_flow *flow, enum sl_direction direction)
{
	struct sl_tuple tuple = {.protocol = flow->protocol, .family = flow->family};

	if (direction == SL_DIRECTION_FORWARD) {
		tuple.source = sl_flow_addr(flow, SL_FLOW_CLIENT);
		tuple.destination = sl_flow_addr(flow, SL_FLOW_SERVICE);
		tuple.source_port = flow->client_port;
		tuple.destination_port = flow->service_port;
	} else {
		tuple.source = sl_flow_addr(flow, SL_FLOW_BACKEND);
		tuple.destination = sl_flow_addr(flow, SL_FLOW_SOURCE);
		tuple.source_port = flow->backend_port;
		tuple.destination_port = flow->source_port;
	}
	return tuple;
}

/** Whether a packet with @tuple is one of @flow in @direction. */
SL_INLINE bool sl_flow_matches(const struct sl_flow *flow, const struct sl_tuple *tuple,
			       enum sl_direction direction)
{
	be16_t from = direction == SL_DIRECTION_FORWARD ? flow->client_port : flow->backend_port;
	be16_t to = direction == SL_DIRECTION_FORWARD ? flow->service_port : flow->source_port;
	unsigned int source = direction == SL_DIRECTION_FORWARD ? SL_FLOW_CLIENT : SL_FLOW_BACKEND;
	unsigned int destination =
		direction == SL_DIRECTION_FORWARD ? SL_FLOW_SERVICE : SL_FLOW_SOURCE;

	if (from != tuple->source_port || to != tuple->destination_port ||
	    flow->protocol != tuple->protocol || flow->family != tuple->family)
		return false;
	if (tuple->family == SL_FAMILY_IPV4) {
		const struct sl_flow_ipv4 *flow4 = (const struct sl_flow_ipv4 *)flow;

		return flow4->addr[source] == tuple->source.ipv4 &&
		       flow4->addr[destination] == tuple->destination.ipv4;
	} else {
		const struct sl_flow_ipv6 *flow6 = (const struct sl_flow_ipv6 *)flow;

		return sl_addr_equal(&flow6->addr[source], &tuple->source) &&
		       sl_addr_equal(&flow6->addr[destination], &tuple->destination);
	}
}

/** What a packet of @flow, which is of @family, in @direction is rewritten to. */
SL_INLINE void sl_flow_rewrite_as(const struct sl_flow *flow, uint8_t family,
				  enum sl_direction direction, struct sl_rewrite *to)
{
	if (direction == SL_DIRECTION_FORWARD) {
		to->source = sl_flow_addr_as(flow, SL_FLOW_SOURCE, family);
		to->destination = sl_flow_addr_as(flow, SL_FLOW_BACKEND, family);
		to->source_port = flow->source_port;
		to->destination_port = flow->backend_port;
	} else {
		to->source = sl_flow_addr_as(flow, SL_FLOW_SERVICE, family);
		to->destination = sl_flow_addr_as(flow, SL_FLOW_CLIENT, family);
		to->source_port = flow->service_port;
		to->destination_port = flow->client_port;
	}
}

/**
 * The same without a branch, for bursts in which directions come as they please: what a packet is
 * rewritten to stands in a flow as what it carries does, the other way round.
 */
SL_INLINE void sl_flow_rewrite_either(const struct sl_flow *flow, uint8_t family,
				      enum sl_direction direction, struct sl_rewrite *to)
{
	unsigned int at = SL_FLOW_BACKEND - 2 * (unsigned int)direction;
	uint32_t ports = sl_load32(&flow->client_port + at);

	if (family == SL_FAMILY_IPV4) {
		uint64_t pair = sl_load64(&((const struct sl_flow_ipv4 *)flow)->addr[at]);

		to->destination.ipv4 = (uint32_t)pair;
		to->source.ipv4 = (uint32_t)(pair >> 32);
	} else {
		to->destination = ((const struct sl_flow_ipv6 *)flow)->addr[at];
		to->source = ((const struct sl_flow_ipv6 *)flow)->addr[at + 1];
	}
	to->destination_port = (uint16_t)ports;
	to->source_port = (uint16_t)(ports >> 16);
}

/** What a packet of @flow in @direction is rewritten to. */
SL_INLINE void sl_flow_rewrite(const struct sl_flow *flow, enum sl_direction direction,
			       struct sl_rewrite *to)
{
	sl_flow_rewrite_as(flow, flow->family, direction, to);
}

/** Whether @packet opens a connection: a SYN without ACK. Always false for UDP. */
SL_INLINE bool sl_flow_is_opening(const struct sl_packet *packet)
{
	return (packet->tcp_flags & (SL_TCP_SYN | SL_TCP_ACK)) == SL_TCP_SYN;
}

/** Whether a SYN of the client on @flow begins a new connection, to be scheduled afresh at once. */
SL_INLINE bool sl_flow_is_over(const struct sl_flow *flow)
{
	return flow->state == SL_FLOW_CLOSING || flow->state == SL_FLOW_CLOSED;
}

/** Follows the sequence numbers of one side; true if @sequence is where that side stood. */
SL_INLINE bool sl_flow_track_sequence(struct sl_flow *flow, enum sl_direction direction,
				      uint32_t sequence, uint32_t length)
{
	uint8_t bit = direction == SL_DIRECTION_FORWARD ? SL_FLOW_HAS_CLIENT_SEQUENCE
							: SL_FLOW_HAS_BACKEND_SEQUENCE;
	uint32_t *next =
		direction == SL_DIRECTION_FORWARD ? &flow->client_next : &flow->backend_next;
	uint32_t ahead = sequence + length - *next;
	bool is_next = (flow->flags & bit) != 0 && sequence == *next;

	if ((flow->flags & bit) == 0 || (ahead != 0 && ahead < SL_FLOW_SEQUENCE_WINDOW)) {
		*next = sequence + length;
		flow->flags |= bit;
	}
	return is_next;
}

/** What a packet says of the backend of its flow, for that one's counters. */
enum sl_flow_word {
	SL_FLOW_NO_NEWS = 0,
	SL_FLOW_ANSWERED,  /* the first SYN-ACK */
	SL_FLOW_REFUSED,   /* a reset instead of it */
	SL_FLOW_WAS_RESET, /* the backend reset an established flow */
};

struct sl_flow_news {
	enum sl_flow_word word;
	uint32_t since_us; /* SL_FLOW_ANSWERED: when the SYN came, as the shell gave it */
};

/**
 * The flags of a new flow that begins with @packet, of its client; @has_ttl: sl_nat_has_ttl(). The
 * answer to a SYN is awaited if the SYN gets to the backend: what ends here, or is only a piece, says
 * nothing of that one. The shell puts the time into an awaited flow's backend_next, in microseconds
 * that may wrap.
 */
SL_INLINE uint8_t sl_flow_opening_flags(const struct sl_packet *packet, bool has_ttl)
{
	if (!sl_flow_is_opening(packet))
		return 0;
	if (packet->fragment != SL_PACKET_WHOLE || !has_ttl)
		return SL_FLOW_SYN;
	return SL_FLOW_SYN | SL_FLOW_AWAITED;
}

/** Whether nothing has come of the client's SYN yet; where the flow ends so, it was unanswered. */
SL_INLINE bool sl_flow_is_awaited(const struct sl_flow *flow)
{
	return flow->state == SL_FLOW_EMBRYONIC && (flow->flags & SL_FLOW_AWAITED) != 0;
}

/** A reset where no handshake was seen: it is no end, but may be the answer to the SYN. */
SL_INLINE struct sl_flow_news sl_flow_track_refusal(struct sl_flow *flow,
						    enum sl_direction direction,
						    const struct sl_packet *packet)
{
	/* RFC 9293 3.5.2: it acknowledges the SYN, or is not believed. */
	if (direction != SL_DIRECTION_REPLY || !sl_flow_is_awaited(flow) ||
	    (packet->tcp_flags & SL_TCP_ACK) == 0 ||
	    packet->tcp_acknowledgement != flow->client_next)
		return (struct sl_flow_news){SL_FLOW_NO_NEWS, 0};
	flow->flags &= (uint8_t)~SL_FLOW_AWAITED;
	flow->backend_next = 0;
	return (struct sl_flow_news){SL_FLOW_REFUSED, 0};
}

/**
 * An accepted or refused reset; see the head of the file. Where both sides have ended it says nothing
 * new: a backend that has forgotten the connection sends one for an acknowledgement that comes late.
 */
SL_INLINE struct sl_flow_news sl_flow_track_reset(struct sl_flow *flow, enum sl_direction direction,
						  const struct sl_packet *packet)
{
	struct sl_flow_news news = {SL_FLOW_NO_NEWS, 0};
	uint8_t bit = direction == SL_DIRECTION_FORWARD ? SL_FLOW_HAS_CLIENT_SEQUENCE
							: SL_FLOW_HAS_BACKEND_SEQUENCE;
	uint32_t next = direction == SL_DIRECTION_FORWARD ? flow->client_next : flow->backend_next;

	if (flow->state == SL_FLOW_EMBRYONIC)
		return sl_flow_track_refusal(flow, direction, packet);
	if (flow->state == SL_FLOW_CLOSED || (flow->flags & bit) == 0 ||
	    packet->tcp_sequence != next)
		return news;
	if (flow->state == SL_FLOW_ESTABLISHED && direction == SL_DIRECTION_REPLY &&
	    (flow->flags & SL_FLOW_SYN))
		news.word = SL_FLOW_WAS_RESET;
	flow->state = SL_FLOW_CLOSED;
	flow->flags |= SL_FLOW_RESET;
	return news;
}

/** Whether the packet completes the opening of an embryonic TCP flow. */
SL_INLINE bool sl_flow_completes(const struct sl_flow *flow, enum sl_direction direction,
				 const struct sl_packet *packet)
{
	if (flow->flags & SL_FLOW_FROM_REPLY)
		return direction == SL_DIRECTION_FORWARD;
	if ((flow->flags & SL_FLOW_SYN) == 0)
		return direction == SL_DIRECTION_REPLY;
	return direction == SL_DIRECTION_FORWARD && (flow->flags & SL_FLOW_SYN_ACK) != 0 &&
	       (packet->tcp_flags & (SL_TCP_SYN | SL_TCP_ACK)) == SL_TCP_ACK &&
	       packet->tcp_acknowledgement == flow->backend_next;
}

/** One side has sent FIN, in a flow that is not embryonic. */
SL_INLINE void sl_flow_track_end(struct sl_flow *flow, enum sl_direction direction)
{
	bool is_reply = direction == SL_DIRECTION_REPLY;

	flow->flags |= is_reply ? SL_FLOW_BACKEND_FIN : SL_FLOW_CLIENT_FIN;
	if ((flow->flags & (SL_FLOW_CLIENT_FIN | SL_FLOW_BACKEND_FIN)) ==
	    (SL_FLOW_CLIENT_FIN | SL_FLOW_BACKEND_FIN)) {
		flow->state = SL_FLOW_CLOSED;
	} else if (flow->state == SL_FLOW_ESTABLISHED) {
		flow->state = SL_FLOW_CLOSING;
		flow->flags &= (uint8_t)~SL_FLOW_BACKEND_FIRST;
		if (is_reply)
			flow->flags |= SL_FLOW_BACKEND_FIRST;
	}
}

/** The backend's SYN-ACK. It may answer a repeated SYN with another number: the last one holds. */
SL_INLINE struct sl_flow_news sl_flow_track_syn_ack(struct sl_flow *flow, uint32_t next)
{
	struct sl_flow_news news = {SL_FLOW_NO_NEWS, 0};

	if (flow->flags & SL_FLOW_AWAITED)
		news = (struct sl_flow_news){SL_FLOW_ANSWERED, flow->backend_next};
	flow->flags &= (uint8_t)~SL_FLOW_AWAITED;
	flow->flags |= SL_FLOW_SYN_ACK | SL_FLOW_HAS_BACKEND_SEQUENCE;
	flow->backend_next = next;
	return news;
}

/** A packet of an embryonic flow, no reset. */
SL_INLINE struct sl_flow_news sl_flow_track_opening(struct sl_flow *flow,
						    enum sl_direction direction,
						    const struct sl_packet *packet, uint32_t length)
{
	if (direction == SL_DIRECTION_REPLY &&
	    (packet->tcp_flags & (SL_TCP_SYN | SL_TCP_ACK)) == (SL_TCP_SYN | SL_TCP_ACK))
		return sl_flow_track_syn_ack(flow, packet->tcp_sequence + length);
	if (sl_flow_completes(flow, direction, packet))
		flow->state = SL_FLOW_ESTABLISHED;
	/* What a backend says before its SYN-ACK is of a connection before. */
	if (direction == SL_DIRECTION_FORWARD || !sl_flow_is_awaited(flow))
		sl_flow_track_sequence(flow, direction, packet->tcp_sequence, length);
	return (struct sl_flow_news){SL_FLOW_NO_NEWS, 0};
}

SL_INLINE struct sl_flow_news sl_flow_track_tcp(struct sl_flow *flow, enum sl_direction direction,
						const struct sl_packet *packet)
{
	struct sl_flow_news news = {SL_FLOW_NO_NEWS, 0};
	uint8_t flags = packet->tcp_flags;
	uint32_t length =
		(uint32_t)packet->tcp_payload + !!(flags & SL_TCP_SYN) + !!(flags & SL_TCP_FIN);

	if (flags & SL_TCP_RST)
		return sl_flow_track_reset(flow, direction, packet);
	if (flow->state == SL_FLOW_EMBRYONIC)
		news = sl_flow_track_opening(flow, direction, packet, length);
	else
		sl_flow_track_sequence(flow, direction, packet->tcp_sequence, length);
	/* The backend still acknowledges: the reset that we believed was not believed there. */
	if ((flow->flags & SL_FLOW_RESET) && direction == SL_DIRECTION_REPLY && length == 0) {
		flow->state = SL_FLOW_ESTABLISHED;
		flow->flags &= (uint8_t)~SL_FLOW_RESET;
	}
	if ((flags & SL_TCP_FIN) && flow->state != SL_FLOW_EMBRYONIC)
		sl_flow_track_end(flow, direction);
	return news;
}

/**
 * What @packet, which is one of @flow in @direction, does to its state. To be called before the
 * packet is rewritten. @now: ticks. Returns what the backend's counters are to know of it.
 */
SL_INLINE struct sl_flow_news sl_flow_track(struct sl_flow *flow, enum sl_direction direction,
					    const struct sl_packet *packet, uint32_t now)
{
	struct sl_flow_news news = {SL_FLOW_NO_NEWS, 0};

	/* The cache line is left as it is where it can be: in memory, and for other CPUs. */
	/* cppcheck-suppress duplicateConditionalAssign */
	if (flow->last_seen != now)
		flow->last_seen = now;
	if (packet->tuple.protocol == SL_PROTOCOL_TCP) {
		if (SL_LIKELY(!sl_packet_is_later(packet)))
			news = sl_flow_track_tcp(flow, direction, packet);
		return news;
	}
	if (flow->state == SL_FLOW_EMBRYONIC &&
	    direction == ((flow->flags & SL_FLOW_FROM_REPLY) ? SL_DIRECTION_FORWARD
							     : SL_DIRECTION_REPLY))
		flow->state = SL_FLOW_ESTABLISHED;
	return news;
}

/** The timeout that holds for @flow now: an index into sl_service.timeout_ticks. */
SL_INLINE enum sl_timeout sl_flow_timeout(const struct sl_flow *flow)
{
	if (flow->state == SL_FLOW_EMBRYONIC)
		return SL_TIMEOUT_EMBRYONIC;
	if (flow->protocol != SL_PROTOCOL_TCP)
		return SL_TIMEOUT_UDP;
	return flow->state == SL_FLOW_ESTABLISHED ? SL_TIMEOUT_ESTABLISHED : SL_TIMEOUT_TRANSITORY;
}

/**
 * Whether the backend sees another address than the client's: mode fullnat. A client never has an
 * address that stands in for clients: its packets are refused.
 */
SL_INLINE bool sl_flow_has_source_as(const struct sl_flow *flow, uint8_t family)
{
	if (family == SL_FAMILY_IPV4) {
		const struct sl_flow_ipv4 *flow4 = (const struct sl_flow_ipv4 *)flow;

		return flow4->addr[SL_FLOW_SOURCE] != flow4->addr[SL_FLOW_CLIENT];
	} else {
		const struct sl_flow_ipv6 *flow6 = (const struct sl_flow_ipv6 *)flow;

		return !sl_addr_equal(&flow6->addr[SL_FLOW_SOURCE], &flow6->addr[SL_FLOW_CLIENT]);
	}
}

SL_INLINE bool sl_flow_has_source(const struct sl_flow *flow)
{
	return sl_flow_has_source_as(flow, flow->family);
}

/**
 * Gives a new flow, which sl_flow_open() filled and no table has, its source: mode fullnat.
 * @position: of @addr among the service's source addresses, below SL_MAX_SOURCES_PER_SERVICE.
 */
SL_INLINE void sl_flow_set_source(struct sl_flow *flow, const union sl_addr *addr, be16_t port,
				  uint32_t position, uint8_t family)
{
	flow->source_port = port;
	flow->position = position & (SL_MAX_SOURCES_PER_SERVICE - 1);
	sl_flow_set_addr(flow, SL_FLOW_SOURCE, addr, family);
}

/**
 * Whether the source port of @flow may be given to the new TCP connection that begins with sequence
 * number @sequence (host order). Both sides have ended; if the client did first, the backend has
 * forgotten the connection, else it waits out its TIME-WAIT and takes a SYN that is beyond all that
 * it has seen (RFC 9293 3.6.1).
 */
SL_INLINE bool sl_flow_yields_port(const struct sl_flow *flow, uint32_t sequence)
{
	if (flow->protocol != SL_PROTOCOL_TCP || flow->state != SL_FLOW_CLOSED)
		return false;
	if ((flow->flags & (SL_FLOW_BACKEND_FIRST | SL_FLOW_RESET)) == 0)
		return true;
	return (flow->flags & SL_FLOW_HAS_CLIENT_SEQUENCE) != 0 &&
	       (int32_t)(sequence - flow->client_next) > 0;
}

/** Whether the backend of @flow is told of the client by a header: service with proxy_protocol v2. */
SL_INLINE bool sl_flow_has_header(const struct sl_flow *flow)
{
	return flow->proxy_phase != SL_PROXY_OFF;
}

/** How far the header of @flow is. */
SL_INLINE struct sl_proxy sl_flow_proxy(const struct sl_flow *flow)
{
	return (struct sl_proxy){.first = flow->proxy_first, .phase = flow->proxy_phase};
}

/**
 * Keeps what became of @was, which sl_flow_proxy() gave. Two CPUs of the XDP engine may do this at
 * once, one a direction. What that can spoil heals: a phase that falls back is raised by the
 * backend's next acknowledgement, and a first byte stands in the SYN-ACK that the backend repeats.
 */
SL_INLINE void sl_flow_set_proxy(struct sl_flow *flow, const struct sl_proxy *was,
				 const struct sl_proxy *is)
{
	if (is->first != was->first)
		flow->proxy_first = is->first;
	if (is->phase != was->phase)
		flow->proxy_phase = is->phase & 15u;
}

/** A new flow, which sl_flow_open() filled and no table has, is to have a header. */
SL_INLINE void sl_flow_set_header(struct sl_flow *flow)
{
	flow->proxy_phase = SL_PROXY_OPENING;
	flow->proxy_first = 0;
}

/**
 * Fills everything of a new flow but what belongs to the table (sequence, link): embryonic,
 * mode nat. @client_tuple: as a client's packet carries it. @backend_port: as the backend's packets
 * carry it.
 */
SL_INLINE void sl_flow_open(struct sl_flow *flow, const struct sl_tuple *client_tuple,
			    const union sl_addr *backend_addr, be16_t backend_port)
{
	flow->family = client_tuple->family & 15u;
	flow->proxy_phase = SL_PROXY_OFF;
	flow->protocol = client_tuple->protocol;
	flow->client_port = client_tuple->source_port;
	flow->service_port = client_tuple->destination_port;
	flow->backend_port = backend_port;
	flow->source_port = client_tuple->source_port;
	flow->state = SL_FLOW_EMBRYONIC;
	flow->position = 0;
	flow->flags = 0;
	flow->is_logged = 0;
	sl_flow_set_addr(flow, SL_FLOW_CLIENT, &client_tuple->source, client_tuple->family);
	sl_flow_set_addr(flow, SL_FLOW_SERVICE, &client_tuple->destination, client_tuple->family);
	sl_flow_set_addr(flow, SL_FLOW_BACKEND, backend_addr, client_tuple->family);
	sl_flow_set_addr(flow, SL_FLOW_SOURCE, &client_tuple->source, client_tuple->family);
}
