/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * The frames that nearly all are: untagged Ethernet to the port's own address, IPv4 without options or
 * IPv6 without extension headers, a whole TCP segment or UDP datagram, and nothing to be refused. All
 * that is asked for stands at a constant place, so that the question costs little; what is said no to is
 * sl_parse()'s to judge, which says SL_VERDICT_NONE of every frame that is said yes to, and finds the
 * same in it: a test compares them.
 */
#pragma once

#include <sluice/base.h>
#include <sluice/packet/checksum.h>
#include <sluice/packet/headers.h>
#include <sluice/packet/parse.h>

/* Bytes from the frame's first one. */
enum {
	SL_COMMON_IP = 14,
	SL_COMMON4_PROTOCOL = SL_COMMON_IP + 9,
	SL_COMMON4_ADDRESSES = SL_COMMON_IP + 12, /* source, then destination, and so the next */
	SL_COMMON4_L4 = SL_COMMON_IP + 20,
	SL_COMMON6_PROTOCOL = SL_COMMON_IP + 6,
	SL_COMMON6_ADDRESSES = SL_COMMON_IP + 8,
	SL_COMMON6_L4 = SL_COMMON_IP + 40,
};

/** A link address as the low 48 bits of a word, to compare it at once. @mac: 6 bytes. */
SL_INLINE uint64_t sl_mac_word(const uint8_t *mac)
{
	return sl_load32(mac) | (uint64_t)sl_load16(mac + 4) << 32;
}

/** Whether the frame at @data goes to @mac, sl_mac_word()'s, and has this Ethernet type. */
SL_INLINE bool sl_common_link(const uint8_t *data, uint64_t mac, be16_t type)
{
	return ((sl_load64(data) ^ mac) << 16 | (uint16_t)(sl_load16(data + 12) ^ type)) == 0;
}

/** Whether an IPv4 address that begins with @first stands for one host somewhere. */
SL_INLINE bool sl_common_host4(uint8_t first)
{
	return (uint8_t)(first - 1) < 223 && first != 127;
}

/** The layer-4 header at @l4, of @length bytes with what follows it; all of them are in the frame. */
SL_INLINE bool sl_common_l4(const uint8_t *l4, uint32_t length, uint8_t protocol, bool is_ipv6)
{
	uint32_t ports = sl_load32(l4);

	if (SL_UNLIKELY((ports & 0xffff) == 0 || ports >> 16 == 0))
		return false;
	if (protocol == SL_PROTOCOL_TCP) {
		uint32_t offset;

		if (SL_UNLIKELY(length < sizeof(struct sl_tcp)))
			return false;
		offset = (uint32_t)(l4[offsetof(struct sl_tcp, offset)] >> 4) * 4;
		return offset >= sizeof(struct sl_tcp) && offset <= length &&
		       sl_tcp_flags_are_sane(l4[offsetof(struct sl_tcp, flags)]);
	}
	if (protocol == SL_PROTOCOL_UDP) {
		uint32_t said = sl_from_be16(sl_load16(l4 + offsetof(struct sl_udp, length)));

		return said >= sizeof(struct sl_udp) && said <= length &&
		       !(is_ipv6 && sl_load16(l4 + offsetof(struct sl_udp, checksum)) == 0);
	}
	return false;
}

/** Whether the @length bytes at @data are a common frame to @mac, sl_mac_word()'s, of IPv4. */
SL_INLINE bool sl_parse_is_common4(const uint8_t *data, uint32_t length, uint64_t mac)
{
	const uint8_t *ip = data + SL_COMMON_IP;
	uint32_t total;

	if (SL_UNLIKELY(length < SL_COMMON4_L4 + sizeof(struct sl_udp) ||
			!sl_common_link(data, mac, SL_BE16(SL_ETHERTYPE_IPV4)) || ip[0] != 0x45))
		return false;
	total = sl_from_be16(sl_load16(ip + offsetof(struct sl_ipv4, total_length)));
	if (SL_UNLIKELY(total < sizeof(struct sl_ipv4) + sizeof(struct sl_udp) ||
			total > length - SL_COMMON_IP ||
			(sl_load16(ip + offsetof(struct sl_ipv4, fragment)) & SL_BE16(0x3fff)) !=
				0 ||
			sl_checksum_ipv4_base(ip) != 0xffff))
		return false;
	if (SL_UNLIKELY(!sl_common_host4(ip[12]) || !sl_common_host4(ip[16]) ||
			sl_load32(ip + 12) == sl_load32(ip + 16)))
		return false;
	return sl_common_l4(ip + sizeof(struct sl_ipv4), total - (uint32_t)sizeof(struct sl_ipv4),
			    ip[9], false);
}

