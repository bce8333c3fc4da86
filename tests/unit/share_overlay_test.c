/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* control/daemon/share_overlay.c: who gets new flows, against a twin that reckons in fractions. */
#include <criterion/criterion.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "control/daemon/desired.h"
#include "control/daemon/share_overlay.h"
#include "dataplane/maglev_fill.h"
#include "tests/unit/random.h"

enum {
	MAX_BACKENDS = 60,
	N_ROUNDS = 20000,
};

/* A backend in few letters: role A, B or S, the group or '-', its weight, and + up, - down, d drain. */
struct row {
	char role, group;
	uint32_t weight;
	char state;
};

static struct desired_service *make_service(const struct row *row, uint32_t n)
{
	const struct wire_address address = {.addr.ipv4 = SL_BE32(0xcb00710a),
					     .port = SL_BE16(80),
					     .protocol = SL_PROTOCOL_TCP,
					     .family = SL_FAMILY_IPV4};
	struct desired_service *service = desired_service_new("web", &address, DESIRED_OWNER_API);
	struct desired_backend *backend = calloc(n + 1, sizeof(*backend));

	for (uint32_t i = 0; i < n; i++) {
		backend[i].wire = (struct wire_backend){
			.service = address,
			.addr.word = {sl_to_be32(0x0a000001 + i)},
			.port = SL_BE16(8080),
			.state = row[i].state == 'd' ? WIRE_STATE_DRAIN : WIRE_STATE_READY,
			.health = row[i].state == '-' ? WIRE_HEALTH_DOWN : WIRE_HEALTH_UP,
			.weight = row[i].weight,
		};
		backend[i].part.role = row[i].role == 'A'   ? SHARE_ACTIVE
				       : row[i].role == 'B' ? SHARE_BACKUP
							    : SHARE_SORRY;
		if (row[i].group != '-')
			backend[i].part.group[0] = row[i].group;
	}
	desired_service_fill(service, backend, n);
	return service;
}

static void set_canary(struct desired_service *service, uint32_t share)
{
	service->canary = (struct share_canary){.share = share, .group = "v"};
}

static bool gets_flows(const struct wire_backend *backend)
{
	return backend->state == WIRE_STATE_READY && backend->weight > 0 &&
	       backend->health == WIRE_HEALTH_UP;
}

/* ---- roles ---- */

struct role_case {
	const char *name;
	uint32_t panic_percent;
	struct row row[6];
	const char *used; /* a letter for each: u gets new flows, . does not */
	uint8_t role;
	bool is_all_used;
};

static const struct role_case role_cases[] = {
	{"active serve",
	 1,
	 {{'A', '-', 1, '+'}, {'B', '-', 1, '+'}, {'S', '-', 1, '+'}},
	 "u..",
	 SHARE_ACTIVE,
	 false},
	{"one active is enough",
	 1,
	 {{'A', '-', 1, '-'}, {'A', '-', 1, '+'}, {'B', '-', 1, '+'}},
	 ".u.",
	 SHARE_ACTIVE,
	 false},
	{"no active is up",
	 1,
	 {{'A', '-', 1, '-'}, {'B', '-', 2, '+'}, {'S', '-', 1, '+'}},
	 ".u.",
	 SHARE_BACKUP,
	 false},
	{"the active one drains",
	 1,
	 {{'A', '-', 1, 'd'}, {'B', '-', 1, '+'}},
	 ".u",
	 SHARE_BACKUP,
	 false},
	{"the active one weighs nothing",
	 0,
	 {{'A', '-', 0, '+'}, {'B', '-', 1, '+'}},
	 ".u",
	 SHARE_BACKUP,
	 false},
	{"one backup is down",
	 1,
	 {{'A', '-', 1, '-'}, {'B', '-', 1, '-'}, {'B', '-', 1, '+'}},
	 "..u",
	 SHARE_BACKUP,
	 false},
	{"only sorry is left",
	 1,
	 {{'A', '-', 1, '-'}, {'B', '-', 1, '-'}, {'S', '-', 1, '+'}},
	 "..u",
	 SHARE_SORRY,
	 false},
	{"sorry is down, too",
	 1,
	 {{'A', '-', 1, '-'}, {'B', '-', 1, '-'}, {'S', '-', 1, '-'}},
	 "..u",
	 SHARE_SORRY,
	 true},
	{"sorry without panic",
	 0,
	 {{'A', '-', 1, '-'}, {'S', '-', 1, '-'}},
	 ".u",
	 SHARE_SORRY,
	 true},
	{"the sorry one that is up",
	 0,
	 {{'A', '-', 1, '-'}, {'S', '-', 1, '-'}, {'S', '-', 1, '+'}},
	 "..u",
	 SHARE_SORRY,
	 false},
	{"sorry drains", 1, {{'A', '-', 1, '-'}, {'S', '-', 1, 'd'}}, "u.", SHARE_ACTIVE, true},
	{"panic is the active ones'",
	 1,
	 {{'A', '-', 1, '-'}, {'A', '-', 1, '-'}, {'B', '-', 1, '-'}},
	 "uu.",
	 SHARE_ACTIVE,
	 true},
	{"panic of backups alone",
	 1,
	 {{'A', '-', 1, 'd'}, {'B', '-', 1, '-'}},
	 ".u",
	 SHARE_BACKUP,
	 true},
	{"no panic", 0, {{'A', '-', 1, '-'}, {'B', '-', 1, '-'}}, "..", SHARE_ACTIVE, false},
	{"panic before a backup",
	 60,
	 {{'A', '-', 1, '-'}, {'A', '-', 1, '+'}, {'B', '-', 1, '+'}},
	 "uu.",
	 SHARE_ACTIVE,
	 true},
	{"panic among backups",
	 60,
	 {{'A', '-', 1, '-'}, {'B', '-', 1, '-'}, {'B', '-', 1, '+'}},
	 ".uu",
	 SHARE_BACKUP,
	 true},
	{"nobody at all", 1, {{'A', '-', 1, 'd'}}, ".", SHARE_ACTIVE, false},
	{"no active one exists", 1, {{'S', '-', 1, '+'}}, "u", SHARE_SORRY, false},
};

