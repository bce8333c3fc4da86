/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * Mode snat: flows that lead a private network's clients to anywhere (RFC 4787, 5382, 5508). Such a flow
 * is a mapping of one client's endpoint to one of the source pool, whoever it talks to: the client's end
 * and the source alone are its tuples, and what stands for service and backend is zero. So packets to any
 * destination leave by the same source (endpoint-independent mapping), what anybody sends there comes in
 * (endpoint-independent filtering), and a client that talks to a million hosts costs one entry.
 *
 * A client may have several TCP connections on one endpoint, and a flow follows one of them at a time: a
 * second one at the same time is noted, and then the flow lives by its timeout alone.
 */
#pragma once

#include <sluice/base.h>
#include <sluice/packet/flow.h>
#include <sluice/packet/nat.h>
#include <sluice/packet/parse.h>
#include <sluice/packet/reject.h>

enum {
	/* Of sl_flow.flags, for such flows: no backend's packet begins one. */
	SL_FLOW_MANY = SL_FLOW_FROM_REPLY, /* more connections than one at a time */
};

/** The tuple by which a packet with @tuple finds its flow of mode snat. */
SL_INLINE struct sl_tuple sl_egress_key(const struct sl_tuple *tuple, enum sl_direction direction)
{
	struct sl_tuple key = {.protocol = tuple->protocol, .family = tuple->family};

	if (direction == SL_DIRECTION_FORWARD) {
		key.source = tuple->source;
		key.source_port = tuple->source_port;
	} else {
		key.destination = tuple->destination;
		key.destination_port = tuple->destination_port;
	}
	return key;
}

/** What a packet of @flow, with @tuple, in @direction is rewritten to: the other end stays. */
SL_INLINE void sl_egress_rewrite(const struct sl_flow *flow, uint8_t family,
				 const struct sl_tuple *tuple, enum sl_direction direction,
				 struct sl_rewrite *to)
{
	to->source = tuple->source;
	to->destination = tuple->destination;
	to->source_port = tuple->source_port;
	to->destination_port = tuple->destination_port;
	if (direction == SL_DIRECTION_FORWARD) {
		to->source = sl_flow_addr_as(flow, SL_FLOW_SOURCE, family);
		to->source_port = flow->source_port;
	} else {
		to->destination = sl_flow_addr_as(flow, SL_FLOW_CLIENT, family);
		to->destination_port = flow->client_port;
	}
}

/**
 * What tells one end that a client talks to from others, as far as a flow has room for it. @port: network
 * order. Between two clients, the other one's own end is meant, and not the source that stands for it.
 */
SL_INLINE uint32_t sl_egress_peer(const union sl_addr *addr, be16_t port, uint8_t family)
{
	uint64_t word = (uint64_t)addr->word[1] << 32 | addr->word[0];

	if (family != SL_FAMILY_IPV4)
		word ^= ((uint64_t)addr->word[3] << 32 | addr->word[2]) * 0xff51afd7ed558ccdull;
	return (uint32_t)(((word ^ (uint64_t)port << 40) * 0x9e3779b97f4a7c15ull) >> 32);
}

/**
 * The client's TCP packet with a SYN, which @flow does not follow: it opens one connection more, or takes
 * one that comes from outside, or both ends open one at once.
 */
SL_INLINE void sl_egress_add_connection(struct sl_flow *flow, uint32_t now)
{
	flow->flags |= SL_FLOW_MANY;
	flow->state = SL_FLOW_ESTABLISHED;
	flow->last_seen = now;
}

/**
 * What @packet, from or to @peer (sl_egress_peer()), does to the state of its @flow; as sl_flow_track().
 * What comes from outside keeps a flow alive only if the client has sent to where it comes from (RFC 4787
 * REQ-6). A flow that is over may become embryonic again: it follows the client's next connection.
 */
SL_INLINE void sl_egress_track(struct sl_flow *flow, enum sl_direction direction,
			       const struct sl_packet *packet, uint32_t peer, uint32_t now)
{
	bool is_forward = direction == SL_DIRECTION_FORWARD;
	bool is_known = flow->proxy_first == peer;

	if (packet->tuple.protocol != SL_PROTOCOL_TCP || (flow->flags & SL_FLOW_MANY)) {
		if (is_forward)
			flow->proxy_first = peer;
		if (is_forward || is_known)
			flow->last_seen = now;
		return;
	}
	if (is_forward && (packet->tcp_flags & SL_TCP_SYN)) {
		if (!sl_flow_is_opening(packet) || (!is_known && !sl_flow_is_over(flow))) {
			sl_egress_add_connection(flow, now);
			return;
		}
		if (sl_flow_is_over(flow)) {
			flow->state = SL_FLOW_EMBRYONIC;
			flow->flags = SL_FLOW_SYN;
			flow->proxy_first = peer;
			is_known = true;
		}
	}
	if (SL_LIKELY(is_known))
		sl_flow_track(flow, direction, packet, now);
}

/**
 * Position of the source address, of @n_sources, that all flows of the client's address @client have:
 * paired pooling (RFC 4787 REQ-2). The same on every engine and host with the same @key.
 */
SL_INLINE uint32_t sl_egress_source(const struct sl_hash_key *key, uint32_t n_sources,
				    const union sl_addr *client, uint8_t family)
{
	uint64_t hash = sl_flow_client_hash(key, client, 0, family, 0);

	return (uint32_t)(((hash >> 32) * n_sources) >> 32);
}

/** Why @packet of a client, which may not go where it is to go, is refused: enum sl_refused. */
SL_INLINE uint32_t sl_egress_denied(const struct sl_packet *packet)
{
	/* A reset ends what lives already, and every stack believes it. */
	return packet->tuple.protocol == SL_PROTOCOL_TCP ? SL_REFUSED : SL_REFUSED_PROHIBITED;
}

/** Whether @packet of a client, without a flow of mode snat, may have one. */
SL_INLINE bool sl_egress_may_begin(const struct sl_packet *packet)
{
	if (sl_packet_is_later(packet))
		return false;
	return packet->tuple.protocol != SL_PROTOCOL_TCP || sl_flow_is_opening(packet);
}

/**
 * sl_flow_open() for a flow of mode snat. @key: sl_egress_key() of the client's packet, @peer: where it
 * goes. The source is the caller's to set.
 */
SL_INLINE void sl_egress_open(struct sl_flow *flow, const struct sl_tuple *key, uint32_t peer)
{
	const union sl_addr anywhere = {.word = {0}};

	sl_flow_open(flow, key, &anywhere, 0);
	flow->proxy_first = peer;
}
