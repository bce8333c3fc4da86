/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * Prints docs/man/sluice.1 (mdoc) from the table of commands; a test compares the two.
 * Run: gen-man > docs/man/sluice.1
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "control/cli/commands.h"
#include "control/cli/doctor_checks.h"

static const char head[] =
	".\\\" SPDX-License-Identifier: BSD-3-Clause\n"
	".\\\" Copyright (c) 2026 The Sluice authors\n"
	".\\\" Printed by control/cli/gen_man.c from the table of commands; do not edit.\n"
	".Dd November 23, 2026\n"
	".Dt SLUICE 1\n"
	".Os Sluice\n"
	".Sh NAME\n"
	".Nm sluice\n"
	".Nd see and change what the Sluice load balancer does\n";

static const char description[] =
	".Sh DESCRIPTION\n"
	".Nm\n"
	"shows and changes the services, backends and flows of a Sluice load balancer.\n"
	"It asks\n"
	".Xr sluiced 8\n"
	"over a Unix socket; it never talks to the dataplane itself.\n"
	".Pp\n"
	"A command is a noun, mostly a verb, then values in order, then keywords with their\n"
	"values in any order.\n"
	"Nouns and verbs may be shortened as long as no other one begins so.\n"
	"Options may stand anywhere;\n"
	".Fl Fl\n"
	"ends them.\n"
	"Addresses of IPv6 stand in brackets where a port follows:\n"
	".Ql [2001:db8::1]:80 .\n"
	".Pp\n"
	"Every change is made whole or not at all.\n"
	"When the command is done, the change is on disk and, as\n"
	".Ql applied\n"
	"tells, in the dataplane.\n";

static const char tail[] =
	".Sh ENVIRONMENT\n"
	".Bl -tag -width SLUICE_SOCKET\n"
	".It Ev SLUICE_SOCKET\n"
	"The socket, if neither\n"
	".Fl s\n"
	"nor\n"
	".Fl c\n"
	"is given.\n"
	".El\n"
	".Sh FILES\n"
	".Bl -tag -width Ds\n"
	".It Pa /run/sluice/control.sock\n"
	"The socket of\n"
	".Xr sluiced 8\n"
	"by default.\n"
	"Its owner, root and the members of its group may use it.\n"
	".El\n"
	".Sh EXIT STATUS\n"
	".Bl -tag -width Ds -compact\n"
	".It 0\n"
	"done\n"
	".It 1\n"
	"refused, by sluiced or because a configuration is wrong;\n"
	".Cm doctor :\n"
	"there is a warning or a fault\n"
	".It 2\n"
	"wrong usage: the text names the word\n"
	".It 3\n"
	"not connected: no sluiced at the socket, or no answer in time\n"
	".El\n"
	".Pp\n"
	"Errors are told on standard error, with object, value and limit.\n"
	"With\n"
	".Fl j\n"
	"they are on standard output as well:\n"
	".Ql {\\(dqerror\\(dq:{\\(dqcode\\(dq:C,\\(dqmessage\\(dq:M,\\(dqdata\\(dq:{...}}} .\n";

static const char see_also[] = ".Sh SEE ALSO\n"
			       ".Xr sluice.yaml 5 ,\n"
			       ".Xr sluice-dpdk 8 ,\n"
			       ".Xr sluice-xdp 8 ,\n"
			       ".Xr sluiced 8\n";

/* Prose: backslashes are written out, and every sentence begins a line. */
static void prose(const char *text)
{
	bool is_line_start = true;

	for (; *text; text++) {
		if (is_line_start && (*text == '.' || *text == '\''))
			(void)fputs("\\&", stdout);
		is_line_start = false;
		if (*text == '\\') {
			(void)fputs("\\e", stdout);
		} else if (text[0] == ' ' && strchr(".;:", text[-1])) {
			(void)fputc('\n', stdout);
			is_line_start = true;
		} else {
			(void)fputc(*text, stdout);
		}
	}
	(void)fputc('\n', stdout);
}

/* An argument of a macro: quoted, so that it is no macro and no punctuation. */
static void quoted(const char *text)
{
	(void)fputs(" \"", stdout);
	for (; *text; text++)
		(void)fputs(*text == '"'    ? "\\(dq"
			    : *text == '\\' ? "\\e"
					    : (const char[]){*text, '\0'},
			    stdout);
	(void)fputc('"', stdout);
}

/* Words to be typed: "nat | fullnat". */
static void choices(const char *words)
{
	while (*words) {
		size_t n = strcspn(words, "|");

		printf(" Cm %.*s", (int)n, words);
		words += n;
		if (*words == '|') {
			printf(" |");
			words++;
		}
	}
}

/* The value of a parameter, as arguments of the macro before it. */
static void value(const struct command *command, const struct command_param *param)
{
	const struct method_param *source = command_method_param(command, param);

	if (param->kind == VALUE_FLAG)
		return;
	if (source && source->type == METHOD_OBJECT)
		printf(" Ar %s", param->member);
	if (param->value && param->kind != VALUE_SHELL) {
		printf(" Ar");
		quoted(param->value);
	} else {
		const char *words = command_choices(command, param);

		choices(words ? words : param->value);
	}
}

