/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* control/daemon/desired.c and diff.c: copy on write, limits, differences against a naive twin. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "control/daemon/desired.h"
#include "control/daemon/diff.h"
#include "wire/wire_abi.h"

static struct wire_address address_of(unsigned number)
{
	return (struct wire_address){
		.addr.word = {sl_to_be32(0xcb007100u + number / 200)},
		.port = sl_to_be16((uint16_t)(1000 + number % 200)),
		.protocol = SL_PROTOCOL_TCP,
		.family = SL_FAMILY_IPV4,
	};
}

static struct desired_backend backend_of(unsigned number, uint32_t weight)
{
	return (struct desired_backend){
		.wire.addr.ipv4 = sl_to_be32(0x0a000000u + number),
		.wire.port = sl_to_be16(8080),
		.wire.state = WIRE_STATE_READY,
		.wire.weight = weight,
	};
}

static void add_service(struct desired *desired, const char *name, unsigned number)
{
	struct wire_address address = address_of(number);
	struct rpc_error error;

	cr_assert_eq(desired_add(desired, desired_service_new(name, &address, DESIRED_OWNER_API),
				 &error),
		     RPC_OK, "%s", error.message);
}

static void add_backend(struct desired *desired, const char *name, unsigned number, uint32_t weight)
{
	struct desired_backend backend = backend_of(number, weight);
	struct rpc_error error;

	cr_assert_eq(desired_add_backend(desired, name, &backend, &error), RPC_OK, "%s",
		     error.message);
}

Test(desired, a_change_to_a_clone_is_not_seen_in_the_original)
{
	struct desired *desired = desired_new(), *clone;
	struct desired_backend backend = backend_of(1, 5);
	struct sl_hash_key key = {{1, 2}};
	struct rpc_error error;
	uint64_t digest;

	add_service(desired, "web", 1);
	add_service(desired, "dns", 2);
	add_backend(desired, "web", 1, 1);
	add_backend(desired, "web", 2, 1);
	digest = desired_digest(desired, &key);
	clone = desired_clone(desired);
	cr_assert_eq(desired_digest(clone, &key), digest);
	cr_assert_eq(desired_find(clone, "dns"), desired_find(desired, "dns"));
	cr_assert_eq(desired_set_backend(clone, "web", &backend, &error), RPC_OK);
	add_backend(clone, "web", 3, 1);
	cr_assert_eq(desired_delete(clone, "dns", &error), RPC_OK);
	cr_assert_neq(desired_digest(clone, &key), digest);
	cr_assert_eq(desired_digest(desired, &key), digest);
	cr_assert_eq(desired->n_services, 2);
	cr_assert_eq(desired->n_backends, 2);
	cr_assert_eq(clone->n_backends, 3);
	desired_free(clone);
	cr_assert_eq(desired_digest(desired, &key), digest);
	desired_free(desired);
}

/* Judged as a part of the state that it came from, a state gets the answer that it gets whole. */
static void judge_both(const struct desired *next, const struct desired *judged, const char *word)
{
	struct rpc_error whole, part;
	int code = desired_check(next, NULL, &whole);

	cr_assert_eq(desired_check(next, judged, &part), code, "%s: %s", word, part.message);
	cr_assert_eq(code, word ? RPC_PARAMS : RPC_OK, "%s", whole.message);
	if (!word)
		return;
	cr_expect_str_eq(part.message, whole.message);
	cr_expect(strstr(part.message, word), "%s", part.message);
}

