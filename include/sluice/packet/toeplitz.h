/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * The Toeplitz hash by which network cards choose a receive queue (RSS; Microsoft, "RSS Hashing
 * Functions"), from tables made of the card's key: one look-up and one XOR a byte of input.
 *
 * The hash is linear over GF(2): the bits of every input byte contribute alone, so
 * hash(tuple) = hash(tuple with destination port 0) ^ sl_toeplitz_port(destination port).
 * It is no defence: whoever knows the key, or sees enough of its hashes, can make tuples collide.
 */
#pragma once

#include <sluice/base.h>
#include <sluice/packet/parse.h>

enum {
	SL_TOEPLITZ_MIN_KEY_BYTES = 40, /* the input of IPv6 and the hash's own 32 bits */
	SL_TOEPLITZ_N_POSITIONS = 36,   /* bytes of the longest input */
};

/**
 * What each value of each input byte contributes under one key. The input is source address,
 * destination address, source port, destination port, in network order: IPv4 has positions 0..11,
 * IPv6 0..35.
 */
struct sl_toeplitz {
	uint32_t table[SL_TOEPLITZ_N_POSITIONS][256];
};

/* Microsoft's default, of its verification suite; many drivers' default, too. */
static const uint8_t sl_toeplitz_key_microsoft[40] SL_UNUSED = {
	0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3,
	0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3,
	0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
};

/*
 * Both directions of a connection hash alike, for 16 bits are one period (Woo and Park, "Scalable
 * TCP Session Monitoring with Symmetric Receive-side Scaling", 2012).
 */
static const uint8_t sl_toeplitz_key_symmetric[52] SL_UNUSED = {
	0x6d, 0x5a, 0x6d, 0x5a, 0x6d, 0x5a, 0x6d, 0x5a, 0x6d, 0x5a, 0x6d, 0x5a, 0x6d,
	0x5a, 0x6d, 0x5a, 0x6d, 0x5a, 0x6d, 0x5a, 0x6d, 0x5a, 0x6d, 0x5a, 0x6d, 0x5a,
	0x6d, 0x5a, 0x6d, 0x5a, 0x6d, 0x5a, 0x6d, 0x5a, 0x6d, 0x5a, 0x6d, 0x5a, 0x6d,
	0x5a, 0x6d, 0x5a, 0x6d, 0x5a, 0x6d, 0x5a, 0x6d, 0x5a, 0x6d, 0x5a, 0x6d, 0x5a,
};

/** The 32 bits of @key from bit @bit on, bit 0 being the highest of the first byte. */
SL_INLINE uint32_t sl_toeplitz_window(const uint8_t *key, uint32_t bit)
{
	const uint8_t *at = key + bit / 8;
	uint64_t bits = 0;

	for (uint32_t i = 0; i < 5; i++)
		bits = bits << 8 | at[i];
	return (uint32_t)(bits >> (8 - bit % 8));
}

/**
 * Fills the tables for @key, of @key_bytes: 40 and 52 are what cards have; only the first 40 bytes
 * matter. False, and nothing written: the key is shorter than SL_TOEPLITZ_MIN_KEY_BYTES.
 */
SL_MUST_USE SL_INLINE bool sl_toeplitz_init(struct sl_toeplitz *toeplitz, const uint8_t *key,
					    uint32_t key_bytes)
{
	if (key_bytes < SL_TOEPLITZ_MIN_KEY_BYTES)
		return false;
	for (uint32_t position = 0; position < SL_TOEPLITZ_N_POSITIONS; position++) {
		uint32_t *table = toeplitz->table[position];

		table[0] = 0;
		for (uint32_t bit = 0; bit < 8; bit++) {
			uint32_t value = 1u << bit;
			uint32_t window = sl_toeplitz_window(key, position * 8 + 7 - bit);

			for (uint32_t low = 0; low < value; low++)
				table[value + low] = table[low] ^ window;
		}
	}
	return true;
}

/** Bytes of an address of @family. */
SL_INLINE uint32_t sl_toeplitz_address_bytes(uint8_t family)
{
	return family == SL_FAMILY_IPV4 ? 4 : 16;
}

/** The hash of the addresses alone: what cards compute where there are no ports, as in fragments. */
SL_INLINE uint32_t sl_toeplitz_hash_addresses(const struct sl_toeplitz *toeplitz,
					      const struct sl_tuple *tuple)
{
	uint32_t n = sl_toeplitz_address_bytes(tuple->family);
	uint32_t hash = 0;

	for (uint32_t i = 0; i < n; i++)
		hash ^= toeplitz->table[i][tuple->source.byte[i]] ^
			toeplitz->table[n + i][tuple->destination.byte[i]];
	return hash;
}

/** What @port contributes, its first byte being at @position of the input. */
SL_INLINE uint32_t sl_toeplitz_port_at(const struct sl_toeplitz *toeplitz, uint32_t position,
				       be16_t port)
{
	return toeplitz->table[position][port & 0xff] ^ toeplitz->table[position + 1][port >> 8];
}

/** T[@destination_port], what the destination port contributes to the hash of a tuple of @family. */
SL_INLINE uint32_t sl_toeplitz_port(const struct sl_toeplitz *toeplitz, uint8_t family,
				    be16_t destination_port)
{
	return sl_toeplitz_port_at(toeplitz, 2 * sl_toeplitz_address_bytes(family) + 2,
				   destination_port);
}

/** The hash of addresses and ports, as cards compute it for TCP (and UDP, where told to). */
SL_INLINE uint32_t sl_toeplitz_hash(const struct sl_toeplitz *toeplitz,
				    const struct sl_tuple *tuple)
{
	uint32_t n = sl_toeplitz_address_bytes(tuple->family);

	return sl_toeplitz_hash_addresses(toeplitz, tuple) ^
	       sl_toeplitz_port_at(toeplitz, 2 * n, tuple->source_port) ^
	       sl_toeplitz_port_at(toeplitz, 2 * n + 2, tuple->destination_port);
}
