/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* Bytes as text, for JSON: base64 of RFC 4648 with its padding, in one line. Pure. */
#pragma once

#include <sluice/base.h>

/** Bytes of the text of @n bytes, its end included. */
#define BASE64_TEXT_BYTES(n) (((n) + 2) / 3 * 4 + 1)

/** Writes @n bytes of @bytes as @text, BASE64_TEXT_BYTES(n) bytes. */
void base64_encode(const uint8_t *bytes, size_t n, char *text);

/**
 * Writes the bytes of @text, @length characters, to @bytes, @room of them. *@n: how many there were. False:
 * it is no base64, or there are more.
 */
bool base64_decode(const char *text, size_t length, uint8_t *bytes, size_t room,
		   size_t *n) SL_MUST_USE;
