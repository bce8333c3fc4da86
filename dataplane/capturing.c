/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * A capture: the engine copies packets, whoever began it fetches the copies, and here they become
 * blocks of a pcapng file, with the verdict as each packet's comment. Nothing is kept but what the
 * engine has room for: a reader that is slow loses packets and is told how many, one that is gone
 * ends the capture.
 */
#include "dataplane/capturing.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <sluice/packet/capture.h>

#include "dataplane/dataplane.h"
#include "dataplane/lookup.h"
#include "dataplane/pcapng.h"
#include "dataplane/session_internal.h"
#include "log/log.h"
#include "wire/wire_abi.h"

enum {
	MAX_BYTES = WIRE_MAX_MESSAGE - sizeof(struct wire_header) -
		    sizeof(struct wire_capture_read_reply),
	STATISTICS_BYTES = 2048, /* of all ports */
};

#define SECOND_NS 1000000000ull

struct capture {
	const struct session *holder;
	uint64_t left;     /* packets until it is over */
	uint64_t begin_ns; /* since 1970 */
	uint64_t read_ns;  /* CLOCK_MONOTONIC, when it was last read */
	uint64_t n_packets[SL_MAX_PORTS];
	uint32_t snaplen;
	uint32_t n_ports;
	bool has_head;   /* the file's first blocks were read */
	bool is_stopped; /* no packet is copied any more */
	struct wire_port_record port[SL_MAX_PORTS];
};

_Static_assert((int)WIRE_CAPTURE_MAX_SNAPLEN == (int)SL_CAPTURE_MAX_BYTES &&
		       (int)WIRE_CAPTURE_EVERY == (int)SL_CAPTURE_EVERY &&
		       (int)WIRE_CAPTURE_IN == (int)SL_CAPTURE_IN &&
		       (int)WIRE_CAPTURE_OUT == (int)SL_CAPTURE_OUT,
	       "one range");

static uint64_t real_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * SECOND_NS + (uint64_t)now.tv_nsec;
}

/* ---- what is asked for ---- */

static union sl_addr mask_of(uint32_t length)
{
	union sl_addr mask = {.word = {0}};

	for (uint32_t bit = 0; bit < length; bit++)
		mask.byte[bit / 8] |= (uint8_t)(0x80 >> bit % 8);
	return mask;
}

/* 0, or -EINVAL with the answer. */
static int take_end(const char *name, const struct wire_capture_end *end,
		    struct sl_capture_end *out, struct answer *answer)
{
	static const struct wire_capture_end everything;
	uint32_t n_bits = end->family == SL_FAMILY_IPV4 ? 32 : 128;

	*out = (struct sl_capture_end){.family = SL_FAMILY_NONE};
	if (memcmp(end, &everything, sizeof(*end)) == 0)
		return 0;
	if (end->family != SL_FAMILY_IPV4 && end->family != SL_FAMILY_IPV6) {
		answer_refuse(answer, -EINVAL, "capture: %s: family %u (allowed: 4, 6)", name,
			      end->family);
		return -EINVAL;
	}
	if (end->length < 1 || end->length > n_bits) {
		answer_refuse(answer, -EINVAL, "capture: %s: %u bits (limit 1..%u)", name,
			      end->length, n_bits);
		return -EINVAL;
	}
	*out = (struct sl_capture_end){.addr = end->addr,
				       .mask = mask_of(end->length),
				       .port = end->port,
				       .family = end->family,
				       .protocol = end->protocol};
	for (int i = 0; i < 4; i++)
		if ((out->addr.word[i] & ~out->mask.word[i]) != 0 || end->reserved[i % 3] != 0) {
			answer_refuse(answer, -EINVAL,
				      "capture: %s: the address has bits beyond the prefix, or "
				      "reserved bytes are not zero",
				      name);
			return -EINVAL;
		}
	return 0;
}

