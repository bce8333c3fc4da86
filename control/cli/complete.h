/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* The completion script for bash, printed from the table of commands. */
#pragma once

#include <stdio.h>

void complete_bash(FILE *out);
