/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* See metrics.h. A family of samples after the other; what a family needs is fetched before. */
#include "control/daemon/metrics.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <event2/buffer.h>

#include <sluice/counters.h>

#include "control/client.h"
#include "control/daemon/backend_records.h"
#include "control/daemon/daemon.h"
#include "control/daemon/desired.h"
#include "control/daemon/health.h"
#include "control/daemon/reconcile.h"
#include "control/daemon/saturation.h"
#include "control/daemon/share_overlay.h"
#include "control/daemon/text.h"
#include "wire/wire_abi.h"

/* What the dataplane said, for one text. */
struct scrape {
	const struct daemon *daemon;
	struct client *client; /* NULL: none is connected */
	struct evbuffer *out;
	struct saturation_ratios saturation;
};

static void family(struct scrape *scrape, const char *name, const char *type, const char *help)
{
	(void)evbuffer_add_printf(scrape->out, "# HELP sluice_%s %s\n# TYPE sluice_%s %s\n", name,
				  help, name, type);
}

static void gauge(struct scrape *scrape, const char *name, const char *help, double value)
{
	family(scrape, name, "gauge", help);
	(void)evbuffer_add_printf(scrape->out, "sluice_%s %.17g\n", name, value);
}

static void counter(struct scrape *scrape, const char *name, const char *help, uint64_t value)
{
	family(scrape, name, "counter", help);
	(void)evbuffer_add_printf(scrape->out, "sluice_%s %" PRIu64 "\n", name, value);
}

/* A label's value, with what ends it escaped. */
static const char *escape(const char *value, char *text, size_t size)
{
	size_t used = 0;

	for (; *value && used + 3 < size; value++) {
		if (*value == '"' || *value == '\\' || *value == '\n')
			text[used++] = '\\';
		text[used++] = *value == '\n' ? 'n' : *value;
	}
	text[used] = '\0';
	return text;
}

/* ---- the daemon and the dataplane ---- */

static void print_daemon(struct scrape *scrape)
{
	const struct daemon *daemon = scrape->daemon;
	char version[64];

	family(scrape, "build_info", "gauge", "1; what runs as sluiced");
	(void)evbuffer_add_printf(scrape->out, "sluice_build_info{version=\"%s\"} 1\n",
				  escape(daemon->version, version, sizeof(version)));
	gauge(scrape, "uptime_seconds", "since sluiced was started",
	      (double)(daemon_now_ns() - daemon->started_ns) / 1e9);
	gauge(scrape, "generation", "of the accepted state", (double)daemon->generation);
	gauge(scrape, "services", "of the accepted state", (double)daemon->desired->n_services);
	gauge(scrape, "backends", "of the accepted state", (double)daemon->desired->n_backends);
	gauge(scrape, "dataplane_connected", "whether a dataplane is connected", !!scrape->client);
	gauge(scrape, "dataplane_in_step", "whether the dataplane holds what it shall",
	      scrape->client && reconcile_is_synced(daemon->reconcile));
}

static void print_health_totals(struct scrape *scrape)
{
	struct health_totals totals;

	health_count(scrape->daemon->health, &totals);
	gauge(scrape, "health_backends", "backends that are checked", totals.n_backends);
	gauge(scrape, "health_backends_down", "of these, those that are down", totals.n_down);
	gauge(scrape, "health_services_in_panic",
	      "services of which too few backends are up, so that all are used", totals.n_panics);
	gauge(scrape, "health_checks_running", "checks that wait for an answer", totals.n_running);
	counter(scrape, "health_checks_total", "checks made", totals.n_checks);
	counter(scrape, "health_checks_failed_total", "of these, those with a bad result",
		totals.n_failed);
	counter(scrape, "health_checks_delayed_total", "checks begun late, for there were too many",
		totals.n_delayed);
	counter(scrape, "health_hints_total",
		"windows in which too many of a backend's openings failed, so that it was checked",
		totals.n_hints);
}

static void print_roles(struct scrape *scrape)
{
	const struct desired *live = daemon_live(scrape->daemon);
	uint32_t n[SHARE_N_ROLES] = {0};

	for (size_t i = 0; i < live->n_services; i++) {
		uint8_t role;

		if (share_role_in_use(live->service[i], &role))
			n[role]++;
	}
	gauge(scrape, "services_on_backup", "services whose new flows go to backup backends",
	      n[SHARE_BACKUP]);
	gauge(scrape, "services_on_sorry", "services whose new flows go to sorry backends",
	      n[SHARE_SORRY]);
}

