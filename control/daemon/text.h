/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * Addresses and words of records as the API writes and reads them. Pure. The grammar is the
 * configuration file's; parsing is delegated to config/.
 */
#pragma once

#include <sluice/base.h>
#include <sluice/wire.h>

#include "wire/wire_abi.h"

struct rpc_error;

/** "203.0.113.10", "2001:db8::1"; empty for family none. */
void text_addr(const union sl_addr *addr, uint8_t family, char text[static WIRE_ADDRESS_TEXT]);

/** "10.0.0.2:8080" of a backend; its family is its service's. */
void text_backend_address(const struct wire_backend *backend, char text[static WIRE_ADDRESS_TEXT]);

/** "1024-65535" of a service with a source pool; else empty. */
void text_source_ports(const struct wire_service *service, char text[static WIRE_ADDRESS_TEXT]);

/** "tcp", "udp" or "unknown". */
const char *text_protocol(uint8_t protocol);

/**
 * Each reads @text, the value of parameter @field of @object, or fills @error. 0 or RPC_PARAMS.
 * @family: out, enum sl_family.
 */
int text_parse_service_address(const char *object, const char *field, const char *text,
			       struct wire_address *address, struct rpc_error *error) SL_MUST_USE;
int text_parse_addr_port(const char *object, const char *field, const char *text,
			 union sl_addr *addr, be16_t *port, uint8_t *family,
			 struct rpc_error *error) SL_MUST_USE;
/** "LOW-HIGH" or "PORT"; @first, @last: host order. */
int text_parse_ports(const char *object, const char *field, const char *text, uint16_t *first,
		     uint16_t *last, struct rpc_error *error) SL_MUST_USE;
int text_parse_addr(const char *object, const char *field, const char *text, union sl_addr *addr,
		    uint8_t *family, struct rpc_error *error) SL_MUST_USE;
