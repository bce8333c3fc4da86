/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
#include "control/daemon/counters_json.h"

#include <stdlib.h>
#include <string.h>

#include "control/client.h"
#include "control/daemon/backend_records.h"
#include "control/daemon/daemon.h"
#include "control/daemon/desired.h"
#include "control/daemon/health.h"
#include "control/daemon/reconcile.h"
#include "control/daemon/service_json.h"
#include "control/daemon/share_overlay.h"
#include "control/daemon/text.h"
#include "control/rpc.h"

json_t *counters_of_service(const struct wire_service_counters_reply *counters)
{
	json_t *object = json_object();

#define X(name, unit, help)                                                                        \
	json_object_set_new(object, #name, json_integer((json_int_t)counters->name));
	SL_SERVICE_COUNTER_LIST(X)
#undef X
	return object;
}

static json_t *counters_of_backend(const struct wire_backend_counters_record *record)
{
	json_t *object = json_object();

#define X(name, unit, help)                                                                        \
	json_object_set_new(object, #name, json_integer((json_int_t)record->name));
	SL_BACKEND_COUNTER_LIST(X)
#undef X
	json_object_set_new(object, "flows_open", json_integer((json_int_t)record->flows_open));
	return object;
}

json_t *counters_of_worker(const struct wire_counters_reply *counters)
{
	json_t *verdicts = json_object();
	json_t *events = json_object();

#define X(upper, lower, help)                                                                      \
	json_object_set_new(verdicts, #lower,                                                      \
			    json_integer((json_int_t)counters->verdict[SL_VERDICT_##upper]));
	SL_VERDICT_LIST(X)
#undef X
#define X(upper, lower, unit, help)                                                                \
	json_object_set_new(events, #lower,                                                        \
			    json_integer((json_int_t)counters->event[SL_EVENT_##upper]));
	SL_EVENT_LIST(X)
#undef X
	return json_pack("{s:o, s:o}", "verdicts", verdicts, "events", events);
}

/* The source addresses of a fullnat service: how many of each one's ports lead to this backend. */
static json_t *sources_of_backend(const struct wire_service *service,
				  const struct wire_backend_counters_record *record)
{
	json_int_t n_ports = service->source_port_last - service->source_port_first + 1;
	json_t *list = json_array();

	for (uint32_t i = 0; i < service->n_sources; i++) {
		char text[WIRE_ADDRESS_TEXT];

		text_addr(&service->source[i], service->address.family, text);
		json_array_append_new(list, json_pack("{s:s, s:I, s:I}", "address", text, "flows",
						      (json_int_t)record->source_flows[i], "ports",
						      n_ports));
	}
	return list;
}

/* The last hint, of hints in a row the first; "probed_seconds": how long after it a check began. */
static json_t *hint_to_json(const struct health_hint *hint)
{
	json_t *object =
		json_pack("{s:I, s:I, s:f, s:f}", "failed", (json_int_t)hint->window.n_failed,
			  "openings", (json_int_t)hint->window.n_openings, "seconds",
			  (double)hint->window.length_ns / 1e9, "ago_seconds",
			  (double)(daemon_now_ns() - hint->at_ns) / 1e9);

	if (hint->probed_ns)
		json_object_set_new(object, "probed_seconds",
				    json_real((double)(hint->probed_ns - hint->at_ns) / 1e9));
	return object;
}

static void add_health(json_t *entry, const struct daemon *daemon,
		       const struct desired_service *service, const struct desired_backend *backend)
{
	struct health_view view;

	health_look(daemon->health, service, backend, &view);
	json_object_set_new(entry, "health", json_string(health_word_name(view.word)));
	if (view.word == HEALTH_UNCHECKED)
		return;
	json_object_set_new(entry, "check",
			    json_pack("{s:s, s:I, s:I, s:f, s:I, s:b, s:I}", "reason", view.reason,
				      "checks", (json_int_t)view.n_checks, "failed",
				      (json_int_t)view.n_failed, "took_seconds",
				      (double)view.took_ns / 1e9, "weight_percent",
				      (json_int_t)view.share, "panic", (int)view.is_panic, "hints",
				      (json_int_t)view.n_hints));
	if (view.hint.at_ns)
		json_object_set_new(json_object_get(entry, "check"), "hint",
				    hint_to_json(&view.hint));
	if (view.held_until_ns)
		json_object_set_new(
			json_object_get(entry, "check"), "held_seconds",
			json_real((double)(view.held_until_ns - daemon_now_ns()) / 1e9));
	if (view.since_ns)
		json_object_set_new(
			entry, "health_seconds",
			json_integer((json_int_t)((daemon_now_ns() - view.since_ns) / 1000000000)));
}

static void add_record(json_t *entry, const struct desired_service *service,
		       const struct wire_backend_counters_record *record)
{
	double share = service->wire.n_slots ? (double)record->n_slots / service->wire.n_slots : 0;

	json_object_set_new(entry, "slots", json_integer(record->n_slots));
	json_object_set_new(entry, "share", json_real(share));
	json_object_set_new(entry, "neighbour", json_boolean(record->has_neighbour));
	if (service->wire.n_sources)
		json_object_set_new(entry, "sources", sources_of_backend(&service->wire, record));
	json_object_set_new(entry, "counters", counters_of_backend(record));
}

json_t *counters_of_sources(const struct daemon *daemon, const struct desired_service *service)
{
	struct client *client = reconcile_client(daemon->reconcile);
	struct wire_backend_counters_record *records = NULL;
	uint32_t n_records = 0;
	json_t *list;

	if (client)
		records = backend_records_fetch(client, service, &n_records);
	list = n_records ? sources_of_backend(&service->wire, &records[0]) : NULL;
	free(records);
	return list;
}

/* @record: NULL, or what the dataplane says of the backend. @live: the service as the dataplane shall hold it. */
static json_t *backend_entry(const struct daemon *daemon, const struct desired_service *service,
			     const struct desired_service *live,
			     const struct desired_backend *backend,
			     const struct wire_backend_counters_record *record)
{
	json_t *entry = backend_to_json(backend);

	json_object_set_new(entry, "service", json_string(service->wire.name));
	json_object_set_new(entry, "role", json_string(share_role_name(backend->part.role)));
	json_object_set_new(entry, "in_use", json_boolean(share_is_in_use(live, &backend->wire)));
	add_health(entry, daemon, service, backend);
	if (record)
		add_record(entry, service, record);
	return entry;
}

/* Hands @take an entry for each backend of @service. */
static void visit_backends(const struct daemon *daemon, const struct desired_service *service,
			   void (*take)(void *context, json_t *entry), void *context)
{
	struct client *client = reconcile_client(daemon->reconcile);
	struct wire_backend_counters_record *records = NULL;
	const struct desired_service *live = desired_find(daemon_live(daemon), service->wire.name);
	uint32_t n_records = 0;

	if (client)
		records = backend_records_fetch(client, service, &n_records);
	for (uint32_t i = 0; i < service->n_backends; i++) {
		const struct desired_backend *backend = &service->backend[i];

		take(context,
		     backend_entry(daemon, service, live, backend,
				   backend_records_find(records, n_records, &backend->wire)));
	}
	free(records);
}

static void append_entry(void *list, json_t *entry)
{
	json_array_append_new(list, entry);
}

json_t *counters_of_backends(const struct daemon *daemon, const struct desired_service *service)
{
	json_t *list = json_array();

	visit_backends(daemon, service, append_entry, list);
	return list;
}

static void list_entry(void *list, json_t *entry)
{
	rpc_list_add(list, entry);
}

void counters_list_backends(const struct daemon *daemon, const struct desired_service *service,
			    struct rpc_list *list)
{
	visit_backends(daemon, service, list_entry, list);
}
