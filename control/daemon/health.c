/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* Services by name, their backends by address, as the desired state has them. See health.h. */
#include "control/daemon/health.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include <event2/event.h>

#include "control/client.h"
#include "control/daemon/change.h"
#include "control/daemon/daemon.h"
#include "control/daemon/desired.h"
#include "control/daemon/health_state.h"
#include "control/daemon/probe.h"
#include "control/daemon/text.h"
#include "log/log.h"

enum {
	FIRST_CHECK_MS = 1000, /* the first check of a backend is begun within, at most */
	WINDOW_MS = 10,
	STARTS_PER_WINDOW = 40, /* so at most 4,000 checks a second */
	PUBLISH_MS = 2,         /* what comes within is published together */
	RAMP_MS = 250,          /* between two steps of slow start */
};

static const uint64_t ms = 1000000;

/* A backend that is checked. */
struct target {
	struct health_service *service;
	struct probe_target at;
	struct health_state state;
	struct event *timer; /* when the next check is due; not pending while one runs */
	struct probe *probe;
	uint64_t started_ns, took_ns;
	uint64_t n_checks, n_failed;
	char reason[PROBE_MAX_REASON];
};

/* A service that says how its backends are checked. */
struct health_service {
	struct health *health;
	struct desired_service *seen; /* as it is followed; our reference */
	struct desired_service
		*applied; /* what the dataplane shall hold for seen; ours; NULL: to be made */
	bool is_panic;
	uint32_t n_targets;
	struct target **target; /* beside seen->backend */
};

struct health {
	struct daemon *daemon;
	struct prober *prober;
	struct event *publish, *ramp;
	struct health_service **service; /* sorted by name */
	size_t n_services;
	uint64_t random;
	uint64_t window_ns;
	uint32_t n_started; /* since window_ns */
	uint64_t n_checks, n_failed, n_delayed;
};

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

/* xorshift64*: for jitter alone. */
static uint32_t next_random(struct health *health)
{
	health->random ^= health->random >> 12;
	health->random ^= health->random << 25;
	health->random ^= health->random >> 27;
	return (uint32_t)((health->random * 2685821657736338717u) >> 32);
}

static void set_timer(struct event *timer, uint64_t delay_ns)
{
	const struct timeval delay = {.tv_sec = (time_t)(delay_ns / 1000000000),
				      .tv_usec = (suseconds_t)(delay_ns % 1000000000 / 1000)};

	(void)evtimer_add(timer, &delay);
}

static void publish_soon(struct health_service *service)
{
	struct event *publish = service->health->publish;

	desired_service_put(service->applied);
	service->applied = NULL;
	if (!evtimer_pending(publish, NULL))
		set_timer(publish, PUBLISH_MS * ms);
}

/* ---- checks ---- */

static const struct health_check *check_of(const struct target *target)
{
	return &target->service->seen->check;
}

static void say_change(const struct target *target, const char *what)
{
	const struct desired_service *service = target->service->seen;
	char address[WIRE_ADDRESS_TEXT];

	(void)wire_format_endpoint(&target->at.addr, target->at.port, target->at.family, address);
	if (target->state.is_up)
		log_info("service %s: backend %s: %s", service->wire.name, address, what);
	else
		log_warn("service %s: backend %s: %s: %s", service->wire.name, address, what,
			 target->reason);
}

static void on_result(void *context, bool is_good, const char *reason)
{
	struct target *target = context;
	struct health *health = target->service->health;
	uint64_t now = daemon_now_ns(), interval, passed = now - target->started_ns;
	enum health_change change;

	target->probe = NULL;
	target->took_ns = passed;
	target->n_checks++;
	target->n_failed += !is_good;
	health->n_checks++;
	health->n_failed += !is_good;
	(void)snprintf(target->reason, sizeof(target->reason), "%s", reason);
	change = health_state_take(&target->state, check_of(target), is_good, now);
	if (change != HEALTH_STAYED) {
		say_change(target, target->state.is_up ? "up" : "down");
		publish_soon(target->service);
	}
	if (change == HEALTH_CAME_UP && check_of(target)->slow_start_ms &&
	    !evtimer_pending(health->ramp, NULL))
		set_timer(health->ramp, RAMP_MS * ms);
	interval = health_state_interval_ns(&target->state, check_of(target), next_random(health));
	set_timer(target->timer, interval > passed ? interval - passed : 0);
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
	struct target *target = context;
	struct health *health = target->service->health;

	(void)fd;
	(void)events;
	if (has_room(health)) {
		target->started_ns = daemon_now_ns();
		target->probe = probe_start(health->prober, check_of(target), &target->at,
					    on_result, target);
	}
	if (target->probe)
		return;
	health->n_delayed++;
	set_timer(target->timer, WINDOW_MS * ms + (next_random(health) & 0xfffff));
}

/* ---- following ---- */

static void target_free(struct target *target)
{
	probe_cancel(target->probe);
	if (target->timer)
		event_free(target->timer);
	free(target);
}

