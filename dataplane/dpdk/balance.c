/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * What becomes of one parsed packet. A known flow decides alone; else a client's packet is given a
 * backend by its hash, and a backend's packet is translated back where the configuration leaves no
 * doubt whose it is. The verdict is known before the first byte is written.
 *
 * Called by worker.c for each packet of a burst. Never here: allocation, lock, log.
 */
#include "dataplane/dpdk/balance.h"

#include <sluice/packet/flow.h>
#include <sluice/packet/icmp.h>
#include <sluice/packet/nat.h>

#include "dataplane/dpdk/dispatch.h"
#include "dataplane/dpdk/egress.h"
#include "dataplane/dpdk/foresee.h"
#include "dataplane/dpdk/handoff.h"
#include "dataplane/dpdk/schedule.h"
#include "dataplane/dpdk/source.h"
#include "dataplane/lookup.h"

void balance_count_news(struct worker *worker, uint32_t backend, const struct sl_flow_news *news)
{
	struct sl_backend_openings *openings = &worker->backend_openings[backend];

	openings->syn_acks += news->word == SL_FLOW_ANSWERED;
	openings->refused += news->word == SL_FLOW_REFUSED;
	openings->resets += news->word == SL_FLOW_WAS_RESET;
	if (news->word == SL_FLOW_ANSWERED)
		openings->syn_ack_us += worker_now_us(worker) - news->since_us;
}

/* A packet of a flow that is in the table. */
static void balance_flow(struct worker *worker, const struct sl_backend *backend,
			 struct sl_flow *flow, enum sl_direction direction,
			 struct sl_packet *packet, struct rte_mbuf *frame, struct outcome *outcome)
{
	struct way way = {.service = flow->service,
			  .backend = flow->backend,
			  .family = flow->family,
			  .with_header = sl_flow_has_header(flow) ? flow : NULL};

	balance_track(worker, flow, direction, packet);
	sl_flow_rewrite(flow, direction, &way.to);
	if (direction == SL_DIRECTION_FORWARD) {
		way.verdict = SL_VERDICT_FORWARD;
		way.adjacency = backend->adjacency;
	} else {
		way.verdict = SL_VERDICT_REPLY;
		way.adjacency = dispatch_client_adjacency(worker, flow);
	}
	dispatch(worker, packet, &way, frame, outcome);
}

/* Why there is no flow: by the error of the table. */
static enum sl_verdict refusal(struct worker *worker, const struct sl_service *service, int error)
{
	if (error == -EEXIST)
		return SL_VERDICT_DROP_TUPLE_TAKEN;
	if (error == -EADDRNOTAVAIL)
		return SL_VERDICT_DROP_NO_SOURCE_PORT;
	worker->counters
		.event[error == -ENFILE ? SL_EVENT_EMBRYONIC_FULL : SL_EVENT_FLOW_TABLE_FULL]++;
	return lookup_needs_flow(service) ? SL_VERDICT_DROP_FLOWS_FULL : SL_VERDICT_NONE;
}

/* Mode nat: the client's former flow yields its way back to the next, if it may. */
static int insert_nat(struct worker *worker, const struct snapshot *snapshot,
		      struct flow_table *table, struct sl_flow *flow, uint64_t hash,
		      const struct foreseen *foreseen)
{
	struct flow_hashes hashes = {.of = {hash}};
	struct sl_flow *other = NULL;
	int error;

	hashes.of[SL_DIRECTION_REPLY] = foreseen != NULL && foreseen->backend == flow->backend
						? foreseen->reply_hash
						: flow_table_reply_hash(table, flow);
	error = flow_table_insert_of(table, flow, &hashes, &other);
	if (error != -EEXIST || !lookup_flow_yields(snapshot, other))
		return error;
	worker_end_flow(worker, table, other);
	return flow_table_insert_of(table, flow, &hashes, &other);
}

/**
 * Puts a new flow into the table. @sequence: of a TCP packet, host order. @outcome: the packet's.
 * NULL: there is none, and *@why is the packet's verdict, or SL_VERDICT_NONE if it is to be balanced
 * without.
 */
