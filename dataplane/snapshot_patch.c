/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * A snapshot as a copy of the one before, with other backends in a few services: what one change among
 * very many backends costs is then a few plain copies. Whatever else has changed is snapshot.c's.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/snapshot_internal.h"

enum {
	MAX_REMOVED = 4096, /* whose bits are left in the filter, before it is made anew */
};

bool snapshot_can_patch(const struct staging *staging, const struct snapshot *previous,
			const struct sl_hash_key *hash_key)
{
	return previous != NULL && staging->built_id == previous->id && !staging->is_all_changed &&
	       staging->n_services == previous->n_services &&
	       (uint64_t)staging->n_live_backends * 2 <= (uint64_t)previous->by_backend.mask + 1 &&
	       previous->n_removed <= MAX_REMOVED &&
	       memcmp(hash_key, &previous->hash_key, sizeof(*hash_key)) == 0;
}

/* ---- the copy ---- */

/* Room for @n elements, with the first @n_copied of @from in it and zeros behind them. */
static void *copy_of(const void *from, size_t n_copied, size_t n, size_t size)
{
	size_t bytes = ((n != 0 ? n : 1) * size + SL_CACHE_LINE - 1) & ~(size_t)(SL_CACHE_LINE - 1);
	uint8_t *copy = aligned_alloc(SL_CACHE_LINE, bytes);

	if (copy == NULL)
		return NULL;
	if (n_copied != 0)
		memcpy(copy, from, n_copied * size);
	memset(copy + n_copied * size, 0, bytes - n_copied * size);
	return copy;
}

/* How many backends may be new ones. */
static uint32_t count_fresh(const struct staging *staging)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < staging->n_changed; i++)
		n += staging->service[staging->changed[i]].n_backends;
	return n;
}

/* How many may leave. */
static uint32_t count_former(const struct staging *staging, const struct snapshot *previous)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < staging->n_changed; i++)
		n += previous->service[staging->changed[i]].n_members;
	return n;
}

static bool copy_index(struct snapshot_index *index)
{
	index->bucket = copy_of(index->bucket, (size_t)index->mask + 1, (size_t)index->mask + 1,
				sizeof(*index->bucket));
	return index->bucket != NULL;
}

/* Tables that are shared, each once more. */
static void share_tables(struct snapshot *snapshot)
{
	for (uint32_t i = 0; i < snapshot->n_services; i++) {
		if (snapshot->slots[i] != NULL)
			snapshot->slots[i]->n_references++;
		if (snapshot->canary_slots[i] != NULL)
			snapshot->canary_slots[i]->n_references++;
		if (snapshot->lists[i] != NULL)
			snapshot->lists[i]->n_references++;
	}
}

static bool is_whole(const struct snapshot *snapshot)
{
	return snapshot->fresh != NULL && snapshot->left != NULL && snapshot->service != NULL &&
	       snapshot->backend != NULL && snapshot->slots != NULL &&
	       snapshot->canary_slots != NULL && snapshot->lists != NULL &&
	       snapshot->affinity != NULL && snapshot->service_name != NULL &&
	       snapshot->member != NULL && snapshot->max_flows != NULL &&
	       snapshot->member_state != NULL && snapshot->member_health != NULL &&
	       snapshot->source != NULL && snapshot->source_family != NULL &&
	       snapshot->source_mode != NULL;
}

