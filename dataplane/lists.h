/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * The prefixes that one service lists, as its packets ask them: whom one of mode snat denies, and whose
 * new flows the canary of another has. Immutable once made, and shared between snapshots as long as no
 * list changes.
 */
#pragma once

#include <sluice/wire.h>

#include "dataplane/prefix_table.h"

struct lists {
	uint32_t n_references; /* counted by the control thread alone */
	uint64_t digest;       /* of the records that it was made of */
	uint32_t n;
	struct wire_listed *record; /* in the order of wire_compare_listed() */
	struct prefix_table table[WIRE_N_LISTS];
};

/**
 * Of @n records of one service, in their order, whose digest is @digest. With one reference; NULL: ENOMEM.
 */
struct lists *lists_new(const struct wire_listed *record, uint32_t n, uint64_t digest);

/** Gives one reference up. NULL is allowed. */
void lists_put(struct lists *lists);

/** Whether @addr has one of the prefixes of @which, enum wire_list. @lists: NULL: there are none. Any thread. */
SL_INLINE bool lists_has(const struct lists *lists, uint8_t which, const union sl_addr *addr,
			 uint8_t family)
{
	return lists != NULL &&
	       prefix_table_find(&lists->table[which - 1], addr, family) != SL_NO_INDEX;
}

/** Whether list @which has any prefix. @lists: NULL: it has none. */
bool lists_has_any(const struct lists *lists, uint8_t which);

/** Whether the same record stands in the list. @lists: may be NULL. */
bool lists_has_record(const struct lists *lists, const struct wire_listed *record);
