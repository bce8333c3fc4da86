/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * The slot tables of a snapshot's services: the previous snapshot's where they come out the same, else filled,
 * many of them by several threads. Those are made for one snapshot, have the cores of the thread that makes
 * them, and are gone when the tables are full; each writes to tables that no other has, and reads what none
 * writes meanwhile. References are counted by the control thread alone.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/maglev_fill.h"
#include "dataplane/snapshot_internal.h"
#include "dataplane/turns_fill.h"

enum {
	MAX_THREADS = 16,
	MIN_SLOTS_A_THREAD =
		4 * SL_DEFAULT_SLOTS, /* some milliseconds: a thread costs a tenth of one */
};

/** Services whose tables are to be filled. */
struct filling {
	const struct snapshot *snapshot;
	const uint32_t *service;
	uint32_t n;
	uint32_t next; /* atomic: the first that no thread has taken */
	int status;    /* atomic: of one that failed */
};

static uint32_t max_threads = MAX_THREADS;

void snapshot_limit_threads(uint32_t n)
{
	max_threads = n < MAX_THREADS ? n : MAX_THREADS;
}

/* Whether the slots are the order in which backends have their turns. */
static bool is_in_turn(const struct sl_service *service)
{
	return service->scheduler == WIRE_SCHEDULER_ROUND_ROBIN;
}

/* Whether the service's slot table would come out as the previous snapshot's did. */
static bool same_table(const struct snapshot *snapshot, const struct snapshot *previous,
		       uint32_t service)
{
	const struct sl_service *now = &snapshot->service[service];
	const struct sl_service *then;

	if (previous == NULL || service >= previous->n_services ||
	    memcmp(&previous->hash_key, &snapshot->hash_key, sizeof(snapshot->hash_key)) != 0)
		return false;
	then = &previous->service[service];
	if (then->family == SL_FAMILY_NONE || then->epoch != now->epoch ||
	    then->n_slots != now->n_slots || then->n_members != now->n_members ||
	    is_in_turn(then) != is_in_turn(now))
		return false;
	for (uint32_t i = 0; i < now->n_members; i++) {
		uint32_t a = now->first_member + i;
		uint32_t b = then->first_member + i;

		if (snapshot->member[a] != previous->member[b] ||
		    snapshot->backend[snapshot->member[a]].weight !=
			    previous->backend[previous->member[b]].weight ||
		    snapshot->backend[snapshot->member[a]].epoch !=
			    previous->backend[previous->member[b]].epoch)
			return false;
	}
	return true;
}

/* Fills the table of @service, which nobody else has. 0 or negative errno. */
static int fill_table(const struct snapshot *snapshot, uint32_t service)
{
	const struct sl_service *record = &snapshot->service[service];
	struct slot_table *table = snapshot->slots[service];
	struct maglev_backend *backend = calloc(record->n_members + 1, sizeof(*backend));
	int status;

	if (backend == NULL)
		return -ENOMEM;
	for (uint32_t i = 0; i < record->n_members; i++) {
		const struct sl_backend *member =
			&snapshot->backend[snapshot->member[record->first_member + i]];

		backend[i].addr = member->addr;
		backend[i].port = member->port;
		backend[i].family = member->family;
		backend[i].protocol = record->protocol;
		backend[i].weight = member->weight;
	}
	if (is_in_turn(record))
		status = turns_fill(backend, record->n_members, table->slot, record->n_slots);
	else
		status = maglev_fill(&snapshot->hash_key, backend, record->n_members, table->slot,
				     record->n_slots);
	free(backend);
	return status != -ENOENT ? status : 0;
}

/* Whoever runs this takes one after the other, until none is left. */
static void *fill_some(void *data)
{
	struct filling *filling = data;
	uint32_t turn;

	while ((turn = __atomic_fetch_add(&filling->next, 1, __ATOMIC_RELAXED)) < filling->n) {
		int status = fill_table(filling->snapshot, filling->service[turn]);

		if (status != 0)
			__atomic_store_n(&filling->status, status, __ATOMIC_RELAXED);
	}
	return NULL;
}

/* How many threads @n_slots are worth, of those for which the calling one has cores. */
static uint32_t count_threads(uint64_t n_slots)
{
	uint64_t n = n_slots / MIN_SLOTS_A_THREAD;
	cpu_set_t allowed;

	if (n > max_threads)
		n = max_threads;
	if (n <= 1 || sched_getaffinity(0, sizeof(allowed), &allowed) != 0)
		return 1;
	return n < (uint64_t)CPU_COUNT(&allowed) ? (uint32_t)n : (uint32_t)CPU_COUNT(&allowed);
}

static int fill_tables(struct filling *filling, uint32_t n_threads)
{
	pthread_t thread[MAX_THREADS];
	uint32_t n = 0;

	/* This thread is one of them; if another cannot be made, the rest of them do its work. */
	while (n + 1 < n_threads && pthread_create(&thread[n], NULL, fill_some, filling) == 0)
		n++;
	(void)fill_some(filling);
	while (n > 0)
		pthread_join(thread[--n], NULL);
	return filling->status;
}

static struct slot_table *table_new(uint32_t n_slots)
{
	struct slot_table *table = malloc(sizeof(*table) + n_slots * sizeof(table->slot[0]));

	if (table == NULL)
		return NULL;
	table->n_references = 1;
	table->n_slots = n_slots;
	return table;
}

int snapshot_fill_slots(struct snapshot *snapshot, const struct snapshot *previous,
			const uint32_t *service, uint32_t n)
{
	uint32_t *fresh = calloc((size_t)n + 1, sizeof(*fresh));
	struct filling filling = {.snapshot = snapshot, .service = fresh};
	uint64_t n_slots = 0;
	int status = fresh != NULL ? 0 : -ENOMEM;

	for (uint32_t i = 0; i < n && status == 0; i++) {
		struct slot_table **table = &snapshot->slots[service[i]];

		if (same_table(snapshot, previous, service[i])) {
			*table = previous->slots[service[i]];
			(*table)->n_references++;
			continue;
		}
		*table = table_new(snapshot->service[service[i]].n_slots);
		if (*table == NULL)
			status = -ENOMEM;
		else
			n_slots += (*table)->n_slots;
		fresh[filling.n++] = service[i];
	}
	if (status == 0)
		status = fill_tables(&filling, count_threads(n_slots));
	if (status == 0)
		snapshot->n_tables_built += filling.n;
	free(fresh);
	return status;
}
