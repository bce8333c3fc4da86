/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * From a frame to validated header pointers, or a verdict. Called first for every frame by every
 * engine; reads only [data, data_end), writes nothing into the frame.
 *
 * Sources: RFC 791, 1122 (IPv4), 8200 and 5095 (IPv6), 9293 (TCP), 768 (UDP), 6890 (special
 * addresses), 1858 (fragments).
 */
#pragma once

#include <sluice/base.h>
#include <sluice/counters.h>
#include <sluice/packet/checksum.h>
#include <sluice/packet/headers.h>

enum {
	SL_MAX_EXTENSIONS = 8,        /* IPv6 extension headers walked */
	SL_MAX_EXTENSION_BYTES = 256, /* of all of them together */
	SL_MAX_L4_OFFSET = 512,       /* Ethernet, VLAN tag, IP and what may stand between */
};

/** The addresses and ports of a packet, in network order, as they stand in it. */
struct sl_tuple {
	union sl_addr source;
	union sl_addr destination;
	be16_t source_port;
	be16_t destination_port;
	uint8_t protocol; /* SL_PROTOCOL_TCP or _UDP; ICMP's: see icmp.h */
	uint8_t family;
	uint8_t reserved[2];
};

/** A parsed packet: borrowed pointers into the frame, valid as long as the frame is. */
struct sl_packet {
	struct sl_ethernet *ethernet;
	struct sl_ipv4 *ipv4; /* NULL unless family is IPv4 */
	struct sl_ipv6 *ipv6; /* NULL unless family is IPv6 */
	struct sl_l4_ports *ports;
	be16_t *l4_checksum; /* TCP's or UDP's */
	struct sl_tuple tuple;
	uint32_t tcp_sequence;        /* host order; 0 unless TCP, and so what follows */
	uint32_t tcp_acknowledgement; /* host order */
	uint16_t tcp_payload;         /* bytes */
	uint16_t l4_offset;           /* from the frame's first byte */
	uint16_t l4_length; /* header and payload, bytes, from the IP header, not the frame */
	uint8_t tcp_flags;
	uint8_t has_vlan; /* 1: one 802.1Q tag stands before the IP header */
	/* Of an ICMP error (icmp.h), from the frame's first byte; else 0. */
	uint16_t quoted_offset;    /* of the IP header that it quotes */
	uint16_t quoted_l4_offset; /* of the layer-4 header behind that */
	uint8_t has_small_mtu;     /* 1: it names an MTU that no link may have */
	uint8_t fragment;          /* enum sl_packet_fragment; see fragment.h */
	uint8_t echo;              /* enum sl_packet_echo; see icmp.h */
};

enum sl_packet_echo {
	SL_PACKET_NO_ECHO = 0,
	SL_PACKET_ECHO_REQUEST, /* both ports of the tuple are the identifier, and so of the next */
	SL_PACKET_ECHO_REPLY,
};

enum sl_packet_fragment {
	SL_PACKET_WHOLE = 0,
	SL_PACKET_FIRST, /* fragment of a datagram: the one with the layer-4 header */
	SL_PACKET_LATER, /* it has none: ports and l4_checksum are NULL, the tuple's ports the first's */
};

/** Whether @packet has no layer-4 header of its own, so that it begins and ends nothing. */
SL_INLINE bool sl_packet_is_later(const struct sl_packet *packet)
{
	return packet->fragment == SL_PACKET_LATER;
}

/**
 * Whether an IPv4 address may not be a source: 0/8, 127/8, 224/4, 240/4 (broadcast among them).
 * @addr: network order.
 */
SL_INLINE bool sl_ipv4_is_bad_source(be32_t addr)
{
	uint8_t first = (uint8_t)(addr & 0xff);

	return first == 0 || first == 127 || first >= 224;
}

/** Whether an IPv4 address may not be a destination that we forward to: 0/8, 127/8, 240/4. */
SL_INLINE bool sl_ipv4_is_bad_destination(be32_t addr)
{
	uint8_t first = (uint8_t)(addr & 0xff);

	return first == 0 || first == 127 || (first >= 240 && addr != 0xffffffff);
}

SL_INLINE bool sl_ipv4_is_group(be32_t addr)
{
	return (addr & SL_BE32(0xf0000000)) == SL_BE32(0xe0000000) || addr == 0xffffffff;
}

