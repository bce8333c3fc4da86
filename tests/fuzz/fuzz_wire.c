/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * libFuzzer target: two sessions of the private protocol on the memory engine, without sockets. The
 * input is a script of packets, raw ones and ones made from a good record with some bytes changed.
 * Whatever comes: every answer is well formed, only an accepted COMMIT changes the state, and to what its
 * plan said.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/dataplane.h"
#include "dataplane/session.h"
#include "log/log.h"
#include "wire/wire_abi.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
	N_SESSIONS = 2,
	MAX_STEPS = 400,
};

struct state {
	uint64_t generation;
	uint64_t digest;
};

static struct sessions *sessions;
static struct session *session[N_SESSIONS];
static struct state state;
static uint64_t planned_digest; /* of the transaction under way; 0: it was not planned */
static _Alignas(8) uint8_t packet[WIRE_MAX_MESSAGE];
static _Alignas(8) uint8_t reply[WIRE_MAX_MESSAGE];

static void require(bool is_true, const char *what)
{
	if (is_true)
		return;
	(void)fprintf(stderr, "fuzz_wire: %s\n", what);
	abort();
}

struct input {
	const uint8_t *at;
	size_t left;
};

static uint8_t take(struct input *input)
{
	if (input->left == 0)
		return 0;
	input->left--;
	return *input->at++;
}

static size_t take_bytes(struct input *input, uint8_t *to, size_t size)
{
	if (size > input->left)
		size = input->left;
	memcpy(to, input->at, size);
	input->at += size;
	input->left -= size;
	return size;
}

/* Up to three bytes of @bytes become others. */
static void spoil(struct input *input, void *bytes, size_t size)
{
	uint8_t *at = bytes;

	for (int n = take(input) % 4; n > 0; n--) {
		size_t offset = take(input) % size;

		at[offset] = take(input);
	}
}

/* The status of the answer; 1: none. */
static int handle(int which, size_t length)
{
	size_t answered = session_handle(session[which], packet, length, reply);
	struct wire_header header;

	if (answered == 0)
		return 1;
	require(answered >= sizeof(header) && answered <= WIRE_MAX_MESSAGE, "answer's size");
	memcpy(&header, reply, sizeof(header));
	require(header.length == answered && header.reserved == 0 && header.status <= 0,
		"answer's header");
	if (header.status != 0)
		require(answered == sizeof(header) + sizeof(struct wire_error) &&
				reply[sizeof(header)] != 0 &&
				memchr(reply + sizeof(header), 0, SL_MAX_ERROR) != NULL,
			"a refusal without its text");
	return header.status;
}

static size_t frame(uint16_t type, size_t size)
{
	const struct wire_header header = {
		.length = (uint32_t)(sizeof(header) + size), .type = type, .id = 1};

	memcpy(packet, &header, sizeof(header));
	return sizeof(header) + size;
}

static uint8_t *body(void)
{
	return packet + sizeof(struct wire_header);
}

static struct state current_state(int which)
{
	const struct wire_status_request request = {0};
	struct wire_status_reply answer;

	memcpy(body(), &request, sizeof(request));
	require(handle(which, frame(WIRE_STATUS, sizeof(request))) == 0, "status is refused");
	memcpy(&answer, reply + sizeof(struct wire_header), sizeof(answer));
	return (struct state){answer.generation, answer.digest};
}

static void greet(int which)
{
	const struct wire_hello_request request = {WIRE_MAGIC, WIRE_VERSION, wire_abi_hash()};

	memcpy(body(), &request, sizeof(request));
	require(handle(which, frame(WIRE_HELLO, sizeof(request))) == 0, "hello is refused");
}

/* Whether the service of this number is a private network that is led out. */
static bool is_network(uint8_t number)
{
	return (number & 0xe0) == 0xe0;
}

static struct wire_address service_address(uint8_t number)
{
	struct wire_address address = {.port = (number & 16) != 0 ? 0 : SL_BE16(80),
				       .protocol = (number & 32) != 0 ? SL_PROTOCOL_UDP
								      : SL_PROTOCOL_TCP,
				       .family = SL_FAMILY_IPV4};

	address.addr.ipv4 = sl_to_be32(0xcb007100u | (number & 15));
	if (is_network(number)) {
		address.addr.ipv4 = sl_to_be32(0xac100000u | (number & 15u) << 8);
		address.port = SL_BE16(24);
		address.protocol = 0;
		return address;
	}
	if ((number & 64) != 0) {
		address.family = SL_FAMILY_IPV6;
		address.addr.word[0] = SL_BE32(0x20010db8u);
		address.addr.word[3] = SL_BE32(1);
	}
	return address;
}

