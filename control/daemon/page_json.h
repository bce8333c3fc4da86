/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * What the status page shows, as JSON. Counters as they are: the page makes rates of two documents and their
 * clocks. Backends are in the first document while there are few; else the page asks for those of a service
 * that is looked at.
 */
#pragma once

#include <jansson.h>

struct daemon;
struct desired_service;

enum {
	PAGE_MAX_BACKENDS = 1000, /* of all services, that the first document has */
};

/**
 * {host, clock_us, status{}, counters{}, has_backends, services[]}. clock_us: CLOCK_MONOTONIC. A service:
 * {name, address, mode, scheduler, owner, counters{}, backend_states{}, panic} and, if has_backends, backends[].
 * status and backends are those of the API's methods "status" and "backend.list", counters those of "counters"; null
 * without a dataplane. NULL: out of memory.
 */
json_t *page_to_json(const struct daemon *daemon);

/** {clock_us, service, backends[]}. NULL: out of memory. */
json_t *page_backends_to_json(const struct daemon *daemon, const struct desired_service *service);
