/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* The server's sockets: a child process serves the memory engine in a directory of its own. */
#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <event2/event.h>

#include "dataplane/dataplane.h"
#include "dataplane/server.h"
#include "wire/wire_abi.h"

enum {
	MAX_CLIENTS = 16,
	WAIT_MS = 5000,
};

static char directory[32];
static char path[64];
static pid_t child;

static void stop(evutil_socket_t number SL_UNUSED, short what SL_UNUSED, void *base)
{
	event_base_loopbreak(base);
}

/* The exit status: 0 after SIGTERM, 1 refused. */
static int serve(int ready)
{
	const struct dataplane_options options = {.run_dir = directory, .n_workers = 1};
	const struct server_options server_options = {
		.path = path, .uid = (uid_t)-1, .gid = (gid_t)-1};
	struct event_base *base = event_base_new();
	struct event *term = evsignal_new(base, SIGTERM, stop, base);
	char error[SL_MAX_ERROR] = "";
	struct dataplane *dataplane;
	struct server *server;

	event_add(term, NULL);
	if (dataplane_open(&options, base, &dataplane, error) != 0 ||
	    server_open(&server_options, dataplane, base, &server, error) != 0) {
		(void)!write(ready, error, strlen(error));
		return 1;
	}
	(void)!write(ready, "ready", 5);
	event_base_dispatch(base);
	server_close(server);
	dataplane_close(dataplane);
	event_free(term);
	event_base_free(base);
	return 0;
}

/* Starts a server and returns what it says first. */
static const char *start(pid_t *pid)
{
	static char said[SL_MAX_ERROR];
	int ends[2];
	ssize_t n;

	cr_assert_eq(pipe(ends), 0);
	*pid = fork();
	cr_assert_geq(*pid, 0);
	if (*pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		_exit(serve(ends[1]));
	}
	close(ends[1]);
	n = read(ends[0], said, sizeof(said) - 1);
	close(ends[0]);
	said[n > 0 ? n : 0] = '\0';
	return said;
}

static void set_up(void)
{
	snprintf(directory, sizeof(directory), "/tmp/sluice-XXXXXX");
	cr_assert_not_null(mkdtemp(directory));
	snprintf(path, sizeof(path), "%s/dataplane.sock", directory);
}

static void begin(void)
{
	set_up();
	cr_assert_str_eq(start(&child), "ready");
}

static void end(void)
{
	int status = -1;

	kill(child, SIGTERM);
	cr_expect_eq(waitpid(child, &status, 0), child);
	cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the server ended with %#x",
		  status);
	cr_expect_neq(access(path, F_OK), 0, "the socket was left behind");
	unlink(path);
	cr_expect_eq(rmdir(directory), 0);
}

static int dial(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	cr_assert_geq(fd, 0);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	cr_assert_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0, "%s",
		     strerror(errno));
	return fd;
}

/* One packet, or 0 when the connection is closed, or -1 when nothing comes. */
static ssize_t take(int fd, void *buffer, size_t size)
{
	struct pollfd wait = {.fd = fd, .events = POLLIN};
	ssize_t n;

	if (poll(&wait, 1, WAIT_MS) != 1)
		return -1;
	n = recv(fd, buffer, size, 0);
	return n < 0 && errno == ECONNRESET ? 0 : n;
}

static void put(int fd, uint16_t type, const void *body, size_t size)
{
	uint8_t message[512];
	const struct wire_header header = {
		.length = (uint32_t)(sizeof(header) + size), .type = type, .id = 5};

	cr_assert_leq(sizeof(header) + size, sizeof(message));
	memcpy(message, &header, sizeof(header));
	memcpy(message + sizeof(header), body, size);
	cr_assert_eq(send(fd, message, sizeof(header) + size, MSG_NOSIGNAL),
		     (ssize_t)(sizeof(header) + size));
}

/* The status of the answer. */
static int call(int fd, uint16_t type, const void *body, size_t size)
{
	static _Alignas(8) uint8_t reply[WIRE_MAX_MESSAGE];
	struct wire_header header;

	put(fd, type, body, size);
	cr_assert_geq(take(fd, reply, sizeof(reply)), (ssize_t)sizeof(header));
	memcpy(&header, reply, sizeof(header));
	cr_assert_eq(header.type, type);
	cr_assert_eq(header.id, 5);
	return header.status;
}

static int hello(int fd)
{
	const struct wire_hello_request body = {WIRE_MAGIC, WIRE_VERSION, wire_abi_hash()};

	return call(fd, WIRE_HELLO, &body, sizeof(body));
}

static int begin_transaction(int fd, uint64_t generation, uint64_t base)
{
	const struct wire_begin_request body = {.generation = generation, .base_generation = base};

	return call(fd, WIRE_BEGIN, &body, sizeof(body));
}

static void expect_alive(void)
{
	int fd = dial();

	cr_expect_eq(hello(fd), 0);
	close(fd);
}

TestSuite(server, .timeout = 60);

Test(server, a_session_over_the_socket, .init = begin, .fini = end)
{
	const struct wire_commit_request commit = {0};
	struct stat status;
	int fd = dial();

	cr_assert_eq(stat(path, &status), 0);
	cr_expect_eq(status.st_mode & 07777, 0660, "mode %o", status.st_mode & 07777);
	cr_expect_eq(hello(fd), 0);
	cr_expect_eq(begin_transaction(fd, 1, 0), 0);
	cr_expect_eq(call(fd, WIRE_COMMIT, &commit, sizeof(commit)), 0);
	cr_expect_eq(begin_transaction(fd, 2, 7), -ESTALE);
	close(fd);
}

