/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * What a client is told whose packet is refused: a TCP reset (RFC 9293 3.10.7.1), or ICMP port
 * unreachable (RFC 792, RFC 4443) for UDP; or how large its packets may be (RFC 1191, RFC 8201), for
 * one that does not fit; or that its time was over (RFC 1812 5.3.1), for one that may go no further.
 * The refused frame becomes the answer, in its own buffer.
 * Nothing is answered to a reset, and no more than a bucket holds goes to one source network.
 *
 * These packets are ours, so their checksums are computed in full.
 */
#pragma once

#include <sluice/base.h>
#include <sluice/counters.h>
#include <sluice/packet/checksum.h>
#include <sluice/packet/headers.h>
#include <sluice/packet/parse.h>

enum sl_reject {
	SL_REJECT_NONE = 0,
	SL_REJECT_RESET,       /* sl_reject_reset(), in the frame as it is */
	SL_REJECT_UNREACHABLE, /* sl_reject_unreachable(), in the frame grown at its head */
};

/**
 * Why a packet is refused, as far as its sender is told. What is between the first two is an MTU, bytes.
 */
enum sl_refused {
	SL_REFUSED = 0,                  /* nothing is there for it */
	SL_REFUSED_EXPIRED = 1 << 16,    /* its TTL or hop limit */
	SL_REFUSED_PROHIBITED = 1 << 17, /* it may not go there */
};

enum {
	SL_REJECT_TTL = 64,
	SL_REJECT_QUOTED = 8,     /* bytes quoted behind the IP header */
	SL_REJECT_ROOM_IPV4 = 28, /* bytes that the frame is to grow by */
	SL_REJECT_ROOM_IPV6 = 48, /* likewise */
	SL_REJECT_BUCKETS = 256,  /* of one worker or CPU */
	SL_REJECT_BURST = 32,     /* answers at once to one source network */
	SL_REJECT_PER_TICK = 8,   /* and then so many a tick: 128 a second */
};

/** How many answers a source network may still have. */
struct sl_reject_bucket {
	uint32_t tick; /* of the last look */
	uint32_t n;    /* answers given that no later tick made good */
};

/** The bucket of the network of @addr: /24, or /56 for IPv6. An index below SL_REJECT_BUCKETS. */
SL_INLINE uint32_t sl_reject_bucket_of(const union sl_addr *addr, uint8_t family)
{
	uint32_t network = addr->word[0] & SL_BE32(0xffffff00);

	if (family != SL_FAMILY_IPV4)
		network = addr->word[0] * 31 + (addr->word[1] & SL_BE32(0xffffff00));
	return (network * 0x9e3779b1u) >> 24;
}

/** Whether one more answer may go out at @now, ticks; counts it if so. */
SL_INLINE bool sl_reject_allow(struct sl_reject_bucket *bucket, uint32_t now)
{
	uint32_t passed = now - bucket->tick;

	if (passed != 0) {
		bucket->n = passed < SL_REJECT_BURST && bucket->n > passed * SL_REJECT_PER_TICK
				    ? bucket->n - passed * SL_REJECT_PER_TICK
				    : 0;
		bucket->tick = now;
	}
	if (bucket->n >= SL_REJECT_BURST)
		return false;
	bucket->n++;
	return true;
}

/** Whether @reason is the size that fits. */
SL_INLINE bool sl_reject_is_mtu(uint32_t reason)
{
	return reason != SL_REFUSED && reason < SL_REFUSED_EXPIRED;
}

/** The counter of an ICMP error for @reason. */
SL_INLINE enum sl_event sl_reject_event(uint32_t reason)
{
	if (reason == SL_REFUSED_EXPIRED)
		return SL_EVENT_TIME_EXCEEDED_SENT;
	return sl_reject_is_mtu(reason) ? SL_EVENT_TOO_BIG_SENT : SL_EVENT_UNREACHABLE_SENT;
}

/** What an ICMP error for @reason is. */
struct sl_reject_code {
	uint8_t type;
	uint8_t code;
};

SL_INLINE struct sl_reject_code sl_reject_code(uint32_t reason, uint8_t family)
{
	bool is_ipv4 = family == SL_FAMILY_IPV4;

	if (reason == SL_REFUSED_EXPIRED)
		return (struct sl_reject_code){.type = is_ipv4 ? 11 : 3};
	if (reason == SL_REFUSED_PROHIBITED)
		return (struct sl_reject_code){.type = is_ipv4 ? 3 : 1, .code = is_ipv4 ? 13 : 1};
	if (reason == SL_REFUSED)
		return (struct sl_reject_code){.type = is_ipv4 ? 3 : 1, .code = is_ipv4 ? 3 : 4};
	return (struct sl_reject_code){.type = is_ipv4 ? 3 : 2, .code = is_ipv4 ? 4 : 0};
}

