/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * The layout of the private protocol as text, from one list of all members; a unit test compares
 * the list with wire.h itself, so that none can be forgotten.
 */
#include "wire/wire_abi.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include <sluice/packet/siphash.h>

/* M: member; E: records that follow; S: end of the struct. */
/* clang-format off */
#define WIRE_MEMBER_LIST(M, E, S) \
	M(wire_header, length) \
	M(wire_header, type) \
	M(wire_header, reserved) \
	M(wire_header, id) \
	M(wire_header, status) \
	S(wire_header) \
	M(wire_error, text) \
	S(wire_error) \
	M(wire_address, addr) \
	M(wire_address, port) \
	M(wire_address, protocol) \
	M(wire_address, family) \
	S(wire_address) \
	M(wire_service, address) \
	M(wire_service, mode) \
	M(wire_service, scheduler) \
	M(wire_service, proxy_protocol) \
	M(wire_service, stateless_replies) \
	M(wire_service, n_slots) \
	M(wire_service, timeout_established_sec) \
	M(wire_service, timeout_transitory_sec) \
	M(wire_service, timeout_embryonic_sec) \
	M(wire_service, timeout_udp_sec) \
	M(wire_service, name) \
	M(wire_service, source_port_first) \
	M(wire_service, source_port_last) \
	M(wire_service, n_sources) \
	M(wire_service, source) \
	M(wire_service, flow_log) \
	M(wire_service, affinity_prefix) \
	M(wire_service, affinity_timeout_sec) \
	M(wire_service, reserved) \
	S(wire_service) \
	M(wire_backend, service) \
	M(wire_backend, addr) \
	M(wire_backend, port) \
	M(wire_backend, state) \
	M(wire_backend, health) \
	M(wire_backend, weight) \
	M(wire_backend, max_flows) \
	M(wire_backend, canary_weight) \
	S(wire_backend) \
	M(wire_listed, service) \
	M(wire_listed, addr) \
	M(wire_listed, length) \
	M(wire_listed, list) \
	M(wire_listed, family) \
	M(wire_listed, reserved) \
	S(wire_listed) \
	M(wire_hello_request, magic) \
	M(wire_hello_request, version) \
	M(wire_hello_request, abi_hash) \
	S(wire_hello_request) \
	M(wire_hello_reply, magic) \
	M(wire_hello_reply, version) \
	M(wire_hello_reply, abi_hash) \
	M(wire_hello_reply, boot_id) \
	M(wire_hello_reply, generation) \
	M(wire_hello_reply, digest) \
	M(wire_hello_reply, engine) \
	M(wire_hello_reply, program_version) \
	M(wire_hello_reply, pid) \
	M(wire_hello_reply, reserved) \
	S(wire_hello_reply) \
	M(wire_status_request, reserved) \
	S(wire_status_request) \
	M(wire_status_reply, boot_id) \
	M(wire_status_reply, generation) \
	M(wire_status_reply, digest) \
	M(wire_status_reply, uptime_ns) \
	M(wire_status_reply, commit_ns) \
	M(wire_status_reply, n_services) \
	M(wire_status_reply, n_backends) \
	M(wire_status_reply, n_workers) \
	M(wire_status_reply, n_ports) \
	M(wire_status_reply, flows) \
	M(wire_status_reply, flows_embryonic) \
	M(wire_status_reply, flows_capacity) \
	M(wire_status_reply, memory_bytes) \
	M(wire_status_reply, affinities) \
	M(wire_status_reply, affinities_capacity) \
	M(wire_status_reply, flows_handed) \
	M(wire_status_reply, n_former) \
	M(wire_status_reply, max_workers) \
	M(wire_status_reply, engine) \
	M(wire_status_reply, engine_reason) \
	S(wire_status_reply) \
	M(wire_begin_request, generation) \
	M(wire_begin_request, base_generation) \
	M(wire_begin_request, hash_key) \
	S(wire_begin_request) \
	M(wire_begin_reply, generation) \
	S(wire_begin_reply) \
	M(wire_services_request, n_records) \
	M(wire_services_request, reserved) \
	E(wire_services_request, record) \
	S(wire_services_request) \
	M(wire_services_reply, n_records) \
	M(wire_services_reply, reserved) \
	S(wire_services_reply) \
	M(wire_service_delete_request, service) \
	S(wire_service_delete_request) \
	M(wire_service_delete_reply, n_backends) \
	M(wire_service_delete_reply, reserved) \
	S(wire_service_delete_reply) \
	M(wire_backends_request, n_records) \
	M(wire_backends_request, reserved) \
	E(wire_backends_request, record) \
	S(wire_backends_request) \
	M(wire_backends_reply, n_records) \
	M(wire_backends_reply, reserved) \
	S(wire_backends_reply) \
	M(wire_backend_delete_request, service) \
	M(wire_backend_delete_request, addr) \
	M(wire_backend_delete_request, port) \
	M(wire_backend_delete_request, reserved) \
	S(wire_backend_delete_request) \
	M(wire_backend_delete_reply, reserved) \
	S(wire_backend_delete_reply) \
	M(wire_listed_request, n_records) \
	M(wire_listed_request, reserved) \
	E(wire_listed_request, record) \
	S(wire_listed_request) \
	M(wire_listed_reply, n_records) \
	M(wire_listed_reply, reserved) \
	S(wire_listed_reply) \
	M(wire_commit_request, is_dry_run) \
	M(wire_commit_request, reserved) \
	S(wire_commit_request) \
	M(wire_commit_reply, generation) \
	M(wire_commit_reply, digest) \
	M(wire_commit_reply, duration_ns) \
	M(wire_commit_reply, n_tables_built) \
	M(wire_commit_reply, reserved) \
	S(wire_commit_reply) \
	M(wire_abort_request, reserved) \
	S(wire_abort_request) \
	M(wire_abort_reply, reserved) \
	S(wire_abort_reply) \
	M(wire_counters_request, worker) \
	M(wire_counters_request, reserved) \
	S(wire_counters_request) \
	M(wire_counters_reply, n_verdicts) \
	M(wire_counters_reply, n_events) \
	M(wire_counters_reply, verdict) \
	M(wire_counters_reply, event) \
	S(wire_counters_reply) \
	M(wire_service_counters_request, service) \
	S(wire_service_counters_request) \
	M(wire_service_counters_reply, flows) \
	M(wire_service_counters_reply, packets_in) \
	M(wire_service_counters_reply, bytes_in) \
	M(wire_service_counters_reply, packets_out) \
	M(wire_service_counters_reply, bytes_out) \
	M(wire_service_counters_reply, drops) \
	S(wire_service_counters_reply) \
	M(wire_backend_counters_request, service) \
	M(wire_backend_counters_request, first) \
	S(wire_backend_counters_request) \
	M(wire_backend_counters_record, addr) \
	M(wire_backend_counters_record, port) \
	M(wire_backend_counters_record, state) \
	M(wire_backend_counters_record, health) \
	M(wire_backend_counters_record, weight) \
	M(wire_backend_counters_record, n_slots) \
	M(wire_backend_counters_record, has_neighbour) \
	M(wire_backend_counters_record, flows) \
	M(wire_backend_counters_record, flows_ended) \
	M(wire_backend_counters_record, packets_in) \
	M(wire_backend_counters_record, bytes_in) \
	M(wire_backend_counters_record, packets_out) \
	M(wire_backend_counters_record, bytes_out) \
	M(wire_backend_counters_record, syns) \
	M(wire_backend_counters_record, syn_acks) \
	M(wire_backend_counters_record, refused) \
	M(wire_backend_counters_record, unanswered) \
	M(wire_backend_counters_record, resets) \
	M(wire_backend_counters_record, syn_ack_us) \
	M(wire_backend_counters_record, flows_open) \
	M(wire_backend_counters_record, source_flows) \
	S(wire_backend_counters_record) \
	M(wire_backend_counters_reply, n_records) \
	M(wire_backend_counters_reply, next) \
	E(wire_backend_counters_reply, record) \
	S(wire_backend_counters_reply) \
	M(wire_flow_filter, service) \
	M(wire_flow_filter, client) \
	M(wire_flow_filter, client_port) \
	M(wire_flow_filter, client_family) \
	M(wire_flow_filter, reserved) \
	S(wire_flow_filter) \
	M(wire_flows_request, filter) \
	M(wire_flows_request, limit) \
	M(wire_flows_request, cursor) \
	S(wire_flows_request) \
	M(wire_flow_record, client) \
	M(wire_flow_record, service) \
	M(wire_flow_record, source) \
	M(wire_flow_record, backend) \
	M(wire_flow_record, client_port) \
	M(wire_flow_record, service_port) \
	M(wire_flow_record, source_port) \
	M(wire_flow_record, backend_port) \
	M(wire_flow_record, family) \
	M(wire_flow_record, protocol) \
	M(wire_flow_record, state) \
	M(wire_flow_record, worker) \
	M(wire_flow_record, idle_ms) \
	M(wire_flow_record, timeout_ms) \
	M(wire_flow_record, reserved) \
	S(wire_flow_record) \
	M(wire_flows_reply, n_records) \
	M(wire_flows_reply, reserved) \
	M(wire_flows_reply, next) \
	E(wire_flows_reply, record) \
	S(wire_flows_reply) \
	M(wire_flow_count_request, filter) \
	S(wire_flow_count_request) \
	M(wire_flow_count_reply, ipv4) \
	M(wire_flow_count_reply, ipv6) \
	M(wire_flow_count_reply, embryonic) \
	M(wire_flow_count_reply, capacity) \
	S(wire_flow_count_reply) \
	M(wire_explain_request, source) \
	M(wire_explain_request, destination) \
	M(wire_explain_request, source_port) \
	M(wire_explain_request, destination_port) \
	M(wire_explain_request, family) \
	M(wire_explain_request, protocol) \
	M(wire_explain_request, reserved) \
	S(wire_explain_request) \
	M(wire_explain_step, step) \
	M(wire_explain_step, text) \
	S(wire_explain_step) \
	M(wire_explain_reply, n_steps) \
	M(wire_explain_reply, verdict) \
	M(wire_explain_reply, hash) \
	M(wire_explain_reply, slot) \
	M(wire_explain_reply, has_flow) \
	M(wire_explain_reply, backend) \
	M(wire_explain_reply, backend_port) \
	M(wire_explain_reply, family) \
	M(wire_explain_reply, reserved) \
	E(wire_explain_reply, step) \
	S(wire_explain_reply) \
	M(wire_ports_request, reserved) \
	S(wire_ports_request) \
	M(wire_port_record, name) \
	M(wire_port_record, driver) \
	M(wire_port_record, kernel_interface) \
	M(wire_port_record, mac) \
	M(wire_port_record, is_up) \
	M(wire_port_record, reserved) \
	M(wire_port_record, speed_mbps) \
	M(wire_port_record, mtu) \
	M(wire_port_record, rx_packets) \
	M(wire_port_record, rx_bytes) \
	M(wire_port_record, rx_missed) \
	M(wire_port_record, rx_nombuf) \
	M(wire_port_record, tx_packets) \
	M(wire_port_record, tx_bytes) \
	M(wire_port_record, tx_errors) \
	M(wire_port_record, buffers_in_use) \
	S(wire_port_record) \
	M(wire_ports_reply, n_records) \
	M(wire_ports_reply, reserved) \
	E(wire_ports_reply, record) \
	S(wire_ports_reply) \
	M(wire_workers_request, begins_anew) \
	S(wire_workers_request) \
	M(wire_worker_record, core) \
	M(wire_worker_record, state) \
	M(wire_worker_record, loops) \
	M(wire_worker_record, busy_loops) \
	M(wire_worker_record, flows) \
	M(wire_worker_record, heartbeat_age_ns) \
	M(wire_worker_record, longest_loop_ns) \
	M(wire_worker_record, busy_ns) \
	M(wire_worker_record, full_loops) \
	S(wire_worker_record) \
	M(wire_workers_reply, n_records) \
	M(wire_workers_reply, reserved) \
	E(wire_workers_reply, record) \
	S(wire_workers_reply) \
	M(wire_plan_request, reserved) \
	S(wire_plan_request) \
	M(wire_plan_reply, digest) \
	M(wire_plan_reply, duration_ns) \
	M(wire_plan_reply, memory_now) \
	M(wire_plan_reply, memory_after) \
	M(wire_plan_reply, n_tables_built) \
	M(wire_plan_reply, n_services) \
	M(wire_plan_reply, n_backends) \
	M(wire_plan_reply, is_new_key) \
	S(wire_plan_reply) \
	M(wire_plan_fates, stay) \
	M(wire_plan_fates, reset) \
	M(wire_plan_fates, move) \
	M(wire_plan_fates, off_pool) \
	S(wire_plan_fates) \
	M(wire_plan_flows_request, cursor) \
	S(wire_plan_flows_request) \
	M(wire_plan_flows_reply, next) \
	M(wire_plan_flows_reply, flows) \
	S(wire_plan_flows_reply) \
	M(wire_plan_services_request, first) \
	M(wire_plan_services_request, reserved) \
	S(wire_plan_services_request) \
	M(wire_plan_service, address) \
	M(wire_plan_service, change) \
	M(wire_plan_service, mode) \
	M(wire_plan_service, reserved) \
	M(wire_plan_service, slots_now) \
	M(wire_plan_service, slots_after) \
	M(wire_plan_service, slots_moved) \
	M(wire_plan_service, backends_now) \
	M(wire_plan_service, backends_after) \
	M(wire_plan_service, usable_now) \
	M(wire_plan_service, usable_after) \
	M(wire_plan_service, n_records) \
	M(wire_plan_service, ports_now) \
	M(wire_plan_service, ports_after) \
	M(wire_plan_service, flows) \
	M(wire_plan_service, name) \
	S(wire_plan_service) \
	M(wire_plan_services_reply, n_records) \
	M(wire_plan_services_reply, next) \
	E(wire_plan_services_reply, record) \
	S(wire_plan_services_reply) \
	M(wire_plan_backends_request, first) \
	M(wire_plan_backends_request, reserved) \
	S(wire_plan_backends_request) \
	M(wire_plan_backend, addr) \
	M(wire_plan_backend, port) \
	M(wire_plan_backend, change) \
	M(wire_plan_backend, reserved) \
	M(wire_plan_backend, slots_now) \
	M(wire_plan_backend, slots_after) \
	M(wire_plan_backend, slots_left) \
	M(wire_plan_backend, slots_came) \
	M(wire_plan_backend, reserved2) \
	M(wire_plan_backend, flows) \
	S(wire_plan_backend) \
	M(wire_plan_backends_reply, n_records) \
	M(wire_plan_backends_reply, next) \
	E(wire_plan_backends_reply, record) \
	S(wire_plan_backends_reply) \
	M(wire_capture_end, addr) \
	M(wire_capture_end, port) \
	M(wire_capture_end, family) \
	M(wire_capture_end, protocol) \
	M(wire_capture_end, length) \
	M(wire_capture_end, reserved) \
	S(wire_capture_end) \
	M(wire_capture_begin_request, count) \
	M(wire_capture_begin_request, service) \
	M(wire_capture_begin_request, client) \
	M(wire_capture_begin_request, backend) \
	M(wire_capture_begin_request, snaplen) \
	M(wire_capture_begin_request, verdict) \
	M(wire_capture_begin_request, port) \
	M(wire_capture_begin_request, direction) \
	M(wire_capture_begin_request, reserved) \
	S(wire_capture_begin_request) \
	M(wire_capture_begin_reply, id) \
	S(wire_capture_begin_reply) \
	M(wire_capture_read_request, id) \
	S(wire_capture_read_request) \
	M(wire_capture_read_reply, n_packets) \
	M(wire_capture_read_reply, n_lost) \
	M(wire_capture_read_reply, n_bytes) \
	M(wire_capture_read_reply, is_over) \
	E(wire_capture_read_reply, byte) \
	S(wire_capture_read_reply) \
	M(wire_capture_stop_request, id) \
	S(wire_capture_stop_request) \
	M(wire_capture_stop_reply, reserved) \
	S(wire_capture_stop_reply) \
	M(wire_affinities_request, first) \
	M(wire_affinities_request, reserved) \
	S(wire_affinities_request) \
	M(wire_affinity_record, service) \
	M(wire_affinity_record, n_entries) \
	S(wire_affinity_record) \
	M(wire_affinities_reply, n_records) \
	M(wire_affinities_reply, next) \
	E(wire_affinities_reply, record) \
	S(wire_affinities_reply) \
	M(wire_affinity_clear_request, service) \
	S(wire_affinity_clear_request) \
	M(wire_affinity_clear_reply, n_entries) \
	M(wire_affinity_clear_reply, reserved) \
	S(wire_affinity_clear_reply) \
	M(wire_backend_openings_request, service) \
	M(wire_backend_openings_request, first) \
	S(wire_backend_openings_request) \
	M(wire_backend_openings_record, addr) \
	M(wire_backend_openings_record, port) \
	M(wire_backend_openings_record, reserved) \
	M(wire_backend_openings_record, syns) \
	M(wire_backend_openings_record, syn_acks) \
	M(wire_backend_openings_record, refused) \
	M(wire_backend_openings_record, unanswered) \
	M(wire_backend_openings_record, resets) \
	S(wire_backend_openings_record) \
	M(wire_backend_openings_reply, n_records) \
	M(wire_backend_openings_reply, next) \
	E(wire_backend_openings_reply, record) \
	S(wire_backend_openings_reply)
