/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * Messages that read: status, counters, flows, explanations, affinities. They change nothing, but for
 * the one that ends affinity entries, and say by name what they did not find.
 */
#include "dataplane/query.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "dataplane/dataplane.h"
#include "dataplane/flow_record.h"
#include "dataplane/session_internal.h"
#include "dataplane/snapshot.h"
#include "wire/wire_abi.h"

enum {
	MAX_COUNTED = 1 << 22, /* flows looked at for one filtered count */
};

void answer_refuse(struct answer *answer, int status, const char *format, ...)
{
	struct wire_error *error = answer->body;
	va_list values;

	memset(error, 0, sizeof(*error));
	va_start(values, format);
	vsnprintf(error->text, sizeof(error->text), format, values);
	va_end(values);
	answer->status = status;
	answer->length = sizeof(*error);
}

void query_status(struct session *session, const void *body SL_UNUSED, struct answer *answer)
{
	const struct sessions *sessions = session->sessions;
	struct wire_status_reply *reply = answer->body;

	dataplane_status(sessions->dataplane, reply);
	reply->boot_id = sessions->boot_id;
	reply->uptime_ns = session_now_ns() - sessions->start_ns;
	reply->commit_ns = sessions->commit_ns;
	if (sessions->snapshot != NULL) {
		reply->generation = sessions->snapshot->generation;
		reply->digest = sessions->snapshot->digest;
		reply->n_services = sessions->snapshot->n_live_services;
		reply->n_backends =
			sessions->snapshot->n_live_backends - sessions->snapshot->n_outsides;
	}
	snprintf(reply->engine, sizeof(reply->engine), "%s", dataplane_engine());
	answer->length = sizeof(*reply);
}

void query_counters(struct session *session, const void *body, struct answer *answer)
{
	const struct wire_counters_request *request = body;
	struct wire_counters_reply *reply = answer->body;
	int status = dataplane_counters(session->sessions->dataplane, request->worker, reply);

	if (status != 0)
		answer_refuse(answer, status, "worker %u: not found", request->worker);
	else
		answer->length = sizeof(*reply);
}

/* The index of @service, or SL_NO_INDEX with the answer a refusal. */
static uint32_t find_service(const struct sessions *sessions, const struct wire_address *service,
			     struct answer *answer)
{
	char text[WIRE_ADDRESS_TEXT];
	uint32_t index = SL_NO_INDEX;

	if (sessions->snapshot != NULL)
		index = snapshot_find_service(sessions->snapshot, &service->addr, service->port,
					      service->family, service->protocol);
	if (index == SL_NO_INDEX)
		answer_refuse(answer, -ENOENT, "service %s: not found",
			      wire_format_address(service, text));
	return index;
}

void query_service_counters(struct session *session, const void *body, struct answer *answer)
{
	const struct wire_service_counters_request *request = body;
	uint32_t index = find_service(session->sessions, &request->service, answer);

	if (index == SL_NO_INDEX)
		return;
	dataplane_service_counters(session->sessions->dataplane, index, answer->body);
	answer->length = sizeof(struct wire_service_counters_reply);
}

static void describe_member(const struct sessions *sessions, uint32_t service, uint32_t position,
			    uint32_t n_slots, struct wire_backend_counters_record *record)
{
	const struct snapshot *snapshot = sessions->snapshot;
	uint32_t member = snapshot->service[service].first_member + position;
	const struct sl_backend *backend = &snapshot->backend[snapshot->member[member]];

	dataplane_backend_counters(sessions->dataplane, snapshot->member[member], record);
	record->addr = backend->addr;
	record->port = backend->port;
	record->state = snapshot->member_state[member];
	record->health = snapshot->member_health[member];
	/* What the backend would have if it were ready is the control daemon's knowledge. */
	record->weight = snapshot->backend[snapshot->member[member]].weight[SL_AUDIENCE_ALL];
	record->n_slots = n_slots;
}

/* The end of the page of service @index from position @first; SL_NO_INDEX with the answer a refusal. */
static uint32_t end_of_page(const struct sessions *sessions, uint32_t index, uint32_t first,
			    struct answer *answer)
{
	uint32_t n_members = sessions->snapshot->service[index].n_members;

	if (first > n_members) {
		answer_refuse(answer, -EINVAL, "service %s: position %u (limit %u)",
			      sessions->snapshot->service_name[index], first, n_members);
		return SL_NO_INDEX;
	}
	return n_members - first > WIRE_MAX_RECORDS ? first + WIRE_MAX_RECORDS : n_members;
}

