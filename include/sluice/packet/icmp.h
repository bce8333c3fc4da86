/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * ICMP errors about packets of flows (RFC 792, RFC 4443, RFC 5508). Such an error quotes a packet that
 * we sent; turned round, the quotation's addresses and ports are those of packets that come to us
 * from where the error comes: by them it finds its flow, its owner and its direction. It is then
 * rewritten like such a packet, and what it quotes to what its receiver once sent.
 *
 * An error ends no flow, refreshes none, and its verdict is known before the first byte is written.
 * Its own checksum and that of the quoted IPv4 header must be right (RFC 5508 REQ-3); the quoted
 * layer-4 checksum is not looked at, but kept as right or wrong as it is.
 */
#pragma once

#include <sluice/base.h>
#include <sluice/counters.h>
#include <sluice/packet/checksum.h>
#include <sluice/packet/headers.h>
#include <sluice/packet/nat.h>
#include <sluice/packet/parse.h>
#include <sluice/packet/proxy.h>

/* Types that quote (IANA, "ICMP Type Numbers", "ICMPv6 Parameters"). */
enum {
	SL_ICMP_UNREACHABLE = 3,
	SL_ICMP_TIME_EXCEEDED = 11,
	SL_ICMP_PARAMETER_PROBLEM = 12,
	SL_ICMP_FRAGMENTATION_NEEDED = 4, /* a code of SL_ICMP_UNREACHABLE */
	SL_ICMP_ECHO_REPLY = 0,
	SL_ICMP_ECHO_REQUEST = 8,
	SL_ICMPV6_UNREACHABLE = 1,
	SL_ICMPV6_PACKET_TOO_BIG = 2,
	SL_ICMPV6_TIME_EXCEEDED = 3,
	SL_ICMPV6_PARAMETER_PROBLEM = 4,
	SL_ICMPV6_ECHO_REQUEST = 128,
	SL_ICMPV6_ECHO_REPLY = 129,
};

enum {
	/* Of one error: what fits any Ethernet. Hosts send 576 (RFC 1812) or 1,240 (RFC 4443) at most. */
	SL_ICMP_MAX_LENGTH = 1480,
	SL_ICMP_MIN_QUOTED = 8,       /* bytes of the quoted layer 4 (RFC 792) */
	SL_ICMP_MAX_QUOTED_AT = 1024, /* no quoted header stands so far into a frame */
	SL_ICMP_LEAST_MTU_IPV4 = 68,
	SL_ICMP_LEAST_MTU_IPV6 = 1280,
};

/** Whether a message of this type quotes a packet. Redirects are the host's affair. */
SL_INLINE bool sl_icmp_is_error(uint8_t type, uint8_t protocol)
{
	if (protocol == SL_PROTOCOL_ICMP)
		return type == SL_ICMP_UNREACHABLE || type == SL_ICMP_TIME_EXCEEDED ||
		       type == SL_ICMP_PARAMETER_PROBLEM;
	return type >= SL_ICMPV6_UNREACHABLE && type <= SL_ICMPV6_PARAMETER_PROBLEM;
}

/** Whether @packet is an ICMP error, as sl_icmp_parse() left it. */
SL_INLINE bool sl_packet_is_icmp_error(const struct sl_packet *packet)
{
	return packet->quoted_offset != 0;
}

/**
 * Adds the @length bytes at @at, at most SL_ICMP_MAX_LENGTH, to @sum as 16-bit words. False: they
 * do not end before @data_end.
 */
SL_INLINE bool sl_icmp_sum(const uint8_t *at, uint32_t length, const void *data_end, uint64_t *sum)
{
	uint32_t whole = sl_hide(length & ~3u);

	for (uint32_t i = 0; i < SL_ICMP_MAX_LENGTH; i += 4) {
		const uint8_t *word = at + sl_hide(i);

		if (i >= whole)
			break;
		if ((const void *)(word + 4) > data_end)
			return false;
		*sum += sl_load32(word);
	}
	if (whole > SL_ICMP_MAX_LENGTH)
		return false;
	at += whole;
	if (length & 2) {
		if ((const void *)(at + 2) > data_end)
			return false;
		*sum += at[0] | (uint64_t)at[1] << 8;
		at += 2;
	}
	if (length & 1) {
		if ((const void *)(at + 1) > data_end)
			return false;
		*sum += at[0];
	}
	return true;
}