/* clang-format on */

enum {
	ABI_TEXT_BYTES = 32768,
};

static char abi_text[ABI_TEXT_BYTES];
static pthread_once_t abi_once = PTHREAD_ONCE_INIT;

static void build_abi_text(void)
{
	size_t used = 0;

#define PUT(...)                                                                                   \
	do {                                                                                       \
		if (used < sizeof(abi_text))                                                       \
			used += (size_t)snprintf(abi_text + used, sizeof(abi_text) - used,         \
						 __VA_ARGS__);                                     \
	} while (0)
#define X(upper, lower, number, sense) PUT("message %d %s\n", number, #lower);
	PUT("version %d\n", WIRE_VERSION);
	WIRE_MESSAGE_LIST(X)
#undef X
#define M(type, member)                                                                            \
	PUT("%s.%s %zu %zu\n", #type, #member, offsetof(struct type, member),                      \
	    sizeof(((struct type *)0)->member));
#define E(type, member) PUT("%s.%s %zu records\n", #type, #member, offsetof(struct type, member));
#define S(type)         PUT("%s %zu\n", #type, sizeof(struct type));
	WIRE_MEMBER_LIST(M, E, S)
#undef M
#undef E
#undef S
	/* The meaning of the numbers in wire_counters_reply is part of the layout. */
#define X(upper, lower, help) PUT("verdict %s\n", #lower);
	SL_VERDICT_LIST(X)
#undef X
#define X(upper, lower, unit, help) PUT("event %s\n", #lower);
	SL_EVENT_LIST(X)
#undef X
}

