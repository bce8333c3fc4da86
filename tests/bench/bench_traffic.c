/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* Frames between clients and backends, and what becomes of them: see bench_traffic.h. */
#include "tests/bench/bench_traffic.h"

#include <string.h>

#include <sluice/packet/checksum.h>
#include <sluice/packet/headers.h>

enum {
	PORTS_PER_CLIENT_LOG2 = 4,
	FIRST_CLIENT_PORT = 32768,
	TTL = 64,
	IPV4_AT = 14,
	IPV4_L4_AT = 34,
	IPV6_L4_AT = 54,
	/* gcc warns of reads behind a frame that it knows to be short, and that the bounds forbid. */
	PARSE_ROOM = 1024,
};

static const uint8_t peer_mac[6] = {2, 0, 0, 0, 0, 2};

union sl_addr traffic_addr(uint8_t family, enum traffic_net net, uint32_t host)
{
	static const uint32_t ipv4[] = {[TRAFFIC_CLIENTS] = 0x14000001,  /* 20.0.0.1 */
					[TRAFFIC_SERVICES] = 0xac100001, /* 172.16.0.1 */
					[TRAFFIC_BACKENDS] = 0x0a000001, /* 10.0.0.1 */
					[TRAFFIC_SOURCES] = 0xc0a80001}; /* 192.168.0.1 */

	if (family == SL_FAMILY_IPV4)
		return (union sl_addr){.word = {sl_to_be32(ipv4[net] + host)}};
	return (union sl_addr){
		.word = {SL_BE32(0x20010db8), sl_to_be32((uint32_t)net), 0, sl_to_be32(host + 1)}};
}

bool traffic_host(uint8_t family, enum traffic_net net, const union sl_addr *addr, uint32_t *host)
{
	union sl_addr first = traffic_addr(family, net, 0);
	unsigned int last = family == SL_FAMILY_IPV4 ? 0 : 3;

	*host = sl_from_be32(addr->word[last]) - sl_from_be32(first.word[last]);
	if (family == SL_FAMILY_IPV6)
		return addr->word[0] == first.word[0] && addr->word[1] == first.word[1];
	return *host < (net == TRAFFIC_SERVICES || net == TRAFFIC_SOURCES ? 1u << 16 : 1u << 24);
}

void traffic_mac(uint32_t neighbour, uint8_t mac[static 6])
{
	const uint8_t bytes[6] = {2, 0, 0, 1, (uint8_t)(neighbour >> 8), (uint8_t)neighbour};

	memcpy(mac, bytes, sizeof(bytes));
}

uint32_t traffic_neighbour(uint32_t backend)
{
	return 1 + backend % (TRAFFIC_NEIGHBOURS - 1);
}

static uint64_t sum_words(const void *at, size_t n_bytes)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < n_bytes; i += 2)
		sum += sl_load16((const uint8_t *)at + i);
	return sum;
}

static uint64_t sum_addr(const union sl_addr *addr, uint8_t family)
{
	return sum_words(addr->word, family == SL_FAMILY_IPV4 ? 4 : 16);
}

static void fill_l4(struct traffic *traffic, uint32_t at, uint16_t length)
{
	uint8_t *frame = traffic->template;

	if (traffic->protocol == SL_PROTOCOL_TCP) {
		struct sl_tcp tcp = {.offset = 5 << 4, .flags = SL_TCP_SYN, .window = 0xffff};

		memcpy(frame + at, &tcp, sizeof(tcp));
	} else {
		struct sl_udp udp = {.length = sl_to_be16(length)};

		memcpy(frame + at, &udp, sizeof(udp));
	}
	traffic->l4_sum =
		sum_words(frame + at, length) + sl_to_be16(length) + sl_to_be16(traffic->protocol);
}

