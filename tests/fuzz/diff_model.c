/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
#include "tests/fuzz/diff_model.h"

#include <string.h>

#include <sluice/packet/icmp.h>
#include <sluice/packet/reject.h>

#include "dataplane/lookup.h"

enum {
	MAX_MEMBERS = 64, /* of a service, and more than any has */
};

struct judgement {
	struct sl_packet packet;
	uint8_t *frame;
	uint32_t length;
	uint32_t grown; /* by so many bytes, for the PROXY header */
	uint32_t out_port;
	const struct model_leave *leave;
	bool is_refused;
	uint32_t reason;           /* likewise why, as for sl_reject_kind() */
	const union sl_addr *from; /* and by whom; NULL: from where the packet went */
};

/** Where a rewritten packet goes. */
struct way {
	struct sl_rewrite to;
	uint32_t adjacency;
	enum sl_verdict verdict;
	uint32_t service;
	uint32_t backend;
	bool keeps_source;           /* of an ICMP error */
	struct sl_flow *with_header; /* the packet's flow, if it has PROXY headers */
};

/* Whether packets of @service without a flow cannot be forwarded. */
static bool needs_flow(const struct sl_service *service)
{
	return service->mode == WIRE_MODE_FULLNAT || service->proxy_protocol != WIRE_PROXY_NONE;
}

static unsigned int family_index(uint8_t family)
{
	return family != SL_FAMILY_IPV4;
}

static struct sl_flow *find(struct model *model, const struct sl_tuple *tuple,
			    enum sl_direction direction)
{
	for (uint32_t i = 0; i < model->n; i++)
		if (sl_flow_matches(&model->flow[i].flow, tuple, direction))
			return &model->flow[i].flow;
	return NULL;
}

/*
 * The flow of mode fullnat, or that of mode nat, that a reply belongs to. Both are there when an
 * address became a source while it had flows as a client.
 */
static struct sl_flow *find_reply(struct model *model, const struct sl_tuple *tuple,
				  bool has_source)
{
	for (uint32_t i = 0; i < model->n; i++)
		if (sl_flow_matches(&model->flow[i].flow, tuple, SL_DIRECTION_REPLY) &&
		    sl_flow_has_source(&model->flow[i].flow) == has_source)
			return &model->flow[i].flow;
	return NULL;
}

static void end_flow(struct model *model, struct sl_flow *flow)
{
	unsigned int family = family_index(flow->family);

	model->n_flows[family]--;
	model->n_embryonic[family] -= flow->state == SL_FLOW_EMBRYONIC;
	model->counters.event[SL_EVENT_FLOW_ENDED]++;
	model->backend[flow->backend].flows_ended++;
	model->openings[flow->backend].unanswered += sl_flow_is_awaited(flow);
	*(struct sl_flow_ipv6 *)flow = model->flow[--model->n];
}

static const struct sl_backend *flow_backend(const struct snapshot *snapshot,
					     const struct sl_flow *flow)
{
	const struct sl_backend *backend;

	if (flow->backend >= snapshot->n_backends)
		return NULL;
	backend = &snapshot->backend[flow->backend];
	if (backend->epoch != flow->backend_epoch || backend->is_gone ||
	    backend->family == SL_FAMILY_NONE)
		return NULL;
	return backend;
}

static void count_sent(struct model *model, const struct way *way, uint32_t length)
{
	struct sl_service_counters *service = &model->service[way->service];
	struct sl_backend_counters *backend = &model->backend[way->backend];

	model->counters.event[SL_EVENT_TX]++;
	model->counters.event[SL_EVENT_TX_BYTES] += length;
	if (way->verdict == SL_VERDICT_FORWARD) {
		service->packets_in++;
		service->bytes_in += length;
		backend->packets_in++;
		backend->bytes_in += length;
	} else {
		service->packets_out++;
		service->bytes_out += length;
		backend->packets_out++;
		backend->bytes_out += length;
	}
}

static enum sl_verdict insert_header(struct judgement *judgement, uint32_t sequence)
{
	struct sl_packet *packet = &judgement->packet;
	uint32_t headers = sl_proxy_headers(packet);
	uint32_t growth = sl_proxy_length(packet->tuple.family);
	const uint8_t *end = judgement->frame + judgement->length + growth;

	if (headers > SL_PROXY_MAX_HEADERS || sl_proxy_grown(packet) > MODEL_MTU)
		return SL_VERDICT_DROP_TOO_BIG;
	memmove(judgement->frame + growth, judgement->frame, judgement->length);
	judgement->grown = growth;
	if (!sl_proxy_make_room(judgement->frame, end, packet, headers) ||
	    !sl_proxy_insert(packet, end, &packet->tuple, sequence))
		return SL_VERDICT_DROP_TRUNCATED;
	return SL_VERDICT_NONE;
}