static void print_status(struct scrape *scrape)
{
	struct wire_status_reply status;
	char version[64];

	if (client_status(scrape->client, &status))
		return;
	family(scrape, "dataplane_info", "gauge", "1; what runs as the dataplane");
	(void)evbuffer_add_printf(
		scrape->out, "sluice_dataplane_info{engine=\"%s\",version=\"%s\"} 1\n",
		status.engine,
		escape(client_hello(scrape->client)->program_version, version, sizeof(version)));
	gauge(scrape, "dataplane_uptime_seconds", "since the dataplane was started",
	      (double)status.uptime_ns / 1e9);
	gauge(scrape, "dataplane_generation", "of what the dataplane holds",
	      (double)status.generation);
	gauge(scrape, "dataplane_commit_seconds", "how long the last commit took",
	      (double)status.commit_ns / 1e9);
	gauge(scrape, "dataplane_memory_bytes", "of flow tables and slot tables",
	      (double)status.memory_bytes);
	gauge(scrape, "flows", "that live, of all workers", (double)status.flows);
	gauge(scrape, "flows_embryonic", "of these, those that no backend has answered",
	      (double)status.flows_embryonic);
	gauge(scrape, "flows_capacity", "of all workers, for each address family",
	      (double)status.flows_capacity);
	gauge(scrape, "affinities", "clients, or their prefixes, that keep a backend",
	      (double)status.affinities);
	gauge(scrape, "affinities_capacity", "of all services and workers",
	      (double)status.affinities_capacity);
}

