/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* What the dataplane counts and holds for a service's backends, fetched and found by address. */
#pragma once

#include <sluice/base.h>
#include <sluice/wire.h>

struct client;
struct desired_service;

/**
 * All records of @service, in the order of backends; heap, the caller's. NULL with *@n 0: the dataplane has none, or
 * could not be asked.
 */
struct wire_backend_counters_record *
backend_records_fetch(struct client *client, const struct desired_service *service, uint32_t *n);

/** The record of @backend among @n that were fetched, or NULL. */
const struct wire_backend_counters_record *
backend_records_find(const struct wire_backend_counters_record *record, uint32_t n,
		     const struct wire_backend *backend);