Test(server, what_is_no_message_ends_its_connection_alone, .init = begin, .fini = end)
{
	static uint8_t rubbish[WIRE_MAX_MESSAGE + 100];
	const size_t lengths[] = {
		1, 15, 16, 100, WIRE_MAX_MESSAGE, WIRE_MAX_MESSAGE + 1, sizeof(rubbish)};
	int good = dial();

	cr_assert_eq(hello(good), 0);
	memset(rubbish, 0xa5, sizeof(rubbish));
	for (size_t i = 0; i < SL_ARRAY_LEN(lengths); i++) {
		uint8_t answer[64];
		int fd = dial();

		cr_assert_eq(send(fd, rubbish, lengths[i], MSG_NOSIGNAL), (ssize_t)lengths[i]);
		cr_expect_eq(take(fd, answer, sizeof(answer)), 0, "%zu bytes: not closed",
			     lengths[i]);
		close(fd);
	}
	cr_expect_eq(hello(good), 0);
	close(good);
}

Test(server, a_transaction_ends_with_the_connection_that_was_killed, .init = begin, .fini = end)
{
	int watcher = dial();
	int status;
	pid_t client;

	cr_assert_eq(hello(watcher), 0);
	client = fork();
	if (client == 0) {
		int fd = dial();

		if (hello(fd) == 0 && begin_transaction(fd, 1, 0) == 0)
			raise(SIGKILL);
		_exit(1);
	}
	cr_assert_eq(waitpid(client, &status, 0), client);
	cr_assert(WIFSIGNALED(status));
	for (int i = 0; i < 1000 && begin_transaction(watcher, 1, 0) != 0; i++)
		usleep(10000);
	cr_expect_eq(begin_transaction(watcher, 1, 0), -EBUSY, "the loop above got none");
	close(watcher);
}

Test(server, clients_beyond_the_limit_are_turned_away, .init = begin, .fini = end)
{
	uint8_t answer[64];
	int fd[MAX_CLIENTS];
	int late;

	for (int i = 0; i < MAX_CLIENTS; i++) {
		fd[i] = dial();
		cr_assert_eq(hello(fd[i]), 0, "client %d", i);
	}
	late = dial();
	cr_expect_eq(take(late, answer, sizeof(answer)), 0);
	close(late);
	for (int i = 0; i < MAX_CLIENTS; i++) {
		cr_expect_eq(hello(fd[i]), 0, "client %d", i);
		close(fd[i]);
	}
	usleep(50000);
	expect_alive();
}

Test(server, one_that_never_reads_is_disconnected_and_others_are_served, .init = begin, .fini = end)
{
	const struct wire_hello_request body = {WIRE_MAGIC, WIRE_VERSION, wire_abi_hash()};
	struct wire_header header = {.length = sizeof(header) + sizeof(body), .type = WIRE_HELLO};
	uint8_t message[sizeof(header) + sizeof(body)];
	int deaf = dial();
	int good = dial();
	bool is_cut = false;

	memcpy(message, &header, sizeof(header));
	memcpy(message + sizeof(header), &body, sizeof(body));
	for (int i = 0; i < 200000 && !is_cut; i++) {
		struct pollfd wait = {.fd = deaf, .events = POLLOUT};

		if (poll(&wait, 1, WAIT_MS) != 1 ||
		    send(deaf, message, sizeof(message), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
			is_cut = errno == EPIPE || errno == ECONNRESET;
		if (i % 1000 == 0)
			cr_assert_eq(hello(good), 0);
	}
	cr_expect(is_cut, "never disconnected");
	cr_expect_eq(hello(good), 0);
	close(deaf);
	close(good);
}

Test(server, a_live_socket_is_refused_and_a_dead_one_replaced, .init = begin)
{
	pid_t second;
	int status;

	cr_expect_not_null(strstr(start(&second), "another dataplane answers there"));
	cr_assert_eq(waitpid(second, &status, 0), second);
	expect_alive();
	kill(child, SIGKILL);
	cr_assert_eq(waitpid(child, &status, 0), child);
	cr_assert_eq(access(path, F_OK), 0);
	cr_expect_str_eq(start(&child), "ready");
	expect_alive();
	end();
}

Test(server, what_is_no_socket_is_not_replaced, .init = set_up)
{
	FILE *file = fopen(path, "we");
	struct stat stat_of_file;
	int status;

	cr_assert_not_null(file);
	(void)fclose(file);
	cr_expect_not_null(strstr(start(&child), "no socket"));
	cr_assert_eq(waitpid(child, &status, 0), child);
	cr_expect(stat(path, &stat_of_file) == 0 && S_ISREG(stat_of_file.st_mode));
	unlink(path);
	rmdir(directory);
}

Test(server, another_user_is_turned_away, .init = begin, .fini = end)
{
	int status = 0;
	pid_t client;

	if (geteuid() != 0) {
		(void)fprintf(stderr, "# skipped: needs root to become another user\n");
		return;
	}
	/* Even if the files' modes let it in. */
	cr_assert_eq(chmod(path, 0666), 0);
	cr_assert_eq(chmod(directory, 0755), 0);
	client = fork();
	if (client == 0) {
		uint8_t answer[64];

		if (setgid(65534) != 0 || setuid(65534) != 0)
			_exit(2);
		_exit(take(dial(), answer, sizeof(answer)) == 0 ? 0 : 1);
	}
	cr_assert_eq(waitpid(client, &status, 0), client);
	cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	expect_alive();
}
