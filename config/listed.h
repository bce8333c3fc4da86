/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* The prefixes that a service lists, judged as check.c judges the rest. */
#pragma once

#include "config/config.h"

/** Judges the lists of one service. @path: how texts call it; @name: the file's, or NULL. */
void listed_check(const struct config_service *service, const char *path, const char *name,
		  struct config_problems *problems);

/** Judges how many there are in @n services. */
void listed_check_all(const struct config_service *service, size_t n, const char *name,
		      struct config_problems *problems);
