/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* See candidates.h. The walker of complete.c does the same in bash; tests hold them to the same lines. */
#include "control/cli/candidates.h"

#include <stdio.h>
#include <string.h>

#include <sluice/base.h>

#include "control/cli/commands.h"

enum {
	MAX_WORDS = 64,
};

/* A command line without its options; the last word is begun. */
struct line {
	const char *word[MAX_WORDS];
	int n;
	candidates_ask *ask;
	void *context;
	json_t *found;
};

static const char *last_of(const struct line *line)
{
	return line->word[line->n - 1];
}

static bool begins(const char *text, const char *start)
{
	return strncmp(text, start, strlen(start)) == 0;
}

static void add(struct line *line, const char *text)
{
	if (begins(text, last_of(line)))
		json_array_append_new(line->found, json_string(text));
}

/* "a|b|c" */
static void add_choices(struct line *line, const char *choices)
{
	while (choices && *choices) {
		size_t n = strcspn(choices, "|");
		char word[128];

		(void)snprintf(word, sizeof(word), "%.*s", (int)n, choices);
		add(line, word);
		choices += n + (choices[n] == '|');
	}
}

static void add_asked(struct line *line, enum value_kind kind, const char *service)
{
	json_t *names = line->ask ? line->ask(line->context, kind, service) : NULL;
	const json_t *name;
	size_t i;

	json_array_foreach(names, i, name)
	{
		add(line, json_string_value(name));
	}
	json_decref(names);
}

/* The nouns, or the verbs of @noun. */
static void add_names(struct line *line, const char *noun)
{
	size_t n;
	const struct command *table = command_table(&n);
	const char *last = "";

	for (size_t i = 0; i < n; i++) {
		const char *name = noun ? table[i].verb : table[i].noun;

		if ((noun && strcmp(table[i].noun, noun) != 0) || !name || strcmp(name, last) == 0)
			continue;
		add(line, name);
		last = name;
	}
}

static void add_options(struct line *line)
{
	size_t n;
	const struct command_option *options = command_options(&n);
	char text[64];

	for (size_t i = 0; i < n; i++) {
		(void)snprintf(text, sizeof(text), "--%s", options[i].name);
		add(line, text);
	}
}

/* The only noun, or verb of @noun, that @given begins; NULL. */
static const char *full(const char *noun, const char *given)
{
	size_t n;
	const struct command *table = command_table(&n);
	const char *found = NULL;

	for (size_t i = 0; i < n; i++) {
		const char *name = noun ? table[i].verb : table[i].noun;

		if ((noun && strcmp(table[i].noun, noun) != 0) || !name || !begins(name, given) ||
		    (found && strcmp(found, name) == 0))
			continue;
		if (strcmp(name, given) == 0)
			return name;
		if (found)
			return NULL;
		found = name;
	}
	return found;
}

static const struct command *find(const char *noun, const char *verb)
{
	size_t n;
	const struct command *table = command_table(&n);

	for (size_t i = 0; i < n; i++)
		if (strcmp(table[i].noun, noun) == 0 &&
		    (verb ? table[i].verb && strcmp(table[i].verb, verb) == 0 : !table[i].verb))
			return &table[i];
	return NULL;
}

/* What may be the value of @param; @service: the first word after the command, for backends. */
static void add_place(struct line *line, const struct command *command,
		      const struct command_param *param, const char *service)
{
	if (command_choices(command, param))
		add_choices(line, command_choices(command, param));
	else if (param->kind == VALUE_SERVICE || param->kind == VALUE_GENERATION)
		add_asked(line, param->kind, NULL);
	else if (param->kind == VALUE_BACKEND && service)
		add_asked(line, param->kind, service);
	else if (param->kind == VALUE_SHELL)
		add(line, "bash");
}

