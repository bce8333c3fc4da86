/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * The records that the packet path reads: elements of the DPDK engine's arrays and values of the
 * XDP engine's maps alike. Indices, never pointers. Nothing here is known to the control side.
 */
#pragma once

#include <sluice/base.h>
#include <sluice/limits.h>

enum {
	SL_NO_INDEX = 0xffffffffu,
	SL_NO_BACKEND_SLOT = 0xffff, /* value of a slot of a service that has no backend */
};

/** Timeout classes of a flow; an index into sl_service.timeout_ticks. */
enum sl_timeout {
	SL_TIMEOUT_EMBRYONIC = 0,
	SL_TIMEOUT_ESTABLISHED,
	SL_TIMEOUT_TRANSITORY,
	SL_TIMEOUT_UDP,
	SL_N_TIMEOUTS
};

/* Time in the packet path counts in ticks of 2^-4 s since the dataplane started. */
enum {
	SL_TICKS_PER_SEC = 16,
};

enum sl_service_flag {
	SL_SERVICE_STATELESS_REPLIES =
		1,               /* without: a backend's packet of no flow is the kernel's */
	SL_SERVICE_FLOW_LOG = 2, /* the begin and end of its flows are logged */
	SL_SERVICE_COMPARES =
		4, /* how many flows backends have counts: for the scheduler, or a limit */
	SL_SERVICE_AFFINITY = 8, /* its clients keep their backend: struct sl_affinity */
	SL_SERVICE_CANARY = 16,  /* clients of some prefixes have slots of their own */
};

/** Whose new flows a service's weights and slots are for. */
enum sl_audience {
	SL_AUDIENCE_ALL = 0,
	SL_AUDIENCE_CANARY, /* clients of the canary's sources */
	SL_N_AUDIENCES      /* a power of two */
};

/** A service, by stable index: an index is not given to another service while a flow may name it. */
struct sl_service {
	union sl_addr addr;
	be16_t port;      /* 0: every port; mode snat, whose addr is a prefix: its length, bits */
	uint8_t protocol; /* 0 in mode snat */
	uint8_t family;   /* SL_FAMILY_NONE: the index is free */
	uint32_t n_slots;
	uint32_t
		first_member; /* of its members: member[first_member + slot's value] = backend index */
	uint32_t n_members;
	uint32_t timeout_ticks[SL_N_TIMEOUTS];
	uint16_t epoch; /* differs from a former owner's of this index */
	uint8_t mode;   /* enum wire_mode's values */
	uint8_t n_sources;
	uint16_t source_port_first; /* host order; both 0 without sources */
	uint16_t source_port_last;  /* itself in the range */
	uint32_t first_source;      /* of its sources: source[first_source + i] */
	uint8_t proxy_protocol;     /* enum wire_proxy_protocol's values */
	uint8_t denies;             /* bits 1 << enum wire_list: there is a list of these */
	uint8_t scheduler;          /* enum wire_scheduler's values */
	uint8_t flags;              /* enum sl_service_flag */
};

/** A backend, by stable index. */
struct sl_backend {
	union sl_addr addr;
	be16_t port;        /* 0: the destination port is kept */
	uint8_t family;     /* SL_FAMILY_NONE: the index is free */
	uint8_t is_gone;    /* 1: its flows end (maint) */
	uint16_t epoch;     /* differs from a former owner's of this index */
	uint16_t adjacency; /* index of its next hop, SL_ADJACENCY_NONE: no route */
	uint16_t service;   /* index of its service */
	uint8_t is_shared;  /* 1: several services have this address, port and protocol */
	uint8_t is_outside; /* 1: stands for all that a service of mode snat leads to; no address */
	uint16_t weight[SL_N_AUDIENCES]; /* effective: 0 takes no new flows of theirs */
};

/** How long clients of a service keep their backend, by its stable index. */
struct sl_affinity {
	uint32_t timeout_ticks; /* after the last new flow of a prefix; 0: they do not */
	uint32_t prefix_length; /* of clients that keep one backend together, bits */
};

/** How much a backend has to do, by its stable index. */
struct sl_load {
	uint32_t flows;     /* those that are not closed */
	uint32_t max_flows; /* as many may be so; 0: no limit */
};

enum {
	SL_ADJACENCY_NONE = 0,  /* no route */
	SL_ADJACENCY_LOCAL = 1, /* one of the host's own addresses */
	SL_ADJACENCY_GLEAN = 2, /* + port: on that port's link, link address unknown */
	SL_ADJACENCY_FIRST = SL_ADJACENCY_GLEAN + SL_MAX_PORTS,
	SL_MAX_ADJACENCIES = 32768,
};

/** A next hop: what to write into the Ethernet header and where to send the frame. */
struct sl_adjacency {
	uint8_t destination_mac[6];
	uint8_t source_mac[6];
	uint16_t port;
	uint8_t is_valid; /* 0: link address unknown, the kernel is being asked */
	uint8_t reserved;
};

_Static_assert(sizeof(struct sl_service) == 64, "a cache line");
_Static_assert(sizeof(struct sl_backend) == 32, "two to a cache line");
_Static_assert(SL_MAX_SERVICES <= 65536, "sl_backend.service");
_Static_assert(sizeof(struct sl_adjacency) == 16, "four to a cache line");
