/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * Mode snat. A client's packet is given a source of the pool, and keeps it whomever it talks to; what
 * comes to that source is the client's. A packet from one client to the source of another goes back in:
 * it is translated at both ends (hairpinning, RFC 4787 REQ-9), at once where one worker owns both.
 *
 * Never here: allocation, lock, log.
 */
#include "dataplane/dpdk/egress.h"

#include <sluice/packet/egress.h>
#include <sluice/packet/icmp.h>

#include "dataplane/dpdk/dispatch.h"
#include "dataplane/dpdk/fragment.h"
#include "dataplane/dpdk/handoff.h"
#include "dataplane/dpdk/source.h"
#include "dataplane/lookup.h"

/* A packet under way. */
struct passage {
	struct worker *worker;
	const struct snapshot *snapshot;
	struct rte_mbuf *frame;
	struct sl_packet *packet;
	struct outcome *outcome;
};

static void finish(const struct passage *passage, uint32_t service, enum sl_verdict verdict,
		   bool is_told)
{
	if (sl_verdict_is_drop(verdict))
		passage->worker->service_counters[service].drops++;
	passage->outcome->verdict = verdict;
	passage->outcome->is_refused = is_told;
	/* RFC 5508 REQ-8: what has no port is prohibited. */
	if (passage->packet->echo != SL_PACKET_NO_ECHO)
		passage->outcome->refusal.reason = SL_REFUSED_PROHIBITED;
}

/* What a service does not lead there, or from there. The client is told of its own packets. */
static void deny(const struct passage *passage, uint32_t service, bool is_told)
{
	finish(passage, service, SL_VERDICT_DROP_DENIED, is_told);
	passage->outcome->refusal.reason = sl_egress_denied(passage->packet);
}

/* Whether the client's packet ends here, which is on its way to where it says. */
static bool is_denied_out(const struct passage *passage, uint32_t service)
{
	const struct sl_tuple *tuple = &passage->packet->tuple;

	return lookup_is_denied(passage->snapshot, service, WIRE_DENY_SOURCE, &tuple->source,
				tuple->family) ||
	       lookup_is_denied(passage->snapshot, service, WIRE_DENY_DESTINATION,
				&tuple->destination, tuple->family);
}

/* Whether a packet to the client whose flow is @flow ends here. */
static bool is_denied_in(const struct passage *passage, const struct sl_flow *flow)
{
	const struct sl_tuple *tuple = &passage->packet->tuple;
	union sl_addr client = sl_flow_addr(flow, SL_FLOW_CLIENT);

	return lookup_is_denied(passage->snapshot, flow->service, WIRE_DENY_SOURCE, &client,
				tuple->family) ||
	       lookup_is_denied(passage->snapshot, flow->service, WIRE_DENY_DESTINATION,
				&tuple->source, tuple->family);
}

/* What is the kernel's after all: as if there were no service. */
static void leave(const struct passage *passage)
{
	const struct sl_packet *packet = passage->packet;

	passage->outcome->verdict =
		packet->echo != SL_PACKET_NO_ECHO || sl_packet_is_icmp_error(packet)
			? SL_VERDICT_PUNT_ICMP
		: packet->fragment == SL_PACKET_WHOLE ? SL_VERDICT_PUNT_NOT_SERVICE
						      : SL_VERDICT_PUNT_FRAGMENT;
}

/* Why there is no flow: by the error of the table. */
static void refuse_new(const struct passage *passage, uint32_t service, int error)
{
	struct worker *worker = passage->worker;

	if (error == -EADDRNOTAVAIL) {
		finish(passage, service, SL_VERDICT_DROP_NO_SOURCE_PORT, true);
		return;
	}
	worker->counters
		.event[error == -ENFILE ? SL_EVENT_EMBRYONIC_FULL : SL_EVENT_FLOW_TABLE_FULL]++;
	finish(passage, service, SL_VERDICT_DROP_FLOWS_FULL, true);
}

static void fill(struct sl_flow *flow, const struct worker *worker, const struct snapshot *snapshot,
		 const struct sl_tuple *key, uint32_t peer, uint32_t service)
{
	const struct sl_service *record = &snapshot->service[service];
	uint32_t backend = snapshot->member[record->first_member];

	sl_egress_open(flow, key, peer);
	flow->service = service & (SL_MAX_SERVICES - 1);
	flow->service_epoch = record->epoch;
	flow->backend = backend & (SL_MAX_BACKENDS - 1);
	flow->backend_epoch = snapshot->backend[backend].epoch;
	flow->client_adjacency = SL_ADJACENCY_NONE;
	flow->last_seen = worker->now;
	flow->is_logged = (record->flags & SL_SERVICE_FLOW_LOG) != 0;
}

