/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * The XDP engine against the reference: the real agent and program, in network and mount namespaces
 * of their own, and each random frame by BPF_PROG_TEST_RUN. Compared after each frame: what becomes
 * of it, its bytes, the port, and all counters of the CPU; with each change of the tables: every
 * flow, and the counters of services and backends.
 *
 *   diff-xdp [--seed N] [--runs N] [--flows N]
 *
 * Exit status: 0, 1 (a difference, printed), 77 (not root).
 */
#include <errno.h>
#include <ftw.h>
#include <getopt.h>
#include <net/if.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <sys/mount.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "dataplane/explain.h"
#include "dataplane/xdp/engine.h"
#include "dataplane/xdp/skeleton.h"
#include "log/log.h"
#include "tests/fuzz/diff_model.h"
#include "tests/fuzz/diff_world.h"

enum {
	RUNS_A_CHANGE = 3000,   /* at most */
	RUNS_BEFORE_SWEEP = 40, /* at most, in which flows of what was removed are still there */
	HOSTS = 256,
};

static const char *const device[WORLD_N_PORTS] = {"sl-client", "sl-backend"};
static char run_dir[] = "/tmp/diff-xdp-XXXXXX";

static struct event_base *base;
static struct dataplane *dataplane;
static struct dataplane_options options;
static struct world world;
static struct model model;
static struct sl_adjacency adjacency[SL_ADJACENCY_FIRST + WORLD_N_PORTS * HOSTS];
static struct sl_xdp_cpu *cpus; /* as the map has them */
static size_t cpu_stride;
static int cpu;
static uint64_t seed;
static uint64_t n_runs;
static uint32_t flow_limit = 4096;

/* -- next hops, as set_up_kernel() makes them */

static uint32_t on_link(uint32_t port, uint32_t host, uint8_t family)
{
	if (host == 1)
		return SL_ADJACENCY_LOCAL;
	if (family == SL_FAMILY_IPV4 && host == 255)
		return SL_ADJACENCY_NONE;
	if (host < WORLD_FIRST_NEIGHBOUR || host > WORLD_LAST_NEIGHBOUR)
		return SL_ADJACENCY_GLEAN;
	return SL_ADJACENCY_FIRST + port * HOSTS + host;
}

static bool may_be(const uint64_t *filter, const union sl_addr *addr, uint8_t family)
{
	uint32_t bit = sl_xdp_filter_bit(addr, family);

	return (filter[bit / 64] >> (bit % 64) & 1) != 0;
}

/* As the program's filters have it, which keep what is gone for a while. */
static bool may_be_ours(const struct sl_tuple *tuple)
{
	const struct sl_xdp_control *control = dataplane->control;

	return may_be(control->service_filter, &tuple->destination, tuple->family) ||
	       may_be(control->source_filter, &tuple->destination, tuple->family) ||
	       may_be(control->backend_filter, &tuple->source, tuple->family);
}

static bool begins(const union sl_addr *addr, const char *text, size_t size)
{
	union sl_addr prefix;

	inet_pton(strchr(text, ':') != NULL ? AF_INET6 : AF_INET, text, &prefix);
	return memcmp(addr, &prefix, size) == 0;
}

static uint32_t route(const union sl_addr *addr, uint8_t family)
{
	const uint8_t *byte = addr->byte;
	bool is_small = true;

	if (family == SL_FAMILY_IPV4) {
		if (begins(addr, "198.51.100.0", 3))
			return on_link(0, byte[3], family);
		if (begins(addr, "10.0.0.0", 3))
			return on_link(1, byte[3], family);
		if (begins(addr, "192.0.2.0", 3) && byte[3] < 128)
			return on_link(0, 7, family);
		return SL_ADJACENCY_NONE;
	}
	for (int i = 8; i < 15; i++)
		is_small = is_small && byte[i] == 0;
	if (begins(addr, "2001:db8:1::", 8))
		return is_small ? on_link(0, byte[15], family) : SL_ADJACENCY_GLEAN;
	if (begins(addr, "2001:db8:2::", 8))
		return is_small ? on_link(1, byte[15], family) : SL_ADJACENCY_GLEAN;
	if (begins(addr, "2001:db8:3::", 8))
		return on_link(0, 7, family);
	return SL_ADJACENCY_NONE;
}

