/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * Layouts of the headers that the packet core reads and writes: ours, because <linux/ip.h> and
 * rte_ip.h cannot be included together. All members are as on the wire.
 */
#pragma once

#include <sluice/base.h>

enum {
	SL_ETHERTYPE_IPV4 = 0x0800,
	SL_ETHERTYPE_ARP = 0x0806,
	SL_ETHERTYPE_VLAN = 0x8100,
	SL_ETHERTYPE_IPV6 = 0x86dd,
	SL_ETHERTYPE_QINQ = 0x88a8,
};

/* IPv6 extension header numbers (IANA, "Protocol Numbers"). */
enum {
	SL_EXTENSION_HOP_BY_HOP = 0,
	SL_EXTENSION_ROUTING = 43,
	SL_EXTENSION_FRAGMENT = 44,
	SL_EXTENSION_ESP = 50,
	SL_EXTENSION_AUTHENTICATION = 51,
	SL_EXTENSION_NONE = 59,
	SL_EXTENSION_DESTINATION = 60,
};

enum {
	SL_TCP_FIN = 0x01,
	SL_TCP_SYN = 0x02,
	SL_TCP_RST = 0x04,
	SL_TCP_PSH = 0x08,
	SL_TCP_ACK = 0x10,
	SL_TCP_URG = 0x20,
};

struct sl_ethernet {
	uint8_t destination[6];
	uint8_t source[6];
	be16_t type;
} SL_UNALIGNED;

/* What follows the Ethernet type SL_ETHERTYPE_VLAN (IEEE 802.1Q). */
struct sl_vlan {
	be16_t tci;
	be16_t type;
} SL_UNALIGNED;

enum {
	SL_IPV4_DONT_FRAGMENT = 0x4000, /* of struct sl_ipv4's fragment */
};

/* RFC 791 */
struct sl_ipv4 {
	uint8_t version_ihl;
	uint8_t tos;
	be16_t total_length;
	be16_t id;
	be16_t fragment; /* flags and offset */
	uint8_t ttl;
	uint8_t protocol;
	be16_t checksum;
	be32_t source;
	be32_t destination;
} SL_UNALIGNED;

/* RFC 8200 */
struct sl_ipv6 {
	be32_t version_class_flow;
	be16_t payload_length;
	uint8_t next_header;
	uint8_t hop_limit;
	be32_t source[4];
	be32_t destination[4];
} SL_UNALIGNED;

/* The first bytes of every IPv6 extension header that has a length. */
struct sl_extension {
	uint8_t next_header;
	uint8_t length; /* in 8-byte units, the first not counted; AH: in 4-byte units less 2 */
	uint8_t routing_type;
	uint8_t segments_left;
	be32_t rest;
} SL_UNALIGNED;

/* What TCP and UDP begin with. */
struct sl_l4_ports {
	be16_t source;
	be16_t destination;
} SL_UNALIGNED;

/* RFC 9293 */
struct sl_tcp {
	be16_t source;
	be16_t destination;
	be32_t sequence;
	be32_t acknowledgement;
	uint8_t offset; /* high four bits: header length in 4-byte units */
	uint8_t flags;
	be16_t window;
	be16_t checksum;
	be16_t urgent;
} SL_UNALIGNED;

/* RFC 768 */
struct sl_udp {
	be16_t source;
	be16_t destination;
	be16_t length;
	be16_t checksum;
} SL_UNALIGNED;

/* RFC 792, RFC 4443 */
struct sl_icmp {
	uint8_t type;
	uint8_t code;
	be16_t checksum;
	be32_t rest;
} SL_UNALIGNED;

_Static_assert(sizeof(struct sl_ethernet) == 14, "Ethernet");
_Static_assert(sizeof(struct sl_ipv4) == 20, "IPv4");
_Static_assert(sizeof(struct sl_ipv6) == 40, "IPv6");
_Static_assert(sizeof(struct sl_tcp) == 20, "TCP");
_Static_assert(sizeof(struct sl_udp) == 8, "UDP");
