/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * Loads the classifier of AF_XDP ports into the running kernel, runs frames through it, and
 * attaches it to one end of a veth pair in native mode. Run by tests/kernel on the oldest kernel
 * that Sluice supports; needs root. Its output says how many instructions the verifier walked.
 */
#include <errno.h>
#include <net/if.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <libmnl/libmnl.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>

#include <sluice/packet/headers.h>
#include <sluice/steer.h>

#include "classify.bpf.h"

#define NEAR "sl-near"
#define FAR  "sl-far"

enum {
	ADDRESS_STEERED = 0x0a000009,
	ADDRESS_OTHER = 0x0a00000a,
};

struct frame {
	struct sl_ethernet ethernet;
	struct sl_ipv4 ipv4;
	struct sl_udp udp;
} __attribute__((packed));

struct error_frame {
	struct sl_ethernet ethernet;
	struct sl_ipv4 ipv4;
	struct sl_icmp icmp;
	struct sl_ipv4 quoted;
	struct sl_udp udp;
} __attribute__((packed));

static void __attribute__((noreturn, format(printf, 1, 2))) fail(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	exit(1);
}

static int __attribute__((format(printf, 2, 0)))
show_libbpf(enum libbpf_print_level level, const char *format, va_list args)
{
	return level == LIBBPF_DEBUG ? 0 : vfprintf(stderr, format, args);
}

/* The verdict of the classifier on a UDP frame to @address. */
static uint32_t verdict_on(int program, uint32_t address)
{
	struct frame frame = {
		.ethernet = {.destination = {2, 0, 0, 0, 0, 1}, .source = {2, 0, 0, 0, 0, 2}},
	};
	LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = &frame, .data_size_in = sizeof(frame),
		    .repeat = 1);
	int status;

	frame.ethernet.type = SL_BE16(SL_ETHERTYPE_IPV4);
	frame.ipv4.version_ihl = 0x45;
	frame.ipv4.protocol = SL_PROTOCOL_UDP;
	frame.ipv4.destination = sl_to_be32(address);
	status = bpf_prog_test_run_opts(program, &run);
	if (status != 0)
		fail("test run: %s", strerror(-status));
	return run.retval;
}

/* The verdict of the classifier on an ICMP error of @type about a packet from @address. */
static uint32_t verdict_on_error(int program, uint32_t address, uint8_t type)
{
	struct error_frame frame = {
		.ethernet = {.destination = {2, 0, 0, 0, 0, 1}, .source = {2, 0, 0, 0, 0, 2}},
	};
	LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = &frame, .data_size_in = sizeof(frame),
		    .repeat = 1);
	int status;

	frame.ethernet.type = SL_BE16(SL_ETHERTYPE_IPV4);
	frame.ipv4.version_ihl = 0x45;
	frame.ipv4.protocol = SL_PROTOCOL_ICMP;
	frame.ipv4.destination = sl_to_be32(address);
	frame.icmp.type = type;
	frame.quoted.version_ihl = 0x45;
	frame.quoted.protocol = SL_PROTOCOL_UDP;
	frame.quoted.source = sl_to_be32(address);
	status = bpf_prog_test_run_opts(program, &run);
	if (status != 0)
		fail("test run: %s", strerror(-status));
	return run.retval;
}

static void expect(const char *what, uint32_t verdict, uint32_t wanted)
{
	if (verdict != wanted)
		fail("%s: verdict %u, not %u", what, verdict, wanted);
	printf("%s: verdict %u\n", what, verdict);
}

/* Sends one rtnetlink request and returns the kernel's answer, 0 or a negative errno. */
static int request(struct nlmsghdr *message)
{
	char answer[8192];
	struct mnl_socket *socket = mnl_socket_open(NETLINK_ROUTE);
	ssize_t n;
	int status = 0;

	if (socket == NULL || mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) < 0 ||
	    mnl_socket_sendto(socket, message, message->nlmsg_len) < 0)
		fail("netlink: %s", strerror(errno));
	n = mnl_socket_recvfrom(socket, answer, sizeof(answer));
	if (n < 0 || mnl_cb_run(answer, (size_t)n, message->nlmsg_seq,
				mnl_socket_get_portid(socket), NULL, NULL) < 0)
		status = -errno;
	mnl_socket_close(socket);
	return status;
}

static struct nlmsghdr *link_request(char *buffer, uint16_t type, uint16_t flags)
{
	struct nlmsghdr *message = mnl_nlmsg_put_header(buffer);

