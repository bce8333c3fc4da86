/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* What session.c and query.c share. */
#pragma once

#include "dataplane/session.h"
#include "dataplane/stages.h"

struct snapshot;

struct sessions {
	struct dataplane *dataplane;
	struct stages stages;
	struct snapshot *snapshot; /* published; the dataplane owns it. NULL before the first */
	struct session *holder;    /* of the transaction under way; NULL: none */
	uint64_t draft_generation;
	struct sl_hash_key draft_key;
	uint64_t boot_id;
	uint64_t start_ns;
	uint64_t commit_ns;
};

struct session {
	struct sessions *sessions;
	int pid;
	bool is_greeted;
};

/** The answer under way. @body: zeroed, room for a whole message less its header. */
struct answer {
	void *body;
	size_t length; /* of the body */
	int status;
};

/** Makes the answer a refusal: what was written of it is forgotten. */
void answer_refuse(struct answer *answer, int status, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

uint64_t session_now_ns(void);
