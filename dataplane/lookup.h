/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * What a snapshot says of a packet that has no flow: its service, the backend its hash chooses, or
 * the backend whose reply it is. Pure; any thread that may read the snapshot.
 */
#pragma once

#include <sluice/packet/affinity.h>
#include <sluice/packet/flow.h>
#include <sluice/packet/maglev.h>
#include <sluice/packet/schedule.h>

#include "dataplane/snapshot.h"

/** The service that a packet to this address, port and protocol is for, or SL_NO_INDEX. */
SL_INLINE uint32_t lookup_service(const struct snapshot *snapshot, const struct sl_tuple *tuple)
{
	uint32_t service =
		snapshot_find_service(snapshot, &tuple->destination, tuple->destination_port,
				      tuple->family, tuple->protocol);

	if (service == SL_NO_INDEX && snapshot->has_wildcard)
		service = snapshot_find_service(snapshot, &tuple->destination, 0, tuple->family,
						tuple->protocol);
	return service;
}

/** What a packet's hash chooses. */
struct choice {
	uint64_t hash; /* under the snapshot's key: the same on every host that has it */
	uint32_t slot;
	uint32_t backend; /* SL_NO_INDEX: none takes new flows */
	enum sl_audience audience;
};

/** Whose new flows those of a client of @service at @addr are. */
SL_INLINE enum sl_audience lookup_audience(const struct snapshot *snapshot, uint32_t service,
					   const union sl_addr *addr, uint8_t family)
{
	return SL_UNLIKELY(snapshot->service[service].flags & SL_SERVICE_CANARY) &&
			       lists_has(snapshot->lists[service], WIRE_CANARY_SOURCE, addr, family)
		       ? SL_AUDIENCE_CANARY
		       : SL_AUDIENCE_ALL;
}

/** The backend that @slot of @service leads @audience to, or SL_NO_INDEX. */
SL_INLINE uint32_t lookup_slot(const struct snapshot *snapshot, uint32_t service,
			       enum sl_audience audience, uint32_t slot)
{
	const struct slot_table *table = audience == SL_AUDIENCE_ALL
						 ? snapshot->slots[service]
						 : snapshot->canary_slots[service];
	uint16_t position = table->slot[slot];

	return position != SL_NO_BACKEND_SLOT
		       ? snapshot->member[snapshot->service[service].first_member + position]
		       : SL_NO_INDEX;
}

/** What chooses the slot of a packet with @tuple to @service. @hash: sl_flow_hash() under the snapshot's key. */
SL_INLINE uint64_t lookup_hash_by(const struct snapshot *snapshot, const struct sl_service *service,
				  const struct sl_tuple *tuple, uint64_t hash)
{
	return SL_UNLIKELY(service->scheduler == WIRE_SCHEDULER_SOURCE_HASH)
		       ? sl_source_hash(&snapshot->hash_key, tuple)
		       : hash;
}

/** The same for whoever has no such hash yet. */
SL_INLINE uint64_t lookup_hash(const struct snapshot *snapshot, const struct sl_service *service,
			       const struct sl_tuple *tuple)
{
	return service->scheduler == WIRE_SCHEDULER_SOURCE_HASH
		       ? sl_source_hash(&snapshot->hash_key, tuple)
		       : sl_flow_hash(&snapshot->hash_key, tuple);
}

/** lookup_choose() for whoever has the @hash, lookup_hash() of @tuple, already. */
SL_INLINE struct choice lookup_choose_by(const struct snapshot *snapshot, uint32_t service,
					 const struct sl_tuple *tuple, uint64_t hash)
{
	struct choice choice;

	choice.hash = hash;
	choice.slot = sl_maglev_slot(hash, snapshot->service[service].n_slots);
	choice.audience = lookup_audience(snapshot, service, &tuple->source, tuple->family);
	choice.backend = lookup_slot(snapshot, service, choice.audience, choice.slot);
	return choice;
}

/** By the hash: also where the scheduler is another, for packets that make no flow. */
SL_INLINE struct choice lookup_choose(const struct snapshot *snapshot, uint32_t service,
				      const struct sl_tuple *tuple)
{
	return lookup_choose_by(snapshot, service, tuple,
				lookup_hash(snapshot, &snapshot->service[service], tuple));
}

/** As @choice, of one of the canary's clients, but as for all clients: the canary has no room. */
SL_INLINE struct choice lookup_choose_of_all(const struct snapshot *snapshot, uint32_t service,
					     const struct choice *choice)
{
	struct choice of_all = *choice;

	of_all.audience = SL_AUDIENCE_ALL;
	of_all.backend = lookup_slot(snapshot, service, SL_AUDIENCE_ALL, choice->slot);
	return of_all;
}

/**
 * The backend that @word, an affinity entry's of @service, names, if it may take new flows of @audience
 * but for how many it has; or SL_NO_INDEX.
 */
