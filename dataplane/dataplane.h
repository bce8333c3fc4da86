/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * The seam between the common server and an engine. An executable links exactly one
 * implementation: dpdk, xdp or memory. All calls come from one thread, the server's.
 */
#pragma once

#include <sluice/base.h>
#include <sluice/wire.h>

struct flow_log;
struct sl_capture_filter;
struct sl_capture_record;
struct sl_flow;
struct snapshot;
struct staging;
struct dataplane; /* the engine's own */
struct event_base;

/** How a port is named in the configuration. */
enum dataplane_port_kind {
	DATAPLANE_PORT_INTERFACE = 1,
	DATAPLANE_PORT_PCI,
	DATAPLANE_PORT_VDEV,
};

struct dataplane_port_options {
	uint8_t kind;                /* enum dataplane_port_kind */
	char name[SL_MAX_PORT_NAME]; /* for listings: interface, PCI address or vdev's name */
	const char *device;          /* interface name, PCI address or full vdev string; borrowed */
	char kernel_interface[16];   /* name of the TAP that carries its frames to the kernel */
};

enum dataplane_hugepages {
	DATAPLANE_HUGEPAGES_AUTO = 0,
	DATAPLANE_HUGEPAGES_ON,
	DATAPLANE_HUGEPAGES_OFF,
};

struct dataplane_options {
	const char *run_dir;
	struct dataplane_port_options port[SL_MAX_PORTS];
	uint32_t n_ports;
	uint32_t n_workers;
	uint32_t max_workers;     /* what n_workers may become; 0: the engine chooses */
	int core[SL_MAX_WORKERS]; /* -1: the engine chooses */
	uint32_t n_flows;         /* per worker and family */
	uint32_t n_affinities;    /* of all workers */
	uint32_t memory_mb;       /* 0: the engine computes it */
	uint32_t idle_sleep_us; /* dpdk: a worker that found nothing for as long sleeps; 0: never */
	uint8_t hugepages;      /* enum dataplane_hugepages */
	bool is_replacing;      /* xdp: another program may be taken off a port */
	bool is_fresh;          /* xdp: what a former process left is given up */
	bool has_telemetry;     /* dpdk: EAL's telemetry socket is opened */
	char reason[128];       /* why this engine, in words, for status */
	struct flow_log
		*flow_log; /* opened, the caller's; the engine starts and stops it; NULL: none */
};

/**
 * Brings the engine up: ports, workers, tables; forwards nothing before the first snapshot.
 * @base: the server's event loop, on which the engine may put its own descriptors and timers.
 * @error: SL_MAX_ERROR bytes, written on refusal.
 * 0 or negative errno.
 */
int dataplane_open(const struct dataplane_options *options, struct event_base *base,
		   struct dataplane **out, char *error) SL_MUST_USE;

/** Stops workers and ports and frees everything, the current snapshot included. */
void dataplane_close(struct dataplane *dataplane);

/** "dpdk", "xdp" or "memory". */
const char *dataplane_engine(void);

/**
 * Publishes @snapshot to all workers and returns after the grace period: nobody reads the former
 * one, which is handed back in @former (NULL the first time) for the caller to free. On an error
 * nothing has changed and @snapshot stays the caller's.
 * 0, -ENOSPC, -ENOMEM, ... with @error.
 */
int dataplane_commit(struct dataplane *dataplane, struct snapshot *snapshot,
		     struct snapshot **former, char *error) SL_MUST_USE;

/**
 * Keeps what @staging says with the engine's tables, if these outlive the process. Called after each
 * dataplane_commit() of the snapshot that came of it. A failure is logged and costs the next process
 * its flows, nothing else.
 */
void dataplane_save(struct dataplane *dataplane, const struct staging *staging,
		    const struct snapshot *snapshot);

/**
 * Called once, before anything else is: the state that a former process of this engine left with its
 * tables is read into @staging, which is new, and is published. *@snapshot: NULL if there is none;
 * owned as after dataplane_commit(). 0 or negative errno with @error.
 */
int dataplane_restore(struct dataplane *dataplane, struct staging *staging,
		      struct snapshot **snapshot, char *error) SL_MUST_USE;

/** Takes down what outlives the process. 0, -ENOENT (nothing there), ... with @error. */
int dataplane_unload(const struct dataplane_options *options, char *error) SL_MUST_USE;

/**
 * From now on @n workers are given new flows; flows that live stay where they are, and are served. @core:
 * as in the options. 0 or negative errno with @error, and nothing has changed.
 */
int dataplane_set_workers(struct dataplane *dataplane, uint32_t n, const int *core,
			  char *error) SL_MUST_USE;