static enum sl_verdict rewrite_stream(struct judgement *judgement, struct sl_flow *flow,
				      bool is_forward)
{
	struct sl_packet *packet = &judgement->packet;
	const struct sl_proxy was = sl_flow_proxy(flow);
	struct sl_proxy is = was;
	enum sl_proxy_action action = SL_PROXY_INSERT;
	enum sl_verdict verdict = SL_VERDICT_NONE;
	uint32_t sequence = 0;

	if (!is_forward) {
		if (packet->tuple.protocol == SL_PROTOCOL_TCP)
			sl_proxy_reply(&is, packet, sl_proxy_options(packet));
		sl_flow_set_proxy(flow, &was, &is);
		return SL_VERDICT_NONE;
	}
	if (packet->tuple.protocol == SL_PROTOCOL_TCP)
		action = sl_proxy_forward(&is, packet, &sequence);
	if (action == SL_PROXY_SYN)
		sl_proxy_syn(packet, sl_proxy_options(packet), 0);
	else if (action == SL_PROXY_SHIFT)
		sl_proxy_shift(packet, sequence);
	else if (action == SL_PROXY_REFUSE)
		verdict = SL_VERDICT_DROP_BEFORE_HEADER;
	else if (action == SL_PROXY_INSERT)
		verdict = insert_header(judgement, sequence);
	if (action == SL_PROXY_INSERT && verdict == SL_VERDICT_NONE)
		sl_proxy_sent(&is);
	sl_flow_set_proxy(flow, &was, &is);
	return verdict;
}

static enum sl_verdict dispatch(struct model *model, struct judgement *judgement,
				const struct way *way)
{
	const struct sl_adjacency *adjacency = &model->adjacency[way->adjacency];

	if (way->adjacency == SL_ADJACENCY_GLEAN) {
		model->counters.event[SL_EVENT_RESOLVE]++;
		return SL_VERDICT_DROP_NO_NEIGHBOUR;
	}
	if (way->adjacency < SL_ADJACENCY_FIRST) {
		model->service[way->service].drops++;
		return SL_VERDICT_DROP_NO_ROUTE;
	}
	if (!sl_nat_has_ttl(&judgement->packet)) {
		model->service[way->service].drops++;
		judgement->is_refused = true;
		judgement->reason = SL_REFUSED_EXPIRED;
		if (way->verdict == SL_VERDICT_REPLY &&
		    model->snapshot->service[way->service].mode != WIRE_MODE_FULLNAT)
			judgement->from = &model->snapshot->service[way->service].addr;
		return SL_VERDICT_DROP_TTL;
	}
	if (sl_packet_is_icmp_error(&judgement->packet)) {
		uint8_t *frame = judgement->frame;
		const uint8_t *end = frame + judgement->length;

		if (way->with_header != NULL && way->verdict == SL_VERDICT_REPLY &&
		    judgement->packet.tuple.protocol == SL_PROTOCOL_TCP) {
			struct sl_proxy proxy = sl_flow_proxy(way->with_header);

			if (!sl_icmp_rewrite_stream(frame, end, &judgement->packet, &proxy))
				return SL_VERDICT_NONE;
		}
		if (!sl_icmp_rewrite(frame, end, &judgement->packet, &way->to, way->keeps_source))
			return SL_VERDICT_NONE;
		model->counters.event[SL_EVENT_ICMP_ERROR]++;
		model->counters.event[SL_EVENT_ICMP_SMALL_MTU] += judgement->packet.has_small_mtu;
	} else if (judgement->packet.fragment != SL_PACKET_WHOLE) {
		if (way->with_header != NULL &&
		    (way->verdict == SL_VERDICT_FORWARD ||
		     judgement->packet.tuple.protocol == SL_PROTOCOL_TCP)) {
			model->service[way->service].drops++;
			return SL_VERDICT_DROP_FRAGMENT_HEADER;
		}
		if (sl_packet_is_later(&judgement->packet))
			(void)sl_nat_l3(&judgement->packet, &way->to);
		else
			sl_nat_rewrite(&judgement->packet, &way->to);
	} else {
		enum sl_verdict verdict = SL_VERDICT_NONE;

		if (way->with_header != NULL)
			verdict = rewrite_stream(judgement, way->with_header,
						 way->verdict == SL_VERDICT_FORWARD);
		if (verdict != SL_VERDICT_NONE) {
			model->service[way->service].drops++;
			judgement->is_refused = verdict == SL_VERDICT_DROP_TOO_BIG;
			if (judgement->is_refused)
				judgement->reason =
					sl_proxy_room(MODEL_MTU, judgement->packet.tuple.family);
			return verdict;
		}
		sl_nat_rewrite(&judgement->packet, &way->to);
	}
	sl_nat_ethernet(judgement->packet.ethernet, adjacency->destination_mac,
			adjacency->source_mac);
	judgement->out_port = adjacency->port;
	count_sent(model, way, judgement->length);
	model->counters.event[SL_EVENT_TX_BYTES] += judgement->grown;
	return way->verdict;
}

