/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * Every verdict and every counter, once: the lists below make the enums, the structs, the names in
 * the API and the metrics, the units and the help texts. To add a counter, add a row.
 */
#pragma once

#include <sluice/base.h>

/*
 * What becomes of a packet.
 *
 * PUNT_: the frame is handed to the kernel, unchanged.
 * FORWARD, REPLY: the frame is rewritten and sent. DROP_: the frame ends here.
 */
/* clang-format off */
#define SL_VERDICT_LIST(X) \
	X(NONE,                   none,                   "nothing decided; counted only if a packet escaped a decision, which is a bug") \
	X(FORWARD,                forward,                "client to backend, rewritten and sent") \
	X(REPLY,                  reply,                  "backend to client, rewritten and sent") \
	X(PUNT_ETHERTYPE,         punt_ethertype,         "neither IPv4 nor IPv6 (ARP among them), handed to the kernel") \
	X(PUNT_VLAN,              punt_vlan,              "more than one VLAN tag, handed to the kernel") \
	X(PUNT_MULTICAST,         punt_multicast,         "to a multicast or broadcast address, handed to the kernel") \
	X(PUNT_NOT_SERVICE,       punt_not_service,       "TCP or UDP that is no service's and no backend's, handed to the kernel") \
	X(PUNT_PROTOCOL,          punt_protocol,          "IP, but neither TCP nor UDP, handed to the kernel") \
	X(PUNT_ICMP,              punt_icmp,              "ICMP or ICMPv6 that is no error about a packet of a service, handed to the kernel") \
	X(PUNT_FRAGMENT,          punt_fragment,          "a fragment that is no service's and no backend's, handed to the kernel") \
	X(PUNT_LOCAL,             punt_local,             "a backend's packet to one of the host's own addresses, handed to the kernel") \
	X(DROP_TRUNCATED,         drop_truncated,         "the frame ends before its headers do") \
	X(DROP_OTHER_HOST,        drop_other_host,        "unicast to a link address that is not the port's") \
	X(DROP_IP_VERSION,        drop_ip_version,        "the IP version contradicts the Ethernet type") \
	X(DROP_IP_HEADER_LENGTH,  drop_ip_header_length,  "IPv4 header length below 20 or above the total length") \
	X(DROP_IP_TOTAL_LENGTH,   drop_ip_total_length,   "IP length beyond the frame, or shorter than its header") \
	X(DROP_IP_CHECKSUM,       drop_ip_checksum,       "bad IPv4 header checksum") \
	X(DROP_TTL,               drop_ttl,               "TTL or hop limit 0 or 1, to be forwarded") \
	X(DROP_MARTIAN,           drop_martian,           "an address that may not stand in a packet (RFC 6890)") \
	X(DROP_LAND,              drop_land,              "source and destination address are the same") \
	X(DROP_SOURCE_IS_SERVICE, drop_source_is_service, "the source is a service's address, or one that stands in for clients") \
	X(DROP_SOURCE_ROUTE,      drop_source_route,      "an IPv4 source route option, or an IPv6 routing header of type 0") \
	X(DROP_IP_OPTIONS,        drop_ip_options,        "malformed IPv4 options") \
	X(DROP_EXTENSION_CHAIN,   drop_extension_chain,   "IPv6 extension headers beyond 8 headers or 256 bytes, or malformed") \
	X(DROP_TCP_HEADER,        drop_tcp_header,        "TCP data offset below 5 or beyond the segment, or port 0") \
	X(DROP_TCP_FLAGS,         drop_tcp_flags,         "a combination of TCP flags that no stack sends (null, SYN+FIN, SYN+RST, FIN without ACK)") \
	X(DROP_UDP_HEADER,        drop_udp_header,        "UDP length below 8 or beyond the packet, or port 0") \
	X(DROP_UDP6_CHECKSUM,     drop_udp6_checksum,     "UDP over IPv6 without a checksum (RFC 8200)") \
	X(DROP_ICMP_MALFORMED,    drop_icmp_malformed,    "an ICMP error with a wrong checksum, or that quotes too little or nonsense") \
	X(DROP_ICMP_NO_FLOW,      drop_icmp_no_flow,      "an ICMP error about a packet of a service that is no flow's") \
	X(DROP_FRAGMENT_TINY,     drop_fragment_tiny,     "a first fragment that ends within its layer-4 header (RFC 1858)") \
	X(DROP_FRAGMENT_MALFORMED, drop_fragment_malformed, "a fragment that is empty, no multiple of 8 bytes, beyond 65,535, or with bad headers") \
	X(DROP_FRAGMENT_OVERLAP,  drop_fragment_overlap,  "a fragment whose bytes have passed already, or of a datagram that contradicted itself (RFC 5722)") \
	X(DROP_FRAGMENT_NO_FIRST, drop_fragment_no_first, "a fragment whose datagram's first one did not come in time; with XDP, had not come before") \
	X(DROP_FRAGMENT_FULL,     drop_fragment_full,     "a fragment of one more datagram, or one more to be held, than there is room for") \
	X(DROP_FRAGMENT_HEADER,   drop_fragment_header,   "a fragment of a flow with PROXY headers; only UDP replies may be fragmented there") \
	X(DROP_NO_BACKEND,        drop_no_backend,        "the service has no backend that takes new flows") \
	X(DROP_BACKENDS_FULL,     drop_backends_full,     "each backend that was asked has as many flows as it may (max_flows); the client is told") \
	X(DROP_BACKEND_GONE,      drop_backend_gone,      "the flow's backend was deleted or is in maintenance") \
	X(DROP_TUPLE_TAKEN,       drop_tuple_taken,       "another live flow of this client and port holds the way back from the same backend") \
	X(DROP_NO_FLOW,           drop_no_flow,           "of no flow and opening none, in mode fullnat or with PROXY headers; TCP is answered by a reset") \
	X(DROP_NO_MAPPING,        drop_no_mapping,        "to a source address of mode snat, and no client has that port or identifier there") \
	X(DROP_DENIED,            drop_denied,            "mode snat: the client, or the other end, is on the service's deny list; the client is told") \
	X(DROP_NO_SOURCE_PORT,    drop_no_source_port,    "mode fullnat found no free source port towards the backend; the client is told") \
	X(DROP_FLOWS_FULL,        drop_flows_full,        "mode fullnat or PROXY headers, and the flow table or its embryonic pool was full; the client is told") \
	X(DROP_BEFORE_HEADER,     drop_before_header,     "would put a client's bytes where the PROXY header goes: in or before the handshake, or forged") \
	X(DROP_TOO_BIG,           drop_too_big,           "larger, with the PROXY header, than the outgoing port's MTU") \
	X(DROP_NO_ROUTE,          drop_no_route,          "no route to the next hop through a port of ours") \
	X(DROP_NO_NEIGHBOUR,      drop_no_neighbour,      "the next hop's link address is not known yet; the kernel was asked") \
	X(DROP_NO_CONFIG,         drop_no_config,         "arrived before the first snapshot") \
	X(DROP_TX_FULL,           drop_tx_full,           "the port's transmit queue was full") \
	X(DROP_PUNT_FULL,         drop_punt_full,         "the queue to the kernel was full") \
	X(DROP_HANDOFF_FULL,      drop_handoff_full,      "the queue to the worker that owns the flow was full")

