/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * The engine without packets: keeps the published snapshot and answers what needs no traffic. With
 * it the server, the protocol and the control side are tested without root.
 */
#include "dataplane/dataplane.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sluice/packet/capture.h>

#include "dataplane/lookup.h"
#include "wire/wire_abi.h"

enum {
	COPIES_AT_ONCE = 2, /* of a capture, each time that it is read */
	FRAME_BYTES = 60,
};

struct dataplane {
	struct dataplane_options options;
	struct snapshot *snapshot;
	struct sl_capture_filter filter;
	bool is_capturing;
};

const char *dataplane_engine(void)
{
	return "memory";
}

int dataplane_open(const struct dataplane_options *options, struct event_base *base SL_UNUSED,
		   struct dataplane **out, char *error)
{
	struct dataplane *dataplane = calloc(1, sizeof(*dataplane));

	if (dataplane == NULL) {
		snprintf(error, SL_MAX_ERROR, "memory: out of memory");
		return -ENOMEM;
	}
	dataplane->options = *options;
	*out = dataplane;
	return 0;
}

void dataplane_close(struct dataplane *dataplane)
{
	snapshot_free(dataplane->snapshot);
	free(dataplane);
}

int dataplane_commit(struct dataplane *dataplane, struct snapshot *snapshot,
		     struct snapshot **former, char *error SL_UNUSED)
{
	*former = dataplane->snapshot;
	dataplane->snapshot = snapshot;
	return 0;
}

void dataplane_save(struct dataplane *dataplane SL_UNUSED, const struct staging *staging SL_UNUSED,
		    const struct snapshot *snapshot SL_UNUSED)
{
	/* Nothing of this engine outlives the process. */
}

int dataplane_restore(struct dataplane *dataplane SL_UNUSED, struct staging *staging SL_UNUSED,
		      struct snapshot **snapshot, char *error SL_UNUSED)
{
	*snapshot = NULL;
	return 0;
}

int dataplane_unload(const struct dataplane_options *options SL_UNUSED, char *error)
{
	snprintf(error, SL_MAX_ERROR, "unload: nothing of this engine outlives its process");
	return -ENOENT;
}

int dataplane_set_workers(struct dataplane *dataplane, uint32_t n, const int *core SL_UNUSED,
			  char *error)
{
	if (n == 0 || n > SL_MAX_WORKERS) {
		snprintf(error, SL_MAX_ERROR, "dataplane.workers: %u (limit 1..%d)", n,
			 SL_MAX_WORKERS);
		return -EINVAL;
	}
	dataplane->options.n_workers = n;
	return 0;
}

void dataplane_status(struct dataplane *dataplane, struct wire_status_reply *reply)
{
	reply->n_workers = dataplane->options.n_workers;
	reply->max_workers = SL_MAX_WORKERS;
	reply->n_ports = dataplane->options.n_ports;
	reply->flows_capacity = (uint64_t)dataplane->options.n_workers * dataplane->options.n_flows;
	reply->affinities_capacity = dataplane->options.n_affinities;
	if (dataplane->snapshot != NULL)
		reply->memory_bytes = snapshot_table_bytes(dataplane->snapshot);
	snprintf(reply->engine_reason, sizeof(reply->engine_reason), "%s",
		 dataplane->options.reason[0] != '\0'
			 ? dataplane->options.reason
			 : "this program forwards no packets; it is for tests of the control side");
}

int dataplane_counters(struct dataplane *dataplane, uint32_t worker,
		       struct wire_counters_reply *reply)
{
	reply->n_verdicts = SL_N_VERDICTS;
	reply->n_events = SL_N_EVENTS;
	return worker == WIRE_ALL_WORKERS || worker < dataplane->options.n_workers ? 0 : -ENOENT;
}

void dataplane_service_counters(struct dataplane *dataplane SL_UNUSED, uint32_t service SL_UNUSED,
				struct wire_service_counters_reply *reply SL_UNUSED)
{
}

void dataplane_backend_counters(struct dataplane *dataplane SL_UNUSED, uint32_t backend SL_UNUSED,
				struct wire_backend_counters_record *record SL_UNUSED)
{
}

void dataplane_backend_openings(struct dataplane *dataplane SL_UNUSED, uint32_t backend SL_UNUSED,
				struct sl_backend_openings *openings)
{
	memset(openings, 0, sizeof(*openings));
}

int dataplane_visit_flows(struct dataplane *dataplane SL_UNUSED, uint64_t cursor,
			  dataplane_visitor *visit SL_UNUSED, void *context SL_UNUSED,
			  uint64_t *next)
{
	*next = 0;
	return cursor == 0 ? 0 : -EINVAL;
}

void dataplane_flow_count(struct dataplane *dataplane, struct wire_flow_count_reply *reply)
{
	reply->capacity = (uint64_t)dataplane->options.n_workers * dataplane->options.n_flows;
}

uint64_t dataplane_count_affinities(struct dataplane *dataplane SL_UNUSED, uint32_t *n SL_UNUSED)
{
	return 0;
}