void traffic_init(struct traffic *traffic, const uint8_t mac[static 6])
{
	bool is_ipv4 = traffic->family == SL_FAMILY_IPV4;
	uint32_t l4_at = is_ipv4 ? IPV4_L4_AT : IPV6_L4_AT;
	uint16_t frame_bytes = traffic->frame_bytes != 0 ? traffic->frame_bytes : PORT_FRAME_BYTES;
	/* A SYN has no payload: the frame is padded. */
	uint16_t length = traffic->protocol == SL_PROTOCOL_TCP ? sizeof(struct sl_tcp)
							       : (uint16_t)(frame_bytes - l4_at);
	struct sl_ethernet ethernet = {.type = is_ipv4 ? SL_BE16(SL_ETHERTYPE_IPV4)
						       : SL_BE16(SL_ETHERTYPE_IPV6)};
	struct sl_ipv4 ipv4 = {.version_ihl = 0x45,
			       .total_length = sl_to_be16((uint16_t)(sizeof(ipv4) + length)),
			       .fragment = SL_BE16(SL_IPV4_DONT_FRAGMENT),
			       .ttl = TTL,
			       .protocol = traffic->protocol};
	struct sl_ipv6 ipv6 = {.version_class_flow = SL_BE32(0x60000000),
			       .payload_length = sl_to_be16(length),
			       .next_header = traffic->protocol,
			       .hop_limit = TTL};

	memcpy(ethernet.destination, mac, sizeof(ethernet.destination));
	memcpy(ethernet.source, peer_mac, sizeof(ethernet.source));
	traffic->frame_bytes = frame_bytes;
	memset(traffic->template, 0, sizeof(traffic->template));
	memcpy(traffic->template, &ethernet, sizeof(ethernet));
	if (is_ipv4)
		memcpy(traffic->template + IPV4_AT, &ipv4, sizeof(ipv4));
	else
		memcpy(traffic->template + IPV4_AT, &ipv6, sizeof(ipv6));
	traffic->ip_sum = sum_words(&ipv4, sizeof(ipv4));
	fill_l4(traffic, l4_at, length);
}

size_t traffic_record_bytes(const struct traffic *traffic)
{
	return traffic->family == SL_FAMILY_IPV4 ? PORT_RECORD4_BYTES : PORT_RECORD6_BYTES;
}

static void write_record(const struct traffic *traffic, const struct sl_tuple *tuple,
			 uint8_t *record)
{
	uint64_t addrs = sum_addr(&tuple->source, tuple->family) +
			 sum_addr(&tuple->destination, tuple->family);
	uint64_t l4 = traffic->l4_sum + addrs + tuple->source_port + tuple->destination_port;
	be16_t l4_checksum = (be16_t)~sl_checksum_fold(l4);

	if (tuple->protocol == SL_PROTOCOL_UDP && l4_checksum == 0)
		l4_checksum = 0xffff;
	if (tuple->family == SL_FAMILY_IPV4) {
		struct port_record4 ipv4 = {
			.ip_checksum = (be16_t)~sl_checksum_fold(traffic->ip_sum + addrs),
			.source = tuple->source.ipv4,
			.destination = tuple->destination.ipv4,
			.source_port = tuple->source_port,
			.destination_port = tuple->destination_port,
			.l4_checksum = l4_checksum};

		memcpy(record, &ipv4, sizeof(ipv4));
	} else {
		struct port_record6 ipv6 = {
			.source_port = tuple->source_port,
			.destination_port = tuple->destination_port,
			.length = sl_to_be16((uint16_t)(traffic->frame_bytes - IPV6_L4_AT)),
			.checksum = l4_checksum};

		memcpy(ipv6.source, tuple->source.word, sizeof(ipv6.source));
		memcpy(ipv6.destination, tuple->destination.word, sizeof(ipv6.destination));
		memcpy(record, &ipv6, sizeof(ipv6));
	}
}

/* ---- flows ---- */

static uint32_t service_of(const struct traffic *traffic, uint32_t flow)
{
	return flow % traffic->n_services;
}

struct sl_tuple traffic_tuple(const struct traffic *traffic, uint32_t flow)
{
	uint32_t port = flow & ((1u << PORTS_PER_CLIENT_LOG2) - 1);