static enum sl_verdict balance_flow(struct model *model, struct judgement *judgement,
				    struct sl_flow *flow, enum sl_direction direction)
{
	bool was_embryonic = flow->state == SL_FLOW_EMBRYONIC;
	struct way way = {.service = flow->service, .backend = flow->backend};
	struct sl_flow_news news = sl_flow_track(flow, direction, &judgement->packet, 0);
	struct sl_backend_openings *openings = &model->openings[flow->backend];

	openings->syn_acks += news.word == SL_FLOW_ANSWERED;
	openings->refused += news.word == SL_FLOW_REFUSED;
	openings->resets += news.word == SL_FLOW_WAS_RESET;
	if (was_embryonic && flow->state != SL_FLOW_EMBRYONIC) {
		model->n_embryonic[family_index(flow->family)]--;
		model->counters.event[SL_EVENT_FLOW_PROMOTED]++;
	}
	way.with_header = sl_flow_has_header(flow) ? flow : NULL;
	sl_flow_rewrite(flow, direction, &way.to);
	way.verdict = direction == SL_DIRECTION_FORWARD ? SL_VERDICT_FORWARD : SL_VERDICT_REPLY;
	way.adjacency = model->route(&way.to.destination, flow->family);
	return dispatch(model, judgement, &way);
}

static bool is_full(struct model *model, const struct judgement *judgement, uint8_t family)
{
	unsigned int i = family_index(family);

	if (model->n_embryonic[i] >= model->max_embryonic) {
		model->counters.event[SL_EVENT_EMBRYONIC_FULL]++;
		return true;
	}
	if (model->n_flows[i] >= model->max_flows || !judgement->leave->has_room) {
		model->counters.event[SL_EVENT_FLOW_TABLE_FULL]++;
		return true;
	}
	return false;
}

/* The way back of a flow of mode fullnat is by the service's only source. */
static void take_source(struct model *model, struct sl_flow *flow)
{
	const struct sl_service *service = &model->snapshot->service[flow->service];

	model->counters.event[SL_EVENT_SOURCE_PORT_TRIES]++;
	sl_flow_set_source(flow, &model->snapshot->source[service->first_source],
			   sl_to_be16(service->source_port_first), 0, flow->family);
}

/* Whether the way back that @other holds may go to a new flow. */
static bool yields(struct model *model, const struct judgement *judgement,
		   const struct sl_flow *other, bool is_fullnat)
{
	if (flow_backend(model->snapshot, other) == NULL)
		return true;
	if (is_fullnat)
		return sl_flow_yields_port(other, judgement->packet.tcp_sequence);
	return sl_flow_is_over(other) || other->state == SL_FLOW_EMBRYONIC;
}

/* NULL: *@why is the packet's verdict, or SL_VERDICT_NONE if it is to be balanced without a flow. */
static struct sl_flow *create_flow(struct model *model, const struct judgement *judgement,
				   const struct sl_tuple *client, uint32_t index,
				   enum sl_verdict *why)
{
	bool is_fullnat = model->snapshot->service[model->snapshot->backend[index].service].mode ==
			  WIRE_MODE_FULLNAT;
	const struct snapshot *snapshot = model->snapshot;
	const struct sl_backend *backend = &snapshot->backend[index];
	const struct sl_service *service = &snapshot->service[backend->service];
	struct sl_flow_ipv6 made = {.flow = {.service = backend->service & (SL_MAX_SERVICES - 1u),
					     .service_epoch = service->epoch,
					     .backend = index & (SL_MAX_BACKENDS - 1),
					     .backend_epoch = backend->epoch}};
	unsigned int family = family_index(client->family);
	struct sl_tuple reply;
	struct sl_flow *other;

	if (is_full(model, judgement, client->family)) {
		*why = needs_flow(service) ? SL_VERDICT_DROP_FLOWS_FULL : SL_VERDICT_NONE;
		return NULL;
	}
	sl_flow_open(&made.flow, client, &backend->addr,
		     backend->port != 0 ? backend->port : client->destination_port);
	if (service->proxy_protocol != WIRE_PROXY_NONE)
		sl_flow_set_header(&made.flow);
	if (is_fullnat)
		take_source(model, &made.flow);
	reply = sl_flow_tuple(&made.flow, SL_DIRECTION_REPLY);
	other = find_reply(model, &reply, is_fullnat);
	if (other != NULL) {
		*why = is_fullnat ? SL_VERDICT_DROP_NO_SOURCE_PORT : SL_VERDICT_DROP_TUPLE_TAKEN;
		if (!yields(model, judgement, other, is_fullnat))
			return NULL;
		model->counters.event[SL_EVENT_SOURCE_PORT_REUSED] += is_fullnat;
		end_flow(model, other);
	}
	model->counters.event[SL_EVENT_FLOW_CREATED]++;
	model->service[made.flow.service].flows++;
	model->backend[index].flows++;
	model->n_flows[family]++;
	model->n_embryonic[family]++;
	model->flow[model->n] = made;
	return &model->flow[model->n++].flow;
}