/** Bytes before the IP header. */
SL_INLINE uint32_t sl_reject_link_length(const struct sl_packet *packet)
{
	return (uint32_t)sizeof(struct sl_ethernet) +
	       (packet->has_vlan ? (uint32_t)sizeof(struct sl_vlan) : 0);
}

SL_INLINE uint32_t sl_reject_ip_length(uint8_t family)
{
	return family == SL_FAMILY_IPV4 ? (uint32_t)sizeof(struct sl_ipv4)
					: (uint32_t)sizeof(struct sl_ipv6);
}

/**
 * What the sender of a refused @packet is told. @reason: why, enum sl_refused; or the largest IP packet
 * that it may send, bytes, if this one is too large.
 */
SL_INLINE enum sl_reject sl_reject_kind(const struct sl_packet *packet, uint32_t reason)
{
	/*
	 * Nothing is told of fragments: what is quoted, or acknowledged, is a whole packet's. Nor of ICMP
	 * errors (RFC 1122 3.2.2).
	 */
	if (packet->fragment != SL_PACKET_WHOLE || packet->quoted_offset != 0)
		return SL_REJECT_NONE;
	if (reason == SL_REFUSED && packet->tuple.protocol == SL_PROTOCOL_TCP)
		return (packet->tcp_flags & SL_TCP_RST) ? SL_REJECT_NONE : SL_REJECT_RESET;
	/* Its sender leaves the size to others, so nothing will come of telling (RFC 1191). */
	if (sl_reject_is_mtu(reason) && packet->ipv4 != NULL &&
	    (packet->ipv4->fragment & SL_BE16(SL_IPV4_DONT_FRAGMENT)) == 0)
		return SL_REJECT_NONE;
	/* With options or extension headers the quotation would be of another length: not worth it. */
	return packet->l4_offset == sl_reject_link_length(packet) +
					    sl_reject_ip_length(packet->tuple.family)
		       ? SL_REJECT_UNREACHABLE
		       : SL_REJECT_NONE;
}

/** Sum of the @n 32-bit words at @at. @n: a constant. */
SL_INLINE uint64_t sl_reject_sum(const void *at, unsigned int n)
{
	uint64_t sum = 0;

#pragma GCC unroll 14
	for (unsigned int i = 0; i < n; i++)
		sum += sl_load32((const uint8_t *)at + 4 * i);
	return sum;
}

/* @from, @to: of the answer. @length: of what follows the header. The checksum is filled in. */
SL_INLINE void sl_reject_ipv4(struct sl_ipv4 *ipv4, be32_t from, be32_t to, uint8_t protocol,
			      uint16_t length)
{
	ipv4->version_ihl = 0x45;
	ipv4->tos = 0;
	ipv4->total_length = sl_to_be16((uint16_t)(sizeof(*ipv4) + length));
	ipv4->id = 0;
	ipv4->fragment = SL_BE16(
		SL_IPV4_DONT_FRAGMENT); /* whole, and to stay so: no identification (RFC 6864) */
	ipv4->ttl = SL_REJECT_TTL;
	ipv4->protocol = protocol;
	ipv4->checksum = 0;
	ipv4->source = from;
	ipv4->destination = to;
	ipv4->checksum = (be16_t)~sl_checksum_ipv4_base(ipv4);
}

SL_INLINE void sl_reject_ipv6(struct sl_ipv6 *ipv6, const union sl_addr *from,
			      const union sl_addr *to, uint8_t protocol, uint16_t length)
{
	ipv6->version_class_flow = SL_BE32(0x60000000);
	ipv6->payload_length = sl_to_be16(length);
	ipv6->next_header = protocol;
	ipv6->hop_limit = SL_REJECT_TTL;
#pragma GCC unroll 4
	for (int i = 0; i < 4; i++) {
		ipv6->source[i] = from->word[i];
		ipv6->destination[i] = to->word[i];
	}
}

