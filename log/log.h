/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * One line a message on standard error, the object first: "service web: ...". Under a journal each
 * line begins with its priority, <3> to <7>. Never on the packet path.
 */
#pragma once

#include <stdbool.h>

enum log_level {
	LOG_LEVEL_ERR = 3,
	LOG_LEVEL_WARN = 4,
	LOG_LEVEL_INFO = 6,
	LOG_LEVEL_DEBUG = 7,
};

/** @program: the name before each line; borrowed for good. Once, before any other call. */
void log_open(const char *program, enum log_level level);

/** "error", "warning", "info", "debug" -> @level. false: none of these. */
bool log_level_from_name(const char *name, enum log_level *level);

void log_err(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_warn(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_debug(const char *format, ...) __attribute__((format(printf, 1, 2)));
