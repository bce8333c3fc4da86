/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * The Internet checksum and its incremental update (RFC 1071, RFC 1624 equation 3). A packet that
 * arrived corrupt leaves corrupt: nothing here recomputes a layer-4 checksum in full.
 *
 * A difference is a plain 32- or 64-bit sum of 16-bit words in network order as they lie in memory;
 * ones' complement addition does not care about byte order, so nothing is swapped.
 */
#pragma once

#include <sluice/base.h>

/**
 * Folds a sum of 16-bit words to 16 bits, end-around carry. Each half is added to the other one: the
 * carry out of the lower sum is the one that comes round to the upper sum.
 */
SL_INLINE uint16_t sl_checksum_fold32(uint32_t sum)
{
	sum += sum << 16 | sum >> 16;
	return (uint16_t)(sum >> 16);
}

/** The same of a longer sum. */
SL_INLINE uint16_t sl_checksum_fold(uint64_t sum)
{
	sum += sum << 32 | sum >> 32;
	return sl_checksum_fold32((uint32_t)(sum >> 32));
}

/** The sum to add for a 32-bit word that changes from @before to @after (~m + m'). */
SL_INLINE uint64_t sl_checksum_diff32(be32_t before, be32_t after)
{
	return (uint64_t)(uint32_t)~before + after;
}

/** The sum to add for a 16-bit word that changes from @before to @after (~m + m'). */
SL_INLINE uint64_t sl_checksum_diff16(be16_t before, be16_t after)
{
	return (uint64_t)(uint16_t)~before + after;
}

/**
 * The sum to add where a TTL is one less. It is the first byte, hence the low one here, of its 16-bit
 * word m: whatever that is, ~m + m' is ~m + m - 1.
 */
enum {
	SL_CHECKSUM_DIFF_TTL = 0xfffe,
};

/** HC' = ~(~HC + @diff), RFC 1624. @checksum and result in network order. */
SL_INLINE be16_t sl_checksum_update(be16_t checksum, uint64_t diff)
{
	return (be16_t)~sl_checksum_fold((uint16_t)~checksum + diff);
}

/** The same where @diff is below 2^31. */
SL_INLINE be16_t sl_checksum_update_small(be16_t checksum, uint32_t diff)
{
	return (be16_t)~sl_checksum_fold32((uint16_t)~checksum + diff);
}

/**
 * The IPv4 header's sum over @n_words 16-bit words at @header, folded; 0xffff for a good header.
 * @header: at least 2-byte aligned is not required.
 */
SL_INLINE uint16_t sl_checksum_ipv4_base(const void *header)
{
	const uint8_t *bytes = header;
	uint64_t sum = 0;

#pragma GCC unroll 5
	for (int i = 0; i < 5; i++)
		sum += sl_load32(bytes + 4 * i);
	return sl_checksum_fold(sum);
}
