/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * The executor of the DPDK engine: the whole of it, with a worker in its loop, TAPs, and routes by
 * netlink, in a network namespace of its own. Only the devices are ours: net_ring ports, whose
 * receive ring is filled and whose transmit ring is emptied here. A net_ring of the command line is
 * a loopback, so the devices are made from rings as soon as DPDK is up (the linker puts
 * __wrap_rte_eal_init() in the place of rte_eal_init()), and the engine finds them by name.
 *
 * A verdict is what the counters say after the frame; a sent frame is the very buffer that went in;
 * a punted one is read from the TAP by a packet socket.
 */
#include <errno.h>
#include <ftw.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <event2/event.h>
#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_eth_ring.h>
#include <rte_launch.h>

#include "dataplane/dpdk/engine.h"
#include "tests/conformance/conformance.h"
#include "tests/conformance/dpdk_executor.h"
#include "tests/conformance/tables.h"

enum {
	N_FLOWS = 4096,
	PATIENCE_MS = 5000, /* a busy machine is no failure */
};

struct device devices[CONFORMANCE_N_PORTS] = {
	[CONFORMANCE_PORT_CLIENT] = {.ring_name = "client", .kernel_interface = "sl-client"},
	[CONFORMANCE_PORT_BACKEND] = {.ring_name = "backend", .kernel_interface = "sl-backend"},
};

static struct event_base *base;
struct dataplane *dataplane;
static char run_dir[] = "/tmp/conformance-dpdk-XXXXXX";

int __real_rte_eal_init(int argc, char **argv);
int __wrap_rte_eal_init(int argc, char **argv);

static int device_make(struct device *device)
{
	struct rte_ether_addr mac;
	char name[RTE_RING_NAMESIZE];
	int port;

	snprintf(name, sizeof(name), "%s_rx", device->ring_name);
	device->rx = rte_ring_create(name, DEVICE_RING_SIZE, SOCKET_ID_ANY, 0);
	snprintf(name, sizeof(name), "%s_tx", device->ring_name);
	device->tx = rte_ring_create(name, DEVICE_RING_SIZE, SOCKET_ID_ANY, 0);
	if (device->rx == NULL || device->tx == NULL)
		return -ENOMEM;
	port = rte_eth_from_rings(device->ring_name, &device->rx, 1, &device->tx, 1, 0);
	if (port < 0)
		return -ENODEV;
	memcpy(mac.addr_bytes, tables_own_mac, 6);
	/* The driver cannot change its address, which is zero, and so the free place for a first one. */
	return rte_eth_dev_mac_addr_add((uint16_t)port, &mac, 0);
}

int __wrap_rte_eal_init(int argc, char **argv)
{
	int status = __real_rte_eal_init(argc, argv);

	for (int i = 0; i < CONFORMANCE_N_PORTS && status >= 0; i++)
		if (device_make(&devices[i]) != 0) {
			fprintf(stderr, "net_ring_%s cannot be made\n", devices[i].ring_name);
			status = -1;
		}
	return status;
}

const char *executor_name(void)
{
	return "dpdk";
}

bool is_over(uint64_t start_tsc)
{
	return (rte_rdtsc() - start_tsc) / (rte_get_tsc_hz() / 1000) > PATIENCE_MS;
}

static int packet_socket_open(struct device *device)
{
	struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
	const int one = 1;
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	device->packet_socket = fd;
	address.sll_ifindex = (int)if_nametoindex(device->kernel_interface);
	if (fd < 0 || setsockopt(fd, SOL_PACKET, PACKET_AUXDATA, &one, sizeof(one)) != 0 ||
	    setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof(one)) != 0 ||
	    bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0)
		return -errno;
	return 0;
}

int executor_open(char *error)
{
	struct dataplane_options options = {.n_ports = CONFORMANCE_N_PORTS,
					    .n_workers = 1,
					    .core = {-1},
					    .n_flows = N_FLOWS,
					    .n_affinities = SL_DEFAULT_AFFINITIES,
					    .hugepages = DATAPLANE_HUGEPAGES_OFF};
	static char device_name[CONFORMANCE_N_PORTS][32];
	int status;

	if (unshare(CLONE_NEWNET) != 0)
		return -errno;
	options.run_dir = mkdtemp(run_dir);
	base = event_base_new();
	if (options.run_dir == NULL || base == NULL)
		return -ENOMEM;
	for (int i = 0; i < CONFORMANCE_N_PORTS; i++) {
		struct dataplane_port_options *port = &options.port[i];

		port->kind = DATAPLANE_PORT_VDEV;
		snprintf(device_name[i], sizeof(device_name[i]), "net_ring_%s",
			 devices[i].ring_name);
		port->device = device_name[i];
		snprintf(port->name, sizeof(port->name), "%s", devices[i].ring_name);
		snprintf(port->kernel_interface, sizeof(port->kernel_interface), "%s",
			 devices[i].kernel_interface);
	}
	status = dataplane_open(&options, base, &dataplane, error);
	if (status == 0)
		status = tables_set_up_kernel(devices[CONFORMANCE_PORT_CLIENT].kernel_interface,
					      devices[CONFORMANCE_PORT_BACKEND].kernel_interface);
	for (int i = 0; i < CONFORMANCE_N_PORTS && status == 0; i++)
		status = packet_socket_open(&devices[i]);
	/* Nothing goes by the clock: the sweep would end flows of deleted backends. */
	if (status == 0)
		__atomic_store_n(&dataplane->worker[0]->sweep_tsc_per_entry, UINT64_MAX,
				 __ATOMIC_RELEASE);
	return status;
}