/* Arrays of its own in place of those of @previous, with room for the members of @staging. */
static bool copy_arrays(struct snapshot *snapshot, const struct snapshot *previous,
			const struct staging *staging)
{
	uint32_t n = previous->n_services, n_sources = previous->n_sources;
	uint32_t n_members = staging->n_live_backends;
	bool has_indices;

	snapshot->fresh = copy_of(NULL, 0, count_fresh(staging), sizeof(*snapshot->fresh));
	snapshot->left = copy_of(NULL, 0, count_former(staging, previous), sizeof(*snapshot->left));
	snapshot->service = copy_of(previous->service, n, n + 1, sizeof(*snapshot->service));
	snapshot->backend = copy_of(previous->backend, previous->n_backends,
				    (size_t)staging->n_backends + 2, sizeof(*snapshot->backend));
	snapshot->max_flows = copy_of(previous->max_flows, previous->n_backends,
				      staging->n_backends, sizeof(*snapshot->max_flows));
	snapshot->slots = copy_of(previous->slots, n, n, sizeof(*snapshot->slots));
	snapshot->canary_slots =
		copy_of(previous->canary_slots, n, n, sizeof(*snapshot->canary_slots));
	snapshot->lists = copy_of(previous->lists, n, n, sizeof(*snapshot->lists));
	snapshot->affinity = copy_of(previous->affinity, n, n, sizeof(*snapshot->affinity));
	snapshot->service_name = copy_of(previous->service_name, n, n, SL_MAX_NAME);
	snapshot->member = copy_of(NULL, 0, n_members, sizeof(*snapshot->member));
	snapshot->member_state = copy_of(NULL, 0, n_members, 1);
	snapshot->member_health = copy_of(NULL, 0, n_members, 1);
	snapshot->source =
		copy_of(previous->source, n_sources, n_sources, sizeof(*snapshot->source));
	snapshot->source_family = copy_of(previous->source_family, n_sources, n_sources, 1);
	snapshot->source_mode = copy_of(previous->source_mode, n_sources, n_sources, 1);
	/* Each is tried, so that none is the previous snapshot's when this one is freed. */
	has_indices = copy_index(&snapshot->by_service);
	has_indices = copy_index(&snapshot->by_address) && has_indices;
	has_indices = copy_index(&snapshot->by_backend) && has_indices;
	has_indices = copy_index(&snapshot->by_source) && has_indices;
	return has_indices && is_whole(snapshot);
}

/* All of @previous in a snapshot of its own; NULL: no memory. */
static struct snapshot *copy_snapshot(const struct snapshot *previous,
				      const struct staging *staging)
{
	struct snapshot *snapshot = malloc(sizeof(*snapshot));

	if (snapshot == NULL)
		return NULL;
	*snapshot = *previous;
	memset(&snapshot->inside, 0, sizeof(snapshot->inside));
	snapshot->n_backends = staging->n_backends;
	snapshot->n_live_backends = staging->n_live_backends;
	snapshot->n_tables_built = 0;
	snapshot->is_all_fresh = false;
	snapshot->n_fresh = 0;
	snapshot->n_left = 0;
	if (copy_arrays(snapshot, previous, staging)) {
		share_tables(snapshot);
		return snapshot;
	}
	/* Nothing is shared yet. */
	free(snapshot->slots);
	free(snapshot->canary_slots);
	free(snapshot->lists);
	snapshot->slots = NULL;
	snapshot->canary_slots = NULL;
	snapshot->lists = NULL;
	snapshot_free(snapshot);
	return NULL;
}

/* ---- the change ---- */

static bool is_changed(const struct staging *staging, uint32_t service)
{
	for (uint32_t i = 0; i < staging->n_changed; i++)
		if (staging->changed[i] == service)
			return true;
	return false;
}

/* Members of a service whose backends are the same: as they were, a little further on or back. */
static void copy_members(struct snapshot *snapshot, const struct snapshot *previous,
			 uint32_t service)
{
	uint32_t from = previous->service[service].first_member;
	uint32_t to = snapshot->n_members;
	uint32_t n = previous->service[service].n_members;

	memcpy(&snapshot->member[to], &previous->member[from], n * sizeof(*snapshot->member));
	memcpy(&snapshot->member_state[to], &previous->member_state[from], n);
	memcpy(&snapshot->member_health[to], &previous->member_health[from], n);
	snapshot->service[service].first_member = to;
	snapshot->n_members += n;
}

static uint32_t hash_of(const struct snapshot *snapshot, const struct sl_backend *backend)
{
	return snapshot_index_hash(&backend->addr, backend->port, backend->family,
				   snapshot->service[backend->service].protocol);
}

/* Takes backend @index out of by_backend, which it has to itself; the run behind it is filed again. */
static void index_remove(struct snapshot *snapshot, uint32_t index)
{
	struct snapshot_index *by = &snapshot->by_backend;
	uint32_t at = hash_of(snapshot, &snapshot->backend[index]);

	while (by->bucket[at & by->mask] != index)
		at++;
	by->bucket[at & by->mask] = SL_NO_INDEX;
	for (at++; by->bucket[at & by->mask] != SL_NO_INDEX; at++) {
		uint32_t moved = by->bucket[at & by->mask];

		by->bucket[at & by->mask] = SL_NO_INDEX;
		snapshot_index_put(by, hash_of(snapshot, &snapshot->backend[moved]), moved);
	}
}

