/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * See plan.h. Indices and epochs tell what is the same object in both snapshots, as they tell the packet
 * path whether a flow's backend is still there; so a plan judges flows as their next packets will be.
 */
#include "dataplane/plan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/lookup.h"
#include "dataplane/snapshot.h"

/** One service in the snapshots; SL_NO_INDEX: it is not in that one. */
struct pair {
	uint32_t now;
	uint32_t after;
};

struct plan {
	const struct snapshot *now;
	const struct snapshot *after;
	bool is_new_key;
	uint32_t n_services;
	uint32_t n_backends;
	struct pair *pair; /* beside service[] */
	struct wire_plan_service *service;
	struct wire_plan_backend *backend;
	uint32_t *backend_now; /* beside backend[]: its index in now, or SL_NO_INDEX */
	struct wire_plan_fates fates;
	struct wire_plan_fates *fates_of; /* by backend index in now */
};

/* What stands for nothing published. */
static const struct snapshot nothing;

/* ---- which services change ---- */

static bool has_service(const struct snapshot *snapshot, uint32_t i)
{
	return i < snapshot->n_services && snapshot->service[i].family != SL_FAMILY_NONE;
}

static bool has_same_sources(const struct plan *plan, const struct sl_service *was,
			     const struct sl_service *is)
{
	return was->n_sources == is->n_sources &&
	       (is->n_sources == 0 || memcmp(&plan->now->source[was->first_source],
					     &plan->after->source[is->first_source],
					     is->n_sources * sizeof(plan->now->source[0])) == 0);
}

/* Whether member @a of now and member @b of after are asked for alike. */
static bool is_same_member(const struct plan *plan, uint32_t a, uint32_t b)
{
	uint32_t was = plan->now->member[a], is = plan->after->member[b];

	return memcmp(plan->now->backend[was].weight, plan->after->backend[is].weight,
		      sizeof(plan->now->backend[was].weight)) == 0 &&
	       plan->now->max_flows[was] == plan->after->max_flows[is] &&
	       plan->now->member_state[a] == plan->after->member_state[b] &&
	       plan->now->member_health[a] == plan->after->member_health[b];
}

static bool has_same_members(const struct plan *plan, const struct sl_service *was,
			     const struct sl_service *is)
{
	if (was->n_members != is->n_members)
		return false;
	for (uint32_t i = 0; i < is->n_members; i++) {
		uint32_t a = was->first_member + i;
		uint32_t b = is->first_member + i;
		uint32_t index = plan->after->member[b];

		if (plan->now->member[a] != index ||
		    plan->now->backend[index].epoch != plan->after->backend[index].epoch ||
		    !is_same_member(plan, a, b))
			return false;
	}
	return true;
}

/* Whether service @i, which is in both, differs. */
static bool is_set(const struct plan *plan, uint32_t i)
{
	struct sl_service was = plan->now->service[i];
	struct sl_service is = plan->after->service[i];

	if (plan->now->slots[i] != plan->after->slots[i] ||
	    plan->now->canary_slots[i] != plan->after->canary_slots[i] ||
	    plan->now->lists[i] != plan->after->lists[i] || !has_same_sources(plan, &was, &is) ||
	    !has_same_members(plan, &was, &is) ||
	    memcmp(&plan->now->affinity[i], &plan->after->affinity[i],
		   sizeof(plan->now->affinity[i])) != 0 ||
	    memcmp(plan->now->service_name[i], plan->after->service_name[i], SL_MAX_NAME) != 0)
		return true;
	/* Where they stand in the arrays is no difference. */
	is.first_member = was.first_member;
	is.first_source = was.first_source;
	return memcmp(&was, &is, sizeof(is)) != 0;
}

/* ---- slots ---- */

/** Where the slots of one service are compared: by position among the members, the record's index. */
struct comparison {
	const struct slot_table *was;
	const struct slot_table *is;
	uint32_t *record_now;
	uint32_t *record_after;
};