/* A new flow of the client, or NULL: then @passage's outcome is known. */
static struct sl_flow *create(const struct passage *passage, const struct sl_tuple *key,
			      uint64_t hash, uint32_t peer, uint32_t service)
{
	struct worker *worker = passage->worker;
	struct flow_table *table = worker_table(worker, key->family);
	bool is_embryonic_full;
	struct sl_flow *flow;
	int error;

	if (!sl_egress_may_begin(passage->packet)) {
		finish(passage, service, SL_VERDICT_DROP_NO_FLOW, true);
		return NULL;
	}
	flow = flow_table_take(table, &is_embryonic_full);
	if (flow == NULL) {
		refuse_new(passage, service, is_embryonic_full ? -ENFILE : -ENOSPC);
		return NULL;
	}
	fill(flow, worker, passage->snapshot, key, peer, service);
	error = source_insert(worker, passage->snapshot, table, flow, hash,
			      passage->packet->tcp_sequence, passage->outcome->mark);
	if (error != 0) {
		refuse_new(passage, service, error);
		flow_table_cancel(table, flow);
		return NULL;
	}
	if (key->protocol == SL_PROTOCOL_TCP) {
		flow->flags |= SL_FLOW_SYN;
	} else {
		/* RFC 4787 REQ-5 and RFC 5508 REQ-2 know no shorter time before an answer. */
		flow->state = SL_FLOW_ESTABLISHED;
		flow_table_promoted(table);
	}
	worker->counters.event[SL_EVENT_FLOW_CREATED]++;
	worker->service_counters[flow->service].flows++;
	worker->backend_counters[flow->backend].flows++;
	if (SL_UNLIKELY(flow->is_logged))
		flow_events_put(worker, flow, SL_FLOW_BEGINS, &passage->packet->tuple);
	return flow;
}

/* The flow that knows the packet, or NULL. One whose service is gone ends. */
static struct sl_flow *find(const struct passage *passage, const struct sl_tuple *key,
			    uint64_t hash)
{
	struct flow_table *table = worker_table(passage->worker, key->family);
	enum sl_direction direction;
	struct sl_flow *flow = flow_table_find(table, hash, key, &direction);

	if (flow != NULL && SL_UNLIKELY(lookup_flow_backend(passage->snapshot, flow) == NULL)) {
		worker_end_flow(passage->worker, table, flow);
		return NULL;
	}
	return flow;
}

static void track(const struct passage *passage, struct sl_flow *flow, enum sl_direction direction,
		  uint32_t peer)
{
	struct worker *worker = passage->worker;
	enum sl_flow_state was = (enum sl_flow_state)flow->state;

	if (sl_packet_is_icmp_error(passage->packet))
		return;
	sl_egress_track(flow, direction, passage->packet, peer, worker->now);
	if (flow->state != was)
		worker_count_turn(worker, flow, was);
}

/* The source that the client's packets have, as long as the snapshot lives. */
static const union sl_addr *source_of(const struct snapshot *snapshot, const struct sl_flow *flow)
{
	const struct sl_service *service = &snapshot->service[flow->service];

	return &snapshot->source[service->first_source +
				 (flow->position < service->n_sources ? flow->position : 0)];
}

/* Whom the client talks to, if the packet goes *@way. */
static uint32_t peer_of(const struct way *way)
{
	return sl_egress_peer(&way->to.destination, way->to.destination_port, way->family);
}

/* From the client, whose flow is @flow, to where *@way leads already, at @adjacency. */
static void send_out(const struct passage *passage, struct sl_flow *flow, uint16_t adjacency,
		     struct way *way)
{
	uint32_t peer = peer_of(way);

	way->to.source = sl_flow_addr(flow, SL_FLOW_SOURCE);
	way->to.source_port = flow->source_port;
	way->adjacency = adjacency;
	way->verdict = SL_VERDICT_FORWARD;
	way->service = flow->service;
	way->backend = flow->backend;
	way->speaker = source_of(passage->snapshot, flow);
	track(passage, flow, SL_DIRECTION_FORWARD, peer);
	dispatch(passage->worker, passage->packet, way, passage->frame, passage->outcome);
}