static void make_adjacencies(void)
{
	for (uint32_t port = 0; port < WORLD_N_PORTS; port++)
		for (uint32_t host = WORLD_FIRST_NEIGHBOUR; host <= WORLD_LAST_NEIGHBOUR; host++) {
			struct sl_adjacency *hop =
				&adjacency[SL_ADJACENCY_FIRST + port * HOSTS + host];

			world_neighbour_mac(port, host, hop->destination_mac);
			world_own_mac(port, hop->source_mac);
			hop->port = (uint16_t)port;
		}
}

__attribute__((format(printf, 2, 3))) static void run(int *status, const char *format, ...)
{
	char command[256];
	va_list values;

	if (*status != 0)
		return;
	va_start(values, format);
	vsnprintf(command, sizeof(command), format, values);
	va_end(values);
	if (system(command) == 0)
		return;
	fprintf(stderr, "failed: %s\n", command);
	*status = -EIO;
}

static const char *format_mac(const uint8_t *mac, char *text)
{
	sprintf(text, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4],
		mac[5]);
	return text;
}

static void set_up_port(int *status, uint32_t port)
{
	static const char *const prefix[WORLD_N_PORTS][2] = {{"198.51.100.", "2001:db8:1::"},
							     {"10.0.0.", "2001:db8:2::"}};
	const char *name = device[port];
	uint8_t mac[6];
	char text[20];

	world_own_mac(port, mac);
	run(status, "ip link add %s address %s type veth peer name peer%u", name,
	    format_mac(mac, text), port);
	/* Silent: no addresses of their own making, and a peer that says nothing at all. */
	run(status, "echo 1 > /proc/sys/net/ipv6/conf/peer%u/disable_ipv6", port);
	run(status, "echo 1 > /proc/sys/net/ipv6/conf/%s/addr_gen_mode", name);
	run(status, "echo 0 > /proc/sys/net/ipv6/conf/%s/accept_ra", name);
	run(status, "ip link set peer%u arp off up", port);
	run(status, "ip link set %s up", name);
	run(status, "ip address add %s1/24 dev %s", prefix[port][0], name);
	run(status, "ip address add %s1/64 dev %s nodad", prefix[port][1], name);
	for (uint32_t host = WORLD_FIRST_NEIGHBOUR; host <= WORLD_LAST_NEIGHBOUR; host++) {
		world_neighbour_mac(port, host, mac);
		format_mac(mac, text);
		run(status, "ip neigh replace %s%u lladdr %s nud permanent dev %s", prefix[port][0],
		    host, text, name);
		run(status, "ip neigh replace %s%x lladdr %s nud permanent dev %s", prefix[port][1],
		    host, text, name);
	}
}

static int set_up_kernel(void)
{
	int status = 0;

	run(&status, "ip link set dev lo up");
	for (uint32_t port = 0; port < WORLD_N_PORTS; port++)
		set_up_port(&status, port);
	run(&status, "ip route add 192.0.2.0/25 via 198.51.100.7");
	run(&status, "ip route add 2001:db8:3::/64 via 2001:db8:1::7");
	return status;
}

/* -- the engine */

static int engine_open(char *error)
{
	struct staging *unused = staging_new();
	struct snapshot *snapshot = NULL;
	int status;

	options.run_dir = run_dir;
	options.n_ports = WORLD_N_PORTS;
	options.n_workers = 1;
	options.n_flows = flow_limit;
	options.n_affinities = SL_DEFAULT_AFFINITIES;
	for (uint32_t i = 0; i < WORLD_N_PORTS; i++) {
		options.port[i].kind = DATAPLANE_PORT_INTERFACE;
		options.port[i].device = device[i];
		snprintf(options.port[i].name, sizeof(options.port[i].name), "%s", device[i]);
	}
	base = event_base_new();
	if (unused == NULL || base == NULL || mkdtemp(run_dir) == NULL)
		return -ENOMEM;
	status = dataplane_open(&options, base, &dataplane, error);
	if (status == 0)
		status = dataplane_restore(dataplane, unused, &snapshot, error);
	staging_free(unused);
	/* As ports that are no veth: by which port a frame goes, the action tells. */
	for (uint32_t i = 0; status == 0 && i < SL_XDP_PORT_PLACES; i++)
		((struct sl_xdp_port *)dataplane->ports.at)[i].is_veth = 0;
	return status;
}

