/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* See shell.h. */
#include "control/cli/shell.h"

#include <errno.h>
#include <histedit.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "control/cli/call.h"
#include "control/cli/candidates.h"
#include "control/cli/commands.h"
#include "control/cli/parse.h"
#include "control/rpc.h"

enum {
	MAX_WORDS = 256,
	MAX_OPTIONS = 16,
	MAX_LINE = 4096,
	HISTORY_LINES = 500,
	ASK_SEC = 2, /* sluiced, for a completion */
	LIST_WIDTH = 80,
	SIGNAL_STATUS = 128, /* of a command that a signal ended, and its number */
};

struct shell {
	const struct cli_options *options;
	const char *path;
	shell_run_fn *run;
	Tokenizer *tokenizer;
	int signals; /* descriptor of SIGINT, which ends commands and not the shell; -1: of a batch */
	bool is_interrupted;
	bool is_over;
	int status; /* of the last command */
};

/* Running */

/* The options of the shell stand before those of the line. Returns how many words. */
static int put_options(const struct shell *shell, const char *words[MAX_OPTIONS],
		       char timeout[static 16])
{
	const struct cli_options *options = shell->options;
	int n = 0;

	words[n++] = "sluice";
	if (options->socket) {
		words[n++] = "-s";
		words[n++] = options->socket;
	}
	if (options->config) {
		words[n++] = "-c";
		words[n++] = options->config;
	}
	if (options->is_json)
		words[n++] = "-j";
	(void)snprintf(timeout, 16, "%d", options->timeout_sec);
	words[n++] = "--timeout";
	words[n++] = timeout;
	return n;
}

static void run_child(const struct shell *shell, int argc, char **argv)
{
	sigset_t none;

	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	/* Not exit(): that would put back what is read ahead of a file that is ours, too. */
	_exit(shell->run(argc, argv));
}

/* What was pressed while a command ran was meant for it. */
static void forget_signals(const struct shell *shell)
{
	struct signalfd_siginfo info;

	while (shell->signals >= 0 && read(shell->signals, &info, sizeof(info)) > 0)
		;
}

static void run_words(struct shell *shell, int n, const char **given)
{
	const char *words[MAX_OPTIONS + MAX_WORDS + 1];
	char timeout[16];
	int argc = put_options(shell, words, timeout), state;
	pid_t child;

	for (int i = 0; i < n; i++)
		words[argc++] = given[i];
	words[argc] = NULL;
	(void)fflush(stdout);
	child = fork();
	if (child == 0)
		run_child(shell, argc, (char **)(uintptr_t)words);
	shell->status = CLI_REFUSED;
	if (child < 0) {
		(void)fprintf(stderr, "sluice: fork: %s\n", strerror(errno));
		return;
	}
	while (waitpid(child, &state, 0) < 0 && errno == EINTR)
		;
	shell->status = WIFEXITED(state) ? WEXITSTATUS(state) : SIGNAL_STATUS + WTERMSIG(state);
	if (WIFSIGNALED(state) && shell->signals >= 0)
		(void)fputc('\n', stderr);
	forget_signals(shell);
}

static bool is_end(const char *word)
{
	return strcmp(word, "quit") == 0 || strcmp(word, "exit") == 0;
}

static void take_line(struct shell *shell, const char *text)
{
	int n = 0;
	const char **words;
	int code;

	tok_reset(shell->tokenizer);
	code = tok_str(shell->tokenizer, text, &n, &words);
	if (code != 0 || n > MAX_WORDS) {
		(void)fprintf(stderr, "sluice: %s\n",
			      code ? "a quote is not closed" : "the line has more than 256 words");
		shell->status = CLI_USAGE;
	} else if (n == 1 && is_end(words[0])) {
		shell->is_over = true;
	} else if (n > 0 && words[0][0] != '#') {
		run_words(shell, n, words);
	}
}

/* Completion */

/* What lists that which may be completed, and which member of an entry it is. */
struct source {
	const char *method;
	const char *list;
	const char *member;
};

