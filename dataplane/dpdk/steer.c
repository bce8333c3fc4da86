/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * Which worker owns a frame, computed from the frame alone. In mode nat the client's address and
 * port stand in both directions, as source to a service and as destination of everything else, so
 * both directions of a flow have one owner, and its tables need no lock.
 */
#include "dataplane/dpdk/worker.h"
#include "dataplane/lookup.h"

struct worker *steer_owner(struct worker *worker, const struct snapshot *snapshot,
			   const struct sl_tuple *tuple)
{
	struct dataplane *dataplane = worker->dataplane;
	bool is_forward = lookup_service(snapshot, tuple) != SL_NO_INDEX;
	struct sl_tuple client = {.protocol = tuple->protocol, .family = tuple->family};
	uint64_t hash;

	client.source = is_forward ? tuple->source : tuple->destination;
	client.source_port = is_forward ? tuple->source_port : tuple->destination_port;
	hash = sl_flow_hash(&worker->flows4.key, &client);
	return dataplane->worker[((hash >> 32) * dataplane->n_workers) >> 32];
}
