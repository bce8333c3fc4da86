/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * How new flows are shared out beyond weight and state: the role and the group of a backend, the canary of
 * a service. Pure; any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sluice/limits.h>

/** Who serves, the first of which any backend can be used. */
enum share_role {
	SHARE_ACTIVE = 0,
	SHARE_BACKUP = 1, /* while no active one can be used */
	SHARE_SORRY = 2,  /* while no other can be used; then whatever its checks say */
	SHARE_N_ROLES = 3,
};

enum {
	SHARE_WHOLE = 10000,   /* of hundredths of a percent */
	SHARE_PERCENT = 100,   /* of them in one */
	SHARE_PERCENT_TEXT = 8 /* bytes: "100", "12.34" */
};

#define SHARE_ROLES "active|backup|sorry"

/** What a backend says of itself. Compared by memcmp: the name is zero beyond its end. */
struct share_part {
	uint8_t role;            /* enum share_role */
	char group[SL_MAX_NAME]; /* empty: none */
};

/** The share of new flows that a group has, whatever it weighs. Compared by memcmp. */
struct share_canary {
	uint32_t share;          /* 0..SHARE_WHOLE */
	char group[SL_MAX_NAME]; /* empty: there is no canary, and share is 0 */
};

/** "active", "backup", "sorry". */
const char *share_role_name(uint8_t role);

/** False: there is no such word. */
bool share_role_from_name(const char *name, uint8_t *role);

/** A name as config_is_name() has it; "none" for none, which empties @group. False: neither. */
bool share_parse_group(const char *text, char group[SL_MAX_NAME]);

/** "0" to "100", with two decimals at most. @share: hundredths. */
bool share_parse_percent(const char *text, uint32_t *share);

/** "5", "0.5", "12.34"; returns @text. */
const char *share_percent_text(uint32_t share, char text[SHARE_PERCENT_TEXT]);