uint64_t model_open_flows(const struct model *model, uint32_t backend)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < model->n; i++)
		n += model->flow[i].flow.backend == backend &&
		     model->flow[i].flow.state != SL_FLOW_CLOSED;
	return n;
}

static bool has_limit_reached(const struct model *model, uint32_t backend)
{
	uint32_t max_flows = model->snapshot->max_flows[backend];

	return max_flows != 0 && model_open_flows(model, backend) >= max_flows;
}

/* Fewest flows for its weight, of 16 of those that have one, from where the hash says on. */
static uint32_t least_of(const struct model *model, const struct sl_service *service,
			 const struct choice *choice)
{
	uint32_t member[MAX_MEMBERS];
	uint32_t best = SL_NO_INDEX;
	uint32_t best_weight = 0;
	uint32_t n = 0;

	for (uint32_t i = 0; i < service->n_members && n < MAX_MEMBERS; i++) {
		member[n] = model->snapshot->member[service->first_member + i];
		n += model->snapshot->backend[member[n]].weight[choice->audience] != 0;
	}
	for (uint32_t i = 0; i < n && i < 16; i++) {
		uint32_t start = (uint32_t)((choice->hash >> 32) * n >> 32);
		uint32_t index = member[(start + i) % n];
		uint32_t weight = model->snapshot->backend[index].weight[choice->audience];

		if (has_limit_reached(model, index))
			continue;
		if (best == SL_NO_INDEX || (model_open_flows(model, index) + 1) * best_weight <
						   (model_open_flows(model, best) + 1) * weight) {
			best = index;
			best_weight = weight;
		}
	}
	return best;
}

/* @client bit by bit. */
static union sl_addr prefix_of(const union sl_addr *client, uint32_t length)
{
	union sl_addr prefix = {.word = {0}};

	for (uint32_t i = 0; i < length; i++)
		prefix.byte[i / 8] |= client->byte[i / 8] & (uint8_t)(0x80 >> i % 8);
	return prefix;
}

/* Of a client of the canary's sources, as long as somebody is there for these. */
static enum sl_audience audience_of(const struct model *model, uint32_t service,
				    const struct sl_tuple *tuple)
{
	const struct sl_service *record = &model->snapshot->service[service];
	const struct lists *lists = model->snapshot->lists[service];
	uint32_t weights = 0;

	for (uint32_t i = 0; i < record->n_members; i++)
		weights +=
			model->snapshot->backend[model->snapshot->member[record->first_member + i]]
				.weight[SL_AUDIENCE_CANARY];
	for (uint32_t i = 0; weights != 0 && lists != NULL && i < lists->n; i++) {
		const struct wire_listed *listed = &lists->record[i];
		union sl_addr prefix = prefix_of(&tuple->source, listed->length);

		if (listed->list == WIRE_CANARY_SOURCE && listed->family == tuple->family &&
		    sl_addr_equal(&prefix, &listed->addr))
			return SL_AUDIENCE_CANARY;
	}
	return SL_AUDIENCE_ALL;
}

/* What the hash of @tuple chooses for @audience. */
static struct choice choose(const struct model *model, uint32_t service,
			    const struct sl_tuple *tuple, enum sl_audience audience)
{
	struct choice choice = lookup_choose(model->snapshot, service, tuple);

	choice.audience = audience;
	choice.backend = lookup_slot(model->snapshot, service, audience, choice.slot);
	return choice;
}

/* The entry of the client that sends @tuple, or NULL. */
static struct model_affinity *find_affinity(struct model *model, uint32_t service,
					    const struct sl_tuple *tuple)
{
	union sl_addr prefix =
		prefix_of(&tuple->source, model->snapshot->affinity[service].prefix_length);

	for (uint32_t i = 0; i < MODEL_MAX_AFFINITIES; i++) {
		struct model_affinity *entry = &model->affinity[i];

		if (entry->service == service && entry->is_used &&
		    entry->service_epoch == model->snapshot->service[service].epoch &&
		    sl_addr_equal(&entry->prefix, &prefix))
			return entry;
	}
	return NULL;
}

/* The backend that the client keeps and may have as @audience, or SL_NO_INDEX. */
static uint32_t kept(struct model *model, uint32_t service, enum sl_audience audience,
		     const struct sl_tuple *tuple)
{
	const struct model_affinity *entry;
	const struct sl_backend *backend;

	if (model->snapshot->affinity[service].timeout_ticks == 0)
		return SL_NO_INDEX;
	entry = find_affinity(model, service, tuple);
	if (entry == NULL || entry->backend >= model->snapshot->n_backends)
		return SL_NO_INDEX;
	backend = &model->snapshot->backend[entry->backend];
	return backend->family != SL_FAMILY_NONE && backend->epoch == entry->backend_epoch &&
			       backend->service == service && backend->weight[audience] != 0 &&
			       !has_limit_reached(model, entry->backend)
		       ? entry->backend
		       : SL_NO_INDEX;
}

