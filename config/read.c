/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* See read.h. */
#include "config/read.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/document.h"
#include "config/similar.h"

enum {
	MAX_PATH_TEXT = 192,
};

struct config_mark read_mark(const yaml_node_t *node)
{
	return (struct config_mark){.line = (uint32_t)node->start_mark.line + 1,
				    .column = (uint32_t)node->start_mark.column + 1};
}

static const char *kind_of(const yaml_node_t *node)
{
	switch (node->type) {
	case YAML_SCALAR_NODE:
		return document_is_null(node) ? "empty" : "a scalar";
	case YAML_SEQUENCE_NODE:
		return "a list";
	case YAML_MAPPING_NODE:
		return "a mapping";
	case YAML_NO_NODE:
		break;
	}
	return "nothing";
}

const char *read_scalar(struct reader *reader, const yaml_node_t *node, const char *path)
{
	const char *text;

	if (node->type != YAML_SCALAR_NODE) {
		READ_FAIL(reader, node, path, "is %s, expected a scalar", kind_of(node));
		return NULL;
	}
	if (document_is_null(node)) {
		READ_FAIL(reader, node, path, "has no value");
		return NULL;
	}
	text = (const char *)node->data.scalar.value;
	if (strlen(text) != node->data.scalar.length) {
		READ_FAIL(reader, node, path, "contains a zero byte");
		return NULL;
	}
	return text;
}

static const struct read_key *find_key(const struct read_key *keys, const char *name)
{
	for (; keys->name != NULL; keys++)
		if (strcmp(keys->name, name) == 0)
			return keys;
	return NULL;
}

/* Whether @name, of the mapping called @path, is read at all. */
static bool is_read(const struct reader *reader, const char *path, const char *name)
{
	if (reader->only == NULL || path[0] != '\0')
		return true;
	for (size_t i = 0; reader->only[i] != NULL; i++)
		if (strcmp(reader->only[i], name) == 0)
			return true;
	return false;
}

static void list_keys(const struct read_key *keys, char *text, size_t size)
{
	size_t used = 0;

	text[0] = '\0';
	for (; keys->name != NULL && used + 1 < size; keys++)
		used += (size_t)snprintf(text + used, size - used, "%s%s", used > 0 ? ", " : "",
					 keys->name);
}

static void say_unknown_key(struct reader *reader, const yaml_node_t *node, const char *path,
			    const char *name, const struct read_key *keys)
{
	struct similar similar = {.given = name};
	char known[512];

	for (const struct read_key *key = keys; key->name != NULL; key++)
		similar_offer(&similar, key->name);
	list_keys(keys, known, sizeof(known));
	READ_FAIL(reader, node, path, "unknown key \"%.40s\"%s%s%s (known: %s)", name,
		  similar.found != NULL ? ", did you mean \"" : "",
		  similar.found != NULL ? similar.found : "", similar.found != NULL ? "\"?" : "",
		  known);
}

static bool visit(struct reader *reader, const yaml_node_t *node, const char *path)
{
	if (++reader->n_visited <= CONFIG_MAX_NODES)
		return true;
	if (reader->n_visited == CONFIG_MAX_NODES + 1)
		READ_FAIL(reader, node, path, "the file has too many nodes (limit %d)",
			  CONFIG_MAX_NODES);
	return false;
}

/* Whether key number @at of @mapping stands there earlier as well. */
static bool is_repeated(struct reader *reader, const yaml_node_t *mapping, ptrdiff_t at)
{
	const yaml_node_pair_t *pair = mapping->data.mapping.pairs.start;
	const yaml_node_t *key = yaml_document_get_node(&reader->document, pair[at].key);

	for (ptrdiff_t i = 0; i < at; i++) {
		const yaml_node_t *other = yaml_document_get_node(&reader->document, pair[i].key);

		if (other->type == YAML_SCALAR_NODE &&
		    strcmp((const char *)other->data.scalar.value,
			   (const char *)key->data.scalar.value) == 0)
			return true;
	}
	return false;
}

bool read_mapping(struct reader *reader, const yaml_node_t *node, const char *path,
		  const struct read_key *keys, void *target)
{
	ptrdiff_t n;

	if (!visit(reader, node, path))
		return false;
	if (node->type != YAML_MAPPING_NODE) {
		READ_FAIL(reader, node, path, "is %s, expected a mapping", kind_of(node));
		return false;
	}
	n = node->data.mapping.pairs.top - node->data.mapping.pairs.start;
	for (ptrdiff_t i = 0; i < n && i < 64; i++) {
		const yaml_node_pair_t *pair = &node->data.mapping.pairs.start[i];
		const yaml_node_t *name_node = yaml_document_get_node(&reader->document, pair->key);
		const yaml_node_t *value = yaml_document_get_node(&reader->document, pair->value);
		const char *name = read_scalar(reader, name_node, path);
		const struct read_key *key;
		char inner[MAX_PATH_TEXT];

		if (name == NULL || !visit(reader, value, path) || !is_read(reader, path, name))
			continue;
		key = find_key(keys, name);
		if (key == NULL) {
			say_unknown_key(reader, name_node, path, name, keys);
			continue;
		}
		if (is_repeated(reader, node, i)) {
			READ_FAIL(reader, name_node, path, "key \"%s\" stands there twice", name);
			continue;
		}
		snprintf(inner, sizeof(inner), "%s%s%s", path, path[0] != '\0' ? "." : "", name);
		key->read(reader, value, inner, key, (uint8_t *)target + key->offset);
	}
	if (n > 64)
		READ_FAIL(reader, node, path, "%td keys (limit 64)", n);
	return true;
}

