/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * The synthetic port: see bench_port.h. rte_eth_rx_burst() and rte_eth_tx_burst() go through the
 * array rte_eth_fp_ops, which DPDK exports for that inline code: there our functions replace the
 * driver's, after it was started.
 */
#include "tests/bench/bench_port.h"

#include <errno.h>
#include <string.h>

#include <rte_memcpy.h>
#include <rte_prefetch.h>

enum {
	N_BUFFERS = 512, /* that go round; where one is freed, another one of the pool comes in */
	RING_SIZE = 1024,
	PREFETCH_BYTES = 2048, /* ahead in the records */
	IPV4_AT = 24,          /* of the record in the frame */
	UDP4_LENGTH_AT = 38,
	TCP4_CHECKSUM_AT = 50,
	IPV6_AT = 22,
};

struct port {
	uint16_t id;
	struct rte_mempool *pool;
	struct port_watch watch;
	struct port_frames frames;
	uint32_t record_bytes;
	uint32_t at; /* the record that comes next */
	uint64_t n_left;
	uint64_t n_sent;
	uint64_t watch_at; /* of n_sent */
	uint32_t watch_step;
	uint32_t head; /* of the ring: head == tail, there is no buffer */
	uint32_t tail;
	struct rte_mbuf *ring[RING_SIZE];
	void *queue[1];
};

static struct port port;

static void write_udp4(uint8_t *frame, const uint8_t *template, const uint8_t *record)
{
	uint32_t rest;

	rte_mov64(frame, template);
	memcpy(&rest, template + UDP4_LENGTH_AT, sizeof(rest));
	rest = (rest & 0xffff) | (uint32_t)((const struct port_record4 *)record)->l4_checksum << 16;
	memcpy(frame + IPV4_AT, record, PORT_RECORD4_BYTES);
	memcpy(frame + UDP4_LENGTH_AT, &rest, sizeof(rest));
}

static void write_tcp4(uint8_t *frame, const uint8_t *template, const uint8_t *record)
{
	rte_mov64(frame, template);
	memcpy(frame + IPV4_AT, record, offsetof(struct port_record4, l4_checksum));
	sl_store16(frame + TCP4_CHECKSUM_AT, ((const struct port_record4 *)record)->l4_checksum);
}

static void write_udp6(uint8_t *frame, const uint8_t *template, const uint8_t *record)
{
	rte_mov64(frame, template);
	memcpy(frame + IPV6_AT, record, PORT_RECORD6_BYTES);
}

/* As a driver fills a buffer from a descriptor; all else of it the one who sent it left as it was. */
static void fill_buffer(struct rte_mbuf *packet)
{
	packet->data_off = RTE_PKTMBUF_HEADROOM;
	packet->nb_segs = 1;
	packet->port = port.id;
	packet->ol_flags = 0;
	packet->packet_type = 0;
	packet->pkt_len = PORT_FRAME_BYTES;
	packet->data_len = PORT_FRAME_BYTES;
	packet->vlan_tci = 0;
	packet->hash.rss = 0;
}

SL_INLINE void fill(struct rte_mbuf **packets, uint16_t n, uint32_t record_bytes,
		    void (*write)(uint8_t *, const uint8_t *, const uint8_t *))
{
	const uint8_t *template = port.frames.template;
	uint32_t at = port.at;

	for (uint16_t i = 0; i < n; i++) {
		const uint8_t *record = port.frames.record + (size_t)at * record_bytes;
		struct rte_mbuf *packet = port.ring[port.head++ % RING_SIZE];

		rte_prefetch0(record + PREFETCH_BYTES);
		fill_buffer(packet);
		packet->tx_offload = at;
		write((uint8_t *)packet->buf_addr + RTE_PKTMBUF_HEADROOM, template, record);
		packets[i] = packet;
		if (SL_UNLIKELY(++at == port.frames.n))
			at = 0;
	}
	port.at = at;
}

/* The ones that were freed are not lost: there are as many in the pool. */
static bool refill(void)
{
	while (port.tail - port.head < N_BUFFERS) {
		struct rte_mbuf *packet = rte_pktmbuf_alloc(port.pool);

		if (packet == NULL)
			return false;
		port.ring[port.tail++ % RING_SIZE] = packet;
	}
	return true;
}

static uint16_t receive(void *queue SL_UNUSED, struct rte_mbuf **packets, uint16_t n)
{
	if (SL_UNLIKELY(port.n_left == 0))
		port.watch.on_empty(port.watch.context);
	if (n > port.n_left)
		n = (uint16_t)port.n_left;
	if (SL_UNLIKELY(port.tail - port.head < N_BUFFERS && !refill()))
		return 0;
	port.n_left -= n;
	switch ((enum port_kind)port.frames.kind) {
	case PORT_UDP4:
		fill(packets, n, PORT_RECORD4_BYTES, write_udp4);
		break;
	case PORT_TCP4:
		fill(packets, n, PORT_RECORD4_BYTES, write_tcp4);
		break;
	case PORT_UDP6:
		fill(packets, n, PORT_RECORD6_BYTES, write_udp6);
		break;
	}
	return n;
}

/* Packets of one burst may be sent in another order than they came: each knows its record. */
static void show(const struct rte_mbuf *packet)
{
	port.watch.on_sent(port.watch.context,
			   port.frames.record + packet->tx_offload * port.record_bytes,
			   rte_pktmbuf_mtod(packet, const uint8_t *));
	port.watch_at += port.watch_step;
}

static uint16_t transmit(void *queue SL_UNUSED, struct rte_mbuf **packets, uint16_t n)
{
	for (uint16_t i = 0; i < n; i++)
		port.ring[port.tail++ % RING_SIZE] = packets[i];
	while (SL_UNLIKELY(port.watch_at < port.n_sent + n))
		show(packets[port.watch_at - port.n_sent]);
	port.n_sent += n;
	return n;
}

int port_adopt(uint16_t id, struct rte_mempool *pool, const struct port_watch *watch)
{
	struct rte_eth_fp_ops *functions = &rte_eth_fp_ops[id];

	port.id = id;
	port.pool = pool;
	port.watch = *watch;
	port.queue[0] = &port;
	if (!refill())
		return -ENOMEM;
	functions->rx_pkt_burst = receive;
	functions->rxq.data = port.queue;
	functions->tx_pkt_burst = transmit;
	functions->txq.data = port.queue;
	return 0;
}

void port_set_frames(const struct port_frames *frames)
{
	port.frames = *frames;
	port.record_bytes = frames->kind == PORT_UDP6 ? PORT_RECORD6_BYTES : PORT_RECORD4_BYTES;
	port.at = 0;
}

void port_begin(uint64_t n, uint32_t watch_step)
{
	port.n_left = n;
	port.n_sent = 0;
	port.watch_step = watch_step;
	port.watch_at = watch_step != 0 ? watch_step - 1 : UINT64_MAX;
}

uint64_t port_n_left(void)
{
	return port.n_left;
}

uint64_t port_n_sent(void)
{
	return port.n_sent;
}
