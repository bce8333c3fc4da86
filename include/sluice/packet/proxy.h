/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * The PROXY protocol, version 2, put into a connection that runs end to end: before the client's
 * first byte the backend receives a header that names the client (haproxy.org, proxy-protocol.txt,
 * section 2.2; no TLVs). Engines call this for flows of services with `proxy_protocol: v2`.
 * Nothing is buffered, no packet is made and no payload is read; checksums are updated by the
 * difference, so a packet that arrived corrupt leaves corrupt.
 *
 * TCP. Let H be the header's length and `first` the number of the client's first byte (ISN + 1).
 * Towards the backend the header occupies [first, first + H) and the client's byte n is n + H.
 * Until the backend has acknowledged the whole header, EVERY packet of the client that stands at
 * `first` carries the header in front of its payload: the third ACK of the handshake, the first
 * data, their repetitions alike. That depends on the packet alone, so loss, duplication and
 * reordering need no thought: a backend that lacks the header lacks the byte `first`, hence either
 * the client repeats it, or the backend repeats its SYN-ACK, which the client acknowledges at
 * `first`. From then on everything is shifted, and nothing is compared any more: sequence numbers
 * wrap, `first` is 2^31 bytes behind after a while.
 *
 * What the cases come to:
 * - `first` is what the backend's SYN-ACK acknowledges, so it is the number of the SYN that the
 *   backend accepted, whichever SYNs came. Before a SYN-ACK was seen only a SYN or RST passes.
 * - A segment that begins before `first` and ends behind it would put bytes of the client in the
 *   header's place: a forged header. It is refused. So is a SYN with payload (TCP Fast Open, RFC
 *   7413), whose bytes would come before the header.
 * - Fast Open and Multipath TCP (RFC 8684: its mapping would not know the header) are taken out of
 *   the SYNs of both sides, their options becoming no-operations, so neither begins.
 * - Keepalive and window probe before the first byte (empty, at first - 1): moved to `first`, with
 *   the header. With a byte of rubbish it passes as it is: the backend has had that number, the
 *   SYN's.
 * - FIN at `first`: behind the header. RST at `first`: bare if the header is not known to have
 *   left, else shifted, for it must hit the number at which the backend stands; if the header was
 *   lost, the backend's answer (RFC 5961) says so, and the next RST is bare. RST ahead: shifted.
 * - Urgent pointer: counts from the segment's first byte, so it grows by H with the header.
 * - Backend to client: an acknowledgement within the header is one of `first`, beyond it less by
 *   H; SACK blocks likewise. A report of a header that came twice (D-SACK, RFC 2883) becomes an
 *   empty block at `first` or one below it; senders ignore both.
 * - Windows and their scaling, timestamps, ECN: untouched. Until the header is acknowledged the
 *   client may overrun the backend's window by H bytes, which it then repeats.
 * - Full-sized first segment: the SYN-ACK's MSS is lowered by H, never below 536, so header and
 *   segment fit. What does not (the client ignores the MSS) the engine must drop.
 * - After a mistaken SYN on a living flow nothing changes until the backend accepts it by a SYN-ACK
 *   to that very number; then the flow begins anew. Neither side alone can bring that about.
 * - A packet without flow must not be forwarded: whether the header is in its stream is not known.
 *
 * UDP. Every datagram of the client carries the header; one that then is too large the engine
 * must drop.
 *
 * What an engine does: sl_parse(), sl_flow_track() (numbers as client and backend know them), then
 * sl_proxy_forward() or sl_proxy_reply(), then sl_nat_rewrite(). Order with the rewrite is free, as
 * long as the header is made from the tuple as it arrived.
 */
#pragma once

#include <sluice/base.h>
#include <sluice/packet/checksum.h>
#include <sluice/packet/headers.h>
#include <sluice/packet/parse.h>

