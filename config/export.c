/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * Services as YAML. Every value is a word, a number or an address of our own making, so nothing
 * needs quoting but addresses, which begin with a bracket or contain colons.
 */
#include <stdio.h>
#include <stdlib.h>

#include "config/config.h"
#include "wire/wire_abi.h"

static void put_timeouts(FILE *out, const struct wire_service *wire)
{
	fprintf(out,
		"    timeouts: {established: %u, transitory: %u, embryonic: %u, udp: %u}\n",
		wire->timeout_established_sec, wire->timeout_transitory_sec,
		wire->timeout_embryonic_sec, wire->timeout_udp_sec);
}

static void put_service(FILE *out, const struct config_service *service)
{
	char text[WIRE_ADDRESS_TEXT];

	fprintf(out, "  - name: \"%s\"\n", service->wire.name);
	fprintf(out, "    address: \"%s\"\n", wire_format_address(&service->wire.address, text));
	fprintf(out, "    mode: %s\n", wire_mode_name(service->wire.mode));
	fprintf(out, "    scheduler: %s\n", wire_scheduler_name(service->wire.scheduler));
	fprintf(out, "    slots: %u\n", service->wire.n_slots);
	put_timeouts(out, &service->wire);
	if (service->n_backends == 0)
		return;
	fprintf(out, "    backends:\n");
	for (size_t i = 0; i < service->n_backends; i++) {
		const struct wire_backend *wire = &service->backend[i].wire;

		fprintf(out, "      - {address: \"%s\", weight: %u, state: %s}\n",
			wire_format_endpoint(&wire->addr, wire->port, service->wire.address.family,
					     text),
			wire->weight, wire_state_name(wire->state));
	}
}

char *config_export(const struct config_service *service, size_t n)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	if (out == NULL)
		return NULL;
	fprintf(out, n == 0 ? "services: []\n" : "services:\n");
	for (size_t i = 0; i < n; i++)
		put_service(out, &service[i]);
	if (fclose(out) != 0) {
		free(text);
		return NULL;
	}
	return text;
}
