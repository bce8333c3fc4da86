/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
#include "dataplane/denies.h"

#include <stdlib.h>
#include <string.h>

#include "wire/wire_abi.h"

/* The table of one end. @prefix: room for all records. */
static int fill_table(struct denies *denies, uint8_t end, struct prefix *prefix)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < denies->n; i++) {
		const struct wire_deny *record = &denies->record[i];

		if (record->end == end)
			prefix[n++] = (struct prefix){.addr = record->addr,
						      .family = record->service.family,
						      .length = record->length,
						      .value = i};
	}
	return prefix_table_init(&denies->table[end - 1], prefix, n);
}

struct denies *denies_new(const struct wire_deny *record, uint32_t n, uint64_t digest)
{
	struct denies *denies = calloc(1, sizeof(*denies));
	struct prefix *prefix = calloc(n + 1, sizeof(*prefix));
	bool is_whole = denies != NULL && prefix != NULL;

	if (denies != NULL)
		denies->n_references = 1;
	if (is_whole) {
		denies->digest = digest;
		denies->n = n;
		denies->record = malloc((n + 1) * sizeof(*record));
		is_whole = denies->record != NULL;
	}
	if (is_whole && n > 0)
		memcpy(denies->record, record, n * sizeof(*record));
	for (uint8_t end = 1; is_whole && end <= WIRE_N_DENY_ENDS; end++)
		is_whole = fill_table(denies, end, prefix) == 0;
	free(prefix);
	if (!is_whole) {
		denies_put(denies);
		return NULL;
	}
	return denies;
}

void denies_put(struct denies *denies)
{
	if (denies == NULL || --denies->n_references > 0)
		return;
	for (int i = 0; i < WIRE_N_DENY_ENDS; i++)
		prefix_table_fini(&denies->table[i]);
	free(denies->record);
	free(denies);
}

static int compare(const void *a, const void *b)
{
	return wire_compare_denies(a, b);
}

bool denies_has_record(const struct denies *denies, const struct wire_deny *record)
{
	return denies != NULL &&
	       bsearch(record, denies->record, denies->n, sizeof(*record), compare) != NULL;
}
