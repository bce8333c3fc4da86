/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * sluice: a command line in, a table or a JSON document out. Exit: 0 done, 1 refused, 2 usage,
 * 3 not connected. With -j an error is a document on stdout, and a text on stderr all the same.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control/cli/call.h"
#include "control/cli/capture.h"
#include "control/cli/commands.h"
#include "control/cli/complete.h"
#include "control/cli/doctor.h"
#include "control/cli/events.h"
#include "control/cli/files.h"
#include "control/cli/help.h"
#include "control/cli/output.h"
#include "control/cli/parse.h"
#include "control/cli/shell.h"
#include "control/cli/table.h"
#include "control/cli/top.h"
#include "control/cli/wait.h"
#include "control/rpc.h"

#ifndef SLUICE_VERSION
#define SLUICE_VERSION "unknown"
#endif

enum {
	MAX_SOCKET_PATH = 512,
};

static const char default_socket[] = "/run/sluice/control.sock";

/* A line for each of @text's: sluiced tells several problems of a file at once. */
static void say(const char *text)
{
	do {
		size_t length = strcspn(text, "\n");
		char *line = strndup(text, length);

		(void)fputs("sluice: ", stderr);
		(void)text_print(stderr, line ? line : "out of memory");
		(void)fputc('\n', stderr);
		free(line);
		text += length + (text[length] == '\n');
	} while (*text);
}

static int fail(const struct cli_options *options, int code, const struct rpc_error *error)
{
	say(error->message);
	if (options->is_json) {
		json_t *document = output_error_json(error);

		output_json(stdout, document, isatty(STDOUT_FILENO));
		json_decref(document);
	}
	return code;
}

static void show(const struct cli_options *options, const struct request *request,
		 const json_t *result)
{
	if (options->is_json)
		output_json(stdout, result, isatty(STDOUT_FILENO));
	else
		request->command->print(stdout, result, request->own);
}

/* -s, else -c, else the environment, else where it is by default. */
static int find_socket(const struct cli_options *options, char *path, struct rpc_error *error)
{
	const char *from_environment = getenv("SLUICE_SOCKET");
	const char *socket = options->socket ? options->socket : from_environment;
	char run_dir[MAX_SOCKET_PATH - sizeof("/control.sock")];

	if (options->socket || !options->config) {
		(void)snprintf(path, MAX_SOCKET_PATH, "%s",
			       socket && (socket[0] || options->socket) ? socket : default_socket);
		return CLI_DONE;
	}
	if (files_run_dir(options->config, run_dir, sizeof(run_dir), error))
		return CLI_REFUSED;
	(void)snprintf(path, MAX_SOCKET_PATH, "%s/control.sock", run_dir);
	return CLI_DONE;
}

static void show_result(const struct cli_options *options, const struct request *request,
			const json_t *result)
{
	show(options, request, result);
	if (!options->is_json && json_is_string(json_object_get(result, "note")))
		say(json_string_value(json_object_get(result, "note")));
}

/* For a program, a document is what sluiced wrote, on one line; for people, a long list a record at a time. */
static int show_text(const struct cli_options *options, const struct request *request,
		     const struct call_text *text, struct rpc_error *error)
{
	json_error_t reason;
	json_t *result;

	if (options->is_json) {
		(void)fwrite(text->result, 1, text->length, stdout);
		(void)fputc('\n', stdout);
		return CLI_DONE;
	}
	if (request->command->print_text(stdout, text->result, text->length))
		return CLI_DONE;
	result = json_loadb(text->result, text->length, JSON_DECODE_ANY, &reason);
	if (!result) {
		rpc_error_set(error, RPC_NOT_CONNECTED, "socket",
			      "the answer cannot be read: %s (is this sluiced's socket?)",
			      reason.text);
		return CLI_NOT_CONNECTED;
	}
	show_result(options, request, result);
	json_decref(result);
	return CLI_DONE;
}

