/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * Fragments, without putting anything together: which of a datagram's fragments may pass, and by which
 * ports. Only the first one has a layer-4 header; those after it are packets with the ports that it
 * showed, so whatever is decided of the first binds the rest.
 *
 * What passes is never ambiguous: no byte of a datagram passes twice, so whoever puts the fragments
 * together has one datagram, ours. A fragment all of whose bytes have passed is a duplicate, and is
 * dropped alone (RFC 8200 4.5); one that overlaps another in part ends its datagram (RFC 5722, here for
 * IPv4 as well), and so does one that contradicts its length. A first fragment that ends within the
 * layer-4 header is tiny (RFC 1858, RFC 3128).
 *
 * Sources: RFC 791, 815, 1858, 3128, 5722, 6946 (atomic fragments are whole packets, parse.h), 7112, 8200.
 */
#pragma once

#include <sluice/packet/parse.h>
#include <sluice/tables.h>

enum {
	SL_FRAGMENT_UNIT = 8,        /* bytes that offsets count */
	SL_FRAGMENT_MAX_RANGES = 8,  /* of bytes that passed, with holes between */
	SL_FRAGMENT_MAX_END = 65535, /* of a datagram, its headers counted */
	SL_FRAGMENT_MAX_AT =
		512 - 64, /* where its payload lies in a frame: below SL_MAX_L4_OFFSET */
	SL_FRAGMENT_TICKS = SL_TICKS_PER_SEC, /* after which nothing of a datagram is waited for */
	SL_DATAGRAM_WAYS = 4,                 /* datagrams of one bucket */
};

/** A fragment, as its headers describe it. */
struct sl_fragment {
	be32_t id;       /* of its datagram; IPv4's 16 bits come first */
	uint16_t offset; /* of its payload in the datagram's, bytes */
	uint16_t length; /* of its payload, bytes; not 0 */
	bool is_last;
};

enum sl_fragment_kind {
	SL_FRAGMENT_FIRST =
		0, /* the packet is parsed but for lengths that concern the whole datagram */
	SL_FRAGMENT_LATER,     /* no ports: the datagram's are to be put in */
	SL_FRAGMENT_OTHER,     /* of another protocol than TCP and UDP: the kernel's */
	SL_FRAGMENT_TINY,      /* first, and ends within the layer-4 header: drop */
	SL_FRAGMENT_MALFORMED, /* empty, no multiple of 8 bytes, beyond 65,535, bad headers: drop */
};

/** What becomes of a fragment whose datagram is known. */
enum sl_fragment_fate {
	SL_FRAGMENT_TAKEN = 0, /* it passes */
	SL_FRAGMENT_DUPLICATE, /* it brings nothing: drop it */
	SL_FRAGMENT_REFUSED,   /* drop it, and all that comes of this datagram */
};

/** Bytes of a datagram: @end is the first behind them. */
struct sl_fragment_range {
	uint16_t begin;
	uint16_t end;
};

/** A datagram under way. Zeroed but for its key: nothing has passed. Family SL_FAMILY_NONE: there is none. */
struct sl_datagram {
	union sl_addr source;
	union sl_addr destination;
	be32_t id;
	uint8_t family;
	uint8_t protocol; /* part of the key for IPv4; for IPv6 known by the first fragment */
	uint8_t has_first;
	uint8_t is_refused;
	be16_t source_port; /* as the first fragment has them */
	be16_t destination_port;
	uint16_t total; /* bytes of payload; 0: the last fragment has not passed */
	uint16_t most;  /* the end of what has passed */
	uint32_t began; /* ticks */
	uint32_t n_ranges;
	struct sl_fragment_range
		range[SL_FRAGMENT_MAX_RANGES]; /* in no order, none touches another */
};

/** Fields of the IPv4 header. */
SL_INLINE void sl_fragment_ipv4(const struct sl_packet *packet, struct sl_fragment *fragment)
{
	uint16_t word = sl_from_be16(packet->ipv4->fragment);

	fragment->id = packet->ipv4->id;
	fragment->offset = (uint16_t)((word & 0x1fff) * SL_FRAGMENT_UNIT);
	fragment->is_last = (word & 0x2000) == 0;
	fragment->length = packet->l4_length;
}

/** Fields of the IPv6 fragment header, which is passed over. False: cut short. */
SL_INLINE bool sl_fragment_ipv6(void *data, const void *data_end, struct sl_packet *packet,
				struct sl_fragment *fragment)
{
	const uint8_t *header =
		(const uint8_t *)data + (sl_hide(packet->l4_offset) & (SL_MAX_L4_OFFSET - 1));
	uint16_t word;

