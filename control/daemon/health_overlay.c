/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* The desired state of a service with the health of its backends laid over it. See health_internal.h. */
#include <stdlib.h>

#include "control/daemon/daemon.h"
#include "control/daemon/health_internal.h"
#include "log/log.h"

bool health_takes_flows(const struct wire_backend *backend)
{
	return backend->state == WIRE_STATE_READY && backend->weight > 0;
}

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

/* Whether fewer of the backends that take flows are up than shall be. */
static bool is_panic(const struct health_service *service, const struct desired_service *to)
{
	uint32_t n = 0, n_up = 0;

	for (uint32_t i = 0; i < to->n_backends; i++) {
		if (!health_takes_flows(&to->backend[i]))
			continue;
		n++;
		n_up += !is_down(health_find_target(service, &to->backend[i]));
	}
	return n > 0 && (uint64_t)n_up * 100 < (uint64_t)n * to->check.panic_percent;
}

static void note_panic(struct health_service *service, bool is_panic)
{
	if (is_panic == service->is_panic)
		return;
	service->is_panic = is_panic;
	if (is_panic)
		log_err("service %s: fewer than %u %% of its backends are up: all are used",
			service->seen->wire.name, service->seen->check.panic_percent);
	else
		log_info("service %s: those of its backends that are down are not used any more",
			 service->seen->wire.name);
}

uint32_t health_share(const struct health_target *target, const struct health_check *check,
		      uint64_t now_ns)
{
	return target ? health_state_share(&target->state, check, now_ns) : 100;
}

/* By how much all weights can be multiplied, so that a small one has a hundredth, too. */
static uint32_t weight_scale(const struct desired_service *service)
{
	uint32_t heaviest = 1;

	for (uint32_t i = 0; i < service->n_backends; i++)
		if (service->backend[i].weight > heaviest)
			heaviest = service->backend[i].weight;
	return heaviest * 100 <= SL_MAX_WEIGHT ? 100 : SL_MAX_WEIGHT / heaviest;
}

/* The weights while some backends have a part of theirs; what they are to each other otherwise stays. */
static void apply_shares(const struct health_service *service, struct desired_service *to,
			 uint64_t now_ns)
{
	uint32_t scale = weight_scale(to);

	for (uint32_t i = 0; i < to->n_backends; i++) {
		struct wire_backend *backend = &to->backend[i];
		uint32_t share =
			health_share(health_find_target(service, backend), &to->check, now_ns);
		uint32_t weight = (uint32_t)((uint64_t)backend->weight * scale * share / 100);

		backend->weight = weight || !backend->weight ? weight : 1;
	}
}

static bool is_ramping(const struct health_service *service, const struct desired_service *to,
		       uint64_t now_ns)
{
	bool is_any = false;

	for (uint32_t i = 0; to->check.slow_start_ms && !is_any && i < to->n_backends; i++)
		is_any = health_takes_flows(&to->backend[i]) &&
			 health_share(health_find_target(service, &to->backend[i]), &to->check,
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
		if (is_down(health_find_target(service, &to->backend[i])))
			return true;
	return false;
}

struct desired_service *health_overlay(struct health_service *service, struct desired_service *to)
{
	uint64_t now = daemon_now_ns();
	bool is_slow = is_ramping(service, to, now), is_all_used = is_panic(service, to);
	struct desired_service *applied;

	if (to == service->seen)
		note_panic(service, is_all_used);
	if (!is_slow && !is_any_down(service, to)) {
		to->n_references++;
		return to;
	}
	applied = desired_service_copy(to);
	if (!applied)
		return NULL;
	for (uint32_t i = 0; i < to->n_backends; i++) {
		struct wire_backend *backend = &applied->backend[i];

		if (is_down(health_find_target(service, backend)) &&
		    !(is_all_used && health_takes_flows(backend)))
			backend->health = to->check.on_down == HEALTH_CHECK_KEEP
						  ? WIRE_HEALTH_DOWN_KEEP
						  : WIRE_HEALTH_DOWN;
	}
	if (is_slow)
		apply_shares(service, applied, now);
	return applied;
}
