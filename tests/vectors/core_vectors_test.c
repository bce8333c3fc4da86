/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* The packet vectors, run by the core alone: verdict and bytes must agree. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include <sluice/packet/flow.h>
#include <sluice/packet/nat.h>
#include <sluice/packet/parse.h>

#include "tests/vectors/vectors.h"

/* The tables of make_vectors.py. */
static void make_flow(struct sl_flow *flow, uint8_t family, uint8_t protocol)
{
	bool is_ipv4 = family == SL_FAMILY_IPV4;
	struct sl_tuple client = {.family = family, .protocol = protocol};
	union sl_addr backend = {{0}};

	inet_pton(is_ipv4 ? AF_INET : AF_INET6, is_ipv4 ? "198.51.100.7" : "2001:db8:1::7",
		  &client.source);
	inet_pton(is_ipv4 ? AF_INET : AF_INET6, is_ipv4 ? "203.0.113.10" : "2001:db8:100::10",
		  &client.destination);
	inet_pton(is_ipv4 ? AF_INET : AF_INET6, is_ipv4 ? "10.0.0.2" : "2001:db8:2::2", &backend);
	client.source_port = SL_BE16(40000);
	client.destination_port = SL_BE16(80);
	sl_flow_open(flow, &client, &backend, SL_BE16(8080));
}

/* What an engine does with one frame, table look-ups left out. */
static enum sl_verdict execute(uint8_t *frame, size_t length, bool is_reply)
{
	static const uint8_t next_hop[6] = {2, 0, 0, 0, 0, 0xaa};
	static const uint8_t own[6] = {2, 0, 0, 0, 0, 1};
	enum sl_direction direction = is_reply ? SL_DIRECTION_REPLY : SL_DIRECTION_FORWARD;
	enum sl_verdict verdict;
	struct sl_packet packet;
	struct sl_rewrite to;
	union {
		struct sl_flow flow;
		struct sl_flow_ipv6 storage;
	} any = {.storage = {.flow = {.state = 0}}};

	verdict = sl_parse_link(frame, frame + length, own);
	if (verdict == SL_VERDICT_NONE)
		verdict = sl_parse(frame, frame + length, &packet);
	if (verdict != SL_VERDICT_NONE)
		return verdict;
	make_flow(&any.flow, packet.tuple.family, packet.tuple.protocol);
	if (!sl_nat_has_ttl(&packet))
		return SL_VERDICT_DROP_TTL;
	cr_assert(sl_flow_matches(&any.flow, &packet.tuple, direction) ||
			  packet.tuple.source_port != SL_BE16(40000),
		  "the vector's tables do not fit the vector");
	sl_flow_rewrite(&any.flow, direction, &to);
	sl_nat_rewrite(&packet, &to);
	sl_nat_ethernet(packet.ethernet, next_hop, own);
	return is_reply ? SL_VERDICT_REPLY : SL_VERDICT_FORWARD;
}

Test(vectors, core_agrees_with_every_vector)
{
	size_t n = 0;
	struct vector *vectors = vectors_read(SLUICE_SOURCE_DIR "/tests/vectors/packets.txt", &n);

	cr_assert_neq(vectors, NULL);
	cr_assert_geq(n, 350);
	for (size_t i = 0; i < n; i++) {
		const struct vector *vector = &vectors[i];
		/* Exactly as long as the frame: ASan sees what reads beyond. */
		uint8_t *frame = malloc(vector->in_length != 0 ? vector->in_length : 1);
		enum sl_verdict verdict;

		memcpy(frame, vector->in, vector->in_length);
		verdict = execute(frame, vector->in_length, vector->is_reply);
		cr_expect_eq((int)verdict, vector->verdict, "%s: verdict %d, expected %d",
			     vector->name, (int)verdict, vector->verdict);
		/* An answer to what is dropped is not the rewrite's. */
		if (vector->out_length != 0 &&
		    !sl_verdict_is_drop((enum sl_verdict)vector->verdict)) {
			cr_expect_eq(vector->out_length, vector->in_length, "%s", vector->name);
			cr_expect(memcmp(frame, vector->out, vector->out_length) == 0,
				  "%s: the bytes differ", vector->name);
		} else {
			cr_expect(memcmp(frame, vector->in, vector->in_length) == 0,
				  "%s: a refused frame was changed", vector->name);
		}
		free(frame);
	}
	free(vectors);
}
