/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* What a record must be, whatever else is staged: nothing that came off the wire is trusted. Pure. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <sluice/packet/parse.h>

#include "dataplane/maglev_fill.h"
#include "dataplane/staging.h"
#include "wire/wire_abi.h"

int staging_refuse(char *error, int status, const char *format, ...)
{
	va_list values;

	va_start(values, format);
	vsnprintf(error, SL_MAX_ERROR, format, values);
	va_end(values);
	return status;
}

bool staging_is_zero(const void *bytes, size_t size)
{
	const uint8_t *at = bytes;

	for (size_t i = 0; i < size; i++)
		if (at[i] != 0)
			return false;
	return true;
}

/* Addresses that can be neither a service's nor a backend's. */
static bool is_martian(const union sl_addr *addr, uint8_t family)
{
	if (family == SL_FAMILY_IPV4)
		return sl_ipv4_is_bad_source(addr->ipv4);
	return sl_ipv6_is_reserved(addr->word) || sl_ipv6_is_group(addr->word) ||
	       (addr->byte[0] == 0xfe && (addr->byte[1] & 0xc0) == 0x80);
}

static int judge_prefix(const struct wire_address *prefix, const char *text, char *error)
{
	uint32_t length = wire_prefix_length(prefix);
	bool is_ipv4 = prefix->family == SL_FAMILY_IPV4;
	uint32_t n_bits = is_ipv4 ? 32 : 128;
	uint32_t least = is_ipv4 ? SL_MIN_PREFIX_IPV4 : SL_MIN_PREFIX_IPV6;

	if (length < least || length > n_bits)
		return staging_refuse(error, -EINVAL,
				      "service %s: a prefix of %u bits (limit %u..%u)", text,
				      length, least, n_bits);
	if (wire_has_bits_beyond(&prefix->addr, length, prefix->family))
		return staging_refuse(error, -EINVAL,
				      "service %s: the address has bits beyond the prefix", text);
	return 0;
}

int staging_judge_address(const struct wire_address *address, char *error)
{
	char text[WIRE_ADDRESS_TEXT];

	if (address->family != SL_FAMILY_IPV4 && address->family != SL_FAMILY_IPV6)
		return staging_refuse(error, -EINVAL, "service: family %u (allowed: 4, 6)",
				      address->family);
	wire_format_address(address, text);
	if (wire_is_prefix(address)) {
		if (judge_prefix(address, text, error) != 0)
			return -EINVAL;
	} else if (address->protocol != SL_PROTOCOL_TCP && address->protocol != SL_PROTOCOL_UDP) {
		return staging_refuse(error, -EINVAL, "service %s: protocol %u (allowed: tcp, udp)",
				      text, address->protocol);
	}
	if (address->family == SL_FAMILY_IPV4 && !staging_is_zero(&address->addr.word[1], 12))
		return staging_refuse(error, -EINVAL,
				      "service %s: bytes beyond the IPv4 address are not zero",
				      text);
	if (is_martian(&address->addr, address->family))
		return staging_refuse(error, -EINVAL,
				      "service %s: the address cannot be a service's", text);
	return 0;
}

static bool is_name(const char *name)
{
	size_t length = strnlen(name, SL_MAX_NAME);

	if (length == 0 || length == SL_MAX_NAME ||
	    !staging_is_zero(name + length, SL_MAX_NAME - length))
		return false;
	for (size_t i = 0; i < length; i++)
		if (name[i] < '!' || name[i] > '~')
			return false;
	return true;
}

static int judge_timeout(const char *service, const char *which, uint32_t seconds, char *error)
{
	if (seconds > SL_MAX_TIMEOUT_SEC)
		return staging_refuse(error, -EINVAL, "service %s: %s timeout %u s (limit %d s)",
				      service, which, seconds, SL_MAX_TIMEOUT_SEC);
	return 0;
}

static bool is_repeated_source(const struct wire_service *record, uint32_t at)
{
	for (uint32_t i = 0; i < at; i++)
		if (sl_addr_equal(&record->source[i], &record->source[at]))
			return true;
	return false;
}

