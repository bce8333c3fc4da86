/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * What the XDP program (bpf/sluice.bpf.c) and its agent (dataplane/xdp/) must agree on: values of
 * the maps that are not in tables.h, and the frames by which the agent asks the program's helpers.
 *
 * Whoever writes a map is named beside it. The agent may die at any instruction: nothing here is
 * a lock that it could hold. Flow tables are changed by BPF programs alone, the agent's sweep among
 * them, and a BPF program always runs to its end.
 */
#pragma once

#include <sluice/base.h>
#include <sluice/counters.h>
#include <sluice/limits.h>
#include <sluice/packet/capture.h>
#include <sluice/packet/flow.h>
#include <sluice/packet/fragment.h>
#include <sluice/tables.h>

enum {
	SL_XDP_LAYOUT_REVISION =
		6,          /* to be raised when tables mean something else in the same form */
	SL_XDP_WAYS = 4,    /* flows of one bucket */
	SL_XDP_CHOICES = 4, /* buckets that a flow may stand in, its home first */
	SL_XDP_DATAGRAM_BUCKETS =
		1024,               /* of datagrams whose fragments are under way: a power of two */
	SL_XDP_PORT_PLACES = 256,   /* of the table from ifindex to port */
	SL_XDP_FILTER_WORDS = 2048, /* 64-bit words of each address filter */
	SL_XDP_MAX_CPUS = 1024,
	SL_XDP_CHUNK_SLOTS = 32,   /* slots in one element of an inner map */
	SL_XDP_CHUNK_MEMBERS = 16, /* members in one element of an inner map */
	SL_XDP_CHUNK_SOURCES = 4,  /* source addresses in one element of an inner map */
	SL_XDP_MAX_CHUNKS =
		1 +
		SL_N_AUDIENCES * ((SL_MAX_SLOTS + SL_XDP_CHUNK_SLOTS - 1) / SL_XDP_CHUNK_SLOTS) +
		SL_N_AUDIENCES * ((SL_MAX_BACKENDS_PER_SERVICE + SL_XDP_CHUNK_MEMBERS - 1) /
				  SL_XDP_CHUNK_MEMBERS) +
		SL_MAX_SOURCES_PER_SERVICE / SL_XDP_CHUNK_SOURCES,
	SL_XDP_ADJACENCY_TRIES = 4,
	SL_XDP_SCRATCH_ADJACENCY = 0xffff, /* this CPU's own: the table of next hops had no room */
	SL_XDP_RESOLVE_BYTES = 65536,
	SL_XDP_FLOW_EVENTS_BYTES = 2097152, /* of events that wait to be written */
	/* As protocols in the map of services: */
	SL_XDP_SOURCE = 255,        /* the address stands in for clients */
	SL_XDP_EGRESS_SOURCE = 254, /* and it does in mode snat */
	SL_XDP_PREFIX_BITS = 32,    /* of a key of prefixes, before those of the address */
	SL_XDP_LISTED_BITS = 64,    /* of a key of listed, likewise */
	SL_XDP_CONCLUDED_PORT = 8,  /* bits of sl_xdp_cpu.concluded below the port */
};

/** Places of the programs that the main one ends in. */
enum sl_xdp_program {
	SL_XDP_PROGRAM_REFUSE = 0, /* tells the sender that its packet was refused */
	SL_XDP_PROGRAM_ICMP,       /* translates ICMP errors about packets of flows */
	SL_XDP_PROGRAM_PROXY,      /* packets of flows with PROXY headers */
	SL_XDP_PROGRAM_FRAGMENT,   /* fragments */
	SL_XDP_PROGRAM_EGRESS,     /* packets of mode snat */
	SL_XDP_N_PROGRAMS
};

/*
 * A flow table is an array of entries; SL_XDP_WAYS neighbours are a bucket, the flows of one hash.
 * In the first one's sl_flow.link: the bucket's lock (bit 31), and how many flows whose home this is
 * stand in other buckets.
 */
enum {
	SL_XDP_BUCKET_LOCKED = (int)0x80000000,
};

