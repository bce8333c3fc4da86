/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * Reads nodes of a YAML document (document.h) by tables of keys. Nodes keep their positions, so every
 * refusal has one. A function that refuses tells the problem and leaves its target.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <yaml.h>

#include "config/config.h"
#include "config/problem.h"

struct reader {
	const char *name; /* the file's */
	yaml_document_t document;
	struct config *config;
	struct config_problems *problems;
	const char *const *only; /* keys of the top level that are read, ended by NULL; NULL: all */
	bool is_without_services; /* which are neither read nor judged */
	uint32_t n_visited;       /* nodes; aliases can make a small file large */
	bool is_out_of_memory;
};

struct read_key;

/** Reads @node, called @path in texts, into @target. */
typedef void read_fn(struct reader *reader, const yaml_node_t *node, const char *path,
		     const struct read_key *key, void *target);

/** Reads element @index of a list; @target is the list's. */
typedef void read_element_fn(struct reader *reader, const yaml_node_t *node, const char *path,
			     size_t index, void *target);

/** One key of a mapping: how it is read, into what, and between which limits. A table ends with {0}. */
struct read_key {
	const char *name;
	read_fn *read;
	size_t offset; /* of the member of the mapping's target */
	long min;
	long max; /* of a text: bytes with the zero */
	const char *const *words;
};

struct config_mark read_mark(const yaml_node_t *node);

/** Refuses @node. */
#define READ_FAIL(reader, node, path, ...)                                                         \
	problem_error((reader)->problems, (reader)->name, read_mark(node), path, __VA_ARGS__)

/** The text of a scalar, or NULL with the problem told. */
const char *read_scalar(struct reader *reader, const yaml_node_t *node, const char *path);

/** Reads a mapping by its table of keys. Returns false if it is none. */
bool read_mapping(struct reader *reader, const yaml_node_t *node, const char *path,
		  const struct read_key *keys, void *target);

/** The node of a key of @mapping; NULL: it is not there. */
const yaml_node_t *read_find(struct reader *reader, const yaml_node_t *mapping, const char *name);

/** Calls @read for each element of a list of at most @limit. Returns how many there were. */
size_t read_list(struct reader *reader, const yaml_node_t *node, const char *path, size_t limit,
		 read_element_fn *read, void *target);

/** An integer of key->min to key->max. False: refused. */
bool read_number(struct reader *reader, const yaml_node_t *node, const char *path,
		 const struct read_key *key, long *value);

read_fn read_text;    /* into a char[key->max], not empty */
read_fn read_path;    /* the same, an absolute path */
read_fn read_integer; /* into a uint32_t */
read_fn read_word;    /* into a uint8_t: key->min plus the word's place in key->words */
