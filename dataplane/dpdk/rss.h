/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * Whether a network card gave a packet to the worker that its key and redirection table say. Pure:
 * worker.c asks for the first packets of each port, rss.c says what comes of it.
 */
#pragma once

#include <sluice/packet/parse.h>

#include "dataplane/steering.h"

/** What one packet says of the card. */
enum rss_judgement {
	RSS_NOT_JUDGED = 0, /* cards differ in what they hash of such a packet */
	RSS_RIGHT,
	RSS_WRONG_HASH,   /* the hash that the card reports is not ours */
	RSS_WRONG_WORKER, /* the card reports no other hash, but the packet came elsewhere */
};

/**
 * Whether every card with RSS hashes addresses and ports of the packet, if told to: an IPv4 header
 * without options, or an IPv6 header without extensions, and no VLAN tag. sl_parse() let it pass, so
 * it is no fragment, and TCP or UDP.
 */
SL_INLINE bool rss_is_plain(const struct sl_packet *packet)
{
	if (packet->has_vlan)
		return false;
	if (packet->tuple.family == SL_FAMILY_IPV4)
		return (packet->ipv4->version_ihl & 15) * 4 == sizeof(*packet->ipv4);
	return packet->ipv6->next_header == packet->tuple.protocol;
}

/**
 * Judges @packet, which arrived at @worker; the card's key and table are @steering's. @hash: as the
 * card reports it, if it @has_hash. *@ours: the hash in software, written unless RSS_NOT_JUDGED.
 */
SL_INLINE enum rss_judgement rss_judge(const struct steering *steering,
				       const struct sl_packet *packet, uint32_t worker,
				       bool has_hash, uint32_t hash, uint32_t *ours)
{
	if (!rss_is_plain(packet))
		return RSS_NOT_JUDGED;
	*ours = sl_toeplitz_hash(&steering->toeplitz, &packet->tuple);
	if (has_hash && hash != *ours)
		return RSS_WRONG_HASH;
	return steering_worker(steering, *ours) == worker ? RSS_RIGHT : RSS_WRONG_WORKER;
}

/** Whether both give every hash of every tuple to the same worker. */
SL_INLINE bool rss_is_alike(const struct steering *a, const struct steering *b)
{
	uint32_t mask = a->reta_mask | b->reta_mask;

	if (__builtin_memcmp(&a->toeplitz, &b->toeplitz, sizeof(a->toeplitz)) != 0)
		return false;
	for (uint32_t hash = 0; hash <= mask; hash++)
		if (steering_worker(a, hash) != steering_worker(b, hash))
			return false;
	return true;
}
