/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* Other programs and their ends: see bench_process.h. */
#include "tests/bench/bench_process.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <sys/prctl.h>
#include <sys/wait.h>

#include "tests/bench/bench_report.h"
#include "tests/bench/bench_signal.h"

enum {
	STOP_MS = 5000,
	RUN_MS = 10000,
	WAIT_STEP_MS = 10,
	MAX_OUTPUT = 1 << 20,
	LOG_BYTES = 2048, /* of the end of a log */
	EXIT_NOT_FOUND = 127,
};

static cpu_set_t cores; /* none: those of this process */

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void process_find(const char *name, char path[static PROCESS_MAX_PATH])
{
	static const char *const places[] = {"", "../../", "../sbin/"};
	char self[PROCESS_MAX_PATH / 2];
	ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;

	self[length > 0 ? length : 0] = '\0';
	slash = strrchr(self, '/');
	for (size_t i = 0; slash != NULL && i < SL_ARRAY_LEN(places); i++) {
		snprintf(path, PROCESS_MAX_PATH, "%.*s/%s%s", (int)(slash - self), self, places[i],
			 name);
		if (access(path, X_OK) == 0)
			return;
	}
	snprintf(path, PROCESS_MAX_PATH, "%s", name);
}

bool process_is_there(const char *name)
{
	const char *list = getenv("PATH");
	char path[PROCESS_MAX_PATH];

	if (strchr(name, '/') != NULL)
		return access(name, X_OK) == 0;
	while (list != NULL && *list != '\0') {
		size_t length = strcspn(list, ":");

		snprintf(path, sizeof(path), "%.*s/%s", (int)length, list, name);
		if (access(path, X_OK) == 0)
			return true;
		list += length + (list[length] == ':');
	}
	return false;
}

void process_remember_cores(void)
{
	if (sched_getaffinity(0, sizeof(cores), &cores) != 0)
		CPU_ZERO(&cores);
}

/* In the child: no trace of what this process did to itself. */
static void __attribute__((noreturn))
become(const char *const argument[], pid_t parent, int input, int output, int errors)
{
	char *copy[PROCESS_MAX_ARGUMENTS + 1];
	int n = 0;

	if (CPU_COUNT(&cores) != 0)
		sched_setaffinity(0, sizeof(cores), &cores);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	sigprocmask(SIG_SETMASK, signal_former_mask(), NULL);
	signal(SIGPIPE, SIG_DFL);
	/* A Ctrl-C is for the process that started this one. */
	setpgid(0, 0);
	for (; n < PROCESS_MAX_ARGUMENTS && argument[n] != NULL; n++)
		copy[n] = strdup(argument[n]);
	copy[n] = NULL;
	if (getppid() == parent && dup2(input, STDIN_FILENO) >= 0 &&
	    dup2(output, STDOUT_FILENO) >= 0 && dup2(errors, STDERR_FILENO) >= 0)
		execvp(copy[0], copy);
	fprintf(stderr, "%s: %s\n", argument[0], strerror(errno));
	_exit(EXIT_NOT_FOUND);
}

