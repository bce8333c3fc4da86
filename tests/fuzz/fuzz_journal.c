/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * libFuzzer target: the input is the journal of the state. With a first byte of '+' its lines are given
 * the digests of their text, so that what is behind these is reached. Whatever it says, the state is one
 * that the rules of a configuration or the journal's own digest stand for, and damage has a reason.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/daemon/desired.h"
#include "control/daemon/journal.h"
#include "control/daemon/state.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
	MAX_INPUT = 65536,
	LINE_MORE = 18, /* bytes that a digest takes in front of a line, and a NUL */
};

static void require(bool is_true, const char *what)
{
	if (is_true)
		return;
	(void)fprintf(stderr, "fuzz_journal: %s\n", what);
	abort();
}

/* What the first line of an input builds on: generation 7 of one service with one backend. */
static struct state make_state(void)
{
	struct wire_address address = {
		.addr.word = {SL_BE32(0xcb00710a)},
		.port = SL_BE16(80),
		.protocol = SL_PROTOCOL_TCP,
		.family = SL_FAMILY_IPV4,
	};
	struct desired_backend backend = {
		.wire.addr.word = {SL_BE32(0x0a000002)},
		.wire.port = SL_BE16(8080),
		.wire.state = WIRE_STATE_READY,
		.wire.weight = 1,
	};
	struct state state = {.generation = 7, .desired = desired_new()};
	struct rpc_error error;

	require(desired_add(state.desired, desired_service_new("web", &address, DESIRED_OWNER_API),
			    &error) == RPC_OK &&
			desired_add_backend(state.desired, "web", &backend, &error) == RPC_OK,
		"no state to begin with");
	return state;
}

/* The lines of @data, NUL behind them, with digests or as they are. */
static char *make_text(const uint8_t *data, size_t size)
{
	bool is_summed = size > 0 && data[0] == '+';
	char *input = calloc(1, size + 1);
	char *text = calloc(1, (size + 1) * (LINE_MORE + 2));
	size_t used = 0;

	require(input && text, "out of memory");
	memcpy(input, data, size);
	if (!is_summed)
		memcpy(text, input, size);
	for (char *at = input + is_summed, *end; is_summed && (end = strchr(at, '\n'));
	     at = end + 1) {
		*end = '\0';
		used += (size_t)sprintf(text + used, "%016llx %s\n",
					(unsigned long long)state_text_digest(at, strlen(at)), at);
	}
	free(input);
	return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct state state = make_state();
	struct journal journal = {.digest = 0x1111111111111111};
	char note[STATE_MAX_ERROR] = "";
	bool is_ours;
	char *text;

	if (size > MAX_INPUT) {
		desired_free(state.desired);
		return 0;
	}
	text = make_text(data, size);
	is_ours = journal_replay_text("journal", text, &state, &journal, note);
	require(is_ours || state.generation == 7, "another's journal was followed");
	for (const char *c = note; *c; c++)
		require(*c >= ' ' && *c <= '~', "a note that is not printable ASCII");
	for (size_t i = 1; i < state.desired->n_services; i++)
		require(strcmp(state.desired->service[i - 1]->wire.name,
			       state.desired->service[i]->wire.name) < 0,
			"services that are not sorted");
	free(text);
	desired_free(state.desired);
	return 0;
}
