/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* One YAML document within limits; load.c reads it. */
#pragma once

#include <yaml.h>

#include "config/config.h"

/**
 * Reads the one document of @text. @name: how problems call it. @skipped: a key of the top level that is left
 * out with its value, which is held against YAML and the limits alone; NULL: none. @document: out, the caller's to
 * yaml_document_delete() if 0 is returned; its nodes keep their positions.
 * 0; -EINVAL: see @problems; -ENOMEM.
 */
int document_read(const char *name, const char *text, size_t length, const char *skipped,
		  yaml_document_t *document, struct config_problems *problems) SL_MUST_USE;

/** Whether @node is a plain scalar that YAML takes for nothing: empty, ~ or null. */
bool document_is_null(const yaml_node_t *node);