	return (struct sl_tuple){
		.family = traffic->family,
		.protocol = traffic->protocol,
		.source = traffic_addr(traffic->family, TRAFFIC_CLIENTS,
				       flow >> PORTS_PER_CLIENT_LOG2),
		.source_port = sl_to_be16((uint16_t)(FIRST_CLIENT_PORT + port)),
		.destination =
			traffic_addr(traffic->family, TRAFFIC_SERVICES, service_of(traffic, flow)),
		.destination_port = SL_BE16(TRAFFIC_SERVICE_PORT),
	};
}

/* What a backend sends in a flow that has gone @way. */
static struct sl_tuple backend_tuple(const struct traffic *traffic, uint32_t flow,
				     const struct traffic_way *way)
{
	struct sl_tuple client = traffic_tuple(traffic, flow);

	return (struct sl_tuple){
		.family = traffic->family,
		.protocol = traffic->protocol,
		.source = traffic_addr(traffic->family, TRAFFIC_BACKENDS, way->backend),
		.source_port = SL_BE16(TRAFFIC_BACKEND_PORT),
		.destination = traffic->is_fullnat
				       ? traffic_addr(traffic->family, TRAFFIC_SOURCES, way->source)
				       : client.source,
		.destination_port = traffic->is_fullnat ? way->source_port : client.source_port,
	};
}

void traffic_forward(const struct traffic *traffic, uint32_t flow, uint8_t *record)
{
	struct sl_tuple tuple = traffic_tuple(traffic, flow);

	write_record(traffic, &tuple, record);
}

void traffic_reply(const struct traffic *traffic, uint32_t flow, uint8_t *record)
{
	struct sl_tuple tuple = backend_tuple(traffic, flow, &traffic->way[flow]);

	write_record(traffic, &tuple, record);
}

/* ---- what was sent ---- */

/* Reads the tuple and judges everything that is not of it: lengths, TTL and all checksums. */
static const char *read_frame(const struct traffic *traffic, const uint8_t *frame,
			      struct sl_tuple *tuple)
{
	uint8_t copy[PARSE_ROOM];
	struct sl_packet packet;
	uint64_t sum;

	memcpy(copy, frame, traffic->frame_bytes);
	if (sl_parse(copy, copy + traffic->frame_bytes, &packet) != SL_VERDICT_NONE)
		return "it cannot be parsed";
	*tuple = packet.tuple;
	if (tuple->family != traffic->family || tuple->protocol != traffic->protocol)
		return "another family or protocol";
	if ((packet.ipv4 != NULL ? packet.ipv4->ttl : packet.ipv6->hop_limit) != TTL - 1)
		return "TTL or hop limit";
	sum = sum_addr(&tuple->source, tuple->family) +
	      sum_addr(&tuple->destination, tuple->family) + sl_to_be16(tuple->protocol) +
	      sl_to_be16(packet.l4_length) + sum_words(copy + packet.l4_offset, packet.l4_length);
	return sl_checksum_fold(sum) != 0xffff ? "layer-4 checksum" : NULL;
}

static void read_record(const struct traffic *traffic, const uint8_t *record,
			struct sl_tuple *tuple)
{
	*tuple = (struct sl_tuple){.family = traffic->family, .protocol = traffic->protocol};
	if (traffic->family == SL_FAMILY_IPV4) {
		const struct port_record4 *ipv4 = (const void *)record;

		tuple->source.ipv4 = ipv4->source;
		tuple->destination.ipv4 = ipv4->destination;
		tuple->source_port = ipv4->source_port;
		tuple->destination_port = ipv4->destination_port;
	} else {
		const struct port_record6 *ipv6 = (const void *)record;

		memcpy(tuple->source.word, ipv6->source, sizeof(ipv6->source));
		memcpy(tuple->destination.word, ipv6->destination, sizeof(ipv6->destination));
		tuple->source_port = ipv6->source_port;
		tuple->destination_port = ipv6->destination_port;
	}
}

static bool is_same(const struct sl_tuple *a, const struct sl_tuple *b)
{
	return memcmp(&a->source, &b->source, sizeof(a->source)) == 0 &&
	       memcmp(&a->destination, &b->destination, sizeof(a->destination)) == 0 &&
	       a->source_port == b->source_port && a->destination_port == b->destination_port;
}