Test(desired, what_was_judged_is_judged_again_where_it_matters)
{
	struct desired *judged = desired_new(), *next;
	struct desired_service *service;
	struct rpc_error error;

	add_service(judged, "web", 1);
	add_service(judged, "dns", 2);
	add_backend(judged, "web", 1, 1);
	add_backend(judged, "dns", 2, 1);
	judge_both(judged, NULL, NULL);
	next = desired_clone(judged);
	add_backend(next, "web", 3, 1);
	judge_both(next, judged, NULL);
	add_backend(next, "web", 4, SL_MAX_WEIGHT + 1);
	judge_both(next, judged, "weight");
	desired_free(next);
	/* A service comes whose address is a backend of one that stays as it is. */
	next = desired_clone(judged);
	add_service(next, "new", 3);
	cr_assert_eq(desired_edit(next, "new", &service, &error), RPC_OK);
	service->wire.address.addr.ipv4 = backend_of(2, 1).wire.addr.ipv4;
	judge_both(next, judged, "the address is a service's");
	desired_free(next);
	/* One gets a source that is a backend of one that stays as it is. */
	next = desired_clone(judged);
	cr_assert_eq(desired_edit(next, "web", &service, &error), RPC_OK);
	service->wire.mode = WIRE_MODE_FULLNAT;
	service->wire.n_sources = 1;
	service->wire.source[0] = backend_of(2, 1).wire.addr;
	service->wire.source_port_first = 1;
	service->wire.source_port_last = 9;
	judge_both(next, judged, "the address is a source");
	desired_free(next);
	desired_free(judged);
}

Test(desired, what_is_taken_and_what_is_missing_is_named)
{
	struct desired *desired = desired_new();
	struct wire_address address = address_of(9);
	struct desired_backend backend = backend_of(1, 1);
	struct rpc_error error;

	add_service(desired, "web", 1);
	add_backend(desired, "web", 1, 1);
	cr_expect_eq(desired_add(desired, desired_service_new("web", &address, DESIRED_OWNER_API),
				 &error),
		     RPC_EXISTS);
	cr_expect(strstr(error.message, "service web: exists already"), "%s", error.message);
	cr_expect_eq(desired_add_backend(desired, "web", &backend, &error), RPC_EXISTS);
	cr_expect(strstr(error.message, "backend 10.0.0.1:8080: exists"), "%s", error.message);
	backend = backend_of(7, 1);
	cr_expect_eq(desired_set_backend(desired, "web", &backend, &error), RPC_NOT_FOUND);
	cr_expect(strstr(error.message, "backend 10.0.0.7:8080"), "%s", error.message);
	cr_expect_eq(desired_delete(desired, "dns", &error), RPC_NOT_FOUND);
	cr_expect(strstr(error.message, "service dns"), "%s", error.message);
	desired_free(desired);
}

static struct wire_listed deny_of(unsigned number, uint8_t end)
{
	return (struct wire_listed){
		.addr.ipv4 = sl_to_be32(0x0a000000u + number * 256),
		.length = (uint8_t)(24 + number % 2),
		.list = end,
		.family = SL_FAMILY_IPV4,
	};
}

/* Denies @n prefixes from @first on at each end, in descending order. */
static void deny(struct desired_service *service, unsigned first, unsigned n)
{
	struct wire_listed *list = calloc(2 * n + 1, sizeof(*list));

	for (unsigned i = 0; i < n; i++) {
		list[i] = deny_of(first + n - 1 - i, WIRE_DENY_DESTINATION);
		list[n + i] = deny_of(first + n - 1 - i, WIRE_DENY_SOURCE);
	}
	desired_service_list(service, list, 2 * n);
}

