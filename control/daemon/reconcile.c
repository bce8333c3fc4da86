/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * States: DOWN (a timer waits to try again), GREETING (connected, the answer to HELLO is awaited),
 * UP. What ends a connection is seen in one place, on_readable(): client.c shuts a broken socket
 * down and the event loop then finds it readable.
 */
#include "control/daemon/reconcile.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>

#include "control/client.h"
#include "control/daemon/change.h"
#include "control/daemon/daemon.h"
#include "control/daemon/desired.h"
#include "control/daemon/diff.h"
#include "control/daemon/events.h"
#include "control/daemon/health.h"
#include "control/daemon/plan.h"
#include "log/log.h"

enum {
	FIRST_RETRY_MS = 50,
	LAST_RETRY_MS = 1000,
	GREETING_TIMEOUT_MS = 2000,
};

struct reconcile {
	struct daemon *daemon;
	char *path;
	struct client *client; /* NULL: DOWN */
	bool is_up;            /* greeted */
	bool is_synced;
	bool is_refused;     /* the dataplane refuses the state, and that has been told */
	uint64_t generation; /* the dataplane's */
	uint64_t away_ns;    /* CLOCK_MONOTONIC, since when it is not UP; not read while it is */
	unsigned retry_ms;
	char reason[SL_MAX_ERROR];
	struct event *timer;    /* DOWN: connect; UP and not synced: push again */
	struct event *readable; /* of the client's descriptor */
};

static void start_timer(struct reconcile *reconcile, unsigned ms)
{
	struct timeval delay = {.tv_sec = ms / 1000, .tv_usec = (suseconds_t)(ms % 1000) * 1000};

	if (reconcile->timer)
		(void)event_add(reconcile->timer, &delay);
}

/* Logs on change of the reason alone: what repeats every second is said once. */
static void set_reason(struct reconcile *reconcile, const char *reason)
{
	if (strcmp(reconcile->reason, reason) == 0)
		return;
	(void)snprintf(reconcile->reason, sizeof(reconcile->reason), "%s", reason);
	if (reason[0])
		log_warn("%s: %s", reconcile->path, reconcile->reason);
}

static void go_down(struct reconcile *reconcile, const char *reason)
{
	if (reconcile->readable) {
		(void)event_del(reconcile->readable);
		event_free(reconcile->readable);
		reconcile->readable = NULL;
	}
	if (reconcile->is_up) {
		events_add(reconcile->daemon->events, EVENT_DATAPLANE_LOST,
			   json_pack("{s:s}", "reason", reason));
		health_hear_dataplane(reconcile->daemon->health, false);
		reconcile->away_ns = daemon_now_ns();
	}
	client_free(reconcile->client);
	reconcile->client = NULL;
	reconcile->is_up = false;
	reconcile->is_refused = false;
	reconcile->is_synced = false;
	reconcile->generation = 0;
	set_reason(reconcile, reason);
	start_timer(reconcile, reconcile->retry_ms);
	reconcile->retry_ms =
		reconcile->retry_ms * 2 < LAST_RETRY_MS ? reconcile->retry_ms * 2 : LAST_RETRY_MS;
}

static int send_records(struct client *client, const struct diff_delta *delta)
{
	int status = 0;

	for (size_t i = 0; !status && i < delta->n_deleted_services; i++)
		status = client_service_delete(client, &delta->deleted_service[i]);
	for (size_t i = 0; !status && i < delta->n_deleted_backends; i++)
		status = client_backend_delete(client, &delta->deleted_backend[i]);
	if (!status)
		status = client_services(client, delta->service, delta->n_services);
	if (!status)
		status = client_backends(client, delta->backend, delta->n_backends);
	if (!status)
		status = client_listed(client, delta->listed, delta->n_listed);
	return status;
}

/* One transaction; @old NULL: the full state. The refusal's text stays in client_error(). */
static int transact(struct reconcile *reconcile, const struct desired *old,
		    const struct reconcile_change *change)
{
	struct client *client = reconcile->client;
	struct wire_commit_reply reply;
	struct diff_delta delta;
	char text[SL_MAX_ERROR];
	int status = diff_delta(old, change->desired, &delta);

	if (status)
		return status;
	status = client_begin(client, change->generation, old ? reconcile->generation : 0,
			      &change->hash_key);
	if (!status)
		status = send_records(client, &delta);
	if (!status && change->plan)
		status = plan_read(client, change->plan);
	else if (!status)
		status = client_commit(client, change->is_dry_run, &reply);
	diff_delta_fini(&delta);
	if (status && status != -ENOTCONN) {
		(void)snprintf(text, sizeof(text), "%s",
			       client_error(client)[0] ? client_error(client) : strerror(-status));
		(void)!client_abort(client); /* may be ended already; then it says so */
		set_reason(reconcile, text);
		return status;
	}
	if (!status && !change->is_dry_run)
		reconcile->generation = reply.generation;
	return status;
}

