/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * http and https, by libcurl's multi interface on the event loop: one request on a connection of its own, to
 * the backend's address whatever host it is for, through no proxy, following no redirect. libcurl tells which
 * descriptors it waits for and for how long; we tell it when they are ready.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <curl/curl.h>

#include "control/daemon/probe_internal.h"
#include "wire/wire_abi.h"

enum {
	MAX_BODY = 65536, /* bytes that `body` is looked for in */
	MAX_SPARE = 64,   /* handles kept for the next requests */
};

struct http_request {
	CURL *easy;
	struct curl_slist *connect_to;
	char *body; /* what was received of it; NULL: nobody looks */
	size_t n_body;
	bool is_cut; /* by us: there is more than we look at */
	char error[CURL_ERROR_SIZE];
};

struct probe_http {
	struct prober *prober;
	CURLM *multi;
	struct event *timer;
	CURL *spare[MAX_SPARE];
	size_t n_spare;
};

/* ---- results ---- */

static void judge(struct probe *probe)
{
	struct http_request *request = probe->request;
	const char *wanted = probe->check.body;
	long status = 0;

	(void)curl_easy_getinfo(request->easy, CURLINFO_RESPONSE_CODE, &status);
	if (health_check_has_status(probe->check.statuses, status) != 1)
		(void)probe_end(probe, false, "status %ld", status);
	else if (wanted[0] && !memmem(request->body, request->n_body, wanted, strlen(wanted)))
		(void)probe_end(probe, false,
				"status %ld, %zu bytes of body without what is expected", status,
				request->n_body);
	else
		(void)probe_end(probe, true, "%s", "");
}

/* libcurl could not do it. */
static void judge_failure(struct probe *probe, CURLcode code)
{
	const struct http_request *request = probe->request;
	long error = 0;

	(void)curl_easy_getinfo(request->easy, CURLINFO_OS_ERRNO, &error);
	if (code == CURLE_COULDNT_CONNECT && error)
		(void)probe_end(probe, false, "connect: %s", strerror((int)error));
	else
		(void)probe_end(probe, false, "%.120s",
				request->error[0] ? request->error : curl_easy_strerror(code));
}

static void read_results(struct probe_http *http)
{
	const CURLMsg *message;
	int n_left;

	while ((message = curl_multi_info_read(http->multi, &n_left)) != NULL) {
		struct probe *probe;
		CURLcode code = message->data.result;

		if (message->msg != CURLMSG_DONE ||
		    curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&probe))
			continue;
		if (code == CURLE_OK || (code == CURLE_WRITE_ERROR && probe->request->is_cut))
			judge(probe);
		else
			judge_failure(probe, code);
	}
}

/* ---- libcurl and the event loop ---- */

static void on_ready(evutil_socket_t fd, short events, void *context)
{
	struct probe_http *http = context;
	int what = ((events & EV_READ) ? CURL_CSELECT_IN : 0) |
		   ((events & EV_WRITE) ? CURL_CSELECT_OUT : 0);
	int n_running;

	(void)curl_multi_socket_action(http->multi, fd, what, &n_running);
	read_results(http);
}

static void on_timer(evutil_socket_t fd, short events, void *context)
{
	struct probe_http *http = context;
	int n_running;

	(void)fd;
	(void)events;
	(void)curl_multi_socket_action(http->multi, CURL_SOCKET_TIMEOUT, 0, &n_running);
	read_results(http);
}

static int set_timer(CURLM *multi, long timeout_ms, void *context)
{
	struct probe_http *http = context;
	const struct timeval timeout = {.tv_sec = timeout_ms / 1000,
					.tv_usec = timeout_ms % 1000 * 1000};

	(void)multi;
	if (timeout_ms < 0)
		return evtimer_del(http->timer);
	return evtimer_add(http->timer, &timeout);
}

/* @socket_event: what we keep with the descriptor: its event. */
static int watch(CURL *easy, curl_socket_t fd, int what, void *context, void *socket_event)
{
	struct probe_http *http = context;
	struct event *event = socket_event;
	short events = (short)(((what & CURL_POLL_IN) ? EV_READ : 0) |
			       ((what & CURL_POLL_OUT) ? EV_WRITE : 0));

	(void)easy;
	if (event)
		event_free(event);
	(void)curl_multi_assign(http->multi, fd, NULL);
	if (what == CURL_POLL_REMOVE)
		return 0;
	event = event_new(http->prober->base, fd, (short)(events | EV_PERSIST), on_ready, http);
	if (!event || event_add(event, NULL)) {
		if (event)
			event_free(event);
		return 0; /* then the timeout ends it */
	}
	(void)curl_multi_assign(http->multi, fd, event);
	return 0;
}

struct probe_http *probe_http_new(struct prober *prober)
{
	struct probe_http *http = calloc(1, sizeof(*http));