void query_backend_counters(struct session *session, const void *body, struct answer *answer)
{
	const struct wire_backend_counters_request *request = body;
	const struct sessions *sessions = session->sessions;
	struct wire_backend_counters_reply *reply = answer->body;
	uint32_t index = find_service(sessions, &request->service, answer);
	uint32_t n_slots[WIRE_MAX_RECORDS] = {0};
	const struct sl_service *service;
	uint32_t end;

	if (index == SL_NO_INDEX)
		return;
	end = end_of_page(sessions, index, request->first, answer);
	if (end == SL_NO_INDEX)
		return;
	service = &sessions->snapshot->service[index];
	for (uint32_t i = 0; i < service->n_slots; i++) {
		uint16_t position = sessions->snapshot->slots[index]->slot[i];

		if (position >= request->first && position < end)
			n_slots[position - request->first]++;
	}
	for (uint32_t i = request->first; i < end; i++)
		describe_member(sessions, index, i, n_slots[i - request->first],
				&reply->record[reply->n_records++]);
	reply->next = end < service->n_members ? end : 0;
	answer->length = sizeof(*reply) + reply->n_records * sizeof(reply->record[0]);
}

void query_backend_openings(struct session *session, const void *body, struct answer *answer)
{
	const struct wire_backend_openings_request *request = body;
	const struct sessions *sessions = session->sessions;
	const struct snapshot *snapshot = sessions->snapshot;
	struct wire_backend_openings_reply *reply = answer->body;
	uint32_t index = find_service(sessions, &request->service, answer);
	uint32_t end = index == SL_NO_INDEX ? SL_NO_INDEX
					    : end_of_page(sessions, index, request->first, answer);

	if (end == SL_NO_INDEX)
		return;
	for (uint32_t i = request->first; i < end; i++) {
		struct wire_backend_openings_record *record = &reply->record[reply->n_records++];
		uint32_t backend = snapshot->member[snapshot->service[index].first_member + i];
		struct sl_backend_openings openings;

		dataplane_backend_openings(sessions->dataplane, backend, &openings);
		record->addr = snapshot->backend[backend].addr;
		record->port = snapshot->backend[backend].port;
#define X(name, unit, help) record->name = openings.name;
		SL_BACKEND_OPENING_LIST(X)
#undef X
	}
	reply->next = end < snapshot->service[index].n_members ? end : 0;
	answer->length = sizeof(*reply) + reply->n_records * sizeof(reply->record[0]);
}

/** A page of records under way. */
struct page {
	const struct snapshot *snapshot;
	const struct wire_flow_filter *filter;
	struct wire_flow_record *record;
	uint32_t n_records;
	uint32_t limit;
};

static bool list_flow(void *context, const struct dataplane_flow *flow)
{
	struct page *page = context;

	if (flow_record_matches(page->snapshot, page->filter, flow->flow))
		flow_record_fill(page->snapshot, flow->flow, flow->worker, flow->now,
				 &page->record[page->n_records++]);
	return page->n_records < page->limit;
}

void query_flows(struct session *session, const void *body, struct answer *answer)
{
	const struct wire_flows_request *request = body;
	struct wire_flows_reply *reply = answer->body;
	struct page page = {.snapshot = session->sessions->snapshot,
			    .filter = &request->filter,
			    .record = reply->record,
			    .limit = request->limit};
	int status;

	if (request->limit == 0 || request->limit > WIRE_MAX_RECORDS) {
		answer_refuse(answer, -EINVAL, "flows: limit %u (limit 1..%d)", request->limit,
			      WIRE_MAX_RECORDS);
		return;
	}
	status = dataplane_visit_flows(session->sessions->dataplane, request->cursor, list_flow,
				       &page, &reply->next);
	reply->n_records = page.n_records;
	if (status != 0) {
		answer_refuse(answer, status, "flows: cursor %llu was never given out",
			      (unsigned long long)request->cursor);
		return;
	}
	answer->length = sizeof(*reply) + reply->n_records * sizeof(reply->record[0]);
}

/** A count of what a filter asks for. */
struct count {
	const struct snapshot *snapshot;
	const struct wire_flow_filter *filter;
	struct wire_flow_count_reply *reply;
};

static bool count_flow(void *context, const struct dataplane_flow *flow)
{
	struct count *count = context;

	if (!flow_record_matches(count->snapshot, count->filter, flow->flow))
		return true;
	count->reply->ipv4 += flow->flow->family == SL_FAMILY_IPV4;
	count->reply->ipv6 += flow->flow->family == SL_FAMILY_IPV6;
	count->reply->embryonic += flow->flow->state == SL_FLOW_EMBRYONIC;
	return true;
}

/* Counts by looking: only for a filter. */
static int count_flows(const struct sessions *sessions, const struct wire_flow_filter *filter,
		       struct wire_flow_count_reply *reply)
{
	struct count count = {sessions->snapshot, filter, reply};
	uint64_t cursor = 0;