/* The slot of @to that the middle of slot @i of @from falls into. */
static uint32_t slot_at(const struct slot_table *from, uint32_t i, const struct slot_table *to)
{
	return (uint32_t)(((uint64_t)2 * i + 1) * to->n_slots / ((uint64_t)2 * from->n_slots));
}

/* The record that holds slot @i, or SL_NO_INDEX. */
static uint32_t holder(const struct slot_table *table, const uint32_t *record, uint32_t i)
{
	return table == NULL || table->slot[i] == SL_NO_BACKEND_SLOT ? SL_NO_INDEX
								     : record[table->slot[i]];
}

/* Tables of one size, as most are: a slot's counterpart is that of the same number. */
static void compare_same_size(struct plan *plan, struct wire_plan_service *service,
			      const struct comparison *compared)
{
	for (uint32_t i = 0; i < service->slots_now; i++) {
		uint32_t now = holder(compared->was, compared->record_now, i);
		uint32_t after = holder(compared->is, compared->record_after, i);
		bool is_moved = plan->is_new_key || now != after;

		service->slots_moved += is_moved;
		if (now != SL_NO_INDEX) {
			plan->backend[now].slots_now++;
			plan->backend[now].slots_left += is_moved;
		}
		if (after != SL_NO_INDEX) {
			plan->backend[after].slots_after++;
			plan->backend[after].slots_came += is_moved;
		}
	}
}

static void compare_slots(struct plan *plan, struct wire_plan_service *service,
			  const struct comparison *compared)
{
	const struct slot_table *was = compared->was;
	const struct slot_table *is = compared->is;

	service->slots_now = was != NULL ? was->n_slots : 0;
	service->slots_after = is != NULL ? is->n_slots : 0;
	if (was != NULL && is != NULL && was->n_slots == is->n_slots) {
		compare_same_size(plan, service, compared);
		return;
	}
	for (uint32_t i = 0; i < service->slots_now; i++) {
		uint32_t now = holder(was, compared->record_now, i);

		if (now == SL_NO_INDEX)
			continue;
		plan->backend[now].slots_now++;
		plan->backend[now].slots_left +=
			plan->is_new_key || is == NULL ||
			holder(is, compared->record_after, slot_at(was, i, is)) != now;
	}
	for (uint32_t i = 0; i < service->slots_after; i++) {
		uint32_t after = holder(is, compared->record_after, i);
		bool is_moved = plan->is_new_key || was == NULL ||
				holder(was, compared->record_now, slot_at(is, i, was)) != after;

		service->slots_moved += is_moved && was != NULL;
		if (after == SL_NO_INDEX)
			continue;
		plan->backend[after].slots_after++;
		plan->backend[after].slots_came += is_moved;
	}
}

/* ---- one service ---- */

static void add_backend(struct plan *plan, const struct sl_backend *backend, uint32_t now,
			enum wire_plan_change change)
{
	plan->backend_now[plan->n_backends] = now;
	plan->backend[plan->n_backends++] = (struct wire_plan_backend){
		.addr = backend->addr,
		.port = backend->port,
		.change = (uint8_t)change,
	};
}

static bool is_still_there(const struct plan *plan, uint32_t index)
{
	return index < plan->after->n_backends &&
	       plan->after->backend[index].family != SL_FAMILY_NONE &&
	       plan->after->backend[index].epoch == plan->now->backend[index].epoch;
}

/*
 * Records of the members of both, those of after first; members are sorted by address in both, so that
 * what stays is found in one walk.
 */
