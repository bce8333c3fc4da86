/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * See metrics_server.h. Each text is made once a second at most, whoever asks how often: making it takes the
 * loop's time, and asks the dataplane.
 */
#include "control/daemon/metrics_server.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/keyvalq_struct.h>

#include "config/config.h"
#include "control/daemon/daemon.h"
#include "control/daemon/desired.h"
#include "control/daemon/metrics.h"
#include "control/daemon/page_json.h"
#include "control/daemon/reconcile.h"
#include "log/log.h"
#include "page.h"
#include "wire/wire_abi.h"

enum {
	MAX_CONNECTIONS = 4, /* that have asked, and are being answered */
	IDLE_SEC = 5,
	MAX_HEADER_BYTES = 8192,
	KEPT_MS = 1000, /* a text that was made is good for */
	KEPT_TEXTS = 8, /* of services' backends */
	RETRY_SEC = 5,
};

/* An answer's body, and when it was made. */
struct kept {
	struct evbuffer *text;
	uint64_t made_ns;          /* CLOCK_MONOTONIC; 0: never */
	char service[SL_MAX_NAME]; /* whose backends it has */
};

struct metrics_server {
	struct daemon *daemon;
	struct evhttp *http;
	struct event *retry;
	char listen[64]; /* as configured */
	char host[WIRE_ADDRESS_TEXT];
	uint16_t port;
	bool is_bound;
	bool is_told; /* that it could not be bound */
	unsigned n_connections;
	struct kept metrics;
	struct kept status;
	struct kept backends[KEPT_TEXTS];
};

/* Answers with a copy of @size bytes, which nobody is to keep or to take for another type. */
static void reply(struct evhttp_request *request, int code, const char *type, const void *text,
		  size_t size)
{
	struct evkeyvalq *headers = evhttp_request_get_output_headers(request);
	struct evbuffer *body = NULL;
	char length[24];

	(void)snprintf(length, sizeof(length), "%zu", size);
	(void)evhttp_add_header(headers, "Content-Type", type);
	(void)evhttp_add_header(headers, "Content-Length", length);
	(void)evhttp_add_header(headers, "X-Content-Type-Options", "nosniff");
	(void)evhttp_add_header(headers, "Cache-Control", "no-store");
	/* libevent 2.1 sends what it is given for HEAD, too. */
	if (evhttp_request_get_command(request) != EVHTTP_REQ_HEAD) {
		body = evbuffer_new();
		if (!body || evbuffer_add(body, text, size)) {
			evhttp_send_error(request, HTTP_INTERNAL, "out of memory");
			goto out;
		}
	}
	evhttp_send_reply(request, code, NULL, body);
out:
	if (body)
		evbuffer_free(body);
}

static void reply_text(struct evhttp_request *request, int code, const char *text)
{
	reply(request, code, "text/plain; charset=utf-8", text, strlen(text));
}

static void reply_kept(struct evhttp_request *request, const char *type, const struct kept *kept)
{
	reply(request, HTTP_OK, type, evbuffer_pullup(kept->text, -1),
	      evbuffer_get_length(kept->text));
}

static void on_closed(struct evhttp_connection *connection, void *context)
{
	struct metrics_server *server = context;

	(void)connection;
	server->n_connections--;
}

/* Counts the connection that @request came on; false: there are too many. */
static bool admit(struct metrics_server *server, struct evhttp_request *request)
{
	struct evhttp_connection *connection = evhttp_request_get_connection(request);

	/* One question a connection: what is counted is what is open. */
	(void)evhttp_add_header(evhttp_request_get_output_headers(request), "Connection", "close");
	if (server->n_connections >= MAX_CONNECTIONS) {
		reply_text(request, HTTP_SERVUNAVAIL, "too many connections\n");
		return false;
	}
	server->n_connections++;
	evhttp_connection_set_closecb(connection, on_closed, server);
	return true;
}