void read_text(struct reader *reader, const yaml_node_t *node, const char *path,
	       const struct read_key *key, void *target)
{
	const char *text = read_scalar(reader, node, path);

	if (text == NULL)
		return;
	if (text[0] == '\0' || strlen(text) >= (size_t)key->max)
		READ_FAIL(reader, node, path, "\"%.40s\" has %zu bytes (limit 1..%ld)", text,
			  strlen(text), key->max - 1);
	else
		memcpy(target, text, strlen(text) + 1);
}

void read_path(struct reader *reader, const yaml_node_t *node, const char *path,
	       const struct read_key *key, void *target)
{
	const char *text = read_scalar(reader, node, path);

	if (text != NULL && text[0] != '/')
		READ_FAIL(reader, node, path, "\"%.40s\" is not an absolute path", text);
	else if (text != NULL)
		read_text(reader, node, path, key, target);
}

/* Decimal; 010 is refused, which YAML 1.1 takes for eight and people for ten. */
static bool parse_integer(const char *text, long *value)
{
	const char *digits = text + (text[0] == '-');
	char *end;

	if (digits[0] < '0' || digits[0] > '9' || (digits[0] == '0' && digits[1] != '\0'))
		return false;
	errno = 0;
	*value = strtol(text, &end, 10);
	return *end == '\0' && errno == 0;
}

bool read_number(struct reader *reader, const yaml_node_t *node, const char *path,
		 const struct read_key *key, long *value)
{
	const char *text = read_scalar(reader, node, path);

	if (text == NULL)
		return false;
	if (node->data.scalar.style != YAML_PLAIN_SCALAR_STYLE) {
		READ_FAIL(reader, node, path, "\"%.40s\" is quoted, expected an integer", text);
		return false;
	}
	if (!parse_integer(text, value)) {
		READ_FAIL(reader, node, path, "\"%.40s\" is not an integer (limit %ld..%ld)", text,
			  key->min, key->max);
		return false;
	}
	if (*value < key->min || *value > key->max) {
		READ_FAIL(reader, node, path, "value %ld is out of range (limit %ld..%ld)", *value,
			  key->min, key->max);
		return false;
	}
	return true;
}

void read_integer(struct reader *reader, const yaml_node_t *node, const char *path,
		  const struct read_key *key, void *target)
{
	long value;

	if (read_number(reader, node, path, key, &value))
		*(uint32_t *)target = (uint32_t)value;
}

void read_word(struct reader *reader, const yaml_node_t *node, const char *path,
	       const struct read_key *key, void *target)
{
	const char *text = read_scalar(reader, node, path);
	char known[128] = "";
	size_t used = 0;

	if (text == NULL)
		return;
	for (size_t i = 0; key->words[i] != NULL; i++) {
		if (strcmp(key->words[i], text) == 0) {
			*(uint8_t *)target = (uint8_t)((size_t)key->min + i);
			return;
		}
		used += (size_t)snprintf(known + used, sizeof(known) - used, "%s%s",
					 i > 0 ? ", " : "", key->words[i]);
	}
	READ_FAIL(reader, node, path, "\"%.40s\" is not one of: %s", text, known);
}

size_t read_list(struct reader *reader, const yaml_node_t *node, const char *path, size_t limit,
		 read_element_fn *read, void *target)
{
	size_t n;

	if (node->type != YAML_SEQUENCE_NODE) {
		READ_FAIL(reader, node, path, "is %s, expected a list", kind_of(node));
		return 0;
	}
	n = (size_t)(node->data.sequence.items.top - node->data.sequence.items.start);
	if (n > limit) {
		READ_FAIL(reader, node, path, "%zu elements (limit %zu)", n, limit);
		return 0;
	}
	for (size_t i = 0; i < n; i++) {
		const yaml_node_t *element = yaml_document_get_node(
			&reader->document, node->data.sequence.items.start[i]);
		char inner[MAX_PATH_TEXT];

		snprintf(inner, sizeof(inner), "%.140s[%zu]", path, i);
		if (!visit(reader, element, inner))
			break;
		read(reader, element, inner, i, target);
	}
	return n;
}

const yaml_node_t *read_find(struct reader *reader, const yaml_node_t *mapping, const char *name)
{
	const yaml_node_pair_t *pair = mapping->data.mapping.pairs.start;

	for (; pair < mapping->data.mapping.pairs.top; pair++) {
		const yaml_node_t *key = yaml_document_get_node(&reader->document, pair->key);

		if (strcmp((const char *)key->data.scalar.value, name) == 0)
			return key;
	}
	return NULL;
}
