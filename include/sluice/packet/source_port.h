/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * In which order the source ports of a range are tried for a new flow, where no receive queue must
 * be met: from a random place, by a random step, around the range. No list of free ports exists;
 * whether a port is free the flow table knows.
 *
 * Kin of RFC 6056 algorithms 3 and 5. The step is random, too, because walks that all step by one
 * pile up before runs of ports in use.
 */
#pragma once

#include <sluice/base.h>

enum {
	SL_SOURCE_PORT_TRIES = 16, /* ports tried for one flow before it is refused */
};

struct sl_port_walk {
	uint32_t n_ports;
	uint32_t at;   /* 0..n_ports - 1: the port that comes next, from first on */
	uint32_t step; /* 1..n_ports / 16, or 1 */
	uint16_t first;
	uint16_t reserved;
};

/**
 * Begins a walk over the ports @first..@last (host order, both included, @first <= @last).
 * @random: all 32 bits unpredictable to others (RFC 6056).
 */
SL_INLINE void sl_port_walk_begin(struct sl_port_walk *walk, uint16_t first, uint16_t last,
				  uint32_t random)
{
	uint32_t n_ports = (uint32_t)(last - first) + 1;

	walk->n_ports = n_ports;
	walk->at = (uint32_t)(((uint64_t)random * n_ports) >> 32);
	/* SL_SOURCE_PORT_TRIES steps of at most 1/16 of the range do not come around to its start. */
	walk->step = 1 + (((random & 0xffff) * (n_ports / SL_SOURCE_PORT_TRIES)) >> 16);
	walk->first = first;
	walk->reserved = 0;
}

/**
 * The next port to try, in network order. The first min(SL_SOURCE_PORT_TRIES, n_ports) calls give
 * distinct ports; after them ports may come again.
 */
SL_INLINE be16_t sl_port_walk_next(struct sl_port_walk *walk)
{
	uint16_t port = (uint16_t)(walk->first + walk->at);

	walk->at += walk->step;
	if (walk->at >= walk->n_ports)
		walk->at -= walk->n_ports;
	return sl_to_be16(port);
}
