/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * Measures what the XDP program costs a packet, beyond a program that does nothing, by
 * BPF_PROG_TEST_RUN: the kernel runs it on a frame whose addresses are each time those of another
 * flow (xdp_bench.bpf.c). Flows are made by the program itself. Prints the table of docs/xdp.md, or
 * JSON with --json; fails if one measured packet was not forwarded as it should be.
 *
 * Needs root, and runs in a network namespace of its own.
 */
#include <errno.h>
#include <getopt.h>
#include <net/if.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>

#include <sluice/packet/headers.h>
#include <sluice/xdp.h>

#include "xdp_bench.h"
#include "xdp_bench.skel.h"

enum {
	MAX_RUNS = 101,
	MAX_FLOWS = SL_DEFAULT_FLOWS,
	FEW = 500, /* one flow in so many may find no place in its buckets */
	N_CHUNKS = 2 + (SL_DEFAULT_SLOTS + SL_XDP_CHUNK_SLOTS - 1) / SL_XDP_CHUNK_SLOTS,
	IPV4_FRAME = 64,
	IPV6_FRAME = 74, /* Ethernet, IPv6, TCP */
	PORT_FACTOR = 0x9e3779b1,
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

static const uint8_t port_mac[6] = {2, 0, 0, 0, 0, 1};
static const uint8_t peer_mac[6] = {2, 0, 0, 0, 0, 2};

/** One kind of packet. */
struct traffic {
	const char *name;
	uint8_t family;
	uint8_t protocol;
	uint8_t is_reply;
	uint8_t is_stranger; /* no service's */
	uint8_t tcp_flags;
	uint32_t sequence;
	uint32_t acknowledgement;
};

struct result {
	double empty_ns; /* medians */
	double ours_ns;
	double cost_ns;     /* of the differences of neighbouring runs */
	double cost_min_ns; /* of the fastest runs: what is left when nobody else disturbs */
};

static struct xdp_bench_bpf *skeleton;
static struct xdp_bench *bench;
static uint32_t ifindex;
static uint64_t n_repeats = 1000000;
static int n_runs = 9;
static bool is_json;
static const char *only; /* kind of packet; NULL: all */
static int n_rows;

static void __attribute__((noreturn, format(printf, 1, 2))) fail(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	fprintf(stderr, "xdp-bench: ");
	vfprintf(stderr, format, arguments);
	fprintf(stderr, "\n");
	va_end(arguments);
	exit(1);
}

static void check(int error, const char *what)
{
	if (error != 0)
		fail("%s: %s", what, strerror(error < 0 ? -error : errno));
}

/* Time on the CPU: what other processes took in between is not counted. */
static double cpu_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static int compare_double(const void *left, const void *right)
{
	double a = *(const double *)left;
	double b = *(const double *)right;

	return (a > b) - (a < b);
}

static double median(double *value, int n)
{
	qsort(value, (size_t)n, sizeof(*value), compare_double);
	return n % 2 != 0 ? value[n / 2] : (value[n / 2 - 1] + value[n / 2]) / 2;
}

/** Sets the elements' @member of the map to @value. */
static void set(const struct bpf_map *map, uint32_t index, const void *value)
{
	check(bpf_map_update_elem(bpf_map__fd(map), &index, value, BPF_ANY), bpf_map__name(map));
}

static void set_filter(uint64_t *filter, const union sl_addr *addr, uint8_t family)
{
	uint32_t bit = sl_xdp_filter_bit(addr, family);

	filter[bit >> 6] |= 1ull << (bit & 63);
}

static union sl_addr address(uint8_t family, uint32_t ipv4, be32_t ipv6, uint32_t host)
{
	if (family == SL_FAMILY_IPV4)
		return (union sl_addr){.word = {sl_to_be32(ipv4 + host)}};
	return (union sl_addr){.word = {ipv6, 0, 0, sl_to_be32(host + 1)}};
}

/* All slots are the one backend's; the table is as large as any other. */
static void fill_slots(uint32_t service, uint32_t backend)
{
	LIBBPF_OPTS(bpf_map_create_opts, options, .map_flags = BPF_F_INNER_MAP | BPF_F_MMAPABLE);
	int inner = bpf_map_create(BPF_MAP_TYPE_ARRAY, NULL, sizeof(uint32_t),
				   sizeof(union sl_xdp_chunk), N_CHUNKS, &options);
	union sl_xdp_chunk head = {.head = {.hash_key = {{1, 2}},
					    .n_slots = SL_DEFAULT_SLOTS,
					    .n_members = 1,
					    .first_member_chunk = N_CHUNKS - 1}};
	union sl_xdp_chunk member = {.member = {backend}};
	uint32_t last = N_CHUNKS - 1;
	uint32_t zero = 0;

	if (inner < 0)
		fail("map of slots: %s", strerror(errno));
	check(bpf_map_update_elem(inner, &zero, &head, BPF_ANY), "head of slots");
	check(bpf_map_update_elem(inner, &last, &member, BPF_ANY), "members");
	set(skeleton->maps.slots, service, &inner);
	close(inner);
}

static void add_service(uint32_t index, uint32_t host, uint8_t family, uint8_t protocol)
{
	struct sl_service service = {
		.addr = address(family, bench->service, bench->service6, host),
		.port = bench->service_port,
		.protocol = protocol,
		.family = family,
		.n_slots = SL_DEFAULT_SLOTS,
		.n_members = 1,
		.epoch = 1,
		.mode = 1,
		.stateless_replies = 1,
	};
	struct sl_backend backend = {
		.addr = address(family, bench->backend, bench->backend6, host),
		.port = bench->backend_port,
		.family = family,
		.epoch = 1,
		.service = index,
	};
	struct sl_xdp_endpoint key = {
		.addr = service.addr, .port = service.port, .protocol = protocol, .family = family};

	for (int i = 0; i < SL_N_TIMEOUTS; i++)
		service.timeout_ticks[i] = SL_MAX_TIMEOUT_SEC * SL_TICKS_PER_SEC;
	set(skeleton->maps.services, index, &service);
	set(skeleton->maps.backends, index, &backend);
	fill_slots(index, index);
	check(bpf_map_update_elem(bpf_map__fd(skeleton->maps.service_of), &key, &index, BPF_ANY),
	      "service_of");
	key.port = 0;
	key.protocol = 0;
	check(bpf_map_update_elem(bpf_map__fd(skeleton->maps.service_of), &key, &index, BPF_ANY),
	      "service_of");
	key = (struct sl_xdp_endpoint){
		.addr = backend.addr, .port = backend.port, .protocol = protocol, .family = family};
	check(bpf_map_update_elem(bpf_map__fd(skeleton->maps.backend_of), &key, &index, BPF_ANY),
	      "backend_of");
	set_filter(skeleton->data_control->control.service_filter, &service.addr, family);
	set_filter(skeleton->data_control->control.backend_filter, &backend.addr, family);
}

static void fill_maps(void)
{
	static const uint8_t families[] = {SL_FAMILY_IPV4, SL_FAMILY_IPV6};
	static const uint8_t protocols[] = {SL_PROTOCOL_TCP, SL_PROTOCOL_UDP};
	struct sl_xdp_control *control = &skeleton->data_control->control;
	struct sl_xdp_port port = {.ifindex = ifindex};
	struct timespec now;
	uint32_t index = 0;

	bench->service_port = SL_BE16(80);
	bench->backend_port = SL_BE16(8080);
	bench->l4_checksum = 0x1234;
	bench->client = 0x0a000000;  /* 10/8 */
	bench->service = 0xc6120001; /* 198.18.0.1 */
	bench->backend = 0xc6130001; /* 198.19.0.1 */
	bench->client6 = SL_BE32(0xfd010000);
	bench->service6 = SL_BE32(0xfd030000);
	bench->backend6 = SL_BE32(0xfd020000);
	memcpy(bench->mac, port_mac, 6);
	memcpy((uint8_t *)bench->mac + 6, peer_mac, 6);
	clock_gettime(CLOCK_MONOTONIC, &now);
	control->flow_key = (struct sl_hash_key){{0x0706050403020100, 0x0f0e0d0c0b0a0908}};
	control->port_factor = (uint32_t)PORT_FACTOR;
	control->alive_until = (uint32_t)(now.tv_sec + SL_MAX_TIMEOUT_SEC) * SL_TICKS_PER_SEC;
	memcpy(port.mac, port_mac, 6);
	set(skeleton->maps.ports, ifindex * (uint32_t)PORT_FACTOR >> 24, &port);
	for (uint32_t f = 0; f < SL_ARRAY_LEN(families); f++)
		for (uint32_t p = 0; p < SL_ARRAY_LEN(protocols); p++)
			for (uint32_t host = 0; host < XDP_BENCH_SERVICES; host++)
				add_service(index++, host, families[f], protocols[p]);
}

/** Instructions that the verifier looked at before it let @program in. */
static uint32_t n_verified(const struct bpf_program *program)
{
	struct bpf_prog_info info = {0};
	uint32_t size = sizeof(info);

	check(bpf_obj_get_info_by_fd(bpf_program__fd(program), &info, &size), "program info");
	return info.verified_insns;
}

/* Of either table: as the agent sizes it, one and a half places for each flow that may be. */
static uint32_t n_buckets;
static uint32_t table_flows = MAX_FLOWS;

static void load_program(void)
{
	const struct rlimit unlimited = {RLIM_INFINITY, RLIM_INFINITY};

	setrlimit(RLIMIT_MEMLOCK, &unlimited);
	skeleton = xdp_bench_bpf__open();
	if (skeleton == NULL)
		fail("cannot open the program: %s", strerror(errno));
	n_buckets = table_flows / 2 * 3 / SL_XDP_WAYS + 1;
	skeleton->rodata->n_buckets4 = n_buckets;
	skeleton->rodata->n_buckets6 = n_buckets;
	skeleton->rodata->max_flows = table_flows;
	skeleton->rodata->max_embryonic = table_flows;
	check(bpf_map__set_max_entries(skeleton->maps.flows4, n_buckets * SL_XDP_WAYS), "flows4");
	check(bpf_map__set_max_entries(skeleton->maps.flows6, n_buckets * SL_XDP_WAYS), "flows6");
	bpf_program__set_autoload(skeleton->progs.sl_balance, false);
	bpf_program__set_autoload(skeleton->progs.sl_sweep, false);
	bpf_program__set_autoload(skeleton->progs.sl_route, false);
	check(xdp_bench_bpf__load(skeleton), "cannot load the program");
	bench = &skeleton->data_bench->bench;
}

static void empty_table(uint8_t family)
{
	bool is_ipv4 = family == SL_FAMILY_IPV4;
	const struct bpf_map *map = is_ipv4 ? skeleton->maps.flows4 : skeleton->maps.flows6;
	size_t size = (size_t)n_buckets * SL_XDP_WAYS * bpf_map__value_size(map);
	void *table = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(map), 0);