Test(desired, a_deny_list_is_sorted_and_copied_on_write)
{
	struct desired *desired = desired_new(), *clone;
	struct sl_hash_key key = {{1, 2}};
	struct desired_service *service;
	struct desired_backend backend = backend_of(1, 1);
	const struct desired_service *found;
	struct rpc_error error;
	uint64_t without, digest;

	add_service(desired, "web", 1);
	without = desired_digest(desired, &key);
	cr_assert_eq(desired_edit(desired, "web", &service, &error), RPC_OK);
	deny(service, 3, 5);
	cr_assert_eq(service->n_listed, 10);
	for (uint32_t i = 0; i < service->n_listed; i++) {
		struct wire_listed wanted = deny_of(3 + i % 5, i < 5 ? 1 : 2);

		wanted.service = service->wire.address;
		cr_expect_arr_eq(&service->listed[i], &wanted, sizeof(wanted), "%u", i);
	}
	digest = without;
	for (uint32_t i = 0; i < service->n_listed; i++)
		digest += wire_digest(&service->listed[i], sizeof(service->listed[i]));
	cr_expect_eq(desired_digest(desired, &key), digest);
	clone = desired_clone(desired);
	cr_assert_eq(desired_add_backend(clone, "web", &backend, &error), RPC_OK);
	found = desired_find(clone, "web");
	cr_assert_neq(found, service);
	cr_assert_eq(found->n_listed, 10);
	cr_expect_neq(found->listed, service->listed);
	cr_assert_eq(desired_edit(clone, "web", &service, &error), RPC_OK);
	deny(service, 0, 0);
	cr_expect_eq(desired_find(desired, "web")->n_listed, 10);
	cr_expect_eq(desired_digest(desired, &key), digest);
	desired_free(clone);
	desired_free(desired);
}

Test(desired, backends_of_a_service_are_limited)
{
	struct desired *desired = desired_new();
	struct desired_backend backend = backend_of(SL_MAX_BACKENDS_PER_SERVICE, 1);
	struct rpc_error error;

	add_service(desired, "web", 1);
	for (unsigned i = 0; i < SL_MAX_BACKENDS_PER_SERVICE; i++)
		add_backend(desired, "web", i, 1);
	cr_assert_eq(desired_add_backend(desired, "web", &backend, &error), RPC_LIMIT);
	cr_assert(strstr(error.message, "10001 backends, the limit is 10000"), "%s", error.message);
	cr_assert_str_eq(error.limit, "10000");
	desired_free(desired);
}

Test(desired, a_file_owned_service_is_not_the_apis)
{
	struct desired *desired = desired_new();
	struct wire_address address = address_of(1);
	struct rpc_error error;

	cr_assert_eq(desired_set_file(desired, "/etc/x.yaml"), 0);
	cr_assert_eq(desired_add(desired, desired_service_new("web", &address, DESIRED_OWNER_FILE),
				 &error),
		     RPC_OK);
	cr_assert_eq(desired_check_owner(desired, "web", &error), RPC_OWNED);
	cr_assert(strstr(error.message, "/etc/x.yaml"), "%s", error.message);
	desired_free(desired);
}

/* The dataplane as a naive twin sees it: records in no order, changed one by one. */
struct twin {
	size_t n_services, n_backends, n_listed;
	struct wire_service service[256];
	struct wire_backend backend[4096];
	struct wire_listed deny[4096];
};

static void twin_delete_backends(struct twin *twin, const struct wire_address *service)
{
	for (size_t i = 0; i < twin->n_backends;)
		if (memcmp(&twin->backend[i].service, service, sizeof(*service)) == 0)
			twin->backend[i] = twin->backend[--twin->n_backends];
		else
			i++;
}

static void twin_delete_denies(struct twin *twin, const struct wire_address *service)
{
	for (size_t i = 0; i < twin->n_listed;)
		if (memcmp(&twin->deny[i].service, service, sizeof(*service)) == 0)
			twin->deny[i] = twin->deny[--twin->n_listed];
		else
			i++;
}

static bool twin_has_deny(const struct twin *twin, const struct wire_listed *deny)
{
	for (size_t i = 0; i < twin->n_listed; i++)
		if (memcmp(&twin->deny[i], deny, sizeof(*deny)) == 0)
			return true;
	return false;
}

static void twin_delete_service(struct twin *twin, const struct wire_address *service)
{
	for (size_t i = 0; i < twin->n_services; i++) {
		if (memcmp(&twin->service[i].address, service, sizeof(*service)))
			continue;
		twin->service[i] = twin->service[--twin->n_services];
		twin_delete_backends(twin, service);
		twin_delete_denies(twin, service);
		return;
	}
	cr_assert_fail("a service to delete is not there");
}

