/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* See help.h. */
#include "control/cli/help.h"

#include <inttypes.h>
#include <string.h>

#include "control/cli/commands.h"

enum {
	LINE_WIDTH = 96,
	PLACE_WIDTH = 24,
	USAGE_SIZE = 512,
};

/* The length of the next word; "[source ADDR]..." is one. */
static size_t word_length(const char *text)
{
	size_t length = text[0] == '[' ? strcspn(text, "]") : 0;

	return length + strcspn(text + length, " ");
}

/* @text in lines of LINE_WIDTH, each after @indent blanks; the cursor is at @column now. */
static void wrap(FILE *out, const char *text, size_t indent, size_t column)
{
	while (*text) {
		size_t length = word_length(text);

		if (column > indent && column + 1 + length > LINE_WIDTH) {
			(void)fputc('\n', out);
			column = 0;
		}
		if (column < indent)
			column += (size_t)fprintf(out, "%*s", (int)(indent - column), "");
		else if (column > indent)
			column += (size_t)fprintf(out, " ");
		column += fwrite(text, 1, length, out);
		text += length;
		text += strspn(text, " ");
	}
	(void)fputc('\n', out);
}

/* "  place          text", the text wrapped beside it. */
static void item(FILE *out, const char *place, const char *text)
{
	size_t column = (size_t)fprintf(out, "  %s", place);

	if (column > PLACE_WIDTH - 2) {
		(void)fputc('\n', out);
		column = 0;
	}
	wrap(out, text, PLACE_WIDTH, column);
}

static void print_options(FILE *out)
{
	size_t n;
	const struct command_option *options = command_options(&n);
	char place[64], letter[8];

	for (size_t i = 0; i < n; i++) {
		(void)snprintf(letter, sizeof(letter), options[i].letter < 256 ? "-%c, " : "    ",
			       options[i].letter);
		(void)snprintf(place, sizeof(place), "%s--%s%s%s", letter, options[i].name,
			       options[i].value ? " " : "",
			       options[i].value ? options[i].value : "");
		item(out, place, options[i].help);
	}
}

void help_all(FILE *out)
{
	size_t n;
	const struct command *table = command_table(&n);
	char name[64];

	(void)fputs("usage: sluice [OPTION]... COMMAND [WORD]...\n"
		    "Sees and changes what Sluice balances, through sluiced.\n\nCommands:\n",
		    out);
	for (size_t i = 0; i < n; i++)
		item(out, command_name(&table[i], name, sizeof(name)), command_summary(&table[i]));
	item(out, "help", "help on everything, a group of commands, or one command");
	(void)fputs("\nCommands may be shortened as long as they are the only ones to begin so.\n"
		    "\"sluice help service add\" says more about one.\n\nOptions, anywhere:\n",
		    out);
	print_options(out);
	(void)fputs("\nThe socket can be named by the environment, too: SLUICE_SOCKET.\n"
		    "Exit: 0 done, 1 refused, 2 wrong usage, 3 not connected to sluiced.\n",
		    out);
}

void help_noun(FILE *out, const char *noun)
{
	size_t n;
	const struct command *table = command_table(&n);
	const char *summary = command_noun_summary(noun);

	(void)fprintf(out, "usage: sluice [OPTION]... %s VERB [WORD]...\n", noun);
	if (summary)
		(void)fprintf(out, "%s: %s\n", noun, summary);
	(void)fputs("\nCommands:\n", out);
	for (size_t i = 0; i < n; i++) {
		char usage[USAGE_SIZE];

		if (strcmp(table[i].noun, noun) != 0)
			continue;
		command_usage(&table[i], usage, sizeof(usage));
		(void)fputs("  ", out);
		wrap(out, usage, 10, 10);
		wrap(out, command_summary(&table[i]), 6, 0);
	}
}

/* Help, and the range or the classes that the method table knows. */
static void print_param(FILE *out, const struct command *command, const struct command_param *param)
{
	const struct method_param *source = command_method_param(command, param);
	char place[128], text[USAGE_SIZE], member[128], limits[128];

	command_param_usage(command, param, place, sizeof(place));
	(void)snprintf(text, sizeof(text), "%s", command_param_help(command, param));
	if (source && source->type == METHOD_INTEGER)
		(void)snprintf(text + strlen(text), sizeof(text) - strlen(text),
			       " (%" PRId64 "..%" PRId64 ")", source->min, source->max);
	item(out, place, text);
	if (!source || source->type != METHOD_OBJECT)
		return;
	for (size_t i = 0; i < source->n_members; i++) {
		const struct method_param *row = &source->members[i];

		(void)snprintf(member, sizeof(member), "  %s %s %s", param->word, row->name,
			       param->value);
		(void)snprintf(text, sizeof(text), "%s (%s)", row->help,
			       command_member_limits(row, limits, sizeof(limits)));
		item(out, member, text);
	}
}

void help_command(FILE *out, const struct command *command)
{
	help_usage(out, command->noun, command);
	(void)fputc('\n', out);
	wrap(out, command->description, 0, 0);
	if (command->n_params)
		(void)fputc('\n', out);
	for (size_t i = 0; i < command->n_params; i++)
		print_param(out, command, &command->param[i]);
	if (command_is_mutation(command))
		(void)fputs("\nOptions for changes: --if-generation N, --dry-run.\n", out);
	(void)fputs("\nExamples:\n", out);
	for (size_t i = 0; i < COMMAND_MAX_EXAMPLES && command->example[i]; i++)
		(void)fprintf(out, "  %s\n", command->example[i]);
}

void help_usage(FILE *out, const char *noun, const struct command *command)
{
	char usage[USAGE_SIZE];

	if (command) {
		command_usage(command, usage, sizeof(usage));
		(void)fputs("usage:", out);
		wrap(out, usage, 7, 6);
	} else if (noun) {
		(void)fprintf(
			out,
			"usage: sluice [OPTION]... %s VERB [WORD]...; see \"sluice help %s\"\n",
			noun, noun);
	} else {
		(void)fputs("usage: sluice [OPTION]... COMMAND [WORD]...; see \"sluice help\"\n",
			    out);
	}
}
