/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* Frames that go over a wire and come back: see bench_stream.h. */
#include "tests/bench/bench_stream.h"

#include <errno.h>
#include <stdlib.h>

enum {
	MAC_BYTES = 6,
};

int stream_open(struct stream *stream, uint32_t n_flows, uint32_t n_backends, bool is_swapped,
		const uint8_t mac[static 6])
{
	*stream = (struct stream){.is_swapped = is_swapped};
	stream->traffic = (struct traffic){.family = SL_FAMILY_IPV4,
					   .protocol = SL_PROTOCOL_UDP,
					   .n_services = 1,
					   .n_backends = n_backends,
					   .n_ways = n_flows};
	stream->traffic.way = calloc(n_flows, sizeof(*stream->traffic.way));
	stream->record = calloc(2 * (size_t)n_flows, sizeof(*stream->record));
	stream->expected = calloc(2 * (size_t)n_flows, sizeof(*stream->expected));
	if (stream->traffic.way == NULL || stream->record == NULL || stream->expected == NULL)
		return -ENOMEM;
	traffic_init(&stream->traffic, mac);
	/* Nobody balances: backends are made up, for there are answers, too. */
	for (uint32_t i = 0; is_swapped && i < n_flows; i++)
		stream->traffic.way[i] = (struct traffic_way){
			.is_known = 1, .backend = (i % n_backends) & 0x3fffffff};
	stream->n = n_flows;
	for (uint32_t i = 0; i < n_flows; i++)
		traffic_forward(&stream->traffic, i, (uint8_t *)&stream->record[i]);
	return 0;
}

void stream_close(struct stream *stream)
{
	free(stream->traffic.way);
	free(stream->record);
	free(stream->expected);
	*stream = (struct stream){0};
}

void stream_answer(struct stream *stream)
{
	for (uint32_t i = 0; i < stream->n; i++)
		traffic_reply(&stream->traffic, i, (uint8_t *)&stream->record[i]);
}

bool stream_is_known(const struct stream *stream, uint32_t flow)
{
	return stream->traffic.way[flow].is_known;
}

static struct stream_ends ends_of(const struct port_record4 *record)
{
	return (struct stream_ends){.source = record->source,
				    .destination = record->destination,
				    .source_port = record->source_port,
				    .destination_port = record->destination_port};
}

static struct stream_ends swapped(struct stream_ends ends)
{
	return (struct stream_ends){.source = ends.destination,
				    .destination = ends.source,
				    .source_port = ends.destination_port,
				    .destination_port = ends.source_port};
}

/*
 * What balancing makes of a client's packet are the ends of the backend's answer, exchanged; and the
 * other way round.
 */
static void lay_one(struct stream *stream, uint32_t tag, uint32_t flow, bool is_reply)
{
	struct port_record4 forward, reply;

	traffic_forward(&stream->traffic, flow, (uint8_t *)&forward);
	traffic_reply(&stream->traffic, flow, (uint8_t *)&reply);
	stream->record[tag] = is_reply ? reply : forward;
	stream->expected[tag] =
		swapped(ends_of(is_reply != stream->is_swapped ? &forward : &reply));
}

void stream_lay(struct stream *stream, bool is_mixed)
{
	uint32_t n_flows = stream->traffic.n_ways;

	stream->n = is_mixed ? 2 * n_flows : n_flows;
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
	uint8_t sent[PORT_FRAME_BYTES];
	uint8_t mac[MAC_BYTES];
	struct stream_ends ends;

	stream_write(stream, payload->tag, payload->sequence, payload->tsc, sent);
	memcpy(mac, sent, MAC_BYTES);
	memmove(sent, sent + MAC_BYTES, MAC_BYTES);
	memcpy(sent + MAC_BYTES, mac, MAC_BYTES);
	memcpy(&ends, sent + STREAM_ENDS_AT, sizeof(ends));
	ends = swapped(ends);
	memcpy(sent + STREAM_ENDS_AT, &ends, sizeof(ends));
	return memcmp(sent, frame, sizeof(sent)) != 0 ? "not its own frame swapped" : NULL;
}

const char *stream_judge(struct stream *stream, const uint8_t *frame)
{
	struct stream_payload payload = stream_payload(frame);

	if (payload.tag >= stream->n)
		return "a payload that nobody sent";
	if (stream->is_swapped)
		return judge_swapped(stream, &payload, frame);
	return traffic_judge(&stream->traffic, (const uint8_t *)&stream->record[payload.tag],
			     frame);
}
