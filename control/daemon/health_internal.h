/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* What the files of health checking share. For health*.c alone; see health.h. */
#pragma once

#include <event2/event.h>

#include "control/daemon/desired.h"
#include "control/daemon/health.h"
#include "control/daemon/health_state.h"
#include "control/daemon/hint.h"
#include "control/daemon/probe.h"
#include "control/daemon/share_overlay.h"

enum {
	HEALTH_RAMP_MS = 250, /* between two steps of slow start */
};

#define HEALTH_NS_PER_MS UINT64_C(1000000)

/* A backend that is checked. */
struct health_target {
	struct health_service *service;
	struct probe_target at;
	struct health_state state;
	struct event *timer; /* when the next check is due; not pending while one runs */
	struct probe *probe;
	uint64_t started_ns, took_ns;
	uint64_t n_checks, n_failed;
	char reason[PROBE_MAX_REASON];
	bool is_blind;         /* the last check failed without a dataplane */
	bool is_delayed;       /* the next one should have begun, and is counted so */
	struct hint_look look; /* at its openings, the last one */
	struct health_hint hint;
	uint64_t n_hints;
};

/* A service that says how its backends are checked. */
struct health_service {
	struct health *health;
	struct desired_service *seen; /* as it is followed; our reference */
	struct desired_service
		*applied; /* what the dataplane shall hold for seen; ours; NULL: to be made */
	struct share_choice choice; /* as it was last told of seen */
	uint32_t n_targets;
	struct health_target **target; /* beside seen->backend */
	struct event *look; /* when its openings are looked at next; NULL: nobody looks */
	uint64_t boot_id;   /* of the dataplane that was looked at */
};

struct health {
	struct daemon *daemon;
	struct prober *prober;
	struct event *publish, *ramp;
	struct health_service **service; /* sorted by name */
	size_t n_services;
	uint64_t dataplane_ns; /* CLOCK_MONOTONIC, since when one is there; 0: none is */
	uint64_t random;
	uint64_t window_ns;
	uint32_t n_started; /* since window_ns */
	uint64_t n_checks, n_failed, n_delayed, n_hints;
};

/** 32 bits, for jitter alone. */
uint32_t health_random(struct health *health);

/* ---- health_target.c: a backend and its checks ---- */

/** NULL: out of memory. It is not checked before health_target_arm(). */
struct health_target *health_target_new(struct health_service *service,
					const struct wire_backend *backend);
void health_target_free(struct health_target *target);

/**
 * Has it checked, as @backend's state says. @is_anew: whatever runs or waits is for another check. In maintenance
 * nobody asks; whoever comes back from it begins anew.
 */
void health_target_arm(struct health_target *target, const struct wire_backend *backend,
		       bool is_anew);

/** Has everybody know of @change, which @target's state has made. */
void health_target_settle(struct health_target *target, enum health_change change);

/** Has it checked now, unless a check runs. */
void health_target_hasten(struct health_target *target);

/** Negative, 0 or positive, by address and port: the order of backends. */
int health_target_compare(const struct health_target *target, const struct wire_backend *backend);

void health_set_timer(struct event *timer, uint64_t delay_ns);

/** What @service's backends are taken for has changed: the dataplane is told with whatever else comes soon. */
void health_publish_soon(struct health_service *service);

/* ---- health_hints.c: what the dataplane sees of them ---- */

/** Has @service's openings looked at from now on, or no more, as its check says; what was seen is forgotten. */
void health_hints_arm(struct health_service *service);
void health_hints_end(struct health_service *service);

/* ---- health_overlay.c: what the dataplane shall hold ---- */

/** The target of @backend, or NULL; @service may be NULL. */
struct health_target *health_find_target(const struct health_service *service,
					 const struct wire_backend *backend);

/** How much of its weight the backend of @target, which may be NULL, has, percent. */
uint32_t health_share(const struct health_target *target, const struct health_check *check,
		      uint64_t now_ns);

/** Whether a backend of @service has a part of its weight for now. */
bool health_is_ramping(const struct health_service *service, uint64_t now_ns);

/** @to, a service of the same name, with what is known of its backends; our caller's reference. NULL: out of memory. */
struct desired_service *health_overlay(struct health_service *service, struct desired_service *to);