Test(share_overlay, roles_have_their_turn)
{
	for (size_t i = 0; i < SL_ARRAY_LEN(role_cases); i++) {
		const struct role_case *at = &role_cases[i];
		uint32_t n = (uint32_t)strlen(at->used);
		struct desired_service *service = make_service(at->row, n);
		struct share_choice choice;

		service->check.panic_percent = at->panic_percent;
		choice = share_lay_over(service);
		cr_expect_eq(choice.role, at->role, "%s: role %u", at->name, choice.role);
		cr_expect_eq(choice.is_all_used, at->is_all_used, "%s", at->name);
		for (uint32_t k = 0; k < n; k++) {
			const struct wire_backend *wire = &service->backend[k].wire;

			cr_expect_eq(gets_flows(wire), at->used[k] == 'u', "%s: backend %u",
				     at->name, k);
			cr_expect(!gets_flows(wire) || wire->weight == at->row[k].weight,
				  "%s: without a canary weights stay", at->name);
		}
		desired_service_put(service);
	}
}

/* ---- the canary ---- */

static uint64_t weight_of(const struct desired_service *service, bool is_group)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < service->n_backends; i++)
		if (gets_flows(&service->backend[i].wire) &&
		    (service->backend[i].part.group[0] == 'v') == is_group)
			sum += service->backend[i].wire.weight;
	return sum;
}

static double share_of_group(const struct desired_service *service)
{
	uint64_t group = weight_of(service, true), rest = weight_of(service, false);

	return group + rest ? (double)group / (double)(group + rest) : 0;
}

static void expect_share(const struct row *row, uint32_t n, uint32_t share, double wanted,
			 const char *name)
{
	struct desired_service *service = make_service(row, n);

	set_canary(service, share);
	(void)share_lay_over(service);
	cr_expect_float_eq(share_of_group(service), wanted, 1e-9, "%s: %.9f", name,
			   share_of_group(service));
	desired_service_put(service);
}

/* One prefix, which one it is does not matter here. */
static void set_sources(struct desired_service *service)
{
	struct wire_listed *source = calloc(1, sizeof(*source));

	*source = (struct wire_listed){.list = WIRE_CANARY_SOURCE, .family = SL_FAMILY_IPV6};
	desired_service_list(service, source, 1);
}

/* @wanted: the weights for clients of the sources. */
static void expect_canary(const struct row *row, uint32_t n, uint32_t share, const uint32_t *wanted,
			  const char *name)
{
	struct desired_service *service = make_service(row, n);

	set_canary(service, share);
	set_sources(service);
	(void)share_lay_over(service);
	for (uint32_t i = 0; i < n; i++)
		cr_expect_eq(service->backend[i].wire.canary_weight, wanted[i],
			     "%s: backend %u: %u", name, i, service->backend[i].wire.canary_weight);
	desired_service_put(service);
}

