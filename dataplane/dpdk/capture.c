/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
#include "dataplane/dpdk/capture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <rte_cycles.h>

#include <sluice/packet/capture.h>

#include "dataplane/dpdk/capture_ring.h"

enum {
	RING_BYTES = 4 << 20, /* of one worker */
	MAX_RINGS_BYTES = 64 << 20,
};

#define SECOND_NS 1000000000ull

/** One worker's; written by it alone, but for what the ring's reader writes. */
struct part {
	struct capture_ring ring;
	uint64_t n_lost[SL_MAX_PORTS];
	uint32_t n_staged; /* packets of the burst under way */
	const struct rte_mbuf *packet[BURST_SIZE];
	uint8_t *staged; /* copies of them, as slots of the ring */
};

struct capture {
	struct sl_capture_filter filter;
	uint32_t snaplen;
	uint32_t n_parts;
	struct part part[]; /* by worker */
};

/* ---- workers ---- */

static uint8_t *bytes_of(struct sl_capture_record *record)
{
	return (uint8_t *)(record + 1);
}

static struct sl_capture_record *staged_at(const struct part *part, uint32_t i)
{
	return (struct sl_capture_record *)(void *)(part->staged +
						    (size_t)i * part->ring.slot_bytes);
}

/* Addresses, lengths and bytes of @packet as it is now. */
static void copy_frame(const struct capture *capture, const struct rte_mbuf *packet,
		       struct sl_capture_record *record, struct sl_tuple *tuple)
{
	const uint8_t *data = rte_pktmbuf_mtod(packet, const uint8_t *);
	uint32_t n = packet->pkt_len < capture->snaplen ? packet->pkt_len : capture->snaplen;
	uint8_t *bytes = bytes_of(record);
	const void *found = rte_pktmbuf_read(packet, 0, n, bytes);

	if (found != bytes)
		memcpy(bytes, found, n);
	record->length = packet->pkt_len;
	record->n_bytes = (uint16_t)n;
	sl_capture_read(data, data + rte_pktmbuf_data_len(packet), tuple);
}

void capture_stage(struct worker *worker, struct rte_mbuf *const *packet, uint16_t n)
{
	struct dataplane *dataplane = worker->dataplane;
	const struct capture *capture = worker->capture;
	struct part *part = &worker->capture->part[worker->id];

	for (uint16_t i = 0; i < n; i++) {
		struct sl_capture_record *record = staged_at(part, i);

		*record = (struct sl_capture_record){
			.stamp = worker->now_tsc,
			.direction = SL_CAPTURE_IN,
			.port = (uint8_t)dataplane->port_of_id[packet[i]->port],
		};
		copy_frame(capture, packet[i], record, &record->in);
		part->packet[i] = packet[i];
	}
	part->n_staged = n;
}

/* Packets may have left the burst, or changed places. NULL: it came into it otherwise. */
static struct sl_capture_record *find_staged(const struct part *part, const struct rte_mbuf *packet)
{
	for (uint32_t i = 0; i < part->n_staged; i++)
		if (part->packet[i] == packet)
			return staged_at(part, i);
	return NULL;
}

static void lose(struct part *part, uint8_t port)
{
	__atomic_store_n(&part->n_lost[port], part->n_lost[port] + 1, __ATOMIC_RELAXED);
}

/* As it came. */
static void put_in(struct capture *capture, struct part *part,
		   const struct sl_capture_record *record)
{
	void *room;

	if (!sl_capture_is_seen(&capture->filter, record))
		return;
	room = capture_ring_room(&part->ring);
	if (room == NULL) {
		lose(part, record->port);
		return;
	}
	memcpy(room, record, sizeof(*record) + record->n_bytes);
	capture_ring_show(&part->ring);
}

/* As it goes by port @port. @staged: as it came. */
static void put_out(struct capture *capture, struct part *part,
		    const struct sl_capture_record *staged, const struct rte_mbuf *packet,
		    uint32_t port)
{
	struct sl_capture_record out = *staged;
	struct sl_capture_record *room;

	out.direction = SL_CAPTURE_OUT;
	out.port = (uint8_t)port;
	if (!sl_capture_is_seen(&capture->filter, &out))
		return;
	room = capture_ring_room(&part->ring);
	if (room == NULL) {
		lose(part, out.port);
		return;
	}
	*room = out;
	copy_frame(capture, packet, room, &room->out);
	capture_ring_show(&part->ring);
}

static void read_out(const struct rte_mbuf *packet, struct sl_capture_record *record)
{
	const uint8_t *data = rte_pktmbuf_mtod(packet, const uint8_t *);

	sl_capture_read(data, data + rte_pktmbuf_data_len(packet), &record->out);
}

void capture_finish(struct worker *worker, const struct rte_mbuf *packet,
		    const struct outcome *outcome)
{
	struct capture *capture = worker->capture;
	struct part *part = &capture->part[worker->id];
	struct sl_capture_record *record = find_staged(part, packet);
	bool is_sent = outcome->verdict <= SL_VERDICT_REPLY;

	if (record == NULL)
		return;
	record->verdict = (uint8_t)outcome->verdict;
	if (is_sent)
		read_out(packet, record);
	if (!sl_capture_matches(&capture->filter, record))
		return;
	put_in(capture, part, record);
	if (is_sent)
		put_out(capture, part, record, packet, outcome->port);
}