/* Former members of @service that have left. -EAGAIN: one leaves others that were its like. */
static int remove_members(struct snapshot *snapshot, const struct snapshot *previous,
			  const struct staging *staging, uint32_t service)
{
	const struct sl_service *then = &previous->service[service];

	for (uint32_t i = 0; i < then->n_members; i++) {
		uint32_t index = previous->member[then->first_member + i];
		struct sl_backend *backend = &snapshot->backend[index];

		if (staging->backend[index].is_live &&
		    staging->backend[index].epoch == backend->epoch)
			continue;
		if (backend->is_shared || backend->is_outside)
			return -EAGAIN;
		index_remove(snapshot, index);
		memset(backend, 0, sizeof(*backend));
		snapshot->n_removed++;
		snapshot->left[snapshot->n_left++] = index;
	}
	return 0;
}

/* The members of @service, after all that left have left. */
static int fill_members(struct snapshot *snapshot, const struct staging *staging, uint32_t service,
			char *error)
{
	const struct staged_service *staged = &staging->service[service];

	snapshot->service[service].first_member = snapshot->n_members;
	snapshot->service[service].n_members = staged->n_backends;
	for (uint32_t i = 0; i < staged->n_backends; i++) {
		uint32_t index = staged->backend[i];
		const struct staged_backend *backend = &staging->backend[index];

		snapshot_fill_member(snapshot, staging, snapshot->n_members++, index);
		if (snapshot->backend[index].family != SL_FAMILY_NONE) {
			snapshot->backend[index].is_gone = staging_is_gone(&backend->wire);
			continue;
		}
		if (snapshot_judge_loop(snapshot, staging, &backend->wire, staged->wire.name,
					error) != 0)
			return -EINVAL;
		snapshot_fill_backend(snapshot, backend, index);
		snapshot->fresh[snapshot->n_fresh++] = index;
	}
	snapshot_fill_compares(snapshot, service);
	return snapshot_judge_slots(staged, error);
}

static int change(struct snapshot *snapshot, const struct snapshot *previous,
		  const struct staging *staging, char *error)
{
	int status = 0;

	for (uint32_t i = 0; i < staging->n_changed && status == 0; i++)
		status = remove_members(snapshot, previous, staging, staging->changed[i]);
	snapshot->n_members = 0;
	for (uint32_t i = 0; i < snapshot->n_services && status == 0; i++) {
		if (snapshot->service[i].family == SL_FAMILY_NONE)
			continue;
		if (is_changed(staging, i))
			status = fill_members(snapshot, staging, i, error);
		else
			copy_members(snapshot, previous, i);
	}
	return status;
}

/* Slots of the changed services in place of those that were shared for all. */
static int change_slots(struct snapshot *snapshot, const struct snapshot *previous,
			const struct staging *staging)
{
	for (uint32_t i = 0; i < staging->n_changed; i++) {
		uint32_t service = staging->changed[i];

		/* The previous one has its own share of them. */
		snapshot_put_table(snapshot->slots[service]);
		snapshot_put_table(snapshot->canary_slots[service]);
		snapshot->slots[service] = NULL;
		snapshot->canary_slots[service] = NULL;
	}
	return snapshot_fill_slots(snapshot, previous, staging->changed, staging->n_changed);
}

int snapshot_patch(const struct staging *staging, const struct snapshot *previous,
		   struct snapshot **out, char *error)
{
	struct snapshot *snapshot = copy_snapshot(previous, staging);
	int status;

	if (snapshot == NULL)
		return -ENOMEM;
	status = change(snapshot, previous, staging, error);
	if (status == 0)
		status = change_slots(snapshot, previous, staging);
	if (status == 0)
		status = snapshot_fill_inside(snapshot, error);
	if (status != 0) {
		snapshot_free(snapshot);
		return status;
	}
	*out = snapshot;
	return 0;
}
