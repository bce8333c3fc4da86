/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * How a packet whose way is known leaves. The verdict is known before the first byte is written.
 * Never here: allocation, lock, log.
 */
#include "dataplane/dpdk/dispatch.h"

#include <sluice/packet/flow.h>
#include <sluice/packet/icmp.h>

#include "dataplane/dpdk/proxy.h"

static void ask_resolve(struct worker *worker, uint16_t adjacency, const union sl_addr *addr,
			uint8_t family)
{
	struct resolve_request request = {.adjacency = adjacency, .family = family};

	/* The kernel was asked when the packet first came, and asks the link again by itself. */
	if (worker->is_retrying)
		return;
	request.addr = *addr;
	worker->counters.event[SL_EVENT_RESOLVE]++;
	/* A full ring means that the same was asked a moment ago. */
	(void)rte_ring_enqueue_elem(worker->resolve, &request, sizeof(request));
	bell_ring(&worker->dataplane->asked);
}

static void rewrite_error(struct worker *worker, struct sl_packet *packet, const struct way *way,
			  uint32_t length)
{
	uint8_t *data = (uint8_t *)packet->ethernet;

	worker->counters.event[SL_EVENT_ICMP_ERROR]++;
	worker->counters.event[SL_EVENT_ICMP_SMALL_MTU] += packet->has_small_mtu;
	/* It was parsed, so it can be. */
	(void)!sl_icmp_rewrite(data, data + length, packet, &way->to, way->keeps_source);
	if (way->with_header != NULL && way->verdict == SL_VERDICT_REPLY &&
	    packet->tuple.protocol == SL_PROTOCOL_TCP) {
		struct sl_proxy proxy = sl_flow_proxy(way->with_header);

		(void)!sl_icmp_rewrite_stream(data, data + length, packet, &proxy);
	}
}

/* Headers and other numbers are for whole packets: UDP's replies alone have neither. */
static enum sl_verdict rewrite_fragment(struct sl_packet *packet, const struct way *way)
{
	if (way->with_header != NULL &&
	    !(way->verdict == SL_VERDICT_REPLY && packet->tuple.protocol == SL_PROTOCOL_UDP))
		return SL_VERDICT_DROP_FRAGMENT_HEADER;
	if (sl_packet_is_later(packet))
		(void)sl_nat_l3(packet, &way->to);
	else
		sl_nat_rewrite(packet, &way->to);
	return SL_VERDICT_NONE;
}

/* Writes the packet. SL_VERDICT_NONE: done; else why it cannot be, and nothing was written. */
static enum sl_verdict rewrite(struct worker *worker, struct sl_packet *packet,
			       const struct way *way, const struct port *port,
			       struct rte_mbuf *frame)
{
	enum sl_direction direction =
		way->verdict == SL_VERDICT_FORWARD ? SL_DIRECTION_FORWARD : SL_DIRECTION_REPLY;
	enum sl_verdict verdict = SL_VERDICT_NONE;

	if (SL_UNLIKELY(sl_packet_is_icmp_error(packet))) {
		rewrite_error(worker, packet, way, frame->data_len);
		return SL_VERDICT_NONE;
	}
	if (SL_UNLIKELY(packet->fragment != SL_PACKET_WHOLE))
		return rewrite_fragment(packet, way);
	if (SL_UNLIKELY(packet->echo != SL_PACKET_NO_ECHO)) {
		sl_icmp_rewrite_echo(packet, &way->to);
		return SL_VERDICT_NONE;
	}
	if (SL_UNLIKELY(way->with_header != NULL))
		verdict = proxy_packet(frame, packet, way->with_header, direction, port);
	if (SL_LIKELY(verdict == SL_VERDICT_NONE))
		sl_nat_rewrite(packet, &way->to);
	return verdict;
}

/* What the sender of a packet that may not go its way is told. */
static void refuse_on_way(const struct worker *worker, const struct way *way,
			  const struct sl_adjacency *adjacency, struct outcome *outcome)
{
	const struct sl_service *service = &worker->snapshot->service[way->service];
	struct refusal *told = &outcome->refusal;

	if (outcome->verdict == SL_VERDICT_DROP_TOO_BIG) {
		told->reason =
			sl_proxy_room(worker->dataplane->port[adjacency->port].mtu, way->family);
		outcome->is_refused = told->reason != 0;
	} else if (outcome->verdict == SL_VERDICT_DROP_TTL) {
		told->reason = SL_REFUSED_EXPIRED;
		outcome->is_refused = true;
		/* In mode nat a backend's packet goes to the client, for whom its service speaks. */
		if (way->speaker != NULL)
			told->from = way->speaker;
		else if (way->verdict == SL_VERDICT_REPLY && service->mode != WIRE_MODE_FULLNAT)
			told->from = &service->addr;
	}
}

void dispatch(struct worker *worker, struct sl_packet *packet, const struct way *way,
	      struct rte_mbuf *frame, struct outcome *outcome)
{
	const struct sl_adjacency *adjacency = &worker->dataplane->adjacency[way->adjacency];
	uint32_t length = frame->pkt_len;

	if (SL_UNLIKELY(!__atomic_load_n(&adjacency->is_valid, __ATOMIC_ACQUIRE))) {
		if (way->adjacency >= SL_ADJACENCY_GLEAN) {
			ask_resolve(worker, way->adjacency, &way->to.destination, way->family);
			outcome->verdict = SL_VERDICT_DROP_NO_NEIGHBOUR;
			return;
		}
		outcome->verdict = SL_VERDICT_DROP_NO_ROUTE;
	} else if (SL_UNLIKELY(!sl_nat_has_ttl(packet))) {
		outcome->verdict = SL_VERDICT_DROP_TTL;
	} else {
		outcome->verdict = rewrite(worker, packet, way,
					   &worker->dataplane->port[adjacency->port], frame);
	}
	if (SL_UNLIKELY(outcome->verdict != SL_VERDICT_NONE)) {
		worker->service_counters[way->service].drops++;
		refuse_on_way(worker, way, adjacency, outcome);
		return;
	}
	sl_nat_ethernet(packet->ethernet, adjacency->destination_mac, adjacency->source_mac);
	outcome->port = adjacency->port;
	outcome->verdict = way->verdict;
	dispatch_count(worker, way->verdict, way->backend, length);
}

uint16_t dispatch_ask_adjacency(struct worker *worker, struct sl_flow *flow)
{
	struct dataplane *dataplane = worker->dataplane;
	union sl_addr client = sl_flow_addr(flow, SL_FLOW_CLIENT);

	flow->route_generation = __atomic_load_n(&dataplane->route_generation, __ATOMIC_ACQUIRE);
	flow->client_adjacency = route_lookup(dataplane, &client, flow->family);
	return flow->client_adjacency;
}