static void add_members(struct plan *plan, const struct sl_service *was,
			const struct sl_service *is, const struct comparison *compared)
{
	uint32_t n_was = was != NULL ? was->n_members : 0, k = 0;

	for (uint32_t i = 0; is != NULL && i < is->n_members; i++) {
		uint32_t b = is->first_member + i;
		uint32_t index = plan->after->member[b];

		compared->record_after[i] = plan->n_backends;
		while (k < n_was && !is_still_there(plan, plan->now->member[was->first_member + k]))
			k++;
		if (k < n_was && plan->now->member[was->first_member + k] == index) {
			bool is_same = is_same_member(plan, was->first_member + k, b);

			compared->record_now[k++] = plan->n_backends;
			add_backend(plan, &plan->after->backend[index], index,
				    is_same ? WIRE_PLAN_SAME : WIRE_PLAN_SET);
		} else {
			add_backend(plan, &plan->after->backend[index], SL_NO_INDEX, WIRE_PLAN_ADD);
		}
	}
	for (k = 0; k < n_was; k++) {
		uint32_t index = plan->now->member[was->first_member + k];

		if (is != NULL && is_still_there(plan, index))
			continue;
		compared->record_now[k] = plan->n_backends;
		add_backend(plan, &plan->now->backend[index], index, WIRE_PLAN_DELETE);
	}
}

static uint32_t count_usable(const struct snapshot *snapshot, const struct sl_service *service)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < service->n_members; i++)
		n += snapshot->backend[snapshot->member[service->first_member + i]]
			     .weight[SL_AUDIENCE_ALL] != 0;
	return n;
}

static uint64_t count_ports(const struct sl_service *service)
{
	return service->n_sources == 0
		       ? 0
		       : (uint64_t)service->n_sources * (uint32_t)(service->source_port_last -
								   service->source_port_first + 1);
}

/* What the service is in one snapshot alone or in both, but for its slots. */
static void describe_service(const struct plan *plan, struct pair pair,
			     const struct sl_service *was, const struct sl_service *is,
			     struct wire_plan_service *record)
{
	const struct sl_service *either = pair.after != SL_NO_INDEX
						  ? &plan->after->service[pair.after]
						  : &plan->now->service[pair.now];
	bool has_backends = either->mode != WIRE_MODE_SNAT;

	record->address = (struct wire_address){
		.addr = either->addr,
		.port = either->port,
		.protocol = either->protocol,
		.family = either->family,
	};
	record->mode = either->mode;
	if (was != NULL) {
		record->backends_now = has_backends ? was->n_members : 0;
		record->usable_now = has_backends ? count_usable(plan->now, was) : 0;
		record->ports_now = count_ports(was);
	}
	if (is != NULL) {
		record->backends_after = has_backends ? is->n_members : 0;
		record->usable_after = has_backends ? count_usable(plan->after, is) : 0;
		record->ports_after = count_ports(is);
	}
}

static int add_service(struct plan *plan, struct pair pair, enum wire_plan_change change)
{
	const struct sl_service *was =
		pair.now != SL_NO_INDEX ? &plan->now->service[pair.now] : NULL;
	const struct sl_service *is =
		pair.after != SL_NO_INDEX ? &plan->after->service[pair.after] : NULL;
	struct wire_plan_service *record = &plan->service[plan->n_services];
	struct comparison compared = {
		.was = was != NULL ? plan->now->slots[pair.now] : NULL,
		.is = is != NULL ? plan->after->slots[pair.after] : NULL,
	};
	uint32_t first = plan->n_backends;

	plan->pair[plan->n_services++] = pair;
	record->change = (uint8_t)change;
	describe_service(plan, pair, was, is, record);
	memcpy(record->name,
	       is != NULL ? plan->after->service_name[pair.after]
			  : plan->now->service_name[pair.now],
	       SL_MAX_NAME);
	/* What stands for the outside has all slots, and no address. */
	if (record->mode == WIRE_MODE_SNAT)
		return 0;
	compared.record_now = calloc((was != NULL ? was->n_members : 0) + 1, sizeof(uint32_t));
	compared.record_after = calloc((is != NULL ? is->n_members : 0) + 1, sizeof(uint32_t));
	if (compared.record_now != NULL && compared.record_after != NULL) {
		add_members(plan, was, is, &compared);
		compare_slots(plan, record, &compared);
	}
	record->n_records = plan->n_backends - first;
	free(compared.record_now);
	free(compared.record_after);
	return compared.record_now != NULL && compared.record_after != NULL ? 0 : -ENOMEM;
}

