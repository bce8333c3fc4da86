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
#include "control/json_writer.h"

json_t *counters_of_service(const struct wire_service_counters_reply *counters)
{
	json_t *object = json_object();

#define X(name, unit, help)                                                                        \
	json_object_set_new(object, #name, json_integer((json_int_t)counters->name));
	SL_SERVICE_COUNTER_LIST(X)
#undef X
	return object;
}

static void write_counters(struct json_writer *out,
			   const struct wire_backend_counters_record *record)
{
	json_writer_open(out, "counters", '{');
#define X(name, unit, help) json_writer_integer(out, #name, (int64_t)record->name);
	SL_BACKEND_COUNTER_LIST(X)
#undef X
	json_writer_integer(out, "flows_open", (int64_t)record->flows_open);
	json_writer_close(out, '}');
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
static void write_hint(struct json_writer *out, const struct health_hint *hint)
{
	json_writer_open(out, "hint", '{');
	json_writer_integer(out, "failed", (int64_t)hint->window.n_failed);
	json_writer_integer(out, "openings", (int64_t)hint->window.n_openings);
	json_writer_real(out, "seconds", (double)hint->window.length_ns / 1e9);
	json_writer_real(out, "ago_seconds", (double)(daemon_now_ns() - hint->at_ns) / 1e9);
	if (hint->probed_ns)
		json_writer_real(out, "probed_seconds",
				 (double)(hint->probed_ns - hint->at_ns) / 1e9);
	json_writer_close(out, '}');
}

static void write_check(struct json_writer *out, const struct health_view *view)
{
	json_writer_open(out, "check", '{');
	json_writer_string(out, "reason", view->reason);
	json_writer_integer(out, "checks", (int64_t)view->n_checks);
	json_writer_integer(out, "failed", (int64_t)view->n_failed);
	json_writer_real(out, "took_seconds", (double)view->took_ns / 1e9);
	json_writer_integer(out, "weight_percent", view->share);
	json_writer_boolean(out, "panic", view->is_panic);
	json_writer_integer(out, "hints", (int64_t)view->n_hints);
	if (view->hint.at_ns)
		write_hint(out, &view->hint);
	if (view->held_until_ns)
		json_writer_real(out, "held_seconds",
				 (double)(view->held_until_ns - daemon_now_ns()) / 1e9);
	json_writer_close(out, '}');
}

static void write_health(struct json_writer *out, const struct daemon *daemon,
			 const struct desired_service *service,
			 const struct desired_backend *backend)
{
	struct health_view view;

	health_look(daemon->health, service, backend, &view);
	json_writer_string(out, "health", health_word_name(view.word));
	if (view.word == HEALTH_UNCHECKED)
		return;
	write_check(out, &view);
	if (view.since_ns)
		json_writer_integer(out, "health_seconds",
				    (int64_t)((daemon_now_ns() - view.since_ns) / 1000000000));
}

static void write_record(struct json_writer *out, const struct desired_service *service,
			 const struct wire_backend_counters_record *record)
{
	double share = service->wire.n_slots ? (double)record->n_slots / service->wire.n_slots : 0;

	json_writer_integer(out, "slots", record->n_slots);
	json_writer_real(out, "share", share);
	json_writer_boolean(out, "neighbour", record->has_neighbour);
	if (service->wire.n_sources) {
		json_t *sources = sources_of_backend(&service->wire, record);

		json_writer_value(out, "sources", sources);
		json_decref(sources);
	}
	write_counters(out, record);
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
static void write_backend(struct json_writer *out, const struct daemon *daemon,
			  const struct desired_service *service, const struct desired_service *live,
			  const struct desired_backend *backend,
			  const struct wire_backend_counters_record *record)
{
	json_writer_open(out, NULL, '{');
	backend_write_members(out, backend);
	json_writer_string(out, "service", service->wire.name);
	json_writer_string(out, "role", share_role_name(backend->part.role));
	json_writer_boolean(out, "in_use", share_is_in_use(live, &backend->wire));
	write_health(out, daemon, service, backend);
	if (record)
		write_record(out, service, record);
	json_writer_close(out, '}');
}

void counters_write_backends(const struct daemon *daemon, const struct desired_service *service,
			     struct json_writer *out)
{
	struct client *client = reconcile_client(daemon->reconcile);
	struct wire_backend_counters_record *records = NULL;
	const struct desired_service *live = desired_find(daemon_live(daemon), service->wire.name);
	uint32_t n_records = 0;

	if (client)
		records = backend_records_fetch(client, service, &n_records);
	for (uint32_t i = 0; i < service->n_backends; i++) {
		const struct desired_backend *backend = &service->backend[i];

		write_backend(out, daemon, service, live, backend,
			      backend_records_find(records, n_records, &backend->wire));
	}
	free(records);
}

json_t *counters_of_backends(const struct daemon *daemon, const struct desired_service *service)
{
	struct json_writer out = {0};

	json_writer_open(&out, NULL, '[');
	counters_write_backends(daemon, service, &out);
	json_writer_close(&out, ']');
	return json_writer_load(&out);
}
