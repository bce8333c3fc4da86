/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * The decision for one packet, told step by step: a frame is built from the question and led
 * through the packet core with the live tables, and nothing is changed. What only the engine knows,
 * its flows and next hops, it is asked for. Control thread.
 */
#include "dataplane/explain.h"

#include <arpa/inet.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <sluice/counters.h>
#include <sluice/packet/egress.h>
#include <sluice/packet/nat.h>
#include <sluice/packet/parse.h>

#include "dataplane/dataplane.h"
#include "dataplane/lookup.h"
#include "wire/wire_abi.h"

enum {
	FRAME_BYTES = 128,
	EXPLAINED_TTL = 64,
};

struct explanation {
	struct dataplane *dataplane;
	struct wire_explain_reply *reply;
	struct wire_explain_step *step;
	const struct snapshot *snapshot;
};

__attribute__((format(printf, 3, 4))) static void say(struct explanation *explanation,
						      const char *name, const char *format, ...)
{
	struct wire_explain_step *step = &explanation->step[explanation->reply->n_steps];
	va_list values;

	if (explanation->reply->n_steps == DATAPLANE_MAX_STEPS)
		return;
	explanation->reply->n_steps++;
	snprintf(step->step, sizeof(step->step), "%s", name);
	va_start(values, format);
	vsnprintf(step->text, sizeof(step->text), format, values);
	va_end(values);
}

struct endpoint {
	char text[INET6_ADDRSTRLEN + 10];
};

static struct endpoint endpoint(const union sl_addr *addr, uint8_t family, be16_t port)
{
	struct endpoint result;
	char text[INET6_ADDRSTRLEN] = "?";

	inet_ntop(family == SL_FAMILY_IPV4 ? AF_INET : AF_INET6, addr->byte, text, sizeof(text));
	/* Port 0 stands in no packet: it is not known yet. */
	if (port == 0)
		snprintf(result.text, sizeof(result.text),
			 family == SL_FAMILY_IPV4 ? "%s:*" : "[%s]:*", text);
	else
		snprintf(result.text, sizeof(result.text),
			 family == SL_FAMILY_IPV4 ? "%s:%u" : "[%s]:%u", text, sl_from_be16(port));
	return result;
}

static struct endpoint address(const union sl_addr *addr, uint8_t family)
{
	struct endpoint result = {"?"};

	inet_ntop(family == SL_FAMILY_IPV4 ? AF_INET : AF_INET6, addr->byte, result.text,
		  INET6_ADDRSTRLEN);
	return result;
}

static uint16_t put_l4(uint8_t *l4, const struct wire_explain_request *request)
{
	if (request->protocol == SL_PROTOCOL_TCP) {
		struct sl_tcp *tcp = (struct sl_tcp *)l4;

		tcp->source = request->source_port;
		tcp->destination = request->destination_port;
		tcp->offset = 5 << 4;
		tcp->flags = SL_TCP_SYN;
		return sizeof(*tcp);
	}
	struct sl_udp *udp = (struct sl_udp *)l4;

	udp->source = request->source_port;
	udp->destination = request->destination_port;
	udp->length = SL_BE16(sizeof(*udp));
	udp->checksum = 0xffff;
	return sizeof(*udp);
}

