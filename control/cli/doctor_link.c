/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * See doctor_link.h. Ethtool's ioctls, rtnetlink, and the generic netlink family "netdev", which Linux has
 * since 6.3 and which tells what a driver can do with XDP.
 */
#include "control/cli/doctor_link.h"

#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <libmnl/libmnl.h>
#include <linux/bpf.h>
#include <linux/ethtool.h>
#include <linux/genetlink.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>

#include <sluice/base.h>

enum {
	BUFFER_BYTES = 16384,
	MAX_TABLE = 4096, /* entries of a hash's table */
	/* include/uapi/linux/netdev.h, which the headers of Linux 6.1 lack. */
	NETDEV_FAMILY_VERSION = 1,
	NETDEV_DEV_GET = 1,
	NETDEV_DEV_IFINDEX = 1,
	NETDEV_DEV_XDP_FEATURES = 3,
	NETDEV_XDP_BASIC = 1,
	NETDEV_XDP_TARGET = 4,
};

static uint8_t answer(bool is_so)
{
	return is_so ? DOCTOR_YES : DOCTOR_NO;
}

/* Ethtool */

static int ask(int fd, const char *name, void *question)
{
	struct ifreq request = {.ifr_data = question};

	(void)snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	return ioctl(fd, SIOCETHTOOL, &request) ? -errno : 0;
}

static void read_driver(int fd, const char *name, struct doctor_link *link)
{
	struct ethtool_drvinfo info = {.cmd = ETHTOOL_GDRVINFO};

	if (ask(fd, name, &info) == 0)
		(void)snprintf(link->driver, sizeof(link->driver), "%s", info.driver);
}

static void read_queues(int fd, const char *name, struct doctor_link *link)
{
	struct ethtool_channels channels = {.cmd = ETHTOOL_GCHANNELS};

	if (ask(fd, name, &channels))
		return;
	link->n_queues = channels.combined_count + channels.rx_count;
	link->n_max_queues = channels.max_combined ? channels.max_combined : channels.max_rx;
}

static uint8_t hashes_ports(int fd, const char *name, uint32_t flow)
{
	struct ethtool_rxnfc hash = {.cmd = ETHTOOL_GRXFH, .flow_type = flow};

	if (ask(fd, name, &hash) || hash.data == 0)
		return DOCTOR_UNSAID;
	return answer((hash.data & RXH_L4_B_0_1) && (hash.data & RXH_L4_B_2_3));
}

static void read_table(int fd, const char *name, struct doctor_link *link)
{
	size_t size = sizeof(struct ethtool_rxfh_indir) + MAX_TABLE * sizeof(uint32_t);
	struct ethtool_rxfh_indir *table = calloc(1, size);
	bool is_used[MAX_TABLE] = {false};

	if (!table)
		return;
	table->cmd = ETHTOOL_GRXFHINDIR;
	table->size = MAX_TABLE;
	if (ask(fd, name, table) == 0)
		for (uint32_t i = 0; i < table->size && i < MAX_TABLE; i++)
			if (table->ring_index[i] < MAX_TABLE)
				is_used[table->ring_index[i]] = true;
	for (size_t i = 0; i < MAX_TABLE; i++)
		link->n_spread += is_used[i];
	free(table);
}

/* How many features the kernel knows; 0: it does not say. */
static uint32_t count_features(int fd, const char *name)
{
	struct ethtool_sset_info *set = calloc(1, sizeof(*set) + sizeof(uint32_t));
	uint32_t n = 0;

	if (!set)
		return 0;
	set->cmd = ETHTOOL_GSSET_INFO;
	set->sset_mask = 1ull << ETH_SS_FEATURES;
	if (ask(fd, name, set) == 0 && set->sset_mask && set->data[0] <= MAX_TABLE)
		n = set->data[0];
	free(set);
	return n;
}

/* Their names, by their bits. Heap, the caller's; NULL. */
static struct ethtool_gstrings *read_names(int fd, const char *name)
{
	uint32_t n = count_features(fd, name);
	struct ethtool_gstrings *names =
		n ? calloc(1, sizeof(*names) + (size_t)n * ETH_GSTRING_LEN) : NULL;

