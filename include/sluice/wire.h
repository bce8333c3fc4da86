/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * The private protocol between the control daemon and a dataplane: SOCK_SEQPACKET, one message is
 * one packet. A request carries a header and a body of its type; the reply carries the same type
 * and id, a status (0 or a negative errno), and a body, or the text of the error. Integers are in
 * host order (both ends are on one host), addresses and ports in network order. Padding is
 * explicit and zero; no pointer, size_t, bool or enum is ever a member. tests/protocol keeps a
 * golden file of every offset; wire_abi_hash() of it stands in the greeting and a difference is
 * refused.
 *
 * A session: HELLO first. A change: BEGIN, any number of SERVICES, SERVICE_DELETE, BACKENDS,
 * BACKEND_DELETE, LISTED, then COMMIT (answered after the grace period: no worker sees the old snapshot
 * any more) or ABORT. BEGIN with base_generation 0 starts from nothing (full state); with another
 * number it is a delta on exactly that generation, else -ESTALE. One transaction at a time, and it
 * ends with its connection, and with the first of its messages that is refused.
 *
 * A plan: a transaction that is filled, then PLAN, PLAN_FLOWS until all flows are counted,
 * PLAN_SERVICES and PLAN_BACKENDS, and ABORT. Nothing that is live changes. What was planned takes no
 * more changes; it may be committed.
 *
 * A capture: CAPTURE_BEGIN, then CAPTURE_READ until it is over, which CAPTURE_STOP brings about; what
 * was copied before is read to its end. One at a time; it ends with its connection, and when it is not
 * read for WIRE_CAPTURE_IDLE_SEC.
 */
#pragma once

#include <sluice/base.h>
#include <sluice/counters.h>
#include <sluice/limits.h>

enum {
	WIRE_MAGIC = 0x31434c53, /* "SLC1" */
	WIRE_VERSION = 1,
	WIRE_MAX_MESSAGE = 65536, /* bytes, header included */
	WIRE_MAX_RECORDS = 256,   /* records in one message of an array type */
	WIRE_CAPTURE_IDLE_SEC = 10,
	WIRE_CAPTURE_MIN_SNAPLEN = 64,
	WIRE_CAPTURE_MAX_SNAPLEN = 4096,
	WIRE_CAPTURE_EVERY = 0xff, /* as verdict or port */
};

/* clang-format off */
/* upper, lower, number, sense. Each has struct wire_<lower>_request and struct wire_<lower>_reply. */
#define WIRE_MESSAGE_LIST(X) \
	X(HELLO,            hello,            1,  "greeting: magic, version, ABI hash; who is there") \
	X(STATUS,           status,           2,  "engine, generation, digest, capacities in use") \
	X(BEGIN,            begin,            3,  "open a transaction on a generation") \
	X(SERVICES,         services,         4,  "add or replace services") \
	X(SERVICE_DELETE,   service_delete,   5,  "remove a service and its backends") \
	X(BACKENDS,         backends,         6,  "add or replace backends of services already named") \
	X(BACKEND_DELETE,   backend_delete,   7,  "remove a backend") \
	X(COMMIT,           commit,           8,  "validate, build, publish; reply after the grace period") \
	X(ABORT,            abort,            9,  "forget the transaction") \
	X(COUNTERS,         counters,         10, "verdicts and events of one worker, or of all") \
	X(SERVICE_COUNTERS, service_counters, 11, "counters of one service") \
	X(BACKEND_COUNTERS, backend_counters, 12, "counters of a service's backends, by position") \
	X(FLOWS,            flows,            13, "a page of live flows from a cursor") \
	X(FLOW_COUNT,       flow_count,       14, "live flows by family and pool") \
	X(EXPLAIN,          explain,          15, "the decision for one packet, step by step, on the live tables") \
	X(PORTS,            ports,            16, "ports: name, driver, link, statistics") \
	X(WORKERS,          workers,          17, "workers: core, loops, busy loops") \
	X(LISTED,           listed,           18, "add prefixes to the lists of services") \
	X(PLAN,             plan,             19, "build what COMMIT would publish, to be compared") \
	X(PLAN_FLOWS,       plan_flows,       20, "count a part of the live flows by what would become of them") \
	X(PLAN_SERVICES,    plan_services,    21, "a page of the services that would change") \
	X(PLAN_BACKENDS,    plan_backends,    22, "a page of the backends of these services") \
	X(CAPTURE_BEGIN,    capture_begin,    23, "begin to copy packets that a filter takes") \
	X(CAPTURE_READ,     capture_read,     24, "what was copied, as the next bytes of a pcapng file") \
	X(CAPTURE_STOP,     capture_stop,     25, "copy no more; what was copied may yet be read") \
	X(AFFINITIES,       affinities,       26, "a page of the services with affinity, and how many entries each has") \
	X(AFFINITY_CLEAR,   affinity_clear,   27, "end a service's affinity entries") \
	X(BACKEND_OPENINGS, backend_openings, 28, "what became of clients' SYNs, of a page of a service's backends")
