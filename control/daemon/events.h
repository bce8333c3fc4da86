/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * What happened, numbered, the last EVENTS_KEPT of it, as lines that are ready to be sent. A reader has a cursor
 * and no queue: however slow it is, it costs nothing and holds up nobody, and it is told how many events it
 * missed. In the thread of the event loop.
 */
#pragma once

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include <sluice/base.h>

#include "control/event_types.h"

struct events;

enum {
	EVENTS_KEPT = 4096,
};

/** Where a reader is. */
struct events_cursor {
	uint64_t next;  /* the number of the event that comes next */
	uint32_t types; /* bit 1 << enum event_type: those that are wanted; an overrun always is */
};

/** NULL: out of memory. */
struct events *events_new(void);
void events_free(struct events *events);

/** @hear is called for each event from now on; it must only make a note of it. */
void events_listen(struct events *events, void (*hear)(void *context), void *context);

/** An event of @type with @members, an object, taken over. @events NULL: nobody wants to know. */
void events_add(struct events *events, enum event_type type, json_t *members);

/** Number of the last event; 0: there was none. And of the first that is kept. */
uint64_t events_last(const struct events *events);
uint64_t events_first(const struct events *events);

/**
 * The next line that @cursor wants, heap, the caller's, with its newline; NULL: there is none, or no memory.
 * @length: its bytes. Moves @cursor.
 */
char *events_next(const struct events *events, struct events_cursor *cursor, size_t *length);