/** ::, ::1 and ::ffff:0:0/96, which may stand in no packet. */
SL_INLINE bool sl_ipv6_is_reserved(const be32_t addr[4])
{
	if (SL_LIKELY((addr[0] | addr[1]) != 0))
		return false;
	return addr[2] == SL_BE32(0x0000ffff) ||
	       (addr[2] == 0 && (addr[3] == 0 || addr[3] == SL_BE32(1)));
}

SL_INLINE bool sl_ipv6_is_group(const be32_t addr[4])
{
	return (addr[0] & SL_BE32(0xff000000)) == SL_BE32(0xff000000);
}

/**
 * Judges TCP flags. Refused: none at all, SYN+FIN, SYN+RST, FIN without ACK, and the "xmas"
 * combinations that contain one of these.
 */
SL_INLINE bool sl_tcp_flags_are_sane(uint8_t flags)
{
	uint8_t control = flags & (SL_TCP_FIN | SL_TCP_SYN | SL_TCP_RST | SL_TCP_ACK);

	if (flags & SL_TCP_SYN)
		return (flags & (SL_TCP_FIN | SL_TCP_RST)) == 0;
	if (control == 0 || control == SL_TCP_FIN)
		return false;
	return true;
}

/**
 * Second half of sl_parse(): the layer-4 header at l4_offset of the frame [@data, @data_end), of
 * l4_length bytes. SL_VERDICT_NONE: all is well.
 */
SL_INLINE enum sl_verdict sl_parse_l4(void *data, const void *data_end, struct sl_packet *packet)
{
	void *l4 = (uint8_t *)data + packet->l4_offset;

	if (packet->tuple.protocol == SL_PROTOCOL_TCP) {
		struct sl_tcp *tcp = l4;
		uint16_t offset;

		if (packet->l4_length < sizeof(*tcp))
			return SL_VERDICT_DROP_TCP_HEADER;
		if (SL_UNLIKELY((const void *)(tcp + 1) > data_end))
			return SL_VERDICT_DROP_TRUNCATED;
		offset = (uint16_t)((tcp->offset >> 4) * 4);
		if (offset < sizeof(*tcp) || offset > packet->l4_length || tcp->source == 0 ||
		    tcp->destination == 0)
			return SL_VERDICT_DROP_TCP_HEADER;
		if (!sl_tcp_flags_are_sane(tcp->flags))
			return SL_VERDICT_DROP_TCP_FLAGS;
		packet->ports = (struct sl_l4_ports *)l4;
		packet->l4_checksum = (be16_t *)&tcp->checksum;
		packet->tcp_flags = tcp->flags;
		packet->tcp_sequence = sl_from_be32(tcp->sequence);
		packet->tcp_acknowledgement = sl_from_be32(tcp->acknowledgement);
		packet->tcp_payload = (uint16_t)(packet->l4_length - offset);
		packet->tuple.source_port = tcp->source;
		packet->tuple.destination_port = tcp->destination;
		return SL_VERDICT_NONE;
	}
	if (packet->tuple.protocol == SL_PROTOCOL_UDP) {
		struct sl_udp *udp = l4;
		uint16_t length;

		if (packet->l4_length < sizeof(*udp))
			return SL_VERDICT_DROP_UDP_HEADER;
		if (SL_UNLIKELY((const void *)(udp + 1) > data_end))
			return SL_VERDICT_DROP_TRUNCATED;
		length = sl_from_be16(udp->length);
		if (length < sizeof(*udp) || length > packet->l4_length || udp->source == 0 ||
		    udp->destination == 0)
			return SL_VERDICT_DROP_UDP_HEADER;
		if (packet->tuple.family == SL_FAMILY_IPV6 && udp->checksum == 0)
			return SL_VERDICT_DROP_UDP6_CHECKSUM;
		packet->ports = (struct sl_l4_ports *)l4;
		packet->l4_checksum = (be16_t *)&udp->checksum;
		packet->tuple.source_port = udp->source;
		packet->tuple.destination_port = udp->destination;
		return SL_VERDICT_NONE;
	}
	if (packet->tuple.protocol == SL_PROTOCOL_ICMP ||
	    packet->tuple.protocol == SL_PROTOCOL_ICMPV6)
		return SL_VERDICT_PUNT_ICMP;
	return SL_VERDICT_PUNT_PROTOCOL;
}

/**
 * Walks the options of an IPv4 header of @ihl bytes: source routes are refused (RFC 7126), and so
 * is what runs over the header's end; the sum of the options is added to @sum.
 */