/** The sum of the pseudo-header of @packet, ICMPv6 (RFC 4443 2.3); 0 for ICMP. */
SL_INLINE uint64_t sl_icmp_pseudo(const struct sl_packet *packet)
{
	uint64_t sum = (uint64_t)SL_BE16(SL_PROTOCOL_ICMPV6) + sl_to_be16(packet->l4_length);

	if (packet->tuple.family == SL_FAMILY_IPV4)
		return 0;
#pragma GCC unroll 4
	for (int i = 0; i < 4; i++)
		sum += (uint64_t)packet->tuple.source.word[i] + packet->tuple.destination.word[i];
	return sum;
}

/** The quoted IPv4 header at @quoted, of which @length bytes are there. Sets protocol and addresses. */
SL_INLINE enum sl_verdict sl_icmp_parse_quoted4(const struct sl_ipv4 *quoted, uint32_t length,
						const void *data_end, struct sl_packet *packet)
{
	uint64_t sum = 0;
	uint32_t ihl;

	if (length < sizeof(*quoted) || (const void *)(quoted + 1) > data_end ||
	    quoted->version_ihl >> 4 != 4)
		return SL_VERDICT_DROP_ICMP_MALFORMED;
	ihl = (uint32_t)(quoted->version_ihl & 15) * 4;
	if (ihl < sizeof(*quoted) || length < ihl + SL_ICMP_MIN_QUOTED)
		return SL_VERDICT_DROP_ICMP_MALFORMED;
	if (!sl_icmp_sum((const uint8_t *)quoted, ihl, data_end, &sum) ||
	    sl_checksum_fold(sum) != 0xffff)
		return SL_VERDICT_DROP_ICMP_MALFORMED;
	/* A later fragment shows no ports. */
	if (quoted->fragment & SL_BE16(0x1fff))
		return SL_VERDICT_DROP_ICMP_NO_FLOW;
	packet->tuple.protocol = quoted->protocol;
	packet->tuple.source.ipv4 = quoted->destination;
	packet->tuple.destination.ipv4 = quoted->source;
	packet->quoted_l4_offset = (uint16_t)(packet->quoted_offset + ihl);
	return SL_VERDICT_NONE;
}

/** Likewise for IPv6, with its extension headers. */
SL_INLINE enum sl_verdict sl_icmp_parse_quoted6(const struct sl_ipv6 *quoted, uint32_t length,
						const void *data_end, struct sl_packet *packet)
{
	struct sl_packet inner = {.l4_length = (uint16_t)(length - sizeof(*quoted))};

	if (length < sizeof(*quoted) || (const void *)(quoted + 1) > data_end ||
	    (quoted->version_class_flow & SL_BE32(0xf0000000)) != SL_BE32(0x60000000))
		return SL_VERDICT_DROP_ICMP_MALFORMED;
	inner.tuple.protocol = quoted->next_header;
	if (quoted->next_header != SL_PROTOCOL_TCP && quoted->next_header != SL_PROTOCOL_UDP &&
	    sl_parse_extensions((uint8_t *)(uintptr_t)(quoted + 1), data_end, &inner) !=
		    SL_VERDICT_NONE)
		return SL_VERDICT_DROP_ICMP_NO_FLOW;
	if (inner.l4_length < SL_ICMP_MIN_QUOTED)
		return SL_VERDICT_DROP_ICMP_MALFORMED;
	packet->tuple.protocol = inner.tuple.protocol;
	__builtin_memcpy(packet->tuple.source.word, quoted->destination, 16);
	__builtin_memcpy(packet->tuple.destination.word, quoted->source, 16);
	packet->quoted_l4_offset =
		(uint16_t)(packet->quoted_offset + sizeof(*quoted) + inner.l4_offset);
	return SL_VERDICT_NONE;
}