SL_INLINE uint32_t lookup_affinity(const struct snapshot *snapshot, uint32_t service,
				   enum sl_audience audience, uint64_t word)
{
	uint32_t index = sl_affinity_backend(word);
	const struct sl_backend *backend;

	if (word == 0 || index >= snapshot->n_backends)
		return SL_NO_INDEX;
	backend = &snapshot->backend[index];
	return backend->family != SL_FAMILY_NONE && backend->service == service &&
			       backend->epoch == sl_affinity_epoch(word) &&
			       backend->weight[audience] != 0
		       ? index
		       : SL_NO_INDEX;
}

struct dataplane;

/** How many flows of @backend count for its limit, as the engine knows it. */
typedef uint32_t lookup_flows_of(const struct dataplane *dataplane, uint32_t backend);

/** Whether @backend has as many flows as it may. */
SL_INLINE bool lookup_is_full(const struct snapshot *snapshot, uint32_t backend,
			      const struct dataplane *dataplane, lookup_flows_of *flows_of)
{
	uint32_t max_flows = snapshot->max_flows[backend];

	return max_flows != 0 && flows_of(dataplane, backend) >= max_flows;
}

/**
 * Of a few members of @service with a weight for the choice's audience, from where its hash says on, the one
 * with the fewest flows for that weight. SL_NO_INDEX: none of them may have another one.
 */
SL_INLINE uint32_t lookup_least(const struct snapshot *snapshot, const struct sl_service *service,
				const struct choice *choice, const struct dataplane *dataplane,
				lookup_flows_of *flows_of)
{
	uint32_t index = (uint32_t)(service - snapshot->service);
	const struct slot_table *slots = choice->audience == SL_AUDIENCE_CANARY
						 ? snapshot->canary_slots[index]
						 : snapshot->slots[index];
	uint32_t n = slots->n_candidates;
	uint32_t position = sl_maglev_slot(choice->hash, n);
	struct sl_least least = {0};

	for (uint32_t i = 0; i < n && i < SL_SCHEDULE_CANDIDATES; i++) {
		uint32_t at = slots->slot[slots->n_slots + position];
		uint32_t backend = snapshot->member[service->first_member + at];

		sl_least_offer(&least, backend, snapshot->backend[backend].weight[choice->audience],
			       flows_of(dataplane, backend), snapshot->max_flows[backend]);
		position = position + 1 < n ? position + 1 : 0;
	}
	return least.weight != 0 ? least.backend : SL_NO_INDEX;
}

/** The flow's backend, or NULL if it was deleted, replaced or is in maintenance. */
SL_INLINE const struct sl_backend *lookup_flow_backend(const struct snapshot *snapshot,
						       const struct sl_flow *flow)
{
	const struct sl_backend *backend;

	if (SL_UNLIKELY(flow->backend >= snapshot->n_backends))
		return NULL;
	backend = &snapshot->backend[flow->backend];
	if (SL_UNLIKELY(backend->epoch != flow->backend_epoch || backend->is_gone ||
			backend->family == SL_FAMILY_NONE))
		return NULL;
	return backend;
}

/** Whether a flow of mode nat leaves its way back to a new one: it is over, or was never answered. */
SL_INLINE bool lookup_flow_yields(const struct snapshot *snapshot, const struct sl_flow *flow)
{
	return sl_flow_is_over(flow) || lookup_flow_backend(snapshot, flow) == NULL ||
	       flow->state == SL_FLOW_EMBRYONIC;
}

/** Whether packets of @service without a flow cannot be forwarded. */
SL_INLINE bool lookup_needs_flow(const struct sl_service *service)
{
	return service->mode == WIRE_MODE_FULLNAT || service->proxy_protocol != WIRE_PROXY_NONE;
}

/** Whether @packet is the first of a connection, or of what may be one: its flow is scheduled. */
SL_INLINE bool lookup_is_first(const struct sl_packet *packet)
{
	return sl_flow_is_opening(packet) ||
	       (packet->tuple.protocol == SL_PROTOCOL_UDP && !sl_packet_is_later(packet));
}

/** Whether a packet that has no flow may have one: where one is needed, a connection's first alone. */
SL_INLINE bool lookup_may_begin(const struct sl_service *service, const struct sl_packet *packet)
{
	return !lookup_needs_flow(service) || lookup_is_first(packet);
}

/** What @backend answers in the flow of mode nat in which the client sends @tuple. */
SL_INLINE struct sl_tuple lookup_reply(const struct sl_backend *backend,
				       const struct sl_tuple *tuple)
{
	return (struct sl_tuple){
		.protocol = tuple->protocol,
		.family = tuple->family,
		.source = backend->addr,
		.source_port = backend->port != 0 ? backend->port : tuple->destination_port,
		.destination = tuple->source,
		.destination_port = tuple->source_port,
	};
}

