/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * A queue of copies of packets from one worker to the control thread: slots of one size, each written
 * in place and then shown. Nobody waits: the worker finds no room and goes on, or the reader finds
 * nothing. Pure.
 */
#pragma once

#include <sluice/base.h>

struct capture_ring {
	/* Set before both sides know of it. */
	uint32_t n_slots; /* a power of two */
	uint32_t slot_bytes;
	uint8_t *slot;
	/* How many were shown; the writer's. And taken; the reader's. */
	_Alignas(SL_CACHE_LINE) uint64_t n_shown;
	_Alignas(SL_CACHE_LINE) uint64_t n_taken;
};

SL_INLINE void *capture_ring_at(const struct capture_ring *ring, uint64_t number)
{
	return ring->slot + (size_t)(number & (ring->n_slots - 1)) * ring->slot_bytes;
}

/** The slot to write next, or NULL: all are full. The writer. */
SL_INLINE void *capture_ring_room(const struct capture_ring *ring)
{
	/* Acquire: who took the slot's last copy has read it. */
	if (ring->n_shown - __atomic_load_n(&ring->n_taken, __ATOMIC_ACQUIRE) == ring->n_slots)
		return NULL;
	return capture_ring_at(ring, ring->n_shown);
}

/** What was written to capture_ring_room() is the reader's. The writer. */
SL_INLINE void capture_ring_show(struct capture_ring *ring)
{
	/* Release: the copy is whole before it can be found. */
	__atomic_store_n(&ring->n_shown, ring->n_shown + 1, __ATOMIC_RELEASE);
}

/** The oldest copy, or NULL: there is none. The reader. */
SL_INLINE const void *capture_ring_oldest(const struct capture_ring *ring)
{
	/* Acquire: as it was when it was shown. */
	if (__atomic_load_n(&ring->n_shown, __ATOMIC_ACQUIRE) == ring->n_taken)
		return NULL;
	return capture_ring_at(ring, ring->n_taken);
}

/** The oldest copy was read. The reader. */
SL_INLINE void capture_ring_take(struct capture_ring *ring)
{
	/* Release: it was read before it may be written over. */
	__atomic_store_n(&ring->n_taken, ring->n_taken + 1, __ATOMIC_RELEASE);
}
