/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * Who talks to whom: clients, services, backends and pool addresses by number, the frames between
 * them as records of the synthetic port, and whether a frame that was sent is what became of the one
 * that arrived. Flow i is that of client i with service i modulo their number; which backend it has
 * is learned from the first frame that is sent.
 */
#pragma once

#include <sluice/packet/parse.h>

#include "tests/bench/bench_port.h"

enum {
	TRAFFIC_SERVICE_PORT = 80,
	TRAFFIC_BACKEND_PORT = 8080,
	TRAFFIC_NEIGHBOURS =
		1024, /* link addresses: 0 leads to the clients, the others to backends */
	TRAFFIC_MAX_FLOWS = 1 << 28,
	TRAFFIC_N_SOURCES = 4, /* pool addresses of a service of mode fullnat */
	TRAFFIC_MAX_FRAME_BYTES = 128,
};

enum traffic_net {
	TRAFFIC_CLIENTS = 0,
	TRAFFIC_SERVICES,
	TRAFFIC_BACKENDS,
	TRAFFIC_SOURCES,
};

/** What the backend of a flow is sent: learned. */
struct traffic_way {
	uint32_t backend : 30;
	uint32_t is_known : 1;
	uint32_t is_left_out : 1; /* no packet of it is to be sent, by those whom this is for */
	be16_t source_port;
	uint16_t source; /* host number among the pool addresses */
};

struct traffic {
	uint8_t family;
	uint8_t protocol;
	bool is_fullnat;
	uint16_t frame_bytes; /* 0: those of the synthetic port */
	uint32_t n_services;
	uint32_t n_backends; /* of each service: those of service i are numbers i * n_backends on */
	uint32_t n_ways;
	struct traffic_way *way; /* by flow; NULL: not kept, each frame is a flow's first */
	uint8_t template[TRAFFIC_MAX_FRAME_BYTES];
	uint64_t ip_sum; /* of the template's headers, addresses and ports being zero */
	uint64_t l4_sum;
};

/** Host number @host of @net. */
union sl_addr traffic_addr(uint8_t family, enum traffic_net net, uint32_t host);

/** The host number of @addr; false: it is not of @net. */
bool traffic_host(uint8_t family, enum traffic_net net, const union sl_addr *addr, uint32_t *host);

/** The link address of a neighbour below TRAFFIC_NEIGHBOURS; which one backend @backend has. */
void traffic_mac(uint32_t neighbour, uint8_t mac[static 6]);
uint32_t traffic_neighbour(uint32_t backend);

/** Makes the template from what is set already. @mac: the port's own link address. */
void traffic_init(struct traffic *traffic, const uint8_t mac[static 6]);

size_t traffic_record_bytes(const struct traffic *traffic);

/** What the client of flow @flow sends. */
struct sl_tuple traffic_tuple(const struct traffic *traffic, uint32_t flow);

/** A frame of flow @flow, of the client or of its backend, which must be known. */
void traffic_forward(const struct traffic *traffic, uint32_t flow, uint8_t *record);
void traffic_reply(const struct traffic *traffic, uint32_t flow, uint8_t *record);

/** NULL: @frame is what @record is to become, and its flow's way is known now; else what is wrong. */
const char *traffic_judge(struct traffic *traffic, const uint8_t *record, const uint8_t *frame);
