/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * After a change of the number of workers, flows stay where they were made. A packet goes to its
 * present owner, and if that one does not know its flow, from one former owner to the next: each looks
 * into its table, and says in the packet's mark what a new flow could not have because of a flow there.
 * The present owner makes the flow, and only when all former ones have answered: see steering_next().
 */
#include "dataplane/dpdk/handoff.h"

#include <sluice/packet/egress.h>
#include <sluice/packet/icmp.h>

#include "dataplane/dpdk/schedule.h"
#include "dataplane/dpdk/source.h"
#include "dataplane/lookup.h"

/* Another flow with the way back of one of mode nat: whether it stays, by insert_nat()'s rule. */
static bool is_taken(struct worker *worker, const struct snapshot *snapshot,
		     struct flow_table *table, const struct sl_flow *flow)
{
	struct sl_tuple reply = sl_flow_tuple(flow, SL_DIRECTION_REPLY);
	enum sl_direction direction;
	struct sl_flow *other =
		flow_table_find(table, sl_flow_hash(&table->key, &reply), &reply, &direction);

	if (other == NULL)
		return false;
	if (!lookup_flow_yields(snapshot, other))
		return true;
	worker_end_flow(worker, table, other);
	return false;
}

/* The backend of the flow that would be made for a client's packet. */
static uint32_t choose(struct worker *worker, const struct snapshot *snapshot, uint32_t service,
		       const struct sl_packet *packet)
{
	struct choice choice = lookup_choose(snapshot, service, &packet->tuple);

	if (choice.backend == SL_NO_INDEX || !lookup_is_first(packet))
		return choice.backend;
	return schedule_backend(worker, snapshot, service, &packet->tuple, &choice);
}

/* A client's packet: the flow that it would be given. */
static void vet_new(struct worker *worker, const struct snapshot *snapshot, uint32_t service,
		    const struct sl_packet *packet, uint64_t hash, struct steering_mark *mark)
{
	struct flow_table *table = worker_table(worker, packet->tuple.family);
	const struct sl_backend *backend;
	struct sl_flow_ipv6 room = {.flow = {0}};
	struct sl_flow *flow = &room.flow;

	if ((packet->tcp_flags & SL_TCP_RST) != 0)
		return;
	if (!mark->has_backend) {
		mark->backend = choose(worker, snapshot, service, packet);
		mark->has_backend = 1;
	}
	if (mark->backend == SL_NO_INDEX)
		return;
	backend = &snapshot->backend[mark->backend];
	sl_flow_open(flow, &packet->tuple, &backend->addr,
		     backend->port != 0 ? backend->port : packet->tuple.destination_port);
	flow->service = service & (SL_MAX_SERVICES - 1);
	flow->backend = mark->backend & (SL_MAX_BACKENDS - 1);
	if (snapshot->service[service].mode != WIRE_MODE_FULLNAT)
		mark->is_taken |= is_taken(worker, snapshot, table, flow);
	else if (lookup_may_begin(&snapshot->service[service], packet))
		source_offer(worker, snapshot, table, flow, hash, packet->tcp_sequence, mark);
}

/* A backend's packet: the client's end of a flow that it would be given. */
static void vet_orphan(struct worker *worker, const struct snapshot *snapshot, uint32_t backend,
		       const struct sl_packet *packet, struct steering_mark *mark)
{
	const struct flow_table *table = worker_table(worker, packet->tuple.family);
	struct sl_tuple client = lookup_client(snapshot, backend, &packet->tuple);
	enum sl_direction direction;

	mark->is_taken |= flow_table_find(table, sl_flow_hash(&table->key, &client), &client,
					  &direction) != NULL;
}

/* A client's packet of mode snat: the source that its flow would be given. */
static void vet_egress(struct worker *worker, const struct snapshot *snapshot,
		       const struct sl_packet *packet, uint64_t hash, const struct outcome *outcome)
{
	struct sl_tuple key = sl_egress_key(&packet->tuple, SL_DIRECTION_FORWARD);
	struct sl_flow_ipv6 room = {.flow = {0}};
	struct sl_flow *flow = &room.flow;

	if (outcome->egress != LOOKUP_EGRESS_OUT || !sl_egress_may_begin(packet))
		return;
	sl_egress_open(flow, &key, 0);
	flow->service = outcome->service & (SL_MAX_SERVICES - 1);
	source_offer(worker, snapshot, worker_table(worker, key.family), flow, hash,
		     packet->tcp_sequence, outcome->mark);
}

static void vet(struct worker *worker, const struct snapshot *snapshot,
		const struct sl_packet *packet, uint64_t hash, const struct outcome *outcome)
{
	struct steering_mark *mark = outcome->mark;
	uint32_t service = lookup_service(snapshot, &packet->tuple);
	uint32_t backend;

	/* Errors make no flow, nor does what follows a first fragment. */
	if (sl_packet_is_icmp_error(packet) || sl_packet_is_later(packet))
		return;
	if (outcome->egress != LOOKUP_NO_EGRESS) {
		vet_egress(worker, snapshot, packet, hash, outcome);
		return;
	}
	if (service != SL_NO_INDEX) {
		vet_new(worker, snapshot, service, packet, hash, mark);
		return;
	}
	backend = lookup_replier(snapshot, &packet->tuple);
	if (backend != SL_NO_INDEX)
		vet_orphan(worker, snapshot, backend, packet, mark);
}

static uint32_t index_of(const struct worker *worker, const struct snapshot *snapshot,
			 const struct sl_tuple *tuple, const struct outcome *outcome)
{
	const struct sl_hash_key *key = &worker->flows4.key;

	/* By its addresses it would be nobody's: it has another client's by now. */
	if (SL_UNLIKELY(outcome->is_back))
		return steer_endpoint(worker->steering, key, &tuple->source, tuple->source_port,
				      tuple->family, tuple->protocol);
	return steer_index(worker->steering, key, snapshot, tuple);
}

bool handoff_ask(struct worker *worker, const struct snapshot *snapshot,
		 const struct sl_packet *packet, uint64_t hash, struct outcome *outcome)
{
	const struct steering *steering = worker->steering;
	struct steering_mark *mark = outcome->mark;
	uint32_t index = index_of(worker, snapshot, &packet->tuple, outcome);
	uint32_t next;

	if (mark->number != steering->number || mark->snapshot != (uint32_t)snapshot->generation)
		steering_mark_renew(mark, steering->number, (uint32_t)snapshot->generation);
	if (steering->reta[0][index] != worker->id)
		vet(worker, snapshot, packet, hash, outcome);
	next = steering_next(steering, index, worker->id, mark);
	if (next == worker->id)
		return false;
	outcome->is_handed = true;
	outcome->port = next;
	return true;
}