const char *wire_abi_text(void)
{
	pthread_once(&abi_once, build_abi_text);
	return abi_text;
}

uint64_t wire_abi_hash(void)
{
	const char *text = wire_abi_text();

	return wire_digest(text, strlen(text));
}

uint64_t wire_digest(const void *bytes, size_t size)
{
	const struct sl_hash_key key = {{0, 0}};
	const uint8_t *at = bytes;
	struct sl_siphash hash;
	uint64_t tail = 0;

	sl_siphash13_init(&hash, &key);
	for (; size - (size_t)(at - (const uint8_t *)bytes) >= 8; at += 8) {
		uint64_t word;

		memcpy(&word, at, sizeof(word));
		sl_siphash13_word(&hash, word);
	}
	memcpy(&tail, at, size % 8);
	return sl_siphash13_fini_tail(&hash, tail, size);
}

static const char *name_of(const char *const *name, size_t n, uint8_t number)
{
	return number < n && name[number] != NULL ? name[number] : "unknown";
}

static uint8_t number_of(const char *const *name, size_t n, const char *word)
{
	for (uint8_t i = 1; i < n; i++)
		if (name[i] != NULL && strcmp(name[i], word) == 0)
			return i;
	return 0;
}

static const char *const state_name[] = {
	[WIRE_STATE_READY] = "ready",
	[WIRE_STATE_DRAIN] = "drain",
	[WIRE_STATE_MAINT] = "maint",
};
static const char *const health_name[] = {
	[WIRE_HEALTH_UP] = "up",
	[WIRE_HEALTH_DOWN] = "down",
	[WIRE_HEALTH_DOWN_KEEP] = "down",
};
static const char *const mode_name[] = {
	[WIRE_MODE_NAT] = "nat",
	[WIRE_MODE_FULLNAT] = "fullnat",
	[WIRE_MODE_SNAT] = "snat",
};
static const char *const scheduler_name[] = {
	[WIRE_SCHEDULER_MAGLEV] = "maglev",
	[WIRE_SCHEDULER_SOURCE_HASH] = "source_hash",
	[WIRE_SCHEDULER_ROUND_ROBIN] = "round_robin",
	[WIRE_SCHEDULER_LEAST_CONNECTIONS] = "least_connections",
};
static const char *const proxy_protocol_name[] = {
	[WIRE_PROXY_NONE] = "none",
	[WIRE_PROXY_V2] = "v2",
};
static const char *const list_name[] = {
	[WIRE_DENY_SOURCE] = "deny_source",
	[WIRE_DENY_DESTINATION] = "deny_destination",
	[WIRE_CANARY_SOURCE] = "canary.sources",
};
static const char *const flow_state_name[] = {
#define X(upper, lower) #lower,
	SL_FLOW_STATE_LIST(X)
#undef X
};

