/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* dataplane/dpdk/bell.h: whoever waits is woken, whenever it began to; and is not for nothing. */
#include <criterion/criterion.h>
#include <poll.h>
#include <pthread.h>

#include "dataplane/dpdk/bell.h"

enum {
	N_ROUNDS = 300000,
	PATIENCE_MS = 20000,
};

struct shared {
	struct bell bell;
	_Alignas(2 * SL_CACHE_LINE) uint32_t n_put; /* odd: there is one that nobody has taken */
};

static bool is_readable(const struct bell *bell, int timeout_ms)
{
	struct pollfd poller = {.fd = bell->fd, .events = POLLIN};

	return poll(&poller, 1, timeout_ms) == 1;
}

Test(bell, nobody_who_does_not_wait_is_woken)
{
	struct bell bell;

	cr_assert_eq(bell_open(&bell), 0);
	bell_ring(&bell);
	cr_expect_not(is_readable(&bell, 0));
	bell_await(&bell);
	cr_expect_not(is_readable(&bell, 0));
	bell_ring(&bell);
	bell_ring(&bell);
	cr_expect(is_readable(&bell, 0));
	cr_expect(bell_answer(&bell));
	cr_expect_not(bell_answer(&bell), "it was rung once");
	bell_ring(&bell);
	cr_expect_not(is_readable(&bell, 0));
	bell_close(&bell);
}

Test(bell, one_that_was_never_opened_does_nothing)
{
	struct bell bell = {0};

	bell_ring(&bell);
	bell_close(&bell);
}

/* Puts one thing after the other, each as soon as the one before was taken; by a store, as a ring does. */
static void *put_all(void *data)
{
	struct shared *shared = data;

	for (uint32_t i = 0; i < N_ROUNDS; i++) {
		while (__atomic_load_n(&shared->n_put, __ATOMIC_ACQUIRE) != 2 * i)
			;
		__atomic_store_n(&shared->n_put, 2 * i + 1, __ATOMIC_RELEASE);
		bell_ring(&shared->bell);
	}
	return NULL;
}

Test(bell, no_ring_is_missed, .timeout = 120)
{
	struct shared shared = {0};
	pthread_t thread;
	uint32_t n_waits = 0;

	cr_assert_eq(bell_open(&shared.bell), 0);
	cr_assert_eq(pthread_create(&thread, NULL, put_all, &shared), 0);
	for (uint32_t n_taken = 0; n_taken < N_ROUNDS;) {
		if (__atomic_load_n(&shared.n_put, __ATOMIC_ACQUIRE) % 2 != 0) {
			n_taken++;
			__atomic_store_n(&shared.n_put, 2 * n_taken, __ATOMIC_RELEASE);
			continue;
		}
		/* Now sooner, now later than the next one is put. */
		for (uint32_t i = n_taken % 128; i > 0; i--)
			__asm__ volatile("" ::: "memory");
		bell_await(&shared.bell);
		if (__atomic_load_n(&shared.n_put, __ATOMIC_ACQUIRE) % 2 == 0) {
			n_waits++;
			cr_assert(is_readable(&shared.bell, PATIENCE_MS), "after %u", n_taken);
		}
		(void)bell_answer(&shared.bell);
	}
	pthread_join(thread, NULL);
	cr_expect_gt(n_waits, 0);
	bell_close(&shared.bell);
}
