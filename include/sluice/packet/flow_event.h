/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * What the packet path tells of a flow that is logged: that it began, or ended. It goes through a queue
 * to a thread that writes it (dataplane/flow_log.h); the packet path waits for nothing.
 */
#pragma once

#include <sluice/base.h>
#include <sluice/packet/flow.h>

enum sl_flow_event_kind {
	SL_FLOW_BEGINS = 1,
	SL_FLOW_ENDS,
};

/** Endpoints as in struct sl_flow. In mode snat address is nobody's, and so is backend of one that ends. */
struct sl_flow_event {
	uint64_t stamp; /* of the engine's own clock */
	uint8_t kind;   /* enum sl_flow_event_kind */
	uint8_t family;
	uint8_t protocol;
	uint8_t reserved;
	uint16_t service; /* stable index */
	uint16_t service_epoch;
	be16_t client_port; /* of an echo: its identifier, and so the next but one */
	be16_t address_port;
	be16_t source_port;
	be16_t backend_port;
	union sl_addr client;
	union sl_addr address; /* the service's */
	union sl_addr source;  /* what stands for the client; itself in mode nat */
	union sl_addr backend; /* mode snat: whom the flow's first packet went to */
};

/** Fills @event from @flow, of @family: all but its stamp. */
SL_INLINE void sl_flow_event_fill(struct sl_flow_event *event, const struct sl_flow *flow,
				  uint8_t family, enum sl_flow_event_kind kind)
{
	event->kind = (uint8_t)kind;
	event->family = family;
	event->protocol = flow->protocol;
	event->reserved = 0;
	event->service = flow->service;
	event->service_epoch = flow->service_epoch;
	event->client_port = flow->client_port;
	event->address_port = flow->service_port;
	event->source_port = flow->source_port;
	event->backend_port = flow->backend_port;
	event->client = sl_flow_addr_as(flow, SL_FLOW_CLIENT, family);
	event->address = sl_flow_addr_as(flow, SL_FLOW_SERVICE, family);
	event->source = sl_flow_addr_as(flow, SL_FLOW_SOURCE, family);
	event->backend = sl_flow_addr_as(flow, SL_FLOW_BACKEND, family);
}

_Static_assert(sizeof(struct sl_flow_event) == 88, "no padding");