/* A first packet of the question's 5-tuple. Returns its length. */
static uint16_t build_frame(uint8_t *frame, const struct wire_explain_request *request)
{
	struct sl_ethernet *ethernet = (struct sl_ethernet *)frame;

	memset(frame, 0, FRAME_BYTES);
	if (request->family == SL_FAMILY_IPV4) {
		struct sl_ipv4 *ipv4 = (struct sl_ipv4 *)(ethernet + 1);
		uint16_t length = put_l4((uint8_t *)(ipv4 + 1), request);

		ethernet->type = SL_BE16(SL_ETHERTYPE_IPV4);
		ipv4->version_ihl = 0x45;
		ipv4->total_length = sl_to_be16((uint16_t)(sizeof(*ipv4) + length));
		ipv4->ttl = EXPLAINED_TTL;
		ipv4->protocol = request->protocol;
		ipv4->source = request->source.ipv4;
		ipv4->destination = request->destination.ipv4;
		ipv4->checksum = (be16_t)~sl_checksum_ipv4_base(ipv4);
		return (uint16_t)(sizeof(*ethernet) + sizeof(*ipv4) + length);
	}
	struct sl_ipv6 *ipv6 = (struct sl_ipv6 *)(ethernet + 1);
	uint16_t length = put_l4((uint8_t *)(ipv6 + 1), request);

	ethernet->type = SL_BE16(SL_ETHERTYPE_IPV6);
	ipv6->version_class_flow = SL_BE32(0x60000000);
	ipv6->payload_length = sl_to_be16(length);
	ipv6->next_header = request->protocol;
	ipv6->hop_limit = EXPLAINED_TTL;
	memcpy(ipv6->source, request->source.word, 16);
	memcpy(ipv6->destination, request->destination.word, 16);
	return (uint16_t)(sizeof(*ethernet) + sizeof(*ipv6) + length);
}

static void conclude(struct explanation *explanation, enum sl_verdict verdict)
{
	static const char *const help[] = {
#define X(upper, lower, text) text,
		SL_VERDICT_LIST(X)
#undef X
	};

	explanation->reply->verdict = verdict;
	say(explanation, "verdict", "%s: %s", wire_verdict_name(verdict), help[verdict]);
}

static void explain_route(struct explanation *explanation, struct sl_packet *packet,
			  const struct sl_rewrite *to, const struct explain_hop *hop,
			  enum sl_verdict verdict)
{
	uint8_t family = packet->tuple.family;
	struct endpoint from = endpoint(&to->source, family, to->source_port);
	struct endpoint towards = endpoint(&to->destination, family, to->destination_port);
	const uint8_t *mac = hop->mac;
	bool is_unresolved = hop->kind == EXPLAIN_HOP_UNRESOLVED;

	if (hop->kind != EXPLAIN_HOP_READY) {
		say(explanation, "route", "%s to %s",
		    is_unresolved ? "link address not known yet on the way"
				  : "no route through a port of ours",
		    towards.text);
		conclude(explanation,
			 is_unresolved ? SL_VERDICT_DROP_NO_NEIGHBOUR : SL_VERDICT_DROP_NO_ROUTE);
		return;
	}
	say(explanation, "route", "port %s, next hop %02x:%02x:%02x:%02x:%02x:%02x",
	    engine_port_name(explanation->dataplane, hop->port), mac[0], mac[1], mac[2], mac[3],
	    mac[4], mac[5]);
	sl_nat_rewrite(packet, to);
	say(explanation, "rewrite", "%s -> %s, TTL %d -> %d", from.text, towards.text,
	    EXPLAINED_TTL, packet->ipv4 != NULL ? packet->ipv4->ttl : packet->ipv6->hop_limit);
	conclude(explanation, verdict);
}

static void explain_flow(struct explanation *explanation, struct sl_packet *packet,
			 const struct sl_flow *flow, enum sl_direction direction)
{
	static const char *const state[] = {
#define X(upper, lower) #lower,
		SL_FLOW_STATE_LIST(X)
#undef X
	};
	const struct snapshot *snapshot = explanation->snapshot;
	const struct sl_backend *backend;
	union sl_addr client = sl_flow_addr(flow, SL_FLOW_CLIENT);
	union sl_addr addr = sl_flow_addr(flow, SL_FLOW_BACKEND);
	struct explain_hop hop;
	struct sl_rewrite to;

	explanation->reply->has_flow = 1;
	say(explanation, "flow", "known, %s, the packet goes %s",
	    state[flow->state % SL_N_FLOW_STATES],
	    direction == SL_DIRECTION_FORWARD ? "to the backend" : "to the client");
	backend = flow->backend < snapshot->n_backends ? &snapshot->backend[flow->backend] : NULL;
	if (backend == NULL || backend->epoch != flow->backend_epoch || backend->is_gone ||
	    backend->family == SL_FAMILY_NONE) {
		say(explanation, "backend",
		    "deleted or in maintenance: a SYN or a datagram of the "
		    "client is scheduled afresh, all else is dropped");
		conclude(explanation, SL_VERDICT_DROP_BACKEND_GONE);
		return;
	}
	explanation->reply->backend = addr;
	explanation->reply->backend_port = flow->backend_port;
	explanation->reply->family = flow->family;
	say(explanation, "backend", "%s, as the flow remembers",
	    endpoint(&addr, flow->family, flow->backend_port).text);
	sl_flow_rewrite(flow, direction, &to);
	if (direction == SL_DIRECTION_FORWARD)
		hop = engine_next_hop(explanation->dataplane, &addr, flow->family, flow->backend);
	else
		hop = engine_next_hop(explanation->dataplane, &client, flow->family, SL_NO_INDEX);
	explain_route(explanation, packet, &to, &hop,
		      direction == SL_DIRECTION_FORWARD ? SL_VERDICT_FORWARD : SL_VERDICT_REPLY);
}

