/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* Services whose backends are ports of the loopback, checked for real; no dataplane. */
#include <criterion/criterion.h>

#include <arpa/inet.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <event2/event.h>

#include "control/daemon/daemon.h"
#include "control/daemon/desired.h"
#include "control/daemon/health.h"

enum {
	N_BACKENDS = 4,
	GOOD = 2, /* that many of them listen */
};

uint64_t daemon_now_ns(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

struct world {
	struct daemon daemon;
	int fd[N_BACKENDS]; /* -1: nobody listens */
	be16_t port[N_BACKENDS];
};

/* A port of the loopback; nobody listens there before listen_at(). */
static int take_port(be16_t *port)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	cr_assert_eq(bind(fd, (struct sockaddr *)&address, length), 0);
	cr_assert_eq(getsockname(fd, (struct sockaddr *)&address, &length), 0);
	*port = address.sin_port;
	return fd;
}

/* The service web, whose first GOOD backends listen. */
static void open_world(struct world *world)
{
	const struct wire_address address = {.addr.ipv4 = SL_BE32(0xcb00710a),
					     .port = SL_BE16(80),
					     .protocol = SL_PROTOCOL_TCP,
					     .family = SL_FAMILY_IPV4};
	struct desired_service *service = desired_service_new("web", &address, DESIRED_OWNER_API);
	struct desired_backend *backend = calloc(N_BACKENDS, sizeof(*backend));
	struct rpc_error error;

	*world = (struct world){.daemon.base = event_base_new(), .daemon.desired = desired_new()};
	for (int i = 0; i < N_BACKENDS; i++) {
		world->fd[i] = take_port(&world->port[i]);
		if (i < GOOD)
			cr_assert_eq(listen(world->fd[i], 16), 0);
		backend[i].wire = (struct wire_backend){.service = address,
							.addr.word = {SL_BE32(0x7f000001)},
							.port = world->port[i],
							.state = WIRE_STATE_READY,
							.weight = 3};
	}
	desired_service_fill(service, backend, N_BACKENDS);
	health_check_init(&service->check);
	service->check.type = HEALTH_CHECK_TCP;
	service->check.interval_ms = 50;
	service->check.hold_down_ms = 0;
	cr_assert_eq(desired_add(world->daemon.desired, service, &error), RPC_OK);
	world->daemon.health = health_new(&world->daemon, false);
	health_hear_dataplane(world->daemon.health, true);
	health_follow(world->daemon.health, world->daemon.desired);
}

static void close_world(struct world *world)
{
	for (int i = 0; i < N_BACKENDS; i++)
		(void)close(world->fd[i]);
	health_free(world->daemon.health);
	desired_free(world->daemon.live);
	desired_free(world->daemon.desired);
	event_base_free(world->daemon.base);
}

static struct health_totals totals_of(const struct world *world)
{
	struct health_totals totals;

	health_count(world->daemon.health, &totals);
	return totals;
}

/* Turns the loop until so many are up and so many down, and the live state says so. */
static void await(struct world *world, uint32_t n_up, uint32_t n_down)
{
	const struct timeval step = {.tv_usec = 10000};
	struct health_totals totals = totals_of(world);

	for (int i = 0; i < 1000 && (totals.n_up != n_up || totals.n_down != n_down); i++) {
		(void)event_base_loopexit(world->daemon.base, &step);
		(void)event_base_dispatch(world->daemon.base);
		totals = totals_of(world);
	}
	cr_assert_eq(totals.n_up, n_up, "%u are up, %u down", totals.n_up, totals.n_down);
	cr_assert_eq(totals.n_down, n_down);
	(void)event_base_loopexit(world->daemon.base, &step);
	(void)event_base_dispatch(world->daemon.base);
}

static const struct wire_backend *live_backend(const struct world *world, int i)
{
	const union sl_addr loopback = {.word = {SL_BE32(0x7f000001)}};
	const struct desired_service *service = desired_find(daemon_live(&world->daemon), "web");

	return &desired_find_backend(service, &loopback, world->port[i])->wire;
}

/* Replaces the service by a copy that the caller may write, as a change does. */
static struct desired_service *edit(struct world *world)
{
	struct desired *next = desired_clone(world->daemon.desired);
	struct desired_service *service;
	struct rpc_error error;

	cr_assert_eq(desired_edit(next, "web", &service, &error), RPC_OK);
	desired_free(world->daemon.desired);
	world->daemon.desired = next;
	return service;
}

