/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * libyaml's events, composed into libyaml's document. Not by yaml_parser_load(): it knows no limit
 * of depth, and its scanner takes seconds for some thousand open brackets. Here the first event
 * that goes too deep, or past the budget of nodes, ends the reading.
 */
#include "config/document.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "config/problem.h"

enum {
	MAX_DEPTH = 8, /* the schema's deepest value stands at 6 */
	MAX_ANCHORS = 256,
	MAX_ANCHOR_TEXT = 64,
	FIRST_ROOM = 4, /* of a mapping or list; libyaml doubles it */
};

struct anchor {
	char name[MAX_ANCHOR_TEXT];
	int node;
};

/* A mapping or list that is still open. */
struct level {
	int node;
	int key; /* of a mapping: the key that waits for its value; 0: none */
	char anchor[MAX_ANCHOR_TEXT];
};

struct composer {
	const char *name;
	const char *text;
	yaml_parser_t parser;
	yaml_document_t *document;
	struct config_problems *problems;
	struct level level[MAX_DEPTH];
	size_t depth;
	struct anchor anchor[MAX_ANCHORS];
	size_t n_anchors;
	size_t n_nodes;
	bool has_document;
	const char *skipped; /* key of the top level, whose value is passed over; NULL: none */
	bool is_passing;     /* over that value */
	size_t n_passed;     /* mappings and lists in it that are open */
	bool has_passed_anchor;
};

static struct config_mark mark_at(yaml_mark_t at)
{
	return (struct config_mark){.line = (uint32_t)at.line + 1,
				    .column = (uint32_t)at.column + 1};
}

#define REFUSE(composer, event, ...)                                                               \
	(problem_error((composer)->problems, (composer)->name, mark_at((event)->start_mark), "",   \
		       __VA_ARGS__),                                                               \
	 -EINVAL)

/* The reader knows only how many bytes it had read. */
static struct config_mark mark_of_offset(const char *text, size_t offset)
{
	struct config_mark mark = {1, 1};

	for (size_t i = 0; i < offset; i++) {
		if (text[i] == '\n') {
			mark.line++;
			mark.column = 1;
		} else if (((unsigned char)text[i] & 0xc0) != 0x80) {
			mark.column++;
		}
	}
	return mark;
}

static int report_parser(const struct composer *composer)
{
	const yaml_parser_t *parser = &composer->parser;
	struct config_mark mark = mark_at(parser->problem_mark);

	if (parser->error == YAML_MEMORY_ERROR)
		return -ENOMEM;
	if (parser->error == YAML_READER_ERROR)
		mark = mark_of_offset(composer->text, parser->problem_offset);
	problem_error(composer->problems, composer->name, mark, "", "not YAML: %s%s%s",
		      parser->problem != NULL ? parser->problem : "unreadable",
		      parser->context != NULL ? ", " : "",
		      parser->context != NULL ? parser->context : "");
	return -EINVAL;
}

/* Hangs @node into the innermost open mapping or list. */
static int attach(struct composer *composer, int node)
{
	struct level *level;
	int done;

	if (composer->depth == 0)
		return 0;
	level = &composer->level[composer->depth - 1];
	if (yaml_document_get_node(composer->document, level->node)->type == YAML_SEQUENCE_NODE) {
		done = yaml_document_append_sequence_item(composer->document, level->node, node);
	} else if (level->key == 0) {
		level->key = node;
		return 0;
	} else {
		done = yaml_document_append_mapping_pair(composer->document, level->node,
							 level->key, node);
		level->key = 0;
	}
	return done ? 0 : -ENOMEM;
}

static int add_anchor(struct composer *composer, const yaml_event_t *event, const char *name,
		      int node)
{
	struct anchor *anchor;

	if (composer->n_anchors == MAX_ANCHORS)
		return REFUSE(composer, event, "too many anchors (limit %d)", MAX_ANCHORS);
	anchor = &composer->anchor[composer->n_anchors++];
	memcpy(anchor->name, name, strlen(name) + 1);
	anchor->node = node;
	return 0;
}

/* An anchor counts from the end of its object, so nothing can contain itself. */
static int add_alias(struct composer *composer, const yaml_event_t *event)
{
	const char *name = (const char *)event->data.alias.anchor;

	for (size_t i = composer->n_anchors; i > 0; i--)
		if (strcmp(composer->anchor[i - 1].name, name) == 0)
			return attach(composer, composer->anchor[i - 1].node);
	/* Who knows all of the file knows better. */
	if (composer->has_passed_anchor)
		return -EAGAIN;
	return REFUSE(composer, event, "alias \"%.40s\" has no anchor before it", name);
}

