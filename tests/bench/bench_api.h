/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* The API of a sluiced, over one connection that stays: a call costs what the call costs. */
#pragma once

#include <stdio.h>

#include <jansson.h>

#include <sluice/base.h>

struct api {
	FILE *file; /* NULL: not connected */
	json_int_t id;
};

/** Connects to @path. 0 or negative errno; nothing is printed. */
int api_open(struct api *api, const char *path) SL_MUST_USE;
void api_close(struct api *api);

/**
 * Calls @method with @params, which are taken over (NULL: none). The result, the caller's; NULL: it was
 * refused, or there was no answer, and the reason was printed.
 */
json_t *api_call(struct api *api, const char *method, json_t *params);
