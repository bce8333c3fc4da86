/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * Every way in which a message can be wrong, a row each: a good message, one change to it, and the
 * refusal that must follow. Whatever was refused, the committed state is as before, and a
 * transaction that held it can no longer be committed.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tests/protocol/peer.h"
#include "wire/wire_abi.h"

enum {
	NO_MESSAGE = 1, /* not answered; the connection is to be closed */
	HEADER = sizeof(struct wire_header),
};

#define HEAD(member) offsetof(struct wire_header, member), sizeof(((struct wire_header *)0)->member)
#define BODY(type, member)                                                                         \
	HEADER + offsetof(struct type, member), sizeof(((struct type *)0)->member)
#define SERVICE(member)                                                                            \
	HEADER + 8 + offsetof(struct wire_service, member),                                        \
		sizeof(((struct wire_service *)0)->member)
#define BACKEND(member)                                                                            \
	HEADER + 8 + offsetof(struct wire_backend, member),                                        \
		sizeof(((struct wire_backend *)0)->member)
#define BYTE(type, member, i)   HEADER + offsetof(struct type, member) + (i), 1
#define SERVICE_BYTE(member, i) HEADER + 8 + offsetof(struct wire_service, member) + (i), 1
#define LISTED(member)                                                                             \
	HEADER + 8 + offsetof(struct wire_listed, member), sizeof(((struct wire_listed *)0)->member)
#define LISTED_BYTE(member, i)  HEADER + 8 + offsetof(struct wire_listed, member) + (i), 1
#define BACKEND_BYTE(member, i) HEADER + 8 + offsetof(struct wire_backend, member) + (i), 1

