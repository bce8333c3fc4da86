/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
#include "tests/fuzz/diff_world.h"

#include <errno.h>
#include <string.h>

#include <arpa/inet.h>

enum {
	TURNS = 1100, /* more than there are indices that wait */
	N_STEPS = 9,
	SOURCE_PORT = 5000,
};

static const char *const service_addr[] = {
	"203.0.113.10",     "203.0.113.11",     "203.0.113.12",     "203.0.113.13",
	"2001:db8:100::10", "2001:db8:100::11", "2001:db8:100::12", "2001:db8:100::13"};
static const uint16_t service_port[] = {80, 443, 0};
/* Stands in for the clients of the last service address of each family, with one port. */
static const char *const source_addr[2] = {"10.0.0.200", "2001:db8:2::c8"};

/* Hosts of the backend link, the last without a neighbour; ours; a client; far; unrouted. */
static const char *const backend_addr[2][12] = {
	{"10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6", "10.0.0.7", "10.0.0.8",
	 "10.0.0.20", "10.0.0.1", "198.51.100.9", "192.0.2.77", "192.0.2.200"},
	{"2001:db8:2::2", "2001:db8:2::3", "2001:db8:2::4", "2001:db8:2::5", "2001:db8:2::6",
	 "2001:db8:2::7", "2001:db8:2::8", "2001:db8:2::14", "2001:db8:2::1", "2001:db8:1::9",
	 "2001:db8:3::77", "2001:db8:dead::9"},
};
static const char *const client_addr[2][8] = {
	{"198.51.100.7", "198.51.100.8", "198.51.100.9", "198.51.100.20", "192.0.2.9",
	 "192.0.2.201", "198.51.100.1", "10.0.0.3"},
	{"2001:db8:1::7", "2001:db8:1::8", "2001:db8:1::9", "2001:db8:1::14", "2001:db8:3::9",
	 "2001:db8:dead::7", "2001:db8:1::1", "2001:db8:2::3"},
};
static const uint16_t client_port[] = {1024, 1025, 1026, 40000, 8080};

static uint32_t pick(struct world *world, uint32_t n)
{
	return (uint32_t)((random_next(&world->random) >> 32) * n >> 32);
}

static bool one_in(struct world *world, uint32_t n)
{
	return pick(world, n) == 0;
}

static union sl_addr address(const char *text)
{
	union sl_addr addr = {.word = {0}};

	inet_pton(strchr(text, ':') != NULL ? AF_INET6 : AF_INET, text, &addr);
	return addr;
}

void world_own_mac(uint32_t port, uint8_t *mac)
{
	memcpy(mac, (const uint8_t[6]){2, 0, 0, 0, 0, (uint8_t)(1 + port)}, 6);
}

void world_neighbour_mac(uint32_t port, uint32_t host, uint8_t *mac)
{
	memcpy(mac, (const uint8_t[6]){2, 0, 0, 1, (uint8_t)port, (uint8_t)host}, 6);
}

/* -- services and backends */

static struct wire_backend target(const struct world_service *service, uint32_t i)
{
	struct wire_backend backend = {.service = service->wire.address};
	bool is_ipv6 = service->wire.address.family == SL_FAMILY_IPV6;

	backend.addr = address(backend_addr[is_ipv6][i / 2]);
	if (service->wire.address.port != 0)
		backend.port = sl_to_be16(i % 2 == 0 ? 8080 : 80);
	return backend;
}

static int put_target(struct world *world, const struct world_service *service, uint32_t i,
		      char *error)
{
	struct wire_backend backend = target(service, i);

	backend.state = service->state[i];
	backend.weight = service->weight[i];
	backend.max_flows = service->max_flows[i];
	backend.canary_weight = service->canary_weight[i];
	return staging_put_backend(world->staging, &backend, error);
}

static int delete_service(struct world *world, struct world_service *service, char *error)
{
	uint32_t n_backends;

	service->is_there = false;
	memset(service->state, 0, sizeof(service->state));
	return staging_delete_service(world->staging, &service->wire.address, &n_backends, error);
}

/* Two ports of one host, or one if the service has no port of its own. */
static bool is_target(const struct world_service *service, uint32_t i)
{
	return service->wire.address.port != 0 || i % 2 == 0;
}

static uint32_t n_targets(const struct world_service *service)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < WORLD_N_TARGETS; i++)
		n += service->state[i] != 0;
	return n;
}