static struct wire_backend *twin_find_backend(struct twin *twin, const struct wire_address *service,
					      const union sl_addr *addr, be16_t port)
{
	for (size_t i = 0; i < twin->n_backends; i++)
		if (memcmp(&twin->backend[i].service, service, sizeof(*service)) == 0 &&
		    sl_addr_equal(&twin->backend[i].addr, addr) && twin->backend[i].port == port)
			return &twin->backend[i];
	return NULL;
}

static void twin_put_service(struct twin *twin, const struct wire_service *service)
{
	twin_delete_denies(twin, &service->address);
	for (size_t i = 0; i < twin->n_services; i++)
		if (memcmp(&twin->service[i].address, &service->address,
			   sizeof(service->address)) == 0) {
			twin->service[i] = *service;
			return;
		}
	twin->service[twin->n_services++] = *service;
}

static void twin_apply(struct twin *twin, const struct diff_delta *delta)
{
	for (size_t i = 0; i < delta->n_deleted_services; i++)
		twin_delete_service(twin, &delta->deleted_service[i]);
	for (size_t i = 0; i < delta->n_deleted_backends; i++) {
		const struct wire_backend_delete_request *gone = &delta->deleted_backend[i];
		struct wire_backend *found =
			twin_find_backend(twin, &gone->service, &gone->addr, gone->port);

		cr_assert(found, "a backend to delete is not there");
		*found = twin->backend[--twin->n_backends];
	}
	for (size_t i = 0; i < delta->n_services; i++)
		twin_put_service(twin, &delta->service[i]);
	for (size_t i = 0; i < delta->n_backends; i++) {
		const struct wire_backend *backend = &delta->backend[i];
		struct wire_backend *found =
			twin_find_backend(twin, &backend->service, &backend->addr, backend->port);

		if (found)
			*found = *backend;
		else
			twin->backend[twin->n_backends++] = *backend;
	}
	for (size_t i = 0; i < delta->n_listed; i++) {
		cr_assert_not(twin_has_deny(twin, &delta->listed[i]), "a deny is there already");
		twin->deny[twin->n_listed++] = delta->listed[i];
	}
}

static void twin_compare(struct twin *twin, const struct desired *desired, unsigned seed)
{
	size_t n_listed = 0;

	cr_assert_eq(twin->n_services, desired->n_services, "seed %u", seed);
	cr_assert_eq(twin->n_backends, desired->n_backends, "seed %u", seed);
	for (size_t i = 0; i < twin->n_services; i++) {
		const struct desired_service *service =
			desired_find_address(desired, &twin->service[i].address);

		cr_assert(service && memcmp(&service->wire, &twin->service[i],
					    sizeof(service->wire)) == 0,
			  "seed %u", seed);
		for (uint32_t k = 0; k < service->n_backends; k++) {
			const struct wire_backend *backend = &service->backend[k].wire;
			struct wire_backend *found = twin_find_backend(
				twin, &backend->service, &backend->addr, backend->port);

			cr_assert(found && memcmp(found, backend, sizeof(*backend)) == 0, "seed %u",
				  seed);
		}
		n_listed += service->n_listed;
		for (uint32_t k = 0; k < service->n_listed; k++)
			cr_assert(twin_has_deny(twin, &service->listed[k]), "seed %u", seed);
	}
	cr_assert_eq(twin->n_listed, n_listed, "seed %u", seed);
}

static struct desired *random_state(unsigned *random)
{
	struct desired *desired = desired_new();
	unsigned n = (unsigned)rand_r(random) % 12;
	unsigned shift = (unsigned)rand_r(random) % 3;

	for (unsigned i = 0; i < n; i++) {
		unsigned n_backends = (unsigned)rand_r(random) % 8;
		struct desired_service *service;
		struct rpc_error error;
		char name[16];

		/* Names and addresses move against each other, so that a name changes address. */
		(void)snprintf(name, sizeof(name), "s%u", i + (unsigned)rand_r(random) % 2 * 20);
		add_service(desired, name, (i + shift) % 14);
		for (unsigned k = 0; k < n_backends; k++)
			add_backend(desired, name, k * 2 + (unsigned)rand_r(random) % 2,
				    (uint32_t)rand_r(random) % 3);
		cr_assert_eq(desired_edit(desired, name, &service, &error), RPC_OK);
		deny(service, (unsigned)rand_r(random) % 2, (unsigned)rand_r(random) % 3);
	}
	return desired;
}

