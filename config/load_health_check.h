/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* Reads how a service's backends are checked; called by load_service.c alone. */
#pragma once

#include "config/read.h"

/** Into the struct health_check at @target. */
void read_health_check(struct reader *reader, const yaml_node_t *node, const char *path,
		       const struct read_key *key, void *target);