static int take_numbers(const struct wire_capture_begin_request *request, uint32_t n_ports,
			struct answer *answer)
{
	if (request->snaplen < WIRE_CAPTURE_MIN_SNAPLEN ||
	    request->snaplen > WIRE_CAPTURE_MAX_SNAPLEN)
		answer_refuse(answer, -EINVAL, "capture: snaplen %u (limit %d..%d)",
			      request->snaplen, WIRE_CAPTURE_MIN_SNAPLEN, WIRE_CAPTURE_MAX_SNAPLEN);
	else if (request->verdict != WIRE_CAPTURE_EVERY && request->verdict >= SL_N_VERDICTS)
		answer_refuse(answer, -EINVAL, "capture: verdict %u (limit 0..%d)",
			      request->verdict, SL_N_VERDICTS - 1);
	else if (request->port != WIRE_CAPTURE_EVERY && request->port >= n_ports)
		answer_refuse(answer, -EINVAL, "capture: port %u (there are %u)", request->port,
			      n_ports);
	else if (request->direction < WIRE_CAPTURE_IN || request->direction > WIRE_CAPTURE_BOTH)
		answer_refuse(answer, -EINVAL, "capture: direction %u (limit %d..%d)",
			      request->direction, WIRE_CAPTURE_IN, WIRE_CAPTURE_BOTH);
	return answer->status;
}

static int take_filter(const struct wire_capture_begin_request *request,
		       struct sl_capture_filter *filter, struct answer *answer)
{
	int status = take_end("service", &request->service, &filter->service, answer);

	if (status == 0)
		status = take_end("client", &request->client, &filter->client, answer);
	if (status == 0)
		status = take_end("backend", &request->backend, &filter->backend, answer);
	filter->verdict = request->verdict;
	filter->port = request->port;
	filter->direction = request->direction;
	return status;
}

void capturing_begin(struct session *session, const void *body, struct answer *answer)
{
	const struct wire_capture_begin_request *request = body;
	struct sessions *sessions = session->sessions;
	struct wire_capture_begin_reply *reply = answer->body;
	struct sl_capture_filter filter = {.reserved = 0};
	char error[SL_MAX_ERROR] = "";
	struct capture *capture;
	int status;

	if (sessions->capture != NULL) {
		answer_refuse(answer, -EBUSY,
			      "capture: another one is under way (limit 1); it ends when it is "
			      "stopped, or not read for %d s",
			      WIRE_CAPTURE_IDLE_SEC);
		return;
	}
	capture = calloc(1, sizeof(*capture));
	if (capture == NULL) {
		answer_refuse(answer, -ENOMEM, "capture: out of memory");
		return;
	}
	capture->holder = session;
	capture->left = request->count != 0 ? request->count : UINT64_MAX;
	capture->begin_ns = real_ns();
	capture->read_ns = session_now_ns();
	capture->snaplen = request->snaplen;
	capture->n_ports = dataplane_ports(sessions->dataplane, capture->port);
	status = take_numbers(request, capture->n_ports, answer);
	if (status == 0)
		status = take_filter(request, &filter, answer);
	if (status == 0) {
		status = dataplane_capture_begin(sessions->dataplane, &filter, capture->snaplen,
						 error);
		if (status != 0)
			answer_refuse(answer, status, "capture: %s", error);
	}
	if (status != 0) {
		free(capture);
		return;
	}
	sessions->capture = capture;
	reply->id = ++sessions->last_capture;
	answer->length = sizeof(*reply);
	log_info("capture %llu begins", (unsigned long long)reply->id);
}

/* ---- what is told of a packet ---- */

