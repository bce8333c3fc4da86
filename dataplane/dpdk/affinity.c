/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* See affinity.h. */
#include "dataplane/dpdk/affinity.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/dpdk/engine.h"

int affinity_table_init(struct affinity_table *table, uint32_t n_entries,
			const struct sl_hash_key *key)
{
	uint32_t n_buckets = (n_entries + SL_AFFINITY_WAYS - 1) / SL_AFFINITY_WAYS;
	size_t bytes = n_buckets * sizeof(*table->bucket);

	table->bucket = aligned_alloc(SL_CACHE_LINE, bytes);
	if (table->bucket == NULL)
		return -ENOMEM;
	memset(table->bucket, 0, bytes);
	table->n_buckets = n_buckets;
	table->key = *key;
	return 0;
}

void affinity_table_fini(struct affinity_table *table)
{
	free(table->bucket);
	table->bucket = NULL;
}

static uint64_t hash_of(const struct affinity_table *table, const struct snapshot *snapshot,
			uint32_t service, const struct sl_tuple *tuple)
{
	union sl_addr prefix =
		sl_affinity_prefix(&tuple->source, snapshot->affinity[service].prefix_length);

	return sl_affinity_hash(&table->key, service, snapshot->service[service].epoch, &prefix,
				tuple->family);
}

uint64_t affinity_find(const struct affinity_table *table, const struct snapshot *snapshot,
		       uint32_t service, const struct sl_tuple *tuple, uint32_t now)
{
	uint64_t hash = hash_of(table, snapshot, service, tuple);

	return sl_affinity_find(&table->bucket[sl_affinity_place(hash, table->n_buckets)], hash,
				now);
}

void affinity_keep(struct worker *worker, const struct snapshot *snapshot, uint32_t service,
		   const struct sl_tuple *tuple, uint32_t backend)
{
	const struct affinity_table *table = &worker->dataplane->affinities;
	uint64_t hash = hash_of(table, snapshot, service, tuple);
	struct sl_affinity_bucket *bucket =
		&table->bucket[sl_affinity_place(hash, table->n_buckets)];
	uint64_t word = sl_affinity_word(backend, snapshot->backend[backend].epoch,
					 worker->now + snapshot->affinity[service].timeout_ticks);
	uint64_t was = sl_affinity_find(bucket, hash, worker->now);
	bool is_kept = sl_affinity_is_kept(was, word, worker->now);

	worker->counters.event[is_kept ? SL_EVENT_AFFINITY_KEPT : SL_EVENT_AFFINITY_MADE]++;
	if (sl_affinity_put(bucket, hash, word, worker->now) != 0)
		worker->counters.event[SL_EVENT_AFFINITY_EVICTED]++;
}

uint32_t affinity_now(const struct dataplane *dataplane)
{
	uint32_t now = __atomic_load_n(&dataplane->worker[0]->now, __ATOMIC_RELAXED);

	for (uint32_t i = 1; i < dataplane->n_workers; i++) {
		uint32_t other = __atomic_load_n(&dataplane->worker[i]->now, __ATOMIC_RELAXED);

		if ((int32_t)(other - now) < 0)
			now = other;
	}
	return now;
}

/* The service of the backend that @word names, which has its epoch still; SL_NO_INDEX: it is gone. */
static uint32_t service_of(const struct snapshot *snapshot, uint64_t word)
{
	uint32_t index = sl_affinity_backend(word);

	if (snapshot == NULL || index >= snapshot->n_backends ||
	    snapshot->backend[index].family == SL_FAMILY_NONE ||
	    snapshot->backend[index].epoch != sl_affinity_epoch(word))
		return SL_NO_INDEX;
	return snapshot->backend[index].service;
}

uint64_t dataplane_count_affinities(struct dataplane *dataplane, uint32_t *n)
{
	const struct affinity_table *table = &dataplane->affinities;
	uint32_t now = affinity_now(dataplane);
	uint64_t n_live = 0;

	for (uint32_t i = 0; i < table->n_buckets * SL_AFFINITY_WAYS; i++) {
		const struct sl_affinity_entry *entry =
			&table->bucket[i / SL_AFFINITY_WAYS].entry[i % SL_AFFINITY_WAYS];
		uint64_t word = sl_affinity_load(&entry->word);
		uint32_t service;

		if (sl_affinity_left(word, now) == 0)
			continue;
		n_live++;
		service = service_of(dataplane->snapshot, word);
		if (n != NULL && service != SL_NO_INDEX)
			n[service]++;
	}
	return n_live;
}

uint32_t dataplane_clear_affinities(struct dataplane *dataplane, uint32_t service)
{
	struct affinity_table *table = &dataplane->affinities;
	uint32_t now = affinity_now(dataplane);
	uint32_t n = 0;

	for (uint32_t i = 0; i < table->n_buckets * SL_AFFINITY_WAYS; i++) {
		struct sl_affinity_entry *entry =
			&table->bucket[i / SL_AFFINITY_WAYS].entry[i % SL_AFFINITY_WAYS];
		uint64_t word = sl_affinity_load(&entry->word);

		/* Unless a worker has written another one meanwhile. What stands beside 0 is nobody's. */
		if (service_of(dataplane->snapshot, word) == service &&
		    __atomic_compare_exchange_n(&entry->word, &word, 0, false, __ATOMIC_RELAXED,
						__ATOMIC_RELAXED))
			n += sl_affinity_left(word, now) != 0;
	}
	return n;
}