static int compare(struct plan *plan)
{
	const struct snapshot *now = plan->now, *after = plan->after;
	uint32_t n = now->n_services > after->n_services ? now->n_services : after->n_services;
	int status = 0;

	for (uint32_t i = 0; i < n && status == 0; i++) {
		bool was = has_service(now, i), is = has_service(after, i);

		if (was && is && now->service[i].epoch == after->service[i].epoch) {
			if (plan->is_new_key || is_set(plan, i))
				status = add_service(plan, (struct pair){i, i}, WIRE_PLAN_SET);
			continue;
		}
		if (was)
			status = add_service(plan, (struct pair){i, SL_NO_INDEX}, WIRE_PLAN_DELETE);
		if (is && status == 0)
			status = add_service(plan, (struct pair){SL_NO_INDEX, i}, WIRE_PLAN_ADD);
	}
	return status;
}

int plan_new(const struct snapshot *now, const struct snapshot *after, struct plan **out)
{
	struct plan *plan = calloc(1, sizeof(*plan));
	size_t n_services, n_backends;
	int status = -ENOMEM;

	if (plan == NULL)
		return -ENOMEM;
	plan->now = now != NULL ? now : &nothing;
	plan->after = after;
	plan->is_new_key =
		now != NULL && memcmp(&now->hash_key, &after->hash_key, sizeof(now->hash_key)) != 0;
	/* Pages that are never written to cost nothing. */
	n_services = (size_t)plan->now->n_services + after->n_services + 1;
	n_backends = (size_t)plan->now->n_members + after->n_members + 1;
	plan->pair = calloc(n_services, sizeof(*plan->pair));
	plan->service = calloc(n_services, sizeof(*plan->service));
	plan->backend = calloc(n_backends, sizeof(*plan->backend));
	plan->backend_now = calloc(n_backends, sizeof(*plan->backend_now));
	plan->fates_of = calloc((size_t)plan->now->n_backends + 1, sizeof(*plan->fates_of));
	if (plan->pair != NULL && plan->service != NULL && plan->backend != NULL &&
	    plan->backend_now != NULL && plan->fates_of != NULL)
		status = compare(plan);
	if (status != 0) {
		plan_free(plan);
		return status;
	}
	*out = plan;
	return 0;
}

void plan_free(struct plan *plan)
{
	if (plan == NULL)
		return;
	free(plan->pair);
	free(plan->service);
	free(plan->backend);
	free(plan->backend_now);
	free(plan->fates_of);
	free(plan);
}

/* ---- flows ---- */

enum fate {
	FATE_NONE, /* it is over already */
	FATE_STAY,
	FATE_RESET,
	FATE_MOVE,
};

/* Whether the flow is over, or its time is. */
static bool has_ended(const struct snapshot *now, const struct sl_flow *flow, uint32_t ticks)
{
	const struct sl_service *service;

	if (flow->state == SL_FLOW_FREE || flow->state == SL_FLOW_CLOSED ||
	    lookup_flow_backend(now, flow) == NULL)
		return true;
	service = &now->service[now->backend[flow->backend].service];
	/* A packet may have come since @ticks was read. */
	return (int32_t)(ticks - flow->last_seen) >
	       (int32_t)service->timeout_ticks[sl_flow_timeout(flow)];
}

/*
 * Of a flow whose backend would be gone: a datagram begins it afresh, and so does a SYN that is sent again;
 * what else a client sends is answered by a reset.
 */
static enum fate fate_without_backend(const struct snapshot *after, const struct sl_flow *flow)
{
	struct sl_tuple client = sl_flow_tuple(flow, SL_DIRECTION_FORWARD);
	bool begins_again = flow->protocol != SL_PROTOCOL_TCP ||
			    (flow->state == SL_FLOW_EMBRYONIC &&
			     (flow->flags & (SL_FLOW_SYN | SL_FLOW_SYN_ACK)) == SL_FLOW_SYN);
	uint32_t service;