	message->nlmsg_type = type;
	message->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | NLM_F_ACK | flags);
	message->nlmsg_seq = 1;
	mnl_nlmsg_put_extra_header(message, sizeof(struct ifinfomsg));
	return message;
}

static void make_veth(void)
{
	char buffer[1024] = {0};
	struct nlmsghdr *message = link_request(buffer, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);
	struct nlattr *info;
	struct nlattr *data;
	struct nlattr *peer;
	int status;

	mnl_attr_put_strz(message, IFLA_IFNAME, NEAR);
	info = mnl_attr_nest_start(message, IFLA_LINKINFO);
	mnl_attr_put_strz(message, IFLA_INFO_KIND, "veth");
	data = mnl_attr_nest_start(message, IFLA_INFO_DATA);
	peer = mnl_attr_nest_start(message, VETH_INFO_PEER);
	mnl_nlmsg_put_extra_header(message, sizeof(struct ifinfomsg));
	mnl_attr_put_strz(message, IFLA_IFNAME, FAR);
	mnl_attr_nest_end(message, peer);
	mnl_attr_nest_end(message, data);
	mnl_attr_nest_end(message, info);
	status = request(message);
	if (status != 0)
		fail("veth: %s", strerror(-status));
}

static void remove_veth(void)
{
	char buffer[1024] = {0};
	struct nlmsghdr *message = link_request(buffer, RTM_DELLINK, 0);
	int status;

	mnl_attr_put_strz(message, IFLA_IFNAME, NEAR);
	status = request(message);
	if (status != 0)
		fail("veth is not removed: %s", strerror(-status));
}

static void attach_native(int program)
{
	LIBBPF_OPTS(bpf_xdp_query_opts, attached);
	int ifindex;
	int status;

	make_veth();
	ifindex = (int)if_nametoindex(NEAR);
	status = bpf_xdp_attach(ifindex, program, XDP_FLAGS_DRV_MODE, NULL);
	if (status != 0)
		fail("attaching to a veth in native mode: %s", strerror(-status));
	status = bpf_xdp_query(ifindex, 0, &attached);
	if (status != 0 || attached.attach_mode != XDP_ATTACHED_DRV)
		fail("attached, but not in native mode: status %d, mode %u", status,
		     attached.attach_mode);
	printf("veth: attached in native mode, program %u\n", attached.drv_prog_id);
	remove_veth();
}

int main(void)
{
	struct sl_steer_key key = {.family = SL_FAMILY_IPV4};
	uint32_t roles = SL_STEER_DESTINATION;
	struct bpf_prog_info info = {0};
	uint32_t info_size = sizeof(info);
	struct bpf_object *object;
	int program;
	int status;

	setvbuf(stdout, NULL, _IOLBF, 0);
	libbpf_set_print(show_libbpf);
	object = bpf_object__open_mem(classify_bpf_object, classify_bpf_object_size, NULL);
	if (object == NULL)
		fail("the object is not one: %s", strerror(errno));
	status = bpf_object__load(object);
	if (status != 0)
		fail("the kernel refuses the object: %s", strerror(-status));
	program = bpf_program__fd(bpf_object__find_program_by_name(object, SL_CLASSIFIER_PROGRAM));
	if (bpf_obj_get_info_by_fd(program, &info, &info_size) != 0)
		fail("no information about the program: %s", strerror(errno));
	printf("%s: loaded, %u bytes, jited to %u, %u instructions verified\n",
	       SL_CLASSIFIER_PROGRAM, info.xlated_prog_len, info.jited_prog_len,
	       info.verified_insns);

	key.addr.ipv4 = sl_to_be32(ADDRESS_STEERED);
	status = bpf_map__update_elem(bpf_object__find_map_by_name(object, SL_CLASSIFIER_MAP), &key,
				      sizeof(key), &roles, sizeof(roles), BPF_ANY);
	if (status != 0)
		fail("the map refuses an address: %s", strerror(-status));
	expect("another address goes to the kernel", verdict_on(program, ADDRESS_OTHER), XDP_PASS);
	/* No socket is bound: what is steered is dropped. */
	expect("a service's address is kept from the kernel", verdict_on(program, ADDRESS_STEERED),
	       XDP_DROP);
	expect("and so is an error about its packet", verdict_on_error(program, ADDRESS_STEERED, 3),
	       XDP_DROP);
	expect("an error about another's goes to the kernel",
	       verdict_on_error(program, ADDRESS_OTHER, 3), XDP_PASS);
	expect("and so does an echo request", verdict_on_error(program, ADDRESS_STEERED, 8),
	       XDP_PASS);
	attach_native(program);
	bpf_object__close(object);
	return 0;
}