static int change_target(struct world *world, struct world_service *service, char *error)
{
	uint32_t i = pick(world, WORLD_N_TARGETS);

	if (one_in(world, 2)) /* mostly those that packets reach */
		i %= 14;
	if (!is_target(service, i))
		i--;
	if (service->state[i] != 0 && one_in(world, 3)) {
		struct wire_backend backend = target(service, i);
		const struct wire_backend_delete_request request = {
			.service = backend.service, .addr = backend.addr, .port = backend.port};

		service->state[i] = 0;
		return staging_delete_backend(world->staging, &request, error);
	}
	if (service->state[i] == 0 && n_targets(service) == 4)
		return 0;
	service->weight[i] = one_in(world, 8) ? 0 : 1 + pick(world, 3);
	service->max_flows[i] = one_in(world, 3) ? 1 + pick(world, 8) : 0;
	service->canary_weight[i] = one_in(world, 2) ? pick(world, 4) : 0;
	service->state[i] =
		(uint8_t)(one_in(world, 3) ? WIRE_STATE_READY + pick(world, 3) : WIRE_STATE_READY);
	return put_target(world, service, i, error);
}

/* Prefixes of clients whose new flows the canary has: as often none as some, of either family. */
static void change_sources(struct world *world, struct world_service *service)
{
	service->n_canary_sources = one_in(world, 2) ? 1 + pick(world, WORLD_N_CANARY_SOURCES) : 0;
	for (uint32_t i = 0; i < service->n_canary_sources; i++) {
		bool is_ipv6 = one_in(world, 2);
		struct wire_listed *listed = &service->canary_source[i];
		union sl_addr client = address(client_addr[is_ipv6][pick(world, 8)]);

		*listed = (struct wire_listed){
			.service = service->wire.address,
			.list = WIRE_CANARY_SOURCE,
			.family = is_ipv6 ? SL_FAMILY_IPV6 : SL_FAMILY_IPV4,
			.length = (uint8_t)pick(world, is_ipv6 ? 129 : 33),
		};
		for (uint32_t bit = 0; bit < listed->length; bit++)
			listed->addr.byte[bit / 8] |=
				client.byte[bit / 8] & (uint8_t)(0x80 >> bit % 8);
	}
}

/* The service's record and lists; a prefix that stands there twice is refused, and left out. */
static int put_record(struct world *world, const struct world_service *service, char *error)
{
	int status = staging_put_service(world->staging, &service->wire, error);

	for (uint32_t i = 0; i < service->n_canary_sources && status == 0; i++) {
		status = staging_put_listed(world->staging, &service->canary_source[i], error);
		status = status == -EEXIST ? 0 : status;
	}
	return status;
}

static int put_service(struct world *world, struct world_service *service, char *error)
{
	int status;

	change_sources(world, service);
	status = put_record(world, service, error);
	service->is_there = true;
	for (uint32_t n = pick(world, 4); n > 0 && status == 0; n--)
		status = change_target(world, service, error);
	return status;
}

/* The same state once more, and whole, as a client sends it that was away. */
static int put_all_again(struct world *world, char *error)
{
	int status = 0;

	staging_clear(world->staging);
	for (uint32_t s = 0; s < WORLD_N_SERVICES && status == 0; s++) {
		struct world_service *service = &world->service[s];

		if (!service->is_there)
			continue;
		status = put_record(world, service, error);
		for (uint32_t i = 0; i < WORLD_N_TARGETS && status == 0; i++)
			if (service->state[i] != 0)
				status = put_target(world, service, i, error);
	}
	return status;
}

static int change_one(struct world *world, char *error)
{
	struct world_service *service = &world->service[pick(world, WORLD_N_SERVICES)];

	if (!service->is_there)
		return put_service(world, service, error);
	if (one_in(world, 3))
		return delete_service(world, service, error);
	if (one_in(world, 4)) {
		change_sources(world, service);
		return put_record(world, service, error);
	}
	return change_target(world, service, error);
}

/*
 * An index waits long before it is given out again: this turns the queue of those that wait, so that
 * any of them may be next.
 */
static int turn_indices(struct world *world, uint32_t n, char *error)
{
	struct world_service service = {.wire = world->service[0].wire};
	int status = 0;

	service.wire.address.addr = address("203.0.113.99");
	for (uint32_t i = 0; i < n && status == 0; i++) {
		status = staging_put_service(world->staging, &service.wire, error);
		service.state[0] = WIRE_STATE_READY;
		if (status == 0)
			status = put_target(world, &service, 0, error);
		if (status == 0)
			status = delete_service(world, &service, error);
	}
	return status;
}

static int delete_all(struct world *world, char *error)
{
	int status = 0;

	for (uint32_t i = 0; i < WORLD_N_SERVICES && status == 0; i++)
		if (world->service[i].is_there)
			status = delete_service(world, &world->service[i], error);
	return status;
}

