/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* What session.c and query.c share. */
#pragma once

#include "dataplane/session.h"
#include "dataplane/stages.h"

struct capture;
struct plan;
struct snapshot;

struct sessions {
	struct dataplane *dataplane;
	struct stages stages;
	struct snapshot *snapshot; /* published; the dataplane owns it. NULL before the first */
	struct session *holder;    /* of the transaction under way; NULL: none */
	struct plan *plan;         /* of the transaction under way; NULL: it has none */
	struct snapshot *planned;  /* what the plan compares with; NULL likewise */
	struct capture *capture;   /* the one under way; NULL: there is none */
	uint64_t last_capture;     /* its id, or that of the last one */
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

/** Whether the session holds the transaction under way; else the answer says why not. */
bool session_holds_transaction(const struct session *session, struct answer *answer);

uint64_t session_now_ns(void);
