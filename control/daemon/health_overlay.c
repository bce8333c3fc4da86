/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* The desired state of a service with the health of its backends laid over it. See health_internal.h. */
#include <stdlib.h>

#include "control/daemon/daemon.h"
#include "control/daemon/events.h"
#include "control/daemon/health_internal.h"
#include "log/log.h"

static int compare_backend(const void *backend, const void *element)
{
	const struct health_target *const *target = element;

	return -health_target_compare(*target, backend);
}

struct health_target *health_find_target(const struct health_service *service,
					 const struct wire_backend *backend)
{
	struct health_target **found = NULL;

	if (service && service->n_targets)
		found = bsearch(backend, service->target, service->n_targets,
				sizeof(*service->target), compare_backend);
	return found ? *found : NULL;
}

static bool is_down(const struct health_target *target)
{
	return target && !target->state.is_up;
}

static void note_role(const struct health_service *service, uint8_t role)
{
	const char *name = service->seen->wire.name;

	events_add(service->health->daemon->events, EVENT_SERVICE_ROLE,
		   json_pack("{s:s, s:s}", "service", name, "is", share_role_name(role)));
	if (role == SHARE_ACTIVE)
		log_info("service %s: new flows go to its active backends again", name);
	else
		log_warn("service %s: new flows go to its %s backends: no other can be used", name,
			 share_role_name(role));
}

static void note_panic(const struct health_service *service, const struct share_choice *choice)
{
	const char *name = service->seen->wire.name;

	events_add(service->health->daemon->events, EVENT_SERVICE_PANIC,
		   json_pack("{s:s, s:b}", "service", name, "is", (int)choice->is_all_used));
	if (!choice->is_all_used)
		log_info("service %s: those of its backends that are down are not used any more",
			 name);
	else if (choice->role == SHARE_SORRY)
		log_err("service %s: too few of its sorry backends are up: all of them are used",
			name);
	else
		log_err("service %s: too few of its %s backends are up, or none: all are used all "
			"the "
			"same (panic_percent %u)",
			name, share_role_name(choice->role), service->seen->check.panic_percent);
}

static void note_choice(struct health_service *service, const struct share_choice *choice)
{
	const struct share_choice before = service->choice;

	service->choice = *choice;
	if (choice->role != before.role)
		note_role(service, choice->role);
	if (choice->is_all_used != before.is_all_used)
		note_panic(service, choice);
}

uint32_t health_share(const struct health_target *target, const struct health_check *check,
		      uint64_t now_ns)
{
	return target ? health_state_share(&target->state, check, now_ns) : 100;
}

/* A backend's weight for all clients, or for those of the canary's sources. */
static uint32_t *weight_of(struct wire_backend *backend, bool is_canary)
{
	return is_canary ? &backend->canary_weight : &backend->weight;
}

/* By how much all weights can be multiplied, so that a small one has a hundredth, too. */
static uint32_t weight_scale(struct desired_service *service, bool is_canary)
{
	uint32_t heaviest = 1;

	for (uint32_t i = 0; i < service->n_backends; i++) {
		uint32_t weight = *weight_of(&service->backend[i].wire, is_canary);

		heaviest = weight > heaviest ? weight : heaviest;
	}
	return heaviest * 100 <= SL_MAX_WEIGHT ? 100 : SL_MAX_WEIGHT / heaviest;
}

/* The weights while some backends have a part of theirs; what they are to each other otherwise stays. */
static void apply_shares(const struct health_service *service, struct desired_service *to,
			 bool is_canary, uint64_t now_ns)
{
	uint32_t scale = weight_scale(to, is_canary);

	for (uint32_t i = 0; i < to->n_backends; i++) {
		struct wire_backend *backend = &to->backend[i].wire;
		uint32_t share =
			health_share(health_find_target(service, backend), &to->check, now_ns);
		uint32_t *weight = weight_of(backend, is_canary);
		uint32_t part = (uint32_t)((uint64_t)*weight * scale * share / 100);

		*weight = part || !*weight ? part : 1;
	}
}

static bool is_ramping(const struct health_service *service, const struct desired_service *to,
		       uint64_t now_ns)
{
	bool is_any = false;

	for (uint32_t i = 0; to->check.slow_start_ms && !is_any && i < to->n_backends; i++)
		is_any = share_takes_flows(&to->backend[i].wire) &&
			 health_share(health_find_target(service, &to->backend[i].wire), &to->check,
				      now_ns) < 100;
	return is_any;
}

bool health_is_ramping(const struct health_service *service, uint64_t now_ns)
{
	return is_ramping(service, service->seen, now_ns);
}

static bool is_any_down(const struct health_service *service, const struct desired_service *to)
{
	for (uint32_t i = 0; i < to->n_backends; i++)
		if (is_down(health_find_target(service, &to->backend[i].wire)))
			return true;
	return false;
}

static void mark_down(const struct health_service *service, struct desired_service *applied)
{
	for (uint32_t i = 0; i < applied->n_backends; i++) {
		struct wire_backend *backend = &applied->backend[i].wire;

		if (is_down(health_find_target(service, backend)))
			backend->health = applied->check.on_down == HEALTH_CHECK_KEEP
						  ? WIRE_HEALTH_DOWN_KEEP
						  : WIRE_HEALTH_DOWN;
	}
}

struct desired_service *health_overlay(struct health_service *service, struct desired_service *to)
{
	uint64_t now = daemon_now_ns();
	struct share_choice choice = {SHARE_ACTIVE, false};
	struct desired_service *applied = to;

	if (share_is_special(to) || is_any_down(service, to) || is_ramping(service, to, now)) {
		applied = desired_service_copy(to);
		if (!applied)
			return NULL;
		mark_down(service, applied);
		choice = share_lay_over(applied);
		/* Of what the canary gives them, too, those that came up a moment ago have a part. */
		if (is_ramping(service, applied, now)) {
			apply_shares(service, applied, false, now);
			apply_shares(service, applied, true, now);
		}
	} else {
		to->n_references++;
	}
	if (to == service->seen)
		note_choice(service, &choice);
	return applied;
}
