/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* Probes against servers on the loopback, all of them in one event loop. */
#include <criterion/criterion.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <event2/event.h>

#include "config/health_check.h"
#include "control/daemon/probe.h"

enum {
	MAX_REQUEST = 4096,
	MAX_PEERS = 16,
};

/* What the server answers once it was asked; NULL: it never does. */
struct server {
	struct event_base *base;
	int fd;
	struct event *event;
	const char *answer;
	const char *rest; /* follows when the first was sent; NULL: nothing */
	bool is_to_close; /* after the answer */
	char request[MAX_REQUEST];
	size_t n_received;
	struct event *peer[MAX_PEERS];
	size_t n_peers;
};

struct outcome {
	struct event_base *base;
	int n;
	bool is_good;
	char reason[PROBE_MAX_REASON];
};

static void on_done(void *context, bool is_good, const char *reason)
{
	struct outcome *outcome = context;

	outcome->n++;
	outcome->is_good = is_good;
	(void)snprintf(outcome->reason, sizeof(outcome->reason), "%s", reason);
	(void)event_base_loopbreak(outcome->base);
}

static void say(int fd, const char *text)
{
	if (text)
		cr_expect_eq(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

static void on_request(evutil_socket_t fd, short events, void *context)
{
	struct server *server = context;
	ssize_t n = recv(fd, server->request + server->n_received,
			 sizeof(server->request) - server->n_received - 1, 0);

	(void)events;
	if (n <= 0)
		return;
	server->n_received += (size_t)n;
	if (strncmp(server->request, "GET", 3) == 0 && !strstr(server->request, "\r\n\r\n"))
		return;
	say(fd, server->answer);
	say(fd, server->rest);
	if (server->is_to_close)
		(void)shutdown(fd, SHUT_RDWR);
}

static void on_peer(evutil_socket_t fd, short events, void *context)
{
	struct server *server = context;
	int peer = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	(void)events;
	cr_assert(peer >= 0 && server->n_peers < MAX_PEERS);
	server->peer[server->n_peers] =
		event_new(server->base, peer, EV_READ | EV_PERSIST, on_request, server);
	(void)event_add(server->peer[server->n_peers++], NULL);
}

static void on_datagram(evutil_socket_t fd, short events, void *context)
{
	struct server *server = context;
	struct sockaddr_in peer;
	socklen_t length = sizeof(peer);
	ssize_t n = recvfrom(fd, server->request, sizeof(server->request) - 1, 0,
			     (struct sockaddr *)&peer, &length);

	(void)events;
	if (n >= 0 && server->answer)
		(void)sendto(fd, server->answer, strlen(server->answer), 0,
			     (struct sockaddr *)&peer, length);
}

/* Returns the port, network order. */
static be16_t server_open(struct server *server, struct event_base *base, int type)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof(address);

	server->base = base;
	server->fd = socket(AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	cr_assert_eq(bind(server->fd, (struct sockaddr *)&address, length), 0);
	cr_assert_eq(getsockname(server->fd, (struct sockaddr *)&address, &length), 0);
	if (type == SOCK_STREAM)
		cr_assert_eq(listen(server->fd, 16), 0);
	server->event = event_new(base, server->fd, EV_READ | EV_PERSIST,
				  type == SOCK_STREAM ? on_peer : on_datagram, server);
	(void)event_add(server->event, NULL);
	return address.sin_port;
}

static void server_close(struct server *server)
{
	for (size_t i = 0; i < server->n_peers; i++) {
		int fd = event_get_fd(server->peer[i]);

		event_free(server->peer[i]);
		(void)close(fd);
	}
	event_free(server->event);
	(void)close(server->fd);
}

static struct health_check check_of(uint8_t type)
{
	struct health_check check;

	health_check_init(&check);
	check.type = type;
	check.interval_ms = 10000;
	check.timeout_ms = 1500;
	return check;
}

static struct probe_target loopback(be16_t port)
{
	return (struct probe_target){
		.addr.ipv4 = SL_BE32(0x7f000001), .port = port, .family = SL_FAMILY_IPV4};
}

/* One probe from start to result. */
static struct outcome run(struct event_base *base, const struct health_check *check, be16_t port)
{
	struct outcome outcome = {.base = base};
	struct prober *prober = prober_new(base, true);
	struct probe_target target = loopback(port);
	struct health_check settled = *check;

	health_check_settle(&settled);
	cr_assert(prober);
	cr_assert(probe_start(prober, &settled, &target, on_done, &outcome));
	cr_expect_eq(outcome.n, 0, "a result from within probe_start()");
	(void)event_base_dispatch(base);
	cr_expect_eq(outcome.n, 1);
	cr_expect_eq(prober_n_running(prober), 0);
	prober_free(prober);
	return outcome;
}

static void expect(const char *row, const struct outcome *outcome, const char *reason)
{
	cr_expect_eq(outcome->is_good, reason == NULL, "%s: %s", row, outcome->reason);
	if (reason)
		cr_expect(strstr(outcome->reason, reason), "%s: \"%s\", not \"%s\"", row,
			  outcome->reason, reason);
}

/* A port of the loopback that nobody listens on. */
static be16_t free_port(struct event_base *base, int type)
{
	struct server server = {0};
	be16_t port = server_open(&server, base, type);

	server_close(&server);
	return port;
}

Test(probe, tcp)
{
	static const struct {
		const char *name, *send, *expect, *answer, *rest, *reason;
		bool is_to_close;
	} rows[] = {
		{"a connection is enough", "", "", NULL, NULL, NULL, false},
		{"an answer", "PING\r\n", "+PONG", "+PONG\r\n", NULL, NULL, false},
		{"an answer within others", "PING\r\n", "+PONG", "hello +PO", "NG\r\n", NULL,
		 false},
		{"a banner", "x", "220 ", "220 mail\r\n", NULL, NULL, false},
		{"another answer", "PING\r\n", "+PONG", "-ERR\r\n", NULL,
		 "no answer within 1500 ms", false},
		{"another answer and an end", "PING\r\n", "+PONG", "-ERR\r\n", NULL,
		 "6 bytes of answer without what is expected", true},
		{"an end", "PING\r\n", "+PONG", "", NULL, "0 bytes of answer", true},
		{"silence", "PING\r\n", "+PONG", NULL, NULL, "no answer within 1500 ms", false},
	};

	for (size_t i = 0; i < SL_ARRAY_LEN(rows); i++) {
		struct event_base *base = event_base_new();
		struct server server = {.answer = rows[i].answer,
					.rest = rows[i].rest,
					.is_to_close = rows[i].is_to_close};
		struct health_check check = check_of(HEALTH_CHECK_TCP);
		struct outcome outcome;
		be16_t port = server_open(&server, base, SOCK_STREAM);

		(void)snprintf(check.send, sizeof(check.send), "%s", rows[i].send);
		(void)snprintf(check.expect, sizeof(check.expect), "%s", rows[i].expect);
		outcome = run(base, &check, port);
		expect(rows[i].name, &outcome, rows[i].reason);
		if (rows[i].send[0])
			cr_expect_str_eq(server.request, rows[i].send, "%s", rows[i].name);
		server_close(&server);
		event_base_free(base);
	}
}

Test(probe, what_can_be_said_at_once_is_a_result)
{
	struct event_base *base = event_base_new();
	static const uint8_t types[] = {HEALTH_CHECK_TCP, HEALTH_CHECK_HTTP, HEALTH_CHECK_UDP};
	struct health_check check;
	struct outcome outcome;

	for (size_t i = 0; i < SL_ARRAY_LEN(types); i++) {
		int type = types[i] == HEALTH_CHECK_UDP ? SOCK_DGRAM : SOCK_STREAM;

		check = check_of(types[i]);
		outcome = run(base, &check, free_port(base, type));
		expect(health_check_type_name(types[i]), &outcome, "Connection refused");
	}
	event_base_free(base);
}

Test(probe, the_checks_own_port_is_asked)
{
	struct event_base *base = event_base_new();
	struct server server = {0};
	struct health_check check = check_of(HEALTH_CHECK_TCP);
	struct outcome outcome;

	check.port = sl_from_be16(server_open(&server, base, SOCK_STREAM));
	outcome = run(base, &check, SL_BE16(1));
	expect("port", &outcome, NULL);
	server_close(&server);
	event_base_free(base);
}

#define OK "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"

static char large[70000 + 64]; /* a body that goes on beyond what is looked at */

Test(probe, http)
{
	static const struct {
		const char *name, *answer, *rest, *statuses, *body, *reason;
		bool is_to_close;
	} rows[] = {
		{"200", OK, "hello", "", "", NULL, false},
		{"204", "HTTP/1.1 204 No Content\r\n\r\n", NULL, "", "", NULL, false},
		{"a redirect is good, and not followed",
		 "HTTP/1.1 302 Found\r\nLocation: http://192.0.2.1/\r\nContent-Length: 0\r\n\r\n",
		 NULL, "", "", NULL, false},
		{"500", "HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", NULL, "", "",
		 "status 500", false},
		{"200 where 204 is good", OK, "hello", "204", "", "status 200", false},
		{"body", OK, "hello", "", "ell", NULL, false},
		{"another body", OK, "hullo", "", "ell",
		 "status 200, 5 bytes of body without what is expected", false},
		{"half a body", OK, "he", "", "", "transfer closed", true},
		{"a body that never ends", OK, "he", "", "", "no answer within 1500 ms", false},
		{"more body than is looked at", large, NULL, "", "here", NULL, false},
		{"what is looked for is behind", large, NULL, "", "there",
		 "65536 bytes of body without", false},
		{"no HTTP", "220 mail\r\n", NULL, "", "", "HTTP/0.9", false},
		{"an end", "", NULL, "", "", "Empty reply", true},
		{"silence", NULL, NULL, "", "", "no answer within 1500 ms", false},
	};
	int n = snprintf(large, sizeof(large),
			 "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nhere");

	memset(large + n, '.', 70000);
	memcpy(large + n + 68000, "there", 5);
	large[n + 68005] = '\0';
	for (size_t i = 0; i < SL_ARRAY_LEN(rows); i++) {
		struct event_base *base = event_base_new();
		struct server server = {.answer = rows[i].answer,
					.rest = rows[i].rest,
					.is_to_close = rows[i].is_to_close};
		struct health_check check = check_of(HEALTH_CHECK_HTTP);
		struct outcome outcome;
		be16_t port = server_open(&server, base, SOCK_STREAM);

		(void)snprintf(check.statuses, sizeof(check.statuses), "%s", rows[i].statuses);
		(void)snprintf(check.body, sizeof(check.body), "%s", rows[i].body);
		outcome = run(base, &check, port);
		expect(rows[i].name, &outcome, rows[i].reason);
		server_close(&server);
		event_base_free(base);
	}
}

Test(probe, an_http_request_says_what_it_was_told)
{
	struct event_base *base = event_base_new();
	struct server server = {.answer = OK, .rest = "hello"};
	struct health_check check = check_of(HEALTH_CHECK_HTTP);
	struct outcome outcome;
	char host[64];
	be16_t port = server_open(&server, base, SOCK_STREAM);

	cr_assert_eq(setenv("http_proxy", "http://192.0.2.1:3128", 1), 0);
	(void)snprintf(check.path, sizeof(check.path), "/a/../health?full=1");
	outcome = run(base, &check, port);
	expect("no host", &outcome, NULL);
	(void)snprintf(host, sizeof(host), "\r\nHost: 127.0.0.1:%u\r\n", sl_from_be16(port));
	cr_expect(strstr(server.request, host), "%s", server.request);
	cr_expect_eq(strncmp(server.request, "GET /a/../health?full=1 HTTP/1.1\r\n", 34), 0, "%s",
		     server.request);
	server.n_received = 0;
	(void)snprintf(check.host, sizeof(check.host), "web.example");
	(void)snprintf(check.method, sizeof(check.method), "OPTIONS");
	outcome = run(base, &check, port);
	expect("a host", &outcome, NULL);
	cr_expect(strstr(server.request, "\r\nHost: web.example\r\n"), "%s", server.request);
	cr_expect_eq(strncmp(server.request, "OPTIONS ", 8), 0, "%s", server.request);
	cr_expect_eq(server.n_peers, 2, "a connection each");
	server_close(&server);
	event_base_free(base);
}

Test(probe, udp)
{
	static const struct {
		const char *name, *expect, *answer, *reason;
	} rows[] = {
		{"an answer", "pong", "pong", NULL},
		{"another answer", "pong", "nope", "4 bytes of answer without what is expected"},
		{"any answer", "", "nope", NULL},
		{"silence where an answer is expected", "pong", NULL, "no answer within 1500 ms"},
		{"silence", "", NULL, NULL},
	};

	for (size_t i = 0; i < SL_ARRAY_LEN(rows); i++) {
		struct event_base *base = event_base_new();
		struct server server = {.answer = rows[i].answer};
		struct health_check check = check_of(HEALTH_CHECK_UDP);
		struct outcome outcome;
		be16_t port = server_open(&server, base, SOCK_DGRAM);

		(void)snprintf(check.send, sizeof(check.send), "ping");
		(void)snprintf(check.expect, sizeof(check.expect), "%s", rows[i].expect);
		outcome = run(base, &check, port);
		expect(rows[i].name, &outcome, rows[i].reason);
		cr_expect_str_eq(server.request, "ping");
		server_close(&server);
		event_base_free(base);
	}
}

/* @script as an executable file, whose name goes to @path. */
static void write_program(const char *script, char path[static 32])
{
	int fd;

	(void)snprintf(path, 32, "/tmp/probe-XXXXXX");
	fd = mkstemp(path);
	cr_assert(fd >= 0);
	cr_assert_eq(write(fd, script, strlen(script)), (ssize_t)strlen(script));
	cr_assert_eq(fchmod(fd, 0700), 0);
	(void)close(fd);
}

Test(probe, exec)
{
	static const struct {
		const char *script, *reason;
	} rows[] = {
		{"#!/bin/sh\nexit 0\n", NULL},
		{"#!/bin/sh\nexit 3\n", "exit status 3"},
		{"#!/bin/sh\n[ $SLUICE_ADDRESS:$SLUICE_PORT = 127.0.0.1:8080 ]\n", NULL},
		{"#!/bin/sh\n[ -z \"$HOME\" ] || exit 4\n[ $(ls /proc/self/fd | wc -l) -le 4 ] || "
		 "exit 5\n",
		 NULL},
		{"#!/bin/sh\nkill -9 $$\n", "killed by signal 9"},
		{"#!/bin/sh\nsleep 1000 & sleep 1000\n", "no answer within 1500 ms"},
		{"#!/nowhere\n", "No such file"},
	};

	for (size_t i = 0; i < SL_ARRAY_LEN(rows); i++) {
		struct event_base *base = event_base_new();
		struct health_check check = check_of(HEALTH_CHECK_EXEC);
		struct outcome outcome;
		char path[32];

		write_program(rows[i].script, path);
		(void)snprintf(check.command, sizeof(check.command), "%s", path);
		outcome = run(base, &check, SL_BE16(8080));
		expect(rows[i].script, &outcome, rows[i].reason);
		(void)unlink(path);
		event_base_free(base);
	}
	while (waitpid(-1, NULL, 0) > 0)
		; /* what was killed */
	cr_expect_eq(errno, ECHILD);
}

Test(probe, no_more_run_than_may)
{
	struct event_base *base = event_base_new();
	struct prober *prober = prober_new(base, true);
	struct health_check check = check_of(HEALTH_CHECK_EXEC);
	struct probe *probe[PROBE_MAX_PROGRAMS];
	struct probe_target target = loopback(SL_BE16(80));
	struct outcome outcome = {.base = base};
	char path[32];

	write_program("#!/bin/sh\nexec sleep 1000\n", path);
	(void)snprintf(check.command, sizeof(check.command), "%s", path);
	for (size_t i = 0; i < PROBE_MAX_PROGRAMS; i++) {
		probe[i] = probe_start(prober, &check, &target, on_done, &outcome);
		cr_assert(probe[i]);
	}
	cr_expect_null(probe_start(prober, &check, &target, on_done, &outcome));
	for (size_t i = 0; i < PROBE_MAX_PROGRAMS; i++)
		probe_cancel(probe[i]);
	cr_expect_eq(prober_n_running(prober), 0);
	cr_expect_eq(outcome.n, 0, "a probe that is cancelled has no result");
	while (waitpid(-1, NULL, 0) > 0)
		;
	prober_free(prober);
	event_base_free(base);
	(void)unlink(path);
}

Test(probe, programs_are_not_run_unless_they_may)
{
	struct event_base *base = event_base_new();
	struct prober *prober = prober_new(base, false);
	struct health_check check = check_of(HEALTH_CHECK_EXEC);
	struct probe_target target = loopback(SL_BE16(80));
	struct outcome outcome = {.base = base};

	(void)snprintf(check.command, sizeof(check.command), "/bin/false");
	cr_assert(probe_start(prober, &check, &target, on_done, &outcome));
	(void)event_base_dispatch(base);
	cr_expect(outcome.is_good, "and nobody is down for it");
	prober_free(prober);
	event_base_free(base);
}