/* clang-format on */

enum wire_type {
	WIRE_NONE = 0,
#define X(upper, lower, number, sense) WIRE_##upper = (number),
	WIRE_MESSAGE_LIST(X)
#undef X
};

/** Stands at the head of every message, in both directions. */
struct wire_header {
	uint32_t length; /* bytes of the whole message; equals the packet's length */
	uint16_t type;   /* enum wire_type */
	uint16_t reserved;
	uint32_t id;    /* the requester's; echoed */
	int32_t status; /* request: 0; reply: 0 or negative errno, then the body is wire_error */
};

/** The body of a refusal: names object, value and limit. */
struct wire_error {
	char text[SL_MAX_ERROR]; /* zero-terminated UTF-8 */
};

/**
 * A service's address: what a packet to it carries; or, in mode snat, the prefix that its clients'
 * addresses have, for every protocol.
 */
struct wire_address {
	union sl_addr addr;
	be16_t port;      /* 0: every port; of a prefix its length, bits */
	uint8_t protocol; /* enum sl_protocol; 0: a prefix */
	uint8_t family;   /* enum sl_family */
};

/** Whether @address, which is of a family, is a prefix: that of a service of mode snat. */
SL_INLINE bool wire_is_prefix(const struct wire_address *address)
{
	return address->protocol == 0;
}

/** The length of the prefix, bits. */
SL_INLINE uint32_t wire_prefix_length(const struct wire_address *address)
{
	return sl_from_be16(address->port);
}

enum wire_mode {
	WIRE_MODE_NAT = 1,
	WIRE_MODE_FULLNAT = 2,
	WIRE_MODE_SNAT = 3, /* from the service's clients to anywhere */
};

/** Whether a service of @mode has a source pool. */
SL_INLINE bool wire_mode_has_sources(uint8_t mode)
{
	return mode == WIRE_MODE_FULLNAT || mode == WIRE_MODE_SNAT;
}

enum wire_scheduler {
	WIRE_SCHEDULER_MAGLEV = 1,      /* by the hash of the 5-tuple */
	WIRE_SCHEDULER_SOURCE_HASH = 2, /* by the hash of the client's address */
	WIRE_SCHEDULER_ROUND_ROBIN = 3, /* the next one, by weight */
	WIRE_SCHEDULER_LEAST_CONNECTIONS =
		4, /* the one with the fewest live flows for its weight */
	WIRE_N_SCHEDULERS = 5,
};

/** What is told to the backend about the client, ahead of the client's own bytes. */
enum wire_proxy_protocol {
	WIRE_PROXY_NONE = 0,
	WIRE_PROXY_V2 = 2,
};

enum wire_state {
	WIRE_STATE_READY = 1, /* takes new flows */
	WIRE_STATE_DRAIN = 2, /* keeps its flows, takes no new ones */
	WIRE_STATE_MAINT = 3, /* takes nothing; its flows end */
};

/** What a backend's checks have found; the control daemon's knowledge, which a dataplane acts upon. */
enum wire_health {
	WIRE_HEALTH_UP = 0,        /* or nobody asks */
	WIRE_HEALTH_DOWN = 1,      /* takes no new flows, and those it has end, as in maint */
	WIRE_HEALTH_DOWN_KEEP = 2, /* takes no new flows and keeps those it has, as in drain */
	WIRE_N_HEALTHS = 3,
};

