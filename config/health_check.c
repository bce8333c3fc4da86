/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* See health_check.h. */
#include "config/health_check.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sluice/base.h>

enum {
	MIN_SILENT_INTERVAL_MS = 1000,
	BIT_HTTP = 1 << HEALTH_CHECK_HTTP | 1 << HEALTH_CHECK_HTTPS,
	BIT_HTTPS = 1 << HEALTH_CHECK_HTTPS,
	BIT_TALK = 1 << HEALTH_CHECK_TCP | 1 << HEALTH_CHECK_UDP,
	BIT_EXEC = 1 << HEALTH_CHECK_EXEC,
	BIT_PORT = BIT_HTTP | BIT_TALK | BIT_EXEC,
	BIT_ANY = BIT_PORT | 1 << HEALTH_CHECK_ICMP,
	BIT_PASSIVE = 1 << HEALTH_CHECK_PASSIVE,
	BIT_ALL = BIT_ANY | BIT_PASSIVE,
};

static const struct health_check_member table[] = {
#define X(member, goes_with, words, help)                                                          \
	{.name = #member,                                                                          \
	 .kind = HEALTH_CHECK_WORD,                                                                \
	 .types = BIT_##goes_with,                                                                 \
	 .offset = offsetof(struct health_check, member),                                          \
	 .choices = (words)},
	HEALTH_CHECK_WORD_LIST(X)
#undef X
#define X(member, goes_with, help)                                                                 \
	{.name = #member,                                                                          \
	 .kind = HEALTH_CHECK_FLAG,                                                                \
	 .types = BIT_##goes_with,                                                                 \
	 .offset = offsetof(struct health_check, member)},
		HEALTH_CHECK_BOOLEAN_LIST(X)
#undef X
#define X(member, goes_with, low, high, usual, help)                                               \
	{.name = #member,                                                                          \
	 .kind = HEALTH_CHECK_NUMBER,                                                              \
	 .types = BIT_##goes_with,                                                                 \
	 .offset = offsetof(struct health_check, member),                                          \
	 .least = (low),                                                                           \
	 .most = (high),                                                                           \
	 .normal = (usual)},
			HEALTH_CHECK_NUMBER_LIST(X)
#undef X
#define X(member, goes_with, size, help)                                                           \
	{.name = #member,                                                                          \
	 .kind = HEALTH_CHECK_TEXT,                                                                \
	 .types = BIT_##goes_with,                                                                 \
	 .offset = offsetof(struct health_check, member),                                          \
	 .most = (size)-1},
				HEALTH_CHECK_TEXT_LIST(X)
#undef X
};

const struct health_check_member *health_check_members(size_t *n)
{
	*n = SL_ARRAY_LEN(table);
	return table;
}

const struct health_check_member *health_check_find(const char *name)
{
	for (size_t i = 0; i < SL_ARRAY_LEN(table); i++)
		if (strcmp(table[i].name, name) == 0)
			return &table[i];
	return NULL;
}

bool health_check_uses(uint8_t type, const struct health_check_member *member)
{
	return member->offset == offsetof(struct health_check, type) ||
	       (member->types >> type & 1) != 0;
}

void health_check_word(const struct health_check_member *member, uint8_t number, char *text,
		       size_t size)
{
	const char *word = member->choices;

	for (; number > 0 && word[strcspn(word, "|")] == '|'; number--)
		word += strcspn(word, "|") + 1;
	snprintf(text, size, "%.*s", (int)strcspn(word, "|"), word);
}

const char *health_check_type_name(uint8_t type)
{
	static const char *const name[] = {"none", "tcp",  "http", "https",
					   "udp",  "icmp", "exec", "passive"};

	_Static_assert(SL_ARRAY_LEN(name) == N_HEALTH_CHECK_TYPES, "a name for each type");
	return type < N_HEALTH_CHECK_TYPES ? name[type] : "unknown";
}

bool health_check_word_number(const struct health_check_member *member, const char *word,
			      uint8_t *number)
{
	const char *choice = member->choices;

	for (uint8_t i = 0;; i++) {
		size_t n = strcspn(choice, "|");

		if (n == strlen(word) && memcmp(choice, word, n) == 0) {
			*number = i;
			return true;
		}
		if (choice[n] == '\0')
			return false;
		choice += n + 1;
	}
}

void health_check_init(struct health_check *check)
{
	memset(check, 0, sizeof(*check));
	for (size_t i = 0; i < SL_ARRAY_LEN(table); i++)
		if (table[i].kind == HEALTH_CHECK_NUMBER)
			memcpy((char *)check + table[i].offset, &table[i].normal,
			       sizeof(table[i].normal));
}

void health_check_adopt(struct health_check *check, uint8_t type_before)
{
	for (size_t i = 0; i < SL_ARRAY_LEN(table); i++)
		if (table[i].kind == HEALTH_CHECK_NUMBER &&
		    health_check_uses(check->type, &table[i]) &&
		    !health_check_uses(type_before, &table[i]))
			memcpy((char *)check + table[i].offset, &table[i].normal,
			       sizeof(table[i].normal));
}