Test(share_overlay, clients_of_the_sources_are_the_groups_alone_by_its_own_weights)
{
	const struct row few[] = {{'A', '-', 5, '+'}, {'A', 'v', 2, '+'}, {'A', 'v', 7, '+'}};
	const struct row ill[] = {{'A', '-', 5, '+'}, {'A', 'v', 2, '-'}, {'A', 'v', 7, '+'}};
	const struct row gone[] = {{'A', '-', 5, '+'}, {'A', 'v', 2, '-'}, {'A', 'v', 7, 'd'}};
	const struct row idle[] = {{'A', '-', 5, '+'}, {'A', 'v', 0, '+'}, {'B', 'v', 7, '+'}};
	const struct row turn[] = {{'A', '-', 5, '-'}, {'B', 'v', 2, '+'}, {'B', '-', 7, '+'}};

	expect_canary(few, 3, 0, (const uint32_t[]){0, 2, 7}, "without a share");
	expect_canary(few, 3, 500, (const uint32_t[]){0, 2, 7}, "beside a share");
	expect_canary(few, 3, SHARE_WHOLE, (const uint32_t[]){0, 2, 7}, "with all others");
	expect_canary(ill, 3, 0, (const uint32_t[]){0, 0, 7}, "of those that are up");
	expect_canary(gone, 3, 0, (const uint32_t[]){0, 0, 0}, "nobody of the group");
	expect_canary(idle, 3, 0, (const uint32_t[]){0, 0, 0}, "backups wait their turn");
	expect_canary(turn, 3, 0, (const uint32_t[]){0, 2, 0}, "and have it");
}

Test(share_overlay, without_sources_nobody_has_a_weight_of_theirs)
{
	const struct row row[] = {{'A', '-', 5, '+'}, {'A', 'v', 2, '+'}};
	struct desired_service *service = make_service(row, 2);

	set_canary(service, 500);
	(void)share_lay_over(service);
	cr_expect_eq(service->backend[0].wire.canary_weight, 0);
	cr_expect_eq(service->backend[1].wire.canary_weight, 0);
	desired_service_put(service);
}

Test(share_overlay, a_backend_for_the_sources_alone_is_in_use)
{
	const struct row row[] = {{'A', '-', 5, '+'}, {'A', 'v', 2, '+'}};
	struct desired_service *service = make_service(row, 2);
	struct desired_service *live;

	set_canary(service, 0);
	live = share_overlay(service);
	cr_expect_not(share_is_in_use(live, &service->backend[1].wire), "a share of 0");
	desired_service_put(live);
	desired_service_put(service);
	service = make_service(row, 2);
	set_canary(service, 0);
	set_sources(service);
	live = share_overlay(service);
	cr_expect_eq(live->backend[1].wire.weight, 0);
	cr_expect(share_is_in_use(live, &service->backend[1].wire));
	desired_service_put(live);
	desired_service_put(service);
}

Test(share_overlay, a_group_has_its_share_whatever_it_weighs)
{
	const struct row few[] = {{'A', '-', 1, '+'}, {'A', '-', 1, '+'}, {'A', 'v', 1, '+'}};
	const struct row heavy[] = {{'A', '-', 1, '+'}, {'A', 'v', 65535, '+'}, {'A', 'v', 1, '+'}};
	const struct row ill[] = {{'A', '-', 1, '+'}, {'A', 'v', 1, '-'}, {'A', 'v', 1, '+'}};
	const struct row gone[] = {{'A', '-', 1, '+'}, {'A', 'v', 1, '-'}, {'B', 'v', 1, '+'}};
	const struct row alone[] = {{'A', '-', 1, '-'}, {'A', 'v', 1, '+'}, {'B', '-', 1, '+'}};
	const struct row backup[] = {{'A', '-', 1, '-'}, {'B', 'v', 1, '+'}, {'B', '-', 3, '+'}};

	expect_share(few, 3, 500, 0.05, "5 %");
	expect_share(few, 3, 1, 0.0001, "a hundredth of a percent");
	expect_share(few, 3, 0, 0, "none");
	expect_share(few, 3, SHARE_WHOLE, 1, "all");
	expect_share(heavy, 3, 1000, 0.1, "weights are a group's own");
	expect_share(ill, 3, 1000, 0.1, "those that are up have the share of those that are down");
	expect_share(gone, 3, 1000, 0,
		     "a group that is down has none, its backups wait their turn");
	expect_share(alone, 3, 0, 1, "the rest is down: all go to the group");
	expect_share(backup, 3, 2500, 0.25, "among backups, too");
}