/** Whether the @icmp error names an MTU: in its last 32 bits, of which IPv4 has 16. */
SL_INLINE bool sl_icmp_names_mtu(const struct sl_icmp *icmp, uint8_t family)
{
	if (family == SL_FAMILY_IPV4)
		return icmp->type == SL_ICMP_UNREACHABLE &&
		       icmp->code == SL_ICMP_FRAGMENTATION_NEEDED;
	return icmp->type == SL_ICMPV6_PACKET_TOO_BIG;
}

/** Whether it names one that no link may have (RFC 791, RFC 8200 5). */
SL_INLINE bool sl_icmp_names_small_mtu(const struct sl_icmp *icmp, uint8_t family)
{
	uint32_t rest = sl_from_be32(icmp->rest);

	if (!sl_icmp_names_mtu(icmp, family))
		return false;
	return family == SL_FAMILY_IPV4 ? (rest & 0xffff) < SL_ICMP_LEAST_MTU_IPV4
					: rest < SL_ICMP_LEAST_MTU_IPV6;
}

/** Which part of an echo a message of this type is. */
SL_INLINE enum sl_packet_echo sl_icmp_echo(uint8_t type, uint8_t protocol)
{
	uint8_t request =
		protocol == SL_PROTOCOL_ICMP ? SL_ICMP_ECHO_REQUEST : SL_ICMPV6_ECHO_REQUEST;
	uint8_t reply = protocol == SL_PROTOCOL_ICMP ? SL_ICMP_ECHO_REPLY : SL_ICMPV6_ECHO_REPLY;

	return type == request ? SL_PACKET_ECHO_REQUEST
	       : type == reply ? SL_PACKET_ECHO_REPLY
			       : SL_PACKET_NO_ECHO;
}

/** The identifier of the echo message @icmp. */
SL_INLINE be16_t sl_icmp_identifier(const struct sl_icmp *icmp)
{
	return (be16_t)icmp->rest;
}

/**
 * Parsing for echo, after sl_icmp_parse() said SL_VERDICT_PUNT_ICMP, and with its arguments. On
 * SL_VERDICT_NONE it is one half of an echo: both ports of the tuple are its identifier, ports is NULL and
 * l4_checksum is ICMP's. On any other verdict that is the packet's. The checksum is not looked at, but
 * kept as right or wrong as it is.
 */
SL_INLINE enum sl_verdict sl_icmp_parse_echo(void *data, const void *data_end,
					     struct sl_packet *packet)
{
	struct sl_icmp *icmp = (struct sl_icmp *)((uint8_t *)data + packet->l4_offset);
	bool is_ipv4 = packet->tuple.family == SL_FAMILY_IPV4;

	/* Its tuple is that of a quoted packet by now, if it was an error. */
	if (packet->quoted_offset != 0 ||
	    packet->tuple.protocol != (is_ipv4 ? SL_PROTOCOL_ICMP : SL_PROTOCOL_ICMPV6) ||
	    packet->l4_length < sizeof(*icmp) || (const void *)(icmp + 1) > data_end)
		return SL_VERDICT_PUNT_ICMP;
	packet->echo = (uint8_t)sl_icmp_echo(icmp->type, packet->tuple.protocol);
	if (packet->echo == SL_PACKET_NO_ECHO)
		return SL_VERDICT_PUNT_ICMP;
	packet->l4_checksum = (be16_t *)&icmp->checksum;
	packet->tuple.source_port = sl_icmp_identifier(icmp);
	packet->tuple.destination_port = sl_icmp_identifier(icmp);
	return SL_VERDICT_NONE;
}

/** Of the two ports of @to that an echo's identifier @id stands for, the one that it is to become. */
SL_INLINE be16_t sl_icmp_new_identifier(be16_t id, const struct sl_rewrite *to)
{
	return id == to->source_port ? to->destination_port : to->source_port;
}