int world_change(struct world *world, const struct snapshot *previous, struct snapshot **out,
		 char *error)
{
	int status = 0;

	uint32_t n = 1 + pick(world, 12);

	if (one_in(world, 12)) {
		status = delete_all(world, error);
		n += 60;
	}
	if (one_in(world, 3) && status == 0)
		status = turn_indices(world, pick(world, TURNS), error);
	for (; n > 0 && status == 0; n--)
		status = change_one(world, error);
	if (one_in(world, 8) && status == 0)
		status = put_all_again(world, error);
	if (one_in(world, 16))
		random_fill(&world->random, &world->hash_key, sizeof(world->hash_key));
	if (status == 0)
		status = snapshot_build(world->staging, ++world->generation, &world->hash_key,
					previous, out, error);
	return status;
}

int world_init(struct world *world, uint64_t seed)
{
	char error[SL_MAX_ERROR];

	memset(world, 0, sizeof(*world));
	world->random.state = seed * 0x9e3779b97f4a7c15ull + 1;
	world->staging = staging_new();
	world->last = &world->talk[0];
	if (world->staging == NULL)
		return -ENOMEM;
	random_fill(&world->random, &world->hash_key, sizeof(world->hash_key));
	for (uint32_t i = 0; i < WORLD_N_SERVICES; i++) {
		struct wire_service *wire = &world->service[i].wire;
		const char *text = service_addr[i / 6];

		wire->address.addr = address(text);
		wire->address.family = strchr(text, ':') != NULL ? SL_FAMILY_IPV6 : SL_FAMILY_IPV4;
		wire->address.port = sl_to_be16(service_port[i / 2 % 3]);
		wire->address.protocol = i % 2 == 0 ? SL_PROTOCOL_TCP : SL_PROTOCOL_UDP;
		wire->mode = WIRE_MODE_NAT;
		wire->stateless_replies = i % 5 != 0;
		if (i / 6 % 4 == 3) {
			wire->mode = WIRE_MODE_FULLNAT;
			wire->n_sources = 1;
			wire->source[0] =
				address(source_addr[wire->address.family == SL_FAMILY_IPV6]);
			wire->source_port_first = SOURCE_PORT;
			wire->source_port_last = SOURCE_PORT;
		}
		if (i / 6 % 4 == 1 || (i / 6 % 4 == 3 && i % 4 < 2))
			wire->proxy_protocol = WIRE_PROXY_V2;
		wire->scheduler =
			(uint8_t)(WIRE_SCHEDULER_MAGLEV + pick(world, WIRE_N_SCHEDULERS - 1));
		if (one_in(world, 3)) {
			wire->affinity_timeout_sec = SL_MAX_TIMEOUT_SEC;
			wire->affinity_prefix =
				(uint8_t)(1 + pick(world, wire->address.family == SL_FAMILY_IPV4
								  ? 32
								  : 128));
		}
		wire->n_slots = one_in(world, 2) ? 401 : 601;
		wire->timeout_established_sec = SL_MAX_TIMEOUT_SEC;
		wire->timeout_transitory_sec = SL_MAX_TIMEOUT_SEC;
		wire->timeout_embryonic_sec = SL_MAX_TIMEOUT_SEC;
		wire->timeout_udp_sec = SL_MAX_TIMEOUT_SEC;
		snprintf(wire->name, sizeof(wire->name), "service-%u", i);
	}
	return turn_indices(world, TURNS, error);
}

void world_fini(struct world *world)
{
	staging_free(world->staging);
}

/* -- frames */

/** What a frame is made of, before it is. */
struct draft {
	struct sl_tuple tuple;
	uint8_t *end; /* of what is written */
	uint8_t *l3;
	uint8_t *l4;
	uint8_t flags;
	uint32_t sequence;
	uint32_t acknowledgement;
	uint32_t payload;
	const uint8_t *quoted; /* of an ICMP error: what it quotes; NULL: no error */
	uint32_t n_quoted;     /* bytes */
	bool is_piece;         /* a fragment: */
	uint32_t piece_id;
	uint16_t piece_at; /* bytes */
	bool has_more;
};

static void put(struct draft *draft, const void *bytes, size_t size)
{
	memcpy(draft->end, bytes, size);
	draft->end += size;
}

static void put_random(struct world *world, struct draft *draft, size_t size)
{
	random_fill(&world->random, draft->end, size);
	draft->end += size;
}

static be16_t random_checksum(struct world *world)
{
	switch (pick(world, 8)) {
	case 0:
		return 0;
	case 1:
		return 0xffff;
	default:
		return (be16_t)(1 + pick(world, 65535));
	}
}

