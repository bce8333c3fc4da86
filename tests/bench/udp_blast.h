/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0 */
/* Copyright (c) 2026 The Sluice authors */
/*
 * What udp_blast.c and udp_blast.bpf.c share.
 */
#pragma once

#include <sluice/base.h>

enum {
	UDP_BLAST_FRAME = 60,   /* bytes, without the frame check sequence */
	UDP_BLAST_BEHIND = 256, /* frames that a sender which was held up makes up for */
	UDP_BLAST_HOSTS = 256,
};

struct udp_blast_sender {
	uint16_t frame[UDP_BLAST_FRAME / 2]; /* with source port 0 and no UDP checksum */
	uint32_t ifindex;
	uint32_t checksum; /* the sum of all that UDP's covers, in network order, not folded */
	uint32_t first_port;
	uint32_t n_flows;
	uint32_t flow;
	uint64_t rate; /* packets/s; 0: as many as can be */
	uint64_t start_ns;
	uint64_t n_sent;
};

struct udp_blast_sink {
	be16_t port;        /* what is counted and dropped; 0: nothing */
	uint32_t device[2]; /* all else goes from one to the other; 0: to the kernel */
	uint64_t n_received[UDP_BLAST_HOSTS]; /* by the last byte of the destination */
};
