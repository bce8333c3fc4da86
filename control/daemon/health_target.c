/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* A backend that is checked: when, and what a result changes. See health_internal.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/daemon/daemon.h"
#include "control/daemon/events.h"
#include "control/daemon/health_internal.h"
#include "control/utf8.h"
#include "log/log.h"
#include "wire/wire_abi.h"

enum {
	FIRST_CHECK_MS = 1000, /* the first check of a backend is begun within, at most */
	WINDOW_MS = 10,
	STARTS_PER_WINDOW = 40, /* so at most 4,000 checks a second */
	PUBLISH_MS = 2,         /* what comes within is published together */
};

static const uint64_t ms = HEALTH_NS_PER_MS;

/* xorshift64*. */
uint32_t health_random(struct health *health)
{
	health->random ^= health->random >> 12;
	health->random ^= health->random << 25;
	health->random ^= health->random >> 27;
	return (uint32_t)((health->random * 2685821657736338717u) >> 32);
}

void health_set_timer(struct event *timer, uint64_t delay_ns)
{
	const struct timeval delay = {.tv_sec = (time_t)(delay_ns / 1000000000),
				      .tv_usec = (suseconds_t)(delay_ns % 1000000000 / 1000)};

	(void)evtimer_add(timer, &delay);
}

void health_publish_soon(struct health_service *service)
{
	struct event *publish = service->health->publish;

	desired_service_put(service->applied);
	service->applied = NULL;
	if (!evtimer_pending(publish, NULL))
		health_set_timer(publish, PUBLISH_MS * ms);
}

static const struct health_check *check_of(const struct health_target *target)
{
	return &target->service->seen->check;
}

static void say_change(const struct health_target *target, const char *what)
{
	const struct desired_service *service = target->service->seen;
	char address[WIRE_ADDRESS_TEXT];

	(void)wire_format_endpoint(&target->at.addr, target->at.port, target->at.family, address);
	events_add(target->service->health->daemon->events, EVENT_BACKEND_HEALTH,
		   json_pack("{s:s, s:s, s:s, s:s}", "service", service->wire.name, "backend",
			     address, "is", what, "reason",
			     target->state.is_up ? "" : target->reason));
	if (target->state.is_up)
		log_info("service %s: backend %s: %s", service->wire.name, address, what);
	else
		log_warn("service %s: backend %s: %s: %s", service->wire.name, address, what,
			 target->reason);
}

void health_target_settle(struct health_target *target, enum health_change change)
{
	struct event *ramp = target->service->health->ramp;

	if (change == HEALTH_STAYED)
		return;
	say_change(target, target->state.is_up ? "up" : "down");
	health_publish_soon(target->service);
	if (change == HEALTH_CAME_UP && check_of(target)->slow_start_ms &&
	    !evtimer_pending(ramp, NULL))
		health_set_timer(ramp, HEALTH_RAMP_MS * ms);
}

/* See health_hear_dataplane(). */
static bool is_telling(const struct health_target *target, bool is_good)
{
	uint64_t there_ns = target->service->health->dataplane_ns;

	return is_good || (there_ns != 0 && target->started_ns >= there_ns);
}

/* Takes the result into what the backend is taken for. */
static void take_result(struct health_target *target, bool is_good, const char *reason)
{
	target->is_blind = !is_telling(target, is_good);
	(void)snprintf(target->reason, sizeof(target->reason), "%s%s",
		       target->is_blind ? "without a dataplane: " : "", reason);
	utf8_scrub(target->reason); /* of what the backend said, perhaps, and cut */
	if (target->is_blind)
		target->state.streak = 0;
	else
		health_target_settle(target, health_state_take(&target->state, check_of(target),
							       is_good, daemon_now_ns()));
}

static void on_result(void *context, bool is_good, const char *reason)
{
	struct health_target *target = context;
	struct health *health = target->service->health;
	uint64_t now = daemon_now_ns(), interval, passed = now - target->started_ns;

	target->probe = NULL;
	target->took_ns = passed;
	target->n_checks++;
	target->n_failed += !is_good;
	health->n_checks++;
	health->n_failed += !is_good;
	take_result(target, is_good, reason);
	interval =
		health_state_interval_ns(&target->state, check_of(target), health_random(health));
	health_set_timer(target->timer, interval > passed ? interval - passed : 0);
}

/* Whether one check more may begin now. */
static bool has_room(struct health *health)
{
	uint64_t now = daemon_now_ns();

	if (now - health->window_ns >= WINDOW_MS * ms) {
		health->window_ns = now;
		health->n_started = 0;
	}
	return health->n_started++ < STARTS_PER_WINDOW;
}

static void on_due(evutil_socket_t fd, short events, void *context)
{
	struct health_target *target = context;
	struct health *health = target->service->health;

	(void)fd;
	(void)events;
	if (has_room(health)) {
		target->started_ns = daemon_now_ns();
		if (target->hint.at_ns && !target->hint.probed_ns)
			target->hint.probed_ns = target->started_ns;
		target->probe = probe_start(health->prober, check_of(target), &target->at,
					    on_result, target);
	}
	if (target->probe) {
		target->is_delayed = false;
		return;
	}
	health->n_delayed += !target->is_delayed;
	target->is_delayed = true;
	health_set_timer(target->timer, WINDOW_MS * ms + (health_random(health) & 0xfffff));
}

void health_target_free(struct health_target *target)
{
	probe_cancel(target->probe);
	if (target->timer)
		event_free(target->timer);
	free(target);
}

struct health_target *health_target_new(struct health_service *service,
					const struct wire_backend *backend)
{
	struct health_target *target = calloc(1, sizeof(*target));

	if (!target)
		return NULL;
	target->service = service;
	target->at = (struct probe_target){
		.addr = backend->addr, .port = backend->port, .family = backend->service.family};
	health_state_init(&target->state);
	target->timer = evtimer_new(service->health->daemon->base, on_due, target);
	if (!target->timer) {
		free(target);
		return NULL;
	}
	return target;
}

/* In maintenance nobody asks; whoever comes back from it begins anew. */
void health_target_arm(struct health_target *target, const struct wire_backend *backend,
		       bool is_anew)
{
	struct health *health = target->service->health;
	uint32_t within_ms = check_of(target)->interval_ms;
	bool is_idle = !target->probe && !evtimer_pending(target->timer, NULL);

	if (backend->state == WIRE_STATE_MAINT) {
		probe_cancel(target->probe);
		target->probe = NULL;
		(void)evtimer_del(target->timer);
		health_state_init(&target->state);
		target->is_blind = false;
		return;
	}
	if (!is_idle && !is_anew)
		return;
	probe_cancel(target->probe);
	target->probe = NULL;
	(void)evtimer_del(target->timer);
	if (check_of(target)->type == HEALTH_CHECK_PASSIVE)
		return;
	if (within_ms > FIRST_CHECK_MS)
		within_ms = FIRST_CHECK_MS;
	health_set_timer(target->timer, within_ms * ms * health_random(health) >> 32);
}

void health_target_hasten(struct health_target *target)
{
	if (!target->probe)
		health_set_timer(target->timer, 0);
}

int health_target_compare(const struct health_target *target, const struct wire_backend *backend)
{
	int order = memcmp(&target->at.addr, &backend->addr, sizeof(backend->addr));

	if (order)
		return order;
	return (int)sl_from_be16(target->at.port) - (int)sl_from_be16(backend->port);
}
