/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * Measures what the XDP program costs a packet, beyond a program that does nothing, by
 * BPF_PROG_TEST_RUN: the kernel runs it on a frame whose addresses are each time those of another
 * flow (xdp_bench.bpf.c). Flows are made by the program itself. Prints the table of docs/xdp.md, or
 * JSON with --json; fails if one measured packet was not forwarded as it should be. With --cpus it
 * measures on several CPUs at once (xdp_bench_cpus.h).
 *
 * Needs root, and runs in a network namespace of its own.
 */
#include <getopt.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <sluice/limits.h>

#include "xdp_bench_cpus.h"
#include "xdp_bench_tool.h"
#include "xdp_bench_traffic.h"

enum {
	MAX_FLOWS = SL_DEFAULT_FLOWS,
};

static const char setup[] =
	"set -e\n"
	"ip link add vb0 address 02:00:00:00:00:01 type veth peer name vb1\n"
	"ip link set lo up; ip link set vb0 up; ip link set vb1 up\n"
	"ip address add 172.31.0.1/30 dev vb0\n"
	"ip address add fd00::1/64 dev vb0 nodad\n"
	"ip neighbour add 172.31.0.2 lladdr 02:00:00:00:00:02 dev vb0 nud permanent\n"
	"ip neighbour add fd00::2 lladdr 02:00:00:00:00:02 dev vb0 nud permanent\n"
	"ip route add 10.0.0.0/8 via 172.31.0.2\n"
	"ip route add 198.19.0.0/24 via 172.31.0.2\n"
	"ip route add fd01::/64 via fd00::2\n"
	"ip route add fd02::/64 via fd00::2\n"
	"echo 1 > /proc/sys/net/ipv4/conf/lo/forwarding\n"
	"echo 1 > /proc/sys/net/ipv6/conf/lo/forwarding\n";

struct result {
	double empty_ns; /* medians */
	double ours_ns;
	double cost_ns;     /* of the differences of neighbouring runs */
	double cost_min_ns; /* of the fastest runs: what is left when nobody else disturbs */
};

static int n_rows;

static void print_row(const struct tool *tool, const char *name, uint32_t n_flows,
		      const struct result *r)
{
	progress_end();
	if (tool->is_json)
		printf("%s{\"packet\":\"%s\",\"flows\":%u,\"empty_ns\":%.1f,\"ours_ns\":%.1f,"
		       "\"cost_ns\":%.1f,\"cost_min_ns\":%.1f}",
		       n_rows > 0 ? ",\n" : "", name, n_flows, r->empty_ns, r->ours_ns, r->cost_ns,
		       r->cost_min_ns);
	else
		printf("| %s | %u | %.1f | %.1f | **%.1f** | %.1f |\n", name, n_flows, r->empty_ns,
		       r->ours_ns, r->cost_ns, r->cost_min_ns);
	fflush(stdout);
	n_rows++;
}

static struct result conclude(double *empty, double *ours, int n_runs)
{
	double cost[MAX_RUNS];
	struct result result;

	for (int i = 0; i < n_runs; i++)
		cost[i] = ours[i] - empty[i];
	result.cost_ns = median(cost, n_runs);
	result.empty_ns = median(empty, n_runs);
	result.ours_ns = median(ours, n_runs);
	result.cost_min_ns = ours[0] - empty[0];
	return result;
}

/** Packets of flows that are there, drawn at random; empty and balanced in turn. */
static void measure(const struct tool *tool, const struct program *program,
		    const struct traffic *traffic, uint32_t n_flows)
{
	uint32_t n = (uint32_t)tool->n_repeats;
	double empty[MAX_RUNS];
	double ours[MAX_RUNS];
	struct result result;

	progress(traffic->name, n_flows);
	program_aim(program, n_flows, 0, 1);
	traffic_run(traffic, program, n / 10);
	for (int i = 0; i < tool->n_runs; i++) {
		empty[i] = traffic_run_empty(traffic, program, n);
		ours[i] = traffic_run(traffic, program, n);
	}
	result = conclude(empty, ours, tool->n_runs);
	print_row(tool, traffic->name, n_flows, &result);
}

static void measure_established(const struct tool *tool, const struct program *program,
				const struct traffic *kind, uint32_t n_flows)
{
	struct traffic traffic = *kind;
	char label[64];

	program_aim(program, n_flows, 0, 1);
	traffic_open_flows(&traffic, program, n_flows);
	traffic.name = label;
	traffic.tcp_flags = SL_TCP_ACK;
	snprintf(label, sizeof(label), "%s, forward", kind->name);
	traffic.sequence = 1001;
	traffic.acknowledgement = 2001;
	measure(tool, program, &traffic, n_flows);
	snprintf(label, sizeof(label), "%s, reply", kind->name);
	traffic.is_reply = 1;
	traffic.sequence = 2001;
	traffic.acknowledgement = 1001;
	measure(tool, program, &traffic, n_flows);
}