static void set_synced(struct reconcile *reconcile)
{
	if (!reconcile->is_synced) {
		log_info("%s: in step at generation %" PRIu64, reconcile->path,
			 reconcile->generation);
		events_add(reconcile->daemon->events, EVENT_DATAPLANE_IN_STEP,
			   json_pack("{s:I}", "generation", (json_int_t)reconcile->generation));
	}
	reconcile->is_synced = true;
	reconcile->is_refused = false;
	reconcile->retry_ms = FIRST_RETRY_MS;
	reconcile->reason[0] = '\0';
	if (reconcile->timer)
		(void)event_del(reconcile->timer);
}

/* Once, though it is tried again and again. */
static void tell_out_of_step(struct reconcile *reconcile, const char *reason)
{
	if (!reconcile->is_refused)
		events_add(reconcile->daemon->events, EVENT_DATAPLANE_OUT_OF_STEP,
			   json_pack("{s:s}", "reason", reason));
	reconcile->is_refused = true;
}

/* Pushes the daemon's whole state. */
static void push(struct reconcile *reconcile)
{
	struct daemon *daemon = reconcile->daemon;
	struct reconcile_change change = {
		.desired = daemon_live(daemon),
		.hash_key = daemon->hash_key,
		.generation = daemon->generation,
	};
	int status;

	if (change.generation <= reconcile->generation)
		change.generation = reconcile->generation + 1;
	status = transact(reconcile, NULL, &change);
	if (status == -ENOTCONN)
		return; /* on_readable sees it */
	if (status) {
		tell_out_of_step(reconcile, reconcile->reason);
		start_timer(reconcile, LAST_RETRY_MS);
		return;
	}
	log_info("%s: pushed %zu services and %zu backends", reconcile->path,
		 daemon->desired->n_services, daemon->desired->n_backends);
	set_synced(reconcile);
	change_adopt_generation(daemon, reconcile->generation);
}

static void compare(struct reconcile *reconcile)
{
	const struct wire_hello_reply *hello = client_hello(reconcile->client);
	struct daemon *daemon = reconcile->daemon;
	uint64_t digest;

	reconcile->generation = hello->generation;
	reconcile->is_up = true;
	health_hear_dataplane(daemon->health, true);
	log_info("%s: engine %s, version %s, pid %u, generation %" PRIu64, reconcile->path,
		 hello->engine, hello->program_version, hello->pid, hello->generation);
	events_add(daemon->events, EVENT_DATAPLANE_CONNECTED,
		   json_pack("{s:s, s:s, s:I, s:I}", "engine", hello->engine, "version",
			     hello->program_version, "pid", (json_int_t)hello->pid, "generation",
			     (json_int_t)hello->generation));
	if (hello->generation != 0)
		change_recall_health(daemon);
	digest = desired_digest(daemon_live(daemon), &daemon->hash_key);
	if (hello->generation == 0 || hello->digest != digest) {
		push(reconcile);
		return;
	}
	set_synced(reconcile);
	change_adopt_generation(daemon, hello->generation);
}

static void on_readable(evutil_socket_t fd, short events, void *context)
{
	struct reconcile *reconcile = context;
	char reason[SL_MAX_ERROR];

	(void)fd;
	if (!reconcile->is_up && (events & EV_TIMEOUT)) {
		go_down(reconcile, "no answer to the greeting");
		return;
	}
	if (!reconcile->is_up && client_greet(reconcile->client) == 0) {
		(void)event_add(reconcile->readable, NULL); /* no timeout any more */
		compare(reconcile);
		return;
	}
	if (reconcile->is_up && client_is_alive(reconcile->client))
		return;
	(void)snprintf(reason, sizeof(reason), "%s", client_error(reconcile->client));
	go_down(reconcile, reason);
}

