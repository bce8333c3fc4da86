/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
#include "control/daemon/page_json.h"

#include <stdlib.h>
#include <unistd.h>

#include "control/client.h"
#include "control/daemon/counters_json.h"
#include "control/daemon/daemon.h"
#include "control/daemon/desired.h"
#include "control/daemon/health.h"
#include "control/daemon/reconcile.h"
#include "control/daemon/status_json.h"
#include "wire/wire_abi.h"

static json_t *clock_to_json(void)
{
	return json_integer((json_int_t)(daemon_now_ns() / 1000));
}

static json_t *host_to_json(void)
{
	char host[256] = "";

	(void)gethostname(host, sizeof(host) - 1);
	return json_string(host);
}

/* Where the configuration is, and what it hashes to, is nobody's business here. */
static json_t *shown_status(const struct daemon *daemon)
{
	json_t *status = status_to_json(daemon);

	(void)json_object_del(status, "config_file");
	(void)json_object_del(status, "digest");
	(void)json_object_del(status, "dataplane_digest");
	return status;
}

static json_t *all_counters(struct client *client)
{
	struct wire_counters_reply reply;

	if (!client || client_counters(client, WIRE_ALL_WORKERS, &reply))
		return json_null();
	return counters_of_worker(&reply);
}

static json_t *service_counters(struct client *client, const struct desired_service *service)
{
	struct wire_service_counters_reply reply;

	if (!client || client_service_counters(client, &service->wire.address, &reply))
		return json_null();
	return counters_of_service(&reply);
}

/* A backend counts once: what the operator said of it last, unless it is down. */
static json_t *backend_states(const struct daemon *daemon, const struct desired_service *service,
			      bool *is_panic)
{
	int n_of[HEALTH_DOWN + 1] = {0}, n_maint = 0, n_drain = 0;

	*is_panic = false;
	for (uint32_t i = 0; i < service->n_backends; i++) {
		const struct desired_backend *backend = &service->backend[i];
		struct health_view view;

		health_look(daemon->health, service, backend, &view);
		*is_panic |= view.is_panic;
		if (backend->wire.state == WIRE_STATE_MAINT)
			n_maint++;
		else if (backend->wire.state == WIRE_STATE_DRAIN && view.word != HEALTH_DOWN)
			n_drain++;
		else
			n_of[view.word]++;
	}
	return json_pack("{s:i, s:i, s:i, s:i, s:i, s:i}", "up", n_of[HEALTH_UP], "down",
			 n_of[HEALTH_DOWN], "unknown", n_of[HEALTH_UNKNOWN], "unchecked",
			 n_of[HEALTH_UNCHECKED], "drain", n_drain, "maint", n_maint);
}

static json_t *service_to_page(const struct daemon *daemon, struct client *client,
			       const struct desired_service *service, bool has_backends)
{
	const struct wire_service *wire = &service->wire;
	char address[WIRE_ADDRESS_TEXT];
	bool is_panic;
	json_t *states = backend_states(daemon, service, &is_panic);
	json_t *object = json_pack(
		"{s:s, s:s, s:s, s:s, s:s, s:o, s:o, s:b}", "name", wire->name, "address",
		wire_format_address(&wire->address, address), "mode", wire_mode_name(wire->mode),
		"scheduler", wire_scheduler_name(wire->scheduler), "owner",
		desired_owner_name(service->owner), "counters", service_counters(client, service),
		"backend_states", states, "panic", (int)is_panic);

	if (has_backends)
		(void)json_object_set_new(object, "backends",
					  counters_of_backends(daemon, service));
	return object;
}

json_t *page_to_json(const struct daemon *daemon)
{
	const struct desired *desired = daemon->desired;
	struct client *client = reconcile_client(daemon->reconcile);
	bool has_backends = desired->n_backends <= PAGE_MAX_BACKENDS;
	json_t *services = json_array();

	for (size_t i = 0; i < desired->n_services; i++)
		(void)json_array_append_new(
			services,
			service_to_page(daemon, client, desired->service[i], has_backends));
	return json_pack("{s:o, s:o, s:o, s:o, s:b, s:o}", "host", host_to_json(), "clock_us",
			 clock_to_json(), "status", shown_status(daemon), "counters",
			 all_counters(client), "has_backends", (int)has_backends, "services",
			 services);
}

json_t *page_backends_to_json(const struct daemon *daemon, const struct desired_service *service)
{
	return json_pack("{s:o, s:s, s:o}", "clock_us", clock_to_json(), "service",
			 service->wire.name, "backends", counters_of_backends(daemon, service));
}
