/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* The loop that only exchanges ends: see bench_swap.h. */
#include "tests/bench/bench_swap.h"

#include <netinet/in.h>

#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_prefetch.h>
#include <rte_udp.h>

#include "tests/bench/bench_port.h"

enum {
	SWAP_BURST = 64, /* as the worker's */
};

static void swap_ports(void *l4)
{
	struct rte_udp_hdr *udp = l4; /* TCP begins alike */
	rte_be16_t port = udp->src_port;

	udp->src_port = udp->dst_port;
	udp->dst_port = port;
}

static void swap_ipv4(struct rte_mbuf *packet, struct rte_ipv4_hdr *ip)
{
	rte_be32_t addr = ip->src_addr;
	uint8_t protocol = ip->next_proto_id;

	ip->src_addr = ip->dst_addr;
	ip->dst_addr = addr;
	packet->l3_len = rte_ipv4_hdr_len(ip);
	if (protocol == IPPROTO_UDP || protocol == IPPROTO_TCP)
		swap_ports((uint8_t *)ip + rte_ipv4_hdr_len(ip));
}

static void swap_ipv6(struct rte_mbuf *packet, struct rte_ipv6_hdr *ip)
{
	uint8_t addr[16];

	rte_mov16(addr, ip->src_addr);
	rte_mov16(ip->src_addr, ip->dst_addr);
	rte_mov16(ip->dst_addr, addr);
	packet->l3_len = sizeof(*ip);
	if (ip->proto == IPPROTO_UDP || ip->proto == IPPROTO_TCP)
		swap_ports(ip + 1);
}

static void swap_packet(struct rte_mbuf *packet)
{
	struct rte_ether_hdr *ethernet = rte_pktmbuf_mtod(packet, struct rte_ether_hdr *);
	struct rte_ether_addr addr = ethernet->src_addr;

	ethernet->src_addr = ethernet->dst_addr;
	ethernet->dst_addr = addr;
	packet->l2_len = sizeof(*ethernet);
	if (ethernet->ether_type == RTE_BE16(RTE_ETHER_TYPE_IPV4))
		swap_ipv4(packet, (struct rte_ipv4_hdr *)(ethernet + 1));
	else if (ethernet->ether_type == RTE_BE16(RTE_ETHER_TYPE_IPV6))
		swap_ipv6(packet, (struct rte_ipv6_hdr *)(ethernet + 1));
}

void swap_run(uint16_t id, uint16_t queue)
{
	struct rte_mbuf *packet[SWAP_BURST];

	while (port_n_left(queue) != 0) {
		uint16_t n = rte_eth_rx_burst(id, queue, packet, SWAP_BURST);

		for (uint16_t i = 0; i < n; i++) {
			if (i + 1 < n)
				rte_prefetch0(rte_pktmbuf_mtod(packet[i + 1], void *));
			swap_packet(packet[i]);
		}
		if (n != 0 && rte_eth_tx_burst(id, queue, packet, n) != n)
			break;
	}
}
