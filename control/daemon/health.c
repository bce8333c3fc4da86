/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* Services by name, their backends by address, as the desired state has them. See health.h. */
#include "control/daemon/health.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "control/client.h"
#include "control/daemon/backend_records.h"
#include "control/daemon/change.h"
#include "control/daemon/daemon.h"
#include "control/daemon/health_internal.h"
#include "log/log.h"

const char *health_word_name(enum health_word word)
{
	switch (word) {
	case HEALTH_UNCHECKED:
		return "unchecked";
	case HEALTH_UNKNOWN:
		return "unknown";
	case HEALTH_UP:
		return "up";
	case HEALTH_DOWN:
		return "down";
	}
	return "unknown";
}

/* ---- following ---- */

static void free_targets(struct health_target **target, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		if (target[i])
			health_target_free(target[i]);
	free(target);
}

static void service_free(struct health_service *service)
{
	health_hints_end(service);
	free_targets(service->target, service->n_targets);
	desired_service_put(service->seen);
	desired_service_put(service->applied);
	free(service);
}

/* Moves the targets of @seen's backends to @list, and makes those that are new. False: out of memory. */
static bool move_targets(struct health_service *service, const struct desired_service *seen,
			 struct health_target **list)
{
	uint32_t k = 0;

	for (uint32_t i = 0; i < seen->n_backends; i++) {
		const struct wire_backend *backend = &seen->backend[i].wire;

		while (k < service->n_targets &&
		       health_target_compare(service->target[k], backend) < 0)
			k++;
		if (k < service->n_targets &&
		    health_target_compare(service->target[k], backend) == 0) {
			list[i] = service->target[k];
			service->target[k++] = NULL;
		} else {
			list[i] = health_target_new(service, backend);
		}
		if (!list[i])
			return false;
	}
	return true;
}

/* False: out of memory; then the service has no targets any more. */
static bool service_follow(struct health_service *service, struct desired_service *seen)
{
	struct health_target **old = service->target,
			     **list = calloc(seen->n_backends + 1u, sizeof(*list));
	bool is_anew = !service->seen ||
		       memcmp(&service->seen->check, &seen->check, sizeof(seen->check)) != 0;
	bool is_done = list && move_targets(service, seen, list);

	free_targets(old, service->n_targets);
	service->target = list;
	service->n_targets = list ? seen->n_backends : 0;
	desired_service_put(service->applied);
	service->applied = NULL;
	desired_service_put(service->seen);
	seen->n_references++;
	service->seen = seen;
	for (uint32_t i = 0; is_done && i < seen->n_backends; i++)
		health_target_arm(list[i], &seen->backend[i].wire, is_anew);
	if (is_done && is_anew)
		health_hints_arm(service);
	return is_done;
}

static struct health_service *service_new(struct health *health)
{
	struct health_service *service = calloc(1, sizeof(*service));

	if (service)
		service->health = health;
	return service;
}

static bool is_checked(const struct desired_service *service)
{
	return service->check.type != HEALTH_CHECK_NONE;
}

static int compare_name(const void *name, const void *element)
{
	const struct health_service *const *service = element;

	return strcmp(name, (*service)->seen->wire.name);
}

/* The service called @name, if it is checked. */
static struct health_service *find_service(const struct health *health, const char *name)
{
	struct health_service **found = NULL;

	if (health && health->n_services)
		found = bsearch(name, health->service, health->n_services, sizeof(*health->service),
				compare_name);
	return found ? *found : NULL;
}

/* One more of the new list; what is out of memory is not checked, and is told. */
static void follow_service(struct health *health, struct health_service *service,
			   struct desired_service *seen, struct health_service **list, size_t *n)
{
	if (!service)
		service = service_new(health);
	if (service && (service->seen == seen || service_follow(service, seen))) {
		list[(*n)++] = service;
		return;
	}
	log_err("service %s: its backends are not checked: out of memory", seen->wire.name);
	if (service)
		service_free(service);
}