/* The flow whose client has this address and port. */
static bool flow_of(const struct traffic *traffic, const union sl_addr *addr, be16_t port,
		    uint32_t *flow)
{
	uint32_t at = (uint32_t)sl_from_be16(port) - FIRST_CLIENT_PORT;
	uint32_t host;

	if (!traffic_host(traffic->family, TRAFFIC_CLIENTS, addr, &host) ||
	    at >= 1u << PORTS_PER_CLIENT_LOG2)
		return false;
	*flow = host << PORTS_PER_CLIENT_LOG2 | at;
	return traffic->way == NULL || *flow < traffic->n_ways;
}

static bool has_mac(const uint8_t *frame, uint32_t neighbour)
{
	uint8_t mac[6];

	traffic_mac(neighbour, mac);
	return memcmp(frame, mac, sizeof(mac)) == 0;
}

/* A client's packet: to a backend of its service, and ever to the same one. */
static const char *judge_forward(struct traffic *traffic, const struct sl_tuple *in,
				 const struct sl_tuple *out, const uint8_t *frame)
{
	struct traffic_way way = {.is_known = 1, .source_port = out->source_port};
	uint32_t backend;
	uint32_t source = 0;
	uint32_t flow;

	if (!flow_of(traffic, &in->source, in->source_port, &flow))
		return "the record is no client's";
	if (traffic->way != NULL && traffic->way[flow].is_left_out)
		return "of a flow that is none of the sender's";
	if (!traffic_host(traffic->family, TRAFFIC_BACKENDS, &out->destination, &backend) ||
	    backend / traffic->n_backends != service_of(traffic, flow) ||
	    out->destination_port != SL_BE16(TRAFFIC_BACKEND_PORT))
		return "not to a backend of its service";
	if (traffic->is_fullnat
		    ? !traffic_host(traffic->family, TRAFFIC_SOURCES, &out->source, &source)
		    : memcmp(&out->source, &in->source, sizeof(in->source)) != 0 ||
			      out->source_port != in->source_port)
		return "source address or port";
	if (!has_mac(frame, traffic_neighbour(backend)))
		return "link address";
	way.backend = backend & 0x3fffffff;
	way.source = (uint16_t)source;
	if (traffic->way == NULL)
		return NULL;
	if (traffic->way[flow].is_known && memcmp(&traffic->way[flow], &way, sizeof(way)) != 0)
		return "another backend or source than the flow's packets before";
	traffic->way[flow] = way;
	return NULL;
}

/* A backend's packet: from the service to the client of the very flow. */
static const char *judge_reply(const struct traffic *traffic, const struct sl_tuple *in,
			       const struct sl_tuple *out, const uint8_t *frame)
{
	struct sl_tuple client;
	struct sl_tuple expected;
	uint32_t flow;

	if (traffic->way == NULL ||
	    !flow_of(traffic, &out->destination, out->destination_port, &flow))
		return "not to a client";
	client = traffic_tuple(traffic, flow);
	expected = backend_tuple(traffic, flow, &traffic->way[flow]);
	if (!is_same(in, &expected))
		return "to another flow's client";
	if (memcmp(&out->source, &client.destination, sizeof(out->source)) != 0 ||
	    out->source_port != client.destination_port)
		return "not from the service";
	return has_mac(frame, 0) ? NULL : "link address";
}

const char *traffic_judge(struct traffic *traffic, const uint8_t *record, const uint8_t *frame)
{
	struct sl_tuple in;
	struct sl_tuple out;
	const char *wrong;
	uint32_t host;

	read_record(traffic, record, &in);
	wrong = read_frame(traffic, frame, &out);
	if (wrong != NULL)
		return wrong;
	if (traffic_host(traffic->family, TRAFFIC_SERVICES, &in.destination, &host))
		return judge_forward(traffic, &in, &out, frame);
	return judge_reply(traffic, &in, &out, frame);
}