/** A port, found by (ifindex x control.port_factor) >> 24. Agent. */
struct sl_xdp_port {
	uint32_t ifindex; /* 0: nobody stands here */
	uint16_t index;   /* in configuration order; key of the redirect map */
	uint8_t mac[6];
	uint8_t is_veth; /* 1: what goes back by it is redirected there, see port.c */
	uint8_t reserved[3];
};

/** One element of an inner map. Element 0 is the head; then slots, members, candidates, sources. Agent. */
union sl_xdp_chunk {
	struct {
		struct sl_hash_key hash_key; /* chooses the slot */
		uint32_t n_slots;
		uint32_t first_member_chunk; /* all of them, by position */
		/* Without slots of the canary's clients both of each are the same. */
		uint32_t n_candidates[SL_N_AUDIENCES]; /* members with a weight for it */
		uint32_t first_candidate_chunk[SL_N_AUDIENCES];
		uint32_t first_slot_chunk[SL_N_AUDIENCES];
		uint32_t first_source_chunk;
		uint32_t n_sources;         /* 0 unless the mode is fullnat */
		uint16_t source_port_first; /* host order */
		uint16_t source_port_last;
	} head;
	uint16_t slot[SL_XDP_CHUNK_SLOTS];     /* position among the members; SL_NO_BACKEND_SLOT */
	uint32_t member[SL_XDP_CHUNK_MEMBERS]; /* stable index of the backend */
	union sl_addr source[SL_XDP_CHUNK_SOURCES];
};

/** Key of services and repliers: what an address, port and protocol belong to. */
struct sl_xdp_endpoint {
	union sl_addr addr;
	be16_t port;      /* 0: every port */
	uint8_t protocol; /* 0: the address alone, as some service's */
	uint8_t family;
};

/** Key of prefixes: the longest one that an address has is its service of mode snat. */
struct sl_xdp_prefix {
	uint32_t length; /* SL_XDP_PREFIX_BITS and the prefix's, bits */
	uint32_t family;
	union sl_addr addr;
};

/** Key of affinity entries: who keeps a backend. The value is sl_affinity_word(). */
struct sl_xdp_affinity {
	uint16_t service; /* its index, and its epoch */
	uint16_t epoch;
	union sl_addr prefix;
};

/** Key of the prefixes that services list: the longest one of an address in one list. */
struct sl_xdp_listed {
	uint32_t length;  /* SL_XDP_LISTED_BITS and the prefix's, bits */
	uint32_t service; /* its index */
	uint16_t list;    /* enum wire_list */
	uint16_t family;
	union sl_addr addr;
};

/** Key of what finds a flow of mode fullnat by its replies, as the backend's packets carry it. */
struct sl_xdp_reply4 {
	be32_t backend;
	be32_t source;
	be16_t backend_port;
	be16_t source_port;
	uint32_t protocol;
};

struct sl_xdp_reply6 {
	union sl_addr backend;
	union sl_addr source;
	be16_t backend_port;
	be16_t source_port;
	uint32_t protocol;
};

/** Room for a key of either family. */
union sl_xdp_reply {
	struct sl_xdp_reply4 ipv4;
	struct sl_xdp_reply6 ipv6;
};

/*
 * Whose room: before Linux 6.2 a packet may come while the agent's sweep runs on the same CPU, and
 * finds what the sweep has there half done.
 */
enum {
	SL_XDP_PACKETS = 0,
	SL_XDP_SWEEPS,
	SL_XDP_N_ROOMS,
};

/** Live flows of mode fullnat of one backend, by position of their source. Programs. */
struct sl_xdp_source_flows {
	uint32_t n[SL_MAX_SOURCES_PER_SERVICE];
};

