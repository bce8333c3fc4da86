/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * From a flow's hash to its slot. The table is filled by dataplane/maglev_fill.c (Eisenbud et al.,
 * NSDI 2016); here is only the lookup, without a division.
 */
#pragma once

#include <sluice/base.h>

/** The slot of @hash among @n_slots: the high half of the hash, scaled. */
SL_INLINE uint32_t sl_maglev_slot(uint64_t hash, uint32_t n_slots)
{
	return (uint32_t)(((hash >> 32) * n_slots) >> 32);
}