/* Of a parameter that is an object: its members, then what the member may be. */
static void add_member(struct line *line, const struct method_param *source, const char *name)
{
	char limits[128];

	for (size_t i = 0; i < source->n_members; i++)
		if (!name)
			add(line, source->members[i].name);
		else if (strcmp(source->members[i].name, name) == 0 &&
			 (source->members[i].choices || source->members[i].type == METHOD_BOOLEAN))
			add_choices(line, command_member_limits(&source->members[i], limits,
								sizeof(limits)));
}

static const struct command_param *find_keyword(const struct command *command, const char *word)
{
	for (size_t i = 0; i < command->n_params; i++)
		if (command->param[i].word && strcmp(command->param[i].word, word) == 0)
			return &command->param[i];
	return NULL;
}

/* From word @at on there are keywords, each with its values. */
static void add_keywords(struct line *line, const struct command *command, int at,
			 const char *service)
{
	while (at < line->n - 1) {
		const struct command_param *param = find_keyword(command, line->word[at]);
		const struct method_param *source =
			param ? command_method_param(command, param) : NULL;
		bool is_object = source && source->type == METHOD_OBJECT;
		int n_values = !param || param->kind == VALUE_FLAG ? 0 : is_object ? 2 : 1;
		int place = line->n - 1 - at;

		if (place > n_values) {
			at += 1 + n_values;
			continue;
		}
		if (is_object)
			add_member(line, source, place == 2 ? line->word[at + 1] : NULL);
		else
			add_place(line, command, param, service);
		return;
	}
	for (size_t i = 0; i < command->n_params; i++)
		if (command->param[i].word)
			add(line, command->param[i].word);
}

static void add_params(struct line *line, const struct command *command, int at)
{
	const char *service = at < line->n - 1 ? line->word[at] : NULL;

	for (size_t i = 0; i < command->n_params; i++) {
		if (command->param[i].word)
			continue;
		if (at == line->n - 1) {
			add_place(line, command, &command->param[i], service);
			return;
		}
		at++;
	}
	add_keywords(line, command, at, service);
}

static void add_help(struct line *line)
{
	if (line->n == 2)
		add_names(line, NULL);
	else if (line->n == 3)
		add_names(line, line->word[1]);
}

static void walk(struct line *line)
{
	const char *noun, *verb;
	const struct command *command;

	if (line->n == 1) {
		add_names(line, NULL);
		add(line, "help");
		return;
	}
	if (strcmp(line->word[0], "help") == 0) {
		add_help(line);
		return;
	}
	noun = full(NULL, line->word[0]);
	command = noun ? find(noun, NULL) : NULL;
	if (command) {
		add_params(line, command, 1);
	} else if (noun && line->n == 2) {
		add_names(line, noun);
		add(line, "help");
	} else if (noun) {
		verb = full(noun, line->word[1]);
		command = verb ? find(noun, verb) : NULL;
		if (command)
			add_params(line, command, 2);
	}
}

static bool takes_value(const char *word)
{
	size_t n;
	const struct command_option *options = command_options(&n);

	for (size_t i = 0; i < n; i++)
		if (options[i].value &&
		    ((word[1] == options[i].letter && !word[2]) ||
		     (begins(word, "--") && strcmp(word + 2, options[i].name) == 0)))
			return true;
	return false;
}

json_t *candidates(int n, char *const *words, candidates_ask *ask, void *context)
{
	struct line line = {.ask = ask, .context = context, .found = json_array()};
	bool is_value = false;

	for (int i = 0; i < n && line.n < MAX_WORDS; i++) {
		bool is_last = i == n - 1;

		if (is_value && is_last)
			return line.found; /* of an option: anything */
		if (!is_value && words[i][0] == '-' && !is_last) {
			is_value = takes_value(words[i]);
			continue;
		}
		if (!is_value)
			line.word[line.n++] = words[i];
		is_value = false;
	}
	if (line.n == 0)
		return line.found;
	if (last_of(&line)[0] == '-')
		add_options(&line);
	else
		walk(&line);
	return line.found;
}