/** What the client sends in the flow of mode nat whose reply, of @backend, is @reply. */
SL_INLINE struct sl_tuple lookup_client(const struct snapshot *snapshot, uint32_t backend,
					const struct sl_tuple *reply)
{
	const struct sl_service *service = &snapshot->service[snapshot->backend[backend].service];

	return (struct sl_tuple){
		.protocol = reply->protocol,
		.family = reply->family,
		.source = reply->destination,
		.source_port = reply->destination_port,
		.destination = service->addr,
		.destination_port = service->port != 0 ? service->port : reply->source_port,
	};
}

/** Whether a packet may not come from @addr: it is a service's, or stands in for clients. */
SL_INLINE bool lookup_is_own_address(const struct snapshot *snapshot, const union sl_addr *addr,
				     uint8_t family)
{
	return snapshot_is_service_address(snapshot, addr, family) ||
	       snapshot_is_source_address(snapshot, addr, family);
}

/**
 * The backend, and by it the service, to which this packet is to be translated back without a flow:
 * where that is certain, the mode is nat, and the service says so. SL_NO_INDEX: none. What goes to an
 * address that stands in for clients is a reply to that address, or nobody's.
 */
SL_INLINE uint32_t lookup_replier(const struct snapshot *snapshot, const struct sl_tuple *tuple)
{
	uint32_t backend = snapshot_find_backend(snapshot, &tuple->source, tuple->source_port,
						 tuple->family, tuple->protocol);
	const struct sl_service *service;

	if (backend == SL_NO_INDEX && snapshot->has_wildcard)
		backend = snapshot_find_backend(snapshot, &tuple->source, 0, tuple->family,
						tuple->protocol);
	if (backend == SL_NO_INDEX ||
	    snapshot_is_source_address(snapshot, &tuple->destination, tuple->family))
		return SL_NO_INDEX;
	service = &snapshot->service[snapshot->backend[backend].service];
	/* How a connection's numbers are shifted, its flow alone knows. */
	if (service->proxy_protocol != WIRE_PROXY_NONE && tuple->protocol == SL_PROTOCOL_TCP)
		return SL_NO_INDEX;
	return service->mode == WIRE_MODE_NAT && (service->flags & SL_SERVICE_STATELESS_REPLIES)
		       ? backend
		       : SL_NO_INDEX;
}

/** Which packets of mode snat a packet is one of, by its addresses. */
enum lookup_egress {
	LOOKUP_NO_EGRESS = 0,
	LOOKUP_EGRESS_OUT, /* from a client */
	LOOKUP_EGRESS_IN,  /* to an address of a source pool of mode snat */
};

/** Whether @tuple comes from what is a backend of some service. */
SL_INLINE bool lookup_is_from_backend(const struct snapshot *snapshot, const struct sl_tuple *tuple)
{
	const union sl_addr *addr = &tuple->source;

	if (SL_LIKELY(!snapshot_may_be_backend(snapshot, addr, tuple->family)))
		return false;
	return snapshot_find_endpoint(snapshot, addr, tuple->source_port, tuple->family,
				      tuple->protocol) != SL_NO_INDEX ||
	       (snapshot->has_wildcard && snapshot_find_endpoint(snapshot, addr, 0, tuple->family,
								 tuple->protocol) != SL_NO_INDEX);
}

/**
 * By which flow of mode snat a packet with @tuple may go. The same for all packets between the same
 * ends, an ICMP error's turned round, so that one worker owns them. *@service: of LOOKUP_EGRESS_OUT,
 * its index. What clients send to each other, to services, and backends as such, is not meant.
 */
SL_INLINE enum lookup_egress lookup_egress(const struct snapshot *snapshot,
					   const struct sl_tuple *tuple, uint32_t *service)
{
	uint8_t mode = snapshot_source_mode(snapshot, &tuple->destination, tuple->family);

	/* Also what one client sends to the source of another. */
	if (mode == WIRE_MODE_SNAT)
		return LOOKUP_EGRESS_IN;
	*service = prefix_table_find(&snapshot->inside, &tuple->source, tuple->family);
	if (*service == SL_NO_INDEX || mode == WIRE_MODE_FULLNAT ||
	    snapshot_is_service_address(snapshot, &tuple->destination, tuple->family) ||
	    prefix_table_find(&snapshot->inside, &tuple->destination, tuple->family) !=
		    SL_NO_INDEX ||
	    lookup_is_from_backend(snapshot, tuple))
		return LOOKUP_NO_EGRESS;
	return LOOKUP_EGRESS_OUT;
}

/** Whether service @service denies @addr by @which, enum wire_list. */
SL_INLINE bool lookup_is_denied(const struct snapshot *snapshot, uint32_t service, uint8_t which,
				const union sl_addr *addr, uint8_t family)
{
	return SL_UNLIKELY(snapshot->service[service].denies >> which & 1) &&
	       lists_has(snapshot->lists[service], which, addr, family);
}

/** Whether there are services of mode snat for packets of @family. */
SL_INLINE bool lookup_has_egress(const struct snapshot *snapshot, uint8_t family)
{
	return snapshot->inside.n_ranges[family != SL_FAMILY_IPV4] != 0;
}