	if (!begins_again || after->n_live_services == 0)
		return FATE_RESET;
	service = lookup_service(after, &client);
	return service != SL_NO_INDEX &&
			       lookup_choose(after, service, &client).backend != SL_NO_INDEX
		       ? FATE_MOVE
		       : FATE_RESET;
}

/* Whether the source of @flow, which has one, is still one of its service's. */
static bool is_in_pool(const struct snapshot *after, const struct sl_service *service,
		       const struct sl_flow *flow, bool *has_address)
{
	union sl_addr source = sl_flow_addr(flow, SL_FLOW_SOURCE);
	uint16_t port = sl_from_be16(flow->source_port);

	*has_address = false;
	for (uint32_t i = 0; i < service->n_sources && !*has_address; i++)
		*has_address = sl_addr_equal(&after->source[service->first_source + i], &source);
	return *has_address && port >= service->source_port_first &&
	       port <= service->source_port_last;
}

/* Mode snat: packets to an address that stands for nobody are the kernel's; denied clients are told. */
static bool is_led_out(const struct plan *plan, uint32_t service, const struct sl_flow *flow,
		       bool has_address)
{
	union sl_addr client = sl_flow_addr(flow, SL_FLOW_CLIENT);

	return has_address &&
	       (!lookup_is_denied(plan->after, service, WIRE_DENY_SOURCE, &client, flow->family) ||
		lookup_is_denied(plan->now, service, WIRE_DENY_SOURCE, &client, flow->family));
}

static enum fate judge_flow(const struct plan *plan, const struct sl_flow *flow, uint32_t ticks,
			    bool *is_off_pool)
{
	const struct snapshot *after = plan->after;
	const struct sl_backend *backend;
	const struct sl_service *service;
	bool has_address;

	*is_off_pool = false;
	if (has_ended(plan->now, flow, ticks))
		return FATE_NONE;
	backend = lookup_flow_backend(after, flow);
	if (backend == NULL)
		return plan->now->backend[flow->backend].is_outside
			       ? FATE_RESET
			       : fate_without_backend(after, flow);
	service = &after->service[backend->service];
	if (!sl_flow_has_source(flow))
		return FATE_STAY;
	*is_off_pool = !is_in_pool(after, service, flow, &has_address);
	if (service->mode == WIRE_MODE_SNAT &&
	    !is_led_out(plan, backend->service, flow, has_address)) {
		*is_off_pool = false;
		return FATE_RESET;
	}
	return FATE_STAY;
}

static void count(struct wire_plan_fates *fates, enum fate fate, bool is_off_pool)
{
	fates->stay += fate == FATE_STAY;
	fates->reset += fate == FATE_RESET;
	fates->move += fate == FATE_MOVE;
	fates->off_pool += is_off_pool;
}

void plan_begin_flows(struct plan *plan)
{
	memset(&plan->fates, 0, sizeof(plan->fates));
	memset(plan->fates_of, 0, plan->now->n_backends * sizeof(*plan->fates_of));
}

void plan_count_flow(struct plan *plan, const struct sl_flow *flow, uint32_t ticks)
{
	bool is_off_pool;
	enum fate fate = judge_flow(plan, flow, ticks, &is_off_pool);

	if (fate == FATE_NONE)
		return;
	count(&plan->fates, fate, is_off_pool);
	count(&plan->fates_of[flow->backend], fate, is_off_pool);
}

const struct wire_plan_fates *plan_fates(const struct plan *plan)
{
	return &plan->fates;
}

/* ---- what is told ---- */

static uint64_t index_bytes(const struct snapshot_index *index)
{
	return index->bucket != NULL ? ((uint64_t)index->mask + 1) * sizeof(*index->bucket) : 0;
}

