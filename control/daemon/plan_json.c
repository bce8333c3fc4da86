/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* See plan_json.h. */
#include "control/daemon/plan_json.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "control/daemon/plan.h"
#include "control/json_writer.h"
#include "wire/wire_abi.h"

enum {
	WARNING_SIZE = 384,
};

static const char *change_name(uint8_t change)
{
	switch ((enum wire_plan_change)change) {
	case WIRE_PLAN_SAME:
		return "same";
	case WIRE_PLAN_ADD:
		return "add";
	case WIRE_PLAN_DELETE:
		return "delete";
	case WIRE_PLAN_SET:
		return "set";
	}
	return "unknown";
}

json_t *plan_totals_json(const struct plan *plan)
{
	const struct wire_plan_reply *totals = &plan->totals;
	uint64_t n_slots = 0, n_moved = 0;

	for (uint32_t i = 0; i < plan->n_services; i++) {
		n_slots += plan->service[i].slots_after;
		n_moved += plan->service[i].slots_moved;
	}
	return json_pack(
		"{s:{s:I, s:I, s:I, s:I}, s:b, s:{s:I, s:I}, s:{s:I, s:I}, s:I, s:I, s:b}", "flows",
		"stay", (json_int_t)plan->flows.stay, "reset", (json_int_t)plan->flows.reset,
		"move", (json_int_t)plan->flows.move, "off_pool", (json_int_t)plan->flows.off_pool,
		"counted", plan->is_counted, "slots", "after", (json_int_t)n_slots, "moved",
		(json_int_t)n_moved, "memory", "now", (json_int_t)totals->memory_now, "after",
		(json_int_t)totals->memory_after, "tables_built",
		(json_int_t)totals->n_tables_built, "build_us",
		(json_int_t)(totals->duration_ns / 1000), "new_hash_key", (int)totals->is_new_key);
}

static void write_fates(struct json_writer *out, const struct wire_plan_fates *fates)
{
	json_writer_open(out, "flows", '{');
	json_writer_integer(out, "stay", (int64_t)fates->stay);
	json_writer_integer(out, "reset", (int64_t)fates->reset);
	json_writer_integer(out, "move", (int64_t)fates->move);
	json_writer_integer(out, "off_pool", (int64_t)fates->off_pool);
	json_writer_close(out, '}');
}

static void write_backend(struct json_writer *out, const struct wire_plan_backend *backend,
			  uint8_t family)
{
	char address[WIRE_ADDRESS_TEXT];

	wire_format_endpoint(&backend->addr, backend->port, family, address);
	json_writer_open(out, NULL, '{');
	json_writer_string(out, "address", address);
	json_writer_string(out, "change", change_name(backend->change));
	json_writer_open(out, "slots", '{');
	json_writer_integer(out, "now", backend->slots_now);
	json_writer_integer(out, "after", backend->slots_after);
	json_writer_integer(out, "left", backend->slots_left);
	json_writer_integer(out, "came", backend->slots_came);
	json_writer_close(out, '}');
	write_fates(out, &backend->flows);
	json_writer_close(out, '}');
}

/* @backend: the first of the service's. */
static void write_service(struct json_writer *out, const struct wire_plan_service *service,
			  const struct wire_plan_backend *backend)
{
	char address[WIRE_ADDRESS_TEXT];

	json_writer_open(out, NULL, '{');
	json_writer_string(out, "name", service->name);
	json_writer_string(out, "address", wire_format_address(&service->address, address));
	json_writer_string(out, "mode", wire_mode_name(service->mode));
	json_writer_string(out, "change", change_name(service->change));
	json_writer_open(out, "slots", '{');
	json_writer_integer(out, "now", service->slots_now);
	json_writer_integer(out, "after", service->slots_after);
	json_writer_integer(out, "moved", service->slots_moved);
	json_writer_close(out, '}');
	json_writer_open(out, "backends", '{');
	json_writer_integer(out, "now", service->backends_now);
	json_writer_integer(out, "after", service->backends_after);
	json_writer_integer(out, "usable_now", service->usable_now);
	json_writer_integer(out, "usable_after", service->usable_after);
	json_writer_close(out, '}');
	write_fates(out, &service->flows);
	if (service->ports_now || service->ports_after) {
		json_writer_open(out, "source_ports", '{');
		json_writer_integer(out, "now", (int64_t)service->ports_now);
		json_writer_integer(out, "after", (int64_t)service->ports_after);
		json_writer_close(out, '}');
	}
	json_writer_open(out, "backend", '[');
	for (uint32_t i = 0; i < service->n_records; i++)
		write_backend(out, &backend[i], service->address.family);
	json_writer_raw(out, "]}", 2);
}

void plan_write_services(const struct plan *plan, struct json_writer *out)
{
	const struct wire_plan_backend *backend = plan->backend;

	for (uint32_t i = 0; i < plan->n_services; i++) {
		write_service(out, &plan->service[i], backend);
		backend += plan->service[i].n_records;
	}
}

/* ---- warnings ---- */

static void warn(json_t *list, const char *kind, const struct wire_plan_service *service,
		 const char *backend, const char *format, ...)
	__attribute__((format(printf, 5, 6)));