enum {
	SL_PROXY_LENGTH_IPV4 = 28,
	SL_PROXY_LENGTH_IPV6 = 52,
	SL_PROXY_MAX_LENGTH = SL_PROXY_LENGTH_IPV6,
	SL_PROXY_OPTIONS_BYTES = 68, /* of a copy of TCP options; see sl_proxy_syn() */
	SL_PROXY_MAX_HEADERS = 142,  /* Ethernet, VLAN, IPv4 and TCP with all options; or IPv6 */
	SL_PROXY_LEAST_MSS = 536,    /* RFC 9293 3.7.1; with any header it fits every Ethernet */
	SL_PROXY_BELIEF =
		1 << 30, /* the largest window of TCP: no acknowledgement is further off */
};

/* The kinds of TCP options that matter here (IANA, "TCP Option Kind Numbers"). */
enum {
	SL_TCP_OPTION_END = 0,
	SL_TCP_OPTION_NOP = 1,
	SL_TCP_OPTION_MSS = 2,
	SL_TCP_OPTION_SACK = 5,
	SL_TCP_OPTION_MULTIPATH = 30,
	SL_TCP_OPTION_FAST_OPEN = 34,
	SL_TCP_OPTION_EXPERIMENT_1 = 253, /* RFC 6994; Fast Open's number is SL_TCP_FAST_OPEN_ID */
	SL_TCP_OPTION_EXPERIMENT_2 = 254,
	SL_TCP_FAST_OPEN_ID = 0xf989,
	SL_TCP_MAX_OPTIONS = 40, /* bytes */
};

/** How far a flow's header is. */
enum sl_proxy_phase {
	SL_PROXY_OFF = 0, /* not a flow with a header */
	SL_PROXY_OPENING, /* no SYN-ACK was seen yet */
	SL_PROXY_UNSENT,  /* `first` is known; the header has not left, or did not arrive */
	SL_PROXY_SENT,    /* it left at least once */
	SL_PROXY_ACKED,   /* the backend has it: everything is shifted */
	SL_N_PROXY_PHASES
};

/**
 * The state of a flow with a header. A flow opens with {0, SL_PROXY_OPENING}. The phase goes on only
 * by sl_proxy_reply(), and by sl_proxy_sent() after an insertion. Where two CPUs write to one flow,
 * sl_proxy_sent() must not undo the other's ACKED: compare and swap.
 */
struct sl_proxy {
	uint32_t first; /* host order; in phase ACKED: what a SYN-ACK that begins anew will say */
	uint8_t phase;  /* enum sl_proxy_phase */
};

/** What to do with a client's packet. */
enum sl_proxy_action {
	SL_PROXY_PASS = 0, /* nothing */
	SL_PROXY_SYN,      /* sl_proxy_syn() */
	SL_PROXY_SHIFT,    /* sl_proxy_shift() */
	SL_PROXY_INSERT, /* sl_proxy_make_room(), parse again, sl_proxy_insert(); sl_proxy_sent() */
	SL_PROXY_REFUSE, /* drop */
	SL_N_PROXY_ACTIONS
};

/** The header's length, H. @family: of the flow. */
SL_INLINE uint32_t sl_proxy_length(uint8_t family)
{
	return family == SL_FAMILY_IPV4 ? SL_PROXY_LENGTH_IPV4 : SL_PROXY_LENGTH_IPV6;
}

/** The last word of the fixed part: version 2, PROXY; family and protocol; length of the rest. */
SL_INLINE be32_t sl_proxy_v2_kind(const struct sl_tuple *client)
{
	uint32_t protocol = client->protocol == SL_PROTOCOL_UDP ? 2 : 1;

	if (client->family == SL_FAMILY_IPV4)
		return sl_to_be32(0x2110000cu | protocol << 16);
	return sl_to_be32(0x21200024u | protocol << 16);
}

/**
 * Writes the header. @out: room for sl_proxy_length() bytes, at any address. @client: the tuple of
 * the client's packet as it arrived. Its length.
 */
