/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * The synthetic port: an ethdev whose receive and transmit functions are ours. Receiving takes
 * buffers from a small ring and writes the whole frame into each, so nothing that was edited
 * survives and packet memory is as warm as a card with DDIO leaves it; what differs from frame to
 * frame comes from an array that is read in order, so that the port has no cache misses of its own.
 * Sending puts the buffers back. The loop that polls the port decides nothing about it and cannot
 * tell it from a card.
 *
 * A queue is one thread's, which receives from it and sends to it; its state shares no cache line with
 * another's. What a frame was written from is known wherever it is sent.
 */
#pragma once

#include <rte_ethdev.h>

#include <sluice/base.h>

enum {
	PORT_FRAME_BYTES = 64, /* as in memory, without the frame check sequence */
	PORT_RECORD4_BYTES = 16,
	PORT_RECORD6_BYTES = 40,
	PORT_MAX_QUEUES = 2,
};

/** What is written over the template of an IPv4 frame, from the header's checksum on. */
struct port_record4 {
	be16_t ip_checksum;
	be32_t source;
	be32_t destination;
	be16_t source_port;
	be16_t destination_port;
	be16_t l4_checksum;
} SL_PACKED;

/** Likewise of an IPv6 frame with UDP, from the source address on. */
struct port_record6 {
	be32_t source[4];
	be32_t destination[4];
	be16_t source_port;
	be16_t destination_port;
	be16_t length;
	be16_t checksum;
};

_Static_assert(sizeof(struct port_record4) == PORT_RECORD4_BYTES, "four to a cache line");
_Static_assert(sizeof(struct port_record6) == PORT_RECORD6_BYTES, "as it stands in the frame");

enum port_kind {
	PORT_UDP4 = 0,
	PORT_TCP4,
	PORT_UDP6,
};

/** What arrives: all records in order, then from the first one again. */
struct port_frames {
	uint8_t kind;            /* enum port_kind */
	const uint8_t *template; /* PORT_FRAME_BYTES */
	const uint8_t *record;
	uint32_t n;
};

/** Of a queue; called by its thread. */
struct port_watch {
	void *context;
	/** Called by a poll that finds nothing left; may call port_begin(). */
	void (*on_empty)(void *context);
	/** A frame was sent here that came in, maybe elsewhere, as @record. */
	void (*on_sent)(void *context, const uint8_t *record, const uint8_t *frame);
	/** Whether nothing arrives for now, though something is left; NULL: it always does. */
	bool (*is_held_up)(void *context);
};

/**
 * Makes the ethdev @id ours; it is started, has @n_queues, each with its @watch, and takes its buffers
 * from @pool. 0 or -ENOMEM.
 */
int port_adopt(uint16_t id, uint16_t n_queues, struct rte_mempool *pool,
	       const struct port_watch *watch) SL_MUST_USE;

/** From now on @frames arrive at @queue, from the first one. Borrowed until the next call. */
void port_set_frames(uint16_t queue, const struct port_frames *frames);

/**
 * @n frames more at @queue, then nothing; one in @watch_step that are sent there is shown to the watch,
 * 0: none.
 */
void port_begin(uint16_t queue, uint64_t n, uint32_t watch_step);

/** Frames that have not arrived yet. */
uint64_t port_n_left(uint16_t queue);

/** Frames that arrived, and that were sent, in all. Any thread. */
uint64_t port_n_received(uint16_t queue);
uint64_t port_n_sent(uint16_t queue);