static struct source source_of(enum value_kind kind)
{
	if (kind == VALUE_BACKEND)
		return (struct source){"backend.list", "backends", "address"};
	if (kind == VALUE_GENERATION)
		return (struct source){"generation.list", "generations", "number"};
	return (struct source){"service.list", "services", "name"};
}

static json_t *ask(void *context, enum value_kind kind, const char *service)
{
	const struct shell *shell = context;
	const struct source source = source_of(kind);
	json_t *params = service ? json_pack("{s:s}", "service", service) : NULL;
	json_t *result = NULL, *names = json_array();
	struct rpc_error error;
	const json_t *entry;
	size_t i;
	int code = call_silently(shell->path, ASK_SEC, source.method, params, &result, &error);

	json_decref(params);
	json_array_foreach(json_object_get(result, source.list), i, entry)
	{
		json_t *name = json_object_get(entry, source.member);

		if (!code && json_is_string(name))
			json_array_append(names, name);
		else if (!code && json_is_integer(name))
			json_array_append_new(names, json_sprintf("%" JSON_INTEGER_FORMAT,
								  json_integer_value(name)));
	}
	json_decref(result);
	return names;
}

/* The words of @text, split at blanks; the last one is begun, and empty after a blank. */
static int split(char *text, char *words[MAX_WORDS])
{
	int n = 0;

	while (n < MAX_WORDS) {
		text += strspn(text, " \t");
		words[n++] = text;
		text += strcspn(text, " \t");
		if (!*text)
			break;
		*text++ = '\0';
	}
	return n;
}

/* Bytes that all of @found begin with. */
static size_t common(const json_t *found)
{
	const char *first = json_string_value(json_array_get(found, 0));
	size_t n = strlen(first);

	for (size_t i = 1; i < json_array_size(found); i++) {
		const char *other = json_string_value(json_array_get(found, i));
		size_t k = 0;

		while (k < n && first[k] == other[k])
			k++;
		n = k;
	}
	return n;
}

static void show(const json_t *found)
{
	size_t column = 0;

	(void)fputc('\n', stdout);
	for (size_t i = 0; i < json_array_size(found); i++) {
		const char *text = json_string_value(json_array_get(found, i));

		if (column && column + 2 + strlen(text) > LIST_WIDTH) {
			(void)fputc('\n', stdout);
			column = 0;
		}
		column += (size_t)printf("%s%s", column ? "  " : "", text);
	}
	(void)fputc('\n', stdout);
	(void)fflush(stdout);
}

static unsigned char complete(EditLine *editor, int key)
{
	const LineInfo *line = el_line(editor);
	char text[MAX_LINE], rest[MAX_LINE], *words[MAX_WORDS];
	unsigned char code = CC_REFRESH_BEEP;
	struct shell *shell;
	json_t *found;
	size_t length;
	int n;

	(void)key;
	(void)el_get(editor, EL_CLIENTDATA, &shell);
	(void)snprintf(text, sizeof(text), "%.*s", (int)(line->cursor - line->buffer),
		       line->buffer);
	n = split(text, words);
	length = strlen(words[n - 1]);
	found = candidates(n, words, ask, shell);
	if (json_array_size(found)) {
		size_t shared = common(found);
		bool is_only = json_array_size(found) == 1;

		(void)snprintf(rest, sizeof(rest), "%.*s%s", (int)(shared - length),
			       json_string_value(json_array_get(found, 0)) + length,
			       is_only ? " " : "");
		if (rest[0] && el_insertstr(editor, rest) == 0)
			code = CC_REFRESH;
		if (!rest[0]) {
			show(found);
			code = CC_REDISPLAY;
		}
	}
	json_decref(found);
	return code;
}

/* On a terminal */

static const char *prompt(EditLine *editor)
{
	(void)editor;
	return "sluice> ";
}

