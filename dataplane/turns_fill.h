/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * Fills a service's slot table for scheduler round_robin: slot by slot, the order in which backends
 * have their turns. Pure; called when a snapshot is built.
 */
#pragma once

#include "dataplane/maglev_fill.h"

/**
 * Fills @slot[0..@n_slots) with positions in @backend. In a round the heaviest has one turn and the
 * others by the share of their weight, each at another time, so that neighbours differ where they can
 * and every share is exact to two slots.
 * 0; -ENOENT: no backend has weight (every slot is SL_NO_BACKEND_SLOT); -EINVAL: @n_backends does not
 * fit 16 bits; -ENOMEM.
 */
int turns_fill(const struct maglev_backend *backend, size_t n_backends, uint16_t *slot,
	       uint32_t n_slots) SL_MUST_USE;