/* A new flow of the client has @backend. */
static void keep(struct model *model, uint32_t service, const struct sl_tuple *tuple,
		 uint32_t backend)
{
	struct model_affinity *entry;
	uint16_t epoch = model->snapshot->backend[backend].epoch;

	if (model->snapshot->affinity[service].timeout_ticks == 0)
		return;
	entry = find_affinity(model, service, tuple);
	if (entry != NULL && entry->backend == backend && entry->backend_epoch == epoch) {
		model->counters.event[SL_EVENT_AFFINITY_KEPT]++;
		return;
	}
	model->counters.event[SL_EVENT_AFFINITY_MADE]++;
	if (entry == NULL)
		entry = &model->affinity[model->next_affinity++ % MODEL_MAX_AFFINITIES];
	*entry = (struct model_affinity){
		.prefix =
			prefix_of(&tuple->source, model->snapshot->affinity[service].prefix_length),
		.service = service,
		.backend = backend,
		.service_epoch = model->snapshot->service[service].epoch,
		.backend_epoch = epoch,
		.is_used = true};
}

/* The backend of a new flow of @service, for which the hash has @choice. */
static uint32_t schedule(struct model *model, uint32_t service, const struct choice *choice)
{
	const struct sl_service *record = &model->snapshot->service[service];
	uint32_t *turn = &model->turn[service][choice->audience];
	uint32_t backend = choice->backend;
	uint32_t slot;

	if (record->scheduler == WIRE_SCHEDULER_ROUND_ROBIN) {
		slot = *turn < record->n_slots ? *turn : 0;
		*turn = slot + 1;
		backend = lookup_slot(model->snapshot, service, choice->audience, slot);
	}
	if (has_limit_reached(model, backend)) {
		model->counters.event[SL_EVENT_BACKEND_FULL]++;
		return least_of(model, record, choice);
	}
	return record->scheduler == WIRE_SCHEDULER_LEAST_CONNECTIONS
		       ? least_of(model, record, choice)
		       : backend;
}

/* The backend of a new flow of one of @audience, or SL_NO_INDEX. */
static uint32_t give(struct model *model, uint32_t service, const struct sl_tuple *tuple,
		     enum sl_audience audience)
{
	struct choice choice = choose(model, service, tuple, audience);
	uint32_t backend = SL_NO_INDEX;

	if (choice.backend != SL_NO_INDEX)
		backend = kept(model, service, audience, tuple);
	if (choice.backend != SL_NO_INDEX && backend == SL_NO_INDEX)
		backend = schedule(model, service, &choice);
	return backend;
}

static enum sl_verdict balance_new(struct model *model, struct judgement *judgement,
				   uint32_t service)
{
	const struct sl_packet *packet = &judgement->packet;
	struct choice choice =
		choose(model, service, &packet->tuple, audience_of(model, service, &packet->tuple));
	const struct sl_backend *backend;
	struct sl_flow *flow = NULL;
	enum sl_verdict why = SL_VERDICT_NONE;
	struct way way = {
		.verdict = SL_VERDICT_FORWARD, .service = service, .backend = choice.backend};
	uint32_t chosen = choice.backend;
	bool is_first = sl_flow_is_opening(packet) ||
			(packet->tuple.protocol == SL_PROTOCOL_UDP && !sl_packet_is_later(packet));

	if (needs_flow(&model->snapshot->service[service]) &&
	    (sl_packet_is_later(packet) ||
	     (packet->tuple.protocol == SL_PROTOCOL_TCP && !sl_flow_is_opening(packet)))) {
		model->service[service].drops++;
		judgement->is_refused = true;
		return SL_VERDICT_DROP_NO_FLOW;
	}
	if (choice.backend == SL_NO_INDEX) {
		model->service[service].drops++;
		return SL_VERDICT_DROP_NO_BACKEND;
	}
	backend = &model->snapshot->backend[choice.backend];
	if (is_first) {
		chosen = give(model, service, &packet->tuple, choice.audience);
		if (chosen == SL_NO_INDEX && choice.audience == SL_AUDIENCE_CANARY)
			chosen = give(model, service, &packet->tuple, SL_AUDIENCE_ALL);
	}
	if (chosen == SL_NO_INDEX) {
		model->service[service].drops++;
		judgement->is_refused = true;
		return SL_VERDICT_DROP_BACKENDS_FULL;
	}
	if ((packet->tcp_flags & SL_TCP_RST) == 0 && !sl_packet_is_later(packet))
		flow = create_flow(model, judgement, &packet->tuple, chosen, &why);
	if (flow != NULL) {
		if (is_first)
			keep(model, service, &packet->tuple, chosen);
		flow->flags = sl_flow_opening_flags(packet, sl_nat_has_ttl(packet));
		model->openings[flow->backend].syns += sl_flow_is_awaited(flow);
		return balance_flow(model, judgement, flow, SL_DIRECTION_FORWARD);
	}
	if (why != SL_VERDICT_NONE) {
		model->service[service].drops++;
		judgement->is_refused = why != SL_VERDICT_DROP_TUPLE_TAKEN;
		return why;
	}
	model->counters.event[SL_EVENT_STATELESS_FORWARD]++;
	way.to.source = packet->tuple.source;
	way.to.source_port = packet->tuple.source_port;
	way.to.destination = backend->addr;
	way.to.destination_port =
		backend->port != 0 ? backend->port : packet->tuple.destination_port;
	way.adjacency = model->route(&backend->addr, packet->tuple.family);
	return dispatch(model, judgement, &way);
}

