/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * Messages of the private protocol: greeting, transactions, commit. A transaction works on a copy
 * of the committed state, so one that is refused or abandoned leaves nothing behind. Nothing in a
 * message is trusted. Reading of counters, flows and the like is in query.c.
 */
#include "dataplane/session.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "dataplane/capturing.h"
#include "dataplane/dataplane.h"
#include "dataplane/planning.h"
#include "dataplane/query.h"
#include "dataplane/session_internal.h"
#include "dataplane/snapshot.h"
#include "dataplane/staging.h"
#include "log/log.h"
#include "wire/wire_abi.h"

#ifndef SLUICE_VERSION
#define SLUICE_VERSION "unknown"
#endif

uint64_t session_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* What a former process of the engine left, or nothing. */
static int restore(struct sessions *sessions)
{
	char error[SL_MAX_ERROR] = "";
	int status = dataplane_restore(sessions->dataplane, sessions->stages.committed,
				       &sessions->snapshot, error);

	if (status != 0)
		log_err("%s", error);
	else if (sessions->snapshot != NULL)
		log_info("generation %llu of a former process goes on: %u services, %u backends",
			 (unsigned long long)sessions->snapshot->generation,
			 sessions->snapshot->n_live_services,
			 sessions->snapshot->n_live_backends - sessions->snapshot->n_outsides);
	return status;
}

struct sessions *sessions_new(struct dataplane *dataplane)
{
	struct sessions *sessions = calloc(1, sizeof(*sessions));

	if (sessions == NULL)
		return NULL;
	sessions->dataplane = dataplane;
	sessions->start_ns = session_now_ns();
	if (stages_init(&sessions->stages) != 0 ||
	    getrandom(&sessions->boot_id, sizeof(sessions->boot_id), 0) !=
		    sizeof(sessions->boot_id) ||
	    restore(sessions) != 0) {
		sessions_free(sessions);
		return NULL;
	}
	return sessions;
}

static void end_transaction(struct sessions *sessions)
{
	planning_end(sessions);
	stages_abandon(&sessions->stages);
	sessions->holder = NULL;
}

void sessions_free(struct sessions *sessions)
{
	if (sessions == NULL)
		return;
	planning_end(sessions);
	capturing_end(sessions);
	stages_fini(&sessions->stages);
	free(sessions);
}

struct session *session_new(struct sessions *sessions, int pid)
{
	struct session *session = calloc(1, sizeof(*session));

	if (session != NULL) {
		session->sessions = sessions;
		session->pid = pid;
	}
	return session;
}

void session_free(struct session *session)
{
	if (session == NULL)
		return;
	if (session->sessions->holder == session) {
		log_warn("transaction of pid %d: abandoned with its connection", session->pid);
		end_transaction(session->sessions);
	}
	capturing_leave(session);
	free(session);
}

void sessions_tick(struct sessions *sessions)
{
	capturing_expire(sessions);
}

static void handle_hello(struct session *session, const void *body, struct answer *answer)
{
	const struct wire_hello_request *request = body;
	const struct sessions *sessions = session->sessions;
	struct wire_hello_reply *reply = answer->body;

	if (request->magic != WIRE_MAGIC) {
		answer_refuse(answer, -EPROTO, "greeting: magic %08x (expected %08x)",
			      request->magic, (unsigned int)WIRE_MAGIC);
		return;
	}
	if (request->version != WIRE_VERSION || request->abi_hash != wire_abi_hash()) {
		answer_refuse(answer, -EPROTO,
			      "greeting: protocol %u with ABI %016llx (this dataplane: %u with "
			      "%016llx); install the same version of both programs",
			      request->version, (unsigned long long)request->abi_hash,
			      (unsigned int)WIRE_VERSION, (unsigned long long)wire_abi_hash());
		return;
	}
	session->is_greeted = true;
	reply->magic = WIRE_MAGIC;
	reply->version = WIRE_VERSION;
	reply->abi_hash = wire_abi_hash();
	reply->boot_id = sessions->boot_id;
	reply->generation = sessions->snapshot != NULL ? sessions->snapshot->generation : 0;
	reply->digest = sessions->snapshot != NULL ? sessions->snapshot->digest : 0;
	snprintf(reply->engine, sizeof(reply->engine), "%s", dataplane_engine());
	snprintf(reply->program_version, sizeof(reply->program_version), "%s", SLUICE_VERSION);
	reply->pid = (uint32_t)getpid();
	answer->length = sizeof(*reply);
}

