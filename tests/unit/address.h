/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* Addresses that tests number. */
#pragma once

#include <sluice/base.h>
#include <sluice/tables.h>

/** Host @host of net @net of @family: 10.@net.*.*, of whose hosts there are 65,536, or 2001:db8::. */
static inline union sl_addr address(uint8_t family, uint8_t net, uint32_t host)
{
	union sl_addr addr = {.word = {0}};

	if (family == SL_FAMILY_IPV4) {
		addr.ipv4 = sl_to_be32(0x0a000000u | (uint32_t)net << 16 | (host & 0xffff));
		return addr;
	}
	addr.word[0] = SL_BE32(0x20010db8);
	addr.word[1] = sl_to_be32(net);
	addr.word[3] = sl_to_be32(host);
	return addr;
}
