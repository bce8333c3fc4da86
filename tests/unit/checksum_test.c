/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* The incremental checksum against a full recomputation (RFC 1071, RFC 1624). */
#include <criterion/criterion.h>
#include <string.h>

#include <sluice/packet/checksum.h>

#include "tests/unit/random.h"

/* The naive twin: byte pairs in network order, carry folded at the end. */
static uint16_t full(const uint8_t *bytes, size_t size)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < size; i += 2)
		sum += (uint32_t)bytes[i] << 8 | (i + 1 < size ? bytes[i + 1] : 0);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sl_to_be16((uint16_t)~sum);
}

Test(checksum, incremental_update_equals_full_recomputation)
{
	struct random random = random_seeded();

	for (int i = 0; i < 2000000; i++) {
		uint8_t header[20];
		be16_t before;
		be32_t was;
		be32_t is = (be32_t)random_next(&random);

		random_fill(&random, header, sizeof(header));
		/* Every so often the extremes: words of zeros and of ones. */
		if (i % 5 == 0)
			memset(header + 12, i % 2 ? 0xff : 0, 4);
		if (i % 7 == 0)
			is = i % 2 ? 0 : 0xffffffff;
		header[0] = 0x45;
		before = full(header, sizeof(header));
		memcpy(&was, header + 12, 4);
		memcpy(header + 12, &is, 4);
		cr_assert_eq(sl_checksum_update(before, sl_checksum_diff32(was, is)),
			     full(header, sizeof(header)), "row %d: %08x -> %08x", i, was, is);
	}
}

Test(checksum, every_port_value_is_updated_right)
{
	uint8_t header[8] = {0x12, 0x34, 0, 0, 0x00, 0x2a, 0x9c, 0x01};

	for (uint32_t from = 0; from < 65536; from += 4099) {
		for (uint32_t to = 0; to < 65536; to++) {
			be16_t was = sl_to_be16((uint16_t)from);
			be16_t is = sl_to_be16((uint16_t)to);
			be16_t before;

			memcpy(header + 2, &was, 2);
			before = full(header, sizeof(header));
			memcpy(header + 2, &is, 2);
			cr_assert_eq(sl_checksum_update(before, sl_checksum_diff16(was, is)),
				     full(header, sizeof(header)), "port %u -> %u", from, to);
		}
	}
}

Test(checksum, base_of_a_good_header_is_all_ones)
{
	struct random random = random_seeded();

	for (int i = 0; i < 100000; i++) {
		uint8_t header[20];
		be16_t checksum;

		random_fill(&random, header, sizeof(header));
		memset(header + 10, 0, 2);
		header[0] = 0x45;
		checksum = full(header, sizeof(header));
		memcpy(header + 10, &checksum, 2);
		cr_assert_eq(sl_checksum_ipv4_base(header), 0xffff);
		header[i % 20] ^= (uint8_t)(1u << (i % 8));
		cr_assert_neq(sl_checksum_ipv4_base(header), 0xffff, "row %d: one bit off", i);
	}
}