static const struct row {
	const char *name;
	uint16_t type; /* of the good message */
	size_t offset; /* what is changed: @size bytes at @offset become @value */
	size_t size;
	uint64_t value;
	int longer; /* bytes added to the packet, and to the header's length unless is_lying */
	bool is_lying;
	int status;
	const char *part; /* of the error's text */
} rows[] = {
	/* clang-format off */
	/* The frame. */
	{"length 0", WIRE_STATUS, HEAD(length), 0, 0, false, NO_MESSAGE, ""},
	{"length one more than the packet", WIRE_STATUS, HEAD(length), 21, 0, false, NO_MESSAGE, ""},
	{"length one less than the packet", WIRE_STATUS, HEAD(length), 19, 0, false, NO_MESSAGE, ""},
	{"length 2^32-1", WIRE_STATUS, HEAD(length), 0xffffffff, 0, false, NO_MESSAGE, ""},
	{"packet longer than it says", WIRE_STATUS, 0, 0, 0, 1, true, NO_MESSAGE, ""},
	{"packet shorter than it says", WIRE_STATUS, 0, 0, 0, -1, true, NO_MESSAGE, ""},
	{"packet of half a header", WIRE_STATUS, 0, 0, 0, -12, true, NO_MESSAGE, ""},
	{"header alone", WIRE_STATUS, 0, 0, 0, -4, false, -EINVAL, "message status: 0 bytes (expected 4)"},
	{"type 0", WIRE_STATUS, HEAD(type), 0, 0, false, -EOPNOTSUPP, "type 0 (known: 1..28)"},
	{"type one beyond the last", WIRE_STATUS, HEAD(type), 29, 0, false, -EOPNOTSUPP, "type 29"},
	{"type 65535", WIRE_STATUS, HEAD(type), 65535, 0, false, -EOPNOTSUPP, "type 65535"},
	{"reserved of the header", WIRE_STATUS, HEAD(reserved), 1, 0, false, -EINVAL, "message status: reserved"},
	{"status in a request", WIRE_STATUS, HEAD(status), 1, 0, false, -EINVAL, "message status: reserved"},
	/* Fixed sizes: short and long; and reserved bytes. */
	{"hello short", WIRE_HELLO, 0, 0, 0, -1, false, -EINVAL, "message hello: 15 bytes (expected 16)"},
	{"hello long", WIRE_HELLO, 0, 0, 0, 1, false, -EINVAL, "message hello: 17 bytes (expected 16)"},
	{"hello with another magic", WIRE_HELLO, BODY(wire_hello_request, magic), 0x12345678, 0, false, -EPROTO, "magic 12345678 (expected 31434c53)"},
	{"hello of another version", WIRE_HELLO, BODY(wire_hello_request, version), 2, 0, false, -EPROTO, "protocol 2"},
	{"hello with another layout", WIRE_HELLO, BODY(wire_hello_request, abi_hash), 0xabcdef, 0, false, -EPROTO, "ABI 0000000000abcdef"},
	{"status long", WIRE_STATUS, 0, 0, 0, 4, false, -EINVAL, "message status: 8 bytes (expected 4)"},
	{"status reserved", WIRE_STATUS, BODY(wire_status_request, reserved), 1, 0, false, -EINVAL, "message status: reserved"},
	{"begin short", WIRE_BEGIN, 0, 0, 0, -8, false, -EINVAL, "message begin: 24 bytes (expected 32)"},
	{"begin long", WIRE_BEGIN, 0, 0, 0, 8, false, -EINVAL, "message begin: 40 bytes (expected 32)"},
	{"begin generation 0", WIRE_BEGIN, BODY(wire_begin_request, generation), 0, 0, false, -EINVAL, "generation 0 is not above the current 1"},
	{"begin generation of the base", WIRE_BEGIN, BODY(wire_begin_request, generation), 1, 0, false, -EINVAL, "generation 1 is not above the current 1"},
	{"begin on another base", WIRE_BEGIN, BODY(wire_begin_request, base_generation), 7, 0, false, -ESTALE, "based on generation 7, current is 1"},
	{"commit short", WIRE_COMMIT, 0, 0, 0, -4, false, -EINVAL, "message commit: 4 bytes (expected 8)"},
	{"commit is_dry_run 2", WIRE_COMMIT, BODY(wire_commit_request, is_dry_run), 2, 0, false, -EINVAL, "is_dry_run 2 (limit 0..1)"},
	{"commit reserved", WIRE_COMMIT, BODY(wire_commit_request, reserved), 1, 0, false, -EINVAL, "message commit: reserved"},
	{"abort long", WIRE_ABORT, 0, 0, 0, 4, false, -EINVAL, "message abort: 8 bytes (expected 4)"},
	{"abort reserved", WIRE_ABORT, BODY(wire_abort_request, reserved), 1, 0, false, -EINVAL, "message abort: reserved"},
	{"counters reserved", WIRE_COUNTERS, BODY(wire_counters_request, reserved), 1, 0, false, -EINVAL, "message counters: reserved"},
	{"counters of a worker that is not there", WIRE_COUNTERS, BODY(wire_counters_request, worker), 1, 0, false, -ENOENT, "worker 1: not found"},
	{"counters short", WIRE_COUNTERS, 0, 0, 0, -4, false, -EINVAL, "expected 8"},
	{"service counters of no service", WIRE_SERVICE_COUNTERS, BODY(wire_address, port), SL_BE16(81), 0, false, -ENOENT, "service 203.0.0.10:81/tcp: not found"},
	{"service counters long", WIRE_SERVICE_COUNTERS, 0, 0, 0, 1, false, -EINVAL, "expected 20"},
	{"backend counters of no service", WIRE_BACKEND_COUNTERS, BODY(wire_address, protocol), SL_PROTOCOL_UDP, 0, false, -ENOENT, "203.0.0.10:80/udp: not found"},
	{"backend counters beyond the last", WIRE_BACKEND_COUNTERS, BODY(wire_backend_counters_request, first), 3, 0, false, -EINVAL, "position 3 (limit 2)"},
	{"backend openings of no service", WIRE_BACKEND_OPENINGS, BODY(wire_address, protocol), SL_PROTOCOL_UDP, 0, false, -ENOENT, "203.0.0.10:80/udp: not found"},
	{"backend openings beyond the last", WIRE_BACKEND_OPENINGS, BODY(wire_backend_openings_request, first), 3, 0, false, -EINVAL, "position 3 (limit 2)"},
	{"backend openings long", WIRE_BACKEND_OPENINGS, 0, 0, 0, 4, false, -EINVAL, "message backend_openings: 28 bytes (expected 24)"},
	{"backend counters short", WIRE_BACKEND_COUNTERS, 0, 0, 0, -4, false, -EINVAL, "expected 24"},
	{"flows limit 0", WIRE_FLOWS, BODY(wire_flows_request, limit), 0, 0, false, -EINVAL, "limit 0 (limit 1..256)"},
	{"flows limit 257", WIRE_FLOWS, BODY(wire_flows_request, limit), 257, 0, false, -EINVAL, "limit 257"},
	{"flows cursor never given out", WIRE_FLOWS, BODY(wire_flows_request, cursor), 0xffffffffffff, 0, false, -EINVAL, "cursor 281474976710655"},
	{"flows reserved", WIRE_FLOWS, BODY(wire_flow_filter, reserved), 1, 0, false, -EINVAL, "message flows: reserved"},
	{"flows long", WIRE_FLOWS, 0, 0, 0, 8, false, -EINVAL, "expected 56"},
	{"flow count reserved", WIRE_FLOW_COUNT, BODY(wire_flow_filter, reserved), 1, 0, false, -EINVAL, "message flow_count: reserved"},
	{"explain family 0", WIRE_EXPLAIN, BODY(wire_explain_request, family), 0, 0, false, -EINVAL, "family 0 (allowed: 4, 6)"},
	{"explain icmp", WIRE_EXPLAIN, BODY(wire_explain_request, protocol), 1, 0, false, -EINVAL, "protocol 1 (allowed: tcp, udp)"},
	{"explain reserved", WIRE_EXPLAIN, BYTE(wire_explain_request, reserved, 1), 1, 0, false, -EINVAL, "message explain: reserved"},
	{"explain short", WIRE_EXPLAIN, 0, 0, 0, -40, false, -EINVAL, "expected 40"},
	{"ports reserved", WIRE_PORTS, BODY(wire_ports_request, reserved), 1u << 31, 0, false, -EINVAL, "message ports: reserved"},
	{"workers anew 2", WIRE_WORKERS, BODY(wire_workers_request, begins_anew), 2, 0, false, -EINVAL, "workers: begins_anew 2 (limit 0..1)"},
	{"affinities long", WIRE_AFFINITIES, 0, 0, 0, 4, false, -EINVAL, "message affinities: 12 bytes (expected 8)"},
	{"affinities reserved", WIRE_AFFINITIES, BODY(wire_affinities_request, reserved), 1, 0, false, -EINVAL, "message affinities: reserved"},
	{"affinities beyond the last", WIRE_AFFINITIES, BODY(wire_affinities_request, first), 4, 0, false, -EINVAL, "affinities: position 4 (limit 3)"},
	{"affinities beyond 2^32-1", WIRE_AFFINITIES, BODY(wire_affinities_request, first), UINT32_MAX, 0, false, -EINVAL, "position 4294967295"},
	{"affinity clear short", WIRE_AFFINITY_CLEAR, 0, 0, 0, -4, false, -EINVAL, "message affinity_clear: 16 bytes (expected 20)"},
	{"affinity clear of a service that is not there", WIRE_AFFINITY_CLEAR, BODY(wire_affinity_clear_request, service.port), SL_BE16(81), 0, false, -ENOENT, "service 203.0.0.10:81/tcp: not found"},
	{"plan long", WIRE_PLAN, 0, 0, 0, 4, false, -EINVAL, "message plan: 8 bytes (expected 4)"},
	{"plan reserved", WIRE_PLAN, BODY(wire_plan_request, reserved), 1, 0, false, -EINVAL, "message plan: reserved"},
	{"plan flows short", WIRE_PLAN_FLOWS, 0, 0, 0, -4, false, -EINVAL, "message plan_flows: 4 bytes (expected 8)"},
	{"plan flows cursor never given out", WIRE_PLAN_FLOWS, BODY(wire_plan_flows_request, cursor), 1, 0, false, -EINVAL, "cursor 1 was never given out"},
	{"plan flows cursor 2^64-1", WIRE_PLAN_FLOWS, BODY(wire_plan_flows_request, cursor), UINT64_MAX, 0, false, -EINVAL, "cursor 18446744073709551615"},
	{"plan services short", WIRE_PLAN_SERVICES, 0, 0, 0, -4, false, -EINVAL, "message plan_services: 4 bytes (expected 8)"},
	{"plan services reserved", WIRE_PLAN_SERVICES, BODY(wire_plan_services_request, reserved), 1, 0, false, -EINVAL, "message plan_services: reserved"},
	{"plan services beyond the last", WIRE_PLAN_SERVICES, BODY(wire_plan_services_request, first), 1, 0, false, -EINVAL, "position 1 of the services (limit 0)"},
	{"plan services beyond 2^32-1", WIRE_PLAN_SERVICES, BODY(wire_plan_services_request, first), UINT32_MAX, 0, false, -EINVAL, "position 4294967295 of the services"},
	{"plan backends long", WIRE_PLAN_BACKENDS, 0, 0, 0, 8, false, -EINVAL, "message plan_backends: 16 bytes (expected 8)"},
	{"plan backends reserved", WIRE_PLAN_BACKENDS, BODY(wire_plan_backends_request, reserved), 1u << 31, 0, false, -EINVAL, "message plan_backends: reserved"},
	{"plan backends beyond the last", WIRE_PLAN_BACKENDS, BODY(wire_plan_backends_request, first), 1, 0, false, -EINVAL, "position 1 of the backends (limit 0)"},
	{"capture snaplen 63", WIRE_CAPTURE_BEGIN, BODY(wire_capture_begin_request, snaplen), 63, 0, false, -EINVAL, "capture: snaplen 63 (limit 64..4096)"},
	{"capture snaplen 4097", WIRE_CAPTURE_BEGIN, BODY(wire_capture_begin_request, snaplen), 4097, 0, false, -EINVAL, "snaplen 4097"},
	{"capture of no verdict", WIRE_CAPTURE_BEGIN, BODY(wire_capture_begin_request, verdict), 0xfe, 0, false, -EINVAL, "capture: verdict 254 (limit 0.."},
	{"capture at a port that is not there", WIRE_CAPTURE_BEGIN, BODY(wire_capture_begin_request, port), 9, 0, false, -EINVAL, "capture: port 9 (there are 2)"},
	{"capture in no direction", WIRE_CAPTURE_BEGIN, BODY(wire_capture_begin_request, direction), 0, 0, false, -EINVAL, "capture: direction 0 (limit 1..3)"},
	{"capture in direction 4", WIRE_CAPTURE_BEGIN, BODY(wire_capture_begin_request, direction), 4, 0, false, -EINVAL, "direction 4"},
	{"capture reserved", WIRE_CAPTURE_BEGIN, BODY(wire_capture_begin_request, reserved), 1, 0, false, -EINVAL, "message capture_begin: reserved"},
	{"capture of a client of family 2", WIRE_CAPTURE_BEGIN, BODY(wire_capture_begin_request, client.family), 2, 0, false, -EINVAL, "capture: client: family 2 (allowed: 4, 6)"},
	{"capture of a client of 0 bits", WIRE_CAPTURE_BEGIN, BODY(wire_capture_begin_request, client.family), 4, 0, false, -EINVAL, "capture: client: 0 bits (limit 1..32)"},
	{"capture of a service of 33 bits", WIRE_CAPTURE_BEGIN, BODY(wire_capture_begin_request, service.length), 33, 0, false, -EINVAL, "capture: service: 33 bits (limit 1..32)"},
	{"capture with bits beyond the prefix", WIRE_CAPTURE_BEGIN, BODY(wire_capture_begin_request, service.length), 8, 0, false, -EINVAL, "capture: service: the address has bits beyond the prefix"},
	{"capture with an end's reserved byte", WIRE_CAPTURE_BEGIN, BYTE(wire_capture_begin_request, service.reserved, 2), 1, 0, false, -EINVAL, "reserved bytes are not zero"},
	{"capture short", WIRE_CAPTURE_BEGIN, 0, 0, 0, -8, false, -EINVAL, "message capture_begin: 80 bytes (expected 88)"},
	{"capture read of another one", WIRE_CAPTURE_READ, BODY(wire_capture_read_request, id), 7777, 0, false, -ENOENT, "capture 7777: is not under way"},
	{"capture read long", WIRE_CAPTURE_READ, 0, 0, 0, 8, false, -EINVAL, "message capture_read: 16 bytes (expected 8)"},
	{"capture stop of another one", WIRE_CAPTURE_STOP, BODY(wire_capture_stop_request, id), UINT64_MAX, 0, false, -ENOENT, "capture 18446744073709551615: is not under way"},
	{"capture stop short", WIRE_CAPTURE_STOP, 0, 0, 0, -4, false, -EINVAL, "message capture_stop: 4 bytes (expected 8)"},
	/* Arrays. */
	{"services short of their own head", WIRE_SERVICES, 0, 0, 0, -384, false, -EINVAL, "message services: 4 bytes"},
	{"services 257 records", WIRE_SERVICES, BODY(wire_services_request, n_records), 257, 0, false, -EINVAL, "257 records (limit 256)"},
	{"services 2^32-1 records", WIRE_SERVICES, BODY(wire_services_request, n_records), 0xffffffff, 0, false, -EINVAL, "records (limit 256)"},
	{"services one record more than there is", WIRE_SERVICES, BODY(wire_services_request, n_records), 2, 0, false, -EINVAL, "388 bytes (expected 768)"},
	{"services one record less than there is", WIRE_SERVICES, BODY(wire_services_request, n_records), 0, 0, false, -EINVAL, "388 bytes (expected 8)"},
	{"services a byte after the last record", WIRE_SERVICES, 0, 0, 0, 1, false, -EINVAL, "389 bytes (expected 388)"},
	{"services reserved", WIRE_SERVICES, BODY(wire_services_request, reserved), 1, 0, false, -EINVAL, "message services: reserved"},
	{"backends 257 records", WIRE_BACKENDS, BODY(wire_backends_request, n_records), 257, 0, false, -EINVAL, "257 records (limit 256)"},
	{"backends one record more than there is", WIRE_BACKENDS, BODY(wire_backends_request, n_records), 2, 0, false, -EINVAL, "60 bytes (expected 112)"},
	{"backends half a record", WIRE_BACKENDS, 0, 0, 0, -22, false, -EINVAL, "38 bytes (expected 60)"},
	{"backends reserved", WIRE_BACKENDS, BODY(wire_backends_request, reserved), 1, 0, false, -EINVAL, "message backends: reserved"},
	/* A service's record. */
	{"service family 0", WIRE_SERVICES, SERVICE(address.family), 0, 0, false, -EINVAL, "family 0 (allowed: 4, 6)"},
	{"service family 2, the kernel's AF_INET", WIRE_SERVICES, SERVICE(address.family), 2, 0, false, -EINVAL, "family 2"},
	{"service protocol 0", WIRE_SERVICES, SERVICE(address.protocol), 0, 0, false, -EINVAL, "203.0.9.10/80: a prefix of 80 bits (limit 8..32)"},
	{"service protocol sctp", WIRE_SERVICES, SERVICE(address.protocol), 132, 0, false, -EINVAL, "protocol 132 (allowed: tcp, udp)"},
	{"service IPv4 with an IPv6 tail", WIRE_SERVICES, SERVICE_BYTE(address.addr, 15), 1, 0, false, -EINVAL, "beyond the IPv4 address"},
	{"service at 0.0.9.10", WIRE_SERVICES, SERVICE_BYTE(address.addr, 0), 0, 0, false, -EINVAL, "service 0.0.9.10:80/tcp: the address cannot be a service's"},
	{"service at 127.0.9.10", WIRE_SERVICES, SERVICE_BYTE(address.addr, 0), 127, 0, false, -EINVAL, "127.0.9.10"},
	{"service at a group", WIRE_SERVICES, SERVICE_BYTE(address.addr, 0), 224, 0, false, -EINVAL, "224.0.9.10"},
	{"service at 255.0.9.10", WIRE_SERVICES, SERVICE_BYTE(address.addr, 0), 255, 0, false, -EINVAL, "255.0.9.10"},
	{"service mode 0", WIRE_SERVICES, SERVICE(mode), 0, 0, false, -EINVAL, "203.0.9.10:80/tcp: mode 0"},
	{"service mode fullnat without sources", WIRE_SERVICES, SERVICE(mode), WIRE_MODE_FULLNAT, 0, false, -EINVAL, "203.0.9.10:80/tcp: 0 source addresses (limit 1..16 in mode fullnat)"},
	{"service nat with a source", WIRE_SERVICES, SERVICE(n_sources), 1, 0, false, -EINVAL, "203.0.9.10:80/tcp: 1 source addresses, source ports 0-0: they go with modes fullnat and snat, the mode is nat"},
	{"service nat with source ports", WIRE_SERVICES, SERVICE(source_port_last), 9, 0, false, -EINVAL, "source ports 0-9: they go with modes fullnat and snat"},
	{"service nat with a byte of a source", WIRE_SERVICES, SERVICE_BYTE(source, 255), 1, 0, false, -EINVAL, "0 source addresses, source ports 0-0: they go"},
	{"service proxy protocol 1", WIRE_SERVICES, SERVICE(proxy_protocol), 1, 0, false, -EINVAL, "203.0.9.10:80/tcp: proxy_protocol 1 (allowed: 0, 2)"},
	{"service proxy protocol 3", WIRE_SERVICES, SERVICE(proxy_protocol), 3, 0, false, -EINVAL, "proxy_protocol 3 (allowed: 0, 2)"},
	{"service stateless replies 2", WIRE_SERVICES, SERVICE(stateless_replies), 2, 0, false, -EINVAL, "203.0.9.10:80/tcp: stateless_replies 2 (allowed: 0, 1)"},
	{"service flow log 2", WIRE_SERVICES, SERVICE(flow_log), 2, 0, false, -EINVAL, "203.0.9.10:80/tcp: flow_log 2 (allowed: 0, 1)"},
	{"service reserved", WIRE_SERVICES, SERVICE_BYTE(reserved, 1), 1, 0, false, -EINVAL, "reserved bytes are not zero"},
	{"service mode snat at a port", WIRE_SERVICES, SERVICE(mode), WIRE_MODE_SNAT, 0, false, -EINVAL, "mode snat (a prefix goes with snat, and with no other)"},
	{"service mode 4", WIRE_SERVICES, SERVICE(mode), 4, 0, false, -EINVAL, "mode 4 (allowed: nat, fullnat, snat)"},
	{"service scheduler 0", WIRE_SERVICES, SERVICE(scheduler), 0, 0, false, -EINVAL, "scheduler 0"},
	{"service scheduler 5", WIRE_SERVICES, SERVICE(scheduler), 5, 0, false, -EINVAL, "scheduler 5"},
	{"service 0 slots", WIRE_SERVICES, SERVICE(n_slots), 0, 0, false, -EINVAL, "0 slots"},
	{"service 241 slots, a prime too small", WIRE_SERVICES, SERVICE(n_slots), 241, 0, false, -EINVAL, "241 slots (a prime, limit 251..1048573)"},
	{"service 65536 slots, no prime", WIRE_SERVICES, SERVICE(n_slots), 65536, 0, false, -EINVAL, "65536 slots"},
	{"service 63001 slots, the square of 251", WIRE_SERVICES, SERVICE(n_slots), 63001, 0, false, -EINVAL, "63001 slots"},
	{"service 1048583 slots, a prime too large", WIRE_SERVICES, SERVICE(n_slots), 1048583, 0, false, -EINVAL, "1048583 slots"},
	{"service timeout established", WIRE_SERVICES, SERVICE(timeout_established_sec), 604801, 0, false, -EINVAL, "established timeout 604801 s (limit 604800 s)"},
	{"service timeout transitory", WIRE_SERVICES, SERVICE(timeout_transitory_sec), 0xffffffff, 0, false, -EINVAL, "transitory timeout 4294967295 s"},
	{"service timeout embryonic", WIRE_SERVICES, SERVICE(timeout_embryonic_sec), 604801, 0, false, -EINVAL, "embryonic timeout"},
	{"service timeout udp", WIRE_SERVICES, SERVICE(timeout_udp_sec), 604801, 0, false, -EINVAL, "udp timeout"},
	{"service without a name", WIRE_SERVICES, SERVICE_BYTE(name, 0), 0, 0, false, -EINVAL, "the name"},
	{"service name with a space", WIRE_SERVICES, SERVICE_BYTE(name, 1), ' ', 0, false, -EINVAL, "the name"},
	{"service name with a line feed", WIRE_SERVICES, SERVICE_BYTE(name, 1), '\n', 0, false, -EINVAL, "the name"},
	{"service name beyond ASCII", WIRE_SERVICES, SERVICE_BYTE(name, 1), 0xc3, 0, false, -EINVAL, "the name"},
	{"service name with rubbish after its zero", WIRE_SERVICES, SERVICE_BYTE(name, 63), 'x', 0, false, -EINVAL, "the name"},
	{"service affinity timeout", WIRE_SERVICES, SERVICE(affinity_timeout_sec), 604801, 0, false, -EINVAL, "203.0.9.10:80/tcp: affinity timeout 604801 s is out of range (limit 604800)"},
	{"service affinity timeout without a prefix", WIRE_SERVICES, SERVICE(affinity_timeout_sec), 300, 0, false, -EINVAL, "affinity prefix of 0 bits (limit 1..32, 0 without a timeout)"},
	{"service affinity prefix without a timeout", WIRE_SERVICES, SERVICE(affinity_prefix), 24, 0, false, -EINVAL, "affinity prefix of 24 bits (limit 1..32, 0 without a timeout)"},
	/* A backend's record. */
	{"backend of a service that is not there", WIRE_BACKENDS, BACKEND(service.port), SL_BE16(81), 0, false, -ENOENT, "service 203.0.0.10:81/tcp: not found"},
	{"backend of family 0", WIRE_BACKENDS, BACKEND(service.family), 0, 0, false, -EINVAL, "family 0"},
	{"backend of another family", WIRE_BACKENDS, BACKEND_BYTE(addr, 7), 1, 0, false, -EINVAL, "beyond the IPv4 address"},
	{"backend protocol", WIRE_BACKENDS, BACKEND(service.protocol), 1, 0, false, -EINVAL, "protocol 1"},
	{"backend port 0 of a service with a port", WIRE_BACKENDS, BACKEND(port), 0, 0, false, -EINVAL, "port 0 goes with a service of port 0"},
	{"backend state 0", WIRE_BACKENDS, BACKEND(state), 0, 0, false, -EINVAL, "state 0 (allowed: ready, drain, maint)"},
	{"backend state 4", WIRE_BACKENDS, BACKEND(state), 4, 0, false, -EINVAL, "state 4"},
	{"backend health", WIRE_BACKENDS, BACKEND(health), 3, 0, false, -EINVAL, "backend 10.0.0.9:8080 of service 203.0.0.10:80/tcp: health 3 is out of range (limit 2)"},
	{"backend weight 70000", WIRE_BACKENDS, BACKEND(weight), 70000, 0, false, -EINVAL, "backend 10.0.0.9:8080 of service 203.0.0.10:80/tcp: weight 70000 is out of range (limit 65535)"},
	{"backend canary_weight 65536", WIRE_BACKENDS, BACKEND(canary_weight), 65536, 0, false, -EINVAL, "backend 10.0.0.9:8080 of service 203.0.0.10:80/tcp: canary_weight 65536 is out of range (limit 65535)"},
	{"backend weight 2^32-1", WIRE_BACKENDS, BACKEND(weight), 0xffffffff, 0, false, -EINVAL, "weight 4294967295"},
	{"backend max_flows", WIRE_BACKENDS, BACKEND(max_flows), 134217729, 0, false, -EINVAL, "backend 10.0.0.9:8080 of service 203.0.0.10:80/tcp: max_flows 134217729 is out of range (limit 134217728)"},
	{"backend at 127.0.0.9", WIRE_BACKENDS, BACKEND_BYTE(addr, 0), 127, 0, false, -EINVAL, "127.0.0.9:8080"},
	{"backend at 0.0.0.9", WIRE_BACKENDS, BACKEND_BYTE(addr, 0), 0, 0, false, -EINVAL, "0.0.0.9:8080"},
	{"backend at a group", WIRE_BACKENDS, BACKEND_BYTE(addr, 0), 239, 0, false, -EINVAL, "the address cannot be a backend's"},
	/* Deletions. */
	{"delete a service that is not there", WIRE_SERVICE_DELETE, BODY(wire_address, port), SL_BE16(81), 0, false, -ENOENT, "service 203.0.0.10:81/tcp: not found"},
	{"delete a service of family 5", WIRE_SERVICE_DELETE, BODY(wire_address, family), 5, 0, false, -EINVAL, "family 5"},
	{"delete a service long", WIRE_SERVICE_DELETE, 0, 0, 0, 1, false, -EINVAL, "21 bytes (expected 20)"},
	{"delete a backend that is not there", WIRE_BACKEND_DELETE, BODY(wire_backend_delete_request, port), SL_BE16(81), 0, false, -ENOENT, "backend 10.0.0.0:81 of service 203.0.0.10:80/tcp: not found"},
	{"delete a backend of no service", WIRE_BACKEND_DELETE, BODY(wire_address, port), SL_BE16(81), 0, false, -ENOENT, "service 203.0.0.10:81/tcp: not found"},
	{"delete a backend reserved", WIRE_BACKEND_DELETE, BYTE(wire_backend_delete_request, reserved, 1), 1, 0, false, -EINVAL, "reserved bytes are not zero"},
	{"delete a backend short", WIRE_BACKEND_DELETE, 0, 0, 0, -2, false, -EINVAL, "38 bytes (expected 40)"},
	/* What is listed, by a service that is a prefix; the good record denies 192.0.2.0/24. */
	{"listed one record more than there is", WIRE_LISTED, BODY(wire_listed_request, n_records), 2, 0, false, -EINVAL, "48 bytes (expected 88)"},
	{"listed reserved", WIRE_LISTED, BODY(wire_listed_request, reserved), 1, 0, false, -EINVAL, "message listed: reserved"},
	{"listed in list 0", WIRE_LISTED, LISTED(list), 0, 0, false, -EINVAL, "service 10.9.0.0/16: 192.0.2.0/24 is in list 0 (limit 1..3)"},
	{"listed in list 4", WIRE_LISTED, LISTED(list), 4, 0, false, -EINVAL, "192.0.2.0/24 is in list 4 (limit 1..3)"},
	{"listed of family 5", WIRE_LISTED, LISTED(family), 5, 0, false, -EINVAL, "service 10.9.0.0/16: deny_destination: a prefix of family 5 (allowed: 4, 6)"},
	{"deny of the other family", WIRE_LISTED, LISTED(family), SL_FAMILY_IPV6, 0, false, -EINVAL, "is of another address family than the service"},
	{"canary's source in mode snat", WIRE_LISTED, LISTED(list), WIRE_CANARY_SOURCE, 0, false, -EINVAL, "service 10.9.0.0/16: canary.sources 192.0.2.0/24: goes with modes nat and fullnat alone"},
	{"deny a source that is no client's", WIRE_LISTED, LISTED(list), WIRE_DENY_SOURCE, 0, false, -EINVAL, "deny_source 192.0.2.0/24: is no part of the service's prefix"},
	{"deny with reserved bytes", WIRE_LISTED, LISTED(reserved), 1, 0, false, -EINVAL, "deny_destination 192.0.2.0/24: reserved bytes are not zero"},
	{"deny 33 bits", WIRE_LISTED, LISTED(length), 33, 0, false, -EINVAL, "192.0.2.0/33: a prefix of 33 bits (limit 0..32)"},
	{"deny with bits beyond the prefix", WIRE_LISTED, LISTED(length), 22, 0, false, -EINVAL, "192.0.2.0/22: the address has bits beyond the prefix"},
	{"deny with an IPv6 tail", WIRE_LISTED, LISTED_BYTE(addr, 15), 1, 0, false, -EINVAL, "the address has bits beyond the prefix"},
	{"deny at a service that is no prefix", WIRE_LISTED, LISTED(service.protocol), SL_PROTOCOL_TCP, 0, false, -EINVAL, "10.9.0.0:16/tcp: deny_destination 192.0.2.0/24: goes with mode snat alone"},
	{"deny at a service that is not there", WIRE_LISTED, LISTED_BYTE(service.addr, 0), 11, 0, false, -ENOENT, "service 11.9.0.0/16: not found"},
	/* clang-format on */
};