/** Whether an IPv6 address, at @addr, stands for one host somewhere: it is in no special block. */
SL_INLINE bool sl_common_host6(const uint8_t *addr)
{
	return sl_load64(addr) != 0 && addr[0] != 0xff;
}

/** Likewise of IPv6. */
SL_INLINE bool sl_parse_is_common6(const uint8_t *data, uint32_t length, uint64_t mac)
{
	const uint8_t *ip = data + SL_COMMON_IP;
	uint32_t payload;

	if (SL_UNLIKELY(length < SL_COMMON6_L4 + sizeof(struct sl_udp) ||
			!sl_common_link(data, mac, SL_BE16(SL_ETHERTYPE_IPV6)) || ip[0] >> 4 != 6))
		return false;
	payload = sl_from_be16(sl_load16(ip + offsetof(struct sl_ipv6, payload_length)));
	if (SL_UNLIKELY(payload < sizeof(struct sl_udp) || payload > length - SL_COMMON6_L4 ||
			!sl_common_host6(ip + 8) || !sl_common_host6(ip + 24) ||
			(sl_load64(ip + 8) == sl_load64(ip + 24) &&
			 sl_load64(ip + 16) == sl_load64(ip + 32))))
		return false;
	return sl_common_l4(ip + sizeof(struct sl_ipv6), payload, ip[6], true);
}

/**
 * Fills @packet as sl_parse() would, from the common frame at @data, of @family. In line, so that what
 * the caller does not read is not written.
 */
SL_INLINE void sl_parse_common(uint8_t *data, uint8_t family, struct sl_packet *packet)
{
	bool is_ipv4 = family == SL_FAMILY_IPV4;
	uint8_t *ip = data + SL_COMMON_IP;
	uint8_t *l4 = data + (is_ipv4 ? SL_COMMON4_L4 : SL_COMMON6_L4);

	*packet = (struct sl_packet){.ethernet = (struct sl_ethernet *)data};
	packet->tuple.family = family;
	if (is_ipv4) {
		packet->ipv4 = (struct sl_ipv4 *)ip;
		packet->tuple.protocol = packet->ipv4->protocol;
		packet->tuple.source.ipv4 = packet->ipv4->source;
		packet->tuple.destination.ipv4 = packet->ipv4->destination;
		packet->l4_length = (uint16_t)(sl_from_be16(packet->ipv4->total_length) -
					       sizeof(struct sl_ipv4));
	} else {
		packet->ipv6 = (struct sl_ipv6 *)ip;
		packet->tuple.protocol = packet->ipv6->next_header;
		__builtin_memcpy(packet->tuple.source.word, packet->ipv6->source, 16);
		__builtin_memcpy(packet->tuple.destination.word, packet->ipv6->destination, 16);
		packet->l4_length = sl_from_be16(packet->ipv6->payload_length);
	}
	packet->l4_offset = (uint16_t)(l4 - data);
	packet->ports = (struct sl_l4_ports *)l4;
	packet->tuple.source_port = packet->ports->source;
	packet->tuple.destination_port = packet->ports->destination;
	if (packet->tuple.protocol == SL_PROTOCOL_TCP) {
		const struct sl_tcp *tcp = (const struct sl_tcp *)l4;

		packet->l4_checksum = (be16_t *)(l4 + offsetof(struct sl_tcp, checksum));
		packet->tcp_flags = tcp->flags;
		packet->tcp_sequence = sl_from_be32(tcp->sequence);
		packet->tcp_acknowledgement = sl_from_be32(tcp->acknowledgement);
		packet->tcp_payload = (uint16_t)(packet->l4_length - (tcp->offset >> 4) * 4);
	} else {
		packet->l4_checksum = (be16_t *)(l4 + offsetof(struct sl_udp, checksum));
	}
}
