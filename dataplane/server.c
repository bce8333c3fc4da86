/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * Connections of the private protocol. Each request is answered before the next is read, so there
 * is nothing to queue: a peer that does not take its answers is disconnected.
 */
#include "dataplane/server.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <event2/event.h>

#include "dataplane/session.h"
#include "log/log.h"

enum {
	MAX_CLIENTS = 16,
	MAX_MESSAGES_A_TURN = 64, /* of one client, before others have theirs */
	SEND_BUFFER_BYTES = 1 << 20,
	PAUSE_MS = 100, /* without accepting, when the process has no descriptor left */
	TICK_SEC = 1,
};

struct client {
	struct server *server;
	struct session *session;
	struct event *readable;
	int fd;
	int pid;
};

struct server {
	struct server_options options;
	struct sessions *sessions;
	struct event_base *base;
	struct event *acceptable;
	struct event *pause;
	struct event *tick;
	int fd;
	bool is_out_of_descriptors; /* and that has been logged */
	struct client *client[MAX_CLIENTS];
	_Alignas(8) uint8_t request[WIRE_MAX_MESSAGE];
	_Alignas(8) uint8_t reply[WIRE_MAX_MESSAGE];
	char path[108];
};

static void client_close(struct client *client)
{
	struct server *server = client->server;

	for (int i = 0; i < MAX_CLIENTS; i++)
		if (server->client[i] == client)
			server->client[i] = NULL;
	if (client->readable != NULL)
		event_free(client->readable);
	session_free(client->session);
	close(client->fd);
	free(client);
}

enum turn {
	TURN_DONE, /* one message in, one out */
	TURN_IDLE, /* nothing to read */
	TURN_OVER, /* the connection is to be closed */
};

static enum turn client_turn(struct client *client)
{
	struct server *server = client->server;
	ssize_t n = recv(client->fd, server->request, sizeof(server->request),
			 MSG_DONTWAIT | MSG_TRUNC);
	size_t length;

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? TURN_IDLE : TURN_OVER;
	if (n == 0)
		return TURN_OVER;
	/* Longer than the limit: the length that MSG_TRUNC tells is refused like any other. */
	length = session_handle(client->session, server->request, (size_t)n, server->reply);
	if (length == 0) {
		log_warn("client pid %d: a packet of %zd bytes is no message: disconnected",
			 client->pid, n);
		return TURN_OVER;
	}
	if (send(client->fd, server->reply, length, MSG_DONTWAIT | MSG_NOSIGNAL) !=
	    (ssize_t)length) {
		log_warn("client pid %d: does not take its answers: disconnected", client->pid);
		return TURN_OVER;
	}
	return TURN_DONE;
}

static void on_readable(evutil_socket_t fd SL_UNUSED, short what SL_UNUSED, void *data)
{
	struct client *client = data;

	for (int i = 0; i < MAX_MESSAGES_A_TURN; i++) {
		enum turn turn = client_turn(client);

		if (turn == TURN_OVER)
			client_close(client);
		if (turn != TURN_DONE)
			return;
	}
}

static bool may_connect(const struct server *server, const struct ucred *peer)
{
	return peer->uid == 0 || peer->uid == geteuid() || peer->uid == server->options.uid ||
	       (server->options.gid != (gid_t)-1 && peer->gid == server->options.gid);
}

static int free_place(const struct server *server)
{
	for (int i = 0; i < MAX_CLIENTS; i++)
		if (server->client[i] == NULL)
			return i;
	return -1;
}

static void client_open(struct server *server, int fd, int place, const struct ucred *peer)
{
	const int send_buffer_bytes = SEND_BUFFER_BYTES;
	struct client *client = calloc(1, sizeof(*client));

	if (client == NULL) {
		close(fd);
		return;
	}
	client->server = server;
	client->fd = fd;
	client->pid = peer->pid;
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &send_buffer_bytes, sizeof(send_buffer_bytes));
	client->session = session_new(server->sessions, peer->pid);
	client->readable = event_new(server->base, fd, EV_READ | EV_PERSIST, on_readable, client);
	server->client[place] = client;
	if (client->session == NULL || client->readable == NULL ||
	    event_add(client->readable, NULL) != 0)
		client_close(client);
}

/*
 * The connection stays in the listener's queue, which therefore stays readable: a pause, in which
 * clients may end, instead of a busy loop.
 */
static void pause_accepting(struct server *server, int error)
{
	const struct timeval delay = {.tv_usec = PAUSE_MS * 1000};

	if (!server->is_out_of_descriptors)
		log_warn("socket %s: accept: %s; trying again every %d ms", server->path,
			 strerror(error), PAUSE_MS);
	server->is_out_of_descriptors = true;
	/* A server that cannot set its timer goes on listening, busily. */
	if (event_add(server->pause, &delay) == 0)
		event_del(server->acceptable);
}

static void on_pause_end(evutil_socket_t fd SL_UNUSED, short what SL_UNUSED, void *data)
{
	struct server *server = data;

	if (event_add(server->acceptable, NULL) != 0)
		pause_accepting(server, ENOMEM);
}

