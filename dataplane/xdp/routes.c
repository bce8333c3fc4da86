/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * The program asks the kernel for next hops itself and keeps the answers under a generation. This
 * file hears when the kernel may answer otherwise than before and raises the generation, and has the
 * kernel resolve the link addresses that packets will need: of backends ahead of time, of others
 * when the program misses one.
 */
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>

#include "dataplane/neighbour.h"
#include "dataplane/xdp/engine.h"
#include "log/log.h"
#include "dataplane/xdp/skeleton.h"

enum {
	BACKENDS_A_TURN = 2000,
	ALIVE_TICKS = 3 * SL_TICKS_PER_SEC, /* longer than any turn of the loop takes */
};

uint32_t engine_now(void)
{
	struct timespec now;

	/* The clock of bpf_ktime_get_coarse_ns(). */
	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return sl_xdp_ticks((uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec);
}

int routes_ask(struct dataplane *dataplane, const union sl_addr *addr, uint8_t family,
	       struct sl_xdp_route *answer)
{
	*answer = (struct sl_xdp_route){.addr = *addr, .family = family};
	return loader_ask(dataplane->programs.fd[PROGRAM_ROUTE], answer, sizeof(*answer));
}

/* Every kept answer is asked for anew with the next packet that needs it. */
static void raise_generation(struct dataplane *dataplane)
{
	__atomic_fetch_add(&dataplane->control->route_generation, 1, __ATOMIC_RELEASE);
	dataplane->has_route_change = false;
	dataplane->next_backend = 0;
}

/*
 * While no agent was alive, the program counted generations on by itself: the next one lies beyond all
 * of these, or what was kept then would count once more.
 */
static void stay_alive(struct dataplane *dataplane)
{
	struct sl_xdp_control *control = dataplane->control;
	uint32_t now = engine_now();
	int32_t dead_ticks = (int32_t)(now - control->alive_until);

	__atomic_store_n(&control->alive_until, now + ALIVE_TICKS, __ATOMIC_RELEASE);
	if (dead_ticks > 0)
		__atomic_fetch_add(&control->route_generation,
				   (uint32_t)dead_ticks / SL_TICKS_PER_SEC + 2, __ATOMIC_RELEASE);
}

static bool take_up_port(struct dataplane *dataplane, struct port *port, char *error)
{
	return port_read(port) == 0 && loader_write_ports(dataplane) == 0 &&
	       loader_attach(dataplane, port, error) == 0;
}

/* An interface that went or came back. */
static void look_after_port(struct dataplane *dataplane, struct port *port)
{
	char error[SL_MAX_ERROR] = "";
	uint32_t ifindex = if_nametoindex(port->options.device);

	if (ifindex == port->ifindex)
		return;
	log_warn("port %s: %s", port->options.name,
		 ifindex == 0 ? "its interface is gone" : "its interface is back");
	port->ifindex = ifindex;
	if (ifindex == 0 ? loader_write_ports(dataplane) == 0
			 : take_up_port(dataplane, port, error))
		return;
	log_err("port %s: %s", port->options.name,
		error[0] != '\0' ? error : "its interface cannot be used");
	port->ifindex = 0; /* the next event tries again */
}

static void look_after_ports(struct dataplane *dataplane)
{
	for (uint32_t i = 0; i < dataplane->n_ports; i++) {
		struct port *port = &dataplane->port[i];
		uint32_t mtu = port->mtu;
		uint8_t mac[6];

		look_after_port(dataplane, port);
		memcpy(mac, port->mac, sizeof(mac));
		if (port->ifindex != 0 && port_read(port) == 0 &&
		    (memcmp(mac, port->mac, sizeof(mac)) != 0 || mtu != port->mtu) &&
		    loader_write_ports(dataplane) != 0)
			log_err("port %s: its new link address and MTU are not written",
				port->options.name);
	}
}

static void on_events(evutil_socket_t fd SL_UNUSED, short what SL_UNUSED, void *data)
{
	struct dataplane *dataplane = data;
	char buffer[32768];
	bool has_link_change = false;

	for (int i = 0; i < 1024; i++) {
		ssize_t n = mnl_socket_recvfrom(dataplane->events, buffer, sizeof(buffer));
		int left = (int)n;

		if (n < 0 && errno == ENOBUFS) { /* events were lost */
			has_link_change = true;
			continue;
		}
		if (n <= 0)
			break;
		for (const struct nlmsghdr *message = (const struct nlmsghdr *)buffer;
		     mnl_nlmsg_ok(message, left); message = mnl_nlmsg_next(message, &left))
			if (message->nlmsg_type == RTM_NEWLINK ||
			    message->nlmsg_type == RTM_DELLINK)
				has_link_change = true;
	}
	if (has_link_change)
		look_after_ports(dataplane);
	/* Raised with the next turn: a storm of events costs one look-up a flow and turn. */
	dataplane->has_route_change = true;
}

static int on_resolve(void *data, void *record, size_t size)
{
	struct dataplane *dataplane = data;
	const struct sl_xdp_resolve *request = record;

	if (size >= sizeof(*request))
		(void)neighbour_resolve(dataplane->neighbours, request->ifindex,
					(uint8_t)request->family, &request->addr, false);
	return 0;
}

static void on_resolve_readable(evutil_socket_t fd SL_UNUSED, short what SL_UNUSED, void *data)
{
	struct dataplane *dataplane = data;

	ring_buffer__consume(dataplane->resolve);
}

/* Has the backend's next hop resolved and kept so, once for each that has the index. */
static void look_after_backend(struct dataplane *dataplane, uint32_t index)
{
	const struct sl_backend *backend = &dataplane->snapshot->backend[index];
	struct sl_xdp_route route;

	if (backend->family == SL_FAMILY_NONE || backend->is_outside ||
	    routes_ask(dataplane, &backend->addr, backend->family, &route) != 0 || !route.has_port)
		return;
	if (route.status == BPF_FIB_LKUP_RET_SUCCESS &&
	    dataplane->asked[index] == (uint16_t)(backend->epoch + 1))
		return;
	dataplane->asked[index] = (uint16_t)(backend->epoch + 1);
	if (neighbour_resolve(dataplane->neighbours, route.ifindex, backend->family, &route.gateway,
			      true) != 0)
		log_debug("neighbours: the kernel refused to resolve a backend's next hop");
}

static void look_after_backends(struct dataplane *dataplane)
{
	const struct snapshot *snapshot = dataplane->snapshot;

	if (snapshot == NULL)
		return;
	for (int i = 0; i < BACKENDS_A_TURN && dataplane->next_backend < snapshot->n_backends; i++)
		look_after_backend(dataplane, dataplane->next_backend++);
}

void routes_new_backends(struct dataplane *dataplane)
{
	dataplane->next_backend = 0;
	look_after_backends(dataplane);
}

static void on_turn(evutil_socket_t fd SL_UNUSED, short what SL_UNUSED, void *data)
{
	struct dataplane *dataplane = data;

	stay_alive(dataplane);
	if (dataplane->has_route_change)
		raise_generation(dataplane);
	look_after_backends(dataplane);
	tables_sweep(dataplane);
}

/* bpf_fib_lookup() is asked in the name of lo, so that ports need not forward for others. */
static void allow_lookups(void)
{
	static const char *const path[] = {
		"/proc/sys/net/ipv4/conf/lo/forwarding",
		"/proc/sys/net/ipv6/conf/lo/forwarding",
	};

	for (size_t i = 0; i < SL_ARRAY_LEN(path); i++) {
		FILE *file = fopen(path[i], "r+");
		int value = 0;

		if (file == NULL) {
			log_warn("%s: %s", path[i], strerror(errno));
			continue;
		}
		if (fscanf(file, "%d", &value) == 1 && value == 0) {
			rewind(file);
			fputs("1\n", file);
			log_info("set %s, for look-ups in the name of lo", path[i]);
		}
		fclose(file);
	}
}

static int open_events(struct dataplane *dataplane)
{
	const int buffer_bytes = 8 << 20;

	dataplane->events = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (dataplane->events == NULL ||
	    mnl_socket_bind(dataplane->events,
			    RTMGRP_NEIGH | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE | RTMGRP_LINK |
				    RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR,
			    MNL_SOCKET_AUTOPID) < 0)
		return -errno;
	setsockopt(mnl_socket_get_fd(dataplane->events), SOL_SOCKET, SO_RCVBUFFORCE, &buffer_bytes,
		   sizeof(buffer_bytes));
	return 0;
}

static int start_events(struct dataplane *dataplane)
{
	const struct timeval interval = {.tv_usec = 1000000 / TURNS_PER_SEC};

	dataplane->events_readable =
		event_new(dataplane->base, mnl_socket_get_fd(dataplane->events),
			  EV_READ | EV_PERSIST, on_events, dataplane);
	dataplane->resolve_readable =
		event_new(dataplane->base, ring_buffer__epoll_fd(dataplane->resolve),
			  EV_READ | EV_PERSIST, on_resolve_readable, dataplane);
	dataplane->turn = event_new(dataplane->base, -1, EV_PERSIST, on_turn, dataplane);
	if (dataplane->events_readable == NULL || dataplane->resolve_readable == NULL ||
	    dataplane->turn == NULL || event_add(dataplane->events_readable, NULL) != 0 ||
	    event_add(dataplane->resolve_readable, NULL) != 0 ||
	    event_add(dataplane->turn, &interval) != 0)
		return -ENOMEM;
	return 0;
}

int routes_open(struct dataplane *dataplane, char *error)
{
	int status = open_events(dataplane);

	if (status == 0) {
		dataplane->neighbours = neighbour_open();
		dataplane->asked = calloc(SL_MAX_BACKENDS, sizeof(*dataplane->asked));
		dataplane->resolve = ring_buffer__new(bpf_map__fd(dataplane->bpf->maps.resolve),
						      on_resolve, dataplane, NULL);
		if (dataplane->neighbours == NULL || dataplane->asked == NULL ||
		    dataplane->resolve == NULL)
			status = -ENOMEM;
	}
	if (status == 0)
		status = start_events(dataplane);
	if (status != 0) {
		snprintf(error, SL_MAX_ERROR, "netlink: %s", strerror(-status));
		return status;
	}
	allow_lookups();
	raise_generation(dataplane);
	stay_alive(dataplane);
	return 0;
}

static void free_event(struct event *event)
{
	if (event != NULL)
		event_free(event);
}

void routes_close(struct dataplane *dataplane)
{
	free_event(dataplane->events_readable);
	free_event(dataplane->resolve_readable);
	free_event(dataplane->turn);
	ring_buffer__free(dataplane->resolve);
	neighbour_close(dataplane->neighbours);
	if (dataplane->events != NULL)
		mnl_socket_close(dataplane->events);
	free(dataplane->asked);
}