static bool is_text_enough(const struct cli_options *options, const struct command *command)
{
	return options->is_json ? !isatty(STDOUT_FILENO) : command->print_text != NULL;
}

static int run_call(const struct cli_options *options, const struct request *request)
{
	const struct command *command = request->command;
	struct rpc_error error = {0};
	char path[MAX_SOCKET_PATH];
	struct call_text text = {0};
	json_t *result = NULL;
	int code = find_socket(options, path, &error);

	if (!code && is_text_enough(options, command)) {
		code = call_text(path, options->timeout_sec, command->method, request->params,
				 &text, &error);
		if (!code)
			code = show_text(options, request, &text, &error);
		call_text_fini(&text);
	} else if (!code) {
		code = call(path, options->timeout_sec, command->method, request->params, &result,
			    &error);
		if (!code)
			show_result(options, request, result);
		json_decref(result);
	}
	return code ? fail(options, code, &error) : CLI_DONE;
}

static int run_wait(const struct cli_options *options, const struct request *request)
{
	struct rpc_error error = {0};
	char path[MAX_SOCKET_PATH];
	json_t *result = NULL;
	int code = find_socket(options, path, &error);

	if (!code)
		code = wait_backend(path, options->timeout_sec, request, &result, &error);
	if (code)
		return fail(options, code, &error);
	show(options, request, result);
	json_decref(result);
	return CLI_DONE;
}

static int run_line(int argc, char **argv);

static int run_shell(const struct cli_options *options)
{
	struct rpc_error error = {0};
	char path[MAX_SOCKET_PATH];
	int code = find_socket(options, path, &error);

	return code ? fail(options, code, &error) : shell_run(options, path, run_line);
}

static int run_events(const struct cli_options *options, const struct request *request)
{
	struct rpc_error error = {0};
	char path[MAX_SOCKET_PATH];
	int code = find_socket(options, path, &error);

	if (!code)
		code = events_follow(options, request, path, &error);
	return code ? fail(options, code, &error) : CLI_DONE;
}

static int run_top(const struct cli_options *options, const struct request *request)
{
	struct rpc_error error = {0};
	char path[MAX_SOCKET_PATH];
	int code = find_socket(options, path, &error);

	if (!code)
		code = top_run(options, request, path, &error);
	return code ? fail(options, code, &error) : CLI_DONE;
}

static int run_capture(const struct cli_options *options, const struct request *request)
{
	struct rpc_error error = {0};
	char path[MAX_SOCKET_PATH];
	json_t *result = NULL;
	int code = find_socket(options, path, &error);

	if (!code)
		code = capture_run(options, request, path, &result, &error);
	if (code)
		return fail(options, code, &error);
	if (result && options->is_json)
		output_json(stdout, result, isatty(STDOUT_FILENO));
	json_decref(result);
	return CLI_DONE;
}

static int run_doctor(const struct cli_options *options, const struct request *request)
{
	json_t *result = NULL;
	int code = doctor_run(options, request, &result);

	show(options, request, result);
	json_decref(result);
	return code;
}

/* A file's problems, each on its line, as compilers print theirs. */
static void say_problems(char *problems)
{
	char *rest = problems;

	for (char *line = strsep(&rest, "\n"); line; line = strsep(&rest, "\n")) {
		(void)text_print(stderr, line);
		(void)fputc('\n', stderr);
	}
}

/* Judges the text here; with "live" the answer is sluiced's. */
static int run_check(const struct cli_options *options, const struct request *request,
		     const char *name, const char *text, size_t length)
{
	struct rpc_error error = {0};
	char *problems = NULL;
	json_t *result = files_check(name, text, length, &problems, &error);
	int code = CLI_DONE;

	if (problems)
		say_problems(problems);
	if (!result && !problems) {
		code = fail(options, CLI_REFUSED, &error);
	} else if (!result) {
		json_t *document = output_error_json(&error);

		if (options->is_json)
			output_json(stdout, document, isatty(STDOUT_FILENO));
		json_decref(document);
		code = CLI_REFUSED;
	} else if (json_object_get(request->own, "live")) {
		code = run_call(options, request);
	} else {
		show(options, request, result);
	}
	free(problems);
	json_decref(result);
	return code;
}