SL_INLINE uint32_t sl_proxy_v2_header(uint8_t *out, const struct sl_tuple *client)
{
	sl_store32(out, SL_BE32(0x0d0a0d0a));
	sl_store32(out + 4, SL_BE32(0x000d0a51));
	sl_store32(out + 8, SL_BE32(0x5549540a));
	sl_store32(out + 12, sl_proxy_v2_kind(client));
	if (client->family == SL_FAMILY_IPV4) {
		sl_store32(out + 16, client->source.word[0]);
		sl_store32(out + 20, client->destination.word[0]);
		sl_store16(out + 24, client->source_port);
		sl_store16(out + 26, client->destination_port);
		return SL_PROXY_LENGTH_IPV4;
	}
#pragma GCC unroll 4
	for (int i = 0; i < 4; i++) {
		sl_store32(out + 16 + 4 * i, client->source.word[i]);
		sl_store32(out + 32 + 4 * i, client->destination.word[i]);
	}
	sl_store16(out + 48, client->source_port);
	sl_store16(out + 50, client->destination_port);
	return SL_PROXY_LENGTH_IPV6;
}

/** The sum of the words that sl_proxy_v2_header() writes. */
SL_INLINE uint64_t sl_proxy_v2_sum(const struct sl_tuple *client)
{
	uint64_t sum = (uint64_t)SL_BE32(0x0d0a0d0a) + SL_BE32(0x000d0a51) + SL_BE32(0x5549540a);

	sum += sl_proxy_v2_kind(client);
	sum += (uint64_t)client->source.word[0] + client->destination.word[0];
	if (client->family != SL_FAMILY_IPV4) {
#pragma GCC unroll 3
		for (int i = 1; i < 4; i++)
			sum += (uint64_t)client->source.word[i] + client->destination.word[i];
	}
	return sum + client->source_port + client->destination_port;
}

/**
 * What to do with @packet, a client's of a flow with a header. @packet: as sl_parse() filled it,
 * TCP. @sequence: receives what sl_proxy_shift() and sl_proxy_insert() want, host order. Changes
 * @proxy only at a SYN in phase ACKED.
 */
SL_INLINE enum sl_proxy_action sl_proxy_forward(struct sl_proxy *proxy,
						const struct sl_packet *packet, uint32_t *sequence)
{
	uint32_t length = sl_proxy_length(packet->tuple.family);
	uint8_t flags = packet->tcp_flags;
	uint32_t n = (uint32_t)packet->tcp_payload + !!(flags & SL_TCP_FIN);
	int32_t ahead = (int32_t)(packet->tcp_sequence - proxy->first);

	*sequence = packet->tcp_sequence + length;
	if (proxy->phase == SL_PROXY_OFF)
		return SL_PROXY_PASS;
	if (flags & SL_TCP_SYN) {
		if (n != 0)
			return SL_PROXY_REFUSE;
		if (proxy->phase == SL_PROXY_ACKED)
			proxy->first = packet->tcp_sequence + 1;
		return SL_PROXY_SYN;
	}
	if (SL_LIKELY(proxy->phase == SL_PROXY_ACKED))
		return SL_PROXY_SHIFT;
	if (proxy->phase == SL_PROXY_OPENING)
		return (flags & SL_TCP_RST) ? SL_PROXY_PASS : SL_PROXY_REFUSE;
	if (flags & SL_TCP_RST) {
		if (ahead > 0 || (ahead == 0 && proxy->phase == SL_PROXY_SENT))
			return SL_PROXY_SHIFT;
		return SL_PROXY_PASS;
	}
	if (ahead > 0)
		return SL_PROXY_SHIFT;
	if (ahead == 0 || (ahead == -1 && n == 0)) {
		*sequence = proxy->first;
		return SL_PROXY_INSERT;
	}
	return (int64_t)ahead + n > 0 ? SL_PROXY_REFUSE : SL_PROXY_PASS;
}

/** To be called after a packet with the header left, or is sure to. */
SL_INLINE void sl_proxy_sent(struct sl_proxy *proxy)
{
	if (proxy->phase == SL_PROXY_UNSENT)
		proxy->phase = SL_PROXY_SENT;
}