static struct sl_flow *create_flow(struct worker *worker, const struct snapshot *snapshot,
				   const struct sl_tuple *client_tuple, uint64_t hash,
				   uint32_t backend_index, uint32_t sequence,
				   const struct outcome *outcome, enum sl_verdict *why)
{
	const struct steering_mark *mark = outcome->mark;
	const struct sl_backend *backend = &snapshot->backend[backend_index];
	const struct sl_service *service = &snapshot->service[backend->service];
	struct flow_table *table = worker_table(worker, client_tuple->family);
	bool is_fullnat = service->mode == WIRE_MODE_FULLNAT;
	bool is_embryonic_full;
	struct sl_flow *flow = flow_table_take(table, &is_embryonic_full);
	int error;

	if (flow == NULL) {
		*why = refusal(worker, service, is_embryonic_full ? -ENFILE : -ENOSPC);
		return NULL;
	}
	sl_flow_open(flow, client_tuple, &backend->addr,
		     backend->port != 0 ? backend->port : client_tuple->destination_port);
	if (service->proxy_protocol != WIRE_PROXY_NONE)
		sl_flow_set_header(flow);
	flow->service = backend->service & (SL_MAX_SERVICES - 1u);
	flow->service_epoch = service->epoch;
	flow->backend = backend_index & (SL_MAX_BACKENDS - 1);
	flow->backend_epoch = backend->epoch;
	flow->client_adjacency = SL_ADJACENCY_NONE;
	flow->last_seen = worker->now;
	flow->is_logged = (service->flags & SL_SERVICE_FLOW_LOG) != 0;
	if (is_fullnat)
		error = source_insert(worker, snapshot, table, flow, hash, sequence, mark);
	else if (SL_UNLIKELY(mark != NULL && mark->is_taken))
		error = -EEXIST;
	else
		error = insert_nat(worker, snapshot, table, flow, hash, outcome->foreseen);
	if (error != 0) {
		*why = refusal(worker, service, error);
		flow_table_cancel(table, flow);
		return NULL;
	}
	worker->counters.event[SL_EVENT_FLOW_CREATED]++;
	worker->service_counters[flow->service].flows++;
	worker->backend_counters[flow->backend].flows++;
	if (SL_UNLIKELY(flow->is_logged))
		flow_events_put(worker, flow, SL_FLOW_BEGINS, NULL);
	return flow;
}

/* The packet of a client of @service ends here. */
static void refuse(struct worker *worker, uint32_t service, enum sl_verdict verdict, bool is_told,
		   struct outcome *outcome)
{
	worker->service_counters[service].drops++;
	outcome->verdict = verdict;
	outcome->is_refused = is_told;
}

/* The backend that the flow of @packet is given; @choice: by its hash. SL_NO_INDEX: all are full. */
static uint32_t choose(struct worker *worker, const struct snapshot *snapshot, uint32_t service,
		       const struct sl_packet *packet, const struct choice *choice,
		       const struct steering_mark *mark)
{
	if (!lookup_is_first(packet))
		return choice->backend;
	if (SL_UNLIKELY(mark != NULL && mark->has_backend))
		return mark->backend;
	return schedule_backend(worker, snapshot, service, &packet->tuple, choice);
}

/* @flow is new, and @packet its first. */
static void balance_opening(struct worker *worker, struct sl_flow *flow,
			    const struct sl_packet *packet)
{
	flow->flags = sl_flow_opening_flags(packet, sl_nat_has_ttl(packet));
	if (sl_flow_is_awaited(flow)) {
		flow->backend_next = worker_now_us(worker);
		worker->backend_openings[flow->backend].syns++;
	}
}

/* A client's packet that has no flow: choose a backend, remember it if there is room. */
static void balance_new(struct worker *worker, const struct snapshot *snapshot, uint32_t service,
			struct sl_packet *packet, uint64_t hash, struct rte_mbuf *frame,
			struct outcome *outcome)
{
	const struct sl_tuple *tuple = &packet->tuple;
	struct choice choice =
		outcome->foreseen != NULL
			? lookup_choose_by(snapshot, service, tuple, outcome->foreseen->hash)
			: lookup_choose(snapshot, service, tuple);
	const struct sl_backend *backend;
	struct sl_flow *flow = NULL;
	enum sl_verdict why = SL_VERDICT_NONE;
	struct way way = {.verdict = SL_VERDICT_FORWARD,
			  .service = service,
			  .backend = choice.backend,
			  .family = packet->tuple.family};

