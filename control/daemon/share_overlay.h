/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * Who gets new flows, by roles and the canary, laid over a service whose backends have their health: as
 * weights and health alone, which is all that a dataplane knows. Pure: the same for the same service.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "control/daemon/desired.h"

/** Those whose turn it is. */
struct share_choice {
	uint8_t role;     /* enum share_role */
	bool is_all_used; /* of this role, those that are down, too: too few are up */
};

/** Whether a backend would get new flows if it were its turn: ready, and of some weight, were it for a canary's sources. */
bool share_takes_flows(const struct wire_backend *backend);

/** Whether @service has a role but active, or a canary. */
bool share_is_special(const struct desired_service *service);

/**
 * Changes weight and health of @service's backends, the caller's own copy, to what the dataplane shall hold:
 * weight 0 for those whose turn it is not; weights by the canary, and for its sources, for those whose it is.
 */
struct share_choice share_lay_over(struct desired_service *service);

/**
 * The same for a service whose backends are not checked: @service itself where there is no difference, else a
 * copy that it keeps. The caller's reference; NULL: out of memory.
 */
struct desired_service *share_overlay(struct desired_service *service) SL_MUST_USE;

/** Whether the backend at @backend's address gets new flows in @live, which may be NULL. */
bool share_is_in_use(const struct desired_service *live, const struct wire_backend *backend);

/** The role of those of @live that get new flows; false: none does. */
bool share_role_in_use(const struct desired_service *live, uint8_t *role);
