/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
#include "control/daemon/status_json.h"

#include <inttypes.h>
#include <stdio.h>

#include "control/client.h"
#include "control/daemon/daemon.h"
#include "control/daemon/desired.h"
#include "control/daemon/health.h"
#include "control/daemon/metrics_server.h"
#include "control/daemon/reconcile.h"
#include "control/daemon/saturation.h"
#include "wire/wire_abi.h"

static json_t *hex(uint64_t value)
{
	char text[17];

	(void)snprintf(text, sizeof(text), "%016" PRIx64, value);
	return json_string(text);
}

static json_t *port_to_json(const struct wire_port_record *port)
{
	char mac[18];

	(void)snprintf(mac, sizeof(mac), "%02x:%02x:%02x:%02x:%02x:%02x", port->mac[0],
		       port->mac[1], port->mac[2], port->mac[3], port->mac[4], port->mac[5]);
	return json_pack(
		"{s:s, s:s, s:s, s:s, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}",
		"name", port->name, "driver", port->driver, "kernel_interface",
		port->kernel_interface, "mac", mac, "up", port->is_up != 0, "speed_mbps",
		(json_int_t)port->speed_mbps, "mtu", (json_int_t)port->mtu, "rx_packets",
		(json_int_t)port->rx_packets, "rx_bytes", (json_int_t)port->rx_bytes, "rx_missed",
		(json_int_t)port->rx_missed, "rx_nombuf", (json_int_t)port->rx_nombuf, "tx_packets",
		(json_int_t)port->tx_packets, "tx_bytes", (json_int_t)port->tx_bytes, "tx_errors",
		(json_int_t)port->tx_errors, "buffers_in_use", (json_int_t)port->buffers_in_use);
}

static json_t *worker_to_json(const struct wire_worker_record *worker)
{
	return json_pack("{s:I, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "core",
			 (json_int_t)worker->core, "state", wire_worker_state_name(worker->state),
			 "loops", (json_int_t)worker->loops, "busy_loops",
			 (json_int_t)worker->busy_loops, "flows", (json_int_t)worker->flows,
			 "heartbeat_age_ms", (json_int_t)(worker->heartbeat_age_ns / 1000000),
			 "longest_loop_us", (json_int_t)((worker->longest_loop_ns + 999) / 1000),
			 "busy_ms", (json_int_t)(worker->busy_ns / 1000000), "full_loops",
			 (json_int_t)worker->full_loops);
}

static void add_lists(json_t *status, struct client *client)
{
	struct wire_worker_record workers[SL_MAX_WORKERS];
	struct wire_port_record ports[SL_MAX_PORTS];
	json_t *port_list = json_object_get(status, "ports");
	json_t *worker_list = json_object_get(status, "workers");
	uint32_t n;

	if (client_ports(client, ports, &n) == 0)
		for (uint32_t i = 0; i < n; i++)
			json_array_append_new(port_list, port_to_json(&ports[i]));
	if (client_workers(client, false, workers, &n) == 0)
		for (uint32_t i = 0; i < n; i++)
			json_array_append_new(worker_list, worker_to_json(&workers[i]));
}

/* What only the dataplane knows; without one, what the daemon would say in its place. */
static void add_dataplane(json_t *status, const struct daemon *daemon)
{
	struct client *client = reconcile_client(daemon->reconcile);
	struct wire_status_reply reply = {0};
	bool is_connected = client && client_status(client, &reply) == 0;
	json_t *some;

	some = json_pack(
		"{s:b, s:b, s:s?, s:s, s:I, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s, "
		"s:s?, "
		"s:I, s:o*}",
		"connected", is_connected, "in_step",
		is_connected && reconcile_is_synced(daemon->reconcile), "engine",
		is_connected ? reply.engine : NULL, "engine_reason",
		is_connected ? reply.engine_reason : "", "dataplane_generation",
		(json_int_t)reply.generation, "dataplane_digest", hex(reply.digest), "flows",
		(json_int_t)reply.flows, "flows_embryonic", (json_int_t)reply.flows_embryonic,
		"flows_capacity", (json_int_t)reply.flows_capacity, "affinities",
		(json_int_t)reply.affinities, "affinities_capacity",
		(json_int_t)reply.affinities_capacity, "flows_handed",
		(json_int_t)reply.flows_handed, "former_workers", (json_int_t)reply.n_former,
		"max_workers", (json_int_t)reply.max_workers, "memory_bytes",
		(json_int_t)reply.memory_bytes, "reason", reconcile_reason(daemon->reconcile),
		"dataplane_version", is_connected ? client_hello(client)->program_version : NULL,
		"dataplane_uptime_seconds", (json_int_t)(reply.uptime_ns / 1000000000),
		"saturation",
		daemon->saturation ? saturation_to_json(saturation_look(
					     daemon->saturation, is_connected ? client : NULL))
				   : NULL);
	json_object_update(status, some);
	json_decref(some);
	if (is_connected)
		add_lists(status, client);
	else if (reconcile_away_ns(daemon->reconcile))
		json_object_set_new(
			status, "away_seconds",
			json_real((double)(daemon_now_ns() - reconcile_away_ns(daemon->reconcile)) /
				  1e9));
}

static json_t *health_to_json(const struct daemon *daemon)
{
	struct health_totals totals;

	health_count(daemon->health, &totals);
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "backends",
			 (json_int_t)totals.n_backends, "up", (json_int_t)totals.n_up, "down",
			 (json_int_t)totals.n_down, "unknown", (json_int_t)totals.n_unknown,
			 "blind", (json_int_t)totals.n_blind, "panics", (json_int_t)totals.n_panics,
			 "running", (json_int_t)totals.n_running, "checks",
			 (json_int_t)totals.n_checks, "failed", (json_int_t)totals.n_failed,
			 "delayed", (json_int_t)totals.n_delayed, "hints",
			 (json_int_t)totals.n_hints);
}

json_t *status_to_json(const struct daemon *daemon)
{
	const struct desired *desired = daemon->desired;
	json_t *status = json_pack(
		"{s:I, s:o, s:s?, s:I, s:I, s:I, s:s?, s:[], s:[]}", "generation",
		(json_int_t)daemon->generation, "digest",
		hex(desired_digest(daemon_live(daemon), &daemon->hash_key)), "version",
		daemon->version, "uptime_seconds",
		(json_int_t)((daemon_now_ns() - daemon->started_ns) / 1000000000), "services",
		(json_int_t)desired->n_services, "backends", (json_int_t)desired->n_backends,
		"config_file", daemon->config_file, "ports", "workers");

	if (status) {
		json_object_set_new(status, "health", health_to_json(daemon));
		json_object_set_new(status, "metrics",
				    json_pack("s?", metrics_server_address(daemon->metrics)));
		add_dataplane(status, daemon);
	}
	return status;
}