/* Addresses of which some stand there twice, and some are a backend's. */
static void add_sources(struct input *input, struct wire_service *record)
{
	record->mode = WIRE_MODE_FULLNAT;
	record->source_port_first = 1024;
	record->source_port_last = 65535;
	record->n_sources = 1 + (take(input) & 3);
	for (uint32_t i = 0; i < record->n_sources; i++) {
		uint8_t last = take(input) & 15;

		if (record->address.family == SL_FAMILY_IPV4)
			record->source[i].ipv4 = sl_to_be32(0x0a000000u | last);
		else
			record->source[i].word[0] = sl_to_be32(0x20010db9u + last);
	}
}

static size_t service_packet(struct input *input)
{
	uint8_t number = take(input);
	struct wire_service record = {.address = service_address(number),
				      .mode = WIRE_MODE_NAT,
				      .scheduler = WIRE_SCHEDULER_MAGLEV,
				      .stateless_replies = 1,
				      .n_slots = SL_MIN_SLOTS,
				      .name = "fuzz"};
	const uint32_t head[2] = {1, 0};

	if ((number & 128) != 0)
		add_sources(input, &record);
	if (is_network(number))
		record.mode = WIRE_MODE_SNAT;
	spoil(input, &record, sizeof(record));
	memcpy(body(), head, sizeof(head));
	memcpy(body() + sizeof(head), &record, sizeof(record));
	return frame(WIRE_SERVICES, sizeof(head) + sizeof(record));
}

static struct wire_backend backend_of(struct input *input)
{
	struct wire_backend record = {
		.service = service_address(take(input)), .state = WIRE_STATE_READY, .weight = 1};

	record.port = record.service.port != 0 ? SL_BE16(8080) : 0;
	record.addr.ipv4 = sl_to_be32(0x0a000000u | (take(input) & 7));
	return record;
}

static size_t backend_packet(struct input *input)
{
	struct wire_backend record = backend_of(input);
	const uint32_t head[2] = {1, 0};

	spoil(input, &record, sizeof(record));
	memcpy(body(), head, sizeof(head));
	memcpy(body() + sizeof(head), &record, sizeof(record));
	return frame(WIRE_BACKENDS, sizeof(head) + sizeof(record));
}

/* Of a prefix that lies in the network's, or not; the same one twice, now and then; or a canary's source. */
static size_t listed_packet(struct input *input)
{
	uint8_t number = take(input);
	uint8_t how = take(input);
	bool is_canary = (how & 12) == 12;
	struct wire_listed record = {
		.service = service_address(is_canary ? number & 0x1f : number | 0xe0)};
	const uint32_t head[2] = {1, 0};

	record.list = is_canary        ? WIRE_CANARY_SOURCE
		      : (how & 1) != 0 ? WIRE_DENY_SOURCE
				       : WIRE_DENY_DESTINATION;
	record.family = record.service.family;
	record.length = (how & 2) != 0 ? 32 : 24;
	record.addr = record.service.addr;
	if ((how & 2) != 0)
		record.addr.byte[3] = how >> 4;
	spoil(input, &record, sizeof(record));
	memcpy(body(), head, sizeof(head));
	memcpy(body() + sizeof(head), &record, sizeof(record));
	return frame(WIRE_LISTED, sizeof(head) + sizeof(record));
}

static size_t delete_packet(struct input *input)
{
	const struct wire_backend named = backend_of(input);
	const struct wire_backend_delete_request request = {
		.service = named.service, .addr = named.addr, .port = named.port};

	uint8_t what = take(input);

	if (what % 4 == 3)
		return listed_packet(input);
	if (what % 2 == 0) {
		memcpy(body(), &named.service, sizeof(named.service));
		return frame(WIRE_SERVICE_DELETE, sizeof(named.service));
	}
	memcpy(body(), &request, sizeof(request));
	return frame(WIRE_BACKEND_DELETE, sizeof(request));
}

static size_t begin_packet(struct input *input)
{
	uint8_t how = take(input);
	struct wire_begin_request request = {
		.generation = state.generation + (how & 3),
		.base_generation = (how & 4) != 0   ? state.generation
				   : (how & 8) != 0 ? how
						    : 0,
		.hash_key = {{how >> 6, 0}},
	};

	memcpy(body(), &request, sizeof(request));
	return frame(WIRE_BEGIN, sizeof(request));
}

/* PLAN, or a page of what was planned. */
static size_t plan_packet(uint8_t how)
{
	static const uint16_t types[] = {WIRE_PLAN, WIRE_PLAN_FLOWS, WIRE_PLAN_SERVICES,
					 WIRE_PLAN_BACKENDS};
	const uint32_t request[2] = {(how & 8) != 0, 0};

	memcpy(body(), request, sizeof(request));
	if ((how & 3) == 0)
		memset(body(), 0, sizeof(struct wire_plan_request));
	return frame(types[how & 3],
		     (how & 3) == 0 ? sizeof(struct wire_plan_request) : sizeof(request));
}