uint32_t dataplane_clear_affinities(struct dataplane *dataplane SL_UNUSED,
				    uint32_t service SL_UNUSED)
{
	return 0;
}

uint32_t dataplane_ports(struct dataplane *dataplane, struct wire_port_record *record)
{
	for (uint32_t i = 0; i < dataplane->options.n_ports; i++) {
		const struct dataplane_port_options *port = &dataplane->options.port[i];

		snprintf(record[i].name, sizeof(record[i].name), "%s", port->name);
		snprintf(record[i].driver, sizeof(record[i].driver), "memory");
		snprintf(record[i].kernel_interface, sizeof(record[i].kernel_interface), "%s",
			 port->kernel_interface);
	}
	return dataplane->options.n_ports;
}

uint32_t dataplane_workers(struct dataplane *dataplane, bool begins_anew SL_UNUSED,
			   struct wire_worker_record *record)
{
	for (uint32_t i = 0; i < dataplane->options.n_workers; i++)
		record[i] = (struct wire_worker_record){.core = i, .state = WIRE_WORKER_RUNNING};
	return dataplane->options.n_workers;
}

__attribute__((format(printf, 4, 5))) static void say(struct wire_explain_reply *reply,
						      struct wire_explain_step *step,
						      const char *name, const char *format, ...)
{
	va_list values;

	snprintf(step[reply->n_steps].step, sizeof(step->step), "%s", name);
	va_start(values, format);
	vsnprintf(step[reply->n_steps].text, sizeof(step->text), format, values);
	va_end(values);
	reply->n_steps++;
}

void dataplane_explain(struct dataplane *dataplane, const struct wire_explain_request *request,
		       struct wire_explain_reply *reply, struct wire_explain_step *step)
{
	const struct snapshot *snapshot = dataplane->snapshot;
	const struct sl_tuple tuple = {.source = request->source,
				       .destination = request->destination,
				       .source_port = request->source_port,
				       .destination_port = request->destination_port,
				       .protocol = request->protocol,
				       .family = request->family};
	uint32_t service = SL_NO_INDEX;
	const struct sl_backend *backend;
	struct choice choice;
	char text[WIRE_ADDRESS_TEXT];

	reply->slot = SL_NO_INDEX;
	if (snapshot != NULL)
		service = lookup_service(snapshot, &tuple);
	if (service == SL_NO_INDEX) {
		reply->verdict = SL_VERDICT_PUNT_NOT_SERVICE;
		say(reply, step, "service", "no service there");
		return;
	}
	say(reply, step, "service", "%s", snapshot->service_name[service]);
	choice = lookup_choose(snapshot, service, &tuple);
	reply->hash = choice.hash;
	reply->slot = choice.slot;
	if (choice.backend == SL_NO_INDEX) {
		reply->verdict = SL_VERDICT_DROP_NO_BACKEND;
		say(reply, step, "backend", "none takes new flows");
		return;
	}
	backend = &snapshot->backend[choice.backend];
	reply->verdict = SL_VERDICT_FORWARD;
	reply->backend = backend->addr;
	reply->backend_port = backend->port != 0 ? backend->port : tuple.destination_port;
	reply->family = backend->family;
	say(reply, step, "backend", "%s",
	    wire_format_endpoint(&backend->addr, reply->backend_port, backend->family, text));
}

int dataplane_capture_begin(struct dataplane *dataplane, const struct sl_capture_filter *filter,
			    uint32_t snaplen SL_UNUSED, char *error SL_UNUSED)
{
	dataplane->filter = *filter;
	dataplane->is_capturing = true;
	return 0;
}

/* As if frames of an unknown Ethernet type came by the first port. */
bool dataplane_capture_take(struct dataplane *dataplane, dataplane_copy_visitor *visit,
			    void *context)
{
	static const uint8_t frame[FRAME_BYTES] = {0};
	const struct sl_capture_record record = {
		.length = FRAME_BYTES,
		.n_bytes = FRAME_BYTES,
		.verdict = SL_VERDICT_PUNT_ETHERTYPE,
		.direction = SL_CAPTURE_IN,
	};
	const struct dataplane_copy copy = {.record = &record, .bytes = frame};
	uint32_t n = 0;

	if (!dataplane->is_capturing || dataplane->options.n_ports == 0 ||
	    !sl_capture_matches(&dataplane->filter, &record) ||
	    !sl_capture_is_seen(&dataplane->filter, &record))
		return true;
	while (n < COPIES_AT_ONCE && visit(context, &copy))
		n++;
	return n == COPIES_AT_ONCE;
}

uint64_t dataplane_capture_lost(struct dataplane *dataplane SL_UNUSED, uint32_t port SL_UNUSED)
{
	return 0;
}

void dataplane_capture_stop(struct dataplane *dataplane)
{
	dataplane->is_capturing = false;
}

void dataplane_capture_end(struct dataplane *dataplane)
{
	dataplane->is_capturing = false;
}
