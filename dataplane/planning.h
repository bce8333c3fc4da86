/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* Messages about the plan of the transaction under way: each takes a request of its type, of the right size. */
#pragma once

struct answer;
struct session;
struct sessions;

void planning_make(struct session *session, const void *body, struct answer *answer);
void planning_flows(struct session *session, const void *body, struct answer *answer);
void planning_services(struct session *session, const void *body, struct answer *answer);
void planning_backends(struct session *session, const void *body, struct answer *answer);

/** Forgets the plan, if there is one. */
void planning_end(struct sessions *sessions);