	if (packet->l4_length < SL_FRAGMENT_UNIT ||
	    (const void *)(header + SL_FRAGMENT_UNIT) > data_end)
		return false;
	word = (uint16_t)(header[2] << 8 | header[3]);
	packet->tuple.protocol = header[0];
	packet->l4_offset = (uint16_t)(packet->l4_offset + SL_FRAGMENT_UNIT);
	packet->l4_length = (uint16_t)(packet->l4_length - SL_FRAGMENT_UNIT);
	fragment->id = sl_load32(header + 4);
	fragment->offset = word & 0xfff8;
	fragment->is_last = (word & 1) == 0;
	fragment->length = packet->l4_length;
	return true;
}

/** Lengths that no fragment has. @headers: bytes of IP headers that the whole datagram would have. */
SL_INLINE bool sl_fragment_is_sane(const struct sl_fragment *fragment, uint32_t headers)
{
	return fragment->length != 0 &&
	       (fragment->is_last || fragment->length % SL_FRAGMENT_UNIT == 0) &&
	       headers + fragment->offset + fragment->length <= SL_FRAGMENT_MAX_END;
}

/** The layer-4 header of a first fragment; what stands before it must be whole, too (RFC 7112). */
SL_INLINE enum sl_fragment_kind sl_fragment_parse_l4(void *data, const void *data_end,
						     struct sl_packet *packet)
{
	uint16_t length = packet->l4_length;
	bool is_udp = packet->tuple.protocol == SL_PROTOCOL_UDP;
	enum sl_verdict verdict;

	if (length < (is_udp ? sizeof(struct sl_udp) : sizeof(struct sl_tcp)))
		return SL_FRAGMENT_TINY;
	/* UDP's own length is the datagram's. */
	if (is_udp)
		packet->l4_length = SL_FRAGMENT_MAX_END;
	verdict = sl_parse_l4(data, data_end, packet);
	packet->l4_length = length;
	return verdict == SL_VERDICT_NONE ? SL_FRAGMENT_FIRST : SL_FRAGMENT_MALFORMED;
}

/**
 * Parses what sl_parse_l3() says SL_VERDICT_PUNT_FRAGMENT of: the frame [@data, @data_end), @packet as
 * it left it. On SL_FRAGMENT_FIRST @packet is as sl_parse() leaves it, but that l4_length is the
 * fragment's and UDP's length, which is the datagram's, may exceed it. On SL_FRAGMENT_LATER there are
 * addresses, l4_offset and l4_length; ports and l4_checksum are NULL, and for IPv6 the protocol is the
 * first fragment's to say. On all other kinds @packet must not be used.
 */
SL_INLINE enum sl_fragment_kind sl_fragment_parse(void *data, const void *data_end,
						  struct sl_packet *packet,
						  struct sl_fragment *fragment)
{
	bool is_ipv4 = packet->tuple.family == SL_FAMILY_IPV4;
	uint32_t headers = packet->l4_offset - (uint32_t)sizeof(struct sl_ethernet) -
			   packet->has_vlan * (uint32_t)sizeof(struct sl_vlan);

	if (is_ipv4)
		sl_fragment_ipv4(packet, fragment);
	else if (!sl_fragment_ipv6(data, data_end, packet, fragment))
		return SL_FRAGMENT_MALFORMED;
	/* IPv6's own header is no part of its length, and the fragment header is gone in the end. */
	if (packet->l4_offset > SL_FRAGMENT_MAX_AT ||
	    !sl_fragment_is_sane(fragment,
				 is_ipv4 ? headers : headers - (uint32_t)sizeof(struct sl_ipv6)))
		return SL_FRAGMENT_MALFORMED;
	packet->fragment = fragment->offset != 0 ? SL_PACKET_LATER : SL_PACKET_FIRST;
	if (fragment->offset != 0 && !is_ipv4)
		return SL_FRAGMENT_LATER;
	if (!is_ipv4 && packet->tuple.protocol != SL_PROTOCOL_TCP &&
	    packet->tuple.protocol != SL_PROTOCOL_UDP) {
		uint8_t *l4 =
			(uint8_t *)data + (sl_hide(packet->l4_offset) & (SL_MAX_L4_OFFSET - 1));

		/* A fragment of a fragment, and a chain that goes on in the next one. */
		if (sl_parse_extensions(l4, data_end, packet) != SL_VERDICT_NONE)
			return SL_FRAGMENT_MALFORMED;
	}
	if (packet->tuple.protocol != SL_PROTOCOL_TCP && packet->tuple.protocol != SL_PROTOCOL_UDP)
		return SL_FRAGMENT_OTHER;
	if (fragment->offset != 0)
		return SL_FRAGMENT_LATER;
	return sl_fragment_parse_l4(data, data_end, packet);
}