	if (table == MAP_FAILED)
		fail("%s: %s", bpf_map__name(map), strerror(errno));
	memset(table, 0, size);
	munmap(table, size);
	skeleton->data_usage->usage.flows[!is_ipv4] = 0;
	skeleton->data_usage->usage.embryonic[!is_ipv4] = 0;
}

/** The verdicts of all CPUs. */
static uint64_t n_verdicts(enum sl_verdict verdict)
{
	int n_cpus = libbpf_num_possible_cpus();
	struct sl_xdp_cpu *cpu = calloc((size_t)n_cpus, sizeof(*cpu));
	uint32_t zero = 0;
	uint64_t sum = 0;

	check(bpf_map_lookup_elem(bpf_map__fd(skeleton->maps.cpus), &zero, cpu), "cpus");
	for (int i = 0; i < n_cpus; i++)
		sum += cpu[i].counters.verdict[verdict];
	free(cpu);
	return sum;
}

/** Writes what does not differ from one flow's frame to another's. Its length. */
static uint32_t make_frame(const struct traffic *traffic, uint8_t *frame)
{
	bool is_ipv4 = traffic->family == SL_FAMILY_IPV4;
	uint16_t l4_length = traffic->protocol == SL_PROTOCOL_TCP ? sizeof(struct sl_tcp)
								  : sizeof(struct sl_udp);
	struct sl_ethernet *ethernet = (struct sl_ethernet *)frame;
	struct sl_ipv4 *ipv4 = (struct sl_ipv4 *)(ethernet + 1);
	struct sl_ipv6 *ipv6 = (struct sl_ipv6 *)(ethernet + 1);
	void *l4 = is_ipv4 ? (void *)(ipv4 + 1) : (void *)(ipv6 + 1);

	memset(frame, 0, IPV6_FRAME);
	if (is_ipv4) {
		ethernet->type = SL_BE16(SL_ETHERTYPE_IPV4);
		*ipv4 = (struct sl_ipv4){.version_ihl = 0x45,
					 .total_length =
						 sl_to_be16((uint16_t)(sizeof(*ipv4) + l4_length)),
					 .ttl = 64,
					 .protocol = traffic->protocol};
		bench->checksum_base = sl_checksum_ipv4_base(ipv4);
	} else {
		ethernet->type = SL_BE16(SL_ETHERTYPE_IPV6);
		*ipv6 = (struct sl_ipv6){.version_class_flow = SL_BE32(0x60000000),
					 .payload_length = sl_to_be16(l4_length),
					 .next_header = traffic->protocol};
	}
	if (traffic->protocol == SL_PROTOCOL_TCP)
		*(struct sl_tcp *)l4 =
			(struct sl_tcp){.sequence = sl_to_be32(traffic->sequence),
					.acknowledgement = sl_to_be32(traffic->acknowledgement),
					.offset = 0x50,
					.flags = traffic->tcp_flags};
	else
		*(struct sl_udp *)l4 = (struct sl_udp){.length = SL_BE16(sizeof(struct sl_udp))};
	return is_ipv4 ? IPV4_FRAME : IPV6_FRAME;
}

