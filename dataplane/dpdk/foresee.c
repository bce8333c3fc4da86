/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * See foresee.h. One packet after the other would wait for its slot, then for the place of its replies, and
 * would hash by itself; here packets of a family go side by side.
 */
#include "dataplane/dpdk/foresee.h"

#include "dataplane/dpdk/dispatch.h"
#include "dataplane/dpdk/hash_burst.h"
#include "dataplane/lookup.h"

_Static_assert((int)BURST_SIZE == (int)HASH_BURST, "a column for each packet");

/* Packets of one family: what is known of them stands in column i. */
struct columns {
	const struct sl_packet *packet[BURST_SIZE];
	struct foreseen *foreseen[BURST_SIZE];
	uint64_t hash[BURST_SIZE];
	struct hash_words words;
	uint32_t n;
};

static bool may_begin(const struct sl_packet *packet, const struct outcome *outcome)
{
	return outcome->verdict == SL_VERDICT_NONE && outcome->egress == LOOKUP_NO_EGRESS &&
	       dispatch_is_plain(packet) &&
	       (packet->tuple.protocol == SL_PROTOCOL_UDP || sl_flow_is_opening(packet));
}

/* The slots that the packets' hashes lead to are asked for. Those of no service leave. */
static void ask_for_slots(const struct snapshot *snapshot, struct columns *columns)
{
	uint32_t kept = 0;

	hash_burst(&snapshot->hash_key, &columns->words, columns->n,
		   columns->packet[0]->tuple.family, columns->hash);
	for (uint32_t i = 0; i < columns->n; i++) {
		const struct sl_packet *packet = columns->packet[i];
		struct foreseen *foreseen = columns->foreseen[i];
		uint32_t service = lookup_service(snapshot, &packet->tuple);
		const struct sl_service *record;

		foreseen->service = service;
		if (service == SL_NO_INDEX)
			continue;
		record = &snapshot->service[service];
		foreseen->backend = SL_NO_INDEX;
		foreseen->hash = lookup_hash_by(snapshot, record, &packet->tuple, columns->hash[i]);
		__builtin_prefetch(
			&snapshot->slots[service]
				 ->slot[sl_maglev_slot(foreseen->hash, record->n_slots)]);
		columns->packet[kept] = packet;
		columns->foreseen[kept++] = foreseen;
	}
	columns->n = kept;
}

/* The places of what their backends will answer are asked for. */
static void ask_for_replies(const struct flow_table *table, const struct snapshot *snapshot,
			    struct columns *columns)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < columns->n; i++) {
		const struct sl_tuple *tuple = &columns->packet[i]->tuple;
		struct foreseen *foreseen = columns->foreseen[i];
		struct choice choice;
		struct sl_tuple reply;

		if (snapshot->service[foreseen->service].mode != WIRE_MODE_NAT)
			continue;
		choice = lookup_choose_by(snapshot, foreseen->service, tuple, foreseen->hash);
		if (choice.backend == SL_NO_INDEX)
			continue;
		reply = lookup_reply(&snapshot->backend[choice.backend], tuple);
		foreseen->backend = choice.backend;
		hash_put(&columns->words, kept, &reply);
		columns->foreseen[kept++] = foreseen;
	}
	if (kept == 0)
		return;
	hash_burst(&table->key, &columns->words, kept, columns->packet[0]->tuple.family,
		   columns->hash);
	for (uint32_t i = 0; i < kept; i++) {
		columns->foreseen[i]->reply_hash = columns->hash[i];
		flow_table_prefetch(table, columns->hash[i]);
	}
}

static void foresee_family(struct worker *worker, const struct snapshot *snapshot,
			   const struct sl_packet *packet, struct outcome *outcome,
			   struct foreseen *foreseen, uint16_t n, uint8_t family)
{
	const struct flow_table *table = worker_table(worker, family);
	struct columns columns;

	columns.n = 0;
	for (uint16_t i = 0; i < n; i++) {
		if (packet[i].tuple.family != family || !may_begin(&packet[i], &outcome[i]))
			continue;
		hash_put(&columns.words, columns.n, &packet[i].tuple);
		columns.packet[columns.n] = &packet[i];
		columns.foreseen[columns.n++] = &foreseen[i];
		outcome[i].foreseen = &foreseen[i];
	}
	if (columns.n == 0)
		return;
	ask_for_slots(snapshot, &columns);
	/* Not under a flood. */
	if (flow_table_has_room(table))
		ask_for_replies(table, snapshot, &columns);
}

void foresee(struct worker *worker, const struct snapshot *snapshot, const struct sl_packet *packet,
	     struct outcome *outcome, struct foreseen *foreseen, uint16_t n)
{
	foresee_family(worker, snapshot, packet, outcome, foreseen, n, SL_FAMILY_IPV4);
	foresee_family(worker, snapshot, packet, outcome, foreseen, n, SL_FAMILY_IPV6);
}