/** Rewrites an echo message as sl_icmp_parse_echo() left it; else as sl_nat_rewrite(). */
SL_INLINE void sl_icmp_rewrite_echo(struct sl_packet *packet, const struct sl_rewrite *to)
{
	uint64_t diff = sl_nat_l3(packet, to);
	be16_t *id = packet->l4_checksum + 1;
	be16_t new_id = sl_icmp_new_identifier(*id, to);

	/* ICMP's checksum covers no addresses. */
	if (packet->tuple.family == SL_FAMILY_IPV4)
		diff = 0;
	diff += sl_checksum_diff16(*id, new_id);
	*id = new_id;
	*packet->l4_checksum = sl_checksum_update(*packet->l4_checksum, diff);
}

/** First step of sl_icmp_parse(). SL_VERDICT_NONE: an error, of at most SL_ICMP_MAX_LENGTH bytes. */
SL_INLINE enum sl_verdict sl_icmp_parse_type(const void *data, const void *data_end,
					     const struct sl_packet *packet)
{
	const struct sl_icmp *icmp =
		(const struct sl_icmp *)((const uint8_t *)data + packet->l4_offset);
	bool is_ipv4 = packet->tuple.family == SL_FAMILY_IPV4;

	if (packet->tuple.protocol != (is_ipv4 ? SL_PROTOCOL_ICMP : SL_PROTOCOL_ICMPV6) ||
	    packet->l4_length < sizeof(*icmp) || (const void *)(icmp + 1) > data_end ||
	    !sl_icmp_is_error(icmp->type, packet->tuple.protocol))
		return SL_VERDICT_PUNT_ICMP;
	return packet->l4_length > SL_ICMP_MAX_LENGTH ? SL_VERDICT_DROP_ICMP_MALFORMED
						      : SL_VERDICT_NONE;
}

/** Third step, after the checksum was found right. */
SL_INLINE enum sl_verdict sl_icmp_parse_quoted(const void *data, const void *data_end,
					       struct sl_packet *packet)
{
	const struct sl_icmp *icmp =
		(const struct sl_icmp *)((const uint8_t *)data + packet->l4_offset);
	uint32_t length = packet->l4_length - (uint32_t)sizeof(*icmp);
	uint8_t own_protocol =
		packet->tuple.family == SL_FAMILY_IPV4 ? SL_PROTOCOL_ICMP : SL_PROTOCOL_ICMPV6;
	const struct sl_l4_ports *ports;
	uint32_t quoted_l4_offset;
	enum sl_verdict verdict;

	if ((const void *)(icmp + 1) > data_end)
		return SL_VERDICT_DROP_ICMP_MALFORMED;
	packet->quoted_offset = (uint16_t)(packet->l4_offset + sizeof(*icmp));
	verdict = packet->tuple.family == SL_FAMILY_IPV4
			  ? sl_icmp_parse_quoted4((const struct sl_ipv4 *)(icmp + 1), length,
						  data_end, packet)
			  : sl_icmp_parse_quoted6((const struct sl_ipv6 *)(icmp + 1), length,
						  data_end, packet);
	if (verdict != SL_VERDICT_NONE)
		return verdict;
	quoted_l4_offset = sl_hide(packet->quoted_l4_offset);
	if (quoted_l4_offset >= SL_ICMP_MAX_QUOTED_AT)
		return SL_VERDICT_DROP_ICMP_MALFORMED;
	ports = (const struct sl_l4_ports *)((const uint8_t *)data + quoted_l4_offset);
	if ((const void *)((const uint8_t *)ports + SL_ICMP_MIN_QUOTED) > data_end)
		return SL_VERDICT_DROP_ICMP_MALFORMED;
	if (packet->tuple.protocol == SL_PROTOCOL_TCP ||
	    packet->tuple.protocol == SL_PROTOCOL_UDP) {
		packet->tuple.source_port = ports->destination;
		packet->tuple.destination_port = ports->source;
	} else {
		const struct sl_icmp *echo = (const struct sl_icmp *)ports;

		/* About something else that the host may have sent. */
		if (packet->tuple.protocol != own_protocol ||
		    sl_icmp_echo(echo->type, own_protocol) == SL_PACKET_NO_ECHO)
			return SL_VERDICT_PUNT_ICMP;
		packet->tuple.source_port = sl_icmp_identifier(echo);
		packet->tuple.destination_port = sl_icmp_identifier(echo);
	}
	packet->has_small_mtu = sl_icmp_names_small_mtu(icmp, packet->tuple.family);
	return SL_VERDICT_NONE;
}

