/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * A free source is found by asking the flow table: no list of free ports, no lock, no memory for an
 * address. The whole range of ports is there for each pair of source address and backend, and the
 * ports tried are those whose replies the network card, or steer.c, gives to this worker.
 */
#include "dataplane/dpdk/source.h"

#include <sluice/packet/egress.h>

#include "dataplane/lookup.h"

/* The source address with the fewest flows to this backend; @random decides between equals. */
static uint32_t least_used(const struct worker *worker, const struct sl_service *service,
			   uint32_t backend, uint32_t random)
{
	const uint32_t *n_flows = worker->source_flows[backend];
	uint32_t best = (uint32_t)(((uint64_t)random * service->n_sources) >> 32);

	for (uint32_t i = 0; i < service->n_sources; i++)
		if (n_flows[i] < n_flows[best])
			best = i;
	return best;
}

/* Whether the port of @other may be given away: it is over in a way that the backend knows of. */
static bool yields(const struct snapshot *snapshot, const struct sl_flow *other, uint32_t sequence)
{
	return sl_flow_yields_port(other, sequence) || lookup_flow_backend(snapshot, other) == NULL;
}

/* Takes the source of @other, which ends. */
static int take_over(struct worker *worker, struct flow_table *table, struct sl_flow *flow,
		     uint64_t hash, struct sl_flow *other)
{
	struct sl_flow *again;

	flow->source_port = other->source_port;
	worker_end_flow(worker, table, other);
	worker->counters.event[SL_EVENT_SOURCE_PORT_REUSED]++;
	return flow_table_insert(table, flow, hash, &again);
}

static bool is_snat(const struct snapshot *snapshot, const struct sl_flow *flow)
{
	return snapshot->service[flow->service].mode == WIRE_MODE_SNAT;
}

/* What makes the packets of @flow a matter of the same workers, whichever steering is asked. */
static uint32_t column_of(const struct worker *worker, const struct snapshot *snapshot,
			  const struct flow_table *table, const struct sl_flow *flow)
{
	const struct steering *steering = worker->steering;
	struct sl_tuple client = sl_flow_tuple(flow, SL_DIRECTION_FORWARD);

	if (is_snat(snapshot, flow))
		return steering->column[steer_endpoint(steering, &table->key, &client.source,
						       client.source_port, client.family,
						       client.protocol)];
	return steering->column[steer_index(steering, &table->key, snapshot, &client)];
}

/**
 * Ports of mode snat: a frame to one of them is the worker's that the client's are, whoever sends it, so
 * no card's hash decides, and each port is asked for its column. In the range's order by a random odd step
 * around a power of two, so that each comes once.
 */
struct keyed_walk {
	const struct steering *steering;
	const struct sl_hash_key *key;
	const struct sl_flow *flow; /* NULL: this walk is not meant */
	union sl_addr source;
	uint32_t column;
	uint32_t n_left; /* places still to look at */
	uint32_t n_tries_left;
	uint32_t n_ports; /* of the range */
	uint32_t at;
	uint32_t step;
	uint32_t mask;
	uint16_t first;
};

static void keyed_walk_begin(struct keyed_walk *walk, const struct worker *worker,
			     const struct sl_service *service, const struct sl_flow *flow,
			     uint32_t column, uint32_t random)
{
	uint32_t n_ports = (uint32_t)(service->source_port_last - service->source_port_first) + 1;
	uint32_t mask = n_ports > 1 ? (2u << (31 - __builtin_clz(n_ports - 1))) - 1 : 0;

	*walk = (struct keyed_walk){
		.steering = worker->steering,
		.key = &worker->flows4.key,
		.flow = flow,
		.source = sl_flow_addr(flow, SL_FLOW_SOURCE),
		.column = column,
		.n_left = mask < STEERING_MAX_STEPS ? mask + 1 : STEERING_MAX_STEPS,
		.n_tries_left = SL_SOURCE_PORT_TRIES,
		.n_ports = n_ports,
		.at = random & mask,
		.step = random >> 16 | 1,
		.mask = mask,
		.first = service->source_port_first,
	};
}

static bool keyed_walk_next(struct keyed_walk *walk, be16_t *port)
{
	const struct sl_flow *flow = walk->flow;

	for (; walk->n_left > 0 && walk->n_tries_left > 0; walk->n_left--) {
		uint32_t at = walk->at;
		uint32_t index;

		walk->at = (at + walk->step) & walk->mask;
		if (at >= walk->n_ports)
			continue;
		*port = sl_to_be16((uint16_t)(walk->first + at));
		index = steer_endpoint(walk->steering, walk->key, &walk->source, *port,
				       flow->family, flow->protocol);
		if (walk->steering->column[index] != walk->column)
			continue;
		walk->n_left--;
		walk->n_tries_left--;
		return true;
	}
	return false;
}

/** The ports to try for one flow: as others left them, or this worker's own search. */
struct ports {
	const struct steering_mark *offered; /* NULL: none */
	uint32_t at;
	struct steering_walk walk;
	struct keyed_walk keyed;
};

static bool ports_next(struct ports *ports, be16_t *port)
{
	if (ports->offered == NULL && ports->keyed.flow != NULL)
		return keyed_walk_next(&ports->keyed, port);
	if (ports->offered == NULL)
		return steering_walk_next(&ports->walk, port);
	if (ports->at == ports->offered->n_ports)
		return false;
	*port = ports->offered->port[ports->at++];
	return true;
}

