/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * Clients of the public socket. Each turn of the event loop runs one request of a client at most,
 * so that one who pipes thousands of them waits for the others. Limits, all of them with an answer
 * that names them where one can be given: clients, clients of a user, bytes of a document, seconds
 * of a document that does not end, bytes of answers that are not read.
 */
#include "control/daemon/api.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>

#include "control/daemon/daemon.h"
#include "control/daemon/events.h"
#include "control/daemon/handlers.h"
#include "control/daemon/peer.h"
#include "log/log.h"

enum {
	PARTIAL_TIMEOUT_SEC = 5,
	WRITE_TIMEOUT_SEC = 30,
	MAX_QUEUED_BYTES = 8 * 1024 * 1024,  /* of answers not read, when another is due */
	MAX_ANSWER_BYTES = 64 * 1024 * 1024, /* of one answer */
	MAX_QUEUED_EVENT_BYTES =
		64 * 1024, /* of events not read; the others wait where all are kept */
	BACKLOG = 64,
	PAUSE_MS = 100,
};

struct api_client {
	struct api *api;
	struct api_client *next, **link; /* list of all clients */
	struct peer peer;
	struct bufferevent *stream;
	struct event *turn;     /* runs the next request */
	struct event *deadline; /* of a document that has begun */
	size_t scanned;         /* bytes of the input known to hold no newline */
	struct events_cursor cursor;
	bool is_subscribed;
	bool is_ended;   /* it sends no more */
	bool is_closing; /* answers are flushed, then it ends */
};

struct api {
	struct daemon *daemon;
	struct api_options options;
	char *path;
	struct evconnlistener *listener;
	struct event *pause;
	struct event *wake;         /* something happened: subscribers are told */
	bool is_out_of_descriptors; /* and that has been logged */
	struct api_client *clients;
	unsigned n_clients;
};

/*
 * A timer of no time, because event_active() would run the next request before the loop looks at
 * any other client's descriptor.
 */
static void await_turn(struct api_client *client)
{
	const struct timeval now = {0};

	if (!event_pending(client->turn, EV_TIMEOUT, NULL))
		(void)event_add(client->turn, &now);
}

static void client_end(struct api_client *client)
{
	*client->link = client->next;
	if (client->next)
		client->next->link = client->link;
	client->api->n_clients--;
	if (client->turn)
		event_free(client->turn);
	if (client->deadline)
		event_free(client->deadline);
	if (client->stream)
		bufferevent_free(client->stream);
	free(client);
}

/* Ends the client once all answers are out; nothing more is read. */
static void end_after_flush(struct api_client *client)
{
	client->is_closing = true;
	(void)bufferevent_disable(client->stream, EV_READ);
	(void)event_del(client->deadline);
	(void)event_del(client->turn);
	if (evbuffer_get_length(bufferevent_get_output(client->stream)) == 0)
		client_end(client);
}

static void free_line(const void *line, size_t length, void *context)
{
	(void)length;
	(void)context;
	free((void *)(uintptr_t)line);
}

/* Queues one line, taken over. False: the client is gone. */
static bool send_line(struct api_client *client, char *line, size_t length)
{
	struct evbuffer *output = bufferevent_get_output(client->stream);
	bool is_too_slow = evbuffer_get_length(output) > MAX_QUEUED_BYTES;

	if (line && !is_too_slow &&
	    evbuffer_add_reference(output, line, length, free_line, NULL) == 0)
		return true;
	if (is_too_slow)
		log_warn("api: pid %d uid %u: more than %d bytes of answers not read, closed",
			 client->peer.pid, client->peer.uid, MAX_QUEUED_BYTES);
	free(line);
	client_end(client);
	return false;
}

static bool send_error(struct api_client *client, const json_t *id, const struct rpc_error *error)
{
	size_t length = 0;
	char *line = rpc_encode_error(id, error, &length);

	return send_line(client, line, length);
}

static bool send_result(struct api_client *client, const json_t *id, json_t *result,
			const struct rpc_list *list)
{
	struct rpc_error error;
	size_t length = 0;
	char *line = rpc_encode_result(id, result, list, &length);

	if (!line || length <= MAX_ANSWER_BYTES)
		return send_line(client, line, length);
	free(line);
	rpc_error_set(&error, RPC_LIMIT, NULL,
		      "answer: %zu bytes, the limit is %d: ask for one service", length,
		      MAX_ANSWER_BYTES);
	return send_error(client, id, &error);
}

