/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* Addresses as people write them; inet_pton is strict enough: no octal, no short forms. */
#include <arpa/inet.h>
#include <string.h>

#include "config/config.h"
#include "wire/wire_abi.h"

bool config_parse_addr(const char *text, union sl_addr *addr, uint8_t *family, const char **reason)
{
	memset(addr, 0, sizeof(*addr));
	if (inet_pton(AF_INET, text, addr->byte) == 1) {
		*family = SL_FAMILY_IPV4;
		return true;
	}
	memset(addr, 0, sizeof(*addr));
	if (inet_pton(AF_INET6, text, addr->byte) == 1) {
		*family = SL_FAMILY_IPV6;
		return true;
	}
	*reason = "not an IPv4 or IPv6 address";
	return false;
}

/* "0" to "65535", digits alone, no leading zero. */
static bool parse_port(const char *text, be16_t *port)
{
	uint32_t value = 0;
	size_t n = strlen(text);

	if (n == 0 || n > 5 || (text[0] == '0' && n > 1))
		return false;
	for (size_t i = 0; i < n; i++) {
		if (text[i] < '0' || text[i] > '9')
			return false;
		value = value * 10 + (uint32_t)(text[i] - '0');
	}
	if (value > 65535)
		return false;
	*port = sl_to_be16((uint16_t)value);
	return true;
}

bool config_parse_ports(const char *text, uint16_t *first, uint16_t *last, const char **reason)
{
	const char *dash = strchr(text, '-');
	size_t length = dash != NULL ? (size_t)(dash - text) : strlen(text);
	char low[8] = "";
	be16_t from, to;

	if (length < sizeof(low))
		memcpy(low, text, length);
	if (!parse_port(low, &from) || !parse_port(dash != NULL ? dash + 1 : low, &to) ||
	    from == 0 || to == 0) {
		*reason = "not LOW-HIGH or one port (limit 1..65535)";
		return false;
	}
	if (sl_from_be16(from) > sl_from_be16(to)) {
		*reason = "the first port is above the last";
		return false;
	}
	*first = sl_from_be16(from);
	*last = sl_from_be16(to);
	return true;
}

bool config_parse_endpoint(const char *text, union sl_addr *addr, be16_t *port, uint8_t *family,
			   const char **reason)
{
	char host[64];
	const char *colon = strrchr(text, ':');
	bool is_bracketed = text[0] == '[';
	size_t length;

	if (colon == NULL || colon == text || strlen(text) >= sizeof(host)) {
		*reason = "not ADDR:PORT or [ADDR]:PORT";
		return false;
	}
	length = (size_t)(colon - text);
	if (is_bracketed && colon[-1] != ']') {
		*reason = "not [ADDR]:PORT";
		return false;
	}
	if (!is_bracketed && memchr(text, ':', length) != NULL) {
		*reason = "an IPv6 address with a port stands in brackets: [ADDR]:PORT";
		return false;
	}
	memcpy(host, text + is_bracketed, length - (is_bracketed ? 2 : 0));
	host[length - (is_bracketed ? 2 : 0)] = '\0';
	if (!config_parse_addr(host, addr, family, reason))
		return false;
	if (is_bracketed != (*family == SL_FAMILY_IPV6)) {
		*reason = "only an IPv6 address stands in brackets";
		return false;
	}
	if (!parse_port(colon + 1, port)) {
		*reason = "the port is not a number of 0..65535";
		return false;
	}
	return true;
}

bool config_parse_prefix(const char *text, union sl_addr *addr, uint8_t *length, uint8_t *family,
			 const char **reason)
{
	const char *slash = strrchr(text, '/');
	size_t n = slash != NULL ? (size_t)(slash - text) : strlen(text);
	char host[64] = "";
	uint32_t n_bits;
	be16_t bits;

	if (n < sizeof(host))
		memcpy(host, text, n);
	if (!config_parse_addr(host, addr, family, reason)) {
		*reason = "neither ADDR/LENGTH nor ADDR";
		return false;
	}
	n_bits = *family == SL_FAMILY_IPV4 ? 32 : 128;
	bits = sl_to_be16((uint16_t)n_bits);
	if (slash != NULL && (!parse_port(slash + 1, &bits) || sl_from_be16(bits) > n_bits)) {
		*reason = *family == SL_FAMILY_IPV4
				  ? "the length of the prefix is not a number of 0..32"
				  : "the length of the prefix is not a number of 0..128";
		return false;
	}
	*length = (uint8_t)sl_from_be16(bits);
	if (wire_has_bits_beyond(addr, *length, *family)) {
		*reason = "the address has bits beyond the prefix";
		return false;
	}
	return true;
}

/* A service's prefix. @text: what stands before the slash; @length: what stands behind it. */
static bool parse_service_prefix(const char *text, const char *length, struct wire_address *address,
				 const char **reason)
{
	uint32_t n_bits, least;

	if (!config_parse_addr(text, &address->addr, &address->family, reason))
		return false;
	n_bits = address->family == SL_FAMILY_IPV4 ? 32 : 128;
	least = address->family == SL_FAMILY_IPV4 ? SL_MIN_PREFIX_IPV4 : SL_MIN_PREFIX_IPV6;
	if (!parse_port(length, &address->port) || wire_prefix_length(address) > n_bits ||
	    wire_prefix_length(address) < least) {
		*reason = address->family == SL_FAMILY_IPV4
				  ? "the length of the prefix is not a number of 8..32"
				  : "the length of the prefix is not a number of 7..128";
		return false;
	}
	if (wire_has_bits_beyond(&address->addr, wire_prefix_length(address), address->family)) {
		*reason = "the address has bits beyond the prefix";
		return false;
	}
	return true;
}

bool config_parse_service_address(const char *text, struct wire_address *address,
				  const char **reason)
{
	const char *slash = strrchr(text, '/');
	char endpoint[64];

	memset(address, 0, sizeof(*address));
	if (slash == NULL || (size_t)(slash - text) >= sizeof(endpoint)) {
		*reason = "not ADDR:PORT/tcp, ADDR:PORT/udp or PREFIX/LENGTH";
		return false;
	}
	memcpy(endpoint, text, (size_t)(slash - text));
	endpoint[slash - text] = '\0';
	if (strcmp(slash + 1, "tcp") == 0) {
		address->protocol = SL_PROTOCOL_TCP;
	} else if (strcmp(slash + 1, "udp") == 0) {
		address->protocol = SL_PROTOCOL_UDP;
	} else if (slash[1] >= '0' && slash[1] <= '9') {
		return parse_service_prefix(endpoint, slash + 1, address, reason);
	} else {
		*reason = "the protocol is neither tcp nor udp";
		return false;
	}
	return config_parse_endpoint(endpoint, &address->addr, &address->port, &address->family,
				     reason);
}

bool config_is_name(const char *name)
{
	static const char letters[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
	size_t length = strlen(name);

	return length > 0 && length < SL_MAX_NAME && strchr(letters, name[0]) != NULL &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") ==
		       length;
}