static struct row random_row(struct random *random, bool is_simple)
{
	uint64_t draw = random_next(random) >> 16;
	uint32_t bits = (uint32_t)(draw % 17);

	return (struct row){
		.role = is_simple || draw >> 20 & 3 ? 'A'
			: draw >> 22 & 1            ? 'B'
						    : 'S',
		.group = draw >> 23 & 1 ? 'v' : '-',
		.weight = (uint32_t)(draw >> 24) % (1u << bits),
		.state = "+++++++-d"[(draw >> 40) % 9],
	};
}

/* Each of what is left over, and each backend that has a weight of 1 for that it has one. */
static double tolerance_of(const struct desired_service *service)
{
	uint64_t all = weight_of(service, true) + weight_of(service, false);
	uint32_t n_small = 0;

	for (uint32_t i = 0; i < service->n_backends; i++)
		n_small += gets_flows(&service->backend[i].wire) &&
			   service->backend[i].wire.weight == 1;
	return n_small ? (double)n_small / (double)all : 1e-9;
}

Test(share_overlay, is_what_fractions_come_to, .timeout = 60)
{
	struct random random = random_seeded();

	for (int round = 0; round < N_ROUNDS; round++) {
		uint32_t n = (uint32_t)(random_next(&random) >> 40) % MAX_BACKENDS;
		uint32_t share = (uint32_t)(random_next(&random) >> 40) % (SHARE_WHOLE + 1);
		struct row row[MAX_BACKENDS];
		struct desired_service *plain, *service, *again;
		struct share_choice choice;
		double group, rest;

		for (uint32_t i = 0; i < n; i++)
			row[i] = random_row(&random, round % 2);
		plain = make_service(row, n);
		plain->check.panic_percent = round % 3 ? 1 : 50;
		service = desired_service_copy(plain);
		set_canary(service, share);
		if (round % 5 < 2)
			set_sources(service);
		again = desired_service_copy(service);
		choice = share_lay_over(service);
		(void)share_lay_over(again);
		(void)share_lay_over(plain);
		group = (double)weight_of(plain, true);
		rest = (double)weight_of(plain, false);
		for (uint32_t i = 0; i < n; i++) {
			const struct wire_backend *wire = &service->backend[i].wire;
			bool is_group = row[i].group == 'v';
			bool has_none =
				group > 0 && rest > 0 && share == (is_group ? 0 : SHARE_WHOLE);

			cr_assert_eq(memcmp(wire, &again->backend[i].wire, sizeof(*wire)), 0,
				     "the same comes to the same");
			cr_assert_leq(wire->weight, SL_MAX_WEIGHT);
			cr_assert_eq(wire->canary_weight,
				     round % 5 < 2 && is_group &&
						     gets_flows(&plain->backend[i].wire)
					     ? row[i].weight
					     : 0,
				     "round %d: backend %u for the sources", round, i);
			cr_assert(!gets_flows(wire) || (share != 0 && share != SHARE_WHOLE) ||
					  wire->weight == row[i].weight,
				  "round %d: who has all keeps its weights", round);
			cr_assert_eq(gets_flows(wire),
				     gets_flows(&plain->backend[i].wire) && !has_none,
				     "round %d: backend %u, role %u serves", round, i, choice.role);
		}
		if (group > 0 && rest > 0)
			cr_assert(fabs(share_of_group(service) - share / 10000.0) <=
					  tolerance_of(service),
				  "round %d: %u backends, share %u comes to %.9f", round, n, share,
				  share_of_group(service));
		desired_service_put(plain);
		desired_service_put(service);
		desired_service_put(again);
	}
}

/* What a backend has of its side's share is what it weighs there, to one unit and those of the least weight. */
Test(share_overlay, weights_within_a_side_stay_what_they_are)
{
	struct random random = random_seeded();

	for (int round = 0; round < 1000; round++) {
		struct row row[MAX_BACKENDS];
		struct desired_service *service;
		double before[2] = {0}, after[2], n_least[2] = {0};

		for (uint32_t i = 0; i < MAX_BACKENDS; i++) {
			row[i] =
				(struct row){'A', i % 3 ? '-' : 'v',
					     1 + (uint32_t)(random_next(&random) >> 40) % 100, '+'};
			before[i % 3 == 0] += row[i].weight;
		}
		service = make_service(row, MAX_BACKENDS);
		set_canary(service, 1 + (uint32_t)(random_next(&random) >> 40) % (SHARE_WHOLE - 1));
		(void)share_lay_over(service);
		after[0] = (double)weight_of(service, false);
		after[1] = (double)weight_of(service, true);
		/* Those that are due less than 1 have it from who follows. */
		for (uint32_t i = 0; i < MAX_BACKENDS; i++)
			n_least[i % 3 == 0] += service->backend[i].wire.weight == 1;
		for (uint32_t i = 0; i < MAX_BACKENDS; i++) {
			bool is_group = i % 3 == 0;
			double wanted = after[is_group] * row[i].weight / before[is_group];

			cr_assert(fabs(service->backend[i].wire.weight - wanted) <=
					  1 + n_least[is_group] + 0.02 * wanted,
				  "round %d: %u is not %.3f", round,
				  service->backend[i].wire.weight, wanted);
		}
		desired_service_put(service);
	}
}