static void connect_dataplane(struct reconcile *reconcile)
{
	const struct timeval limit = {.tv_sec = GREETING_TIMEOUT_MS / 1000};
	char error[SL_MAX_ERROR];

	if (client_open(reconcile->path, &reconcile->client, error)) {
		reconcile->client = NULL;
		go_down(reconcile, error);
		return;
	}
	reconcile->readable = event_new(reconcile->daemon->base, client_fd(reconcile->client),
					EV_READ | EV_PERSIST, on_readable, reconcile);
	if (!reconcile->readable || event_add(reconcile->readable, &limit))
		go_down(reconcile, "out of memory");
}

static void on_timer(evutil_socket_t fd, short events, void *context)
{
	struct reconcile *reconcile = context;

	(void)fd;
	(void)events;
	if (!reconcile->client)
		connect_dataplane(reconcile);
	else if (reconcile->is_up && !reconcile->is_synced)
		push(reconcile);
}

struct reconcile *reconcile_new(struct daemon *daemon, const char *socket_path)
{
	struct reconcile *reconcile = calloc(1, sizeof(*reconcile));

	if (!reconcile)
		return NULL;
	reconcile->daemon = daemon;
	reconcile->retry_ms = FIRST_RETRY_MS;
	reconcile->away_ns = daemon_now_ns();
	reconcile->path = strdup(socket_path);
	reconcile->timer = event_new(daemon->base, -1, 0, on_timer, reconcile);
	if (!reconcile->path || !reconcile->timer) {
		reconcile_free(reconcile);
		return NULL;
	}
	return reconcile;
}

void reconcile_start(struct reconcile *reconcile)
{
	start_timer(reconcile, 0);
}

void reconcile_free(struct reconcile *reconcile)
{
	if (!reconcile)
		return;
	if (reconcile->readable)
		event_free(reconcile->readable);
	if (reconcile->timer)
		event_free(reconcile->timer);
	client_free(reconcile->client);
	free(reconcile->path);
	free(reconcile);
}

struct client *reconcile_client(const struct reconcile *reconcile)
{
	return reconcile && reconcile->is_up ? reconcile->client : NULL;
}

uint64_t reconcile_away_ns(const struct reconcile *reconcile)
{
	return !reconcile || reconcile->is_up ? 0 : reconcile->away_ns;
}

bool reconcile_is_synced(const struct reconcile *reconcile)
{
	return reconcile && reconcile->is_synced;
}

void reconcile_mark_stale(struct reconcile *reconcile)
{
	if (reconcile->is_up)
		tell_out_of_step(reconcile, "the dataplane may hold another state");
	reconcile->is_synced = false;
	if (reconcile->is_up)
		start_timer(reconcile, FIRST_RETRY_MS);
}

uint64_t reconcile_generation(const struct reconcile *reconcile)
{
	return reconcile ? reconcile->generation : 0;
}

uint64_t reconcile_next_generation(const struct reconcile *reconcile)
{
	uint64_t own = reconcile->daemon->generation;

	return (own > reconcile->generation ? own : reconcile->generation) + 1;
}

const char *reconcile_reason(const struct reconcile *reconcile)
{
	return reconcile ? reconcile->reason : "there is no dataplane";
}

static bool is_same_key(const struct sl_hash_key *a, const struct sl_hash_key *b)
{
	return a->word[0] == b->word[0] && a->word[1] == b->word[1];
}

int reconcile_commit(struct reconcile *reconcile, const struct reconcile_change *change,
		     bool *is_applied, struct rpc_error *error)
{
	const struct daemon *daemon = reconcile->daemon;
	bool is_delta = reconcile->is_synced && is_same_key(&change->hash_key, &daemon->hash_key);
	int status;

	*is_applied = false;
	if (!reconcile->is_up || !client_is_alive(reconcile->client))
		return RPC_OK;
	status = transact(reconcile, is_delta ? daemon_live(daemon) : NULL, change);
	if (status == -ESTALE && is_delta)
		status = transact(reconcile, NULL, change);
	if (status == -ENOTCONN) {
		reconcile->is_synced = false;
		return RPC_OK;
	}
	if (status) {
		rpc_error_set(error, RPC_REFUSED, NULL, "dataplane: %s", reconcile->reason);
		if (reconcile->is_synced)
			reconcile->reason[0] = '\0'; /* it holds what it held */
		return RPC_REFUSED;
	}
	*is_applied = true;
	if (!change->is_dry_run)
		set_synced(reconcile);
	return RPC_OK;
}