static uint16_t is_change(uint16_t type)
{
	return (type >= WIRE_SERVICES && type <= WIRE_ABORT) || type == WIRE_LISTED ||
	       (type >= WIRE_PLAN && type <= WIRE_PLAN_BACKENDS);
}

/* A private network that is led out. */
static struct wire_service network_record(void)
{
	struct wire_service service = service_record(9);

	memset(service.name, 0, sizeof(service.name));
	memcpy(service.name, "office", 6);
	service.address = (struct wire_address){
		.addr.word = {SL_BE32(0x0a090000u)}, .port = SL_BE16(16), .family = SL_FAMILY_IPV4};
	service.mode = WIRE_MODE_SNAT;
	service.n_sources = 1;
	service.source[0].ipv4 = SL_BE32(0xcb0071c8u);
	service.source_port_first = 1024;
	service.source_port_last = 65535;
	return service;
}

/* Services 0 and 1 with backends 0 and 1 each, and the network, generation 1. */
static void commit_something(struct peer *peer)
{
	const struct wire_service network = network_record();

	cr_assert_eq(peer_begin(peer, 1, 0), 0);
	cr_assert_eq(peer_services(peer, &network, 1), 0, "%s", peer_error(peer));
	for (uint32_t i = 0; i < 2; i++) {
		const struct wire_service service = service_record(i);
		const struct wire_backend backends[] = {backend_record(&service, i * 2),
							backend_record(&service, i * 2 + 1)};

		cr_assert_eq(peer_services(peer, &service, 1), 0);
		cr_assert_eq(peer_backends(peer, backends, 2), 0);
	}
	cr_assert_eq(peer_commit(peer, false), 0, "%s", peer_error(peer));
}

