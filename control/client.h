/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * Typed, synchronous calls over the private socket of a dataplane (wire.h). One object is one
 * connection and belongs to one thread.
 *
 * Every call returns 0 or a negative errno. -ENOTCONN: the connection is gone (never there, closed by
 * the peer, a timeout, or an answer that broke the protocol) and stays gone. Any other error is the
 * dataplane's refusal, and client_error() is its text.
 */
#pragma once

#include <stdint.h>

#include <sluice/base.h>
#include <sluice/wire.h>

struct client;

enum {
	CLIENT_TIMEOUT_MS = 10000,
	CLIENT_COMMIT_TIMEOUT_MS = 60000,
};

/**
 * Connects to @path and sends the greeting; never waits. On success the caller waits until
 * client_fd() is readable and calls client_greet(). @error: SL_MAX_ERROR bytes, without the path.
 */
int client_open(const char *path, struct client **out, char *error) SL_MUST_USE;

/** Receives the greeting's answer, waiting at most CLIENT_TIMEOUT_MS, and judges it. -EPROTO: refused. */
int client_greet(struct client *client) SL_MUST_USE;

/** client_open and client_greet in one, for callers that may wait. */
int client_connect(const char *path, struct client **out, char *error) SL_MUST_USE;

/** Closes and frees; NULL is allowed. */
void client_free(struct client *client);

/** The descriptor, to wait on, until client_free; once the connection is gone it reads as ended. */
int client_fd(const struct client *client);

/** True while the connection stands, looking whether the peer has closed it. Never waits. */
bool client_is_alive(struct client *client);

/** The text of the last error; borrowed until the next call. */
const char *client_error(const struct client *client);

/** What the peer said in its greeting; borrowed. */
const struct wire_hello_reply *client_hello(const struct client *client);

int client_status(struct client *client, struct wire_status_reply *reply) SL_MUST_USE;

int client_begin(struct client *client, uint64_t generation, uint64_t base_generation,
		 const struct sl_hash_key *key) SL_MUST_USE;

/** Any number of records; sent as many at a time as a message takes. */
int client_services(struct client *client, const struct wire_service *record,
		    size_t n_records) SL_MUST_USE;
int client_backends(struct client *client, const struct wire_backend *record,
		    size_t n_records) SL_MUST_USE;
int client_listed(struct client *client, const struct wire_listed *record,
		  size_t n_records) SL_MUST_USE;

int client_service_delete(struct client *client, const struct wire_address *service) SL_MUST_USE;
int client_backend_delete(struct client *client,
			  const struct wire_backend_delete_request *request) SL_MUST_USE;

/** Waits at most CLIENT_COMMIT_TIMEOUT_MS. */
int client_commit(struct client *client, bool is_dry_run,
		  struct wire_commit_reply *reply) SL_MUST_USE;
int client_abort(struct client *client) SL_MUST_USE;

/** Plans the transaction that is filled, instead of committing it. Waits as client_commit() does. */
int client_plan(struct client *client, struct wire_plan_reply *reply) SL_MUST_USE;
/** Counts flows from @cursor on. @reply->next: 0 when that was all. */
int client_plan_flows(struct client *client, uint64_t cursor,
		      struct wire_plan_flows_reply *reply) SL_MUST_USE;
/** One page each from position @first. @record: WIRE_MAX_RECORDS of them. @next: 0 when that was all. */
int client_plan_services(struct client *client, uint32_t first, struct wire_plan_service *record,
			 uint32_t *n_records, uint32_t *next) SL_MUST_USE;
int client_plan_backends(struct client *client, uint32_t first, struct wire_plan_backend *record,
			 uint32_t *n_records, uint32_t *next) SL_MUST_USE;

/** @worker: an index, or WIRE_ALL_WORKERS. */
int client_counters(struct client *client, uint32_t worker,
		    struct wire_counters_reply *reply) SL_MUST_USE;
int client_service_counters(struct client *client, const struct wire_address *service,
			    struct wire_service_counters_reply *reply) SL_MUST_USE;

/** One page from position @first. @record: WIRE_MAX_RECORDS of them. @next: 0 when that was all. */
int client_backend_counters(struct client *client, const struct wire_address *service,
			    uint32_t first, struct wire_backend_counters_record *record,
			    uint32_t *n_records, uint32_t *next) SL_MUST_USE;

int client_backend_openings(struct client *client, const struct wire_address *service,
			    uint32_t first, struct wire_backend_openings_record *record,
			    uint32_t *n_records, uint32_t *next) SL_MUST_USE;

/** One page. @limit: 1..WIRE_MAX_RECORDS, and so many of @record. @next: 0 when that was all. */
int client_flows(struct client *client, const struct wire_flow_filter *filter, uint32_t limit,
		 uint64_t cursor, struct wire_flow_record *record, uint32_t *n_records,
		 uint64_t *next) SL_MUST_USE;
int client_flow_count(struct client *client, const struct wire_flow_filter *filter,
		      struct wire_flow_count_reply *reply) SL_MUST_USE;

/** @step: @max_steps of them; more are dropped. @n_steps: how many came. */
int client_explain(struct client *client, const struct wire_explain_request *request,
		   struct wire_explain_reply *reply, struct wire_explain_step *step,
		   uint32_t max_steps, uint32_t *n_steps) SL_MUST_USE;

/** One page from position @first. @record: WIRE_MAX_RECORDS of them. @next: 0 when that was all. */
int client_affinities(struct client *client, uint32_t first, struct wire_affinity_record *record,
		      uint32_t *n_records, uint32_t *next) SL_MUST_USE;
/** Ends the affinity entries of @service. @n_entries: how many. */
int client_affinity_clear(struct client *client, const struct wire_address *service,
			  uint32_t *n_entries) SL_MUST_USE;

/** @record: SL_MAX_PORTS, SL_MAX_WORKERS of them. */
int client_capture_begin(struct client *client, const struct wire_capture_begin_request *request,
			 uint64_t *id) SL_MUST_USE;
/** @bytes: reply->n_bytes of them, borrowed until the next call. */
int client_capture_read(struct client *client, uint64_t id, struct wire_capture_read_reply *reply,
			const uint8_t **bytes) SL_MUST_USE;
int client_capture_stop(struct client *client, uint64_t id) SL_MUST_USE;

int client_ports(struct client *client, struct wire_port_record *record,
		 uint32_t *n_records) SL_MUST_USE;
/** @begins_anew: longest_loop_ns is from now on, once it was told. */
int client_workers(struct client *client, bool begins_anew, struct wire_worker_record *record,
		   uint32_t *n_records) SL_MUST_USE;
