// SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0
/* Copyright (c) 2026 The Sluice authors */
/*
 * Programs that no packet meets: the agent runs them on a frame that holds its question
 * (BPF_PROG_TEST_RUN) and reads the answer there. So the tables have one kind of writer, and what
 * the agent is told of routes is what packets meet.
 */
#pragma once

#include "route.h"

struct sweep {
	struct sl_xdp_sweep question;
	uint32_t now;
};

static __always_inline void sweep_entry(struct sweep *sweep, uint32_t index, uint8_t family)
{
	const struct sl_flow *flow = flow_at(index, family);

	if (flow == NULL || flow->state == SL_FLOW_FREE)
		return;
	/* A packet that comes between the two looks at the clock finds its flow gone, and makes one. */
	if (flow_has_expired(flow, sweep->now))
		sweep->question.n_ended +=
			flow_end(index, read_once(&flow->sequence), family, SL_XDP_SWEEPS);
	sweep->question.n_flows += flow->state != SL_FLOW_FREE;
	sweep->question.n_embryonic += flow->state == SL_FLOW_EMBRYONIC;
}

static long sweep_step4(uint32_t i, struct sweep *sweep)
{
	sweep_entry(sweep, sweep->question.first + i, SL_FAMILY_IPV4);
	return 0;
}

static long sweep_step6(uint32_t i, struct sweep *sweep)
{
	sweep_entry(sweep, sweep->question.first + i, SL_FAMILY_IPV6);
	return 0;
}

SEC("xdp")
int sl_sweep(struct xdp_md *ctx)
{
	struct sl_xdp_sweep *question = (void *)(long)ctx->data;
	struct sweep sweep;

	if ((void *)(question + 1) > (void *)(long)ctx->data_end)
		return XDP_ABORTED;
	sweep = (struct sweep){.question = *question,
			       .now = sl_xdp_ticks(bpf_ktime_get_coarse_ns())};
	if (sweep.question.family == SL_FAMILY_IPV4)
		bpf_loop(sweep.question.n, sweep_step4, &sweep, 0);
	else
		bpf_loop(sweep.question.n, sweep_step6, &sweep, 0);
	*question = sweep.question;
	return XDP_PASS;
}

SEC("xdp")
int sl_route(struct xdp_md *ctx)
{
	struct sl_xdp_route *question = (void *)(long)ctx->data;
	struct bpf_fib_lookup lookup;
	const struct sl_xdp_port *port;
	union sl_addr addr;

	if ((void *)(question + 1) > (void *)(long)ctx->data_end)
		return XDP_ABORTED;
	addr = question->addr;
	question->status = (int32_t)route_ask(ctx, &addr, (uint8_t)question->family, &lookup);
	port = port_of(lookup.ifindex);
	question->ifindex = lookup.ifindex;
	question->has_port = port != NULL;
	question->port = port != NULL ? port->index : 0;
	question->gateway = (union sl_addr){{0}};
	if (question->family == SL_FAMILY_IPV4)
		question->gateway.word[0] = lookup.ipv4_dst;
	else
		__builtin_memcpy(question->gateway.word, lookup.ipv6_dst, 16);
	__builtin_memcpy(question->destination_mac, lookup.dmac, 6);
	__builtin_memcpy(question->source_mac, lookup.smac, 6);
	return XDP_PASS;
}