static bool backends_are_reachable(void)
{
	const struct snapshot *snapshot = dataplane->snapshot;
	unsigned int n_missing = 0;

	for (uint32_t i = 0; i < snapshot->n_backends; i++) {
		const struct sl_backend *backend = &snapshot->backend[i];

		n_missing += backend->family != SL_FAMILY_NONE && !backend->is_outside &&
			     !dataplane->adjacency[backend->adjacency].is_valid;
	}
	return n_missing == TABLES_N_UNROUTED;
}

int executor_commit(struct snapshot *snapshot)
{
	char error[SL_MAX_ERROR] = "";
	struct snapshot *former = NULL;
	uint64_t start_tsc = rte_rdtsc();
	int status = dataplane_commit(dataplane, snapshot, &former, error);

	if (status != 0) {
		fprintf(stderr, "%s\n", error);
		return status;
	}
	snapshot_free(former);
	/* Routes and neighbours are heard by the event loop. */
	do {
		event_base_loop(base, EVLOOP_NONBLOCK);
		if (is_over(start_tsc))
			return -ETIMEDOUT;
	} while (!backends_are_reachable());
	return 0;
}

static void table_clear(struct flow_table *table)
{
	for (uint32_t i = 0; i < table->n_touched; i++) {
		struct sl_flow *flow = flow_table_at(table, i);

		if (flow->state != SL_FLOW_FREE)
			flow_table_remove(table, flow);
	}
}

/* The tables are the worker's alone, so it has to stand still meanwhile. */
int executor_reset_flows(void)
{
	struct worker *worker = dataplane->worker[0];

	__atomic_store_n(&dataplane->is_stopping, true, __ATOMIC_RELAXED);
	rte_eal_wait_lcore(worker->lcore);
	table_clear(&worker->flows4);
	table_clear(&worker->flows6);
	memset(worker->source_flows, 0, SL_MAX_BACKENDS * sizeof(*worker->source_flows));
	memset(worker->reject_bucket, 0, sizeof(worker->reject_bucket));
	__atomic_store_n(&dataplane->is_stopping, false, __ATOMIC_RELAXED);
	return rte_eal_remote_launch(worker_main, worker, worker->lcore);
}

int executor_counters(struct wire_counters_reply *reply)
{
	return dataplane_counters(dataplane, WIRE_ALL_WORKERS, reply);
}

void executor_openings(struct sl_backend_openings *sum)
{
	conformance_add_openings(dataplane, dataplane->snapshot, sum);
}

struct rte_mbuf *device_drain(struct device *device, const struct rte_mbuf *wanted)
{
	struct rte_mbuf *found = NULL;
	struct rte_mbuf *packet;

	while (rte_ring_dequeue(device->tx, (void **)&packet) == 0) {
		/* The others are the kernel's: neighbour discovery, group membership. */
		if (packet == wanted)
			found = packet;
		else
			rte_pktmbuf_free(packet);
	}
	return found;
}

static size_t copy_chain(const struct rte_mbuf *packet, uint8_t *out)
{
	size_t length = 0;

	for (; packet != NULL; packet = packet->next) {
		if (length + packet->data_len > VECTOR_MAX_FRAME)
			return 0;
		memcpy(out + length, rte_pktmbuf_mtod(packet, const void *), packet->data_len);
		length += packet->data_len;
	}
	return length;
}

/* The kernel took an outer VLAN tag off and gives it beside the frame. */
static size_t put_tag_back(struct msghdr *message, uint8_t *frame, size_t length)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c != NULL; c = CMSG_NXTHDR(message, c)) {
		struct tpacket_auxdata aux;
		be16_t tag[2];

		if (c->cmsg_level != SOL_PACKET || c->cmsg_type != PACKET_AUXDATA)
			continue;
		memcpy(&aux, CMSG_DATA(c), sizeof(aux));
		if ((aux.tp_status & TP_STATUS_VLAN_VALID) == 0 || length < 12)
			continue;
		tag[0] = sl_to_be16(aux.tp_vlan_tpid);
		tag[1] = sl_to_be16(aux.tp_vlan_tci);
		memmove(frame + 16, frame + 12, length - 12);
		memcpy(frame + 12, tag, sizeof(tag));
		length += sizeof(tag);
	}
	return length;
}

