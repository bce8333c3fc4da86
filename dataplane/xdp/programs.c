/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
#include "dataplane/xdp/programs.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <sluice/limits.h>

#include "dataplane/xdp/skeleton.h"

static const char *const names[N_PROGRAMS] = {
	[SL_XDP_PROGRAM_REFUSE] = "sl_refuse", [SL_XDP_PROGRAM_ICMP] = "sl_icmp",
	[SL_XDP_PROGRAM_PROXY] = "sl_proxy",   [SL_XDP_PROGRAM_FRAGMENT] = "sl_fragment",
	[SL_XDP_PROGRAM_EGRESS] = "sl_egress", [PROGRAM_BALANCE] = "sl_balance",
	[PROGRAM_SWEEP] = "sl_sweep",          [PROGRAM_ROUTE] = "sl_route",
};

/* Those that take the verifier longest come first, so that no thread is left with one of them. */
static const uint8_t order[N_PROGRAMS] = {
	SL_XDP_PROGRAM_PROXY,  PROGRAM_BALANCE,       SL_XDP_PROGRAM_FRAGMENT, SL_XDP_PROGRAM_ICMP,
	SL_XDP_PROGRAM_EGRESS, SL_XDP_PROGRAM_REFUSE, PROGRAM_SWEEP,           PROGRAM_ROUTE,
};

/* What the threads share. */
struct loading {
	const struct sluice_bpf *tables;
	struct programs *programs;
	unsigned int next; /* in order[]; whose turn it is in a thread that is done */
	int status[N_PROGRAMS];
};

/* In one place: each file that opens it has a copy of its bytes. */
struct sluice_bpf *programs_open(void)
{
	return sluice_bpf__open();
}

void programs_init(struct programs *programs)
{
	for (int i = 0; i < N_PROGRAMS; i++)
		programs->fd[i] = -1;
}

/* Has @object use the maps of @tables, and load the one program. */
static int prepare(struct bpf_object *object, const struct sluice_bpf *tables, const char *name)
{
	struct bpf_program *program;
	struct bpf_map *map;

	for (map = bpf_object__next_map(object, NULL); map != NULL;
	     map = bpf_object__next_map(object, map)) {
		const struct bpf_map *table =
			bpf_object__find_map_by_name(tables->obj, bpf_map__name(map));
		int status = table != NULL ? bpf_map__reuse_fd(map, bpf_map__fd(table)) : -ENOENT;

		if (status != 0)
			return status;
	}
	for (program = bpf_object__next_program(object, NULL); program != NULL;
	     program = bpf_object__next_program(object, program)) {
		bool is_wanted = strcmp(bpf_program__name(program), name) == 0;
		int status = bpf_program__set_autoload(program, is_wanted);

		if (status != 0)
			return status;
	}
	return 0;
}

/* A descriptor of the program, or negative errno. */
static int load_one(const struct sluice_bpf *tables, const char *name)
{
	struct sluice_bpf *bpf = programs_open();
	int result;

	if (bpf == NULL)
		return -errno;
	result = prepare(bpf->obj, tables, name);
	if (result == 0)
		result = bpf_object__load(bpf->obj);
	if (result == 0) {
		const struct bpf_program *program =
			bpf_object__find_program_by_name(bpf->obj, name);

		/* The object takes its own with it. */
		result = fcntl(bpf_program__fd(program), F_DUPFD_CLOEXEC, 0);
		if (result < 0)
			result = -errno;
	}
	sluice_bpf__destroy(bpf);
	return result;
}

static void *load_some(void *data)
{
	struct loading *loading = data;
	unsigned int turn;

	while ((turn = __atomic_fetch_add(&loading->next, 1, __ATOMIC_RELAXED)) < N_PROGRAMS) {
		uint8_t i = order[turn];
		int result = load_one(loading->tables, names[i]);

		loading->programs->fd[i] = result >= 0 ? result : -1;
		loading->status[i] = result >= 0 ? 0 : result;
	}
	return NULL;
}

static unsigned int n_processors(void)
{
	cpu_set_t allowed;

	if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0)
		return 1;
	return (unsigned int)CPU_COUNT(&allowed);
}

static void load_all(struct loading *loading)
{
	pthread_t thread[N_PROGRAMS];
	unsigned int n_wanted = n_processors();
	unsigned int n = 0;

	/* This thread is one of them; if another cannot be made, the rest of them do its work. */
	while (n + 1 < n_wanted && n + 1 < N_PROGRAMS &&
	       pthread_create(&thread[n], NULL, load_some, loading) == 0)
		n++;
	load_some(loading);
	while (n > 0)
		pthread_join(thread[--n], NULL);
}

int programs_load(struct programs *programs, const struct sluice_bpf *tables, char *error)
{
	struct loading loading = {.tables = tables, .programs = programs};

	load_all(&loading);
	for (uint32_t i = 0; i < N_PROGRAMS; i++) {
		int status = loading.status[i];

		if (status == 0 && i < SL_XDP_N_PROGRAMS &&
		    bpf_map_update_elem(bpf_map__fd(tables->maps.programs), &i, &programs->fd[i],
					0) != 0)
			status = -errno;
		if (status == 0)
			continue;
		snprintf(error, SL_MAX_ERROR,
			 "the kernel refuses program %s: %s (Linux 5.18 or later with BPF is "
			 "needed; --log-level debug says more)",
			 names[i], strerror(-status));
		return status;
	}
	return 0;
}

void programs_close(struct programs *programs)
{
	for (int i = 0; i < N_PROGRAMS; i++)
		if (programs->fd[i] >= 0)
			close(programs->fd[i]);
	programs_init(programs);
}