Test(diff, a_delta_makes_the_naive_twin_equal)
{
	unsigned seed = (unsigned)time(NULL), random = seed;
	struct twin *twin = calloc(1, sizeof(*twin));
	struct desired *old = NULL;

	cr_assert(twin);
	for (unsigned round = 0; round < 2000; round++) {
		struct desired *new = random_state(&random);
		struct diff_delta delta;

		cr_assert_eq(diff_delta(old, new, &delta), 0);
		twin_apply(twin, &delta);
		twin_compare(twin, new, seed);
		diff_delta_fini(&delta);
		cr_assert_eq(diff_delta(new, new, &delta), 0);
		cr_assert(diff_delta_is_empty(&delta));
		diff_delta_fini(&delta);
		desired_free(old);
		old = new;
	}
	desired_free(old);
	free(twin);
}

Test(diff, changes_are_told_in_words)
{
	struct desired *old = desired_new(), *new;
	struct desired_backend backend = backend_of(1, 3);
	struct desired_service *service;
	struct rpc_error error;
	size_t n;
	json_t *list;

	add_service(old, "gone", 5);
	add_service(old, "web", 1);
	add_backend(old, "web", 1, 1);
	add_backend(old, "web", 2, 1);
	new = desired_clone(old);
	cr_assert_eq(desired_delete(new, "gone", &error), RPC_OK);
	cr_assert_eq(desired_edit(new, "web", &service, &error), RPC_OK);
	service->wire.n_slots = 1009;
	cr_assert_eq(desired_set_backend(new, "web", &backend, &error), RPC_OK);
	cr_assert_eq(desired_delete_backend(new, "web", &old->service[1]->backend[1].wire.addr,
					    sl_to_be16(8080), &error),
		     RPC_OK);
	add_backend(new, "web", 3, 2);
	list = diff_changes(old, new, &n);
	cr_assert_eq(n, 5);
	static const char *const words[] = {
		"- service gone",
		"~ service web slots 65537 -> 1009",
		"~ backend web 10.0.0.1:8080 weight 1 -> 3",
		"- backend web 10.0.0.2:8080",
		"+ backend web 10.0.0.3:8080 weight 2 state ready",
	};

	for (size_t i = 0; i < n; i++)
		cr_expect_str_eq(
			json_string_value(json_object_get(json_array_get(list, i), "text")),
			words[i]);
	json_decref(list);
	list = diff_changes(new, new, &n);
	cr_assert_eq(n, 0);
	json_decref(list);
	desired_free(old);
	desired_free(new);
}

static void expect_text(const struct desired *old, const struct desired *new, const char *text);

Test(diff, a_check_is_told_where_it_changes)
{
	struct desired *none = desired_new(), *with, *changed;
	struct desired_service *service;
	struct diff_delta delta;
	struct rpc_error error;

	add_service(none, "web", 1);
	with = desired_clone(none);
	cr_assert_eq(desired_edit(with, "web", &service, &error), RPC_OK);
	health_check_init(&service->check);
	service->check.type = HEALTH_CHECK_HTTP;
	health_check_settle(&service->check);
	changed = desired_clone(with);
	cr_assert_eq(desired_edit(changed, "web", &service, &error), RPC_OK);
	service->check.fall = 5;
	(void)snprintf(service->check.path, sizeof(service->check.path), "/health");
	expect_text(none, with, "~ service web check.type none -> http");
	expect_text(with, changed, "~ service web check.fall 3 -> 5 check.path / -> /health");
	expect_text(changed, none, "~ service web check.type http -> none");
	cr_assert_eq(diff_delta(none, changed, &delta), 0);
	cr_expect(diff_delta_is_empty(&delta), "no dataplane hears of a check");
	diff_delta_fini(&delta);
	desired_free(none);
	desired_free(with);
	desired_free(changed);
}