/**
 * Second half of parsing for ICMP. @packet: as sl_parse_l3() left it, of the frame [@data,
 * @data_end); what sl_parse() says SL_VERDICT_PUNT_ICMP of. On SL_VERDICT_NONE it is an error about
 * a TCP or UDP packet, or about an echo, whose identifier is both ports: the tuple is the quoted one turned round, and only quoted_offset,
 * quoted_l4_offset and has_small_mtu tell it from a packet of that tuple; ports and l4_checksum are
 * NULL. On any other verdict that is the packet's.
 */
SL_INLINE enum sl_verdict sl_icmp_parse(void *data, const void *data_end, struct sl_packet *packet)
{
	enum sl_verdict verdict = sl_icmp_parse_type(data, data_end, packet);
	uint64_t sum = sl_icmp_pseudo(packet);

	if (verdict != SL_VERDICT_NONE)
		return verdict;
	if (!sl_icmp_sum((const uint8_t *)data + packet->l4_offset, packet->l4_length, data_end,
			 &sum) ||
	    sl_checksum_fold(sum) != 0xffff)
		return SL_VERDICT_DROP_ICMP_MALFORMED;
	return sl_icmp_parse_quoted(data, data_end, packet);
}

/** Where the parts of an ICMP error lie. */
struct sl_icmp_parts {
	struct sl_icmp *icmp;
	struct sl_ipv4 *ipv4; /* quoted; NULL unless family is IPv4 */
	struct sl_ipv6 *ipv6; /* quoted; NULL unless family is IPv6 */
	struct sl_l4_ports *ports;
	be16_t *l4_checksum; /* NULL: not quoted, or none */
};

/** False: never, for a frame [@data, @data_end) that was parsed. */
SL_INLINE bool sl_icmp_point(void *data, const void *data_end, const struct sl_packet *packet,
			     struct sl_icmp_parts *parts)
{
	/* Masks, not comparisons, which verifiers before Linux 6.2 lose on the way. */
	uint32_t l4_offset = sl_hide(packet->l4_offset) & (SL_MAX_L4_OFFSET - 1);
	uint32_t quoted_offset = sl_hide(packet->quoted_offset) & (SL_ICMP_MAX_QUOTED_AT - 1);
	uint32_t quoted_l4_offset = sl_hide(packet->quoted_l4_offset) & (SL_ICMP_MAX_QUOTED_AT - 1);
	uint8_t *quoted = (uint8_t *)data + quoted_offset;
	uint8_t *l4 = (uint8_t *)data + quoted_l4_offset;
	uint32_t end = (uint32_t)packet->l4_offset + packet->l4_length;
	uint32_t checksum_at = packet->tuple.protocol == SL_PROTOCOL_TCP
				       ? (uint32_t)offsetof(struct sl_tcp, checksum)
			       : packet->tuple.protocol == SL_PROTOCOL_UDP
				       ? (uint32_t)offsetof(struct sl_udp, checksum)
				       : (uint32_t)offsetof(struct sl_icmp, checksum);