/** Points @packet's headers into the frame [@data, @data_end), which holds them where it did. */
SL_INLINE bool sl_proxy_point(void *data, const void *data_end, struct sl_packet *packet)
{
	uint32_t l4_offset = sl_hide(packet->l4_offset);
	uint8_t *l3 = (uint8_t *)data + sizeof(struct sl_ethernet);
	uint8_t *l4;

	if (packet->has_vlan)
		l3 += sizeof(struct sl_vlan);
	if (l4_offset >= SL_MAX_L4_OFFSET)
		return false;
	l4 = (uint8_t *)data + l4_offset;
	packet->ethernet = data;
	packet->ports = (struct sl_l4_ports *)l4;
	if (packet->tuple.family == SL_FAMILY_IPV4) {
		packet->ipv4 = (struct sl_ipv4 *)l3;
		if ((const void *)(l3 + sizeof(struct sl_ipv4)) > data_end)
			return false;
	} else {
		packet->ipv6 = (struct sl_ipv6 *)l3;
		if ((const void *)(l3 + sizeof(struct sl_ipv6)) > data_end)
			return false;
	}
	if (packet->tuple.protocol == SL_PROTOCOL_TCP) {
		packet->l4_checksum = (be16_t *)(l4 + offsetof(struct sl_tcp, checksum));
		return (const void *)(l4 + sizeof(struct sl_tcp)) <= data_end;
	}
	packet->l4_checksum = (be16_t *)(l4 + offsetof(struct sl_udp, checksum));
	return (const void *)(l4 + sizeof(struct sl_udp)) <= data_end;
}

/** Bytes of @packet's frame from Ethernet to the end of the TCP or UDP header: an even number. */
SL_INLINE uint32_t sl_proxy_headers(const struct sl_packet *packet)
{
	const struct sl_tcp *tcp = (const struct sl_tcp *)packet->ports;

	if (packet->tuple.protocol != SL_PROTOCOL_TCP)
		return packet->l4_offset + (uint32_t)sizeof(struct sl_udp);
	return packet->l4_offset + (uint32_t)(tcp->offset >> 4) * 4;
}

/** Bytes of @packet's IP packet with the header in it: at most the outgoing link's MTU. */
SL_INLINE uint32_t sl_proxy_grown(const struct sl_packet *packet)
{
	uint32_t link_length = (uint32_t)sizeof(struct sl_ethernet) +
			       (packet->has_vlan ? (uint32_t)sizeof(struct sl_vlan) : 0);

	return packet->l4_offset - link_length + packet->l4_length +
	       sl_proxy_length(packet->tuple.family);
}

/** The largest IP packet of a client that with a header is at most @mtu bytes; 0: none. */
SL_INLINE uint16_t sl_proxy_room(uint32_t mtu, uint8_t family)
{
	uint32_t length = sl_proxy_length(family);

	return (uint16_t)(mtu > length && mtu <= 65535 ? mtu - length : 0);
}

/**
 * Moves the headers of a frame to its new first byte and points @packet at them. @data: the frame,
 * in front of which the engine put sl_proxy_length() unused bytes. @packet: as sl_parse() filled it
 * before that. @headers: sl_proxy_headers() of it, before that. The gap stands behind the headers
 * then. False: @headers is above SL_PROXY_MAX_HEADERS (long IPv6 extension headers) or beyond
 * @data_end; the frame must be dropped.
 */
SL_MUST_USE SL_INLINE bool sl_proxy_make_room(void *data, const void *data_end,
					      struct sl_packet *packet, uint32_t headers)
{
	uint8_t *to = data;
	const uint8_t *from = to + sl_proxy_length(packet->tuple.family);

	/* Ethernet's 14 bytes make two more than whole words of what follows. */
	if (headers > SL_PROXY_MAX_HEADERS || (headers & 3) != 2 ||
	    (const void *)(from + 2) > data_end)
		return false;
	sl_store16(to, sl_load16(from));
	for (uint32_t i = 2; i < SL_PROXY_MAX_HEADERS; i += 4) {
		if (i >= headers)
			break;
		if ((const void *)(from + i + 4) > data_end)
			return false;
		sl_store32(to + i, sl_load32(from + i));
	}
	return sl_proxy_point(data, data_end, packet);
}

