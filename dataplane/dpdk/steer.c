/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * Which worker owns a frame, computed from the frame alone, so that both directions of a flow have
 * one owner and its tables need no lock: its entry of the redirection table.
 *
 * In mode nat the client's address and port stand in both directions, as source to a service and as
 * destination of everything else: their keyed hash decides. In mode fullnat the Toeplitz hash of the
 * frame's own tuple decides, as a network card would have it: a new flow's owner chooses the source
 * port so that replies hash to itself.
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

uint32_t steer_index(const struct steering *steering, const struct sl_hash_key *key,
		     const struct snapshot *snapshot, const struct sl_tuple *tuple)
{
	uint32_t service = lookup_service(snapshot, tuple);
	bool is_forward = service != SL_NO_INDEX;
	struct sl_tuple client = {.protocol = tuple->protocol, .family = tuple->family};

	if (is_forward ? snapshot->service[service].mode == WIRE_MODE_FULLNAT
		       : snapshot_is_source_address(snapshot, &tuple->destination, tuple->family))
		return steering_index(steering, sl_toeplitz_hash(&steering->toeplitz, tuple));
	client.source = is_forward ? tuple->source : tuple->destination;
	client.source_port = is_forward ? tuple->source_port : tuple->destination_port;
	return steering_index(steering, (uint32_t)(sl_flow_hash(key, &client) >> 32));
}