/** Each packet a new flow's, until the table has @n_flows. */
static void measure_new(const struct tool *tool, const struct program *program,
			const struct traffic *kind, uint32_t n_flows)
{
	struct traffic traffic = *kind;
	double empty[MAX_RUNS];
	double ours[MAX_RUNS];
	struct result result;
	char label[64];

	snprintf(label, sizeof(label), "%s, new flow", kind->name);
	traffic.name = label;
	traffic.tcp_flags = SL_TCP_SYN;
	traffic.is_sequential = 1;
	progress(label, n_flows);
	for (int i = 0; i < tool->n_runs; i++) {
		program_empty_table(program, traffic.family);
		program_aim(program, n_flows, 0, 1);
		empty[i] = traffic_run_empty(&traffic, program, n_flows);
		program_aim(program, n_flows, 0, 1);
		ours[i] = traffic_run(&traffic, program, n_flows);
		if (program_n_flows(program, traffic.family) < n_flows - n_flows / FEW)
			fail("%s: the packets made no flows", label);
	}
	result = conclude(empty, ours, tool->n_runs);
	print_row(tool, label, n_flows, &result);
}

static void measure_stranger(const struct tool *tool, const struct program *program,
			     const struct traffic *kind)
{
	struct traffic stranger = *kind;
	char label[64];

	snprintf(label, sizeof(label), "%s, no service's", kind->name);
	stranger.name = label;
	stranger.is_stranger = 1;
	stranger.tcp_flags = SL_TCP_ACK;
	measure(tool, program, &stranger, tool->max_flows);
}

static void measure_all(const struct tool *tool, const struct program *program)
{
	static const uint32_t sizes[] = {1, 1024, 65536, 1000000};
	static const struct traffic kind[] = {
		{.name = "IPv4 TCP", .family = SL_FAMILY_IPV4, .protocol = SL_PROTOCOL_TCP},
		{.name = "IPv4 UDP", .family = SL_FAMILY_IPV4, .protocol = SL_PROTOCOL_UDP},
		{.name = "IPv6 TCP", .family = SL_FAMILY_IPV6, .protocol = SL_PROTOCOL_TCP},
		{.name = "IPv6 UDP", .family = SL_FAMILY_IPV6, .protocol = SL_PROTOCOL_UDP},
	};
	uint32_t n_new =
		tool->n_repeats < tool->max_flows ? (uint32_t)tool->n_repeats : tool->max_flows;

	for (size_t k = 0; k < SL_ARRAY_LEN(kind); k++)
		if (is_wanted(tool, kind[k].name))
			measure_stranger(tool, program, &kind[k]);
	for (size_t k = 0; k < SL_ARRAY_LEN(kind); k++)
		for (size_t i = 0; i < SL_ARRAY_LEN(sizes) && sizes[i] <= tool->max_flows &&
				   is_wanted(tool, kind[k].name);
		     i++)
			measure_established(tool, program, &kind[k], sizes[i]);
	for (size_t k = 0; k < SL_ARRAY_LEN(kind); k++)
		if (is_wanted(tool, kind[k].name))
			measure_new(tool, program, &kind[k], n_new);
}

/** The program's own cost, on one CPU. */
static void run_alone(const struct tool *tool, double load)
{
	struct program program;

	program_load(&program, tool->ifindex, tool->table_flows, tool->table_flows);
	if (tool->is_json)
		printf("{\"load\":%.2f,\"runs\":%d,\"repeats\":%lu,\"verified\":%u,\"rows\":[\n",
		       load, tool->n_runs, tool->n_repeats, program_n_verified(&program));
	else
		printf("load average %.2f; median of %d runs of %lu packets, ns; the verifier "
		       "looked at "
		       "%u instructions\n\n"
		       "| packet | flows | empty | with ours | ours | least "
		       "|\n|---|---|---|---|---|---|\n",
		       load, tool->n_runs, tool->n_repeats, program_n_verified(&program));
	measure_all(tool, &program);
	if (tool->is_json)
		printf("]");
	program_free(&program);
}

/** The same on several CPUs at once. @is_more: after run_alone(). */
static void run_cpus(const struct tool *tool, double load, bool is_more)
{
	if (tool->is_json && is_more)
		printf(",\n\"cpus\":%d,\"cpu_rows\":[\n", tool->n_cpus);
	else if (tool->is_json)
		printf("{\"load\":%.2f,\"runs\":%d,\"repeats\":%lu,\"cpus\":%d,\"cpu_rows\":[\n",
		       load, tool->n_runs, tool->n_repeats, tool->n_cpus);
	else
		printf("%sload average %.2f; %d CPUs at once, median of %d runs of %lu packets a "
		       "CPU, ns\n\n"
		       "| packet | flows in all | tables | ours | least | to alone | "
		       "to shared, own | at once |\n|---|---|---|---|---|---|---|---|\n",
		       is_more ? "\n" : "", load, tool->n_cpus, tool->n_runs, tool->n_repeats);
	cpus_measure_all(tool);
	if (tool->is_json)
		printf("]");
}

