/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * The flow log: a JSON object a line for each begin and end of a flow whose service says flow_log. A
 * thread of its own takes events from the engine's queues and writes them; what it cannot write it counts
 * as lost, and goes on. Nothing here is called by the packet path.
 */
#pragma once

#include <sched.h>

#include <sluice/base.h>
#include <sluice/packet/flow_event.h>

struct flow_log;
struct snapshot;

/** Where an engine's events come from. */
struct flow_log_source {
	void *context;
	/**
	 * Gives flow_log_write() all events that wait; if there are none, waits for some, a tenth of a
	 * second at most. Returns how many there were. The log's thread.
	 */
	uint32_t (*take)(void *context, struct flow_log *log);
};

/** Opens @path for appending, made with mode 0640. 0 or negative errno with @error (SL_MAX_ERROR). */
int flow_log_open(const char *path, struct flow_log **out, char *error) SL_MUST_USE;

/** Starts the thread. @source: copied. 0 or negative errno. */
int flow_log_start(struct flow_log *log, const struct flow_log_source *source) SL_MUST_USE;

/** The thread, if it runs, is to run on @cores alone. NULL is allowed. */
void flow_log_move(struct flow_log *log, const cpu_set_t *cores);

/** Writes what still waits and ends the thread. NULL, or one that was not started, is allowed. */
void flow_log_stop(struct flow_log *log);

/** After flow_log_stop(). NULL is allowed. */
void flow_log_close(struct flow_log *log);

/**
 * Before @snapshot is published: what its services are called from now on. Without a @log (NULL) none of
 * them is logged, and the journal says so once. Control thread.
 */
void flow_log_learn(struct flow_log *log, struct snapshot *snapshot);

/** The file was moved away: it is opened again by its name. Control thread. */
void flow_log_reopen(struct flow_log *log);

/** Writes one event. @time_ns: CLOCK_MONOTONIC, when it was. The log's thread. */
void flow_log_write(struct flow_log *log, const struct sl_flow_event *event, uint64_t time_ns);

/** Events that came this far and could not be written. NULL: 0. Any thread. */
uint64_t flow_log_lost(const struct flow_log *log);
