/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * The measure: a loop that receives, exchanges both ends of each packet (link addresses, addresses,
 * ports), as testpmd's forward mode 5tswap does, and sends. It has no state, so what a balancer costs
 * more than this is what balancing costs.
 */
#pragma once

#include <stdint.h>

/** Polls @queue of the synthetic port @id until nothing is left to arrive there. */
void swap_run(uint16_t id, uint16_t queue);
