/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * What goes over a wire and comes back: 64-byte UDP frames of a service's flows, one of each in turn,
 * whose payload says which, in which order and when they were sent. Of each frame that comes back the
 * addresses and ports are known beforehand, be it that they were balanced or swapped; so a wrong
 * backend is seen in each, and all other bytes are judged in some.
 */
#pragma once

#include <string.h>

#include <rte_memcpy.h>

#include <sluice/packet/checksum.h>

#include "tests/bench/bench_traffic.h"

enum {
	STREAM_IP_AT = 24,   /* the record in the frame */
	STREAM_ENDS_AT = 26, /* addresses and ports */
	STREAM_L4_CHECKSUM_AT = 40,
	STREAM_PAYLOAD_AT = 42,
};

/** Both ends, as they stand in a frame. */
struct stream_ends {
	be32_t source;
	be32_t destination;
	be16_t source_port;
	be16_t destination_port;
} SL_PACKED;

struct stream_payload {
	uint64_t tsc; /* when the frame was written */
	uint32_t sequence;
	uint32_t tag; /* number of the record */
} SL_PACKED;

struct stream {
	struct traffic traffic;
	bool is_swapped; /* comes back with its ends exchanged; false: balanced */
	uint32_t n;      /* records, and so the tags below it */
	struct port_record4 *record;
	struct stream_ends *expected; /* of what comes back, by tag */
};

/**
 * A stream of @n_flows flows over @n_backends backends of one service. Until stream_lay() was called,
 * records are the flows' first packets, of their clients, in order. @mac: the link address of the
 * port that is to receive them. 0 or -ENOMEM; stream_close() in either case.
 */
int stream_open(struct stream *stream, uint32_t n_flows, uint32_t n_backends, bool is_swapped,
		const uint8_t mac[static 6]) SL_MUST_USE;
void stream_close(struct stream *stream);

/** The records are now the backends' answers; their ways are known (see traffic.h). */
void stream_answer(struct stream *stream);

/** The records are now those of a run: the clients', and with @is_mixed the backends' between them. */
void stream_lay(struct stream *stream, bool is_mixed);

/** Whether the flow @flow has a backend, which a balancer chose and stream_judge() saw. */
bool stream_is_known(const struct stream *stream, uint32_t flow);

/** NULL: @frame is, byte for byte, what became of one of ours; else what is wrong with it. */
const char *stream_judge(struct stream *stream, const uint8_t *frame);

/** Writes frame @tag: PORT_FRAME_BYTES, all of them. */
SL_INLINE void stream_write(const struct stream *stream, uint32_t tag, uint32_t sequence,
			    uint64_t tsc, uint8_t *frame)
{
	const struct port_record4 *record = &stream->record[tag];
	const struct stream_payload payload = {.tsc = tsc, .sequence = sequence, .tag = tag};
	uint64_t sum = (uint64_t)sequence + tag + (tsc & 0xffffffff) + (tsc >> 32);
	be16_t checksum = sl_checksum_update(record->l4_checksum, sum);

	rte_mov64(frame, stream->traffic.template);
	memcpy(frame + STREAM_IP_AT, record, offsetof(struct port_record4, l4_checksum));
	sl_store16(frame + STREAM_L4_CHECKSUM_AT, checksum != 0 ? checksum : 0xffff);
	memcpy(frame + STREAM_PAYLOAD_AT, &payload, sizeof(payload));
}

SL_INLINE struct stream_payload stream_payload(const uint8_t *frame)
{
	struct stream_payload payload;

	memcpy(&payload, frame + STREAM_PAYLOAD_AT, sizeof(payload));
	return payload;
}

/** Whether the frame that carries @tag, below stream->n, has the addresses and ports it should. */
SL_INLINE bool stream_is_expected(const struct stream *stream, uint32_t tag, const uint8_t *frame)
{
	return memcmp(&stream->expected[tag], frame + STREAM_ENDS_AT, sizeof(struct stream_ends)) ==
	       0;
}
