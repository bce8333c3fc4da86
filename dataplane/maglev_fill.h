/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * Fills a service's slot table: weighted, deterministic Maglev (Eisenbud et al., "Maglev: A Fast
 * and Reliable Software Network Load Balancer", NSDI 2016). Pure; called when a snapshot is built.
 */
#pragma once

#include <sluice/base.h>

/** What decides a backend's place in the table: its identity and its weight. */
struct maglev_backend {
	union sl_addr addr;
	be16_t port;
	uint8_t family;
	uint8_t protocol;
	uint32_t weight; /* 0: gets no slot */
};

/** Whether @n is prime; for the sizes of slot tables, n < 2^32. */
bool maglev_is_prime(uint32_t n);

/**
 * Fills @slot[0..@n_slots) with positions in @backend. Which backend a slot gets depends on the
 * backends' identities, weights and @key alone, not on their order.
 * 0; -ENOENT: no backend has weight (every slot is SL_NO_BACKEND_SLOT); -EINVAL: @n_slots is not
 * prime or more than SL_MAX_SLOTS, or @n_backends does not fit 16 bits; -ENOMEM.
 */
int maglev_fill(const struct sl_hash_key *key, const struct maglev_backend *backend,
		size_t n_backends, uint16_t *slot, uint32_t n_slots) SL_MUST_USE;
