/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * The commands of `sluice`, once, as data: parsing, help, completion and sluice(1) are made from
 * the table in commands.c. Types, ranges, choices and help of what a command sends stand in
 * control/methods.c and are not repeated here. To add a command: a row, and its printer in output.c.
 */
#pragma once

#include <jansson.h>
#include <stddef.h>
#include <stdio.h>

#include <sluice/base.h>

#include "control/methods.h"

enum {
	COMMAND_MAX_PARAMS = 16,
	COMMAND_MAX_EXAMPLES = 8,
};

enum cli_exit {
	CLI_DONE = 0,
	CLI_REFUSED = 1,
	CLI_USAGE = 2,
	CLI_NOT_CONNECTED = 3,
};

/** Who carries a command out. */
enum command_runner {
	COMMAND_CALLS = 0, /* sluiced, by command->method */
	COMMAND_CHECKS,    /* config/, here; sluiced only if asked to */
	COMMAND_COMPLETES, /* prints the completion script */
	COMMAND_WAITS,     /* sluiced, asked again and again: wait.c */
	COMMAND_EXAMINES,  /* this host: doctor.c */
	COMMAND_WATCHES,   /* sluiced, asked for as long as somebody looks: top.c */
	COMMAND_FOLLOWS,   /* sluiced, which tells what happens: events.c */
	COMMAND_READS,     /* other commands: shell.c */
	COMMAND_CAPTURES,  /* sluiced, asked for what was copied: capture.c */
};

/** What a value is, beyond what the method table says: its grammar, and how it is completed. */
enum value_kind {
	VALUE_ANY = 0,
	VALUE_SERVICE,         /* the name of a service that is there */
	VALUE_NEW_NAME,        /* the name of one that is not */
	VALUE_SERVICE_ADDRESS, /* ADDR:PORT/tcp|udp */
	VALUE_BACKEND,         /* ADDR:PORT of a backend that is there */
	VALUE_ENDPOINT,        /* ADDR:PORT */
	VALUE_ADDRESS,         /* ADDR */
	VALUE_PREFIX,          /* ADDR/LENGTH or ADDR */
	VALUE_PORTS,           /* LOW-HIGH or one port */
	VALUE_CLIENT,          /* ADDR or ADDR:PORT */
	VALUE_FILE,            /* a file's name; its text becomes the method's "text" */
	VALUE_SHELL,           /* of `completion` */
	VALUE_FLAG,            /* a word without a value */
	VALUE_GENERATION,      /* the number of a generation that is kept */
	VALUE_SECONDS,         /* a whole number from 1 to a day; of the CLI's own */
	VALUE_INTERVAL,        /* seconds from 0.1 to a day, with decimals; of the CLI's own */
};

/** One positional or keyword parameter of a command. */
struct command_param {
	const char *word; /* the keyword; NULL: positional */
	const char *name; /* the method's parameter, or the name in request->own */
	const char
		*member; /* in usage lines: the member's place, where the method takes an object */
	const char *value; /* in usage lines; NULL: the choices, or nothing for a flag */
	enum value_kind kind;
	bool is_optional;    /* positional only; keywords always are */
	bool is_own;         /* for the CLI itself, not for the method */
	const char *choices; /* of the CLI's own: "a|b|c"; NULL: any */
	const char *help;    /* NULL: what the method table says */
};

/** How a result is shown to people. @own: the CLI's own parameters, an object. */
typedef void command_print(FILE *out, const json_t *result, const json_t *own);

/** The same of the result's text. False: it has another form, and nothing was printed. */
typedef bool command_print_text(FILE *out, const char *result, size_t length);

struct command {
	const char *noun;
	const char *verb;   /* NULL: the noun is the whole command */
	const char *method; /* NULL: none */
	enum command_runner runner;
	bool needs_keyword; /* without any, the command would do nothing */
	command_print *print;
	command_print_text *print_text; /* NULL, or tried first: of results with long lists */
	const char *summary;            /* NULL: the method's */
	const char *description;
	const char *example[COMMAND_MAX_EXAMPLES];
	struct command_param param[COMMAND_MAX_PARAMS];
	size_t n_params;
};

/** An option, accepted before, between and after the words of any command. */
struct command_option {
	int letter; /* of -x, or a number above 255 for none */
	const char *name;
	const char *value; /* NULL: takes none */
	const char *help;
};

enum option_letter {
	OPTION_JSON = 'j',
	OPTION_SOCKET = 's',
	OPTION_CONFIG = 'c',
	OPTION_HELP = 'h',
	OPTION_VERSION = 256,
	OPTION_TIMEOUT,
	OPTION_IF_GENERATION,
	OPTION_DRY_RUN,
};

/** All commands, those of one noun side by side. */
const struct command *command_table(size_t *n);

/** All options. */
const struct command_option *command_options(size_t *n);

/** What a noun is about, in words: "service" -> "what clients connect to"; NULL: one-word command. */
const char *command_noun_summary(const char *noun);

const char *command_summary(const struct command *command);
bool command_is_mutation(const struct command *command);

/** The method's parameter behind @param; NULL: there is none. */
const struct method_param *command_method_param(const struct command *command,
						const struct command_param *param);

/** The words that @param's value may be, "a|b|c"; NULL: any. */
const char *command_choices(const struct command *command, const struct command_param *param);

/** What a member of an object parameter may be: "1..255", "tcp|udp", "yes|no". Returns @text. */
const char *command_member_limits(const struct method_param *member, char *text, size_t size);

/** Help of @param, from its row or the method table; never NULL. */
const char *command_param_help(const struct command *command, const struct command_param *param);

/** "service add" into @text; returns @text. */
const char *command_name(const struct command *command, char *text, size_t size);

/** "sluice service add NAME ... [weight N]", without newline. */
void command_usage(const struct command *command, char *text, size_t size);

/** How @param stands in a usage line: "[weight N]". */
void command_param_usage(const struct command *command, const struct command_param *param,
			 char *text, size_t size);
