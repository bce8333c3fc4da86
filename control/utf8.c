/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* See utf8.h. */
#include "control/utf8.h"

#include <stddef.h>

/* Bytes of the UTF-8 character at @text, or 0 if there is none. */
static size_t length_of(const unsigned char *text)
{
	size_t n = text[0] < 0x80                      ? 1
		   : text[0] >= 0xc2 && text[0] < 0xe0 ? 2
		   : text[0] >= 0xe0 && text[0] < 0xf0 ? 3
		   : text[0] >= 0xf0 && text[0] < 0xf5 ? 4
						       : 0;

	for (size_t i = 1; i < n; i++)
		if ((text[i] & 0xc0) != 0x80)
			return 0;
	if ((text[0] == 0xe0 && text[1] < 0xa0) || (text[0] == 0xed && text[1] >= 0xa0) ||
	    (text[0] == 0xf0 && text[1] < 0x90) || (text[0] == 0xf4 && text[1] >= 0x90))
		return 0;
	return n;
}

void utf8_scrub(char *text)
{
	while (*text) {
		size_t n = length_of((const unsigned char *)text);

		if (n == 0) {
			*text = '?';
			n = 1;
		}
		text += n;
	}
}