Test(health, what_is_down_is_laid_over_the_desired_state, .timeout = 60)
{
	struct world world;

	open_world(&world);
	cr_expect_eq(totals_of(&world).n_unknown, N_BACKENDS);
	await(&world, GOOD, N_BACKENDS - GOOD);
	for (int i = 0; i < N_BACKENDS; i++)
		cr_expect_eq(live_backend(&world, i)->health,
			     i < GOOD ? WIRE_HEALTH_UP : WIRE_HEALTH_DOWN);
	for (uint32_t k = 0; k < N_BACKENDS; k++)
		cr_expect_eq(world.daemon.desired->service[0]->backend[k].wire.health,
			     WIRE_HEALTH_UP, "the desired state says nothing of health");
	for (int i = GOOD; i < N_BACKENDS; i++)
		cr_assert_eq(listen(world.fd[i], 16), 0);
	await(&world, N_BACKENDS, 0);
	cr_expect_eq(daemon_live(&world.daemon)->service[0], world.daemon.desired->service[0],
		     "where there is nothing to say the service is shared");
	close_world(&world);
}

/* Turns the loop until so many of those that are unknown fail without a dataplane. */
static void await_blind(struct world *world, uint32_t n)
{
	const struct timeval step = {.tv_usec = 10000};

	for (int i = 0; i < 1000 && totals_of(world).n_blind != n; i++) {
		(void)event_base_loopexit(world->daemon.base, &step);
		(void)event_base_dispatch(world->daemon.base);
	}
	cr_assert_eq(totals_of(world).n_blind, n);
}

Test(health, without_a_dataplane_who_fails_is_unknown_and_stays_used, .timeout = 60)
{
	struct health_view view;
	struct world world;
	uint64_t n_failed;

	open_world(&world);
	await(&world, GOOD, N_BACKENDS - GOOD);
	health_hear_dataplane(world.daemon.health, false);
	(void)shutdown(world.fd[0], SHUT_RDWR);
	await_blind(&world, 1);
	n_failed = totals_of(&world).n_failed;
	while (totals_of(&world).n_failed < n_failed + 20)
		(void)event_base_loop(world.daemon.base, EVLOOP_ONCE);
	cr_expect_eq(totals_of(&world).n_up, GOOD - 1, "those that answer are up");
	cr_expect_eq(totals_of(&world).n_down, N_BACKENDS - GOOD, "who was down is");
	cr_expect_eq(totals_of(&world).n_unknown, 1);
	cr_expect_eq(live_backend(&world, 0)->health, WIRE_HEALTH_UP);
	for (uint32_t k = 0; k < N_BACKENDS; k++) {
		const struct desired_service *service = world.daemon.desired->service[0];

		health_look(world.daemon.health, service, &service->backend[k], &view);
		if (service->backend[k].wire.port == world.port[0])
			cr_expect(view.word == HEALTH_UNKNOWN &&
					  strstr(view.reason, "without a dataplane: ") ==
						  view.reason,
				  "%s", view.reason);
	}
	health_hear_dataplane(world.daemon.health, true);
	await(&world, GOOD - 1, N_BACKENDS - GOOD + 1);
	cr_expect_eq(totals_of(&world).n_blind, 0);
	close_world(&world);
}

/* One refusal is enough against a backend that nobody knows, if its check was begun with a dataplane. */
Test(health, a_check_that_was_begun_without_a_dataplane_says_nothing, .timeout = 60)
{
	struct world world;

	open_world(&world);
	for (int i = 0; i < GOOD; i++)
		(void)shutdown(world.fd[i], SHUT_RDWR);
	health_hear_dataplane(world.daemon.health, false);
	while (totals_of(&world).n_running == 0)
		(void)event_base_loop(world.daemon.base, EVLOOP_ONCE);
	health_hear_dataplane(world.daemon.health, true);
	while (totals_of(&world).n_checks == 0)
		(void)event_base_loop(world.daemon.base, EVLOOP_ONCE);
	cr_expect_eq(totals_of(&world).n_down, 0);
	await(&world, 0, N_BACKENDS);
	close_world(&world);
}

/* Ten times as many as may begin: each is begun late, after many attempts. */
Test(health, a_check_that_is_late_is_counted_once, .timeout = 60)
{
	enum { N_MANY = 2000 };
	struct desired_service *service;
	struct wire_address address;
	struct desired_backend *backend = calloc(N_MANY, sizeof(*backend));
	struct world world;

	open_world(&world);
	health_hear_dataplane(world.daemon.health, false); /* nothing is to be told of them */
	service = edit(&world);
	address = service->wire.address;
	for (uint32_t k = 0; k < N_MANY; k++)
		backend[k].wire = (struct wire_backend){.service = address,
							.addr.word = {sl_to_be32(0x7f000001 + k)},
							.port = world.port[GOOD],
							.state = WIRE_STATE_READY,
							.weight = 1};
	free(service->backend);
	desired_service_fill(service, backend, N_MANY);
	health_follow(world.daemon.health, world.daemon.desired);
	while (totals_of(&world).n_checks < N_MANY)
		(void)event_base_loop(world.daemon.base, EVLOOP_ONCE);
	cr_expect_gt(totals_of(&world).n_delayed, 0);
	cr_expect_leq(totals_of(&world).n_delayed, totals_of(&world).n_checks + N_MANY,
		      "%lu of %lu", totals_of(&world).n_delayed, totals_of(&world).n_checks);
	close_world(&world);
}