/* The next character, ASCII as all words are. A SIGINT gives up the line. */
static int read_character(EditLine *editor, wchar_t *character)
{
	struct shell *shell;

	(void)el_get(editor, EL_CLIENTDATA, &shell);
	for (;;) {
		struct pollfd fds[] = {{.fd = STDIN_FILENO, .events = POLLIN},
				       {.fd = shell->signals, .events = POLLIN}};
		unsigned char byte;
		ssize_t n;

		if (poll(fds, SL_ARRAY_LEN(fds), -1) < 0)
			continue; /* another size of the window */
		if (fds[1].revents) {
			forget_signals(shell);
			shell->is_interrupted = true;
			errno = EINTR;
			return -1;
		}
		n = read(STDIN_FILENO, &byte, 1);
		if (n <= 0)
			return n < 0 && errno != EIO ? -1 : 0;
		if (byte >= 0x80)
			continue;
		*character = byte;
		return 1;
	}
}

static void edit_lines(struct shell *shell, EditLine *editor, History *past)
{
	HistEvent event;

	while (!shell->is_over) {
		int n = 0;
		const char *line = el_gets(editor, &n);

		if (line && n > 0) {
			if (line[strspn(line, " \t\n")])
				(void)history(past, &event, H_ENTER, line);
			take_line(shell, line);
		} else if (shell->is_interrupted) {
			(void)fputs("^C\n", stdout);
			el_reset(editor);
		} else {
			(void)fputc('\n', stdout);
			break;
		}
		shell->is_interrupted = false;
	}
}

static int run_terminal(struct shell *shell)
{
	EditLine *editor = el_init("sluice", stdin, stdout, stderr);
	History *past = history_init();
	HistEvent event;

	if (editor && past) {
		(void)history(past, &event, H_SETSIZE, HISTORY_LINES);
		(void)history(past, &event, H_SETUNIQUE, 1);
		(void)el_set(editor, EL_CLIENTDATA, shell);
		(void)el_set(editor, EL_PROMPT, prompt);
		(void)el_set(editor, EL_EDITOR, "emacs");
		(void)el_set(editor, EL_SIGNAL, 1);
		(void)el_set(editor, EL_HIST, history, past);
		(void)el_set(editor, EL_GETCFN, read_character);
		/* Wide, for of what is narrow el_set() makes copies that nobody frees. */
		(void)el_wset(editor, EL_ADDFN, L"sluice-complete", L"complete a word", complete);
		(void)el_set(editor, EL_BIND, "^I", "sluice-complete", NULL);
		edit_lines(shell, editor, past);
	} else {
		(void)fputs("sluice: shell: out of memory\n", stderr);
		shell->status = CLI_REFUSED;
	}
	if (past)
		history_end(past);
	if (editor)
		el_end(editor);
	return shell->status;
}

/* From a file or a pipe */

static int run_batch(struct shell *shell)
{
	char *line = NULL;
	size_t size = 0;

	while (!shell->is_over && !shell->status && getline(&line, &size, stdin) >= 0)
		take_line(shell, line);
	free(line);
	return shell->status;
}

int shell_run(const struct cli_options *options, const char *path, shell_run_fn *run)
{
	struct shell shell = {
		.options = options,
		.path = path,
		.run = run,
		.tokenizer = tok_init(NULL),
		.signals = -1,
	};
	bool is_terminal = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
	sigset_t blocked;
	int status;

	if (!shell.tokenizer)
		return CLI_REFUSED;
	if (is_terminal) {
		(void)sigemptyset(&blocked);
		(void)sigaddset(&blocked, SIGINT);
		(void)sigaddset(&blocked, SIGQUIT);
		(void)sigprocmask(SIG_BLOCK, &blocked, NULL);
		shell.signals = signalfd(-1, &blocked, SFD_CLOEXEC | SFD_NONBLOCK);
	}
	status = is_terminal ? run_terminal(&shell) : run_batch(&shell);
	if (shell.signals >= 0)
		(void)close(shell.signals);
	tok_end(shell.tokenizer);
	return status;
}
