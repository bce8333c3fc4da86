/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* Frames that go over a wire and come back: see bench_stream.h. */
#include "tests/bench/bench_stream.h"

#include <errno.h>
#include <stdlib.h>

enum {
	MAC_BYTES = 6,
	FIRST_SOURCE_PORT = 1024,
	N_SOURCE_PORTS = 64512,
};

static uint8_t *record_at(const struct stream *stream, uint32_t tag)
{
	return stream->record + tag * traffic_record_bytes(&stream->traffic);
}

static size_t ends_bytes(const struct stream *stream)
{
	return stream->traffic.family == SL_FAMILY_IPV4 ? STREAM_ENDS4_BYTES : STREAM_ENDS6_BYTES;
}

/* Where a frame has its addresses and ports; where a record has them. */
static size_t ends_in_frame(const struct stream *stream)
{
	return stream->traffic.family == SL_FAMILY_IPV4 ? STREAM_ENDS4_AT : STREAM_ENDS6_AT;
}

static size_t ends_in_record(const struct stream *stream)
{
	return stream->traffic.family == SL_FAMILY_IPV4 ? STREAM_ENDS4_AT - STREAM_RECORD4_AT
							: STREAM_ENDS6_AT - STREAM_RECORD6_AT;
}

static void exchange(uint8_t *first, size_t n_bytes)
{
	uint8_t copy[16];

	memcpy(copy, first, n_bytes);
	memcpy(first, first + n_bytes, n_bytes);
	memcpy(first + n_bytes, copy, n_bytes);
}

static void exchange_ends(const struct stream *stream, uint8_t *ends)
{
	size_t addr_bytes = stream->traffic.family == SL_FAMILY_IPV4 ? 4 : 16;

	exchange(ends, addr_bytes);
	exchange(ends + 2 * addr_bytes, sizeof(be16_t));
}

/* Nobody balances: backends and sources are made up, for there are answers, too. */
static void make_ways(struct traffic *traffic)
{
	for (uint32_t i = 0; i < traffic->n_ways; i++)
		traffic->way[i] = (struct traffic_way){
			.is_known = 1,
			.backend = (i % traffic->n_backends) & 0x3fffffff,
			.source = i % TRAFFIC_N_SOURCES,
			.source_port =
				sl_to_be16((uint16_t)(FIRST_SOURCE_PORT + i % N_SOURCE_PORTS))};
}

int stream_open(struct stream *stream, const struct stream_options *options,
		const uint8_t mac[static 6])
{
	size_t n_flows = options->n_flows;

	*stream = (struct stream){.is_swapped = options->is_swapped};
	stream->traffic = (struct traffic){.family = options->family,
					   .protocol = SL_PROTOCOL_UDP,
					   .is_fullnat = options->is_fullnat,
					   .frame_bytes = options->family == SL_FAMILY_IPV4
								  ? STREAM_FRAME4_BYTES
								  : STREAM_FRAME6_BYTES,
					   .n_services = 1,
					   .n_backends = options->n_backends,
					   .n_ways = options->n_flows};
	stream->traffic.way = calloc(n_flows, sizeof(*stream->traffic.way));
	stream->record = calloc(2 * n_flows, traffic_record_bytes(&stream->traffic));
	stream->expected = calloc(2 * n_flows, ends_bytes(stream));
	if (stream->traffic.way == NULL || stream->record == NULL || stream->expected == NULL)
		return -ENOMEM;
	traffic_init(&stream->traffic, mac);
	if (stream->is_swapped)
		make_ways(&stream->traffic);
	stream->n = options->n_flows;
	for (uint32_t i = 0; i < stream->n; i++)
		traffic_forward(&stream->traffic, i, record_at(stream, i));
	return 0;
}

void stream_close(struct stream *stream)
{
	free(stream->traffic.way);
	free(stream->record);
	free(stream->expected);
	*stream = (struct stream){0};
}

/*
 * What balancing makes of a client's packet are the ends of the backend's answer, exchanged; and the
 * other way round.
 */
static void lay_one(struct stream *stream, uint32_t tag, uint32_t flow, bool is_reply)
{
	uint8_t *expected = stream->expected + tag * ends_bytes(stream);
	uint8_t forward[PORT_RECORD6_BYTES], reply[PORT_RECORD6_BYTES];

	traffic_forward(&stream->traffic, flow, forward);
	traffic_reply(&stream->traffic, flow, reply);
	memcpy(record_at(stream, tag), is_reply ? reply : forward,
	       traffic_record_bytes(&stream->traffic));
	memcpy(expected,
	       (is_reply != stream->is_swapped ? forward : reply) + ends_in_record(stream),
	       ends_bytes(stream));
	exchange_ends(stream, expected);
}

void stream_answer(struct stream *stream)
{
	for (uint32_t i = 0; i < stream->n; i++)
		lay_one(stream, i, i, true);
	stream->is_expected = true;
}

void stream_lay(struct stream *stream, bool is_mixed)
{
	uint32_t n_flows = stream->traffic.n_ways;

	stream->n = is_mixed ? 2 * n_flows : n_flows;
	stream->is_expected = true;
	for (uint32_t i = 0; i < n_flows; i++) {
		if (!is_mixed) {
			lay_one(stream, i, i, false);
			continue;
		}
		/* No flow has both its packets in one burst, if there are enough flows. */
		lay_one(stream, 2 * i, i, false);
		lay_one(stream, 2 * i + 1, (i + n_flows / 2) % n_flows, true);
	}
}

/* The frame as it was sent, with all ends exchanged. */
static const char *judge_swapped(const struct stream *stream, const struct stream_payload *payload,
				 const uint8_t *frame)
{
	uint8_t sent[TRAFFIC_MAX_FRAME_BYTES];

	stream_write(stream, payload->tag, payload->sequence, payload->tsc, sent);
	exchange(sent, MAC_BYTES);
	exchange_ends(stream, sent + ends_in_frame(stream));
	return memcmp(sent, frame, stream_frame_bytes(stream)) != 0 ? "not its own frame swapped"
								    : NULL;
}

const char *stream_judge(struct stream *stream, const uint8_t *frame)
{
	struct stream_payload payload = stream_payload(stream, frame);

	if (payload.tag >= stream->n)
		return "a payload that nobody sent";
	if (stream->is_expected && !stream_has_ends(stream, payload.tag, frame))
		return "another backend, or other addresses or ports";
	if (stream->is_swapped)
		return judge_swapped(stream, &payload, frame);
	return traffic_judge(&stream->traffic, record_at(stream, payload.tag), frame);
}