void health_follow(struct health *health, const struct desired *desired)
{
	struct health_service **list;
	size_t n = 0, k = 0;

	if (!health)
		return;
	list = calloc(desired->n_services + 1, sizeof(struct health_service *));
	if (!list) {
		log_err("health: the new state is not followed: out of memory");
		return;
	}
	for (size_t i = 0; i < desired->n_services; i++) {
		struct desired_service *seen = desired->service[i];
		int order = -1;

		if (!is_checked(seen))
			continue;
		while (k < health->n_services &&
		       (order = strcmp(health->service[k]->seen->wire.name, seen->wire.name)) < 0)
			service_free(health->service[k++]);
		follow_service(health,
			       k < health->n_services && order == 0 ? health->service[k++] : NULL,
			       seen, list, &n);
	}
	while (k < health->n_services)
		service_free(health->service[k++]);
	free(health->service);
	health->service = list;
	health->n_services = n;
}

/* ---- applying ---- */

/* The same, kept until something changes. */
static struct desired_service *apply_kept(struct health_service *service,
					  struct desired_service *to)
{
	if (to != service->seen)
		return health_overlay(service, to);
	if (!service->applied)
		service->applied = health_overlay(service, to);
	if (!service->applied)
		return NULL;
	service->applied->n_references++;
	return service->applied;
}

struct desired *health_apply(struct health *health, const struct desired *desired)
{
	struct desired *live = desired_clone(desired);

	for (size_t i = 0; live && i < live->n_services; i++) {
		struct health_service *service =
			is_checked(live->service[i])
				? find_service(health, live->service[i]->wire.name)
				: NULL;
		struct desired_service *applied = service ? apply_kept(service, live->service[i])
							  : share_overlay(live->service[i]);

		if (!applied) {
			desired_free(live);
			return NULL;
		}
		desired_service_put(live->service[i]);
		live->service[i] = applied;
	}
	return live;
}

static void on_publish(evutil_socket_t fd, short events, void *context)
{
	struct health *health = context;

	(void)fd;
	(void)events;
	if (!change_follow_health(health->daemon))
		health_set_timer(health->publish, HEALTH_RAMP_MS * HEALTH_NS_PER_MS);
}

/* All services with a backend that came up a moment ago are published anew. */
static void on_ramp(evutil_socket_t fd, short events, void *context)
{
	struct health *health = context;
	uint64_t now = daemon_now_ns();
	bool is_any = false;

	(void)fd;
	(void)events;
	for (size_t i = 0; i < health->n_services; i++) {
		struct health_service *service = health->service[i];
		bool is_ramping = health_is_ramping(service, now);

		is_any |= is_ramping;
		if (is_ramping || (service->seen->check.slow_start_ms && service->applied &&
				   service->applied != service->seen))
			health_publish_soon(service);
	}
	if (is_any)
		health_set_timer(health->ramp, HEALTH_RAMP_MS * HEALTH_NS_PER_MS);
}

/* ---- what the dataplane remembers ---- */

void health_hear_dataplane(struct health *health, bool is_there)
{
	if (health)
		health->dataplane_ns = is_there ? daemon_now_ns() : 0;
}

static void recall_service(struct health_service *service, struct client *client)
{
	uint32_t n;
	struct wire_backend_counters_record *record =
		backend_records_fetch(client, service->seen, &n);

	for (uint32_t i = 0; i < service->n_targets; i++) {
		struct health_target *target = service->target[i];
		const struct wire_backend_counters_record *found =
			backend_records_find(record, n, &service->seen->backend[i].wire);

		if (found && !target->state.is_proven)
			health_state_recall(&target->state, found->health == WIRE_HEALTH_UP,
					    daemon_now_ns());
	}
	free(record);
	health_publish_soon(service);
}

void health_recall(struct health *health, struct client *client)
{
	for (size_t i = 0; health && i < health->n_services; i++) {
		struct health_service *service = health->service[i];
		bool is_new = false;

		for (uint32_t k = 0; k < service->n_targets; k++)
			is_new |= !service->target[k]->state.is_proven;
		if (is_new)
			recall_service(service, client);
	}
}

