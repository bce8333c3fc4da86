/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* What top.c and top_screen.c share: what is asked, and what the last answer was. */
#pragma once

#include <jansson.h>
#include <stdint.h>

#include <sluice/base.h>
#include <sluice/limits.h>

#include "control/cli/top_rows.h"
#include "control/rpc.h"

enum {
	TOP_MAX_FILTER = 64,
	TOP_CALL_SEC = 5, /* an answer takes at most: keys wait meanwhile */
};

struct top {
	const char *path;
	int timeout_sec;
	int64_t interval_ms;
	int64_t n_snapshots; /* 0: for ever */
	bool is_json;
	enum top_view view;
	char service[SL_MAX_NAME]; /* whose backends */
	enum top_column sort;
	bool is_reverse;
	char filter[TOP_MAX_FILTER];
	json_t *before; /* the last answer; NULL: none of this view */
	int64_t before_ms;
	struct rpc_error *error; /* of the last call that failed */
};

int64_t top_now_ms(void);

/** Asks sluiced for what is shown. @rows: the caller's, sorted and filtered. CLI_DONE or as call() has it. */
int top_sample(struct top *top, struct top_rows **rows) SL_MUST_USE;

/** Another view: what was counted before is not of it. */
void top_forget(struct top *top);

/** Shows and takes keys until the user ends it. CLI_DONE, or CLI_REFUSED with top->error: no such terminal. */
int top_screen(struct top *top) SL_MUST_USE;
