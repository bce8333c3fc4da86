/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* See share_overlay.h. Integers alone, so that a restart comes to the same. */
#include "control/daemon/share_overlay.h"

#include <string.h>

bool share_takes_flows(const struct wire_backend *backend)
{
	return backend->state == WIRE_STATE_READY &&
	       (backend->weight > 0 || backend->canary_weight > 0);
}

bool share_is_special(const struct desired_service *service)
{
	bool is_special = service->canary.group[0] != '\0';

	for (uint32_t i = 0; !is_special && i < service->n_backends; i++)
		is_special = service->backend[i].part.role != SHARE_ACTIVE;
	return is_special;
}

/* ---- roles ---- */

/* How many of a role take flows, and how many of them are up. */
struct tally {
	uint32_t n, n_up;
};

static bool is_panic(const struct tally *tally, const struct health_check *check)
{
	return (uint64_t)tally->n_up * 100 < (uint64_t)tally->n * check->panic_percent;
}

static struct share_choice choose(const struct desired_service *service)
{
	struct tally tally[SHARE_N_ROLES] = {{0}};
	const struct tally *sorry = &tally[SHARE_SORRY];

	for (uint32_t i = 0; i < service->n_backends; i++) {
		const struct desired_backend *backend = &service->backend[i];

		if (!share_takes_flows(&backend->wire))
			continue;
		tally[backend->part.role].n++;
		tally[backend->part.role].n_up += backend->wire.health == WIRE_HEALTH_UP;
	}
	for (uint8_t role = SHARE_ACTIVE; role < SHARE_SORRY; role++)
		if (tally[role].n_up > 0)
			return (struct share_choice){role, is_panic(&tally[role], &service->check)};
	if (sorry->n > 0)
		return (struct share_choice){SHARE_SORRY,
					     sorry->n_up == 0 || is_panic(sorry, &service->check)};
	for (uint8_t role = SHARE_ACTIVE; role < SHARE_SORRY; role++)
		if (is_panic(&tally[role], &service->check))
			return (struct share_choice){role, true};
	return (struct share_choice){SHARE_ACTIVE, false};
}

static void apply_choice(struct desired_service *service, const struct share_choice *choice)
{
	for (uint32_t i = 0; i < service->n_backends; i++) {
		struct desired_backend *backend = &service->backend[i];

		if (!share_takes_flows(&backend->wire))
			continue;
		if (backend->part.role != choice->role)
			backend->wire.weight = 0;
		else if (choice->is_all_used)
			backend->wire.health = WIRE_HEALTH_UP;
	}
}

/* ---- the canary ---- */

/* The backends that get new flows and are in the group, or are not. */
struct side {
	bool is_group;
	uint32_t share; /* of all new flows, of SHARE_WHOLE */
	uint64_t sum;   /* of weights */
	uint32_t heaviest;
};

static bool is_used(const struct wire_backend *backend)
{
	return share_takes_flows(backend) && backend->health == WIRE_HEALTH_UP;
}

static bool is_of(const struct side *side, const struct desired_service *service, uint32_t i)
{
	const struct desired_backend *backend = &service->backend[i];

	return is_used(&backend->wire) &&
	       (strcmp(backend->part.group, service->canary.group) == 0) == side->is_group;
}

static void measure(struct side *side, const struct desired_service *service)
{
	for (uint32_t i = 0; i < service->n_backends; i++) {
		uint32_t weight = service->backend[i].wire.weight;

		if (!is_of(side, service, i))
			continue;
		side->sum += weight;
		if (weight > side->heaviest)
			side->heaviest = weight;
	}
}

/* The most that a unit of share can be, so that no weight is above SL_MAX_WEIGHT: 6 or more. */
static uint64_t largest_unit(const struct side *side)
{
	return side->share ? SL_MAX_WEIGHT * side->sum / ((uint64_t)side->share * side->heaviest)
			   : UINT32_MAX;
}

/*
 * Gives a side's backends share * unit together, by their weights: what a division leaves over goes to those
 * that follow, so that the sum is exact unless some would have less than 1.
 */
static void give(const struct side *side, struct desired_service *service, uint64_t unit)
{
	uint64_t total = side->share * unit, passed = 0, given = 0;

	/* Who has all keeps its weights, and so each of its slots. */
	for (uint32_t i = 0; side->share != SHARE_WHOLE && i < service->n_backends; i++) {
		struct wire_backend *backend = &service->backend[i].wire;
		uint64_t due;

		if (!is_of(side, service, i))
			continue;
		passed += backend->weight;
		due = total * passed / side->sum;
		backend->weight = side->share == 0 ? 0 : due > given ? (uint32_t)(due - given) : 1;
		given += backend->weight;
	}
}

/* Clients of the sources are for the group alone, whatever its share: by its backends' own weights. */
static void give_sources(struct desired_service *service)
{
	const struct side group = {.is_group = true};

	for (uint32_t i = 0; i < service->n_backends; i++)
		if (is_of(&group, service, i))
			service->backend[i].wire.canary_weight = service->backend[i].wire.weight;
}

static void apply_share(struct desired_service *service)
{
	uint32_t share = service->canary.share;
	struct side group = {.is_group = true, .share = share};
	struct side rest = {.share = SHARE_WHOLE - share};
	uint64_t of_group, of_rest, unit;

	measure(&group, service);
	measure(&rest, service);
	if (!group.sum || !rest.sum)
		return; /* nobody to share with */
	of_group = largest_unit(&group);
	of_rest = largest_unit(&rest);
	unit = of_group < of_rest ? of_group : of_rest;
	give(&group, service, unit);
	give(&rest, service, unit);
}

/* ---- both ---- */

struct share_choice share_lay_over(struct desired_service *service)
{
	struct share_choice choice = choose(service);

	apply_choice(service, &choice);
	if (desired_has_listed(service, WIRE_CANARY_SOURCE))
		give_sources(service);
	if (service->canary.group[0])
		apply_share(service);
	return choice;
}

struct desired_service *share_overlay(struct desired_service *service)
{
	if (!service->overlaid && !share_is_special(service))
		service->overlaid = service;
	if (!service->overlaid) {
		service->overlaid = desired_service_copy(service);
		if (!service->overlaid)
			return NULL;
		(void)share_lay_over(service->overlaid);
	}
	service->overlaid->n_references++;
	return service->overlaid;
}

bool share_is_in_use(const struct desired_service *live, const struct wire_backend *backend)
{
	const struct desired_backend *found =
		live ? desired_find_backend(live, &backend->addr, backend->port) : NULL;

	return found && is_used(&found->wire);
}

bool share_role_in_use(const struct desired_service *live, uint8_t *role)
{
	for (uint32_t i = 0; i < live->n_backends; i++) {
		if (!is_used(&live->backend[i].wire))
			continue;
		*role = live->backend[i].part.role;
		return true;
	}
	return false;
}