	if (SL_UNLIKELY(!lookup_may_begin(&snapshot->service[service], packet))) {
		refuse(worker, service, SL_VERDICT_DROP_NO_FLOW, true, outcome);
		return;
	}
	if (choice.backend == SL_NO_INDEX) {
		refuse(worker, service, SL_VERDICT_DROP_NO_BACKEND, false, outcome);
		return;
	}
	/* A reset begins nothing, nor does what follows a first fragment. */
	if ((packet->tcp_flags & SL_TCP_RST) == 0 && !sl_packet_is_later(packet)) {
		uint32_t chosen = choose(worker, snapshot, service, packet, &choice, outcome->mark);

		if (chosen == SL_NO_INDEX) {
			refuse(worker, service, SL_VERDICT_DROP_BACKENDS_FULL, true, outcome);
			return;
		}
		flow = create_flow(worker, snapshot, &packet->tuple, hash, chosen,
				   packet->tcp_sequence, outcome, &why);
	}
	if (flow != NULL) {
		if (SL_UNLIKELY(snapshot->service[service].flags & SL_SERVICE_AFFINITY) &&
		    lookup_is_first(packet))
			affinity_keep(worker, snapshot, service, &packet->tuple, flow->backend);
		balance_opening(worker, flow, packet);
		balance_flow(worker, &snapshot->backend[flow->backend], flow, SL_DIRECTION_FORWARD,
			     packet, frame, outcome);
		return;
	}
	if (why != SL_VERDICT_NONE) {
		refuse(worker, service, why, why != SL_VERDICT_DROP_TUPLE_TAKEN, outcome);
		return;
	}
	/* What comes after it has no flow either: by the hash, which is the same for all of them. */
	backend = &snapshot->backend[choice.backend];
	worker->counters.event[SL_EVENT_STATELESS_FORWARD]++;
	way.to.source = packet->tuple.source;
	way.to.source_port = packet->tuple.source_port;
	way.to.destination = backend->addr;
	way.to.destination_port =
		backend->port != 0 ? backend->port : packet->tuple.destination_port;
	way.adjacency = backend->adjacency;
	dispatch(worker, packet, &way, frame, outcome);
}

/* A backend's packet that has no flow: after a restart, or on another host than the client's. */
static void balance_orphan(struct worker *worker, const struct snapshot *snapshot,
			   uint32_t backend_index, struct sl_packet *packet, struct rte_mbuf *frame,
			   struct outcome *outcome)
{
	const struct sl_backend *backend = &snapshot->backend[backend_index];
	uint16_t adjacency =
		route_lookup(worker->dataplane, &packet->tuple.destination, packet->tuple.family);
	struct sl_flow *flow = NULL;
	struct sl_tuple client = lookup_client(snapshot, backend_index, &packet->tuple);
	struct way way = {.verdict = SL_VERDICT_REPLY,
			  .adjacency = adjacency,
			  .service = backend->service,
			  .backend = backend_index,
			  .family = packet->tuple.family};

	/* To the host itself, a health check's answer say; or where no port of ours leads. */
	if (adjacency == SL_ADJACENCY_LOCAL || adjacency == SL_ADJACENCY_NONE) {
		outcome->verdict = SL_VERDICT_PUNT_LOCAL;
		return;
	}
	/* In maintenance: its flows have ended, and its packets begin none. */
	if (SL_UNLIKELY(backend->is_gone)) {
		worker->service_counters[backend->service].drops++;
		outcome->verdict = SL_VERDICT_DROP_BACKEND_GONE;
		return;
	}
	/* What the backend says itself is worth remembering: it names the true backend. */
	if (packet->tuple.protocol == SL_PROTOCOL_TCP &&
	    (packet->tcp_flags & (SL_TCP_SYN | SL_TCP_RST)) == 0 && !sl_packet_is_later(packet) &&
	    (outcome->mark == NULL || !outcome->mark->is_taken)) {
		enum sl_verdict why;
		uint64_t hash = sl_flow_hash(&worker->flows4.key, &client);
		enum sl_direction direction;

		if (flow_table_find(worker_table(worker, client.family), hash, &client,
				    &direction) == NULL)
			flow = create_flow(worker, snapshot, &client, hash, backend_index, 0,
					   outcome, &why);
	}
	if (flow != NULL) {
		flow->flags |= SL_FLOW_FROM_REPLY;
		worker->counters.event[SL_EVENT_FLOW_FROM_REPLY]++;
		balance_flow(worker, backend, flow, SL_DIRECTION_REPLY, packet, frame, outcome);
		return;
	}
	worker->counters.event[SL_EVENT_STATELESS_REPLY]++;
	way.to.source = client.destination;
	way.to.source_port = client.destination_port;
	way.to.destination = client.source;
	way.to.destination_port = client.source_port;
	dispatch(worker, packet, &way, frame, outcome);
}