const char *wire_type_name(uint16_t type)
{
	switch (type) {
#define X(upper, lower, number, sense)                                                             \
	case number:                                                                               \
		return #lower;
		WIRE_MESSAGE_LIST(X)
#undef X
	default:
		return "unknown";
	}
}

const char *wire_state_name(uint8_t state)
{
	return name_of(state_name, SL_ARRAY_LEN(state_name), state);
}

const char *wire_health_name(uint8_t health)
{
	return name_of(health_name, SL_ARRAY_LEN(health_name), health);
}

const char *wire_mode_name(uint8_t mode)
{
	return name_of(mode_name, SL_ARRAY_LEN(mode_name), mode);
}

const char *wire_scheduler_name(uint8_t scheduler)
{
	return name_of(scheduler_name, SL_ARRAY_LEN(scheduler_name), scheduler);
}

const char *wire_proxy_protocol_name(uint8_t proxy_protocol)
{
	return name_of(proxy_protocol_name, SL_ARRAY_LEN(proxy_protocol_name), proxy_protocol);
}

const char *wire_worker_state_name(uint32_t state)
{
	switch ((enum wire_worker_state)state) {
	case WIRE_WORKER_RUNNING:
		return "running";
	case WIRE_WORKER_LEAVING:
		return "leaving";
	case WIRE_WORKER_PARKED:
		return "parked";
	}
	return "unknown";
}