	if (!http || curl_global_init(CURL_GLOBAL_DEFAULT)) {
		free(http);
		return NULL;
	}
	http->prober = prober;
	http->multi = curl_multi_init();
	http->timer = evtimer_new(prober->base, on_timer, http);
	if (!http->multi || !http->timer) {
		probe_http_free(http);
		return NULL;
	}
	(void)curl_multi_setopt(http->multi, CURLMOPT_SOCKETFUNCTION, watch);
	(void)curl_multi_setopt(http->multi, CURLMOPT_SOCKETDATA, http);
	(void)curl_multi_setopt(http->multi, CURLMOPT_TIMERFUNCTION, set_timer);
	(void)curl_multi_setopt(http->multi, CURLMOPT_TIMERDATA, http);
	return http;
}

void probe_http_free(struct probe_http *http)
{
	for (size_t i = 0; i < http->n_spare; i++)
		curl_easy_cleanup(http->spare[i]);
	if (http->multi)
		(void)curl_multi_cleanup(http->multi);
	if (http->timer)
		event_free(http->timer);
	free(http);
	curl_global_cleanup();
}

/* ---- requests ---- */

static size_t take_body(char *bytes, size_t size, size_t n, void *context)
{
	struct http_request *request = context;
	size_t n_bytes = size * n, room = MAX_BODY - request->n_body;

	if (!request->body)
		return n_bytes;
	if (n_bytes > room) {
		request->is_cut = true;
		n_bytes = room;
	}
	memcpy(request->body + request->n_body, bytes, n_bytes);
	request->n_body += n_bytes;
	return request->is_cut ? 0 : n_bytes;
}

/* "https://host:port/path"; the address stands for a host that was not said. */
static void write_url(const struct probe *probe, char *url, size_t size)
{
	char address[WIRE_ADDRESS_TEXT];
	const struct probe_target *target = &probe->target;

	(void)wire_format_endpoint(&target->addr, target->port, target->family, address);
	(void)snprintf(url, size, "%s://%s%s",
		       probe->check.type == HEALTH_CHECK_HTTPS ? "https" : "http",
		       probe->check.host[0] ? probe->check.host : address, probe->check.path);
}

/* "::ADDR:PORT": whatever the URL says, there. */
static bool connect_to(struct probe *probe)
{
	char address[WIRE_ADDRESS_TEXT], text[WIRE_ADDRESS_TEXT + 2];
	const struct probe_target *target = &probe->target;

	(void)wire_format_endpoint(&target->addr, target->port, target->family, address);
	(void)snprintf(text, sizeof(text), "::%s", address);
	probe->request->connect_to = curl_slist_append(NULL, text);
	return probe->request->connect_to != NULL;
}

static void set_options(struct probe *probe)
{
	const struct health_check *check = &probe->check;
	struct http_request *request = probe->request;
	char url[sizeof(check->host) + sizeof(check->path) + WIRE_ADDRESS_TEXT + 16];
	CURL *easy = request->easy;

	write_url(probe, url, sizeof(url));
	(void)curl_easy_setopt(easy, CURLOPT_URL, url);
	(void)curl_easy_setopt(easy, CURLOPT_CONNECT_TO, request->connect_to);
	(void)curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
	(void)curl_easy_setopt(easy, CURLOPT_PROXY, "");
	(void)curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	(void)curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L);
	(void)curl_easy_setopt(easy, CURLOPT_FORBID_REUSE, 1L);
	(void)curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
	(void)curl_easy_setopt(easy, CURLOPT_USERAGENT, "sluice");
	(void)curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, (long)check->tls_verify);
	(void)curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, check->tls_verify ? 2L : 0L);
	(void)curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_body);
	(void)curl_easy_setopt(easy, CURLOPT_WRITEDATA, request);
	(void)curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, request->error);
	(void)curl_easy_setopt(easy, CURLOPT_PRIVATE, (char *)probe);
	if (strcmp(check->method, "HEAD") == 0)
		(void)curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
	else
		(void)curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, check->method);
}

static bool start(struct probe *probe)
{
	struct probe_http *http = probe->prober->http;
	struct http_request *request = calloc(1, sizeof(*request));

	if (!request)
		return false;
	probe->request = request;
	request->easy = http->n_spare ? http->spare[--http->n_spare] : curl_easy_init();
	if (probe->check.body[0])
		request->body = malloc(MAX_BODY);
	if (!request->easy || !connect_to(probe) || (probe->check.body[0] && !request->body))
		return false;
	set_options(probe);
	return curl_multi_add_handle(http->multi, request->easy) == CURLM_OK;
}

static void stop(struct probe *probe)
{
	struct probe_http *http = probe->prober->http;
	struct http_request *request = probe->request;

	if (!request)
		return;
	if (request->easy) {
		(void)curl_multi_remove_handle(http->multi, request->easy);
		curl_easy_reset(request->easy);
		if (http->n_spare < MAX_SPARE)
			http->spare[http->n_spare++] = request->easy;
		else
			curl_easy_cleanup(request->easy);
	}
	curl_slist_free_all(request->connect_to);
	free(request->body);
	free(request);
	probe->request = NULL;
}

const struct probe_kind probe_request = {.start = start, .stop = stop};
