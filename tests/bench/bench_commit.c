/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * Mode commit: Sluice as it is installed, with 1,000 services of 100 backends: how long it takes from a
 * call of the API, or a SIGHUP, until the change is on disk and every worker has it, and the longest turn
 * of the worker's loop meanwhile, beside that of as long a time in which nothing changes: what takes the
 * core away holds up both. The worker polls a port that never has a packet, so its turns are
 * short; sluiced and this process are kept off its core.
 */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <sys/prctl.h>
#include <sys/stat.h>

#include "control/client.h"
#include "tests/bench/bench.h"
#include "tests/bench/bench_api.h"
#include "tests/bench/bench_host.h"
#include "tests/bench/bench_process.h"
#include "tests/bench/bench_report.h"
#include "tests/bench/bench_signal.h"

enum {
	MEMORY_MB = 320,
	N_SERVICES = 1000,
	N_BACKENDS = 100,
	QUICK_SERVICES = 50,
	N_SLOTS = 10007, /* a prime; 100 for each backend */
	MAX_SAMPLES = 100000,
	WAIT_MS = 20000,
	STEP_MS = 5,
	NOBODY = 65534,
	NS_PER_SEC = 1000000000,
};

#define TAP     "commit0"
#define GATEWAY "192.0.2.2"

unsigned int if_nametoindex(const char *name);

static const double DEFAULT_TRIAL_SEC = 3;
static const double QUICK_TRIAL_SEC = 0.2;

enum kind {
	KIND_LOAD,    /* all of the configuration, by SIGHUP */
	KIND_SET,     /* the weight of one backend, again as soon as it was answered */
	KIND_MEMBERS, /* one backend comes, and goes */
};

static const struct commit_case {
	const char *name;
	enum kind kind;
} cases[] = {
	{"load", KIND_LOAD},
	{"one-weight", KIND_SET},
	{"one-backend", KIND_MEMBERS},
};

static const struct bench_column columns[] = {
	{"commit_ms", "change, ms", 2, true},
	{"commit_p99_ms", "p99, ms", 2, false},
	{"per_second", "changes/s", 0, false},
	{"gap_us", "longest turn, us", 1, true},
	{"gap_p99_us", "p99, us", 1, false},
	{"quiet_gap_us", "when nothing changes, us", 1, true},
	{"quiet_gap_p99_us", "p99, us", 1, false},
	{NULL, NULL, 0, false},
};

struct samples {
	double *at;
	uint32_t n;
};

/** A start under way. */
struct run {
	const struct bench_options *options;
	const struct commit_case *wanted;
	struct host host;
	struct process dataplane;
	struct process daemon;
	struct api api;
	struct client *client; /* of the dataplane itself */
	char run_dir[PROCESS_MAX_PATH];
	char config[PROCESS_MAX_PATH];
	uint32_t n_services;
	double trial_sec;
	struct samples change_ms;
	struct samples gap_us;
	struct samples quiet_us;
};

static double now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static void sleep_ms(double ms)
{
	const struct timespec time = {.tv_sec = (time_t)(ms / 1e3),
				      .tv_nsec = (long)((uint64_t)(ms * 1e6) % NS_PER_SEC)};

	nanosleep(&time, NULL);
}

/* ---- Sluice ---- */

static int write_config(const struct run *run, uint32_t n_services)
{
	FILE *file = fopen(run->config, "we");

	if (file == NULL)
		return -errno;
	fprintf(file,
		"run_dir: %s\nstate_dir: %s/state\nuser: nobody\ngroup: nogroup\n"
		"dataplane:\n  engine: dpdk\n  hugepages: \"on\"\n  workers: [%d]\n"
		"  max_workers: 1\n  flows: 65536\n"
		"  ports:\n    - vdev: \"net_null0,no-rx=1\"\n      kernel_interface: " TAP "\n"
		"services:\n",
		run->run_dir, run->run_dir, run->options->cpu);
	for (uint32_t i = 0; i < n_services; i++) {
		fprintf(file,
			"  - name: service%u\n    address: \"203.%u.%u.%u:80/tcp\"\n"
			"    slots: %d\n    backends:\n",
			i, i >> 16, i >> 8 & 255, i & 255, N_SLOTS);
		for (uint32_t k = 0; k < N_BACKENDS; k++)
			fprintf(file, "      - {address: \"10.%u.%u.%u:8080\", weight: 1}\n",
				1 + (i >> 8), i & 255, 1 + k);
	}
	return fclose(file) == 0 ? 0 : -errno;
}

