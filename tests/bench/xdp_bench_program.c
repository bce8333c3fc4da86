/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* See xdp_bench_program.h. */
#include "xdp_bench_program.h"

#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>
#include <linux/if_link.h>

#include <sluice/packet/headers.h>
#include <sluice/wire.h>
#include <sluice/xdp.h>

#include "xdp_bench.skel.h"
#include "xdp_bench_tool.h"

enum {
	N_CHUNKS = 2 + (SL_DEFAULT_SLOTS + SL_XDP_CHUNK_SLOTS - 1) / SL_XDP_CHUNK_SLOTS,
	PORT_FACTOR = 0x9e3779b1,
	SERVICE = 0xc6120001,  /* 198.18.0.1 */
	STRANGER = 0xcb007101, /* 203.0.113.1 */
};

static const uint8_t port_mac[6] = {2, 0, 0, 0, 0, 1};
static const uint8_t peer_mac[6] = {2, 0, 0, 0, 0, 2};

/** Sets element @index of the map to @value. */
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
static void fill_slots(const struct program *program, uint32_t service, uint32_t backend)
{
	LIBBPF_OPTS(bpf_map_create_opts, options, .map_flags = BPF_F_INNER_MAP | BPF_F_MMAPABLE);
	int inner = bpf_map_create(BPF_MAP_TYPE_ARRAY, NULL, sizeof(uint32_t),
				   sizeof(union sl_xdp_chunk), N_CHUNKS, &options);
	union sl_xdp_chunk head = {.head = {.hash_key = {{1, 2}},
					    .n_slots = SL_DEFAULT_SLOTS,
					    .first_member_chunk = N_CHUNKS - 1,
					    .n_candidates = {1, 1},
					    .first_candidate_chunk = {N_CHUNKS - 1, N_CHUNKS - 1},
					    .first_slot_chunk = {1, 1}}};
	union sl_xdp_chunk member = {.member = {backend}};
	uint32_t last = N_CHUNKS - 1;
	uint32_t zero = 0;

	if (inner < 0)
		fail("map of slots: %s", strerror(errno));
	check(bpf_map_update_elem(inner, &zero, &head, BPF_ANY), "head of slots");
	check(bpf_map_update_elem(inner, &last, &member, BPF_ANY), "members");
	set(program->skeleton->maps.slots, service, &inner);
	close(inner);
}