/** Adds @growth to the IP header's length and makes its checksum true. */
SL_INLINE void sl_proxy_grow_ip(struct sl_packet *packet, uint32_t growth)
{
	struct sl_ipv4 *ipv4 = packet->ipv4;
	struct sl_ipv6 *ipv6 = packet->ipv6;

	/* By the pointers, not the family: the BPF verifier forgets how the two go together. */
	if (ipv4 != NULL) {
		be16_t total = sl_to_be16((uint16_t)(sl_from_be16(ipv4->total_length) + growth));

		ipv4->checksum = sl_checksum_update(ipv4->checksum,
						    sl_checksum_diff16(ipv4->total_length, total));
		ipv4->total_length = total;
	} else if (ipv6 != NULL) {
		ipv6->payload_length =
			sl_to_be16((uint16_t)(sl_from_be16(ipv6->payload_length) + growth));
	}
}

/** Gives a client's TCP packet the number @sequence, host order. */
SL_INLINE void sl_proxy_shift(struct sl_packet *packet, uint32_t sequence)
{
	struct sl_tcp *tcp = (struct sl_tcp *)packet->ports;
	be32_t after = sl_to_be32(sequence);

	*packet->l4_checksum =
		sl_checksum_update(*packet->l4_checksum, sl_checksum_diff32(tcp->sequence, after));
	tcp->sequence = after;
}

/** sl_proxy_insert() for TCP. */
SL_INLINE bool sl_proxy_insert_tcp(struct sl_packet *packet, const void *data_end,
				   const struct sl_tuple *client, uint32_t sequence)
{
	struct sl_tcp *tcp = (struct sl_tcp *)packet->ports;
	uint32_t offset = (uint32_t)(tcp->offset >> 4) * 4;
	uint32_t length = sl_proxy_length(packet->tuple.family);
	uint8_t *out = (uint8_t *)tcp + offset;
	uint8_t flags = packet->tcp_flags;
	uint32_t urgent;
	uint64_t diff;

	if ((const void *)(out + length) > data_end)
		return false;
	sl_proxy_v2_header(out, client);
	sl_proxy_grow_ip(packet, length);
	diff = sl_proxy_v2_sum(client);
	/* The pseudo header's length: any even number of bytes, in network order. */
	diff += sl_checksum_diff16(sl_to_be16(packet->l4_length),
				   sl_to_be16((uint16_t)(packet->l4_length + length)));
	if (packet->tcp_payload == 0) {
		/* The flags are the high byte here of their 16-bit word. */
		tcp->flags = (uint8_t)(flags | SL_TCP_PSH);
		diff += sl_checksum_diff16((be16_t)(flags << 8), (be16_t)(tcp->flags << 8));
	}
	if (flags & SL_TCP_URG) {
		be16_t before = tcp->urgent;

		urgent = sl_from_be16(before) + length;
		tcp->urgent = sl_to_be16((uint16_t)(urgent > 0xffff ? 0xffff : urgent));
		diff += sl_checksum_diff16(before, tcp->urgent);
	}
	diff += sl_checksum_diff32(tcp->sequence, sl_to_be32(sequence));
	tcp->sequence = sl_to_be32(sequence);
	*packet->l4_checksum = sl_checksum_update(*packet->l4_checksum, diff);
	return true;
}