const char *wire_list_name(uint8_t which)
{
	return name_of(list_name, SL_ARRAY_LEN(list_name), which);
}

const char *wire_flow_state_name(uint8_t state)
{
	return name_of(flow_state_name, SL_ARRAY_LEN(flow_state_name), state);
}

uint8_t wire_state_from_name(const char *name)
{
	return number_of(state_name, SL_ARRAY_LEN(state_name), name);
}

uint8_t wire_mode_from_name(const char *name)
{
	return number_of(mode_name, SL_ARRAY_LEN(mode_name), name);
}

uint8_t wire_scheduler_from_name(const char *name)
{
	return number_of(scheduler_name, SL_ARRAY_LEN(scheduler_name), name);
}

static const char *const verdict_name[SL_N_VERDICTS] = {
#define X(upper, lower, help) [SL_VERDICT_##upper] = #lower,
	SL_VERDICT_LIST(X)
#undef X
};

const char *wire_verdict_name(uint32_t verdict)
{
	return verdict < SL_N_VERDICTS ? verdict_name[verdict] : "unknown";
}

bool wire_verdict_from_name(const char *name, uint8_t *number)
{
	for (uint8_t i = 0; i < SL_N_VERDICTS; i++) {
		if (strcmp(verdict_name[i], name) != 0)
			continue;
		*number = i;
		return true;
	}
	return false;
}

