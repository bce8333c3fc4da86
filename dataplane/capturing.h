/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* Messages about captures: each takes a request of its type, of the right size. */
#pragma once

struct answer;
struct session;
struct sessions;

void capturing_begin(struct session *session, const void *body, struct answer *answer);
void capturing_read(struct session *session, const void *body, struct answer *answer);
void capturing_stop(struct session *session, const void *body, struct answer *answer);

/** Ends the capture under way if nobody has read it for WIRE_CAPTURE_IDLE_SEC. */
void capturing_expire(struct sessions *sessions);

/** Ends the capture under way if it is @session's. */
void capturing_leave(struct session *session);

/** Ends the capture under way, if there is one. */
void capturing_end(struct sessions *sessions);
