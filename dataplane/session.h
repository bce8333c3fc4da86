/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * The private protocol without its sockets: what one message means. server.c feeds it from
 * connections, the tests and the fuzz target directly. One thread.
 */
#pragma once

#include <sluice/wire.h>

struct dataplane;
struct session;
struct sessions;

/**
 * The state that all sessions share: what is committed, and the transaction under way.
 * @dataplane: borrowed. NULL: ENOMEM.
 */
struct sessions *sessions_new(struct dataplane *dataplane);
void sessions_free(struct sessions *sessions);

/** One connection. @pid: the peer's, for messages. NULL: ENOMEM. */
struct session *session_new(struct sessions *sessions, int pid);

/** Ends a connection, its transaction and its capture. */
void session_free(struct session *session);

/** Ends what nobody has looked after for too long. About once a second. */
void sessions_tick(struct sessions *sessions);

/**
 * Handles the packet @message of @length bytes, whatever it holds, and writes the answer.
 * @message: aligned to 8. @reply: WIRE_MAX_MESSAGE bytes, aligned to 8. Returns the answer's length; 0: the packet was no
 * message at all, and the connection is to be closed.
 */
size_t session_handle(struct session *session, const void *message, size_t length, void *reply);