/* Commands that take a configuration: its text goes where its name stood. */
static int run_file(const struct cli_options *options, const struct request *request)
{
	const char *path = json_string_value(json_object_get(request->own, "file"));
	bool is_local = request->command->runner == COMMAND_CHECKS;
	bool is_stdin = strcmp(path, "-") == 0;
	const char *name = is_stdin ? "(stdin)" : path;
	struct rpc_error error = {0};
	size_t length;
	char *text = files_read(path, &length, &error);
	json_t *value = NULL;
	int code;

	if (!text)
		return fail(options, CLI_REFUSED, &error);
	if (!is_local || json_object_get(request->own, "live")) {
		value = files_text(name, text, length, &error);
		json_object_set(request->params, "text", value);
		json_object_set_new(request->params, "file", json_string(name));
	}
	if (is_local)
		code = run_check(options, request, name, text, length);
	else if (value)
		code = run_call(options, request);
	else
		code = fail(options, CLI_REFUSED, &error);
	json_decref(value);
	free(text);
	return code;
}

static int run_help(const struct request *request)
{
	if (request->command)
		help_command(stdout, request->command);
	else if (request->noun)
		help_noun(stdout, request->noun);
	else
		help_all(stdout);
	return CLI_DONE;
}

static int run(const struct cli_options *options, const struct request *request)
{
	if (request->is_help)
		return run_help(request);
	if (request->command->runner == COMMAND_COMPLETES) {
		complete_bash(stdout);
		return CLI_DONE;
	}
	if (request->command->runner == COMMAND_WAITS)
		return run_wait(options, request);
	if (request->command->runner == COMMAND_READS)
		return run_shell(options);
	if (request->command->runner == COMMAND_FOLLOWS)
		return run_events(options, request);
	if (request->command->runner == COMMAND_WATCHES)
		return run_top(options, request);
	if (request->command->runner == COMMAND_CAPTURES)
		return run_capture(options, request);
	if (request->command->runner == COMMAND_EXAMINES)
		return run_doctor(options, request);
	if (json_object_get(request->own, "file"))
		return run_file(options, request);
	return run_call(options, request);
}

/* What was not written was not done; a reader that has gone needs no telling. */
static int finish(int code)
{
	bool is_bad = ferror(stdout) != 0;

	if (fclose(stdout) == 0 && !is_bad)
		return code;
	if (errno != EPIPE)
		say("standard output: could not be written");
	return code ? code : CLI_REFUSED;
}

/* A wrong option is refused before -j may have been read: it is looked for. */
static bool has_json(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (strcmp(argv[i], "-j") == 0 || strcmp(argv[i], "--json") == 0)
			return true;
	return false;
}

/* Nothing but options, by somebody who can type the rest. */
static bool is_shell(const struct cli_options *options, int n_words)
{
	return n_words == 0 && !options->is_help && isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
}

static int run_line(int argc, char **argv)
{
	struct cli_options options;
	struct request request = {0};
	struct rpc_error error = {0};
	bool is_json = has_json(argc, argv);
	int first, code = parse_options(argc, argv, &options, &first, &error);

	if (!code && options.is_version)
		return finish(printf("sluice %s\n", SLUICE_VERSION) < 0 ? CLI_REFUSED : CLI_DONE);
	if (!code && is_shell(&options, argc - first))
		return finish(run_shell(&options));
	if (!code)
		code = parse_request(&options, argc - first, argv + first, &request, &error);
	if (code) {
		options.is_json |= is_json;
		(void)fail(&options, code, &error);
		help_usage(stderr, request.noun, request.command);
	} else {
		code = run(&options, &request);
	}
	request_fini(&request);
	return finish(code);
}

int main(int argc, char **argv)
{
	return run_line(argc, argv);
}
