/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* See probe.h: the life of a probe, and what its kinds share. */
#include "control/daemon/probe.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "control/daemon/probe_internal.h"

static const struct timeval at_once;

static const struct probe_kind *kind_of(uint8_t type)
{
	static const struct probe_kind *const kind[N_HEALTH_CHECK_TYPES] = {
		[HEALTH_CHECK_TCP] = &probe_stream,    [HEALTH_CHECK_HTTP] = &probe_request,
		[HEALTH_CHECK_HTTPS] = &probe_request, [HEALTH_CHECK_UDP] = &probe_datagram,
		[HEALTH_CHECK_ICMP] = &probe_echo,     [HEALTH_CHECK_EXEC] = &probe_program,
	};

	return kind[type];
}

/* Half of the descriptors that there may be, for clients of the API need some, too. */
static uint32_t running_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur / 2 >= PROBE_MAX_RUNNING)
		return PROBE_MAX_RUNNING;
	return (uint32_t)limit.rlim_cur / 2;
}

struct prober *prober_new(struct event_base *base, bool may_exec)
{
	struct prober *prober = calloc(1, sizeof(*prober));

	if (!prober)
		return NULL;
	prober->base = base;
	prober->may_exec = may_exec;
	prober->max_running = running_limit();
	prober->http = probe_http_new(prober);
	if (!prober->http) {
		free(prober);
		return NULL;
	}
	return prober;
}

void prober_free(struct prober *prober)
{
	if (!prober)
		return;
	probe_http_free(prober->http);
	free(prober);
}

uint32_t prober_n_running(const struct prober *prober)
{
	return prober->n_running;
}

static void on_timer(evutil_socket_t fd, short events, void *context)
{
	struct probe *probe = context;
	char reason[PROBE_MAX_REASON];
	probe_done *done = probe->done;
	void *done_context = probe->context;
	bool is_good;

	(void)fd;
	(void)events;
	if (!probe->has_result && probe->kind->time_out)
		probe->kind->time_out(probe);
	else if (!probe->has_result)
		(void)probe_end(probe, false, "no answer within %u ms",
				health_check_timeout_ms(&probe->check));
	is_good = probe->is_good;
	(void)snprintf(reason, sizeof(reason), "%s", is_good ? "" : probe->reason);
	probe_cancel(probe);
	done(done_context, is_good, reason);
}

struct probe *probe_start(struct prober *prober, const struct health_check *check,
			  const struct probe_target *target, probe_done *done, void *context)
{
	uint32_t timeout_ms = health_check_timeout_ms(check);
	const struct timeval timeout = {.tv_sec = timeout_ms / 1000,
					.tv_usec = timeout_ms % 1000 * 1000};
	struct probe *probe;

	if (prober->n_running >= prober->max_running)
		return NULL;
	probe = calloc(1, sizeof(*probe));
	if (!probe)
		return NULL;
	*probe = (struct probe){.prober = prober,
				.kind = kind_of(check->type),
				.check = *check,
				.target = *target,
				.done = done,
				.context = context,
				.fd = -1};
	if (check->port)
		probe->target.port = sl_to_be16((uint16_t)check->port);
	probe->timer = evtimer_new(prober->base, on_timer, probe);
	if (!probe->timer || evtimer_add(probe->timer, &timeout)) {
		if (probe->timer)
			event_free(probe->timer);
		free(probe);
		return NULL;
	}
	prober->n_running++;
	if (!probe->kind->start(probe) && !probe->has_result) {
		probe_cancel(probe);
		return NULL;
	}
	return probe;
}

void probe_cancel(struct probe *probe)
{
	if (!probe)
		return;
	if (probe->kind->stop)
		probe->kind->stop(probe);
	probe_close(probe);
	event_free(probe->timer);
	probe->prober->n_running--;
	free(probe);
}

bool probe_end(struct probe *probe, bool is_good, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	(void)vsnprintf(probe->reason, sizeof(probe->reason), format, arguments);
	va_end(arguments);
	probe->is_good = is_good;
	probe->has_result = true;
	probe_close(probe);
	(void)evtimer_add(probe->timer, &at_once);
	return false;
}

socklen_t probe_address(const struct probe_target *target, struct sockaddr_storage *address)
{
	struct sockaddr_in *ipv4 = (struct sockaddr_in *)address;
	struct sockaddr_in6 *ipv6 = (struct sockaddr_in6 *)address;

	memset(address, 0, sizeof(*address));
	if (target->family == SL_FAMILY_IPV4) {
		ipv4->sin_family = AF_INET;
		ipv4->sin_port = target->port;
		memcpy(&ipv4->sin_addr, &target->addr, sizeof(ipv4->sin_addr));
		return sizeof(*ipv4);
	}
	ipv6->sin6_family = AF_INET6;
	ipv6->sin6_port = target->port;
	memcpy(&ipv6->sin6_addr, &target->addr, sizeof(ipv6->sin6_addr));
	return sizeof(*ipv6);
}

int probe_connect(struct probe *probe, int type, int protocol)
{
	struct sockaddr_storage address;
	socklen_t length = probe_address(&probe->target, &address);

	probe->fd = socket(address.ss_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
	if (probe->fd < 0)
		return errno;
	return connect(probe->fd, (struct sockaddr *)&address, length) ? errno : 0;
}

bool probe_watch(struct probe *probe, short events, event_callback_fn callback)
{
	if (probe->event)
		event_free(probe->event);
	probe->event = event_new(probe->prober->base, probe->fd, (short)(events | EV_PERSIST),
				 callback, probe);
	return probe->event && event_add(probe->event, NULL) == 0;
}

void probe_close(struct probe *probe)
{
	if (probe->event)
		event_free(probe->event);
	if (probe->fd >= 0)
		(void)close(probe->fd);
	probe->event = NULL;
	probe->fd = -1;
}

bool probe_has_expected(const struct probe *probe)
{
	return memmem(probe->answer, probe->n_received, probe->check.expect,
		      strlen(probe->check.expect)) != NULL;
}
