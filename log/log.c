/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* Each line is made whole and written at once, so that threads do not mix their words. */
#include "log/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *program_name = "sluice";
static enum log_level max_level = LOG_LEVEL_INFO;
static bool has_journal;

static const struct {
	const char *name;
	enum log_level level;
} level_names[] = {
	{"error", LOG_LEVEL_ERR},
	{"warning", LOG_LEVEL_WARN},
	{"info", LOG_LEVEL_INFO},
	{"debug", LOG_LEVEL_DEBUG},
};

void log_open(const char *program, enum log_level level)
{
	program_name = program;
	max_level = level;
	has_journal = getenv("JOURNAL_STREAM") != NULL;
}

bool log_level_from_name(const char *name, enum log_level *level)
{
	for (size_t i = 0; i < sizeof(level_names) / sizeof(level_names[0]); i++) {
		if (strcmp(level_names[i].name, name) == 0) {
			*level = level_names[i].level;
			return true;
		}
	}
	return false;
}

__attribute__((format(printf, 2, 0))) static void write_line(enum log_level level,
							     const char *format, va_list values)
{
	char line[1024];
	int used = 0;

	if (level > max_level)
		return;
	if (has_journal)
		used = snprintf(line, sizeof(line), "<%d>", (int)level);
	used += snprintf(line + used, sizeof(line) - (size_t)used, "%s: %s", program_name,
			 level == LOG_LEVEL_ERR    ? "error: "
			 : level == LOG_LEVEL_WARN ? "warning: "
						   : "");
	used += vsnprintf(line + used, sizeof(line) - (size_t)used, format, values);
	if ((size_t)used > sizeof(line) - 2)
		used = sizeof(line) - 2;
	line[used++] = '\n';
	if (write(STDERR_FILENO, line, (size_t)used) < 0)
		return; /* nowhere to say it */
}

#define DEFINE_LOG(name, level)                                                                    \
	void name(const char *format, ...)                                                         \
	{                                                                                          \
		va_list values;                                                                    \
                                                                                                   \
		va_start(values, format);                                                          \
		write_line(level, format, values);                                                 \
		va_end(values);                                                                    \
	}

DEFINE_LOG(log_err, LOG_LEVEL_ERR)
DEFINE_LOG(log_warn, LOG_LEVEL_WARN)
DEFINE_LOG(log_info, LOG_LEVEL_INFO)
DEFINE_LOG(log_debug, LOG_LEVEL_DEBUG)
