/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_cycles.h>

#include "dataplane/dpdk/fragment.h"
#include "tests/conformance/dpdk_executor.h"
#include "tests/unit/random.h"

#ifdef __SANITIZE_ADDRESS__
#define SLOWNESS 20
#else
#define SLOWNESS 1
#endif

enum {
	MAX_SEGMENTS = 6,
	MAX_SPLIT = 120, /* the first segment's bytes at most: beyond all headers */
	TOO_MANY = 300,  /* frames more than a port's ring takes */
	N_STORM = 2000000 / SLOWNESS,
};

/* However a frame is cut into segments, what becomes of it is the same. */
static void check_chain(const struct vector *vector, unsigned int n_segments, size_t first)
{
	static struct executor_result result;
	struct rte_mbuf *packet = make_chain(vector->in, vector->in_length, n_segments, first);
	bool is_punt = sl_verdict_is_punt((enum sl_verdict)vector->verdict);
	const uint8_t *wanted = is_punt ? vector->in : vector->out;
	size_t length = is_punt ? vector->in_length : vector->out_length;
	int status;

	result.verdict = SL_VERDICT_NONE;
	result.out_length = 0;
	status = packet != NULL ? send_packet(CONFORMANCE_PORT_CLIENT, packet, &result) : -ENOBUFS;
	if (status != 0 || (int)result.verdict != vector->verdict || result.out_length != length ||
	    memcmp(result.out, wanted, length) != 0)
		conformance_failed(vector->name,
				   "in %u segments, the first of %zu bytes: status %d, verdict %d, "
				   "%zu bytes",
				   n_segments, first, status, (int)result.verdict,
				   result.out_length);
}

static void check_chains(void)
{
	static const char *const names[] = {
		"v4-tcp-forward-511", "v4-udp-forward-1400", "v6-tcp-forward-511-vlan",
		"options-full",       "hop-by-hop",          "icmp",
		"total-beyond",
	};
	size_t n = 0;
	struct vector *vectors = vectors_read(SLUICE_SOURCE_DIR "/tests/vectors/packets.txt", &n);
	unsigned int n_checked = 0;

	if (executor_reset_flows() != 0)
		conformance_failed("chains", "flows cannot be forgotten");
	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < SL_ARRAY_LEN(names); j++)
			for (unsigned int k = 2;
			     k <= MAX_SEGMENTS && strcmp(vectors[i].name, names[j]) == 0; k++)
				for (size_t first = 0; first <= MAX_SPLIT; first++, n_checked++)
					check_chain(&vectors[i], k, first);
	if (n_checked != SL_ARRAY_LEN(names) * (MAX_SEGMENTS - 1) * (MAX_SPLIT + 1))
		conformance_failed("chains", "%u were checked: a row is missing", n_checked);
	free(vectors);
}

/* All buffers are back: none leaked by a drop, a punt or a chain. */
static void check_buffers(void)
{
	uint64_t start_tsc = rte_rdtsc();
	unsigned int n_used;

	do {
		for (int i = 0; i < CONFORMANCE_N_PORTS; i++)
			device_drain(&devices[i], NULL);
		n_used = rte_mempool_in_use_count(dataplane->pool);
	} while (n_used != 0 && !is_over(start_tsc));
	if (n_used != 0)
		conformance_failed("buffers", "%u are in use at the end", n_used);
}

static uint64_t n_judged(struct wire_counters_reply *counters)
{
	uint64_t n = 0;

	memset(counters, 0, sizeof(*counters));
	if (executor_counters(counters) != 0)
		conformance_failed("checks", "no counters");
	for (int i = 0; i < SL_N_VERDICTS; i++)
		n += counters->verdict[i];
	return n;
}

/* Gives @packet to the worker, which makes room. */
static void push(struct rte_mbuf *packet, bool is_draining)
{
	uint64_t start_tsc = rte_rdtsc();

	packet->port = dataplane->port[CONFORMANCE_PORT_CLIENT].id;
	while (rte_ring_enqueue(devices[CONFORMANCE_PORT_CLIENT].rx, packet) != 0) {
		for (int i = 0; i < CONFORMANCE_N_PORTS && is_draining; i++)
			device_drain(&devices[i], NULL);
		if (is_over(start_tsc)) {
			conformance_failed("checks", "the worker receives no more");
			rte_pktmbuf_free(packet);
			return;
		}
	}
}

/* Waits until as many packets are judged. */
static void wait_judged(const char *name, uint64_t wanted, struct wire_counters_reply *counters)
{
	uint64_t start_tsc = rte_rdtsc();
	uint64_t n;

	do {
		for (int i = 0; i < CONFORMANCE_N_PORTS; i++)
			if (strcmp(name, "storm") == 0)
				device_drain(&devices[i], NULL);
		n = n_judged(counters);
	} while (n != wanted && !is_over(start_tsc));
	if (n != wanted)
		conformance_failed(name, "%llu packets were judged, expected %llu",
				   (unsigned long long)n, (unsigned long long)wanted);
}

