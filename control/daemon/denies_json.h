/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* The deny list of a service as JSON, in the API and in the state file. Pure. */
#pragma once

#include <jansson.h>

#include <sluice/base.h>
#include <sluice/wire.h>

struct desired_service;
struct rpc_error;

/** ["10.0.0.0/24", ...]: what @service denies at @end, sorted. NULL: out of memory. */
json_t *denies_to_json(const struct desired_service *service, uint8_t end);

/**
 * Replaces the lists of @service by those that are given, each an array of strings, or NULL to leave the one
 * there is. 0, or an error's code with @error filled; then @service is only good to be thrown away.
 */
int denies_from_json(struct desired_service *service, const json_t *source,
		     const json_t *destination, struct rpc_error *error) SL_MUST_USE;

/**
 * Appends to @added and @removed the prefixes that @new denies at @end and @old does not, and the other
 * way round. @old: NULL stands for none.
 */
void denies_compare(const struct desired_service *old, const struct desired_service *new,
		    uint8_t end, json_t *added, json_t *removed);

/** How many prefixes @service denies at @end. */
uint32_t denies_count(const struct desired_service *service, uint8_t end);