static void handle_begin(struct session *session, const void *body, struct answer *answer)
{
	const struct wire_begin_request *request = body;
	struct sessions *sessions = session->sessions;
	uint64_t current = sessions->snapshot != NULL ? sessions->snapshot->generation : 0;
	struct wire_begin_reply *reply = answer->body;

	if (sessions->holder != NULL) {
		answer_refuse(answer, -EBUSY, "transaction: one of pid %d is under way",
			      sessions->holder->pid);
		return;
	}
	if (request->base_generation != 0 && request->base_generation != current) {
		answer_refuse(
			answer, -ESTALE, "transaction: based on generation %llu, current is %llu",
			(unsigned long long)request->base_generation, (unsigned long long)current);
		return;
	}
	/* A full state may carry any number: its control daemon knows better than we do. */
	if (request->generation == 0 ||
	    (request->base_generation != 0 && request->generation <= current)) {
		answer_refuse(answer, -EINVAL,
			      "transaction: generation %llu is not above the current %llu",
			      (unsigned long long)request->generation, (unsigned long long)current);
		return;
	}
	if (stages_begin(&sessions->stages, request->base_generation == 0) != 0) {
		answer_refuse(answer, -ENOMEM, "transaction: out of memory");
		return;
	}
	sessions->holder = session;
	sessions->draft_generation = request->generation;
	sessions->draft_key = request->hash_key;
	reply->generation = request->generation;
	answer->length = sizeof(*reply);
}

bool session_holds_transaction(const struct session *session, struct answer *answer)
{
	if (session->sessions->holder == session)
		return true;
	answer_refuse(answer, -EPROTO, "transaction: none is open on this connection");
	return false;
}

/* A message of a transaction that changes the draft. False: the answer says why not. */
static bool change(struct session *session, uint16_t type, const void *body, size_t size,
		   uint32_t *n, struct answer *answer)
{
	char error[SL_MAX_ERROR] = "";
	int status;

	if (!session_holds_transaction(session, answer))
		return false;
	if (session->sessions->plan != NULL) {
		answer_refuse(answer, -EPROTO, "transaction: it was planned, and takes no changes");
		return false;
	}
	status = stages_change(&session->sessions->stages, type, body, size, n, error);
	if (status != 0)
		answer_refuse(answer, status, "%s", error);
	return status == 0;
}

static void handle_services(struct session *session, const void *body, struct answer *answer)
{
	const struct wire_services_request *request = body;
	struct wire_services_reply *reply = answer->body;
	size_t size = sizeof(*request) + request->n_records * sizeof(request->record[0]);

	if (change(session, WIRE_SERVICES, body, size, &reply->n_records, answer))
		answer->length = sizeof(*reply);
}

static void handle_backends(struct session *session, const void *body, struct answer *answer)
{
	const struct wire_backends_request *request = body;
	struct wire_backends_reply *reply = answer->body;
	size_t size = sizeof(*request) + request->n_records * sizeof(request->record[0]);

	if (change(session, WIRE_BACKENDS, body, size, &reply->n_records, answer))
		answer->length = sizeof(*reply);
}

static void handle_listed(struct session *session, const void *body, struct answer *answer)
{
	const struct wire_listed_request *request = body;
	struct wire_listed_reply *reply = answer->body;
	size_t size = sizeof(*request) + request->n_records * sizeof(request->record[0]);

	if (change(session, WIRE_LISTED, body, size, &reply->n_records, answer))
		answer->length = sizeof(*reply);
}

