/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* The kernel interfaces that the program is attached to: what the kernel says of them. */
#include <errno.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <libmnl/libmnl.h>
#include <linux/if_arp.h>
#include <linux/rtnetlink.h>

#include "dataplane/xdp/engine.h"

/* What a link's description is read into. */
struct link_state {
	uint8_t mac[6];
	bool has_mac;
	bool is_up;
	bool is_veth;
	uint32_t mtu;
	struct rtnl_link_stats64 stats;
};

static int read_kind(const struct nlattr *attribute, void *data)
{
	struct link_state *state = data;

	if (mnl_attr_get_type(attribute) == IFLA_INFO_KIND)
		state->is_veth = strcmp(mnl_attr_get_str(attribute), "veth") == 0;
	return MNL_CB_OK;
}

static int read_attribute(const struct nlattr *attribute, void *data)
{
	struct link_state *state = data;
	uint16_t length = mnl_attr_get_payload_len(attribute);

	switch (mnl_attr_get_type(attribute)) {
	case IFLA_ADDRESS:
		state->has_mac = length == sizeof(state->mac);
		if (state->has_mac)
			memcpy(state->mac, mnl_attr_get_payload(attribute), sizeof(state->mac));
		break;
	case IFLA_MTU:
		state->mtu = mnl_attr_get_u32(attribute);
		break;
	case IFLA_OPERSTATE:
		/* UP, or UNKNOWN where the driver does not tell (RFC 2863). */
		state->is_up = mnl_attr_get_u8(attribute) == 6 || mnl_attr_get_u8(attribute) == 0;
		break;
	case IFLA_LINKINFO:
		return mnl_attr_parse_nested(attribute, read_kind, state);
	case IFLA_STATS64:
		memcpy(&state->stats, mnl_attr_get_payload(attribute),
		       length < sizeof(state->stats) ? length : sizeof(state->stats));
		break;
	default:
		break;
	}
	return MNL_CB_OK;
}

static int hear_link(const struct nlmsghdr *message, void *data)
{
	return mnl_attr_parse(message, sizeof(struct ifinfomsg), read_attribute, data);
}

static int read_link(uint32_t ifindex, struct link_state *state)
{
	char buffer[16384];
	struct nlmsghdr *message = mnl_nlmsg_put_header(buffer);
	struct mnl_socket *socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	struct ifinfomsg *link;
	ssize_t n = -1;

	memset(state, 0, sizeof(*state));
	message->nlmsg_type = RTM_GETLINK;
	message->nlmsg_flags = NLM_F_REQUEST;
	message->nlmsg_seq = 1;
	link = mnl_nlmsg_put_extra_header(message, sizeof(*link));
	link->ifi_index = (int)ifindex;
	if (socket == NULL)
		return -errno;
	if (mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) == 0 &&
	    mnl_socket_sendto(socket, message, message->nlmsg_len) >= 0)
		n = mnl_socket_recvfrom(socket, buffer, sizeof(buffer));
	if (n > 0)
		n = mnl_cb_run(buffer, (size_t)n, 1, mnl_socket_get_portid(socket), hear_link,
			       state);
	mnl_socket_close(socket);
	return n < 0 ? -errno : 0;
}

int port_read(struct port *port)
{
	struct link_state state;
	int status = read_link(port->ifindex, &state);

	if (status != 0)
		return status;
	if (!state.has_mac)
		return -EOPNOTSUPP;
	memcpy(port->mac, state.mac, sizeof(port->mac));
	port->mtu = state.mtu;
	/*
	 * A veth that sends a frame back (XDP_TX) wakes its peer only if the peer has an XDP program,
	 * too; one that frames are redirected to wakes a peer that polls for any reason, GRO say.
	 */
	port->is_veth = state.is_veth;
	return 0;
}

static int open_port(struct port *port, char *error)
{
	int status;

	if (port->options.kind != DATAPLANE_PORT_INTERFACE) {
		snprintf(
			error, SL_MAX_ERROR,
			"port %s: the xdp engine attaches to kernel interfaces (pci and vdev ports "
			"are the dpdk engine's)",
			port->options.name);
		return -EINVAL;
	}
	port->ifindex = if_nametoindex(port->options.device);
	status = port->ifindex == 0 ? -errno : port_read(port);
	if (status != 0)
		snprintf(error, SL_MAX_ERROR, "port %s: %s", port->options.name, strerror(-status));
	return status;
}

int ports_open(struct dataplane *dataplane, char *error)
{
	int status = 0;

	for (uint32_t i = 0; i < dataplane->n_ports && status == 0; i++) {
		dataplane->port[i].options = dataplane->options.port[i];
		status = open_port(&dataplane->port[i], error);
	}
	return status;
}

void port_describe(const struct port *port, struct wire_port_record *record)
{
	struct link_state state;

	snprintf(record->name, sizeof(record->name), "%s", port->options.name);
	snprintf(record->driver, sizeof(record->driver), "xdp %s",
		 port->is_generic ? "generic" : "native");
	snprintf(record->kernel_interface, sizeof(record->kernel_interface), "%.15s",
		 port->options.device);
	memcpy(record->mac, port->mac, sizeof(record->mac));
	if (port->ifindex == 0 || read_link(port->ifindex, &state) != 0)
		return;
	record->is_up = state.is_up;
	record->mtu = state.mtu;
	record->rx_packets = state.stats.rx_packets;
	record->rx_bytes = state.stats.rx_bytes;
	record->rx_missed = state.stats.rx_missed_errors + state.stats.rx_dropped;
	record->tx_packets = state.stats.tx_packets;
	record->tx_bytes = state.stats.tx_bytes;
	record->tx_errors = state.stats.tx_errors + state.stats.tx_dropped;
}
