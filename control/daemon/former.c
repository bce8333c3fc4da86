/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* See former.h. */
#include "control/daemon/former.h"

#include "control/daemon/desired.h"
#include "control/daemon/generation.h"
#include "control/daemon/state.h"

void former_remember(struct former *former, uint64_t number, const struct desired *desired)
{
	former_fini(former);
	former->number = number;
	former->desired = desired_clone(desired);
}

const struct desired *former_look(struct former *former, const char *dir, uint64_t number)
{
	char reason[STATE_MAX_ERROR];
	struct state state;

	if (former->desired && former->number == number)
		return former->desired;
	if (generation_load(dir, number, &state, reason))
		return NULL;
	former_fini(former);
	former->number = number;
	former->desired = state.desired;
	return former->desired;
}

void former_fini(struct former *former)
{
	desired_free(former->desired);
	former->desired = NULL;
}
