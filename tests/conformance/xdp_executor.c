/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * The XDP engine as an executor: the real agent with the real program on two veth pairs in a network
 * namespace of its own, where the kernel has the routes and neighbours of the tables. Frames are
 * given to the program by BPF_PROG_TEST_RUN, as if they came in on one of the ports.
 */
#include <errno.h>
#include <event2/event.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>

#include <sluice/packet/reject.h>

#include "dataplane/staging.h"
#include "dataplane/xdp/engine.h"
#include "dataplane/xdp/skeleton.h"
#include "tests/conformance/conformance.h"
#include "tests/conformance/tables.h"

enum {
	N_FLOWS = 4096,
	PATIENCE_SEC = 10,
};

static const char *const device[CONFORMANCE_N_PORTS] = {"client0", "backend0"};
static char run_dir[] = "/tmp/sluice-conformance-XXXXXX";
static struct event_base *base;
static struct dataplane *dataplane;
static struct staging *staging;
static uint8_t *flows4; /* writable, for the reset alone */
static uint8_t *flows6;
static uint8_t *source_flows;

const char *executor_name(void)
{
	return "xdp";
}

static int run(const char *command)
{
	int status = system(command);

	if (status != 0)
		fprintf(stderr, "%s: status %d\n", command, status);
	return status == 0 ? 0 : -EIO;
}

/* Two pairs of veth, whose far ends nobody listens at. */
static int make_devices(void)
{
	int status = run("ip link set lo up");

	if (status == 0)
		status = run("ip link add client0 type veth peer name client1");
	if (status == 0)
		status = run("ip link add backend0 type veth peer name backend1");
	/* The far ends are to be silent: what they say of themselves would be counted. */
	if (status == 0)
		status = run("echo 1 >/proc/sys/net/ipv6/conf/client1/disable_ipv6; "
			     "echo 1 >/proc/sys/net/ipv6/conf/backend1/disable_ipv6; "
			     "ip link set client1 up && ip link set backend1 up");
	return status != 0 ? status : tables_set_up_kernel(device[0], device[1]);
}

static uint8_t *map_writable(const struct bpf_map *map, size_t size)
{
	void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(map), 0);

	return at != MAP_FAILED ? at : NULL;
}

/* Frames of ports that are no veth go back by XDP_TX, from which the port is known. */
static void mark_ports(void)
{
	struct sl_xdp_port *table = dataplane->ports.at;

	for (uint32_t i = 0; i < SL_XDP_PORT_PLACES; i++)
		table[i].is_veth = 0;
}

int executor_open(char *error)
{
	static struct dataplane_options options;
	struct snapshot *snapshot;
	int status;

	if (unshare(CLONE_NEWNET | CLONE_NEWNS) != 0 ||
	    mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 || mkdtemp(run_dir) == NULL) {
		snprintf(error, SL_MAX_ERROR, "namespaces: %s", strerror(errno));
		return -errno;
	}
	status = make_devices();
	if (status != 0)
		return status;
	base = event_base_new();
	staging = staging_new();
	if (base == NULL || staging == NULL)
		return -ENOMEM;
	options.run_dir = run_dir;
	options.n_ports = CONFORMANCE_N_PORTS;
	options.n_workers = 1;
	options.n_flows = N_FLOWS;
	options.n_affinities = SL_DEFAULT_AFFINITIES;
	for (int i = 0; i < CONFORMANCE_N_PORTS; i++) {
		options.port[i].kind = DATAPLANE_PORT_INTERFACE;
		options.port[i].device = device[i];
		snprintf(options.port[i].name, sizeof(options.port[i].name), "%s", device[i]);
	}
	status = dataplane_open(&options, base, &dataplane, error);
	if (status == 0)
		status = dataplane_restore(dataplane, staging, &snapshot, error);
	if (status != 0)
		return status;
	mark_ports();
	flows4 = map_writable(dataplane->bpf->maps.flows4, dataplane->flows4.size);
	flows6 = map_writable(dataplane->bpf->maps.flows6, dataplane->flows6.size);
	source_flows =
		map_writable(dataplane->bpf->maps.source_flows, dataplane->source_flows.size);
	return flows4 != NULL && flows6 != NULL && source_flows != NULL ? 0 : -ENOMEM;
}

static bool backends_are_reachable(void)
{
	const struct snapshot *snapshot = dataplane->snapshot;
	unsigned int n_missing = 0;

	for (uint32_t i = 0; i < snapshot->n_backends; i++) {
		struct wire_backend_counters_record record = {0};

		if (snapshot->backend[i].family == SL_FAMILY_NONE)
			continue;
		dataplane_backend_counters(dataplane, i, &record);
		n_missing += !record.has_neighbour;
	}
	return n_missing == TABLES_N_UNROUTED;
}