int process_start(struct process *process, const char *name, const char *folder,
		  const char *const argument[])
{
	pid_t parent = getpid();
	int pipe_fd[2];
	int log;

	*process = (struct process){.input = -1};
	snprintf(process->name, sizeof(process->name), "%s", name);
	snprintf(process->log, sizeof(process->log), "%s/%s.log", folder, name);
	log = open(process->log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (log < 0 || pipe2(pipe_fd, O_CLOEXEC) != 0) {
		int status = -errno;

		report_error("%s: %s", process->log, strerror(-status));
		if (log >= 0)
			close(log);
		return status;
	}
	fflush(NULL);
	process->pid = fork();
	if (process->pid == 0)
		become(argument, parent, pipe_fd[0], log, log);
	close(pipe_fd[0]);
	close(log);
	process->input = pipe_fd[1];
	if (process->pid > 0)
		return 0;
	process->pid = 0;
	close(process->input);
	return -EAGAIN;
}

void process_print_log(const struct process *process)
{
	FILE *file = fopen(process->log, "re");
	char text[LOG_BYTES + 1];
	size_t n;

	if (file == NULL)
		return;
	if (fseek(file, -LOG_BYTES, SEEK_END) != 0)
		rewind(file);
	n = fread(text, 1, LOG_BYTES, file);
	text[n] = '\0';
	fclose(file);
	if (n != 0)
		report_error("%s said at last:\n%s", process->name, text);
}

bool process_is_alive(struct process *process)
{
	int status;

	if (process->pid == 0)
		return false;
	if (waitpid(process->pid, &status, WNOHANG) != process->pid)
		return true;
	process->pid = 0;
	close(process->input);
	if (WIFSIGNALED(status))
		report_error("%s: %s", process->name, strsignal(WTERMSIG(status)));
	else
		report_error("%s: ended with status %d", process->name, WEXITSTATUS(status));
	process_print_log(process);
	return false;
}

/* Nanoseconds that the busiest thread has run; *@thread: its number. */
static unsigned long long busiest_thread(const struct process *process, pid_t *thread)
{
	unsigned long long most_ns = 0;
	char path[PROCESS_MAX_PATH];
	const struct dirent *entry;
	DIR *folder;

	*thread = 0;
	snprintf(path, sizeof(path), "/proc/%d/task", (int)process->pid);
	folder = process->pid != 0 ? opendir(path) : NULL;
	while (folder != NULL && (entry = readdir(folder)) != NULL) {
		unsigned long long ns;
		FILE *file;

		snprintf(path, sizeof(path), "/proc/%d/task/%.16s/schedstat", (int)process->pid,
			 entry->d_name);
		file = fopen(path, "re");
		if (file == NULL)
			continue;
		if (fscanf(file, "%llu", &ns) == 1 && ns > most_ns) {
			most_ns = ns;
			*thread = (pid_t)strtol(entry->d_name, NULL, 10);
		}
		fclose(file);
	}
	if (folder != NULL)
		closedir(folder);
	return most_ns;
}

double process_cpu_seconds(const struct process *process)
{
	pid_t thread;

	return (double)busiest_thread(process, &thread) / 1e9;
}

void process_raise(const struct process *process)
{
	const struct sched_param parameters = {.sched_priority = 1};
	pid_t thread;

	busiest_thread(process, &thread);
	if (thread == 0 || sched_setscheduler(thread, SCHED_FIFO, &parameters) != 0)
		report_error("%s: cannot be real-time: %s", process->name, strerror(errno));
}

void process_raise_thread(bool is_realtime)
{
	const struct sched_param parameters = {.sched_priority = is_realtime};

	if (sched_setscheduler(0, is_realtime ? SCHED_FIFO : SCHED_OTHER, &parameters) != 0)
		report_error("cannot be real-time: %s", strerror(errno));
}

static void sleep_step(void)
{
	const struct timespec step = {.tv_nsec = WAIT_STEP_MS * 1000000};

	nanosleep(&step, NULL);
}

void process_stop(struct process *process)
{
	int64_t end = now_ms() + STOP_MS;

	if (process->pid == 0)
		return;
	close(process->input);
	kill(process->pid, SIGTERM);
	while (waitpid(process->pid, NULL, WNOHANG) == 0) {
		if (now_ms() > end) {
			kill(process->pid, SIGKILL);
			waitpid(process->pid, NULL, 0);
			break;
		}
		sleep_step();
	}
	process->pid = 0;
}

/* All that comes until the other end is closed or the time is over; NULL: it is. */
static char *read_all(int input)
{
	int64_t end = now_ms() + RUN_MS;
	char *text = malloc(MAX_OUTPUT + 1);
	size_t n = 0;

	while (text != NULL && n < MAX_OUTPUT) {
		struct pollfd poller = {.fd = input, .events = POLLIN};
		int64_t left = end - now_ms();
		ssize_t more = -1;

		if (left > 0 && poll(&poller, 1, (int)left) > 0)
			more = read(input, text + n, MAX_OUTPUT - n);
		if (more == 0) {
			text[n] = '\0';
			return text;
		}
		if (more < 0)
			break;
		n += (size_t)more;
	}
	free(text);
	return NULL;
}

int process_run(const char *const argument[], char **output)
{
	pid_t parent = getpid();
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	int status = -1;
	int pipe_fd[2];
	char *text;
	pid_t pid;

	if (null < 0 || pipe2(pipe_fd, O_CLOEXEC) != 0) {
		if (null >= 0)
			close(null);
		return -EMFILE;
	}
	fflush(NULL);
	pid = fork();
	if (pid == 0)
		become(argument, parent, null, pipe_fd[1], output != NULL ? null : STDERR_FILENO);
	close(pipe_fd[1]);
	close(null);
	text = pid > 0 ? read_all(pipe_fd[0]) : NULL;
	close(pipe_fd[0]);
	if (pid <= 0)
		return -EAGAIN;
	if (text == NULL)
		kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	if (output != NULL)
		*output = text;
	else
		free(text);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -ETIMEDOUT;
}

json_t *process_run_json(const char *const argument[])
{
	char *text = NULL;
	json_t *json = NULL;

	if (process_run(argument, &text) == 0 && text != NULL)
		json = json_loads(text, 0, NULL);
	free(text);
	return json;
}
