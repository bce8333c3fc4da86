/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* See events.h. Number n stands at n % EVENTS_KEPT. */
#include "control/daemon/events.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "control/rpc.h"
#include "log/log.h"

struct event_line {
	char *text;
	size_t length;
	enum event_type type;
};

struct events {
	struct event_line kept[EVENTS_KEPT];
	uint64_t last;
	void (*hear)(void *context);
	void *context;
};

struct events *events_new(void)
{
	return calloc(1, sizeof(struct events));
}

void events_free(struct events *events)
{
	for (size_t i = 0; events && i < EVENTS_KEPT; i++)
		free(events->kept[i].text);
	free(events);
}

void events_listen(struct events *events, void (*hear)(void *context), void *context)
{
	events->hear = hear;
	events->context = context;
}

uint64_t events_last(const struct events *events)
{
	return events ? events->last : 0;
}

uint64_t events_first(const struct events *events)
{
	return events_last(events) > EVENTS_KEPT ? events->last - EVENTS_KEPT + 1 : 1;
}

static json_t *time_now(void)
{
	struct timespec now;
	struct tm parts;
	char text[40];
	size_t n;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	(void)gmtime_r(&now.tv_sec, &parts);
	n = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &parts);
	(void)snprintf(text + n, sizeof(text) - n, ".%06ldZ", now.tv_nsec / 1000);
	return json_string(text);
}

/* @members is taken over. NULL: out of memory. */
static char *encode(uint64_t sequence, enum event_type type, json_t *members, size_t *length)
{
	json_t *event = json_pack("{s:I, s:o, s:s}", "sequence", (json_int_t)sequence, "time",
				  time_now(), "type", event_type_name(type));
	char *line = NULL;

	if (event && members && json_object_update(event, members) == 0)
		line = rpc_encode_notification("event", event, length);
	json_decref(event);
	json_decref(members);
	return line;
}

void events_add(struct events *events, enum event_type type, json_t *members)
{
	struct event_line line = {.type = type};
	struct event_line *place;

	if (!events) {
		json_decref(members);
		return;
	}
	line.text = encode(events->last + 1, type, members, &line.length);
	if (!line.text) {
		log_err("events: %s: out of memory", event_type_name(type));
		return;
	}
	place = &events->kept[++events->last % EVENTS_KEPT];
	free(place->text);
	*place = line;
	if (events->hear)
		events->hear(events->context);
}

/* Tells of what has gone, in the name of the last event that did. */
static char *tell_overrun(const struct events *events, struct events_cursor *cursor, size_t *length)
{
	uint64_t first = events_first(events), n_lost = first - cursor->next;

	cursor->next = first;
	return encode(first - 1, EVENT_OVERRUN, json_pack("{s:I}", "lost", (json_int_t)n_lost),
		      length);
}

char *events_next(const struct events *events, struct events_cursor *cursor, size_t *length)
{
	if (cursor->next < events_first(events))
		return tell_overrun(events, cursor, length);
	while (cursor->next <= events_last(events)) {
		const struct event_line *line = &events->kept[cursor->next % EVENTS_KEPT];

		cursor->next++;
		if (!(cursor->types & 1u << line->type))
			continue;
		*length = line->length;
		return strdup(line->text);
	}
	return NULL;
}