/** What the agent tells the program; one object, mapped by the agent. */
struct sl_xdp_control {
	struct sl_hash_key flow_key; /* random, as old as the flow tables */
	uint32_t route_generation;   /* differs when the kernel may route otherwise than before */
	uint32_t alive_until;        /* ticks: after it nobody watches the kernel's routes */
	uint32_t port_factor;
	uint8_t has_wildcard; /* some service has port 0 */
	uint8_t has_egress;   /* some service's mode is snat */
	uint8_t is_capturing; /* capture_order says what */
	uint8_t reserved;
	uint32_t port_mtu[SL_MAX_PORTS]; /* of IP packets, bytes; by index of the port */
	/* Bits by sl_xdp_filter_bit(): no service has an address whose bit is 0; no backend. */
	uint64_t service_filter[SL_XDP_FILTER_WORDS];
	uint64_t backend_filter[SL_XDP_FILTER_WORDS];
	uint64_t source_filter[SL_XDP_FILTER_WORDS]; /* nor does one stand in for clients */
};

/** A bucket of datagrams whose fragments are under way. Programs. */
struct sl_xdp_datagrams {
	uint32_t is_locked;
	struct sl_datagram way[SL_DATAGRAM_WAYS];
};

/** What the program for mode snat is given. */
enum sl_xdp_passage {
	SL_XDP_PASSAGE_PACKET = 0, /* nothing is in the record yet, nor of the next */
	SL_XDP_PASSAGE_ECHO,
	SL_XDP_PASSAGE_ERROR,    /* read by the program for errors, and so by that for the next */
	SL_XDP_PASSAGE_FRAGMENT, /* and judged */
};

/** What one CPU counts, and what its program has no room for on the stack. */
struct sl_xdp_cpu {
	struct sl_counters counters;
	uint64_t scratch;        /* what the verifier is to forget */
	uint32_t refused_reason; /* why a packet is refused, as for sl_reject_kind() */
	uint32_t
		has_refused_from; /* 1: the sender is told by this address, and not the destination */
	union sl_addr refused_from;
	uint32_t passage;        /* enum sl_xdp_passage */
	uint32_t egress_service; /* mode snat: of the client that sends; SL_NO_INDEX: it is none */
	struct sl_tuple tuple;
	struct sl_flow flow;
	struct sl_rewrite rewrite;
	uint16_t l4_offset;
	uint8_t has_vlan;
	uint8_t protocol;
	uint16_t l4_length;
	uint16_t quoted_offset; /* as in sl_packet, and so the next two */
	uint16_t quoted_l4_offset;
	uint8_t has_small_mtu;
	uint8_t keeps_source;
	uint8_t fragment;   /* as in sl_packet */
	uint8_t has_header; /* the packet's flow has PROXY headers */
	uint8_t echo;       /* as in sl_packet */
	struct sl_fragment piece;
	uint32_t length;    /* of the frame, bytes */
	uint32_t found;     /* index of the packet's flow */
	uint8_t direction;  /* enum sl_direction */
	uint8_t has_ttl;    /* for one more hop */
	uint8_t tcp_flags;  /* as in sl_packet, and so the next three */
	uint8_t proxy_step; /* what is to be done to the stream */
	uint16_t tcp_payload;
	uint16_t headers; /* bytes before the payload */
	uint32_t tcp_sequence;
	uint32_t tcp_acknowledgement;
	uint32_t new_sequence;
	struct sl_proxy proxy; /* of the flow that an ICMP error is about */
	uint8_t options[SL_PROXY_OPTIONS_BYTES];
	uint32_t adjacency;
	uint32_t service;
	uint32_t backend;
	uint32_t verdict; /* if nothing stands in the way */
	uint32_t now;     /* ticks, as long as jiffies is the kernel's */
	uint64_t jiffies;
	uint32_t
		concluded; /* the last verdict, and from SL_XDP_CONCLUDED_PORT on the port to send from */
};

/** What a capture takes. Agent. */
struct sl_xdp_capture_order {
	struct sl_capture_filter filter;
	uint32_t snaplen; /* bytes of a frame, SL_CAPTURE_MAX_BYTES at most */
};

/** Of one CPU: the frame under way as it came, and then as it goes, while a capture is on. Programs. */
struct sl_xdp_capture {
	uint64_t is_staged; /* 1: of the frame whose story goes on */
	struct sl_capture_record record;
	uint8_t bytes[SL_CAPTURE_MAX_BYTES]; /* right behind it */
};