static int judge_source(const struct wire_service *record, uint32_t at, const char *service,
			char *error)
{
	const union sl_addr *source = &record->source[at];
	uint8_t family = record->address.family;
	char text[WIRE_ADDRESS_TEXT];

	wire_format_addr(source, family, text);
	if (family == SL_FAMILY_IPV4 && !staging_is_zero(&source->word[1], 12))
		return staging_refuse(
			error, -EINVAL,
			"service %s: source %s: bytes beyond the IPv4 address are not zero",
			service, text);
	if (is_martian(source, family))
		return staging_refuse(
			error, -EINVAL,
			"service %s: source %s: the address cannot be a source address", service,
			text);
	if (!wire_is_prefix(&record->address) && sl_addr_equal(source, &record->address.addr))
		return staging_refuse(error, -EINVAL,
				      "service %s: source %s: the address is the service's own",
				      service, text);
	if (is_repeated_source(record, at))
		return staging_refuse(error, -EINVAL, "service %s: source %s stands there twice",
				      service, text);
	return 0;
}

/* The source pool: fullnat and snat have one, nat has none. */
static int judge_sources(const struct wire_service *record, const char *service, char *error)
{
	uint32_t n = record->n_sources;
	int status = 0;

	if (record->mode == WIRE_MODE_NAT) {
		if (n != 0 || record->source_port_first != 0 || record->source_port_last != 0 ||
		    !staging_is_zero(record->source, sizeof(record->source)))
			return staging_refuse(
				error, -EINVAL,
				"service %s: %u source addresses, source ports %u-%u: they "
				"go with modes fullnat and snat, the mode is nat",
				service, n, record->source_port_first, record->source_port_last);
		return 0;
	}
	if (n == 0 || n > SL_MAX_SOURCES_PER_SERVICE)
		return staging_refuse(
			error, -EINVAL, "service %s: %u source addresses (limit 1..%d in mode %s)",
			service, n, SL_MAX_SOURCES_PER_SERVICE, wire_mode_name(record->mode));
	if (record->source_port_first == 0 || record->source_port_first > record->source_port_last)
		return staging_refuse(
			error, -EINVAL,
			"service %s: source ports %u-%u (limit 1..65535, the first not above "
			"the last)",
			service, record->source_port_first, record->source_port_last);
	if (!staging_is_zero(&record->source[n],
			     (SL_MAX_SOURCES_PER_SERVICE - n) * sizeof(record->source[0])))
		return staging_refuse(
			error, -EINVAL,
			"service %s: bytes beyond its %u source addresses are not zero", service,
			n);
	for (uint32_t i = 0; i < n && status == 0; i++)
		status = judge_source(record, i, service, error);
	return status;
}

/* How long a client keeps its backend, and by how much of its address. */
static int judge_affinity(const struct wire_service *record, const char *service, char *error)
{
	uint32_t longest = record->address.family == SL_FAMILY_IPV4 ? 32 : 128;

	if (record->affinity_timeout_sec > SL_MAX_TIMEOUT_SEC)
		return staging_refuse(
			error, -EINVAL,
			"service %s: affinity timeout %u s is out of range (limit %d)", service,
			record->affinity_timeout_sec, SL_MAX_TIMEOUT_SEC);
	if ((record->affinity_timeout_sec != 0) != (record->affinity_prefix != 0) ||
	    record->affinity_prefix > longest)
		return staging_refuse(
			error, -EINVAL,
			"service %s: affinity prefix of %u bits (limit 1..%u, 0 without a timeout)",
			service, record->affinity_prefix, longest);
	if (record->affinity_timeout_sec != 0 && record->mode == WIRE_MODE_SNAT)
		return staging_refuse(error, -EINVAL, "service %s: affinity in mode snat", service);
	return 0;
}

