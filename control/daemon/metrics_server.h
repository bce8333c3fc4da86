/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * HTTP for those who watch: the status page at / with /status.json and /backends.json, which it asks for,
 * /metrics for Prometheus, and /healthz, which is 200 while the dataplane is connected and in step. GET and
 * HEAD. By libevent's evhttp, in the event loop; nothing can be changed there.
 */
#pragma once

#include <stdbool.h>

struct daemon;
struct metrics_server;

/**
 * Serves on @listen, "ADDR:PORT". If that cannot be had now, it is logged, and tried again until it can: the
 * balancer is not to fail for it. NULL: out of memory.
 */
struct metrics_server *metrics_server_new(struct daemon *daemon, const char *listen);
void metrics_server_free(struct metrics_server *server);

/** Where it serves; NULL: nowhere, for now. */
const char *metrics_server_address(const struct metrics_server *server);