static size_t size_of(const struct health_check_member *member)
{
	switch ((enum health_check_kind)member->kind) {
	case HEALTH_CHECK_WORD:
	case HEALTH_CHECK_FLAG:
		return 1;
	case HEALTH_CHECK_NUMBER:
		return sizeof(uint32_t);
	case HEALTH_CHECK_TEXT:
		return member->most + 1;
	}
	return 0;
}

static void default_text(char *text, size_t size, const char *value)
{
	if (text[0] == '\0')
		snprintf(text, size, "%s", value);
}

void health_check_settle(struct health_check *check)
{
	for (size_t i = 0; i < SL_ARRAY_LEN(table); i++)
		if (!health_check_uses(check->type, &table[i]))
			memset((char *)check + table[i].offset, 0, size_of(&table[i]));
	if (check->type == HEALTH_CHECK_PASSIVE && check->passive == HEALTH_CHECK_PASSIVE_OFF)
		check->passive = HEALTH_CHECK_PASSIVE_REFUSED;
	if ((BIT_HTTP >> check->type & 1) == 0)
		return;
	default_text(check->method, sizeof(check->method), "GET");
	default_text(check->path, sizeof(check->path), "/");
	default_text(check->statuses, sizeof(check->statuses), "200-399");
}

uint32_t health_check_fast_interval_ms(const struct health_check *check)
{
	return check->fast_interval_ms ? check->fast_interval_ms : check->interval_ms / 2;
}

uint32_t health_check_timeout_ms(const struct health_check *check)
{
	return check->timeout_ms ? check->timeout_ms : check->interval_ms / 2;
}

/* One number of a list of statuses. */
static bool take_status(const char **text, long *status)
{
	char *end;

	if (!isdigit((unsigned char)**text))
		return false;
	*status = strtol(*text, &end, 10);
	*text = end;
	return *status >= 100 && *status <= 599;
}

int health_check_has_status(const char *statuses, long status)
{
	int is_in = 0;

	for (;;) {
		long first, last;

		if (!take_status(&statuses, &first))
			return -1;
		last = first;
		if (*statuses == '-') {
			statuses++;
			if (!take_status(&statuses, &last) || last < first)
				return -1;
		}
		is_in |= status >= first && status <= last;
		if (*statuses == '\0')
			return is_in;
		if (*statuses++ != ',')
			return -1;
	}
}

/* Whether @text may stand in the head of a request. */
static bool is_token(const char *text, const char *others)
{
	for (; *text != '\0'; text++)
		if (!isalnum((unsigned char)*text) && strchr(others, *text) == NULL)
			return false;
	return true;
}

static bool is_visible(const char *text)
{
	for (; *text != '\0'; text++)
		if ((unsigned char)*text <= ' ' || *text == 127)
			return false;
	return true;
}

static const char *judge_http(const struct health_check *check, const char **member)
{
	*member = "method";
	if (!is_token(check->method, "-_"))
		return "must be a method such as GET or HEAD";
	*member = "path";
	if (check->path[0] != '/' || !is_visible(check->path))
		return "must begin with / and have no blanks";
	*member = "host";
	if (!is_token(check->host, "-._:[]"))
		return "must be the name of a host, or an address, and may have a port";
	*member = "statuses";
	if (health_check_has_status(check->statuses, 0) < 0)
		return "must be codes 100..599 and ranges of them, such as 200,204,300-399";
	return NULL;
}

const char *health_check_judge(const struct health_check *check, bool has_port, const char **member)
{
	const char *reason;

	*member = "type";
	if (check->type == HEALTH_CHECK_NONE)
		return NULL;
	reason = (BIT_HTTP >> check->type & 1) != 0 ? judge_http(check, member) : NULL;
	if (reason != NULL)
		return reason;
	*member = "timeout_ms";
	if (check->timeout_ms > check->interval_ms)
		return "must not be longer than interval_ms";
	*member = "fast_interval_ms";
	if (check->fast_interval_ms > check->interval_ms)
		return "must not be longer than interval_ms";
	*member = "port";
	if (check->port == 0 && !has_port && (BIT_PORT >> check->type & 1) != 0)
		return "must be given: the service has every port";
	*member = "send";
	if (check->type == HEALTH_CHECK_TCP && check->send[0] != '\0' && check->expect[0] == '\0')
		return "needs expect: nobody would look at the answer";
	/* RFC 1812 section 4.3.2.8: how many errors a host sends is limited. */
	*member = "fast_interval_ms";
	if (check->type == HEALTH_CHECK_UDP && check->expect[0] == '\0' &&
	    health_check_fast_interval_ms(check) < MIN_SILENT_INTERVAL_MS)
		return "must be 1000 at least without expect: down is told by ICMP errors then, "
		       "and "
		       "hosts send one a second";
	*member = "command";
	if (check->type == HEALTH_CHECK_EXEC && check->command[0] != '/')
		return "must be an absolute path";
	return NULL;
}