static bool is_alive(struct run *run)
{
	return process_is_alive(&run->dataplane) &&
	       (run->daemon.pid == 0 || process_is_alive(&run->daemon));
}

static bool has_tap(struct run *run SL_UNUSED)
{
	return if_nametoindex(TAP) != 0;
}

static bool has_api(struct run *run)
{
	char path[PROCESS_MAX_PATH + 16];

	snprintf(path, sizeof(path), "%s/control.sock", run->run_dir);
	return api_open(&run->api, path) == 0;
}

/* All services of the configuration are live. */
static bool is_loaded(struct run *run)
{
	json_t *status = api_call(&run->api, "status", NULL);
	bool is_done = json_is_true(json_object_get(status, "in_step")) &&
		       json_integer_value(json_object_get(status, "services")) ==
			       (json_int_t)run->n_services;

	json_decref(status);
	return is_done;
}

static int wait_for(struct run *run, const char *what, bool (*is_done)(struct run *))
{
	for (int waited = 0; waited < WAIT_MS; waited += STEP_MS) {
		if (is_done(run))
			return 0;
		if (signal_has_come())
			return -EINTR;
		if (!is_alive(run))
			return -ECHILD;
		report_progress("waiting for %s", what);
		sleep_ms(STEP_MS);
	}
	report_error("waited %d s for %s", WAIT_MS / 1000, what);
	process_print_log(&run->dataplane);
	return -ETIMEDOUT;
}

/* All backends are behind one neighbour that nobody has to ask for. */
static int configure_kernel(void)
{
	static const char *const command[] = {
		"sh", "-ec",
		"ip link set lo up; ip addr add 192.0.2.1/24 dev " TAP "; ip neigh add " GATEWAY
		" lladdr 02:00:00:00:00:99 dev " TAP
		" nud permanent; ip route add 10.0.0.0/8 via " GATEWAY,
		NULL};

	return process_run(command, NULL) == 0 ? 0 : -EIO;
}

static int make_folders(const struct run *run)
{
	char state[PROCESS_MAX_PATH + 16];

	/* sluiced, which is nobody by then, owns what it keeps. */
	snprintf(state, sizeof(state), "%s/state", run->run_dir);
	if (mkdir(run->run_dir, 0755) == 0 && mkdir(state, 0700) == 0 &&
	    chown(state, NOBODY, NOBODY) == 0)
		return 0;
	report_error("%s: %s", state, strerror(errno));
	return -errno;
}

static int connect_dataplane(struct run *run)
{
	char path[PROCESS_MAX_PATH + 16], error[SL_MAX_ERROR] = "";
	int status;

	snprintf(path, sizeof(path), "%s/dataplane.sock", run->run_dir);
	status = client_connect(path, &run->client, error);
	if (status != 0)
		report_error("%s: %s", path, error);
	return status;
}

/* As whoever runs the two on one host has it done by their service manager. */
static void keep_off(pid_t pid, int cpu)
{
	cpu_set_t cores;

	if (sched_getaffinity(pid, sizeof(cores), &cores) != 0)
		return;
	CPU_CLR((size_t)cpu, &cores);
	if (CPU_COUNT(&cores) != 0)
		(void)!sched_setaffinity(pid, sizeof(cores), &cores);
}

/* Up to where the first service is live. */
static int start_sluice(struct run *run)
{
	char dataplane[PROCESS_MAX_PATH], daemon[PROCESS_MAX_PATH];
	const char *dataplane_command[] = {dataplane, "-c", run->config, NULL};
	const char *daemon_command[] = {daemon, "-c", run->config, NULL};
	int status = make_folders(run);

	process_find("sluice-dpdk", dataplane);
	process_find("sluiced", daemon);
	run->n_services = 1;
	if (status == 0)
		status = write_config(run, 1);
	if (status == 0)
		status = process_start(&run->dataplane, "sluice-dpdk", run->host.folder,
				       dataplane_command);
	if (status == 0)
		status = wait_for(run, "its kernel interface", has_tap);
	if (status == 0)
		status = configure_kernel();
	if (status == 0)
		status = process_start(&run->daemon, "sluiced", run->host.folder, daemon_command);
	if (status == 0)
		keep_off(run->daemon.pid, run->options->cpu);
	if (status == 0)
		status = wait_for(run, "sluiced", has_api);
	if (status == 0)
		status = wait_for(run, "sluiced and the dataplane to be in step", is_loaded);
	return status == 0 ? connect_dataplane(run) : status;
}