static enum sl_verdict balance_orphan(struct model *model, struct judgement *judgement,
				      uint32_t index)
{
	const struct sl_packet *packet = &judgement->packet;
	const struct sl_backend *backend = &model->snapshot->backend[index];
	const struct sl_service *service = &model->snapshot->service[backend->service];
	struct sl_tuple client = {
		.protocol = packet->tuple.protocol,
		.family = packet->tuple.family,
		.source = packet->tuple.destination,
		.source_port = packet->tuple.destination_port,
		.destination = service->addr,
		.destination_port = service->port != 0 ? service->port : packet->tuple.source_port};
	struct sl_flow *flow = NULL;
	enum sl_verdict why;
	struct way way = {.verdict = SL_VERDICT_REPLY,
			  .service = backend->service,
			  .backend = index,
			  .to = {.source = client.destination,
				 .source_port = client.destination_port,
				 .destination = client.source,
				 .destination_port = client.source_port}};

	way.adjacency = model->route(&client.source, client.family);
	if (way.adjacency == SL_ADJACENCY_LOCAL || way.adjacency == SL_ADJACENCY_NONE)
		return SL_VERDICT_PUNT_LOCAL;
	if (backend->is_gone) {
		model->service[backend->service].drops++;
		return SL_VERDICT_DROP_BACKEND_GONE;
	}
	if (packet->tuple.protocol == SL_PROTOCOL_TCP &&
	    (packet->tcp_flags & (SL_TCP_SYN | SL_TCP_RST)) == 0 && !sl_packet_is_later(packet)) {
		/* Whether there is room is asked first, and counted, as the XDP engine does. */
		if (find(model, &client, SL_DIRECTION_FORWARD) == NULL)
			flow = create_flow(model, judgement, &client, index, &why);
		else
			(void)is_full(model, judgement, client.family);
	}
	if (flow != NULL) {
		flow->flags |= SL_FLOW_FROM_REPLY;
		model->counters.event[SL_EVENT_FLOW_FROM_REPLY]++;
		return balance_flow(model, judgement, flow, SL_DIRECTION_REPLY);
	}
	model->counters.event[SL_EVENT_STATELESS_REPLY]++;
	return dispatch(model, judgement, &way);
}

static enum sl_verdict balance_unknown(struct model *model, struct judgement *judgement)
{
	const struct snapshot *snapshot = model->snapshot;
	const struct sl_tuple *tuple = &judgement->packet.tuple;
	uint32_t service = lookup_service(snapshot, tuple);
	uint32_t backend;

	if (service != SL_NO_INDEX) {
		if (!lookup_is_own_address(snapshot, &tuple->source, tuple->family))
			return balance_new(model, judgement, service);
		model->service[service].drops++;
		return SL_VERDICT_DROP_SOURCE_IS_SERVICE;
	}
	backend = lookup_replier(snapshot, tuple);
	return backend != SL_NO_INDEX ? balance_orphan(model, judgement, backend)
				      : SL_VERDICT_PUNT_NOT_SERVICE;
}

/* An ICMP error about a packet of @flow, or of none (NULL). */
static enum sl_verdict balance_error(struct model *model, struct judgement *judgement,
				     struct sl_flow *flow, enum sl_direction direction)
{
	const struct snapshot *snapshot = model->snapshot;
	const struct sl_tuple *tuple = &judgement->packet.tuple;
	uint32_t service = lookup_service(snapshot, tuple);
	bool is_forward = flow != NULL ? direction == SL_DIRECTION_FORWARD : service != SL_NO_INDEX;
	struct way way = {.verdict = is_forward ? SL_VERDICT_FORWARD : SL_VERDICT_REPLY,
			  .service = service,
			  .keeps_source = is_forward,
			  .to = {.source = tuple->source,
				 .source_port = tuple->source_port,
				 .destination = tuple->destination,
				 .destination_port = tuple->destination_port}};

