/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * Random sessions, valid and invalid, of two connections against a model that is nothing but
 * arrays: statuses, digests, counts, and that whoever stays keeps index and epoch (T-34).
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/session_internal.h"
#include "dataplane/snapshot.h"
#include "tests/protocol/peer.h"
#include "wire/wire_abi.h"

enum {
	N_SERVICES = 8,
	N_BACKENDS = 6,
	N_PEERS = 2,
	N_OPERATIONS = 10000,
	FEW_SLOTS = 307, /* enough for three backends, too few for four */
	MANY_SLOTS = 1009,
};

struct model_backend {
	bool is_there;
	uint64_t identity; /* changes when it is deleted and made again */
	struct wire_backend wire;
};

struct model_service {
	bool is_there;
	uint64_t identity;
	struct wire_service wire;
	struct model_backend backend[N_BACKENDS];
};

struct model {
	struct model_service service[N_SERVICES];
};

static uint64_t random_state;
static uint64_t last_identity;

static uint32_t random_below(uint32_t n)
{
	random_state = random_state * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)((random_state >> 33) % n);
}

static uint64_t model_digest(const struct model *model)
{
	uint64_t sum = wire_digest(&peer_key, sizeof(peer_key));

	for (uint32_t i = 0; i < N_SERVICES; i++) {
		const struct model_service *service = &model->service[i];

		if (!service->is_there)
			continue;
		sum += wire_digest(&service->wire, sizeof(service->wire));
		for (uint32_t k = 0; k < N_BACKENDS; k++)
			if (service->backend[k].is_there)
				sum += wire_digest(&service->backend[k].wire,
						   sizeof(service->backend[k].wire));
	}
	return sum;
}

/* What COMMIT must say. */
static int model_judge(const struct model *model)
{
	for (uint32_t i = 0; i < N_SERVICES; i++) {
		const struct model_service *service = &model->service[i];
		uint32_t n = 0;

		if (!service->is_there)
			continue;
		for (uint32_t k = 0; k < N_BACKENDS; k++)
			n += service->backend[k].is_there;
		if (n * SL_SLOTS_PER_BACKEND > service->wire.n_slots)
			return -EINVAL;
	}
	return 0;
}

static int put_service(struct peer *peer, struct model *model)
{
	uint32_t i = random_below(N_SERVICES);
	struct model_service *service = &model->service[i];
	struct wire_service record = service_record(i);
	bool is_bad = random_below(40) == 0;

	record.timeout_udp_sec = random_below(3);
	record.n_slots = random_below(2) == 0 ? FEW_SLOTS : MANY_SLOTS;
	if (is_bad)
		record.n_slots++;
	if (!is_bad) {
		if (!service->is_there)
			service->identity = ++last_identity;
		service->is_there = true;
		service->wire = record;
	}
	cr_assert_eq(peer_services(peer, &record, 1), is_bad ? -EINVAL : 0);
	return is_bad ? -EINVAL : 0;
}

static int put_backend(struct peer *peer, struct model *model)
{
	uint32_t i = random_below(N_SERVICES);
	uint32_t k = random_below(N_BACKENDS);
	struct model_service *service = &model->service[i];
	const struct wire_service named = service_record(i);
	struct wire_backend record = backend_record(&named, i * N_BACKENDS + k);
	int expected = service->is_there ? 0 : -ENOENT;

	record.weight = random_below(3);
	record.state = (uint8_t)(1 + random_below(3));
	record.health = (uint8_t)random_below(WIRE_N_HEALTHS);
	if (random_below(40) == 0) {
		record.weight = SL_MAX_WEIGHT + 1;
		expected = -EINVAL;
	}
	if (expected == 0) {
		if (!service->backend[k].is_there)
			service->backend[k].identity = ++last_identity;
		service->backend[k].is_there = true;
		service->backend[k].wire = record;
	}
	cr_assert_eq(peer_backends(peer, &record, 1), expected, "%s", peer_error(peer));
	return expected;
}