int staging_judge_service(const struct wire_service *record, char *error)
{
	char text[WIRE_ADDRESS_TEXT];
	int status = staging_judge_address(&record->address, error);

	if (status != 0)
		return status;
	wire_format_address(&record->address, text);
	if (!is_name(record->name))
		return staging_refuse(
			error, -EINVAL,
			"service %s: the name is not 1 to %d printable characters and zeros", text,
			SL_MAX_NAME - 1);
	if (record->mode < WIRE_MODE_NAT || record->mode > WIRE_MODE_SNAT)
		return staging_refuse(error, -EINVAL,
				      "service %s: mode %u (allowed: nat, fullnat, snat)", text,
				      record->mode);
	if ((record->mode == WIRE_MODE_SNAT) != wire_is_prefix(&record->address))
		return staging_refuse(
			error, -EINVAL,
			"service %s: mode %s (a prefix goes with snat, and with no other)", text,
			wire_mode_name(record->mode));
	if (record->mode == WIRE_MODE_SNAT && record->proxy_protocol != WIRE_PROXY_NONE)
		return staging_refuse(error, -EINVAL, "service %s: proxy_protocol %u in mode snat",
				      text, record->proxy_protocol);
	if (record->proxy_protocol != WIRE_PROXY_NONE && record->proxy_protocol != WIRE_PROXY_V2)
		return staging_refuse(error, -EINVAL,
				      "service %s: proxy_protocol %u (allowed: 0, 2)", text,
				      record->proxy_protocol);
	if (record->flow_log > 1)
		return staging_refuse(error, -EINVAL, "service %s: flow_log %u (allowed: 0, 1)",
				      text, record->flow_log);
	if (!staging_is_zero(record->reserved, sizeof(record->reserved)))
		return staging_refuse(error, -EINVAL, "service %s: reserved bytes are not zero",
				      text);
	if (record->stateless_replies > 1)
		return staging_refuse(error, -EINVAL,
				      "service %s: stateless_replies %u (allowed: 0, 1)", text,
				      record->stateless_replies);
	if (record->scheduler < WIRE_SCHEDULER_MAGLEV || record->scheduler >= WIRE_N_SCHEDULERS)
		return staging_refuse(
			error, -EINVAL, "service %s: scheduler %u is out of range (limit %d..%d)",
			text, record->scheduler, WIRE_SCHEDULER_MAGLEV, WIRE_N_SCHEDULERS - 1);
	if (record->mode == WIRE_MODE_SNAT && record->scheduler != WIRE_SCHEDULER_MAGLEV)
		return staging_refuse(error, -EINVAL, "service %s: scheduler %s in mode snat", text,
				      wire_scheduler_name(record->scheduler));
	if (record->n_slots < SL_MIN_SLOTS || record->n_slots > SL_MAX_SLOTS ||
	    !maglev_is_prime(record->n_slots))
		return staging_refuse(error, -EINVAL,
				      "service %s: %u slots (a prime, limit %d..%d)", text,
				      record->n_slots, SL_MIN_SLOTS, SL_MAX_SLOTS);
	status = judge_sources(record, text, error);
	if (status == 0)
		status = judge_affinity(record, text, error);
	if (status == 0)
		status = judge_timeout(text, "established", record->timeout_established_sec, error);
	if (status == 0)
		status = judge_timeout(text, "transitory", record->timeout_transitory_sec, error);
	if (status == 0)
		status = judge_timeout(text, "embryonic", record->timeout_embryonic_sec, error);
	if (status == 0)
		status = judge_timeout(text, "udp", record->timeout_udp_sec, error);
	return status;
}

int staging_judge_backend(const struct wire_backend *record, const char *service, char *error)
{
	uint8_t family = record->service.family;
	char text[WIRE_ADDRESS_TEXT];

	wire_format_endpoint(&record->addr, record->port, family, text);
	if (record->health >= WIRE_N_HEALTHS)
		return staging_refuse(error, -EINVAL,
				      "backend %s of service %s: health %u is out of range "
				      "(limit %d)",
				      text, service, record->health, WIRE_N_HEALTHS - 1);
	if (family == SL_FAMILY_IPV4 && !staging_is_zero(&record->addr.word[1], 12))
		return staging_refuse(
			error, -EINVAL,
			"backend %s of service %s: bytes beyond the IPv4 address are not zero",
			text, service);
	if (is_martian(&record->addr, family))
		return staging_refuse(error, -EINVAL,
				      "backend %s of service %s: the address cannot be a backend's",
				      text, service);
	if (record->weight > SL_MAX_WEIGHT)
		return staging_refuse(
			error, -EINVAL,
			"backend %s of service %s: weight %u is out of range (limit %d)", text,
			service, record->weight, SL_MAX_WEIGHT);
	if (record->canary_weight > SL_MAX_WEIGHT)
		return staging_refuse(
			error, -EINVAL,
			"backend %s of service %s: canary_weight %u is out of range (limit %d)",
			text, service, record->canary_weight, SL_MAX_WEIGHT);
	if (record->max_flows > SL_MAX_FLOWS)
		return staging_refuse(
			error, -EINVAL,
			"backend %s of service %s: max_flows %u is out of range (limit %d)", text,
			service, record->max_flows, SL_MAX_FLOWS);
	if (record->state < WIRE_STATE_READY || record->state > WIRE_STATE_MAINT)
		return staging_refuse(
			error, -EINVAL,
			"backend %s of service %s: state %u (allowed: ready, drain, maint)", text,
			service, record->state);
	if ((record->port == 0) != (record->service.port == 0))
		return staging_refuse(
			error, -EINVAL,
			"backend %s of service %s: port 0 goes with a service of port 0, and "
			"with no other",
			text, service);
	return 0;
}
