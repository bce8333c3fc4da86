/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* What the files of `sluice doctor` share: the host as it is looked at, and how a finding is reported. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sluice/base.h>

#include "control/cli/doctor_checks.h"

struct config;
struct config_port;
struct doctor_link;

enum {
	DOCTOR_MAX_CPUS = 1024,
	DOCTOR_TEXT = 512,
};

enum doctor_verdict {
	DOCTOR_GOOD = 0,
	DOCTOR_NOTE,    /* works; may be meant so */
	DOCTOR_UNKNOWN, /* could not be looked at */
	DOCTOR_WARNING, /* works, worse than it could */
	DOCTOR_FAULT,   /* does not work */
	N_DOCTOR_VERDICTS,
};

/** Asks the kernel about the interface @name. 0 or a negative errno. */
typedef int doctor_link_fn(const char *name, struct doctor_link *link);

struct doctor {
	const char *root; /* before every path of /proc, /sys and /dev; "" */
	const char *config_file;
	const char *config_problem;  /* why there is no configuration; NULL: there is */
	const struct config *config; /* NULL: there is none */
	const char *engine;          /* "dpdk" or "xdp"; NULL: no configuration */
	char engine_reason[128];
	const json_t *status;      /* what sluiced says; NULL: it does not answer */
	const char *socket;        /* where it was asked */
	const char *daemon_reason; /* why it did not answer */
	bool is_denied;            /* it runs, and we may not ask */
	doctor_link_fn *read_link; /* NULL: nobody can be asked */
	const char *id, *why;      /* of the check that runs */
	json_t *findings;
};

/**
 * Reports one finding of the check that runs. @wanted: NULL: nothing else. @command: what mends it, a
 * format; NULL: nothing to be mended.
 */
void doctor_report(struct doctor *doctor, enum doctor_verdict verdict, const char *object,
		   const char *found, const char *wanted, const char *command, ...)
	__attribute__((format(printf, 6, 7)));

/** Reports that @object could not be looked at, for @number, an errno. */
void doctor_report_unknown(struct doctor *doctor, const char *object, int number);

/** Whether the engine of the configuration is @engine. */
bool doctor_has_engine(const struct doctor *doctor, const char *engine);

/** Whether sluiced says that a dataplane of @engine is connected. */
bool doctor_runs(const struct doctor *doctor, const char *engine);

/** The interface of @port that is the kernel's; NULL: it has none. */
const char *doctor_interface(const struct config_port *port);

/* doctor_read.c */

/** The first line of a file, without its newline. 0 or a negative errno. */
int doctor_read(const struct doctor *doctor, char *text, size_t size, const char *path, ...)
	__attribute__((format(printf, 4, 5))) SL_MUST_USE;

/** The number at the beginning of a file. 0 or a negative errno. */
int doctor_read_number(const struct doctor *doctor, long *number, const char *path, ...)
	__attribute__((format(printf, 3, 4))) SL_MUST_USE;

/** The last part of what a symbolic link points to. 0 or a negative errno. */
int doctor_read_link_name(const struct doctor *doctor, char *text, size_t size, const char *path,
			  ...) __attribute__((format(printf, 4, 5))) SL_MUST_USE;

/** Whether there is such a file or folder. 0 or a negative errno. */
int doctor_find(const struct doctor *doctor, const char *path, ...)
	__attribute__((format(printf, 2, 3)));

/** Copies the line of a file that begins with @start, without @start and blanks. 0 or a negative errno. */
int doctor_read_line(const struct doctor *doctor, const char *path, const char *start, char *text,
		     size_t size) SL_MUST_USE;

/** Entries of a folder whose names begin with @start. Negative errno: none can be read. */
int doctor_count(const struct doctor *doctor, const char *start, const char *path, ...)
	__attribute__((format(printf, 3, 4))) SL_MUST_USE;

/** The number of a process called @name; 0: there is none; negative errno. */
int doctor_find_process(const struct doctor *doctor, const char *name) SL_MUST_USE;

/** Reads a list such as "0-3,8". 0 or a negative errno. */
int doctor_read_cpus(const struct doctor *doctor, bool cpus[DOCTOR_MAX_CPUS],
		     const char *path) SL_MUST_USE;

/** Whether a list such as "0-3,8" has @cpu. */
void doctor_parse_cpus(const char *text, bool cpus[DOCTOR_MAX_CPUS]);

/** "2,3" of those that are set. Returns @text. */
const char *doctor_cpus_text(const bool cpus[DOCTOR_MAX_CPUS], char *text, size_t size);