Test(diff, roles_and_a_canary_are_told_where_they_change)
{
	struct desired *none = desired_new(), *with, *changed, *placed;
	struct desired_backend backend = backend_of(1, 1);
	struct desired_service *service;
	struct diff_delta delta;
	struct rpc_error error;

	add_service(none, "web", 1);
	add_backend(none, "web", 1, 1);
	placed = desired_clone(none);
	backend.part = (struct share_part){.role = SHARE_BACKUP, .group = "v2"};
	cr_assert_eq(desired_set_backend(placed, "web", &backend, &error), RPC_OK);
	expect_text(none, placed,
		    "~ backend web 10.0.0.1:8080 role active -> backup group none -> v2");
	with = desired_clone(placed);
	cr_assert_eq(desired_edit(with, "web", &service, &error), RPC_OK);
	service->canary = (struct share_canary){.share = 50, .group = "v2"};
	expect_text(placed, with, "~ service web canary.group none -> v2 canary.share_percent 0.5");
	changed = desired_clone(with);
	cr_assert_eq(desired_edit(changed, "web", &service, &error), RPC_OK);
	service->canary.share = SHARE_WHOLE;
	expect_text(with, changed, "~ service web canary.share_percent 0.5 -> 100");
	expect_text(changed, placed, "~ service web canary.group v2 -> none");
	cr_assert_eq(diff_delta(none, changed, &delta), 0);
	cr_expect(diff_delta_is_empty(&delta), "no dataplane hears of any of it");
	diff_delta_fini(&delta);
	desired_free(none);
	desired_free(placed);
	desired_free(with);
	desired_free(changed);
}

static void expect_text(const struct desired *old, const struct desired *new, const char *text)
{
	size_t n;
	json_t *list = diff_changes(old, new, &n);

	cr_assert_eq(n, 1, "%zu changes, not \"%s\"", n, text);
	cr_expect_str_eq(json_string_value(json_object_get(json_array_get(list, 0), "text")), text);
	json_decref(list);
}

Test(diff, source_pools_are_told_where_there_are_any)
{
	struct desired *empty = desired_new(), *nat = desired_new(), *pool, *full;
	struct desired_service *service;
	struct rpc_error error;
	struct diff_delta delta;
	json_t *list, *fields;
	size_t n;

	add_service(nat, "web", 1);
	expect_text(empty, nat,
		    "+ service web address 203.0.113.0:1001/tcp owner api mode nat scheduler "
		    "maglev slots 65537 established 7440 transitory 240 embryonic 10 udp 300");
	pool = desired_clone(nat);
	cr_assert_eq(desired_edit(pool, "web", &service, &error), RPC_OK);
	service->wire.mode = WIRE_MODE_FULLNAT;
	service->wire.n_sources = 2;
	service->wire.source[0].ipv4 = SL_BE32(0x0a000001);
	service->wire.source[1].ipv4 = SL_BE32(0x0a000002);
	service->wire.source_port_first = 1024;
	service->wire.source_port_last = 65535;
	service->wire.stateless_replies = 0;
	service->wire.flow_log = 1;
	expect_text(nat, pool,
		    "~ service web mode nat -> fullnat source none -> 10.0.0.1,10.0.0.2 "
		    "source_ports none -> 1024-65535 stateless_replies true -> false flow_log "
		    "false -> true");
	expect_text(pool, nat,
		    "~ service web mode fullnat -> nat source 10.0.0.1,10.0.0.2 -> none "
		    "source_ports 1024-65535 -> none stateless_replies false -> true flow_log true "
		    "-> false");
	cr_assert_eq(diff_delta(nat, pool, &delta), 0);
	cr_assert_eq(delta.n_services, 1);
	cr_expect_arr_eq(&delta.service[0], &service->wire, sizeof(service->wire));
	diff_delta_fini(&delta);
	/* As many and as long as they may be: the text holds them, the fields are arrays. */
	full = desired_clone(pool);
	cr_assert_eq(desired_edit(full, "web", &service, &error), RPC_OK);
	service->wire.address.family = SL_FAMILY_IPV6;
	service->wire.n_sources = SL_MAX_SOURCES_PER_SERVICE;
	memset(service->wire.source, 0x2f, sizeof(service->wire.source));
	list = diff_changes(pool, full, &n);
	fields = json_object_get(json_object_get(json_array_get(list, 0), "fields"), "source");
	cr_expect_eq(json_array_size(json_object_get(fields, "old")), 2);
	cr_expect_eq(json_array_size(json_object_get(fields, "new")), SL_MAX_SOURCES_PER_SERVICE);
	cr_expect_gt(strlen(json_string_value(json_object_get(json_array_get(list, 0), "text"))),
		     SL_MAX_SOURCES_PER_SERVICE *
			     strlen("2f2f:2f2f:2f2f:2f2f:2f2f:2f2f:2f2f:2f2f"));
	json_decref(list);
	desired_free(empty);
	desired_free(nat);
	desired_free(pool);
	desired_free(full);
}

