/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
#include "control/daemon/text.h"

#include <stdio.h>
#include <string.h>

#include "config/config.h"
#include "control/rpc.h"

void text_addr(const union sl_addr *addr, uint8_t family, char text[static WIRE_ADDRESS_TEXT])
{
	text[0] = '\0';
	if (family == SL_FAMILY_IPV4 || family == SL_FAMILY_IPV6)
		(void)wire_format_addr(addr, family, text);
}

void text_backend_address(const struct wire_backend *backend, char text[static WIRE_ADDRESS_TEXT])
{
	(void)wire_format_endpoint(&backend->addr, backend->port, backend->service.family, text);
}

void text_source_ports(const struct wire_service *service, char text[static WIRE_ADDRESS_TEXT])
{
	text[0] = '\0';
	if (service->source_port_first != 0)
		(void)snprintf(text, WIRE_ADDRESS_TEXT, "%u-%u", service->source_port_first,
			       service->source_port_last);
}

const char *text_protocol(uint8_t protocol)
{
	return protocol == SL_PROTOCOL_TCP                                      ? "tcp"
	       : protocol == SL_PROTOCOL_UDP                                    ? "udp"
	       : protocol == SL_PROTOCOL_ICMP || protocol == SL_PROTOCOL_ICMPV6 ? "icmp"
										: "unknown";
}

static int refuse(const char *object, const char *field, const char *text, const char *reason,
		  struct rpc_error *error)
{
	rpc_error_set(error, RPC_PARAMS, field, "%s: %s %s: %s", object, field, text, reason);
	rpc_error_data(error, text, NULL);
	return RPC_PARAMS;
}

int text_parse_service_address(const char *object, const char *field, const char *text,
			       struct wire_address *address, struct rpc_error *error)
{
	const char *reason = "";

	memset(address, 0, sizeof(*address));
	if (config_parse_service_address(text, address, &reason))
		return RPC_OK;
	return refuse(object, field, text, reason, error);
}

int text_parse_addr_port(const char *object, const char *field, const char *text,
			 union sl_addr *addr, be16_t *port, uint8_t *family,
			 struct rpc_error *error)
{
	const char *reason = "";

	memset(addr, 0, sizeof(*addr));
	if (config_parse_endpoint(text, addr, port, family, &reason))
		return RPC_OK;
	return refuse(object, field, text, reason, error);
}

int text_parse_ports(const char *object, const char *field, const char *text, uint16_t *first,
		     uint16_t *last, struct rpc_error *error)
{
	const char *reason = "";

	if (config_parse_ports(text, first, last, &reason))
		return RPC_OK;
	return refuse(object, field, text, reason, error);
}

int text_parse_addr(const char *object, const char *field, const char *text, union sl_addr *addr,
		    uint8_t *family, struct rpc_error *error)
{
	const char *reason = "";

	memset(addr, 0, sizeof(*addr));
	if (config_parse_addr(text, addr, family, &reason))
		return RPC_OK;
	return refuse(object, field, text, reason, error);
}
