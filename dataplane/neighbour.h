/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * Requests that have the kernel resolve a link address (rtnetlink(7)), for both engines. The kernel
 * does ARP and ND; nothing here does.
 */
#pragma once

#include <sluice/base.h>

struct neighbours;

/** A socket of its own: a dump on another may be under way meanwhile. NULL: errno says why. */
struct neighbours *neighbour_open(void);
void neighbour_close(struct neighbours *neighbours);

/**
 * Has the kernel resolve @addr on the link of @ifindex; @keep: and keep it so (NTF_EXT_MANAGED,
 * Linux 5.16). A static neighbour is left alone. 0 or negative errno.
 */
int neighbour_resolve(struct neighbours *neighbours, uint32_t ifindex, uint8_t family,
		      const union sl_addr *addr, bool keep);