/* The pseudo-header's sum (RFC 9293 3.1, RFC 8200 8.1). IPv4 addresses have zero words behind. */
SL_INLINE uint64_t sl_reject_pseudo(const struct sl_tuple *tuple, uint8_t protocol, uint16_t length)
{
	uint64_t sum = (uint64_t)SL_BE16(protocol) + sl_to_be16(length);

#pragma GCC unroll 4
	for (int i = 0; i < 4; i++)
		sum += (uint64_t)tuple->source.word[i] + tuple->destination.word[i];
	return sum;
}

/** Bytes of the frame that sl_reject_reset() leaves; the caller cuts off the rest. */
SL_INLINE uint32_t sl_reject_reset_length(const struct sl_packet *packet)
{
	return sl_reject_link_length(packet) + sl_reject_ip_length(packet->tuple.family) +
	       (uint32_t)sizeof(struct sl_tcp);
}

SL_INLINE void sl_reject_fill_reset(struct sl_tcp *tcp, const struct sl_packet *packet)
{
	uint8_t flags = packet->tcp_flags;
	uint32_t end = packet->tcp_sequence + packet->tcp_payload + !!(flags & SL_TCP_SYN) +
		       !!(flags & SL_TCP_FIN);
	bool has_ack = (flags & SL_TCP_ACK) != 0;

	tcp->source = packet->tuple.destination_port;
	tcp->destination = packet->tuple.source_port;
	tcp->sequence = has_ack ? sl_to_be32(packet->tcp_acknowledgement) : 0;
	tcp->acknowledgement = has_ack ? 0 : sl_to_be32(end);
	tcp->offset = 5 << 4;
	tcp->flags = has_ack ? SL_TCP_RST : SL_TCP_RST | SL_TCP_ACK;
	tcp->window = 0;
	tcp->checksum = 0;
	tcp->urgent = 0;
	tcp->checksum = (be16_t)~sl_checksum_fold(
		sl_reject_sum(tcp, sizeof(*tcp) / 4) +
		sl_reject_pseudo(&packet->tuple, SL_PROTOCOL_TCP, sizeof(*tcp)));
}

SL_INLINE void sl_reject_turn_link(struct sl_ethernet *ethernet)
{
	uint8_t mac[8];

	sl_copy_mac(mac, ethernet->destination);
	sl_copy_mac(ethernet->destination, ethernet->source);
	sl_copy_mac(ethernet->source, mac);
}

/**
 * Makes the frame of the TCP packet @packet, as sl_parse() filled it and nobody has written it, a
 * reset to its sender of sl_reject_reset_length() bytes. @data_end: of the frame. False: too short,
 * which a parsed packet never is.
 */
SL_INLINE bool sl_reject_reset(struct sl_packet *packet, const void *data_end)
{
	const struct sl_tuple *tuple = &packet->tuple;
	struct sl_tcp *tcp;

	if (tuple->family == SL_FAMILY_IPV4) {
		tcp = (struct sl_tcp *)(packet->ipv4 + 1);
		if ((const void *)(tcp + 1) > data_end)
			return false;
		sl_reject_ipv4(packet->ipv4, tuple->destination.ipv4, tuple->source.ipv4,
			       SL_PROTOCOL_TCP, sizeof(*tcp));
	} else {
		tcp = (struct sl_tcp *)(packet->ipv6 + 1);
		if ((const void *)(tcp + 1) > data_end)
			return false;
		sl_reject_ipv6(packet->ipv6, &tuple->destination, &tuple->source, SL_PROTOCOL_TCP,
			       sizeof(*tcp));
	}
	sl_reject_fill_reset(tcp, packet);
	sl_reject_turn_link(packet->ethernet);
	return true;
}

/** Bytes that a frame of @family is to grow by at its head for sl_reject_unreachable(). */
SL_INLINE uint32_t sl_reject_room(uint8_t family)
{
	return family == SL_FAMILY_IPV4 ? SL_REJECT_ROOM_IPV4 : SL_REJECT_ROOM_IPV6;
}

/** Bytes of the frame that sl_reject_unreachable() leaves; the caller cuts off the rest. */
SL_INLINE uint32_t sl_reject_unreachable_length(uint32_t link_length, uint8_t family)
{
	return link_length + sl_reject_room(family) + sl_reject_ip_length(family) +
	       SL_REJECT_QUOTED;
}

/* The link header @room bytes further on becomes that of the answer, at @frame. */
SL_INLINE void sl_reject_move_link(uint8_t *frame, uint32_t room, bool has_vlan)
{
	const struct sl_ethernet *from = (const struct sl_ethernet *)(frame + room);
	struct sl_ethernet *to = (struct sl_ethernet *)frame;

	sl_copy_mac(to->destination, from->source);
	sl_copy_mac(to->source, from->destination);
	to->type = from->type;
	if (has_vlan)
		*(struct sl_vlan *)(to + 1) = *(const struct sl_vlan *)(from + 1);
}