/* Whether the text has to be made anew; then it is empty, and made from now on. */
static bool begin_text(struct kept *kept)
{
	uint64_t now = daemon_now_ns();

	if (kept->made_ns && now - kept->made_ns < KEPT_MS * 1000000ull)
		return false;
	(void)evbuffer_drain(kept->text, evbuffer_get_length(kept->text));
	kept->made_ns = now;
	return true;
}

/* Takes @json over. Nothing is written if it is NULL, or cannot be written: an empty body is no document. */
static void write_json(struct kept *kept, json_t *json)
{
	char *text = json ? json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;

	if (text)
		(void)evbuffer_add(kept->text, text, strlen(text));
	free(text);
	json_decref(json);
}

static void on_metrics(struct evhttp_request *request, void *context)
{
	struct metrics_server *server = context;

	if (!admit(server, request))
		return;
	if (begin_text(&server->metrics))
		metrics_print(server->daemon, server->metrics.text);
	reply_kept(request, "text/plain; version=0.0.4; charset=utf-8", &server->metrics);
}

static void on_page(struct evhttp_request *request, void *context)
{
	struct evkeyvalq *headers = evhttp_request_get_output_headers(request);

	if (!admit(context, request))
		return;
	(void)evhttp_add_header(headers, "Content-Security-Policy", status_page_policy);
	(void)evhttp_add_header(headers, "Referrer-Policy", "no-referrer");
	reply(request, HTTP_OK, "text/html; charset=utf-8", status_page, status_page_size);
}

static void on_status(struct evhttp_request *request, void *context)
{
	struct metrics_server *server = context;

	if (!admit(server, request))
		return;
	if (begin_text(&server->status))
		write_json(&server->status, page_to_json(server->daemon));
	reply_kept(request, "application/json", &server->status);
}

/* The service that the question names, or NULL. */
static const struct desired_service *asked_service(const struct metrics_server *server,
						   struct evhttp_request *request)
{
	const char *query = evhttp_uri_get_query(evhttp_request_get_evhttp_uri(request));
	const struct desired_service *service = NULL;
	struct evkeyvalq words = {0};
	const char *name;

	if (!query || evhttp_parse_query_str(query, &words))
		return NULL;
	name = evhttp_find_header(&words, "service");
	if (name)
		service = desired_find(server->daemon->desired, name);
	evhttp_clear_headers(&words);
	return service;
}

/* The text of @name's backends, or else the oldest one, to be that; NULL: none is old enough to go. */
static struct kept *find_kept(struct metrics_server *server, const char *name)
{
	struct kept *oldest = &server->backends[0];

	for (size_t i = 0; i < KEPT_TEXTS; i++) {
		struct kept *kept = &server->backends[i];

		if (strcmp(kept->service, name) == 0)
			return kept;
		if (kept->made_ns < oldest->made_ns)
			oldest = kept;
	}
	if (oldest->made_ns && daemon_now_ns() - oldest->made_ns < KEPT_MS * 1000000ull)
		return NULL;
	(void)snprintf(oldest->service, sizeof(oldest->service), "%s", name);
	oldest->made_ns = 0;
	return oldest;
}

static void on_backends(struct evhttp_request *request, void *context)
{
	struct metrics_server *server = context;
	const struct desired_service *service;
	struct kept *kept;

	if (!admit(server, request))
		return;
	service = asked_service(server, request);
	if (!service) {
		reply_text(request, HTTP_NOTFOUND, "?service=NAME names none\n");
		return;
	}
	kept = find_kept(server, service->wire.name);
	if (!kept) {
		reply_text(request, HTTP_SERVUNAVAIL, "too many services at a time\n");
		return;
	}
	if (begin_text(kept))
		write_json(kept, page_backends_to_json(server->daemon, service));
	reply_kept(request, "application/json", kept);
}

static void on_healthz(struct evhttp_request *request, void *context)
{
	struct metrics_server *server = context;
	const struct reconcile *reconcile = server->daemon->reconcile;
	bool is_well = reconcile_is_synced(reconcile);
	char text[SL_MAX_ERROR + 64];

	if (!admit(server, request))
		return;
	(void)snprintf(text, sizeof(text), "%s%s\n",
		       is_well ? "ok" : "dataplane: ", is_well ? "" : reconcile_reason(reconcile));
	reply_text(request, is_well ? HTTP_OK : HTTP_SERVUNAVAIL, text);
}

