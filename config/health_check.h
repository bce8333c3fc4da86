/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * How a service's backends are checked: the members once, as lists that the file, the API, the state on
 * disk, the export and the differences are made from, and the rules among them. Pure; any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum health_check_type {
	HEALTH_CHECK_NONE = 0,
	HEALTH_CHECK_TCP,     /* a connection; with send and expect, what is said on it */
	HEALTH_CHECK_HTTP,    /* a request over HTTP/1.1 */
	HEALTH_CHECK_HTTPS,   /* the same over TLS */
	HEALTH_CHECK_UDP,     /* a datagram; down is who answers wrong, or by ICMP unreachable */
	HEALTH_CHECK_ICMP,    /* an echo request to the address */
	HEALTH_CHECK_EXEC,    /* a program of the operator's */
	HEALTH_CHECK_PASSIVE, /* nobody is asked: what clients' flows say decides */
	N_HEALTH_CHECK_TYPES,
};

/** What becomes of the flows of a backend that is found down. */
enum health_check_on_down {
	HEALTH_CHECK_RESET = 0, /* they end: their next packet is answered by a reset */
	HEALTH_CHECK_KEEP = 1,  /* they stay where they are */
};

/** What clients' flows may say against a backend, as a hint to check it. */
enum health_check_passive {
	HEALTH_CHECK_PASSIVE_OFF = 0,
	HEALTH_CHECK_PASSIVE_REFUSED = 1,  /* SYNs that it refused */
	HEALTH_CHECK_PASSIVE_OPENINGS = 2, /* these, and those that it left unanswered */
	HEALTH_CHECK_PASSIVE_RESETS = 3,   /* these, and established flows that it reset */
};

enum {
	HEALTH_CHECK_MAX_HOLD_SHIFT = 6, /* hold_down_ms is doubled so often at most */
};

/* clang-format off */
#define HEALTH_CHECK_TYPES   "none|tcp|http|https|udp|icmp|exec|passive"
#define HEALTH_CHECK_ON_DOWN "reset|keep"
#define HEALTH_CHECK_PASSIVES "off|refused|openings|resets"

/* Which types a member goes with, in words. */
#define HEALTH_CHECK_FOR_HTTP  "http, https"
#define HEALTH_CHECK_FOR_HTTPS "https"
#define HEALTH_CHECK_FOR_TALK  "tcp, udp"
#define HEALTH_CHECK_FOR_EXEC  "exec"

/* name, the types it goes with, choices, help: stored as the number of the choice. */
#define HEALTH_CHECK_WORD_LIST(X) \
	X(type,    ALL, HEALTH_CHECK_TYPES,   "what a check is; none: the backends are not checked") \
	X(on_down, ALL, HEALTH_CHECK_ON_DOWN, "flows of a backend that is down: reset ends them, keep lets them stay; default reset") \
	X(passive, ALL, HEALTH_CHECK_PASSIVES, "hints that have a backend checked at once: SYNs it refused; all that failed; these and flows it reset")

/* name, types, help */
#define HEALTH_CHECK_BOOLEAN_LIST(X) \
	X(tls_verify, HTTPS, "the certificate must be valid for host; default false")

/* name, types, least, most, default (0: see help), help */
#define HEALTH_CHECK_NUMBER_LIST(X) \
	X(port,             PORT, 0, 65535,   0,    "where to; 0: the backend's own port") \
	X(interval_ms,      ANY,  50, 3600000, 2000, "from the start of a check to that of the next; default 2000") \
	X(fast_interval_ms, ANY,  0, 3600000, 0,    "the same while the last result is unlike the backend's state, or hints come; default half of interval_ms") \
	X(timeout_ms,       ANY,  0, 3600000, 0,    "after which a check without an answer has failed; default half of interval_ms") \
	X(rise,             ANY,  1, 255,     2,    "good results in a row that make a backend up; default 2") \
	X(fall,             ALL,  1, 255,     3,    "bad results, with type passive bad windows, in a row that make it down; default 3") \
	X(jitter_percent,   ANY,  0, 50,      10,   "of an interval, by which it is shorter at random; default 10") \
	X(hold_down_ms,     ALL,  0, 3600000, 1000, "how long what went down stays so at least; up to 64 times as long if it soon goes down again; default 1000") \
	X(slow_start_ms,    ALL,  0, 3600000, 0,    "over which the weight of a backend that came up rises; default 0") \
	X(panic_percent,    ALL,  0, 100,     1,    "when fewer of the ready backends are up, all are used as if they were; 0: never; default 1: when none is up") \
	X(passive_percent,   ALL, 1,   100,     50,   "of openings in a window: a hint, if it is twice the service's least; default 50") \
	X(passive_openings,  ALL, 1,   1000000, 10,   "that a backend must have in a window, fewer say nothing; default 10") \
	X(passive_window_ms, ALL, 500, 60000,   1000, "from one look at the openings to the next; default 1000") \
	X(passive_quorum_percent, PASSIVE, 1, 100, 50, "of the service's other backends that must answer for silence to count; default 50")

