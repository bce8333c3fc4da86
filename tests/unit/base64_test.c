/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* control/base64.h: the vectors of RFC 4648, there and back, and what is no base64. */
#include <criterion/criterion.h>
#include <string.h>

#include "control/base64.h"
#include "tests/unit/random.h"

Test(base64, vectors_of_rfc_4648)
{
	static const char *const rows[][2] = {{"", ""},
					      {"f", "Zg=="},
					      {"fp", "ZnA="},
					      {"foo", "Zm9v"},
					      {"foob", "Zm9vYg=="},
					      {"fooba", "Zm9vYmE="},
					      {"foobar", "Zm9vYmFy"}};

	for (size_t i = 0; i < SL_ARRAY_LEN(rows); i++) {
		char text[BASE64_TEXT_BYTES(8)];

		base64_encode((const uint8_t *)rows[i][0], strlen(rows[i][0]), text);
		cr_expect_str_eq(text, rows[i][1]);
	}
}

Test(base64, what_was_written_is_read)
{
	struct random random = random_seeded();

	for (int round = 0; round < 20000; round++) {
		uint8_t bytes[64], back[64];
		char text[BASE64_TEXT_BYTES(sizeof(bytes))];
		size_t n = random_next(&random) % sizeof(bytes), n_back;

		random_fill(&random, bytes, sizeof(bytes));
		base64_encode(bytes, n, text);
		cr_assert_eq(strlen(text), BASE64_TEXT_BYTES(n) - 1);
		cr_assert(base64_decode(text, strlen(text), back, n, &n_back));
		cr_assert(n_back == n && memcmp(bytes, back, n) == 0);
		cr_assert(n == 0 || !base64_decode(text, strlen(text), back, n - 1, &n_back));
	}
}

Test(base64, what_is_none_is_refused)
{
	static const char *const rows[] = {"Z",    "Zg",   "Zg=",  "Z===",  "====",    "Zg==Zg==",
					   "Zm9*", "Zm 9", "Z=9v", "Zm9v=", "\x80m9v", "=m9v"};

	for (size_t i = 0; i < SL_ARRAY_LEN(rows); i++) {
		uint8_t bytes[16];
		size_t n;

		cr_expect(!base64_decode(rows[i], strlen(rows[i]), bytes, sizeof(bytes), &n), "%s",
			  rows[i]);
	}
}
