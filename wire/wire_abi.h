/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * What both ends of the private protocol share beyond wire.h: the text of its layout and the hash
 * of it, the digest of a state, and the words for its numbers. Pure; any thread.
 */
#pragma once

#include <stddef.h>

#include <sluice/base.h>
#include <sluice/wire.h>

enum {
	WIRE_ADDRESS_TEXT = 64, /* bytes of wire_format_address()'s longest text, with the zero */
};

/** All structs, members, offsets and sizes, a line each; static, built on the first call. */
const char *wire_abi_text(void);

/** SipHash-1-3 of wire_abi_text() under the key of two zero words. */
uint64_t wire_abi_hash(void);

/** SipHash-1-3 of @size bytes under the key of two zero words; a state's digest is their sum. */
uint64_t wire_digest(const void *bytes, size_t size);

/** Words for numbers; "unknown" for one that has none. */
const char *wire_type_name(uint16_t type);
const char *wire_state_name(uint8_t state);
const char *wire_health_name(uint8_t health);
const char *wire_mode_name(uint8_t mode);
const char *wire_scheduler_name(uint8_t scheduler);
const char *wire_proxy_protocol_name(uint8_t proxy_protocol);
const char *wire_flow_state_name(uint8_t state);
const char *wire_verdict_name(uint32_t verdict);
const char *wire_list_name(uint8_t which); /* "deny_source", as its key is called */

/** "running", "leaving", "parked"; "unknown" for what is none. */
const char *wire_worker_state_name(uint32_t state);

/** Numbers for words; 0: no such word. */
uint8_t wire_state_from_name(const char *name);
uint8_t wire_mode_from_name(const char *name);
uint8_t wire_scheduler_from_name(const char *name);

/** As above, but none is a word as well: false if @name is no word, and then @number stays. */
bool wire_proxy_protocol_from_name(const char *name, uint8_t *number);
bool wire_verdict_from_name(const char *name, uint8_t *number);

/** Whether @addr, of the same family, has the prefix that @prefix is. */
bool wire_prefix_has(const struct wire_address *prefix, const union sl_addr *addr);

/** "203.0.113.10:80/tcp", "[2001:db8::1]:53/udp", "10.0.0.0/16". Returns @text. */
const char *wire_format_address(const struct wire_address *address,
				char text[static WIRE_ADDRESS_TEXT]);

/** "10.0.0.2", "2001:db8::2". Returns @text. */
const char *wire_format_addr(const union sl_addr *addr, uint8_t family,
			     char text[static WIRE_ADDRESS_TEXT]);

/** "10.0.0.0/8", "2001:db8::/32". Returns @text. */
const char *wire_format_prefix(const union sl_addr *addr, uint32_t length, uint8_t family,
			       char text[static WIRE_ADDRESS_TEXT]);

/** Whether @addr has bits beyond its first @length. */
bool wire_has_bits_beyond(const union sl_addr *addr, uint32_t length, uint8_t family);

/** Orders what one service lists: by list, family, address and length. 0: the same prefix in the same list. */
int wire_compare_listed(const struct wire_listed *a, const struct wire_listed *b);

/** "10.0.0.2:8080", "[2001:db8::2]:8080". @port: network order. Returns @text. */
const char *wire_format_endpoint(const union sl_addr *addr, be16_t port, uint8_t family,
				 char text[static WIRE_ADDRESS_TEXT]);