/**
 * Writes the key of a datagram, and that nothing of it has passed. @tuple: a fragment's addresses, and for
 * IPv4 its protocol, as in the next three. @now: ticks.
 */
SL_INLINE void sl_datagram_begin(struct sl_datagram *datagram, const struct sl_tuple *tuple,
				 const struct sl_fragment *fragment, uint32_t now)
{
	*datagram = (struct sl_datagram){
		.began = now,
		.source = tuple->source,
		.destination = tuple->destination,
		.id = fragment->id,
		.family = tuple->family,
		.protocol = tuple->family == SL_FAMILY_IPV4 ? tuple->protocol : 0,
	};
}

/** Whether the fragment is @datagram's (RFC 791; RFC 8200 4.5: without the protocol). */
SL_INLINE bool sl_datagram_has(const struct sl_datagram *datagram, const struct sl_tuple *tuple,
			       const struct sl_fragment *fragment)
{
	return datagram->id == fragment->id && datagram->family == tuple->family &&
	       sl_addr_equal(&datagram->source, &tuple->source) &&
	       sl_addr_equal(&datagram->destination, &tuple->destination) &&
	       (datagram->family == SL_FAMILY_IPV6 || datagram->protocol == tuple->protocol);
}

/** The first fragment's ports and protocol, for those that come after it. */
SL_INLINE void sl_datagram_show(struct sl_datagram *datagram, const struct sl_tuple *first)
{
	datagram->has_first = 1;
	datagram->protocol = first->protocol;
	datagram->source_port = first->source_port;
	datagram->destination_port = first->destination_port;
}

/** Makes the tuple of a later fragment the first one's. */
SL_INLINE void sl_datagram_lend(const struct sl_datagram *datagram, struct sl_tuple *later)
{
	later->protocol = datagram->protocol;
	later->source_port = datagram->source_port;
	later->destination_port = datagram->destination_port;
}

/** Whether all of it has passed. */
SL_INLINE bool sl_datagram_is_whole(const struct sl_datagram *datagram)
{
	return datagram->total != 0 && datagram->n_ranges == 1 && datagram->range[0].begin == 0 &&
	       datagram->range[0].end == datagram->total;
}

/**
 * Whether nothing more comes of it: all has passed, and whoever puts it together has it, so that the
 * next fragment with its key is another datagram's; or its time is over.
 */
SL_INLINE bool sl_datagram_is_over(const struct sl_datagram *datagram, uint32_t now)
{
	return datagram->family == SL_FAMILY_NONE || now - datagram->began > SL_FRAGMENT_TICKS ||
	       sl_datagram_is_whole(datagram);
}

/**
 * The way of @bucket, of SL_DATAGRAM_WAYS, that has the fragment's datagram under way; *@is_known. Else
 * one where it may begin, or SL_DATAGRAM_WAYS if there is none.
 */
SL_INLINE uint32_t sl_datagram_find(const struct sl_datagram *bucket, const struct sl_tuple *tuple,
				    const struct sl_fragment *fragment, uint32_t now,
				    bool *is_known)
{
	uint32_t found = SL_DATAGRAM_WAYS;

	*is_known = false;
	for (uint32_t i = 0; i < SL_DATAGRAM_WAYS; i++) {
		if (sl_datagram_is_over(&bucket[i], now)) {
			found = found == SL_DATAGRAM_WAYS ? i : found;
		} else if (sl_datagram_has(&bucket[i], tuple, fragment)) {
			*is_known = true;
			return i;
		}
	}
	return found;
}

/** What is hashed to find the bucket, and the worker that has it: the datagram's key as a tuple. */
SL_INLINE struct sl_tuple sl_datagram_tuple(const struct sl_tuple *tuple,
					    const struct sl_fragment *fragment)
{
	return (struct sl_tuple){
		.source = tuple->source,
		.destination = tuple->destination,
		.source_port = (be16_t)fragment->id,
		.destination_port = (be16_t)(fragment->id >> 16),
		.protocol = tuple->family == SL_FAMILY_IPV4 ? tuple->protocol : 0,
		.family = tuple->family,
	};
}

