/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * Results for people: one printer for each shape of result, all of type command_print. A member that
 * is missing is shown as "-", one that is unknown is passed over: daemon and CLI may differ in age.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

struct rpc_error;

void output_changes(FILE *out, const json_t *result, const json_t *own);
void output_service(FILE *out, const json_t *result, const json_t *own);
void output_services(FILE *out, const json_t *result, const json_t *own);
void output_backends(FILE *out, const json_t *result, const json_t *own);
void output_waited(FILE *out, const json_t *result, const json_t *own);
void output_flows(FILE *out, const json_t *result, const json_t *own);
void output_flow_count(FILE *out, const json_t *result, const json_t *own);
void output_affinities(FILE *out, const json_t *result, const json_t *own);
void output_affinity_clear(FILE *out, const json_t *result, const json_t *own);
void output_explanation(FILE *out, const json_t *result, const json_t *own);
void output_counters(FILE *out, const json_t *result, const json_t *own);
void output_status(FILE *out, const json_t *result, const json_t *own);
void output_check(FILE *out, const json_t *result, const json_t *own);
void output_diff(FILE *out, const json_t *result, const json_t *own);
void output_export(FILE *out, const json_t *result, const json_t *own);
void output_generations(FILE *out, const json_t *result, const json_t *own);
void output_plan(FILE *out, const json_t *result, const json_t *own); /* plan.c */
void output_methods(FILE *out, const json_t *result, const json_t *own);

/**
 * As output_backends(), of the result's text, a record at a time. False: it has another form, and nothing was
 * printed.
 */
bool output_backends_text(FILE *out, const char *result, size_t length);

/** One document and a newline; indented for a terminal. */
void output_json(FILE *out, const json_t *document, bool is_indented);

/** {"error": {code, message, data}}, as -j shows it. A new reference. */
json_t *output_error_json(const struct rpc_error *error);
