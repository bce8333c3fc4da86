/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * What the dataplane sees of backends that are checked, as hints: a hint has its backend checked at once, and at
 * the fast interval while hints come; the check decides. With type passive there is none, and windows are the
 * results. See hint.h, health_internal.h.
 */
#include <stdio.h>
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
	uint8_t passive = service->seen->check.passive;
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
							  passive, now);
		}
	} while (next > first && (first = next) != 0);
	return true;
}

static void describe(const struct hint_window *window, char *text, size_t size)
{
	(void)snprintf(text, size, "%llu of %llu openings failed in %.1f s",
		       (unsigned long long)window->n_failed, (unsigned long long)window->n_openings,
		       (double)window->length_ns / 1e9);
}

static void say_hint(const struct health_target *target)
{
	const struct desired_service *service = target->service->seen;
	const struct hint_window *window = &target->hint.window;
	char address[WIRE_ADDRESS_TEXT], text[PROBE_MAX_REASON];

	describe(window, text, sizeof(text));
	(void)wire_format_endpoint(&target->at.addr, target->at.port, target->at.family, address);
	events_add(target->service->health->daemon->events, EVENT_BACKEND_HINT,
		   json_pack("{s:s, s:s, s:I, s:I, s:f}", "service", service->wire.name, "backend",
			     address, "failed", (json_int_t)window->n_failed, "openings",
			     (json_int_t)window->n_openings, "seconds",
			     (double)window->length_ns / 1e9));
	log_info("service %s: backend %s: hint: %s", service->wire.name, address, text);
}

/* The first of those in a row is kept and told. */
static void take_hint(struct health_target *target, const struct hint_window *window)
{
	bool was_suspected = target->state.is_suspected;

	target->n_hints++;
	target->service->health->n_hints++;
	target->state.is_suspected = true;
	if (was_suspected)
		return;
	target->hint = (struct health_hint){.window = *window, .at_ns = daemon_now_ns()};
	say_hint(target);
}

/* Where nobody is asked a window that says anything is a result, and who is down is tried after a while. */
static void take_result(struct health_target *target, const struct hint_window *window,
			bool is_hint)
{
	const struct health_check *check = &target->service->seen->check;
	uint64_t now = daemon_now_ns();

	if (!target->state.is_up) {
		enum health_change change = health_state_try(&target->state, check, now);

		health_target_settle(target, change);
		if (change == HEALTH_CAME_UP)
			(void)snprintf(target->reason, sizeof(target->reason), "on trial");
		return;
	}
	/* What all have alike says nothing for one, either. */
	if (!hint_is_judged(window, check) || (hint_is_bad(window, check) && !is_hint))
		return;
	target->state.is_proven = true;
	target->reason[0] = '\0';
	if (is_hint)
		describe(window, target->reason, sizeof(target->reason));
	health_target_settle(target, health_state_take(&target->state, check, !is_hint, now));
}

static void take_window(struct health_target *target, const struct hint_window *window,
			bool is_hint)
{
	bool is_passive = target->service->seen->check.type == HEALTH_CHECK_PASSIVE;

	if (is_hint && target->state.is_up)
		take_hint(target, window);
	else
		target->state.is_suspected = false;
	if (is_passive)
		take_result(target, window, is_hint);
	else if (target->state.is_suspected)
		health_target_hasten(target);
}

static void look(struct health_service *service, struct client *client)
{
	const struct desired_service *seen = service->seen;
	uint32_t n = service->n_targets;
	struct hint_window *window = calloc(n + 1u, sizeof(*window));
	bool *is_hint = calloc(n + 1u, sizeof(*is_hint));

	if (window && is_hint && take_windows(service, client, window)) {
		if (seen->check.type == HEALTH_CHECK_PASSIVE)
			hint_discount(window, n, &seen->check);
		hint_judge(window, n, &seen->check, is_hint);
		for (uint32_t i = 0; i < n; i++)
			if (seen->backend[i].wire.state != WIRE_STATE_MAINT)
				take_window(service->target[i], &window[i], is_hint[i]);
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