	if (!names)
		return NULL;
	names->cmd = ETHTOOL_GSTRINGS;
	names->string_set = ETH_SS_FEATURES;
	names->len = n;
	if (ask(fd, name, names) == 0)
		return names;
	free(names);
	return NULL;
}

static void take_feature(struct doctor_link *link, const char *feature, bool is_on)
{
	if (strcmp(feature, "rx-lro") == 0 || strcmp(feature, "rx-gro-hw") == 0)
		link->has_lro = answer(is_on || link->has_lro == DOCTOR_YES);
	else if (strcmp(feature, "rx-gro") == 0)
		link->has_gro = answer(is_on);
	else if (strcmp(feature, "rx-vlan-hw-parse") == 0)
		link->strips_vlan = answer(is_on);
}

static void read_features(int fd, const char *name, struct doctor_link *link)
{
	struct ethtool_gstrings *names = read_names(fd, name);
	uint32_t n_blocks = names ? (names->len + 31) / 32 : 0;
	struct ethtool_gfeatures *features =
		names ? calloc(1, sizeof(*features) + n_blocks * sizeof(features->features[0]))
		      : NULL;

	if (features) {
		features->cmd = ETHTOOL_GFEATURES;
		features->size = n_blocks;
		if (ask(fd, name, features) == 0)
			for (uint32_t i = 0; i < names->len; i++)
				take_feature(link,
					     (const char *)names->data +
						     (size_t)i * ETH_GSTRING_LEN,
					     features->features[i / 32].active >> i % 32 & 1);
	}
	free(features);
	free(names);
}

static int read_ethtool(const char *name, struct doctor_link *link)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	read_driver(fd, name, link);
	read_queues(fd, name, link);
	read_table(fd, name, link);
	read_features(fd, name, link);
	link->hashes_udp_ports = hashes_ports(fd, name, UDP_V4_FLOW);
	link->hashes_tcp_ports = hashes_ports(fd, name, TCP_V4_FLOW);
	(void)close(fd);
	return 0;
}

/* Netlink */

/* Sends @message, and has @hear read what comes. 0 or a negative errno. */
static int talk(int family, char *buffer, mnl_cb_t hear, void *data)
{
	struct nlmsghdr *message = (struct nlmsghdr *)(void *)buffer;
	struct mnl_socket *socket = mnl_socket_open2(family, SOCK_CLOEXEC);
	ssize_t n = -1;
	int status = 0;

	if (!socket)
		return -errno;
	message->nlmsg_flags |= NLM_F_REQUEST;
	message->nlmsg_seq = 1;
	if (mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) == 0 &&
	    mnl_socket_sendto(socket, message, message->nlmsg_len) >= 0)
		n = mnl_socket_recvfrom(socket, buffer, BUFFER_BYTES);
	if (n > 0)
		n = mnl_cb_run(buffer, (size_t)n, 1, mnl_socket_get_portid(socket), hear, data);
	if (n < 0)
		status = -errno;
	(void)mnl_socket_close(socket);
	return status;
}

static int take_xdp(const struct nlattr *attribute, void *data)
{
	struct doctor_link *link = data;

	if (mnl_attr_get_type(attribute) == IFLA_XDP_PROG_ID)
		link->xdp_id = mnl_attr_get_u32(attribute);
	if (mnl_attr_get_type(attribute) != IFLA_XDP_ATTACHED)
		return MNL_CB_OK;
	switch (mnl_attr_get_u8(attribute)) {
	case XDP_ATTACHED_NONE:
		link->xdp_mode = DOCTOR_XDP_NONE;
		break;
	case XDP_ATTACHED_DRV:
		link->xdp_mode = DOCTOR_XDP_NATIVE;
		break;
	case XDP_ATTACHED_SKB:
		link->xdp_mode = DOCTOR_XDP_GENERIC;
		break;
	default:
		link->xdp_mode = DOCTOR_XDP_OTHER;
		break;
	}
	return MNL_CB_OK;
}

static int take_attribute(const struct nlattr *attribute, void *data)
{
	if (mnl_attr_get_type(attribute) == IFLA_XDP)
		return mnl_attr_parse_nested(attribute, take_xdp, data);
	return MNL_CB_OK;
}

static int hear_link(const struct nlmsghdr *message, void *data)
{
	return mnl_attr_parse(message, sizeof(struct ifinfomsg), take_attribute, data);
}

