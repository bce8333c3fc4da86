/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * The deny list of one service of mode snat, as its packets ask it: by the client's address, and by the
 * other end's. Immutable once made, and shared between snapshots as long as the list does not change.
 */
#pragma once

#include <sluice/wire.h>

#include "dataplane/prefix_table.h"

struct denies {
	uint32_t n_references; /* counted by the control thread alone */
	uint64_t digest;       /* of the records that it was made of */
	uint32_t n;
	struct wire_deny *record; /* in the order of wire_compare_denies() */
	struct prefix_table table[WIRE_N_DENY_ENDS];
};

/**
 * Of @n records of one service, in their order, whose digest is @digest. With one reference; NULL: ENOMEM.
 */
struct denies *denies_new(const struct wire_deny *record, uint32_t n, uint64_t digest);

/** Gives one reference up. NULL is allowed. */
void denies_put(struct denies *denies);

/** Whether @addr is denied at @end, enum wire_deny_end. @denies: NULL: nothing is. Any thread. */
SL_INLINE bool denies_has(const struct denies *denies, uint8_t end, const union sl_addr *addr,
			  uint8_t family)
{
	return denies != NULL &&
	       prefix_table_find(&denies->table[end - 1], addr, family) != SL_NO_INDEX;
}

/** Whether the same record stands in the list. @denies: may be NULL. */
bool denies_has_record(const struct denies *denies, const struct wire_deny *record);