SL_INLINE enum sl_verdict sl_parse_ipv4_options(const struct sl_ipv4 *ipv4, uint16_t ihl,
						const void *data_end, uint64_t *sum)
{
	const uint8_t *options = (const uint8_t *)(ipv4 + 1);
	uint16_t skip = 0; /* bytes of the option under way still to pass over */
	bool is_over = false;

	/* One byte a turn: at most 40 turns, a bound that the BPF verifier sees at once. */
	for (uint16_t i = 0; i < 40; i++) {
		uint8_t byte;

		if ((uint16_t)(sizeof(*ipv4) + i) >= ihl)
			break;
		if ((const void *)(options + i + 1) > data_end)
			return SL_VERDICT_DROP_TRUNCATED;
		byte = options[i];
		*sum += (i & 1) ? (uint64_t)byte << 8 : byte;
		if (skip > 0) {
			skip--;
			continue;
		}
		if (is_over || byte == 1) /* after the end of the list; no operation */
			continue;
		if (byte == 0) {
			is_over = true;
			continue;
		}
		if (byte == 131 || byte == 137) /* loose and strict source route */
			return SL_VERDICT_DROP_SOURCE_ROUTE;
		if ((uint16_t)(sizeof(*ipv4) + i + 1) >= ihl)
			return SL_VERDICT_DROP_IP_OPTIONS;
		if ((const void *)(options + i + 2) > data_end)
			return SL_VERDICT_DROP_TRUNCATED;
		if (options[i + 1] < 2 || (uint16_t)(sizeof(*ipv4) + i + options[i + 1]) > ihl)
			return SL_VERDICT_DROP_IP_OPTIONS;
		skip = (uint16_t)(options[i + 1] - 1);
	}
	return SL_VERDICT_NONE;
}

/** The IPv4 header at @l3, l4_offset of the frame. SL_VERDICT_NONE: a whole packet follows. */
SL_INLINE enum sl_verdict sl_parse_ipv4(void *l3, const void *data_end, struct sl_packet *packet)
{
	struct sl_ipv4 *ipv4 = l3;
	uint64_t sum;
	uint16_t total;
	uint16_t ihl;

	if (SL_UNLIKELY((const void *)(ipv4 + 1) > data_end))
		return SL_VERDICT_DROP_TRUNCATED;
	if (SL_UNLIKELY(ipv4->version_ihl >> 4 != 4))
		return SL_VERDICT_DROP_IP_VERSION;
	ihl = (uint16_t)((ipv4->version_ihl & 15) * 4);
	total = sl_from_be16(ipv4->total_length);
	if (SL_UNLIKELY(ihl < sizeof(*ipv4) || ihl > total))
		return SL_VERDICT_DROP_IP_HEADER_LENGTH;
	if (SL_UNLIKELY((const uint8_t *)data_end - (const uint8_t *)l3 < total))
		return SL_VERDICT_DROP_IP_TOTAL_LENGTH;
	sum = sl_checksum_ipv4_base(ipv4);
	if (SL_UNLIKELY(ihl > sizeof(*ipv4))) {
		enum sl_verdict verdict = sl_parse_ipv4_options(ipv4, ihl, data_end, &sum);

		if (verdict != SL_VERDICT_NONE)
			return verdict;
	}
	if (SL_UNLIKELY(sl_checksum_fold(sum) != 0xffff))
		return SL_VERDICT_DROP_IP_CHECKSUM;
	if (SL_UNLIKELY(sl_ipv4_is_bad_source(ipv4->source) && ipv4->source != 0) ||
	    sl_ipv4_is_bad_destination(ipv4->destination))
		return SL_VERDICT_DROP_MARTIAN;
	if (SL_UNLIKELY(sl_ipv4_is_group(ipv4->destination)))
		return SL_VERDICT_PUNT_MULTICAST;
	if (SL_UNLIKELY(ipv4->source == 0))
		return SL_VERDICT_DROP_MARTIAN;
	packet->ipv4 = ipv4;
	packet->tuple.family = SL_FAMILY_IPV4;
	packet->tuple.protocol = ipv4->protocol;
	packet->tuple.source.ipv4 = ipv4->source;
	packet->tuple.destination.ipv4 = ipv4->destination;
	packet->l4_length = (uint16_t)(total - ihl);
	packet->l4_offset = (uint16_t)(packet->l4_offset + ihl);
	if (SL_UNLIKELY(ipv4->source == ipv4->destination))
		return SL_VERDICT_DROP_LAND;
	if (SL_UNLIKELY(ipv4->fragment & SL_BE16(0x3fff)))
		return SL_VERDICT_PUNT_FRAGMENT;
	return SL_VERDICT_NONE;
}