SL_INLINE bool sl_reject_unreachable4(uint8_t *frame, const void *data_end, bool has_vlan,
				      const union sl_addr *from, uint32_t reason)
{
	uint8_t *l3 = frame + sizeof(struct sl_ethernet) + (has_vlan ? sizeof(struct sl_vlan) : 0);
	struct sl_ipv4 *ipv4 = (struct sl_ipv4 *)l3;
	struct sl_icmp *icmp = (struct sl_icmp *)(ipv4 + 1);
	const struct sl_ipv4 *quoted = (const struct sl_ipv4 *)(icmp + 1);
	struct sl_reject_code code = sl_reject_code(reason, SL_FAMILY_IPV4);
	const uint16_t length = sizeof(*icmp) + sizeof(*quoted) + SL_REJECT_QUOTED;

	if ((const void *)((const uint8_t *)(quoted + 1) + SL_REJECT_QUOTED) > data_end)
		return false;
	sl_reject_move_link(frame, SL_REJECT_ROOM_IPV4, has_vlan);
	sl_reject_ipv4(ipv4, from->ipv4, quoted->source, SL_PROTOCOL_ICMP, length);
	icmp->type = code.type;
	icmp->code = code.code;
	icmp->checksum = 0;
	icmp->rest = sl_to_be32(sl_reject_is_mtu(reason) ? reason : 0);
	icmp->checksum = (be16_t)~sl_checksum_fold(sl_reject_sum(icmp, length / 4));
	return true;
}

SL_INLINE bool sl_reject_unreachable6(uint8_t *frame, const void *data_end, bool has_vlan,
				      const union sl_addr *from, uint32_t reason)
{
	uint8_t *l3 = frame + sizeof(struct sl_ethernet) + (has_vlan ? sizeof(struct sl_vlan) : 0);
	struct sl_ipv6 *ipv6 = (struct sl_ipv6 *)l3;
	struct sl_icmp *icmp = (struct sl_icmp *)(ipv6 + 1);
	const struct sl_ipv6 *quoted = (const struct sl_ipv6 *)(icmp + 1);
	struct sl_reject_code code = sl_reject_code(reason, SL_FAMILY_IPV6);
	const uint16_t length = sizeof(*icmp) + sizeof(*quoted) + SL_REJECT_QUOTED;

	if ((const void *)((const uint8_t *)(quoted + 1) + SL_REJECT_QUOTED) > data_end)
		return false;
	sl_reject_move_link(frame, SL_REJECT_ROOM_IPV6, has_vlan);
	ipv6->version_class_flow = SL_BE32(0x60000000);
	ipv6->payload_length = sl_to_be16(length);
	ipv6->next_header = SL_PROTOCOL_ICMPV6;
	ipv6->hop_limit = SL_REJECT_TTL;
#pragma GCC unroll 4
	for (int i = 0; i < 4; i++) {
		ipv6->source[i] = from->word[i];
		ipv6->destination[i] = quoted->source[i];
	}
	icmp->type = code.type;
	icmp->code = code.code;
	icmp->checksum = 0;
	icmp->rest = sl_to_be32(sl_reject_is_mtu(reason) ? reason : 0);
	/* The addresses of the pseudo-header are those of the header itself. */
	icmp->checksum = (be16_t)~sl_checksum_fold(
		sl_reject_sum(icmp, length / 4) + sl_reject_sum(ipv6->source, 8) +
		SL_BE16(SL_PROTOCOL_ICMPV6) + sl_to_be16(length));
	return true;
}

/**
 * Makes of a refused frame, grown by sl_reject_room() bytes at its head and otherwise as it came, an
 * ICMP error of sl_reject_unreachable_length() bytes: port unreachable, or what @reason says. @from: whose
 * it is to be. [@frame, @data_end): the grown frame. False: too short, which a parsed packet never is.
 */
SL_INLINE bool sl_reject_unreachable(uint8_t *frame, const void *data_end, bool has_vlan,
				     uint8_t family, const union sl_addr *from, uint32_t reason)
{
	return family == SL_FAMILY_IPV4
		       ? sl_reject_unreachable4(frame, data_end, has_vlan, from, reason)
		       : sl_reject_unreachable6(frame, data_end, has_vlan, from, reason);
}
