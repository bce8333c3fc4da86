/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * Which worker owns a frame, computed from the frame alone, so that both directions of a flow have
 * one owner and its tables need no lock: its entry of the redirection table.
 *
 * In mode nat the client's address and port stand in both directions, as source to a service and as
 * destination of everything else: their keyed hash decides. In mode fullnat the Toeplitz hash of the
 * frame's own tuple decides, as a network card would have it: a new flow's owner chooses the source
 * port so that replies hash to itself. In mode snat it is the keyed hash again, of the client's end or of
 * the source that stands for it: the one is chosen so that it has the other's worker.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

#include "dataplane/dpdk/worker.h"
#include "dataplane/lookup.h"

enum {
	SOFTWARE_RETA = 128,
};

int steer_open(struct dataplane *dataplane, char *error)
{
	uint8_t reta[SOFTWARE_RETA];

	dataplane->steering = calloc(1, sizeof(*dataplane->steering));
	if (dataplane->steering == NULL)
		return -ENOMEM;
	if (getrandom(dataplane->steering_key, STEERING_KEY_BYTES, 0) != STEERING_KEY_BYTES)
		return -errno;
	for (uint32_t i = 0; i < SOFTWARE_RETA; i++)
		reta[i] = (uint8_t)(i % dataplane->n_workers);
	return steering_init(dataplane->steering, dataplane->steering_key, STEERING_KEY_BYTES, reta,
			     SOFTWARE_RETA, dataplane->n_workers, error);
}

uint32_t steer_endpoint(const struct steering *steering, const struct sl_hash_key *key,
			const union sl_addr *addr, be16_t port, uint8_t family, uint8_t protocol)
{
	const struct sl_tuple client = {
		.source = *addr, .source_port = port, .family = family, .protocol = protocol};

	return steering_index(steering, (uint32_t)(sl_flow_hash(key, &client) >> 32));
}

/* By the source's end of @tuple, or the destination's. */
static uint32_t steer_end(const struct steering *steering, const struct sl_hash_key *key,
			  const struct sl_tuple *tuple, bool is_source)
{
	return is_source ? steer_endpoint(steering, key, &tuple->source, tuple->source_port,
					  tuple->family, tuple->protocol)
			 : steer_endpoint(steering, key, &tuple->destination,
					  tuple->destination_port, tuple->family, tuple->protocol);
}

uint32_t steer_index(const struct steering *steering, const struct sl_hash_key *key,
		     const struct snapshot *snapshot, const struct sl_tuple *tuple)
{
	uint32_t service = lookup_service(snapshot, tuple);
	bool is_forward = service != SL_NO_INDEX;

	if (!is_forward && SL_UNLIKELY(lookup_has_egress(snapshot, tuple->family))) {
		enum lookup_egress egress = lookup_egress(snapshot, tuple, &service);

		is_forward = egress == LOOKUP_EGRESS_OUT;
		if (egress != LOOKUP_NO_EGRESS)
			return steer_end(steering, key, tuple, is_forward);
	}
	if (is_forward ? snapshot->service[service].mode == WIRE_MODE_FULLNAT
		       : snapshot_is_source_address(snapshot, &tuple->destination, tuple->family))
		return steering_index(steering, sl_toeplitz_hash(&steering->toeplitz, tuple));
	return steer_end(steering, key, tuple, is_forward);
}