struct load {
	char text[64];
};

/* How much @backend has, and may have. */
static struct load load_of(const struct explanation *explanation, uint32_t backend)
{
	uint32_t flows = engine_flows_of(explanation->dataplane, backend);
	uint32_t max_flows = explanation->snapshot->max_flows[backend];
	struct load load;

	if (max_flows != 0)
		snprintf(load.text, sizeof(load.text), "%u flows of at most %u", flows, max_flows);
	else
		snprintf(load.text, sizeof(load.text), "%u flows", flows);
	return load;
}

static struct endpoint backend_name(const struct explanation *explanation, uint32_t backend)
{
	const struct sl_backend *record = &explanation->snapshot->backend[backend];

	return endpoint(&record->addr, record->family, record->port);
}

/* Where the hash's backend is full: who is taken instead. */
static uint32_t explain_full(struct explanation *explanation, const struct sl_service *service,
			     const struct choice *choice, uint32_t least)
{
	struct endpoint full = backend_name(explanation, choice->backend);
	struct load load = load_of(explanation, choice->backend);
	const char *name = wire_scheduler_name(service->scheduler);

	if (least == SL_NO_INDEX)
		say(explanation, "scheduler",
		    "%s: %s has %s, and none that it is compared with may have more", name,
		    full.text, load.text);
	else
		say(explanation, "scheduler",
		    "%s: %s has %s; of up to %d, %s has the fewest for its weight (%s)", name,
		    full.text, load.text, SL_SCHEDULE_CANDIDATES,
		    backend_name(explanation, least).text, load_of(explanation, least).text);
	return least;
}

/*
 * The backend of a flow that would be created now, or SL_NO_INDEX: it is refused, for all are full.
 * Turns are not foreseen: each worker counts its own.
 */
static uint32_t explain_scheduler(struct explanation *explanation, const struct sl_service *service,
				  const struct choice *choice)
{
	const struct snapshot *snapshot = explanation->snapshot;
	bool is_least = service->scheduler == WIRE_SCHEDULER_LEAST_CONNECTIONS;
	uint32_t least;

	if (service->scheduler == WIRE_SCHEDULER_ROUND_ROBIN)
		say(explanation, "scheduler",
		    "round_robin: a new flow takes the next turn; the hash is for packets without "
		    "one");
	if ((service->flags & SL_SERVICE_COMPARES) == 0)
		return choice->backend;
	least = lookup_least(snapshot, service, choice, explanation->dataplane, engine_flows_of);
	if (lookup_is_full(snapshot, choice->backend, explanation->dataplane, engine_flows_of))
		return explain_full(explanation, service, choice, least);
	if (!is_least)
		return choice->backend;
	if (least != SL_NO_INDEX)
		say(explanation, "scheduler",
		    "least_connections: of up to %d, %s has the fewest for its weight (%s, weight "
		    "%u); the hash is for packets without a flow",
		    SL_SCHEDULE_CANDIDATES, backend_name(explanation, least).text,
		    load_of(explanation, least).text,
		    snapshot->backend[least].weight[choice->audience]);
	return least;
}