static void engine_shut(void)
{
	char error[SL_MAX_ERROR];

	if (dataplane != NULL) {
		dataplane_close(dataplane);
		if (dataplane_unload(&options, error) != 0)
			fprintf(stderr, "%s\n", error);
	}
	if (base != NULL)
		event_base_free(base);
	rmdir(run_dir);
}

static const struct sl_counters *read_counters(void)
{
	uint32_t zero = 0;

	if (bpf_map_lookup_elem(bpf_map__fd(dataplane->bpf->maps.cpus), &zero, cpus) != 0) {
		perror("counters");
		exit(1);
	}
	return &((const struct sl_xdp_cpu *)((const uint8_t *)cpus + (size_t)cpu * cpu_stride))
			->counters;
}

struct outcome {
	uint32_t action;
	uint32_t length;
	uint8_t bytes[WORLD_MAX_FRAME];
};

static void engine_run(const struct frame *frame, struct outcome *outcome)
{
	struct xdp_md context = {.data_end = frame->length,
				 .ingress_ifindex = dataplane->port[frame->port].ifindex};
	LIBBPF_OPTS(bpf_test_run_opts, test, .data_in = frame->bytes, .data_size_in = frame->length,
		    .data_out = outcome->bytes, .data_size_out = sizeof(outcome->bytes),
		    .ctx_in = &context, .ctx_size_in = sizeof(context), .repeat = 1);

	if (bpf_prog_test_run_opts(dataplane->programs.fd[PROGRAM_BALANCE], &test) != 0) {
		fprintf(stderr, "BPF_PROG_TEST_RUN of %u bytes: %s\n", frame->length,
			strerror(errno));
		exit(1);
	}
	outcome->action = test.retval;
	outcome->length = test.data_size_out;
}

/* -- comparison */

static const char *const verdict_names[] = {
#define X(upper, lower, help) #lower,
	SL_VERDICT_LIST(X)
#undef X
};
static const char *const event_names[] = {
#define X(upper, lower, unit, help) #lower,
	SL_EVENT_LIST(X)
#undef X
};

static void print_bytes(const char *what, const uint8_t *bytes, uint32_t length)
{
	fprintf(stderr, "%-8s %4u ", what, length);
	for (uint32_t i = 0; i < length; i++)
		fprintf(stderr, "%02x", bytes[i]);
	fputc('\n', stderr);
}

static void print_counter(const char *name, uint64_t wanted, uint64_t found)
{
	if (wanted != found)
		fprintf(stderr, "%-24s %llu wanted, %llu found\n", name, (unsigned long long)wanted,
			(unsigned long long)found);
}

static void print_where(uint64_t i, const char *what)
{
	fprintf(stderr, "DIFFERENCE: %s, run %llu (--seed %llu --runs %llu --flows %u)\n", what,
		(unsigned long long)i, (unsigned long long)seed, (unsigned long long)n_runs,
		flow_limit);
}

static uint32_t action_of(enum sl_verdict verdict, uint32_t in_port, uint32_t out_port)
{
	if (sl_verdict_is_drop(verdict))
		return XDP_DROP;
	if (sl_verdict_is_punt(verdict))
		return XDP_PASS;
	return in_port == out_port ? XDP_TX : XDP_REDIRECT;
}

static bool engine_has(const struct sl_flow *flow)
{
	struct sl_tuple tuple = sl_flow_tuple(flow, SL_DIRECTION_FORWARD);
	struct sl_flow_ipv6 found;
	enum sl_direction direction;

	return engine_find_flow(dataplane, &tuple, &found, &direction);
}

