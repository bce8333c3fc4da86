/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* See plan.h. */
#include "control/daemon/plan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "control/client.h"

static int read_flows(struct client *client, struct plan *plan)
{
	struct wire_plan_flows_reply reply = {0};

	for (int i = 0; i < PLAN_MAX_FLOW_PAGES && !plan->is_counted; i++) {
		int status = client_plan_flows(client, reply.next, &reply);

		if (status)
			return status;
		plan->flows = reply.flows;
		plan->is_counted = reply.next == 0;
	}
	return 0;
}

/* The pages end where the totals say; a dataplane that has more is not believed. */
static int read_services(struct client *client, struct plan *plan)
{
	uint32_t next = 0;

	do {
		struct wire_plan_service page[WIRE_MAX_RECORDS];
		uint32_t n;
		int status = client_plan_services(client, next, page, &n, &next);

		if (status)
			return status;
		if (n > plan->totals.n_services - plan->n_services)
			return -EPROTO;
		memcpy(&plan->service[plan->n_services], page, n * sizeof(page[0]));
		plan->n_services += n;
		if (n == 0)
			break;
	} while (next != 0);
	return 0;
}

static int read_backends(struct client *client, struct plan *plan)
{
	uint32_t next = 0;

	do {
		struct wire_plan_backend page[WIRE_MAX_RECORDS];
		uint32_t n;
		int status = client_plan_backends(client, next, page, &n, &next);

		if (status)
			return status;
		if (n > plan->totals.n_backends - plan->n_backends)
			return -EPROTO;
		memcpy(&plan->backend[plan->n_backends], page, n * sizeof(page[0]));
		plan->n_backends += n;
		if (n == 0)
			break;
	} while (next != 0);
	return 0;
}

/* Whether the services' numbers of backends are those of the backends that there are. */
static bool is_whole(const struct plan *plan)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < plan->n_services; i++)
		n += plan->service[i].n_records;
	return n == plan->n_backends && plan->n_services == plan->totals.n_services;
}

static bool is_possible(const struct wire_plan_reply *totals)
{
	return totals->n_services <= 2 * SL_MAX_SERVICES &&
	       totals->n_backends <= 2 * SL_MAX_BACKENDS;
}

int plan_read(struct client *client, struct plan *plan)
{
	int status = client_plan(client, &plan->totals);

	if (status)
		return status;
	if (!is_possible(&plan->totals))
		return -EPROTO;
	plan->service = calloc((size_t)plan->totals.n_services + 1, sizeof(*plan->service));
	plan->backend = calloc((size_t)plan->totals.n_backends + 1, sizeof(*plan->backend));
	if (!plan->service || !plan->backend)
		return -ENOMEM;
	status = read_flows(client, plan);
	if (!status)
		status = read_services(client, plan);
	if (!status)
		status = read_backends(client, plan);
	if (!status && !is_whole(plan))
		status = -EPROTO;
	return status ? status : client_abort(client);
}

void plan_fini(struct plan *plan)
{
	free(plan->service);
	free(plan->backend);
	memset(plan, 0, sizeof(*plan));
}