static struct endpoint backend_endpoint(const struct snapshot *snapshot, uint32_t index,
					be16_t kept_port)
{
	const struct sl_backend *backend = &snapshot->backend[index];

	return endpoint(&backend->addr, backend->family,
			backend->port != 0 ? backend->port : kept_port);
}

/* The backend that the client keeps and may have; SL_NO_INDEX: the new flow is scheduled. */
static uint32_t explain_affinity(struct explanation *explanation, const struct sl_tuple *tuple,
				 uint32_t service, enum sl_audience audience)
{
	const struct snapshot *snapshot = explanation->snapshot;
	const struct sl_affinity *rule = &snapshot->affinity[service];
	union sl_addr prefix = sl_affinity_prefix(&tuple->source, rule->prefix_length);
	struct endpoint client = address(&prefix, tuple->family);
	uint32_t left;
	uint64_t word = engine_find_affinity(explanation->dataplane, service, tuple, &left);
	uint32_t backend = lookup_affinity(snapshot, service, audience, word);
	bool is_full = backend != SL_NO_INDEX &&
		       lookup_is_full(snapshot, backend, explanation->dataplane, engine_flows_of);

	if (word == 0)
		say(explanation, "affinity",
		    "%s/%u keeps none: a new flow is scheduled, and what it gets is kept for %u s",
		    client.text, rule->prefix_length, rule->timeout_ticks / SL_TICKS_PER_SEC);
	else if (backend == SL_NO_INDEX)
		say(explanation, "affinity",
		    "%s/%u keeps a backend that takes no new flows of its: it is scheduled",
		    client.text, rule->prefix_length);
	else
		say(explanation, "affinity", "%s/%u keeps %s for another %u s%s", client.text,
		    rule->prefix_length,
		    backend_endpoint(snapshot, backend, tuple->destination_port).text,
		    (left + SL_TICKS_PER_SEC - 1) / SL_TICKS_PER_SEC,
		    is_full ? ", but it has as many flows as it may: it is scheduled" : "");
	return is_full ? SL_NO_INDEX : backend;
}

/* Of those alone that the choice's audience has. */
static uint32_t explain_audience(struct explanation *explanation, const struct sl_tuple *tuple,
				 uint32_t service, const struct choice *choice)
{
	const struct sl_service *record = &explanation->snapshot->service[service];
	uint32_t kept = SL_NO_INDEX;

	if ((record->flags & SL_SERVICE_AFFINITY) != 0)
		kept = explain_affinity(explanation, tuple, service, choice->audience);
	return kept != SL_NO_INDEX ? kept : explain_scheduler(explanation, record, choice);
}

/* Whether the client's new flows are the canary's; nothing is said where it has no sources. */
static void explain_canary(struct explanation *explanation, const struct sl_tuple *tuple,
			   uint32_t service, const struct choice *choice)
{
	const struct lists *lists = explanation->snapshot->lists[service];
	struct endpoint client = address(&tuple->source, tuple->family);

	if (!lists_has_any(lists, WIRE_CANARY_SOURCE))
		return;
	if (choice->audience == SL_AUDIENCE_CANARY)
		say(explanation, "canary", "%s is one of its sources: its group's slots",
		    client.text);
	else if (lists_has(lists, WIRE_CANARY_SOURCE, &tuple->source, tuple->family))
		say(explanation, "canary",
		    "%s is one of its sources, but none of its group takes new flows: as all "
		    "clients",
		    client.text);
	else
		say(explanation, "canary", "%s is none of its sources: as all clients",
		    client.text);
}

/* The backend of a flow that would be created now, or SL_NO_INDEX. @choice: by its hash. */
static uint32_t explain_choice(struct explanation *explanation, const struct sl_tuple *tuple,
			       uint32_t service, const struct choice *choice)
{
	uint32_t backend = explain_audience(explanation, tuple, service, choice);
	struct choice of_all;

	if (backend != SL_NO_INDEX || choice->audience == SL_AUDIENCE_ALL)
		return backend;
	say(explanation, "canary", "its group has no room: as all clients");
	of_all = lookup_choose_of_all(explanation->snapshot, service, choice);
	if (of_all.backend == SL_NO_INDEX)
		return SL_NO_INDEX;
	return explain_audience(explanation, tuple, service, &of_all);
}