static void on_other(struct evhttp_request *request, void *context)
{
	if (admit(context, request))
		reply_text(request, HTTP_NOTFOUND, "there are /, /metrics and /healthz\n");
}

/* What is served. */
static const struct {
	const char *path;
	void (*answer)(struct evhttp_request *request, void *context);
} routes[] = {
	{"/", on_page},           {"/backends.json", on_backends}, {"/healthz", on_healthz},
	{"/metrics", on_metrics}, {"/status.json", on_status},
};

static void bind_now(struct metrics_server *server)
{
	if (evhttp_bind_socket(server->http, server->host, server->port) == 0) {
		server->is_bound = true;
		log_info("metrics: http://%s/metrics, and a page at http://%s/", server->listen,
			 server->listen);
		return;
	}
	if (!server->is_told)
		log_err("metrics.listen %s: %s; tried again each %d s", server->listen,
			strerror(errno), RETRY_SEC);
	server->is_told = true;
	(void)evtimer_add(server->retry, &(struct timeval){.tv_sec = RETRY_SEC});
}

static void on_retry(evutil_socket_t fd, short events, void *context)
{
	(void)fd;
	(void)events;
	bind_now(context);
}

static bool set_up(struct metrics_server *server, const char *listen)
{
	const char *reason;
	union sl_addr addr;
	uint8_t family;
	be16_t port;

	if (!config_parse_endpoint(listen, &addr, &port, &family, &reason))
		return false; /* config/ has judged it */
	(void)snprintf(server->listen, sizeof(server->listen), "%s", listen);
	(void)wire_format_addr(&addr, family, server->host);
	server->port = sl_from_be16(port);
	evhttp_set_allowed_methods(server->http, EVHTTP_REQ_GET | EVHTTP_REQ_HEAD);
	evhttp_set_timeout(server->http, IDLE_SEC);
	evhttp_set_max_headers_size(server->http, MAX_HEADER_BYTES);
	evhttp_set_max_body_size(server->http, 0);
	evhttp_set_gencb(server->http, on_other, server);
	for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++)
		if (evhttp_set_cb(server->http, routes[i].path, routes[i].answer, server))
			return false;
	return true;
}

/* All that is kept; false: out of memory. */
static bool make_texts(struct metrics_server *server)
{
	server->metrics.text = evbuffer_new();
	server->status.text = evbuffer_new();
	for (size_t i = 0; i < KEPT_TEXTS; i++) {
		server->backends[i].text = evbuffer_new();
		if (!server->backends[i].text)
			return false;
	}
	return server->metrics.text && server->status.text;
}

struct metrics_server *metrics_server_new(struct daemon *daemon, const char *listen)
{
	struct metrics_server *server = calloc(1, sizeof(*server));

	if (!server)
		return NULL;
	server->daemon = daemon;
	server->http = evhttp_new(daemon->base);
	server->retry = evtimer_new(daemon->base, on_retry, server);
	if (!server->http || !server->retry || !make_texts(server) || !set_up(server, listen)) {
		metrics_server_free(server);
		return NULL;
	}
	bind_now(server);
	return server;
}

static void free_text(struct kept *kept)
{
	if (kept->text)
		evbuffer_free(kept->text);
}

void metrics_server_free(struct metrics_server *server)
{
	if (!server)
		return;
	if (server->http)
		evhttp_free(server->http);
	if (server->retry)
		event_free(server->retry);
	free_text(&server->metrics);
	free_text(&server->status);
	for (size_t i = 0; i < KEPT_TEXTS; i++)
		free_text(&server->backends[i]);
	free(server);
}

const char *metrics_server_address(const struct metrics_server *server)
{
	return server && server->is_bound ? server->listen : NULL;
}
