/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * The ear at the kernel: dumps and notifications of routes and neighbours (rtnetlink(7), libmnl),
 * and the requests that have the kernel resolve a next hop. The kernel does ARP and ND; nothing
 * here does.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libmnl/libmnl.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include "dataplane/dpdk/routes.h"
#include "dataplane/neighbour.h"
#include "log/log.h"

enum {
	NEIGHBOUR_USABLE =
		NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE | NUD_PERMANENT | NUD_NOARP,
	NO_PORT = 0xff,
};

static uint8_t port_of_ifindex(const struct routes *routes, unsigned int ifindex)
{
	for (uint32_t i = 0; i < routes->dataplane->n_ports; i++)
		if (routes->dataplane->port[i].ifindex == ifindex)
			return (uint8_t)i;
	return NO_PORT;
}

static uint8_t family_of(unsigned int af)
{
	return af == AF_INET ? SL_FAMILY_IPV4 : af == AF_INET6 ? SL_FAMILY_IPV6 : SL_FAMILY_NONE;
}

static bool read_addr(const struct nlattr *attribute, uint8_t family, union sl_addr *addr)
{
	size_t length = family == SL_FAMILY_IPV4 ? 4 : 16;

	memset(addr, 0, sizeof(*addr));
	if (attribute == NULL || mnl_attr_get_payload_len(attribute) < length)
		return false;
	memcpy(addr, mnl_attr_get_payload(attribute), length);
	return true;
}

/* One table for both kinds of message: attributes by type, those beyond are of no interest. */
static int collect_attribute(const struct nlattr *attribute, void *data)
{
	const struct nlattr **table = data;

	if (mnl_attr_get_type(attribute) <= RTA_MAX)
		table[mnl_attr_get_type(attribute)] = attribute;
	return MNL_CB_OK;
}

/* Link address known, or lost. Returns whether a host route must come or go. */
static bool hear_neighbour(struct routes *routes, const struct nlmsghdr *message)
{
	const struct ndmsg *neighbour = mnl_nlmsg_get_payload(message);
	const struct nlattr *attribute[RTA_MAX + 1] = {0};
	uint8_t port = port_of_ifindex(routes, (unsigned int)neighbour->ndm_ifindex);
	uint8_t family = family_of(neighbour->ndm_family);
	const uint8_t *mac = NULL;
	union sl_addr addr;

	if (port == NO_PORT || family == SL_FAMILY_NONE || (neighbour->ndm_flags & NTF_PROXY))
		return false;
	mnl_attr_parse(message, sizeof(*neighbour), collect_attribute, attribute);
	if (!read_addr(attribute[NDA_DST], family, &addr) ||
	    (family == SL_FAMILY_IPV6 && addr.byte[0] == 0xff) ||
	    (family == SL_FAMILY_IPV4 && sl_ipv4_is_group(addr.ipv4)))
		return false;
	if (message->nlmsg_type == RTM_NEWNEIGH && (neighbour->ndm_state & NEIGHBOUR_USABLE) &&
	    attribute[NDA_LLADDR] != NULL && mnl_attr_get_payload_len(attribute[NDA_LLADDR]) == 6)
		mac = mnl_attr_get_payload(attribute[NDA_LLADDR]);
	/* Being resolved is not lost: an address that was good stays so until the kernel gives up. */
	if (mac == NULL && message->nlmsg_type == RTM_NEWNEIGH &&
	    (neighbour->ndm_state & NUD_INCOMPLETE))
		return false;
	routes_neighbour(routes, port, family, &addr, mac);
	return true;
}

/* The first path of a multipath route that leads through a port of ours. */
static const struct rtnexthop *first_path(const struct routes *routes,
					  const struct nlattr *attribute)
{
	const struct rtnexthop *path = mnl_attr_get_payload(attribute);
	int left = mnl_attr_get_payload_len(attribute);

	while (RTNH_OK(path, left)) {
		if (port_of_ifindex(routes, (unsigned int)path->rtnh_ifindex) != NO_PORT)
			return path;
		left -= (int)RTNH_ALIGN(path->rtnh_len);
		path = (const void *)((const char *)path + RTNH_ALIGN(path->rtnh_len));
	}
	return NULL;
}

static const struct nlattr *path_gateway(const struct rtnexthop *path)
{
	const struct nlattr *attribute = (const struct nlattr *)(path + 1);
	int left = path->rtnh_len - (int)sizeof(*path);

	for (; mnl_attr_ok(attribute, left);
	     left -= MNL_ALIGN(attribute->nla_len), attribute = mnl_attr_next(attribute))
		if (mnl_attr_get_type(attribute) == RTA_GATEWAY)
			return attribute;
	return NULL;
}