static uint64_t capture_id; /* of the one that begin_for() began */

/* A message that would be accepted, after that state and a BEGIN where it needs one. */
static size_t good_body(uint16_t type, uint8_t *body)
{
	const struct wire_service old = service_record(0);
	const struct wire_backend old_backend = backend_record(&old, 0);

#define GOOD(message, ...)                                                                         \
	do {                                                                                       \
		const struct wire_##message##_request good = {__VA_ARGS__};                        \
		memcpy(body, &good, sizeof(good));                                                 \
		return sizeof(good);                                                               \
	} while (0)
	switch ((enum wire_type)type) {
	case WIRE_HELLO:
		GOOD(hello, WIRE_MAGIC, WIRE_VERSION, wire_abi_hash());
	case WIRE_BEGIN:
		GOOD(begin, .generation = 2, .base_generation = 1, .hash_key = peer_key);
	case WIRE_SERVICES: {
		const struct wire_service service = service_record(9);

		memcpy(body + 8, &service, sizeof(service));
		body[0] = 1;
		return 8 + sizeof(service);
	}
	case WIRE_BACKENDS: {
		const struct wire_backend backend = backend_record(&old, 9);

		memcpy(body + 8, &backend, sizeof(backend));
		body[0] = 1;
		return 8 + sizeof(backend);
	}
	case WIRE_LISTED: {
		const struct wire_service network = network_record();
		const struct wire_listed deny = {.service = network.address,
						 .addr.word = {SL_BE32(0xc0000200u)},
						 .length = 24,
						 .list = WIRE_DENY_DESTINATION,
						 .family = SL_FAMILY_IPV4};

		memcpy(body + 8, &deny, sizeof(deny));
		body[0] = 1;
		return 8 + sizeof(deny);
	}
	case WIRE_SERVICE_DELETE:
		GOOD(service_delete, .service = old.address);
	case WIRE_BACKEND_DELETE:
		GOOD(backend_delete, .service = old.address, .addr = old_backend.addr,
		     .port = old_backend.port);
	case WIRE_COMMIT:
		GOOD(commit, 0);
	case WIRE_COUNTERS:
		GOOD(counters, 0);
	case WIRE_SERVICE_COUNTERS:
		GOOD(service_counters, .service = old.address);
	case WIRE_BACKEND_COUNTERS:
		GOOD(backend_counters, .service = old.address);
	case WIRE_BACKEND_OPENINGS:
		GOOD(backend_openings, .service = old.address);
	case WIRE_FLOWS:
		GOOD(flows, .limit = 1);
	case WIRE_FLOW_COUNT:
		GOOD(flow_count, .filter = {.reserved = 0});
	case WIRE_EXPLAIN:
		GOOD(explain, .source.word = {SL_BE32(0xc6336407u)},
		     .destination = old.address.addr, .source_port = SL_BE16(40000),
		     .destination_port = SL_BE16(80), .family = SL_FAMILY_IPV4,
		     .protocol = SL_PROTOCOL_TCP);
	case WIRE_PLAN_FLOWS:
		GOOD(plan_flows, 0);
	case WIRE_PLAN_SERVICES:
		GOOD(plan_services, 0);
	case WIRE_PLAN_BACKENDS:
		GOOD(plan_backends, 0);
	case WIRE_CAPTURE_BEGIN:
		GOOD(capture_begin,
		     .service = {.addr = old.address.addr, .family = SL_FAMILY_IPV4, .length = 32},
		     .snaplen = 256, .verdict = WIRE_CAPTURE_EVERY, .port = WIRE_CAPTURE_EVERY,
		     .direction = WIRE_CAPTURE_BOTH);
	case WIRE_CAPTURE_READ:
	case WIRE_CAPTURE_STOP:
		GOOD(capture_read, .id = capture_id);
	case WIRE_AFFINITIES:
		GOOD(affinities, 0);
	case WIRE_AFFINITY_CLEAR:
		GOOD(affinity_clear, .service = old.address);
	case WIRE_STATUS:
	case WIRE_PLAN:
	case WIRE_ABORT:
	case WIRE_PORTS:
	case WIRE_WORKERS:
		GOOD(status, 0);
	case WIRE_NONE:
		break;
	}
	cr_assert_fail("no good message of type %u", type);
	return 0;
#undef GOOD
}

