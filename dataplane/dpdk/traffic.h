/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * What services and backends have counted. A packet that is sent is counted for its backend alone, by its
 * worker: a service's traffic is what its backends add up to, those among it that have left. Lines belong to
 * indices, which are given out again; what a former owner counted there is not the next one's. See
 * docs/decisions/0041.
 */
#pragma once

#include "dataplane/dpdk/engine.h"

/** 0 or -ENOMEM. Control thread, and so all that follows. */
int traffic_open(struct dataplane *dataplane) SL_MUST_USE;
void traffic_close(struct dataplane *dataplane);

/**
 * No worker knows @former any more, but @snapshot, which was built from it: what those counted that have left
 * goes to their services, and begins at zero for whom their indices are given to next. @former: may be NULL.
 */
void traffic_settle(struct dataplane *dataplane, const struct snapshot *former,
		    const struct snapshot *snapshot);

/** Of a backend of the snapshot, by its index; all workers. */
void traffic_of_backend(const struct dataplane *dataplane, uint32_t backend,
			struct sl_backend_counters *counters);

/** Of a service of the snapshot, by its index; all workers. */
void traffic_of_service(const struct dataplane *dataplane, uint32_t service,
			struct sl_service_counters *counters);