/* The next frame that the kernel received on @device; 0: none came within @patience_ms. */
static size_t device_read_kernel(struct device *device, uint8_t *frame, int patience_ms)
{
	struct pollfd poller = {.fd = device->packet_socket, .events = POLLIN};
	struct iovec vector = {.iov_base = frame, .iov_len = VECTOR_MAX_FRAME - 4};
	char control[CMSG_SPACE(sizeof(struct tpacket_auxdata))];
	struct msghdr message = {.msg_iov = &vector,
				 .msg_iovlen = 1,
				 .msg_control = control,
				 .msg_controllen = sizeof(control)};
	ssize_t n;

	if (poll(&poller, 1, patience_ms) != 1)
		return 0;
	n = recvmsg(device->packet_socket, &message, 0);
	return n > 0 ? put_tag_back(&message, frame, (size_t)n) : 0;
}

static uint64_t n_judged(const struct wire_counters_reply *counters)
{
	uint64_t n = 0;

	for (int i = 0; i < SL_N_VERDICTS; i++)
		n += counters->verdict[i];
	return n;
}

/* Waits for the one verdict that is more than @before. */
static int wait_verdict(const struct wire_counters_reply *before, enum sl_verdict *verdict)
{
	uint64_t start_tsc = rte_rdtsc();
	struct wire_counters_reply now;

	do {
		memset(&now, 0, sizeof(now));
		if (executor_counters(&now) != 0 || is_over(start_tsc))
			return -ETIMEDOUT;
	} while (n_judged(&now) == n_judged(before));
	if (n_judged(&now) != n_judged(before) + 1)
		return -EPROTO;
	for (int i = 0; i < SL_N_VERDICTS; i++)
		if (now.verdict[i] != before->verdict[i])
			*verdict = (enum sl_verdict)i;
	return 0;
}

int send_packet(enum conformance_port port, struct rte_mbuf *packet, struct executor_result *result)
{
	struct wire_counters_reply before = {0};
	int status = executor_counters(&before);

	packet->port = dataplane->port[port].id;
	if (status == 0)
		status = rte_ring_enqueue(devices[port].rx, packet);
	if (status != 0) {
		rte_pktmbuf_free(packet);
		return status;
	}
	status = wait_verdict(&before, &result->verdict);
	for (int i = 0; i < CONFORMANCE_N_PORTS; i++) {
		struct rte_mbuf *sent = device_drain(&devices[i], packet);

		if (sent == NULL)
			continue;
		result->port = (enum conformance_port)i;
		result->out_length = copy_chain(sent, result->out);
		rte_pktmbuf_free(sent);
	}
	if (status == 0 && sl_verdict_is_punt(result->verdict)) {
		result->port = port;
		result->out_length = device_read_kernel(&devices[port], result->out, PATIENCE_MS);
	}
	event_base_loop(base, EVLOOP_NONBLOCK);
	return status;
}

struct rte_mbuf *make_chain(const uint8_t *frame, size_t length, unsigned int n_segments,
			    size_t first)
{
	struct rte_mbuf *head = NULL;
	size_t at = 0;

	for (unsigned int i = 0; i < n_segments; i++) {
		struct rte_mbuf *segment = rte_pktmbuf_alloc(dataplane->pool);
		size_t n = i == 0 ? first : 5;

		if (segment == NULL) {
			rte_pktmbuf_free(head);
			return NULL;
		}
		if (i == n_segments - 1 || n > length - at)
			n = length - at;
		memcpy(rte_pktmbuf_append(segment, (uint16_t)n), frame + at, n);
		at += n;
		if (head == NULL)
			head = segment;
		else if (rte_pktmbuf_chain(head, segment) != 0)
			rte_pktmbuf_free(segment);
	}
	return head;
}

int executor_send(enum conformance_port port, const uint8_t *frame, size_t length,
		  struct executor_result *result)
{
	struct rte_mbuf *packet = make_chain(frame, length, 1, length);

	return packet != NULL ? send_packet(port, packet, result) : -ENOBUFS;
}

static int remove_entry(const char *path, const struct stat *status SL_UNUSED, int type SL_UNUSED,
			struct FTW *position SL_UNUSED)
{
	return remove(path);
}

void executor_close(void)
{
	static uint8_t frame[VECTOR_MAX_FRAME];

	dpdk_check_last();
	for (int i = 0; i < CONFORMANCE_N_PORTS; i++) {
		size_t length = device_read_kernel(&devices[i], frame, 0);

		if (length != 0)
			conformance_failed(devices[i].ring_name,
					   "the kernel got a frame of %zu bytes too many", length);
		close(devices[i].packet_socket);
	}
	dataplane_close(dataplane);
	event_base_free(base);
	nftw(run_dir, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}