/** sl_proxy_insert() for UDP. */
SL_INLINE bool sl_proxy_insert_udp(struct sl_packet *packet, const void *data_end,
				   const struct sl_tuple *client)
{
	struct sl_udp *udp = (struct sl_udp *)packet->ports;
	uint32_t length = sl_proxy_length(packet->tuple.family);
	uint8_t *out = (uint8_t *)(udp + 1);
	be16_t before = udp->length;
	be16_t after = sl_to_be16((uint16_t)(sl_from_be16(before) + length));
	be16_t checksum;

	if ((const void *)(out + length) > data_end)
		return false;
	sl_proxy_v2_header(out, client);
	sl_proxy_grow_ip(packet, length);
	udp->length = after;
	if (udp->checksum == 0)
		return true;
	/* The length stands in the pseudo header as well. */
	checksum = sl_checksum_update(udp->checksum, sl_proxy_v2_sum(client) +
							     2 * sl_checksum_diff16(before, after));
	udp->checksum = checksum == 0 ? 0xffff : checksum;
	return true;
}

/**
 * Writes the header into the gap that sl_proxy_make_room() left and makes lengths and checksums
 * true. @packet: as sl_proxy_make_room() left it; what was decoded from it stays as it is. @client:
 * the tuple of the packet as it arrived. @sequence: as sl_proxy_forward() gave it; not read for UDP.
 * False: no room before @data_end; nothing was written. The IP packet must not exceed 65535 bytes.
 */
SL_MUST_USE SL_INLINE bool sl_proxy_insert(struct sl_packet *packet, const void *data_end,
					   const struct sl_tuple *client, uint32_t sequence)
{
	if (packet->tuple.protocol == SL_PROTOCOL_TCP)
		return sl_proxy_insert_tcp(packet, data_end, client, sequence);
	return sl_proxy_insert_udp(packet, data_end, client);
}

/**
 * The difference @diff of a field, as it counts where the field stands at byte @at: at an odd one
 * with its bytes swapped, which modulo 0xffff is a shift. Without a branch, for the BPF verifier.
 */
SL_INLINE uint64_t sl_proxy_diff_at(uint64_t diff, uint32_t at)
{
	return (uint64_t)sl_checksum_fold(diff) << (at & 1) * 8;
}

/** The options of @packet in its frame; sl_proxy_options_length() bytes. */
SL_INLINE uint8_t *sl_proxy_options(const struct sl_packet *packet)
{
	return (uint8_t *)packet->ports + sizeof(struct sl_tcp);
}

/** Bytes of options of @packet: at most SL_TCP_MAX_OPTIONS. */
SL_INLINE uint32_t sl_proxy_options_length(const struct sl_packet *packet)
{
	const struct sl_tcp *tcp = (const struct sl_tcp *)packet->ports;
	uint32_t length = (uint32_t)(tcp->offset >> 4) * 4;

	return length < sizeof(*tcp) ? 0 : length - (uint32_t)sizeof(*tcp);
}

/**
 * The size of @option, which stands at @at of @length bytes of options, or 0 where the list ends. An
 * option that lies about its length ends the list, as it does in TCP.
 */
SL_INLINE uint32_t sl_tcp_option_size(const uint8_t *option, uint32_t at, uint32_t length)
{
	uint32_t size;

	if (option[0] == SL_TCP_OPTION_NOP)
		return 1;
	if (option[0] == SL_TCP_OPTION_END || at + 2 > length)
		return 0;
	size = option[1];
	return size < 2 || at + size > length ? 0 : size;
}

/** Whether @option, of @size bytes, may not be negotiated: Multipath TCP or Fast Open. */
SL_INLINE bool sl_proxy_is_unwanted(const uint8_t *option, uint32_t size)
{
	if (option[0] == SL_TCP_OPTION_MULTIPATH || option[0] == SL_TCP_OPTION_FAST_OPEN)
		return true;
	if (option[0] != SL_TCP_OPTION_EXPERIMENT_1 && option[0] != SL_TCP_OPTION_EXPERIMENT_2)
		return false;
	return size >= 4 && sl_load16(option + 2) == SL_BE16(SL_TCP_FAST_OPEN_ID);
}