static int check_node(struct composer *composer, const yaml_event_t *event,
		      const yaml_char_t *anchor, const yaml_char_t *tag)
{
	if (++composer->n_nodes > CONFIG_MAX_NODES)
		return REFUSE(composer, event, "the file has too many nodes (limit %d)",
			      CONFIG_MAX_NODES);
	if (tag != NULL)
		return REFUSE(composer, event, "tag \"%.40s\": tags are not used here",
			      (const char *)tag);
	if (anchor != NULL && strlen((const char *)anchor) >= MAX_ANCHOR_TEXT)
		return REFUSE(composer, event, "an anchor of %zu bytes (limit %d)",
			      strlen((const char *)anchor), MAX_ANCHOR_TEXT - 1);
	return 0;
}

/*
 * Appends @node, where @event stands; its number, from 1, or 0: out of memory. yaml_document_add_scalar() and
 * the like give each a copy of its text, and of a tag that nobody reads: that is half of all memory here.
 * What is in it has to be malloc()'s, for yaml_document_delete().
 */
static int add_node(struct composer *composer, const yaml_event_t *event, yaml_node_t node)
{
	yaml_document_t *document = composer->document;
	size_t n = (size_t)(document->nodes.top - document->nodes.start);

	if (document->nodes.top == document->nodes.end) {
		yaml_node_t *grown = realloc(document->nodes.start, 2 * n * sizeof(node));

		if (grown == NULL)
			return 0;
		document->nodes.start = grown;
		document->nodes.top = grown + n;
		document->nodes.end = grown + 2 * n;
	}
	node.start_mark = event->start_mark;
	node.end_mark = event->end_mark;
	*document->nodes.top++ = node;
	return (int)n + 1;
}

/* The event's text is the node's from then on. */
static int add_scalar_node(struct composer *composer, yaml_event_t *event)
{
	int node = add_node(composer, event,
			    (yaml_node_t){
				    .type = YAML_SCALAR_NODE,
				    .data.scalar.value = event->data.scalar.value,
				    .data.scalar.length = event->data.scalar.length,
				    .data.scalar.style = event->data.scalar.style,
			    });

	if (node != 0)
		event->data.scalar.value = NULL;
	return node;
}

static int add_list_node(struct composer *composer, const yaml_event_t *event)
{
	yaml_node_t list = {.type = YAML_SEQUENCE_NODE};
	int node;

	list.data.sequence.style = event->data.sequence_start.style;
	list.data.sequence.items.start = malloc(FIRST_ROOM * sizeof(yaml_node_item_t));
	list.data.sequence.items.top = list.data.sequence.items.start;
	list.data.sequence.items.end = list.data.sequence.items.start + FIRST_ROOM;
	node = list.data.sequence.items.start != NULL ? add_node(composer, event, list) : 0;
	if (node == 0)
		free(list.data.sequence.items.start);
	return node;
}

static int add_mapping_node(struct composer *composer, const yaml_event_t *event)
{
	yaml_node_t mapping = {.type = YAML_MAPPING_NODE};
	int node;

	mapping.data.mapping.style = event->data.mapping_start.style;
	mapping.data.mapping.pairs.start = malloc(FIRST_ROOM * sizeof(yaml_node_pair_t));
	mapping.data.mapping.pairs.top = mapping.data.mapping.pairs.start;
	mapping.data.mapping.pairs.end = mapping.data.mapping.pairs.start + FIRST_ROOM;
	node = mapping.data.mapping.pairs.start != NULL ? add_node(composer, event, mapping) : 0;
	if (node == 0)
		free(mapping.data.mapping.pairs.start);
	return node;
}

/* Whether a scalar, as the next event, is the key whose value is passed over. */
static bool is_skipped(const struct composer *composer, const yaml_event_t *event)
{
	return composer->skipped != NULL && composer->depth == 1 && composer->level[0].key == 0 &&
	       yaml_document_get_node(composer->document, composer->level[0].node)->type ==
		       YAML_MAPPING_NODE &&
	       strcmp((const char *)event->data.scalar.value, composer->skipped) == 0;
}

static int add_scalar(struct composer *composer, yaml_event_t *event)
{
	const yaml_char_t *anchor = event->data.scalar.anchor;
	int status = check_node(composer, event, anchor, event->data.scalar.tag);
	int node;

	if (status != 0)
		return status;
	composer->is_passing = is_skipped(composer, event);
	if (composer->is_passing)
		return 0;
	node = add_scalar_node(composer, event);
	if (node == 0)
		return -ENOMEM;
	if (anchor != NULL)
		status = add_anchor(composer, event, (const char *)anchor, node);
	return status != 0 ? status : attach(composer, node);
}

static int open_level(struct composer *composer, const yaml_event_t *event)
{
	bool is_list = event->type == YAML_SEQUENCE_START_EVENT;
	const yaml_char_t *anchor =
		is_list ? event->data.sequence_start.anchor : event->data.mapping_start.anchor;
	const yaml_char_t *tag =
		is_list ? event->data.sequence_start.tag : event->data.mapping_start.tag;
	int status = check_node(composer, event, anchor, tag);
	struct level *level;
	int node;

	if (status != 0)
		return status;
	if (composer->depth == MAX_DEPTH)
		return REFUSE(composer, event, "nested too deep (limit %d)", MAX_DEPTH);
	node = is_list ? add_list_node(composer, event) : add_mapping_node(composer, event);
	if (node == 0)
		return -ENOMEM;
	status = attach(composer, node);
	if (status != 0)
		return status;
	level = &composer->level[composer->depth++];
	*level = (struct level){.node = node};
	if (anchor != NULL)
		memcpy(level->anchor, anchor, strlen((const char *)anchor) + 1);
	return 0;
}