/* Errors mostly, of all kinds. The checksum is right, mostly. */
static void put_icmp_error(struct world *world, struct draft *draft)
{
	static const uint8_t types[2][6] = {{3, 3, 11, 12, 4, 5}, {1, 2, 2, 3, 4, 128}};
	bool is_ipv6 = draft->tuple.family == SL_FAMILY_IPV6;
	struct sl_icmp icmp = {
		.type = types[is_ipv6][pick(world, 6)],
		.code = (uint8_t)(one_in(world, 2) ? 4 : pick(world, 16)),
		.rest = sl_to_be32(one_in(world, 2) ? pick(world, 1500) : pick(world, 1u << 31))};
	uint32_t length = (uint32_t)sizeof(icmp) + draft->n_quoted;
	uint64_t sum = 0;

	put(draft, &icmp, sizeof(icmp));
	put(draft, draft->quoted, draft->n_quoted);
	for (uint32_t i = 0; i < length; i++)
		sum += (uint64_t)draft->l4[i] << (i & 1) * 8;
	if (is_ipv6) {
		sum += (uint64_t)SL_BE16(SL_PROTOCOL_ICMPV6) + sl_to_be16((uint16_t)length);
		for (int i = 0; i < 4; i++)
			sum += (uint64_t)draft->tuple.source.word[i] +
			       draft->tuple.destination.word[i];
	}
	((struct sl_icmp *)draft->l4)->checksum = (be16_t)~sl_checksum_fold(sum);
	if (one_in(world, 30))
		((struct sl_icmp *)draft->l4)->checksum ^= (be16_t)(1 + pick(world, 65535));
}

static void put_l4(struct world *world, struct draft *draft)
{
	draft->l4 = draft->end;
	if (draft->quoted != NULL) {
		put_icmp_error(world, draft);
		return;
	}
	if (draft->tuple.protocol == SL_PROTOCOL_TCP) {
		uint32_t options = one_in(world, 4) ? 4 * pick(world, 11) : 0;
		struct sl_tcp tcp = {.source = draft->tuple.source_port,
				     .destination = draft->tuple.destination_port,
				     .sequence = sl_to_be32(draft->sequence),
				     .acknowledgement = sl_to_be32(draft->acknowledgement),
				     .offset = (uint8_t)((5 + options / 4) << 4),
				     .flags = draft->flags,
				     .checksum = random_checksum(world)};

		put(draft, &tcp, sizeof(tcp));
		put_random(world, draft, options);
	} else if (draft->tuple.protocol == SL_PROTOCOL_UDP) {
		struct sl_udp udp = {.source = draft->tuple.source_port,
				     .destination = draft->tuple.destination_port,
				     .length = sl_to_be16((uint16_t)(8 + draft->payload)),
				     .checksum = random_checksum(world)};

		if (udp.checksum == 0 && draft->tuple.family == SL_FAMILY_IPV6 && !one_in(world, 4))
			udp.checksum = 0xffff;
		put(draft, &udp, sizeof(udp));
	} else {
		put_random(world, draft, sizeof(struct sl_icmp));
	}
	put_random(world, draft, draft->payload);
}

/* Mostly well formed. @size: a multiple of 4. */
static void put_ipv4_options(struct world *world, struct draft *draft, uint32_t size)
{
	static const uint8_t kinds[] = {7, 68, 130, 131, 136, 137, 148};

	while (size > 0) {
		uint32_t length = 2 + pick(world, 6);
		uint8_t option[8] = {kinds[pick(world, sizeof(kinds))], (uint8_t)length};

		if (one_in(world, 3) || size < length) {
			option[0] = one_in(world, 12) ? 0 : 1;
			length = 1;
		} else if (option[0] == 131 || option[0] == 137) {
			if (!one_in(world, 3))
				option[0] = 7;
		} else if (one_in(world, 32)) {
			option[1] = (uint8_t)pick(world, 256);
		}
		put(draft, option, length);
		size -= length;
	}
}

static void put_ipv4(struct world *world, struct draft *draft)
{
	uint32_t options = one_in(world, 10) ? 4 * pick(world, 11) : 0;
	struct sl_ipv4 ipv4 = {.version_ihl = (uint8_t)(0x45 + options / 4),
			       .tos = (uint8_t)pick(world, 256),
			       .id = (be16_t)pick(world, 65536),
			       .fragment = one_in(world, 2) ? SL_BE16(0x4000) : 0,
			       .ttl = (uint8_t)(one_in(world, 20) ? pick(world, 4) : 64),
			       .protocol = draft->tuple.protocol,
			       .source = draft->tuple.source.ipv4,
			       .destination = draft->tuple.destination.ipv4};

	if (one_in(world, 100))
		ipv4.fragment = (be16_t)pick(world, 65536);
	if (draft->is_piece) {
		ipv4.id = sl_to_be16((uint16_t)draft->piece_id);
		ipv4.fragment = sl_to_be16(
			(uint16_t)(draft->piece_at / 8 | (draft->has_more ? 0x2000 : 0)));
	}
	draft->l3 = draft->end;
	put(draft, &ipv4, sizeof(ipv4));
	put_ipv4_options(world, draft, options);
	put_l4(world, draft);
	((struct sl_ipv4 *)draft->l3)->total_length =
		sl_to_be16((uint16_t)(draft->end - draft->l3));
}