int executor_commit(struct snapshot *snapshot)
{
	char error[SL_MAX_ERROR] = "";
	struct snapshot *former = NULL;
	time_t end = time(NULL) + PATIENCE_SEC;
	int status = dataplane_commit(dataplane, snapshot, &former, error);

	if (status != 0) {
		fprintf(stderr, "%s\n", error);
		return status;
	}
	snapshot_free(former);
	do {
		event_base_loop(base, EVLOOP_NONBLOCK);
		if (time(NULL) > end)
			return -ETIMEDOUT;
	} while (!backends_are_reachable());
	/* From here on nothing goes by the clock: the sweep would end flows of deleted backends. */
	event_del(dataplane->turn);
	return 0;
}

static void empty(const struct bpf_map *map)
{
	struct sl_xdp_reply6 key; /* the larger one */

	while (bpf_map_get_next_key(bpf_map__fd(map), NULL, &key) == 0)
		if (bpf_map_delete_elem(bpf_map__fd(map), &key) != 0)
			return;
}

/* Refused packets are answered as if none had been for long. */
static int fill_buckets(void)
{
	static struct sl_reject_bucket zero[SL_XDP_MAX_CPUS];
	int map = bpf_map__fd(dataplane->bpf->maps.reject_buckets);

	for (uint32_t i = 0; i < SL_REJECT_BUCKETS; i++)
		if (bpf_map_update_elem(map, &i, zero, BPF_EXIST) != 0)
			return -errno;
	return 0;
}

int executor_reset_flows(void)
{
	memset(flows4, 0, dataplane->flows4.size);
	memset(flows6, 0, dataplane->flows6.size);
	memset(&dataplane->bpf->data_usage->usage, 0, sizeof(struct sl_xdp_usage));
	memset(source_flows, 0, dataplane->source_flows.size);
	empty(dataplane->bpf->maps.replies4);
	empty(dataplane->bpf->maps.replies6);
	return fill_buckets();
}

int executor_counters(struct wire_counters_reply *reply)
{
	return dataplane_counters(dataplane, WIRE_ALL_WORKERS, reply);
}

void executor_openings(struct sl_backend_openings *sum)
{
	conformance_add_openings(dataplane, dataplane->snapshot, sum);
}

/* The one verdict that @after has more of than @before. */
static int find_verdict(const struct wire_counters_reply *before,
			const struct wire_counters_reply *after, enum sl_verdict *verdict)
{
	uint64_t n = 0;

	for (int i = 0; i < SL_N_VERDICTS; i++) {
		n += after->verdict[i] - before->verdict[i];
		if (after->verdict[i] != before->verdict[i])
			*verdict = (enum sl_verdict)i;
	}
	return n == 1 ? 0 : -EPROTO;
}

/* What the kernel was told to do must be what the verdict says. */
static bool is_action_of(uint32_t action, enum sl_verdict verdict)
{
	if (verdict == SL_VERDICT_FORWARD || verdict == SL_VERDICT_REPLY)
		return action == XDP_TX || action == XDP_REDIRECT;
	if (sl_verdict_is_drop(verdict)) /* or the answer to a refused packet */
		return action == XDP_DROP || action == XDP_TX;
	return action == XDP_PASS;
}

int executor_send(enum conformance_port port, const uint8_t *frame, size_t length,
		  struct executor_result *result)
{
	struct xdp_md context = {.data_end = (uint32_t)length,
				 .ingress_ifindex = dataplane->port[port].ifindex};
	LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = frame, .data_size_in = (uint32_t)length,
		    .data_out = result->out, .data_size_out = sizeof(result->out),
		    .ctx_in = &context, .ctx_size_in = sizeof(context), .repeat = 1);
	struct wire_counters_reply before = {0};
	struct wire_counters_reply after = {0};
	int status;

	if (length < 14)
		return -ENOTSUP;
	status = executor_counters(&before);
	if (status == 0 &&
	    bpf_prog_test_run_opts(dataplane->programs.fd[PROGRAM_BALANCE], &options) != 0)
		status = -errno;
	if (status == 0)
		status = executor_counters(&after);
	if (status == 0)
		status = find_verdict(&before, &after, &result->verdict);
	if (status != 0)
		return status;
	if (!is_action_of(options.retval, result->verdict)) {
		conformance_failed("action", "%u for verdict %d", options.retval,
				   (int)result->verdict);
		return -EPROTO;
	}
	result->port = options.retval == XDP_REDIRECT ? CONFORMANCE_N_PORTS - 1 - port : port;
	result->out_length = options.retval == XDP_DROP ? 0 : options.data_size_out;
	return 0;
}

void executor_close(void)
{
	char error[SL_MAX_ERROR];
	struct dataplane_options options;

	if (dataplane == NULL)
		return;
	options = dataplane->options;
	dataplane_close(dataplane);
	if (dataplane_unload(&options, error) != 0)
		conformance_failed("unload", "%s", error);
	staging_free(staging);
	event_base_free(base);
	rmdir(run_dir);
}
