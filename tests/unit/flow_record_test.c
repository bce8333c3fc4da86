/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* dataplane/flow_record.c: what a filter asks for, and what a record says of a flow. */
#include <criterion/criterion.h>
#include <string.h>

#include "dataplane/flow_record.h"
#include "dataplane/snapshot.h"

/* 198.51.100.7:40000 -> 203.0.113.10:80/tcp, at 10.0.0.2:8080. */
static struct sl_flow_ipv4 flow_ipv4(void)
{
	const struct sl_tuple client = {
		.source = {.word = {SL_BE32(0xc6336407)}},
		.destination = {.word = {SL_BE32(0xcb00710a)}},
		.source_port = SL_BE16(40000),
		.destination_port = SL_BE16(80),
		.protocol = SL_PROTOCOL_TCP,
		.family = SL_FAMILY_IPV4,
	};
	const union sl_addr backend = {.word = {SL_BE32(0x0a000002)}};
	struct sl_flow_ipv4 flow;

	memset(&flow, 0, sizeof(flow));
	sl_flow_open(&flow.flow, &client, &backend, SL_BE16(8080));
	return flow;
}

static struct wire_flow_filter filter_of(const struct sl_flow *flow)
{
	return (struct wire_flow_filter){
		.service = {.addr = sl_flow_addr(flow, SL_FLOW_SERVICE),
			    .port = flow->service_port,
			    .protocol = flow->protocol,
			    .family = flow->family},
		.client = sl_flow_addr(flow, SL_FLOW_CLIENT),
		.client_port = flow->client_port,
		.client_family = flow->family,
	};
}

Test(flow_record, an_empty_filter_matches_everything)
{
	const struct sl_flow_ipv4 flow = flow_ipv4();
	const struct wire_flow_filter filter = {.client_family = 0};

	cr_expect(flow_record_matches(NULL, &filter, &flow.flow));
}

Test(flow_record, every_member_of_a_filter_must_match)
{
	const struct sl_flow_ipv4 flow = flow_ipv4();
	const struct wire_flow_filter good = filter_of(&flow.flow);
	struct wire_flow_filter filter = good;

	cr_expect(flow_record_matches(NULL, &filter, &flow.flow));
	filter.service.addr.word[0] ^= SL_BE32(1);
	cr_expect_not(flow_record_matches(NULL, &filter, &flow.flow), "service address");
	filter = good;
	filter.service.port = SL_BE16(81);
	cr_expect_not(flow_record_matches(NULL, &filter, &flow.flow), "service port");
	filter = good;
	filter.service.protocol = SL_PROTOCOL_UDP;
	cr_expect_not(flow_record_matches(NULL, &filter, &flow.flow), "protocol");
	filter = good;
	filter.service.family = SL_FAMILY_IPV6;
	cr_expect_not(flow_record_matches(NULL, &filter, &flow.flow), "service family");
	filter = good;
	filter.client.word[0] ^= SL_BE32(1);
	cr_expect_not(flow_record_matches(NULL, &filter, &flow.flow), "client address");
	filter = good;
	filter.client_family = SL_FAMILY_IPV6;
	cr_expect_not(flow_record_matches(NULL, &filter, &flow.flow), "client family");
	filter = good;
	filter.client_port = SL_BE16(40001);
	cr_expect_not(flow_record_matches(NULL, &filter, &flow.flow), "client port");
}

Test(flow_record, port_0_of_a_filter_is_every_port)
{
	const struct sl_flow_ipv4 flow = flow_ipv4();
	struct wire_flow_filter filter = filter_of(&flow.flow);

	filter.service.port = 0;
	filter.client_port = 0;
	cr_expect(flow_record_matches(NULL, &filter, &flow.flow));
}

Test(flow_record, a_record_says_what_the_flow_is)
{
	struct sl_flow_ipv4 flow = flow_ipv4();
	struct sl_service service = {
		.timeout_ticks = {[SL_TIMEOUT_ESTABLISHED] = 90 * SL_TICKS_PER_SEC}};
	const struct snapshot snapshot = {.service = &service, .n_services = 1};
	struct wire_flow_record record;

	flow.flow.state = SL_FLOW_ESTABLISHED;
	flow.flow.last_seen = 100;
	memset(&record, 0xff, sizeof(record));
	flow_record_fill(&snapshot, &flow.flow, 3, 100 + 2 * SL_TICKS_PER_SEC, &record);
	cr_expect_eq(record.client.word[0], SL_BE32(0xc6336407));
	cr_expect_eq(record.service.word[0], SL_BE32(0xcb00710a));
	cr_expect_eq(record.source.word[0], SL_BE32(0xc6336407));
	cr_expect_eq(record.backend.word[0], SL_BE32(0x0a000002));
	cr_expect_eq(record.client.word[3], 0);
	cr_expect_eq(record.client_port, SL_BE16(40000));
	cr_expect_eq(record.service_port, SL_BE16(80));
	cr_expect_eq(record.source_port, SL_BE16(40000));
	cr_expect_eq(record.backend_port, SL_BE16(8080));
	cr_expect_eq(record.family, SL_FAMILY_IPV4);
	cr_expect_eq(record.protocol, SL_PROTOCOL_TCP);
	cr_expect_eq(record.state, SL_FLOW_ESTABLISHED);
	cr_expect_eq(record.worker, 3);
	cr_expect_eq(record.idle_ms, 2000);
	cr_expect_eq(record.timeout_ms, 90000);
}

Test(flow_record, without_its_service_a_flow_has_no_timeout)
{
	struct sl_flow_ipv4 flow = flow_ipv4();
	const struct snapshot snapshot = {.n_services = 1};
	struct wire_flow_record record;

	flow_record_fill(NULL, &flow.flow, 0, 0, &record);
	cr_expect_eq(record.timeout_ms, 0);
	flow.flow.service = 1;
	flow_record_fill(&snapshot, &flow.flow, 0, 0, &record);
	cr_expect_eq(record.timeout_ms, 0);
}

Test(flow_record, a_flow_seen_after_the_clock_was_read_is_not_idle)
{
	struct sl_flow_ipv4 flow = flow_ipv4();
	struct wire_flow_record record;

	flow.flow.last_seen = 8;
	flow_record_fill(NULL, &flow.flow, 0, 7, &record);
	cr_expect_eq(record.idle_ms, 0);
}