static void on_acceptable(evutil_socket_t listener, short what SL_UNUSED, void *data)
{
	struct server *server = data;
	struct ucred peer;
	socklen_t length = sizeof(peer);
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	int place;

	if (fd < 0) {
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
			pause_accepting(server, errno);
		return;
	}
	if (server->is_out_of_descriptors)
		log_info("socket %s: accepts again", server->path);
	server->is_out_of_descriptors = false;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0 ||
	    !may_connect(server, &peer)) {
		log_warn("client: uid %u may not connect", length == sizeof(peer) ? peer.uid : 0);
		close(fd);
		return;
	}
	place = free_place(server);
	if (place < 0) {
		log_warn("client pid %d: too many clients (limit %d)", peer.pid, MAX_CLIENTS);
		close(fd);
		return;
	}
	client_open(server, fd, place, &peer);
}

/* Removes the socket of a process that is gone. -EADDRINUSE: somebody answers there. */
static int clear_path(const struct sockaddr_un *address)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct stat file;
	int status = 0;

	if (fd < 0)
		return -errno;
	if (lstat(address->sun_path, &file) == 0 && !S_ISSOCK(file.st_mode)) {
		close(fd);
		return -EEXIST;
	}
	if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 || errno == EAGAIN)
		status = -EADDRINUSE;
	else if (errno == ECONNREFUSED)
		unlink(address->sun_path);
	close(fd);
	return status;
}

int server_clear_path(const char *path, char *error)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int status;

	if (strlen(path) >= sizeof(address.sun_path)) {
		snprintf(error, SL_MAX_ERROR, "socket %.120s: path longer than %zu bytes", path,
			 sizeof(address.sun_path) - 1);
		return -ENAMETOOLONG;
	}
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	status = clear_path(&address);
	if (status != 0)
		snprintf(error, SL_MAX_ERROR, "socket %s: %s", path,
			 status == -EADDRINUSE ? "another dataplane answers there"
			 : status == -EEXIST   ? "something that is no socket stands there"
					       : strerror(-status));
	return status;
}

static int listen_at(struct server *server, char *error)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	const char *path = server->options.path;
	mode_t former;
	int status = server_clear_path(path, error);

	if (status != 0)
		return status;
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	server->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	former = umask(0117);
	status = server->fd < 0 || bind(server->fd, (const struct sockaddr *)&address,
					sizeof(address)) != 0
			 ? -errno
			 : 0;
	umask(former);
	if (status == 0)
		snprintf(server->path, sizeof(server->path), "%s", path); /* ours to remove */
	if (status == 0 && listen(server->fd, MAX_CLIENTS) != 0)
		status = -errno;
	if (status == 0 && server->options.gid != (gid_t)-1 && geteuid() == 0 &&
	    chown(path, (uid_t)-1, server->options.gid) != 0)
		status = -errno;
	if (status != 0)
		snprintf(error, SL_MAX_ERROR, "socket %s: %s", path, strerror(-status));
	return status;
}

static void on_tick(evutil_socket_t fd SL_UNUSED, short what SL_UNUSED, void *data)
{
	struct server *server = data;

	sessions_tick(server->sessions);
}

static int events_open(struct server *server)
{
	const struct timeval interval = {.tv_sec = TICK_SEC};

	server->acceptable =
		event_new(server->base, server->fd, EV_READ | EV_PERSIST, on_acceptable, server);
	server->pause = event_new(server->base, -1, 0, on_pause_end, server);
	server->tick = event_new(server->base, -1, EV_PERSIST, on_tick, server);
	if (server->acceptable == NULL || server->pause == NULL || server->tick == NULL ||
	    event_add(server->acceptable, NULL) != 0 || event_add(server->tick, &interval) != 0)
		return -ENOMEM;
	return 0;
}

int server_open(const struct server_options *options, struct dataplane *dataplane,
		struct event_base *base, struct server **out, char *error)
{
	struct server *server = calloc(1, sizeof(*server));
	int status;

	if (server == NULL)
		return -ENOMEM;
	server->options = *options;
	server->base = base;
	server->fd = -1;
	server->sessions = sessions_new(dataplane);
	status = server->sessions == NULL ? -ENOMEM : listen_at(server, error);
	if (status == 0)
		status = events_open(server);
	if (status != 0) {
		server_close(server);
		return status;
	}
	*out = server;
	return 0;
}

void server_close(struct server *server)
{
	if (server == NULL)
		return;
	for (int i = 0; i < MAX_CLIENTS; i++)
		if (server->client[i] != NULL)
			client_close(server->client[i]);
	if (server->acceptable != NULL)
		event_free(server->acceptable);
	if (server->pause != NULL)
		event_free(server->pause);
	if (server->tick != NULL)
		event_free(server->tick);
	if (server->fd >= 0)
		close(server->fd);
	if (server->path[0] != '\0')
		unlink(server->path);
	sessions_free(server->sessions);
	free(server);
}
