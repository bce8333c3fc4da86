// SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0
/* Copyright (c) 2026 The Sluice authors */
/*
 * blast_send is run on frames of the kernel's own (BPF_F_TEST_XDP_LIVE_FRAMES) and sends them by one
 * interface; blast_sink counts and drops what arrives, and may join two interfaces to a wire for all
 * else. Frames come back with what others have written into them, so that each is written anew.
 */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include <sluice/packet/checksum.h>
#include <sluice/packet/headers.h>

#include "udp_blast.h"

struct udp_blast_sender sender SEC(".data.sender");
struct udp_blast_sink sink SEC(".data.sink");

enum {
	SECOND_NS = 1000000000,
	IPV4_AT = sizeof(struct sl_ethernet),
	UDP_AT = IPV4_AT + sizeof(struct sl_ipv4),
	HEADERS = UDP_AT + sizeof(struct sl_udp),
};

/* Whether it is not yet time for the next frame. */
static __always_inline bool is_early(void)
{
	uint64_t now = bpf_ktime_get_ns();
	uint64_t due = (now - sender.start_ns) * sender.rate;

	if (due < sender.n_sent * SECOND_NS)
		return true;
	if (due > (sender.n_sent + UDP_BLAST_BEHIND) * SECOND_NS)
		sender.start_ns = now - sender.n_sent * SECOND_NS / sender.rate;
	return false;
}

SEC("xdp")
int blast_send(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	void *data_end = (void *)(long)ctx->data_end;
	struct sl_udp *udp = data + UDP_AT;
	uint32_t flow = sender.flow;
	uint16_t *word = data;
	be16_t port;

	if (data + UDP_BLAST_FRAME > data_end)
		return XDP_DROP;
	if (sender.rate != 0 && is_early())
		return XDP_DROP;
	sender.flow = flow + 1 < sender.n_flows ? flow + 1 : 0;
	sender.n_sent++;
	for (int i = 0; i < UDP_BLAST_FRAME / 2; i++)
		word[i] = sender.frame[i];
	port = sl_to_be16((uint16_t)(sender.first_port + flow));
	udp->source = port;
	udp->checksum = (be16_t)~sl_checksum_fold((uint64_t)sender.checksum + port);
	return (int)bpf_redirect(sender.ifindex, 0);
}

static __always_inline int pass(const struct xdp_md *ctx)
{
	if (sink.device[1] == 0)
		return XDP_PASS;
	return (int)bpf_redirect(sink.device[ctx->ingress_ifindex == sink.device[0]], 0);
}

SEC("xdp")
int blast_sink(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	void *data_end = (void *)(long)ctx->data_end;
	const struct sl_ethernet *ethernet = data;
	const struct sl_ipv4 *ipv4 = data + IPV4_AT;
	const struct sl_udp *udp = data + UDP_AT;

	if (data + HEADERS > data_end || ethernet->type != SL_BE16(SL_ETHERTYPE_IPV4) ||
	    ipv4->protocol != SL_PROTOCOL_UDP || udp->destination != sink.port || sink.port == 0)
		return pass(ctx);
	sink.n_received[sl_from_be32(ipv4->destination) & (UDP_BLAST_HOSTS - 1)]++;
	return XDP_DROP;
}

char _license[] SEC("license") = "Dual BSD/GPL";