/** Lowers the MSS @option, which stands at @at, by @lower. The sum to add to the checksum. */
SL_INLINE uint64_t sl_proxy_lower_mss(uint8_t *option, uint32_t at, uint32_t lower)
{
	be16_t before = sl_load16(option + 2);
	uint32_t mss = sl_from_be16(before);
	uint32_t least = SL_PROXY_LEAST_MSS;
	be16_t after;

	if (mss <= least || lower == 0)
		return 0;
	after = sl_to_be16((uint16_t)(mss < least + lower ? least : mss - lower));
	sl_store16(option + 2, after);
	return sl_proxy_diff_at(sl_checksum_diff16(before, after), at);
}

/**
 * Takes Fast Open and Multipath TCP out of the SYN or SYN-ACK @packet and lowers its MSS by
 * @lower, 0 for the client's. @options: sl_proxy_options(), or a copy of them in a block of
 * SL_PROXY_OPTIONS_BYTES, which the caller then puts back: what an engine needs whose verifier
 * follows a walk through map memory, but not through a packet.
 */
SL_INLINE void sl_proxy_syn(struct sl_packet *packet, uint8_t *options, uint32_t lower)
{
	uint32_t length = sl_proxy_options_length(packet);
	uint32_t at = sl_hide(length) - length; /* 0, but no BPF verifier knows */
	uint32_t left = 0;                      /* bytes of an unwanted option */
	uint64_t diff = 0;

	for (uint32_t i = 0; i < SL_TCP_MAX_OPTIONS; i++) {
		uint8_t *option;

		at = sl_hide(at) & 63;
		if (at >= length)
			break;
		option = options + at;
		if (left == 0) {
			uint32_t size = sl_tcp_option_size(option, at, length);

			if (size == 0)
				break;
			if (size == 1 || !sl_proxy_is_unwanted(option, size)) {
				if (option[0] == SL_TCP_OPTION_MSS && size == 4)
					diff += sl_proxy_lower_mss(option, at, lower);
				at += size;
				continue;
			}
			left = size;
		}
		diff += sl_proxy_diff_at(sl_checksum_diff16(option[0], SL_TCP_OPTION_NOP), at);
		option[0] = SL_TCP_OPTION_NOP;
		at++;
		left--;
	}
	*packet->l4_checksum = sl_checksum_update(*packet->l4_checksum, diff);
}

/** What sl_proxy_to_client() takes off a number: @least to @most, as far as it is ahead. */
SL_INLINE uint32_t sl_proxy_off(int32_t ahead, int32_t least, int32_t most)
{
	if (ahead < least)
		return (uint32_t)least;
	return (uint32_t)(ahead > most ? most : ahead);
}

/**
 * The number in the client's space of @sequence, a number of the client's bytes as the backend
 * knows them: an acknowledgement, an edge of a SACK block, a packet quoted in an ICMP error. @length:
 * of the header. Host order.
 */
SL_INLINE uint32_t sl_proxy_to_client(const struct sl_proxy *proxy, uint32_t sequence,
				      uint32_t length)
{
	if (SL_LIKELY(proxy->phase == SL_PROXY_ACKED))
		return sequence - length;
	if (proxy->phase < SL_PROXY_UNSENT)
		return sequence;
	return sequence - sl_proxy_off((int32_t)(sequence - proxy->first), 0, (int32_t)length);
}

/**
 * Translates the SACK blocks among @n bytes of @options; the phase is UNSENT or later. The sum to
 * add to the checksum. A SACK option that is not of whole blocks is no one's and left alone.
 */
