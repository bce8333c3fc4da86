/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* What snapshot.c, which builds a snapshot whole, and snapshot_patch.c, which copies one, share. */
#pragma once

#include "dataplane/staging.h"

/** Files @value in the first free bucket from @hash on; there is one. */
void snapshot_index_put(struct snapshot_index *index, uint32_t hash, uint32_t value);

/** A backend at an address that is ours is refused: its packets would come back. 0 or -EINVAL. */
int snapshot_judge_loop(const struct snapshot *snapshot, const struct staging *staging,
			const struct wire_backend *wire, const char *service,
			char *error) SL_MUST_USE;

/** A service with more backends than its slots are for is refused. 0 or -EINVAL. */
int snapshot_judge_slots(const struct staged_service *staged, char *error) SL_MUST_USE;

/** Backend @i of the snapshot, whose index has room for it; without a next hop. */
void snapshot_fill_backend(struct snapshot *snapshot, const struct staged_backend *staged,
			   uint32_t i);

/** Member @member, the place of backend @index: what its record says of weight and state. */
void snapshot_fill_member(struct snapshot *snapshot, const struct staging *staging, uint32_t member,
			  uint32_t index);

/** Whether flows of @service count, all of whose members are filled. */
void snapshot_fill_compares(struct snapshot *snapshot, uint32_t service);

/**
 * The slots of the @n services, which have none and whose members and lists are filled, and those of their
 * canaries' clients: the previous snapshot's where they come out the same. 0 or -ENOMEM, with some of them
 * filled in part.
 */
int snapshot_fill_slots(struct snapshot *snapshot, const struct snapshot *previous,
			const uint32_t *service, uint32_t n) SL_MUST_USE;

/** Gives one reference to a slot table up. NULL is allowed. */
void snapshot_put_table(struct slot_table *table);

/** The clients of mode snat, of all services. 0 or -ENOMEM. */
int snapshot_fill_inside(struct snapshot *snapshot, char *error) SL_MUST_USE;

/**
 * Whether the snapshot of @staging can be made of @previous by a copy and what the staging says has
 * changed.
 */
bool snapshot_can_patch(const struct staging *staging, const struct snapshot *previous,
			const struct sl_hash_key *hash_key);

/**
 * Does so; without digest, generation and number. 0; -EAGAIN: it cannot be done so, which turned out on
 * the way; -EINVAL with @error; -ENOMEM.
 */
int snapshot_patch(const struct staging *staging, const struct snapshot *previous,
		   struct snapshot **out, char *error) SL_MUST_USE;