static uint16_t next_hop_of(struct routes *routes, const struct rtmsg *route,
			    const struct nlattr *const *attribute, uint8_t family)
{
	const struct nlattr *gateway = attribute[RTA_GATEWAY];
	uint8_t port = NO_PORT;
	union sl_addr addr;

	if (route->rtm_type == RTN_LOCAL || route->rtm_type == RTN_BROADCAST ||
	    route->rtm_type == RTN_ANYCAST)
		return SL_ADJACENCY_LOCAL;
	if (route->rtm_type != RTN_UNICAST)
		return SL_ADJACENCY_NONE;
	if (attribute[RTA_OIF] != NULL) {
		port = port_of_ifindex(routes, mnl_attr_get_u32(attribute[RTA_OIF]));
	} else if (attribute[RTA_MULTIPATH] != NULL) {
		const struct rtnexthop *path = first_path(routes, attribute[RTA_MULTIPATH]);

		if (path != NULL) {
			port = port_of_ifindex(routes, (unsigned int)path->rtnh_ifindex);
			gateway = path_gateway(path);
		}
	}
	if (port == NO_PORT)
		return SL_ADJACENCY_NONE;
	if (gateway == NULL)
		return (uint16_t)(SL_ADJACENCY_GLEAN + port);
	if (!read_addr(gateway, family, &addr))
		return SL_ADJACENCY_NONE;
	return routes_adjacency(routes, port, family, &addr, true);
}

static int hear_route(const struct nlmsghdr *message, void *data)
{
	struct routes *routes = data;
	const struct rtmsg *header = mnl_nlmsg_get_payload(message);
	const struct nlattr *attribute[RTA_MAX + 1] = {0};
	struct route route = {.family = family_of(header->rtm_family),
			      .depth = header->rtm_dst_len};
	uint32_t table = header->rtm_table;

	if (message->nlmsg_type != RTM_NEWROUTE || route.family == SL_FAMILY_NONE ||
	    (header->rtm_flags & RTM_F_CLONED))
		return MNL_CB_OK;
	mnl_attr_parse(message, sizeof(*header), collect_attribute, attribute);
	if (attribute[RTA_TABLE] != NULL)
		table = mnl_attr_get_u32(attribute[RTA_TABLE]);
	if (table != RT_TABLE_MAIN && table != RT_TABLE_LOCAL)
		return MNL_CB_OK;
	if (route.depth > 0 && !read_addr(attribute[RTA_DST], route.family, &route.addr))
		return MNL_CB_OK;
	/* The kernel looks into its local table first. */
	if (table != RT_TABLE_LOCAL)
		route.priority = 1;
	if (table != RT_TABLE_LOCAL && attribute[RTA_PRIORITY] != NULL)
		route.priority += mnl_attr_get_u32(attribute[RTA_PRIORITY]);
	if (header->rtm_type == RTN_MULTICAST)
		return MNL_CB_OK;
	route.next_hop = next_hop_of(routes, header, attribute, route.family);
	route_list_add(&routes->kernel, &route);
	return MNL_CB_OK;
}

static int hear_dumped_neighbour(const struct nlmsghdr *message, void *data)
{
	if (message->nlmsg_type == RTM_NEWNEIGH)
		hear_neighbour(data, message);
	return MNL_CB_OK;
}

static int dump(struct routes *routes, uint16_t type, unsigned char family, mnl_cb_t hear)
{
	char buffer[32768];
	struct nlmsghdr *message = mnl_nlmsg_put_header(buffer);
	struct rtgenmsg *request;
	unsigned int portid = mnl_socket_get_portid(routes->queries);
	int status = 1;
	uint32_t sequence = ++routes->sequence;

	message->nlmsg_type = type;
	message->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	message->nlmsg_seq = sequence;
	/* The kernel wants the whole header of the type, zero but for the family. */
	request = mnl_nlmsg_put_extra_header(message, type == RTM_GETROUTE ? sizeof(struct rtmsg)
									   : sizeof(struct ndmsg));
	request->rtgen_family = family;
	if (mnl_socket_sendto(routes->queries, message, message->nlmsg_len) < 0)
		return -errno;
	while (status > 0) {
		ssize_t n = mnl_socket_recvfrom(routes->queries, buffer, sizeof(buffer));

		if (n < 0)
			return -errno;
		status = mnl_cb_run(buffer, (size_t)n, sequence, portid, hear, routes);
	}
	return status < 0 ? -errno : 0;
}

int netlink_dump_routes(struct routes *routes)
{
	int status;

	routes->kernel.n = 0;
	status = dump(routes, RTM_GETROUTE, AF_INET, hear_route);
	if (status == 0)
		status = dump(routes, RTM_GETROUTE, AF_INET6, hear_route);
	return status;
}

