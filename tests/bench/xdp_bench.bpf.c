// SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0
/* Copyright (c) 2026 The Sluice authors */
/*
 * The balancer's program with a frame of another flow each time it is run: bench_balance writes the
 * frame's addresses and balances it, bench_empty only writes them. Their difference is what the
 * balancer costs. Code and maps are those of bpf/sluice.bpf.c itself.
 */
#include "../../bpf/sluice.bpf.c"

#include "xdp_bench.h"

struct xdp_bench bench SEC(".data.bench");

static __always_inline uint32_t draw(struct xdp_bench_cursor *cursor)
{
	if (bench.is_sequential)
		return cursor->next++;
	cursor->random = cursor->random * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(((cursor->random >> 32) * cursor->n_flows) >> 32);
}

static __always_inline uint32_t next_flow(struct xdp_bench_cursor *cursor)
{
	uint32_t drawn = draw(cursor);
	uint32_t group = drawn / XDP_BENCH_SERVICES * cursor->stride + cursor->first;

	return group * XDP_BENCH_SERVICES + drawn % XDP_BENCH_SERVICES;
}

static __always_inline void write_ipv4(struct sl_ipv4 *ipv4, uint32_t flow, bool is_reply)
{
	be32_t client = sl_to_be32(bench.client + flow);
	uint32_t other = is_reply ? bench.backend : bench.service;
	be32_t host = sl_to_be32(other + (flow & (XDP_BENCH_SERVICES - 1)));

	ipv4->source = is_reply ? host : client;
	ipv4->destination = is_reply ? client : host;
	ipv4->ttl = 64;
	ipv4->checksum = (be16_t)~sl_checksum_fold((uint64_t)bench.checksum_base + client + host);
}

static __always_inline void write_ipv6(struct sl_ipv6 *ipv6, uint32_t flow, bool is_reply)
{
	be32_t *client = is_reply ? ipv6->destination : ipv6->source;
	be32_t *host = is_reply ? ipv6->source : ipv6->destination;

	client[0] = bench.client6;
	client[1] = 0;
	client[2] = 0;
	client[3] = sl_to_be32(flow + 1);
	host[0] = is_reply ? bench.backend6 : bench.service6;
	host[1] = 0;
	host[2] = 0;
	host[3] = sl_to_be32((flow & (XDP_BENCH_SERVICES - 1)) + 1);
	ipv6->hop_limit = 64;
}

/* Its frame is not the balancer's, which needs all of the stack that a chain of calls may have. */
static __noinline int write_frame(struct xdp_md *ctx)
{
	struct xdp_bench_cursor *cursor =
		&bench.cursor[bpf_get_smp_processor_id() & (XDP_BENCH_CPUS - 1)];
	bool is_reply = cursor->is_reply & 1;
	uint32_t flow = next_flow(cursor);
	be16_t port = sl_to_be16((uint16_t)(XDP_BENCH_FIRST_PORT + (flow & (XDP_BENCH_PORTS - 1))));
	void *data = (void *)(long)ctx->data;
	const void *data_end = (void *)(long)ctx->data_end;
	uint32_t *mac = data;
	struct sl_l4_ports *ports;

	if (data + sizeof(struct sl_ethernet) + sizeof(struct sl_ipv4) + sizeof(struct sl_tcp) >
	    data_end)
		return 0;
	cursor->is_reply ^= cursor->is_turning;
	mac[0] = bench.mac[0];
	mac[1] = bench.mac[1];
	mac[2] = bench.mac[2];
	data += sizeof(struct sl_ethernet);
	if (bench.is_ipv6) {
		if (data + sizeof(struct sl_ipv6) + sizeof(struct sl_tcp) > data_end)
			return 0;
		write_ipv6(data, flow, is_reply);
		data += sizeof(struct sl_ipv6);
	} else {
		write_ipv4(data, flow, is_reply);
		data += sizeof(struct sl_ipv4);
	}
	ports = data;
	ports->source = is_reply ? bench.backend_port : port;
	ports->destination = is_reply ? port : bench.service_port;
	if (bench.is_udp)
		((struct sl_udp *)data)->checksum = bench.l4_checksum;
	else
		((struct sl_tcp *)data)->checksum = bench.l4_checksum;
	if (bench.is_advancing)
		((struct sl_tcp *)data)->sequence =
			sl_to_be32((uint32_t)(cursor->clock++ >> (bench.clock_shift & 63)));
	return 1;
}

SEC("xdp")
int bench_empty(struct xdp_md *ctx)
{
	return write_frame(ctx) ? XDP_PASS : XDP_ABORTED;
}

SEC("xdp")
int bench_balance(struct xdp_md *ctx)
{
	return write_frame(ctx) ? balance_frame(ctx) : XDP_ABORTED;
}