/* ---- what is measured ---- */

/* The worker's longest turn since this was last asked, in us. */
static int take_gap(struct run *run, double *gap_us)
{
	struct wire_worker_record worker[SL_MAX_WORKERS];
	uint32_t n = 0;
	int status = client_workers(run->client, true, worker, &n);

	if (status != 0 || n == 0) {
		report_error("workers: %s", client_error(run->client));
		return -EPROTO;
	}
	*gap_us = (double)worker[0].longest_loop_ns / 1e3;
	return 0;
}

static void add_sample(struct samples *samples, double value)
{
	if (samples->n < MAX_SAMPLES)
		samples->at[samples->n++] = value;
}

/* After a change that took from @start on. */
static int end_change(struct run *run, double start)
{
	double gap_us;
	int status;

	add_sample(&run->change_ms, now_ms() - start);
	status = take_gap(run, &gap_us);
	if (status == 0)
		add_sample(&run->gap_us, gap_us);
	return status;
}

static uint32_t n_services(const struct run *run)
{
	return run->options->is_quick ? QUICK_SERVICES : N_SERVICES;
}

static int load(struct run *run, uint32_t n)
{
	double start;
	int status = write_config(run, n);

	if (status != 0)
		return status;
	run->n_services = n;
	start = now_ms();
	kill(run->daemon.pid, SIGHUP);
	status = wait_for(run, "the services to be live", is_loaded);
	return status == 0 ? end_change(run, start) : status;
}

/* A call that has to come true: on disk and with every worker. */
static int change(struct run *run, const char *method, json_t *params)
{
	double start = now_ms();
	json_t *result = api_call(&run->api, method, params);
	bool is_applied = json_is_true(json_object_get(result, "applied"));

	json_decref(result);
	if (!is_applied)
		return -EPROTO;
	return signal_has_come() ? -EINTR : end_change(run, start);
}

static int change_weight(struct run *run, uint32_t i)
{
	return change(run, "backend.set",
		      json_pack("{s:s, s:s, s:i}", "service", "ours", "address", "10.200.0.1:8080",
				"weight", (int)(1 + i % 100)));
}

static int change_members(struct run *run, uint32_t i)
{
	return change(run, i % 2 == 0 ? "backend.add" : "backend.delete",
		      json_pack("{s:s, s:s}", "service", "ours", "address", "10.200.1.1:8080"));
}

/* A service that the API owns, as large as the others. */
static int make_ours(struct run *run)
{
	int status = change(run, "service.add",
			    json_pack("{s:s, s:s, s:i}", "name", "ours", "address",
				      "203.200.0.1:80/tcp", "slots", N_SLOTS));

	for (int i = 1; i < N_BACKENDS && status == 0; i++) {
		char address[32];

		snprintf(address, sizeof(address), "10.200.0.%d:8080", i);
		status = change(run, "backend.add",
				json_pack("{s:s, s:s}", "service", "ours", "address", address));
	}
	return status;
}

static int change_for_a_while(struct run *run, int (*make)(struct run *, uint32_t))
{
	double end = now_ms() + run->trial_sec * 1e3;
	int status = 0;

	for (uint32_t i = 0; status == 0 && now_ms() < end; i++) {
		report_progress("%s: %u changes", run->wanted->name, i);
		status = make(run, i);
	}
	return status;
}

static int measure_changes(struct run *run)
{
	switch (run->wanted->kind) {
	case KIND_LOAD:
		return load(run, n_services(run));
	case KIND_SET:
		return change_for_a_while(run, change_weight);
	case KIND_MEMBERS:
		return change_for_a_while(run, change_members);
	default:
		return -EINVAL;
	}
}

