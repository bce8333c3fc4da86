/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* See saturation.h. */
#include "control/daemon/saturation.h"

#include <math.h>
#include <string.h>

#include "control/client.h"
#include "control/daemon/daemon.h"

enum {
	EMBRYONIC_PART = 8, /* of a flow table's entries one in so many may be embryonic */
};

static const uint64_t shortest_ns = 1000000000;

static double part(uint64_t used, uint64_t whole)
{
	return whole == 0 ? NAN : used >= whole ? 1 : (double)used / (double)whole;
}

/* Of what two counters grew by: @used of @used and @rest together. */
static double part_of_growth(uint64_t used_before, uint64_t used, uint64_t rest_before,
			     uint64_t rest)
{
	if (used < used_before || rest < rest_before)
		return NAN;
	used -= used_before;
	rest -= rest_before;
	return part(used, used + rest);
}

static void keep_larger(double *ratio, double other)
{
	if (!isnan(other) && (isnan(*ratio) || other > *ratio))
		*ratio = other;
}

static void reckon_workers(struct saturation_ratios *ratios, const struct saturation_look *before,
			   const struct saturation_look *now)
{
	uint64_t time_ns = now->at_ns - before->at_ns;

	for (uint32_t i = 0; i < now->n_workers && i < before->n_workers; i++) {
		uint64_t busy_loops = now->worker[i].busy_loops - before->worker[i].busy_loops;

		/* An engine without loops of its own tells none. */
		if (now->worker[i].busy_ns < before->worker[i].busy_ns ||
		    now->worker[i].busy_ns == 0)
			continue;
		keep_larger(&ratios->of[SATURATION_WORKER_TIME],
			    part(now->worker[i].busy_ns - before->worker[i].busy_ns, time_ns));
		keep_larger(&ratios->of[SATURATION_WORKER_BACKLOG],
			    busy_loops == 0
				    ? 0
				    : part(now->worker[i].full_loops - before->worker[i].full_loops,
					   busy_loops));
	}
}

struct saturation_ratios saturation_reckon(const struct saturation_look *before,
					   const struct saturation_look *now)
{
	const struct wire_flow_count_reply *flows = &now->flows;
	struct saturation_ratios ratios;

	for (int i = 0; i < SATURATION_N; i++)
		ratios.of[i] = NAN;
	ratios.of[SATURATION_FLOWS] =
		part(flows->ipv4 > flows->ipv6 ? flows->ipv4 : flows->ipv6, flows->capacity);
	ratios.of[SATURATION_FLOWS_EMBRYONIC] =
		part(flows->embryonic, flows->capacity / EMBRYONIC_PART);
	ratios.of[SATURATION_AFFINITIES] = part(now->affinities, now->affinities_capacity);
	if (before->at_ns == 0 || now->at_ns <= before->at_ns)
		return ratios;
	reckon_workers(&ratios, before, now);
	ratios.of[SATURATION_RECEIVE] =
		part_of_growth(before->missed, now->missed, before->received, now->received);
	ratios.of[SATURATION_TRANSMIT] =
		part_of_growth(before->unsent, now->unsent, before->sent, now->sent);
	return ratios;
}

static void look_at_ports(struct saturation_look *look, struct client *client)
{
	struct wire_port_record port[SL_MAX_PORTS];
	uint32_t n;

	if (client_ports(client, port, &n))
		return;
	for (uint32_t i = 0; i < n; i++) {
		look->received += port[i].rx_packets;
		look->missed += port[i].rx_missed + port[i].rx_nombuf;
	}
}

static void look_at_workers(struct saturation_look *look, struct client *client)
{
	struct wire_worker_record worker[SL_MAX_WORKERS];

	if (client_workers(client, false, worker, &look->n_workers)) {
		look->n_workers = 0;
		return;
	}
	for (uint32_t i = 0; i < look->n_workers; i++) {
		look->worker[i].busy_ns = worker[i].busy_ns;
		look->worker[i].busy_loops = worker[i].busy_loops;
		look->worker[i].full_loops = worker[i].full_loops;
	}
}

static void look_at_packets(struct saturation_look *look, struct client *client)
{
	struct wire_counters_reply counters;

	if (client_counters(client, WIRE_ALL_WORKERS, &counters))
		return;
	look->sent = counters.event[SL_EVENT_TX];
	look->unsent = counters.verdict[SL_VERDICT_DROP_TX_FULL];
}

static void look_at_affinities(struct saturation_look *look, struct client *client)
{
	struct wire_status_reply status;

	if (client_status(client, &status))
		return;
	look->affinities = status.affinities;
	look->affinities_capacity = status.affinities_capacity;
}

const struct saturation_ratios *saturation_look(struct saturation *saturation,
						struct client *client)
{
	const struct wire_flow_filter all = {.client_port = 0};
	struct saturation_look look = {.at_ns = daemon_now_ns()};
	uint64_t boot_id = client ? client_hello(client)->boot_id : 0;

	if (boot_id != saturation->boot_id) {
		memset(saturation, 0, sizeof(*saturation));
		saturation->boot_id = boot_id;
	}
	if (saturation->look.at_ns != 0 && look.at_ns - saturation->look.at_ns < shortest_ns)
		return &saturation->ratios;
	if (client) {
		look_at_workers(&look, client);
		look_at_ports(&look, client);
		look_at_packets(&look, client);
		look_at_affinities(&look, client);
		if (client_flow_count(client, &all, &look.flows))
			memset(&look.flows, 0, sizeof(look.flows));
	}
	saturation->ratios = saturation_reckon(&saturation->look, &look);
	saturation->look = look;
	return &saturation->ratios;
}

void saturation_add_backend(struct saturation_ratios *ratios, const struct wire_service *service,
			    const struct wire_backend *backend,
			    const struct wire_backend_counters_record *counted)
{
	uint64_t n_ports = (uint64_t)service->source_port_last - service->source_port_first + 1;

	for (uint32_t i = 0; i < service->n_sources; i++)
		keep_larger(&ratios->of[SATURATION_SOURCE_PORTS],
			    part(counted->source_flows[i], n_ports));
	if (backend->max_flows != 0)
		keep_larger(&ratios->of[SATURATION_MAX_FLOWS],
			    part(counted->flows_open, backend->max_flows));
}

const char *saturation_name(enum saturation_resource resource)
{
	static const char *const name[] = {
#define X(upper, lower, help) #lower,
		SATURATION_LIST(X)
#undef X
	};

	return name[resource];
}

json_t *saturation_to_json(const struct saturation_ratios *ratios)
{
	json_t *object = json_object();

	for (int i = 0; i < SATURATION_N; i++)
		if (!isnan(ratios->of[i]))
			json_object_set_new(object, saturation_name((enum saturation_resource)i),
					    json_real(ratios->of[i]));
	return object;
}