static int delete_service(struct peer *peer, struct model *model)
{
	uint32_t i = random_below(N_SERVICES);
	const struct wire_service named = service_record(i);
	int expected = model->service[i].is_there ? 0 : -ENOENT;

	memset(&model->service[i], 0, sizeof(model->service[i]));
	cr_assert_eq(peer_service_delete(peer, &named.address), expected);
	return expected;
}

static int delete_backend(struct peer *peer, struct model *model)
{
	uint32_t i = random_below(N_SERVICES);
	uint32_t k = random_below(N_BACKENDS);
	const struct wire_service named = service_record(i);
	const struct wire_backend backend = backend_record(&named, i * N_BACKENDS + k);
	struct model_backend *there = &model->service[i].backend[k];
	int expected = there->is_there ? 0 : -ENOENT;

	memset(there, 0, sizeof(*there));
	cr_assert_eq(peer_backend_delete(peer, &backend), expected);
	return expected;
}

static int change(struct peer *peer, struct model *model)
{
	switch (random_below(8)) {
	case 0:
	case 1:
		return put_service(peer, model);
	case 2:
		return random_below(3) == 0 ? delete_service(peer, model) : 0;
	case 3:
		return random_below(2) == 0 ? delete_backend(peer, model) : 0;
	default:
		return put_backend(peer, model);
	}
}

/* Which object each index was, from commit to commit. */
struct seen {
	bool is_there;
	bool is_service;
	uint16_t epoch;
	uint32_t index;
};
static struct seen seen[N_OPERATIONS + 1];

/* An object keeps its index and epoch, and no other ever had both. */
static void remember(uint64_t identity, bool is_service, uint32_t index, uint16_t epoch)
{
	struct seen *entry = &seen[identity];

	cr_assert_lt(identity, SL_ARRAY_LEN(seen));
	if (!entry->is_there) {
		for (size_t i = 0; i <= last_identity; i++)
			cr_assert(!seen[i].is_there || seen[i].is_service != is_service ||
					  seen[i].index != index || seen[i].epoch != epoch,
				  "objects %zu and %llu are taken for one", i,
				  (unsigned long long)identity);
		*entry = (struct seen){true, is_service, epoch, index};
	}
	cr_assert_eq(entry->index, index, "object %llu moved", (unsigned long long)identity);
	cr_assert_eq(entry->epoch, epoch, "object %llu: another epoch",
		     (unsigned long long)identity);
}

static void compare(struct world *world, struct peer *peer, const struct model *model)
{
	const struct snapshot *snapshot = world->sessions->snapshot;
	uint32_t n_services = 0;
	uint32_t n_backends = 0;

	cr_assert_eq(peer_state(peer).digest, model_digest(model));
	for (uint32_t i = 0; i < N_SERVICES; i++) {
		const struct wire_service named = service_record(i);
		uint32_t index =
			snapshot_find_service(snapshot, &named.address.addr, named.address.port,
					      SL_FAMILY_IPV4, SL_PROTOCOL_TCP);

		cr_assert_eq(index != SL_NO_INDEX, model->service[i].is_there);
		if (index == SL_NO_INDEX)
			continue;
		n_services++;
		remember(model->service[i].identity, true, index, snapshot->service[index].epoch);
		for (uint32_t k = 0; k < N_BACKENDS; k++) {
			const struct model_backend *backend = &model->service[i].backend[k];
			const struct wire_backend wire = backend_record(&named, i * N_BACKENDS + k);
			uint32_t found = snapshot_find_backend(snapshot, &wire.addr, wire.port,
							       SL_FAMILY_IPV4, SL_PROTOCOL_TCP);

			cr_assert_eq(found != SL_NO_INDEX, backend->is_there);
			if (found == SL_NO_INDEX)
				continue;
			n_backends++;
			cr_assert_eq(snapshot->backend[found].service, index);
			cr_assert_eq(snapshot->backend[found].is_gone,
				     backend->wire.state == WIRE_STATE_MAINT ||
					     backend->wire.health == WIRE_HEALTH_DOWN);
			remember(backend->identity, false, found, snapshot->backend[found].epoch);
		}
	}
	cr_assert_eq(peer_state(peer).n_services, n_services);
	cr_assert_eq(peer_state(peer).n_backends, n_backends);
}

