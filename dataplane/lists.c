/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
#include "dataplane/lists.h"

#include <stdlib.h>
#include <string.h>

#include "wire/wire_abi.h"

/* The table of one list. @prefix: room for all records. */
static int fill_table(struct lists *lists, uint8_t which, struct prefix *prefix)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < lists->n; i++) {
		const struct wire_listed *record = &lists->record[i];

		if (record->list == which)
			prefix[n++] = (struct prefix){.addr = record->addr,
						      .family = record->family,
						      .length = record->length,
						      .value = i};
	}
	return prefix_table_init(&lists->table[which - 1], prefix, n);
}

struct lists *lists_new(const struct wire_listed *record, uint32_t n, uint64_t digest)
{
	struct lists *lists = calloc(1, sizeof(*lists));
	struct prefix *prefix = calloc(n + 1, sizeof(*prefix));
	bool is_whole = lists != NULL && prefix != NULL;

	if (lists != NULL)
		lists->n_references = 1;
	if (is_whole) {
		lists->digest = digest;
		lists->n = n;
		lists->record = malloc((n + 1) * sizeof(*record));
		is_whole = lists->record != NULL;
	}
	if (is_whole && n > 0)
		memcpy(lists->record, record, n * sizeof(*record));
	for (uint8_t which = 1; is_whole && which <= WIRE_N_LISTS; which++)
		is_whole = fill_table(lists, which, prefix) == 0;
	free(prefix);
	if (!is_whole) {
		lists_put(lists);
		return NULL;
	}
	return lists;
}

void lists_put(struct lists *lists)
{
	if (lists == NULL || --lists->n_references > 0)
		return;
	for (int i = 0; i < WIRE_N_LISTS; i++)
		prefix_table_fini(&lists->table[i]);
	free(lists->record);
	free(lists);
}

bool lists_has_any(const struct lists *lists, uint8_t which)
{
	return lists != NULL &&
	       lists->table[which - 1].n_ranges[0] + lists->table[which - 1].n_ranges[1] != 0;
}

static int compare(const void *a, const void *b)
{
	return wire_compare_listed(a, b);
}

bool lists_has_record(const struct lists *lists, const struct wire_listed *record)
{
	return lists != NULL &&
	       bsearch(record, lists->record, lists->n, sizeof(*record), compare) != NULL;
}
