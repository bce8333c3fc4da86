/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* See traffic.h. Sums are of numbers that only rise, modulo 2^64. */
#include "dataplane/dpdk/traffic.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct traffic {
	struct sl_backend_counters *former; /* by index: counts that were former owners' */
	struct sl_service_counters
		*left; /* by index: of its backends that left, less those of former owners */
};

int traffic_open(struct dataplane *dataplane)
{
	struct traffic *traffic = calloc(1, sizeof(*traffic));

	if (traffic == NULL)
		return -ENOMEM;
	dataplane->traffic = traffic;
	traffic->former = calloc(SL_MAX_BACKENDS, sizeof(*traffic->former));
	traffic->left = calloc(SL_MAX_SERVICES, sizeof(*traffic->left));
	return traffic->former != NULL && traffic->left != NULL ? 0 : -ENOMEM;
}

void traffic_close(struct dataplane *dataplane)
{
	if (dataplane->traffic == NULL)
		return;
	free(dataplane->traffic->former);
	free(dataplane->traffic->left);
	free(dataplane->traffic);
	dataplane->traffic = NULL;
}

/* All that was ever counted for index @backend. */
static struct sl_backend_counters sum_backend(const struct dataplane *dataplane, uint32_t backend)
{
	struct sl_backend_counters sum = {0};

	for (uint32_t i = 0; i < dataplane->n_opened; i++) {
		const struct backend_line *line = &dataplane->worker[i]->backend_counters[backend];

#define X(name, unit, help) sum.name += __atomic_load_n(&line->name, __ATOMIC_RELAXED);
		SL_BACKEND_TRAFFIC_LIST(X)
#undef X
	}
	return sum;
}

/* All that was ever counted for index @service itself. */
static struct sl_service_counters sum_service(const struct dataplane *dataplane, uint32_t service)
{
	struct sl_service_counters sum = {0};

	for (uint32_t i = 0; i < dataplane->n_opened; i++) {
		const struct service_line *line = &dataplane->worker[i]->service_counters[service];

		sum.flows += __atomic_load_n(&line->flows, __ATOMIC_RELAXED);
		sum.drops += __atomic_load_n(&line->drops, __ATOMIC_RELAXED);
	}
	return sum;
}

void traffic_of_backend(const struct dataplane *dataplane, uint32_t backend,
			struct sl_backend_counters *counters)
{
	const struct sl_backend_counters *former = &dataplane->traffic->former[backend];

	*counters = sum_backend(dataplane, backend);
#define X(name, unit, help) counters->name -= former->name;
	SL_BACKEND_TRAFFIC_LIST(X)
#undef X
}

/* The backend's packets and bytes are its service's, too. */
static void add_backend(const struct dataplane *dataplane, uint32_t backend,
			struct sl_service_counters *counters)
{
	struct sl_backend_counters of_backend;

	traffic_of_backend(dataplane, backend, &of_backend);
	counters->packets_in += of_backend.packets_in;
	counters->bytes_in += of_backend.bytes_in;
	counters->packets_out += of_backend.packets_out;
	counters->bytes_out += of_backend.bytes_out;
}

void traffic_of_service(const struct dataplane *dataplane, uint32_t service,
			struct sl_service_counters *counters)
{
	const struct sl_service *record = &dataplane->snapshot->service[service];
	const struct sl_service_counters *left = &dataplane->traffic->left[service];

	*counters = sum_service(dataplane, service);
#define X(name, unit, help) counters->name += left->name;
	SL_SERVICE_COUNTER_LIST(X)
#undef X
	for (uint32_t i = 0; i < record->n_members; i++)
		add_backend(dataplane, dataplane->snapshot->member[record->first_member + i],
			    counters);
}

/* Backend @index of @former has left. */
static void settle_backend(struct dataplane *dataplane, const struct snapshot *former,
			   uint32_t index)
{
	struct sl_backend_counters *counted = &dataplane->traffic->former[index];

	add_backend(dataplane, index, &dataplane->traffic->left[former->backend[index].service]);
	*counted = sum_backend(dataplane, index);
	/* Its flows end later, each: what is left of them is for a while the next owner's. */
	counted->flows = counted->flows_ended;
}

/* The service of that index has left, after all its backends. */
static void settle_service(struct dataplane *dataplane, uint32_t index)
{
	struct sl_service_counters counted = sum_service(dataplane, index);

	dataplane->traffic->left[index] = (struct sl_service_counters){
		.flows = -counted.flows,
		.drops = -counted.drops,
	};
}

static bool has_backend_left(const struct snapshot *former, const struct snapshot *snapshot,
			     uint32_t index)
{
	return former->backend[index].family != SL_FAMILY_NONE &&
	       (index >= snapshot->n_backends ||
		snapshot->backend[index].family == SL_FAMILY_NONE ||
		snapshot->backend[index].epoch != former->backend[index].epoch);
}

static bool has_service_left(const struct snapshot *former, const struct snapshot *snapshot,
			     uint32_t index)
{
	return former->service[index].family != SL_FAMILY_NONE &&
	       (index >= snapshot->n_services ||
		snapshot->service[index].family == SL_FAMILY_NONE ||
		snapshot->service[index].epoch != former->service[index].epoch);
}

void traffic_settle(struct dataplane *dataplane, const struct snapshot *former,
		    const struct snapshot *snapshot)
{
	if (former == NULL)
		return;
	if (!snapshot->is_all_fresh) {
		for (uint32_t i = 0; i < snapshot->n_left; i++)
			settle_backend(dataplane, former, snapshot->left[i]);
		return;
	}
	for (uint32_t i = 0; i < former->n_backends; i++)
		if (has_backend_left(former, snapshot, i))
			settle_backend(dataplane, former, i);
	for (uint32_t i = 0; i < former->n_services; i++)
		if (has_service_left(former, snapshot, i))
			settle_service(dataplane, i);
}