	*parts = (struct sl_icmp_parts){.icmp = (struct sl_icmp *)((uint8_t *)data + l4_offset)};
	parts->ports = (struct sl_l4_ports *)l4;
	if ((const void *)(parts->icmp + 1) > data_end ||
	    (const void *)(l4 + SL_ICMP_MIN_QUOTED) > data_end)
		return false;
	if (quoted_l4_offset + checksum_at + sizeof(be16_t) <= end &&
	    (const void *)(l4 + checksum_at + sizeof(be16_t)) <= data_end)
		parts->l4_checksum = (be16_t *)(l4 + checksum_at);
	if (packet->tuple.family == SL_FAMILY_IPV4) {
		parts->ipv4 = (struct sl_ipv4 *)quoted;
		return (const void *)(parts->ipv4 + 1) <= data_end;
	}
	parts->ipv6 = (struct sl_ipv6 *)quoted;
	return (const void *)(parts->ipv6 + 1) <= data_end;
}

/** Of a quoted echo, its identifier and checksum; as the next one. */
SL_INLINE uint64_t sl_icmp_rewrite_quoted_echo(struct sl_icmp_parts *parts, uint8_t protocol,
					       const struct sl_rewrite *to, uint64_t quoted_diff)
{
	struct sl_icmp *echo = (struct sl_icmp *)parts->ports;
	be16_t *id = (be16_t *)&echo->rest;
	be16_t new_id = sl_icmp_new_identifier(*id, to);
	uint64_t diff = sl_checksum_diff16(*id, new_id);
	be16_t before = echo->checksum;

	*id = new_id;
	/* ICMP's checksum covers no addresses. */
	echo->checksum =
		sl_checksum_update(before, diff + (protocol == SL_PROTOCOL_ICMP ? 0 : quoted_diff));
	return diff + sl_checksum_diff16(before, echo->checksum);
}

/** Rewrites the quoted ports and checksum; @quoted_diff: the sum of what else of the quoted changed. */
SL_INLINE uint64_t sl_icmp_rewrite_quoted_l4(struct sl_icmp_parts *parts, uint8_t protocol,
					     const struct sl_rewrite *to, uint64_t quoted_diff)
{
	uint64_t ports = sl_checksum_diff16(parts->ports->source, to->destination_port) +
			 sl_checksum_diff16(parts->ports->destination, to->source_port);
	be16_t before;
	be16_t after;

	if (SL_UNLIKELY(protocol != SL_PROTOCOL_TCP && protocol != SL_PROTOCOL_UDP))
		return sl_icmp_rewrite_quoted_echo(parts, protocol, to, quoted_diff);
	parts->ports->source = to->destination_port;
	parts->ports->destination = to->source_port;
	if (parts->l4_checksum == NULL)
		return ports;
	before = *parts->l4_checksum;
	if (protocol == SL_PROTOCOL_UDP && before == 0)
		return ports;
	after = sl_checksum_update(before, quoted_diff + ports);
	if (protocol == SL_PROTOCOL_UDP && after == 0)
		after = 0xffff;
	*parts->l4_checksum = after;
	return ports + sl_checksum_diff16(before, after);
}

/** Addresses of the outer header. The sum that ICMPv6's checksum is to have added. */
SL_INLINE uint64_t sl_icmp_rewrite_outer(struct sl_packet *packet, const struct sl_rewrite *to,
					 bool keeps_source)
{
	struct sl_ipv4 *ipv4 = packet->ipv4;
	struct sl_ipv6 *ipv6 = packet->ipv6;
	uint64_t diff;

	if (packet->tuple.family == SL_FAMILY_IPV4) {
		be32_t source = keeps_source ? ipv4->source : to->source.ipv4;

		diff = sl_checksum_diff32(ipv4->source, source) +
		       sl_checksum_diff32(ipv4->destination, to->destination.ipv4) +
		       sl_checksum_diff16(ipv4->ttl, (be16_t)(ipv4->ttl - 1));
		ipv4->source = source;
		ipv4->destination = to->destination.ipv4;
		ipv4->checksum = sl_checksum_update(ipv4->checksum, diff);
		ipv4->ttl--;
		return 0;
	}
	diff = sl_nat_ipv6_address(ipv6->destination, &to->destination);
	if (!keeps_source)
		diff += sl_nat_ipv6_address(ipv6->source, &to->source);
	ipv6->hop_limit--;
	return diff;
}