/** Runs @program on @n packets; nanoseconds a packet. */
static double run(const struct bpf_program *program, const struct traffic *traffic, uint32_t n)
{
	uint8_t frame[IPV6_FRAME];
	uint32_t length = make_frame(traffic, frame);
	struct xdp_md context = {.data_end = length, .ingress_ifindex = ifindex};
	LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = frame, .data_size_in = length,
		    .ctx_in = &context, .ctx_size_in = sizeof(context), .repeat = (int)n);
	double start;

	bench->is_ipv6 = traffic->family == SL_FAMILY_IPV6;
	bench->is_udp = traffic->protocol == SL_PROTOCOL_UDP;
	bench->is_reply = traffic->is_reply;
	bench->service = traffic->is_stranger ? 0xcb007101 : 0xc6120001; /* 203.0.113.1 */
	bench->service6 = traffic->is_stranger ? SL_BE32(0xfd040000) : SL_BE32(0xfd030000);
	start = cpu_ns();
	check(bpf_prog_test_run_opts(bpf_program__fd(program), &options), "BPF_PROG_TEST_RUN");
	return (cpu_ns() - start) / n;
}

/** run() of the balancer: each of the @n packets has to end as it should. */
static double run_ours(const struct traffic *traffic, uint32_t n)
{
	enum sl_verdict expected = traffic->is_stranger ? SL_VERDICT_PUNT_NOT_SERVICE
				   : traffic->is_reply  ? SL_VERDICT_REPLY
							: SL_VERDICT_FORWARD;
	uint64_t before = n_verdicts(expected);
	double ns = run(skeleton->progs.bench_balance, traffic, n);
	uint64_t n_right = n_verdicts(expected) - before;

	if (n_right != n)
		fail("%s: %lu of %u packets ended as they should", traffic->name, n_right, n);
	return ns;
}

