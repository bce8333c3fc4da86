/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * The slot tables of a snapshot's services, and of their canaries: the previous snapshot's where they come out
 * the same, else filled, many of them by several threads. Those are made for one snapshot, have the cores of the
 * thread that makes them, and are gone when the tables are full; each writes to tables that no other has, and
 * reads what none writes meanwhile. References are counted by the control thread alone.
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

/** One table that is to be filled. */
struct job {
	uint32_t service;
	enum sl_audience audience;
};

/** All of them. */
struct filling {
	const struct snapshot *snapshot;
	struct job *job;
	uint64_t n_slots;
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

/* Where the slots of @audience stand, of all services. */
static struct slot_table **slots_for(const struct snapshot *snapshot, enum sl_audience audience)
{
	return audience == SL_AUDIENCE_CANARY ? snapshot->canary_slots : snapshot->slots;
}

/* Whether the service's slots for @audience would come out as the previous snapshot's did. */
static bool same_table(const struct snapshot *snapshot, const struct snapshot *previous,
		       uint32_t service, enum sl_audience audience)
{
	const struct sl_service *now = &snapshot->service[service];
	const struct sl_service *then;

	if (previous == NULL || service >= previous->n_services ||
	    memcmp(&previous->hash_key, &snapshot->hash_key, sizeof(snapshot->hash_key)) != 0)
		return false;
	then = &previous->service[service];
	if (slots_for(previous, audience)[service] == NULL || then->epoch != now->epoch ||
	    then->n_slots != now->n_slots || then->n_members != now->n_members ||
	    is_in_turn(then) != is_in_turn(now))
		return false;
	for (uint32_t i = 0; i < now->n_members; i++) {
		uint32_t a = now->first_member + i;
		uint32_t b = then->first_member + i;

		if (snapshot->member[a] != previous->member[b] ||
		    snapshot->backend[snapshot->member[a]].weight[audience] !=
			    previous->backend[previous->member[b]].weight[audience] ||
		    snapshot->backend[snapshot->member[a]].epoch !=
			    previous->backend[previous->member[b]].epoch)
			return false;
	}
	return true;
}

/* Who of @backend, the service's, takes new flows, behind the slots. */
static void fill_candidates(struct slot_table *table, const struct maglev_backend *backend,
			    uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		if (backend[i].weight != 0)
			table->slot[table->n_slots + table->n_candidates++] = (uint16_t)i;
}

/* Fills the table of @job, which nobody else has. 0 or negative errno. */
static int fill_table(const struct snapshot *snapshot, const struct job *job)
{
	const struct sl_service *record = &snapshot->service[job->service];
	struct slot_table *table = slots_for(snapshot, job->audience)[job->service];
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
		backend[i].weight = member->weight[job->audience];
	}
	fill_candidates(table, backend, record->n_members);
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
		int status = fill_table(filling->snapshot, &filling->job[turn]);

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

static struct slot_table *table_new(const struct sl_service *service)
{
	struct slot_table *table = malloc(sizeof(*table) + (service->n_slots + service->n_members) *
								   sizeof(table->slot[0]));

	if (table == NULL)
		return NULL;
	table->n_references = 1;
	table->n_slots = service->n_slots;
	table->n_candidates = 0;
	return table;
}

/* Gives @service the previous snapshot's slots for @audience, or new ones that are to be filled. */
static int give_table(struct filling *filling, struct snapshot *snapshot,
		      const struct snapshot *previous, uint32_t service, enum sl_audience audience)
{
	struct slot_table **table = &slots_for(snapshot, audience)[service];

	if (same_table(snapshot, previous, service, audience)) {
		*table = slots_for(previous, audience)[service];
		(*table)->n_references++;
		return 0;
	}
	*table = table_new(&snapshot->service[service]);
	if (*table == NULL)
		return -ENOMEM;
	filling->n_slots += (*table)->n_slots;
	filling->job[filling->n++] = (struct job){.service = service, .audience = audience};
	return 0;
}

/* Whether the canary has sources, and somebody for their new flows; else they are as all others. */
static bool has_canary(const struct snapshot *snapshot, uint32_t service)
{
	const struct sl_service *record = &snapshot->service[service];
	bool is_any = false;

	if (!lists_has_any(snapshot->lists[service], WIRE_CANARY_SOURCE))
		return false;
	for (uint32_t i = 0; !is_any && i < record->n_members; i++)
		is_any = snapshot->backend[snapshot->member[record->first_member + i]]
				 .weight[SL_AUDIENCE_CANARY] != 0;
	return is_any;
}

static int give_tables(struct filling *filling, struct snapshot *snapshot,
		       const struct snapshot *previous, uint32_t service)
{
	int status = give_table(filling, snapshot, previous, service, SL_AUDIENCE_ALL);

	snapshot->service[service].flags &= (uint8_t)~SL_SERVICE_CANARY;
	if (status != 0 || !has_canary(snapshot, service))
		return status;
	snapshot->service[service].flags |= SL_SERVICE_CANARY;
	return give_table(filling, snapshot, previous, service, SL_AUDIENCE_CANARY);
}

int snapshot_fill_slots(struct snapshot *snapshot, const struct snapshot *previous,
			const uint32_t *service, uint32_t n)
{
	struct filling filling = {
		.snapshot = snapshot,
		.job = calloc((size_t)n * SL_N_AUDIENCES + 1, sizeof(*filling.job)),
	};
	int status = filling.job != NULL ? 0 : -ENOMEM;

	for (uint32_t i = 0; i < n && status == 0; i++)
		status = give_tables(&filling, snapshot, previous, service[i]);
	if (status == 0)
		status = fill_tables(&filling, count_threads(filling.n_slots));
	if (status == 0)
		snapshot->n_tables_built += filling.n;
	free(filling.job);
	return status;
}