	if (flow != NULL) {
		if (flow_backend(snapshot, flow) == NULL)
			return SL_VERDICT_DROP_BACKEND_GONE;
		way.service = flow->service;
		way.backend = flow->backend;
		way.keeps_source = is_forward && !sl_flow_has_source(flow);
		way.with_header = sl_flow_has_header(flow) ? flow : NULL;
		sl_flow_rewrite(flow, direction, &way.to);
	} else if (is_forward) {
		const struct sl_backend *backend;

		way.backend =
			choose(model, service, tuple, audience_of(model, service, tuple)).backend;
		if (needs_flow(&snapshot->service[service]) || way.backend == SL_NO_INDEX) {
			model->service[service].drops++;
			return SL_VERDICT_DROP_ICMP_NO_FLOW;
		}
		backend = &snapshot->backend[way.backend];
		way.to.destination = backend->addr;
		if (backend->port != 0)
			way.to.destination_port = backend->port;
		model->counters.event[SL_EVENT_STATELESS_FORWARD]++;
	} else {
		const struct sl_service *record;

		way.backend = lookup_replier(snapshot, tuple);
		if (way.backend == SL_NO_INDEX ||
		    model->route(&tuple->destination, tuple->family) < SL_ADJACENCY_GLEAN)
			return SL_VERDICT_PUNT_ICMP;
		way.service = snapshot->backend[way.backend].service;
		record = &snapshot->service[way.service];
		way.to.source = record->addr;
		if (record->port != 0)
			way.to.source_port = record->port;
		model->counters.event[SL_EVENT_STATELESS_REPLY]++;
	}
	way.adjacency = model->route(&way.to.destination, tuple->family);
	return dispatch(model, judgement, &way);
}

static enum sl_verdict balance(struct model *model, struct judgement *judgement)
{
	const struct sl_packet *packet = &judgement->packet;
	enum sl_direction direction = SL_DIRECTION_FORWARD;
	struct sl_flow *flow = find(model, &packet->tuple, direction);

	if (flow == NULL) {
		direction = SL_DIRECTION_REPLY;
		flow = find_reply(model, &packet->tuple, true);
	}
	if (flow == NULL)
		flow = find_reply(model, &packet->tuple, false);
	if (sl_packet_is_icmp_error(packet))
		return balance_error(model, judgement, flow, direction);
	if (flow == NULL)
		return balance_unknown(model, judgement);
	if (flow_backend(model->snapshot, flow) != NULL &&
	    !(sl_flow_is_over(flow) && sl_flow_is_opening(packet) &&
	      direction == SL_DIRECTION_FORWARD))
		return balance_flow(model, judgement, flow, direction);
	if (direction == SL_DIRECTION_FORWARD && !sl_packet_is_later(packet) &&
	    (sl_flow_is_opening(packet) || packet->tuple.protocol == SL_PROTOCOL_UDP)) {
		end_flow(model, flow);
		return balance_unknown(model, judgement);
	}
	judgement->is_refused = direction == SL_DIRECTION_FORWARD;
	return SL_VERDICT_DROP_BACKEND_GONE;
}

/* The answer to a refused packet. False: there is none. */
static bool answer(struct model *model, struct judgement *judgement, uint8_t *frame,
		   uint32_t *length, bool may_answer)
{
	struct sl_packet *packet = &judgement->packet;
	enum sl_reject kind = sl_reject_kind(packet, judgement->reason);
	const union sl_addr *from =
		judgement->from != NULL ? judgement->from : &packet->tuple.destination;
	uint8_t family = packet->tuple.family;
	uint32_t room = sl_reject_room(family);
	bool is_made;

	if (kind == SL_REJECT_NONE)
		return false;
	if (!may_answer) {
		model->counters.event[SL_EVENT_REFUSAL_LIMITED]++;
		return false;
	}
	if (kind == SL_REJECT_RESET) {
		is_made = sl_reject_reset(packet, frame + *length);
		*length = sl_reject_reset_length(packet);
		model->counters.event[SL_EVENT_RESET_SENT]++;
	} else {
		uint32_t link_length = sl_reject_link_length(packet);

		memmove(frame + room, frame, *length);
		is_made =
			sl_reject_unreachable(frame, frame + *length + room, packet->has_vlan != 0,
					      family, from, judgement->reason);
		*length = sl_reject_unreachable_length(link_length, family);
		model->counters.event[sl_reject_event(judgement->reason)]++;
	}
	model->counters.event[SL_EVENT_TX]++;
	model->counters.event[SL_EVENT_TX_BYTES] += *length;
	return is_made;
}

