/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* The generator's port and its loop: see bench_generator.h. */
#include "tests/bench/bench_generator.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <rte_bus_vdev.h>
#include <rte_cycles.h>
#include <rte_dev.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>

#include "tests/bench/bench_report.h"
#include "tests/bench/bench_signal.h"

enum {
	BURST = 32,
	PACED_BURST = 8,  /* frames are sent when so many are due */
	MAX_LATE_US = 20, /* of frames that are due; what is later is left out */
	RING_SIZE = 256,  /* of the link */
	N_BUFFERS = 2048 - 1,
	BUFFER_CACHE = 256,
	MEMORY_MB = 64,
	JUDGE_EVERY = 64, /* one frame in so many is judged byte for byte */
	QUIET_US = 50000, /* without a frame: no more come */
	MAX_DRAIN_US = 500000,
	LEARN_TRIES = 20,
	LEARN_US = 100000, /* that a frame has to come back */
	CHECK_US = 50000,  /* between two looks for signals */
};

static const char port_name[] = "net_virtio_user0";
static const char own_mac[] = "02:00:00:00:00:02";
/* Of all that virtio-user has, testpmd is fastest at the other end of this. */
static const char fastest[] = "packed_vq=1,in_order=1,mrg_rxbuf=0,vectorized=1";

