/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * The entries of clients that keep their backend. Flows of one client come to several workers, so all
 * of these share one table, without locks: see <sluice/packet/affinity.h>.
 */
#pragma once

#include <sluice/packet/affinity.h>
#include <sluice/packet/parse.h>

struct dataplane;
struct snapshot;
struct worker;

struct affinity_table {
	struct sl_affinity_bucket *bucket; /* NULL: not made */
	uint32_t n_buckets;
	struct sl_hash_key key;
};

/** With room for @n_entries. 0 or -ENOMEM. */
int affinity_table_init(struct affinity_table *table, uint32_t n_entries,
			const struct sl_hash_key *key) SL_MUST_USE;
void affinity_table_fini(struct affinity_table *table);

/** sl_affinity_word() of the live entry of the client of @service that sends @tuple, or 0. Any thread. */
uint64_t affinity_find(const struct affinity_table *table, const struct snapshot *snapshot,
		       uint32_t service, const struct sl_tuple *tuple, uint32_t now);

/** Ticks, of the worker that is behind the others: by them none has an entry that has expired. Control thread. */
uint32_t affinity_now(const struct dataplane *dataplane);

/** A new flow of @service, begun by @tuple, has @backend: its client's next ones are to have it, too. */
void affinity_keep(struct worker *worker, const struct snapshot *snapshot, uint32_t service,
		   const struct sl_tuple *tuple, uint32_t backend);