struct wire_service {
	struct wire_address address;
	uint8_t mode;              /* enum wire_mode */
	uint8_t scheduler;         /* enum wire_scheduler */
	uint8_t proxy_protocol;    /* enum wire_proxy_protocol */
	uint8_t stateless_replies; /* 1: a backend's packet without a flow is translated back where
				      there is no doubt whose it is; 0: it is the kernel's */
	uint32_t n_slots;          /* a prime */
	uint32_t timeout_established_sec;
	uint32_t timeout_transitory_sec;
	uint32_t timeout_embryonic_sec;
	uint32_t timeout_udp_sec;
	char name[SL_MAX_NAME]; /* zero-terminated, for logs and listings */
	/* The source pool of fullnat and snat; in nat all that follows is zero. */
	uint16_t source_port_first; /* host order */
	uint16_t source_port_last;  /* host order, itself in the range */
	uint32_t n_sources;
	union sl_addr source[SL_MAX_SOURCES_PER_SERVICE]; /* beyond n_sources zero */
	uint8_t flow_log;        /* 1: the begin and end of its flows are logged */
	uint8_t affinity_prefix; /* bits of a client's address; 0 without affinity */
	uint8_t reserved[2];
	uint32_t
		affinity_timeout_sec; /* 0: none; that a client keeps its backend after a new flow */
};

/** Bits of addresses of @service's clients that keep one backend: all, unless it says other; 0: none do. */
SL_INLINE uint8_t wire_affinity_prefix(const struct wire_service *service)
{
	if (service->affinity_timeout_sec == 0)
		return 0;
	if (service->affinity_prefix != 0)
		return service->affinity_prefix;
	return service->address.family == SL_FAMILY_IPV4 ? 32 : 128;
}

/** Which list of a service a prefix is in. */
enum wire_list {
	WIRE_DENY_SOURCE = 1,      /* clients led nowhere (snat): a part of the service's prefix */
	WIRE_DENY_DESTINATION = 2, /* whom clients may not talk to, in either direction (snat) */
	WIRE_CANARY_SOURCE = 3,    /* clients whose new flows the canary has (nat, fullnat) */
	WIRE_N_LISTS = 3,
};

/** Whether @list goes with mode snat, and not with the others. */
SL_INLINE bool wire_list_is_denying(uint8_t list)
{
	return list != WIRE_CANARY_SOURCE;
}

/** How many prefixes one service may have in lists of the kind of @list together. */
SL_INLINE uint32_t wire_list_limit(uint8_t list)
{
	return wire_list_is_denying(list) ? SL_MAX_DENIES_PER_SERVICE
					  : SL_MAX_CANARY_SOURCES_PER_SERVICE;
}

/** How many all services may have in them. */
SL_INLINE uint32_t wire_list_limit_of_all(uint8_t list)
{
	return wire_list_is_denying(list) ? SL_MAX_DENIES : SL_MAX_CANARY_SOURCES;
}

/** A prefix in a list of a service. A service that is put has none. */
struct wire_listed {
	struct wire_address service;
	union sl_addr addr; /* bits beyond length are 0 */
	uint8_t length;     /* bits, 0..32 or 0..128 */
	uint8_t list;       /* enum wire_list */
	uint8_t family;     /* enum sl_family; the service's, but of a canary's sources either */
	uint8_t reserved;
};

struct wire_backend {
	struct wire_address service;
	union sl_addr addr;
	be16_t port;        /* 0 only with service port 0: the destination port is kept */
	uint8_t state;      /* enum wire_state */
	uint8_t health;     /* enum wire_health */
	uint32_t weight;    /* 0..SL_MAX_WEIGHT; 0: no new flows */
	uint32_t max_flows; /* as many may be live at once; 0: no limit; else up to SL_MAX_FLOWS */
	/*
	 * In place of weight for clients of the service's canary sources, unless nobody has one then:
	 * 0..SL_MAX_WEIGHT.
	 */
	uint32_t canary_weight;
};

struct wire_hello_request {
	uint32_t magic;
	uint32_t version;
	uint64_t abi_hash;
};

struct wire_hello_reply {
	uint32_t magic;
	uint32_t version;
	uint64_t abi_hash;
	uint64_t boot_id;    /* random, new with each start of the dataplane */
	uint64_t generation; /* 0: no snapshot yet */
	uint64_t digest;     /* of the state, see wire_status_reply */
	char engine[16];     /* "dpdk", "xdp", "memory" */
	char program_version[32];
	uint32_t pid;
	uint32_t reserved;
};

struct wire_status_request {
	uint32_t reserved;
};

