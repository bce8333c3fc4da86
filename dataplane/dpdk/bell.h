/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * What wakes a thread that serves workers by their rings. While there is something to serve it polls, and nobody
 * has to wake it. When there was nothing for a while it waits for the bell, and the first worker that puts
 * something into a ring rings: the one system call that a worker makes, a few times a second at the most, for
 * who was woken polls again for a while. Nobody is woken for nothing, which else took a hundredth of a core.
 */
#pragma once

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <sluice/base.h>

/** All 0: nobody waits, and to ring does nothing. */
struct bell {
	int fd;
	uint32_t is_awaited; /* atomic */
};

/** 0 or negative errno. */
static inline int bell_open(struct bell *bell)
{
	bell->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	bell->is_awaited = 0;
	return bell->fd >= 0 ? 0 : -errno;
}

static inline void bell_close(struct bell *bell)
{
	if (bell->fd > 0)
		close(bell->fd);
	bell->fd = 0;
}

/** Who serves: from here on it is rung. What was put into a ring before has to be looked for once more. */
static inline void bell_await(struct bell *bell)
{
	__atomic_store_n(&bell->is_awaited, 1, __ATOMIC_SEQ_CST);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

/** Who serves: it does not wait any more. Whether it was rung. */
static inline bool bell_answer(struct bell *bell)
{
	uint64_t n;

	__atomic_store_n(&bell->is_awaited, 0, __ATOMIC_RELAXED);
	return read(bell->fd, &n, sizeof(n)) == sizeof(n);
}

/** Wakes who serves whether it waits or not. */
static inline void bell_wake(const struct bell *bell)
{
	(void)!eventfd_write(bell->fd, 1);
}

/** Any worker: something was put into a ring. */
SL_INLINE void bell_ring(struct bell *bell)
{
	/* What was put there is seen by who waits, or that it waits is seen here. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (SL_UNLIKELY(__atomic_load_n(&bell->is_awaited, __ATOMIC_RELAXED) != 0) &&
	    __atomic_exchange_n(&bell->is_awaited, 0, __ATOMIC_RELAXED) != 0)
		bell_wake(bell);
}