/**
 * Fills the members that the engine knows: n_workers, max_workers, n_former, n_ports, flows*,
 * memory_bytes, affinities*, engine_reason.
 */
void dataplane_status(struct dataplane *dataplane, struct wire_status_reply *reply);

/** Sums of one worker or, with WIRE_ALL_WORKERS, of all. -ENOENT: no such worker. */
int dataplane_counters(struct dataplane *dataplane, uint32_t worker,
		       struct wire_counters_reply *reply) SL_MUST_USE;

/** Counters by stable index; zero-filled where the index is unused. */
void dataplane_service_counters(struct dataplane *dataplane, uint32_t service,
				struct wire_service_counters_reply *reply);
void dataplane_backend_counters(struct dataplane *dataplane, uint32_t backend,
				struct wire_backend_counters_record *record);

/** What became of SYNs, a part of the same: no system call. @openings: written whole. */
void dataplane_backend_openings(struct dataplane *dataplane, uint32_t backend,
				struct sl_backend_openings *openings);

/** A live flow: a copy that nobody changes, the visitor's until it returns. */
struct dataplane_flow {
	const struct sl_flow *flow;
	uint32_t worker;
	uint32_t now; /* the worker's clock, ticks */
};

/** Sees one flow. False: that is enough for this call. */
typedef bool dataplane_visitor(void *context, const struct dataplane_flow *flow);

/**
 * Shows live flows to @visit, from @cursor on (0: from the start). 0 or -EINVAL for a cursor that was
 * never given out. @next: where to go on, 0 when that was all. Work a call is bounded: a page may be
 * empty and not the last.
 */
int dataplane_visit_flows(struct dataplane *dataplane, uint64_t cursor, dataplane_visitor *visit,
			  void *context, uint64_t *next) SL_MUST_USE;

void dataplane_flow_count(struct dataplane *dataplane, struct wire_flow_count_reply *reply);

/**
 * Adds to @n (SL_MAX_SERVICES of them, by stable index; NULL is allowed) the affinity entries of each
 * service that have not expired. Returns how many there are in all, those of deleted backends included.
 * A walk over the table: a millisecond and more.
 */
uint64_t dataplane_count_affinities(struct dataplane *dataplane, uint32_t *n);

/** Ends the affinity entries of @service, a stable index: its clients are scheduled anew. Returns how many. */
uint32_t dataplane_clear_affinities(struct dataplane *dataplane, uint32_t service);

/** Records of at most SL_MAX_PORTS ports; SL_MAX_WORKERS workers. Returns how many. */
uint32_t dataplane_ports(struct dataplane *dataplane, struct wire_port_record *record);
/** @begins_anew: what is the longest turn of a loop is counted from now on, once it was told. */
uint32_t dataplane_workers(struct dataplane *dataplane, bool begins_anew,
			   struct wire_worker_record *record);

/** Steps of an explanation at most. */
enum {
	DATAPLANE_MAX_STEPS = 16,
};

/**
 * The decision for a first packet of the request's 5-tuple, by the packet core on the live tables;
 * changes nothing. @step: DATAPLANE_MAX_STEPS records.
 */
void dataplane_explain(struct dataplane *dataplane, const struct wire_explain_request *request,
		       struct wire_explain_reply *reply, struct wire_explain_step *step);

/** A packet that a capture has taken; borrowed. */
struct dataplane_copy {
	const struct sl_capture_record *record;
	const uint8_t *bytes; /* record->n_bytes of them */
	uint64_t time_ns;     /* since 1970 */
};

/** Sees one copy, which then is gone. False: that is enough for this call. */
typedef bool dataplane_copy_visitor(void *context, const struct dataplane_copy *copy);

/**
 * From now on packets that @filter takes are copied, @snaplen bytes of each at most, as far as there is
 * room: what the packet path does goes before. Until dataplane_capture_end(). 0 or negative errno with
 * @error.
 */
int dataplane_capture_begin(struct dataplane *dataplane, const struct sl_capture_filter *filter,
			    uint32_t snaplen, char *error) SL_MUST_USE;

/** Shows copies to @visit, the oldest first, nearly. Returns whether none was left. */
bool dataplane_capture_take(struct dataplane *dataplane, dataplane_copy_visitor *visit,
			    void *context);

/** Packets at port @port that the filter took, and that there was no room for. */
uint64_t dataplane_capture_lost(struct dataplane *dataplane, uint32_t port);

/** From now on no packet is copied; copies wait to be taken. */
void dataplane_capture_stop(struct dataplane *dataplane);

/** Forgets the capture and what it has copied. Nothing happens if there is none. */
void dataplane_capture_end(struct dataplane *dataplane);