/* Where a packet goes that keeps both its ends. */
static struct way way_of(const struct sl_packet *packet)
{
	return (struct way){.to = {.source = packet->tuple.source,
				   .destination = packet->tuple.destination,
				   .source_port = packet->tuple.source_port,
				   .destination_port = packet->tuple.destination_port},
			    .family = packet->tuple.family};
}

/* @is_back: its destination is another client, and stood for by a source before. */
static void packet_out(const struct passage *passage, uint64_t hash, bool is_back)
{
	struct sl_packet *packet = passage->packet;
	struct outcome *outcome = passage->outcome;
	struct sl_tuple key = sl_egress_key(&packet->tuple, SL_DIRECTION_FORWARD);
	uint16_t adjacency = route_lookup(passage->worker->dataplane, &packet->tuple.destination,
					  packet->tuple.family);
	struct way way = way_of(packet);
	struct sl_flow *flow;

	if (packet->echo == SL_PACKET_ECHO_REPLY && !is_back) {
		leave(passage);
		return;
	}
	/* To the host itself; or where no port of ours leads, as the kernel may. */
	if (SL_UNLIKELY(adjacency == SL_ADJACENCY_LOCAL || adjacency == SL_ADJACENCY_NONE)) {
		leave(passage);
		return;
	}
	/* One client's to another was judged before its destination became that one's own. */
	if (!is_back && is_denied_out(passage, outcome->service)) {
		deny(passage, outcome->service, true);
		return;
	}
	flow = find(passage, &key, hash);
	if (flow == NULL) {
		if (SL_UNLIKELY(outcome->mark != NULL) &&
		    handoff_ask(passage->worker, passage->snapshot, packet, hash, outcome))
			return;
		if (!sl_packet_is_icmp_error(packet))
			flow = create(passage, &key, hash, peer_of(&way), outcome->service);
		else if (is_back)
			finish(passage, outcome->service, SL_VERDICT_DROP_ICMP_NO_FLOW, false);
		else
			leave(passage);
	}
	if (flow != NULL)
		send_out(passage, flow, adjacency, &way);
}

/* Takes back the hop that a rewrite took, which another worker's will take again. */
static void return_ttl(struct sl_packet *packet)
{
	struct sl_ipv4 *ipv4 = packet->ipv4;

	if (packet->tuple.family != SL_FAMILY_IPV4) {
		packet->ipv6->hop_limit++;
		return;
	}
	ipv4->checksum =
		sl_checksum_update(ipv4->checksum, sl_checksum_diff16(ipv4->ttl, ipv4->ttl + 1));
	ipv4->ttl++;
}

/* The destination is another client's by now; the worker that has the sender's flow does the rest. */
static void hand_back(const struct passage *passage, const struct way *way, uint32_t owner)
{
	struct sl_packet *packet = passage->packet;
	uint8_t *data = (uint8_t *)packet->ethernet;

	if (SL_UNLIKELY(!sl_nat_has_ttl(packet))) {
		finish(passage, way->service, SL_VERDICT_DROP_TTL, true);
		passage->outcome->refusal.reason = SL_REFUSED_EXPIRED;
		return;
	}
	if (sl_packet_is_icmp_error(packet)) {
		(void)!sl_icmp_rewrite(data, data + passage->frame->data_len, packet, &way->to,
				       true);
	} else if (packet->echo != SL_PACKET_NO_ECHO) {
		sl_icmp_rewrite_echo(packet, &way->to);
	} else if (sl_packet_is_later(packet)) {
		(void)sl_nat_l3(packet, &way->to);
	} else {
		sl_nat_rewrite(packet, &way->to);
	}
	return_ttl(packet);
	if (packet->fragment != SL_PACKET_WHOLE)
		fragment_set_ports(passage->frame, way->to.source_port, way->to.destination_port,
				   packet->tuple.protocol);
	*worker_mark(passage->worker->dataplane, passage->frame) =
		(struct steering_mark){.is_back = 1};
	passage->outcome->is_handed = true;
	passage->outcome->port = owner;
}

/* Who talks to the client. */
static uint32_t peer_at_source(const struct sl_packet *packet)
{
	const struct sl_tuple *tuple = &packet->tuple;

	return sl_egress_peer(&tuple->source, tuple->source_port, tuple->family);
}

