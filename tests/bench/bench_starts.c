/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* Runs this very program again for each start of a case, and reads its result: see bench_starts.h. */
#include "tests/bench/bench_starts.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sys/wait.h>

#include "tests/bench/bench_report.h"
#include "tests/bench/bench_signal.h"

extern char **environ;

enum {
	MAX_ARGUMENTS = 24,
	MAX_ARGUMENT = 64,
	SIGNAL_POLL_MS = 50,
};

struct arguments {
	int n;
	char *argv[MAX_ARGUMENTS + 1];
	char text[MAX_ARGUMENTS][MAX_ARGUMENT];
};

__attribute__((format(printf, 2, 3))) static void add(struct arguments *arguments,
						      const char *format, ...)
{
	va_list values;

	va_start(values, format);
	vsnprintf(arguments->text[arguments->n], MAX_ARGUMENT, format, values);
	va_end(values);
	arguments->argv[arguments->n] = arguments->text[arguments->n];
	arguments->argv[++arguments->n] = NULL;
}

/* What options say to the process of a case, which knows the defaults as well. */
static void fill(struct arguments *arguments, const struct bench_mode *mode,
		 const struct bench_options *options, const char *name)
{
	*arguments = (struct arguments){0};
	add(arguments, "sluice-bench");
	add(arguments, "%s", mode->name);
	add(arguments, "--one=%s", name);
	add(arguments, "--cpu=%d", options->cpu);
	add(arguments, "--rounds=%u", options->n_rounds);
	if (options->n_flows != 0)
		add(arguments, "--flows=%u", options->n_flows);
	if (options->n_backends != 0)
		add(arguments, "--backends=%u", options->n_backends);
	if (options->trial_sec != 0)
		add(arguments, "--trial=%.9g", options->trial_sec);
	if (options->loss_ppm != 0)
		add(arguments, "--loss=%u", options->loss_ppm);
	if (options->is_realtime)
		add(arguments, "--realtime");
	if (options->is_quick)
		add(arguments, "--quick");
}

/* Starts the process; its standard output is @output. Its number, or negative errno. */
static pid_t start(const struct bench_mode *mode, const struct bench_options *options,
		   const char *name, int output)
{
	struct arguments arguments;
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	pid_t pid;
	int error;

	fill(&arguments, mode, options, name);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
	posix_spawnattr_init(&attributes);
	posix_spawnattr_setsigmask(&attributes, signal_former_mask());
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
	error = posix_spawn(&pid, "/proc/self/exe", &actions, &attributes, arguments.argv, environ);
	posix_spawnattr_destroy(&attributes);
	posix_spawn_file_actions_destroy(&actions);
	return error != 0 ? -error : pid;
}

/* Until the process says something or nothing any more; it learns of a signal that came here. */
static void wait_for_output(pid_t pid, int input)
{
	struct pollfd poller = {.fd = input, .events = POLLIN};
	bool was_told = false;

	while (poll(&poller, 1, SIGNAL_POLL_MS) == 0)
		if (pid > 0 && !was_told && signal_has_come())
			was_told = kill(pid, SIGTERM) == 0;
}

/* All that the process says, so that it never finds its pipe closed; NULL: no JSON. */
static json_t *read_result(int input)
{
	char *text = NULL;
	size_t size = 0;
	FILE *file = fdopen(input, "r");
	json_t *result = NULL;

	if (file == NULL) {
		close(input);
		return NULL;
	}
	/* No text has a zero in it: this is the whole of it. */
	if (getdelim(&text, &size, '\0', file) > 0)
		result = json_loads(text, 0, NULL);
	free(text);
	fclose(file);
	return result;
}

static json_t *measure(const struct bench_mode *mode, const struct bench_options *options,
		       const char *name)
{
	json_t *result;
	int status = -1;
	int pipe_fd[2];
	pid_t pid;

	if (pipe2(pipe_fd, O_CLOEXEC) != 0)
		return NULL;
	pid = start(mode, options, name, pipe_fd[1]);
	close(pipe_fd[1]);
	wait_for_output(pid, pipe_fd[0]);
	result = read_result(pipe_fd[0]);
	if (pid > 0 && waitpid(pid, &status, 0) == pid && status == 0 && result != NULL)
		return result;
	report_error("%s %s: its process %s", mode->name, name,
		     pid <= 0                             ? strerror(-pid)
		     : status >= 0 && WIFSIGNALED(status) ? strsignal(WTERMSIG(status))
							  : "failed");
	json_decref(result);
	return NULL;
}

static int run_case(const struct bench_mode *mode, const struct bench_options *options,
		    const char *name, json_t *cases)
{
	json_t *starts = json_array();
	int status = 0;

	for (uint32_t i = 0; i < options->n_starts && status == 0; i++) {
		json_t *result;

		report_progress("%s %s: start %u of %u", mode->name, name, i + 1,
				options->n_starts);
		result = measure(mode, options, name);
		status = result == NULL ? -EIO : 0;
		json_array_append_new(starts, result);
	}
	if (status == 0)
		json_array_append_new(cases, report_merge(name, starts));
	json_decref(starts);
	return status;
}

/* A name that is given whole means no other that begins with it. */
static bool is_name(const struct bench_mode *mode, const char *text)
{
	const char *name;

	for (uint32_t i = 0; (name = mode->case_name(i)) != NULL; i++)
		if (strcmp(name, text) == 0)
			return true;
	return false;
}

static bool is_wanted(const struct bench_mode *mode, const struct bench_options *options,
		      bool is_whole, uint32_t index)
{
	const char *name = mode->case_name(index);

	if (options->only == NULL)
		return !options->is_quick || mode->is_left_out == NULL || !mode->is_left_out(index);
	return is_whole ? strcmp(name, options->only) == 0 : strstr(name, options->only) != NULL;
}

int starts_run(const struct bench_mode *mode, const struct bench_options *options, json_t *cases)
{
	bool is_whole = options->only != NULL && is_name(mode, options->only);
	bool is_any = false;
	const char *name;
	int status = 0;

	/* A process that is told to end may have something to put back. */
	signal_hold();
	for (uint32_t i = 0; (name = mode->case_name(i)) != NULL; i++) {
		if (!is_wanted(mode, options, is_whole, i))
			continue;
		is_any = true;
		if (run_case(mode, options, name, cases) != 0)
			status = -EIO;
		if (signal_has_come())
			return -EINTR;
	}
	if (!is_any) {
		report_error("%s: no case has %s in its name", mode->name, options->only);
		return -ENOENT;
	}
	return status;
}