/* A copy for one log line: what callers send may hold anything. */
static const char *log_safe(const char *text, char *buffer, size_t size)
{
	size_t i;

	for (i = 0; text[i] && i + 1 < size; i++)
		buffer[i] = (unsigned char)text[i] < 0x20 || text[i] == 0x7f ? '?' : text[i];
	buffer[i] = '\0';
	return buffer;
}

/* Each mutation leaves one line: who, what, on what, with what outcome. */
static void audit(const struct api_client *client, const struct rpc_request *request, int code,
		  const json_t *result, const struct rpc_error *error)
{
	const struct method *method = method_find(request->method);
	const char *object = json_string_value(json_object_get(request->params, "name"));
	const char *backend = json_string_value(json_object_get(request->params, "address"));
	char outcome[320], object_text[80], backend_text[80], text[256];

	if (!method || !method->is_mutation)
		return;
	if (!object)
		object = json_string_value(json_object_get(request->params, "service"));
	if (code)
		(void)snprintf(outcome, sizeof(outcome), "refused, %d: %s", code,
			       log_safe(error->message, text, sizeof(text)));
	else
		(void)snprintf(outcome, sizeof(outcome), "generation %lld, %s",
			       (long long)json_integer_value(json_object_get(result, "generation")),
			       json_is_true(json_object_get(result, "dry_run")) ? "dry run"
			       : json_is_true(json_object_get(result, "applied"))
				       ? "applied"
				       : "not applied yet");
	log_info("api: pid %d uid %u: %s %s %s: %s", client->peer.pid, client->peer.uid,
		 method->name, log_safe(object ? object : "", object_text, sizeof(object_text)),
		 log_safe(backend ? backend : "", backend_text, sizeof(backend_text)), outcome);
}

/* Sends a subscriber what it may be sent now. False: it is gone. */
static bool tell_events(struct api_client *client)
{
	const struct evbuffer *output = bufferevent_get_output(client->stream);

	while (client->is_subscribed && !client->is_closing &&
	       evbuffer_get_length(output) < MAX_QUEUED_EVENT_BYTES) {
		size_t length;
		char *line = events_next(client->api->daemon->events, &client->cursor, &length);

		if (!line)
			break;
		if (!send_line(client, line, length))
			return false;
	}
	return true;
}

/* As the answer says, which has gone out before. */
static bool subscribe(struct api_client *client, const json_t *result)
{
	const json_t *types = json_object_get(result, "types");
	const json_t *name;
	enum event_type type;
	size_t i;

	client->is_subscribed = true;
	client->cursor = (struct events_cursor){
		.next = (uint64_t)json_integer_value(json_object_get(result, "since")) + 1,
	};
	json_array_foreach(types, i, name)
	{
		if (event_type_find(json_string_value(name), &type))
			client->cursor.types |= 1u << type;
	}
	return tell_events(client);
}

static void on_wake(evutil_socket_t fd, short events, void *context)
{
	struct api *api = context;
	struct api_client *next;

	(void)fd;
	(void)events;
	for (struct api_client *client = api->clients; client; client = next) {
		next = client->next;
		(void)tell_events(client);
	}
}

/* An event is told when whoever made it is done. */
static void hear_event(void *context)
{
	const struct timeval now = {0};
	struct api *api = context;

	if (!event_pending(api->wake, EV_TIMEOUT, NULL))
		(void)event_add(api->wake, &now);
}

/* Bytes of a document: a whole configuration is sent by who may change things. */
static size_t limit_of(const struct api_client *client)
{
	return client->peer.access == ACCESS_WRITE ? SL_MAX_RPC_WRITER_BYTES : SL_MAX_RPC_BYTES;
}