/* A full state begins with nothing, but what it repeats is the same object as before. */
static void inherit(struct model *draft, const struct model *committed)
{
	for (uint32_t i = 0; i < N_SERVICES; i++) {
		struct model_service *service = &draft->service[i];
		const struct model_service *former = &committed->service[i];

		if (!service->is_there || !former->is_there)
			continue;
		service->identity = former->identity;
		for (uint32_t k = 0; k < N_BACKENDS; k++)
			if (service->backend[k].is_there && former->backend[k].is_there)
				service->backend[k].identity = former->backend[k].identity;
	}
}

struct run {
	struct world world;
	struct peer *peer[N_PEERS];
	struct model committed;
	uint64_t generation;
	uint32_t n_commits;
};

/* A full state without deletions: what was deleted in it and made again would be another object. */
static int change_full(struct peer *peer, struct model *model)
{
	return random_below(3) == 0 ? put_service(peer, model) : put_backend(peer, model);
}

static uint32_t transaction(struct run *run)
{
	struct peer *peer = run->peer[random_below(N_PEERS)];
	struct peer *other = run->peer[0] == peer ? run->peer[1] : run->peer[0];
	bool is_full = run->generation == 0 || random_below(10) == 0;
	uint64_t next = run->generation + 1 + random_below(3);
	uint32_t n = random_below(12);
	struct model draft = run->committed;
	int status = 0;

	if (!is_full && random_below(10) == 0) {
		cr_assert_eq(peer_begin(peer, next + 1, run->generation + 1), -ESTALE);
		return 1;
	}
	if (is_full)
		memset(&draft, 0, sizeof(draft));
	cr_assert_eq(peer_begin(peer, next, is_full ? 0 : run->generation), 0, "%s",
		     peer_error(peer));
	cr_assert_eq(peer_begin(other, next, 0), -EBUSY);
	for (uint32_t i = 0; i < n && status == 0; i++)
		status = is_full ? change_full(peer, &draft) : change(peer, &draft);
	if (status != 0) {
		cr_assert_eq(peer_commit(peer, false), -EPROTO);
	} else if (random_below(8) == 0) {
		cr_assert_eq(peer_abort(peer), 0);
	} else if (random_below(8) == 0) {
		cr_assert_eq(peer_commit(peer, true), model_judge(&draft), "%s", peer_error(peer));
	} else {
		status = model_judge(&draft);
		cr_assert_eq(peer_commit(peer, false), status, "%s", peer_error(peer));
		if (status == 0) {
			if (is_full)
				inherit(&draft, &run->committed);
			run->committed = draft;
			run->generation = next;
			run->n_commits++;
		}
	}
	if (run->generation != 0)
		compare(&run->world, other, &run->committed);
	cr_assert_eq(peer_state(other).generation, run->generation);
	return n + 2;
}

Test(model, random_sessions_agree_with_plain_arrays, .timeout = 120)
{
	const char *given = getenv("SLUICE_SEED");
	uint64_t seed = given != NULL ? strtoull(given, NULL, 0) : 20261123;
	struct run run = {0};

	(void)fprintf(stderr, "# seed %llu (SLUICE_SEED)\n", (unsigned long long)seed);
	random_state = seed;
	world_open(&run.world);
	for (int i = 0; i < N_PEERS; i++) {
		run.peer[i] = peer_new(&run.world, i + 1);
		cr_assert_eq(peer_hello(run.peer[i]), 0);
	}
	for (uint32_t n = 0; n < N_OPERATIONS;)
		n += transaction(&run);
	cr_expect_gt(run.n_commits, 200);
	for (int i = 0; i < N_PEERS; i++)
		peer_free(run.peer[i]);
	world_close(&run.world);
}
