/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * Capacities, used alike by table sizes, by message validation and by the error texts that name
 * them. A limit stands here once; nobody spells it again.
 */
#pragma once

enum {
	SL_MAX_SERVICES = 16384,
	SL_MAX_BACKENDS = 131072, /* all services together */
	SL_MAX_BACKENDS_PER_SERVICE = 10000,
	SL_MAX_SOURCES_PER_SERVICE = 16, /* source pool addresses (fullnat, snat) */
	SL_MAX_SOURCES = 16384,          /* different ones, of all services together */
	SL_DEFAULT_SOURCE_PORT_FIRST = 1024,
	SL_DEFAULT_SOURCE_PORT_LAST = 65535,
	SL_MAX_DENIES_PER_SERVICE = 4096, /* prefixes, of sources and destinations together */
	SL_MAX_DENIES = 65536,            /* of all services */
	SL_MAX_CANARY_SOURCES_PER_SERVICE = 1024, /* prefixes, of both families together */
	SL_MAX_CANARY_SOURCES = 16384,            /* of all services */
	SL_MIN_PREFIX_IPV4 = 8, /* bits of a service's prefix (snat): no shorter one */
	SL_MIN_PREFIX_IPV6 = 7, /* likewise */
	SL_MAX_WEIGHT = 65535,
	SL_DEFAULT_SLOTS = 65537,
	SL_MIN_SLOTS = 251,
	SL_MAX_SLOTS = 1048573,     /* the largest prime below 2^20 */
	SL_SLOTS_PER_BACKEND = 100, /* fewer slots than this a backend is refused */
	SL_MAX_NAME = 64,           /* bytes of a service name, with its terminating zero */
	SL_MAX_PORTS = 16,
	SL_MAX_PORT_NAME = 64,
	SL_MAX_WORKERS = 64,
	SL_MIN_FLOWS = 64,
	SL_MAX_FLOWS = 134217728, /* per worker */
	SL_DEFAULT_FLOWS = 1048576,
	SL_MIN_AFFINITIES = 64,
	SL_MAX_AFFINITIES = 1048576, /* of all services and workers */
	SL_DEFAULT_AFFINITIES = 65536,
	SL_MAX_TIMEOUT_SEC = 604800, /* a week */
	SL_MAX_ERROR = 256,          /* bytes of an error text on the private protocol */
	SL_MAX_RPC_BYTES = 1048576,  /* one JSON-RPC document */
	SL_MAX_RPC_WRITER_BYTES =
		33554432, /* one of who may change things: a configuration file, escaped */
	SL_MAX_RPC_DEPTH = 32,
	SL_MAX_RPC_CLIENTS = 64,
	SL_MAX_RPC_CLIENTS_PER_UID = 8, /* for users other than root */
	SL_MAX_CONFIG_BYTES = 16777216, /* one configuration file */
};

/* Default idle timeouts, seconds: RFC 5382 REQ-5, RFC 4787 REQ-5. */
enum {
	SL_TIMEOUT_TCP_ESTABLISHED_SEC = 7440,
	SL_TIMEOUT_TCP_TRANSITORY_SEC = 240,
	SL_TIMEOUT_EMBRYONIC_SEC = 10,
	SL_TIMEOUT_UDP_SEC = 300,
};