int netlink_dump_neighbours(struct routes *routes)
{
	int status = dump(routes, RTM_GETNEIGH, AF_INET, hear_dumped_neighbour);

	if (status == 0)
		status = dump(routes, RTM_GETNEIGH, AF_INET6, hear_dumped_neighbour);
	return status;
}

void netlink_resolve(struct routes *routes, uint8_t port, uint8_t family, const union sl_addr *addr,
		     bool keep)
{
	unsigned int ifindex = routes->dataplane->port[port].ifindex;
	int status;

	if (ifindex == 0)
		return;
	status = neighbour_resolve(routes->requests, ifindex, family, addr, keep);
	if (status != 0)
		log_debug("neighbours: the kernel refused to resolve on port %s: %s",
			  routes->dataplane->port[port].options.name, strerror(-status));
}

static int hear_event(const struct nlmsghdr *message, void *data)
{
	struct routes *routes = data;

	switch (message->nlmsg_type) {
	case RTM_NEWNEIGH:
	case RTM_DELNEIGH:
		hear_neighbour(routes, message);
		break;
	case RTM_NEWROUTE:
	case RTM_DELROUTE:
		return MNL_CB_STOP; /* the dump that follows tells all */
	default:
		break;
	}
	return MNL_CB_OK;
}

/* Reads what is there, then mends the tables once. */
static void on_readable(evutil_socket_t fd SL_UNUSED, short what SL_UNUSED, void *data)
{
	struct routes *routes = data;
	char buffer[32768];
	bool has_route_change = false;

	for (int i = 0; i < 1024; i++) {
		ssize_t n = mnl_socket_recvfrom(routes->events, buffer, sizeof(buffer));
		int left;

		if (n < 0 && errno == ENOBUFS) { /* events were lost */
			has_route_change = true;
			if (netlink_dump_neighbours(routes) != 0)
				log_warn("neighbours: dump failed");
			continue;
		}
		if (n <= 0)
			break;
		left = (int)n;
		for (const struct nlmsghdr *message = (const struct nlmsghdr *)buffer;
		     mnl_nlmsg_ok(message, left); message = mnl_nlmsg_next(message, &left))
			if (hear_event(message, routes) == MNL_CB_STOP)
				has_route_change = true;
	}
	if (has_route_change && netlink_dump_routes(routes) != 0)
		log_warn("routes: dump failed");
	routes_install(routes);
}

static struct mnl_socket *open_socket(unsigned int groups, int flags)
{
	struct mnl_socket *socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC | flags);

	if (socket != NULL && mnl_socket_bind(socket, groups, MNL_SOCKET_AUTOPID) < 0) {
		mnl_socket_close(socket);
		return NULL;
	}
	return socket;
}

int netlink_open(struct routes *routes, char *error)
{
	const struct timeval patience = {.tv_sec = 5};
	const int buffer_bytes = 8 << 20;
	int status;

	routes->events =
		open_socket(RTMGRP_NEIGH | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE, SOCK_NONBLOCK);
	routes->queries = open_socket(0, 0);
	routes->requests = neighbour_open();
	if (routes->events == NULL || routes->queries == NULL || routes->requests == NULL) {
		snprintf(error, SL_MAX_ERROR, "netlink: %s", strerror(errno));
		return -errno;
	}
	setsockopt(mnl_socket_get_fd(routes->events), SOL_SOCKET, SO_RCVBUFFORCE, &buffer_bytes,
		   sizeof(buffer_bytes));
	setsockopt(mnl_socket_get_fd(routes->queries), SOL_SOCKET, SO_RCVTIMEO, &patience,
		   sizeof(patience));
	status = netlink_dump_neighbours(routes);
	if (status == 0)
		status = netlink_dump_routes(routes);
	if (status != 0) {
		snprintf(error, SL_MAX_ERROR, "netlink: dump of routes and neighbours: %s",
			 strerror(-status));
		return status;
	}
	routes_install(routes);
	routes->readable = event_new(routes->dataplane->base, mnl_socket_get_fd(routes->events),
				     EV_READ | EV_PERSIST, on_readable, routes);
	if (routes->readable == NULL || event_add(routes->readable, NULL) != 0)
		return -ENOMEM;
	return 0;
}

void netlink_close(struct routes *routes)
{
	if (routes->readable != NULL)
		event_free(routes->readable);
	if (routes->events != NULL)
		mnl_socket_close(routes->events);
	if (routes->queries != NULL)
		mnl_socket_close(routes->queries);
	neighbour_close(routes->requests);
}