static void put_extensions(struct world *world, struct draft *draft, uint32_t n)
{
	static const uint8_t kinds[] = {SL_EXTENSION_ROUTING, SL_EXTENSION_DESTINATION,
					SL_EXTENSION_DESTINATION, SL_EXTENSION_FRAGMENT};
	uint8_t *next = &((struct sl_ipv6 *)draft->l3)->next_header;

	for (uint32_t i = 0; i < n; i++) {
		uint8_t kind = kinds[pick(world, sizeof(kinds))];
		uint8_t units = (uint8_t)(one_in(world, 16) ? pick(world, 30) : pick(world, 3));
		uint8_t *at = draft->end;

		if (i == 0 ? one_in(world, 2) : one_in(world, 24))
			kind = SL_EXTENSION_HOP_BY_HOP;
		if (kind == SL_EXTENSION_FRAGMENT)
			units = 0;
		put_random(world, draft, 8 + 8u * units);
		*next = kind;
		at[1] = units;
		if (kind == SL_EXTENSION_ROUTING && !one_in(world, 6))
			at[2] = 4;
		if (kind == SL_EXTENSION_FRAGMENT && !one_in(world, 4)) {
			at[2] = 0;
			at[3] &= 6;
		}
		next = at;
	}
	*next = draft->tuple.protocol;
	if (draft->is_piece) {
		uint32_t id = sl_to_be32(draft->piece_id);
		uint16_t word = sl_to_be16((uint16_t)(draft->piece_at | draft->has_more));
		uint8_t header[8] = {draft->tuple.protocol};

		memcpy(header + 2, &word, sizeof(word));
		memcpy(header + 4, &id, sizeof(id));
		*next = SL_EXTENSION_FRAGMENT;
		put(draft, header, sizeof(header));
	}
}

static void put_ipv6(struct world *world, struct draft *draft)
{
	struct sl_ipv6 ipv6 = {.version_class_flow =
				       SL_BE32(0x60000000) | (be32_t)pick(world, 1u << 24) << 8,
			       .hop_limit = (uint8_t)(one_in(world, 20) ? pick(world, 4) : 64)};

	memcpy(ipv6.source, draft->tuple.source.word, 16);
	memcpy(ipv6.destination, draft->tuple.destination.word, 16);
	draft->l3 = draft->end;
	put(draft, &ipv6, sizeof(ipv6));
	put_extensions(world, draft, one_in(world, 6) ? pick(world, 10) : 0);
	put_l4(world, draft);
	((struct sl_ipv6 *)draft->l3)->payload_length =
		sl_to_be16((uint16_t)(draft->end - draft->l3 - (ptrdiff_t)sizeof(ipv6)));
}

static void put_ethernet(struct world *world, const struct frame *frame, struct draft *draft)
{
	be16_t type = draft->tuple.family == SL_FAMILY_IPV4 ? SL_BE16(SL_ETHERTYPE_IPV4)
							    : SL_BE16(SL_ETHERTYPE_IPV6);
	struct sl_ethernet ethernet = {.source = {2, 0, 0, 2, 0, 1}, .type = type};

	world_own_mac(frame->port, ethernet.destination);
	if (one_in(world, 100))
		ethernet.destination[pick(world, 6)] ^= (uint8_t)(1 << pick(world, 8));
	if (one_in(world, 10)) {
		struct sl_vlan vlan = {.tci = (be16_t)pick(world, 65536), .type = type};

		ethernet.type = SL_BE16(SL_ETHERTYPE_VLAN);
		if (one_in(world, 16)) {
			ethernet.type = SL_BE16(SL_ETHERTYPE_QINQ);
			vlan.type = SL_BE16(SL_ETHERTYPE_VLAN);
		}
		put(draft, &ethernet, sizeof(ethernet));
		put(draft, &vlan, sizeof(vlan));
		return;
	}
	put(draft, &ethernet, sizeof(ethernet));
}

/* Over the header's true length, options included. */
static void fix_ipv4_checksum(const struct draft *draft, const struct frame *frame)
{
	struct sl_ipv4 *ipv4 = (struct sl_ipv4 *)draft->l3;
	const uint8_t *end = frame->bytes + frame->length;
	uint64_t sum = 0;

	if (draft->l3 + sizeof(*ipv4) > end)
		return;
	ipv4->checksum = 0;
	for (int i = 0; i < (ipv4->version_ihl & 15) * 2; i++) {
		uint16_t word;

		if (draft->l3 + 2 * i + 2 > end)
			break;
		memcpy(&word, draft->l3 + 2 * i, 2);
		sum += word;
	}
	ipv4->checksum = (be16_t)~sl_checksum_fold(sum);
}