/**
 * Walks the extension headers at @first, within @packet->l4_length bytes. On SL_VERDICT_NONE,
 * l4_offset, l4_length and the tuple's protocol are those of what follows them.
 */
SL_INLINE enum sl_verdict sl_parse_extensions(uint8_t *first, const void *data_end,
					      struct sl_packet *packet)
{
	uint8_t *at = first;
	uint8_t next = packet->tuple.protocol;
	uint16_t walked = 0;

	/* Unrolled: verifiers before Linux 6.2 take no loop whose last jump the compiler left out. */
#pragma GCC unroll 9
	for (int i = 0; i <= SL_MAX_EXTENSIONS; i++) {
		const struct sl_extension *extension = (const struct sl_extension *)at;
		uint16_t length;

		if (next != SL_EXTENSION_HOP_BY_HOP && next != SL_EXTENSION_ROUTING &&
		    next != SL_EXTENSION_FRAGMENT && next != SL_EXTENSION_DESTINATION) {
			packet->l4_offset = (uint16_t)(packet->l4_offset + walked);
			packet->tuple.protocol = next;
			return SL_VERDICT_NONE;
		}
		if (i == SL_MAX_EXTENSIONS || (next == SL_EXTENSION_HOP_BY_HOP && i > 0))
			return SL_VERDICT_DROP_EXTENSION_CHAIN;
		if (packet->l4_length < sizeof(*extension))
			return SL_VERDICT_DROP_EXTENSION_CHAIN;
		if ((const void *)(extension + 1) > data_end)
			return SL_VERDICT_DROP_TRUNCATED;
		if (next == SL_EXTENSION_ROUTING && extension->routing_type == 0)
			return SL_VERDICT_DROP_SOURCE_ROUTE;
		/* An atomic fragment (RFC 6946) is a whole packet; all others go to the kernel. */
		if (next == SL_EXTENSION_FRAGMENT &&
		    (extension->routing_type | (extension->segments_left & 0xf9)) != 0) {
			packet->l4_offset = (uint16_t)(packet->l4_offset + walked);
			return SL_VERDICT_PUNT_FRAGMENT;
		}
		length = next == SL_EXTENSION_FRAGMENT ? 8 : (uint16_t)(8 + extension->length * 8);
		walked = (uint16_t)(walked + length);
		if (walked > SL_MAX_EXTENSION_BYTES || length > packet->l4_length)
			return SL_VERDICT_DROP_EXTENSION_CHAIN;
		packet->l4_length = (uint16_t)(packet->l4_length - length);
		next = extension->next_header;
		at += length;
	}
	return SL_VERDICT_DROP_EXTENSION_CHAIN;
}

/** The IPv6 header at @l3, l4_offset of the frame. SL_VERDICT_NONE: a whole packet follows. */
SL_INLINE enum sl_verdict sl_parse_ipv6(void *l3, const void *data_end, struct sl_packet *packet)
{
	struct sl_ipv6 *ipv6 = l3;
	uint16_t payload;

	if (SL_UNLIKELY((const void *)(ipv6 + 1) > data_end))
		return SL_VERDICT_DROP_TRUNCATED;
	if (SL_UNLIKELY((ipv6->version_class_flow & SL_BE32(0xf0000000)) != SL_BE32(0x60000000)))
		return SL_VERDICT_DROP_IP_VERSION;
	payload = sl_from_be16(ipv6->payload_length);
	if (SL_UNLIKELY((const uint8_t *)data_end - (const uint8_t *)(ipv6 + 1) < payload))
		return SL_VERDICT_DROP_IP_TOTAL_LENGTH;
	packet->ipv6 = ipv6;
	packet->tuple.family = SL_FAMILY_IPV6;
	packet->tuple.protocol = ipv6->next_header;
	__builtin_memcpy(packet->tuple.source.word, ipv6->source, 16);
	__builtin_memcpy(packet->tuple.destination.word, ipv6->destination, 16);
	packet->l4_length = payload;
	packet->l4_offset = (uint16_t)(packet->l4_offset + sizeof(*ipv6));
	if (SL_UNLIKELY(sl_ipv6_is_group(packet->tuple.source.word)))
		return SL_VERDICT_DROP_MARTIAN;
	/* Duplicate address detection sends from :: to a group; everything else from :: is refused. */
	if (SL_UNLIKELY(sl_ipv6_is_group(packet->tuple.destination.word)))
		return SL_VERDICT_PUNT_MULTICAST;
	if (SL_UNLIKELY(sl_ipv6_is_reserved(packet->tuple.source.word) ||
			sl_ipv6_is_reserved(packet->tuple.destination.word)))
		return SL_VERDICT_DROP_MARTIAN;
	if (SL_UNLIKELY(sl_addr_equal(&packet->tuple.source, &packet->tuple.destination)))
		return SL_VERDICT_DROP_LAND;
	if (SL_UNLIKELY(packet->tuple.protocol != SL_PROTOCOL_TCP &&
			packet->tuple.protocol != SL_PROTOCOL_UDP))
		return sl_parse_extensions((uint8_t *)(ipv6 + 1), data_end, packet);
	return SL_VERDICT_NONE;
}