	reply->ipv4 = 0;
	reply->ipv6 = 0;
	reply->embryonic = 0;
	while (reply->ipv4 + reply->ipv6 < MAX_COUNTED) {
		int status = dataplane_visit_flows(sessions->dataplane, cursor, count_flow, &count,
						   &cursor);

		if (status != 0)
			return status;
		if (cursor == 0)
			return 0;
	}
	return -E2BIG;
}

void query_flow_count(struct session *session, const void *body, struct answer *answer)
{
	const struct wire_flow_count_request *request = body;
	const struct wire_flow_filter everything = {0};
	struct wire_flow_count_reply *reply = answer->body;
	int status = 0;

	dataplane_flow_count(session->sessions->dataplane, reply);
	if (memcmp(&request->filter, &everything, sizeof(everything)) != 0)
		status = count_flows(session->sessions, &request->filter, reply);
	if (status != 0)
		answer_refuse(answer, status, "flows: more than %d match (limit)", MAX_COUNTED);
	else
		answer->length = sizeof(*reply);
}

void query_explain(struct session *session, const void *body, struct answer *answer)
{
	const struct wire_explain_request *request = body;
	struct wire_explain_reply *reply = answer->body;

	if (request->family != SL_FAMILY_IPV4 && request->family != SL_FAMILY_IPV6) {
		answer_refuse(answer, -EINVAL, "explain: family %u (allowed: 4, 6)",
			      request->family);
		return;
	}
	if (request->protocol != SL_PROTOCOL_TCP && request->protocol != SL_PROTOCOL_UDP) {
		answer_refuse(answer, -EINVAL, "explain: protocol %u (allowed: tcp, udp)",
			      request->protocol);
		return;
	}
	dataplane_explain(session->sessions->dataplane, request, reply, reply->step);
	answer->length = sizeof(*reply) + reply->n_steps * sizeof(reply->step[0]);
}

void query_ports(struct session *session, const void *body SL_UNUSED, struct answer *answer)
{
	struct wire_ports_reply *reply = answer->body;

	reply->n_records = dataplane_ports(session->sessions->dataplane, reply->record);
	answer->length = sizeof(*reply) + reply->n_records * sizeof(reply->record[0]);
}

void query_workers(struct session *session, const void *body, struct answer *answer)
{
	const struct wire_workers_request *request = body;
	struct wire_workers_reply *reply = answer->body;

	if (request->begins_anew > 1) {
		answer_refuse(answer, -EINVAL, "workers: begins_anew %u (limit 0..1)",
			      request->begins_anew);
		return;
	}
	reply->n_records = dataplane_workers(session->sessions->dataplane,
					     request->begins_anew != 0, reply->record);
	answer->length = sizeof(*reply) + reply->n_records * sizeof(reply->record[0]);
}

void query_affinities(struct session *session, const void *body, struct answer *answer)
{
	static uint32_t n_entries[SL_MAX_SERVICES];
	const struct wire_affinities_request *request = body;
	struct wire_affinities_reply *reply = answer->body;
	const struct snapshot *snapshot = session->sessions->snapshot;
	uint32_t n_services = snapshot != NULL ? snapshot->n_services : 0;
	uint32_t i;

	if (request->first > n_services) {
		answer_refuse(answer, -EINVAL, "affinities: position %u (limit %u)", request->first,
			      n_services);
		return;
	}
	memset(n_entries, 0, sizeof(n_entries));
	dataplane_count_affinities(session->sessions->dataplane, n_entries);
	for (i = request->first; i < n_services && reply->n_records < WIRE_MAX_RECORDS; i++) {
		const struct sl_service *service = &snapshot->service[i];

		if (service->family == SL_FAMILY_NONE ||
		    ((service->flags & SL_SERVICE_AFFINITY) == 0 && n_entries[i] == 0))
			continue;
		reply->record[reply->n_records++] =
			(struct wire_affinity_record){.service = {.addr = service->addr,
								  .port = service->port,
								  .protocol = service->protocol,
								  .family = service->family},
						      .n_entries = n_entries[i]};
	}
	reply->next = i < n_services ? i : 0;
	answer->length = sizeof(*reply) + reply->n_records * sizeof(reply->record[0]);
}

void query_affinity_clear(struct session *session, const void *body, struct answer *answer)
{
	const struct wire_affinity_clear_request *request = body;
	struct wire_affinity_clear_reply *reply = answer->body;
	uint32_t index = find_service(session->sessions, &request->service, answer);

	if (index == SL_NO_INDEX)
		return;
	reply->n_entries = dataplane_clear_affinities(session->sessions->dataplane, index);
	answer->length = sizeof(*reply);
}
