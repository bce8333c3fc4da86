/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * What differs between two desired states: in words, for people and for answers of the API, by
 * name; and in records, for the dataplane, by address. Pure.
 */
#pragma once

#include <jansson.h>
#include <stddef.h>

#include <sluice/wire.h>

#include "control/daemon/desired.h"

enum {
	DIFF_MAX_CHANGES = 1000, /* changes listed; the rest is counted */
};

/** The least that turns the dataplane's old state into the new one, in the order to send it. */
struct diff_delta {
	size_t n_deleted_services;
	struct wire_address *deleted_service;
	size_t n_deleted_backends;
	struct wire_backend_delete_request *deleted_backend;
	size_t n_services;
	struct wire_service *service;
	size_t n_backends;
	struct wire_backend *backend;
	size_t n_listed;
	struct wire_listed *listed; /* all of each service above: put anew, it has none */
};

/**
 * A JSON array of the changes from @old to @new, DIFF_MAX_CHANGES at most, each {action, object,
 * service, backend?, fields?, text}. @n_changes: how many there are. NULL: out of memory.
 */
json_t *diff_changes(const struct desired *old, const struct desired *new, size_t *n_changes);

/** @old NULL stands for the empty state. 0 or -ENOMEM; released with diff_delta_fini. */
int diff_delta(const struct desired *old, const struct desired *new,
	       struct diff_delta *delta) SL_MUST_USE;
void diff_delta_fini(struct diff_delta *delta);

/** True if the dataplane would see no difference. */
bool diff_delta_is_empty(const struct diff_delta *delta);
