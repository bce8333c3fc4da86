/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * The Toeplitz hash: Microsoft's vectors ("Verifying the RSS Hash Calculation", Windows driver
 * documentation), a twin that goes bit by bit, and the linearity that source ports rest on.
 */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <string.h>

#include <sluice/packet/toeplitz.h>

#include "tests/unit/random.h"

static struct sl_toeplitz toeplitz;

static struct sl_tuple tuple_of(uint8_t family, const char *source, uint16_t source_port,
				const char *destination, uint16_t destination_port)
{
	int af = family == SL_FAMILY_IPV4 ? AF_INET : AF_INET6;
	struct sl_tuple tuple = {.family = family, .protocol = SL_PROTOCOL_TCP};

	cr_assert_eq(inet_pton(af, source, &tuple.source), 1);
	cr_assert_eq(inet_pton(af, destination, &tuple.destination), 1);
	tuple.source_port = sl_to_be16(source_port);
	tuple.destination_port = sl_to_be16(destination_port);
	return tuple;
}

Test(toeplitz, hashes_are_those_of_the_verification_suite)
{
	static const struct {
		uint8_t family;
		const char *destination;
		uint16_t destination_port;
		const char *source;
		uint16_t source_port;
		uint32_t of_addresses;
		uint32_t of_all;
	} row[] = {
		{SL_FAMILY_IPV4, "161.142.100.80", 1766, "66.9.149.187", 2794, 0x323e8fc2,
		 0x51ccc178},
		{SL_FAMILY_IPV4, "65.69.140.83", 4739, "199.92.111.2", 14230, 0xd718262a,
		 0xc626b0ea},
		{SL_FAMILY_IPV4, "12.22.207.184", 38024, "24.19.198.95", 12898, 0xd2d0a5de,
		 0x5c2b394a},
		{SL_FAMILY_IPV4, "209.142.163.6", 2217, "38.27.205.30", 48228, 0x82989176,
		 0xafc7327f},
		{SL_FAMILY_IPV4, "202.188.127.2", 1303, "153.39.163.191", 44251, 0x5d1809c5,
		 0x10e828a2},
		{SL_FAMILY_IPV6, "3ffe:2501:200:3::1", 1766, "3ffe:2501:200:1fff::7", 2794,
		 0x2cc18cd5, 0x40207d3d},
		{SL_FAMILY_IPV6, "ff02::1", 4739, "3ffe:501:8::260:97ff:fe40:efab", 14230,
		 0x0f0c461c, 0xdde51bbf},
		{SL_FAMILY_IPV6, "fe80::200:f8ff:fe21:67cf", 38024,
		 "3ffe:1900:4545:3:200:f8ff:fe21:67cf", 44251, 0x4b61e985, 0x02d1feef},
	};

	cr_assert(sl_toeplitz_init(&toeplitz, sl_toeplitz_key_microsoft, 40));
	for (size_t i = 0; i < SL_ARRAY_LEN(row); i++) {
		struct sl_tuple tuple = tuple_of(row[i].family, row[i].source, row[i].source_port,
						 row[i].destination, row[i].destination_port);

		cr_expect_eq(sl_toeplitz_hash_addresses(&toeplitz, &tuple), row[i].of_addresses,
			     "row %zu", i);
		cr_expect_eq(sl_toeplitz_hash(&toeplitz, &tuple), row[i].of_all, "row %zu", i);
	}
}

/* As Microsoft writes it: for every bit that is set, the leftmost 32 bits of a key that shifts. */
static uint32_t twin(const uint8_t *key, const uint8_t *input, size_t size)
{
	uint32_t hash = 0;

	for (size_t bit = 0; bit < size * 8; bit++) {
		if ((input[bit / 8] >> (7 - bit % 8) & 1) == 0)
			continue;
		for (size_t k = 0; k < 32; k++) {
			size_t at = bit + k;

			hash ^= (uint32_t)(key[at / 8] >> (7 - at % 8) & 1) << (31 - k);
		}
	}
	return hash;
}

static size_t put(uint8_t *input, size_t at, const void *bytes, size_t size)
{
	memcpy(input + at, bytes, size);
	return at + size;
}

Test(toeplitz, hash_equals_the_bitwise_twins)
{
	struct random random = random_seeded();

	for (int i = 0; i < 3000; i++) {
		uint8_t family = i & 1 ? SL_FAMILY_IPV6 : SL_FAMILY_IPV4;
		size_t n = family == SL_FAMILY_IPV4 ? 4 : 16;
		uint8_t input[36];
		struct sl_tuple tuple;
		uint8_t key[52];
		size_t size;

		random_fill(&random, key, sizeof(key));
		random_fill(&random, &tuple, sizeof(tuple));
		tuple.family = family;
		cr_assert(sl_toeplitz_init(&toeplitz, key, i & 2 ? 40 : 52));
		size = put(input, 0, &tuple.source, n);
		size = put(input, size, &tuple.destination, n);
		cr_assert_eq(sl_toeplitz_hash_addresses(&toeplitz, &tuple), twin(key, input, size));
		size = put(input, size, &tuple.source_port, 2);
		size = put(input, size, &tuple.destination_port, 2);
		cr_assert_eq(sl_toeplitz_hash(&toeplitz, &tuple), twin(key, input, size));
	}
}

Test(toeplitz, hash_is_that_of_port_zero_and_the_ports_share_for_every_port)
{
	struct random random = random_seeded();
	uint8_t key[40];

	random_fill(&random, key, sizeof(key));
	cr_assert(sl_toeplitz_init(&toeplitz, key, sizeof(key)));
	for (int i = 0; i < 2; i++) {
		uint8_t family = i == 0 ? SL_FAMILY_IPV4 : SL_FAMILY_IPV6;
		struct sl_tuple tuple;
		uint32_t constant;

		random_fill(&random, &tuple, sizeof(tuple));
		tuple.family = family;
		tuple.destination_port = 0;
		constant = sl_toeplitz_hash(&toeplitz, &tuple);
		for (uint32_t port = 0; port < 65536; port++) {
			tuple.destination_port = (be16_t)port;
			cr_assert_eq(sl_toeplitz_hash(&toeplitz, &tuple),
				     constant ^ sl_toeplitz_port(&toeplitz, family, (be16_t)port));
		}
	}
}

Test(toeplitz, symmetric_key_hashes_both_directions_alike)
{
	struct random random = random_seeded();

	cr_assert(sl_toeplitz_init(&toeplitz, sl_toeplitz_key_symmetric, 52));
	for (int i = 0; i < 10000; i++) {
		struct sl_tuple tuple;
		struct sl_tuple back;

		random_fill(&random, &tuple, sizeof(tuple));
		tuple.family = i & 1 ? SL_FAMILY_IPV6 : SL_FAMILY_IPV4;
		back = tuple;
		back.source = tuple.destination;
		back.destination = tuple.source;
		back.source_port = tuple.destination_port;
		back.destination_port = tuple.source_port;
		cr_assert_eq(sl_toeplitz_hash(&toeplitz, &tuple),
			     sl_toeplitz_hash(&toeplitz, &back));
	}
}

Test(toeplitz, short_key_is_refused_and_nothing_written)
{
	memset(&toeplitz, 0x5a, sizeof(toeplitz));
	cr_assert(!sl_toeplitz_init(&toeplitz, sl_toeplitz_key_microsoft, 39));
	cr_assert(!sl_toeplitz_init(&toeplitz, sl_toeplitz_key_microsoft, 0));
	for (size_t i = 0; i < sizeof(toeplitz); i++)
		cr_assert_eq(((const uint8_t *)&toeplitz)[i], 0x5a);
}