bool wire_proxy_protocol_from_name(const char *name, uint8_t *number)
{
	uint8_t found = number_of(proxy_protocol_name, SL_ARRAY_LEN(proxy_protocol_name), name);

	if (found == 0 && strcmp(name, proxy_protocol_name[WIRE_PROXY_NONE]) != 0)
		return false;
	*number = found;
	return true;
}

/* @value in decimals at @at; returns what is behind them. */
static char *put_number(char *at, uint32_t value)
{
	char digit[10];
	size_t n = 0;

	do {
		digit[n++] = (char)('0' + value % 10);
		value /= 10;
	} while (value != 0);
	while (n > 0)
		*at++ = digit[--n];
	return at;
}

/* As inet_ntop() has it, which asks printf() four times: lists have a hundred thousand of them. */
static void format_ipv4(const union sl_addr *addr, char *text)
{
	for (size_t i = 0; i < 4; i++) {
		text = put_number(text, addr->byte[i]);
		*text++ = i < 3 ? '.' : '\0';
	}
}

const char *wire_format_addr(const union sl_addr *addr, uint8_t family,
			     char text[static WIRE_ADDRESS_TEXT])
{
	if (family != SL_FAMILY_IPV6)
		format_ipv4(addr, text);
	else if (inet_ntop(AF_INET6, addr->byte, text, WIRE_ADDRESS_TEXT) == NULL)
		snprintf(text, WIRE_ADDRESS_TEXT, "?");
	return text;
}