/* One frame through both. */
static bool compare_frame(uint64_t i, struct sl_counters *before)
{
	static struct frame frame;
	static struct frame wanted;
	static struct outcome found;
	const struct sl_counters *after;
	enum sl_verdict verdict;
	uint32_t out_port;
	uint32_t action;
	struct model_leave leave;
	struct timespec clock;
	bool is_answered;

	world_frame(&world, &frame);
	engine_run(&frame, &found);
	after = read_counters();
	leave.has_room =
		after->event[SL_EVENT_FLOW_TABLE_FULL] == before->event[SL_EVENT_FLOW_TABLE_FULL];
	leave.may_answer =
		after->event[SL_EVENT_REFUSAL_LIMITED] == before->event[SL_EVENT_REFUSAL_LIMITED];
	leave.has_room_for_datagram = after->verdict[SL_VERDICT_DROP_FRAGMENT_FULL] ==
				      before->verdict[SL_VERDICT_DROP_FRAGMENT_FULL];
	clock_gettime(CLOCK_MONOTONIC_COARSE, &clock);
	leave.now = sl_xdp_ticks((uint64_t)clock.tv_sec * 1000000000 + (uint64_t)clock.tv_nsec);
	wanted.length = frame.length;
	memcpy(wanted.bytes, frame.bytes, frame.length);
	verdict = model_packet(&model, frame.port, wanted.bytes, &wanted.length, &leave, &out_port,
			       &is_answered);
	/* Before the sweep, a flow of what was removed may have made room for a new one. */
	if (after->event[SL_EVENT_FLOW_ENDED] != model.counters.event[SL_EVENT_FLOW_ENDED])
		model_sweep(&model, engine_has);
	action = is_answered ? XDP_TX : action_of(verdict, frame.port, out_port);
	/* What a dropped frame was made into before is nobody's concern. */
	if (action == found.action &&
	    (action == XDP_DROP || (found.length == wanted.length &&
				    memcmp(found.bytes, wanted.bytes, wanted.length) == 0)) &&
	    memcmp(after, &model.counters, sizeof(*after)) == 0) {
		*before = *after;
		world_heard(&world, found.bytes, found.length, verdict);
		return true;
	}
	print_where(i, "frame");
	fprintf(stderr, "port %u, %s to port %u; action %u wanted, %u found\n", frame.port,
		verdict_names[verdict], out_port, action, found.action);
	for (int j = 0; j < SL_N_VERDICTS; j++)
		print_counter(verdict_names[j], model.counters.verdict[j], after->verdict[j]);
	for (int j = 0; j < SL_N_EVENTS; j++)
		print_counter(event_names[j], model.counters.event[j], after->event[j]);
	print_bytes("frame", frame.bytes, frame.length);
	print_bytes("wanted", wanted.bytes, wanted.length);
	print_bytes("found", found.bytes, found.length);
	return false;
}

/* All but what the table and the clock put into a flow. */
static bool same_flow(const struct sl_flow *a, const struct sl_flow *b)
{
	struct sl_tuple reply = sl_flow_tuple(b, SL_DIRECTION_REPLY);

	return sl_flow_matches(a, &reply, SL_DIRECTION_REPLY) && a->state == b->state &&
	       a->flags == b->flags && a->service == b->service && a->backend == b->backend &&
	       a->service_epoch == b->service_epoch && a->backend_epoch == b->backend_epoch &&
	       a->client_next == b->client_next &&
	       (a->backend_next == b->backend_next || sl_flow_is_awaited(b));
}

static void print_flow(const char *what, const struct sl_flow *flow)
{
	fprintf(stderr,
		"%s: state %u flags %02x service %u/%u backend %u/%u next %08x %08x family %u "
		"protocol %u ports %u %u %u %u\n",
		what, flow->state, flow->flags, flow->service, flow->service_epoch, flow->backend,
		flow->backend_epoch, flow->client_next, flow->backend_next, flow->family,
		flow->protocol, sl_from_be16(flow->client_port), sl_from_be16(flow->service_port),
		sl_from_be16(flow->backend_port), sl_from_be16(flow->source_port));
}

