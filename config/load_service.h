/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* The services of a configuration file; load.c reads the rest. */
#pragma once

#include "config/read.h"

struct config;

/** Reads the list of services into the reader's configuration; what stands between them is not judged. */
read_fn load_services;

/** Names its service in each record and sorts what is a set, once the services were judged. */
void load_link_services(struct config *config);
