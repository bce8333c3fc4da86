/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * Measures the balancer on several CPUs at once, with flow tables that they share, as Sluice has
 * them, and with tables of their own, as it might.
 */
#pragma once

struct tool;

/**
 * Measures and prints rows of a table, or elements of an array of JSON. Uses the last @tool->n_cpus
 * CPUs, one thread each; fails if one packet does not end as it should.
 */
void cpus_measure_all(const struct tool *tool);