static void handle_service_delete(struct session *session, const void *body, struct answer *answer)
{
	struct wire_service_delete_reply *reply = answer->body;

	if (change(session, WIRE_SERVICE_DELETE, body, sizeof(struct wire_service_delete_request),
		   &reply->n_backends, answer))
		answer->length = sizeof(*reply);
}

static void handle_backend_delete(struct session *session, const void *body, struct answer *answer)
{
	uint32_t n;

	if (change(session, WIRE_BACKEND_DELETE, body, sizeof(struct wire_backend_delete_request),
		   &n, answer))
		answer->length = sizeof(struct wire_backend_delete_reply);
}

/* Publishes @snapshot; from here on the draft is what is committed. */
static int publish(struct sessions *sessions, struct snapshot *snapshot, char *error)
{
	struct snapshot *former = NULL;
	int status = dataplane_commit(sessions->dataplane, snapshot, &former, error);

	if (status != 0)
		return status;
	sessions->snapshot = snapshot;
	snapshot_free(former);
	dataplane_save(sessions->dataplane, sessions->stages.draft, snapshot);
	stages_accept(&sessions->stages);
	return 0;
}

static void handle_commit(struct session *session, const void *body, struct answer *answer)
{
	const struct wire_commit_request *request = body;
	struct sessions *sessions = session->sessions;
	struct wire_commit_reply *reply = answer->body;
	uint64_t start_ns = session_now_ns();
	char error[SL_MAX_ERROR] = "";
	struct snapshot *snapshot;
	int status;

	if (!session_holds_transaction(session, answer))
		return;
	if (request->is_dry_run > 1) {
		answer_refuse(answer, -EINVAL, "commit: is_dry_run %u (limit 0..1)",
			      request->is_dry_run);
		return;
	}
	planning_end(sessions);
	status = snapshot_build(sessions->stages.draft, sessions->draft_generation,
				&sessions->draft_key, sessions->snapshot, &snapshot, error);
	if (status == 0) {
		reply->generation = snapshot->generation;
		reply->digest = snapshot->digest;
		reply->n_tables_built = snapshot->n_tables_built;
		if (request->is_dry_run)
			snapshot_free(snapshot);
		else if ((status = publish(sessions, snapshot, error)) != 0)
			snapshot_free(snapshot);
	}
	if (status != 0) {
		answer_refuse(answer, status, "%s", error);
		return;
	}
	end_transaction(sessions);
	reply->duration_ns = session_now_ns() - start_ns;
	if (!request->is_dry_run) {
		sessions->commit_ns = reply->duration_ns;
		log_debug("generation %llu: %u services, %u backends, %u tables built, %llu us",
			  (unsigned long long)reply->generation, snapshot->n_live_services,
			  snapshot->n_live_backends - snapshot->n_outsides, reply->n_tables_built,
			  (unsigned long long)reply->duration_ns / 1000);
	}
	answer->length = sizeof(*reply);
}

static void handle_abort(struct session *session, const void *body SL_UNUSED, struct answer *answer)
{
	if (!session_holds_transaction(session, answer))
		return;
	end_transaction(session->sessions);
	answer->length = sizeof(struct wire_abort_reply);
}

/* Where a message's reserved bytes stand: offset, size. */
#define RESERVED(type, member) offsetof(type, member), sizeof(((type *)0)->member)
#define NO_RESERVED            0, 0

/*
 * One row a message: its size, the size of its records if it has them, its reserved bytes, whether
 * it belongs in a transaction, who handles it. Records' reserved bytes are judged with the records.
 */