/** What the programs of all CPUs count together. [0]: IPv4, [1]: IPv6. */
struct sl_xdp_usage {
	uint64_t flows[2];
	uint64_t embryonic[2];
};

/** A next hop that the kernel is to resolve. Program to agent, through the ring. */
struct sl_xdp_resolve {
	union sl_addr addr;
	uint32_t ifindex;
	uint32_t family;
};

/* A helper program is run on a frame that begins with its question, and writes the answer there. */

/** Ends what is over among @n entries from @first on. */
struct sl_xdp_sweep {
	uint32_t first;
	uint32_t n;
	uint32_t family;
	uint32_t n_ended; /* answer, and so what follows */
	uint32_t n_flows;
	uint32_t n_embryonic;
};

/** Where a packet to @addr would go. */
struct sl_xdp_route {
	union sl_addr addr;
	uint32_t family;
	int32_t status; /* answer, and so what follows: as bpf_fib_lookup() gives it */
	uint32_t ifindex;
	uint32_t has_port;     /* 1: by a port of ours, whose index is port */
	union sl_addr gateway; /* or @addr itself, if it is on the link */
	uint8_t destination_mac[6];
	uint8_t source_mac[6];
	uint32_t port;
};

/** The place of @addr's bit in an address filter. */
SL_INLINE uint32_t sl_xdp_filter_bit(const union sl_addr *addr, uint8_t family)
{
	uint64_t word = addr->word[0];

	if (family != SL_FAMILY_IPV4)
		word += ((uint64_t)addr->word[1] << 32 | addr->word[2]) * 0xff51afd7ed558ccdull +
			((uint64_t)addr->word[3] << 20);
	return (uint32_t)((word * 0x9e3779b97f4a7c15ull) >> 47);
}

/** Which of @n buckets is choice @i of a flow with @hash; 0 is its home. */
SL_INLINE uint32_t sl_xdp_bucket(uint64_t hash, uint32_t i, uint32_t n)
{
	uint32_t place = (uint32_t)(hash >> 32) + i * ((uint32_t)hash | 1);

	return (uint32_t)(((uint64_t)place * n) >> 32);
}

/** Ticks of CLOCK_MONOTONIC at @ns. Off by less than one in 10^8; good for eight years of uptime. */
SL_INLINE uint32_t sl_xdp_ticks(uint64_t ns)
{
	return (uint32_t)(((ns >> 20) * 72057594ull) >> 32);
}

/** Microseconds of the clock whose nanoseconds are @ns; they wrap. For a flow's first packets. */
SL_INLINE uint32_t sl_xdp_us(uint64_t ns)
{
	return (uint32_t)(ns / 1000);
}

_Static_assert(offsetof(struct sl_xdp_capture, bytes) ==
		       offsetof(struct sl_xdp_capture, record) + sizeof(struct sl_capture_record),
	       "a copy is its record and its bytes");
_Static_assert(sizeof(struct sl_xdp_port) == 16, "no padding");
_Static_assert(sizeof(union sl_xdp_chunk) == SL_CACHE_LINE, "a cache line");
_Static_assert(sizeof(struct sl_xdp_reply4) == 16, "no padding in a map's key");
_Static_assert(sizeof(struct sl_xdp_reply6) == 40, "no padding in a map's key");
_Static_assert(sizeof(struct sl_xdp_prefix) == 24, "no padding in a map's key");
_Static_assert(sizeof(struct sl_xdp_listed) == 28, "no padding in a map's key");
_Static_assert(sizeof(struct sl_xdp_affinity) == 20, "no padding in a map's key");
_Static_assert(sizeof(struct sl_xdp_endpoint) == 20, "no padding in a map's key");
_Static_assert(SL_XDP_FILTER_WORDS * 64 == 1 << 17, "sl_xdp_filter_bit() gives 17 bits");
_Static_assert((int)SL_MAX_ADJACENCIES < (int)SL_XDP_SCRATCH_ADJACENCY, "an index of its own");
