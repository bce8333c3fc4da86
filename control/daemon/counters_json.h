/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* Counters as JSON, named by the lists of counters.h. */
#pragma once

#include <jansson.h>

#include <sluice/wire.h>

struct daemon;
struct desired_service;
struct json_writer;

/** {flows, packets_in, ...}. */
json_t *counters_of_service(const struct wire_service_counters_reply *counters);

/** {verdicts{}, events{}}. */
json_t *counters_of_worker(const struct wire_counters_reply *counters);

/**
 * The source addresses of @service, whose mode is snat, each {address, flows, ports}. NULL: no dataplane is
 * connected.
 */
json_t *counters_of_sources(const struct daemon *daemon, const struct desired_service *service);

/**
 * The backends of @service, each {service, address, weight, state} and, with a dataplane connected,
 * {slots, share, neighbour, counters{}}.
 */
json_t *counters_of_backends(const struct daemon *daemon, const struct desired_service *service);

/** The same, to the end of @out, an array's inside. */
void counters_write_backends(const struct daemon *daemon, const struct desired_service *service,
			     struct json_writer *out);