/* The datagram under way that the fragment is one of. */
static struct sl_datagram *find_datagram(struct model *model, const struct sl_tuple *tuple,
					 const struct sl_fragment *fragment, uint32_t now)
{
	for (uint32_t i = 0; i < MODEL_MAX_DATAGRAMS; i++)
		if (sl_datagram_has(&model->datagram[i], tuple, fragment) &&
		    !sl_datagram_is_over(&model->datagram[i], now))
			return &model->datagram[i];
	return NULL;
}

/* Whether a service's fragment may pass; then its tuple is that of the first one. */
static enum sl_verdict judge_fragment(struct model *model, struct judgement *judgement,
				      const struct sl_fragment *fragment)
{
	struct sl_packet *packet = &judgement->packet;
	struct sl_datagram *datagram =
		find_datagram(model, &packet->tuple, fragment, judgement->leave->now);

	if (datagram == NULL && sl_packet_is_later(packet))
		return SL_VERDICT_DROP_FRAGMENT_NO_FIRST;
	if (datagram == NULL && !judgement->leave->has_room_for_datagram)
		return SL_VERDICT_DROP_FRAGMENT_FULL;
	if (datagram == NULL) {
		datagram = &model->datagram[model->next_datagram++ % MODEL_MAX_DATAGRAMS];
		sl_datagram_begin(datagram, &packet->tuple, fragment, judgement->leave->now);
	}
	if (sl_datagram_add(datagram, fragment) != SL_FRAGMENT_TAKEN)
		return SL_VERDICT_DROP_FRAGMENT_OVERLAP;
	if (sl_packet_is_later(packet))
		sl_datagram_lend(datagram, &packet->tuple);
	else
		sl_datagram_show(datagram, &packet->tuple);
	model->counters.event[SL_EVENT_FRAGMENT]++;
	return SL_VERDICT_NONE;
}

static enum sl_verdict balance_fragment(struct model *model, struct judgement *judgement)
{
	struct sl_packet *packet = &judgement->packet;
	struct sl_fragment fragment;
	enum sl_verdict verdict;

	if (!model->may_be_ours(&packet->tuple))
		return SL_VERDICT_PUNT_FRAGMENT;
	switch (sl_fragment_parse(judgement->frame, judgement->frame + judgement->length, packet,
				  &fragment)) {
	case SL_FRAGMENT_FIRST:
	case SL_FRAGMENT_LATER:
		break;
	case SL_FRAGMENT_OTHER:
		return SL_VERDICT_PUNT_FRAGMENT;
	case SL_FRAGMENT_TINY:
		return SL_VERDICT_DROP_FRAGMENT_TINY;
	case SL_FRAGMENT_MALFORMED:
		return SL_VERDICT_DROP_FRAGMENT_MALFORMED;
	}
	verdict = judge_fragment(model, judgement, &fragment);
	if (verdict == SL_VERDICT_NONE)
		verdict = balance(model, judgement);
	return verdict == SL_VERDICT_PUNT_NOT_SERVICE ? SL_VERDICT_PUNT_FRAGMENT : verdict;
}

enum sl_verdict model_packet(struct model *model, uint32_t port, uint8_t *frame, uint32_t *length,
			     const struct model_leave *leave, uint32_t *out_port, bool *is_answered)
{
	struct judgement judgement = {.frame = frame, .length = *length, .leave = leave};
	enum sl_verdict verdict = sl_parse_link(frame, frame + *length, model->mac[port]);

	if (verdict == SL_VERDICT_NONE)
		verdict = sl_parse(frame, frame + *length, &judgement.packet);
	if (verdict == SL_VERDICT_PUNT_ICMP)
		verdict = sl_icmp_parse(frame, frame + *length, &judgement.packet);
	if (verdict == SL_VERDICT_PUNT_FRAGMENT)
		verdict = balance_fragment(model, &judgement);
	else if (verdict == SL_VERDICT_NONE)
		verdict = balance(model, &judgement);
	model->counters.verdict[verdict]++;
	model->counters.event[SL_EVENT_RX]++;
	model->counters.event[SL_EVENT_RX_BYTES] += *length;
	*out_port = judgement.out_port;
	*length += judgement.grown;
	*is_answered =
		judgement.is_refused && answer(model, &judgement, frame, length, leave->may_answer);
	return verdict;
}

static bool is_of_nobody(const struct snapshot *snapshot, const struct sl_flow *flow)
{
	const struct sl_service *service = &snapshot->service[flow->service];
	const struct sl_backend *backend = &snapshot->backend[flow->backend];

	return service->family == SL_FAMILY_NONE || service->epoch != flow->service_epoch ||
	       backend->family == SL_FAMILY_NONE || backend->epoch != flow->backend_epoch;
}

void model_sweep(struct model *model, bool (*is_kept)(const struct sl_flow *flow))
{
	for (uint32_t i = model->n; i-- > 0;) {
		struct sl_flow *flow = &model->flow[i].flow;

		if (is_of_nobody(model->snapshot, flow) && (is_kept == NULL || !is_kept(flow)))
			end_flow(model, flow);
	}
}
