/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * Other programs: those that run beside a measurement, with their output in a log, and those that
 * give an answer and end. They are ended by their number, and with this process if it is killed.
 */
#pragma once

#include <sys/types.h>

#include <jansson.h>

#include <sluice/base.h>

enum {
	PROCESS_MAX_ARGUMENTS = 48,
	PROCESS_MAX_PATH = 256,
};

struct process {
	pid_t pid; /* 0: none */
	int input; /* its standard input, on which it may wait */
	char name[32];
	char log[PROCESS_MAX_PATH];
};

/**
 * The path of one of our programs: beside this one, in the build tree that this one stands in, or as
 * installed. @name alone: to be looked for in PATH.
 */
void process_find(const char *name, char path[static PROCESS_MAX_PATH]);

/** What is started later may run on the cores that this process may use now. */
void process_remember_cores(void);

/** Whether PATH has @name, or @name is a path of an executable. */
bool process_is_there(const char *name);

/** Starts @argument, a list with NULL at its end; the log is FOLDER/NAME.log. 0 or negative errno. */
int process_start(struct process *process, const char *name, const char *folder,
		  const char *const argument[]) SL_MUST_USE;

/** Whether it still runs; if not, why and its last lines were printed. */
bool process_is_alive(struct process *process);

/** Seconds that the busiest of its threads has run so far; 0: it has ended. */
double process_cpu_seconds(const struct process *process);

/** Makes the busiest of its threads a real-time one, before which all ordinary ones wait. */
void process_raise(const struct process *process);

/** Makes this very thread one, or an ordinary one again. */
void process_raise_thread(bool is_realtime);

/** Prints the last lines of its log. */
void process_print_log(const struct process *process);

/** Ends it, if there is one, with force after five seconds. */
void process_stop(struct process *process);

/**
 * Runs @argument to its end, at most ten seconds; standard output into *@output (may be NULL), which
 * the caller frees. 0, its exit status, or negative errno.
 */
int process_run(const char *const argument[], char **output) SL_MUST_USE;

/** Likewise; the JSON that it prints, NULL: it failed, or printed none. */
json_t *process_run_json(const char *const argument[]);