static int prepare(struct run *run)
{
	int status = start_sluice(run);

	if (status != 0 || run->wanted->kind == KIND_LOAD)
		return status;
	status = load(run, n_services(run));
	return status == 0 ? make_ours(run) : status;
}

/* As many times as something was changed, and as long each time, nothing is. */
static int keep_quiet(struct run *run)
{
	double each_ms = report_median(run->change_ms.at, run->change_ms.n);
	double gap_us;
	int status = take_gap(run, &gap_us);

	for (uint32_t i = 0; i < run->change_ms.n && status == 0; i++) {
		sleep_ms(each_ms);
		report_progress("%s: nothing changes", run->wanted->name);
		status = take_gap(run, &gap_us);
		if (status == 0)
			add_sample(&run->quiet_us, gap_us);
	}
	return status;
}

static void set(json_t *result, struct samples *samples, const char *key, const char *p99_key)
{
	json_object_set_new(result, key, json_real(report_median(samples->at, samples->n)));
	/* They are sorted now. */
	json_object_set_new(result, p99_key, json_real(samples->at[(samples->n - 1) * 99 / 100]));
}

static int run_case(struct run *run, json_t *result)
{
	double start, seconds, gap_us;
	int status = prepare(run);

	run->change_ms.n = run->gap_us.n = 0;
	if (status == 0)
		status = take_gap(run, &gap_us);
	start = now_ms();
	if (status == 0)
		status = measure_changes(run);
	seconds = (now_ms() - start) / 1e3;
	if (status == 0)
		status = keep_quiet(run);
	if (status != 0)
		return status;
	set(result, &run->change_ms, "commit_ms", "commit_p99_ms");
	set(result, &run->gap_us, "gap_us", "gap_p99_us");
	set(result, &run->quiet_us, "quiet_gap_us", "quiet_gap_p99_us");
	json_object_set_new(result, "per_second", json_real(run->change_ms.n / seconds));
	json_object_set_new(result, "changes", json_integer(run->change_ms.n));
	return 0;
}

static void stop(struct run *run)
{
	client_free(run->client);
	api_close(&run->api);
	process_stop(&run->daemon);
	process_stop(&run->dataplane);
	host_close(&run->host);
}

static const struct commit_case *find_case(const char *name)
{
	for (size_t i = 0; i < SL_ARRAY_LEN(cases); i++)
		if (strcmp(cases[i].name, name) == 0)
			return &cases[i];
	return NULL;
}

static int measure(const struct bench_options *options, const char *name, json_t *result)
{
	struct run run = {.options = options, .wanted = find_case(name)};
	int status;

	if (run.wanted == NULL) {
		report_error("no such case of mode commit; --list tells");
		return -ENOENT;
	}
	run.trial_sec = options->trial_sec != 0 ? options->trial_sec
			: options->is_quick     ? QUICK_TRIAL_SEC
						: DEFAULT_TRIAL_SEC;
	run.change_ms.at = calloc(MAX_SAMPLES, 3 * sizeof(double));
	if (run.change_ms.at == NULL)
		return -ENOMEM;
	run.gap_us.at = run.change_ms.at + MAX_SAMPLES;
	run.quiet_us.at = run.gap_us.at + MAX_SAMPLES;
	/* Whoever started this one may be killed: then, too, all is to be taken down. */
	signal_hold();
	signal(SIGPIPE, SIG_IGN);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	process_remember_cores();
	keep_off(getpid(), options->cpu);
	status = host_open(&run.host, MEMORY_MB);
	snprintf(run.run_dir, sizeof(run.run_dir), "%s/run", run.host.folder);
	snprintf(run.config, sizeof(run.config), "%s/sluice.yaml", run.host.folder);
	if (status == 0)
		status = run_case(&run, result);
	if (status == -EINTR)
		report_error("interrupted");
	stop(&run);
	free(run.change_ms.at);
	return status;
}

static const char *case_name(uint32_t index)
{
	return index < SL_ARRAY_LEN(cases) ? cases[index].name : NULL;
}

const struct bench_mode bench_commit = {
	.name = "commit",
	.help = "Sluice's time for a change, and how long its worker is held up",
	.n_rounds = 1,
	.column = columns,
	.case_name = case_name,
	.measure = measure,
};