/* ---- telling ---- */

static enum health_word word_of(const struct health_target *target,
				const struct wire_backend *backend)
{
	if (!target || backend->state == WIRE_STATE_MAINT)
		return HEALTH_UNCHECKED;
	if (!target->state.is_proven || (target->state.is_up && target->is_blind))
		return HEALTH_UNKNOWN;
	return target->state.is_up ? HEALTH_UP : HEALTH_DOWN;
}

static bool is_used_though_down(const struct health_service *service,
				const struct desired_backend *backend)
{
	return service->choice.is_all_used && service->choice.role == backend->part.role &&
	       share_takes_flows(&backend->wire);
}

void health_look(const struct health *health, const struct desired_service *service,
		 const struct desired_backend *backend, struct health_view *view)
{
	const struct health_service *checked = find_service(health, service->wire.name);
	const struct health_target *target = health_find_target(checked, &backend->wire);

	*view = (struct health_view){
		.word = word_of(target, &backend->wire), .share = 100, .reason = ""};
	if (!target)
		return;
	view->is_panic = view->word == HEALTH_DOWN && is_used_though_down(checked, backend);
	view->share = health_share(target, &service->check, daemon_now_ns());
	view->since_ns = target->state.changed_ns;
	if (view->word == HEALTH_DOWN && target->state.held_until_ns > daemon_now_ns())
		view->held_until_ns = target->state.held_until_ns;
	view->took_ns = target->took_ns;
	view->n_checks = target->n_checks;
	view->n_failed = target->n_failed;
	view->reason = target->reason;
	view->hint = target->hint;
	view->n_hints = target->n_hints;
}

static void count_service(const struct health_service *service, struct health_totals *totals)
{
	totals->n_panics += service->choice.is_all_used;
	for (uint32_t k = 0; k < service->n_targets; k++) {
		enum health_word word =
			word_of(service->target[k], &service->seen->backend[k].wire);

		totals->n_backends += word != HEALTH_UNCHECKED;
		totals->n_up += word == HEALTH_UP;
		totals->n_down += word == HEALTH_DOWN;
		totals->n_unknown += word == HEALTH_UNKNOWN;
		totals->n_blind += word == HEALTH_UNKNOWN && service->target[k]->is_blind;
	}
}

void health_count(const struct health *health, struct health_totals *totals)
{
	*totals = (struct health_totals){0};
	if (!health)
		return;
	totals->n_running = prober_n_running(health->prober);
	totals->n_checks = health->n_checks;
	totals->n_failed = health->n_failed;
	totals->n_delayed = health->n_delayed;
	totals->n_hints = health->n_hints;
	for (size_t i = 0; i < health->n_services; i++)
		count_service(health->service[i], totals);
}

void health_count_service(const struct health *health, const char *name,
			  struct health_totals *totals)
{
	const struct health_service *service = find_service(health, name);

	*totals = (struct health_totals){0};
	if (service)
		count_service(service, totals);
}

/* ---- beginning and end ---- */

struct health *health_new(struct daemon *daemon, bool may_exec)
{
	struct health *health = calloc(1, sizeof(*health));

	if (!health)
		return NULL;
	health->daemon = daemon;
	if (getrandom(&health->random, sizeof(health->random), GRND_NONBLOCK) < 0 ||
	    !health->random)
		health->random = 1;
	health->prober = prober_new(daemon->base, may_exec);
	health->publish = evtimer_new(daemon->base, on_publish, health);
	health->ramp = evtimer_new(daemon->base, on_ramp, health);
	if (!health->prober || !health->publish || !health->ramp) {
		health_free(health);
		return NULL;
	}
	return health;
}

void health_free(struct health *health)
{
	if (!health)
		return;
	for (size_t i = 0; i < health->n_services; i++)
		service_free(health->service[i]);
	free(health->service);
	if (health->publish)
		event_free(health->publish);
	if (health->ramp)
		event_free(health->ramp);
	prober_free(health->prober);
	free(health);
}
