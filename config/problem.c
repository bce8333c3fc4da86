/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * Problems, collected with their positions. An error takes the place of a warning where there is
 * no other. Texts are ASCII: a cut through UTF-8, or a byte that a terminal would obey, is masked.
 */
#include "config/problem.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void mask(char *text)
{
	for (; *text != '\0'; text++)
		if (*text < ' ' || *text > '~')
			*text = '?';
}

/* Drops the last warning. false: there is none. */
static bool drop_warning(struct config_problems *problems)
{
	for (size_t i = problems->n; i > 0; i--) {
		if (!problems->problem[i - 1].is_warning)
			continue;
		memmove(&problems->problem[i - 1], &problems->problem[i],
			(problems->n - i) * sizeof(problems->problem[0]));
		problems->n--;
		return true;
	}
	return false;
}

__attribute__((format(printf, 6, 0))) static void add(struct config_problems *problems,
						      const char *name, struct config_mark mark,
						      const char *path, bool is_warning,
						      const char *format, va_list values)
{
	struct config_problem *problem;
	size_t used = 0;

	problems->n_errors += !is_warning;
	if (problems->n == CONFIG_MAX_PROBLEMS && (is_warning || !drop_warning(problems)))
		return;
	problem = &problems->problem[problems->n++];
	problem->is_warning = is_warning;
	problem->text[0] = '\0';
	if (name != NULL)
		used = (size_t)snprintf(problem->text, sizeof(problem->text),
					"%.120s:%u:%u: ", name, mark.line, mark.column);
	if (path[0] != '\0')
		used += (size_t)snprintf(problem->text + used, sizeof(problem->text) - used,
					 "%.160s: ", path);
	if (is_warning)
		used += (size_t)snprintf(problem->text + used, sizeof(problem->text) - used,
					 "warning: ");
	vsnprintf(problem->text + used, sizeof(problem->text) - used, format, values);
	mask(problem->text);
}

void problem_error(struct config_problems *problems, const char *name, struct config_mark mark,
		   const char *path, const char *format, ...)
{
	va_list values;

	va_start(values, format);
	add(problems, name, mark, path, false, format, values);
	va_end(values);
}

void problem_warning(struct config_problems *problems, const char *name, struct config_mark mark,
		     const char *path, const char *format, ...)
{
	va_list values;

	va_start(values, format);
	add(problems, name, mark, path, true, format, values);
	va_end(values);
}

void config_problems_text(const struct config_problems *problems, char *text, size_t size)
{
	size_t n_more = problems->n_errors;
	size_t used = 0;

	text[0] = '\0';
	for (size_t i = 0; i < problems->n; i++) {
		n_more -= !problems->problem[i].is_warning;
		if (used + 1 < size)
			used += (size_t)snprintf(text + used, size - used, "%s%s",
						 i > 0 ? "\n" : "", problems->problem[i].text);
	}
	if (n_more > 0 && used + 1 < size)
		snprintf(text + used, size - used, "\n... and %zu more", n_more);
}