static int send_row(struct peer *peer, const struct row *row)
{
	uint8_t message[4096] = {0};
	struct wire_header header = {.type = row->type, .id = 77};
	size_t length = HEADER + good_body(row->type, message + HEADER);

	header.length = (uint32_t)length;
	if (row->longer != 0) {
		length = (size_t)((ptrdiff_t)length + row->longer);
		if (!row->is_lying)
			header.length = (uint32_t)length;
	}
	memcpy(message, &header, sizeof(header));
	memcpy(message + row->offset, &row->value, row->size);
	return peer_send_raw(peer, message, length);
}

/* The transaction that a message of @type needs, planned where it asks for a plan; or the capture. */
static void begin_for(struct peer *peer, uint16_t type)
{
	const struct wire_plan_request plan = {0};
	const struct wire_capture_begin_request capture = {.snaplen = 64,
							   .verdict = WIRE_CAPTURE_EVERY,
							   .port = WIRE_CAPTURE_EVERY,
							   .direction = WIRE_CAPTURE_BOTH};

	if (type == WIRE_CAPTURE_READ || type == WIRE_CAPTURE_STOP) {
		cr_assert_eq(peer_call(peer, WIRE_CAPTURE_BEGIN, &capture, sizeof(capture)), 0,
			     "%s", peer_error(peer));
		memcpy(&capture_id, peer->reply + HEADER, sizeof(capture_id));
	}
	if (!is_change(type))
		return;
	cr_assert_eq(peer_begin(peer, 2, 1), 0, "%s: %s", wire_type_name(type), peer_error(peer));
	if (type == WIRE_PLAN_FLOWS || type == WIRE_PLAN_SERVICES || type == WIRE_PLAN_BACKENDS)
		cr_assert_eq(peer_call(peer, WIRE_PLAN, &plan, sizeof(plan)), 0, "%s",
			     peer_error(peer));
}

