/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * Where the daemon's first state comes from: the disk, the configuration file, or both; and how the
 * file is read again.
 */
#pragma once

#include <stdint.h>

#include <sluice/base.h>

struct config;
struct daemon;

enum {
	STARTUP_MAX_ERROR = 4608,
};

/** Reads and judges the configuration file. @digest: of its text. @error: file:line:column. */
int startup_read_file(const char *path, struct config **config, uint64_t *digest,
		      char *error) SL_MUST_USE;

/** Logs an error of startup_read_file(), which may be of several problems: a line for each. */
void startup_log_error(const char *error);

/**
 * Fills the daemon's state: what the disk has, with the file's services as they were changed at run
 * time if the file is the one last read, else with those of the file as it is now; and writes it.
 */
int startup_state(struct daemon *daemon, const struct config *config, uint64_t digest,
		  char *error) SL_MUST_USE;

/** Reads the file again and makes it the state, all or nothing; logs what came of it. */
void startup_reload(struct daemon *daemon);