/* Events, counted by each worker beside the verdicts: name, unit, help. */
#define SL_EVENT_LIST(X) \
	X(RX,                  rx,                  packets, "packets received from ports") \
	X(RX_BYTES,            rx_bytes,            bytes,   "bytes received from ports") \
	X(TX,                  tx,                  packets, "packets sent to ports") \
	X(TX_BYTES,            tx_bytes,            bytes,   "bytes sent to ports") \
	X(KERNEL_TX,           kernel_tx,           packets, "packets of the kernel sent to ports") \
	X(FLOW_CREATED,        flow_created,        flows,   "flows created") \
	X(FLOW_ENDED,          flow_ended,          flows,   "flows freed") \
	X(FLOW_PROMOTED,       flow_promoted,       flows,   "embryonic flows that became established") \
	X(FLOW_FROM_REPLY,     flow_from_reply,     flows,   "flows learned from a backend's packet") \
	X(FLOW_TABLE_FULL,     flow_table_full,     packets, "packets that got no flow: the table was full") \
	X(EMBRYONIC_FULL,      embryonic_full,      packets, "packets that got no flow: the embryonic pool was full") \
	X(BACKEND_FULL,        backend_full,        flows,   "new flows whose first choice of a backend had as many flows as it may (max_flows)") \
	X(AFFINITY_KEPT,       affinity_kept,       flows,   "new flows given to the backend that the client's entry named") \
	X(AFFINITY_MADE,       affinity_made,       flows,   "new flows that an affinity entry was made for, or given another backend") \
	X(AFFINITY_EVICTED,    affinity_evicted,    entries, "affinity entries that gave way before their time (XDP: the kernel does not say)") \
	X(STATELESS_FORWARD,   stateless_forward,   packets, "client packets balanced without a flow") \
	X(STATELESS_REPLY,     stateless_reply,     packets, "backend packets translated without a flow") \
	X(HANDOFF,             handoff,             packets, "packets handed to the worker that owns the flow") \
	X(ICMP_ERROR,          icmp_error,          packets, "ICMP errors about packets of flows, translated") \
	X(ICMP_SMALL_MTU,      icmp_small_mtu,      packets, "ICMP errors of these that name an MTU below 68 (IPv4) or 1280 (IPv6)") \
	X(FRAGMENT,            fragment,            packets, "fragments that may pass, each with its datagram's first or after it") \
	X(FRAGMENT_HELD,       fragment_held,       packets, "fragments that came before their datagram's first one, and waited for it") \
	X(SOURCE_PORT_TRIES,   source_port_tries,   ports,   "source ports tried for new flows of mode fullnat") \
	X(SOURCE_PORT_REUSED,  source_port_reused,  ports,   "source ports taken from connections that had ended") \
	X(RESET_SENT,          reset_sent,          packets, "TCP resets sent to clients whose packets were refused") \
	X(UNREACHABLE_SENT,    unreachable_sent,    packets, "ICMP port unreachables sent to clients whose packets were refused") \
	X(TIME_EXCEEDED_SENT,  time_exceeded_sent,  packets, "ICMP time exceeded sent for packets that may go no further; each is a drop_ttl") \
	X(TOO_BIG_SENT,        too_big_sent,        packets, "ICMP errors that told clients how large their packets may be; each is a drop_too_big") \
	X(REFUSAL_LIMITED,     refusal_limited,     packets, "refused packets of which the client was not told: too many from its network") \
	X(AFFINITY_CHECKED,    affinity_checked,    packets, "packets whose worker was compared with the NIC's RSS key and table: the first of each port") \
	X(AFFINITY_MISS,       affinity_miss,       packets, "packets of these that arrived at another worker than key and table say") \
	X(FLOW_LOG_RECORDS,    flow_log_records,    records, "begins and ends of flows that are logged") \
	X(FLOW_LOG_LOST,       flow_log_lost,       records, "of these, not written: their queue was full, or the file could not be written") \
	X(RESOLVE,             resolve,             packets, "next hops that the kernel was asked to resolve") \
	X(LOOPS,               loops,               loops,   "turns of the worker's loop") \
	X(BUSY_LOOPS,          busy_loops,          loops,   "turns of the worker's loop that found packets") \
	X(FULL_LOOPS,          full_loops,          loops,   "of these, those in which a receive took as many packets as one may: more may have waited") \
	X(SLEEPS,              sleeps,              sleeps,  "times that the worker slept, for it had found nothing for long enough")

