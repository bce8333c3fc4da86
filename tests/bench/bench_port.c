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
	N_BUFFERS =
		512, /* of a queue, that go round; who gave one away takes another of the pool */
	PREFETCH_BYTES = 2048, /* ahead in the records */
	IPV4_AT = 24,          /* of the record in the frame */
	UDP4_LENGTH_AT = 38,
	TCP4_CHECKSUM_AT = 50,
	IPV6_AT = 22,
	LINE_PAIR = 128, /* CPUs fetch a line's neighbour with it */
};

struct queue {
	uint16_t number;
	struct port_watch watch;
	struct port_frames frames;
	uint32_t record_bytes;
	uint32_t at; /* the record that comes next */
	uint64_t n_left;
	uint64_t n_received;
	uint64_t n_sent;
	uint64_t watch_at; /* of n_sent */
	uint32_t watch_step;
	uint32_t head; /* of the ring: head == tail, there is no buffer */
	uint32_t tail;
	struct rte_mbuf *ring[N_BUFFERS];
} __attribute__((aligned(LINE_PAIR)));

struct port {
	uint16_t id;
	struct rte_mempool *pool;
	void *data[PORT_MAX_QUEUES]; /* the queues, as rte_eth_fp_ops has them */
	struct queue queue[PORT_MAX_QUEUES];
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

SL_INLINE void fill(struct queue *queue, struct rte_mbuf **packets, uint16_t n,
		    uint32_t record_bytes,
		    void (*write)(uint8_t *, const uint8_t *, const uint8_t *))
{
	const struct port_frames frames = queue->frames;
	uint64_t from = (uint64_t)queue->number << 32;
	uint32_t head = queue->head;
	uint32_t at = queue->at;

	for (uint16_t i = 0; i < n; i++) {
		const uint8_t *record = frames.record + (size_t)at * record_bytes;
		struct rte_mbuf *packet = queue->ring[head++ % N_BUFFERS];

		rte_prefetch0(record + PREFETCH_BYTES);
		fill_buffer(packet);
		packet->tx_offload = from | at;
		write((uint8_t *)packet->buf_addr + RTE_PKTMBUF_HEADROOM, frames.template, record);
		packets[i] = packet;
		if (SL_UNLIKELY(++at == frames.n))
			at = 0;
	}
	queue->head = head;
	queue->at = at;
}

/* Those that were freed, or sent elsewhere, are not lost: there are as many in the pool. */
static bool refill(struct queue *queue)
{
	while (queue->tail - queue->head < N_BUFFERS) {
		struct rte_mbuf *packet = rte_pktmbuf_alloc(port.pool);

		if (packet == NULL)
			return false;
		queue->ring[queue->tail++ % N_BUFFERS] = packet;
	}
	return true;
}

/* Others read it. */
static void count(uint64_t *counter, uint16_t n)
{
	__atomic_store_n(counter, *counter + n, __ATOMIC_RELAXED);
}

static uint16_t receive(void *data, struct rte_mbuf **packets, uint16_t n)
{
	struct queue *queue = data;

	if (SL_UNLIKELY(queue->n_left == 0))
		queue->watch.on_empty(queue->watch.context);
	if (n > queue->n_left)
		n = (uint16_t)queue->n_left;
	if (queue->watch.is_held_up != NULL && queue->watch.is_held_up(queue->watch.context))
		return 0;
	if (SL_UNLIKELY(queue->tail - queue->head < N_BUFFERS && !refill(queue)))
		return 0;
	queue->n_left -= n;
	switch ((enum port_kind)queue->frames.kind) {
	case PORT_UDP4:
		fill(queue, packets, n, PORT_RECORD4_BYTES, write_udp4);
		break;
	case PORT_TCP4:
		fill(queue, packets, n, PORT_RECORD4_BYTES, write_tcp4);
		break;
	case PORT_UDP6:
		fill(queue, packets, n, PORT_RECORD6_BYTES, write_udp6);
		break;
	}
	count(&queue->n_received, n);
	return n;
}

/* Packets may be sent in another order than they came, or elsewhere: each knows its record. */
static void show(struct queue *queue, const struct rte_mbuf *packet)
{
	const struct queue *from = &port.queue[packet->tx_offload >> 32];
	size_t at = packet->tx_offload & UINT32_MAX;

	queue->watch.on_sent(queue->watch.context, from->frames.record + at * from->record_bytes,
			     rte_pktmbuf_mtod(packet, const uint8_t *));
	queue->watch_at += queue->watch_step;
}

/* Of what came in elsewhere, the queue keeps as much as it gave away itself. */
static uint16_t transmit(void *data, struct rte_mbuf **packets, uint16_t n)
{
	struct queue *queue = data;
	uint32_t tail = queue->tail;
	uint32_t room = N_BUFFERS - (tail - queue->head);
	uint16_t n_kept = n < room ? n : (uint16_t)room;

	while (SL_UNLIKELY(queue->watch_at < queue->n_sent + n))
		show(queue, packets[queue->watch_at - queue->n_sent]);
	for (uint16_t i = 0; i < n_kept; i++)
		queue->ring[tail++ % N_BUFFERS] = packets[i];
	queue->tail = tail;
	if (SL_UNLIKELY(n_kept < n))
		rte_pktmbuf_free_bulk(packets + n_kept, (unsigned int)(n - n_kept));
	count(&queue->n_sent, n);
	return n;
}

int port_adopt(uint16_t id, uint16_t n_queues, struct rte_mempool *pool,
	       const struct port_watch *watch)
{
	struct rte_eth_fp_ops *functions = &rte_eth_fp_ops[id];

	port.id = id;
	port.pool = pool;
	for (uint16_t i = 0; i < n_queues; i++) {
		port.queue[i].number = i;
		port.queue[i].watch = watch[i];
		port.data[i] = &port.queue[i];
		if (!refill(&port.queue[i]))
			return -ENOMEM;
	}
	functions->rx_pkt_burst = receive;
	functions->rxq.data = port.data;
	functions->tx_pkt_burst = transmit;
	functions->txq.data = port.data;
	return 0;
}

void port_set_frames(uint16_t queue, const struct port_frames *frames)
{
	struct queue *to = &port.queue[queue];

	to->frames = *frames;
	to->record_bytes = frames->kind == PORT_UDP6 ? PORT_RECORD6_BYTES : PORT_RECORD4_BYTES;
	to->at = 0;
}

void port_begin(uint16_t queue, uint64_t n, uint32_t watch_step)
{
	struct queue *at = &port.queue[queue];

	at->n_left = n;
	at->watch_step = watch_step;
	at->watch_at = watch_step != 0 ? at->n_sent + watch_step - 1 : UINT64_MAX;
}

uint64_t port_n_left(uint16_t queue)
{
	return port.queue[queue].n_left;
}

uint64_t port_n_received(uint16_t queue)
{
	return __atomic_load_n(&port.queue[queue].n_received, __ATOMIC_RELAXED);
}

uint64_t port_n_sent(uint16_t queue)
{
	return __atomic_load_n(&port.queue[queue].n_sent, __ATOMIC_RELAXED);
}
