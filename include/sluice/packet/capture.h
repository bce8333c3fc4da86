/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * Which packets a capture takes, and what it keeps of each. Read by workers and programs while a
 * capture is on, and never else. Reads only [data, data_end) of a frame, and judges nothing.
 */
#pragma once

#include <sluice/base.h>
#include <sluice/counters.h>
#include <sluice/packet/headers.h>
#include <sluice/packet/parse.h>

enum {
	SL_CAPTURE_MAX_BYTES = 4096, /* of a frame that a copy keeps */
	SL_CAPTURE_EVERY = 0xff,     /* as verdict or port of a filter: every one */
};

/** Where a frame was seen, as bits: a filter may have both. */
enum sl_capture_direction {
	SL_CAPTURE_IN = 1,  /* as it reached Sluice */
	SL_CAPTURE_OUT = 2, /* as it left it */
};

/** What one end of a packet, whichever, is to be. An all-zero one is everything. */
struct sl_capture_end {
	union sl_addr addr;
	union sl_addr mask; /* bits of addr that count */
	be16_t port;        /* 0: every one */
	uint8_t family;     /* enum sl_family; 0: everything */
	uint8_t protocol;   /* 0: every one */
};

/** All that is given must be so of the packet as it came or as it went. */
struct sl_capture_filter {
	struct sl_capture_end service;
	struct sl_capture_end client;
	struct sl_capture_end backend;
	uint8_t verdict;   /* SL_CAPTURE_EVERY: every one */
	uint8_t port;      /* index of the port that it came by, or left by; likewise */
	uint8_t direction; /* enum sl_capture_direction, one or both */
	uint8_t reserved;
};

/** One copy; its bytes follow. */
struct sl_capture_record {
	uint64_t stamp;    /* the engine's own clock */
	uint32_t length;   /* of the frame, bytes */
	uint16_t n_bytes;  /* of it that were kept */
	uint8_t verdict;   /* enum sl_verdict */
	uint8_t direction; /* enum sl_capture_direction */
	uint8_t port;      /* index of the one that it came by, or left by */
	uint8_t reserved[7];
	struct sl_tuple in;  /* of the packet as it came; family 0: no IP packet */
	struct sl_tuple out; /* of the packet as it left; family 0: it did not */
};

_Static_assert(sizeof(struct sl_capture_record) == 104, "no padding");

/* Ports stand at @l4 of TCP and UDP packets that have their header; else they are 0. */
SL_INLINE void sl_capture_read_ports(const void *l4, const void *data_end, bool is_later,
				     struct sl_tuple *tuple)
{
	const struct sl_l4_ports *ports = l4;

	if (is_later ||
	    (tuple->protocol != SL_PROTOCOL_TCP && tuple->protocol != SL_PROTOCOL_UDP) ||
	    (const void *)(ports + 1) > data_end)
		return;
	tuple->source_port = ports->source;
	tuple->destination_port = ports->destination;
}

/**
 * Addresses and ports of the frame [@data, @data_end), valid or not, behind one VLAN tag at most.
 * Ports are 0 where they do not stand right behind the IP header. Family 0: it is no IP packet.
 */
SL_INLINE void sl_capture_read(const void *data, const void *data_end, struct sl_tuple *tuple)
{
	const struct sl_ethernet *ethernet = data;
	const uint8_t *l3 = (const uint8_t *)(ethernet + 1);
	be16_t type;

	*tuple = (struct sl_tuple){.family = SL_FAMILY_NONE};
	if ((const void *)(ethernet + 1) > data_end)
		return;
	type = ethernet->type;
	if (type == SL_BE16(SL_ETHERTYPE_VLAN)) {
		const struct sl_vlan *vlan = (const struct sl_vlan *)l3;

		if ((const void *)(vlan + 1) > data_end)
			return;
		type = vlan->type;
		l3 += sizeof(*vlan);
	}
	if (type == SL_BE16(SL_ETHERTYPE_IPV4)) {
		const struct sl_ipv4 *ipv4 = (const struct sl_ipv4 *)l3;

		if ((const void *)(ipv4 + 1) > data_end)
			return;
		tuple->family = SL_FAMILY_IPV4;
		tuple->protocol = ipv4->protocol;
		tuple->source.ipv4 = ipv4->source;
		tuple->destination.ipv4 = ipv4->destination;
		sl_capture_read_ports(l3 + (ipv4->version_ihl & 15) * 4, data_end,
				      (ipv4->fragment & SL_BE16(0x1fff)) != 0, tuple);
	} else if (type == SL_BE16(SL_ETHERTYPE_IPV6)) {
		const struct sl_ipv6 *ipv6 = (const struct sl_ipv6 *)l3;

		if ((const void *)(ipv6 + 1) > data_end)
			return;
		tuple->family = SL_FAMILY_IPV6;
		tuple->protocol = ipv6->next_header;
		__builtin_memcpy(tuple->source.word, ipv6->source, 16);
		__builtin_memcpy(tuple->destination.word, ipv6->destination, 16);
		sl_capture_read_ports(ipv6 + 1, data_end, false, tuple);
	}
}

SL_INLINE bool sl_capture_has_end(const struct sl_capture_end *end, const union sl_addr *addr,
				  be16_t port)
{
	be32_t differs = 0;

#pragma GCC unroll 4
	for (int i = 0; i < 4; i++)
		differs |= (end->addr.word[i] ^ addr->word[i]) & end->mask.word[i];
	/* What has no ports, a later fragment or an ICMP error, goes by its addresses alone. */
	return differs == 0 && (end->port == 0 || port == 0 || end->port == port);
}

/** Whether an end of @tuple is what @end asks for. */
SL_INLINE bool sl_capture_is_of(const struct sl_capture_end *end, const struct sl_tuple *tuple)
{
	if (end->family != tuple->family)
		return false;
	if (end->protocol != 0 && end->protocol != tuple->protocol &&
	    (tuple->protocol == SL_PROTOCOL_TCP || tuple->protocol == SL_PROTOCOL_UDP))
		return false;
	return sl_capture_has_end(end, &tuple->source, tuple->source_port) ||
	       sl_capture_has_end(end, &tuple->destination, tuple->destination_port);
}

/** Whether the packet, as it came or as it went, has an end that @end asks for. */
SL_INLINE bool sl_capture_is_wanted(const struct sl_capture_end *end, const struct sl_tuple *in,
				    const struct sl_tuple *out)
{
	return end->family == SL_FAMILY_NONE || sl_capture_is_of(end, in) ||
	       sl_capture_is_of(end, out);
}

/** Whether @filter takes the packet of which @record knows verdict and tuples; not by which port. */
SL_INLINE bool sl_capture_matches(const struct sl_capture_filter *filter,
				  const struct sl_capture_record *record)
{
	return (filter->verdict == SL_CAPTURE_EVERY || filter->verdict == record->verdict) &&
	       sl_capture_is_wanted(&filter->service, &record->in, &record->out) &&
	       sl_capture_is_wanted(&filter->client, &record->in, &record->out) &&
	       sl_capture_is_wanted(&filter->backend, &record->in, &record->out);
}

/** Whether @filter takes a copy of such a packet made where @record says. */
SL_INLINE bool sl_capture_is_seen(const struct sl_capture_filter *filter,
				  const struct sl_capture_record *record)
{
	return (filter->direction & record->direction) != 0 &&
	       (filter->port == SL_CAPTURE_EVERY || filter->port == record->port);
}