static void add_service(const struct program *program, uint32_t index, uint32_t host,
			uint8_t family, uint8_t protocol)
{
	const struct xdp_bench *bench = program->bench;
	struct xdp_bench_bpf *skeleton = program->skeleton;
	struct sl_service service = {
		.addr = address(family, bench->service, bench->service6, host),
		.port = bench->service_port,
		.protocol = protocol,
		.family = family,
		.n_slots = SL_DEFAULT_SLOTS,
		.n_members = 1,
		.epoch = 1,
		.mode = 1,
		.scheduler = WIRE_SCHEDULER_MAGLEV,
		.flags = SL_SERVICE_STATELESS_REPLIES,
	};
	struct sl_backend backend = {
		.addr = address(family, bench->backend, bench->backend6, host),
		.port = bench->backend_port,
		.family = family,
		.epoch = 1,
		.service = (uint16_t)index,
	};
	struct sl_xdp_endpoint key = {
		.addr = service.addr, .port = service.port, .protocol = protocol, .family = family};

	for (int i = 0; i < SL_N_TIMEOUTS; i++)
		service.timeout_ticks[i] = SL_MAX_TIMEOUT_SEC * SL_TICKS_PER_SEC;
	set(skeleton->maps.services, index, &service);
	set(skeleton->maps.backends, index, &backend);
	fill_slots(program, index, index);
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

static void fill_maps(const struct program *program)
{
	static const uint8_t families[] = {SL_FAMILY_IPV4, SL_FAMILY_IPV6};
	static const uint8_t protocols[] = {SL_PROTOCOL_TCP, SL_PROTOCOL_UDP};
	struct sl_xdp_control *control = &program->skeleton->data_control->control;
	struct sl_xdp_port port = {.ifindex = program->ifindex};
	struct xdp_bench *bench = program->bench;
	struct timespec now;
	uint32_t index = 0;

	bench->service_port = SL_BE16(80);
	bench->backend_port = SL_BE16(8080);
	bench->l4_checksum = 0x1234;
	bench->client = 0x0a000000;  /* 10/8 */
	bench->backend = 0xc6130001; /* 198.19.0.1 */
	bench->client6 = SL_BE32(0xfd010000);
	program_set_strangers(program, false);
	bench->backend6 = SL_BE32(0xfd020000);
	memcpy(bench->mac, port_mac, 6);
	memcpy((uint8_t *)bench->mac + 6, peer_mac, 6);
	clock_gettime(CLOCK_MONOTONIC, &now);
	control->flow_key = (struct sl_hash_key){{0x0706050403020100, 0x0f0e0d0c0b0a0908}};
	control->port_factor = (uint32_t)PORT_FACTOR;
	control->alive_until = (uint32_t)(now.tv_sec + SL_MAX_TIMEOUT_SEC) * SL_TICKS_PER_SEC;
	memcpy(port.mac, port_mac, 6);
	set(program->skeleton->maps.ports, program->ifindex * (uint32_t)PORT_FACTOR >> 24, &port);
	for (uint32_t f = 0; f < SL_ARRAY_LEN(families); f++)
		for (uint32_t p = 0; p < SL_ARRAY_LEN(protocols); p++)
			for (uint32_t host = 0; host < XDP_BENCH_SERVICES; host++)
				add_service(program, index++, host, families[f], protocols[p]);
}

static void attach(const struct bpf_program *program, const char *device)
{
	check(bpf_xdp_attach((int)if_nametoindex(device), bpf_program__fd(program),
			     XDP_FLAGS_SKB_MODE, NULL),
	      device);
}

void program_attach(const struct program *program, int number)
{
	char command[64];
	char device[IFNAMSIZ];
	char peer[IFNAMSIZ];

	snprintf(device, sizeof(device), "vp%d", number);
	snprintf(peer, sizeof(peer), "vq%d", number);
	snprintf(command, sizeof(command), "ip link add %s type veth peer name %s", device, peer);
	if (system(command) != 0)
		fail("cannot make %s", device);
	attach(program->skeleton->progs.bench_empty, device);
	attach(program->skeleton->progs.bench_balance, peer);
}

uint32_t program_n_verified(const struct program *program)
{
	struct bpf_prog_info info = {0};
	uint32_t size = sizeof(info);

	check(bpf_obj_get_info_by_fd(bpf_program__fd(program->skeleton->progs.bench_balance), &info,
				     &size),
	      "program info");
	return info.verified_insns;
}

void program_set_strangers(const struct program *program, bool are_strangers)
{
	program->bench->service = are_strangers ? STRANGER : SERVICE;
	program->bench->service6 = are_strangers ? SL_BE32(0xfd040000) : SL_BE32(0xfd030000);
}

/* As the agent sizes them: one and a half places for each flow that may be. */
static void size_tables(struct program *program, uint32_t n_flows4, uint32_t n_flows6)
{
	struct xdp_bench_bpf *skeleton = program->skeleton;
	uint32_t n_flows = n_flows4 > n_flows6 ? n_flows4 : n_flows6;

	program->n_buckets[0] = n_flows4 / 2 * 3 / SL_XDP_WAYS + 1;
	program->n_buckets[1] = n_flows6 / 2 * 3 / SL_XDP_WAYS + 1;
	skeleton->rodata->n_buckets4 = program->n_buckets[0];
	skeleton->rodata->n_buckets6 = program->n_buckets[1];
	skeleton->rodata->max_flows = n_flows;
	skeleton->rodata->max_embryonic = n_flows;
	check(bpf_map__set_max_entries(skeleton->maps.flows4, program->n_buckets[0] * SL_XDP_WAYS),
	      "flows4");
	check(bpf_map__set_max_entries(skeleton->maps.flows6, program->n_buckets[1] * SL_XDP_WAYS),
	      "flows6");
}

void program_load(struct program *program, uint32_t ifindex, uint32_t n_flows4, uint32_t n_flows6)
{
	const struct rlimit unlimited = {RLIM_INFINITY, RLIM_INFINITY};
	struct xdp_bench_bpf *skeleton;
	struct bpf_program *loaded;

	setrlimit(RLIMIT_MEMLOCK, &unlimited);
	skeleton = xdp_bench_bpf__open();
	if (skeleton == NULL)
		fail("cannot open the program: %s", strerror(errno));
	*program = (struct program){.skeleton = skeleton, .ifindex = ifindex};
	size_tables(program, n_flows4, n_flows6);
	for (loaded = bpf_object__next_program(skeleton->obj, NULL); loaded != NULL;
	     loaded = bpf_object__next_program(skeleton->obj, loaded))
		bpf_program__set_autoload(loaded, loaded == skeleton->progs.bench_empty ||
							  loaded == skeleton->progs.bench_balance);
	check(xdp_bench_bpf__load(skeleton), "cannot load the program");
	program->bench = &skeleton->data_bench->bench;
	for (uint32_t i = 0; i < XDP_BENCH_CPUS; i++)
		program->bench->cursor[i].random = i * 0x9e3779b97f4a7c15ull;
	fill_maps(program);
}

void program_free(struct program *program)
{
	xdp_bench_bpf__destroy(program->skeleton);
	*program = (struct program){.skeleton = NULL};
}

struct xdp_bench_cursor *program_cursor(const struct program *program, int cpu)
{
	return &program->bench->cursor[(uint32_t)cpu % XDP_BENCH_CPUS];
}

void program_aim(const struct program *program, uint32_t n_flows, uint32_t first, uint32_t stride)
{
	for (int i = 0; i < XDP_BENCH_CPUS; i++) {
		struct xdp_bench_cursor *cursor = program_cursor(program, i);

		cursor->n_flows = n_flows;
		cursor->first = first;
		cursor->stride = stride;
		cursor->next = 0;
	}
}

double program_run(const struct program *program, enum program_kind kind, const struct frame *frame,
		   uint32_t n)
{
	const struct bpf_program *bpf = kind == PROGRAM_EMPTY
						? program->skeleton->progs.bench_empty
						: program->skeleton->progs.bench_balance;
	struct xdp_md context = {.data_end = frame->length, .ingress_ifindex = program->ifindex};
	LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = frame->bytes,
		    .data_size_in = frame->length, .ctx_in = &context,
		    .ctx_size_in = sizeof(context), .repeat = (int)n);
	double start = cpu_ns();

	check(bpf_prog_test_run_opts(bpf_program__fd(bpf), &options), "BPF_PROG_TEST_RUN");
	return (cpu_ns() - start) / n;
}

