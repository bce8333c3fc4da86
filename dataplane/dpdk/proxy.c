/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* What include/sluice/packet/proxy.h decides, done to a frame in a buffer. */
#include "dataplane/dpdk/proxy.h"

#include <sluice/packet/proxy.h>

/* Puts the header into the frame. @sequence: of the packet then. */
static enum sl_verdict insert(struct rte_mbuf *frame, struct sl_packet *packet, uint32_t sequence,
			      const struct port *port)
{
	uint32_t headers = sl_proxy_headers(packet);
	uint32_t growth = sl_proxy_length(packet->tuple.family);
	uint8_t *data;

	if (headers > SL_PROXY_MAX_HEADERS || sl_proxy_grown(packet) > port->mtu)
		return SL_VERDICT_DROP_TOO_BIG;
	data = (uint8_t *)rte_pktmbuf_prepend(frame, (uint16_t)growth);
	if (data == NULL)
		return SL_VERDICT_DROP_TOO_BIG;
	/* Both are sure now: the headers were judged above, and the frame has as much room as it grew. */
	if (!sl_proxy_make_room(data, data + frame->data_len, packet, headers) ||
	    !sl_proxy_insert(packet, data + frame->data_len, &packet->tuple, sequence))
		return SL_VERDICT_DROP_TRUNCATED;
	return SL_VERDICT_NONE;
}

static enum sl_verdict forward(struct rte_mbuf *frame, struct sl_packet *packet,
			       struct sl_proxy *proxy, const struct port *port)
{
	enum sl_verdict verdict;
	uint32_t sequence = 0;

	if (packet->tuple.protocol != SL_PROTOCOL_TCP)
		return insert(frame, packet, 0, port);
	switch (sl_proxy_forward(proxy, packet, &sequence)) {
	case SL_PROXY_SYN:
		sl_proxy_syn(packet, sl_proxy_options(packet), 0);
		return SL_VERDICT_NONE;
	case SL_PROXY_SHIFT:
		sl_proxy_shift(packet, sequence);
		return SL_VERDICT_NONE;
	case SL_PROXY_INSERT:
		verdict = insert(frame, packet, sequence, port);
		if (verdict == SL_VERDICT_NONE)
			sl_proxy_sent(proxy);
		return verdict;
	case SL_PROXY_REFUSE:
		return SL_VERDICT_DROP_BEFORE_HEADER;
	case SL_PROXY_PASS:
	case SL_N_PROXY_ACTIONS:
		break;
	}
	return SL_VERDICT_NONE;
}

enum sl_verdict proxy_packet(struct rte_mbuf *frame, struct sl_packet *packet, struct sl_flow *flow,
			     enum sl_direction direction, const struct port *port)
{
	const struct sl_proxy was = sl_flow_proxy(flow);
	struct sl_proxy is = was;
	enum sl_verdict verdict = SL_VERDICT_NONE;

	if (direction == SL_DIRECTION_FORWARD)
		verdict = forward(frame, packet, &is, port);
	else if (packet->tuple.protocol == SL_PROTOCOL_TCP)
		sl_proxy_reply(&is, packet, sl_proxy_options(packet));
	sl_flow_set_proxy(flow, &was, &is);
	return verdict;
}