/* What would stand in for the client; which port, the flow's creation alone can tell. */
static void explain_source(struct explanation *explanation, const struct sl_service *service,
			   struct sl_rewrite *to)
{
	to->source = explanation->snapshot->source[service->first_source];
	to->source_port = 0;
	say(explanation, "source",
	    "the one of %u source addresses with the fewest flows there, %s say; "
	    "a free port of %u-%u",
	    service->n_sources, address(&to->source, service->family).text,
	    service->source_port_first, service->source_port_last);
}

static void explain_service(struct explanation *explanation, struct sl_packet *packet,
			    uint32_t service)
{
	const struct snapshot *snapshot = explanation->snapshot;
	const struct sl_service *record = &snapshot->service[service];
	struct choice choice;
	uint32_t chosen;
	const struct sl_backend *backend;
	struct explain_hop hop;
	struct sl_rewrite to = {.source = packet->tuple.source,
				.source_port = packet->tuple.source_port};

	if (lookup_is_own_address(snapshot, &packet->tuple.source, packet->tuple.family)) {
		say(explanation, "service",
		    "the source is a service's address, or stands in for clients");
		conclude(explanation, SL_VERDICT_DROP_SOURCE_IS_SERVICE);
		return;
	}
	choice = lookup_choose(snapshot, service, &packet->tuple);
	explanation->reply->hash = choice.hash;
	explanation->reply->slot = choice.slot;
	say(explanation, "flow", "none yet: it would be created");
	explain_canary(explanation, &packet->tuple, service, &choice);
	say(explanation, "slot", "hash %016llx, slot %u of %u", (unsigned long long)choice.hash,
	    choice.slot, record->n_slots);
	if (choice.backend == SL_NO_INDEX) {
		say(explanation, "backend", "none of %u takes new flows", record->n_members);
		conclude(explanation, SL_VERDICT_DROP_NO_BACKEND);
		return;
	}
	chosen = explain_choice(explanation, &packet->tuple, service, &choice);
	if (chosen == SL_NO_INDEX) {
		conclude(explanation, SL_VERDICT_DROP_BACKENDS_FULL);
		return;
	}
	backend = &snapshot->backend[chosen];
	to.destination = backend->addr;
	to.destination_port = backend->port != 0 ? backend->port : packet->tuple.destination_port;
	explanation->reply->backend = to.destination;
	explanation->reply->backend_port = to.destination_port;
	explanation->reply->family = backend->family;
	say(explanation, "backend", "%s, one of %u",
	    endpoint(&to.destination, backend->family, to.destination_port).text,
	    record->n_members);
	if (record->mode == WIRE_MODE_FULLNAT)
		explain_source(explanation, record, &to);
	if (record->proxy_protocol != WIRE_PROXY_NONE)
		say(explanation, "header", "the backend is told of the client by PROXY v2");
	hop = engine_next_hop(explanation->dataplane, &backend->addr, backend->family, chosen);
	explain_route(explanation, packet, &to, &hop, SL_VERDICT_FORWARD);
}

static void explain_stranger(struct explanation *explanation, struct sl_packet *packet)
{
	const struct snapshot *snapshot = explanation->snapshot;
	uint32_t backend = lookup_replier(snapshot, &packet->tuple);
	struct explain_hop hop;
	struct sl_rewrite to = {.destination = packet->tuple.destination,
				.destination_port = packet->tuple.destination_port};
	const struct sl_service *service;

	if (backend == SL_NO_INDEX) {
		say(explanation, "service", "no service there, and no backend's reply");
		conclude(explanation, SL_VERDICT_PUNT_NOT_SERVICE);
		return;
	}
	service = &snapshot->service[snapshot->backend[backend].service];
	say(explanation, "service", "a reply of %s, without a flow",
	    snapshot->service_name[snapshot->backend[backend].service]);
	hop = engine_next_hop(explanation->dataplane, &packet->tuple.destination,
			      packet->tuple.family, SL_NO_INDEX);
	if (hop.kind == EXPLAIN_HOP_LOCAL || hop.kind == EXPLAIN_HOP_NONE) {
		conclude(explanation, SL_VERDICT_PUNT_LOCAL);
		return;
	}
	if (snapshot->backend[backend].is_gone) {
		conclude(explanation, SL_VERDICT_DROP_BACKEND_GONE);
		return;
	}
	to.source = service->addr;
	to.source_port = service->port != 0 ? service->port : packet->tuple.source_port;
	explain_route(explanation, packet, &to, &hop, SL_VERDICT_REPLY);
}