/* From one client, of @service, to the source of another one, whose flow is @target. */
static void packet_back(const struct passage *passage, struct sl_flow *target, uint32_t service)
{
	struct worker *worker = passage->worker;
	struct sl_packet *packet = passage->packet;
	struct sl_tuple key = sl_egress_key(&packet->tuple, SL_DIRECTION_FORWARD);
	uint64_t hash = sl_flow_hash(&worker->flows4.key, &key);
	const struct steering *steering = worker->steering;
	uint32_t owner = steering->reta[0][steer_endpoint(
		steering, &worker->flows4.key, &packet->tuple.source, packet->tuple.source_port,
		packet->tuple.family, packet->tuple.protocol)];
	struct way way = way_of(packet);
	struct sl_flow *flow;

	way.service = service;
	way.to.destination = sl_flow_addr(target, SL_FLOW_CLIENT);
	way.to.destination_port = target->client_port;
	track(passage, target, SL_DIRECTION_REPLY, peer_at_source(packet));
	flow = find(passage, &key, hash);
	if (flow == NULL && (owner != worker->id || steering->n_former != 0)) {
		hand_back(passage, &way, owner);
		return;
	}
	if (flow == NULL) {
		if (sl_packet_is_icmp_error(packet))
			finish(passage, service, SL_VERDICT_DROP_ICMP_NO_FLOW, false);
		else
			flow = create(passage, &key, hash, peer_of(&way), service);
	}
	if (flow != NULL)
		send_out(passage, flow, dispatch_client_adjacency(worker, target), &way);
}

/* From outside to the client whose flow is @flow. */
static void send_in(const struct passage *passage, struct sl_flow *flow)
{
	struct way way = way_of(passage->packet);

	way.to.destination = sl_flow_addr(flow, SL_FLOW_CLIENT);
	way.to.destination_port = flow->client_port;
	way.adjacency = dispatch_client_adjacency(passage->worker, flow);
	way.verdict = SL_VERDICT_REPLY;
	way.service = flow->service;
	way.backend = flow->backend;
	way.keeps_source = true;
	way.speaker = source_of(passage->snapshot, flow);
	track(passage, flow, SL_DIRECTION_REPLY, peer_at_source(passage->packet));
	dispatch(passage->worker, passage->packet, &way, passage->frame, passage->outcome);
}

/* To a source that no flow has: the kernel's, if the address is the host's, and else nobody's. */
static void packet_unasked(const struct passage *passage)
{
	struct worker *worker = passage->worker;
	const struct sl_tuple *tuple = &passage->packet->tuple;
	uint16_t adjacency = route_lookup(worker->dataplane, &tuple->destination, tuple->family);

	if (adjacency == SL_ADJACENCY_LOCAL || adjacency == SL_ADJACENCY_NONE)
		leave(passage);
	else
		passage->outcome->verdict = SL_VERDICT_DROP_NO_MAPPING;
}

static void packet_in(const struct passage *passage, uint64_t hash)
{
	const struct snapshot *snapshot = passage->snapshot;
	struct sl_packet *packet = passage->packet;
	struct outcome *outcome = passage->outcome;
	const struct sl_tuple *tuple = &packet->tuple;
	struct sl_tuple key = sl_egress_key(tuple, SL_DIRECTION_REPLY);
	struct sl_flow *flow = NULL;
	uint32_t service;

	if (SL_UNLIKELY(lookup_is_own_address(snapshot, &tuple->source, tuple->family))) {
		outcome->verdict = SL_VERDICT_DROP_SOURCE_IS_SERVICE;
		return;
	}
	/* The host answers for itself. */
	if (packet->echo != SL_PACKET_ECHO_REQUEST)
		flow = find(passage, &key, hash);
	if (flow == NULL) {
		if (SL_UNLIKELY(outcome->mark != NULL) &&
		    handoff_ask(passage->worker, snapshot, packet, hash, outcome))
			return;
		packet_unasked(passage);
		return;
	}
	service = prefix_table_find(&snapshot->inside, &tuple->source, tuple->family);
	if (is_denied_in(passage, flow))
		deny(passage, flow->service, service != SL_NO_INDEX);
	else if (SL_LIKELY(service == SL_NO_INDEX))
		send_in(passage, flow);
	else if (is_denied_out(passage, service))
		deny(passage, service, true);
	else
		packet_back(passage, flow, service);
}

void egress_packet(struct worker *worker, struct snapshot *snapshot, struct rte_mbuf *frame,
		   struct sl_packet *packet, uint64_t hash, struct outcome *outcome)
{
	const struct passage passage = {.worker = worker,
					.snapshot = snapshot,
					.frame = frame,
					.packet = packet,
					.outcome = outcome};

	if (outcome->egress == LOOKUP_EGRESS_OUT)
		packet_out(&passage, hash, outcome->is_back);
	else
		packet_in(&passage, hash);
}