static int close_level(struct composer *composer, const yaml_event_t *event)
{
	const struct level *level = &composer->level[--composer->depth];

	if (level->anchor[0] == '\0')
		return 0;
	return add_anchor(composer, event, level->anchor, level->node);
}

/* What is passed over shall not be deeper, or more, than what is read. */
static int pass_over(struct composer *composer, const yaml_event_t *event)
{
	const yaml_char_t *anchor = NULL;

	if (event->type == YAML_SCALAR_EVENT)
		anchor = event->data.scalar.anchor;
	else if (event->type == YAML_SEQUENCE_START_EVENT)
		anchor = event->data.sequence_start.anchor;
	else if (event->type == YAML_MAPPING_START_EVENT)
		anchor = event->data.mapping_start.anchor;
	composer->has_passed_anchor |= anchor != NULL;
	if (event->type == YAML_SEQUENCE_END_EVENT || event->type == YAML_MAPPING_END_EVENT) {
		composer->n_passed--;
	} else if (event->type != YAML_SCALAR_EVENT && event->type != YAML_ALIAS_EVENT) {
		if (composer->depth + composer->n_passed++ == MAX_DEPTH)
			return REFUSE(composer, event, "nested too deep (limit %d)", MAX_DEPTH);
	}
	composer->is_passing = composer->n_passed > 0;
	return check_node(composer, event, NULL, NULL);
}

static int take(struct composer *composer, yaml_event_t *event)
{
	if (composer->is_passing)
		return pass_over(composer, event);
	switch (event->type) {
	case YAML_DOCUMENT_START_EVENT:
		if (composer->has_document)
			return REFUSE(composer, event, "more than one document (limit 1)");
		composer->has_document = true;
		return 0;
	case YAML_ALIAS_EVENT:
		return add_alias(composer, event);
	case YAML_SCALAR_EVENT:
		return add_scalar(composer, event);
	case YAML_SEQUENCE_START_EVENT:
	case YAML_MAPPING_START_EVENT:
		return open_level(composer, event);
	case YAML_SEQUENCE_END_EVENT:
	case YAML_MAPPING_END_EVENT:
		return close_level(composer, event);
	case YAML_NO_EVENT:
	case YAML_STREAM_START_EVENT:
	case YAML_STREAM_END_EVENT:
	case YAML_DOCUMENT_END_EVENT:
		break;
	}
	return 0;
}

static int compose(struct composer *composer)
{
	bool is_end = false;
	int status = 0;

	while (status == 0 && !is_end) {
		yaml_event_t event;

		if (!yaml_parser_parse(&composer->parser, &event))
			return report_parser(composer);
		is_end = event.type == YAML_STREAM_END_EVENT;
		status = take(composer, &event);
		yaml_event_delete(&event);
	}
	return status;
}

bool document_is_null(const yaml_node_t *node)
{
	const char *text = (const char *)node->data.scalar.value;

	return node->type == YAML_SCALAR_NODE &&
	       node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
	       (text[0] == '\0' || strcmp(text, "~") == 0 || strcmp(text, "null") == 0);
}

static int read_skipping(const char *name, const char *text, size_t length, const char *skipped,
			 yaml_document_t *document, struct config_problems *problems)
{
	struct composer composer = {.name = name,
				    .text = text,
				    .document = document,
				    .problems = problems,
				    .skipped = skipped};
	const struct config_mark start = {1, 1};
	const yaml_node_t *root;
	int status;

	if (!yaml_parser_initialize(&composer.parser))
		return -ENOMEM;
	if (!yaml_document_initialize(document, NULL, NULL, NULL, 1, 1)) {
		yaml_parser_delete(&composer.parser);
		return -ENOMEM;
	}
	/* Without this a byte order mark would make UTF-16 of it. */
	yaml_parser_set_encoding(&composer.parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&composer.parser, (const unsigned char *)text, length);
	status = compose(&composer);
	yaml_parser_delete(&composer.parser);
	root = yaml_document_get_root_node(document);
	if (status == 0 && (root == NULL || document_is_null(root))) {
		problem_error(problems, name, start, "", "the file is empty");
		status = -EINVAL;
	}
	if (status != 0)
		yaml_document_delete(document);
	return status;
}

int document_read(const char *name, const char *text, size_t length, const char *skipped,
		  yaml_document_t *document, struct config_problems *problems)
{
	int status = read_skipping(name, text, length, skipped, document, problems);

	if (status == -EAGAIN)
		status = read_skipping(name, text, length, NULL, document, problems);
	return status;
}