SL_INLINE uint64_t sl_proxy_sack(const struct sl_proxy *proxy, uint8_t *options, uint32_t n,
				 uint32_t length)
{
	int32_t least = proxy->phase == SL_PROXY_ACKED ? (int32_t)length : 0;
	uint32_t first = proxy->first;
	uint32_t at = sl_hide(n) - n; /* as in sl_proxy_syn() */
	uint32_t left = 0;            /* bytes of the blocks under way */
	uint64_t diff = 0;

	for (uint32_t i = 0; i < SL_TCP_MAX_OPTIONS; i++) {
		uint8_t *option;

		at = sl_hide(at) & 63;
		if (at >= n)
			break;
		option = options + at;
		if (left == 0) {
			uint32_t size = sl_tcp_option_size(option, at, n);

			if (size == 0)
				break;
			if (option[0] == SL_TCP_OPTION_SACK && (size & 7) == 2) {
				left = size - 2;
				size = 2;
			}
			at += size;
		} else {
			be32_t before = sl_load32(option);
			uint32_t sequence = sl_from_be32(before);
			be32_t after =
				sl_to_be32(sequence - sl_proxy_off((int32_t)(sequence - first),
								   least, (int32_t)length));

			sl_store32(option, after);
			diff += sl_proxy_diff_at(sl_checksum_diff32(before, after), at);
			at += 4;
			left -= 4;
		}
	}
	return diff;
}

/** Whether @n bytes of @options are none, or timestamps alone as all common stacks write them. */
SL_INLINE bool sl_proxy_has_plain_options(const uint8_t *options, uint32_t n)
{
	return n == 0 || (n == 12 && sl_load32(options) == SL_BE32(0x0101080a));
}

/** What the acknowledgement of @packet, a backend's, says of the header. */
SL_INLINE void sl_proxy_acknowledged(struct sl_proxy *proxy, const struct sl_packet *packet,
				     uint32_t length)
{
	uint32_t ahead = packet->tcp_acknowledgement - proxy->first;

	if (packet->tcp_flags & SL_TCP_RST)
		return;
	if (ahead < length)
		proxy->phase = SL_PROXY_UNSENT;
	else if (ahead < SL_PROXY_BELIEF)
		proxy->phase = SL_PROXY_ACKED;
}

/**
 * The backend's SYN-ACK: it says where the client's bytes begin. If it says what is known, it may be
 * a repetition that the header overtook, so the header counts as sent.
 */
SL_INLINE void sl_proxy_opened(struct sl_proxy *proxy, const struct sl_packet *packet)
{
	bool is_known =
		proxy->phase >= SL_PROXY_SENT && packet->tcp_acknowledgement == proxy->first;

	if (proxy->phase == SL_PROXY_ACKED && !is_known)
		return;
	proxy->first = packet->tcp_acknowledgement;
	proxy->phase = is_known ? SL_PROXY_SENT : SL_PROXY_UNSENT;
}

/**
 * Follows and translates @packet, a backend's of a flow with a header: acknowledgement and SACK
 * blocks; of a SYN-ACK the options instead. @packet: as sl_parse() filled it, TCP. @options: as for
 * sl_proxy_syn(). Nothing fails: every packet is then to be rewritten and sent.
 */
SL_INLINE void sl_proxy_reply(struct sl_proxy *proxy, struct sl_packet *packet, uint8_t *options)
{
	struct sl_tcp *tcp = (struct sl_tcp *)packet->ports;
	uint32_t length = sl_proxy_length(packet->tuple.family);
	/* Blocks of the packet that acknowledges the header still see where it began. */
	const struct sl_proxy before = *proxy;
	uint32_t n = sl_proxy_options_length(packet);
	be32_t after;
	uint64_t diff;

	if (proxy->phase == SL_PROXY_OFF || (packet->tcp_flags & SL_TCP_ACK) == 0)
		return;
	if (packet->tcp_flags & SL_TCP_SYN) {
		sl_proxy_opened(proxy, packet);
		sl_proxy_syn(packet, options, length);
		return;
	}
	if (proxy->phase == SL_PROXY_OPENING)
		return;
	after = sl_to_be32(sl_proxy_to_client(&before, packet->tcp_acknowledgement, length));
	diff = sl_checksum_diff32(tcp->acknowledgement, after);
	if (!sl_proxy_has_plain_options(options, n))
		diff += sl_proxy_sack(&before, options, n, length);
	if (SL_UNLIKELY(before.phase != SL_PROXY_ACKED))
		sl_proxy_acknowledged(proxy, packet, length);
	tcp->acknowledgement = after;
	*packet->l4_checksum = sl_checksum_update(*packet->l4_checksum, diff);
}