/* CAPTURE_BEGIN of nearly everything, or what follows it. */
static size_t capture_packet(struct input *input, uint8_t how)
{
	struct wire_capture_begin_request begin = {
		.count = take(input) & 7,
		.snaplen = (uint32_t)WIRE_CAPTURE_MIN_SNAPLEN << (how >> 4 & 7),
		.verdict = WIRE_CAPTURE_EVERY,
		.port = WIRE_CAPTURE_EVERY,
		.direction = WIRE_CAPTURE_BOTH,
	};
	const uint64_t id = how >> 4 & 3;

	if ((how & 3) != 0) {
		memcpy(body(), &id, sizeof(id));
		return frame((how & 3) == 3 ? WIRE_CAPTURE_STOP : WIRE_CAPTURE_READ, sizeof(id));
	}
	spoil(input, &begin, sizeof(begin));
	memcpy(body(), &begin, sizeof(begin));
	return frame(WIRE_CAPTURE_BEGIN, sizeof(begin));
}

static size_t end_packet(struct input *input)
{
	uint8_t how = take(input);
	const struct wire_commit_request request = {.is_dry_run = how & 1};

	if ((how & 0x0c) == 0x0c && (how & 0xf0) != 0xf0)
		return capture_packet(input, how);
	if ((how & 0xf0) == 0xf0)
		return plan_packet(how);
	memcpy(body(), &request, sizeof(request));
	if ((how & 6) == 6)
		return frame(WIRE_ABORT, sizeof(struct wire_abort_request));
	return frame(WIRE_COMMIT, sizeof(request));
}

static void reopen(int which)
{
	session_free(session[which]);
	session[which] = session_new(sessions, which);
	require(session[which] != NULL, "out of memory");
	greet(which);
}

static size_t framed_packet(struct input *input)
{
	uint8_t type = take(input);
	size_t size = take(input) | (size_t)(take(input) & 15) << 8;

	size = take_bytes(input, body(), size);
	return frame(type, size);
}

static size_t next_packet(struct input *input, uint8_t kind)
{
	switch (kind) {
	case 0:
		return take_bytes(input, packet, take(input) | (size_t)take(input) << 8);
	case 1:
		return framed_packet(input);
	case 2:
		return service_packet(input);
	case 3:
		return backend_packet(input);
	case 4:
		return delete_packet(input);
	case 5:
		return begin_packet(input);
	default:
		return end_packet(input);
	}
}

/* Follows an accepted message: what a plan foretold comes true. */
static void follow_plan(uint16_t type, bool is_dry_run)
{
	struct wire_plan_reply plan;
	struct wire_commit_reply commit;

	if (type == WIRE_BEGIN)
		planned_digest = 0;
	if (type == WIRE_PLAN) {
		memcpy(&plan, reply + sizeof(struct wire_header), sizeof(plan));
		planned_digest = plan.digest;
	}
	if (type != WIRE_COMMIT || planned_digest == 0)
		return;
	memcpy(&commit, reply + sizeof(struct wire_header), sizeof(commit));
	require(commit.digest == planned_digest, is_dry_run ? "a dry run is not what was planned"
							    : "a commit is not what was planned");
}

static void step(struct input *input)
{
	uint8_t choice = take(input);
	int which = (choice & 0x80) != 0;
	struct wire_commit_request commit = {0};
	struct wire_header header = {0};
	struct state after;
	size_t length;
	int status;

	if ((choice & 7) == 7) {
		reopen(which);
		return;
	}
	length = next_packet(input, choice & 7);
	if (length >= sizeof(header))
		memcpy(&header, packet, sizeof(header));
	if (length >= sizeof(header) + sizeof(commit))
		memcpy(&commit, body(), sizeof(commit));
	status = handle(which, length);
	if (status == 0)
		follow_plan(header.type, commit.is_dry_run != 0);
	after = current_state(which);
	if (status == 0 && header.type == WIRE_COMMIT && commit.is_dry_run == 0)
		require(after.generation != 0, "committed without a generation");
	else
		require(after.generation == state.generation && after.digest == state.digest,
			"the state changed without a commit");
	state = after;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct dataplane_options options = {
		.run_dir = "/", .n_workers = 1, .n_flows = 64, .n_ports = 1};
	struct input input = {data, size};
	char error[SL_MAX_ERROR];
	struct dataplane *dataplane;

	log_open("fuzz_wire", LOG_LEVEL_ERR);
	require(dataplane_open(&options, NULL, &dataplane, error) == 0, "dataplane_open");
	sessions = sessions_new(dataplane);
	require(sessions != NULL, "out of memory");
	state = (struct state){0};
	planned_digest = 0;
	for (int i = 0; i < N_SESSIONS; i++) {
		session[i] = session_new(sessions, i);
		require(session[i] != NULL, "out of memory");
		greet(i);
	}
	for (int i = 0; i < MAX_STEPS && input.left > 0; i++)
		step(&input);
	for (int i = 0; i < N_SESSIONS; i++)
		session_free(session[i]);
	sessions_free(sessions);
	dataplane_close(dataplane);
	return 0;
}
