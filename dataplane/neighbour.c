/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
#include "dataplane/neighbour.h"

#include <errno.h>
#include <stdlib.h>

#include <libmnl/libmnl.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>
#include <sys/time.h>

#ifndef NTF_EXT_MANAGED
#define NTF_EXT_MANAGED (1 << 0)
#endif

struct neighbours {
	struct mnl_socket *socket;
	uint32_t sequence;
};

struct neighbours *neighbour_open(void)
{
	const struct timeval patience = {.tv_sec = 5};
	struct neighbours *neighbours = calloc(1, sizeof(*neighbours));

	if (neighbours == NULL)
		return NULL;
	neighbours->socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	if (neighbours->socket == NULL ||
	    mnl_socket_bind(neighbours->socket, 0, MNL_SOCKET_AUTOPID) < 0) {
		neighbour_close(neighbours);
		return NULL;
	}
	setsockopt(mnl_socket_get_fd(neighbours->socket), SOL_SOCKET, SO_RCVTIMEO, &patience,
		   sizeof(patience));
	return neighbours;
}

void neighbour_close(struct neighbours *neighbours)
{
	if (neighbours == NULL)
		return;
	if (neighbours->socket != NULL)
		mnl_socket_close(neighbours->socket);
	free(neighbours);
}

/* The head of a message about one neighbour. */
static struct ndmsg *put_neighbour(struct neighbours *neighbours, struct nlmsghdr *message,
				   uint16_t type, uint32_t ifindex, uint8_t family,
				   const union sl_addr *addr)
{
	struct ndmsg *neighbour;

	message->nlmsg_type = type;
	message->nlmsg_flags = NLM_F_REQUEST;
	message->nlmsg_seq = ++neighbours->sequence;
	neighbour = mnl_nlmsg_put_extra_header(message, sizeof(*neighbour));
	neighbour->ndm_family = family == SL_FAMILY_IPV4 ? AF_INET : AF_INET6;
	neighbour->ndm_ifindex = (int)ifindex;
	mnl_attr_put(message, NDA_DST, family == SL_FAMILY_IPV4 ? 4 : 16, addr->byte);
	return neighbour;
}

/* Sends a request and reads the kernel's answer to it. 0 or negative errno. */
static int exchange(struct neighbours *neighbours, const struct nlmsghdr *message, mnl_cb_t hear,
		    void *data)
{
	char buffer[8192];
	ssize_t n;

	if (mnl_socket_sendto(neighbours->socket, message, message->nlmsg_len) < 0)
		return -errno;
	n = mnl_socket_recvfrom(neighbours->socket, buffer, sizeof(buffer));
	if (n < 0 || mnl_cb_run(buffer, (size_t)n, neighbours->sequence,
				mnl_socket_get_portid(neighbours->socket), hear, data) < 0)
		return -errno;
	return 0;
}

static int hear_state(const struct nlmsghdr *message, void *data)
{
	const struct ndmsg *neighbour = mnl_nlmsg_get_payload(message);
	uint16_t *state = data;

	*state = neighbour->ndm_state;
	return MNL_CB_OK;
}

/* Whether the operator set the link address of @addr, and there is nothing to resolve. */
static bool is_static(struct neighbours *neighbours, uint32_t ifindex, uint8_t family,
		      const union sl_addr *addr)
{
	char buffer[256];
	struct nlmsghdr *message = mnl_nlmsg_put_header(buffer);
	uint16_t state = NUD_NONE;

	put_neighbour(neighbours, message, RTM_GETNEIGH, ifindex, family, addr);
	return exchange(neighbours, message, hear_state, &state) == 0 &&
	       (state & (NUD_PERMANENT | NUD_NOARP)) != 0;
}

static int request(struct neighbours *neighbours, uint32_t ifindex, uint8_t family,
		   const union sl_addr *addr, bool keep)
{
	char buffer[256];
	struct nlmsghdr *message = mnl_nlmsg_put_header(buffer);
	struct ndmsg *neighbour =
		put_neighbour(neighbours, message, RTM_NEWNEIGH, ifindex, family, addr);

	message->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE;
	neighbour->ndm_state = NUD_NONE;
	neighbour->ndm_flags = keep ? 0 : NTF_USE;
	if (keep)
		mnl_attr_put_u32(message, NDA_FLAGS_EXT, NTF_EXT_MANAGED);
	return exchange(neighbours, message, NULL, NULL);
}

int neighbour_resolve(struct neighbours *neighbours, uint32_t ifindex, uint8_t family,
		      const union sl_addr *addr, bool keep)
{
	/* To ask for a static neighbour would take its permanence, and so its link address. */
	if (is_static(neighbours, ifindex, family, addr))
		return 0;
	if (keep && request(neighbours, ifindex, family, addr, true) == 0)
		return 0;
	/* Kernels before 5.16 cannot keep a neighbour resolved: ask now, and again when it is used. */
	return request(neighbours, ifindex, family, addr, false);
}