void capture_answer(struct worker *worker, const struct rte_mbuf *packet)
{
	struct capture *capture = worker->capture;
	struct part *part = &capture->part[worker->id];
	struct sl_capture_record *record = find_staged(part, packet);

	if (record == NULL)
		return;
	read_out(packet, record);
	if (sl_capture_matches(&capture->filter, record))
		put_out(capture, part, record, packet, record->port);
}

/* ---- the control thread ---- */

void capture_free(struct capture *capture)
{
	if (capture == NULL)
		return;
	for (uint32_t i = 0; i < capture->n_parts; i++) {
		free(capture->part[i].ring.slot);
		free(capture->part[i].staged);
	}
	free(capture);
}

/* As many slots as there is room for, a power of two, and all of it touched: workers meet no fault. */
static int part_open(struct part *part, uint32_t snaplen, uint32_t ring_bytes)
{
	uint32_t slot_bytes = (uint32_t)sizeof(struct sl_capture_record) + (snaplen + 7) / 8 * 8;
	uint32_t n_slots = 1;

	while (n_slots * 2 <= ring_bytes / slot_bytes)
		n_slots *= 2;
	part->ring.slot = malloc((size_t)n_slots * slot_bytes);
	part->staged = malloc((size_t)BURST_SIZE * slot_bytes);
	if (part->ring.slot == NULL || part->staged == NULL)
		return -ENOMEM;
	memset(part->ring.slot, 0, (size_t)n_slots * slot_bytes);
	memset(part->staged, 0, (size_t)BURST_SIZE * slot_bytes);
	part->ring.n_slots = n_slots;
	part->ring.slot_bytes = slot_bytes;
	return 0;
}

int dataplane_capture_begin(struct dataplane *dataplane, const struct sl_capture_filter *filter,
			    uint32_t snaplen, char *error)
{
	/* Also for workers that begin meanwhile. */
	uint32_t n_parts = dataplane->max_workers;
	uint32_t ring_bytes =
		n_parts <= MAX_RINGS_BYTES / RING_BYTES ? RING_BYTES : MAX_RINGS_BYTES / n_parts;
	size_t size = sizeof(struct capture) + n_parts * sizeof(struct part);
	struct capture *capture = aligned_alloc(SL_CACHE_LINE, size);
	int status = 0;

	if (capture != NULL) {
		memset(capture, 0, size);
		capture->filter = *filter;
		capture->snaplen = snaplen;
		capture->n_parts = n_parts;
		for (uint32_t i = 0; i < n_parts && status == 0; i++)
			status = part_open(&capture->part[i], snaplen, ring_bytes);
	}
	if (capture == NULL || status != 0) {
		capture_free(capture);
		snprintf(error, SL_MAX_ERROR, "no memory for %u rings of %u bytes", n_parts,
			 ring_bytes);
		return -ENOMEM;
	}
	dataplane->capture = capture;
	/* Release: all of it is there before a worker can find it. */
	__atomic_store_n(&dataplane->capturing, capture, __ATOMIC_RELEASE);
	return 0;
}

/* The part whose oldest copy is the oldest of all; NULL: there is none. */
static struct part *oldest_part(struct capture *capture)
{
	const struct sl_capture_record *oldest = NULL;
	struct part *result = NULL;

	for (uint32_t i = 0; i < capture->n_parts; i++) {
		const struct sl_capture_record *record =
			capture_ring_oldest(&capture->part[i].ring);

		if (record == NULL || (oldest != NULL && oldest->stamp <= record->stamp))
			continue;
		oldest = record;
		result = &capture->part[i];
	}
	return result;
}

/* Since 1970, of a TSC now. */
static uint64_t real_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * SECOND_NS + (uint64_t)now.tv_nsec;
}

bool dataplane_capture_take(struct dataplane *dataplane, dataplane_copy_visitor *visit,
			    void *context)
{
	const double ns_per_cycle = 1e9 / (double)rte_get_tsc_hz();
	uint64_t now_tsc = rte_rdtsc();
	uint64_t now_ns = real_ns();
	bool goes_on = true;
	struct part *part;

	while ((part = oldest_part(dataplane->capture)) != NULL && goes_on) {
		const struct sl_capture_record *record = capture_ring_oldest(&part->ring);
		double age_ns = (double)(int64_t)(now_tsc - record->stamp) * ns_per_cycle;
		const struct dataplane_copy copy = {
			.record = record,
			.bytes = (const uint8_t *)(record + 1),
			.time_ns = now_ns - (uint64_t)(int64_t)age_ns,
		};

		goes_on = visit(context, &copy);
		capture_ring_take(&part->ring);
	}
	return part == NULL;
}

uint64_t dataplane_capture_lost(struct dataplane *dataplane, uint32_t port)
{
	const struct capture *capture = dataplane->capture;
	uint64_t n = 0;

	for (uint32_t i = 0; i < capture->n_parts; i++)
		n += __atomic_load_n(&capture->part[i].n_lost[port], __ATOMIC_RELAXED);
	return n;
}

void dataplane_capture_stop(struct dataplane *dataplane)
{
	__atomic_store_n(&dataplane->capturing, NULL, __ATOMIC_RELEASE);
	rte_rcu_qsbr_synchronize(dataplane->qsbr, RTE_QSBR_THRID_INVALID);
}

void dataplane_capture_end(struct dataplane *dataplane)
{
	if (dataplane->capture == NULL)
		return;
	dataplane_capture_stop(dataplane);
	capture_free(dataplane->capture);
	dataplane->capture = NULL;
}