Test(malformed, each_row_is_refused_with_its_reason_and_changes_nothing)
{
	struct world world;
	struct peer *watcher;
	struct peer_state before;

	world_open(&world);
	watcher = peer_new(&world, 1);
	cr_assert_eq(peer_hello(watcher), 0);
	commit_something(watcher);
	before = peer_state(watcher);
	for (size_t i = 0; i < SL_ARRAY_LEN(rows); i++) {
		const struct row *row = &rows[i];
		struct peer *peer = peer_new(&world, 100);
		struct peer_state after;
		int status;

		cr_assert_eq(peer_hello(peer), 0);
		begin_for(peer, row->type);
		status = send_row(peer, row);
		cr_expect_eq(status, row->status, "%s: status %d, not %d", row->name, status,
			     row->status);
		if (status < 0)
			cr_expect_not_null(strstr(peer_error(peer), row->part), "%s: \"%s\"",
					   row->name, peer_error(peer));
		if (is_change(row->type) && status < 0)
			cr_expect_eq(peer_commit(peer, false), -EPROTO,
				     "%s: can still be committed", row->name);
		peer_free(peer);
		after = peer_state(watcher);
		cr_expect_eq(memcmp(&before, &after, sizeof(before)), 0, "%s: the state changed",
			     row->name);
	}
	peer_free(watcher);
	world_close(&world);
}

