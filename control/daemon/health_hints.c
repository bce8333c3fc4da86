/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * What the dataplane sees of backends that are checked, as hints: a hint has its backend checked at once, and at
 * the fast interval while hints come; the check decides. See hint.h, health_internal.h.
 */
#include <stdlib.h>

#include "control/client.h"
#include "control/daemon/daemon.h"
#include "control/daemon/events.h"
#include "control/daemon/health_internal.h"
#include "control/daemon/reconcile.h"
#include "log/log.h"
#include "wire/wire_abi.h"

/* What was counted by another dataplane is nothing to count from. */
static void forget(struct health_service *service, uint64_t boot_id)
{
	service->boot_id = boot_id;
	for (uint32_t i = 0; i < service->n_targets; i++) {
		service->target[i]->look = (struct hint_look){0};
		service->target[i]->state.is_suspected = false;
	}
}

/* Where @target stands among those of @service. */
static uint32_t place_of(const struct health_service *service,
			 const struct wire_backend_openings_record *record)
{
	const struct wire_backend backend = {.addr = record->addr, .port = record->port};
	uint32_t low = 0, high = service->n_targets;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		int order = health_target_compare(service->target[middle], &backend);

		if (order == 0)
			return middle;
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return service->n_targets;
}

/* Fills the windows of all that the dataplane tells of. False: it does not answer. */
static bool take_windows(struct health_service *service, struct client *client,
			 struct hint_window *window)
{
	struct wire_backend_openings_record record[WIRE_MAX_RECORDS];
	bool has_resets = service->seen->check.passive == HEALTH_CHECK_PASSIVE_RESETS;
	uint64_t now = daemon_now_ns();
	uint32_t first = 0, n, next;

	do {
		if (client_backend_openings(client, &service->seen->wire.address, first, record, &n,
					    &next))
			return false;
		for (uint32_t i = 0; i < n; i++) {
			uint32_t place = place_of(service, &record[i]);

			if (place < service->n_targets)
				window[place] = hint_take(&service->target[place]->look, &record[i],
							  has_resets, now);
		}
	} while (next > first && (first = next) != 0);
	return true;
}

static void say_hint(const struct health_target *target)
{
	const struct desired_service *service = target->service->seen;
	const struct hint_window *window = &target->hint.window;
	double seconds = (double)window->length_ns / 1e9;
	char address[WIRE_ADDRESS_TEXT];

	(void)wire_format_endpoint(&target->at.addr, target->at.port, target->at.family, address);
	events_add(target->service->health->daemon->events, EVENT_BACKEND_HINT,
		   json_pack("{s:s, s:s, s:I, s:I, s:f}", "service", service->wire.name, "backend",
			     address, "failed", (json_int_t)window->n_failed, "openings",
			     (json_int_t)window->n_openings, "seconds", seconds));
	log_info(
		"service %s: backend %s: %llu of %llu openings failed in %.1f s: it is checked now",
		service->wire.name, address, (unsigned long long)window->n_failed,
		(unsigned long long)window->n_openings, seconds);
}

/* The first of those in a row is kept and told; each has a check begin. */
static void take_hint(struct health_target *target, const struct hint_window *window)
{
	bool was_suspected = target->state.is_suspected;

	target->n_hints++;
	target->service->health->n_hints++;
	target->state.is_suspected = true;
	health_target_hasten(target);
	if (was_suspected)
		return;
	target->hint = (struct health_hint){.window = *window, .at_ns = daemon_now_ns()};
	say_hint(target);
}

static void look(struct health_service *service, struct client *client)
{
	uint32_t n = service->n_targets;
	struct hint_window *window = calloc(n + 1u, sizeof(*window));
	bool *is_hint = calloc(n + 1u, sizeof(*is_hint));

	if (window && is_hint && take_windows(service, client, window)) {
		hint_judge(window, n, &service->seen->check, is_hint);
		for (uint32_t i = 0; i < n; i++) {
			struct health_target *target = service->target[i];

			if (is_hint[i] && target->state.is_up && health_target_is_checked(target))
				take_hint(target, &window[i]);
			else
				target->state.is_suspected = false;
		}
	}
	free(window);
	free(is_hint);
}

static void on_look(evutil_socket_t fd, short events, void *context)
{
	struct health_service *service = context;
	struct client *client = reconcile_client(service->health->daemon->reconcile);
	uint64_t boot_id = client ? client_hello(client)->boot_id : 0;

	(void)fd;
	(void)events;
	health_set_timer(service->look, service->seen->check.passive_window_ms * HEALTH_NS_PER_MS);
	if (boot_id != service->boot_id)
		forget(service, boot_id);
	if (client)
		look(service, client);
}

void health_hints_arm(struct health_service *service)
{
	uint64_t window_ms = service->seen->check.passive_window_ms;

	forget(service, 0);
	if (service->seen->check.passive == HEALTH_CHECK_PASSIVE_OFF) {
		health_hints_end(service);
		return;
	}
	if (!service->look)
		service->look = evtimer_new(service->health->daemon->base, on_look, service);
	if (!service->look) {
		log_err("service %s: takes no hints: out of memory", service->seen->wire.name);
		return;
	}
	/* Somewhere in the window, so that not all services are looked at together. */
	health_set_timer(service->look,
			 (window_ms * health_random(service->health) >> 32) * HEALTH_NS_PER_MS);
}

void health_hints_end(struct health_service *service)
{
	if (service->look)
		event_free(service->look);
	service->look = NULL;
}