static const struct message_kind {
	size_t size;
	size_t record_size;
	size_t reserved_at;
	size_t reserved_size;
	bool is_change;
	void (*handle)(struct session *session, const void *body, struct answer *answer);
} kinds[] = {
	[WIRE_HELLO] = {sizeof(struct wire_hello_request), 0, NO_RESERVED, false, handle_hello},
	[WIRE_STATUS] = {sizeof(struct wire_status_request), 0,
			 RESERVED(struct wire_status_request, reserved), false, query_status},
	[WIRE_BEGIN] = {sizeof(struct wire_begin_request), 0, NO_RESERVED, false, handle_begin},
	[WIRE_SERVICES] = {sizeof(struct wire_services_request), sizeof(struct wire_service),
			   RESERVED(struct wire_services_request, reserved), true, handle_services},
	[WIRE_SERVICE_DELETE] = {sizeof(struct wire_service_delete_request), 0, NO_RESERVED, true,
				 handle_service_delete},
	[WIRE_BACKENDS] = {sizeof(struct wire_backends_request), sizeof(struct wire_backend),
			   RESERVED(struct wire_backends_request, reserved), true, handle_backends},
	[WIRE_BACKEND_DELETE] = {sizeof(struct wire_backend_delete_request), 0, NO_RESERVED, true,
				 handle_backend_delete},
	[WIRE_COMMIT] = {sizeof(struct wire_commit_request), 0,
			 RESERVED(struct wire_commit_request, reserved), true, handle_commit},
	[WIRE_ABORT] = {sizeof(struct wire_abort_request), 0,
			RESERVED(struct wire_abort_request, reserved), true, handle_abort},
	[WIRE_COUNTERS] = {sizeof(struct wire_counters_request), 0,
			   RESERVED(struct wire_counters_request, reserved), false, query_counters},
	[WIRE_SERVICE_COUNTERS] = {sizeof(struct wire_service_counters_request), 0, NO_RESERVED,
				   false, query_service_counters},
	[WIRE_BACKEND_COUNTERS] = {sizeof(struct wire_backend_counters_request), 0, NO_RESERVED,
				   false, query_backend_counters},
	[WIRE_FLOWS] = {sizeof(struct wire_flows_request), 0,
			RESERVED(struct wire_flows_request, filter.reserved), false, query_flows},
	[WIRE_FLOW_COUNT] = {sizeof(struct wire_flow_count_request), 0,
			     RESERVED(struct wire_flow_count_request, filter.reserved), false,
			     query_flow_count},
	[WIRE_EXPLAIN] = {sizeof(struct wire_explain_request), 0,
			  RESERVED(struct wire_explain_request, reserved), false, query_explain},
	[WIRE_PORTS] = {sizeof(struct wire_ports_request), 0,
			RESERVED(struct wire_ports_request, reserved), false, query_ports},
	[WIRE_LISTED] = {sizeof(struct wire_listed_request), sizeof(struct wire_listed),
			 RESERVED(struct wire_listed_request, reserved), true, handle_listed},
	[WIRE_WORKERS] = {sizeof(struct wire_workers_request), 0, NO_RESERVED, false,
			  query_workers},
	[WIRE_PLAN] = {sizeof(struct wire_plan_request), 0,
		       RESERVED(struct wire_plan_request, reserved), true, planning_make},
	[WIRE_PLAN_FLOWS] = {sizeof(struct wire_plan_flows_request), 0, NO_RESERVED, true,
			     planning_flows},
	[WIRE_PLAN_SERVICES] = {sizeof(struct wire_plan_services_request), 0,
				RESERVED(struct wire_plan_services_request, reserved), true,
				planning_services},
	[WIRE_PLAN_BACKENDS] = {sizeof(struct wire_plan_backends_request), 0,
				RESERVED(struct wire_plan_backends_request, reserved), true,
				planning_backends},
	[WIRE_CAPTURE_BEGIN] = {sizeof(struct wire_capture_begin_request), 0,
				RESERVED(struct wire_capture_begin_request, reserved), false,
				capturing_begin},
	[WIRE_CAPTURE_READ] = {sizeof(struct wire_capture_read_request), 0, NO_RESERVED, false,
			       capturing_read},
	[WIRE_CAPTURE_STOP] = {sizeof(struct wire_capture_stop_request), 0, NO_RESERVED, false,
			       capturing_stop},
	[WIRE_AFFINITIES] = {sizeof(struct wire_affinities_request), 0,
			     RESERVED(struct wire_affinities_request, reserved), false,
			     query_affinities},
	[WIRE_AFFINITY_CLEAR] = {sizeof(struct wire_affinity_clear_request), 0, NO_RESERVED, false,
				 query_affinity_clear},
	[WIRE_BACKEND_OPENINGS] = {sizeof(struct wire_backend_openings_request), 0, NO_RESERVED,
				   false, query_backend_openings},
};