/* The whole table of a family; the caller unmaps it. */
static void *map_table(const struct program *program, bool is_ipv4, size_t *size)
{
	const struct xdp_bench_bpf *skeleton = program->skeleton;
	const struct bpf_map *map = is_ipv4 ? skeleton->maps.flows4 : skeleton->maps.flows6;
	void *table;

	*size = (size_t)program->n_buckets[!is_ipv4] * SL_XDP_WAYS * bpf_map__value_size(map);
	table = mmap(NULL, *size, PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(map), 0);
	if (table == MAP_FAILED)
		fail("%s: %s", bpf_map__name(map), strerror(errno));
	return table;
}

void program_empty_table(const struct program *program, uint8_t family)
{
	bool is_ipv4 = family == SL_FAMILY_IPV4;
	struct xdp_bench_bpf *skeleton = program->skeleton;
	size_t size;
	void *table = map_table(program, is_ipv4, &size);

	memset(table, 0, size);
	munmap(table, size);
	skeleton->data_usage->usage.flows[!is_ipv4] = 0;
	skeleton->data_usage->usage.embryonic[!is_ipv4] = 0;
}

uint32_t program_greatest_lag(const struct program *program, uint32_t now)
{
	uint32_t greatest = 0;
	size_t size;
	struct sl_flow_ipv4 *table = map_table(program, true, &size);

	for (size_t i = 0; i < size / sizeof(*table); i++) {
		const struct sl_flow *flow = &table[i].flow;

		if (flow->state == SL_FLOW_FREE)
			continue;
		if (now - flow->client_next > greatest)
			greatest = now - flow->client_next;
		if (now - flow->backend_next > greatest)
			greatest = now - flow->backend_next;
	}
	munmap(table, size);
	return greatest;
}

uint64_t program_n_flows(const struct program *program, uint8_t family)
{
	return program->skeleton->data_usage->usage.flows[family != SL_FAMILY_IPV4];
}

uint64_t program_n_embryonic(const struct program *program, uint8_t family)
{
	return program->skeleton->data_usage->usage.embryonic[family != SL_FAMILY_IPV4];
}

uint64_t program_n_verdicts(const struct program *program, enum sl_verdict verdict)
{
	int n_cpus = libbpf_num_possible_cpus();
	struct sl_xdp_cpu *cpu = calloc((size_t)n_cpus, sizeof(*cpu));
	uint32_t zero = 0;
	uint64_t sum = 0;

	check(bpf_map_lookup_elem(bpf_map__fd(program->skeleton->maps.cpus), &zero, cpu), "cpus");
	for (int i = 0; i < n_cpus; i++)
		sum += cpu[i].counters.verdict[verdict];
	free(cpu);
	return sum;
}