/* name, types, bytes with the zero, help */
#define HEALTH_CHECK_TEXT_LIST(X) \
	X(method,   HTTP, 16,  "of the request; default GET") \
	X(path,     HTTP, 256, "of the request; default /") \
	X(host,     HTTP, 128, "whom the request is for; default the backend's address") \
	X(statuses, HTTP, 64,  "that are good, such as 200,204,300-399; default 200-399") \
	X(body,     HTTP, 128, "what must be in the first 64 KiB of the body") \
	X(send,     TALK, 256, "what is sent") \
	X(expect,   TALK, 256, "what must be in the first 4 KiB of the answer") \
	X(command,  EXEC, 256, "path of the program: it is told SLUICE_ADDRESS and SLUICE_PORT and exits with 0 if all is well")
/* clang-format on */

/** All of a service's check; with type none all is zero. Compared by memcmp: texts are zero beyond their end. */
struct health_check {
#define X(name, types, choices, help) uint8_t name;
	HEALTH_CHECK_WORD_LIST(X)
#undef X
#define X(name, types, help) uint8_t name;
	HEALTH_CHECK_BOOLEAN_LIST(X)
#undef X
#define X(name, types, least, most, normal, help) uint32_t name;
	HEALTH_CHECK_NUMBER_LIST(X)
#undef X
#define X(name, types, size, help) char name[size];
	HEALTH_CHECK_TEXT_LIST(X)
#undef X
};

enum health_check_kind {
	HEALTH_CHECK_WORD,
	HEALTH_CHECK_FLAG,
	HEALTH_CHECK_NUMBER,
	HEALTH_CHECK_TEXT,
};

/** One member, by its place in struct health_check. */
struct health_check_member {
	const char *name;
	uint8_t kind;  /* enum health_check_kind */
	uint8_t types; /* bit 1 << enum health_check_type: those it goes with */
	size_t offset;
	uint32_t least, most; /* of a number its value, of a text its bytes without the zero */
	uint32_t normal;      /* of a number */
	const char *choices;  /* of a word: "a|b|c" */
};

/** All members, in the order in which they are shown. */
const struct health_check_member *health_check_members(size_t *n);

/** The member called @name, or NULL. */
const struct health_check_member *health_check_find(const char *name);

/** Whether @member says anything in a check of @type. */
bool health_check_uses(uint8_t type, const struct health_check_member *member);

/** "http", or, of @member and @number, the word it stands for. Copied to @text, at most @size bytes. */
const char *health_check_type_name(uint8_t type);
void health_check_word(const struct health_check_member *member, uint8_t number, char *text,
		       size_t size);

/** The number of @word; false: there is no such word. */
bool health_check_word_number(const struct health_check_member *member, const char *word,
			      uint8_t *number);

/** Brings @check into its one form: what its type does not use is cleared, texts left out are filled in. */
void health_check_settle(struct health_check *check);

/** Its type was @type_before: numbers that say something now and did not then get their default. */
void health_check_adopt(struct health_check *check, uint8_t type_before);

/** Default values of what may be 0, before anything is said. */
void health_check_init(struct health_check *check);

/** Milliseconds; where nothing was said, half of the interval. */
uint32_t health_check_fast_interval_ms(const struct health_check *check);
uint32_t health_check_timeout_ms(const struct health_check *check);

/**
 * The first rule that @check, which was settled, breaks, as a sentence; NULL: none. @member: which it is
 * about. @has_port: whether backends have ports of their own. Static text.
 */
const char *health_check_judge(const struct health_check *check, bool has_port,
			       const char **member);

/** Whether @status is in a list such as "200-299,404"; -1: it is no such list. */
int health_check_has_status(const char *statuses, long status);