static bool is_list(const struct command *command, const struct command_param *param)
{
	const struct method_param *source = command_method_param(command, param);

	return source && (source->type == METHOD_STRINGS || source->type == METHOD_OBJECT);
}

static void heading(const struct command *command)
{
	printf(".It Xo\n.Cm %s%s%s\n", command->noun, command->verb ? " " : "",
	       command->verb ? command->verb : "");
	for (size_t i = 0; i < command->n_params; i++) {
		const struct command_param *param = &command->param[i];
		bool is_optional = param->word || param->is_optional;

		printf(is_optional ? ".Oo" : ".");
		if (param->word)
			printf(" Cm %s", param->word);
		value(command, param);
		if (is_optional)
			printf(is_list(command, param) ? " Oc Ns ..." : " Oc");
		printf("\n");
	}
	printf(".Xc\n");
}

static void parameter(const struct command *command, const struct command_param *param)
{
	const struct method_param *source = command_method_param(command, param);
	char text[512], limits[128];

	printf(".It");
	if (param->word)
		printf(" Cm %s", param->word);
	value(command, param);
	printf("\n");
	prose(command_param_help(command, param));
	if (source && source->type == METHOD_INTEGER)
		printf("(%" PRId64 "..%" PRId64 ")\n", source->min, source->max);
	for (size_t i = 0; source && i < source->n_members; i++) {
		printf(".br\n.Cm %s :\n", source->members[i].name);
		(void)snprintf(text, sizeof(text), "%s (%s)", source->members[i].help,
			       command_member_limits(&source->members[i], limits, sizeof(limits)));
		prose(text);
	}
}

static void command_section(const struct command *command)
{
	heading(command);
	prose(command->description);
	if (command->n_params) {
		printf(".Bl -tag -width Ds\n");
		for (size_t i = 0; i < command->n_params; i++)
			parameter(command, &command->param[i]);
		printf(".El\n");
	}
}

static void doctor_section(void)
{
	static const struct {
		const char *id, *why;
		int engines;
	} checks[] = {
#define X(function, id, engines, why) {id, why, DOCTOR_FOR_##engines},
		DOCTOR_CHECK_LIST(X)
#undef X
	};

	printf(".Sh CHECKS OF DOCTOR\n");
	prose("The ids are stable. A finding is good, a note (it works, and may be meant so), "
	      "unknown (it could "
	      "not be looked at), a warning (it works, worse than it could) or a fault (it does "
	      "not work).");
	printf(".Bl -tag -width Ds\n");
	for (size_t i = 0; i < SL_ARRAY_LEN(checks); i++) {
		printf(".It Li %s\n", checks[i].id);
		if (checks[i].engines == DOCTOR_FOR_DPDK || checks[i].engines == DOCTOR_FOR_XDP)
			printf("Engine %s: ",
			       checks[i].engines == DOCTOR_FOR_DPDK ? "dpdk" : "xdp");
		prose(checks[i].why);
	}
	printf(".El\n");
}

static void options_section(void)
{
	size_t n;
	const struct command_option *options = command_options(&n);

	printf(".Sh OPTIONS\n.Bl -tag -width Ds\n");
	for (size_t i = 0; i < n; i++) {
		printf(".It");
		if (options[i].letter < 256)
			printf(" Fl %c ,", options[i].letter);
		printf(" Fl Fl %s", options[i].name);
		if (options[i].value)
			printf(" Ar %s", options[i].value);
		printf("\n");
		prose(options[i].help);
	}
	printf(".El\n");
}

static void examples_section(const struct command *table, size_t n)
{
	printf(".Sh EXAMPLES\n.Bd -literal\n");
	for (size_t i = 0; i < n; i++) {
		for (size_t k = 0; k < COMMAND_MAX_EXAMPLES && table[i].example[k]; k++) {
			const char *text = table[i].example[k];

			for (; *text; text++)
				(void)fputs(*text == '\\'   ? "\\e"
					    : *text == '\'' ? "\\(aq"
							    : (const char[]){*text, '\0'},
					    stdout);
			printf("\n");
		}
	}
	printf(".Ed\n");
}

int main(void)
{
	size_t n;
	const struct command *table = command_table(&n);

	(void)fputs(head, stdout);
	printf(".Sh SYNOPSIS\n.Nm\n.Op Ar OPTION ...\n.Ar COMMAND\n.Op Ar WORD ...\n");
	printf(".Nm\n.Cm help\n.Op Ar COMMAND\n");
	(void)fputs(description, stdout);
	printf(".Sh COMMANDS\n.Bl -tag -width Ds\n");
	for (size_t i = 0; i < n; i++)
		command_section(&table[i]);
	printf(".El\n");
	doctor_section();
	options_section();
	(void)fputs(tail, stdout);
	examples_section(table, n);
	(void)fputs(see_also, stdout);
	return ferror(stdout) || fclose(stdout) ? 1 : 0;
}