/* Whether a packet of mode snat, that is to go to @addr, has a way through a port of ours. */
static bool explain_egress_way(struct explanation *explanation, const union sl_addr *addr,
			       uint8_t family, struct explain_hop *hop)
{
	*hop = engine_next_hop(explanation->dataplane, addr, family, SL_NO_INDEX);
	if (hop->kind != EXPLAIN_HOP_LOCAL && hop->kind != EXPLAIN_HOP_NONE)
		return true;
	say(explanation, "route", "the host itself, or no port of ours: the kernel decides");
	conclude(explanation, SL_VERDICT_PUNT_NOT_SERVICE);
	return false;
}

/* Whether service @service leads @client nowhere, or nobody to @other. */
static bool explain_denied(struct explanation *explanation, uint32_t service,
			   const union sl_addr *client, const union sl_addr *other, uint8_t family)
{
	const struct snapshot *snapshot = explanation->snapshot;
	bool is_client = lookup_is_denied(snapshot, service, WIRE_DENY_SOURCE, client, family);

	if (!is_client &&
	    !lookup_is_denied(snapshot, service, WIRE_DENY_DESTINATION, other, family))
		return false;
	say(explanation, "deny", "%s has the prefix of %s",
	    is_client ? "deny_source" : "deny_destination",
	    address(is_client ? client : other, family).text);
	conclude(explanation, SL_VERDICT_DROP_DENIED);
	return true;
}

/* From a client of mode snat. */
static void explain_out(struct explanation *explanation, struct sl_packet *packet, uint32_t service)
{
	const struct snapshot *snapshot = explanation->snapshot;
	const struct sl_service *record = &snapshot->service[service];
	const struct sl_tuple *tuple = &packet->tuple;
	struct sl_tuple key = sl_egress_key(tuple, SL_DIRECTION_FORWARD);
	struct sl_rewrite to = {.destination = tuple->destination,
				.destination_port = tuple->destination_port};
	enum sl_direction direction;
	struct sl_flow_ipv6 flow;
	struct explain_hop hop;
	uint32_t position;

	say(explanation, "service", "%s, which leads its clients out",
	    snapshot->service_name[service]);
	if (!explain_egress_way(explanation, &tuple->destination, tuple->family, &hop) ||
	    explain_denied(explanation, service, &tuple->source, &tuple->destination,
			   tuple->family))
		return;
	if (engine_find_flow(explanation->dataplane, &key, &flow, &direction)) {
		explanation->reply->has_flow = 1;
		to.source = sl_flow_addr(&flow.flow, SL_FLOW_SOURCE);
		to.source_port = flow.flow.source_port;
		say(explanation, "flow", "known: to anywhere from %s",
		    endpoint(&to.source, tuple->family, to.source_port).text);
	} else {
		position = sl_egress_source(&snapshot->hash_key, record->n_sources, &tuple->source,
					    tuple->family);
		to.source = snapshot->source[record->first_source + position];
		say(explanation, "flow", "none yet: it would be created");
		say(explanation, "source", "%s, as for all of this client; a free port of %u-%u",
		    address(&to.source, tuple->family).text, record->source_port_first,
		    record->source_port_last);
	}
	explain_route(explanation, packet, &to, &hop, SL_VERDICT_FORWARD);
}

