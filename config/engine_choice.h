/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* Which engine `engine: auto` means on this host. Both programs ask, and agree. */
#pragma once

#include <stddef.h>

struct config;

/**
 * "dpdk" or "xdp": what the configuration says; if it says auto, dpdk where the ports can be driven
 * by it (pci and vdev ports by nothing else) and hugepages are free, else xdp.
 * @hugepages: /sys/kernel/mm/hugepages, or another folder for tests.
 * @reason: @size bytes, why, in words.
 */
const char *engine_choose(const struct config *config, const char *hugepages, char *reason,
			  size_t size);
