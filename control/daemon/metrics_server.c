/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * See metrics_server.h. The text is made once a second at most, whoever asks how often: making it takes the
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

#include "config/config.h"
#include "control/daemon/daemon.h"
#include "control/daemon/metrics.h"
#include "control/daemon/reconcile.h"
#include "log/log.h"
#include "wire/wire_abi.h"

enum {
	MAX_CONNECTIONS = 4, /* that have asked, and are being answered */
	IDLE_SEC = 5,
	MAX_HEADER_BYTES = 8192,
	KEPT_MS = 1000, /* the text that was made is good for */
	RETRY_SEC = 5,
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
	struct evbuffer *text; /* of /metrics */
	uint64_t made_ns;
};

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

	if (server->n_connections >= MAX_CONNECTIONS) {
		(void)evhttp_add_header(evhttp_request_get_output_headers(request), "Connection",
					"close");
		evhttp_send_error(request, HTTP_SERVUNAVAIL, "too many connections");
		return false;
	}
	server->n_connections++;
	evhttp_connection_set_closecb(connection, on_closed, server);
	/* One question a connection: what is counted is what is open. */
	(void)evhttp_add_header(evhttp_request_get_output_headers(request), "Connection", "close");
	return true;
}

static void on_metrics(struct evhttp_request *request, void *context)
{
	struct metrics_server *server = context;
	uint64_t now = daemon_now_ns();
	struct evbuffer *body;

	if (!admit(server, request))
		return;
	if (!server->made_ns || now - server->made_ns >= KEPT_MS * 1000000ull) {
		(void)evbuffer_drain(server->text, evbuffer_get_length(server->text));
		metrics_print(server->daemon, server->text);
		server->made_ns = now;
	}
	body = evbuffer_new();
	if (!body || evbuffer_add(body, evbuffer_pullup(server->text, -1),
				  evbuffer_get_length(server->text))) {
		evhttp_send_error(request, HTTP_INTERNAL, "out of memory");
	} else {
		(void)evhttp_add_header(evhttp_request_get_output_headers(request), "Content-Type",
					"text/plain; version=0.0.4; charset=utf-8");
		evhttp_send_reply(request, HTTP_OK, "OK", body);
	}
	if (body)
		evbuffer_free(body);
}

static void on_healthz(struct evhttp_request *request, void *context)
{
	struct metrics_server *server = context;
	const struct reconcile *reconcile = server->daemon->reconcile;
	bool is_well = reconcile_is_synced(reconcile);
	struct evbuffer *body;

	if (!admit(server, request))
		return;
	body = evbuffer_new();
	if (body)
		(void)evbuffer_add_printf(body, "%s%s\n", is_well ? "ok" : "dataplane: ",
					  is_well ? "" : reconcile_reason(reconcile));
	(void)evhttp_add_header(evhttp_request_get_output_headers(request), "Content-Type",
				"text/plain; charset=utf-8");
	evhttp_send_reply(request, is_well ? HTTP_OK : HTTP_SERVUNAVAIL,
			  is_well ? "OK" : "Service Unavailable", body);
	if (body)
		evbuffer_free(body);
}

static void on_other(struct evhttp_request *request, void *context)
{
	if (admit(context, request))
		evhttp_send_error(request, HTTP_NOTFOUND, "there are /metrics and /healthz");
}

static void bind_now(struct metrics_server *server)
{
	if (evhttp_bind_socket(server->http, server->host, server->port) == 0) {
		server->is_bound = true;
		log_info("metrics: http://%s/metrics", server->listen);
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
	return evhttp_set_cb(server->http, "/metrics", on_metrics, server) == 0 &&
	       evhttp_set_cb(server->http, "/healthz", on_healthz, server) == 0;
}

struct metrics_server *metrics_server_new(struct daemon *daemon, const char *listen)
{
	struct metrics_server *server = calloc(1, sizeof(*server));

	if (!server)
		return NULL;
	server->daemon = daemon;
	server->http = evhttp_new(daemon->base);
	server->retry = evtimer_new(daemon->base, on_retry, server);
	server->text = evbuffer_new();
	if (!server->http || !server->retry || !server->text || !set_up(server, listen)) {
		metrics_server_free(server);
		return NULL;
	}
	bind_now(server);
	return server;
}

void metrics_server_free(struct metrics_server *server)
{
	if (!server)
		return;
	if (server->http)
		evhttp_free(server->http);
	if (server->retry)
		event_free(server->retry);
	if (server->text)
		evbuffer_free(server->text);
	free(server);
}

const char *metrics_server_address(const struct metrics_server *server)
{
	return server && server->is_bound ? server->listen : NULL;
}
