/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
#include "dataplane/flow_record.h"

#include <string.h>

#include "dataplane/snapshot.h"

/* The service of @flow, if its mode is snat; else NULL. */
static const struct sl_service *snat_service(const struct snapshot *snapshot,
					     const struct sl_flow *flow)
{
	const struct sl_service *service;

	if (snapshot == NULL || flow->service >= snapshot->n_services)
		return NULL;
	service = &snapshot->service[flow->service];
	return service->mode == WIRE_MODE_SNAT && service->epoch == flow->service_epoch ? service
											: NULL;
}

bool flow_record_matches(const struct snapshot *snapshot, const struct wire_flow_filter *filter,
			 const struct sl_flow *flow)
{
	if (filter->service.family != 0 && wire_is_prefix(&filter->service)) {
		const struct sl_service *service = snat_service(snapshot, flow);

		if (service == NULL || service->family != filter->service.family ||
		    service->port != filter->service.port ||
		    !sl_addr_equal(&service->addr, &filter->service.addr))
			return false;
	} else if (filter->service.family != 0) {
		union sl_addr addr = sl_flow_addr(flow, SL_FLOW_SERVICE);

		if (flow->family != filter->service.family ||
		    flow->protocol != filter->service.protocol ||
		    (filter->service.port != 0 && flow->service_port != filter->service.port) ||
		    !sl_addr_equal(&addr, &filter->service.addr))
			return false;
	}
	if (filter->client_family != 0) {
		union sl_addr addr = sl_flow_addr(flow, SL_FLOW_CLIENT);

		if (flow->family != filter->client_family || !sl_addr_equal(&addr, &filter->client))
			return false;
	}
	return filter->client_port == 0 || flow->client_port == filter->client_port;
}

static uint32_t ticks_to_ms(uint32_t ticks)
{
	return (uint32_t)((uint64_t)ticks * 1000 / SL_TICKS_PER_SEC);
}

void flow_record_fill(const struct snapshot *snapshot, const struct sl_flow *flow, uint32_t worker,
		      uint32_t now, struct wire_flow_record *record)
{
	uint32_t idle = now > flow->last_seen ? now - flow->last_seen : 0;

	memset(record, 0, sizeof(*record));
	record->client = sl_flow_addr(flow, SL_FLOW_CLIENT);
	record->service = sl_flow_addr(flow, SL_FLOW_SERVICE);
	record->source = sl_flow_addr(flow, SL_FLOW_SOURCE);
	record->backend = sl_flow_addr(flow, SL_FLOW_BACKEND);
	record->client_port = flow->client_port;
	record->service_port = flow->service_port;
	record->source_port = flow->source_port;
	record->backend_port = flow->backend_port;
	/* Such a flow leads to anywhere: backend and backend_port are 0. */
	if (snat_service(snapshot, flow) != NULL) {
		record->service = snapshot->service[flow->service].addr;
		record->service_port = snapshot->service[flow->service].port;
	}
	record->family = flow->family;
	record->protocol = flow->protocol;
	record->state = flow->state;
	record->worker = (uint8_t)worker;
	record->idle_ms = ticks_to_ms(idle);
	if (snapshot != NULL && flow->service < snapshot->n_services)
		record->timeout_ms = ticks_to_ms(
			snapshot->service[flow->service].timeout_ticks[sl_flow_timeout(flow)]);
}
