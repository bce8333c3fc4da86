/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * Blocks of a pcapng file (draft-ietf-opsawg-pcapng), made in memory. Pure. Each function writes one
 * whole block at @at, which has @room bytes, and returns its length; 0: there is no room, and nothing
 * was written. Numbers are in host order, as the section header says; lengths are multiples of 4.
 */
#pragma once

#include <sluice/base.h>

enum {
	PCAPNG_MAX_TEXT = 255, /* bytes of a text, without its end; what is longer is cut */
	/* A packet's block with both options, without its bytes. */
	PCAPNG_PACKET_BYTES = 32 + 4 + PCAPNG_MAX_TEXT + 1 + 8 + 4,
};

/** Whether a packet came in or went out, as epb_flags has it. */
enum pcapng_direction {
	PCAPNG_INBOUND = 1,
	PCAPNG_OUTBOUND = 2,
};

struct pcapng_packet {
	uint32_t interface; /* number of the interface block, from 0 */
	uint64_t time_ns;   /* since 1970 */
	uint32_t length;    /* of the frame, bytes */
	uint32_t n_bytes;   /* of it at bytes */
	const uint8_t *bytes;
	enum pcapng_direction direction;
	const char *comment;
};

/** What one interface's statistics say. */
struct pcapng_statistics {
	uint32_t interface;
	uint64_t begin_ns; /* since 1970, and so the next */
	uint64_t end_ns;
	uint64_t n_received; /* packets that the filter took */
	uint64_t n_dropped;  /* of them, those that did not come into the file */
};

/** The section's header: once, first. @program: who wrote it. */
size_t pcapng_section(uint8_t *at, size_t room, const char *program);

/** An Ethernet interface whose times are in nanoseconds. @snaplen: bytes of a packet, at most. */
size_t pcapng_interface(uint8_t *at, size_t room, const char *name, uint32_t snaplen);

size_t pcapng_packet(uint8_t *at, size_t room, const struct pcapng_packet *packet);

size_t pcapng_statistics(uint8_t *at, size_t room, const struct pcapng_statistics *statistics);