/* Runs one line. False: the client is gone. */
static bool run_line(struct api_client *client, const char *line, size_t length)
{
	struct rpc_request request;
	struct rpc_error error;
	struct rpc_list list = {0};
	json_t *result = NULL;
	bool is_there;
	int code = rpc_decode_request(line, length, limit_of(client), &request, &error);

	if (!code) {
		code = handlers_run(client->api->daemon, client->peer.access, &request, &result,
				    &list, &error);
		audit(client, &request, code, result, &error);
	}
	if (code)
		is_there = send_error(client, request.id, &error);
	else
		is_there = send_result(client, request.id, result, &list);
	if (!code && is_there && strcmp(request.method, "events.subscribe") == 0)
		is_there = subscribe(client, result);
	json_decref(result);
	rpc_list_fini(&list);
	rpc_request_fini(&request);
	return is_there;
}

static void refuse_partial(struct api_client *client, const char *what, size_t value, size_t limit)
{
	struct rpc_error error;
	char value_text[32], limit_text[32];

	(void)snprintf(value_text, sizeof(value_text), "%zu", value);
	(void)snprintf(limit_text, sizeof(limit_text), "%zu", limit);
	rpc_error_set(&error, RPC_LIMIT, what, "document: %s %s and no newline, the limit is %s",
		      value_text, what, limit_text);
	rpc_error_data(&error, value_text, limit_text);
	if (send_error(client, NULL, &error))
		end_after_flush(client);
}

/* The bytes before the first newline of the input, or -1 if there is none. */
static ssize_t find_newline(struct api_client *client)
{
	struct evbuffer *input = bufferevent_get_input(client->stream);
	struct evbuffer_ptr from, found;

	if (evbuffer_ptr_set(input, &from, client->scanned, EVBUFFER_PTR_SET))
		return -1;
	found = evbuffer_search(input, "\n", 1, &from);
	if (found.pos < 0)
		client->scanned = evbuffer_get_length(input);
	return found.pos;
}

/* There is no whole line: the document has a few seconds to end, from its first byte. */
static void await_rest(struct api_client *client)
{
	const struct timeval limit = {.tv_sec = PARTIAL_TIMEOUT_SEC};
	size_t length = evbuffer_get_length(bufferevent_get_input(client->stream));

	if (length > limit_of(client))
		refuse_partial(client, "bytes", length, limit_of(client));
	else if (length > 0 && !event_pending(client->deadline, EV_TIMEOUT, NULL))
		(void)event_add(client->deadline, &limit);
}

static void on_turn(evutil_socket_t fd, short events, void *context)
{
	struct api_client *client = context;
	struct evbuffer *input = bufferevent_get_input(client->stream);
	ssize_t length = find_newline(client);
	char *line;
	bool is_there;

	(void)fd;
	(void)events;
	if (length < 0 && client->is_ended) {
		end_after_flush(client);
		return;
	}
	if (length < 0) {
		await_rest(client);
		return;
	}
	(void)event_del(client->deadline);
	line = malloc((size_t)length + 1);
	if (!line) {
		client_end(client);
		return;
	}
	(void)evbuffer_remove(input, line, (size_t)length + 1);
	client->scanned = 0;
	is_there = run_line(client, line, (size_t)length);
	free(line);
	if (is_there && (client->is_ended || evbuffer_get_length(input) > 0))
		await_turn(client);
}

static void on_deadline(evutil_socket_t fd, short events, void *context)
{
	(void)fd;
	(void)events;
	refuse_partial(context, "seconds", PARTIAL_TIMEOUT_SEC, PARTIAL_TIMEOUT_SEC);
}

static void on_read(struct bufferevent *stream, void *context)
{
	struct api_client *client = context;

	(void)stream;
	if (!client->is_closing)
		await_turn(client);
}

static void on_write(struct bufferevent *stream, void *context)
{
	struct api_client *client = context;

	if (client->is_closing && evbuffer_get_length(bufferevent_get_output(stream)) == 0)
		client_end(client);
	else
		(void)tell_events(client);
}

/* A client that shut its sending side still gets the answers to what it sent. */
static void on_event(struct bufferevent *stream, short events, void *context)
{
	struct api_client *client = context;

	(void)stream;
	if (!(events & BEV_EVENT_EOF) || client->is_closing) {
		client_end(client);
		return;
	}
	client->is_ended = true;
	await_turn(client);
}

static unsigned count_of_uid(const struct api *api, uid_t uid)
{
	unsigned n = 0;

	for (const struct api_client *client = api->clients; client; client = client->next)
		n += client->peer.uid == uid;
	return n;
}

/*
 * Ends clients that have gone without the loop having got round to them, so that none is turned away
 * for their sake. Those with a request or an answer under way are left to their own events.
 */