static bool is_zero(const uint8_t *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (bytes[i] != 0)
			return false;
	return true;
}

/* Judges the shape of a message whose header is whole. False: the answer says why. */
static bool judge_shape(const struct session *session, const struct wire_header *header,
			const void *body, struct answer *answer)
{
	const struct message_kind *kind;
	size_t length = header->length - sizeof(*header);
	uint32_t n_records = 0;

	if (header->type == 0 || header->type >= SL_ARRAY_LEN(kinds)) {
		answer_refuse(answer, -EOPNOTSUPP, "message: type %u (known: 1..%zu)", header->type,
			      SL_ARRAY_LEN(kinds) - 1);
		return false;
	}
	kind = &kinds[header->type];
	if (header->reserved != 0 || header->status != 0) {
		answer_refuse(answer, -EINVAL, "message %s: reserved members are not zero",
			      wire_type_name(header->type));
		return false;
	}
	if (!session->is_greeted && header->type != WIRE_HELLO) {
		answer_refuse(answer, -EPROTO, "message %s: the greeting comes first",
			      wire_type_name(header->type));
		return false;
	}
	if (length < kind->size) {
		answer_refuse(answer, -EINVAL, "message %s: %zu bytes (expected %zu)",
			      wire_type_name(header->type), length, kind->size);
		return false;
	}
	if (!is_zero((const uint8_t *)body + kind->reserved_at, kind->reserved_size)) {
		answer_refuse(answer, -EINVAL, "message %s: reserved members are not zero",
			      wire_type_name(header->type));
		return false;
	}
	if (kind->record_size != 0) {
		/* All array types begin with n_records. */
		memcpy(&n_records, body, sizeof(n_records));
		if (n_records > WIRE_MAX_RECORDS) {
			answer_refuse(answer, -EINVAL, "message %s: %u records (limit %d)",
				      wire_type_name(header->type), n_records, WIRE_MAX_RECORDS);
			return false;
		}
	}
	if (length != kind->size + n_records * kind->record_size) {
		answer_refuse(answer, -EINVAL, "message %s: %zu bytes (expected %zu)",
			      wire_type_name(header->type), length,
			      kind->size + n_records * kind->record_size);
		return false;
	}
	return true;
}

size_t session_handle(struct session *session, const void *message, size_t length, void *reply)
{
	struct wire_header *out = reply;
	struct answer answer = {.body = out + 1};
	struct wire_header header;

	if (length < sizeof(header) || length > WIRE_MAX_MESSAGE)
		return 0;
	memcpy(&header, message, sizeof(header));
	if (header.length != length)
		return 0;
	memset(reply, 0, WIRE_MAX_MESSAGE);
	if (judge_shape(session, &header, (const uint8_t *)message + sizeof(header), &answer))
		kinds[header.type].handle(session, (const uint8_t *)message + sizeof(header),
					  &answer);
	/* All or nothing: what was done before a refusal is not to be committed without the rest. */
	if (answer.status != 0 && session->sessions->holder == session &&
	    header.type < SL_ARRAY_LEN(kinds) && kinds[header.type].is_change)
		end_transaction(session->sessions);
	*out = (struct wire_header){.length = (uint32_t)(sizeof(*out) + answer.length),
				    .type = header.type,
				    .id = header.id,
				    .status = answer.status};
	return out->length;
}