static bool compare_flows(uint64_t i)
{
	const struct sl_xdp_usage *usage = dataplane->usage;
	bool is_same = true;

	for (uint32_t j = 0; j < model.n && is_same; j++) {
		const struct sl_flow *wanted = &model.flow[j].flow;
		struct sl_tuple tuple = sl_flow_tuple(wanted, SL_DIRECTION_FORWARD);
		struct sl_flow_ipv6 found = {.flow = {.state = SL_FLOW_FREE}};
		enum sl_direction direction;

		is_same = engine_find_flow(dataplane, &tuple, &found, &direction) &&
			  direction == SL_DIRECTION_FORWARD && same_flow(&found.flow, wanted);
		if (!is_same) {
			print_where(i, "flow");
			print_flow("wanted", wanted);
			print_flow("found", &found.flow);
		}
	}
	for (int j = 0; j < 2; j++)
		is_same = is_same && usage->flows[j] == model.n_flows[j] &&
			  usage->embryonic[j] == model.n_embryonic[j];
	if (!is_same) {
		print_where(i, "flows");
		for (int j = 0; j < 2; j++) {
			print_counter("flows", model.n_flows[j], usage->flows[j]);
			print_counter("embryonic", model.n_embryonic[j], usage->embryonic[j]);
		}
	}
	return is_same;
}

static bool compare_counters(uint64_t i)
{
	bool is_same = true;

	for (uint32_t j = 0; j < model.snapshot->n_services; j++) {
		struct wire_service_counters_reply found = {0};

		if (model.snapshot->service[j].family == SL_FAMILY_NONE)
			continue;
		dataplane_service_counters(dataplane, j, &found);
#define X(name, unit, help) is_same = is_same && found.name == model.service[j].name;
		SL_SERVICE_COUNTER_LIST(X)
#undef X
	}
	for (uint32_t j = 0; j < model.snapshot->n_backends; j++) {
		struct wire_backend_counters_record found = {.port = 0};

		if (model.snapshot->backend[j].family == SL_FAMILY_NONE)
			continue;
		dataplane_backend_counters(dataplane, j, &found);
#define X(name, unit, help) is_same = is_same && found.name == model.backend[j].name;
		SL_BACKEND_TRAFFIC_LIST(X)
#undef X
#define X(name, unit, help) is_same = is_same && found.name == model.openings[j].name;
		SL_BACKEND_OPENING_LIST(X)
#undef X
		is_same = is_same && found.flows_open == model_open_flows(&model, j);
	}
	if (!is_same)
		print_where(i, "counters of services and backends");
	return is_same;
}

/* -- the loop */

static int change(void)
{
	char error[SL_MAX_ERROR] = "";
	struct snapshot *snapshot = NULL;
	struct snapshot *former = NULL;
	int status = world_change(&world, model.snapshot, &snapshot, error);

	if (status == 0)
		status = dataplane_commit(dataplane, snapshot, &former, error);
	if (status != 0) {
		fprintf(stderr, "tables: %s: %s\n", strerror(-status), error);
		return status;
	}
	model.snapshot = snapshot;
	snapshot_free(former);
	return 0;
}

/* Twice, as often as it takes until the agent forgets addresses that it saw removed. */
static void sweep(void)
{
	/* Not each time: what the kernel tells also has kept next hops asked for anew. */
	if (world.generation % 4 == 0)
		event_base_loop(base, EVLOOP_NONBLOCK);
	tables_sweep(dataplane);
	tables_sweep(dataplane);
	model_sweep(&model, NULL);
}

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void say(uint64_t i, uint64_t start_ms)
{
	uint64_t ms = now_ms() - start_ms;

	printf("%llu of %llu, %llu/s, %u flows, generation %llu\n", (unsigned long long)i,
	       (unsigned long long)n_runs, (unsigned long long)(i * 1000 / (ms + 1)), model.n,
	       (unsigned long long)world.generation);
	fflush(stdout);
}

