/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * From the programs' queue to the flow log. What was put there while no agent was alive waits, as far as
 * there is room.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <bpf/libbpf.h>

#include "dataplane/flow_log.h"
#include "dataplane/xdp/engine.h"
#include "dataplane/xdp/skeleton.h"

enum {
	WAIT_MS = 100,
};

static int on_event(void *context, void *data, size_t size)
{
	const struct sl_flow_event *event = data;

	if (size == sizeof(*event))
		flow_log_write(context, event, event->stamp);
	return 0;
}

static uint32_t take(void *context, struct flow_log *log SL_UNUSED)
{
	struct dataplane *dataplane = context;
	int n = ring_buffer__poll(dataplane->flow_events, WAIT_MS);

	return n > 0 ? (uint32_t)n : 0;
}

int flow_events_open(struct dataplane *dataplane, char *error)
{
	struct flow_log *log = dataplane->options.flow_log;
	int status = 0;

	if (log == NULL)
		return 0;
	dataplane->flow_events = ring_buffer__new(bpf_map__fd(dataplane->bpf->maps.flow_events),
						  on_event, log, NULL);
	if (dataplane->flow_events == NULL)
		status = -errno;
	if (status == 0)
		status = flow_log_start(
			log, &(struct flow_log_source){.context = dataplane, .take = take});
	if (status != 0)
		snprintf(error, SL_MAX_ERROR, "flow log: %s", strerror(-status));
	return status;
}

void flow_events_close(struct dataplane *dataplane)
{
	flow_log_stop(dataplane->options.flow_log);
	ring_buffer__free(dataplane->flow_events);
}