struct wire_status_reply {
	uint64_t boot_id;
	uint64_t generation;
	/*
	 * Of the committed state, key, services, backends and what is listed: the wrapping sum over all records of the
	 * SipHash-1-3 (key: two zero words) of the record's bytes as they stand in wire_service,
	 * wire_backend and wire_listed, and of the hash key's; so independent of order.
	 */
	uint64_t digest;
	uint64_t uptime_ns;
	uint64_t commit_ns; /* how long the last commit took */
	uint32_t n_services;
	uint32_t n_backends;
	uint32_t n_workers;
	uint32_t n_ports;
	uint64_t flows; /* live now, all workers */
	uint64_t flows_embryonic;
	uint64_t flows_capacity; /* all workers, per family */
	uint64_t memory_bytes;   /* of flow tables and slot tables */
	uint64_t affinities;     /* entries that have not expired */
	uint64_t affinities_capacity;
	uint64_t flows_handed; /* live where a former number of workers had them; as last counted */
	uint32_t n_former;     /* former numbers of workers that flows live by */
	uint32_t max_workers;  /* what n_workers may become without a restart */
	char engine[16];
	char engine_reason[128]; /* why this engine, in words */
};

struct wire_begin_request {
	uint64_t generation; /* the number this transaction's snapshot shall have; above the base */
	uint64_t base_generation; /* 0: from nothing */
	struct sl_hash_key hash_key;
};
struct wire_begin_reply {
	uint64_t generation;
};

/* Array types: n_records of the record follow, and the message ends there. */
struct wire_services_request {
	uint32_t n_records;
	uint32_t reserved;
	struct wire_service record[];
};
struct wire_services_reply {
	uint32_t n_records;
	uint32_t reserved;
};

struct wire_service_delete_request {
	struct wire_address service;
};
struct wire_service_delete_reply {
	uint32_t n_backends; /* removed with it */
	uint32_t reserved;
};

struct wire_backends_request {
	uint32_t n_records;
	uint32_t reserved;
	struct wire_backend record[];
};
struct wire_backends_reply {
	uint32_t n_records;
	uint32_t reserved;
};

struct wire_backend_delete_request {
	struct wire_address service;
	union sl_addr addr;
	be16_t port;
	uint8_t reserved[2];
};
struct wire_backend_delete_reply {
	uint32_t reserved;
};

struct wire_listed_request {
	uint32_t n_records;
	uint32_t reserved;
	struct wire_listed record[];
};
struct wire_listed_reply {
	uint32_t n_records;
	uint32_t reserved;
};

struct wire_commit_request {
	uint32_t is_dry_run; /* 1: validate and build, publish nothing, end the transaction */
	uint32_t reserved;
};
struct wire_commit_reply {
	uint64_t generation;
	uint64_t digest;
	uint64_t duration_ns;
	uint32_t n_tables_built; /* slot tables that were filled anew */
	uint32_t reserved;
};

struct wire_abort_request {
	uint32_t reserved;
};
struct wire_abort_reply {
	uint32_t reserved;
};

enum {
	WIRE_ALL_WORKERS = 0xffffffff,
};

struct wire_counters_request {
	uint32_t worker; /* index, or WIRE_ALL_WORKERS */
	uint32_t reserved;
};
struct wire_counters_reply {
	uint32_t n_verdicts;
	uint32_t n_events;
	uint64_t verdict[64]; /* enum sl_verdict */
	uint64_t event[64];   /* enum sl_event */
};

struct wire_service_counters_request {
	struct wire_address service;
};
struct wire_service_counters_reply {
	uint64_t flows;
	uint64_t packets_in;
	uint64_t bytes_in;
	uint64_t packets_out;
	uint64_t bytes_out;
	uint64_t drops;
};

struct wire_backend_counters_request {
	struct wire_address service;
	uint32_t first; /* position to start from */
};
struct wire_backend_counters_record {
	union sl_addr addr;
	be16_t port;
	uint8_t state;  /* enum wire_state */
	uint8_t health; /* enum wire_health */
	uint32_t weight;
	uint32_t n_slots;       /* how many of the service's slots it holds */
	uint32_t has_neighbour; /* 1: its next hop is resolved */
	uint64_t flows;
	uint64_t flows_ended;
	uint64_t packets_in;
	uint64_t bytes_in;
	uint64_t packets_out;
	uint64_t bytes_out;
	uint64_t syns;
	uint64_t syn_acks;
	uint64_t refused;
	uint64_t unanswered;
	uint64_t resets;
	uint64_t syn_ack_us; /* of syn_acks flows together */
	uint64_t flows_open; /* live ones that are not closed: they count for max_flows */
	/* Live fullnat flows by source address, in the order of the service's sources. */
	uint32_t source_flows[SL_MAX_SOURCES_PER_SERVICE];
};
struct wire_backend_counters_reply {
	uint32_t n_records;
	uint32_t next; /* position to go on from; 0: that was all */
	struct wire_backend_counters_record record[];
};