static bool compare_all(void)
{
	struct sl_counters before = {.verdict = {0}};
	uint64_t start_ms = now_ms();
	uint64_t said_ms = start_ms;
	uint64_t next_change = 0;
	uint64_t next_sweep = 0;

	for (uint64_t i = 0; i < n_runs; i++) {
		if (i == next_change) {
			if (!compare_flows(i) || change() != 0)
				return false;
			next_change += 100 + random_next(&world.random) % RUNS_A_CHANGE;
			next_sweep = i + random_next(&world.random) % RUNS_BEFORE_SWEEP;
		}
		if (i == next_sweep) {
			sweep();
			if (!compare_flows(i) || !compare_counters(i))
				return false;
			before = *read_counters();
		}
		if (!compare_frame(i, &before))
			return false;
		if (now_ms() - said_ms >= 2000) {
			said_ms = now_ms();
			say(i + 1, start_ms);
		}
	}
	sweep();
	say(n_runs, start_ms);
	for (int i = 0; i < SL_N_VERDICTS; i++)
		if (model.counters.verdict[i] != 0)
			printf("%-24s %llu\n", verdict_names[i],
			       (unsigned long long)model.counters.verdict[i]);
	for (int i = 0; i < SL_N_EVENTS; i++)
		if (model.counters.event[i] != 0)
			printf("%-24s %llu\n", event_names[i],
			       (unsigned long long)model.counters.event[i]);
	return compare_flows(n_runs) && compare_counters(n_runs);
}

static int set_up(void)
{
	char error[SL_MAX_ERROR] = "";
	cpu_set_t set;
	int status = 0;

	if (unshare(CLONE_NEWNET | CLONE_NEWNS) != 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
		return -errno;
	cpu = sched_getcpu();
	CPU_ZERO(&set);
	CPU_SET((size_t)cpu, &set);
	if (cpu < 0 || sched_setaffinity(0, sizeof(set), &set) != 0)
		return -errno;
	status = world_init(&world, seed);
	if (status == 0)
		status = set_up_kernel();
	if (status == 0)
		status = engine_open(error);
	if (status != 0) {
		fprintf(stderr, "%s\n", error);
		return status;
	}
	make_adjacencies();
	cpu_stride = (sizeof(struct sl_xdp_cpu) + 7) / 8 * 8;
	cpus = calloc(dataplane->n_cpus, cpu_stride);
	model.route = route;
	model.may_be_ours = may_be_ours;
	model.adjacency = adjacency;
	model.max_flows = dataplane->max_flows;
	model.max_embryonic = dataplane->bpf->rodata->max_embryonic;
	for (uint32_t i = 0; i < WORLD_N_PORTS; i++)
		world_own_mac(i, model.mac[i]);
	return cpus != NULL ? 0 : -ENOMEM;
}

static bool read_arguments(int argc, char **argv)
{
	static const struct option known[] = {{"seed", required_argument, NULL, 's'},
					      {"runs", required_argument, NULL, 'r'},
					      {"flows", required_argument, NULL, 'f'},
					      {NULL, 0, NULL, 0}};
	int option;

	seed = (uint64_t)time(NULL);
	n_runs = 1000000;
	while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
		if (option == 's')
			seed = strtoull(optarg, NULL, 0);
		else if (option == 'r')
			n_runs = strtoull(optarg, NULL, 0);
		else if (option == 'f')
			flow_limit = (uint32_t)strtoul(optarg, NULL, 0);
		else
			return false;
	}
	return optind == argc && 2 * flow_limit <= MODEL_MAX_FLOWS;
}

int main(int argc, char **argv)
{
	bool is_same;
	int status;

	if (!read_arguments(argc, argv)) {
		fprintf(stderr, "usage: diff-xdp [--seed N] [--runs N] [--flows N (limit %d)]\n",
			MODEL_MAX_FLOWS / 2);
		return 2;
	}
	if (geteuid() != 0) {
		fprintf(stderr, "SKIPPED: diff-xdp needs root (network namespace, BPF)\n");
		return 77;
	}
	log_open("diff-xdp", LOG_LEVEL_WARN);
	printf("seed %llu\n", (unsigned long long)seed);
	fflush(stdout);
	status = set_up();
	if (status != 0) {
		fprintf(stderr, "set-up: %s\n", strerror(-status));
		engine_shut();
		return 1;
	}
	is_same = compare_all();
	engine_shut();
	free(cpus);
	world_fini(&world);
	return is_same ? 0 : 1;
}
