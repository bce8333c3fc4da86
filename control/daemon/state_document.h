/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * A whole state as text, as state.json and the kept generations hold it. It carries the digest of what
 * it says, so that damage inside is seen, too. Pure.
 */
#pragma once

#include <stdint.h>

#include <sluice/base.h>

struct state;

/** The text of @state; heap. NULL: out of memory. */
char *state_document_write(const struct state *state);

/**
 * @state: filled on success; its desired is the caller's to free. @digest: the state's, as the text's
 * version computed it. @error: STATE_MAX_ERROR bytes, filled where the text is damaged. 0, -EBADMSG or
 * -ENOMEM.
 */
int state_document_read(const char *text, struct state *state, uint64_t *digest,
			char *error) SL_MUST_USE;
