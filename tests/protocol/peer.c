/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
#include "tests/protocol/peer.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wire/wire_abi.h"

const struct sl_hash_key peer_key = {{0x0706050403020100u, 0x0f0e0d0c0b0a0908u}};

void world_open(struct world *world)
{
	const struct dataplane_options options = {
		.run_dir = "/nonexistent",
		.n_workers = 1,
		.n_flows = SL_DEFAULT_FLOWS,
		.n_affinities = SL_DEFAULT_AFFINITIES,
		.n_ports = 2,
		.port = {{.name = "eth1"}, {.name = "eth2"}},
	};
	char error[SL_MAX_ERROR];

	cr_assert_eq(dataplane_open(&options, NULL, &world->dataplane, error), 0);
	world->sessions = sessions_new(world->dataplane);
	cr_assert_not_null(world->sessions);
}

void world_close(struct world *world)
{
	sessions_free(world->sessions);
	dataplane_close(world->dataplane);
}

struct peer *peer_new(struct world *world, int pid)
{
	struct peer *peer = calloc(1, sizeof(*peer));

	cr_assert_not_null(peer);
	peer->world = world;
	peer->session = session_new(world->sessions, pid);
	cr_assert_not_null(peer->session);
	return peer;
}

void peer_free(struct peer *peer)
{
	session_free(peer->session);
	free(peer);
}

int peer_send_raw(struct peer *peer, const void *bytes, size_t length)
{
	struct wire_header header;
	size_t answered;

	cr_assert_leq(length, sizeof(peer->request));
	if (bytes != peer->request)
		memcpy(peer->request, bytes, length);
	answered = session_handle(peer->session, peer->request, length, peer->reply);
	if (answered == 0)
		return 1;
	cr_assert_geq(answered, sizeof(header));
	memcpy(&header, peer->reply, sizeof(header));
	cr_assert_eq(header.length, answered, "the answer's length is wrong");
	cr_assert_eq(header.reserved, 0);
	if (header.status != 0) {
		cr_assert_lt(header.status, 0);
		cr_assert_eq(answered, sizeof(header) + sizeof(struct wire_error));
		cr_assert_not_null(memchr(peer_body(peer), 0, SL_MAX_ERROR));
		cr_assert_gt(strlen(peer_error(peer)), 0, "a refusal without a text");
	}
	return header.status;
}

int peer_call(struct peer *peer, uint16_t type, const void *body, size_t size)
{
	struct wire_header header = {
		.length = (uint32_t)(sizeof(header) + size), .type = type, .id = ++peer->id};
	int status;

	memcpy(peer->request, &header, sizeof(header));
	if (size != 0)
		memcpy(peer->request + sizeof(header), body, size);
	status = peer_send_raw(peer, peer->request, sizeof(header) + size);
	memcpy(&header, peer->reply, sizeof(header));
	cr_assert_neq(status, 1, "message %s: taken for no message", wire_type_name(type));
	cr_assert_eq(header.type, type);
	cr_assert_eq(header.id, peer->id);
	return status;
}

const void *peer_body(const struct peer *peer)
{
	return peer->reply + sizeof(struct wire_header);
}

const char *peer_error(const struct peer *peer)
{
	return ((const struct wire_error *)peer_body(peer))->text;
}

int peer_hello(struct peer *peer)
{
	const struct wire_hello_request body = {WIRE_MAGIC, WIRE_VERSION, wire_abi_hash()};

	return peer_call(peer, WIRE_HELLO, &body, sizeof(body));
}

int peer_begin(struct peer *peer, uint64_t generation, uint64_t base)
{
	const struct wire_begin_request body = {
		.generation = generation, .base_generation = base, .hash_key = peer_key};

	return peer_call(peer, WIRE_BEGIN, &body, sizeof(body));
}

/* Both array types begin with the same two words. */
static int call_array(struct peer *peer, uint16_t type, const void *record, uint32_t n, size_t size)
{
	uint32_t *body = malloc(8 + n * size);
	int status;

	cr_assert_not_null(body);
	body[0] = n;
	body[1] = 0;
	if (n != 0)
		memcpy(body + 2, record, n * size);
	status = peer_call(peer, type, body, 8 + n * size);
	free(body);
	return status;
}

int peer_services(struct peer *peer, const struct wire_service *record, uint32_t n)
{
	return call_array(peer, WIRE_SERVICES, record, n, sizeof(*record));
}

int peer_backends(struct peer *peer, const struct wire_backend *record, uint32_t n)
{
	return call_array(peer, WIRE_BACKENDS, record, n, sizeof(*record));
}

int peer_service_delete(struct peer *peer, const struct wire_address *service)
{
	return peer_call(peer, WIRE_SERVICE_DELETE, service, sizeof(*service));
}

int peer_backend_delete(struct peer *peer, const struct wire_backend *backend)
{
	const struct wire_backend_delete_request body = {
		.service = backend->service, .addr = backend->addr, .port = backend->port};

	return peer_call(peer, WIRE_BACKEND_DELETE, &body, sizeof(body));
}

int peer_commit(struct peer *peer, bool is_dry_run)
{
	const struct wire_commit_request body = {.is_dry_run = is_dry_run};

	return peer_call(peer, WIRE_COMMIT, &body, sizeof(body));
}

int peer_abort(struct peer *peer)
{
	const struct wire_abort_request body = {0};

	return peer_call(peer, WIRE_ABORT, &body, sizeof(body));
}

struct peer_state peer_state(struct peer *peer)
{
	const struct wire_status_request body = {0};
	const struct wire_status_reply *reply = peer_body(peer);

	cr_assert_eq(peer_call(peer, WIRE_STATUS, &body, sizeof(body)), 0);
	return (struct peer_state){.generation = reply->generation,
				   .digest = reply->digest,
				   .n_services = reply->n_services,
				   .n_backends = reply->n_backends};
}

struct wire_service service_record(uint32_t number)
{
	struct wire_service service = {
		.address = {.port = SL_BE16(80),
			    .protocol = SL_PROTOCOL_TCP,
			    .family = SL_FAMILY_IPV4},
		.mode = WIRE_MODE_NAT,
		.scheduler = WIRE_SCHEDULER_MAGLEV,
		.stateless_replies = 1,
		.n_slots = SL_MIN_SLOTS,
	};

	/* 203.hi.lo.10: room for 65,536 services. */
	service.address.addr.ipv4 = sl_to_be32(0xcb00000au | (number & 0xffffu) << 8);
	snprintf(service.name, sizeof(service.name), "service-%u", number);
	return service;
}

struct wire_service fullnat_record(uint32_t number)
{
	struct wire_service service = service_record(number);

	service.mode = WIRE_MODE_FULLNAT;
	service.source_port_first = 1024;
	service.source_port_last = 65535;
	service.n_sources = 2;
	service.source[0].ipv4 = sl_to_be32(0xc6120000u | (number & 0xffffu));
	service.source[1].ipv4 = sl_to_be32(0xc6130000u | (number & 0xffffu));
	return service;
}

struct wire_backend backend_record(const struct wire_service *service, uint32_t number)
{
	return (struct wire_backend){
		.service = service->address,
		.addr.word = {sl_to_be32(0x0a000000u | (number & 0xffffffu))},
		.port = service->address.port != 0 ? SL_BE16(8080) : 0,
		.state = WIRE_STATE_READY,
		.weight = 1,
	};
}