/* To a source of mode snat. */
static void explain_in(struct explanation *explanation, struct sl_packet *packet)
{
	const struct snapshot *snapshot = explanation->snapshot;
	const struct sl_tuple *tuple = &packet->tuple;
	struct sl_tuple key = sl_egress_key(tuple, SL_DIRECTION_REPLY);
	struct sl_rewrite to = {.source = tuple->source, .source_port = tuple->source_port};
	enum sl_direction direction;
	struct sl_flow_ipv6 flow;
	struct explain_hop hop;
	uint32_t inside;

	if (!engine_find_flow(explanation->dataplane, &key, &flow, &direction)) {
		say(explanation, "flow", "no client has this source");
		if (explain_egress_way(explanation, &tuple->destination, tuple->family, &hop))
			conclude(explanation, SL_VERDICT_DROP_NO_MAPPING);
		return;
	}
	explanation->reply->has_flow = 1;
	to.destination = sl_flow_addr(&flow.flow, SL_FLOW_CLIENT);
	to.destination_port = flow.flow.client_port;
	say(explanation, "flow", "known: the source of %s of %s",
	    endpoint(&to.destination, tuple->family, to.destination_port).text,
	    snapshot->service_name[flow.flow.service]);
	if (explain_denied(explanation, flow.flow.service, &to.destination, &tuple->source,
			   tuple->family))
		return;
	inside = prefix_table_find(&snapshot->inside, &tuple->source, tuple->family);
	if (inside != SL_NO_INDEX) {
		say(explanation, "source", "a client's: it is given its own source as well");
		if (explain_denied(explanation, inside, &tuple->source, &tuple->destination,
				   tuple->family))
			return;
	}
	hop = engine_next_hop(explanation->dataplane, &to.destination, tuple->family, SL_NO_INDEX);
	explain_route(explanation, packet, &to, &hop, SL_VERDICT_REPLY);
}

/* Whether mode snat has the packet: then all is said of it. */
static bool explain_egress(struct explanation *explanation, struct sl_packet *packet)
{
	uint32_t service;

	if (!lookup_has_egress(explanation->snapshot, packet->tuple.family))
		return false;
	switch (lookup_egress(explanation->snapshot, &packet->tuple, &service)) {
	case LOOKUP_NO_EGRESS:
		return false;
	case LOOKUP_EGRESS_OUT:
		explain_out(explanation, packet, service);
		return true;
	case LOOKUP_EGRESS_IN:
		explain_in(explanation, packet);
		return true;
	}
	return false;
}

void dataplane_explain(struct dataplane *dataplane, const struct wire_explain_request *request,
		       struct wire_explain_reply *reply, struct wire_explain_step *step)
{
	struct explanation explanation = {.dataplane = dataplane,
					  .reply = reply,
					  .step = step,
					  .snapshot = engine_snapshot(dataplane)};
	uint8_t frame[FRAME_BYTES];
	uint16_t length = build_frame(frame, request);
	struct sl_packet packet;
	struct sl_flow_ipv6 flow;
	enum sl_direction direction;
	enum sl_verdict verdict = sl_parse(frame, frame + length, &packet);
	uint32_t service;

	reply->slot = SL_NO_INDEX;
	say(&explanation, "parse", "%s %s -> %s",
	    request->protocol == SL_PROTOCOL_TCP ? "TCP" : "UDP",
	    endpoint(&request->source, request->family, request->source_port).text,
	    endpoint(&request->destination, request->family, request->destination_port).text);
	if (verdict == SL_VERDICT_NONE && explanation.snapshot == NULL)
		verdict = SL_VERDICT_DROP_NO_CONFIG;
	if (verdict != SL_VERDICT_NONE) {
		conclude(&explanation, verdict);
		return;
	}
	service = lookup_service(explanation.snapshot, &packet.tuple);
	if (service != SL_NO_INDEX)
		say(&explanation, "service", "%s", explanation.snapshot->service_name[service]);
	if (engine_find_flow(dataplane, &packet.tuple, &flow, &direction))
		explain_flow(&explanation, &packet, &flow.flow, direction);
	else if (service != SL_NO_INDEX)
		explain_service(&explanation, &packet, service);
	else if (!explain_egress(&explanation, &packet))
		explain_stranger(&explanation, &packet);
}