static void reap(struct api *api)
{
	struct api_client *next;

	for (struct api_client *client = api->clients; client; client = next) {
		char byte;

		next = client->next;
		if (evbuffer_get_length(bufferevent_get_input(client->stream)) == 0 &&
		    evbuffer_get_length(bufferevent_get_output(client->stream)) == 0 &&
		    recv(bufferevent_getfd(client->stream), &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0)
			client_end(client);
	}
}

static int refuse_clients(unsigned n, unsigned limit, const char *whose, struct rpc_error *error)
{
	char value_text[32], limit_text[32];

	(void)snprintf(value_text, sizeof(value_text), "%u", n);
	(void)snprintf(limit_text, sizeof(limit_text), "%u", limit);
	rpc_error_set(error, RPC_LIMIT, "clients",
		      "control.sock: %s clients%s are connected, the limit is %s", value_text,
		      whose, limit_text);
	rpc_error_data(error, value_text, limit_text);
	return RPC_LIMIT;
}

/* 0, or the error that the peer gets before it is closed. */
static int admit(struct api *api, const struct peer *peer, struct rpc_error *error)
{
	if (peer->access == ACCESS_NONE)
		return rpc_error_set(error, RPC_NOT_PERMITTED, NULL,
				     "control.sock: uid %u is neither root nor a member of the "
				     "daemon's group",
				     peer->uid);
	if (api->n_clients >= SL_MAX_RPC_CLIENTS ||
	    (peer->uid != 0 && count_of_uid(api, peer->uid) >= SL_MAX_RPC_CLIENTS_PER_UID))
		reap(api);
	if (api->n_clients >= SL_MAX_RPC_CLIENTS)
		return refuse_clients(api->n_clients, SL_MAX_RPC_CLIENTS, "", error);
	if (peer->uid != 0 && count_of_uid(api, peer->uid) >= SL_MAX_RPC_CLIENTS_PER_UID)
		return refuse_clients(count_of_uid(api, peer->uid), SL_MAX_RPC_CLIENTS_PER_UID,
				      " of your user", error);
	return RPC_OK;
}

static struct api_client *client_new(struct api *api, int fd, const struct peer *peer)
{
	struct api_client *client = calloc(1, sizeof(*client));

	if (!client)
		return NULL;
	client->api = api;
	client->peer = *peer;
	client->next = api->clients;
	client->link = &api->clients;
	if (client->next)
		client->next->link = &client->next;
	api->clients = client;
	api->n_clients++;
	client->turn = event_new(api->daemon->base, -1, 0, on_turn, client);
	client->deadline = event_new(api->daemon->base, -1, 0, on_deadline, client);
	if (client->turn && client->deadline)
		client->stream =
			bufferevent_socket_new(api->daemon->base, fd, BEV_OPT_CLOSE_ON_FREE);
	if (client->stream)
		return client;
	client_end(client);
	return NULL;
}

static void turn_away(int fd, const struct rpc_error *error)
{
	size_t length = 0;
	char *line = rpc_encode_error(NULL, error, &length);

	if (line)
		(void)!send(fd, line, length, MSG_DONTWAIT | MSG_NOSIGNAL);
	free(line);
	(void)close(fd);
}

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *address,
		      int length, void *context)
{
	const struct timeval write_limit = {.tv_sec = WRITE_TIMEOUT_SEC};
	struct api *api = context;
	struct api_client *client;
	struct rpc_error error;
	struct peer peer;

	(void)listener;
	(void)address;
	(void)length;
	if (api->is_out_of_descriptors)
		log_info("%s: accepts again", api->path);
	api->is_out_of_descriptors = false;
	if (peer_get(fd, &api->options, &peer)) {
		(void)close(fd);
		return;
	}
	if (admit(api, &peer, &error)) {
		turn_away(fd, &error);
		return;
	}
	client = client_new(api, fd, &peer);
	if (!client) {
		(void)close(fd);
		return;
	}
	bufferevent_setcb(client->stream, on_read, on_write, on_event, client);
	bufferevent_setwatermark(client->stream, EV_READ, 0, limit_of(client) + 2);
	(void)bufferevent_set_timeouts(client->stream, NULL, &write_limit);
	(void)bufferevent_enable(client->stream, EV_READ | EV_WRITE);
}

