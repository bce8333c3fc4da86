/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * udp: `send` as one datagram. Bad is an ICMP error, which the kernel reports on the connected socket, and an
 * answer without what is expected; without `expect` no answer is good, too. icmp: an echo request from a ping
 * socket, which needs no rights but the sysctl net.ipv4.ping_group_range. The kernel chooses the identifier
 * and hands over answers to it alone; the data tells whose they are (RFC 792, RFC 4443).
 */
#include <errno.h>
#include <netinet/icmp6.h>
#include <netinet/ip_icmp.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "control/daemon/probe_internal.h"

static bool is_of_us(int error)
{
	return error == EMFILE || error == ENFILE || error == ENOBUFS;
}

/* The next datagram in probe->answer; false: none is there, or there is a result. */
static bool receive(struct probe *probe)
{
	ssize_t n = recv(probe->fd, probe->answer, PROBE_MAX_ANSWER, 0);

	if (n < 0 && errno != EAGAIN && errno != EINTR)
		(void)probe_end(probe, false, "%s", strerror(errno));
	probe->n_received = n > 0 ? (size_t)n : 0;
	return n >= 0;
}

static void on_datagram(evutil_socket_t fd, short events, void *context)
{
	struct probe *probe = context;

	(void)fd;
	(void)events;
	if (!receive(probe))
		return;
	if (probe_has_expected(probe))
		(void)probe_end(probe, true, "%s", "");
	else
		(void)probe_end(probe, false, "%zu bytes of answer without what is expected",
				probe->n_received);
}

static bool start_datagram(struct probe *probe)
{
	int error = probe_connect(probe, SOCK_DGRAM, 0);

	if (!error && send(probe->fd, probe->check.send, strlen(probe->check.send), 0) < 0)
		error = errno;
	if (is_of_us(error))
		return false;
	if (error)
		return probe_end(probe, false, "send: %s", strerror(error));
	return probe_watch(probe, EV_READ, on_datagram);
}

static void time_out_datagram(struct probe *probe)
{
	bool is_good = probe->check.expect[0] == '\0';

	(void)probe_end(probe, is_good, "no answer within %u ms",
			health_check_timeout_ms(&probe->check));
}

const struct probe_kind probe_datagram = {.start = start_datagram, .time_out = time_out_datagram};

/* Of an echo request and its reply, in both families. */
struct echo {
	uint8_t type;
	uint8_t code;
	be16_t checksum; /* the kernel's */
	be16_t identifier;
	be16_t sequence;
	uint64_t data;
};

static void on_echo(evutil_socket_t fd, short events, void *context)
{
	struct probe *probe = context;
	uint8_t reply = probe->target.family == SL_FAMILY_IPV4 ? ICMP_ECHOREPLY : ICMP6_ECHO_REPLY;
	struct echo echo;

	(void)fd;
	(void)events;
	if (!receive(probe) || probe->n_received != sizeof(echo))
		return;
	memcpy(&echo, probe->answer, sizeof(echo));
	if (echo.type == reply && echo.data == probe->nonce)
		(void)probe_end(probe, true, "%s", "");
}

static bool start_echo(struct probe *probe)
{
	bool is_ipv4 = probe->target.family == SL_FAMILY_IPV4;
	struct echo echo = {.type = is_ipv4 ? ICMP_ECHO : ICMP6_ECHO_REQUEST};
	int error;

	probe->target.port = 0;
	error = probe_connect(probe, SOCK_DGRAM, is_ipv4 ? IPPROTO_ICMP : IPPROTO_ICMPV6);
	if (error == EACCES && probe->fd < 0)
		return probe_end(probe, false,
				 "ping sockets are refused: see sysctl net.ipv4.ping_group_range");
	(void)!getrandom(&probe->nonce, sizeof(probe->nonce), GRND_NONBLOCK);
	echo.data = probe->nonce;
	if (!error && send(probe->fd, &echo, sizeof(echo), 0) < 0)
		error = errno;
	if (is_of_us(error))
		return false;
	if (error)
		return probe_end(probe, false, "send: %s", strerror(error));
	return probe_watch(probe, EV_READ, on_echo);
}

const struct probe_kind probe_echo = {.start = start_echo};