/**
 * Rewrites an ICMP error. @packet: as sl_icmp_parse() filled it; sl_nat_has_ttl() must have been
 * true. @to: what a packet of its tuple is rewritten to. @keeps_source: the error's own source is
 * kept, where it is a router of the clients'; else it becomes @to's, for whoever receives it knows
 * nobody behind us. False: never, for a frame [@data, @data_end) that was parsed; then nothing was
 * written.
 */
SL_MUST_USE SL_INLINE bool sl_icmp_rewrite(void *data, const void *data_end,
					   struct sl_packet *packet, const struct sl_rewrite *to,
					   bool keeps_source)
{
	struct sl_icmp_parts parts;
	uint64_t quoted_diff; /* of what the quoted layer-4 checksum covers */
	uint64_t diff;

	if (!sl_icmp_point(data, data_end, packet, &parts))
		return false;
	diff = sl_icmp_rewrite_outer(packet, to, keeps_source);
	if (packet->tuple.family == SL_FAMILY_IPV4) {
		be16_t before = parts.ipv4->checksum;

		quoted_diff = sl_checksum_diff32(parts.ipv4->source, to->destination.ipv4) +
			      sl_checksum_diff32(parts.ipv4->destination, to->source.ipv4);
		parts.ipv4->source = to->destination.ipv4;
		parts.ipv4->destination = to->source.ipv4;
		parts.ipv4->checksum = sl_checksum_update(before, quoted_diff);
		diff += sl_checksum_diff16(before, parts.ipv4->checksum);
	} else {
		quoted_diff = sl_nat_ipv6_address(parts.ipv6->source, &to->destination) +
			      sl_nat_ipv6_address(parts.ipv6->destination, &to->source);
	}
	diff += quoted_diff;
	diff += sl_icmp_rewrite_quoted_l4(&parts, packet->tuple.protocol, to, quoted_diff);
	parts.icmp->checksum = sl_checksum_update(parts.icmp->checksum, diff);
	return true;
}

/**
 * Of a TCP flow with PROXY headers, what else differs for the client in an error about a packet of its
 * own: the quoted number of its bytes, and an MTU, which a header that is still to come takes part of.
 * Before or after sl_icmp_rewrite(), and with its arguments; false: as there.
 */
SL_MUST_USE SL_INLINE bool sl_icmp_rewrite_stream(void *data, const void *data_end,
						  const struct sl_packet *packet,
						  const struct sl_proxy *proxy)
{
	uint32_t length = sl_proxy_length(packet->tuple.family);
	struct sl_icmp_parts parts;
	uint64_t diff;
	be32_t before;
	be32_t after;
	uint8_t *at;

	if (!sl_icmp_point(data, data_end, packet, &parts))
		return false;
	at = (uint8_t *)parts.ports + offsetof(struct sl_tcp, sequence);
	before = sl_load32(at);
	after = sl_to_be32(sl_proxy_to_client(proxy, sl_from_be32(before), length));
	diff = sl_checksum_diff32(before, after);
	sl_store32(at, after);
	if (parts.l4_checksum != NULL) {
		be16_t was = *parts.l4_checksum;

		*parts.l4_checksum = sl_checksum_update(was, diff);
		diff += sl_checksum_diff16(was, *parts.l4_checksum);
	}
	before = parts.icmp->rest;
	if (proxy->phase != SL_PROXY_ACKED && sl_icmp_names_mtu(parts.icmp, packet->tuple.family) &&
	    (sl_from_be32(before) & 0xffff) > length) {
		after = sl_to_be32(sl_from_be32(before) - length);
		parts.icmp->rest = after;
		diff += sl_checksum_diff32(before, after);
	}
	parts.icmp->checksum = sl_checksum_update(parts.icmp->checksum, diff);
	return true;
}
