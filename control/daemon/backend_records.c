/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* See backend_records.h. The dataplane lists them in an order of its own, a page at a time. */
#include "control/daemon/backend_records.h"

#include <stdlib.h>
#include <string.h>

#include "control/client.h"
#include "control/daemon/desired.h"

static int compare(const void *a, const void *b)
{
	const struct wire_backend_counters_record *left = a, *right = b;
	int order = memcmp(&left->addr, &right->addr, sizeof(left->addr));

	return order ? order : (int)sl_from_be16(left->port) - (int)sl_from_be16(right->port);
}

struct wire_backend_counters_record *
backend_records_fetch(struct client *client, const struct desired_service *service, uint32_t *n)
{
	struct wire_backend_counters_record *record;
	uint32_t first = 0, n_page, next;

	*n = 0;
	record = calloc((size_t)service->n_backends + WIRE_MAX_RECORDS, sizeof(*record));
	if (!record)
		return NULL;
	do {
		if (client_backend_counters(client, &service->wire.address, first, record + *n,
					    &n_page, &next))
			break;
		*n += n_page;
		if (next <= first || n_page == 0)
			break;
		first = next;
	} while (*n <= service->n_backends);
	if (*n == 0) {
		free(record);
		return NULL;
	}
	qsort(record, *n, sizeof(*record), compare);
	return record;
}

const struct wire_backend_counters_record *
backend_records_find(const struct wire_backend_counters_record *record, uint32_t n,
		     const struct wire_backend *backend)
{
	const struct wire_backend_counters_record key = {.addr = backend->addr,
							 .port = backend->port};

	return n ? bsearch(&key, record, n, sizeof(*record), compare) : NULL;
}
