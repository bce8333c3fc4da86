// SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0
/* Copyright (c) 2026 The Sluice authors */
/*
 * The maps of the XDP engine. What is read for every packet lies in arrays and in global data,
 * where a look-up is a few instructions; hash maps are asked for a flow's first packet only.
 * Sizes that the configuration decides are set by the agent before the program is loaded.
 */
#pragma once

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include <sluice/counters.h>
#include <sluice/limits.h>
#include <sluice/packet/flow_event.h>
#include <sluice/packet/reject.h>
#include <sluice/tables.h>
#include <sluice/xdp.h>

#define ARRAY(map_name, n, value_type, flags)                                                      \
	struct {                                                                                   \
		__uint(type, BPF_MAP_TYPE_ARRAY);                                                  \
		__uint(max_entries, n);                                                            \
		__uint(map_flags, flags);                                                          \
		__type(key, uint32_t);                                                             \
		__type(value, value_type);                                                         \
	} map_name SEC(".maps")

#define PERCPU_ARRAY(map_name, n, value_type)                                                      \
	struct {                                                                                   \
		__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);                                           \
		__uint(max_entries, n);                                                            \
		__type(key, uint32_t);                                                             \
		__type(value, value_type);                                                         \
	} map_name SEC(".maps")

/* Written by programs. */
ARRAY(flows4, SL_XDP_WAYS, struct sl_flow_ipv4, BPF_F_MMAPABLE);
ARRAY(flows6, SL_XDP_WAYS, struct sl_flow_ipv6, BPF_F_MMAPABLE);
ARRAY(adjacencies, SL_MAX_ADJACENCIES, struct sl_adjacency, 0);
ARRAY(backend_hops, SL_MAX_BACKENDS, uint32_t, 0); /* as sl_flow's client_adjacency */
PERCPU_ARRAY(cpus, 1, struct sl_xdp_cpu);
PERCPU_ARRAY(service_counters, SL_MAX_SERVICES, struct sl_service_counters);
PERCPU_ARRAY(backend_counters, SL_MAX_BACKENDS, struct sl_backend_counters);
PERCPU_ARRAY(scratch_adjacency, 1, struct sl_adjacency);

ARRAY(datagrams, SL_XDP_DATAGRAM_BUCKETS, struct sl_xdp_datagrams, 0);
/* Slot that comes next, of each service's audiences one behind the other: scheduler round_robin. */
ARRAY(turns, SL_MAX_SERVICES *SL_N_AUDIENCES, uint32_t, 0);
ARRAY(source_flows, SL_MAX_BACKENDS, struct sl_xdp_source_flows, BPF_F_MMAPABLE);
PERCPU_ARRAY(reply_rooms, SL_XDP_N_ROOMS, union sl_xdp_reply);
PERCPU_ARRAY(reject_buckets, SL_REJECT_BUCKETS, struct sl_reject_bucket);

/*
 * Replies of mode fullnat carry nothing of the client's end: what they carry -> index of the flow.
 * That a key can be put but once is what keeps two flows from one source port.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct sl_xdp_reply4);
	__type(value, uint32_t);
} replies4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct sl_xdp_reply6);
	__type(value, uint32_t);
} replies6 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, SL_XDP_RESOLVE_BYTES);
} resolve SEC(".maps");

/* struct sl_flow_event, for the agent to write. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, SL_XDP_FLOW_EVENTS_BYTES);
} flow_events SEC(".maps");

/* Copies of packets. There is a ring while a capture is on; this one is the pattern, and nobody's. */
struct inner_copies {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} no_copies SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1);
	__type(key, uint32_t);
	__array(values, struct inner_copies);
} copies SEC(".maps");

PERCPU_ARRAY(captures, 1, struct sl_xdp_capture);
PERCPU_ARRAY(capture_lost, SL_MAX_PORTS, uint64_t); /* copies that the ring had no room for */

/* Who keeps which backend: sl_affinity_word(). */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1);
	__type(key, struct sl_xdp_affinity);
	__type(value, uint64_t);
} affinities SEC(".maps");

/* What backends did with flows that SYNs began. Programs, by atomic addition; read where it is mapped. */
ARRAY(backend_openings, SL_MAX_BACKENDS, struct sl_backend_openings, BPF_F_MMAPABLE);

/* flows: by programs; max_flows: by the agent. */
ARRAY(loads, SL_MAX_BACKENDS, struct sl_load, BPF_F_MMAPABLE);

/* Written by the agent. */
ARRAY(ports, SL_XDP_PORT_PLACES, struct sl_xdp_port, BPF_F_MMAPABLE);
ARRAY(services, SL_MAX_SERVICES, struct sl_service, BPF_F_MMAPABLE);
ARRAY(backends, SL_MAX_BACKENDS, struct sl_backend, BPF_F_MMAPABLE);
ARRAY(affinity_rules, SL_MAX_SERVICES, struct sl_affinity, BPF_F_MMAPABLE);

/*
 * Endpoint of a service -> its index. With protocol 0: an address that a client may not have, for it
 * is a service's or stands in for clients; with SL_XDP_SOURCE: the latter alone.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 2 * SL_MAX_SERVICES + 3 * SL_MAX_SOURCES);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct sl_xdp_endpoint);
	__type(value, uint32_t);
} service_of SEC(".maps");

/* Prefix of a service of mode snat -> its index. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, SL_MAX_SERVICES);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct sl_xdp_prefix);
	__type(value, uint32_t);
} inside SEC(".maps");

/* Prefixes that services list; of an index that was another's, until the agent has tidied up. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 2 * (SL_MAX_DENIES + SL_MAX_CANARY_SOURCES));
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct sl_xdp_listed);
	__type(value, uint32_t);
} listed SEC(".maps");

/* Endpoint that a backend has -> its index; that several have: SL_NO_INDEX. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, SL_MAX_BACKENDS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct sl_xdp_endpoint);
	__type(value, uint32_t);
} backend_of SEC(".maps");

/*
 * Slots and members of one service. This one is the pattern, and belongs to nobody. Its initializer has
 * clang describe it before a function asks for the map of maps, where it would leave out the value's type.
 */
struct inner_slots {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_INNER_MAP | BPF_F_MMAPABLE);
	__type(key, uint32_t);
	__type(value, union sl_xdp_chunk);
} no_slots SEC(".maps") = {};

/* Index of a service -> its slots and members, replaced whole. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, SL_MAX_SERVICES);
	__type(key, uint32_t);
	__array(values, struct inner_slots);
} slots SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP);
	__uint(max_entries, SL_MAX_PORTS);
	__type(key, uint32_t);
	__type(value, uint32_t);
} port_devices SEC(".maps");

/*
 * Programs of their own, which the main one ends in (bpf_tail_call()): what is not the hot path, and
 * would make the main program more than a verifier walks through. Pinned as long as it may be used,
 * for the kernel empties it when no process and no pin has it any more.
 */
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, SL_XDP_N_PROGRAMS);
	__type(key, uint32_t);
	__type(value, uint32_t);
} programs SEC(".maps"); /* by enum sl_xdp_program; written by the agent */

/* Known when the program is loaded. */
const volatile uint32_t n_buckets4 = 1;
const volatile uint32_t n_buckets6 = 1;
const volatile uint32_t max_flows = 1; /* of each family */
const volatile uint32_t max_embryonic = 1;
const volatile uint32_t loopback_ifindex = 1;

struct sl_xdp_control control SEC(".data.control");
struct sl_xdp_usage usage SEC(".data.usage");
struct sl_xdp_capture_order capture_order SEC(".data.capture");