Test(health, when_none_is_up_all_that_take_flows_are_used, .timeout = 60)
{
	struct desired_service *service;
	struct world world;

	open_world(&world);
	service = edit(&world);
	service->backend[0].wire.state = WIRE_STATE_DRAIN;
	service->check.on_down = HEALTH_CHECK_KEEP;
	health_follow(world.daemon.health, world.daemon.desired);
	for (int i = 0; i < GOOD; i++)
		(void)shutdown(world.fd[i], SHUT_RDWR);
	await(&world, 0, N_BACKENDS);
	cr_expect_eq(totals_of(&world).n_panics, 1);
	for (uint32_t k = 0; k < N_BACKENDS; k++)
		cr_expect_eq(daemon_live(&world.daemon)->service[0]->backend[k].wire.health,
			     k == 0 ? WIRE_HEALTH_DOWN_KEEP : WIRE_HEALTH_UP);
	service = edit(&world);
	service->check.panic_percent = 0;
	health_follow(world.daemon.health, world.daemon.desired);
	desired_free(world.daemon.live);
	world.daemon.live = health_apply(world.daemon.health, world.daemon.desired);
	for (uint32_t k = 0; k < N_BACKENDS; k++)
		cr_expect_eq(world.daemon.live->service[0]->backend[k].wire.health,
			     WIRE_HEALTH_DOWN_KEEP);
	close_world(&world);
}

Test(health, a_backend_in_slow_start_has_a_part_of_its_weight, .timeout = 60)
{
	struct desired_service *service;
	struct world world;
	uint32_t whole = 0, least = UINT32_MAX;

	open_world(&world);
	service = edit(&world);
	service->check.slow_start_ms = 3600000;
	health_follow(world.daemon.health, world.daemon.desired);
	await(&world, GOOD, N_BACKENDS - GOOD);
	cr_expect_eq(live_backend(&world, 0)->weight, 3, "it never was down");
	cr_assert_eq(listen(world.fd[GOOD], 16), 0);
	await(&world, GOOD + 1, N_BACKENDS - GOOD - 1);
	for (int i = 0; i < N_BACKENDS; i++) {
		uint32_t weight = live_backend(&world, i)->weight;

		whole = weight > whole ? weight : whole;
		least = weight < least ? weight : least;
	}
	cr_expect_eq(whole, 300, "all weights alike, so that the others' shares stay");
	cr_expect_eq(least, 3, "a hundredth");
	cr_expect_eq(live_backend(&world, GOOD)->weight, least);
	close_world(&world);
}

/* Slow start scales what the canary gives: never more than its share at once. */
Test(health, a_canary_in_slow_start_has_a_part_of_its_share, .timeout = 60)
{
	struct desired_service *service;
	struct world world;
	uint64_t group = 0, rest = 0;

	open_world(&world);
	service = edit(&world);
	service->check.slow_start_ms = 3600000;
	service->canary = (struct share_canary){.share = 5000, .group = "v2"};
	for (uint32_t k = 0; k < N_BACKENDS; k++)
		if (service->backend[k].wire.port == world.port[GOOD])
			service->backend[k].part.group[0] = 'v',
			service->backend[k].part.group[1] = '2';
	health_follow(world.daemon.health, world.daemon.desired);
	await(&world, GOOD, N_BACKENDS - GOOD);
	cr_assert_eq(listen(world.fd[GOOD], 16), 0);
	await(&world, GOOD + 1, N_BACKENDS - GOOD - 1);
	for (int i = 0; i <= GOOD; i++)
		*(i == GOOD ? &group : &rest) += live_backend(&world, i)->weight;
	cr_expect_float_eq((double)group / (double)rest, 0.01, 0.001,
			   "a hundredth of a half: %lu:%lu", group, rest);
	close_world(&world);
}