static void progress(const char *name, uint32_t n_flows)
{
	if (isatty(STDERR_FILENO))
		fprintf(stderr, "\r%-40s %8u flows ", name, n_flows);
}

static void print_row(const char *name, uint32_t n_flows, const struct result *r)
{
	if (isatty(STDERR_FILENO))
		fprintf(stderr, "\r%60s\r", "");
	if (is_json)
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

static struct result conclude(double *empty, double *ours)
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
static void measure(const struct traffic *traffic, uint32_t n_flows)
{
	double empty[MAX_RUNS];
	double ours[MAX_RUNS];
	struct result result;

	progress(traffic->name, n_flows);
	bench->is_sequential = 0;
	bench->n_flows = n_flows;
	run_ours(traffic, (uint32_t)(n_repeats / 10));
	for (int i = 0; i < n_runs; i++) {
		empty[i] = run(skeleton->progs.bench_empty, traffic, (uint32_t)n_repeats);
		ours[i] = run_ours(traffic, (uint32_t)n_repeats);
	}
	result = conclude(empty, ours);
	print_row(traffic->name, n_flows, &result);
}

static void run_each(const struct traffic *traffic, uint32_t n_flows)
{
	bench->is_sequential = 1;
	bench->next = 0;
	run_ours(traffic, n_flows);
}

/** Makes @n_flows flows as their packets would. @traffic: one packet of the kind in question. */
static void open_flows(const struct traffic *traffic, uint32_t n_flows)
{
	const struct sl_xdp_usage *usage = &skeleton->data_usage->usage;
	bool is_tcp = traffic->protocol == SL_PROTOCOL_TCP;
	bool is_ipv4 = traffic->family == SL_FAMILY_IPV4;
	struct traffic packet = *traffic;

	progress("opening", n_flows);
	empty_table(traffic->family);
	packet.is_reply = 0;
	packet.tcp_flags = SL_TCP_SYN;
	packet.sequence = 1000;
	run_each(&packet, n_flows);
	packet.is_reply = 1;
	packet.tcp_flags = SL_TCP_SYN | SL_TCP_ACK;
	packet.sequence = 2000;
	packet.acknowledgement = 1001;
	run_each(&packet, n_flows);
	if (is_tcp) {
		packet.is_reply = 0;
		packet.tcp_flags = SL_TCP_ACK;
		packet.sequence = 1001;
		packet.acknowledgement = 2001;
		run_each(&packet, n_flows);
	}
	if (usage->flows[!is_ipv4] < n_flows - n_flows / FEW || usage->embryonic[!is_ipv4] != 0)
		fail("%lu flows, %lu of them embryonic, not %u", usage->flows[!is_ipv4],
		     usage->embryonic[!is_ipv4], n_flows);
}

static void measure_established(uint8_t family, uint8_t protocol, const char *name,
				uint32_t n_flows)
{
	struct traffic traffic = {.name = name, .family = family, .protocol = protocol};
	char label[64];

	open_flows(&traffic, n_flows);
	traffic.name = label;
	traffic.tcp_flags = SL_TCP_ACK;
	snprintf(label, sizeof(label), "%s, forward", name);
	traffic.sequence = 1001;
	traffic.acknowledgement = 2001;
	measure(&traffic, n_flows);
	snprintf(label, sizeof(label), "%s, reply", name);
	traffic.is_reply = 1;
	traffic.sequence = 2001;
	traffic.acknowledgement = 1001;
	measure(&traffic, n_flows);
}

/** Each packet a new flow's, until the table has @n_flows. */
static void measure_new(uint8_t family, uint8_t protocol, const char *name, uint32_t n_flows)
{
	const struct traffic traffic = {
		.name = name, .family = family, .protocol = protocol, .tcp_flags = SL_TCP_SYN};
	double empty[MAX_RUNS];
	double ours[MAX_RUNS];
	struct result result;

	progress(name, n_flows);
	bench->is_sequential = 1;
	for (int i = 0; i < n_runs; i++) {
		empty_table(family);
		bench->next = 0;
		empty[i] = run(skeleton->progs.bench_empty, &traffic, n_flows);
		bench->next = 0;
		ours[i] = run_ours(&traffic, n_flows);
		if (skeleton->data_usage->usage.flows[family != SL_FAMILY_IPV4] <
		    n_flows - n_flows / FEW)
			fail("%s: the packets made no flows", name);
	}
	result = conclude(empty, ours);
	print_row(name, n_flows, &result);
}

static bool is_wanted(const char *kind)
{
	return only == NULL || strcmp(only, kind) == 0;
}

static void measure_all(uint32_t max_flows)
{
	static const uint32_t sizes[] = {1, 1024, 65536, 1000000};
	static const struct {
		const char *name;
		uint8_t family;
		uint8_t protocol;
	} kind[] = {
		{"IPv4 TCP", SL_FAMILY_IPV4, SL_PROTOCOL_TCP},
		{"IPv4 UDP", SL_FAMILY_IPV4, SL_PROTOCOL_UDP},
		{"IPv6 TCP", SL_FAMILY_IPV6, SL_PROTOCOL_TCP},
		{"IPv6 UDP", SL_FAMILY_IPV6, SL_PROTOCOL_UDP},
	};
	struct traffic stranger = {.is_stranger = 1, .tcp_flags = SL_TCP_ACK};
	char label[64];

	stranger.name = label;
	for (size_t k = 0; k < SL_ARRAY_LEN(kind); k++) {
		if (!is_wanted(kind[k].name))
			continue;
		stranger.family = kind[k].family;
		stranger.protocol = kind[k].protocol;
		snprintf(label, sizeof(label), "%s, no service's", kind[k].name);
		measure(&stranger, max_flows);
	}
	for (size_t k = 0; k < SL_ARRAY_LEN(kind); k++)
		for (size_t i = 0;
		     i < SL_ARRAY_LEN(sizes) && sizes[i] <= max_flows && is_wanted(kind[k].name);
		     i++)
			measure_established(kind[k].family, kind[k].protocol, kind[k].name,
					    sizes[i]);
	for (size_t k = 0; k < SL_ARRAY_LEN(kind); k++) {
		if (!is_wanted(kind[k].name))
			continue;
		snprintf(label, sizeof(label), "%s, new flow", kind[k].name);
		measure_new(kind[k].family, kind[k].protocol, label,
			    n_repeats < max_flows ? (uint32_t)n_repeats : max_flows);
	}
}

static void enter_namespace(void)
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
	ifindex = if_nametoindex("vb0");
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
		    "[--table N]\n"
		    "Measures what the XDP program costs a packet, in nanoseconds. Needs root.\n\n"
		    "  --quick      few packets and flows: to see that it runs\n"
		    "  --json       an array of objects instead of a table\n"
		    "  --runs N     of which the median is taken (9; at most 101)\n"
		    "  --repeats N  packets in a run (1000000)\n"
		    "  --table N    flows that the tables are made for (1048576)\n"
		    "  --only KIND  as \"IPv6 UDP\", say\n");
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"quick", no_argument, NULL, 'q'},      {"json", no_argument, NULL, 'j'},
		{"runs", required_argument, NULL, 'n'}, {"repeats", required_argument, NULL, 'r'},
		{"only", required_argument, NULL, 'o'}, {"table", required_argument, NULL, 't'},
		{"help", no_argument, NULL, 'h'},       {NULL, 0, NULL, 0},
	};
	uint32_t max_flows = 1000000;
	double load;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 'q':
			max_flows = 65536;
			n_repeats = 10000;
			n_runs = 3;
			break;
		case 'j':
			is_json = true;
			break;
		case 'n':
			n_runs = atoi(optarg);
			break;
		case 'r':
			n_repeats = strtoul(optarg, NULL, 10);
			break;
		case 't':
			table_flows = (uint32_t)strtoul(optarg, NULL, 10);
			break;
		case 'o':
			only = optarg;
			break;
		case 'h':
			usage(stdout);
			return 0;
		default:
			usage(stderr);
			return 2;
		}
	}
	if (table_flows < max_flows)
		max_flows = table_flows;
	if (table_flows < 1024 || table_flows > MAX_FLOWS || optind != argc || n_runs < 1 ||
	    n_runs > MAX_RUNS || n_repeats < 10 || n_repeats > INT32_MAX) {
		usage(stderr);
		return 2;
	}
	read_load(&load);
	enter_namespace();
	load_program();
	fill_maps();
	if (is_json)
		printf("{\"load\":%.2f,\"runs\":%d,\"repeats\":%lu,\"verified\":%u,\"rows\":[\n",
		       load, n_runs, n_repeats, n_verified(skeleton->progs.bench_balance));
	else
		printf("load average %.2f; median of %d runs of %lu packets, ns; the verifier "
		       "looked at "
		       "%u instructions\n\n"
		       "| packet | flows | empty | with ours | ours | least "
		       "|\n|---|---|---|---|---|---|\n",
		       load, n_runs, n_repeats, n_verified(skeleton->progs.bench_balance));
	measure_all(max_flows);
	if (is_json)
		printf("]}\n");
	xdp_bench_bpf__destroy(skeleton);
	return 0;
}