Test(malformed, the_good_messages_behind_the_rows_are_good)
{
	for (uint16_t type = WIRE_HELLO; type <= WIRE_CAPTURE_STOP; type++) {
		const struct row row = {.name = wire_type_name(type), .type = type};
		struct world world;
		struct peer *peer;

		world_open(&world);
		peer = peer_new(&world, 1);
		cr_assert_eq(peer_hello(peer), 0);
		commit_something(peer);
		begin_for(peer, type);
		cr_expect_eq(send_row(peer, &row), 0, "%s: %s", row.name, peer_error(peer));
		peer_free(peer);
		world_close(&world);
	}
}

Test(malformed, nothing_but_a_greeting_is_heard_before_it)
{
	struct world world;

	world_open(&world);
	for (uint16_t type = WIRE_STATUS; type <= WIRE_CAPTURE_STOP; type++) {
		const struct row row = {.name = wire_type_name(type), .type = type};
		struct peer *peer = peer_new(&world, 1);

		cr_expect_eq(send_row(peer, &row), -EPROTO, "%s", row.name);
		cr_expect_not_null(strstr(peer_error(peer), "the greeting comes first"), "%s",
				   row.name);
		peer_free(peer);
	}
	world_close(&world);
}

Test(malformed, a_packet_beyond_the_limit_is_no_message)
{
	struct world world;
	struct peer *peer;
	struct wire_header header = {.length = WIRE_MAX_MESSAGE + 8, .type = WIRE_STATUS};

	world_open(&world);
	peer = peer_new(&world, 1);
	cr_assert_eq(peer_hello(peer), 0);
	memset(peer->request, 0, sizeof(peer->request));
	memcpy(peer->request, &header, sizeof(header));
	cr_expect_eq(peer_send_raw(peer, peer->request, WIRE_MAX_MESSAGE + 8), NO_MESSAGE);
	header.length = WIRE_MAX_MESSAGE;
	memcpy(peer->request, &header, sizeof(header));
	cr_expect_eq(peer_send_raw(peer, peer->request, WIRE_MAX_MESSAGE), -EINVAL);
	cr_expect_eq(peer_send_raw(peer, peer->request, 0), NO_MESSAGE);
	peer_free(peer);
	world_close(&world);
}

/* What only the whole state shows, at COMMIT. */
Test(malformed, a_state_that_contradicts_itself_is_refused_at_commit)
{
	const struct wire_service one = service_record(1);
	struct wire_service two = service_record(2);
	struct wire_backend loop = backend_record(&one, 0);
	struct peer_state before;
	struct world world;
	struct peer *peer;

	world_open(&world);
	peer = peer_new(&world, 1);
	cr_assert_eq(peer_hello(peer), 0);
	commit_something(peer);
	before = peer_state(peer);

	loop.addr = two.address.addr;
	cr_assert_eq(peer_begin(peer, 2, 1), 0);
	cr_assert_eq(peer_services(peer, &two, 1), 0);
	cr_assert_eq(peer_backends(peer, &loop, 1), 0);
	cr_expect_eq(peer_commit(peer, false), -EINVAL);
	cr_expect_not_null(strstr(peer_error(peer), "backend 203.0.2.10:8080 of service"), "%s",
			   peer_error(peer));

	cr_assert_eq(peer_begin(peer, 2, 1), 0);
	cr_assert_eq(peer_services(peer, &two, 1), 0);
	for (uint32_t i = 0; i < 3; i++) {
		const struct wire_backend backend = backend_record(&two, 100 + i);

		cr_assert_eq(peer_backends(peer, &backend, 1), 0);
	}
	cr_expect_eq(peer_commit(peer, true), -EINVAL);
	cr_expect_not_null(strstr(peer_error(peer), "251 slots are too few for 3 backends"), "%s",
			   peer_error(peer));

	two.n_slots = 307;
	cr_assert_eq(peer_begin(peer, 2, 1), 0, "the refused transaction is still open");
	cr_assert_eq(peer_abort(peer), 0);
	cr_expect_eq(peer_state(peer).digest, before.digest);
	cr_expect_eq(peer_state(peer).generation, 1);
	peer_free(peer);
	world_close(&world);
}