/**
 * Whether the frame [@data, @data_end) is for us at the link: unicast to @mac (6 bytes), the port's
 * own address. Groups go to the kernel (a unicast IP packet in one is not to be forwarded, RFC 1812
 * 5.3.4); what a switch flooded for another host ends here. SL_VERDICT_NONE: for us.
 */
SL_INLINE enum sl_verdict sl_parse_link(const void *data, const void *data_end, const uint8_t *mac)
{
	const struct sl_ethernet *ethernet = data;

	if (SL_UNLIKELY((const void *)(ethernet + 1) > data_end))
		return SL_VERDICT_DROP_TRUNCATED;
	if (SL_LIKELY(sl_mac_equal(ethernet->destination, mac)))
		return SL_VERDICT_NONE;
	return (ethernet->destination[0] & 1) ? SL_VERDICT_PUNT_MULTICAST
					      : SL_VERDICT_DROP_OTHER_HOST;
}

/**
 * First half of sl_parse(): Ethernet and IP. On SL_VERDICT_NONE, addresses, protocol, l4_offset and
 * l4_length are known, and l4_offset is below SL_MAX_L4_OFFSET; likewise on SL_VERDICT_PUNT_FRAGMENT,
 * where they are those of the payload (IPv4) or the fragment header (IPv6): see fragment.h.
 */
SL_INLINE enum sl_verdict sl_parse_l3(void *data, const void *data_end, struct sl_packet *packet)
{
	struct sl_ethernet *ethernet = data;
	void *l3 = ethernet + 1;
	be16_t type;

	*packet = (struct sl_packet){.ethernet = ethernet};
	if (SL_UNLIKELY((const void *)(ethernet + 1) > data_end))
		return SL_VERDICT_DROP_TRUNCATED;
	type = ethernet->type;
	if (type == SL_BE16(SL_ETHERTYPE_VLAN)) {
		const struct sl_vlan *vlan = l3;

		if ((const void *)(vlan + 1) > data_end)
			return SL_VERDICT_DROP_TRUNCATED;
		type = vlan->type;
		l3 = (uint8_t *)l3 + sizeof(*vlan);
		packet->has_vlan = 1;
		if (type == SL_BE16(SL_ETHERTYPE_VLAN) || type == SL_BE16(SL_ETHERTYPE_QINQ))
			return SL_VERDICT_PUNT_VLAN;
	}
	packet->l4_offset =
		(uint16_t)(sizeof(*ethernet) + packet->has_vlan * sizeof(struct sl_vlan));
	if (type == SL_BE16(SL_ETHERTYPE_IPV4))
		return sl_parse_ipv4(l3, data_end, packet);
	if (type == SL_BE16(SL_ETHERTYPE_IPV6))
		return sl_parse_ipv6(l3, data_end, packet);
	if (type == SL_BE16(SL_ETHERTYPE_QINQ))
		return SL_VERDICT_PUNT_VLAN;
	return SL_VERDICT_PUNT_ETHERTYPE;
}

/**
 * Parses the frame [@data, @data_end). On SL_VERDICT_NONE, @packet is filled and every pointer in
 * it has been checked: Ethernet, IP and the fixed part of the layer-4 header lie within the frame.
 * On any other verdict that is the packet's, and @packet must not be used.
 */
SL_INLINE enum sl_verdict sl_parse(void *data, const void *data_end, struct sl_packet *packet)
{
	enum sl_verdict verdict = sl_parse_l3(data, data_end, packet);

	return verdict != SL_VERDICT_NONE ? verdict : sl_parse_l4(data, data_end, packet);
}