static const json_t *field_of(const json_t *changes, const char *name, const char *member)
{
	const json_t *fields = json_object_get(json_array_get(changes, 0), "fields");

	return json_object_get(json_object_get(fields, name), member);
}

Test(diff, deny_lists_are_told_by_their_numbers)
{
	struct desired *none = desired_new(), *some, *other, *full;
	struct desired_service *service;
	struct rpc_error error;
	struct diff_delta delta;
	json_t *list;
	size_t n;

	add_service(none, "web", 1);
	some = desired_clone(none);
	cr_assert_eq(desired_edit(some, "web", &service, &error), RPC_OK);
	deny(service, 0, 1);
	other = desired_clone(some);
	cr_assert_eq(desired_edit(other, "web", &service, &error), RPC_OK);
	deny(service, 1, 3);
	full = desired_clone(some);
	cr_assert_eq(desired_edit(full, "web", &service, &error), RPC_OK);
	deny(service, 0, SL_MAX_DENIES_PER_SERVICE / 2);
	expect_text(none, some,
		    "~ service web deny_source none -> 1 prefix deny_destination none -> 1 prefix");
	expect_text(some, none,
		    "~ service web deny_source 1 prefix -> none deny_destination 1 prefix -> none");
	expect_text(some, other,
		    "~ service web deny_source 1 prefix -> 3 prefixes (+3 -1) deny_destination "
		    "1 prefix -> 3 prefixes (+3 -1)");
	expect_text(some, full,
		    "~ service web deny_source 1 prefix -> 2048 prefixes deny_destination "
		    "1 prefix -> 2048 prefixes");
	list = diff_changes(some, other, &n);
	cr_expect_eq(json_array_size(field_of(list, "deny_source", "added")), 3);
	cr_expect_str_eq(
		json_string_value(json_array_get(field_of(list, "deny_source", "removed"), 0)),
		"10.0.0.0/24");
	json_decref(list);
	list = diff_changes(other, full, &n);
	cr_expect_eq(json_array_size(field_of(list, "deny_destination", "added")), 2045);
	cr_expect_eq(json_array_size(field_of(list, "deny_destination", "removed")), 0);
	json_decref(list);
	/* A changed list costs the service's records, and no others. */
	cr_assert_eq(diff_delta(some, full, &delta), 0);
	cr_expect_eq(delta.n_services, 1);
	cr_expect_eq(delta.n_listed, SL_MAX_DENIES_PER_SERVICE);
	diff_delta_fini(&delta);
	cr_assert_eq(diff_delta(some, none, &delta), 0);
	cr_expect_eq(delta.n_services, 1);
	cr_expect_eq(delta.n_listed, 0);
	diff_delta_fini(&delta);
	desired_free(none);
	desired_free(some);
	desired_free(other);
	desired_free(full);
}