static int read_program(unsigned int ifindex, struct doctor_link *link)
{
	char buffer[BUFFER_BYTES];
	struct nlmsghdr *message = mnl_nlmsg_put_header(buffer);
	struct ifinfomsg *info;

	message->nlmsg_type = RTM_GETLINK;
	info = mnl_nlmsg_put_extra_header(message, sizeof(*info));
	info->ifi_index = (int)ifindex;
	return talk(NETLINK_ROUTE, buffer, hear_link, link);
}

static int take_family(const struct nlattr *attribute, void *data)
{
	if (mnl_attr_get_type(attribute) == CTRL_ATTR_FAMILY_ID)
		*(uint16_t *)data = mnl_attr_get_u16(attribute);
	return MNL_CB_OK;
}

static int hear_family(const struct nlmsghdr *message, void *data)
{
	return mnl_attr_parse(message, sizeof(struct genlmsghdr), take_family, data);
}

static int take_abilities(const struct nlattr *attribute, void *data)
{
	struct doctor_link *link = data;

	if (mnl_attr_get_type(attribute) == NETDEV_DEV_XDP_FEATURES &&
	    mnl_attr_get_payload_len(attribute) == sizeof(uint64_t)) {
		uint64_t bits = mnl_attr_get_u64(attribute);

		link->is_native = answer(bits & NETDEV_XDP_BASIC);
		link->is_target = answer(bits & NETDEV_XDP_TARGET);
	}
	return MNL_CB_OK;
}

static int hear_abilities(const struct nlmsghdr *message, void *data)
{
	return mnl_attr_parse(message, sizeof(struct genlmsghdr), take_abilities, data);
}

static struct nlmsghdr *begin_generic(char *buffer, uint16_t family, uint8_t command)
{
	struct nlmsghdr *message = mnl_nlmsg_put_header(buffer);
	struct genlmsghdr *generic;

	message->nlmsg_type = family;
	generic = mnl_nlmsg_put_extra_header(message, sizeof(*generic));
	generic->cmd = command;
	generic->version = NETDEV_FAMILY_VERSION;
	return message;
}

static void read_abilities(unsigned int ifindex, struct doctor_link *link)
{
	char buffer[BUFFER_BYTES];
	struct nlmsghdr *message = begin_generic(buffer, GENL_ID_CTRL, CTRL_CMD_GETFAMILY);
	uint16_t family = 0;

	mnl_attr_put_strz(message, CTRL_ATTR_FAMILY_NAME, "netdev");
	if (talk(NETLINK_GENERIC, buffer, hear_family, &family) || family == 0)
		return;
	message = begin_generic(buffer, family, NETDEV_DEV_GET);
	mnl_attr_put_u32(message, NETDEV_DEV_IFINDEX, ifindex);
	(void)talk(NETLINK_GENERIC, buffer, hear_abilities, link);
}

/* The name of a program: the kernel tells it to root alone. */
static void read_name(struct doctor_link *link)
{
	struct bpf_prog_info info = {0};
	union bpf_attr attribute;
	int fd;

	if (link->xdp_id == 0)
		return;
	memset(&attribute, 0, sizeof(attribute));
	attribute.prog_id = link->xdp_id;
	fd = (int)syscall(SYS_bpf, BPF_PROG_GET_FD_BY_ID, &attribute, sizeof(attribute));
	if (fd < 0)
		return;
	memset(&attribute, 0, sizeof(attribute));
	attribute.info.bpf_fd = (uint32_t)fd;
	attribute.info.info_len = sizeof(info);
	attribute.info.info = (uint64_t)(uintptr_t)&info;
	if (syscall(SYS_bpf, BPF_OBJ_GET_INFO_BY_FD, &attribute, sizeof(attribute)) == 0)
		(void)snprintf(link->xdp_name, sizeof(link->xdp_name), "%s", info.name);
	(void)close(fd);
}

int doctor_link_read(const char *name, struct doctor_link *link)
{
	unsigned int ifindex = if_nametoindex(name);
	int status;

	memset(link, 0, sizeof(*link));
	if (ifindex == 0)
		return -errno;
	status = read_ethtool(name, link);
	if (!status)
		status = read_program(ifindex, link);
	if (status)
		return status;
	read_abilities(ifindex, link);
	read_name(link);
	return 0;
}
