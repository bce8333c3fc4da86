/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
#include "control/daemon/config_text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sluice/limits.h>

static int refuse(const char *path, const char *reason, char *error, size_t error_size)
{
	(void)snprintf(error, error_size, "%s: %s", path, reason);
	return -EINVAL;
}

/* Everything up to the end of @file, growing; NULL with errno set. EFBIG: more than the limit. */
static char *read_all(FILE *file, size_t *length)
{
	size_t capacity = 0;
	char *text = NULL;

	*length = 0;
	do {
		char *grown;

		capacity = capacity * 2 + 65536;
		grown = realloc(text, capacity);
		if (!grown) {
			free(text);
			errno = ENOMEM;
			return NULL;
		}
		text = grown;
		*length += fread(text + *length, 1, capacity - *length, file);
	} while (*length == capacity && *length <= SL_MAX_CONFIG_BYTES);
	if (!ferror(file) && *length <= SL_MAX_CONFIG_BYTES)
		return text;
	errno = ferror(file) ? EIO : EFBIG;
	free(text);
	return NULL;
}

int config_text_read(const char *path, char **text, size_t *length, char *error, size_t error_size)
{
	FILE *file = fopen(path, "re");
	int status = 0;

	if (!file)
		return refuse(path, strerror(errno), error, error_size);
	*text = read_all(file, length);
	if (!*text)
		status = refuse(path, strerror(errno), error, error_size);
	(void)fclose(file);
	return status;
}