static struct target *target_new(struct health_service *service, const struct wire_backend *backend)
{
	struct target *target = calloc(1, sizeof(*target));

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
static void target_arm(struct target *target, const struct wire_backend *backend, bool is_anew)
{
	struct health *health = target->service->health;
	uint32_t within_ms = check_of(target)->interval_ms;
	bool is_idle = !target->probe && !evtimer_pending(target->timer, NULL);

	if (backend->state == WIRE_STATE_MAINT) {
		probe_cancel(target->probe);
		target->probe = NULL;
		(void)evtimer_del(target->timer);
		health_state_init(&target->state);
		return;
	}
	if (!is_idle && !is_anew)
		return;
	probe_cancel(target->probe);
	target->probe = NULL;
	if (within_ms > FIRST_CHECK_MS)
		within_ms = FIRST_CHECK_MS;
	set_timer(target->timer, within_ms * ms * next_random(health) >> 32);
}

static int compare_target(const struct target *target, const struct wire_backend *backend)
{
	int order = memcmp(&target->at.addr, &backend->addr, sizeof(backend->addr));

	if (order)
		return order;
	return (int)sl_from_be16(target->at.port) - (int)sl_from_be16(backend->port);
}

static void free_targets(struct target **target, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		if (target[i])
			target_free(target[i]);
	free(target);
}

static void service_free(struct health_service *service)
{
	free_targets(service->target, service->n_targets);
	desired_service_put(service->seen);
	desired_service_put(service->applied);
	free(service);
}

/* Moves the targets of @seen's backends to @list, and makes those that are new. False: out of memory. */
static bool move_targets(struct health_service *service, const struct desired_service *seen,
			 struct target **list)
{
	uint32_t k = 0;