Test(health, a_backup_serves_while_no_active_backend_is_up, .timeout = 60)
{
	struct desired_service *service;
	struct health_view view;
	struct world world;

	open_world(&world);
	service = edit(&world);
	/* Those that are down are the active ones. */
	for (uint32_t k = 0; k < N_BACKENDS; k++)
		service->backend[k].part.role =
			service->backend[k].wire.port == world.port[0]   ? SHARE_BACKUP
			: service->backend[k].wire.port == world.port[1] ? SHARE_SORRY
									 : SHARE_ACTIVE;
	health_follow(world.daemon.health, world.daemon.desired);
	desired_free(world.daemon.live);
	world.daemon.live = health_apply(world.daemon.health, world.daemon.desired);
	cr_expect_eq(live_backend(&world, 0)->weight, 0, "nobody knows: active ones are used");
	cr_expect_eq(live_backend(&world, GOOD)->weight, 3);
	await(&world, GOOD, N_BACKENDS - GOOD);
	cr_expect_eq(live_backend(&world, 0)->weight, 3);
	cr_expect_eq(live_backend(&world, 1)->weight, 0, "the sorry one waits");
	cr_expect_eq(live_backend(&world, GOOD)->health, WIRE_HEALTH_DOWN);
	cr_expect_eq(totals_of(&world).n_panics, 0);
	(void)shutdown(world.fd[0], SHUT_RDWR);
	(void)shutdown(world.fd[1], SHUT_RDWR);
	await(&world, 0, N_BACKENDS);
	cr_expect_eq(live_backend(&world, 0)->health, WIRE_HEALTH_DOWN);
	cr_expect_eq(live_backend(&world, 1)->health, WIRE_HEALTH_UP, "the last resort");
	cr_expect_eq(live_backend(&world, 1)->weight, 3);
	for (uint32_t k = 0; k < N_BACKENDS; k++) {
		health_look(world.daemon.health, service, &service->backend[k], &view);
		cr_expect_eq(view.is_panic, service->backend[k].part.role == SHARE_SORRY);
	}
	cr_assert_eq(listen(world.fd[GOOD], 16), 0);
	await(&world, 1, N_BACKENDS - 1);
	cr_expect_eq(live_backend(&world, GOOD)->health, WIRE_HEALTH_UP);
	cr_expect_eq(live_backend(&world, 0)->weight, 0);
	cr_expect_eq(live_backend(&world, 1)->weight, 0);
	close_world(&world);
}

Test(health, what_is_known_of_those_that_stay_is_kept, .timeout = 60)
{
	struct desired_service *service;
	struct health_view view;
	struct rpc_error error;
	struct desired *next;
	struct world world;

	open_world(&world);
	await(&world, GOOD, N_BACKENDS - GOOD);
	service = edit(&world);
	service->wire.timeout_udp_sec = 1;
	service->check.fall = 9;
	health_follow(world.daemon.health, world.daemon.desired);
	cr_expect_eq(totals_of(&world).n_down, N_BACKENDS - GOOD);
	/* Maintenance forgets; deletion, too; and a service that is not checked has no health. */
	service = edit(&world);
	for (uint32_t k = 0; k < N_BACKENDS; k++)
		service->backend[k].wire.state = WIRE_STATE_MAINT;
	health_follow(world.daemon.health, world.daemon.desired);
	cr_expect_eq(totals_of(&world).n_backends, 0);
	health_look(world.daemon.health, service, &service->backend[0], &view);
	cr_expect_eq(view.word, HEALTH_UNCHECKED);
	next = desired_clone(world.daemon.desired);
	cr_assert_eq(desired_delete(next, "web", &error), RPC_OK);
	health_follow(world.daemon.health, next);
	cr_expect_eq(totals_of(&world).n_backends, 0);
	cr_expect_eq(totals_of(&world).n_running, 0);
	desired_free(next);
	close_world(&world);
}

/* Neither a daemon without a dataplane nor a check that asks nobody finds anything out. */
Test(health, where_nobody_is_asked_nothing_is_known, .timeout = 60)
{
	const struct timeval while_looking = {.tv_usec = 700000};
	struct desired_service *service;
	struct health_view view;
	struct world world;

	open_world(&world);
	service = edit(&world);
	service->check.type = HEALTH_CHECK_PASSIVE;
	service->check.passive_window_ms = 500;
	health_check_settle(&service->check);
	health_follow(world.daemon.health, world.daemon.desired);
	(void)event_base_loopexit(world.daemon.base, &while_looking);
	(void)event_base_dispatch(world.daemon.base);
	cr_expect_eq(totals_of(&world).n_unknown, N_BACKENDS);
	cr_expect_eq(totals_of(&world).n_checks, 0);
	cr_expect_eq(totals_of(&world).n_hints, 0);
	health_look(world.daemon.health, service, &service->backend[0], &view);
	cr_expect_eq(view.word, HEALTH_UNKNOWN);
	/* Asked again, they are known soon. */
	service = edit(&world);
	service->check.type = HEALTH_CHECK_TCP;
	health_check_adopt(&service->check, HEALTH_CHECK_PASSIVE);
	service->check.interval_ms = 50;
	service->check.hold_down_ms = 0;
	health_follow(world.daemon.health, world.daemon.desired);
	await(&world, GOOD, N_BACKENDS - GOOD);
	close_world(&world);
}
