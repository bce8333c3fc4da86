/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
#include "control/daemon/saturation.h"

#include <math.h>

#include <criterion/criterion.h>

#include "control/daemon/daemon.h"

uint64_t daemon_now_ns(void)
{
	return 0;
}

static const uint64_t second = 1000000000;

static struct saturation_look look_at(uint64_t at_ns)
{
	return (struct saturation_look){
		.at_ns = at_ns,
		.n_workers = 2,
		.worker = {{1000, 10, 5}, {1000, 10, 5}},
		.received = 100,
		.missed = 10,
		.sent = 100,
		.unsent = 10,
		.flows = {.ipv4 = 20, .ipv6 = 60, .embryonic = 5, .capacity = 80},
	};
}

static void expect(double found, double wanted, const char *what)
{
	cr_expect(fabs(found - wanted) < 1e-9, "%s: %f, not %f", what, found, wanted);
}

Test(saturation, of_one_look_the_flow_table_is_known_alone)
{
	const struct saturation_look none = {0}, now = look_at(second);
	struct saturation_ratios ratios = saturation_reckon(&none, &now);

	for (int i = 0; i < SATURATION_N; i++)
		cr_expect(i == SATURATION_FLOWS || i == SATURATION_FLOWS_EMBRYONIC ||
				  isnan(ratios.of[i]),
			  "%d", i);
	expect(ratios.of[SATURATION_FLOWS], 0.75, "the fuller family's");
	expect(ratios.of[SATURATION_FLOWS_EMBRYONIC], 0.5, "of an eighth");
}

Test(saturation, rates_are_of_the_time_between_two_looks)
{
	const struct saturation_look before = look_at(second);
	struct saturation_look now = look_at(3 * second);
	struct saturation_ratios ratios;

	now.worker[0].busy_ns += second / 2;
	now.worker[1].busy_ns += second;
	now.worker[1].busy_loops += 100;
	now.worker[1].full_loops += 30;
	now.received += 90;
	now.missed += 10;
	now.sent += 50;
	ratios = saturation_reckon(&before, &now);
	expect(ratios.of[SATURATION_WORKER_TIME], 0.5, "the busiest worker's");
	expect(ratios.of[SATURATION_WORKER_BACKLOG], 0.3, "of its busy turns");
	expect(ratios.of[SATURATION_RECEIVE], 0.1, "missed of all that came");
	expect(ratios.of[SATURATION_TRANSMIT], 0, "unsent");
	now.worker[1].busy_ns += 100 * second;
	ratios = saturation_reckon(&before, &now);
	expect(ratios.of[SATURATION_WORKER_TIME], 1, "never more than all");
}

Test(saturation, what_went_backwards_is_not_known)
{
	struct saturation_look before = look_at(second), now = look_at(2 * second);
	struct saturation_ratios ratios;

	before.missed = 11;
	before.sent = 101;
	before.worker[0].busy_ns = before.worker[1].busy_ns = 2000;
	ratios = saturation_reckon(&before, &now);
	cr_expect(isnan(ratios.of[SATURATION_RECEIVE]));
	cr_expect(isnan(ratios.of[SATURATION_TRANSMIT]));
	cr_expect(isnan(ratios.of[SATURATION_WORKER_TIME]));
	ratios = saturation_reckon(&now, &now);
	cr_expect(isnan(ratios.of[SATURATION_TRANSMIT]), "no time");
}

Test(saturation, an_engine_without_loops_has_no_workers_time)
{
	struct saturation_look before = look_at(second), now = look_at(2 * second);
	struct saturation_ratios ratios;

	for (int i = 0; i < 2; i++)
		before.worker[i].busy_ns = now.worker[i].busy_ns = 0;
	ratios = saturation_reckon(&before, &now);
	cr_expect(isnan(ratios.of[SATURATION_WORKER_TIME]));
	cr_expect(isnan(ratios.of[SATURATION_WORKER_BACKLOG]));
}

Test(saturation, the_worst_backend_counts)
{
	const struct wire_service service = {
		.n_sources = 2, .source_port_first = 1000, .source_port_last = 1099};
	const struct wire_backend limited = {.max_flows = 10}, free = {.max_flows = 0};
	const struct wire_backend_counters_record few = {.flows = 11,
							 .flows_ended = 5,
							 .flows_open = 4},
						  many = {.flows = 9,
							  .flows_open = 9,
							  .source_flows = {25, 50}};
	const struct saturation_look none = {0}, now = look_at(second);
	struct saturation_ratios ratios = saturation_reckon(&none, &now);

	saturation_add_backend(&ratios, &service, &free, &many);
	cr_expect(isnan(ratios.of[SATURATION_MAX_FLOWS]), "no limit");
	expect(ratios.of[SATURATION_SOURCE_PORTS], 0.5, "of the fuller source");
	saturation_add_backend(&ratios, &service, &limited, &few);
	expect(ratios.of[SATURATION_MAX_FLOWS], 0.4, "open of ten");
	saturation_add_backend(&ratios, &service, &limited, &many);
	expect(ratios.of[SATURATION_MAX_FLOWS], 0.9, "the closer one");
	expect(ratios.of[SATURATION_SOURCE_PORTS], 0.5, "as before");
}

Test(saturation, json_has_what_is_known)
{
	const struct saturation_look none = {0}, now = look_at(second);
	struct saturation_ratios ratios = saturation_reckon(&none, &now);
	json_t *json = saturation_to_json(&ratios);

	cr_expect_eq(json_object_size(json), 2);
	expect(json_real_value(json_object_get(json, "flows")), 0.75, "flows");
	json_decref(json);
}