static void warn(json_t *list, const char *kind, const struct wire_plan_service *service,
		 const char *backend, const char *format, ...)
{
	char text[WARNING_SIZE];
	va_list arguments;
	json_t *warning;
	size_t used =
		service ? (size_t)snprintf(text, sizeof(text), "service %s: ", service->name) : 0;

	va_start(arguments, format);
	(void)vsnprintf(text + used, sizeof(text) - used, format, arguments);
	va_end(arguments);
	warning = json_pack("{s:s, s:s}", "kind", kind, "text", text);
	if (service)
		json_object_set_new(warning, "service", json_string(service->name));
	if (backend)
		json_object_set_new(warning, "backend", json_string(backend));
	json_array_append_new(list, warning);
}

/* Deleted or in maintenance or down, with flows that would not have to end. */
static void warn_of_resets(json_t *list, const struct wire_plan_service *service,
			   const struct wire_plan_backend *backend)
{
	const char *first = NULL;
	char address[WIRE_ADDRESS_TEXT];

	for (uint32_t i = 0; i < service->n_records && !first; i++)
		if (backend[i].flows.reset)
			first = wire_format_endpoint(&backend[i].addr, backend[i].port,
						     service->address.family, address);
	if (service->flows.reset && first && service->change != WIRE_PLAN_DELETE)
		warn(list, "reset", service, first,
		     "%" PRIu64 " flow%s, their clients are told by a reset; to lose none, "
		     "\"sluice backend set %s %s state drain\" first, and wait until it is drained",
		     service->flows.reset, service->flows.reset == 1 ? " ends" : "s end",
		     service->name, first);
	else if (service->flows.reset)
		warn(list, "reset", service, NULL, "%" PRIu64 " flow%s", service->flows.reset,
		     service->flows.reset == 1 ? " ends" : "s end");
}

/* Of fullnat, where each backend can be reached by all ports of the pool. */
static void warn_of_pool(json_t *list, const struct wire_plan_service *service,
			 const struct wire_plan_backend *backend)
{
	char address[WIRE_ADDRESS_TEXT];

	if (service->change == WIRE_PLAN_DELETE)
		return;
	if (service->flows.off_pool)
		warn(list, "source_pool", service, NULL,
		     "%" PRIu64 " flow%s a source address or port that leaves the pool; keep the "
		     "address on the host until they have ended",
		     service->flows.off_pool, service->flows.off_pool == 1 ? " has" : "s have");
	for (uint32_t i = 0; service->ports_after && i < service->n_records; i++) {
		uint64_t n = backend[i].flows.stay - backend[i].flows.off_pool;

		if (n * 100 <= service->ports_after * PLAN_POOL_PERCENT)
			continue;
		wire_format_endpoint(&backend[i].addr, backend[i].port, service->address.family,
				     address);
		warn(list, "source_pool", service, address,
		     "backend %s: %" PRIu64 " of %" PRIu64 " source ports would be in use "
		     "(warned of from %d %%)",
		     address, n, service->ports_after, PLAN_POOL_PERCENT);
	}
}

static void warn_of_service(json_t *list, const struct plan *plan,
			    const struct wire_plan_service *service,
			    const struct wire_plan_backend *backend)
{
	bool has_backends = service->mode != WIRE_MODE_SNAT && service->change != WIRE_PLAN_DELETE;

	if (has_backends && service->usable_after == 0)
		warn(list, "no_backend", service, NULL,
		     "no backend takes new flows: %u of %u are ready, up and have a weight (now "
		     "%u)",
		     service->usable_after, service->backends_after, service->usable_now);
	if (!plan->totals.is_new_key &&
	    (uint64_t)service->slots_moved * 100 >
		    (uint64_t)service->slots_after * PLAN_CHURN_PERCENT &&
	    service->usable_now && service->usable_after)
		warn(list, "churn", service, NULL,
		     "%u of %u slots move, %" PRIu64 " %% (warned of above %d %%): flows that no "
		     "table knows, after a restart or from another host, change their backend",
		     service->slots_moved, service->slots_after,
		     (uint64_t)service->slots_moved * 100 / service->slots_after,
		     PLAN_CHURN_PERCENT);
	warn_of_resets(list, service, backend);
	warn_of_pool(list, service, backend);
}

json_t *plan_warnings_json(const struct plan *plan, bool is_in_step)
{
	const struct wire_plan_backend *backend = plan->backend;
	json_t *list = json_array();

	if (!is_in_step)
		warn(list, "not_in_step", NULL, NULL,
		     "the dataplane does not hold the state now: compared with what it holds");
	if (plan->totals.is_new_key)
		warn(list, "hash_key", NULL, NULL,
		     "the hash key changes, and with it every client's slot: flows that no table "
		     "knows change their backend");
	if (!plan->is_counted)
		warn(list, "flows", NULL, NULL,
		     "the flow tables are larger than is counted at once: there may be more flows");
	for (uint32_t i = 0; i < plan->n_services; i++) {
		warn_of_service(list, plan, &plan->service[i], backend);
		backend += plan->service[i].n_records;
	}
	return list;
}
