/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * Preloaded into sluice-dpdk, this has its port net_null give the frames of the file that SLUICE_PLAY names,
 * one after the other and for ever: a load that needs no other core. They are PLAY_FRAME_BYTES each, and
 * get the port's own link address. (net_pcap, which could do that, finds no room in the buffers beside what
 * sluice-dpdk keeps there.)
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_ethdev.h>
#include <rte_ether.h>
#include <rte_mbuf.h>

enum {
	PLAY_FRAME_BYTES = 60,
	PLAY_MAX_FRAMES = 1 << 16,
};

struct play {
	uint8_t (*frame)[PLAY_FRAME_BYTES];
	size_t n_frames;
	size_t next;
};

static struct play play; /* of the one port, with one queue */

static uint16_t fill(uint16_t port, uint16_t queue, struct rte_mbuf **packet, uint16_t n,
		     uint16_t max, void *context)
{
	(void)port;
	(void)queue;
	(void)max;
	(void)context;
	for (uint16_t i = 0; i < n; i++) {
		memcpy(rte_pktmbuf_mtod(packet[i], uint8_t *), play.frame[play.next],
		       PLAY_FRAME_BYTES);
		packet[i]->data_len = PLAY_FRAME_BYTES;
		packet[i]->pkt_len = PLAY_FRAME_BYTES;
		play.next = play.next + 1 < play.n_frames ? play.next + 1 : 0;
	}
	return n;
}

static bool load(const char *path, const struct rte_ether_addr *mac)
{
	FILE *file = path ? fopen(path, "rbe") : NULL;

	play.frame = calloc(PLAY_MAX_FRAMES, PLAY_FRAME_BYTES);
	if (file && play.frame)
		play.n_frames = fread(play.frame, PLAY_FRAME_BYTES, PLAY_MAX_FRAMES, file);
	if (file)
		(void)fclose(file);
	for (size_t i = 0; i < play.n_frames; i++)
		memcpy(play.frame[i], mac->addr_bytes, sizeof(mac->addr_bytes));
	return play.n_frames > 0;
}

/* In place of libdpdk's, which it calls. */
int rte_eth_dev_start(uint16_t port)
{
	int (*start)(uint16_t) = NULL;
	void *symbol = dlsym(RTLD_NEXT, "rte_eth_dev_start");
	struct rte_ether_addr mac;

	memcpy(&start, &symbol, sizeof(start));
	if (!start || rte_eth_macaddr_get(port, &mac) || !load(getenv("SLUICE_PLAY"), &mac) ||
	    !rte_eth_add_first_rx_callback(port, 0, fill, NULL)) {
		fprintf(stderr, "bench-play: no frames in SLUICE_PLAY, or no port to play them\n");
		return -1;
	}
	return start(port);
}