static void change_address(struct world *world, const struct draft *draft)
{
	static const char *const odd[2][8] = {
		{"127.0.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255", "240.0.0.1",
		 "198.51.100.255", "203.0.113.10", "10.0.0.2"},
		{"::1", "::", "ff02::1", "::ffff:10.0.0.2", "2001:db8:100::10", "2001:db8:2::2",
		 "2001:db8:1::200", "fe80::1"},
	};
	bool is_ipv6 = draft->tuple.family == SL_FAMILY_IPV6;
	size_t size = is_ipv6 ? 16 : 4;
	uint8_t *source = draft->l3 + (is_ipv6 ? 8 : 12);
	uint8_t *at = source + (one_in(world, 2) ? size : 0);
	union sl_addr addr = address(odd[is_ipv6][pick(world, 8)]);

	if (one_in(world, 8))
		memcpy(source, source + size, size);
	else
		memcpy(at, &addr, size);
}

static void change_l4(struct world *world, const struct draft *draft)
{
	struct sl_tcp *tcp = (struct sl_tcp *)draft->l4;
	struct sl_udp *udp = (struct sl_udp *)draft->l4;

	if (one_in(world, 3))
		*(one_in(world, 2) ? &udp->source : &udp->destination) =
			one_in(world, 2) ? 0 : (be16_t)pick(world, 65536);
	else if (draft->tuple.protocol == SL_PROTOCOL_UDP)
		udp->length =
			sl_to_be16((uint16_t)(sl_from_be16(udp->length) + pick(world, 17)) - 8);
	else if (draft->tuple.protocol == SL_PROTOCOL_TCP && one_in(world, 2))
		tcp->flags = (uint8_t)pick(world, 256);
	else if (draft->tuple.protocol == SL_PROTOCOL_TCP)
		tcp->offset = (uint8_t)pick(world, 256);
}

/* Something goes wrong on the way. */
static void mutate(struct world *world, struct frame *frame, const struct draft *draft)
{
	be16_t *length =
		(be16_t *)(draft->l3 + (draft->tuple.family == SL_FAMILY_IPV4
						? offsetof(struct sl_ipv4, total_length)
						: offsetof(struct sl_ipv6, payload_length)));

	switch (pick(world, 9)) {
	case 0:
	case 1:
		frame->bytes[pick(world, frame->length)] ^= (uint8_t)(1 << pick(world, 8));
		break;
	case 2: /* among the headers, mostly */
		frame->bytes[pick(world, frame->length < 80 ? frame->length : 80)] =
			(uint8_t)pick(world, 256);
		break;
	case 3:
		frame->length = 14 + pick(world, frame->length - 13);
		break;
	case 4: { /* padding */
		uint32_t padding = pick(world, 60);

		random_fill(&world->random, frame->bytes + frame->length, padding);
		frame->length += padding;
		break;
	}
	case 5:
		change_address(world, draft);
		break;
	case 6:
	case 7:
		change_l4(world, draft);
		break;
	default:
		*length = sl_to_be16((uint16_t)(sl_from_be16(*length) + pick(world, 81) - 40));
		break;
	}
}

/* Ends on a packet of the same two hosts now and then. */
static void new_talk(struct world *world, struct talk *talk)
{
	const struct wire_address *service =
		&world->service[pick(world, WORLD_N_SERVICES)].wire.address;
	bool is_ipv6;

	for (int i = 0; i < 4 && !world->service[pick(world, WORLD_N_SERVICES)].is_there; i++)
		service = &world->service[pick(world, WORLD_N_SERVICES)].wire.address;
	is_ipv6 = service->family == SL_FAMILY_IPV6;
	memset(talk, 0, sizeof(*talk));
	talk->client.family = service->family;
	talk->client.protocol = service->protocol;
	talk->client.source = address(client_addr[is_ipv6][pick(world, one_in(world, 3) ? 8 : 3)]);
	talk->client.source_port = sl_to_be16(client_port[pick(world, SL_ARRAY_LEN(client_port))]);
	talk->client.destination = service->addr;
	talk->client.destination_port = service->port != 0 ? service->port
					: one_in(world, 3)
						? SL_BE16(80)
						: sl_to_be16((uint16_t)(9000 + pick(world, 3)));
	if (one_in(world, 50))
		talk->client.source = address(one_in(world, 2) ? service_addr[is_ipv6 ? 4 : 0]
							       : source_addr[is_ipv6]);
	talk->next[0] = (uint32_t)random_next(&world->random);
	talk->next[1] = (uint32_t)random_next(&world->random);
}