/* Counters of one service. */
#define SL_SERVICE_COUNTER_LIST(X) \
	X(flows,            flows,   "flows created") \
	X(packets_in,       packets, "packets from clients, sent to backends") \
	X(bytes_in,         bytes,   "bytes from clients, sent to backends") \
	X(packets_out,      packets, "packets from backends, sent to clients") \
	X(bytes_out,        bytes,   "bytes from backends, sent to clients") \
	X(drops,            packets, "packets of the service that were dropped")

/* Counters of one backend: what every packet may count, */
#define SL_BACKEND_TRAFFIC_LIST(X) \
	X(flows,            flows,   "flows created") \
	X(flows_ended,      flows,   "flows freed") \
	X(packets_in,       packets, "packets from clients, sent to this backend") \
	X(bytes_in,         bytes,   "bytes from clients, sent to this backend") \
	X(packets_out,      packets, "packets from this backend, sent to clients") \
	X(bytes_out,        bytes,   "bytes from this backend, sent to clients")

/* and what becomes of TCP flows that a client's SYN began: syn_acks, refused, unanswered, or none yet. */
#define SL_BACKEND_OPENING_LIST(X) \
	X(syns,             flows,   "flows that a client's SYN began") \
	X(syn_acks,         flows,   "of these, those that this backend answered by a SYN-ACK") \
	X(refused,          flows,   "of these, those that this backend answered by a reset") \
	X(unanswered,       flows,   "of these, those that ended with no answer of this backend") \
	X(resets,           flows,   "established flows that this backend reset")

