/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
#include "control/base64.h"

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_encode(const uint8_t *bytes, size_t n, char *text)
{
	while (n > 0) {
		uint32_t word = (uint32_t)bytes[0] << 16 | (n > 1 ? (uint32_t)bytes[1] << 8 : 0) |
				(n > 2 ? bytes[2] : 0);

		*text++ = digits[word >> 18];
		*text++ = digits[word >> 12 & 63];
		*text++ = n > 1 ? digits[word >> 6 & 63] : '=';
		*text++ = n > 2 ? digits[word & 63] : '=';
		bytes += n > 3 ? 3 : n;
		n -= n > 3 ? 3 : n;
	}
	*text = '\0';
}

/* 0..63; 64: no digit. */
static uint32_t value_of(char digit)
{
	if (digit >= 'A' && digit <= 'Z')
		return (uint32_t)(digit - 'A');
	if (digit >= 'a' && digit <= 'z')
		return (uint32_t)(digit - 'a') + 26;
	if (digit >= '0' && digit <= '9')
		return (uint32_t)(digit - '0') + 52;
	return digit == '+' ? 62 : digit == '/' ? 63 : 64;
}

/* Four digits, of which the last ones may be padding: 3 bytes less those; 0: they are no digits. */
static size_t decode_four(const char *text, size_t n_padding, uint8_t bytes[static 3])
{
	uint32_t word = 0;

	for (size_t i = 0; i < 4; i++) {
		uint32_t value = i < 4 - n_padding ? value_of(text[i]) : 0;

		if (value == 64)
			return 0;
		word = word << 6 | value;
	}
	bytes[0] = (uint8_t)(word >> 16);
	bytes[1] = (uint8_t)(word >> 8);
	bytes[2] = (uint8_t)word;
	return 3 - n_padding;
}

bool base64_decode(const char *text, size_t length, uint8_t *bytes, size_t room, size_t *n)
{
	*n = 0;
	if (length % 4 != 0)
		return false;
	for (size_t at = 0; at < length; at += 4) {
		bool is_last = at + 4 == length;
		size_t n_padding = !is_last || text[at + 3] != '=' ? 0
				   : text[at + 2] == '='           ? 2
								   : 1;
		uint8_t three[3];
		size_t n_more = decode_four(text + at, n_padding, three);

		if (n_more == 0 || n_more > room - *n)
			return false;
		for (size_t i = 0; i < n_more; i++)
			bytes[(*n)++] = three[i];
	}
	return true;
}
