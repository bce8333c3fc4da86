/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
#include "control/event_types.h"

#include <string.h>

static const char *const names[N_EVENT_TYPES] = {
#define X(upper, name, help, members) [EVENT_##upper] = name,
	EVENT_TYPE_LIST(X)
#undef X
};

const char *event_type_name(enum event_type type)
{
	return names[type];
}

bool event_type_find(const char *name, enum event_type *type)
{
	for (int i = 0; i < N_EVENT_TYPES; i++) {
		if (strcmp(name, names[i]) != 0)
			continue;
		*type = (enum event_type)i;
		return true;
	}
	return false;
}