int generator_open(struct generator *generator, int cpu, const char *folder)
{
	char lcores[32], megabytes[16];
	char *argument[] = {"sluice-bench", "--no-pci", "--no-telemetry", "--in-memory",
			    /* vhost-user takes eight files at most. */
			    "--single-file-segments", "--log-level=lib.*:error",
			    "--log-level=pmd.*:error", "--file-prefix", "generator", "--lcores",
			    lcores, "-m", megabytes, NULL};

	*generator = (struct generator){0};
	snprintf(lcores, sizeof(lcores), "0@%d", cpu);
	snprintf(megabytes, sizeof(megabytes), "%d", MEMORY_MB);
	setenv("RUNTIME_DIRECTORY", folder, 1);
	if (rte_eal_init((int)SL_ARRAY_LEN(argument) - 1, argument) < 0) {
		report_error("DPDK: %s (core %d, %d MB of hugepages)", rte_strerror(rte_errno), cpu,
			     MEMORY_MB);
		return -EIO;
	}
	generator->tsc_hz = rte_get_tsc_hz();
	generator->pool = rte_pktmbuf_pool_create("frames", N_BUFFERS, BUFFER_CACHE, 0,
						  RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	if (generator->pool != NULL)
		return 0;
	report_error("frame buffers: %s", rte_strerror(rte_errno));
	return -ENOMEM;
}

void generator_close(struct generator *generator)
{
	generator_disconnect(generator);
	rte_mempool_free(generator->pool);
	generator->pool = NULL;
	rte_eal_cleanup();
}

int generator_connect(struct generator *generator, const char *path)
{
	struct rte_eth_conf config = {0};
	char arguments[256];
	int status;

	snprintf(arguments, sizeof(arguments), "path=%s,queues=1,queue_size=%d,mac=%s,%s", path,
		 RING_SIZE, own_mac, fastest);
	status = rte_eal_hotplug_add("vdev", port_name, arguments);
	if (status == 0)
		status = rte_eth_dev_get_port_by_name(port_name, &generator->port);
	generator->has_port = status == 0;
	if (status == 0)
		status = rte_eth_dev_configure(generator->port, 1, 1, &config);
	if (status == 0)
		status = rte_eth_rx_queue_setup(generator->port, 0, RING_SIZE, 0, NULL,
						generator->pool);
	if (status == 0)
		status = rte_eth_tx_queue_setup(generator->port, 0, RING_SIZE, 0, NULL);
	if (status == 0)
		status = rte_eth_dev_start(generator->port);
	if (status != 0)
		report_error("virtio-user port at %s: %s", path, rte_strerror(-status));
	return status;
}

void generator_disconnect(struct generator *generator)
{
	if (!generator->has_port)
		return;
	generator->has_port = false;
	rte_eth_dev_stop(generator->port);
	rte_eth_dev_close(generator->port);
	rte_eal_hotplug_remove("vdev", port_name);
}

void generator_set_stream(struct generator *generator, struct stream *stream)
{
	generator->stream = stream;
	generator->next = 0;
	generator->wrong = NULL;
}

/* ---- what comes back ---- */

/* The peer's kernel may have something to say, too. */
static bool is_alien(const struct stream *stream, const struct rte_mbuf *packet)
{
	const uint8_t *frame = rte_pktmbuf_mtod(packet, const uint8_t *);
	bool is_ipv4 = stream->traffic.family == SL_FAMILY_IPV4;
	const uint8_t *template_ip = is_ipv4 ? (const uint8_t[]){0x08, 0x00, 0x45, 0x00}
					     : (const uint8_t[]){0x86, 0xdd, 0x60, 0x00};

	return packet->pkt_len != stream_frame_bytes(stream) || packet->nb_segs != 1 ||
	       memcmp(frame + 12, template_ip, 4) != 0 ||
	       frame[is_ipv4 ? 23 : 20] != SL_PROTOCOL_UDP;
}

static void note_wrong(struct generator *generator, struct trial_result *result, const char *what)
{
	result->n_wrong++;
	if (generator->wrong == NULL)
		generator->wrong = what;
}

/* Frames of this trial have the sequence numbers from @first on; older ones are of one before. */
static bool judge(struct generator *generator, const struct rte_mbuf *packet, uint32_t first,
		  struct trial_result *result)
{
	const uint8_t *frame = rte_pktmbuf_mtod(packet, const uint8_t *);
	struct stream_payload payload = stream_payload(generator->stream, frame);

	if (SL_UNLIKELY(is_alien(generator->stream, packet) ||
			(int32_t)(payload.sequence - first) < 0))
		return false;
	result->n_received++;
	if (SL_UNLIKELY(payload.tag >= generator->stream->n))
		note_wrong(generator, result, "a payload that nobody sent");
	else if (SL_UNLIKELY(!stream_has_ends(generator->stream, payload.tag, frame)))
		note_wrong(generator, result, "another backend, or other addresses or ports");
	else if (SL_UNLIKELY(payload.sequence % JUDGE_EVERY == 0)) {
		const char *wrong = stream_judge(generator->stream, frame);

		result->n_judged++;
		if (wrong != NULL)
			note_wrong(generator, result, wrong);
	}
	result->n_overtaken += (int32_t)(payload.sequence - generator->last) < 0;
	generator->last = payload.sequence;
	return true;
}

static uint16_t receive(struct generator *generator, uint32_t first, struct histogram *latency,
			struct trial_result *result)
{
	struct rte_mbuf *packet[BURST];
	uint16_t n = rte_eth_rx_burst(generator->port, 0, packet, BURST);
	uint64_t now;

	if (n == 0)
		return 0;
	now = rte_rdtsc();
	for (uint16_t i = 0; i < n; i++)
		rte_prefetch0(rte_pktmbuf_mtod(packet[i], void *));
	for (uint16_t i = 0; i < n; i++)
		if (judge(generator, packet[i], first, result) && latency != NULL)
			histogram_add(latency,
				      now - stream_payload(generator->stream,
							   rte_pktmbuf_mtod(packet[i], uint8_t *))
						      .tsc);
	rte_pktmbuf_free_bulk(packet, n);
	return n;
}

/* ---- what is sent ---- */

/* Writes @n frames. False: no buffers. */
static bool write_frames(struct generator *generator, struct rte_mbuf **packet, uint16_t n)
{
	uint16_t frame_bytes = stream_frame_bytes(generator->stream);
	uint64_t now = rte_rdtsc();

	if (rte_pktmbuf_alloc_bulk(generator->pool, packet, n) != 0)
		return false;
	for (uint16_t i = 0; i < n; i++) {
		stream_write(generator->stream, generator->next, generator->sequence++, now,
			     rte_pktmbuf_mtod(packet[i], uint8_t *));
		packet[i]->data_len = frame_bytes;
		packet[i]->pkt_len = frame_bytes;
		if (++generator->next == generator->stream->n)
			generator->next = 0;
	}
	return true;
}

/** Frames that were written and that the ring has not taken yet. */
struct backlog {
	struct rte_mbuf *packet[BURST];
	uint16_t first;
	uint16_t end;
};

static void send_backlog(struct generator *generator, struct backlog *backlog)
{
	backlog->first =
		(uint16_t)(backlog->first +
			   rte_eth_tx_burst(generator->port, 0, backlog->packet + backlog->first,
					    (uint16_t)(backlog->end - backlog->first)));
}

/* As many as the link takes. */
static void send_flood(struct generator *generator, struct backlog *backlog,
		       struct trial_result *result)
{
	if (backlog->first == backlog->end) {
		backlog->first = 0;
		backlog->end = write_frames(generator, backlog->packet, BURST) ? BURST : 0;
		result->n_offered += backlog->end;
	}
	if (backlog->first != backlog->end)
		send_backlog(generator, backlog);
	result->n_refused += backlog->first != backlog->end;
}

/* What a full ring refuses is lost: a sender in the world does not wait. */
static void send_paced(struct generator *generator, uint16_t n, struct trial_result *result)
{
	struct backlog backlog = {.end = n};

	result->n_offered += n;
	if (!write_frames(generator, backlog.packet, n)) {
		result->n_refused += n;
		return;
	}
	send_backlog(generator, &backlog);
	if (SL_LIKELY(backlog.first == n))
		return;
	result->n_refused += (uint64_t)(n - backlog.first);
	rte_pktmbuf_free_bulk(backlog.packet + backlog.first, n - backlog.first);
}

/* ---- a trial ---- */

/** Frames become due with time. */
struct pace {
	uint64_t start;
	uint64_t n_done; /* offered, or left out */
	double per_tsc;
	uint64_t max_late; /* frames */
};

/* How many are to be sent now. */
static uint16_t pace_due(struct pace *pace, uint64_t now, struct trial_result *result)
{
	uint64_t due = (uint64_t)((double)(now - pace->start) * pace->per_tsc);
	uint64_t n = due - pace->n_done;

	if (due < pace->n_done + PACED_BURST)
		return 0;
	if (SL_UNLIKELY(n > pace->max_late)) {
		result->n_late += n - pace->max_late;
		pace->n_done += n - pace->max_late;
		n = pace->max_late;
	}
	n = n < BURST ? n : BURST;
	pace->n_done += n;
	return (uint16_t)n;
}

/* Waits for what is under way: until all came back, or nothing comes any more. */
static void drain(struct generator *generator, uint32_t first, uint64_t n_sent,
		  struct histogram *latency, struct trial_result *result)
{
	uint64_t us = generator->tsc_hz / 1000000;
	uint64_t start = rte_rdtsc();
	uint64_t last = start;

	for (uint64_t now = start; now - start < MAX_DRAIN_US * us && now - last < QUIET_US * us;
	     now = rte_rdtsc()) {
		if (result->n_received >= n_sent)
			return;
		if (receive(generator, first, latency, result) != 0)
			last = now;
	}
}

static double cpu_seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* The loop. Its turns are all alike, but for the look at signals. */
static int run_loop(struct generator *generator, const struct trial *trial, uint32_t first,
		    struct backlog *backlog, struct trial_result *result)
{
	uint64_t us = generator->tsc_hz / 1000000;
	uint64_t start = rte_rdtsc();
	uint64_t end = start + (uint64_t)(trial->seconds * (double)generator->tsc_hz);
	uint64_t next_check = start + CHECK_US * us;
	uint64_t largest_gap = 0;
	uint64_t last = start;
	struct pace pace = {.start = start, .per_tsc = trial->pps / (double)generator->tsc_hz};

	pace.max_late = (uint64_t)(trial->pps * MAX_LATE_US / 1e6) + 2 * PACED_BURST;
	for (uint64_t now = start; now < end; now = rte_rdtsc()) {
		uint16_t n = trial->pps != 0 ? pace_due(&pace, now, result) : 0;

		largest_gap = now - last > largest_gap ? now - last : largest_gap;
		last = now;
		result->n_turns++;
		if (trial->pps == 0)
			send_flood(generator, backlog, result);
		else if (n != 0)
			send_paced(generator, n, result);
		receive(generator, first, trial->latency, result);
		if (SL_UNLIKELY(now > next_check)) {
			next_check = now + CHECK_US * us;
			if (signal_has_come())
				return -EINTR;
		}
	}
	result->n_in_time = result->n_received;
	result->seconds = (double)(last - start) / (double)generator->tsc_hz;
	result->largest_gap_us = (double)largest_gap / (double)us;
	return 0;
}

int generator_try(struct generator *generator, const struct trial *trial,
		  struct trial_result *result)
{
	struct backlog backlog = {0};
	uint32_t first = generator->sequence;
	double cpu_before = cpu_seconds();
	int status;

	*result = (struct trial_result){0};
	generator->last = first;
	status = run_loop(generator, trial, first, &backlog, result);
	result->cpu_seconds = cpu_seconds() - cpu_before;
	/* What was written and not taken was not offered. */
	if (backlog.first != backlog.end) {
		result->n_offered -= (uint64_t)(backlog.end - backlog.first);
		rte_pktmbuf_free_bulk(backlog.packet + backlog.first, backlog.end - backlog.first);
	}
	drain(generator, first, result->n_offered - (trial->pps != 0 ? result->n_refused : 0),
	      trial->latency, result);
	return status;
}

/* ---- before the first trial ---- */

/* Sends frame @tag and waits for it. NULL: it came back and is right; "": it did not; else why not. */
static const char *learn_one(struct generator *generator, struct stream *stream, uint32_t tag)
{
	uint64_t end = rte_rdtsc() + generator->tsc_hz / 1000000 * LEARN_US;
	uint32_t sequence = generator->sequence;
	struct rte_mbuf *packet;
	const char *wrong = "";

	generator->next = tag;
	if (!write_frames(generator, &packet, 1))
		return "no buffers";
	if (rte_eth_tx_burst(generator->port, 0, &packet, 1) == 0) {
		rte_pktmbuf_free(packet);
		return "";
	}
	while (rte_rdtsc() < end && wrong != NULL && *wrong == '\0') {
		if (rte_eth_rx_burst(generator->port, 0, &packet, 1) == 0)
			continue;
		if (!is_alien(stream, packet)) {
			const uint8_t *frame = rte_pktmbuf_mtod(packet, const uint8_t *);

			if (stream_payload(stream, frame).sequence == sequence)
				wrong = stream_judge(stream, frame);
		}
		rte_pktmbuf_free(packet);
	}
	return wrong;
}

int generator_learn(struct generator *generator, struct stream *stream, bool has_answers)
{
	generator_set_stream(generator, stream);
	for (uint32_t tag = 0; tag < stream->n; tag++) {
		const char *wrong = "";

		for (int i = 0; i < LEARN_TRIES && wrong != NULL && *wrong == '\0'; i++) {
			if (signal_has_come())
				return -EINTR;
			report_progress("%s, %u of %u",
					has_answers ? "answering flows" : "making flows", tag,
					stream->n);
			wrong = learn_one(generator, stream, tag);
		}
		if (wrong == NULL)
			continue;
		report_error("flow %u: %s", tag, *wrong == '\0' ? "no frame comes back" : wrong);
		return *wrong == '\0' ? -ETIMEDOUT : -EPROTO;
	}
	return 0;
}