/* The service that one of the packet's two forms is for, or comes from; SL_NO_INDEX. */
static uint32_t service_of(const struct snapshot *snapshot, const struct sl_capture_record *record)
{
	const struct sl_tuple *in = &record->in;
	const struct sl_tuple *out = &record->out;
	const struct sl_tuple turned = {.destination = out->source,
					.destination_port = out->source_port,
					.protocol = out->protocol,
					.family = out->family};
	uint32_t service = SL_NO_INDEX;

	if (in->family != SL_FAMILY_NONE)
		service = lookup_service(snapshot, in);
	if (service == SL_NO_INDEX && out->family != SL_FAMILY_NONE)
		service = lookup_service(snapshot, &turned);
	if (service == SL_NO_INDEX && in->family != SL_FAMILY_NONE)
		service = prefix_table_find(&snapshot->inside, &in->source, in->family);
	if (service == SL_NO_INDEX && out->family != SL_FAMILY_NONE)
		service = prefix_table_find(&snapshot->inside, &out->destination, out->family);
	return service;
}

/* "forward service web backend 10.0.0.2:8080". @text: PCAPNG_MAX_TEXT + 1 bytes. */
static void describe(const struct snapshot *snapshot, const struct sl_capture_record *record,
		     char *text)
{
	const size_t size = PCAPNG_MAX_TEXT + 1;
	int used = snprintf(text, size, "%s", wire_verdict_name(record->verdict));
	uint32_t service = snapshot != NULL && !sl_verdict_is_punt(record->verdict)
				   ? service_of(snapshot, record)
				   : SL_NO_INDEX;
	bool is_reply = record->verdict == SL_VERDICT_REPLY;
	char backend[WIRE_ADDRESS_TEXT];

	if (service == SL_NO_INDEX)
		return;
	used += snprintf(text + used, size - (size_t)used, " service %s",
			 snapshot->service_name[service]);
	if (record->verdict > SL_VERDICT_REPLY || record->out.family == SL_FAMILY_NONE ||
	    snapshot->service[service].mode == WIRE_MODE_SNAT)
		return;
	snprintf(text + used, size - (size_t)used, " backend %s",
		 is_reply ? wire_format_endpoint(&record->in.source, record->in.source_port,
						 record->in.family, backend)
			  : wire_format_endpoint(&record->out.destination,
						 record->out.destination_port, record->out.family,
						 backend));
}

/* ---- what is read ---- */

struct reading {
	const struct snapshot *snapshot;
	struct capture *capture;
	uint8_t *at;
	size_t room;
	size_t length;
};

static bool may_take_more(const struct reading *reading)
{
	return reading->capture->left > 0 &&
	       reading->room - reading->length >=
		       STATISTICS_BYTES + PCAPNG_PACKET_BYTES + reading->capture->snaplen;
}

static bool on_copy(void *context, const struct dataplane_copy *copy)
{
	struct reading *reading = context;
	const struct sl_capture_record *record = copy->record;
	char comment[PCAPNG_MAX_TEXT + 1];
	const struct pcapng_packet packet = {
		.interface = record->port,
		.time_ns = copy->time_ns,
		.length = record->length,
		.n_bytes = record->n_bytes,
		.bytes = copy->bytes,
		.direction = record->direction == SL_CAPTURE_IN ? PCAPNG_INBOUND : PCAPNG_OUTBOUND,
		.comment = comment,
	};

	if (record->port >= reading->capture->n_ports)
		return true;
	describe(reading->snapshot, record, comment);
	reading->length += pcapng_packet(reading->at + reading->length,
					 reading->room - reading->length, &packet);
	reading->capture->n_packets[record->port]++;
	reading->capture->left--;
	return may_take_more(reading);
}

static void put_head(struct reading *reading)
{
	struct capture *capture = reading->capture;
	char program[32];

	if (capture->has_head)
		return;
	capture->has_head = true;
	snprintf(program, sizeof(program), "sluice-%s", dataplane_engine());
	reading->length = pcapng_section(reading->at, reading->room, program);
	for (uint32_t i = 0; i < capture->n_ports; i++)
		reading->length += pcapng_interface(reading->at + reading->length,
						    reading->room - reading->length,
						    capture->port[i].name, capture->snaplen);
}