#define SL_BACKEND_TIME_LIST(X) \
	X(syn_ack_us,       microseconds, "from the client's first SYN to this backend's first SYN-ACK, of syn_acks flows together")

#define SL_BACKEND_COUNTER_LIST(X) \
	SL_BACKEND_TRAFFIC_LIST(X) \
	SL_BACKEND_OPENING_LIST(X) \
	SL_BACKEND_TIME_LIST(X)
/* clang-format on */

/** What became of a packet. Every packet gets exactly one. */
enum sl_verdict {
#define X(upper, lower, help) SL_VERDICT_##upper,
	SL_VERDICT_LIST(X)
#undef X
		SL_N_VERDICTS
};

enum sl_event {
#define X(upper, lower, unit, help) SL_EVENT_##upper,
	SL_EVENT_LIST(X)
#undef X
		SL_N_EVENTS
};

/** One worker's totals. Written by that worker alone; read by anyone, value by value. */
struct sl_counters {
	uint64_t verdict[SL_N_VERDICTS];
	uint64_t event[SL_N_EVENTS];
};

struct sl_service_counters {
#define X(name, unit, help) uint64_t name;
	SL_SERVICE_COUNTER_LIST(X)
#undef X
};

struct sl_backend_counters {
#define X(name, unit, help) uint64_t name;
	SL_BACKEND_TRAFFIC_LIST(X)
#undef X
};

/* Apart from the other: packets of established flows never come here. */
struct sl_backend_openings {
#define X(name, unit, help) uint64_t name;
	SL_BACKEND_OPENING_LIST(X)
	SL_BACKEND_TIME_LIST(X)
#undef X
};

_Static_assert(SL_N_VERDICTS <= 64, "a verdict fits the message that carries them");
_Static_assert(SL_N_EVENTS <= 64, "an event fits the message that carries them");

SL_INLINE bool sl_verdict_is_drop(enum sl_verdict verdict)
{
	return verdict >= SL_VERDICT_DROP_TRUNCATED;
}

SL_INLINE bool sl_verdict_is_punt(enum sl_verdict verdict)
{
	return verdict >= SL_VERDICT_PUNT_ETHERTYPE && verdict <= SL_VERDICT_PUNT_LOCAL;
}