static void enter_namespace(struct tool *tool)
{
	cpu_set_t cpus;

	if (geteuid() != 0) {
		fprintf(stderr, "xdp-bench: needs root\n");
		exit(77);
	}
	/* The last CPU: the first one has most of the interrupts. */
	CPU_ZERO(&cpus);
	CPU_SET((size_t)sysconf(_SC_NPROCESSORS_ONLN) - 1, &cpus);
	sched_setaffinity(0, sizeof(cpus), &cpus);
	check(unshare(CLONE_NEWNET), "network namespace");
	if (system(setup) != 0)
		fail("cannot set up the network namespace");
	tool->ifindex = if_nametoindex("vb0");
}

static void read_load(double *load)
{
	if (getloadavg(load, 1) != 1)
		*load = 0;
	if (*load > 0.5)
		fprintf(stderr, "xdp-bench: the load average is %.2f: others run here, too\n",
			*load);
}

static void usage(FILE *to)
{
	fprintf(to, "usage: xdp-bench [--quick] [--json] [--runs N] [--repeats N] [--only KIND] "
		    "[--table N] [--cpus N]\n"
		    "Measures what the XDP program costs a packet, in nanoseconds. Needs root.\n\n"
		    "  --quick      few packets and flows: to see that it runs\n"
		    "  --json       an array of objects instead of a table\n"
		    "  --runs N     of which the median is taken (9; at most 101)\n"
		    "  --repeats N  packets in a run (1000000)\n"
		    "  --table N    flows that the tables are made for (1048576)\n"
		    "  --only KIND  as \"IPv6 UDP\", say\n"
		    "  --cpus N     on N CPUs at once: shared flow tables against separate ones\n");
}

/* 0, or the exit status plus 1. */
static int read_options(struct tool *tool, bool *is_quick, int argc, char **argv)
{
	static const struct option options[] = {
		{"quick", no_argument, NULL, 'q'},
		{"json", no_argument, NULL, 'j'},
		{"runs", required_argument, NULL, 'n'},
		{"repeats", required_argument, NULL, 'r'},
		{"only", required_argument, NULL, 'o'},
		{"table", required_argument, NULL, 't'},
		{"cpus", required_argument, NULL, 'c'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 'q':
			*is_quick = true;
			tool->max_flows = 65536;
			tool->n_repeats = 10000;
			tool->n_runs = 3;
			break;
		case 'j':
			tool->is_json = true;
			break;
		case 'n':
			tool->n_runs = atoi(optarg);
			break;
		case 'r':
			tool->n_repeats = strtoul(optarg, NULL, 10);
			break;
		case 't':
			tool->table_flows = (uint32_t)strtoul(optarg, NULL, 10);
			break;
		case 'o':
			tool->only = optarg;
			break;
		case 'c':
			tool->n_cpus = atoi(optarg);
			if (tool->n_cpus < 2) {
				usage(stderr);
				return 3;
			}
			break;
		case 'h':
			usage(stdout);
			return 1;
		default:
			usage(stderr);
			return 3;
		}
	}
	if (tool->table_flows < tool->max_flows)
		tool->max_flows = tool->table_flows;
	if (tool->table_flows < 1024 || tool->table_flows > MAX_FLOWS || optind != argc ||
	    tool->n_runs < 1 || tool->n_runs > MAX_RUNS || tool->n_repeats < 10 ||
	    tool->n_repeats > INT32_MAX) {
		usage(stderr);
		return 3;
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct tool tool = {
		.n_repeats = 1000000,
		.n_runs = 9,
		.table_flows = MAX_FLOWS,
		.max_flows = 1000000,
	};
	bool is_quick = false;
	long n_online = sysconf(_SC_NPROCESSORS_ONLN);
	int n_asked;
	int ended = read_options(&tool, &is_quick, argc, argv);
	double load;

	if (ended != 0)
		return ended - 1;
	n_asked = tool.n_cpus;
	if (n_asked > n_online || n_asked > XDP_BENCH_CPUS)
		fail("--cpus %d: at most %ld", n_asked,
		     n_online < XDP_BENCH_CPUS ? n_online : XDP_BENCH_CPUS);
	read_load(&load);
	enter_namespace(&tool);
	if (n_asked == 0)
		run_alone(&tool, load);
	if (n_asked == 0 && is_quick)
		tool.n_cpus = n_online < 2 ? 0 : 2;
	if (tool.n_cpus != 0)
		run_cpus(&tool, load, n_asked == 0);
	if (tool.is_json)
		printf("}\n");
	return 0;
}
