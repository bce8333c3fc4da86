/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * What the kernel's verifier says of each BPF program: instructions that it walked, and the stack of
 * every function. Both are bounded here, well below the kernel's own limits (1,000,000 and 512 bytes
 * over a chain of calls), so that a change that doubles them is seen when it is made.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "dataplane/xdp/skeleton.h"

enum {
	LOG_BYTES = 1 << 16,
	LAST_BYTES = 1024,
	LOG_STATS = 4, /* BPF_LOG_STATS */
	MAX_WALKED = 800000,
	MAX_FRAME = 336, /* bytes of one function */
	MAX_PROGRAMS = 8,
	SKIPPED = 77,
};

static char log_text[MAX_PROGRAMS][LOG_BYTES];

/* The largest of "a+b+c". */
static unsigned long largest(const char *depths)
{
	unsigned long most = 0;

	for (char *at = (char *)(uintptr_t)depths; *at >= '0' && *at <= '9';) {
		unsigned long depth = strtoul(at, &at, 10);

		most = depth > most ? depth : most;
		if (*at == '+')
			at++;
	}
	return most;
}

/* What the verifier said last: the reason, if it refused the program. */
static const char *last_lines(const char *text)
{
	size_t length = strlen(text);

	return length > LAST_BYTES ? text + length - LAST_BYTES : text;
}

/* Prints and judges one program's log. */
static bool judge(const char *name, const char *text)
{
	const char *walked = strstr(text, "processed ");
	const char *depth = strstr(text, "stack depth ");
	unsigned long n;
	unsigned long frame;

	if (walked == NULL || depth == NULL) {
		printf("%s: the verifier said nothing of it\n", name);
		return false;
	}
	n = strtoul(walked + strlen("processed "), NULL, 10);
	depth += strlen("stack depth ");
	frame = largest(depth);
	printf("%s: %lu instructions walked (limit %d), largest frame %lu bytes (limit %d): %.*s\n",
	       name, n, MAX_WALKED, frame, MAX_FRAME, (int)strcspn(depth, "\n"), depth);
	return n <= MAX_WALKED && frame <= MAX_FRAME;
}

int main(void)
{
	struct sluice_bpf *bpf = sluice_bpf__open();
	struct bpf_program *program;
	bool is_good = true;
	int n = 0;

	if (geteuid() != 0) {
		printf("SKIPPED: loading BPF programs needs root\n");
		return SKIPPED;
	}
	if (bpf == NULL) {
		printf("open: %s\n", strerror(errno));
		return 1;
	}
	for (program = bpf_object__next_program(bpf->obj, NULL);
	     program != NULL && n < MAX_PROGRAMS;
	     program = bpf_object__next_program(bpf->obj, program)) {
		bpf_program__set_log_level(program, LOG_STATS);
		bpf_program__set_log_buf(program, log_text[n++], LOG_BYTES);
	}
	if (sluice_bpf__load(bpf) != 0) {
		printf("load: %s\n", strerror(errno));
		while (n > 0 && log_text[n - 1][0] == '\0')
			n--;
		if (n > 0)
			printf("its log ends with: %s\n", last_lines(log_text[n - 1]));
		is_good = false;
	}
	n = 0;
	for (program = bpf_object__next_program(bpf->obj, NULL);
	     program != NULL && n < MAX_PROGRAMS;
	     program = bpf_object__next_program(bpf->obj, program))
		is_good = judge(bpf_program__name(program), log_text[n++]) && is_good;
	sluice_bpf__destroy(bpf);
	return is_good ? 0 : 1;
}