static const struct vector *vector_of(const struct vector *vectors, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(vectors[i].name, name) == 0)
			return &vectors[i];
	return NULL;
}

/* What a port's queue does not take is counted, and its buffers come back. */
static void check_full_port(const struct vector *vector)
{
	struct wire_counters_reply before;
	struct wire_counters_reply after;
	uint64_t n = n_judged(&before);
	uint64_t sent;
	uint64_t dropped;

	for (uint32_t i = 0; i < DEVICE_RING_SIZE + TOO_MANY; i++) {
		struct rte_mbuf *packet =
			make_chain(vector->in, vector->in_length, 1, vector->in_length);

		if (packet != NULL)
			push(packet, false);
		n += packet != NULL;
	}
	wait_judged("full port", n, &after);
	sent = after.verdict[SL_VERDICT_FORWARD] - before.verdict[SL_VERDICT_FORWARD];
	dropped = after.verdict[SL_VERDICT_DROP_TX_FULL] - before.verdict[SL_VERDICT_DROP_TX_FULL];
	if (sent + dropped != DEVICE_RING_SIZE + TOO_MANY || sent >= DEVICE_RING_SIZE ||
	    sent < DEVICE_RING_SIZE / 2)
		conformance_failed("full port", "%llu sent, %llu drop_tx_full",
				   (unsigned long long)sent, (unsigned long long)dropped);
}

static uint32_t below(struct random *random, uint32_t n)
{
	return (uint32_t)((random_next(random) >> 32) * n >> 32);
}

/* The vector's UDP packet becomes a fragment of one of many datagrams. */
static void make_fragment(struct random *random, const struct vector *vector, uint8_t *frame)
{
	uint32_t word = below(random, 4) == 0 ? below(random, 8192) : below(random, 4);
	uint32_t sum = 0;
	uint8_t *ip = frame + 14;

	memcpy(frame, vector->in, vector->in_length);
	word |= below(random, 2) << 13;
	ip[4] = (uint8_t)below(random, 256);
	ip[5] = (uint8_t)below(random, 256);
	ip[6] = (uint8_t)(word >> 8);
	ip[7] = (uint8_t)word;
	ip[15] = (uint8_t)(1 + below(random, 200)); /* of the source */
	ip[10] = 0;
	ip[11] = 0;
	for (int i = 0; i < 20; i += 2)
		sum += (uint32_t)ip[i] << 8 | ip[i + 1];
	sum = (sum & 0xffff) + (sum >> 16);
	sum = ~((sum & 0xffff) + (sum >> 16));
	ip[10] = (uint8_t)(sum >> 8);
	ip[11] = (uint8_t)sum;
}

/* Faults T-07: whatever comes, each packet has one verdict, and what is held has an end. */
static void check_storm(const struct vector *vector)
{
	static uint8_t frame[VECTOR_MAX_FRAME];
	struct random random = random_seeded();
	struct wire_counters_reply counters;
	uint64_t n = n_judged(&counters);

	for (uint32_t i = 0; i < N_STORM; i++) {
		struct rte_mbuf *packet;

		make_fragment(&random, vector, frame);
		packet = make_chain(frame, vector->in_length, 1, vector->in_length);
		if (packet == NULL) { /* all are on their way or held */
			for (int j = 0; j < CONFORMANCE_N_PORTS; j++)
				device_drain(&devices[j], NULL);
			continue;
		}
		push(packet, true);
		n++;
	}
	wait_judged("storm", n, &counters);
	if (fragments_n_held(dataplane->worker[0]->fragments) != 0)
		conformance_failed("storm", "%u fragments are held at the end",
				   fragments_n_held(dataplane->worker[0]->fragments));
	if (counters.event[SL_EVENT_FRAGMENT_HELD] == 0 ||
	    counters.verdict[SL_VERDICT_DROP_FRAGMENT_FULL] == 0 ||
	    counters.verdict[SL_VERDICT_DROP_FRAGMENT_OVERLAP] == 0 ||
	    counters.verdict[SL_VERDICT_DROP_FRAGMENT_NO_FIRST] == 0)
		conformance_failed("storm", "it was none");
}

void dpdk_check_last(void)
{
	size_t n = 0;
	struct vector *vectors = vectors_read(SLUICE_SOURCE_DIR "/tests/vectors/packets.txt", &n);
	const struct vector *vector = vector_of(vectors, n, "v4-udp-forward-0");

	if (vector == NULL) {
		conformance_failed("checks", "there is no row v4-udp-forward-0");
		free(vectors);
		return;
	}
	check_chains();
	check_full_port(vector);
	check_buffers();
	check_storm(vector);
	check_buffers();
	free(vectors);
}
