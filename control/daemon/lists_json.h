/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* The lists of a service as JSON, in the API and in the state file. Pure. */
#pragma once

#include <jansson.h>

#include <sluice/base.h>
#include <sluice/wire.h>

struct desired_service;
struct rpc_error;

/** ["10.0.0.0/24", ...]: what @service has in list @which, enum wire_list, sorted. NULL: out of memory. */
json_t *list_to_json(const struct desired_service *service, uint8_t which);

/** Lists to be, by enum wire_list: each an array of strings, or NULL to leave the one there is. */
struct lists_given {
	const json_t *list[WIRE_N_LISTS + 1];
};

/**
 * Replaces the lists of @service by those that are given. 0, or an error's code with @error filled; then
 * @service is only good to be thrown away.
 */
int lists_from_json(struct desired_service *service, const struct lists_given *given,
		    struct rpc_error *error) SL_MUST_USE;

/**
 * Appends to @added and @removed the prefixes that @new has in list @which and @old has not, and the other
 * way round. @old: NULL stands for none.
 */
void list_compare(const struct desired_service *old, const struct desired_service *new,
		  uint8_t which, json_t *added, json_t *removed);

/** How many prefixes @service has in list @which. */
uint32_t list_count(const struct desired_service *service, uint8_t which);