/* No flow knows the packet. */
static void balance_unknown(struct worker *worker, const struct snapshot *snapshot,
			    struct sl_packet *packet, uint64_t hash, struct rte_mbuf *frame,
			    struct outcome *outcome)
{
	uint32_t service;
	uint32_t backend;

	if (SL_UNLIKELY(outcome->mark != NULL) &&
	    handoff_ask(worker, snapshot, packet, hash, outcome))
		return;
	service = outcome->foreseen != NULL ? outcome->foreseen->service
					    : lookup_service(snapshot, &packet->tuple);
	if (service != SL_NO_INDEX) {
		if (SL_UNLIKELY(lookup_is_own_address(snapshot, &packet->tuple.source,
						      packet->tuple.family))) {
			refuse(worker, service, SL_VERDICT_DROP_SOURCE_IS_SERVICE, false, outcome);
			return;
		}
		balance_new(worker, snapshot, service, packet, hash, frame, outcome);
		return;
	}
	backend = lookup_replier(snapshot, &packet->tuple);
	if (backend != SL_NO_INDEX)
		balance_orphan(worker, snapshot, backend, packet, frame, outcome);
	else
		outcome->verdict = packet->fragment == SL_PACKET_WHOLE ? SL_VERDICT_PUNT_NOT_SERVICE
								       : SL_VERDICT_PUNT_FRAGMENT;
}

/* An ICMP error about a packet of @flow: it goes the flow's way, and leaves no trace in it. */
static void balance_flow_error(struct worker *worker, const struct snapshot *snapshot,
			       struct sl_flow *flow, enum sl_direction direction,
			       struct sl_packet *packet, struct rte_mbuf *frame,
			       struct outcome *outcome)
{
	const struct sl_backend *backend = lookup_flow_backend(snapshot, flow);
	struct way way = {.service = flow->service,
			  .backend = flow->backend,
			  .family = flow->family,
			  .with_header = sl_flow_has_header(flow) ? flow : NULL};

	if (backend == NULL) {
		outcome->verdict = SL_VERDICT_DROP_BACKEND_GONE;
		return;
	}
	sl_flow_rewrite(flow, direction, &way.to);
	if (direction == SL_DIRECTION_FORWARD) {
		way.verdict = SL_VERDICT_FORWARD;
		way.adjacency = backend->adjacency;
		way.keeps_source = !sl_flow_has_source(flow);
	} else {
		way.verdict = SL_VERDICT_REPLY;
		way.adjacency = dispatch_client_adjacency(worker, flow);
	}
	dispatch(worker, packet, &way, frame, outcome);
}

/*
 * An ICMP error about a packet that a client's host did not take, which no flow knows: as a client's
 * packet without a flow would go, so that it comes through on another host than the flow's.
 */
static void balance_client_error(struct worker *worker, const struct snapshot *snapshot,
				 uint32_t service, struct sl_packet *packet, struct rte_mbuf *frame,
				 struct outcome *outcome)
{
	struct choice choice = lookup_choose(snapshot, service, &packet->tuple);
	const struct sl_backend *backend;
	struct way way = {.verdict = SL_VERDICT_FORWARD,
			  .service = service,
			  .backend = choice.backend,
			  .family = packet->tuple.family,
			  .keeps_source = true};

	if (lookup_needs_flow(&snapshot->service[service]) || choice.backend == SL_NO_INDEX) {
		refuse(worker, service, SL_VERDICT_DROP_ICMP_NO_FLOW, false, outcome);
		return;
	}
	backend = &snapshot->backend[choice.backend];
	way.to.source = packet->tuple.source;
	way.to.source_port = packet->tuple.source_port;
	way.to.destination = backend->addr;
	way.to.destination_port =
		backend->port != 0 ? backend->port : packet->tuple.destination_port;
	way.adjacency = backend->adjacency;
	worker->counters.event[SL_EVENT_STATELESS_FORWARD]++;
	dispatch(worker, packet, &way, frame, outcome);
}

