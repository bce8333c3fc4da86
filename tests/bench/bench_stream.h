/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * What goes over a wire and comes back: UDP frames of a service's flows, as small as their payload lets
 * them be, one of each flow in turn. The payload says which, in which order and when they were sent. Of
 * each frame that comes back the addresses and ports are known beforehand, be it that they were balanced
 * or swapped; so a wrong backend or source is seen in each, and all other bytes are judged in some.
 */
#pragma once

#include <string.h>

#include <rte_memcpy.h>

#include <sluice/packet/checksum.h>

#include "tests/bench/bench_traffic.h"

enum {
	STREAM_FRAME4_BYTES = PORT_FRAME_BYTES,
	STREAM_RECORD4_AT = 24, /* in the frame */
	STREAM_ENDS4_AT = 26,   /* addresses and ports */
	STREAM_ENDS4_BYTES = 12,
	STREAM_CHECKSUM4_AT = 40,
	STREAM_PAYLOAD4_AT = 42,
	STREAM_FRAME6_BYTES = 78,
	STREAM_RECORD6_AT = 22,
	STREAM_ENDS6_AT = 22,
	STREAM_ENDS6_BYTES = 36,
	STREAM_CHECKSUM6_AT = 60,
	STREAM_PAYLOAD6_AT = 62,
};

struct stream_payload {
	uint64_t tsc; /* when the frame was written */
	uint32_t sequence;
	uint32_t tag; /* number of the record */
} SL_PACKED;

_Static_assert(STREAM_PAYLOAD6_AT + sizeof(struct stream_payload) == STREAM_FRAME6_BYTES &&
		       STREAM_PAYLOAD6_AT < STREAM_FRAME4_BYTES,
	       "the payload covers what is not copied of the template");

struct stream_options {
	uint8_t family;
	bool is_fullnat;
	bool is_swapped; /* comes back with its ends exchanged; false: balanced */
	uint32_t n_flows;
	uint32_t n_backends; /* of the one service */
};

struct stream {
	struct traffic traffic;
	bool is_swapped;
	bool is_expected; /* it is known what each frame is to become */
	uint32_t n;       /* records, and so the tags below it */
	uint8_t *record;
	uint8_t *expected; /* addresses and ports of what comes back, by tag */
};

/**
 * Until stream_lay() was called, records are the flows' first packets, of their clients, in order.
 * @mac: the link address of the port that is to receive them. 0 or -ENOMEM; stream_close() in either
 * case.
 */
int stream_open(struct stream *stream, const struct stream_options *options,
		const uint8_t mac[static 6]) SL_MUST_USE;
void stream_close(struct stream *stream);

/** The records are now the backends' answers; their ways are known (see traffic.h). */
void stream_answer(struct stream *stream);

/** The records are now those of a run: the clients', and with @is_mixed the backends' between them. */
void stream_lay(struct stream *stream, bool is_mixed);

/** NULL: @frame is, byte for byte, what became of one of ours; else what is wrong with it. */
const char *stream_judge(struct stream *stream, const uint8_t *frame);

/** Of each frame. */
SL_INLINE uint16_t stream_frame_bytes(const struct stream *stream)
{
	return stream->traffic.frame_bytes;
}

/** Writes frame @tag: stream_frame_bytes(), all of them. */
SL_INLINE void stream_write(const struct stream *stream, uint32_t tag, uint32_t sequence,
			    uint64_t tsc, uint8_t *frame)
{
	const struct stream_payload payload = {.tsc = tsc, .sequence = sequence, .tag = tag};
	uint64_t sum = (uint64_t)sequence + tag + (tsc & 0xffffffff) + (tsc >> 32);
	be16_t checksum;

	rte_mov64(frame, stream->traffic.template);
	if (stream->traffic.family == SL_FAMILY_IPV4) {
		const uint8_t *record = stream->record + (size_t)tag * PORT_RECORD4_BYTES;

		memcpy(frame + STREAM_RECORD4_AT, record,
		       offsetof(struct port_record4, l4_checksum));
		checksum =
			sl_checksum_update(((const struct port_record4 *)record)->l4_checksum, sum);
		sl_store16(frame + STREAM_CHECKSUM4_AT, checksum != 0 ? checksum : 0xffff);
		memcpy(frame + STREAM_PAYLOAD4_AT, &payload, sizeof(payload));
	} else {
		const uint8_t *record = stream->record + (size_t)tag * PORT_RECORD6_BYTES;

		memcpy(frame + STREAM_RECORD6_AT, record, offsetof(struct port_record6, checksum));
		checksum = sl_checksum_update(
			sl_load16(record + offsetof(struct port_record6, checksum)), sum);
		sl_store16(frame + STREAM_CHECKSUM6_AT, checksum != 0 ? checksum : 0xffff);
		memcpy(frame + STREAM_PAYLOAD6_AT, &payload, sizeof(payload));
	}
}

SL_INLINE struct stream_payload stream_payload(const struct stream *stream, const uint8_t *frame)
{
	bool is_ipv4 = stream->traffic.family == SL_FAMILY_IPV4;
	struct stream_payload payload;

	memcpy(&payload, frame + (is_ipv4 ? STREAM_PAYLOAD4_AT : STREAM_PAYLOAD6_AT),
	       sizeof(payload));
	return payload;
}

/** Whether the frame that carries @tag, below stream->n, has the addresses and ports it should. */
SL_INLINE bool stream_has_ends(const struct stream *stream, uint32_t tag, const uint8_t *frame)
{
	if (stream->traffic.family == SL_FAMILY_IPV4)
		return memcmp(stream->expected + (size_t)tag * STREAM_ENDS4_BYTES,
			      frame + STREAM_ENDS4_AT, STREAM_ENDS4_BYTES) == 0;
	return memcmp(stream->expected + (size_t)tag * STREAM_ENDS6_BYTES, frame + STREAM_ENDS6_AT,
		      STREAM_ENDS6_BYTES) == 0;
}