struct wire_backend_openings_request {
	struct wire_address service;
	uint32_t first; /* position to start from */
};
/** A part of what wire_backend_counters_record says, for whoever asks once a second. */
struct wire_backend_openings_record {
	union sl_addr addr;
	be16_t port;
	uint16_t reserved[3];
	uint64_t syns;
	uint64_t syn_acks;
	uint64_t refused;
	uint64_t unanswered;
	uint64_t resets;
};
struct wire_backend_openings_reply {
	uint32_t n_records;
	uint32_t next; /* position to go on from; 0: that was all */
	struct wire_backend_openings_record record[];
};

/** Which flows; zero members match everything. */
struct wire_flow_filter {
	struct wire_address service; /* family 0: every service */
	union sl_addr client;
	be16_t client_port;    /* 0: every one */
	uint8_t client_family; /* 0: every client */
	uint8_t reserved;
};

struct wire_flows_request {
	struct wire_flow_filter filter;
	uint32_t limit;  /* records wanted, 1..WIRE_MAX_RECORDS */
	uint64_t cursor; /* 0: from the start */
};
struct wire_flow_record {
	union sl_addr client;
	union sl_addr service;
	union sl_addr source; /* what the backend sees; equals client in nat */
	union sl_addr backend;
	be16_t client_port;
	be16_t service_port;
	be16_t source_port;
	be16_t backend_port; /* mode snat: 0, and backend, too; service is the prefix then */
	uint8_t family;
	uint8_t protocol;
	uint8_t state; /* enum sl_flow_state, as wire_flow_state_name() calls it */
	uint8_t worker;
	uint32_t idle_ms;
	uint32_t timeout_ms; /* of its state */
	uint32_t reserved;
};
struct wire_flows_reply {
	uint32_t n_records;
	uint32_t reserved;
	uint64_t next; /* 0: that was all */
	struct wire_flow_record record[];
};

struct wire_flow_count_request {
	struct wire_flow_filter filter; /* all zero: totals, from counters, at once */
};
struct wire_flow_count_reply {
	uint64_t ipv4;
	uint64_t ipv6;
	uint64_t embryonic;
	uint64_t capacity; /* per family, all workers */
};

struct wire_explain_request {
	union sl_addr source;
	union sl_addr destination;
	be16_t source_port;
	be16_t destination_port;
	uint8_t family;
	uint8_t protocol;
	uint8_t reserved[2];
};
/** One step of the decision: a word and what was found. */
struct wire_explain_step {
	char step[24];  /* parse, service, flow, slot, scheduler, backend, route, ... verdict */
	char text[232]; /* for people */
};
struct wire_explain_reply {
	uint32_t n_steps;
	uint32_t verdict; /* enum sl_verdict */
	uint64_t hash;
	uint32_t slot;     /* 0xffffffff: none chosen */
	uint32_t has_flow; /* 1: an existing flow decided */
	union sl_addr backend;
	be16_t backend_port;
	uint8_t family; /* of backend; 0: none */
	uint8_t reserved[5];
	struct wire_explain_step step[];
};

struct wire_ports_request {
	uint32_t reserved;
};
struct wire_port_record {
	char name[SL_MAX_PORT_NAME]; /* as configured */
	char driver[32];
	char kernel_interface[16];
	uint8_t mac[6];
	uint8_t is_up;
	uint8_t reserved;
	uint32_t speed_mbps;
	uint32_t mtu;
	uint64_t rx_packets;
	uint64_t rx_bytes;
	uint64_t rx_missed;
	uint64_t rx_nombuf;
	uint64_t tx_packets;
	uint64_t tx_bytes;
	uint64_t tx_errors;
	uint64_t buffers_in_use; /* of the mempool that feeds it */
};
struct wire_ports_reply {
	uint32_t n_records;
	uint32_t reserved;
	struct wire_port_record record[];
};