static void put_statistics(struct reading *reading, struct dataplane *dataplane)
{
	const struct capture *capture = reading->capture;

	for (uint32_t i = 0; i < capture->n_ports; i++) {
		uint64_t n_lost = dataplane_capture_lost(dataplane, i);
		const struct pcapng_statistics statistics = {
			.interface = i,
			.begin_ns = capture->begin_ns,
			.end_ns = real_ns(),
			.n_received = capture->n_packets[i] + n_lost,
			.n_dropped = n_lost,
		};

		reading->length += pcapng_statistics(reading->at + reading->length,
						     reading->room - reading->length, &statistics);
	}
}

/* The session's capture called @id; NULL: the answer says why not. */
static struct capture *find_capture(const struct session *session, uint64_t id,
				    struct answer *answer)
{
	const struct sessions *sessions = session->sessions;

	if (sessions->capture != NULL && sessions->capture->holder == session &&
	    sessions->last_capture == id)
		return sessions->capture;
	answer_refuse(answer, -ENOENT,
		      "capture %llu: is not under way (one that is not read for %d s ends)",
		      (unsigned long long)id, WIRE_CAPTURE_IDLE_SEC);
	return NULL;
}

static void stop(struct sessions *sessions)
{
	if (!sessions->capture->is_stopped)
		dataplane_capture_stop(sessions->dataplane);
	sessions->capture->is_stopped = true;
}

void capturing_read(struct session *session, const void *body, struct answer *answer)
{
	const struct wire_capture_read_request *request = body;
	struct sessions *sessions = session->sessions;
	struct wire_capture_read_reply *reply = answer->body;
	struct capture *capture = find_capture(session, request->id, answer);
	struct reading reading = {.snapshot = sessions->snapshot,
				  .capture = capture,
				  .at = reply->byte,
				  .room = MAX_BYTES};
	bool is_empty = false;

	if (capture == NULL)
		return;
	capture->read_ns = session_now_ns();
	put_head(&reading);
	if (may_take_more(&reading))
		is_empty = dataplane_capture_take(sessions->dataplane, on_copy, &reading);
	if (capture->left == 0)
		stop(sessions);
	for (uint32_t i = 0; i < capture->n_ports; i++) {
		reply->n_packets += capture->n_packets[i];
		reply->n_lost += dataplane_capture_lost(sessions->dataplane, i);
	}
	if (capture->is_stopped && (is_empty || capture->left == 0)) {
		put_statistics(&reading, sessions->dataplane);
		reply->is_over = 1;
		capturing_end(sessions);
	}
	reply->n_bytes = (uint32_t)reading.length;
	answer->length = sizeof(*reply) + reading.length;
}

void capturing_stop(struct session *session, const void *body, struct answer *answer)
{
	const struct wire_capture_stop_request *request = body;

	if (find_capture(session, request->id, answer) == NULL)
		return;
	stop(session->sessions);
	answer->length = sizeof(struct wire_capture_stop_reply);
}

/* ---- its end ---- */

void capturing_expire(struct sessions *sessions)
{
	if (sessions->capture == NULL ||
	    session_now_ns() - sessions->capture->read_ns < WIRE_CAPTURE_IDLE_SEC * SECOND_NS)
		return;
	log_warn("capture %llu: nobody has read it for %d s",
		 (unsigned long long)sessions->last_capture, WIRE_CAPTURE_IDLE_SEC);
	capturing_end(sessions);
}

void capturing_leave(struct session *session)
{
	if (session->sessions->capture != NULL && session->sessions->capture->holder == session)
		capturing_end(session->sessions);
}

void capturing_end(struct sessions *sessions)
{
	if (sessions->capture == NULL)
		return;
	dataplane_capture_end(sessions->dataplane);
	free(sessions->capture);
	sessions->capture = NULL;
	log_info("capture %llu is over", (unsigned long long)sessions->last_capture);
}
