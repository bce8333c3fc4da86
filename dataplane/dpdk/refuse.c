/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
#include "dataplane/dpdk/refuse.h"

/* Cuts @packet to @length bytes. */
static void cut(struct rte_mbuf *packet, uint32_t length)
{
	if (packet->pkt_len > length)
		(void)rte_pktmbuf_trim(packet, (uint16_t)(packet->pkt_len - length));
}

static bool make_unreachable(struct rte_mbuf *packet, const struct sl_packet *parsed,
			     const struct refusal *refusal)
{
	uint8_t family = parsed->tuple.family;
	uint32_t link_length = sl_reject_link_length(parsed);
	uint8_t *frame = (uint8_t *)rte_pktmbuf_prepend(packet, (uint16_t)sl_reject_room(family));
	const union sl_addr *from =
		refusal->from != NULL ? refusal->from : &parsed->tuple.destination;

	if (frame == NULL)
		return false;
	if (!sl_reject_unreachable(frame, frame + rte_pktmbuf_data_len(packet),
				   parsed->has_vlan != 0, family, from, refusal->reason))
		return false;
	cut(packet, sl_reject_unreachable_length(link_length, family));
	return true;
}

static bool make_answer(struct worker *worker, struct rte_mbuf *packet, struct sl_packet *parsed,
			const struct refusal *refusal)
{
	const uint8_t *end = rte_pktmbuf_mtod(packet, uint8_t *) + rte_pktmbuf_data_len(packet);
	uint32_t length = sl_reject_reset_length(parsed);

	switch (sl_reject_kind(parsed, refusal->reason)) {
	case SL_REJECT_NONE:
		return false;
	case SL_REJECT_RESET:
		if (!sl_reject_reset(parsed, end))
			return false;
		cut(packet, length);
		worker->counters.event[SL_EVENT_RESET_SENT]++;
		return true;
	case SL_REJECT_UNREACHABLE:
		if (!make_unreachable(packet, parsed, refusal))
			return false;
		worker->counters.event[sl_reject_event(refusal->reason)]++;
		return true;
	}
	return false;
}

bool refuse_packet(struct worker *worker, struct rte_mbuf *packet, struct sl_packet *parsed,
		   const struct refusal *refusal)
{
	const struct sl_tuple *tuple = &parsed->tuple;
	uint32_t bucket = sl_reject_bucket_of(&tuple->source, tuple->family);

	if (sl_reject_kind(parsed, refusal->reason) == SL_REJECT_NONE)
		return false;
	if (!sl_reject_allow(&worker->reject_bucket[bucket], worker->now)) {
		worker->counters.event[SL_EVENT_REFUSAL_LIMITED]++;
		return false;
	}
	return make_answer(worker, packet, parsed, refusal);
}