const char *wire_format_prefix(const union sl_addr *addr, uint32_t length, uint8_t family,
			       char text[static WIRE_ADDRESS_TEXT])
{
	size_t used;

	wire_format_addr(addr, family, text);
	used = strlen(text);
	snprintf(text + used, WIRE_ADDRESS_TEXT - used, "/%u", length);
	return text;
}

bool wire_has_bits_beyond(const union sl_addr *addr, uint32_t length, uint8_t family)
{
	uint32_t n_bits = family == SL_FAMILY_IPV4 ? 32 : 128;

	for (uint32_t bit = length; bit < n_bits; bit++)
		if (addr->byte[bit / 8] >> (7 - bit % 8) & 1)
			return true;
	return false;
}

int wire_compare_listed(const struct wire_listed *a, const struct wire_listed *b)
{
	int order = a->list - b->list;

	if (order == 0)
		order = a->family - b->family;
	if (order == 0)
		order = memcmp(&a->addr, &b->addr, sizeof(a->addr));
	return order != 0 ? order : a->length - b->length;
}

const char *wire_format_endpoint(const union sl_addr *addr, be16_t port, uint8_t family,
				 char text[static WIRE_ADDRESS_TEXT])
{
	bool is_bracketed = family == SL_FAMILY_IPV6;
	char *end;

	_Static_assert(WIRE_ADDRESS_TEXT >= INET6_ADDRSTRLEN + sizeof("[]:65535"), "room");
	wire_format_addr(addr, family, text + is_bracketed);
	if (is_bracketed)
		text[0] = '[';
	end = text + strlen(text);
	if (is_bracketed)
		*end++ = ']';
	*end++ = ':';
	*put_number(end, sl_from_be16(port)) = '\0';
	return text;
}

bool wire_prefix_has(const struct wire_address *prefix, const union sl_addr *addr)
{
	uint32_t length = wire_prefix_length(prefix);
	uint32_t n_bytes = length / 8;
	uint32_t n_bits = length % 8;

	if (memcmp(prefix->addr.byte, addr->byte, n_bytes) != 0)
		return false;
	return n_bits == 0 ||
	       (prefix->addr.byte[n_bytes] ^ addr->byte[n_bytes]) >> (8 - n_bits) == 0;
}

const char *wire_format_address(const struct wire_address *address,
				char text[static WIRE_ADDRESS_TEXT])
{
	size_t used;

	if (wire_is_prefix(address))
		return wire_format_prefix(&address->addr, wire_prefix_length(address),
					  address->family, text);
	wire_format_endpoint(&address->addr, address->port, address->family, text);
	used = strlen(text);
	if (address->protocol == SL_PROTOCOL_TCP || address->protocol == SL_PROTOCOL_UDP)
		snprintf(text + used, WIRE_ADDRESS_TEXT - used, "/%s",
			 address->protocol == SL_PROTOCOL_TCP ? "tcp" : "udp");
	else
		snprintf(text + used, WIRE_ADDRESS_TEXT - used, "/%u", address->protocol);
	return text;
}