static void print_counters(struct scrape *scrape)
{
	struct wire_counters_reply reply;

	if (client_counters(scrape->client, WIRE_ALL_WORKERS, &reply))
		return;
	family(scrape, "packets_total", "counter", "received, by what became of them");
#define X(upper, lower, help)                                                                      \
	(void)evbuffer_add_printf(scrape->out,                                                     \
				  "sluice_packets_total{verdict=\"" #lower "\"} %" PRIu64 "\n",    \
				  reply.verdict[SL_VERDICT_##upper]);
	SL_VERDICT_LIST(X)
#undef X
#define X(upper, lower, unit, help)                                                                \
	counter(scrape, #lower "_total", help, reply.event[SL_EVENT_##upper]);
	SL_EVENT_LIST(X)
#undef X
}

static void print_workers(struct scrape *scrape)
{
	struct wire_worker_record record[SL_MAX_WORKERS];
	uint32_t n;

	if (client_workers(scrape->client, false, record, &n) || n == 0)
		return;
#define EACH(name, type, help, format, value)                                                      \
	family(scrape, name, type, help);                                                          \
	for (uint32_t i = 0; i < n; i++)                                                           \
	(void)evbuffer_add_printf(scrape->out,                                                     \
				  "sluice_" name "{worker=\"%u\",core=\"%u\"} " format "\n", i,    \
				  record[i].core, value)
	EACH("worker_loops_total", "counter", "turns of the worker's loop", "%" PRIu64,
	     record[i].loops);
	EACH("worker_busy_loops_total", "counter", "of these, those that found packets", "%" PRIu64,
	     record[i].busy_loops);
	EACH("worker_full_loops_total", "counter",
	     "of these, those in which more packets waited than one receive takes", "%" PRIu64,
	     record[i].full_loops);
	EACH("worker_busy_seconds_total", "counter", "time of the turns that found packets", "%.9f",
	     (double)record[i].busy_ns / 1e9);
	EACH("worker_flows", "gauge", "that live in the worker's table", "%" PRIu64,
	     record[i].flows);
	EACH("worker_heartbeat_age_seconds", "gauge", "since the worker's loop last turned", "%.9f",
	     (double)record[i].heartbeat_age_ns / 1e9);
	EACH("worker_longest_loop_seconds", "gauge", "the turn that took longest", "%.9f",
	     (double)record[i].longest_loop_ns / 1e9);
#undef EACH
}

static void print_ports(struct scrape *scrape)
{
	struct wire_port_record record[SL_MAX_PORTS];
	char name[2 * SL_MAX_PORT_NAME];
	uint32_t n;

	if (client_ports(scrape->client, record, &n) || n == 0)
		return;
#define EACH(metric, type, help, member)                                                           \
	family(scrape, metric, type, help);                                                        \
	for (uint32_t i = 0; i < n; i++)                                                           \
	(void)evbuffer_add_printf(scrape->out,                                                     \
				  "sluice_" metric "{port=\"%s\",driver=\"%s\"} %" PRIu64 "\n",    \
				  escape(record[i].name, name, sizeof(name)), record[i].driver,    \
				  (uint64_t)record[i].member)
	EACH("port_up", "gauge", "whether the port has a link", is_up);
	EACH("port_mtu_bytes", "gauge", "largest packet, without the link header", mtu);
	EACH("port_receive_packets_total", "counter", "received", rx_packets);
	EACH("port_receive_bytes_total", "counter", "received", rx_bytes);
	EACH("port_receive_missed_total", "counter", "packets that found no room in the queue",
	     rx_missed);
	EACH("port_receive_no_buffer_total", "counter", "packets for which there was no buffer",
	     rx_nombuf);
	EACH("port_transmit_packets_total", "counter", "sent", tx_packets);
	EACH("port_transmit_bytes_total", "counter", "sent", tx_bytes);
	EACH("port_transmit_errors_total", "counter", "packets that could not be sent", tx_errors);
	EACH("port_buffers_in_use", "gauge", "of the pool that feeds the port", buffers_in_use);
#undef EACH
}

/* ---- services ---- */

static void print_services(struct scrape *scrape)
{
	const struct desired *desired = scrape->daemon->desired;
	struct wire_service_counters_reply *reply = calloc(desired->n_services + 1, sizeof(*reply));

	if (!reply)
		return;
	for (size_t i = 0; i < desired->n_services; i++)
		if (client_service_counters(scrape->client, &desired->service[i]->wire.address,
					    &reply[i]))
			memset(&reply[i], 0, sizeof(reply[i])); /* not in step: not there yet */
#define X(member, unit, help)                                                                      \
	family(scrape, "service_" #member "_total", "counter", help);                              \
	for (size_t i = 0; i < desired->n_services; i++)                                           \
		(void)evbuffer_add_printf(scrape->out,                                             \
					  "sluice_service_" #member                                \
					  "_total{service=\"%s\"} %" PRIu64 "\n",                  \
					  desired->service[i]->wire.name, reply[i].member);
	SL_SERVICE_COUNTER_LIST(X)
#undef X
	free(reply);
}

/* ---- backends ---- */

/* A backend, the labels it is called by, and what is known of it. */
struct backend {
	char label[SL_MAX_NAME + WIRE_ADDRESS_TEXT + 32];
	struct wire_backend_counters_record counters;
	struct health_view health;
	bool is_known; /* to the dataplane */
	bool is_in_use;
};

static void take_service(struct scrape *scrape, const struct desired_service *service,
			 struct backend *backend)
{
	uint32_t n = 0;
	struct wire_backend_counters_record *record =
		scrape->client ? backend_records_fetch(scrape->client, service, &n) : NULL;
	const struct desired_service *live =
		desired_find(daemon_live(scrape->daemon), service->wire.name);

	for (uint32_t i = 0; i < service->n_backends; i++) {
		const struct wire_backend *wire = &service->backend[i].wire;
		const struct wire_backend_counters_record *found =
			backend_records_find(record, n, wire);
		char address[WIRE_ADDRESS_TEXT];

		text_backend_address(wire, address);
		(void)snprintf(backend[i].label, sizeof(backend[i].label),
			       "{service=\"%s\",backend=\"%s\"}", service->wire.name, address);
		health_look(scrape->daemon->health, service, &service->backend[i],
			    &backend[i].health);
		backend[i].is_in_use = share_is_in_use(live, wire);
		backend[i].is_known = found != NULL;
		if (!found)
			continue;
		backend[i].counters = *found;
		saturation_add_backend(&scrape->saturation, &service->wire, wire, found);
	}
	free(record);
}

static void print_backend_families(struct scrape *scrape, const struct backend *backend, size_t n)
{
#define EACH(name, type, help, is_there, format, value)                                            \
	family(scrape, name, type, help);                                                          \
	for (size_t i = 0; i < n; i++)                                                             \
		if (is_there)                                                                      \
	(void)evbuffer_add_printf(scrape->out, "sluice_" name "%s " format "\n", backend[i].label, \
				  value)
#define X(member, unit, help)                                                                      \
	EACH("backend_" #member "_total", "counter", help, backend[i].is_known, "%" PRIu64,        \
	     backend[i].counters.member);
	SL_BACKEND_TRAFFIC_LIST(X)
	SL_BACKEND_OPENING_LIST(X)
#undef X
	EACH("backend_syn_ack_seconds_total", "counter",
	     "from clients' first SYNs to the backend's first SYN-ACKs, of "
	     "sluice_backend_syn_acks_total flows together",
	     backend[i].is_known, "%.6f", (double)backend[i].counters.syn_ack_us / 1e6);
	EACH("backend_slots", "gauge", "of the service's, so its share of new flows",
	     backend[i].is_known, "%u", backend[i].counters.n_slots);
	EACH("backend_in_use", "gauge",
	     "1 while it gets new flows: its state, weight, role, group "
	     "and health have it so",
	     true, "%d", backend[i].is_in_use);
	EACH("backend_up", "gauge", "1 while its checks find it up, or nobody knows yet; 0: down",
	     backend[i].health.word != HEALTH_UNCHECKED, "%d",
	     backend[i].health.word != HEALTH_DOWN);
	EACH("backend_checks_total", "counter", "checks made",
	     backend[i].health.word != HEALTH_UNCHECKED, "%" PRIu64, backend[i].health.n_checks);
	EACH("backend_checks_failed_total", "counter", "of these, those with a bad result",
	     backend[i].health.word != HEALTH_UNCHECKED, "%" PRIu64, backend[i].health.n_failed);
	EACH("backend_hints_total", "counter",
	     "windows in which too many of its openings failed, so that it was checked",
	     backend[i].health.word != HEALTH_UNCHECKED, "%" PRIu64, backend[i].health.n_hints);
	EACH("backend_check_seconds", "gauge", "the last check, from start to result",
	     backend[i].health.n_checks > 0, "%.9f", (double)backend[i].health.took_ns / 1e9);
#undef EACH
}

static void print_backends(struct scrape *scrape)
{
	const struct desired *desired = scrape->daemon->desired;
	struct backend *backend;
	size_t n = 0;

	gauge(scrape, "backends_without_samples", "there are too many for samples of their own",
	      desired->n_backends > METRICS_MAX_BACKENDS ? (double)desired->n_backends : 0);
	if (desired->n_backends > METRICS_MAX_BACKENDS)
		return;
	backend = calloc(desired->n_backends + 1, sizeof(*backend));
	if (!backend)
		return;
	for (size_t i = 0; i < desired->n_services; i++) {
		take_service(scrape, desired->service[i], backend + n);
		n += desired->service[i]->n_backends;
	}
	print_backend_families(scrape, backend, n);
	free(backend);
}

static void print_saturation(struct scrape *scrape)
{
	family(scrape, "saturation_ratio", "gauge",
	       "how much of what can run out is in use; 1: all of it");
	for (int i = 0; i < SATURATION_N; i++)
		if (!isnan(scrape->saturation.of[i]))
			(void)evbuffer_add_printf(scrape->out,
						  "sluice_saturation_ratio{resource=\"%s\"} %.9f\n",
						  saturation_name((enum saturation_resource)i),
						  scrape->saturation.of[i]);
}

void metrics_print(const struct daemon *daemon, struct evbuffer *out)
{
	struct scrape scrape = {
		.daemon = daemon, .client = reconcile_client(daemon->reconcile), .out = out};

	if (daemon->saturation)
		scrape.saturation = *saturation_look(daemon->saturation, scrape.client);
	print_daemon(&scrape);
	print_health_totals(&scrape);
	print_roles(&scrape);
	if (scrape.client) {
		print_status(&scrape);
		print_counters(&scrape);
		print_workers(&scrape);
		print_ports(&scrape);
		print_services(&scrape);
	}
	print_backends(&scrape);
	print_saturation(&scrape);
}