static uint32_t slots_of_group(const struct desired_service *service)
{
	static const struct sl_hash_key key = {{1, 2}};
	static uint16_t slot[SL_DEFAULT_SLOTS];
	struct maglev_backend backend[MAX_BACKENDS];
	uint32_t n = 0;

	for (uint32_t i = 0; i < service->n_backends; i++) {
		const struct wire_backend *wire = &service->backend[i].wire;

		backend[i] = (struct maglev_backend){
			.addr = wire->addr,
			.port = wire->port,
			.family = SL_FAMILY_IPV4,
			.protocol = SL_PROTOCOL_TCP,
			.weight = gets_flows(wire) ? wire->weight : 0,
		};
	}
	cr_assert_eq(maglev_fill(&key, backend, service->n_backends, slot, SL_DEFAULT_SLOTS), 0);
	for (uint32_t i = 0; i < SL_DEFAULT_SLOTS; i++)
		n += service->backend[slot[i]].part.group[0] == 'v';
	return n;
}

/* Of the table that a dataplane fills: a share more is never a slot less. */
Test(share_overlay, more_share_is_more_slots, .timeout = 120)
{
	const struct row row[] = {{'A', '-', 1, '+'},
				  {'A', '-', 2, '+'},
				  {'A', '-', 7, '+'},
				  {'A', 'v', 1, '+'},
				  {'A', 'v', 3, '+'}};
	uint32_t before = 0;

	for (uint32_t share = 0; share <= SHARE_WHOLE; share += 50) {
		struct desired_service *service = make_service(row, SL_ARRAY_LEN(row));
		uint32_t n;

		set_canary(service, share);
		(void)share_lay_over(service);
		n = slots_of_group(service);
		cr_expect_geq(n, before, "share %u: %u slots, less than %u", share, n, before);
		cr_expect(abs((int)n - (int)(SL_DEFAULT_SLOTS * share / SHARE_WHOLE)) <= 3,
			  "share %u: %u slots", share, n);
		before = n;
		desired_service_put(service);
	}
}

Test(share_overlay, a_plain_service_is_its_own_and_another_is_made_once)
{
	const struct row plain[] = {{'A', 'v', 1, '+'}, {'A', '-', 2, '+'}};
	const struct row special[] = {{'A', '-', 1, '+'}, {'B', '-', 2, '+'}};
	struct desired_service *service = make_service(plain, 2), *first, *second;

	cr_expect_eq(share_overlay(service), service);
	cr_expect_eq(service->n_references, 2);
	desired_service_put(service);
	desired_service_put(service);
	service = make_service(special, 2);
	first = share_overlay(service);
	second = share_overlay(service);
	cr_expect_eq(first, second);
	cr_expect_neq(first, service);
	cr_expect_eq(service->backend[1].wire.weight, 2);
	cr_expect_eq(first->backend[1].wire.weight, 0);
	desired_service_put(first);
	desired_service_put(second);
	desired_service_put(service);
}

Test(share_overlay, percentages_are_read_and_written)
{
	static const char *const wrong[] = {"",       ".5",  "5.", "-1",    "+1", "1e1",
					    "100.01", "101", "05", "0.001", " 1", "1000000000000",
					    "5,0",    "5%"};
	char text[SHARE_PERCENT_TEXT];
	uint32_t share, back;

	for (share = 0; share <= SHARE_WHOLE; share++) {
		cr_assert(share_parse_percent(share_percent_text(share, text), &back), "%s", text);
		cr_assert_eq(back, share, "%s", text);
	}
	cr_expect_str_eq(share_percent_text(5, text), "0.05");
	cr_expect_str_eq(share_percent_text(50, text), "0.5");
	for (size_t i = 0; i < SL_ARRAY_LEN(wrong); i++)
		cr_expect_not(share_parse_percent(wrong[i], &share), "\"%s\"", wrong[i]);
}