/* Out of descriptors: a short pause, in which clients may end, instead of a busy loop. */
static void on_accept_error(struct evconnlistener *listener, void *context)
{
	const struct timeval delay = {.tv_usec = PAUSE_MS * 1000};
	struct api *api = context;

	if (!api->is_out_of_descriptors)
		log_warn("%s: accept: %s; trying again every %d ms", api->path, strerror(errno),
			 PAUSE_MS);
	api->is_out_of_descriptors = true;
	(void)evconnlistener_disable(listener);
	(void)event_add(api->pause, &delay);
}

static void on_pause_end(evutil_socket_t fd, short events, void *context)
{
	struct api *api = context;

	(void)fd;
	(void)events;
	(void)evconnlistener_enable(api->listener);
}

static int refuse(char *error, const char *path, const char *step, int status)
{
	(void)snprintf(error, API_MAX_ERROR, "%.300s: %s: %s", path, step, strerror(-status));
	return status;
}

/* A path that somebody serves is left alone; a socket that nobody serves is removed. */
static int clear_stale(const struct sockaddr_un *address, char *error)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int status;

	if (fd < 0)
		return refuse(error, address->sun_path, "socket", -errno);
	status = connect(fd, (const struct sockaddr *)address, sizeof(*address)) ? -errno : 0;
	(void)close(fd);
	if (status == -ENOENT)
		return 0;
	if (status == 0 || status == -EAGAIN)
		return refuse(error, address->sun_path, "another daemon serves it", -EADDRINUSE);
	if (status != -ECONNREFUSED)
		return refuse(error, address->sun_path, "connect", status);
	if (unlink(address->sun_path))
		return refuse(error, address->sun_path, "unlink", -errno);
	return 0;
}

int api_bind(const struct api_options *options, int *fd, char *error)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	mode_t mode = options->has_read_group ? 0666 : 0660; /* on_accept judges each peer anyway */
	mode_t old_mask;
	int status;

	if (strlen(options->path) >= sizeof(address.sun_path))
		return refuse(error, options->path, "path of a socket", -ENAMETOOLONG);
	memcpy(address.sun_path, options->path, strlen(options->path) + 1);
	status = clear_stale(&address, error);
	if (status)
		return status;
	*fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (*fd < 0)
		return refuse(error, options->path, "socket", -errno);
	old_mask = umask(0177);
	status = bind(*fd, (const struct sockaddr *)&address, sizeof(address)) ? -errno : 0;
	(void)umask(old_mask);
	if (!status && geteuid() == 0)
		status = chown(options->path, options->owner, options->group) ? -errno : 0;
	if (!status)
		status = chmod(options->path, mode) ? -errno : 0;
	if (!status)
		status = listen(*fd, BACKLOG) ? -errno : 0;
	if (!status)
		return 0;
	(void)close(*fd);
	return refuse(error, options->path, "bind", status);
}

struct api *api_new(struct daemon *daemon, const struct api_options *options, int fd)
{
	struct api *api = calloc(1, sizeof(*api));

	if (!api) {
		(void)close(fd);
		return NULL;
	}
	api->daemon = daemon;
	api->options = *options;
	api->path = strdup(options->path);
	api->pause = event_new(daemon->base, -1, 0, on_pause_end, api);
	api->listener = evconnlistener_new(daemon->base, on_accept, api,
					   LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 0, fd);
	api->wake = event_new(daemon->base, -1, 0, on_wake, api);
	if (!api->listener)
		(void)close(fd);
	if (api->path && api->pause && api->wake && api->listener) {
		evconnlistener_set_error_cb(api->listener, on_accept_error);
		if (daemon->events)
			events_listen(daemon->events, hear_event, api);
		return api;
	}
	api_free(api);
	return NULL;
}

void api_free(struct api *api)
{
	if (!api)
		return;
	while (api->clients)
		client_end(api->clients);
	if (api->listener)
		evconnlistener_free(api->listener);
	if (api->daemon->events)
		events_listen(api->daemon->events, NULL, NULL);
	if (api->wake)
		event_free(api->wake);
	if (api->pause)
		event_free(api->pause);
	if (api->path)
		(void)unlink(api->path);
	free(api->path);
	free(api);
}
