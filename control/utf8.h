/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* Text that was cut, or came from elsewhere: it may end in half a character, which is no JSON. */
#pragma once

/** Puts a question mark in place of each byte of @text that is part of no UTF-8 character (RFC 3629). */
void utf8_scrub(char *text);
