/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* Prints what `sluice shell` would complete the last argument to, a line each; services, backends and generations are made up. */
#include <stdio.h>

#include "control/cli/candidates.h"

static json_t *ask(void *context, enum value_kind kind, const char *service)
{
	(void)context;
	if (kind == VALUE_GENERATION)
		return json_pack("[s, s]", "5", "3");
	if (service)
		return json_pack("[s, s]", "10.0.0.2:8080", "10.0.0.3:8080");
	return json_pack("[s, s]", "web", "wiki");
}

int main(int argc, char **argv)
{
	json_t *found = candidates(argc - 1, argv + 1, ask, NULL);

	for (size_t i = 0; i < json_array_size(found); i++)
		(void)puts(json_string_value(json_array_get(found, i)));
	json_decref(found);
	return fflush(stdout) ? 1 : 0;
}