/* Likewise about a packet that did not reach a backend. */
static void balance_backend_error(struct worker *worker, const struct snapshot *snapshot,
				  uint32_t backend_index, struct sl_packet *packet,
				  struct rte_mbuf *frame, struct outcome *outcome)
{
	const struct sl_backend *backend = &snapshot->backend[backend_index];
	const struct sl_service *service = &snapshot->service[backend->service];
	struct way way = {.verdict = SL_VERDICT_REPLY,
			  .service = backend->service,
			  .backend = backend_index,
			  .family = packet->tuple.family};

	way.adjacency =
		route_lookup(worker->dataplane, &packet->tuple.destination, packet->tuple.family);
	/* The host's own packet it was, a health check's say. */
	if (way.adjacency == SL_ADJACENCY_LOCAL || way.adjacency == SL_ADJACENCY_NONE) {
		outcome->verdict = SL_VERDICT_PUNT_ICMP;
		return;
	}
	way.to.source = service->addr;
	way.to.source_port = service->port != 0 ? service->port : packet->tuple.source_port;
	way.to.destination = packet->tuple.destination;
	way.to.destination_port = packet->tuple.destination_port;
	worker->counters.event[SL_EVENT_STATELESS_REPLY]++;
	dispatch(worker, packet, &way, frame, outcome);
}

/* @flow, @direction: of the packets that go where the error goes. */
static void balance_error(struct worker *worker, const struct snapshot *snapshot,
			  struct sl_flow *flow, enum sl_direction direction,
			  struct sl_packet *packet, uint64_t hash, struct rte_mbuf *frame,
			  struct outcome *outcome)
{
	uint32_t service;
	uint32_t backend;

	if (flow != NULL) {
		balance_flow_error(worker, snapshot, flow, direction, packet, frame, outcome);
		return;
	}
	if (SL_UNLIKELY(outcome->mark != NULL) &&
	    handoff_ask(worker, snapshot, packet, hash, outcome))
		return;
	service = lookup_service(snapshot, &packet->tuple);
	if (service != SL_NO_INDEX) {
		balance_client_error(worker, snapshot, service, packet, frame, outcome);
		return;
	}
	backend = lookup_replier(snapshot, &packet->tuple);
	if (backend != SL_NO_INDEX)
		balance_backend_error(worker, snapshot, backend, packet, frame, outcome);
	else
		outcome->verdict = SL_VERDICT_PUNT_ICMP;
}

void balance_packet(struct worker *worker, struct snapshot *snapshot, struct rte_mbuf *frame,
		    struct sl_packet *packet, uint64_t hash, struct outcome *outcome)
{
	struct flow_table *table = worker_table(worker, packet->tuple.family);
	enum sl_direction direction = SL_DIRECTION_FORWARD;
	const struct sl_backend *backend;
	struct sl_flow *flow;

	if (SL_UNLIKELY(outcome->egress != LOOKUP_NO_EGRESS)) {
		egress_packet(worker, snapshot, frame, packet, hash, outcome);
		return;
	}
	flow = flow_table_find(table, hash, &packet->tuple, &direction);
	if (SL_UNLIKELY(sl_packet_is_icmp_error(packet))) {
		balance_error(worker, snapshot, flow, direction, packet, hash, frame, outcome);
		return;
	}
	if (SL_UNLIKELY(flow == NULL)) {
		balance_unknown(worker, snapshot, packet, hash, frame, outcome);
		return;
	}
	backend = lookup_flow_backend(snapshot, flow);
	if (SL_LIKELY(backend != NULL && !(sl_flow_is_over(flow) && sl_flow_is_opening(packet) &&
					   direction == SL_DIRECTION_FORWARD))) {
		balance_flow(worker, backend, flow, direction, packet, frame, outcome);
		return;
	}
	/* A new connection on the tuple of one that is over, or whose backend is gone: afresh. */
	if (direction == SL_DIRECTION_FORWARD &&
	    (sl_flow_is_opening(packet) || packet->tuple.protocol == SL_PROTOCOL_UDP) &&
	    !sl_packet_is_later(packet)) {
		worker_end_flow(worker, table, flow);
		balance_unknown(worker, snapshot, packet, hash, frame, outcome);
		return;
	}
	/* A client learns at once that its connection is over; a backend has no need to. */
	outcome->verdict = SL_VERDICT_DROP_BACKEND_GONE;
	outcome->is_refused = direction == SL_DIRECTION_FORWARD;
}