/* Flags and direction of the next packet: an orderly connection's, or any. */
static void next_step(struct world *world, struct talk *talk, struct draft *draft)
{
	static const struct {
		enum sl_direction direction;
		uint8_t flags;
	} orderly[N_STEPS] = {
		{SL_DIRECTION_FORWARD, SL_TCP_SYN},
		{SL_DIRECTION_REPLY, SL_TCP_SYN | SL_TCP_ACK},
		{SL_DIRECTION_FORWARD, SL_TCP_ACK},
		{SL_DIRECTION_FORWARD, SL_TCP_ACK | SL_TCP_PSH},
		{SL_DIRECTION_REPLY, SL_TCP_ACK | SL_TCP_PSH},
		{SL_DIRECTION_FORWARD, SL_TCP_FIN | SL_TCP_ACK},
		{SL_DIRECTION_REPLY, SL_TCP_FIN | SL_TCP_ACK},
		{SL_DIRECTION_FORWARD, SL_TCP_ACK},
		{SL_DIRECTION_FORWARD, SL_TCP_SYN},
	};
	static const uint8_t any[] = {SL_TCP_SYN, SL_TCP_SYN | SL_TCP_ACK, SL_TCP_ACK,
				      SL_TCP_ACK, SL_TCP_ACK | SL_TCP_PSH, SL_TCP_FIN | SL_TCP_ACK,
				      SL_TCP_RST, SL_TCP_RST | SL_TCP_ACK};

	if (!one_in(world, 4)) {
		talk->direction = orderly[talk->step % N_STEPS].direction;
		draft->flags = orderly[talk->step % N_STEPS].flags;
		talk->step++;
	} else {
		talk->direction = one_in(world, 2) ? SL_DIRECTION_FORWARD : SL_DIRECTION_REPLY;
		draft->flags = any[pick(world, SL_ARRAY_LEN(any))];
	}
	if (one_in(world, 200))
		draft->flags = (uint8_t)pick(world, 256);
}

static void draft_packet(struct world *world, struct talk *talk, struct draft *draft)
{
	bool is_ipv6 = talk->client.family == SL_FAMILY_IPV6;

	next_step(world, talk, draft);
	draft->payload = (draft->flags & (SL_TCP_PSH | SL_TCP_FIN)) && !one_in(world, 3)
				 ? pick(world, one_in(world, 10) ? 900 : 40)
				 : 0;
	draft->tuple = talk->client;
	if (talk->direction == SL_DIRECTION_REPLY) {
		draft->tuple.destination =
			talk->backend_port != 0 ? talk->source : talk->client.source;
		draft->tuple.destination_port =
			talk->backend_port != 0 ? talk->source_port : talk->client.source_port;
		draft->tuple.source = talk->backend;
		draft->tuple.source_port = talk->backend_port;
		if (talk->backend_port == 0 || one_in(world, 30)) {
			draft->tuple.source = address(backend_addr[is_ipv6][pick(world, 12)]);
			draft->tuple.source_port = one_in(world, 2)   ? SL_BE16(8080)
						   : one_in(world, 2) ? SL_BE16(80)
								      : SL_BE16(9000);
		}
	}
	draft->sequence = talk->next[talk->direction];
	draft->acknowledgement = talk->next[1 - talk->direction];
	/* With a PROXY header in the stream the backend has other numbers than the client. */
	if (talk->direction == SL_DIRECTION_REPLY && talk->heard != 0 && !one_in(world, 8))
		draft->acknowledgement = talk->heard;
	if (one_in(world, 20))
		draft->sequence +=
			one_in(world, 2) ? 1u + pick(world, 3000) : pick(world, 1u << 31);
	if (one_in(world, 20))
		draft->acknowledgement += 1 - pick(world, 3);
	talk->length =
		draft->payload + !!(draft->flags & SL_TCP_SYN) + !!(draft->flags & SL_TCP_FIN);
	if (one_in(world, 60))
		draft->tuple.protocol = one_in(world, 2) ? SL_PROTOCOL_ICMP : SL_PROTOCOL_ICMPV6;
	if (one_in(world, 400))
		draft->tuple.protocol = (uint8_t)pick(world, 256);
}