struct wire_workers_request {
	uint32_t begins_anew; /* 1: longest_loop_ns is from now on, once it was told */
};
enum wire_worker_state {
	WIRE_WORKER_RUNNING = 1,
	WIRE_WORKER_LEAVING = 2, /* has flows, and is given no new ones */
	WIRE_WORKER_PARKED = 3,  /* its core is free */
};
struct wire_worker_record {
	uint32_t core;
	uint32_t state; /* enum wire_worker_state */
	uint64_t loops;
	uint64_t busy_loops;
	uint64_t flows;
	uint64_t heartbeat_age_ns; /* since the loop was last seen to turn */
	uint64_t longest_loop_ns;  /* the turn that took longest, since the start or begins_anew */
	uint64_t busy_ns;          /* time of the turns that found packets */
	uint64_t full_loops;       /* busy_loops in which some receive took all that one may */
};
struct wire_workers_reply {
	uint32_t n_records;
	uint32_t reserved;
	struct wire_worker_record record[];
};

struct wire_plan_request {
	uint32_t reserved;
};
struct wire_plan_reply {
	uint64_t digest; /* of the state as it would be */
	uint64_t duration_ns;
	uint64_t memory_now;     /* bytes of the snapshot, its tables included */
	uint64_t memory_after;   /* likewise; until the grace period is over both are there */
	uint32_t n_tables_built; /* slot tables that were filled anew */
	uint32_t n_services;     /* records of PLAN_SERVICES */
	uint32_t n_backends;     /* records of PLAN_BACKENDS */
	uint32_t is_new_key;     /* 1: every client may be given another backend */
};

/** How many live flows fare how; without those that both ends have closed. */
struct wire_plan_fates {
	uint64_t stay;     /* go on as they are */
	uint64_t reset;    /* end: the client is told with its next packet */
	uint64_t move;     /* their next packet begins them afresh, at another backend */
	uint64_t off_pool; /* of those that stay: their source is none of the service's any more */
};

struct wire_plan_flows_request {
	uint64_t cursor; /* 0: from the start, and counted anew */
};
struct wire_plan_flows_reply {
	uint64_t next;                /* 0: that was all */
	struct wire_plan_fates flows; /* counted so far, of all services */
};

enum wire_plan_change {
	WIRE_PLAN_SAME = 1, /* a backend beside others that change */
	WIRE_PLAN_ADD = 2,
	WIRE_PLAN_DELETE = 3,
	WIRE_PLAN_SET = 4,
};

struct wire_plan_services_request {
	uint32_t first; /* position to start from */
	uint32_t reserved;
};
struct wire_plan_service {
	struct wire_address address;
	uint8_t change; /* enum wire_plan_change */
	uint8_t mode;   /* enum wire_mode; as it would be */
	uint8_t reserved[2];
	uint32_t slots_now; /* 0: there is no such service; of mode snat: always */
	uint32_t slots_after;
	/* Of slots_after, those that another backend has now; where their number changes, by the middle of each. */
	uint32_t slots_moved;
	uint32_t backends_now;
	uint32_t backends_after;
	uint32_t usable_now; /* of these, ready, up and with a weight */
	uint32_t usable_after;
	uint32_t n_records; /* of PLAN_BACKENDS that are the service's */
	uint64_t ports_now; /* source addresses x source ports */
	uint64_t ports_after;
	struct wire_plan_fates flows;
	char name[SL_MAX_NAME]; /* as it would be; zero-terminated */
};
struct wire_plan_services_reply {
	uint32_t n_records;
	uint32_t next; /* position to go on from; 0: that was all */
	struct wire_plan_service record[];
};

struct wire_plan_backends_request {
	uint32_t first; /* position to start from */
	uint32_t reserved;
};
/** Those of one service stand together, the services in the order of PLAN_SERVICES. */
struct wire_plan_backend {
	union sl_addr addr;
	be16_t port;
	uint8_t change; /* enum wire_plan_change */
	uint8_t reserved;
	uint32_t slots_now;
	uint32_t slots_after;
	uint32_t slots_left; /* of slots_now, those that another one would have */
	uint32_t slots_came; /* of slots_after, those that another one has */
	uint32_t reserved2;
	struct wire_plan_fates flows;
};
struct wire_plan_backends_reply {
	uint32_t n_records;
	uint32_t next; /* position to go on from; 0: that was all */
	struct wire_plan_backend record[];
};