/** Puts [@begin, @end), which touches or follows the ranges @left and @right if they are any. */
SL_INLINE bool sl_datagram_join(struct sl_datagram *datagram, uint16_t begin, uint16_t end,
				uint32_t left, uint32_t right)
{
	const uint32_t mask = SL_FRAGMENT_MAX_RANGES - 1;
	struct sl_fragment_range *at_left = &datagram->range[sl_hide(left) & mask];
	struct sl_fragment_range *at_right = &datagram->range[sl_hide(right) & mask];
	uint32_t last = sl_hide(datagram->n_ranges - 1) & mask;

	if (left < SL_FRAGMENT_MAX_RANGES && right < SL_FRAGMENT_MAX_RANGES) {
		at_left->end = at_right->end;
		*at_right = datagram->range[last];
		datagram->n_ranges--;
	} else if (left < SL_FRAGMENT_MAX_RANGES) {
		at_left->end = end;
	} else if (right < SL_FRAGMENT_MAX_RANGES) {
		at_right->begin = begin;
	} else if (datagram->n_ranges < SL_FRAGMENT_MAX_RANGES) {
		struct sl_fragment_range *next =
			&datagram->range[sl_hide(datagram->n_ranges) & mask];

		*next = (struct sl_fragment_range){.begin = begin, .end = end};
		datagram->n_ranges++;
	} else {
		return false;
	}
	return true;
}

/** How a fragment lies to what has passed of its datagram. */
struct sl_fragment_place {
	uint32_t is_duplicate; /* 1: all its bytes have passed */
	uint32_t overlaps;     /* 1: some have */
	uint32_t left;         /* the range that it follows; SL_FRAGMENT_MAX_RANGES: none */
	uint32_t right;        /* the range that follows it; likewise */
};

/** The place of the bytes [@begin, @end) in @datagram. One way through: see sl_less(). */
SL_INLINE struct sl_fragment_place sl_datagram_place(const struct sl_datagram *datagram,
						     uint32_t begin, uint32_t end)
{
	struct sl_fragment_place place = {.left = SL_FRAGMENT_MAX_RANGES,
					  .right = SL_FRAGMENT_MAX_RANGES};

	for (uint32_t i = 0; i < SL_FRAGMENT_MAX_RANGES; i++) {
		const struct sl_fragment_range range = datagram->range[i];
		uint32_t is_range = sl_less(i, datagram->n_ranges);
		uint32_t begins_within = is_range & sl_less(begin, range.end);
		uint32_t ends_within = is_range & sl_less(range.begin, end);
		uint32_t is_inside = begins_within & ends_within &
				     (1 - sl_less(begin, range.begin)) &
				     (1 - sl_less(range.end, end));

		place.is_duplicate |= is_inside;
		place.overlaps |= begins_within & ends_within & (1 - is_inside);
		/* Ranges touch no other, so there is but one on either side. */
		place.left -=
			(SL_FRAGMENT_MAX_RANGES - i) &
			(0 - (is_range & (1 - begins_within) & (1 - sl_less(range.end, begin))));
		place.right -=
			(SL_FRAGMENT_MAX_RANGES - i) &
			(0 - (is_range & (1 - ends_within) & (1 - sl_less(end, range.begin))));
	}
	return place;
}

/**
 * Whether @fragment may pass, and if so, that it has. With more than SL_FRAGMENT_MAX_RANGES holes under
 * way a datagram is refused: what could not be compared must not pass.
 */
SL_INLINE enum sl_fragment_fate sl_datagram_add(struct sl_datagram *datagram,
						const struct sl_fragment *fragment)
{
	uint16_t begin = fragment->offset;
	uint16_t end = (uint16_t)(begin + fragment->length);
	struct sl_fragment_place place = sl_datagram_place(datagram, begin, end);
	bool is_right =
		datagram->total == 0
			? !fragment->is_last || datagram->most <= end
			: end <= datagram->total && fragment->is_last == (end == datagram->total);

	is_right &= !datagram->is_refused;
	if (is_right && place.is_duplicate)
		return SL_FRAGMENT_DUPLICATE;
	if (!is_right || place.overlaps ||
	    !sl_datagram_join(datagram, begin, end, place.left, place.right)) {
		datagram->is_refused = 1;
		return SL_FRAGMENT_REFUSED;
	}
	if (end > datagram->most)
		datagram->most = end;
	if (fragment->is_last)
		datagram->total = end;
	return SL_FRAGMENT_TAKEN;
}