static uint64_t ranges_bytes(const struct prefix_table *table)
{
	return ((uint64_t)table->n_ranges[0] + table->n_ranges[1]) * sizeof(*table->range[0]);
}

static uint64_t lists_bytes(const struct lists *lists)
{
	uint64_t bytes;

	if (lists == NULL)
		return 0;
	bytes = sizeof(*lists) + lists->n * sizeof(*lists->record);
	for (int i = 0; i < WIRE_N_LISTS; i++)
		bytes += ranges_bytes(&lists->table[i]);
	return bytes;
}

/* Bytes of a snapshot, its tables in full. */
static uint64_t snapshot_bytes(const struct snapshot *snapshot)
{
	const uint64_t a_service = sizeof(*snapshot->service) + 2 * sizeof(*snapshot->slots) +
				   sizeof(*snapshot->lists) + sizeof(*snapshot->affinity) +
				   SL_MAX_NAME;
	const uint64_t a_member = sizeof(*snapshot->member) + sizeof(*snapshot->member_state) +
				  sizeof(*snapshot->member_health);
	const uint64_t a_backend = sizeof(*snapshot->backend) + sizeof(*snapshot->max_flows);
	uint64_t bytes = sizeof(*snapshot) + snapshot->n_services * a_service +
			 snapshot->n_backends * a_backend + snapshot->n_members * a_member +
			 snapshot->n_sources * (sizeof(*snapshot->source) + 2) +
			 ranges_bytes(&snapshot->inside) + snapshot_table_bytes(snapshot);

	for (uint32_t i = 0; i < snapshot->n_services; i++)
		bytes += lists_bytes(snapshot->lists[i]);
	return bytes + index_bytes(&snapshot->by_service) + index_bytes(&snapshot->by_backend) +
	       index_bytes(&snapshot->by_address) + index_bytes(&snapshot->by_source);
}

void plan_describe(const struct plan *plan, struct wire_plan_reply *reply)
{
	reply->memory_now = plan->now != &nothing ? snapshot_bytes(plan->now) : 0;
	reply->memory_after = snapshot_bytes(plan->after);
	reply->n_services = plan->n_services;
	reply->n_backends = plan->n_backends;
	reply->is_new_key = plan->is_new_key;
}

uint32_t plan_n_services(const struct plan *plan)
{
	return plan->n_services;
}

uint32_t plan_n_backends(const struct plan *plan)
{
	return plan->n_backends;
}

/* Of all flows of the service: its backends', those that go and those that stay. */
static struct wire_plan_fates service_fates(const struct plan *plan, uint32_t now)
{
	struct wire_plan_fates sum = {0};
	const struct sl_service *service;

	if (now == SL_NO_INDEX)
		return sum;
	service = &plan->now->service[now];
	for (uint32_t i = 0; i < service->n_members; i++) {
		const struct wire_plan_fates *fates =
			&plan->fates_of[plan->now->member[service->first_member + i]];

		sum.stay += fates->stay;
		sum.reset += fates->reset;
		sum.move += fates->move;
		sum.off_pool += fates->off_pool;
	}
	return sum;
}

uint32_t plan_services(const struct plan *plan, uint32_t first, uint32_t n,
		       struct wire_plan_service *record)
{
	uint32_t i = 0;

	for (; i < n && first + i < plan->n_services; i++) {
		record[i] = plan->service[first + i];
		record[i].flows = service_fates(plan, plan->pair[first + i].now);
	}
	return i;
}

uint32_t plan_backends(const struct plan *plan, uint32_t first, uint32_t n,
		       struct wire_plan_backend *record)
{
	uint32_t i = 0;

	for (; i < n && first + i < plan->n_backends; i++) {
		uint32_t now = plan->backend_now[first + i];

		record[i] = plan->backend[first + i];
		if (now != SL_NO_INDEX)
			record[i].flows = plan->fates_of[now];
	}
	return i;
}