/** Where a frame was seen, as bits. */
enum wire_capture_direction {
	WIRE_CAPTURE_IN = 1,  /* as it reached Sluice */
	WIRE_CAPTURE_OUT = 2, /* as it left it */
	WIRE_CAPTURE_BOTH = 3,
};

/** What one end of a packet, as it came or as it went, is to be; all zero: everything. */
struct wire_capture_end {
	union sl_addr addr;
	be16_t port;      /* 0: every one */
	uint8_t family;   /* 0: everything */
	uint8_t protocol; /* 0: every one */
	uint8_t length;   /* bits of addr that count, 1..32 or 1..128; the others are 0 */
	uint8_t reserved[3];
};

struct wire_capture_begin_request {
	uint64_t count; /* over after so many packets; 0: no limit */
	struct wire_capture_end service;
	struct wire_capture_end client;
	struct wire_capture_end backend;
	uint32_t snaplen;  /* bytes of a packet, WIRE_CAPTURE_MIN_SNAPLEN.._MAX_SNAPLEN */
	uint8_t verdict;   /* enum sl_verdict, or WIRE_CAPTURE_EVERY */
	uint8_t port;      /* index in PORTS, or WIRE_CAPTURE_EVERY */
	uint8_t direction; /* enum wire_capture_direction */
	uint8_t reserved;
};
struct wire_capture_begin_reply {
	uint64_t id; /* of the capture */
};

struct wire_capture_read_request {
	uint64_t id;
};
struct wire_capture_read_reply {
	uint64_t n_packets; /* read so far, these among them */
	uint64_t n_lost;    /* so far: nobody had read, and there was no room */
	uint32_t n_bytes;
	uint32_t is_over; /* 1: these are the last; the capture is forgotten */
	uint8_t byte[];   /* of a pcapng file, from where the last reply ended */
};

struct wire_capture_stop_request {
	uint64_t id;
};
struct wire_capture_stop_reply {
	uint32_t reserved;
};

struct wire_affinities_request {
	uint32_t first; /* position to start from */
	uint32_t reserved;
};
struct wire_affinity_record {
	struct wire_address service;
	uint32_t n_entries; /* that have not expired */
};
struct wire_affinities_reply {
	uint32_t n_records;
	uint32_t next; /* position to go on from; 0: that was all */
	struct wire_affinity_record record[];
};

struct wire_affinity_clear_request {
	struct wire_address service;
};
struct wire_affinity_clear_reply {
	uint32_t n_entries; /* that had not expired */
	uint32_t reserved;
};

/** Connection state of a flow, as listed. */
#define SL_FLOW_STATE_LIST(X)                                                                      \
	X(FREE, free)                                                                              \
	X(EMBRYONIC, embryonic)                                                                    \
	X(ESTABLISHED, established)                                                                \
	X(CLOSING, closing)                                                                        \
	X(CLOSED, closed)

/* Sizes, so that a change cannot go unseen; the golden file holds every offset. */
_Static_assert(sizeof(struct wire_header) == 16, "wire_header");
_Static_assert(sizeof(struct wire_address) == 20, "wire_address");
_Static_assert(sizeof(struct wire_service) == 380, "wire_service");
_Static_assert(sizeof(struct wire_listed) == 40, "wire_listed");
_Static_assert(sizeof(struct wire_backend) == 52, "wire_backend");
_Static_assert(sizeof(struct wire_backend_openings_record) == 64, "wire_backend_openings_record");
_Static_assert(sizeof(struct wire_flow_filter) == 40, "wire_flow_filter");
_Static_assert(sizeof(struct wire_flows_request) == 56, "wire_flows_request");
_Static_assert(sizeof(struct wire_flow_record) == 88, "wire_flow_record");
_Static_assert(sizeof(struct wire_plan_service) == 168, "wire_plan_service");
_Static_assert(sizeof(struct wire_plan_backend) == 72, "wire_plan_backend");
_Static_assert(sizeof(struct wire_capture_end) == 24, "wire_capture_end");
_Static_assert(sizeof(struct wire_capture_begin_request) == 88, "wire_capture_begin_request");
_Static_assert(sizeof(struct wire_explain_step) == 256, "wire_explain_step");
_Static_assert(sizeof(struct wire_explain_reply) == 48, "wire_explain_reply");
_Static_assert(sizeof(struct wire_backend_counters_record) == 200, "wire_backend_counters_record");