/* The packet becomes a fragment: the next of a datagram under way, mostly. */
static void become_piece(struct world *world, struct talk *talk, struct draft *draft)
{
	bool is_tcp = draft->tuple.protocol == SL_PROTOCOL_TCP;
	uint32_t length;

	if (talk->piece_at == 0 || talk->direction != talk->piece_direction || one_in(world, 12)) {
		talk->piece_at = 0;
		talk->piece_direction = talk->direction;
		talk->piece_id = one_in(world, 20) ? talk->piece_id : ++world->piece_id;
	}
	draft->is_piece = true;
	draft->payload = (is_tcp ? 4 : 0) + 8 * pick(world, 4);
	length = (is_tcp ? 20 : 8) + draft->payload;
	draft->piece_id = talk->piece_id;
	draft->piece_at = (uint16_t)talk->piece_at;
	draft->has_more = !one_in(world, 4);
	if (one_in(world, 8))
		draft->piece_at = (uint16_t)(8 * pick(world, one_in(world, 4) ? 8192 : 12));
	if (one_in(world, 30))
		draft->payload += pick(world, 3);
	talk->piece_at = draft->has_more ? draft->piece_at + length : 0;
	if (talk->piece_at > 60000)
		talk->piece_at = 0;
	talk->length = draft->payload;
}

static void put_ip(struct world *world, struct draft *draft)
{
	if (draft->tuple.family == SL_FAMILY_IPV4)
		put_ipv4(world, draft);
	else
		put_ipv6(world, draft);
}

/* The packet becomes an ICMP error that goes its way: about a packet of the opposite direction. */
static void become_error(struct world *world, struct draft *draft, struct frame *room)
{
	bool is_ipv6 = draft->tuple.family == SL_FAMILY_IPV6;
	struct draft inner = *draft;

	inner.tuple.source = draft->tuple.destination;
	inner.tuple.source_port = draft->tuple.destination_port;
	inner.tuple.destination = draft->tuple.source;
	inner.tuple.destination_port = draft->tuple.source_port;
	inner.end = room->bytes;
	put_ip(world, &inner);
	room->length = (uint32_t)(inner.end - room->bytes);
	if (!is_ipv6)
		fix_ipv4_checksum(&inner, room);
	for (uint32_t n = one_in(world, 10) ? 1 + pick(world, 2) : 0; n > 0; n--)
		mutate(world, room, &inner);
	draft->quoted = room->bytes;
	draft->n_quoted = room->length;
	if (one_in(world, 2) && room->length > 28)
		draft->n_quoted =
			one_in(world, 3) ? pick(world, room->length) : 28 + pick(world, 60);
	if (draft->n_quoted > room->length)
		draft->n_quoted = room->length;
	draft->tuple.protocol = is_ipv6 ? SL_PROTOCOL_ICMPV6 : SL_PROTOCOL_ICMP;
	if (!one_in(world, 3)) /* from a router */
		draft->tuple.source = address(client_addr[is_ipv6][pick(world, 8)]);
}

void world_frame(struct world *world, struct frame *frame)
{
	struct talk *talk = &world->talk[pick(world, WORLD_N_TALKS)];
	struct draft draft = {.end = frame->bytes};
	struct frame room;

	if (talk->client.family == 0 || one_in(world, 40))
		new_talk(world, talk);
	world->last = talk;
	draft_packet(world, talk, &draft);
	if (one_in(world, 10)) {
		become_error(world, &draft, &room);
		talk->length = 0;
	} else if (one_in(world, talk->piece_at != 0 ? 2 : 10)) {
		become_piece(world, talk, &draft);
	}
	frame->port = (uint32_t)talk->direction ^ one_in(world, 10);
	put_ethernet(world, frame, &draft);
	put_ip(world, &draft);
	frame->length = (uint32_t)(draft.end - frame->bytes);
	if (draft.tuple.family == SL_FAMILY_IPV4)
		fix_ipv4_checksum(&draft, frame);
	if (!one_in(world, 5))
		return;
	for (uint32_t n = 1 + pick(world, 2); n > 0; n--)
		mutate(world, frame, &draft);
	if (draft.tuple.family == SL_FAMILY_IPV4 && !one_in(world, 3))
		fix_ipv4_checksum(&draft, frame);
}

void world_heard(struct world *world, const uint8_t *bytes, uint32_t length,
		 enum sl_verdict verdict)
{
	struct talk *talk = world->last;
	struct sl_packet packet;
	uint8_t copy[WORLD_MAX_FRAME];

	if (verdict != SL_VERDICT_FORWARD && verdict != SL_VERDICT_REPLY)
		return;
	talk->next[talk->direction] += talk->length;
	memcpy(copy, bytes, length);
	if (verdict != SL_VERDICT_FORWARD || talk->direction != SL_DIRECTION_FORWARD ||
	    sl_parse(copy, copy + length, &packet) != SL_VERDICT_NONE)
		return;
	talk->heard = packet.tcp_sequence + packet.tcp_payload + !!(packet.tcp_flags & SL_TCP_SYN) +
		      !!(packet.tcp_flags & SL_TCP_FIN);
	talk->backend = packet.tuple.destination;
	talk->backend_port = packet.tuple.destination_port;
	talk->source = packet.tuple.source;
	talk->source_port = packet.tuple.source_port;
}
