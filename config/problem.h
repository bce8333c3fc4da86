/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* How the files of config/ report what they find. */
#pragma once

#include "config/config.h"

/** Adds an error at @mark of file @name (NULL: no position) on the object @path. */
void problem_error(struct config_problems *problems, const char *name, struct config_mark mark,
		   const char *path, const char *format, ...) __attribute__((format(printf, 5, 6)));

/** The same for a warning, which refuses nothing. */
void problem_warning(struct config_problems *problems, const char *name, struct config_mark mark,
		     const char *path, const char *format, ...)
	__attribute__((format(printf, 5, 6)));
