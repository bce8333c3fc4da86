/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
#include "config/share.h"

#include <stdio.h>
#include <string.h>

#include <sluice/base.h>

#include "config/config.h"

static const char *const role_names[SHARE_N_ROLES] = {"active", "backup", "sorry"};

const char *share_role_name(uint8_t role)
{
	return role < SHARE_N_ROLES ? role_names[role] : "unknown";
}

bool share_role_from_name(const char *name, uint8_t *role)
{
	for (uint8_t i = 0; i < SHARE_N_ROLES; i++) {
		if (strcmp(name, role_names[i]) != 0)
			continue;
		*role = i;
		return true;
	}
	return false;
}

bool share_parse_group(const char *text, char group[SL_MAX_NAME])
{
	bool is_none = strcmp(text, "none") == 0;

	if (!is_none && !config_is_name(text))
		return false;
	memset(group, 0, SL_MAX_NAME);
	if (!is_none)
		memcpy(group, text, strlen(text));
	return true;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

bool share_parse_percent(const char *text, uint32_t *share)
{
	const char *at = text;
	uint32_t value = 0;
	int n_decimals = 0;

	if (!is_digit(*at) || (at[0] == '0' && is_digit(at[1])))
		return false;
	for (; is_digit(*at) && value <= SHARE_WHOLE; at++)
		value = value * 10 + (uint32_t)(*at - '0');
	if (*at == '.' && !is_digit(*++at))
		return false;
	for (; n_decimals < 2; n_decimals++) {
		value *= 10;
		if (is_digit(*at))
			value += (uint32_t)(*at++ - '0');
	}
	if (*at != '\0' || value > SHARE_WHOLE)
		return false;
	*share = value;
	return true;
}

const char *share_percent_text(uint32_t share, char text[SHARE_PERCENT_TEXT])
{
	unsigned whole = share / SHARE_PERCENT % 1000, part = share % SHARE_PERCENT;

	if (part == 0)
		(void)snprintf(text, SHARE_PERCENT_TEXT, "%u", whole);
	else if (part % 10 == 0)
		(void)snprintf(text, SHARE_PERCENT_TEXT, "%u.%u", whole, part / 10);
	else
		(void)snprintf(text, SHARE_PERCENT_TEXT, "%u.%02u", whole, part);
	return text;
}