	for (uint32_t i = 0; i < seen->n_backends; i++) {
		const struct wire_backend *backend = &seen->backend[i];

		while (k < service->n_targets && compare_target(service->target[k], backend) < 0)
			k++;
		if (k < service->n_targets && compare_target(service->target[k], backend) == 0) {
			list[i] = service->target[k];
			service->target[k++] = NULL;
		} else {
			list[i] = target_new(service, backend);
		}
		if (!list[i])
			return false;
	}
	return true;
}

/* False: out of memory; then the service has no targets any more. */
static bool service_follow(struct health_service *service, struct desired_service *seen)
{
	struct target **old = service->target,
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
		target_arm(list[i], &seen->backend[i], is_anew);
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

/* Where the service called @name stands among those that are checked, or would stand. */
static size_t find_place(const struct health *health, const char *name, bool *is_there)
{
	size_t low = 0, high = health->n_services;

	*is_there = false;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = strcmp(name, health->service[middle]->seen->wire.name);

		if (order == 0) {
			*is_there = true;
			return middle;
		}
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

static struct health_service *find_service(const struct health *health, const char *name)
{
	bool is_there;
	size_t at = health ? find_place(health, name, &is_there) : 0;

	return health && is_there ? health->service[at] : NULL;
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

static bool takes_flows(const struct wire_backend *backend)
{
	return backend->state == WIRE_STATE_READY && backend->weight > 0;
}

static const struct target *find_target(const struct health_service *service,
					const struct wire_backend *backend)
{
	uint32_t low = 0, high = service ? service->n_targets : 0;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		int order = compare_target(service->target[middle], backend);

		if (order == 0)
			return service->target[middle];
		if (order > 0)
			high = middle;
		else
			low = middle + 1;
	}
	return NULL;
}

static bool is_down(const struct target *target)
{
	return target && !target->state.is_up;
}

/* Whether fewer of the backends that take flows are up than shall be. */
static bool is_panic(const struct health_service *service, const struct desired_service *to)
{
	uint32_t n = 0, n_up = 0;

	for (uint32_t i = 0; i < to->n_backends; i++) {
		if (!takes_flows(&to->backend[i]))
			continue;
		n++;
		n_up += !is_down(find_target(service, &to->backend[i]));
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
		log_info("service %s: enough of its backends are up again: those alone are used",
			 service->seen->wire.name);
}

static uint32_t share_of(const struct target *target, const struct health_check *check,
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
		uint32_t share = share_of(find_target(service, backend), &to->check, now_ns);
		uint32_t weight = (uint32_t)((uint64_t)backend->weight * scale * share / 100);

		backend->weight = weight || !backend->weight ? weight : 1;
	}
}

/* Whether the dataplane shall hold anything else for @to than it says. */
static bool has_news(const struct health_service *service, const struct desired_service *to,
		     uint64_t now_ns, bool *is_ramping)
{
	bool is_any_down = false;

	*is_ramping = false;
	for (uint32_t i = 0; i < to->n_backends; i++) {
		const struct target *target = find_target(service, &to->backend[i]);

		is_any_down |= is_down(target);
		*is_ramping |=
			takes_flows(&to->backend[i]) && share_of(target, &to->check, now_ns) < 100;
	}
	return is_any_down || *is_ramping;
}

/* @to with what is known of its backends; our caller's reference. NULL: out of memory. */
static struct desired_service *apply_service(struct health_service *service,
					     struct desired_service *to)
{
	uint64_t now = daemon_now_ns();
	bool is_ramping, is_all_used = is_panic(service, to);
	struct desired_service *applied;

	if (to == service->seen)
		note_panic(service, is_all_used);
	if (!has_news(service, to, now, &is_ramping)) {
		to->n_references++;
		return to;
	}
	applied = desired_service_copy(to);
	if (!applied)
		return NULL;
	for (uint32_t i = 0; i < to->n_backends; i++) {
		struct wire_backend *backend = &applied->backend[i];

		if (is_down(find_target(service, backend)) &&
		    !(is_all_used && takes_flows(backend)))
			backend->health = to->check.on_down == HEALTH_CHECK_KEEP
						  ? WIRE_HEALTH_DOWN_KEEP
						  : WIRE_HEALTH_DOWN;
	}
	if (is_ramping)
		apply_shares(service, applied, now);
	return applied;
}

/* The same, kept until something changes. */
static struct desired_service *apply_kept(struct health_service *service,
					  struct desired_service *to)
{
	if (to != service->seen)
		return apply_service(service, to);
	if (!service->applied)
		service->applied = apply_service(service, to);
	if (!service->applied)
		return NULL;
	service->applied->n_references++;
	return service->applied;
}

struct desired *health_apply(struct health *health, const struct desired *desired)
{
	struct desired *live = desired_clone(desired);

	for (size_t i = 0; live && health && i < live->n_services; i++) {
		struct health_service *service =
			is_checked(live->service[i])
				? find_service(health, live->service[i]->wire.name)
				: NULL;
		struct desired_service *applied;

		if (!service)
			continue;
		applied = apply_kept(service, live->service[i]);
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
		set_timer(health->publish, RAMP_MS * ms);
}

/* All services with a backend that came up a moment ago are published anew. */
static void on_ramp(evutil_socket_t fd, short events, void *context)
{
	struct health *health = context;
	uint64_t now = daemon_now_ns();
	bool is_any = false, is_ramping;

	(void)fd;
	(void)events;
	for (size_t i = 0; i < health->n_services; i++) {
		struct health_service *service = health->service[i];

		if (!service->seen->check.slow_start_ms)
			continue;
		(void)has_news(service, service->seen, now, &is_ramping);
		is_any |= is_ramping;
		if (is_ramping || (service->applied && service->applied != service->seen))
			publish_soon(service);
	}
	if (is_any)
		set_timer(health->ramp, RAMP_MS * ms);
}

/* ---- what the dataplane remembers ---- */

static void recall_service(struct health_service *service, struct client *client)
{
	static struct wire_backend_counters_record record[WIRE_MAX_RECORDS];
	uint32_t first = 0, next, n;

	do {
		if (client_backend_counters(client, &service->seen->wire.address, first, record, &n,
					    &next))
			return;
		for (uint32_t i = 0; i < n; i++) {
			struct wire_backend key = {.addr = record[i].addr, .port = record[i].port};
			struct target *target =
				(struct target *)(uintptr_t)find_target(service, &key);

			if (target && !target->state.is_proven)
				health_state_recall(&target->state,
						    record[i].health == WIRE_HEALTH_UP,
						    daemon_now_ns());
		}
		if (next <= first)
			break;
		first = next;
	} while (n > 0);
	publish_soon(service);
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

static enum health_word word_of(const struct target *target, const struct wire_backend *backend)
{
	if (!target || backend->state == WIRE_STATE_MAINT)
		return HEALTH_UNCHECKED;
	if (!target->state.is_proven)
		return HEALTH_UNKNOWN;
	return target->state.is_up ? HEALTH_UP : HEALTH_DOWN;
}

void health_look(const struct health *health, const struct desired_service *service,
		 const struct wire_backend *backend, struct health_view *view)
{
	const struct health_service *checked = find_service(health, service->wire.name);
	const struct target *target = find_target(checked, backend);

	*view = (struct health_view){.word = word_of(target, backend), .share = 100, .reason = ""};
	if (!target)
		return;
	view->is_panic = checked->is_panic && view->word == HEALTH_DOWN && takes_flows(backend);
	view->share = share_of(target, &service->check, daemon_now_ns());
	view->since_ns = target->state.changed_ns;
	if (view->word == HEALTH_DOWN && target->state.held_until_ns > daemon_now_ns())
		view->held_until_ns = target->state.held_until_ns;
	view->took_ns = target->took_ns;
	view->n_checks = target->n_checks;
	view->n_failed = target->n_failed;
	view->reason = target->reason;
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
	for (size_t i = 0; i < health->n_services; i++) {
		const struct health_service *service = health->service[i];

		totals->n_panics += service->is_panic;
		for (uint32_t k = 0; k < service->n_targets; k++) {
			enum health_word word =
				word_of(service->target[k], &service->seen->backend[k]);

			totals->n_backends += word != HEALTH_UNCHECKED;
			totals->n_up += word == HEALTH_UP;
			totals->n_down += word == HEALTH_DOWN;
			totals->n_unknown += word == HEALTH_UNKNOWN;
		}
	}
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