/* Changes to a good record of a fullnat service; @at counts from the record's first byte. */
static const struct fullnat_row {
	const char *name;
	size_t at;
	size_t size;
	uint32_t value;
	const char *part;
} fullnat_rows[] = {
/* clang-format off */
#define MEMBER(member)  offsetof(struct wire_service, member), sizeof(((struct wire_service *)0)->member)
#define SOURCE_BYTE(i)  offsetof(struct wire_service, source) + (i), 1
	{"0 sources", MEMBER(n_sources), 0, "203.0.9.10:80/tcp: 0 source addresses (limit 1..16 in mode fullnat)"},
	{"17 sources", MEMBER(n_sources), 17, "203.0.9.10:80/tcp: 17 source addresses (limit 1..16 in mode fullnat)"},
	{"2^32-1 sources", MEMBER(n_sources), 0xffffffff, "4294967295 source addresses"},
	{"fewer sources than there are", MEMBER(n_sources), 1, "203.0.9.10:80/tcp: bytes beyond its 1 source addresses"},
	{"more sources than there are", MEMBER(n_sources), 3, "source 0.0.0.0: the address cannot be a source address"},
	{"16 sources where 2 are", MEMBER(n_sources), 16, "source 0.0.0.0: the address cannot be a source address"},
	{"a byte behind the last source", SOURCE_BYTE(255), 1, "bytes beyond its 2 source addresses"},
	{"source at 127.18.0.9", SOURCE_BYTE(0), 127, "203.0.9.10:80/tcp: source 127.18.0.9: the address cannot be"},
	{"source at 0.18.0.9", SOURCE_BYTE(0), 0, "source 0.18.0.9: the address cannot be"},
	{"source at a group", SOURCE_BYTE(16), 224, "source 224.19.0.9: the address cannot be"},
	{"source at 255.19.0.9", SOURCE_BYTE(16), 255, "source 255.19.0.9: the address cannot be"},
	{"source with an IPv6 tail", SOURCE_BYTE(31), 1, "source 198.19.0.9: bytes beyond the IPv4 address"},
	{"the same source twice", SOURCE_BYTE(17), 18, "source 198.18.0.9 stands there twice"},
	{"port 0", MEMBER(source_port_first), 0, "203.0.9.10:80/tcp: source ports 0-65535 (limit 1..65535, the first not above the last)"},
	{"ports the wrong way round", MEMBER(source_port_last), 1023, "source ports 1024-1023 (limit"},
	{"the pool in mode nat", MEMBER(mode), WIRE_MODE_NAT, "203.0.9.10:80/tcp: 2 source addresses, source ports 1024-65535: they go with modes fullnat and snat"},
	{"proxy protocol 1", MEMBER(proxy_protocol), 1, "proxy_protocol 1 (allowed: 0, 2)"},
	/* clang-format on */
};

Test(malformed, each_fullnat_row_is_refused_with_its_reason)
{
	struct world world;

	world_open(&world);
	for (size_t i = 0; i < SL_ARRAY_LEN(fullnat_rows); i++) {
		const struct fullnat_row *row = &fullnat_rows[i];
		struct wire_service service = fullnat_record(9);
		struct peer *peer = peer_new(&world, 1);

		memcpy((uint8_t *)&service + row->at, &row->value, row->size);
		cr_assert_eq(peer_hello(peer), 0);
		cr_assert_eq(peer_begin(peer, 1, 0), 0);
		cr_expect_eq(peer_services(peer, &service, 1), -EINVAL, "%s", row->name);
		cr_expect_not_null(strstr(peer_error(peer), row->part), "%s: \"%s\"", row->name,
				   peer_error(peer));
		peer_free(peer);
	}
	world_close(&world);
}

/* One address cannot be what clients connect to, or a backend, and a source as well. */
Test(malformed, a_source_that_is_something_else_is_refused_at_commit)
{
	const struct wire_service one = service_record(1);
	const struct wire_backend backend = backend_record(&one, 0);
	struct wire_service pool = fullnat_record(2);
	struct wire_backend loop = backend_record(&one, 1);
	struct world world;
	struct peer *peer;

	world_open(&world);
	peer = peer_new(&world, 1);
	cr_assert_eq(peer_hello(peer), 0);

	pool.source[1] = pool.address.addr;
	cr_assert_eq(peer_begin(peer, 1, 0), 0);
	cr_expect_eq(peer_services(peer, &pool, 1), -EINVAL);
	cr_expect_not_null(
		strstr(peer_error(peer), "source 203.0.2.10: the address is the service's"), "%s",
		peer_error(peer));

	pool.source[1] = one.address.addr;
	cr_assert_eq(peer_begin(peer, 1, 0), 0);
	cr_assert_eq(peer_services(peer, &pool, 1), 0, "%s", peer_error(peer));
	cr_assert_eq(peer_services(peer, &one, 1), 0, "%s", peer_error(peer));
	cr_expect_eq(peer_commit(peer, false), -EINVAL);
	cr_expect_str_eq(peer_error(peer),
			 "service service-2: source 203.0.1.10: the address is service "
			 "service-1's");

	pool.source[1] = backend.addr;
	cr_assert_eq(peer_begin(peer, 1, 0), 0);
	cr_assert_eq(peer_services(peer, &pool, 1), 0, "%s", peer_error(peer));
	cr_assert_eq(peer_services(peer, &one, 1), 0, "%s", peer_error(peer));
	cr_assert_eq(peer_backends(peer, &backend, 1), 0, "%s", peer_error(peer));
	cr_expect_eq(peer_commit(peer, false), -EINVAL);
	cr_expect_str_eq(peer_error(peer),
			 "backend 10.0.0.0:8080 of service service-1: its address is a source of "
			 "service service-2");

	pool = fullnat_record(2);
	loop.addr = pool.source[0];
	cr_assert_eq(peer_begin(peer, 1, 0), 0);
	cr_assert_eq(peer_services(peer, &pool, 1), 0, "%s", peer_error(peer));
	cr_assert_eq(peer_services(peer, &one, 1), 0, "%s", peer_error(peer));
	cr_assert_eq(peer_backends(peer, &loop, 1), 0, "%s", peer_error(peer));
	cr_expect_eq(peer_commit(peer, true), -EINVAL);
	cr_expect_not_null(strstr(peer_error(peer), "a source of service service-2"), "%s",
			   peer_error(peer));
	peer_free(peer);
	world_close(&world);
}