static void set_source(const struct snapshot *snapshot, struct sl_flow *flow, uint32_t position)
{
	const struct sl_service *service = &snapshot->service[flow->service];
	const union sl_addr *addr = &snapshot->source[service->first_source + position];

	sl_flow_set_source(flow, addr, 0, position, flow->family);
}

static void walk_begin(struct ports *ports, const struct worker *worker,
		       const struct sl_service *service, const struct sl_flow *flow,
		       uint32_t column, uint32_t random)
{
	struct sl_tuple reply = sl_flow_tuple(flow, SL_DIRECTION_REPLY);

	if (service->mode == WIRE_MODE_SNAT)
		keyed_walk_begin(&ports->keyed, worker, service, flow, column, random);
	else
		steering_walk_begin(&ports->walk, worker->steering, &reply, column,
				    service->source_port_first, service->source_port_last, random);
}

/* In mode snat all flows of a client's address have one source address, on every host. */
static uint32_t paired_source(const struct snapshot *snapshot, const struct sl_service *service,
			      const struct sl_flow *flow)
{
	union sl_addr client = sl_flow_addr(flow, SL_FLOW_CLIENT);

	return sl_egress_source(&snapshot->hash_key, service->n_sources, &client, flow->family);
}

int source_insert(struct worker *worker, const struct snapshot *snapshot, struct flow_table *table,
		  struct sl_flow *flow, uint64_t hash, uint32_t sequence,
		  const struct steering_mark *mark)
{
	const struct sl_service *service = &snapshot->service[flow->service];
	const struct steering *steering = worker->steering;
	const uint64_t words[2] = {hash, worker->now_tsc};
	uint64_t random = sl_siphash13_words(&table->key, words, 2);
	struct ports ports = {.offered = mark != NULL && mark->is_vetted ? mark : NULL};
	struct sl_flow *yielding = NULL;
	int status = -EEXIST;
	uint32_t position;
	be16_t port;

	if (SL_LIKELY(ports.offered == NULL)) {
		/* Without former tables an owner's column is its number. */
		uint32_t column = SL_LIKELY(steering->n_former == 0)
					  ? worker->id
					  : column_of(worker, snapshot, table, flow);

		position = service->mode == WIRE_MODE_SNAT
				   ? paired_source(snapshot, service, flow)
				   : least_used(worker, service, flow->backend,
						(uint32_t)(random >> 32));
		set_source(snapshot, flow, position);
		walk_begin(&ports, worker, service, flow, column, (uint32_t)random);
	} else {
		position = mark->position;
		set_source(snapshot, flow, position);
	}
	while (status == -EEXIST && ports_next(&ports, &port)) {
		struct sl_flow *other;

		worker->counters.event[SL_EVENT_SOURCE_PORT_TRIES]++;
		flow->source_port = port;
		status = flow_table_insert(table, flow, hash, &other);
		if (status == -EEXIST && yielding == NULL && yields(snapshot, other, sequence))
			yielding = other;
	}
	if (status == -EEXIST && yielding != NULL)
		status = take_over(worker, table, flow, hash, yielding);
	if (status == 0)
		worker->source_flows[flow->backend][position]++;
	return status == -EEXIST ? -EADDRNOTAVAIL : status;
}

/* Whether no flow of @table has the source port; one that yields it ends. */
static bool is_free(struct worker *worker, const struct snapshot *snapshot,
		    struct flow_table *table, struct sl_flow *flow, be16_t port, uint32_t sequence)
{
	enum sl_direction direction;
	struct sl_tuple reply;
	struct sl_flow *other;

	flow->source_port = port;
	reply = sl_flow_tuple(flow, SL_DIRECTION_REPLY);
	other = flow_table_find(table, sl_flow_hash(&table->key, &reply), &reply, &direction);
	if (other == NULL)
		return true;
	if (!yields(snapshot, other, sequence))
		return false;
	worker_end_flow(worker, table, other);
	worker->counters.event[SL_EVENT_SOURCE_PORT_REUSED]++;
	return true;
}

void source_offer(struct worker *worker, const struct snapshot *snapshot, struct flow_table *table,
		  struct sl_flow *flow, uint64_t hash, uint32_t sequence,
		  struct steering_mark *mark)
{
	const uint64_t words[2] = {hash, worker->now_tsc};
	uint64_t random = sl_siphash13_words(&table->key, words, 2);
	struct steering_mark former = *mark;
	struct ports ports = {.offered = mark->is_vetted ? &former : NULL};
	be16_t port;

	if (!mark->is_vetted) {
		const struct sl_service *service = &snapshot->service[flow->service];

		/* By chance: this worker's flows get fewer, whatever it offers. */
		mark->position = service->mode == WIRE_MODE_SNAT
					 ? (uint8_t)paired_source(snapshot, service, flow)
					 : (uint8_t)(((random >> 32) * service->n_sources) >> 32);
		set_source(snapshot, flow, mark->position);
		walk_begin(&ports, worker, service, flow, column_of(worker, snapshot, table, flow),
			   (uint32_t)random);
	} else {
		set_source(snapshot, flow, mark->position);
	}
	mark->is_vetted = 1;
	mark->n_ports = 0;
	while (mark->n_ports < STEERING_MAX_OFFERED && ports_next(&ports, &port)) {
		worker->counters.event[SL_EVENT_SOURCE_PORT_TRIES]++;
		if (is_free(worker, snapshot, table, flow, port, sequence))
			mark->port[mark->n_ports++] = port;
	}
}
